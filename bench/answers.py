"""When SSH servers answer, watched from here while a command runs."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from providers.errors import LabError

PAUSE = 0.5
"""Seconds between two looks at a server, for everything that is measured."""
_CONNECT, _BANNER = 2.0, 30.0  # a guest among many that boot takes its time for a banner
_PORT = 22


@dataclass(frozen=True)
class Timing:
    """What was seen of a command and the servers that it was about, in seconds since it began.

    Attributes:
        answer: when the last of them answered.
        command: when the command had ended.
        silent: when the last of them was first seen silent; 0 where all were from the beginning.
        missing: how many had not answered when they were given up; `answer` says when that was.
    """

    answer: float
    command: float
    silent: float
    missing: int = 0


def timed(
    command: Callable[[], object],
    addresses: Sequence[str],
    *,
    patience: float,
    anew: bool = False,
    give_up: bool = False,
    port: int = _PORT,
) -> Timing:
    """Run a command, and return when it had ended and all servers answered.

    Args:
        command: what is timed; its error is raised.
        addresses: of the servers.
        patience: seconds that the servers may take once the command has ended.
        anew: whether they answer when it begins: an answer counts once the server was silent.
        give_up: whether those that do not answer in that time are counted; else that is an error.
        port: of the servers.

    Raises:
        LabError: not all of them answered in that time.
    """
    # an own loop: asyncio.run would leave this thread without the one that it may have
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        timing, late = runner.run(_timed(command, addresses, patience, anew, port))
    if late and not give_up:
        raise LabError(
            f"wait until {len(addresses)} guests answer",
            f"{patience:.0f} s after the command ended these do not: {', '.join(late)}",
            "look at their consoles; run it again with fewer guests",
        )
    return timing


async def _timed(
    command: Callable[[], object], addresses: Sequence[str], patience: float, anew: bool, port: int
) -> tuple[Timing, list[str]]:
    began = time.monotonic()
    watches = [asyncio.create_task(_watch(address, port, anew)) for address in addresses]
    await asyncio.to_thread(command)
    ended = time.monotonic()
    done, late = await asyncio.wait(watches, timeout=patience)
    missing = [one for one, watch in zip(addresses, watches, strict=True) if watch in late]
    if missing:
        return Timing(time.monotonic() - began, ended - began, 0.0, len(missing)), missing
    seen = [watch.result() for watch in done]
    silent, answer = max(silent for silent, _ in seen), max(answer for _, answer in seen)
    return Timing(answer - began, ended - began, silent - began if anew else 0.0), missing


async def _watch(address: str, port: int, anew: bool) -> tuple[float, float]:
    """Return when the server was first seen silent, or when this began, and when it answered after that."""
    silent = time.monotonic()
    while anew and await _answers(address, port):
        await asyncio.sleep(PAUSE)
        silent = time.monotonic()
    while not await _answers(address, port):
        await asyncio.sleep(PAUSE)
    return silent, time.monotonic()


async def _answers(address: str, port: int) -> bool:
    """Whether an SSH server shows its banner now."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(_CONNECT):
            reader, writer = await asyncio.open_connection(address, port)
        try:
            async with asyncio.timeout(_BANNER):
                return (await reader.read(4)) == b"SSH-"
        finally:
            writer.close()
    return False
