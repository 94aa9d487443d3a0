"""What guests boot from is known by its checksum."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from .verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged, Violation, texts

NAME = "base-image-has-checksum"
DESCRIPTION = "Every disk image from elsewhere is held against a checksum that is known beforehand."
REFERENCE = "https://cloud.debian.org/images/cloud/"
WHY = "whoever can change the file at its source, or on the way, would be root in every guest made from it"
DIGITS = {"sha256": 64, "sha512": 128}
OPTIONS: Options = {
    "algorithms": {
        "type": "array",
        "items": {"type": "string", "enum": list(DIGITS)},
        "minItems": 1,
        "default": list(DIGITS),
        "description": "checksums that are believed",
    }
}
IMAGE = "pulumi-python:dynamic/kvm:BaseImage"
VOLUME = "libvirt:index/volume:Volume"
_REMOTE = re.compile("[a-z][a-z0-9+.-]*", re.IGNORECASE)


def judge(resource: Resource, options: Options = DEFAULTS) -> list[Finding]:
    """Judge an image of the program by its checksum, a volume of libvirt by where it comes from."""
    algorithms = texts(options.get("algorithms")) or tuple(DIGITS)
    if resource.type == IMAGE:
        return _judge_image(resource, algorithms)
    if resource.type == VOLUME:
        return _judge_source(resource.name, resource.inputs.get("source"), algorithms)
    return []


def _judge_image(resource: Resource, algorithms: tuple[str, ...]) -> list[Finding]:
    given = {name: resource.inputs.get(name) for name in algorithms}
    if any(_is_digest(name, value) for name, value in given.items()):
        return []
    option, wanted = " or ".join(algorithms), "the image's checksum, hexadecimal digits"
    if UNKNOWN in given.values():
        return [Unjudged(resource.name, option, wanted)]
    seen = "no checksum" if any(given.values()) else "not set"
    return [Violation(resource.name, option, seen, wanted, WHY)]


def _judge_source(name: str, source: object, algorithms: tuple[str, ...]) -> list[Finding]:
    wanted = f"a base volume that is checked, as kvm:BaseImage with {' or '.join(algorithms)}"
    if source is UNKNOWN:
        return [Unjudged(name, "source", wanted)]
    scheme = urlsplit(source).scheme if isinstance(source, str) else ""
    if not _REMOTE.fullmatch(scheme) or scheme.lower() == "file":
        return []
    # without the rest of the URL, in which a password or a signature may be
    return [Violation(name, "source", f"a {scheme} URL without a checksum", wanted, WHY)]


def _is_digest(algorithm: str, value: object) -> bool:
    digits = DIGITS[algorithm]
    return isinstance(value, str) and re.fullmatch(f"[0-9a-fA-F]{{{digits}}}", value) is not None
