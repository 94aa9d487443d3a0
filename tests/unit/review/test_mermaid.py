import re
from dataclasses import replace

import pytest

from review.marks import Mark, marks
from review.mermaid import CHARACTERS, EDGES, label, picture
from review.model import Effect, GuestFacts, HostFacts, Inventory, Verdict
from tests.unit.review.samples import HOSTILE, each_guest, facts, lab

LINE = re.compile(
    r"flowchart LR|  (?:end|subgraph h\d+\[L\]|classDef [a-z]+ [\w#:, -]+|style h\d+ fill:none,[\w#:, -]+)"
    r"|    direction LR|  (?:  )?\w+(?:\[L\]:::[a-z]+)?(?: --- \w+(?:\[L\]:::[a-z]+)?)?"
)
LABEL = re.compile(r'"(?:[A-Za-z0-9 ,:/.-]|#[0-9]+;|<br/>)*"')


def check(text: str) -> None:
    """Every line has a form that it may have, every label only what cannot end it."""
    for line in text.split("\n"):
        assert LINE.fullmatch(LABEL.sub("L", line)), line
    assert len(text) <= CHARACTERS
    assert text.count(" --- ") <= EDGES


def node(text: str, name: str) -> str:
    """The label and the class of the node with this name."""
    found = re.search(rf'\["({name}[^"]*)"\]:::([a-z]+)', text)
    assert found, text
    return f"{found[1]} {found[2]}"


def test_each_fate_is_told_by_a_word_and_by_a_class() -> None:
    before = lab(1, 4)
    host = before.hosts[0]
    ports = replace(host, extra_ports=("eth1",), guests=(*host.guests[:3], facts("g1s5", "h1")))
    after = replace(before, hosts=(ports,))
    effects = [
        Effect(Verdict.INTERRUPTS, "it is booted again", "h1", "g1s1"),
        Effect(Verdict.SAFE, "its key is another", "h1", "g1s1"),
        Effect(Verdict.DESTROYS, "its disk is deleted", "h1", "g1s2"),
        Effect(Verdict.DESTROYS, "it and its disk are deleted", "h1", "g1s4"),
        Effect(Verdict.SAFE, "it is made", "h1", "g1s5"),
        Effect(Verdict.NETWORK, "eth1 joins br0", "h1"),
    ]
    text = picture(before, after, effects)
    check(text)
    assert node(text, "g1s1") == "g1s1<br/>student g1s1<br/>#33; interrupted interrupted"
    assert node(text, "g1s2") == "g1s2<br/>student g1s2<br/>#10006; data destroyed destroyed"
    assert node(text, "g1s3") == "g1s3<br/>student g1s3 same"
    assert node(text, "g1s4") == "g1s4<br/>student g1s4<br/>goes<br/>#10006; data destroyed destroyed"
    assert node(text, "g1s5") == "g1s5<br/>student g1s5<br/>#43; new new"
    assert node(text, "bridge") == "bridge br0<br/>#10006; network changed network"
    assert node(text, "port eth1") == "port eth1<br/>#43; new new"
    assert node(text, "port eth0") == "port eth0 same"
    used = set(re.findall(r":::([a-z]+)", text))
    assert used <= set(re.findall(r"classDef ([a-z]+) ", text))


def test_a_guest_that_moves_is_on_both_hosts() -> None:
    before, after = lab(2, 0), lab(2, 0)
    before = replace(before, hosts=(replace(before.hosts[0], guests=(facts("web", "h1"),)), before.hosts[1]))
    after = replace(after, hosts=(after.hosts[0], replace(after.hosts[1], guests=(facts("web", "h2"),))))
    found = marks(before, after, [Effect(Verdict.DESTROYS, "its disk stays behind", "h2", "web")])
    left, here = (host.guests[0] for host in found)
    assert (left.mark, left.note) == (Mark.GONE, "moves to h2")
    assert (here.mark, here.note) == (Mark.DESTROYED, "moved from h1")


def test_hosts_are_new_and_gone() -> None:
    both = lab(2, 1).hosts
    before, after = Inventory("lab", both[:1]), Inventory("lab", both[1:])
    found = marks(before, after, [Effect(Verdict.NETWORK, "br0 takes over", "h2")])
    assert [(host.mark, host.bridge, host.guests[0].mark) for host in found] == [
        (Mark.GONE, Mark.GONE, Mark.GONE),
        (Mark.NEW, Mark.NETWORK, Mark.NEW),
    ]


def test_one_inventory_alone_tells_of_nothing_new() -> None:
    for before, after in ((lab(1, 1), None), (None, lab(1, 1))):
        assert not any(host.changed for host in marks(before, after, ()))
    assert node(picture(None, None, ()), "no hosts") == "no hosts same"


def test_many_guests_that_stay_are_folded() -> None:
    many = lab(5, 20)
    text = picture(many, many, [Effect(Verdict.INTERRUPTS, "it is booted again", "h2", "g2s7")])
    check(text)
    assert text.count("subgraph") == 1
    assert node(text, "19 more") == "19 more guests, unchanged same"
    assert node(text, "4 more") == "4 more hosts with 80 guests, unchanged same"


@pytest.mark.parametrize("hosts", [10, 40, 400])
def test_a_picture_of_any_size_fits(hosts: int) -> None:
    many = lab(hosts, 20)
    text = picture(many, many, each_guest(many, Verdict.DESTROYS, "its disk is deleted"))
    check(text)
    assert "data destroyed" in text
    drawn = text.count("subgraph")
    left = node(text, f"{hosts - drawn} more hosts") if drawn < hosts else ""
    assert not left or left.endswith("guests, changed: see the table same")
    assert len(picture(many, many, (), characters=2000)) <= 2000
    assert picture(many, many, (), characters=10) == ""


def test_names_end_no_label() -> None:
    hostile = HostFacts(
        HOSTILE,
        HOSTILE,
        HOSTILE,
        HOSTILE,
        (HOSTILE,),
        addresses=(HOSTILE,),
        student=HOSTILE,
        guests=tuple(
            GuestFacts(name, HOSTILE, "", "", "", student=name) for name in (HOSTILE, "- x", "1. x", "end")
        ),
    )
    check(picture(None, Inventory("lab", (hostile,)), [Effect(Verdict.SAFE, HOSTILE, HOSTILE, HOSTILE)]))
    assert label("g1s2.example-a", '"`{<') == "g1s2.example-a<br/>#34;#96;#123;#60;"
    assert label("- x", "1. x", "-") == "#45; x<br/>1#46; x<br/>#45;"
    assert label("a\n\u202e%") == "a#92;x0a#92;u202e#37;"
