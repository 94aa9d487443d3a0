"""`make access`: files by which students and teacher log in to the guests and hosts of a stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pulumi.runtime.rpc import UNKNOWN

from config import Environment, Lab
from lab.access import MARK, SSH_CONFIG, SUMMARY, Access, Handout, files
from lab.commands import login_of, login_of_guest, shortened
from lab.generated import replace_files
from lab.report import Login
from lab.settings import Settings
from lab.stack import engine_with_state, foreign_hosts
from lab.terminal import say
from providers.errors import LabError
from stackfile import sshkeys


def access(settings: Settings) -> int:
    """Write what students and teacher need to log in to the stack's guests; no machine is contacted.

    Raises:
        LabError: the stack is one of a testbed that is not there, or its outputs cannot be read.
    """
    refuse_absent_testbed(settings)
    lab = Lab.from_stack_file(settings.stack_file, root=settings.root)
    host_keys = host_keys_of(engine_with_state(settings).outputs(settings.stack))
    folder = settings.root / ".lab/access" / settings.stack
    everything = access_of(settings, lab, host_keys, folder)
    stale = replace_files(folder, files(everything), MARK)
    place = shortened(folder, settings)
    if stale:
        say(f"removed from {place}: {', '.join(stale)}")
    if missing := everything.missing:
        say(f"{len(missing)} of {len(everything.guests)} guests are not there yet: {', '.join(missing)}")
    count = len(everything.handouts)
    say(f"wrote {count} sheet{'s' * (count != 1)}, {SUMMARY} and {SSH_CONFIG} into {place}")
    return 0


def refuse_absent_testbed(settings: Settings) -> None:
    """Stop when the stack's machines are those of a testbed that is not there, with keys and state.

    Raises:
        LabError: it is not there.
    """
    foreign = foreign_hosts(settings)
    if not foreign and not settings.testbed.exists():
        raise LabError(
            f"make access STACK={settings.stack}",
            f"its hosts are machines of the testbed, which is off: no folder {settings.testbed}",
            f"make up STACK={settings.stack}",
        )


def host_keys_of(outputs: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the host keys of the guests that were made, by name, from the stack's outputs.

    Raises:
        LabError: one is no public key.
    """
    keys = {name: guest.get("host_key", UNKNOWN) for name, guest in outputs.get("guests", {}).items()}
    # a run that failed leaves outputs that nobody knows
    return {name: (checked_key(name, key),) for name, key in keys.items() if key != UNKNOWN}


def checked_key(guest: str, key: str) -> str:
    """Return the guest's host key.

    Raises:
        LabError: it is no public key.
    """
    try:
        return sshkeys.public_key(key, sshkeys.HOST_KEY_TYPES)
    except ValueError as error:
        raise LabError(
            f"{guest}: read its host key in the stack's outputs",
            f"expected {error}",
            "run `pulumi up` with this version of the program, then run the same again",
        ) from None


def access_of(settings: Settings, lab: Lab, host_keys: Mapping[str, tuple[str, ...]], folder: Path) -> Access:
    """Return all that one can log in to; a guest that is not in `host_keys` was not made yet."""
    logins_of_guests = {
        guest.name: absolute(login_of_guest(host, guest, *host_keys.get(guest.name, ())), settings)
        for host, guest in lab.guests
    }
    handouts = tuple(handout_of(environment, logins_of_guests) for environment in lab.environments)
    own = {guest.name for handout in handouts for guest in handout.guests}
    return Access(
        settings.stack,
        folder,
        handouts,
        tuple(
            (host.name, logins_of_guests[guest.name]) for host, guest in lab.guests if guest.name not in own
        ),
        tuple(absolute(login_of(host), settings) for host in lab.hosts),
    )


def handout_of(environment: Environment, guests: Mapping[str, Login]) -> Handout:
    """Return what a student is told of the environment; `guests` are logins by guests' names."""
    student, host = environment.student, environment.host
    return Handout(
        environment.name,
        student.group,
        student.student,
        host.name,
        tuple(guests[guest.name] for guest in environment.guests),
        replace(login_of(host), user=environment.user, identity_file=None) if environment.own_host else None,
    )


def absolute(login: Login, settings: Settings) -> Login:
    """Return the login with a key file that is found from every folder."""
    if login.identity_file is None:
        return login
    return replace(login, identity_file=str(settings.root / Path(login.identity_file).expanduser()))
