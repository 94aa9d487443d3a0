"""How many guests of a host boot at once, among all threads of this process."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator

from providers.transport import Endpoint

DEFAULT = 8
MOST = 64

_changed = threading.Condition()
_inside: Counter[tuple[str, int]] = Counter()


def limit(parallel: int | None, domain_type: str | None, cores: float | None) -> int:
    """Return how many guests of a host boot at once.

    Without hardware virtualisation a guest keeps a core busy while it boots: more than the host has cores
    end no sooner together, and each of them so late that nobody waits for it any more.

    Args:
        parallel: what the stack file says; None: nothing.
        domain_type: "kvm" or "qemu" (emulated); None: it is not known.
        cores: of the host, a whole number as the engine has it; None: they are not known.
    """
    if parallel is not None:
        return parallel
    return min(DEFAULT, int(cores)) if domain_type == "qemu" and cores else DEFAULT


@contextlib.contextmanager
def held(endpoint: Endpoint, parallel: int, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold one of the host's `parallel` slots; wait, without a limit, until one is free.

    Args:
        endpoint: the host; its address and port say which it is.
        parallel: how many may be held at once, this one among them.
        on_wait: called once before a wait.
    """
    host = (endpoint.address, endpoint.port)
    with _changed:
        full = _inside[host] >= parallel
    if full:
        on_wait()
    with _changed:
        _changed.wait_for(lambda: _inside[host] < parallel)
        _inside[host] += 1
    try:
        yield
    finally:
        with _changed:
            _inside[host] -= 1
            _changed.notify_all()
