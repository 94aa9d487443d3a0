"""What the callers of this package give and get: plain data, errors included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pydantic import BaseModel, ConfigDict, JsonValue

from providers.errors import LabError

Tree = Mapping[str, str]
"""Path -> text of /etc/network/interfaces and of each file it sources, in the order ifupdown reads them."""

MAIN = "/etc/network/interfaces"


class BridgeSpec(BaseModel):
    """One bridge on one port, as interfaces(5) shall have it; see bridge-utils-interfaces(5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    port: str
    """The port whose addresses the bridge takes over."""
    extra_ports: tuple[str, ...] = ()
    """Further ports, without addresses."""
    former_ports: tuple[str, ...] = ()
    """Ports that it must not have any more; others that the files name stay."""
    stp: bool = False
    forward_delay: int = 0
    """Seconds a new port waits before it passes traffic."""
    max_wait: int = 0
    """Seconds ifup waits for the ports."""
    hw_address: str | None = None
    """The bridge's MAC address; None: what the files say stays."""
    dns_search: tuple[str, ...] = ()
    """Search domains; empty: what the files say stays."""
    ipv6_auto: bool = True
    """Whether the bridge has an `inet6 auto` stanza; a static or dhcp inet6 stanza makes it needless."""

    @property
    def ports(self) -> tuple[str, ...]:
        """All ports that are asked for."""
        return (self.port, *self.extra_ports)


@dataclass(frozen=True)
class Moved:
    """What went from the port's stanzas to the bridge's; all empty when nothing moved."""

    addresses: tuple[str, ...] = ()
    """With prefix: "192.0.2.10/24", "2001:db8::a/64"."""
    gateways: tuple[str, ...] = ()
    families: tuple[str, ...] = ()
    """Family and method of each moved stanza: "inet static", "inet6 auto"."""


@dataclass(frozen=True)
class Change:
    """What to write, and what it means."""

    files: dict[str, str]
    """Path -> whole new text; only files that change. Empty: all is as wanted."""
    moved: Moved = field(default_factory=Moved)
    original: dict[str, JsonValue] = field(default_factory=dict)
    """What `give_back` needs to undo this change; keep that of the first change, not of later ones."""
    sentences: tuple[str, ...] = ()
    """The change in words: "br0 takes over 192.0.2.10/24 from eth0"."""


class StanzaRecord(BaseModel):
    """One stanza of the bridge, or of the port that became the bridge's: its text before and after."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    alias: str
    family: str
    moved: bool
    before: str
    after: str


class Original(BaseModel):
    """What a take-over replaced; the form of `Change.original`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bridge: str
    port: str
    existed: bool
    """Whether the bridge had stanzas before."""
    classed: bool
    """Whether an auto or allow-* line named it before."""
    excepted: bool = False
    """Whether the take-over named it in a no-auto-down line."""
    stanzas: tuple[StanzaRecord, ...]
    added: tuple[str, ...]
    """The bridge's stanzas that stand for none from before."""
    port_before: tuple[str, ...]
    """The port's stanzas that stayed the port's."""
    port_after: tuple[str, ...]
    dns_search: tuple[str, ...]
    """The search domains before."""
    unterminated: dict[str, str]
    """Changed file -> its last line, where that had no line end."""


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that forbids the change."""

    file: str
    """Empty when it is about what was asked, not about a file."""
    line: int
    text: str
    """The line as it stands in the file, without its indentation."""
    why: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text!r}: {self.why}" if self.file else self.why


class InterfacesError(LabError):
    """The interfaces(5) files cannot be changed as asked; nothing was changed.

    Args:
        asked: what was to be done.
        problems: every problem found, in file order.
    """

    seen_lines: ClassVar[int] = 1000

    def __init__(self, asked: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            asked,
            "\n".join(map(str, self.problems)),
            "mend these lines (interfaces(5), bridge-utils-interfaces(5)) and run again; nothing was changed",
        )

    def __reduce__(self) -> tuple[type[InterfacesError], tuple[str, tuple[Problem, ...]]]:  # type: ignore[override]
        return type(self), (self.asked, self.problems)
