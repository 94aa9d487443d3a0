"""A login by another user than root: every command goes through sudo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from providers.transport import AuthError, Endpoint, connect
from testbed import Machine, Spec, Testbed

USER = "teacher"
SUDOERS = f"/etc/sudoers.d/{USER}"


@pytest.fixture(scope="module")
def machine(testbed: Testbed) -> Iterator[Machine]:
    """A machine with a user whom sudo does not know yet."""
    address = testbed.network.range.network_address + 62
    (started,) = testbed.start([Spec(name="sudo", address=address)])
    started.reset()
    started.ssh(["useradd", "--create-home", "--shell", "/bin/bash", USER])
    copy = f"mkdir ~{USER}/.ssh && cp ~/.ssh/authorized_keys ~{USER}/.ssh && chown -R {USER}: ~{USER}/.ssh"
    started.ssh(["sh", "-c", copy])
    yield started
    started.poweroff()


@pytest.fixture
def endpoint(machine: Machine) -> Endpoint:
    return Endpoint(
        host=machine.name,
        address=machine.address,
        port=machine.port,
        user=USER,
        identity_file=machine.identity_file,
        host_keys=machine.host_keys,
    )


def test_sudo_that_refuses_is_told_with_its_remedy(endpoint: Endpoint) -> None:
    with connect(endpoint) as session, pytest.raises(AuthError, match=rf"NOPASSWD[\s\S]*{SUDOERS}"):
        session.run(["true"], check=False)


def test_everything_happens_as_root(machine: Machine, endpoint: Endpoint) -> None:
    machine.ssh(["sh", "-c", f"echo '{USER} ALL=(ALL) NOPASSWD: ALL' > {SUDOERS}"])
    with connect(endpoint) as session, session.lock("test"):
        assert session.run(["id", "-un"]).stdout == "root\n"
        assert session.run(["sh", "-c", 'echo "$X"'], env={"X": "a b"}).stdout == "a b\n"
        session.write("/root/file", b"x", mode=0o600)
        assert session.read("/root/file") == b"x"
        assert session.run(["stat", "-c", "%U %a", "/root/file"]).stdout == "root 600\n"
        assert session.remove("/root/file")
        assert session.run(["cat", SUDOERS + ".none"], check=False).exit_status == 1


def test_machine_without_sudo(machine: Machine, endpoint: Endpoint) -> None:
    machine.ssh(["mv", "/usr/bin/sudo", "/usr/bin/sudo.away"])
    try:
        with connect(endpoint) as session, pytest.raises(AuthError, match="apt-get install sudo"):
            session.run(["true"])
    finally:
        machine.ssh(["mv", "/usr/bin/sudo.away", "/usr/bin/sudo"])
