"""kvm:SshHostKey - the SSH host key of a guest, made before the guest exists. Touches no host.

The guest gets the private half by its seed, so its key is known, and pinned, from the first connection.
"""

from __future__ import annotations

from typing import Any

import pulumi
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from pulumi.dynamic import CreateResult, DiffResult, Resource, ResourceProvider

SECRETS = ["private_key"]


class SshHostKeyProvider(ResourceProvider):
    """Makes a key once and keeps it; `pulumi up --target-replace` makes another."""

    def create(self, props: dict[str, Any]) -> CreateResult:  # noqa: ARG002 - Pulumi's signature
        """Make an ed25519 pair. The id is the public key."""
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        return CreateResult(id_=public, outs={"private_key": private, "public_key": public})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        """A key has no inputs that could differ."""
        return DiffResult(changes=False)


class SshHostKey(Resource, module="kvm", name="SshHostKey"):
    """An ed25519 host key.

    Attributes:
        private_key: OpenSSH's PEM form; a secret, encrypted in the state.
        public_key: "ssh-ed25519 AAAA…".
    """

    private_key: pulumi.Output[str]
    public_key: pulumi.Output[str]

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secret = pulumi.ResourceOptions(additional_secret_outputs=SECRETS)
        super().__init__(
            SshHostKeyProvider(),
            name,
            {"private_key": None, "public_key": None},
            pulumi.ResourceOptions.merge(opts, secret),
        )
