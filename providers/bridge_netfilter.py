"""kvm:BridgeNetfilter - whether packets that a host's bridges pass on go through its firewall, for good.

It may cut the host off, so the kernel comes first, then a look over a new connection, only then the files:
until that look the host undoes it by itself, and until the files are written its next start does.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pulumi
from pydantic import Field, JsonValue

from providers import records
from providers.base import HostInputs, HostProvider, HostResource
from providers.errors import LabError
from providers.state import netfilter
from providers.state.bridge import on_off
from providers.state.bridge_refusals import Refusal
from providers.state.netfilter import Netfilter
from providers.state.outlook import Outlook, file_changes
from providers.state.record import Record
from providers.transport import LOCK_IDLE, CommandFailed, Session, TransportError, connect

KIND = "netfilter"
KEY = "bridge"
_SCRIPT = Path(__file__).with_name("scripts") / "bridge-netfilter.sh"
_CONNECT_TIMEOUT = 5.0
_POLL = 0.25
_UNDO_TIME = 10.0
"""Seconds that the host may take to undo it once its timer has ended."""
_NOT_YET = 3
"""Exit status of `bridge-netfilter.sh confirm`: the change is still being made."""


class BridgeNetfilterInputs(HostInputs):
    """A host's bridge netfilter; see Netfilter."""

    enabled: bool
    rollback_timeout: int = Field(default=60, ge=15, le=600)
    """Seconds until the host undoes a change in the kernel that was not confirmed."""

    @property
    def asked(self) -> str:
        """What errors say was asked for."""
        return f"{self.endpoint.host}: switch bridge netfilter {on_off(self.enabled)}"


class BridgeNetfilterUndone(LabError):  # noqa: N818 - the name says what happened
    """The kernel has what it had before."""


@dataclass
class _Work:
    """A session that holds the host's lock on bridge netfilter, and how far its work has come."""

    session: Session
    done: bool = False
    """All is changed, and only the lock is to be freed."""


class BridgeNetfilterProvider(HostProvider[BridgeNetfilterInputs]):
    """Sets it in the kernel and for the next starts, and gives back what was found."""

    inputs_model: ClassVar[type[HostInputs]] = BridgeNetfilterInputs

    def create_thing(self, inputs: BridgeNetfilterInputs) -> tuple[str, dict[str, Any]]:
        """Switch it on or off, or adopt it as it is; claim it."""
        with self._working(inputs) as work:
            session = work.session
            found = records.load(session, KIND, KEY)
            _refuse_other_claims(inputs, found)
            state = _look(session)
            files = netfilter.wanted_files(state, enabled=inputs.enabled)
            _refuse_overriding(inputs, state, files)
            adopted = state.live is inputs.enabled and not files
            facts: dict[str, JsonValue] = {"values": dict(state.values)}
            record = found or Record(kind=KIND, key=KEY, adopted=adopted, facts=facts)
            _prepare(session, state, files)
            # first: what was found must be known whatever becomes of this client
            claimed = record.claimed(inputs.stack, {"enabled": inputs.enabled})
            records.save(session, claimed)
            try:
                values = dict.fromkeys(netfilter.VARIABLES, int(inputs.enabled))
                self._change(session, inputs, state, values, files)
            except BridgeNetfilterUndone:
                with contextlib.suppress(LabError):
                    _put_back(session, claimed, found)
                raise
            work.done = True
        return inputs.endpoint.host, {"adopted": record.adopted, "files": sorted(files)}

    def read_thing(self, inputs: BridgeNetfilterInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return it as kernel and files have it; both, where they disagree."""
        with connect(inputs.endpoint) as session:
            record = records.load(session, KIND, KEY)
            if record is None or inputs.stack not in record.claims:
                return None
            state = _look(session)
        agreed = state.live is not None and state.live is state.at_boot
        disagreement = f"kernel: {_shown(state.live)}, at the next start: {_shown(state.at_boot)}"
        return {**outs, "enabled": state.live if agreed else disagreement}

    def update_thing(self, olds: BridgeNetfilterInputs, news: BridgeNetfilterInputs) -> dict[str, Any]:
        """Make it as asked, from whatever it is now; a renamed stack keeps its claim."""
        if olds.stack != news.stack:
            with connect(news.endpoint) as session, session.lock(KIND):
                record = records.load(session, KIND, KEY)
                if record is not None and olds.stack in record.claims:
                    records.save(session, record.renamed(olds.stack, news.stack))
        return self.create_thing(news)[1]

    def delete_thing(self, inputs: BridgeNetfilterInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Drop the claim; after the last one the kernel has the values found, and our files are gone.

        Where the module was not loaded it stays until the next start, with the values that have no effect.
        """
        with self._working(inputs) as work:
            record, others = records.release(work.session, KIND, KEY, inputs.stack)
            if record is None or others:
                return
            state = _look(work.session)
            _prepare(work.session, state, {})
            self._change(work.session, inputs, state, _values_found(record), {})
            work.done = True
        _clean_up(inputs)

    @contextlib.contextmanager
    def _working(self, inputs: BridgeNetfilterInputs) -> Iterator[_Work]:
        """Hold the host's lock, once a change that its client has left is taken back."""
        work: _Work | None = None
        try:
            with connect(inputs.endpoint) as session, session.lock(KIND):
                for line in _run(session, "settle").splitlines():
                    self.progress(inputs, line)
                work = _Work(session)
                yield work
        except TransportError:
            # the lock may go with the old connection, after the change was confirmed over a new one
            if work is None or not work.done:
                raise

    def _change(
        self,
        session: Session,
        inputs: BridgeNetfilterInputs,
        state: Netfilter,
        values: Mapping[str, int],
        files: Mapping[str, str],
    ) -> None:
        """Give the kernel these values and the host these files of ours, and no others."""
        if _changes_kernel(state, values, files):
            self.progress(inputs, _sentence(values, inputs.rollback_timeout))
            _change_kernel(session, inputs, state, values)
            # the old connection may have gone with the change
            with connect(inputs.endpoint) as fresh:
                _write(fresh, state, files)
        else:
            _write(session, state, files)


class BridgeNetfilter(HostResource, module="kvm", name="BridgeNetfilter"):
    """A host's bridge netfilter, declared; see BridgeNetfilterInputs.

    Attributes:
        adopted: it was as asked before the first claim.
        files: the files on the host that are ours.
    """

    adopted: pulumi.Output[bool]
    files: pulumi.Output[list[str]]

    def __init__(
        self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(BridgeNetfilterProvider(), name, props, outputs=("adopted", "files"), opts=opts)


def outlook(session: Session, inputs: BridgeNetfilterInputs) -> Outlook:
    """Return what these inputs would change on the host as it is now; only looks, and holds no lock.

    Raises:
        TransportError: the host could not be read.
    """
    record, state = records.load(session, KIND, KEY), _look(session)
    files = netfilter.wanted_files(state, enabled=inputs.enabled)
    try:
        _refuse_other_claims(inputs, record)
        _refuse_overriding(inputs, state, files)
    except LabError as error:
        return Outlook(refusals=(Refusal(error.seen, error.remedy),))
    return _outlook(state, dict.fromkeys(netfilter.VARIABLES, int(inputs.enabled)), files)


def outlook_of_release(session: Session, stack: str) -> Outlook:
    """Return what changes once a stack no longer has its claim, if it has one; only looks, and holds no lock.

    Raises:
        TransportError: the host could not be read.
    """
    record = records.load(session, KIND, KEY)
    if record is None or stack not in record.claims:
        return Outlook()
    rest = record.released(stack)
    if rest is not None:
        return Outlook(sentences=(f"bridge netfilter stays: {', '.join(rest.claims)} claims it too",))
    told = _outlook(_look(session), _values_found(record), {})
    return replace(told, sentences=("bridge netfilter is given back as it was found", *told.sentences))


def _outlook(state: Netfilter, values: Mapping[str, int], files: Mapping[str, str]) -> Outlook:
    there = {**state.sysctl_files, **state.modules_files}
    ours = {path: there[path] for path in (netfilter.SYSCTL_FILE, netfilter.MODULES_FILE) if path in there}
    changes = file_changes(ours, files)
    if _changes_kernel(state, values, files):
        change = f"bridge netfilter is {_word(state.values)} and goes {_word(values)}"
        return Outlook("live", changes, (change,))
    if not changes:
        return Outlook()
    starts = ", for the next starts too" if files else "; the next starts are no longer told so"
    return Outlook("live", changes, (f"bridge netfilter stays {_word(state.values)}{starts}",))


def _word(values: Mapping[str, int]) -> str:
    """Return "on", "off", or what there is to say where the kernel's variables are neither."""
    said = {bool(value) for value in values.values()}
    if len(said) == 1:
        return on_off(said.pop())
    return ", ".join(f"{name}={value}" for name, value in values.items()) or "not loaded"


def _values_found(record: Record) -> dict[str, int]:
    """Return what the kernel had before the first claim."""
    found = record.facts.get("values")
    found = found if isinstance(found, dict) else {}
    return {name: int(str(found.get(name, 0))) for name in netfilter.VARIABLES}


def _changes_kernel(state: Netfilter, values: Mapping[str, int], files: Mapping[str, str]) -> bool:
    """Tell whether the kernel has other values; without the module only if `files` are to be ours."""
    return dict(state.values) != dict(values) and bool(state.values or files)


def _change_kernel(
    session: Session, inputs: BridgeNetfilterInputs, state: Netfilter, values: Mapping[str, int]
) -> None:
    """Give the kernel these values, for good once a new connection could be opened with them.

    Raises:
        BridgeNetfilterUndone: it could not be done, or was undone.
        LabError: it was not confirmed, and nobody has seen it undone.
    """
    identity = secrets.token_hex(8)
    pairs = [f"{name}={value}" for name, value in values.items()]
    timeout = inputs.rollback_timeout
    until = time.monotonic() + timeout
    try:
        # not all of the time: a connection that is cut off says nothing, and a new one may be let in
        _run(session, "set", identity, str(timeout), *pairs, timeout=timeout / 2)
    except TransportError as error:
        # it takes its own failure back; killed, or with its answer lost, a new connection shows how it ended
        if isinstance(error, CommandFailed) and error.exit_status >= 0:
            raise BridgeNetfilterUndone(inputs.asked, error.seen, error.remedy) from error
    why = _why_unconfirmed(inputs, identity, pairs, until)
    if why is not None:
        raise _outcome(inputs, identity, state, why)


def _why_unconfirmed(
    inputs: BridgeNetfilterInputs, identity: str, pairs: list[str], until: float
) -> str | None:
    """Confirm the change over a new connection; return why that was not possible, None if it was."""
    seen = "no time was left"
    while time.monotonic() < until:
        try:
            with connect(inputs.endpoint, timeout=_CONNECT_TIMEOUT) as fresh:
                _run(fresh, "confirm", identity, *pairs)
        except CommandFailed as error:
            seen = error.seen
            if error.exit_status != _NOT_YET:
                break
        except TransportError as error:
            seen = error.seen
        else:
            return None
        time.sleep(_POLL)
    return seen


def _run(session: Session, *arguments: str, timeout: float = 60.0) -> str:
    script = _SCRIPT.read_text(encoding="utf-8")
    return session.run(["sh", "-c", script, _SCRIPT.name, *arguments], timeout=timeout).stdout


def _look(session: Session) -> Netfilter:
    return netfilter.parse(_run(session, "facts"))


def _refuse_other_claims(inputs: BridgeNetfilterInputs, record: Record | None) -> None:
    claims = record.claims if record else {}
    others = [
        stack
        for stack, claim in claims.items()
        if stack != inputs.stack and claim != {"enabled": inputs.enabled}
    ]
    if others:
        raise LabError(
            inputs.asked,
            f"it is one for all bridges of the host, and {', '.join(others)} wants it otherwise",
            "agree on bridge_netfilter, or leave it out of one of the stack files",
        )


def _refuse_overriding(inputs: BridgeNetfilterInputs, state: Netfilter, files: Mapping[str, str]) -> None:
    overriding = netfilter.overriding(state, files, enabled=inputs.enabled)
    if overriding:
        raise LabError(
            inputs.asked,
            "\n".join([*map(str, overriding), "this is read later than ours; nothing was changed"]),
            "delete these lines on the host, or agree with them",
        )


def _edits(state: Netfilter, files: Mapping[str, str]) -> dict[str, str | None]:
    """Return path -> text of our files that are otherwise now; None: it is to go."""
    there = {**state.sysctl_files, **state.modules_files}
    wanted = {path: files.get(path) for path in (netfilter.SYSCTL_FILE, netfilter.MODULES_FILE)}
    return {path: text for path, text in wanted.items() if text != there.get(path)}


def _prepare(session: Session, state: Netfilter, files: Mapping[str, str]) -> None:
    """See that our files can be written before anything is changed; make their folders."""
    _run(session, "prepare", *(path.rpartition("/")[0] for path in _edits(state, files)))


def _write(session: Session, state: Netfilter, files: Mapping[str, str]) -> None:
    """Write our files, and remove those of ours that are not among them."""
    for path, text in _edits(state, files).items():
        if text is None:
            session.remove(path)
        else:
            session.write(path, text.encode())


def _put_back(session: Session, claimed: Record, found: Record | None) -> None:
    """Have the claims `found` in place of `claimed`, those of a change that failed."""
    try:
        _restore_record(session, found)
    except TransportError:
        # gone with the change, and the lock with it: others may have come meanwhile
        with connect(session.endpoint) as fresh, fresh.lock(KIND, timeout=LOCK_IDLE + 30.0):
            if records.load(fresh, KIND, KEY) == claimed:
                _restore_record(fresh, found)


def _restore_record(session: Session, found: Record | None) -> None:
    if found is None:
        records.erase(session, KIND, KEY)
    else:
        records.save(session, found)


def _clean_up(inputs: BridgeNetfilterInputs) -> None:
    """Drop the claim on what is given back; another stack may have claimed it since the lock was freed."""
    with connect(inputs.endpoint) as session, session.lock(KIND):
        _, others = records.release(session, KIND, KEY, inputs.stack)
        if not others:
            records.erase(session, KIND, KEY)


def _outcome(inputs: BridgeNetfilterInputs, identity: str, found: Netfilter, why: str) -> LabError:
    """Have the host undo it, if its timer has not; return the error that says how it ended."""
    until = time.monotonic() + _UNDO_TIME
    remedy = (
        "look at the host's firewall (`nft list ruleset`): while bridge netfilter is on its rules hold "
        "for what passes from one port of a bridge to another too"
    )
    unproven, silence = f"not confirmed over a new connection: {why}", "nobody has seen it do so"
    while time.monotonic() < until:
        try:
            with connect(inputs.endpoint, timeout=_CONNECT_TIMEOUT) as session:
                _run(session, "settle", identity)
                if _have_values(_look(session), found):
                    undone = f"{unproven}\nthe host has undone it"
                    return BridgeNetfilterUndone(inputs.asked, undone, remedy)
                silence = "it has other values than before"
        except LabError as error:
            silence = error.seen
        time.sleep(_POLL)
    seen = f"{unproven}\nthe host was to undo it: {silence}"
    return LabError(inputs.asked, seen, f"{remedy}; starting the host again undoes it too")


def _have_values(state: Netfilter, found: Netfilter) -> bool:
    """Tell whether the kernel does as it did; without the module it does what 0 stands for."""
    return all(state.values.get(name, 0) == found.values.get(name, 0) for name in netfilter.VARIABLES)


def _sentence(values: Mapping[str, int], timeout: int) -> str:
    wanted = ", ".join(f"{name}={value}" for name, value in values.items())
    return f"{wanted} in the kernel; the host undoes it in {timeout} s unless a new connection confirms it"


def _shown(value: bool | None) -> str:
    return "not set" if value is None else on_off(value)
