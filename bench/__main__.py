"""Command line of the measurements: `python -m bench network | forward-delay | students | preview`."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from pyroute2.netlink.exceptions import NetlinkError

from bench import forward_delay
from providers.errors import LabError

INTERRUPTED = 130
MOST_GUESTS = 100
"""In a class: so many addresses each side has."""


def main(arguments: Sequence[str]) -> int:
    """Run one measurement; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options, arguments))
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except (AssertionError, NetlinkError, OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"bench: {_told(error)}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED


def _network(options: argparse.Namespace, _arguments: Sequence[str]) -> int:
    # Imported late: it brings the whole provider, which forward-delay can do without.
    from bench import network, report  # noqa: PLC0415

    result = network.measure(options.rounds)
    bounds = report.verdict(result.takeover, result.live)
    if options.json:
        sys.stdout.write(json.dumps(report.as_json(result.rows, bounds), indent=2) + "\n")
    else:
        sys.stdout.write(f"{report.table(result.rows)}\n\n{_measured(options)}\n")
        sys.stdout.write(f"{network.LEGEND}\n\n")
        sys.stdout.write(f"{report.lines_of(bounds, report.beside_plain(result.plain_takeover))}\n")
    return 0 if all(bound.holds for bound in bounds) else 1


def _forward_delay(options: argparse.Namespace, arguments: Sequence[str]) -> int:
    if not options.inside:
        forward_delay.enter_namespace([*arguments, "--inside"])
    cases = forward_delay.QUICK if options.quick else forward_delay.CASES
    rows = forward_delay.measure(cases, options.rounds)
    if options.json:
        sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    else:
        sys.stdout.write(f"{forward_delay.table(rows)}\n\n{_measured(options)}\n")
    return 0


def _students(options: argparse.Namespace, _arguments: Sequence[str]) -> int:
    from bench import report, student_report, students  # noqa: PLC0415 - as above

    classes, facts = students.measure(options.counts, options.rounds)
    bounds = student_report.verdict(classes)
    if options.json:
        sys.stdout.write(json.dumps(student_report.as_json(classes, bounds), indent=2) + "\n")
    else:
        sys.stdout.write(f"{student_report.table(classes)}\n\n{facts}\n{_measured(options)}\n")
        sys.stdout.write(f"{students.LEGEND}\n\n")
        sys.stdout.write(f"{report.lines_of(bounds)}\n")
    return 0 if all(bound.holds for bound in bounds) else 1


def _preview(options: argparse.Namespace, _arguments: Sequence[str]) -> int:
    from bench import preview, report  # noqa: PLC0415 - as above

    found = preview.measure(Path.cwd(), options.rounds)
    if options.json:
        sys.stdout.write(json.dumps(asdict(found), indent=2) + "\n")
    else:
        for words, seconds in (("the room", found.room), ("nothing", found.nothing)):
            sys.stdout.write(f"{words}: {' '.join(f'{one:.1f}' for one in seconds)} s\n")
        sys.stdout.write(f"{report.lines_of([found.bound], 'a stack that was never made; no policy pack')}\n")
    return 0 if found.bound.holds else 1


def _told(error: Exception) -> str:
    """Return what an error that is no LabError says, with its kind: some say nothing by themselves."""
    stderr = error.stderr if isinstance(error, subprocess.CalledProcessError) else None
    return "\n".join(filter(None, (f"{type(error).__name__}: {error}".removesuffix(": "), stderr)))


def _measured(options: argparse.Namespace) -> str:
    return f"kernel {platform.release()}; median (range) of rounds: {options.rounds}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measurements.")
    shown = argparse.ArgumentParser(add_help=False)
    shown.add_argument("--json", action="store_true", help="print every measured value, for programs")
    common = argparse.ArgumentParser(add_help=False, parents=[shown])
    common.add_argument(
        "--rounds", type=_positive, default=5, help="how often each is measured (%(default)s)"
    )
    commands = parser.add_subparsers(required=True)
    changes = commands.add_parser(
        "network", parents=[common], help="outages of changes of a host's network, beside those made by hand"
    )
    changes.set_defaults(run=_network)
    delay = commands.add_parser(
        "forward-delay", parents=[common], help="how long a port that joins a bridge waits"
    )
    delay.add_argument("--quick", action="store_true", help="a short and a longer wait only")
    delay.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    delay.set_defaults(run=_forward_delay)
    previews = commands.add_parser(
        "preview", parents=[common], help="how long a preview takes while all hosts are down"
    )
    previews.set_defaults(run=_preview)
    classes = commands.add_parser(
        "students", parents=[shown], help="how long students' guests take, beside a shell loop"
    )
    classes.add_argument(
        "--rounds", type=_positive, default=1, help="how often each class is made and reset (%(default)s)"
    )
    classes.add_argument(
        "--counts", type=_counts, default="1,8,40", help="guests in each class (%(default)s)"
    )
    classes.set_defaults(run=_students)
    return parser


def _counts(text: str) -> list[int]:
    counts = [_positive(count) for count in text.split(",")]
    if max(counts) > MOST_GUESTS:
        raise argparse.ArgumentTypeError(f"at most {MOST_GUESTS}")
    return counts


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
