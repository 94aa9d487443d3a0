"""Processes that belong to a testbed, known by a variable in their environment.

The variable is inherited by every child and cannot be lost by a crash, so it finds what a killed run left
behind. It does not reach the processes inside a machine: those end with the machine's systemd-nspawn.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from providers.errors import LabError

MARK = "KVM_LAB_TESTBED"
PATIENCE = 5.0
_PROC = Path("/proc")
# Fields of /proc/PID/stat after the command's name, see proc(5).
_STATE, _PARENT, _SESSION, _STARTED = 0, 1, 3, 19


@dataclass(frozen=True)
class Process:
    """A process, not mistaken for a later one of the same number: `started` is in clock ticks since boot."""

    pid: int
    started: int

    @property
    def alive(self) -> bool:
        """Whether this very process still runs (a zombie does not)."""
        fields = _stat(self.pid)
        return fields is not None and int(fields[_STARTED]) == self.started and fields[_STATE] not in "ZX"

    @property
    def command(self) -> str:
        """Its command line, for messages."""
        with suppress(OSError):
            words = (_PROC / str(self.pid) / "cmdline").read_bytes().replace(b"\0", b" ")
            return words.decode(errors="replace").strip()
        return "(ended)"

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing happens when it has ended."""
        with suppress(ProcessLookupError):
            handle = os.pidfd_open(self.pid)
            try:
                if self.alive:
                    signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)


def environment(directory: Path) -> dict[str, str]:
    """Return this process's environment with the mark of the testbed in `directory`."""
    return {**os.environ, MARK: str(directory.absolute()), "LC_ALL": "C"}


def _tools_environment(directory: Path) -> dict[str, str]:
    """Return the marked environment without what it tells Python.

    That is meant for us: where we keep bytecode, say, in which a system that is being built would look for
    none of its own.
    """
    return {name: value for name, value in environment(directory).items() if not name.startswith("PYTHON")}


def run(
    argv: Sequence[str],
    directory: Path,
    asked: str,
    *,
    stdin: str | None = None,
    scratch: Path | None = None,
) -> str:
    """Run a marked command and return its standard output; `scratch` is its folder for temporary files.

    Raises:
        LabError: it failed; the error holds the last lines of what it said.
    """
    variables = _tools_environment(directory)
    if scratch is not None:
        variables["TMPDIR"] = str(scratch)
    try:
        done = subprocess.run(
            argv,
            env=variables,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            umask=0o022,
        )
    except FileNotFoundError:
        packages = "testbed/debian-packages.txt"
        raise LabError(asked, f"no command {argv[0]}", f"install the packages in {packages}") from None
    if done.returncode:
        seen = f"{argv[0]} ended with status {done.returncode}\n{done.stdout}{done.stderr}"
        raise LabError(asked, seen, "mend what the output names, then run it again")
    return done.stdout


def start(argv: Sequence[str], directory: Path, output: IO[bytes], *, cwd: Path) -> Process:
    """Start a marked process in a session of its own, that outlives this one."""
    child = subprocess.Popen(
        argv,
        env=_tools_environment(directory),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=cwd,
        start_new_session=True,
        umask=0o022,
    )
    # It is meant to outlive us: tell the destructor not to complain about a child nobody waited for.
    child.returncode = 0
    fields = _stat(child.pid)
    return Process(child.pid, int(fields[_STARTED]) if fields else -1)


def owned(directory: Path) -> list[Process]:
    """Return the marked processes of the testbed in `directory`, without this one and its ancestors."""
    mark = f"{MARK}={directory.absolute()}".encode()
    spared = _ancestry()
    return [p for p in everything() if p.pid not in spared and mark in _environ(p.pid)]


def end(directory: Path, *, patience: float = PATIENCE) -> list[Process]:
    """End all processes of the testbed in `directory`: first kindly, after `patience` seconds by force.

    Returns:
        the processes that were found.
    """
    found: list[Process] = []
    number = signal.SIGTERM
    # A process may start another one while it is being ended, hence until none is left.
    while left := owned(directory):
        everyone = {member for process in left for member in family(process)}
        found += [p for p in left if p not in found]
        for process in left:
            process.signal(number)
        await_end(everyone, patience)
        number = signal.SIGKILL
    return found


def await_end(processes: Iterable[Process], patience: float) -> list[Process]:
    """Wait until the processes have ended; return those that still run after `patience` seconds."""
    deadline = time.monotonic() + patience
    left = list(processes)
    while (left := [p for p in left if p.alive]) and time.monotonic() < deadline:
        _reap(left)
        time.sleep(0.02)
    return left


def family(process: Process) -> list[Process]:
    """Return a process and all its descendants."""
    everyone = everything()
    children: dict[int, list[Process]] = {}
    for other in everyone:
        fields = _stat(other.pid)
        if fields:
            children.setdefault(int(fields[_PARENT]), []).append(other)
    found = [process] if process.alive else []
    for member in found:
        found += children.get(member.pid, [])
    return found


def keeper(directory: Path, folder: Path) -> Process | None:
    """Return the marked process that was started (by `start`) in `folder`, when it runs."""
    here = folder.absolute()
    for process in owned(directory):
        with suppress(OSError):
            fields = _stat(process.pid)
            leads = fields is not None and int(fields[_SESSION]) == process.pid
            if leads and (_PROC / str(process.pid) / "cwd").readlink() == here:
                return process
    return None


def everything() -> list[Process]:
    """Return all processes that run now."""
    found = []
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            fields = _stat(int(entry.name))
            if fields and fields[_STATE] not in "ZX":
                found.append(Process(int(entry.name), int(fields[_STARTED])))
    return found


def _stat(pid: int) -> list[str] | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The command's name is in parentheses and may hold any character, a parenthesis too.
    return text.rpartition(")")[2].split()


def _environ(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _ancestry() -> set[int]:
    found = set()
    pid = os.getpid()
    while pid and pid not in found:
        found.add(pid)
        fields = _stat(pid)
        pid = int(fields[_PARENT]) if fields else 0
    return found


def _reap(processes: Iterable[Process]) -> None:
    """Collect our own children among `processes`, which else stay as zombies until we end."""
    for process in processes:
        with suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
