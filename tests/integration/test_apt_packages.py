"""Packages on a real machine: brought, shared by two stacks, and taken away again."""

from __future__ import annotations

import shlex
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from providers import apt_packages
from providers.apt_packages import AptPackagesProvider
from providers.errors import LabError
from providers.transport import Endpoint
from testbed import Machine, Spec, Testbed

SMALL = ("bridge-utils", "tree")
HOLD_LISTS = """
import fcntl, sys, time
lock = open("/var/lib/apt/lists/lock", "w")
fcntl.lockf(lock, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(float(sys.argv[1]))
"""


@pytest.fixture(scope="module")
def started(testbed: Testbed) -> Iterator[Machine]:
    address = testbed.network.range.network_address + 61
    (machine,) = testbed.start([Spec(name="packages", address=address)])
    yield machine
    machine.poweroff()


@pytest.fixture
def machine(started: Machine) -> Machine:
    """A machine without any claim on its packages."""
    claims = started.ssh(["sh", "-c", "cat /var/lib/kvm-lab/packages/* 2>/dev/null; true"]).stdout
    if claims:
        started.reset()
    return started


@pytest.fixture(scope="module")
def provider() -> AptPackagesProvider:
    return AptPackagesProvider()


def props(machine: Machine, *packages: str, stack: str = "lab/a") -> dict[str, Any]:
    endpoint = Endpoint(
        host=machine.name,
        address=machine.address,
        port=machine.port,
        user=machine.user,
        identity_file=machine.identity_file,
        host_keys=machine.host_keys,
    )
    return {"endpoint": endpoint.model_dump(mode="json"), "stack": stack, "packages": list(packages)}


def create(
    provider: AptPackagesProvider, machine: Machine, *packages: str, stack: str = "lab/a"
) -> dict[str, Any]:
    outs = provider.create(props(machine, *packages, stack=stack)).outs
    assert outs is not None
    return outs


def installed(machine: Machine) -> set[str]:
    shown = machine.ssh(["dpkg-query", "-W", "-f", "${db:Status-Abbrev} ${binary:Package}\\n"]).stdout
    return {line.split()[1] for line in shown.splitlines() if line.startswith(("ii", "hi"))}


def claims_left(machine: Machine) -> bool:
    return machine.ssh(["test", "-e", "/var/lib/kvm-lab"], check=False).returncode == 0


def test_brought_found_again_and_taken_away(machine: Machine, provider: AptPackagesProvider) -> None:
    before = installed(machine)
    outs = create(provider, machine, *SMALL)
    assert installed(machine) - before == set(SMALL)
    assert set(outs["versions"]) == set(SMALL)
    assert outs["brought"] == sorted(SMALL)
    history = machine.ssh(["cat", "/var/log/apt/history.log"]).stdout

    assert create(provider, machine, *SMALL) == outs
    assert machine.ssh(["cat", "/var/log/apt/history.log"]).stdout == history

    mode = machine.ssh(["stat", "-c", "%a %U", "/var/lib/kvm-lab", "/var/lib/kvm-lab/packages/apt.json"])
    assert mode.stdout == "700 root\n600 root\n"
    provider.delete("", outs)
    assert installed(machine) == before
    assert not claims_left(machine)
    provider.delete("", outs)


def test_what_was_there_before_stays(machine: Machine, provider: AptPackagesProvider) -> None:
    machine.ssh(["sh", "-c", "apt-get -qq update && apt-get -qqy install tree >/dev/null"])
    before = installed(machine)
    outs = create(provider, machine, *SMALL)
    assert outs["brought"] == ["bridge-utils"]
    provider.delete("", outs)
    assert installed(machine) == before
    machine.ssh(["apt-get", "-qqy", "remove", "tree"])


def test_what_the_admin_asks_for_later_stays(machine: Machine, provider: AptPackagesProvider) -> None:
    before = installed(machine)
    outs = create(provider, machine, *SMALL)
    machine.ssh(["apt-get", "-qqy", "autoremove"])
    assert installed(machine) - before == set(SMALL)
    machine.ssh(["apt-get", "-qqy", "install", "tree"])
    provider.delete("", outs)
    assert installed(machine) - before == {"tree"}
    assert machine.ssh(["test", "-e", apt_packages.KEEP_FILE], check=False).returncode == 1
    machine.ssh(["apt-get", "-qqy", "remove", "tree"])


def test_lists_that_name_a_version_which_the_archive_has_replaced(
    machine: Machine, provider: AptPackagesProvider
) -> None:
    machine.ssh(["apt-get", "-qq", "update"])
    # as if from an older state of the archive: apt fetches an index whose digest in InRelease has changed
    stale = r"""
        cd /var/lib/apt/lists && apt-get clean
        sed -i -E '/^Filename: .*\/tree_/ s/tree_[^_]*_/tree_0superseded_/' *Packages
        sed -i -E '/main\/binary-amd64\/Packages/ s/[0-9a-f]{8}/00000000/' *_bookworm_InRelease
        touch -d 2020-01-01 *InRelease
    """
    machine.ssh(["sh", "-c", stale])
    outs = create(provider, machine, "tree")
    assert "tree" in installed(machine)
    provider.delete("", outs)


@pytest.mark.parametrize("first", ["lab/a", "lab/b"])
def test_two_stacks_in_both_orders(machine: Machine, provider: AptPackagesProvider, first: str) -> None:
    before = installed(machine)
    stacks = {
        "lab/a": create(provider, machine, "tree", stack="lab/a"),
        "lab/b": create(provider, machine, *SMALL, stack="lab/b"),
    }
    second = "lab/b" if first == "lab/a" else "lab/a"
    provider.delete("", stacks[first])
    assert installed(machine) - before == set(stacks[second]["packages"])
    provider.delete("", stacks[second])
    assert installed(machine) == before
    assert not claims_left(machine)


def test_refresh_sees_a_missing_package_and_update_brings_it(
    machine: Machine, provider: AptPackagesProvider
) -> None:
    before = installed(machine)
    outs = create(provider, machine, *SMALL)
    machine.ssh(["apt-get", "-qqy", "remove", "tree"])
    seen = provider.read("id", outs).outs
    assert seen is not None
    assert seen["packages"] == ["bridge-utils"]
    assert provider.diff("id", seen, props(machine, *SMALL)).changes is True
    mended = provider.update("id", seen, props(machine, *SMALL)).outs
    assert mended is not None
    assert "tree" in installed(machine)
    provider.delete("", mended)
    assert installed(machine) == before
    assert provider.read("id", mended).id == ""


def test_a_name_taken_from_the_list_goes(machine: Machine, provider: AptPackagesProvider) -> None:
    before = installed(machine)
    outs = create(provider, machine, *SMALL)
    fewer = provider.update("id", outs, props(machine, "tree")).outs
    assert fewer is not None
    assert installed(machine) - before == {"tree"}
    assert fewer["brought"] == ["tree"]
    provider.delete("", fewer)


def test_unknown_names_are_told_before_anything_is_installed(
    machine: Machine, provider: AptPackagesProvider
) -> None:
    before = installed(machine)
    with pytest.raises(LabError) as caught:
        create(provider, machine, "tree", "bridge-utlis", "qemu-utilz")
    for part in ("bridge-utlis; near: bridge-utils", "qemu-utilz; near: qemu-utils"):
        assert part in str(caught.value)
    assert installed(machine) == before
    assert not claims_left(machine)


def test_broken_archive_hinders_only_what_is_in_it(
    machine: Machine, provider: AptPackagesProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    source = "/etc/apt/sources.list.d/gone.list"
    line = "deb http://127.0.0.1:9/debian gone main"
    machine.ssh(["sh", "-c", f"echo '{line}' > {source}; rm -rf /var/lib/apt/lists/*"])
    try:
        outs = create(provider, machine, "tree")
        assert "127.0.0.1:9" in capsys.readouterr().err
        with pytest.raises(LabError, match=r"no package only-there[\s\S]*127\.0\.0\.1:9"):
            create(provider, machine, "tree", "only-there")
    finally:
        machine.ssh(["rm", source])
    provider.delete("", outs)


def test_removal_of_others_is_refused(machine: Machine, provider: AptPackagesProvider) -> None:
    machine.ssh(["sh", "-c", "apt-get -qq update"])
    before = installed(machine)
    # systemd-sysv, which every machine has, conflicts with it
    with pytest.raises(LabError, match=r"apt would remove .*systemd-sysv"):
        create(provider, machine, "sysvinit-core")
    assert installed(machine) == before


def test_desktop_that_would_come_along_is_refused(machine: Machine, provider: AptPackagesProvider) -> None:
    with pytest.raises(LabError, match=r"desktop or display server would come along: .*xserver"):
        create(provider, machine, "xserver-xorg-input-libinput")


def test_libvirt_and_qemu_stay_while_guests_are_defined(
    machine: Machine, provider: AptPackagesProvider
) -> None:
    outs = create(provider, machine, "qemu-utils")
    before = installed(machine)
    machine.ssh(["sh", "-c", "mkdir -p /etc/libvirt/qemu && touch /etc/libvirt/qemu/somebodys.xml"])
    with pytest.raises(LabError, match="guests are still defined there: somebodys"):
        provider.delete("", outs)
    assert installed(machine) == before
    machine.ssh(["rm", "-r", "/etc/libvirt"])
    provider.delete("", outs)
    assert not claims_left(machine)


def test_lock_of_the_lists_is_waited_for_and_its_holder_named(
    machine: Machine, provider: AptPackagesProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.ssh(["sh", "-c", "rm -rf /var/lib/apt/lists/*"])
    with holder(machine, 8):
        outs = create(provider, machine, "tree")
    assert "waiting for process" in capsys.readouterr().err
    provider.delete("", outs)


def test_lock_that_is_never_freed(
    machine: Machine, provider: AptPackagesProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.ssh(["sh", "-c", "rm -rf /var/lib/apt/lists/*"])
    monkeypatch.setattr(apt_packages, "LOCK_TIMEOUT", 2.0)
    with holder(machine, 30), pytest.raises(LabError, match=r"locked for \d+ s by process \d+ \(python3 "):
        create(provider, machine, "tree")


def test_killed_installation_is_continued_and_still_ours(
    machine: Machine, provider: AptPackagesProvider
) -> None:
    before = installed(machine)
    create(provider, machine, "tree")
    killer = threading.Thread(target=kill_during_install, args=(machine,))
    killer.start()
    # the power fails in the middle: whatever the error is, the next run must cope
    with pytest.raises(LabError):
        create(provider, machine, "tree", "qemu-utils")
    killer.join()
    outs = create(provider, machine, "tree", "qemu-utils")
    assert "qemu-utils" in outs["versions"]
    audit = machine.ssh(["dpkg", "--audit"])
    assert audit.stdout == ""
    provider.delete("", outs)
    assert installed(machine) == before


def test_a_dependency_that_is_there_in_parts_is_installed_anew(
    machine: Machine, provider: AptPackagesProvider
) -> None:
    """What a power cut leaves when it comes while dpkg unpacks a library (dpkg(1), package states)."""
    before = installed(machine)
    create(provider, machine, "qemu-utils")
    cut = r"""
import re
path = "/var/lib/dpkg/status"
text = open(path).read()
for name, state in (("libglib2.0-0", "reinstreq half-installed"), ("qemu-utils", "ok unpacked")):
    text, found = re.subn(rf"(Package: {name}\nStatus: install ).*", rf"\g<1>{state}", text)
    assert found == 1
open(path, "w").write(text)
"""
    machine.ssh(["python3", "-"], stdin=cut)
    outs = create(provider, machine, "qemu-utils")
    assert machine.ssh(["dpkg", "--audit"]).stdout == ""
    assert machine.ssh(["qemu-img", "--version"]).stdout.startswith("qemu-img version")
    provider.delete("", outs)
    assert installed(machine) == before


def kill_during_install(machine: Machine) -> None:
    """Cut the power once the first package of the transaction is being unpacked."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        shown = machine.ssh(["dpkg-query", "-W", "-f", "${db:Status-Abbrev}\\n"], check=False).stdout
        if any(line[1:2] in {"U", "F", "H"} for line in shown.splitlines()):
            break
        time.sleep(0.05)
    machine.kill()
    machine.boot()
    machine.wait()


@contextmanager
def holder(machine: Machine, seconds: float) -> Iterator[None]:
    """Hold the lock of the package lists on the machine for some seconds."""
    argv = [*machine.ssh_command(), f"python3 -c {shlex.quote(HOLD_LISTS)} {seconds}"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stdout.readline() == b"held\n"
        yield
        process.terminate()
