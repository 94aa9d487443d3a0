"""The pack's configuration: a level for each rule, and its options.

As `pulumi --policy-pack-config FILE` takes it: by a rule's name its level, or an object of its options and
"enforcementLevel"; by "all" the level of every rule that is not named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any, get_args

from .catalogue import COUNTING, RULES, Level, Rule
from .verdict import Options, items, written

LEVELS = get_args(Level)
LEVEL = "enforcementLevel"


class ConfigurationError(ValueError):
    """What is wrong in a configuration, one mistake a line."""


@dataclass(frozen=True)
class Setting:
    """A rule with its level and all its options."""

    rule: Rule
    level: Level
    options: Options


def settings(config: Mapping[str, object] | None = None) -> tuple[Setting, ...]:
    """Return every rule as the configuration has it.

    Raises:
        ConfigurationError: with all mistakes.
    """
    given = {
        name: {LEVEL: value} if isinstance(value, str) else value for name, value in (config or {}).items()
    }
    mistakes = [*_unknown_names(given), *_wrong_levels(given)]
    for rule in RULES:
        mistakes += [f"{rule.name}: {text}" for text in option_mistakes(rule, _options(given.get(rule.name)))]
    if mistakes:
        raise ConfigurationError("\n".join(mistakes))
    return tuple(
        Setting(rule, _level(given, rule), {**defaults(rule), **_options(given.get(rule.name))})
        for rule in RULES
    )


def defaults(rule: Rule) -> dict[str, object]:
    """Return a rule's options as they are without a configuration."""
    return {name: schema["default"] for name, schema in rule.options.items()}


def option_mistakes(rule: Rule, options: Options) -> list[str]:
    """Return what is wrong with a rule's options: also what the engine does not look for, as names."""
    known = ", ".join(rule.options) or "it has none"
    return [
        text
        for name, value in options.items()
        for text in (
            _mistakes(rule.options[name], value, name)
            if name in rule.options
            else [f"{name} is not one of its options: {known}"]
        )
    ]


def _unknown_names(given: Mapping[str, object]) -> list[str]:
    names = ["all", COUNTING, *(rule.name for rule in RULES)]
    return [f"{name} is no rule of the pack: {', '.join(names)}" for name in given if name not in names]


def _wrong_levels(given: Mapping[str, object]) -> list[str]:
    mistakes = []
    for name, value in given.items():
        if not isinstance(value, Mapping):
            mistakes.append(f"{name}: expected a level or an object, seen: {written(value)}")
        elif (level := value.get(LEVEL, LEVELS[0])) not in LEVELS:
            mistakes.append(f"{name}: expected a level of {', '.join(LEVELS)}, seen: {written(level)}")
    return mistakes


def _level(given: Mapping[str, object], rule: Rule) -> Level:
    for name in (rule.name, "all"):
        value = given.get(name)
        level = value.get(LEVEL) if isinstance(value, Mapping) else None
        for known in LEVELS:
            if level == known:
                return known  # type: ignore[no-any-return]
    return rule.level


def _options(value: object) -> dict[str, object]:
    return {name: item for name, item in value.items() if name != LEVEL} if isinstance(value, Mapping) else {}


def _mistakes(schema: Mapping[str, Any], value: object, path: str) -> list[str]:
    """Hold a value against the few words of JSON schema that the rules' options use."""
    if schema["type"] == "array":
        if not isinstance(value, Sequence) or isinstance(value, str):
            return [f"{path}: expected a list, seen: {written(value)}"]
        if len(value) < schema.get("minItems", 0):
            return [f"{path}: expected at least {schema['minItems']}, seen: none"]
        return [
            text
            for index, item in enumerate(items(value))
            for text in _mistakes(schema["items"], item, f"{path}[{index}]")
        ]
    if schema["type"] == "number":
        low, high = schema["minimum"], schema["maximum"]
        fits = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
        return [] if fits else [f"{path}: expected a number from {low} to {high}, seen: {written(value)}"]
    expected = _expected_text(schema, value)
    return [f"{path}: expected {expected}, seen: {written(value)}"] if expected else []


def _expected_text(schema: Mapping[str, Any], value: object) -> str | None:
    """Return what is expected of a text; None: it is as expected."""
    if not isinstance(value, str) or len(value) < schema.get("minLength", 0):
        return "a text"
    if "enum" in schema and value not in schema["enum"]:
        return f"one of {', '.join(schema['enum'])}"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return f"what matches {schema['pattern']}"
    if schema.get("format") == "cidr" and not _is_network(value):
        return "a network as 192.0.2.0/24"
    return None


def _is_network(text: str) -> bool:
    try:
        ip_network(text)
    except ValueError:
        return False
    return "/" in text
