"""List requests: a filter, an order, a page token and a mask in; the items of one page out.

The filter language is that of google.aip.dev/160 as far as the list methods of Vertex AI document it.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from airflow_vertex_provider.emulator.clock import parse_time
from airflow_vertex_provider.emulator.errors import ApiError

Json = dict[str, Any]
Predicate = Callable[[Json], bool]
#: A resource as the API shows it, behind its key in the store, which grows with each resource.
Keyed = tuple[int, Json]

_TOKEN = re.compile(
    r'\s*(?:(\(|\)|!=|<=|>=|=|<|>|:)|"((?:[^"\\]|\\.)*)"|\'((?:[^\'\\]|\\.)*)\'|([^\s()=<>!:"]+))'
)

_EQUALITY = frozenset({"=", "!="})
_WILDCARD = _EQUALITY | {":"}
_ORDER = frozenset({"=", "!=", "<", ">", "<=", ">="})


@dataclass(frozen=True)
class Field:
    """A field that a filter may name.

    :param path: where it stands in the resource's JSON, dotted. :param operators: what it may be compared by.
    """

    path: str
    operators: frozenset[str]
    is_time: bool = False


#: Fields of pipelineJobs.list (vertex-observed section 6).
PIPELINE_JOB_FIELDS: Mapping[str, Field] = {
    "pipeline_name": Field("pipelineSpec.pipelineInfo.name", _EQUALITY),
    "display_name": Field("displayName", _WILDCARD),
    "pipeline_job_user_id": Field("name", _WILDCARD),
    "state": Field("state", _EQUALITY),
    "create_time": Field("createTime", _ORDER, is_time=True),
    "update_time": Field("updateTime", _ORDER, is_time=True),
    "end_time": Field("endTime", _ORDER, is_time=True),
    "template_uri": Field("templateUri", _WILDCARD),
    "template_metadata.version": Field("templateMetadata.version", _WILDCARD),
    "schedule_name": Field("scheduleName", _EQUALITY),
}

#: Fields of customJobs.list.
CUSTOM_JOB_FIELDS: Mapping[str, Field] = {
    "display_name": Field("displayName", _WILDCARD),
    "state": Field("state", _EQUALITY),
    "create_time": Field("createTime", _ORDER, is_time=True),
    "update_time": Field("updateTime", _ORDER, is_time=True),
    "end_time": Field("endTime", _ORDER, is_time=True),
}

ORDER_FIELDS: Mapping[str, str] = {
    "create_time": "createTime",
    "update_time": "updateTime",
    "end_time": "endTime",
    "start_time": "startTime",
}


def invalid(message: str) -> ApiError:
    """Return the error of a list request that cannot be understood."""
    return ApiError("INVALID_ARGUMENT", message)


def look_up(item: Any, path: str) -> Any:
    """Return what stands at a dotted path, or ``None``."""
    for step in path.split("."):
        if not isinstance(item, Mapping) or step not in item:
            return None
        item = item[step]
    return item


class _Parser:
    def __init__(
        self, text: str, fields: Mapping[str, Field], *, refuse_unknown: bool, or_first: bool
    ) -> None:
        self.tokens = _tokens(text)
        self.position = 0
        self.fields = fields
        self.refuse_unknown = refuse_unknown
        self.or_first = or_first

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.position] if self.position < len(self.tokens) else ("end", "")

    def take(self) -> tuple[str, str]:
        token = self.peek()
        self.position += 1
        return token

    def word(self, word: str) -> bool:
        if self.peek() == ("word", word):
            self.position += 1
            return True
        return False

    def parse(self) -> Predicate:
        result = self.chain()
        if self.peek()[0] != "end":
            raise invalid(f"Invalid filter: unexpected {self.peek()[1]!r}.")
        return result

    def chain(self) -> Predicate:
        """Read AND and OR; which of them binds tighter is a switch."""
        return self.series(self.any, all) if self.or_first else self.any(self.all)

    def all(self) -> Predicate:
        return self.series(self.unary, all)

    def series(self, operand: Callable[[], Predicate], combine: Callable[..., bool]) -> Predicate:
        parts = [operand()]
        # Terms beside each other without a word between them are joined by AND.
        while self.word("AND") or self.peek()[0] in ("text",) or self.starts_term():
            parts.append(operand())
        return parts[0] if len(parts) == 1 else lambda item: combine(part(item) for part in parts)

    def any(self, operand: Callable[[], Predicate] | None = None) -> Predicate:
        operand = operand or self.unary
        parts = [operand()]
        while self.word("OR"):
            parts.append(operand())
        return parts[0] if len(parts) == 1 else lambda item: any(part(item) for part in parts)

    def starts_term(self) -> bool:
        kind, text = self.peek()
        return (kind == "word" and text not in ("OR", "AND")) or (kind, text) == ("symbol", "(")

    def unary(self) -> Predicate:
        if self.word("NOT"):
            inner = self.unary()
            return lambda item: not inner(item)
        kind, text = self.take()
        if (kind, text) == ("symbol", "("):
            inner = self.chain()
            if self.take() != ("symbol", ")"):
                raise invalid("Invalid filter: a bracket is not closed.")
            return inner
        if kind not in ("word", "text"):
            raise invalid(f"Invalid filter: expected a field, found {text or 'the end'!r}.")
        operator_kind, operator = self.take()
        if operator_kind != "symbol" or operator in "()":
            raise invalid(f"Invalid filter: expected a comparison after {text!r}.")
        value_kind, value = self.take()
        if value_kind not in ("word", "text"):
            raise invalid(f"Invalid filter: expected a value after {text!r} {operator}.")
        return self.comparison(text, operator, value)

    def comparison(self, name: str, operator: str, value: str) -> Predicate:
        if name == "labels" and operator == ":":
            return lambda item: value in item.get("labels", {})
        if name.startswith("labels."):
            return _label(name.removeprefix("labels.").strip("\"'"), operator, value)
        field = self.fields.get(name)
        if field is None:
            if self.refuse_unknown:
                allowed = ", ".join([*self.fields, "labels.KEY"])
                raise invalid(f"Invalid filter: unknown field {name!r}; supported: {allowed}.")
            return lambda item: False
        if operator not in field.operators:
            raise invalid(f"Invalid filter: {name!r} cannot be compared by {operator!r}.")
        if field.is_time:
            return _time(field.path, operator, value)
        return _text(field.path, operator, value)


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens: list[tuple[str, str]] = []
    position = 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if not match:
            raise invalid(f"Invalid filter: cannot read {text[position:]!r}.")
        position = match.end()
        symbol, double, single, word = match.groups()
        if symbol:
            tokens.append(("symbol", symbol))
        elif word is None:
            tokens.append(("text", re.sub(r"\\(.)", r"\1", double if double is not None else single)))
        elif word.endswith(".") and position < len(text) and text[position] == '"':
            following = _TOKEN.match(text, position)  # labels."key"
            if not following:
                raise invalid(f"Invalid filter: cannot read {text[position:]!r}.")
            position = following.end()
            tokens.append(("word", word + (following[2] or "")))
        else:
            tokens.append(("word", word))
    return tokens


def _label(key: str, operator: str, value: str) -> Predicate:
    if operator == ":" and value == "*":
        return lambda item: key in item.get("labels", {})
    if operator not in ("=", "!=", ":"):
        raise invalid(f"Invalid filter: a label cannot be compared by {operator!r}.")
    if operator == "!=":
        return lambda item: item.get("labels", {}).get(key) != value
    return lambda item: item.get("labels", {}).get(key) == value


def _text(path: str, operator: str, value: str) -> Predicate:
    def found(item: Json) -> str:
        text = str(look_up(item, path) or "")
        return text.rpartition("/")[2] if path == "name" else text

    if operator == ":":
        # A colon means "has": a part of the text, or a pattern if it holds a star.
        pattern = value if "*" in value else f"*{value}*"
        return lambda item: fnmatch.fnmatchcase(found(item), pattern.replace("[", "[[]"))
    if operator == "!=":
        return lambda item: found(item) != value
    return lambda item: found(item) == value


def _time(path: str, operator: str, value: str) -> Predicate:
    try:
        wanted = parse_time(value)
    except ValueError as error:
        raise invalid(f"Invalid filter: {value!r} is not an RFC 3339 time.") from error

    def compare(item: Json) -> bool:
        text = look_up(item, path)
        if not text:
            return False
        found = parse_time(text)
        return {
            "=": found == wanted,
            "!=": found != wanted,
            "<": found < wanted,
            ">": found > wanted,
            "<=": found <= wanted,
            ">=": found >= wanted,
        }[operator]

    return compare


def parse_filter(
    text: str, fields: Mapping[str, Field], *, refuse_unknown: bool = True, or_first: bool = True
) -> Predicate:
    """Return the test that a filter expression describes.

    :raises ApiError: INVALID_ARGUMENT; it cannot be read, or names an unknown field.
    """
    if not text.strip():
        return lambda item: True
    return _Parser(text, fields, refuse_unknown=refuse_unknown, or_first=or_first).parse()


def _order(order_by: str) -> list[tuple[str, bool]]:
    """Read an ``orderBy``: each field with whether it goes down; the default is the newest first."""
    order = []
    for part in (order_by.strip() or "create_time desc").split(","):
        words = part.split()
        if (
            not words
            or len(words) > 2
            or words[0] not in ORDER_FIELDS
            or words[1:] not in ([], ["desc"], ["asc"])
        ):
            raise invalid(
                f"Invalid order_by: {part.strip()!r}; supported: {', '.join(ORDER_FIELDS)}, "
                "each with ' desc'."
            )
        order.append((ORDER_FIELDS[words[0]], words[1:] == ["desc"]))
    return order


def sort(items: Sequence[Keyed], order_by: str) -> list[Keyed]:
    """Sort resources; those that are equal in it, the newest first.

    :raises ApiError: INVALID_ARGUMENT for an unknown field.
    """
    result = sorted(items, key=lambda item: item[0], reverse=True)
    for path, down in reversed(_order(order_by)):
        result.sort(key=lambda item: item[1].get(path, ""), reverse=down)
    return result


def page(
    items: Sequence[Keyed], *, order_by: str, request: str, size: int, token: str
) -> tuple[list[Json], str]:
    """Return one page, and the token of the next one or an empty string.

    A token holds the position of the last item of its page, so items added or deleted meanwhile, even that
    one, neither show others twice nor cause them to be passed over.

    :param items: in any order. :param request: what the request asks for; a token of another one is refused.
    :raises ApiError: INVALID_ARGUMENT for a bad token or an unknown field.
    """
    order = _order(order_by)
    found = sort(items, order_by)
    asked = [request, order_by]
    if token:
        try:
            values, key, made_for = json.loads(base64.urlsafe_b64decode(token.encode()))
            position = [str(value) for value in values], int(key)
        except (ValueError, TypeError, binascii.Error) as error:
            raise invalid("Invalid page token.") from error
        if made_for != asked or len(position[0]) != len(order):
            raise invalid("Invalid page token: it belongs to a request with another filter or order.")
        found = [item for item in found if _comes_after(item, position, order)]
    chosen = found[:size]
    if len(found) <= size:
        return [item for _, item in chosen], ""
    key, last = chosen[-1]
    text = json.dumps([[last.get(path, "") for path, _ in order], key, asked])
    return [item for _, item in chosen], base64.urlsafe_b64encode(text.encode()).decode()


def _comes_after(item: Keyed, position: tuple[list[str], int], order: list[tuple[str, bool]]) -> bool:
    """Tell whether an item stands behind a position in an order."""
    for (path, down), value in zip(order, position[0], strict=True):
        own = item[1].get(path, "")
        if own != value:
            return bool(own < value if down else own > value)
    return item[0] < position[1]


def apply_mask(item: Json, mask: str) -> Json:
    """Return only the fields that a ``readMask`` names; an empty mask or ``*`` keeps all.

    Names may be in camelCase or snake_case, dotted for fields of fields.
    """
    paths = [path.strip() for path in mask.split(",") if path.strip()]
    if not paths or paths == ["*"]:
        return item
    result: Json = {}
    for path in paths:
        steps = [re.sub(r"_([a-z0-9])", lambda match: match[1].upper(), step) for step in path.split(".")]
        source, target = item, result
        for step in steps[:-1]:
            source = source.get(step, {}) if isinstance(source, Mapping) else {}
            if not source:
                break
            target = target.setdefault(step, {})
        if source and isinstance(source, Mapping) and steps[-1] in source:
            target[steps[-1]] = source[steps[-1]]
    return result
