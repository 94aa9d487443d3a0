"""A bare machine whose bridge is changed by our provider, and by hand."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from providers.bridge_netfilter import BridgeNetfilterProvider
from providers.errors import LabError
from testbed import Machine
from tests.inputs import inputs_on
from tests.integration import bridges

BRIDGE, PORT, EXTRA_PORT = bridges.BRIDGE, "eth0", "eth1"
_NAME = "bench-by-hand"
_LOG, _STATUS, _NEW_FILE = f"/run/{_NAME}.log", f"/run/{_NAME}.status", f"/root/{_NAME}.interfaces"
_PATIENCE = 90.0
_POLL = 0.2


@dataclass
class Host:
    """The machine, and what our provider has made of bridge and bridge netfilter last; empty: nothing."""

    machine: Machine
    outs: dict[str, Any] = field(default_factory=dict)
    netfilter_outs: dict[str, Any] = field(default_factory=dict)

    def converge(self, options: Mapping[str, object]) -> None:
        """Let our provider make the bridge with these options, and with the defaults of all others."""
        with _quiet():
            if self.outs:
                self.outs = bridges.update(self.machine, self.outs, **options)
            else:
                self.outs = bridges.create(self.machine, **options)

    def netfilter(self, *, enabled: bool) -> None:
        """Let our provider switch bridge netfilter."""
        provider = BridgeNetfilterProvider()
        inputs = {**inputs_on(self.machine), "enabled": enabled, "rollback_timeout": 15}
        with _quiet():
            self.netfilter_outs = dict(provider.create(provider.check({}, inputs).inputs).outs or {})

    def give_back(self) -> None:
        """Let our provider delete the bridge, and bridge netfilter where it has switched it."""
        with _quiet():
            if self.netfilter_outs:
                BridgeNetfilterProvider().delete("x", self.netfilter_outs)
            bridges.delete(self.outs)
        self.outs, self.netfilter_outs = {}, {}

    def interfaces(self) -> str:
        """Return the machine's interfaces(5) file."""
        return self.machine.ssh(["cat", bridges.INTERFACES]).stdout

    def change_by_hand(self, text: str, *, down: str, up: str) -> None:
        """Put this interfaces(5) file in place between ifdown and ifup; returns once the machine has done it.

        Raises:
            LabError: a command failed, or the machine did not answer any more.
        """
        self.machine.ssh(["sh", "-c", f"cat >{_NEW_FILE} && rm -f {_STATUS}"], stdin=text)
        change = f"ifdown {down} && cp {_NEW_FILE} {bridges.INTERFACES} && ifup {up}"
        script = f"{{ {change}; }} >{_LOG} 2>&1; echo $? >{_STATUS}"
        # as a shell in screen(1) would: it goes on when the connection breaks
        self.machine.ssh(["systemd-run", "--quiet", "--collect", f"--unit={_NAME}", "sh", "-c", script])
        status = self._status_by_hand()
        if status != "0":
            seen = self.machine.ssh(["cat", _LOG]).stdout if status else f"no answer in {_PATIENCE:.0f} s"
            raise LabError(
                f"{self.machine.name}: {change}", seen, "run it again; the machine is a new one then"
            )

    def _status_by_hand(self) -> str:
        """Return the exit status of what was done by hand, once it is over; empty: it is not."""
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if status := self.machine.ssh(["cat", _STATUS], check=False).stdout.strip():
                return status
            time.sleep(_POLL)
        return ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the provider's progress off the terminal; its errors carry all that matters."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
