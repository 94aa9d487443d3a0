"""The policy pack in a real engine: a foreign program, resources of the types that it judges, no host."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from policies.rules.catalogue import COUNTING, RULES
from tests.conftest import ROOT
from tests.e2e.foreign_program import ForeignProgram
from tests.e2e.stack import Outcome

KVM = "pulumi-python:dynamic/kvm:"
SEED = "libvirt:index/cloudInitDisk:CloudInitDisk"
DOMAIN = "libvirt:index/domain:Domain"
VOLUME = "libvirt:index/volume:Volume"
PASSWORD = "correct-horse-battery"
HOST_KEY = "ssh-ed25519+AAAAC3NzaC1lZDI1NTE5AAAAILJXi3QC1UZ%2FKnv3Eq6TFOkkP0%2FqOFWvmHIGZ4fwrKtM"
PINNED = f"qemu+ssh://root@127.0.0.1:9/system?host_keys={HOST_KEY}"
KEYS = {"host": "g1s1", "address": "198.51.100.11", "host_keys": ["ssh-ed25519 AAAA"]}
RANGES = {"addresses-inside-the-lab": {"networks": ["198.51.100.0/24"], "mac_prefixes": ["52:54:00"]}}
BRIDGE = {"endpoint": KEYS, "name": "br0", "stp": False, "forward_delay": 0, "migration": True}
SOUND = {"kernel": {"stp": False, "forward_delay": 0}}


@dataclass(frozen=True)
class Case:
    """Something that a rule forbids: where it stands, and what the refusal says of it."""

    rule: str
    kind: str
    inputs: Callable[[object], dict[str, Any]]
    bad: object
    words: tuple[str, ...]

    def entry(self, value: object) -> dict[str, Any]:
        """Return the resource with this value in the option in question."""
        return {"type": self.kind, "name": self.rule, "inputs": self.inputs(value)}


CASES = (
    Case(
        "migration-needs-bridge-without-delay",
        f"{KVM}NetworkBridge",
        lambda value: {**BRIDGE, "stp": value, "read_back": SOUND},
        True,
        ("stp is true, wanted false with migration on",),
    ),
    Case(
        "hypervisor-has-no-desktop",
        f"{KVM}AptPackages",
        lambda value: {"endpoint": KEYS, "packages": ["htop", value]},
        "task-gnome-desktop",
        ("packages[1] is task-gnome-desktop",),
    ),
    Case(
        "host-keys-are-pinned",
        f"{KVM}LibvirtHost",
        lambda value: {"endpoint": {**KEYS, "host_keys": value}},
        [],
        ("endpoint.host_keys is empty",),
    ),
    Case(
        "base-image-has-checksum",
        VOLUME,
        lambda value: {"name": "debian-12", "source": value},
        f"https://{PASSWORD}@mirror.example/debian-12.qcow2",
        ("source is a https URL without a checksum",),
    ),
    Case(
        "addresses-inside-the-lab",
        DOMAIN,
        lambda value: {"name": "web", "networkInterfaces": [{"bridge": "br0", "mac": value}]},
        "02:00:00:00:00:01",
        ("networkInterfaces[0].mac is 02:00:00:00:00:01", "within 52:54:00"),
    ),
    Case(
        "guests-without-password-login",
        SEED,
        lambda value: {"name": "web.iso", "userData": value},
        f"#cloud-config\nssh_pwauth: true\npassword: {PASSWORD}\n",
        ("userData: ssh_pwauth is on", "userData: password is set"),
    ),
)


def guest(name: str, address: object) -> dict[str, Any]:
    inputs = {"endpoint": KEYS, "domain": name, "address": address}
    return {"type": f"{KVM}GuestReady", "name": name, "inputs": inputs}


TWO_GUESTS = [guest(name, "198.51.100.21") for name in ("web", "db")]


@pytest.fixture
def program(engine: None, tmp_path: Path) -> ForeignProgram:  # noqa: ARG001
    return ForeignProgram(ROOT / "tests/e2e/rules_program", tmp_path)


def config_file(folder: Path, config: Mapping[str, object]) -> tuple[str, str]:
    file = folder / "pack.json"
    file.write_text(json.dumps(config))
    return "--policy-pack-config", str(file)


def refusals(text: str, level: str = "mandatory") -> set[str]:
    """Return the rules that the engine names with this level."""
    return {rule.name for rule in RULES if f"[{level}]  {rule.name}  " in text}


def both(outcome: Outcome) -> tuple[str, str]:
    """Return what `pulumi up` said in its preview, and in the update, which failed."""
    preview, updating, update = outcome.text.partition("Updating (")
    assert updating, preview
    assert outcome.status != 0, update
    return preview, update


def counted(rule: str, values: str) -> str:
    """Return the line that counts what a rule could not judge."""
    return f"{rule}: {values} cannot be judged until the host exists"


def test_a_preview_names_what_each_rule_refuses(program: ForeignProgram, tmp_path: Path) -> None:
    entries = [case.entry(case.bad) for case in CASES]
    config = {"uri": PINNED, "resources": [*entries, *TWO_GUESTS]}
    outcome = program.run("preview", config, *config_file(tmp_path, RANGES))
    assert outcome.status != 0
    assert refusals(outcome.text) == {*(case.rule for case in CASES), "addresses-are-unique"}, outcome.text
    for words in (case.words for case in CASES):
        assert all(word in outcome.text for word in words), outcome.text
    assert "web: address is 198.51.100.21" in outcome.text


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        (f"{PINNED}&no_verify=1", "uri: no_verify is 1, wanted left out"),
        (f"{PINNED}&known_hosts_verify=ignore", "uri: known_hosts_verify is ignore, wanted normal"),
        (PINNED.partition("?")[0], "uri: host_keys is not set"),
    ],
)
def test_a_provider_is_refused_for_its_uri(uri: str, words: str, program: ForeignProgram) -> None:
    outcome = program.run("preview", {"uri": uri, "resources": []})
    assert outcome.status != 0
    assert refusals(outcome.text) == {"host-keys-are-pinned"}
    assert words in outcome.text


def test_a_preview_passes_what_is_sound(program: ForeignProgram, tmp_path: Path) -> None:
    sound = {
        "migration-needs-bridge-without-delay": False,
        "hypervisor-has-no-desktop": "virt-manager",
        "host-keys-are-pinned": ["ssh-ed25519 AAAA"],
        "base-image-has-checksum": "/srv/debian-12.qcow2",
        "addresses-inside-the-lab": "52:54:00:00:00:01",
        "guests-without-password-login": "#cloud-config\nssh_pwauth: false\n",
    }
    config = {"uri": PINNED, "resources": [case.entry(sound[case.rule]) for case in CASES]}
    outcome = program.run("preview", config, *config_file(tmp_path, RANGES))
    assert outcome.status == 0, outcome.text
    assert refusals(outcome.text) == set()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule)
def test_what_an_unknown_hides_is_counted_and_then_refused(
    case: Case, program: ForeignProgram, tmp_path: Path
) -> None:
    config = {"uri": PINNED, "resources": [case.entry({"later": case.bad})]}
    preview, update = both(program.run("up", config, *config_file(tmp_path, RANGES), "--yes"))
    assert counted(case.rule, "1 value of 1 resource") in preview
    assert refusals(preview) == set()
    assert refusals(update) == {case.rule}, update
    assert all(word in update for word in case.words), update
    assert COUNTING not in update
    made = {resource["type"] for resource in program.resources()}
    assert "pulumi-python:dynamic:Resource" in made  # what the value came from
    assert case.kind not in made


def test_an_address_that_was_unknown_is_compared_after_the_update(program: ForeignProgram) -> None:
    later = {"later": "198.51.100.21"}
    guests = [guest(name, later) for name in ("web", "db")]
    preview, update = both(program.run("up", {"resources": guests}, "--yes"))
    assert counted("addresses-are-unique", "2 values of 2 resources") in preview
    assert refusals(preview) == set()
    assert refusals(update) == {"addresses-are-unique"}, update


def test_the_kernel_is_judged_as_it_was_read_after_the_update(program: ForeignProgram) -> None:
    kernel = {"kernel": {"stp": False, "forward_delay": 15}}
    entry = {"type": f"{KVM}NetworkBridge", "name": "br0", "inputs": {**BRIDGE, "read_back": kernel}}
    preview, update = both(program.run("up", {"resources": [entry]}, "--yes"))
    assert counted("bridge-in-kernel-without-delay", "2 values of 1 resource") in preview
    assert refusals(preview) == set()
    assert refusals(update) == {"bridge-in-kernel-without-delay"}, update
    assert "kernel.forward_delay is 15, wanted 0 with migration on" in update


@pytest.mark.parametrize(("level", "status"), [("advisory", 0), ("disabled", 0), ("mandatory", 1)])
def test_levels_are_configured(level: str, status: int, program: ForeignProgram, tmp_path: Path) -> None:
    desktop = CASES[1]
    given = config_file(tmp_path, {"all": "advisory", desktop.rule: level})
    outcome = program.run("preview", {"resources": [desktop.entry(desktop.bad)]}, *given)
    assert (outcome.status != 0) == bool(status), outcome.text
    assert (desktop.words[0] in outcome.text) == (level != "disabled")
    for known in ("advisory", "mandatory"):
        assert refusals(outcome.text, known) == ({desktop.rule} if level == known else set())


def test_bounds_are_configured(program: ForeignProgram, tmp_path: Path) -> None:
    desktop = CASES[1]
    given = config_file(tmp_path, {desktop.rule: {"allowed": [desktop.bad], "forbidden": ["htop"]}})
    outcome = program.run("preview", {"resources": [desktop.entry(desktop.bad)]}, *given)
    assert outcome.status != 0
    assert "packages[0] is htop" in outcome.text
    assert "packages[1]" not in outcome.text


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            {"hypervisor-has-no-desktop": {"allowed": "xorg"}},
            "hypervisor-has-no-desktop: allowed: Invalid type",
        ),
        ({"hypervisor-has-no-desktop": "strict"}, '"strict" is not a valid enforcement level'),
        ({"hypervisor-has-no-desktop": {"alowed": []}}, "configuration: alowed is not one of its options"),
        ({"addresses-inside-the-lab": {"networks": ["300.0.0.0/8"]}}, "networks[0]: expected a network"),
        ({"addresses-inside-the-lab": {"mac_prefixes": ["QQ"]}}, "mac_prefixes.0: Does not match pattern"),
    ],
)
def test_a_wrong_configuration_is_refused(
    config: dict[str, Any], words: str, program: ForeignProgram, tmp_path: Path
) -> None:
    outcome = program.run("preview", {"resources": []}, *config_file(tmp_path, config))
    assert outcome.status != 0
    assert words in outcome.text
    assert "Traceback" not in outcome.text


def test_a_secret_is_in_no_refusal(program: ForeignProgram) -> None:
    seed = CASES[-1]
    outcome = program.run("preview", {"uri": PINNED, "resources": [seed.entry({"secret": seed.bad})]})
    assert refusals(outcome.text) == {seed.rule}
    assert PASSWORD not in outcome.text


def test_nothing_unknown_is_no_remark(program: ForeignProgram) -> None:
    outcome = program.run("preview", {"resources": [TWO_GUESTS[0]]})
    assert outcome.status == 0, outcome.text
    assert COUNTING not in outcome.text
