"""Guests that power off while their disks are changed, and run again when nothing became of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from config import Host
from lab import early_power_off
from lab.students import DiskInUse
from providers import guest_power
from providers.errors import LabError
from providers.transport import Endpoint
from tests.unit.test_roster import lab_of, stack_file, student

OLD, NEW = "/disks/g1s1-g1.qcow2", "/disks/g1s1-g2.qcow2"


@dataclass
class FakeDomain:
    """A domain; its guest `hears` a request to power off, or not."""

    state: str = "running"
    disk: str = OLD
    hears: bool = True
    starts: bool = True


@dataclass
class _Said:
    stdout: str = ""
    stderr: str = ""
    exit_status: int = 0


@dataclass
class FakeLibvirt:
    """Domains of a host, as far as virsh is asked for them here; a domain's UUID is NAME-uuid."""

    domains: dict[str, FakeDomain]
    calls: list[str] = field(default_factory=list)
    on_call: Callable[[str], object] = lambda _call: None

    def run(self, argv: list[str], *, check: bool = True) -> _Said:  # noqa: ARG002
        call = " ".join(argv[3:]).replace("--domain ", "")
        said = self._said(argv[3], argv[-1].removesuffix("-uuid"), argv)
        self.calls.append(call)
        self.on_call(call)
        return said

    def _said(self, verb: str, name: str, argv: list[str]) -> _Said:
        if verb == "list":
            states = ("running",) if "--state-running" in argv else ("running", "paused")
            found = [one for one, domain in self.domains.items() if domain.state in states]
            return _Said("".join(f"{one}-uuid {one}\n" for one in found) + "\n")
        domain = self.domains.get(name)
        if domain is None:
            return _Said("", f"error: failed to get domain '{name}'", 1)
        if verb == "start" and not domain.starts:
            return _Said("", "error: cannot allocate memory", 1)
        if verb == "destroy" or (verb == "shutdown" and domain.hears):
            domain.state = "shut off"
        if verb == "start":
            domain.state = "running"
        if verb == "domblklist":
            return _Said(f" Target   Source\n----\n vda      {domain.disk}\n hdd      /seed.iso\n")
        return _Said(f"{domain.state}\n\n")


@pytest.fixture
def host() -> Host:
    return lab_of(stack_file(student(1, 1))).environments[0].host


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guest_power, "PAUSE", 0.01)


def on(monkeypatch: pytest.MonkeyPatch, **domains: FakeDomain) -> FakeLibvirt:
    libvirt = FakeLibvirt(domains)

    @contextlib.contextmanager
    def connect(_endpoint: Endpoint) -> Iterator[FakeLibvirt]:
        yield libvirt

    monkeypatch.setattr(early_power_off, "connect", connect)
    return libvirt


def reset(host: Host, change: Callable[[], int], *names: str) -> int:
    guests = [DiskInUse(host, f"{name}-uuid", name, OLD) for name in names]
    with early_power_off.StandBy([host]) as early:
        return early.change_disks(guests, change)


def states(libvirt: FakeLibvirt) -> dict[str, str]:
    return {name: domain.state for name, domain in libvirt.domains.items()}


def test_guests_power_off_while_the_change_runs(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt = on(monkeypatch, a=FakeDomain(), b=FakeDomain(), neighbour=FakeDomain())
    asked = threading.Event()
    libvirt.on_call = lambda call: asked.set() if call == "shutdown b-uuid" else None
    assert reset(host, lambda: 0 if asked.wait(60) else 1, "a", "b") == 0
    assert states(libvirt) == {"a": "shut off", "b": "shut off", "neighbour": "running"}


def test_a_host_of_which_nothing_is_asked_is_let_go(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt, let_go = on(monkeypatch, ran=FakeDomain()), threading.Event()

    @contextlib.contextmanager
    def connect(_endpoint: Endpoint) -> Iterator[FakeLibvirt]:
        yield libvirt
        let_go.set()

    monkeypatch.setattr(early_power_off, "connect", connect)
    with pytest.raises(LabError, match="not made yet"), early_power_off.StandBy([host]):
        raise LabError("change the disks of g1s1", "g1s1 is not made yet", "make it")
    assert let_go.wait(60)
    assert libvirt.calls == []


def test_only_hosts_with_such_guests_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (one.host for one in lab_of(stack_file(student(1, 1), student(1, 2, "h2"))).environments)
    hosts = {one.name: FakeLibvirt({"ran": FakeDomain()}) for one in (first, second)}
    asked = threading.Event()
    hosts["h2"].on_call = lambda call: asked.set() if call == "shutdown ran-uuid" else None

    @contextlib.contextmanager
    def connect(endpoint: Endpoint) -> Iterator[FakeLibvirt]:
        yield hosts[endpoint.host]

    monkeypatch.setattr(early_power_off, "connect", connect)
    with early_power_off.StandBy([first, second]) as early:
        guests = [DiskInUse(second, "ran-uuid", "ran", OLD)]
        assert early.change_disks(guests, lambda: 255 if asked.wait(60) else 0) == 255
    assert states(hosts["h2"]) == {"ran": "running"}  # again
    assert "start ran-uuid" in hosts["h2"].calls
    assert hosts["h1"].calls == []


def test_one_that_does_not_hear_is_asked_again_and_loses_its_power(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(early_power_off, "GRACE", 0.5)
    monkeypatch.setattr(early_power_off, "GRACE_EACH", 0.25)
    libvirt, cut = on(monkeypatch, deaf=FakeDomain(hears=False), hears=FakeDomain()), threading.Event()
    libvirt.on_call = lambda call: cut.set() if call == "destroy deaf-uuid" else None
    assert reset(host, lambda: 0 if cut.wait(60) else 1, "deaf", "hears") == 0
    assert libvirt.calls.count("shutdown deaf-uuid") > 1
    assert "destroy hears-uuid" not in libvirt.calls


def test_no_guest_gets_longer_than_its_host_gives(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt, cut = on(monkeypatch, deaf=FakeDomain(hears=False)), threading.Event()
    libvirt.on_call = lambda call: cut.set() if call == "destroy deaf-uuid" else None
    hurried = host.model_copy(update={"shutdown_timeout": 0.1})
    assert reset(hurried, lambda: 0 if cut.wait(early_power_off.GRACE / 2) else 1, "deaf") == 0


def test_those_that_ran_run_again_when_nothing_became_of_it(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    domains = {
        "ran": FakeDomain(),
        "off": FakeDomain("shut off"),
        "waits": FakeDomain("paused"),
        "made": FakeDomain("running", NEW),
        "heavy": FakeDomain(starts=False),
        "then": FakeDomain(),
    }
    libvirt, asked = on(monkeypatch, **domains), threading.Event()
    libvirt.on_call = lambda call: asked.set() if call == "shutdown then-uuid" else None
    assert reset(host, lambda: 255 if asked.wait(60) else 0, *libvirt.domains, "gone") == 255
    assert states(libvirt) == {
        "ran": "running",
        "off": "shut off",  # as it was
        "waits": "paused",  # as it was
        "made": "shut off",  # on another disk than the one it had
        "heavy": "shut off",
        "then": "running",
    }
    told = capsys.readouterr().err
    assert "lab: ran runs again, with the disk that it had\n" in told
    assert "lab: heavy is off: virsh start: error: cannot allocate memory\n" in told
    assert "power was cut" not in told


def test_a_guest_whose_change_failed_keeps_its_power_however_long_it_takes(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    libvirt, asked = on(monkeypatch, deaf=FakeDomain(hears=False)), threading.Event()
    libvirt.on_call = lambda call: asked.set() if call == "shutdown deaf-uuid" else None
    hurried = host.model_copy(update={"shutdown_timeout": 2})
    assert reset(hurried, lambda: 255 if asked.wait(60) else 0, "deaf") == 255
    assert states(libvirt) == {"deaf": "running"}
    assert "destroy deaf-uuid" not in libvirt.calls
    assert "power was cut" not in capsys.readouterr().err


def test_nobody_is_asked_once_the_change_has_failed(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt, go_on = on(monkeypatch, ran=FakeDomain()), threading.Event()
    libvirt.on_call = lambda _call: go_on.wait(60)
    room = early_power_off._Room(host)
    room.power_off([DiskInUse(host, "ran-uuid", "ran", OLD)])
    taking_back = threading.Thread(target=room.take_back)
    taking_back.start()
    assert room._failed.wait(60)
    go_on.set()
    taking_back.join(60)
    assert libvirt.calls == ["list --uuid --name --state-running"]
    assert states(libvirt) == {"ran": "running"}


def test_a_host_that_was_told_nothing_yet_is_not_waited_for(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    libvirt = on(monkeypatch, ran=FakeDomain())
    taking_back = threading.Thread(target=early_power_off._Room(host).take_back, daemon=True)
    taking_back.start()
    taking_back.join(60)
    assert not taking_back.is_alive()
    assert libvirt.calls == []


def test_guests_run_again_when_there_is_no_engine(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt, asked = on(monkeypatch, ran=FakeDomain()), threading.Event()
    libvirt.on_call = lambda call: asked.set() if call == "shutdown ran-uuid" else None

    def fail() -> int:
        asked.wait(60)
        raise LabError("run pulumi", "it is not there", "make setup")

    with pytest.raises(LabError, match="it is not there"):
        reset(host, fail, "ran")
    assert states(libvirt) == {"ran": "running"}


def test_who_may_be_off_is_told_where_the_host_is_lost(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    libvirt, asked = on(monkeypatch, ran=FakeDomain()), threading.Event()
    libvirt.on_call = lambda call: asked.set() if call == "shutdown ran-uuid" else None

    def lose() -> int:
        asked.wait(60)
        monkeypatch.setattr(early_power_off, "connect", silent)
        return 255

    assert reset(host, lose, "ran") == 255
    assert f"ran may be off (no answer): on {host.name}, `virsh start`" in capsys.readouterr().err


def silent(*_: object) -> None:
    raise LabError("connect", "no answer", "look at it")


def test_a_host_that_does_not_answer_is_the_engines_to_tell(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(early_power_off, "connect", silent)
    assert reset(host, lambda: 0, "ran") == 0
    assert reset(host, lambda: 255, "ran") == 255
    assert capsys.readouterr().err == ""
