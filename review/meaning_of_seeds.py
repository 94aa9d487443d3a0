"""What an edited cloud-init seed changes in its guest, as far as a plan tells; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from policies.rules.verdict import UNKNOWN
from review.model import Step
from review.parts import changed_keys, edited, listed, said

# what of the first interface in cloud-init's network configuration, version 2, people have words for
_WORDS = {
    "addresses": "its address",
    "gateway4": "gateway",
    "gateway6": "gateway",
    "routes": "routes",
    "nameservers.addresses": "name servers",
    "nameservers.search": "search domains",
}


def seed_changes(step: Step) -> str:
    """Return what the edit of a seed changes, in words."""
    told = []
    changes = edited(step)
    if "networkConfig" in changes:
        told += list(_network(*changes["networkConfig"]))
    if UNKNOWN in step.new.values():
        told.append("what else is not known yet")
    # a seed's name is the digest of all: where nothing else differs, what is hidden does
    if "userData" in changed_keys(step) or not told:
        told.append("user, keys, packages, files, commands or its neighbours' names")
    return listed(told)


def _network(old: object, new: object) -> Iterator[str]:
    if not isinstance(old, str) or not isinstance(new, str):
        return
    was, will = _card(old), _card(new)
    differing = [name for name in dict.fromkeys((*was, *will)) if was.get(name) != will.get(name)]
    for name in differing:
        words, values = _WORDS.get(name, f"its network's {name}"), (was.get(name), will.get(name))
        is_plain = all(value is None or _is_plain(value) for value in values)
        yield f"{words} ({said(values[0])} to {said(values[1])})" if is_plain else words


def _is_plain(value: object) -> bool:
    return not isinstance(value, Mapping) and not (
        isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value)
    )


def _card(text: str) -> dict[str, Any]:
    """Return the options of the first interface, those of its name servers by themselves."""
    try:
        read = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    cards = read.get("ethernets") if isinstance(read, Mapping) else None
    card = next(iter(cards.values()), None) if isinstance(cards, Mapping) else None
    if not isinstance(card, Mapping):
        return {}
    servers = card.get("nameservers")
    inner = servers if isinstance(servers, Mapping) else {}
    return {
        **{str(name): value for name, value in card.items() if name != "nameservers"},
        **{f"nameservers.{name}": value for name, value in inner.items()},
    }
