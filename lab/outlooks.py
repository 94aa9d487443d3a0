"""What `make look` and `make preview` print about hosts: a diff of their files, a sentence to check; pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from lab.look import LOOKS, Sight
from providers.errors import LabError
from providers.host_network import ChangeUnderWay
from providers.state.outlook import Outlook, unified
from providers.transport import AuthError, ConnectError, HostKeyMismatch
from review.text import coloured_diff, counted, printable, story, wrapped

VERDICTS = {
    "activate": "changes, and its network is down for a moment",
    "live": "changes live, nothing goes down",
    "none": "nothing to do",
}
"""By the kind of an outlook, the weightiest first."""
COUNTED = {
    "activate": "down for a moment",
    "live": "changed live",
    "none": "nothing to do",
    "refused": "refused",
    "busy": "being changed just now",
    "unseen": "not seen",
}
"""What the last line counts: VERDICTS, and what else a host may be."""
UNSEEN: tuple[tuple[type[LabError], str], ...] = (
    (HostKeyMismatch, "not looked at, it shows another host key"),
    (AuthError, "not looked at, no login"),
    (ChangeUnderWay, "a change of its network is under way"),
)
"""Errors that come with a remedy, by kind; of other hosts that did not answer one line is enough."""
_ERRNO = re.compile(r"^\[Errno -?[0-9]+\] ")


def report(sights: Sequence[Sight], *, colour: bool) -> str:
    """Return a block of lines for each host, and a last line that counts them.

    All fits 80 columns but the lines of files. What no terminal should see from a host is escaped.
    """
    lines: list[str] = []
    alone = True
    for block in map(list, map(_block, sights)):
        if lines and not (alone and len(block) == 1):
            lines.append("")
        alone = len(block) == 1
        lines += block
    counts = Counter(map(verdict, sights))
    parts = [f"{counts[name]} {words}" for name, words in COUNTED.items() if counts[name]]
    lines += ["", *wrapped(f"{counted(len(sights), 'host')}: {', '.join(parts)}", "")]
    return "\n".join(coloured_diff(line) if colour else line for line in map(printable, lines))


def verdict(sight: Sight) -> str:
    """Return which of COUNTED a host is."""
    if sight.error is not None:
        return "busy" if isinstance(sight.error, ChangeUnderWay) else "unseen"
    made, refused = _until_refused(sight)
    return _weightiest(made) if refused is None else "refused"


def _until_refused(sight: Sight) -> tuple[list[Outlook], tuple[str, Outlook] | None]:
    """Return what would be made, one after the other, and the first that would be refused, with its name."""
    made: list[Outlook] = []
    for name, outlook in zip(LOOKS, sight.outlooks, strict=False):
        if outlook.refusals:
            return made, (name, outlook)
        made.append(outlook)
    return made, None


def _weightiest(made: Iterable[Outlook]) -> str:
    kinds = {"none", *(outlook.kind for outlook in made)}
    return next(kind for kind in VERDICTS if kind in kinds)


def _block(sight: Sight) -> Iterable[str]:
    if sight.error is not None:
        yield from unseen(sight.host, sight.error)
        return
    made, refused = _until_refused(sight)
    kind = _weightiest(made)
    sentences = "; ".join(sentence for outlook in made for sentence in outlook.sentences)
    if kind == "none" and refused is None:
        yield from wrapped(": ".join(filter(None, (sight.host, VERDICTS[kind], sentences))), "")
        return
    words = VERDICTS[kind]
    if refused is not None:
        name, _ = refused
        alone = f"the {name} would be refused, the network stays as it is"
        words = alone if kind == "none" else f"{words}; then the {name} would be refused"
    yield from wrapped(f"{sight.host}: {words}", "")
    if sentences:
        yield from wrapped(sentences)
    if refused is not None:
        yield from _refusals(refused[1])
    for change in (change for outlook in made for change in outlook.files):
        yield from unified(sight.host, change)


def _refusals(outlook: Outlook) -> Iterable[str]:
    by_remedy: dict[str, list[str]] = {}
    for refusal in outlook.refusals:
        by_remedy.setdefault(refusal.remedy, []).append(refusal.seen)
    for remedy, seen in by_remedy.items():
        yield from story("\n".join(dict.fromkeys(seen)), remedy)


def unseen(host: str, error: LabError) -> Iterable[str]:
    """Yield the lines about a host that was not read: one where it did not answer, else with the remedy."""
    known = next((words for kind, words in UNSEEN if isinstance(error, kind)), None)
    if known is None and isinstance(error, ConnectError):
        yield from wrapped(f"{host}: did not answer: {_ERRNO.sub('', error.seen)}", "")
    else:
        yield from wrapped(f"{host}: {known or 'could not be read'}", "")
        yield from story(f"{error.asked}\n{error.seen}", error.remedy)
