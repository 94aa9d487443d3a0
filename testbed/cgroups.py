"""Control groups of their own for machines: else the systemd inside one is confused by its neighbours."""

from __future__ import annotations

import errno
import time
from contextlib import suppress
from pathlib import Path

_GROUP = "kvm-lab"
_EMPTYING = 60.0  # seconds; the memory of many killed guests is not given back at once


def scope(unit: str) -> list[str]:
    """Return the command prefix that gives a machine its own scope where systemd is PID 1, else nothing."""
    if not _managed():
        return []
    options = ["--scope", "--quiet", "--collect", "--slice=machine.slice", "--property=Delegate=yes"]
    return ["systemd-run", *options, f"--unit={unit}.scope", "--"]


def prepare(bridge: str, machine: str) -> list[Path]:
    """Make and return the folders of a machine's control groups; none where systemd does that."""
    if _managed():
        return []
    folders = [root / f"{_GROUP}-{bridge}" / machine for root in _hierarchies()]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    return folders


def remove(bridge: str) -> None:
    """Remove the control groups of a testbed whose processes have ended."""
    for root in _hierarchies():
        top = root / f"{_GROUP}-{bridge}"
        folders = [path for path in top.rglob("*") if path.is_dir()] if top.exists() else []
        for folder in [*sorted(folders, key=lambda path: len(path.parts), reverse=True), top]:
            _remove_emptied(folder)


def _remove_emptied(folder: Path) -> None:
    """Remove a group; the kernel counts a killed process in it until it is quite gone."""
    deadline = time.monotonic() + _EMPTYING
    while True:
        try:
            with suppress(FileNotFoundError):
                folder.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _managed() -> bool:
    # What sd_booted(3) asks.
    return Path("/run/systemd/system").is_dir()


def _hierarchies() -> list[Path]:
    """Return where systemd's own hierarchies are mounted: control groups v2, and the named one of v1."""
    found = []
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, options = line.split()[:4]
        if kind == "cgroup2" or (kind == "cgroup" and "name=systemd" in options.split(",")):
            found.append(Path(where))
    return found
