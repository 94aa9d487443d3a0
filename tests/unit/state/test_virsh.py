"""virsh's output, as libvirt 9 prints it."""

from __future__ import annotations

import pytest

from providers.state import virsh

CAPABILITIES = """<capabilities>
  <host><cpu><arch>x86_64</arch></cpu></host>
  <guest><os_type>hvm</os_type>
    <arch name='i686'><domain type='qemu'/><domain type='kvm'/></arch>
  </guest>
  <guest><os_type>hvm</os_type>
    <arch name='x86_64'><machine>pc</machine>{domains}</arch>
  </guest>
</capabilities>"""


@pytest.mark.parametrize(
    ("domains", "expected"),
    [("<domain type='qemu'/>", "qemu"), ("<domain type='qemu'/><domain type='kvm'/>", "kvm")],
)
def test_the_domain_type_is_that_of_the_hosts_own_architecture(domains: str, expected: str) -> None:
    assert virsh.parse_domain_type(CAPABILITIES.format(domains=domains)) == expected


def test_a_host_without_an_emulator() -> None:
    with pytest.raises(ValueError, match="x86_64"):
        virsh.parse_domain_type(CAPABILITIES.format(domains=""))


def test_pools() -> None:
    xml = "<pool type='dir'><name>a b</name><target><path>/srv/x</path></target></pool>"
    assert virsh.parse_pool(xml) == virsh.Pool("a b", "dir", "/srv/x")
    assert virsh.parse_pool("<pool type='gluster'><name>g</name></pool>").path is None


def test_volume_paths_with_spaces() -> None:
    table = (
        " Name               Path\n"
        "------------------------------------------------\n"
        " my disk.qcow2      /srv/my pool/my disk.qcow2\n"
        " web-g1.qcow2       /srv/my pool/web-g1.qcow2\n"
        "\n"
    )
    assert virsh.parse_volume_paths(table) == ["/srv/my pool/my disk.qcow2", "/srv/my pool/web-g1.qcow2"]


def test_the_disks_of_a_domain_with_what_is_below_them() -> None:
    xml = """<domain><devices>
    <disk type='file' device='disk'><source file='/p/top'/>
      <backingStore type='file'><source file='/p/middle'/><backingStore/></backingStore></disk>
    <disk type='block' device='disk'><source dev='/dev/vg/lv'/></disk>
    <disk type='file' device='cdrom'/>
    <disk type='volume' device='disk'><source pool='p' volume='v'/></disk>
    <interface type='bridge'><source bridge='br0'/></interface></devices></domain>"""
    assert virsh.parse_disk_paths(xml) == ["/p/top", "/p/middle", "/dev/vg/lv"]


def test_the_sources_of_a_domains_block_devices() -> None:
    table = (
        " Target   Source\n"
        "------------------------------------------------\n"
        " vda      /srv/my pool/web-g2.qcow2\n"
        " hdd      -\n"
        "\n"
    )
    assert virsh.parse_block_sources(table) == ["/srv/my pool/web-g2.qcow2", "-"]


def test_the_library_version() -> None:
    text = (
        "Compiled against library: libvirt 9.0.0\nUsing library: libvirt 9.0.1\nUsing API: QEMU 9.0.1\n"
        "Running hypervisor: QEMU 7.2.22\n"
    )
    assert virsh.parse_library_version(text) == "9.0.1"
    with pytest.raises(ValueError, match="Using library"):
        virsh.parse_library_version("error: failed to connect")


def test_domains_with_their_cards() -> None:
    stats = "Domain: 'lab-web'\n  state.state=1\n  state.reason=1\n\nDomain: 'it's me'\n  state.state=5\n"
    xml = """<domain type='qemu' id='1'>
  <name>lab-web</name>
  <metadata>
    <domain>
    </domain>
  </metadata>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:AA:BB:CC'/>
      <target dev='vnet0'/>
    </interface>
    <interface type='user'>
      <mac address='52:54:00:00:00:01'/>
    </interface>
  </devices>
</domain>

"""
    web, other = virsh.parse_domains(xml, stats)
    assert (web.name, web.state) == ("lab-web", "running")
    assert web.cards == (virsh.Card("52:54:00:aa:bb:cc", "vnet0"), virsh.Card("52:54:00:00:00:01", None))
    assert other == virsh.Domain("it's me", "shut off", ()), "its XML did not come"


def test_a_host_without_domains() -> None:
    assert virsh.parse_domains("", "") == ()
