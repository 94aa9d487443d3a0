"""What was measured of changes of a network, as a table and a verdict; pure."""

from __future__ import annotations

import math
import statistics
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from testbed.ping import Ping

WORST_RATIO = 1.2
"""A takeover may cost at most this much of what it costs by hand with the same file.

That includes the second which bridge-utils sleeps for the file's bridge_hw; see `beside_plain`.
"""
WORST_LIVE_LOSS = 3
"""A live change may lose at most so many packets, in its worst round."""
_WIDTHS = (18, 6, 17, 20, 18)
_COLUMNS = 80


@dataclass(frozen=True)
class Outage:
    """What one change cost: packets without an answer, the longest gap and all gaps together, in seconds."""

    lost: int
    longest: float
    total: float

    @classmethod
    def of(cls, ping: Ping) -> Outage:
        """Return what a ping that ran during the change tells."""
        gaps = [gap.seconds for gap in ping.gaps]
        return cls(ping.lost, max(gaps, default=0.0), sum(gaps))


@dataclass
class Row:
    """One kind of change, and what it cost in each round: made by us, and by hand with the same files.

    `by_hand` stays empty where nobody would make it by ifdown and ifup.
    """

    name: str
    ours: list[Outage] = field(default_factory=list)
    by_hand: list[Outage] = field(default_factory=list)


@dataclass(frozen=True)
class Bound:
    """One sentence of the verdict."""

    sentence: str
    holds: bool


def table(rows: Iterable[Row]) -> str:
    """Return the rows as lines of at most 80 columns: the median of each, and its range."""
    lines = [_line("change", "by", "packets lost", "longest gap, s", "all gaps, s")]
    for row in rows:
        lines.append(_line(row.name, "us", *_cells(row.ours)))
        if row.by_hand:
            lines.append(_line("", "hand", *_cells(row.by_hand)))
    return "\n".join(lines)


def verdict(takeover: Row, live: Iterable[Row]) -> list[Bound]:
    """Return what is promised of the takeover, beside the one by hand, and of live changes; does it hold?"""
    ratios = _ratios(takeover)
    sentence = f"takeover: {_said(ratios)} of the same file by hand (at most {WORST_RATIO})"
    bounds = [Bound(sentence, max(ratios.values()) <= WORST_RATIO)]
    for row in live:
        worst = max(outage.lost for outage in row.ours)
        sentence = f"{row.name}: {worst} packets in the worst round (at most {WORST_LIVE_LOSS})"
        bounds.append(Bound(sentence, worst <= WORST_LIVE_LOSS))
    return bounds


def beside_plain(takeover: Row) -> str:
    """Return how the takeover relates to one by hand with a file that nothing sleeps for; no bound."""
    return f"takeover: {_said(_ratios(takeover))} of by hand without bridge_hw and its sleep of 1 s"


def lines_of(bounds: Iterable[Bound], *beside: str) -> str:
    """Return the bounds, and what is told beside them without one, as lines of at most 80 columns."""
    lines = [("holds" if bound.holds else "BROKEN", bound.sentence) for bound in bounds]
    lines += [("noted", sentence) for sentence in beside]
    return "\n".join(_wrapped(word, sentence) for word, sentence in lines)


def as_json(rows: Iterable[Row], bounds: Iterable[Bound]) -> dict[str, Any]:
    """Return everything that was measured, for programs."""
    return {"changes": [asdict(row) for row in rows], "bounds": [asdict(bound) for bound in bounds]}


def _wrapped(word: str, sentence: str) -> str:
    return textwrap.fill(sentence, _COLUMNS, initial_indent=f"{word:8}", subsequent_indent=" " * 8)


def _ratios(row: Row) -> dict[str, float]:
    """Return how ours relates to by hand, for each thing that is measured."""
    return {
        "packets": _ratio(row, lambda outage: outage.lost),
        "longest gap": _ratio(row, lambda outage: outage.longest),
        "all gaps": _ratio(row, lambda outage: outage.total),
    }


def _said(ratios: Mapping[str, float]) -> str:
    return ", ".join(f"{what} {ratio:.2f}" for what, ratio in ratios.items())


def _ratio(row: Row, value: Callable[[Outage], float]) -> float:
    """Return how the medians relate; where it costs nothing by hand it may cost us nothing."""
    ours, by_hand = (statistics.median(map(value, outages)) for outages in (row.ours, row.by_hand))
    return ours / by_hand if by_hand else math.inf if ours else 0.0


def _cells(outages: Sequence[Outage]) -> tuple[str, str, str]:
    return (
        spread([outage.lost for outage in outages], ".0f"),
        spread([outage.longest for outage in outages], ".2f"),
        spread([outage.total for outage in outages], ".2f"),
    )


def spread(values: Sequence[float], form: str) -> str:
    """Return the median, and the range where the values as shown differ."""
    median, low, high = (format(v, form) for v in (statistics.median(values), min(values), max(values)))
    return median if low == high else f"{median} ({low}-{high})"


def _line(*cells: str) -> str:
    return "".join(cell.ljust(width) for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
