"""Where guests migrate, no bridge may keep a new port silent."""

from __future__ import annotations

from collections.abc import Mapping

from .verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged, Violation, written

NAME = "migration-needs-bridge-without-delay"
DESCRIPTION = "On a host with migration on, every bridge has STP off and forward delay 0."
REFERENCE = "https://wiki.linuxfoundation.org/networking/bridge"
WHY = (
    "a migrated guest's new port passes no traffic until the bridge has listened and learned "
    "(twice the forward delay), so the guest would be cut off after its move"
)
OPTIONS: Options = {
    "longest_delay": {
        "type": "number",
        "minimum": 0,
        "maximum": 30,
        "default": 0,
        "description": "longest forward delay allowed, in seconds",
    }
}
BRIDGE = "pulumi-python:dynamic/kvm:NetworkBridge"
HOST = "kvm:index:HypervisorHost"


def judge(resource: Resource, options: Options = DEFAULTS) -> list[Finding]:
    """Judge a bridge, or a hypervisor whose inputs show its bridge."""
    migration = resource.inputs.get("migration")
    longest = longest_delay(options)
    if resource.type == BRIDGE:
        return judge_bridge(resource.name, migration, resource.inputs, longest=longest)
    if resource.type == HOST and "bridge" in resource.inputs:
        bridge = resource.inputs["bridge"]
        if bridge is UNKNOWN:
            bridge = {"stp": UNKNOWN, "forward_delay": UNKNOWN}
        if isinstance(bridge, Mapping):
            return judge_bridge(resource.name, migration, bridge, "bridge.", longest=longest)
    return []


def judge_bridge(
    name: str, migration: object, bridge: Mapping[str, object], path: str = "", *, longest: float = 0
) -> list[Finding]:
    """Judge one bridge of the resource `name`; `path` stands before the names of its options.

    A forward delay of up to `longest` seconds is sound. An option that is not set counts as wrong: the
    kernel's own forward delay is 15 seconds.
    """
    if not migration:
        return []
    stp, delay = bridge.get("stp"), bridge.get("forward_delay")
    bound = f"at most {written(longest)}" if longest else "0"
    findings: list[Finding] = []
    for option, value, sound, wanted in (
        ("stp", stp, stp is False, "false"),
        ("forward_delay", delay, _is_short(delay, longest), bound),
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


def longest_delay(options: Options) -> float:
    """Return the longest forward delay that the configuration allows, in seconds."""
    longest = options.get("longest_delay")
    return longest if isinstance(longest, int | float) else 0


def _is_short(value: object, longest: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= longest
