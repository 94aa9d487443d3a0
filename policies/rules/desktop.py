"""A hypervisor has no desktop and no display server."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

from .verdict import DEFAULTS, UNKNOWN, Finding, Options, Resource, Unjudged, Violation, items, texts

NAME = "hypervisor-has-no-desktop"
DESCRIPTION = "No desktop, window manager, display manager or display server is installed on a hypervisor."
REFERENCE = "https://wiki.debian.org/DesktopEnvironment"
WHY = (
    "it takes the guests' memory and widens what can be attacked; virt-manager shows its window "
    "on the teacher's machine (ssh -X)"
)
WANTED = "no desktop and no display server (virt-manager and xauth are allowed)"
_PATTERNS = {"type": "array", "items": {"type": "string", "minLength": 1}, "default": []}
OPTIONS: Options = {
    "forbidden": {**_PATTERNS, "description": "more packages that must not be, as shell patterns"},
    "allowed": {**_PATTERNS, "description": "packages that may be all the same, as shell patterns"},
}
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


def judge(resource: Resource, options: Options = DEFAULTS) -> list[Finding]:
    """Judge the packages of a host."""
    if resource.type not in (PACKAGES, HOST) or "packages" not in resource.inputs:
        return []
    return judge_packages(resource.name, resource.inputs["packages"], options)


def judge_packages(name: str, packages: object, options: Options = DEFAULTS) -> list[Finding]:
    """Judge a list of package names, also in apt's forms name:arch, name=version and name/release."""
    if packages is UNKNOWN:
        return [Unjudged(name, "packages", WANTED)]
    forbidden = (*FORBIDDEN, *texts(options.get("forbidden")))
    allowed = texts(options.get("allowed"))
    findings: list[Finding] = []
    for index, package in enumerate(items(packages)):
        option = f"packages[{index}]"
        if package is UNKNOWN:
            findings.append(Unjudged(name, option, WANTED))
        elif _matches(str(package), forbidden) and not _matches(str(package), allowed):
            findings.append(Violation(name, option, str(package), WANTED, WHY))
    return findings


def is_desktop(package: str) -> bool:
    """Tell whether `package` is, or brings along, a desktop or a display server."""
    return _matches(package, FORBIDDEN)


def _matches(package: str, patterns: Iterable[str]) -> bool:
    bare = re.split("[:=/]", package.strip().lower())[0].rstrip("+")
    return any(fnmatchcase(bare, pattern.lower()) for pattern in patterns)
