"""What `make access` writes: a sheet for each student, the teacher's summary, files for ssh(1); pure.

Nothing secret goes in: of a private key its path at most, of a host key its public half.
"""

from __future__ import annotations

import base64
import hashlib
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lab.report import SSH_PORT, Login

MARK = "Written by `make access`: its next run overwrites or removes this file."
"""What the first line of every file says that may be overwritten or removed."""
SUMMARY, SSH_CONFIG, KNOWN_HOSTS = "README.md", "ssh_config", "known_hosts"
_NOT_THERE = "not there yet"


@dataclass(frozen=True)
class Handout:
    """A student's environment: its name, the host that it is on, and its guests.

    A guest without host keys was not made yet. `own_host` is the student's login on that host where all of
    it is the student's.
    """

    name: str
    group: int
    student: int
    host: str
    guests: tuple[Login, ...]
    own_host: Login | None = None

    @property
    def machines(self) -> tuple[Login, ...]:
        """Return what the student logs in to."""
        return self.guests if self.own_host is None else (self.own_host, *self.guests)


@dataclass(frozen=True)
class Access:
    """All that one can log in to in a stack; `folder` is the absolute path that the files are written to.

    `others` are the guests of no student, each with its host's name.
    """

    stack: str
    folder: Path
    handouts: tuple[Handout, ...]
    others: tuple[tuple[str, Login], ...]
    hosts: tuple[Login, ...]

    @property
    def guests(self) -> tuple[Login, ...]:
        """Return every guest, the students' first."""
        own = [guest for handout in self.handouts for guest in handout.guests]
        return (*own, *(guest for _, guest in self.others))

    @property
    def missing(self) -> tuple[str, ...]:
        """Return the names of the guests that were not made yet."""
        return tuple(guest.name for guest in self.guests if not guest.host_keys)

    @property
    def named_hosts(self) -> dict[str, Login]:
        """Return the hosts by the names that `ssh` knows them by; a name that a guest has is the guest's."""
        taken = {machine.name for machine in (*self.guests, *self.hosts)}
        names = {guest.name for guest in self.guests}
        named = {}
        for host in self.hosts:
            name = host.name
            if name in names:
                while name in taken:
                    name = f"host-{name}"
                taken.add(name)
            named[name] = host
        return named

    @property
    def machines(self) -> dict[str, Login]:
        """Return every machine by the name that `ssh` knows it by."""
        return {**{guest.name: guest for guest in self.guests}, **self.named_hosts}


def files(access: Access) -> dict[str, str]:
    """Return the text of every file, by its name."""
    return {
        SUMMARY: summary(access),
        SSH_CONFIG: ssh_config(access),
        KNOWN_HOSTS: known_hosts(access),
        **{f"{handout.name}.md": sheet(access.stack, handout) for handout in access.handouts},
    }


def sheet(stack: str, handout: Handout) -> str:
    """Return a student's sheet, in Markdown."""
    rows = [
        (_code(login.name), _code(login.address), _code(login.user), _fingerprints(login))
        for login in handout.machines
    ]
    made = [login for login in handout.machines if login.host_keys]
    parts = [
        f"<!-- {MARK} -->",
        f"# {handout.name}",
        f"Group {handout.group}, student {handout.student}. {_whereabouts(handout)}",
        _table(("machine", "address", "user", "host key"), rows),
    ]
    if len(made) < len(rows):
        parts.append(f"*{_NOT_THERE.capitalize()}*: once it is made, you get a new sheet.")
    if made:
        parts += [*_login_steps(made), *_remedies(stack, handout, made[0])]
    return "\n\n".join(parts) + "\n"


def summary(access: Access) -> str:
    """Return the teacher's summary, in Markdown."""
    parts = [f"<!-- {MARK} -->", f"# Access to the stack {access.stack}"]
    if access.handouts:
        headings = ("group", "student", "environment", "host", "machine", "address", "user", "ssh")
        parts += ["## Students", _table(headings, list(_students(access)))]
    if access.others:
        rows = [(host, *_machine(guest.name, guest)) for host, guest in access.others]
        parts += ["## Other guests", _table(("host", "machine", "address", "user", "ssh"), rows)]
    rows = [_machine(name, host) for name, host in access.named_hosts.items()]
    parts += ["## Hosts", _table(("host", "address", "user", "ssh"), rows)]
    parts += [*_login_of_teacher(access), *_commands_of_teacher(access)]
    return "\n\n".join(parts) + "\n"


def ssh_config(access: Access) -> str:
    """Return an ssh_config(5) with an entry for each machine, that trusts the known_hosts beside it only."""
    blocks = [
        f"# {MARK}\n# To use it everywhere, as the first line of ~/.ssh/config:\n# {_include(access)}\n"
    ]
    for name, login in access.machines.items():
        # no `Host *` and no line shared: another file may include this one
        lines = [
            *([] if login.host_keys else [f"# {_NOT_THERE}: ssh refuses it, for want of a host key"]),
            f"Host {name}",
            f"    HostName {login.address}",
            f"    Port {login.port}",
            f"    User {login.user}",
            f"    HostKeyAlias {name}",
            *_identity(login),
            "    StrictHostKeyChecking yes",
            f"    UserKnownHostsFile {_word(access.folder / KNOWN_HOSTS)}",
            "    GlobalKnownHostsFile /dev/null",
            "    UpdateHostKeys no",
            "    CheckHostIP no",
        ]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def known_hosts(access: Access) -> str:
    """Return a known_hosts file, sshd(8): each key under the machine's name and under its address."""
    lines = [login.known_hosts(name) for name, login in access.machines.items()]
    return f"# {MARK}\n" + "".join(lines)


def fingerprint(key: str) -> str:
    """Return what ssh shows of "type base64" at the first connection: "ED25519 SHA256:…"."""
    kind, encoded = key.split(" ")
    digest = base64.b64encode(hashlib.sha256(base64.b64decode(encoded)).digest()).decode().rstrip("=")
    return f"{kind.removeprefix('ssh-').split('-')[0].upper()} SHA256:{digest}"


def _whereabouts(handout: Handout) -> str:
    host = _code(handout.host)
    if handout.own_host is None:
        return f"Your guest{' runs' if len(handout.guests) == 1 else 's run'} on the host {host}."
    return f"The host {host} is yours: `sudo` makes you root on it."


def _students(access: Access) -> Iterable[tuple[str, ...]]:
    hosts = {host.name: _machine(name, host) for name, host in access.named_hosts.items()}
    for handout in access.handouts:
        own = [] if handout.own_host is None else [hosts[handout.host]]
        link = f"[{handout.name}]({handout.name}.md)"
        for machine in (*own, *(_machine(guest.name, guest) for guest in handout.guests)):
            yield str(handout.group), str(handout.student), link, handout.host, *machine


def _login_steps(made: Sequence[Login]) -> Iterable[str]:
    lines = "".join(login.known_hosts() for login in made).rstrip("\n")
    this, that = ("these lines", "those lines") if "\n" in lines else ("this line", "that line")
    yield "## Log in"
    yield f"Once, add {this} to the file `~/.ssh/known_hosts` on your machine:"
    yield _block(lines)
    yield "Then, with the SSH key that you gave to your teacher:"
    yield _block("\n".join(map(_command, made)))
    yield (
        f"Without {that}, plain `ssh` shows a fingerprint and asks whether to go on. Answer with the\n"
        "table's, `SHA256:…`, instead of `yes`: then it goes on only when they are the same."
    )


def _command(login: Login) -> str:
    port = "" if login.port == SSH_PORT else f"-p {login.port} "
    return f"ssh {port}-o StrictHostKeyChecking=yes {login.user}@{login.address}"


def _remedies(stack: str, handout: Handout, login: Login) -> Iterable[str]:
    forget = f"ssh-keygen -R {shlex.quote(login.known_as)}"
    yield "## When it does not answer"
    yield (
        f"1. No answer: try `ping {login.address}`. After a start or a reset, wait two minutes; look\n"
        "   whether your machine is in the lab's network.\n"
        "2. `Permission denied (publickey)`: name your key, `ssh -i ~/.ssh/KEY …`. Does your teacher\n"
        "   have its public half, the file that ends in `.pub`? Never give away the other one.\n"
        "3. `REMOTE HOST IDENTIFICATION HAS CHANGED`: do not log in. Ask for a new sheet; when it has\n"
        f"   another host key, run `{forget}` and add the line of the new sheet.\n"
        f"4. Else tell your teacher what you typed, what was printed, and: {_code(handout.name)} on\n"
        f"   {_code(handout.host)}, stack {_code(stack)}."
    )


def _login_of_teacher(access: Access) -> Iterable[str]:
    example = next(iter(access.machines))
    config = shlex.quote(str(access.folder / SSH_CONFIG))
    yield "## Log in"
    yield "The names of the column *ssh* stand in `ssh_config`; only the host keys in `known_hosts` count:"
    yield _block(f"ssh -F {config} {example}")
    yield "From everywhere as `ssh NAME`, with this as the first line of `~/.ssh/config`:"
    yield _block(_include(access))
    if access.handouts:
        yield "A student needs the sheet of the own environment only, and nothing else of this folder."


def _commands_of_teacher(access: Access) -> Iterable[str]:
    stack = f" STACK={access.stack}"
    commands = [
        (f"make show{stack}", "what there is now"),
        (f"make access{stack}", "writes these files anew, after each change of the stack"),
    ]
    if access.handouts:
        student = f" STUDENT={access.handouts[0].name}{stack}"
        commands += [
            (f"make apply{student}", "a reboot with an edited template or key"),
            (f"make reset{student}", "new, empty disks; the old ones are kept"),
            (f"make undo-reset{student}", "the disks of before are back"),
        ]
    yield "## Commands"
    width = max(len(command) for command, _ in commands)
    yield _block("\n".join(f"{command.ljust(width)}  # {what}" for command, what in commands))


def _machine(name: str, login: Login) -> tuple[str, ...]:
    address = login.address if login.port == SSH_PORT else f"{login.address} port {login.port}"
    return login.name, address, login.user, _code(f"ssh {name}") if login.host_keys else _NOT_THERE


def _fingerprints(guest: Login) -> str:
    return ", ".join(_code(fingerprint(key)) for key in guest.host_keys) or f"*{_NOT_THERE}*"


def _identity(login: Login) -> list[str]:
    if login.identity_file is None:
        return []
    # only this key: sshd hangs up on an agent that offers many
    return [f"    IdentityFile {_word(Path(login.identity_file))}", "    IdentitiesOnly yes"]


def _include(access: Access) -> str:
    return f'Include "{access.folder / SSH_CONFIG}"'


def _word(path: Path) -> str:
    """Return a path as one word of ssh_config(5), where % begins a token."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"'


def _code(text: str) -> str:
    return f"`{text}`"


def _block(text: str) -> str:
    return f"```\n{text}\n```"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in (headings, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    cells.insert(1, ["-" * width for width in widths])
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in padded)
