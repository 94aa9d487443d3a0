"""The bridge takes over the port's addresses.

Two steps, each from tree to tree: the port's addresses move to stanzas of the bridge (`_move`), then
the bridge's options are set (`configure`). On a tree that has the bridge already only the second finds work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from providers.state.interfaces.checks import (
    bridge_problems,
    has_address,
    holds_port,
    no_auto_down_line,
    spec_problems,
    tree_problems,
)
from providers.state.interfaces.commands import About, about, renamed
from providers.state.interfaces.configure import configure, first_stanzas, search_of, values_seen
from providers.state.interfaces.editor import Editor, changed_files, with_words
from providers.state.interfaces.lines import Line
from providers.state.interfaces.model import (
    MAIN,
    BridgeSpec,
    Change,
    InterfacesError,
    Moved,
    Original,
    Problem,
    StanzaRecord,
    Tree,
)
from providers.state.interfaces.options import MANAGED, Place, address_of, is_command, place_of, problem
from providers.state.interfaces.parse import (
    Interfaces,
    Stanza,
    is_auto,
    is_class_line,
    joins_class,
    option_name,
    parse,
)


def take_over(tree: Tree, spec: BridgeSpec, original: Mapping[str, JsonValue] | None = None) -> Change:
    """Put the port into the bridge and move its addresses there; also the update of an option.

    Args:
        tree: the files as they are.
        spec: the bridge wanted.
        original: that of the first take-over, where there was one: an emptied `dns_search`
            then gets back what the port had.

    Raises:
        InterfacesError: with every problem found; see interfaces(5).
    """
    asked = f"put {spec.port} into bridge {spec.name} in interfaces(5)"
    if not tree:
        raise InterfacesError(
            asked, [Problem(MAIN, 0, "", "there is no such file: ifupdown configures nothing here")]
        )
    net = Interfaces(tree)
    if problems := [*spec_problems(spec), *tree_problems(net, spec)]:
        raise InterfacesError(asked, problems)
    moving = moving_stanzas(net, spec.name, spec.port)
    moved_tree = _move(tree, net, moving, spec)
    if problems := _late_bridge(parse(moved_tree, asked), spec):
        raise InterfacesError(asked, problems)
    after = configure(
        moved_tree, spec, None if original is None else Original.model_validate(original).dns_search
    )
    moved = moved_by(moving)
    return Change(
        files=changed_files(tree, after),
        moved=moved,
        original=_original(tree, after, spec, moving).model_dump(mode="json"),
        sentences=_sentences(net, Interfaces(after), spec, moved),
    )


def seen(tree: Tree, spec: BridgeSpec) -> BridgeSpec | None:
    """Return `spec` with the values that the files hold; None when the bridge has no stanza.

    Values that `spec` leaves to the files (no hw_address, no dns_search) come back as in `spec`.
    `port` is `spec.port` when it is among the bridge's ports, else those ports, blank-separated.

    Raises:
        InterfacesError: the files, or an option of the bridge, cannot be read.
    """
    asked = f"read bridge {spec.name} in interfaces(5)"
    net = parse(tree, asked)
    bridge = first_stanzas(net, spec.name)
    if not bridge:
        return None
    if problems := list(bridge_problems(bridge, spec.name)):
        raise InterfacesError(asked, problems)
    return values_seen(bridge, spec)


def moving_stanzas(net: Interfaces, bridge: str, port: str) -> tuple[Stanza, ...]:
    """Return those of the port's stanzas that configure addresses: by method, by command, by dns-* option.

    What a manual stanza says of a port that is in the bridge already is meant for a port.
    """
    held = holds_port(net.of(bridge), port)
    return tuple(
        stanza
        for stanza in net.of(port)
        if stanza.method != "manual" or stanza.alias or (not held and has_address(stanza))
    )


def _stays(line: Line, stanza: Stanza) -> bool:
    if is_command(line):
        return about(line, stanza.device) is About.HARDWARE
    return place_of(line) is Place.PORT and not (stanza.alias and is_class_line(line))


def _groups(stanza: Stanza) -> Iterable[tuple[Line, ...]]:
    """Yield the body's lines, each option with the comments right above it."""
    group: list[Line] = []
    for line in stanza.body:
        if line.is_comment:
            group.append(line)
            continue
        if line.text:
            yield (*group, line)
        else:
            yield from ((comment,) for comment in group)
            yield (line,)
        group = []


def _staying_groups(stanza: Stanza) -> list[tuple[Line, ...]]:
    """Return what the port keeps: its options, and what would hang below the last of the bridge's."""
    groups = list(_groups(stanza))
    stays = [bool(group[-1].text) and _stays(group[-1], stanza) for group in groups]
    last = max(
        (number for number, group in enumerate(groups) if group[-1].text and not stays[number]), default=-1
    )
    return [group for number, group in enumerate(groups) if stays[number] or number > last]


def _kept(stanzas: Iterable[Stanza]) -> list[tuple[Line, ...]]:
    """Return the lines for the port's own stanza; what is said twice only once, and no blank lines."""
    kept: dict[str, tuple[Line, ...]] = {}
    for stanza in stanzas:
        for group in _staying_groups(stanza):
            if not group[-1].is_blank:
                kept.setdefault(group[-1].text or group[-1].raw, group)
    return list(kept.values())


def _move(tree: Tree, net: Interfaces, moving: Sequence[Stanza], spec: BridgeSpec) -> Tree:
    editor = Editor(tree, net.files)
    port = net.of(spec.port)
    pure = [stanza for stanza in port if stanza not in moving]
    named = [stanza for stanza in moving if not stanza.alias]
    said = {line.text for stanza in pure for line in stanza.options}
    groups = [group for group in _kept(moving) if group[-1].text not in said]
    kept = "".join(_ended(line) for group in groups for line in group)
    if pure:
        editor.insert_after(pure[-1].lines[-1], kept)
    elif named:
        _split_port_off(editor, named[0], kept)
    if not named and not first_stanzas(net, spec.name):
        _create_empty(editor, tree, pure, spec)
    for stanza in moving:
        _rename_stanza(editor, stanza, spec)
    _rename_class_words(editor, net, spec)
    return editor.tree()


def _ended(line: Line) -> str:
    return line.raw if line.raw.endswith("\n") else line.raw + line.end


def _create_empty(editor: Editor, tree: Tree, pure: Sequence[Stanza], spec: BridgeSpec) -> None:
    """Write a bridge without an address: after the port's stanza, else at the end of the main file."""
    path = pure[-1].header.file if pure else next(iter(tree))
    eol = editor.eol(path)
    text = f"iface {spec.name} inet manual{eol}"
    if pure:
        editor.insert_after(pure[-1].lines[-1], eol + text)
    else:
        editor.append(path, (eol if tree[path] else "") + text)


def _split_port_off(editor: Editor, stanza: Stanza, kept: str) -> None:
    """Write the port's own, manual stanza in front of the one that becomes the bridge's."""
    eol = editor.eol(stanza.header.file)
    header = f"{stanza.header.indent}iface {stanza.device} inet manual{eol}"
    editor.insert_before(stanza.header, header + kept + eol)


def _rename_stanza(editor: Editor, stanza: Stanza, spec: BridgeSpec) -> None:
    editor.replace(stanza.header, with_words(stanza.header, {1: spec.name + stanza.alias}))
    for line in filter(is_command, stanza.options):
        editor.replace(line, renamed(line.raw, spec.port, spec.name))
    for group in _staying_groups(stanza):
        for line in group:
            editor.replace(line, "")


def _rename_class_words(editor: Editor, net: Interfaces, spec: BridgeSpec) -> None:
    """`auto eth0:1` becomes `auto br0:1` where it stands; `no-auto-down eth0` names br0 too."""
    extended = no_auto_down_line(net, spec)
    for line, _ in net.class_lines():
        words = {
            place: spec.name + word.removeprefix(spec.port)
            for place, word in enumerate(line.words)
            if place and word.startswith(f"{spec.port}:")
        }
        if line == extended:
            words[1] = f"{spec.name} {words.get(1, line.words[1])}"
        if words:
            editor.replace(line, with_words(line, words))


def _late_bridge(net: Interfaces, spec: BridgeSpec) -> list[Problem]:
    """An alias of the bridge must not be brought up before the bridge can be."""
    port = [line for line, names in net.class_lines() if is_auto(line) and spec.port in names]
    found = []
    for line, names in net.class_lines():
        aliases = [name for name in names if name.startswith(f"{spec.name}:")]
        if not is_auto(line) or not aliases or not port:
            continue
        first_port = (net.position(port[0]), _place(port[0], spec.port))
        if (net.position(line), _place(line, aliases[0])) < first_port:
            why = f"brings up an alias of {spec.port} before {spec.port} itself: change their order"
            found.append(problem(line, why))
    return found


def _place(line: Line, name: str) -> int:
    return line.words.index(name) if name in line.words else 0


def moved_by(moving: Iterable[Stanza]) -> Moved:
    """Return what these stanzas configure."""
    stanzas = tuple(moving)
    lines = [line for stanza in stanzas for line in stanza.options]
    return Moved(
        addresses=tuple(str(address) for stanza in stanzas if (address := address_of(stanza))),
        gateways=tuple(line.rest for line in lines if line.keyword == "gateway"),
        families=tuple(f"{stanza.family} {stanza.method}" for stanza in stanzas),
    )


def pair_up(keys: Sequence[tuple[str, str]], stanzas: Sequence[Stanza]) -> list[Stanza | None]:
    """Return for each (alias, family) the next stanza of that kind."""
    waiting: defaultdict[tuple[str, str], list[Stanza]] = defaultdict(list)
    for stanza in stanzas:
        waiting[stanza.alias, stanza.family].append(stanza)
    return [waiting[key].pop(0) if waiting[key] else None for key in keys]


def _original(tree: Tree, after: Tree, spec: BridgeSpec, moving: Sequence[Stanza]) -> Original:
    """Return what `give_back` needs: each stanza of port and bridge before and after."""
    net, new = Interfaces(tree), Interfaces(after)
    headers = {stanza.header for stanza in moving}
    had = sorted((*net.of(spec.name), *net.of(spec.port)), key=lambda stanza: stanza.position)
    became_bridge = [stanza for stanza in had if stanza.device == spec.name or stanza.header in headers]
    pairs = pair_up([(stanza.alias, stanza.family) for stanza in became_bridge], new.of(spec.name))
    changed = changed_files(tree, after)
    return Original(
        bridge=spec.name,
        port=spec.port,
        existed=bool(net.of(spec.name)),
        classed=any(joins_class(line) and spec.name in names for line, names in net.class_lines()),
        excepted=no_auto_down_line(net, spec) is not None,
        stanzas=tuple(
            StanzaRecord(
                alias=old.alias,
                family=old.family,
                moved=old.device == spec.port,
                before=old.text,
                after=became.text if became else "",
            )
            for old, became in zip(became_bridge, pairs, strict=True)
        ),
        added=tuple(stanza.text for stanza in new.of(spec.name) if stanza not in pairs),
        port_before=tuple(s.text for s in had if s.device == spec.port and s.header not in headers),
        port_after=tuple(stanza.text for stanza in new.of(spec.port)),
        dns_search=search_of(became_bridge),
        unterminated={
            path: lines[-1].raw
            for path, lines in net.files.items()
            if path in changed and lines and not lines[-1].raw.endswith("\n")
        },
    )


def _sentences(net: Interfaces, new: Interfaces, spec: BridgeSpec, moved: Moved) -> tuple[str, ...]:
    found = []
    if moved.families:
        automatic = [f"{family}" for family in moved.families if not family.endswith(("static", "manual"))]
        things = [*moved.addresses, *automatic, *(f"the default route via {via}" for via in moved.gateways)]
        taken = " and ".join(things) or "the commands that set its addresses"
        found.append(f"{spec.name} takes over {taken} from {spec.port}")
    elif not net.of(spec.name):
        found.append(f"{spec.name} is created without an address on {spec.port}")
    old = {name: _values(first_stanzas(net, spec.name), name) for name in MANAGED}
    if net.of(spec.name):
        for name, before in old.items():
            after = _values(first_stanzas(new, spec.name), name)
            if before != after:
                found.append(f"{spec.name}: {name} {before or 'not set'} -> {after or 'not set'}")
        if _methods(net, spec.name) != _methods(new, spec.name) and not moved.families:
            found.append(f"{spec.name}: {_methods(net, spec.name)} -> {_methods(new, spec.name)}")
    return tuple(found)


def _values(bridge: Iterable[Stanza], name: str) -> str:
    lines = [
        line for stanza in bridge for line in stanza.options if option_name(line.keyword) == option_name(name)
    ]
    return " ".join(dict.fromkeys(line.rest for line in lines))


def _methods(net: Interfaces, name: str) -> str:
    return ", ".join(f"{stanza.family} {stanza.method}" for stanza in net.of(name))
