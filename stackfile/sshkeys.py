"""SSH public keys as sshd(8) writes them, and known_hosts files. Pure: bytes in, keys out.

A key is kept as "type base64", without host name, options or comment. No message repeats what may be a
private key.
"""

from __future__ import annotations

import base64
import fnmatch
import hashlib
import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass

SSH_PORT = 22
RSA_LEAST_BITS = 2048
ED25519_BYTES = 32
CURVE_POINT_BYTES = {"nistp256": 65, "nistp384": 97, "nistp521": 133}  # uncompressed points, RFC 5656
HOST_KEY_TYPES = ("ssh-ed25519", *(f"ecdsa-sha2-{curve}" for curve in CURVE_POINT_BYTES), "ssh-rsa")
HARDWARE_KEY_TYPES = ("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
LOGIN_KEY_TYPES = (*HOST_KEY_TYPES, *HARDWARE_KEY_TYPES)
STAND_IN = f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 43}"
"""What stands for keys in a file that is not here: a key that nobody has, all of it zero."""


def public_key(line: str, types: tuple[str, ...]) -> str:
    """Return "type base64" of the key in `line`, which may end in a comment.

    Raises:
        ValueError: it is no key of one of `types`; the text completes "expected …".
    """
    if "PRIVATE KEY" in line:
        raise ValueError("a public key, not a private one")
    expected = f'a public key, "type base64 comment", of type {", ".join(types)}'
    words = line.split()
    if "\n" in line.strip() or len(words) < 2 or words[0] not in types:  # noqa: PLR2004 - type and key
        raise ValueError(expected)
    kind, encoded = words[:2]
    try:
        parts = list(_strings(base64.b64decode(encoded, validate=True)))
    except (ValueError, struct.error):
        raise ValueError(f"{expected}; the base64 part is damaged or cut short") from None
    if not parts or parts[0] != kind.encode():
        raise ValueError(f"{expected}; the base64 part holds a key of another type")
    _judge_parts(kind, parts[1:])
    return f"{kind} {encoded}"


def public_keys(content: str, types: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys of a file with one public key a line, as ssh-keygen and authorized_keys have them."""
    lines = [line.strip() for line in content.splitlines()]
    found = tuple(public_key(line, types) for line in lines if line and not line.startswith("#"))
    if not found:
        raise ValueError("a file with at least one public key")
    return found


@dataclass(frozen=True)
class KnownHost:
    """One line of a known_hosts file: marker ("", "@revoked", "@cert-authority"), host patterns, key."""

    marker: str
    patterns: str
    key: str

    def names(self, candidate: str) -> bool:
        """Tell whether the line is about `candidate` ("g1s1", "[198.51.100.11]:2222")."""
        if self.patterns.startswith("|1|"):
            return _hashed_matches(self.patterns, candidate)
        verdict = False
        for pattern in self.patterns.lower().split(","):
            if fnmatch.fnmatchcase(candidate, _without_classes(pattern.removeprefix("!"))):
                if pattern.startswith("!"):
                    return False
                verdict = True
        return verdict


def parse_known_hosts(content: str) -> tuple[KnownHost, ...]:
    """Parse a known_hosts file, sshd(8) "SSH_KNOWN_HOSTS FILE FORMAT".

    Raises:
        ValueError: a line that is none, with its number.
    """
    found = []
    for number, line in enumerate(content.splitlines(), start=1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        marker = words.pop(0) if words[0].startswith("@") else ""
        if len(words) < 3 or marker not in ("", "@revoked", "@cert-authority"):  # noqa: PLR2004 - hosts, type, key
            raise ValueError(f'a known_hosts file; its line {number} is not "host-names key-type base64-key"')
        if words[1] in HOST_KEY_TYPES:  # others, such as DSA, are of no use here and do no harm
            try:
                found.append(KnownHost(marker, words[0], public_key(" ".join(words[1:3]), HOST_KEY_TYPES)))
            except ValueError as error:
                raise ValueError(f"a known_hosts file; in its line {number} {error}") from None
    return tuple(found)


def known_as(host: str, port: int) -> str:
    """Return how known_hosts files call the SSH server of `host` at `port`."""
    return host if port == SSH_PORT else f"[{host}]:{port}"


def pinned_keys(entries: tuple[KnownHost, ...], address: str, port: int, name: str) -> tuple[str, ...]:
    """Return the keys to expect from the SSH server at `address` and `port`: never a revoked one.

    Lines for the address come first; lines for the host's `name` count when there are none.
    Certificate authorities are left out: keys are pinned, not signed.
    """
    revoked = {entry.key for entry in entries if entry.marker == "@revoked"}
    for host in (address.lower(), name):
        candidate = known_as(host, port)
        keys = [entry.key for entry in entries if not entry.marker and entry.names(candidate)]
        usable = tuple(dict.fromkeys(key for key in keys if key not in revoked))
        if usable:
            return usable
    return ()


def _strings(blob: bytes) -> Iterator[bytes]:
    """Yield the length-prefixed strings of an SSH wire format (RFC 4251, section 5)."""
    while blob:
        (length,) = struct.unpack(">I", blob[:4])
        if len(blob) < 4 + length:
            raise struct.error
        yield blob[4 : 4 + length]
        blob = blob[4 + length :]


def _judge_parts(kind: str, parts: list[bytes]) -> None:
    """Raise ValueError unless `parts`, the strings after the type's name, have a key's number and sizes."""
    sizes = [len(part) for part in parts]
    bare = kind.removeprefix("sk-").removesuffix("@openssh.com")
    if bare != kind:
        sizes = sizes[:-1]  # the application's name
    if kind == "ssh-rsa":
        sound = len(parts) == 2 and int.from_bytes(parts[1], "big").bit_length() >= RSA_LEAST_BITS  # noqa: PLR2004
        expected = f"an RSA key of at least {RSA_LEAST_BITS} bits"
    elif bare == "ssh-ed25519":
        sound, expected = sizes == [ED25519_BYTES], "an Ed25519 key of 32 bytes"
    else:
        curve = bare.removeprefix("ecdsa-sha2-")
        sound = sizes == [len(curve), CURVE_POINT_BYTES[curve]] and parts[0] == curve.encode()
        expected = f"a point of the curve {curve}"
    if not sound:
        raise ValueError(f"{expected}; the key is damaged, cut short or too weak")


def _hashed_matches(patterns: str, candidate: str) -> bool:
    """Compare with a name hashed as "|1|salt|HMAC-SHA1" (ssh_config(5) HashKnownHosts)."""
    try:
        _, _, salt, digest = patterns.split("|")
        seen = hmac.new(base64.b64decode(salt), candidate.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(seen, base64.b64decode(digest))
    except ValueError:
        return False


def _without_classes(pattern: str) -> str:
    """Escape what fnmatch knows and ssh does not: only * and ? are wild in known_hosts."""
    return pattern.replace("[", "[[]")
