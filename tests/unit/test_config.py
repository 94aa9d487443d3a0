"""What a stack file may say. Each wrong value is put into a sound stack file, as YAML or JSON gives it."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from config import ConfigError, Lab, mac_address

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNROhSeX9UlMnAHYF5XvEqyrMLdpyHG0rxSlJPUGPE0"
PRIVATE_KEY = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"
DIGEST = "ab" * 32
Place = tuple[str | int, ...]


def sound() -> dict[str, Any]:
    """Return a stack with two hosts and a guest on each, without local files."""
    image = {"name": "debian-12", "url": "https://images.example/debian-12.qcow2", "sha256": DIGEST}
    web = {
        "name": "web",
        "image": "debian-12",
        "address": "198.51.100.21/24",
        "ssh_keys": [f"{KEY} somebody"],
    }
    db = {**web, "name": "db", "address": "198.51.100.22/24", "gateway": "198.51.100.1"}
    return {
        "images": [image],
        "hosts": [
            {
                "name": "g1s1",
                "address": "198.51.100.11",
                "host_keys": [KEY],
                "migration": True,
                "bridge": {"port": "eth0"},
                "guests": [web],
            },
            {
                "name": "g1s2",
                "address": "g1s2.lab.example",
                "port": 2222,
                "host_keys": [KEY],
                "bridge": {"port": "enp3s0", "stp": True, "forward_delay": 2},
                "guests": [db],
            },
        ],
    }


def changed(**places: object) -> dict[str, Any]:
    """Return the sound stack with values put at "hosts.0.bridge.stp"; `...` removes."""
    stack = sound()
    for path, value in places.items():
        *way, last = (int(part) if part.isdigit() else part for part in path.split("."))
        here: Any = stack
        for part in way:
            here = here[part]
        if value is ...:
            del here[last]
        else:
            here[last] = value
    return stack


def load(stack: dict[str, Any]) -> Lab:
    return Lab.from_mapping(stack, Path("/nonexistent"), stack="lab")


def mistakes(stack: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return {path: (expected, seen)}; the paths without the names behind them."""
    with pytest.raises(ConfigError) as raised:
        load(stack)
    return {
        mistake.where.split(" ")[0]: (mistake.expected, mistake.seen) for mistake in raised.value.mistakes
    }


def error_of(stack: dict[str, Any]) -> ConfigError | None:
    try:
        load(stack)
    except ConfigError as error:
        return error
    return None


def places(value: object, here: Place = ()) -> Iterator[Place]:
    """Yield the place of every value in the sound stack."""
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, child in children:
        yield (*here, key)
        yield from places(child, (*here, key))


def test_a_sound_stack() -> None:
    lab = load(sound())
    assert [host.name for host in lab.hosts] == ["g1s1", "g1s2"]
    assert [(host.name, guest.name) for host, guest in lab.guests] == [("g1s1", "web"), ("g1s2", "db")]
    assert lab.hosts[1].endpoint.model_dump() == {
        "host": "g1s2",
        "address": "g1s2.lab.example",
        "port": 2222,
        "user": "root",
        "identity_file": None,
        "host_keys": (KEY,),
    }
    assert lab.hosts[0].guests[0].authorized_keys == (KEY,)
    checksum = lab.images[0].checksum
    assert (checksum.algorithm, checksum.digest) == ("sha256", DIGEST)


def test_bridge_netfilter_is_the_hosts_own_matter_unless_it_is_asked_for() -> None:
    hosts = load(changed(**{"hosts.1.bridge_netfilter": False})).hosts
    assert [host.bridge_netfilter for host in hosts] == [None, False]


@pytest.mark.parametrize(
    ("ports", "expected"),
    [
        (["eth0"], "interfaces besides its port eth0"),
        (["br0"], "interfaces besides the bridge br0"),
        (["eth1", "eth1"], "each once (eth1 stands twice)"),
        (
            ["br0", "eth0.5"],
            (
                "interfaces besides the bridge br0, "
                "no VLANs (bridge-utils deletes eth0.5 when the bridge goes down)"
            ),
        ),
        (["eth1.10", "eth2"], "no VLANs (bridge-utils deletes eth1.10 when the bridge goes down)"),
    ],
)
def test_further_ports_are_others(ports: list[str], expected: str) -> None:
    assert load(changed(**{"hosts.0.bridge.extra_ports": ["eth1"]})).hosts[0].bridge.extra_ports == ("eth1",)
    found = mistakes(changed(**{"hosts.0.bridge.extra_ports": ports}))
    assert found["hosts[0].bridge.extra_ports"][0] == expected


def test_further_ports_need_time_to_be_looked_at() -> None:
    bridge = {"port": "eth0", "extra_ports": ["eth1"], "rollback_timeout": 29}
    found = mistakes(changed(**{"hosts.0.bridge": bridge}))
    assert list(found) == ["hosts[0].bridge.rollback_timeout"]
    assert found["hosts[0].bridge.rollback_timeout"][0].startswith("at least 30 seconds")
    assert load(changed(**{"hosts.0.bridge": {**bridge, "rollback_timeout": 30}}))


def test_the_defaults_are_those_of_the_lecture() -> None:
    bridge = load(sound()).hosts[0].bridge
    assert (bridge.name, bridge.stp, bridge.forward_delay, bridge.max_wait, bridge.ipv6_auto) == (
        "br0",
        False,
        0,
        0,
        True,
    )


@pytest.mark.parametrize(
    ("path", "written", "read"),
    [
        ("hosts.1.bridge.stp", "on", True),  # Pulumi's YAML reader leaves these words as text
        ("hosts.0.bridge.stp", "off", False),
        ("hosts.0.bridge.stp", "No", False),
        ("hosts.0.port", "2222", 2222),
        ("hosts.0.port", 22.0, 22),
        ("hosts.0.address", "2001:DB8:0::1", "2001:db8::1"),
        ("hosts.0.address", "Host-1.Lab.Example.", "host-1.lab.example"),
        ("hosts.0.bridge.dns_search", ["lab.example", "localdomain"], ("lab.example", "localdomain")),
        ("hosts.0.bridge.port", "enx001122334455", "enx001122334455"),
        ("hosts.0.bridge.port", "eth0.100", "eth0.100"),
        ("hosts.0.user", "lab-admin", "lab-admin"),
    ],
)
def test_other_ways_to_write_a_value(path: str, written: object, read: object) -> None:
    here: Any = load(changed(**{path: written}))
    for part in path.split("."):
        here = here[int(part)] if part.isdigit() else getattr(here, part)
    assert here == read


@pytest.mark.parametrize(
    ("path", "wrong", "expected", "seen"),
    [
        ("hosts.0.name", "g1_s1", "a host name", "g1_s1"),
        ("hosts.0.name", "-g1", "a host name", "-g1"),
        ("hosts.0.name", "localhost", "not localhost", "localhost"),
        ("hosts.0.name", "g" * 64, "a host name", "g" * 64),
        ("hosts.0.name", True, "write it in quotes", "true"),
        ("hosts.0.name", "g1s1\n", "a host name", "g1s1\\n"),
        ("hosts.0.address", "198.51.100.300", "an IP address or a DNS name", "198.51.100.300"),
        ("hosts.0.address", "198.51.100.11/24", "an IP address or a DNS name", "198.51.100.11/24"),
        ("hosts.0.address", "root@g1s1", "an IP address or a DNS name", "root@g1s1"),
        ("hosts.0.address", "fe80::1%eth0", "without %", "fe80::1%eth0"),
        ("hosts.0.address", "", "an IP address or a DNS name", "nothing"),
        ("hosts.0.port", 0, "from 1 to 65535", "0"),
        ("hosts.0.port", 65536, "from 1 to 65535", "65536"),
        ("hosts.0.port", True, "from 1 to 65535", "true"),
        ("hosts.0.port", "22x", "from 1 to 65535", "22x"),
        ("hosts.0.user", "Root User", "a user name", "Root User"),
        ("hosts.0.migration", "maybe", "true or false", "maybe"),
        ("hosts.0.migration", 1, "true or false", "1"),
        ("hosts.0.bridge", ..., "this option is required", "nothing"),
        ("hosts.0.bridge", "br0", "a mapping with the options port, name, extra_ports", "br0"),
        ("hosts.0.bridge.port", ..., "this option is required", "nothing"),
        ("hosts.0.bridge.port", "eth0 ", "an interface name", "eth0 "),
        ("hosts.0.bridge.port", "enx0011223344556", "1 to 15", "enx0011223344556"),
        ("hosts.0.bridge.port", "..", "an interface name", ".."),
        ("hosts.0.bridge.port", "eth0:1", "an interface name", "eth0:1"),
        ("hosts.0.bridge.port", "-a", "an interface name", "-a"),
        ("hosts.0.bridge.port", "lo", "not lo", "lo"),
        ("hosts.0.bridge.name", "br/0", "an interface name", "br/0"),
        ("hosts.0.bridge.name", "br0.5", "without a dot", "br0.5"),
        ("hosts.0.bridge.name", "default", "not default", "default"),
        ("hosts.0.bridge.name", "eth0", "another name than the port's", "eth0"),
        ("hosts.0.bridge.forward_delay", 31, "from 0 to 30", "31"),
        ("hosts.0.bridge.forward_delay", 1.5, "a whole number", "1.5"),
        ("hosts.1.bridge.forward_delay", 1, "2 to 30 seconds while stp is on", "1"),
        ("hosts.1.bridge.forward_delay", ..., "2 to 30 seconds while stp is on", "0"),
        ("hosts.0.bridge.max_wait", 601, "from 0 to 600", "601"),
        ("hosts.0.bridge.rollback_timeout", 14, "from 15 to 600", "14"),
        ("hosts.0.bridge.dns_search", "lab.example", "a list", "lab.example"),
        ("hosts.0.bridge.dns_search", ["a", "a"], "each once", "a list of 2"),
        ("hosts.0.bridge.dns_search", None, "a list", "nothing"),
        ("hosts.0.guests.0.address", "198.51.100.21", "with its prefix length", "198.51.100.21"),
        (
            "hosts.0.guests.0.address",
            "198.51.100.21/255.255.255.0",
            "with its prefix length",
            "198.51.100.21/255",
        ),
        ("hosts.0.guests.0.address", "198.51.100.0/24", "the address of the network", "198.51.100.0/24"),
        ("hosts.0.guests.0.address", "198.51.100.255/24", "the broadcast address", "198.51.100.255/24"),
        ("hosts.0.guests.0.address", "fe80::1%eth0/64", "with its prefix length", "fe80::1%eth0/64"),
        ("hosts.0.guests.0.address", "224.0.0.1/24", "of one machine", "224.0.0.1/24"),
        (
            "hosts.0.guests.0.address",
            "198.51.100.11/24",
            "no other machine has",
            "198.51.100.11, the host's address",
        ),
        ("hosts.0.guests.0.address", "198.51.100.1/24", "no other machine has", "198.51.100.1, the gateway"),
        ("hosts.0.guests.0.address", "198.51.100.22/16", None, None),  # the second to have it is the mistake
        (
            "hosts.1.guests.0.gateway",
            "198.51.101.1",
            "inside the guest's network 198.51.100.0/24",
            "198.51.101.1",
        ),
        ("hosts.1.guests.0.gateway", "2001:db8::1", "inside the guest's network", "2001:db8::1"),
        (
            "hosts.1.guests.0.gateway",
            "198.51.100.22",
            "another address than the guest's own",
            "198.51.100.22",
        ),
        ("hosts.1.guests.0.gateway", "198.51.100.255", "the broadcast address", "198.51.100.255"),
        ("hosts.1.guests.0.gateway", "fe80::1%eth0", "an IP address", "fe80::1%eth0"),
        ("hosts.0.guests.0.dns", ["198.51.100.1", "ns1"], None, None),  # at dns[1], see below
        ("hosts.0.guests.0.vcpus", 256, "from 1 to 255", "256"),
        ("hosts.0.guests.0.memory_mib", 127, "from 128", "127"),
        ("hosts.0.guests.0.disk_gib", 0, "from 1", "0"),
        ("hosts.0.guests.0.generation", 0, "from 1", "0"),
        (
            "hosts.0.guests.0.image",
            "debian-13",
            "one of the stack's images: debian-12",
            "did you mean debian-12?",
        ),
        ("hosts.0.guests.0.ssh_keys", [], "no password login", "none"),
        (
            "images.0.url",
            "ftp://images.example/a.qcow2",
            "an http:// or https:// URL",
            "ftp://images.example/a.qcow2",
        ),
        ("images.0.url", "https://images.example/", "ends in a file name", "https://images.example/"),
        (
            "images.0.url",
            "https://images.example/a.qcow2?X-Amz-Signature=hunter2",
            "without the option X-Amz-Signature",
            "https://images.example/a.qcow2?(not shown)",
        ),
        ("images.0.url", "https://images.example/a?sig=hunter2", "without the option sig", "?(not shown)"),
        ("images.0.format", "vmdk", "qcow2 or raw", "vmdk"),
        ("images.0.sha256", "abcd", "64 hexadecimal digits", "abcd"),
        ("images.0.sha256", int("1" * 64), "write it in quotes", "1111"),
        ("images", {}, "a list", "an empty mapping"),
        ("hosts", [], "at least one host", "an empty list"),
        ("hosts", ..., "this option is required", "nothing"),
    ],
)
def test_wrong_values(path: str, wrong: object, expected: str | None, seen: str | None) -> None:
    found = mistakes(changed(**{path: wrong}))
    place = "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path.split(".")).lstrip(".")
    if expected is None or seen is None:
        assert place not in found
    else:
        assert expected in found[place][0]
        assert seen in found[place][1]


def test_a_change_must_be_provable_before_the_host_takes_it_back() -> None:
    bridge = {"port": "eth0", "stp": True, "forward_delay": 26, "rollback_timeout": 61}
    found = mistakes(changed(**{"hosts.1.bridge": bridge}))
    assert list(found) == ["hosts[1].bridge.rollback_timeout"]
    assert found["hosts[1].bridge.rollback_timeout"][0].startswith("at least 62 seconds")
    assert load(changed(**{"hosts.1.bridge": {**bridge, "rollback_timeout": 62}}))


@pytest.mark.parametrize("user", ["jan.novak", "Admin", "_lab", "op-1"])
def test_a_host_is_logged_in_to_by_any_name_that_ssh_takes(user: str) -> None:
    lab = load(changed(**{"hosts.0.user": user}))
    assert lab.hosts[0].endpoint.user == user


def test_a_link_local_gateway_is_on_every_ipv6_network() -> None:
    changes = {"hosts.1.guests.0.address": "2001:db8::22/64", "hosts.1.guests.0.gateway": "fe80::1"}
    assert str(load(changed(**changes)).hosts[1].guests[0].gateway) == "fe80::1"
    assert mistakes(changed(**{"hosts.1.guests.0.gateway": "fe80::1"}))


def test_a_url_may_have_a_query_that_is_no_secret() -> None:
    (image, *others) = sound()["images"]
    url = "https://images.example/a.qcow2?release=12&mirror=cz"
    plain = {"name": image["name"], "url": url, "sha256": "0" * 64}
    assert load(changed(images=[plain, *others])).images[0].url == url


def test_a_package_name_is_no_order_to_remove() -> None:
    assert list(mistakes(changed(**{"hosts.0.packages": ["htop", "vim-"]}))) == ["hosts[0].packages[1]"]


def test_elements_of_lists_have_their_index() -> None:
    assert set(mistakes(changed(**{"hosts.0.guests.0.dns": ["198.51.100.1", "ns1"]}))) == {
        "hosts[0].guests[0].dns[1]"
    }


def test_unknown_options_are_named_with_near_ones_and_without_their_values() -> None:
    found = mistakes(changed(**{"hosts.0.bridge.forward_delai": 3, "hosts.0.passwd": "hunter2", "host": []}))
    assert "forward_delay" in found["hosts[0].bridge.forward_delai"][0]
    assert found["hosts[0].bridge.forward_delai"][1].endswith("(did you mean forward_delay?)")
    assert found["hosts[0].passwd"][1] == "the unknown option passwd"
    assert "did you mean hosts" in found["host"][1]


@pytest.mark.parametrize(
    ("changes", "place", "seen"),
    [
        ({"hosts.1.name": "g1s1"}, "hosts[1].name", "g1s1 as in hosts[0].name"),
        (
            {"hosts.1.address": "198.51.100.11", "hosts.1.port": "22"},
            "hosts[1].address",
            "198.51.100.11 port 22 as in hosts[0].address",
        ),
        ({"hosts.1.guests.0.name": "web"}, "hosts[1].guests[0].name", "web as in hosts[0].guests[0].name"),
        (
            {"hosts.1.guests.0.address": "198.51.100.21/28"},
            "hosts[1].guests[0].address",
            "198.51.100.21 as in hosts[0].guests[0].address",
        ),
        ({"images": [sound()["images"][0]] * 2}, "images[1].name", "debian-12 as in images[0].name"),
    ],
)
def test_what_stands_twice(changes: dict[str, object], place: str, seen: str) -> None:
    assert mistakes(changed(**changes))[place][1] == seen


def test_the_same_address_behind_two_ports_is_two_hosts() -> None:
    assert len(load(changed(**{"hosts.1.address": "198.51.100.11"})).hosts) == 2


def test_guests_whose_names_give_one_mac_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("config.mac_address", lambda _stack, _guest: "52:54:00:00:00:01")
    assert (
        mistakes(sound())["hosts[1].guests[0].name"][1] == "52:54:00:00:00:01 as in hosts[0].guests[0].name"
    )


def test_mac_addresses_follow_from_names() -> None:
    assert mac_address("lab", "web") == mac_address("lab", "web")
    assert len({mac_address("lab", "web"), mac_address("lab", "db"), mac_address("lab2", "web")}) == 3
    assert mac_address("lab", "web").startswith("52:54:00:")
    assert len(mac_address("lab", "web")) == 17


def test_the_rules_of_the_policy_pack_hold_here_too() -> None:
    found = mistakes(
        changed(
            **{
                "hosts.0.bridge": {"port": "eth0", "stp": "on", "forward_delay": 15},
                "hosts.1.packages": ["htop", "gdm3"],
            }
        )
    )
    assert found["hosts[0].bridge.stp"][1] == "true"
    assert found["hosts[0].bridge.stp"][0].startswith("false with migration on, because a migrated guest")
    assert found["hosts[0].bridge.forward_delay"][1] == "15"
    assert found["hosts[1].packages[1]"][1] == "gdm3"
    assert len(found) == 3


@pytest.mark.parametrize(
    ("changes", "place", "expected"),
    [
        ({"hosts.0.host_keys": ...}, "hosts[0].host_keys", "never ignored"),
        ({"hosts.0.host_keys": []}, "hosts[0].host_keys", "never ignored"),
        ({"hosts.0.host_keys": ["ssh-dss AAAA"]}, "hosts[0].host_keys[0]", "of type ssh-ed25519"),
        ({"hosts.0.host_keys": [KEY[:-8]]}, "hosts[0].host_keys[0]", "cut short"),
        ({"images.0.path": "/nonexistent/a.qcow2"}, "images[0].url", "exactly one of path"),
        ({"images.0.url": ...}, "images[0].path", "exactly one of path"),
        ({"images.0.sha256": ...}, "images[0].sha256", "exactly one of sha256, sha512 and checksum_file"),
        (
            {"images.0.sha512": "cd" * 64},
            "images[0].sha512",
            "exactly one of sha256, sha512 and checksum_file",
        ),
    ],
)
def test_one_of_several_options(changes: dict[str, object], place: str, expected: str) -> None:
    assert expected in mistakes(changed(**changes))[place][0]


def test_all_mistakes_at_once_in_the_order_of_the_file() -> None:
    stack = changed(
        **{
            "images.0.sha256": "x",
            "hosts.0.address": "g1 s1",
            "hosts.0.guests.0.image": "nosuch",
            "hosts.1.name": "g1s1",
            "hosts.1.guests.0.memory_mib": "much",
            "hosts.1.guests.0.gateway": "198.51.101.1",
        }
    )
    assert list(mistakes(stack)) == [
        "images[0].sha256",
        "hosts[0].address",
        "hosts[0].guests[0].image",
        "hosts[1].name",
        "hosts[1].guests[0].gateway",
        "hosts[1].guests[0].memory_mib",
    ]


def test_the_message() -> None:
    stack = changed(**{"hosts.1.guests.0.vcpus": 0, "hosts.1.bridge.forward_delay": 45})
    with pytest.raises(ConfigError) as raised:
        Lab.from_mapping(stack, Path(), stack="lab", source="Pulumi.lab.yaml")
    delay, vcpus = "0 to 30 (seconds)", "1 to 255 (virtual CPUs)"
    assert str(raised.value).splitlines() == [
        "read Pulumi.lab.yaml: 2 mistakes",
        f"  - hosts[1].bridge.forward_delay (host g1s2): expected a whole number from {delay}; seen 45",
        f"  - hosts[1].guests[0].vcpus (host g1s2, guest db): expected a whole number from {vcpus}; seen 0",
        "  to do: mend them and run the same again; no host was contacted",
    ]
    assert str(pickle.loads(pickle.dumps(raised.value))) == str(raised.value)  # noqa: S301 - our own bytes


@pytest.mark.parametrize(
    "changes",
    [
        {"hosts.0.identity_file": PRIVATE_KEY},
        {"hosts.0.host_keys": [PRIVATE_KEY]},
        {"hosts.0.guests.0.ssh_keys": [PRIVATE_KEY]},
        {"hosts.0.guests.0.ssh_keys": PRIVATE_KEY},
        {"hosts.0.name": PRIVATE_KEY},
        {"hosts.0.c2VjcmV0": {"a": PRIVATE_KEY}} | {"hosts.0.password": "c2VjcmV0"},
        {"images.0.url": "https://somebody:c2VjcmV0@images.example/a.qcow2"},
        {"hosts.0.guests.0.user": {"secure": "c2VjcmV0"}},
    ],
)
def test_no_secret_in_a_message(changes: dict[str, object]) -> None:
    changes.pop("hosts.0.c2VjcmV0", None)
    with pytest.raises(ConfigError) as raised:
        load(changed(**changes))
    assert "c2VjcmV0" not in str(raised.value)


def test_values_of_secret_options_are_not_shown() -> None:
    stack = changed(
        **{"hosts.0.port": "hunter2", "hosts.1.name": "g1s1", "hosts.0.guests.0.name": "hunter2!"}
    )
    with pytest.raises(ConfigError) as raised:
        Lab.from_mapping(stack, Path(), stack="lab", hidden={"hosts"})
    assert len(raised.value.mistakes) == 3
    assert "hunter2" not in str(raised.value)
    assert "g1s1" not in str(raised.value)


NASTY: tuple[object, ...] = (
    *(
        None,
        True,
        -1,
        0,
        10**400,
        1.5,
        math.nan,
        math.inf,
        "",
        "x",
        "\x00",
        "\ud800",
        "²",
        "9" * 5000,
        "//",
        "a" * 5000,
    ),
    *(
        [],
        [None],
        [[]],
        {},
        {"name": None},
        {"x": 1},
        {1: 2},
        [{}],
        "198.51.100.21/33",
        "::/0",
        "fe80::1%eth0/64",
    ),
)


@pytest.mark.parametrize("place", [pytest.param(place, id=str(place)) for place in places(sound())])
def test_nothing_but_a_mistake_comes_of_any_value(place: Place) -> None:
    for value in NASTY:
        stack = sound()
        here: Any = stack
        for part in place[:-1]:
            here = here[part]
        here[place[-1]] = copy.deepcopy(value)
        found = error_of(stack)
        assert found is None or found.mistakes
        assert len(str(found)) < 5000
