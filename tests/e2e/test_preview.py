"""`pulumi preview` connects to nothing: its hosts are a socket of this test, which counts."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import NAMESPACE, Lab
from lab.look import look_at_hosts
from tests.conftest import DIRECTORY, ROOT
from tests.contract.conftest import make_key
from tests.e2e.conftest import IMAGE
from tests.e2e.stack import Stack, guest_entry


class Counter:
    """Listens on a free port of 127.0.0.1, counts who connects and hangs up."""

    def __init__(self) -> None:
        self.connections = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.listener.accept()[0].close()
                self.connections += 1


@pytest.fixture
def counter() -> Iterator[Counter]:
    made = Counter()
    made.thread.start()
    yield made
    made.listener.shutdown(socket.SHUT_RDWR)
    made.listener.close()
    made.thread.join()


@pytest.mark.usefixtures("engine", "guest_image")
def test_a_preview_connects_to_no_host(counter: Counter, tmp_path: Path) -> None:
    public = make_key(tmp_path / "id")
    host = {
        "name": "p1",
        "address": "127.0.0.1",
        "port": counter.port,
        "identity_file": str(tmp_path / "id"),
        "host_keys": [public],
        "migration": True,
        "bridge": {"port": "eth0"},
        "guests": [guest_entry("web", "198.51.100.21/24", {"public": str(tmp_path / "id.pub")})],
    }
    stack = Stack("preview", DIRECTORY / "preview", DIRECTORY, [host], [IMAGE])
    try:
        plan = stack.plan("--policy-pack", "policies")
        told = stack.pulumi("preview").text
    finally:
        stack.forget()
    assert plan["NetworkBridge p1"] == plan["Domain web"] == "create"
    assert "no host is looked at" in told
    assert counter.connections == 0
    (sight,) = look_at_hosts(
        Lab.from_mapping({"hosts": [host], "images": [IMAGE]}, ROOT, stack="x"), NAMESPACE, "x"
    )
    assert sight.error is not None
    assert counter.connections > 0, "this counter would have counted"
