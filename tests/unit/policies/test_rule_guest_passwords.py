from __future__ import annotations

import base64
import gzip
from collections.abc import Callable
from ipaddress import IPv4Interface
from typing import Any

import pytest
import yaml

from policies.rules import guest_passwords
from policies.rules.verdict import UNKNOWN, Finding, Resource, Unjudged, Violation
from providers.state import cloudinit

SECRET = "hunter2-$6$salt"


def judge(data: object) -> list[Finding]:
    return guest_passwords.judge(Resource(guest_passwords.SEED, "web", {"userData": data}))


def config(**options: object) -> str:
    return "#cloud-config\n" + yaml.safe_dump(options)


def found(data: object) -> list[tuple[str, str]]:
    findings = judge(data)
    assert all(isinstance(one, Violation) and SECRET not in str(one) for one in findings)
    return [(one.option, one.seen) for one in findings if isinstance(one, Violation)]


def test_our_own_seeds_pass() -> None:
    seed = cloudinit.render(
        cloudinit.GuestIdentity("web", "student", ("ssh-ed25519 AAAA",), "PRIVATE", "ssh-ed25519 BBBB"),
        cloudinit.GuestNetwork("52:54:00:00:00:01", IPv4Interface("192.0.2.21/24")),
    )
    assert judge(seed.user_data) == []


@pytest.mark.parametrize(
    "options",
    [
        {"ssh_pwauth": False},
        {"ssh_pwauth": "unchanged"},
        {"chpasswd": {"expire": True}},
        {"users": ["default", {"name": "s", "lock_passwd": True, "passwd": "!"}]},
        {"users": [{"name": "s", "hashed_passwd": "*"}]},
        {"system_info": {"default_user": {"name": "s", "lock_passwd": True, "passwd": "!"}}},
        {"system_info": {"default_user": None}},
        {"system_info": "debian"},
        {"write_files": [{"path": "/etc/motd", "content": "hello", "source": {}}]},
        {"write_files": [{"path": "/etc/motd", "content": "# PasswordAuthentication yes\n"}]},
        {
            "write_files": [
                {"path": "/etc/ssh/sshd_config.d/1.conf", "content": "PasswordAuthentication no\n"}
            ]
        },
        {
            "runcmd": [
                "getent passwd student",
                ["passwd", "-l", "student"],
                "useradd -m -U --prefix / student",
            ]
        },
    ],
)
def test_passes(options: dict[str, Any]) -> None:
    assert judge(config(**options)) == []


@pytest.mark.parametrize(
    ("options", "option", "seen"),
    [
        ({"ssh_pwauth": True}, "ssh_pwauth", "on"),
        ({"ssh_pwauth": "yes"}, "ssh_pwauth", "on"),
        ({"ssh_pwauth": 1}, "ssh_pwauth", "on"),
        ({"password": SECRET}, "password", "set"),
        ({"chpasswd": {"list": f"root:{SECRET}"}}, "chpasswd.list", "set"),
        ({"chpasswd": {"users": [{"name": "root", "password": SECRET}]}}, "chpasswd.users", "set"),
        ({"users": ["default", {"passwd": SECRET}]}, "users[1].passwd", "set"),
        ({"users": [{"plain_text_passwd": SECRET}]}, "users[0].plain_text_passwd", "set"),
        ({"users": [{"plain-text-passwd": SECRET}]}, "users[0].plain_text_passwd", "set"),
        ({"users": [{"hashed_passwd": SECRET}]}, "users[0].hashed_passwd", "set"),
        ({"users": [{"lock_passwd": False}]}, "users[0].lock_passwd", "off"),
        ({"users": {"s": {"lock-passwd": "false"}}}, "users[0].lock_passwd", "off"),
        ({"user": {"name": "s", "passwd": SECRET}}, "user.passwd", "set"),
        *(
            (
                {"system_info": {"default_user": {"name": "s", option: SECRET}}},
                f"system_info.default_user.{option.replace('-', '_')}",
                "set",
            )
            for option in ("plain_text_passwd", "plain-text-passwd", "hashed_passwd", "passwd")
        ),
        (
            {"system_info": {"default_user": {"lock_passwd": False}}},
            "system_info.default_user.lock_passwd",
            "off",
        ),
        ({"runcmd": [f"echo root:{SECRET} | chpasswd"]}, "runcmd[0]", "chpasswd"),
        ({"runcmd": [["passwd", "-d", "root"]]}, "runcmd[0]", "passwd --stdin, -d or -u"),
        ({"runcmd": ["usermod --unlock root"]}, "runcmd[0]", "usermod -U"),
        (
            {"runcmd": [["useradd", "-m", "-p", SECRET, "s"]]},
            "runcmd[0]",
            "a password for usermod or useradd",
        ),
        ({"bootcmd": [f"usermod -p '{SECRET}' root"]}, "bootcmd[0]", "a password for usermod or useradd"),
        (
            {
                "runcmd": [
                    "sed -i 's/#PasswordAuthentication.*/PasswordAuthentication yes/' /etc/ssh/sshd_config"
                ]
            },
            "runcmd[0]",
            "PasswordAuthentication yes",
        ),
        (
            {"bootcmd": [["sh", "-c", "echo 'PermitEmptyPasswords yes' >>/etc/ssh/sshd_config"]]},
            "bootcmd[0]",
            "PermitEmptyPasswords yes",
        ),
    ],
)
def test_names_the_option_and_never_the_value(options: dict[str, Any], option: str, seen: str) -> None:
    assert found(config(**options)) == [(f"userData: {option}", seen)]


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [
        ("", lambda text: text),
        ("b64", lambda text: base64.b64encode(text.encode()).decode()),
        ("gz+b64", lambda text: base64.b64encode(gzip.compress(text.encode())).decode()),
        ("gzip+base64", lambda text: base64.b64encode(gzip.compress(text.encode())).decode()),
    ],
)
def test_reads_written_files_in_every_encoding(encoding: str, encode: Callable[[str], str]) -> None:
    content = encode("Port 22\n  passwordauthentication=yes\n")
    files = [{"path": "/etc/motd", "content": ""}, {"encoding": encoding, "content": content}]
    assert found(config(write_files=files)) == [
        ("userData: write_files[1].content", "passwordauthentication yes")
    ]


def test_reads_scripts() -> None:
    assert judge("#!/bin/sh\n# chpasswd is not for us\nhostname web\n") == []
    assert found(f"#!/bin/sh\necho root:{SECRET} | chpasswd\n") == [("userData", "chpasswd")]


def test_reads_templates() -> None:
    assert found("## template: jinja\n#cloud-config\nssh_pwauth: true\n") == [("userData: ssh_pwauth", "on")]


def test_reads_parts() -> None:
    parts = (
        'Content-Type: multipart/mixed; boundary="X"\nMIME-Version: 1.0\n\n'
        "--X\nContent-Type: text/cloud-config\n\n# more\npackages: [htop]\n"
        "--X\nContent-Type: text/plain\n\n\n"
        "--X\nContent-Type: text/cloud-config\n\nssh_pwauth: true\n"
        "--X\nContent-Type: text/x-shellscript\n\n#!/bin/sh\nchpasswd </x\n--X--\n"
    )
    assert found(parts) == [("userData: part 2: ssh_pwauth", "on"), ("userData: part 3", "chpasswd")]


def test_reads_archives() -> None:
    archive = [{"type": "text/cloud-config", "content": "ssh_pwauth: true"}, "#!/bin/sh\nhostname web\n"]
    text = "#cloud-config-archive\n" + yaml.safe_dump(archive)
    assert found(text) == [("userData: part 0: ssh_pwauth", "on")]


@pytest.mark.parametrize(
    "data", ["#include\nhttps://x/y", "#cloud-config\na: [", "H4sIAAAA", "ssh_pwauth: false"]
)
def test_what_cannot_be_read_is_refused(data: str) -> None:
    [finding] = judge(data)
    assert isinstance(finding, Violation)
    assert (finding.seen, finding.wanted) == ("nothing that can be judged", guest_passwords.READABLE)


@pytest.mark.parametrize("source", [{"uri": "https://x/y"}, "https://x/y"])
def test_a_file_from_elsewhere_cannot_be_read_and_is_refused(source: object) -> None:
    [finding] = judge(config(write_files=[{"path": "/etc/motd", "content": "hello", "source": source}]))
    assert isinstance(finding, Violation)
    assert finding.option == "userData: write_files[0].source"
    assert (finding.seen, finding.wanted) == ("nothing that can be judged", guest_passwords.READABLE)


def test_unknown_user_data_waits() -> None:
    assert judge(UNKNOWN) == [Unjudged("web", "userData", "no password in it")]


@pytest.mark.parametrize("data", [None, "", "\n"])
def test_missing_user_data_is_none(data: object) -> None:
    assert judge(data) == []


@pytest.mark.parametrize("data", ["#cloud-config\n", "#cloud-config\n- a\n", "#cloud-config-archive\na: b\n"])
def test_a_document_of_another_form_holds_nothing(data: str) -> None:
    assert judge(data) == []


def test_leaves_other_resources_alone() -> None:
    assert guest_passwords.judge(Resource("aws:ec2:Instance", "x", {"userData": config(password="x")})) == []
