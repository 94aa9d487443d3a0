"""What bridge-table.sh prints, as Debian 12 prints it."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from providers.state import bridge_table
from providers.state.bridge_table import Bridge, BridgeTable, Learned, Port
from tests.conftest import ROOT

CASE = ROOT / "tests/cases/bridge-table/debian-12"


def printed(**values: str) -> str:
    """Return what the script prints: a line for each fact."""
    return "".join(f"{key} {base64.b64encode(text.encode()).decode()} \n" for key, text in values.items())


def case(**others: str) -> str:
    """Return what the script printed on a machine, with some values changed."""
    return printed(**{path.name: path.read_text() for path in sorted(Path(CASE).iterdir())} | others)


def parse(text: str) -> BridgeTable:
    return bridge_table.parse(text, "br0")


def entry(mac: str, port: str = "eth0", **more: object) -> dict[str, object]:
    return {"mac": mac, "ifname": port, "master": "br0", "state": "", "flags": [], **more}


def test_the_bridge_and_its_ports() -> None:
    table = parse(case())
    assert table.bridge == Bridge("br0", "8000.52540000000b", "52:54:00:00:00:0b", stp=False)
    assert table.ports == (
        Port("eth0", "4e:da:4e:fe:08:5f", "forwarding"),
        Port("vnet0", "f6:9f:ce:5d:66:fc", "forwarding"),
        Port("vnet1", "3e:98:d8:53:98:b5", "disabled"),
    )
    assert {"52:54:00:00:00:0b", "4e:da:4e:fe:08:5f", "4a:5a:89:13:d3:18"} <= table.macs
    assert "00:00:00:00:00:00" not in table.macs


def test_what_is_learned_is_apart_from_what_is_the_hosts_own() -> None:
    assert parse(case()).learned == (
        Learned("52:54:00:11:22:33", "eth0", None),
        Learned("4a:5a:89:13:d3:18", "eth0", 0),
        Learned("52:54:00:aa:bb:cc", "vnet0", 0),
    )


def test_an_address_that_is_known_in_several_vlans_is_there_once_with_its_latest_frame() -> None:
    entries = [entry("02:00:00:00:00:01", vlan=vlan, updated=age) for vlan, age in ((1, 9), (2, 4), (3, 7))]
    assert parse(case(learned=json.dumps(entries))).learned == (Learned("02:00:00:00:00:01", "eth0", 4),)


@pytest.mark.parametrize(
    "foreign",
    [
        entry("02:00:00:00:00:01", master="br1"),
        entry("02:00:00:00:00:01", state="permanent"),
        entry("02:00:00:00:00:01", port="gone"),
        {"mac": "33:33:00:00:00:01", "ifname": "eth0", "flags": ["self"], "state": "permanent"},
    ],
)
def test_what_is_not_behind_a_port_of_the_bridge_is_left_out(foreign: dict[str, Any]) -> None:
    assert parse(case(learned=json.dumps([foreign]))).learned == ()


def test_the_domains_as_libvirt_9_prints_them() -> None:
    seen = {
        domain.name: (domain.state, [card.device for card in domain.cards])
        for domain in parse(case()).domains
    }
    assert seen == {
        "shown-web": ("running", ["tap-web"]),
        "shown-db": ("paused", ["tap-db"]),
        "shown-off": ("shut off", ["tap-off"]),
        "by hand": ("paused", ["tap-hand"]),
    }


def test_a_host_without_the_bridge() -> None:
    table = bridge_table.parse(case(), "br7")
    assert (table.bridge, table.ports, table.learned) == (None, (), ())
    assert bridge_table.parse(case(), "eth0").bridge is None, "another kind of interface"


def test_a_host_without_libvirt() -> None:
    text = (CASE / "links").read_text()
    table = parse(printed(links=text, silent="libvirt is not installed"))
    assert (table.domains, table.silent) == ((), "libvirt is not installed")


@pytest.mark.parametrize("text", ["", "Last login: today\n", printed(learned="[]")])
def test_something_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no links|unpack|base64"):
        parse(text)
