"""A testbed: machines in one folder, on one bridge."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network, ip_address
from pathlib import Path
from types import TracebackType
from typing import Self

from providers.errors import LabError
from testbed import base, cgroups, host, locks, network, prerequisites, processes, progress
from testbed.machine import Machine, Spec, Surroundings, make_key, replace

DIRECTORY = Path(".lab/testbed")
CACHE = Path(".lab/cache")
IMAGES = Path(".lab/images")
BRIDGE = "labbr"
RANGE = IPv4Network("198.51.100.0/24")
_LOCK = "lock"
_NSPAWN = Path("/run/systemd/nspawn")
# Written by machine.sh: the name of the lock file that a killed systemd-nspawn leaves.
_NSPAWN_LOCK = "nspawn-lock"


class Testbed:
    """Bare machines in `directory` on the bridge `bridge`, with addresses in `subnet`.

    As a context manager it holds the folder's lock, and takes everything away in the end:

        with Testbed(Path("/tmp/x"), bridge="xbr", subnet="198.18.7.0/24", cache=CACHE) as bed:
            (host,) = bed.start([Spec(name="a", address="198.18.7.11")])
            host.ssh(["ip", "address"])
    """

    __test__ = False  # its name makes pytest take it for a test

    def __init__(
        self,
        directory: Path = DIRECTORY,
        *,
        bridge: str = BRIDGE,
        subnet: IPv4Network | str = RANGE,
        cache: Path = CACHE,
    ) -> None:
        self.directory = directory.absolute()
        self.cache = cache.absolute()
        self.network = network.Network(self.directory, bridge, IPv4Network(subnet))
        self._machines: dict[str, Machine] = {}
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self.lock()
        self._clear()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def lock(self) -> None:
        """Keep others from changing this testbed until `unlock`, or until this process ends.

        Raises:
            LabError: another process has it.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self.directory / _LOCK
        try:
            self._lock = locks.take(path, wait=False)
        except BlockingIOError:
            asked = f"testbed in {self.directory}: change its machines"
            seen = f"process {path.read_text().strip() or '(just starting)'} is changing them"
            raise LabError(
                asked, seen, "wait until it has ended; `make down` would end it, and the testbed with it"
            ) from None
        path.write_text(f"{os.getpid()}\n")

    def unlock(self) -> None:
        """Let others change this testbed."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def start(self, specs: Iterable[Spec]) -> list[Machine]:
        """Start these machines beside those there are; a running one is left alone. Returns when all answer.

        Raises:
            LabError: something is missing here, an address is unfit, or a machine did not come up.
        """
        machines = self.enrol(specs)
        if not self.network.standing():
            self.network.build()
            network.warn_of_firewall(self.directory, self.network.bridge)
        started = self._boot(machines)
        if started:
            self._introduce(started)
        return machines

    def enrol(self, specs: Iterable[Spec]) -> list[Machine]:
        """Give these machines their keys and disks; none is started, and nothing outside the folder changes.

        Raises:
            LabError: something is missing here, or an address is unfit.
        """
        wanted = list(specs)
        self._refuse(wanted)
        prerequisites.check(self.directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        around = self._surroundings()
        everyone = [self._adopt(spec, around) for spec in [*self._known_specs(), *wanted]]
        self._machines = {machine.name: machine for machine in everyone}
        replace(self.directory / "hosts", _hosts_file([m.spec for m in self._machines.values()]))
        machines = [self._machines[spec.name] for spec in wanted]
        for machine in machines:
            machine.prepare()
        known = [f"{m.address} {key}\n" for m in self._machines.values() for key in m.host_keys]
        replace(self.directory / "known_hosts", "".join(known))
        return machines

    def machine(self, name: str) -> Machine:
        """Return a machine of this testbed.

        Raises:
            KeyError: there is none of this name.
        """
        if name not in self._machines:
            around = self._surroundings()
            self._machines = {spec.name: self._adopt(spec, around) for spec in self._known_specs()}
        return self._machines[name]

    def machines(self) -> list[Machine]:
        """Return all machines of this testbed, running or not."""
        return [self.machine(spec.name) for spec in self._known_specs()]

    def stop(self) -> None:
        """End all machines and every process of this testbed, and undo all it changed on this machine.

        A running `up` of the same folder is ended too.
        """
        self._end()
        if self._lock is None:
            self.lock()
        self._clear()
        shutil.rmtree(self.directory)
        self.unlock()

    def _end(self) -> None:
        found = processes.end(self.directory)
        if found:
            progress.say(str(self.directory), f"ended {len(found)} processes")

    def _clear(self) -> None:
        """Undo everything but the folder and its lock."""
        self._end()
        for bridge in host.owned_by(self.directory):
            cgroups.remove(bridge)
            _forget_nspawn(bridge)
        for lock in self.directory.glob(f"machines/*/{_NSPAWN_LOCK}"):
            (_NSPAWN / "locks" / lock.read_text().strip()).unlink(missing_ok=True)
        network.remove(self.directory)
        base.sweep(self.cache)
        self._machines = {}
        for entry in self.directory.iterdir():
            if entry.is_dir():
                shutil.rmtree(entry)
            elif entry.name != _LOCK:
                entry.unlink()

    def _folder(self, spec: Spec) -> Path:
        return self.directory / "machines" / spec.name

    def _known_specs(self) -> list[Spec]:
        files = sorted((self.directory / "machines").glob("*/spec.json"))
        return [Spec.model_validate_json(path.read_text()) for path in files]

    def _refuse(self, wanted: list[Spec]) -> None:
        known = {spec.name: spec for spec in self._known_specs()}
        for spec in wanted:
            asked = f"{spec.name}: start a machine at {spec.address}"
            if spec.address not in self.network.range or spec.address == self.network.gateway:
                raise LabError(
                    asked, f"no machine's address in {self.network.range}", "choose another address"
                )
            other = known.setdefault(spec.name, spec)
            if other != spec:
                seen = f"it exists with address {other.address} and {other.nics} network cards"
                raise LabError(asked, seen, "take the testbed down first")
            if any(o.address == spec.address and o.name != spec.name for o in known.values()):
                raise LabError(asked, "another machine has this address", "choose another address")

    def _surroundings(self) -> Surroundings:
        key = self.directory / "id_ed25519"
        if not key.with_suffix(".pub").exists():
            make_key(key, self.directory, "kvm-lab testbed")
        return Surroundings(
            network=self.network,
            base=base.build(self.cache, self.directory),
            identity_file=key,
            known_hosts=self.directory / "known_hosts",
            resolv_conf=resolv_conf(),
        )

    def _adopt(self, spec: Spec, around: Surroundings) -> Machine:
        return self._machines.get(spec.name) or Machine(self._folder(spec), spec, around)

    def _boot(self, machines: list[Machine]) -> list[Machine]:
        """Boot those that do not run, and return these when they answer."""
        idle = [machine for machine in machines if machine.process is None or not machine.answers()]
        if not idle:
            return []
        for machine in idle:
            machine.boot()
        with (
            progress.step(", ".join(machine.name for machine in idle), "boot until ssh answers"),
            ThreadPoolExecutor(len(idle)) as pool,
        ):
            list(pool.map(Machine.wait, idle))
        return idle

    def _introduce(self, started: list[Machine]) -> None:
        """Tell the machines that ran before the names of those that were started."""
        hosts = (self.directory / "hosts").read_text()
        for machine in self._machines.values():
            if machine not in started and machine.process is not None:
                machine.know(hosts)


def resolv_conf() -> str:
    """Return this machine's name servers that a machine of the testbed can reach too, as a resolv.conf(5)."""
    # A resolver on this machine's own loopback serves nobody else; the second file names those behind it.
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        with suppress(FileNotFoundError):
            kept = [line for line in path.read_text().splitlines() if not is_loopback(line)]
            if any(line.startswith("nameserver") for line in kept):
                return "\n".join(kept) + "\n"
    progress.say(
        "name servers", "this machine has none but on its loopback: the machines will resolve no names"
    )
    return ""


def is_loopback(line: str) -> bool:
    """Whether a line of a resolv.conf(5) names a server on the loopback."""
    words = line.split()
    return len(words) > 1 and words[0] == "nameserver" and ip_address(words[1].partition("%")[0]).is_loopback


def _hosts_file(specs: Iterable[Spec]) -> str:
    names = [f"{spec.address} {spec.name}\n" for spec in specs]
    return "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n" + "".join(names)


def _forget_nspawn(bridge: str) -> None:
    """Remove what a killed systemd-nspawn left, and its folders when nobody uses them."""
    for folder in _NSPAWN.glob(f"propagate/{bridge}-*"):
        with suppress(OSError):
            folder.rmdir()
    for folder in (_NSPAWN / "propagate", _NSPAWN / "locks", _NSPAWN):
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def locked(bed: Testbed) -> Iterator[Testbed]:
    """Hold a testbed's lock, and leave its machines running in the end."""
    bed.lock()
    try:
        yield bed
    finally:
        bed.unlock()
