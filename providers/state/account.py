"""The texts that let an account log in and become root. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

# at the top of the file: what follows is byte for byte what was there
BEGIN = b"# kvm-lab: the keys of the stack file; edits here are lost\n"
END = b"# kvm-lab: end\n"


@dataclass(frozen=True)
class Seen:
    """An account as the host shows it."""

    uid: int | None
    """None: there is no such account."""
    groups: tuple[str, ...]
    keys: bytes | None
    """Its authorized_keys; None: there is none."""
    has_ssh_folder: bool
    sudoers: str | None
    """Our file of rules for it; None: there is none."""
    keys_file: str
    """"file", "none", or what stands in its place."""


def parse(text: str) -> Seen:
    """Parse what `student-account.sh look` prints.

    Raises:
        ValueError: that is not what it prints.
    """
    facts = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    try:
        return Seen(
            uid=int(facts["uid"]) if "uid" in facts else None,
            groups=tuple(facts.get("groups", "").split()),
            keys=base64.b64decode(facts["keys"], validate=True) if "keys" in facts else None,
            has_ssh_folder=facts.get("ssh-folder") == "yes",
            sudoers=base64.b64decode(facts["sudoers"]).decode() if "sudoers" in facts else None,
            keys_file=facts.get("keys-file", "none"),
        )
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError(f"not what was asked for: {text[:200]!r}") from error


def with_keys(text: bytes, keys: Iterable[str]) -> bytes:
    """Return authorized_keys with our block of these keys, and none of another time."""
    lines = b"".join(f"{key}\n".encode() for key in keys)
    return BEGIN + lines + END + without_keys(text)


def without_keys(text: bytes) -> bytes:
    """Return authorized_keys as it is without our block; one without its end is not ours to judge."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    return before + after if begin and end else text


def our_keys(text: bytes) -> tuple[str, ...]:
    """Return the keys in our block."""
    _, begin, rest = text.partition(BEGIN)
    block, end, _ = rest.partition(END)
    return tuple(block.decode(errors="replace").splitlines()) if begin and end else ()


def sudoers(user: str) -> str:
    """Return the rule by which `user` becomes root without a password."""
    return f"{user} ALL=(ALL:ALL) NOPASSWD: ALL\n"


def sudoers_file(user: str) -> str:
    """Return the path of our rule for `user`."""
    return f"/etc/sudoers.d/kvm-lab-{user}"
