from __future__ import annotations

from typing import Any

import pytest

from policies.rules import base_image, desktop, guest_passwords, lab_range, migration
from policies.rules.catalogue import COUNTING, RULES
from policies.rules.configuration import LEVELS, ConfigurationError, Setting, settings


def setting(name: str, config: dict[str, Any]) -> Setting:
    return next(one for one in settings(config) if one.rule.name == name)


def test_without_one_every_rule_is_mandatory_with_its_defaults() -> None:
    assert [(one.rule, one.level) for one in settings()] == [(rule, "mandatory") for rule in RULES]
    assert setting(migration.NAME, {}).options == {"longest_delay": 0}
    assert settings({}) == settings(None)


def test_levels_are_given_by_rule_or_for_all() -> None:
    config = {"all": "advisory", desktop.NAME: "disabled", migration.NAME: {"enforcementLevel": "mandatory"}}
    levels = {one.rule.name: one.level for one in settings(config)}
    assert levels.pop(desktop.NAME) == "disabled"
    assert levels.pop(migration.NAME) == "mandatory"
    assert set(levels.values()) == {"advisory"}


def test_options_replace_defaults() -> None:
    given = setting(migration.NAME, {migration.NAME: {"longest_delay": 2}})
    assert (given.level, given.options) == ("mandatory", {"longest_delay": 2})


def test_the_counting_policy_has_a_level_too() -> None:
    assert settings({COUNTING: "disabled"}) == settings()


@pytest.mark.parametrize(
    ("config", "mistake"),
    [
        ({"no-such-rule": "advisory"}, "no-such-rule is no rule of the pack: all, "),
        ({desktop.NAME: "strict"}, f"{desktop.NAME}: expected a level of {', '.join(LEVELS)}, seen: strict"),
        ({desktop.NAME: {"enforcementLevel": 1}}, f"{desktop.NAME}: expected a level of"),
        ({desktop.NAME: 3}, f"{desktop.NAME}: expected a level or an object, seen: 3"),
        ({guest_passwords.NAME: {"x": 1}}, "x is not one of its options: it has none"),
        ({lab_range.NAME: {"networks": "192.0.2.0/24"}}, "networks: expected a list, seen: 192.0.2.0/24"),
        ({lab_range.NAME: {"networks": ["192.0.2.1/24"]}}, "networks[0]: expected a network as 192.0.2.0/24"),
        ({lab_range.NAME: {"mac_prefixes": ["52:54:00", "5"]}}, "mac_prefixes[1]: expected what matches"),
        ({desktop.NAME: {"allowed": [""]}}, "allowed[0]: expected a text"),
        (
            {migration.NAME: {"longest_delay": True}},
            "longest_delay: expected a number from 0 to 30, seen: true",
        ),
        ({migration.NAME: {"longest_delay": 31}}, "expected a number from 0 to 30, seen: 31"),
        ({base_image.NAME: {"algorithms": ["md5"]}}, "algorithms[0]: expected one of sha256, sha512"),
        ({base_image.NAME: {"algorithms": []}}, "algorithms: expected at least 1, seen: none"),
    ],
)
def test_mistakes_are_named(config: dict[str, Any], mistake: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings(config)
    assert mistake in str(raised.value)


def test_all_mistakes_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        settings({"a": "advisory", "b": "x", desktop.NAME: {"x": 1, "allowed": 2}})
    assert len(str(raised.value).splitlines()) == 5
