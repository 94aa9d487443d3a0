"""`python -m policies.listing [FILE]`: rules, levels, reasons, references and options, 80 columns wide.

FILE is a configuration as for `pulumi --policy-pack-config`; it is checked more closely than by the engine.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from policies.rules.catalogue import COUNTING, COUNTING_WHY
from policies.rules.configuration import ConfigurationError, Setting, settings

WIDTH = 80
LABEL = 10


def lines(of: Sequence[Setting]) -> Iterator[str]:
    """Yield the listing, line by line."""
    for setting in of:
        rule = setting.rule
        yield f"{rule.name:<{WIDTH - 10}}{setting.level:>10}"
        yield from _field("rule", rule.description)
        yield from _field("reason", f"{rule.why}.")
        yield from _field("see", rule.reference)
        for name, value in setting.options.items():
            yield from _field("option", f"{name} = {json.dumps(value)}: {rule.options[name]['description']}")
        yield ""
    yield f"{COUNTING:<{WIDTH - 10}}{'advisory':>10}"
    yield from _field("reason", f"{COUNTING_WHY}.")


def _field(label: str, text: str) -> list[str]:
    # a URL is not broken, wherever it ends
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=f"  {label:<{LABEL - 2}}",
        subsequent_indent=" " * LABEL,
        break_long_words=False,
        break_on_hyphens=False,
    )


def read(path: Path) -> Mapping[str, Any]:
    """Return the configuration in a file.

    Raises:
        ConfigurationError: it cannot be read, or is no JSON object.
    """
    try:
        config = json.loads(path.read_text(encoding="utf-8") or "{}")
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise ConfigurationError(f"{path}: expected an object, of rules by their names")
    return config


def main(arguments: Sequence[str]) -> int:
    """Print the rules; return the exit status."""
    try:
        listed = settings(read(Path(arguments[0])) if arguments else None)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{line}\n" for line in lines(listed)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
