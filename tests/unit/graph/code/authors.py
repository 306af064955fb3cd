# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""Functions of an imagined author, who writes what authors write. test_reach.py calls them in containers."""

import asyncio
import collections
import dataclasses
import enum
import functools
import json, os, sys
import logging
import math as m
import operator
import os.path
import re
import types
import typing
from collections import OrderedDict as Ordered, defaultdict
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from math import *
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, TypeVar, Union

if TYPE_CHECKING:
    import pandas as pd
    from nowhere import Nothing

try:
    import tomllib_that_is_nowhere as toml
except ImportError:
    toml = None

try:
    from functools import cache
except ImportError:
    cache = functools.lru_cache(maxsize=None)

if sys.version_info >= (3, 0):
    import string as text_tools

    def only_here():
        return text_tools.digits
else:
    only_here = None

LIMIT = 3
RATE: float = 0.5
UNSET: Optional["pd.DataFrame"] = None
NAMES = ["a", "b"]
NAMES.append("c")
NAMES += ["d"]
TABLE = {"one": 1, "two": LIMIT - 1}
TABLE["three"] = 3
PAIR, (LEFT, *REST) = (1, 2), [3, 4, 5]
FIRST = SECOND = 7
SQUARES = [n * n for n in range(LIMIT)]
BY_NAME = {name: index for index, name in enumerate(NAMES)}
PATTERN = re.compile(r"(\d+)")
WORDS = "x y z".split()
JOINED = ", ".join(sorted(WORDS, reverse=True))
BASE = Path("data") / "raw"
DAY = date(2024, 2, 29)
STEP = timedelta(days=1)
PRICE = Decimal("1.10")
COUNTER = collections.Counter("hello")
ANY = object()
double = lambda x: x * 2
log = logging.getLogger(__name__)
log.setLevel(logging.INFO)
Number = Union[int, float]
T = TypeVar("T")
Rows = List[Dict[str, Any]]
add_two = functools.partial(pow, 2)
MESSAGE = f"limit {LIMIT:>3}"
BIG = LIMIT if LIMIT > 2 else 0
(WALRUS := 11)
A = 1; B = 2; C = A + B  # on one line
TEXT = """two
lines"""
count = 0
REBOUND = 1
REBOUND = REBOUND + 1
NAN = float("nan")
EMPTY_SET = frozenset()
open = "not the builtin"
__hidden = 5


class Color(enum.Enum):
    RED = 1
    BLUE = 2


DEFAULT_COLOR = Color.BLUE


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: int = LIMIT
    tags: List[str] = dataclasses.field(default_factory=list)

    def length(self) -> float:
        return sqrt(self.x**2 + self.y**2)


ORIGIN = Point(0, 0)


class Pair(NamedTuple):
    left: int
    right: int = 2


class Base:
    factor = LIMIT

    def __init__(self, value):
        self.value = value

    def scaled(self):
        return self.value * self.factor

    @classmethod
    def make(cls, value):
        return cls(value)

    @staticmethod
    def helped(value):
        return helper(value)

    @property
    def twice(self):
        return double(self.value)


class Derived(Base):
    factor = Base.factor + 1

    def scaled(self):
        return super().scaled() + 1


class MyError(ValueError):
    pass


def helper(x):
    return x + LIMIT


def even(n):
    return True if n == 0 else odd(n - 1)


def odd(n):
    return False if n == 0 else even(n - 1)


def third(x):
    return second_level(x) + 1


def second_level(x):
    return first_level(x) + 1


def first_level(x):
    return x + RATE


def logged(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return ["logged", function(*args, **kwargs)]

    return wrapper


def times(n):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(*args):
            return [function(*args)] * n

        return wrapper

    return decorate


@logged
def decorated_helper(x: "pd.DataFrame") -> int:
    return x + 1


@functools.singledispatch
def kind(value):
    return "other"


@kind.register(int)
def _(value):
    return "int"


@kind.register(str)
def _(value):
    return "str"


def annotated_helper(rows: "pd.DataFrame", n: Number = LIMIT) -> Rows:
    return [rows, n]


def increment():
    global count
    count += 1
    return count


def make_global():
    global made_later
    made_later = "made"


def generate(n):
    for i in range(n):
        yield i + LIMIT


async def wait_for(x):
    await asyncio.sleep(0)
    return helper(x)


def raises_at_line(x):
    raise MyError(x)  # the helper's line


# --- members --------------------------------------------------------------------------------------------


def nothing_from_outside(x):
    return x + 1


def constant():
    return LIMIT


def annotated_constant():
    return [RATE, UNSET]


def changed_list():
    return NAMES


def changed_dict():
    return TABLE


def unpacked():
    return [PAIR, LEFT, REST]


def several_targets():
    return FIRST + SECOND


def comprehension_constant():
    return SQUARES


def dict_comprehension_constant():
    return BY_NAME


def pattern(text):
    return PATTERN.findall(text)


def method_constants():
    return [WORDS, JOINED]


def path_constant():
    return str(BASE / "x.csv")


def date_constants():
    return DAY + STEP


def decimal_constant():
    return str(PRICE + 1)


def counter_constant():
    return COUNTER["l"]


def sentinel(x):
    return ANY is ANY and x is not ANY


def lambda_constant(x):
    return double(x)


def logger_constant():
    return [log.name, log.level]


def alias_in_body(x: Number) -> Rows:
    value: Number = x
    return [{"x": typing.cast(Number, value)}]


def type_variable():
    return T.__name__


def partial_constant():
    return add_two(3)


def f_string():
    return f"{MESSAGE}!"


def conditional_expression():
    return BIG


def walrus_constant():
    return WALRUS


def one_line():
    return C


def text_of_lines():
    return TEXT


def rebound():
    return REBOUND


def not_a_number():
    return NAN != NAN and not EMPTY_SET


def shadowed_builtin():
    return open


def enum_member():
    return [Color.RED.value, DEFAULT_COLOR.name, Color(2).name]


def data_class():
    return [Point(3, 4).length(), Point(1).y, dataclasses.asdict(ORIGIN)]


def named_tuple():
    return list(Pair(1))


def class_with_methods(x):
    return [Base(x).scaled(), Base.make(x).twice, Base.helped(x)]


def inheritance(x):
    return Derived(x).scaled()


def own_error():
    try:
        raise MyError("no")
    except MyError as error:
        return [str(error), isinstance(error, ValueError)]


def one_helper(x):
    return helper(x)


def mutual_recursion(n):
    return even(n)


def recursion(n):
    return 1 if n < 2 else n * recursion(n - 1)


def deep(x):
    return third(x)


def decorated_helpers(x):
    return decorated_helper(x)


def dispatched():
    return [kind(1), kind("x"), kind(2.0)]


def annotated_helpers():
    return annotated_helper(1)


def global_statement():
    increment()
    return increment()


def global_made_by_a_helper():
    make_global()
    return made_later


def helper_generator(n):
    return list(generate(n))


def generator_member(n):
    yield 1
    return n


async def async_member(x):
    return await wait_for(x)


async def async_generator_member(n):
    for i in range(n):
        yield helper(i)


def default_argument(x=LIMIT, *, day=DAY):
    return [x, day.year]


def keyword_only(*, a, b=RATE):
    return [a, b]


def positional_only(a, b=LIMIT, /):
    return [a, b]


def star_arguments(*args, **kwargs):
    return [helper(sum(args)), kwargs]


def mutable_default(x, seen=[]):
    seen.append(x)
    return seen


def lambda_default(x, key=lambda item: -item):
    return sorted(x, key=key)


def name_default(x, key=double):
    return key(x)


def import_alias(x):
    return [m.floor(x), m.pi > 3]


def from_import_alias():
    return list(Ordered(a=1))


def one_of_several_imports():
    return json.dumps([1])


def dotted_import():
    return os.path.join("a", "b")


def star_import(x):
    return sqrt(x)


def conditional_import():
    return toml is None


def import_or_else():
    return cache is not None


def defined_in_a_condition():
    return only_here()


def shadowed_by_argument(LIMIT):
    return LIMIT


def shadowed_by_local():
    helper = 1
    return helper


def shadowed_in_comprehension():
    return [LIMIT for LIMIT in [1, 2]] + [LIMIT]


def comprehension_scopes():
    return [[x + LIMIT for x in range(y)] for y in range(2)]


def class_body_scopes():
    class Local:
        LIMIT = LIMIT + 1
        values = [LIMIT, RATE]

    return [Local.LIMIT, Local.values]


def walrus(rows):
    return [found for row in rows if (found := row + LIMIT) > 4]


def nested_functions(x):
    def inner(y):
        def innermost():
            return helper(y) + x

        return innermost()

    return inner(1)


def nonlocal_inside():
    n = LIMIT

    def more():
        nonlocal n
        n += 1

    more()
    return n


def try_and_with(text):
    import io

    try:
        with io.StringIO(text) as file:
            return json.load(file)
    except json.JSONDecodeError as error:
        return [type(error).__name__, LIMIT]


def deleted_local():
    LOCAL = LIMIT
    del LOCAL
    return LIMIT


def local_import_shadows():
    import math as LIMIT

    return LIMIT.floor(1.5)


def name_of_the_module():
    return __name__


def mangled_is_plain():
    return __hidden


def typed_locals():
    rows: "pd.DataFrame" = LIMIT
    return rows


def docstring_only():
    """What it does."""
    return docstring_only.__doc__


@logged
def decorated(x):
    return x + LIMIT


@times(LIMIT)
@logged
def decorated_twice(x):
    return x


@functools.lru_cache(maxsize=None)
def cached(x):
    return helper(x)


def default_of_helper():
    return with_defaults()


def with_defaults(x=LIMIT, *, y=[1, 2], z=None):
    return [x, y, z]


def error_in_helper(x):
    return raises_at_line(x)


# --- functions inside functions -------------------------------------------------------------------------


def inside():
    """Make members as a DAG's function does."""
    import json as reader
    from math import floor

    limit = 10
    settings = {"a": [1, (2, None)], 3: {4}}
    day = date(2024, 1, 2)
    plus = lambda x: x + limit
    function = len

    def local_helper(x, n=limit):
        return x + n + LIMIT

    class Local:
        step = 2

        def add(self, x):
            return x + self.step + limit

    class Below(Local):
        def add(self, x):
            return super().add(x) + LIMIT

    def over_subclass(x):
        return Below().add(x)

    def over_literals(x):
        return [x + limit, settings, day]

    def over_helper(x):
        return local_helper(x)

    def over_class(x):
        return Local().add(x)

    def over_modules(x):
        return [reader.loads(x), floor(1.5)]

    def over_lambda(x):
        return plus(x)

    def over_builtin(x):
        return function(x)

    def itself(x):
        return 0 if not x else 1 + itself(x - 1)

    def default_of_enclosing(x, n=limit, *, more=settings["a"][0]):
        return [x, n, more]

    @logged
    def decorated_inside(x):
        return x + limit

    log = logging.getLogger(__name__)
    child = logging.getLogger(__name__ + ".child")
    words = re.compile(r"[a-z]+", re.I)
    second = operator.itemgetter(1)
    where = Path("/data") / "in"
    tree = {"rates": [Decimal("1.10")], "at": (where, range(3), {1, 2}), "odd": [float("inf"), 1 + 2j]}
    moment = datetime(2024, 1, 2, 3, tzinfo=timezone.utc)
    colour = Color.RED
    point = Point(3)
    pairs = [Pair(n, n) for n in range(2)]
    plus_ten = functools.partial(local_helper, n=10)
    counts = collections.Counter("aab")
    groups = defaultdict(list, {"a": [1]})
    frozen = types.MappingProxyType({"a": types.SimpleNamespace(b=Ordered(c=1))})
    recent = collections.deque([1, 2], maxlen=2)

    @dataclasses.dataclass
    class Options:
        depth: int = 1

    options = Options(5)
    sorts = [int, Decimal, Point, Options, len]

    store = []
    also = store

    def put(x):
        also.append(x)

    def over_two_names(x):
        put(x)
        return [store, also is store]

    def over_loggers():
        log.info("seen")
        return [log.name, child.name]

    def over_pattern(text):
        return [words.findall(text), second([1, 2])]

    def over_tree():
        return [str(where / "x"), str(tree["rates"][0] * 2), len(tree["at"][1]), str(tree["odd"])]

    def over_own_types():
        return [colour is Color.RED, point.x, point == Point(3), [pair.left for pair in pairs], options.depth]

    def over_collections():
        recent.append(3)
        return [counts["a"], groups["b"], groups["a"], frozen["a"].b["c"], list(recent), moment.isoformat()]

    def over_partial(x):
        return plus_ten(x)

    def over_sorts():
        return [sorts[0]("3"), str(sorts[1]("2.5")), sorts[2](1).x, sorts[3]().depth, sorts[4]("ab")]

    made = [over_two_names]
    made += [over_loggers, over_pattern, over_tree, over_own_types, over_collections, over_partial, over_sorts]
    made += [over_literals, over_helper, over_class, over_subclass, over_modules, over_lambda, over_builtin, itself]
    return {item.__name__: item for item in [*made, default_of_enclosing, decorated_inside]}


def in_a_list(function):
    def unwrapped(x):
        return [function(x)]

    return unwrapped


@in_a_list
def not_named(x):
    return helper(x)


def factory(n, helper_function):
    def made(x):
        return helper_function(x) * n

    return made


def loop_variables():
    functions = []
    for index in range(3):

        def in_a_loop(x, index=index):
            return x + index

        functions.append(in_a_loop)
    return functions


INSIDE = inside()
MADE = factory(2, helper)
IN_A_LOOP = loop_variables()[2]
if True:

    def indented_by_if(x):
        return helper(x)
