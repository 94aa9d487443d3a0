"""What must be seen once a change of a host's bridge is made, in the staged files and in the kernel; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from providers.state.bridge import bridge_addresses, is_related, on_off
from providers.state.interfaces import BridgeSpec, Change
from providers.state.network import DefaultRoute, HostNetwork, bare_address

_Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Goal:
    """What must be seen in the kernel once the change is done."""

    device: str
    """Who holds the addresses: the bridge, or the port after a give-back."""
    addresses: frozenset[str]
    """Without prefix, on `device`."""
    spec: BridgeSpec | None
    """The bridge; None: there is none any more."""


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
        if not is_related(network, name) and old.get(name) != new.get(name)
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
    related = [pairs for name, pairs in old.items() if is_related(network, name)]
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
