from __future__ import annotations

import pytest

from policies.rules import host_keys
from policies.rules.verdict import UNKNOWN, Finding, Resource, Unjudged, Violation

BRIDGE = "pulumi-python:dynamic/kvm:NetworkBridge"
KEY = "ssh-ed25519 AAAAC3Nz"
PINNED = "qemu+ssh://root@198.51.100.11:2222/system?host_keys=ssh-ed25519+AAAAC3Nz"


def judge_uri(uri: object) -> list[Finding]:
    return host_keys.judge(Resource(host_keys.LIBVIRT, "g1s1", {"uri": uri}))


def judge_endpoint(endpoint: object, kind: str = BRIDGE) -> list[Finding]:
    return host_keys.judge(Resource(kind, "g1s1-br0", {"endpoint": endpoint}))


@pytest.mark.parametrize(
    "uri",
    [
        PINNED,
        PINNED + "&known_hosts_verify=normal",
        "qemu+ssh://root@g1s1/system?knownhosts=.lab/known_hosts",
        "qemu+ssh://root@g1s1/system?knownhosts=/home/dev/known_hosts",
        "qemu+tls://g1s1/system",  # held against a certificate authority
        "qemu:///system",  # this machine
    ],
)
def test_pinned_uris_pass(uri: str) -> None:
    assert judge_uri(uri) == []


@pytest.mark.parametrize(
    ("uri", "option", "seen"),
    [
        (PINNED + "&no_verify=1", "uri: no_verify", "1"),
        (PINNED + "&no_verify=0", "uri: no_verify", "0"),  # the provider looks for the name alone
        (PINNED + "&no_verify", "uri: no_verify", "set"),
        (PINNED + "&known_hosts_verify=ignore", "uri: known_hosts_verify", "ignore"),
        (PINNED + "&known_hosts_verify=auto", "uri: known_hosts_verify", "auto"),
        (
            PINNED + "&known_hosts_verify=normal&known_hosts_verify=ignore",
            "uri: known_hosts_verify",
            "normal, ignore",
        ),
        ("qemu+ssh://root@g1s1/system", "uri: host_keys", "not set"),
        ("qemu+ssh://root@g1s1/system?host_keys=", "uri: host_keys", "not set"),
        ("qemu+ssh://root@g1s1/system?knownhosts=/dev/null", "uri: knownhosts", "/dev/null"),
        ("qemu+ssh://root@g1s1/system?knownhosts=%2Fdev%2F.%2Fnull", "uri: knownhosts", "/dev/./null"),
        ("qemu+ssh://root@g1s1/system?knownhosts=/a/../dev/null", "uri: knownhosts", "/a/../dev/null"),
        (PINNED + "&knownhosts=/dev/null", "uri: knownhosts", "/dev/null"),
        (PINNED + "&command=/tmp/ssh", "uri: command", "/tmp/ssh"),
        (PINNED + "&command", "uri: command", "set"),
        ("QEMU+SSH://root@g1s1/system", "uri: host_keys", "not set"),
        ("qemu+tcp://g1s1/system", "uri: transport", "tcp"),
        ("qemu+tls://g1s1/system?no_verify=1", "uri: no_verify", "1"),
        ("", "uri", "empty"),
        (None, "uri", "not set"),
    ],
)
def test_refused_uris(uri: object, option: str, seen: str) -> None:
    [finding] = judge_uri(uri)
    assert isinstance(finding, Violation)
    assert (finding.resource, finding.option, finding.seen) == ("g1s1", option, seen)


def test_unknown_uri_waits() -> None:
    assert judge_uri(UNKNOWN) == [Unjudged("g1s1", "uri", host_keys.PINNED)]


@pytest.mark.parametrize("kind", [BRIDGE, "pulumi-python:dynamic/kvm:GuestReady", "kvm:index:HypervisorHost"])
def test_endpoint_with_a_key_passes(kind: str) -> None:
    assert judge_endpoint({"host": "g1s1", "host_keys": [KEY]}, kind) == []


@pytest.mark.parametrize(
    ("endpoint", "seen"),
    [
        ({"host_keys": []}, "empty"),
        ({"host_keys": ["", KEY]}, "empty"),
        ({"host": "g1s1"}, "not set"),
        (None, "not set"),
    ],
)
def test_endpoint_without_a_key_is_refused(endpoint: object, seen: str) -> None:
    [finding] = judge_endpoint(endpoint)
    assert isinstance(finding, Violation)
    assert (finding.resource, finding.option, finding.seen) == ("g1s1-br0", "endpoint.host_keys", seen)


@pytest.mark.parametrize("endpoint", [UNKNOWN, {"host_keys": UNKNOWN}, {"host_keys": [KEY, UNKNOWN]}])
def test_unknown_keys_wait(endpoint: object) -> None:
    [finding] = judge_endpoint(endpoint)
    assert isinstance(finding, Unjudged)
    assert finding.option == "endpoint.host_keys"


def test_what_connects_to_nothing_needs_no_key() -> None:
    assert host_keys.judge(Resource("pulumi-python:dynamic/kvm:SshHostKey", "web", {})) == []
    assert judge_endpoint({"host_keys": []}, "aws:ec2:Instance") == []
