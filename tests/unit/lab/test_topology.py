"""The topology page and what it is made from: how hosts and guests are, what to look at, what is escaped."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, cast

import pytest

from lab.figures import HostFigure, Plug, Sign, figures
from lab.topology import page
from lab.views import MacView, PortView
from review.model import GuestFacts, HostFacts, Inventory
from tests.looks import HOSTILE, STACK, STRANGER, Sample, hostile, room

WHEN = datetime(2026, 11, 24, 1, 44, 47, tzinfo=UTC)


def only(sample: Sample) -> HostFigure:
    (figure,) = figures(sample.inventory, sample.live)
    return figure


def guest_that(**fields: object) -> Plug:
    """Return the figure of a guest about which the look tells this."""
    return only(room(1, 1, {1: fields})).plugs[0]


def with_view(sample: Sample, **fields: object) -> Sample:
    """Return the sample with a view of its only host that has these fields."""
    return replace(sample, views=(replace(sample.views[0], **cast("dict[str, Any]", fields)),))


def html_of(sample: Sample, *, looked: bool = True) -> str:
    return page(sample.inventory, sample.live if looked else None, stack=STACK, when=WHEN)


@pytest.mark.parametrize(
    ("fields", "sign"),
    [
        ({}, Sign("runs", "running")),
        ({"state": "unknown"}, Sign("runs", "running")),
        ({"state": "shut off", "ssh": "silent"}, Sign("off", "off", odd=True)),
        ({"state": "paused", "ssh": "silent"}, Sign("off", "paused", odd=True)),
        ({"state": "paused"}, Sign("runs", "answers, paused")),
        ({"ssh": "silent"}, Sign("silent", "silent", odd=True)),
        ({"state": "unknown", "ssh": "silent"}, Sign("silent", "silent", odd=True)),
        ({"ssh": "not asked"}, Sign("unknown", "not asked", odd=True)),
        ({"state": "missing", "ssh": "silent"}, Sign("wrong", "missing", odd=True)),
        ({"ssh": "another"}, Sign("wrong", "another machine answers", odd=True)),
    ],
)
def test_how_a_guest_is(fields: dict[str, Any], sign: Sign) -> None:
    assert guest_that(**fields).sign == sign


def test_a_guest_has_its_port_address_student_and_disks() -> None:
    assert guest_that() == Plug(
        "g1s1",
        Sign("runs", "running"),
        guest=True,
        port="vnet0",
        address="198.51.100.1",
        student="g1 s1",
        disk=2,
        kept=(1,),
    )


def test_what_is_odd_about_a_guests_place_is_told() -> None:
    assert guest_that(seen_on="pc09").notes == ("it is on pc09",)
    assert guest_that(seen_on="pc09").port is None
    assert guest_that(on_bridge=False).notes == ("its vnet0 is no port of the bridge",)
    assert guest_that(ssh="another", reason="shows a key").notes == ("198.51.100.1 shows a key",)


def test_a_host_has_its_bridge_and_cards() -> None:
    figure = only(room(1, 0))
    assert (figure.bridge, figure.addresses, figure.stp, figure.forward_delay) == (
        "br0",
        ("192.0.2.11/24",),
        False,
        0,
    )
    assert [(card.name, card.state, card.heard) for card in figure.cards] == [("eth0", "forwarding", 1)]
    assert (figure.sign, figure.looked, figure.notes) == (Sign("runs", "read"), True, ())


def test_a_bridge_that_is_not_as_the_state_has_it_is_told() -> None:
    sample = room(1, 0)
    assert only(with_view(sample, stp=True)).notes == ("STP is on, the state has it off",)
    assert only(with_view(sample, stp=True)).stp is True
    assert only(with_view(sample, bridge_id=None, ports=())).notes == ("it has no bridge br0",)
    missing = only(with_view(sample, missing_ports=("eth1",)))
    assert missing.cards[1].notes == ("eth1 is no port of br0",)
    silent = only(with_view(sample, silent="error: libvirt is not installed\nmore"))
    assert silent.notes == ("its domains are not known: libvirt is not installed",)


def test_a_host_that_was_not_read_is_drawn_from_the_state() -> None:
    figure = figures(room(5, 2).inventory, room(5, 2).live)[4]
    assert figure.sign == Sign("wrong", "not read: No route to host", odd=True)
    assert not figure.looked
    assert [card.name for card in figure.cards] == ["eth0"]
    assert [plug.sign for plug in figure.plugs] == [Sign("unknown", "not asked")] * 2


def test_what_else_is_on_the_bridge_is_shown() -> None:
    sample = room(1, 1)
    stranger = MacView(STRANGER, 2, "stranger", None, odd=True)
    theirs = MacView(STRANGER, None, "guest", "web", odd=True)
    ports = (
        PortView("vnet0", "guest", "learning", "room-g1s1", "g1s1", (theirs,)),
        PortView("vnet7", "guest", "forwarding", "room-web", "web", ()),
        PortView("vnet8", "domain", "forwarding", "by hand", None, ()),
        PortView("veth0", "unknown", "", None, None, (stranger,)),
    )
    own, moved, domain, unknown = only(with_view(sample, ports=ports)).plugs
    assert own.notes == ("vnet0 is learning", f"the guest's address {STRANGER} of web behind vnet0, static")
    assert (moved.name, moved.port, moved.sign.odd) == ("web", "vnet7", True)
    assert (domain.name, domain.sign) == ("by hand", Sign("unknown", "not of this stack"))
    assert unknown.notes == (
        "veth0 is in no known state",
        f"stranger {STRANGER} behind veth0, heard 2 s before",
    )
    assert (unknown.port, unknown.guest) == ("veth0", False)


def test_the_state_and_the_stack_file_may_differ() -> None:
    one = room(1, 1)
    old = HostFacts("old", "192.0.2.99", "br0", "eth0", student="g9s1")
    more = GuestFacts("gone", "pc01", "192.0.2.50", "", "", disks=("gone-seed",), student="team")
    facts = replace(one.inventory.hosts[0], guests=(more,))
    first, second = figures(Inventory(STACK, (facts, old)), one.live)
    assert [(plug.name, plug.notes) for plug in first.plugs] == [
        ("gone", ("no longer in the stack file",)),
        ("g1s1", ("not in the state",)),
    ]
    assert (first.plugs[0].disk, first.plugs[0].student) == (None, "team")
    assert second.sign == Sign("unknown", "no longer in the stack file, not looked at", odd=True)
    assert second.student == "g9 s1"


def test_a_stack_without_a_state_is_drawn_from_the_look() -> None:
    (figure,) = figures(Inventory(STACK), room(1, 1).live)
    assert (figure.name, figure.address, figure.bridge, figure.forward_delay) == (
        "pc01",
        "192.0.2.11",
        "br0",
        None,
    )
    assert [(plug.name, plug.address, plug.notes) for plug in figure.plugs] == [("g1s1", "198.51.100.1", ())]


def test_a_host_of_which_the_state_has_its_guests_only() -> None:
    facts = HostFacts("pc01", "", "", "", guests=room(1, 1).inventory.hosts[0].guests)
    (unseen,) = figures(Inventory(STACK, (facts,)), None)
    assert (unseen.bridge, unseen.stp, unseen.cards) == (None, None, ())
    (seen,) = figures(Inventory(STACK, (facts,)), room(1, 1).live)
    assert (seen.address, seen.bridge, seen.stp, seen.notes) == ("192.0.2.11", "br0", False, ())


def test_the_page_says_when_and_how_many() -> None:
    text = page(
        room(5, 3).inventory, room(5, 3).live, stack=STACK, when=WHEN.astimezone(timezone(timedelta(hours=2)))
    )
    assert '<time datetime="2026-11-24T01:44:47+00:00">24 November 2026, 01:44:47 UTC</time>' in text
    for name, number, words in (
        ("hosts", 5, "4 read, 1 not read"),
        ("guests", 15, "12 running, 3 not asked"),
        ("to look at", 2, "listed below"),
    ):
        assert f"<dt>{name}</dt><dd><b>{number}</b><span>{words}</span></dd>" in text


def test_a_page_of_all_in_order_has_nothing_to_look_at() -> None:
    text = html_of(room(1, 3))
    assert "<b>0</b><span>nothing</span>" in text
    assert "What needs a look" not in text


def test_what_needs_a_look_is_listed_with_the_way_there() -> None:
    text = html_of(room(2, 23))
    listed = re.search(r'<ul class="concerns">(.*?)</section>', text)
    assert listed is not None
    words = re.sub("<[^>]*>", "", listed[1])
    for said in (
        "off g1s5",
        "silent g1s11",
        "missing g1s17",
        "g1s23: another machine answers; 198.51.100.23 shows",
    ):
        assert said in words
    assert '<a href="#host-1">pc02</a>' in listed[1]
    assert 'id="host-1"' in text


def test_a_page_without_a_look_says_so() -> None:
    text = html_of(room(1, 1), looked=False)
    assert "<strong>Not looked at</strong>" in text
    assert "not looked at</span></dd>" in text
    assert "to look at" not in text
    assert 'class="host unseen"' in text


def test_an_empty_stack_has_a_page() -> None:
    text = page(Inventory("empty"), None, stack="empty", when=WHEN)
    assert "Neither the state nor the stack file has a host." in text


def test_all_that_is_shown_is_escaped() -> None:
    sample = hostile()
    text = page(sample.inventory, sample.live, stack=HOSTILE, when=WHEN)
    assert text.count("&lt;img src=x onerror=alert(1)&gt;") > 10
    for never in ("<img", "</script>", "\u202e"):
        assert never not in text


def test_the_page_may_load_and_run_nothing_and_its_style_is_allowed() -> None:
    text = html_of(room(1, 1))
    style = re.search("<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"content=\"default-src 'none'; style-src 'sha256-{digest}';" in text
    for never in ("<script", "<link", " style=", "http:", "https:", "url(", "@import"):
        assert never not in text
