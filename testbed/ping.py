"""A ping to a machine from this one, every 10 ms: what was lost, and how long nothing came back.

The requests are sent by a process of its own (this file run as a script, hence only the standard library), so
that work in the process that watches does not slow them down.
"""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

INTERVAL = 0.01
"""Seconds between two requests."""
LATE = 0.5
"""An answer that takes more seconds counts as none."""
_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_NUMBERS = 1 << 16
_READY = "sending\n"


@dataclass(frozen=True)
class Gap:
    """Requests in a row without an answer: when the first one was sent, and when the next answer came.

    Times are seconds of this machine's monotonic clock. Where no answer came any more, `end` is when the last
    request was sent.
    """

    start: float
    end: float

    @property
    def seconds(self) -> float:
        """How long nothing came back."""
        return self.end - self.start


@dataclass
class Ping:
    """ICMP echo requests to `address`, and what came back."""

    address: str
    sent: list[float] = field(default_factory=list)
    """When each request was sent, by the monotonic clock; there once the ping has ended, as `answered` is."""
    answered: dict[int, float] = field(default_factory=dict)
    """The number of each request that was answered, and when that answer came."""

    @property
    def lost(self) -> int:
        """How many got no answer."""
        return len(self.sent) - len(self.answered)

    @property
    def gaps(self) -> list[Gap]:
        """The times without an answer, in their order."""
        found: list[Gap] = []
        first: int | None = None
        for number in range(len(self.sent)):
            if number not in self.answered:
                first = number if first is None else first
            elif first is not None:
                found.append(Gap(self.sent[first], self.answered[number]))
                first = None
        if first is not None:
            found.append(Gap(self.sent[first], self.sent[-1]))
        return found

    def between(self, start: float, end: float) -> Ping:
        """Return the part that was sent from `start` on and before `end`."""
        numbers = [number for number, sent in enumerate(self.sent) if start <= sent < end]
        kept = {new: self.answered[old] for new, old in enumerate(numbers) if old in self.answered}
        return Ping(self.address, [self.sent[number] for number in numbers], kept)

    @contextmanager
    def running(self) -> Iterator[Ping]:
        """Ping until the end of the block, at least once, and as long as the last answers may take.

        Raises:
            OSError: the sender ended early, and the block itself has raised nothing.
        """
        argv = [sys.executable, "-I", __file__, self.address]
        pipe = subprocess.PIPE
        # a session of its own: Ctrl-C is for the one that watches, who then ends the sender
        with subprocess.Popen(
            argv, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        ) as sender:
            if sender.stdout is not None and sender.stdout.readline() == _READY:
                yield self
            times, errors = sender.communicate()  # closes its standard input
        if sender.returncode != 0:
            raise OSError(f"ping {self.address}: the sender ended with {sender.returncode}: {errors.strip()}")
        sent, answered = json.loads(times)
        self.sent, self.answered = sent, dict(answered)


def _send(address: str) -> None:
    """Ping until the standard input ends; print when the requests were sent and when they were answered."""
    sent: list[float] = []
    answered: dict[int, float] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as raw:
        sys.stdout.write(_READY)
        sys.stdout.flush()
        due = time.monotonic()
        ended = False
        while not ended:
            sent.append(time.monotonic())
            raw.sendto(_echo_request(len(sent) - 1), (address, 0))
            due = max(due + INTERVAL, sent[-1])
            _receive(raw, address, due, sent, answered)
            ended = bool(select.select([sys.stdin], [], [], 0)[0])
        _receive(raw, address, time.monotonic() + LATE, sent, answered)
    sys.stdout.write(json.dumps([sent, list(answered.items())]))


def _receive(
    raw: socket.socket, address: str, until: float, sent: list[float], answered: dict[int, float]
) -> None:
    """Note the answers that come in time, until then."""
    while select.select([raw], [], [], max(0, until - time.monotonic()))[0]:
        packet, (sender, _) = raw.recvfrom(1500)
        now = time.monotonic()
        kind, _, _, ident, low = struct.unpack("!BBHHH", packet[20:28])
        if kind == _ECHO_REPLY and sender == address and ident == os.getpid() % _NUMBERS:
            # the newest request with this number: LATE is far less than it takes to count round
            number = len(sent) - 1 - (len(sent) - 1 - low) % _NUMBERS
            if now - sent[number] <= LATE:
                answered.setdefault(number, now)


def _echo_request(number: int) -> bytes:
    """Return an ICMP echo request (RFC 792) without data."""
    words = (_ECHO_REQUEST << 8, 0, os.getpid() % _NUMBERS, number % _NUMBERS)
    total = sum(words)
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    return struct.pack("!4H", words[0], checksum, *words[2:])


if __name__ == "__main__":
    _send(sys.argv[1])
