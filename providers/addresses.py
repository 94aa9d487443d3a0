"""Addresses of guests, each reserved on its host by one guest: no two stacks' guests may have the same.

Within a stack an address passes from guest to guest: its stack file is checked for that as a whole, and in
an edit that exchanges two guests' addresses neither could come first.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address

from providers import records
from providers.errors import LabError
from providers.state.record import Record
from providers.transport import Session

KIND = "addresses"

Address = IPv4Address | IPv6Address


def reserve(session: Session, address: Address, stack: str, guest: str, domain: str) -> None:
    """Reserve `address` for this guest; it may be that already.

    Args:
        session: the guest's host.
        address: the guest's address.
        stack: whose guest it is, as in HostInputs.
        guest: its name.
        domain: its name in libvirt; once there is no such domain any more, `sweep` frees the address.

    Raises:
        LabError: a guest of another stack has it.
    """
    key = _key(address)
    with session.lock(KIND):
        record = records.load(session, KIND, key)
        others = {owner: asked for owner, asked in record.claims.items() if owner != stack} if record else {}
        if others:
            raise _taken(session, address, stack, guest, others)
        wanted = Record(kind=KIND, key=key, claims={stack: {"guest": guest, "domain": domain}})
        if record != wanted:
            records.save(session, wanted)


def release(session: Session, address: Address, stack: str, guest: str) -> None:
    """Free `address`, if this guest has it."""
    key = _key(address)
    with session.lock(KIND):
        record = records.load(session, KIND, key)
        asked = record.claims.get(stack) if record else None
        if isinstance(asked, Mapping) and asked.get("guest") == guest:
            records.erase(session, KIND, key)


def sweep(session: Session, stack: str, domain: str) -> None:
    """Free what this domain's guest still has, of a run that was broken off; call it for one that is gone."""
    folder = f"{records.FOLDER}/{KIND}"
    argv = ["grep", "-rlF", "--", json.dumps(domain), folder]  # there may be no such folder
    with session.lock(KIND):
        for path in session.run(argv, check=False).stdout.splitlines():
            key = path.rpartition("/")[2].removesuffix(".json")
            record = records.load(session, KIND, key)
            asked = record.claims.get(stack) if record else None
            if isinstance(asked, Mapping) and asked.get("domain") == domain:
                records.erase(session, KIND, key)


def _key(address: Address) -> str:
    return str(address).replace(":", "-")


def _taken(
    session: Session, address: Address, stack: str, guest: str, others: Mapping[str, object]
) -> LabError:
    owner, asked = next(iter(others.items()))
    other = asked.get("guest") if isinstance(asked, Mapping) else asked
    return LabError(
        f"{session.endpoint.host}: give guest {guest} of stack {stack} the address {address}",
        f"{address} is guest {other}'s of stack {owner}",
        "give one of the two another address. If that stack does not exist any more, "
        f"remove {records.path_of(KIND, _key(address))} on the host",
    )
