"""`make drift`: what hosts have otherwise than the state; they are only read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from lab import reviewing
from lab.commands import hosts_off
from lab.engine import UserEngine
from lab.settings import Settings
from lab.show_command import look
from lab.stack import engine_with_state
from lab.views import HostView
from review import inventory, plan
from review.drift import Drift, drift
from review.model import Effect, Plan, Report, Verdict

UNSEEN, DIFFERS = 1, 2
"""The exit statuses: a host was not looked at; something differs."""
TITLE = "What differs from the state"
MENDING = (
    "The verdict is what it weighs to mend it, with `make up REFRESH=1` or `pulumi up --refresh`; a host's "
    "bridge together with its guests is mended when the stack file gives a reason (network-with-guests)."
)


def look_for_drift(settings: Settings) -> int:
    """Compare files, packages, kernel, domains and bridges of the hosts with the state; change nothing."""
    seen = look(settings)
    engine = engine_with_state(settings)
    state = plan.of_state(engine.export(settings.stack))
    # nothing is sent to the addresses of a testbed that is off
    events = [] if hosts_off(settings) else _events(settings, engine)
    found = drift(state, events)
    report = report_of(state, found, seen)
    reviewing.tell(settings, report, TITLE)
    if report.effects:
        return DIFFERS
    return UNSEEN if found.unseen or found.troubles or any(view.error for view in seen) else 0


def _events(settings: Settings, engine: UserEngine) -> list[dict[str, Any]]:
    return engine.refresh_events(engine.stack_named(settings.stack, settings.stack_file))


def report_of(state: Plan, found: Drift, seen: Sequence[HostView]) -> Report:
    """Return what is told of it all."""
    now = inventory.before(state)
    unseen = {**{view.name: view.error.seen for view in seen if view.error}, **found.unseen}
    notes = [f"{host} was not looked at: {reason}" for host, reason in unseen.items()]
    notes += [f"Not all was looked at: {trouble}" for trouble in found.troubles]
    effects = (*found.effects, *(effect for view in seen for effect in bridge_effects(view)))
    strangers = [
        f"{mac.mac} is heard behind {port.name} of {view.name}, and has no business there"
        for view in seen
        for port in view.ports
        for mac in port.macs
        if mac.odd
    ]
    return Report(
        stack=state.stack,
        effects=effects,
        before=now,
        after=now,
        notes=(*notes, *strangers, *([MENDING] if effects else [])),
    )


def bridge_effects(view: HostView) -> Iterator[Effect]:
    """Yield what the kernel's bridge of a host lacks."""
    for port in view.missing_ports:
        yield Effect(Verdict.NETWORK, f"{port} is no port of {view.bridge_name}", host=view.name)
    for guest in view.guests:
        if guest.seen_on == view.name and guest.port is not None and not guest.on_bridge:
            yield Effect(
                Verdict.INTERRUPTS,
                f"its {guest.port} is no port of {view.bridge_name}",
                host=view.name,
                guest=guest.name,
                student=guest.seat.environment if guest.seat else None,
            )
