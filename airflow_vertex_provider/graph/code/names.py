"""Compiled code in; the names that it looks up, and where, out.

Reads the bytecode as CPython 3.11 to 3.13 write it: it knows scopes, comprehensions, class bodies and
annotations as they really are, which a walk over the text would have to repeat.
"""

from __future__ import annotations

import dis
import types
from collections.abc import Iterator

#: What needs a name to be bound.
_READS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "DELETE_GLOBAL")


def code_objects(code: types.CodeType) -> Iterator[types.CodeType]:
    """Yield ``code`` and all code inside it: nested functions, classes, comprehensions, lambdas."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


def names_read(code: types.CodeType) -> set[str]:
    """Return the global names that ``code``, a module's, and all code inside it look up."""
    found = _operands(code, _READS)
    for part in code_objects(code):
        if part is code:
            continue
        names = _operands(part, _READS)
        # What a class body binds itself it finds there, unless it looks before.
        doubtful = names & _operands(part, ("STORE_NAME",))
        found |= names - {name for name in doubtful if _is_bound_first(part, name)}
    return found


def names_made(code: types.CodeType) -> set[str]:
    """Return the global names that functions of ``code`` bind when they are called, before they look."""
    made = set()
    for part in code_objects(code):
        names = _operands(part, ("STORE_GLOBAL",))
        doubtful = names & _operands(part, _READS)
        made |= names - {name for name in doubtful if not _is_bound_first(part, name)}
    return made


def names_read_at_once(code: types.CodeType) -> set[str]:
    """Return the names that are looked up when a module's ``code`` runs: by its own level alone."""
    return _operands(code, _READS)


def line_of(code: types.CodeType, name: str) -> int:
    """Return the first line that looks ``name`` up."""
    lines = [
        (step.positions.lineno if step.positions else None) or part.co_firstlineno
        for part in code_objects(code)
        for step in dis.get_instructions(part)
        if step.argval == name and step.opname in _READS
    ]
    return min(lines, default=code.co_firstlineno)


def _is_bound_first(code: types.CodeType, name: str) -> bool:
    for step in dis.get_instructions(code):
        if step.argval == name:
            if step.opname in ("STORE_NAME", "STORE_GLOBAL"):
                return True
            if step.opname in _READS:
                return False
    return False


def _operands(code: types.CodeType, opnames: tuple[str, ...]) -> set[str]:
    """Return the names that these operations of ``code`` itself have as their argument.

    Disassembling costs a millisecond for a middling function, so the bytes are looked at: pairs of operation
    and argument, where the argument of ``LOAD_GLOBAL`` is twice the index of the name, plus a flag.
    """
    operations, arguments = code.co_code[::2], code.co_code[1::2]
    names = set()
    for opname in opnames:
        operation = dis.opmap.get(opname)
        position = -1 if operation is None else operations.find(operation)
        while position >= 0 and operation is not None:
            index, before, shift = arguments[position], position - 1, 8
            while before >= 0 and operations[before] == dis.EXTENDED_ARG:
                index |= arguments[before] << shift
                before, shift = before - 1, shift + 8
            names.add(code.co_names[index >> 1 if opname == "LOAD_GLOBAL" else index])
            position = operations.find(operation, position + 1)
    return names
