"""interfaces(5) of ifupdown 0.8: a bridge takes over its port's addresses, and gives them back.

Pure: text in, text out. The usual order of calls:

    tree = read_tree(read, expand)            # the caller reads the host's files
    change = take_over(tree, spec)            # InterfacesError lists every reason against it
    ... write change.files, keep change.original ...
    seen(tree, spec)                          # what the files say now, to compare with the spec
    give_back(tree, change.original)          # undo, whatever was edited elsewhere since
"""

from providers.state.interfaces.giveback import give_back, ports_before
from providers.state.interfaces.lines import without_secrets
from providers.state.interfaces.model import (
    MAIN,
    BridgeSpec,
    Change,
    InterfacesError,
    Moved,
    Problem,
    Tree,
)
from providers.state.interfaces.sources import SourcePattern, decode, encode, read_tree, source_patterns
from providers.state.interfaces.takeover import seen, take_over

__all__ = [
    "MAIN",
    "BridgeSpec",
    "Change",
    "InterfacesError",
    "Moved",
    "Problem",
    "SourcePattern",
    "Tree",
    "decode",
    "encode",
    "give_back",
    "ports_before",
    "read_tree",
    "seen",
    "source_patterns",
    "take_over",
    "without_secrets",
]
