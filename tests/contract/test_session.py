"""What a session promises, on a server in this process and on a real OpenSSH server."""

from __future__ import annotations

import hashlib
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.errors import LabError
from providers.transport import (
    CommandFailed,
    CommandTimedOut,
    ConnectError,
    LockTimedOut,
    Session,
    TransportError,
    command,
    connect,
)
from tests.contract.conftest import Server

ALL_BYTES = bytes(range(256)) * 4096


@pytest.fixture
def session(server: Server) -> Iterator[Session]:
    with connect(server.endpoint) as opened:
        yield opened


@pytest.fixture
def lock_name(server: Server) -> Iterator[str]:
    name = f"test-{uuid.uuid4().hex[:8]}"
    yield name
    with connect(server.endpoint) as opened:
        opened.remove(f"/run/kvm-lab-locks/{name}.lock")


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def ended(pid: int, within: float = 10.0) -> bool:
    """Wait for a process of this machine to end."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


class TestRun:
    def test_gives_outputs_and_exit_status(self, session: Session) -> None:
        result = session.run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
        assert (result.stdout, result.stderr, result.exit_status) == ("out\n", "err\n", 3)

    def test_passes_arguments_as_they_are(self, session: Session) -> None:
        arguments = ["", "two words", "it's", '"', "$HOME", "`id`", "a\nb", "*", "\\", "-n", "ü"]
        result = session.run(["printf", "%s|", *arguments])
        assert result.stdout == "".join(f"{argument}|" for argument in arguments)

    def test_sets_locale_path_and_environment(self, session: Session) -> None:
        show = 'echo "$LC_ALL $DEBIAN_FRONTEND $PATH"'
        result = session.run(["sh", "-c", show], env={"DEBIAN_FRONTEND": "nonin teractive"})
        assert result.stdout.strip() == f"C nonin teractive {command.SYSTEM_PATH}"

    def test_feeds_binary_stdin(self, session: Session) -> None:
        result = session.run(["sha256sum"], stdin=ALL_BYTES)
        assert result.stdout.split()[0] == hashlib.sha256(ALL_BYTES).hexdigest()

    def test_a_command_that_is_not_fed_needs_no_end_of_ours(self, session: Session) -> None:
        assert session.run(["readlink", "/proc/self/fd/0"]).stdout == "/dev/null\n"
        assert session.run(["cat"]).stdout == ""

    def test_command_that_leaves_its_stdin_unread(self, session: Session) -> None:
        assert session.run(["true"], stdin=ALL_BYTES * 8).exit_status == 0

    def test_failure_names_host_command_status_and_output(self, session: Session) -> None:
        with pytest.raises(CommandFailed) as caught:
            session.run(["sh", "-c", "echo broken >&2; exit 7"])
        assert caught.value.exit_status == 7
        for part in ("g1s1", "sh -c", "exit status 7", "broken"):
            assert part in str(caught.value)

    def test_missing_command(self, session: Session) -> None:
        with pytest.raises(CommandFailed, match="no-such-command"):
            session.run(["no-such-command"])

    def test_command_ended_by_a_signal(self, session: Session) -> None:
        with pytest.raises(CommandFailed, match=r"ended by a signal|exit status 137"):
            session.run(["sh", "-c", "kill -KILL $$"])

    def test_bytes_that_are_no_text(self, session: Session) -> None:
        assert session.run(["printf", "a\\377b"]).stdout == "a\ufffdb"

    def test_large_outputs_are_drained_together_and_bounded(self, session: Session) -> None:
        both = "head -c 100000000 /dev/zero & head -c 100000000 /dev/zero >&2; wait; echo the end"
        result = session.run(["sh", "-c", both], timeout=300)
        assert result.stdout.endswith("the end\n")
        assert "bytes left out" in result.stdout
        assert len(result.stdout) < command.OUTPUT_KEPT + 100
        assert len(result.stderr) < command.OUTPUT_KEPT + 100

    def test_lines_come_while_the_command_runs(self, session: Session) -> None:
        came: list[tuple[str, float]] = []
        script = "echo one; sleep 1; echo two >&2; printf three"
        session.run(["sh", "-c", script], on_line=lambda line: came.append((line, time.monotonic())))
        assert [line for line, _ in came] == ["one", "two", "three"]
        assert came[1][1] - came[0][1] > 0.5

    def test_deadline_ends_the_command_on_the_host(self, session: Session) -> None:
        pids: list[str] = []
        began = time.monotonic()
        with pytest.raises(CommandTimedOut, match="not done after 1 s"):
            session.run(["sh", "-c", "echo $$; sleep 60; true"], timeout=1, on_line=pids.append)
        assert time.monotonic() - began < 5
        assert ended(int(pids[0]))
        assert session.run(["echo", "alive"]).stdout == "alive\n"

    def test_deadline_kills_what_ignores_it(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(command, "KILL_AFTER", 1)
        with pytest.raises(CommandTimedOut):
            session.run(["sh", "-c", "trap '' TERM; sleep 60 & wait; sleep 60"], timeout=1)

    def test_a_command_may_exit_with_the_status_of_a_timeout(self, session: Session) -> None:
        assert session.run(["sh", "-c", "exit 124"], check=False).exit_status == 124

    def test_cut_connection_leaves_the_outcome_unknown(self, server: Server, session: Session) -> None:
        threading.Timer(0.5, server.proxy.cut).start()
        with pytest.raises(TransportError, match="outcome is unknown"):
            session.run(["sleep", "5"])
        with pytest.raises(TransportError, match="could not be started"):
            session.run(["true"])

    def test_silent_network_ends_by_the_deadline(
        self, server: Server, session: Session, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(command, "ANSWER_GRACE", 0.5)
        monkeypatch.setattr(command, "KILL_AFTER", 1)
        threading.Timer(0.3, server.proxy.freeze).start()
        with pytest.raises(CommandTimedOut, match="outcome is unknown"):
            session.run(["sleep", "2"], timeout=1)

    def test_threads_share_a_session(self, session: Session) -> None:
        outputs: list[str] = []

        def echo(number: int) -> None:
            outputs.append(session.run(["sh", "-c", f"sleep 0.2; echo {number}"]).stdout.strip())

        threads = [threading.Thread(target=echo, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outputs) == [str(number) for number in range(8)]


class TestFiles:
    def test_what_is_written_is_read(self, session: Session, tmp_path: Path) -> None:
        path = tmp_path / "with space & 'quote'"
        session.write(str(path), ALL_BYTES, mode=0o600)
        assert session.read(str(path)) == ALL_BYTES
        assert path.stat().st_mode & 0o7777 == 0o600
        assert names(tmp_path) == [path.name]

    def test_write_replaces_and_takes_no_bytes(self, session: Session, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("old")
        session.write(str(path), b"")
        assert path.read_bytes() == b""
        assert path.stat().st_mode & 0o7777 == 0o644

    def test_read_of_no_such_file(self, session: Session, tmp_path: Path) -> None:
        assert session.read(str(tmp_path / "none")) is None

    def test_read_of_a_folder(self, session: Session, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match="Is a directory"):
            session.read(str(tmp_path))

    def test_read_of_a_huge_file_is_refused_not_cut(self, session: Session, tmp_path: Path) -> None:
        path = tmp_path / "huge"
        with path.open("wb") as file:
            file.truncate(command.OUTPUT_KEPT + 1)
        with pytest.raises(TransportError, match="larger than 8 MiB"):
            session.read(str(path))

    def test_write_makes_no_folders(self, session: Session, tmp_path: Path) -> None:
        with pytest.raises(CommandFailed, match="No such file"):
            session.write(str(tmp_path / "none/file"), b"x")

    def test_write_onto_a_folder_leaves_nothing(self, session: Session, tmp_path: Path) -> None:
        (tmp_path / "folder").mkdir()
        with pytest.raises(CommandFailed, match="directory"):
            session.write(str(tmp_path / "folder"), b"x")
        assert names(tmp_path) == ["folder"]

    def test_remove(self, session: Session, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("x")
        assert session.remove(str(path)) is True
        assert not path.exists()
        assert session.remove(str(path)) is False

    def test_content_is_in_no_process_list(self, session: Session, tmp_path: Path) -> None:
        seen = session.run(["sh", "-c", "cat /proc/*/cmdline | tr '\\0' ' '"]).stdout
        assert "cat /proc" in seen
        session.write(str(tmp_path / "secret"), b"correct horse", mode=0o600)
        with pytest.raises(CommandFailed) as caught:
            session.write(str(tmp_path / "none/secret"), b"correct horse")
        assert "correct horse" not in str(caught.value)

    def test_upload_tells_its_progress(self, session: Session, tmp_path: Path) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(ALL_BYTES * 3)
        told: list[tuple[int, int]] = []
        session.upload(source, str(target), mode=0o640, progress=lambda *step: told.append(step))
        assert target.read_bytes() == ALL_BYTES * 3
        assert target.stat().st_mode & 0o7777 == 0o640
        assert told[-1] == (len(ALL_BYTES) * 3, len(ALL_BYTES) * 3)
        assert told == sorted(told)

    def test_upload_of_no_such_file(self, session: Session, tmp_path: Path) -> None:
        with pytest.raises(LabError, match="No such file"):
            session.upload(tmp_path / "none", str(tmp_path / "target"))

    def test_upload_of_a_file_that_shrinks(self, session: Session, tmp_path: Path) -> None:
        source, target = tmp_path / "source", tmp_path / "target"
        source.write_bytes(ALL_BYTES * 8)
        target.write_text("old")

        def shrink(sent: int, _total: int) -> None:
            os.truncate(source, sent)

        with pytest.raises(CommandFailed, match=r"only \d+ of \d+ bytes came"):
            session.upload(source, str(target), progress=shrink)
        assert target.read_text() == "old"

    def test_cut_upload_leaves_the_old_file_only(
        self, server: Server, session: Session, tmp_path: Path
    ) -> None:
        source, folder = tmp_path / "source", tmp_path / "folder"
        source.write_bytes(ALL_BYTES * 16)
        folder.mkdir()
        (folder / "target").write_text("old")

        def cut(sent: int, total: int) -> None:
            if sent >= total // 2:
                server.proxy.cut()

        with pytest.raises(TransportError, match="outcome is unknown"):
            session.upload(source, str(folder / "target"), progress=cut)
        deadline = time.monotonic() + 10
        while names(folder) != ["target"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert names(folder) == ["target"]
        assert (folder / "target").read_text() == "old"


class TestLock:
    def test_excludes_others_and_names_the_holder(
        self, server: Server, session: Session, lock_name: str
    ) -> None:
        holder = rf"held for 1 s by .*process {os.getpid()}"
        with (
            connect(server.endpoint) as other,
            session.lock(lock_name),
            pytest.raises(LockTimedOut, match=holder),
            other.lock(lock_name, timeout=1),
        ):
            pass
        with connect(server.endpoint) as other, other.lock(lock_name, timeout=1):
            assert other.run(["true"]).exit_status == 0

    def test_waits_for_its_turn(self, server: Server, session: Session, lock_name: str) -> None:
        order: list[str] = []

        def second() -> None:
            with connect(server.endpoint) as other, other.lock(lock_name, timeout=20):
                order.append("second")

        thread = threading.Thread(target=second)
        with session.lock(lock_name):
            thread.start()
            time.sleep(1)
            order.append("first")
        thread.join()
        assert order == ["first", "second"]

    def test_is_free_once_the_connection_is_cut(self, server: Server, lock_name: str) -> None:
        def work() -> None:
            with connect(server.endpoint) as session, session.lock(lock_name):
                server.proxy.cut()
                with connect(server.endpoint) as other, other.lock(lock_name, timeout=10):
                    taken.append("by another")

        taken: list[str] = []
        with pytest.raises(TransportError, match="the lock was lost"):
            work()
        assert taken == ["by another"]

    def test_an_error_inside_is_not_hidden(self, server: Server, lock_name: str) -> None:
        def work() -> None:
            with connect(server.endpoint) as session, session.lock(lock_name):
                server.proxy.cut()
                raise ValueError("mine")

        with pytest.raises(ValueError, match="mine"):
            work()

    def test_silent_holder_loses_it(
        self, session: Session, lock_name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("providers.transport.session.LOCK_IDLE", 1)
        with pytest.raises(TransportError, match="the lock was lost"), session.lock(lock_name):
            time.sleep(2.5)

    def test_holder_that_gives_signs_keeps_it(
        self, session: Session, lock_name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("providers.transport.session.LOCK_IDLE", 2)
        monkeypatch.setattr("providers.transport.session.LOCK_HEARTBEAT", 0.5)
        with session.lock(lock_name):
            time.sleep(3)

    def test_folder_that_is_not_there(self, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("providers.transport.session.LOCK_FOLDER", "/no/such/folder")
        with pytest.raises(TransportError, match="/no/such/folder"), session.lock("x"):
            pass


class TestTunnel:
    def test_opens_a_connection_from_the_host(self, session: Session) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            listener.settimeout(10)

            def answer() -> None:
                # the in-process server tries the destination once before it accepts the channel
                while True:
                    peer, _ = listener.accept()
                    with peer:
                        if data := peer.recv(100):
                            peer.sendall(data.upper())
                            return

            thread = threading.Thread(target=answer)
            thread.start()
            stream = session.open_tcp("127.0.0.1", listener.getsockname()[1])
            stream.settimeout(10)
            stream.sendall(b"hello")
            assert stream.recv(100) == b"HELLO"
            stream.close()
            thread.join()

    def test_nobody_listens(self, session: Session) -> None:
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        with pytest.raises(ConnectError, match=f"g1s1.*127.0.0.1 port {port}"):
            session.open_tcp("127.0.0.1", port)

    def test_host_key_of_a_server_behind_the_host(self, server: Server, session: Session) -> None:
        assert session.server_host_key("127.0.0.1", server.endpoint.port) == server.keys["ssh-ed25519"]

    def test_host_key_of_a_server_that_never_speaks(self, session: Session) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            began = time.monotonic()
            with pytest.raises(ConnectError, match="SSH host key"):
                session.server_host_key("127.0.0.1", silent.getsockname()[1], timeout=1)
            assert time.monotonic() - began < 5
