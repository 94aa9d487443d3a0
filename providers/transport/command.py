"""Run one command over an SSH channel: drain both outputs, feed stdin, keep the deadline."""

from __future__ import annotations

import contextlib
import math
import select
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import paramiko

OUTPUT_KEPT = 8 << 20
"""Bytes kept of each output; of a longer one the first and the last half of this."""
KILL_AFTER = 5
ANSWER_GRACE = 10.0
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_CHUNK = 64 << 10
# timeout(1): ended, killed; it then also ends itself by that signal
_TIMEOUT_STATUSES = (124, 137, -1)


def disconnected() -> tuple[type[Exception], ...]:
    """Return what paramiko raises when the connection is, or goes, away."""
    from paramiko import SSHException  # noqa: PLC0415 - loaded for one who has a connection, see connect()

    return (OSError, EOFError, SSHException)


class ConnectionLostError(Exception):
    """The connection ended before the command's exit status came."""


class NoAnswerError(Exception):
    """Neither the command's end nor the host's own deadline came in time."""


class Kept:
    """The bytes of an output, the middle left out when they are more than `limit`."""

    def __init__(self, limit: int = OUTPUT_KEPT) -> None:
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._cut_off = 0

    @property
    def left_out(self) -> int:
        """How many bytes were not kept."""
        return self._cut_off + max(len(self._tail) - self._half, 0)

    def add(self, chunk: bytes) -> None:
        """Append `chunk`."""
        room = self._half - len(self._head)
        self._head += chunk[:room]
        self._tail += chunk[room:]
        # cut seldom: deleting the front of a bytearray moves all the rest
        if len(self._tail) > 2 * self._half:
            self._cut()

    def _cut(self) -> None:
        excess = max(len(self._tail) - self._half, 0)
        del self._tail[:excess]
        self._cut_off += excess

    def data(self) -> bytes:
        """Return what was kept, with a note where bytes were left out."""
        self._cut()
        note = b"\n[%d bytes left out]\n" % self.left_out if self.left_out else b""
        return bytes(self._head) + note + bytes(self._tail)


@dataclass(frozen=True)
class Finished:
    """How a command ended; exit status -1: by a signal."""

    exit_status: int
    stdout: Kept
    stderr: Kept
    timed_out: bool


class _Lines:
    """Cut a stream of bytes into lines and hand each one over."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""

    def add(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._on_line(line.decode(errors="replace").rstrip("\r"))
        if len(self._rest) > _CHUNK:
            self.end()

    def end(self) -> None:
        if self._rest:
            self._on_line(self._rest.decode(errors="replace"))
        self._rest = b""


def command_line(
    argv: Sequence[str], *, sudo: bool, env: Mapping[str, str], fed: bool, timeout: float | None = None
) -> str:
    """Return the line for the login shell that runs `argv` with a known environment.

    Not `fed`, its stdin is empty, without an end of ours that could come when the command has ended: sshd
    ends the connection for that (RFC 4254, 5.3: nothing may follow a channel's close).
    With `timeout` the host ends the command itself (coreutils timeout), so that none outlives a
    client that is gone. The values of `env` can be read in the process list: never a secret.
    """
    settings = {"LC_ALL": "C", "PATH": SYSTEM_PATH, **env}
    line = ["env", *(f"{name}={value}" for name, value in settings.items())]
    if sudo:
        line = ["env", "LC_ALL=C", "sudo", "-n", "--", *line]
    if timeout is not None:
        line += ["timeout", "-k", str(KILL_AFTER), "--", str(math.ceil(timeout))]
    return shlex.join([*line, *argv]) + ("" if fed else " </dev/null")


def start(transport: paramiko.Transport, line: str, timeout: float) -> paramiko.Channel:
    """Start `line` on the host and return its channel.

    Raises:
        disconnected(): the connection or the request failed.
    """
    channel = transport.open_session(timeout=timeout)
    # exec_command waits for its reply without a limit of its own
    watchdog = threading.Timer(timeout, close, [channel])
    watchdog.daemon = True
    watchdog.start()
    try:
        channel.exec_command(line)
    except BaseException:
        close(channel)
        raise
    finally:
        watchdog.cancel()
    return channel


def finish(
    channel: paramiko.Channel,
    *,
    stdin: Iterable[bytes] | None,
    timeout: float,
    on_line: Callable[[str], None] | None,
) -> Finished:
    """Feed `stdin`, drain the outputs until the command ends, and return how it ended.

    `stdin` is None for a command that is not fed, see `command_line`.

    Raises:
        ConnectionLostError: the connection ended first; what the command did is unknown.
        NoAnswerError: nothing came within `timeout`, the host's kill grace and ANSWER_GRACE.
    """
    began = time.monotonic()
    deadline = began + timeout + KILL_AFTER + ANSWER_GRACE
    stdout, stderr = Kept(), Kept()
    out_lines, err_lines = (_Lines(on_line), _Lines(on_line)) if on_line else (None, None)
    with closing(channel), _feeding(channel, stdin):
        for is_stderr, chunk in _chunks(channel, deadline):
            (stderr if is_stderr else stdout).add(chunk)
            lines = err_lines if is_stderr else out_lines
            if lines:
                lines.add(chunk)
        for lines in (out_lines, err_lines):
            if lines:
                lines.end()
        status = _exit_status(channel, deadline)
    timed_out = status in _TIMEOUT_STATUSES and time.monotonic() - began > math.ceil(timeout) - 1
    return Finished(status, stdout, stderr, timed_out)


@contextlib.contextmanager
def closing(channel: paramiko.Channel) -> Iterator[None]:
    """Close `channel` at the end, whether or not the connection still stands."""
    try:
        yield
    finally:
        close(channel)


def close(channel: paramiko.Channel) -> None:
    """Close `channel`, whether or not the connection still stands."""
    with contextlib.suppress(*disconnected()):
        channel.close()


@contextlib.contextmanager
def _feeding(channel: paramiko.Channel, chunks: Iterable[bytes] | None) -> Iterator[None]:
    """Send `chunks` and the end of stdin from a thread of its own, as the outputs must be drained."""
    if chunks is None:
        yield
        return
    failure: list[Exception] = []

    def feed() -> None:
        try:
            for chunk in chunks:
                if not _sent(channel, chunk):
                    return
        except Exception as error:  # noqa: BLE001 - raised again in the caller's thread
            failure.append(error)
            close(channel)
        else:
            with contextlib.suppress(*disconnected()):
                if not channel.exit_status_ready():
                    channel.shutdown_write()

    thread = threading.Thread(target=feed, daemon=True, name="ssh-stdin")
    thread.start()
    try:
        yield
        # what it is about to send must not come after the channel's close
        thread.join(ANSWER_GRACE)
    finally:
        if failure:
            raise failure[0]


def _sent(channel: paramiko.Channel, chunk: bytes) -> bool:
    """Send `chunk`; False when the command ended without reading it, which its exit status tells."""
    try:
        channel.sendall(chunk)
    except disconnected():
        return False
    return True


def _chunks(channel: paramiko.Channel, deadline: float) -> Iterator[tuple[bool, bytes]]:
    """Yield (is stderr, bytes) as they come until both outputs end."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    while True:
        # read before the outputs are: data never comes after the end
        ended = channel.eof_received or channel.closed
        if channel.recv_ready():
            yield False, channel.recv(_CHUNK)
        elif channel.recv_stderr_ready():
            yield True, channel.recv_stderr(_CHUNK)
        elif ended:
            return
        elif time.monotonic() > deadline:
            raise NoAnswerError
        else:
            poll.poll(1000 * min(1.0, max(deadline - time.monotonic(), 0.01)))


def _exit_status(channel: paramiko.Channel, deadline: float) -> int:
    if not channel.status_event.wait(max(deadline - time.monotonic(), 0.1)):
        raise NoAnswerError
    if channel.exit_status == -1 and not channel.eof_received:
        raise ConnectionLostError
    return channel.exit_status
