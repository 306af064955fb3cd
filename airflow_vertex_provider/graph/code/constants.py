"""Which expressions may travel: a tree in, what of it has its value only here and now out.

An expression at the top of a file runs once more in the container. So it must give there what it gave here:
it may be built of literals, names and calls of what is known to depend on its arguments alone. Code that
defines something (class bodies, decorators, conditions of imports) is looked at less strictly: it may call
what it likes, but read nothing that belongs to this process or machine.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import enum
import os
import sys
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Callables that give the same for the same arguments, by module; docs/code.md shows them to authors.
PURE: Mapping[str, frozenset[str]] = {
    "builtins": _words(
        "abs all any ascii bin bool bytearray bytes callable chr complex dict divmod enumerate "
        "filter float format frozenset hex int isinstance issubclass len list map max min object "
        "oct ord pow range repr reversed round set slice sorted str sum tuple zip"
    ),
    "collections": _words("ChainMap Counter OrderedDict defaultdict deque namedtuple"),
    "copy": _words("copy deepcopy"),
    "dataclasses": _words("field make_dataclass replace"),
    "datetime": _words("date datetime time timedelta timezone"),
    "decimal": _words("Decimal"),
    "enum": _words("Enum EnumMeta EnumType Flag IntEnum IntFlag StrEnum auto"),
    "fractions": _words("Fraction"),
    "functools": _words("cache cmp_to_key lru_cache partial reduce wraps"),
    "itertools": _words("chain combinations permutations product repeat zip_longest"),
    "json": _words("dumps loads"),
    "logging": _words("Formatter getLevelName getLogger"),
    "numpy": _words(
        "arange array asarray bool_ dtype eye float16 float32 float64 full int16 int32 int64 int8 "
        "linspace ones uint16 uint32 uint64 uint8 zeros"
    ),
    "operator": _words("attrgetter itemgetter methodcaller"),
    "os": _words("fspath"),
    "pendulum": _words("date datetime duration time timezone"),
    "pathlib": _words("Path PosixPath PurePath PurePosixPath PureWindowsPath"),
    "posixpath": _words("basename dirname join normpath split splitext"),
    "re": _words("compile escape"),
    "string": _words("Template"),
    "struct": _words("Struct calcsize pack unpack"),
    "textwrap": _words("dedent indent"),
    "types": _words("MappingProxyType SimpleNamespace"),
    "typing": _words("NamedTuple NewType ParamSpec TypeVar TypedDict cast"),
    "uuid": _words("UUID"),
    "zoneinfo": _words("ZoneInfo"),
}
_PURE_MODULES = _words("_operator cmath math")
#: Names that C modules give their parts, and what authors import.
_ALIASES = {
    "_collections": "collections",
    "_decimal": "decimal",
    "_functools": "functools",
    "_struct": "struct",
    "ntpath": "posixpath",
    "pathlib._local": "pathlib",
}
#: What belongs to this process or machine: modules as a whole, and single names.
_HERE_MODULES = _words("getpass platform random secrets shutil socket subprocess tempfile time")
_HERE = _words(
    "builtins.eval builtins.exec builtins.globals builtins.input builtins.locals "
    "builtins.open builtins.vars datetime.date.today datetime.datetime.now "
    "datetime.datetime.today datetime.datetime.utcnow io.open os.cpu_count os.getcwd "
    "os.getenv os.getlogin os.getpid os.listdir os.scandir os.stat os.uname os.walk "
    "pathlib.Path.cwd pathlib.Path.home posix.cpu_count posix.getcwd posix.getpid "
    "posix.listdir posix.scandir posix.stat posix.uname posixpath.abspath "
    "posixpath.expanduser posixpath.realpath uuid.uuid1 uuid.uuid4"
)
#: Methods of data that look at this machine.
_HERE_METHODS = _words(
    "absolute astimezone exists expanduser glob is_dir is_file iterdir open read_bytes "
    "read_text resolve rglob stat timestamp"
)
#: Types whose methods depend on their object and arguments alone.
_DATA = _words("bool bytearray bytes complex dict float frozenset int list range set slice str tuple")


@dataclasses.dataclass(frozen=True)
class Finding:
    """What keeps an expression here.

    :param line: where. :param what: the text of it. :param here: it reads something of this process or
        machine; else it makes a live object.
    """

    line: int
    what: str
    here: bool


class Expressions:
    """Looks at expressions of one module.

    :param module: the module's names, alive.
    """

    def __init__(self, module: Mapping[str, Any]) -> None:
        self._module = module

    def strict(self, node: ast.AST) -> Iterator[Finding]:
        """Yield what of an expression may give another value in the container."""
        if isinstance(node, ast.Lambda):
            for default in [*node.args.defaults, *node.args.kw_defaults]:
                if default is not None:
                    yield from self.strict(default)
            return
        if isinstance(node, ast.Call) and not self._is_pure(node.func):
            here = next(self.relaxed(node.func), None)
            yield here or Finding(node.lineno, ast.unparse(node), here=False)
            return
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom):
            yield Finding(node.lineno, ast.unparse(node), here=True)
            return
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            return
        if isinstance(node, ast.Name | ast.Attribute) and self._is_here(node):
            yield Finding(node.lineno, ast.unparse(node), here=True)
            return
        for child in ast.iter_child_nodes(node):
            yield from self.strict(child)

    def relaxed(self, node: ast.AST) -> Iterator[Finding]:
        """Yield what a statement that runs at once reads of this process or machine."""
        if isinstance(node, ast.Name | ast.Attribute) and self._is_here(node):
            yield Finding(node.lineno, ast.unparse(node), here=True)
            return
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in [*node.decorator_list, *node.args.defaults, *node.args.kw_defaults]:
                if part is not None:
                    yield from self.relaxed(part)
            return
        if isinstance(node, ast.Lambda):
            return
        for child in ast.iter_child_nodes(node):
            yield from self.relaxed(child)

    def named(self, node: ast.expr) -> tuple[bool, Any]:
        """Return whether a dotted name is known, and what it stands for.

        Only modules and classes are entered: attributes of other objects may run code of theirs.
        """
        if isinstance(node, ast.Name):
            if node.id in self._module:
                return True, self._module[node.id]
            return hasattr(builtins, node.id), getattr(builtins, node.id, None)
        if isinstance(node, ast.Attribute):
            known, owner = self.named(node.value)
            if known and isinstance(owner, types.ModuleType | type):
                missing = object()
                found = getattr(owner, node.attr, missing)
                return found is not missing, found
        return False, None

    def _is_here(self, node: ast.Name | ast.Attribute) -> bool:
        if isinstance(node, ast.Name) and node.id == "__file__":
            return True
        known, found = self.named(node)
        if not known or isinstance(found, types.ModuleType):
            return False
        if any(found is item for item in (os.environ, os.environb, sys.argv, sys.path, sys.modules)):
            return True
        if not callable(found):
            return False
        module, name = _full_name(found)
        if isinstance(found, type):
            # A name like any other until it is called, which is then looked at.
            return False
        return module.partition(".")[0] in _HERE_MODULES or f"{module}.{name}" in _HERE

    def _is_pure(self, function: ast.expr) -> bool:
        known, found = self.named(function)
        if known:
            return self._is_pure_object(found)
        if not isinstance(function, ast.Attribute) or function.attr in _HERE_METHODS:
            return False
        known, owner = self.named(function.value)
        if not known:
            # A method of what an expression gives; that is looked at by itself.
            return not isinstance(function.value, ast.Name) or function.value.id not in self._module
        return _is_data(owner)

    def _is_pure_object(self, found: Any) -> bool:
        if not callable(found):
            return False
        module, name = _full_name(found)
        if module in _PURE_MODULES:
            return True
        if f"{module}.{name}" in _HERE or name.rpartition(".")[2] in _HERE_METHODS:
            return False
        if name in PURE.get(module, ()) or name.partition(".")[0] in PURE.get(module, ()):
            return True
        if isinstance(found, type):
            if module == "builtins":
                return issubclass(found, BaseException)
            return module == self._module.get("__name__") and _is_record(found)
        return False


def _full_name(found: Any) -> tuple[str, str]:
    """Return module and qualified name of a callable, as authors know them."""
    owner = getattr(found, "__self__", None)
    name = getattr(found, "__qualname__", "") or getattr(found, "__name__", "")
    module: Any = getattr(found, "__module__", None)
    if owner is not None and not isinstance(owner, types.ModuleType):
        kind = owner if isinstance(owner, type) else type(owner)
        module, name = kind.__module__, f"{kind.__qualname__}.{getattr(found, '__name__', '')}"
    elif not isinstance(module, str):
        # Methods of built-in types, looked up on the type.
        module = getattr(getattr(found, "__objclass__", None), "__module__", builtins.__name__)
    return _ALIASES.get(module, module), name


def _is_data(value: object) -> bool:
    module, name = type(value).__module__, type(value).__qualname__
    module = _ALIASES.get(module, module)
    return (module == "builtins" and name in _DATA) or (module != "builtins" and name in PURE.get(module, ()))


def _is_record(kind: type) -> bool:
    """Say whether a class of the author's only keeps what it is given: a data class, named tuple or enum."""
    if dataclasses.is_dataclass(kind):
        return not hasattr(kind, "__post_init__") and kind.__new__ is object.__new__
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return True
    return issubclass(kind, enum.Enum) or typing.is_typeddict(kind)
