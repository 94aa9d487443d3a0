"""A stack of the program, driven through the real `pulumi` command."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from lab.engine import PARALLEL, Engine
from testbed import processes
from tests.faults.host import Host
from tests.inputs import login

ROOT = Path(__file__).parents[2]
UP_DEADLINE = 900.0


@dataclass(frozen=True)
class Outcome:
    """What one `pulumi` run ended with; `text` is all it printed."""

    status: int
    text: str


@dataclass
class Stack:
    """A stack with its own state below `folder`; each run writes `hosts` and `images` to its file first."""

    name: str
    folder: Path
    mark: Path
    hosts: list[dict[str, Any]]
    images: list[dict[str, Any]] = field(default_factory=list)
    log: str = ""

    @property
    def engine(self) -> Engine:
        return Engine(ROOT, self.folder / "pulumi", {processes.MARK: str(self.mark)})

    def up(self, *options: str, policies: bool = True) -> Outcome:
        """Run `pulumi up`."""
        pack = ["--policy-pack", "policies"] if policies else []
        return self.pulumi("up", "--yes", "--skip-preview", *pack, *options)

    def changed_nothing(self) -> bool:
        """Run `pulumi up` once more: whether it had nothing to change."""
        return self.up("--expect-no-changes").status == 0

    def plan(self, *options: str) -> dict[str, str]:
        """Return what `pulumi preview` would do: "Type name" to operation, without what stays the same."""
        outcome = self.pulumi("preview", "--json", *options)
        assert outcome.status == 0, outcome.text
        steps = json.loads(outcome.text[outcome.text.index("{") :]).get("steps", [])
        named = {_short(step["urn"]): step["op"] for step in steps}
        return {name: op for name, op in named.items() if op not in {"same", "read", "discard"}}

    def pulumi(self, command: str, *options: str) -> Outcome:
        """Run a command of `pulumi` that takes the stack's settings."""
        settings = self.engine.prepare(self.name, self.write())
        parallel = [] if command in {"stack", "preview"} else ["--parallel", str(PARALLEL)]
        return self.run(
            [command, *options, "--stack", self.name, "--config-file", str(settings), *parallel],
        )

    def run(self, arguments: Sequence[str]) -> Outcome:
        """Run `pulumi` in the project folder."""
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive", "--color", "never"],
            cwd=ROOT,
            env=self.engine.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=UP_DEADLINE,
        )
        self.log += f"$ pulumi {' '.join(arguments)}\n{done.stdout}{done.stderr}"
        return Outcome(done.returncode, done.stdout + done.stderr)

    def outputs(self) -> dict[str, Any]:
        return self.engine.outputs(self.name)

    def state(self) -> dict[str, Any]:
        """Return the stack's state as it is stored, secrets encrypted."""
        outcome = self.run(["stack", "export", "--stack", self.name])
        assert outcome.status == 0, outcome.text
        exported: dict[str, Any] = json.loads(outcome.text)
        return exported

    def write(self) -> Path:
        """Write the stack file and return it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"Pulumi.{self.name}.yaml"
        config = {"kvm-lab:images": self.images, "kvm-lab:hosts": self.hosts}
        path.write_text(yaml.safe_dump({"config": config}, sort_keys=False))
        return path

    def forget(self) -> None:
        """Throw the stack's state away."""
        shutil.rmtree(self.folder, ignore_errors=True)


def host_entry(machine: Host, **changes: object) -> dict[str, Any]:
    """Return the stack file's entry of a testbed machine."""
    entry: dict[str, Any] = {
        "name": machine.name,
        **login(machine),
        "identity_file": _relative(machine.identity_file),
        "bridge": {"name": "br0", "port": "eth0", "rollback_timeout": 30},
        "guests": [],
    }
    return {**entry, **changes}


def guest_entry(name: str, address: str, key: Mapping[str, str], **changes: object) -> dict[str, Any]:
    """Return the stack file's entry of a small guest; `key` holds the path of the public key that logs in."""
    entry: dict[str, Any] = {
        "name": name,
        "image": "debian-12",
        "memory_mib": 512,
        "disk_gib": 3,
        "address": address,
        "user": "student",
        "ssh_key_files": [key["public"]],
    }
    return {**entry, **changes}


def _relative(path: str) -> str:
    return str(Path(path).relative_to(ROOT))


def _short(urn: str) -> str:
    kind, name = urn.split("::")[-2:]
    return f"{kind.split('$')[-1].split(':')[-1]} {name}"
