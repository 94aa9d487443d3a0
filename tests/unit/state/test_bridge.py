"""Plans, refusals and proofs of a bridge, from facts as a host gives them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from providers import network_bridge
from providers.errors import LabError
from providers.network_bridge import NetworkBridgeInputs, NetworkBridgeProvider
from providers.state import interfaces
from providers.state.bridge import Plan, plan, plan_give_back, plan_release
from providers.state.bridge_proof import (
    goal_of,
    goal_of_give_back,
    goal_of_release,
    staged_mistakes,
    unproven,
)
from providers.state.bridge_refusals import (
    NEEDED,
    loss_refusals,
    refusals,
    removal_refusals,
    with_packages,
)
from providers.state.interfaces import MAIN, BridgeSpec, Change
from providers.state.network import HostNetwork, parse_ifquery, parse_network, parse_status, without_port
from providers.state.record import Record
from providers.transport import Endpoint

MAC = "02:00:00:00:00:01"
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHJ5h0eQ5bK4sV0WqS1S2cK9r3oX0k0Qm3h4n5o6p7q8"
BARE = """\
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address 192.0.2.10/24
    gateway 192.0.2.1
"""
TREE = {MAIN: BARE}
SPEC = BridgeSpec(name="br0", port="eth0", hw_address=MAC)
IFQUERY = "address: 192.0.2.10\ngateway: 192.0.2.1\nnetmask: 255.255.255.0\n"


def link(name: str, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - what `ip -j -d link` prints
    return {"ifname": name, "flags": ["UP"], "address": MAC, **more}


def bridge_link(*, stp: int = 0, delay: int = 0) -> dict[str, Any]:
    data = {"forward_delay": delay, "stp_state": stp}
    return link("br0", linkinfo={"info_kind": "bridge", "info_data": data})


def facts(values: Mapping[str, str], files: Mapping[tuple[str, str], str]) -> str:
    def encode(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    lines = [f"{key} {encode(value)} " for key, value in values.items()]
    lines += [f"{key} {encode(text)} {path}" for (key, path), text in files.items()]
    return "\n".join(lines) + "\n"


def host(
    *,
    links: list[dict[str, Any]] | None = None,
    holder: str = "eth0",
    extra: Mapping[str, str] | None = None,
    files: Mapping[tuple[str, str], str] | None = None,
    address: str = "192.0.2.10",
    dynamic: bool = False,
    extra_ports: tuple[str, ...] = (),
) -> HostNetwork:
    """Return a host that has its address on `holder`."""
    lifetime = 600 if dynamic else 2**32 - 1
    info = {"local": address, "prefixlen": 24, "scope": "global", "valid_life_time": lifetime}
    values = {
        "links": json.dumps(links or [link("lo"), link("eth0"), link("eth1")]),
        "addresses": json.dumps([{"ifname": holder, "addr_info": [info]}]),
        "routes4": json.dumps([{"dst": "default", "gateway": "192.0.2.1", "dev": holder}]),
        "routes6": "",
        f"ifquery_{'port' if holder == 'eth0' else 'bridge'}": IFQUERY,
        "configured": f"lo=lo\n{holder}={holder}\n",
        "tools": "\n".join(NEEDED),
        "connection": "192.0.2.1 50000 192.0.2.10 22",
        "answering": "192.0.2.1\n",
        **(extra or {}),
    }
    text = facts(values, {("file", MAIN): BARE, **(files or {})})
    return parse_network(text, "br0", "eth0", extra_ports)


def bridged(
    *,
    stp: int = 0,
    delay: int = 0,
    guests: tuple[str, ...] = (),
    others: tuple[dict[str, Any], ...] = (),
    extra_ports: tuple[str, ...] = (),
    domains: str = "",
) -> HostNetwork:
    """Return a host whose br0 has eth0 and the address."""
    links = [link("eth0", master="br0"), bridge_link(stp=stp, delay=delay), *others]
    links += [link(guest, master="br0", linkinfo={"info_kind": "tun"}) for guest in guests]
    extra = {"configured": "lo=lo\neth0=eth0\nbr0=br0\n", "domains": domains}
    return host(links=links, holder="br0", extra=extra, extra_ports=extra_ports)


def planned(network: HostNetwork, tree: Mapping[str, str], spec: BridgeSpec = SPEC) -> tuple[Plan, Change]:
    change = interfaces.take_over(tree, spec)
    return plan(network, spec, tree, change, interfaces.seen(tree, spec)), change


TAKEN = {MAIN: interfaces.take_over(TREE, SPEC).files[MAIN]}


def test_takeover_takes_the_port_down_and_brings_both_up() -> None:
    made, _ = planned(host(), TREE)
    assert (made.kind, made.down, made.up) == ("activate", ("eth0",), ("eth0", "br0"))
    assert made.hw_address == MAC
    assert "this connection runs over eth0" in made.sentences


def test_nothing_to_do_when_files_and_kernel_are_as_asked() -> None:
    assert planned(bridged(), TAKEN)[0].kind == "none"


def test_stp_goes_off_before_the_forward_delay_and_back_in_the_same_order() -> None:
    made, _ = planned(bridged(stp=1, delay=1500), TAKEN)
    assert made.kind == "live"
    assert made.files == {}
    assert [line.split(" type bridge ")[1] for line in made.live] == ["stp_state 0", "forward_delay 0"]
    assert [line.split(" type bridge ")[1] for line in made.undo] == ["stp_state 1", "forward_delay 1500"]


def test_a_change_of_the_files_alone_runs_no_command() -> None:
    made, _ = planned(bridged(), TAKEN, SPEC.model_copy(update={"max_wait": 5}))
    assert (made.kind, made.live, list(made.files)) == ("live", (), [MAIN])


def test_files_put_back_by_hand_are_mended_without_an_outage() -> None:
    assert planned(bridged(), TREE)[0].kind == "live"


def test_a_lost_address_comes_back_live() -> None:
    network = replace(bridged(), addresses=(), default_routes=())
    made, _ = planned(network, TAKEN)
    assert made.live == (
        "ip address replace 192.0.2.10/24 dev br0",
        "ip -4 route add default via 192.0.2.1 dev br0 onlink",
    )


def test_a_bridge_lost_in_the_kernel_is_made_anew() -> None:
    network = host(extra={"configured": "lo=lo\neth0=eth0\nbr0=br0\n", "ifquery_bridge": IFQUERY})
    made, _ = planned(network, TAKEN)
    assert (made.kind, made.down, made.up) == ("activate", ("br0", "eth0"), ("eth0", "br0"))


def test_vlans_and_aliases_go_down_first_and_come_up_again() -> None:
    tree = {MAIN: BARE + "\nauto eth0.10\niface eth0.10 inet static\n    address 192.0.2.200/30\n"}
    network = host(extra={"configured": "lo=lo\neth0=eth0\neth0.10=eth0.10\n"})
    made, _ = planned(network, tree)
    assert made.down == ("eth0.10", "eth0")
    assert set(made.up) == {"eth0", "br0", "eth0.10"}


def test_give_back_takes_the_bridge_down() -> None:
    change = interfaces.give_back(TAKEN, interfaces.take_over(TREE, SPEC).original)
    made = plan_give_back(bridged(), TAKEN, change)
    assert {MAIN: change.files[MAIN]} == TREE
    assert (made.kind, made.down, made.up) == ("activate", ("br0", "eth0"), ("eth0",))


WITH_ETH1 = SPEC.model_copy(update={"extra_ports": ("eth1",)})
WITHOUT_ETH1 = SPEC.model_copy(update={"former_ports": ("eth1",)})
ETH1_TAKEN = {MAIN: interfaces.take_over(TREE, WITH_ETH1).files[MAIN]}


def port_link(state: str = "forwarding") -> dict[str, Any]:
    return link("eth1", master="br0", linkinfo={"info_slave_data": {"state": state}})


def test_a_further_port_joins_live_once_it_is_known_to_make_no_loop() -> None:
    network = bridged(others=(link("eth1", flags=[]),), extra_ports=("eth1",))
    made, _ = planned(network, TAKEN, WITH_ETH1)
    assert (made.kind, made.files, made.joining, made.uplink) == ("live", ETH1_TAKEN, ("eth1",), "br0")
    assert made.live[0].endswith("ip link set dev eth1 master br0 up")
    assert made.undo[0].startswith("ip link set dev eth1 nomaster down;")
    assert 'cat "$1"/eth1.mode >' in made.undo[0]


def test_a_redundant_cable_is_never_in_the_bridge_while_stp_is_off() -> None:
    on = WITH_ETH1.model_copy(update={"stp": True, "forward_delay": 2})
    joins, _ = planned(bridged(others=(link("eth1"),), extra_ports=("eth1",)), TAKEN, on)
    assert [line for line in (*joins.live, *joins.undo) if " nomaster" in line or "stp_state" in line] == [
        "ip link set dev br0 type bridge stp_state 1",
        joins.undo[0],
        "ip link set dev br0 type bridge stp_state 0",
    ]
    network = bridged(stp=1, delay=200, others=(port_link("blocking"),), extra_ports=("eth1",))
    leaves, _ = planned(network, ETH1_TAKEN, WITHOUT_ETH1)
    assert leaves.live[0].startswith("ip link set dev eth1 nomaster")
    assert leaves.undo[0] == "ip link set dev br0 type bridge stp_state 1"


def test_with_stp_on_the_bridge_itself_ends_a_loop() -> None:
    network = bridged(stp=1, delay=200, others=(link("eth1"),), extra_ports=("eth1",))
    spec = WITH_ETH1.model_copy(update={"stp": True, "forward_delay": 2})
    made, _ = planned(network, TAKEN, spec)
    assert (made.kind, made.joining) == ("live", ())


def test_a_takeover_looks_from_the_port_where_a_further_one_leads() -> None:
    made, _ = planned(host(extra_ports=("eth1",)), TREE, WITH_ETH1)
    assert (made.kind, made.joining, made.uplink) == ("activate", ("eth1",), "eth0")
    assert (made.down, made.live) == (("eth0",), ())
    assert made.undo[0].startswith("ip link set dev eth1 nomaster up;")


def test_a_takeover_into_a_bridge_with_other_ports_looks_where_they_lead() -> None:
    tree = {MAIN: BARE + "\niface br0 inet manual\n    bridge_ports eth1\n"}
    network = host(links=[link("eth0"), bridge_link(), port_link()])
    made, _ = planned(network, tree)
    assert (made.kind, made.joining, made.uplink) == ("activate", ("br0",), "eth0")
    empty = host(links=[link("eth0"), bridge_link()])
    assert planned(empty, tree)[0].joining == ()


@pytest.mark.parametrize(("found_up", "state"), [((), "down"), (("eth1",), "up")])
def test_a_port_that_leaves_is_as_it_was_found(found_up: tuple[str, ...], state: str) -> None:
    network = bridged(others=(port_link(),), extra_ports=("eth1",))
    change = interfaces.take_over(ETH1_TAKEN, WITHOUT_ETH1)
    found = interfaces.seen(ETH1_TAKEN, WITHOUT_ETH1)
    made = plan(network, WITHOUT_ETH1, ETH1_TAKEN, change, found, found_up=found_up)
    assert (made.kind, {**ETH1_TAKEN, **made.files}) == ("live", TAKEN)
    assert made.live[0].startswith(f"ip link set dev eth1 nomaster {state};")
    assert made.undo[0].endswith("ip link set dev eth1 master br0 up")


def test_give_back_frees_further_ports() -> None:
    change = interfaces.give_back(ETH1_TAKEN, interfaces.take_over(TREE, WITH_ETH1).original)
    network = bridged(others=(port_link(),), extra_ports=("eth1",))
    made = plan_give_back(network, ETH1_TAKEN, change)
    assert {**ETH1_TAKEN, **made.files} == TREE
    assert made.live[0].startswith("ip link set dev eth1 nomaster down;")
    assert removal_refusals(network, TREE) == []


def test_ports_that_were_written_by_hand_are_known() -> None:
    tree = {MAIN: TAKEN[MAIN].replace("bridge_ports eth0", "bridge_ports eth0 eth1")}
    assert interfaces.ports_before(interfaces.take_over(tree, SPEC).original) == ("eth0", "eth1")
    assert interfaces.ports_before(interfaces.take_over(TREE, WITH_ETH1).original) == ()


@pytest.mark.parametrize(
    ("others", "seen"),
    [
        ((), "the host has no interface eth1; near it: eth0"),
        ((link("eth1", master="br7"),), "eth1 is already a port of the interface br7"),
        (
            (link("eth1", master="br0", linkinfo={"info_kind": "tun"}),),
            "eth1 is a tap, as guests have: it comes and goes with its guest",
        ),
        (
            (link("eth1", link="eth0", linkinfo={"info_kind": "vlan"}),),
            "eth1 stands on eth0: what eth0 sends would come back",
        ),
    ],
)
def test_unfit_further_ports(others: tuple[dict[str, Any], ...], seen: str) -> None:
    network = bridged(others=others, extra_ports=("eth1",))
    assert [refusal.seen for refusal in refusals(network, WITH_ETH1)] == [seen]


@pytest.mark.parametrize(("stp", "refused"), [(False, True), (True, False)])
def test_one_further_port_for_another_needs_two_runs_without_stp(stp: bool, refused: bool) -> None:
    ports = {"extra_ports": ("eth2",), "former_ports": ("eth1",), "stp": stp, "forward_delay": 2 * stp}
    network = bridged(stp=1, delay=200, others=(port_link(), link("eth2")), extra_ports=("eth1", "eth2"))
    seen = [refusal.seen for refusal in refusals(network, SPEC.model_copy(update=ports))]
    assert [text.partition(":")[0] for text in seen] == [
        "eth2 is to join br0 while eth1 is still in it"
    ] * refused


VLAN = link("eth1.5", link="eth1", linkinfo={"info_kind": "vlan"})
CARRIES = "eth1.5 stands on eth1: it would lose its routes and IPv6 addresses with the bridge"


@pytest.mark.parametrize(
    ("eth1", "spec"), [(link("eth1"), WITH_ETH1), (port_link(), WITHOUT_ETH1)], ids=["joins", "leaves"]
)
def test_a_further_port_that_carries_a_vlan_neither_joins_nor_leaves(
    eth1: dict[str, Any], spec: BridgeSpec
) -> None:
    network = bridged(others=(eth1, VLAN), extra_ports=("eth1",))
    assert [refusal.seen for refusal in refusals(network, spec)] == [CARRIES]


def test_a_bridge_is_not_taken_down_under_a_vlan_of_a_further_port() -> None:
    """Somebody has put the VLAN there since the port joined; what takes nothing down may still be done."""
    network = bridged(others=(port_link(), VLAN), extra_ports=("eth1",))
    change = interfaces.give_back(ETH1_TAKEN, interfaces.take_over(TREE, WITH_ETH1).original)
    back = plan_give_back(network, ETH1_TAKEN, change)
    assert [refusal.seen for refusal in loss_refusals(network, back, ETH1_TAKEN, change)] == [CARRIES]
    slower = WITH_ETH1.model_copy(update={"max_wait": 5})
    live, change = planned(network, ETH1_TAKEN, slower)
    assert live.kind == "live"
    assert [*refusals(network, slower), *loss_refusals(network, live, ETH1_TAKEN, change)] == []


def test_a_bridge_on_a_vlan_of_its_further_port_is_refused() -> None:
    vlan = link("eth0", link="eth1", linkinfo={"info_kind": "vlan"})
    found = refusals(host(links=[vlan, link("eth1")], extra_ports=("eth1",)), WITH_ETH1)
    assert [refusal.seen.partition(":")[0] for refusal in found] == ["eth0 stands on eth1"]


def test_a_further_port_has_no_address_and_no_other_manager() -> None:
    info = {"local": "198.51.100.9", "prefixlen": 24, "scope": "global"}
    extra = {
        "addresses": json.dumps([{"ifname": "eth1", "addr_info": [info]}]),
        "networkmanager": "eth0:unmanaged\neth1:connected\n",
    }
    found = refusals(host(extra=extra, extra_ports=("eth1",)), WITH_ETH1)
    assert [refusal.seen for refusal in found] == [
        "eth1 is managed by NetworkManager (`nmcli device` says connected)",
        "eth1 has the address 198.51.100.9/24 in the kernel: only the bridge's first port may have any",
    ]


def test_an_address_that_a_router_advertises_goes_with_the_card_down() -> None:
    info = {"local": "2001:db8::9", "prefixlen": 64, "scope": "global", "dynamic": True}
    extra = {"addresses": json.dumps([{"ifname": "eth1", "addr_info": [info]}])}
    (refusal,) = refusals(host(extra=extra, extra_ports=("eth1",)), WITH_ETH1)
    assert refusal.remedy.startswith("`ip link set dev eth1 down`")


@pytest.mark.parametrize(
    ("state", "spec", "words"),
    [
        ("blocking", WITH_ETH1, ["STP keeps eth1 shut"]),
        ("blocking", SPEC, ["STP keeps eth1 shut"]),
        ("learning", WITH_ETH1, ["STP has not decided about eth1 yet"]),
        ("forwarding", WITH_ETH1, []),
        ("blocking", WITHOUT_ETH1, []),
    ],
)
def test_stp_stays_on_while_it_keeps_a_port_shut(state: str, spec: BridgeSpec, words: list[str]) -> None:
    network = bridged(stp=1, delay=200, others=(port_link(state),), extra_ports=("eth1",))
    assert [refusal.seen.partition(":")[0] for refusal in refusals(network, spec)] == words


def test_proof_of_further_ports() -> None:
    before = bridged(others=(link("eth1"),), extra_ports=("eth1",))
    after = bridged(others=(port_link(),), extra_ports=("eth1",))
    down = bridged(others=(link("eth1", master="br0", flags=[]),), extra_ports=("eth1",))
    joined, left = (goal_of(before, spec, Change({})) for spec in (WITH_ETH1, WITHOUT_ETH1))
    assert unproven(before, after, joined) == unproven(after, before, left) == []
    assert unproven(before, before, joined) == ["eth1 is not a port of br0"]
    assert unproven(before, down, joined) == ["eth1 is not up"]
    assert unproven(after, after, left) == ["eth1 is still a port of br0"]


def test_guests_in_the_way_are_named_as_libvirt_knows_them() -> None:
    network = bridged(guests=("vnet0", "tap1"), domains="vnet0 web\n")
    (refusal,) = removal_refusals(network, TREE)
    assert "vnet0 (guest web), tap1" in refusal.seen


@pytest.mark.parametrize(
    ("network", "seen"),
    [
        (
            host(extra={"tools": "ifup\nifdown"}),
            "the host has no brctl, systemd-run, flock, unshare, timeout",
        ),
        (host(links=[link("eno1"), link("eno2")]), "the host has no interface eth0; near it: eno1, eno2"),
        (
            host(links=[link("eth0", master="bond0"), link("bond0", linkinfo={"info_kind": "bond"})]),
            "eth0 is already a port of the bond bond0",
        ),
        (
            host(links=[link("eth0"), link("br0", linkinfo={"info_kind": "vlan"})]),
            "br0 exists and is no bridge but vlan",
        ),
        (
            host(extra={"networkmanager": "lo:unmanaged\neth0:connected\n"}),
            "eth0 is managed by NetworkManager (`nmcli device` says connected)",
        ),
        (
            host(extra={"networkd": "  2 eth0 ether routable configured\n"}),
            "eth0 is managed by systemd-networkd (`networkctl` says configured)",
        ),
        (
            host(files={("network", "/etc/systemd/network/a.network"): "[Match]\nName=en* eth*\n"}),
            "eth0 is managed by systemd-networkd (it is enabled, and /etc/systemd/network/a.network matches)",
        ),
        (
            host(
                files={
                    (
                        "netplan",
                        "/etc/netplan/a.yaml",
                    ): f"network:\n  ethernets:\n    x:\n      match: {{macaddress: '{MAC}'}}"
                }
            ),
            "eth0 is managed by netplan (/etc/netplan/a.yaml names it)",
        ),
    ],
)
def test_refusals(network: HostNetwork, seen: str) -> None:
    assert [refusal.seen for refusal in refusals(network, SPEC)] == [seen]


def test_all_reasons_come_at_once() -> None:
    network = host(
        links=[link("eth0", master="br7")], extra={"tools": "", "networkmanager": "eth0:connected"}
    )
    assert len(refusals(network, SPEC)) == 3


def test_what_does_not_manage_the_port_is_no_reason() -> None:
    files = {
        ("network", "/etc/systemd/network/a.network"): "[Match]\nName=wl*\n",
        ("netplan", "/etc/netplan/a.yaml"): "network: {ethernets: {eth1: {dhcp4: true}}} # not eth0",
    }
    network = host(
        extra={"networkmanager": "eth0:unmanaged", "networkd": "2 eth0 ether routable unmanaged"}, files=files
    )
    assert refusals(network, SPEC) == []


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (host(address="192.0.2.99"), "192.0.2.99/24 in the kernel, but no interfaces(5) file has it"),
        (host(dynamic=True), "this connection runs over it"),
        (
            host(links=[link("eth0"), link("eth0.5", link="eth0", linkinfo={"info_kind": "vlan"})]),
            "eth0.5 stands on eth0 in the kernel, and no interfaces(5) file has it",
        ),
    ],
)
def test_takeover_refuses_to_lose_what_only_the_kernel_has(network: HostNetwork, words: str) -> None:
    made, change = planned(network, TREE)
    (refusal,) = loss_refusals(network, made, TREE, change)
    assert words in refusal.seen


def test_proof_of_a_takeover() -> None:
    before = host()
    goal = goal_of(before, SPEC, planned(before, TREE)[1])
    assert unproven(before, bridged(), goal) == []


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        (host(), "there is no bridge br0"),
        (replace(bridged(), addresses=()), "br0 does not have the address 192.0.2.10"),
        (replace(bridged(), default_routes=()), "there is no default route (inet) over br0"),
        (
            replace(bridged(), answering=frozenset()),
            "the gateway 192.0.2.1 does not answer; one answered before the change",
        ),
        (bridged(stp=1, delay=200), "br0 has STP on, not off"),
        (bridged(delay=1500), "br0 has forward delay 15 s, not 0 s"),
    ],
)
def test_proof_names_what_is_missing(after: HostNetwork, problem: str) -> None:
    before = host()
    assert problem in unproven(before, after, goal_of(before, SPEC, planned(before, TREE)[1]))


def test_proof_asks_for_libvirt_only_if_it_answered_before() -> None:
    before = host()
    goal = goal_of(before, SPEC, planned(before, TREE)[1])
    assert unproven(replace(before, libvirt_answers=True), bridged(), goal) == [
        "libvirt answered before the change and does not now"
    ]


def test_proof_misses_a_guest_that_is_not_on_the_bridge_again() -> None:
    before = bridged(guests=("vnet0",))
    stranded = replace(before, links={**before.links, "vnet0": replace(before.links["vnet0"], master=None)})
    assert unproven(before, stranded, goal_of(before, SPEC, Change({}))) == ["vnet0 is no longer on br0"]


def test_proof_of_a_give_back() -> None:
    goal = goal_of_give_back(bridged(), TREE)
    assert unproven(bridged(), host(), goal) == []
    assert "br0 still exists" in unproven(bridged(), bridged(), goal)


def test_proof_of_a_give_back_to_a_card_without_stanza_leaves_it_down() -> None:
    idle = replace(host(), addresses=(), default_routes=())
    idle = replace(idle, links={**idle.links, "eth0": replace(idle.links["eth0"], up=False)})
    before = replace(bridged(), addresses=(), default_routes=())
    assert unproven(before, idle, goal_of_give_back(before, {})) == []
    assert unproven(before, idle, goal_of_give_back(before, TREE)) == ["eth0 is not up"]


STAGED = """\
old interface: lo
old interface: eth0
old address: 192.0.2.10
old netmask: 255.255.255.0
old interface: br0
new interface: lo
new interface: eth0
new interface: br0
new address: 192.0.2.10
new bridge_ports: eth0
new bridge-stp: off
new bridge_fd: 0
new bridge_maxwait: 0
new netmask: 255.255.255.0
"""


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("new bridge_fd: 0", "new bridge_fd: 15", "bridge_fd would be '15', not '0'"),
        ("new bridge_ports: eth0", "new bridge_ports: eth1", "bridge_ports would be 'eth1', not 'eth0'"),
        ("new address: 192.0.2.10", "new address: 192.0.2.11", "ifquery finds no address 192.0.2.10 for br0"),
        ("new interface: lo", "new interface: lo\nnew mtu: 9000", "lo would change, which has nothing to do"),
    ],
)
def test_staged_files_are_compared_with_what_is_wanted(old: str, new: str, mistake: str) -> None:
    before = host()
    goal = goal_of(before, SPEC, planned(before, TREE)[1])
    assert staged_mistakes(STAGED, before, goal) == []
    assert mistake in "\n".join(staged_mistakes(STAGED.replace(old, new), before, goal))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("bridge-stp: off", "bridge_stp: OFF"),
        ("bridge-stp: off", "bridge_stp: 0"),
        ("new bridge-stp: off\n", ""),
        ("bridge_fd: 0", "bridge_fd: 0.00"),
    ],
)
def test_staged_values_are_compared_by_what_they_mean(old: str, new: str) -> None:
    before = host()
    goal = goal_of(before, SPEC, planned(before, TREE)[1])
    assert old in STAGED
    assert staged_mistakes(STAGED.replace(old, new), before, goal) == []


HAND_WRITTEN = """\
auto eth0
iface eth0 inet manual

auto br0
iface br0 inet static
    address 192.0.2.10/24
    gateway 192.0.2.1
    bridge_ports eth0
"""
EMPTY_BRIDGE = BARE + "\nauto br0\niface br0 inet manual\n    bridge_ports none\n"


def released(text: str, network: HostNetwork) -> tuple[Plan, Mapping[str, str], BridgeSpec]:
    """Return the plan that gives an adopted bridge back, the files then, and the bridge in them."""
    spec = BridgeSpec(name="br0", port="eth0")
    taken = interfaces.take_over({MAIN: text}, spec)
    tree = {MAIN: taken.files[MAIN]}
    change = interfaces.give_back(tree, taken.original)
    after = {**tree, **change.files}
    left = interfaces.seen(after, spec)
    assert left is not None
    return (
        plan_release(network, left, tree, change, interfaces.seen(tree, left)),
        after,
        left,
    )


def test_an_adopted_bridge_gets_back_the_defaults_of_options_it_did_not_have() -> None:
    network = replace(bridged(), in_files={"br0": parse_ifquery(IFQUERY), "eth0": parse_ifquery("")})
    made, after, left = released(HAND_WRITTEN, network)
    assert after[MAIN] == HAND_WRITTEN
    assert made.kind == "live"
    assert "ip link set dev br0 type bridge forward_delay 1500" in made.live
    staged = STAGED.replace("new bridge-stp: off\nnew bridge_fd: 0\nnew bridge_maxwait: 0\n", "")
    assert staged != STAGED
    assert staged_mistakes(staged, network, goal_of(network, left, Change({}))) == []


def test_an_adopted_bridge_without_ports_loses_ours_and_the_addresses() -> None:
    network = bridged(guests=("vnet0",))
    spec = BridgeSpec(name="br0", port="eth0")
    taken = interfaces.take_over({MAIN: EMPTY_BRIDGE}, spec)
    tree = {MAIN: taken.files[MAIN]}
    made, after, left = released(EMPTY_BRIDGE, network)
    assert after[MAIN] == EMPTY_BRIDGE
    assert (made.kind, made.down, made.leaving) == ("activate", ("br0", "eth0"), "eth0")
    assert set(made.up) == {"eth0", "br0"}
    goal = goal_of_release(network, left, tree, interfaces.give_back(tree, taken.original))
    assert goal.addresses["eth0"] == {"192.0.2.10"}
    assert goal.device == "eth0"
    assert "eth0 is still a port of br0" in unproven(network, network, goal)
    guest = link("vnet0", master="br0", linkinfo={"info_kind": "tun"})
    undone = host(links=[link("eth0"), bridge_link(delay=1500), guest])
    assert unproven(network, undone, goal) == []


VLAN_IN_BR1 = [
    link("eth0"),
    link("eth0.20", link="eth0", master="br1", linkinfo={"info_kind": "vlan"}),
    link("br1", linkinfo={"info_kind": "bridge", "info_data": {"forward_delay": 0, "stp_state": 0}}),
]


def test_a_vlan_in_another_bridge_stays_there() -> None:
    tree = {MAIN: BARE + "\nauto eth0.20\niface eth0.20 inet manual\n"}
    network = host(links=VLAN_IN_BR1, extra={"configured": "lo=lo\neth0=eth0\neth0.20=eth0.20\n"})
    made, change = planned(network, tree)
    assert made.down == ("eth0",)
    assert "eth0.20" not in made.up
    assert loss_refusals(network, made, tree, change) == []
    assert loss_refusals(network, made, TREE, change) == []


def test_proof_misses_a_vlan_that_left_its_bridge() -> None:
    before = host(links=VLAN_IN_BR1)
    outside = link("eth0.20", link="eth0", linkinfo={"info_kind": "vlan"})
    links = [link("eth0", master="br0"), bridge_link(), VLAN_IN_BR1[2]]
    goal = goal_of(before, SPEC, planned(before, TREE)[1])
    assert unproven(before, host(links=[*links, outside], holder="br0"), goal) == [
        "eth0.20 is no longer on br1"
    ]
    assert unproven(before, host(links=links, holder="br0"), goal) == ["eth0.20 is gone"]


def test_the_default_route_of_another_card_is_refused_not_replaced() -> None:
    (route,) = bridged().default_routes
    other = replace(route, device="eth1", gateway="198.51.100.1")
    in_files = {"br0": parse_ifquery(IFQUERY), "eth0": parse_ifquery("")}
    network = replace(bridged(), in_files=in_files, default_routes=(other,))
    made, change = planned(network, TAKEN)
    (refusal,) = loss_refusals(network, made, TAKEN, change)
    assert "a default route via 198.51.100.1 over eth1 with the same metric" in refusal.seen
    behind = replace(network, default_routes=(replace(other, metric=100),))
    made, change = planned(behind, TAKEN)
    assert loss_refusals(behind, made, TAKEN, change) == []
    assert made.undo == ("ip -4 route delete default via 192.0.2.1 dev br0",)


def test_proof_misses_the_default_route_of_another_card() -> None:
    (route,) = bridged().default_routes
    before = host()
    other = replace(route, device="eth1", gateway="198.51.100.1")
    both = replace(before, default_routes=(*before.default_routes, other))
    assert unproven(both, bridged(), goal_of(before, SPEC, planned(before, TREE)[1])) == [
        "the default route via 198.51.100.1 over eth1 is lost"
    ]


def test_a_bridge_that_others_need_is_not_removed() -> None:
    text = (
        TAKEN[MAIN]
        + "\niface tun0 inet manual\n    # br0 is near\n    up ip route add 198.51.100.0/24 dev br0\n"
    )
    after = interfaces.give_back({MAIN: text}, interfaces.take_over(TREE, SPEC).original).files
    vlan = link("br0.5", link="br0", linkinfo={"info_kind": "vlan"})
    network = host(links=[link("eth0", master="br0"), bridge_link(), vlan], holder="br0")
    seen = [refusal.seen for refusal in removal_refusals(network, after)]
    assert seen[0] == "br0.5 stands on br0: it would be gone with it"
    assert len(seen) == 2
    assert seen[1].endswith("'up ip route add 198.51.100.0/24 dev br0' needs br0")


def test_addresses_of_the_bridge_that_no_file_has_are_not_lost() -> None:
    change = interfaces.give_back(TAKEN, interfaces.take_over(TREE, SPEC).original)
    (address,) = bridged().addresses
    network = replace(bridged(), addresses=(address, replace(address, text="192.0.2.77/24")))
    (refusal,) = loss_refusals(network, plan_give_back(network, TAKEN, change), TAKEN, change)
    assert "br0 has the address 192.0.2.77/24 in the kernel" in refusal.seen


def test_ifquery_of_several_stanzas() -> None:
    found = parse_ifquery(f"{IFQUERY}address: 2001:DB8::a\nnetmask: 64\ngateway: fe80::1\n")
    assert found.addresses == ("192.0.2.10/24", "2001:db8::a/64")
    assert found.gateways == ("192.0.2.1", "fe80::1")


def test_facts_that_were_cut_are_no_facts() -> None:
    with pytest.raises(LabError, match="no links"):
        parse_network("tools  \n", "br0", "eth0")


def test_a_status_that_was_cut_is_none() -> None:
    with pytest.raises(LabError, match="where the change"):
        parse_status("id=1\nleft=\n")


def test_status() -> None:
    status = parse_status(
        "id=1\nstack=a/b\nverdict=pending\nphase=up\nleft=-3\nsince=x\nreason=\nlog=one\nlog=two\n"
    )
    assert (status.stack, status.verdict, status.left, status.log) == ("a/b", "pending", -3, ("one", "two"))


@pytest.mark.parametrize(
    ("seen", "wanted", "replaces"),
    [
        ("files: eth0, kernel: none", "eth0", []),
        ("files: eth0, kernel: none", "eth1", ["port"]),
        ("eth0", "eth1", ["port"]),
    ],
)
def test_the_port_is_compared_with_the_one_claimed(seen: str, wanted: str, replaces: list[str]) -> None:
    inputs = {"stack": "kvm-lab/one", "name": "br0", "endpoint": {"host": "h"}}
    olds = {**inputs, "port": seen, "claimed_port": "eth0"}
    result = NetworkBridgeProvider().diff("x", olds, {**inputs, "port": wanted})
    assert result.changes
    assert result.replaces == replaces


def test_a_claim_is_understood_whatever_timeout_is_asked_for_now() -> None:
    endpoint = Endpoint(host="h", address="192.0.2.1", host_keys=(HOST_KEY,))
    inputs = NetworkBridgeInputs(endpoint=endpoint, stack="a/b", name="br0", port="eth0", rollback_timeout=15)
    asked = inputs.model_copy(update={"stp": True, "forward_delay": 15}).options
    record = Record(kind="bridge", key="br0", adopted=False, claims={"a/b": asked})
    claimed = network_bridge._claimed(inputs, record)
    assert (claimed.stp, claimed.forward_delay, claimed.rollback_timeout) == (True, 15, 15)


@pytest.mark.parametrize(("stp", "delay", "kernel"), [(0, 0, (False, 0.0)), (1, 1500, (True, 15.0))])
def test_the_outputs_have_what_the_kernel_has(stp: int, delay: int, kernel: tuple[bool, float]) -> None:
    endpoint = Endpoint(host="h", address="192.0.2.1", host_keys=(HOST_KEY,))
    inputs = NetworkBridgeInputs(endpoint=endpoint, stack="a/b", name="br0", port="eth0")
    record = Record(kind="bridge", key="br0", adopted=False)
    network = bridged(stp=stp, delay=delay)
    outputs = network_bridge._outputs(inputs, network, record)
    assert outputs["kernel"] == {"stp": kernel[0], "forward_delay": kernel[1]}
    assert network_bridge._outputs(inputs, host(), record)["kernel"] == {}


def test_commands_of_packages_that_are_coming_are_not_missed() -> None:
    without = replace(host(), tools=frozenset(NEEDED) - {"brctl", "flock"})
    (missed,) = refusals(with_packages(without, ["bridge-utils", "curl"]), SPEC)
    assert missed.seen == "the host has no flock"


@pytest.mark.parametrize(
    ("verdict", "phase", "left", "waited_for"),
    [
        ("pending", "applied", 30, True),
        ("pending", "applied", -1000, True),
        ("pending", "staged", 5, True),
        ("pending", "staged", -6, False),
        ("rolling-back", "up", 0, True),
        ("rolled-back", "up", -3, False),
        ("confirmed", "applied", 30, False),
    ],
)
def test_who_must_wait_for_an_earlier_change(verdict: str, phase: str, left: int, waited_for: bool) -> None:
    pending = parse_status(f"id=one\nverdict={verdict}\nphase={phase}\nleft={left}\n")
    assert pending.is_in_the_way is waited_for


@pytest.mark.parametrize("dynamic", [False, True])
def test_a_port_that_leaves_a_bridge_that_stays_takes_along_what_came_from_it(*, dynamic: bool) -> None:
    links = [link("lo"), link("eth0", master="br0"), link("eth1", master="br0"), bridge_link()]
    before = host(links=links, holder="br0", dynamic=dynamic)
    moved = () if dynamic else ("192.0.2.10/24", "192.0.2.1")
    after = without_port(before, "br0", "eth0", moved, leases=dynamic)
    assert after.members("br0") == ("eth1",)
    assert [(a.device, a.text) for a in after.addresses] == [("eth0", "192.0.2.10/24")]
    assert after.on("br0") == ()
    if not dynamic:
        assert [route.device for route in after.default_routes] == ["eth0"]
        assert (after.in_files["br0"].addresses, after.in_files["br0"].gateways) == ((), ())
    kept = without_port(before, "br0", "eth0", (), leases=False)
    assert (kept.addresses, kept.default_routes) == (before.addresses, before.default_routes)
