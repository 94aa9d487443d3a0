"""Packets lost and seconds of outage of each change of a host's network, beside the same made by hand.

By hand is what an expert types: ifdown, the new file put in place, ifup, in a shell that does not depend on
the connection. Both are made in turns, on one bare machine, with the same files, and watched by a ping from
here.
"""

from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path

from bench.host import BRIDGE, EXTRA_PORT, PORT, Host
from bench.report import Outage, Row
from providers.errors import LabError
from testbed import Spec, Testbed
from testbed.lab import CACHE
from testbed.ping import Ping
from tests.integration.bridges import hanging_client, wait_for_phase, wait_until_undone

DIRECTORY = Path(".lab/bench")
TESTBED_BRIDGE = "labbench"
RANGE = IPv4Network("198.18.250.0/24")
LEGEND = """\
A request each 10 ms; lost: no answer within 0.5 s. By hand: ifdown, the file
that we have made, ifup; a rollback there is a takeover, back a give-back.
takeover, plain: by hand without our file's bridge_hw, which keeps the bridge's
address and lets bridge-utils sleep for 1 s. STP on: a port that forwards
already goes on; by hand it joins anew, listens and learns."""
_ROLLBACK_PATIENCE = 60.0

Make = Callable[[Host], None]
"""Lets our provider bring the host into a state, whatever it is now."""


@dataclass(frozen=True)
class LiveChange:
    """A change that takes nothing down, from one state of the host's bridge to another."""

    name: str
    before: Make
    after: Make
    by_hand: bool = True
    """Whether ifdown and ifup are a way to make it by hand."""


def _bridge(**options: object) -> Make:
    """Return what makes the bridge with these options."""
    return lambda host: host.converge(options)


def _netfilter(*, enabled: bool) -> Make:
    """Return what makes the bridge with its defaults, and bridge netfilter so."""

    def make(host: Host) -> None:
        host.converge({})
        host.netfilter(enabled=enabled)

    return make


# The longer timeout leaves time for listening and learning, as it must with STP.
_stp = _bridge(stp=True, forward_delay=2, rollback_timeout=30)
LIVE_CHANGES = (
    LiveChange("STP on, delay 2 s", _bridge(), _stp),
    LiveChange("STP off, delay 0", _stp, _bridge()),
    LiveChange("delay 0 to 4 s", _bridge(), _bridge(forward_delay=4)),
    LiveChange("max_wait 0 to 5 s", _bridge(), _bridge(max_wait=5)),
    LiveChange("dns_search", _bridge(), _bridge(dns_search=["lab.example"])),
    LiveChange("port added", _bridge(), _bridge(extra_ports=[EXTRA_PORT])),
    LiveChange("port removed", _bridge(extra_ports=[EXTRA_PORT]), _bridge()),
    LiveChange("netfilter on", _netfilter(enabled=False), _netfilter(enabled=True), by_hand=False),
    LiveChange("netfilter off", _netfilter(enabled=True), _netfilter(enabled=False), by_hand=False),
)


@dataclass(frozen=True)
class Result:
    """What each kind of change cost."""

    takeover: Row
    plain_takeover: Row
    """The same takeover, beside one by hand with a file without bridge_hw."""
    there: Row
    back: Row
    give_back: Row
    live: tuple[Row, ...]

    @property
    def rows(self) -> list[Row]:
        """All of them, in the order in which they are shown."""
        return [self.takeover, self.plain_takeover, self.there, self.back, self.give_back, *self.live]


def measure(rounds: int) -> Result:
    """Start a machine of the bench's own, make every change in each round, and return what each cost.

    Raises:
        LabError: the machine did not come up, or a change failed.
    """
    with Testbed(DIRECTORY, bridge=TESTBED_BRIDGE, subnet=RANGE, cache=CACHE) as bed:
        (machine,) = bed.start([Spec(name="bench", address=RANGE.network_address + 11, nics=2)])
        install = "apt-get -q update && apt-get -qy install --no-install-recommends bridge-utils"
        machine.ssh(["sh", "-c", install])
        # the second card is a cable to nowhere: on the network of eth0 it would close a loop
        unplug = ["ip", "link", "set", machine.cables[1], "nomaster"]
        subprocess.run(unplug, check=True, capture_output=True, text=True)
        _say("every change once, for its files")
        bench = _Bench(Host(machine))
        for number in range(rounds):
            _say(f"round {number + 1} of {rounds}")
            bench.round(we_begin=number % 2 == 0)
        return bench.result


class _Bench:
    """The rounds on one host; it is bare before and after each."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.bare = host.interfaces()
        host.converge({})
        self.bridged = host.interfaces()
        changed = [self._file_of(change) for change in LIVE_CHANGES]
        host.give_back()
        takeover, give_back = Row("takeover"), Row("give-back")
        self.result = Result(
            takeover=takeover,
            plain_takeover=Row("takeover, plain", ours=takeover.ours),
            # a rollback by hand: there as a takeover, back as a give-back
            there=Row("rollback: there", by_hand=takeover.by_hand),
            back=Row("rollback: back", by_hand=give_back.by_hand),
            give_back=give_back,
            live=tuple(Row(change.name) for change in LIVE_CHANGES),
        )
        self.live = tuple(zip(LIVE_CHANGES, changed, self.result.live, strict=True))

    def round(self, *, we_begin: bool) -> None:
        """Make every change once by our provider and once by hand, each from the same state."""
        turns = (self._we_take_over, self._take_over_by_hand, self._take_over_plainly)
        for turn in turns if we_begin else reversed(turns):
            turn()
        self._roll_back()
        live_turns = (self._we_change_live, self._change_by_hand)
        for change, text, row in self.live:
            for live_turn in live_turns if we_begin else reversed(live_turns):
                live_turn(change, text, row)
        self.host.give_back()

    def _file_of(self, change: LiveChange) -> str:
        change.after(self.host)
        return self.host.interfaces()

    def _we_take_over(self) -> None:
        with self._watched(self.result.takeover.ours):
            self.host.converge({})
        self._expect_file(self.bridged)
        with self._watched(self.result.give_back.ours):
            self.host.give_back()
        self._expect_file(self.bare)

    def _take_over_by_hand(self) -> None:
        with self._watched(self.result.takeover.by_hand):
            self.host.change_by_hand(self.bridged, down=PORT, up=BRIDGE)
        with self._watched(self.result.give_back.by_hand):
            self.host.change_by_hand(self.bare, down=BRIDGE, up=PORT)

    def _take_over_plainly(self) -> None:
        """Take over by hand without the line after which bridge-utils' own script sleeps for a second."""
        lines = self.bridged.splitlines(keepends=True)
        text = "".join(line for line in lines if "bridge_hw" not in line)
        with self._watched(self.result.plain_takeover.by_hand):
            self.host.change_by_hand(text, down=PORT, up=BRIDGE)
        self.host.change_by_hand(self.bare, down=BRIDGE, up=PORT)

    def _roll_back(self) -> None:
        """Take over by a client that never confirms, and wait until the host has gone back."""
        machine = self.host.machine
        with Ping(machine.address).running() as ping:
            with hanging_client(machine):
                wait_for_phase(machine, "applied")
                there = time.monotonic()
            wait_until_undone(machine, _ROLLBACK_PATIENCE)
        self.result.there.ours.append(Outage.of(ping.between(0, there)))
        self.result.back.ours.append(Outage.of(ping.between(there, math.inf)))

    def _we_change_live(self, change: LiveChange, text: str, row: Row) -> None:
        change.before(self.host)
        with self._watched(row.ours):
            change.after(self.host)
        self._expect_file(text)

    def _change_by_hand(self, change: LiveChange, text: str, row: Row) -> None:
        if change.by_hand:
            change.before(self.host)
            with self._watched(row.by_hand):
                self.host.change_by_hand(text, down=BRIDGE, up=BRIDGE)

    @contextmanager
    def _watched(self, outages: list[Outage]) -> Iterator[None]:
        """Ping the host during the block, and add what was seen."""
        with Ping(self.host.machine.address).running() as ping:
            yield
        outages.append(Outage.of(ping))

    def _expect_file(self, wanted: str) -> None:
        if self.host.interfaces() != wanted:
            raise LabError(
                "bench: compare with the same files",
                "our own change has made another file than in the first place",
                "find out what differs: the comparison would not be fair",
            )


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
