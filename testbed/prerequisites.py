"""What this machine must have before a testbed changes anything on it."""

from __future__ import annotations

import os
import platform
import shutil
from pathlib import Path

from providers.errors import LabError
from testbed.base import lines

PACKAGES = Path(__file__).with_name("debian-packages.txt")
# Command or file, and the Debian package that brings it.
TOOLS = {
    "grub-mkimage": "grub-common",
    "ip": "iproute2",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "systemd-nspawn": "systemd-container",
    "unshare": "util-linux",
    "/usr/lib/grub/i386-pc/boot.img": "grub-pc-bin",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}
SPACE_GIB = 4
# An overlay cannot lie on these.
_UNFIT = ("overlay", "nfs", "nfs4", "vfat", "exfat", "9p", "virtiofs", "fuse")


def packages() -> list[str]:
    """Return the Debian packages that `make up` needs; the Makefile installs the missing ones."""
    return lines(PACKAGES)


def missing_packages() -> list[str]:
    """Return those of the packages whose tools are not here."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = {
        package
        for tool, package in TOOLS.items()
        if shutil.which(tool, path=path) is None and not Path(tool).exists()
    }
    return [package for package in packages() if package in absent]


def check(directory: Path) -> None:
    """Check everything a testbed in `directory` needs, and change nothing.

    Raises:
        LabError: something is missing; all of it is named at once.
    """
    problems = [*_system(), *_tools(), *_folder(directory)]
    if problems:
        raise LabError(
            "testbed: start bare machines on this machine",
            "\n".join(seen for seen, _ in problems),
            "\n".join(remedy for _, remedy in problems),
        )


def _system() -> list[tuple[str, str]]:
    problems = []
    if os.geteuid() != 0:
        problems.append(("you are not root", "run it as root, for example with sudo"))
    release = platform.freedesktop_os_release()
    if "debian" not in (release.get("ID"), *release.get("ID_LIKE", "").split()):
        problems.append((f"this is {release.get('PRETTY_NAME', 'not Debian')}", "use Debian 12 or newer"))
    if platform.machine() != "x86_64":
        problems.append(
            (f"this is a {platform.machine()} machine", "use an x86_64 one: the guest image is for it")
        )
    if not Path("/dev/net/tun").exists():
        problems.append(("/dev/net/tun is missing", "load the module: modprobe tun"))
    return problems


def _tools() -> list[tuple[str, str]]:
    absent = missing_packages()
    if not absent:
        return []
    names = " ".join(absent)
    return [(f"missing Debian packages: {names}", f"apt-get install --no-install-recommends {names}")]


def _folder(directory: Path) -> list[tuple[str, str]]:
    problems = []
    here = directory.absolute()
    if any(mark in str(here) for mark in ':,\\"') or any(mark.isspace() for mark in str(here)):
        problems.append(
            (
                f"mount(8) cannot take the path {here}",
                "use a folder without space, colon, comma, quote or backslash",
            )
        )
    existing = next(folder for folder in [here, *here.parents] if folder.exists())
    kind = _file_system(existing)
    if kind in _UNFIT:
        problems.append(
            (
                f"{existing} is on a file system of type {kind}",
                "use a folder on a local disk (ext4, xfs, btrfs)",
            )
        )
    free = shutil.disk_usage(existing).free >> 30
    if free < SPACE_GIB:
        problems.append((f"{existing} has {free} GiB free", f"make room for {SPACE_GIB} GiB"))
    return problems


def _file_system(path: Path) -> str:
    """Return the type of the file system a path lies on."""
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        if fields[2] == wanted:
            return fields[fields.index("-") + 1].partition(".")[0]
    return "unknown"
