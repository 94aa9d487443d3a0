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
"""A reset may take at most so many seconds more than the first boot of the same guest, its disk at hand."""
_WIDTHS = (8, 11, 6, 11, 8, 14, 11, 10)


@dataclass(frozen=True)
class Steps:
    """What one side needed for `count` guests, then for one among them.

    Attributes:
        create: making all of them, until the last answers.
        resets: a new disk for one of them, the others idle.
        boots: starting the same one with a new disk made before, the others idle; ours alone.
    """

    create: Timing
    resets: Sequence[Timing]
    boots: Sequence[Timing] = ()


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
        """How long making ours took, beside the loop's; at most that where not all of its guests came up."""
        return self.each(lambda one: one.ours.create.answer / one.loop.create.answer)

    @property
    def reset_excess(self) -> list[float]:
        """Seconds that our resets took longer than the first boots between them, on average."""
        return self.each(lambda one: _mean(one.ours.resets) - _mean(one.ours.boots))


def table(classes: Iterable[Class]) -> str:
    """Return the figures as lines of at most 80 columns; of several rounds, their medians."""
    lines = [_line("guests", "step", "by", "answer, s", "ratio", "per guest, s", "silent, s", "ended, s")]
    for one in classes:
        lines += _rows(
            str(one.count),
            "create",
            _median([both.ours.create for both in one.rounds]),
            _median([both.loop.create for both in one.rounds]),
            guests=one.count,
        )
        by_loop = [reset for both in one.rounds for reset in both.loop.resets]
        lines += _rows(
            "",
            "reset of 1",
            _median([reset for both in one.rounds for reset in both.ours.resets]),
            _median(by_loop) if by_loop else None,
        )
        boot = _median([boot for both in one.rounds for boot in both.ours.boots])
        lines.append(_line("", "1st boot", "us", *_cells(boot, "", 0)))
    return "\n".join(lines)


def verdict(classes: Iterable[Class]) -> list[Bound]:
    """Return what is promised of making and resetting environments; does it hold?"""
    bounds = []
    for one in classes:
        ratios, more = one.create_ratios, one.reset_excess
        least = "less than " if any(both.loop.create.missing for both in one.rounds) else ""
        said = f"{least}{spread(ratios, '.2f')} of the loop's time (at most {WORST_CREATE})"
        bounds.append(Bound(f"{_guests(one.count)} made: {said}", statistics.median(ratios) <= WORST_CREATE))
        said = f"first boot and {spread(more, '.1f')} s (at most {WORST_RESET:.1f} s)"
        bounds.append(
            Bound(f"one among {_guests(one.count)} reset: {said}", statistics.median(more) <= WORST_RESET)
        )
    return bounds


def as_json(classes: Iterable[Class], bounds: Iterable[Bound]) -> dict[str, Any]:
    """Return everything that was measured, for programs."""
    return {"classes": [asdict(one) for one in classes], "bounds": [asdict(bound) for bound in bounds]}


def _mean(timings: Sequence[Timing]) -> float:
    return statistics.mean(timing.answer for timing in timings)


def _rows(count: str, step: str, ours: Timing, loop: Timing | None, *, guests: int = 0) -> list[str]:
    if loop is None:
        return [_line(count, step, "us", *_cells(ours, "", guests))]
    ratio = f"{'<' if loop.missing else ''}{ours.answer / loop.answer:.2f}"
    return [
        _line(count, step, "us", *_cells(ours, ratio, guests)),
        _line("", "", "loop", *_cells(loop, "", guests)),
    ]


def _median(timings: Sequence[Timing]) -> Timing:
    answer, command, silent = (
        statistics.median(getattr(timing, name) for timing in timings)
        for name in ("answer", "command", "silent")
    )
    missing = max(timing.missing for timing in timings)
    return Timing(answer=answer, command=command, silent=silent, missing=missing)


def _cells(timing: Timing, ratio: str, guests: int) -> tuple[str, ...]:
    least = ">" if timing.missing else ""
    each = f"{least}{timing.answer / guests:.1f}" if guests else ""
    silent = f"{timing.silent:.1f}" if timing.silent else ""
    return f"{least}{timing.answer:.1f}", ratio, each, silent, f"{timing.command:.1f}"


def _guests(count: int) -> str:
    return "1 guest" if count == 1 else f"{count} guests"


def _line(*cells: str) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
