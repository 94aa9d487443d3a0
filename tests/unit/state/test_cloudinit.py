"""The seed as cloud-init will read it: parsed back, never compared as text."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

import pytest
import yaml

from providers.state import cloudinit
from providers.state.cloudinit import NO_PASSWORDS, GuestFile, GuestIdentity, GuestNetwork, GuestSetup, Seed

PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE=\n-----END OPENSSH PRIVATE KEY-----\n"
IDENTITY = GuestIdentity(
    hostname="web",
    user="student",
    ssh_keys=("ssh-ed25519 AAAA1", "ssh-ed25519 AAAA2"),
    host_private_key=PRIVATE,
    host_public_key="ssh-ed25519 AAAAhost",
)
NETWORK = GuestNetwork(
    mac="52:54:00:AB:CD:EF",
    address=ip_interface("198.51.100.21/24"),
    gateway=ip_address("198.51.100.1"),
    dns=(ip_address("198.51.100.53"),),
    search=("lab.example",),
)


def user_data(seed: Seed) -> dict[str, Any]:
    first, rest = seed.user_data.split("\n", 1)
    assert first == "#cloud-config"
    parsed = yaml.safe_load(rest)
    assert isinstance(parsed, dict)
    return parsed


def nic(network: GuestNetwork) -> dict[str, Any]:
    parsed = yaml.safe_load(cloudinit.render(IDENTITY, network).network_config)
    assert parsed["version"] == 2
    (only,) = parsed["ethernets"].values()
    assert isinstance(only, dict)
    return only


def test_the_host_key_arrives_unchanged() -> None:
    data = user_data(cloudinit.render(IDENTITY, NETWORK))
    assert data["ssh_keys"] == {"ed25519_private": PRIVATE, "ed25519_public": "ssh-ed25519 AAAAhost"}
    assert data["ssh_deletekeys"] is True


def test_the_user_logs_in_by_key_only_and_may_become_root() -> None:
    data = user_data(cloudinit.render(IDENTITY, NETWORK))
    (user,) = data["users"]
    assert user["name"] == "student"
    assert user["ssh_authorized_keys"] == ["ssh-ed25519 AAAA1", "ssh-ed25519 AAAA2"]
    assert user["lock_passwd"] is True
    assert "NOPASSWD" in user["sudo"]
    assert NO_PASSWORDS in data["write_files"]
    assert data["disable_root"] is True


def test_the_file_of_login_keys_holds_the_listed_keys_and_no_others() -> None:
    file = user_data(cloudinit.render(IDENTITY, NETWORK))["write_files"][-1]
    assert file == {
        "path": "/home/student/.ssh/authorized_keys",
        "content": "ssh-ed25519 AAAA1\nssh-ed25519 AAAA2\n",
        "owner": "student",
        "permissions": "0600",
        "defer": True,
    }
    root = dataclasses.replace(IDENTITY, user="root")
    assert (
        user_data(cloudinit.render(root, NETWORK))["write_files"][-1]["path"] == "/root/.ssh/authorized_keys"
    )


def test_an_edit_that_is_taken_back_is_not_held_done(tmp_path: Path) -> None:
    (command,) = user_data(cloudinit.render(IDENTITY, NETWORK))["bootcmd"]
    for name in ("now", "earlier", "first"):
        (tmp_path / name / "sem").mkdir(parents=True)
    script = command[2].replace("/var/lib/cloud/instances", str(tmp_path))
    subprocess.run([*command[:2], script], env={**os.environ, "INSTANCE_ID": "now"}, check=True)
    assert [entry.name for entry in tmp_path.iterdir()] == ["now"]


def test_root_as_the_user_may_log_in() -> None:
    data = user_data(cloudinit.render(dataclasses.replace(IDENTITY, user="root"), NETWORK))
    assert data["disable_root"] is False
    assert data["users"] == [{"name": "root", "ssh_authorized_keys": list(IDENTITY.ssh_keys)}]


def test_a_static_network() -> None:
    assert nic(NETWORK) == {
        "match": {"macaddress": "52:54:00:ab:cd:ef"},
        "set-name": "eth0",
        "addresses": ["198.51.100.21/24"],
        "routes": [{"to": "0.0.0.0/0", "via": "198.51.100.1"}],
        "nameservers": {"addresses": ["198.51.100.53"], "search": ["lab.example"]},
    }


def test_a_network_of_ipv6() -> None:
    found = nic(
        GuestNetwork(
            mac=NETWORK.mac, address=ip_interface("2001:db8::21/64"), gateway=ip_address("2001:db8::1")
        )
    )
    assert found["addresses"] == ["2001:db8::21/64"]
    assert found["routes"] == [{"to": "::/0", "via": "2001:db8::1"}]
    assert "nameservers" not in found


SETUP = GuestSetup(
    packages=("tree",),
    files=(GuestFile("/srv/x", "a: b\n", "0600", "student:student"),),
    commands=("systemctl enable --now x", "echo 'y: z'"),
    hosts={"198.51.100.21": "web", "fe80::1": "db"},
)


def test_the_setup_comes_after_the_user_and_the_packages() -> None:
    data = user_data(cloudinit.render(IDENTITY, NETWORK, SETUP))
    assert (data["packages"], data["package_update"]) == (["tree"], True)
    assert data["runcmd"][1:] == list(SETUP.commands)
    written = {file["path"]: file for file in data["write_files"]}
    assert written["/srv/x"] == {
        "path": "/srv/x",
        "content": "a: b\n",
        "permissions": "0600",
        "owner": "student:student",
        "defer": True,
    }
    assert data["manage_etc_hosts"] is False
    lines = [line.split() for line in written["/etc/hosts"]["content"].splitlines()]
    assert ["127.0.1.1", "web"] in lines
    assert lines[-2:] == [["198.51.100.21", "web"], ["fe80::1", "db"]]


@pytest.mark.parametrize("part", ["packages", "files", "commands", "hosts"])
def test_every_part_of_the_setup_changes_the_digest(part: str) -> None:
    without = dataclasses.replace(SETUP, **{part: type(getattr(SETUP, part))()})
    digests = {cloudinit.render(IDENTITY, NETWORK, setup).digest for setup in (SETUP, without)}
    assert len(digests) == 2


def test_a_guest_without_setup_has_the_seed_it_always_had() -> None:
    seed = cloudinit.render(IDENTITY, NETWORK, GuestSetup())
    assert seed == cloudinit.render(IDENTITY, NETWORK)
    assert not {"packages", "package_update"} & user_data(seed).keys()
    assert user_data(seed)["manage_etc_hosts"] is True


def test_no_repr_shows_what_is_in_a_file() -> None:
    assert "a: b" not in repr(SETUP)


def test_meta_data_names_the_instance_by_the_digest() -> None:
    seed = cloudinit.render(IDENTITY, NETWORK)
    assert yaml.safe_load(seed.meta_data) == {"instance-id": seed.digest, "local-hostname": "web"}
    assert len(seed.digest) == 64


@pytest.mark.parametrize(
    "identity",
    [
        dataclasses.replace(IDENTITY, hostname="db"),
        dataclasses.replace(IDENTITY, user="teacher"),
        dataclasses.replace(IDENTITY, ssh_keys=("ssh-ed25519 AAAA1",)),
        dataclasses.replace(IDENTITY, host_public_key="ssh-ed25519 AAAAother"),
        dataclasses.replace(IDENTITY, host_private_key=PRIVATE.replace("b3", "c3")),
    ],
)
def test_every_part_of_the_identity_changes_the_digest(identity: GuestIdentity) -> None:
    assert cloudinit.render(identity, NETWORK).digest != cloudinit.render(IDENTITY, NETWORK).digest


@pytest.mark.parametrize(
    "network",
    [
        dataclasses.replace(NETWORK, mac="52:54:00:00:00:01"),
        dataclasses.replace(NETWORK, address=ip_interface("198.51.100.22/24")),
        dataclasses.replace(NETWORK, gateway=None),
        dataclasses.replace(NETWORK, dns=()),
        dataclasses.replace(NETWORK, search=()),
    ],
)
def test_every_part_of_the_network_changes_the_digest(network: GuestNetwork) -> None:
    assert cloudinit.render(IDENTITY, network).digest != cloudinit.render(IDENTITY, NETWORK).digest


def test_the_same_guest_gets_the_same_seed() -> None:
    assert cloudinit.render(IDENTITY, NETWORK) == cloudinit.render(IDENTITY, NETWORK)


def test_no_repr_shows_the_private_key() -> None:
    seed = cloudinit.render(IDENTITY, NETWORK)
    assert "b3BlbnNz" in seed.user_data
    assert "b3BlbnNz" not in repr(seed)
    assert "b3BlbnNz" not in repr(IDENTITY)


@pytest.mark.parametrize("text", ["no", "1_000", "0x1F", "- x", "# x", "a: b", "@x", "é"])
def test_text_that_yaml_could_misread_stays_text(text: str) -> None:
    identity = dataclasses.replace(IDENTITY, ssh_keys=(text,))
    assert user_data(cloudinit.render(identity, NETWORK))["users"][0]["ssh_authorized_keys"] == [text]
