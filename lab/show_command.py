"""`make show`: who is on the bridges of a stack's hosts, and which guests answer."""

from __future__ import annotations

import json
import sys
import time

from config import Lab
from lab.access_command import host_keys_of
from lab.commands import hosts_off, lab_without_files, say_read
from lab.settings import Settings
from lab.show import read
from lab.sightings import document, report
from lab.stack import engine_with_state
from lab.terminal import colours, say
from lab.views import HostView, all_answered, views
from providers.errors import LabError


def show(settings: Settings) -> int:
    """Show who is on the bridges of any stack file's hosts, and which guests answer; nothing is changed.

    The status is 0 when every host was read and every guest answered, else 1. A guest must show the host key
    that the stack's state has; where that cannot be read, any key is an answer.
    """
    start = time.monotonic()
    found = look(settings)
    if settings.json:
        sys.stdout.write(json.dumps(document(found, settings.stack), indent=2) + "\n")
    else:
        sys.stdout.write(f"{report(found, colour=colours())}\n")
    sys.stdout.flush()
    say_read(sum(view.error is None for view in found), len(found), start)
    return 0 if all_answered(found) else 1


def look(settings: Settings) -> list[HostView]:
    """Return a view of each host of the stack file; hosts of a testbed that is off are not contacted."""
    lab, unread = lab_without_files(settings)
    seen = read(lab, {**unread, **hosts_off(settings)})
    return views(lab, settings.stack, seen, known_host_keys(settings, lab))


def known_host_keys(settings: Settings, lab: Lab) -> dict[str, str]:
    """Return the host keys by which the stack's state knows guests; none where it cannot be read."""
    if not any(host.guests for host in lab.hosts):
        return {}
    try:
        known = host_keys_of(engine_with_state(settings).outputs(settings.stack))
    except (LabError, OSError) as error:
        say(f"guests' host keys are not compared, the stack's state was not read: {last_line(error)}")
        return {}
    return {name: keys[0] for name, keys in known.items()}


def last_line(error: LabError | OSError) -> str:
    """Return the last line of what was seen: `pulumi` says there what is wrong."""
    return (error.seen if isinstance(error, LabError) else str(error)).rpartition("\n")[2]
