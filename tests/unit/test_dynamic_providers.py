"""The process that serves our dynamic providers ends when the engine was killed, after what it has begun."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "bin/pulumi-resource-pulumi-python"
ENGINE = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-u", sys.argv[1]], stdout=subprocess.PIPE)
print(child.pid, int(child.stdout.readline()), flush=True)
time.sleep(600)
"""


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    spec = importlib.util.spec_from_loader("served", SourceFileLoader("served", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def runs(process: int) -> bool:
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"  # ended, and its new parent has not looked yet


def test_it_ends_with_the_engine() -> None:
    with subprocess.Popen([sys.executable, "-c", ENGINE, SCRIPT], stdout=subprocess.PIPE) as engine:
        assert engine.stdout is not None
        served, port = map(int, engine.stdout.readline().split())
        assert port > 0
        time.sleep(3)
        assert runs(served)
        engine.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 15
    while runs(served) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not runs(served)


def test_what_is_under_way_ends_first(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "PARENT_POLL", 0.01)
    ended, go_on = threading.Event(), threading.Event()
    monkeypatch.setattr(os, "_exit", lambda _status: ended.set())
    operations = script.Operations()
    begun = operations.submit(go_on.wait, 30)
    gone = os.getppid() + 1
    threading.Thread(target=script.end_with, args=(gone, operations), daemon=True).start()
    assert not ended.wait(0.3)
    go_on.set()
    assert begun.result() is True
    assert ended.wait(5)
