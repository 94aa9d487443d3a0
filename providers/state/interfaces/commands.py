"""Whom a command line of a stanza (up, pre-up, ...) is about: the card, its addresses, or neither.

Only tools known here are judged. A line of any other tool that names the interface is never guessed at.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from enum import Enum
from posixpath import basename

from providers.state.interfaces.lines import Line, logical_lines

_SEPARATORS = {";", "&&", "||", "|", "&", "(", ")", ";;"}
_LEADING = {
    "if",
    "then",
    "elif",
    "else",
    "while",
    "until",
    "do",
    "!",
    "{",
    "exec",
    "command",
    "nohup",
    "sudo",
}
_CARD_TOOLS = {"ethtool", "ethtool.real", "mii-tool", "mii-diag", "tc"}
"""Tools of the link. Queueing disciplines shape what a card sends: a bridge has no queue."""
_FIREWALLS = {
    f"{family}{variant}" for family in ("iptables", "ip6tables") for variant in ("", "-nft", "-legacy")
}
_ADDRESS_TOOLS = _FIREWALLS | {
    *("route", "arp", "nft", "resolvectl", "systemd-resolve", "resolvconf"),
    *("dhclient", "dhcpcd", "udhcpc"),
}
_ADDRESS_OBJECTS = ("addr", "address", "a", "route", "r", "ro", "rule", "ru", "neigh", "n", "neighbour")
_PRINTERS = {"echo", "printf", "logger"}
_FILE_TOOLS = _PRINTERS | {"tee", "cat", "[", "test", "for", "sysctl"}
_IFCONFIG_OF_CARD = re.compile(r"up|down|-?(promisc|allmulti|multicast|arp)|mtu|txqueuelen|\d+|0\.0\.0\.0")
_BEFORE_OR_AFTER_THE_BRIDGE = {"pre-up", "post-down"}
_DEVICE_WORDS = r"dev|iif|oif|label|iifname|oifname|-i|-o|--in-interface|--out-interface"
_NET = r"\bnet(?P<{0}>[./])ipv[46](?P={0})(?:conf|neigh)(?P={0})"


class About(Enum):
    """What a command is about."""

    HARDWARE = "hardware"
    ADDRESS = "address"
    NOTHING = "names no interface"
    EARLY = "an address, before there is a bridge that could have it"
    UNCLEAR = "cannot be told"


def names(text: str, device: str) -> bool:
    """Tell whether the text names the interface or something made of it (eth0, eth0:1, conf.eth0.x)."""
    either = "|".join(map(re.escape, {device, _in_sysctl(device)}))
    return re.search(rf"(?<![\w-])({either})(?![\w-])", text) is not None


def names_exactly(text: str, device: str) -> bool:
    """Tell whether the text names the interface itself, not its VLAN (eth0.10) or alias (eth0:1)."""
    return re.search(rf"(?<![\w-]){re.escape(device)}(?![\w-]|[.:]\d)", text) is not None


def _in_sysctl(device: str) -> str:
    """Return the name as it stands in a dotted key: the full stop of a VLAN is a slash there."""
    return device.replace(".", "/")


def _own(device: str) -> str:
    return rf"(?:{re.escape(device)}|\$IFACE\b|\$\{{IFACE\}}|\$LOGICAL\b|\$\{{LOGICAL\}})"


def _names_own_device(text: str) -> bool:
    return re.search(r"\$\{?(IFACE|LOGICAL)\b", text) is not None


def about(line: Line, device: str) -> About:
    """Judge a command line that stands in a stanza of `device`.

    Several commands in one line count when they agree; those that name no interface follow the others.
    """
    try:
        commands = _simple_commands(line.rest)
    except ValueError:
        return About.UNCLEAR if _concerns([line.rest], device) else About.NOTHING
    kinds = {_about_words(words, device) for words in commands} - {About.NOTHING}
    if not kinds:
        return About.NOTHING
    if len(kinds) > 1:
        return About.UNCLEAR
    kind = kinds.pop()
    if kind is not About.ADDRESS:
        return kind
    if still_names(renamed(line.raw, device, "_"), device):
        return About.UNCLEAR
    tools = {basename(words[0]) for words in commands if _concerns(words, device)}
    early = line.keyword in _BEFORE_OR_AFTER_THE_BRIDGE and not tools <= _FIREWALLS
    return About.EARLY if early else About.ADDRESS


def renamed(raw: str, old: str, new: str) -> str:
    r"""Return a command line's bytes with the interface renamed where it is known to stand for one.

    That is after `dev`, `iif`, `oif`, `label`, and the like, quoted or not, and in names of
    net.ipv4 and net.ipv6 variables, as sysctl(8) or /proc/sys spell them.
    """
    between = r"(?:\s|\\\n)+"
    after_word = (
        rf"(?P<before>(?<![\w-])(?:{_DEVICE_WORDS})(?:{between}|=)(?P<quote>[\"']?)){re.escape(old)}"
        r"(?P<alias>:\w+)?(?P=quote)(?![\w./:-])"
    )
    raw = re.sub(after_word, lambda m: f"{m['before']}{new}{m['alias'] or ''}{m['quote']}", raw)
    path = _NET.format("slash").replace("[./]", "/") + re.escape(old) + "(?=/)"
    key = _NET.format("dot").replace("[./]", r"\.") + re.escape(_in_sysctl(old)) + r"(?=\.)"
    raw = re.sub(f"({path})", lambda m: m[0].removesuffix(old) + new, raw)
    return re.sub(f"({key})", lambda m: m[0].removesuffix(_in_sysctl(old)) + _in_sysctl(new), raw)


def still_names(raw: str, device: str) -> bool:
    """Tell whether a command line, read anew from its bytes, names the interface as the shell sees it."""
    text = next(logical_lines("", raw)).rest
    try:
        return any(names(word, device) for words in _simple_commands(text) for word in words)
    except ValueError:
        return names(text, device)


def _simple_commands(text: str) -> list[list[str]]:
    """Return the words of each command of a shell line, without what leads a command in."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    lexer.commenters = ""  # it would end a word at any #, and hide what follows
    commands: list[list[str]] = [[]]
    for token in lexer:
        if token in _SEPARATORS:
            commands.append([])
        elif commands[-1] or not (token in _LEADING or re.match(r"\w+=", token)):
            commands[-1].append(token)
    return [words for words in commands if words]


def _concerns(words: Iterable[str], device: str) -> bool:
    text = " ".join(words)
    return names(text, device) or _names_own_device(text)


def _about_words(words: list[str], device: str) -> About:
    if not _concerns(words, device):
        return About.NOTHING
    tool, arguments = basename(words[0]), words[1:]
    if tool in _CARD_TOOLS or (tool in {"ifup", "ifdown"} and _is_vlan_of(arguments, device)):
        return About.HARDWARE
    if tool == "ip":
        return _about_ip(arguments, device)
    if tool == "ifconfig":
        return _about_ifconfig(arguments, device)
    if tool in _FILE_TOOLS:
        return _about_paths(tool, arguments, device)
    return About.ADDRESS if tool in _ADDRESS_TOOLS else About.UNCLEAR


def _is_vlan_of(words: Iterable[str], device: str) -> bool:
    """Tell whether every word that concerns the interface is the name of a VLAN on it."""
    return all(re.fullmatch(rf"{_own(device)}\.\d+", word) for word in words if _concerns([word], device))


def _about_ip(arguments: list[str], device: str) -> About:
    family_of = {"-f", "-family"}
    before = ["", *arguments]
    plain = [
        word
        for word, last in zip(arguments, before, strict=False)
        if not word.startswith("-") and last not in family_of
    ]
    if plain[:2] in (["link", "set"], ["l", "set"], ["link", "s"]):
        return _about_link_set(plain[2:], device)
    if plain[:2] == ["link", "add"]:
        return About.HARDWARE if "vlan" in plain else About.UNCLEAR
    return About.ADDRESS if plain[:1] and plain[0] in _ADDRESS_OBJECTS else About.UNCLEAR


def _about_link_set(words: list[str], device: str) -> About:
    target = words[words.index("dev") + 1 :] if "dev" in words else words
    own = bool(target) and re.fullmatch(_own(device), target[0]) is not None
    return About.HARDWARE if own and "master" not in words else About.UNCLEAR


def _about_ifconfig(words: list[str], device: str) -> About:
    if not words or re.fullmatch(_own(device), words[0]) is None:
        return About.UNCLEAR
    return About.HARDWARE if all(map(_IFCONFIG_OF_CARD.fullmatch, words[1:])) else About.ADDRESS


def _about_paths(tool: str, words: list[str], device: str) -> About:
    """Judge what is read or written below /proc/sys or /sys, and kernel variables' names."""
    concerned = [word for word in words if _concerns([word], device)]
    if all(re.search(rf"^/sys/class/net/{_own(device)}/", word) for word in concerned):
        return About.HARDWARE
    own = rf"(?:{_own(device)}|{_own(_in_sysctl(device))})"
    if all(re.search(rf"^(/proc/sys/)?{_NET.format('sep')}{own}(?P=sep)", word) for word in concerned):
        return About.ADDRESS
    harmless = tool in _PRINTERS and not any(word.startswith(">") for word in words)
    return About.NOTHING if harmless else About.UNCLEAR
