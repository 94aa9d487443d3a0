"""`make reset`, `make undo-reset`: what is done for one student and touches nobody else's."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from components import part
from config import Environment, Lab
from lab import students
from lab.early_power_off import StandBy
from lab.settings import Settings
from lab.stack import engine_with_state, foreign_hosts, stack_arguments, testbed_of
from lab.terminal import say
from providers.errors import LabError
from testbed.lab import locked

Decision = Callable[[list[dict[str, Any]], Environment, int], dict[str, object]]


def reset(settings: Settings) -> int:
    """Give a student's environment new, empty disks by an edit of the roster, and make it so.

    Names, addresses, MAC addresses and host keys stay; the roster's `keep` says how many old disks do.
    """

    def decide(resources: list[dict[str, Any]], environment: Environment, keep: int) -> dict[str, object]:
        students.refuse_unsettled(resources, environment, answers=True)
        return students.reset(environment, keep)

    return _change_disks(settings, "reset", decide)


def undo_reset(settings: Settings) -> int:
    """Give a student's environment the disks back that it had before, by an edit of the roster."""

    def decide(resources: list[dict[str, Any]], environment: Environment, keep: int) -> dict[str, object]:
        students.refuse_unsettled(resources, environment, answers=False)
        students.refuse_unmade_disks(resources, environment)
        return students.undo_reset(environment, keep)

    return _change_disks(settings, "undo-reset", decide)


def _change_disks(settings: Settings, command: str, decide: Decision) -> int:
    start = time.monotonic()
    with turn(settings):
        lab, environments = named(settings, command)
        roster = students.roster_of(lab)
        with StandBy(students.hosts_in_use(environments)) as early:
            resources = engine_with_state(settings).resources(settings.stack)
            edits = [(one, decide(resources, one, roster.keep)) for one in environments]
            wanted = students.targets(lab, settings.stack, environments, resources)
            in_use = students.disks_in_use(resources, environments)
            for one, edit in edits:
                file = students.edit_roster(settings.stack_file, settings.root, roster, one, edit)
                say(f"{file.name}: {students.told(one, edit, roster.keep)}")
            with _alone(settings.stack, environments, resources) as switches:
                status = early.change_disks(in_use, lambda: up_for(settings, environments, wanted, switches))
    if status == 0:
        say(f"{command} took {time.monotonic() - start:.0f} s")
    else:
        say(f"{command} is not done; `make apply STUDENT=…` or `make up` continues it")
    return status


def named(settings: Settings, command: str) -> tuple[Lab, list[Environment]]:
    """Return the lab and the environments that the command is about, before anything is done.

    Raises:
        LabError: one is not there; a ConfigError has every mistake of the stack file and its local files.
    """
    if not settings.students:
        raise LabError(f"make {command}", "no student", f"name one: make {command} STUDENT=g1s2")
    lab = Lab.from_stack_file(settings.stack_file, root=settings.root)
    students.roster_of(lab)
    return lab, [students.environment_of(lab, name) for name in settings.students]


def turn(settings: Settings) -> AbstractContextManager[object]:
    """Wait for our turn with the testbed; with hosts outside it, Pulumi's own lock of the stack is enough."""
    return nullcontext() if foreign_hosts(settings) else locked(testbed_of(settings))


@contextmanager
def _alone(
    stack: str, environments: Sequence[Environment], resources: list[dict[str, Any]]
) -> Iterator[dict[str, str]]:
    """Have a run declare these environments only: its targets reach no other (students.targets)."""
    text = part.written(stack, [one.name for one in environments], students.outputs_of_stack(resources))
    with tempfile.NamedTemporaryFile("w", prefix="kvm-lab-part-", suffix=".json") as file:
        file.write(text)
        file.flush()
        yield {part.FILE: file.name}


def up_for(
    settings: Settings,
    environments: Sequence[Environment],
    targets: Sequence[str],
    switches: Mapping[str, str] | None = None,
) -> int:
    """Run `pulumi up` for these environments: the testbed's, or the user's with the user's own login.

    Args:
        settings: of the command.
        environments: those that change.
        targets: what of them may, see students.targets.
        switches: for the environment of the run.
    """
    options = ["up", "--yes", "--skip-preview", *(word for one in targets for word in ("--target", one))]
    if any(one.own_host for one in environments):
        options.append("--refresh")  # its student is root there: packages and bridge may be anything
    engine = engine_with_state(settings)
    return engine.run([*options, *stack_arguments(settings, engine)], switches)
