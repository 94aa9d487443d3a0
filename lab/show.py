"""Read the hosts of a stack for `make show`: their bridges, and which guests answer. Nothing is changed."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import providers
from config import Guest, Lab
from lab.glances import Reading, read_hosts
from lab.views import Answer, HostSeen
from providers.errors import LabError
from providers.state import bridge_table
from providers.transport import ConnectError, Session

LOGIN = 5.0
"""Seconds to log in to a host."""
DEADLINE = 20.0
"""Seconds for one host with all its guests; libvirt takes some of them when it was idle."""
KEY_TIMEOUT = 5.0
"""Seconds for a guest to show its SSH host key: a host gives up the address of one that is off after 3."""
ASKED_AT_ONCE = 64
_RESERVE = 0.5  # seconds before the deadline in which no guest is asked any more
_SCRIPT = Path(providers.__file__).with_name("scripts") / "bridge-table.sh"


def read(lab: Lab, away: Mapping[str, LabError]) -> dict[str, HostSeen | LabError]:
    """Return what was read of each host by name, or why it was not.

    Args:
        lab: the stack.
        away: hosts that are not contacted, and what is to be told of them instead.
    """
    hosts = {host.name: host for host in lab.hosts if host.name not in away}
    script = _SCRIPT.read_text(encoding="utf-8")

    def read_host(session: Session, until: float) -> HostSeen:
        host = hosts[session.endpoint.host]
        argv = ["sh", "-c", script, "bridge-table", host.bridge.name]
        # the table first: being asked makes guests talk, and all would have been heard just now
        text = session.run(argv, timeout=max(until - time.monotonic(), 1.0)).stdout
        return HostSeen(bridge_table.parse(text, host.bridge.name), ask(session, host.guests, until))

    reading = Reading(
        read_host,
        asked="read its bridge",
        remedy="look whether `ip -j -d link` and `bridge -j fdb` on the host print JSON",
        deadline=DEADLINE,
        login=LOGIN,
    )
    found = read_hosts([host.endpoint for host in hosts.values()], reading)
    return {**away, **found}


def ask(session: Session, guests: Sequence[Guest], until: float) -> dict[str, Answer]:
    """Ask guests for their SSH host key, from the host, all at once, and no longer than `until`."""

    def ask_one(guest: Guest) -> tuple[str, Answer] | None:
        timeout = min(KEY_TIMEOUT, until - _RESERVE - time.monotonic())
        if timeout <= 0:
            return None
        try:
            key = session.server_host_key(str(guest.address.ip), timeout=timeout)
        except ConnectError as error:
            return guest.name, Answer(None, error.seen)
        return guest.name, Answer(key)

    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return dict(filter(None, pool.map(ask_one, guests)))
