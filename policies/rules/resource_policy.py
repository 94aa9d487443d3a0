"""Joins a rule and Pulumi: plain values in, reported violations out. The rules themselves know no Pulumi."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from pulumi_policy import ReportViolation, ResourceValidationArgs
from pulumi_policy.proxy import UnknownValueError

from .verdict import UNKNOWN, Finding, Resource, Unjudged


class NotJudgedYetError(UnknownValueError):
    """Some of a rule's questions wait for the update.

    The SDK shows `message` as a remark of advisory level; violations reported before it stay what they are.
    """

    def __init__(self, unjudged: Iterable[Unjudged]) -> None:
        Exception.__init__(self)
        self.message = "; ".join(map(str, unjudged))


def validation(
    judge: Callable[[Resource], list[Finding]],
) -> Callable[[ResourceValidationArgs, ReportViolation], None]:
    """Return what a ResourceValidationPolicy calls: it reports what `judge` finds in a resource's inputs."""

    def validate(args: ResourceValidationArgs, report_violation: ReportViolation) -> None:
        inputs = {name: plain(args.props, name) for name in args.props}
        findings = judge(Resource(args.resource_type, args.name, inputs))
        unjudged = [finding for finding in findings if isinstance(finding, Unjudged)]
        for finding in findings:
            if finding not in unjudged:
                report_violation(str(finding), None)
        if unjudged:
            raise NotJudgedYetError(unjudged)

    return validate


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
