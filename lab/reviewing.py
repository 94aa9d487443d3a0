"""Previews that a review is made from, and the review: what a change of a stack would do to whom."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from config import Lab
from lab.engine import BlindEngine, PreviewFailed, UserEngine
from lab.settings import Settings
from lab.terminal import colours, say
from policies import judge
from policies.rules.verdict import Resource, Unjudged
from providers.errors import LabError
from review import document, gate, inventory, markdown, meaning, plan, terminal
from review.model import WOULD_CHANGE, Plan, PolicyResult, Reason, Refusal, Report, Verdict
from stackfile.sources import Files
from testbed import processes

HELD_UP = 3
"""The exit status of a change that was held up; nothing was changed."""
NOT_LOOKED = ("No host was looked at: this compares the stack file with Pulumi's state.",)
ABSENT = "Files that are not here were stood in for"
PROTECTED = "because it is protected"
"""What the engine says of a resource that it does not delete."""
LIFT = (
    "give it up in two steps: put back what was taken out, with `protect: false`, and make that; "
    "then take it out"
)
_DELETED = re.compile(r"::([^:\"']+)\"? cannot be deleted", re.ASCII)
TOOLS = ".lab"
"""The folder of the engine and its plugins, in the project's."""


@dataclass(frozen=True)
class Change:
    """A change to be judged: the plan, the stack file that it follows from, and what is to be said of both.

    `pending` is what the state lacks without the change already.
    """

    plan: Plan
    lab: Lab
    pending: Plan | None = None
    notes: tuple[str, ...] = ()
    absent: frozenset[str] = frozenset()
    """Local files that were stood in for."""
    protected: frozenset[str] = frozenset()
    """URNs of what the engine would refuse to delete; the plan is one that overlooks that."""


def review(change: Change) -> Report:
    """Return what the change means, whether the gate lets it pass, and what the policies say."""
    effects = meaning.effects(change.plan)
    reasons = [Reason(one.allow, one.of, one.reason) for one in change.lab.reasons]
    refusals, unused = gate.refusals(change.plan, effects, gate.Limits(change.lab.students_at_once), reasons)
    return Report(
        stack=change.plan.stack,
        effects=effects,
        diffs=meaning.diffs(change.plan),
        refusals=(*_protected(change), *refusals),
        unused_reasons=unused,
        policies=policy_results(change.plan),
        before=inventory.before(change.plan),
        after=inventory.after(change.plan),
        notes=(*change.notes, *_absent(change), *_pending(change)),
    )


def policy_results(changes: Plan) -> tuple[PolicyResult, ...]:
    """Return what each rule of the policy pack says of the stack as it is to be."""
    resources = [
        Resource(step.type, step.name, step.new, outputs=step.outputs if step.op == "same" else None)
        for step in changes.steps
        if step.op != "delete"
    ]
    return tuple(
        PolicyResult(
            rule,
            level,
            tuple(str(one) for one in findings if not isinstance(one, Unjudged)),
            tuple(str(one) for one in findings if isinstance(one, Unjudged)),
        )
        for rule, level, findings in judge.judge_all(resources)
    )


def write(report: Report, folder: Path, title: str = WOULD_CHANGE) -> None:
    """Write report.md and report.json into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(markdown.markdown(report, title), encoding="utf-8")
    text = json.dumps(document.document(report), indent=2)
    (folder / "report.json").write_text(f"{text}\n", encoding="utf-8")


def planned(settings: Settings, engine: UserEngine, more: Sequence[str] = ()) -> Change:
    """Return what `pulumi up`, with `more` options such as --refresh, would do.

    Raises:
        LabError: there is no plan, with the reason.
    """
    lab = Lab.from_stack_file(settings.stack_file, root=settings.root, check_files=False)
    notes = () if "--refresh" in more else NOT_LOOKED
    options = [*more, *engine.stack_named(settings.stack, settings.stack_file)]
    try:
        return Change(plan.parse(engine.preview(options)), lab, notes=notes)
    except PreviewFailed as error:
        if PROTECTED not in error.seen:
            raise
        disks = ", ".join(dict.fromkeys(_DELETED.findall(error.seen)))
        raise LabError(
            f"change the stack {settings.stack}",
            f"{disks} would be deleted, and is protected; nothing was changed",
            f"keep it, or {LIFT}",
        ) from None


def tell(settings: Settings, report: Report, title: str = WOULD_CHANGE) -> None:
    """Print the report, and write it where the settings ask for it."""
    if settings.out is not None:
        write(report, settings.out, title)
        say(f"wrote {settings.out / 'report.md'} and report.json")
    sys.stdout.write(f"{terminal.terminal(report, colour=colours(), title=title)}\n")
    sys.stdout.flush()


def let_pass(settings: Settings, engine: UserEngine, more: Sequence[str]) -> bool:
    """Print what `pulumi up` with these options would do; return whether the plan gate lets it."""
    report = review(planned(settings, engine, more))
    tell(settings, report)
    return not held_up(report, approved=True)


def held_up(report: Report, *, approved: bool) -> bool:
    """Tell whether a change is not to be made, and say so."""
    unapproved = report.verdict.red and not approved
    if report.refused:
        say("nothing was changed: see what is refused above")
    elif unapproved:
        say(f"nothing was changed: it {report.verdict.words}, and that was not approved")
    return report.refused or unapproved


def read_json(path: Path, asked: str) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        LabError: there is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LabError(f"{asked}: read {path}", str(error), "name a file with what it asks for") from None
    if not isinstance(found, dict):
        raise LabError(f"{asked}: read {path}", "it holds no JSON object", "name a file with one")
    return found


@dataclass(frozen=True)
class BlindPlan:
    """A plan made without hosts, secrets and keys; `protected` as in Change."""

    plan: Plan
    protected: frozenset[str] = frozenset()


def blind(project: Path, stack: str, stack_file: Path, state: dict[str, Any] | None) -> Change:
    """Return what would be changed of a state without secrets, and what was stood in for; see blind_plan."""
    files = Files(project, stand_in=True)
    lab = Lab.from_stack_file(stack_file, root=project, files=files)
    found = blind_plan(project, stack, stack_file, state)
    return Change(
        found.plan, lab, notes=NOT_LOOKED, absent=frozenset(files.missing), protected=found.protected
    )


def blind_plan(project: Path, stack: str, stack_file: Path, state: dict[str, Any] | None) -> BlindPlan:
    """Return what would be changed of a state without secrets, by a project folder's program and stack file.

    No host is contacted, nothing is decrypted; local files that are not there are stood in for.

    Args:
        project: the folder with the program and its tools.
        stack: the stack's name.
        stack_file: its file.
        state: as stripped_state returns it; None: the stack was never made.

    Raises:
        LabError: there is no such plan, with the reason.
    """
    with TemporaryDirectory(prefix="kvm-lab-") as folder:
        engine = BlindEngine(project, Path(folder), {processes.MARK: folder})
        options = engine.stack_named(stack, stack_file)
        if state is not None:
            engine.replace_state(stack, state)
        try:
            return BlindPlan(plan.parse(engine.preview(options)))
        except PreviewFailed as error:
            if state is None or PROTECTED not in error.seen:
                raise
        # the engine tells one protected resource and no plan: what else would happen is to be seen too
        overlooking, protected = unprotected(state)
        engine.replace_state(stack, overlooking)
        document = engine.preview(options)
        for step in document["steps"]:
            if step["urn"] in protected and step.get("oldState"):
                step["oldState"]["protect"] = True  # so that it is seen where it is lifted
        return BlindPlan(plan.parse(document), protected)


def unprotected(state: dict[str, Any]) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the state with nothing in it protected, and the URNs of what was."""
    deployment = state["deployment"]
    resources = deployment.get("resources") or []
    freed = [{**one, "protect": False} for one in resources]
    protected = frozenset(one["urn"] for one in resources if one.get("protect"))
    return {**state, "deployment": {**deployment, "resources": freed}}, protected


def beyond(head: Change, base: Plan) -> Change:
    """Return what `head` changes that `base` would not change too."""
    changes, pending = plan.subtract(head.plan, base)
    return replace(head, plan=changes, pending=pending)


@contextlib.contextmanager
def tools_of(project: Path, base: Path) -> Iterator[None]:
    """Lend the tools of `project` to the checkout `base`, which has none."""
    link = base / TOOLS
    lent = not link.exists()
    if lent:
        link.symlink_to((project / TOOLS).resolve())
    try:
        yield
    finally:
        if lent:
            link.unlink()


def _protected(change: Change) -> tuple[Refusal, ...]:
    return tuple(
        Refusal(
            "protected",
            step.name,
            f"{step.name} would be deleted, and is protected",
            LIFT,
        )
        for step in change.plan.steps
        if step.op in {"delete", "replace"} and step.urn in change.protected
    )


def _absent(change: Change) -> tuple[str, ...]:
    if not change.absent:
        return ()
    return (f"{ABSENT}: {', '.join(sorted(change.absent))}. An edit of what is in them is not seen.",)


def _pending(change: Change) -> tuple[str, ...]:
    """Return a note on what waits to be made already, and would be made with the change.

    Where files were stood in for, what depends on them would seem to wait too: nothing is told then.
    """
    if change.pending is None or change.absent:
        return ()
    waiting = [one for one in meaning.effects(change.pending) if one.verdict > Verdict.SAFE]
    words = "; ".join(f"{one.guest or one.host}: {one.sentence}" for one in waiting)
    return (f"Not of this change, but made with it, as the state lacks it: {words}.",) if waiting else ()
