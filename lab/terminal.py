"""How the commands speak: their lines of progress, and whether what they print is coloured."""

from __future__ import annotations

import os
import sys


def colours() -> bool:
    """Tell whether what is printed may be coloured."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def say(text: str) -> None:
    """Print one line of progress."""
    sys.stderr.write(f"lab: {text}\n")
