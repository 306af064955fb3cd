"""What a function reaches travels with it and gives the same value in a container, or is refused by name."""

from __future__ import annotations

import datetime
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider.graph.code import CarryError, carry_function
from airflow_vertex_provider.runtime import protocol
from tests.unit.graph.code import authors, refused
from tests.unit.graph.code.batch import config_of, run_batch
from tests.unit.runtime.container import PYTHONS, find_python


@dataclass(frozen=True)
class Case:
    """A call of a function and the value it must give."""

    function: Callable[..., Any]
    value: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.function.__name__


def case(function: Callable[..., Any], value: Any, *args: Any, **kwargs: Any) -> Case:
    return Case(function, value, args, kwargs)


def inside(name: str) -> Callable[..., Any]:
    found: Callable[..., Any] = authors.INSIDE[name]
    return found


CARRIED = [
    case(authors.nothing_from_outside, 2, 1),
    case(authors.constant, 3),
    case(authors.annotated_constant, [0.5, None]),
    case(authors.changed_list, ["a", "b", "c", "d"]),
    case(authors.changed_dict, {"one": 1, "two": 2, "three": 3}),
    case(authors.unpacked, [(1, 2), 3, [4, 5]]),
    case(authors.several_targets, 14),
    case(authors.comprehension_constant, [0, 1, 4]),
    case(authors.dict_comprehension_constant, {"a": 0, "b": 1, "c": 2, "d": 3}),
    case(authors.pattern, ["1", "22"], "a1b22"),
    case(authors.method_constants, [["x", "y", "z"], "z, y, x"]),
    case(authors.path_constant, "data/raw/x.csv"),
    case(authors.date_constants, authors.DAY + authors.STEP),
    case(authors.decimal_constant, "2.10"),
    case(authors.counter_constant, 2),
    case(authors.sentinel, True, 1),
    case(authors.lambda_constant, 4, 2),
    case(authors.logger_constant, ["__main__", 20]),
    case(authors.alias_in_body, [{"x": 1}], 1),
    case(authors.type_variable, "T"),
    case(authors.partial_constant, 8),
    case(authors.f_string, "limit   3!"),
    case(authors.conditional_expression, 3),
    case(authors.walrus_constant, 11),
    case(authors.one_line, 3),
    case(authors.text_of_lines, "two\nlines"),
    case(authors.rebound, 2),
    case(authors.not_a_number, True),
    case(authors.shadowed_builtin, "not the builtin"),
    case(authors.enum_member, [1, "BLUE", "BLUE"]),
    case(authors.data_class, [5.0, 3, {"x": 0, "y": 0, "tags": []}]),
    case(authors.named_tuple, [1, 2]),
    case(authors.class_with_methods, [6, 4, 5], 2),
    case(authors.inheritance, 9, 2),
    case(authors.own_error, ["no", True]),
    case(authors.one_helper, 4, 1),
    case(authors.mutual_recursion, True, 4),
    case(authors.recursion, 24, 4),
    case(authors.deep, 3.5, 1),
    case(authors.decorated_helpers, ["logged", 2], 1),
    case(authors.dispatched, ["int", "str", "other"]),
    case(authors.annotated_helpers, [1, 3]),
    case(authors.global_statement, 2),
    case(authors.global_made_by_a_helper, "made"),
    case(authors.helper_generator, [3, 4], 2),
    case(authors.generator_member, 5, 5),
    case(authors.async_member, 4, 1),
    case(authors.async_generator_member, [3, 4], 2),
    case(authors.default_argument, [3, 2024]),
    case(authors.keyword_only, [1, 0.5], a=1),
    case(authors.positional_only, [1, 3], 1),
    case(authors.star_arguments, [6, {"k": 1}], 1, 2, k=1),
    case(authors.mutable_default, [1], 1),
    case(authors.lambda_default, [3, 2, 1], [1, 3, 2]),
    case(authors.name_default, 4, 2),
    case(authors.import_alias, [1, True], 1.5),
    case(authors.from_import_alias, ["a"]),
    case(authors.one_of_several_imports, "[1]"),
    case(authors.dotted_import, "a/b"),
    case(authors.star_import, 2.0, 4),
    case(authors.conditional_import, True),
    case(authors.import_or_else, True),
    case(authors.defined_in_a_condition, "0123456789"),
    case(authors.shadowed_by_argument, 9, 9),
    case(authors.shadowed_by_local, 1),
    case(authors.shadowed_in_comprehension, [1, 2, 3]),
    case(authors.comprehension_scopes, [[], [3]]),
    case(authors.class_body_scopes, [4, [4, 0.5]]),
    case(authors.walrus, [5], [1, 2]),
    case(authors.nested_functions, 5, 1),
    case(authors.nonlocal_inside, 4),
    case(authors.try_and_with, ["JSONDecodeError", 3], "{"),
    case(authors.deleted_local, 3),
    case(authors.local_import_shadows, 1),
    case(authors.name_of_the_module, "__main__"),
    case(authors.mangled_is_plain, 5),
    case(authors.typed_locals, 3),
    case(authors.docstring_only, "What it does."),
    case(authors.decorated, ["logged", 4], 1),
    case(authors.decorated_twice, [["logged", 1]] * 3, 1),
    case(authors.cached, 4, 1),
    case(authors.default_of_helper, [3, [1, 2], None]),
    case(authors.indented_by_if, 4, 1),
    case(inside("over_literals"), [11, {"a": [1, (2, None)], 3: {4}}, datetime.date(2024, 1, 2)], 1),
    case(inside("over_loggers"), ["__main__", "__main__.child"]),
    case(inside("over_two_names"), [[1], True], 1),
    case(inside("over_pattern"), [["A", "b"], 2], "A1b"),
    case(inside("over_tree"), ["/data/in/x", "2.20", 3, "[inf, (1+2j)]"]),
    case(inside("over_own_types"), [True, 3, True, [0, 1], 5]),
    case(inside("over_collections"), [2, [], [1], 1, [2, 3], "2024-01-02T03:00:00+00:00"]),
    case(inside("over_partial"), 14, 1),
    case(inside("over_sorts"), [3, "2.5", 1, 1, 2]),
    case(inside("over_helper"), 14, 1),
    case(inside("over_class"), 13, 1),
    case(inside("over_subclass"), 16, 1),
    case(authors.not_named, [4], 1),
    case(inside("over_modules"), [[1], 1], "[1]"),
    case(inside("over_lambda"), 11, 1),
    case(inside("over_builtin"), 2, "ab"),
    case(inside("itself"), 3, 3),
    case(inside("default_of_enclosing"), [1, 10, 1], 1),
    case(inside("decorated_inside"), ["logged", 11], 1),
    case(authors.MADE, 8, 1),
    case(authors.IN_A_LOOP, 3, 1),
]


def same_in_json(value: Any) -> Any:
    """Return a value as it comes back from a task: keys of dicts are text."""
    return protocol.decode(protocol.encode(value))


@pytest.fixture(scope="module", params=PYTHONS)
def answers(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """What all functions give on one Python, in one process."""
    python = find_python(request.param)
    if python is None:
        pytest.skip(f"no Python {request.param} here")
    configs = [config_of(carry_function(item.function), item.args, item.kwargs) for item in CARRIED]
    return dict(zip((item.name for item in CARRIED), run_batch(python, configs), strict=True))


def test_there_is_one_case_a_name() -> None:
    assert len({item.name for item in CARRIED}) == len(CARRIED) >= 80


@pytest.mark.parametrize("item", CARRIED, ids=lambda item: item.name)
def test_a_function_gives_the_same_in_a_container(item: Case, answers: dict[str, dict[str, Any]]) -> None:
    answer = answers[item.name]
    assert "value" in answer, answer["traceback"]
    assert protocol.decode(answer["value"]) == same_in_json(item.value)


@pytest.mark.parametrize("item", CARRIED, ids=lambda item: item.name)
def test_the_cases_hold_for_the_functions_themselves(item: Case) -> None:
    # What needs a loop, or the main module's name, is called by the entry point alone.
    if inspect.isgeneratorfunction(item.function) or item.name in (
        "name_of_the_module",
        "logger_constant",
        "over_loggers",
        "over_two_names",
    ):
        return
    if inspect.iscoroutinefunction(item.function) or inspect.isasyncgenfunction(item.function):
        return
    if item.name in ("global_statement", "mutable_default"):
        return
    assert item.function(*item.args, **item.kwargs) == item.value


LIVE = "is a live object, made by"
HERE = "has a value known only here and now"
CHANGED = "its value was changed at run time"

REFUSED = [
    (refused.live_object, "client", LIVE + " Client\\(\\)"),
    (refused.reaches_helper, "client", "code='bundle' or code='image'"),
    (refused.lock, "LOCK", LIVE + " threading.Lock\\(\\)"),
    (refused.environment, "HOME", HERE + ": os.environ"),
    (refused.environment_by_import, "FROM_IMPORT", HERE + ": environ"),
    (refused.environment_by_function, "GETENV", HERE + ": os.getenv"),
    (refused.file_of_the_module, "HERE", HERE + ": __file__"),
    (refused.file_itself, "__file__", "differs in the container"),
    (refused.now, "NOW", HERE + ": datetime.now"),
    (refused.started, "STARTED", HERE + ": time.time"),
    (refused.seed, "SEED", HERE + ": random.random"),
    (refused.computed, "COMPUTED", LIVE + " compute\\(\\)"),
    (refused.filled, "FILLED", CHANGED),
    (refused.flag, "FLAG", CHANGED),
    (refused.iterator, "ITERATOR", LIVE + " iter"),
    (refused.generator, "GENERATOR", "is an iterator"),
    (refused.looped, "LOOPED", "bound by a 'for' statement"),
    (refused.in_loop, "IN_LOOP", "bound by a 'for' statement"),
    (refused.opened, "OPENED", "bound by a 'with' statement"),
    (refused.read, "READ", "is bound in a with block"),
    (refused.executed, "EXECUTED", "is bound at run time"),
    (refused.by_globals, "BY_GLOBALS", "is bound at run time"),
    (refused.by_setattr, "BY_SETATTR", "is bound at run time"),
    (refused.dependent, "client", LIVE),
    (refused.registry, "REGISTRY", CHANGED),
    (refused.partial_of_live, "client", LIVE),
    (refused.main_only, "MAIN", "run as a program"),
    (refused.chosen_here, "CHOSEN", HERE + ": os.environ"),
    (refused.class_reads_environment, "WithHome", HERE + ": os.environ"),
    (refused.class_was_changed, "Plugin.known", CHANGED),
    (refused.calls_a_task, "other_task", "is another task"),
    (refused.takes_an_output, "OUTPUT", "is a task's output"),
    (refused.own_module, "beside", "a module of your own.*code='bundle'"),
    (refused.airflow_name, "Variable", "no Airflow in the container"),
    (refused.context, "get_current_context", "arguments by name"),
    (refused.type_checking_only, "pd", "for type checkers alone"),
    (refused.nowhere, "bound_nowhere_at_all", "is bound nowhere"),
    (refused.through_helpers, "client", LIVE),
    (refused.default_is_live, "default_is_live()", LIVE + " Client"),
    (refused.helper_default_is_live, "default_is_live()", LIVE + " Client"),
    (refused.INSIDE["over_object"], "connection", "live object of the enclosing function.*Client"),
    (refused.INSIDE["over_holder"], "holder", "builtins.dict, which holds one of .*Client"),
    (refused.INSIDE["over_itself"], "endless", "live object of the enclosing function.*list"),
    (refused.INSIDE["over_subclass"], "shouting", "live object of the enclosing function.*Shout"),
    (refused.INSIDE["assigns"], "total", "nonlocal"),
    (refused.INSIDE["default_is_object"], "connection", "variable of the enclosing function"),
    (refused.INSIDE["unbound"], "never", "has no value yet"),
    (refused.CLASH, "LIMIT", "two different things have this name"),
]


@pytest.mark.parametrize(("function", "name", "message"), REFUSED, ids=[item[0].__name__ for item in REFUSED])
def test_what_cannot_travel_is_refused_by_name_and_line(
    function: Callable[..., Any], name: str, message: str
) -> None:
    with pytest.raises(CarryError, match=message) as caught:
        carry_function(function)
    error = caught.value
    assert error.function == function.__name__
    assert error.file == refused.__file__
    assert name in dict(error.names)
    line = dict(error.names)[name]
    row = Path(refused.__file__).read_text().splitlines()[line - 1]
    assert f"{name!r}" in str(error)
    assert f"line {line}" in str(error)
    assert name.removesuffix("()").rpartition(".")[2] in row or row.lstrip().startswith(
        ("if", "home", "def assigns", "for")
    ), row


def test_all_that_is_wrong_with_a_function_is_said_at_once() -> None:
    with pytest.raises(CarryError) as caught:
        carry_function(refused.two_problems)
    assert {name for name, _ in caught.value.names} == {"client", "HOME", "bound_nowhere_at_all"}


def test_only_what_is_reached_travels() -> None:
    carried = carry_function(authors.import_alias)
    assert [text for _, text in carried.reached] == ["import math as m"]
    carried = carry_function(authors.one_of_several_imports)
    assert [text for _, text in carried.reached] == ["import json"]
    carried = carry_function(authors.star_import)
    assert [text for _, text in carried.reached] == ["from math import sqrt"]
    carried = carry_function(authors.deep)
    assert [text.split("\n")[0] for _, text in carried.reached] == [
        "RATE: float = 0.5",
        "def third(x):",
        "def second_level(x):",
        "def first_level(x):",
    ]
    assert carry_function(authors.nothing_from_outside).reached == ()


def test_tracebacks_show_the_authors_lines() -> None:
    (answer,) = run_batch(
        str(find_python("3.11")), [config_of(carry_function(authors.error_in_helper), ["x"], {})]
    )
    rows = Path(authors.__file__).read_text().splitlines()
    line = rows.index("    raise MyError(x)  # the helper's line") + 1
    assert answer["type"] == "MyError"
    assert f'File "authors.py", line {line}, in raises_at_line' in answer["traceback"]
    assert "raise MyError(x)  # the helper's line" in answer["traceback"]
    assert "return raises_at_line(x)" in answer["traceback"]
    assert "<string>" not in answer["traceback"]
