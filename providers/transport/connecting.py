"""Open an SSH session: TCP, pinned host key, login, all within one deadline."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import paramiko

from providers.transport.endpoint import HOST_KEY_TYPES, Endpoint, fingerprint
from providers.transport.errors import AuthError, ConnectError, HostKeyMismatch, TransportError
from providers.transport.handshake import exchange_keys
from providers.transport.identity import load_identity
from providers.transport.session import Session

SESSIONS_PER_HOST = 6
"""Below sshd's MaxStartups (10), from which on it drops connections at random."""
TURN_TIMEOUT = 1800.0
KEEPALIVE = 15
DEAD_PEER_MS = 120_000

# paramiko reports through exceptions; its tracebacks do not belong on the user's terminal
logging.getLogger("paramiko").addHandler(logging.NullHandler())


def log_in(endpoint: Endpoint, *, timeout: float, lasting: bool) -> Session:
    """Do what `connect` says."""
    turn = _turns.take(endpoint)
    try:
        transport = _login(endpoint, time.monotonic() + timeout)
    except BaseException:
        turn()
        raise
    if lasting:
        turn()
    return Session(endpoint, transport, on_close=turn)


class _Turns:
    """At most SESSIONS_PER_HOST sessions at once with one address and port.

    A thread that already has one gets further ones at once: if it had to wait while it holds a turn,
    threads could wait for each other for ever.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._holders: dict[tuple[str, int], list[int]] = {}

    def take(self, endpoint: Endpoint) -> _Turn:
        key, me = (endpoint.address, endpoint.port), threading.get_ident()
        with self._changed:
            holders = self._holders.setdefault(key, [])
            free = self._changed.wait_for(
                lambda: me in holders or len(set(holders)) < SESSIONS_PER_HOST, TURN_TIMEOUT
            )
            if not free:
                raise ConnectError(
                    f"{endpoint.place}: open an SSH session",
                    f"{SESSIONS_PER_HOST} operations have used this host for {TURN_TIMEOUT:.0f} s",
                    "look which operation hangs above, stop it and run the command again",
                )
            holders.append(me)
        return _Turn(self._changed, holders, me)


class _Turn:
    """Give the turn back when called; further calls do nothing."""

    def __init__(self, changed: threading.Condition, holders: list[int], holder: int) -> None:
        self._changed = changed
        self._holders = holders
        self._holder: int | None = holder

    def __call__(self) -> None:
        with self._changed:
            if self._holder is not None:
                self._holders.remove(self._holder)
                self._holder = None
                self._changed.notify_all()


_turns = _Turns()


def _login(endpoint: Endpoint, deadline: float) -> paramiko.Transport:
    # before the network is used: a mistake in the key file needs no host to be seen
    with _login_keys(endpoint) as keys:
        transport = _handshake(endpoint, deadline)
        try:
            _authenticate(transport, endpoint, keys, deadline)
        except BaseException:
            transport.close()
            raise
    transport.set_keepalive(KEEPALIVE)
    return transport


def _handshake(endpoint: Endpoint, deadline: float) -> paramiko.Transport:
    """Return a transport whose host key is one of the pinned ones."""
    pinned = [key.split()[0] for key in endpoint.host_keys]
    asked = f"{endpoint.place}: open an SSH session"
    try:
        transport, seen = exchange_keys(_dial(endpoint, deadline), pinned, deadline)
    except paramiko.ssh_exception.IncompatiblePeer as error:
        _refuse_other_types(endpoint, deadline)
        raise ConnectError(asked, str(error), "allow a modern cipher and key exchange on the host") from error
    except (paramiko.SSHException, EOFError, OSError) as error:
        raise ConnectError(
            asked,
            f"the SSH handshake failed: {error or type(error).__name__}",
            "look whether sshd runs there (`systemctl status ssh`) and whether the port is right",
        ) from error
    if seen not in endpoint.host_keys:
        transport.close()
        raise _mismatch(endpoint, seen)
    return transport


def _refuse_other_types(endpoint: Endpoint, deadline: float) -> None:
    """Raise HostKeyMismatch if the host has host keys, but of none of the pinned types."""
    try:
        transport, seen = exchange_keys(_dial(endpoint, deadline), HOST_KEY_TYPES, deadline)
    except (TransportError, paramiko.SSHException, EOFError, OSError):
        return
    transport.close()
    if seen.split()[0] not in {key.split()[0] for key in endpoint.host_keys}:
        raise _mismatch(endpoint, seen)


def _mismatch(endpoint: Endpoint, seen: str) -> HostKeyMismatch:
    expected = " or ".join(f"{key.split()[0]} {fingerprint(key)}" for key in endpoint.host_keys)
    return HostKeyMismatch(
        f"{endpoint.place}: open an SSH session with the pinned host key {expected}",
        f"the host shows {seen.split(maxsplit=1)[0]} {fingerprint(seen)}",
        "another machine answers at this address, or the host was reinstalled. Compare with "
        "`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the host's own console; only when that "
        "is the key seen, pin it in the stack file (host_keys) or in the known_hosts file named there",
    )


def _dial(endpoint: Endpoint, deadline: float) -> socket.socket:
    try:
        addresses = socket.getaddrinfo(endpoint.address, endpoint.port, type=socket.SOCK_STREAM)
        sock = _first_that_answers(addresses, deadline)
    except OSError as error:
        raise ConnectError(
            f"{endpoint.place}: open a TCP connection",
            str(error) or type(error).__name__,
            "look whether the machine is up and reachable from here, and whether address and port "
            "in the stack file are right",
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # a peer that vanished is noticed by the unanswered keepalives, not after the kernel's 15 minutes
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, DEAD_PEER_MS)
    return sock


_AddressInfo = tuple[
    socket.AddressFamily,
    socket.SocketKind,
    int,
    str,
    tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes],
]


def _first_that_answers(addresses: Sequence[_AddressInfo], deadline: float) -> socket.socket:
    """Connect to the first address that answers; the tries share the time that is left."""
    failure: OSError = TimeoutError("timed out")
    for tries_left, (family, kind, protocol, _, address) in zip(
        range(len(addresses), 0, -1), addresses, strict=True
    ):
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(max((deadline - time.monotonic()) / tries_left, 0.1))
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure


@contextlib.contextmanager
def _login_keys(endpoint: Endpoint) -> Iterator[Sequence[paramiko.PKey]]:
    """Give the private keys to try: the identity file's one, or those of the SSH agent."""
    if endpoint.identity_file is not None:
        yield [load_identity(endpoint, Path(endpoint.identity_file).expanduser())]
        return
    asked = f"{endpoint.place}: log in with a key of the SSH agent (no identity_file is given)"
    remedy = "start one and load a key (`eval $(ssh-agent); ssh-add`), or name an identity_file"
    if not os.environ.get("SSH_AUTH_SOCK"):
        raise AuthError(asked, "no SSH agent: SSH_AUTH_SOCK is not set", remedy)
    try:
        agent = paramiko.Agent()
        keys = agent.get_keys()
    except (paramiko.SSHException, OSError) as error:
        raise AuthError(asked, f"the agent does not answer: {error}", remedy) from error
    try:
        if not keys:
            raise AuthError(asked, "there is no agent at SSH_AUTH_SOCK, or it holds no key", remedy)
        yield keys
    finally:
        agent.close()


def _authenticate(
    transport: paramiko.Transport, endpoint: Endpoint, keys: Sequence[paramiko.PKey], deadline: float
) -> None:
    tried: list[str] = []
    reason = ""
    for key in keys:
        transport.auth_timeout = max(deadline - time.monotonic(), 0.1)
        tried.append(f"{key.get_name()} {key.fingerprint}")
        try:
            further = transport.auth_publickey(endpoint.user, key)
        except paramiko.BadAuthenticationType as error:
            reason = f"the host takes {', '.join(error.allowed_types)} only"
        except paramiko.AuthenticationException as error:
            reason = str(error)
        except (paramiko.SSHException, EOFError, OSError) as error:
            reason = f"the host ended the connection: {error or type(error).__name__}"
        else:
            if not further:
                return
            reason = f"the host asks for {', '.join(further)} besides a key"
        if not transport.is_active():
            break
    raise AuthError(
        f"{endpoint.place}: log in as {endpoint.user}",
        f"refused for {', '.join(tried)}: {reason}",
        f"add the public key to {endpoint.user}'s ~/.ssh/authorized_keys on the host "
        f"(`ssh-copy-id -p {endpoint.port} {endpoint.user}@{endpoint.address}`), or name another "
        "identity_file; for root, sshd's PermitRootLogin must not be `no`",
    )
