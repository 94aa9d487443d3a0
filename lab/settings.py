"""Which stack, and which testbed, one command is about."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path


@dataclass(frozen=True)
class Settings:
    """The folders, files and names of one run; every path but `root` stays as it would be typed there."""

    root: Path
    stack: str
    stack_file: Path
    testbed: Path
    bridge: str
    network: IPv4Network
    refresh: bool = False
    students: tuple[str, ...] = ()
    json: bool = False
    look: bool = True
    state_file: Path | None = None
    """A state of which the secrets are stripped."""
    base: Path | None = None
    """A checkout of what the change starts from."""
    plan_file: Path | None = None
    """What `pulumi preview --json` printed."""
    out: Path | None = None
    """Where a report is written."""
    approved: bool = False

    @classmethod
    def of(cls, options: argparse.Namespace) -> Settings:
        """Return the settings that the command line asks for, the project being the current folder."""
        root = Path.cwd()
        return cls(
            root=root,
            stack=options.stack,
            stack_file=options.stack_file or Path(f"Pulumi.{options.stack}.yaml"),
            testbed=root / options.testbed,
            bridge=options.bridge,
            network=IPv4Network(options.range),
            refresh=options.refresh,
            students=tuple(name for name in options.student.split(",") if name),
            json=options.json,
            look=not options.no_look,
            state_file=options.state,
            base=options.base,
            plan_file=options.plan,
            out=options.out,
            approved=options.approved,
        )

    @property
    def state(self) -> Path:
        """The folder of the testbed's Pulumi state: it ends with the machines that it describes."""
        return self.testbed / "pulumi"

    @property
    def cache(self) -> Path:
        """The folder of what is built once for all testbeds of this clone."""
        return self.root / ".lab/cache"

    @property
    def images(self) -> Path:
        """The folder of the guests' base image and its checksum file."""
        return self.root / ".lab/images"
