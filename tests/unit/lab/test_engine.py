"""The environment of `pulumi`, and what becomes of its output; the command itself is a stand-in."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lab.engine import Engine, UserEngine
from providers.errors import LabError
from testbed import processes

PRINT_ENVIRONMENT = f"#!{sys.executable}\nimport json, os\nprint(json.dumps(dict(os.environ)))\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://users")
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "users")
    monkeypatch.setenv("AWS_PROFILE", "users")
    monkeypatch.setenv(processes.MARK, "/elsewhere")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.delenv("GOGC", raising=False)
    monkeypatch.setenv("GOMEMLIMIT", "2GiB")
    stand_in(tmp_path, PRINT_ENVIRONMENT)
    return tmp_path


def stand_in(root: Path, script: str) -> None:
    pulumi = root / ".lab/bin/pulumi"
    pulumi.parent.mkdir(parents=True, exist_ok=True)
    pulumi.write_text(script)
    pulumi.chmod(0o755)


def test_the_users_engine_runs_in_the_users_environment_without_a_testbeds_mark(root: Path) -> None:
    seen = UserEngine(root).outputs("room")
    assert seen["PULUMI_BACKEND_URL"] == "s3://users"
    assert seen["PULUMI_CONFIG_PASSPHRASE"] == "users"
    assert seen["AWS_PROFILE"] == "users"
    assert seen["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "1"
    assert seen["PATH"].startswith(f"{root}/.lab/venv/bin:{root}/.lab/bin:")
    assert processes.MARK not in seen
    assert "PULUMI_HOME" not in seen
    # three Python processes a run: what one compiles the next ones find, and not beside the sources
    assert seen["PYTHONPYCACHEPREFIX"] == f"{root}/.lab/bytecode"
    assert "PYTHONDONTWRITEBYTECODE" not in seen
    assert (seen["GOGC"], seen["GOMEMLIMIT"]) == ("400", "2GiB")  # what the user says of them counts


def test_the_testbeds_engine_has_a_backend_of_its_own(root: Path) -> None:
    state = root / "state"
    engine = Engine(root, state, {processes.MARK: "/here"})
    checkpoint = state / ".pulumi/stacks/kvm-lab/room.json"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    seen = engine.outputs("room")
    assert seen["PULUMI_BACKEND_URL"] == f"file://{state}"
    assert "PULUMI_CONFIG_PASSPHRASE" not in seen
    assert seen["PULUMI_SKIP_UPDATE_CHECK"] == "1"
    assert seen["AWS_PROFILE"] == "users"
    assert seen[processes.MARK] == "/here"


def test_a_stack_of_the_testbed_that_was_never_made_has_no_outputs(root: Path) -> None:
    stand_in(root, "#!/bin/sh\nexit 3\n")
    assert Engine(root, root / "state", {processes.MARK: "/here"}).outputs("room") == {}


def test_what_pulumi_says_is_told_when_it_fails(root: Path) -> None:
    stand_in(root, "#!/bin/sh\necho \"error: no stack named 'room' found\" >&2\nexit 255\n")
    with pytest.raises(LabError, match="no stack named 'room' found") as error:
        UserEngine(root).outputs("room")
    assert error.value.asked == "run: pulumi stack output --json --stack room --non-interactive"


def test_the_status_and_the_arguments_of_a_run_are_pulumis(root: Path) -> None:
    stand_in(root, f'#!/bin/sh\necho "$*" > {root}/seen\nexit 7\n')
    assert UserEngine(root).run(["up", "--yes"]) == 7
    assert (root / "seen").read_text() == f"up --yes --non-interactive --cwd {root}\n"
