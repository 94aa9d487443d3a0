"""`make access` with a stand-in for `pulumi`: which files there are, and that nothing secret is in them."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml
from pulumi.runtime.rpc import UNKNOWN

from lab import access_command
from lab.settings import Settings
from providers.errors import LabError

STACK = "room"


def make_key(path: Path) -> str:
    """Make a key pair and return its public half, "type base64"."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return " ".join(path.with_suffix(".pub").read_text().split()[:2])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a project folder with a stack of two guests, on a host that is no machine of the testbed."""
    make_key(tmp_path / "id_ed25519")
    host = {
        "name": "g1",
        "address": "192.0.2.11",
        "identity_file": "id_ed25519",
        "host_keys": [make_key(tmp_path / "host_key")],
        "bridge": {"port": "eth0"},
        "guests": [
            {
                "name": name,
                "image": "debian-12",
                "address": f"192.0.2.{number}/24",
                "ssh_key_files": [f"{key}.pub"],
            }
            for name, number, key in (("web", 21, "id_ed25519"), ("db", 22, "host_key"))
        ],
    }
    image = {"name": "debian-12", "url": "https://images.example/debian-12.qcow2", "sha512": "0" * 128}
    config = {"kvm-lab:images": [image], "kvm-lab:hosts": [host]}
    (tmp_path / f"Pulumi.{STACK}.yaml").write_text(yaml.safe_dump({"config": config}))
    return tmp_path


def settings_of(root: Path) -> Settings:
    return Settings(
        root=root,
        stack=STACK,
        stack_file=root / f"Pulumi.{STACK}.yaml",
        testbed=root / ".lab/testbed",
        bridge="none",
        network=IPv4Network("198.51.100.0/24"),
    )


def give_outputs(root: Path, outputs: dict[str, Any]) -> None:
    (root / "outputs.json").write_text(json.dumps(outputs))
    pulumi = root / ".lab/bin/pulumi"
    pulumi.parent.mkdir(parents=True, exist_ok=True)
    pulumi.write_text(f"#!/bin/sh\nexec cat {root}/outputs.json\n")
    pulumi.chmod(0o755)


def give_roster(root: Path, templates: list[dict[str, Any]], students: list[dict[str, Any]]) -> None:
    path = settings_of(root).stack_file
    document = yaml.safe_load(path.read_text())
    document["config"]["kvm-lab:templates"] = templates
    document["config"]["kvm-lab:roster"] = {
        "network": "192.0.2.0/24",
        "address": "192.0.2.{100 + 10*group + student + 100*guest}",
        "students": students,
    }
    path.write_text(yaml.safe_dump(document))


def folder_of(root: Path) -> Path:
    return root / ".lab/access" / STACK


def body(private_key: str) -> list[str]:
    return private_key.splitlines()[1:-1]


def test_ssh_logs_in_with_the_hosts_key_file_where_the_guest_knows_it(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    give_outputs(root, {"guests": {"web": {"host_key": make_key(root / "web_key")}}})
    assert access_command.access(settings_of(root)) == 0
    files = {}
    for name in ("web", "db", "g1"):
        argv = ["ssh", "-G", "-F", str(folder_of(root) / "ssh_config"), name]
        shown = subprocess.run(argv, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
        files[name] = f"identityfile {root}/id_ed25519" in shown.stdout.splitlines()
    assert files == {"web": True, "db": False, "g1": True}


def test_no_private_key_is_in_any_file(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(root)
    public = make_key(root / "web_key")
    planted = [root / name for name in ("id_ed25519", "host_key", "web_key")]
    secret = planted[-1].read_text()
    web = {"host_key": public, "private_key": secret, "host": secret, "address": secret, "user": secret}
    give_outputs(root, {"guests": {"web": web}, "secret": secret})
    access_command.access(settings_of(root))
    written = {path.name: path.read_text() for path in folder_of(root).iterdir()}
    assert set(written) == {"README.md", "ssh_config", "known_hosts"}
    assert public in written["known_hosts"]
    for key in planted:
        lines = body(key.read_text())
        assert lines
        assert not [(line, name) for line in lines for name, text in written.items() if line in text]
    assert not [name for name, text in written.items() if "PRIVATE KEY" in text]


def test_a_private_key_in_the_place_of_a_host_key_is_refused(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root)
    make_key(root / "web_key")
    secret = (root / "web_key").read_text()
    give_outputs(root, {"guests": {"web": {"host_key": secret}}})
    with pytest.raises(LabError, match="web: read its host key in the stack's outputs") as error:
        access_command.access(settings_of(root))
    assert not [line for line in body(secret) if line in str(error.value)]
    assert not folder_of(root).exists()


def test_it_tells_how_many_guests_are_not_there_yet(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    give_outputs(root, {"guests": {"web": {"host_key": make_key(root / "web_key")}}})
    access_command.access(settings_of(root))
    assert "1 of 2 guests are not there yet: db" in capsys.readouterr().err
    give_outputs(root, {"guests": {"web": {"host_key": UNKNOWN}, "db": {"host": "g1"}}})
    access_command.access(settings_of(root))
    assert "2 of 2 guests are not there yet: web, db" in capsys.readouterr().err
    give_outputs(root, {})
    access_command.access(settings_of(root))
    assert "2 of 2 guests are not there yet: web, db" in capsys.readouterr().err
    assert "web" not in (folder_of(root) / "known_hosts").read_text()


def test_a_testbed_that_is_off_is_an_error_with_the_way_on(root: Path) -> None:
    within = replace(settings_of(root), network=IPv4Network("192.0.2.0/24"))
    with pytest.raises(LabError, match=r"testbed, which is off.*\n.*make up STACK=room"):
        access_command.access(within)
    assert not folder_of(root).exists()


def test_sheets_follow_the_roster_and_those_of_students_that_left_go(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(root)
    keys = {name: make_key(root / name) for name in ("g1s1", "g1s2-www", "g2s1")}
    give_outputs(
        root,
        {"guests": {name: {"host_key": keys[name]} for name in ("g1s1", "g1s2-www")}, "environments": {}},
    )
    guest = {"image": "debian-12", "ssh_key_files": ["id_ed25519.pub"]}
    students = [
        {"group": 1, "student": 1, "host": "g1", "template": "one"},
        {"group": 1, "student": 2, "host": "g1", "template": "two"},
        {
            "group": 2,
            "student": 1,
            "template": "own",
            "host_keys": [keys["g2s1"]],
            "ssh_keys": [keys["g2s1"]],
        },
    ]
    give_roster(
        root,
        [
            {"name": "one", "guests": [guest]},
            {"name": "two", "guests": [{**guest, "name": "www"}, {**guest, "name": "sql"}]},
            {"name": "own", "hypervisor": {"bridge": {"port": "eth0"}, "identity_file": "id_ed25519"}},
        ],
        students,
    )
    access_command.access(settings_of(root))
    folder = folder_of(root)
    assert {path.name for path in folder.glob("g*.md")} == {"g1s1.md", "g1s2.md", "g2s1.md"}
    assert f"192.0.2.111 {keys['g1s1']}" in (folder / "g1s1.md").read_text()
    assert "`g1s2-sql`" in (folder / "g1s2.md").read_text()
    assert "student@192.0.2.121" in (folder / "g2s1.md").read_text()
    assert "## Other guests" in (folder / "README.md").read_text()
    assert "3 of 5 guests are not there yet: g1s2-sql, web, db" in capsys.readouterr().err

    (folder / "g1s9.md").write_text("a note of the teacher's\n")
    give_roster(root, [{"name": "one", "guests": [guest]}], students[:1])
    access_command.access(settings_of(root))
    assert {path.name for path in folder.glob("g*.md")} == {"g1s1.md", "g1s9.md"}
    assert "removed from .lab/access/room: g1s2.md, g2s1.md" in capsys.readouterr().err
