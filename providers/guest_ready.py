"""kvm:GuestReady - a guest boots, and answers on its address with the SSH host key that its seed gave it.

libvirt's plugin pauses a new domain as soon as it has started it, and leaves one that is off as it is: all
guests boot from here, a few of a host at once, each once its address is reserved.
"""

from __future__ import annotations

import posixpath
import re
import time
from collections.abc import Mapping
from typing import Any, ClassVar, NoReturn

import pulumi
from pydantic import Field, IPvAnyAddress

from providers import addresses, boot_slots
from providers.base import HostInputs, HostProvider, HostResource
from providers.errors import LabError, tail
from providers.guest_power import domain_state
from providers.state.virsh import ENDED, VIRSH
from providers.transport import ConnectError, Session, connect, fingerprint

READY_TIMEOUT = 300.0
PAUSE = 3.0  # seconds between two looks
LOOK_TIMEOUT = 10.0
REFRESH_TIMEOUT = 5.0
OTHER_KEY_GRACE = 20.0  # an image may show a key of its own until cloud-init has run
CONSOLE_BYTES = 16384
CONSOLE_LINES = 17
STARTS = {"paused": "resume", "shut off": "start"}
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
    """Seconds to wait for it from when it may boot; without hardware virtualisation that takes minutes."""
    domain_id: str
    """Identity of the domain: another one must become ready again."""
    seed: str
    """Digest of the guest's seed."""
    parallel: int = Field(default=boot_slots.DEFAULT, ge=1, le=boot_slots.MOST)
    """How many guests of the host may boot at once."""
    ready: bool = True
    """It answers; a refresh tells when it does not."""


class GuestReadyProvider(HostProvider[GuestReadyInputs]):
    """Starts guests and waits for them. Changes nothing in them."""

    inputs_model: ClassVar[type[HostInputs]] = GuestReadyInputs
    stays_on_host: ClassVar[bool] = True
    hints: ClassVar[frozenset[str]] = frozenset({"parallel"})

    def create_thing(self, inputs: GuestReadyInputs) -> tuple[str, dict[str, Any]]:
        """Reserve the guest's address, let it boot when it is its turn, wait until it answers."""
        self._boot(inputs)
        return inputs.domain, {}

    def read_thing(self, inputs: GuestReadyInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:  # noqa: ARG002
        """Take one short look; a guest that is silent, or another one, is not `ready`."""
        with connect(inputs.endpoint) as session:
            key, _ = _look(session, inputs, REFRESH_TIMEOUT)
        return {"ready": key == inputs.public_key}

    def update_thing(self, olds: GuestReadyInputs, news: GuestReadyInputs) -> dict[str, Any]:
        """Let the guest boot if it does not run, with its address reserved; wait until it answers again."""
        booted = self._boot(news, olds)
        if not booted and olds.domain_id == news.domain_id and olds.seed != news.seed:
            self.progress(news, f"the edited seed takes effect at the next boot of {news.guest}")
        return {}

    def delete_thing(self, inputs: GuestReadyInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Free the address; remove the console's log, which libvirt leaves, and its older parts (.0, …)."""
        folder = posixpath.dirname(inputs.console_log)
        parts = f"{re.escape(inputs.console_log)}(\\.[0-9]+)?"
        argv = ["find", folder, "-maxdepth", "1", "-regextype", "posix-extended", "-regex", parts, "-delete"]
        with connect(inputs.endpoint) as session:
            session.run(argv)
            addresses.release(session, inputs.address, inputs.stack, inputs.guest)

    def _boot(self, inputs: GuestReadyInputs, olds: GuestReadyInputs | None = None) -> bool:
        """Return whether the guest had to be started, once it answers."""
        text = f"{inputs.guest}: waits for its turn, {inputs.parallel} guests of this host boot at once"
        # before a connection is opened: those that wait use nothing of the host's
        with (
            boot_slots.held(inputs.endpoint, inputs.parallel, lambda: self.progress(inputs, text)),
            connect(inputs.endpoint, lasting=True) as session,
            self.phase(inputs, f"{inputs.guest}: wait until it answers at {inputs.address}"),
        ):
            _reserve(session, inputs, olds)
            started = _start(session, inputs)
            _wait(session, inputs)
        return started


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
            GuestReadyProvider(),
            name,
            {"timeout": READY_TIMEOUT, "parallel": boot_slots.DEFAULT, "ready": True, **props},
            opts=opts,
        )


def _reserve(session: Session, inputs: GuestReadyInputs, olds: GuestReadyInputs | None) -> None:
    """Reserve the guest's address, and free the one it had before."""
    if olds is not None and (olds.address, olds.stack) != (inputs.address, inputs.stack):
        addresses.release(session, olds.address, olds.stack, olds.guest)
    addresses.reserve(session, inputs.address, inputs.stack, inputs.guest, inputs.domain)


def _start(session: Session, inputs: GuestReadyInputs) -> bool:
    """Let a guest that does not run boot; return whether it was so."""
    state = domain_state(session, inputs.domain)
    verb = STARTS.get(state)
    if verb is None:
        return False
    done = session.run([*VIRSH, verb, "--domain", inputs.domain], check=False)
    # what goes on of a run that was broken off may have been first
    if done.exit_status != 0 and domain_state(session, inputs.domain) == state:
        raise LabError(
            f"{inputs.endpoint.host}: let guest {inputs.guest} boot (virsh {verb} {inputs.domain})",
            f"{done.stderr.strip()}\nits domain is: {state}",
            "mend what libvirt names on the host; the next `pulumi up` continues",
        )
    return True


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
        state = domain_state(session, inputs.domain)
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
