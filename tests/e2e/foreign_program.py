"""A program of somebody else, driven through the real `pulumi` command, with our policy pack."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.stack import ROOT, Outcome, Stack

STACK = "refused"
DEADLINE = 300.0


@dataclass(frozen=True)
class ForeignProgram:
    """A program that is run from a copy: `pulumi stack init` writes beside Pulumi.yaml.

    `source` is its folder; `folder`, empty before, holds the copy, its settings and its state.
    """

    source: Path
    folder: Path

    def run(self, command: str, config: dict[str, Any], *options: str) -> Outcome:
        """Run a command of `pulumi` with this configuration and the policy pack."""
        settings = self._settings(config)
        return self._pulumi(
            *(command, "--config-file", str(settings), "--policy-pack", str(ROOT / "policies"), *options)
        )

    def resources(self) -> list[dict[str, Any]]:
        """Return the resources in the stack's state."""
        exported = self._pulumi("stack", "export")
        assert exported.status == 0, exported.text
        deployment: dict[str, Any] = json.loads(exported.text)["deployment"]
        return deployment.get("resources") or []

    @property
    def _stack(self) -> Stack:
        return Stack(STACK, self.folder, self.folder, [])

    def _settings(self, config: dict[str, Any]) -> Path:
        path = self.folder / f"Pulumi.{STACK}.yaml"
        name = self.source.name.replace("_", "-")
        path.write_text(
            yaml.safe_dump({"config": {f"{name}:{option}": value for option, value in config.items()}})
        )
        return self._stack.engine.prepare(STACK, path)

    def _pulumi(self, *arguments: str) -> Outcome:
        name = f"organization/{self.source.name.replace('_', '-')}/{STACK}"
        copy = self.folder / "program"
        if not copy.exists():
            self._copy_to(copy)
            assert self._run(copy, "stack", "init", name).status == 0
        return self._run(copy, *arguments, "--stack", name)

    def _run(self, folder: Path, *arguments: str) -> Outcome:
        done = subprocess.run(
            ["pulumi", *arguments, "--non-interactive"],
            cwd=folder,
            env={**self._stack.engine.environment(), "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        return Outcome(done.returncode, done.stdout + done.stderr)

    def _copy_to(self, target: Path) -> None:
        target.mkdir()
        for file in self.source.iterdir():
            if file.is_file():
                text = file.read_text().replace("../../../bin", os.fspath(ROOT / "bin"))
                (target / file.name).write_text(text)
