"""Why a bridge must not even be tried on a host; pure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from providers.state.bridge import Plan, foreign_members, interface_names, is_elsewhere
from providers.state.interfaces import BridgeSpec, Change, Tree
from providers.state.interfaces.lines import logical_lines
from providers.state.network import Address, HostNetwork, bare_address

_TAP = "tun"  # the kind of taps, too, in the kernel's words
NEEDED = {
    "ifup": "ifupdown",
    "ifdown": "ifupdown",
    "brctl": "bridge-utils",
    "systemd-run": "systemd",
    "flock": "util-linux",
    "unshare": "util-linux",
    "timeout": "coreutils",
}
"""Command that the transaction runs on the host -> the Debian package that brings it."""


@dataclass(frozen=True)
class Refusal:
    """Why the change is not tried, and what the reader can do."""

    seen: str
    remedy: str


def refusals(network: HostNetwork, spec: BridgeSpec) -> list[Refusal]:
    """Return every reason against a bridge `spec.name` on `spec.port`, whatever the files say."""
    found = _missing_tools(network)
    for name in spec.ports:
        found += [*_manager_refusals(network, name), *_port_refusals(network, name, spec.name)]
    for name in spec.extra_ports:
        found += _extra_port_refusals(network, name)
    found += carrier_refusals(network, (*_still_out(network, spec), *spec.former_ports))
    found += [*_exchange_refusals(network, spec), *loop_refusals(network, spec)]
    bridge = network.links.get(spec.name)
    if bridge is not None and bridge.kind != "bridge":
        kind = bridge.kind or "a network card"
        found.append(
            Refusal(
                f"{spec.name} exists and is no bridge but {kind}", "give the bridge a name that nothing has"
            )
        )
    return found


def with_packages(network: HostNetwork, packages: Iterable[str]) -> HostNetwork:
    """Return the network as it will be with these Debian packages: the commands that they bring are there."""
    coming = set(packages)
    brought = {tool for tool, package in NEEDED.items() if package in coming}
    return replace(network, tools=network.tools | brought)


def _port_refusals(network: HostNetwork, name: str, bridge: str) -> list[Refusal]:
    port = network.links.get(name)
    if port is None:
        return [_no_such_port(network, name)]
    found = []
    if port.master is not None and port.master != bridge:
        found.append(_in_another(network, name, port.master))
    if port.kind == "bridge" or name == "lo":
        found.append(Refusal(f"{name} cannot be the port of a bridge", "name the interface of the cable"))
    if port.kind == _TAP:
        found.append(
            Refusal(
                f"{name} is a tap, as guests have: it comes and goes with its guest",
                "name the interface of a cable; libvirt puts guests into the bridge by itself",
            )
        )
    return found


def _extra_port_refusals(network: HostNetwork, name: str) -> list[Refusal]:
    found = [
        Refusal(
            f"{name} has the address {address.text} in the kernel: only the bridge's first port may have any",
            _address_remedy(name, address),
        )
        for address in network.on(name)
    ]
    link = network.links.get(name)
    below = link.below if link is not None and link.kind != "veth" else None
    if below in {network.port, network.bridge, *network.extra_ports}:
        found.append(
            Refusal(
                f"{name} stands on {below}: what {below} sends would come back",
                "name an interface of its own",
            )
        )
    return found


def _address_remedy(name: str, address: Address) -> str:
    if ":" in address.text and not address.lasting:
        return (
            f"`ip link set dev {name} down` on the host: a router advertises it again as long as {name} is up"
        )
    return f"remove the address, and what sets it; or name {name} as `port`"


def _still_out(network: HostNetwork, spec: BridgeSpec) -> list[str]:
    members = network.members(spec.name)
    return [name for name in spec.extra_ports if name not in members]


def _exchange_refusals(network: HostNetwork, spec: BridgeSpec) -> list[Refusal]:
    """Return the reason against exchanging ports at once: the look for loops comes before any leaves."""
    members = network.members(spec.name)
    leaving = ", ".join(name for name in spec.former_ports if name in members)
    joining = ", ".join(_still_out(network, spec))
    if spec.stp or not leaving or not joining:
        return []
    return [
        Refusal(
            f"{joining} is to join {spec.name} while {leaving} is still in it: both at the same switch would "
            "look like a loop",
            f"leave {joining} out of `extra_ports` and run, then name {joining} and run again",
        )
    ]


def carrier_refusals(network: HostNetwork, names: Iterable[str]) -> list[Refusal]:
    """Return every reason against taking further ports down: what stands on them would lose its routes.

    A port goes down when it leaves the bridge, and with every ifdown of the bridge (bridge-utils does it).
    """
    return [
        Refusal(
            f"{above} stands on {name}: it would lose its routes and IPv6 addresses with the bridge",
            f"remove {above}, then run again",
        )
        for name in dict.fromkeys(names)
        for above in network.above(name)
    ]


def loop_refusals(network: HostNetwork, spec: BridgeSpec) -> list[Refusal]:
    """Return every reason against switching STP off: a port that it keeps shut would close a loop."""
    bridge = network.links.get(spec.name)
    if bridge is None or not bridge.stp or spec.stp:
        return []
    states = {name: network.links[name].port_state for name in network.members(spec.name)}
    shut = [name for name, state in states.items() if state == "blocking" and name not in spec.former_ports]
    undecided = [name for name in spec.ports if states.get(name) in {"listening", "learning"}]
    loop = "without STP it could close a loop, which takes the whole network down"
    return [
        *(
            Refusal(f"STP keeps {name} shut: {loop}", f"take {name} out of {spec.name}, or leave STP on")
            for name in shut
        ),
        *(
            Refusal(f"STP has not decided about {name} yet: {loop}", "wait half a minute and run again")
            for name in undecided
        ),
    ]


def loss_refusals(network: HostNetwork, plan: Plan, tree: Tree, change: Change) -> list[Refusal]:
    """Return every reason against making `plan`: what the kernel has and no file has would be lost."""
    if plan.kind != "activate":
        return _route_refusals(network)
    members = network.members(network.bridge)
    found = carrier_refusals(network, (name for name in network.extra_ports if name in members))
    written = _addresses_written(tree)
    devices = dict.fromkeys((network.port, *(name for name in plan.down if name == network.bridge)))
    leases = any(family.split()[1:] in (["dhcp"], ["auto"]) for family in change.moved.families)
    for address in (address for device in devices for address in network.on(device)):
        kept = address.bare in written if address.lasting else leases or address.bare != network.own_address
        if not kept:
            found.append(_unwritten(network, address))
    names = interface_names(tree)
    found += [
        Refusal(
            f"{above} stands on {device} in the kernel, and no interfaces(5) file has it",
            f"write a stanza for {above}, or remove it: it would stay without its routes",
        )
        for device in devices
        for above in network.above(device)
        if above not in names and not is_elsewhere(network, above)
    ]
    return found


def removal_refusals(network: HostNetwork, after: Tree) -> list[Refusal]:
    """Return every reason against removing the bridge: who else needs it.

    Args:
        network: the host now.
        after: the interfaces(5) files as they would be without the bridge.
    """
    bridge = network.bridge
    found = []
    guests = [_with_guest(network, name) for name in foreign_members(network)]
    if guests:
        found.append(
            Refusal(
                f"on the bridge {bridge} there is still {', '.join(guests)}: it would lose the network",
                "shut these guests down, or move them to another bridge, then run again",
            )
        )
    found += [
        Refusal(f"{above} stands on {bridge}: it would be gone with it", f"remove {above}, then run again")
        for above in network.above(bridge)
    ]
    name = re.compile(rf"(?<![\w.-]){re.escape(bridge)}(?![\w-])")
    found += [
        Refusal(
            f"{path}:{line.number}: {line.text!r} needs {bridge}",
            f"take what names {bridge} out of the interfaces(5) files, then run again",
        )
        for path, text in after.items()
        for line in logical_lines(path, text)
        if not line.is_comment and name.search(line.text)
    ]
    return found


def _with_guest(network: HostNetwork, name: str) -> str:
    return f"{name} (guest {network.domains[name]})" if name in network.domains else name


def _route_refusals(network: HostNetwork) -> list[Refusal]:
    """A default route of the same family and metric is in the way of one that is to be set again."""
    in_files = network.in_files[network.bridge]
    return [
        Refusal(
            f"the files give {network.bridge} the gateway {gateway}, but the kernel has a default route via "
            f"{route.gateway} over {route.device} with the same metric",
            "remove one of the two, or give the bridge's stanza a `metric`",
        )
        for gateway in network.lost_gateways
        for route in network.default_routes
        if (":" in gateway) == (route.family == "inet6")
        and route.metric == in_files.metrics.get(gateway, 1024 if ":" in gateway else 0)
    ]


def _missing_tools(network: HostNetwork) -> list[Refusal]:
    missing = [tool for tool in NEEDED if tool not in network.tools]
    if not missing:
        return []
    packages = ", ".join(dict.fromkeys(NEEDED[tool] for tool in missing))
    return [Refusal(f"the host has no {', '.join(missing)}", f"install {packages} on the host")]


def _manager_refusals(network: HostNetwork, port: str) -> list[Refusal]:
    return [
        Refusal(
            f"{port} is managed by {manager} ({why})",
            f"let ifupdown manage {port}: take it away from {manager} and write its stanza in "
            "/etc/network/interfaces; or name another port",
        )
        for manager, why in network.managers.get(port, {}).items()
    ]


def _no_such_port(network: HostNetwork, port: str) -> Refusal:
    others = [n for n, link in network.links.items() if n != "lo" and link.kind not in {"bridge", _TAP}]
    near = difflib.get_close_matches(port, others, cutoff=0.4) or others
    return Refusal(
        f"the host has no interface {port}; near it: {', '.join(near) or 'none'}",
        "name one of the host's interfaces",
    )


def _in_another(network: HostNetwork, port: str, master: str) -> Refusal:
    kind = network.links[master].kind if master in network.links else "interface"
    return Refusal(
        f"{port} is already a port of the {kind} {master}",
        f"name {master} as the bridge if that is meant, or take {port} out of it; "
        "of a bond, name the bond itself as port",
    )


def _unwritten(network: HostNetwork, address: Address) -> Refusal:
    ours = ", and this connection runs over it" if address.bare == network.own_address else ""
    return Refusal(
        f"{address.device} has the address {address.text} in the kernel, but no interfaces(5) file "
        f"has it{ours}: the bridge would not get it",
        f"write {address.text} into the stanza of {address.device}, or remove it from the kernel",
    )


def _addresses_written(tree: Tree) -> set[str]:
    """Return every word of the files that is an address; options and `up ip addr add` lines alike."""
    return {bare_address(word) for text in tree.values() for word in text.split()}
