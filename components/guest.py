"""kvm:index:Guest - a virtual machine on a hypervisor's bridge."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pulumi
import pulumi_libvirt

import config
from components import libvirt
from components.hypervisor import HypervisorHost
from providers.guest_disk import GuestDisk
from providers.guest_ready import GuestReady
from providers.ssh_host_key import SshHostKey
from providers.state import cloudinit
from providers.state.cloudinit import GuestFile, GuestSetup, Seed

_HERE = Path(__file__).parent
OLDEST_WITH_TCG = 8
"""libvirt's first release that knows domain-emulated.xslt's element; older ones refuse it."""
GIB = 2**30
# pulumi-libvirt takes an edit of these for an update, which then changes nothing
REPLACED_BY_EDITS = [
    "disks",
    "networkInterfaces[0].bridge",
    "networkInterfaces[0].mac",
    "bootDevices",
    "machine",
    "qemuAgent",
    "video",
]


def domain_xslt(domain_type: str | None, libvirt_version: str | None) -> str:
    """Return what pulumi-libvirt cannot say of a domain of this type, as a stylesheet for its XML.

    Both are None where the host could not be made and the run goes on without it (--continue-on-error).
    """
    sheet = (_HERE / "domain.xslt").read_text(encoding="utf-8")
    if domain_type != "qemu" or int((libvirt_version or "0").partition(".")[0]) < OLDEST_WITH_TCG:
        return sheet
    # apart: an edit for the one kind leaves the domains of the other as they are
    emulated = (_HERE / "domain-emulated.xslt").read_text(encoding="utf-8")
    return sheet.replace("</xsl:stylesheet>", f"{emulated}</xsl:stylesheet>")


class Guest(pulumi.ComponentResource):
    """A guest with a disk of its own, that boots with its address, user and SSH keys.

    What an edit does: keys, user, gateway and name servers reach the guest at its next boot (a new seed in
    its CD drive; a former user then has no login keys and no sudo any more, its files stay); a larger disk
    takes effect at once; cores, memory, address and bridge need another domain, so the guest is shut down
    and booted again with its disk as it was. Only another generation gives it another disk, and only a new
    disk is made from a rebuilt image. The disks of the generations kept stay as they are, of no domain.

    Args:
        name: the resource's name, the guest's: unique in the stack, so a guest keeps its identity when it
            is moved to another host in the stack file.
        guest: the guest as the stack file describes it.
        on: the hypervisor.
        neighbours: names by address, for its /etc/hosts; empty, that file is the distribution's.
        keeps_image: whether another image is for its next disk; else it is refused for the disk in use.
        opts: as for every resource.

    Attributes:
        address: where its SSH server answers.
        user: who may log in there.
        host_key: its SSH host key, "ssh-ed25519 AAAA…".
        domain_type: "kvm", or "qemu" where the host's hardware does not help.
        summary: what somebody who logs in to it needs.
    """

    def __init__(
        self,
        name: str,
        guest: config.Guest,
        on: HypervisorHost,
        neighbours: Mapping[str, str] | None = None,
        *,
        keeps_image: bool = False,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        declared = {"image": guest.image, "vcpus": guest.vcpus, "memory_mib": guest.memory_mib}
        super().__init__("kvm:index:Guest", name, declared, opts)
        self._name, self._guest, self._on = name, guest, on
        self._neighbours = neighbours or {}
        self._keeps_image = keeps_image
        self._domain_name = f"{on.stack}-{guest.name}"
        self._mac = config.mac_address(on.stack, guest.name)

        key = SshHostKey(name, pulumi.ResourceOptions(parent=self))
        seed = pulumi.Output.all(key.private_key, key.public_key).apply(lambda keys: self._render_seed(*keys))
        digest = pulumi.Output.unsecret(seed.apply(lambda rendered: rendered.digest))
        overlay, disk = self._overlay(guest.generation)
        for generation in guest.kept:
            self._overlay(generation)
        domain = self._domain(overlay, self._seed_disk(seed, digest, disk))
        self._ready(domain, key, digest)

        self.address = str(guest.address.ip)
        self.user = guest.user
        self.host_key = key.public_key
        self.domain_type = on.libvirt.domain_type
        self.summary = {
            "host": on.host.name,
            "address": self.address,
            "user": self.user,
            "host_key": self.host_key,
        }
        self.register_outputs({**self.summary, "domain": self._domain_name, "domain_type": self.domain_type})

    def _render_seed(self, private_key: str, public_key: str) -> Seed:
        guest = self._guest
        return cloudinit.render(
            cloudinit.GuestIdentity(
                hostname=guest.name,
                user=guest.user,
                ssh_keys=guest.authorized_keys,
                host_private_key=private_key,
                host_public_key=public_key,
            ),
            cloudinit.GuestNetwork(
                mac=self._mac,
                address=guest.address,
                gateway=guest.gateway,
                dns=guest.dns,
                search=self._on.host.bridge.dns_search,
            ),
            GuestSetup(
                packages=guest.packages,
                files=tuple(GuestFile(**file.model_dump()) for file in guest.files),
                commands=guest.commands,
                hosts=self._neighbours,
            ),
        )

    def _overlay(self, generation: int) -> tuple[pulumi_libvirt.Volume, GuestDisk]:
        """Return a generation's volume; both its names carry the generation, so another one is another."""
        disk = self._disk(generation)
        in_use = generation == self._guest.generation
        volume = pulumi_libvirt.Volume(
            f"{self._name}-g{generation}",
            name=self._overlay_name(generation),
            pool=self._on.pool.name,
            format="qcow2",
            size=self._guest.disk_gib * GIB,
            base_volume_id=self._on.base_files[self._guest.image],
            # the GuestDisk grows or refuses; here an edit would replace the volume
            opts=pulumi.ResourceOptions.merge(
                self._in_libvirt(disk, self._on.bases[self._guest.image]),
                pulumi.ResourceOptions(
                    ignore_changes=["size", "baseVolumeId"], protect=in_use and self._protected
                ),
            ),
        )
        return volume, disk

    def _disk(self, generation: int) -> GuestDisk:
        props = {
            **self._on.common,
            "guest": self._guest.name,
            "domain": self._domain_name,
            "file": f"{libvirt.pool_folder(self._on.stack)}/{self._overlay_name(generation)}",
            "image": self._guest.image,
            "base": self._on.base_files[self._guest.image],
            "size": self._guest.disk_gib * GIB,
            "discard": self._guest.discard_disk,
        }
        # a newer image is for new disks: this one keeps the base that it was made from
        in_use = generation == self._guest.generation
        ignored = ["base", *(["image"] if self._keeps_image or not in_use else [])]
        ignored += [] if in_use else ["size"]
        return GuestDisk(
            f"{self._name}-g{generation}",
            props,
            pulumi.ResourceOptions(parent=self, depends_on=[self._on.libvirt], ignore_changes=ignored),
        )

    @property
    def _protected(self) -> bool:
        return self._guest.protect and not self._guest.discard_disk

    def _seed_disk(
        self, seed: pulumi.Output[Seed], digest: pulumi.Output[str], disk: GuestDisk
    ) -> pulumi_libvirt.CloudInitDisk:
        user_data: pulumi.Output[str] = pulumi.Output.secret(seed.apply(lambda rendered: rendered.user_data))
        return pulumi_libvirt.CloudInitDisk(
            self._name,
            name=digest.apply(lambda value: f"{self._guest.name}-seed-{value[:16]}.iso"),
            pool=self._on.pool.name,
            user_data=user_data,
            meta_data=pulumi.Output.unsecret(seed.apply(lambda rendered: rendered.meta_data)),
            network_config=pulumi.Output.unsecret(seed.apply(lambda rendered: rendered.network_config)),
            opts=self._in_libvirt(disk),
        )

    def _domain(
        self, overlay: pulumi_libvirt.Volume, seed_disk: pulumi_libvirt.CloudInitDisk
    ) -> pulumi_libvirt.Domain:
        libvirt_of_host = self._on.libvirt
        xslt = pulumi.Output.all(libvirt_of_host.domain_type, libvirt_of_host.libvirt_version).apply(
            lambda facts: domain_xslt(*facts)
        )
        return pulumi_libvirt.Domain(
            self._name,
            name=self._domain_name,
            # an edit of it replaces the domain: at its old address the guest would not become ready, and a
            # bridge cannot be made anew while a guest is on it (the engine deletes first what depends on it)
            description=pulumi.Output.concat(
                f"{self._guest.name} at {self._guest.address} on ", self._on.bridge_name
            ),
            type=self._on.libvirt.domain_type,
            machine="pc",  # cloud kernels have drivers for its IDE, where the seed is
            vcpu=self._guest.vcpus,
            memory=self._guest.memory_mib,
            autostart=True,
            boot_devices=[pulumi_libvirt.DomainBootDeviceArgs(devs=["hd"])],
            disks=[pulumi_libvirt.DomainDiskArgs(volume_id=overlay.id)],
            cloudinit=seed_disk.id,
            network_interfaces=[
                pulumi_libvirt.DomainNetworkInterfaceArgs(bridge=self._on.bridge_name, mac=self._mac.upper())
            ],
            graphics=pulumi_libvirt.DomainGraphicsArgs(
                type="vnc", listen_type="address", listen_address="127.0.0.1"
            ),
            video=pulumi_libvirt.DomainVideoArgs(type="vga"),
            qemu_agent=False,
            xml=pulumi_libvirt.DomainXmlArgs(xslt=xslt),
            opts=pulumi.ResourceOptions.merge(
                self._in_libvirt(self._on.bridge),
                pulumi.ResourceOptions(delete_before_replace=True, replace_on_changes=REPLACED_BY_EDITS),
            ),
        )

    def _ready(
        self, domain: pulumi_libvirt.Domain, key: SshHostKey, digest: pulumi.Output[str]
    ) -> GuestReady:
        props = {
            **self._on.common,
            "guest": self._guest.name,
            "domain": self._domain_name,
            "address": str(self._guest.address.ip),
            "public_key": key.public_key,
            "console_log": libvirt.console_log(self._domain_name),
            "domain_id": domain.id,
            "seed": digest,
            "parallel": self._on.boots_at_once,
        }
        return GuestReady(self._name, props, pulumi.ResourceOptions(parent=self))

    def _overlay_name(self, generation: int) -> str:
        return f"{self._guest.name}-g{generation}.qcow2"

    def _in_libvirt(self, *earlier: pulumi.Resource) -> pulumi.ResourceOptions:
        # the engine takes another host's provider for the same one that is reached otherwise
        return pulumi.ResourceOptions(
            parent=self,
            provider=self._on.provider,
            depends_on=list(earlier),
            replacement_trigger=self._on.host.name,
        )
