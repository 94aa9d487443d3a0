"""What the testbed reads in a stack file: the hosts' names and addresses."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import yaml

from providers.errors import LabError
from stackfile.roster import expand
from stackfile.rosterfile import Source, with_students
from stackfile.sources import Files
from testbed.machine import Spec

_PREFIX = "kvm-lab:"
_KEY = f"{_PREFIX}hosts"


def machines(stack_file: Path, subnet: IPv4Network, root: Path | None = None) -> list[Spec]:
    """Return the machines to start: the hosts of the stack whose address lies in `subnet`.

    `root` is the folder that a roster's relative path starts from, by default the stack file's own.
    """
    found = []
    for name, address in _hosts(stack_file, root):
        if (inside := _inside(address, subnet)) is not None:
            found.append(Spec(name=name, address=inside))
    return found


def foreign_hosts(stack_file: Path, subnet: IPv4Network, root: Path | None = None) -> list[str]:
    """Return the hosts that are no machines of the testbed: `make up` and `make down` refuse such a stack."""
    return [name for name, address in _hosts(stack_file, root) if _inside(address, subnet) is None]


def _inside(address: str, subnet: IPv4Network) -> IPv4Address | None:
    try:
        parsed = IPv4Address(address)
    except AddressValueError:
        return None
    return parsed if parsed in subnet else None


def _hosts(stack_file: Path, root: Path | None) -> list[tuple[str, str]]:
    asked = f"testbed: read the hosts in {stack_file}"
    try:
        document: Any = yaml.safe_load(stack_file.read_text())
    except FileNotFoundError:
        raise LabError(asked, "no such file", "name the stack's file, Pulumi.<stack>.yaml") from None
    except yaml.YAMLError as error:
        raise LabError(asked, str(error), "mend the YAML") from None
    config = document.get("config") if isinstance(document, dict) else None
    written: Mapping[str, object] = (
        {key.removeprefix(_PREFIX): value for key, value in config.items()}
        if isinstance(config, dict)
        else {}
    )
    # students may have hosts of their own; a mistake in the roster is config.py's to tell
    written, _, _ = with_students(written, Files(root or stack_file.parent), Source(stack_file.name))
    hosts = expand(written).written.get("hosts")
    if not isinstance(hosts, list):
        raise LabError(asked, f"no list config: {_KEY}:", "write the hosts there, see README.md")
    found = []
    for index, host in enumerate(hosts):
        if not isinstance(host, dict) or "name" not in host or "address" not in host:
            raise LabError(asked, f"{_KEY}[{index}] has no name or no address", "write both")
        found.append((str(host["name"]), str(host["address"])))
    return found
