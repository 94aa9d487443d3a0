"""kvm:AptPackages - a set of Debian packages is present on a host."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pulumi
from pydantic import AfterValidator, Field, JsonValue

from policies.rules.desktop import is_desktop
from providers import records
from providers.base import HostInputs, HostProvider, HostResource
from providers.errors import LabError
from providers.state import apt
from providers.state.record import Record
from providers.transport import CommandFailed, Session, connect

KIND = "packages"
KEY = "apt"
LOCK_TIMEOUT = 900.0
LOCK_POLL = 2.0
LOCK_REMIND = 15.0
CANNOT_FETCH = "Failed to fetch"
UPDATE_TIMEOUT = 600.0
INSTALL_TIMEOUT = 3600.0
MARK_TIMEOUT = 120.0
LISTS_AGE_MINUTES = 24 * 60
LISTS = "/var/lib/apt/lists"
KEEP_FILE = "/etc/apt/apt.conf.d/52kvm-lab"
_SCRIPTS = Path(__file__).with_name("scripts")
_NONINTERACTIVE = {
    "DEBIAN_FRONTEND": "noninteractive",
    "APT_LISTCHANGES_FRONTEND": "none",
    # its question which services to restart would wait for ever
    "NEEDRESTART_SUSPEND": "1",
}
# a configuration file that the admin changed stays as it is
_CONFFILES = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
_APT_GET = ("apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", *_CONFFILES)
_INSTALL = (*_APT_GET, "--no-install-recommends", "--fix-broken", "install")
_REMOVE = (*_APT_GET, "remove")


def _sorted_once(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


PackageName = Annotated[str, Field(pattern=f"^{apt.PACKAGE_NAME}$")]


class AptPackagesInputs(HostInputs):
    """Inputs of AptPackages."""

    packages: Annotated[tuple[PackageName, ...], AfterValidator(_sorted_once)]
    """Names, without version or architecture; kept sorted, each once."""


@dataclass(frozen=True)
class _Host:
    """A session, whose packages it is about, and how to tell the user."""

    session: Session
    provider: AptPackagesProvider
    inputs: AptPackagesInputs

    @property
    def name(self) -> str:
        return self.inputs.endpoint.host

    def phase(self, text: str) -> contextlib.AbstractContextManager[None]:
        return self.provider.phase(self.inputs, text)

    def tell(self, text: str) -> None:
        self.provider.progress(self.inputs, text)


class AptPackagesProvider(HostProvider[AptPackagesInputs]):
    """Installs packages without recommended ones, and removes what it brought when nobody needs it.

    apt takes what is asked for as marked manual. It is marked automatic at once, and kept from autoremove by
    a file of ours: thus a later `apt install` or `apt-mark manual` of it by others shows, and it stays.
    """

    inputs_model: ClassVar[type[HostInputs]] = AptPackagesInputs

    def create_thing(self, inputs: AptPackagesInputs) -> tuple[str, dict[str, Any]]:
        """Install what is missing and claim the set. The id is the host's name."""
        with self._locked(inputs) as host:
            return inputs.endpoint.host, _ensure(host, _load(host))

    def read_thing(self, inputs: AptPackagesInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Show which of the packages this stack claims are there; without a claim it is gone."""
        with connect(inputs.endpoint) as session:
            record = records.load(session, KIND, KEY)
            if record is None or inputs.stack not in record.claims:
                return None
            packages, asked = _status(session), _names(record.claims[inputs.stack])
            present = [name for name in asked if name in packages and packages[name].installed]
            return {"packages": present, **_outputs(record, packages, present)}

    def update_thing(self, olds: AptPackagesInputs, news: AptPackagesInputs) -> dict[str, Any]:
        """Install what is missing, remove what is no longer asked for."""
        with self._locked(news) as host:
            record = _load(host)
            before = set(_names(record.claims.get(olds.stack, [])))
            if olds.stack != news.stack:
                record = record.released(olds.stack) or record.model_copy(update={"claims": {}})
            outputs = _ensure(host, record)
            if before <= set(news.packages):
                return outputs
            record = _remove_unneeded(host, _load(host))
            records.save(host.session, record)
            return _outputs(record, _status(host.session), news.packages)

    def delete_thing(self, inputs: AptPackagesInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Drop the claim and remove what our own transactions brought and nothing needs any more."""
        with self._locked(inputs) as host:
            record = records.load(host.session, KIND, KEY)
            if record is None or inputs.stack not in record.claims:
                return
            record = _settle(host, record)
            left = record.released(inputs.stack)
            after = _remove_unneeded(host, left or record.model_copy(update={"claims": {}}))
            if left is None:
                records.erase(host.session, KIND, KEY)
            else:
                records.save(host.session, after)

    @contextlib.contextmanager
    def _locked(self, inputs: AptPackagesInputs) -> Iterator[_Host]:
        with connect(inputs.endpoint) as session, session.lock(KIND, timeout=LOCK_TIMEOUT):
            yield _Host(session, self, inputs)


class AptPackages(HostResource, module="kvm", name="AptPackages"):
    """Packages of a host.

    Args:
        name: the resource's name.
        props: see AptPackagesInputs.
        opts: as for every resource.

    Attributes:
        versions: the installed version of each package asked for.
        brought: packages, dependencies among them, that this program's own transactions installed.
    """

    versions: pulumi.Output[dict[str, str]]
    brought: pulumi.Output[list[str]]

    def __init__(
        self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(AptPackagesProvider(), name, props, outputs=("versions", "brought"), opts=opts)


def _load(host: _Host) -> Record:
    record = records.load(host.session, KIND, KEY) or Record(kind=KIND, key=KEY)
    return _settle(host, record)


def _settle(host: _Host, record: Record) -> Record:
    """Finish what an interrupted transaction of ours has left: whose the packages are, and their marks."""
    packages = _status(host.session)
    asked = [name for name in _names(record.facts.get("asked", [])) if name in packages]
    if asked:
        _await_locks(host)
        _run(host, ["apt-mark", "auto", *asked], MARK_TIMEOUT)
    return _settled(record, packages).with_facts(asked=[])


def _keep(host: _Host, record: Record) -> None:
    """Have `apt autoremove` leave what stacks claim."""
    claimed = {name for asked in record.claims.values() for name in _names(asked)}
    wanted = apt.keep_file(claimed).encode() if claimed else None
    if host.session.read(KEEP_FILE) == wanted:
        return
    if wanted is None:
        host.session.remove(KEEP_FILE)
    else:
        host.session.write(KEEP_FILE, wanted)


def _settled(record: Record, packages: Mapping[str, apt.Package]) -> Record:
    """Count what an interrupted transaction of ours did install among the packages we brought."""
    pending = _names(record.facts.get("pending", []))
    brought = {*_names(record.facts.get("brought", [])), *(name for name in pending if name in packages)}
    return record.with_facts(brought=_json(brought), pending=[])


def _ensure(host: _Host, record: Record) -> dict[str, Any]:
    """Install what is missing, store the claim, return the outputs."""
    packages = _configured(host)
    wanted = host.inputs.packages
    missing = [name for name in wanted if name not in packages or not packages[name].installed]
    # the claim comes first: what a killed run has installed stays known
    record = record.claimed(host.inputs.stack, list(wanted))
    brought = _names(record.facts.get("brought", []))
    halves = [name for name in brought if name in packages and packages[name].half_installed]
    if halves:
        _clear_halves(host, halves)
    if missing or halves:
        record = _install(host, record, [*missing, *(name for name in halves if name not in missing)])
        packages = _status(host.session)
    records.save(host.session, record)
    _keep(host, record)
    return _outputs(record, packages, wanted)


def _outputs(record: Record, packages: Mapping[str, apt.Package], wanted: Collection[str]) -> dict[str, Any]:
    return {
        "versions": {name: packages[name].version for name in wanted if name in packages},
        "brought": [name for name in _names(record.facts.get("brought", [])) if name in packages],
    }


def _names(value: object) -> list[str]:
    return [str(name) for name in value] if isinstance(value, list) else []


def _json(names: Iterable[str]) -> list[JsonValue]:
    return [*sorted(names)]


def _native(session: Session) -> str:
    return session.run(["dpkg", "--print-architecture"]).stdout.strip()


def _status(session: Session) -> dict[str, apt.Package]:
    text = session.run(["dpkg-query", "--show", "--showformat", apt.STATUS_FORMAT]).stdout
    return apt.parse_status(text, _native(session))


def _configured(host: _Host) -> dict[str, apt.Package]:
    """Return what is installed, after an interrupted installation was continued."""
    packages = _status(host.session)
    if not any(package.trouble for package in packages.values()):
        return packages
    _await_locks(host)
    packages = _status(host.session)
    troubled = [f"{package.name} ({package.trouble})" for package in packages.values() if package.trouble]
    if not troubled:
        return packages
    with (
        host.phase(f"finish an interrupted installation: {', '.join(troubled)}"),
        contextlib.suppress(CommandFailed),
    ):
        # what this cannot finish, for want of a dependency, apt's --fix-broken can, or says why not
        _run(
            host, ["dpkg", "--force-confdef", "--force-confold", "--configure", "--pending"], INSTALL_TIMEOUT
        )
    return _status(host.session)


def _clear_halves(host: _Host, halves: list[str]) -> None:
    """Remove packages of ours that a killed installation left in parts: apt takes them for installed.

    What needs them is not configured yet, so that it misses nothing.
    """
    _await_locks(host)
    forced = ["--force-remove-reinstreq", "--force-depends"]  # dpkg(1)
    with host.phase(f"remove what is half-installed: {', '.join(halves)}"):
        _run(host, ["dpkg", *forced, "--remove", *halves], INSTALL_TIMEOUT)


def _install(host: _Host, record: Record, missing: list[str]) -> Record:
    """Install the missing packages and return the record with what came along."""
    refreshed = _refresh_lists(host, missing)
    try:
        return _transact(host, record, missing)
    except CommandFailed as error:
        # the archive has replaced a version that the lists still name
        if refreshed or CANNOT_FETCH not in error.seen:
            raise
    _update(host)
    return _transact(host, _settle(host, record), missing)


def _transact(host: _Host, record: Record, missing: list[str]) -> Record:
    planned = _simulated(host, [*_INSTALL, *missing])
    _refuse_side_effects(host, missing, planned)
    # saved before, so that a kill between here and the end does not lose which ones are ours
    # what a killed run has left in parts is ours too, though it is not new to apt
    ours = {*planned.new, *_names(record.facts.get("brought", []))}
    asked = {*_names(record.facts.get("asked", [])), *(name for name in missing if name in ours)}
    record = record.with_facts(pending=_json(planned.new), asked=_json(asked))
    records.save(host.session, record)
    _keep(host, record)
    _await_locks(host)
    host.tell(f"missing: {', '.join(missing)}")
    with host.phase(f"install {len(planned.new)} packages"):
        _run(host, [*_INSTALL, *missing], INSTALL_TIMEOUT)
    return _settle(host, record)


def _refresh_lists(host: _Host, missing: list[str]) -> bool:
    """Bring the package lists up to date if they are old or lack a name; refuse unknown names.

    Returns:
        Whether they were fetched.
    """
    fresh = host.session.run(["find", LISTS, "-maxdepth", "0", "-mmin", f"-{LISTS_AGE_MINUTES}"]).stdout
    known = _known_names(host.session)
    if fresh and known.issuperset(missing):
        return False
    complaints = _update(host)
    known = _known_names(host.session)
    unknown = [name for name in missing if name not in known]
    _refuse_unknown(host, unknown, known, complaints)
    return True


def _refuse_unknown(host: _Host, unknown: list[str], known: Collection[str], complaints: list[str]) -> None:
    if not unknown:
        return
    near = {name: ", ".join(apt.near_names(name, known)) or "none" for name in unknown}
    raise LabError(
        f"{host.name}: install {', '.join(unknown)}",
        "\n".join([*(f"no package {name}; near: {near[name]}" for name in unknown), *complaints]),
        "correct the names in the stack file, or mend the archives in the host's /etc/apt/sources.list; "
        "nothing was installed",
    )


def _known_names(session: Session) -> set[str]:
    """Return the names of all packages that apt could install or that are installed."""
    return set(session.run(["apt-cache", "pkgnames"]).stdout.split())


def _update(host: _Host) -> list[str]:
    """Fetch the package lists; return what apt complains about.

    An archive that fails is no error by itself: what is asked for may be in another one.
    """
    deadline = time.monotonic() + LOCK_TIMEOUT
    with host.phase("apt-get update"):
        while True:
            _await_locks(host)
            try:
                said = _run(host, ["apt-get", "-q", "update"], UPDATE_TIMEOUT)
            except CommandFailed as error:
                said = error.seen
            # somebody was faster: DPkg::Lock::Timeout does not cover the lists' lock
            if f"{LISTS}/lock" not in said or time.monotonic() > deadline:
                break
    complaints = [line for line in said.splitlines() if line.startswith(("W:", "E:"))]
    for complaint in complaints:
        host.tell(complaint)
    return complaints


def _simulated(host: _Host, argv: list[str]) -> apt.Transaction:
    result = host.session.run([*argv[:1], "--simulate", *argv[1:]], env=_NONINTERACTIVE, timeout=120)
    return apt.parse_simulation(result.stdout, _native(host.session))


def _refuse_side_effects(host: _Host, missing: list[str], planned: apt.Transaction) -> None:
    asked = f"{host.name}: install {', '.join(missing)}"
    if planned.removed:
        raise LabError(
            asked,
            f"apt would remove {', '.join(planned.removed)}",
            "remove these packages by hand if you can do without them, or drop the ones they conflict with",
        )
    desktop = [name for name in planned.new if is_desktop(name)]
    if desktop:
        raise LabError(
            asked,
            f"a desktop or display server would come along: {', '.join(desktop)}",
            "drop the package that needs it; a hypervisor has no desktop",
        )


def _remove_unneeded(host: _Host, record: Record) -> Record:
    """Remove what we brought and nothing needs, given the claims in `record`; return the new record."""
    packages = _status(host.session)
    claimed = {name for asked in record.claims.values() for name in _names(asked)}
    manual = host.session.run(["apt-mark", "showmanual"]).stdout.split()
    native = _native(host.session)
    plan = apt.plan_removal(
        packages,
        brought=_names(record.facts.get("brought", [])),
        claimed=claimed,
        manual={name.removesuffix(f":{native}") for name in manual},
    )
    if plan.kept:
        some = "; ".join(f"{name}: {why}" for name, why in list(plan.kept.items())[:5])
        host.tell(f"{len(plan.kept)} packages stay ({some})")
    if plan.remove:
        _refuse_loss_of_domains(host, plan.remove)
        _remove(host, plan.remove)
    _keep(host, record)
    gone = set(plan.remove)
    return record.with_facts(brought=_json({*_names(record.facts.get("brought", []))} - gone))


def _remove(host: _Host, names: tuple[str, ...]) -> None:
    """Remove exactly these packages; configuration files stay, as somebody may have edited them."""
    planned = _simulated(host, [*_REMOVE, *names])
    others = {*planned.removed, *planned.new, *planned.changed} - set(names)
    if others:
        raise LabError(
            f"{host.name}: remove {', '.join(names)}",
            f"apt would also change {', '.join(sorted(others))}, which this program did not bring",
            "look at `apt-get --simulate remove` of these names on the host, and remove by hand what can go",
        )
    _await_locks(host)
    with host.phase(f"remove {len(names)} packages"):
        _run(host, [*_REMOVE, *names], INSTALL_TIMEOUT)


def _refuse_loss_of_domains(host: _Host, names: tuple[str, ...]) -> None:
    """Raise when guests are still defined or running: they could not be managed, or started, again."""
    if not any(name.startswith(("libvirt", "qemu")) for name in names):
        return
    # the files themselves, as libvirtd may be stopped
    folders = ["/etc/libvirt/qemu", "/run/libvirt/qemu"]
    found = host.session.run(
        ["find", *folders, "-maxdepth", "1", "-name", "*.xml", "-printf", "%f\\n"], check=False
    )
    domains = sorted({line.removesuffix(".xml") for line in found.stdout.split("\n") if line})
    if domains:
        raise LabError(
            f"{host.name}: remove libvirt and QEMU",
            f"guests are still defined there: {', '.join(domains)}",
            "move or undefine them (`virsh undefine`) and run the command again; to leave libvirt as it is, "
            "take the resource out of the state with `pulumi state delete`",
        )


def _run(host: _Host, argv: list[str], timeout: float) -> str:
    """Run apt-get or dpkg so that it ends properly even if this client dies; return what it said."""
    script = (_SCRIPTS / "run-apt.sh").read_text(encoding="utf-8")
    try:
        result = host.session.run(
            ["sh", "-c", script, "run-apt.sh", *argv], timeout=timeout, env=_NONINTERACTIVE
        )
    except CommandFailed as error:
        raise CommandFailed(
            f"{host.name}: run {' '.join(argv)}",
            error.seen,
            "mend what apt names (`apt-get -f install` on the host helps often), then run the command again",
            error.exit_status,
        ) from error
    return result.stdout


def _await_locks(host: _Host) -> None:
    """Wait until nobody holds a lock of apt's or dpkg's, naming the holder meanwhile.

    Raises:
        LabError: somebody held one until the deadline.
    """
    began = time.monotonic()
    reminded = -LOCK_REMIND
    script = (_SCRIPTS / "apt-lock-holders.sh").read_text(encoding="utf-8")
    while holders := host.session.run(["sh", "-c", script]).stdout.strip():
        elapsed = time.monotonic() - began
        holder = re.sub(r"\s*\n\s*", "; ", holders)
        if elapsed > LOCK_TIMEOUT:
            raise LabError(
                f"{host.name}: use apt",
                f"locked for {elapsed:.0f} s by {holder}",
                "wait until that is done, or end it if it hangs, then run the command again",
            )
        if elapsed - reminded >= LOCK_REMIND:
            reminded = elapsed
            host.tell(f"waiting for {holder} ({elapsed:.0f} s)")
        time.sleep(LOCK_POLL)
