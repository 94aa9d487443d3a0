"""One bridge whose options come straight from the stack's settings, unchecked."""

import pulumi

from providers.network_bridge import NetworkBridge

settings = pulumi.Config()
NetworkBridge("g1s1", settings.require_object("bridge"))
