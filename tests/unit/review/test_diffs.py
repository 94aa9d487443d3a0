"""What changes in files of hosts, as plans tell it."""

from __future__ import annotations

from dataclasses import replace

from policies.rules.verdict import UNKNOWN
from providers.state.interfaces import MAIN
from review.diffs import diffs
from review.model import Step
from review.plan import parse
from tests.cases.review import loader
from tests.unit.review.samples import bridge, created, deleted, plan


def lines(name: str, path: str) -> list[str]:
    """The lines that differ in the one file of that path, without the names of the file."""
    (diff,) = [diff for diff in diffs(parse(loader.preview(name))) if diff.path == path]
    return [line for line in diff.lines[2:] if line.startswith(("+", "-"))]


def of_step(step: Step) -> list[str]:
    return [line for diff in diffs(plan(step)) for line in diff.lines]


def test_an_option_of_a_bridge_is_a_line_of_its_stanza() -> None:
    assert lines("stp", MAIN) == [
        "-    bridge_stp off",
        "-    bridge_fd 0",
        "+    bridge_stp on",
        "+    bridge_fd 4",
    ]


def test_what_a_plan_does_not_tell_of_a_file_is_not_made_up() -> None:
    found = of_step(created(bridge(1)))
    assert found[:3] == [
        f"--- h1:{MAIN}",
        f"+++ h1:{MAIN}",
        "@@ -1,2 +1,11 @@ the addresses, and other lines, are not known here",
    ]
    assert "-iface eth0 inet …" in found
    assert "+iface br0 inet …" in found
    assert not any("dhcp" in line for line in found)


def test_a_bridge_that_goes_leaves_the_port_as_a_new_one_finds_it() -> None:
    made = [line for line in of_step(created(bridge(1))) if line[0] in "+-"][2:]
    gone = [line for line in of_step(deleted(bridge(1))) if line[0] in "+-"][2:]
    assert sorted(gone) == sorted({"+": "-", "-": "+"}[line[0]] + line[1:] for line in made)


def test_what_only_the_program_keeps_is_in_no_file() -> None:
    step = bridge(1)
    assert of_step(replace(step, op="update", new={**step.new, "migration": True})) == []


def test_inputs_that_are_not_known_yet_make_no_file() -> None:
    step = bridge(1)
    assert of_step(replace(step, op="update", new={**step.new, "stp": UNKNOWN})) == []


def test_bridge_netfilter_is_in_two_files_of_ours() -> None:
    changed = lines("netfilter", "/etc/sysctl.d/90-kvm-lab-bridge-netfilter.conf")
    assert changed[0] == "-net.bridge.bridge-nf-call-iptables = 0"
    assert changed[-1] == "+net.bridge.bridge-nf-call-arptables = 1"


def test_packages_are_a_list() -> None:
    assert lines("packages", "packages") == ["+tmux"]
