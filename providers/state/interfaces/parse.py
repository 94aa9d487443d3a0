"""interfaces(5) files as stanzas, in the order in which ifupdown meets them.

The grammar is that of ifupdown 0.8.41's config.c: a stanza runs from its header to the line before
the next keyword; the bare words `auto`, `allow-*`, `no-auto-down` and `no-scripts` may stand inside it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from providers.state.interfaces.lines import Line, logical_lines
from providers.state.interfaces.model import InterfacesError, Problem, Tree
from providers.state.interfaces.sources import SourcePattern, is_source, patterns_of

METHODS = {
    "inet": {"loopback", "static", "manual", "dhcp", "bootp", "tunnel", "ppp", "wvdial", "ipv4ll"},
    "inet6": {"auto", "loopback", "static", "manual", "dhcp", "tunnel", "v4tunnel", "6to4"},
    "ipx": {"static", "dynamic"},
    "can": {"static"},
    "meta": {"none"},
}
COMMANDS = ("pre-up", "up", "post-up", "pre-down", "down", "post-down")


@dataclass(eq=False)
class Stanza:
    """An `iface` stanza; compared by identity."""

    header: Line
    body: list[Line] = field(default_factory=list)
    """From the line after the header to the last option, comments and blank lines between included."""
    position: int = 0
    """Of the header among all lines, in reading order."""
    end: int = 0
    """Of the last line of the body."""

    @property
    def name(self) -> str:
        """The logical interface."""
        return self._word(1)

    @property
    def device(self) -> str:
        """The interface without an alias: eth0 for eth0:1."""
        return self.name.partition(":")[0]

    @property
    def alias(self) -> str:
        """What an alias adds to the device: ":1", else nothing."""
        return self.name[len(self.device) :]

    @property
    def family(self) -> str:
        """inet, inet6, ..."""
        return self._word(2)

    @property
    def method(self) -> str:
        """Static, dhcp, manual, auto, ..."""
        return self._word(3)

    @property
    def lines(self) -> tuple[Line, ...]:
        """Header and body."""
        return (self.header, *self.body)

    @property
    def text(self) -> str:
        """The bytes of the stanza."""
        return "".join(line.raw for line in self.lines)

    @cached_property
    def options(self) -> tuple[Line, ...]:
        """The lines of the body that mean something."""
        return tuple(line for line in self.body if line.text)

    def find(self, *names: str) -> tuple[Line, ...]:
        """Return the option lines with one of these names, `_` and `-` in them being the same."""
        wanted = {option_name(name) for name in names}
        return tuple(line for line in self.options if option_name(line.keyword) in wanted)

    def _word(self, number: int) -> str:
        words = self.header.words
        return words[number] if len(words) > number else ""


def option_name(keyword: str) -> str:
    """Return an option's name as the hook scripts see it: bridge_stp and bridge-stp are one variable."""
    return keyword.replace("_", "-")


def is_class_line(line: Line) -> bool:
    """Tell whether the line sorts interfaces into a class: auto, allow-*, no-auto-down, no-scripts."""
    return line.keyword in {"auto", "no-auto-down", "no-scripts"} or (
        line.keyword.startswith("allow-") and line.keyword != "allow-"
    )


def is_auto(line: Line) -> bool:
    """Tell whether the line is `auto`, under either of its names: `ifup -a` goes through it in order."""
    return line.keyword in {"auto", "allow-auto"}


def joins_class(line: Line) -> bool:
    """Tell whether the line is `auto` or `allow-*`: such interfaces are brought up by themselves."""
    return is_class_line(line) and not line.keyword.startswith("no-")


class Interfaces:
    """A tree of files, read.

    Args:
        tree: the files; every one of them must be included by the first.

    Raises:
        InterfacesError: an include line that is not understood.
        ValueError: a file that none of the others includes.
    """

    def __init__(self, tree: Tree) -> None:
        self.files = {path: tuple(logical_lines(path, text)) for path, text in tree.items()}
        self.lines: list[Line] = []
        """Every line in reading order."""
        self.stanzas: list[Stanza] = []
        self.mappings: list[Line] = []
        self.problems: list[Problem] = []
        """Lines that ifupdown itself refuses; in an included file it drops all after the first of them."""
        self._entered: set[str] = set()
        if self.files:
            self._read(next(iter(self.files)))
        if left := set(self.files) - self._entered:
            raise ValueError(f"not included by any file: {', '.join(sorted(left))}")

    def of(self, device: str) -> tuple[Stanza, ...]:
        """Return the stanzas of an interface and of its aliases, in reading order."""
        return tuple(stanza for stanza in self.stanzas if stanza.device == device)

    def owner(self, line: Line) -> Stanza | None:
        """Return the stanza that the line stands in."""
        return next((stanza for stanza in self.stanzas if line in stanza.body), None)

    def position(self, line: Line) -> int:
        """Return the line's place in reading order."""
        return self._positions[line.file, line.number]

    def class_lines(self) -> Iterator[tuple[Line, tuple[str, ...]]]:
        """Yield the class lines with the interfaces they name; a bare one names its stanza's."""
        for line in self.lines:
            if is_class_line(line):
                owner = self.owner(line)
                yield line, line.words[1:] or ((owner.name,) if owner else ())

    @cached_property
    def _positions(self) -> dict[tuple[str, int], int]:
        return {(line.file, line.number): position for position, line in enumerate(self.lines)}

    def _read(self, path: str) -> None:
        self._entered.add(path)
        reader = _FileReader(self)
        for line in self.files[path]:
            position = len(self.lines)
            if "\0" in line.raw:
                self.problems.append(
                    Problem(path, line.number, line.shown, "a NUL byte: ifupdown loses what follows")
                )
            self.lines.append(line)
            reader.take(line, position)
            if is_source(line):
                for pattern in patterns_of(line):
                    self._read_included(pattern)

    def _read_included(self, pattern: SourcePattern) -> None:
        for path in self.files:
            if path not in self._entered and pattern.accepts(path):
                self._read(path)


class _FileReader:
    """ifupdown's state while it reads one file."""

    def __init__(self, net: Interfaces) -> None:
        self.net = net
        self.stanza: Stanza | None = None
        self.mapping = False
        self.pending: list[Line] = []

    def take(self, line: Line, position: int) -> None:
        if not line.text:
            self.pending.append(line)
        elif line.keyword == "iface":
            self._leave()
            self.stanza = Stanza(line, position=position, end=position)
            self.net.stanzas.append(self.stanza)
            self._judge_header(line)
        elif line.keyword == "mapping":
            self._leave()
            self.mapping = True
            self.net.mappings.append(line)
        elif is_source(line) or line.keyword == "rename":
            self._leave()
        elif line.keyword == "template":
            self._refuse(line, "templates are ifupdown-ng's; ifupdown 0.8 takes this for an option")
        elif is_class_line(line) and (len(line.words) > 1 or self.stanza is None):
            self._leave()
        else:
            self._option(line, position)

    def _leave(self) -> None:
        self.stanza = None
        self.mapping = False
        self.pending = []

    def _option(self, line: Line, position: int) -> None:
        if self.stanza is not None:
            self.stanza.body += [*self.pending, line]
            self.stanza.end = position
            self.pending = []
            if not line.rest and not is_class_line(line):
                self._refuse(line, "an option without a value; ifupdown reads this file no further")
        elif not self.mapping or line.keyword not in {"script", "map"}:
            self._refuse(
                line,
                "an option outside of a stanza (auto, allow-*, source and rename end one);"
                " ifupdown reads this file no further",
            )

    def _judge_header(self, line: Line) -> None:
        family, method = (*line.words[2:4], "", "")[:2]
        if "inherits" not in line.words[1:] and method not in METHODS.get(family, ()):
            self._refuse(
                line, "not a name, family and method known to ifupdown; it reads this file no further"
            )

    def _refuse(self, line: Line, why: str) -> None:
        self.net.problems.append(Problem(line.file, line.number, line.shown, why))


def parse(tree: Tree, asked: str) -> Interfaces:
    """Read a tree.

    Raises:
        InterfacesError: lines that ifupdown refuses, all of them.
    """
    net = Interfaces(tree)
    if net.problems:
        raise InterfacesError(asked, net.problems)
    return net
