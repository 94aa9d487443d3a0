"""A hypervisor of the testbed for guests that we make, and for guests that a shell loop makes beside them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import yaml

from bench import loop
from bench.answers import Timing, timed
from config import Lab
from lab.report import SSH_PORT, Login
from lab.settings import Settings
from lab.stack import engine_of, stack_arguments
from providers.base_image import base_image_file
from providers.errors import LabError
from providers.state.virsh import VIRSH, parse_block_sources
from testbed import Machine, Testbed, processes
from testbed.lab import IMAGES

TESTBED_BRIDGE = "labbenchst"
RANGE = IPv4Network("198.18.251.0/24")
STACK, HOST, BRIDGE, USER = "bench", "bench", "br0", "student"
MEMORY_MIB, DISK_GIB = 256, 3
PATIENCE = 1800.0
"""Seconds that guests may take to answer, or to come to rest."""
IDLE = 0.15
"""Cores' worth of time that a guest at rest uses at most, emulated as it is."""
_LOOK = 5.0  # seconds
_HOST_NUMBER, _SPARE_NUMBER = 11, 12
_VIRSH = f"{shlex.join(VIRSH)} -q"


class CommandFailed(LabError):  # noqa: N818 - the name says what happened
    """A command that is measured failed, for one guest among many perhaps, as its output says somewhere."""

    seen_lines = 400


def address(number: int) -> str:
    """Return an address of the testbed's network."""
    return str(RANGE.network_address + number)


HOST_ADDRESS = address(_HOST_NUMBER)


def stack_file(folder: Path, first: int, count: int) -> dict[str, Any]:
    """Return the stack file of a class with `count` students, whose guests' addresses begin at `first`.

    A spare guest keeps the image on the host while there is no student. `folder` is the testbed's.
    """
    key = f"{folder}/id_ed25519"
    guest = {
        "image": "debian-12",
        "memory_mib": MEMORY_MIB,
        "disk_gib": DISK_GIB,
        "user": USER,
        "ssh_key_files": [f"{key}.pub"],
    }
    image = {
        "name": "debian-12",
        "path": f"{IMAGES}/debian-12.qcow2",
        "checksum_file": f"{IMAGES}/SHA256SUMS",
    }
    host = {
        "name": HOST,
        "address": HOST_ADDRESS,
        "identity_file": key,
        "known_hosts": f"{folder}/known_hosts",
        "bridge": {"name": BRIDGE, "port": "eth0"},
        "guests": [{"name": "spare", "address": f"{address(_SPARE_NUMBER)}/{RANGE.prefixlen}", **guest}],
    }
    network, _, last = address(first - 1).rpartition(".")
    roster = {
        "network": str(RANGE),
        "address": f"{network}.{{{last} + student}}",
        "protect": False,  # they leave when they were measured
        "students": [{"group": 1, "student": number + 1, "host": HOST} for number in range(count)],
    }
    return {
        "config": {
            "kvm-lab:images": [image],
            "kvm-lab:hosts": [host],
            "kvm-lab:templates": [{"name": "small", "guests": [guest]}],
            "kvm-lab:roster": roster,
        }
    }


def cpu_seconds(domstats: str) -> dict[str, float]:
    """Return the processor time that each domain's vCPUs have used, from what `virsh domstats --vcpu` prints.

    Of the vCPUs' threads, since `cpu.time` is the cgroup's: libvirt leaves it out where it has no cpuacct.

    Raises:
        ValueError: a domain shows none.
    """
    used: dict[str, float] = {}
    for domain in re.split(r"^Domain: ", domstats, flags=re.MULTILINE)[1:]:
        name, _, stats = domain.partition("\n")
        times = re.findall(r"^\s*vcpu\.\d+\.time=(\d+)$", stats, flags=re.MULTILINE)
        if not times:
            raise ValueError(f"no processor time of {name} in: {domstats}")
        used[name] = sum(map(int, times)) / 1e9
    return used


class Classroom:
    """The host, the stack of our guests on it, and what both sides are handled with.

    Args:
        bed: where the host is started.
    """

    def __init__(self, bed: Testbed) -> None:
        self.bed = bed
        self.settings = Settings(
            root=Path.cwd(),
            stack=STACK,
            stack_file=bed.directory / f"Pulumi.{STACK}.yaml",
            testbed=bed.directory,
            bridge=TESTBED_BRIDGE,
            network=RANGE,
        )
        self.folder = bed.directory.relative_to(self.settings.root)
        self.engine = engine_of(self.settings)

    @property
    def machine(self) -> Machine:
        """The host."""
        return self.bed.machine(HOST)

    def equip(self) -> None:
        """Bring what both sides need to a bare host: packages, bridge, libvirt, image, the loop's tools.

        Raises:
            LabError: a command failed.
        """
        self.bed.directory.mkdir(parents=True, exist_ok=True)
        self.write_stack(first=_SPARE_NUMBER + 1, count=0)
        self.make("up")
        packages = " ".join(loop.PACKAGES)
        install = f"apt-get -q update && apt-get -qy install --no-install-recommends {packages}"
        self.on_host(f"export DEBIAN_FRONTEND=noninteractive; {install}")
        self.on_host(f"{_VIRSH} destroy {STACK}-spare")

    def plan(self) -> loop.Plan:
        """Return what the loop's guests share; the host is equipped."""
        (image,) = Lab.from_stack_file(self.settings.stack_file, root=self.settings.root).images
        return loop.Plan(
            base=base_image_file(image.name, image.checksum.digest, image.format),
            disk_gib=DISK_GIB,
            memory_mib=MEMORY_MIB,
            domain_type=self.engine.outputs(STACK)["hosts"][HOST]["domain_type"],
            bridge=BRIDGE,
        )

    def write_stack(self, *, first: int, count: int) -> None:
        """Write the stack file; see `stack_file`."""
        text = yaml.safe_dump(stack_file(self.folder, first, count), sort_keys=False)
        self.settings.stack_file.write_text(text)

    def pulumi_up(self) -> None:
        """Run `pulumi up` as `make up` does.

        Raises:
            LabError: it failed.
        """
        options = ["--yes", "--continue-on-error", *stack_arguments(self.settings, self.engine)]
        self._run(["pulumi", "up", *options, "--non-interactive"], self.engine.environment())

    def make(self, command: str, *options: str) -> None:
        """Run what `make COMMAND` runs.

        Raises:
            LabError: it failed.
        """
        self._run(["make", "--silent", "testbed-setup"], processes.environment(self.bed.directory))
        argv = [
            *(sys.executable, "-m", "lab", command),
            *("--stack", STACK, "--stack-file", str(self.settings.stack_file)),
            *("--testbed", str(self.folder), "--bridge", TESTBED_BRIDGE, "--range", str(RANGE)),
            *options,
        ]
        self._run(argv, processes.environment(self.bed.directory))

    def on_host(self, script: str) -> str:
        """Run a shell script on the host as root, and return what it printed.

        Raises:
            LabError: it failed.
        """
        return self.machine.ssh(["sh", "-s"], stdin=script).stdout

    def in_guest(self, where: str, host_key: str, command: str) -> str:
        """Run a command in the guest at the address `where`, and return what it printed.

        Raises:
            LabError: it failed.
        """
        login = Login(where, where, SSH_PORT, USER, f"{self.folder}/id_ed25519", (host_key,))
        known_hosts = self.bed.directory / "known_hosts.guest"
        known_hosts.write_text(login.known_hosts())
        argv = [*shlex.split(login.command(str(known_hosts))), command]
        return processes.run(argv, self.bed.directory, f"{where}: {command}")

    def first_boot(self, domain: str, where: str) -> Timing:
        """Cut a guest's power, give it an empty disk, start it, and return how long the start took.

        Raises:
            LabError: it did not answer.
        """
        disk, *_ = parse_block_sources(self.on_host(shlex.join([*VIRSH, "domblklist", domain])))
        self.on_host(f"{_VIRSH} destroy {domain}\n{loop.new_disk(self.plan(), shlex.quote(disk))}")
        return timed(lambda: self.on_host(f"{_VIRSH} start {domain}"), [where], patience=PATIENCE)

    def settle(self, running: int) -> None:
        """Wait until each of the guests has done what it does after its first answer.

        Raises:
            LabError: they do not come to rest.
        """
        deadline = time.monotonic() + PATIENCE
        while (busiest := self._busiest()) > IDLE:
            if time.monotonic() > deadline:
                raise LabError(
                    f"wait until {running} guests are at rest",
                    f"after {PATIENCE:.0f} s one of them uses {busiest:.1f} cores",
                    "look what they do; beside them the figures would say little",
                )

    def _busiest(self) -> float:
        """Return how many cores' worth of time the busiest guest uses."""
        before, then = self._cpu_seconds(), time.monotonic()
        time.sleep(_LOOK)
        used = [after - before.get(name, after) for name, after in self._cpu_seconds().items()]
        return max(used, default=0.0) / (time.monotonic() - then)

    def _cpu_seconds(self) -> dict[str, float]:
        return cpu_seconds(self.on_host(f"{_VIRSH} domstats --vcpu --list-running"))

    def _run(self, argv: Sequence[str], environment: dict[str, str]) -> None:
        done = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise CommandFailed(shlex.join(argv), done.stdout, "mend what it names, then run it again")
