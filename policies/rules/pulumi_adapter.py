"""Joins the rules and Pulumi: plain values in, reported violations out. The rules know no Pulumi."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyConfigSchema,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from .catalogue import COUNTING, COUNTING_WHY, RULES, Rule
from .configuration import option_mistakes
from .verdict import UNKNOWN, Finding, Resource, Unjudged, waiting

ROOT = "pulumi:pulumi:Stack"


@dataclass
class Waiting:
    """What the rules could not judge yet, by rule and by the resource that was judged.

    The engine asks for one resource at a time and in the end for the stack; a resource that is judged again,
    as in the update after its preview, replaces what was noted of it.
    """

    noted: dict[str, dict[str, list[Unjudged]]] = field(default_factory=dict)

    def note(self, rule: str, urn: str, findings: Sequence[Finding]) -> None:
        """Keep what waits of these findings."""
        self.noted.setdefault(rule, {})[urn] = [one for one in findings if isinstance(one, Unjudged)]

    def lines(self) -> Iterator[str]:
        """Yield a line for each rule that something waits for, and forget it."""
        for rule, by_resource in self.noted.items():
            unjudged = [one for several in by_resource.values() for one in several]
            if unjudged:
                yield f"{rule}: {waiting(unjudged)}"
        self.noted.clear()


def policies() -> list[Policy]:
    """Return the policies of the pack; the last one counts what the others could not judge."""
    noted = Waiting()
    counting = StackValidationPolicy(
        name=COUNTING,
        description="Judged during the update, when the values are known.",
        enforcement_level=EnforcementLevel.ADVISORY,
        remediation_steps=COUNTING_WHY,
        validate=_count(noted),
    )
    return [*(_policy(rule, noted) for rule in RULES), counting]


def _policy(rule: Rule, noted: Waiting) -> Policy:
    common: dict[str, Any] = {
        "name": rule.name,
        "description": rule.description,
        "enforcement_level": EnforcementLevel(rule.level),
        "url": rule.reference,
        "config_schema": PolicyConfigSchema({name: dict(schema) for name, schema in rule.options.items()}),
    }
    if rule.judge_stack is not None:
        return StackValidationPolicy(validate=stack_validation(rule, noted), **common)
    return ResourceValidationPolicy(validate=validation(rule, noted), **common)


def validation(rule: Rule, noted: Waiting) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    """Return what a ResourceValidationPolicy calls: it reports what the rule finds in a resource's inputs."""
    assert rule.judge is not None  # noqa: S101 - a rule judges resources or stacks
    judge = rule.judge

    def validate(args: ResourceValidationArgs, report_violation: ReportViolation) -> None:
        options = args.get_config()
        mistakes = option_mistakes(rule, options)
        if not mistakes:
            findings = judge(Resource(args.resource_type, args.name, _plain_props(args.props)), options)
            noted.note(rule.name, args.urn, findings)
            _report(findings, report_violation)
        elif args.resource_type == ROOT:  # every stack has one, and it comes first
            _report_mistakes(mistakes, report_violation)

    return validate


def stack_validation(rule: Rule, noted: Waiting) -> Callable[[StackValidationArgs, ReportViolation], None]:
    """Return what a StackValidationPolicy calls: it reports what the rule finds in all resources' outputs."""
    assert rule.judge_stack is not None  # noqa: S101 - a rule judges resources or stacks
    judge = rule.judge_stack

    def validate(args: StackValidationArgs, report_violation: ReportViolation) -> None:
        options = args.get_config()
        if mistakes := option_mistakes(rule, options):
            _report_mistakes(mistakes, report_violation)
            return
        findings = judge(
            [Resource(one.resource_type, one.name, _plain_props(one.props)) for one in args.resources],
            options,
        )
        noted.note(rule.name, "", findings)
        _report(findings, report_violation)

    return validate


def _count(noted: Waiting) -> Callable[[StackValidationArgs, ReportViolation], None]:
    def validate(_args: StackValidationArgs, report_violation: ReportViolation) -> None:
        if lines := list(noted.lines()):
            report_violation("\n".join(lines), None)

    return validate


def _report_mistakes(mistakes: Sequence[str], report_violation: ReportViolation) -> None:
    """Report what the engine lets pass: names of options that there are not, networks that are none."""
    for mistake in mistakes:
        report_violation(f"the pack's configuration: {mistake}", None)


def _report(findings: Sequence[Finding], report_violation: ReportViolation) -> None:
    for finding in findings:
        if not isinstance(finding, Unjudged):
            report_violation(str(finding), None)


def _plain_props(props: Mapping[str, object]) -> dict[str, object]:
    return {name: plain(props, name) for name in props}


def plain(values: Mapping[str, object] | Sequence[object], key: object) -> object:
    """Return `values[key]` without the SDK's wrapping, which raises when an unknown value is touched."""
    try:
        value = values[key]  # type: ignore[call-overload, index]
    except UnknownValueError:
        return UNKNOWN
    if isinstance(value, Mapping):
        return {name: plain(value, name) for name in value}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [plain(value, index) for index in range(len(value))]
    return value
