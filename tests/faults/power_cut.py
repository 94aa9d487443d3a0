"""Power cuts of a machine with a page cache and a disk cache of its own: a killed container loses neither.

The machine is `testbed.virtual`'s. It is set so that nothing reaches its disk by itself, as the administrator
of a real host may set it: what survives is what was synced. Each case proves that by a witness, a file that
nobody syncs, whose content must be gone.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from functools import partial

from tests.faults.changes import GIVE_BACK, LIVE, TAKE_OVER, Change
from tests.faults.disturb import TRANSACTION, Gate, shell
from tests.faults.rig import NEW, OLD, Case, Scene

# Neither the journal nor the page cache is written because time has passed. A disk's share of the page cache
# grows with what is written to it: without a least share all is written at once on one that has just started.
_SETTINGS = """
mount -o remount,commit=300 /
echo 0 >/proc/sys/vm/dirty_writeback_centisecs
echo 99 >/sys/block/vda/bdi/min_ratio
"""
KERNEL = frozenset({"kernel"})
"""What a machine needs: `testbed.virtual.VirtualMachine` has it."""
TIMEOUT = 60
"""Seconds until such a machine, slow as it is, undoes what was not confirmed."""
_WITNESS = "/var/tmp/witness"
_BYSTANDER = "/var/tmp/bystander"


class Loss(StrEnum):
    """How much is lost of what was not synced."""

    ALL = "all"
    """All of it, the names of files too: the change would be forgotten as a whole."""
    CONTENT = "content"
    """The content: another program's sync has committed the names, so that a new file is there and empty."""


Reach = Callable[[Scene], None]
"""Starts the client, and returns at the moment of the power cut."""


def _step(name: str, scene: Scene) -> None:
    """Come to where the client is about to take a step."""
    _prepare(scene)
    scene.client(name)


def _held(gate: Callable[[Scene], Gate], scene: Scene) -> None:
    """Come to where a gate holds the host; its network may be down."""
    held = gate(scene)
    _prepare(scene)
    scene.client()
    held.reached()


def _rollback(scene: Scene) -> None:
    """Come to where the host is about to undo the change, because it was asked to."""
    gate = Gate.verdict(scene, "rolling-back")
    _prepare(scene)
    scene.client("confirm")
    shell(scene, f"sh {TRANSACTION}/transaction.sh abandon")
    gate.reached()


def _prepare(scene: Scene) -> None:
    """Set the machine; what it has is on its disk then, but for the witness."""
    shell(scene, f"set -e; {_SETTINGS} sync; echo unsynced >{_WITNESS}")


UNCONFIRMED: dict[str, Reach] = {
    "staged": partial(_step, "arm"),
    "armed": partial(_step, "apply"),
    "half swapped": partial(_held, partial(Gate.phase, phase="swap")),
    "swapped": partial(_held, partial(Gate.phase, phase="up")),
    "applied": partial(_step, "confirm"),
    "rolling back": _rollback,
}
CONFIRMED: dict[str, Reach] = {
    "half confirmed": partial(_held, partial(Gate.verdict, verdict="confirmed")),
    "confirmed": partial(_step, "confirmed"),
}


def _cut(reach: Reach, loss: Loss, scene: Scene) -> None:
    """Cut the power at a moment, start the machine again, and see that what was not synced is lost."""
    reach(scene)
    if loss is Loss.CONTENT:
        shell(scene, f"echo >{_BYSTANDER} && sync {_BYSTANDER}")
    scene.power_cut()
    for client in scene.clients:
        client.kill()
    kept = shell(scene, f"cat {_WITNESS} 2>/dev/null; rm -f {_WITNESS} {_BYSTANDER}")
    assert "unsynced" not in kept, "the machine has lost nothing: the case proves nothing"


def _case(change: Change, moment: str, loss: Loss) -> Case:
    """Return a case: a change that was confirmed must survive the power cut, any other must be undone."""
    return Case(
        name=f"power and cache lost when {moment}, {change.name}, {loss}",
        change=change,
        play=partial(_cut, {**UNCONFIRMED, **CONFIRMED}[moment], loss),
        ends=NEW if moment in CONFIRMED else OLD,
        settles=moment != "staged",
        needs=KERNEL,
    )


SHORT = (
    _case(TAKE_OVER, "applied", Loss.CONTENT),
    _case(TAKE_OVER, "confirmed", Loss.ALL),
)
"""Those of `make test`: what must not be kept, and what must not be lost."""
CASES = (
    *SHORT,
    *(_case(TAKE_OVER, moment, Loss.CONTENT) for moment in ("staged", "armed", "confirmed")),
    *(
        _case(TAKE_OVER, moment, Loss.ALL)
        for moment in ("half swapped", "swapped", "rolling back", "half confirmed")
    ),
    _case(GIVE_BACK, "applied", Loss.CONTENT),
    *(_case(GIVE_BACK, moment, Loss.ALL) for moment in ("swapped", "half confirmed", "confirmed")),
    _case(LIVE, "applied", Loss.CONTENT),
    _case(LIVE, "confirmed", Loss.ALL),
)
"""Those of `make faults`."""
