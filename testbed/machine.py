"""One bare machine: its folder, its disk, and the systemd-nspawn that runs it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from providers.errors import LabError, tail
from testbed import cgroups, processes
from testbed.network import Network

SCRIPT = Path(__file__).with_name("machine.sh")
SSH_PORT = 22
# A machine boots in three seconds; on a busy one with two cores, several at once take longer.
BOOT_DEADLINE = 120.0
POWEROFF_DEADLINE = 10.0


class Spec(BaseModel):
    """What a machine shall be: its name, its address, and how many network cards (eth0, eth1 ...) it has.

    The first card has the address; the others are plugged into the same bridge and not configured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    address: IPv4Address
    nics: int = 1


@dataclass(frozen=True)
class Surroundings:
    """What all machines of a testbed share: network, base system, key, name servers, known hosts."""

    network: Network
    base: Path
    identity_file: Path
    known_hosts: Path
    resolv_conf: str


class Machine:
    """A bare machine of the testbed, kept in a folder of its own.

    The disk survives `kill` and `boot`; `reset` throws it away and boots a bare machine again.
    """

    def __init__(self, folder: Path, spec: Spec, around: Surroundings) -> None:
        self.folder = folder
        self.spec = spec
        self.around = around
        self._process: processes.Process | None = None

    @property
    def name(self) -> str:
        """Its host name."""
        return self.spec.name

    @property
    def address(self) -> str:
        """The address of its eth0."""
        return str(self.spec.address)

    @property
    def port(self) -> int:
        """The port of its SSH server."""
        return SSH_PORT

    @property
    def user(self) -> str:
        """Who logs in."""
        return "root"

    @property
    def identity_file(self) -> str:
        """The private key that logs in."""
        return str(self.around.identity_file)

    @property
    def known_hosts(self) -> str:
        """The OpenSSH known_hosts file that pins the machine's host key."""
        return str(self.around.known_hosts)

    @cached_property
    def host_keys(self) -> tuple[str, ...]:
        """Its pinned host keys, "ssh-ed25519 AAAA..." each."""
        words = (self._identity / "ssh_host_ed25519_key.pub").read_text().split()
        return (" ".join(words[:2]),)

    @property
    def nics(self) -> tuple[str, ...]:
        """The names of its network cards."""
        return tuple(f"eth{index}" for index in range(self.spec.nics))

    @property
    def cables(self) -> tuple[str, ...]:
        """This machine's ends of the cables of its network cards, in the order of `nics`."""
        network = self.around.network
        return tuple(network.cable(self.spec.address, index) for index in range(self.spec.nics))

    @property
    def console(self) -> Path:
        """The file with what its boots wrote on the console."""
        return self.folder / "console.log"

    @property
    def process(self) -> processes.Process | None:
        """The process that keeps the machine, when it runs."""
        # Looked for, not written down: a run killed after starting it could not have written.
        if self._process is None or not self._process.alive:
            self._process = processes.keeper(self.around.network.directory, self.folder)
        return self._process

    @property
    def _identity(self) -> Path:
        return self.folder / "identity"

    def prepare(self) -> None:
        """Make its folder, keys and disk, where they are missing."""
        self._identity.mkdir(parents=True, exist_ok=True)
        key = self._identity / "ssh_host_ed25519_key"
        if not key.with_suffix(".pub").exists():
            make_key(key, self.around.network.directory, f"root@{self.name}")
        replace(self.folder / "spec.json", self.spec.model_dump_json())
        if not (self.folder / "upper").exists():
            self._make_disk()

    def boot(self) -> None:
        """Switch it on, with the disk it had; a running one is left alone. `wait` waits until it answers."""
        if self.process is not None:
            return
        for name in ("work", "root"):
            (self.folder / name).mkdir(exist_ok=True)
        network = self.around.network
        unit = f"{network.bridge}-{self.name}"
        groups = cgroups.prepare(network.bridge, self.name)
        argv = ["unshare", "--mount", "sh", str(SCRIPT), network.bridge, str(self.around.base.absolute())]
        argv += [unit, self.name, "\n".join(str(group) for group in groups)]
        argv += [f"{cable}:{nic}" for cable, nic in zip(self.cables, self.nics, strict=True)]
        with self.console.open("ab") as output:
            self._process = processes.start(
                [*cgroups.scope(unit), *argv], network.directory, output, cwd=self.folder.absolute()
            )

    def wait(self, timeout: float = BOOT_DEADLINE) -> None:
        """Wait until its SSH server lets us in.

        Raises:
            LabError: it ended, or did not answer in time.
        """
        asked = f"{self.name}: wait for the SSH server at {self.address}"
        deadline = time.monotonic() + timeout
        seen = "no connection"
        while time.monotonic() < deadline:
            if self.process is None:
                raise LabError(asked, f"the machine ended\n{self._console_tail()}", f"read {self.console}")
            if self.answers():
                done = self.ssh(["true"], check=False)
                if done.returncode == 0:
                    return
                seen = done.stderr
            time.sleep(0.1)
        seen = f"{seen} after {timeout:.0f} s\n{self._console_tail()}"
        raise LabError(asked, seen, f"read {self.console}")

    def answers(self) -> bool:
        """Whether something listens on its SSH port."""
        with suppress(OSError), socket.create_connection((self.address, SSH_PORT), timeout=1.0):
            return True
        return False

    def ssh(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in the machine through OpenSSH's client.

        Raises:
            LabError: `check` is set and the command ended with another status than 0.
        """
        network = self.around.network
        done = subprocess.run(
            [*self.ssh_command(), shlex.join(argv)],
            env=processes.environment(network.directory),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )
        if check and done.returncode:
            seen = f"status {done.returncode}\n{done.stdout}{done.stderr}"
            raise LabError(f"{self.name}: {shlex.join(argv)}", seen, f"look at {self.name} by hand")
        return done

    def ssh_command(self) -> list[str]:
        """Return the beginning of an ssh command line that logs in; the user's own settings do not matter."""
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "5",
            "IdentitiesOnly": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": _quoted(self.around.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
        }
        settings = [word for key, value in options.items() for word in ("-o", f"{key}={value}")]
        return ["ssh", "-F", "none", *settings, "-i", self.identity_file, f"{self.user}@{self.address}"]

    def kill(self) -> None:
        """Cut the power: everything in the machine stops at once."""
        process = self.process
        if process is None:
            return
        # The keeper goes first, so that it starts nothing again.
        everyone = processes.family(process)
        for member in everyone:
            member.signal(signal.SIGKILL)
        left = processes.await_end(everyone, POWEROFF_DEADLINE)
        if left:
            seen = "\n".join(f"{p.pid} {p.command}" for p in left)
            raise LabError(
                f"{self.name}: cut the power", f"still running:\n{seen}", "end these processes by hand"
            )

    def poweroff(self, patience: float = POWEROFF_DEADLINE) -> None:
        """Shut it down; after `patience` seconds, cut the power."""
        process = self.process
        if process is not None:
            process.signal(signal.SIGTERM)
            processes.await_end([process], patience)
        self.kill()

    def reset(self) -> None:
        """Throw its disk away and boot a bare machine with the same address and keys, until it answers."""
        self.kill()
        for name in ("upper", "work"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        self.prepare()
        self.boot()
        self.wait()

    def know(self, hosts: str) -> None:
        """Tell the running machine the names of all: the content of its /etc/hosts below its own lines."""
        self.ssh(["sh", "-c", "cat >/etc/hosts.new && mv /etc/hosts.new /etc/hosts"], stdin=hosts)

    def _console_tail(self) -> str:
        with suppress(FileNotFoundError):
            return tail(self.console.read_text(errors="replace"))
        return ""

    def _make_disk(self) -> None:
        """Write what makes a machine out of the base system, and name it `upper` when it is complete."""
        new = self.folder / "upper.new"
        shutil.rmtree(new, ignore_errors=True)
        public = self.around.identity_file.with_suffix(".pub").read_text()
        files = {
            "etc/hostname": f"{self.name}\n",
            "etc/hosts": (self.around.network.directory / "hosts").read_text(),
            "etc/machine-id": f"{uuid.uuid4().hex}\n",
            "etc/resolv.conf": self.around.resolv_conf,
            "etc/network/interfaces": self._interfaces(),
            "etc/ssh/ssh_host_ed25519_key": (self._identity / "ssh_host_ed25519_key").read_text(),
            "etc/ssh/ssh_host_ed25519_key.pub": (self._identity / "ssh_host_ed25519_key.pub").read_text(),
            # All machines report this one's DMI UUID, and libvirt refuses to migrate to a host with its own.
            "etc/libvirt/libvirtd.conf": f'host_uuid = "{uuid.uuid4()}"\n',
            "root/.ssh/authorized_keys": public,
        }
        for path, text in files.items():
            _write(new / path, text, self.around.base / path)
        (new / "root/.ssh").chmod(0o700)
        for secret in ("etc/ssh/ssh_host_ed25519_key", "root/.ssh/authorized_keys"):
            (new / secret).chmod(0o600)
        new.rename(self.folder / "upper")

    def _interfaces(self) -> str:
        network = self.around.network
        return f"""\
# This file describes the network interfaces available on your system
# and how to activate them. For more information, see interfaces(5).

source /etc/network/interfaces.d/*

auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address {self.spec.address}/{network.range.prefixlen}
    gateway {network.gateway}
"""


def replace(path: Path, text: str) -> None:
    """Write a file so that it is never seen half written."""
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


def make_key(path: Path, directory: Path, comment: str) -> None:
    """Make an ed25519 key pair without passphrase at `path` and `path`.pub."""
    for half in (path, path.with_suffix(".pub")):
        half.unlink(missing_ok=True)
    argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)]
    processes.run(argv, directory, f"testbed: make the key {path}")


def _write(path: Path, text: str, below: Path) -> None:
    """Write a file of an overlay's upper layer; its folders take the modes of those in the lower layer."""
    missing = [folder for folder in path.parents if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(mode=0o755)
    for upper, lower in zip(path.parents, below.parents, strict=False):
        if upper in missing and lower.is_dir():
            shutil.copymode(lower, upper)
    path.write_text(text)
    path.chmod(0o644)


def _quoted(path: Path) -> str:
    # OpenSSH splits this option's value at spaces.
    return '"' + os.fspath(path) + '"'
