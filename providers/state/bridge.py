"""What has to happen to a host's network so that it has one bridge as asked, or no longer; pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from providers.state.interfaces import BridgeSpec, Change, Tree
from providers.state.interfaces.lines import logical_lines
from providers.state.network import HostNetwork, bare_address

_SAFE_NAME = re.compile(r"[A-Za-z0-9_.:@-]+")
_HUNDREDTHS = 100

Kind = Literal["none", "live", "activate"]


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
    """Shell lines of a live change, in this order; of "activate", what is to be done once ifup is done."""
    undo: tuple[str, ...] = ()
    """Shell lines, each by itself, with the folder of what was found as "$1": there is NAME.mode."""
    down: tuple[str, ...] = ()
    """Interfaces for ifdown, in this order; and again for ifup when the change is undone, backwards."""
    up: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    """Every interface of the old and the new files."""
    hw_address: str = ""
    """To make the bridge with before the port goes down; empty: ifup makes it."""
    leaving: str = ""
    """The port that leaves the bridge; empty: none does."""
    joining: tuple[str, ...] = ()
    """What comes together with `uplink` with STP off: before, the host looks whether that makes a loop."""
    uplink: str = ""
    """The interface that leads where the bridge is, or will be."""
    sentences: tuple[str, ...] = ()


def plan(
    network: HostNetwork,
    spec: BridgeSpec,
    tree: Tree,
    change: Change,
    found: BridgeSpec | None,
    *,
    found_up: Collection[str] = (),
) -> Plan:
    """Return what makes files and kernel have the bridge.

    Args:
        network: the host now.
        spec: the bridge asked for.
        tree: the interfaces(5) files.
        change: the change of the files.
        found: what the files say about the bridge now; None: nothing.
        found_up: of the further ports, those that were up before they were the bridge's.
    """
    after = {**tree, **change.files}
    addresses = bridge_addresses(network, change)
    if _must_activate(network, addresses):
        return _activation(network, spec, tree, change, found_up)
    commands = _live_commands(network, spec, addresses, found, found_up)
    if not change.files and not commands:
        return Plan("none", {})
    return Plan(
        "live",
        change.files,
        live=tuple(command.do for command in commands),
        undo=tuple(command.undo for command in _undo_order(commands)),
        names=_names(tree, after),
        joining=_to_look_at(network, spec),
        uplink=network.bridge if _is_in(network, network.port) else network.port,
        sentences=(*change.sentences, *(command.sentence for command in commands)),
    )


def plan_give_back(
    network: HostNetwork, tree: Tree, change: Change, *, found_up: Collection[str] = ()
) -> Plan:
    """Return what takes the bridge away and gives its port the addresses back; see `plan`."""
    after = {**tree, **change.files}
    if network.bridge not in network.links and network.on(network.port):
        return _files_only(tree, change)
    freed = [
        _leaving_command(network, name, found_up) for name in network.extra_ports if _is_in(network, name)
    ]
    down = tuple(n for n in _related(network, tree) if n in network.configured or n == network.bridge)
    return Plan(
        "activate",
        change.files,
        down=_highest_first(down, last=network.port),
        up=_to_bring_up(network, after, down),
        names=_names(tree, after),
        leaving=network.port,
        live=tuple(command.do for command in freed),
        sentences=(*change.sentences, *(command.sentence for command in freed)),
    )


def plan_release(
    network: HostNetwork,
    left: BridgeSpec,
    tree: Tree,
    change: Change,
    found: BridgeSpec | None,
    *,
    found_up: Collection[str] = (),
) -> Plan:
    """Return what makes a bridge that was there before us as it was; the port stays only if it was in it.

    Args:
        network: the host now.
        left: the bridge as the restored files have it; its port is another's where ours is not in it.
        tree: the interfaces(5) files.
        change: the change of the files.
        found: what the files say about the bridge now; None: nothing.
        found_up: see `plan`.
    """
    outside = left.port != network.port
    if not outside and not change.moved.families:
        return plan(network, left, tree, change, found, found_up=found_up)
    wanted = {bare_address(text) for text in change.moved.addresses}
    is_out = outside and network.links[network.port].master != network.bridge
    still_in = [name for name in left.former_ports if _is_in(network, name)]
    if is_out and not still_in and wanted <= {address.bare for address in network.on(network.port)}:
        return _files_only(tree, change)
    # a bridge that was there keeps the hardware address that it has
    kept = left.model_copy(update={"hw_address": None})
    activation = _activation(network, kept, tree, change, found_up)
    return replace(activation, leaving=network.port if outside else "")


def _activation(
    network: HostNetwork, spec: BridgeSpec, tree: Tree, change: Change, found_up: Collection[str]
) -> Plan:
    """Return what leads to the changed files by ifdown and ifup of all that has to do with the bridge."""
    after = {**tree, **change.files}
    down = _to_take_down(network, tree)
    freed = [_leaving_command(network, name, found_up) for name in spec.former_ports if _is_in(network, name)]
    joined = [
        _joining_command(network, name)
        for name in spec.extra_ports
        if name in network.links and not _is_in(network, name)
    ]
    return Plan(
        "activate",
        change.files,
        down=down,
        up=_to_bring_up(network, after, down),
        names=_names(tree, after),
        hw_address=spec.hw_address or "",
        # ifup puts into the bridge what joins it, and takes out nothing
        live=tuple(command.do for command in freed),
        undo=tuple(command.undo for command in joined),
        joining=_to_look_at(network, spec),
        uplink=network.bridge if _is_in(network, network.port) else network.port,
        sentences=(
            *change.sentences,
            *(command.sentence for command in (*freed, *joined)),
            *_activation_sentences(network, down),
        ),
    )


def _files_only(tree: Tree, change: Change) -> Plan:
    """Return what changes files, if that, where the kernel is as wanted."""
    kind: Kind = "live" if change.files else "none"
    names = _names(tree, {**tree, **change.files})
    return Plan(kind, change.files, names=names, sentences=change.sentences)


def on_off(value: bool) -> str:
    """Return "on" or "off"."""
    return "on" if value else "off"


def shown(value: object) -> str:
    """Return an option's value as people read it: on or off, "none", names of a list."""
    if value is None or value == []:
        return "none"
    if isinstance(value, list):
        return " ".join(map(str, value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return on_off(value) if isinstance(value, bool) else str(value)


def interface_names(tree: Tree) -> tuple[str, ...]:
    """Return the interfaces that have a stanza, each once, in the order in which ifupdown reads them."""
    names: dict[str, None] = {}
    for path, text in tree.items():
        for line in logical_lines(path, text):
            if line.keyword == "iface" and len(line.words) > 1 and _SAFE_NAME.fullmatch(line.words[1]):
                names[line.words[1]] = None
    return tuple(names)


def is_related(network: HostNetwork, name: str) -> bool:
    """Tell whether an interface is the bridge, the port, an alias or a VLAN of one of them."""
    pattern = rf"(?:{re.escape(network.bridge)}|{re.escape(network.port)})(?:[.:].*)?"
    return re.fullmatch(pattern, name) is not None or name in network.above(network.port)


def is_elsewhere(network: HostNetwork, name: str) -> bool:
    """Tell whether a VLAN of the port is itself a port of another bridge: that one it must not leave."""
    link = network.links.get(name)
    return link is not None and link.below == network.port and link.master not in {None, network.bridge}


def foreign_members(network: HostNetwork) -> tuple[str, ...]:
    """Return the bridge's ports other than its own."""
    ours = {network.port, *network.extra_ports}
    return tuple(name for name in network.members(network.bridge) if name not in ours)


def bridge_addresses(network: HostNetwork, change: Change) -> tuple[str, ...]:
    """Return the static addresses that the changed files give the bridge, with prefix."""
    return tuple(dict.fromkeys((*network.in_files[network.bridge].addresses, *change.moved.addresses)))


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


def _related(network: HostNetwork, tree: Tree) -> tuple[str, ...]:
    """Return what goes down and up with bridge and port, of what the files have."""
    return tuple(
        name
        for name in interface_names(tree)
        if is_related(network, name) and not is_elsewhere(network, name)
    )


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
    """Ports leave before anything else, properties of the bridge go back as they were set, the rest follows.

    A redundant cable must never be in the bridge while STP is off; STP goes before the forward delay.
    """

    def rank(command: _Command) -> int:
        if " nomaster" in command.undo:
            return 0
        return 1 if "type bridge" in command.do else 2

    return sorted(commands, key=rank)


def _is_in(network: HostNetwork, name: str) -> bool:
    link = network.links.get(name)
    return link is not None and link.master == network.bridge


def _to_look_at(network: HostNetwork, spec: BridgeSpec) -> tuple[str, ...]:
    """Return what could make a loop that no STP ends: further ports, and a bridge with ports of others."""
    if spec.stp:
        return ()
    joining = tuple(name for name in spec.extra_ports if not _is_in(network, name))
    has_others = network.members(network.bridge) and not _is_in(network, network.port)
    return (*joining, network.bridge) if has_others else joining


def _live_commands(
    network: HostNetwork,
    spec: BridgeSpec,
    addresses: Sequence[str],
    found: BridgeSpec | None,
    found_up: Collection[str],
) -> list[_Command]:
    return [
        *(_leaving_command(network, name, found_up) for name in spec.former_ports if _is_in(network, name)),
        *_property_commands(network, spec),
        *_port_commands(network),
        *_extra_port_commands(network, spec),
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


def _extra_port_commands(network: HostNetwork, spec: BridgeSpec) -> Iterable[_Command]:
    for name in spec.extra_ports:
        device = shlex.quote(name)
        if not _is_in(network, name):
            yield _joining_command(network, name)
        elif not network.links[name].up:
            yield _Command(
                f"ip link set dev {device} up", f"ip link set dev {device} down", f"{name} goes up"
            )


def _joining_command(network: HostNetwork, name: str) -> _Command:
    """As bridge-utils does it at boot: a port has no link-local address."""
    device = shlex.quote(name)
    do = f"{_no_link_local(name)}; ip link set dev {device} master {shlex.quote(network.bridge)} up"
    undo = _free(name, up=network.links[name].up, mode=f'"$1"/{shlex.quote(name)}.mode')
    return _Command(do, undo, f"{name} becomes a further port of {network.bridge}")


def _leaving_command(network: HostNetwork, name: str, found_up: Collection[str]) -> _Command:
    bridge = shlex.quote(network.bridge)
    undo = f"{_no_link_local(name)}; ip link set dev {shlex.quote(name)} master {bridge} up"
    free = _free(name, up=name in found_up, mode=_address_mode("default"))
    return _Command(free, undo, f"{name} leaves {network.bridge}")


def _free(name: str, *, up: bool, mode: str) -> str:
    """Return what takes a port out of any bridge, and leaves it up or down.

    Args:
        name: the port.
        up: whether it stays up; one that is down gets a link-local address with the mode, one too many.
        mode: the file with the mode of its link-local address, as the shell reads it.
    """
    device, setting = shlex.quote(name), _address_mode(name)
    freed = f"ip link set dev {device} nomaster {'up' if up else 'down'}; "
    restored = f"cat {mode} >{setting};"
    if not up:
        restored += f" ip -6 address flush dev {device} scope link;"
    return f"{freed}[ ! -e {setting} ] || {{ {restored} }}"


def _no_link_local(name: str) -> str:
    mode = _address_mode(name)
    return f"[ ! -e {mode} ] || echo 1 >{mode}"


def _address_mode(name: str) -> str:
    """Return the file that says how the kernel makes link-local addresses; 1: none."""
    return shlex.quote(f"/proc/sys/net/ipv6/conf/{name}/addr_gen_mode")


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
    in_files = network.in_files[network.bridge]
    for gateway in network.lost_gateways:
        family = "-6" if ":" in gateway else "-4"
        metric = f" metric {in_files.metrics[gateway]}" if gateway in in_files.metrics else ""
        route = f"default via {shlex.quote(gateway)} dev {bridge}{metric}"
        # never `replace`: it would take the place of another card's default route
        yield _Command(
            f"ip {family} route add {route} onlink",
            f"ip {family} route delete {route}",
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
