"""How the program reaches libvirt on a host: the one URI, the one provider, the stack's storage pool.

pulumi-libvirt is no longer developed by its authors. Only this module and components/guest.py import it,
so that its successor can take its place.
"""

from __future__ import annotations

from urllib.parse import urlencode

import pulumi
import pulumi_libvirt

from providers import base_pool
from providers.errors import LabError
from providers.transport import Endpoint

IMAGES = "/var/lib/libvirt/images"


def uri(endpoint: Endpoint, shutdown_timeout: int, parallel: int) -> str:
    """Return the libvirt URI of a host, for the plugin in toolchain/libvirt.

    All that is needed to trust the host is in it: no known_hosts file and no ~/.ssh/config is read.
    A guest has `shutdown_timeout` seconds to power off before its power is cut. `parallel` operations are
    under way at once; a new guest is paused until kvm:GuestReady lets it boot.
    """
    address = f"[{endpoint.address}]" if ":" in endpoint.address else endpoint.address
    query = [("host_keys", key) for key in endpoint.host_keys]
    if endpoint.identity_file is not None:
        query.insert(0, ("keyfile", endpoint.identity_file))
    query += [
        ("shutdown_timeout", str(shutdown_timeout)),
        ("slots", str(parallel)),
        ("created", "paused"),
    ]
    return f"qemu+ssh://{endpoint.user}@{address}:{endpoint.port}/system?{urlencode(query)}"


def provider(
    endpoint: Endpoint, shutdown_timeout: int, parallel: int, opts: pulumi.ResourceOptions | None = None
) -> pulumi_libvirt.Provider:
    """Return the provider for all of libvirt's things on a host. It connects when it is first used."""
    return pulumi_libvirt.Provider(endpoint.host, uri=uri(endpoint, shutdown_timeout, parallel), opts=opts)


def pool_name(stack: str) -> str:
    """Return the name of a stack's storage pool, the same on every host.

    Raises:
        LabError: that name is taken by the pool of base images.
    """
    name = f"kvm-lab-{stack}"
    if name == base_pool.NAME:
        raise LabError(
            f"name the storage pool of stack {stack}",
            f"{name} is the pool that all stacks' base images are in",
            "give the stack another name: `pulumi stack rename`",
        )
    return name


def pool_folder(stack: str) -> str:
    """Return where a host keeps the disks and seeds of a stack's guests."""
    return f"{IMAGES}/{pool_name(stack)}"


def pool(endpoint: Endpoint, stack: str, opts: pulumi.ResourceOptions) -> pulumi_libvirt.Pool:
    """Return the storage pool of a stack on a host. A pool of that name that exists is an error."""
    return pulumi_libvirt.Pool(
        f"{endpoint.host}-pool",
        name=pool_name(stack),
        type="dir",
        target=pulumi_libvirt.PoolTargetArgs(path=pool_folder(stack)),
        opts=opts,
    )


def console_log(domain: str) -> str:
    """Return the file on the host with what a domain's guest writes on its serial console (domain.xslt)."""
    return f"/var/log/libvirt/qemu/{domain}.console.log"
