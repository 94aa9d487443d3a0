"""`make reset`, `make undo-reset`, `make apply`: what is done for one student and touches nobody else's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import config
from components import libvirt
from components.hypervisor import common_inputs
from config import NAMESPACE, Environment, Lab
from lab import students
from lab.commands import (
    engine_with_state,
    foreign_hosts,
    stack_arguments,
    testbed_of,
)
from lab.settings import Settings
from lab.terminal import say
from providers.errors import LabError
from providers.guest_power import power_off
from providers.guest_ready import GuestReadyInputs, GuestReadyProvider
from stackfile.roster import Roster
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


def apply(settings: Settings) -> int:
    """Bring an edited template or key to students' guests: `pulumi up` for these students, and a reboot."""
    start = time.monotonic()
    with _turn(settings):
        _, environments = _students(settings, "apply")
        status = _up(settings, environments)
        if status == 0:
            engine = engine_with_state(settings)
            _boot_all_again(settings, environments, engine.outputs(settings.stack)["guests"])
            names = ", ".join(one.name for one in environments)
            say(f"applied to {names} in {time.monotonic() - start:.0f} s")
    return status


def _change_disks(settings: Settings, command: str, decide: Decision) -> int:
    start = time.monotonic()
    with _turn(settings):
        roster, environments = _students(settings, command)
        resources = engine_with_state(settings).resources(settings.stack)
        edits = [(one, decide(resources, one, roster.keep)) for one in environments]
        for one, edit in edits:
            file = students.edit_roster(settings.stack_file, settings.root, roster, one, edit)
            say(f"{file.name}: {students.told(one, edit, roster.keep)}")
        status = _up(settings, environments)
    if status == 0:
        say(f"{command} took {time.monotonic() - start:.0f} s")
    else:
        say(f"{command} is not done; `make apply STUDENT=…` or `make up` continues it")
    return status


def _students(settings: Settings, command: str) -> tuple[Roster, list[Environment]]:
    """Return the roster and the environments that the command is about, before anything is done."""
    if not settings.students:
        raise LabError(f"make {command}", "no student", f"name one: make {command} STUDENT=g1s2")
    lab = Lab.from_stack_file(settings.stack_file, root=settings.root, check_files=False)
    return students.roster_of(lab), [students.environment_of(lab, name) for name in settings.students]


def _turn(settings: Settings) -> AbstractContextManager[object]:
    """Wait for our turn with the testbed; with hosts outside it, Pulumi's own lock of the stack is enough."""
    return nullcontext() if foreign_hosts(settings) else locked(testbed_of(settings))


def _up(settings: Settings, environments: Sequence[Environment]) -> int:
    """Run `pulumi up` for these environments: the testbed's, or the user's with the user's own login."""
    options = ["up", "--yes", "--skip-preview", *students.targets(settings.stack, environments)]
    if any(one.own_host for one in environments):
        options.append("--refresh")  # its student is root there: packages and bridge may be anything
    engine = engine_with_state(settings)
    return engine.run([*options, *stack_arguments(settings, engine)])


def _boot_all_again(
    settings: Settings, environments: Sequence[Environment], logins: Mapping[str, Mapping[str, str]]
) -> None:
    """Boot all guests of the environments; when one fails the others still end before its error is raised."""
    guests = [
        (one.host.with_known_hosts(settings.root), guest) for one in environments for guest in one.guests
    ]
    with ThreadPoolExecutor(max(1, len(guests))) as pool:
        boots = [
            pool.submit(_boot_again, settings.stack, host, guest, logins[guest.name])
            for host, guest in guests
        ]
        for boot in boots:
            boot.result()


def _boot_again(stack: str, host: config.Host, guest: config.Guest, login: Mapping[str, str]) -> None:
    domain = f"{stack}-{guest.name}"
    power_off(host.endpoint, domain, host.shutdown_timeout)
    inputs = GuestReadyInputs.model_validate(
        {
            **common_inputs(host, NAMESPACE, stack),
            "guest": guest.name,
            "domain": domain,
            "address": guest.address.ip,
            "public_key": login["host_key"],
            "console_log": libvirt.console_log(domain),
            "domain_id": "",
            "seed": "",
            "parallel": host.parallel,
        }
    )
    GuestReadyProvider().create_thing(inputs)
