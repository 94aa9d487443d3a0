"""A hypervisor has no desktop and no display server."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

from .verdict import UNKNOWN, Finding, Resource, Unjudged, Violation, items

NAME = "hypervisor-has-no-desktop"
DESCRIPTION = "No desktop, window manager, display manager or display server is installed on a hypervisor."
REFERENCE = "https://wiki.debian.org/DesktopEnvironment"
WHY = (
    "it takes the guests' memory and widens what can be attacked; virt-manager shows its window "
    "on the teacher's machine (ssh -X)"
)
WANTED = "no desktop and no display server (virt-manager and xauth are allowed)"
PACKAGES = "pulumi-python:dynamic/kvm:AptPackages"
HOST = "kvm:index:HypervisorHost"

FORBIDDEN = (
    # whole desktops
    *("*-desktop", "*-desktop-environment*", "task-*desktop*", "ubuntu-desktop-*"),
    *(
        "gnome",
        "gnome-core",
        "gnome-shell*",
        "gnome-session*",
        "kde-full",
        "kde-standard",
        "plasma-workspace*",
    ),
    *("xfce4", "xfce4-session", "lxde", "lxde-core", "lxqt", "lxqt-core", "lxqt-session", "mate-core"),
    *(
        "mate-session-manager",
        "cinnamon",
        "cinnamon-core",
        "cinnamon-session",
        "gnome-flashback*",
        "gnome-panel",
        "unity",
        "unity-session",
        "phosh*",
        "kali-desktop-*",
        "budgie-core*",
        "enlightenment",
    ),
    # window managers and compositors
    *(
        "mutter",
        "kwin-x11",
        "kwin-wayland",
        "metacity",
        "marco",
        "muffin",
        "xfwm4",
        "openbox",
        "fluxbox",
        "icewm",
    ),
    *("i3", "i3-wm", "sway", "weston", "labwc", "wayfire", "hyprland", "awesome", "twm", "fvwm*", "wmaker"),
    *("dwm", "bspwm", "qtile", "xmonad", "jwm", "cage", "river"),
    # display managers and their greeters
    *(
        "gdm3",
        "gdm3-*",
        "lightdm",
        "lightdm-*",
        "sddm",
        "sddm-*",
        "lxdm",
        "xdm",
        "wdm",
        "slim",
        "nodm",
        "greetd",
        "ly",
    ),
    # display servers, those for remote desktops too
    *(
        "xorg",
        "xserver-*",
        "xinit",
        "xwayland",
        "xvfb",
        "xnest",
        "xpra",
        "xrdp",
        "x2goserver*",
        "tigervnc-*-server",
        "tightvncserver",
    ),
)


def judge(resource: Resource) -> list[Finding]:
    """Judge the packages of a host."""
    if resource.type not in (PACKAGES, HOST) or "packages" not in resource.inputs:
        return []
    return judge_packages(resource.name, resource.inputs["packages"])


def judge_packages(name: str, packages: object) -> list[Finding]:
    """Judge a list of package names, also in apt's forms name:arch, name=version and name/release."""
    if packages is UNKNOWN:
        return [Unjudged(name, "packages", WANTED)]
    findings: list[Finding] = []
    for index, package in enumerate(items(packages)):
        option = f"packages[{index}]"
        if package is UNKNOWN:
            findings.append(Unjudged(name, option, WANTED))
        elif is_desktop(str(package)):
            findings.append(Violation(name, option, str(package), WANTED, WHY))
    return findings


def is_desktop(package: str) -> bool:
    """Tell whether `package` is, or brings along, a desktop or a display server."""
    bare = re.split("[:=/]", package.strip().lower())[0].rstrip("+")
    return any(fnmatchcase(bare, pattern) for pattern in FORBIDDEN)
