"""Locks on files that may be removed by whoever holds them."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def take(path: Path, *, wait: bool = True) -> int:
    """Lock a file, creating it; closing the returned descriptor frees it, and so does our death.

    Raises:
        BlockingIOError: somebody else has it, and `wait` is not set.
        FileNotFoundError: the folder is not there (any more).
    """
    operation = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, operation)
        except BlockingIOError:
            os.close(handle)
            raise
        # Whoever had it before may have removed the file: a lock on it would exclude nobody.
        if path.exists() and os.path.samestat(os.fstat(handle), path.stat()):
            return handle
        os.close(handle)
