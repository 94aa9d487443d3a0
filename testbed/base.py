"""The base system of the machines: a minimal Debian, built once, of which every machine has an overlay."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from testbed import locks, processes, progress

RECIPES = Path(__file__).with_name("recipes")
SUITE = "bookworm"
_BUILDING = ".building"


@dataclass(frozen=True)
class Recipe:
    """How a Debian system is built: `recipes/NAME-packages.txt`, `NAME-units.txt` (to be masked) and `NAME/`.

    The folder's files are put into the system before its packages are configured.
    """

    name: str
    options: tuple[str, ...] = ()

    @property
    def packages(self) -> list[str]:
        """The packages besides Debian's essential ones and apt."""
        return lines(RECIPES / f"{self.name}-packages.txt")

    @property
    def units(self) -> list[str]:
        """The systemd units that never run."""
        return lines(RECIPES / f"{self.name}-units.txt")

    @property
    def files(self) -> Path:
        """The folder whose files are put into the system."""
        return RECIPES / self.name

    def digest(self, *more: bytes) -> str:
        """Return 16 hexadecimal digits that change with anything the system is made of, or how it is."""
        parts = [
            Path(__file__).read_bytes(),
            SUITE.encode(),
            "\n".join([*self.packages, *self.units, *self.options]).encode(),
            *more,
        ]
        for path in sorted(self.files.rglob("*")):
            if path.is_file():
                parts += [str(path.relative_to(self.files)).encode(), path.read_bytes()]
        return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]

    def build(self, root: Path, directory: Path, subject: str) -> None:
        """Build the system in the folder `root`, which must not exist; about half a minute."""
        argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory"]
        argv += [f"--include={','.join(self.packages)}", *self.options, *_proxy(directory)]
        files = shlex.quote(str(self.files.absolute()))
        argv += [
            f'--essential-hook=cp -rT --no-preserve=mode,ownership {files} "$1"',
            f'--customize-hook=systemctl --quiet --root="$1" mask {shlex.join(self.units)}',
            # Every machine gets its own.
            '--customize-hook=rm -f "$1"/etc/ssh/ssh_host_* "$1"/etc/hostname "$1"/etc/resolv.conf',
            '--customize-hook=: >"$1"/etc/machine-id',
            SUITE,
            str(root),
        ]
        # In a mount namespace of its own, so that a killed build leaves no mount.
        asked = f"testbed: build the {subject}"
        with progress.step(
            subject, f"mmdebstrap, Debian {SUITE}, {len(self.packages)} packages and what they need"
        ):
            processes.run(["unshare", "--mount", *argv], directory, asked, scratch=root.parent)


MACHINE = Recipe("machine")


def build(cache: Path, directory: Path, recipe: Recipe = MACHINE) -> Path:
    """Return the folder of the machines' base system, building it when the cache has none of this recipe."""
    base = cache / f"{recipe.name}-{recipe.digest()}"
    if not base.exists():
        with workshop(cache, base.name) as folder:
            if not base.exists():
                recipe.build(folder / "root", directory, "base system")
                (folder / "root").rename(base)
    return base


@contextmanager
def workshop(cache: Path, name: str, *, wait: bool = True) -> Iterator[Path]:
    """Give an empty folder in the cache to build in, to one builder at a time; it is removed in the end."""
    cache.mkdir(parents=True, exist_ok=True)
    lock = _lock(cache, name, wait=wait)
    folder = cache / f"{name}{_BUILDING}"
    try:
        # What a killed build left.
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        (cache / f"{name}.lock").unlink(missing_ok=True)
        os.close(lock)


def sweep(cache: Path) -> None:
    """Remove what killed builds left in the cache."""
    for folder in cache.glob(f"*{_BUILDING}"):
        with suppress(BlockingIOError), workshop(cache, folder.name.removesuffix(_BUILDING), wait=False):
            pass


def _lock(cache: Path, name: str, *, wait: bool) -> int:
    path = cache / f"{name}.lock"
    try:
        return locks.take(path, wait=False)
    except BlockingIOError:
        if not wait:
            raise
        with progress.step(name, "another process builds it, waiting"):
            return locks.take(path)


def lines(path: Path) -> list[str]:
    """Return the lines of a list kept as a text file."""
    return path.read_text().split()


def _proxy(directory: Path) -> Iterable[str]:
    """Pass this machine's apt proxies on: mmdebstrap reads none of its apt configuration."""
    for scheme in ("http", "https"):
        key = f"Acquire::{scheme}::Proxy"
        shell = processes.run(
            ["apt-config", "shell", "proxy", key], directory, "testbed: read apt's configuration"
        )
        for word in shlex.split(shell):
            yield f'--aptopt={key} "{word.removeprefix("proxy=")}";'
