"""The bridge takes over the port's addresses."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from providers.state.interfaces.model import BridgeSpec, Change, StanzaInfo, Tree


def take_over(tree: Tree, spec: BridgeSpec, original: Mapping[str, JsonValue] | None = None) -> Change:
    """Put the port into the bridge and move its addresses there; also the update of an option.

    Args:
        tree: the files as they are.
        spec: the bridge wanted.
        original: that of the first take-over, where there was one: an emptied `dns_search`
            then gets back what the port had.

    Raises:
        InterfacesError: with every problem found; see interfaces(5).
    """
    raise NotImplementedError


def seen(tree: Tree, spec: BridgeSpec) -> BridgeSpec | None:
    """Return `spec` with the values that the files hold; None when the bridge has no stanza.

    Values that `spec` leaves to the files (no hw_address, no dns_search) come back as in `spec`.
    `port` is `spec.port` when it is among the bridge's ports, else those ports, blank-separated.
    """
    raise NotImplementedError


def port_stanzas(tree: Tree, port: str) -> tuple[StanzaInfo, ...]:
    """Return the stanzas of `port` and of its aliases (eth0:1), in reading order."""
    raise NotImplementedError
