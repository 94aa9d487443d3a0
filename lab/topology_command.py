"""`make topology`: a page with a stack's hosts, bridges and guests as its state and a look at them tell."""

from __future__ import annotations

import sys
from datetime import UTC, datetime

from lab.commands import shortened
from lab.generated import FOLDER_MODE, write_file
from lab.settings import Settings
from lab.show_command import last_line, look
from lab.sightings import document
from lab.stack import engine_with_state
from lab.terminal import say
from lab.topology import page
from providers.errors import LabError
from review import inventory, plan
from review.model import Inventory


def topology(settings: Settings) -> int:
    """Write the page into .lab/topology and print its path; hosts that are off are shown as such.

    Raises:
        LabError: nobody is to look at the hosts, and the stack's state cannot be read; or the stack file has
            a mistake.
    """
    live = document(look(settings), settings.stack) if settings.look else None
    text = page(known(settings), live, stack=settings.stack, when=datetime.now(UTC))
    folder = settings.root / ".lab/topology"
    folder.mkdir(parents=True, exist_ok=True, mode=FOLDER_MODE)
    path = folder / f"{settings.stack}.html"
    write_file(path, text)
    sys.stdout.write(f"{shortened(path, settings)}\n")
    return 0


def known(settings: Settings) -> Inventory:
    """Return the stack as its state has it; where that cannot be read but hosts can, an empty one.

    Raises:
        LabError: the state cannot be read, and nobody is to look at the hosts.
    """
    try:
        resources = engine_with_state(settings).resources(settings.stack)
    except (LabError, OSError) as error:
        if not settings.look:
            raise
        say(f"the stack's state was not read, what only it knows is missing: {last_line(error)}")
        return Inventory(settings.stack)
    return inventory.after(plan.of_state({"deployment": {"resources": resources}}))
