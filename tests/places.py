"""The networks, bridges and folders of the tests' machines.

Two clones can be tested side by side on one machine: each with its own number in KVM_LAB_TEST_SLOT, 0 to 11.
Of two files at a time (scripts/run-tests), the one has this number and the other the twelfth after it.
"""

from __future__ import annotations

import os
from ipaddress import IPv4Address, IPv4Network

_NETWORKS_PER_SLOT = 10
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
SLOT = int(os.environ.get("KVM_LAB_TEST_SLOT", "0")) + 12 * _WORKER
SUFFIX = str(SLOT or "")
"""What the names of this run end in, where they would be those of another one."""


def subnet(number: int) -> IPv4Network:
    """Return one of this clone's networks; 0 is that of the shared testbed."""
    return IPv4Network(f"198.18.{SLOT * _NETWORKS_PER_SLOT + number}.0/24")


def address(host: int, number: int = 0) -> IPv4Address:
    """Return the address of a host in one of this clone's networks."""
    return subnet(number).network_address + host


def bridge(name: str) -> str:
    """Return a bridge's name on this machine; `name` has at most 13 letters."""
    return f"{name}{SUFFIX}"


def folder(name: str) -> str:
    """Return a folder in the clone for machines: what a killed run left in it is of the same places."""
    return f".lab/test-{name}{SUFFIX}"
