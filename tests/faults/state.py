"""What a host's files and kernel say, and what a change has left pending, in one look."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from providers.host_network import FOLDER
from tests.faults.host import Host

State = Mapping[str, str]
"""Fact -> value, such as "address eth0 192.0.2.10/24" -> "global": two states are equal or not."""

CLAIMS = "/var/lib/kvm-lab"
# A section per question; its name stands on a line that begins with "==".
_LOOK = f"""
section() {{ printf '== %s\\n' "$1"; }}
section file
find /etc/network {CLAIMS} -path {FOLDER} -prune -o -name '.kvm-lab-*' -prune -o -type f \
    -exec stat -c '%n %a %U:%G' {{}} \\; -exec sha256sum {{}} \\; 2>/dev/null
section links
ip -j -d link show
section addresses
ip -j address show
section route4
ip -4 route show
section route6
ip -6 route show | sed 's/ expires [^ ]*//'
section configured
ifquery --state
section sysctl
grep -H . /proc/sys/net/ipv6/conf/*/accept_ra /proc/sys/net/ipv6/conf/*/addr_gen_mode
section inert
ls -d {FOLDER}/incoming-* {FOLDER}/junk-* 2>/dev/null
cd {FOLDER}/transaction 2>/dev/null && phase=$(tail -n 1 journal | cut -d ' ' -f 2) || phase=none
if [ "$phase" = staged ] || [ -e confirmed ] || [ -e rolled-back ]; then
    echo {FOLDER}/transaction
    phase=none
fi
section pending
[ "$phase" = none ] || echo "{FOLDER}/transaction in phase $phase"
systemctl list-units --all --no-legend --plain 'kvm-lab-*' | awk '$3 != "inactive" {{ print $1 }}'
ls -d /etc/systemd/system/kvm-lab-* /etc/systemd/system/*/kvm-lab-* 2>/dev/null
find /etc/network -name '.kvm-lab-*'
:
"""


@dataclass(frozen=True)
class Look:
    """What was seen of a host."""

    state: State
    pending: tuple[str, ...]
    """What is still armed, running or lying beside: units, files, an armed transaction."""
    inert: tuple[str, ...]
    """What binds nobody, and goes with the next run.

    A change that never was armed, since its client died; one that is decided and disarmed, but not put away,
    since the power was cut.
    """
    indexes: Mapping[str, int]
    """Link -> its number: another one when it was made anew."""


def look(host: Host, timeout: float | None = None) -> Look:
    """Look at the host, in one command."""
    text = host.ssh(["sh", "-c", _LOOK], timeout=timeout).stdout
    sections: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("== "):
            lines = sections.setdefault(line[3:], [])
        else:
            lines.append(line)
    links = json.loads("".join(sections["links"]))
    state: dict[str, str] = {}
    state.update(_files(sections["file"]))
    state.update(_links(links))
    state.update(_addresses(json.loads("".join(sections["addresses"]))))
    state.update(_each("route4", sections["route4"]))
    state.update(_each("route6", sections["route6"]))
    state.update(_each("configured", sections["configured"]))
    state.update(_sysctls(sections["sysctl"]))
    indexes = {link["ifname"]: link["ifindex"] for link in links}
    return Look(state, tuple(sections["pending"]), tuple(sections["inert"]), indexes)


def difference(seen: State, wanted: State) -> list[str]:
    """Return what makes two states differ, a line each: "-" is wanted and not seen, "+" the reverse."""
    lines = []
    for fact in sorted({*seen, *wanted}):
        if seen.get(fact) != wanted.get(fact):
            lines += [f"-{fact}: {wanted[fact]}"] if fact in wanted else []
            lines += [f"+{fact}: {seen[fact]}"] if fact in seen else []
    return lines


def moved(state: State, old: State, new: State) -> State:
    """Return `state` with what leads from `old` to `new` done to it."""
    kept = {fact: value for fact, value in state.items() if fact not in old or fact in new}
    return kept | {fact: value for fact, value in new.items() if old.get(fact) != value}


def without(state: State, link: str) -> State:
    """Return the state without all that is about one link."""
    return {fact: value for fact, value in state.items() if link not in fact.split()}


def _each(kind: str, lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((f"{kind} {line.strip()}", "") for line in lines)


def _files(lines: list[str]) -> Iterator[tuple[str, str]]:
    """Mode and owner of each file come on one line, its digest on the next."""
    for described, digest in zip(lines[::2], lines[1::2], strict=True):
        path, mode, owner = described.rsplit(" ", 2)
        yield f"file {path}", f"{mode} {owner} {digest.split()[0]}"


def _links(links: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for link in links:
        info = link.get("linkinfo", {})
        data = info.get("info_data", {}) if info.get("info_kind") == "bridge" else {}
        facts = {
            "up": "UP" in link["flags"],
            "master": link.get("master"),
            "kind": info.get("info_kind"),
            "hardware": link.get("address"),
            "stp": data.get("stp_state"),
            "delay": data.get("forward_delay"),
        }
        yield f"link {link['ifname']}", " ".join(f"{key}={value}" for key, value in facts.items())


def _addresses(links: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    for link in links:
        for address in link["addr_info"]:
            yield f"address {link['ifname']} {address['local']}/{address['prefixlen']}", address["scope"]


def _sysctls(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        path, value = line.split(":", 1)
        link, setting = path.split("/")[-2:]
        if link not in {"all", "default"}:
            yield f"sysctl {link} {setting}", value
