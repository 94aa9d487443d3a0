from __future__ import annotations

import pytest

from policies.rules import lab_range, migration
from policies.rules.verdict import UNKNOWN, Finding, Options, Resource, Unjudged, Violation

RANGES: Options = {
    "networks": ["192.0.2.0/24", "2001:db8::/64"],
    "host_networks": ["198.51.100.0/28"],
    "mac_prefixes": ["52:54:00", "AA:BB"],
}


def guest(address: object, options: Options = RANGES) -> list[Finding]:
    return lab_range.judge(Resource(lab_range.READY, "web", {"address": address}), options)


def interfaces(value: object, options: Options = RANGES) -> list[Finding]:
    return lab_range.judge(Resource(lab_range.DOMAIN, "web", {"networkInterfaces": value}), options)


def host(endpoint: object, options: Options = RANGES) -> list[Finding]:
    return lab_range.judge(Resource(migration.BRIDGE, "g1s1", {"endpoint": endpoint}), options)


@pytest.mark.parametrize("address", ["192.0.2.1", "192.0.2.255/24", "2001:db8::1"])
def test_addresses_inside_pass(address: str) -> None:
    assert guest(address) == []


@pytest.mark.parametrize("address", ["192.0.3.1", "2001:db8:1::1", "web.example", "", None])
def test_addresses_outside_are_refused(address: object) -> None:
    [finding] = guest(address)
    assert isinstance(finding, Violation)
    assert finding.wanted == "within 192.0.2.0/24, 2001:db8::/64"


def test_hosts_have_ranges_of_their_own() -> None:
    assert host({"address": "198.51.100.11"}) == []
    [finding] = host({"address": "192.0.2.1"})
    assert isinstance(finding, Violation)
    assert (finding.option, finding.seen) == ("endpoint.address", "192.0.2.1")


@pytest.mark.parametrize("mac", ["52:54:00:6a:ae:42", "52:54:00:6A:AE:42", "aa:bb:cc:dd:ee:ff"])
def test_mac_addresses_inside_pass(mac: str) -> None:
    assert interfaces([{"bridge": "br0", "mac": mac}]) == []


def test_mac_addresses_outside_and_left_out_are_refused() -> None:
    findings = interfaces([{"mac": "02:00:00:00:00:01"}, {"bridge": "br0"}])
    assert [(one.option, one.seen) for one in findings if isinstance(one, Violation)] == [
        ("networkInterfaces[0].mac", "02:00:00:00:00:01"),
        ("networkInterfaces[1].mac", "not set"),
    ]


def test_addresses_of_an_interface_count() -> None:
    mac = "52:54:00:6a:ae:42"
    [finding] = interfaces([{"mac": mac, "addresses": ["192.0.2.7", "10.0.0.7"]}])
    assert finding.option == "networkInterfaces[0].addresses[1]"


@pytest.mark.parametrize("value", [UNKNOWN, [UNKNOWN], [{"mac": UNKNOWN, "addresses": UNKNOWN}]])
def test_unknown_interfaces_wait(value: object) -> None:
    assert {type(finding) for finding in interfaces(value)} == {Unjudged}


def test_unknown_addresses_wait() -> None:
    for findings in (guest(UNKNOWN), host(UNKNOWN), host({"address": UNKNOWN})):
        assert [type(finding) for finding in findings] == [Unjudged]


@pytest.mark.parametrize("value", [UNKNOWN, "10.0.0.1", None])
def test_without_ranges_nothing_is_judged(value: object) -> None:
    assert guest(value, {}) == host({"address": value}, {}) == interfaces([{"mac": value}], {}) == []
    assert interfaces(UNKNOWN, {}) == []


def test_missing_interfaces_are_none() -> None:
    assert interfaces(None) == interfaces([]) == []


def test_leaves_other_resources_alone() -> None:
    assert lab_range.judge(Resource("aws:ec2:Instance", "x", {"address": "10.0.0.1"}), RANGES) == []
