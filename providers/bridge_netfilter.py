"""kvm:BridgeNetfilter - whether packets that a host's bridges pass on go through its firewall, for good.

It may cut the host off, so the kernel comes first, then a look over a new connection, only then the files:
until that look the host undoes it by itself, and until the files are written its next start does.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import replace
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
from providers.transport import CommandFailed, Session, TransportError, connect

KIND = "netfilter"
KEY = "bridge"
_SCRIPT = Path(__file__).with_name("scripts") / "bridge-netfilter.sh"
_CONNECT_TIMEOUT = 5.0
_POLL = 0.25
_UNDO_TIME = 10.0
"""Seconds that the host may take to undo it once its timer has ended."""


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
    """The kernel has again what it had."""


class BridgeNetfilterProvider(HostProvider[BridgeNetfilterInputs]):
    """Sets it in the kernel and for the next starts, and gives back what was found."""

    inputs_model: ClassVar[type[HostInputs]] = BridgeNetfilterInputs

    def create_thing(self, inputs: BridgeNetfilterInputs) -> tuple[str, dict[str, Any]]:
        """Switch it on or off, or adopt it as it is; claim it."""
        with connect(inputs.endpoint) as session, session.lock(KIND):
            found = records.load(session, KIND, KEY)
            _refuse_other_claims(inputs, found)
            state = _look(session)
            files = netfilter.wanted_files(state, enabled=inputs.enabled)
            _refuse_overriding(inputs, state, files)
            adopted = state.live is inputs.enabled and not files
            facts: dict[str, JsonValue] = {"values": dict(state.values)}
            record = found or Record(kind=KIND, key=KEY, adopted=adopted, facts=facts)
            # first: what was found must be known whatever becomes of this client
            records.save(session, record.claimed(inputs.stack, {"enabled": inputs.enabled}))
            try:
                values = dict.fromkeys(netfilter.VARIABLES, int(inputs.enabled))
                self._change(session, inputs, state, values, files)
            except BridgeNetfilterUndone:
                with contextlib.suppress(TransportError):
                    _put_back(session, found)
                raise
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
        with connect(inputs.endpoint) as session, session.lock(KIND):
            record, others = records.release(session, KIND, KEY, inputs.stack)
            if record is None or others:
                return
            self._change(session, inputs, _look(session), _values_found(record), {})
            records.erase(session, KIND, KEY)

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
            self._change_kernel(session, inputs, values, files)
        else:
            _write(session, state, files)

    def _change_kernel(
        self,
        session: Session,
        inputs: BridgeNetfilterInputs,
        values: Mapping[str, int],
        files: Mapping[str, str],
    ) -> None:
        identity = secrets.token_hex(8)
        pairs = [f"{name}={value}" for name, value in values.items()]
        _run(session, "set", identity, str(inputs.rollback_timeout), *pairs)
        until = time.monotonic() + inputs.rollback_timeout
        seen = "no time was left"
        while time.monotonic() < until:
            try:
                with connect(inputs.endpoint, timeout=_CONNECT_TIMEOUT) as fresh:
                    _run(fresh, "confirm", identity, *pairs)
                    _write(fresh, _look(fresh), files)
                    return
            except CommandFailed as error:
                seen = error.seen
                break
            except TransportError as error:
                seen = error.seen
            time.sleep(_POLL)
        raise _outcome(inputs, values, seen)


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
    """A module that was never loaded is not loaded to switch it off again."""
    return dict(state.values) != dict(values) and bool(state.values or files)


def _run(session: Session, *arguments: str) -> str:
    script = _SCRIPT.read_text(encoding="utf-8")
    return session.run(["sh", "-c", script, _SCRIPT.name, *arguments]).stdout


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


def _write(session: Session, state: Netfilter, files: Mapping[str, str]) -> None:
    """Write our files, and remove those of ours that are not among them."""
    there = {**state.sysctl_files, **state.modules_files}
    for path in (netfilter.SYSCTL_FILE, netfilter.MODULES_FILE):
        if path not in files:
            session.remove(path)
        elif there.get(path) != files[path]:
            session.run(["install", "-d", "-m", "0755", path.rpartition("/")[0]])
            session.write(path, files[path].encode())


def _put_back(session: Session, record: Record | None) -> None:
    """Have the claims as they were before a change that failed."""
    if record is None:
        records.erase(session, KIND, KEY)
    else:
        records.save(session, record)


def _outcome(inputs: BridgeNetfilterInputs, values: Mapping[str, int], why: str) -> LabError:
    """Wait for the host's own undoing; return the error that says how it ended."""
    until = time.monotonic() + _UNDO_TIME
    remedy = "look at the host's firewall (`nft list ruleset`): it was to see what the bridges pass on"
    unproven, silence = f"not confirmed over a new connection: {why}", "nobody has seen it do so"
    while time.monotonic() < until:
        try:
            with connect(inputs.endpoint, timeout=_CONNECT_TIMEOUT) as session:
                if dict(_look(session).values) != dict(values):
                    undone = f"{unproven}\nthe host has undone it"
                    return BridgeNetfilterUndone(inputs.asked, undone, remedy)
        except LabError as error:
            silence = error.seen
        time.sleep(_POLL)
    seen = f"{unproven}\nthe host was to undo it: {silence}"
    return LabError(inputs.asked, seen, f"{remedy}; starting the host again undoes it too")


def _sentence(values: Mapping[str, int], timeout: int) -> str:
    wanted = ", ".join(f"{name}={value}" for name, value in values.items())
    return f"{wanted} in the kernel; the host undoes it in {timeout} s unless a new connection confirms it"


def _shown(value: bool | None) -> str:
    return "not set" if value is None else on_off(value)
