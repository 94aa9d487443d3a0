"""Debian's Chromium, driven by npm's playwright-core: pages and Mermaid pictures, and what is seen."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PACKAGES = ROOT / ".lab/npm"
SCREENSHOTS = ROOT / ".lab/browser"
CHROMIUM = "/usr/bin/chromium"
TIMEOUT = 300.0
"""Seconds for all jobs of one call."""


@dataclass(frozen=True)
class View:
    """How a page is opened; `width` in CSS pixels."""

    width: int
    scheme: Literal["light", "dark"] = "light"
    media: Literal["screen", "print"] = "screen"
    outline: bool = False
    """Whether Seen.outline is told, too."""


@dataclass(frozen=True)
class Seen:
    """What is told of an opened page; browse.mjs says what each list has."""

    title: str
    width: int
    height: int
    text: str
    outline: str
    guests: list[str]
    faint: list[str]
    clipped: list[str]
    overlapping: list[str]
    smallest: float
    foreign: int
    broken: int
    problems: list[str]
    requests: list[str]


@dataclass(frozen=True)
class Drawn:
    """What is told of a Mermaid picture; `error` is why there is none."""

    error: str | None
    labels: list[str]
    foreign: int
    problems: list[str]
    requests: list[str]


def look(pages: Mapping[str, str], asked: Sequence[tuple[str, View]]) -> list[Seen]:
    """Open HTML texts, by name, each as it is asked for; screenshots are in .lab/browser."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    files = {name: SCREENSHOTS / f"{name}.html" for name in pages}
    for name, text in pages.items():
        files[name].write_text(text, encoding="utf-8")
    jobs = [
        {"html": str(files[name]), **vars(view), "screenshot": _screenshot(name, view)}
        for name, view in asked
    ]
    return [Seen(**told) for told in _browse(jobs)]


def look_at(name: str, page: str, view: View) -> Seen:
    """Open one HTML text."""
    return look({name: page}, [(name, view)])[0]


def check(pictures: Mapping[str, str]) -> dict[str, Drawn]:
    """Parse and draw Mermaid texts, by name, within Mermaid's own limits; GitHub has the same."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    jobs = [
        {"text": text, "screenshot": str(SCREENSHOTS / f"picture-{name}.png")}
        for name, text in pictures.items()
    ]
    return {name: Drawn(**told) for name, told in zip(pictures, _browse(jobs), strict=True)}


def _screenshot(name: str, view: View) -> str:
    return str(SCREENSHOTS / f"{name}-{view.width}-{view.scheme}-{view.media}.png")


def _browse(jobs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    task = {
        "chromium": CHROMIUM,
        "playwright": str(PACKAGES / "playwright-core"),
        "mermaid": str(PACKAGES / "mermaid/dist/mermaid.min.js"),
        "jobs": jobs,
    }
    argv = ["node", str(HERE / "browse.mjs")]
    done = subprocess.run(
        argv, input=json.dumps(task), capture_output=True, text=True, check=False, timeout=TIMEOUT
    )
    assert done.returncode == 0, done.stderr
    return cast("list[dict[str, Any]]", json.loads(done.stdout))
