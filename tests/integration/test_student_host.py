"""A student's host, with the real libvirt: his account, resets, their undoing, interruptions."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from providers import student_reset
from providers.errors import LabError
from providers.state.student import Kept
from providers.student_host import StudentHostProvider
from providers.student_look import Place
from testbed import Machine
from tests.inputs import inputs_on

IMAGES = "/var/lib/libvirt/images"
OURS = "kvm-lab-lab"
USER = "ann"
HOME = f"/home/{USER}"
FOREIGN = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM foreign"


def shell(machine: Machine, script: str, *, check: bool = True) -> str:
    return machine.ssh(["sh", "-c", script], check=check).stdout.strip()


def public_key(machine: Machine) -> str:
    said = subprocess.run(
        ["ssh-keygen", "-y", "-f", machine.identity_file], check=True, capture_output=True, text=True
    )
    return " ".join(said.stdout.split()[:2])


def logs_in(machine: Machine, user: str, command: str) -> subprocess.CompletedProcess[str]:
    argv = [*machine.ssh_command()[:-1], f"{user}@{machine.address}", command]
    return subprocess.run(argv, check=False, capture_output=True, text=True)


@dataclass
class Student:
    """A student's host as a stack declares it."""

    machine: Machine
    inputs: dict[str, Any]
    outs: dict[str, Any] = field(default_factory=dict)

    def wants(self, **edits: object) -> dict[str, Any]:
        checked = StudentHostProvider().check({}, {**self.inputs, **edits})
        assert not checked.failures, [failure.reason for failure in checked.failures]
        self.inputs = checked.inputs
        return self.inputs

    def create(self) -> None:
        self.outs = dict(StudentHostProvider().create(self.wants()).outs or {})

    def update(self, **edits: object) -> None:
        self.outs = dict(StudentHostProvider().update("x", self.outs, self.wants(**edits)).outs or {})

    def drift(self) -> dict[str, Any]:
        """Return what a refresh sees otherwise."""
        seen: Mapping[str, Any] = StudentHostProvider().read("x", self.outs).outs or {}
        return {name: value for name, value in seen.items() if value != self.outs[name]}

    def delete(self) -> None:
        StudentHostProvider().delete("x", self.outs)


@pytest.fixture
def student(hypervisor: Machine) -> Iterator[Student]:
    props = {"user": USER, "keys": [public_key(hypervisor)], "pool": OURS}
    yield Student(hypervisor, {**inputs_on(hypervisor), **props})
    assert shell(hypervisor, "ls /var/lib/kvm-lab/student-host/*.json", check=False) == ""
    shell(hypervisor, f"userdel -rf {USER}; rm -rf {HOME} /var/lib/kvm-lab/student-host", check=False)


def test_an_account_is_made_and_removed_and_its_home_stays(student: Student) -> None:
    machine = student.machine
    student.create()
    assert student.outs["adopted"] is False
    done = logs_in(machine, USER, "sudo -n id -u && id -nG && touch work")
    assert done.stdout.splitlines()[0] == "0", done.stderr
    assert {"libvirt", "kvm"} <= set(done.stdout.splitlines()[1].split())
    assert shell(machine, f"stat -c '%a %U' /etc/sudoers.d/kvm-lab-{USER}") == "440 root"
    assert shell(machine, f"getent shadow {USER} | cut -d : -f 2") == "*"
    assert student.drift() == {}
    student.delete()
    assert shell(machine, f"id {USER}", check=False) == ""
    assert shell(machine, f"ls {HOME} /etc/sudoers.d | grep -e work -e kvm-lab") == "work"
    student.create()
    assert shell(machine, f"stat -c %U {HOME}/work") == USER
    student.delete()


def test_an_account_that_was_there_is_given_back_as_it_was(student: Student) -> None:
    machine = student.machine
    shell(machine, f"useradd -m -s /bin/bash -G kvm {USER}; runuser -u {USER} -- mkdir {HOME}/.ssh")
    # without a newline at its end
    shell(machine, f"printf %s '{FOREIGN}' | runuser -u {USER} -- tee {HOME}/.ssh/authorized_keys")
    shell(machine, f"chmod 640 {HOME}/.ssh/authorized_keys")
    look = f"id {USER}; getent shadow {USER}; cd {HOME}; ls -l .ssh | cut -c 1-30; cat .ssh/authorized_keys"
    before = shell(machine, look)
    student.create()
    assert student.outs["adopted"] is True
    assert logs_in(machine, USER, "sudo -n id -u").stdout == "0\n"
    assert FOREIGN in shell(machine, f"cat {HOME}/.ssh/authorized_keys")
    student.delete()
    assert shell(machine, look) == before


def test_drift_is_named_and_mended(student: Student) -> None:
    machine = student.machine
    student.create()
    shell(machine, f"rm /etc/sudoers.d/kvm-lab-{USER} {HOME}/.ssh/authorized_keys; gpasswd -d {USER} kvm")
    seen = student.drift()
    assert seen == {"sudo": False, "keys": [], "groups": ["libvirt"]}
    student.outs |= seen
    student.update()
    assert student.drift() == {}
    assert logs_in(machine, USER, "sudo -n id -u").stdout == "0\n"
    shell(machine, f"userdel -rf {USER}")
    assert student.drift()["user"] == "no such account"
    student.update(keys=[public_key(machine), FOREIGN])
    assert student.drift() == {}
    student.delete()


def test_another_user_takes_the_place_of_the_first(student: Student) -> None:
    student.create()
    student.update(user="bob")
    assert logs_in(student.machine, "bob", "sudo -n id -u").stdout == "0\n"
    assert shell(student.machine, f"id {USER}", check=False) == ""
    student.delete()
    assert shell(student.machine, "id bob", check=False) == ""
    shell(student.machine, "rm -r /home/bob")


def test_root_is_given_keys_only(student: Student) -> None:
    before = shell(student.machine, "cat /root/.ssh/authorized_keys; id; ls /etc/sudoers.d")
    student.wants(user="root", keys=[FOREIGN])
    student.create()
    assert student.drift() == {}
    assert FOREIGN in shell(student.machine, "cat /root/.ssh/authorized_keys")
    student.delete()
    assert shell(student.machine, "cat /root/.ssh/authorized_keys; id; ls /etc/sudoers.d") == before


def test_links_in_his_home_lead_root_nowhere(student: Student) -> None:
    machine = student.machine
    student.create()
    shell(machine, f"cd {HOME}/.ssh; rm authorized_keys; echo precious > /root/target")
    shell(machine, f"runuser -u {USER} -- ln -s /root/target {HOME}/.ssh/authorized_keys")
    with pytest.raises(LabError, match="symbolic link"):
        student.update()
    shell(machine, f"rm -r {HOME}/.ssh; runuser -u {USER} -- ln -s /root/.ssh {HOME}/.ssh")
    before = shell(machine, "cat /root/.ssh/authorized_keys")
    with pytest.raises(LabError, match="symbolic link"):
        student.update()
    student.delete()
    assert shell(machine, "cat /root/target; rm /root/target") == "precious"
    assert shell(machine, "cat /root/.ssh/authorized_keys") == before


def test_what_cannot_be_is_refused(student: Student) -> None:
    student.wants(user="daemon")
    with pytest.raises(LabError, match="one of the system's"):
        student.create()
    student.wants(user=USER)
    student.create()
    other = Student(student.machine, {**student.inputs, "stack": "kvm-lab/two"})
    with pytest.raises(LabError, match="kvm-lab/one"):
        other.create()
    student.delete()


def define(machine: Machine, name: str, disk: str) -> None:
    xml = f"""<domain type="qemu"><name>{name}</name><memory unit="MiB">32</memory>
    <os><type arch="x86_64" machine="pc">hvm</type></os><devices><disk type="file" device="disk">
    <driver name="qemu" type="qcow2"/><source file="{disk}"/><target dev="vda" bus="virtio"/></disk>
    </devices></domain>"""
    shell(machine, f"[ -e {disk} ] || qemu-img create -q -f qcow2 {disk} 8M")
    shell(machine, f"echo '{xml}' > /tmp/domain.xml && virsh define /tmp/domain.xml")


def define_pool(machine: Machine, name: str, folder: str) -> None:
    shell(machine, f"virsh pool-define-as {name} dir --target {folder}; virsh pool-build {name}")
    shell(machine, f"virsh pool-start {name}")


WORLD = """for each in $(virsh list --all --name | sort); do echo "$each $(virsh domstate $each)"
virsh snapshot-list $each --name; virsh domuuid $each; done
virsh pool-list --all | sort; virsh net-list --all | sort
sha256sum /srv/his/* /var/lib/libvirt/images/*.* /var/lib/libvirt/images/*/* /srv/owner* 2>/dev/null; true"""
OWNERS = ["lab-web", "owner"]


@pytest.fixture
def world(student: Student) -> Iterator[Student]:
    """A host with a guest and pool of a stack, and of its owner; then with those of its student."""
    machine = student.machine
    networks = shell(machine, "virsh net-list --all --name | sort")
    define_pool(machine, OURS, f"{IMAGES}/{OURS}")
    define(machine, "lab-web", f"{IMAGES}/{OURS}/web-g1.qcow2")
    define_pool(machine, "owners", "/srv/owner")
    define(machine, "owner", f"{IMAGES}/owner.qcow2")
    shell(machine, "virsh start lab-web; sleep 1.1")
    student.create()
    define_pool(machine, "default", IMAGES)
    define_pool(machine, "his", "/srv/his")
    shell(machine, "echo marker > '/srv/his/a file'")
    define(machine, "his-one", "/srv/his/one.qcow2")
    define(machine, "his-two", f"{IMAGES}/two.qcow2")
    shell(machine, "virsh snapshot-create-as his-two first && virsh snapshot-create-as his-two second")
    net = "<network><name>his-net</name><forward mode='bridge'/><bridge name='br7'/></network>"
    shell(machine, f'echo "{net}" > /tmp/net.xml && virsh net-define /tmp/net.xml && virsh net-start his-net')
    shell(machine, "virsh start his-one; virsh autostart his-one")
    yield student
    for domain in shell(machine, "virsh list --all --name").split():
        shell(machine, f"virsh destroy {domain}; virsh undefine --snapshots-metadata {domain}", check=False)
    for pool in shell(machine, "virsh pool-list --all --name").split():
        shell(machine, f"virsh pool-destroy {pool}; virsh pool-undefine {pool}", check=False)
    shell(machine, "virsh net-destroy his-net; virsh net-undefine his-net", check=False)
    shell(
        machine, f"rm -rf {IMAGES}/* {IMAGES}/.kvm-lab-kept /srv/his /srv/owner /tmp/domain.xml /tmp/net.xml"
    )
    assert shell(machine, "virsh net-list --all --name | sort") == networks


def domains(machine: Machine) -> list[str]:
    return sorted(shell(machine, "virsh list --all --name").split())


def test_a_reset_is_undone_and_what_is_not_kept_is_deleted(
    world: Student, capfd: pytest.CaptureFixture[str]
) -> None:
    machine = world.machine
    define(machine, "his-loose", "/opt/loose.qcow2")
    before = shell(machine, WORLD)
    ours = shell(machine, f"virsh dumpxml lab-web; sha256sum {IMAGES}/owner.qcow2 {IMAGES}/{OURS}/*")

    world.update(generation=2, kept=[1])
    assert domains(machine) == OWNERS
    assert shell(machine, f"virsh dumpxml lab-web; sha256sum {IMAGES}/owner.qcow2 {IMAGES}/{OURS}/*") == ours
    assert sorted(shell(machine, "virsh pool-list --all --name").split()) == [OURS, "owners"]
    assert "his-net" not in shell(machine, "virsh net-list --all --name")
    assert shell(machine, "ls /srv/his") == ""
    assert shell(machine, "stat -c %a /srv/his/.kvm-lab-kept") == "700"
    assert "/opt/loose.qcow2 stays where it is" in capfd.readouterr().err
    assert world.drift() == {}

    define_pool(machine, "his", "/srv/his")
    define(machine, "his-one", "/srv/his/one.qcow2")
    world.update(generation=1, kept=[2])
    assert shell(machine, WORLD) == before
    assert shell(machine, "cat '/srv/his/a file'") == "marker"
    assert shell(machine, "virsh snapshot-current his-two --name") == "second"
    assert shell(machine, "virsh list --autostart --name --all") == "his-one"
    assert world.drift() == {}

    world.update(generation=3, kept=[])
    assert shell(machine, f"find /srv/his {IMAGES} -path '*.kvm-lab-kept*'") == ""
    assert shell(machine, "ls /var/lib/kvm-lab/student-host") == "host.json"
    assert domains(machine) == OWNERS
    world.delete()
    assert domains(machine) == OWNERS
    shell(machine, "rm /opt/loose.qcow2")


class ClientGone(Exception):  # noqa: N818 - no mistake of the program
    """The client is gone."""


def interrupt(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Have the work end at its second change, and in the midst of the first moving of files."""
    budget = [1]
    virsh, move = Place.virsh, student_reset._move
    moved: set[str] = set()

    def limited(place: Place, *arguments: str, check: bool = True, xml: str | None = None) -> str:
        if arguments[0].rpartition("-")[2] in {"define", "undefine", "destroy", "create"}:
            if budget[0] == 0:
                raise ClientGone
            budget[0] -= 1
        return virsh(place, *arguments, check=check, xml=xml)

    def half(place: Place, kept: Kept, direction: str) -> None:
        if direction != "check" and direction not in moved:
            moved.add(direction)
            folder, names = next((folder, names) for folder, names in kept.moves.items() if len(names) > 1)
            move(place, kept.model_copy(update={"moves": {folder: names[:1]}}), direction)
            raise ClientGone
        move(place, kept, direction)

    monkeypatch.setattr(Place, "virsh", limited)
    monkeypatch.setattr(student_reset, "_move", half)
    return budget


def run_to_its_end(student: Student, budget: list[int], **edits: object) -> int:
    """Run it again and again; return how often it was interrupted."""
    for tries in range(40):
        budget[0] = 1
        try:
            student.update(**edits)
        except ClientGone:
            continue
        return tries
    raise AssertionError("it does not come to an end")


def test_an_interrupted_reset_is_continued_at_every_step(
    world: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = world.machine
    monkeypatch.setattr(student_reset, "GRACE", 1.0)
    before = shell(machine, WORLD)
    with monkeypatch.context() as patch:
        budget = interrupt(patch)
        assert run_to_its_end(world, budget, generation=2, kept=[1]) >= 5
        assert domains(machine) == OWNERS
        budget[0] = 1
        with pytest.raises(ClientGone):
            world.update(generation=1, kept=[2])
        assert world.drift()["generation"] == "1, unfinished"
        assert run_to_its_end(world, budget, generation=1, kept=[2]) >= 5
    assert shell(machine, WORLD) == before
    world.delete()
    assert shell(machine, WORLD) == before


def test_a_reset_that_was_begun_can_be_taken_back(world: Student, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(student_reset, "GRACE", 1.0)
    before = shell(world.machine, WORLD)
    with monkeypatch.context() as patch:
        interrupt(patch)
        with pytest.raises(ClientGone):
            world.update(generation=2, kept=[1])
    world.update(generation=1, kept=[])
    assert shell(world.machine, WORLD) == before
    world.delete()


def test_what_has_the_name_of_something_put_away_is_named(
    world: Student, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    machine = world.machine
    monkeypatch.setattr(student_reset, "GRACE", 1.0)
    world.update(generation=2, kept=[1])
    shell(machine, "echo other > '/srv/his/a file'")
    with pytest.raises(LabError, match=r"/srv/his/a file and /srv/his/.kvm-lab-kept/g1-\d+/a file"):
        world.update(generation=1, kept=[2])
    assert shell(machine, "cat '/srv/his/a file'") == "other"
    assert world.drift() == {}
    shell(machine, "rm '/srv/his/a file'")
    world.update(generation=1, kept=[2])
    assert shell(machine, "cat '/srv/his/a file'") == "marker"
    world.update(generation=2, kept=[1])
    capfd.readouterr()
    world.delete()
    said = capfd.readouterr().err
    assert "generation 1 stays put away: /var/lib/kvm-lab/student-host/" in said
    assert "/srv/his/.kvm-lab-kept/g1-" in said
    assert shell(machine, "cat '/srv/his/.kvm-lab-kept'/*/'a file'") == "marker"
