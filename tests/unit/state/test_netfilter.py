"""What decides about a host's bridge netfilter: kernel, module, and sysctl.d(5) files in their order."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import pytest

from providers.errors import LabError
from providers.state.netfilter import (
    MODULES_FILE,
    SYSCTL_FILE,
    VARIABLES,
    Netfilter,
    effective,
    overriding,
    parse,
    wanted_files,
)

ON, OFF = (dict.fromkeys(VARIABLES, value) for value in (1, 0))
ALL_OFF = "".join(f"net.bridge.{name} = 0\n" for name in VARIABLES)
LOADED = {"/etc/modules-load.d/a.conf": "br_netfilter"}
FIRST = f"net.bridge.{VARIABLES[0]}"


def state(
    values: Mapping[str, int] = ON,
    *,
    is_module: bool = True,
    sysctl: Mapping[str, str] | None = None,
    modules: Mapping[str, str] | None = None,
) -> Netfilter:
    return Netfilter(values, is_module, sysctl or {}, modules or {})


def value_of(files: Mapping[str, str]) -> str | None:
    setting = effective(files).get(VARIABLES[0])
    return setting.value if setting else None


@pytest.mark.parametrize(
    ("files", "value"),
    [
        ({"/etc/sysctl.d/a.conf": f"{FIRST} = 0\n{FIRST}=1\n"}, "1"),
        ({"/etc/sysctl.d/b.conf": f"{FIRST}=0", "/usr/lib/sysctl.d/a.conf": f"{FIRST}=1"}, "0"),
        ({"/etc/sysctl.d/a.conf": f"{FIRST}=0", "/usr/lib/sysctl.d/b.conf": f"{FIRST}=1"}, "1"),
        # a file with the same name in /etc masks the other, also an empty one
        ({"/usr/lib/sysctl.d/a.conf": f"{FIRST}=1", "/etc/sysctl.d/a.conf": ""}, None),
        ({"/run/sysctl.d/a.conf": f"{FIRST}=1", "/usr/lib/sysctl.d/a.conf": f"{FIRST}=0"}, "1"),
        ({"/etc/sysctl.conf": f"{FIRST}=1", "/etc/sysctl.d/zz.conf": f"{FIRST}=0"}, "1"),
        ({"/etc/sysctl.d/a.conf": f"net/bridge/{VARIABLES[0]} =  1 "}, "1"),
        ({"/etc/sysctl.d/a.conf": f"-{FIRST} = 1"}, "1"),
        ({"/etc/sysctl.d/a.conf": f"# {FIRST} = 1\n; {FIRST} = 1\n-{FIRST}\n"}, None),
        ({"/etc/sysctl.d/a.conf": f"{FIRST}=0", "/etc/sysctl.d/b.conf": "net.bridge.*=1"}, "0"),
    ],
)
def test_the_last_line_in_force_counts(files: dict[str, str], value: str | None) -> None:
    assert value_of(files) == value


@pytest.mark.parametrize(
    ("values", "live"), [(ON, True), (OFF, False), ({}, None), ({**ON, VARIABLES[1]: 0}, None)]
)
def test_what_the_kernel_does(values: dict[str, int], live: bool | None) -> None:
    assert state(values).live is live


@pytest.mark.parametrize(
    ("modules", "is_module", "at_boot"),
    [
        ({}, True, None),
        ({}, False, False),
        ({"/etc/modules-load.d/modules.conf": "# none\nbr_netfilter\n"}, True, False),
        ({"/etc/modules-load.d/modules.conf": " br-netfilter \n"}, True, False),
        (
            {"/etc/modules-load.d/modules.conf": "#br_netfilter\n;br_netfilter\n# no br_netfilter\n"},
            True,
            None,
        ),
        ({"/usr/lib/modules-load.d/x.conf": "br_netfilter", "/etc/modules-load.d/x.conf": ""}, True, None),
    ],
)
def test_what_the_next_start_does(
    modules: dict[str, str],
    is_module: bool,
    at_boot: bool | None,
) -> None:
    found = state(is_module=is_module, modules=modules, sysctl={"/etc/sysctl.d/a.conf": ALL_OFF})
    assert found.at_boot is at_boot


def test_what_is_as_asked_already_needs_no_file_of_ours() -> None:
    found = state(OFF, sysctl={"/etc/sysctl.d/10-a.conf": ALL_OFF}, modules=LOADED)
    assert wanted_files(found, enabled=False) == {}
    ours = wanted_files(found, enabled=True)
    assert ours[SYSCTL_FILE].count(" = 1\n") == len(VARIABLES)
    assert ours[MODULES_FILE].endswith("\nbr_netfilter\n")
    assert overriding(found, ours, enabled=True) == []


def test_the_file_that_the_start_of_a_host_does_not_read_can_only_be_in_the_way() -> None:
    found = state(OFF, is_module=False, sysctl={"/etc/sysctl.conf": ALL_OFF})
    assert found.at_boot is None
    assert list(wanted_files(found, enabled=False)) == [SYSCTL_FILE]
    assert overriding(found, wanted_files(found, enabled=False), enabled=False) == []
    assert len(overriding(found, wanted_files(found, enabled=True), enabled=True)) == len(VARIABLES)
    linked = state(OFF, is_module=False, sysctl={"/etc/sysctl.d/99-sysctl.conf": ALL_OFF})
    assert linked.at_boot is False


def test_our_own_files_do_not_make_themselves_needless() -> None:
    ours = wanted_files(state(is_module=False), enabled=False)
    assert list(ours) == [SYSCTL_FILE]
    assert wanted_files(state(is_module=False, sysctl=ours), enabled=False) == ours


def test_a_line_that_is_read_later_is_named() -> None:
    late = {"/etc/sysctl.d/99-cluster.conf": f"# for pods\n{FIRST} = 1\n"}
    found = state(is_module=False, sysctl=late)
    (line,) = overriding(found, wanted_files(found, enabled=False), enabled=False)
    assert str(line) == f"/etc/sysctl.d/99-cluster.conf:2: '{FIRST} = 1'"
    assert overriding(found, wanted_files(found, enabled=True), enabled=True) == []


def test_facts_are_read_and_a_cut_answer_is_refused() -> None:
    def line(key: str, text: str, path: str = "") -> str:
        return f"{key} {base64.b64encode(text.encode()).decode()} {path}\n"

    values = "".join(f"{name} 1\n" for name in VARIABLES)
    text = line("module", "built-in") + line("values", values) + line("sysctl", "x", "/etc/sysctl.conf")
    assert parse(text) == Netfilter(ON, False, {"/etc/sysctl.conf": "x"}, {})
    with pytest.raises(LabError, match="no values"):
        parse(line("module", "loaded"))
