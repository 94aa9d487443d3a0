"""Bridge netfilter on a real kernel: for now and for the next start, and never at the price of the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from providers import bridge_netfilter
from providers.bridge_netfilter import BridgeNetfilterProvider, BridgeNetfilterUndone
from providers.errors import LabError
from providers.state.netfilter import SYSCTL_FILE, VARIABLES
from providers.transport import CommandFailed, Endpoint, Session, connect
from testbed import Machine, Spec, Testbed
from tests.inputs import inputs_on
from tests.integration.bridges import reboot

FOLDER = "/proc/sys/net/bridge"
PROVIDER = BridgeNetfilterProvider()
ALL_OFF = "".join(f"net.bridge.{name} = 0\n" for name in VARIABLES)
WRAPPER = "/usr/local/bin/systemd-run"
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

# Takes the place of systemd-run: the timer is armed, and with that the connection dies that asked for it.
LOSE_ANSWER = """\
#!/bin/sh
rm -f "$0"
/usr/bin/systemd-run "$@" || exit
pid=$PPID
until grep -q '^sshd' "/proc/$pid/comm"; do
    pid=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$pid/status")
done
kill -KILL "$pid"
"""
REFUSE = """\
#!/bin/sh
rm -f "$0"
echo "no unit is started here" >&2
exit 1
"""


class ClientDied(BaseException):
    """What no code of the client's can see to."""


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


def wrap(machine: Machine, script: str) -> None:
    """Have the next call of systemd-run run this script."""
    machine.ssh(["sh", "-c", f"cat >{WRAPPER} && chmod +x {WRAPPER}"], stdin=script)


def pending(machine: Machine) -> bool:
    """Tell whether the host would still undo a change."""
    return bool(machine.ssh(["systemctl", "list-timers", "--all", "--no-legend", "kvm-lab-*"]).stdout)


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
    wrap(machine, CUT_OFF)
    with pytest.raises(BridgeNetfilterUndone, match="the host has undone it"):
        create(machine, enabled=False)
    assert values(machine) == "111"
    assert bare(machine)


@pytest.mark.parametrize("wanted", [False, True])
def test_the_timer_of_a_client_that_died_does_not_end_in_the_next_ones_change(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    opened: list[Session] = []

    def connect_once(endpoint: Endpoint, *, timeout: float = 15.0) -> Session:
        if opened:
            raise ClientDied
        opened.append(connect(endpoint, timeout=timeout))
        return opened[0]

    monkeypatch.setattr(bridge_netfilter, "connect", connect_once)
    with pytest.raises(ClientDied):
        create(machine, enabled=False, rollback_timeout=600)
    monkeypatch.undo()
    assert values(machine) == "000"
    assert pending(machine)
    outs = create(machine, enabled=wanted)
    assert values(machine) == ("111" if wanted else "000")
    assert refresh(outs)["enabled"] is wanted
    assert not pending(machine)
    PROVIDER.delete("x", outs)
    assert values(machine) == "111"
    assert bare(machine)


def test_a_change_whose_answer_is_lost_is_confirmed_over_a_new_connection(machine: Machine) -> None:
    wrap(machine, LOSE_ANSWER)
    outs = create(machine, enabled=False)
    assert machine.ssh(["test", "-e", WRAPPER], check=False).returncode != 0
    assert values(machine) == "000"
    assert refresh(outs)["enabled"] is False
    assert not pending(machine)
    wrap(machine, LOSE_ANSWER)
    PROVIDER.delete("x", outs)
    assert values(machine) == "111"
    assert bare(machine)


def test_what_cannot_be_set_is_not_claimed(machine: Machine) -> None:
    wrap(machine, REFUSE)
    with pytest.raises(BridgeNetfilterUndone, match="no unit is started here"):
        create(machine, enabled=False)
    assert values(machine) == "111"
    assert bare(machine)


def test_where_no_file_can_be_written_the_kernel_stays_as_it_is(machine: Machine) -> None:
    folder = "/etc/sysctl.d"
    script = f"mkdir -p {folder} && mount --bind {folder} {folder} && mount -o remount,bind,ro {folder}"
    machine.ssh(["sh", "-c", script])
    try:
        with pytest.raises(CommandFailed, match="Read-only file system"):
            create(machine, enabled=False)
    finally:
        machine.ssh(["umount", folder])
    assert values(machine) == "111"
    assert bare(machine)


def test_a_folder_that_is_there_keeps_its_mode(machine: Machine) -> None:
    machine.ssh(["sh", "-c", "mkdir -p /etc/sysctl.d && chmod 0700 /etc/sysctl.d"])
    outs = create(machine, enabled=False)
    assert machine.ssh(["stat", "-c", "%a", "/etc/sysctl.d"]).stdout.strip() == "700"
    PROVIDER.delete("x", outs)
    machine.ssh(["chmod", "0755", "/etc/sysctl.d"])
    assert bare(machine)
