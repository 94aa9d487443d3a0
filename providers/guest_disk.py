"""kvm:GuestDisk - keeps what is on a guest's disk. The disk grows while the guest runs; it never shrinks.

The disk itself, an overlay of a base image, is a libvirt volume that is declared after this resource and
depends on it. An edit that would need another disk (a smaller size, another image, host or stack name) is
refused here, before the volume is looked at: only the guest's next generation gets a new disk. An image that
was rebuilt under its name is no such edit: the disk keeps its base, and the base stays while it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi
from pulumi.dynamic import CheckFailure, CheckResult
from pydantic import Field

from providers import addresses, base_pool
from providers.base import HostInputs, HostProvider, HostResource
from providers.guest_power import active
from providers.state import image, virsh
from providers.state.virsh import VIRSH
from providers.transport import Session, connect

NEW_DISK = (
    "Another generation gives the guest a new, empty disk: `make reset` for a student's; for any other guest "
    "raise it in the stack file, the old disk is then deleted unless `kept` names it"
)

OTHER_HOST = (
    "Disks do not move: put its host back, or write `discard_disk: true` for it, which deletes the disk "
    "and makes a new, empty one there"
)


class GuestDiskInputs(HostInputs):
    """A disk of one generation of a guest."""

    guest: str
    domain: str
    """The guest's name in libvirt."""
    file: str
    """The disk's path on the host."""
    image: str
    """The name of the image it is made from."""
    base: str
    """The path of the base image it is an overlay of; of a disk that is there, the one it was made from."""
    size: int = Field(gt=0)
    """In bytes."""
    discard: bool = False
    """Whether it may be deleted because the guest moves to another host."""


class GuestDiskProvider(HostProvider[GuestDiskInputs]):
    """Grows a disk to the size wanted."""

    inputs_model: ClassVar[type[HostInputs]] = GuestDiskInputs
    stays_on_host: ClassVar[bool] = True

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        """Refuse, besides mistakes, what cannot be done to this disk without losing what is on it."""
        result = super().check(_olds, news)
        if _olds and not result.failures:
            result = CheckResult(result.inputs, _refusals(_olds, result.inputs))
        return result

    def create_thing(self, inputs: GuestDiskInputs) -> tuple[str, dict[str, Any]]:
        """Grow the disk if a broken run left it, smaller; a new one is made in the size wanted.

        A file that is no overlay of the base is somebody else's: the volume's creation tells so.
        """
        with connect(inputs.endpoint) as session:
            seen = _look(session, inputs)
            if seen is not None and seen.backing_file == inputs.base:
                _grow(session, inputs, seen)
        return inputs.file, {}

    def read_thing(self, inputs: GuestDiskInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Tell the size; one that somebody made larger stays so. Whether there is a disk, the volume says."""
        with connect(inputs.endpoint) as session:
            seen = _look(session, inputs)
        return {} if seen is None else {"size": min(seen.virtual_size, inputs.size)}

    def update_thing(self, olds: GuestDiskInputs, news: GuestDiskInputs) -> dict[str, Any]:  # noqa: ARG002
        """Grow the disk. The guest's file system grows when it is booted next (cloud-init, growpart)."""
        with connect(news.endpoint) as session:
            seen = _look(session, news)
            if seen is not None:
                _grow(session, news, seen)
        return {}

    def delete_thing(self, inputs: GuestDiskInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Take away the bases that the disk was the last to need; the volume is removed as what it is.

        With the guest, what a broken run of its GuestReady left goes too.
        """
        with connect(inputs.endpoint) as session:
            with session.lock(base_pool.KIND):
                for base in base_pool.sweep(session):
                    self.progress(
                        inputs, f"removed {base}: no stack asks for it and no disk needs it any more"
                    )
            if not _has_domain(session, inputs):
                addresses.sweep(session, inputs.stack, inputs.domain)


class GuestDisk(HostResource, module="kvm", name="GuestDisk"):
    """A guest's disk of the size wanted. Declare it before its volume.

    Args:
        name: the resource's name.
        props: see GuestDiskInputs.
        opts: as for every resource.
    """

    def __init__(
        self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(GuestDiskProvider(), name, props, opts=opts)


def _refusals(olds: Mapping[str, Any], news: Mapping[str, Any]) -> list[CheckFailure]:
    """Return what `news` ask that the disk of `olds` cannot become."""
    guest = f"guest {news['guest']}: its disk"
    before, after = olds["endpoint"], news["endpoint"]
    found = []
    if news["size"] < olds["size"]:
        sizes = [image.mebibytes(int(props["size"])) for props in (olds, news)]
        found.append(
            CheckFailure("size", f"{guest} has {sizes[0]} and cannot shrink to {sizes[1]}. {NEW_DISK}")
        )
    if news["image"] != olds.get("image", news["image"]):
        text = f"{guest} was made from the image {olds['image']}, asked for is {news['image']}. {NEW_DISK}"
        found.append(CheckFailure("image", text))
    if before["host"] != after["host"]:
        if news.get("discard"):
            return []
        text = f"{guest} is on host {before['host']}, asked for is {after['host']}. {OTHER_HOST}"
        found.append(CheckFailure("guest", text))
    elif news["file"] != olds["file"]:
        text = f"{guest} is {olds['file']}, asked for is {news['file']} (was the stack renamed?). {NEW_DISK}"
        found.append(CheckFailure("file", text))
    return found


def _look(session: Session, inputs: GuestDiskInputs) -> image.ImageInfo | None:
    """Return what the disk's header says; None when there is no disk."""
    if session.run(["test", "-f", inputs.file], check=False).exit_status != 0:
        return None
    # a running guest holds the lock: only the header is read here
    said = session.run(["qemu-img", "info", "--force-share", "--output=json", inputs.file])
    return image.parse_info(said.stdout)


def _has_domain(session: Session, inputs: GuestDiskInputs) -> bool:
    listed = session.run([*VIRSH, "list", "--all", "--name"], check=False)
    return listed.exit_status != 0 or inputs.domain in listed.stdout.split()


def _grow(session: Session, inputs: GuestDiskInputs, seen: image.ImageInfo) -> None:
    """Give the disk the size wanted, unless it has it already or is larger."""
    if seen.virtual_size >= inputs.size:
        return
    if _in_use(session, inputs):
        session.run([*VIRSH, "blockresize", inputs.domain, inputs.file, f"{inputs.size}B"])
    else:
        session.run([*VIRSH, "vol-resize", "--vol", inputs.file, "--capacity", f"{inputs.size}B"])


def _in_use(session: Session, inputs: GuestDiskInputs) -> bool:
    """Say whether the guest runs with this disk, not with another generation's."""
    if inputs.domain not in active(session):
        return False
    disks = session.run([*VIRSH, "domblklist", "--domain", inputs.domain]).stdout
    return inputs.file in virsh.parse_block_sources(disks)
