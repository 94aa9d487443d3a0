"""Where guests migrate, no bridge may keep a new port silent."""

from __future__ import annotations

from collections.abc import Mapping

from .verdict import UNKNOWN, Finding, Resource, Unjudged, Violation, written

NAME = "migration-needs-bridge-without-delay"
DESCRIPTION = "On a host with migration on, every bridge has STP off and forward delay 0."
REFERENCE = "https://wiki.linuxfoundation.org/networking/bridge"
WHY = (
    "a migrated guest's new port passes no traffic until the bridge has listened and learned "
    "(twice the forward delay), so the guest would be cut off after its move"
)
BRIDGE = "pulumi-python:dynamic/kvm:NetworkBridge"
HOST = "kvm:index:HypervisorHost"


def judge(resource: Resource) -> list[Finding]:
    """Judge a bridge, or a hypervisor whose inputs show its bridge."""
    migration = resource.inputs.get("migration")
    if resource.type == BRIDGE:
        return judge_bridge(resource.name, migration, resource.inputs)
    if resource.type == HOST and "bridge" in resource.inputs:
        bridge = resource.inputs["bridge"]
        if bridge is UNKNOWN:
            bridge = {"stp": UNKNOWN, "forward_delay": UNKNOWN}
        if isinstance(bridge, Mapping):
            return judge_bridge(resource.name, migration, bridge, "bridge.")
    return []


def judge_bridge(name: str, migration: object, bridge: Mapping[str, object], path: str = "") -> list[Finding]:
    """Judge one bridge of the resource `name`; `path` stands before the names of its options.

    An option that is not set counts as wrong: the kernel's own forward delay is 15 seconds.
    """
    if not migration:
        return []
    findings: list[Finding] = []
    for option, value, sound, wanted in (
        ("stp", bridge.get("stp"), bridge.get("stp") is False, "false"),
        ("forward_delay", bridge.get("forward_delay"), _is_zero(bridge.get("forward_delay")), "0"),
    ):
        if sound:
            continue
        if value is UNKNOWN:
            findings.append(Unjudged(name, path + option, f"{wanted} if migration is on"))
        elif migration is UNKNOWN:
            findings.append(Unjudged(name, "migration", f"false, as {path}{option} is {written(value)}"))
        else:
            findings.append(
                Violation(name, path + option, written(value), f"{wanted} with migration on", WHY)
            )
    return findings


def _is_zero(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value == 0
