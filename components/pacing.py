"""Keeps the program from waiting where it need not, and from using a whole core while it must.

While outputs are outstanding, Pulumi's SDK turns its event loop without a pause (`wait_for_rpcs` in
pulumi/runtime/stack.py awaits `asyncio.sleep(0)`), for as long as the slowest resource takes. On a machine
that runs guests without hardware virtualisation, that core is one that the guests would boot with.
It also sends the engine five debug lines of its own for every resource, which nobody sees without --debug:
a fifth of the time that a class of forty takes the program.
"""

from __future__ import annotations

import asyncio

import pulumi
from pulumi.runtime import stack
from pulumi.runtime.settings import SETTINGS

MOST_TURNS = 200
"""Turns of the loop without a pause, after anything has ended."""
PAUSE = 0.02
"""Seconds between two looks at what is outstanding, while nothing of it ends."""


def rest_while_waiting() -> None:
    """Let the SDK's wait for all that is outstanding pause; whatever else the loop does goes on meanwhile."""
    stack.asyncio = _Restful()  # type: ignore[assignment, attr-defined] # it has all that asyncio has


def drop_debug_lines() -> None:
    """Send no debug lines of the SDK: `pulumi up --debug` shows those of the engine and of plugins only."""
    pulumi.log.debug = _say_nothing


def _say_nothing(
    msg: str,
    resource: pulumi.Resource | None = None,
    stream_id: int | None = None,
    ephemeral: bool | None = None,
) -> None:
    """Take what pulumi.log.debug takes."""


class _Restful:
    """The module asyncio, but that a `sleep` takes a pause once nothing has ended for a while."""

    def __init__(self) -> None:
        self._seen = (0, 0)
        self._idle = 0

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    async def sleep(self, delay: float) -> None:
        await asyncio.sleep(delay)
        seen = (len(SETTINGS.outputs), len(SETTINGS.rpc_manager.rpcs))
        self._idle = self._idle + 1 if seen == self._seen else 0
        self._seen = seen
        if self._idle <= min(len(SETTINGS.outputs), MOST_TURNS):  # each turn looks at one output
            return
        if any(output.done() for output in list(SETTINGS.outputs)):
            self._idle = 0  # it is found within as many turns
        else:
            await asyncio.sleep(PAUSE)
