"""What steps mean that no preview among the cases has: drift, what is left over, what is of others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from policies.rules.verdict import UNKNOWN
from review.meaning import effects
from review.model import Step, Verdict
from tests.unit.review.samples import KVM, bridge, deleted, endpoint, guest, plan, unchanged

HOST = (("h1", "kvm:index:HypervisorHost"),)
DOMAIN = "libvirt:index/domain:Domain"
VOLUME = "libvirt:index/volume:Volume"
BRIDGE = bridge(1)


def told(*steps: Step) -> list[tuple[str, str]]:
    return [(effect.verdict.name, effect.sentence) for effect in effects(plan(*steps))]


def changed(step: Step, op: str = "update", **new: object) -> Step:
    return replace(step, op=op, new={**step.new, **new}, changed=tuple(new))


def seen(step: Step, **outputs: object) -> Step:
    """The step of a resource that a refresh has found otherwise."""
    return replace(step, op="update", outputs={**step.outputs, **outputs})


def of_guest(kind: str, steps: list[Step], disk: str | None = None) -> Step:
    return next(step for step in steps if step.type == kind and disk in (None, step.name))


def with_disk(steps: list[Step], before: str, after: str) -> list[Step]:
    """The guest, whose domain is made anew with another disk."""
    inputs = [
        {"disks": [{"volumeId": f"/var/lib/libvirt/images/pool/{disk}.qcow2"}]} for disk in (before, after)
    ]
    domain = of_guest(DOMAIN, steps)
    made = replace(domain, op="replace", old={**domain.old, **inputs[0]}, new={**domain.new, **inputs[1]})
    return [made if step is domain else step for step in steps]


@pytest.mark.parametrize(
    ("op", "verdict"),
    [
        ("create", Verdict.SAFE),
        ("update", Verdict.INTERRUPTS),
        ("replace", Verdict.INTERRUPTS),
        ("delete", Verdict.INTERRUPTS),
        ("discard", Verdict.INTERRUPTS),
    ],
)
def test_what_is_not_of_this_program_is_never_called_harmless_but_when_it_is_made(
    op: str, verdict: Verdict
) -> None:
    (effect,) = effects(plan(Step("urn:x", "other:index:Thing", "x", op, {"n": 1})))
    assert effect.verdict == verdict
    assert effect.sentence.startswith("x (other:index:Thing) ")
    assert effect.sentence.endswith("what that does is not known here")


def test_components_and_the_stack_mean_nothing_by_themselves() -> None:
    component = Step("urn:c", "other:index:Group", "c", "delete", {"n": 1}, component=True)
    assert effects(plan(component)) == ()


def test_a_disk_of_no_guest_of_ours_is_a_disk() -> None:
    (effect,) = effects(plan(Step("urn:v", VOLUME, "data", "replace", {"name": "data.qcow2"})))
    assert (effect.verdict, effect.subject) == (Verdict.DESTROYS, "data")


def test_a_disk_that_was_kept_and_no_longer_is() -> None:
    steps = [
        deleted(step) if step.name == "g1s1-g1" else step for step in guest("g1s1", 1, "g1s1", generation=2)
    ]
    steps = with_disk(steps, "g1s1-g2", "g1s1-g2")
    found = [effect for effect in effects(plan(*steps)) if effect.verdict == Verdict.DESTROYS]
    assert [(effect.subject, effect.sentence) for effect in found] == [
        ("g1s1-g1", "its kept disk g1s1-g1 with all that is on it is deleted")
    ]


def test_a_disk_that_was_kept_is_booted_from_again() -> None:
    steps = with_disk(guest("g1s1", 1, "g1s1", generation=2), "g1s1-g2", "g1s1-g1")
    assert told(*steps) == [
        ("INTERRUPTS", "is shut down and boots from the kept disk g1s1-g1; its disk g1s1-g2 is kept")
    ]


def test_a_disk_that_is_made_anew_in_place_is_lost() -> None:
    steps = with_disk(guest("web", 1, None), "web-g1", "web-g1")
    steps = [replace(step, op="replace") if step.type == VOLUME else step for step in steps]
    (effect,) = effects(plan(*steps))
    assert (effect.verdict, effect.subject) == (Verdict.DESTROYS, "web-g1")


def test_only_half_of_a_disk_deleted_is_a_disk_deleted() -> None:
    steps = guest("web", 1, None)
    half = deleted(of_guest(f"{KVM}GuestDisk", steps))
    (effect,) = effects(plan(*[half if step.urn == half.urn else step for step in steps]))
    assert (effect.verdict, effect.subject) == (Verdict.DESTROYS, "web-g1")


def test_a_disk_that_has_no_volume_cannot_be_lost() -> None:
    steps = guest("g1s1", 1, "g1s1", generation=2)
    begun = deleted(of_guest(f"{KVM}GuestDisk", steps, "g1s1-g2"))
    rest = [step for step in steps if step.name != "g1s1-g2"]
    sentence = "its disk g1s1-g2, which has no volume, is not wanted any more"
    assert told(*rest, begun) == [("SAFE", sentence)]
    # a plan that leaves out what stays may leave out its volume
    (effect,) = effects(replace(plan(begun), whole=False))
    assert (effect.verdict, effect.subject) == (Verdict.DESTROYS, "g1s1-g2")
    # a running guest may have open what is gone from its folder
    (effect, *_) = effects(plan(*with_disk([*rest, begun], "g1s1-g2", "g1s1-g1")))
    assert (effect.verdict, effect.subject) == (Verdict.DESTROYS, "g1s1-g2")


def test_a_disk_that_goes_as_its_guest_is_made_is_not_passed_over() -> None:
    steps = [replace(step, op="create", old={}) for step in guest("web", 1, None)]
    steps = [replace(step, op="replace") if step.type == VOLUME else step for step in steps]
    (effect, *_) = effects(plan(*steps))
    assert (effect.verdict, effect.subject) == (Verdict.DESTROYS, "web-g1")


def test_a_guest_whose_domain_goes_and_whose_disk_stays() -> None:
    steps = guest("web", 1, None)
    domain = of_guest(DOMAIN, steps)
    assert told(*[deleted(step) if step is domain else step for step in steps]) == [
        ("INTERRUPTS", "is shut down, and its domain is deleted; its disk stays")
    ]


def test_a_guest_that_a_refresh_found_silent_or_gone() -> None:
    steps = guest("web", 1, None)
    ready, domain = of_guest(f"{KVM}GuestReady", steps), of_guest(DOMAIN, steps)
    inputs = {**ready.new, "ready": True}
    silent = seen(replace(ready, old=inputs, new=inputs), ready=False)
    gone = replace(domain, op="create", old={})
    rest = [step for step in steps if step not in (ready, domain)]
    assert told(*rest, silent, domain) == [
        ("SAFE", "did not answer: it is started where it does not run, and waited for")
    ]
    assert told(*rest, ready, gone) == [("SAFE", "is missing, and is made again with its disk")]


def test_a_domain_that_changes_in_a_way_of_which_nothing_is_known() -> None:
    steps = guest("web", 1, None)
    domain = of_guest(DOMAIN, steps)
    edited = [changed(step, kernel="x") if step is domain else step for step in steps]
    ((verdict, sentence),) = told(*edited)
    assert verdict == "INTERRUPTS"
    assert "(kernel)" in sentence


def netfilter(enabled: bool) -> Step:
    inputs = {"endpoint": endpoint(1), "enabled": enabled, "rollback_timeout": 60}
    return unchanged(f"{KVM}BridgeNetfilter", "h1", inputs, HOST, {"enabled": enabled})


@pytest.mark.parametrize(
    ("step", "start"),
    [
        (changed(bridge(1), ipv6_auto=True), "br0 takes IPv6 addresses from router advertisements; live"),
        (
            changed(bridge(1), extra_ports=["eth2"]),
            "eth2 becomes a further port of br0 and eth1 leaves br0; live",
        ),
        (
            changed(unchanged(BRIDGE.type, "h1", {**BRIDGE.new, "max_wait": 0}), max_wait=5),
            "br0 waits for its ports for 5 s, not 0 s",
        ),
        (seen(bridge(1), stp=True), "STP of br0 goes off; live"),
        (seen(bridge(1), port="eth1"), "br0 is made as the stack file has it again: its network may be down"),
        (changed(bridge(1), other=1), "br0 changes (other); what that does is not known"),
        (deleted(bridge(1)), "eth0 gets the addresses and the default route back from br0"),
        (
            replace(deleted(bridge(1)), outputs={"adopted": True}),
            "br0 and eth0 become what they were before the lab",
        ),
        (replace(netfilter(False), op="create", old={}, outputs={}), "bridge netfilter goes off: "),
        (seen(netfilter(True), enabled="kernel: off"), "bridge netfilter goes on: "),
        (deleted(netfilter(True)), "bridge netfilter is given back as it was found; live"),
    ],
)
def test_a_hosts_own_network(step: Step, start: str) -> None:
    (effect,) = effects(plan(step))
    assert (effect.verdict, effect.host, effect.subject) == (Verdict.NETWORK, "h1", "h1")
    assert effect.sentence.startswith(start)


@pytest.mark.parametrize(
    "new",
    [
        {"migration": True},
        {"rollback_timeout": 90},
        {"endpoint": {**endpoint(1), "address": "198.51.100.99"}},
        {"stack": "kvm-lab/other.h1"},
        {"endpoint": {**endpoint(1), "user": "admin"}, "stack": "kvm-lab/other.h1"},
    ],
)
def test_what_a_bridge_is_not_made_of_is_safe(new: dict[str, Any]) -> None:
    (effect,) = effects(plan(changed(bridge(1), **new)))
    assert (effect.verdict, effect.host) == (Verdict.SAFE, "h1")


def own_host(**more: object) -> Step:
    inputs = {"endpoint": endpoint(1), "user": "ann", "keys": ["k"], "generation": 2.0, "kept": [1.0], **more}
    parents = (("g2s1", "kvm:index:StudentEnvironment"),)
    return unchanged(f"{KVM}StudentHost", "g2s1", inputs, parents, inputs)


def test_a_reset_of_an_own_host_deletes_what_is_not_kept() -> None:
    lost = [
        effect
        for effect in effects(plan(changed(own_host(), generation=3.0, kept=[])))
        if effect.verdict == Verdict.DESTROYS
    ]
    assert [(effect.subject, effect.student, effect.host) for effect in lost] == [
        ("g2s1-g1", "g2s1", "h1"),
        ("g2s1-g2", "g2s1", "h1"),
    ]


def test_an_own_host_that_goes_back_loses_nothing() -> None:
    put_away = "guests, pools and networks that the student made are put away"
    assert told(changed(own_host(), generation=1.0, kept=[2.0])) == [
        ("INTERRUPTS", f"is reset: {put_away}; those of generation 1 come back")
    ]


def test_a_reset_that_was_interrupted_goes_on() -> None:
    ((verdict, sentence),) = told(seen(own_host(), generation="2, unfinished"))
    assert verdict == "INTERRUPTS"
    assert sentence.startswith("its reset was interrupted, and goes on")


def packages(before: list[str], after: list[str]) -> Step:
    step = unchanged(f"{KVM}AptPackages", "h1", {"endpoint": endpoint(1), "packages": before}, HOST)
    return changed(step, packages=after)


def test_packages_that_guests_need_are_not_taken_lightly() -> None:
    assert [verdict for verdict, _ in told(packages(["curl", "tmux"], ["curl"]))] == ["SAFE"]
    assert [verdict for verdict, _ in told(packages(["qemu-system-x86"], []))] == ["INTERRUPTS"]


def test_a_value_that_is_not_known_is_no_value() -> None:
    steps = guest("web", 1, None)
    domain = of_guest(DOMAIN, steps)
    was = replace(
        domain, old={**domain.old, "type": "kvm"}, new={**domain.new, "type": UNKNOWN}, op="replace"
    )
    ((_, sentence),) = told(*[was if step is domain else step for step in steps])
    assert sentence.endswith("its virtualisation kvm may become another; where it does not, it runs on")


@pytest.mark.parametrize(
    ("option", "value"), [("rollback_timeout", 90), ("migration", True), ("stack", "kvm-lab/other.h1")]
)
def test_another_address_is_another_machine_where_anything_else_changes(option: str, value: object) -> None:
    made = {**BRIDGE.new, "endpoint": {**endpoint(1), "address": "198.51.100.99"}, option: value}
    moved = replace(BRIDGE, op="update", new=made, changed=("endpoint", option))
    assert ("NETWORK", "br0 is made at the host's new address, if it is not there") in told(moved)


def test_an_option_that_is_not_known_is_not_passed_over_for_one_that_is() -> None:
    (told_of,) = told(changed(bridge(1), migration=True, vlan_filtering=True))
    assert told_of == ("NETWORK", "br0 changes (vlan_filtering); what that does is not known")


def test_what_an_interrupted_reset_would_delete_is_counted() -> None:
    going_on = replace(
        changed(own_host(kept=[]), generation=3.0, kept=[]), outputs={"generation": "2, unfinished"}
    )
    assert {"DESTROYS", "INTERRUPTS"} == {verdict for verdict, _ in told(going_on)}


def test_what_a_new_hypervisor_would_replace_is_not_folded_into_it() -> None:
    libvirt = unchanged(f"{KVM}LibvirtHost", "h1", {"endpoint": endpoint(1)}, HOST)
    pool = unchanged("libvirt:index/pool:Pool", "h1-pool", {"name": "kvm-lab-lab"}, HOST)
    made = plan(replace(libvirt, op="create", old={}), replace(pool, op="replace"))
    assert max(effect.verdict for effect in effects(made)) > Verdict.SAFE
