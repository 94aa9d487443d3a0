"""The account of a student on his host: made or adopted, given keys and sudo, given back as found."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from providers.errors import LabError
from providers.state import account
from providers.state.account import Seen
from providers.state.student import Account
from providers.transport import CommandFailed, Session

ROOT = "root"
_SCRIPT = Path(__file__).with_name("scripts") / "student-account.sh"
_FIRST_UID = 1000


def look(session: Session, user: str) -> Seen:
    """Return what there is of an account."""
    return account.parse(_run(session, "look", user))


def found(session: Session, user: str) -> Account:
    """Return what giving the account back needs.

    Raises:
        LabError: it is an account of the system's.
    """
    seen = look(session, user)
    if seen.uid is not None and seen.uid < _FIRST_UID and user != ROOT:
        raise LabError(
            f"{session.endpoint.host}: make an account {user} for the student",
            f"it is one of the system's, with the number {seen.uid}",
            "give the student another user name",
        )
    return Account(
        made=seen.uid is None, had_keys_file=seen.keys is not None, had_ssh_folder=seen.has_ssh_folder
    )


def joining(session: Session, user: str, known: Account, groups: Sequence[str]) -> tuple[str, ...]:
    """Return the groups that the account is, or was, put into by this program."""
    has = look(session, user).groups
    return tuple(dict.fromkeys((*known.groups, *(group for group in groups if group not in has))))


def ensure(session: Session, user: str, known: Account, keys: Sequence[str], groups: Sequence[str]) -> None:
    """Have the account with these keys and, among others, these groups."""
    seen = look(session, user)
    if seen.uid is None:
        _run(session, "make", user)
        seen = look(session, user)
    if user != ROOT:
        _set_groups(session, user, known, seen, groups)
    _refuse_odd(session, user, seen)
    text = account.with_keys(seen.keys or b"", keys)
    if text != seen.keys:
        _run(session, "keys", user, stdin=text)


def allow(session: Session, user: str, *, sudo: bool) -> None:
    """Have, or not, the rule by which the account becomes root.

    Raises:
        LabError: the rule is there and has no effect.
    """
    if user == ROOT:
        return
    path = account.sudoers_file(user)
    if not sudo:
        session.remove(path)
        return
    if look(session, user).sudoers != account.sudoers(user):
        _run(session, "rule", path, stdin=account.sudoers(user).encode())
    tried = session.run(["runuser", "-u", user, "--", "sudo", "-n", "true"], check=False)
    if tried.exit_status != 0:
        raise LabError(
            f"{session.endpoint.host}: let {user} become root by sudo",
            f"{path} is there, but sudo says: {tried.stderr.strip()}",
            "look whether /etc/sudoers reads that folder, and what in it is read later",
        )


def give_back(session: Session, user: str, known: Account) -> None:
    """Leave the account as it was found; one that was made goes, its home stays."""
    session.remove(account.sudoers_file(user))
    seen = look(session, user)
    if seen.uid is None:
        return
    # in the home of an account that goes he may have made it impossible: it is of no use there
    with contextlib.suppress(CommandFailed) if known.made else contextlib.nullcontext():
        _remove_keys(session, user, known, seen.keys or b"")
    if user == ROOT:
        return
    if known.made:
        _run(session, "remove", user)
        return
    for group in known.groups:
        session.run(["gpasswd", "--delete", user, group], check=False)


def _set_groups(session: Session, user: str, known: Account, seen: Seen, groups: Sequence[str]) -> None:
    if missing := [group for group in groups if group not in seen.groups]:
        session.run(["usermod", "--append", "--groups", ",".join(missing), user])
    for group in known.groups:
        if group not in groups and group in seen.groups:
            session.run(["gpasswd", "--delete", user, group])


def _remove_keys(session: Session, user: str, known: Account, keys: bytes) -> None:
    text = account.without_keys(keys)
    if keys and not text and not known.had_keys_file:
        _run(session, "no-keys", user, "keep" if known.had_ssh_folder else "remove")
    elif text != keys:
        _run(session, "keys", user, stdin=text)


def _refuse_odd(session: Session, user: str, seen: Seen) -> None:
    if seen.keys_file not in {"file", "none"}:
        raise LabError(
            f"{session.endpoint.host}: give {user} its keys",
            f"its .ssh/authorized_keys is {seen.keys_file}",
            "remove it on the host: keys are written into a file only",
        )


def _run(session: Session, *arguments: str, stdin: bytes = b"") -> str:
    script = _SCRIPT.read_text(encoding="utf-8")
    return session.run(["sh", "-c", script, _SCRIPT.name, *arguments], stdin=stdin, timeout=120.0).stdout
