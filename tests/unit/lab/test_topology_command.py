"""`make topology` with a stand-in for `pulumi`: the page of a stack, with a look and without."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest
import yaml

from lab import topology_command
from lab.glances import NoAnswer
from lab.settings import Settings
from lab.views import HostView
from providers.errors import LabError

STACK = "room"
URN = f"urn:pulumi:{STACK}::kvm-lab"
BRIDGE = {
    "urn": f"{URN}::kvm:index:HypervisorHost$pulumi-python:dynamic/kvm:NetworkBridge::g1",
    "type": "pulumi-python:dynamic/kvm:NetworkBridge",
    "inputs": {
        "endpoint": {"host": "g1", "address": "192.0.2.11"},
        "name": "br0",
        "port": "eth0",
        "stp": False,
        "forward_delay": 0,
    },
    "outputs": {"addresses": ["192.0.2.11/24"]},
}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings of a stack with a host that is no machine of the testbed, and is off."""
    host = {
        "name": "g1",
        "address": "192.0.2.11",
        "host_keys": ["ssh-ed25519 AAAA"],
        "bridge": {"port": "eth0"},
    }
    stack_file = tmp_path / f"Pulumi.{STACK}.yaml"
    stack_file.write_text(yaml.safe_dump({"config": {"kvm-lab:hosts": [host]}}))
    away = HostView("g1", "192.0.2.11", "br0", error=NoAnswer("g1", "No route to host", "look"))
    monkeypatch.setattr(topology_command, "look", lambda _: [away])
    return Settings(
        root=tmp_path,
        stack=STACK,
        stack_file=stack_file,
        testbed=tmp_path / ".lab/testbed",
        bridge="none",
        network=IPv4Network("198.51.100.0/24"),
    )


def give_state(root: Path, command: str) -> None:
    (root / "state.json").write_text(json.dumps({"deployment": {"resources": [BRIDGE]}}))
    pulumi = root / ".lab/bin/pulumi"
    pulumi.parent.mkdir(parents=True)
    pulumi.write_text(f"#!/bin/sh\n{command}\n")
    pulumi.chmod(0o755)


def page_of(settings: Settings) -> str:
    return (settings.root / f".lab/topology/{STACK}.html").read_text()


def test_the_page_has_what_the_state_and_the_look_tell(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    give_state(settings.root, f"exec cat {settings.root}/state.json")
    assert topology_command.topology(settings) == 0
    assert capsys.readouterr().out == f".lab/topology/{STACK}.html\n"
    text = page_of(settings)
    assert "192.0.2.11/24" in text
    assert "not read: No route to host" in text


def test_without_a_look_the_state_is_drawn(settings: Settings) -> None:
    give_state(settings.root, f"exec cat {settings.root}/state.json")
    assert topology_command.topology(replace(settings, look=False)) == 0
    assert "192.0.2.11/24" in page_of(settings)
    assert "Not looked at" in page_of(settings)


def test_a_state_that_cannot_be_read_leaves_the_look(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    give_state(settings.root, "echo 'error: no stack named room' >&2; exit 1")
    assert topology_command.topology(settings) == 0
    assert "no stack named room" in capsys.readouterr().err
    assert "not read: No route to host" in page_of(settings)


def test_without_a_look_and_a_state_there_is_no_page(settings: Settings) -> None:
    give_state(settings.root, "echo 'error: no stack named room' >&2; exit 1")
    with pytest.raises(LabError, match="no stack named room"):
        topology_command.topology(replace(settings, look=False))
    assert not (settings.root / ".lab/topology").exists()
