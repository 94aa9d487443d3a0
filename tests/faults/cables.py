"""This machine's end of the cables of a testbed machine."""

from __future__ import annotations

import subprocess

from testbed import Machine


def unplug(machine: Machine, nic: str) -> None:
    """Let the cable of a card lead nowhere; each boot plugs it in again."""
    _set(machine, nic, "nomaster")


def plug(machine: Machine, nic: str) -> None:
    """Let the cable of a card lead to the testbed's network."""
    _set(machine, nic, "master", machine.around.network.bridge)


def _set(machine: Machine, nic: str, *setting: str) -> None:
    cable = machine.cables[machine.nics.index(nic)]
    subprocess.run(["ip", "link", "set", cable, *setting], check=True)
