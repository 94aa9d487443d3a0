"""The plainest way to make guests: a shell loop over qemu-img, cloud-localds and virt-install; pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from xml.etree import ElementTree

from components.guest import OLDEST_WITH_TCG, domain_xslt
from providers.state.cloudinit import Seed

FOLDER = "/var/lib/libvirt/bench-loop"
PACKAGES = ("cloud-image-utils", "virtinst")


@dataclass(frozen=True)
class Plan:
    """What all guests of the loop share; they have what ours have.

    Attributes:
        base: the image file on the host that their disks hang on.
        disk_gib: what a disk may grow to.
        memory_mib: of each guest.
        domain_type: "kvm" or "qemu".
        bridge: the host's.
    """

    base: str
    disk_gib: int
    memory_mib: int
    domain_type: str
    bridge: str


@dataclass(frozen=True)
class LoopGuest:
    """One guest of the loop."""

    name: str
    mac: str
    seed: Seed


def create(plan: Plan, guests: Iterable[LoopGuest]) -> str:
    """Return the script that makes the guests one after the other, and waits for none to boot."""
    calls = [f"{_seed_files(guest)}create {guest.name} {guest.mac}\n" for guest in guests]
    return f"""\
set -eu
mkdir -p {FOLDER}
cd {FOLDER}
create() {{
    {new_disk(plan, '"$1.qcow2"')}
    cloud-localds --network-config="$1.network" "$1.iso" "$1.user" "$1.meta"
    virt-install --quiet --connect qemu:///system --import --noautoconsole --name "$1" \\
        --memory {plan.memory_mib} --vcpus 1 --machine pc --virt-type {plan.domain_type} \\
        --osinfo debian11 --graphics vnc,listen=127.0.0.1 --video vga {_cache(plan.domain_type)} \\
        --network "bridge={plan.bridge},model=virtio,mac=$2" \\
        --disk "path={FOLDER}/$1.qcow2,bus=virtio" --disk "path={FOLDER}/$1.iso,device=cdrom,bus=ide"
}}
{"".join(calls)}"""


def reset(plan: Plan, name: str) -> str:
    """Return the script that gives a guest a new disk."""
    disk = new_disk(plan, f"{name}.qcow2")
    return f"set -eu\ncd {FOLDER}\nvirsh -q destroy {name}\n{disk}\nvirsh -q start {name}\n"


def new_disk(plan: Plan, file: str) -> str:
    """Return the command that makes an empty disk; `file` is a word of the shell."""
    return f"qemu-img create -q -b {shlex.quote(plan.base)} -F qcow2 -f qcow2 {file} {plan.disk_gib}G"


def remove(names: Iterable[str]) -> str:
    """Return the script that removes guests with all they have, as far as they are there."""
    listed = " ".join(names)
    return f"""\
for name in {listed}; do
    virsh -q destroy "$name"
    virsh -q undefine "$name"
done 2>/dev/null
rm -rf {FOLDER}
"""


def _cache(domain_type: str) -> str:
    """Return the options that bound QEMU's translated code as ours have it, that forty guests fit in too."""
    sheet = ElementTree.fromstring(domain_xslt(domain_type, f"{OLDEST_WITH_TCG}.0.0"))  # noqa: S314 - our own
    cache = sheet.find(".//tb-cache")
    if cache is None:
        return ""
    path = "./features/tcg/tb-cache"
    return f"--xml {path}={cache.text} --xml {path}/@unit={cache.get('unit')}"


def _seed_files(guest: LoopGuest) -> str:
    """Return the lines that write a guest's seed, as cloud-localds reads it."""
    seed = guest.seed
    texts = {"user": seed.user_data, "meta": seed.meta_data, "network": seed.network_config}
    return "".join(
        f"cat >{guest.name}.{part} <<'END OF SEED'\n{text}END OF SEED\n" for part, text in texts.items()
    )
