"""A host is trusted for its key, and for nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from .verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged, Violation, items, written

NAME = "host-keys-are-pinned"
DESCRIPTION = "Every connection to a host is held against host keys that are known beforehand."
REFERENCE = "https://libvirt.org/uri.html#ssh-transport"
WHY = "whoever answers at the host's address would be given root's commands and the guests' secrets"
OPTIONS: Options = {}
LIBVIRT = "pulumi:providers:libvirt"
PROGRAM = ("pulumi-python:dynamic/kvm:", "kvm:index:")
SSH_TRANSPORTS = ("ssh", "libssh", "libssh2", "sshauth", "sshcmd")
UNCHECKED_TRANSPORTS = ("tcp", "ext")
PINNED = "the host's public keys (host_keys=) or a known_hosts file (knownhosts=)"

_DEVICE = re.compile(r"\s*/[/.]*dev/|.*/dev/[/.]*null\s*$")
"""A path of what holds no keys, /dev/null above all."""


def judge(resource: Resource, options: Options = DEFAULTS) -> list[Finding]:  # noqa: ARG001
    """Judge what connects: a libvirt provider by its URI, a resource of the program by its endpoint."""
    if resource.type == LIBVIRT:
        return _judge_uri(resource.name, resource.inputs.get("uri"))
    if resource.type.startswith(PROGRAM) and "endpoint" in resource.inputs:
        return _judge_endpoint(resource.name, resource.inputs["endpoint"])
    return []


def _judge_uri(name: str, uri: object) -> list[Finding]:
    """Judge a connection URI of libvirt; without one, the environment of whoever runs it would decide."""
    if uri is UNKNOWN:
        return [Unjudged(name, "uri", PINNED)]
    if not isinstance(uri, str) or not uri:
        return [Violation(name, "uri", written(uri) or "empty", PINNED, WHY)]
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2] or ("tls" if parts.netloc else "")
    options = parse_qs(parts.query, keep_blank_values=True)
    findings: list[Finding] = []
    if "no_verify" in options:  # any value switches the check off
        findings.append(Violation(name, "uri: no_verify", options["no_verify"][-1] or "set", "left out", WHY))
    if (verify := options.get("known_hosts_verify", ["normal"])) != ["normal"]:
        findings.append(
            Violation(name, "uri: known_hosts_verify", ", ".join(verify) or "empty", "normal", WHY)
        )
    if transport in UNCHECKED_TRANSPORTS:
        findings.append(Violation(name, "uri: transport", transport, "ssh with pinned host keys", WHY))
    if "command" in options:  # it is run in ssh's place, and checks what it likes
        findings.append(
            Violation(name, "uri: command", options["command"][-1] or "set", "left out: ssh itself", WHY)
        )
    return findings + (_judge_pins(name, options) if transport in SSH_TRANSPORTS else [])


def _judge_pins(name: str, options: Mapping[str, list[str]]) -> list[Finding]:
    files = options.get("knownhosts", [])
    if devices := [file for file in files if _DEVICE.match(file)]:
        return [Violation(name, "uri: knownhosts", devices[-1], PINNED, WHY)]
    if any(value.strip() for value in [*options.get("host_keys", ()), *files]):
        return []
    return [Violation(name, "uri: host_keys", "not set", PINNED, WHY)]


def _judge_endpoint(name: str, endpoint: object) -> list[Finding]:
    keys = endpoint.get("host_keys") if isinstance(endpoint, Mapping) else endpoint
    wanted = "at least one public key of the host"
    if keys is UNKNOWN or UNKNOWN in items(keys):
        return [Unjudged(name, "endpoint.host_keys", wanted)]
    if items(keys) and all(isinstance(key, str) and key.strip() for key in items(keys)):
        return []
    seen = "empty" if items(keys) or keys in ([], ()) else written(keys)
    return [Violation(name, "endpoint.host_keys", seen, wanted, WHY)]
