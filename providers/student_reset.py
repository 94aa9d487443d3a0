"""What a student made on his host: looked at, put away, put back, deleted.

What is put away is written down before it is touched (see Kept), in a root-only folder; every step is passed
over when it is done, so that an interrupted work is continued by doing it again. Callers hold the lock.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import ValidationError

from providers import records
from providers.base_pool import VIRSH
from providers.errors import LabError
from providers.state import student_plan
from providers.state.student import Domain, Kept, Pool, Seen, Thing
from providers.student_look import SLOW, Place, described, look

GRACE = 10.0
"""Seconds that guests have to power off by themselves, all at once."""
_POLL = 0.5
_AT_ONCE = 100  # names in one call: what is said in one command line stays far below what a kernel takes
_MOVE = Path(__file__).with_name("scripts") / "move-files.sh"


def load(place: Place, generation: int) -> Kept | None:
    """Return what was put away of a generation, None if nothing was.

    Raises:
        LabError: the file is there and is not understood.
    """
    text = place.session.read(place.manifest(generation))
    if text is None:
        return None
    try:
        return Kept.model_validate_json(text)
    except ValidationError as error:
        raise LabError(
            f"{place.session.endpoint.host}: read what was put away in {place.manifest(generation)}",
            "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()),
            "restore the file from a backup, or remove it: what it names is then no longer put back",
        ) from error


def generations(place: Place) -> list[int]:
    """Return the generations of which something is put away."""
    listed = place.session.run(["find", place.folder, "-name", "g*.json", "-printf", r"%f\n"], check=False)
    return sorted(int(name[1:-5]) for name in listed.stdout.split() if name[1:-5].isdecimal())


def put_away(place: Place) -> None:
    """Power off and put away all that is the student's, as the generation that is on the host now."""
    seen = look(place)
    kept = _journal(place, seen)
    if kept.is_empty:
        return
    for path in student_plan.left_in_place(kept, seen):
        place.say(f"{path} stays where it is")
    place.say(f"put away {_told(kept)}, as generation {kept.generation}")
    _power_off(place, kept)
    _undefine(place, kept)
    left = student_plan.students_part(look(place), place.facts.found, place.pool)
    again = Kept(generation=0, domains=left.domains, pools=left.pools, networks=left.networks)
    if not again.is_empty:
        raise LabError(
            f"{place.session.endpoint.host}: put away what the student made",
            f"{_told(again)} came meanwhile",
            "run the command again: it continues",
        )


def refuse_collisions(place: Place, generation: int) -> None:
    """Raise LabError when what was put away of a generation cannot come back beside what stays."""
    kept = load(place, generation)
    if kept is None:
        return
    seen = look(place)
    there = student_plan.staying(seen, place.facts.found, place.pool)
    _refuse(place, student_plan.collisions(kept, there))
    goes = student_plan.plan(seen, place.facts, place.pool).moves
    moves = {
        folder: tuple(name for name in names if name not in goes.get(folder, ()))
        for folder, names in kept.moves.items()
    }
    _move(place, kept.model_copy(update={"moves": moves}), "check")


def put_back(place: Place, kept: Kept) -> None:
    """Have what was put away again; what ran runs. The manifest goes last."""
    seen = look(place)
    there = Kept(generation=0, domains=seen.domains, pools=seen.pools, networks=seen.networks)
    _refuse(place, student_plan.collisions(kept, there))
    place.say(f"put back {_told(kept)}, of generation {kept.generation}")
    commands = {"network": "net-define", "storage pool": "pool-define", "domain": "define"}
    _move(place, kept, "back")
    for (kind, name), thing in kept.things().items():
        if (kind, name) not in there.things():
            place.virsh(commands[kind], xml=thing.xml)
    for network in kept.networks:
        _start(place, "net", network)
    for pool in kept.pools:
        _start(place, "pool", pool)
    for domain in kept.domains:
        _describe(place, domain)
        if domain.autostart:
            place.virsh("autostart", domain.uuid)
    running = place.names("list", "--uuid")
    for domain in kept.domains:
        if domain.active and domain.uuid not in running:
            _run(place, ["start", domain.uuid], f"{domain.name} does not start")
    place.session.remove(place.manifest(kept.generation))


def prune(place: Place, keep: Iterable[int]) -> None:
    """Delete what was put away of all other generations, for good."""
    for generation in set(generations(place)) - set(keep):
        kept = load(place, generation)
        if kept is None:
            continue
        place.say(f"delete {_told(kept)}, of generation {generation}, for good")
        for folder in kept.moves:
            target = student_plan.kept_folder(folder, generation, place.facts.since)
            place.session.run(["rm", "-rf", "--", target], timeout=SLOW)
            place.session.run(["rmdir", "--", str(Path(target).parent)], check=False)
        place.session.remove(place.manifest(generation))
    place.session.run(["rmdir", "--", place.folder], check=False)


def _journal(place: Place, seen: Seen) -> Kept:
    """Write down what is about to be put away, with what an interrupted work has put away already."""
    planned = student_plan.plan(seen, place.facts, place.pool)
    now = planned.model_copy(update={"domains": tuple(described(place, each) for each in planned.domains)})
    earlier = load(place, place.facts.generation)
    if earlier is not None:
        _refuse(place, student_plan.collisions(earlier, now))
        now = student_plan.merged(earlier, now)
    if not now.is_empty:
        place.session.run(["install", "-d", "-m", "0700", records.FOLDER, str(Path(place.folder).parent)])
        place.session.run(["install", "-d", "-m", "0700", place.folder])
        text = now.model_dump_json(indent=2) + "\n"
        place.session.write(place.manifest(now.generation), text.encode(), mode=0o600)
    return now


def _power_off(place: Place, kept: Kept) -> None:
    ours = {domain.uuid for domain in kept.domains}
    running = ours & set(place.names("list", "--uuid"))
    for uuid in running:
        place.virsh("shutdown", uuid, "--mode", "acpi", check=False)
    until = time.monotonic() + GRACE
    while running and time.monotonic() < until:
        time.sleep(_POLL)
        running &= set(place.names("list", "--uuid"))
    for uuid in running:
        place.virsh("destroy", uuid, check=False)


def _undefine(place: Place, kept: Kept) -> None:
    there = set(place.names("list", "--all", "--uuid"))
    options = ["--managed-save", "--snapshots-metadata", "--checkpoints-metadata", "--keep-nvram"]
    for domain in kept.domains:
        if domain.uuid in there:
            place.virsh("undefine", domain.uuid, *options, *(["--keep-tpm"] if domain.has_tpm else []))
    for network in kept.networks:
        _stop(place, "net", network)
        if network.name in place.names("net-list", "--all", "--name"):
            place.virsh("net-undefine", network.name)
    for pool in kept.pools:
        _stop(place, "pool", pool)
    _move(place, kept, "away")
    for pool in kept.pools:
        if pool.name in place.names("pool-list", "--all", "--name"):
            place.virsh("pool-undefine", pool.name)


def _stop(place: Place, kind: str, thing: Thing) -> None:
    if thing.name in place.names(f"{kind}-list", "--name"):
        place.virsh(f"{kind}-destroy", thing.name)


def _start(place: Place, kind: str, thing: Thing) -> None:
    if isinstance(thing, Pool) and thing.is_folder:
        # its folder may have gone
        place.virsh("pool-build", thing.name, check=False)
    if thing.autostart:
        place.virsh(f"{kind}-autostart", thing.name)
    if thing.active and thing.name not in place.names(f"{kind}-list", "--name"):
        _run(place, [f"{kind}-start", thing.name], f"{thing.name} does not start")


def _run(place: Place, arguments: Sequence[str], otherwise: str) -> None:
    """Tell, instead of failing, what does not run any more: it is back all the same."""
    done = place.session.run([*VIRSH, *arguments], check=False, timeout=SLOW)
    if done.exit_status != 0:
        place.say(f"{otherwise}: {done.stderr.strip()}")


def _move(place: Place, kept: Kept, direction: str) -> None:
    script = ["sh", "-c", _MOVE.read_text(encoding="utf-8"), _MOVE.name, direction]
    for folder, names in kept.moves.items():
        target = student_plan.kept_folder(folder, kept.generation, place.facts.since)
        for first in range(0, len(names), _AT_ONCE):
            argv = [*script, folder, target, *names[first : first + _AT_ONCE]]
            place.session.run(argv, timeout=SLOW)


def _describe(place: Place, domain: Domain) -> None:
    for each in domain.descriptions:
        if each.name not in place.names(f"{each.kind}-list", domain.uuid, "--name"):
            options = ["--redefine", *(["--current"] if each.current else []), "--xmlfile"]
            place.virsh(f"{each.kind}-create", domain.uuid, *options, xml=each.xml)


def _refuse(place: Place, collisions: list[str]) -> None:
    if collisions:
        raise LabError(
            f"{place.session.endpoint.host}: have what was put away beside what is there",
            "\n".join(collisions),
            "rename or remove what is there on the host, then run the command again",
        )


def _told(kept: Kept) -> str:
    names = [f"{kind} {name}" for kind, name in kept.things()]
    files = sum(map(len, kept.moves.values()))
    return ", ".join([*names, f"{files} files"])
