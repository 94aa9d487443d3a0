"""The keys of an account, ours among others'."""

from __future__ import annotations

import base64

import pytest

from providers.state import account

KEYS = ("ssh-ed25519 AAAA one", "ssh-ed25519 BBBB two")


@pytest.mark.parametrize("found", [b"", b"ssh-rsa CCCC his\n", b"no newline \xff at the end", b"\n\n# a\r\n"])
def test_what_was_there_comes_back_byte_for_byte(found: bytes) -> None:
    text = account.with_keys(found, KEYS)
    assert account.our_keys(text) == KEYS
    assert account.without_keys(text) == found
    assert account.with_keys(text, KEYS) == text
    assert account.our_keys(account.with_keys(text, KEYS[:1])) == KEYS[:1]


def test_lines_added_above_and_below_stay() -> None:
    text = b"above\n" + account.with_keys(b"found\n", KEYS) + b"below\n"
    assert account.without_keys(text) == b"above\nfound\nbelow\n"


def test_a_block_without_its_end_takes_nothing_with_it() -> None:
    text = account.with_keys(b"found\n", KEYS).replace(account.END, b"")
    assert account.our_keys(text) == ()
    assert account.without_keys(text) == text
    assert account.our_keys(account.with_keys(text, KEYS)) == KEYS


def test_an_account_is_parsed() -> None:
    keys, rule = (base64.b64encode(text).decode() for text in (b"key\n", b"rule\n"))
    text = f"sudoers {rule}\nuid 1001\ngroups ann kvm\nssh-folder yes\nkeys-file file\nkeys {keys}\n"
    assert account.parse(text) == account.Seen(1001, ("ann", "kvm"), b"key\n", True, "rule\n", "file")
    empty = account.parse("uid 1001\ngroups ann\nkeys-file file\nkeys \n")
    assert empty.keys == b""
    assert account.parse("keys-file a symbolic link\n").keys_file == "a symbolic link"
    assert account.parse("").uid is None
    with pytest.raises(ValueError, match="not what was asked for"):
        account.parse("sudoers /w==\n")
