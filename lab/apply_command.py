"""`make apply`: an edited template or key takes effect in students' guests."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import config
from components import libvirt
from components.hypervisor import common_inputs
from config import NAMESPACE, Environment
from lab import students
from lab.settings import Settings
from lab.stack import engine_with_state
from lab.student_commands import named, turn, up_for
from lab.terminal import say
from providers import boot_slots
from providers.errors import LabError
from providers.guest_power import power_off
from providers.guest_ready import GuestReadyInputs, GuestReadyProvider
from providers.state.virsh import VIRSH
from providers.transport import connect


def apply(settings: Settings) -> int:
    """Bring an edited template or key to students' guests: `pulumi up` for these students, and a reboot."""
    start = time.monotonic()
    with turn(settings):
        lab, environments = named(settings, "apply")
        engine = engine_with_state(settings)
        wanted = students.targets(lab, settings.stack, environments, engine.resources(settings.stack))
        status = up_for(settings, environments, wanted)
        if status == 0:
            _boot_all_again(settings.stack, environments, engine.outputs(settings.stack))
            names = ", ".join(one.name for one in environments)
            say(f"applied to {names} in {time.monotonic() - start:.0f} s")
    return status


def _boot_all_again(stack: str, environments: Sequence[Environment], outputs: Mapping[str, Any]) -> None:
    """Boot all guests of the environments; when one fails the others still end before its error is raised."""
    guests = [(one.host, guest) for one in environments for guest in one.guests]
    with ThreadPoolExecutor(max(1, len(guests))) as pool:
        boots = [pool.submit(_boot_again, stack, host, guest, outputs) for host, guest in guests]
        for boot in boots:
            boot.result()


def _boot_again(stack: str, host: config.Host, guest: config.Guest, outputs: Mapping[str, Any]) -> None:
    domain, made = f"{stack}-{guest.name}", outputs["hosts"][host.name]
    with connect(host.endpoint) as session:
        # an error where it is gone: it would pass for one that is off
        session.run([*VIRSH, "domstate", "--domain", domain])
        if power_off(session, [domain], host.shutdown_timeout):
            raise LabError(
                f"{host.name}: power domain {domain} off, to boot it again",
                f"after {host.shutdown_timeout} s it still runs",
                "look at its console (virsh console); `virsh destroy` cuts its power, "
                "and what it has not written is lost",
            )
    inputs = GuestReadyInputs.model_validate(
        {
            **common_inputs(host, NAMESPACE, stack),
            "guest": guest.name,
            "domain": domain,
            "address": guest.address.ip,
            "public_key": outputs["guests"][guest.name]["host_key"],
            "console_log": libvirt.console_log(domain),
            "domain_id": "",
            "seed": "",
            "parallel": boot_slots.limit(host.parallel, made["domain_type"], made.get("cores")),
        }
    )
    GuestReadyProvider().create_thing(inputs)
