"""The storage pool that holds a host's base images: a folder that libvirt knows.

All stacks of a host share it. Callers hold the host's lock "image".
"""

from __future__ import annotations

from providers import records
from providers.errors import LabError
from providers.state import virsh
from providers.state.record import Record
from providers.transport import Session

NAME = "kvm-lab-base"
FOLDER = f"/var/lib/libvirt/images/{NAME}"
KIND = "image"
VIRSH = ("virsh", "--quiet", "--connect", "qemu:///system")
# one call for all volumes; one that is gone meanwhile is none
_DUMP_VOLUMES = 'for path; do virsh --quiet --connect qemu:///system vol-dumpxml --vol "$path" || :; done'


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
    """Return the paths of all volumes, of any pool, whose backing file is `path`."""
    volumes: list[str] = []
    for pool in _pools(session):
        volumes += virsh.parse_volume_paths(session.run([*VIRSH, "vol-list", pool]).stdout)
    if not volumes:
        return []
    dumped = session.run(["sh", "-c", _DUMP_VOLUMES, "sh", *volumes], timeout=600)
    return virsh.parse_overlays(dumped.stdout, path)


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


def _pools(session: Session, *options: str) -> list[str]:
    listed = session.run([*VIRSH, "pool-list", "--name", *options]).stdout
    return [line.strip() for line in listed.splitlines() if line.strip()]
