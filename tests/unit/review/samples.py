"""Plans and reports of labs of any size, as the review of a real one would have them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from policies.rules.verdict import UNKNOWN
from review.model import Effect, GuestFacts, HostFacts, Inventory, Plan, Step, Verdict

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


HOSTILE = (
    'x"]; click h0 "javascript:alert(1)" | `"**b**"` %%{init: {}}%% <img src=x onerror=alert(1)> @octocat #1 '
    "www.example.org https://example.org $x$ [a](b) ~~c~~ </details> \x1b[31m\u202e\n```\n# end\n---\n- x"
)


def facts(name: str, host: str) -> GuestFacts:
    return GuestFacts(
        name, host, "198.51.100.7", "52:54:00:00:00:01", f"lab-{name}", 1024, 1, name, (f"{name}-g1",)
    )


def lab(hosts: int, guests: int) -> Inventory:
    """Hosts h1, h2, … with guests g1s1, g1s2, …"""
    names = [f"h{n}" for n in range(1, hosts + 1)]
    return Inventory(
        "lab",
        tuple(
            HostFacts(
                name,
                "198.51.100.1",
                "br0",
                "eth0",
                guests=tuple(facts(f"g{name[1:]}s{n}", name) for n in range(1, guests + 1)),
            )
            for name in names
        ),
    )


def each_guest(inventory: Inventory, verdict: Verdict, sentence: str) -> tuple[Effect, ...]:
    return tuple(
        Effect(verdict, sentence, host.name, guest.name, guest.student, f"{guest.name}-g1")
        for host in inventory.hosts
        for guest in host.guests
    )
