"""One student of the roster: which edit of it is a reset, and which resources are the student's. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config import NAMESPACE, Environment, Host, Lab
from providers.errors import LabError
from stackfile import rosterfile
from stackfile.mistakes import near
from stackfile.roster import Roster, kept_by_default, kept_of

Resources = Sequence[Mapping[str, Any]]
"""A stack's state, see UserEngine.resources."""


@dataclass(frozen=True)
class DiskInUse:
    """A disk of a guest: the guest's host, its domain's UUID and name there, and the disk's path."""

    host: Host
    uuid: str
    domain: str
    disk: str


def roster_of(lab: Lab) -> Roster:
    """Return the lab's roster.

    Raises:
        LabError: it has none.
    """
    if lab.roster is None:
        raise LabError("find the students", "the stack file has no roster", "write one: README.md, Students")
    return lab.roster


def environment_of(lab: Lab, name: str) -> Environment:
    """Return the environment called `name`.

    Raises:
        LabError: the roster has none of that name.
    """
    known = [one.name for one in lab.environments]
    if name in known:
        return lab.environments[known.index(name)]
    listed = ", ".join(known) if len(known) <= 20 else f"{len(known)} others"  # noqa: PLR2004 - a line or two
    raise LabError(
        f"find the student {name}",
        f"the roster has {listed or 'nobody'}{near(name, known)}",
        "name one of them, as in STUDENT=g1s2. A guest of nobody's gets a new disk by its `generation`",
    )


def reset(environment: Environment, keep: int) -> dict[str, object]:
    """Return the edit of the roster that gives the environment a new disk; None as value: option left out.

    Args:
        environment: as it is now.
        keep: how many disks of earlier generations stay.

    Raises:
        LabError: the present disk would go, and is protected.
    """
    now, kept = environment.student.generation, environment.kept
    if keep == 0 and environment.protect:
        raise LabError(
            f"reset {environment.name}",
            "the roster keeps no earlier disk (keep: 0), and the present one is protected",
            f"write `keep: 1`, or `protect: false` for {environment.name}, then `make up` and this again",
        )
    return _edit(max(now, *kept, 0) + 1, (now, *kept)[:keep], keep)


def undo_reset(environment: Environment, keep: int) -> dict[str, object]:
    """Return the edit of the roster that gives the environment the disk back that it had before.

    Raises:
        LabError: no earlier disk is kept.
    """
    now, kept = environment.student.generation, environment.kept
    if not kept:
        raise LabError(
            f"undo the reset of {environment.name}",
            f"no disk but that of generation {now} is there",
            "the roster's `keep` says how many disks stay after the next resets",
        )
    return _edit(kept[0], (now, *kept[1:]), keep)


def told(environment: Environment, edit: Mapping[str, object], keep: int) -> str:
    """Return what an edit by `reset` or `undo_reset` says, for people."""
    student = environment.student.model_copy(update=edit)
    kept = kept_of(student, keep)
    before = {environment.student.generation, *environment.kept}
    gone = sorted(before - {student.generation, *kept})
    return (
        f"{environment.name} gets the disk of generation {student.generation}; "
        f"kept: {_generations(kept)}{f' (make undo-reset STUDENT={environment.name})' if kept else ''}"
        f"{f'; deleted for good: {_generations(gone)}' if gone else ''}"
    )


def _generations(numbers: Sequence[int]) -> str:
    if not numbers:
        return "none"
    return f"generation{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _edit(generation: int, kept: tuple[int, ...], keep: int) -> dict[str, object]:
    usual = list(kept) == kept_by_default(generation, keep)
    return {"generation": generation, "kept": None if usual else list(kept)}


def edit_roster(
    stack_file: Path, root: Path, roster: Roster, environment: Environment, changes: Mapping[str, object]
) -> Path:
    """Write `changes` of one student into the file that holds the roster, and return the file.

    Raises:
        LabError: the student is written in a way that is not understood; nothing was changed.
    """
    index = roster.students.index(environment.student)
    own = roster.file
    path = stack_file if own is None else root / Path(own).expanduser()
    before = path.read_bytes().decode()
    inside = rosterfile.IN_STACK_FILE if own is None else ()
    as_csv = own is not None and rosterfile.is_csv(own)
    try:
        after = rosterfile.edited(before, index, changes, path=inside, as_csv=as_csv)
    except ValueError as error:
        wanted = ", ".join(f"{name}: {value}" for name, value in changes.items() if value is not None)
        raise LabError(
            f"write into {path}: {environment.name} {wanted}", f"expected {error}", "write it there by hand"
        ) from None
    beside = path.with_name(f".{path.name}.new")
    beside.write_bytes(after.encode())
    beside.chmod(path.stat().st_mode & 0o777)
    beside.replace(path)
    return path


def refuse_unsettled(
    resources: Iterable[Mapping[str, Any]], environment: Environment, *, answers: bool
) -> None:
    """Stop unless the environment has the disks that the roster says it has.

    A change that was broken off is to be continued, not counted on: another reset would let go of the disk
    that the student worked on.

    Args:
        resources: the stack's state, see UserEngine.resources.
        environment: as the roster has it.
        answers: whether its guests must have answered since their last change, too.

    Raises:
        LabError: it was not made yet, or a change of it is not done.
    """
    known = _outputs(resources)
    generation = environment.student.generation
    for guest in environment.guests:
        domain, ready = known.get(("Domain", guest.name)), known.get(("GuestReady", guest.name))
        of_guest = re.compile(rf"{re.escape(guest.name)}-g[0-9]+")
        if not any(kind == "Volume" and of_guest.fullmatch(name) for kind, name in known):
            asked = f"change the disks of {environment.name}"
            raise LabError(asked, f"{guest.name} is not made yet", "make it: `make up`")
        if not any(disk.endswith(f"/{guest.name}-g{generation}.qcow2") for disk in _disks(domain)):
            raise _unsettled(environment, f"{guest.name} does not have the disk of generation {generation}")
        if answers and (ready is None or ready.get("domain_id") != (domain or {}).get("id")):
            raise _unsettled(environment, f"{guest.name} has not answered since its last change")
    host = known.get(("StudentHost", environment.name))
    if environment.own_host and (host is None or host.get("generation") != generation):
        raise _unsettled(environment, f"the host is not in generation {generation}")


def hosts_in_use(environments: Iterable[Environment]) -> list[Host]:
    """Return the hosts whose guests may power off before the engine asks them to.

    None where an environment has an own host: all is looked at then before a change (`up_for`), and a guest
    that is off would be waited for.
    """
    chosen = list(environments)
    if any(one.own_host for one in chosen):
        return []
    return list({one.host.name: one.host for one in chosen}.values())


def disks_in_use(
    resources: Iterable[Mapping[str, Any]], environments: Sequence[Environment]
) -> list[DiskInUse]:
    """Return what the guests of these environments run with; nothing where there are no `hosts_in_use`."""
    if not hosts_in_use(environments):
        return []
    known = _outputs(resources)
    domains = [
        (one.host, known.get(("Domain", guest.name), {})) for one in environments for guest in one.guests
    ]
    return [
        DiskInUse(host, domain["id"], domain["name"], disk)
        for host, domain in domains
        for disk in _disks(domain)
    ]


def outputs_of_stack(resources: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what the program exported last; nothing where no run of it came so far."""
    return next((one.get("outputs") or {} for one in resources if one["type"] == "pulumi:pulumi:Stack"), {})


def refuse_unmade_disks(resources: Iterable[Mapping[str, Any]], environment: Environment) -> None:
    """Stop unless the disks that would come back are there.

    Raises:
        LabError: one is not; nothing but an empty disk would come.
    """
    volumes = {_name(one) for one in resources if one["type"].endswith(":Volume")}
    for guest in environment.guests:
        if environment.kept and f"{guest.name}-g{environment.kept[0]}" not in volumes:
            raise LabError(
                f"undo the reset of {environment.name}",
                f"there is no disk of generation {environment.kept[0]} of {guest.name}",
                "the disks of a roster's earlier terms do not come with it",
            )


def _unsettled(environment: Environment, seen: str) -> LabError:
    return LabError(
        f"change the disks of {environment.name}",
        f"{seen}: a change is not done, or the roster was edited since",
        "continue it first: `make up`, or `make apply` for this student; or put the roster's entry back. "
        "A disk that never boots is given up by hand: a higher `generation`, and `kept` with those that stay",
    )


def _outputs(resources: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Mapping[str, Any]]:
    """Return the outputs by the last word of the type, such as Domain, and the name."""
    return {(one["type"].rpartition(":")[2], _name(one)): one.get("outputs") or {} for one in resources}


def _disks(domain: Mapping[str, Any] | None) -> list[str]:
    """Return the paths of a domain's disks."""
    return [disk.get("volumeId") or "" for disk in (domain or {}).get("disks", [])]


def _name(resource: Mapping[str, Any]) -> str:
    return str(resource["urn"]).rpartition("::")[2]


def _parent(resource: Mapping[str, Any]) -> str:
    return str(resource.get("parent") or "").rpartition("::")[2]


def targets(lab: Lab, stack: str, chosen: Iterable[Environment], state: Resources) -> list[str]:
    """Return the URNs, patterns among them, of what `pulumi up` may touch for these environments.

    Of what they share with others there is only what is not there yet: a new disk may be the first of a
    new image.

    Args:
        lab: the lab, its checksum files having been read.
        stack: the stack's name.
        chosen: the environments.
        state: the stack's resources, each behind those that it depends on, as the engine keeps them.

    Raises:
        LabError: the engine would reach others too.
    """
    made = {_name(one): _parent(one) for one in state if one["type"].endswith(":BaseImage")}
    patterns: dict[str, None] = {}
    for one in chosen:
        inside = f"urn:pulumi:{stack}::{NAMESPACE}::kvm:index:StudentEnvironment**::{one.name}"
        host = f"urn:pulumi:{stack}::{NAMESPACE}::kvm:index:HypervisorHost**::"
        used = {guest.image for guest in one.guests}
        images = {image.resource_on(one.host.name) for image in lab.images if image.name in used}
        if one.own_host:  # its student is root there, and may have removed any of it
            images |= {image for image, parent in made.items() if parent == one.host.name}
            names = images | {one.host.name, f"{one.host.name}-pool"}
        else:
            names = images - made.keys()
        patterns |= dict.fromkeys([inside, f"{inside}-**", *(host + name for name in sorted(names))])
    _refuse_strangers(patterns, state)
    return list(patterns)


def _refuse_strangers(wanted: Iterable[str], state: Resources) -> None:
    """Stop if the engine would reach more than these targets and what is in them.

    It takes all that depends on a target for a part of it: what the program does not declare of that would
    be deleted with it, or ends the run halfway, as --target-dependents says (GenerateDeletes in
    pulumi/pkg/resource/deploy/step_generator.go). A student, say, who was taken out of the roster, but
    whose disk is still there, before another one is reset.
    """
    own: set[str] = set()
    reached: set[str] = set()
    patterns = re.compile("|".join(map(_regular, wanted)))
    for one in state:
        urn = str(one["urn"])
        if patterns.fullmatch(urn) or one.get("parent") in own:
            own.add(urn)
        if urn in own or not reached.isdisjoint(_relies_on(one)):
            reached.add(urn)
    if strangers := sorted(urn.rpartition("::")[2] for urn in reached - own):
        raise LabError(
            "change the disks of a student, and nothing of others",
            f"these depend on what would change: {', '.join(dict.fromkeys(strangers))}",
            "edit the student's `generation` in the roster; then `make up` tells whom that touches",
        )


def _regular(pattern: str) -> str:
    """Return the regular expression for a target as the engine understands its asterisks."""
    return re.escape(pattern).replace(r"\*\*", ".*").replace(r"\*", "[^:]*")


def _relies_on(resource: Mapping[str, Any]) -> set[str]:
    """Return the URNs of all that the engine says a resource depends on."""
    by_property = resource.get("propertyDependencies") or {}
    lists = [resource.get("dependencies"), resource.get("replaceWith"), *by_property.values()]
    provider = str(resource.get("provider") or "").rpartition("::")[0]
    single = [resource.get("parent"), resource.get("deletedWith"), provider]
    return {*filter(None, single), *(urn for urns in lists for urn in urns or [])}
