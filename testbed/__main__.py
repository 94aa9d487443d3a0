"""Command line of the testbed: `python -m testbed up | down | status | prerequisites`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Network
from pathlib import Path

from providers.errors import LabError
from testbed import image, lab, prerequisites, processes, progress, stackfile
from testbed.lab import Testbed


def main(argv: list[str]) -> int:
    """Run one command; returns the exit status."""
    options = _parser().parse_args(argv)
    mark = str(options.dir.absolute())
    if os.environ.get(processes.MARK) != mark and options.command == "up":
        # Started anew, so that this process too carries the mark by which `down` finds it.
        environment = {**os.environ, processes.MARK: mark}
        os.execve(sys.executable, [sys.executable, "-m", "testbed", *argv], environment)  # noqa: S606
    try:
        _COMMANDS[options.command](options)
    except LabError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _up(options: argparse.Namespace) -> None:
    prerequisites.check(options.dir)
    specs = stackfile.machines(options.stack_file, options.range)
    if not specs:
        asked = f"testbed: start the machines of {options.stack_file}"
        raise LabError(asked, f"no host's address lies in {options.range}", "name the range of its hosts")
    bed = _testbed(options)
    with lab.locked(bed), ThreadPoolExecutor(1) as pool:
        built = pool.submit(image.build, options.images, options.cache, bed.directory)
        bed.start(specs)
        built.result()
        wanted = {spec.name for spec in specs}
        for machine in bed.machines():
            if machine.name not in wanted:
                progress.say(
                    machine.name, "is not in the stack file any more; it runs on, with its disk, until `down`"
                )


def _down(options: argparse.Namespace) -> None:
    bed = _testbed(options)
    bed.stop()
    if options.purge:
        for folder in (options.cache, options.images):
            shutil.rmtree(folder, ignore_errors=True)


def _status(options: argparse.Namespace) -> None:
    for machine in _testbed(options).machines():
        process = machine.process
        state = "off" if process is None else f"runs as process {process.pid}"
        sys.stdout.write(f"{machine.name}  {machine.address}  {state}\n")


def _prerequisites(options: argparse.Namespace) -> None:
    prerequisites.check(options.dir)


_COMMANDS = {"up": _up, "down": _down, "status": _status, "prerequisites": _prerequisites}


def _testbed(options: argparse.Namespace) -> Testbed:
    return Testbed(options.dir, bridge=options.name, subnet=options.range, cache=options.cache)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m testbed", description="Bare Debian machines on this machine."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--dir", type=Path, default=lab.DIRECTORY, help="the testbed's folder (%(default)s)")
    common.add_argument("--name", default=lab.BRIDGE, help="its bridge (%(default)s)")
    common.add_argument("--range", type=IPv4Network, default=lab.RANGE, help="its addresses (%(default)s)")
    common.add_argument(
        "--cache", type=Path, default=lab.CACHE, help="where the base system is kept (%(default)s)"
    )
    common.add_argument(
        "--images", type=Path, default=lab.IMAGES, help="where the guest image is kept (%(default)s)"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", parents=[common], help="start the stack's machines")
    up.add_argument("--stack-file", type=Path, required=True, help="Pulumi.<stack>.yaml")
    down = commands.add_parser("down", parents=[common], help="end all machines and undo everything")
    down.add_argument("--purge", action="store_true", help="remove the base system and the guest image too")
    commands.add_parser("status", parents=[common], help="list the machines")
    commands.add_parser("prerequisites", parents=[common], help="say what this machine lacks")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
