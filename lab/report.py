"""What `make up` prints at its end: a table that fits 80 columns, and an ssh command for each machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

HEADINGS = ("host", "type", "bridge", "ports", "guests")
GAP = "  "
SSH_PORT = 22


@dataclass(frozen=True)
class Login:
    """One machine to log in to, a host or a guest.

    `identity_file` is None where the SSH agent holds the key; `host_keys` are known_hosts(5) key
    fields ("ssh-ed25519 AAAA…").
    """

    name: str
    address: str
    port: int
    user: str
    identity_file: str | None
    host_keys: tuple[str, ...]
    kind: str = "host"

    @property
    def known_as(self) -> str:
        """Return the machine's name in a known_hosts(5) file."""
        return self.address if self.port == SSH_PORT else f"[{self.address}]:{self.port}"

    def known_hosts(self, *aliases: str) -> str:
        """Return this machine's lines of a known_hosts(5) file, for its address and for `aliases`."""
        return "".join(f"{','.join((*aliases, self.known_as))} {key}\n" for key in self.host_keys)

    def command(self, known_hosts: str) -> str:
        """Return the ssh(1) command that logs in and trusts the file `known_hosts` only."""
        words = ["ssh"]
        if self.identity_file:
            # only this key: sshd hangs up on an agent that offers many
            words += ["-i", self.identity_file, "-o IdentitiesOnly=yes"]
        if self.port != SSH_PORT:
            words += ["-p", str(self.port)]
        words += [
            "-o StrictHostKeyChecking=yes",
            f"-o UserKnownHostsFile={known_hosts}",
            f"{self.user}@{self.address}",
        ]
        return " ".join(words)


@dataclass(frozen=True)
class HostRow:
    """One hypervisor as the table shows it; `ports` are the bridge's ports now, `guests` name and address.

    `domain_type` is "kvm", or "qemu" where the host's hardware does not help.
    """

    name: str
    domain_type: str
    bridge: str
    ports: tuple[str, ...]
    guests: tuple[str, ...]


def table(rows: Sequence[HostRow]) -> str:
    """Return the table of hosts; each further port or guest of a host has a line of its own."""
    cells = [HEADINGS]
    for row in rows:
        for line in range(max(1, len(row.ports), len(row.guests))):
            first = line == 0
            cells.append(
                (
                    row.name if first else "",
                    row.domain_type if first else "",
                    row.bridge if first else "",
                    _at(row.ports, line),
                    _at(row.guests, line),
                )
            )
    widths = [max(len(cell[column]) for cell in cells) for column in range(len(HEADINGS))]
    lines = [
        GAP.join(text.ljust(width) for text, width in zip(cell, widths, strict=True)).rstrip()
        for cell in cells
    ]
    return "\n".join(lines)


def logins(machines: Sequence[Login], known_hosts: str) -> str:
    """Return an ssh command a line, below the name of its machine's line."""
    return "\n".join(
        f"# {machine.kind} {machine.name}\n{machine.command(known_hosts)}" for machine in machines
    )


def _at(words: tuple[str, ...], index: int) -> str:
    return words[index] if index < len(words) else ""
