"""What the events of a refresh tell of hosts; in the forms of engine 3.220 for real hosts."""

from __future__ import annotations

from typing import Any

from review.drift import drift
from review.model import Plan, Step, Verdict

DYNAMIC = "pulumi-python:dynamic/kvm:"
HOST = ("h1", "kvm:index:HypervisorHost")
GUEST = (("g1s1", "kvm:index:Guest"), ("g1s1", "kvm:index:StudentEnvironment"))
ENDPOINT = {"host": "h1", "address": "198.51.100.11"}


def step(type_: str, resource: str, **inputs: object) -> Step:
    parents = (HOST,) if "endpoint" in inputs and resource == "h1" else GUEST
    urn = f"urn:pulumi:lab::kvm-lab::{type_}::{resource}"
    return Step(urn, type_, resource, "same", inputs, inputs, {}, (), parents)


BRIDGE = step(f"{DYNAMIC}NetworkBridge", "h1", endpoint=ENDPOINT, name="br0", port="eth0", stp=False)
PACKAGES = step(f"{DYNAMIC}AptPackages", "h1", endpoint=ENDPOINT, packages=["bridge-utils", "xauth"])
DOMAIN = step("libvirt:index/domain:Domain", "g1s1", name="lab-g1s1", running=True)
READY = step(
    f"{DYNAMIC}GuestReady",
    "g1s1",
    endpoint=ENDPOINT,
    guest="g1s1",
    domain="lab-g1s1",
    address="198.51.100.111",
)
VOLUME = step("libvirt:index/volume:Volume", "g1s1-g1", name="g1s1-g1.qcow2")
STATE = Plan("lab", (BRIDGE, PACKAGES, DOMAIN, READY, VOLUME))


def refreshed(of: Step, op: str, old: dict[str, Any], new: dict[str, Any], *diffs: str) -> dict[str, Any]:
    metadata = {"op": op, "urn": of.urn, "old": {"outputs": old}, "new": {"outputs": new}, "diffs": [*diffs]}
    return {"resOutputsEvent": {"metadata": metadata}}


def told(*events: dict[str, Any]) -> list[tuple[str | None, str | None, Verdict, str]]:
    return [(e.host, e.guest, e.verdict, e.sentence) for e in drift(STATE, events).effects]


def test_nothing_differs() -> None:
    same = {"resOutputsEvent": {"metadata": {"op": "same", "urn": BRIDGE.urn, "old": {}, "new": {}}}}
    assert drift(STATE, [same, {"summaryEvent": {}}]).effects == ()


def test_a_bridges_options() -> None:
    old, new = {"stp": False, "port": "eth0"}, {"stp": "files: off, kernel: on", "port": "eth0"}
    sentence = "its bridge: stp is off in the state, on the host files: off, kernel: on"
    assert told(refreshed(BRIDGE, "update", old, new)) == [("h1", None, Verdict.NETWORK, sentence)]


def test_what_changes_by_itself_is_no_drift() -> None:
    old = {
        "packages": ["xauth"],
        "versions": {"xauth": "1"},
        "brought": ["a"],
        "addresses": ["a"],
        "ports": [],
    }
    new = {
        "packages": ["xauth"],
        "versions": {"xauth": "2"},
        "brought": [],
        "addresses": [],
        "ports": ["vnet0"],
    }
    assert told(refreshed(PACKAGES, "update", old, new), refreshed(BRIDGE, "update", old, new)) == []


def test_packages_that_went() -> None:
    event = refreshed(PACKAGES, "update", {"packages": ["bridge-utils", "xauth"]}, {"packages": ["xauth"]})
    assert told(event) == [("h1", None, Verdict.SAFE, "not installed any more: bridge-utils")]


def test_a_guest_that_is_off() -> None:
    events = [
        refreshed(DOMAIN, "update", {"running": True}, {"running": False}, "running"),
        refreshed(READY, "update", {"ready": True}, {"ready": False}),
    ]
    assert told(*events) == [
        ("h1", "g1s1", Verdict.INTERRUPTS, "it is off"),
        ("h1", "g1s1", Verdict.INTERRUPTS, "it does not answer"),
    ]
    assert {effect.student for effect in drift(STATE, events).effects} == {"g1s1"}


def test_a_disk_that_is_gone_weighs_most() -> None:
    event: dict[str, Any] = {
        "resOutputsEvent": {"metadata": {"op": "delete", "urn": VOLUME.urn, "old": {}, "new": None}}
    }
    assert told(event) == [("h1", "g1s1", Verdict.DESTROYS, "its disk is not there any more")]


def test_a_host_that_does_not_answer_is_named_once_with_the_reason() -> None:
    message = (
        "Preview failed: Exception calling application: h1 (root@198.51.100.11 port 22): open a TCP"
        " connection\n  seen: [Errno 111] Connection refused\n  to do: look whether the machine is up\n"
    )
    trouble = [
        {"diagnosticEvent": {"urn": one.urn, "message": message, "severity": severity}}
        for one, severity in ((PACKAGES, "error"), (BRIDGE, "error"), (DOMAIN, "warning"))
    ]
    found = drift(STATE, trouble)
    assert found.unseen == {"h1": "[Errno 111] Connection refused"}
    assert found.effects == ()


def test_what_is_not_of_this_program_is_told_too() -> None:
    other = Step("urn:pulumi:lab::kvm-lab::random:index:Id::x", "random:index:Id", "x", "same")
    metadata: dict[str, Any] = {"op": "delete", "urn": other.urn, "old": {}, "new": None}
    (effect,) = drift(Plan("lab", (other,)), [{"resOutputsEvent": {"metadata": metadata}}]).effects
    assert (effect.host, effect.sentence) == (None, "Id x is not there any more")


def test_an_error_of_no_host_is_not_passed_over() -> None:
    errors = ["error: could not load plugin libvirt\n", "preview failed\n"]
    trouble = [{"diagnosticEvent": {"message": message, "severity": "error"}} for message in errors]
    found = drift(STATE, trouble)
    assert (found.unseen, found.troubles) == ({}, ("error: could not load plugin libvirt",))
