"""A stack's state without its secrets, so that a preview may be made where no secret may be; pure."""

from __future__ import annotations

import base64
import binascii
import json
import pickletools
import re
from collections.abc import Mapping
from typing import Any

from review import redact
from review.hidden import SIGNATURE, SIGNATURE_OF_SECRET

PLACEHOLDER = "[stripped]"
"""What stands in a secret's place; a plain text: the engine imports no marked secret without a passphrase."""
_ENCRYPTION = re.compile(r"secrets?_?providers?", re.IGNORECASE)
_KNOWN = re.compile(
    rf"{redact.NAMES}|_private$|user_?data|pass_?(wd|word|phrase)|credential|ignition", re.IGNORECASE
)
"""Names of values that are secrets though they may not be marked as such."""
_ENGINES = frozenset({"propertyDependencies", "additionalSecretOutputs"})
"""Fields of a resource in which the engine says names of properties, and URNs."""
_PROVIDER = "__provider"
_REFERENCE = frozenset(
    {"PROTO", "FRAME", "SHORT_BINUNICODE", "MEMOIZE", "STACK_GLOBAL", "EMPTY_TUPLE", "NEWOBJ", "STOP"}
)
"""What a pickle is made of that names a class and brings no state."""
_NAME = re.compile(r"urn:pulumi:[^\n]+|\w{1,64}")
_CLASS = re.compile(r"[A-Za-z_][\w.]{0,99}")
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----")


def stripped(export: Mapping[str, Any]) -> dict[str, Any]:
    """Return a `pulumi stack export --show-secrets` in which PLACEHOLDER stands for every secret.

    Gone are secrets, encrypted or not, values whose name tells that they are one, texts with a private key or
    what looks like another secret in them, and the section on encryption. `pulumi stack import` takes it into
    a stack of the same name in any backend, whatever its passphrase. A preview on it is right but for what
    depends on a secret: a guest's seed is named after its content, the guest's host key among it, so that
    each guest shows a new seed.

    Which class a dynamic provider is stays, when it is all that its pickle says: without it a preview fails
    when what the resource depends on would be replaced. That is why the export has to show secrets.
    """
    return {key: _value(key, value) for key, value in export.items() if not _ENCRYPTION.fullmatch(key)}


def _value(key: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
    # what is empty tells nothing, and a preview compares it
    if value in ("", None, [], {}) or (key in _ENGINES and _only_names(value)):
        return value
    if key == _PROVIDER:
        return _reference(value) or PLACEHOLDER
    return PLACEHOLDER if _KNOWN.search(key) else _without_secrets(value)


def _reference(value: Any) -> str | None:  # noqa: ANN401 - any JSON
    """Return the pickle in `value`, shown or stripped before, if it does nothing but name a class."""
    try:
        text = json.loads(value["plaintext"]) if isinstance(value, Mapping) else value
        opcodes = list(pickletools.genops(base64.b64decode(text, validate=True)))
    except (KeyError, TypeError, ValueError, binascii.Error, json.JSONDecodeError):
        return None
    names = [argument for _, argument, _ in opcodes if isinstance(argument, str)]
    plain = all(opcode.name in _REFERENCE for opcode, _, _ in opcodes)
    return str(text) if plain and all(_CLASS.fullmatch(name) for name in names) else None


def _only_names(value: Any) -> bool:  # noqa: ANN401 - any JSON
    lists = value.values() if isinstance(value, Mapping) else [value]
    return all(_NAME.fullmatch(text) for one in lists for text in one or ())


def _without_secrets(value: Any) -> Any:  # noqa: ANN401 - any JSON
    if isinstance(value, Mapping):
        return PLACEHOLDER if value.get(SIGNATURE) == SIGNATURE_OF_SECRET else stripped(value)
    if isinstance(value, list):
        return [_without_secrets(inner) for inner in value]
    secret = isinstance(value, str) and (_PRIVATE_KEY.search(value) or redact.holds_secret(value))
    return PLACEHOLDER if secret else value
