"""What the fault suite is made of, without a machine."""

from __future__ import annotations

import pytest

from tests.faults.client import Ending, step_of
from tests.faults.drawn import ARRANGED, STRIKES, draws
from tests.faults.named import CASES
from tests.faults.state import difference, moved, without

WIDTH = 57


def test_a_seed_repeats_its_draws_whatever_their_number() -> None:
    drawn = list(draws(7, 100))
    assert list(draws(7, 30)) == drawn[:30]
    assert list(draws(8, 100)) != drawn
    assert len({draw.case.name for draw in drawn}) == 100


def test_every_fault_and_kind_of_change_is_drawn_some_time() -> None:
    drawn = list(draws(1, 2000))
    assert {draw.fault for draw in drawn} == {*STRIKES, *ARRANGED}
    assert {draw.change for draw in drawn} == {"take-over", "live", "rebuild", "give-back"}


def test_every_case_has_a_name_that_the_table_shows_whole() -> None:
    names = [*CASES, *(draw.case.name for draw in draws(1, 2000))]
    assert [name for name in names if len(name) > WIDTH] == []


@pytest.mark.parametrize(
    ("argv", "step"),
    [
        (["sh", "/var/lib/x/transaction/transaction.sh", "arm", "id"], "arm"),
        (["sh", "-c", "umask 077 && tar -x && sh /x/incoming-1/transaction.sh stage"], "stage"),
        (["sh", "-c", "for folder in ...", "status", "id"], "prove"),
        (["ip", "address"], None),
    ],
)
def test_a_clients_steps_are_known_by_its_commands(argv: list[str], step: str | None) -> None:
    assert step_of(argv) == step


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (Ending(outs={}), "new"),
        (Ending(error="the host is back on its old configuration"), "old"),
        (Ending(error="the host was to undo the change by itself"), None),
        (Ending(), None),
    ],
)
def test_what_a_client_says_of_its_host(ending: Ending, told: str | None) -> None:
    assert ending.told == told


def test_a_change_of_the_state_leaves_everything_else() -> None:
    old = {"link eth0": "up", "address eth0 192.0.2.1/24": "global"}
    new = {"link eth0": "up", "address br0 192.0.2.1/24": "global", "link br0": "up"}
    extra = {"file /etc/network/if-up.d/hook": "755"}
    assert moved({**old, **extra}, old, new) == {**new, **extra}
    assert difference(old, {**old, **extra}) == ["-file /etc/network/if-up.d/hook: 755"]
    assert without(new, "br0") == {"link eth0": "up"}
