"""Checksums of disk images, written out or in a file of sha256sum(1) or sha512sum(1). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

HEX_DIGITS: dict[int, Literal["sha256", "sha512"]] = {64: "sha256", 128: "sha512"}
LINE = re.compile(r"\\?([0-9A-Fa-f]+) [ *](.+)")
BSD_LINE = re.compile(r"(SHA256|SHA512) \((.+)\) = ([0-9A-Fa-f]+)")


@dataclass(frozen=True)
class Checksum:
    """A digest: `algorithm` is "sha256" or "sha512", `digest` its small hexadecimal digits."""

    algorithm: Literal["sha256", "sha512"]
    digest: str


def parse_digest(digits: str) -> Checksum:
    """Return the checksum that `digits` write: sha256 has 64 hexadecimal digits, sha512 128."""
    algorithm = HEX_DIGITS.get(len(digits))
    if algorithm is None or not re.fullmatch(r"[0-9A-Fa-f]+", digits):
        raise ValueError("64 (sha256) or 128 (sha512) hexadecimal digits")
    return Checksum(algorithm, digits.lower())


def find_checksum(content: str, file_name: str) -> Checksum:
    """Return the checksum of `file_name` from the text of a SHA256SUMS or SHA512SUMS file.

    Folders in front of the names in the file do not matter. sha512 wins over sha256.

    Raises:
        ValueError: there is no line for it, or lines that contradict one another.
    """
    found = {
        parse_digest(digits)
        for digits, name in _lines(content)
        if name.replace("\\", "/").split("/")[-1] == file_name
    }
    if not found:
        raise ValueError(f"a file as sha256sum or sha512sum writes it, with a line for {file_name}")
    strongest = max(checksum.algorithm for checksum in found)
    best = [checksum for checksum in found if checksum.algorithm == strongest]
    if len(best) > 1:
        raise ValueError(f"a file with one {strongest} for {file_name}; it has {len(best)} different ones")
    return best[0]


def _lines(content: str) -> list[tuple[str, str]]:
    """Return (digits, file name) of each line that is one."""
    pairs = []
    for line in content.splitlines():
        if match := LINE.fullmatch(line):
            pairs.append((match[1], match[2]))
        elif match := BSD_LINE.fullmatch(line):
            pairs.append((match[3], match[2]))
    return pairs
