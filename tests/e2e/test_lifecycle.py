"""One host and one guest from `pulumi up` to `pulumi destroy`; each test builds on those before it."""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed import Machine, Testbed
from tests import places
from tests.e2e.guest import GuestLogin, domain_xml, virsh
from tests.e2e.stack import Outcome, Stack, guest_entry

ADDRESS = str(places.address(121))
OTHER_ADDRESS = str(places.address(123))
NAME_SERVER = str(places.address(53))
REPLACED = {"replace", "create-replacement", "delete-replaced"}
DOMAIN = "e2e-web"
INTERFACES = "/etc/network/interfaces"


@dataclass
class Lab:
    """The stack that is up, with what the machine was like before."""

    stack: Stack
    machine: Machine
    before: dict[str, str]
    first_up: Outcome
    login: GuestLogin

    @property
    def bridge(self) -> dict[str, Any]:
        entry: dict[str, Any] = self.stack.hosts[0]["bridge"]
        return entry

    @property
    def guest(self) -> dict[str, Any]:
        entry: dict[str, Any] = self.stack.hosts[0]["guests"][0]
        return entry

    def up(self) -> Outcome:
        outcome = self.stack.up()
        assert outcome.status == 0, outcome.text
        return outcome


def footprint(machine: Machine) -> dict[str, str]:
    """Return what a destroyed stack must leave as it was: files, packages, links, addresses, routes."""
    commands = {
        "interfaces": "cat /etc/network/interfaces; find /etc/network -type f | sort | xargs sha256sum",
        "packages": "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' | grep ' ii'",
        "links": "ls /sys/class/net",
        "addresses": "ip -4 -oneline address | cut -d ' ' -f 2-7",
        "routes": "ip route",
        "units": "find /etc/systemd /run/systemd -name 'kvm-lab*'",
        "state": "ls -A /var/lib/kvm-lab 2>/dev/null || true",
    }
    return {name: machine.ssh(["sh", "-c", command]).stdout for name, command in commands.items()}


@pytest.fixture(scope="module")
def lab(
    stack: Stack,
    machine: Machine,
    testbed: Testbed,
    login_key: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Lab:
    before = footprint(machine)
    gateway = str(testbed.network.gateway)
    stack.hosts[0]["guests"] = [guest_entry("web", f"{ADDRESS}/24", login_key, gateway=gateway)]
    first = stack.up()
    assert first.status == 0, first.text
    login = GuestLogin(
        address=ADDRESS,
        user="student",
        host_key=stack.outputs()["guests"]["web"]["host_key"],
        identity_file=login_key["private"],
        known_hosts=tmp_path_factory.mktemp("guest") / "known_hosts",
    )
    return Lab(stack, machine, before, first, login)


def kernel(machine: Machine, option: str) -> str:
    return machine.ssh(["cat", f"/sys/class/net/br0/bridge/{option}"]).stdout.strip()


def test_the_host_has_the_bridge_of_the_lecture(lab: Lab) -> None:
    text = lab.machine.ssh(["cat", INTERFACES]).stdout
    for line in (
        "iface eth0 inet manual",
        "auto br0",
        "iface br0 inet static",
        "bridge_ports eth0",
        "bridge_stp off",
        "bridge_fd 0",
        "bridge_maxwait 0",
        "iface br0 inet6 auto",
    ):
        assert re.search(rf"^\s*{re.escape(line)}$", text, re.MULTILINE), f"{line!r} is not in\n{text}"
    assert (kernel(lab.machine, "stp_state"), kernel(lab.machine, "forward_delay")) == ("0", "0")
    assert (
        f"{lab.machine.address}/24" in lab.machine.ssh(["ip", "-br", "-4", "address", "show", "br0"]).stdout
    )
    ports = lab.machine.ssh(["ls", "/sys/class/net/br0/brif"]).stdout.split()
    assert ports == ["eth0", "vnet0"]


def test_no_desktop_came_along(lab: Lab) -> None:
    added = set(footprint(lab.machine)["packages"].split("\n")) - set(lab.before["packages"].split("\n"))
    names = {line.split()[0] for line in added if line}
    assert "qemu-system-x86" in names
    assert not {name for name in names if re.search("desktop|^xserver|^xorg|gdm|lightdm|sddm", name)}


def test_a_second_up_changes_nothing(lab: Lab) -> None:
    outcome = lab.stack.up("--expect-no-changes")
    assert outcome.status == 0, outcome.text


def test_the_guest_answers_with_the_key_its_seed_gave_it(lab: Lab) -> None:
    assert lab.login.answers()
    assert lab.login.ssh("hostname").strip() == "web"
    assert lab.login.ssh("sudo", "-n", "id", "-u").strip() == "0"
    lab.login.ssh("sudo", "cloud-init", "status", "--wait", check=False)
    assert "status: done" in lab.login.ssh("cloud-init", "status")
    compiled = lab.login.ssh("find", "/usr/lib/python3/dist-packages/cloudinit/__pycache__", "-name", "*.pyc")
    assert compiled, "without bytecode in the image every first boot takes half as long again"


def test_the_domain_is_as_declared(lab: Lab) -> None:
    xml = domain_xml(lab.machine, DOMAIN)
    disks = xml.findall("devices/disk")
    assert {disk.get("type") for disk in disks} == {"file"}
    assert {disk.get("device"): disk.find("driver").get("type") for disk in disks} == {  # type: ignore[union-attr]
        "disk": "qcow2",
        "cdrom": "raw",
    }
    graphics = xml.findall("devices/graphics")
    assert [(one.get("type"), one.get("listen")) for one in graphics] == [("vnc", "127.0.0.1")]
    assert xml.get("type") == "qemu"
    assert xml.findtext("features/tcg/tb-cache") == str(128 * 1024)  # libvirt tells it in KiB
    outputs = lab.stack.outputs()
    assert outputs["hosts"]["e1"]["domain_type"] == "qemu"


def test_apparmor_would_let_the_guest_at_its_disks(lab: Lab) -> None:
    """virt-aa-helper prints the rules that a host with AppArmor loads for the domain."""
    xml = domain_xml(lab.machine, DOMAIN)
    uuid = xml.findtext("uuid")
    files = [source.get("file", "") for source in xml.findall("devices/disk/source")]
    assert len(files) == 2
    overlay = next(file for file in files if file.endswith(".qcow2"))
    info = json.loads(lab.machine.ssh(["qemu-img", "info", "-U", "--output=json", overlay]).stdout)
    base = info["full-backing-filename"]
    definition = virsh(lab.machine, "dumpxml", "--inactive", DOMAIN)
    helper = ["/usr/lib/libvirt/virt-aa-helper", "--dryrun", "-c", "-u", f"libvirt-{uuid}"]
    dry_run = lab.machine.ssh(helper, stdin=definition)
    rules = dry_run.stdout + dry_run.stderr
    for path in [*files, base]:
        assert f'"{path}"' in rules, f"no rule for {path} in\n{rules}"
    writable = [line for line in rules.splitlines() if f'"{overlay}"' in line and "rw" in line]
    assert writable


def test_secrets_stay_secret(lab: Lab) -> None:
    private = lab.login.ssh("sudo", "cat", "/etc/ssh/ssh_host_ed25519_key")
    body = [line for line in private.splitlines() if line and "-----" not in line]
    assert len(body) >= 4
    backend = "\n".join(p.read_text(errors="replace") for p in lab.stack.folder.rglob("*") if p.is_file())
    logs = lab.machine.ssh(
        ["sh", "-c", "journalctl -o cat --no-pager; cat /var/log/libvirt/qemu/*.log"]
    ).stdout
    outputs = json.dumps(lab.stack.outputs())
    for line in body[1:]:  # the first line of every OpenSSH private key is nearly the same
        for place, text in {
            "state": backend,
            "output of up": lab.stack.log,
            "host's logs": logs,
            "stack outputs": outputs,
        }.items():
            assert line not in text, f"a line of the guest's private host key is in the {place}"
    folder = "/var/lib/libvirt/images/kvm-lab-e2e"
    modes = lab.machine.ssh(["find", folder, "-type", "f", "-printf", "%m %f\\n"]).stdout.split("\n")
    assert {line.split()[0] for line in modes if line} == {"600"}


@pytest.mark.parametrize(
    ("edit", "seen"),
    [
        ({"vcpus": 2}, {"vcpu": "2"}),
        ({"memory_mib": 640}, {"memory": str(640 * 1024)}),
    ],
)
def test_an_edit_of_the_domain_takes_effect_and_keeps_the_disk(
    lab: Lab, edit: dict[str, Any], seen: dict[str, str]
) -> None:
    lab.login.wait()
    lab.login.ssh("sudo", "sh", "-c", "echo kept > /marker && sync")
    lab.guest.update(edit)
    plan = lab.stack.plan()
    assert "Volume web-g1" not in plan
    assert plan["Domain web"] in REPLACED
    lab.up()
    xml = domain_xml(lab.machine, DOMAIN)
    assert {name: xml.findtext(name) for name in seen} == seen
    lab.login.wait()
    assert lab.login.ssh("cat", "/marker").strip() == "kept"
    assert lab.stack.changed_nothing()


def test_a_larger_disk_grows_at_once_and_keeps_what_is_on_it(lab: Lab) -> None:
    lab.guest["disk_gib"] = 4
    assert "Volume web-g1" not in lab.stack.plan()
    lab.up()
    info = virsh(lab.machine, "domblkinfo", DOMAIN, "vda")
    assert re.search(rf"^Capacity:\s+{4 * 2**30}$", info, re.MULTILINE), info
    assert lab.login.ssh("cat", "/marker").strip() == "kept"
    lab.guest["disk_gib"] = 3
    refused = lab.stack.up()
    assert refused.status != 0
    assert "web" in refused.text
    lab.guest["disk_gib"] = 4
    assert lab.stack.changed_nothing()


def test_what_a_guest_deletes_is_free_again_on_the_host(lab: Lab) -> None:
    disk = domain_xml(lab.machine, DOMAIN).find("devices/disk[@device='disk']/source")
    assert disk is not None

    def mib_used() -> float:
        return int(lab.machine.ssh(["stat", "-c", "%b", str(disk.get("file"))]).stdout) * 512 / 2**20

    before = mib_used()
    lab.login.ssh("sudo", "sh", "-c", "head -c 40M /dev/urandom > /large && sync")
    full = mib_used()
    assert full > before + 30
    lab.login.ssh("sudo", "sh", "-c", "rm /large && sync && fstrim /")
    assert mib_used() < full - 30


def test_a_key_comes_and_goes_at_the_next_boot_and_the_disk_stays(lab: Lab, tmp_path: Path) -> None:
    key = tmp_path / "second"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    second = dataclasses.replace(lab.login, identity_file=str(key))
    for keys, servers in ([key.with_suffix(".pub").read_text().strip()], [NAME_SERVER]), ([], []):
        lab.guest.update(ssh_keys=keys, dns=servers)
        plan = lab.stack.plan()
        assert "Volume web-g1" not in plan
        assert plan["Domain web"] == "update"
        lab.up()
        virsh(lab.machine, "destroy", DOMAIN)
        virsh(lab.machine, "start", DOMAIN)
        lab.login.wait()
        lab.login.ssh("sudo", "cloud-init", "status", "--wait")
        assert second.answers() == bool(keys)
        asked = lab.login.ssh("cat", "/run/systemd/resolve/resolv.conf")
        assert (f"nameserver {NAME_SERVER}" in asked) == bool(servers)
        assert lab.login.ssh("cat", "/marker").strip() == "kept"
    assert lab.stack.changed_nothing()


@pytest.mark.parametrize(("left", "servers"), [("paused", [NAME_SERVER]), ("shut off", [])])
def test_a_guest_that_was_left_before_its_boot_boots_with_what_was_edited_since(
    lab: Lab, left: str, servers: list[str]
) -> None:
    virsh(lab.machine, "destroy", DOMAIN)
    if left == "paused":  # as a run leaves it that was broken off before it was the guest's turn
        virsh(lab.machine, "start", "--paused", DOMAIN)
    plan = lab.stack.plan("--refresh")
    assert plan["GuestReady web"] == "update"
    assert (plan["Domain web"] == "update") == (left == "shut off")
    lab.guest.update(dns=servers)
    lab.up()
    assert virsh(lab.machine, "domstate", DOMAIN).strip() == "running"
    lab.login.wait()
    lab.login.ssh("sudo", "cloud-init", "status", "--wait")
    asked = lab.login.ssh("cat", "/run/systemd/resolve/resolv.conf")
    assert (f"nameserver {NAME_SERVER}" in asked) == bool(servers)
    assert lab.login.ssh("cat", "/marker").strip() == "kept"
    assert lab.stack.changed_nothing()


def test_a_guest_is_at_its_edited_address_at_once_with_its_disk(lab: Lab) -> None:
    lab.guest["address"] = f"{OTHER_ADDRESS}/24"
    plan = lab.stack.plan()
    assert "Volume web-g1" not in plan
    assert plan["Domain web"] in REPLACED
    lab.up()
    lab.login = dataclasses.replace(lab.login, address=OTHER_ADDRESS)
    lab.login.wait()  # sshd answers before users may log in, see pam_nologin(8)
    assert lab.login.ssh("cat", "/marker").strip() == "kept"
    assert lab.stack.changed_nothing()


@pytest.mark.parametrize(
    ("edit", "option", "seen"),
    [
        ({"max_wait": 5}, "bridge_maxwait", "5"),
        ({"dns_search": ["lab.example"]}, "dns-search", "lab.example"),
        ({"ipv6_auto": False}, "iface br0 inet6", "manual"),
        ({"forward_delay": 4}, "bridge_fd", "4"),
        ({"stp": True, "forward_delay": 2}, "bridge_stp", "on"),
        ({"stp": False, "forward_delay": 0}, "bridge_fd", "0"),
    ],
)
def test_each_bridge_option_changes_in_file_and_kernel_without_an_outage(
    lab: Lab, edit: dict[str, Any], option: str, seen: str
) -> None:
    index = lab.machine.ssh(["cat", "/sys/class/net/br0/ifindex"]).stdout
    lab.bridge.update(edit)
    plan = lab.stack.plan()
    assert plan["NetworkBridge e1"] == "update"
    lab.up()
    text = lab.machine.ssh(["cat", INTERFACES]).stdout
    assert re.search(rf"^\s*{option} {re.escape(seen)}$", text, re.MULTILINE), text
    wanted = {"stp": lab.bridge.get("stp", False), "forward_delay": lab.bridge.get("forward_delay", 0)}
    assert kernel(lab.machine, "stp_state") == ("1" if wanted["stp"] else "0")
    assert int(kernel(lab.machine, "forward_delay")) == wanted["forward_delay"] * 100  # USER_HZ
    assert lab.machine.ssh(["cat", "/sys/class/net/br0/ifindex"]).stdout == index, "the bridge was made anew"
    assert lab.stack.changed_nothing()


FILE_DRIFT = r"sed -i 's/bridge_fd 0/bridge_fd 9/' /etc/network/interfaces"
KERNEL_DRIFT = "ip link set dev br0 type bridge forward_delay 700"


@pytest.mark.parametrize("drift", [[FILE_DRIFT], [KERNEL_DRIFT], [FILE_DRIFT, KERNEL_DRIFT]])
def test_drift_by_hand_is_found_named_and_mended(lab: Lab, drift: list[str]) -> None:
    lab.machine.ssh(["sh", "-c", "; ".join(drift)])
    found = lab.stack.pulumi("preview", "--refresh", "--diff")
    assert "forward_delay" in found.text, found.text
    assert lab.stack.up("--refresh").status == 0
    assert kernel(lab.machine, "forward_delay") == "0"
    assert "bridge_fd 0" in lab.machine.ssh(["cat", INTERFACES]).stdout
    assert lab.stack.changed_nothing()


def test_after_a_reboot_of_the_host_there_is_nothing_to_do(lab: Lab) -> None:
    lab.machine.kill()
    lab.machine.boot()
    lab.machine.wait()
    lab.login.wait()
    assert lab.stack.up("--refresh", "--expect-no-changes").status == 0


def test_a_foreign_domain_of_the_wanted_name_is_left_alone(lab: Lab, login_key: dict[str, str]) -> None:
    disk = "/var/lib/libvirt/images/foreign.qcow2"
    lab.machine.ssh(["qemu-img", "create", "-q", "-f", "qcow2", disk, "8M"])
    before = lab.machine.ssh(["sha256sum", disk]).stdout
    definition = (
        "<domain type='qemu'><name>e2e-taken</name><memory>65536</memory><os><type>hvm</type></os><devices>"
        "<disk type='file'><driver name='qemu' type='qcow2'/>"
        f"<source file='{disk}'/><target dev='vda'/></disk>"
        "</devices></domain>"
    )
    lab.machine.ssh(["virsh", "-c", "qemu:///system", "define", "/dev/stdin"], stdin=definition)
    uuid = virsh(lab.machine, "domuuid", "e2e-taken")
    lab.stack.hosts[0]["guests"].append(guest_entry("taken", f"{places.address(122)}/24", login_key))
    outcome = lab.stack.up()
    assert outcome.status != 0
    assert "e2e-taken" in outcome.text
    assert virsh(lab.machine, "domuuid", "e2e-taken") == uuid
    assert lab.machine.ssh(["sha256sum", disk]).stdout == before
    lab.stack.hosts[0]["guests"].pop()
    lab.up()
    virsh(lab.machine, "undefine", "e2e-taken")
    lab.machine.ssh(["rm", disk])


def test_another_bridge_takes_the_guest_along_with_its_disk(lab: Lab) -> None:
    lab.bridge["name"] = "br7"
    plan = lab.stack.plan()
    assert plan["Domain web"] in REPLACED
    assert "Volume web-g1" not in plan
    lab.up()
    assert domain_xml(lab.machine, DOMAIN).find("devices/interface/source[@bridge='br7']") is not None
    assert lab.machine.ssh(["test", "-e", "/sys/class/net/br0"], check=False).returncode != 0
    lab.login.wait()  # sshd answers before users may log in, see pam_nologin(8)
    assert lab.login.ssh("cat", "/marker").strip() == "kept"
    assert lab.stack.changed_nothing()


def test_a_raised_generation_gives_a_new_disk_and_the_same_host_key(lab: Lab) -> None:
    lab.guest["generation"] = 2
    plan = lab.stack.plan()
    assert (plan["Volume web-g1"], plan["Volume web-g2"]) == ("delete", "create")
    lab.up()
    lab.login.wait()  # sshd answers before users may log in, see pam_nologin(8)
    assert lab.login.ssh("sh", "-c", "cat /marker || echo gone").strip() == "gone"
    assert lab.stack.changed_nothing()


def test_two_stacks_on_one_host_end_in_either_order(lab: Lab) -> None:
    plain = {**lab.stack.hosts[0], "guests": []}
    other = Stack("other", lab.stack.folder.with_name("other"), lab.stack.mark, [plain], [])
    assert other.up().status == 0
    assert other.pulumi("destroy", "--yes").status == 0  # the later one goes first
    assert lab.login.answers()
    assert lab.stack.up("--refresh", "--expect-no-changes").status == 0

    assert other.up().status == 0
    assert lab.stack.pulumi("destroy", "--yes").status == 0  # the earlier one goes first
    assert other.up("--refresh", "--expect-no-changes").status == 0
    assert "bridge_ports eth0" in lab.machine.ssh(["cat", INTERFACES]).stdout
    assert other.pulumi("destroy", "--yes").status == 0
    other.forget()


def test_nothing_is_left_on_the_host(lab: Lab) -> None:
    assert footprint(lab.machine) == lab.before
    left = lab.machine.ssh(["find", "/var/lib/libvirt/images", "-type", "f"], check=False).stdout
    assert left == ""
