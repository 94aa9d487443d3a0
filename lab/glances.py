"""Read many hosts at once, each over a connection of its own; none is waited for longer than the deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from providers.errors import LabError
from providers.transport import ConnectError, Endpoint, Session, TransportError, connect

AT_ONCE = 64
"""Hosts that are read at once: more would keep this machine too busy for the deadline."""
_GRACE = 0.3
"""Seconds for the thread of a host to tell itself why it is late."""

T = TypeVar("T")


class NoAnswer(ConnectError):  # noqa: N818 - the name says what happened
    """A host did not answer, or not all that was asked, before its deadline."""


@dataclass(frozen=True)
class Reading(Generic[T]):
    """What is read of each host.

    `read` gets an open session, and the time on time.monotonic()'s clock at which that is closed.
    """

    read: Callable[[Session, float], T]
    asked: str
    """What messages say of it."""
    remedy: str
    """What to do about a host that shows what is not understood."""
    deadline: float
    """Seconds for one host: to connect, to log in and to read it."""
    login: float
    """Seconds of these to connect and to log in, at most."""


def read_hosts(endpoints: Sequence[Endpoint], reading: Reading[T]) -> dict[str, T | LabError]:
    """Return what was read of each host by name, or the error that kept from it."""
    return {
        name: result
        for start in range(0, len(endpoints), AT_ONCE)
        for name, result in _together(endpoints[start:][:AT_ONCE], reading)
    }


def _together(endpoints: Sequence[Endpoint], reading: Reading[T]) -> Iterator[tuple[str, T | LabError]]:
    until = time.monotonic() + reading.deadline
    glances = [_Glance(endpoint, reading, until) for endpoint in endpoints]
    for glance in glances:
        # not a pool's thread: one that hangs (a name server may) must not keep this process from its end
        threading.Thread(target=glance.run, daemon=True, name=f"read-{glance.endpoint.host}").start()
    for glance in glances:
        yield glance.endpoint.host, glance.result()


class _Glance(Generic[T]):
    """Reads one host in a thread of its own, until `until` on time.monotonic()'s clock."""

    def __init__(self, endpoint: Endpoint, reading: Reading[T], until: float) -> None:
        self.endpoint = endpoint
        self.reading = reading
        self.until = until
        self.logged_in = False
        self.seen: Future[T] = Future()

    def run(self) -> None:
        """Read the host; the thread's whole work."""
        try:
            self.seen.set_result(self._read())
        except TransportError as error:
            self.seen.set_exception(error if self._left() else self._too_late())
        except LabError as error:
            self.seen.set_exception(error)
        except Exception as error:  # noqa: BLE001 - one odd host must not keep the others from being told
            self.seen.set_exception(self._odd(error))

    def result(self) -> T | LabError:
        """Return what was read, soon after the deadline at the latest."""
        try:
            return self.seen.result(self._left() + _GRACE)
        except TimeoutError:
            return self._too_late()
        except LabError as error:
            return error

    def _read(self) -> T:
        with connect(self.endpoint, timeout=min(self._left(), self.reading.login)) as session:
            self.logged_in = True
            end = threading.Timer(self._left(), session.close)
            end.daemon = True
            end.start()
            try:
                return self.reading.read(session, self.until)
            finally:
                end.cancel()

    def _left(self) -> float:
        return max(self.until - time.monotonic(), 0.0)

    def _odd(self, error: Exception) -> LabError:
        return LabError(
            f"{self.endpoint.place}: {self.reading.asked}",
            f"what it shows is not understood: {type(error).__name__}: {error}",
            self.reading.remedy,
        )

    def _too_late(self) -> NoAnswer:
        seen = "it let us in, but was not read to the end" if self.logged_in else "no answer"
        return NoAnswer(
            f"{self.endpoint.place}: {self.reading.asked}",
            f"{seen} within {self.reading.deadline:g} s",
            "look whether the machine is up and reachable from here",
        )
