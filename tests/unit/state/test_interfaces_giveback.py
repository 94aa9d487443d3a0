"""Giving back after someone edited the bridge's own stanzas; updates and drift."""

from __future__ import annotations

import pickle

import pytest

from providers.state.interfaces import MAIN, BridgeSpec, Change, InterfacesError, give_back, seen, take_over

SPEC = BridgeSpec(name="br0", port="eth0", hw_address="52:54:00:12:34:56", dns_search=("lab.example",))
BEFORE = """\
auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    mtu 9000
    address 192.0.2.10/24
    gateway 192.0.2.1
    dns-search old.example
    up ip route add 198.51.100.0/24 via 192.0.2.254 dev eth0
"""


def taken(before: str = BEFORE, spec: BridgeSpec = SPEC) -> tuple[str, Change]:
    change = take_over({MAIN: before}, spec)
    return change.files[MAIN], change


def back(text: str, change: Change) -> str:
    return give_back({MAIN: text}, change.original).files.get(MAIN, text)


def test_an_address_changed_by_hand_goes_back_to_the_port() -> None:
    text, change = taken()
    assert back(text.replace("192.0.2.10/24", "192.0.2.99/24"), change) == (
        "auto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet static\n"
        "    mtu 9000\n    dns-search old.example\n    address 192.0.2.99/24\n    gateway 192.0.2.1\n"
        "    up ip route add 198.51.100.0/24 via 192.0.2.254 dev eth0\n"
    )


def test_a_route_added_to_the_bridge_goes_back_to_the_port() -> None:
    text, change = taken()
    route = "    up ip route add 203.0.113.0/24 via 192.0.2.253 dev br0\n    bridge_ports eth0\n"
    edited = text.replace("    bridge_ports eth0\n", route)
    assert "    up ip route add 203.0.113.0/24 via 192.0.2.253 dev eth0\n" in back(edited, change)
    assert "br0" not in back(edited, change)


def test_an_option_added_to_the_port_stays_with_it() -> None:
    text, change = taken()
    edited = text.replace("    mtu 9000\n", "    mtu 9000\n    ethernet-wol g\n")
    assert back(edited, change) == BEFORE.replace("    mtu 9000\n", "    ethernet-wol g\n    mtu 9000\n")


def test_an_option_changed_on_the_port_stands_once_afterwards() -> None:
    text, change = taken()
    edited = text.replace("    mtu 9000\n", "    mtu 1500\n")
    assert back(edited, change) == BEFORE.replace("mtu 9000", "mtu 1500")
    readdressed = back(edited.replace("192.0.2.10/24", "192.0.2.99/24"), change)
    assert readdressed.count("mtu") == readdressed.count("mtu 1500") == 1


def test_an_option_deleted_on_the_port_does_not_come_back() -> None:
    text, change = taken()
    edited = text.replace("    mtu 9000\n", "")
    assert back(edited, change) == BEFORE.replace("    mtu 9000\n", "")
    assert "mtu" not in back(edited.replace("192.0.2.10/24", "192.0.2.99/24"), change)


def test_an_option_changed_in_the_ports_other_stanza_stands_once_afterwards() -> None:
    before = "auto eth0\niface eth0 inet manual\n  ethernet-wol g\niface eth0 inet static\n"
    before += "  address 192.0.2.10/24\n  mtu 9000\n"
    text, change = taken(before)
    assert "  ethernet-wol g\n  mtu 9000\n" in text
    edited = text.replace("  mtu 9000\n", "  mtu 1500\n")
    assert back(edited, change) == before.replace("  mtu 9000\n", "").replace(
        "wol g\n", "wol g\n  mtu 1500\n"
    )
    more = text.replace("  mtu 9000\n", "  mtu 9000\n  media auto\n")
    assert back(more, change) == before.replace("wol g\n", "wol g\n  media auto\n")


def test_what_ifup_would_choke_on_is_not_written() -> None:
    text, change = taken()
    edited = text.replace("    gateway 192.0.2.1\n", "    gateway 192.0.2.1\n    mtu 1500\n")
    edited = edited.replace("    mtu 9000\n", "    mtu 9000\n    media auto\n")
    with pytest.raises(InterfacesError, match=r"'mtu 1500': repeats line .*as the line would stand"):
        back(edited, change)


def test_an_alias_added_to_the_bridge_becomes_the_ports_with_its_auto_line() -> None:
    text, change = taken()
    more = "\nauto br0:1 eth1\nallow-hotplug br0:1\niface br0:1 inet static\n    address 192.0.2.50/24\n"
    assert back(text + more, change) == BEFORE + more.replace("br0:1", "eth0:1")


def test_a_command_added_to_the_bridge_that_cannot_be_renamed_is_refused() -> None:
    text, change = taken()
    edited = text.replace("    bridge_ports", "    up /usr/local/bin/fw.sh br0\n    bridge_ports")
    with pytest.raises(
        InterfacesError, match=r"'up /usr/local/bin/fw\.sh br0': names br0, which eth0 replaces"
    ):
        back(edited, change)


def test_a_command_that_named_the_bridge_before_may_do_so_again() -> None:
    before = BEFORE + "    up /usr/local/bin/fw.sh br0\n"
    text, change = taken(before)
    assert back(text, change) == before
    assert "    up /usr/local/bin/fw.sh br0\n" in back(text.replace(".10/24", ".99/24"), change)


def test_a_no_auto_down_line_names_both_and_then_the_port_again() -> None:
    before = "no-auto-down eth0 eth1\n" + BEFORE
    text, change = taken(before)
    assert text.startswith("no-auto-down br0 eth0 eth1\n")
    assert back(text.replace("192.0.2.10/24", "192.0.2.99/24"), change).startswith("no-auto-down eth0 eth1\n")


def test_the_sentences_tell_the_address_written_not_the_old_one() -> None:
    text, change = taken()
    edited = text.replace("192.0.2.10/24", "192.0.2.20/24").replace("gateway 192.0.2.1", "gateway 192.0.2.3")
    undone = give_back({MAIN: edited}, change.original)
    assert undone.sentences[0] == "eth0 gets back 192.0.2.20/24 and the default route via 192.0.2.3"
    assert undone.moved.addresses == ("192.0.2.20/24",)
    assert undone.moved.gateways == ("192.0.2.3",)


def test_a_stanza_added_to_the_bridge_becomes_the_ports() -> None:
    text, change = taken()
    edited = text + "\niface br0 inet static\n    address 203.0.113.10/24\n    bridge_ports eth0\n"
    assert back(edited, change) == BEFORE + "\niface eth0 inet static\n    address 203.0.113.10/24\n"


def test_more_bridge_options_leave_with_the_bridge() -> None:
    text, change = taken()
    assert back(text.replace("bridge_fd 0", "bridge_fd 4\n    bridge_ageing 100"), change) == BEFORE


def test_a_bridge_removed_by_hand_still_gives_the_port_its_address() -> None:
    text, change = taken()
    edited = text[: text.index("\nauto br0")]
    assert back(edited, change) == BEFORE


def test_port_and_bridge_removed_by_hand() -> None:
    _, change = taken()
    lo = "auto lo\niface lo inet loopback\n"
    assert back(lo, change) == lo + "\n" + BEFORE[BEFORE.index("iface eth0") :]


def test_a_bridge_that_was_there_gets_its_options_back_and_stays() -> None:
    before = "auto br0\niface br0 inet dhcp\n    bridge_ports eth1\n    bridge_stp on\n"
    text, change = taken(before)
    assert "bridge_ports eth1 eth0\n    bridge_stp off" in text
    assert back(text, change) == before
    assert back(text + "\n# more\n", change) == before + "\n# more\n"


def test_an_edited_bridge_that_was_there_keeps_the_edit() -> None:
    before = "auto br0\niface br0 inet dhcp\n    bridge_ports eth1\n    bridge_stp on\n"
    text, change = taken(before)
    edited = text.replace("inet dhcp\n", "inet dhcp\n    hostname lab\n")
    assert back(edited, change) == before.replace("inet dhcp\n", "inet dhcp\n    hostname lab\n")


def test_a_bridge_that_took_the_name_in_auto_before_keeps_it() -> None:
    before = "auto eth0 br0\niface eth0 inet dhcp\n"
    text, change = taken(before)
    assert text.startswith("auto eth0 br0\niface eth0 inet manual\n\niface br0 inet dhcp\n")
    assert back(text, change) == before


def test_emptied_search_domains_are_those_of_the_port_again() -> None:
    text, change = taken()
    spec = SPEC.model_copy(update={"dns_search": ()})
    assert take_over({MAIN: text}, spec).files == {}
    later = take_over({MAIN: text}, spec, change.original)
    assert later.files == {MAIN: text.replace("lab.example", "old.example")}
    assert later.sentences == ("br0: dns-search lab.example -> old.example",)


def test_an_update_touches_its_line_only() -> None:
    text, _ = taken()
    later = take_over({MAIN: text}, SPEC.model_copy(update={"forward_delay": 7}))
    assert later.files == {MAIN: text.replace("bridge_fd 0", "bridge_fd 7")}


def test_drift_is_seen_by_option() -> None:
    text, _ = taken()
    edited = text.replace("bridge_stp off", "bridge_stp on").replace(
        "bridge_maxwait 0\n", "bridge_maxwait 3\n"
    )
    edited = edited.replace("bridge_ports eth0", "bridge_ports eth7").replace("lab.example", "x.example")
    edited = edited.replace("\niface br0 inet6 auto\n", "").replace("52:54:00:12:34:56", "52:54:00:00:00:00")
    assert seen({MAIN: edited}, SPEC) == BridgeSpec(
        name="br0",
        port="eth7",
        stp=True,
        max_wait=3,
        hw_address="52:54:00:00:00:00",
        dns_search=("x.example",),
        ipv6_auto=False,
    )


def test_a_bridge_without_options_has_the_kernels() -> None:
    found = seen({MAIN: "iface br0 inet manual\n  bridge_ports none\n"}, SPEC)
    assert found == BridgeSpec(name="br0", port="", forward_delay=15, max_wait=32, ipv6_auto=False)


def test_no_bridge_is_none() -> None:
    assert seen({MAIN: BEFORE}, SPEC) is None


def test_a_bridge_that_cannot_be_read_names_file_and_line() -> None:
    with pytest.raises(InterfacesError, match="interfaces:3: 'bridge_stp maybe': neither on nor off"):
        seen({MAIN: "iface br0 inet manual\n  bridge_ports eth0\n  bridge_stp maybe\n"}, SPEC)


def test_what_moved_and_the_sentences() -> None:
    _, change = taken()
    assert change.moved.addresses == ("192.0.2.10/24",)
    assert change.moved.gateways == ("192.0.2.1",)
    assert change.moved.families == ("inet static",)
    assert change.sentences == ("br0 takes over 192.0.2.10/24 and the default route via 192.0.2.1 from eth0",)
    text = change.files[MAIN]
    assert give_back({MAIN: text}, change.original).sentences == (
        "eth0 gets back 192.0.2.10/24 and the default route via 192.0.2.1",
        "br0 is removed",
    )


def test_an_error_survives_pickling_with_its_problems() -> None:
    with pytest.raises(InterfacesError) as refused:
        take_over({MAIN: "mtu 9000\n"}, SPEC)
    copy = pickle.loads(pickle.dumps(refused.value))  # noqa: S301 - our own bytes
    assert (copy.asked, copy.problems, str(copy)) == (
        refused.value.asked,
        refused.value.problems,
        str(refused.value),
    )


def test_no_secret_stands_in_a_refusal() -> None:
    text = "iface eth0 inet dhcp\n wpa-psk hunter2\n wireless-key1 s3cret #\nauto lo\n wpa-password wrong\n"
    with pytest.raises(InterfacesError) as refused:
        take_over({MAIN: text}, SPEC)
    assert "'wpa-psk ...'" in str(refused.value)
    assert not any(secret in str(refused.value) for secret in ("hunter2", "s3cret", "wrong"))


@pytest.mark.parametrize("tree", [{}, {MAIN: "auto lo\niface lo inet loopback\n\0\n"}])
def test_files_that_are_none_are_refused(tree: dict[str, str]) -> None:
    with pytest.raises(InterfacesError, match=MAIN):
        take_over(tree, SPEC)


def test_allow_auto_is_auto() -> None:
    text, change = taken("iface eth0 inet dhcp\nallow-auto eth0\n")
    assert text.endswith("\nallow-auto eth0\nauto br0\n")
    assert back(text, change) == "iface eth0 inet dhcp\nallow-auto eth0\n"
