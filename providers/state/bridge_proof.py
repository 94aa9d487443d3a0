"""What must be seen once a change of a host's bridge is made, in the staged files and in the kernel; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from providers.state import interfaces
from providers.state.bridge import bridge_addresses, interface_names, is_related, on_off
from providers.state.interfaces import MAIN, BridgeSpec, Change, InterfacesError, Tree
from providers.state.interfaces.options import address_of
from providers.state.interfaces.parse import Interfaces
from providers.state.network import DefaultRoute, HostNetwork, bare_address

_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Goal:
    """What must be seen in the kernel once the change is done."""

    device: str
    """Where the default route leads: the bridge, or the port after a give-back."""
    addresses: Mapping[str, frozenset[str]]
    """Device -> its addresses, without prefix."""
    spec: BridgeSpec | None
    """The bridge; None: there is none any more. Of another port than ours: ours is not in it."""
    idle: bool = False
    """After a give-back: the port has no stanza, and nothing brings it up."""


def goal_of(network: HostNetwork, spec: BridgeSpec, change: Change) -> Goal:
    """Return what must be seen once the bridge is there."""
    addresses = {bare_address(text) for text in bridge_addresses(network, change)}
    return Goal(spec.name, {spec.name: frozenset(addresses | _lasting(network))}, spec)


def goal_of_give_back(network: HostNetwork, after: Tree) -> Goal:
    """Return what must be seen once the bridge is gone; `after` are the files then."""
    idle = network.port not in interface_names(after)
    return Goal(network.port, {network.port: frozenset(_lasting(network))}, None, idle)


def goal_of_release(network: HostNetwork, left: BridgeSpec, tree: Tree, change: Change) -> Goal:
    """Return what must be seen once a bridge that was there before us is as it was.

    Args:
        network: the host now.
        left: the bridge as the restored files have it.
        tree: the interfaces(5) files.
        change: the change of the files.
    """
    if left.port == network.port and not change.moved.families:
        return goal_of(network, left, change)
    net = Interfaces({**tree, **change.files})
    addresses = {
        device: frozenset(str(found.ip) for stanza in net.of(device) if (found := address_of(stanza)))
        for device in (network.port, network.bridge)
    }
    way_out = network.port if any(s.find("gateway") for s in net.of(network.port)) else network.bridge
    if any(stanza.method in {"dhcp", "auto"} for stanza in net.of(network.port)):
        way_out = network.port
    return Goal(way_out, addresses, left)


def unproven(before: HostNetwork, after: HostNetwork, goal: Goal) -> list[str]:
    """Return what is not as it must be after the change; empty: it may be confirmed."""
    problems = _bridge_problems(after, goal)
    for device, addresses in goal.addresses.items():
        held = {address.bare for address in after.on(device)}
        problems += [f"{device} does not have the address {text}" for text in sorted(addresses - held)]
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
        if not is_related(network, name) and old.get(name) != new.get(name)
    ]
    for device, addresses in goal.addresses.items():
        seen = {bare_address(value) for key, value in _all_pairs(new, device) if key == "address"}
        mistakes += [
            f"ifquery finds no address {text} for {device} in the new files"
            for text in sorted(_written(addresses, old, network) - seen)
        ]
    if goal.spec is None:
        if new.get(network.bridge):
            mistakes.append(f"ifquery still finds {network.bridge} in the new files")
        return mistakes
    return mistakes + _staged_bridge_mistakes(new.get(goal.spec.name, ()), goal.spec, network.port)


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
        if port is None or not (port.up or goal.idle):
            problems.append(f"{after.port} is not up")
        return problems
    if bridge is None or bridge.kind != "bridge":
        return [f"there is no bridge {after.bridge}"]
    problems = [] if bridge.up else [f"{after.bridge} is not up"]
    inside, is_inside = goal.spec.port == after.port, port is not None and port.master == after.bridge
    if inside != is_inside:
        problems.append(f"{after.port} is {'not' if inside else 'still'} a port of {after.bridge}")
    elif (inside or goal.addresses.get(after.port)) and not (port and port.up):
        problems.append(f"{after.port} is not up")
    problems += _extra_port_problems(after, goal.spec)
    if bridge.stp != goal.spec.stp:
        problems.append(f"{after.bridge} has STP {on_off(bool(bridge.stp))}, not {on_off(goal.spec.stp)}")
    if bridge.forward_delay != goal.spec.forward_delay:
        problems.append(
            f"{after.bridge} has forward delay {bridge.forward_delay:g} s, not {goal.spec.forward_delay} s"
        )
    return problems


def _extra_port_problems(after: HostNetwork, spec: BridgeSpec) -> Iterable[str]:
    for name in spec.extra_ports:
        link = after.links.get(name)
        if link is None or link.master != spec.name:
            yield f"{name} is not a port of {spec.name}"
        elif not link.up:
            yield f"{name} is not up"
    for name in spec.former_ports:
        if name in after.members(spec.name):
            yield f"{name} is still a port of {spec.name}"


def _lost_elsewhere(before: HostNetwork, after: HostNetwork) -> list[str]:
    """Return what other interfaces have lost: addresses, and guests their place on the bridge."""
    ours = {before.bridge, before.port}
    moving = {before.port, *before.extra_ports}
    lost = [
        f"{address.device} has lost the address {address.text}"
        for address in before.addresses
        if address.device not in ours
        and address.scope == "global"
        and address.lasting
        and address.device in after.links
        and address.bare not in {other.bare for other in after.on(address.device)}
    ]
    for name, link in before.links.items():
        now = after.links.get(name)
        if now is None and link.kind == "vlan" and link.below in before.links:
            lost.append(f"{name} is gone")
        elif now and link.master in after.links and now.master != link.master and name not in moving:
            lost.append(f"{name} is no longer on {link.master}")
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
    kept = {(route.family, route.device, route.gateway) for route in after.default_routes}
    problems += [
        f"the default route via {route.gateway} over {route.device} is lost"
        for route in before.default_routes
        if route.device not in ours
        and not route.learned
        and (route.family, route.device, route.gateway) not in kept
    ]
    return problems


def _any_answers(network: HostNetwork, routes: Iterable[DefaultRoute]) -> bool:
    return any(route.gateway in network.answering for route in routes)


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


def _all_pairs(blocks: Mapping[str, _Pairs], device: str) -> Iterable[tuple[str, str]]:
    """Return the options of a device and of its aliases."""
    for name, pairs in blocks.items():
        if name == device or name.startswith(f"{device}:"):
            yield from pairs


def _written(addresses: frozenset[str], old: Mapping[str, _Pairs], network: HostNetwork) -> set[str]:
    """Return those that `address` options give; `up ip addr add` lines are not printed."""
    related = [pairs for name, pairs in old.items() if is_related(network, name)]
    return set(
        addresses & {bare_address(value) for pairs in related for key, value in pairs if key == "address"}
    )


_COMPARED = ("bridge_ports", "bridge_stp", "bridge_fd", "bridge_maxwait")


def _staged_bridge_mistakes(options: _Pairs, spec: BridgeSpec, port: str) -> list[str]:
    """Compare what the bridge's options mean with what is asked; bridge-utils takes `-` and `_` alike.

    A missing option means its default, and one value has many spellings: as in the files themselves.
    """
    seen: dict[str, str] = {}
    for key, value in options:
        name = key.replace("-", "_")
        # each stanza of the bridge may name ports
        seen[name] = f"{seen[name]} {value}" if name == "bridge_ports" and name in seen else value
    lines = [f"    {name} {seen[name]}\n" for name in _COMPARED if name in seen]
    stanza = f"iface {spec.name} inet manual\n{''.join(lines)}"
    try:
        found = interfaces.seen({MAIN: stanza}, spec.model_copy(update={"port": port}))
    except InterfacesError as error:
        return [f"{problem.text} would be {problem.why}" for problem in error.problems]
    if found is None:
        return [f"ifquery does not find {spec.name} in the new files"]
    mistakes = []
    if found.port != spec.port:
        mistakes.append(f"bridge_ports would be {seen.get('bridge_ports')!r}, not {spec.port!r}")
    elif (found.extra_ports, found.former_ports) != (spec.extra_ports, spec.former_ports):
        wanted_ports = " ".join(spec.ports)
        mistakes.append(f"bridge_ports would be {seen.get('bridge_ports')!r}, not {wanted_ports!r}")
    wanted = {
        "bridge_stp": (found.stp, spec.stp),
        "bridge_fd": (found.forward_delay, spec.forward_delay),
        "bridge_maxwait": (found.max_wait, spec.max_wait),
    }
    for name, (is_now, asked) in wanted.items():
        if is_now != asked:
            text = on_off(asked) if isinstance(asked, bool) else str(asked)
            mistakes.append(f"{name} would be {seen.get(name)!r}, not {text!r}")
    return mistakes
