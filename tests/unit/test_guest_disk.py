"""Which edits of a guest's disk are refused before anything is changed."""

from __future__ import annotations

from typing import Any

import pytest

from providers.guest_disk import GuestDiskProvider
from tests.unit.guest_inputs import of_web

GIB = 2**30


def disk(**edits: object) -> dict[str, Any]:
    return {
        **of_web(),
        "file": "/p/web-g1.qcow2",
        "image": "debian-12",
        "base": "/b/debian-12.qcow2",
        "size": 4.0 * GIB,
        **edits,
    }


def moved(host: str, address: str) -> dict[str, Any]:
    return {"endpoint": {**disk()["endpoint"], "host": host, "address": address}}


def refused(edit: dict[str, Any]) -> list[str]:
    return [failure.property for failure in GuestDiskProvider().check(disk(), disk(**edit)).failures]


@pytest.mark.parametrize(
    ("edit", "properties"),
    [
        ({"size": 3.0 * GIB}, ["size"]),
        ({"image": "debian-13", "base": "/b/debian-13.qcow2"}, ["image"]),
        ({"file": "/q/web-g1.qcow2"}, ["file"]),
        (moved("g1s2", "198.51.100.12"), ["guest"]),
        (moved("renamed", "198.51.100.11"), ["guest"]),
        ({"size": 1.0 * GIB, "image": "other"}, ["size", "image"]),
    ],
)
def test_what_would_need_another_disk_is_refused(edit: dict[str, Any], properties: list[str]) -> None:
    assert refused(edit) == properties


@pytest.mark.parametrize(
    "edit", [{}, {"size": 9.0 * GIB}, {"stack": "kvm-lab/new.g1s1"}, moved("g1s1", "198.51.100.99")]
)
def test_what_the_disk_can_become_is_not(edit: dict[str, Any]) -> None:
    assert refused(edit) == []


def test_the_refusal_names_guest_disk_and_remedy() -> None:
    (failure,) = GuestDiskProvider().check(disk(), disk(size=3.0 * GIB)).failures
    for word in ("web", "4096 MiB", "3072 MiB", "generation"):
        assert word in failure.reason


def test_a_disk_that_may_be_discarded_is_replaced_by_another_hosts() -> None:
    provider = GuestDiskProvider()
    edit = {**moved("g1s2", "198.51.100.12"), "discard": True, "image": "other", "size": 1.0 * GIB}
    assert refused(edit) == []
    result = provider.diff("x", disk(), disk(**edit))
    assert (result.replaces, result.delete_before_replace) == (["endpoint"], True)
    assert provider.diff("x", disk(), disk(**moved("g1s1", "198.51.100.99"))).replaces == []
    assert not provider.diff("x", disk(), disk(discard=False)).changes


def test_a_new_disk_is_never_refused() -> None:
    assert GuestDiskProvider().check({}, disk()).failures == []


def test_growth_is_an_update_and_never_a_replacement() -> None:
    provider = GuestDiskProvider()
    result = provider.diff("x", disk(), disk(size=9.0 * GIB))
    assert result.changes
    assert not result.replaces
