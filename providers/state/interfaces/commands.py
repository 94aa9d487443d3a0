"""Whom a command line of a stanza (up, pre-up, ...) is about: the hardware, the address, or neither."""

from __future__ import annotations

import re
import shlex
from enum import Enum
from posixpath import basename

from providers.state.interfaces.lines import Line

_SEPARATORS = {";", "&&", "||", "|", "&", "(", ")"}
_LINK_TOOLS = {"ethtool", "mii-tool", "ethtool.real"}
_ADDRESS_OBJECTS = ("addr", "address", "a", "route", "r", "ro", "rule", "ru", "neigh", "n", "neighbour")
_DEVICE_WORDS = ("dev", "iif", "oif", "label")
_BEFORE_OR_AFTER_THE_BRIDGE = {"pre-up", "post-down"}


class About(Enum):
    """What a command is about."""

    HARDWARE = "hardware"
    ADDRESS = "address"
    NOTHING = "names no interface"
    UNCLEAR = "cannot be told"


def names(text: str, device: str) -> bool:
    """Tell whether the text names the interface or something made of it (eth0, eth0:1, conf.eth0.x)."""
    return re.search(rf"(?<![\w-]){re.escape(device)}(?![\w-])", text) is not None


def names_exactly(text: str, device: str) -> bool:
    """Tell whether the text names the interface itself, not its VLAN (eth0.10) or alias (eth0:1)."""
    return re.search(rf"(?<![\w-]){re.escape(device)}(?![\w-]|[.:]\d)", text) is not None


def _names_own_device(text: str) -> bool:
    return re.search(r"\$\{?(IFACE|LOGICAL)\b", text) is not None


def about(line: Line, device: str) -> About:
    """Judge a command line that stands in a stanza of `device`.

    Several commands in one line count when they agree; those that name no interface follow the others.
    """
    text = line.rest
    if not names(text, device) and not _names_own_device(text):
        return About.NOTHING
    try:
        commands = _simple_commands(text)
    except ValueError:
        return About.UNCLEAR
    kinds = {kind for words in commands if (kind := _about_words(words, device)) is not About.NOTHING}
    if len(kinds) != 1:
        return About.UNCLEAR
    kind = kinds.pop()
    early_or_late = line.keyword in _BEFORE_OR_AFTER_THE_BRIDGE
    return About.UNCLEAR if kind is About.ADDRESS and early_or_late else kind


def renamed(raw: str, old: str, new: str) -> str:
    """Return a command line's bytes with `dev OLD`, `iif OLD`, `oif OLD`, `label OLD[:n]` renamed."""
    between = r"((?:\s|\\\n)+)"
    words = "|".join(_DEVICE_WORDS)
    return re.sub(rf"\b({words}){between}{re.escape(old)}(?![\w.-])", rf"\g<1>\g<2>{new}", raw)


def _simple_commands(text: str) -> list[list[str]]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    commands: list[list[str]] = [[]]
    for token in lexer:
        if token in _SEPARATORS:
            commands.append([])
        else:
            commands[-1].append(token)
    return [words for words in commands if words]


def _about_words(words: list[str], device: str) -> About:
    text = " ".join(words)
    if not names(text, device) and not _names_own_device(text):
        return About.NOTHING
    tool, *arguments = basename(words[0]), *words[1:]
    if tool in _LINK_TOOLS or (tool in {"ifup", "ifdown"} and not names_exactly(text, device)):
        return About.HARDWARE
    if tool == "ip":
        return _about_ip(arguments, device)
    if tool == "route":
        return _about_address_words(arguments, device)
    return About.ADDRESS if not names(text, device) else About.UNCLEAR


def _about_ip(arguments: list[str], device: str) -> About:
    plain = [word for word in arguments if not word.startswith("-")]
    if plain[:2] in (["link", "set"], ["l", "set"], ["link", "s"]):
        return _about_link_set(plain[2:], device)
    if plain[:2] == ["link", "add"]:
        return About.HARDWARE if "vlan" in plain else About.UNCLEAR
    if plain and plain[0] in _ADDRESS_OBJECTS:
        return _about_address_words(plain, device)
    return About.UNCLEAR


def _about_link_set(words: list[str], device: str) -> About:
    target = (words[1:] if words[:1] == ["dev"] else words)[:1]
    own = target in ([device], ["$IFACE"], ["${IFACE}"], ["$LOGICAL"])
    return About.HARDWARE if own and "master" not in words else About.UNCLEAR


def _about_address_words(words: list[str], device: str) -> About:
    """Judge `ip addr`, `ip route` and the like: each naming of the device must be one that is renamed."""
    for before, word in zip(["", *words], words, strict=False):
        if names(word, device) and not _is_renamed(before, word, device):
            return About.UNCLEAR
    return About.ADDRESS


def _is_renamed(before: str, word: str, device: str) -> bool:
    return before in _DEVICE_WORDS and re.fullmatch(rf"{re.escape(device)}(:\w+)?", word) is not None
