"""What holds for every tree that is not refused: random ones from a seed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from random import Random

import pytest

from providers.state.interfaces import MAIN, BridgeSpec, Change, give_back, seen, take_over
from providers.state.interfaces.parse import Interfaces
from tests.cases.interfaces import judge

SEEDS = range(150)
JUDGED = range(25)
SECOND = "/etc/network/interfaces.d/more"
PORT = "ens3"


class Trees:
    """Makes trees in which an administrator's habits are mixed at random."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)  # noqa: S311 - reproducible, not secret

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def spec(self) -> BridgeSpec:
        return BridgeSpec(
            name=self.random.choice(["br0", "lan"]),
            port=PORT,
            stp=self.chance(30),
            forward_delay=self.random.choice([0, 2, 15]),
            max_wait=self.random.choice([0, 5]),
            hw_address="52:54:00:00:00:01" if self.chance(80) else None,
            dns_search=("lab.example", "example.org") if self.chance(50) else (),
            ipv6_auto=self.chance(70),
        )

    def tree(self) -> dict[str, str]:
        blocks = [self.stanza("lo", "inet loopback", [])]
        blocks += [self.neighbour(number) for number in range(self.random.randrange(5))]
        port = self.port()
        at = self.random.randrange(len(blocks) + 1)
        blocks[at:at] = port
        if self.chance(40):
            cut = self.random.randrange(len(blocks) + 1)
            source = self.random.choice(
                ["source interfaces.d/*\n", "source-directory /etc/network/interfaces.d\n"]
            )
            return {MAIN: self.file([*blocks[:cut], source]), SECOND: self.file(blocks[cut:])}
        return {MAIN: self.file(blocks)}

    def file(self, blocks: list[str]) -> str:
        text = "".join(blocks)
        text = text.replace("\n", "\r\n") if self.chance(10) and "\\\n" not in text else text
        return text.rstrip("\r\n") if self.chance(20) else text

    def port(self) -> list[str]:
        kind = self.random.choice(["static", "static", "static", "dhcp", "manual", "none"])
        if kind == "none":
            return []
        options = {"static": self.address("192.0.2.10"), "dhcp": ["hostname lab"] * self.chance(50)}.get(
            kind, []
        )
        hardware = ["mtu 9000"] * self.chance(30) if kind != "dhcp" else []
        hardware += ["ethernet-wol g", "up ethtool -K $IFACE tso off", "hwaddress 02:00:00:00:00:01"][
            : self.random.randrange(4)
        ]
        blocks = [self.stanza(PORT, f"inet {kind}", self.mixed(options + hardware))]
        if kind == "static" and self.chance(30):
            blocks.append(self.stanza(PORT, "inet static", self.address("203.0.113.10")))
        if self.chance(40):
            method = self.random.choice(["auto", "static", "dhcp"])
            blocks.append(
                self.stanza(
                    PORT, f"inet6 {method}", ["address 2001:db8::10/64"] if method == "static" else []
                )
            )
        if self.chance(25):
            blocks.append(self.stanza(f"{PORT}:1", "inet static", self.address("192.0.2.11")))
        return blocks

    def address(self, address: str) -> list[str]:
        network = address.rpartition(".")[0]
        lines = self.random.choice(
            [[f"address {address}/24"], [f"address {address}", "netmask 255.255.255.0"]]
        )
        more = [
            f"gateway {network}.1",
            f"dns-nameservers {network}.53 \\\n    {network}.54",
            "dns-search old.example",
            f"up ip route add 198.51.100.0/24 via {network}.254 dev {PORT}",
            f"down ip route del 198.51.100.0/24 via {network}.254 dev {PORT} || true",
            "metric 5",
        ]
        return self.mixed(lines + [line for line in more if self.chance(40)])

    def neighbour(self, number: int) -> str:
        name = f"eth{number}"
        return self.random.choice(
            [
                self.stanza(name, "inet dhcp", []),
                self.stanza(name, "inet static", [f"address 10.{number}.0.1/16 # odd"]),
                self.stanza(f"{PORT}.{number + 10}", "inet static", [f"address 10.{number}.0.1/16"]),
                self.stanza(f"ppp{number}", "inet ppp", ["provider dsl", f"pre-up ip link set {PORT} up"]),
                self.stanza(f"bond{number}", "inet manual", ["bond-slaves none", "bond_mode 1"]),
                f"mapping wlan{number}\n  script /bin/false\n  map a b\n\n",
            ]
        )

    def stanza(self, name: str, kind: str, options: list[str]) -> str:
        indent = self.random.choice(["    ", "\t", ""])
        lines = [f"iface {name} {kind}\n"]
        for option in options:
            lines += ["# about the next line\n"] * self.chance(15) + ["\n"] * self.chance(10)
            lines.append(f"{indent}{option}\n")
        automatic = self.random.choice([f"auto {name}\n", f"allow-hotplug {name}\n", ""])
        text = "".join(lines)
        if ":" in name:
            return text + automatic + "\n"
        text = automatic + text if self.chance(80) else text + automatic
        return "# a heading\n" * self.chance(30) + text + "\n" * self.random.randrange(3)

    def mixed(self, lines: list[str]) -> list[str]:
        return self.random.sample(lines, len(lines))


def taken(seed: int) -> tuple[dict[str, str], BridgeSpec, Change, dict[str, str]]:
    trees = Trees(seed)
    tree, spec = trees.tree(), trees.spec()
    change = take_over(tree, spec)
    return tree, spec, change, tree | change.files


def others(tree: dict[str, str], spec: BridgeSpec) -> list[str]:
    """Every line that is not in a stanza of port or bridge and names neither in a class line."""
    net = Interfaces(tree)
    ours = {line for name in (spec.port, spec.name) for stanza in net.of(name) for line in stanza.lines}
    classed = re.compile(rf"({re.escape(spec.port)}|{spec.name})(:\d+)?")
    found = []
    for line in net.lines:
        named = line.keyword in {"auto", "allow-hotplug"} and any(map(classed.fullmatch, line.words[1:]))
        if line not in ours and not named and not line.is_blank:
            found.append(line.raw.rstrip("\r\n"))
    return found


@pytest.mark.parametrize("seed", SEEDS)
def test_all_other_lines_stay_in_their_order(seed: int) -> None:
    tree, spec, _, after = taken(seed)
    assert others(after, spec) == others(tree, spec)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_second_take_over_finds_nothing_to_do(seed: int) -> None:
    _, spec, _, after = taken(seed)
    assert take_over(after, spec).files == {}
    assert seen(after, spec) == spec


@pytest.mark.parametrize("seed", SEEDS)
def test_give_back_is_the_inverse(seed: int) -> None:
    tree, _, change, after = taken(seed)
    kept = json.loads(json.dumps(change.original))
    assert after | give_back(after, kept).files == tree


@pytest.mark.parametrize("seed", SEEDS)
def test_give_back_is_the_inverse_after_updates_too(seed: int) -> None:
    tree, spec, change, after = taken(seed)
    for step in range(3):
        other = Trees(1000 * seed + step).spec().model_copy(update={"name": spec.name})
        after |= take_over(after, other, change.original).files
        assert take_over(after, other, change.original).files == {}
        assert seen(after, other) == other
    assert after | give_back(after, change.original).files == tree


@pytest.mark.parametrize("seed", SEEDS)
def test_edits_made_elsewhere_stay_when_it_is_given_back(seed: int) -> None:
    tree, spec, change, after = taken(seed)
    random = Random(seed)  # noqa: S311 - reproducible, not secret
    net = Interfaces(after)
    inside = {line for name in (spec.port, spec.name) for stanza in net.of(name) for line in stanza.body}
    edited = {}
    for path, lines in net.files.items():
        ending = lines[0].end if lines else "\n"
        pieces = []
        for line in lines:
            if line not in inside and random.randrange(3) == 0:
                pieces.append(f"# edit {random.randrange(10**6)}{ending}")
            pieces.append(line.raw)
        edited[path] = "".join(pieces)
    back = edited | give_back(edited, change.original).files
    marks = re.compile(r"# edit \d+\r?\n")
    for path, text in back.items():
        edit_ends_it = re.search(r"# edit \d+(\r?\n)\Z", text)
        ending = edit_ends_it[1] if edit_ends_it and not tree[path].endswith("\n") else ""
        assert marks.sub("", text) == tree[path] + ending
    assert {p: marks.findall(t) for p, t in back.items()} == {p: marks.findall(t) for p, t in edited.items()}


@pytest.mark.parametrize("seed", JUDGED)
def test_ifquery_agrees(seed: int, debian_root: Path) -> None:
    tree, spec, _, after = taken(seed)
    names = {"lo", *(stanza.name for each in (tree, after) for stanza in Interfaces(each).stanzas)}
    had, has = (judge.ask(debian_root, each, names) for each in (tree, after))
    assert judge.compare(had, has, spec) == []
