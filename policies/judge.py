"""Every rule over plain resources, such as those of a `pulumi preview --json`; without Pulumi."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from policies.rules.configuration import Setting, settings
from policies.rules.verdict import UNKNOWN, Finding, Resource

SECRET = "[secret]"  # noqa: S105 - what the engine writes in place of one
Judged = tuple[str, str, list[Finding]]
"""A rule's name, its level, and what it finds."""


def judge_all(resources: Sequence[Resource], config: Mapping[str, object] | None = None) -> list[Judged]:
    """Judge resources by all rules that are not disabled, in the pack's order.

    Args:
        resources: the whole stack as it is to be. With `outputs` where they are known and stay; a resource
            that is created or changed has none, so that its inputs stand for them. A secret that the engine
            has hidden counts as not known.
        config: as in a file for --policy-pack-config; see rules.configuration.

    Raises:
        ConfigurationError: the configuration is wrong; every mistake is in it.
    """
    known = [_without_secrets(resource) for resource in resources]
    return [
        (setting.rule.name, setting.level, _findings(setting, known))
        for setting in settings(config)
        if setting.level != "disabled"
    ]


def _findings(setting: Setting, resources: Sequence[Resource]) -> list[Finding]:
    rule = setting.rule
    found = list(rule.judge_stack(resources, setting.options)) if rule.judge_stack else []
    if rule.judge:
        found += [finding for one in resources for finding in rule.judge(one, setting.options)]
    return found


def _without_secrets(resource: Resource) -> Resource:
    outputs = resource.outputs
    return replace(
        resource,
        inputs={name: _known(value) for name, value in resource.inputs.items()},
        outputs=None if outputs is None else {name: _known(value) for name, value in outputs.items()},
    )


def _known(value: object) -> object:
    if value == SECRET:
        return UNKNOWN
    if isinstance(value, Mapping):
        return {name: _known(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_known(item) for item in value]
    return value
