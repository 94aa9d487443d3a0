"""kvm:index:StudentEnvironment - what one student has: guests on a shared host, or on an own one."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address

import pulumi

import config
from components import libvirt
from components.guest import Guest
from components.hypervisor import HypervisorHost
from providers.student_host import StudentHost


class StudentEnvironment(pulumi.ComponentResource):
    """The guests of one student, which know one another and their host by name; the account on an own host.

    All that belongs to the student is below it, so that a plan shows whom it is about.

    Args:
        name: the resource's name, the environment's: gXsY, say.
        environment: the environment as it follows from the roster.
        on: the hypervisor.
        opts: as for every resource.

    Attributes:
        guests: its guests by name.
        summary: what people look for first.
    """

    def __init__(
        self,
        name: str,
        environment: config.Environment,
        on: HypervisorHost,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        student = environment.student
        declared = {
            "group": student.group,
            "student": student.student,
            "host": environment.host.name,
            "generation": student.generation,
        }
        super().__init__("kvm:index:StudentEnvironment", name, declared, opts)
        inside = pulumi.ResourceOptions(parent=self)
        if environment.own_host:
            self._account(environment, on)
        names = neighbours(environment)
        self.guests = {
            guest.name: Guest(guest.name, guest, on, names, keeps_image=True, opts=inside)
            for guest in environment.guests
        }
        self.summary = {"host": environment.host.name, "guests": list(self.guests)}
        self.register_outputs(self.summary)

    def _account(self, environment: config.Environment, on: HypervisorHost) -> StudentHost:
        props = {
            **on.common,
            "user": environment.user,
            "keys": list(environment.login),
            "generation": environment.student.generation,
            "kept": list(environment.kept),
            "pool": libvirt.pool_name(on.stack),
        }
        # what is there when it is made is not the student's: the stack's pool must be among it
        options = pulumi.ResourceOptions(
            parent=self, depends_on=[on.libvirt, on.pool], protect=environment.protect
        )
        return StudentHost(environment.name, props, options)


def neighbours(environment: config.Environment) -> dict[str, str]:
    """Return the names that an environment's guests know, by address: their own, and their host's."""
    known = {str(guest.address.ip): guest.name for guest in environment.guests}
    with contextlib.suppress(ValueError):  # a DNS name is found without
        known.setdefault(str(ip_address(environment.host.address)), environment.host.name)
    return known
