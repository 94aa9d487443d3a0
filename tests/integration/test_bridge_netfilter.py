"""Bridge netfilter on a real kernel: for now and for the next start, and never at the price of the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from providers.bridge_netfilter import BridgeNetfilterProvider, BridgeNetfilterUndone
from providers.errors import LabError
from providers.state.netfilter import SYSCTL_FILE, VARIABLES
from testbed import Machine, Spec, Testbed
from tests.inputs import inputs_on
from tests.integration.bridges import reboot

FOLDER = "/proc/sys/net/bridge"
PROVIDER = BridgeNetfilterProvider()
ALL_OFF = "".join(f"net.bridge.{name} = 0\n" for name in VARIABLES)
# Takes the place of systemd-run: the timer is armed, and then nobody comes in any more until it has ended.
CUT_OFF = f"""\
#!/bin/sh
rm -f "$0"
/usr/bin/systemd-run "$@" || exit
systemctl stop ssh.socket ssh.service
exec /usr/bin/systemd-run --quiet --unit=until-undone sh -c '
    while [ "$(cat {FOLDER}/{VARIABLES[0]})" = 1 ]; do sleep 0.05; done
    while [ "$(cat {FOLDER}/{VARIABLES[0]})" = 0 ]; do sleep 0.05; done
    systemctl start ssh.service'
"""


@pytest.fixture(scope="module")
def machine(testbed: Testbed) -> Iterator[Machine]:
    """A machine as it comes; in this kernel br_netfilter is built in, and on for each machine."""
    (started,) = testbed.start([Spec(name="netfilter", address=testbed.network.range.network_address + 44)])
    started.reset()
    yield started
    started.poweroff()


def inputs_for(machine: Machine, stack: str = "kvm-lab/one", **options: object) -> dict[str, Any]:
    checked = PROVIDER.check({}, {**inputs_on(machine, stack), "rollback_timeout": 15, **options})
    assert not checked.failures
    return checked.inputs


def create(machine: Machine, stack: str = "kvm-lab/one", **options: object) -> dict[str, Any]:
    return dict(PROVIDER.create(inputs_for(machine, stack, **options)).outs or {})


def refresh(outs: dict[str, Any]) -> dict[str, Any]:
    return dict(PROVIDER.read("x", outs).outs or {})


def values(machine: Machine) -> str:
    return "".join(machine.ssh(["cat", *(f"{FOLDER}/{name}" for name in VARIABLES)]).stdout.split())


def bare(machine: Machine) -> bool:
    """Tell whether nothing of ours is on the machine."""
    script = (
        "! ls /var/lib/kvm-lab /etc/sysctl.d/*kvm-lab* /etc/modules-load.d/*kvm-lab* 2>/dev/null && "
        "[ -z \"$(systemctl list-timers --all --no-legend 'kvm-lab-*')\" ]"
    )
    return machine.ssh(["sh", "-c", script], check=False).returncode == 0


def test_it_is_set_kept_over_a_start_mended_and_given_back(machine: Machine) -> None:
    assert values(machine) == "111"
    outs = create(machine, enabled=False)
    assert values(machine) == "000"
    assert (outs["adopted"], outs["files"]) == (False, [SYSCTL_FILE])
    assert refresh(outs)["enabled"] is False
    reboot(machine)
    assert values(machine) == "000"
    for drift in (f"echo 1 >{FOLDER}/{VARIABLES[2]}", f"rm {SYSCTL_FILE}"):
        machine.ssh(["sh", "-c", drift])
        seen = refresh(outs)
        news = inputs_for(machine, enabled=False)
        assert PROVIDER.diff("x", seen, news).changes
        outs = dict(PROVIDER.update("x", seen, news).outs or {})
        assert values(machine) == "000"
        assert refresh(outs)["enabled"] is False
    PROVIDER.delete("x", outs)
    assert values(machine) == "111"
    assert bare(machine)


def test_what_is_as_asked_already_is_adopted_without_a_write(machine: Machine) -> None:
    machine.ssh(["sh", "-c", "mkdir -p /etc/sysctl.d && cat >/etc/sysctl.d/50-site.conf"], stdin=ALL_OFF)
    machine.ssh(["sh", "-c", f"for f in {FOLDER}/bridge-nf-call-*; do echo 0 >$f; done"])
    times = "find /etc -newermt '1 minute ago' -printf '%p %T@ %C@\\n' | sort"
    before = machine.ssh(["sh", "-c", times]).stdout
    outs = create(machine, enabled=False)
    assert (outs["adopted"], outs["files"]) == (True, [])
    assert refresh(outs)["enabled"] is False
    PROVIDER.delete("x", outs)
    assert values(machine) == "000"
    assert machine.ssh(["sh", "-c", times]).stdout == before
    machine.ssh(
        ["sh", "-c", f"rm /etc/sysctl.d/50-site.conf; for f in {FOLDER}/*-call-*; do echo 1 >$f; done"]
    )
    assert bare(machine)


def test_a_file_that_is_read_later_is_named_and_nothing_changes(machine: Machine) -> None:
    path = "/etc/sysctl.d/99-site.conf"
    line = f"net/bridge/{VARIABLES[1]} = 1"
    machine.ssh(["sh", "-c", f"mkdir -p /etc/sysctl.d && printf '\\n{line}\\n' >{path}"])
    with pytest.raises(LabError, match=rf"(?s){path}:2: '{line}'.*nothing was changed"):
        create(machine, enabled=False)
    machine.ssh(["rm", path])
    assert values(machine) == "111"
    assert bare(machine)


def test_stacks_must_agree_and_the_last_one_gives_it_back(machine: Machine) -> None:
    first = create(machine, enabled=False)
    with pytest.raises(LabError, match="kvm-lab/one wants it otherwise"):
        create(machine, "kvm-lab/two", enabled=True)
    second = create(machine, "kvm-lab/two", enabled=False)
    PROVIDER.delete("x", first)
    assert values(machine) == "000"
    assert refresh(first) == {}
    PROVIDER.delete("x", second)
    assert values(machine) == "111"
    assert bare(machine)


def test_a_host_that_is_cut_off_comes_back_by_itself(machine: Machine) -> None:
    wrapper = "/usr/local/bin/systemd-run"
    machine.ssh(["sh", "-c", f"cat >{wrapper} && chmod +x {wrapper}"], stdin=CUT_OFF)
    with pytest.raises(BridgeNetfilterUndone, match="the host has undone it"):
        create(machine, enabled=False)
    assert values(machine) == "111"
    assert bare(machine)
