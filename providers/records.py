"""Records of claims in a root-only folder on the host.

Read, change and save one under `session.lock(kind)` only: several stacks share a host.
"""

from __future__ import annotations

from pydantic import ValidationError

from providers.errors import LabError
from providers.state.record import Record
from providers.transport import Session

FOLDER = "/var/lib/kvm-lab"


def path_of(kind: str, key: str) -> str:
    """Return where the record of this thing is on the host."""
    return f"{FOLDER}/{kind}/{key}.json"


def load(session: Session, kind: str, key: str) -> Record | None:
    """Return the record of this thing, None when no stack claims it.

    Raises:
        LabError: the file is there but is no record.
    """
    path = path_of(kind, key)
    text = session.read(path)
    if text is None:
        return None
    try:
        return Record.model_validate_json(text)
    except ValidationError as error:
        raise odd(session.endpoint.host, kind, key, error) from error


def odd(host: str, kind: str, key: str, error: ValidationError) -> LabError:
    """Return the error of a record that is there and is not understood."""
    return LabError(
        f"{host}: read the claims in {path_of(kind, key)}",
        "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()),
        "restore the file from a backup; it says what must be undone when the last stack is gone",
    )


def keys(session: Session, kind: str) -> list[str]:
    """Return the keys of all records of this kind on the host."""
    folder = f"{FOLDER}/{kind}"
    listed = session.run(["sh", "-c", f"[ ! -d {folder} ] || ls {folder}"]).stdout.split()
    return [name.removesuffix(".json") for name in listed if name.endswith(".json")]


def save(session: Session, record: Record) -> None:
    """Store `record`, readable by root only; on disk when this returns."""
    session.run(["install", "-d", "-m", "0700", FOLDER, f"{FOLDER}/{record.kind}"])
    text = record.model_dump_json(indent=2) + "\n"
    session.write(path_of(record.kind, record.key), text.encode(), mode=0o600)


def release(session: Session, kind: str, key: str, stack: str) -> tuple[Record | None, tuple[str, ...]]:
    """Drop a stack's claim; the last one's thing is the caller's to undo, who then erases the record.

    Returns:
        The record as it was, None when there is none; and who else claims the thing, so that it must stay.
    """
    record = load(session, kind, key)
    rest = record.released(stack) if record else None
    if rest is None:
        return record, ()
    if rest != record:
        save(session, rest)
    return record, tuple(rest.claims)


def erase(session: Session, kind: str, key: str) -> None:
    """Remove the record; a record that is not there is no error."""
    session.remove(path_of(kind, key))
    # only folders left empty go: rmdir refuses the others
    session.run(["rmdir", "--", f"{FOLDER}/{kind}", FOLDER], check=False)
