import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from providers.errors import LabError
from testbed import processes

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
)


def test_tools_are_not_told_what_our_python_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/ours")
    monkeypatch.setenv("OTHER", "kept")
    seen = processes.run(["env"], tmp_path, "look at the environment").splitlines()
    assert "OTHER=kept" in seen
    assert f"{processes.MARK}={tmp_path}" in seen
    assert [line for line in seen if line.startswith("PYTHON")] == []


def start(directory: Path, code: str = "import time; time.sleep(60)") -> processes.Process:
    with (directory / "output").open("wb") as output:
        return processes.start([sys.executable, "-c", code], directory, output, cwd=directory)


def test_owned_are_those_of_this_folder_and_their_children(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    stranger = start(other)
    parent = start(tmp_path, "import subprocess; subprocess.run(['sleep', '60'])")
    try:
        deadline = time.monotonic() + 10
        while len(processes.family(parent)) < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert set(processes.owned(tmp_path)) == set(processes.family(parent))
    finally:
        processes.end(tmp_path)
        assert stranger.alive
        processes.end(other)


def test_end_ends_one_that_ignores_sigterm(tmp_path: Path) -> None:
    process = start(tmp_path, STUBBORN)
    while not (tmp_path / "output").read_text():
        time.sleep(0.02)

    assert processes.end(tmp_path, patience=0.2) == [process]

    assert not process.alive
    assert processes.end(tmp_path) == []


def test_keeper_is_the_one_started_in_the_folder(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    with (tmp_path / "output").open("wb") as output:
        started = [processes.start(["sleep", "60"], tmp_path, output, cwd=folder) for folder in folders]
    try:
        assert [processes.keeper(tmp_path, folder) for folder in folders] == started
        assert processes.keeper(tmp_path, tmp_path) is None
    finally:
        processes.end(tmp_path)


def test_a_later_process_of_the_same_number_is_not_taken_for_it() -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        earlier = processes.Process(child.pid, started=1)
        assert not earlier.alive
        earlier.signal(signal.SIGKILL)
        assert child.poll() is None
    finally:
        child.kill()
        child.wait()


def test_a_failed_command_says_what_it_said(tmp_path: Path) -> None:
    with pytest.raises(LabError) as caught:
        processes.run(["sh", "-c", "echo no space >&2; exit 3"], tmp_path, "testbed: fill the disk")
    assert "no space" in caught.value.seen
    assert "status 3" in caught.value.seen


def test_a_command_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no-such-command"):
        processes.run(["no-such-command"], tmp_path, "testbed: try")
