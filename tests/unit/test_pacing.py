import asyncio
import time
from collections.abc import Callable

import pytest
from pulumi.runtime.settings import SETTINGS

from components import pacing

TURNS = 100


def pauses_in_a_loop(
    monkeypatch: pytest.MonkeyPatch, turns: int, on_turn: Callable[[], None] = lambda: None
) -> int:
    """Turn an event loop as Pulumi's SDK does; return how often it paused."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    async def spin() -> None:
        pacing.pace_event_loop()
        for _ in range(turns):
            on_turn()
            await asyncio.sleep(0)

    asyncio.run(spin())
    return len(pauses)


def test_a_loop_that_only_waits_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = pauses_in_a_loop(monkeypatch, pacing.PATIENT_TURNS + TURNS)
    assert TURNS - 10 <= pauses <= TURNS + 10  # asyncio.run has a few turns of its own


def test_a_loop_in_which_something_is_answered_never_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    rpcs = SETTINGS.rpc_manager.rpcs
    before = list(rpcs)

    def answered() -> None:
        if len(rpcs) == len(before):
            rpcs.append(asyncio.sleep(0))
        else:
            rpcs.pop().close()

    try:
        assert pauses_in_a_loop(monkeypatch, pacing.PATIENT_TURNS + TURNS, answered) == 0
    finally:
        rpcs[:] = before
