"""Keeps the program from using a whole core while it only waits.

While outputs are outstanding, Pulumi's SDK turns its event loop without a pause (`wait_for_rpcs` in
pulumi/runtime/stack.py awaits `asyncio.sleep(0)`), for as long as the slowest resource takes. On a machine
that runs guests without hardware virtualisation, that core is one that the guests would boot with.
"""

from __future__ import annotations

import asyncio
import time

from pulumi.runtime.settings import SETTINGS

PATIENT_TURNS = 200
PAUSE = 0.01
"""Seconds; what one answer of the engine may come later by."""


def pace_event_loop() -> None:
    """Let the running event loop pause between turns in which nothing was answered."""
    _Pacer(asyncio.get_running_loop()).turn()


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
            time.sleep(PAUSE)
        self.loop.call_soon(self.turn)
