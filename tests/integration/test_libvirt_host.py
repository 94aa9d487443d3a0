"""libvirt on a real machine: running, stopped, claimed by two stacks, absent."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from providers.errors import LabError
from providers.libvirt_host import LibvirtHostProvider
from testbed import Machine, Spec, Testbed
from tests.inputs import inputs_on

UNITS = ["libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket", "libvirtd.service"]


def is_active(machine: Machine) -> bool:
    return machine.ssh(["systemctl", "is-active", "libvirtd.socket"], check=False).returncode == 0


@pytest.fixture
def stopped(hypervisor: Machine) -> Iterator[Machine]:
    """The machine with libvirt installed, stopped and not started at boot."""
    hypervisor.ssh(["systemctl", "disable", "--now", *UNITS])
    yield hypervisor
    hypervisor.ssh(["systemctl", "enable", "--now", "libvirtd.socket", "libvirtd.service"])


def test_a_running_libvirt_is_described_and_left_running(hypervisor: Machine) -> None:
    provider = LibvirtHostProvider()
    made = provider.create(inputs_on(hypervisor))
    outs = made.outs or {}
    assert outs["domain_type"] == "qemu"  # the machines of the tests have no /dev/kvm
    assert outs["cores"] == len(os.sched_getaffinity(0))
    assert outs["hostname"] == hypervisor.name
    assert int(outs["libvirt_version"].split(".")[0]) >= 7
    assert provider.read(made.id, outs).outs == outs
    provider.delete(made.id, outs)
    assert is_active(hypervisor)
    assert provider.read(made.id, outs).id == ""


def test_one_that_was_stopped_is_stopped_again_after_the_last_stack(stopped: Machine) -> None:
    provider = LibvirtHostProvider()
    one = provider.create(inputs_on(stopped)).outs or {}
    two = provider.create(inputs_on(stopped, "kvm-lab/two")).outs or {}
    provider.delete("x", one)
    assert is_active(stopped)
    provider.delete("x", two)
    assert not is_active(stopped)


def test_a_refresh_sees_that_it_stopped_and_an_update_starts_it(hypervisor: Machine) -> None:
    provider = LibvirtHostProvider()
    inputs = provider.check({}, inputs_on(hypervisor)).inputs
    made = provider.create(inputs)
    try:
        hypervisor.ssh(["systemctl", "stop", *UNITS])
        seen = provider.read(made.id, made.outs or {}).outs or {}
        assert seen["active"] is False
        diff = provider.diff(made.id, seen, inputs)
        assert diff.changes
        assert not diff.replaces
        mended = provider.update(made.id, seen, inputs).outs or {}
        assert mended["active"] is True
        assert is_active(hypervisor)
    finally:
        provider.delete(made.id, made.outs or {})
        hypervisor.ssh(["systemctl", "start", *UNITS])


def test_a_renamed_stack_claims_anew(hypervisor: Machine) -> None:
    provider = LibvirtHostProvider()
    before = provider.create(inputs_on(hypervisor)).outs or {}
    after = provider.update("x", before, inputs_on(hypervisor, "kvm-lab/renamed")).outs or {}
    assert provider.read("x", before).id == ""
    assert provider.read("x", after).id == "x"
    provider.delete("x", after)


def test_a_machine_without_libvirt(testbed: Testbed) -> None:
    (bare,) = testbed.start([Spec(name="bare", address=testbed.network.range.network_address + 32)])
    try:
        with pytest.raises(LabError, match="libvirt-daemon-system"):
            LibvirtHostProvider().create(inputs_on(bare))
    finally:
        bare.poweroff()
