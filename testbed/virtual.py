"""A machine with a kernel and a disk of its own: QEMU in systemd-nspawn's place.

Where a killed container loses nothing that was written, this one loses what its kernel had not brought to the
disk, and what the disk had not been told to flush: as a real machine does without power.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from pathlib import Path

from providers.errors import LabError
from testbed import base, processes, progress
from testbed.base import Recipe
from testbed.lab import Testbed
from testbed.machine import Machine, Spec, Surroundings, replace

QEMU = "qemu-system-x86_64"
# It boots in twenty seconds; beside other work that can be minutes.
BOOT_DEADLINE = 300.0
MEMORY_MIB = 512
DISK_MIB = 1024
# norandmaps: see recipes/guest/boot/grub/grub.cfg.
_KERNEL = "root=/dev/vda ro console=ttyS0 quiet net.ifnames=0 norandmaps"

VIRTUAL = Recipe("virtual")


def enrol(bed: Testbed, spec: Spec) -> VirtualMachine:
    """Give this machine its keys and disk, on the network of `bed`, which ends it too; it is not started."""
    bed.start([])
    folder = bed.directory / "virtual" / spec.name
    folder.mkdir(parents=True)
    around = Surroundings(
        network=bed.network,
        base=base.build(bed.cache, bed.directory, VIRTUAL),
        identity_file=bed.directory / "id_ed25519",
        known_hosts=folder / "known_hosts",
        resolv_conf="",
    )
    machine = VirtualMachine(folder, spec, around)
    machine.prepare()
    replace(around.known_hosts, "".join(f"{machine.address} {key}\n" for key in machine.host_keys))
    return machine


class VirtualMachine(Machine):
    """A machine of the testbed whose `kill` is a power cut, page cache and all."""

    @property
    def _disk(self) -> Path:
        return self.folder / "disk.qcow2"

    def boot(self) -> None:
        """See Machine; about 20 s until it answers."""
        if self.process is not None:
            return
        self._plug()
        with self.console.open("ab") as output:
            self._process = processes.start(
                self._qemu(), self.around.network.directory, output, cwd=self.folder.absolute()
            )

    def wait(self, timeout: float = BOOT_DEADLINE) -> None:
        """See Machine."""
        super().wait(timeout)

    def reset(self) -> None:
        """See Machine."""
        self.kill()
        self._disk.unlink(missing_ok=True)
        super().reset()

    def prepare(self) -> None:
        """See Machine; the disk is a file, made of the layers that a container would have."""
        super().prepare()
        if not self._disk.exists():
            self._make_image()

    def _qemu(self) -> list[str]:
        """Return the command line. No hardware virtualisation, which not every machine has.

        One processor of the plainest model boots in 18 s of processor time; two with every feature, in 31 s.
        """
        options = [
            ("accel", "tcg"),
            ("m", str(MEMORY_MIB)),
            ("display", "none"),
            ("chardev", f"file,id=console,path={self.console.name},append=on"),
            ("serial", "chardev:console"),
            ("kernel", f"{self.around.base}/vmlinuz"),
            ("initrd", f"{self.around.base}/initrd.img"),
            ("append", _KERNEL),
            ("drive", f"file={self._disk.name},format=qcow2,if=virtio,cache=writeback"),
        ]
        for index, cable in enumerate(self.cables):
            card = f"virtio-net-pci,netdev=nic{index},mac={self._hardware_address(index)},romfile="
            options += [("netdev", f"tap,id=nic{index},ifname={cable},script=no,downscript=no")]
            options += [("device", card)]
        return [QEMU, "-nodefaults", *(word for name, value in options for word in (f"-{name}", value))]

    def _hardware_address(self, index: int) -> str:
        host = int(self.spec.address) - int(self.around.network.range.network_address)
        return f"52:54:00:00:{index:02x}:{host:02x}"

    def _plug(self) -> None:
        for cable in self.cables:
            # A power cut leaves it.
            with suppress(LabError):
                self._run("ip", "link", "delete", cable)
            self._run("ip", "tuntap", "add", "dev", cable, "mode", "tap")
            self._run("ip", "link", "set", "dev", cable, "master", self.around.network.bridge, "up")

    def _make_image(self) -> None:
        """Fill an ext4 file system with the layers. QEMU's own format above it caches, as a disk does."""
        raw = self.folder.absolute() / "disk.raw"
        raw.unlink(missing_ok=True)
        layers = f"lowerdir={self.around.base.absolute()},upperdir=upper,workdir=work"
        script = f"""
        cd {shlex.quote(str(raw.parent))}
        mkdir -p work root
        mount -t overlay overlay -o {shlex.quote(layers)} root
        mke2fs -q -t ext4 -E root_owner=0:0,lazy_itable_init=0 -d root {raw.name} {DISK_MIB}m
        """
        with progress.step(self.name, "fill its disk"):
            self._run("unshare", "--mount", "sh", "-ec", script)
        new = self.folder / "disk.new"
        self._run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(raw), str(new))
        new.rename(self._disk)

    def _run(self, *argv: str) -> None:
        processes.run(argv, self.around.network.directory, f"{self.name}: make ready to boot")
