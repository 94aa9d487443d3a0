"""Pictures of changes, drawn by Mermaid itself, with the limits that GitHub has."""

from __future__ import annotations

from dataclasses import replace

import pytest

from review.mermaid import picture
from review.model import Effect, HostFacts, Inventory, Verdict
from review.text import printable
from tests.browser.browser import Drawn, check
from tests.unit.review.samples import HOSTILE, each_guest, facts, lab


def changed() -> str:
    """Return a picture in which one of three guests is destroyed, one is interrupted, and one is new."""
    before = lab(2, 3)
    host = before.hosts[0]
    after = replace(before, hosts=(replace(host, guests=(*host.guests, facts("web", "h1"))), before.hosts[1]))
    effects = [
        Effect(Verdict.DESTROYS, "its disk is deleted", "h1", "g1s1"),
        Effect(Verdict.INTERRUPTS, "it is booted again", "h1", "g1s2"),
        Effect(Verdict.SAFE, "it is made", "h1", "web"),
        Effect(Verdict.NETWORK, "eth1 joins br0", "h2"),
    ]
    return picture(before, after, effects)


def destroyed(guests: int) -> str:
    """Return a picture of ten hosts whose guests are all destroyed."""
    every = lab(10, guests // 10)
    return picture(every, every, each_guest(every, Verdict.DESTROYS, "its disk is deleted"))


def hostile() -> str:
    host = HostFacts("h1", "198.51.100.1", "br0", "eth0", guests=(facts("g1s1", "h1"), facts(HOSTILE, "h1")))
    every = Inventory("lab", (host, replace(host, name=HOSTILE, bridge=HOSTILE, student=HOSTILE, guests=())))
    return picture(every, every, [Effect(Verdict.DESTROYS, HOSTILE, host=HOSTILE, guest=HOSTILE)])


PICTURES = {
    "changed": changed(),
    "hostile": hostile(),
    "200-guests": destroyed(200),
    "broken": "flowchart TB\n  a[",
    "too-long": f"flowchart TB\n  a[{'x' * 60_000}]",
}


@pytest.fixture(scope="module")
def drawn() -> dict[str, Drawn]:
    return check(PICTURES)


@pytest.mark.parametrize("name", ["changed", "hostile", "200-guests"])
def test_a_picture_is_drawn_and_is_nothing_else(drawn: dict[str, Drawn], name: str) -> None:
    seen = drawn[name]
    assert seen.error is None
    assert (seen.foreign, seen.problems, seen.requests) == (0, [], [])


def test_a_picture_says_what_becomes_of_whom(drawn: dict[str, Drawn]) -> None:
    labels = [label.split("\n") for label in drawn["changed"].labels]
    assert ["g1s1", "student g1s1", "✖ data destroyed"] in labels
    assert ["g1s2", "student g1s2", "! interrupted"] in labels
    assert ["web", "student web", "+ new"] in labels
    assert ["bridge br0", "✖ network changed"] in labels
    assert ["host h1, 198.51.100.1"] in labels


def test_a_picture_of_200_guests_has_every_one_that_changes(drawn: dict[str, Drawn]) -> None:
    names = {label.partition("\n")[0] for label in drawn["200-guests"].labels}
    assert {guest.name for host in lab(10, 20).hosts for guest in host.guests} <= names


def test_hostile_names_are_text(drawn: dict[str, Drawn]) -> None:
    shown = printable(HOSTILE)[:39] + "…"
    labels = drawn["hostile"].labels
    assert any(label.startswith(f"{shown}\nstudent") for label in labels)
    assert any(label.startswith(f"bridge {shown}") for label in labels)


def test_what_mermaid_refuses_is_told(drawn: dict[str, Drawn]) -> None:
    broken, long = drawn["broken"], drawn["too-long"]
    assert broken.error is not None
    assert "Parse error" in broken.error
    assert long.labels == ["Maximum text size in diagram exceeded"]
