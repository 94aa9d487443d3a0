"""How long a preview of a room takes while all its hosts are down, beside that of an empty stack."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml

from bench.report import Bound
from lab.engine import PROJECT, BlindEngine, Engine
from stackfile.sshkeys import STAND_IN
from testbed import processes

HOSTS, GUESTS = 10, 40
MOST = 5.0
"""Seconds that the room's preview may take longer."""
_FIRST = IPv4Address("198.18.0.10")
_EMPTY = "import pulumi\n"


@dataclass(frozen=True)
class Previews:
    """Seconds of each round's preview, of the room and of nothing."""

    room: tuple[float, ...]
    nothing: tuple[float, ...]

    @property
    def longer(self) -> tuple[float, ...]:
        """Return by how much the room's took longer, in each round."""
        return tuple(room - nothing for room, nothing in zip(self.room, self.nothing, strict=True))

    @property
    def bound(self) -> Bound:
        """Return whether it is as fast as it has to be."""
        longer = statistics.median(self.longer)
        what = f"{HOSTS} hosts, {GUESTS} guests, all down: {longer:.1f} s longer than an empty stack"
        return Bound(f"{what} (less than {MOST:g} s)", longer < MOST)


def measure(root: Path, rounds: int) -> Previews:
    """Preview both, one after the other, in each round; no host is contacted."""
    with TemporaryDirectory(prefix="kvm-lab-") as name:
        folder = Path(name)
        (folder / "empty").mkdir()
        (folder / "empty/__main__.py").write_text(_EMPTY)
        project = {"name": PROJECT, "runtime": "python"}
        (folder / "empty/Pulumi.yaml").write_text(yaml.safe_dump(project))
        (folder / "empty/.lab").symlink_to(root / ".lab")
        room, nothing = folder / "Pulumi.room.yaml", folder / "Pulumi.nothing.yaml"
        room.write_text(yaml.safe_dump({"config": stack_file()}))
        nothing.write_text(yaml.safe_dump({"config": {}}))
        marker = {processes.MARK: name}
        of_room = BlindEngine(root, folder / "state", marker)
        of_nothing = Engine(folder / "empty", folder / "state", marker)
        rows = [
            (_seconds(of_room, "room", room), _seconds(of_nothing, "nothing", nothing)) for _ in range(rounds)
        ]
    return Previews(tuple(row[0] for row in rows), tuple(row[1] for row in rows))


def stack_file() -> dict[str, Any]:
    """Return the options of a room with students on each host."""
    hosts = [
        {
            "name": f"h{number}",
            "address": str(_FIRST + number),
            "host_keys": [STAND_IN],
            "bridge": {"port": "eth0"},
        }
        for number in range(1, HOSTS + 1)
    ]
    guest = {"image": "disk", "memory_mib": 512, "disk_gib": 4, "ssh_keys": [STAND_IN]}
    students = [
        {"group": number, "student": seat, "host": f"h{number}"}
        for number in range(1, HOSTS + 1)
        for seat in range(1, GUESTS // HOSTS + 1)
    ]
    options: dict[str, Any] = {
        "hosts": hosts,
        "images": [{"name": "disk", "path": "disk.qcow2", "sha256": "0" * 64}],
        "templates": [{"name": "small", "guests": [guest]}],
        "roster": {
            "network": "198.18.0.0/24",
            "address": "198.18.0.{100 + 10*group + student}",
            "students": students,
        },
    }
    return {f"{PROJECT}:{name}": value for name, value in options.items()}


def _seconds(engine: Engine, stack: str, file: Path) -> float:
    options = engine.stack_named(stack, file)
    start = time.monotonic()
    engine.preview(options)
    return time.monotonic() - start
