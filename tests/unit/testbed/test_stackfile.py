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
