"""A lab as the stack file describes it: hypervisors, guests on their bridges, students' environments."""

import pulumi

import config
from components.guest import Guest
from components.hypervisor import HypervisorHost
from components.pacing import drop_debug_lines, rest_while_waiting
from components.student_environment import StudentEnvironment
from providers.errors import LabError

rest_while_waiting()
drop_debug_lines()
if pulumi.runtime.is_dry_run():
    pulumi.log.info("compared with Pulumi's state: no host is looked at without --refresh")
try:
    lab = config.load()
    stack = pulumi.get_stack()
    hosts = {host.name: HypervisorHost(host.name, host, stack, lab.images) for host in lab.hosts}
    environments = {
        one.name: StudentEnvironment(one.name, one, hosts[one.host.name]) for one in lab.environments
    }
    guests = {name: guest for one in environments.values() for name, guest in one.guests.items()}
    for host, guest in lab.guests:
        if guest.name not in guests:
            guests[guest.name] = Guest(guest.name, guest, hosts[host.name])
except LabError as error:
    raise pulumi.RunError(str(error)) from None  # shown without a stack trace

pulumi.export("hosts", {name: host.summary for name, host in hosts.items()})
pulumi.export("guests", {name: guest.summary for name, guest in guests.items()})
pulumi.export("environments", {name: one.summary for name, one in environments.items()})
