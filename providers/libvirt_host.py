"""kvm:LibvirtHost - libvirt's daemon answers on a host; what kind of guests it can run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import pulumi

from providers import records
from providers.base import HostInputs, HostProvider, HostResource
from providers.errors import LabError
from providers.state import virsh
from providers.state.record import Record
from providers.state.virsh import VIRSH
from providers.transport import Session, connect

KIND = "libvirt"
KEY = "daemon"
PROBE_TIMEOUT = 120.0  # the first question after an installation makes libvirt try every emulator
# by preference: one daemon for everything, then the daemon for QEMU alone
SOCKETS = ("libvirtd.socket", "virtqemud.socket")


class LibvirtHostInputs(HostInputs):
    """A host that has libvirt installed."""

    active: bool = True
    """Its daemon answers; a refresh tells when it does not."""


class LibvirtHostProvider(HostProvider[LibvirtHostInputs]):
    """Starts libvirt's daemon where it is installed and does not run. Changes none of its settings."""

    inputs_model: ClassVar[type[HostInputs]] = LibvirtHostInputs

    def create_thing(self, inputs: LibvirtHostInputs) -> tuple[str, dict[str, Any]]:
        """Start the daemon if need be, claim it, ask what it can do."""
        with connect(inputs.endpoint) as session:
            with session.lock(KIND):
                record = records.load(session, KIND, KEY)
                running = _answers(session)
                if record is None:
                    record = Record(kind=KIND, key=KEY, adopted=running)
                if not running:
                    socket = _installed_socket(session)
                    record = record.with_facts(socket=socket)
                    self.progress(inputs, f"start {socket}")
                    session.run(["systemctl", "enable", "--now", socket])
                records.save(session, record.claimed(inputs.stack, True))
            return inputs.endpoint.host, _describe(session)

    def read_thing(self, inputs: LibvirtHostInputs, outs: Mapping[str, Any]) -> dict[str, Any] | None:
        """Gone is a daemon that this stack does not claim; one that is silent is not `active`."""
        with connect(inputs.endpoint) as session:
            record = records.load(session, KIND, KEY)
            if record is None or inputs.stack not in record.claims:
                return None
            if not _answers(session):
                return {**outs, "active": False}
            return {"active": True, **_describe(session)}

    def update_thing(self, olds: LibvirtHostInputs, news: LibvirtHostInputs) -> dict[str, Any]:
        """Start it again; a stack with another name claims it anew."""
        extra = self.create_thing(news)[1]
        if olds.stack != news.stack:
            self.delete_thing(olds, {})
        return extra

    def delete_thing(self, inputs: LibvirtHostInputs, outs: Mapping[str, Any]) -> None:  # noqa: ARG002
        """Drop the claim; with the last one a daemon that did not run before is stopped."""
        with connect(inputs.endpoint) as session, session.lock(KIND):
            record, others = records.release(session, KIND, KEY, inputs.stack)
            if record is None or others:
                return
            socket = record.facts.get("socket")
            if not record.adopted and isinstance(socket, str):
                service = socket.replace(".socket", ".service")
                session.run(["systemctl", "disable", "--now", socket, service], check=False)
            records.erase(session, KIND, KEY)


class LibvirtHost(HostResource, module="kvm", name="LibvirtHost"):
    """libvirt on a host.

    Args:
        name: the resource's name.
        props: see LibvirtHostInputs.
        opts: as for every resource.

    Attributes:
        domain_type: "kvm" where the host's hardware helps (/dev/kvm can be used), else "qemu".
        libvirt_version: such as "9.0.0".
        hostname: the host's name as libvirt knows it.
        cores: how many the host has for its guests, nproc(1).
    """

    domain_type: pulumi.Output[str]
    libvirt_version: pulumi.Output[str]
    hostname: pulumi.Output[str]
    cores: pulumi.Output[float | None]

    def __init__(
        self, name: str, props: Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        outputs = ("domain_type", "libvirt_version", "hostname", "cores")
        super().__init__(LibvirtHostProvider(), name, props, outputs=outputs, opts=opts)


def _answers(session: Session) -> bool:
    return session.run([*VIRSH, "version"], check=False, timeout=PROBE_TIMEOUT).exit_status == 0


def _installed_socket(session: Session) -> str:
    for socket in SOCKETS:
        if session.run(["systemctl", "cat", "--", socket], check=False).exit_status == 0:
            return socket
    raise LabError(
        f"{session.endpoint.host}: start libvirt",
        f"none of {', '.join(SOCKETS)} is installed",
        "install the package libvirt-daemon-system on the host",
    )


def _describe(session: Session) -> dict[str, Any]:
    version = session.run([*VIRSH, "version"], timeout=PROBE_TIMEOUT).stdout
    capabilities = session.run([*VIRSH, "capabilities"], timeout=PROBE_TIMEOUT).stdout
    hostname = session.run([*VIRSH, "hostname"]).stdout
    return {
        "domain_type": virsh.parse_domain_type(capabilities),
        "libvirt_version": virsh.parse_library_version(version),
        "hostname": hostname.strip(),
        "cores": int(session.run(["nproc"]).stdout),
    }
