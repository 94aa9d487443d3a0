"""What a guest is told at its first boot: a cloud-init NoCloud seed. Pure.

Formats: https://cloudinit.readthedocs.io/en/latest/reference/datasources/nocloud.html
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

import yaml

GUEST_NIC = "eth0"
DEFAULT_ROUTES = {4: "0.0.0.0/0", 6: "::/0"}  # every netplan knows these, not every one knows "default"

# cloud-init knows nothing of the seed before: the accounts that seeds gave rights to are listed in the guest.
# $1 has them now; any other loses its login keys and sudo. Its password is locked, its files stay.
_ONLY_USER = """\
set -u
list=/etc/kvm-lab-users
touch "$list"
while read -r name; do
    [ "$name" != "$1" ] || continue
    home=$(getent passwd "$name" | cut -d: -f6)
    [ -z "$home" ] || rm -f -- "$home/.ssh/authorized_keys"
    sed -i "/^$name /d" /etc/sudoers.d/90-cloud-init-users
done <"$list"
grep -qxF -e "$1" "$list" || echo "$1" >>"$list"
"""


@dataclass(frozen=True)
class GuestNetwork:
    """The guest's one network interface.

    Args:
        mac: its MAC address.
        address: its address with prefix length.
        gateway: the default route's next hop, or None for no default route.
        dns: addresses of name servers.
        search: domains that complete short names.
    """

    mac: str
    address: IPv4Interface | IPv6Interface
    gateway: IPv4Address | IPv6Address | None = None
    dns: tuple[IPv4Address | IPv6Address, ...] = ()
    search: tuple[str, ...] = ()


FORGET_EARLIER_SEEDS = (
    'cd /var/lib/cloud/instances && for seed in *; do [ "$seed" = "$INSTANCE_ID" ] || rm -rf "$seed"; done'
)
"""A seed that comes back (an edit taken back) has the instance-id it had: cloud-init would hold it done."""

NO_PASSWORDS = {"path": "/etc/ssh/sshd_config.d/10-kvm-lab.conf", "content": "PasswordAuthentication no\n"}
"""Written before sshd starts; `ssh_pwauth` would have it started again, just when the guest became ready."""


@dataclass(frozen=True)
class GuestIdentity:
    """Who the guest is and who may log in.

    Args:
        hostname: one label of a host name.
        user: name of the account that is made; it may become root by sudo without a password.
        ssh_keys: public keys that may log in as `user`.
        host_private_key: the SSH host key, ed25519, OpenSSH's PEM form. A secret.
        host_public_key: its public half, "ssh-ed25519 AAAA…".
    """

    hostname: str
    user: str
    ssh_keys: tuple[str, ...]
    host_private_key: str = field(repr=False)
    host_public_key: str


@dataclass(frozen=True)
class GuestFile:
    """A file that is written in the guest.

    Args:
        path: its whole path.
        content: its text.
        permissions: octal digits, such as "0644".
        owner: "user" or "user:group".
    """

    path: str
    content: str = field(repr=False)
    permissions: str = "0644"
    owner: str = "root:root"


@dataclass(frozen=True)
class GuestSetup:
    """What is done in the guest besides letting its user in; done anew when any of it was edited.

    Args:
        packages: names of packages of its distribution.
        files: written once packages and user are there.
        commands: for its shell, as root, after all else; one that fails keeps from none after it.
        hosts: for /etc/hosts, names by address; empty, the file is the distribution's.
    """

    packages: tuple[str, ...] = ()
    files: tuple[GuestFile, ...] = ()
    commands: tuple[str, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)


NO_SETUP = GuestSetup()


@dataclass(frozen=True)
class Seed:
    """The files of a NoCloud seed. `user_data` holds the private host key: a secret."""

    hostname: str
    user_data: str = field(repr=False)
    network_config: str

    @cached_property
    def digest(self) -> str:
        """sha256 (64 hexadecimal digits) of all that is rendered: it names the seed and is the instance-id.

        It gives nothing away: a private key is part of what was hashed.
        """
        parts = (self.hostname, self.user_data, self.network_config)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    @property
    def meta_data(self) -> str:
        """A new instance-id makes cloud-init apply an edited seed at the guest's next boot."""
        return _yaml({"instance-id": self.digest, "local-hostname": self.hostname})


def render(identity: GuestIdentity, network: GuestNetwork, setup: GuestSetup = NO_SETUP) -> Seed:
    """Render the seed of a guest. The same arguments always give the same bytes."""
    return Seed(
        hostname=identity.hostname,
        user_data="#cloud-config\n" + _yaml(_user_data(identity, setup)),
        network_config=_yaml(_network_config(network)),
    )


def _user_data(identity: GuestIdentity, setup: GuestSetup) -> dict[str, object]:
    hosts = [_hosts_file(identity.hostname, setup.hosts)] if setup.hosts else []
    packages = {"package_update": True, "packages": list(setup.packages)} if setup.packages else {}
    return {
        "hostname": identity.hostname,
        "bootcmd": [["sh", "-c", FORGET_EARLIER_SEEDS]],
        "manage_etc_hosts": not hosts,  # without either sudo cannot resolve the guest's own name
        "locale": "C.UTF-8",  # the only one that needs no locales package
        "users": [_user(identity)],
        "disable_root": identity.user != "root",
        "ssh_deletekeys": True,
        "write_files": [NO_PASSWORDS, *hosts, _authorized_keys(identity), *map(_file, setup.files)],
        **packages,
        "runcmd": [["sh", "-c", _ONLY_USER, "only-user", identity.user], *setup.commands],
        "ssh_keys": {
            "ed25519_private": identity.host_private_key,
            "ed25519_public": identity.host_public_key,
        },
    }


def _file(file: GuestFile) -> dict[str, object]:
    # once packages have brought their own version of it, and its owner is there
    return {**dataclasses.asdict(file), "defer": True}


def _hosts_file(hostname: str, hosts: Mapping[str, str]) -> dict[str, object]:
    lines = ["127.0.0.1 localhost", f"127.0.1.1 {hostname}", "::1 localhost ip6-localhost ip6-loopback"]
    lines += [f"{address} {name}" for address, name in hosts.items()]
    return {"path": "/etc/hosts", "content": "".join(f"{line}\n" for line in lines)}


def _user(identity: GuestIdentity) -> dict[str, object]:
    account: dict[str, object] = {"name": identity.user, "ssh_authorized_keys": list(identity.ssh_keys)}
    if identity.user != "root":
        account |= {"shell": "/bin/bash", "lock_passwd": True, "sudo": "ALL=(ALL) NOPASSWD:ALL"}
    return account


def _authorized_keys(identity: GuestIdentity) -> dict[str, object]:
    """Return the file of login keys: the users module only ever adds keys, an edit must take one away too."""
    home = "/root" if identity.user == "root" else f"/home/{identity.user}"
    return {
        "path": f"{home}/.ssh/authorized_keys",
        "content": "".join(f"{key}\n" for key in identity.ssh_keys),
        "owner": identity.user,
        "permissions": "0600",
        "defer": True,  # the user must be there
    }


def _network_config(network: GuestNetwork) -> dict[str, object]:
    # set-name: cloud-init's other renderers than netplan find the interface by name
    nic: dict[str, object] = {
        "match": {"macaddress": network.mac.lower()},
        "set-name": GUEST_NIC,
        "addresses": [str(network.address)],
    }
    if network.gateway is not None:
        nic["routes"] = [{"to": DEFAULT_ROUTES[network.gateway.version], "via": str(network.gateway)}]
    nameservers: dict[str, object] = {}
    if network.dns:
        nameservers["addresses"] = [str(server) for server in network.dns]
    if network.search:
        nameservers["search"] = list(network.search)
    if nameservers:
        nic["nameservers"] = nameservers
    return {"version": 2, "ethernets": {GUEST_NIC: nic}}


def _yaml(document: dict[str, object]) -> str:
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=2**20)
