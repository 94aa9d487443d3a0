"""The commands behind the make targets, each from its first check to what it prints at the end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from config import NAMESPACE, Guest, Host, Lab
from lab import reviewing
from lab.glances import NoAnswer
from lab.look import look_at_hosts
from lab.outlooks import report
from lab.report import SSH_PORT, HostRow, Login, logins, table
from lab.settings import Settings
from lab.stack import engine_of, foreign_hosts, machines_of, stack_arguments, testbed_of
from lab.terminal import colours, say
from providers.errors import LabError
from providers.transport import connect
from testbed import Spec, Testbed, image
from testbed.lab import locked

ROW_TIMEOUT = 5.0
"""Seconds to log in to a host for its row of the table."""


def up(settings: Settings) -> int:
    """Start what the stack needs, run `pulumi up`, and print the hosts, the guests and how to log in."""
    start = time.monotonic()
    check_stack_file(settings, "up")
    with locked(testbed_of(settings)) as bed:
        lab = prepare(settings, bed, bed.start)
        engine = engine_of(settings)
        refresh = ["--refresh"] if settings.refresh else []
        arguments = [*refresh, *stack_arguments(settings, engine)]
        if not reviewing.let_pass(settings, engine, refresh):
            return reviewing.HELD_UP
        # a host that is down, or a guest that does not boot, keeps no other from being made
        status = engine.run(["up", "--yes", "--skip-preview", "--continue-on-error", *arguments])
        if status == 0:
            show(settings, lab, engine.outputs(settings.stack))
            say(f"up took {time.monotonic() - start:.0f} s")
        return status


def preview(settings: Settings) -> int:
    """Run `pulumi preview`, which contacts no host, then look at the hosts; no machine is started.

    The preview compares with Pulumi's state, as `make up` does; the look compares with the hosts, as
    `make up REFRESH=1` does. Its status is that of `pulumi preview`.
    """
    check_stack_file(settings, "preview")
    with locked(testbed_of(settings)) as bed:
        lab = prepare(settings, bed, bed.enrol)
        engine = engine_of(settings)
        status = engine.run(["preview", *stack_arguments(settings, engine)])
        if status == 0:
            sys.stdout.write("\n")
            show_outlooks(settings, lab, {})
        return status


def look(settings: Settings) -> int:
    """Look at the hosts of any stack file, in the testbed or not: what would change of their network.

    The status is 0 whatever was seen, a host that does not answer or would be refused too: it is all told.
    Of local files only those of logins are read; one that is missing keeps from its host alone.
    """
    lab, unread = lab_without_files(settings)
    show_outlooks(settings, lab, unread)
    return 0


def machines(settings: Settings) -> int:
    """Start the testbed's bare machines and print how to log in to them."""
    check_stack_file(settings, "machines")
    with locked(testbed_of(settings)) as bed:
        started = bed.start(machines_of(settings))
    logins_of_started = [
        Login(m.name, m.address, m.port, m.user, shortened(Path(m.identity_file), settings), m.host_keys)
        for m in started
    ]
    print_logins(settings, logins_of_started)
    return 0


def down(settings: Settings) -> int:
    """End the testbed: a run that still goes on, all machines, the network, the state of all its stacks."""
    refuse_foreign_hosts(settings, "down")
    testbed_of(settings).stop()
    return 0


def side_by_side(*steps: Callable[[], object]) -> None:
    """Run independent steps at once; when one fails the others still end before its error is raised."""
    with ThreadPoolExecutor(len(steps)) as pool:
        for running in [pool.submit(step) for step in steps]:
            running.result()


def check_stack_file(settings: Settings, command: str) -> None:
    """Find every mistake that the stack file alone shows, before anything is built or started.

    Raises:
        ConfigError: with every mistake.
        LabError: it has hosts outside the testbed.
    """
    Lab.from_stack_file(settings.stack_file, root=settings.root, check_files=False)
    refuse_foreign_hosts(settings, command)


def prepare(settings: Settings, bed: Testbed, bring: Callable[[list[Spec]], object]) -> Lab:
    """Build what is missing, and `bring` the machines as far as they are needed; return the lab.

    Raises:
        LabError: something of it failed; a ConfigError names every local file that is not as it must be.
    """
    side_by_side(
        lambda: build_engine(settings),
        lambda: image.build(settings.images, bed.cache, bed.directory),
        lambda: bring(machines_of(settings)),
    )
    return Lab.from_stack_file(settings.stack_file, root=settings.root)


def refuse_foreign_hosts(settings: Settings, command: str) -> None:
    """Stop unless every host of the stack is a machine of the testbed.

    Raises:
        LabError: the stack file has other hosts; nothing was touched.
    """
    foreign = foreign_hosts(settings)
    if not foreign:
        return
    pulumi = {"down": "destroy", "preview": "preview"}.get(command, "up")
    remedy = (
        f"make {command} touches the testbed only; for these hosts (README.md, Real machines): "
        f"pulumi {pulumi} --stack {settings.stack}"
    )
    if command == "preview":
        remedy += f"\nand to see what that would do to these hosts: make look STACK={settings.stack}"
    if command == "down":
        remedy += "\nthe testbed itself ends with: .lab/venv/bin/python -m testbed down"
    raise LabError(
        f"make {command} STACK={settings.stack}",
        f"not machines of the testbed ({settings.network}): {', '.join(foreign)}",
        remedy,
    )


def build_engine(settings: Settings) -> None:
    """Build what is missing of the engine and its plugins.

    Raises:
        LabError: the build failed; it has printed why.
    """
    argv = [str(settings.root / "toolchain/build"), str(settings.root / ".lab/bin")]
    if subprocess.run(argv, check=False, cwd=settings.root).returncode != 0:
        raise LabError("build the engine", "the lines above", "mend what they name, then run the same again")


def show(settings: Settings, lab: Lab, outputs: dict[str, Any]) -> None:
    """Print the table of the hosts as they are now, and an ssh command for every machine."""
    with ThreadPoolExecutor() as pool:
        types = [outputs["hosts"][host.name]["domain_type"] for host in lab.hosts]
        rows = list(pool.map(row_of, lab.hosts, types))
    sys.stdout.write(f"\n{table(rows)}\n\n")
    guests = [
        login_of_guest(host, guest, outputs["guests"][guest.name]["host_key"]) for host, guest in lab.guests
    ]
    print_logins(settings, [*(login_of(host) for host in lab.hosts), *guests])


def row_of(host: Host, domain_type: str) -> HostRow:
    """Return a host's row, with the ports that its bridge has now (sysfs, brif)."""
    with connect(host.endpoint, timeout=ROW_TIMEOUT) as session:
        ports = session.run(["ls", f"/sys/class/net/{host.bridge.name}/brif"]).stdout.split()
    guests = tuple(f"{guest.name} {guest.address.ip}" for guest in host.guests)
    return HostRow(host.name, domain_type, host.bridge.name, tuple(ports), guests)


def show_outlooks(settings: Settings, lab: Lab, unread: Mapping[str, LabError]) -> None:
    """Print what `pulumi up --refresh` would change of the hosts' network as it is now; they are only read.

    `unread` are hosts whose login is not known, with the reason.
    """
    start = time.monotonic()
    sights = look_at_hosts(lab, NAMESPACE, settings.stack, {**unread, **hosts_off(settings)})
    sys.stdout.write(f"{report(sights, colour=colours())}\n")
    sys.stdout.flush()
    say_read(sum(sight.error is None for sight in sights), len(sights), start)


def lab_without_files(settings: Settings) -> tuple[Lab, dict[str, LabError]]:
    """Return the lab, of local files only known_hosts being read, and the hosts whose keys those lack."""
    lab = Lab.from_stack_file(settings.stack_file, root=settings.root, check_files=False)
    hosts, unread = [], {}
    for host in lab.hosts:
        try:
            hosts.append(host.with_known_hosts(settings.root))
        except LabError as error:
            hosts.append(host)
            unread[host.name] = error
    return lab.model_copy(update={"hosts": tuple(hosts)}), unread


def hosts_off(settings: Settings) -> dict[str, LabError]:
    """Return the stack's machines of a testbed that is off, with what is to be told of them."""
    inside = machines_of(settings)
    # without its network nothing fences what is sent to these addresses
    off = inside if inside and not testbed_of(settings).network.standing() else []
    remedy = f"make machines STACK={settings.stack} starts its machines"
    if foreign_hosts(settings):
        remedy = "make machines starts those of a stack that has no others"
    return {host.name: NoAnswer(host.name, f"the testbed is off; {remedy}", remedy) for host in off}


def say_read(read: int, hosts: int, start: float) -> None:
    """Print how many hosts were read since `start`, by time.monotonic()."""
    say(f"read {read} of {hosts} hosts in {time.monotonic() - start:.1f} s; nothing was changed")


def print_logins(settings: Settings, machines: list[Login]) -> None:
    """Write the known_hosts file of `machines` and print their ssh commands."""
    known_hosts = settings.testbed / f"known_hosts.{settings.stack}"
    known_hosts.write_text("".join(machine.known_hosts() for machine in machines))
    sys.stdout.write(logins(machines, shortened(known_hosts, settings)) + "\n")


def login_of(host: Host) -> Login:
    """Return how to log in to a host."""
    return Login(host.name, host.address, host.port, host.user, host.identity_file, host.pinned_keys)


def login_of_guest(host: Host, guest: Guest, *host_keys: str) -> Login:
    """Return how to log in to a guest: with the host's key file where the guest knows it, else ssh's own."""
    identity = host.identity_file
    if identity is None or public_half(identity) not in guest.authorized_keys:
        identity = None
    return Login(guest.name, str(guest.address.ip), SSH_PORT, guest.user, identity, host_keys, "guest")


def public_half(identity_file: str) -> str:
    """Return the public key, "type base64", of a private key's file; empty when it cannot be read."""
    argv = ["ssh-keygen", "-y", "-P", "", "-f", str(Path(identity_file).expanduser())]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return " ".join(done.stdout.split()[:2])


def shortened(path: Path, settings: Settings) -> str:
    """Return a path as one would type it in the project folder."""
    return str(path.relative_to(settings.root) if path.is_relative_to(settings.root) else path)
