"""Where a host is and which keys it must show."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

HOST_KEY_TYPES = (
    "ssh-ed25519",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-rsa",
)
_LENGTH_BYTES = 4
_FEWEST_PARTS = 2


def fingerprint(host_key: str) -> str:
    """Return the SHA256 fingerprint of "ssh-ed25519 AAAA...", as `ssh-keygen -lf` prints it."""
    digest = hashlib.sha256(base64.b64decode(host_key.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _host_key(text: str) -> str:
    """Check a public key line and return its type and base64 parts, without a comment."""
    kind, _, rest = text.strip().partition(" ")
    if kind not in HOST_KEY_TYPES or not rest.strip():
        raise ValueError(
            "expected a public host key such as 'ssh-ed25519 AAAA...' (no host name before it), "
            f"of a type among {', '.join(HOST_KEY_TYPES)}"
        )
    encoded = rest.split(maxsplit=1)[0]
    try:
        blob = base64.b64decode(encoded, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the key after {kind} is not base64; was it cut?") from error
    parts = _strings(blob)
    if len(parts) < _FEWEST_PARTS or parts[0] != kind.encode():
        raise ValueError(f"the key after {kind} is not a key of that type; was it cut?")
    return f"{kind} {encoded}"


def _strings(blob: bytes) -> list[bytes]:
    """Return the strings a key's blob consists of (RFC 4253, 6.6: first its type); none if it is cut."""
    parts: list[bytes] = []
    while blob:
        end = _LENGTH_BYTES + int.from_bytes(blob[:_LENGTH_BYTES], "big")
        if end > len(blob):
            return []
        parts.append(blob[_LENGTH_BYTES:end])
        blob = blob[end:]
    return parts


HostKey = Annotated[str, AfterValidator(_host_key)]
"""A public host key: type and base64 blob; a comment is dropped."""


def _not_empty(keys: tuple[str, ...]) -> tuple[str, ...]:
    if not keys:
        raise ValueError("at least one host key must be pinned: see `ssh-keyscan` and compare it on the host")
    return keys


class Endpoint(BaseModel):
    """An SSH server and the way to log in to it.

    JSON-like, so that it nests in inputs models and in Pulumi properties.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = Field(min_length=1)
    """Name for messages, e.g. "g1s1"."""
    address: str = Field(pattern=r"^[0-9A-Za-z:][0-9A-Za-z.:%_-]*$")
    """IP address or DNS name."""
    port: int = Field(default=22, ge=1, le=65535)
    user: str = Field(default="root", pattern=r"^[A-Za-z_][A-Za-z0-9._-]*$")
    """Another user than root runs every command through `sudo -n`."""
    identity_file: str | None = Field(default=None, min_length=1)
    """Private key without a passphrase; relative to the current directory; None: the SSH agent."""
    # not min_length, which would also complain about an only key that is malformed
    host_keys: Annotated[tuple[HostKey, ...], AfterValidator(_not_empty)] = Field(
        json_schema_extra={"minItems": 1}
    )
    """The pinned keys; the host must show one of them."""

    @property
    def place(self) -> str:
        """Name, user, address and port, for messages."""
        return f"{self.host} ({self.user}@{self.address} port {self.port})"
