"""The `pulumi` command: with the user's own environment, or with the testbed's backend and settings."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import yaml

from config import MISSING_FILES, NAMESPACE, STAND_IN
from providers.errors import LabError
from review.hidden import HIDDEN
from testbed import processes

PROJECT = NAMESPACE  # a stack file's options stand under the project's name
PARALLEL = 256
"""Operations at once, guests that wait for their turn to boot among them; a host has limits of its own."""
ORPHAN_PATIENCE = 60.0
"""Seconds for an orphaned `pulumi` to bring what it is making to an end."""
SWITCHES = {
    "PULUMI_SKIP_UPDATE_CHECK": "1",
    "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "1",
}
# A quarter of the work of starting a `pulumi` is collecting garbage; it may wait, within bounds.
UNHURRIED = {"GOGC": "400", "GOMEMLIMIT": "1GiB"}
BYTECODE = Path(".lab/bytecode")
"""Where Python keeps what it compiled, in the project's folder; the Makefile names it too."""
# They tie a stack file to another backend's secrets; the testbed's state has its own.
SECRETS_KEYS = ("encryptionsalt", "encryptedkey", "secretsprovider")
_STREAMING = "PULUMI_ENABLE_STREAMING_JSON_PREVIEW"
_LOOK_TIMEOUT = "10"  # seconds for libvirt of a host that is only looked at
_LONGEST = 2000  # characters of an output that was not understood


class PreviewFailed(LabError):  # noqa: N818 - the name says what happened
    """There is no plan to judge."""

    seen_lines = 200  # each line may be a mistake of the reader's own


@dataclass(frozen=True)
class UserEngine:
    """Runs `pulumi` in the project folder `root` as its user would, with the state of his `pulumi login`."""

    root: Path

    def environment(self) -> dict[str, str]:
        """Return the environment of every `pulumi` process: the user's, our tools first, nothing fetched.

        It has no mark of a testbed: what it runs must outlive `make down`.
        """
        tools = f"{self.root / '.lab/venv/bin'}:{self.root / '.lab/bin'}"
        dropped = (processes.MARK, "PYTHONDONTWRITEBYTECODE")
        return {
            **UNHURRIED,
            **{name: value for name, value in os.environ.items() if name not in dropped},
            # a run has three Python processes: none is to compile the program anew, or to write beside it
            "PYTHONPYCACHEPREFIX": str(self.root / BYTECODE),
            "PATH": f"{tools}:{os.environ.get('PATH', os.defpath)}",
            **SWITCHES,
        }

    def stack_named(self, stack: str, stack_file: Path) -> list[str]:
        """Return the options by which `pulumi` finds a stack and its file, both ready for it."""
        return ["--stack", stack, "--config-file", str((self.root / stack_file).resolve())]

    def run(self, arguments: Sequence[str], switches: Mapping[str, str] | None = None) -> int:
        """Run `pulumi` with its output on ours, and `switches` in its environment; return its exit status.

        It ends in order when we are told to end: an interrupt reaches it from the terminal, and a request
        to terminate is passed on.
        """
        argv = ["pulumi", *arguments, "--non-interactive", "--cwd", str(self.root)]
        environment = {**self.environment(), **(switches or {})}
        with subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL) as child:
            before = {
                signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
                signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, _: child.send_signal(number)),
            }
            try:
                return child.wait()
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    def outputs(self, stack: str) -> dict[str, Any]:
        """Return the stack's outputs; secrets stay hidden.

        Raises:
            LabError: `pulumi` does not know the stack, or cannot read its state.
        """
        text = self._capture(["stack", "output", "--json", "--stack", stack], cwd=self.root)
        return cast("dict[str, Any]", json.loads(text))

    def resources(self, stack: str) -> list[dict[str, Any]]:
        """Return the resources in the stack's state, secrets encrypted; see `pulumi stack export`.

        Raises:
            LabError: `pulumi` does not know the stack, or cannot read its state.
        """
        return cast("list[dict[str, Any]]", self.export(stack)["deployment"].get("resources") or [])

    def preview(self, arguments: Sequence[str]) -> dict[str, Any]:
        """Return what `pulumi preview --json` says of every resource; see review.plan.

        Raises:
            PreviewFailed: the program, the stack file or a policy keeps from it; with all that was told.
        """
        argv = ["pulumi", "preview", "--json", "--show-sames", "--non-interactive", *arguments]
        done = self._call([*argv, "--cwd", str(self.root)], cwd=self.root)
        try:
            said = json.loads(done.stdout or "{}")
        except ValueError:
            said = {}
        if done.returncode != 0 or "steps" not in said:
            errors = [one["message"] for one in said.get("diagnostics") or [] if one["severity"] == "error"]
            raise PreviewFailed(
                f"run: {' '.join(argv[:3])}",
                "".join(errors) or done.stderr or done.stdout[:_LONGEST] or "nothing, it gave no reason",
                "mend what it names; `pulumi preview` alone tells broken policies too",
            )
        return cast("dict[str, Any]", said)

    def refresh_events(self, arguments: Sequence[str]) -> list[dict[str, Any]]:
        """Return the engine's events of a refresh that changes nothing, the state neither; see review.drift.

        A host that does not answer is among them, as an error.

        Raises:
            LabError: there was none, the stack is not known, say.
        """
        argv = ["pulumi", "refresh", "--preview-only", "--json", "--show-sames", "--non-interactive"]
        switches = {_STREAMING: "1", "LIBVIRT_CONNECT_TIMEOUT": _LOOK_TIMEOUT}
        done = self._call([*argv, *arguments, "--cwd", str(self.root)], cwd=self.root, switches=switches)
        try:
            events = [json.loads(line) for line in done.stdout.splitlines() if line]
        except ValueError:
            events = []
        if not any("summaryEvent" in event for event in events):
            raise LabError(
                f"run: {' '.join(argv[:3])}", done.stderr or done.stdout[:_LONGEST], "mend what it names"
            )
        return events

    def export(self, stack: str, *, show_secrets: bool = False) -> dict[str, Any]:
        """Return the stack's whole state, see `pulumi stack export`.

        Raises:
            LabError: `pulumi` does not know the stack, or cannot read its state.
        """
        shown = ["--show-secrets"] if show_secrets else []
        text = self._capture(["stack", "export", *shown, "--stack", stack], cwd=self.root)
        return cast("dict[str, Any]", json.loads(text))

    def _capture(self, arguments: Sequence[str], *, cwd: Path) -> str:
        argv = ["pulumi", *arguments, "--non-interactive"]
        done = self._call(argv, cwd=cwd)
        if done.returncode != 0:
            raise LabError(
                f"run: {' '.join(argv)}",
                done.stderr or done.stdout,
                "mend what it names, then run the same again",
            )
        return done.stdout

    def _call(
        self, argv: Sequence[str], *, cwd: Path, switches: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            env={**self.environment(), **(switches or {})},
            cwd=cwd,
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )


@dataclass(frozen=True)
class Engine(UserEngine):
    """Runs `pulumi` for the testbed: with its state in the folder `state`, whatever the user is logged in to.

    `marker` is the environment by which processes of a killed run are found again (testbed.processes).
    """

    state: Path
    marker: Mapping[str, str]

    def environment(self) -> dict[str, str]:
        """Return the environment of every `pulumi` process: our tools first, nothing fetched, own backend."""
        users = super().environment()
        return {
            **{name: value for name, value in users.items() if not name.startswith("PULUMI_")},
            **SWITCHES,
            **self.marker,
            "PULUMI_HOME": str(self.root / ".lab/pulumi"),
            "PULUMI_BACKEND_URL": f"file://{self.state}",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.state / "passphrase"),
        }

    def prepare(self, stack: str, stack_file: Path) -> Path:
        """Make the stack if there is none, and return the stack settings to pass as `--config-file`.

        They are a copy of `stack_file` beside the state: `pulumi` writes its encryption salt into the
        settings of a stack, and a committed file must not change because somebody tried the testbed.
        """
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        passphrase = self.state / "passphrase"
        if not passphrase.exists():
            passphrase.touch(mode=0o600)
            passphrase.write_text(secrets.token_urlsafe(32))
        birth = self.state / "birth"
        birth.mkdir(exist_ok=True)
        salted = birth / f"Pulumi.{stack}.yaml"
        if not salted.exists():
            project = yaml.safe_dump({"name": PROJECT, "runtime": "python", "description": "born here"})
            (birth / "Pulumi.yaml").write_text(project)
            self._capture(["stack", "select", "--create", stack], cwd=birth)
        settings = dict(self.settings_in(stack_file))
        born = _mapping(salted)
        for key in SECRETS_KEYS:
            settings.pop(key, None)
            if key in born:
                settings[key] = born[key]
        copy = self.state / f"Pulumi.{stack}.yaml"
        copy.write_text(yaml.safe_dump(settings, sort_keys=False))
        return copy

    def stack_named(self, stack: str, stack_file: Path) -> list[str]:
        """Return the options by which `pulumi` finds the stack, and what `prepare` made of its file."""
        return ["--stack", stack, "--config-file", str(self.prepare(stack, stack_file))]

    def settings_in(self, stack_file: Path) -> Mapping[str, Any]:
        """Return what a stack file says."""
        return _mapping(stack_file)

    def settle(self, stack: str) -> None:
        """Take up the state of a killed run: end its `pulumi`, free its lock, drop what it was about to make.

        Only for one who knows that no other run of the stack goes on. What a killed run did make is found
        and adopted when it is made again.
        """
        for orphan in self._orphans():
            orphan.signal(signal.SIGTERM)
            if processes.await_end([orphan], ORPHAN_PATIENCE):
                orphan.signal(signal.SIGKILL)
        if any((self.state / ".pulumi/locks").rglob("*.json")):
            self._capture(["cancel", "--yes", "--stack", stack], cwd=self.root)
        checkpoint = self._checkpoint(stack)
        if checkpoint.exists() and '"pending_operations"' in checkpoint.read_text():
            exported = self.export(stack)
            exported["deployment"].pop("pending_operations", None)
            self.replace_state(stack, exported)

    def replace_state(self, stack: str, exported: Mapping[str, Any]) -> None:
        """Make `exported` the stack's state."""
        file = self.state / "import.json"
        file.write_text(json.dumps(exported))
        try:
            self._capture(["stack", "import", "--file", str(file), "--stack", stack], cwd=self.root)
        finally:
            file.unlink()

    def outputs(self, stack: str) -> dict[str, Any]:
        """Return the stack's outputs; secrets stay hidden. A stack that was never made has none."""
        return super().outputs(stack) if self._checkpoint(stack).exists() else {}

    def _checkpoint(self, stack: str) -> Path:
        return self.state / f".pulumi/stacks/{PROJECT}/{stack}.json"

    def _orphans(self) -> list[processes.Process]:
        marked = processes.owned(Path(self.marker[processes.MARK]))
        return [process for process in marked if Path(process.command.split(" ")[0]).name == "pulumi"]


@dataclass(frozen=True)
class BlindEngine(Engine):
    """Runs previews where neither secrets nor the local files of a stack file are: all are stood in for."""

    def environment(self) -> dict[str, str]:
        """Return the environment of every `pulumi` process; the program changes nothing in it."""
        return {**super().environment(), MISSING_FILES: STAND_IN}

    def settings_in(self, stack_file: Path) -> Mapping[str, Any]:
        """Return what a stack file says; what is encrypted in it is HIDDEN."""
        return cast("Mapping[str, Any]", _blinded(super().settings_in(stack_file)))


def _blinded(value: object) -> object:
    if isinstance(value, dict):
        if value.keys() == {"secure"}:
            return HIDDEN
        return {key: _blinded(one) for key, one in value.items()}
    return [_blinded(one) for one in value] if isinstance(value, list) else value


def _mapping(path: Path) -> dict[str, Any]:
    return cast("dict[str, Any]", yaml.safe_load(path.read_text()) or {})
