"""Every command that the Makefile names is there, and none is loaded before it is asked for."""

from __future__ import annotations

import re
import subprocess
import sys

from lab.__main__ import COMMANDS, command
from tests.conftest import ROOT


def test_the_makefiles_commands_are_those_that_there_are() -> None:
    named = re.findall(r"-m lab ([a-z-]+)", (ROOT / "Makefile").read_text())
    assert sorted(named) == sorted(COMMANDS)
    assert len({command(name) for name in COMMANDS}) == len(COMMANDS)


def test_what_takes_long_to_load_is_not_loaded_to_read_the_command_line() -> None:
    script = "import sys, lab.__main__; print(sorted({'pulumi', 'paramiko', 'config'} & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_a_reset_loads_no_sdk_before_the_guest_is_asked_to_power_off() -> None:
    script = "import sys, lab.student_commands; print('pulumi' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
