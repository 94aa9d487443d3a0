"""Base images on a real machine: uploaded, downloaded, adopted, refused, claimed and taken away."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from providers import base_pool
from providers.base_image import BaseImageProvider
from providers.errors import LabError
from providers.guest_disk import GuestDiskProvider
from testbed import Machine
from tests.inputs import inputs_on

MIB = 2**20
VIRSH = ["virsh", "-q", "-c", "qemu:///system"]


@pytest.fixture
def machine(hypervisor: Machine) -> Iterator[Machine]:
    """The machine, which must hold nothing of base images before and after."""
    assert leftovers(hypervisor) == ""
    yield hypervisor
    assert leftovers(hypervisor) == ""


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A qcow2 image of 3 MiB of noise on this machine."""
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(3 * MIB))
    image = tmp_path / "disk.qcow2"
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", noise, image], check=True)
    return image


def digest(path: Path, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, path.read_bytes()).hexdigest()


def leftovers(machine: Machine) -> str:
    """Return all files and pools of base images on the machine."""
    script = f"find {base_pool.FOLDER} /var/lib/kvm-lab/image 2>/dev/null; virsh -q pool-list --all --name"
    return machine.ssh(["sh", "-c", script]).stdout.strip()


def forget(machine: Machine) -> None:
    """Remove what a refused image leaves: the empty folder."""
    machine.ssh(["rmdir", base_pool.FOLDER])


def sum_on(machine: Machine, file: str) -> str:
    return machine.ssh(["sha256sum", file]).stdout.split()[0]


@dataclass
class Image:
    """An image as one stack declares it."""

    inputs: dict[str, Any]
    outs: dict[str, Any]

    @classmethod
    def create(cls, machine: Machine, stack: str = "kvm-lab/one", **source: object) -> Image:
        provider = BaseImageProvider()
        checked = provider.check({}, {**inputs_on(machine, stack), "name": "tiny", **source})
        assert not checked.failures, [failure.reason for failure in checked.failures]
        return cls(checked.inputs, dict(provider.create(checked.inputs).outs or {}))

    @property
    def file(self) -> str:
        return str(self.outs["file"])

    def is_there(self) -> bool:
        return BaseImageProvider().read("x", self.outs).id != ""

    def differs(self) -> bool:
        return bool(BaseImageProvider().diff("x", self.outs, self.inputs).changes)

    def delete(self) -> None:
        BaseImageProvider().delete("x", self.outs)


def test_an_uploaded_image_is_served_under_its_digest(machine: Machine, disk: Path) -> None:
    image = Image.create(machine, path=str(disk), sha256=digest(disk))
    assert image.file == f"{base_pool.FOLDER}/tiny-{digest(disk)[:16]}.qcow2"
    assert image.outs["virtual_size"] == 3 * MIB
    assert sum_on(machine, image.file) == digest(disk)
    assert machine.ssh(["stat", "-c", "%a", image.file]).stdout.strip() == "444"
    assert image.file in machine.ssh([*VIRSH, "vol-list", base_pool.NAME]).stdout
    assert image.is_there()
    assert not image.differs()
    image.delete()
    assert not image.is_there()


def test_sha512_and_raw(machine: Machine, tmp_path: Path) -> None:
    disk = tmp_path / "disk.raw"
    disk.write_bytes(os.urandom(MIB))
    image = Image.create(machine, path=str(disk), sha512=digest(disk, "sha512"), format="raw")
    assert image.file.endswith(".raw")
    image.delete()


def test_an_image_stays_until_the_last_stack_lets_go(machine: Machine, disk: Path) -> None:
    source = {"path": str(disk), "sha256": digest(disk)}
    one = Image.create(machine, **source)
    two = Image.create(machine, "kvm-lab/two", **source)
    one.delete()
    assert not one.is_there()
    assert two.is_there()
    two.delete()


def test_a_file_with_the_right_content_is_adopted_and_left(machine: Machine, disk: Path) -> None:
    image = Image.create(machine, path=str(disk), sha256=digest(disk))
    machine.ssh(["cp", image.file, "/root/kept"])
    image.delete()
    machine.ssh(["sh", "-c", f"mkdir {base_pool.FOLDER} && mv /root/kept {image.file}"])
    adopted = Image.create(machine, path=str(disk), sha256=digest(disk))
    adopted.delete()
    assert sum_on(machine, image.file) == digest(disk)
    machine.ssh(["rm", image.file])
    machine.ssh(
        ["sh", "-c", f"virsh -q pool-destroy {base_pool.NAME}; virsh -q pool-undefine {base_pool.NAME}"]
    )
    machine.ssh(["rm", "-r", base_pool.FOLDER, "/var/lib/kvm-lab/image"])


def test_a_file_with_other_content_is_left_as_it_is(machine: Machine, disk: Path) -> None:
    file = f"{base_pool.FOLDER}/tiny-{digest(disk)[:16]}.qcow2"
    machine.ssh(["sh", "-c", f"mkdir {base_pool.FOLDER} && echo precious > {file}"])
    with pytest.raises(LabError, match="left as it is"):
        Image.create(machine, path=str(disk), sha256=digest(disk))
    assert machine.ssh(["cat", file]).stdout == "precious\n"
    machine.ssh(["rm", file])
    forget(machine)


def test_a_wrong_local_file_is_refused_before_anything_is_contacted(hypervisor: Machine, disk: Path) -> None:
    unreachable = inputs_on(hypervisor)
    unreachable["endpoint"]["port"] = 1
    with pytest.raises(LabError, match=digest(disk)):
        BaseImageProvider().create({**unreachable, "name": "tiny", "path": str(disk), "sha256": "0" * 64})
    with pytest.raises(LabError, match="No such file"):
        BaseImageProvider().create({**unreachable, "name": "tiny", "path": "absent", "sha256": "0" * 64})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-u", "-f", "qcow2", "-b", "/etc/shadow", "-F", "raw"], "/etc/shadow"),
        (["-f", "qcow2", "-o", "data_file=outside.raw"], "outside.raw"),
        (["-f", "vmdk"], "its format is vmdk"),
    ],
)
def test_what_cannot_be_a_base_is_refused(
    machine: Machine, tmp_path: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    disk = Path("disk")
    subprocess.run(["qemu-img", "create", "-q", *arguments, str(disk), "1M"], check=True)
    with pytest.raises(LabError, match=said):
        Image.create(machine, path=str(disk), sha256=digest(disk))
    forget(machine)


def test_too_little_room_is_said_before_the_upload(machine: Machine, disk: Path) -> None:
    machine.ssh(
        ["sh", "-c", f"mkdir {base_pool.FOLDER} && mount -t tmpfs -o size=2m none {base_pool.FOLDER}"]
    )
    try:
        with pytest.raises(LabError, match=r"MiB are needed in .*, 2 MiB are free"):
            Image.create(machine, path=str(disk), sha256=digest(disk))
    finally:
        machine.ssh(["umount", base_pool.FOLDER])
    forget(machine)


OWNER = """<domain type="qemu"><name>owner</name><memory unit="MiB">32</memory>
<os><type arch="x86_64" machine="pc">hvm</type></os><devices><disk type="file" device="disk">
<driver name="qemu" type="qcow2"/><source file="/srv/pool/top.qcow2"/><target dev="vda" bus="virtio"/></disk>
</devices></domain>"""


@pytest.mark.parametrize("known_by", ["pool", "stopped pool", "domain", "nothing"])
def test_a_base_stays_while_overlays_hang_on_it(
    machine: Machine, disk: Path, known_by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Image.create(machine, path=str(disk), sha256=digest(disk))
    folder = f"{base_pool.IMAGES}/students" if known_by == "nothing" else "/srv/pool"
    overlay = f"{folder}/{'hidden' if known_by == 'domain' else 'top'}.qcow2"
    machine.ssh(["mkdir", folder])
    machine.ssh(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image.file, "-F", "qcow2", overlay])
    if "pool" in known_by:
        machine.ssh(
            [
                *VIRSH,
                "pool-create-as" if known_by == "pool" else "pool-define-as",
                "students",
                "dir",
                "--target",
                folder,
            ]
        )
    if known_by == "domain":
        machine.ssh(
            ["qemu-img", "create", "-q", "-f", "qcow2", "-b", overlay, "-F", "qcow2", f"{folder}/top.qcow2"]
        )
        machine.ssh(["sh", "-c", f"echo '{OWNER}' > /tmp/owner.xml && virsh define /tmp/owner.xml"])
    image.delete()
    assert overlay in capsys.readouterr().err
    assert sum_on(machine, image.file) == digest(disk)
    assert not image.is_there()
    last_disk_goes(machine, stack="kvm-lab/other")
    assert sum_on(machine, image.file) == digest(disk)

    if known_by == "domain":
        machine.ssh([*VIRSH, "undefine", "owner"])
    if "pool" in known_by:
        machine.ssh([*VIRSH, "pool-destroy" if known_by == "pool" else "pool-undefine", "students"])
    machine.ssh(["rm", "-r", folder])
    last_disk_goes(machine, stack="kvm-lab/other")


def last_disk_goes(machine: Machine, stack: str) -> None:
    """Delete a guest's disk: the bases that nobody needs any more go with it."""
    disk = {
        "guest": "web",
        "domain": "none",
        "file": "/srv/absent",
        "image": "tiny",
        "base": "/b",
        "size": MIB,
    }
    GuestDiskProvider().delete("x", {**inputs_on(machine, stack), **disk})


def test_a_rebuilt_image_that_is_asked_for_again(machine: Machine, disk: Path) -> None:
    image = Image.create(machine, path=str(disk), sha256=digest(disk))
    overlay = f"{base_pool.IMAGES}/web-g1.qcow2"
    machine.ssh(["qemu-img", "create", "-q", "-f", "qcow2", "-b", image.file, "-F", "qcow2", overlay])
    image.delete()
    again = Image.create(machine, path=str(disk), sha256=digest(disk))
    machine.ssh(["rm", overlay])
    assert again.is_there()
    again.delete()


def test_a_foreign_pool_of_that_name_is_refused(machine: Machine, disk: Path) -> None:
    machine.ssh([*VIRSH, "pool-define-as", base_pool.NAME, "dir", "--target", "/srv"])
    with pytest.raises(LabError, match="/srv"):
        Image.create(machine, path=str(disk), sha256=digest(disk))
    machine.ssh([*VIRSH, "pool-undefine", base_pool.NAME])


def test_an_image_that_went_missing_is_brought_again(machine: Machine, disk: Path) -> None:
    image = Image.create(machine, path=str(disk), sha256=digest(disk))
    machine.ssh(["rm", image.file])
    assert not image.is_there()
    again = Image.create(machine, path=str(disk), sha256=digest(disk))
    assert sum_on(machine, again.file) == digest(disk)
    again.delete()


class Web(BaseHTTPRequestHandler):
    """Serves one file with ranges; the first answer breaks off in the middle when told so."""

    def __init__(self, shelf: Shelf, *arguments: Any) -> None:  # noqa: ANN401 - http.server's
        self.shelf = shelf
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        if self.shelf.head_refused:
            self.send_error(403)
        else:
            self._answer(0)

    def do_GET(self) -> None:
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        self.shelf.first_bytes.append(first)
        content = self._answer(first)
        if self.shelf.slow:
            self.shelf.slow = False
            self._trickle(content)
            return
        if self.shelf.break_off:
            self.shelf.break_off = False
            content = content[: len(content) // 2]
        self.wfile.write(content)
        self.close_connection = True

    def _answer(self, first: int) -> bytes:
        if self.path != "/disk.qcow2":
            self.send_error(404)
            return b""
        content = self.shelf.file.read_bytes()
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - first))
        self.end_headers()
        return content[first:]

    def _trickle(self, content: bytes) -> None:
        """Send the first half at once and the rest slowly, as long as somebody takes it."""
        self.wfile.write(content[: len(content) // 2])
        self.shelf.half_sent.set()
        try:
            for start in range(len(content) // 2, len(content), 16384):
                self.wfile.write(content[start : start + 16384])
                time.sleep(0.5)
        except OSError:
            self.shelf.broken.set()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Shelf:
    """What the web server has, and which first bytes it was asked for."""

    file: Path
    url: str
    break_off: bool = False
    head_refused: bool = False
    slow: bool = False
    first_bytes: list[int] = field(default_factory=list)
    half_sent: threading.Event = field(default_factory=threading.Event)
    broken: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def shelf(machine: Machine, disk: Path) -> Iterator[Shelf]:
    """A web server on this machine, that the machine can reach."""
    kept = Shelf(disk, "")
    gateway = machine.ssh(
        ["sh", "-c", "ip route | sed -n 's/default via \\([^ ]*\\).*/\\1/p'"]
    ).stdout.strip()
    with ThreadingHTTPServer((gateway, 0), partial(Web, kept)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        kept.url = f"http://{gateway}:{server.server_port}/disk.qcow2"
        yield kept
        server.shutdown()


def test_a_download(machine: Machine, shelf: Shelf) -> None:
    image = Image.create(machine, url=shelf.url, sha256=digest(shelf.file))
    assert sum_on(machine, image.file) == digest(shelf.file)
    image.delete()


def test_a_download_goes_on_where_it_broke_off(machine: Machine, shelf: Shelf) -> None:
    shelf.break_off = True
    with pytest.raises(LabError, match="goes on"):
        Image.create(machine, url=shelf.url, sha256=digest(shelf.file))
    image = Image.create(machine, url=shelf.url, sha256=digest(shelf.file))
    first, second = shelf.first_bytes
    assert first == 0
    assert second == shelf.file.stat().st_size // 2
    assert sum_on(machine, image.file) == digest(shelf.file)
    image.delete()


CLIENT = """
import json, sys
from providers.base_image import BaseImageProvider
BaseImageProvider().create(json.loads(sys.argv[1]))
"""


@pytest.mark.parametrize("host_notices", [True, False])
def test_a_download_whose_client_was_killed(machine: Machine, shelf: Shelf, host_notices: bool) -> None:
    shelf.slow = True
    asked = {**inputs_on(machine), "name": "tiny", "url": shelf.url, "sha256": digest(shelf.file)}
    with subprocess.Popen([sys.executable, "-c", CLIENT, json.dumps(asked)]) as client:
        assert shelf.half_sent.wait(60)
        if not host_notices:  # the client's machine lost its power: nobody tells the host
            machine.ssh(["pkill", "-KILL", "-f", "^sh -c.*fetch-image.sh http"], check=False)
        client.send_signal(signal.SIGKILL)
    if host_notices:
        assert shelf.broken.wait(30)
    image = Image.create(machine, url=shelf.url, sha256=digest(shelf.file))
    assert sum_on(machine, image.file) == digest(shelf.file)
    assert shelf.broken.wait(30)
    assert shelf.first_bytes[1] >= shelf.file.stat().st_size // 2
    image.delete()


def test_a_server_that_refuses_to_tell_the_size(machine: Machine, shelf: Shelf) -> None:
    shelf.head_refused = True
    image = Image.create(machine, url=shelf.url, sha256=digest(shelf.file))
    assert sum_on(machine, image.file) == digest(shelf.file)
    image.delete()


def test_what_an_upload_left_that_lost_its_power(machine: Machine, disk: Path) -> None:
    left = f"{base_pool.FOLDER}/..tiny-{digest(disk)[:16]}.qcow2.part.Ab3dEf6h"
    machine.ssh(["sh", "-c", f"mkdir {base_pool.FOLDER} && echo half > {left}"])
    image = Image.create(machine, path=str(disk), sha256=digest(disk))
    assert machine.ssh(["test", "-e", left], check=False).returncode == 1
    machine.ssh(["touch", left])
    image.delete()


def test_a_download_that_is_another_file(machine: Machine, shelf: Shelf) -> None:
    with pytest.raises(LabError, match=digest(shelf.file)):
        Image.create(machine, url=shelf.url, sha256="0" * 64)
    forget(machine)


def test_an_image_that_is_not_there(machine: Machine, shelf: Shelf) -> None:
    with pytest.raises(LabError, match="404"):
        Image.create(machine, url=f"{shelf.url}.gone", sha256="0" * 64)
    forget(machine)


def test_all_mistakes_are_told_at_once(hypervisor: Machine) -> None:
    failures = (
        BaseImageProvider().check({}, {**inputs_on(hypervisor), "name": "../x", "format": "iso"}).failures
    )
    assert {failure.property for failure in failures} >= {"name", "format"}


@pytest.mark.parametrize(
    "source",
    [
        {"sha256": "0" * 64},
        {"path": "a", "url": "https://images.example/a", "sha256": "0" * 64},
        {"path": "a"},
        {"path": "a", "sha256": "0" * 64, "sha512": "0" * 128},
        {"url": "https://user:word@images.example/a", "sha256": "0" * 64},
    ],
)
def test_one_source_and_one_digest_without_password(hypervisor: Machine, source: dict[str, Any]) -> None:
    assert BaseImageProvider().check({}, {**inputs_on(hypervisor), "name": "x", **source}).failures
