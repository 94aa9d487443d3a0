"""What can go wrong between this machine and a host."""

# ruff: noqa: N818 - the names say what happened

from __future__ import annotations

from providers.errors import LabError


class TransportError(LabError):
    """The way to the host failed; what the host did meanwhile may be unknown."""


class ConnectError(TransportError):
    """No SSH connection could be opened."""


class HostKeyMismatch(ConnectError):
    """The host showed a key other than the pinned ones."""


class AuthError(ConnectError):
    """The host did not let this user in, or not as root."""


class CommandFailed(TransportError):
    """A command ended with an exit status other than 0.

    Args:
        asked: see LabError.
        seen: see LabError.
        remedy: see LabError.
        exit_status: the command's exit status, -1 when a signal ended it.
    """

    def __init__(self, asked: str, seen: str, remedy: str, exit_status: int = -1) -> None:
        super().__init__(asked, seen, remedy)
        self.exit_status = exit_status


class CommandTimedOut(TransportError):
    """A command did not end within its deadline."""


class LockTimedOut(TransportError):
    """Another client held a host's lock until the deadline."""
