from __future__ import annotations

import pytest

from policies.rules import desktop
from policies.rules.verdict import UNKNOWN, Finding, Resource, Unjudged, Violation


def judge(packages: object, kind: str = desktop.PACKAGES) -> list[Finding]:
    return desktop.judge(Resource(kind, "g1s1-packages", {"packages": packages}))


@pytest.mark.parametrize(
    "package",
    [
        *("task-gnome-desktop", "task-desktop", "ubuntu-desktop-minimal", "kde-plasma-desktop", "lxqt-core"),
        *("gnome", "gnome-shell", "xfce4", "mate-desktop-environment", "cinnamon-desktop-environment"),
        *("gdm3", "lightdm", "sddm", "weston", "sway", "xorg", "xserver-xorg", "xserver-xorg-core", "xrdp"),
        *("tigervnc-standalone-server", "gnome:amd64", "xorg=1:7.7+23", "gnome-core/bookworm", " GDM3 "),
        *(
            "dwm",
            "bspwm",
            "qtile",
            "xmonad",
            "jwm",
            "phosh",
            "cage",
            "river",
            "gnome-flashback",
            "gnome-panel",
        ),
        *(
            "xnest",
            "xpra",
            "unity",
            "kali-desktop-xfce",
            "lightdm-gtk-greeter",
            "sddm-theme-breeze",
            "gdm3-x",
        ),
    ],
)
def test_refuses_desktops_and_display_servers(package: str) -> None:
    assert judge(["qemu-system-x86", package]) == [
        Violation("g1s1-packages", "packages[1]", package, desktop.WANTED, desktop.WHY)
    ]


def test_allows_what_a_hypervisor_needs() -> None:
    needed = ["qemu-system-x86", "qemu-utils", "libvirt-daemon-system", "libvirt-clients", "bridge-utils"]
    handy = [
        "virt-manager",
        "xauth",
        "virt-viewer",
        "xml-core",
        "htop",
        "x11-apps",
        "kdump-tools",
        "gnome-keyring",
    ]
    assert judge([*needed, *handy]) == []


def test_unknown_packages_wait_and_known_ones_are_refused() -> None:
    assert judge(UNKNOWN) == [Unjudged("g1s1-packages", "packages", desktop.WANTED)]
    refused, waiting = judge(["xorg", UNKNOWN])
    assert isinstance(refused, Violation)
    assert waiting == Unjudged("g1s1-packages", "packages[1]", desktop.WANTED)


def test_missing_packages_are_none() -> None:
    assert desktop.judge(Resource(desktop.PACKAGES, "g1s1-packages", {})) == []
    assert judge(None) == []


def test_bounds_are_configured() -> None:
    resource = Resource(desktop.PACKAGES, "g1s1-packages", {"packages": ["xorg:amd64", "cockpit", "xterm"]})
    options = {"forbidden": ["Cockpit*"], "allowed": ["xorg"]}
    [finding] = desktop.judge(resource, options)
    assert isinstance(finding, Violation)
    assert finding.seen == "cockpit"


def test_leaves_other_resources_alone() -> None:
    assert judge(["xorg"], "pulumi-python:dynamic/kvm:NetworkBridge") == []
