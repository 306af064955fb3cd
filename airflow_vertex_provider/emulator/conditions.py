"""Conditions: the CEL text that kfp writes for ``dsl.If`` and a task's input values in, true or false out.

kfp writes a small part of CEL, and that part is read here: comparisons of input parameters and constants,
``!``, ``&&``, brackets, and the casts ``int`` and ``double``. Anything else is refused when the job is
created. kfp puts a text between quotes as it stands, so one that holds a quote is no valid CEL.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider.emulator.parameters import compact

#: Deepest nesting of brackets and negations.
MAX_DEPTH = 100

_ALLOWED = (
    "allowed: inputs.parameter_values['name'], texts, numbers, true and false, compared by == != < <= > >=, "
    "joined by &&, negated by !, cast by int() and double(), in brackets"
)

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<input>inputs\.parameter_values\[\s*(?:'(?P<single>[^'\\\n]*)'|"(?P<double>[^"\\\n]*)")\s*\])
    |(?P<text>'(?:[^'\\\r\n]|\\.)*'|"(?:[^"\\\r\n]|\\.)*")
    |(?P<float>-?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.[0-9]+(?:[eE][-+]?[0-9]+)?))
    |(?P<whole>-?[0-9]+)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<sign>&&|==|!=|<=|>=|[<>!()])
    )""",
    re.VERBOSE,
)
_ESCAPES = {
    "a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip
_ESCAPE = re.compile(r"\\(?:([abfnrtv\\'\"`?])|[xX]([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))")
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}

_Values = Mapping[str, Any]
_Node = Callable[[_Values], Any]


class ConditionError(Exception):
    """A condition cannot be read, or does not fit the values it is asked about."""


@dataclass(frozen=True)
class Condition:
    """A condition that was read.

    :param names: the input parameters that it asks about.
    """

    text: str
    names: frozenset[str]
    _node: _Node

    def holds(self, values: _Values) -> bool:
        """Say whether the condition is true for these input values.

        :raises ConditionError: an input has no value, or values of different kinds are compared.
        """
        result = self._node(values)
        if not isinstance(result, bool):
            raise ConditionError(f"the condition gives {compact(result)[:60]}, neither true nor false")
        return result


def parse(text: str) -> Condition:
    """Read a condition.

    :raises ConditionError: it is not one that kfp can have meant.
    """
    return _Parser(text).whole()


@dataclass(frozen=True)
class _Token:
    kind: str
    value: Any


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = self.split()
        self.position = 0
        self.depth = 0
        self.names: set[str] = set()

    def refuse(self, what: str) -> ConditionError:
        return ConditionError(f"found {what} in {self.text[:200]!r}; {_ALLOWED}.")

    def split(self) -> list[_Token]:
        tokens = []
        position = 0
        end = len(self.text.rstrip())
        while position < end:
            match = _TOKEN.match(self.text, position)
            if match is None or match.end() > end:
                raise self.refuse(repr(self.text[position : position + 20]))
            kind = match.lastgroup or ""
            if match["input"] is not None:
                tokens.append(
                    _Token("input", match["single"] if match["double"] is None else match["double"])
                )
            elif kind == "text":
                tokens.append(_Token("value", self.unescape(match["text"][1:-1])))
            elif kind == "whole":
                tokens.append(_Token("value", int(match["whole"])))
            elif kind == "float":
                tokens.append(_Token("value", float(match["float"])))
            elif match["word"] in ("true", "false"):
                tokens.append(_Token("value", match["word"] == "true"))
            elif match["word"] in ("int", "double"):
                tokens.append(_Token("cast", match["word"]))
            elif kind == "word":
                raise self.refuse(repr(match["word"]))
            else:
                tokens.append(_Token("sign", match["sign"]))
            position = match.end()
        return tokens

    def unescape(self, text: str) -> str:
        def replace(match: re.Match[str]) -> str:
            named, *numbers, other = match.groups()
            if named is not None:
                return _ESCAPES[named]
            if other is not None:
                raise self.refuse(repr(match[0]))
            number = int(next(filter(None, numbers)), 16)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise self.refuse(repr(match[0]))
            return chr(number)

        return _ESCAPE.sub(replace, text)

    def sign(self, *wanted: str) -> str:
        """Take the next token if it is one of these signs; return it or an empty string."""
        if self.position < len(self.tokens):
            token = self.tokens[self.position]
            if token.kind == "sign" and token.value in wanted:
                self.position += 1
                return str(token.value)
        return ""

    def expect(self, sign: str) -> None:
        if not self.sign(sign):
            raise self.refuse(f"no {sign!r} where one must be")

    def whole(self) -> Condition:
        node = self.conjunction()
        if self.position < len(self.tokens):
            raise self.refuse(repr(self.tokens[self.position].value))
        return Condition(self.text, frozenset(self.names), node)

    def conjunction(self) -> _Node:
        parts = [self.comparison()]
        while self.sign("&&"):
            parts.append(self.comparison())
        if len(parts) == 1:
            return parts[0]
        return lambda values: all(_truth(part(values)) for part in parts)

    def comparison(self) -> _Node:
        left = self.unary()
        sign = self.sign("==", "!=", "<", "<=", ">", ">=")
        if not sign:
            return left
        right = self.unary()
        return lambda values: _compare(sign, left(values), right(values))

    def unary(self) -> _Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self.refuse(f"more than {MAX_DEPTH} brackets and negations within each other")
        node = self.operand()
        self.depth -= 1
        return node

    def operand(self) -> _Node:
        if self.sign("!"):
            inner = self.unary()
            return lambda values: not _truth(inner(values))
        if self.sign("("):
            inner = self.conjunction()
            self.expect(")")
            return inner
        if self.position >= len(self.tokens):
            raise self.refuse("no value at the end")
        token = self.tokens[self.position]
        self.position += 1
        if token.kind == "value":
            return lambda values: token.value
        if token.kind == "input":
            self.names.add(token.value)
            return lambda values: _input(values, token.value)
        if token.kind == "cast":
            self.expect("(")
            inner = self.conjunction()
            self.expect(")")
            return lambda values: _cast(token.value, inner(values))
        raise self.refuse(repr(token.value))


def _input(values: _Values, name: str) -> Any:
    if name not in values:
        raise ConditionError(f"the condition asks about the input parameter {name!r}, which has no value")
    return values[name]


def _truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ConditionError(f"{compact(value)[:60]} is neither true nor false")
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _kind(value: Any) -> str:
    return "number" if _number(value) else type(value).__name__


def _compare(sign: str, left: Any, right: Any) -> bool:
    if _kind(left) != _kind(right):
        # Values of different kinds are never equal in CEL, and have no order.
        if sign in ("==", "!="):
            return sign == "!="
        raise ConditionError(f"{compact(left)[:60]} {sign} {compact(right)[:60]} compares different kinds")
    if sign in ("==", "!="):
        return bool(left == right) is (sign == "==")
    if not _number(left) and not isinstance(left, str | bool):
        raise ConditionError(f"{compact(left)[:60]} {sign} {compact(right)[:60]}: these have no order")
    return _COMPARISONS[sign](left, right)


def _cast(name: str, value: Any) -> int | float:
    wrong = ConditionError(f"{name}({compact(value)[:60]}) has no value")
    if not _number(value) and not isinstance(value, str):
        raise wrong
    try:
        number = float(value) if name == "double" or isinstance(value, float) else int(value)
    except (ValueError, OverflowError):
        raise wrong from None
    if name == "double":
        return number
    if not math.isfinite(number) or not -(2**63) <= int(number) < 2**63:
        raise wrong
    return int(number)
