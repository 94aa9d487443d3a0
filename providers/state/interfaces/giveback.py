"""The port gets its stanzas back.

A stanza of the bridge that still says what the take-over made of it becomes, byte for byte, what it was.
One that was edited since is turned back line by line, so that the edit goes along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pydantic import JsonValue

from providers.state.interfaces.commands import renamed, still_names
from providers.state.interfaces.configure import ports_of
from providers.state.interfaces.editor import Editor, changed_files, with_words
from providers.state.interfaces.lines import Line, logical_lines
from providers.state.interfaces.model import (
    MAIN,
    Change,
    InterfacesError,
    Moved,
    Original,
    Problem,
    StanzaRecord,
    Tree,
)
from providers.state.interfaces.options import address_problems, is_command, problem, value_problems
from providers.state.interfaces.parse import (
    Interfaces,
    Stanza,
    is_class_line,
    option_name,
    parse,
)
from providers.state.interfaces.takeover import moved_by, moving_stanzas, pair_up

_STATELESS = ("auto", "manual")


def give_back(tree: Tree, original: Mapping[str, JsonValue]) -> Change:
    """Undo a take-over: the port has its stanzas again, the bridge none; edits made elsewhere stay.

    A bridge that existed before the take-over keeps its stanzas and gets its options back.

    Args:
        tree: the files as they are now.
        original: that of the first take-over; it names the bridge and the port.

    Raises:
        InterfacesError: with every problem found.
    """
    was = Original.model_validate(original)
    asked = f"give {was.port} its stanzas back from {was.bridge} in interfaces(5)"
    net = parse(tree, asked)
    editor = Editor(tree, net.files)
    undoing = _Undoing(net, editor, was)
    undoing.run()
    if undoing.problems:
        raise InterfacesError(asked, undoing.problems)
    after = {path: _unterminated(text, was.unterminated.get(path)) for path, text in editor.tree().items()}
    new = parse(after, asked)
    if problems := _problems_of_result(new, was):
        raise InterfacesError(asked, problems)
    moved = moved_by(moving_stanzas(new, was.bridge, was.port))
    return Change(files=changed_files(tree, after), moved=moved, sentences=_sentences(was, moved))


def ports_before(original: Mapping[str, JsonValue]) -> tuple[str, ...]:
    """Return the ports that the bridge's stanzas named before the take-over with this `original`."""
    was = Original.model_validate(original)
    text = "".join(f"{record.before.rstrip()}\n" for record in was.stanzas if not record.moved)
    return ports_of(Interfaces({MAIN: text}).of(was.bridge))


def _unterminated(text: str, last: str | None) -> str:
    ended = text.removesuffix("\n").removesuffix("\r")
    return ended if last is not None and (ended == last or ended.endswith("\n" + last)) else text


def _problems_of_result(new: Interfaces, was: Original) -> list[Problem]:
    """Check the stanzas as they would be written: what was edited since may have spoilt them."""
    return [
        replace(each, why=f"{each.why} (as the line would stand afterwards)")
        for stanza in (*new.of(was.bridge), *new.of(was.port))
        for each in (*value_problems(stanza.options), *address_problems(stanza))
    ]


def _sentences(was: Original, moved: Moved) -> tuple[str, ...]:
    automatic = [family for family in moved.families if not family.endswith(("static", "manual"))]
    things = [*moved.addresses, *automatic, *(f"the default route via {via}" for via in moved.gateways)]
    back = (f"{was.port} gets back {' and '.join(things)}",) if things else ()
    left = "stays, with the options it had" if was.existed else "is removed"
    return (*back, f"{was.bridge} {left}")


class _Undoing:
    """One undoing: the tree as it is, and what it was."""

    def __init__(self, net: Interfaces, editor: Editor, was: Original) -> None:
        self.net = net
        self.editor = editor
        self.was = was
        self.bridge = net.of(was.bridge)
        self.port = net.of(was.port)
        self.gone: set[str] = set()
        """The port's lines, of those that the take-over brought together, that are there no more."""
        self.problems: list[Problem] = []

    def run(self) -> None:
        partners = pair_up([(record.alias, record.family) for record in self.was.stanzas], self.bridge)
        own = self._split_off()
        extra = self._own_extra(own)
        self._port_stanzas()
        self._class_words([stanza for stanza in self.bridge if stanza not in partners])
        missing = []
        for record, stanza in zip(self.was.stanzas, partners, strict=True):
            if stanza is None:
                missing.append(self._without_gone(record.before) if record.moved else "")
            elif record.moved:
                self._replace(stanza, self._turned_back(stanza, record, extra))
                extra = ""
            else:
                self._revert_options(stanza, record)
        for stanza in self.bridge:
            if stanza not in partners:
                self._drop_added(stanza)
        self._place_missing(own, "".join(text.rstrip("\n") + "\n" for text in missing if text))

    def _class_words(self, more: Iterable[Stanza]) -> None:
        """The bridge leaves the auto and allow-* lines; aliases that become the port's are named so."""
        records = (record for record in self.was.stanzas if record.moved and record.alias)
        moved = {self.was.bridge + record.alias for record in records}
        moved |= {stanza.name for stanza in more if stanza.alias and self._goes_to_port(stanza)}
        for line in filter(is_class_line, self.net.lines):
            words = {place: self._back(line, word, moved) for place, word in enumerate(line.words) if place}
            words = {place: word for place, word in words.items() if word != line.words[place]}
            if words and not any(words.values()) and len(words) == len(line.words) - 1:
                self.editor.replace(line, "")
            elif words:
                self.editor.replace(line, with_words(line, words))

    def _back(self, line: Line, word: str, moved: set[str]) -> str:
        name = self.was.bridge
        ours = self.was.excepted if line.keyword == "no-auto-down" else not self.was.classed
        if word == name and ours and line.keyword != "no-scripts":
            return ""
        return self.was.port + word.removeprefix(name) if word in moved else word

    def _split_off(self) -> Stanza | None:
        """Return the manual stanza that the take-over split off for the port, if it did."""
        if self.was.port_before or not self.was.port_after:
            return None
        manual = [stanza for stanza in self.port if stanza.method == "manual" and not stanza.alias]
        same = [stanza for stanza in manual if stanza.text == self.was.port_after[0]]
        return next(iter(same + manual), None)

    def _own_extra(self, own: Stanza | None) -> str:
        """Return the lines that were added to that stanza since; take note of those that were deleted."""
        if own is None:
            return ""
        known = _texts(_lines(self.was.port_after[0])[1:])
        self.gone |= known - _texts(own.body)
        return "".join(line.raw for line in own.body if line.text and line.text not in known)

    def _turned_back(self, stanza: Stanza, record: StanzaRecord, extra: str) -> str:
        if _substance(stanza.lines) == _substance(_lines(record.after)):
            return _after_header(self._without_gone(record.before), extra)
        before = _lines(record.before)
        method = before[0].words[3] if self._method_is_ours(stanza, record) else stanza.method
        kept = [self._line_back(line, before) for line in stanza.body if not _is_managed(line)]
        header = with_words(stanza.header, {1: self.was.port + stanza.alias, 3: method})
        return header + extra + self._stayed(record) + "".join(kept)

    def _method_is_ours(self, stanza: Stanza, record: StanzaRecord) -> bool:
        method = _lines(record.after)[0].words[3]
        return stanza.method == method or {stanza.method, method} <= set(_STATELESS)

    def _line_back(self, line: Line, before: Iterable[Line] = ()) -> str:
        """Return an edited stanza's line for the port; one that names the bridge, as it did before, may."""
        if not is_command(line):
            return line.raw
        raw = renamed(line.raw, self.was.bridge, self.was.port)
        if still_names(raw, self.was.bridge) and line.text not in _texts(before):
            why = f"names {self.was.bridge}, which {self.was.port} replaces: write $IFACE, or delete the line"
            self.problems.append(problem(line, why))
        return raw

    def _without_gone(self, text: str) -> str:
        header, *body = _lines(text)
        return header.raw + "".join(line.raw for line in body if line.text not in self.gone)

    def _stayed(self, record: StanzaRecord) -> str:
        """Return the lines that the bridge's stanza had not, or has changed: hardware, search domains."""
        after = {line.text for line in _lines(record.after) if not _is_managed(line)}
        return "".join(
            line.raw
            for line in _lines(record.before)[1:]
            if line.text
            and line.text not in self.gone
            and renamed(line.text, self.was.port, self.was.bridge) not in after
        )

    def _revert_options(self, stanza: Stanza, record: StanzaRecord) -> None:
        """Give a bridge's stanza that was there before the options it had."""
        before, after = _lines(record.before), _lines(record.after)
        if _substance(stanza.lines) == _substance(after):
            self._replace(stanza, record.before)
            return
        ours = {line.text for line in after} - {line.text for line in before}
        old = {option_name(line.keyword): line.raw for line in before if _is_managed(line)}
        for line in stanza.options:
            if _is_managed(line) and line.text in ours:
                self.editor.replace(line, old.get(option_name(line.keyword), ""))

    def _drop_added(self, stanza: Stanza) -> None:
        """Remove a stanza that the take-over added; one of the user's goes to the port."""
        if self._is_ours(stanza):
            self._replace(stanza, "")
            self._drop_blank_before(stanza.header)
            return
        if not self._goes_to_port(stanza):
            return
        kept = [self._line_back(line) for line in stanza.body if not _is_managed(line)]
        header = with_words(stanza.header, {1: self.was.port + stanza.alias})
        self._replace(stanza, header + "".join(kept))

    def _is_ours(self, stanza: Stanza) -> bool:
        """Tell whether the take-over added the stanza, or someone one that has nothing for the port."""
        added = any(_substance(stanza.lines) == _substance(_lines(text)) for text in self.was.added)
        empty = stanza.method in _STATELESS and not stanza.alias and all(map(_is_managed, stanza.options))
        return added or (empty and not self.was.existed)

    def _goes_to_port(self, stanza: Stanza) -> bool:
        return not self.was.existed and not self._is_ours(stanza)

    def _place_missing(self, own: Stanza | None, text: str) -> None:
        """Remove the split-off stanza; stanzas that lost their place go where it stood, else to the end."""
        if own is not None:
            self._replace(own, text)
            if not text:
                self._drop_blank_after(own.lines[-1])
        elif text:
            self.editor.append(next(iter(self.net.files)), "\n" + text)

    def _port_stanzas(self) -> None:
        """Take from the port's own stanzas what the take-over brought there."""
        if not self.was.port_before:
            return
        keys = [
            (first.words[1].partition(":"), first.words[2]) for first, *_ in map(_lines, self.was.port_after)
        ]
        now = pair_up([(colon + alias, family) for (_, colon, alias), family in keys], self.port)
        for before, after, stanza in zip(self.was.port_before, self.was.port_after, now, strict=False):
            brought = _texts(_lines(after)) - _texts(_lines(before))
            if stanza is None or stanza.text == after:
                if stanza is not None and brought:
                    self._replace(stanza, before)
                continue
            self.gone |= _texts(_lines(after)[1:]) - _texts(stanza.body)
            for line in stanza.body:
                if line.text in brought:
                    self.editor.replace(line, "")

    def _replace(self, stanza: Stanza, text: str) -> None:
        for line in stanza.body:
            self.editor.replace(line, "")
        self.editor.replace(stanza.header, text)

    def _drop_blank_before(self, line: Line) -> None:
        lines = self.net.files[line.file]
        self._drop_blank(reversed(lines[: lines.index(line)]))

    def _drop_blank_after(self, line: Line) -> None:
        lines = self.net.files[line.file]
        self._drop_blank(lines[lines.index(line) + 1 :])

    def _drop_blank(self, lines: Iterable[Line]) -> None:
        """Delete the blank line that the take-over wrote here; comments may have come in between."""
        for line in lines:
            if line.is_comment or self.editor.is_deleted(line):
                continue
            if line.is_blank:
                self.editor.replace(line, "")
            return


def _lines(text: str) -> tuple[Line, ...]:
    return tuple(logical_lines("", text))


def _texts(lines: Iterable[Line]) -> set[str]:
    return {line.text for line in lines if line.text}


def _is_managed(line: Line) -> bool:
    name = option_name(line.keyword)
    return name.startswith("bridge-") or name == "dns-search"


def _substance(lines: Iterable[Line]) -> Sequence[tuple[str, ...]]:
    """Return what the lines say besides the options that the bridge's inputs set."""
    return [_said(line) for line in lines if not line.is_blank and not _is_managed(line)]


def _said(line: Line) -> tuple[str, ...]:
    if line.keyword == "iface" and line.words[2:3] == ("inet6",) and line.words[3] in _STATELESS:
        return (*line.words[:3], "stateless", *line.words[4:])
    return line.words or (line.raw.strip(),)


def _after_header(text: str, extra: str) -> str:
    if not extra:
        return text
    header, *body = _lines(text)
    ended = header.raw if header.raw.endswith("\n") else header.raw + header.end
    return ended + extra + "".join(line.raw for line in body)
