"""A report for a terminal: lines of 80 columns but for the files' own; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from review.affected import rows, weights
from review.model import WOULD_CHANGE, Report, Verdict
from review.redact import without_secrets
from review.text import BOLD, RED, coloured, coloured_diff, counted, printable, story, wrapped


def terminal(report: Report, *, colour: bool, title: str = WOULD_CHANGE) -> str:
    """Return the report, without secrets; what no terminal should see is escaped.

    The sign "!" stands before what is red, and what is refused is told last: there it is read.
    """
    clean = without_secrets(report)
    blocks = (
        [*_verdict(clean, title, colour=colour)],
        [*_plain(_affected(clean))],
        [coloured_diff(line) if colour else line for line in map(printable, _diffs(clean))],
        [*_plain(_policies(clean))],
        [*_plain(_notes(clean))],
        [*_refusals(clean, colour=colour)],
    )
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _plain(lines: Iterable[str]) -> Iterator[str]:
    return map(printable, lines)


def _told(lines: Iterable[str], colour: str | None) -> Iterator[str]:
    return (coloured(line, colour) if colour else line for line in _plain(lines))


def _verdict(report: Report, title: str, *, colour: bool) -> Iterator[str]:
    found = list(weights(report))
    who = found[0][1] if found else "everything stays as it is"
    worst = report.verdict
    yield from _told(wrapped(f"{title} in stack {report.stack}", ""), None)
    shade = (RED if worst.red else BOLD) if colour else None
    yield from _told(wrapped(f"Verdict: {worst.words}: {who}", ""), shade)
    for verdict, about in found[1:]:
        yield from _plain(wrapped(f"{verdict.words}: {about}", _first(verdict), "    "))


def _affected(report: Report) -> Iterator[str]:
    for row in rows(report.effects):
        student = f"student {row.student}" if row.student else None
        whom = ", ".join(filter(None, (row.host, row.guest, student))) or report.stack
        yield from wrapped(f"{whom}: {row.verdict.words}", _first(row.verdict), "    ")
        for sentence in row.sentences:
            yield from wrapped(sentence, "    ", "    ")


def _first(verdict: Verdict) -> str:
    return "! " if verdict.red else "  "


def _diffs(report: Report) -> Iterator[str]:
    return (line for diff in report.diffs for line in diff.lines)


def _policies(report: Report) -> Iterator[str]:
    for one in report.policies:
        for violation in one.violations:
            first = "! " if one.level == "mandatory" else "  "
            yield from wrapped(f"policy {one.rule} ({one.level}): {violation}", first, "    ")
    unjudged = sum(len(one.unjudged) for one in report.policies)
    if report.policies:
        broken = sum(bool(one.violations) for one in report.policies)
        yield from wrapped(
            f"{counted(len(report.policies), 'policy', 'policies')} asked, {broken} broken", ""
        )
    if unjudged:
        yield f"{counted(unjudged, 'value')} cannot be judged until the host exists"


def _notes(report: Report) -> Iterator[str]:
    for note in report.notes:
        for line in note.splitlines():
            yield from wrapped(line, "")
    for reason in report.unused_reasons:
        yield from wrapped(f"a reason is given that nothing asks for: {reason.allow} of {reason.of}", "")


def _refusals(report: Report, *, colour: bool) -> Iterator[str]:
    for one in report.refusals:
        about = f"{one.rule} {one.subject}".strip()
        if one.reason is not None:
            yield from _plain(wrapped(f"{about}: allowed, the stack file says why: {one.reason}", ""))
        else:
            yield from _told(wrapped(f"{about}: refused", "! ", "    "), RED if colour else None)
            yield from _plain(story(one.seen, one.remedy))
    if report.refused:
        yield from _told(["refused: nothing is changed"], RED if colour else None)
