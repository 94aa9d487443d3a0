"""Read a private key file for the login."""

from __future__ import annotations

import io
from pathlib import Path

import paramiko
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)

from providers.transport.endpoint import Endpoint
from providers.transport.errors import AuthError

_OPENSSH_FORM = b"-----BEGIN OPENSSH PRIVATE KEY-----"


def load_identity(endpoint: Endpoint, path: Path) -> paramiko.PKey:
    """Return the private key in `path`, with the certificate beside it (`<path>-cert.pub`) if there is one.

    Raises:
        AuthError: no such file, not a private key, or one protected by a passphrase.
    """
    asked = f"{endpoint.place}: log in with the private key {path}"
    try:
        return load_key(path)
    except FileNotFoundError as error:
        raise AuthError(
            asked, "no such file", "correct identity_file, or leave it out to use the SSH agent"
        ) from error
    except OSError as error:
        raise AuthError(asked, error.strerror or "unreadable", "make the file readable for you") from error
    except TypeError as error:
        raise AuthError(
            asked,
            "the key is protected by a passphrase, which cannot be asked for here",
            f"load it into the SSH agent (`ssh-add {path}`) and leave identity_file out",
        ) from error
    except (paramiko.SSHException, ValueError) as error:
        # the library's own text is left out: it could quote the file
        raise AuthError(
            asked,
            f"not a private key that can be used ({type(error).__name__})",
            "name the private key, not its .pub; make a new one with `ssh-keygen -t ed25519`",
        ) from error


def load_key(path: Path) -> paramiko.PKey:
    """Read the key with `cryptography` and hand it over in a form that paramiko always understands.

    paramiko itself fails on some files in OpenSSH's form, depending on their padding:
    https://github.com/paramiko/paramiko/issues/2445
    """
    data = path.read_bytes()
    load = load_ssh_private_key if data.lstrip().startswith(_OPENSSH_FORM) else load_pem_private_key
    loaded = load(data, password=None)
    kind: type[paramiko.Ed25519Key | paramiko.ECDSAKey | paramiko.RSAKey]
    if isinstance(loaded, Ed25519PrivateKey):
        kind, form = paramiko.Ed25519Key, PrivateFormat.OpenSSH
    elif isinstance(loaded, EllipticCurvePrivateKey):
        kind, form = paramiko.ECDSAKey, PrivateFormat.TraditionalOpenSSL
    elif isinstance(loaded, RSAPrivateKey):
        kind, form = paramiko.RSAKey, PrivateFormat.TraditionalOpenSSL
    else:
        raise paramiko.SSHException("a type of key that SSH does not use here")
    text = loaded.private_bytes(Encoding.PEM, form, NoEncryption()).decode()
    key = kind.from_private_key(io.StringIO(text))
    certificate = path.with_name(f"{path.name}-cert.pub")
    if certificate.exists():
        key.load_certificate(str(certificate))
    return key
