"""An SSH session with a host: run, read, write, remove, upload, lock, tunnel."""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from providers.errors import LabError
from providers.transport import command
from providers.transport.endpoint import HOST_KEY_TYPES, Endpoint
from providers.transport.errors import (
    AuthError,
    CommandFailed,
    CommandTimedOut,
    ConnectError,
    LockTimedOut,
    TransportError,
)

if TYPE_CHECKING:
    import paramiko

FILE_TIMEOUT = 120.0
START_TIMEOUT = 30.0
LOCK_FOLDER = "/run/kvm-lab-locks"
"""Root's alone: in /run/lock everyone may write. Made when it is missing; gone with the next boot."""
LOCK_HEARTBEAT = 15.0
LOCK_IDLE = 180
"""Seconds after which the host frees the lock of a client that says nothing any more."""
_ASKED_LENGTH = 300
_NO_SUCH_FILE = 44
_NOT_FOUND = 127
_SUDO_REFUSALS = (
    "sudo: a password is required",
    "is not in the sudoers file",
    "may not run sudo",
    "is not allowed to execute",
)
_UPLOAD_CHUNK = 256 << 10
_SCRIPTS = Path(__file__).with_name("scripts")


@dataclass(frozen=True)
class Result:
    """What a command left: exit status and outputs as text (UTF-8, other bytes as U+FFFD).

    Of an output of more than 8 MiB the middle is left out, with a note in its place.
    Exit status -1: a signal ended the command.
    """

    argv: tuple[str, ...]
    exit_status: int
    stdout: str
    stderr: str


class Stream(Protocol):
    """A TCP connection through a host, as a socket has it."""

    def recv(self, nbytes: int, /) -> bytes:
        """Return up to `nbytes` bytes, none at the end."""

    def sendall(self, data: bytes, /) -> None:
        """Send all of `data`."""

    def settimeout(self, seconds: float | None, /) -> None:
        """Limit the following calls; they raise TimeoutError."""

    def close(self) -> None:
        """Close the connection."""


class Session:
    """An open SSH session; a context manager. Made by `connect`.

    Every command runs as root: directly, or through `sudo -n` for another user. Threads may share it.
    """

    def __init__(
        self, endpoint: Endpoint, transport: paramiko.Transport, on_close: Callable[[], None] = lambda: None
    ) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._on_close = on_close

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the session; its locks are freed. A closed session stays closed."""
        try:
            self._transport.close()
        finally:
            self._on_close()

    def run(
        self,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        timeout: float = 60.0,
        check: bool = True,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> Result:
        """Run `argv` on the host as root, with LC_ALL=C, and wait for its end.

        Args:
            argv: program and arguments; no shell interprets them. Other users of the host can read
                them, and `env`, in the process list: secrets go through `stdin`.
            stdin: given to the command, then closed.
            timeout: seconds; the host itself ends the command then, also when this client is gone.
            check: raise CommandFailed for an exit status other than 0.
            env: further environment variables.
            on_line: called with each line of both outputs as it comes.

        Raises:
            CommandFailed: see `check`.
            CommandTimedOut: the deadline passed.
            AuthError: sudo wants a password.
            TransportError: the connection was lost; whether the command ended is unknown.
        """
        chunks = [stdin] if stdin else None
        asked = f"run {_shortened(shlex.join(argv))}"
        done = self._execute(argv, asked, chunks, timeout=timeout, env=env, on_line=on_line)
        result = Result(tuple(argv), done.exit_status, _text(done.stdout), _text(done.stderr))
        if check and result.exit_status != 0:
            raise self._failed(asked, done, result.stderr.strip() or result.stdout)
        return result

    def read(self, path: str) -> bytes | None:
        """Return the content of `path`, None if there is no such file; at most 8 MiB."""
        asked = f"read {path}"
        done = self._execute(_script("read-file.sh", path), asked, timeout=FILE_TIMEOUT)
        if done.exit_status == _NO_SUCH_FILE:
            return None
        if done.exit_status != 0:
            raise self._failed(asked, done, _text(done.stderr))
        if done.stdout.left_out:
            raise TransportError(
                f"{self.endpoint.host}: {asked}",
                f"the file is larger than {command.OUTPUT_KEPT >> 20} MiB",
                "look what it is: no file of this program's is that large",
            )
        return done.stdout.data()

    def write(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Replace `path` by `data`, all or nothing, on disk when this returns.

        The folder must exist. A symbolic link at `path` is replaced, not followed. Owner is root.
        """
        self._replace(path, [data] if data else None, len(data), mode, FILE_TIMEOUT)

    def remove(self, path: str) -> bool:
        """Remove the file `path`; True if it was there."""
        asked = f"remove {path}"
        done = self._execute(_script("remove-file.sh", path), asked, timeout=FILE_TIMEOUT)
        if done.exit_status not in {0, _NO_SUCH_FILE}:
            raise self._failed(asked, done, _text(done.stderr))
        return done.exit_status == 0

    def upload(
        self,
        local: Path,
        remote: str,
        *,
        mode: int = 0o644,
        progress: Callable[[int, int], None] | None = None,
        timeout: float = 3600.0,
    ) -> None:
        """Copy the file `local` to `remote`, all or nothing, like `write`.

        Args:
            local: file on this machine.
            remote: path on the host; its folder must exist.
            mode: permissions of the file on the host.
            progress: called from another thread with (bytes sent, bytes in all).
            timeout: seconds for the whole.

        Raises:
            LabError: `local` cannot be read.
        """
        try:
            size = local.stat().st_size
            source = local.open("rb")
        except OSError as error:
            raise LabError(
                f"{self.endpoint.host}: upload {local}",
                error.strerror or str(error),
                "correct the path or make the file readable",
            ) from error
        with source:
            chunks = _sent_chunks(iter(lambda: source.read(_UPLOAD_CHUNK), b""), size, progress)
            self._replace(remote, chunks, size, mode, timeout)

    @contextlib.contextmanager
    def lock(self, name: str, *, timeout: float = 600.0) -> Iterator[None]:
        """Hold the host's lock `name` among all clients; freed when the connection dies.

        Args:
            name: file name part of /run/kvm-lab-locks/<name>.lock.
            timeout: seconds to wait for another client.

        Raises:
            LockTimedOut: another client held it all that time; names the holder.
            TransportError: the lock was lost meanwhile (the connection was silent for 180 s).
        """
        asked = f"{self.endpoint.host}: hold the lock {name!r}"
        path = f"{LOCK_FOLDER}/{name}.lock"
        argv = _script("hold-lock.sh", path, _whoami(), str(int(timeout)), str(LOCK_IDLE))
        channel = self._start(argv, asked, env=None, fed=True, timeout=None)
        with command.closing(channel):
            self._await_lock(channel, asked, timeout)
            lost = threading.Event()
            stop = threading.Event()
            beat = threading.Thread(target=_beat, args=(channel, stop, lost), daemon=True, name="ssh-lock")
            beat.start()
            try:
                yield
            finally:
                stop.set()
                beat.join(START_TIMEOUT)  # its last dot must not follow the end
                still_held = _release(channel)
            if lost.is_set() or not still_held:
                raise TransportError(
                    asked,
                    "the lock was lost before the work ended; another client may have worked meanwhile",
                    "run the command again: it continues from what the host shows",
                )

    def open_tcp(self, address: str, port: int, *, timeout: float = 5.0) -> Stream:
        """Open a TCP connection from the host to `address`, as `ssh -W` does.

        Raises:
            ConnectError: nothing answers there within `timeout`, or sshd forbids forwarding.
        """
        return self._open_channel(address, port, timeout)

    def server_host_key(self, address: str, port: int = 22, *, timeout: float = 10.0) -> str:
        """Return the host key ("ssh-ed25519 AAAA...") of the SSH server at `address`, seen from the host.

        Does the key exchange only, no login. Of several keys an Ed25519 one comes first.

        Raises:
            ConnectError: no SSH server answers there within `timeout`.
        """
        from providers.transport.handshake import exchange_keys  # noqa: PLC0415 - see connect()

        deadline = time.monotonic() + timeout
        channel = self._open_channel(address, port, timeout)
        try:
            transport, key = exchange_keys(channel, HOST_KEY_TYPES, deadline)
        except command.disconnected() as error:
            raise ConnectError(
                f"{self.endpoint.host}: see the SSH host key of {address} port {port}",
                str(error) or type(error).__name__,
                "look whether sshd runs there",
            ) from error
        transport.close()
        return key

    def _open_channel(self, address: str, port: int, timeout: float) -> paramiko.Channel:
        try:
            return self._transport.open_channel(
                "direct-tcpip", (address, port), ("127.0.0.1", 0), timeout=timeout
            )
        except command.disconnected() as error:
            raise ConnectError(
                f"{self.endpoint.host}: open a TCP connection from there to {address} port {port}",
                str(error) or type(error).__name__,
                "look whether that address answers from the host, and whether its sshd has "
                "AllowTcpForwarding yes",
            ) from error

    def _replace(
        self, path: str, chunks: Iterable[bytes] | None, size: int, mode: int, timeout: float
    ) -> None:
        asked = f"write {path} ({size} bytes)"
        argv = _script("write-file.sh", path, f"{mode:04o}", str(size))
        done = self._execute(argv, asked, chunks, timeout=timeout)
        if done.exit_status != 0:
            raise self._failed(asked, done, _text(done.stderr))

    def _start(
        self,
        argv: Sequence[str],
        asked: str,
        *,
        env: Mapping[str, str] | None,
        fed: bool,
        timeout: float | None,
    ) -> paramiko.Channel:
        sudo = self.endpoint.user != "root"
        line = command.command_line(argv, sudo=sudo, env=env or {}, fed=fed, timeout=timeout)
        try:
            return command.start(self._transport, line, START_TIMEOUT)
        except command.disconnected() as error:
            raise TransportError(
                asked,
                f"the command could not be started: {error or type(error).__name__}",
                "look whether the host still answers and run the command again",
            ) from error

    def _execute(
        self,
        argv: Sequence[str],
        what: str,
        stdin: Iterable[bytes] | None = None,
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> command.Finished:
        asked = f"{self.endpoint.host}: {what}"
        channel = self._start(argv, asked, env=env, fed=stdin is not None, timeout=timeout)
        try:
            done = command.finish(channel, stdin=stdin, timeout=timeout, on_line=on_line)
        except command.ConnectionLostError as error:
            raise TransportError(
                asked,
                "the connection was lost before the command ended; its outcome is unknown",
                "look whether the host is up, then run the command again: it continues from what it finds",
            ) from error
        except command.NoAnswerError as error:
            self._transport.close()
            raise CommandTimedOut(
                asked,
                f"no answer within {timeout:.0f} s; the command's outcome is unknown",
                "look whether the host is up, then run the command again: it continues from what it finds",
            ) from error
        if done.timed_out:
            last = _text(done.stderr).strip() or _text(done.stdout)
            raise CommandTimedOut(
                asked,
                f"not done after {timeout:.0f} s; it was ended on the host\n{last}",
                "look what it waits for on the host, then run the command again",
            )
        if self.endpoint.user != "root":
            self._refuse_sudo_failure(asked, done)
        return done

    def _refuse_sudo_failure(self, asked: str, done: command.Finished) -> None:
        stderr = _text(done.stderr)
        missing = done.exit_status == _NOT_FOUND and stderr.startswith("env:") and "sudo" in stderr
        denied = done.exit_status == 1 and any(words in stderr for words in _SUDO_REFUSALS)
        if not (missing or denied):
            return
        user = self.endpoint.user
        raise AuthError(
            asked,
            stderr,
            f"as root on the host: `apt-get install sudo` and `echo '{user} ALL=(ALL) NOPASSWD: ALL' "
            f"> /etc/sudoers.d/{user}`; or log in as root",
        )

    def _failed(self, what: str, done: command.Finished, seen: str) -> CommandFailed:
        ended = f"exit status {done.exit_status}" if done.exit_status >= 0 else "ended by a signal"
        return CommandFailed(
            f"{self.endpoint.host}: {what}",
            f"{ended}\n{seen}".strip(),
            "mend what the output names on the host, then run the command again",
            done.exit_status,
        )

    def _await_lock(self, channel: paramiko.Channel, asked: str, timeout: float) -> None:
        """Return when the host says that the lock is held by us."""
        channel.settimeout(timeout + START_TIMEOUT)
        said, holder = b"", "another client"
        while not said.endswith(b"locked\n"):
            try:
                chunk = channel.recv(4096)
            except command.disconnected():
                chunk = b""
            if not chunk:
                break
            said += chunk
        else:
            return
        for line in said.decode(errors="replace").splitlines():
            word, _, rest = line.partition(" ")
            if word == "held":
                raise LockTimedOut(
                    asked,
                    f"held for {timeout:.0f} s by {rest or holder}",
                    "wait until that client is done, or stop it, then run the command again",
                )
        # the outputs have ended or nothing came: take what the shell or sudo complained about
        complaint = channel.recv_stderr(4096) if channel.recv_stderr_ready() else b""
        raise TransportError(
            asked,
            complaint.decode(errors="replace") or "the connection was lost while waiting for the lock",
            "mend what is named on the host, then run the command again",
        )


def _script(name: str, *arguments: str) -> list[str]:
    return ["sh", "-c", (_SCRIPTS / name).read_text(encoding="utf-8"), name, *arguments]


def _sent_chunks(
    chunks: Iterable[bytes], size: int, progress: Callable[[int, int], None] | None
) -> Iterator[bytes]:
    sent = 0
    for chunk in chunks:
        yield chunk
        sent += len(chunk)
        if progress:
            progress(sent, size)


def _beat(channel: paramiko.Channel, stop: threading.Event, lost: threading.Event) -> None:
    """Tell the host now and then that the lock's holder lives."""
    while not stop.wait(LOCK_HEARTBEAT):
        try:
            channel.sendall(b".")
        except command.disconnected():
            lost.set()
            return


def _release(channel: paramiko.Channel) -> bool:
    """Free the lock and return whether it was held until now."""
    held = not (channel.closed or channel.exit_status_ready())
    with contextlib.suppress(*command.disconnected()):
        channel.shutdown_write()
        # wait: who takes the lock next must find this one's work done and its name gone
        channel.status_event.wait(START_TIMEOUT)
    return held


def _whoami() -> str:
    """Name this client for others who wait for the lock."""
    return f"{getpass.getuser()} on {socket.gethostname()}, process {os.getpid()}"


def _text(kept: command.Kept) -> str:
    return kept.data().decode(errors="replace")


def _shortened(text: str) -> str:
    return text if len(text) <= _ASKED_LENGTH else f"{text[:_ASKED_LENGTH]}..."
