import asyncio
import time
from collections.abc import Callable

import pulumi
import pytest
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import SETTINGS

from components import pacing

TURNS = 100


def pauses_in_a_loop(
    monkeypatch: pytest.MonkeyPatch, turns: int, on_turn: Callable[[], None] = lambda: None
) -> list[float]:
    """Turn an event loop as Pulumi's SDK does; return its pauses, in seconds."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    async def spin() -> None:
        pacing.pace_event_loop()
        for _ in range(turns):
            on_turn()
            await asyncio.sleep(0)

    asyncio.run(spin())
    return pauses


def test_a_loop_that_only_waits_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = pauses_in_a_loop(monkeypatch, pacing.PATIENT_TURNS + TURNS)
    assert TURNS - 10 <= len(pauses) <= TURNS + 10  # asyncio.run has a few turns of its own


def test_a_loop_in_which_something_is_answered_never_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    rpcs = SETTINGS.rpc_manager.rpcs
    before = list(rpcs)

    def answered() -> None:
        if len(rpcs) == len(before):
            rpcs.append(asyncio.sleep(0))
        else:
            rpcs.pop().close()

    try:
        assert pauses_in_a_loop(monkeypatch, pacing.PATIENT_TURNS + TURNS, answered) == []
    finally:
        rpcs[:] = before


def test_pauses_grow_to_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = pauses_in_a_loop(monkeypatch, pacing.PATIENT_TURNS + TURNS)
    assert pauses[0] == pacing.SHORTEST_PAUSE
    assert pauses == sorted(pauses)
    assert pauses[-1] == pacing.PAUSE


class _Engine:
    """An engine that notes how each line was sent."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.Log = _Log(self.sent)


class _Log:
    def __init__(self, sent: list[tuple[str, str]]) -> None:
        self.sent = sent

    def __call__(self, request: engine_pb2.LogRequest) -> None:
        self.sent.append(("waited for", request.message))

    def future(self, request: engine_pb2.LogRequest) -> None:
        self.sent.append(("on its way", request.message))


def test_nobody_waits_for_a_debug_line_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _Engine()
    monkeypatch.setattr(SETTINGS, "engine", engine)
    pacing.hurry_debug_lines()
    pulumi.log.debug("detail")
    pulumi.log.warn("look at this")
    assert engine.sent == [("on its way", "detail"), ("waited for", "look at this")]
