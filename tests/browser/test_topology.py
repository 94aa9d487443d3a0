"""The topology page in a real browser: on a phone, a tablet and a desk, light and dark, and on paper."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from lab.topology import page
from review.text import printable
from tests.browser.browser import Seen, View, look, look_at
from tests.looks import HOSTILE, Sample, hostile, room

WHEN = datetime(2026, 11, 24, 1, 44, 47, tzinfo=UTC)
PHONE, DESK, PAPER = View(360), View(1400, "dark"), View(700, "dark", "print")
VIEWS = [*(View(width, scheme) for width in (360, 820, 1400) for scheme in ("light", "dark")), PAPER]
SAMPLES = {"room": room(10, 40), "few": room(3, 3), "hostile": hostile()}
ASKED = [
    *((name, view) for name in ("few", "hostile") for view in VIEWS),
    *(("room", view) for view in (PHONE, DESK, PAPER)),
]
LEAST_SIZE = 12.0
"""CSS pixels of the smallest text on a screen."""
Looks = dict[tuple[str, View], Seen]
BAD = """<!doctype html><title>bad</title><style>
p { width: 900px; color: #aaa; background: #fff; margin: 0; } i { position: absolute; left: 8px; top: 8px; }
b { display: block; width: 2em; overflow: hidden; white-space: nowrap; }
</style><p>wide and faint</p><i>over it</i><b>cut off at its end</b>
<script>console.error('heard')</script><link rel="stylesheet" href="missing.css"><a href="#nowhere">to</a>"""


def html_of(sample: Sample, *, looked: bool = True) -> str:
    stack = sample.inventory.stack
    return page(sample.inventory, sample.live if looked else None, stack=stack, when=WHEN)


@pytest.fixture(scope="module")
def looks() -> Looks:
    pages = {name: html_of(sample) for name, sample in SAMPLES.items()}
    return dict(zip(ASKED, look(pages, ASKED), strict=True))


@pytest.fixture(
    params=ASKED, ids=lambda asked: f"{asked[0]}-{asked[1].width}-{asked[1].scheme}-{asked[1].media}"
)
def asked(request: pytest.FixtureRequest) -> tuple[str, View]:
    name, view = request.param
    return str(name), view


def test_the_page_fits_and_can_be_read(looks: Looks, asked: tuple[str, View]) -> None:
    view, seen = asked[1], looks[asked]
    assert seen.width <= view.width, "nothing to scroll sideways"
    assert (seen.clipped, seen.overlapping) == ([], [])
    assert seen.faint == [], "WCAG 2, AA"
    assert seen.smallest >= LEAST_SIZE or view == PAPER


def test_the_page_asks_for_nothing_and_runs_nothing(looks: Looks, asked: tuple[str, View]) -> None:
    seen = looks[asked]
    assert (seen.problems, seen.requests, seen.foreign, seen.broken) == ([], [], 0, 0)


def test_every_guest_is_visible(looks: Looks, asked: tuple[str, View]) -> None:
    guests = {printable(guest.name) for host in SAMPLES[asked[0]].inventory.hosts for guest in host.guests}
    assert guests <= set(looks[asked].guests)


def test_a_room_is_compact_at_a_desk(looks: Looks) -> None:
    wide, narrow = looks["room", DESK].height, looks["room", PHONE].height
    assert wide * 2 < narrow, "guests stand in columns where there is room"


def test_hostile_names_are_text(looks: Looks) -> None:
    seen = looks["hostile", PHONE]
    assert seen.title == f"{printable(HOSTILE)} · topology"
    shown = re.sub(r"\s", "", seen.text)
    assert shown.count(re.sub(r"\s", "", printable(HOSTILE))) > 10


def test_what_a_screen_reader_is_told() -> None:
    seen = look_at("outline", html_of(room(3, 3)), View(1400, outline=True))
    for line in (
        'heading "room" [level=1]',
        'heading "Hosts at a glance" [level=2]',
        'article "pc01"',
        'heading "pc01" [level=3]',
        'list "Network cards"',
        'list "On the bridge of pc01"',
        'link "pc02"',
    ):
        assert line in seen.outline


def test_a_page_without_a_look() -> None:
    seen = look_at("unseen", html_of(room(2, 4), looked=False), PHONE)
    assert "Not looked at: the stack's state, read 24 November 2026, 01:44:47 UTC" in seen.text
    assert "not looked at" in seen.text
    assert (seen.faint, seen.clipped, seen.problems, seen.requests) == ([], [], [], [])


def test_what_gets_into_the_page_cannot_run_or_load() -> None:
    injected = "<script>document.title = 'ran'</script><img src='http://192.0.2.1/x'><p style='color: red'>"
    text = html_of(room(1, 1)).replace("</body>", f"{injected}</body>")
    seen = look_at("injected", text, View(820))
    assert seen.title == "room · topology"
    assert seen.foreign == 3
    assert len([problem for problem in seen.problems if "Content Security Policy" in problem]) == 3


def test_a_bad_page_is_told_in_every_way() -> None:
    seen = look_at("bad", BAD, PHONE)
    assert seen.width > 360
    assert any("wide and faint" in text for text in seen.faint)
    assert "cut off at its end" in seen.clipped
    assert any("over it" in text for text in seen.overlapping)
    assert "heard" in seen.problems
    assert any("missing.css" in address for address in seen.requests)
    assert (seen.foreign, seen.broken) == (2, 1)
