"""The named cases: one fault each, at a point that is known."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from providers.host_network import FOLDER
from tests.faults import power_cut, program
from tests.faults.changes import GIVE_BACK, LIVE, LIVE_STP, LIVE_WAIT, REBUILD, SECOND_CARD, TAKE_OVER, Change
from tests.faults.client import STEPS
from tests.faults.disturb import (
    TRANSACTION,
    UNIT_FOLDER,
    Gate,
    announce_rollback,
    await_phase,
    change_id,
    failing_once,
    fill,
    full_disk,
    hook,
    kill_apply,
    read_only,
    shell,
    stop_sshd,
    write,
)
from tests.faults.rig import EITHER, NEW, OLD, TIMEOUT, Case, Scene
from tests.integration.bridges import BRIDGE, INTERFACES

Play = Callable[[Scene], None]
CASES: dict[str, Case] = {}
LIBVIRT, INTRUDER, CABLES = (frozenset({need}) for need in ("libvirt", "intruder", "cables"))


def add(
    name: str,
    play: Play,
    ends: frozenset[str],
    change: Change = TAKE_OVER,
    *,
    settles: bool = True,
    needs: frozenset[str] = frozenset(),
) -> None:
    """Add a case to `CASES`."""
    assert name not in CASES, name
    CASES[name] = Case(name, change, play, ends, settles, needs)


def case(
    name: str,
    ends: frozenset[str],
    change: Change = TAKE_OVER,
    *,
    needs: frozenset[str] = frozenset(),
) -> Callable[[Play], Play]:
    """Make a function the play of a case."""

    def register(play: Play) -> Play:
        add(name, play, ends, change, needs=needs)
        return play

    return register


# --- the client and its connection -----------------------------------------------------------------------


def killed(step: str, scene: Scene) -> None:
    scene.client(step).kill()


for _step in STEPS:
    add(f"client killed at {_step}", partial(killed, _step), NEW if _step == "confirmed" else OLD)
for _change in (LIVE, LIVE_STP, REBUILD, GIVE_BACK):
    add(f"client killed at prove, {_change.name}", partial(killed, "prove"), OLD, _change)
add("client killed at confirmed, give-back", partial(killed, "confirmed"), NEW, GIVE_BACK)


def cut(step: str, scene: Scene) -> None:
    client = scene.client(step)
    scene.proxy.cut()
    client.release()
    client.end()


for _step in ("stage", "check", "arm", "apply", "prove", "confirm"):
    _late = _step in {"prove", "confirm"}
    add(f"connection cut at {_step}", partial(cut, _step), NEW if _late else OLD)
add("connection cut at prove, give-back", partial(cut, "prove"), NEW, GIVE_BACK)


@case("connection cut while the host confirms", NEW)
def _(scene: Scene) -> None:
    gate = Gate.verdict(scene, "confirmed")
    client = scene.client()
    gate.reached()
    scene.proxy.cut()
    gate.open()
    client.succeeds()


@case("new connections refused for a while at prove", NEW)
def _(scene: Scene) -> None:
    client = scene.client("prove")
    scene.proxy.refuse()
    client.release()
    scene.proxy.await_refusal()
    scene.proxy.admit()
    client.succeeds()


@case("new connections refused until the rollback", OLD)
def _(scene: Scene) -> None:
    client = scene.client("prove")
    scene.proxy.refuse()
    client.release()
    client.hear("not confirmed")
    scene.proxy.admit()
    client.fails("no new connection.*back on its old configuration")


@case("network dead until the rollback", OLD)
def _(scene: Scene) -> None:
    client = scene.client("prove")
    scene.proxy.freeze()
    client.release()
    client.hear("not confirmed")
    scene.proxy.cut()
    client.fails("back on its old configuration")


@case("sshd stopped during prove", OLD)
def _(scene: Scene) -> None:
    client = scene.client("prove")
    stop_sshd(scene, TIMEOUT + 5)
    client.release()
    client.fails("no new connection.*back on its old configuration")


# --- the way to the network ------------------------------------------------------------------------------


@case("cable leads elsewhere until the rollback", OLD, needs=CABLES)
def _(scene: Scene) -> None:
    client = scene.client("prove")
    console = announce_rollback(scene)
    scene.unplug("eth0")
    client.release()
    console.hear("rolled back")
    scene.plug("eth0")
    client.fails("back on its old configuration")


@case("wrong card, and its hook fails", OLD, SECOND_CARD, needs=CABLES)
def _(scene: Scene) -> None:
    hook(scene, "if-up.d", f"{BRIDGE} manual", "echo the hook says no >&2; exit 7")
    scene.client().fails("the hook says no.*back on its old configuration")


@case("duplicate IPv4 address", OLD, needs=INTRUDER)
def _(scene: Scene) -> None:
    client = scene.client("prove")
    console = announce_rollback(scene)
    scene.intrude(f"{scene.host.address}/24")
    scene.mislead()
    client.release()
    console.hear("rolled back")
    scene.retreat()
    client.fails("the host shows ssh-ed25519 .*back on its old configuration")


@case("duplicate IPv6 address", OLD, needs=INTRUDER)
def _(scene: Scene) -> None:
    address = "fd00:6b76:6d::51/64"
    shell(scene, f"cp -a {INTERFACES} /root/kept && ip address add {address} dev eth0")
    scene.cleanup.callback(
        shell, scene, f"mv /root/kept {INTERFACES} && ip address delete {address} dev eth0"
    )
    shell(scene, f"printf '\niface eth0 inet6 static\n    address {address}\n' >>{INTERFACES}")
    client = scene.client("apply")
    gate = Gate.verdict(scene, "rolling-back")
    scene.intrude(address)
    client.release()
    gate.reached()
    scene.retreat()
    gate.open()
    client.fails("back on its old configuration")


@case("wrong gateway", OLD)
def _(scene: Scene) -> None:
    shell(scene, f"cp -a {INTERFACES} /root/right")
    scene.cleanup.callback(shell, scene, f"mv /root/right {INTERFACES}")
    shell(scene, rf"sed -i 's/\(gateway .*\)\.1$/\1.250/' {INTERFACES}")
    scene.client().fails("gateway .* does not answer.*back on its old configuration")


# --- files and hooks -------------------------------------------------------------------------------------


@case("syntax error in a sourced file", OLD)
def _(scene: Scene) -> None:
    write(scene, f"{INTERFACES}.d/broken", "iface eth9 inet\n")
    scene.client().fails(f"{INTERFACES}.d/broken")


def fail_hook(folder: str, stanza: str, scene: Scene) -> None:
    hook(scene, folder, stanza, "echo the hook says no >&2; exit 7")
    scene.client(rollback_timeout=60).fails("the hook says no.*back on its old configuration", timeout=40)


UP, DOWN = f"{BRIDGE} static", "eth0 static"
for _folder in ("if-pre-up.d", "if-up.d"):
    add(f"hook fails in {_folder}", partial(fail_hook, _folder, UP), OLD)
add("hook fails in if-up.d, rebuild", partial(fail_hook, "if-up.d", UP), OLD, REBUILD)
add("hook fails in if-up.d, give-back", partial(fail_hook, "if-up.d", DOWN), OLD, GIVE_BACK)


def fail_down_hook(folder: str, scene: Scene) -> None:
    # ifdown goes on after such a hook, and says that it came through
    hook(scene, folder, DOWN, "exit 7")
    scene.client().succeeds()


for _folder in ("if-down.d", "if-post-down.d"):
    add(f"hook fails in {_folder}", partial(fail_down_hook, _folder), NEW)


def hang_hook(folder: str, stanza: str, scene: Scene) -> None:
    hook(scene, folder, stanza, "exec sleep 600")
    scene.client().fails("back on its old configuration")
    shell(scene, "timeout 10 sh -c 'while pgrep -x sleep; do sleep 0.2; done'")


add("hook hangs in if-up.d", partial(hang_hook, "if-up.d", UP), OLD)
for _folder in ("if-down.d", "if-post-down.d"):
    add(f"hook hangs in {_folder}", partial(hang_hook, _folder, DOWN), OLD)


@case("live command fails", OLD, LIVE)
def _(scene: Scene) -> None:
    failing_once(scene, "ip", "forward_delay 400")
    scene.client(rollback_timeout=60).fails("no such luck.*back on its old configuration", timeout=30)


# --- power -----------------------------------------------------------------------------------------------


def power_cut_at_step(step: str, phase: str, scene: Scene) -> None:
    client = scene.client(step)
    await_phase(scene, phase)
    scene.power_cut()
    client.kill()


def power_cut_at_gate(gate: Callable[[Scene], Gate], scene: Scene) -> None:
    held = gate(scene)
    scene.client()
    held.reached()
    scene.power_cut()


def phase_gate(phase: str) -> Callable[[Scene], Gate]:
    return partial(Gate.phase, phase=phase)


for _step, _phase in (("check", "staged"), ("apply", "armed"), ("prove", "applied")):
    add(f"power cut when {_phase}", partial(power_cut_at_step, _step, _phase), OLD)
for _phase in ("prepare", "down", "swap", "up"):
    add(f"power cut in phase {_phase}", partial(power_cut_at_gate, phase_gate(_phase)), OLD)
for _change, _phase in ((LIVE, "live"), (REBUILD, "swap"), (GIVE_BACK, "swap"), (GIVE_BACK, "up")):
    add(
        f"power cut in phase {_phase}, {_change.name}",
        partial(power_cut_at_gate, phase_gate(_phase)),
        EITHER if _change is REBUILD else OLD,
        _change,
    )
add(
    "power cut when confirmed, not finished",
    partial(power_cut_at_gate, partial(Gate.verdict, verdict="confirmed")),
    NEW,
)
add(
    "power cut when confirmed and disarmed, not put away",
    partial(power_cut_at_gate, Gate.disarmed),
    NEW,
)


@case("power cut while rolling back", OLD)
def _(scene: Scene) -> None:
    gate = Gate.verdict(scene, "rolling-back")
    client = scene.client("prove")
    gate.reached()
    scene.power_cut()
    client.kill()


# --- disks -----------------------------------------------------------------------------------------------


@case("disk full while staging", OLD)
def _(scene: Scene) -> None:
    full_disk(scene, FOLDER, spare=3)
    scene.client().fails("not touched.*No space left")


@case("disk full while applying", OLD)
def _(scene: Scene) -> None:
    full_disk(scene, FOLDER, spare=200)
    client = scene.client("apply")
    fill(scene, FOLDER)
    client.release()
    client.fails("back on its old configuration")


@case("disk of /etc/network full", OLD)
def _(scene: Scene) -> None:
    full_disk(scene, "/etc/network", spare=1)
    scene.client().fails("failed in phase prepare.*No space left.*back on its old configuration")


@case("/etc read-only", OLD)
def _(scene: Scene) -> None:
    read_only(scene, "/etc")
    scene.client().fails("cannot install .*configuration was not touched")


@case("/etc/network read-only", OLD)
def _(scene: Scene) -> None:
    read_only(scene, "/etc/network")
    scene.client().fails("failed in phase prepare.*Read-only file system.*back on its old configuration")


@case("systemd's unit folder read-only", OLD)
def _(scene: Scene) -> None:
    read_only(scene, UNIT_FOLDER)
    scene.client().fails("cannot install .*configuration was not touched")


# --- several at once, and what earlier runs have left -----------------------------------------------------


@case("two clients at once", NEW)
def _(scene: Scene) -> None:
    clients = [scene.client(), scene.client()]
    for client in clients:
        client.succeeds()


@case("next client comes while a dead one's change is pending", NEW)
def _(scene: Scene) -> None:
    scene.client("prove").kill()
    second = scene.client()
    second.hear("was interrupted")
    second.succeeds()


@case("timer of an earlier run still armed", NEW)
def _(scene: Scene) -> None:
    client = scene.client("confirm")
    shell(
        scene,
        "systemd-run --quiet --wait --collect --unit=kvm-lab-network-rollback-0123456789abcdef "
        f"sh {TRANSACTION}/transaction.sh rollback 0123456789abcdef 'an earlier one' || true",
    )
    client.release()
    client.succeeds()


@case("staged folder of a client that died long ago", NEW)
def _(scene: Scene) -> None:
    scene.client("arm").kill()
    shell(scene, f"echo 11111111-2222-3333-4444-555555555555 20 >{TRANSACTION}/deadline")
    scene.client().succeeds()


@case("armed change whose timer is gone", NEW)
def _(scene: Scene) -> None:
    scene.client("prove").kill()
    await_phase(scene, "applied")
    shell(scene, "systemctl stop 'kvm-lab-network-rollback-*.timer'")
    scene.client().succeeds(TIMEOUT + 30)


@case("timer is monotonic and exact to a second", OLD)
def _(scene: Scene) -> None:
    client = scene.client("apply")
    shown = shell(scene, "systemctl show 'kvm-lab-network-rollback-*.timer'")
    assert f"TimersMonotonic={{ OnActiveUSec={TIMEOUT}s" in shown
    assert "AccuracyUSec=1s\n" in shown
    assert "TimersCalendar=" not in shown
    client.kill()


@case("apply killed in phase up", OLD)
def _(scene: Scene) -> None:
    # the network is down then: the host kills it by itself
    kill = "systemctl kill --signal=KILL 'kvm-lab-network-apply-*.service'"
    hook(scene, "if-up.d", UP, f"{kill}; exec sleep 600")
    scene.client().fails("back on its old configuration")


@case("apply killed in phase prepare", OLD)
def _(scene: Scene) -> None:
    gate = Gate.phase(scene, "prepare")
    client = scene.client()
    gate.reached()
    kill_apply(scene)
    client.fails("change stays in phase prepare.*back on its old configuration")


@case("rollback races confirm", EITHER)
def _(scene: Scene) -> None:
    client = scene.client("confirm")
    script, change = f"{TRANSACTION}/transaction.sh", change_id(scene)
    with ThreadPoolExecutor(1) as pool:
        race = pool.submit(
            shell,
            scene,
            f"systemd-run --quiet --wait --collect sh {script} rollback {change} race",
            check=False,
        )
        client.release()
        race.result()
    client.end()


# --- guests on the bridge ----------------------------------------------------------------------------------


def undisturbed(scene: Scene) -> None:
    scene.client().succeeds()


add("wrong card: its cable leads nowhere", undisturbed, NEW, SECOND_CARD, needs=CABLES)
for _change in (LIVE, LIVE_STP, LIVE_WAIT, REBUILD):
    add(f"guest on the bridge, {_change.name}", undisturbed, NEW, _change)


# --- libvirt -----------------------------------------------------------------------------------------------


@case("libvirtd dead before", NEW, needs=LIBVIRT)
def _(scene: Scene) -> None:
    shell(scene, "systemctl stop libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service")
    scene.cleanup.callback(shell, scene, "systemctl start libvirtd.socket")
    scene.client().succeeds()


@case("libvirtd dies during prove", OLD, needs=LIBVIRT)
def _(scene: Scene) -> None:
    shell(scene, "virsh --connect qemu:///system hostname")
    client = scene.client("prove")
    units = "libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd.service"
    shell(scene, f"systemctl kill --signal=KILL libvirtd.service; systemctl stop {units}")
    scene.cleanup.callback(shell, scene, "systemctl start libvirtd.socket")
    client.release()
    client.fails("libvirt answered before.*back on its old configuration")


@case("libvirt stops answering during prove", OLD, needs=LIBVIRT)
def _(scene: Scene) -> None:
    shell(scene, "virsh --connect qemu:///system hostname")
    client = scene.client("prove")
    shell(scene, "systemctl kill --signal=STOP libvirtd.service")
    scene.cleanup.callback(shell, scene, "systemctl kill --signal=CONT libvirtd.service")
    client.release()
    client.fails("libvirt answered before.*back on its old configuration")


CASES.update({case.name: case for case in (*program.CASES, *power_cut.CASES)})
