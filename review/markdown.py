"""A report as Markdown for a pull request: what happens to whom, short enough for a comment; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from review.affected import Row, rows, weights
from review.escape import code, fence, inline, paragraph
from review.mermaid import CHARACTERS, picture
from review.model import WOULD_CHANGE, FileDiff, PolicyResult, Refusal, Report, Verdict
from review.redact import without_secrets
from review.text import counted, natural

MOST_LINES = 20
"""Lines of one remedy."""
LIMIT = 65_000
"""Bytes; GitHub takes 65,536 characters."""
OPEN_ROWS = 15
"""Rows of the table that are always open to see, and all the red ones."""
OPEN_GUESTS = 20
"""Guests in a picture that is not folded."""


@dataclass(frozen=True)
class _Shape:
    """How much of a report is shown; `told` is what is said of the rest.

    `rows` is the least verdict that the table lists, `most` how many entries any list has.
    """

    told: str = ""
    diff_lines: int = 10_000
    picture: int = CHARACTERS
    rows: Verdict = Verdict.SAFE
    policies: bool = True
    most: int = 10_000


_SHAPES = (
    _Shape(),
    _Shape("file diffs after their first 40 lines", 40),
    _Shape("all file diffs", 0),
    _Shape("all file diffs; the picture's single guests", 0, 12_000),
    _Shape("all file diffs; the picture", 0, 0),
    _Shape("all file diffs; the picture; rows of what is safe", 0, 0, Verdict.INTERRUPTS),
    _Shape("all file diffs; the picture; all rows but the red ones", 0, 0, Verdict.DESTROYS),
    _Shape("all but what is red; what policies say", 0, 0, Verdict.DESTROYS, policies=False),
    _Shape("all but the first 100 red rows and refusals", 0, 0, Verdict.DESTROYS, policies=False, most=100),
    _Shape("all but the first 20 red rows and refusals", 0, 0, Verdict.DESTROYS, policies=False, most=20),
)
"""What is left out first, and what then: never the verdict, refusals and what is red as late as can be."""


def markdown(report: Report, title: str = WOULD_CHANGE) -> str:
    """Return the report: no secret in it, nothing in it that Markdown or HTML would take for their own.

    `title` is the heading's begin, before "in stack lab". What is too long for a comment is left out in the
    order of _SHAPES, with a line that tells it.
    """
    clean = without_secrets(report)
    texts = ("\n".join(_blocks(clean, title, shape)) + "\n" for shape in _SHAPES)
    text = next((text for text in texts if len(text.encode()) <= LIMIT), None)
    return text if text is not None else _cut("\n".join(_blocks(clean, title, _SHAPES[-1])))


def _cut(text: str) -> str:
    """Return the whole lines that fit: in the last shape nothing spans lines."""
    kept = text.encode()[:LIMIT].decode(errors="ignore")
    return kept.rpartition("\n")[0] + "\n"


def _blocks(report: Report, title: str, shape: _Shape) -> Iterator[str]:
    yield f"## {title} in stack {code(report.stack)}\n"
    yield from _verdict(report)
    if shape.told:
        yield f"\n_Too long for a comment; left out: {shape.told}. The JSON report has everything._"
    yield from _refusals(report, shape)
    yield from _table(rows(report.effects), shape)
    yield from _diffs(report, shape)
    yield from _policies(report.policies, shape)
    yield from _picture(report, shape)
    yield from _notes(report, shape)


def _verdict(report: Report) -> Iterator[str]:
    found = list(weights(report))
    words = report.verdict.words
    who = inline(found[0][1]) if found else "everything stays as it is"
    yield f"**Verdict: {words}**: {who}"
    if len(found) > 1:
        yield ""
        yield from (f"- {_bold(verdict)}: {inline(who)}" for verdict, who in found[1:])


def _refusals(report: Report, shape: _Shape) -> Iterator[str]:
    held = [refusal for refusal in report.refusals if refusal.reason is None]
    if report.refused:
        broken = [one.rule for one in report.policies if one.level == "mandatory" and one.violations]
        by = [*(["the plan gate"] if held else []), *(f"policy {code(rule)}" for rule in broken)]
        yield f"\n**Refused** by {', '.join(by[:6])}.\n"
    yield from _held(held, shape)
    allowed = [refusal for refusal in report.refusals if refusal.reason is not None]
    if allowed:
        yield "\nAllowed, as the stack file gives a reason in writing:\n"
        yield from _some([f"- {_what(one)}<br>“{paragraph(one.reason or '')}”" for one in allowed], shape)


def _held(held: Sequence[Refusal], shape: _Shape) -> Iterator[str]:
    """Yield what is refused, with its remedy; one remedy for all that differ in their subject only."""
    alike: dict[tuple[str, str], list[Refusal]] = {}
    for refusal in held:
        remedy = refusal.remedy.replace(refusal.subject, "") if refusal.subject else refusal.remedy
        alike.setdefault((refusal.rule, remedy), []).append(refusal)
    for some in [*alike.values()][: shape.most]:
        yield from _some([f"- {_what(refusal)}" for refusal in some], shape)
        if some[0].remedy:
            yield from _remedy(some, shape)


def _remedy(some: Sequence[Refusal], shape: _Shape) -> Iterator[str]:
    first, _, more = some[0].remedy.strip("\n").partition("\n")
    about = f", for {code(some[0].subject)} as for the others" if len(some) > 1 and some[0].subject else ""
    yield f"\n  To do{about}: {paragraph(first)}\n"
    if more and shape.policies:
        # as code, so that it can be copied into a stack file
        yield from (f"  {line}" for line in fence("yaml", more.split("\n")[:MOST_LINES]))
        yield ""


def _what(refusal: Refusal) -> str:
    about = f" {code(refusal.subject)}" if refusal.subject else ""
    return f"**{inline(refusal.rule)}**{about}: {paragraph(refusal.seen)}"


def _table(found: Sequence[Row], shape: _Shape) -> Iterator[str]:
    """Yield the table of who is affected; those rows that are not red are folded where there are many."""
    listed = [row for row in found if row.verdict >= shape.rows]
    if not listed:
        return
    yield "\n### Who is affected\n"
    red = sum(row.verdict.red for row in listed)
    opened = len(listed) if len(listed) <= OPEN_ROWS else max(red, OPEN_ROWS)
    opened = min(opened, shape.most)
    yield from _rows(listed[:opened])
    rest = listed[opened:]
    if rest and shape.most > len(listed):
        yield from _folded(f"{len(rest)} more, none of them red", [*_rows(rest)])


def _rows(found: Iterable[Row]) -> Iterator[str]:
    yield "| host | student | guest | what happens |"
    yield "|---|---|---|---|"
    for row in found:
        what = "; ".join(inline(sentence) for sentence in row.sentences)
        host, student, guest = (code(name) if name else "" for name in (row.host, row.student, row.guest))
        whom = guest or ("(the host itself)" if host else "")
        yield f"| {host} | {student} | {whom} | {_bold(row.verdict)}: {what} |"


def _bold(verdict: Verdict) -> str:
    return f"**{verdict.words}**" if verdict.red else verdict.words


def _diffs(report: Report, shape: _Shape) -> Iterator[str]:
    if not report.diffs or not shape.diff_lines:
        return
    yield "\n### Files and packages of hosts\n"
    by_host: dict[str, list[FileDiff]] = {}
    for diff in report.diffs:
        by_host.setdefault(diff.host, []).append(diff)
    for host in sorted(by_host, key=natural):
        yield f"{code(host)}: {inline(_meaning(report, host))}\n"
        for diff in by_host[host]:
            kept, left = diff.lines[: shape.diff_lines], len(diff.lines[shape.diff_lines :])
            more = [f"({counted(left, 'more line')} left out)"] if left else []
            yield from _folded(code(diff.path), [*fence("diff", kept), *more])


def _meaning(report: Report, host: str) -> str:
    own = [row for row in rows(report.effects) if row.host == host and row.guest is None]
    return "; ".join(sentence for row in own for sentence in row.sentences) or "its files change"


def _policies(results: Sequence[PolicyResult], shape: _Shape) -> Iterator[str]:
    if not results or not shape.policies:
        return
    yield "\n### Policies\n"
    broken = [one for one in results if one.violations]
    for one in broken:
        yield f"- **{inline(one.rule)}** ({inline(one.level)}) is broken:"
        yield from _some([f"  - {inline(violation)}" for violation in one.violations], shape)
    kept = len(results) - len(broken)
    if kept:
        yield f"- {counted(kept, 'more rule' if broken else 'rule')} asked, not broken\n"
    unjudged = [text for one in results for text in one.unjudged]
    if unjudged:
        head = f"{counted(len(unjudged), 'value')} cannot be judged until the host exists"
        yield from _folded(head, [f"- {inline(text)}" for text in unjudged])


def _picture(report: Report, shape: _Shape) -> Iterator[str]:
    if report.before is None and report.after is None:
        return
    drawn = picture(report.before, report.after, report.effects, characters=shape.picture)
    if not drawn:
        return
    lines = [*fence("mermaid", drawn.split("\n"), clip=False)]
    if drawn.count(" --- ") <= OPEN_GUESTS:
        yield from ("\n### Picture\n", *lines)
    else:
        yield from ("", *_folded("Picture of hosts, bridges and guests", lines))


def _notes(report: Report, shape: _Shape) -> Iterator[str]:
    unused = [
        f"A reason is given that nothing asks for: {one.allow} of {one.of}." for one in report.unused_reasons
    ]
    notes = [*report.notes, *unused]
    if notes:
        yield "\n### Notes\n"
        yield from _some([f"- {paragraph(note)}" for note in notes], shape)


def _folded(summary: str, lines: Iterable[str]) -> Iterator[str]:
    """Yield the lines below a summary that opens them."""
    yield f"<details><summary>{summary}</summary>\n"
    yield from lines
    yield "\n</details>\n"


def _some(lines: Sequence[str], shape: _Shape) -> Iterator[str]:
    yield from lines[: shape.most]
    if len(lines) > shape.most:
        yield f"- … and {len(lines) - shape.most} more"
