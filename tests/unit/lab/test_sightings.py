"""What `make show` tells of hosts' bridges: whose each address is, and how it is printed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config import Lab, mac_address
from lab.glances import NoAnswer
from lab.sightings import document, report
from lab.views import Answer, HostSeen, HostView, all_answered, views
from providers.errors import LabError
from providers.state.bridge_table import Bridge, BridgeTable, Learned, Port
from providers.state.virsh import Card, Domain
from providers.transport import AuthError, fingerprint

STACK = "class"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNROhSeX9UlMnAHYF5XvEqyrMLdpyHG0rxSlJPUGPE0"
OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"
STRANGER, SECOND = "02:00:00:00:00:01", "02:00:00:00:00:02"
THEIRS = "52:54:00:99:99:99"
MAC1, MAC2 = "52:54:00:00:00:0b", "52:54:00:00:00:0c"
HEARD = Answer(KEY)
SILENT = Answer(None, "Connect failed")
Behind = dict[str, int | None]
"""Ages of MAC addresses."""


def lab_of(*guests: str, students: int = 0, **bridge: object) -> Lab:
    """Return two hosts, h1 with these guests and the students', h2 with the guest mail."""
    named = {name: f"192.0.2.{number}/24" for number, name in enumerate([*guests, "mail"], 21)}
    made = {name: {"name": name, "image": "i", "address": named[name], "ssh_keys": [KEY]} for name in named}
    common = {"host_keys": [KEY]}
    h1 = {"name": "h1", "address": "192.0.2.11", "bridge": {"port": "eth0", **bridge}, **common}
    h2 = {"name": "h2", "address": "192.0.2.12", "bridge": {"port": "eth0"}, **common}
    written: dict[str, Any] = {
        "images": [{"name": "i", "url": "https://images.example/i.qcow2", "sha256": "a" * 64}],
        "hosts": [{**h1, "guests": [made[name] for name in guests]}, {**h2, "guests": [made["mail"]]}],
    }
    if students:
        written["templates"] = [{"name": "t", "guests": [{"image": "i"}]}]
        written["roster"] = {
            "network": "192.0.2.0/24",
            "address": "192.0.2.{100 + student}",
            "students": [
                {"group": 1, "student": number, "host": "h1", "ssh_keys": [KEY]}
                for number in range(1, students + 1)
            ],
        }
    return Lab.from_mapping(written, Path(), stack=STACK)


def domain(guest: str, device: str | None = None, state: str = "running") -> Domain:
    return Domain(f"{STACK}-{guest}", state, (Card(mac(guest), device),))


def mac(guest: str) -> str:
    return mac_address(STACK, guest)


def table(ports: Mapping[str, Behind], *domains: Domain, own: str = MAC1, **states: str) -> BridgeTable:
    """Return a bridge with these ports, with the ages of the MAC addresses behind each; `states` by port."""
    return BridgeTable(
        Bridge("br0", f"8000.{own.replace(':', '')}", own, stp=False),
        tuple(Port(port, "fe:54:00:00:00:01", states.get(port, "forwarding")) for port in ports),
        tuple(Learned(found, port, age) for port, behind in ports.items() for found, age in behind.items()),
        frozenset({own}),
        domains,
    )


SECOND_HOST = HostSeen(
    table({"eth0": {}, "vnet0": {mac("mail"): 1}}, domain("mail", "vnet0"), own=MAC2), {"mail": HEARD}
)


def seen(
    lab: Lab,
    first: BridgeTable | LabError,
    answers: Mapping[str, Answer] | None = None,
    keys: Mapping[str, str] | None = None,
    second: HostSeen = SECOND_HOST,
) -> list[HostView]:
    host = first if isinstance(first, LabError) else HostSeen(first, answers or {})
    return views(lab, STACK, {"h1": host, "h2": second}, keys or {})


def first_block(found: list[HostView]) -> list[str]:
    return report(found, colour=False).split("\n\n")[0].splitlines()


def test_a_host_on_which_all_is_well() -> None:
    ports: dict[str, Behind] = {
        "eth0": {MAC2: 4, mac("mail"): 2, STRANGER: 5},
        "vnet0": {mac("web"): 3},
        "vnet1": {},
    }
    first = table(ports, domain("web", "vnet0"), domain("g1s1", "vnet1"))
    found = seen(lab_of("web", students=1), first, {"web": HEARD, "g1s1": HEARD})
    assert report(found, colour=False) == (
        "h1: br0 8000.52540000000b, STP off, 3 ports\n"
        "    eth0: of this stack: h2, mail; other machines: 02:00:00:00:00:01 (5 s)\n"
        "    port   guest  student  address      domain   heard  ssh\n"
        "    vnet0  web    -        192.0.2.21   running  3 s    answers\n"
        "    vnet1  g1s1   g1 s1    192.0.2.101  running  -      answers\n"
        "\n"
        "h2: br0 8000.52540000000c, STP off, 2 ports\n"
        "    eth0: nobody heard\n"
        "    port   guest  address     domain   heard  ssh\n"
        "    vnet0  mail   192.0.2.22  running  1 s    answers\n"
        "\n"
        "2 hosts: 2 read\n"
        "3 guests: 3 answering"
    )
    assert all_answered(found)
    assert document(found, STACK)["strangers"] == []


def test_an_address_behind_a_guest_that_is_not_its_own_is_told() -> None:
    ports: dict[str, Behind] = {
        "eth0": {},
        "vnet0": {mac("web"): 3, STRANGER: 1, mac("db"): 2},
        "vnet1": {MAC2: None},
    }
    first = table(ports, domain("web", "vnet0"), domain("db", "vnet1"))
    found = seen(lab_of("web", "db"), first, {"web": HEARD, "db": HEARD})
    lines = first_block(found)
    at = lines.index("    vnet0  web    192.0.2.21  running  3 s    answers")
    assert lines[at + 1 : at + 3] == [
        f"  !   behind vnet0: {STRANGER} (1 s)",
        f"  !   behind vnet0: {mac('db')} (2 s, db)",
    ]
    assert lines[-1] == f"  !   behind vnet1: {MAC2} (static, h2)"
    assert report(found, colour=False).endswith("\n3 MAC addresses where none should be")
    assert [(s["host"], s["port"], s["mac"], s["kind"]) for s in document(found, STACK)["strangers"]] == [
        ("h1", "vnet0", STRANGER, "stranger"),
        ("h1", "vnet0", mac("db"), "guest"),
        ("h1", "vnet1", MAC2, "host"),
    ]
    assert all_answered(found), "strangers are no silence"


def test_a_guest_of_this_host_does_not_belong_behind_its_uplink() -> None:
    first = table({"eth0": {mac("web"): 7, STRANGER: 1}, "vnet0": {}}, domain("web", "vnet0"))
    lines = first_block(seen(lab_of("web"), first, {"web": HEARD}))
    assert lines[1:3] == [
        f"    eth0: other machines: {STRANGER} (1 s)",
        f"  !   behind eth0: {mac('web')} (7 s, web)",
    ]


def test_many_other_machines_are_counted_in_the_table_and_listed_in_json() -> None:
    behind: Behind = {f"02:00:00:00:01:{number:02x}": number for number in range(12)}
    found = seen(lab_of(), table({"eth0": behind}))
    assert first_block(found)[1] == "    eth0: other machines: 12"
    (port,) = document(found, STACK)["hosts"][0]["ports"]
    assert [entry["mac"] for entry in port["macs"]] == list(behind)


def test_domains_that_are_not_of_this_stack_are_named() -> None:
    other = Domain("by hand", "running", (Card(THEIRS, "vnet3"),))
    first = table({"eth0": {}, "vnet3": {THEIRS: 3, STRANGER: 1}, "veth0": {SECOND: 9}}, other)
    second = HostSeen(table({"eth0": {THEIRS: 8}}, domain("mail"), own=MAC2), {"mail": HEARD})
    found = seen(lab_of(), first, second=second)
    assert first_block(found)[2:] == [
        "    vnet3: by hand, not of this stack, heard 3 s",
        f"  !   behind vnet3: {STRANGER} (1 s)",
        "  ! veth0: not in the stack file, and no domain's",
        f"  !   behind veth0: {SECOND} (9 s)",
    ]
    assert f"    eth0: other machines: {THEIRS} (8 s, by hand on h1)\n" in report(found, colour=False)


def test_guests_that_do_not_answer_are_told_apart() -> None:
    domains = (
        domain("web", "vnet0"),
        domain("asleep", "vnet1", "paused"),
        domain("off", "a-name-of-its-own", "shut off"),
        domain("taken", state="shut off"),
        domain("swapped", "vnet2"),
    )
    first = table({"eth0": {}, "vnet0": {}, "vnet1": {}, "vnet2": {}}, *domains, vnet0="learning")
    lab = lab_of("web", "asleep", "off", "taken", "swapped", "gone")
    silent = dict.fromkeys(("web", "asleep", "off", "gone"), SILENT)
    found = seen(lab, first, {**silent, "taken": HEARD, "swapped": Answer(OTHER_KEY)}, {"swapped": KEY})
    lines = first_block(found)
    rows = {line.split()[2]: line.split()[4:] for line in lines if "192.0.2." in line and " s " not in line}
    assert rows["web"] == ["running", "-", "silent"]
    assert rows["asleep"] == ["paused", "-", "silent"]
    assert rows["off"] == ["shut", "off", "-", "silent"]
    assert rows["gone"] == ["missing", "-", "silent"]
    flat = " ".join(" ".join(lines).split())
    assert "! vnet0 is learning" in flat
    assert f"192.0.2.24 shows the host key {fingerprint(KEY)} while the guest is shut off" in flat
    assert f"shows the host key {fingerprint(OTHER_KEY)}, not the guest's {fingerprint(KEY)}" in flat
    assert not all_answered(found)
    assert "2 with another machine at its" in report(found, colour=False)


def test_a_guest_on_another_host_than_the_stack_file_says() -> None:
    moved = HostSeen(
        table({"eth0": {}, "vnet5": {mac("web"): 2}}, domain("web", "vnet5"), domain("mail"), own=MAC2),
        {"mail": HEARD},
    )
    first = table({"eth0": {mac("web"): 2}}, domain("web", state="shut off"))
    found = seen(lab_of("web"), first, {"web": HEARD}, second=moved)
    lines = report(found, colour=False).splitlines()
    assert lines[1] == "    eth0: of this stack: web"
    assert "    -     web    192.0.2.21  running  2 s    answers" in lines
    assert "  !   web is on h2" in lines
    assert "    vnet5: web, of another host in the stack file" in lines


def test_a_card_beside_the_bridge_and_ports_that_are_missing() -> None:
    first = table({"eth0": {}}, domain("web", "vnet0"))
    lines = first_block(seen(lab_of("web", extra_ports=["eth1"]), first, {"web": HEARD}))
    assert "  ! eth1 is no port of br0" in lines
    assert lines[-1] == "  !   vnet0 is no port of br0"
    bare = BridgeTable(None, (), (), frozenset(), (), silent="libvirt is not installed")
    found = seen(lab_of("web"), bare, {"web": SILENT})
    assert first_block(found) == [
        "h1: it has no bridge br0",
        "  ! its domains are not known: libvirt is not installed",
        "    port  guest  address     domain   heard  ssh",
        "  ! -     web    192.0.2.21  unknown  -      silent",
    ]
    assert document(found, STACK)["hosts"][0]["bridge"] is None


def test_hosts_that_were_not_read_are_named_with_the_reason() -> None:
    away = seen(lab_of("web"), NoAnswer("h1", "[Errno 113] No route to host", "look"))
    assert first_block(away) == ["h1: did not answer: No route to host", "    not asked: web"]
    assert not all_answered(away)
    assert "2 hosts: 1 read, 1 not\n2 guests: 1 answering, 1 not asked" in report(away, colour=False)
    assert document(away, STACK)["hosts"][0]["error"] == "[Errno 113] No route to host"
    refused = first_block(seen(lab_of(), AuthError("h1: log in", "publickey", "add the key")))
    assert refused[0] == "h1: not looked at, no login"
    assert refused[-1] == "  to do: add the key"


def test_a_host_that_is_a_students() -> None:
    hypervisor = {"host_keys": [KEY], "bridge": {"port": "eth0"}}
    written = {
        "templates": [{"name": "own", "hypervisor": hypervisor}],
        "hosts": [{"name": "h1", "address": "192.0.2.11", **hypervisor}],
        "roster": {
            "network": "192.0.2.0/24",
            "address": "192.0.2.{100 + student}",
            "students": [{"group": 2, "student": 3, "ssh_keys": [KEY]}],
        },
    }
    lab = Lab.from_mapping(written, Path(), stack=STACK)
    found = views(lab, STACK, {host.name: HostSeen(table({"eth0": {}})) for host in lab.hosts}, {})
    assert "g2s3 (g2 s3): br0 8000.52540000000b, STP off, 1 port\n" in report(found, colour=False)
    of_student = document(found, STACK)["hosts"][1]
    assert (of_student["environment"], of_student["group"], of_student["student"]) == ("g2s3", 2, 3)


def test_forty_guests_with_long_names_fit_80_columns() -> None:
    long = [f"{'a-very-long-name-of-a-guest-' * 2}{number:02}" for number in range(20)]
    students = [f"g1s{number}" for number in range(1, 21)]
    domains = [domain(name, f"vnet{number}") for number, name in enumerate([*long, *students])]
    odd = Domain("x" * 200, "running", (Card(THEIRS, "vnet99"),))
    behind: Behind = {f"02:00:00:00:02:{number:02x}": 300 for number in range(5)}
    ports: dict[str, Behind] = {
        "eth0": behind,
        **{f"vnet{number}": {STRANGER: 299} for number in range(40)},
        "vnet99": {MAC2: 1},
    }
    found = seen(
        lab_of(*long, students=20), table(ports, *domains, odd), dict.fromkeys([*long, *students], SILENT)
    )
    lines = report(found, colour=False).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if "silent" in line and "vnet" in line]
    assert [row[1] for row in rows] == [f"vnet{number}" for number in range(40)]
    assert len({row[2] for row in rows}) == 40, "what is left of the names tells them apart"
    assert [row[2] for row in rows[20:]] == students


def test_colours_add_nothing_but_colours() -> None:
    first = table({"eth0": {}, "vnet0": {STRANGER: 3}}, domain("web", "vnet0"))
    found = seen(lab_of("web"), first, {"web": SILENT})
    coloured, plain = report(found, colour=True), report(found, colour=False)
    assert "\x1b[31m  !   behind vnet0" in coloured
    assert coloured.replace("\x1b[31m", "").replace("\x1b[1m", "").replace("\x1b[0m", "") == plain


def test_what_a_terminal_should_not_see_is_escaped() -> None:
    odd = Domain("a\x1b[2Jb", "running", (Card(THEIRS, "vnet3"),))
    assert "vnet3: a\\x1b[2Jb, not" in report(seen(lab_of(), table({"vnet3": {}}, odd)), colour=False)


def test_the_keys_of_the_json_stay() -> None:
    first = table({"eth0": {STRANGER: 1}, "vnet0": {STRANGER: 2}}, domain("g1s1", "vnet0"))
    made = json.loads(json.dumps(document(seen(lab_of(students=1), first, {"g1s1": HEARD}), STACK)))
    assert list(made) == ["stack", "hosts", "guests", "strangers"]
    assert list(made["hosts"][0]) == [
        *("name", "address", "environment", "group", "student", "error", "libvirt_error", "bridge", "ports")
    ]
    assert made["hosts"][0]["bridge"] == {
        "name": "br0",
        "id": "8000.52540000000b",
        "stp": False,
        "missing_ports": [],
    }
    port = made["hosts"][0]["ports"][1]
    assert {key: value for key, value in port.items() if key != "macs"} == {
        "name": "vnet0",
        "role": "guest",
        "state": "forwarding",
        "domain": "class-g1s1",
        "guest": "g1s1",
    }
    assert port["macs"] == [{"mac": STRANGER, "age": 2, "kind": "stranger", "owner": None, "odd": True}]
    assert made["guests"][0] == {
        "name": "g1s1",
        "environment": "g1s1",
        "group": 1,
        "student": 1,
        "host": "h1",
        "address": "192.0.2.101",
        "mac": mac("g1s1"),
        "domain": "class-g1s1",
        "state": "running",
        "seen_on": "h1",
        "port": "vnet0",
        "on_bridge": True,
        "age": None,
        "ssh": "answers",
        "compared": False,
        "reason": None,
    }
    assert made["strangers"] == [{"host": "h1", "port": "vnet0", **port["macs"][0]}]
