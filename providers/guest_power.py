"""Powering guests off by asking them to, so that they write out what they hold."""

from __future__ import annotations

import time
from collections.abc import Collection

from providers.errors import LabError
from providers.state.virsh import VIRSH
from providers.transport import Endpoint, Session, connect

PAUSE = 1.0  # seconds between two looks
ASK_AGAIN = 10  # looks; a guest that is still booting misses the request


def power_off(endpoint: Endpoint, domains: Collection[str], timeout: float) -> None:
    """Ask guests of a host to power off, and return when all are off; one that is off already is no error.

    Args:
        endpoint: the host.
        domains: the guests' names or UUIDs in libvirt; one that libvirt does not know counts as off. A UUID
            is never another domain's, which a name may come to be meanwhile.
        timeout: seconds that they may take.

    Raises:
        LabError: some did not; their power was not cut.
    """
    with connect(endpoint) as session:
        deadline = time.monotonic() + timeout
        for looks in range(int(timeout / PAUSE) + 2):
            on = sorted(_active(session) & set(domains))
            if not on:
                return
            if time.monotonic() > deadline:
                raise LabError(
                    f"{endpoint.host}: power off {', '.join(on)}",
                    f"after {timeout:.0f} s not done",
                    "look at the console (virsh console); `virsh destroy` cuts a guest's power, "
                    "and what it has not written is lost",
                )
            if looks % ASK_AGAIN == 0:
                for domain in on:
                    session.run([*VIRSH, "shutdown", "--domain", domain], check=False)
            time.sleep(PAUSE)


def _active(session: Session) -> set[str]:
    """Return the names and UUIDs of the domains that run, or are paused, or are powering off."""
    lines = session.run([*VIRSH, "list", "--uuid", "--name"]).stdout.splitlines()
    return {word for line in lines for word in line.split(maxsplit=1)}
