"""What runs, on which machine, for how long: one line when a step starts, one when it ends."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

HEARTBEAT = 15.0


def say(subject: str, text: str) -> None:
    """Print one line about `subject` (a machine, the base system ...) on standard error."""
    sys.stderr.write(f"testbed: {subject}: {text}\n")
    sys.stderr.flush()


@contextmanager
def step(subject: str, text: str) -> Iterator[None]:
    """Announce a long step, say every 15 s that it still runs, and how long it took."""
    say(subject, f"{text} ...")
    start = time.monotonic()
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(HEARTBEAT):
            say(subject, f"{text} ... {time.monotonic() - start:.0f} s so far")

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
    say(subject, f"{text}: done after {time.monotonic() - start:.1f} s")
