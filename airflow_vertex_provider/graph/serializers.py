"""The serialisers that members' values may be written with: names in, what a task's configuration says out.

Those of this package are in the entry point; those of others are found by entry points of the group
``airflow_vertex_provider.serializers`` and loaded only when an author names one that is not known here.
"""

from __future__ import annotations

import ast
import functools
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider.exceptions import Problem
from airflow_vertex_provider.graph.code import CarryError, carry_function
from airflow_vertex_provider.graph.plugins import registered
from airflow_vertex_provider.serializers import ANY_OBJECT, ENTRY_POINT_GROUP, Serializer

#: Always used: name to the classes it takes and the file's extension. Subclasses are others: a frame of
#: GeoPandas would come back as one of pandas.
BUILT_IN: Mapping[str, tuple[tuple[str, ...], str]] = {
    "numpy": (("numpy.ndarray",), "npy"),
    "pandas": (("pandas.DataFrame", "pandas.Series"), "parquet"),
    "polars": (("polars.DataFrame",), "parquet"),
    "pyarrow": (("pyarrow.Table",), "parquet"),
}
#: Used where an author asks for them by name: reading such a file runs what its writer put there.
BY_NAME: Mapping[str, tuple[tuple[str, ...], str]] = {
    "pickle": ((ANY_OBJECT,), "pkl"),
    "joblib": ((ANY_OBJECT,), "joblib"),
}


@dataclass
class ThirdParty:
    """What other packages add.

    :param carried: name to the serialiser and its two functions as a configuration holds them.
    :param broken: what is wrong with the entry points that add nothing.
    """

    carried: dict[str, tuple[Serializer, dict[str, Any]]] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


@functools.cache
def third_party() -> ThirdParty:
    """Load what other packages register. Runs at parse and at submit, once a process; never raises for it."""
    result = ThirdParty()
    owners: dict[str, str] = {}
    for where, found, fault in registered(ENTRY_POINT_GROUP, "serialiser"):
        if fault:
            result.broken.append(fault)
            continue
        if not isinstance(found, Serializer):
            result.broken.append(f"{where} is no Serializer but {type(found).__name__}")
        elif found.name in {*BUILT_IN, *BY_NAME}:
            result.broken.append(f"{where} is called {found.name!r}, as one of this package")
        elif found.name in owners:
            result.broken.append(
                f"{where} is called {found.name!r}, as {owners[found.name]}: none of them is used"
            )
            result.carried.pop(found.name, None)
        else:
            owners[found.name] = where
            try:
                functions = {
                    verb: carry_function(getattr(found, verb)).to_config() for verb in ("write", "read")
                }
            except CarryError as error:
                result.broken.append(f"{where}: {error}")
                continue
            result.carried[found.name] = (found, functions)
    return result


def name_problems(task_id: str, names: Sequence[str]) -> Iterator[Problem]:
    """Find the names that no serialiser has; other packages are asked only if this one has none."""
    unknown = [name for name in names if name not in BUILT_IN and name not in BY_NAME]
    if not unknown:
        return
    others = third_party()
    for name in unknown:
        if name not in others.carried:
            known = ", ".join([*BUILT_IN, *BY_NAME, *sorted(others.carried)])
            yield Problem(task_id, "serializers", repr(name), "; but ".join([known, *others.broken]))


def configuration(
    named: Sequence[str], group: Collection[str], *, writes: bool, reads: bool
) -> dict[str, Any]:
    """Return what a task's configuration says of serialisers. Runs at submit.

    :param named: those that the task's settings name. In the order in which they are tried: these, then the
        built-in ones, then those of ``named`` that take any object.
    :param group: those that any task of the group names: what was written must be read, without a setting
        of the reader's own.
    :param writes: the task may write objects; :param reads: it may read some.
    """
    result: dict[str, Any] = {}
    used: list[str] = []
    if writes:
        used += sorted(dict.fromkeys([*named, *BUILT_IN]), key=lambda name: ANY_OBJECT in _form(name)[0])
        result["writers"] = {name: " ".join([*_form(name)[0], _form(name)[1]]) for name in used}
    if reads:
        result["readers"] = [*BUILT_IN, *sorted(set(group) - set(BUILT_IN))]
        used += result["readers"]
    own = {name for name in used if name not in BUILT_IN and name not in BY_NAME}
    if own:
        result["serializers"] = {name: third_party().carried[name][1] for name in sorted(own)}
    return result


def may_return_objects(source: str | None) -> bool:
    """Tell whether a function's text leaves open that it returns something beyond JSON. Runs at submit.

    A task for which it is settled carries no serialiser. Only plain functions are looked at: what a decorator
    makes of one, or a module that travels otherwise, is not known here.
    """
    try:
        (function,) = ast.parse(textwrap.dedent(source or "")).body
    except (SyntaxError, ValueError):
        return True
    if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or function.decorator_list:
        return True
    return any(map(_returns_object, function.body))


def _returns_object(node: ast.AST) -> bool:
    if isinstance(node, ast.Yield | ast.YieldFrom):
        return True
    if isinstance(node, ast.Return):
        allowed = (
            ast.Constant | ast.JoinedStr | ast.FormattedValue | ast.Dict | ast.List | ast.Tuple | ast.Set
        )
        return any(not isinstance(item, allowed) for item in _shown(node.value))
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
        return False
    return any(map(_returns_object, ast.iter_child_nodes(node)))


def _shown(node: ast.AST | None) -> Iterator[ast.AST]:
    """Yield an expression and what it shows: the items of its displays."""
    if node is not None:
        yield node
    if isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set):
        for item in ast.iter_child_nodes(node):
            if not isinstance(item, ast.expr_context):
                yield from _shown(item)


def _form(name: str) -> tuple[tuple[str, ...], str]:
    """Return the classes that a serialiser takes, and its files' extension."""
    known = BUILT_IN.get(name) or BY_NAME.get(name)
    if known:
        return known
    serializer = third_party().carried[name][0]
    return tuple(serializer.types), serializer.extension
