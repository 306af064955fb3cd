"""Which functions are carried, and that their text means the same on its own."""

from __future__ import annotations

import builtins
import functools
import importlib.util
import pickle
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from airflow_vertex_provider.graph.code import CarriedFunction, CarryError, carry_function
from airflow_vertex_provider.graph.code import files as files_module
from airflow_vertex_provider.runtime import entrypoint

Load = Callable[[str], ModuleType]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write an author's file and import it."""
    number = iter(range(1000))

    def load_text(text: str) -> ModuleType:
        path = tmp_path / f"author{next(number)}.py"
        path.write_bytes(textwrap.dedent(text).encode())
        return import_file(path)

    return load_text


def import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rebuild(carried: CarriedFunction) -> Any:
    """Make the function from its text, with nothing else around, as the container does."""
    code = entrypoint.compiled(carried.source, carried.file, carried.line, carried.postponed)
    scope: dict[str, Any] = {"__builtins__": builtins, "__name__": "__main__"}
    exec(code, scope)
    return scope[carried.name]


def test_a_plain_function(load: Load) -> None:
    module = load("""
        import functools

        def keep(func):
            return func

        @keep
        @keep
        def fit(rows, *, k=3):
            # a comment that stays
            return [row * k for row in rows]

        after = 1
    """)
    carried = carry_function(module.fit)
    assert carried == CarriedFunction(
        name="fit",
        source="def fit(rows, *, k=3):\n    # a comment that stays\n    return [row * k for row in rows]",
        file="author0.py",
        line=9,
        qualname="fit",
    )
    assert rebuild(carried)([1, 2], k=2) == [2, 4]
    assert rebuild(carried).__code__.co_firstlineno == 9
    assert carried.to_config() == {
        "function": "fit",
        "source": carried.source,
        "file": "author0.py",
        "line": 9,
        "postponed": False,
    }


def test_a_nested_function_keeps_strings_and_lines(load: Load) -> None:
    module = load('''
        def dag():
            if True:
                @property
                def unused(self): ...

                def task(x):
                    text = """one
          two
        \tthree
        """
                    call = (x,
          text)
                    return call, [line for line in text.split()]
            return task
    ''')
    task = module.dag()
    carried = carry_function(task)
    assert carried.source.startswith("        def task(x):")
    rebuilt = rebuild(carried)
    assert rebuilt(1) == task(1)
    assert rebuilt.__code__.co_firstlineno == task.__code__.co_firstlineno
    assert [line for *_, line in rebuilt.__code__.co_lines()] == [
        line for *_, line in task.__code__.co_lines()
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", ["    ", "\t", " "])
def test_any_indentation_and_line_end(tmp_path: Path, indent: str, newline: str) -> None:
    text = "def dag():\n>def task():\n>>return '''a\nb'''\n>return task\n".replace(">", indent)
    path = tmp_path / "author.py"
    path.write_bytes(text.replace("\n", newline).encode())
    task = import_file(path).dag()
    assert rebuild(carry_function(task))() == task() == "a\nb"


def test_a_file_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "author.py"
    path.write_bytes("# -*- coding: latin-1 -*-\ndef task():\n    return 'é\f\x85'\n".encode("latin-1"))
    task = import_file(path).task
    assert rebuild(carry_function(task))() == task() == "é\f\x85"


def test_async_functions_and_generators(load: Load) -> None:
    module = load("""
        async def waits(x):
            return x

        def yields():
            yield 1
    """)
    assert carry_function(module.waits).source.startswith("async def waits")
    assert list(rebuild(carry_function(module.yields))()) == [1]


def test_what_stands_on_its_own_is_carried(load: Load) -> None:
    module = load('''
        from __future__ import annotations
        from typing import Any
        import collections.abc

        def task(a: Any, b: collections.abc.Mapping[str, Any] = {"x": (1, -2.5)}, *args: Any, **kw):
            """Docstring."""
            import json as j, os.path
            from collections import OrderedDict
            total: Any = 0
            def helper(n):
                nonlocal total
                total += n
                return helper2(n)
            def helper2(n: Any = len("x")) -> Any:
                return task.__name__ + str(n)
            class Local(OrderedDict):
                size: int = 3
                double = size * 2
                def get_double(self):
                    return self.double, __class__.__name__
            try:
                pass
            except (ValueError, OSError) as error:
                print(error)
            if (walrus := [j.dumps(x) for x in args if x]):
                print(walrus, {k: v for k, v in kw.items()}, {y for y in (z for z in args)})
            with open(os.path.devnull) as file, file:
                pass
            for i, (p, *q) in enumerate([]):
                del i, p, q
            if a is NotImplemented:
                return task(a)
            return [helper(2), total, Local().get_double(), (lambda s, t=1: s + t)(1), __name__, Local.size]
    ''')
    carried = carry_function(module.task)
    assert carried.postponed
    assert rebuild(carried)(1) == ["task2", 2, (6, "Local"), 2, "__main__", 3]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("return np.zeros(3)", [("np", 6)]),
        ("x = 1\n    return SETTING", [("SETTING", 7)]),
        ("return [helper(x) for x in a]", [("helper", 6)]),
        ("return (lambda: SETTING)()", [("SETTING", 6)]),
        ("class C:\n        x = SETTING", [("SETTING", 7)]),
        ("class C:\n        x = SETTING\n        SETTING = x", [("SETTING", 7)]),
        ("class C(Base):\n        pass", [("Base", 6)]),
        (
            "def inner(x=SETTING):\n        return helper(x)\n    return inner",
            [("SETTING", 6), ("helper", 7)],
        ),
        ("def inner(x: np.int64):\n        pass", [("np", 6)]),
        ("global SETTING\n    SETTING = SETTING + 1", [("SETTING", 7)]),
        ("global SETTING\n    del SETTING", [("SETTING", 7)]),
        ("return __file__", [("__file__", 6)]),
        ("a = SETTING\n    b = SETTING\n    return helper", [("SETTING", 6), ("helper", 8)]),
        ("import os\n    return os.path.join(a, SETTING, *sys.argv)", [("SETTING", 7), ("sys", 7)]),
    ],
)
def test_names_that_are_bound_nowhere_are_all_named_with_their_lines(
    load: Load, body: str, names: list[tuple[str, int]]
) -> None:
    module = load(f"""
OTHER = 3


def task(a):
    {body}
""")
    with pytest.raises(CarryError, match="inside the function") as caught:
        carry_function(module.task)
    error = caught.value
    assert error.names == names
    assert error.function == "task"
    assert error.file == module.__file__
    assert error.file in str(error)
    for name, line in names:
        assert f"{name!r} (line {line})" in str(error)


def test_names_in_defaults_travel_and_those_in_annotations_do_not(load: Load) -> None:
    module = load("""
        import datetime
        import typing
        LIMIT = 3

        def fine(day: datetime.date, *rest: datetime.date) -> datetime.date:
            local: datetime.date = day
            return local

        def default(day, limit=LIMIT, *, other=[datetime.MINYEAR]):
            return day
    """)
    assert rebuild(carry_function(module.fine))(5) == 5
    assert carry_function(module.fine).reached == ()
    assert carry_function(module.default).reached == ((2, "import datetime"), (4, "LIMIT = 3"))


def test_more_names_than_one_byte_counts(load: Load) -> None:
    lines = "\n".join(f"    a.name{number}" for number in range(400))
    module = load(f"def task(a):\n{lines}\n    return [SETTING, a.last]\n")
    with pytest.raises(CarryError) as caught:
        carry_function(module.task)
    assert caught.value.names == [("SETTING", 402)]


def test_a_global_that_the_function_makes_itself(load: Load) -> None:
    module = load("""
        def task():
            global made_here
            made_here = 5
            def inner():
                return made_here
            return inner()
    """)
    assert rebuild(carry_function(module.task))() == 5


def test_outer_variables_travel_by_their_values(load: Load) -> None:
    module = load("""
        def dag():
            limit = 3
            count = 0
            def reads(x):
                return x + limit
            def writes(x):
                nonlocal count
                count += 1
                return limit
            def itself(x):
                return x and itself(x - 1)
            return reads, writes, itself
    """)
    reads, writes, itself = module.dag()
    assert carry_function(reads).closure == {"limit": {"$lit": 3}}
    with pytest.raises(CarryError, match="return the value instead") as caught:
        carry_function(writes)
    assert caught.value.names == [("count", 8)]
    assert rebuild(carry_function(itself))(3) == 0


def test_airflows_exceptions_are_reported(load: Load) -> None:
    module = load("""
        def skips():
            from airflow.exceptions import AirflowSkipException as Skip
            raise Skip

        def fails():
            import airflow.sdk.exceptions
            def inner():
                raise airflow.sdk.exceptions.AirflowFailException("x")
            return [inner for _ in [airflow.exceptions.AirflowException]]

        def none():
            AirflowThing = 1
            return "AirflowSkipException"
    """)
    assert carry_function(module.skips).uses == {"AirflowSkipException"}
    assert carry_function(module.fails).uses == {"AirflowFailException", "AirflowException"}
    assert carry_function(module.none).uses == frozenset()


def test_airflows_task_decorator_is_looked_through(load: Load) -> None:
    module = load("""
        from airflow.sdk import task

        @task(
            retries=2,
        )
        def fit(x):
            return x + 1

        @task.bash
        def shell():
            return "true"
    """)
    assert rebuild(carry_function(module.fit))(1) == 2
    assert carry_function(module.fit) == carry_function(module.fit.function)
    assert carry_function(module.fit).line == 7
    assert carry_function(module.shell).name == "shell"


class Holder:
    def method(self) -> None: ...

    @staticmethod
    def static() -> None: ...

    @classmethod
    def of_class(cls) -> None: ...

    def __call__(self) -> None: ...


def plain() -> None: ...


def from_exec() -> Any:
    scope: dict[str, Any] = {}
    exec("def made(): return 1", scope)
    return scope["made"]


def renamed() -> None: ...


renamed.__name__ = "other"


@pytest.mark.parametrize(
    ("func", "reason"),
    [
        (lambda: 1, r"it is a lambda \(line \d+\); write it with def"),
        (functools.partial(plain), "function 'plain' in .*test_carry.py .*functools.partial"),
        (Holder().method, "it is a method"),
        (Holder.of_class, "it is a method"),
        (Holder.static, "it belongs to class 'Holder'"),
        (Holder.method, "it belongs to class 'Holder'"),
        (Holder(), "it is no function written in Python but .*Holder"),
        (Holder, "it is no function written in Python but builtins.type"),
        (len, "it is no function written in Python but builtins.builtin_function_or_method"),
        (functools.wraps(len)(functools.partial(plain)), "it is no function written in Python"),
        (from_exec(), "its source cannot be read"),
        (renamed, "its source is not found"),
    ],
)
def test_what_is_no_plain_function_is_refused(func: object, reason: str) -> None:
    with pytest.raises(CarryError, match=reason) as caught:
        carry_function(func)
    assert caught.value.names == []
    assert isinstance(caught.value, ValueError)


def test_a_changed_file_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "author.py"
    path.write_text("def first():\n    return 1\n")
    before = import_file(path)
    assert carry_function(before.first).line == 1
    path.write_text("# a new line\n\ndef first():\n    return 20\n\ndef second():\n    return 2\n")
    after = import_file(path)
    assert carry_function(after.first).line == 3
    assert rebuild(carry_function(after.second))() == 2
    path.write_text("def nothing_like_before(): ...\n")
    stale = import_file_code(after, "second")
    with pytest.raises(CarryError, match="the file has changed since"):
        carry_function(stale)


def import_file_code(module: ModuleType, name: str) -> Any:
    """Return the function under a code object that has not been carried yet."""
    func = getattr(module, name)
    func.__code__ = func.__code__.replace(co_stacksize=func.__code__.co_stacksize + 1, co_consts=(None, 3))
    return func


def test_equal_functions_of_two_files_are_told_apart(load: Load) -> None:
    text = "def task():\n    return 1\n"
    first, second = load(text), load(text)
    assert first.task.__code__ == second.task.__code__
    assert carry_function(first.task).file == "author0.py"
    assert carry_function(second.task).file == "author1.py"


def test_a_file_is_parsed_once_and_a_function_compiled_once(load: Load) -> None:
    module = load("".join(f"def task{number}():\n    return {number}\n" for number in range(20)))
    parsed = [carry_function(getattr(module, f"task{number}")) for number in range(20)]
    known = files_module._files[str(module.__file__)]
    again = [carry_function(getattr(module, f"task{number}")) for number in range(20)]
    assert all(one is other for one, other in zip(parsed, again, strict=True))
    assert files_module._files[str(module.__file__)] is known


def test_what_changes_between_two_groups_is_seen(load: Load) -> None:
    module = load("""
        TABLE = {}

        def task():
            return TABLE

        def dag():
            limit = 1
            def inner():
                return limit
            def more():
                nonlocal limit
                limit = 2
            return inner, more
    """)
    assert carry_function(module.task).reached == ((2, "TABLE = {}"),)
    module.TABLE["a"] = 1
    with pytest.raises(CarryError, match="changed at run time"):
        carry_function(module.task)
    inner, more = module.dag()
    assert carry_function(inner).closure == {"limit": {"$lit": 1}}
    more()
    assert carry_function(inner).closure == {"limit": {"$lit": 2}}


def test_only_so_many_files_are_kept(load: Load) -> None:
    for number in range(40):
        module = load(f"def task():\n    return {number}\n")
        assert carry_function(module.task).source.endswith(str(number))
    assert len(files_module._files) <= 32


def test_the_error_survives_pickling() -> None:
    error = CarryError("f", "dag.py", "a reason", [("np", 3)])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.names, copy.file) == (str(error), [("np", 3)], "dag.py")
