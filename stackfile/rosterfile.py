"""The text of a roster: the students with their lines, and the edit of one that leaves the rest as it is.

A roster is a CSV file with a header, a YAML file with a list, or the list `students` in the stack file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from stackfile.mistakes import Location, Mistake, path_of
from stackfile.sources import Files, load_strictly, why_no_yaml

LISTS = ("ssh_keys", "ssh_key_files", "host_keys", "kept")
SEPARATOR = ";"  # keys hold spaces, and their options commas
IN_STACK_FILE = ("config", "kvm-lab:roster", "students")


@dataclass(frozen=True)
class Row:
    """A student as written: the options, and the line (from 1) in the file on which they begin."""

    line: int
    options: dict[str, object]


@dataclass(frozen=True)
class Source:
    """Where the students of a stack stand: the file as messages name it, and each one's line, if known."""

    file: str
    lines: tuple[int, ...] = ()

    def words(self, index: int) -> str:
        """Return the place of a student, such as "students.csv:4"."""
        return f"{self.file}:{self.lines[index]}" if index < len(self.lines) else f"roster.students[{index}]"


def is_csv(path: str) -> bool:
    """Say whether a roster's file is taken for CSV; any other is YAML."""
    return path.lower().endswith(".csv")


def rows_of_csv(text: str) -> list[Row]:
    """Return the students of a CSV file; an empty cell is an option that is left out.

    Raises:
        ValueError: it has no header, a column stands twice, or a line has more cells than the header.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff")), strict=True)
    try:
        names = [name.strip() for name in reader.fieldnames or ()]
    except csv.Error as error:
        raise ValueError(f"a CSV file ({error})") from None
    if "group" not in names or "student" not in names:
        semicolons = "; its cells are separated by semicolons, not commas" if ";" in "".join(names) else ""
        raise ValueError(
            f"a first line with the names of the columns, group and student among them{semicolons}"
        )
    named = [name for name in names if name]  # a spreadsheet may write empty columns at the end
    if len(set(named)) != len(named):
        raise ValueError("each column once")
    reader.fieldnames = names
    rows: list[Row] = []
    lines = _lines(text)
    line = reader.line_num
    try:
        for cells in reader:
            while not lines[line].strip("\r\n"):  # the reader passes over empty lines
                line += 1
            beyond = cells.pop(None, [])
            if any(text.strip() for text in beyond):
                raise ValueError(f"{len(names)} cells on line {line + 1}, as the header has")
            options = {n: _cell(n, text) for n, text in cells.items() if n and text and text.strip()}
            if options:
                rows.append(Row(line + 1, options))
            line = reader.line_num
    except csv.Error as error:
        raise ValueError(f"a CSV file (line {reader.line_num}: {error})") from None
    return rows


def _lines(text: str) -> list[str]:
    return io.StringIO(text, newline="").readlines()


def _cell(name: str, text: str) -> object:
    if name not in LISTS:
        return text.strip()
    return [part.strip() for part in text.split(SEPARATOR) if part.strip()]


def rows_of_yaml(text: str, path: Sequence[str] = ()) -> list[Row]:
    """Return the students of the list at `path` in a YAML document; in a roster's own file it is the whole.

    Raises:
        ValueError: there is no such list, or no YAML.
    """
    nodes = _students(text, path)
    found: object = load_strictly(text)
    for key in path:
        found = found[key] if isinstance(found, Mapping) else None
    students = found if isinstance(found, list) else []
    return [
        Row(node.start_mark.line + 1, dict(options) if isinstance(options, Mapping) else {"": options})
        for node, options in zip(nodes, students, strict=True)
    ]


def read(text: str, path: str) -> list[Row]:
    """Return the students of a roster's own file `path`.

    Raises:
        ValueError: it is none; the text completes "expected …".
    """
    return rows_of_csv(text) if is_csv(path) else rows_of_yaml(text)


def with_students(
    written: Mapping[str, object], files: Files, inside: Source
) -> tuple[Mapping[str, object], Source, list[tuple[Location, Mistake]]]:
    """Return the stack file with the students of the file that its roster names, if it names one.

    Args:
        written: the stack file's options.
        files: reads the roster's file; it is read whether or not other files are.
        inside: where the students stand who stand in the stack file itself.

    Returns:
        The stack file, where its students stand, and what is wrong with the roster's file.
    """
    roster = written.get("roster")
    if not isinstance(roster, Mapping) or not isinstance(path := roster.get("file"), str):
        return written, inside, []
    place = ("roster", "file")
    if "students" in roster:
        return (
            written,
            inside,
            [(place, Mistake(path_of(place), "either a file or students, not both", path))],
        )
    try:
        rows = read(files.text(path) or "", path)
    except ValueError as error:
        return written, inside, [(place, Mistake(path_of(place), str(error), path))]
    source = Source(path, tuple(row.line for row in rows))
    return {**written, "roster": {**roster, "students": [row.options for row in rows]}}, source, []


def lines_in_stack_file(text: str) -> list[int]:
    """Return on which lines of a stack file the students begin that it holds itself."""
    try:
        return [row.line for row in rows_of_yaml(text, IN_STACK_FILE)]
    except ValueError:
        return []


def edited(
    text: str, index: int, changes: Mapping[str, object], *, path: Sequence[str] = (), as_csv: bool = False
) -> str:
    """Return the text with the options `changes` of student number `index`; None takes one away.

    Args:
        text: a roster's own file, or a stack file.
        index: which student, from 0.
        changes: the options.
        path: where in a YAML document the list of students is.
        as_csv: whether it is CSV.

    Raises:
        ValueError: it is written in a way that an edit of this student cannot be told from one of others.
    """
    if as_csv:
        before = [row.options for row in rows_of_csv(text)]
        after_text = edited_csv(text, rows_of_csv(text)[index].line, changes)
        wanted = [
            _changed(row, {name: _as_read(value) for name, value in changes.items()})
            if number == index
            else row
            for number, row in enumerate(before)
        ]
        right = [row.options for row in rows_of_csv(after_text)] == wanted
    else:
        after_text = edited_yaml(text, index, changes, path)
        document: Any = load_strictly(text)
        students = document
        for key in path:
            students = students[key]
        students[index] = _changed(students[index], changes)
        right = load_strictly(after_text) == document
    if not right:
        raise ValueError("a student whose options can be edited without touching anything else")
    return after_text


def _changed(options: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    both = {**options, **changes}
    return {name: value for name, value in both.items() if value is not None or name not in changes}


def _as_read(value: object) -> object:
    if isinstance(value, list | tuple):
        return [str(element) for element in value] or None
    return None if value is None else str(value)


def edited_csv(text: str, line: int, changes: Mapping[str, object]) -> str:
    """Return the CSV file with the cells `changes` of the student that begins on `line`; None empties a cell.

    A column that is missing is added. Other lines stay byte for byte, unless a column is added.
    """
    lines = _lines(text)
    header = next(csv.reader([lines[0].removeprefix("\ufeff")]))
    columns = [name.strip() for name in header]
    new = [name for name, value in changes.items() if value is not None and name not in columns]
    begins = [row.line for row in rows_of_csv(text)]
    ends = [*begins[1:], len(lines) + 1]
    parts = ["".join(lines[: begins[0] - 1]), *_parts(lines, begins, ends)]
    out = []
    for number, part in zip([1, *begins], parts, strict=True):
        if number == line:
            cells = next(csv.reader(io.StringIO(part, newline="")))
            cells += [""] * (len(columns) - len(cells))
            for name in [name for name in changes if name in columns]:
                cells[columns.index(name)] = _as_cell(changes[name])
            out.append(_as_line([*cells, *(_as_cell(changes[name]) for name in new)], part))
        elif new:
            added = new if number == 1 else [""] * len(new)
            body = part.rstrip("\r\n")
            out.append(body + "".join(f",{name}" for name in added) + part[len(body) :] if body else part)
        else:
            out.append(part)
    return "".join(out)


def _parts(lines: list[str], begins: list[int], ends: list[int]) -> list[str]:
    return ["".join(lines[begin - 1 : end - 1]) for begin, end in zip(begins, ends, strict=True)]


def _as_cell(value: object) -> str:
    if value is None:
        return ""
    return SEPARATOR.join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _as_line(cells: Sequence[str], like: str) -> str:
    body = like.rstrip("\r\n")
    out = io.StringIO()
    ending = "\r\n"  # what a cell is quoted for when it holds it
    csv.writer(out, lineterminator=ending).writerow(cells)
    return out.getvalue().removesuffix(ending) + like[len(body) :]


def edited_yaml(text: str, index: int, changes: Mapping[str, object], path: Sequence[str] = ()) -> str:
    """Return the YAML document with the options `changes` of student number `index`; None takes one away.

    Comments and everything else stay byte for byte.

    Raises:
        ValueError: the student is not written as a mapping of its own (an alias, say).
    """
    for name, value in changes.items():
        node = _students(text, path)[index]
        if not isinstance(node, yaml.MappingNode) or not node.value:
            raise ValueError("a student written as a mapping")
        text = _with_option(text, node, name, value)
    return text


def _with_option(text: str, node: yaml.MappingNode, name: str, value: object) -> str:
    places = {key.value: (key, held) for key, held in node.value}
    written = yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip()
    if name in places:
        if value is not None:
            return _with_value(text, *places[name], written)
        return _without(text, node, [key.value for key, _ in node.value].index(name))
    if value is None:
        return text
    last = _end(node.value[-1][1])
    if node.flow_style:
        return f"{text[:last]}, {name}: {written}{text[last:]}"
    column = node.value[0][0].start_mark.column
    line_end = text.find("\n", last)
    place = len(text) if line_end < 0 else line_end
    return f"{text[:place]}\n{' ' * column}{name}: {written}{text[place:]}"


def _with_value(text: str, key: yaml.Node, held: yaml.Node, written: str) -> str:
    """Return the text with a flow value in the place of `held`, which may begin on a line below its key."""
    colon = text.index(":", key.end_mark.index) + 1
    between, line_end, below = text[colon : held.start_mark.index].partition("\n")
    if "#" in below:
        raise ValueError("a value without comments above it")
    lead, rest = ("", between) if line_end else (between, "")
    return f"{text[:colon]}{lead or ' '}{written}{rest}{text[_end(held) :]}"


def _without(text: str, node: yaml.MappingNode, position: int) -> str:
    key, held = node.value[position]
    begin, end = key.start_mark.index, _end(held)
    if node.flow_style:
        if position > 0:
            begin = _end(node.value[position - 1][1])
        elif len(node.value) > 1:
            end = node.value[1][0].start_mark.index
        return text[:begin] + text[end:]
    if position == 0:  # the dash of the list stands before it
        following = node.value[1][0].start_mark.index if len(node.value) > 1 else end
        return text[:begin] + text[following:]
    line_end = text.find("\n", end)
    return text[: text.rfind("\n", 0, begin)] + (text[line_end:] if line_end >= 0 else "")


def _end(node: yaml.Node) -> int:
    """Return where a value ends: a block collection's own mark is at the next token, after comments."""
    last = node
    while isinstance(last, yaml.CollectionNode) and not last.flow_style and last.value:
        tail = last.value[-1]
        last = tail[1] if isinstance(tail, tuple) else tail
    end = int(last.end_mark.index)
    if isinstance(last, yaml.ScalarNode) and last.style in ("|", ">"):
        buffer = last.end_mark.buffer or ""
        begin = last.start_mark.index
        return begin + len(buffer[begin:end].rstrip())
    return end


def _students(text: str, path: Sequence[str]) -> list[yaml.Node]:
    try:
        node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(why_no_yaml(error)) from None
    for key in path:
        values = node.value if isinstance(node, yaml.MappingNode) else []
        node = next((held for name, held in values if name.value == key), None)
    if not isinstance(node, yaml.SequenceNode):
        raise ValueError("a list of students")  # noqa: TRY004 - one kind of error for bad content
    return list(node.value)
