"""Resets and their way back as edits of the roster."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from config import Environment, Lab
from lab import students
from providers.errors import LabError
from tests.unit.test_roster import KEY, lab_of, stack_file, student, write_stack_file


def after(environment: Environment, edit: dict[str, object], keep: int = 1) -> Environment:
    """Return the environment of a roster in which the edit was made."""
    written = {**environment.student.model_dump(include={"group", "student", "host", "template"}), **edit}
    lab = lab_of(stack_file({key: value for key, value in written.items() if value is not None}, keep=keep))
    return lab.environments[0]


def disks(environment: Environment) -> tuple[int, tuple[int, ...]]:
    guest = environment.guests[0]
    return guest.generation, guest.kept


def test_a_reset_keeps_the_disk_and_undoing_it_brings_it_back() -> None:
    first = lab_of(stack_file(student(1, 1))).environments[0]
    edit = students.reset(first, 1)
    assert edit == {"generation": 2, "kept": None}
    assert (
        students.told(first, edit, 1)
        == "g1s1 gets the disk of generation 2; kept: generation 1 (make undo-reset STUDENT=g1s1)"
    )
    second = after(first, edit)
    assert disks(second) == (2, (1,))
    back = after(first, students.undo_reset(second, 1))
    assert disks(back) == (1, (2,))
    again = after(first, students.undo_reset(back, 1))
    assert disks(again) == (2, (1,))
    # the disk that was in use is kept, not the one of the highest number
    assert disks(after(first, students.reset(back, 1))) == (3, (1,))


def test_more_disks_are_kept_when_the_roster_says_so() -> None:
    now = lab_of(stack_file(student(1, 1), keep=2)).environments[0]
    for expected in ((2, (1,)), (3, (2, 1)), (4, (3, 2))):
        now = after(now, students.reset(now, 2), keep=2)
        assert disks(now) == expected
    now = after(now, students.undo_reset(now, 2), keep=2)
    assert disks(now) == (3, (4, 2))


def test_what_cannot_be_undone_or_would_lose_a_disk_is_refused() -> None:
    first = lab_of(stack_file(student(1, 1))).environments[0]
    with pytest.raises(LabError, match="no disk but that of generation 1"):
        students.undo_reset(first, 1)
    with pytest.raises(LabError, match="keep: 0"):
        students.reset(first, 0)
    lifted = lab_of(stack_file(student(1, 1, protect=False))).environments[0]
    assert students.reset(lifted, 0) == {"generation": 2, "kept": None}


def test_a_student_that_is_not_there() -> None:
    lab = lab_of(stack_file(student(1, 1), student(1, 2)))
    with pytest.raises(LabError, match=r"g1s1, g1s2 \(did you mean"):
        students.environment_of(lab, "g1s22")
    with pytest.raises(LabError, match="no roster"):
        students.roster_of(Lab.from_mapping({"hosts": stack_file()["hosts"]}, Path(), stack="x"))


@pytest.mark.parametrize("kind", ["stack file", "students.csv", "students.yaml"])
def test_the_edit_is_written_where_the_student_stands(tmp_path: Path, kind: str) -> None:
    written = stack_file(student(1, 1), student(1, 2))
    rows = written["roster"].pop("students")
    if kind == "stack file":
        written["roster"]["students"] = rows
    else:
        written["roster"]["file"] = kind
        csv = "group,student,host,template\n1,1,h1,one\n1,2,h1,one\n"
        (tmp_path / kind).write_text(csv if kind.endswith("csv") else yaml.safe_dump(rows))
    file = write_stack_file(tmp_path, written)
    lab = Lab.from_stack_file(file)
    environment = students.environment_of(lab, "g1s2")
    edit = {"generation": 3, "kept": [1]}
    where = students.edit_roster(file, tmp_path, students.roster_of(lab), environment, edit)
    assert where == (file if kind == "stack file" else tmp_path / kind)
    edited = Lab.from_stack_file(file).environments
    assert [disks(one) for one in edited] == [(1, ()), (3, (1,))]
    assert not list(tmp_path.glob(".*"))


def state(*names: str, generation: int = 1, answered: bool = True) -> list[dict[str, Any]]:
    """Return what `pulumi stack export` shows of these guests; the UUIDs are NAME-uuid."""
    found: list[dict[str, Any]] = []
    for name in names:
        uuid = f"{name}-uuid"
        file = f"/var/lib/libvirt/images/kvm-lab-class/{name}-g{generation}.qcow2"
        made = [
            ("libvirt:index/volume:Volume", f"{name}-g{generation}", {}),
            ("libvirt:index/domain:Domain", name, {"id": uuid, "name": name, "disks": [{"volumeId": file}]}),
            (
                "pulumi-python:dynamic/kvm:GuestReady",
                name,
                {"domain_id": uuid if answered else "an earlier one"},
            ),
        ]
        found += [
            {"type": kind, "urn": f"urn:x::{kind}::{n}", "outputs": outputs} for kind, n, outputs in made
        ]
    return found


def test_a_reset_that_was_broken_off_is_not_counted_on() -> None:
    """Another one would let go of the disk that the student worked on."""
    second = lab_of(stack_file(student(1, 1, generation=2))).environments[0]
    students.refuse_unsettled(state("g1s1", generation=2), second, answers=True)
    for before, seen in (
        (state("g1s1"), "does not have the disk of generation 2"),
        (state("g1s1", generation=2, answered=False), "has not answered"),
        (state("g1s1")[:1], "does not have"),
        ([], "is not made yet"),
        (state("g1s11", generation=2), "is not made yet"),
    ):
        with pytest.raises(LabError, match=seen):
            students.refuse_unsettled(before, second, answers=True)
    students.refuse_unsettled(state("g1s1", generation=2, answered=False), second, answers=False)


def test_a_host_that_is_not_where_the_roster_says_is_not_reset() -> None:
    own = lab_of(stack_file(student(1, 1, None, "own", ssh_keys=[KEY], generation=2))).environments[0]
    host = {
        "type": "pulumi-python:dynamic/kvm:StudentHost",
        "urn": "urn:x::y::g1s1",
        "outputs": {"generation": 1},
    }
    guests = state("g1s1-1", generation=2)
    with pytest.raises(LabError, match="not in generation 2"):
        students.refuse_unsettled([*guests, host], own, answers=True)
    students.refuse_unsettled([*guests, {**host, "outputs": {"generation": 2.0}}], own, answers=True)


def test_only_a_disk_that_was_made_comes_back() -> None:
    """A roster of last term has numbers of disks that went with it."""
    later = lab_of(stack_file(student(1, 1, generation=3))).environments[0]
    with pytest.raises(LabError, match="no disk of generation 2 of g1s1"):
        students.refuse_unmade_disks(state("g1s1", generation=3), later)
    students.refuse_unmade_disks(state("g1s1", generation=2), later)


def test_a_host_of_ones_own_is_protected_too() -> None:
    written = stack_file(student(1, 1, None, "own", ssh_keys=[KEY]))
    written["templates"][2]["guests"] = []
    with pytest.raises(LabError, match="keep: 0"):
        students.reset(lab_of(written).environments[0], 0)


URN = "urn:pulumi:class::kvm-lab::kvm:index:"


def shared_image(*guests: str) -> list[dict[str, Any]]:
    """Return a host's image in the state, and these students' disks, which are made from it."""
    image = f"{URN}HypervisorHost$pulumi-python:dynamic/kvm:BaseImage::h1-debian-aaaaaaaa"
    host = f"{URN}HypervisorHost::h1"
    made: list[dict[str, Any]] = [
        {"type": "pulumi-python:dynamic/kvm:BaseImage", "urn": image, "parent": host}
    ]
    for name in guests:
        inside = f"{URN}StudentEnvironment$kvm:index:Guest"
        guest, volume = f"{inside}::{name}", f"{inside}$libvirt:index/volume:Volume::{name}-g1"
        domain = {
            "urn": f"{inside}$libvirt:index/domain:Domain::{name}",
            "propertyDependencies": {"disks": [volume]},
            "provider": f"{URN}HypervisorHost$pulumi:providers:libvirt::h1::12ab",
        }
        made += [
            {"type": "kvm:index:Guest", "urn": guest, "parent": f"{URN}StudentEnvironment::{name}"},
            {"type": "libvirt:index/volume:Volume", "urn": volume, "parent": guest, "dependencies": [image]},
            {"type": "libvirt:index/domain:Domain", "parent": guest, **domain},
        ]
    return made


def test_the_targets_are_one_students() -> None:
    lab = lab_of(stack_file(student(1, 1), student(1, 2, None, "own", ssh_keys=[KEY])))
    former = {
        "type": "pulumi-python:dynamic/kvm:BaseImage",
        "urn": f"{URN}HypervisorHost$pulumi-python:dynamic/kvm:BaseImage::g1s2-former-bbbbbbbb",
        "parent": f"{URN}HypervisorHost::g1s2",
    }
    state = [*shared_image("g1s1"), former]
    shared, own = (students.targets(lab, "class", [one], state) for one in lab.environments)
    assert shared == [f"{URN}StudentEnvironment**::g1s1", f"{URN}StudentEnvironment**::g1s1-**"]
    assert set(own) == {
        f"{URN}StudentEnvironment**::g1s2",
        f"{URN}StudentEnvironment**::g1s2-**",
        *(f"{URN}HypervisorHost**::g1s2{name}" for name in ("", "-pool")),
        *(f"{URN}HypervisorHost**::g1s2-{image}" for image in ("debian-aaaaaaaa", "former-bbbbbbbb")),
    }
    names = [
        "StudentEnvironment$kvm:index:Guest$x::g1s11",
        "StudentEnvironment::g1s12",
        "HypervisorHost$x::h1",
    ]
    for target in shared:
        pattern = re.escape(target).replace(r"\*\*", ".*").replace(r"\*", "[^:]*")
        assert not [name for name in names if re.fullmatch(pattern, URN + name)]


def test_an_image_is_a_target_only_as_long_as_no_disk_can_depend_on_it() -> None:
    lab = lab_of(stack_file(student(1, 1), student(1, 2)))
    one = lab.environments[:1]
    assert f"{URN}HypervisorHost**::h1-debian-aaaaaaaa" in students.targets(lab, "class", one, [])
    there = shared_image("g1s1", "g1s2")
    assert not [target for target in students.targets(lab, "class", one, there) if "debian" in target]


@pytest.mark.parametrize(
    "tie",
    [
        {"dependencies": [f"{URN}StudentEnvironment$kvm:index:Guest$libvirt:index/domain:Domain::g1s1"]},
        {"propertyDependencies": {"x": [f"{URN}StudentEnvironment$kvm:index:Guest::g1s1"]}},
        {"provider": f"{URN}StudentEnvironment$kvm:index:Guest::g1s1::12ab"},
        {"deletedWith": f"{URN}StudentEnvironment$kvm:index:Guest::g1s1"},
        {"replaceWith": [f"{URN}StudentEnvironment$kvm:index:Guest::g1s1"]},
    ],
)
def test_what_depends_on_a_student_is_never_deleted_with_the_students_disk(tie: dict[str, Any]) -> None:
    """The engine deletes it, where the program does not declare it any more."""
    lab = lab_of(stack_file(student(1, 1), student(1, 2)))
    state = shared_image("g1s1", "g1s2")
    assert students.targets(lab, "class", lab.environments[:1], state)
    of_the_other = next(one for one in state if one["urn"].endswith("Guest::g1s2"))
    of_the_other.update(tie)
    with pytest.raises(LabError, match="these depend on what would change: g1s2, g1s2-g1\n"):
        students.targets(lab, "class", lab.environments[:1], state)


def test_a_second_reset_says_what_it_deletes_for_good() -> None:
    first = lab_of(stack_file(student(1, 1))).environments[0]
    second = after(first, students.reset(first, 1))
    told = students.told(second, students.reset(second, 1), 1)
    assert told.startswith("g1s1 gets the disk of generation 3; kept: generation 2 (")
    assert told.endswith("); deleted for good: generation 1")


def test_disks_in_use_are_those_of_domains_that_were_made() -> None:
    lab = lab_of(stack_file(student(1, 1), student(1, 2)))
    disk = "/pool/g1s1-g1.qcow2"
    domain = {
        "type": "libvirt:index/domain:Domain",
        "urn": "urn:pulumi:lab::kvm-lab::kvm:index:Guest$libvirt:index/domain:Domain::g1s1",
        "outputs": {"id": "12ab", "name": "lab-g1s1", "disks": [{"volumeId": disk}]},
    }
    host = lab.environments[0].host
    found = students.disks_in_use([domain], lab.environments)
    assert found == [students.DiskInUse(host, "12ab", "lab-g1s1", disk)]
    assert students.disks_in_use([domain], lab.environments[1:]) == []
    assert students.hosts_in_use(lab.environments) == [host]
    with_own_host = [*lab.environments[1:], replace(lab.environments[0], own_host=True)]
    assert students.disks_in_use([domain], with_own_host) == []
    assert students.hosts_in_use(with_own_host) == []


def test_what_was_never_made_is_to_be_made_first() -> None:
    environment = lab_of(stack_file(student(1, 1))).environments[0]
    with pytest.raises(LabError, match="g1s1 is not made yet") as refused:
        students.refuse_unsettled([], environment, answers=True)
    assert refused.value.remedy == "make it: `make up`"
