"""Reviews as a pull request's runner makes them: two checkouts and a state, no host, no secret, no key."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from tests.conftest import ROOT

PROGRAM = ("__main__.py", "config.py", "Pulumi.yaml", "bin")
PACKAGES = ("components", "lab", "policies", "providers", "review", "stackfile", "testbed")
Config = dict[str, Any]


@dataclass(frozen=True)
class Reviewed:
    """Two checkouts that are alike, in `folder`, and the state that both are compared with."""

    stack: str
    folder: Path
    state: Path

    @classmethod
    def of(cls, stack: str, stack_file: Path, state: Path, folder: Path) -> Reviewed:
        """Check out the program with a stack file, twice."""
        for side in ("head", "base"):
            checkout = folder / side
            checkout.mkdir(parents=True)
            for name in PROGRAM:
                source = ROOT / name
                (shutil.copytree if source.is_dir() else shutil.copy)(source, checkout / name)
            for name in PACKAGES:
                shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
            shutil.copy(stack_file, checkout / f"Pulumi.{stack}.yaml")
        (folder / "head/.lab").symlink_to(ROOT / ".lab")
        return cls(stack, folder, state)

    def report(self, edit: Callable[[Config], None]) -> dict[str, Any]:
        """Return the report on an edit of the stack file; report.md is beside its JSON."""
        file = self.folder / f"head/Pulumi.{self.stack}.yaml"
        before = file.read_text()
        document = yaml.safe_load(before)
        edit(document["config"])
        file.write_text(yaml.safe_dump(document, sort_keys=False))
        argv = [sys.executable, "-m", "lab", "preview-report", "--stack", self.stack]
        argv += ["--state", str(self.state), "--base", "../base", "--out", "../out"]
        try:
            done = subprocess.run(
                argv,
                cwd=self.folder / "head",
                env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=300,
            )
        finally:
            file.write_text(before)
        assert done.returncode == 0, done.stdout + done.stderr
        return cast("dict[str, Any]", json.loads((self.folder / "out/report.json").read_text()))
