"""The port gets its stanzas back.

A stanza of the bridge that still says what the take-over made of it becomes, byte for byte, what it was.
One that was edited since is turned back line by line, so that the edit goes along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pydantic import JsonValue

from providers.state.interfaces.commands import renamed
from providers.state.interfaces.editor import Editor, changed_files, with_words
from providers.state.interfaces.lines import Line, logical_lines
from providers.state.interfaces.model import Change, Moved, Original, StanzaRecord, Tree
from providers.state.interfaces.options import is_command
from providers.state.interfaces.parse import (
    Interfaces,
    Stanza,
    is_class_line,
    joins_class,
    option_name,
    parse,
)
from providers.state.interfaces.takeover import moved_by, pair_up

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
    net = parse(tree, f"give {was.port} its stanzas back from {was.bridge} in interfaces(5)")
    editor = Editor(tree, net.files)
    _Undoing(net, editor, was).run()
    after = {path: _unterminated(text, was.unterminated.get(path)) for path, text in editor.tree().items()}
    moved = _restored(was)
    return Change(files=changed_files(tree, after), moved=moved, sentences=_sentences(was, moved))


def _unterminated(text: str, last: str | None) -> str:
    ended = text.removesuffix("\n").removesuffix("\r")
    return ended if last is not None and (ended == last or ended.endswith("\n" + last)) else text


def _restored(was: Original) -> Moved:
    text = "".join(record.before.rstrip("\n") + "\n" for record in was.stanzas if record.moved)
    return moved_by(Interfaces({"": text}).stanzas)


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

    def run(self) -> None:
        self._class_words()
        partners = pair_up([(record.alias, record.family) for record in self.was.stanzas], self.bridge)
        own = self._split_off()
        extra = self._own_extra(own)
        missing = []
        for record, stanza in zip(self.was.stanzas, partners, strict=True):
            if stanza is None:
                missing.append(record.before if record.moved else "")
            elif record.moved:
                self._replace(stanza, self._turned_back(stanza, record, extra))
                extra = ""
            else:
                self._revert_options(stanza, record)
        for stanza in self.bridge:
            if stanza not in partners:
                self._drop_added(stanza)
        self._place_missing(own, "".join(text.rstrip("\n") + "\n" for text in missing if text))
        self._port_stanzas()

    def _class_words(self) -> None:
        """The bridge leaves the auto and allow-* lines; aliases that were the port's are so again."""
        for line in filter(is_class_line, self.net.lines):
            words = {place: self._back(line, word) for place, word in enumerate(line.words) if place}
            words = {place: word for place, word in words.items() if word != line.words[place]}
            if words and not any(words.values()) and len(words) == len(line.words) - 1:
                self.editor.replace(line, "")
            elif words:
                self.editor.replace(line, with_words(line, words))

    def _back(self, line: Line, word: str) -> str:
        name = self.was.bridge
        if word == name and joins_class(line) and not self.was.classed:
            return ""
        moved = {name + record.alias for record in self.was.stanzas if record.moved and record.alias}
        return self.was.port + word.removeprefix(name) if word in moved else word

    def _split_off(self) -> Stanza | None:
        """Return the manual stanza that the take-over split off for the port, if it did."""
        if self.was.port_before or not self.was.port_after:
            return None
        manual = [stanza for stanza in self.port if stanza.method == "manual" and not stanza.alias]
        same = [stanza for stanza in manual if stanza.text == self.was.port_after[0]]
        return next(iter(same + manual), None)

    def _own_extra(self, own: Stanza | None) -> str:
        """Return the lines that were added to that stanza since."""
        if own is None:
            return ""
        known = {line.text for line in _lines(self.was.port_after[0])}
        return "".join(line.raw for line in own.body if line.text and line.text not in known)

    def _turned_back(self, stanza: Stanza, record: StanzaRecord, extra: str) -> str:
        if _substance(stanza.lines) == _substance(_lines(record.after)):
            return _after_header(record.before, extra)
        before = _lines(record.before)
        method = before[0].words[3] if self._method_is_ours(stanza, record) else stanza.method
        kept = [self._line_back(line) for line in stanza.body if not _is_managed(line)]
        header = with_words(stanza.header, {1: self.was.port + stanza.alias, 3: method})
        return header + extra + self._stayed(record) + "".join(kept)

    def _method_is_ours(self, stanza: Stanza, record: StanzaRecord) -> bool:
        method = _lines(record.after)[0].words[3]
        return stanza.method == method or {stanza.method, method} <= set(_STATELESS)

    def _line_back(self, line: Line) -> str:
        return renamed(line.raw, self.was.bridge, self.was.port) if is_command(line) else line.raw

    def _stayed(self, record: StanzaRecord) -> str:
        """Return the lines that the bridge's stanza had not, or has changed: hardware, search domains."""
        after = {line.text for line in _lines(record.after) if not _is_managed(line)}
        return "".join(
            line.raw
            for line in _lines(record.before)[1:]
            if line.text and renamed(line.text, self.was.port, self.was.bridge) not in after
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
        added = any(_substance(stanza.lines) == _substance(_lines(text)) for text in self.was.added)
        if not added and self.was.existed:
            return
        if added or (stanza.method in _STATELESS and all(map(_is_managed, stanza.options))):
            self._replace(stanza, "")
            self._drop_blank_before(stanza.header)
            return
        kept = [self._line_back(line) for line in stanza.body if not _is_managed(line)]
        header = with_words(stanza.header, {1: self.was.port + stanza.alias})
        self._replace(stanza, header + "".join(kept))

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
        for before, after in zip(self.was.port_before, self.was.port_after, strict=False):
            brought = {line.text for line in _lines(after)} - {line.text for line in _lines(before)}
            for stanza in self.port:
                if brought and stanza.text == after:
                    self._replace(stanza, before)

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
