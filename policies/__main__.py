"""Puts the rules together as a policy pack. Run by the engine: pulumi up --policy-pack policies."""

from pulumi_policy import EnforcementLevel, PolicyPack
from rules.catalogue import PACK
from rules.pulumi_adapter import policies

PolicyPack(name=PACK, enforcement_level=EnforcementLevel.MANDATORY, policies=policies())
