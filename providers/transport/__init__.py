"""How bytes get to a host: SSH with pinned host keys, argv lists, deadlines and atomic writes.

The only importer of paramiko. Nothing here knows what is done on a host, or why.
"""

from __future__ import annotations

from providers.transport.endpoint import Endpoint, HostKey, fingerprint
from providers.transport.errors import (
    AuthError,
    CommandFailed,
    CommandTimedOut,
    ConnectError,
    HostKeyMismatch,
    LockTimedOut,
    TransportError,
)
from providers.transport.session import LOCK_IDLE, Result, Session, Stream

__all__ = [
    "LOCK_IDLE",
    "AuthError",
    "CommandFailed",
    "CommandTimedOut",
    "ConnectError",
    "Endpoint",
    "HostKey",
    "HostKeyMismatch",
    "LockTimedOut",
    "Result",
    "Session",
    "Stream",
    "TransportError",
    "connect",
    "fingerprint",
]


def connect(endpoint: Endpoint, *, timeout: float = 15.0, lasting: bool = False) -> Session:
    """Log in to `endpoint` and return the session.

    Waits for a turn when this process already has SESSIONS_PER_HOST sessions with the host.

    Args:
        endpoint: the host, its pinned keys and the login.
        timeout: seconds for TCP, key exchange and login together.
        lasting: it lasts for minutes, mostly idle: once logged in (sshd counts no further) it takes up no
            turn. The caller limits how many there are.

    Raises:
        ConnectError: no answer, or no SSH server there.
        HostKeyMismatch: the host's key is not a pinned one.
        AuthError: no usable key on this side, or the host refused the login.
    """
    # paramiko takes a third of what a run needs to load, and the program itself and previews contact no host
    from providers.transport.connecting import log_in  # noqa: PLC0415

    return log_in(endpoint, timeout=timeout, lasting=lasting)
