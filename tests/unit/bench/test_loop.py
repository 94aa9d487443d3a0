import subprocess
from pathlib import Path

import pytest

from bench import loop
from providers.state.cloudinit import Seed

PLAN = loop.Plan("/base/debian 12.qcow2", disk_gib=3, memory_mib=256, domain_type="qemu", bridge="br0")
GUESTS = [
    loop.LoopGuest(
        name, f"52:54:00:00:00:0{number}", Seed(name, f"#cloud-config\nuser: $HOME {name}\n", "v: 2\n")
    )
    for number, name in enumerate(("loop1", "loop2"))
]
COMMANDS = ("qemu-img", "cloud-localds", "virt-install", "virsh")


def run(script: str, folder: Path, fails: str = "") -> list[str]:
    """Run a script with commands that write down how they were called, no more; return the calls."""
    calls, tools = folder / "calls", folder / "tools"
    tools.mkdir()
    for command in COMMANDS:
        tool = tools / command
        status = int(command == fails)
        tool.write_text(f'#!/bin/sh\necho "{command} $*" >>{calls}\nexit {status}\n')
        tool.chmod(0o755)
    script = script.replace(loop.FOLDER, str(folder / "loop"))
    env = {"PATH": f"{tools}:/usr/bin:/bin"}
    subprocess.run(["sh", "-s"], input=script, text=True, check=True, env=env)
    return calls.read_text().splitlines()


def test_each_guest_gets_disk_seed_and_domain_in_turn(tmp_path: Path) -> None:
    calls = run(loop.create(PLAN, GUESTS), tmp_path)
    assert [call.split()[0] for call in calls] == [*COMMANDS[:3]] * 2
    assert calls[0] == "qemu-img create -q -b /base/debian 12.qcow2 -F qcow2 -f qcow2 loop1.qcow2 3G"
    assert calls[4] == "cloud-localds --network-config=loop2.network loop2.iso loop2.user loop2.meta"
    for option in ("--memory 256", "--machine pc", "--virt-type qemu", "bridge=br0", "mac=52:54:00:00:00:01"):
        assert option in calls[5]
    for guest in GUESTS:
        assert (tmp_path / f"loop/{guest.name}.user").read_text() == guest.seed.user_data
        assert (tmp_path / f"loop/{guest.name}.meta").read_text() == guest.seed.meta_data
        assert (tmp_path / f"loop/{guest.name}.network").read_text() == guest.seed.network_config


def test_reset_cuts_the_power_before_the_new_disk(tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir()
    calls = run(loop.reset(PLAN, "loop2"), tmp_path)
    assert [call.split()[:3] for call in calls] == [
        ["virsh", "-q", "destroy"],
        ["qemu-img", "create", "-q"],
        ["virsh", "-q", "start"],
    ]
    assert all("loop2" in call for call in calls)


def test_remove_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop/loop1.qcow2").touch()
    calls = run(loop.remove(["loop1", "loop2"]), tmp_path)
    assert [call.split()[2:] for call in calls] == [
        [verb, name] for name in ("loop1", "loop2") for verb in ("destroy", "undefine")
    ]
    assert not (tmp_path / "loop").exists()


def test_a_failed_command_ends_the_loop(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run(loop.create(PLAN, GUESTS), tmp_path, fails="cloud-localds")
    assert [call.split()[0] for call in (tmp_path / "calls").read_text().splitlines()] == [*COMMANDS[:2]]
