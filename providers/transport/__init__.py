"""How bytes get to a host: SSH with pinned host keys, argv lists, deadlines and atomic writes.

The only importer of paramiko. Nothing here knows what is done on a host, or why.
"""

from providers.transport.connecting import connect
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
