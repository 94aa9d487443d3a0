"""The storage pool that holds a host's base images: a folder that libvirt knows.

All stacks of a host share it. Callers hold the host's lock "image".
"""

from __future__ import annotations

from pathlib import Path

from providers import records
from providers.errors import LabError
from providers.state import image, virsh
from providers.state.record import Record
from providers.transport import Session

NAME = "kvm-lab-base"
KIND = "image"
VIRSH = (*virsh.VIRSH, "--quiet")
IMAGES = "/var/lib/libvirt/images"
FOLDER = f"{IMAGES}/{NAME}"
POOLS_WITH_FILES = ("dir", "fs", "netfs")
_INFO = Path(__file__).with_name("scripts") / "image-info.sh"
_AT_ONCE = 500  # images asked in one call: what is said of them stays far below what a session keeps


def ensure(session: Session) -> None:
    """Make the pool known to libvirt, started now and at boot, its volumes up to date."""
    refuse_foreign(session)
    if NAME not in _pools(session, "--all"):
        if records.load(session, KIND, NAME) is None:
            records.save(
                session, Record(kind=KIND, key=NAME, adopted=False, claims={}, facts={"folder": FOLDER})
            )
        session.run([*VIRSH, "pool-define-as", NAME, "dir", "--target", FOLDER])
    if NAME not in _pools(session):
        session.run([*VIRSH, "pool-build", NAME])
        session.run([*VIRSH, "pool-start", NAME])
    session.run([*VIRSH, "pool-autostart", NAME])
    session.run([*VIRSH, "pool-refresh", NAME])


def refuse_foreign(session: Session) -> None:
    """Raise LabError when a pool of that name exists and is something else."""
    if NAME not in _pools(session, "--all"):
        return
    pool = virsh.parse_pool(session.run([*VIRSH, "pool-dumpxml", NAME]).stdout)
    if (pool.type, pool.path) != ("dir", FOLDER):
        raise LabError(
            f"{session.endpoint.host}: use the storage pool {NAME} for base images",
            f"a pool of that name exists, of type {pool.type} at {pool.path}",
            f"rename or remove that pool; base images need one of type dir at {FOLDER}",
        )


def is_active(session: Session) -> bool:
    """Tell whether libvirt serves the pool's volumes."""
    return NAME in _pools(session)


def overlays_of(session: Session, path: str) -> list[str]:
    """Return the paths of the disks that `path` is below, also with others between.

    Looked at are the volumes of every pool, started or not, the disks of every defined domain wherever they
    are, and all files in libvirt's own folder of images. A disk outside all of these is not found.
    """
    backings: dict[str, str | None] = {}
    todo = {*_disks_of_pools(session), *_disks_of_domains(session), *_files_in(session, IMAGES, deep=True)}
    while todo:
        found: dict[str, str | None] = dict.fromkeys(todo)
        names = sorted(todo)
        for start in range(0, len(names), _AT_ONCE):
            found |= _backings(session, names[start : start + _AT_ONCE])
        backings |= found
        todo = {below for below in found.values() if below and below.startswith("/")} - backings.keys()
    return image.overlays_of(path, backings)


def sweep(session: Session) -> list[str]:
    """Remove the bases that no stack claims any more and that no disk needs any more; return their paths."""
    gone = []
    for file in _files_in(session, f"{records.FOLDER}/{KIND}", deep=False):
        record = records.load(session, KIND, Path(file).stem)
        if record is None or record.key == NAME or record.claims or record.adopted:
            continue
        base = f"{FOLDER}/{record.key}"
        if not overlays_of(session, base):
            session.remove(base)
            records.erase(session, KIND, record.key)
            gone.append(base)
    if gone:
        forget_volume(session)
    return gone


def forget_volume(session: Session) -> None:
    """Make libvirt see that a file of the pool is gone; take the pool itself away when it was the last.

    A pool that this program did not make stays.
    """
    if NAME not in _pools(session, "--all"):
        records.erase(session, KIND, NAME)
        return
    refuse_foreign(session)
    if is_active(session):
        session.run([*VIRSH, "pool-refresh", NAME])
    if session.run(["find", FOLDER, "-mindepth", "1", "-print", "-quit"], check=False).stdout:
        return
    if records.load(session, KIND, NAME) is None:
        return
    if is_active(session):
        session.run([*VIRSH, "pool-destroy", NAME])
    session.run([*VIRSH, "pool-undefine", NAME])
    session.run(["rmdir", "--", FOLDER], check=False)
    records.erase(session, KIND, NAME)


def _backings(session: Session, paths: list[str]) -> dict[str, str | None]:
    script = ["sh", "-c", _INFO.read_text(encoding="utf-8"), _INFO.name]
    said = session.run(script, stdin="".join(f"{path}\n" for path in paths).encode(), timeout=600)
    return image.parse_backings(said.stdout)


def _disks_of_pools(session: Session) -> list[str]:
    active = set(_pools(session))
    disks: list[str] = []
    for name in _pools(session, "--all"):
        pool = virsh.parse_pool(session.run([*VIRSH, "pool-dumpxml", name]).stdout)
        if pool.type in POOLS_WITH_FILES and pool.path:
            disks += _files_in(session, pool.path, deep=False)  # libvirt's list may be old
        elif name in active:
            disks += virsh.parse_volume_paths(session.run([*VIRSH, "vol-list", name]).stdout)
    return disks


def _disks_of_domains(session: Session) -> list[str]:
    listed = session.run([*VIRSH, "list", "--all", "--name"]).stdout
    disks: list[str] = []
    for name in filter(None, map(str.strip, listed.splitlines())):
        for view in ([], ["--inactive"]):
            shown = session.run([*VIRSH, "dumpxml", *view, "--", name], check=False)
            if shown.exit_status == 0:  # else it was undefined meanwhile
                disks += virsh.parse_disk_paths(shown.stdout)
    return disks


def _files_in(session: Session, folder: str, *, deep: bool) -> list[str]:
    """Return the paths of the files in a folder; none when there is no such folder."""
    depth = () if deep else ("-maxdepth", "1")
    found = session.run(["find", "-H", folder, *depth, "-type", "f"], check=False, timeout=600)
    return found.stdout.splitlines()


def _pools(session: Session, *options: str) -> list[str]:
    listed = session.run([*VIRSH, "pool-list", "--name", *options]).stdout
    return [line.strip() for line in listed.splitlines() if line.strip()]
