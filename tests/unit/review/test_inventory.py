from dataclasses import replace

from policies.rules.verdict import UNKNOWN
from review.inventory import after, before
from review.model import GuestFacts, HostFacts, Inventory
from tests.unit.review.samples import KVM, bridge, created, deleted, endpoint, guest, plan, unchanged


def test_a_host_and_a_students_guest_as_the_state_has_them() -> None:
    same = plan(bridge(1), *guest("g1s1", 1, "g1s1", generation=2))
    host = HostFacts(
        name="h1",
        address="198.51.100.1",
        bridge="br0",
        port="eth0",
        extra_ports=("eth1",),
        addresses=("198.51.100.1/24",),
        guests=(
            GuestFacts(
                name="g1s1",
                host="h1",
                address="198.51.100.101",
                mac="52:54:00:ab:cd:ef",
                domain="lab-g1s1",
                memory_mib=256,
                vcpus=2,
                student="g1s1",
                disks=("g1s1-g2", "g1s1-g1"),
            ),
        ),
    )
    assert before(same) == after(same) == Inventory("lab", (host,))


def test_what_is_made_is_only_after_and_what_goes_only_before() -> None:
    new = [created(step) for step in (bridge(2), *guest("web", 2, None))]
    gone = [deleted(step) for step in (bridge(1), *guest("db", 1, None))]
    both = plan(*new, *gone)
    assert [(host.name, [g.name for g in host.guests]) for host in before(both).hosts] == [("h1", ["db"])]
    assert [(host.name, [g.name for g in host.guests]) for host in after(both).hosts] == [("h2", ["web"])]
    assert after(both).hosts[0].addresses == ()


def test_each_side_has_its_own_inputs() -> None:
    edited = replace(bridge(1), op="update", new={**bridge(1).new, "stp": True, "forward_delay": 2.0})
    moved = [
        replace(step, op="replace", new={**step.new, "endpoint": endpoint(10)})
        for step in guest("web", 1, None)
        if "endpoint" in step.new
    ]
    both = plan(edited, bridge(10), *moved)
    old, new = before(both), after(both)
    assert [(host.stp, host.forward_delay) for host in old.hosts] == [(False, 0), (False, 0)]
    assert [(host.stp, host.forward_delay) for host in new.hosts] == [(True, 2), (False, 0)]
    assert [[g.name for g in host.guests] for host in old.hosts] == [["web"], []]
    assert [[g.name for g in host.guests] for host in new.hosts] == [[], ["web"]]


def test_names_are_in_the_order_that_people_count_in() -> None:
    steps = [step for n in (10, 2, 1) for step in (bridge(n), *guest(f"g1s{n}", 1, f"g1s{n}"))]
    found = after(plan(*steps))
    assert [host.name for host in found.hosts] == ["h1", "h2", "h10"]
    assert [each.name for each in found.hosts[0].guests] == ["g1s1", "g1s2", "g1s10"]


def test_a_host_may_be_a_students() -> None:
    account = unchanged(
        f"{KVM}StudentHost",
        "g2s1",
        {"endpoint": endpoint(1), "user": "s"},
        (("g2s1", "kvm:index:StudentEnvironment"),),
    )
    assert after(plan(bridge(1), account)).hosts[0].student == "g2s1"


def test_the_disk_in_use_is_the_domains_where_the_state_tells() -> None:
    steps = guest("g1s1", 1, None, generation=2)
    path = "/var/lib/libvirt/images/kvm-lab-lab/g1s1-g1.qcow2"
    known = [
        replace(step, old={**step.old, "disks": [{"volumeId": path}]}) if "disks" in step.old else step
        for step in steps
    ]
    assert before(plan(*known)).hosts[0].guests[0].disks == ("g1s1-g1", "g1s1-g2")
    assert before(plan(*steps)).hosts[0].guests[0].disks == ("g1s1-g2", "g1s1-g1")


def test_a_guest_whose_making_was_cut_short_and_inputs_of_no_known_form() -> None:
    cut = [step for step in guest("web", 3, None) if "GuestDisk" in step.type]
    odd = replace(bridge(1), new={"endpoint": UNKNOWN, "name": 7, "extra_ports": None, "forward_delay": True})
    found = after(plan(odd, *cut))
    assert found.hosts[0] == HostFacts("h1", "", "", "", addresses=("198.51.100.1/24",))
    assert found.hosts[1] == HostFacts("h3", "", "", "", guests=(GuestFacts("web", "h3", "", "", "lab-web"),))
