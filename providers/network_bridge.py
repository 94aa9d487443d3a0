"""kvm:NetworkBridge - one bridge of a host on one of its ports, in interfaces(5) files and in the kernel.

The port's addresses move to the bridge. Every change is a transaction that the host undoes by itself unless
it is confirmed over a new connection: see host_network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import pulumi
from pulumi.dynamic import DiffResult
from pydantic import Field, JsonValue, ValidationError, field_validator, model_validator

from providers import host_network, records
from providers.base import HostInputs, HostProvider, HostResource
from providers.errors import LabError
from providers.host_network import NetworkChangeError, Request
from providers.state import bridge, bridge_proof, bridge_refusals, interfaces
from providers.state.bridge import Plan
from providers.state.bridge_proof import Goal
from providers.state.bridge_refusals import Refusal
from providers.state.interfaces import BridgeSpec, Change, InterfacesError, Tree
from providers.state.network import HostNetwork, bare_address, without_bridge, without_port
from providers.state.outlook import Outlook, file_changes
from providers.state.record import Record
from providers.transport import LOCK_IDLE, Session, TransportError, connect

KIND = "bridge"
OPTIONS = ("port", "extra_ports", "stp", "forward_delay", "max_wait", "dns_search", "ipv6_auto")
"""The inputs on which all stacks that claim a bridge must agree."""
STP_DELAYS = range(2, 31)
"""Forward delays that the kernel takes with STP on, in seconds."""
LONGEST_ROLLBACK = 600
"""Seconds that a host may be told to wait for a confirmation."""
_PROOF_TIME = 10
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}")
_DOMAIN = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


class NetworkBridgeInputs(HostInputs):
    """A bridge; see bridge-utils-interfaces(5) for its options."""

    name: str
    port: str
    extra_ports: tuple[str, ...] = ()
    """Further ports, which have no addresses."""
    stp: bool = False
    forward_delay: int = Field(default=0, ge=0, le=30)
    """Seconds a new port waits before it passes traffic."""
    max_wait: int = Field(default=0, ge=0, le=600)
    """Seconds ifup waits for the ports."""
    dns_search: tuple[str, ...] = ()
    ipv6_auto: bool = True
    """Whether the bridge takes IPv6 addresses from router advertisements."""
    rollback_timeout: int = Field(default=60, ge=15, le=LONGEST_ROLLBACK)
    """Seconds until the host undoes a change that was not confirmed."""
    migration: bool = False
    """Whether guests may move to and from this host while they run: what the migration policy asks for."""

    @field_validator("name", "port")
    @classmethod
    def _interface_name(cls, value: str) -> str:
        if not _NAME.fullmatch(value):
            raise ValueError("expected an interface's name: 1 to 15 letters, digits, '.', '_' or '-'")
        return value

    @field_validator("extra_ports")
    @classmethod
    def _interface_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(cls._interface_name, value))

    @field_validator("dns_search")
    @classmethod
    def _domains(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for domain in value:
            if not _DOMAIN.fullmatch(domain):
                raise ValueError(f"expected a domain name, not {domain!r}")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name == self.port:
            raise ValueError(f"a bridge cannot be its own port: {self.name}")
        if vlans := [name for name in self.extra_ports if "." in name]:
            raise ValueError(f"extra_ports: bridge-utils deletes VLANs with the bridge: {', '.join(vlans)}")
        if self.stp and self.forward_delay not in STP_DELAYS:
            raise ValueError(
                f"with STP the kernel takes forward delays of 2 to 30 s only, not {self.forward_delay}"
            )
        # a new port listens and learns, a forward delay each, before its traffic can prove anything
        if self.stp and self.rollback_timeout < 2 * self.forward_delay + _PROOF_TIME:
            blocked = 2 * self.forward_delay
            raise ValueError(
                f"with STP and a forward delay of {self.forward_delay} s nothing passes for {blocked} s: "
                f"rollback_timeout must be at least {blocked + _PROOF_TIME} s"
            )
        return self

    @property
    def asked(self) -> str:
        """What errors say was asked for."""
        return f"{self.endpoint.host}: put {self.port} into the bridge {self.name}"

    @property
    def options(self) -> dict[str, JsonValue]:
        """What this stack claims."""
        return self.model_dump(mode="json", include=set(OPTIONS))

    def spec(self, former_ports: tuple[str, ...] = ()) -> BridgeSpec:
        """Return the bridge as interfaces(5) shall have it."""
        return BridgeSpec(**self.options, name=self.name, former_ports=former_ports)


class BridgeRefused(LabError):  # noqa: N818 - the name says what happened
    """The change was not tried; all the reasons at once."""

    def __init__(self, asked: str, seen: str, remedy: str, reasons: Sequence[Refusal] = ()) -> None:
        super().__init__(asked, seen, remedy)
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class _Host:
    """A host as it was looked at, with what the files say."""

    network: HostNetwork
    tree: Tree
    record: Record | None


@dataclass
class _Work:
    """A session that holds the host's lock on bridges, and how far its work has come."""

    session: Session
    confirmed: bool = False
    """Made, proved and confirmed: from now on nothing can turn it into an error."""


class NetworkBridgeProvider(HostProvider[NetworkBridgeInputs]):
    """Puts a port into a bridge, and takes it out again."""

    inputs_model: ClassVar[type[HostInputs]] = NetworkBridgeInputs
    replace_on: ClassVar[frozenset[str]] = frozenset({"name", "port"})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """See HostProvider; the port is compared with the one claimed, not with what a refresh saw."""
        result = super().diff(_id, _olds, _news)
        claimed = _olds.get("claimed_port") or _olds.get("port")
        replaces = {name for name in result.replaces or [] if name != "port"}
        result.replaces = sorted(replaces | ({"port"} if claimed != _news.get("port") else set()))
        return result

    def create_thing(self, inputs: NetworkBridgeInputs) -> tuple[str, dict[str, Any]]:
        """Make the bridge, or adopt the one that is there; claim it."""
        return f"{inputs.endpoint.host}/{inputs.name}", self._converge(inputs)

    def update_thing(self, olds: NetworkBridgeInputs, news: NetworkBridgeInputs) -> dict[str, Any]:
        """Make files and kernel as asked, from whatever they are now; a renamed stack keeps its claim."""
        if olds.stack != news.stack:
            _rename_claim(olds.stack, news)
        return self._converge(news)

    def read_thing(self, inputs: NetworkBridgeInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Return the options as files and kernel have them; both, where they disagree."""
        with connect(inputs.endpoint) as session:
            record = records.load(session, KIND, inputs.name)
            if record is None or inputs.stack not in record.claims:
                return None
            claimed = _claimed(inputs, record)
            host = _look(session, claimed)
        found = interfaces.seen(host.tree, claimed.spec())
        link = host.network.links.get(inputs.name)
        if found is None and link is None:
            return None
        return {
            **_drift(host.network, claimed, found),
            **_outputs(claimed, host.network, record),
            "sentences": outs.get("sentences", []),
        }

    def delete_thing(self, inputs: NetworkBridgeInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Drop the claim; after the last one the port has its stanzas again, what was adopted its options."""
        say = self._sayer(inputs)
        with _working(inputs, say) as work:
            record, others = records.release(work.session, KIND, inputs.name, inputs.stack)
            if others:
                say(f"{inputs.name} stays: {', '.join(others)} claims it too")
                return
            if record is not None and inputs.stack in record.claims:
                self._undo(work, _claimed(inputs, record), record, say)
        _clean_up(inputs)

    def _converge(self, inputs: NetworkBridgeInputs) -> dict[str, Any]:
        say = self._sayer(inputs)
        with _working(inputs, say) as work:
            session = work.session
            host = _look(session, inputs, probe=True)
            _refuse_other_claims(inputs, host.record)
            plan, goal, record = _plan(inputs, host)
            if plan.kind == "none":
                say(f"{inputs.name} is as asked already")
                if record != host.record:
                    records.save(session, record)
                after = host.network
            else:
                after = host_network.change(session, _request(inputs, host, plan, goal, record=record), say)
                work.confirmed = True
        return {**_outputs(inputs, after, record), "sentences": list(plan.sentences)}

    def _undo(
        self, work: _Work, inputs: NetworkBridgeInputs, record: Record, say: Callable[[str], None]
    ) -> None:
        original = _original(record)
        if original is None:
            return
        host = _look(work.session, inputs, probe=True)
        plan, goal = _plan_back(inputs, host, original)
        if plan.kind != "none":
            host_network.change(work.session, _request(inputs, host, plan, goal, record=None), say)
            work.confirmed = True

    def _sayer(self, inputs: NetworkBridgeInputs) -> Callable[[str], None]:
        return lambda text: self.progress(inputs, text)


class NetworkBridge(HostResource, module="kvm", name="NetworkBridge"):
    """A bridge of a host, declared; see NetworkBridgeInputs.

    Further outputs: `claimed_port` (`port` may be what a refresh saw), `hw_address`, `addresses`, `adopted`,
    `ports`, `kernel` (`stp` and `forward_delay` in seconds, as last read), `sentences` (the last change in
    words).
    """

    claimed_port: pulumi.Output[str]
    hw_address: pulumi.Output[str]
    addresses: pulumi.Output[list[str]]
    adopted: pulumi.Output[bool]
    ports: pulumi.Output[list[str]]
    kernel: pulumi.Output[dict[str, Any]]
    sentences: pulumi.Output[list[str]]

    def __init__(
        self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(
            NetworkBridgeProvider(),
            name,
            props,
            outputs=("claimed_port", "hw_address", "addresses", "adopted", "ports", "kernel", "sentences"),
            opts=opts,
        )


@contextmanager
def _working(inputs: NetworkBridgeInputs, say: Callable[[str], None]) -> Iterator[_Work]:
    """Hold the host's lock on bridges, once no earlier change is under way any more.

    The lock comes first: of two stacks at once the second waits, and a change that is found under the lock
    has no client any more.
    """
    work: _Work | None = None
    try:
        with connect(inputs.endpoint) as session, session.lock(KIND, timeout=_lock_timeout(inputs)):
            host_network.wait_for_place(session, say)
            work = _Work(session)
            yield work
    except TransportError:
        # the lock may go with the old connection, after the change was confirmed over a new one
        if work is None or not work.confirmed:
            raise


def _clean_up(inputs: NetworkBridgeInputs) -> None:
    """Forget the bridge, unless another stack has claimed it since the lock went with the old connection."""
    with connect(inputs.endpoint) as session, session.lock(KIND, timeout=_lock_timeout(inputs)):
        _, others = records.release(session, KIND, inputs.name, inputs.stack)
        if not others:
            host_network.forget(session)
            records.erase(session, KIND, inputs.name)


def _lock_timeout(inputs: NetworkBridgeInputs) -> float:
    """Another client may be at its own change; one that vanished holds the lock for a while yet."""
    return inputs.rollback_timeout + 60.0 + LOCK_IDLE


def _look(session: Session, inputs: NetworkBridgeInputs, *, probe: bool = False) -> _Host:
    record = records.load(session, KIND, inputs.name)
    claimed = _claimed(inputs, record).extra_ports if record else ()
    extra_ports = tuple(dict.fromkeys((*inputs.extra_ports, *claimed)))
    network = host_network.observe(session, inputs.name, inputs.port, extra_ports, probe=probe)
    network, tree = host_network.read_files(session, network)
    return _Host(network, tree, record)


def _claimed(inputs: NetworkBridgeInputs, record: Record) -> NetworkBridgeInputs:
    """Return the inputs as they were claimed: those of the state may be what a refresh has seen.

    Raises:
        LabError: the claim is none that this version understands.
    """
    claim = record.claims.get(inputs.stack)
    options = claim if isinstance(claim, dict) else {}
    kept = {name: value for name, value in inputs if name not in options}
    # what is asked for now may fit a shorter timeout than what was claimed
    longest = {"rollback_timeout": LONGEST_ROLLBACK}
    try:
        claimed = NetworkBridgeInputs.model_validate({**kept, **options, **longest})
    except ValidationError as error:
        raise records.odd(inputs.endpoint.host, KIND, record.key, error) from error
    return claimed.model_copy(update={"rollback_timeout": inputs.rollback_timeout})


def _rename_claim(stack: str, inputs: NetworkBridgeInputs) -> None:
    with connect(inputs.endpoint) as session, session.lock(KIND, timeout=_lock_timeout(inputs)):
        record = records.load(session, KIND, inputs.name)
        if record is not None and stack in record.claims:
            records.save(session, record.renamed(stack, inputs.stack))


def _refuse_other_claims(inputs: NetworkBridgeInputs, record: Record | None) -> None:
    if record is None:
        return
    differences = []
    for stack, claim in record.claims.items():
        if stack == inputs.stack or not isinstance(claim, dict):
            continue
        claimed = {"extra_ports": [], **claim}  # some records are from before there was this option
        differences += [
            f"{option}: {claimed.get(option)!r} for stack {stack}, {wanted!r} asked here"
            for option, wanted in inputs.options.items()
            if claimed.get(option) != wanted
        ]
    if differences:
        shared = f"the bridge {inputs.name} of this host is shared, and other stacks want it otherwise"
        remedy = "agree on the options, or give this stack's bridge another name and port"
        raise _refused(inputs.asked, [Refusal("\n".join([shared, *differences]), remedy)])


def _plan(inputs: NetworkBridgeInputs, host: _Host) -> tuple[Plan, Goal, Record]:
    """Return what to do, what must be seen then, and the claims then.

    Raises:
        BridgeRefused: with every reason against it.
    """
    spec = inputs.spec(_former_ports(inputs, host.record))
    reasons = bridge_refusals.refusals(host.network, spec)
    found, change = None, Change({})
    try:
        found = interfaces.seen(host.tree, spec)
        if found is None and inputs.port in host.network.links:
            hw_address = host.network.links[inputs.port].hw_address
            spec = spec.model_copy(update={"hw_address": hw_address})
        change = interfaces.take_over(host.tree, spec, _original(host.record))
    except InterfacesError as error:
        reasons += _reasons(error)
    if reasons:
        raise _refused(inputs.asked, reasons)
    plan = bridge.plan(host.network, spec, host.tree, change, found, found_up=_found_up(host.record))
    reasons = bridge_refusals.loss_refusals(host.network, plan, host.tree, change)
    if reasons:
        raise _refused(inputs.asked, reasons)
    return plan, bridge_proof.goal_of(host.network, spec, change), _record(inputs, host, found, change)


def _plan_back(
    inputs: NetworkBridgeInputs, host: _Host, original: Mapping[str, JsonValue]
) -> tuple[Plan, Goal]:
    """Return what makes port and bridge as they were before the first claim.

    Raises:
        BridgeRefused: with every reason against it.
    """
    network, tree = host.network, host.tree
    # a further port may be gone: it must not be in the way
    reasons = bridge_refusals.refusals(network, inputs.spec().model_copy(update={"extra_ports": ()}))
    if reasons:
        raise _refused(_asked_back(inputs), reasons)
    change = interfaces.give_back(tree, original)
    after = {**tree, **change.files}
    left = interfaces.seen(after, inputs.spec())
    found_up = _found_up(host.record)
    if left is None:
        reasons = bridge_refusals.removal_refusals(network, after)
        plan = bridge.plan_give_back(network, tree, change, found_up=found_up)
        goal = bridge_proof.goal_of_give_back(network, after)
    else:
        former = tuple(name for name in inputs.extra_ports if name not in left.extra_ports)
        left = left.model_copy(update={"former_ports": former})
        plan = bridge.plan_release(
            network, left, tree, change, interfaces.seen(tree, left), found_up=found_up
        )
        goal = bridge_proof.goal_of_release(network, left, tree, change)
        reasons = bridge_refusals.loop_refusals(network, left)
        reasons += bridge_refusals.carrier_refusals(network, former)
    if plan.kind != "none":
        reasons += bridge_refusals.loss_refusals(network, plan, tree, change)
    if reasons:
        raise _refused(_asked_back(inputs), reasons)
    return plan, goal


def _refused(asked: str, reasons: list[Refusal]) -> BridgeRefused:
    seen = "\n".join(dict.fromkeys(reason.seen for reason in reasons))
    remedies = "\n".join(dict.fromkeys(reason.remedy for reason in reasons))
    return BridgeRefused(asked, f"{seen}\nnothing was changed", remedies, reasons)


def outlook(session: Session, inputs: NetworkBridgeInputs, packages: Collection[str] = ()) -> Outlook:
    """Return what these inputs would change on the host as it is now; only looks, and holds no lock.

    Args:
        session: an open session.
        inputs: the bridge asked for.
        packages: Debian packages that the host will have by then.

    Raises:
        ChangeUnderWay: what is seen now will not last.
        TransportError: the host could not be read.
    """
    pending = host_network.under_way(session)
    if pending is not None:
        raise host_network.refused_place(session.endpoint.host, pending)
    try:
        found = _look(session, inputs)
        host, sentences = _without_former(session, inputs, found)
        host = replace(host, network=bridge_refusals.with_packages(host.network, packages))
        _refuse_other_claims(inputs, host.record)
        plan, _, _ = _plan(inputs, host)
    except (BridgeRefused, InterfacesError, NetworkChangeError) as error:
        return Outlook(refusals=_reasons(error))
    if plan.kind == "none" and inputs.stack not in (found.record.claims if found.record else {}):
        sentences.append(f"{inputs.name} is as asked already, and is adopted as it is")
    return Outlook(
        kind="activate" if host.network.links != found.network.links else plan.kind,
        files=file_changes(found.tree, {**host.tree, **plan.files}),
        sentences=(*sentences, *plan.sentences),
    )


def _without_former(session: Session, inputs: NetworkBridgeInputs, host: _Host) -> tuple[_Host, list[str]]:
    """Return the host as it will be without the bridge that this stack has on it so far, and a word on it.

    A bridge of another name or on another port is another resource: the engine deletes the former one first.
    """
    for key in records.keys(session, KIND):
        record = records.load(session, KIND, key)
        claim = record.claims.get(inputs.stack) if record else None
        if record is None or not isinstance(claim, dict):
            continue
        former = _claimed(inputs.model_copy(update={"name": key}), record)
        if (former.name, former.port) != (inputs.name, inputs.port):
            return _given_back(former, host, record)
    return host, []


def _given_back(former: NetworkBridgeInputs, host: _Host, record: Record) -> tuple[_Host, list[str]]:
    rest, original = record.released(former.stack), _original(record)
    kept = rest if former.name == host.network.bridge else host.record
    if rest is not None:
        claimants = ", ".join(rest.claims)
        return replace(host, record=kept), [f"{former.name} stays: {claimants} claims it too"]
    if original is None:
        return replace(host, record=kept), [f"{former.name} stays as it was found"]
    change = interfaces.give_back(host.tree, original)
    tree = {**host.tree, **change.files}
    left = interfaces.seen(tree, former.spec())
    if left is not None:
        network = host.network if left.port == former.port else _port_out(host.network, former, change)
        return _Host(network, tree, kept), [f"{former.name} is given back as it was found"]
    own_ports = former.spec().ports
    guests = [name for name in host.network.members(former.name) if name not in own_ports]
    sentences = [f"{former.name} is taken away first: {former.port} has its own addresses again"]
    if guests:
        sentences.append(f"{', '.join(guests)} must be off {former.name} by then")
    network = without_bridge(host.network, former.name, former.port)
    return _Host(network, tree, kept), sentences


def _port_out(network: HostNetwork, former: NetworkBridgeInputs, change: Change) -> HostNetwork:
    moved, automatic = change.moved, {"dhcp", "auto"}
    leases = any(automatic & set(family.split()) for family in moved.families)
    return without_port(network, former.name, former.port, (*moved.addresses, *moved.gateways), leases=leases)


def _reasons(error: LabError) -> tuple[Refusal, ...]:
    if isinstance(error, BridgeRefused):
        return error.reasons
    if isinstance(error, InterfacesError):
        return tuple(Refusal(str(problem), error.remedy) for problem in error.problems)
    return (Refusal(error.seen, error.remedy),)


def _original(record: Record | None) -> dict[str, JsonValue] | None:
    original = record.facts.get("original") if record else None
    return original if isinstance(original, dict) and original else None


def _former_ports(inputs: NetworkBridgeInputs, record: Record | None) -> tuple[str, ...]:
    """Return the further ports that this stack has claimed and asks for no more, but those found there."""
    if record is None or inputs.stack not in record.claims:
        return ()
    original = _original(record)
    found = interfaces.ports_before(original) if original else ()
    kept = {*inputs.extra_ports, *found}
    return tuple(name for name in _claimed(inputs, record).extra_ports if name not in kept)


def _found_up(record: Record | None) -> frozenset[str]:
    """Return the further ports that were up before they were the bridge's."""
    names = record.facts.get("found_up") if record else None
    return frozenset(map(str, names)) if isinstance(names, list) else frozenset()


def _record(inputs: NetworkBridgeInputs, host: _Host, found: BridgeSpec | None, change: Change) -> Record:
    """Return the claims with this stack's; what was there before the first of them is kept for its return."""
    record = host.record
    if record is None:
        record = Record(kind=KIND, key=inputs.name, adopted=found is not None)
    # without stanzas of the bridge an earlier original has been given back by hand
    if change.original and (found is None or "original" not in record.facts):
        record = record.with_facts(original=change.original)
    links = host.network.links
    # one that is claimed was found as is noted already, whatever it is now
    claims = (claim.get("extra_ports") for claim in record.claims.values() if isinstance(claim, dict))
    known = {name for names in claims if isinstance(names, list) for name in names}
    new = {n for n in inputs.extra_ports if n not in known and links[n].master != inputs.name}
    if new:
        names: list[JsonValue] = [*sorted((_found_up(record) - new) | {n for n in new if links[n].up})]
        record = record.with_facts(found_up=names)
    return record.claimed(inputs.stack, inputs.options)


def _request(
    inputs: NetworkBridgeInputs, host: _Host, plan: Plan, goal: Goal, *, record: Record | None
) -> Request:
    asked = inputs.asked if record else _asked_back(inputs)
    return Request(
        asked=asked,
        stack=inputs.stack,
        before=host.network,
        tree=host.tree,
        plan=plan,
        goal=goal,
        timeout=inputs.rollback_timeout,
        record_path=records.path_of(KIND, inputs.name),
        record=None if record is None else (record.model_dump_json(indent=2) + "\n").encode(),
    )


def _asked_back(inputs: NetworkBridgeInputs) -> str:
    return f"{inputs.endpoint.host}: undo the bridge {inputs.name} on {inputs.port}"


def _outputs(inputs: NetworkBridgeInputs, network: HostNetwork, record: Record) -> dict[str, Any]:
    link = network.links.get(network.bridge)
    return {
        "claimed_port": inputs.port,
        "hw_address": link.hw_address if link else "",
        "addresses": [address.text for address in network.on(network.bridge)],
        "adopted": record.adopted,
        "ports": [
            name for name in (network.port, *inputs.extra_ports) if name in network.members(network.bridge)
        ],
        "kernel": {"stp": link.stp, "forward_delay": link.forward_delay} if link else {},
    }


def _drift(network: HostNetwork, inputs: NetworkBridgeInputs, found: BridgeSpec | None) -> dict[str, Any]:
    """Return the options as seen. Where files and kernel disagree the value says both, and so differs."""
    link = network.links.get(inputs.name)
    port = network.links.get(inputs.port)
    enslaved = port is not None and port.master == inputs.name
    in_files = found.model_dump(mode="json", include=set(OPTIONS)) if found else {}
    members = network.members(inputs.name)
    in_kernel = {
        "port": inputs.port if enslaved else None,
        "extra_ports": [n for n in inputs.extra_ports if n in members and network.links[n].up],
        "stp": link.stp if link else None,
        "forward_delay": link.forward_delay if link else None,
    }
    seen = {option: in_files.get(option, "not in the files") for option in OPTIONS}
    for option, kernel in in_kernel.items():
        if kernel != in_files.get(option):
            seen[option] = f"files: {bridge.shown(in_files.get(option))}, kernel: {bridge.shown(kernel)}"
    if in_files.get("port") == in_kernel["port"] != inputs.port:
        seen["port"] = f"files and kernel: {in_kernel['port']}"
    lost = _lost(network)
    if lost and seen["port"] == inputs.port:
        seen["port"] = f"{inputs.port}, but the kernel's {inputs.name} is without {', '.join(lost)}"
    return seen


def _lost(network: HostNetwork) -> list[str]:
    """Return the addresses and gateways that the files give the bridge and the kernel has not."""
    held = {address.bare for address in network.on(network.bridge)}
    lost = [text for text in network.in_files[network.bridge].addresses if bare_address(text) not in held]
    return lost + [f"gateway {text}" for text in network.lost_gateways]
