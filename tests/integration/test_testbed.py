"""The testbed itself: its machines behave like bare ones, and nothing of it stays, whenever it is killed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from providers.errors import LabError
from testbed import Machine, Spec, Testbed, base, processes
from tests import places

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".lab/cache"
FOLDER = ROOT / places.folder("testbed")
BRIDGE = places.bridge("tbtest")
SUBNET = places.subnet(1)
ONE = Spec(name="one", address=places.address(11, 1))
TWO = Spec(name="two", address=places.address(12, 1), nics=2)


@pytest.fixture(scope="module")
def bed() -> Iterator[Testbed]:
    with Testbed(FOLDER, bridge=BRIDGE, subnet=SUBNET, cache=CACHE) as bed:
        bed.start([ONE, TWO])
        yield bed


@pytest.fixture
def one(bed: Testbed) -> Machine:
    return bed.machine("one")


def test_a_machine_is_a_bare_debian_with_a_static_address(one: Machine) -> None:
    assert one.ssh(["hostname"]).stdout.strip() == "one"
    shown = json.loads(one.ssh(["ip", "-json", "-4", "address", "show", "eth0"]).stdout)
    assert [a["local"] for a in shown[0]["addr_info"]] == [str(ONE.address)]
    assert one.ssh(["ip", "route", "show", "default"]).stdout.startswith(
        f"default via {places.address(1, 1)} dev eth0"
    )
    assert one.ssh(["systemctl", "is-system-running", "--wait"], check=False).stdout.strip() == "running"
    assert one.ssh(["sh", "-c", "command -v virsh brctl"], check=False).stdout == ""
    assert one.ssh(["ls", "/etc/ssh"]).stdout.count("ssh_host_") == 2


def test_machines_know_each_other_by_name(bed: Testbed) -> None:
    for here, there in (("one", "two"), ("two", "one"), ("one", "one")):
        machine = bed.machine(here)
        assert bed.machine(there).address in machine.ssh(["getent", "hosts", there]).stdout
        machine.ssh(["ping", "-c1", "-W2", there])


def test_a_second_card_is_plugged_in_and_not_configured(bed: Testbed) -> None:
    two = bed.machine("two")
    assert two.nics == ("eth0", "eth1")
    assert "eth1" not in two.ssh(["cat", "/etc/network/interfaces"]).stdout
    assert {_bridge_of(cable) for cable in two.cables} == {BRIDGE}


def test_a_reboot_from_inside_keeps_disk_and_card_and_comes_back(one: Machine) -> None:
    mac = one.ssh(["cat", "/sys/class/net/eth0/address"]).stdout
    boot = _boot_time(one)
    one.ssh(["sh", "-c", "ip link add br9 type bridge; touch /root/marker"])
    one.ssh(["systemctl", "reboot"], check=False)
    _wait_until(lambda: _boot_time(one) not in ("", boot))
    one.ssh(["test", "-e", "/root/marker"])
    assert one.ssh(["cat", "/sys/class/net/eth0/address"]).stdout == mac
    # What only the running kernel knew is gone, as after any reboot.
    assert one.ssh(["test", "-e", "/sys/class/net/br9"], check=False).returncode == 1
    assert _bridge_of(one.cables[0]) == BRIDGE


def test_a_power_cut_keeps_the_disk_and_a_reset_does_not(one: Machine) -> None:
    one.ssh(["touch", "/root/marker"])
    keys = one.host_keys
    one.kill()
    assert one.process is None
    assert not one.answers()
    one.boot()
    one.wait()
    one.ssh(["test", "-e", "/root/marker"])
    one.reset()
    assert one.ssh(["test", "-e", "/root/marker"], check=False).returncode == 1
    assert one.host_keys == keys


def test_start_leaves_a_running_machine_alone_and_tells_it_of_a_new_one(bed: Testbed, one: Machine) -> None:
    process = one.process
    bed.start([ONE, Spec(name="three", address=places.address(13, 1))])
    assert one.process == process
    assert str(places.address(13, 1)) in one.ssh(["getent", "hosts", "three"]).stdout


def test_a_machine_that_exists_with_another_address_is_refused(bed: Testbed) -> None:
    with pytest.raises(LabError, match=re.escape(str(ONE.address))):
        bed.start([Spec(name="one", address=places.address(99, 1))])


@pytest.mark.usefixtures("bed")
def test_another_clone_with_the_same_bridge_is_refused_by_name(tmp_path: Path) -> None:
    other = Testbed(tmp_path / "other", bridge=BRIDGE, subnet=places.subnet(2), cache=CACHE)
    with pytest.raises(LabError) as caught, other:
        other.start([Spec(name="x", address=places.address(11, 2))])
    assert BRIDGE in str(caught.value)


@pytest.mark.usefixtures("bed")
def test_a_folder_is_changed_by_one_process_at_a_time() -> None:
    with pytest.raises(LabError, match=str(os.getpid())):
        Testbed(FOLDER, bridge=BRIDGE, subnet=SUBNET, cache=CACHE).lock()


class Apart:
    """A network and a mount namespace of the test's own, where every change can only be the testbed's.

    Forwarding is off, and /run has no more than the folders any machine has.
    """

    folder = ROOT / places.folder("killed")
    bridge = places.bridge("tbkill")
    subnet = str(places.subnet(3))

    def __init__(self, cache: Path, images: Path) -> None:
        self.places = ["--cache", str(cache), "--images", str(images)]
        self.stack = self.folder.with_suffix(".yaml")
        hosts = [{"name": name, "address": str(places.address(10 + int(name), 3))} for name in "12"]
        self.stack.write_text(json.dumps({"config": {"kvm-lab:hosts": hosts}}))
        script = (
            "mount -t tmpfs tmpfs /run && mkdir /run/mount /run/systemd && ip link set lo up"
            " && echo 0 >/proc/sys/net/ipv4/ip_forward && echo ready && exec sleep infinity"
        )
        self.holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "sh", "-c", script], stdout=subprocess.PIPE, text=True
        )
        assert self.holder.stdout is not None
        assert self.holder.stdout.readline() == "ready\n"

    def close(self) -> None:
        try:
            self.run("down")
        finally:
            self.holder.kill()
            self.holder.communicate()
            self.stack.unlink()

    def inside(self, argv: list[str]) -> list[str]:
        return ["nsenter", f"--target={self.holder.pid}", "--net", "--mount", f"--wd={ROOT}", *argv]

    def command(self, name: str) -> list[str]:
        argv = [sys.executable, "-m", "testbed", name, "--dir", str(self.folder), "--name", self.bridge]
        argv += ["--range", self.subnet, *self.places]
        return self.inside(argv + (["--stack-file", str(self.stack)] if name == "up" else []))

    def run(self, name: str) -> None:
        done = subprocess.run(self.command(name), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    def up_and_kill(self, moment: Callable[[Apart, str], bool]) -> None:
        """Start `up`, and kill it alone as soon as `moment`, given what it has said so far, has come."""
        said = self.folder.with_suffix(".said")
        with said.open("wb") as output:
            up = subprocess.Popen(self.command("up"), stdout=output, stderr=subprocess.STDOUT)
        try:
            _wait_until(lambda: moment(self, said.read_text()) or up.poll() is not None)
            assert up.poll() is None, said.read_text()
        finally:
            up.kill()
            up.wait()
            said.unlink()

    def snapshot(self) -> dict[str, str]:
        """What `up` might have changed, by the command that shows it."""
        commands = [
            "ip -oneline -details link",
            "ip route show table all",
            "nft list ruleset",
            "findmnt --raw --noheadings",
            "grep -rs . /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf /proc/sys/net/bridge",
            "losetup --list",
            "find /run",
            "find /etc -printf %p:%T@:%s\\n",
            f"find /sys/fs/cgroup -type d -name *{self.bridge}*",
        ]
        seen = {}
        for command in commands:
            done = subprocess.run(self.inside(command.split()), capture_output=True, text=True, check=False)
            seen[command] = done.stdout
        return seen

    def residents(self) -> list[str]:
        """All processes in the namespace, in a machine, or marked, but for the namespace's own."""
        own = Path(f"/proc/{self.holder.pid}/ns/net").readlink()
        found = {p for p in processes.everything() if _net(p) == own or self._in_machine(p)}
        found |= set(processes.owned(self.folder))
        return [f"{p.pid} {p.command}" for p in found if p.pid != self.holder.pid]

    def _in_machine(self, process: processes.Process) -> bool:
        try:
            return self.bridge in Path(f"/proc/{process.pid}/cgroup").read_text()
        except OSError:
            return False


@pytest.fixture
def apart(guest_image: Path) -> Iterator[Apart]:
    base.build(CACHE, FOLDER)
    apart = Apart(CACHE, guest_image.parent)
    yield apart
    apart.close()


@pytest.fixture
def bare(guest_image: Path, tmp_path: Path) -> Iterator[Apart]:
    apart = Apart(tmp_path / "cache", guest_image.parent)
    yield apart
    apart.close()


def _journaled(apart: Apart, _: str) -> bool:
    return Path(f"/proc/{apart.holder.pid}/root/run/kvm-lab/host.json").exists()


def _booting(_: Apart, said: str) -> bool:
    return "boot until ssh answers" in said


def _booted_first(apart: Apart, _: str) -> bool:
    return (apart.folder / "machines/2/nspawn-lock").exists() and len(apart.residents()) > 10


def test_down_leaves_nothing_of_a_finished_up(apart: Apart) -> None:
    before = apart.snapshot()
    apart.run("up")
    assert apart.snapshot() != before
    assert len(apart.residents()) > 10
    apart.run("down")
    assert apart.snapshot() == before
    assert apart.residents() == []
    assert not apart.folder.exists()


@pytest.mark.parametrize("moment", [_journaled, _booting, _booted_first])
def test_down_leaves_nothing_of_a_killed_up(apart: Apart, moment: Callable[[Apart, str], bool]) -> None:
    before = apart.snapshot()
    apart.up_and_kill(moment)
    apart.run("down")
    assert apart.snapshot() == before
    assert apart.residents() == []
    assert not apart.folder.exists()


def test_down_leaves_nothing_of_a_killed_build(bare: Apart, tmp_path: Path) -> None:
    before = bare.snapshot()
    bare.up_and_kill(lambda apart, _: any("mmdebstrap" in resident for resident in apart.residents()))
    assert bare.residents() != []
    bare.run("down")
    assert bare.snapshot() == before
    assert bare.residents() == []
    assert not bare.folder.exists()
    assert list((tmp_path / "cache").iterdir()) == []


def test_up_goes_on_where_a_killed_one_stopped(apart: Apart) -> None:
    apart.up_and_kill(_booting)
    running = [p for p in processes.owned(apart.folder) if "systemd-nspawn" in p.command]
    apart.run("up")
    assert all(process.alive for process in running)
    start = time.monotonic()
    apart.run("up")
    assert time.monotonic() - start < 5


def test_down_ends_a_running_up(apart: Apart) -> None:
    before = apart.snapshot()
    up = subprocess.Popen(apart.command("up"), stderr=subprocess.PIPE, text=True)
    assert up.stderr is not None
    while "boot until" not in up.stderr.readline():
        assert up.poll() is None
    apart.run("down")
    up.communicate()
    assert up.returncode == -signal.SIGTERM
    assert apart.snapshot() == before
    assert apart.residents() == []


def _net(process: processes.Process) -> Path | None:
    try:
        return Path(f"/proc/{process.pid}/ns/net").readlink()
    except OSError:
        return None


def _bridge_of(cable: str) -> str:
    return Path(f"/sys/class/net/{cable}/master").resolve().name


def _boot_time(machine: Machine) -> str:
    # The clock and boot_id are this machine's; PID 1 of each boot is another process.
    return machine.ssh(["stat", "--format=%Y", "/proc/1"], check=False).stdout


def _wait_until(condition: Callable[[], bool], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.02)


@pytest.fixture(autouse=True, scope="module")
def clean() -> Iterator[None]:
    yield
    shutil.rmtree(FOLDER, ignore_errors=True)
