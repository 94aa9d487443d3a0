"""What a base image is called, what is wrong with one, how much room it needs. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Algorithm = Literal["sha256", "sha512"]
Format = Literal["qcow2", "raw"]

DIGEST_IN_NAME = 16  # hexadecimal digits
_CONTENT_LENGTH = re.compile(r"content-length:\s*(\d+)\s*", re.IGNORECASE)


def file_name(name: str, digest: str, image_format: Format) -> str:
    """Return the file's name: another digest is another file, so a base is never overwritten."""
    return f"{name}-{digest[:DIGEST_IN_NAME]}.{image_format}"


@dataclass(frozen=True)
class ImageInfo:
    """What `qemu-img info` says of one image file; sizes are in bytes."""

    format: str
    virtual_size: int
    backing_file: str | None = None
    data_file: str | None = None
    encrypted: bool = False
    corrupt: bool = False


def parse_info(text: str) -> ImageInfo:
    """Parse what `qemu-img info --output=json FILE` prints.

    Raises:
        ValueError: it is not that.
    """
    try:
        info = json.loads(text)
        details = info.get("format-specific", {}).get("data", {})
        return ImageInfo(
            format=info["format"],
            virtual_size=int(info["virtual-size"]),
            backing_file=info.get("full-backing-filename") or info.get("backing-filename"),
            data_file=details.get("data-file"),
            encrypted=bool(info.get("encrypted")) or "encrypt" in details,
            corrupt=bool(details.get("corrupt")),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no output of qemu-img info --output=json: {error!r}") from error


def parse_backings(text: str) -> dict[str, str | None]:
    """Return each image's path with that of the file it is an overlay of, None for what is no overlay.

    Args:
        text: what `qemu-img info --output=json` prints, of any number of images, one after the other.

    Raises:
        ValueError: it is not that.
    """
    decoder = json.JSONDecoder()
    backings: dict[str, str | None] = {}
    rest = text.strip()
    while rest:
        info, end = decoder.raw_decode(rest)
        rest = rest[end:].lstrip()
        backing = info.get("full-backing-filename") or info.get("backing-filename")
        backings[info["filename"]] = posixpath.normpath(backing) if backing else None
    return backings


def overlays_of(base: str, backings: Mapping[str, str | None]) -> list[str]:
    """Return the images that `base` is below, directly or with others between, in order of their paths.

    A base is known by its file's name, which has its digest: a link may lead to it by another path.
    """
    name = posixpath.basename(base)

    def hangs_on(path: str | None, seen: frozenset[str]) -> bool:
        below = backings.get(path) if path is not None else None
        if below is None or below in seen:
            return False
        return name in below or hangs_on(below, seen | {below})

    return sorted(path for path in backings if hangs_on(path, frozenset()))


def faults(info: ImageInfo, declared: Format) -> list[str]:
    """Return every reason why the image cannot serve as a base, as sentences; none: it can."""
    found = []
    if info.format != declared:
        found.append(f"its format is {info.format}, declared is {declared}")
    if info.backing_file is not None:
        found.append(f"it is itself an overlay, of the backing file {info.backing_file}")
    if info.data_file is not None:
        found.append(f"its data lies in another file, {info.data_file}")
    if info.encrypted:
        found.append("it is encrypted")
    if info.corrupt:
        found.append("it is marked as corrupt")
    return found


def content_length(headers: str) -> int | None:
    """Return how many bytes the server will send.

    Args:
        headers: the response headers, those of redirections before the last response's.

    Returns:
        The last response's Content-Length, or None when it has none.
    """
    last = [block for block in re.split(r"\r?\n\r?\n", headers) if block.strip()][-1:]
    for line in "".join(last).splitlines():
        if match := _CONTENT_LENGTH.fullmatch(line):
            return int(match[1])
    return None


def free_bytes(df: str) -> int:
    """Parse what `df --output=avail --block-size=1 FOLDER` prints."""
    return int(df.rsplit(maxsplit=1)[-1])


def mebibytes(size: int) -> str:
    """Write a size in bytes for people: "1234 MiB", rounded up."""
    return f"{-(-size // 2**20)} MiB"
