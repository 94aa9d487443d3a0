"""A client in a process of its own, that can be killed, and held before any step of its change.

`python -m tests.faults.client` is that process: it reads a `Call` as one line of JSON, prints "step NAME"
before each step, waits there for a line when the call says so, at last prints "done" or "failed" with JSON.
"""

from __future__ import annotations

import json
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from providers.errors import LabError
from providers.network_bridge import NetworkBridgeProvider
from providers.transport.session import Result as CommandResult
from providers.transport.session import Session
from tests.conftest import ROOT

STEPS = ("stage", "check", "arm", "apply", "prove", "confirm", "confirmed")
"""What a client does, in order; "confirmed" is the moment after the host has said so."""
_DEADLINE = 120.0


@dataclass(frozen=True)
class Call:
    """One call of the provider: "create", "update" or "delete", with the properties that Pulumi passes."""

    operation: str
    inputs: dict[str, Any]
    outs: dict[str, Any]
    hold: str | None = None
    """The step to wait before."""


@dataclass(frozen=True)
class Ending:
    """How a client ended."""

    outs: dict[str, Any] | None = None
    """What a call that came through returned."""
    error: str = ""
    """What one that failed said; empty for one that was killed."""

    @property
    def told(self) -> str | None:
        """Which configuration the client says the host is on; None: it does not know."""
        if self.outs is not None:
            return "new"
        honest = ("back on its old configuration", "configuration was not touched", "nothing was changed")
        return "old" if any(words in self.error for words in honest) else None


class Client:
    """A client that runs."""

    def __init__(self, call: Call) -> None:
        self.log: list[str] = []
        self._ending: Ending | None = None
        self._steps: list[str] = []
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.client"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            bufsize=1,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self._write(json.dumps(asdict(call)))

    def reach(self, step: str, timeout: float = _DEADLINE) -> None:
        """Wait until it begins a step.

        Raises:
            AssertionError: it ended before, or did not come so far in time.
        """
        deadline = time.monotonic() + timeout
        while step not in self._steps:
            assert self._next(deadline), f"the client never came to {step}: {self._ending}\n{self.said}"

    def hear(self, words: str, timeout: float = _DEADLINE) -> None:
        """Wait until a progress message holds `words`.

        Raises:
            AssertionError: it ended before, or did not say so in time.
        """
        deadline = time.monotonic() + timeout
        while words not in self.said:
            assert self._next(deadline), f"the client never said {words!r}: {self._ending}\n{self.said}"

    def came_to(self, step: str) -> bool:
        """Wait until it begins a step, or ends: whether it came so far."""
        deadline = time.monotonic() + _DEADLINE
        while step not in self._steps:
            if not self._next(deadline):
                return False
        return True

    def release(self) -> None:
        """Let it go on where it was held."""
        self._write("")

    def kill(self) -> None:
        """End it with SIGKILL."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def fails(self, pattern: str, timeout: float = _DEADLINE) -> None:
        """Wait for its end, which must be an error that says `pattern` (dots match newlines)."""
        ending = self.end(timeout)
        assert re.search(pattern, ending.error, re.DOTALL), f"no {pattern!r} in {ending}"

    def succeeds(self, timeout: float = _DEADLINE) -> None:
        """Wait for its end, which must be that of a call that came through."""
        ending = self.end(timeout)
        assert ending.outs is not None, f"{ending}\n{self.said}"

    def end(self, timeout: float = _DEADLINE) -> Ending:
        """Wait for its end.

        Raises:
            AssertionError: it still runs after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while self._next(deadline):
            pass
        assert self._process.poll() is not None or self._ending, f"the client still runs\n{self.said}"
        self._process.wait()
        return self._ending or Ending()

    @property
    def said(self) -> str:
        """Its progress messages."""
        return "\n".join(self.log)

    def close(self) -> None:
        """Kill it where it still runs, and forget its pipes."""
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _write(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{line}\n")
        except BrokenPipeError:
            self.log.append("(it had ended)")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _next(self, deadline: float) -> bool:
        """Take one line more; False at the end, or at the deadline."""
        try:
            line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return False
        if line is None:
            self._lines.put(None)
            return False
        word, _, rest = line.partition(" ")
        if word == "step":
            self._steps.append(rest.strip())
        elif word == "done":
            self._ending = Ending(outs=json.loads(rest))
        elif word == "failed":
            self._ending = Ending(error=json.loads(rest))
        self.log.append(line.rstrip())
        return True


def step_of(argv: Sequence[str]) -> str | None:
    """Return which step of a change a command on the host is; None: none."""
    if len(argv) < 3 or argv[0] != "sh":
        return None
    if argv[1].endswith("/transaction.sh"):
        return argv[2]
    if argv[1] == "-c" and argv[2].endswith("transaction.sh stage"):
        return "stage"
    # it asks where the change stands over each new connection, for the first time right after the apply
    return "prove" if argv[1] == "-c" and list(argv[3:4]) == ["status"] else None


def _instrument(hold: str | None) -> None:
    """Announce each step once, and wait before the step `hold`."""
    run = Session.run
    announced: set[str] = set()

    def announce(step: str | None) -> None:
        if step not in STEPS or step in announced:
            return
        announced.add(step)
        sys.stdout.write(f"step {step}\n")
        sys.stdout.flush()
        if step == hold:
            sys.stdin.readline()

    def announcing(self: Session, argv: Sequence[str], **options: Any) -> CommandResult:  # noqa: ANN401
        step = step_of(argv)
        announce(step)
        result = run(self, argv, **options)
        if step == "confirm" and result.exit_status == 0:
            announce("confirmed")
        return result

    Session.run = announcing  # type: ignore[method-assign]


def _call(call: Call) -> dict[str, Any]:
    provider = NetworkBridgeProvider()
    if call.operation == "delete":
        provider.delete("x", call.outs)
        return {}
    checked = provider.check(call.outs, call.inputs)
    if checked.failures:
        raise ValueError("; ".join(failure.reason for failure in checked.failures))
    if call.operation == "create":
        return dict(provider.create(checked.inputs).outs or {})
    return dict(provider.update("x", call.outs, checked.inputs).outs or {})


def main() -> None:
    """Be the client."""
    call = Call(**json.loads(sys.stdin.readline()))
    _instrument(call.hold)
    try:
        outs = _call(call)
    except LabError as error:
        sys.stdout.write(f"failed {json.dumps(str(error))}\n")
    else:
        sys.stdout.write(f"done {json.dumps(outs)}\n")


if __name__ == "__main__":
    main()
