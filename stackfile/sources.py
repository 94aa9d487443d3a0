"""Where a stack's options come from: a YAML document, and the local files that it names."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml
from pydantic import ValidationInfo

LARGEST_FILE = 4 * 1024 * 1024  # bytes; key, known_hosts and checksum files are far smaller


@dataclass(frozen=True)
class Files:
    """Reads the files that a stack file names; relative paths start from `root`.

    With `check` off nothing is read and every path passes: what the files hold is not known yet.
    With `stand_in` on, a file that is not there is stood in for, and its path is added to `missing`.
    """

    root: Path
    check: bool = True
    stand_in: bool = False
    missing: set[str] = field(default_factory=set[str], compare=False)

    @property
    def context(self) -> dict[str, Self]:
        """Return the validation context in which `of` finds these files again."""
        return {"files": self}

    @classmethod
    def of(cls, info: ValidationInfo) -> Files:
        """Return the files of a validation; without context, those of the current folder."""
        context = info.context
        return context["files"] if isinstance(context, dict) else cls(Path.cwd())

    def must_exist(self, path: str) -> Path:
        """Return the whole path of the regular file `path`.

        Raises:
            ValueError: there is none, and files are checked.
        """
        try:
            whole = self.root / Path(path).expanduser()
            there = whole.is_file()
        except (OSError, RuntimeError) as error:  # a name too long, no such user
            raise ValueError(f"an existing file ({getattr(error, 'strerror', None) or error})") from None
        if self.stand_in and not there:
            self.missing.add(path)
        elif self.check and not there:
            why = "that path is no regular file" if whole.exists() else "there is none"
            raise ValueError(f"an existing file ({why}; relative paths start from {self.root.resolve()})")
        return whole

    def text(self, path: str, stand_in: str = "") -> str | None:
        """Return the text of the file `path`, or `stand_in` for it; None when files are not checked.

        Raises:
            ValueError: it cannot be read, is too large or is no text.
        """
        whole = self.must_exist(path)
        if not self.check:
            return None
        if path in self.missing:
            return stand_in
        try:
            if whole.stat().st_size > LARGEST_FILE:
                raise ValueError("a small text file")
            return whole.read_text(encoding="utf-8")
        except OSError as error:
            raise ValueError(f"a readable file ({error.strerror})") from None
        except UnicodeDecodeError:
            raise ValueError("a text file") from None


def load_strictly(content: str) -> object:
    """Parse a YAML document in which no mapping has a key twice.

    Raises:
        ValueError: it is none; the text says where.
    """
    try:
        document: object = yaml.load(content, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader, see below
    except (yaml.YAMLError, TypeError, AttributeError, RecursionError, ValueError) as error:
        raise ValueError(why_no_yaml(error)) from None
    return document


def why_no_yaml(error: Exception) -> str:
    """Return on one line why PyYAML could not read a document."""
    if isinstance(error, yaml.MarkedYAMLError):
        place = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        return f"{place}{error.problem}"
    return " ".join(str(error).split()) or type(error).__name__


def parse_document(content: str) -> Mapping[str, object]:
    """Parse a YAML mapping in which no key stands twice.

    Raises:
        ValueError: it is none; the text says where.
    """
    document = load_strictly(content)
    if document is None:
        return {}
    if not isinstance(document, Mapping):
        raise ValueError("a mapping with the key config")  # noqa: TRY004 - one kind of error for bad content
    return document


def top_options(config: Mapping[str, object], namespace: str) -> dict[str, object]:
    """Return the options of `namespace` without it; JSON text is parsed, as Pulumi keeps lists as such."""
    options = {}
    for key, value in config.items():
        prefix, colon, name = str(key).rpartition(":")
        if prefix == namespace or not colon:
            options[name] = _parsed(value)
    return options


def _parsed(value: object) -> object:
    if isinstance(value, str):
        try:
            parsed = json.loads(value)
        except ValueError:
            return value
        return parsed if isinstance(parsed, list | dict) else value
    return value


class _StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, as Pulumi's own reader does; PyYAML would take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value} stands twice in one mapping", key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)
