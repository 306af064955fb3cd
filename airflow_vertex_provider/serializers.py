"""A serialiser of another package: how objects of its classes become files and come back.

An author names it, as ``serializers=["acme"]`` on a group or a task; then what members return of its classes
travels in files that it wrote. Its two functions run in the tasks' containers, where the package that has the
serialiser need not be installed: their source travels (docs/values.md).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider.exceptions import VertexConfigurationError

#: Where other packages register their :class:`Serializer` objects, as entry points.
ENTRY_POINT_GROUP = "airflow_vertex_provider.serializers"
#: As a type: any object, where no other serialiser takes it.
ANY_OBJECT = "builtins.object"

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_TYPE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_EXTENSION = re.compile(r"[A-Za-z0-9]{1,16}(\.[A-Za-z0-9]{1,16})?")


@dataclass(frozen=True)
class Serializer:
    """How objects of some classes travel in files. Made when an entry point is loaded, at parse.

    :param name: by which authors choose it: ``[a-z][a-z0-9_]*``.
    :param types: dotted names of the classes it takes, ``module.qualified_name`` as the class itself says;
        subclasses are taken too. :data:`ANY_OBJECT` alone: everything that nothing else takes.
    :param extension: of the file, without the dot.
    :param write: ``write(value, path)`` writes the file ``path``, on the container's own disk. It may return
        a dict of plain JSON, which Airflow and Vertex AI show as the object's metadata. If it raises, the
        next serialiser that takes the object is tried.
    :param read: ``read(path)`` returns the object. The file is gone afterwards.
    :raises VertexConfigurationError: a field is not as described.

    Both functions must stand on their own: they import inside themselves what they need, and run on the
    Python of the tasks' images.
    """

    name: str
    types: tuple[str, ...]
    extension: str
    write: Callable[[Any, str], Any]
    read: Callable[[str], Any]

    def __post_init__(self) -> None:
        """Check the fields."""
        self._check("name", _NAME.fullmatch(str(self.name)), "lower-case letters, digits and underscores")
        listed = isinstance(self.types, list | tuple) and bool(self.types)
        good = listed and all(isinstance(name, str) and _TYPE.fullmatch(name) for name in self.types)
        self._check("types", good, "a tuple of dotted names of classes")
        if ANY_OBJECT in self.types:
            self._check("types", len(self.types) == 1, f"{ANY_OBJECT!r} alone, or other classes")
        self._check("extension", _EXTENSION.fullmatch(str(self.extension)), "letters and digits")
        for verb in ("write", "read"):
            self._check(verb, callable(getattr(self, verb)), "a function")

    def _check(self, field: str, good: object, allowed: str) -> None:
        if not good:
            raise VertexConfigurationError(
                f"serialiser {self.name!r}: {field}: found {getattr(self, field)!r}; allowed: {allowed}"
            )
