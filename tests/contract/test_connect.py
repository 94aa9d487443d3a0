"""Who is let in: pinned keys, logins, deadlines, on a server in this process and on a real OpenSSH server."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.transport import (
    AuthError,
    ConnectError,
    Endpoint,
    HostKeyMismatch,
    connect,
    fingerprint,
)
from providers.transport.connecting import SESSIONS_PER_HOST
from tests.contract.conftest import Server, make_key


def with_(endpoint: Endpoint, **changes: object) -> Endpoint:
    return Endpoint.model_validate({**endpoint.model_dump(), **changes})


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    path = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 5
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
    yield
    process.terminate()
    process.wait(10)


class TestHostKey:
    @pytest.mark.parametrize("kind", ["ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa"])
    def test_host_with_several_keys_shows_the_pinned_one(self, server: Server, kind: str) -> None:
        with connect(with_(server.endpoint, host_keys=[server.keys[kind]])) as session:
            assert session.run(["true"]).exit_status == 0

    def test_any_of_several_pinned_keys_will_do(self, server: Server, tmp_path: Path) -> None:
        other = make_key(tmp_path / "other", "rsa")
        with connect(with_(server.endpoint, host_keys=[other, server.keys["ssh-ed25519"]])) as session:
            assert session.run(["true"]).exit_status == 0

    def test_other_key_is_refused_with_both_fingerprints(self, server: Server, tmp_path: Path) -> None:
        other = make_key(tmp_path / "other")
        with pytest.raises(HostKeyMismatch) as caught:
            connect(with_(server.endpoint, host_keys=[other]))
        seen = subprocess.run(
            ["ssh-keygen", "-lf", "-"],
            input=server.keys["ssh-ed25519"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()[1]
        for part in ("g1s1", fingerprint(other), seen, "host_keys"):
            assert part in str(caught.value)

    def test_host_without_a_key_of_the_pinned_type(self, server: Server, tmp_path: Path) -> None:
        path = tmp_path / "p384"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ecdsa", "-b", "384", "-N", "", "-f", str(path)], check=True
        )
        other = path.with_suffix(".pub").read_text()
        with pytest.raises(HostKeyMismatch) as caught:
            connect(with_(server.endpoint, host_keys=[other]))
        assert fingerprint(other) in str(caught.value)
        assert fingerprint(server.keys["ssh-ed25519"]) in str(caught.value)

    def test_nothing_is_logged_in_to_behind_a_wrong_key(self, server: Server, tmp_path: Path) -> None:
        before = threading.active_count()
        other = make_key(tmp_path / "other")
        for _ in range(SESSIONS_PER_HOST + 1):
            with pytest.raises(HostKeyMismatch):
                connect(with_(server.endpoint, host_keys=[other]))
        deadline = time.monotonic() + 5
        while threading.active_count() > before + 20 and time.monotonic() < deadline:
            time.sleep(0.05)
        with connect(server.endpoint) as session:
            assert session.run(["true"]).exit_status == 0


class TestLogin:
    def test_refused(self, server: Server, tmp_path: Path) -> None:
        make_key(tmp_path / "stranger")
        with pytest.raises(AuthError, match=r"refused for ssh-ed25519 SHA256:.*") as caught:
            connect(with_(server.endpoint, identity_file=str(tmp_path / "stranger")))
        assert "ssh-copy-id" in str(caught.value)

    def test_missing_identity_file(self, server: Server, tmp_path: Path) -> None:
        with pytest.raises(AuthError, match=r"none[\s\S]*no such file"):
            connect(with_(server.endpoint, identity_file=str(tmp_path / "none")))

    def test_protected_identity_file(self, server: Server, tmp_path: Path) -> None:
        make_key(tmp_path / "protected", passphrase="correct horse")
        with pytest.raises(AuthError, match=r"passphrase[\s\S]*ssh-add"):
            connect(with_(server.endpoint, identity_file=str(tmp_path / "protected")))

    def test_protected_identity_file_of_the_old_form(self, server: Server, tmp_path: Path) -> None:
        argv = [
            "ssh-keygen",
            "-q",
            "-t",
            "rsa",
            "-m",
            "PEM",
            "-N",
            "correct horse",
            "-f",
            str(tmp_path / "pem"),
        ]
        subprocess.run(argv, check=True)
        with pytest.raises(AuthError, match=r"passphrase[\s\S]*ssh-add"):
            connect(with_(server.endpoint, identity_file=str(tmp_path / "pem")))

    def test_file_that_is_no_private_key(self, server: Server, identity: Path) -> None:
        with pytest.raises(AuthError, match=r"not a private key[\s\S]*\.pub"):
            connect(with_(server.endpoint, identity_file=f"{identity}.pub"))

    @pytest.mark.usefixtures("agent")
    def test_by_the_agent(self, server: Server, identity: Path, tmp_path: Path) -> None:
        make_key(tmp_path / "stranger")
        for key in (tmp_path / "stranger", identity):
            subprocess.run(["ssh-add", "-q", str(key)], check=True)
        with connect(with_(server.endpoint, identity_file=None)) as session:
            assert session.run(["true"]).exit_status == 0

    @pytest.mark.usefixtures("agent")
    def test_agent_without_keys(self, server: Server) -> None:
        with pytest.raises(AuthError, match="holds no key"):
            connect(with_(server.endpoint, identity_file=None))

    def test_no_agent(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
        with pytest.raises(AuthError, match="SSH_AUTH_SOCK is not set"):
            connect(with_(server.endpoint, identity_file=None))


class TestDeadline:
    def test_nobody_listens(self, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with pytest.raises(ConnectError, match=rf"g1s1.*port {port}[\s\S]*Connection refused"):
            connect(with_(server.endpoint, port=port))

    def test_name_that_does_not_resolve(self, server: Server) -> None:
        with pytest.raises(ConnectError, match=r"no-such-host\.invalid"):
            connect(with_(server.endpoint, address="no-such-host.invalid"))

    def test_server_that_never_speaks(self, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            began = time.monotonic()
            with pytest.raises(ConnectError, match="handshake failed"):
                connect(with_(server.endpoint, port=silent.getsockname()[1]), timeout=1)
            assert time.monotonic() - began < 4

    def test_network_that_dies_before_the_login(self, server: Server) -> None:
        server.proxy.freeze()
        began = time.monotonic()
        with pytest.raises(ConnectError):
            connect(server.endpoint, timeout=1)
        assert time.monotonic() - began < 4

    def test_server_that_speaks_something_else(self, server: Server) -> None:
        with socket.create_server(("127.0.0.1", 0)) as web:

            def answer() -> None:
                peer, _ = web.accept()
                with peer:
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 200)

            threading.Thread(target=answer, daemon=True).start()
            with pytest.raises(ConnectError, match="handshake failed"):
                connect(with_(server.endpoint, port=web.getsockname()[1]), timeout=5)


class TestTurns:
    def test_a_host_has_a_limited_number_of_sessions(self, server: Server) -> None:
        lock, now, most = threading.Lock(), 0, 0

        def work() -> None:
            nonlocal now, most
            with connect(server.endpoint) as session:
                with lock:
                    now += 1
                    most = max(most, now)
                session.run(["sleep", "0.3"])
                with lock:
                    now -= 1

        threads = [threading.Thread(target=work) for _ in range(3 * SESSIONS_PER_HOST)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == SESSIONS_PER_HOST

    def test_a_thread_with_a_session_need_not_wait_for_another(self, server: Server) -> None:
        together = threading.Barrier(SESSIONS_PER_HOST, timeout=30)
        done: list[int] = []

        def work() -> None:
            with connect(server.endpoint):
                together.wait()
                with connect(server.endpoint) as second:
                    done.append(second.run(["true"]).exit_status)

        threads = [threading.Thread(target=work) for _ in range(SESSIONS_PER_HOST)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert done == [0] * SESSIONS_PER_HOST

    def test_sessions_that_last_take_up_no_turn(self, server: Server) -> None:
        with contextlib.ExitStack() as kept:
            for _ in range(SESSIONS_PER_HOST + 1):
                kept.enter_context(connect(server.endpoint, lasting=True))
            last: list[int] = []

            def work() -> None:
                with connect(server.endpoint) as session:
                    last.append(session.run(["true"]).exit_status)

            thread = threading.Thread(target=work, daemon=True)
            thread.start()
            thread.join(30)
            assert last == [0]

    def test_descriptors_are_given_back(self, server: Server) -> None:
        def descriptors() -> int:
            return len(list(Path("/proc/self/fd").iterdir()))

        with connect(server.endpoint) as session:
            session.run(["true"])
        before = descriptors()
        for _ in range(5):
            with connect(server.endpoint) as session:
                session.run(["true"])
        deadline = time.monotonic() + 10
        while descriptors() > before + 12 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert descriptors() <= before + 12
