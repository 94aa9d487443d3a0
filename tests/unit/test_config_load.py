"""From a stack file, and from what the engine hands to the program."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pulumi.runtime
import pytest
import yaml

import config
from config import ConfigError, Lab
from providers.errors import LabError
from stackfile.roster import Roster, Student, Template
from stackfile.sections import File

ROOT = Path(__file__).parents[2]
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINNROhSeX9UlMnAHYF5XvEqyrMLdpyHG0rxSlJPUGPE0"
HOSTS: list[dict[str, Any]] = [
    {"name": "g1s1", "address": "198.51.100.11", "host_keys": [KEY], "bridge": {"port": "eth0"}}
]


class Stack(pulumi.runtime.Mocks):
    """Nothing is created here."""

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        raise AssertionError(args.token)

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        raise AssertionError(args.name)


@pytest.fixture(autouse=True)
def running_stack() -> Iterator[None]:
    pulumi.runtime.set_mocks(Stack(), project="kvm-lab", stack="classroom")
    yield
    pulumi.runtime.set_all_config({}, [])


def test_load_reads_the_engines_configuration() -> None:
    pulumi.runtime.set_all_config({"kvm-lab:hosts": json.dumps(HOSTS), "other:hosts": "[]"}, [])
    assert [host.name for host in config.load().hosts] == ["g1s1"]


def test_load_names_the_stacks_file_and_every_unknown_option() -> None:
    pulumi.runtime.set_all_config({"kvm-lab:host": json.dumps(HOSTS), "kvm-lab:images": "debian"}, [])
    with pytest.raises(ConfigError) as raised:
        config.load()
    assert "Pulumi.classroom.yaml" in str(raised.value)
    assert [mistake.where for mistake in raised.value.mistakes] == ["host", "images", "hosts"]


def test_load_hides_what_is_secret() -> None:
    hosts = json.dumps([{**HOSTS[0], "user": "hunter2 !"}])
    pulumi.runtime.set_all_config({"kvm-lab:hosts": hosts}, ["kvm-lab:hosts"])
    with pytest.raises(ConfigError) as raised:
        config.load()
    assert "hosts[0].user: expected a user name" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_the_committed_stack_file_is_sound() -> None:
    lab = Lab.from_stack_file(ROOT / "Pulumi.lab.yaml", check_files=False)
    assert [(host.name, host.migration, host.virt_manager) for host in lab.hosts] == [
        ("g1s1", True, True),
        ("g1s2", False, False),
    ]
    assert [(host.name, guest.memory_mib, guest.disk_gib) for host, guest in lab.guests] == [
        ("g1s1", 512, 4),
        ("g1s2", 512, 4),
    ]


def test_the_committed_stack_file_mentions_every_option() -> None:
    """It is the documentation by example."""
    text = (ROOT / "Pulumi.lab.yaml").read_text()
    models = (config.Image, config.Host, config.Bridge, config.Guest, Template, Roster, Student, File)
    missing = {name for model in models for name in model.model_fields if not re.search(rf"\b{name}:", text)}
    assert missing == {"format"}  # qcow2 is what everybody has


def test_paths_start_from_the_stack_files_folder_or_from_the_root(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text(f"198.51.100.11 {KEY}\n")
    hosts = [{**HOSTS[0], "host_keys": [], "known_hosts": "known_hosts"}]
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(yaml.safe_dump({"config": {"kvm-lab:hosts": hosts}}))
    assert Lab.from_stack_file(file).hosts[0].pinned_keys == (KEY,)
    with pytest.raises(ConfigError, match=r"known_hosts .*relative paths start from /proc"):
        Lab.from_stack_file(file, root=Path("/proc"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("config: [", "line 1"),
        ("config:\n  kvm-lab:hosts: []\n  kvm-lab:hosts: []\n", "line 3: the key kvm-lab:hosts stands twice"),
        ("- config", "a mapping with the key config"),
        ("", "hosts: expected a value"),
        ("config: 7", "hosts: expected a value"),
        ("config:\n  kvm-lab:hosts:\n    secure: AAABAK8=\n", "hosts: expected a list; seen a secret value"),
        ("config:\n  kvm-lab:hosts: !!python/name:os.system\n", "stack file in YAML"),
    ],
)
def test_files_that_are_no_stack_files(tmp_path: Path, content: str, expected: str) -> None:
    file = tmp_path / "Pulumi.dev.yaml"
    file.write_text(content)
    with pytest.raises(ConfigError) as raised:
        Lab.from_stack_file(file)
    assert expected in str(raised.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        Lab.from_stack_file(tmp_path / "Pulumi.dev.yaml")


def test_the_schema_knows_every_option_and_describes_it() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "config", "schema"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    schema = json.loads(done.stdout)
    assert set(schema["properties"]["config"]["properties"]) == {
        f"kvm-lab:{option}" for option in config.Lab.model_fields
    }
    for model in (config.Image, config.Bridge, config.Guest, config.Host, Template, Roster, Student, File):
        definition = schema["$defs"][model.__name__]
        assert set(definition["properties"]) == set(model.model_fields)
        assert definition["additionalProperties"] is False
        assert all(option.get("description") for option in definition["properties"].values())
    delay = schema["$defs"]["Bridge"]["properties"]["forward_delay"]
    assert (delay["type"], delay["minimum"], delay["maximum"], delay["default"]) == ("integer", 0, 30, 0)
    assert schema["$defs"]["Host"]["required"] == ["name", "address", "bridge"]
    [pattern] = schema["properties"]["config"]["patternProperties"]
    assert re.match(pattern, "kvm-lab:host")
    assert not re.match(pattern, "kvm-lab:hosts")
    assert not re.match(pattern, "aws:region")


def test_the_schema_is_where_the_stack_file_points_editors() -> None:
    first = (ROOT / "Pulumi.lab.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=.lab/stack.schema.json"
    assert "config schema > .lab/stack.schema.json" in (ROOT / "Makefile").read_text()


def test_files_are_stood_in_for_in_a_preview_only(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = [{**HOSTS[0], "identity_file": "/nowhere/id"}]
    pulumi.runtime.set_all_config({"kvm-lab:hosts": json.dumps(absent)}, [])
    monkeypatch.setenv(config.MISSING_FILES, config.STAND_IN)
    with pytest.raises(LabError, match="keys that are not here"):
        config.load()
    pulumi.runtime.set_mocks(Stack(), project="kvm-lab", stack="classroom", preview=True)
    assert config.load().hosts[0].identity_file == "/nowhere/id"
    monkeypatch.delenv(config.MISSING_FILES)
    with pytest.raises(ConfigError, match="identity_file"):
        config.load()


REASON = {"allow": "delete-disk", "of": "g1s1-g1", "reason": "the student left the course"}


def test_reasons_are_read() -> None:
    lab = Lab.from_mapping({"hosts": HOSTS, "reasons": [REASON]}, ROOT, stack="lab")
    assert [(one.allow, one.of, one.reason) for one in lab.reasons] == [tuple(REASON.values())]
    assert lab.students_at_once == 3


@pytest.mark.parametrize(
    ("edit", "named"),
    [({"allow": "everything"}, "allow"), ({"reason": "because"}, "reason"), ({"of": ""}, "of")],
)
def test_a_reason_that_is_none_is_refused(edit: dict[str, str], named: str) -> None:
    with pytest.raises(ConfigError) as raised:
        Lab.from_mapping({"hosts": HOSTS, "reasons": [{**REASON, **edit}]}, ROOT, stack="lab")
    assert [mistake.where for mistake in raised.value.mistakes] == [f"reasons[0].{named}"]


def test_one_reason_for_one_thing() -> None:
    with pytest.raises(ConfigError, match="delete-disk of g1s1-g1"):
        Lab.from_mapping({"hosts": HOSTS, "reasons": [REASON, REASON]}, ROOT, stack="lab")
