"""The roster: who gets which environment. From it follow the guests' names, addresses and hosts.

`expand` works on the stack file as written: what it derives stands beside what is written by hand, and is
judged by the same checks; `Expansion.place` tells whose line a mistake in it comes from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo, WithJsonSchema, field_validator

from stackfile import pattern, rosterfile, values
from stackfile.checks import Found, Written, each_once, file_order
from stackfile.mistakes import HIDDEN, Location, Mistake, near, path_of, where
from stackfile.sections import GuestOptions, HostKey, LoginKey, LoginKeyFile, Section
from stackfile.values import Address, HostLabel, LocalPath, Network, Switch, UserName, number, text

STUDENTS: Location = ("roster", "students")
NAME = "g{group}s{student}"
GENERATION = (1, 999_999)
KEPT = 10
NUMBER = (0, 999_999)
NUMBERS = ("group", "student")
# what a derived guest has of its student; the rest is its template's
_PERSONAL = ("ssh_keys", "ssh_key_files", "generation", "kept", "protect", "discard_disk")
_SHARED = ("gateway", "dns")

Generation = Annotated[int, *number(*GENERATION, "number of its disk")]
Pattern = Annotated[
    str, BeforeValidator(lambda value: text(value, "a pattern")), WithJsonSchema({"type": "string"})
]


class TemplateGuest(GuestOptions):
    """A guest of every environment made from a template."""

    name: HostLabel | None = None
    """What follows its environment's name, as in g1s2-web; left out where it is the only guest."""


class Template(Section):
    """What an environment consists of: guests on a host that others share, or a whole host."""

    name: HostLabel
    """The name by which students ask for it."""
    guests: tuple[TemplateGuest, ...] = ()
    """The guests of an environment."""
    hypervisor: Annotated[dict[str, Any] | None, WithJsonSchema({"type": "object"})] = None
    """The options of a host, without name, address and guests: each student has one, with sudo on it."""
    user: UserName = "student"
    """The student's account on a host of his or her own; that of a guest is the guest's."""

    @field_validator("guests", mode="after")
    @classmethod
    def _told_apart(cls, guests: tuple[TemplateGuest, ...]) -> tuple[TemplateGuest, ...]:
        names = [guest.name for guest in guests]
        if len(guests) > 1 and None in names:
            raise ValueError("a name for each of several guests")
        each_once(tuple(names))
        return guests

    @field_validator("hypervisor", mode="after")
    @classmethod
    def _something(cls, host: dict[str, Any] | None, info: ValidationInfo) -> dict[str, Any] | None:
        if host is None and info.data.get("guests") == ():
            raise ValueError("guests, or a hypervisor, or both")
        if derived := [option for option in ("name", "address", "guests") if option in (host or ())]:
            raise ValueError(f"a host's options without {', '.join(derived)}, which follow from the roster")
        return host


class Student(Section):
    """A student and the environment that is his or hers."""

    group: Annotated[int, *number(*NUMBER, "number of the group")]
    """The number of the group, X in gXsY."""
    student: Annotated[int, *number(*NUMBER, "number in the group")]
    """The number in the group, Y in gXsY."""
    host: HostLabel | None = None
    """The host that the guests are on; left out where the environment is a host."""
    template: HostLabel | None = None
    """The template's name; left out where the stack has one template."""
    ssh_keys: tuple[LoginKey, ...] = ()
    """Public keys of the student."""
    ssh_key_files: tuple[LoginKeyFile, ...] = ()
    """Files with public keys of the student."""
    host_keys: tuple[HostKey, ...] = ()
    """The public keys of the host, where the environment is a host whose template names no known_hosts."""
    generation: Generation = 1
    """Which disk the guests have: another number is a reset (`make reset`)."""
    kept: tuple[Generation, ...] | None = None
    """Earlier disks that stay; left out, as many as the roster's `keep` says."""
    protect: Switch | None = None
    """Whether taking the student out is refused; left out, as the roster says."""
    discard_disk: Switch = False
    """Whether the disk may be deleted because the environment moves to another host."""


def _check_pattern(written: str, names: Sequence[str]) -> str:
    pattern.render(written, dict.fromkeys(names, 1))
    return written


class Roster(Section):
    """The students, and how names and addresses follow from their numbers."""

    file: LocalPath | None = None
    """A CSV or YAML file with the students; or else `students`."""
    students: tuple[Student, ...] = ()
    """The students."""
    name: Pattern = NAME
    """The name of an environment, with {group} and {student}."""
    network: Network
    """The network that the addresses are in."""
    address: Pattern
    """A guest's address, with {group}, {student}, {guest}: 0 for the first guest, or for a student's host."""
    gateway: Address | None = None
    """The guests' default gateway."""
    dns: tuple[Address, ...] = ()
    """Addresses of the guests' name servers."""
    keep: Annotated[int, *number(0, KEPT, "disks")] = 1
    """How many earlier disks of a guest stay after resets."""
    protect: Switch = True
    """Whether taking a student out, or all down, is refused until this is lifted."""

    @field_validator("name", "address", mode="after")
    @classmethod
    def _can_be_worked_out(cls, written: str, info: ValidationInfo) -> str:
        return _check_pattern(written, NUMBERS if info.field_name == "name" else (*NUMBERS, "guest"))


@dataclass(frozen=True)
class Origin:
    """Where what was derived comes from: the student, and the template's guest or host."""

    student: int
    template: Location


@dataclass
class Expansion:
    """The stack file with what the roster derives.

    Args:
        written: the stack file, the derived hosts and guests after those by hand.
        names: the environments' names by the students' place in the roster.
        found: mistakes that only deriving shows.
        origins: the derived hosts and guests by their location.
    """

    written: dict[str, object]
    names: dict[int, str] = field(default_factory=dict)
    found: list[Found] = field(default_factory=list)
    origins: dict[Location, Origin] = field(default_factory=dict)

    def words(self, location: Location, source: rosterfile.Source) -> str | None:
        """Return where to mend what is wrong at `location`; None for what no student's line is about."""
        place = self.place(location)
        if place == location and place[:2] != STUDENTS:
            return None
        if place[:2] != STUDENTS or len(place) <= len(STUDENTS):
            return where(place, self.written)
        index = int(place[len(STUDENTS)])
        option = path_of(place[len(STUDENTS) + 1 :])
        name = f" ({self.names[index]})" if index in self.names else ""
        return source.words(index) + name + (f" {option}" if option else "")

    def told(
        self, found: Iterable[tuple[Location, Mistake]], source: rosterfile.Source, hidden: Collection[str]
    ) -> list[Mistake]:
        """Return the mistakes in the order of the file, each once, in words that name the student's line."""
        placed = [(self.place(location), location, mistake) for location, mistake in found]
        # an element of a list is judged where it was written, too
        placed = [
            one
            for one in placed
            if one[0] == one[1] or "hypervisor" in one[0] or not isinstance(one[1][-1], int)
        ]
        order = file_order(self.written)
        told: dict[tuple[str, str], Mistake] = {}
        for place, location, mistake in sorted(placed, key=lambda one: order((one[0], one[2]))):
            words = self.words(location, source) or mistake.where
            if place[0] in hidden and place != location:
                words, mistake = str(place[0]), dataclasses.replace(mistake, seen=HIDDEN)  # noqa: PLW2901
            told.setdefault((words, mistake.expected), dataclasses.replace(mistake, where=words))
        return list(told.values())

    def place(self, location: Location) -> Location:
        """Return where to mend what is wrong at `location`: if derived, in the roster or a template."""
        for length in range(len(location), 1, -1):
            if origin := self.origins.get(location[:length]):
                option, rest = location[length : length + 1], location[length + 1 :]
                student = (*STUDENTS, origin.student)
                if not option or option[0] in ("name", "address"):
                    return student
                if option[0] in _SHARED:
                    return ("roster", *option, *rest)
                if option[0] in _PERSONAL or (option[0] == "host_keys" and "hypervisor" in origin.template):
                    return (*student, *option)
                return (*origin.template, *option, *rest)
        return location


def environment_name(name: str, group: int, student: int) -> str:
    """Return an environment's name by the roster's pattern `name`; ValueError when it gives none."""
    return values.host_label(pattern.render(name, {"group": group, "student": student}))


def guest_name(environment: str, suffix: str | None, number: int) -> str:
    """Return the name of a guest; `number` counts from 0 on a shared host and from 1 on the student's own."""
    return environment if suffix is None and number == 0 else f"{environment}-{suffix or number}"


def guest_names(environment: str, suffixes: Sequence[str | None], *, own_host: bool) -> list[str]:
    """Return the names of an environment's guests."""
    return [guest_name(environment, suffix, number) for number, suffix in enumerate(suffixes, int(own_host))]


def expand(written: Mapping[str, object]) -> Expansion:
    """Return the stack file with the roster's guests and hosts; what is wrong by itself is passed over."""
    out = Expansion(dict(written))
    roster = written.get("roster")
    if isinstance(roster, Mapping):
        _Deriving(out, Written(("roster",), roster), Written((), written)).run()
    return out


class _Deriving:
    """Derives the hosts and guests of all students."""

    def __init__(self, out: Expansion, roster: Written, top: Written) -> None:
        self.out, self.roster = out, roster
        self.hosts = [dict(host.options) for host in top.list("hosts")]
        hosts, templates = top.list("hosts"), top.list("templates")
        self.places = {name: index for index, host in enumerate(hosts) for name in _name_of(host)}
        self.templates = {name: template for template in templates for name in _name_of(template)}
        self.network = next((network for _, network in roster.read("network", values.network)), None)

    def run(self) -> None:
        given = self.out.written.get("hosts")
        if given is not None and not _is_list_of_mappings(given):
            return  # wrong by itself; derived places would point to other hosts
        try:
            _check_pattern(str(self.roster.options.get("name", NAME)), NUMBERS)
            _check_pattern(str(self.roster.options.get("address", "")), (*NUMBERS, "guest"))
        except ValueError:
            return
        for student in self.roster.list("students"):
            self._student(student, int(student.location[-1]))
        self._names_once()
        if self.out.origins:
            self.out.written["hosts"] = self.hosts

    def _student(self, student: Written, index: int) -> None:
        numbers = dict(self._numbers(student))
        if len(numbers) < len(NUMBERS):
            return
        try:
            name = environment_name(str(self.roster.options.get("name", NAME)), **numbers)
        except ValueError as error:
            self._found(student.location, f"a name by the roster's pattern: {error}", str(numbers))
            return
        self.out.names[index] = name
        template = self._template(student)
        if template is None:
            return
        if template.options.get("hypervisor") is not None:
            self._hypervisor(student, template, name, numbers)
            return
        place = self._host(student)
        if place is not None:
            self._guests(student, template, name, numbers, place, first=0)

    def _names_once(self) -> None:
        first: dict[str, int] = {}
        for index, name in self.out.names.items():
            if name in first:
                place, other = (*STUDENTS, index), (*STUDENTS, first[name])
                self.out.found.append(Found(place, "an environment's name once in the roster", name, other))
            first.setdefault(name, index)

    def _numbers(self, student: Written) -> Iterator[tuple[str, int]]:
        for option in NUMBERS:
            for _, value in student.read(option, values.whole(*NUMBER, "")):
                yield option, value

    def _template(self, student: Written) -> Written | None:
        asked = student.options.get("template")
        known = list(self.templates)
        if asked is None and len(known) == 1:
            return self.templates[known[0]]
        if isinstance(asked, str) and asked in self.templates:
            return self.templates[asked]
        expected = f"one of the stack's templates: {', '.join(known)}" if known else "a template in templates"
        seen = "none" if asked is None else f"{asked}{near(str(asked), known)}"
        self._found((*student.location, "template"), expected, seen)
        return None

    def _host(self, student: Written) -> int | None:
        asked = student.options.get("host")
        if isinstance(asked, str) and asked in self.places:
            return self.places[asked]
        known = list(self.places)
        expected = f"one of the stack's hosts: {', '.join(known)}" if known else "a host in hosts"
        seen = "none" if asked is None else f"{asked}{near(str(asked), known)}"
        self._found((*student.location, "host"), expected, seen)
        return None

    def _hypervisor(self, student: Written, template: Written, name: str, numbers: dict[str, int]) -> None:
        if student.options.get("host") is not None:
            asked = str(student.options["host"])
            self._found(
                (*student.location, "host"), f"no host: with this template it is {name} itself", asked
            )
        options = template.options["hypervisor"]
        address = self._address(student, {**numbers, "guest": 0})
        if not isinstance(options, Mapping) or address is None:
            return
        if not student.options.get("ssh_keys") and not student.options.get("ssh_key_files"):
            expected = "a key here or in ssh_key_files (there is no password login)"
            self._found((*student.location, "ssh_keys"), expected, "none")
        host: dict[str, object] = {**options, "name": name, "address": address}
        packages = options.get("packages", [])
        if isinstance(packages, list | tuple) and "sudo" not in packages:
            host["packages"] = [*packages, "sudo"]
        if "host_keys" in student.options:
            host["host_keys"] = student.options["host_keys"]
        index = int(student.location[-1])
        self.out.origins["hosts", len(self.hosts)] = Origin(index, (*template.location, "hypervisor"))
        self.hosts.append({**host, "guests": []})
        self._guests(student, template, name, numbers, len(self.hosts) - 1, first=1)

    def _guests(
        self,
        student: Written,
        template: Written,
        environment: str,
        numbers: dict[str, int],
        place: int,
        *,
        first: int,
    ) -> None:
        host = self.hosts[place]
        given = host.get("guests", [])
        if not isinstance(given, list | tuple) or self.network is None:
            return
        guests = list(given)
        for index, guest in enumerate(template.list("guests"), first):
            address = self._address(student, {**numbers, "guest": index})
            if address is None:
                continue
            suffix = guest.options.get("name")
            derived = {
                **{option: value for option, value in guest.options.items() if option != "name"},
                "name": guest_name(environment, None if suffix is None else str(suffix), index),
                "address": f"{address}/{self.network.prefixlen}",
                **{
                    option: self.roster.options[option] for option in _SHARED if option in self.roster.options
                },
                **self._personal(student, guest),
            }
            location = ("hosts", place, "guests", len(guests))
            self.out.origins[location] = Origin(int(student.location[-1]), guest.location)
            guests.append(derived)
        self.hosts[place] = {**host, "guests": guests}

    def _personal(self, student: Written, guest: Written) -> dict[str, object]:
        own = student.options
        lifted = own.get("protect")
        personal: dict[str, object] = {
            **{option: own[option] for option in ("generation", "discard_disk") if option in own},
            "kept": self._kept(student),
            "protect": self.roster.options.get("protect", True) if lifted is None else lifted,
        }
        for option in ("ssh_keys", "ssh_key_files"):
            both = [section.options.get(option, []) for section in (guest, student)]
            if all(isinstance(keys, list | tuple) for keys in both):
                personal[option] = [key for keys in both for key in keys]  # type: ignore[attr-defined]
        return personal

    def _kept(self, student: Written) -> object:
        if (written := student.options.get("kept")) is not None:
            return written
        generation = [value for _, value in student.read("generation", values.whole(*GENERATION, ""))]
        keep = [value for _, value in self.roster.read("keep", values.whole(0, KEPT, ""))]
        return kept_by_default(*(generation or [1]), *(keep or [1]))

    def _address(self, student: Written, numbers: dict[str, int]) -> str | None:
        written = self.roster.options.get("address")
        if not isinstance(written, str) or self.network is None:
            return None
        try:
            address = ip_address(pattern.render(written, numbers))
            if address in self.network:
                values.guest_interface(f"{address}/{self.network.prefixlen}")
                return str(address)
            seen = str(address)
        except ValueError as error:
            seen = str(error)
        expected = f"numbers whose address (roster.address: {written}) is one of {self.network}"
        self._found(student.location, expected, seen)
        return None

    def _found(self, location: Location, expected: str, seen: str) -> None:
        self.out.found.append(Found(location, expected, seen))


def _name_of(section: Written) -> list[str]:
    return [name for _, name in section.read("name", values.host_label)]


def _is_list_of_mappings(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(element, Mapping) for element in value)


def kept_of(student: Student, keep: int) -> tuple[int, ...]:
    """Return the generations of a student whose disks are kept, the one to go back to first."""
    return tuple(kept_by_default(student.generation, keep)) if student.kept is None else student.kept


def kept_by_default(generation: int, keep: int) -> list[int]:
    """Return the generations before `generation` whose disks stay, the latest first."""
    return [
        earlier for earlier in range(generation - 1, generation - 1 - keep, -1) if earlier >= GENERATION[0]
    ]
