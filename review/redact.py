"""The last line of defence: secrets and key material are taken out of whatever a review says; pure.

Plans and states hold secrets as the engine hides them. This is for those that came along all the same: in a
name, a remedy, a file, a URI.
"""

from __future__ import annotations

import binascii
import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, cast
from urllib.parse import unquote

from providers.state import interfaces
from providers.transport import fingerprint
from review.hidden import HIDDEN, SIGNATURE
from review.model import FileDiff

T = TypeVar("T")
KEY = "[key left out]"
_BETWEEN = "\0"
"""Stands between the texts of a list while they are searched together: a key may be spread over them."""
NAMES = r"passw(?:or)?d|passwd|passwort|passphrase|pwd|secret|token|psk|api_?key|private_?key|ciphertext"
"""Names of values that are secrets, to be searched for whatever their case."""
_QUOTED = r'"(?:\\.|[^"\\\n\0])*"|' + r"'[^'\n\0]*'"
_HARMLESS = (
    r"(?!(?:true|false|null|none|no|yes|not set|unknown|not known yet)(?=[ \t]*(?:[,;.)}|\n\0]|$))"
    r"|\[secret\]|\[key left out\]|[ \t]*$)"
)
_BASE64 = r"(?:[A-Za-z0-9+/]|%2[BbFf])"
_SHORTEST = 64
"""Characters of base64 in one run that are taken for key material; a sha256 has 44."""

_Patterns = tuple[tuple[re.Pattern[str], str], ...]
_BLOCKS: _Patterns = (
    (
        re.compile(
            r"-{4,5} ?BEGIN\b(?:(?!-{4,5} ?BEGIN\b).){0,40000}?-{4,5} ?END\b[^\n\0-]{0,80}-{4,5}", re.DOTALL
        ),
        KEY,
    ),
    (re.compile(r"-{4,5} ?BEGIN\b[A-Z0-9 ]*-{0,5}(?:(?:\s|\0|\\n|[\n\0][+ -])*[A-Za-z0-9+/=]{16,})*"), KEY),
)
"""Keys as files have them: private ones, and public ones that nobody could read anyway."""
_SECRETS: _Patterns = (
    (re.compile(rf'"(?:plaintext|ciphertext|secure)"\s*:\s*(?:{_QUOTED})'), f'"value":"{HIDDEN}"'),
    (re.compile(rf"\{{[^{{}}]{{0,400}}{SIGNATURE}[^{{}}]{{0,4000}}\}}"), HIDDEN),
    (re.compile(SIGNATURE), HIDDEN),
    (re.compile(r"\bv1:[A-Za-z0-9+/]{8,}={0,2}(?::(?:v1:)?[A-Za-z0-9+/]{8,}={0,2})+"), HIDDEN),
    (re.compile(r"\$(?:[1567y]|2[abxy]|gy|md5|argon2\w*)\$[./A-Za-z0-9$=,+]{8,}"), HIDDEN),
    (re.compile(r"\b(?:gh[pousr]_|github_pat_|pul-|AGE-HIDDEN-KEY-)[A-Za-z0-9_]{16,}"), HIDDEN),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"), HIDDEN),
    (re.compile(r"\b(X-Amz-Signature=)[^&\s\"'\0]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b(Bearer[ \t]+)[A-Za-z0-9._~+/-]{6,}=*", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"(://[^/\s:@\0]{0,64}:)[^/\s@\0]{1,200}@"), rf"\1{HIDDEN}@"),
    (re.compile(r"(\bhttps?://)[^/\s:@\0]{1,200}(:?@)", re.IGNORECASE), rf"\1{HIDDEN}\2"),
    (
        re.compile(r"(\b[\w.-]{1,32}:)(?!\s)[^\n\0]{1,200}?(?=[\"']?[ \t]*\|[^\n\0|]{0,40}\bchpasswd\b)"),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(rf"(\b(?:wpa[-_]|gateway)psk[ \t]++)(?![:=]|\.\.\.){_HARMLESS}[^\n\0]+", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"b3BlbnNzaC1rZXktdjE[A-Za-z0-9+/=]*"), KEY),  # how OpenSSH's private keys begin
)
_NAMED: _Patterns = (
    (re.compile(r"\b((?:keyfile|identity_?file)=)[^&\s\"'\0]+", re.IGNORECASE), rf"\1{HIDDEN}"),
    (
        re.compile(
            rf"((?:{NAMES})[\w-]{{0,40}}[\"']?[ \t]*[:=][ \t]*+)"
            rf"(?:[|>][-+0-9]*(?:\n[ \t]+[^\n\0]*)+|{_HARMLESS}(?:{_QUOTED}|[^\n\0]+))",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
    (
        re.compile(rf"(passw(?:or)?d\w{{0,10}} is ){_HARMLESS}(?:{_QUOTED}|[^\s\0]+)", re.IGNORECASE),
        rf"\1{HIDDEN}",
    ),
)
_PUBLIC = re.compile(
    r"((?:ssh-(?:ed25519|rsa|dss)|ecdsa-sha2-nistp[0-9]{3}|sk-[a-z0-9@.-]{4,60})(?:[ \t+]|%20)+"
    rf"|(?<![A-Za-z0-9+/]))(AAAA{_BASE64}{{20,}}(?:=|%3[Dd]){{0,2}})"
)
_RUN = re.compile(rf"[A-Za-z0-9+/]{{{_SHORTEST},}}={{0,2}}")
_NAME_OF_SECRET = re.compile(NAMES, re.IGNORECASE)


def without_secrets(value: T) -> T:
    """Return a text, a JSON-like value or a dataclass of them without secrets.

    Private keys, hashes of passwords, ciphertexts, tokens and what is named a password give way to a word in
    brackets, a public key to its SHA256 fingerprint. A list of texts may have fewer texts then: a key may
    be spread over them.
    """
    return cast(T, _clean(value))


def holds_secret(text: str) -> bool:
    """Tell whether something in a text looks like a secret in itself, whatever name stands before it."""
    return any(pattern.search(text) for pattern, _ in _SECRETS)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, FileDiff):
        return dataclasses.replace(value, host=_text(value.host), path=_text(value.path), lines=_diff(value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: _clean(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **cast("dict[str, Any]", fields))
    if isinstance(value, Mapping):
        return _mapping(value)
    if isinstance(value, tuple):
        return tuple(_sequence(value))
    return _sequence(value) if isinstance(value, list) else value


def _mapping(values: Mapping[object, object]) -> object:
    if SIGNATURE in values:
        return HIDDEN
    return {_clean(key): _value(key, value) for key, value in values.items()}


def _value(key: object, value: object) -> object:
    named = isinstance(key, str) and _NAME_OF_SECRET.search(key) is not None
    return HIDDEN if named and isinstance(value, str | list | Mapping) and value else _clean(value)


def _sequence(values: Iterable[object]) -> list[object]:
    found = list(values)
    texts = [value for value in found if isinstance(value, str)]
    if len(texts) < len(found) or not texts:
        return [_clean(value) for value in found]
    return [*_text(_BETWEEN.join(texts)).split(_BETWEEN)]


def _diff(diff: FileDiff) -> tuple[str, ...]:
    """Return the lines of a diff without what interfaces(5) keeps secret either."""
    heads = [line for line in diff.lines[:2] if line.startswith(("--- ", "+++ "))]
    rest = "\n".join(diff.lines[len(heads) :])
    hidden = interfaces.without_secrets(diff.path, rest).split("\n") if rest else []
    return tuple(str(line) for line in _sequence([*heads, *hidden]))


def _text(text: str) -> str:
    for pattern, instead in (*_BLOCKS, *_SECRETS, *_NAMED):
        text = pattern.sub(instead, text)
    return _RUN.sub(_unless_plain, _PUBLIC.sub(_fingerprinted, text))


def _fingerprinted(found: re.Match[str]) -> str:
    kind = found[1].replace("+", " ").replace("%20", " ")
    try:
        return kind + fingerprint(f"{kind or 'key'} {unquote(found[2])}")
    except (binascii.Error, ValueError):
        return kind + KEY


def _unless_plain(found: re.Match[str]) -> str:
    """Keep digests in hexadecimal, paths and words: key material has letters of both cases and digits."""
    tests: tuple[Callable[[str], bool], ...] = (str.islower, str.isupper, str.isdigit)
    return KEY if all(any(map(test, found[0])) for test in tests) else found[0]
