"""What the fault suite asks of a machine; `testbed.Machine` has it all."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol


class Host(Protocol):
    """A machine whose network is changed and whose power can be cut. It logs in as root on port 22."""

    @property
    def name(self) -> str:
        """Its host name."""

    @property
    def address(self) -> str:
        """Its IPv4 address, on the card that becomes the bridge's port."""

    @property
    def identity_file(self) -> str:
        """The private key that logs in."""

    @property
    def host_keys(self) -> tuple[str, ...]:
        """Its pinned host keys, "ssh-ed25519 AAAA..." each."""

    @property
    def console(self) -> Path:
        """The file with what was written to its /dev/console: it speaks where the network is down."""

    def ssh(
        self,
        argv: Sequence[str],
        *,
        stdin: str | None = None,
        check: bool = True,
        timeout: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; LabError when `check` is set and its status is not 0."""

    def kill(self) -> None:
        """Cut the power."""

    def boot(self) -> None:
        """Switch it on again; `wait` waits until it answers."""

    def wait(self, timeout: float = ...) -> None:
        """Wait until its SSH server lets us in."""
