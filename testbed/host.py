"""What testbeds change on this machine as a whole, written down before it changes.

`/run/kvm-lab/host.json` is shared by all testbeds of this machine and is gone, like the changes themselves,
after a reboot. It holds which folder owns which bridge and range, and the forwarding settings as they were
before the first testbed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import IPv4Network
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from providers.errors import LabError
from testbed import locks

RUN = Path("/run/kvm-lab")
_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_CONF = Path("/proc/sys/net/ipv4/conf")


class Owner(BaseModel):
    """The testbed that owns a bridge: its folder, its range, and whether it added the range's route."""

    model_config = ConfigDict(frozen=True)

    directory: Path
    range: IPv4Network
    route: bool


class Journal(BaseModel):
    """All that testbeds changed here: bridges by name, and settings (files of /proc/sys) as they were."""

    owners: dict[str, Owner] = {}
    settings: dict[Path, str] = {}


@contextmanager
def journal() -> Iterator[Journal]:
    """Open the journal for reading and, through `save`, for writing; nobody else has it meanwhile."""
    handle = _lock()
    try:
        yield peek()
    finally:
        os.close(handle)


def save(state: Journal) -> None:
    """Write the journal; without an owner in it, remove it and its folder."""
    if not state.owners:
        for name in ("host.json", "host.json.new", "lock"):
            (RUN / name).unlink(missing_ok=True)
        RUN.rmdir()
        return
    new = RUN / "host.json.new"
    new.write_text(state.model_dump_json(indent=1) + "\n")
    new.rename(RUN / "host.json")


def peek() -> Journal:
    """Read the journal without creating anything."""
    try:
        return Journal.model_validate_json((RUN / "host.json").read_text())
    except FileNotFoundError:
        return Journal()


def claim(bridge: str, owner: Owner) -> None:
    """Write down that `owner` is about to create `bridge`.

    Raises:
        LabError: another testbed has this bridge or part of this range, or this one has another bridge.
    """
    with journal() as state:
        for name, other in state.owners.items():
            _refuse_clash(bridge, owner, name, other)
        if bridge not in state.owners:
            state.owners[bridge] = owner
        save(state)


def forwards() -> bool:
    """Whether this machine forwards packets."""
    return _FORWARD.read_text().strip() == "1"


def forward() -> None:
    """Turn IP forwarding on, once the settings it changes have been written down."""
    with journal() as state:
        if forwards():
            return
        # The kernel copies ip_forward into every interface, and turns redirects on or off with it.
        state.settings = {path: path.read_text().strip() for path in _forwarding_settings()}
        save(state)
        _FORWARD.write_text("1")


def release(bridge: str) -> None:
    """Strike `bridge` out; with the last testbed, put the forwarding settings back."""
    with journal() as state:
        state.owners.pop(bridge, None)
        if not state.owners and state.settings:
            for path, value in state.settings.items():
                # An interface may have gone meanwhile.
                with suppress(FileNotFoundError):
                    if path.read_text().strip() != value:
                        path.write_text(value)
        save(state)


def owned_by(directory: Path) -> dict[str, Owner]:
    """Return the bridges that belong to the testbed in `directory`."""
    here = directory.absolute()
    return {name: owner for name, owner in peek().owners.items() if owner.directory == here}


def _refuse_clash(bridge: str, owner: Owner, name: str, other: Owner) -> None:
    asked = f"testbed in {owner.directory}: take bridge {bridge} with range {owner.range}"
    if other.directory == owner.directory:
        if (name, other.range) != (bridge, owner.range):
            seen = f"it runs with bridge {name} and range {other.range}"
            raise LabError(asked, seen, "end it first with `python -m testbed down`")
    elif name == bridge or other.range.overlaps(owner.range):
        seen = f"the testbed in {other.directory} has bridge {name} with range {other.range}"
        down = f"python -m testbed down --dir {other.directory}"
        remedy = f"end that one with `{down}`, or choose another bridge and range"
        raise LabError(asked, seen, remedy)


def _lock() -> int:
    while True:
        RUN.mkdir(mode=0o755, exist_ok=True)
        # The last testbed may go, and the folder with it, between the two.
        with suppress(FileNotFoundError):
            return locks.take(RUN / "lock")


def _forwarding_settings() -> list[Path]:
    redirects = [_CONF / which / "accept_redirects" for which in ("all", "default")]
    # ip_forward first: writing it sets all the others.
    return [_FORWARD, *redirects, *sorted(_CONF.glob("*/forwarding"))]
