"""Puts the rules together as a policy pack. Run by the engine: pulumi up --policy-pack policies."""

from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy
from rules import desktop, host_keys, migration
from rules.resource_policy import validation

PolicyPack(
    name="kvm-lab",
    enforcement_level=EnforcementLevel.MANDATORY,
    policies=[
        ResourceValidationPolicy(
            name=rule.NAME,
            description=rule.DESCRIPTION,
            url=rule.REFERENCE,
            validate=validation(rule.judge),
        )
        for rule in (migration, desktop, host_keys)
    ],
)
