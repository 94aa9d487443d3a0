"""Keeps the program from waiting where it need not, and from using a whole core while it must.

While outputs are outstanding, Pulumi's SDK turns its event loop without a pause (`wait_for_rpcs` in
pulumi/runtime/stack.py awaits `asyncio.sleep(0)`), for as long as the slowest resource takes. On a machine
that runs guests without hardware virtualisation, that core is one that the guests would boot with.
It also waits for the engine to take each of its own debug lines, five for every resource.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from pulumi.runtime.proto import engine_pb2
from pulumi.runtime.settings import SETTINGS

PATIENT_TURNS = 200
PAUSE = 0.01
"""Seconds; what one answer of the engine may come later by, at most."""
SHORTEST_PAUSE = 0.0005
"""Seconds of the first pause; each further one in a row is twice as long, up to PAUSE."""


def pace_event_loop() -> None:
    """Let the running event loop pause between turns in which nothing was answered."""
    _Pacer(asyncio.get_running_loop()).turn()


def hurry_debug_lines() -> None:
    """Send the SDK's debug lines without waiting until the engine has them; all others as before."""
    engine: Any = SETTINGS.engine
    if engine is not None:
        engine.Log = _unhurried(engine.Log)


def _unhurried(log: Any) -> Callable[[Any], object]:  # noqa: ANN401 - grpc brings no types
    def send(request: Any) -> object:  # noqa: ANN401
        return log.future(request) if request.severity == engine_pb2.DEBUG else log(request)

    return send


class _Pacer:
    """Sees in every turn of the loop whether anything has changed since the turn before."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.seen = (0, 0)
        self.idle_turns = 0

    def turn(self) -> None:
        outstanding = (len(SETTINGS.outputs), len(SETTINGS.rpc_manager.rpcs))
        self.idle_turns = self.idle_turns + 1 if outstanding == self.seen else 0
        self.seen = outstanding
        if self.idle_turns > PATIENT_TURNS:
            doublings = min(self.idle_turns - PATIENT_TURNS - 1, 10)
            time.sleep(min(PAUSE, SHORTEST_PAUSE * 2**doublings))
        self.loop.call_soon(self.turn)
