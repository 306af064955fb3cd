"""Values of the functions around a member in, the expressions that make them again out.

Such a value has no statement that could travel: what made it may have named variables that are gone. So it is
written out, if what it is made of is known to be all there is to it.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import logging
import math
import operator
import pathlib
import re
import string
import types
import uuid
import zoneinfo
from collections.abc import Callable, Iterable, Mapping
from typing import Any

#: Types that their own text makes again, by ``repr``.
_BY_REPR = (type(None), bool, int, str, bytes, bytearray, range, slice, complex, type(Ellipsis))
#: Types that a call with their text makes again.
_BY_TEXT = (
    decimal.Decimal,
    fractions.Fraction,
    uuid.UUID,
    pathlib.PurePosixPath,
    pathlib.PureWindowsPath,
    zoneinfo.ZoneInfo,
)
#: Types that say themselves which call makes them again.
_BY_REDUCING = (
    operator.itemgetter,
    operator.attrgetter,
    operator.methodcaller,
    datetime.date,
    datetime.timedelta,
    datetime.timezone,
)


class NotWritable(Exception):
    """A value that no expression makes again.

    :param value: it, which may be a part of the one that was to be written.
    """

    def __init__(self, value: object) -> None:
        self.value = value
        super().__init__()


class Writer:
    """Writes values.

    :param module: name of the author's module, which is another one in the container.
    :param refer: gives the name that a function, class or module has in the container, if it can be had.
    """

    def __init__(self, module: str, refer: Callable[[Any], str | None]) -> None:
        self._module = module
        self._refer = refer
        self._inside: list[object] = []

    def text(self, value: Any) -> str:
        """Return an expression for ``value``.

        :raises NotWritable: there is none.
        """
        if any(value is item for item in self._inside):
            raise NotWritable(value)  # it is inside itself
        self._inside.append(value)
        try:
            return self._text(value)
        finally:
            self._inside.pop()

    def _text(self, value: Any) -> str:
        kind = type(value)
        if kind is complex:
            return f"complex({self._text(value.real)}, {self._text(value.imag)})"
        if kind is slice:
            return _call("slice", [self.text(item) for item in (value.start, value.stop, value.step)])
        if kind in _BY_REPR:
            return repr(value)
        if kind is float:
            return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
        if kind in _CONTAINERS:
            return self._container(kind, value)
        if kind is pathlib.PosixPath or kind is pathlib.WindowsPath:
            return f"{_named(pathlib.Path)}({str(value)!r})"
        if kind in _BY_TEXT:
            return f"{_named(kind)}({str(value)!r})"
        if kind is string.Template:
            return f"{_named(kind)}({value.template!r})"
        if kind is re.Pattern:
            return f"{_named(re.compile)}({value.pattern!r}, {value.flags})"
        if kind in (logging.Logger, logging.RootLogger) and logging.getLogger(value.name) is value:
            return f"{_named(logging.getLogger)}({self._logger(value.name)})"
        if kind is datetime.datetime or kind is datetime.time:
            return self._moment(kind, value)
        if kind in _BY_REDUCING:
            made_by, args = value.__reduce__()[:2]
            maker = self.text(made_by) if isinstance(made_by, functools.partial) else _named(made_by)
            return _call(maker, map(self.text, args))
        if kind is functools.partial:
            named = value.keywords.items()
            return _call(_named(kind), map(self.text, (value.func, *value.args)), self._pairs(named))
        return self._of_the_author(kind, value)

    def _logger(self, name: str) -> str:
        if name == self._module:
            return "__name__"
        below = name.removeprefix(f"{self._module}.")
        return "" if name == "root" else repr(name) if below == name else f"__name__ + {'.' + below!r}"

    def _container(self, kind: type, value: Any) -> str:
        if kind is list:
            return f"[{', '.join(map(self.text, value))}]"
        if kind is tuple:
            return f"({''.join(self.text(item) + ', ' for item in value)})"
        if kind in (set, frozenset):
            # In an order that is the same whenever the DAG is parsed.
            return f"{kind.__name__}([{', '.join(sorted(map(self.text, value)))}])"
        if kind is collections.deque:
            return _call(_named(kind), [self.text(list(value)), self.text(value.maxlen)])
        pairs = value.items() if kind is not types.SimpleNamespace else vars(value).items()
        if kind is types.SimpleNamespace:
            return _call("__import__('types').SimpleNamespace", [], self._pairs(pairs))
        shown = f"{{{', '.join(f'{self.text(key)}: {self.text(item)}' for key, item in pairs)}}}"
        if kind is dict:
            return shown
        if kind is collections.defaultdict:
            return _call(_named(kind), [self.text(value.default_factory), shown])
        if kind is types.MappingProxyType:
            return _call("__import__('types').MappingProxyType", [shown])
        return _call(_named(kind), [shown])

    def _moment(self, kind: type, value: datetime.datetime | datetime.time) -> str:
        args = [value.hour, value.minute, value.second, value.microsecond]
        if isinstance(value, datetime.datetime):
            args = [value.year, value.month, value.day, *args]
        shown = [*map(str, args), self.text(value.tzinfo)]
        return _call(_named(kind), shown, [("fold", str(value.fold))] if value.fold else [])

    def _of_the_author(self, kind: type, value: Any) -> str:
        if isinstance(value, types.FunctionType | types.BuiltinFunctionType | types.ModuleType | type):
            return self._reference(value)
        if isinstance(value, enum.Enum):
            owner, name = self._reference(kind), str(value.name)
            by_name = type(value).__members__.get(name) is value
            return f"{owner}.{name}" if by_name else _call(owner, [self.text(value.value)])
        if isinstance(value, tuple) and kind.__bases__ == (tuple,) and hasattr(kind, "_fields"):
            return _call(self._reference(kind), map(self.text, value))
        if dataclasses.is_dataclass(kind) and _only_keeps(kind):
            fields = dataclasses.fields(kind)
            names = {item.name for item in fields}
            held = getattr(value, "__dict__", None)
            if all(item.init for item in fields) and (held is None or held.keys() == names):
                pairs = [(item.name, getattr(value, item.name)) for item in fields]
                return _call(self._reference(kind), [], self._pairs(pairs))
        raise NotWritable(value)

    def _reference(self, value: Any) -> str:
        name = self._refer(value)
        if name is None:
            raise NotWritable(value)
        return name

    def _pairs(self, pairs: Iterable[tuple[str, Any]]) -> list[tuple[str, str]]:
        return [(name, self.text(item)) for name, item in pairs]


_CONTAINERS: Mapping[type, None] = dict.fromkeys(
    (
        list,
        tuple,
        set,
        frozenset,
        dict,
        collections.OrderedDict,
        collections.Counter,
        collections.defaultdict,
        collections.deque,
        types.MappingProxyType,
        types.SimpleNamespace,
    )
)


def _only_keeps(kind: type) -> bool:
    """Say whether a data class does nothing but keep what it is given."""
    generated = vars(kind).get("__dataclass_params__")
    own_new = getattr(kind, "__new__", None) is not object.__new__
    return bool(generated and generated.init) and not own_new and not hasattr(kind, "__post_init__")


def _named(found: Any) -> str:
    """Name a part of the standard library without binding any name: the author's names stay free."""
    module = {"_decimal": "decimal", "_operator": "operator", "pathlib._local": "pathlib"}.get(
        found.__module__, found.__module__
    )
    return f"__import__({module!r}).{found.__qualname__}"


def _call(function: str, args: Iterable[str], named: Iterable[tuple[str, str]] = ()) -> str:
    return f"{function}({', '.join([*args, *(f'{name}={shown}' for name, shown in named)])})"
