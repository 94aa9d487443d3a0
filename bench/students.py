"""How long students' environments take to make and to reset, beside a shell loop on the same host.

The loop is what is at hand without us: qemu-img, cloud-localds and virt-install, one guest after the other,
in one shell on the host. Its guests have the same image, seed, memory and devices. Both sides are made,
reset and started in turns, on one machine of the testbed that is a hypervisor already, and watched from here.
"""

from __future__ import annotations

import itertools
import os
import platform
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Literal

from bench import loop
from bench.answers import Timing, timed
from bench.classroom import (
    HOST,
    HOST_ADDRESS,
    MEMORY_MIB,
    PATIENCE,
    RANGE,
    STACK,
    TESTBED_BRIDGE,
    USER,
    Classroom,
    address,
)
from bench.student_report import Class, Round, Steps
from config import mac_address
from providers.errors import LabError
from providers.ssh_host_key import SshHostKeyProvider
from providers.state import cloudinit
from testbed import Testbed
from testbed.lab import CACHE

DIRECTORY = Path(".lab/bench-students")
LEGEND = """\
answer: from the command to the last guest's SSH banner, looked for each 0.5 s;
silent: the guest's server was gone; ended: the command was over. create, us:
pulumi up as make up runs it; loop: qemu-img, cloud-localds, virt-install, in a
shell on the host. reset, us: make reset, which shuts the guest down and keeps
its disk; loop: virsh destroy, qemu-img, virsh start. 1st boot: virsh start of
our guest with an empty disk. Reset and boot: of one guest, the others at rest;
of ours two each, reset, boot, boot, reset, as the machine's speed drifts.
>: not all answered within half an hour after the command; nothing more of them."""
_OURS, _LOOPS = 121, 21

Turn = Literal["reset", "boot"]


@dataclass(frozen=True)
class _Side:
    """One way to handle guests.

    Attributes:
        name: of the side, for progress.
        domains: the guests' names in libvirt.
        addresses: where they answer.
        create: makes all of them.
        host_key: returns the last one's, once it is made.
        reset: gives the last one a new disk.
        remove: takes all away.
        turns: the last one's resets and first boots, in order.
        give_up: whether the rest is left out when not all that were made come up; else that is an error.
    """

    name: str
    domains: Sequence[str]
    addresses: Sequence[str]
    create: Callable[[], object]
    host_key: Callable[[], str]
    reset: Callable[[], object]
    remove: Callable[[], object]
    turns: Sequence[Turn]
    give_up: bool = False


def measure(counts: Sequence[int], rounds: int) -> tuple[list[Class], str]:
    """Make a hypervisor of the bench's own, and measure both sides with so many guests each, in rounds.

    Returns:
        the figures, and what they depend on besides the program.

    Raises:
        LabError: something did not come up, or a command failed.
    """
    bed = Testbed(DIRECTORY, bridge=TESTBED_BRIDGE, subnet=RANGE, cache=CACHE)
    try:
        _say("a machine of the testbed becomes a hypervisor")
        room = Classroom(bed)
        room.equip()
        facts = _machine_facts(room.plan().domain_type)
        turns = itertools.cycle((True, False))
        classes = [
            Class(count, [_both(room, count, we_begin=next(turns)) for _ in range(rounds)])
            for count in counts
        ]
        return classes, facts
    finally:
        bed.stop()


def _machine_facts(domain_type: str) -> str:
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    kind = "kvm" if domain_type == "kvm" else "emulated"
    return (
        f"kernel {platform.release()}, {os.cpu_count()} cores, {memory:.0f} GiB; "
        f"guests {kind}, {MEMORY_MIB} MiB each"
    )


def _both(room: Classroom, count: int, *, we_begin: bool) -> Round:
    if we_begin:
        ours = _steps(room, _ours(room, count))
        return Round(ours, _steps(room, _loop(room, count)))
    by_loop = _steps(room, _loop(room, count))
    return Round(_steps(room, _ours(room, count)), by_loop)


def _steps(room: Classroom, side: _Side) -> Steps:
    """Make the guests of one side, give the last of them new disks in turns, and take all away again."""
    count = len(side.domains)
    _say(f"{count} by {side.name}: create")
    create = timed(side.create, side.addresses, patience=PATIENCE, give_up=side.give_up)
    _say_seen(create)
    new_disks: dict[Turn, list[Timing]] = {"reset": [], "boot": []}
    if not create.missing:
        host_key = side.host_key()
        for turn in side.turns:
            new_disks[turn].append(_new_disk(room, side, host_key, turn))
        room.settle(count)
    _say(f"{count} by {side.name}: remove")
    side.remove()
    return Steps(create, new_disks["reset"], new_disks["boot"])


def _new_disk(room: Classroom, side: _Side, host_key: str, turn: Turn) -> Timing:
    """Give the last guest a new disk, all being at rest before, and return how long it took."""
    domain, last = side.domains[-1], side.addresses[-1]
    room.in_guest(last, host_key, "touch marker && sync")
    room.settle(len(side.domains))
    _say(f"{len(side.domains)} by {side.name}: {turn} of 1")
    if turn == "boot":
        timing = room.first_boot(domain, last)
    else:
        timing = timed(side.reset, [last], patience=PATIENCE, anew=True)
    _say_seen(timing)
    if seen := room.in_guest(last, host_key, "ls"):
        raise LabError(f"{turn} of {domain}", f"it still has: {seen}", "find out why; its disk was not new")
    return timing


def _ours(room: Classroom, count: int) -> _Side:
    names = [f"g1s{number + 1}" for number in range(count)]

    def up(students: int) -> None:
        room.write_stack(first=_OURS, count=students)
        room.pulumi_up()

    return _Side(
        "us",
        domains=[f"{STACK}-{name}" for name in names],
        addresses=[address(_OURS + number) for number in range(count)],
        create=lambda: up(count),
        host_key=lambda: str(room.engine.outputs(STACK)["guests"][names[-1]]["host_key"]),
        reset=lambda: room.make("reset", "--student", names[-1]),
        remove=lambda: up(0),
        turns=("reset", "boot", "boot", "reset"),
    )


def _loop(room: Classroom, count: int) -> _Side:
    names = [f"loop{number + 1}" for number in range(count)]
    addresses = [address(_LOOPS + number) for number in range(count)]
    key = dict(SshHostKeyProvider().create({}).outs or {})
    login_key = (room.bed.directory / "id_ed25519.pub").read_text().strip()
    plan = room.plan()
    guests = [_loop_guest(name, where, login_key, key) for name, where in zip(names, addresses, strict=True)]
    return _Side(
        "loop",
        domains=names,
        addresses=addresses,
        create=lambda: room.on_host(loop.create(plan, guests)),
        host_key=lambda: str(key["public_key"]),
        reset=lambda: room.on_host(loop.reset(plan, names[-1])),
        remove=lambda: room.on_host(loop.remove(names)),
        turns=("reset",),
        give_up=True,  # a class may be too many for it: nothing holds them back from booting all at once
    )


def _loop_guest(name: str, where: str, login_key: str, host_key: dict[str, str]) -> loop.LoopGuest:
    """Return a guest of the loop, with the seed that ours would have."""
    mac = mac_address(f"{STACK}-loop", name)
    identity = cloudinit.GuestIdentity(
        hostname=name,
        user=USER,
        ssh_keys=(login_key,),
        host_private_key=host_key["private_key"],
        host_public_key=host_key["public_key"],
    )
    network = cloudinit.GuestNetwork(mac=mac, address=IPv4Interface(f"{where}/{RANGE.prefixlen}"))
    setup = cloudinit.GuestSetup(hosts={where: name, HOST_ADDRESS: HOST})
    return loop.LoopGuest(name, mac, cloudinit.render(identity, network, setup))


def _say_seen(timing: Timing) -> None:
    """Tell a figure as soon as there is one: a run may take hours, and be ended before its table."""
    said = f"{timing.missing} silent still" if timing.missing else "answered"
    _say(f"  {said} after {timing.answer:.1f} s, the command took {timing.command:.1f} s")


def _say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
