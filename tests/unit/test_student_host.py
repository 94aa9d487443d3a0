"""What the inputs of a student's host may be, and what of an edit counts."""

from __future__ import annotations

from typing import Any

import pytest

from providers.student_host import StudentHostProvider

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"


def host(**edits: object) -> dict[str, Any]:
    endpoint = {"host": "g1s1", "address": "198.51.100.11", "port": 22.0, "user": "root", "host_keys": [KEY]}
    props = {"user": "ann", "keys": [KEY], "pool": "kvm-lab-lab"}
    return {"endpoint": endpoint, "stack": "kvm-lab/lab.g1s1", **props, **edits}


@pytest.mark.parametrize(
    ("edit", "properties"),
    [
        ({}, []),
        ({"user": "../etc"}, ["user"]),
        ({"user": "a.b"}, ["user"]),
        ({"user": "ann ALL=(ALL) ALL"}, ["user"]),
        ({"keys": [KEY, f"{KEY}\n{KEY}"]}, ["keys[1]"]),
        ({"keys": [""]}, ["keys[0]"]),
        ({"groups": ["kvm,sudo"]}, ["groups[0]"]),
        ({"generation": 0.0}, ["generation"]),
    ],
)
def test_mistakes_are_named(edit: dict[str, Any], properties: list[str]) -> None:
    found = StudentHostProvider().check({}, host(**edit)).failures
    assert [failure.property for failure in found] == properties


@pytest.mark.parametrize(
    ("seen", "changes"),
    [
        ({}, False),
        ({"groups": ["libvirt", "kvm"], "kept": [], "generation": 1.0, "sudo": True}, False),
        ({"user": "no such account"}, True),
        ({"groups": ["kvm"]}, True),
        ({"sudo": False}, True),
        ({"generation": "1, unfinished"}, True),
        ({"kept": [2.0]}, True),
    ],
)
def test_what_a_refresh_sees_otherwise_is_mended_in_place(seen: dict[str, Any], changes: bool) -> None:
    diff = StudentHostProvider().diff("x", host(**seen), host())
    assert diff.changes is changes
    assert not diff.replaces
