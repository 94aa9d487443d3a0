"""The order of system calls in the host's script: what must be on disk, and armed, before what.

It runs in namespaces of its own (mounts and network), with stubs for systemd and ifupdown.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "providers/scripts/network-transaction.sh"
OLD = "auto eth0\niface eth0 inet static\n    address 192.0.2.10/24\n"
NEW = "auto eth0\niface eth0 inet manual\n\nauto br0\niface br0 inet static\n    address 192.0.2.10/24\n"
BASE = "/var/lib/kvm-lab/network"
STEP = f"sh {BASE}/transaction/transaction.sh"
STUBS = {
    "systemctl": 'case "$*" in *is-enabled*) echo enabled ;; *is-active*.service) exit 1 ;; esac',
    "systemd-run": ":",
    "ifquery": '[ "$1" != --state ]',
    "ifdown": ":",
    "ifup": 'case "$*" in *br0*) ip link set dev eth0 master br0 ;; esac',
}
SETTINGS = """\
id=one
stack=kvm-lab/one
kind=activate
bridge=br0
hardware=02:00:00:00:00:01
timeout=15
down=eth0
up='eth0 br0'
names='eth0 br0'
record=/var/lib/kvm-lab/bridge/br0.json
"""


class Host:
    """A folder that stands for a host's /etc and /var/lib/kvm-lab."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trace = folder / "trace"
        for path in ("network", "systemd/sysinit.target.wants", "state", "bin"):
            (folder / path).mkdir(parents=True)
        self.interfaces.write_text(OLD)
        for name, text in STUBS.items():
            self.stub(name, text)
        incoming = folder / "state/network/incoming-one"
        files = {
            "transaction.sh": SCRIPT.read_text(),
            "settings": SETTINGS,
            "manifest": "0 /etc/network/interfaces\n",
            "old/0": OLD,
            "new/0": NEW,
            "live": "",
            "undo": "",
            "record": "{}\n",
        }
        for name, text in files.items():
            (incoming / name).parent.mkdir(parents=True, exist_ok=True)
            (incoming / name).write_text(text)

    @property
    def interfaces(self) -> Path:
        """The file that the change is about."""
        return self.folder / "network/interfaces"

    def stub(self, name: str, text: str) -> None:
        """Replace a command of the host."""
        path = self.folder / "bin" / name
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def run(self, *steps: str) -> subprocess.CompletedProcess[str]:
        """Run steps on this host, each traced; the last one's exit status counts."""
        # /sys shows the links of the network namespace in which it was mounted
        setup = f"""
        mount -t sysfs sysfs /sys
        mkdir -p /etc/network /var/lib/kvm-lab
        mount --bind {self.folder}/network /etc/network
        mount --bind {self.folder}/systemd /etc/systemd/system
        mount --bind {self.folder}/state /var/lib/kvm-lab
        ip link add eth0 type veth peer name cable
        export PATH={self.folder}/bin:$PATH
        """
        calls = "fsync,rename,renameat,renameat2,unlink,unlinkat,execve"
        traced = "\n".join(
            f"strace -f -y -s 200 -A -o {self.trace} -e trace={calls} -- {step}" for step in steps
        )
        return subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-c", f"set -e\n{setup}\nset +e\n{traced}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def positions(self, patterns: Mapping[str, str]) -> list[str]:
        """Return the names of the patterns in the order of their first traces; each must be there."""
        found = {}
        lines = self.trace.read_text().splitlines()
        for name, pattern in patterns.items():
            found[name] = next((i for i, line in enumerate(lines) if re.search(pattern, line)), None)
            assert found[name] is not None, f"{name}: no trace of {pattern}"
        return sorted(found, key=lambda name: found[name] or 0)


def syncs_between(host: Host, first: str, last: str) -> list[str]:
    """Return what was synced from the first trace of `first` to that of `last` after it."""
    lines = iter(host.trace.read_text().splitlines())
    assert any(re.search(first, line) for line in lines), first
    synced: list[str] = []
    for line in lines:
        if re.search(last, line):
            return synced
        synced += re.findall(r"fsync\(\d+<(.*)>\)\s+= 0", line)
    raise AssertionError(f"no trace of {last}")


STAGE = f"sh {BASE}/incoming-one/transaction.sh stage"
ARM = f"{STEP} arm"
APPLY = f"{STEP} apply-now one"
CONFIRM = f"{STEP} confirm one"


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def ordered(host: Host, **patterns: str) -> None:
    assert host.positions(patterns) == list(patterns)


def test_everything_is_on_disk_and_armed_before_the_network_changes(host: Host) -> None:
    done = host.run(STAGE, ARM, APPLY)
    assert done.returncode == 0, done.stderr
    assert host.interfaces.read_text() == NEW
    ordered(
        host,
        kept=r"fsync\(\d+</var/lib/kvm-lab/network/incoming-one/kept/0>\)\s+= 0",
        staged=r"fsync\(\d+</var/lib/kvm-lab/network/incoming-one/new/0>\)\s+= 0",
        placed=r"rename.*incoming-one\".*network/transaction\"",
        place=r"fsync\(\d+</var/lib/kvm-lab/network>\)\s+= 0",
        unit=r"fsync\(\d+</etc/systemd/system/kvm-lab-network-restore.service>\)\s+= 0",
        enabled=r"fsync\(\d+</etc/systemd/system/sysinit.target.wants>\)\s+= 0",
        timer=r"execve\(.*systemd-run.*--on-active=15.*AccuracySec=1s",
        new_file=r"fsync\(\d+</etc/network/.kvm-lab-interfaces.new>\)\s+= 0",
        beside=r"fsync\(\d+</etc/network>\)\s+= 0",
        down=r"execve\(.*ifdown",
        swapped=r"rename.*\.kvm-lab-interfaces\.new\".*interfaces\"",
        up=r"execve\(.*ifup",
    )
    assert syncs_between(host, r"execve\(.*ifdown", r"execve\(.*/ifup\"") == ["/etc/network"]


def test_what_a_rollback_puts_back_is_on_disk_before_ifup(host: Host) -> None:
    host.run(STAGE, ARM, APPLY)
    (host.folder / "network/.kvm-lab-interfaces.old").unlink()  # it must be copied again
    host.trace.unlink()
    host.run(f"{STEP} rollback one late")
    assert host.interfaces.read_text() == OLD
    ordered(
        host,
        down=r"execve\(.*ifdown",
        copy=r"fsync\(\d+</etc/network/.kvm-lab-interfaces.old>\)\s+= 0",
        restored=r"rename.*\.kvm-lab-interfaces\.old\".*interfaces\"",
        folder=r"fsync\(\d+</etc/network>\)\s+= 0",
        up=r"execve\(.*systemd-run.*ifup-now",
    )


def test_the_verdict_is_on_disk_before_anything_is_disarmed(host: Host) -> None:
    host.run(STAGE, ARM, APPLY)
    host.trace.unlink()
    done = host.run(CONFIRM)
    assert done.returncode == 0, done.stderr
    ordered(
        host,
        verdict=r"rename.*/pending\".*/confirmed\"",
        verdict_on_disk=r"fsync\(\d+</var/lib/kvm-lab/network/transaction>\)\s+= 0",
        record=r"fsync\(\d+</var/lib/kvm-lab/bridge/br0.json.new>\)\s+= 0",
        record_placed=r"rename.*br0.json.new\".*br0.json\"",
        record_on_disk=r"fsync\(\d+</var/lib/kvm-lab/bridge>\)\s+= 0",
        timer=r"execve\(.*systemctl.*stop",
        unit=r"unlink.*kvm-lab-network-restore.service",
        archived=r"rename.*network/transaction\".*network/last\"",
    )
    assert (host.folder / "state/bridge/br0.json").read_text() == "{}\n"
    assert sorted(path.name for path in (host.folder / "network").iterdir()) == ["interfaces"]
    assert not list((host.folder / "systemd").rglob("kvm-lab-*"))


def test_a_failing_ifup_puts_the_old_file_back_with_mode_and_owner(host: Host) -> None:
    host.interfaces.chmod(0o640)
    host.stub("ifup", 'case "$*" in *br0*) echo no bridge today; exit 1 ;; esac')
    done = host.run(STAGE, ARM, APPLY)
    assert done.returncode == 1
    assert host.interfaces.read_text() == OLD
    assert host.interfaces.stat().st_mode & 0o777 == 0o640
    last = host.folder / "state/network/last"
    assert (last / "rolled-back").exists()
    assert (last / "log").read_text().startswith("no bridge today\n")
    assert (last / "reason").read_text() == "the change failed in phase up\n"
    assert not (host.folder / "state/bridge").exists()


def test_each_command_of_the_undo_runs_with_what_was_found(host: Host) -> None:
    incoming = host.folder / "state/network/incoming-one"
    (incoming / "live").write_text("echo 1 >/proc/sys/net/ipv6/conf/eth0/addr_gen_mode; exit 1\n")
    gone = "ip link set dev gone nomaster"
    restore = 'cat "$1"/eth0.mode >/proc/sys/net/ipv6/conf/eth0/addr_gen_mode'
    (incoming / "undo").write_text(f"{gone}\n{restore}\n")
    mode = "sh -c 'cat /proc/sys/net/ipv6/conf/eth0/addr_gen_mode'"
    found = "sh -c 'echo 3 >/proc/sys/net/ipv6/conf/eth0/addr_gen_mode'"
    done = host.run(found, STAGE, ARM, APPLY, mode)
    assert done.stdout == "3\n", done.stderr
    log = (host.folder / "state/network/last/undo.log").read_text()
    assert re.findall("could not take back: .*", log) == [f"could not take back: {gone}"]


def test_a_file_edited_since_it_was_read_stops_the_staging(host: Host) -> None:
    host.interfaces.write_text(OLD + "# edited\n")
    done = host.run(STAGE)
    assert done.returncode == 1
    assert "/etc/network/interfaces has changed since it was read" in done.stderr
    assert not (host.folder / "state/network/transaction").exists()


def test_nothing_is_touched_when_the_timer_cannot_be_armed(host: Host) -> None:
    host.stub("systemd-run", "exit 1")
    done = host.run(STAGE, ARM, APPLY)
    assert done.returncode == 1
    assert host.interfaces.read_text() == OLD
    assert not list((host.folder / "systemd").rglob("kvm-lab-*"))
    assert not re.search(r"execve\(.*/ifdown", host.trace.read_text())


def test_boot_restores_the_files_and_brings_nothing_up(host: Host) -> None:
    host.run(STAGE, ARM, APPLY)
    host.trace.unlink()
    done = host.run(f"{STEP} boot-restore")
    assert done.returncode == 0, done.stderr
    assert host.interfaces.read_text() == OLD
    assert not re.search(r"execve\(.*/(ifup|ifdown|systemctl)", host.trace.read_text())
    assert (host.folder / "state/network/last/rolled-back").exists()


def test_one_of_confirm_and_rollback_wins(host: Host) -> None:
    host.run(STAGE, ARM, APPLY)
    host.run(f"{STEP} rollback one late")
    done = host.run(f"sh {BASE}/last/transaction.sh confirm one")
    assert done.returncode == 1
    assert "the change was rolled back: late" in done.stderr
    assert host.interfaces.read_text() == OLD


def test_a_timer_of_an_earlier_change_leaves_this_one_alone(host: Host) -> None:
    host.run(STAGE, ARM, APPLY)
    done = host.run(f"{STEP} rollback another late")
    assert done.returncode == 1
    assert host.interfaces.read_text() == NEW


def test_a_file_that_cannot_be_put_back_leaves_the_host_armed(host: Host) -> None:
    host.run(STAGE, ARM, APPLY)
    transaction = host.folder / "state/network/transaction"
    (host.folder / "network/.kvm-lab-interfaces.old").unlink()
    kept = (transaction / "kept/0").rename(host.folder / "elsewhere")
    host.run(f"{STEP} rollback one late")
    assert (transaction / "rolling-back").exists()
    assert list((host.folder / "systemd").rglob("kvm-lab-*"))
    status = subprocess.run(
        ["sh", transaction / "transaction.sh", "status"], capture_output=True, text=True, check=True
    ).stdout
    assert "unrestored=yes\n" in status
    assert "could not restore /etc/network/interfaces" in status

    kept.rename(transaction / "kept/0")
    done = host.run(f"{STEP} boot-restore")
    assert done.returncode == 0, done.stderr
    assert host.interfaces.read_text() == OLD
    assert (host.folder / "state/network/last/rolled-back").exists()
    assert not list((host.folder / "systemd").rglob("kvm-lab-*"))


def test_a_folder_that_a_power_cut_left_half_removed_is_in_nobodys_way(host: Host) -> None:
    half = host.folder / "state/network/transaction"
    half.mkdir()
    (half / "transaction.sh").write_text(SCRIPT.read_text())
    done = host.run(STAGE, ARM)
    assert done.returncode == 0, done.stderr
    assert (half / "settings").exists()
    assert not list(half.parent.glob("junk-*"))


def test_a_step_goes_on_when_its_reader_is_gone(host: Host) -> None:
    host.stub("systemd-run", "exit 1")
    done = host.run(STAGE, f"sh -c '{ARM} 2>&1 | true; sleep 1'")
    assert done.returncode == 0
    assert not list((host.folder / "systemd").rglob("kvm-lab-*"))


def test_what_was_taken_down_is_in_its_own_bridge_again(host: Host) -> None:
    incoming = host.folder / "state/network/incoming-one"
    (incoming / "settings").write_text(SETTINGS.replace("down=eth0", "down='eth0.20 eth0'"))
    host.stub("ifdown", 'case "$*" in *eth0.20*) ip link delete eth0.20 ;; esac')
    host.stub(
        "ifup",
        """case "$*" in
        *br0*)
            ip link set dev eth0 master br0
            ip link add eth0.20 type veth peer name far
            ;;
        esac""",
    )
    prepare = "sh -c 'ip link add br1 type bridge; ip link add eth0.20 master br1 type veth peer name near'"
    look = "sh -c 'readlink /sys/class/net/eth0.20/master'"
    done = host.run(prepare, STAGE, ARM, APPLY, look)
    assert done.stdout.endswith("/br1\n"), done.stderr
