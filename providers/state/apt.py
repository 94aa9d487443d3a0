"""What dpkg and apt say about a host's packages, and which of ours may go again."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

PACKAGE_NAME = r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.]"
"""Debian policy 5.6.1; a trailing "-" would be apt's order to remove."""

_STATUS_FIELDS = (
    "${Package}",
    "${Architecture}",
    "${Version}",
    "${db:Status-Abbrev}",
    "${Provides}",
    "${Pre-Depends}",
    "${Depends}",
)
STATUS_FORMAT = "\\t".join(_STATUS_FIELDS) + "\\n"
"""For `dpkg-query --show --showformat`; what parse_status reads."""

# dpkg-query(1), db:Status-Abbrev, second letter
_HALF_INSTALLED = "H"
_INSTALLED = "i"
_UNSETTLED = {
    "U": "unpacked",
    "F": "half-configured",
    "H": "half-installed",
    "W": "awaiting triggers",
    "t": "triggers pending",
}


@dataclass(frozen=True)
class Package:
    """A package that is on a host, at least in part.

    `depends` has one entry per dependency (Pre-Depends too): the names of which any one will do.
    """

    name: str
    version: str
    state: str
    provides: tuple[str, ...] = ()
    depends: tuple[tuple[str, ...], ...] = ()

    @property
    def installed(self) -> bool:
        """It is installed and configured."""
        return self.state == _INSTALLED

    @property
    def half_installed(self) -> bool:
        """Whether its installation was cut off, so that only another one helps (dpkg(1), Half-Installed)."""
        return self.state == _HALF_INSTALLED

    @property
    def trouble(self) -> str | None:
        """In which unfinished state it is, None if in none."""
        return _UNSETTLED.get(self.state)


def parse_status(text: str, native: str) -> dict[str, Package]:
    """Read `dpkg-query --show --showformat STATUS_FORMAT`.

    Args:
        text: its output.
        native: the host's architecture (`dpkg --print-architecture`).

    Returns:
        The packages that are there, in full or in part, by name; a foreign architecture's one by
        "name:architecture".
    """
    packages: dict[str, Package] = {}
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) != len(_STATUS_FIELDS):
            raise ValueError(f"not a line of dpkg-query's: {line!r}")
        name, architecture, version, abbreviation, provides, pre_depends, depends = fields
        state = abbreviation[1:2]
        # n: not installed, c: only its configuration files are there
        if state in {"n", "c", ""}:
            continue
        key = name if architecture in {native, "all"} else f"{name}:{architecture}"
        groups = parse_relations(pre_depends) + parse_relations(depends)
        provided = tuple(group[0] for group in parse_relations(provides))
        packages[key] = Package(key, version, state, provided, groups)
    return packages


def parse_relations(text: str) -> tuple[tuple[str, ...], ...]:
    """Read a relationship field: "a (>= 1), b | c:any" gives (("a",), ("b", "c"))."""
    groups = [
        tuple(re.split(r"[\s(\[:]", choice.strip(), maxsplit=1)[0] for choice in group.split("|"))
        for group in text.split(",")
        if group.strip()
    ]
    return tuple(groups)


@dataclass(frozen=True)
class Transaction:
    """What apt would do: names of packages to install newly, to bring to another version, to remove."""

    new: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]


def parse_simulation(text: str, native: str) -> Transaction:
    """Read `apt-get --simulate`: lines "Inst name [old] (new ...)" and "Remv name [old]"."""
    found: dict[str, list[str]] = {"new": [], "changed": [], "removed": []}
    for line in text.splitlines():
        match = re.match(r"(Inst|Remv|Purg) (\S+)( \[)?", line)
        if not match:
            continue
        action, name, old = match.groups()
        kind = "removed" if action != "Inst" else "changed" if old else "new"
        found[kind].append(name.removesuffix(f":{native}"))
    return Transaction(tuple(found["new"]), tuple(found["changed"]), tuple(found["removed"]))


def keep_file(names: Iterable[str]) -> str:
    """Return an apt.conf(5) file by which `apt autoremove` leaves these packages, automatic as they are."""
    patterns = (re.sub(r"([.+])", r"\\\1", name) for name in sorted(set(names)))
    lines = "".join(f'  "^{pattern}$";\n' for pattern in patterns)
    return (
        f"// written by kvm-lab: packages that a Pulumi stack asks for\nAPT::NeverAutoRemove {{\n{lines}}};\n"
    )


def near_names(name: str, known: Collection[str], count: int = 3) -> list[str]:
    """Return up to `count` of the known names that look most like `name`."""
    # comparing with all of Debian's 60000 names takes seconds; a near name is about as long
    candidates = [other for other in known if abs(len(other) - len(name)) <= 1 + len(name) // 4]
    return difflib.get_close_matches(name, candidates, count, cutoff=0.7)


@dataclass(frozen=True)
class Removal:
    """Which packages to remove, and of ours the others with the reason why they stay."""

    remove: tuple[str, ...]
    kept: Mapping[str, str]


def plan_removal(
    packages: Mapping[str, Package],
    *,
    brought: Iterable[str],
    claimed: Iterable[str],
    manual: Collection[str],
) -> Removal:
    """Choose among the packages we brought those that nothing needs any more.

    A package stays when a stack still claims it, when a package that stays depends on it, or when somebody
    marked it manual (`apt install` does; what we ask for is marked automatic at once). A recommendation is
    not a need: apt would let it go too, and what is recommended was absent before.

    Args:
        packages: what is on the host.
        brought: names that our own transactions installed newly.
        claimed: names that stacks ask for from now on.
        manual: names that apt has marked manual.
    """
    claimed = set(claimed)
    going = {name for name in brought if name in packages}
    kept: dict[str, str] = {}
    for name in sorted(going):
        if name in claimed:
            kept[name] = "another stack or the list asks for it"
        elif name in manual:
            kept[name] = "marked manual by somebody"
    going -= kept.keys()
    while needed := _needed(packages, going):
        kept.update(needed)
        going -= needed.keys()
    return Removal(tuple(sorted(going)), kept)


def _needed(packages: Mapping[str, Package], going: Collection[str]) -> dict[str, str]:
    """Return which of the packages that go some package that stays depends on, and why."""
    staying = [package for name, package in packages.items() if name not in going]
    satisfied = {name for package in staying for name in _names(package)}
    offers: dict[str, list[str]] = {}
    for name in going:
        for offered in _names(packages[name]):
            offers.setdefault(offered, []).append(name)
    needed: dict[str, str] = {}
    for package in staying:
        for group in package.depends:
            if satisfied.isdisjoint(group):
                for choice in group:
                    needed.update(dict.fromkeys(offers.get(choice, ()), f"{package.name} depends on it"))
    return needed


def _names(package: Package) -> tuple[str, ...]:
    return (package.name, package.name.partition(":")[0], *package.provides)
