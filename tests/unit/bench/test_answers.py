import socket
import threading
import time
from collections.abc import Callable

import pytest

from bench import answers
from bench.answers import timed
from providers.errors import LabError

HERE = "127.0.0.1"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "PAUSE", 0.01)


class Server:
    """A server that shows a banner while it is on."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind((HERE, 0))
            self.port: int = probe.getsockname()[1]
        self.listener: socket.socket | None = None

    def on(self, banner: bytes = b"SSH-2.0-x\r\n") -> None:
        self.listener = socket.create_server((HERE, self.port))
        threading.Thread(target=self._serve, args=(self.listener, banner), daemon=True).start()

    def off(self) -> None:
        assert self.listener is not None
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _serve(self, listener: socket.socket, banner: bytes) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(banner)


def after(seconds: float, *steps: Callable[[], object]) -> Callable[[], None]:
    def command() -> None:
        for step in steps:
            time.sleep(seconds)
            step()

    return command


def test_an_answer_counts_from_the_command_on() -> None:
    server = Server()
    timing = timed(after(0.3, server.on), [HERE], patience=5, port=server.port)
    server.off()
    assert 0.3 <= timing.command <= timing.answer < 3
    assert timing.silent == 0.0


def test_an_answer_anew_counts_after_silence_only() -> None:
    server = Server()
    server.on()
    timing = timed(after(0.5, server.off, server.on), [HERE], patience=5, anew=True, port=server.port)
    server.off()
    assert 0.4 < timing.silent < timing.answer
    assert timing.answer >= 1.0


def test_another_server_is_no_answer() -> None:
    server = Server()
    server.on(b"HTTP")
    with pytest.raises(LabError, match=HERE):
        timed(lambda: None, [HERE], patience=0.2, port=server.port)
    server.off()


def test_who_does_not_answer_is_counted_where_that_is_no_error() -> None:
    server = Server()
    server.on()
    timing = timed(lambda: None, [HERE, "127.0.0.2"], patience=0.3, give_up=True, port=server.port)
    server.off()
    assert timing.missing == 1
    assert timing.answer >= 0.3


def test_error_of_the_command_is_raised() -> None:
    def fail() -> None:
        raise LabError("a", "b", "c")

    with pytest.raises(LabError, match="a"):
        timed(fail, [HERE], patience=60, port=Server().port)
