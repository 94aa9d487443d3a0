"""What of a student's host is his, what of it a reset puts away, and where. Pure.

Whose a domain, pool or network is: a stack's, when it lives in a pool "kvm-lab-*"; the host's owner's, when
one of that name was there before the student's environment; else the student's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import TypeVar

from providers.state.student import Domain, Facts, Kept, Names, Pool, Seen, Thing

IMAGES = "/var/lib/libvirt/images"
NVRAM = "/var/lib/libvirt/qemu/nvram"
OUR_PREFIX = "kvm-lab-"
KEPT = ".kvm-lab-kept"
# folders in which files are the system's, whoever calls them a pool: the least depth of a pool's path there
_DEPTH = {"home": 3, "root": 2, "tmp": 2}
_SYSTEM = frozenset(
    {
        "bin",
        "boot",
        "dev",
        "etc",
        "lib",
        "lib32",
        "lib64",
        "libx32",
        "proc",
        "run",
        "sbin",
        "sys",
        "usr",
        "var",
    }
)

AnyThing = TypeVar("AnyThing", bound=Thing)


def is_our_pool(name: str, own: str) -> bool:
    """Tell whether the pool `name` is that of a stack or of base images; `own` is this stack's."""
    return name == own or name.startswith(OUR_PREFIX)


def students_part(seen: Seen, found: Names, own_pool: str) -> Seen:
    """Return what is the student's, with all files of his pools."""
    ours = [pool.path for pool in seen.pools if is_our_pool(pool.name, own_pool)]
    return Seen(
        domains=tuple(
            domain
            for domain in seen.domains
            if domain.name not in found.domains and not _is_our_domain(domain, ours, own_pool)
        ),
        pools=tuple(
            pool
            for pool in seen.pools
            if pool.name not in found.pools and not is_our_pool(pool.name, own_pool)
        ),
        networks=tuple(network for network in seen.networks if network.name not in found.networks),
        files=seen.files,
        real_paths=seen.real_paths,
    )


def plan(seen: Seen, facts: Facts, own_pool: str) -> Kept:
    """Return what putting away the present generation would put away."""
    his = students_part(seen, facts.found, own_pool)
    stay = [domain for domain in seen.domains if domain not in his.domains]
    used = {disk for domain in stay for disk in domain.disks}
    others = [pool for pool in seen.pools if pool not in his.pools]
    ours = [_real_folder(pool, seen) for pool in others if is_our_pool(pool.name, own_pool)]
    found = {_real_folder(pool, seen) for pool in others}
    moves: dict[str, tuple[str, ...]] = {}
    for pool in his.pools:
        folder = seen.real_paths.get(pool.path)
        if pool.is_folder and folder and folder not in found and may_move_from(folder, ours):
            files = [file for file in seen.files.get(pool.path, ()) if file.born > facts.since]
            names = [file.name for file in files if _can_be_named(file.name)]
            moves[folder] = tuple(name for name in names if f"{folder}/{name}" not in used)
    variables = [PurePosixPath(domain.nvram) for domain in his.domains if domain.nvram]
    if names := [file.name for file in variables if str(file.parent) == NVRAM]:
        moves[NVRAM] = tuple(names)
    return Kept(
        generation=facts.generation,
        domains=his.domains,
        pools=his.pools,
        networks=his.networks,
        moves={folder: names for folder, names in moves.items() if names},
    )


def merged(earlier: Kept, now: Kept) -> Kept:
    """Return what an interrupted work has put away, or was to put back, with what is there now.

    What was named already stays as it was named: it ran before it was stopped. See `collisions`.
    """
    moves = {
        folder: tuple(dict.fromkeys((*earlier.moves.get(folder, ()), *now.moves.get(folder, ()))))
        for folder in (*earlier.moves, *now.moves)
    }
    return Kept(
        generation=earlier.generation,
        domains=_joined(earlier.domains, now.domains),
        pools=_joined(earlier.pools, now.pools),
        networks=_joined(earlier.networks, now.networks),
        moves=moves,
    )


def collisions(kept: Kept, there: Kept) -> list[str]:
    """Return what has the name of something that was put away and is something else."""
    others = there.things()
    return [
        f"{kind} {name}: {thing.uuid} was put away as generation {kept.generation}, "
        f"another, {others[kind, name].uuid}, is there"
        for (kind, name), thing in kept.things().items()
        if (kind, name) in others and not _is_same(thing, others[kind, name])
    ]


def staying(seen: Seen, found: Names, own_pool: str) -> Kept:
    """Return what no reset touches."""
    his = students_part(seen, found, own_pool)
    return Kept(
        generation=0,
        domains=tuple(domain for domain in seen.domains if domain not in his.domains),
        pools=tuple(pool for pool in seen.pools if pool not in his.pools),
        networks=tuple(network for network in seen.networks if network not in his.networks),
    )


def left_in_place(kept: Kept, seen: Seen) -> list[str]:
    """Return the files of the student's domains and pools that are not moved."""
    moved = {f"{folder}/{name}" for folder, names in kept.moves.items() for name in names}
    paths = {disk for domain in kept.domains for disk in domain.disks}
    for pool in kept.pools:
        paths |= {f"{pool.path}/{file.name}" for file in seen.files.get(pool.path, ())}
    real = {path: _real(path, seen.real_paths) for path in paths}
    return sorted(path for path in paths if real[path] not in moved)


def may_move_from(folder: str, ours: Iterable[str] = ()) -> bool:
    """Tell whether files of this folder can be a student's: not the system's, a stack's or the owner's.

    Args:
        folder: its path, absolute, without symbolic links.
        ours: the folders of stacks' pools: they stay as they are, with all that is in them.
    """
    path = PurePosixPath(folder)
    if any(path.is_relative_to(other) for other in ours if other):
        return False
    parts = path.parts[1:]
    if not parts or any(part.startswith(".") for part in parts):
        return False
    if path.is_relative_to(IMAGES):
        return len(path.relative_to(IMAGES).parts) == 0 or not _in_our_folder(folder)
    return parts[0] not in _SYSTEM and len(parts) >= _DEPTH.get(parts[0], 1)


def kept_folder(folder: str, generation: int, since: int) -> str:
    """Return where the files of this folder are kept; an environment that is made anew has others."""
    return f"{folder}/{KEPT}/g{generation}-{since}"


def _is_our_domain(domain: Domain, our_folders: Iterable[str], own_pool: str) -> bool:
    in_ours = any(
        PurePosixPath(disk).is_relative_to(folder)
        for disk in domain.disks
        for folder in our_folders
        if folder
    )
    by_name = any(is_our_pool(pool, own_pool) for pool in domain.volumes_of)
    return in_ours or by_name or any(map(_in_our_folder, domain.disks))


def _in_our_folder(path: str) -> bool:
    return path.startswith(f"{IMAGES}/{OUR_PREFIX}")


def _real_folder(pool: Pool, seen: Seen) -> str:
    return seen.real_paths.get(pool.path, pool.path)


def _can_be_named(name: str) -> bool:
    """Tell whether the name came as it is: bytes that are no UTF-8 did not."""
    return "\ufffd" not in name


def _real(path: str, real_paths: Mapping[str, str]) -> str:
    folder, _, name = path.rpartition("/")
    return f"{real_paths.get(folder, folder)}/{name}"


def _is_same(one: Thing, other: Thing) -> bool:
    same_place = not isinstance(one, Pool) or not isinstance(other, Pool) or one.path == other.path
    return one.uuid == other.uuid and same_place


def _joined(earlier: tuple[AnyThing, ...], now: tuple[AnyThing, ...]) -> tuple[AnyThing, ...]:
    names = {thing.name for thing in earlier}
    return (*earlier, *(thing for thing in now if thing.name not in names))
