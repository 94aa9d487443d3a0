"""Runs a case on a machine, and judges every one alike.

However a case ends: the host answers, its files and kernel are exactly one of the two configurations, nothing
is left armed, the next run converges, and a delete gives the host back as it was.
"""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Self

from providers.errors import LabError
from testbed import Machine
from testbed.machine import SSH_PORT
from tests.faults.cables import plug, unplug
from tests.faults.changes import GUEST, Change, Prepared, remove_guest
from tests.faults.client import Client, Ending
from tests.faults.host import Host
from tests.faults.state import CLAIMS, Look, State, difference, look, moved, without
from tests.integration.bridges import delete
from tests.proxy import Proxy

TIMEOUT = 15
"""Seconds until a host undoes what was not confirmed: the least that the product takes."""
ALLOWANCE = 15.0
"""Seconds after that timeout within which the host must answer again."""
_CLIENT_DEADLINE = 120.0
_LOOK_EVERY, _LOOK_DEADLINE = 1.0, 30.0
_LISTEN_EVERY = 0.5
OLD, NEW = frozenset({"old"}), frozenset({"new"})
EITHER = OLD | NEW


class CaseFailedError(AssertionError):
    """A case did not end as every case must; the text says how."""


@dataclass(frozen=True)
class Case:
    """A fault in a change.

    Args:
        name: for the table, and to run it alone.
        change: the kind of change.
        play: starts the client and does the damage.
        ends: which of the two configurations the host may end on.
        settles: whether the host comes to rest by itself; else only the next run ends what is pending.
        needs: what not every machine has; see `Rig`.
    """

    name: str
    change: Change
    play: Callable[[Scene], None]
    ends: frozenset[str] = EITHER
    settles: bool = True
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Verdict:
    """How a case ended. `problem` is empty when it passed."""

    case: str
    configuration: str
    silence: float
    """The longest time in which the host's SSH server did not answer, in seconds."""
    seconds: float
    problem: str = ""


@dataclass
class Scene:
    """One run of a case: what it may use, and what is known of it."""

    host: Host
    proxy: Proxy
    change: Change
    prepared: Prepared
    cleanup: ExitStack
    timeout: int
    """Seconds until the host undoes what was not confirmed."""
    intruder: Machine | None = None
    """Another machine of the same network."""
    before: Look | None = None
    booting: float = 0.0
    """Seconds that the host took to start again."""
    clients: list[Client] = field(default_factory=list)

    def begin(self) -> None:
        """Keep what the host is like before the change; a client does so when it starts."""
        if self.before is None:
            self.before = look(self.host)

    def client(self, hold: str | None = None, **options: object) -> Client:
        """Start the client of the change, through the proxy; it waits before the step `hold`."""
        self.begin()
        call = self.change.call(self.host, self.prepared, **{"rollback_timeout": self.timeout, **options})
        client = Client(replace(call, inputs=self._away(call.inputs), outs=self._away(call.outs), hold=hold))
        self.clients.append(client)
        if hold is not None:
            client.reach(hold)
        return client

    def _away(self, properties: dict[str, Any]) -> dict[str, Any]:
        """Return a call's properties with the proxy for the host's address."""
        if not properties:
            return properties
        away = {"address": "127.0.0.1", "port": self.proxy.port}
        return {**properties, "endpoint": {**properties["endpoint"], **away}}

    def power_cut(self) -> None:
        """Cut the host's power, and wait until it has started again."""
        self.host.kill()
        began = time.monotonic()
        self.host.boot()
        self.host.wait()
        self.booting += time.monotonic() - began

    def close(self) -> None:
        """End all clients."""
        for client in self.clients:
            client.close()

    def unplug(self, nic: str) -> None:
        """Let the cable of a card lead nowhere; plugged in again at the end at the latest."""
        unplug(self.machine, nic)
        self.cleanup.callback(self.plug, nic)

    def intrude(self, address: str) -> None:
        """Let another machine of the network have an address of the host too."""
        assert self.intruder is not None
        self.cleanup.callback(self.retreat)
        self.intruder.ssh(["ip", "address", "replace", address, "dev", "eth0", "nodad"])

    def mislead(self) -> None:
        """Let the other machine be the one that is found under the host's address."""
        assert self.intruder is not None
        hardware = self.intruder.ssh(["cat", "/sys/class/net/eth0/address"]).stdout.strip()
        self._neighbour("replace", "lladdr", hardware, "nud", "permanent")

    def retreat(self) -> None:
        """Let the host be alone with its addresses again."""
        assert self.intruder is not None
        self._neighbour("delete")
        own = self.intruder.address
        others = f"ip -o address show dev eth0 scope global | awk '$4 !~ /^{own}[/]/ {{ print $4 }}'"
        script = f"for address in $({others}); do ip address delete $address dev eth0; done"
        self.intruder.ssh(["sh", "-c", script])

    def _neighbour(self, verb: str, *what: str) -> None:
        bridge = self.machine.around.network.bridge
        argv = ["ip", "neighbour", verb, self.host.address, *what, "dev", bridge]
        subprocess.run(argv, check=verb == "replace", capture_output=True)

    def plug(self, nic: str) -> None:
        """Plug the cable of a card in again."""
        plug(self.machine, nic)

    @property
    def machine(self) -> Machine:
        """The host, where a case needs this machine's end of its cables."""
        assert isinstance(self.host, Machine)
        return self.host


class _Watch:
    """Asks the host's SSH server for its banner all the time, and keeps how long it was silent."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._stop = threading.Event()
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._heard = time.monotonic()
        self._longest = 0.0

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._worker.join()

    @property
    def longest(self) -> float:
        """The longest silence so far, in seconds."""
        return max(self._longest, time.monotonic() - self._heard)

    def _work(self) -> None:
        while not self._stop.wait(_LISTEN_EVERY):
            if self._answers():
                now = time.monotonic()
                self._longest = max(self._longest, now - self._heard)
                self._heard = now

    def _answers(self) -> bool:
        try:
            with socket.create_connection((self._address, SSH_PORT), timeout=1.0) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False


class Rig:
    """A machine on which cases run, one after another. It is bare before and after each.

    Args:
        host: the machine.
        timeout: seconds until it undoes what was not confirmed; more than the least for a slow one.
        intruder: another machine of its network, for cases that need one.
    """

    def __init__(self, host: Host, timeout: int = TIMEOUT, intruder: Machine | None = None) -> None:
        self.host = host
        self._options = {"rollback_timeout": timeout}
        self._timeout = timeout
        self._intruder = intruder
        self._bare = look(host).state
        self._known: dict[str, tuple[State, State]] = {}

    def run(self, case: Case) -> Verdict:
        """Run a case; one that fails leaves the machine as it is then."""
        began = time.monotonic()
        with _Watch(self.host.address) as watch:
            configuration, problem = "", ""
            try:
                configuration = self._run(case, watch)
            except Exception as error:  # noqa: BLE001 - whatever breaks, this case has failed
                problem = str(error) or repr(error)
            return Verdict(case.name, configuration, watch.longest, time.monotonic() - began, problem)

    def _run(self, case: Case, watch: _Watch) -> str:
        old, new = self._configurations(case.change)
        prepared = case.change.prepare(self.host, **self._options)
        _same(look(self.host).state, old, "the old configuration is not that of the first time")
        with self._scene(case.change, prepared) as scene:
            case.play(scene)
            ending = [client.end(_CLIENT_DEADLINE) for client in scene.clients]
            configuration = self._judge(scene, case, (old, new))
        limit = self._timeout + ALLOWANCE + scene.booting
        if watch.longest > limit:
            raise CaseFailedError(f"the host was silent for {watch.longest:.0f} s; {limit:.0f} s are allowed")
        _honest(ending, configuration)
        self._converge(scene, new)
        return configuration

    def _configurations(self, change: Change) -> tuple[State, State]:
        """Return the two configurations, as a change without any fault leads from one to the other."""
        if change.name not in self._known:
            prepared = change.prepare(self.host, **self._options)
            old = look(self.host).state
            outs = change.converge(self.host, prepared, **self._options)
            new = look(self.host).state
            self._known[change.name] = old, new
            self._give_back(change, outs)
        return self._known[change.name]

    @contextmanager
    def _scene(self, change: Change, prepared: Prepared) -> Iterator[Scene]:
        with Proxy(SSH_PORT, self.host.address) as proxy, ExitStack() as clients, ExitStack() as cleanup:
            scene = Scene(self.host, proxy, change, prepared, cleanup, self._timeout, self._intruder)
            clients.callback(scene.close)
            yield scene

    def _judge(self, scene: Scene, case: Case, known: tuple[State, State]) -> str:
        """Wait until the host answers and has ended its change; return on which configuration it is then."""
        assert scene.before is not None, "the case has started no client"
        before = scene.before.state
        wanted = {"old": before, "new": moved(before, *known)}
        if scene.booting:
            wanted = {name: without(state, GUEST) for name, state in wanted.items()}
        until = time.monotonic() + self._timeout + ALLOWANCE
        while True:
            try:
                seen = look(scene.host, timeout=_LOOK_DEADLINE)
            except LabError as error:
                problem = f"the host does not answer: {error.seen}"
            except subprocess.TimeoutExpired:
                problem = f"the host does not say within {_LOOK_DEADLINE:.0f} s what it is like"
            else:
                name, problem = _configuration(seen, wanted, case)
                if not problem:
                    return name
            if time.monotonic() > until:
                raise CaseFailedError(problem)
            time.sleep(_LOOK_EVERY)

    def _converge(self, scene: Scene, new: State) -> None:
        outs = scene.change.converge(self.host, scene.prepared, **self._options)
        seen = look(self.host)
        wanted = without(new, GUEST) if scene.booting else new
        _same(seen.state, wanted, "the next run did not lead to the new configuration")
        if seen.pending or seen.inert:
            raise CaseFailedError(f"after the next run there is still {seen.pending} {seen.inert}")
        self._give_back(scene.change, outs)

    def _give_back(self, change: Change, outs: dict[str, object]) -> None:
        remove_guest(self.host)
        if outs:
            delete(outs)
        change.leave(self.host)
        _same(look(self.host).state, self._bare, "the host was not given back as it was")
        left = self.host.ssh(["find", CLAIMS], check=False).stdout
        if left:
            raise CaseFailedError(f"the host was given back with\n{left}")


def _configuration(seen: Look, wanted: Mapping[str, State], case: Case) -> tuple[str, str]:
    """Return which of the wanted configurations was seen, and what speaks against it."""
    if case.settles and seen.pending:
        return "", "still pending:\n" + "\n".join(seen.pending)
    lines = []
    for name, state in wanted.items():
        different = [line for line in difference(seen.state, state) if not case.change.leaves_open(line)]
        if not different:
            return name, "" if name in case.ends else f"the host is on its {name} configuration"
        lines += [name, *different]
    return "", "neither the old nor the new configuration:\n" + "\n".join(lines)


def _same(seen: State, wanted: State, otherwise: str) -> None:
    different = difference(seen, wanted)
    if different:
        raise CaseFailedError(f"{otherwise}:\n" + "\n".join(different))


def _honest(endings: list[Ending], configuration: str) -> None:
    """What a client says of the host must be so."""
    for ending in endings:
        if ending.told not in {None, configuration}:
            raise CaseFailedError(
                f"the client says {ending.told}, the host is on its {configuration}\n{ending.error}"
            )
