import time
from typing import Any

import pytest

from providers.transport import fingerprint
from review.hidden import HIDDEN
from review.model import Effect, FileDiff, Report, Verdict
from review.redact import KEY, without_secrets

PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0Bm9QZbq1XzGmZ0n3mM2S8QAXBd5kW3ZfBz3lJm1aX"
BLOB = PUBLIC.split()[1]
BODY = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtz"
PEM = f"-----BEGIN OPENSSH PRIVATE KEY-----\n{BODY}\nc2gtZWQyNTUxOQ==\n-----END OPENSSH PRIVATE KEY-----"
CIPHER = "v1:VVC9p8Etc4U=:sIHGBv1S075X6YBWOvb9Z5yI9Swa"
ENVELOPE = '{"4dabf18193072939515e22adb298388d":"1b47061264138c4ac30d75fd1eb44270","%s":"%s"}'
HASH = "$6$rounds=4096$saltsalt$0123456789abcdefABCDEF"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f"it says {PEM} here", f"it says {KEY} here"),
        (PEM.replace("\n", "\\n"), KEY),
        (PEM.rpartition("\n")[0].rpartition("\n")[0] + "\nend", f"{KEY}\nend"),
        ("-----BEGIN", KEY),
        ("---- BEGIN SSH2 PUBLIC KEY ----\nAAAA\n---- END SSH2 PUBLIC KEY ----", KEY),
        (f"the body alone {BODY}", f"the body alone {KEY}"),
        (f"pinned: {PUBLIC} h1", f"pinned: ssh-ed25519 {fingerprint(PUBLIC)} h1"),
        (BLOB, fingerprint(PUBLIC)),
        (f"ssh-rsa {BLOB[:-3]}", f"ssh-rsa {KEY}"),
        ("secure: v1:VVC9p8Etc4U=:v1:sIHGBv1S075X6YBW:Ovb9Z5yI9Swa", f"secure: {HIDDEN}"),
        (CIPHER, HIDDEN),
        (ENVELOPE % ("ciphertext", CIPHER), HIDDEN),
        (ENVELOPE % ("plaintext", '\\"hunter{2}\\"'), HIDDEN),
        ("password: hunter2 and more", f"password: {HIDDEN}"),
        ("password: no-one-knows", f"password: {HIDDEN}"),
        ("db_password = 'hunter 2', user", f"db_password = {HIDDEN}, user"),
        ('{"passphrase": "hunter\\"2", "a": 1}', f'{{"passphrase": {HIDDEN}, "a": 1}}'),
        ("PULUMI_CONFIG_PASSPHRASE=hunter2", f"PULUMI_CONFIG_PASSPHRASE={HIDDEN}"),
        ("passphrase: |\n  hunter2\n  more\nnext", f"passphrase: {HIDDEN}\nnext"),
        ("g1: users[0].password is hunter2, wanted none", f"g1: users[0].password is {HIDDEN} wanted none"),
        (f"x {HASH}", f"x {HIDDEN}"),
        ("https://me:hunter2@example.org/a", f"https://me:{HIDDEN}@example.org/a"),
        ("ghp_0123456789abcdefghijklmnop", HIDDEN),
        ("echo root:hunter2 | chpasswd", f"echo root:{HIDDEN} | chpasswd"),
        ("echo 'root:hun|ter 2' | sudo chpasswd -e", f"echo 'root:{HIDDEN}' | sudo chpasswd -e"),
        ("    wpa-psk hunter 2\n    mtu 1500", f"    wpa-psk {HIDDEN}\n    mtu 1500"),
        ("wpa-psk hunter2", f"wpa-psk {HIDDEN}"),
        ('gatewaypsk "hunter2"', f"gatewaypsk {HIDDEN}"),
        ("curl -H 'x: Bearer hunter2.more_x'", f"curl -H 'x: Bearer {HIDDEN}'"),
        ("id AKIAIOSFODNN7EXAMPLE, so", f"id {HIDDEN}, so"),
        ("https://hunter2@example.org/a", f"https://{HIDDEN}@example.org/a"),
        ("https://hunter2:@example.org/a", f"https://{HIDDEN}:@example.org/a"),
        ("redis://:hunter2@cache", f"redis://:{HIDDEN}@cache"),
        ("https://s3/a?X-Amz-Signature=0f9e&b=1", f"https://s3/a?X-Amz-Signature={HIDDEN}&b=1"),
        ("MIIEowIBAAKCAQEA7bq1XzGmZ0n3mM2S8QAXBd5kW3ZfBz3lJm1aXMIIEowIBAAKCAQEA7bq1", KEY),
    ],
)
def test_secrets_and_keys_give_way(text: str, left: str) -> None:
    assert without_secrets(text) == left
    assert without_secrets(left) == left


def test_a_libvirt_uri_keeps_the_host_and_the_fingerprint() -> None:
    keys = BLOB.replace("+", "%2B").replace("/", "%2F")
    uri = f"qemu+ssh://root@h1:22/system?keyfile=%2Fhome%2Fme%2Fid&host_keys=ssh-ed25519+{keys}&slots=8"
    assert without_secrets(uri) == (
        f"qemu+ssh://root@h1:22/system?keyfile={HIDDEN}&host_keys=ssh-ed25519 {fingerprint(PUBLIC)}&slots=8"
    )


@pytest.mark.parametrize(
    "text",
    [
        "g1s1: ssh_pwauth is true, wanted false: no password login in guests",
        "lock_passwd: false",
        "users[0].password is not set, wanted not set",
        "its disk g1s2-g1 of generation 1 is deleted",
        "sha256 fb2d9a4b611333f6b460cdd845c398c4e41a51124b3ed5896da067d74577e0d9",
        fingerprint(PUBLIC),
        "-    wpa-psk ...",
        "userData: runcmd[0]: chpasswd, wanted left out",
        "qemu+ssh://root@h1:22/system",
        "https://example.org/a@b:c",
        "/var/lib/libvirt/images/kvm-lab-base/debian-12-fb2d9a4b611333f6.qcow2",
        "-----",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert without_secrets(text) == text


def test_a_key_spread_over_lines_of_a_list_goes_as_one() -> None:
    lines = ["before", *(f"+{line}" for line in PEM.split("\n")), "after"]
    assert without_secrets(lines) == ["before", f"+{KEY}", "after"]


def test_a_document_is_searched_by_its_names_too() -> None:
    document: dict[str, Any] = {
        "a": {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "value": "hunter2"},
        "password": ["hunter2"],
        "lock_passwd": True,
        "hosts": [{"key": PUBLIC}, 7, None],
    }
    assert without_secrets(document) == {
        "a": HIDDEN,
        "password": HIDDEN,
        "lock_passwd": True,
        "hosts": [{"key": f"ssh-ed25519 {fingerprint(PUBLIC)}"}, 7, None],
    }


def test_every_field_of_a_report_is_searched() -> None:
    heads = ("--- monkey:/etc/network/interfaces", "+++ monkey:/etc/network/interfaces")
    diff = FileDiff("monkey", "/etc/network/interfaces", (*heads, "+    wpa-psk hunter2", "+    mtu 1500"))
    found = without_secrets(Report("lab", (Effect(Verdict.SAFE, CIPHER, guest=PEM),), (diff,)))
    assert found == Report(
        "lab",
        (Effect(Verdict.SAFE, HIDDEN, guest=KEY),),
        (FileDiff("monkey", diff.path, (*heads, "+    wpa-psk ...", "+    mtu 1500")),),
    )


@pytest.mark.parametrize(
    "piece",
    [
        "a-",
        "-----BEGIN ",
        "password",
        "A",
        "+",
        "{",
        "://a:",
        "$6$",
        "v1:AAAAAAAA:",
        "a:|",
        "a: |",
        "wpa-psk ",
    ],
)
def test_a_long_hostile_text_takes_no_time(piece: str) -> None:
    started = time.process_time()
    without_secrets(piece * (100_000 // len(piece)))
    assert time.process_time() - started < 2
