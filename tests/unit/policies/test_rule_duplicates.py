from __future__ import annotations

from typing import Any

import pytest

from policies.rules import duplicates
from policies.rules.lab_range import DOMAIN, READY
from policies.rules.migration import BRIDGE
from policies.rules.verdict import UNKNOWN, Finding, Resource, Unjudged, Violation


def judge(*resources: Resource) -> list[Finding]:
    return duplicates.judge_stack(resources)


def guest(name: str, address: object, **outputs: object) -> Resource:
    return Resource(READY, name, {"address": address, "domain": f"lab-{name}", **outputs})


def domain(name: str, mac: object, **interface: object) -> Resource:
    return Resource(DOMAIN, name, {"name": f"lab-{name}", "networkInterfaces": [{"mac": mac, **interface}]})


def bridge(name: str, address: str, **outputs: object) -> Resource:
    endpoint = {"host": name, "address": address, **{k: v for k, v in outputs.items() if k == "port"}}
    return Resource(BRIDGE, f"{name}-br0", {}, {"endpoint": endpoint, **outputs})


def test_different_addresses_pass() -> None:
    first, second = "52:54:00:00:00:01", "52:54:00:00:00:02"
    hosts = (bridge("g1s1", "192.0.2.11"), bridge("g1s2", "192.0.2.12"))
    guests = (guest("web", "192.0.2.21"), guest("db", "192.0.2.22"))
    assert judge(*hosts, *guests, domain("web", first), domain("db", second)) == []


def test_one_address_of_two_guests_is_refused_once_with_both_names() -> None:
    [finding] = judge(guest("web", "192.0.2.21"), guest("db", "192.0.2.21"))
    assert finding == Violation(
        "web", "address", "192.0.2.21", f"{duplicates.WANTED}: it is address of db", duplicates.WHY
    )


@pytest.mark.parametrize("other", ["2001:db8::1", "2001:DB8:0::1/64"])
def test_addresses_are_compared_however_written(other: str) -> None:
    assert len(judge(guest("web", "2001:db8::1"), guest("db", other))) == 1


def test_one_mac_address_of_two_guests_is_refused() -> None:
    [finding] = judge(domain("web", "52:54:00:AA:00:01"), domain("db", "52:54:00:aa:00:01"))
    assert isinstance(finding, Violation)
    assert finding.option == "networkInterfaces[0].mac"


def test_a_guest_with_a_hosts_address_is_refused() -> None:
    assert len(judge(bridge("g1s1", "192.0.2.11"), guest("web", "192.0.2.11"))) == 1
    seen = bridge("g1s1", "g1s1.example", addresses=["192.0.2.21/24"])
    assert len(judge(seen, guest("web", "192.0.2.21"))) == 1


def test_what_one_owner_has_twice_passes() -> None:
    addresses = ["192.0.2.11/24", "fe80::1/64"]
    host = bridge("g1s1", "192.0.2.11", addresses=addresses, hw_address="aa:00:00:00:00:01")
    second = Resource(BRIDGE, "g1s1-br1", {}, host.outputs)  # on a VLAN of the same card
    web = (guest("web", "192.0.2.21"), domain("web", "52:54:00:00:00:01", addresses=["192.0.2.21"]))
    assert judge(host, second, *web) == []


def test_two_domains_of_one_name_are_two_guests() -> None:
    twice = (domain("web", "52:54:00:00:00:01"), domain("web", "52:54:00:00:00:01"))
    assert len(judge(twice[0], Resource(DOMAIN, "web-2", twice[1].inputs))) == 1


def test_hosts_behind_one_address_differ_by_port() -> None:
    assert judge(bridge("a", "127.0.0.1", port=2201.0), bridge("b", "127.0.0.1", port=2202.0)) == []
    assert len(judge(bridge("a", "127.0.0.1", port=2201), bridge("b", "127.0.0.1", port=2201))) == 1
    assert len(judge(bridge("a", "127.0.0.1"), bridge("b", "127.0.0.1", port=22))) == 1


def test_link_local_addresses_are_each_links_own() -> None:
    seen: dict[str, Any] = {"addresses": ["fe80::1/64"]}
    assert judge(bridge("a", "192.0.2.11", **seen), bridge("b", "192.0.2.12", **seen)) == []


def test_unknown_addresses_wait() -> None:
    unknown = Resource(DOMAIN, "db", {"networkInterfaces": UNKNOWN})
    findings = judge(guest("web", UNKNOWN), domain("web", UNKNOWN), unknown, guest("db", "192.0.2.21"))
    assert {(type(one), one.resource, one.option) for one in findings} == {
        (Unjudged, "web", "address"),
        (Unjudged, "web", "networkInterfaces[0].mac"),
        (Unjudged, "db", "networkInterfaces"),
    }


def test_missing_addresses_are_none() -> None:
    bare = (Resource(READY, "a", {}), Resource(BRIDGE, "b", {}), Resource(DOMAIN, "c", {}))
    assert judge(*bare, domain("web", None), guest("web", "")) == []


def test_leaves_other_resources_alone() -> None:
    other = Resource("aws:ec2:Instance", "x", {"address": "192.0.2.21"})
    assert judge(guest("web", "192.0.2.21"), other) == []
