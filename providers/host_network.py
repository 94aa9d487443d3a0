"""Looking at a host's network, and changing it so that the host either takes the change or undoes it.

The change is made by scripts/network-transaction.sh on the host. This side sends it, looks at the result over
a new connection, and confirms; whatever happens to this side, the host undoes what was not confirmed.
"""

from __future__ import annotations

import contextlib
import io
import secrets
import shlex
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from providers.errors import LabError
from providers.state import bridge_proof, network
from providers.state.bridge import Plan
from providers.state.bridge_proof import Goal
from providers.state.interfaces import SourcePattern, Tree, decode, encode, read_tree
from providers.state.network import HostNetwork, Pending
from providers.transport import CommandFailed, ConnectError, Endpoint, Session, TransportError, connect

FOLDER = "/var/lib/kvm-lab/network"
_SCRIPTS = Path(__file__).with_name("scripts")
_FACTS_TIMEOUT = 45.0
_STEP_TIMEOUT = 90.0
_CONNECT_TIMEOUT = 5.0
_POLL = 0.25
_ROLLBACK_ALLOWANCE = 45.0
"""How long after its deadline a host may take until its old configuration is seen again."""
_ANOTHER_PENDING = 3
_LOG_LINES = 8

Say = Callable[[str], None]


class NetworkChangeError(LabError):
    """A change of a host's network was not made, or was undone."""


class ChangeUnderWay(NetworkChangeError):  # noqa: N818 - the name says what happened
    """An earlier change of the host's network is neither confirmed nor undone."""


@dataclass(frozen=True)
class Request:
    """A change of one host's network.

    Args:
        asked: for messages: "g1s1: put eth0 into the bridge br0".
        stack: who asks.
        before: the host as it was looked at.
        tree: its interfaces(5) files then.
        plan: what to do; not of kind "none".
        goal: what must be seen afterwards.
        timeout: seconds until the host undoes it unless confirmed.
        record_path: where the claims on the bridge are kept.
        record: the claims once the change is confirmed; None: no file any more.
    """

    asked: str
    stack: str
    before: HostNetwork
    tree: Tree
    plan: Plan
    goal: Goal
    timeout: int
    record_path: str
    record: bytes | None
    id: str = field(default_factory=lambda: secrets.token_hex(8))


def observe(
    session: Session, bridge_name: str, port: str, extra_ports: Sequence[str] = (), *, probe: bool = False
) -> HostNetwork:
    """Return the host's network now, in one round trip.

    Args:
        session: an open session.
        bridge_name: the bridge in question.
        port: its port.
        extra_ports: further ports in question.
        probe: also ask gateways and libvirt whether they answer.
    """
    script = (_SCRIPTS / "network-facts.sh").read_text(encoding="utf-8")
    arguments = [bridge_name, port, *(["probe"] if probe else [])]
    result = session.run(["sh", "-c", script, "network-facts", *arguments], timeout=_FACTS_TIMEOUT)
    return network.parse_network(result.stdout, bridge_name, port, extra_ports)


def read_files(session: Session, seen: HostNetwork) -> tuple[HostNetwork, dict[str, str]]:
    """Return the host's interfaces(5) files, mostly from what `observe` has brought already.

    Returns:
        `seen` with the real paths of all these files, and the files.

    Raises:
        InterfacesError: a source line that is not understood.
        NetworkChangeError: one file is included under two names.
    """

    real_paths = dict(seen.real_paths)

    def read(path: str) -> str | None:
        data = seen.files.get(path)
        if data is None and not _brought(path):
            data = session.read(path)
            real_paths[path] = session.run(["readlink", "-m", path]).stdout.rstrip("\n")
        return None if data is None else decode(data)

    def expand(pattern: SourcePattern) -> Sequence[str]:
        if _brought(pattern.glob):
            return sorted(path for path in seen.files if pattern.accepts(path))
        # unquoted on purpose: the pattern has no shell syntax but a glob's
        script = f'for path in {pattern.files_glob}; do [ ! -f "$path" ] || printf "%s\\n" "$path"; done'
        return session.run(["sh", "-c", script]).stdout.splitlines()

    tree = read_tree(read, expand)
    _refuse_two_names(real_paths, tree)
    return replace(seen, real_paths=real_paths), tree


def _refuse_two_names(real_paths: Mapping[str, str], tree: Tree) -> None:
    """Refuse a tree in which two paths are one file: a change of one would be lost with the other."""
    known: dict[str, str] = {}
    for path in tree:
        real = real_paths.get(path, path)
        if known.setdefault(real, path) != path:
            raise NetworkChangeError(
                "read the host's interfaces(5) files",
                f"{known[real]} and {path} are the same file, {real}",
                "let interfaces(5) include it under one name only",
            )


def _brought(path: str) -> bool:
    """Tell whether `observe` brings everything that matches: below /etc/network, plainly written."""
    plain = not any(part in {"", ".", ".."} for part in path.split("/")[1:])
    return plain and path.startswith("/etc/network/") and not path.startswith("/etc/network/if-")


def wait_for_place(session: Session, say: Say) -> None:
    """Return when no change of the host's network is under way; what only has to be ended is ended.

    The caller holds the lock under which changes are made: one that is found has lost its client. The host
    ends it by itself, and that is waited for.

    Raises:
        NetworkChangeError: it does not; names the stack and since when.
    """
    host = session.endpoint.host
    pending = _pending(session)
    if pending is None:
        return
    left = max(pending.left, 0)
    if pending.unrestored:
        session.run(["sh", f"{FOLDER}/transaction/transaction.sh", "abandon", pending.id], check=False)
    say(f"stack {pending.stack} was interrupted; the host undoes its change in {left} s")
    until = time.monotonic() + left + _ROLLBACK_ALLOWANCE
    while (pending := _pending(session)) is not None:
        if pending.unrestored or time.monotonic() > until:
            raise refused_place(host, pending)
        time.sleep(1)


def refused_place(host: str, pending: Pending) -> ChangeUnderWay:
    """Return the error that says whose change is in the way."""
    ends = f"undoes it in {pending.left} s" if pending.left > 0 else "is undoing it"
    if pending.unrestored:
        return ChangeUnderWay(
            f"{host}: change the host's network",
            "\n".join(
                [f"an earlier change by stack {pending.stack} cannot be undone", *_last_lines(pending)]
            ),
            "make place on the host's disk, or whatever is named; then run again: the host tries it again",
        )
    return ChangeUnderWay(
        f"{host}: change the host's network",
        f"a change by stack {pending.stack}, begun {pending.since}, is not confirmed yet "
        f"(phase {pending.phase}); unless it is, the host {ends}",
        "wait for it and run again",
    )


def under_way(session: Session) -> Pending | None:
    """Return the change that nobody has confirmed or undone yet; only looks."""
    folder = f"{FOLDER}/transaction"
    command = f"[ ! -e {folder}/settings ] || sh {folder}/transaction.sh status"
    text = session.run(["sh", "-c", command], timeout=_STEP_TIMEOUT).stdout
    pending = network.parse_status(text) if text else None
    return pending if pending is not None and pending.is_in_the_way else None


def _pending(session: Session) -> Pending | None:
    """Return the change that is under way; one that its client left unfinished is ended."""
    folder = f"{FOLDER}/transaction"
    command = f"[ ! -e {folder}/settings ] || sh {folder}/transaction.sh settle"
    settled = session.run(["sh", "-c", command], check=False, timeout=_STEP_TIMEOUT)
    if settled.exit_status == _ANOTHER_PENDING:
        return network.parse_status(settled.stdout)
    if settled.exit_status != 0:
        raise NetworkChangeError(
            f"{session.endpoint.host}: end an earlier change of the host's network",
            settled.stderr,
            f"look at {folder} on the host, mend what is named and run again",
        )
    return None


def change(session: Session, request: Request, say: Say) -> HostNetwork:
    """Make the change; return the host's network as it was proved over a new connection.

    Args:
        session: an open session; it need not survive.
        request: what to do.
        say: told about each step.

    Raises:
        NetworkChangeError: nothing was changed, or the host has undone it; says which.
    """
    for sentence in request.plan.sentences:
        say(sentence)
    host = session.endpoint.host
    with _nothing_touched(request.asked):
        _stage(session, request, host)
        deadline = time.monotonic() + request.timeout
        _arm(session, request)
    say(f"the host undoes the change in {request.timeout} s unless it is confirmed")
    prover = _Prover(session.endpoint, request, deadline, say)
    try:
        _step(session, "apply", request)
    except CommandFailed as error:
        prover.problems = [error.seen]
        _abandon(session, request)
    except TransportError:
        # whether it came through is seen over the new connection
        say("the connection was lost while the change began")
    return prover.prove()


@contextlib.contextmanager
def _nothing_touched(asked: str) -> Iterator[None]:
    try:
        yield
    except TransportError as error:
        raise NetworkChangeError(
            asked,
            f"{error.seen}\nthe host's configuration was not touched",
            error.remedy,
        ) from error


def _arm(session: Session, request: Request) -> None:
    """Arm timer and boot-time unit; a host that cannot has nothing staged afterwards either."""
    try:
        _step(session, "arm", request)
    except CommandFailed:
        _step(session, "discard", request)
        raise


def _abandon(session: Session, request: Request) -> None:
    """Let the host roll back now; where it cannot be told to, its timer does."""
    with contextlib.suppress(TransportError):
        _step(session, "abandon", request)


def _step(session: Session, name: str, request: Request) -> str:
    script = f"{FOLDER}/transaction/transaction.sh"
    return session.run(["sh", script, name, request.id], timeout=_STEP_TIMEOUT).stdout


def _stage(session: Session, request: Request, host: str) -> None:
    incoming = f"{FOLDER}/incoming-{request.id}"
    command = (
        f"umask 077 && mkdir -p {incoming} && tar -x -C {incoming} && sh {incoming}/transaction.sh stage"
    )
    staged = session.run(["sh", "-c", command], stdin=_bundle(request), check=False, timeout=_STEP_TIMEOUT)
    if staged.exit_status == _ANOTHER_PENDING:
        raise refused_place(host, network.parse_status(staged.stdout))
    if staged.exit_status != 0:
        session.run(["rm", "-rf", incoming], check=False)
        raise NetworkChangeError(
            request.asked,
            f"staging the change failed; the host's configuration was not touched\n{staged.stderr}",
            "mend what is named and run again",
        )
    mistakes = bridge_proof.staged_mistakes(_step(session, "check", request), request.before, request.goal)
    if mistakes:
        _step(session, "discard", request)
        raise NetworkChangeError(
            request.asked,
            "ifquery(8) does not find in the new files what is wanted; the host's configuration was "
            "not touched\n" + "\n".join(mistakes),
            "look for lines in the host's interfaces(5) files that act on several interfaces "
            "(mapping, template, inherits), or on these options",
        )


def _bundle(request: Request) -> bytes:
    """Return the transaction's folder as a tar archive; the script's head describes it."""
    plan, before = request.plan, request.before
    content: dict[str, bytes] = {
        "transaction.sh": (_SCRIPTS / "network-transaction.sh").read_bytes(),
        "bridge-loop.sh": (_SCRIPTS / "bridge-loop.sh").read_bytes(),
        "settings": _settings(request).encode(),
        "live": _lines(plan.live),
        "undo": _lines(plan.undo),
    }
    if request.record is not None:
        content["record"] = request.record
    manifest = []
    for number, (path, text) in enumerate(plan.files.items()):
        manifest.append(f"{number} {before.real_paths.get(path, path)}")
        content[f"old/{number}"] = encode(request.tree[path])
        content[f"new/{number}"] = encode(text)
    content["manifest"] = _lines(manifest)
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        for folder in ("old", "new"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o700, int(time.time())
            tar.addfile(entry)
        for name, data in content.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            tar.addfile(entry, io.BytesIO(data))
    return archive.getvalue()


def _lines(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _settings(request: Request) -> str:
    plan = request.plan
    values: Mapping[str, str] = {
        "id": request.id,
        "stack": request.stack,
        "kind": plan.kind,
        "bridge": request.before.bridge,
        "hardware": plan.hw_address,
        "leaving": plan.leaving,
        "timeout": str(request.timeout),
        "down": " ".join(plan.down),
        "up": " ".join(plan.up),
        "names": " ".join(plan.names),
        "joining": " ".join(plan.joining),
        "uplink": plan.uplink,
        "record": request.record_path,
    }
    return "".join(f"{name}={shlex.quote(value)}\n" for name, value in values.items())


@dataclass
class _Prover:
    """Looks over new connections whether the change holds, until the host's deadline."""

    endpoint: Endpoint
    request: Request
    deadline: float
    """By this side's monotonic clock; a little before the host's own."""
    say: Say
    problems: list[str] = field(default_factory=list)
    """What was missing at the last look."""
    applied: bool = False
    """Seen applied: only a connection opened from now on proves anything."""
    last: Pending | None = None

    def prove(self) -> HostNetwork:
        """Return the network once it is confirmed.

        Raises:
            NetworkChangeError: the host has undone the change, or was not seen again.
        """
        after = None
        while time.monotonic() < self.deadline:
            try:
                fresh = self.applied
                with connect(self.endpoint, timeout=_CONNECT_TIMEOUT) as session:
                    after = self._look(session, fresh=fresh) or after
                    if self.last and self.last.verdict in {"rolling-back", "rolled-back"}:
                        break
                    if self.last and self.last.verdict == "confirmed":
                        return after or self._observe(session)
            except ConnectError as error:
                self.problems = [f"no new connection: {error.seen}"]
            except TransportError as error:
                self.problems = [f"the new connection broke: {error.seen}"]
            except LabError as error:
                # what the host says is not understood: it may be next time
                self.problems = [error.seen]
            time.sleep(_POLL)
        return self._await_rollback(after)

    def _look(self, session: Session, *, fresh: bool) -> HostNetwork | None:
        """Ask where the change stands; prove and confirm it over a connection opened after it was applied."""
        self.last = _status(session, self.request.id)
        if self.last is None:
            self.problems = ["the host knows nothing of the change"]
            return None
        if self.last.verdict != "pending":
            return None
        if self.last.phase != "applied":
            self.problems = [f"the change stays in phase {self.last.phase}"]
            return None
        self.applied = True
        if not fresh:
            return None
        after = self._observe(session)
        self.problems = bridge_proof.unproven(self.request.before, after, self.request.goal)
        if self.problems:
            return None
        confirmed = session.run(
            ["sh", f"{FOLDER}/transaction/transaction.sh", "confirm", self.request.id],
            check=False,
            timeout=_STEP_TIMEOUT,
        )
        if confirmed.exit_status == 0:
            for note in self.last.notes:
                self.say(note)
            self.last = replace(self.last, verdict="confirmed")
        else:
            self.problems = [confirmed.stderr.strip()]
        return after

    def _observe(self, session: Session) -> HostNetwork:
        before = self.request.before
        return observe(session, before.bridge, before.port, before.extra_ports, probe=True)

    def _await_rollback(self, after: HostNetwork | None) -> HostNetwork:
        """Wait until the host says how it ended; a confirmation may still have won."""
        self.say("not confirmed: waiting for the host to go back to its old configuration")
        until = max(self.deadline, time.monotonic()) + _ROLLBACK_ALLOWANCE
        silence = "it has not said so yet"
        while time.monotonic() < until:
            try:
                with connect(self.endpoint, timeout=_CONNECT_TIMEOUT) as session:
                    self.last = _status(session, self.request.id)
                    if self.last and self.last.verdict == "confirmed":
                        return after or self._observe(session)
            except LabError as error:
                silence = error.seen
            else:
                self._raise_if_over()
            time.sleep(_POLL)
        raise NetworkChangeError(
            self.request.asked,
            "\n".join([*self.problems, f"the host was to undo the change by itself: {silence}"]),
            f"look at the host's console: `sh {FOLDER}/transaction/transaction.sh status`; starting the host "
            "again restores its old files too",
        )

    def _raise_if_over(self) -> None:
        last = self.last
        if last and last.verdict == "rolled-back":
            raise self._undone(last, "the host is back on its old configuration", f"{FOLDER}/last")
        if last and last.unrestored:
            unit = "and tries again when it starts, or when this is run again"
            raise self._undone(
                last,
                f"the host could not put back every interfaces(5) file, {unit}",
                f"{FOLDER}/transaction",
            )

    def _undone(self, last: Pending, outcome: str, folder: str) -> NetworkChangeError:
        seen = [
            last.reason,
            f"last phase: {last.phase}",
            *self.problems,
            *_last_lines(last),
            outcome,
        ]
        return NetworkChangeError(
            self.request.asked,
            "\n".join(line for line in seen if line),
            f"mend what is named and run again; the whole story is in {folder} on the host",
        )


def _last_lines(pending: Pending) -> tuple[str, ...]:
    return pending.log[-_LOG_LINES:]


def _status(session: Session, change_id: str) -> Pending | None:
    """Return where this change stands; None when the host does not know it."""
    command = (
        f"for folder in {FOLDER}/transaction {FOLDER}/last; do "
        'sh "$folder/transaction.sh" status "$1" 2>/dev/null && break; done'
    )
    text = session.run(["sh", "-c", command, "status", change_id], check=False).stdout
    status = network.parse_status(text) if text else None
    return status if status is not None and status.id == change_id else None


def forget(session: Session) -> None:
    """Remove what finished changes have left on the host; a pending one stays."""
    script = (_SCRIPTS / "network-forget.sh").read_text(encoding="utf-8")
    session.run(["sh", "-c", script, "network-forget", FOLDER], check=False)
