"""Guests that power off while their disks are changed, and run again when nothing became of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator

import pytest

from config import Host
from lab import early_power_off
from lab.students import DiskInUse
from providers.errors import LabError
from providers.transport import Endpoint
from tests.unit.test_roster import lab_of, stack_file, student

OLD, NEW = "/disks/g1s1-g1.qcow2", "/disks/g1s1-g2.qcow2"


class _Libvirt:
    """Domains with their state and disk, as far as virsh is asked for them here."""

    def __init__(self, **domains: tuple[str, str]) -> None:
        self.domains = domains
        self.on_destroy: Callable[[], None] = lambda: None
        self.started: list[str] = []
        self.destroyed: list[str] = []

    def run(self, argv: list[str], *, check: bool = True) -> _Libvirt:  # noqa: ARG002
        self.stdout = self._said(argv[-3], argv[-1].removesuffix("'s UUID"))
        return self

    def _said(self, verb: str, domain: str) -> str:
        state, disk = self.domains.get(domain, ("", ""))
        if verb == "start":
            self.started.append(domain)
        if verb == "destroy":
            self.destroyed.append(domain)
            self.on_destroy()
        return {
            "domstate": f"{state}\n\n",
            "domblklist": f" Target   Source\n----\n vda      {disk}\n hdd      /seed.iso\n",
            "start": "",
            "destroy": "",
        }[verb]


@pytest.fixture
def host() -> Host:
    return lab_of(stack_file(student(1, 1))).environments[0].host


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The domains that were asked to power off, each time."""
    seen: list[list[str]] = []

    def power_off(_session: object, domains: Iterable[str], _timeout: float) -> list[str]:
        seen.append(list(domains))
        return []

    monkeypatch.setattr(early_power_off, "power_off", power_off)
    return seen


def on(monkeypatch: pytest.MonkeyPatch, libvirt: _Libvirt) -> _Libvirt:
    @contextlib.contextmanager
    def connect(_endpoint: Endpoint) -> Iterator[_Libvirt]:
        yield libvirt

    monkeypatch.setattr(early_power_off, "connect", connect)
    return libvirt


def change(host: Host, run: Callable[[], int], *domains: str) -> int:
    guests = [DiskInUse(host, f"{name}'s UUID", name, OLD) for name in domains or ("lab-g1s1",)]
    return early_power_off.change_disks(guests, run)


def test_guests_of_a_host_power_off_while_the_change_runs(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = threading.Event()
    seen: list[list[str]] = []

    def power_off(_session: object, domains: Iterable[str], timeout: float) -> list[str]:
        assert timeout == early_power_off.GRACE + early_power_off.GRACE_EACH
        seen.append(list(domains))
        begun.set()
        return []

    monkeypatch.setattr(early_power_off, "power_off", power_off)
    libvirt = on(monkeypatch, _Libvirt())
    assert change(host, lambda: 0 if begun.wait(60) else 1, "lab-g1s1", "lab-g1s2") == 0
    assert seen == [["lab-g1s1's UUID", "lab-g1s2's UUID"]]  # the new domains will have the names
    assert libvirt.started == []


def test_one_that_does_not_hear_loses_its_power(
    host: Host, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut = threading.Event()
    libvirt = on(monkeypatch, _Libvirt(deaf=("running", OLD), hears=("shut off", OLD)))
    libvirt.on_destroy = cut.set
    monkeypatch.setattr(early_power_off, "power_off", lambda *_: ["deaf's UUID"])
    assert change(host, lambda: 0 if cut.wait(60) else 1, "deaf", "hears") == 0
    assert libvirt.destroyed == ["deaf"]
    assert "lab: deaf did not power off in 35 s: its power was cut\n" in capsys.readouterr().err


def test_no_guest_gets_longer_than_its_host_gives(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[float] = []
    begun = threading.Event()

    def power_off(_session: object, _domains: object, timeout: float) -> list[str]:
        given.append(timeout)
        begun.set()
        return []

    monkeypatch.setattr(early_power_off, "power_off", power_off)
    on(monkeypatch, _Libvirt())
    hurried = host.model_copy(update={"shutdown_timeout": 10})
    assert change(hurried, lambda: 0 if begun.wait(60) else 1) == 0
    assert given == [10]


def test_those_with_their_disk_run_again_when_nothing_became_of_it(
    host: Host, asked: list[list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    states = {
        "off": ("shut off", OLD),
        "on": ("running", OLD),
        "replaced": ("shut off", NEW),
        "waits": ("paused", NEW),
    }
    libvirt = on(monkeypatch, _Libvirt(**states))
    assert change(host, lambda: 255, *states, "gone") == 255
    assert libvirt.started == ["off"]
    assert capsys.readouterr().err == "lab: off runs again, with the disk that it had\n"
    assert len(asked) == 1


@pytest.mark.usefixtures("asked")
def test_so_they_do_when_the_engine_could_not_be_run(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    libvirt = on(monkeypatch, _Libvirt(**{"lab-g1s1": ("shut off", OLD)}))

    def fail() -> int:
        raise LabError("run pulumi", "it is not there", "make setup")

    with pytest.raises(LabError, match="it is not there"):
        change(host, fail)
    assert libvirt.started == ["lab-g1s1"]


def test_a_host_that_does_not_answer_is_the_engines_to_tell(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise LabError("connect", "no answer", "look at it")

    monkeypatch.setattr(early_power_off, "connect", silent)
    assert change(host, lambda: 0) == 0
    assert change(host, lambda: 255) == 255
