"""What a guest's first commands do to the accounts of former seeds, run on a machine like a guest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
import yaml

from providers.state import cloudinit
from testbed import Machine
from tests.unit.state.test_cloudinit import IDENTITY, NETWORK

SUDOERS = "/etc/sudoers.d/90-cloud-init-users"
LISTED = "/etc/kvm-lab-users"
USERS = ("student", "stud", "teacher")


@pytest.fixture
def machine(hypervisor: Machine) -> Iterator[Machine]:
    """A machine with three accounts as cloud-init makes them."""
    for user in USERS:
        make = f"useradd -m {user}; install -d ~{user}/.ssh; echo key > ~{user}/.ssh/authorized_keys"
        allow = f"mkdir -p /etc/sudoers.d; echo '{user} ALL=(ALL) NOPASSWD:ALL'"
        hypervisor.ssh(["sh", "-c", f"{make}; {allow} >> {SUDOERS}"])
    yield hypervisor
    for user in USERS:
        hypervisor.ssh(["userdel", "-r", user])
    hypervisor.ssh(["rm", SUDOERS, LISTED])


def boot(machine: Machine, user: str) -> set[str]:
    """Run the commands of a seed for `user`; return who may log in and become root after it."""
    seed = cloudinit.render(dataclasses.replace(IDENTITY, user=user), NETWORK)
    for command in yaml.safe_load(seed.user_data)["runcmd"]:
        machine.ssh(command)
    keys = machine.ssh(["sh", "-c", "ls /home/*/.ssh/authorized_keys"]).stdout.split()
    allowed = {line.split()[0] for line in machine.ssh(["grep", "ALL=", SUDOERS]).stdout.splitlines()}
    assert allowed == {path.split("/")[2] for path in keys}
    return allowed


def test_only_the_user_of_the_last_seed_keeps_its_rights(machine: Machine) -> None:
    assert boot(machine, "student") == {"student", "stud", "teacher"}  # no seed of ours made the others
    assert boot(machine, "student") == {"student", "stud", "teacher"}
    assert boot(machine, "teacher") == {"stud", "teacher"}
    assert machine.ssh(["cat", LISTED]).stdout.split() == ["student", "teacher"]
    assert machine.ssh(["stat", "-c", "%U", "/home/student"]).stdout.split() == ["student"]
