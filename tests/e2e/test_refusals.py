"""What must never be is refused, with the policy pack and without it, before any host is contacted."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.e2e.foreign_program import ForeignProgram
from tests.e2e.stack import Stack

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAILJXi3QC1UZ/Knv3Eq6TFOkkP0/qOFWvmHIGZ4fwrKtM"


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that would notice if it were contacted."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture
def host(listener: socket.socket) -> dict[str, Any]:
    return {
        "name": "g1s1",
        "address": "127.0.0.1",
        "port": listener.getsockname()[1],
        "host_keys": [HOST_KEY],
        "bridge": {"port": "eth0"},
        "guests": [],
    }


@pytest.fixture
def stack(engine: None, host: dict[str, Any], tmp_path: Path) -> Stack:  # noqa: ARG001
    return Stack("refused", tmp_path, tmp_path, [host])


def contacted(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def test_a_preview_contacts_nobody(stack: Stack, listener: socket.socket) -> None:
    outcome = stack.pulumi("preview", "--policy-pack", "policies")
    assert outcome.status == 0, outcome.text
    assert "NetworkBridge" in outcome.text
    assert not contacted(listener)


@pytest.mark.parametrize("policies", [True, False])
def test_stp_on_a_host_with_migration(
    stack: Stack, host: dict[str, Any], listener: socket.socket, *, policies: bool
) -> None:
    host["migration"] = True
    host["bridge"] |= {"stp": True, "forward_delay": 15}
    outcome = stack.up(policies=policies)
    assert outcome.status != 0
    for word in ("g1s1", "stp", "forward_delay", "15", "migration"):
        assert word in outcome.text
    assert not contacted(listener)


@pytest.mark.parametrize("policies", [True, False])
def test_a_desktop_on_a_hypervisor(
    stack: Stack, host: dict[str, Any], listener: socket.socket, *, policies: bool
) -> None:
    host["packages"] = ["task-gnome-desktop"]
    outcome = stack.up(policies=policies)
    assert outcome.status != 0
    assert "task-gnome-desktop" in outcome.text
    assert not contacted(listener)


def test_all_mistakes_at_once(stack: Stack, host: dict[str, Any], listener: socket.socket) -> None:
    host |= {"port": 70000, "user": "not a name", "nme": "x"}
    host["bridge"] |= {"name": "a-name-far-too-long", "forward_delay": 31}
    outcome = stack.up()
    assert outcome.status != 0
    for word in (
        "hosts[0].port",
        "70000",
        "hosts[0].user",
        "hosts[0].nme",
        "hosts[0].bridge.name",
        "a-name-far-too-long",
        "hosts[0].bridge.forward_delay",
        "31",
    ):
        assert word in outcome.text, outcome.text
    assert not contacted(listener)


def test_the_pack_alone_refuses_a_program_that_does_not_check(
    engine: None,  # noqa: ARG001
    host: dict[str, Any],
    listener: socket.socket,
    tmp_path: Path,
) -> None:
    """The pack imports nothing of ours: it judges resources of these types in any program."""
    bridge = {
        "endpoint": {"host": "g1s1", "address": "127.0.0.1", "port": host["port"], "host_keys": [HOST_KEY]},
        "stack": "bare-program/refused",
        "name": "br0",
        "port": "eth0",
        "stp": True,
        "forward_delay": 15,
        "max_wait": 0,
        "dns_search": [],
        "ipv6_auto": True,
        "rollback_timeout": 60,
        "migration": True,
    }
    program = ForeignProgram(ROOT / "tests/e2e/bare_program", tmp_path)
    outcome = program.run("preview", {"bridge": bridge})
    assert outcome.status != 0
    for word in ("mandatory", "stp", "forward_delay", "15", "migration"):
        assert word in outcome.text, outcome.text
    assert not contacted(listener)
