"""Plans and reports of labs of any size, as the review of a real one would have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from policies.rules.verdict import UNKNOWN
from review.model import Plan, Step

KVM = "pulumi-python:dynamic/kvm:"
ENVIRONMENT = "kvm:index:StudentEnvironment"
GUEST = "kvm:index:Guest"
HOST = "kvm:index:HypervisorHost"


def endpoint(host: int) -> dict[str, Any]:
    return {
        "host": f"h{host}",
        "address": f"198.51.100.{host}",
        "port": 22.0,
        "user": "root",
        "host_keys": [],
    }


def bridge(host: int) -> Step:
    declared = {
        "endpoint": endpoint(host),
        "name": "br0",
        "port": "eth0",
        "extra_ports": ["eth1"],
        "stp": False,
        "forward_delay": 0.0,
    }
    return unchanged(
        f"{KVM}NetworkBridge",
        f"h{host}",
        declared,
        ((f"h{host}", HOST),),
        {"addresses": [f"198.51.100.{host}/24"]},
    )


def guest(name: str, host: int, student: str | None, generation: int = 1) -> list[Step]:
    """The steps of a guest; of a student's with the environment."""
    outer = ((student, ENVIRONMENT),) if student else ()
    inner = ((name, GUEST), *outer)
    domain = {"domain": f"lab-{name}", "endpoint": endpoint(host), "guest": name}
    disks = [(f"{KVM}GuestDisk", f"{name}-g{n}", {**domain, "size": 1.0}) for n in range(1, generation + 1)]
    volumes = [
        ("libvirt:index/volume:Volume", f"{name}-g{n}", {"name": f"{name}-g{n}.qcow2"})
        for n in range(1, generation + 1)
    ]
    card = {"mac": "52:54:00:AB:CD:EF", "bridge": UNKNOWN}
    machine = {"memory": 256.0, "vcpu": 2, "networkInterfaces": [card], "disks": [{"volumeId": UNKNOWN}]}
    ready = {**domain, "address": f"198.51.100.{100 + host}", "public_key": UNKNOWN}
    rest = [("libvirt:index/domain:Domain", name, machine), (f"{KVM}GuestReady", name, ready)]
    steps = [unchanged(GUEST, name, {"image": "debian-12"}, outer)]
    if student:
        about = {"group": 1, "student": 1, "host": f"h{host}", "generation": float(generation)}
        steps.append(unchanged(ENVIRONMENT, student, about))
    parts: list[tuple[str, str, dict[str, Any]]] = [*disks, *volumes, *rest]
    return [*steps, *(unchanged(kind, named, inputs, inner) for kind, named, inputs in parts)]


def unchanged(
    kind: str,
    name: str,
    inputs: dict[str, Any],
    parents: tuple[tuple[str, str], ...] = (),
    outputs: dict[str, Any] | None = None,
) -> Step:
    urn = f"urn:pulumi:lab::kvm-lab::{kind}::{name}"
    return Step(urn, kind, name, "same", inputs, inputs, outputs or {}, parents=parents)


def created(step: Step) -> Step:
    return replace(step, op="create", old={}, outputs={})


def deleted(step: Step) -> Step:
    return replace(step, op="delete", new={})


def plan(*steps: Step) -> Plan:
    return Plan("lab", steps)
