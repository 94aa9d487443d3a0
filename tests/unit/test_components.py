"""What hypervisors and guests declare: order, names, secrets, and what an edit may replace."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.etree import ElementTree as ET

import pulumi
import pulumi.runtime
import pytest
import yaml
from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
from pulumi.runtime.mocks import MockMonitor

import config
from components import guest as guest_module
from components import hypervisor, libvirt
from components.guest import Guest
from components.hypervisor import HypervisorHost
from components.student_environment import StudentEnvironment
from providers.errors import LabError
from providers.transport import Endpoint
from tests.unit.test_roster import stack_file, student

SECRET_MARK = "4dabf18193072939515e22adb298388d"  # Pulumi's, around every secret value
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGPKqm3cUbuTrjjOrhZVyOUXzrgzLoGHVeBTdyZhYYcM"
PRIVATE = "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n"
DIGEST = "ab" * 32

Requests = dict[tuple[str, str], Any]


def lab(root: Path, **guest: object) -> config.Lab:
    (root / "disk.qcow2").touch()
    (root / "key").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    web = {
        "name": "web",
        "image": "debian-12",
        "address": "198.51.100.21/24",
        "gateway": "198.51.100.1",
        "ssh_keys": [KEY],
    }
    host = {
        "name": "g1s1",
        "address": "198.51.100.11",
        "identity_file": "key",
        "host_keys": [KEY],
        "bridge": {"port": "eth0"},
        "guests": [{**web, **guest}],
    }
    images = [
        {"name": "debian-12", "path": "disk.qcow2", "sha256": DIGEST},
        {"name": "unused", "url": "https://images.example/x.qcow2", "sha256": DIGEST},
    ]
    return config.Lab.from_mapping({"hosts": [host], "images": images}, root, stack="lab")


class Mocks(pulumi.runtime.Mocks):
    """Answers as the engine would after everything was created."""

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        made: dict[str, Any] = {"domain_type": "qemu", "libvirt_version": "9.0.0", "cores": 2.0}
        if args.typ.endswith("kvm:SshHostKey"):
            made = {"private_key": {SECRET_MARK: "1b47061264138c4ac30d75fd1eb44270", "value": PRIVATE}}
            made["public_key"] = KEY
        return f"{args.name}-id", {**args.inputs, **made}

    def call(self, args: pulumi.runtime.MockCallArgs) -> tuple[dict[str, Any], None]:  # noqa: ARG002
        return {}, None


class Recorder(MockMonitor):
    """Keeps the requests themselves: mocks are not told options and dependencies."""

    def __init__(self) -> None:
        super().__init__(Mocks())
        self.requests: Requests = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802, ANN401 - gRPC's names and types
        self.requests[(request.type.rpartition(":")[2], request.name)] = request
        return super().RegisterResource(request)  # type: ignore[no-untyped-call]


def registered(program: Callable[[], None]) -> Requests:
    recorder = Recorder()
    pulumi.runtime.set_mocks(Mocks(), project="kvm-lab", stack="lab", preview=False, monitor=recorder)
    pulumi.runtime.test(program)()  # type: ignore[no-untyped-call]
    return recorder.requests


def declare(described: config.Lab) -> Requests:
    def program() -> None:
        for host in described.hosts:
            on = HypervisorHost(host.name, host, "lab", described.images)
            for guest in host.guests:
                Guest(guest.name, guest, on)

    return registered(program)


@pytest.fixture
def requests(tmp_path: Path) -> Requests:
    return declare(lab(tmp_path))


def inputs(request: Any) -> dict[str, Any]:  # noqa: ANN401 - a gRPC message
    return dict(MessageToDict(request.object))


def earlier(request: Any) -> set[tuple[str, str]]:  # noqa: ANN401 - a gRPC message
    """The (type, name) of all that must exist before."""
    split = [urn.split("::") for urn in request.dependencies]
    return {(parts[2].rpartition(":")[2], parts[3]) for parts in split}


def test_a_host_is_built_step_by_step(requests: Requests) -> None:
    assert ("AptPackages", "g1s1") in earlier(requests["NetworkBridge", "g1s1"])
    assert ("NetworkBridge", "g1s1") in earlier(requests["LibvirtHost", "g1s1"])
    assert ("LibvirtHost", "g1s1") in earlier(requests["BaseImage", "g1s1-debian-12-abababab"])
    assert ("LibvirtHost", "g1s1") in earlier(requests["Pool", "g1s1-pool"])


def test_bridge_netfilter_is_declared_only_where_it_is_asked_for(tmp_path: Path, requests: Requests) -> None:
    assert not [name for kind, name in requests if kind == "BridgeNetfilter"]
    described = lab(tmp_path)
    hosts = tuple(host.model_copy(update={"bridge_netfilter": False}) for host in described.hosts)
    asked = declare(described.model_copy(update={"hosts": hosts}))
    assert inputs(asked["BridgeNetfilter", "g1s1"])["enabled"] is False
    assert ("NetworkBridge", "g1s1") in earlier(asked["BridgeNetfilter", "g1s1"])
    assert ("BridgeNetfilter", "g1s1") in earlier(asked["LibvirtHost", "g1s1"])


def test_a_guest_waits_for_bridge_disk_and_seed(requests: Requests) -> None:
    overlay = ("Volume", "web-g1")
    assert {("GuestDisk", "web-g1"), ("BaseImage", "g1s1-debian-12-abababab")} <= earlier(requests[overlay])
    assert {overlay, ("NetworkBridge", "g1s1"), ("CloudInitDisk", "web")} <= earlier(
        requests["Domain", "web"]
    )
    assert ("Domain", "web") in earlier(requests["GuestReady", "web"])


def test_only_images_that_a_guest_asks_for_reach_the_host(requests: Requests) -> None:
    assert [name for kind, name in requests if kind == "BaseImage"] == ["g1s1-debian-12-abababab"]


def test_disks_that_are_kept_are_of_no_domain_and_only_the_one_in_use_is_protected(tmp_path: Path) -> None:
    requests = declare(lab(tmp_path, generation=3, kept=[2, 4], protect=True))
    disks = {name: request for (kind, name), request in requests.items() if kind == "Volume"}
    assert {name: request.protect for name, request in disks.items()} == {
        "web-g3": True,
        "web-g2": False,
        "web-g4": False,
    }
    assert earlier(requests["Domain", "web"]) & {("Volume", name) for name in disks} == {("Volume", "web-g3")}
    assert set(requests["GuestDisk", "web-g2"].ignoreChanges) == {"base", "image", "size"}
    assert set(requests["GuestDisk", "web-g3"].ignoreChanges) == {"base"}


def test_what_is_in_libvirt_is_made_anew_on_another_host(requests: Requests) -> None:
    for name in (("Volume", "web-g1"), ("CloudInitDisk", "web"), ("Domain", "web")):
        assert requests[name].replacement_trigger.string_value == "g1s1"


def test_a_disk_that_may_be_discarded_is_not_protected(tmp_path: Path) -> None:
    requests = declare(lab(tmp_path, protect=True, discard_disk=True))
    assert not requests["Volume", "web-g1"].protect
    assert inputs(requests["GuestDisk", "web-g1"])["discard"] is True


def test_an_environment_is_above_all_that_is_the_students_and_its_guests_know_one_another() -> None:
    written = stack_file(student(1, 2, "h2", "two"))
    described = config.Lab.from_mapping(written, Path(), stack="lab")

    def program() -> None:
        (environment,) = described.environments
        on = HypervisorHost("h2", environment.host, "lab", described.images)
        StudentEnvironment(environment.name, environment, on)

    requests = registered(program)
    below = {name: request.parent for (kind, name), request in requests.items() if kind == "Guest"}
    assert below.keys() == {"g1s2-web", "g1s2-db"}
    assert all(urn.endswith("kvm:index:StudentEnvironment::g1s2") for urn in below.values())
    # another image of the template is for new and reset environments
    assert set(requests["GuestDisk", "g1s2-web-g1"].ignoreChanges) == {"base", "image"}
    seed = inputs(requests["CloudInitDisk", "g1s2-web"])["userData"]["value"]
    hosts = next(file for file in yaml.safe_load(seed)["write_files"] if file["path"] == "/etc/hosts")
    assert hosts["content"].splitlines()[1:] == [
        "127.0.1.1 g1s2-web",
        "::1 localhost ip6-localhost ip6-loopback",
        "198.51.100.112 g1s2-web",
        "198.51.100.162 g1s2-db",
        "198.51.100.3 h2",
    ]


def test_a_student_has_an_account_on_a_host_of_his_own() -> None:
    written = stack_file(student(1, 2, None, "own", ssh_keys=[KEY], generation=3))
    described = config.Lab.from_mapping(written, Path(), stack="lab")

    def program() -> None:
        (environment,) = described.environments
        on = HypervisorHost("g1s2", environment.host, "lab", described.images)
        StudentEnvironment(environment.name, environment, on)

    requests = registered(program)
    asked = requests["StudentHost", "g1s2"]
    assert {("Pool", "g1s2-pool"), ("LibvirtHost", "g1s2")} <= earlier(asked)
    given = {name: inputs(asked)[name] for name in ("user", "keys", "generation", "kept", "pool")}
    assert given == {"user": "student", "keys": [KEY], "generation": 3, "kept": [2], "pool": "kvm-lab-lab"}
    assert "sudo" in inputs(requests["AptPackages", "g1s2"])["packages"]


def test_the_user_data_is_secret_and_the_seeds_name_is_not(requests: Requests) -> None:
    seed = inputs(requests["CloudInitDisk", "web"])
    assert SECRET_MARK in seed["userData"]
    assert seed["name"].startswith("web-seed-")
    others = {key: value for key, value in seed.items() if key != "userData"}
    assert SECRET_MARK not in json.dumps(others)


def test_the_private_key_is_in_the_seed_only(requests: Requests) -> None:
    holders = [key for key, request in requests.items() if "c2VjcmV0" in str(inputs(request))]
    assert holders == [("CloudInitDisk", "web")]


@pytest.mark.parametrize(
    "edit",
    [
        {"vcpus": 4},
        {"memory_mib": 2048},
        {"disk_gib": 20},
        {"ssh_keys": [KEY, KEY.replace("YYcM", "YYcN")]},
        {"user": "teacher"},
        {"address": "198.51.100.22/24"},
    ],
)
def test_no_edit_names_another_disk(tmp_path: Path, requests: Requests, edit: dict[str, object]) -> None:
    after = declare(lab(tmp_path, **edit))["Volume", "web-g1"]
    before = requests["Volume", "web-g1"]
    ignored = set(before.ignoreChanges)
    assert ignored == {"size", "baseVolumeId"}
    changed = {key for key, value in inputs(after).items() if value != inputs(before)[key]}
    assert changed <= ignored


def test_a_raised_generation_is_another_disk(tmp_path: Path) -> None:
    after = declare(lab(tmp_path, generation=2))
    assert inputs(after["Volume", "web-g2"])["name"] == "web-g2.qcow2"
    assert ("Volume", "web-g1") not in after


@pytest.mark.parametrize("edit", [{"ssh_keys": [KEY.replace("YYcM", "YYcN")]}, {"user": "teacher"}])
def test_an_edited_seed_has_another_name(tmp_path: Path, requests: Requests, edit: dict[str, object]) -> None:
    after = declare(lab(tmp_path, **edit))["CloudInitDisk", "web"]
    assert inputs(after)["name"] != inputs(requests["CloudInitDisk", "web"])["name"]


def test_what_the_plugin_would_ignore_replaces_the_domain(requests: Requests) -> None:
    domain = requests["Domain", "web"]
    assert domain.deleteBeforeReplace
    replaced = " ".join(domain.replaceOnChanges)
    for option in ("disks", "networkInterfaces", "machine", "video", "bootDevices"):
        assert option in replaced
        assert option in inputs(domain)


def test_the_domain(requests: Requests) -> None:
    domain = inputs(requests["Domain", "web"])
    assert domain["name"] == "lab-web"
    assert domain["type"] == "qemu"
    assert domain["autostart"] is True
    assert domain["graphics"] == {"type": "vnc", "listenType": "address", "listenAddress": "127.0.0.1"}
    (nic,) = domain["networkInterfaces"]
    assert nic == {"bridge": "br0", "mac": config.mac_address("lab", "web").upper()}


def test_a_bridge_that_is_made_anew_takes_its_guests_off_first(requests: Requests) -> None:
    # the engine deletes before a replacement what has a property from there that would replace it too:
    # the plugin replaces a domain for its description
    for option in ("networkInterfaces", "description"):
        urns = requests["Domain", "web"].propertyDependencies[option].urns
        assert [urn.rpartition(":")[2] for urn in urns if "kvm:NetworkBridge" in urn] == ["g1s1"]
    volume = requests["Volume", "web-g1"].propertyDependencies
    assert not any("NetworkBridge" in urn for found in volume.values() for urn in found.urns)


def test_a_rebuilt_image_is_for_new_disks(tmp_path: Path, requests: Requests) -> None:
    assert set(requests["GuestDisk", "web-g1"].ignoreChanges) == {"base"}
    assert inputs(requests["GuestDisk", "web-g1"])["image"] == "debian-12"
    described = lab(tmp_path)
    (image, _) = described.images
    rebuilt = described.model_copy(update={"images": (image.model_copy(update={"sha256": "cd" * 32}),)})
    after = declare(rebuilt)
    assert ("BaseImage", "g1s1-debian-12-cdcdcdcd") in after
    kept = {
        ("GuestDisk", "web-g1"): {"base"},
        ("Volume", "web-g1"): {"baseVolumeId"},
        ("Domain", "web"): set(),
    }
    for resource, ignored in kept.items():
        old, new = inputs(requests[resource]), inputs(after[resource])
        assert {key for key in new if new[key] != old[key]} == ignored


def test_claims_are_by_stack_and_host(requests: Requests) -> None:
    assert inputs(requests["NetworkBridge", "g1s1"])["stack"] == "kvm-lab/lab.g1s1"


def test_the_package_set(tmp_path: Path) -> None:
    described = lab(tmp_path)
    (host,) = described.hosts
    plain = hypervisor.package_set(host, described.images[:1])
    assert plain == sorted(hypervisor.HYPERVISOR_PACKAGES)
    more = host.model_copy(update={"virt_manager": True, "packages": ("htop",)})
    assert set(hypervisor.package_set(more, described.images)) - set(plain) == {
        "ca-certificates",
        "curl",
        "htop",
        "virt-manager",
        "xauth",
    }


@pytest.mark.parametrize("address", ["198.51.100.11", "lab.example", "2001:db8::1"])
def test_the_uri_holds_all_that_the_host_is_trusted_by(address: str) -> None:
    endpoint = Endpoint(
        host="g1s1", address=address, port=2222, user="adm", identity_file="a b/key+1", host_keys=(KEY, KEY)
    )
    parts = urlsplit(libvirt.uri(endpoint, 180, 12))
    assert (parts.scheme, parts.username, parts.hostname, parts.port) == ("qemu+ssh", "adm", address, 2222)
    assert parts.path == "/system"
    assert parse_qs(parts.query) == {
        "keyfile": ["a b/key+1"],
        "host_keys": [KEY, KEY],
        "shutdown_timeout": ["180"],
        "slots": ["12"],
        "created": ["paused"],
    }


def test_without_a_key_file_the_agent_is_asked() -> None:
    endpoint = Endpoint(host="g1s1", address="198.51.100.11", host_keys=(KEY,))
    assert "keyfile" not in libvirt.uri(endpoint, 180, 8)


def test_a_hosts_limit_reaches_libvirt_and_whoever_boots_its_guests(tmp_path: Path) -> None:
    described = lab(tmp_path)
    hosts = tuple(host.model_copy(update={"parallel": 3}) for host in described.hosts)
    asked = declare(described.model_copy(update={"hosts": hosts}))
    assert inputs(asked["GuestReady", "web"])["parallel"] == 3
    assert parse_qs(urlsplit(inputs(asked["libvirt", "g1s1"])["uri"]).query)["slots"] == ["3"]


def test_without_a_limit_emulated_guests_boot_one_a_core(requests: Requests) -> None:
    assert inputs(requests["GuestReady", "web"])["parallel"] == 2
    assert parse_qs(urlsplit(inputs(requests["libvirt", "g1s1"])["uri"]).query)["slots"] == ["8"]


def test_a_stack_cannot_take_the_pool_of_base_images() -> None:
    assert libvirt.pool_name("lab") == "kvm-lab-lab"
    with pytest.raises(LabError, match="base"):
        libvirt.pool_name("base")


DOMAIN = """<domain type="{type}"><name>lab-web</name><features><acpi/></features><cpu></cpu><devices>
<disk type="volume" device="disk"><driver name="qemu" type="raw"/>
<source pool="kvm-lab-lab" volume="web-g1.qcow2"/><target dev="vda" bus="virtio"/></disk>
<disk type="file" device="cdrom"><driver name="qemu" type="raw"/><source file="/x/seed.iso"/>
<target dev="hdd" bus="ide"/><serial>cloudinit</serial></disk></devices></domain>"""


def transformed(tmp_path: Path, domain_type: str, libvirt_version: str = "9.0.0") -> ET.Element:
    (tmp_path / "domain.xml").write_text(DOMAIN.format(type=domain_type))
    (tmp_path / "domain.xslt").write_text(guest_module.domain_xslt(domain_type, libvirt_version))
    argv = ["xsltproc", "--nonet", "--nowrite", str(tmp_path / "domain.xslt"), str(tmp_path / "domain.xml")]
    done = subprocess.run(argv, check=True, stdout=subprocess.PIPE)
    return ET.fromstring(done.stdout)  # noqa: S314 - made here


def test_disks_are_named_by_path(tmp_path: Path) -> None:
    disk, cdrom = transformed(tmp_path, "qemu").findall("devices/disk")
    assert disk.get("type") == cdrom.get("type") == "file"
    source = disk.find("source")
    assert source is not None
    assert source.attrib == {"file": f"{libvirt.pool_folder('lab')}/web-g1.qcow2"}
    driver = disk.find("driver")
    assert driver is not None
    assert driver.get("type") == "qcow2"
    assert disk.find("target[@dev='vda']") is not None
    assert cdrom.find("source[@file='/x/seed.iso']") is not None


def test_the_console_is_logged(tmp_path: Path) -> None:
    logged = transformed(tmp_path, "qemu").find("devices/serial/log")
    assert logged is not None
    assert logged.attrib == {"file": libvirt.console_log("lab-web"), "append": "off"}


@pytest.mark.parametrize(("domain_type", "mode"), [("kvm", "host-model"), ("qemu", None)])
def test_the_hosts_cpu_where_hardware_runs_it(tmp_path: Path, domain_type: str, mode: str | None) -> None:
    cpu = transformed(tmp_path, domain_type).find("cpu")
    assert cpu is not None
    assert cpu.get("mode") == mode


def test_an_emulated_guest_has_bounded_memory_for_translated_code(tmp_path: Path) -> None:
    for domain_type, version, bound in (
        ("kvm", "9.0.0", None),
        ("qemu", "10.0.0", "128"),
        ("qemu", "8.0.0", "128"),
        ("qemu", "7.0.0", None),
    ):
        features = transformed(tmp_path, domain_type, version).find("features")
        assert features is not None
        assert features.find("acpi") is not None
        assert features.findtext("tcg/tb-cache") == bound


def test_a_host_that_could_not_be_made_keeps_no_other_from_it() -> None:
    assert guest_module.domain_xslt(None, None) == guest_module.domain_xslt("kvm", "9.0.0")
