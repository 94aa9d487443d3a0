"""A lab as the stack file describes it: hypervisors, guests on their bridges, students' environments."""

import pulumi

import config
from components.guest import Guest
from components.hypervisor import HypervisorHost
from components.pacing import drop_debug_lines, rest_while_waiting
from components.part import Part
from components.student_environment import StudentEnvironment
from providers.errors import LabError

rest_while_waiting()
drop_debug_lines()
if pulumi.runtime.is_dry_run():
    pulumi.log.info("compared with Pulumi's state: no host is looked at without --refresh")
try:
    lab = config.load()
    stack = pulumi.get_stack()
    part = Part.of_run(lab, stack)
    hosts = {host.name: HypervisorHost(host.name, host, stack, lab.images) for host in part.hosts}
    environments = {
        one.name: StudentEnvironment(one.name, one, hosts[one.host.name]) for one in part.environments
    }
    guests = {name: guest for one in environments.values() for name, guest in one.guests.items()}
    guests |= {guest.name: Guest(guest.name, guest, hosts[host.name]) for host, guest in part.guests}
except LabError as error:
    raise pulumi.RunError(str(error)) from None  # shown without a stack trace

for output, made in (("hosts", hosts), ("guests", guests), ("environments", environments)):
    pulumi.export(output, part.with_others(output, {name: one.summary for name, one in made.items()}))
