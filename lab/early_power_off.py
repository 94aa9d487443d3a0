"""Guests power off while the engine gets ready to give them other disks: each takes seconds."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Self

from config import Host
from lab.students import DiskInUse
from lab.terminal import say
from providers.errors import LabError
from providers.guest_power import active, domain_state, power_off
from providers.state.virsh import ENDED, VIRSH, parse_block_sources
from providers.transport import Session, connect

GRACE, GRACE_EACH = 30.0, 5.0
"""Seconds that one guest may take to power off, and that each further one of its host adds.

Short: who is reset has broken something, maybe what would answer the request. The disk is put away as it is.
"""


class StandBy:
    """Hosts that are connected to before it is known what to ask of them, while the state is read.

    As a context manager it lets go of those of which nothing was asked.

    Args:
        hosts: where guests may have to power off.
    """

    def __init__(self, hosts: Iterable[Host]) -> None:
        self._rooms = {host.name: _Room(host) for host in hosts}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for room in self._rooms.values():
            room.let_go()

    def change_disks(self, guests: Iterable[DiskInUse], change: Callable[[], int]) -> int:
        """Ask `guests` to power off, `change` their disks meanwhile, and return the status of that.

        One that does not power off in time loses its power. Unless the status is 0, those guests that ran
        before and have their disk still run again. What fails in powering off is the engine's to tell: it
        asks each guest again before it takes its domain away.

        Args:
            guests: those whose domains `change` replaces, on the hosts that stand by.
            change: the run of the engine.
        """
        by_room: dict[_Room, list[DiskInUse]] = {}
        for guest in guests:
            by_room.setdefault(self._rooms[guest.host.name], []).append(guest)
        status = None
        try:
            for room, in_room in by_room.items():
                room.power_off(in_room)
            status = change()
        finally:
            if status != 0:
                _take_back(by_room)
        return status


def _take_back(rooms: Iterable[_Room]) -> None:
    threads = [threading.Thread(target=room.take_back, daemon=True) for room in rooms]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:
        for room in rooms:
            room.tell_off("interrupted")
        raise


class _Room:
    """One host, and the guests of it that power off."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._guests: dict[str, DiskInUse] = {}
        self._told = threading.Event()
        self._asked: list[DiskInUse] = []
        self._failed = threading.Event()
        # a daemon: a second interrupt is not to wait for guests that take their time
        self._asking = threading.Thread(target=self._ask, daemon=True, name=f"power off on {host.name}")
        self._asking.start()

    def power_off(self, guests: Iterable[DiskInUse]) -> None:
        """Ask these guests to power off."""
        self._guests = {guest.uuid: guest for guest in guests}
        self._told.set()

    def let_go(self) -> None:
        """Do no more than what was asked, if anything was."""
        self._told.set()

    def _ask(self) -> None:
        with contextlib.suppress(LabError), connect(self._host.endpoint) as session:
            self._told.wait()
            if not self._guests:
                return
            patience = min(GRACE + GRACE_EACH * (len(self._guests) - 1), self._host.shutdown_timeout)
            running = active(session, "--state-running")
            if self._failed.is_set():
                return
            # by UUID: the domain that takes the place of one has its name
            self._asked = [guest for uuid, guest in self._guests.items() if uuid in running]
            uuids = [guest.uuid for guest in self._asked]
            for uuid in power_off(session, uuids, patience, stop=self._failed):
                if not self._failed.is_set():
                    _cut(session, self._guests[uuid], patience)

    def take_back(self) -> None:
        """Start those that ran and have their disk, once they are off: nothing became of the change."""
        self._failed.set()
        self.let_go()
        self._asking.join()
        if not self._asked:
            return
        patience = self._host.shutdown_timeout
        say(f"{self._names}: to run again once off, which may take {patience} s")
        try:
            with connect(self._host.endpoint) as session:
                # a guest that was asked goes off now or later: it is waited for
                power_off(session, [guest.uuid for guest in self._asked], patience)
                for guest in self._asked:
                    _start(session, guest)
        except LabError as error:
            self.tell_off(error.seen)

    def tell_off(self, why: str) -> None:
        """Say which guests may be off now."""
        if self._asked:
            say(f"{self._names} may be off ({why}): on {self._host.name}, `virsh start` starts what is")

    @property
    def _names(self) -> str:
        return ", ".join(guest.domain for guest in self._asked)


def _cut(session: Session, guest: DiskInUse, patience: float) -> None:
    if session.run([*VIRSH, "destroy", "--domain", guest.uuid], check=False).exit_status == 0:
        say(f"{guest.domain} did not power off in {patience:.0f} s: its power was cut")


def _start(session: Session, guest: DiskInUse) -> None:
    """Start the domain if it is there with that disk, and its guest does not run."""
    disks = session.run([*VIRSH, "domblklist", "--domain", guest.uuid], check=False).stdout
    if domain_state(session, guest.uuid) not in ENDED or guest.disk not in parse_block_sources(disks):
        return
    done = session.run([*VIRSH, "start", "--domain", guest.uuid], check=False)
    if done.exit_status == 0:
        say(f"{guest.domain} runs again, with the disk that it had")
    else:
        say(f"{guest.domain} is off: virsh start: {done.stderr.strip()}")
