"""Nobody logs in to a guest with a password."""

from __future__ import annotations

import base64
import binascii
import email
import gzip
import re
from collections.abc import Callable, Iterator, Mapping

import yaml

from .verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged, Violation, items

NAME = "guests-without-password-login"
DESCRIPTION = "No guest is given a password, or an SSH server that takes one."
REFERENCE = "https://cloudinit.readthedocs.io/en/latest/reference/modules.html"
WHY = "guests are machines of the network like any other: a password is guessed, or passed on"
OPTIONS: Options = {}
SEED = "libvirt:index/cloudInitDisk:CloudInitDisk"
WANTED = "left out: SSH keys let people in"
READABLE = "#cloud-config, a script, or several parts of these in MIME"
ON = ("true", "yes", "on", "1")
ACCOUNT_PASSWORDS = ("plain_text_passwd", "hashed_passwd", "passwd")

_LOGINS = "PasswordAuthentication|KbdInteractiveAuthentication|ChallengeResponseAuthentication"
_SERVER = re.compile(rf"({_LOGINS}|PermitEmptyPasswords)[\s=\"']+yes", re.IGNORECASE)
_COMMANDS = {
    "chpasswd": re.compile(r"\bchpasswd\b"),
    "passwd --stdin, -d or -u": re.compile(
        r"\bpasswd[ \t]+([^\s;|&]+[ \t]+)*(--stdin|-d|--delete|-u|--unlock)(?=[\s;|&\"']|$)"
    ),
    "a password for usermod or useradd": re.compile(
        r"\b(usermod|useradd)\s+([^\n;|&]+\s+)?(-\w*p|--password)\b"
    ),
    "usermod -U": re.compile(r"\busermod\s+([^\n;|&]+\s+)?(-\w*U|--unlock)\b"),
}
_SCRIPTS = ("#!", "#cloud-boothook", "#upstart-job")
_Found = tuple[str, str]
"""Where, and what; never a value, as user data is a secret."""


def judge(resource: Resource, options: Options = DEFAULTS) -> list[Finding]:  # noqa: ARG001
    """Judge the user data of a guest's seed."""
    if resource.type != SEED:
        return []
    data = resource.inputs.get("userData")
    if data is UNKNOWN:
        return [Unjudged(resource.name, "userData", "no password in it")]
    if not isinstance(data, str) or not data.strip():
        return []
    return [
        Violation(resource.name, f"userData{option}", seen, READABLE if seen == _UNREAD else WANTED, WHY)
        for option, seen in dict.fromkeys(_judge_text(data, ""))
    ]


_UNREAD = "nothing that can be judged"


def _judge_text(data: str, path: str) -> Iterator[_Found]:
    """Judge user data by its first line, as cloud-init does."""
    text = data.lstrip()
    if text.startswith("## template:"):
        text = text.partition("\n")[2].lstrip()
    first = text.partition("\n")[0].strip().lower()
    if first == "#cloud-config":
        yield from _judge_yaml(text, path, _judge_config)
    elif first == "#cloud-config-archive":
        yield from _judge_yaml(text, path, _judge_archive)
    elif first.startswith(_SCRIPTS):
        yield from _judge_script(text, path)
    elif first.startswith(("content-type:", "mime-version:")):
        yield from _judge_parts(text, path)
    elif first:
        yield path, _UNREAD


def _judge_yaml(
    text: str, path: str, judge_document: Callable[[object, str], Iterator[_Found]]
) -> Iterator[_Found]:
    try:
        document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe
    except (yaml.YAMLError, ValueError):
        yield path, _UNREAD
        return
    yield from judge_document(document, path)


def _judge_parts(text: str, path: str) -> Iterator[_Found]:
    for number, part in enumerate(
        part for part in email.message_from_string(text).walk() if not part.is_multipart()
    ):
        payload = part.get_payload(decode=True)
        content = payload.decode("utf-8", "replace") if isinstance(payload, bytes) else ""
        yield from _judge_text(_headed(content, part.get_content_type()), f"{path}: part {number}")


def _judge_archive(document: object, path: str) -> Iterator[_Found]:
    for number, part in enumerate(items(document)):
        content = part.get("content") if isinstance(part, Mapping) else part
        kind = part.get("type") if isinstance(part, Mapping) else ""
        yield from _judge_text(_headed(str(content or ""), str(kind)), f"{path}: part {number}")


def _headed(content: str, kind: str) -> str:
    """Return a part with the first line that its type stands for."""
    heads = {"text/cloud-config": "#cloud-config", "text/x-shellscript": "#!/bin/sh"}
    head = heads.get(kind)
    return f"{head}\n{content}" if head else content


def _judge_config(document: object, path: str) -> Iterator[_Found]:
    if not isinstance(document, Mapping):
        return
    found = [
        *_judge_logins(document),
        *_judge_accounts(document),
        *_judge_files(document),
        *_judge_commands(document),
    ]
    yield from ((f"{path}: {option}", seen) for option, seen in found)


def _judge_logins(config: Mapping[object, object]) -> Iterator[_Found]:
    if str(config.get("ssh_pwauth")).lower() in ON:
        yield "ssh_pwauth", "on"
    if config.get("password"):
        yield "password", "set"
    chpasswd = config.get("chpasswd")
    for option in ("list", "users"):
        if isinstance(chpasswd, Mapping) and chpasswd.get(option):
            yield f"chpasswd.{option}", "set"


def _judge_accounts(config: Mapping[object, object]) -> Iterator[_Found]:
    users = config.get("users")
    accounts = [(f"users[{index}]", user) for index, user in enumerate(items(users))]
    if isinstance(users, Mapping):
        accounts = [(f"users[{index}]", user) for index, user in enumerate(users.values())]
    system = config.get("system_info")
    default = system.get("default_user") if isinstance(system, Mapping) else None
    for path, account in [*accounts, ("user", config.get("user")), ("system_info.default_user", default)]:
        if isinstance(account, Mapping):
            # cloud-init reads dashes as underscores
            options = {str(name).replace("-", "_"): value for name, value in account.items()}
            yield from (
                (f"{path}.{name}", "set") for name in ACCOUNT_PASSWORDS if _lets_in(options.get(name))
            )
            if "lock_passwd" in options and str(options["lock_passwd"]).lower() not in ON:
                yield f"{path}.lock_passwd", "off"


def _lets_in(password: object) -> bool:
    """Tell whether it is a password, or the hash of one: "!" and "*" are those of none."""
    return bool(password) and not str(password).startswith(("!", "*"))


def _judge_files(config: Mapping[object, object]) -> Iterator[_Found]:
    for index, file in enumerate(items(config.get("write_files"))):
        if isinstance(file, Mapping):
            yield from _judge_script(_content(file), f"write_files[{index}].content")
            if file.get("source"):  # fetched by the guest, as what "#include" names is
                yield f"write_files[{index}].source", _UNREAD


def _content(file: Mapping[object, object]) -> str:
    """Return a file's text; what cannot be decoded as it is."""
    content = file.get("content")
    encoding = str(file.get("encoding") or "").lower()
    raw = content if isinstance(content, bytes) else str(content or "").encode()
    try:
        if any(word in encoding for word in ("b64", "base64")):
            raw = base64.b64decode(raw)
        if encoding.startswith("gz"):
            raw = gzip.decompress(raw)
    except (binascii.Error, ValueError, OSError, EOFError):
        pass
    return raw.decode("utf-8", "replace")


def _judge_commands(config: Mapping[object, object]) -> Iterator[_Found]:
    for option in ("bootcmd", "runcmd"):
        for index, command in enumerate(items(config.get(option))):
            text = "\n".join(map(str, items(command))) if items(command) else str(command)
            joined = " ".join(map(str, items(command)))
            yield from dict.fromkeys(
                found for one in (text, joined) for found in _judge_script(one, f"{option}[{index}]")
            )


def _judge_script(text: str, path: str) -> Iterator[_Found]:
    """Look for what lets passwords in, in a script or a file of settings; comments do not count."""
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    if match := _SERVER.search(lines):
        yield path, f"{match[1]} yes"
    for name, pattern in _COMMANDS.items():
        if pattern.search(lines):
            yield path, name
