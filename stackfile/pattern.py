"""Text with numbers in it: "g{group}s{student}", "198.51.100.{100 + 10*group + student}", "{student:02}".

In braces stands a sum, difference, product, quotient (//) or remainder (%) of whole numbers and of names of
such; after a colon, to how many digits it is filled with zeros.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping

_BRACES = re.compile(r"\{([^{}:]*)(?::(0[1-9]))?\}")
_OPERATIONS: Mapping[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
LONGEST = 200  # characters; a name or an address is far shorter


def render(pattern: str, numbers: Mapping[str, int]) -> str:
    """Return `pattern` with what is in braces worked out.

    Raises:
        ValueError: it cannot be; the text completes "expected …".
    """
    if len(pattern) > LONGEST:
        raise ValueError(f"a pattern of at most {LONGEST} characters")
    rest = _BRACES.sub("", pattern)
    if "{" in rest or "}" in rest:
        raise ValueError("braces in pairs, as in {group} or {student:02}")
    return _BRACES.sub(lambda found: format(_value(found[1], numbers), found[2] or ""), pattern)


def _value(text: str, numbers: Mapping[str, int]) -> int:
    expected = f"numbers, {', '.join(numbers)} and + - * // % in braces, not {{{text}}}"
    try:
        return _worked_out(ast.parse(text.strip(), mode="eval").body, numbers)
    except (SyntaxError, KeyError, TypeError, RecursionError):
        raise ValueError(expected) from None
    except ZeroDivisionError:
        raise ValueError(f"no division by zero, as in {{{text}}}") from None


def _worked_out(node: ast.expr, numbers: Mapping[str, int]) -> int:
    if isinstance(node, ast.BinOp):
        operation = _OPERATIONS[type(node.op)]
        return operation(_worked_out(node.left, numbers), _worked_out(node.right, numbers))
    if isinstance(node, ast.Name):
        return numbers[node.id]
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    raise TypeError(node)
