"""kvm:BaseImage - a disk image on a host, of a known digest, on which guests' overlays hang.

A base is never overwritten: its file name carries the digest, and a file that is there is only ever
compared. Overlays are useless without their base, so it is not removed while one is left: an image that no
stack asks for any more, because it was rebuilt or its stack is gone, goes with the last disk that needs it.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

import pulumi
from pydantic import Field, model_validator

from providers import base_pool, records
from providers.base import HostInputs, HostProvider, HostResource
from providers.errors import LabError
from providers.state import image
from providers.state.record import Record
from providers.transport import Session, connect

KIND = base_pool.KIND
SCRIPT = Path(__file__).parent / "scripts" / "fetch-image.sh"
END_DOWNLOAD = SCRIPT.with_name("end-download.sh")
FETCH_TIMEOUT = 6 * 3600.0
DIGEST_TIMEOUT = 3600.0
PROGRESS_EVERY = 5.0
CURL_CANNOT_GO_ON = (22, 33)  # curl(1): an HTTP error, also 416 for a range; a server without ranges


class BaseImageInputs(HostInputs):
    """An image: where it comes from, and the digest that decides whether it is the right one."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    path: str | None = None
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    sha512: str | None = Field(default=None, pattern="^[0-9a-f]{128}$")
    format: Literal["qcow2", "raw"] = "qcow2"

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        if (self.url is None) == (self.path is None):
            raise ValueError("exactly one of url and path is needed")
        if (self.sha256 is None) == (self.sha512 is None):
            raise ValueError("exactly one of sha256 and sha512 is needed")
        if self.url is not None and "@" in urlsplit(self.url).netloc:
            raise ValueError("the url must hold no user and password: other users of the host would see them")
        return self

    @property
    def algorithm(self) -> image.Algorithm:
        """Which digest is given."""
        return "sha256" if self.sha256 else "sha512"

    @property
    def digest(self) -> str:
        """The digest, small hexadecimal digits."""
        return self.sha256 or self.sha512 or ""

    @property
    def file(self) -> str:
        """Where the image lies on the host."""
        return base_image_file(self.name, self.digest, self.format)

    @property
    def key(self) -> str:
        """The name of the claims' record and of the lock while the file is made."""
        return Path(self.file).name

    @property
    def part(self) -> str:
        """Where the image is gathered and judged before it gets its name."""
        return f"{base_pool.FOLDER}/.{self.key}.part"

    @property
    def asked(self) -> str:
        """What errors say was asked for."""
        return f"{self.endpoint.host}: have the base image {self.name} from {self.url or self.path}"


def base_image_file(name: str, digest: str, image_format: image.Format) -> str:
    """Return where a host keeps the image; known without asking the host."""
    return f"{base_pool.FOLDER}/{image.file_name(name, digest, image_format)}"


class BaseImageProvider(HostProvider[BaseImageInputs]):
    """Brings an image to a host, checks it, and tells libvirt."""

    inputs_model: ClassVar[type[HostInputs]] = BaseImageInputs
    replace_on: ClassVar[frozenset[str]] = frozenset({"name", "sha256", "sha512", "format"})

    def create_thing(self, inputs: BaseImageInputs) -> tuple[str, dict[str, Any]]:
        """Place the image, or adopt the one that is there; claim it."""
        _check_local(inputs)
        with connect(inputs.endpoint) as session, session.lock(inputs.key, timeout=FETCH_TIMEOUT):
            return inputs.file, self._place(session, inputs)

    def read_thing(self, inputs: BaseImageInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Gone is an image whose file, claim or pool is gone; the digest is not calculated again."""
        with connect(inputs.endpoint) as session:
            record = records.load(session, KIND, inputs.key)
            there = session.run(["test", "-f", inputs.file], check=False).exit_status == 0
            if not there or record is None or inputs.stack not in record.claims:
                return None
            return dict(outs) if base_pool.is_active(session) else None

    def update_thing(self, olds: BaseImageInputs, news: BaseImageInputs) -> dict[str, Any]:
        """Another source of the same bytes, which the host has already; or another name of the stack."""
        extra = self.create_thing(news)[1]
        if olds.stack != news.stack:
            self.delete_thing(olds, {})
        return extra

    def delete_thing(self, inputs: BaseImageInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Drop the claim; the last one removes the file, unless it was adopted or overlays need it.

        What overlays need stays, without a claim: GuestDisk's delete takes it away with the last of them.
        """
        with connect(inputs.endpoint) as session, session.lock(inputs.key), session.lock(KIND):
            record, others = records.release(session, KIND, inputs.key, inputs.stack)
            if record is None or others:
                return
            _remove_part(session, inputs)
            if record.adopted:
                records.erase(session, KIND, inputs.key)
                base_pool.forget_volume(session)
                return
            records.save(session, record.model_copy(update={"claims": {}}))
            if inputs.file not in base_pool.sweep(session):
                overlays = base_pool.overlays_of(session, inputs.file)
                self.progress(inputs, f"{inputs.file} stays while disks need it: {', '.join(overlays)}")

    def _place(self, session: Session, inputs: BaseImageInputs) -> dict[str, Any]:
        """Return the further outputs; the caller holds the image's own lock."""
        base_pool.refuse_foreign(session)
        there = session.run(["test", "-e", inputs.file], check=False).exit_status == 0
        if there:
            with self.phase(inputs, f"{inputs.name}: compare the digest of {inputs.file}"):
                _refuse_other_content(session, inputs)
            info = _checked_info(session, inputs, inputs.file)
        else:
            self._gather(session, inputs)
            try:
                info = _checked_info(session, inputs, inputs.part)
            except LabError:
                _remove_part(session, inputs)
                raise
        with session.lock(KIND):
            if there and session.run(["test", "-e", inputs.file], check=False).exit_status != 0:
                raise LabError(
                    inputs.asked,
                    f"{inputs.file} went while it was looked at: nobody asked for it until now",
                    "run `pulumi up` again",
                )
            record = records.load(session, KIND, inputs.key) or Record(
                kind=KIND, key=inputs.key, adopted=there
            )
            records.save(session, record.claimed(inputs.stack, {inputs.algorithm: inputs.digest}))
            if not there:
                # ln refuses a name that is taken, where mv would overwrite
                session.run(["ln", "-T", "--", inputs.part, inputs.file])
                _remove_part(session, inputs)
            base_pool.ensure(session)
        return {
            "file": inputs.file,
            "volume_name": inputs.key,
            "pool": base_pool.NAME,
            "virtual_size": info.virtual_size,
        }

    def _gather(self, session: Session, inputs: BaseImageInputs) -> None:
        """Bring the right bytes to `inputs.part`, going on with what an earlier try left there."""
        session.run(["install", "-d", "-m", "0711", base_pool.FOLDER])
        # whoever writes there was left by a client that died: the image's lock is ours
        ending = ["sh", "-c", END_DOWNLOAD.read_text(encoding="utf-8"), END_DOWNLOAD.name, inputs.part]
        session.run(ending, timeout=120)
        _remove_uploads(session, inputs)
        if _digest(session, inputs, inputs.part) != inputs.digest:
            if inputs.url is not None:
                self._download(session, inputs, inputs.url)
            else:
                self._upload(session, inputs)
            with self.phase(inputs, f"{inputs.name}: check its {inputs.algorithm}"):
                found = _digest(session, inputs, inputs.part)
            if found != inputs.digest:
                _remove_part(session, inputs)
                raise LabError(
                    inputs.asked,
                    f"its {inputs.algorithm} is {found}, expected {inputs.digest}",
                    "compare with the checksum its publisher gives; a newer image needs the newer checksum",
                )
        session.run(["chmod", "0444", "--", inputs.part])
        session.run(["sync", "--", inputs.part], timeout=600)

    def _download(self, session: Session, inputs: BaseImageInputs, url: str) -> None:
        _refuse_without_curl(session, inputs)
        size = _remote_size(session, url)
        arrived = _file_size(session, inputs.part)
        if size is not None and arrived >= size:  # all of it, and it was judged to be wrong
            session.remove(inputs.part)
            arrived = 0
        _refuse_without_room(session, inputs, size - arrived if size is not None else 0)
        report = _Report(self, inputs, size)
        with self.phase(inputs, f"{inputs.name}: download {url}"):
            done = session.run(
                ["sh", "-c", SCRIPT.read_text(encoding="utf-8"), SCRIPT.name, url, inputs.part],
                timeout=FETCH_TIMEOUT,
                check=False,
                on_line=report.line,
            )
        if done.exit_status in CURL_CANNOT_GO_ON:
            _remove_part(session, inputs)
        if done.exit_status != 0:
            raise LabError(
                inputs.asked,
                done.stderr or f"curl ended with exit status {done.exit_status}",
                "look whether the host reaches that address; the next `pulumi up` goes on where this stopped",
            )

    def _upload(self, session: Session, inputs: BaseImageInputs) -> None:
        local = Path(inputs.path or "")
        size = local.stat().st_size
        _refuse_without_room(session, inputs, size)
        report = _Report(self, inputs, size)
        with self.phase(inputs, f"{inputs.name}: upload {local} ({image.mebibytes(size)})"):
            session.upload(local, inputs.part, mode=0o444, progress=report.bytes, timeout=FETCH_TIMEOUT)


class BaseImage(HostResource, module="kvm", name="BaseImage"):
    """A base image on a host.

    Args:
        name: the resource's name.
        props: see BaseImageInputs.
        opts: as for every resource.

    Attributes:
        file: its path on the host.
        volume_name: its name in the pool.
        pool: the libvirt storage pool that serves it.
        virtual_size: the size of the disk it holds, in bytes.
    """

    file: pulumi.Output[str]
    volume_name: pulumi.Output[str]
    pool: pulumi.Output[str]
    virtual_size: pulumi.Output[int]

    def __init__(
        self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        outputs = ("file", "volume_name", "pool", "virtual_size")
        super().__init__(BaseImageProvider(), name, props, outputs=outputs, opts=opts)


class _Report:
    """Tells how much of an image has arrived, every few seconds."""

    def __init__(self, provider: BaseImageProvider, inputs: BaseImageInputs, size: int | None) -> None:
        self._provider = provider
        self._inputs = inputs
        self._of = f" of {image.mebibytes(size)}" if size is not None else ""
        self._last = time.monotonic()

    def line(self, text: str) -> None:
        """Take a line of fetch-image.sh: a number of bytes, or what curl complains about."""
        if text.isdigit():
            self.bytes(int(text), 0)

    def bytes(self, arrived: int, _size: int) -> None:
        """Take the number of bytes that have arrived."""
        if time.monotonic() - self._last >= PROGRESS_EVERY:
            self._last = time.monotonic()
            self._provider.progress(
                self._inputs, f"{self._inputs.name}: {image.mebibytes(arrived)}{self._of}"
            )


def _check_local(inputs: BaseImageInputs) -> None:
    """Refuse a local file that is not the image, before anything is sent.

    Raises:
        LabError: it cannot be read, or its digest is another one.
    """
    if inputs.path is None:
        return
    try:
        with Path(inputs.path).open("rb") as file:
            found = hashlib.file_digest(file, inputs.algorithm).hexdigest()
    except OSError as error:
        raise LabError(
            inputs.asked,
            f"{inputs.path} on this machine: {error.strerror}",
            "correct the image's path (relative ones start at the project's folder)",
        ) from error
    if found != inputs.digest:
        raise LabError(
            inputs.asked,
            f"{inputs.path} has the {inputs.algorithm} {found}, expected {inputs.digest}",
            "fetch or build the file again, or correct the checksum in the stack file",
        )


def _digest(session: Session, inputs: BaseImageInputs, path: str) -> str | None:
    """Return the digest of a file on the host, None when there is no such file."""
    if session.run(["test", "-f", path], check=False).exit_status != 0:
        return None
    return session.run([f"{inputs.algorithm}sum", "--", path], timeout=DIGEST_TIMEOUT).stdout.split()[0]


def _refuse_other_content(session: Session, inputs: BaseImageInputs) -> None:
    found = _digest(session, inputs, inputs.file)
    if found != inputs.digest:
        raise LabError(
            inputs.asked,
            f"{inputs.file} exists with the {inputs.algorithm} {found}, expected {inputs.digest}; "
            "it was left as it is, overlays may hang on it",
            "if nothing uses the file, move it away, then run `pulumi up` again",
        )


def _checked_info(session: Session, inputs: BaseImageInputs, path: str) -> image.ImageInfo:
    """Return what qemu-img says of the file; refuse what cannot be a base."""
    said = session.run(["qemu-img", "info", "--output=json", path]).stdout
    info = image.parse_info(said)
    faults = image.faults(info, inputs.format)
    if faults:
        raise LabError(
            inputs.asked,
            "; ".join(faults),
            "make an image that stands alone, with `qemu-img convert -O qcow2`, and give its checksum",
        )
    return info


def _refuse_without_curl(session: Session, inputs: BaseImageInputs) -> None:
    if session.run(["sh", "-c", "command -v curl"], check=False).exit_status != 0:
        raise LabError(
            inputs.asked,
            "the host has no curl to download it with",
            "install the package curl on the host, or give the image by path: it is then uploaded",
        )


def _remote_size(session: Session, url: str) -> int | None:
    """Return the size the server names; not every server does, or answers a question without a download."""
    argv = [
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "--location",
        "--head",
        "--max-time",
        "60",
        "--",
        url,
    ]
    answer = session.run(argv, timeout=90, check=False)
    return image.content_length(answer.stdout) if answer.exit_status == 0 else None


def _file_size(session: Session, path: str) -> int:
    """Return the size of a file on the host in bytes, 0 when there is none."""
    found = session.run(["stat", "-c", "%s", "--", path], check=False)
    return int(found.stdout) if found.exit_status == 0 else 0


def _refuse_without_room(session: Session, inputs: BaseImageInputs, needed: int) -> None:
    listed = session.run(["df", "--output=avail", "--block-size=1", "--", base_pool.FOLDER])
    free = image.free_bytes(listed.stdout)
    if free < needed:
        raise LabError(
            inputs.asked,
            f"{image.mebibytes(needed)} are needed in {base_pool.FOLDER}, {image.mebibytes(free)} are free",
            "make room there, or mount a larger file system at that folder",
        )


def _remove_part(session: Session, inputs: BaseImageInputs) -> None:
    """Remove all that was gathered."""
    session.run(["rm", "-f", "--", inputs.part, f"{inputs.part}.lock"])
    _remove_uploads(session, inputs)


def _remove_uploads(session: Session, inputs: BaseImageInputs) -> None:
    """Remove what uploads have left that were cut off by a power failure (Session.upload's own files)."""
    unfinished = f".{Path(inputs.part).name}.????????"
    folder = base_pool.FOLDER
    session.run(["find", folder, "-maxdepth", "1", "-name", unfinished, "-delete"], check=False)
