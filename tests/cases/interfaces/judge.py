"""What the real ifupdown makes of a tree: every interface's options as ifquery prints them.

It runs in the root folder of a Debian system, in a mount namespace of its own: the tree is laid over that
system's /etc/network, and nothing is written into it. Exit codes prove nothing; values are compared.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from providers.state.interfaces import BridgeSpec, encode

# $1: the Debian root, $2: the folder that becomes its /etc/network; the others: interfaces.
_SCRIPT = r"""
set -eu
root=$1 network=$2
shift 2
mount --bind "$network" "$root/etc/network"
mount -t tmpfs tmpfs "$root/run"
exec chroot "$root" /bin/sh -c '
    echo "# auto"; ifquery --state-dir /run --no-mappings --list 2>&1
    echo "# hotplug"; ifquery --state-dir /run --no-mappings --list --allow=hotplug 2>&1
    for name; do
        echo "# $name"
        stdbuf -oL ifquery --state-dir /run --no-mappings -v "$name" 2>&1 || true
    done
' sh "$@"
"""
_NOISE = re.compile(
    r"ifquery: (parsing file .*|reading directory .*|not running mapping scripts for .*)|"
    r"ifquery: unknown interface .*"
)
_STANZA = re.compile(r"ifquery: querying interface \S+=(\S+) \((\w+)\)")
_COMMANDS = {"up", "down", "pre-up", "post-down"}
_OF_ADDRESSES = re.compile(r"address|gateway|pointopoint|metric|dns-.+")
_OF_THE_CARD = re.compile(r"mtu|hwaddress|media|ethernet-.+|link-.+|hardware-.+|offload-.+")


@dataclass(frozen=True)
class Verdict:
    """What ifupdown knows."""

    classes: dict[str, list[str]]
    """auto and hotplug -> their interfaces in order."""
    options: dict[str, list[tuple[str, str, str]]]
    """Interface -> (number and family of the stanza, option, value), in order."""
    complaints: list[str]


def ask(root: Path, tree: Mapping[str, str], names: Iterable[str]) -> Verdict:
    """Let ifquery in `root` read the tree."""
    with TemporaryDirectory() as folder:
        for path, text in tree.items():
            target = Path(folder) / path.removeprefix("/etc/network/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(encode(text))
        for hooks in ("if-pre-up.d", "if-up.d", "if-down.d", "if-post-down.d"):
            (Path(folder) / hooks).mkdir()
        argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _SCRIPT, "judge"]
        output = subprocess.run(
            [*argv, str(root), folder, *sorted(names)],
            check=True,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
        ).stdout
    return _read(output)


def _read(output: str) -> Verdict:
    classes: dict[str, list[str]] = {"auto": [], "hotplug": []}
    verdict = Verdict(classes, {}, [])
    section = stanza = ""
    number = 0
    for line in output.splitlines():
        if line.startswith("# "):
            section, number = line[2:], 0
            if section not in classes:
                verdict.options[section] = []
        elif line.startswith("ifquery: "):
            match = _STANZA.fullmatch(line)
            if match:
                number += 1
                stanza = f"{number} {match[2]}"
            elif not _NOISE.fullmatch(line):
                verdict.complaints.append(line)
        elif section in classes:
            classes[section].append(line)
        else:
            option, _, value = line.partition(": ")
            verdict.options[section].append((stanza, option, value))
    return verdict


def compare(before: Verdict, after: Verdict, spec: BridgeSpec) -> list[str]:
    """Return what a take-over got wrong: another interface changed, or an option lost or made up."""
    found = [f"new complaint: {line}" for line in after.complaints if line not in before.complaints]
    for name, options in before.options.items():
        if not _ours(name, spec) and after.options[name] != options:
            found.append(f"{name}: {options} became {after.options[name]}")
    for kind, names in before.classes.items():
        others = [name for name in names if not _ours(name, spec)]
        if others != [name for name in after.classes[kind] if not _ours(name, spec)]:
            found.append(f"{kind}: {names} became {after.classes[kind]}")
    had, has = _together(before, spec), _together(after, spec)
    found += [f"lost: {option}" for option in (had - has).elements()]
    found += [f"made up: {option}" for option in (has - had).elements()]
    return found + _misplaced(before, after, spec)


def _misplaced(before: Verdict, after: Verdict, spec: BridgeSpec) -> list[str]:
    """Return what belongs to an address and is the port's still, and what is the card's and went along.

    Options of a port that was in the bridge before, or of that bridge, may stay where they were.
    """
    stayed = before.options.get(spec.name, [])
    left = [option for option in after.options.get(spec.port, []) if _OF_ADDRESSES.fullmatch(option[1])]
    taken = [
        option
        for option in after.options.get(spec.name, [])
        if _OF_THE_CARD.fullmatch(option[1]) and option[1:] not in [each[1:] for each in stayed]
    ]
    return [f"left on the port: {option}" for option in left] + [
        f"moved to the bridge: {option}" for option in taken
    ]


def _ours(name: str, spec: BridgeSpec) -> bool:
    return name.partition(":")[0] in {spec.name, spec.port}


def _together(verdict: Verdict, spec: BridgeSpec) -> Counter[tuple[str, str]]:
    """All options of port and bridge, the names made one, without what the spec itself asks for."""
    managed = re.compile(r"bridge[_-](ports|stp|fd|maxwait|hw)" + ("|dns-search" if spec.dns_search else ""))
    defaults = {"accept_ra", "request_prefix", "ll-attempts", "ll-interval"}  # printed for each inet6 auto
    found: Counter[tuple[str, str]] = Counter()
    for name in filter(lambda name: _ours(name, spec), verdict.options):
        for _, option, value in verdict.options[name]:
            if managed.fullmatch(option) or option in defaults:
                continue
            spellings = (spec.port, spec.port.replace(".", "/"), spec.name)
            device = rf"(?<![\w-])({'|'.join(map(re.escape, spellings))})(?![\w-])"
            text = re.sub(device, "DEVICE", value) if option in _COMMANDS else value
            found[option, text] += 1
            if _OF_THE_CARD.fullmatch(option):
                found[option, text] = 1  # each stanza of the port may say it; once is enough
    return found
