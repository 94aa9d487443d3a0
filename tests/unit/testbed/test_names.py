from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from providers.errors import LabError
from testbed import lab, prerequisites
from testbed.network import Network, table_name


def test_cables_are_named_after_bridge_and_host_part() -> None:
    network = Network(Path("/x"), "labbr", IPv4Network("198.18.0.0/16"))
    assert network.cable(IPv4Address("198.18.1.4"), 0) == "labbr-260a"
    assert network.cable(IPv4Address("198.18.0.11"), 1) == "labbr-11b"


def test_a_bridge_name_that_leaves_no_room_for_cables_is_refused() -> None:
    network = Network(Path("/x"), "laboratory1", IPv4Network("198.18.0.0/24"))
    with pytest.raises(LabError, match="shorter"):
        network.cable(IPv4Address("198.18.0.111"), 0)


def test_table_name_is_a_word_to_nft() -> None:
    assert table_name("br-1.2") == "kvm_lab_br_1_2"


@pytest.mark.parametrize(
    ("line", "loopback"),
    [
        ("nameserver 127.0.0.53", True),
        ("nameserver ::1", True),
        ("nameserver 192.0.2.53", False),
        ("nameserver fe80::1%eth0", False),
        ("search lab.example", False),
        ("", False),
    ],
)
def test_resolvers_on_the_loopback_are_told_apart(line: str, loopback: bool) -> None:
    assert lab.is_loopback(line) is loopback


def test_a_folder_that_mount_cannot_take_is_a_missing_prerequisite(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="colon"):
        prerequisites.check(tmp_path / "a:b")
