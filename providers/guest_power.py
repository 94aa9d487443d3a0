"""Powering guests off by asking them to, so that they write out what they hold."""

from __future__ import annotations

import time
from collections.abc import Collection

from providers.state.virsh import VIRSH
from providers.transport import Session

PAUSE = 1.0  # seconds between two looks
ASK_AGAIN = 10  # looks; a guest that is still booting misses the request


def power_off(session: Session, domains: Collection[str], timeout: float) -> list[str]:
    """Ask guests of a host to power off; return those that still run after `timeout` seconds.

    Args:
        session: with the host.
        domains: the guests' names or UUIDs in libvirt; one that libvirt does not know counts as off. A UUID
            is never another domain's, which a name may come to be meanwhile.
        timeout: seconds that they may take.
    """
    deadline = time.monotonic() + timeout
    looks = 0
    while on := sorted(_active(session) & set(domains)):
        if time.monotonic() > deadline:
            return on
        if looks % ASK_AGAIN == 0:
            for domain in on:
                session.run([*VIRSH, "shutdown", "--domain", domain], check=False)
        looks += 1
        time.sleep(PAUSE)
    return []


def _active(session: Session) -> set[str]:
    """Return the names and UUIDs of the domains that run, or are paused, or are powering off."""
    lines = session.run([*VIRSH, "list", "--uuid", "--name"]).stdout.splitlines()
    return {word for line in lines for word in line.split(maxsplit=1)}
