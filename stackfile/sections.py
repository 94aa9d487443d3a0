"""Sections of the stack file that more than one other is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, WithJsonSchema

from stackfile import sshkeys
from stackfile.sources import Files
from stackfile.values import (
    GUEST_DEFAULTS,
    FileMode,
    FileOwner,
    GuestPath,
    HostLabel,
    PackageName,
    UserName,
    local_path,
    number,
    text,
)

LEAST_MEMORY = 128  # MiB


@dataclass(frozen=True)
class KeyFile:
    """A file of public keys: its path as written, and the keys in it that count here.

    `keys` is empty when local files were not to be read.
    """

    path: str
    keys: tuple[str, ...]


def _key_file(value: object, info: ValidationInfo) -> KeyFile:
    path = local_path(value)
    content = Files.of(info).text(path, sshkeys.STAND_IN)
    return KeyFile(path, sshkeys.public_keys(content, sshkeys.LOGIN_KEY_TYPES) if content is not None else ())


def _login_key(value: object) -> str:
    return sshkeys.public_key(text(value, "a public key"), sshkeys.LOGIN_KEY_TYPES)


def _host_key(value: object) -> str:
    return sshkeys.public_key(text(value, "a host's public key"), sshkeys.HOST_KEY_TYPES)


TEXT = WithJsonSchema({"type": "string"})
LoginKey = Annotated[str, BeforeValidator(_login_key), TEXT]
LoginKeyFile = Annotated[KeyFile, BeforeValidator(_key_file), TEXT]
HostKey = Annotated[str, BeforeValidator(_host_key), TEXT]


class Section(BaseModel):
    """A mapping of the stack file. Defaults are judged like what is written."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=True,
        hide_input_in_errors=True,
    )


class File(Section):
    """A file in a guest."""

    path: GuestPath
    """Its whole path in the guest."""
    content: Annotated[str, BeforeValidator(lambda value: text(value, "text")), TEXT]
    """What is in it."""
    permissions: FileMode = "0644"
    """Its mode, in octal digits."""
    owner: FileOwner = "root:root"
    """Its user and group."""


class GuestOptions(Section):
    """What a guest is like, without what makes it this one."""

    image: HostLabel
    """The name of one of the stack's images."""
    vcpus: Annotated[int, *number(1, 255, "virtual CPUs")] = 1
    """Virtual CPUs."""
    memory_mib: Annotated[int, *number(LEAST_MEMORY, 16 * 1024 * 1024, "MiB")] = GUEST_DEFAULTS["memory_mib"]
    """Memory in MiB."""
    disk_gib: Annotated[int, *number(1, 64 * 1024, "GiB")] = GUEST_DEFAULTS["disk_gib"]
    """Size of its disk in GiB."""
    user: UserName = "student"
    """The user that logs in; may become root by sudo."""
    ssh_key_files: tuple[LoginKeyFile, ...] = ()
    """Files with public keys that may log in."""
    ssh_keys: tuple[LoginKey, ...] = ()
    """Public keys that may log in, "ssh-ed25519 AAAA… comment"."""
    packages: tuple[PackageName, ...] = ()
    """Packages of its distribution that are installed when it boots."""
    files: tuple[File, ...] = ()
    """Files that are written when it boots."""
    commands: tuple[
        Annotated[str, Field(min_length=1), BeforeValidator(lambda value: text(value, "a command"))], ...
    ] = ()
    """Commands for its shell, run as root at the end of a boot; again after an edit."""

    @property
    def authorized_keys(self) -> tuple[str, ...]:
        """Return the public keys that may log in, each "type base64", from `ssh_keys` and the files."""
        return tuple(
            dict.fromkeys([*self.ssh_keys, *(key for file in self.ssh_key_files for key in file.keys)])
        )
