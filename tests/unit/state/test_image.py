"""Base images judged by what the real qemu-img prints of real (small) files."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from providers.state import image
from providers.state.image import Format, ImageInfo

Make = Callable[..., ImageInfo]
DIGEST = "0123456789abcdef" * 4
CRYPT_METHOD = 32
"""Where a qcow2 header says how its clusters are encrypted."""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Make an image by arguments of `qemu-img create` in a folder of its own and read it."""

    def create(name: str, *arguments: str) -> ImageInfo:
        subprocess.run(["qemu-img", "create", "-q", *arguments], cwd=tmp_path, check=True)
        return read(tmp_path / name)

    return create


def read(path: Path) -> ImageInfo:
    done = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, stdout=subprocess.PIPE)
    return image.parse_info(done.stdout.decode())


@pytest.mark.parametrize("declared", ["qcow2", "raw"])
def test_a_sound_image_has_no_faults(make: Make, declared: Format) -> None:
    info = make("disk", "-f", declared, "disk", "3M")
    assert info.virtual_size == 3 * 2**20
    assert image.faults(info, declared) == []


@pytest.mark.parametrize(("actual", "declared"), [("qcow2", "raw"), ("raw", "qcow2"), ("vmdk", "qcow2")])
def test_another_format_than_declared(make: Make, actual: str, declared: Format) -> None:
    assert image.faults(make("disk", "-f", actual, "disk", "1M"), declared) == [
        f"its format is {actual}, declared is {declared}"
    ]


def test_an_overlay(make: Make, tmp_path: Path) -> None:
    make("base", "-f", "qcow2", "base", "1M")
    info = make("disk", "-f", "qcow2", "-b", str(tmp_path / "base"), "-F", "qcow2", "disk")
    (fault,) = image.faults(info, "qcow2")
    assert str(tmp_path / "base") in fault


def test_an_overlay_whose_base_is_not_there(make: Make) -> None:
    info = make("disk", "-f", "qcow2", "-u", "-b", "/etc/shadow", "-F", "raw", "disk", "1M")
    (fault,) = image.faults(info, "qcow2")
    assert "/etc/shadow" in fault


def test_an_external_data_file(make: Make) -> None:
    info = make("disk", "-f", "qcow2", "-o", "data_file=elsewhere.raw", "disk", "1M")
    (fault,) = image.faults(info, "qcow2")
    assert "elsewhere.raw" in fault


def test_an_encrypted_image(make: Make, tmp_path: Path) -> None:
    """Marked as AES in its header (docs/interop/qcow2): qemu-img cannot make one on a busy machine."""
    make("disk", "-f", "qcow2", "disk", "1M")
    with (tmp_path / "disk").open("r+b") as header:
        header.seek(CRYPT_METHOD)
        header.write((1).to_bytes(4, "big"))
    assert image.faults(read(tmp_path / "disk"), "qcow2") == ["it is encrypted"]


def test_all_faults_are_told_at_once() -> None:
    info = ImageInfo("vdi", 1, backing_file="/a", data_file="/b", encrypted=True, corrupt=True)
    assert len(image.faults(info, "qcow2")) == 5


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"format": "raw"}'])
def test_what_is_no_info_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"qemu-img|Expecting value"):
        image.parse_info(text)


def test_the_name_carries_the_digest() -> None:
    assert image.file_name("debian-12", DIGEST, "qcow2") == "debian-12-0123456789abcdef.qcow2"


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", 12),
        (
            "HTTP/2 302\r\ncontent-length: 7\r\nlocation: /x\r\n\r\nHTTP/2 200\r\ncontent-length: 99\r\n\r\n",
            99,
        ),
        ("HTTP/1.1 302 Found\r\nContent-Length: 7\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", None),
        ("HTTP/1.1 200 OK\r\nX-Content-Length: 5\r\n\r\n", None),
        ("", None),
    ],
)
def test_content_length_is_that_of_the_last_response(headers: str, length: int | None) -> None:
    assert image.content_length(headers) == length


def test_free_bytes() -> None:
    assert image.free_bytes("      Avail\n123456789\n") == 123456789


def test_mebibytes_round_up() -> None:
    assert image.mebibytes(2**20 + 1) == "2 MiB"


def test_overlays_directly_and_with_others_between() -> None:
    def info(path: str, below: str = "") -> str:
        return json.dumps({"filename": path, "full-backing-filename": below} if below else {"filename": path})

    said = "\n".join(
        [
            info("/b/deb-0123.qcow2"),
            info("/p/two", "/p/../p/one"),
            info("/p/one", "/link/deb-0123.qcow2"),
            info("/p/other", "/b/deb-4567.qcow2"),
            info("/p/json", 'json:{"file": {"filename": "/b/deb-0123.qcow2"}}'),
            info("/p/loop", "/p/loop"),
        ]
    )
    backings = image.parse_backings(said)
    assert backings["/p/two"] == "/p/one"
    assert image.overlays_of("/b/deb-0123.qcow2", backings) == ["/p/json", "/p/one", "/p/two"]
    assert image.parse_backings("") == {}
