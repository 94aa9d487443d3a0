"""Looking at real machines: what is told before, between and after changes; and looking changes nothing."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from config import NAMESPACE, Lab
from lab.glances import NoAnswer
from lab.look import DEADLINE, Sight, look_at_hosts
from lab.outlooks import report, verdict
from providers.bridge_netfilter import BridgeNetfilterProvider
from providers.host_network import FOLDER, ChangeUnderWay
from providers.state.netfilter import SYSCTL_FILE
from providers.state.outlook import Outlook
from providers.transport import AuthError, ConnectError, HostKeyMismatch
from testbed import Machine, Spec, Testbed
from tests.conftest import ROOT
from tests.contract.conftest import make_key
from tests.inputs import inputs_on, login
from tests.integration.bridges import (
    BRIDGE,
    INTERFACES,
    create,
    delete,
    hanging_client,
    wait_for_phase,
    wait_until_undone,
)

OURS = "kvm-lab/one.look"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"
# but for what a login by itself writes, in /var/log and /run, and what the machine's own timers write
EVERYTHING = """
find / -xdev \\( -path /var/log -o -path /run -o -path /var/lib/systemd -o -path /var/lib/logrotate \\
  -o -path /var/lib/apt -o -path /var/cache -o -path /var/backups \\) -prune -o -printf '%p %T@ %C@ %s %m\\n'
find /run/network /run/kvm-lab* /run/systemd/transient -printf '%p %T@ %s\\n' 2>/dev/null
ip address | grep -v valid_lft; ip route; ip -6 route; ifquery --state
grep -s . /sys/class/net/*/bridge/stp_state /sys/class/net/*/bridge/forward_delay
systemctl list-timers --all --no-legend 'kvm-lab-*'
"""


@pytest.fixture(scope="module")
def machine(testbed: Testbed) -> Iterator[Machine]:
    """A bare machine with two network cards."""
    address = testbed.network.range.network_address + 49
    (started,) = testbed.start([Spec(name="look", address=address, nics=2)])
    started.reset()
    yield started
    started.poweroff()


@pytest.fixture(scope="module")
def equipped(machine: Machine) -> Machine:
    """The same machine with bridge-utils."""
    install = "apt-get -q update && apt-get -qy install --no-install-recommends bridge-utils"
    machine.ssh(["sh", "-c", install])
    return machine


@dataclass(frozen=True)
class Bridged:
    """The machine with a bridge: its text before and after, what was told before, and what Pulumi knows."""

    machine: Machine
    bare: str
    taken: str
    told: Outlook
    outs: dict[str, Any]


@pytest.fixture(scope="module")
def bridged(equipped: Machine) -> Iterator[Bridged]:
    """The machine with the bridge; the last test with it takes it away."""
    bare, told = text_of(equipped), outlook(equipped)
    outs = create(equipped, stack=OURS)
    yield Bridged(equipped, bare, text_of(equipped), told, outs)
    delete(outs)


def entry(machine: Machine, bridge: Mapping[str, object] | None = None, **changes: object) -> dict[str, Any]:
    """Return the stack file's entry of the machine."""
    return {
        "name": machine.name,
        **login(machine),
        "bridge": {"name": BRIDGE, "port": "eth0", "rollback_timeout": 15, **(bridge or {})},
        **changes,
    }


def seen(*hosts: dict[str, Any], stack: str = "one") -> list[Sight]:
    """Look at the hosts of a stack."""
    return look_at_hosts(Lab.from_mapping({"hosts": list(hosts)}, ROOT, stack=stack), NAMESPACE, stack)


def outlook(machine: Machine, stack: str = "one", **bridge: object) -> Outlook:
    """Return what is seen of the machine's bridge."""
    (sight,) = seen(entry(machine, bridge), stack=stack)
    assert sight.error is None, sight.error
    return sight.outlooks[0]


def everything(machine: Machine) -> set[str]:
    """Return a line for each file with its times, and for each thing of the kernel's network.

    The kernel looks for a duplicate of a new link-local address for about 2 s (tentative, RFC 4862); what is
    compared is what follows.
    """
    settled = (
        "for _ in $(seq 50); do ip -6 address show tentative | grep -q . || exit 0; sleep 0.1; done; exit 1"
    )
    machine.ssh(["sh", "-c", settled])
    found = set(machine.ssh(["sh", "-c", EVERYTHING], check=False).stdout.splitlines())
    assert len(found) > 1000
    return found


def text_of(machine: Machine) -> str:
    return machine.ssh(["cat", INTERFACES]).stdout


def test_a_takeover_is_told_before_the_tools_for_it_are_there(machine: Machine) -> None:
    assert machine.ssh(["sh", "-c", "command -v brctl"], check=False).returncode != 0
    before = everything(machine)
    (sight,) = seen(entry(machine))
    assert everything(machine) ^ before == set()
    assert verdict(sight) == "activate"
    shown = report([sight], colour=False)
    flat = " ".join(shown.split())
    assert f"{BRIDGE} takes over {machine.address}/24 and the default route via" in flat
    assert "from eth0; this connection runs over eth0" in flat
    assert f"--- look:{INTERFACES}\n+++ look:{INTERFACES}\n@@ " in shown
    assert "\n-iface eth0 inet static\n+iface eth0 inet manual\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_refusals_are_told_with_their_remedies(equipped: Machine) -> None:
    equipped.ssh(["ip", "address", "add", "198.18.99.9/32", "dev", "eth0"])
    try:
        (refusal,) = outlook(equipped).refusals
        assert "eth0 has the address 198.18.99.9/32 in the kernel, but no interfaces(5) file" in refusal.seen
        assert refusal.remedy.startswith("write 198.18.99.9/32 into the stanza of eth0")
    finally:
        equipped.ssh(["ip", "address", "delete", "198.18.99.9/32", "dev", "eth0"])
    kept = text_of(equipped)
    equipped.ssh(["sh", "-c", f"echo 'source-directory $(pwd)' >>{INTERFACES}"])
    try:
        (sight,) = seen(entry(equipped))
        assert verdict(sight) == "refused"
        assert f"{INTERFACES}:" in report([sight], colour=False)
    finally:
        equipped.ssh(["sh", "-c", f"cat >{INTERFACES}"], stdin=kept)


def test_a_change_under_way_is_told_and_left_alone(equipped: Machine) -> None:
    with hanging_client(equipped):
        wait_for_phase(equipped, "applied")
        (sight,) = seen(entry(equipped))
        assert isinstance(sight.error, ChangeUnderWay)
        assert "a change by stack kvm-lab/one, begun" in sight.error.seen
        assert "phase applied" in sight.error.seen
        assert equipped.ssh(["test", "-d", f"/sys/class/net/{BRIDGE}"], check=False).returncode == 0
    equipped.ssh(["sh", f"{FOLDER}/transaction/transaction.sh", "abandon"])
    wait_until_undone(equipped, 30)
    assert outlook(equipped).kind == "activate"


def test_hosts_that_cannot_be_read_are_named_with_the_reason_in_time(
    equipped: Machine, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One that is well, one of each kind that is not, and 40 that take a connection and say nothing."""
    other = tmp_path_factory.mktemp("key") / "id"
    make_key(other)
    silent = [socket.create_server(("127.0.0.1", 0)) for _ in range(40)]
    closed = socket.create_server(("127.0.0.1", 0))
    closed_port = closed.getsockname()[1]
    closed.close()
    ports = {"closed": closed_port, **{f"s{n}": s.getsockname()[1] for n, s in enumerate(silent)}}
    here = [entry(equipped, name=name, address="127.0.0.1", port=port) for name, port in ports.items()]
    began = time.monotonic()
    well, refused, *quiet = seen(entry(equipped), *here)
    took = time.monotonic() - began
    for listener in silent:
        listener.close()
    assert took < DEADLINE + 1
    assert verdict(well) == "activate"
    assert isinstance(refused.error, ConnectError)
    assert "Connection refused" in refused.error.seen
    assert len(quiet) == len(silent)
    assert all(isinstance(sight.error, NoAnswer) for sight in quiet)
    (mismatch,) = seen(entry(equipped, host_keys=[OTHER_KEY]))
    assert isinstance(mismatch.error, HostKeyMismatch)
    (stranger,) = seen(entry(equipped, identity_file=str(other)))
    assert isinstance(stranger.error, AuthError)


def test_a_host_that_hangs_while_it_is_read_costs_no_more_than_the_deadline(equipped: Machine) -> None:
    hanging = "/usr/local/bin/ip"
    equipped.ssh(["sh", "-c", f"printf '#!/bin/sh\nexec sleep 600\n' >{hanging}; chmod +x {hanging}"])
    began = time.monotonic()
    try:
        (sight,) = seen(entry(equipped))
        took = time.monotonic() - began
    finally:
        equipped.ssh(["rm", hanging])
    assert took < DEADLINE + 1
    assert isinstance(sight.error, NoAnswer)
    assert "it let us in" in sight.error.seen


def test_what_is_told_is_what_is_done_and_then_nothing_is_to_do(bridged: Bridged) -> None:
    assert bridged.told.sentences == tuple(bridged.outs["sentences"])
    assert {change.path: change.after for change in bridged.told.files} == {INTERFACES: bridged.taken}
    before = everything(bridged.machine)
    (sight,) = seen(entry(bridged.machine))
    assert everything(bridged.machine) ^ before == set()
    assert report([sight], colour=False).startswith("look: nothing to do\n")


def test_drift_by_hand_is_told(bridged: Bridged) -> None:
    machine = bridged.machine
    machine.ssh(["sed", "-i", "s/bridge_fd 0/bridge_fd 4/", INTERFACES])
    machine.ssh(["ip", "link", "set", "dev", BRIDGE, "type", "bridge", "forward_delay", "400"])
    found = outlook(machine)
    assert found.kind == "live"
    assert f"{BRIDGE}: forward delay 4 s becomes 0 s" in found.sentences
    assert "-    bridge_fd 4\n+    bridge_fd 0" in report([Sight("look", (found,))], colour=False)
    machine.ssh(["sed", "-i", "s/bridge_fd 4/bridge_fd 0/", INTERFACES])
    machine.ssh(["ip", "link", "set", "dev", BRIDGE, "type", "bridge", "forward_delay", "0"])
    assert outlook(machine).kind == "none"


def test_bridge_netfilter_is_told_where_the_stack_file_speaks_of_it(bridged: Bridged) -> None:
    machine = bridged.machine
    (sight,) = seen(entry(machine, bridge_netfilter=False))
    told = sight.outlooks[1]
    assert (verdict(sight), sight.outlooks[0].kind) == ("live", "none")
    shown = report([sight], colour=False)
    assert told.sentences == ("bridge netfilter is on and goes off",)
    assert f"--- /dev/null\n+++ look:{SYSCTL_FILE}\n" in shown
    assert "\n+net.bridge.bridge-nf-call-iptables = 0\n" in shown

    provider, stack = BridgeNetfilterProvider(), OURS
    inputs = {**inputs_on(machine, stack), "enabled": False, "rollback_timeout": 15}
    outs = dict(provider.create(provider.check({}, inputs).inputs).outs or {})
    assert {c.path: c.after for c in told.files} == {p: machine.ssh(["cat", p]).stdout for p in outs["files"]}
    (done,) = seen(entry(machine, bridge_netfilter=False))
    assert verdict(done) == "none"
    (otherwise,) = seen(entry(machine, bridge_netfilter=True), stack="two")
    assert f"{OURS} wants it otherwise" in otherwise.outlooks[1].refusals[0].seen
    (gone,) = seen(entry(machine))
    back = gone.outlooks[1]
    assert (verdict(gone), back.sentences[0]) == ("live", "bridge netfilter is given back as it was found")
    assert {change.path: change.after for change in back.files} == dict.fromkeys(outs["files"])
    record = "/var/lib/kvm-lab/netfilter/bridge.json"
    kept = machine.ssh(["cat", record]).stdout
    machine.ssh(["sed", "-i", 's/"bridge-nf-call-iptables": 1/"bridge-nf-call-iptables": "odd"/', record])
    (odd,) = seen(entry(machine))
    machine.ssh(["sh", "-c", f"cat >{record}"], stdin=kept)
    assert odd.error is not None
    assert "what it shows is not understood: ValueError: " in odd.error.seen
    second = {**inputs, "stack": "kvm-lab/two.look"}
    outs_of_second = dict(provider.create(provider.check({}, second).inputs).outs or {})
    (shared,) = seen(entry(machine))
    assert (verdict(shared), shared.outlooks[1].files) == ("none", ())
    assert shared.outlooks[1].sentences == ("bridge netfilter stays: kvm-lab/two.look claims it too",)
    provider.delete("x", outs_of_second)
    provider.delete("x", outs)
    (left,) = seen(entry(machine))
    assert left.outlooks[1] == Outlook()


def test_a_record_of_another_version_is_told_and_the_other_hosts_are_too(bridged: Bridged) -> None:
    machine, record = bridged.machine, f"/var/lib/kvm-lab/bridge/{BRIDGE}.json"
    kept = machine.ssh(["cat", record]).stdout
    machine.ssh(["sed", "-i", 's/"max_wait": 0/"max_wait": "soon"/', record])
    try:
        odd, other = seen(entry(machine), entry(machine, name="other", address="127.0.0.1", port=9))
    finally:
        machine.ssh(["sh", "-c", f"cat >{record}"], stdin=kept)
    assert odd.error is not None
    assert record in odd.error.asked
    assert "max_wait" in odd.error.seen
    assert isinstance(other.error, ConnectError)


def test_what_another_stack_wants_is_told(bridged: Bridged) -> None:
    (refusal,) = outlook(bridged.machine, "two", max_wait=7).refusals
    assert f"max_wait: 0 for stack {OURS}, 7 asked here" in refusal.seen
    assert "another name and port" in refusal.remedy
    same = outlook(bridged.machine, "two")
    assert (same.kind, same.files) == ("none", ())
    assert same.sentences == (f"{BRIDGE} is as asked already, and is adopted as it is",)


def test_a_bridge_of_another_name_or_port_goes_before_the_new_one_comes(bridged: Bridged) -> None:
    machine = bridged.machine
    moved = outlook(machine, port="eth1")
    away = f"{BRIDGE} is taken away first: eth0 has its own addresses again"
    assert (moved.kind, moved.sentences[0]) == ("activate", away)
    assert f"{BRIDGE} is created without an address on eth1" in moved.sentences
    found = outlook(machine, name="brnew")
    assert (found.kind, found.sentences[0]) == ("activate", away)
    assert f"brnew takes over {machine.address}/24" in found.sentences[1]
    assert [change.before for change in found.files] == [bridged.taken]
    delete(bridged.outs)
    assert text_of(machine) == bridged.bare
    outs = create(machine, stack=OURS, name="brnew")
    assert [change.after for change in found.files] == [text_of(machine)]
    delete(outs)


def test_a_port_is_given_back_by_a_bridge_that_was_there_before_it_joins_another(equipped: Machine) -> None:
    bare = text_of(equipped)
    stanza = f"\nauto {BRIDGE}\niface {BRIDGE} inet manual\n    bridge_ports none\n"
    equipped.ssh(["sh", "-c", f"cat >>{INTERFACES} && ifup {BRIDGE}"], stdin=stanza)
    found = text_of(equipped)
    outs = create(equipped, stack=OURS)
    try:
        told = outlook(equipped, name="brnew")
        assert told.refusals == ()
        assert (told.kind, told.sentences[0]) == ("activate", f"{BRIDGE} is given back as it was found")
        assert f"brnew takes over {equipped.address}/24" in told.sentences[1]
    finally:
        delete(outs)
    assert text_of(equipped) == found
    new = create(equipped, stack=OURS, name="brnew")
    assert [change.after for change in told.files] == [text_of(equipped)]
    delete(new)
    equipped.ssh(["sh", "-c", f"ifdown {BRIDGE} && cat >{INTERFACES}"], stdin=bare)
