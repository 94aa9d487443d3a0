"""What `make up` and `make down` run: a table, ssh commands that work as printed, and nothing left behind."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import processes
from tests import places
from tests.conftest import ROOT
from tests.contract.conftest import make_key

TESTBED = places.folder("make")
FOLDER = ROOT / TESTBED
BRIDGE = places.bridge("labmake")
SUBNET = str(places.subnet(4))
ADDRESS = str(places.address(11, 4))
DEADLINE = 600.0
OURS = rf"{BRIDGE}|{re.escape(ADDRESS.removesuffix('11'))}|{FOLDER.name}"
SHOWN = (
    "ip -oneline link",
    "ip -oneline address",
    "ip route show table all",
    "nft list ruleset",
    "findmnt --raw --noheadings",
    "losetup --list",
    f"find /sys/fs/cgroup -type d -name *{BRIDGE}*",
    f"find /run/systemd/nspawn /run/kvm-lab -name *{BRIDGE}*",
)
CHANGED = {"created", "updated", "replaced", "deleted"}


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    host: dict[str, Any] = {
        "name": "m1",
        "address": ADDRESS,
        "identity_file": f"{TESTBED}/id_ed25519",
        "known_hosts": f"{TESTBED}/known_hosts",
        "bridge": {"port": "eth0"},
    }
    path = tmp_path / "Pulumi.made.yaml"
    path.write_text(yaml.safe_dump({"config": {"kvm-lab:hosts": [host]}}))
    return path


@pytest.fixture(autouse=True)
def ended(stack_file: Path) -> Iterator[None]:
    if FOLDER.exists():  # what a killed run left
        lab("down", stack_file)
    yield
    lab("down", stack_file)
    shutil.rmtree(FOLDER, ignore_errors=True)


def argv(command: str, stack_file: Path) -> list[str]:
    where = ["--testbed", TESTBED, "--bridge", BRIDGE, "--range", SUBNET]
    return [sys.executable, "-m", "lab", command, "--stack", "made", "--stack-file", str(stack_file), *where]


def lab(command: str, stack_file: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv(command, stack_file), cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE
    )


def traces() -> list[str]:
    """What there is of this testbed on this machine: other testbeds may come and go beside it."""
    found = []
    for command in SHOWN:
        shown = subprocess.run(command.split(), capture_output=True, text=True, check=False).stdout
        found += [f"{command}: {line}" for line in shown.splitlines() if re.search(OURS, line)]
    return found + [f"{process.pid} {process.command}" for process in processes.owned(FOLDER)]


def etc() -> str:
    """Every file of /etc with its size and time."""
    return subprocess.run(
        ["find", "/etc", "-printf", "%p:%T@:%s\\n"], capture_output=True, text=True, check=True
    ).stdout


@pytest.mark.usefixtures("engine", "guest_image")
def test_up_prints_a_table_and_logins_and_down_takes_all_away(stack_file: Path) -> None:
    before = etc()
    up = lab("up", stack_file)
    assert up.returncode == 0, up.stdout + up.stderr
    lines = up.stdout.splitlines()
    assert lines[lines.index("host  type  bridge  ports  guests") + 1].split() == [
        "m1",
        "qemu",
        "br0",
        "eth0",
    ]
    (command,) = [line for line in lines if line.startswith("ssh ")]
    assert "StrictHostKeyChecking=yes" in command
    login = subprocess.run(
        [*shlex.split(command), "hostname"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (login.returncode, login.stdout.strip()) == (0, "m1"), login.stderr

    again = lab("up", stack_file)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "unchanged" in again.stdout
    assert not CHANGED & set(again.stdout.split())

    preview = lab("preview", stack_file)
    assert preview.returncode == 0, preview.stdout + preview.stderr
    assert preview.stdout.endswith("m1: nothing to do\n\n1 host: 1 nothing to do\n")

    assert traces() != []
    assert lab("down", stack_file).returncode == 0
    assert traces() == []
    assert etc() == before
    assert not FOLDER.exists()


@pytest.mark.usefixtures("engine", "guest_image")
def test_preview_starts_no_machine_and_look_tells_what_one_would_become(stack_file: Path) -> None:
    off = lab("preview", stack_file)
    assert off.returncode == 0, off.stdout + off.stderr
    assert "+ kvm:index:HypervisorHost m1 create" in " ".join(off.stdout.split())
    assert "m1: did not answer: the testbed is off; make machines STACK=made starts" in off.stdout
    assert off.stdout.endswith("\n\n1 host: 1 not seen\n")
    assert not [line for line in traces() if line.startswith("ip ")]

    assert lab("machines", stack_file).returncode == 0
    bare = lab("look", stack_file)
    assert bare.returncode == 0, bare.stdout + bare.stderr
    assert f"  br0 takes over {ADDRESS}/24 and the default route" in bare.stdout
    assert "+++ m1:/etc/network/interfaces\n" in bare.stdout
    assert bare.stdout.endswith("1 host: 1 down for a moment\n")


def test_look_reads_a_host_outside_the_testbed(stack_file: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "id")
    settings = yaml.safe_load(stack_file.read_text())
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    key = (tmp_path / "id.pub").read_text().strip()
    changes = {
        "address": "127.0.0.1",
        "port": port,
        "identity_file": str(tmp_path / "id"),
        "host_keys": [key],
    }
    (host,) = settings["config"]["kvm-lab:hosts"]
    del host["known_hosts"]
    host.update(changes)
    stack_file.write_text(yaml.safe_dump(settings))
    looked = lab("look", stack_file)
    assert looked.returncode == 0, looked.stderr
    assert looked.stdout == "m1: did not answer: Connection refused\n\n1 host: 1 not seen\n"
    stack_file.write_text(yaml.safe_dump({"config": {"kvm-lab:hosts": [{**host, "address": ADDRESS}]}}))


@contextmanager
def started(stack_file: Path, moment: str) -> Iterator[subprocess.Popen[str]]:
    """Start `up`, and go on when it has printed `moment`."""
    up = subprocess.Popen(
        argv("up", stack_file), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert up.stdout is not None
    deadline = time.monotonic() + DEADLINE
    while moment not in (line := up.stdout.readline()):
        assert line, "up ended early"
        assert time.monotonic() < deadline
    try:
        yield up
    finally:
        up.kill()
        up.stdout.close()
        up.wait()


def engines() -> list[processes.Process]:
    """The `pulumi` commands of the testbed that run now."""
    marked = processes.owned(FOLDER)
    return [process for process in marked if process.command.startswith("pulumi ")]


@pytest.mark.usefixtures("engine", "guest_image")
@pytest.mark.parametrize(
    "moment", ["boot until ssh answers", "AptPackages m1 creating", "NetworkBridge m1 creating"]
)
def test_down_leaves_nothing_of_a_killed_up(stack_file: Path, moment: str) -> None:
    before = etc()
    with started(stack_file, moment) as up:
        os.kill(up.pid, signal.SIGKILL)
        up.wait()
        assert bool(engines()) == ("creating" in moment), "pulumi lives on as an orphan"
    assert lab("down", stack_file).returncode == 0
    assert traces() == []
    assert etc() == before
    assert not FOLDER.exists()


@pytest.mark.usefixtures("engine", "guest_image")
def test_up_goes_on_where_a_killed_pulumi_stopped(stack_file: Path) -> None:
    with started(stack_file, "AptPackages m1 creating") as up:
        for engine in engines():
            engine.signal(signal.SIGKILL)
        os.kill(up.pid, signal.SIGKILL)
        up.wait()
    again = lab("up", stack_file)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "pending" not in again.stdout
    third = lab("up", stack_file)
    assert "unchanged" in third.stdout
    assert not CHANGED & set(third.stdout.split())


@pytest.mark.usefixtures("engine", "guest_image")
def test_an_interrupt_ends_in_order(stack_file: Path) -> None:
    with started(stack_file, "AptPackages m1 creating") as up:
        for process in [
            p for p in processes.everything() if p.pid == up.pid
        ] + engines():  # as a terminal does
            process.signal(signal.SIGINT)
        assert up.wait(DEADLINE) != 0
    assert engines() == []
    assert not list((FOLDER / "pulumi/.pulumi/locks").rglob("*.json"))


@pytest.mark.parametrize(
    ("command", "instead"), [("up", "pulumi up"), ("preview", "pulumi preview"), ("down", "pulumi destroy")]
)
def test_a_host_outside_the_testbed_is_never_touched(stack_file: Path, command: str, instead: str) -> None:
    settings = yaml.safe_load(stack_file.read_text())
    settings["config"]["kvm-lab:hosts"].append(
        {
            "name": "real",
            "address": "192.0.2.77",
            "known_hosts": f"{TESTBED}/known_hosts",
            "bridge": {"port": "eth0"},
        }
    )
    stack_file.write_text(yaml.safe_dump(settings))
    refused = lab(command, stack_file)
    assert refused.returncode != 0
    assert "real" in refused.stderr
    assert f"{instead} --stack made" in refused.stderr
    assert traces() == []
    settings["config"]["kvm-lab:hosts"].pop()
    stack_file.write_text(yaml.safe_dump(settings))
