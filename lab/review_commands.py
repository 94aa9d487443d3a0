"""`make preview-report`, `make state-export`, `make deploy`: changes that are judged before they are made."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from config import Lab
from lab import reviewing
from lab.engine import UserEngine
from lab.reviewing import Change
from lab.settings import Settings
from lab.stack import engine_with_state, foreign_hosts, stack_arguments
from lab.stripped_state import stripped
from lab.terminal import say
from providers.errors import LabError
from review import plan

NO_STATE = "There is no state: all counts as new, and what the change takes away is not seen."


def preview_report(settings: Settings) -> int:
    """Write and print what a change of the stack file would do to whom; nothing is changed.

    The plan is one saved before (`plan_file`), one from a state without secrets (`state_file`, `base`), or
    one of the stack as it is. The status is 0 whatever the verdict.
    """
    if settings.plan_file is not None:
        change = _saved(settings, settings.plan_file)
    elif settings.state_file is not None or settings.base is not None:
        change = _of_pull_request(settings)
    else:
        change = reviewing.planned(settings, engine_with_state(settings))
    report = reviewing.review(change)
    reviewing.tell(settings, report)
    return 0


def state_export(settings: Settings) -> int:
    """Write the stack's state without its secrets, for previews where nobody may read those."""
    if settings.out is None:
        raise LabError("export the state", "no file", "name one: make state-export OUT=state.json")
    exported = engine_with_state(settings).export(settings.stack, show_secrets=True)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(f"{json.dumps(stripped(exported), indent=1)}\n", encoding="utf-8")
    say(f"wrote {settings.out}, without secrets")
    return 0


def deploy(settings: Settings) -> int:
    """Run `pulumi up` on machines outside the testbed, unless the change is held up.

    A red verdict must have been approved; what the gate refuses needs a reason in the stack file.
    """
    start = time.monotonic()
    if not foreign_hosts(settings):
        raise LabError(
            f"make deploy STACK={settings.stack}",
            "every host is a machine of the testbed",
            f"make up STACK={settings.stack}",
        )
    engine = UserEngine(settings.root)
    report = reviewing.review(reviewing.planned(settings, engine))
    reviewing.tell(settings, report)
    if reviewing.held_up(report, approved=settings.approved):
        return reviewing.HELD_UP
    status = engine.run(
        ["up", "--yes", "--skip-preview", "--continue-on-error", *stack_arguments(settings, engine)]
    )
    if status == 0:
        say(f"deploy took {time.monotonic() - start:.0f} s")
    return status


def _saved(settings: Settings, path: Path) -> Change:
    document = reviewing.read_json(path, "report on a plan")
    lab = Lab.from_stack_file(settings.stack_file, root=settings.root, check_files=False)
    found = plan.parse(document)
    part = () if found.whole else (f"The plan is in parts only: `{plan.SHOW_SAMES}` tells all of it.",)
    return Change(found, lab, notes=(f"The plan was read from {path.name}.", *part))


def _of_pull_request(settings: Settings) -> Change:
    state = _state(settings)
    change = reviewing.blind(settings.root, settings.stack, settings.root / settings.stack_file, state)
    if state is None:
        # without it a guest that the change takes out would not be in any plan
        return replace(change, notes=(*change.notes, NO_STATE))
    if settings.base is None:
        return change
    base = settings.base.resolve()
    if not (base / "__main__.py").is_file():
        raise LabError(
            f"report on a change of {settings.stack}",
            f"{settings.base} holds no program",
            "BASE is the folder of a whole checkout of what the change starts from",
        )
    file = base / settings.stack_file
    if not file.exists():
        return replace(change, notes=(*change.notes, "The stack is new: its file is not in the base."))
    with reviewing.tools_of(settings.root, base):
        return reviewing.beyond(change, reviewing.blind_plan(base, settings.stack, file, state).plan)


def _state(settings: Settings) -> dict[str, Any] | None:
    """Return the state to compare with, once more without secrets: it may not have been stripped before."""
    if settings.state_file is None:
        return None
    state = stripped(reviewing.read_json(settings.state_file, "report on a state"))
    return state if (state.get("deployment") or {}).get("resources") else None
