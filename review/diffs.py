"""What changes in hosts' files, and in their packages, as far as a plan tells; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from providers.state import netfilter
from providers.state.interfaces import MAIN, BridgeSpec, InterfacesError, take_over
from providers.state.netfilter import Netfilter
from providers.state.outlook import FileChange, file_changes, unified
from review.inventory import BRIDGE
from review.model import FileDiff, Plan, Step
from review.parts import NETFILTER, PACKAGES, found, host_of, kind

ELSE = "the addresses, and other lines, are not known here"
PACKAGE_LIST = "packages"
_NOT_KNOWN = "…"


def diffs(plan: Plan) -> tuple[FileDiff, ...]:
    """Return what changes in files, in the plan's order; where a plan does not tell a file, nothing."""
    return tuple(diff for step in plan.steps if step.op != "same" for diff in _of_step(step))


def _of_step(step: Step) -> Iterator[FileDiff]:
    tell = {BRIDGE: _interfaces, NETFILTER: _netfilter, PACKAGES: _packages}.get(kind(step))
    for change in tell(step) if tell else ():
        host = host_of(step)
        lines = [_with_note(line) if change.path == MAIN else line for line in unified(host, change)]
        yield FileDiff(host, change.path, tuple(lines))


def _with_note(line: str) -> str:
    return f"{line} {ELSE}" if line.startswith("@@ ") else line


def _interfaces(step: Step) -> Iterable[FileChange]:
    """Return the stanzas of bridge and port in a file that has, besides them, nothing."""
    ports = {str(inputs["port"]): None for inputs in (found(step), step.new) if inputs.get("port")}
    bare = "\n".join(f"auto {port}\niface {port} inet dhcp\n" for port in ports)
    hardware = step.outputs.get("hw_address")
    try:
        before, after = (
            _stanzas(bare, inputs, hardware) for inputs in (found(step) if step.old else {}, step.new)
        )
    except (InterfacesError, ValidationError):
        return ()
    return file_changes({MAIN: before}, {MAIN: after})


def _stanzas(bare: str, inputs: Mapping[str, Any], hardware: object) -> str:
    """Return the file with a bridge of these inputs; without any, as it is without the bridge.

    Raises:
        ValidationError: the inputs are not known, or none of a bridge.
        InterfacesError: they are refused.
    """
    text = bare
    if inputs:
        options = {name: inputs[name] for name in BridgeSpec.model_fields if name in inputs}
        spec = BridgeSpec.model_validate({**options, "hw_address": hardware or None})
        text = take_over({MAIN: bare}, spec).files.get(MAIN, bare)
    # how an interface gets its addresses is not in a plan
    return re.sub(r"^(iface \S+ inet) dhcp$", rf"\1 {_NOT_KNOWN}", text, flags=re.MULTILINE)


def _netfilter(step: Step) -> Iterable[FileChange]:
    """Return the files that are ours: before those that the state names, after those that may be needed."""
    ours = step.outputs.get("files")
    named = set(map(str, ours)) if isinstance(ours, list) else set()
    before, after = (_netfilter_files(inputs.get("enabled")) for inputs in (found(step), step.new))
    return file_changes({path: text for path, text in before.items() if path in named}, after)


def _netfilter_files(enabled: object) -> dict[str, str]:
    if not isinstance(enabled, bool):
        return {}
    return netfilter.wanted_files(
        Netfilter({}, is_module=True, sysctl_files={}, modules_files={}), enabled=enabled
    )


def _packages(step: Step) -> Iterable[FileChange]:
    before, after = (_list(inputs.get("packages")) for inputs in (found(step), step.new))
    return file_changes({PACKAGE_LIST: before}, {PACKAGE_LIST: after})


def _list(packages: object) -> str:
    return "".join(f"{name}\n" for name in packages) if isinstance(packages, list) else ""
