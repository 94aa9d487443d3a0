"""An SSH server in this process, on paramiko: runs commands for real, by sh on this machine."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Self

import paramiko
from paramiko.common import (
    AUTH_FAILED,
    AUTH_SUCCESSFUL,
    OPEN_FAILED_CONNECT_FAILED,
    OPEN_FAILED_UNKNOWN_CHANNEL_TYPE,
    OPEN_SUCCEEDED,
)

from providers.transport.identity import load_key

_CHUNK = 64 << 10


class _Permissions(paramiko.ServerInterface):
    """One user key may log in, run commands and open TCP connections."""

    def __init__(self, user_key: paramiko.PKey) -> None:
        self._user_key = user_key
        self.asked: list[tuple[paramiko.Channel, str]] = []
        self.destinations: dict[int, tuple[str, int]] = {}

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, _username: str, key: paramiko.PKey) -> int:
        known = key.asbytes() == self._user_key.asbytes()
        return AUTH_SUCCESSFUL if known else AUTH_FAILED

    def check_channel_request(self, kind: str, _chanid: int) -> int:
        return OPEN_SUCCEEDED if kind == "session" else OPEN_FAILED_UNKNOWN_CHANNEL_TYPE

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.asked.append((channel, command.decode()))
        return True

    def check_channel_direct_tcpip_request(
        self, chanid: int, _origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self.destinations[chanid] = destination
        # the connection is tried here, so that a refused one is a refused channel
        try:
            socket.create_connection(destination, timeout=5).close()
        except OSError:
            return OPEN_FAILED_CONNECT_FAILED
        return OPEN_SUCCEEDED


class _Transport(paramiko.Transport):
    """Starts a command once the request for it was answered: it may end before paramiko has answered."""

    permissions: _Permissions

    def _send_user_message(self, data: paramiko.Message) -> None:
        super()._send_user_message(data)  # type: ignore[misc]  # not in the stubs
        # in the thread of the transport, what follows a request is its answer
        while threading.current_thread() is self and self.permissions.asked:
            _start_command(*self.permissions.asked.pop())


class InProcessServer:
    """Listens on a free port of 127.0.0.1; a context manager.

    Args:
        host_keys: private key files.
        user_key: private key file of who may log in.
    """

    def __init__(self, host_keys: list[Path], user_key: Path) -> None:
        self._host_keys = [load_key(file) for file in host_keys]
        self._user_key = load_key(user_key)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._transports: list[paramiko.Transport] = []
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        # shutdown wakes the thread that waits in accept
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for transport in self._transports:
            transport.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        transport = _Transport(sock)
        self._transports.append(transport)
        for key in self._host_keys:
            transport.add_server_key(key)
        transport.permissions = permissions = _Permissions(self._user_key)
        try:
            transport.start_server(server=permissions)
        except (paramiko.SSHException, EOFError, OSError):
            return
        # a channel that nobody refers to closes itself, perhaps before its command starts
        channels = []
        while transport.is_active():
            channel = transport.accept(1)
            channels.append(channel)
            destination = permissions.destinations.get(channel.chanid) if channel else None
            if channel and destination:
                threading.Thread(target=_forward, args=(channel, destination), daemon=True).start()


def _start_command(channel: paramiko.Channel, line: str) -> None:
    process = subprocess.Popen(
        ["sh", "-c", line], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    threading.Thread(target=_serve_command, args=(channel, process), daemon=True).start()


def _serve_command(channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
    assert process.stdin
    assert process.stdout
    assert process.stderr
    threading.Thread(target=_feed, args=(channel, process.stdin.fileno(), process), daemon=True).start()
    outputs = [
        threading.Thread(target=_drain, args=(process.stdout.fileno(), channel.sendall), daemon=True),
        threading.Thread(target=_drain, args=(process.stderr.fileno(), channel.sendall_stderr), daemon=True),
    ]
    for thread in outputs:
        thread.start()
    for thread in outputs:
        thread.join()
    status = process.wait()
    # like sshd: nobody reads any more, so the pipes go
    process.stdout.close()
    process.stderr.close()
    with contextlib.suppress(OSError, EOFError):
        # an exit by a signal sends no exit status
        if status >= 0:
            channel.send_exit_status(status)
        channel.shutdown_write()
        channel.close()


def _feed(channel: paramiko.Channel, stdin: int, process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while chunk := channel.recv(_CHUNK):
            view = memoryview(chunk)
            while view:
                view = view[os.write(stdin, view) :]
    if process.stdin:
        with contextlib.suppress(OSError):
            process.stdin.close()


def _drain(output: int, send: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while chunk := os.read(output, _CHUNK):
            send(chunk)


def _forward(channel: paramiko.Channel, destination: tuple[str, int]) -> None:
    with contextlib.suppress(OSError), socket.create_connection(destination) as sock:
        back = threading.Thread(target=_pump, args=(sock.recv, channel.sendall, channel.close), daemon=True)
        back.start()
        _pump(channel.recv, sock.sendall, lambda: sock.shutdown(socket.SHUT_WR))
        back.join()


def _pump(receive: Callable[[int], bytes], send: Callable[[bytes], None], end: Callable[[], None]) -> None:
    with contextlib.suppress(OSError, EOFError):
        while chunk := receive(_CHUNK):
            send(chunk)
    with contextlib.suppress(OSError, EOFError):
        end()
