import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

import pulumi
import pytest
from pulumi.runtime import stack
from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import SETTINGS

from components import pacing


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    """The pauses of each kind that the SDK's wait takes."""
    taken: list[float] = []
    sleep = asyncio.sleep

    async def counted(delay: float) -> None:
        taken.append(delay)
        await sleep(delay)

    monkeypatch.setattr(stack, "asyncio", asyncio)  # put back in the end
    monkeypatch.setattr(asyncio, "sleep", counted)
    pacing.rest_while_waiting()
    yield taken
    assert not SETTINGS.outputs


def wait_for(*outputs: Callable[[], Awaitable[object]]) -> None:
    """Wait as the SDK does at the end of a program, for what these return."""

    async def wait() -> None:
        for output in outputs:
            SETTINGS.outputs.append(asyncio.ensure_future(output()))
        try:
            await stack.wait_for_rpcs()
        finally:
            SETTINGS.outputs.clear()

    asyncio.run(wait())


def after(seconds: float, result: Callable[[], object]) -> Callable[[], Awaitable[object]]:
    """Return an output that is there after a time, as from another thread."""

    def late() -> object:
        time.sleep(seconds)
        return result()

    return lambda: asyncio.to_thread(late)


def test_a_wait_in_which_nothing_ends_pauses(turns: list[float]) -> None:
    seen: list[str] = []
    wait_for(*[after(0.5, lambda: seen.append("there"))] * 10)
    assert len(seen) == 10
    assert turns.count(pacing.PAUSE) >= 5
    assert turns.count(0) < 200  # a few hundred thousand without pauses


def test_a_wait_for_what_is_there_takes_no_pause(turns: list[float]) -> None:
    async def there() -> None:
        pass

    wait_for(*[there] * 100)
    assert pacing.PAUSE not in turns


def test_what_failed_is_found_among_what_takes_long(turns: list[float]) -> None:
    def fail() -> None:
        raise ValueError("no")

    longer = [lambda: asyncio.Event().wait()] * 5
    with pytest.raises(ValueError, match="no"):
        wait_for(*longer, after(0.2, fail), *longer)
    assert pacing.PAUSE in turns


class _Engine:
    """An engine that notes the lines that it is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def Log(self, request: engine_pb2.LogRequest) -> None:  # noqa: N802 - as in the protocol
        self.sent.append(request.message)


def test_the_engine_gets_every_line_but_those_for_debugging(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = _Engine()
    monkeypatch.setattr(SETTINGS, "engine", engine)
    monkeypatch.setattr(pulumi.log, "debug", pulumi.log.debug)  # put back in the end
    pulumi.log.debug("before")
    pacing.drop_debug_lines()
    pulumi.log.debug("detail")
    stack.log.debug("detail of the SDK")  # type: ignore[attr-defined] # as it says it itself
    pulumi.log.info("look at this", ephemeral=True)
    pulumi.log.warn("and at this")
    assert engine.sent == ["before", "look at this", "and at this"]
