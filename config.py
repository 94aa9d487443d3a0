"""The stack file: what may be written in it, and the only reader of pulumi.Config.

Everything that names or bounds a host, a bridge, an image or a guest is defined here (what a scalar may be:
stackfile/values.py). `python -m config schema` writes the JSON schema of a whole stack file, for editors.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from providers.errors import LabError
from providers.transport import Endpoint
from stackfile import checks, rosterfile, sshkeys
from stackfile.checksums import Checksum, find_checksum, parse_digest
from stackfile.mistakes import ConfigError, Location, Mistake, from_pydantic, where
from stackfile.reasons import STUDENTS_AT_ONCE, Reason
from stackfile.roster import (
    Generation,
    Roster,
    Student,
    Template,
    environment_name,
    expand,
    guest_names,
    kept_of,
)
from stackfile.rosterfile import Source, lines_in_stack_file
from stackfile.sections import LEAST_MEMORY, TEXT, GuestOptions, HostKey, KeyFile, Section
from stackfile.sources import Files, parse_document, top_options
from stackfile.values import (
    Address,
    BridgeName,
    DomainName,
    GuestInterface,
    HostAddress,
    HostLabel,
    HostUserName,
    InterfaceName,
    IPAddress,
    LocalPath,
    PackageName,
    Switch,
    WebAddress,
    local_path,
    number,
    text,
)

__all__ = [
    "Bridge",
    "ConfigError",
    "Environment",
    "Guest",
    "Host",
    "Image",
    "Lab",
    "load",
    "mac_address",
    "stack_file_schema",
]

NAMESPACE = "kvm-lab"
PROOF_TIME = 10  # seconds that a change of the network needs to be proved once traffic passes
EXTRA_PORTS_TIMEOUT = 30  # seconds; bridge-loop.sh takes up to 10 of them before the change begins
MAC_PREFIX = "52:54:00"  # locally administered, the one QEMU and libvirt use
MISSING_FILES, STAND_IN = "KVM_LAB_MISSING_FILES", "stand-in"
"""The environment of a preview where key, checksum and image files are not: they are stood in for."""
STP_LEAST_DELAY = 2  # seconds; br_private.h, BR_MIN_FORWARD_DELAY: the kernel refuses less while STP is on


@dataclass(frozen=True)
class ChecksumFile:
    """A file of sha256sum or sha512sum: its path as written, and the image's line in it.

    `checksum` is None when local files were not to be read.
    """

    path: str
    checksum: Checksum | None


class Image(Section):
    """A base image for guests' disks. It has one source, and one of three options for its checksum."""

    name: HostLabel
    """The name by which guests ask for it."""
    path: LocalPath | None = None
    """A file on this machine, uploaded to each host that needs it; or else `url`."""
    url: WebAddress | None = None
    """Where each host that needs it downloads it; or else `path`."""
    format: Literal["qcow2", "raw"] = "qcow2"
    """The image's format: qcow2 or raw."""
    checksum_file: Annotated[ChecksumFile | None, TEXT] = None
    """A local SHA256SUMS or SHA512SUMS file with a line for the image's file name."""
    sha256: Annotated[str | None, Field(pattern="^[0-9A-Fa-f]{64}$")] = None
    """The image's sha256, 64 hexadecimal digits."""
    sha512: Annotated[str | None, Field(pattern="^[0-9A-Fa-f]{128}$")] = None
    """The image's sha512, 128 hexadecimal digits."""

    @property
    def source(self) -> str:
        """Return the path or the URL, as written."""
        return self.path or self.url or ""

    def resource_on(self, host: str) -> str:
        """Return the name that the image has as a resource on a host; with another content it is another.

        Raises:
            ValueError: its checksum stands in a file that was not to be read.
        """
        return f"{host}-{self.name}-{self.checksum.digest[:8]}"

    @property
    def checksum(self) -> Checksum:
        """Return the checksum to hold the image against.

        Raises:
            ValueError: it stands in a file that was not to be read.
        """
        if digits := self.sha512 or self.sha256:
            return parse_digest(digits)
        if self.checksum_file is None or self.checksum_file.checksum is None:
            raise ValueError(f"image {self.name}: its checksum file was not read")
        return self.checksum_file.checksum

    @field_validator("path", mode="after")
    @classmethod
    def _path_exists(cls, path: str | None, info: ValidationInfo) -> str | None:
        if path is not None:
            Files.of(info).must_exist(path)
        return path

    @field_validator("format", mode="before")
    @classmethod
    def _format_known(cls, value: object) -> object:
        if value not in ("qcow2", "raw"):
            raise ValueError("qcow2 or raw")
        return value

    @field_validator("checksum_file", mode="before")
    @classmethod
    def _read_checksum_file(cls, value: object, info: ValidationInfo) -> object:
        source = info.data.get("path") or info.data.get("url")
        if value is None:
            return None
        path = local_path(value)
        file_name = (source or "").split("?")[0].split("#")[0] if info.data.get("url") else source or ""
        name = file_name.rpartition("/")[2]
        content = Files.of(info).text(path, f"{hashlib.sha256(path.encode()).hexdigest()}  {name}")
        if content is None or source is None:
            return ChecksumFile(path, None)
        return ChecksumFile(path, find_checksum(content, name))

    @field_validator("sha256", "sha512", mode="before")
    @classmethod
    def _digits(cls, value: object, info: ValidationInfo) -> object:
        if value is None:
            return None
        length = 64 if info.field_name == "sha256" else 128
        if len(text(value, f"{length} hexadecimal digits")) != length:
            raise ValueError(f"{length} hexadecimal digits")
        return parse_digest(str(value)).digest


class Bridge(Section):
    """A host's bridge, on which its guests hang beside the host's own network port."""

    port: InterfaceName
    """The host's network interface that becomes the bridge's port, such as eth0."""
    name: BridgeName = "br0"
    """The bridge's name."""
    extra_ports: tuple[InterfaceName, ...] = ()
    """Further network interfaces of the host that become ports too; they have no addresses."""
    stp: Switch = False
    """Spanning tree protocol: must be off where migration is on."""
    forward_delay: Annotated[int, *number(0, 30, "seconds")] = 0
    """Seconds until a new port passes traffic; the kernel takes 2 to 30 while STP is on."""
    max_wait: Annotated[int, *number(0, 600, "seconds")] = 0
    """Seconds that bringing the bridge up waits for its ports at most."""
    dns_search: tuple[DomainName, ...] = ()
    """Domains for the host's resolver to search."""
    ipv6_auto: Switch = True
    """Whether the bridge takes an IPv6 address from router advertisements (iface … inet6 auto)."""
    rollback_timeout: Annotated[int, *number(15, 600, "seconds")] = 60
    """Seconds after which the host takes a change of its network back unless it was confirmed."""

    @field_validator("name", mode="after")
    @classmethod
    def _not_its_port(cls, name: str, info: ValidationInfo) -> str:
        if name == info.data.get("port"):
            raise ValueError("another name than the port's")
        return name

    @field_validator("extra_ports", mode="after")
    @classmethod
    def _others(cls, ports: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        wanted = [
            f"interfaces besides {what} {info.data[option]}"
            for option, what in (("name", "the bridge"), ("port", "its port"))
            if info.data.get(option) in ports
        ]
        if vlans := [name for name in ports if "." in name]:
            wanted.append(f"no VLANs (bridge-utils deletes {', '.join(vlans)} when the bridge goes down)")
        if wanted:
            raise ValueError(", ".join(wanted))
        return checks.each_once(ports)

    @field_validator("forward_delay", mode="after")
    @classmethod
    def _kernel_takes(cls, delay: int, info: ValidationInfo) -> int:
        if info.data.get("stp") and delay < STP_LEAST_DELAY:
            raise ValueError(f"{STP_LEAST_DELAY} to 30 seconds while stp is on (the kernel refuses less)")
        return delay

    @field_validator("rollback_timeout", mode="after")
    @classmethod
    def _provable(cls, timeout: int, info: ValidationInfo) -> int:
        blocked = 2 * info.data.get("forward_delay", 0) if info.data.get("stp") else 0
        if blocked and timeout < blocked + PROOF_TIME:
            raise ValueError(
                f"at least {blocked + PROOF_TIME} seconds (with stp, nothing passes for twice the delay)"
            )
        if info.data.get("extra_ports") and timeout < EXTRA_PORTS_TIMEOUT:
            raise ValueError(
                f"at least {EXTRA_PORTS_TIMEOUT} seconds with extra_ports (a look for loops is first)"
            )
        return timeout

    @field_validator("dns_search", mode="after")
    @classmethod
    def _each_once(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        return checks.each_once(domains)


class Guest(GuestOptions):
    """A virtual machine on a host's bridge."""

    name: HostLabel
    """Its host name, once in the stack."""
    address: GuestInterface
    """Its address with the prefix length of the network that the bridge is on."""
    gateway: Address | None = None
    """Its default gateway; left out, it reaches its own network only."""
    dns: tuple[Address, ...] = ()
    """Addresses of its name servers."""
    generation: Generation = 1
    """Raise it to give the guest a new, empty disk: the old one is deleted unless `kept` names it."""
    kept: tuple[Generation, ...] = ()
    """Generations before or after this one whose disks stay; the guest has them back by that generation."""
    protect: Switch = False
    """Whether deleting its disk is refused until this is lifted."""
    discard_disk: Switch = False
    """Whether its disk may be deleted because it moves to another host."""

    @field_validator("kept", mode="after")
    @classmethod
    def _others(cls, kept: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
        if info.data.get("generation") in kept:
            raise ValueError("generations besides the present one")
        return checks.each_once(kept)

    @field_validator("gateway", mode="after")
    @classmethod
    def _gateway_reachable(cls, gateway: IPAddress | None, info: ValidationInfo) -> IPAddress | None:
        if gateway is not None and (interface := info.data.get("address")) is not None:
            checks.gateway_of(interface, gateway)
        return gateway

    @field_validator("dns", mode="after")
    @classmethod
    def _each_once(cls, servers: tuple[IPAddress, ...]) -> tuple[IPAddress, ...]:
        return checks.each_once(servers)


class Host(Section):
    """A Debian machine that becomes a hypervisor."""

    name: HostLabel
    """Its name in messages and resources, once in the stack."""
    address: HostAddress
    """Where its SSH server is reached: an IP address or a DNS name."""
    port: Annotated[int, *number(1, 65535, "TCP port")] = 22
    """The SSH server's port."""
    user: HostUserName = "root"
    """The user to log in as; another than root needs sudo without a password."""
    identity_file: LocalPath | None = None
    """The private key's file; left out, the SSH agent is asked."""
    known_hosts: Annotated[KeyFile | None, TEXT] = None
    """A known_hosts file with the host's key; or else `host_keys`."""
    host_keys: tuple[HostKey, ...] = ()
    """The host's public keys, "ssh-ed25519 AAAA…"; or else `known_hosts`."""
    migration: Switch = False
    """Whether guests may move to and from this host while they run."""
    virt_manager: Switch = False
    """Whether virt-manager is installed, to be used over ssh -X."""
    packages: tuple[PackageName, ...] = ()
    """More Debian packages for the host; no desktop and no display server."""
    memory_mib: Annotated[int, *number(LEAST_MEMORY, 64 * 1024 * 1024, "MiB")] | None = None
    """Memory in MiB that its guests may have together; left out, it is not looked at."""
    disk_gib: Annotated[int, *number(1, 1024 * 1024, "GiB")] | None = None
    """GiB that its guests' disks may grow to together, kept ones too; left out, it is not looked at."""
    shutdown_timeout: Annotated[int, *number(1, 3600, "seconds")] = 180
    """Seconds that a guest may take to power off, when it must, before its power is cut."""
    parallel: Annotated[int, *number(1, 64, "guests")] | None = None
    """Guests that are created, and that boot, at once; left out, 8, and emulated ones boot one a core."""
    bridge_netfilter: Switch | None = None
    """Whether what its bridges pass on goes through its firewall; left out, it stays as the host has it."""
    bridge: Bridge
    """Its bridge."""
    guests: tuple[Guest, ...] = ()
    """The virtual machines on it."""

    @property
    def pinned_keys(self) -> tuple[str, ...]:
        """Return the host's public keys, each "type base64", from `host_keys` or `known_hosts`."""
        return tuple(dict.fromkeys(self.host_keys)) or (self.known_hosts.keys if self.known_hosts else ())

    @property
    def endpoint(self) -> Endpoint:
        """Return how the transport reaches this host."""
        return Endpoint(
            host=self.name,
            address=self.address,
            port=self.port,
            user=self.user,
            identity_file=self.identity_file,
            host_keys=self.pinned_keys,
        )

    def with_known_hosts(self, root: Path) -> Self:
        """Return the host with the keys of its known_hosts file, if it was not read with the stack file.

        Raises:
            LabError: the file holds no key of this host.
        """
        if self.known_hosts is None:
            return self
        path = self.known_hosts.path
        try:
            keys = _keys_of(Files(root).text(path) or "", self.address, self.port, self.name)
        except ValueError as error:
            raise LabError(
                f"{self.name}: read its host key in {path}",
                f"expected {error}",
                "write the host's key there, or in `host_keys`",
            ) from None
        return self.model_copy(update={"known_hosts": KeyFile(path, keys)})

    @field_validator("identity_file", mode="after")
    @classmethod
    def _is_a_private_key(cls, path: str | None, info: ValidationInfo) -> str | None:
        content = Files.of(info).text(path, "PRIVATE KEY") if path is not None else None
        if content is not None and "PRIVATE KEY" not in content.partition("\n")[0]:
            raise ValueError("the file of a private key, such as ssh-keygen writes beside the .pub file")
        return path

    @field_validator("known_hosts", mode="before")
    @classmethod
    def _read_known_hosts(cls, value: object, info: ValidationInfo) -> object:
        if value is None:
            return None
        path = local_path(value)
        if not {"name", "address", "port"} <= info.data.keys():
            return KeyFile(path, ())
        name, address, port = (info.data[key] for key in ("name", "address", "port"))
        content = Files.of(info).text(path, f"{sshkeys.known_as(address, port)} {sshkeys.STAND_IN}")
        if content is None:
            return KeyFile(path, ())
        return KeyFile(path, _keys_of(content, address, port, name))


def _keys_of(known_hosts: str, address: str, port: int, name: str) -> tuple[str, ...]:
    keys = sshkeys.pinned_keys(sshkeys.parse_known_hosts(known_hosts), address, port, name)
    if not keys:
        raise ValueError(f"a known_hosts file with a key of {address} port {port}, and not revoked")
    return keys


@dataclass(frozen=True)
class Environment:
    """What a student has: guests on a host, or a whole host (`own_host`, with sudo for `user`) and guests."""

    name: str
    student: Student
    host: Host
    guests: tuple[Guest, ...]
    own_host: bool
    user: str
    kept: tuple[int, ...]
    protect: bool

    @property
    def login(self) -> tuple[str, ...]:
        """Return the student's public keys, each "type base64"."""
        student = self.student
        return tuple(
            dict.fromkeys([*student.ssh_keys, *(key for file in student.ssh_key_files for key in file.keys)])
        )


class Lab(Section):
    """All of a stack: the images, the hosts with their guests, and who gets which.

    `hosts` are those written by hand and those of the roster, with the guests of both.
    """

    images: tuple[Image, ...] = ()
    """Base images for guests' disks."""
    templates: tuple[Template, ...] = ()
    """What students' environments consist of."""
    hosts: tuple[Host, ...] = Field(json_schema_extra={"minItems": 1})
    """The machines that become hypervisors."""
    roster: Roster | None = None
    """The students."""
    students_at_once: Annotated[int, *number(0, 999_999, "number of students")] = STUDENTS_AT_ONCE
    """How many students a change may take guests or data from at once without a reason in writing."""
    reasons: tuple[Reason, ...] = ()
    """Why changes are made that the plan gate holds up otherwise."""

    @field_validator("reasons", mode="after")
    @classmethod
    def _once(cls, reasons: tuple[Reason, ...]) -> tuple[Reason, ...]:
        checks.each_once(tuple(f"{one.allow} of {one.of}" for one in reasons))
        return reasons

    @field_validator("hosts", mode="before")
    @classmethod
    def _not_empty(cls, hosts: object) -> object:
        if hosts == []:
            raise ValueError("at least one host (`pulumi destroy` takes a stack down)")
        return hosts

    @property
    def guests(self) -> Iterator[tuple[Host, Guest]]:
        """Yield every guest with its host, in the stack file's order."""
        return ((host, guest) for host in self.hosts for guest in host.guests)

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Return the students' environments, in the roster's order."""
        return tuple(self._environments())

    def _environments(self) -> Iterator[Environment]:
        if self.roster is None:
            return
        templates = {template.name: template for template in self.templates}
        hosts = {host.name: host for host in self.hosts}
        for student in self.roster.students:
            template = templates[student.template or next(iter(templates))]
            own_host = template.hypervisor is not None
            name = environment_name(self.roster.name, student.group, student.student)
            host = hosts[name if own_host else student.host or ""]
            own = guest_names(name, [guest.name for guest in template.guests], own_host=own_host)
            guests = tuple(guest for guest in host.guests if guest.name in own)
            kept = kept_of(student, self.roster.keep)
            protect = self.roster.protect if student.protect is None else student.protect
            yield Environment(name, student, host, guests, own_host, template.user, kept, protect)

    @classmethod
    def from_mapping(
        cls,
        written: Mapping[str, object],
        root: Path,
        *,
        stack: str,
        source: str = "the stack file",
        files: Files | None = None,
        hidden: Collection[str] = (),
        lines: Sequence[int] = (),
    ) -> Self:
        """Return the lab that `written` describes: {"hosts": […], "images": […]}.

        Args:
            written: options without namespace, as YAML or JSON gives them.
            root: the folder that relative paths start from.
            stack: the stack's name, which guests' MAC addresses depend on.
            source: the file's name, for messages.
            files: how key, checksum and image files are read, by default all from `root`; where they are not,
                host keys, login keys and checksums from them stay empty.
            hidden: the options in `written` that are secret: their values are in no message.
            lines: on which lines of `source` the roster's students begin, where that is known.

        Raises:
            ConfigError: with every mistake.
        """
        read, students, found = rosterfile.with_students(written, Files(root), Source(source, tuple(lines)))
        expansion = expand(read)
        lab = None
        try:
            lab = cls.model_validate(expansion.written, context=(files or Files(root)).context)
        except ValidationError as error:
            found += from_pydantic(error, cls, expansion.written, hidden)

        def place(location: Location) -> str:
            return expansion.words(location, students) or where(location, {})

        full = expansion.written
        found += [checks.in_words(one, full, hidden, place) for one in expansion.found]
        found += checks.whole_stack(full, hidden, lambda guest: mac_address(stack, guest), place)
        if lab is None or found:
            raise ConfigError(source, expansion.told(found, students, hidden))
        return lab

    @classmethod
    def from_stack_file(
        cls,
        path: Path,
        *,
        root: Path | None = None,
        check_files: bool = True,
        files: Files | None = None,
    ) -> Self:
        """Return the lab of a Pulumi.<stack>.yaml, for tools that run without Pulumi.

        Args:
            path: the file.
            root: the folder that relative paths start from, by default the file's own.
            check_files: whether the local files that it names are read.
            files: how they are read, where more is to be said of it than that.

        Raises:
            ConfigError: with every mistake.
        """
        stack = path.name.removeprefix("Pulumi.").removesuffix(".yaml")
        try:
            content = path.read_text(encoding="utf-8")
            config = parse_document(content).get("config")
        except OSError as error:
            raise ConfigError(
                path.name, [Mistake(str(path), "a readable file", str(error.strerror))]
            ) from None
        except ValueError as error:
            raise ConfigError(path.name, [Mistake(path.name, "a stack file in YAML", str(error))]) from None
        written = top_options(config if isinstance(config, Mapping) else {}, NAMESPACE)
        return cls.from_mapping(
            written,
            root or path.parent,
            stack=stack,
            source=path.name,
            files=files or Files(root or path.parent, check_files),
            lines=lines_in_stack_file(content),
        )


def load() -> Lab:
    """Return the lab of the running stack.

    Raises:
        ConfigError: with every mistake in the stack file.
        LabError: local files are stood in for, and it is no preview.
    """
    # here: it takes long to load, and the commands that only read stack files wait for nothing of it
    import pulumi  # noqa: PLC0415
    import pulumi.runtime  # noqa: PLC0415

    stand_in = os.environ.get(MISSING_FILES) == STAND_IN
    if stand_in and not pulumi.runtime.is_dry_run():
        raise LabError(
            "change a stack",
            f"{MISSING_FILES}={STAND_IN}: keys that are not here would be exchanged for one that nobody has",
            f"take {MISSING_FILES} out of the environment; it is for previews without the local files",
        )
    config = pulumi.Config(NAMESPACE)
    everything = {**pulumi.runtime.get_config_env(), **pulumi.runtime.config.CONFIG.get()}
    written = top_options(everything, NAMESPACE)
    hidden = {option for option in written if pulumi.runtime.is_config_secret(config.full_key(option))}
    stack = pulumi.get_stack()
    files = Files(Path.cwd(), stand_in=stand_in)
    source = f"Pulumi.{stack}.yaml"
    return Lab.from_mapping(written, files.root, stack=stack, source=source, files=files, hidden=hidden)


def mac_address(stack: str, guest: str) -> str:
    """Return a guest's MAC address, in small letters; it follows from its name and the stack's alone."""
    digest = hashlib.sha256(f"{NAMESPACE}/{stack}/{guest}".encode()).hexdigest()
    return ":".join([MAC_PREFIX, digest[0:2], digest[2:4], digest[4:6]])


def stack_file_schema() -> dict[str, Any]:
    """Return the JSON schema of a whole stack file."""
    from stackfile.described import Described  # noqa: PLC0415 - only this reads its sources

    schema = Lab.model_json_schema(schema_generator=Described)
    options = schema["properties"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A stack file of kvm-lab",
        "type": "object",
        "required": ["config"],
        "properties": {
            "config": {
                "type": "object",
                "properties": {f"{NAMESPACE}:{name}": option for name, option in options.items()},
                "required": [f"{NAMESPACE}:{name}" for name in schema["required"]],
                "patternProperties": {f"^{NAMESPACE}:(?!({'|'.join(options)})$)": False},
            }
        },
        "$defs": schema["$defs"],
    }


if __name__ == "__main__":
    if sys.argv[1:] != ["schema"]:
        sys.exit("usage: python -m config schema")
    sys.stdout.write(json.dumps(stack_file_schema(), indent=2) + "\n")
