"""The testbed's network: a bridge with the gateway's address, masquerading towards the world, and a fence."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from providers.errors import LabError
from testbed import host, processes, progress

if TYPE_CHECKING:
    from pyroute2 import IPRoute

# A route that only counts when nothing better exists.
FENCE_METRIC = 9999
_NAME_BYTES = 15
_CABLE = r"{}-\d+[a-z]"
# From linux/rtnetlink.h and linux/if.h.
_UNICAST, _UNREACHABLE = 1, 7
_UP = 1


@dataclass(frozen=True)
class Network:
    """The bridge `bridge` for the machines of the testbed in `directory`, whose addresses lie in `range`."""

    directory: Path
    bridge: str
    range: IPv4Network

    @cached_property
    def gateway(self) -> IPv4Address:
        """The bridge's own address: the first one of the range."""
        return self.range.network_address + 1

    def cable(self, address: IPv4Address, index: int) -> str:
        """Return the name of this machine's end of a machine's cable (0: eth0, 1: eth1 ...).

        Raises:
            LabError: the kernel takes names of at most 15 bytes.
        """
        name = f"{self.bridge}-{int(address) - int(self.range.network_address)}{chr(ord('a') + index)}"
        if len(name) > _NAME_BYTES:
            seen = (
                f"the cables of its machines would have names like {name}, of more than {_NAME_BYTES} bytes"
            )
            raise LabError(f"testbed: use bridge name {self.bridge}", seen, "choose a shorter name")
        return name

    def _is_cable(self, name: str) -> bool:
        return re.fullmatch(_CABLE.format(re.escape(self.bridge)), name) is not None

    def build(self) -> None:
        """Make the network, or what is missing of it."""
        with _netlink() as kernel:
            already = host.owned_by(self.directory)
            fenced = _fenced(kernel, self.range)
            if self.bridge not in already:
                self._refuse_used(kernel)
            host.claim(
                self.bridge,
                host.Owner(directory=self.directory.absolute(), range=self.range, route=not fenced),
            )
            # First of all: test traffic must never leave by the real network card.
            if not fenced:
                kernel.route("add", dst=str(self.range), type="unreachable", priority=FENCE_METRIC)
            self._make_bridge(kernel)
        self._masquerade()
        host.forward()

    def standing(self) -> bool:
        """Whether the bridge is there and up, and what it needs to reach the world."""
        if self.bridge not in host.owned_by(self.directory) or not host.forwards():
            return False
        table = ["nft", "list", "table", "ip", table_name(self.bridge)]
        with suppress(FileNotFoundError, LabError):
            processes.run(table, self.directory, f"testbed: look at {self.bridge}")
            return bool(int(Path("/sys/class/net", self.bridge, "flags").read_text(), 16) & _UP)
        return False

    def _make_bridge(self, kernel: IPRoute) -> None:
        index = _index(kernel, self.bridge)
        if index is None:
            kernel.link("add", ifname=self.bridge, kind="bridge", br_forward_delay=0, br_stp_state=0)
            index = _index(kernel, self.bridge)
        if not kernel.get_addr(index=index, address=str(self.gateway)):
            kernel.addr("add", index=index, address=str(self.gateway), prefixlen=self.range.prefixlen)
        kernel.link("set", index=index, state="up")
        # Machines may have outlived the bridge.
        for link in kernel.get_links():
            if self._is_cable(link.get_attr("IFLA_IFNAME")) and link.get_attr("IFLA_MASTER") is None:
                kernel.link("set", index=link["index"], master=index, state="up")

    def _masquerade(self) -> None:
        table = table_name(self.bridge)
        # Adding the table before deleting it makes the whole file work whether it was there or not.
        rules = f"""\
table ip {table}
delete table ip {table}
table ip {table} {{
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    ip saddr {self.range} ip daddr != {self.range} oifname != "{self.bridge}" masquerade
  }}
  # The machines are open to root with a key: nobody from outside comes near them through this one.
  chain forward {{
    type filter hook forward priority filter;
    iifname != "{self.bridge}" oifname "{self.bridge}" ct state new drop
  }}
}}
"""
        processes.run(["nft", "-f", "-"], self.directory, f"testbed: masquerade {self.range}", stdin=rules)

    def _refuse_used(self, kernel: IPRoute) -> None:
        asked = f"testbed: create bridge {self.bridge} with range {self.range}"
        if _index(kernel, self.bridge) is not None:
            seen = "an interface of this name exists and no testbed owns it"
            raise LabError(asked, seen, f"remove it (`ip link delete {self.bridge}`), or choose another name")
        for route in kernel.get_routes(family=2, table=254):
            target = route.get_attr("RTA_DST")
            if target is None or route["type"] != _UNICAST:
                continue
            used = IPv4Network(f"{target}/{route['dst_len']}")
            if used.overlaps(self.range):
                link = kernel.get_links(route.get_attr("RTA_OIF"))[0].get_attr("IFLA_IFNAME")
                raise LabError(asked, f"{used} is routed to {link}", "choose another range")


def table_name(bridge: str) -> str:
    """Return the name of the nftables table of a bridge."""
    return "kvm_lab_" + re.sub(r"\W", "_", bridge)


def remove(directory: Path) -> None:
    """Take away all that the testbed in `directory` has in this machine's network."""
    for bridge, owner in host.owned_by(directory).items():
        with _netlink() as kernel:
            _delete_links(kernel, bridge)
            if owner.route and _fenced(kernel, owner.range):
                kernel.route("del", dst=str(owner.range), type="unreachable", priority=FENCE_METRIC)
        _delete_table(directory, table_name(bridge))
        host.release(bridge)


def warn_of_firewall(directory: Path, bridge: str) -> None:
    """Say so when a firewall here drops what is forwarded: packages would not reach the machines."""
    listing = json.loads(
        processes.run(["nft", "--json", "list", "chains"], directory, "testbed: list nftables chains")
    )
    for entry in listing["nftables"]:
        chain = entry.get("chain", {})
        if chain.get("hook") == "forward" and chain.get("policy") == "drop":
            where = f"{chain['family']} {chain['table']} {chain['name']}"
            progress.say(
                bridge,
                f"chain {where} drops forwarded packets; if machines get no Debian packages, accept theirs:"
                f" nft insert rule {where} iifname {bridge} accept;"
                f" nft insert rule {where} oifname {bridge} accept",
            )


def _delete_links(kernel: IPRoute, bridge: str) -> None:
    cable = re.compile(_CABLE.format(re.escape(bridge)))
    for link in kernel.get_links():
        name = link.get_attr("IFLA_IFNAME")
        if name == bridge or cable.fullmatch(name):
            # The cables of a machine that has just ended vanish by themselves.
            with suppress(_netlink_error()):
                kernel.link("del", index=link["index"])


def _delete_table(directory: Path, table: str) -> None:
    rules = f"table ip {table}\ndelete table ip {table}\n"
    processes.run(["nft", "-f", "-"], directory, f"testbed: remove nftables table {table}", stdin=rules)


def _fenced(kernel: IPRoute, subnet: IPv4Network) -> bool:
    return any(
        route["type"] == _UNREACHABLE
        and route["dst_len"] == subnet.prefixlen
        and route.get_attr("RTA_DST") == str(subnet.network_address)
        and route.get_attr("RTA_PRIORITY") == FENCE_METRIC
        for route in kernel.get_routes(family=2, table=254)
    )


def _index(kernel: IPRoute, name: str) -> int | None:
    found: list[int] = kernel.link_lookup(ifname=name)
    return found[0] if found else None


def _netlink() -> IPRoute:
    # Imported late: it takes a third of a second, which `up` with everything running must not.
    from pyroute2 import IPRoute  # noqa: PLC0415

    return IPRoute()


def _netlink_error() -> type[Exception]:
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415

    error: type[Exception] = NetlinkError
    return error
