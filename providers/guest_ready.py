"""kvm:GuestReady - a guest answers on its address with the SSH host key that its seed gave it."""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import pulumi
from pydantic import Field, IPvAnyAddress

from providers.base import HostInputs, HostProvider, HostResource
from providers.errors import LabError, tail
from providers.libvirt_host import VIRSH
from providers.transport import ConnectError, Session, connect, fingerprint

READY_TIMEOUT = 300.0
PAUSE = 3.0  # seconds between two looks
LOOK_TIMEOUT = 10.0
REFRESH_TIMEOUT = 5.0
OTHER_KEY_GRACE = 20.0  # an image may show a key of its own until cloud-init has run
CONSOLE_BYTES = 16384
CONSOLE_LINES = 17
ENDED = ("shut off", "crashed")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Za-z0-9]|[^\n\t\x20-\x7e\u00a0-\uffff]")


class GuestReadyInputs(HostInputs):
    """A guest, and by what it is known."""

    guest: str
    domain: str
    """Its name in libvirt."""
    address: IPvAnyAddress
    """Where its SSH server answers; reached from the host, not from here."""
    public_key: str = Field(pattern="^ssh-ed25519 [A-Za-z0-9+/=]+$")
    """The only host key that is believed."""
    console_log: str
    """File on the host with what the guest writes on its serial console."""
    timeout: float = Field(default=READY_TIMEOUT, gt=0)
    """Seconds to wait for it; without hardware virtualisation a boot takes minutes."""
    domain_id: str
    """Identity of the domain: another one must become ready again."""
    seed: str
    """Digest of the guest's seed."""
    ready: bool = True
    """It answers; a refresh tells when it does not."""


class GuestReadyProvider(HostProvider[GuestReadyInputs]):
    """Waits for guests. Changes nothing in them."""

    inputs_model: ClassVar[type[HostInputs]] = GuestReadyInputs
    stays_on_host: ClassVar[bool] = True

    def create_thing(self, inputs: GuestReadyInputs) -> tuple[str, dict[str, Any]]:
        """Wait until the guest answers."""
        with (
            connect(inputs.endpoint) as session,
            self.phase(inputs, f"{inputs.guest}: wait until it answers at {inputs.address}"),
        ):
            _wait(session, inputs)
        return inputs.domain, {}

    def read_thing(self, inputs: GuestReadyInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Take one short look; a guest that is silent, or another one, is not `ready`."""
        with connect(inputs.endpoint) as session:
            key, _ = _look(session, inputs, REFRESH_TIMEOUT)
        return {"ready": key == inputs.public_key}

    def update_thing(self, olds: GuestReadyInputs, news: GuestReadyInputs) -> dict[str, Any]:
        """Wait until the guest answers again."""
        extra = self.create_thing(news)[1]
        if olds.domain_id == news.domain_id and olds.seed != news.seed:
            self.progress(news, f"{news.guest}: its edited seed takes effect when the guest is rebooted")
        return extra

    def delete_thing(self, inputs: GuestReadyInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Remove the console's log, which libvirt leaves behind, and its older parts (.0, .1, …)."""
        folder = posixpath.dirname(inputs.console_log)
        parts = f"{re.escape(inputs.console_log)}(\\.[0-9]+)?"
        argv = ["find", folder, "-maxdepth", "1", "-regextype", "posix-extended", "-regex", parts, "-delete"]
        with connect(inputs.endpoint) as session:
            session.run(argv)


class GuestReady(HostResource, module="kvm", name="GuestReady"):
    """A guest that answers.

    Args:
        name: the resource's name.
        props: see GuestReadyInputs.
        opts: as for every resource.
    """

    def __init__(
        self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        # all inputs are given: while one is not known yet, the plan would show those left out as dropped
        super().__init__(
            GuestReadyProvider(), name, {"timeout": READY_TIMEOUT, "ready": True, **props}, opts=opts
        )


def _wait(session: Session, inputs: GuestReadyInputs) -> None:
    """Return when the guest shows its key.

    Raises:
        LabError: it did not within its time, its domain ended, or something else answers in its place.
    """
    began = time.monotonic()
    other_since: float | None = None
    while True:
        left = inputs.timeout - (time.monotonic() - began)
        key, reason = _look(session, inputs, max(min(LOOK_TIMEOUT, left), 1.0))
        if key == inputs.public_key:
            return
        now = time.monotonic()
        other_since = (other_since or now) if key else None
        if key and other_since is not None and now - other_since >= OTHER_KEY_GRACE:
            _refuse_other(inputs, key)
        state = _domain_state(session, inputs)
        if state in ENDED or now - began >= inputs.timeout:
            _give_up(session, inputs, f"after {now - began:.0f} s: {reason}", state)
        time.sleep(PAUSE)


def _look(session: Session, inputs: GuestReadyInputs, timeout: float) -> tuple[str | None, str]:
    """Return the key that is shown at the guest's address, or None and why there is none."""
    try:
        key = session.server_host_key(str(inputs.address), timeout=timeout)
    except ConnectError as error:
        return None, error.seen
    return key, f"it shows the host key {fingerprint(key)}"


def _domain_state(session: Session, inputs: GuestReadyInputs) -> str:
    asked = session.run([*VIRSH, "domstate", "--domain", inputs.domain], check=False)
    return asked.stdout.strip() or asked.stderr.strip()


def _refuse_other(inputs: GuestReadyInputs, key: str) -> NoReturn:
    raise LabError(
        _asked(inputs),
        f"{inputs.address} shows the SSH host key {fingerprint(key)}, "
        f"the guest was given {fingerprint(inputs.public_key)}",
        "look whether another machine has that address, a guest of another stack for one. A guest that was "
        "renamed, or moved from another host, is still there under its old name: take it out of the stack "
        "file, run `pulumi up` (its disk is deleted), and write it again. "
        "Or the image's cloud-init does not apply its seed",
    )


def _give_up(session: Session, inputs: GuestReadyInputs, reason: str, state: str) -> NoReturn:
    log = session.run(["tail", "-c", str(CONSOLE_BYTES), "--", inputs.console_log], check=False).stdout
    console = tail(_CONTROL.sub("", log).strip(), CONSOLE_LINES) or "[nothing]"
    raise LabError(
        _asked(inputs),
        f"{reason}; its domain {inputs.domain} is: {state}\n"
        f"its console ({inputs.console_log}) ends with\n{console}",
        "the console tells how far it came; `virsh console` shows it live. "
        "Look whether the image has cloud-init and an SSH server; the next `pulumi up` waits again",
    )


def _asked(inputs: GuestReadyInputs) -> str:
    return f"{inputs.endpoint.host}: wait until guest {inputs.guest} answers at {inputs.address}"
