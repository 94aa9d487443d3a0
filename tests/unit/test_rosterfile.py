"""A student's line is found and edited; everything else in the file stays as it is."""

from __future__ import annotations

from typing import Any

import pytest

from stackfile import rosterfile
from stackfile.rosterfile import IN_STACK_FILE, edited_csv, edited_yaml, rows_of_csv, rows_of_yaml

CSV = 'group, student,host,generation,ssh_keys\r\n1,1,h1,,"a b;c d"\r\n\r\n1,2,h2,3,\r\n'
YAML = """\
# the class
- {group: 1, student: 1, host: h1}  # first
- group: 1
  student: 2   # second
  generation: 3
  ssh_keys:
    - "ssh-ed25519 AAAA x"
  # a comment after the keys
- generation: 4
  group: 2
"""


def test_rows_of_csv() -> None:
    first, second = rows_of_csv(CSV)
    assert first == rosterfile.Row(
        2, {"group": "1", "student": "1", "host": "h1", "ssh_keys": ["a b", "c d"]}
    )
    assert (second.line, second.options["generation"]) == (4, "3")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a first line"),
        ("a,b\n", "a first line"),
        ("group,student,group\n", "each column once"),
        ("group,student\n1,2,3\n", "2 cells on line 2"),
        ('group,student\n1,"2\n', "a CSV file"),
    ],
)
def test_what_is_no_csv(text: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        rows_of_csv(text)


def test_a_cell_changes_and_nothing_else() -> None:
    assert edited_csv(CSV, 4, {"generation": 4}) == CSV.replace("h2,3,", "h2,4,")
    assert edited_csv(CSV, 4, {"generation": None, "kept": None}) == CSV.replace("h2,3,", "h2,,")
    with_column = edited_csv(CSV, 2, {"kept": [2, 3]})
    assert with_column.splitlines() == [
        "group, student,host,generation,ssh_keys,kept",
        "1,1,h1,,a b;c d,2;3",
        "",
        "1,2,h2,3,,",
    ]
    assert rows_of_csv(with_column)[0].options["kept"] == ["2", "3"]


def test_rows_of_yaml() -> None:
    assert [(row.line, row.options["group"]) for row in rows_of_yaml(YAML)] == [(2, 1), (3, 1), (9, 2)]
    inside = "config:\n  kvm-lab:roster:\n    students:\n    - {group: 7}\n"
    assert [row.line for row in rows_of_yaml(inside, IN_STACK_FILE)] == [4]
    assert rosterfile.lines_in_stack_file(inside) == [4]
    assert rosterfile.lines_in_stack_file("config: {}") == []
    with pytest.raises(ValueError, match="a list of students"):
        rows_of_yaml("config: {}")
    with pytest.raises(ValueError, match="line 1"):
        rows_of_yaml("a: ]")


@pytest.mark.parametrize(
    ("index", "changes", "old", "new"),
    [
        (0, {"generation": 2}, "host: h1}", "host: h1, generation: 2}"),
        (0, {"host": None}, ", host: h1}", "}"),
        (0, {"group": None}, "{group: 1, student: 1,", "{student: 1,"),
        (0, {"generation": None}, "", ""),
        (1, {"generation": 12}, "generation: 3", "generation: 12"),
        (1, {"generation": None}, "  generation: 3\n", ""),
        (1, {"kept": [1, 2]}, '    - "ssh-ed25519 AAAA x"\n', '    - "ssh-ed25519 AAAA x"\n  kept: [1, 2]\n'),
        (
            2,
            {"generation": 5, "kept": [4]},
            "generation: 4\n  group: 2\n",
            "generation: 5\n  group: 2\n  kept: [4]\n",
        ),
        (2, {"generation": None}, "- generation: 4\n  group: 2", "- group: 2"),
        (2, {"group": None}, "- generation: 4\n  group: 2", "- generation: 4"),
    ],
)
def test_an_option_changes_and_nothing_else(index: int, changes: dict[str, Any], old: str, new: str) -> None:
    assert old in YAML
    edited = edited_yaml(YAML, index, changes)
    assert edited == YAML.replace(old, new)
    for name, value in changes.items():
        assert rows_of_yaml(edited)[index].options.get(name) == value


@pytest.mark.parametrize(
    ("kept", "edited"),
    [
        ("kept:\n  - 2\n", "kept: [1, 3]\n"),
        ("kept:\n    - 2 # a\n    - 1 # b\n", "kept: [1, 3] # b\n"),
        ("kept: # why\n  - 2\n", "kept: [1, 3] # why\n"),
        ("kept:\n    [2]\n", "kept: [1, 3]\n"),
        ("kept:   [2] # why\n", "kept:   [1, 3] # why\n"),
        ("kept:\n", "kept: [1, 3]\n"),
        ("kept: # why\n", "kept: [1, 3] # why\n"),
        ("? kept\n  : [2]\n", "? kept\n  : [1, 3]\n"),
    ],
)
@pytest.mark.parametrize("after", ["", "  student: 1\n", "# end\n- group: 2\n"])
def test_a_list_is_replaced_however_it_is_written(kept: str, edited: str, after: str) -> None:
    text = f"- group: 1\n  {kept}{after}"
    found = rosterfile.edited(text, 0, {"kept": [1, 3]})
    assert found == f"- group: 1\n  {edited}{after}"


def test_a_comment_above_a_value_is_not_lost() -> None:
    with pytest.raises(ValueError, match="comments above it"):
        rosterfile.edited("- group: 1\n  kept:\n  # why\n  - 2\n", 0, {"kept": [1]})


def test_a_file_without_a_last_line_end() -> None:
    assert edited_yaml("- group: 1", 0, {"generation": 2}) == "- group: 1\n  generation: 2"
    assert edited_yaml("- {group: 1}", 0, {"generation": 2}) == "- {group: 1, generation: 2}"


def test_a_student_that_is_no_mapping() -> None:
    with pytest.raises(ValueError, match="a mapping"):
        edited_yaml("- 7\n", 0, {"generation": 2})


@pytest.mark.parametrize(
    ("text", "as_csv"),
    [
        ("- {group: 1, ssh_keys: &k [a]}\n- {group: 2, ssh_keys: *k}\n", False),
        ("- &one {group: 1}\n- *one\n", False),
        ("- group: 1\n- group: 2\n  <<: {student: 1}\n", False),
        ("- group: 1\n- group: 2\n  ssh_keys:\n    - |\n      key\n# end\n- group: 3\n", False),
        ("- group: 1\n- group: 2\n  ssh_keys: >-\n    a\n    b\n\n- group: 3\n", False),
        ("- group: 1\n- group: 2\n  kept:\n    - 1 # a\n    - 2\n", False),
        ("- group: 1\n- group: 2\n  kept:\n", False),
        ("- group: 1\r\n- group: 2\r\n  student: 1\r\n", False),
        ('group,student,ssh_keys\r\n1,1,\r\n1,2,"a;\nb"\r\n1,3,"c;\r\nd"\r\n', True),
        ("group,student,,\n1,1,,\n1,2,,\n", True),
        ("\ufeffgroup,student\n1,1\n1,2\n\n   \n", True),
    ],
)
def test_an_edit_reaches_its_student_or_nobody(text: str, as_csv: bool) -> None:
    read = rows_of_csv if as_csv else rows_of_yaml
    before = [row.options for row in read(text)]
    try:
        after = rosterfile.edited(text, 1, {"generation": 2, "kept": [1, 3]}, as_csv=as_csv)
    except ValueError:
        assert "&" in text, "this student can be edited"
        return
    edited = [row.options for row in read(after)]
    new = {"generation": "2", "kept": ["1", "3"]} if as_csv else {"generation": 2, "kept": [1, 3]}
    assert edited == [before[0], {**before[1], **new}, *before[2:]]


@pytest.mark.parametrize("text", ["a: \x01", "? [a]\n: 1", "- !!timestamp x", "[" * 5000, "- !!int x"])
def test_what_is_no_yaml(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        rows_of_yaml(text)


def test_a_spreadsheet_that_separates_by_semicolons_is_told_so() -> None:
    with pytest.raises(ValueError, match="separated by semicolons, not commas"):
        rows_of_csv("group;student\n1;1\n")
