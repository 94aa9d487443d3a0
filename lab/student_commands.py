"""`make reset`, `make undo-reset`, `make apply`: what is done for one student and touches nobody else's."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import config
from components import libvirt
from components.hypervisor import common_inputs
from config import NAMESPACE, Environment, Lab
from lab import students
from lab.commands import check_stack_file, engine_of, say, stack_arguments, testbed_of
from lab.engine import Engine
from lab.settings import Settings
from providers.errors import LabError
from providers.guest_power import power_off
from providers.guest_ready import GuestReadyInputs, GuestReadyProvider
from stackfile.roster import Roster
from testbed.lab import locked


def reset(settings: Settings) -> int:
    """Give a student's environment new, empty disks by an edit of the roster, and make it so.

    Names, addresses, MAC addresses and host keys stay; the roster's `keep` says how many old disks do.
    """
    return _change_disks(settings, "reset", students.reset)


def undo_reset(settings: Settings) -> int:
    """Give a student's environment the disks back that it had before, by an edit of the roster."""
    return _change_disks(settings, "undo-reset", students.undo_reset)


def apply(settings: Settings) -> int:
    """Bring an edited template or key to a student's guests: `pulumi up` for this student, and a reboot."""
    start = time.monotonic()
    _, environment = _student(settings, "apply")
    with locked(testbed_of(settings)):
        engine = engine_of(settings)
        status = _up(settings, engine, environment)
        if status == 0:
            keys = engine.outputs(settings.stack)["guests"]
            with ThreadPoolExecutor(max(1, len(environment.guests))) as pool:
                waits = [
                    pool.submit(_boot_again, settings.stack, environment.host, guest, keys[guest.name])
                    for guest in environment.guests
                ]
                for wait in waits:
                    wait.result()
            say(f"{environment.name} runs with what the stack file says ({time.monotonic() - start:.0f} s)")
    return status


def _change_disks(settings: Settings, command: str, decide: students.Decision) -> int:
    start = time.monotonic()
    roster, environment = _student(settings, command)
    changes = decide(environment, roster.keep)
    with locked(testbed_of(settings)):
        file = students.edit_roster(settings.stack_file, settings.root, roster, environment, changes)
        edited = Lab.from_stack_file(settings.stack_file, root=settings.root, check_files=False)
        now = students.environment_of(edited, environment.name)
        kept = students.disks_kept(now, roster.keep)
        say(
            f"{file.name}: {now.name} has generation {now.student.generation}, "
            f"kept: {', '.join(map(str, kept)) or 'none'}"
        )
        status = _up(settings, engine_of(settings), now)
    if status == 0:
        say(f"{command} took {time.monotonic() - start:.0f} s")
    return status


def _student(settings: Settings, command: str) -> tuple[Roster, Environment]:
    if not settings.student:
        raise LabError(f"make {command}", "no student", f"name one: make {command} STUDENT=g1s2")
    check_stack_file(settings, command)
    lab = Lab.from_stack_file(settings.stack_file, root=settings.root, check_files=False)
    return students.roster_of(lab), students.environment_of(lab, settings.student)


def _up(settings: Settings, engine: Engine, environment: Environment) -> int:
    targets = students.targets(settings.stack, environment)
    return engine.run(["up", "--yes", "--skip-preview", *targets, *stack_arguments(settings, engine)])


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
        }
    )
    GuestReadyProvider().create_thing(inputs)
