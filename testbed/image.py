"""The guests' image: a Debian that boots by itself (BIOS, GRUB), and fast without hardware virtualisation.

Neither loop device nor mount: mke2fs fills the file system from a folder, and the boot loader is put where a
BIOS looks for it. The cuts that make it fast are for tests; a real guest wants a distribution's own image.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from testbed import processes, progress
from testbed.base import Recipe, workshop

NAME = "debian-12.qcow2"
SIZE_MIB = 2048
_SECTOR = 512
_FIRST_SECTOR = 2048
# The boot sector's code ends where the partition table begins.
_BOOT_CODE_BYTES = 440
_GRUB = Path("/usr/lib/grub/i386-pc/boot.img")
_GRUB_MODULES = (
    "biosdisk part_msdos ext2 search search_label normal configfile linux serial terminal echo test"
)
_GRUB_EARLY = """\
search --no-floppy --label root --set root
set prefix=($root)/boot/grub
configfile $prefix/grub.cfg
"""

GUEST = Recipe(
    "guest",
    options=(
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-exclude=/usr/share/man/*",
        "--dpkgopt=path-exclude=/usr/share/locale/*",
        '--customize-hook=systemctl --quiet --root="$1" enable systemd-networkd.service',
    ),
)


def build(images: Path, cache: Path, directory: Path) -> Path:
    """Return the image in `images`, beside its SHA256SUMS; it is built when its recipe has changed."""
    image = images / NAME
    digest = GUEST.digest(Path(__file__).read_bytes())
    recipe = images / f"{NAME}.recipe"
    if _current(image, recipe, digest):
        return image
    with workshop(cache, "guest-image") as folder:
        if not _current(image, recipe, digest):
            images.mkdir(parents=True, exist_ok=True)
            GUEST.build(folder / "root", directory, "guest image")
            with progress.step("guest image", "partition, file system, boot loader, compression"):
                new = _make_disk(folder, directory)
            recipe.unlink(missing_ok=True)
            new.rename(image)
            with image.open("rb") as data:
                checksum = hashlib.file_digest(data, "sha256").hexdigest()
            (images / "SHA256SUMS").write_text(f"{checksum}  {NAME}\n")
            recipe.write_text(digest + "\n")
    return image


def _current(image: Path, recipe: Path, digest: str) -> bool:
    return image.exists() and recipe.exists() and recipe.read_text().strip() == digest


def _make_disk(folder: Path, directory: Path) -> Path:
    """Turn the system in `folder`/root into a compressed qcow2 image, and return its path."""
    raw, core, early, image = (folder / name for name in ("disk.raw", "core.img", "early.cfg", NAME))

    def run(*argv: object, stdin: str | None = None) -> None:
        processes.run([str(word) for word in argv], directory, f"testbed: make {NAME}", stdin=stdin)

    raw.touch()
    os.truncate(raw, SIZE_MIB << 20)
    run("sfdisk", "--quiet", "--label", "dos", raw, stdin=f"{_FIRST_SECTOR},,L,*\n")
    # GRUB 2.06 does not read file systems with these two features.
    file_system = ["-t", "ext4", "-L", "root", "-O", "^metadata_csum_seed,^orphan_file"]
    where = ["-E", f"offset={_FIRST_SECTOR * _SECTOR},root_owner=0:0", "-d", folder / "root"]
    run("mke2fs", "-q", *file_system, *where, raw, f"{(SIZE_MIB << 10) - _FIRST_SECTOR * _SECTOR // 1024}k")
    early.write_text(_GRUB_EARLY)
    modules = _GRUB_MODULES.split()
    run("grub-mkimage", "-O", "i386-pc", "-o", core, "-c", early, "-p", "/boot/grub", *modules)
    with raw.open("r+b") as disk:
        disk.write(_GRUB.read_bytes()[:_BOOT_CODE_BYTES])
        disk.seek(_SECTOR)
        disk.write(core.read_bytes())
    run("qemu-img", "convert", "-c", "-O", "qcow2", raw, image)
    return image
