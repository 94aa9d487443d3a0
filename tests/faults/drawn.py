"""Random cases: a change, a fault, the step at which it strikes, and how long after that."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from providers.host_network import FOLDER
from tests.faults.changes import CHANGES, LIVE
from tests.faults.client import STEPS, Client
from tests.faults.disturb import (
    TRANSACTION,
    failing_once,
    fill,
    full_disk,
    hook,
    kill_apply,
    shell,
    stop_sshd,
)
from tests.faults.rig import EITHER, TIMEOUT, Case, Scene

_LONGEST_DELAY = 2.0
_LONGEST_FAULT = TIMEOUT + 5


@dataclass(frozen=True)
class Draw:
    """One random case; its name says all of it."""

    number: int
    change: str
    fault: str
    step: str
    delay: float
    """Seconds from the beginning of the step to the fault."""
    lasting: int
    """Seconds until the fault is over, for those that end."""

    @property
    def case(self) -> Case:
        """The case that it describes."""
        how_long = f" {self.lasting} s" if self.fault in LASTING else ""
        where = "" if self.fault in ARRANGED else f", {self.step}+{self.delay:.1f} s"
        name = f"r{self.number} {self.change}: {self.fault}{how_long}{where}"
        return Case(name, CHANGES[self.change], partial(_play, self), EITHER)


def draws(seed: int, count: int) -> Iterator[Draw]:
    """Draw cases: the same ones for the same seed, and the first ones of any larger count."""
    source = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    for number in range(1, count + 1):
        change = source.choice(sorted(CHANGES))
        yield Draw(
            number=number,
            change=change,
            fault=source.choice([*STRIKES, *(_HOOKS if change != LIVE.name else _COMMANDS)]),
            step=source.choice(STEPS),
            delay=round(source.uniform(0, _LONGEST_DELAY), 1),
            lasting=source.randint(1, _LONGEST_FAULT),
        )


def _play(draw: Draw, scene: Scene) -> None:
    if draw.fault in ARRANGED:
        ARRANGED[draw.fault](scene)
        scene.client().end()
        return
    if draw.fault == _DISK_FULL:
        full_disk(scene, FOLDER, spare=200)
    client = scene.client()
    client.came_to(draw.step)
    time.sleep(draw.delay)
    STRIKES[draw.fault](scene, client, draw.lasting)


def _refuse(scene: Scene, _client: Client, seconds: int) -> None:
    scene.proxy.refuse()
    time.sleep(seconds)
    scene.proxy.admit()


def _freeze(scene: Scene, _client: Client, seconds: int) -> None:
    scene.proxy.freeze()
    time.sleep(seconds)
    scene.proxy.cut()


def _unplug(scene: Scene, _client: Client, seconds: int) -> None:
    scene.unplug("eth0")
    time.sleep(seconds)
    scene.plug("eth0")


def _roll_back(scene: Scene, _client: Client, _seconds: int) -> None:
    script = f"{TRANSACTION}/transaction.sh"
    command = f"[ ! -e {script} ] || systemd-run --quiet --wait --collect sh {script} rollback"
    shell(scene, command, check=False)


_DISK_FULL = "disk full"
STRIKES: dict[str, Callable[[Scene, Client, int], None]] = {
    "kill client": lambda _scene, client, _: client.kill(),
    "cut connection": lambda scene, _client, _: scene.proxy.cut(),
    "refuse connections": _refuse,
    "freeze connections": _freeze,
    "unplug cable": _unplug,
    "power cut": lambda scene, _client, _: scene.power_cut(),
    "stop sshd": lambda scene, _client, seconds: stop_sshd(scene, seconds),
    "kill apply": lambda scene, _client, _: kill_apply(scene),
    "roll back by hand": _roll_back,
    _DISK_FULL: lambda scene, _client, _: fill(scene, FOLDER),
}
"""Fault -> what is done at the drawn moment, with the client and the seconds until it is over."""
LASTING = frozenset({"refuse connections", "freeze connections", "unplug cable", "stop sshd"})


def _hook(folder: str, action: str, scene: Scene) -> None:
    change = scene.change
    hook(scene, folder, change.brings_up if folder == "if-up.d" else change.takes_down, action)


_FAILS, _HANGS = "echo the hook says no >&2; exit 7", "exec sleep 600"
_HOOKS: dict[str, Callable[[Scene], None]] = {
    "failing up hook": partial(_hook, "if-up.d", _FAILS),
    "hanging up hook": partial(_hook, "if-up.d", _HANGS),
    "failing down hook": partial(_hook, "if-down.d", _FAILS),
    "hanging down hook": partial(_hook, "if-down.d", _HANGS),
}
_COMMANDS: dict[str, Callable[[Scene], None]] = {
    "failing command": lambda scene: failing_once(scene, "ip", "type bridge"),
}
ARRANGED = {**_HOOKS, **_COMMANDS}
"""Fault -> what is arranged before the client starts."""
