"""A TCP proxy that can cut its connections, or stop forwarding as a dead network does."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self

_CONNECT_TIMEOUT = 5.0


class Proxy:
    """Forwards a free port of 127.0.0.1 to the port `target` of `address`; a context manager."""

    def __init__(self, target: int, address: str = "127.0.0.1") -> None:
        self._target = (address, target)
        self._refusing = threading.Event()
        self._refused = threading.Semaphore(0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._flowing = threading.Event()
        self._flowing.set()
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection."""
        self._flowing.set()
        for sock in list(self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def refuse(self) -> None:
        """Cut every connection, and each new one at once, until `admit`."""
        self._refusing.set()
        self.cut()

    def await_refusal(self, timeout: float = 60.0) -> None:
        """Wait until a new connection has been cut."""
        if not self._refused.acquire(timeout=timeout):
            raise TimeoutError("nobody has tried to connect")

    def admit(self) -> None:
        """Forward new connections again."""
        self._refusing.clear()

    def freeze(self) -> None:
        """Forward nothing more; the connections stay open."""
        self._flowing.clear()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=_CONNECT_TIMEOUT)
        except OSError:
            client.close()
            return
        server.settimeout(None)
        self._sockets += [client, server]
        if self._refusing.is_set():
            self.cut()
            self._refused.release()
        threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
        self._pump(client, server)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(64 << 10):
                self._flowing.wait()
                sink.sendall(data)
        for sock in (source, sink):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
