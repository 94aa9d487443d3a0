from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from providers.errors import LabError
from testbed import stackfile

SUBNET = IPv4Network("198.51.100.0/24")


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    path = tmp_path / "Pulumi.lab.yaml"
    path.write_text(
        """\
config:
  kvm-lab:hosts:
    - {name: g1s1, address: 198.51.100.11, bridge: {name: br0}}
    - {name: real, address: 192.0.2.7}
    - {name: named, address: host.example}
    - {name: g1s2, address: 198.51.100.12}
"""
    )
    return path


def test_machines_are_the_hosts_inside_the_range(stack: Path) -> None:
    found = [(spec.name, spec.address) for spec in stackfile.machines(stack, SUBNET)]
    assert found == [("g1s1", IPv4Address("198.51.100.11")), ("g1s2", IPv4Address("198.51.100.12"))]


def test_foreign_hosts_are_all_others(stack: Path) -> None:
    assert stackfile.foreign_hosts(stack, SUBNET) == ["real", "named"]


def test_a_students_own_host_is_a_machine_too(tmp_path: Path) -> None:
    path = tmp_path / "Pulumi.lab.yaml"
    path.write_text(
        """\
config:
  kvm-lab:templates: [{name: own, hypervisor: {bridge: {port: eth0}}}]
  kvm-lab:roster:
    file: students.csv
    network: 198.51.100.0/24
    address: 198.51.100.{10*group + student}
"""
    )
    (tmp_path / "students.csv").write_text("group,student\n1,1\n1,2\n")
    assert [spec.name for spec in stackfile.machines(path, SUBNET)] == ["g1s1", "g1s2"]
    assert stackfile.foreign_hosts(path, IPv4Network("192.0.2.0/24")) == ["g1s1", "g1s2"]


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("config: [", "while parsing"),
        ("", "kvm-lab:hosts"),
        ("config: {}", "kvm-lab:hosts"),
        ("config: {'kvm-lab:hosts': g1s1}", "kvm-lab:hosts"),
        ("config: {'kvm-lab:hosts': [{name: a, address: 198.51.100.11}, {name: b}]}", "[1]"),
    ],
)
def test_a_file_without_hosts_is_refused(tmp_path: Path, text: str, seen: str) -> None:
    path = tmp_path / "Pulumi.lab.yaml"
    path.write_text(text)
    with pytest.raises(LabError) as caught:
        stackfile.machines(path, SUBNET)
    assert seen in caught.value.seen


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no such file"):
        stackfile.machines(tmp_path / "Pulumi.none.yaml", SUBNET)
