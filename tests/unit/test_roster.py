"""What follows from a roster, and the words for what is wrong in it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from config import ConfigError, Lab, mac_address
from stackfile import pattern

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNROhSeX9UlMnAHYF5XvEqyrMLdpyHG0rxSlJPUGPE0"
STUDENTS_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"


def stack_file(*students: dict[str, Any], **roster: object) -> dict[str, Any]:
    """Return a stack with two hosts, two kinds of template and these students."""
    host = {"host_keys": [KEY], "bridge": {"port": "eth0"}}
    guest = {"image": "debian", "memory_mib": 512, "ssh_keys": [KEY]}
    return {
        "images": [{"name": "debian", "url": "https://images.example/debian.qcow2", "sha256": "a" * 64}],
        "templates": [
            {"name": "one", "guests": [guest]},
            {"name": "two", "guests": [{**guest, "name": "web"}, {**guest, "name": "db"}]},
            {"name": "own", "hypervisor": {**host, "migration": True}, "guests": [guest]},
        ],
        "hosts": [
            {"name": "h1", "address": "198.51.100.2", "memory_mib": 2000, **host},
            {"name": "h2", "address": "198.51.100.3", **host},
        ],
        "roster": {
            "network": "198.51.100.0/24",
            "address": "198.51.100.{100 + 10*group + student + 50*guest}",
            "gateway": "198.51.100.1",
            "students": list(students),
            **roster,
        },
    }


def student(
    group: int, number: int, host: str | None = "h1", template: str = "one", **more: object
) -> dict[str, Any]:
    placed = {"host": host} if host else {}
    return {"group": group, "student": number, **placed, "template": template, **more}


def write_stack_file(folder: Path, written: dict[str, Any]) -> Path:
    """Write Pulumi.class.yaml with these options, and return it."""
    file = folder / "Pulumi.class.yaml"
    file.write_text(yaml.safe_dump({"config": {f"kvm-lab:{key}": value for key, value in written.items()}}))
    return file


def lab_of(written: dict[str, Any], root: Path = Path()) -> Lab:
    return Lab.from_mapping(written, root, stack="class")


def mistakes(written: dict[str, Any], root: Path = Path()) -> dict[str, str]:
    with pytest.raises(ConfigError) as raised:
        lab_of(written, root)
    return {mistake.where: f"{mistake.expected}; {mistake.seen}" for mistake in raised.value.mistakes}


def test_names_addresses_and_keys_follow_from_the_numbers() -> None:
    lab = lab_of(stack_file(student(1, 2, ssh_keys=[STUDENTS_KEY]), student(2, 1, "h2", "two")))
    one, two = lab.environments
    assert (one.name, one.host.name, [guest.name for guest in one.guests]) == ("g1s2", "h1", ["g1s2"])
    assert str(one.guests[0].address) == "198.51.100.112/24"
    assert str(one.guests[0].gateway) == "198.51.100.1"
    assert one.guests[0].authorized_keys == (KEY, STUDENTS_KEY)
    assert one.login == (STUDENTS_KEY,)
    assert [(guest.name, str(guest.address.ip)) for guest in two.guests] == [
        ("g2s1-web", "198.51.100.121"),
        ("g2s1-db", "198.51.100.171"),
    ]
    assert [guest for _, guest in lab.guests] == [*one.guests, *two.guests]
    assert len({mac_address("class", guest.name) for _, guest in lab.guests}) == 3
    assert all(guest.protect and guest.generation == 1 and guest.kept == () for _, guest in lab.guests)


def test_a_students_own_host_is_a_host_of_the_lab() -> None:
    written = stack_file(student(1, 2, None, "own", ssh_keys=[STUDENTS_KEY]))
    (own,) = lab_of(written).environments
    assert (own.own_host, own.host.name, own.host.address) == (True, "g1s2", "198.51.100.112")
    assert own.host.migration
    assert own.host.packages == ("sudo",)
    assert (own.user, own.login) == ("student", (STUDENTS_KEY,))
    assert [(guest.name, str(guest.address.ip)) for guest in own.guests] == [("g1s2-1", "198.51.100.162")]
    written["hosts"] = []
    assert [host.name for host in lab_of(written).hosts] == ["g1s2"]


def test_nobody_could_log_in_to_an_own_host_without_a_key() -> None:
    found = mistakes(stack_file(student(1, 2, None, "own")))
    assert list(found) == ["roster.students[0] (g1s2) ssh_keys"]


def test_who_comes_or_goes_changes_nobody_else() -> None:
    all_of_them = [student(1, 1), student(1, 2), student(2, 1, "h2", "two")]
    before = lab_of(stack_file(*all_of_them))
    after = lab_of(stack_file(all_of_them[2], student(3, 3, "h2"), all_of_them[0]))
    kept = {one.name: one for one in after.environments}
    assert [kept[one.name].guests == one.guests for one in before.environments if one.name in kept] == [
        True,
        True,
    ]
    assert kept.keys() == {"g2s1", "g3s3", "g1s1"}


@pytest.mark.parametrize(
    ("options", "keep", "expected"),
    [
        ({}, 1, ()),
        ({"generation": 2}, 1, (1,)),
        ({"generation": 5}, 2, (4, 3)),
        ({"generation": 2}, 3, (1,)),
        ({"generation": 3}, 0, ()),
        ({"generation": 2, "kept": [3]}, 1, (3,)),
        ({"generation": 3, "kept": []}, 1, ()),
    ],
)
def test_which_disks_stay(options: dict[str, Any], keep: int, expected: tuple[int, ...]) -> None:
    lab = lab_of(stack_file(student(1, 1, **options), keep=keep))
    assert lab.environments[0].guests[0].kept == expected


def test_protection_is_lifted_for_one_or_for_all() -> None:
    lifted = lab_of(stack_file(student(1, 1, protect=False), student(1, 2)))
    assert [one.guests[0].protect for one in lifted.environments] == [False, True]
    all_lifted = lab_of(stack_file(student(1, 1, protect=True), student(1, 2), protect=False))
    assert [one.guests[0].protect for one in all_lifted.environments] == [True, False]


def test_all_mistakes_at_once_with_student_and_line(tmp_path: Path) -> None:
    (tmp_path / "students.csv").write_text(
        "group,student,host,template,ssh_keys\n"
        "1,1,h1,one,\n"
        "1,1,h2,one,\n"
        '\n1,3,h1,one,"no key at all"\n'
        "x,4,h1,one,\n"
        "1,5,h3,one,\n"
        "1,6,h1,three,\n"
        "30,1,h1,one,\n"
        "1,7,h1,two,\n"
        "1,8,h1,own,\n"
    )
    written = stack_file()
    written["roster"] = {**written["roster"], "file": "students.csv"}
    del written["roster"]["students"]
    found = mistakes(written, tmp_path)
    assert found["students.csv:3 (g1s1)"].startswith(
        "a guest address once in the stack; 198.51.100.111 as in"
    )
    assert found["students.csv:5 (g1s3) ssh_keys[0]"].endswith("no key at all")
    assert found["students.csv:6 group"].endswith("; x")
    assert found["students.csv:7 (g1s5) host"] == "one of the stack's hosts: h1, h2; h3"
    assert found["students.csv:8 (g1s6) template"].startswith(
        "one of the stack's templates: one, two, own; three"
    )
    assert "one of 198.51.100.0/24" in found["students.csv:9 (g30s1)"]
    assert found["students.csv:10 (g1s7)"] == (
        "no more than the 2000 MiB of memory that h1 has for its guests; 2048 with this guest"
    )
    assert found["students.csv:11 (g1s8) host"] == "no host: with this template it is g1s8 itself; h1"
    assert found["students.csv:11 (g1s8) ssh_keys"].startswith("a key here or in ssh_key_files")
    assert len(found) == 9


def test_a_template_is_wrong_once_however_many_students_have_it() -> None:
    written = stack_file(student(1, 1), student(1, 2), student(1, 3))
    guest = written["templates"][0]["guests"][0]
    written["templates"][0]["guests"] = [{**guest, "image": "debain", "vcpus": 0}]
    assert list(mistakes(written)) == [
        "templates[0].guests[0].image (template one)",
        "templates[0].guests[0].vcpus (template one)",
    ]


def test_a_hosts_options_in_a_template_are_judged() -> None:
    written = stack_file(student(1, 1, None, "own", ssh_keys=[KEY]))
    written["templates"][2]["hypervisor"] |= {"packages": ["BAD NAME"], "foo": 1}
    found = mistakes(written)
    assert list(found) == [
        "templates[2].hypervisor.packages[0] (template own)",
        "templates[2].hypervisor.foo (template own)",
    ]


@pytest.mark.parametrize(
    ("template", "where"),
    [
        ({"name": "x"}, "templates[3].hypervisor (template x)"),
        ({"name": "x", "hypervisor": {"name": "y"}}, "templates[3].hypervisor (template x)"),
        ({"name": "one", "hypervisor": {}}, "templates[3].name (template one)"),
    ],
)
def test_what_is_no_template(template: dict[str, Any], where: str) -> None:
    written = stack_file()
    written["templates"].append(template)
    assert list(mistakes(written)) == [where]


def test_two_environments_never_have_one_name() -> None:
    found = mistakes(stack_file(student(1, 1), student(1, 2, "h2", "two"), name="g{group}"))
    assert found["roster.students[1] (g1)"] == (
        "an environment's name once in the roster; g1 as in roster.students[0] (g1)"
    )


@pytest.mark.parametrize("odd", [[1], {"a": 1}, None, 7, "-"])
def test_odd_names_are_mistakes_and_nothing_worse(odd: object) -> None:
    written = stack_file(student(1, 1))
    written["templates"][0]["name"] = written["hosts"][0]["name"] = odd
    assert {"templates[0].name", "hosts[0].name"} <= {where.split(" (")[0] for where in mistakes(written)}


def test_a_students_address_is_nobody_elses() -> None:
    written = stack_file(student(1, 2))
    written["hosts"][0]["address"] = "198.51.100.112"
    assert "the host's address in this stack" in mistakes(written)["roster.students[0] (g1s2)"]


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"address": "198.51.100.{group"}, "roster.address"),
        ({"address": "198.51.100.{__import__('os')}"}, "roster.address"),
        ({"name": "g{guest}"}, "roster.name"),
        ({"name": "-{group}"}, "roster.students[0]"),
        ({"network": "198.51.100.7/24"}, "roster.network"),
        ({"gateway": "198.51.101.1"}, "roster.gateway"),
        ({"file": "x.csv"}, "roster.file"),
        ({"keep": 11}, "roster.keep"),
    ],
)
def test_a_roster_is_wrong_once(options: dict[str, Any], where: str) -> None:
    found = mistakes(stack_file(student(1, 1), **options))
    assert list(found) == [where]


def test_a_disk_that_is_kept_counts() -> None:
    written = stack_file(student(1, 1, generation=3, kept=[1, 2]), student(1, 2))
    written["hosts"][0]["disk_gib"] = 39
    assert list(mistakes(written)) == ["roster.students[1] (g1s2)"]
    written["hosts"][0]["disk_gib"] = 40
    assert len(lab_of(written).environments) == 2


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("g{group}s{student}", "g3s12"),
        ("g{group:02}s{student:03}", "g03s012"),
        ("{100 + 10*group + student}", "142"),
        ("{(group - 1) // 2}.{group % 2}", "1.1"),
        ("plain", "plain"),
    ],
)
def test_patterns(written: str, expected: str) -> None:
    assert pattern.render(written, {"group": 3, "student": 12}) == expected


@pytest.mark.parametrize(
    "written", ["{group", "group}", "{}", "{x}", "{group**9}", "{1.5}", "{1//0}", "{group.real}", "{{group}}"]
)
def test_what_is_no_pattern(written: str) -> None:
    with pytest.raises(ValueError, match=r"braces|division"):
        pattern.render(written, {"group": 3})
