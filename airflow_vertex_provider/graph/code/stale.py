"""Constants of a file: its statements that make one in, whether they still give what the module holds out.

A list that a loop filled, or a number that a function set anew, would travel as it was written, not as it is.
Only statements that were found to depend on nothing but themselves are run here, each once for a file.
"""

from __future__ import annotations

import ast
import types
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_ATOMS = (type(None), bool, int, float, complex, str, bytes, bytearray, range, type(Ellipsis))
#: What statements gave that failed.
NOT_MADE = object()
_SEQUENCES = (list, tuple, deque)
_SETS = (set, frozenset)
_MAPPINGS = (dict, defaultdict, OrderedDict, Counter)


def is_comparable(value: object) -> bool:
    """Say whether a value is one that can be told from another: a literal, or a container."""
    return type(value) in (*_ATOMS, *_SEQUENCES, *_SETS, *_MAPPINGS) or _is_array(value)


def made(name: str, codes: Iterable[types.CodeType], module: Mapping[str, Any]) -> Any:
    """Return the value that statements give ``name``; :data:`NOT_MADE` if they fail.

    :param codes: the statements that make it and what it is made of, in the file's order.
    """
    scope = dict(module)
    try:
        for code in codes:
            exec(code, scope)  # noqa: S102
    except Exception:  # noqa: BLE001 - whatever it is, the text alone does not give the value
        return NOT_MADE
    return scope.get(name, NOT_MADE)


def changed_attributes(node: ast.ClassDef, kind: object) -> Iterator[tuple[str, int]]:
    """Yield the attributes of a class, with their lines, that were written as literals and are others now."""
    attributes = vars(kind) if isinstance(kind, type) else {}
    for item in node.body:
        if isinstance(item, ast.Assign | ast.AnnAssign) and item.value is not None:
            target = item.targets[0] if isinstance(item, ast.Assign) else item.target
            value = attributes.get(target.id, ...) if isinstance(target, ast.Name) else ...
            if not isinstance(target, ast.Name) or value is ... or not is_comparable(value):
                continue
            try:
                written = ast.literal_eval(item.value)
            except ValueError:
                continue
            if not is_same(written, value):
                yield target.id, item.lineno


def is_same(one: Any, other: Any) -> bool:
    """Say whether two values are equal as far as text can tell: to the last part of containers."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if type(one) in _MAPPINGS:
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if type(one) in _SEQUENCES:
        return len(one) == len(other) and all(map(is_same, one, other))
    if type(one) in (*_ATOMS, *_SETS):
        return one == other or repr(one) == repr(other)
    if _is_array(one):
        return bool(
            one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
        )
    # Two objects of another type, made in the same way.
    return True


def _is_array(value: object) -> bool:
    return type(value).__module__ == "numpy" and type(value).__qualname__ == "ndarray"
