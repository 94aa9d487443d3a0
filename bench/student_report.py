"""What was measured of students' environments, beside those of a shell loop: table and verdict; pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.answers import Timing
from bench.report import Bound, spread

WORST_CREATE = 1.1
"""Making environments may take at most this much of what the loop takes for as many."""
WORST_RESET = 5.0
"""A reset may take at most so many seconds more than the first boot of a guest with a new disk.

That boot is what the loop's reset is: the power is cut, an overlay made, the domain started.
"""
_LABELS = {"create": "create", "reset": "reset of 1", "boot": "boot of 1"}
_WIDTHS = (8, 11, 6, 11, 8, 14, 11, 10)


@dataclass(frozen=True)
class Steps:
    """What one side needed for `count` guests, then for one among them.

    Attributes:
        create: making all of them, until the last answers.
        reset: a new disk for one of them, the others idle.
        boot: starting the same one, shut off before, the others idle.
    """

    create: Timing
    reset: Timing
    boot: Timing


@dataclass(frozen=True)
class Round:
    """Both sides, one right after the other."""

    ours: Steps
    loop: Steps


@dataclass(frozen=True)
class Class:
    """So many guests, measured in one round or more."""

    count: int
    rounds: Sequence[Round]

    def each(self, value: Callable[[Round], float]) -> list[float]:
        """Return a value of each round."""
        return [value(one) for one in self.rounds]

    @property
    def create_ratios(self) -> list[float]:
        """How long making ours took, beside the loop's."""
        return self.each(lambda one: one.ours.create.answer / one.loop.create.answer)

    @property
    def reset_excess(self) -> list[float]:
        """Seconds that our reset took longer than the first boot of a new disk."""
        return self.each(lambda one: one.ours.reset.answer - one.loop.reset.answer)


def table(classes: Iterable[Class]) -> str:
    """Return the figures as lines of at most 80 columns; of several rounds, their medians."""
    lines = [_line("guests", "step", "by", "answer, s", "ratio", "per guest, s", "silent, s", "ended, s")]
    for one in classes:
        ours, loop = ([getattr(both, side) for both in one.rounds] for side in ("ours", "loop"))
        for step, label in _LABELS.items():
            us, them = (_median([getattr(steps, step) for steps in side]) for side in (ours, loop))
            whole = step == "create"
            lines += _rows(str(one.count) if whole else "", label, us, them, guests=one.count if whole else 0)
    return "\n".join(lines)


def verdict(classes: Iterable[Class]) -> list[Bound]:
    """Return what is promised of making and resetting environments; does it hold?"""
    bounds = []
    for one in classes:
        ratios, more = one.create_ratios, one.reset_excess
        said = f"{spread(ratios, '.2f')} of the loop's time (at most {WORST_CREATE})"
        bounds.append(Bound(f"{_guests(one.count)} made: {said}", statistics.median(ratios) <= WORST_CREATE))
        said = f"first boot and {spread(more, '.1f')} s (at most {WORST_RESET:.1f} s)"
        bounds.append(
            Bound(f"one among {_guests(one.count)} reset: {said}", statistics.median(more) <= WORST_RESET)
        )
    return bounds


def beside_boot(classes: Iterable[Class]) -> str:
    """Return how our resets relate to the later boots of the same guest, whose disk is not new; no bound."""
    more = ", ".join(f"{spread(_beside_boot(one), '.1f')} s among {one.count}" for one in classes)
    return f"reset: a later boot and {more}; a first boot has more to do"


def as_json(classes: Iterable[Class], bounds: Iterable[Bound]) -> dict[str, Any]:
    """Return everything that was measured, for programs."""
    return {"classes": [asdict(one) for one in classes], "bounds": [asdict(bound) for bound in bounds]}


def _beside_boot(one: Class) -> list[float]:
    return one.each(lambda both: both.ours.reset.answer - both.ours.boot.answer)


def _rows(count: str, step: str, ours: Timing, loop: Timing, *, guests: int = 0) -> list[str]:
    ratio = f"{ours.answer / loop.answer:.2f}"
    return [
        _line(count, step, "us", *_cells(ours, ratio, guests)),
        _line("", "", "loop", *_cells(loop, "", guests)),
    ]


def _median(timings: Sequence[Timing]) -> Timing:
    answer, command, silent = (
        statistics.median(getattr(timing, name) for timing in timings)
        for name in ("answer", "command", "silent")
    )
    return Timing(answer=answer, command=command, silent=silent)


def _cells(timing: Timing, ratio: str, guests: int) -> tuple[str, ...]:
    each = f"{timing.answer / guests:.1f}" if guests else ""
    silent = f"{timing.silent:.1f}" if timing.silent else ""
    return f"{timing.answer:.1f}", ratio, each, silent, f"{timing.command:.1f}"


def _guests(count: int) -> str:
    return "1 guest" if count == 1 else f"{count} guests"


def _line(*cells: str) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
