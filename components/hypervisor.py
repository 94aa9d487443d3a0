"""kvm:index:HypervisorHost - a Debian machine that runs guests on its bridge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pulumi

import config
from components import libvirt
from providers import boot_slots
from providers.apt_packages import AptPackages
from providers.base_image import BaseImage, base_image_file
from providers.bridge_netfilter import BridgeNetfilter
from providers.libvirt_host import LibvirtHost
from providers.network_bridge import NetworkBridge

HYPERVISOR_PACKAGES = (
    "bridge-utils",
    "libvirt-clients",
    "libvirt-daemon-system",
    "qemu-system-x86",
    "qemu-utils",
)
VIRT_MANAGER_PACKAGES = ("virt-manager", "xauth")  # xauth: what ssh -X needs on the host
DOWNLOAD_PACKAGES = ("ca-certificates", "curl")


class HypervisorHost(pulumi.ComponentResource):
    """A bare machine with packages, bridge, libvirt and the base images of its guests.

    One step after the other: while the bridge takes over the network no other transfer is under way,
    and all is undone in the reverse order.

    Args:
        name: the resource's name, the host's.
        host: the host as the stack file describes it.
        stack: the stack's name.
        images: the stack's images; those that a guest of this host asks for are brought to it.
        opts: as for every resource.

    Attributes:
        host: as given.
        stack: as given.
        common: inputs of every thing on the host: how to reach it, and which stack asks.
        bridge: its bridge.
        bridge_name: the bridge's name, known once it is made: who uses it gives way when it is made anew.
        libvirt: its libvirt.
        boots_at_once: how many of its guests may boot at once.
        bases: the base images on it, by name.
        base_files: their paths on the host, by name; known before the host is asked.
        provider: the provider of libvirt's things on it.
        pool: the storage pool for this stack's guests.
        summary: what people look for first; `ports` as they were when the bridge was last changed or read.
    """

    def __init__(
        self,
        name: str,
        host: config.Host,
        stack: str,
        images: Iterable[config.Image],
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        packages = package_set(host, used_images(host, images))
        declared = {
            "migration": host.migration,
            "packages": packages,
            "bridge": {
                "name": host.bridge.name,
                "stp": host.bridge.stp,
                "forward_delay": host.bridge.forward_delay,
            },
        }
        super().__init__("kvm:index:HypervisorHost", name, declared, opts)
        self.host = host
        self.stack = stack
        self.common = common_inputs(host, pulumi.get_project(), stack)
        installed = AptPackages(name, {**self.common, "packages": packages}, self._after())
        self.bridge = NetworkBridge(name, {**self.common, **bridge_inputs(host)}, self._after(installed))
        self.bridge_name = self.bridge.id.apply(lambda _made: host.bridge.name)
        network = [self.bridge, *self._netfilter(host)]
        self.libvirt = LibvirtHost(name, self.common, self._after(installed, *network))
        used = used_images(host, images)
        self.base_files = {
            image.name: base_image_file(image.name, image.checksum.digest, image.format) for image in used
        }
        self.bases = {image.name: self._base_image(image) for image in used}
        self.provider = libvirt.provider(
            host.endpoint,
            host.shutdown_timeout,
            host.parallel or boot_slots.DEFAULT,
            pulumi.ResourceOptions(parent=self),
        )
        in_libvirt = pulumi.ResourceOptions(parent=self, provider=self.provider, depends_on=[self.libvirt])
        self.pool = libvirt.pool(host.endpoint, stack, in_libvirt)
        facts = pulumi.Output.all(self.libvirt.domain_type, self.libvirt.cores)
        self.boots_at_once = facts.apply(lambda known: boot_slots.limit(host.parallel, *known))
        self.summary = {
            "address": host.address,
            "bridge": host.bridge.name,
            "ports": self.bridge.ports,
            "domain_type": self.libvirt.domain_type,
            "cores": self.libvirt.cores,
        }
        self.register_outputs({**self.summary, "libvirt_version": self.libvirt.libvirt_version})

    def _after(self, *earlier: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(parent=self, depends_on=list(earlier))

    def _netfilter(self, host: config.Host) -> list[BridgeNetfilter]:
        """Declare it where the stack file speaks of it; it stays as it is elsewhere."""
        inputs = netfilter_inputs(host)
        if inputs is None:
            return []
        return [BridgeNetfilter(host.name, {**self.common, **inputs}, self._after(self.bridge))]

    def _base_image(self, image: config.Image) -> BaseImage:
        checksum = image.checksum
        props = {
            **self.common,
            "name": image.name,
            "url": image.url,
            "path": image.path,
            checksum.algorithm: checksum.digest,
            "format": image.format,
        }
        # a newer image is another resource: the old one stays until the last overlay of it is gone
        return BaseImage(image.resource_on(self.host.name), props, self._after(self.libvirt))


def used_images(host: config.Host, images: Iterable[config.Image]) -> list[config.Image]:
    """Return the images that guests of the host ask for."""
    wanted = {guest.image for guest in host.guests}
    return [image for image in images if image.name in wanted]


def package_set(host: config.Host, images: Iterable[config.Image]) -> list[str]:
    """Return the packages the host needs for what it is to do, in order of their names."""
    packages = {*HYPERVISOR_PACKAGES, *host.packages}
    if host.virt_manager:
        packages.update(VIRT_MANAGER_PACKAGES)
    if any(image.url is not None for image in images):
        packages.update(DOWNLOAD_PACKAGES)
    return sorted(packages)


def common_inputs(host: config.Host, project: str, stack: str) -> dict[str, Any]:
    """Return the inputs of every thing on the host: how to reach it, and which stack asks."""
    # with the host's name: one that is renamed in the stack file is claimed anew before it is let go
    return {"endpoint": host.endpoint, "stack": f"{project}/{stack}.{host.name}"}


def bridge_inputs(host: config.Host) -> dict[str, Any]:
    """Return the inputs of the host's bridge, besides the common ones."""
    return {"migration": host.migration, **host.bridge.model_dump(mode="json")}


def netfilter_inputs(host: config.Host) -> dict[str, Any] | None:
    """Return the inputs of the host's bridge netfilter, besides the common ones; None: it is none of ours."""
    if host.bridge_netfilter is None:
        return None
    return {"enabled": host.bridge_netfilter, "rollback_timeout": host.bridge.rollback_timeout}
