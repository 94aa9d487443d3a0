"""The program itself as the client: `pulumi up` and `pulumi destroy`, killed while the host changes."""

from __future__ import annotations

import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from providers.errors import LabError
from testbed import processes
from tests.e2e.stack import Outcome, Stack, host_entry
from tests.faults.changes import Change, Prepared
from tests.faults.disturb import Gate
from tests.faults.host import Host
from tests.faults.rig import NEW, OLD, TIMEOUT, Case, Scene
from tests.faults.state import CLAIMS
from tests.integration.bridges import BRIDGE

LIBVIRT = frozenset({"libvirt"})
"""What a machine needs: libvirt is there already, so that the bridge is the first that `up` has to do."""
_STACK = "faults"
_PATIENCE = 10.0


@dataclass(frozen=True)
class ProgramChange(Change):
    """A change made by `pulumi`; other resources of the stack may be made or not when it is killed."""

    def leaves_open(self, difference: str) -> bool:
        """See Change: the claims on packages and libvirt."""
        return difference[1:].startswith(f"file {CLAIMS}/") and f"file {CLAIMS}/bridge/" not in difference

    def converge(self, host: Host, prepared: Prepared, **options: object) -> dict[str, Any]:  # noqa: ARG002
        """See Change."""
        stack = stack_of(host)
        if (stack.folder / "pulumi").exists():
            stack.engine.settle(_STACK)
        if self.operation == "destroy":
            _succeed(stack.pulumi("destroy", "--yes"))
        else:
            _succeed(stack.up())
            _succeed(stack.up("--refresh", "--expect-no-changes"))
        return {}


def stack_of(host: Host) -> Stack:
    """Return the stack with this host alone, and no guests."""
    folder = Path(host.identity_file).parent / f"pulumi-{host.name}"
    bridge = {"name": BRIDGE, "port": "eth0", "rollback_timeout": TIMEOUT}
    return Stack(_STACK, folder, folder, [host_entry(host, bridge=bridge)])


def _succeed(outcome: Outcome) -> None:
    if outcome.status != 0:
        raise LabError("run pulumi", outcome.text, "look at what it says")


def _up(host: Host, **_options: object) -> Prepared:
    _succeed(stack_of(host).up())
    return Prepared()


def _nothing(_host: Host, **_options: object) -> Prepared:
    return Prepared()


def _leave(host: Host) -> None:
    stack = stack_of(host)
    _succeed(stack.pulumi("destroy", "--yes"))
    stack.forget()


UP = ProgramChange("pulumi up", "up", _nothing, _leave)
DESTROY = ProgramChange("pulumi destroy", "destroy", _up, _leave)


def killed(gate: Callable[[Scene], Gate], scene: Scene) -> None:
    """Kill `pulumi` with its plugins and program while the host is held at a point; then let that go on."""
    stack = stack_of(scene.host)
    held = gate(scene)
    scene.begin()
    run = stack.up if scene.change is UP else partial(stack.pulumi, "destroy", "--yes")
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        held.reached()
        while everyone := processes.owned(stack.mark):
            for process in everyone:
                process.signal(signal.SIGKILL)
            processes.await_end(everyone, _PATIENCE)
        assert running.result().status != 0
    held.open()


def _phase(phase: str) -> Callable[[Scene], Gate]:
    return partial(Gate.phase, phase=phase)


CASES = (
    Case("pulumi up killed in phase prepare", UP, partial(killed, _phase("prepare")), OLD, needs=LIBVIRT),
    Case(
        "pulumi up killed while the host confirms",
        UP,
        partial(killed, partial(Gate.verdict, verdict="confirmed")),
        NEW,
        needs=LIBVIRT,
    ),
    Case(
        "pulumi destroy killed in phase prepare",
        DESTROY,
        partial(killed, _phase("prepare")),
        OLD,
        needs=LIBVIRT,
    ),
)
