"""The options of a bridge that has its stanzas already: set in place, added where they are missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from providers.state.interfaces.checks import auto_lines, lower_devices, made_by_ifup
from providers.state.interfaces.editor import Editor, with_value, with_words
from providers.state.interfaces.lines import Line
from providers.state.interfaces.model import BridgeSpec, Tree
from providers.state.interfaces.options import seconds, truth
from providers.state.interfaces.parse import Interfaces, Stanza, is_auto, joins_class, option_name

_INDENT = "    "
_KERNEL_DELAY = 15  # seconds, when no bridge_fd says otherwise
_LONGEST_WAIT = 32  # seconds, what bridge-utils waits at most when no bridge_maxwait says otherwise
_STATELESS = {"auto", "manual"}


def first_stanzas(net: Interfaces, name: str) -> tuple[Stanza, ...]:
    """Return the bridge's stanzas, aliases left out, in the order in which ifup runs them."""
    return tuple(stanza for stanza in net.of(name) if not stanza.alias)


def configure(tree: Tree, spec: BridgeSpec, had_search: tuple[str, ...] | None) -> dict[str, str]:
    """Return the tree with the bridge's options as wanted; the bridge has a stanza.

    Args:
        tree: the files.
        spec: the bridge wanted.
        had_search: the search domains to go back to when `spec` names none; None: leave what is there.
    """
    net = Interfaces(tree)
    editor = Editor(tree, net.files)
    bridge = first_stanzas(net, spec.name)
    search = spec.dns_search or had_search
    added = "" if search is None else _set_search(editor, bridge, search)
    for name, (value, equal) in _wanted(spec, ports_of(bridge)).items():
        added += _set(editor, bridge, name, value, equal)
    editor.insert_after(bridge[0].lines[-1], added)
    _set_ipv6(editor, bridge, spec)
    _ensure_auto(editor, net, bridge[0], spec)
    return editor.tree()


def ports_of(bridge: Iterable[Stanza]) -> tuple[str, ...]:
    """Return the ports that these stanzas name, each once."""
    words = [word for s in bridge for line in s.find("bridge_ports") for word in line.rest.split()]
    return tuple(dict.fromkeys(word for word in words if word != "none"))


Equal = Callable[[str], bool]


def _wanted(spec: BridgeSpec, ports: tuple[str, ...]) -> dict[str, tuple[str, Equal]]:
    """Return option -> (value to write, test whether a value found says the same)."""
    members = [port for port in dict.fromkeys((*ports, *spec.ports)) if port not in spec.former_ports]
    wanted: dict[str, tuple[str, Equal]] = {
        "bridge_ports": (" ".join(members), lambda value: _has_ports(value, spec)),
        "bridge_stp": ("on" if spec.stp else "off", lambda value: truth(value) is spec.stp),
        "bridge_fd": (str(spec.forward_delay), lambda value: seconds(value) == spec.forward_delay),
        "bridge_maxwait": (str(spec.max_wait), lambda value: seconds(value) == spec.max_wait),
    }
    hardware = spec.hw_address
    if hardware is not None:
        wanted["bridge_hw"] = (hardware, lambda value: _same_hardware(value, hardware, spec.port))
    return wanted


def _has_ports(value: str, spec: BridgeSpec) -> bool:
    words = set(value.split())
    return words >= set(spec.ports) and not words & set(spec.former_ports)


def _same_hardware(value: str, address: str, port: str) -> bool:
    return value.lower() == address.lower() or value == port


def _set(editor: Editor, bridge: Sequence[Stanza], name: str, value: str, equal: Equal) -> str:
    """Set an option wherever it stands; return the line to add to the first stanza, if any."""
    lines = [line for stanza in bridge for line in stanza.find(name)]
    for line in lines:
        if not equal(line.rest):
            editor.replace(line, with_value(line, value))
    needed_in_first = name == "bridge_ports" and not bridge[0].find(name)
    return _option(editor, bridge[0], name, value) if needed_in_first or not lines else ""


def _set_search(editor: Editor, bridge: Sequence[Stanza], search: tuple[str, ...]) -> str:
    """Make the bridge's search domains these; return the line to add to the first stanza, if any."""
    lines = [line for stanza in bridge for line in stanza.find("dns-search")]
    if search == search_of(bridge):
        return ""
    for line in lines:
        editor.replace(line, with_value(line, " ".join(search)) if search else "")
    return _option(editor, bridge[0], "dns-search", " ".join(search)) if search and not lines else ""


def search_of(stanzas: Iterable[Stanza]) -> tuple[str, ...]:
    """Return the search domains of these stanzas, each once."""
    words = [word for stanza in stanzas for line in stanza.find("dns-search") for word in line.rest.split()]
    return tuple(dict.fromkeys(words))


def _option(editor: Editor, stanza: Stanza, name: str, value: str) -> str:
    indent = stanza.options[0].indent if stanza.options else _INDENT
    hyphens = any(line.keyword.startswith("bridge-") for line in stanza.options)
    return f"{indent}{option_name(name) if hyphens else name} {value}{editor.eol(stanza.header.file)}"


def _set_ipv6(editor: Editor, bridge: Sequence[Stanza], spec: BridgeSpec) -> None:
    inet6 = [stanza for stanza in bridge if stanza.family == "inet6"]
    if any(stanza.method == "auto" for stanza in inet6) is spec.ipv6_auto:
        return
    if not inet6:
        eol = editor.eol(bridge[0].header.file)
        editor.insert_after(bridge[0].lines[-1], f"{eol}iface {spec.name} inet6 auto{eol}")
        return
    if spec.ipv6_auto and any(stanza.method not in _STATELESS for stanza in inet6):
        return
    for stanza in inet6:
        if stanza.method in _STATELESS:
            method = "auto" if spec.ipv6_auto else "manual"
            editor.replace(stanza.header, with_words(stanza.header, {3: method}))


def _ensure_auto(editor: Editor, net: Interfaces, first: Stanza, spec: BridgeSpec) -> None:
    """Bring the bridge up at boot: after its port and what that is made of, before its aliases."""
    if any(joins_class(line) and spec.name in names for line, names in net.class_lines()):
        return
    made = [port for port in spec.extra_ports if made_by_ifup(net, port)]
    lowers = auto_lines(net, set().union(*(lower_devices(net, port) for port in (spec.port, *made))))
    spot = _after(net, lowers[-1]) if lowers else None
    late = spot is not None and net.position(spot) > first.position
    limit = net.position(spot) if late and spot is not None else first.position
    for line, names in net.class_lines():
        aliases = [name for name in names if name.startswith(f"{spec.name}:")]
        if is_auto(line) and aliases and aliases[0] in line.words and net.position(line) <= limit:
            place = line.words.index(aliases[0])
            editor.replace(line, with_words(line, {place: f"{spec.name} {aliases[0]}"}))
            return
    auto = f"auto {spec.name}{editor.eol((spot if late and spot else first.header).file)}"
    if late and spot is not None:
        editor.insert_after(spot, auto)
    else:
        editor.insert_before(first.header, auto)


def _after(net: Interfaces, line: Line) -> Line:
    """Return the line after which another `auto` line can stand: a bare one stands inside a stanza."""
    owner = net.owner(line)
    return owner.lines[-1] if owner else line


def values_seen(bridge: Sequence[Stanza], spec: BridgeSpec) -> BridgeSpec:
    """Return `spec` with what the bridge's stanzas say; their values have been checked."""

    def last(name: str) -> str:
        lines = [line for stanza in bridge for line in stanza.find(name)]
        return lines[-1].rest if lines else ""

    ports, hardware = ports_of(bridge), last("bridge_hw")
    as_wanted = spec.hw_address is None or _same_hardware(hardware, spec.hw_address, spec.port)
    delay = seconds(last("bridge_fd"))
    return spec.model_copy(
        update={
            "port": spec.port if spec.port in ports else " ".join(ports),
            "extra_ports": tuple(port for port in spec.extra_ports if port in ports),
            "former_ports": tuple(port for port in spec.former_ports if port not in ports),
            "stp": truth(last("bridge_stp")) is True,
            "forward_delay": _KERNEL_DELAY if delay is None else math.ceil(delay),
            "max_wait": int(last("bridge_maxwait") or _LONGEST_WAIT),
            "hw_address": spec.hw_address if as_wanted else hardware or None,
            "dns_search": search_of(bridge) if spec.dns_search else (),
            "ipv6_auto": _ipv6_seen(bridge, spec),
        }
    )


def _ipv6_seen(bridge: Iterable[Stanza], spec: BridgeSpec) -> bool:
    methods = {stanza.method for stanza in bridge if stanza.family == "inet6"}
    return "auto" in methods or (spec.ipv6_auto and bool(methods - _STATELESS))
