"""The SSH key exchange: which host key does the server prove to own?"""

from __future__ import annotations

import base64
import socket
import time
from collections.abc import Sequence

import paramiko

from providers.transport.endpoint import HOST_KEY_TYPES


def exchange_keys(
    sock: socket.socket | paramiko.Channel, key_types: Sequence[str], deadline: float
) -> tuple[paramiko.Transport, str]:
    """Do the SSH key exchange over `sock` and return the transport and the server's host key.

    Args:
        sock: a connected socket or a direct-tcpip channel; closed when the exchange fails.
        key_types: the types of host key to accept, as in known_hosts.
        deadline: on time.monotonic()'s clock.

    Raises:
        paramiko.SSHException: the server speaks no SSH, or not in time; IncompatiblePeer when it has
            no key of these types.
    """
    remaining = max(deadline - time.monotonic(), 0.1)
    try:
        transport = paramiko.Transport(sock)
        transport.banner_timeout = transport.handshake_timeout = remaining
        transport.get_security_options().key_types = _algorithms(key_types)
        transport.start_client(timeout=remaining)
        key = transport.get_remote_server_key()
    except BaseException:
        sock.close()
        raise
    return transport, f"{key.get_name()} {base64.b64encode(key.asbytes()).decode()}"


def _algorithms(key_types: Sequence[str]) -> tuple[str, ...]:
    """Return the signature algorithms for keys of these types; an RSA key signs with SHA-2 only."""
    ordered = [kind for kind in HOST_KEY_TYPES if kind in key_types and kind != "ssh-rsa"]
    return tuple(ordered) + (("rsa-sha2-512", "rsa-sha2-256") if "ssh-rsa" in key_types else ())
