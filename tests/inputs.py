"""How a machine of the testbed is told to the program: as inputs of a resource, and in a stack file."""

from __future__ import annotations

from typing import Any

from tests.faults.host import Host


def login(machine: Host) -> dict[str, Any]:
    """Return how one logs in to the machine; an endpoint and a stack file's host call it the same."""
    return {
        "address": machine.address,
        "identity_file": machine.identity_file,
        "host_keys": list(machine.host_keys),
    }


def inputs_on(machine: Host, stack: str = "kvm-lab/one") -> dict[str, Any]:
    """Return the inputs that every thing on the machine has."""
    return {"endpoint": {"host": machine.name, **login(machine)}, "stack": stack}
