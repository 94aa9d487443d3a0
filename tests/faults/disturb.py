"""What goes wrong on a host: each function does it, and has it taken back when the case is over."""

from __future__ import annotations

import shlex
import time

from providers.host_network import FOLDER
from tests.faults.rig import Scene

TRANSACTION = f"{FOLDER}/transaction"
UNIT_FOLDER = "/etc/systemd/system"
# In front of the host's own commands in every PATH, also in those of systemd's units.
_SHIMS = "/usr/local/bin"
_GATE = "/run/kvm-lab-fault"
_FIRST_COMMAND = {"swap": "mv", "up": "ifup"}
"""What a phase runs first that does not begin by syncing the journal."""
_POLL = 0.05


def shell(scene: Scene, script: str, *, check: bool = True) -> str:
    """Run a script on the host and return what it printed."""
    return scene.host.ssh(["sh", "-c", script], check=check).stdout


def write(scene: Scene, path: str, text: str, mode: str = "644") -> None:
    """Write a file that the case takes away again."""
    scene.host.ssh(["sh", "-c", f"cat >{path} && chmod {mode} {path}"], stdin=text)
    scene.cleanup.callback(shell, scene, f"rm -f {path}")


def hook(scene: Scene, folder: str, stanza: str, action: str) -> None:
    """Let ifupdown do something more for one interface and method: "eth0 static"."""
    script = f'#!/bin/sh\n[ "$IFACE $METHOD" != "{stanza}" ] || {{ {action}; }}\n'
    write(scene, f"/etc/network/{folder}/zz-fault", script, "755")


class Console:
    """What a host writes on its console from now on: it speaks where the network is down."""

    def __init__(self, scene: Scene) -> None:
        self._file = scene.host.console
        self._seen = len(self._file.read_bytes())

    def hear(self, words: str, seconds: float = 120) -> None:
        """Wait until the host has written `words`."""
        until = time.monotonic() + seconds
        while words.encode() not in self._file.read_bytes()[self._seen :]:
            assert time.monotonic() < until, f"the console never said {words!r}"
            time.sleep(_POLL)


def announce_rollback(scene: Scene) -> Console:
    """Let the host write "rolled back" on its console once it is."""
    console = Console(scene)
    script = f"until [ -e {FOLDER}/last/rolled-back ]; do sleep 0.1; done; echo rolled back >/dev/console"
    shell(scene, f"rm -rf {FOLDER}/last; systemd-run --quiet --collect --unit=fault-report sh -c '{script}'")
    scene.cleanup.callback(shell, scene, "systemctl stop fault-report", check=False)
    return console


class Gate:
    """Holds the host's script at one point: after a `command` with which `condition` is true.

    It says so on the console: the host's network may be down. The gate holds once, and never after a boot.
    """

    def __init__(self, scene: Scene, condition: str, command: str = "sync") -> None:
        self._scene = scene
        self._console = Console(scene)
        shell(scene, f"rm -rf {_GATE} && mkdir {_GATE} && mkfifo {_GATE}/open")
        shim = (
            "#!/bin/sh\n"
            f'"$(PATH=/usr/sbin:/usr/bin command -v {command})" "$@" || exit\n'
            f"if {condition} && mkdir {_GATE}/held 2>/dev/null; then\n"
            "    echo held at the gate >/dev/console\n"
            f"    read -r _ <{_GATE}/open\n"
            "fi\n"
        )
        write(scene, f"{_SHIMS}/{command}", shim, "755")
        scene.cleanup.callback(shell, scene, f"rm -rf {_GATE}")

    @classmethod
    def phase(cls, scene: Scene, phase: str) -> Gate:
        """Hold the host in a phase of its journal: after the first command that each such phase has."""
        journal = f"{TRANSACTION}/journal"
        condition = f"""[ "$(tail -n 1 {journal} 2>/dev/null | cut -d ' ' -f 2)" = {phase} ]"""
        return cls(scene, condition, _FIRST_COMMAND.get(phase, "sync"))

    @classmethod
    def verdict(cls, scene: Scene, verdict: str) -> Gate:
        """Hold the host once a verdict stands, and nothing that follows from it is done."""
        return cls(scene, f'[ "$1" = {TRANSACTION} ] && [ -e {TRANSACTION}/{verdict} ]')

    @classmethod
    def disarmed(cls, scene: Scene) -> Gate:
        """Hold the host once a confirmed change is disarmed, and its folder is still in its place."""
        return cls(scene, f'[ "$1" = {UNIT_FOLDER} ] && [ -e {TRANSACTION}/confirmed ]')

    def reached(self) -> None:
        """Wait until the host is held there."""
        self._console.hear("held at the gate")

    def open(self) -> None:
        """Let the host go on."""
        shell(self._scene, f"timeout 5 sh -c 'echo >{_GATE}/open'")


def await_phase(scene: Scene, phase: str, seconds: float = 20) -> None:
    """Wait until the host's script has entered a phase."""
    until = time.monotonic() + seconds
    status = ""
    while f"phase={phase}\n" not in status:
        assert time.monotonic() < until, f"no phase {phase}, but {status}"
        status = scene.host.ssh(["sh", f"{TRANSACTION}/transaction.sh", "status"], check=False).stdout


def change_id(scene: Scene) -> str:
    """Return the id of the change that is pending."""
    return shell(scene, f". {TRANSACTION}/settings && echo $id").strip()


def full_disk(scene: Scene, folder: str, spare: int = 0) -> None:
    """Give a folder a disk of its own, with its content, and `spare` pages (of 4 KiB) free."""
    disk = shlex.quote(folder)
    shell(
        scene,
        f"mkdir -p {disk} && mount -t tmpfs -o mode=755 fault /mnt && cp -a {disk}/. /mnt/ && "
        f"used=$(df --output=used -B 4096 /mnt | tail -n 1) && "
        f"mount -o remount,nr_blocks=$((used + {spare})) /mnt && mount --bind /mnt {disk} && umount /mnt",
    )
    scene.cleanup.callback(shell, scene, f"umount {disk}")


def fill(scene: Scene, folder: str) -> None:
    """Use what is left of the disk that a folder has of its own."""
    shell(scene, f"dd if=/dev/zero of={shlex.quote(folder)}/fill bs=4k 2>/dev/null", check=False)


def read_only(scene: Scene, folder: str) -> None:
    """Let nothing be written in a folder."""
    shell(scene, f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}")
    scene.cleanup.callback(shell, scene, f"umount {folder}")


def stop_sshd(scene: Scene, seconds: int) -> None:
    """Stop the host's SSH server; the host starts it again by itself. Open connections stay."""
    shell(
        scene,
        f"systemd-run --quiet --collect --on-active={seconds} --timer-property=AccuracySec=100ms "
        "systemctl start ssh && systemctl stop ssh",
    )


def kill_apply(scene: Scene) -> None:
    """Kill what makes the change on the host, with all that it has started."""
    shell(scene, "systemctl kill --signal=KILL 'kvm-lab-network-apply-*.service'", check=False)


def failing_once(scene: Scene, command: str, words: str) -> None:
    """Let a command of the host fail once, when `words` are among its arguments."""
    shim = (
        "#!/bin/sh\n"
        f'case "$*" in *{shlex.quote(words)}*) ! mkdir /run/kvm-lab-failed 2>/dev/null || '
        '{ echo "no such luck" >&2; exit 2; } ;; esac\n'
        f'exec "$(PATH=/usr/sbin:/usr/bin command -v {command})" "$@"\n'
    )
    write(scene, f"{_SHIMS}/{command}", shim, "755")
    scene.cleanup.callback(shell, scene, "rm -rf /run/kvm-lab-failed")
