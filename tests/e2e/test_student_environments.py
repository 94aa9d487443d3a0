"""A class on two hosts, from its first day to the end of term; each test builds on those before it."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests import places
from tests.conftest import ROOT
from tests.contract.conftest import make_key
from tests.e2e.guest import GuestLogin
from tests.e2e.reviews import Config, Reviewed
from tests.e2e.school import FOLDER, NETWORK, School, changed, host, roster

DIFFERS = 2  # the exit status of `make drift`
HELD_UP = 3  # the exit status of a change that was held up
MARKER = "/home/student/marker"
STUDENTS = ("g1s1", "g1s2", "g2s1")


@pytest.fixture(scope="module")
def school(
    engine: None,  # noqa: ARG001
    guest_image: Path,  # noqa: ARG001
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[School]:
    folder = tmp_path_factory.mktemp("school")
    key = make_key(folder / "id")
    guest = {"image": "debian-12", "memory_mib": 256, "disk_gib": 3, "ssh_keys": [key]}
    made = School(
        stack="class",
        file=folder / "Pulumi.class.yaml",
        key=str(folder / "id"),
        hosts=[host("h1", 11), host("h2", 12)],
        templates=[{"name": "small", "guests": [guest]}],
        roster=roster(places.address(100, NETWORK), (1, 1, "h1"), (1, 2, "h1"), (2, 1, "h2")),
    )
    made.make("down")  # what a killed run left
    shutil.rmtree(FOLDER, ignore_errors=True)
    failed = request.session.testsfailed
    yield made
    if request.session.testsfailed > failed:
        print("\n".join(made.log))  # noqa: T201 - pytest shows it with the failure
    made.make("down")
    shutil.rmtree(FOLDER, ignore_errors=True)


def boot_id(school: School, name: str) -> str:
    return school.login(name).ssh("cat", "/proc/sys/kernel/random/boot_id")


def mark(school: School, name: str) -> None:
    school.login(name).ssh("sh", "-c", f"echo {name} >{MARKER}; sync")


def marker(school: School, name: str) -> str:
    return school.login(name).ssh("cat", MARKER, check=False).strip()


def test_a_host_that_is_down_fails_its_own_students_only(school: School) -> None:
    one_host = replace(school, hosts=school.hosts[:1], roster={**school.roster, "students": []})
    one_host.done("machines")
    (FOLDER / "known_hosts").open("a").write((FOLDER / "known_hosts").read_text().replace(".11 ", ".12 "))
    outcome = school.pulumi("up", "--yes", "--skip-preview", "--continue-on-error")
    assert outcome.status != 0
    assert re.search(r"h2 \(root@\S+ port 22\): open a TCP connection", outcome.text)
    assert {school.login(name).answers() for name in ("g1s1", "g1s2")} == {True}
    school.done("up")
    assert school.login("g2s1").answers()


def test_everybody_has_what_the_roster_says(school: School) -> None:
    assert changed(school.done("up")) == set()
    for name, number in zip(STUDENTS, (111, 112, 121), strict=True):
        login = school.login(name)
        assert login.address == str(places.address(number, NETWORK))
        assert login.ssh("hostname").strip() == name
        known = login.ssh("getent", "hosts", name, "h2" if name == "g2s1" else "h1").split()
        assert str(places.address(12 if name == "g2s1" else 11, NETWORK)) in known
        mark(school, name)


def test_teacher_and_students_are_told_how_to_log_in_and_who_is_there(school: School) -> None:
    school.done("access")
    folder = ROOT / ".lab/access/class"
    login = [
        "ssh",
        "-F",
        str(folder / "ssh_config"),
        "-i",
        school.key,
        "-o",
        "BatchMode=yes",
        "g1s2",
        "hostname",
    ]
    done = subprocess.run(login, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "g1s2"), done.stderr
    assert {f"{name}.md" for name in STUDENTS} <= {path.name for path in folder.iterdir()}
    shutil.rmtree(folder)
    shown = school.done("show").text
    for name in STUDENTS:
        assert re.search(rf"vnet\d+.*\b{name}\b", shown), shown
    assert max(len(line) for line in shown.splitlines()) <= 80


def test_an_edited_key_waits_for_the_next_boot_and_costs_no_disk(school: School, tmp_path: Path) -> None:
    (guest,) = school.templates[0]["guests"]
    guest["ssh_keys"].append(make_key(tmp_path / "new"))
    before = {name: boot_id(school, name) for name in STUDENTS}
    outcome = school.done("up")
    for name in STUDENTS:
        assert f"takes effect at the next boot of {name}" in outcome.text
    assert not {name for name in changed(outcome) if name.endswith("-g1")}
    assert {name: boot_id(school, name) for name in STUDENTS} == before
    new = {name: replace(school.login(name), identity_file=str(tmp_path / "new")) for name in STUDENTS}
    assert {login.answers() for login in new.values()} == {False}
    school.done("apply", "--student", ",".join(STUDENTS))
    assert {login.answers() for login in new.values()} == {True}
    assert [marker(school, name) for name in STUDENTS] == list(STUDENTS)
    assert changed(school.done("up")) == set()


def test_a_reset_gives_one_student_a_new_disk_and_touches_nobody_else(school: School) -> None:
    login, neighbours = school.login("g1s2"), {name: boot_id(school, name) for name in ("g1s1", "g2s1")}
    exported = school.engine.outputs(school.stack)
    # who has left the roster has not left the hosts: that is for the next `up`, which asks
    (leaver,) = (one for one in school.roster["students"] if (one["group"], one["student"]) == (1, 1))
    school.roster["students"].remove(leaver)
    outcome = school.done("reset", "--student", "g1s2")
    school.roster["students"].insert(0, leaver)
    assert "g1s2 gets the disk of generation 2; kept: generation 1" in outcome.text
    assert {name.split("-")[0] for name in changed(outcome)} == {"g1s2"}
    assert login.answers(), "another host key, or another address"
    assert marker(school, "g1s2") == ""
    assert {name: boot_id(school, name) for name in neighbours} == neighbours
    assert school.engine.outputs(school.stack) == exported
    assert changed(school.done("up")) == set()


def test_undoing_it_brings_the_old_disk_back(school: School) -> None:
    login = school.login("g1s2")
    school.login("g1s2").ssh("sh", "-c", f"echo second >{MARKER}; sync")
    outcome = school.done("undo-reset", "--student", "g1s2")
    assert {name.split("-")[0] for name in changed(outcome)} == {"g1s2"}
    assert login.answers()
    assert marker(school, "g1s2") == "g1s2"
    disks = school.on("h1", "ls /var/lib/libvirt/images/kvm-lab-class").split()
    assert {"g1s2-g1.qcow2", "g1s2-g2.qcow2"} <= set(disks)
    assert school.student("g1s2") == {"group": 1, "student": 2, "host": "h1", "generation": 1, "kept": [2]}


def test_a_reset_that_cannot_be_made_leaves_the_guest_with_its_disk(school: School) -> None:
    before = boot_id(school, "g1s2")
    taken = "/var/lib/libvirt/images/kvm-lab-class/g1s2-g3.qcow2"
    school.on("h1", f"echo theirs >{taken}")
    outcome = school.make("reset", "--student", "g1s2")
    assert outcome.status != 0
    assert "g1s2-g3.qcow2" in outcome.text
    assert "class-g1s2 runs again, with the disk that it had" in outcome.text
    assert "power was cut" not in outcome.text
    assert "reset is not done" in outcome.text
    # the next command writes the roster as it was before; that disk was never made: nobody is asked for it
    assert not changed(school.done("up")) & {"g1s2-g1", "g1s2-g2"}
    assert school.on("h1", f"cat {taken}; rm {taken}") == "theirs\n"
    school.login("g1s2").wait()
    assert marker(school, "g1s2") == "g1s2"
    assert boot_id(school, "g1s2") != before


def test_what_differs_from_the_state_is_told_and_mended(school: School) -> None:
    school.on("h1", "ip link set br0 type bridge stp_state 1; virsh destroy class-g1s1")
    outcome = school.make("drift")
    assert outcome.status == DIFFERS, outcome.text
    assert "its bridge: stp is off in the state, on the host files: off, kernel: on" in outcome.text
    assert "it is off" in outcome.text
    assert {"h2", "g1s2", "g2s1"} & set(outcome.text.replace(",", " ").replace(":", " ").split()) == set()
    assert "stp_state 1" in school.on("h1", "ip -d link show br0"), "it was only to be looked at"
    school.because("network-with-guests", "h1")
    school.done("up", "--refresh")
    assert school.make("drift").status == 0
    school.reasons.clear()


def test_an_environment_moves_to_another_host_only_where_that_may_cost_its_disk(school: School) -> None:
    school.student("g2s1")["host"] = "h1"
    refused = school.pulumi("preview")
    assert refused.status != 0
    assert "g2s1: its disk is on host h2, asked for is h1" in refused.text
    school.student("g2s1")["discard_disk"] = True
    held_up = school.make("up")
    assert held_up.status == HELD_UP
    assert "delete-disk g2s1-g1: refused" in held_up.text
    school.because("delete-disk", "g2s1-g1")
    outcome = school.done("up")
    # the base image on h2 is not needed any more
    assert {name.split("-")[0] for name in changed(outcome)} == {"g2s1", "h2"}
    assert school.login("g2s1").answers()
    assert marker(school, "g2s1") == ""
    assert "g2s1" not in school.on("h2", "virsh list --all --name; ls -R /var/lib/libvirt/images")
    del school.student("g2s1")["discard_disk"]


def test_a_student_comes_and_one_goes_whose_disk_was_given_up(school: School) -> None:
    before = {name: boot_id(school, name) for name in ("g1s1", "g2s1")}
    leaving = school.student("g1s2")
    school.roster["students"].remove(leaving)
    school.roster["students"].insert(0, {"group": 2, "student": 2, "host": "h2"})
    refused = school.make("up")
    assert refused.status != 0
    assert "protect" in refused.text
    assert school.on("h1", "ls /var/lib/libvirt/images/kvm-lab-class/g1s2-g1.qcow2").strip()
    school.roster["students"].append({**leaving, "protect": False})
    school.done("up")
    assert school.login("g2s2").answers()
    school.roster["students"].pop()
    school.because("delete-disk", "g1s2-g1")
    school.because("delete-disk", "g1s2-g2")
    outcome = school.done("up")
    assert {name.split("-")[0] for name in changed(outcome)} == {"g1s2"}
    assert "g1s2" not in school.on("h1", "virsh list --all --name; ls -R /var/lib/libvirt/images")
    assert {name: boot_id(school, name) for name in before} == before


def test_a_host_of_ones_own_is_reset_with_what_its_student_made(school: School) -> None:
    own = {key: value for key, value in host("", 0).items() if key not in ("name", "address")}
    school.templates.append({"name": "own", "hypervisor": own})
    key = Path(f"{school.key}.pub").read_text().strip()
    for entry in school.roster["students"]:
        entry["template"] = "small"
    school.roster["students"].append({"group": 4, "student": 1, "template": "own", "ssh_keys": [key]})
    school.done("up")
    address = str(places.address(141, NETWORK))
    (host_key,) = school.host("g4s1").pinned_keys[:1]
    login = GuestLogin(address, "student", host_key, school.key, FOLDER / "known_hosts.g4s1")
    assert login.ssh("sudo", "-n", "id", "-u").strip() == "0"
    made = (
        "<domain type='qemu'><name>mine</name><memory>65536</memory><os><type>hvm</type></os><devices>"
        "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/srv/mine/disk.img'/>"
        "<target dev='hda' bus='ide'/></disk></devices></domain>"
    )
    script = f"""set -e
mkdir /srv/mine; echo data >/srv/mine/disk.img; echo {shlex.quote(made)} >mine.xml
virsh -c qemu:///system pool-define-as mine dir --target /srv/mine
virsh -c qemu:///system pool-start mine
virsh -c qemu:///system define mine.xml"""
    login.ssh("sudo", "sh", "-c", script)
    login.ssh("sudo", "sh", "-c", "sed -i s/bridge_fd.*/bridge_fd\\ 9/ /etc/network/interfaces")
    school.done("reset", "--student", "g4s1")
    assert school.on("g4s1", "virsh list --all --name; ls /srv/mine").split() == []
    assert "bridge_fd 0" in school.on("g4s1", "cat /etc/network/interfaces")
    school.done("undo-reset", "--student", "g4s1")
    assert school.on("g4s1", "virsh list --all --name; cat /srv/mine/disk.img").split() == ["mine", "data"]
    school.on("g4s1", "virsh undefine mine; virsh pool-destroy mine; virsh pool-undefine mine")
    school.student("g4s1")["protect"] = False
    school.done("up")
    school.roster["students"].pop()
    assert "g4s1" in changed(school.done("up"))


def test_a_state_is_exported_without_its_secrets(school: School, reviewed: Reviewed) -> None:
    school.done("state-export", "--out", str(reviewed.state))
    exported = reviewed.state.read_text()
    assert "g1s1" in exported
    for secret in ("PRIVATE KEY", "ciphertext", "b3BlbnNzaC1rZXktdj"):  # the last: how such a key begins
        assert secret not in exported
    Reviewed.of("class", school.file, reviewed.state, reviewed.folder)


def test_a_saved_plan_is_reported(school: School, tmp_path: Path) -> None:
    school.templates[0]["guests"][0]["memory_mib"] += 64
    (tmp_path / "plan.json").write_text(school.pulumi("preview", "--json", "--show-sames").text)
    school.templates[0]["guests"][0]["memory_mib"] -= 64
    school.done("preview-report", "--plan", str(tmp_path / "plan.json"), "--out", str(tmp_path))
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "interrupts guests"
    assert {effect["guest"] for effect in report["effects"]} == {"g1s1", "g2s1", "g2s2"}
    text = (tmp_path / "report.md").read_text()
    assert "memory 256 MiB becomes 320 MiB" in text
    assert "```mermaid" in text


def test_a_second_lab_beside_it_and_both_go_without_a_trace(school: School) -> None:
    second = replace(
        school,
        stack="other",
        file=school.file.with_name("Pulumi.other.yaml"),
        hosts=school.hosts[:1],
        templates=school.templates[:1],
        roster=roster(places.address(200, NETWORK), (1, 1, "h1")),
        reasons=[],
        log=[],
    )
    # as on machines that are no testbed's
    elsewhere = ("--range", "203.0.113.0/24", "--stack-file", str(second.settings()))
    held_up = second.make("deploy", *elsewhere)
    assert held_up.status == HELD_UP
    assert "that was not approved" in held_up.text
    second.done("deploy", *elsewhere, "--approved")
    assert school.login("g1s1").answers()
    assert second.login("g1s1").answers()
    protected = school.pulumi("destroy", "--yes")  # its preview finds the protected disks
    assert protected.status != 0
    assert "protect" in protected.text
    assert school.login("g1s1").answers()
    school.roster["protect"] = False
    school.done("up")
    gone = school.pulumi("destroy", "--yes", "--skip-preview")
    assert gone.status == 0, gone.text
    assert second.login("g1s1").answers()
    assert changed(second.done("up")) == set()
    second.roster["protect"] = False
    second.done("up")
    gone = second.pulumi("destroy", "--yes", "--skip-preview")
    assert gone.status == 0, gone.text
    for name in ("h1", "h2"):
        left = school.on(
            name, "ls -A /var/lib/kvm-lab 2>/dev/null; ls -A /var/lib/libvirt/images 2>/dev/null || true"
        )
        assert left.split() == []
        assert "br0" not in school.on(name, "ls /sys/class/net; cat /etc/network/interfaces")
    assert school.make("down").status == 0


@pytest.fixture(scope="module")
def reviewed(school: School) -> Reviewed:
    """Return what a review of the class has once its machines are gone: two checkouts, and its state."""
    folder = school.file.parent
    return Reviewed("class", folder / "review", folder / "state.json")


def give(option: str, value: object) -> Callable[[Config], None]:
    def edit(config: Config) -> None:
        config["kvm-lab:templates"][0]["guests"][0][option] = value

    return edit


def leave(config: Config) -> None:
    config["kvm-lab:roster"]["students"].pop()
    config["kvm-lab:roster"]["protect"] = False


def turn_stp_on(config: Config) -> None:
    config["kvm-lab:hosts"][1]["bridge"] |= {"stp": True, "forward_delay": 4}


@pytest.mark.parametrize(
    ("edit", "verdict", "refused"),
    [
        (lambda _: None, "nothing", []),
        (give("packages", ["tree"]), "safe", []),
        (give("memory_mib", 320), "interrupts guests", []),
        (leave, "destroys data", ["protected", "delete-disk"]),
        (turn_stp_on, "touches a host's own network", []),
    ],
)
def test_changes_are_reviewed_where_neither_hosts_nor_secrets_nor_keys_are(
    reviewed: Reviewed, edit: Callable[[Config], None], verdict: str, refused: list[str]
) -> None:
    assert not FOLDER.exists(), "the machines and their keys should be gone"
    report = reviewed.report(edit)
    assert report["verdict"] == verdict
    assert [one["rule"] for one in report["refusals"]] == refused
    assert report["refused"] == bool(refused)
    assert any("No host was looked at" in note for note in report["notes"])


def test_the_first_review_of_a_stack_has_an_empty_state(reviewed: Reviewed, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"version": 3, "deployment": {}}')
    first = replace(reviewed, state=tmp_path / "state.json")
    report = first.report(lambda _: None)
    assert report["verdict"] == "touches a host's own network"
    assert not report["refused"]
    assert any("There is no state" in note for note in report["notes"])
