"""`python -m lab COMMAND`: what `make COMMAND` runs, for the commands below."""

from __future__ import annotations

import argparse
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

from lab.settings import Settings
from providers.errors import LabError
from testbed import processes

INTERRUPTED = 130
# By name: each command imports what it needs only once it is asked for.
COMMANDS = {
    "up": "lab.commands:up",
    "preview": "lab.commands:preview",
    "look": "lab.commands:look",
    "show": "lab.show_command:show",
    "topology": "lab.topology_command:topology",
    "access": "lab.access_command:access",
    "machines": "lab.commands:machines",
    "down": "lab.commands:down",
    "reset": "lab.student_commands:reset",
    "undo-reset": "lab.student_commands:undo_reset",
    "apply": "lab.apply_command:apply",
    "preview-report": "lab.review_commands:preview_report",
    "state-export": "lab.review_commands:state_export",
    "deploy": "lab.review_commands:deploy",
    "drift": "lab.drift_command:look_for_drift",
}


def main(arguments: Sequence[str]) -> int:
    """Run one command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--stack", default="lab", help="the stack's name: Pulumi.NAME.yaml is its file")
    parser.add_argument("--stack-file", type=Path, help="another file with the stack's settings")
    parser.add_argument("--testbed", type=Path, default=Path(".lab/testbed"), help="the testbed's folder")
    parser.add_argument("--bridge", default="labbr", help="the testbed's bridge on this machine")
    parser.add_argument("--range", default="198.51.100.0/24", help="the testbed's network")
    parser.add_argument("--refresh", action="store_true", help="up: look at the hosts first, and mend drift")
    parser.add_argument(
        "--student", default="", help="reset, undo-reset, apply: environments, such as g1s2 or g1s1,g1s2"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="show: print JSON; show ends with status 0 when all hosts and guests answered, else with 1",
    )
    parser.add_argument("--no-look", action="store_true", help="topology: draw the state, contact no host")
    parser.add_argument("--state", type=Path, help="preview-report: a state from `state-export`")
    parser.add_argument("--base", type=Path, help="preview-report: a checkout of what the change starts from")
    parser.add_argument("--plan", type=Path, help="preview-report: what `pulumi preview --json` printed")
    parser.add_argument("--out", type=Path, help="where the report, or the exported state, is written")
    parser.add_argument("--approved", action="store_true", help="deploy: a red verdict was approved")
    options = parser.parse_args(arguments)
    settings = Settings.of(options)
    mark_this_process(settings.testbed, arguments)
    try:
        return command(options.command)(settings)
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on where this one stopped\n")
        return INTERRUPTED


def command(name: str) -> Callable[[Settings], int]:
    """Return what a command runs."""
    return cast("Callable[[Settings], int]", pkgutil.resolve_name(COMMANDS[name]))


def mark_this_process(testbed: Path, arguments: Sequence[str]) -> None:
    """Start anew with the testbed's mark, by which `down` finds this process and its children as orphans."""
    if os.environ.get(processes.MARK) != str(testbed):
        argv = [sys.executable, "-m", "lab", *arguments]
        os.execve(sys.executable, argv, processes.environment(testbed))  # noqa: S606 - ourselves


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
