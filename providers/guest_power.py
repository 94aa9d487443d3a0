"""Powering guests off by asking them to, so that they write out what they hold."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from providers.state.virsh import VIRSH
from providers.transport import Session

PAUSE = 1.0  # seconds between two looks
ASK_AGAIN = 10  # looks; a guest that is still booting misses the request


def power_off(
    session: Session, domains: Collection[str], timeout: float, stop: threading.Event | None = None
) -> list[str]:
    """Ask guests of a host to power off; return those that still run after `timeout` seconds.

    Args:
        session: with the host.
        domains: the guests' names or UUIDs in libvirt; one that libvirt does not know counts as off. A UUID
            is never another domain's, which a name may come to be meanwhile.
        timeout: seconds that they may take.
        stop: ends the wait, once they were asked, when it is set.
    """
    stop = stop or threading.Event()
    deadline = time.monotonic() + timeout
    looks = 0
    while on := sorted(active(session) & set(domains)):
        if looks and (stop.is_set() or time.monotonic() > deadline):
            return on
        if looks % ASK_AGAIN == 0:
            for domain in on:
                session.run([*VIRSH, "shutdown", "--domain", domain], check=False)
        looks += 1
        stop.wait(PAUSE)
    return []


def active(session: Session, *states: str) -> set[str]:
    """Return the names and UUIDs of the domains that run, or are paused, or are powering off.

    Args:
        session: with the host.
        states: options of `virsh list` for some of these states only, such as --state-running.
    """
    lines = session.run([*VIRSH, "list", "--uuid", "--name", *states]).stdout.splitlines()
    return {word for line in lines for word in line.split(maxsplit=1)}


def domain_state(session: Session, domain: str) -> str:
    """Return a domain's state in virsh's words, such as "running"; else why there is none."""
    asked = session.run([*VIRSH, "domstate", "--domain", domain], check=False)
    return asked.stdout.strip() or asked.stderr.strip()
