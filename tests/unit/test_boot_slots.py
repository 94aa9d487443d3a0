"""Never more guests of a host boot at once than it may have, and as many as it may."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from providers import boot_slots
from providers.transport import Endpoint

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"
PATIENCE = 30.0


def endpoint(address: str, port: int = 22, host: str = "g1s1") -> Endpoint:
    return Endpoint(host=host, address=address, port=port, host_keys=(KEY,))


class Gauge:
    """Counts who is inside, and keeps the most that were."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.inside -= 1


@pytest.mark.parametrize(
    ("parallel", "domain_type", "cores", "limit"),
    [
        (None, "qemu", 2.0, 2),
        (None, "qemu", 64.0, boot_slots.DEFAULT),
        (None, "kvm", 2.0, boot_slots.DEFAULT),
        (None, "qemu", None, boot_slots.DEFAULT),
        (None, None, None, boot_slots.DEFAULT),
        (5, "qemu", 2.0, 5),
        (64, "kvm", 8.0, 64),
    ],
)
def test_left_out_the_limit_is_what_the_host_can_boot(
    parallel: int | None, domain_type: str | None, cores: float | None, limit: int
) -> None:
    assert boot_slots.limit(parallel, domain_type, cores) == limit


@pytest.mark.parametrize("parallel", [1, 3, 8])
def test_never_more_than_the_limit_are_inside_and_the_limit_is_reached(parallel: int) -> None:
    gauge, together = Gauge(), threading.Barrier(parallel)
    where = endpoint(f"192.0.2.{parallel}")

    def boot(_: int) -> None:
        with boot_slots.held(where, parallel), gauge:
            together.wait(PATIENCE)  # full only when as many are inside as may be

    with ThreadPoolExecutor(40) as pool:
        list(pool.map(boot, range(40 // parallel * parallel)))
    assert gauge.most == parallel


def test_hosts_do_not_wait_for_each_other_and_an_address_is_one_host() -> None:
    waits: list[str] = []
    with boot_slots.held(endpoint("192.0.2.101"), 1):
        for free in endpoint("192.0.2.102"), endpoint("192.0.2.101", port=2222):
            with boot_slots.held(free, 1, lambda: waits.append("another")):
                pass
        waiting = threading.Event()
        same = endpoint("192.0.2.101", host="other-name")
        entered = threading.Event()

        def boot() -> None:
            with boot_slots.held(same, 1, waiting.set):
                entered.set()

        thread = threading.Thread(target=boot, daemon=True)
        thread.start()
        assert waiting.wait(PATIENCE)
        assert not entered.wait(0.2)
    thread.join(PATIENCE)
    assert entered.is_set()
    assert waits == []


def test_a_guest_that_fails_gives_its_slot_back() -> None:
    where = endpoint("192.0.2.103")
    with pytest.raises(ValueError, match="boot"), boot_slots.held(where, 1):
        raise ValueError("boot")
    waits: list[str] = []
    with boot_slots.held(where, 1, lambda: waits.append("full")):
        assert waits == []
