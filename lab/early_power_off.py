"""Guests power off while the engine gets ready to give them other disks: each takes seconds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable

from config import Host
from lab.students import DiskInUse
from lab.terminal import say
from providers.errors import LabError
from providers.guest_power import power_off
from providers.state.virsh import ENDED, VIRSH, parse_block_sources
from providers.transport import Session, connect

GRACE, GRACE_EACH = 30.0, 5.0
"""Seconds that one guest may take to power off, and that each further one of its host adds.

Short: who is reset has broken something, maybe what would answer the request. The disk is put away as it is.
"""


def change_disks(guests: Iterable[DiskInUse], change: Callable[[], int]) -> int:
    """Ask `guests` to power off, `change` their disks meanwhile, and return the status of that.

    One that does not power off in time loses its power. Unless the status is 0, those guests that have their
    disk still run again. What fails in powering off is the engine's to tell: it asks each guest again before
    it takes its domain away.

    Args:
        guests: those whose domains `change` replaces.
        change: the run of the engine.
    """
    by_host: dict[str, tuple[Host, list[DiskInUse]]] = {}
    for guest in guests:
        by_host.setdefault(guest.host.name, (guest.host, []))[1].append(guest)
    rooms = [_Room(host, of_host) for host, of_host in by_host.values()]
    status = None
    try:
        status = change()
    finally:
        if status != 0:
            for room in rooms:
                room.take_back()
    return status


class _Room:
    """Guests of one host that power off."""

    def __init__(self, host: Host, guests: list[DiskInUse]) -> None:
        self._host, self._guests = host, guests
        # a daemon: a second interrupt is not to wait for guests that take their time
        self._asking = threading.Thread(target=self._ask, daemon=True, name=f"power off on {host.name}")
        self._asking.start()

    def _ask(self) -> None:
        # by UUID: the domain that takes the place of one has its name
        names = {guest.uuid: guest.domain for guest in self._guests}
        patience = min(GRACE + GRACE_EACH * (len(names) - 1), self._host.shutdown_timeout)
        with contextlib.suppress(LabError), connect(self._host.endpoint) as session:
            for uuid in power_off(session, names, patience):
                session.run([*VIRSH, "destroy", "--domain", uuid], check=False)
                say(f"{names[uuid]} did not power off in {patience:.0f} s: its power was cut")

    def take_back(self) -> None:
        """Start again, once they are off, those that have their disk still: nothing became of the change."""
        self._asking.join()
        with contextlib.suppress(LabError), connect(self._host.endpoint) as session:
            for guest in self._guests:
                if _is_off(session, guest):
                    session.run([*VIRSH, "start", "--domain", guest.uuid])
                    say(f"{guest.domain} runs again, with the disk that it had")


def _is_off(session: Session, guest: DiskInUse) -> bool:
    """Whether the domain is there with that disk, and its guest does not run."""
    state = session.run([*VIRSH, "domstate", "--domain", guest.uuid], check=False).stdout.strip()
    disks = session.run([*VIRSH, "domblklist", "--domain", guest.uuid], check=False).stdout
    return state in ENDED and guest.disk in parse_block_sources(disks)
