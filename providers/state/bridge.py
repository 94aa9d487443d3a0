"""What has to happen to a host's network so that it has one bridge as asked, or no longer; pure.

`plan` and `plan_give_back` compare files and kernel with what is asked; `refusals` says why it must not be
tried; `unproven` says what of it is not seen afterwards.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from providers.state.interfaces import BridgeSpec, Change, Tree
from providers.state.interfaces.lines import logical_lines
from providers.state.network import Address, DefaultRoute, HostNetwork, bare_address

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
_SAFE_NAME = re.compile(r"[A-Za-z0-9_.:@-]+")
_HUNDREDTHS = 100

Kind = Literal["none", "live", "activate"]


@dataclass(frozen=True)
class Refusal:
    """Why the change is not tried, and what the reader can do."""

    seen: str
    remedy: str


@dataclass(frozen=True)
class Plan:
    """A change of files and kernel.

    Kinds: "none" (all is as asked), "live" (files, and kernel commands that take nothing down),
    "activate" (ifdown with the old files, ifup with the new).
    """

    kind: Kind
    files: Mapping[str, str]
    """Path -> whole new text, of the files that change."""
    live: tuple[str, ...] = ()
    """Shell lines of a live change, in this order."""
    undo: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    """Interfaces for ifdown, in this order; and again for ifup when the change is undone, backwards."""
    up: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Every interface of the old and the new files."""
    hw_address: str = ""
    """To make the bridge with before the port goes down; empty: ifup makes it."""
    sentences: tuple[str, ...] = ()


@dataclass(frozen=True)
class Goal:
    """What must be seen in the kernel once the change is done."""

    device: str
    """Who holds the addresses: the bridge, or the port after a give-back."""
    addresses: frozenset[str]
    """Without prefix, on `device`."""
    spec: BridgeSpec | None
    """The bridge; None: there is none any more."""


def refusals(network: HostNetwork, spec: BridgeSpec) -> list[Refusal]:
    """Return every reason against a bridge `spec.name` on `spec.port`, whatever the files say."""
    found = [*_missing_tools(network), *_manager_refusals(network, spec.port)]
    port = network.links.get(spec.port)
    if port is None:
        found.append(_no_such_port(network, spec.port))
    else:
        if port.master is not None and port.master != spec.name:
            found.append(_in_another(network, spec.port, port.master))
        if port.kind == "bridge" or spec.port == "lo":
            found.append(
                Refusal(f"{spec.port} cannot be the port of a bridge", "name the interface of the cable")
            )
    bridge = network.links.get(spec.name)
    if bridge is not None and bridge.kind != "bridge":
        kind = bridge.kind or "a network card"
        found.append(
            Refusal(
                f"{spec.name} exists and is no bridge but {kind}", "give the bridge a name that nothing has"
            )
        )
    return found


def takeover_refusals(network: HostNetwork, plan: Plan, tree: Tree, change: Change) -> list[Refusal]:
    """Return every reason against activating `plan`: what the kernel has and no file has would be lost."""
    if plan.kind != "activate":
        return []
    found = []
    port = network.port
    written = _addresses_written(tree)
    leases = any(family.split()[1:] in (["dhcp"], ["auto"]) for family in change.moved.families)
    for address in network.on(port):
        kept = address.bare in written if address.lasting else leases or address.bare != network.own_address
        if not kept:
            found.append(_unwritten(network, address))
    names = interface_names(tree)
    found += [
        Refusal(
            f"{above} stands on {port} in the kernel, and no interfaces(5) file has it",
            f"write a stanza for {above}, or remove it: it would stay without its routes",
        )
        for above in network.above(port)
        if above not in names
    ]
    return found


def plan(
    network: HostNetwork, spec: BridgeSpec, tree: Tree, change: Change, found: BridgeSpec | None
) -> Plan:
    """Return what makes files and kernel have the bridge.

    Args:
        network: the host now.
        spec: the bridge asked for.
        tree: the interfaces(5) files.
        change: the change of the files.
        found: what the files say about the bridge now; None: nothing.
    """
    after = {**tree, **change.files}
    addresses = bridge_addresses(network, change)
    names = _names(tree, after)
    if _must_activate(network, addresses):
        down = _to_take_down(network, tree)
        return Plan(
            "activate",
            change.files,
            down=down,
            up=_to_bring_up(network, after, down),
            names=names,
            hw_address=spec.hw_address or "",
            sentences=(*change.sentences, *_activation_sentences(network, down)),
        )
    commands = _live_commands(network, spec, addresses, found)
    if not change.files and not commands:
        return Plan("none", {})
    return Plan(
        "live",
        change.files,
        live=tuple(command.do for command in commands),
        undo=tuple(command.undo for command in _undo_order(commands)),
        names=names,
        sentences=(*change.sentences, *(command.sentence for command in commands)),
    )


def plan_give_back(network: HostNetwork, tree: Tree, change: Change) -> Plan:
    """Return what takes the bridge away and gives its port the addresses back."""
    after = {**tree, **change.files}
    names = _names(tree, after)
    if network.bridge not in network.links:
        kind: Kind = "live" if change.files else "none"
        return Plan(kind, change.files, names=names, sentences=change.sentences)
    down = tuple(n for n in _related(network, tree) if n in network.configured or n == network.bridge)
    return Plan(
        "activate",
        change.files,
        down=_highest_first(down, last=network.port),
        up=_to_bring_up(network, after, down),
        names=names,
        sentences=change.sentences,
    )


def goal_of(network: HostNetwork, spec: BridgeSpec, change: Change) -> Goal:
    """Return what must be seen once the bridge is there."""
    addresses = {bare_address(text) for text in bridge_addresses(network, change)}
    return Goal(spec.name, frozenset(addresses | _lasting(network)), spec)


def goal_of_give_back(network: HostNetwork) -> Goal:
    """Return what must be seen once the bridge is gone."""
    return Goal(network.port, frozenset(_lasting(network)), None)


def unproven(before: HostNetwork, after: HostNetwork, goal: Goal) -> list[str]:
    """Return what is not as it must be after the change; empty: it may be confirmed."""
    problems = _bridge_problems(after, goal)
    held = {address.bare for address in after.on(goal.device)}
    problems += [f"{goal.device} does not have the address {text}" for text in sorted(goal.addresses - held)]
    problems += _lost_elsewhere(before, after)
    problems += _route_problems(before, after, goal.device)
    if before.libvirt_answers and not after.libvirt_answers:
        problems.append("libvirt answered before the change and does not now")
    return problems


def staged_mistakes(staged: str, network: HostNetwork, goal: Goal) -> list[str]:
    """Compare what ifquery(8) says about every interface with the old and with the new files.

    Args:
        staged: output of `network-transaction.sh check`.
        network: the host before the change.
        goal: what the new files shall lead to.
    """
    old, new = _ifquery_blocks(staged, "old"), _ifquery_blocks(staged, "new")
    mistakes = [
        f"{name} would change, which has nothing to do with it: {_difference(old.get(name), new.get(name))}"
        for name in sorted({*old, *new})
        if not _is_related(network, name) and old.get(name) != new.get(name)
    ]
    seen = {bare_address(value) for key, value in _all_pairs(new, goal) if key == "address"}
    mistakes += [
        f"ifquery finds no address {text} for {goal.device} in the new files"
        for text in sorted(_static_goal(goal, old, network) - seen)
    ]
    if goal.spec is None:
        if new.get(network.bridge):
            mistakes.append(f"ifquery still finds {network.bridge} in the new files")
        return mistakes
    return mistakes + _staged_bridge_mistakes(dict(new.get(goal.spec.name, ())), goal.spec)


def interface_names(tree: Tree) -> tuple[str, ...]:
    """Return the interfaces that have a stanza, each once, in the order in which ifupdown reads them."""
    names: dict[str, None] = {}
    for path, text in tree.items():
        for line in logical_lines(path, text):
            if line.keyword == "iface" and len(line.words) > 1 and _SAFE_NAME.fullmatch(line.words[1]):
                names[line.words[1]] = None
    return tuple(names)


def foreign_members(network: HostNetwork) -> tuple[str, ...]:
    """Return the bridge's ports other than its own."""
    return tuple(name for name in network.members(network.bridge) if name != network.port)


def bridge_addresses(network: HostNetwork, change: Change) -> tuple[str, ...]:
    """Return the static addresses that the changed files give the bridge, with prefix."""
    return tuple(dict.fromkeys((*network.in_files[network.bridge].addresses, *change.moved.addresses)))


# --- refusals ------------------------------------------------------------------------------------------


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
        for manager, why in network.managers.items()
    ]


def _no_such_port(network: HostNetwork, port: str) -> Refusal:
    others = [name for name, link in network.links.items() if name != "lo" and link.kind != "bridge"]
    near = difflib.get_close_matches(port, others, cutoff=0.4) or others
    return Refusal(
        f"the host has no interface {port}; near it: {', '.join(near) or 'none'}",
        "name one of the host's interfaces as port",
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


# --- planning ------------------------------------------------------------------------------------------


def _must_activate(network: HostNetwork, addresses: Sequence[str]) -> bool:
    """Tell whether only ifdown and ifup lead there: the port or an address is not on the bridge yet."""
    bridge, port = network.links.get(network.bridge), network.links[network.port]
    if bridge is None:
        return True
    held = {address.bare for address in network.on(network.bridge)}
    if port.master != network.bridge:
        return bool(network.on(network.port)) or not held
    on_port = {address.bare for address in network.on(network.port)}
    return any(bare_address(text) in on_port - held for text in addresses)


def _names(*trees: Tree) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for tree in trees for name in interface_names(tree)))


def _is_related(network: HostNetwork, name: str) -> bool:
    """Tell whether an interface is the bridge, the port, an alias or a VLAN of one of them."""
    pattern = rf"(?:{re.escape(network.bridge)}|{re.escape(network.port)})(?:[.:].*)?"
    return re.fullmatch(pattern, name) is not None or name in network.above(network.port)


def _related(network: HostNetwork, tree: Tree) -> tuple[str, ...]:
    return tuple(name for name in interface_names(tree) if _is_related(network, name))


def _highest_first(names: Iterable[str], last: str) -> tuple[str, ...]:
    """Return aliases and VLANs before what they stand on, and `last` at the end."""
    return tuple(sorted(names, key=lambda name: (name == last, "." not in name and ":" not in name)))


def _to_take_down(network: HostNetwork, tree: Tree) -> tuple[str, ...]:
    names = {name for name in _related(network, tree) if name in network.configured} | {network.port}
    if network.bridge in network.links:
        names.add(network.bridge)
    return _highest_first(sorted(names), last=network.port)


def _to_bring_up(network: HostNetwork, after: Tree, down: Sequence[str]) -> tuple[str, ...]:
    """Return the interfaces for ifup, in the order of the files, as at boot."""
    wanted = {network.bridge, network.port, *down}
    return tuple(
        name
        for name in _related(network, after)
        if name in wanted or name.startswith((f"{network.bridge}:", f"{network.port}:"))
    )


def _activation_sentences(network: HostNetwork, down: Sequence[str]) -> Iterable[str]:
    if network.standing_on in down:
        yield f"this connection runs over {network.standing_on}"
    guests = foreign_members(network)
    if guests:
        yield f"{network.bridge} is made anew; {', '.join(guests)} are attached to it again"


@dataclass(frozen=True)
class _Command:
    do: str
    undo: str
    sentence: str


def _undo_order(commands: Sequence[_Command]) -> Iterable[_Command]:
    """Properties of the bridge go back in the order in which they were set: STP before forward delay."""
    return sorted(commands, key=lambda command: "type bridge" not in command.do)


def _live_commands(
    network: HostNetwork, spec: BridgeSpec, addresses: Sequence[str], found: BridgeSpec | None
) -> list[_Command]:
    return [
        *_property_commands(network, spec),
        *_port_commands(network),
        *_address_commands(network, addresses),
        *_ipv6_commands(spec, found),
    ]


def _property_commands(network: HostNetwork, spec: BridgeSpec) -> Iterable[_Command]:
    """STP first: with STP on the kernel takes forward delays of 2 to 30 s only."""
    link = network.links[spec.name]
    setting = f"ip link set dev {shlex.quote(spec.name)} type bridge"
    if link.stp != spec.stp:
        yield _Command(
            f"{setting} stp_state {int(spec.stp)}",
            f"{setting} stp_state {int(bool(link.stp))}",
            f"{spec.name}: STP goes {on_off(spec.stp)}",
        )
    # switching STP on raises a forward delay below 2 s: set it again, and again on the way back
    delay = link.forward_delay or 0
    if delay != spec.forward_delay or link.stp != spec.stp:
        yield _Command(
            f"{setting} forward_delay {spec.forward_delay * _HUNDREDTHS}",
            f"{setting} forward_delay {round(delay * _HUNDREDTHS)}",
            f"{spec.name}: forward delay {delay:g} s becomes {spec.forward_delay} s",
        )
    if not link.up:
        device = shlex.quote(spec.name)
        yield _Command(
            f"ip link set dev {device} up", f"ip link set dev {device} down", f"{spec.name} goes up"
        )


def _port_commands(network: HostNetwork) -> Iterable[_Command]:
    port = network.links[network.port]
    device, bridge = shlex.quote(network.port), shlex.quote(network.bridge)
    if port.master != network.bridge:
        yield _Command(
            f"ip link set dev {device} master {bridge}",
            f"ip link set dev {device} nomaster",
            f"{network.port} becomes a port of {network.bridge}",
        )
    if not port.up:
        yield _Command(
            f"ip link set dev {device} up", f"ip link set dev {device} down", f"{network.port} goes up"
        )


def _address_commands(network: HostNetwork, addresses: Sequence[str]) -> Iterable[_Command]:
    bridge = shlex.quote(network.bridge)
    held = {address.bare for address in network.on(network.bridge)}
    for text in addresses:
        if bare_address(text) not in held:
            yield _Command(
                f"ip address replace {shlex.quote(text)} dev {bridge}",
                f"ip address delete {shlex.quote(text)} dev {bridge}",
                f"{network.bridge} gets its address {text} again",
            )
    gateways = {bare_address(route.gateway) for route in network.default_routes}
    for gateway in network.in_files[network.bridge].gateways:
        if bare_address(gateway) not in gateways:
            route = f"default via {shlex.quote(gateway)} dev {bridge}"
            yield _Command(
                f"ip route replace {route} onlink",
                f"ip route delete {route}",
                f"the default route via {gateway} is set again",
            )


def _ipv6_commands(spec: BridgeSpec, found: BridgeSpec | None) -> Iterable[_Command]:
    """`inet6 auto` sets accept_ra to 2 (ifupdown's inet6.defn); without it the kernel's default holds."""
    if found is None or found.ipv6_auto == spec.ipv6_auto:
        return
    folder = "/proc/sys/net/ipv6/conf"
    setting = shlex.quote(f"{folder}/{spec.name}/accept_ra")
    on = f"[ ! -e {setting} ] || echo 2 >{setting}"
    off = f"[ ! -e {setting} ] || cat {folder}/default/accept_ra >{setting}"
    if spec.ipv6_auto:
        yield _Command(on, off, f"{spec.name} takes IPv6 addresses from router advertisements")
    else:
        yield _Command(off, on, f"{spec.name} leaves router advertisements to the kernel's default")


# --- proof ---------------------------------------------------------------------------------------------


def _lasting(network: HostNetwork) -> set[str]:
    return {
        address.bare
        for device in (network.port, network.bridge)
        for address in network.on(device)
        if address.lasting
    }


def _bridge_problems(after: HostNetwork, goal: Goal) -> list[str]:
    bridge, port = after.links.get(after.bridge), after.links.get(after.port)
    if goal.spec is None:
        problems = [] if bridge is None else [f"{after.bridge} still exists"]
        if port is None or not port.up:
            problems.append(f"{after.port} is not up")
        return problems
    if bridge is None or bridge.kind != "bridge":
        return [f"there is no bridge {after.bridge}"]
    problems = [] if bridge.up else [f"{after.bridge} is not up"]
    if port is None or port.master != after.bridge:
        problems.append(f"{after.port} is not a port of {after.bridge}")
    elif not port.up:
        problems.append(f"{after.port} is not up")
    if bridge.stp != goal.spec.stp:
        problems.append(f"{after.bridge} has STP {on_off(bool(bridge.stp))}, not {on_off(goal.spec.stp)}")
    if bridge.forward_delay != goal.spec.forward_delay:
        problems.append(
            f"{after.bridge} has forward delay {bridge.forward_delay:g} s, not {goal.spec.forward_delay} s"
        )
    return problems


def _lost_elsewhere(before: HostNetwork, after: HostNetwork) -> list[str]:
    """Return what other interfaces have lost: addresses, and guests their place on the bridge."""
    ours = {before.bridge, before.port}
    lost = [
        f"{address.device} has lost the address {address.text}"
        for address in before.addresses
        if address.device not in ours
        and address.scope == "global"
        and address.lasting
        and address.device in after.links
        and address.bare not in {other.bare for other in after.on(address.device)}
    ]
    if after.bridge in after.links:
        members = after.members(after.bridge)
        lost += [
            f"{name} is no longer on {after.bridge}"
            for name in before.members(before.bridge)
            if name in after.links and name not in members
        ]
    return lost


def _route_problems(before: HostNetwork, after: HostNetwork, device: str) -> list[str]:
    ours = {before.bridge, before.port}
    problems = []
    for family in ("inet", "inet6"):
        had = [r for r in before.default_routes if r.family == family and r.device in ours and not r.learned]
        has = [r for r in after.default_routes if r.family == family and r.device == device]
        if had and not has:
            problems.append(f"there is no default route ({family}) over {device}")
        elif _any_answers(before, had) and not _any_answers(after, has):
            gateways = ", ".join(route.gateway for route in has)
            problems.append(f"the gateway {gateways} does not answer; one answered before the change")
    return problems


def _any_answers(network: HostNetwork, routes: Iterable[DefaultRoute]) -> bool:
    return any(route.gateway in network.answering for route in routes)


# --- staged files --------------------------------------------------------------------------------------

_Pairs = tuple[tuple[str, str], ...]


def _ifquery_blocks(staged: str, side: str) -> dict[str, _Pairs]:
    """Return interface -> (option, value) pairs of one side; an interface without stanza has none."""
    blocks: dict[str, list[tuple[str, str]]] = {}
    name = ""
    for line in staged.splitlines():
        word, _, rest = line.partition(" ")
        if word != side:
            continue
        key, _, value = rest.partition(": ")
        if key == "interface":
            name = value
            blocks[name] = []
        else:
            blocks[name].append((key, value))
    return {name: tuple(pairs) for name, pairs in blocks.items()}


def _difference(old: _Pairs | None, new: _Pairs | None) -> str:
    gone = [f"-{key} {value}" for key, value in old or () if (key, value) not in (new or ())]
    come = [f"+{key} {value}" for key, value in new or () if (key, value) not in (old or ())]
    return " ".join([*gone, *come]) or "the order of its options"


def _all_pairs(blocks: Mapping[str, _Pairs], goal: Goal) -> Iterable[tuple[str, str]]:
    """Return the options of the goal's device and of its aliases."""
    for name, pairs in blocks.items():
        if name == goal.device or name.startswith(f"{goal.device}:"):
            yield from pairs


def _static_goal(goal: Goal, old: Mapping[str, _Pairs], network: HostNetwork) -> set[str]:
    """Return the goal's addresses that `address` options give; `up ip addr add` lines are not printed."""
    related = [pairs for name, pairs in old.items() if _is_related(network, name)]
    written = {bare_address(value) for pairs in related for key, value in pairs if key == "address"}
    return set(goal.addresses & written)


def _staged_bridge_mistakes(options: Mapping[str, str], spec: BridgeSpec) -> list[str]:
    """Compare the bridge's options with those asked; bridge-utils takes `-` and `_` alike."""
    seen = {key.replace("-", "_"): value for key, value in options.items()}
    mistakes = []
    if spec.port not in seen.get("bridge_ports", "").split():
        mistakes.append(f"bridge_ports would be {seen.get('bridge_ports')!r}, without {spec.port}")
    wanted = {
        "bridge_stp": on_off(spec.stp),
        "bridge_fd": str(spec.forward_delay),
        "bridge_maxwait": str(spec.max_wait),
    }
    for key, value in wanted.items():
        if seen.get(key, "") not in _spellings(value):
            mistakes.append(f"{key} would be {seen.get(key)!r}, not {value!r}")
    return mistakes


def _spellings(value: str) -> set[str]:
    """Return what brctl(8) takes for the same value."""
    same = {"on": {"on", "yes"}, "off": {"off", "no"}}
    return same.get(value, {value, f"{value}.0"})


def on_off(value: bool) -> str:
    """Return "on" or "off"."""
    return "on" if value else "off"
