"""A lab as the stack file describes it: hypervisors, and the guests on their bridges."""

import pulumi

import config
from components.guest import Guest
from components.hypervisor import HypervisorHost
from components.pacing import pace_event_loop
from providers.errors import LabError

pace_event_loop()
try:
    lab = config.load()
    stack = pulumi.get_stack()
    hosts = {host.name: HypervisorHost(host.name, host, stack, lab.images) for host in lab.hosts}
    guests = {guest.name: Guest(guest.name, guest, on=hosts[host.name]) for host, guest in lab.guests}
except LabError as error:
    raise pulumi.RunError(str(error)) from None  # shown without a stack trace

pulumi.export("hosts", {name: host.summary for name, host in hosts.items()})
pulumi.export("guests", {name: guest.summary for name, guest in guests.items()})
