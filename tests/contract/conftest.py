"""Servers and keys for the contract tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from providers.transport import Endpoint
from tests.contract.openssh import OpenSshServer, unpack_sshd
from tests.contract.server import InProcessServer
from tests.proxy import Proxy

CACHE = Path(__file__).parents[2] / ".lab/tests/sshd"
KEY_KINDS = {"ed25519": "ssh-ed25519", "ecdsa": "ecdsa-sha2-nistp256", "rsa": "ssh-rsa"}


@dataclass(frozen=True)
class Server:
    """A running server behind a proxy; `keys` are its public host keys by type."""

    proxy: Proxy
    keys: dict[str, str]
    endpoint: Endpoint


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> str:
    """Make a private key at `path` and return the public one: type and base64."""
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(argv, check=True)
    return path.with_name(path.name + ".pub").read_text().strip()


@pytest.fixture(scope="session")
def key_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="session")
def identity(key_folder: Path) -> Path:
    make_key(key_folder / "id")
    return key_folder / "id"


@pytest.fixture(scope="session")
def host_keys(key_folder: Path) -> dict[str, str]:
    return {name: make_key(key_folder / f"host_{kind}", kind) for kind, name in KEY_KINDS.items()}


@pytest.fixture(scope="session", params=["paramiko", "openssh"])
def port(
    request: pytest.FixtureRequest,
    key_folder: Path,
    identity: Path,
    host_keys: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[int]:
    files = [key_folder / f"host_{kind}" for kind in KEY_KINDS]
    assert len(files) == len(host_keys)
    with ExitStack() as stack:
        if request.param == "paramiko":
            yield stack.enter_context(InProcessServer(files, identity)).port
        else:
            folder = tmp_path_factory.mktemp("openssh") / "server"
            authorized_keys = identity.with_suffix(".pub")
            yield stack.enter_context(OpenSshServer(unpack_sshd(CACHE), folder, files, authorized_keys)).port


@pytest.fixture
def server(port: int, identity: Path, host_keys: dict[str, str]) -> Iterator[Server]:
    with Proxy(port) as proxy:
        endpoint = Endpoint(
            host="g1s1",
            address="127.0.0.1",
            port=proxy.port,
            identity_file=str(identity),
            host_keys=(host_keys["ssh-ed25519"],),
        )
        yield Server(proxy, host_keys, endpoint)
