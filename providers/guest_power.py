"""Powering a guest off by asking it to, so that it writes out what it holds."""

from __future__ import annotations

import time

from providers.errors import LabError
from providers.guest_ready import ENDED
from providers.libvirt_host import VIRSH
from providers.transport import Endpoint, connect

PAUSE = 1.0  # seconds between two looks
ASK_AGAIN = 10  # looks; a guest that is still booting misses the request


def power_off(endpoint: Endpoint, domain: str, timeout: float) -> None:
    """Ask a guest to power off, and return when it is off; one that is off already is no error.

    Args:
        endpoint: its host.
        domain: its name in libvirt.
        timeout: seconds that it may take.

    Raises:
        LabError: it did not; its power was not cut.
    """
    with connect(endpoint) as session:
        deadline = time.monotonic() + timeout
        for looks in range(int(timeout / PAUSE) + 2):
            state = session.run([*VIRSH, "domstate", "--domain", domain]).stdout.strip()
            if state in ENDED:
                return
            if time.monotonic() > deadline:
                raise LabError(
                    f"{endpoint.host}: power domain {domain} off, to boot it again",
                    f"after {timeout:.0f} s it is: {state}",
                    "look at its console (virsh console); `virsh destroy` cuts its power, "
                    "and what it has not written is lost",
                )
            if looks % ASK_AGAIN == 0:
                session.run([*VIRSH, "shutdown", "--domain", domain], check=False)
            time.sleep(PAUSE)
