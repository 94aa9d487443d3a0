"""A guest as its user meets it, and as its host sees it."""

from __future__ import annotations

import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from testbed import Machine

BOOT_DEADLINE = 240.0


@dataclass(frozen=True)
class GuestLogin:
    """How to log in to a guest with strict host keys; the login writes the file `known_hosts` itself."""

    address: str
    user: str
    host_key: str
    identity_file: str
    known_hosts: Path

    def ssh(self, *argv: str, check: bool = True) -> str:
        """Run a command in the guest and return what it printed."""
        self.known_hosts.write_text(f"{self.address} {self.host_key}\n")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "10",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
        }
        settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        argv_ssh = ["ssh", "-F", "none", "-i", self.identity_file, *settings, f"{self.user}@{self.address}"]
        done = subprocess.run(
            [*argv_ssh, shlex.join(argv)], capture_output=True, text=True, check=False, timeout=60
        )
        assert not check or done.returncode == 0, done.stderr
        return done.stdout

    def answers(self) -> bool:
        """Whether a login works now."""
        return self.ssh("echo", "here", check=False).strip() == "here"

    def wait(self) -> None:
        """Wait until a login works."""
        deadline = time.monotonic() + BOOT_DEADLINE
        while not self.answers():
            assert time.monotonic() < deadline, f"{self.address} does not answer"
            time.sleep(1)


def domain_xml(machine: Machine, domain: str) -> ET.Element:
    """Return a domain's definition, `virsh dumpxml`."""
    text = machine.ssh(["virsh", "-c", "qemu:///system", "dumpxml", domain]).stdout
    return ET.fromstring(text)  # noqa: S314 - our own libvirt's


def virsh(machine: Machine, *argv: str) -> str:
    """Run virsh on a machine and return what it printed."""
    return machine.ssh(["virsh", "-q", "-c", "qemu:///system", *argv]).stdout
