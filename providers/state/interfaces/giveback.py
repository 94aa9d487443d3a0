"""The port gets its stanzas back."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from providers.state.interfaces.model import Change, Tree


def give_back(tree: Tree, original: Mapping[str, JsonValue]) -> Change:
    """Undo a take-over: the port has its stanzas again, the bridge none; edits made elsewhere stay.

    Args:
        tree: the files as they are now.
        original: that of the first take-over; it names the bridge and the port.

    Raises:
        InterfacesError: with every problem found.
    """
    raise NotImplementedError
