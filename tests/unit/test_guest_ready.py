"""Which edits make a guest be waited for again."""

from __future__ import annotations

from typing import Any

import pytest

from providers.guest_ready import GuestReadyProvider
from tests.unit.guest_inputs import KEY, of_web


def guest(**edits: object) -> dict[str, Any]:
    return {
        **of_web(),
        "address": "198.51.100.21",
        "public_key": KEY,
        "console_log": "/var/log/web.log",
        "timeout": 300.0,
        "domain_id": "1",
        "seed": "ab" * 32,
        "ready": True,
        **edits,
    }


@pytest.mark.parametrize(("before", "after"), [({}, {"parallel": 8.0}), ({"parallel": 8}, {"parallel": 64})])
def test_how_many_boot_at_once_is_no_edit_of_a_guest(before: dict[str, Any], after: dict[str, Any]) -> None:
    provider = GuestReadyProvider()
    assert provider.check(guest(**before), guest(**after)).failures == []
    assert not provider.diff("lab-web", guest(**before), guest(**after)).changes


@pytest.mark.parametrize("edit", [{"domain_id": "2"}, {"seed": "cd" * 32}, {"address": "198.51.100.22"}])
def test_what_makes_it_boot_again_is_one(edit: dict[str, Any]) -> None:
    diff = GuestReadyProvider().diff("lab-web", guest(), guest(parallel=3, **edit))
    assert diff.changes
    assert not diff.replaces


@pytest.mark.parametrize("parallel", [0, 65, 1.5])
def test_a_limit_out_of_bounds_is_refused(parallel: float) -> None:
    (failure,) = GuestReadyProvider().check({}, guest(parallel=parallel)).failures
    assert failure.property == "parallel"
