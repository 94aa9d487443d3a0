"""The local files that a stack file names; written by the tools whose formats they have."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from config import ConfigError, Lab
from providers.errors import LabError
from stackfile.sources import Files
from stackfile.sshkeys import LOGIN_KEY_TYPES, STAND_IN, public_key

ADDRESS = "198.51.100.11"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with key pairs of all kinds, an image and its checksum files."""
    folder = tmp_path_factory.mktemp("files")
    kinds = {"ed25519": "ed25519", "ecdsa": "ecdsa", "rsa": "rsa", "weak": "rsa", "other": "ed25519"}
    for name, kind in kinds.items():
        bits = ["-b", "1024"] if name == "weak" else []
        argv = ["ssh-keygen", "-q", "-t", kind, *bits, "-N", "", "-C", "a comment", "-f", str(folder / name)]
        subprocess.run(argv, check=True)
    (folder / "disk.qcow2").write_bytes(b"QFI\xfb" + bytes(100))
    for tool in ("sha256sum", "sha512sum"):
        done = subprocess.run([tool, "disk.qcow2", "rsa"], cwd=folder, check=True, capture_output=True)
        (folder / tool).write_bytes(done.stdout)
    return folder


def public(folder: Path, name: str) -> str:
    """Return "type base64" of a key pair."""
    return " ".join((folder / f"{name}.pub").read_text().split()[:2])


def load(folder: Path, *, host: dict[str, Any] | None = None, check_files: bool = True, **image: str) -> Lab:
    guest = {"name": "web", "image": "disk", "address": "198.51.100.21/24", "ssh_key_files": ["ed25519.pub"]}
    hosts = [
        {
            "name": "g1s1",
            "address": ADDRESS,
            "host_keys": [public(folder, "rsa")],
            "bridge": {"port": "eth0"},
            "guests": [guest],
            **(host or {}),
        }
    ]
    source = image or {"path": "disk.qcow2", "checksum_file": "sha256sum"}
    return Lab.from_mapping(
        {"hosts": hosts, "images": [{"name": "disk", **source}]},
        folder,
        stack="lab",
        files=Files(folder, check_files),
    )


def known(folder: Path, content: str, **host: object) -> tuple[str, ...]:
    """Return the keys that are pinned with a known_hosts file of this content."""
    (folder / "known_hosts").write_text(content)
    return load(folder, host={"host_keys": [], "known_hosts": "known_hosts", **host}).hosts[0].pinned_keys


def mistake(call: Callable[[], object]) -> str:
    with pytest.raises(ConfigError) as raised:
        call()
    [found] = raised.value.mistakes
    return str(found)


def test_keys_and_checksums_come_from_files(folder: Path) -> None:
    lab = load(folder, host={"identity_file": "ed25519"})
    assert lab.hosts[0].endpoint.identity_file == "ed25519"  # as written: the state fits every clone
    assert lab.hosts[0].guests[0].authorized_keys == (public(folder, "ed25519"),)
    digest = hashlib.sha256((folder / "disk.qcow2").read_bytes()).hexdigest()
    assert (lab.images[0].checksum.algorithm, lab.images[0].checksum.digest) == ("sha256", digest)


def test_the_digest_tells_its_kind(folder: Path) -> None:
    lab = load(folder, path="disk.qcow2", checksum_file="sha512sum")
    digest = hashlib.sha512((folder / "disk.qcow2").read_bytes()).hexdigest()
    assert (lab.images[0].checksum.algorithm, lab.images[0].checksum.digest) == ("sha512", digest)


def test_a_download_is_found_by_the_last_part_of_its_url(folder: Path) -> None:
    lab = load(folder, url="https://images.example/12/disk.qcow2?mirror=1", checksum_file="sha256sum")
    assert lab.images[0].checksum.algorithm == "sha256"


def test_checksum_file_in_the_bsd_form(folder: Path) -> None:
    (folder / "bsd").write_text(f"SHA512 (a/disk.qcow2) = {'AB' * 64}\n")
    assert load(folder, path="disk.qcow2", checksum_file="bsd").images[0].checksum.digest == "ab" * 64


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (f"{'ab' * 32}  other.qcow2\n", "with a line for disk.qcow2"),
        (f"{'ab' * 32}  disk.qcow2\n{'cd' * 32} *disk.qcow2\n", "2 different ones"),
        (f"{'ab' * 16}  disk.qcow2\n", "64 (sha256) or 128 (sha512)"),
        ("", "with a line for disk.qcow2"),
    ],
)
def test_wrong_checksum_files(folder: Path, content: str, expected: str) -> None:
    (folder / "wrong").write_text(content)
    text = mistake(lambda: load(folder, path="disk.qcow2", checksum_file="wrong"))
    assert text.startswith("images[0].checksum_file (image disk): expected ")
    assert expected in text


@pytest.mark.parametrize("name", ["nosuch", ".", "disk.qcow2"])
@pytest.mark.parametrize("option", ["known_hosts", "identity_file"])
def test_what_is_no_text_file(folder: Path, option: str, name: str) -> None:
    keys: dict[str, object] = {"host_keys": []} if option == "known_hosts" else {}
    text = mistake(lambda: load(folder, host={option: name, **keys}))
    assert text.startswith(f"hosts[0].{option} (host g1s1): expected ")
    assert text.endswith(f"seen {name}")


def test_a_private_key_is_wanted_here_and_a_public_one_there(folder: Path) -> None:
    assert "private key" in mistake(lambda: load(folder, host={"identity_file": "ed25519.pub"}))
    guest = {"name": "a", "image": "disk", "address": "198.51.100.21/24", "ssh_key_files": ["ed25519"]}
    text = mistake(lambda: load(folder, host={"guests": [guest]}))
    assert text == (
        "hosts[0].guests[0].ssh_key_files[0] (host g1s1, guest a): "
        "expected a public key, not a private one; seen ed25519"
    )


@pytest.mark.parametrize("name", ["ed25519", "ecdsa", "rsa"])
def test_keys_of_every_kind(folder: Path, name: str) -> None:
    assert known(folder, f"{ADDRESS} {public(folder, name)} a comment\n") == (public(folder, name),)


def test_weak_rsa_keys_are_refused(folder: Path) -> None:
    assert "at least 2048 bits" in mistake(lambda: load(folder, host={"host_keys": [public(folder, "weak")]}))


def test_a_key_under_another_types_name(folder: Path) -> None:
    wrong = public(folder, "ed25519").replace("ssh-ed25519", "ssh-rsa")
    assert "a key of another type" in mistake(lambda: load(folder, host={"host_keys": [wrong]}))


@pytest.mark.parametrize(
    ("hosts", "port"),
    [
        (ADDRESS, 22),
        (f"g1s9,{ADDRESS}", 22),
        ("198.51.100.*", 22),
        ("198.51.100.1?", 22),
        (f"[{ADDRESS}]:2222", 2222),
        (f"[{ADDRESS}]:22*", 2222),
        ("g1s1", 22),
        ("[g1s1]:2222", 2222),
    ],
)
def test_lines_about_the_host(folder: Path, hosts: str, port: int) -> None:
    key = public(folder, "ed25519")
    assert known(folder, f"# a comment\n\n{hosts} {key}\n", port=port) == (key,)


@pytest.mark.parametrize(
    ("hosts", "port"),
    [
        ("198.51.100.12", 22),
        (ADDRESS, 2222),
        (f"[{ADDRESS}]:2222", 22),
        (f"198.51.100.*,!{ADDRESS}", 22),
        ("198.51.100.1[1]", 22),  # ssh knows no such sets
        ("|1|bm8=|bm8=", 22),
        ("|1|!|", 22),
    ],
)
def test_lines_about_others(folder: Path, hosts: str, port: int) -> None:
    text = mistake(lambda: known(folder, f"{hosts} {public(folder, 'ed25519')}\n", port=port))
    assert f"with a key of {ADDRESS} port {port}" in text


@pytest.mark.parametrize(("name", "port"), [(ADDRESS, 22), (f"[{ADDRESS}]:2222", 2222)])
def test_names_hashed_by_ssh_keygen(folder: Path, name: str, port: int) -> None:
    file = folder / "hashed"
    file.write_text(f"{name} {public(folder, 'ecdsa')}\n")
    subprocess.run(["ssh-keygen", "-H", "-f", str(file)], check=True, capture_output=True)
    assert file.read_text().startswith("|1|")
    assert known(folder, file.read_text(), port=port) == (public(folder, "ecdsa"),)


def test_the_address_counts_before_the_name(folder: Path) -> None:
    lines = f"g1s1 {public(folder, 'rsa')}\n{ADDRESS} {public(folder, 'ed25519')}\n"
    assert known(folder, lines) == (public(folder, "ed25519"),)


def test_several_keys_of_one_host_once_each(folder: Path) -> None:
    lines = "".join(f"{ADDRESS} {public(folder, name)}\n" for name in ("ed25519", "rsa", "ed25519"))
    assert known(folder, lines) == (public(folder, "ed25519"), public(folder, "rsa"))


def test_a_revoked_key_is_never_taken(folder: Path) -> None:
    revoked = f"@revoked * {public(folder, 'ed25519')}\n"
    lines = f"{ADDRESS} {public(folder, 'ed25519')}\n"
    assert "not revoked" in mistake(lambda: known(folder, lines + revoked))
    other = f"{ADDRESS} {public(folder, 'other')}\n"
    assert known(folder, revoked + lines + other) == (public(folder, "other"),)


def test_a_certificate_authority_pins_no_key(folder: Path) -> None:
    authority = f"@cert-authority {ADDRESS} {public(folder, 'ed25519')}\n"
    assert "with a key of" in mistake(lambda: known(folder, authority))


def test_a_broken_line_has_its_number(folder: Path) -> None:
    assert "its line 2 is not" in mistake(lambda: known(folder, f"# x\n{ADDRESS}\n"))
    cut = public(folder, "ed25519")[:-8]
    assert "in its line 1 a public key" in mistake(lambda: known(folder, f"{ADDRESS} {cut}\n"))


def test_known_hosts_and_host_keys_exclude_each_other(folder: Path) -> None:
    (folder / "known_hosts").write_text(f"{ADDRESS} {public(folder, 'rsa')}\n")
    assert "never ignored" in mistake(lambda: load(folder, host={"known_hosts": "known_hosts"}))


def test_tools_may_read_a_stack_file_before_its_files_exist(folder: Path) -> None:
    host = {"host_keys": [], "known_hosts": "nosuch", "identity_file": "nosuch"}
    lab = load(folder, host=host, check_files=False, path="no", checksum_file="no")
    assert lab.hosts[0].pinned_keys == ()
    assert lab.hosts[0].guests[0].authorized_keys == ()
    with pytest.raises(ValueError, match="checksum file was not read"):
        _ = lab.images[0].checksum


def test_a_home_folder_may_be_written_as_tilde(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert load(folder, host={"identity_file": "~/ed25519"}).hosts[0].identity_file == "~/ed25519"


def test_known_hosts_alone_can_be_read_later(folder: Path) -> None:
    host = {"host_keys": [], "known_hosts": "late_hosts", "identity_file": "no"}
    (unread,) = load(folder, host=host, check_files=False).hosts
    assert unread.pinned_keys == ()
    with pytest.raises(LabError, match="there is none"):
        unread.with_known_hosts(folder)
    (folder / "late_hosts").write_text(f"other {public(folder, 'rsa')}\n")
    with pytest.raises(LabError, match=f"a known_hosts file with a key of {ADDRESS} port 22"):
        unread.with_known_hosts(folder)
    (folder / "late_hosts").write_text(f"{ADDRESS} {public(folder, 'rsa')}\n")
    assert unread.with_known_hosts(folder).pinned_keys == (public(folder, "rsa"),)
    (pinned,) = load(folder, check_files=False).hosts
    assert pinned.with_known_hosts(folder) == pinned


def test_files_that_are_not_here_can_be_stood_in_for(tmp_path: Path) -> None:
    files = Files(tmp_path, stand_in=True)
    host = {
        "name": "g1s1",
        "address": ADDRESS,
        "port": 2222,
        "identity_file": "id",
        "known_hosts": "known",
        "bridge": {"port": "eth0"},
        "guests": [
            {"name": "web", "image": "disk", "address": "198.51.100.21/24", "ssh_key_files": ["me.pub"]}
        ],
    }
    image = {"name": "disk", "path": "disk.qcow2", "checksum_file": "SHA256SUMS"}
    lab = Lab.from_mapping({"hosts": [host], "images": [image]}, tmp_path, stack="lab", files=files)
    assert files.missing == {"id", "known", "me.pub", "disk.qcow2", "SHA256SUMS"}
    assert lab.hosts[0].pinned_keys == (STAND_IN,)
    assert lab.hosts[0].guests[0].authorized_keys == (STAND_IN,)
    assert len(lab.images[0].checksum.digest) == 64


def test_a_file_that_is_here_is_read_where_others_are_stood_in_for(tmp_path: Path) -> None:
    (tmp_path / "known").write_text("not a known_hosts file at all\n")
    files = Files(tmp_path, stand_in=True)
    host = {"name": "g1s1", "address": ADDRESS, "known_hosts": "known", "bridge": {"port": "eth0"}}
    with pytest.raises(ConfigError, match="known_hosts"):
        Lab.from_mapping({"hosts": [host]}, tmp_path, stack="lab", files=files)


def test_a_key_copied_with_dots_for_its_end_is_told_as_one() -> None:
    with pytest.raises(ValueError, match="damaged or cut short"):
        public_key("ssh-ed25519 AAAA… somebody", LOGIN_KEY_TYPES)
