"""kvm:StudentHost - a whole host as a student's environment: his account on it, and its reset.

The student is root there by sudo, and makes guests of his own. A raised generation puts away, without copying
or deleting, all domains, storage pools and networks that he made; the number of a generation that was put
away puts it back. Those that were there before him, and those of stacks, are never touched; nor is his home.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import pulumi
from pydantic import Field, ValidationError

from providers import records, student_account, student_look, student_reset
from providers.base import HostInputs, HostProvider, HostResource
from providers.errors import LabError
from providers.state import account, student_plan
from providers.state.record import Record
from providers.state.student import Asked, Facts, Names
from providers.student_look import KIND, Place
from providers.transport import Session, TransportError, connect

KEY = "host"
GONE = "no such account"
_User = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")]
_Line = Annotated[str, Field(pattern=r"^[!-~][^\r\n]*$")]


class StudentHostInputs(HostInputs):
    """A student's host."""

    user: _User
    """His account; one that is there is adopted. "root" is given keys only."""
    keys: tuple[_Line, ...]
    """Public keys that may log in, besides those that others gave the account."""
    groups: tuple[_User, ...] = ("libvirt", "kvm")
    """Groups that the account is in, among others."""
    sudo: bool = True
    """He becomes root without a password."""
    generation: int = Field(default=1, ge=1)
    """Another one resets the host, or puts back what was put away as that one."""
    kept: tuple[int, ...] = ()
    """Generations that stay put away; those of all others are deleted."""
    pool: str
    """The storage pool of this stack there, which is never touched."""


@dataclass
class _Work:
    """A session that holds the lock, and what is written down on the host."""

    session: Session
    record: Record
    facts: Facts

    def save(self, **facts: object) -> None:
        """Write down these facts, at once and for good."""
        self.facts = self.facts.model_copy(update=facts)
        self.record = self.record.with_facts(**self.facts.model_dump(mode="json"))
        records.save(self.session, self.record)


class StudentHostProvider(HostProvider[StudentHostInputs]):
    """Makes the account, resets the host, and gives back what was found."""

    inputs_model: ClassVar[type[HostInputs]] = StudentHostInputs

    def create_thing(self, inputs: StudentHostInputs) -> tuple[str, dict[str, Any]]:
        """Write down what is there, claim the host, and make it as asked; continue what was interrupted."""
        with self._working(inputs) as work:
            _settle_account(work, inputs)
            self._settle_generation(work, inputs)
            adopted = not work.facts.accounts[inputs.user].made
        return inputs.endpoint.host, {"adopted": adopted}

    def read_thing(self, inputs: StudentHostInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return what is there of account, keys, groups, sudo, and which generation."""
        with connect(inputs.endpoint) as session:
            record = records.load(session, KIND, KEY)
            if record is None or inputs.stack not in record.claims:
                return None
            facts = _facts(session, record)
            asked = facts.asked
            there = student_reset.generations(_place(self, session, inputs, facts))
            seen = student_account.look(session, asked.user)
        unfinished = facts.generation in there
        left = {*there} - {facts.generation, *inputs.kept}
        has_rule = seen.sudoers == account.sudoers(asked.user)
        return {
            **outs,
            "user": GONE if seen.uid is None else asked.user,
            "keys": list(account.our_keys(seen.keys or b"")),
            "groups": [group for group in asked.groups if group in seen.groups or asked.user == "root"],
            "sudo": asked.sudo if asked.user == "root" else has_rule,
            "generation": f"{facts.generation}, unfinished" if unfinished else facts.generation,
            "kept": sorted({*inputs.kept, *left}) if left else list(inputs.kept),
        }

    def update_thing(self, olds: StudentHostInputs, news: StudentHostInputs) -> dict[str, Any]:
        """Make it as asked; a renamed stack keeps its claim."""
        if olds.stack != news.stack:
            with connect(news.endpoint) as session, session.lock(KIND):
                record = records.load(session, KIND, KEY)
                if record is not None and olds.stack in record.claims:
                    records.save(session, record.renamed(olds.stack, news.stack))
        return self.create_thing(news)[1]

    def delete_thing(self, inputs: StudentHostInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Give the account back as found. What the student made, there or put away, stays and is named."""
        with connect(inputs.endpoint) as session, session.lock(KIND):
            record = records.load(session, KIND, KEY)
            if record is None or inputs.stack not in record.claims:
                return
            facts = _facts(session, record)
            for user, known in facts.accounts.items():
                student_account.give_back(session, user, known)
                if known.made:
                    self.progress(inputs, f"the home of {user} stays where it is")
            self._name_what_stays(_place(self, session, inputs, facts))
            records.erase(session, KIND, KEY)

    @contextlib.contextmanager
    def _working(self, inputs: StudentHostInputs) -> Iterator[_Work]:
        """Hold the lock, with the host claimed."""
        with connect(inputs.endpoint) as session, session.lock(KIND):
            record = records.load(session, KIND, KEY)
            _refuse_other_claims(inputs, record)
            if record is None:
                since = int(session.run(["date", "+%s"]).stdout)
                facts = Facts(since=since, generation=inputs.generation, found=Names(), asked=_asked(inputs))
                found = student_look.found_names(_place(self, session, inputs, facts))
                work = _Work(session, Record(kind=KIND, key=KEY), facts.model_copy(update={"found": found}))
            else:
                work = _Work(session, record, _facts(session, record))
            work.record = work.record.claimed(inputs.stack, True)
            work.save()
            yield work

    def _settle_generation(self, work: _Work, inputs: StudentHostInputs) -> None:
        place = _place(self, work.session, inputs, work.facts)
        if work.facts.generation != inputs.generation:
            student_reset.refuse_collisions(place, inputs.generation)
            with self.phase(inputs, f"reset to generation {inputs.generation}"):
                student_reset.put_away(place)
            work.save(generation=inputs.generation)
            place = _place(self, work.session, inputs, work.facts)
        kept = student_reset.load(place, inputs.generation)
        if kept is not None:
            student_reset.put_back(place, kept)
        student_reset.prune(place, {*inputs.kept, inputs.generation})

    def _name_what_stays(self, place: Place) -> None:
        for generation in student_reset.generations(place):
            kept = student_reset.load(place, generation)
            folders = [] if kept is None else list(kept.moves)
            where = [student_plan.kept_folder(folder, generation, place.facts.since) for folder in folders]
            place.say(
                f"generation {generation} stays put away: {', '.join([place.manifest(generation), *where])}"
            )
        with contextlib.suppress(TransportError):  # libvirt may be gone already
            seen = student_plan.students_part(student_look.look(place), place.facts.found, place.pool)
            for thing in (*seen.domains, *seen.pools, *seen.networks):
                place.say(f"{type(thing).__name__.lower()} {thing.name} stays as it is")


class StudentHost(HostResource, module="kvm", name="StudentHost"):
    """A student's host. Declare it after the host's libvirt, and name it as the host.

    Args:
        name: the resource's name.
        props: see StudentHostInputs.
        opts: as for every resource.

    Attributes:
        adopted: the account was there before.
    """

    adopted: pulumi.Output[bool]

    def __init__(
        self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(StudentHostProvider(), name, props, outputs=("adopted",), opts=opts)


def _facts(session: Session, record: Record) -> Facts:
    try:
        return Facts.model_validate(record.facts)
    except ValidationError as error:
        raise records.odd(session.endpoint.host, KIND, KEY, error) from error


def _place(provider: StudentHostProvider, session: Session, inputs: StudentHostInputs, facts: Facts) -> Place:
    return Place(session, facts, inputs.pool, lambda text: provider.progress(inputs, text))


def _settle_account(work: _Work, inputs: StudentHostInputs) -> None:
    """Have the account as asked; one that was asked for before is given back."""
    session, user = work.session, inputs.user
    known = work.facts.accounts.get(user) or student_account.found(session, user)
    joining = (
        () if user == student_account.ROOT else student_account.joining(session, user, known, inputs.groups)
    )
    # before it is done: what is to be undone must be known whatever becomes of this client
    work.save(accounts={**work.facts.accounts, user: known.model_copy(update={"groups": joining})})
    student_account.ensure(session, user, work.facts.accounts[user], inputs.keys, inputs.groups)
    student_account.allow(session, user, sudo=inputs.sudo)
    for other in [name for name in work.facts.accounts if name != user]:
        student_account.give_back(session, other, work.facts.accounts[other])
        work.save(accounts={name: each for name, each in work.facts.accounts.items() if name != other})
    work.save(asked=_asked(inputs))


def _asked(inputs: StudentHostInputs) -> Asked:
    return Asked(user=inputs.user, groups=inputs.groups, sudo=inputs.sudo)


def _refuse_other_claims(inputs: StudentHostInputs, record: Record | None) -> None:
    others = [stack for stack in (record.claims if record else {}) if stack != inputs.stack]
    if others:
        raise LabError(
            f"{inputs.endpoint.host}: make it the host of student {inputs.user}",
            f"it is a student's host of {', '.join(others)}",
            "leave it out of one of the stack files",
        )
