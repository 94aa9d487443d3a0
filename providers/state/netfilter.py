"""Whether packets that a bridge passes on go through the host's firewall; pure.

The kernel says so in three variables of net/bridge, for all bridges of the host alike. They are there once
the module br_netfilter is, and are 1 then unless something sets them: Documentation/networking/ip-sysctl.rst
of the kernel ("/proc/sys/net/bridge/* Variables"), sysctl.d(5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from providers.errors import LabError
from providers.state.facts import collect

MODULE = "br_netfilter"
VARIABLES = tuple(f"bridge-nf-call-{family}" for family in ("iptables", "ip6tables", "arptables"))
SYSCTL_FILE = "/etc/sysctl.d/90-kvm-lab-bridge-netfilter.conf"
MODULES_FILE = "/etc/modules-load.d/kvm-lab-bridge-netfilter.conf"
# By precedence: of files with one name only the first counts (sysctl.d(5), modules-load.d(5)).
_FOLDERS = ("/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib")
# What `sysctl --system` reads last. The start of the host reads it only where sysctl.d has a link to it.
_LATE = "/etc/sysctl.conf"
_GLOB = frozenset("*?[")


@dataclass(frozen=True)
class Setting:
    """A line of a sysctl.d(5) file that sets a variable."""

    path: str
    line: int
    text: str
    value: str

    @property
    def truth(self) -> bool | None:
        """What the kernel makes of the value; None: it refuses it."""
        try:
            return int(self.value, 0) != 0
        except ValueError:
            return None

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text!r}"


@dataclass(frozen=True)
class Netfilter:
    """A host's bridge netfilter at one moment."""

    values: Mapping[str, int]
    """Variable -> its value in the kernel; empty where the module is not there."""
    is_module: bool
    """br_netfilter can be loaded and unloaded; False: it is built into the kernel."""
    sysctl_files: Mapping[str, str]
    """Path -> text of every sysctl.d(5) file, and of /etc/sysctl.conf."""
    modules_files: Mapping[str, str]
    """Path -> text of every modules-load.d(5) file."""

    @property
    def live(self) -> bool | None:
        """Whether it is on in the kernel; None: neither on nor off, or the module is not there."""
        return _agreed({bool(self.values[name]) for name in VARIABLES} if self.values else set())

    @property
    def at_boot(self) -> bool | None:
        """Whether the files switch it on at the next start; None: they do not say, or not for all."""
        settings = effective({path: text for path, text in self.sysctl_files.items() if path != _LATE})
        said = {settings[name].truth if name in settings else None for name in VARIABLES}
        return _agreed(said) if self._is_loaded_at_boot else None

    @property
    def _is_loaded_at_boot(self) -> bool:
        text = "\n".join(_in_force(self.modules_files).values())
        # a line is a name or a comment; the kernel takes either sign in a module's name
        names = {line.strip().replace("-", "_") for line in text.splitlines()}
        return not self.is_module or MODULE in names


def parse(text: str) -> Netfilter:
    """Turn the output of `bridge-netfilter.sh facts` into a Netfilter.

    Raises:
        LabError: it was cut or is something else.
    """
    try:
        facts = collect(text, ("values", "module"))
        pairs = (line.split() for line in facts.lines("values"))
        values = {name: int(value) for name, value in pairs}
    except ValueError as error:
        raise LabError(
            "understand what the host says about its bridge netfilter",
            str(error),
            "look at /proc/sys/net/bridge on the host",
        ) from error
    files = {
        key: {path: data.decode(errors="replace") for path, data in facts.files.get(key, {}).items()}
        for key in ("sysctl", "modules")
    }
    return Netfilter(values, facts.values["module"] != "built-in", files["sysctl"], files["modules"])


def effective(files: Mapping[str, str]) -> dict[str, Setting]:
    """Return what sets each of the variables in the end, as sysctl.d(5) reads the files.

    A pattern never counts: keys that are also written in full are exempt from it.
    """
    return {name: setting for name, setting in _settings(files) if name in VARIABLES}


def wanted_files(state: Netfilter, *, enabled: bool) -> dict[str, str]:
    """Return path -> text of our files, as the host needs them; none where others say the same already."""
    foreign = {path: text for path, text in state.sysctl_files.items() if path != SYSCTL_FILE}
    others = {path: text for path, text in state.modules_files.items() if path != MODULES_FILE}
    without = Netfilter(state.values, state.is_module, foreign, others)
    if without.at_boot is enabled:
        return {}
    lines = "".join(f"net.bridge.{name} = {int(enabled)}\n" for name in VARIABLES)
    files = {SYSCTL_FILE: f"# by kvm-lab: packets that a bridge passes on, and the firewall\n{lines}"}
    if state.is_module:
        files[MODULES_FILE] = f"# by kvm-lab: net.bridge.* in sysctl.d is for this module\n{MODULE}\n"
    return files


def overriding(state: Netfilter, files: Mapping[str, str], *, enabled: bool) -> list[Setting]:
    """Return what would still set it otherwise with our `files` in place: it is read after them."""
    sysctl = {path: text for path, text in files.items() if path == SYSCTL_FILE}
    foreign = {path: text for path, text in state.sysctl_files.items() if path != SYSCTL_FILE}
    settings = effective({**foreign, **sysctl})
    found = (settings[name] for name in VARIABLES if name in settings)
    return [setting for setting in found if setting.truth is not enabled]


def _agreed(said: set[bool | None]) -> bool | None:
    return said.pop() if len(said) == 1 else None


def _in_force(files: Mapping[str, str]) -> dict[str, str]:
    """Return the files that count, in the order in which they are read."""

    def rank(path: str) -> int:
        folder = path.rpartition("/")[0].rpartition("/")[0]
        return _FOLDERS.index(folder) if folder in _FOLDERS else len(_FOLDERS)

    by_name: dict[str, str] = {}
    for path in sorted(files, key=rank):
        by_name.setdefault("" if path == _LATE else path.rpartition("/")[2], path)
    late = by_name.pop("", None)
    paths = [by_name[name] for name in sorted(by_name)]
    return {path: files[path] for path in (*paths, *([late] if late else []))}


def _settings(files: Mapping[str, str]) -> Iterator[tuple[str, Setting]]:
    for path, text in _in_force(files).items():
        for number, raw in enumerate(text.splitlines(), 1):
            line = raw.strip()
            key, equals, value = line.partition("=")
            if not equals or line.startswith(("#", ";")) or _GLOB & set(key):
                continue
            name = _variable(key.strip().removeprefix("-"))
            if name is not None:
                yield name, Setting(path, number, line, value.strip())


def _variable(key: str) -> str | None:
    """Return the variable of net/bridge that a key names; either separator may come first."""
    for prefix in ("net.bridge.", "net/bridge/"):
        if key.startswith(prefix):
            return key.removeprefix(prefix)
    return None
