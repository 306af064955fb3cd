# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""Functions of an imagined author that cannot be carried. test_reach.py has what each is refused for."""

import functools
import os
import random
import sys
import threading
import time
from datetime import datetime
from os import environ
from typing import TYPE_CHECKING

from airflow.sdk import DAG, Variable, get_current_context, task

# Beside this file, as own modules lie beside a DAG's; what stands in the project's root may count as installed.
sys.path.insert(0, os.path.dirname(__file__))
import beside

sys.path.pop(0)

if TYPE_CHECKING:
    import pandas as pd


class Client:
    def __init__(self, url="x"):
        self.url = url


def compute():
    return 3


def fill(table):
    table["x"] = 1


def set_flag():
    global FLAG
    FLAG = True


client = Client()
LOCK = threading.Lock()
HOME = os.environ["PATH"]
FROM_IMPORT = environ.get("PATH")
GETENV = os.getenv("PATH", "")
HERE = os.path.dirname(__file__)
NOW = datetime.now()
STARTED = time.time()
SEED = random.random()
COMPUTED = compute()
FILLED = {}
fill(FILLED)
FLAG = False
set_flag()
ITERATOR = iter([1, 2])
GENERATOR = (n for n in range(3))
for LOOPED in range(3):
    IN_LOOP = LOOPED
with open(os.devnull) as OPENED:
    READ = OPENED.read()
exec("EXECUTED = 1")
globals()["BY_GLOBALS"] = 1
setattr(sys.modules[__name__], "BY_SETATTR", 1)
DEPENDENT = [client, 1]
REGISTRY = {}
PARTIAL = functools.partial(compute, client)
if __name__ == "__main__":
    MAIN = 1
else:
    MAIN = 2
if os.environ.get("NOT_SET_ANYWHERE"):
    CHOSEN = 1
else:
    CHOSEN = 2


def register(function):
    REGISTRY[function.__name__] = function
    return function


@register
def registered():
    return 1


class WithHome:
    home = os.environ.get("HOME")


class Plugin:
    known = {}

    def __init_subclass__(cls):
        Plugin.known[cls.__name__] = cls


class OnePlugin(Plugin):
    pass


@task
def other_task():
    return 1


with DAG("refused"):
    OUTPUT = other_task()


def reaches_helper():
    return client.url


def live_object():
    return client


def lock():
    return LOCK


def environment():
    return HOME


def environment_by_import():
    return FROM_IMPORT


def environment_by_function():
    return GETENV


def file_of_the_module():
    return HERE


def file_itself():
    return __file__


def now():
    return NOW


def started():
    return STARTED


def seed():
    return SEED


def computed():
    return COMPUTED


def filled():
    return FILLED


def flag():
    return FLAG


def iterator():
    return ITERATOR


def generator():
    return GENERATOR


def looped():
    return LOOPED


def in_loop():
    return IN_LOOP


def opened():
    return OPENED


def read():
    return READ


def executed():
    return EXECUTED


def by_globals():
    return BY_GLOBALS


def by_setattr():
    return BY_SETATTR


def dependent():
    return DEPENDENT


def registry():
    return REGISTRY


def partial_of_live():
    return PARTIAL()


def main_only():
    return MAIN


def chosen_here():
    return CHOSEN


def class_reads_environment():
    return WithHome.home


def class_was_changed():
    return Plugin.known


def calls_a_task():
    return other_task()


def takes_an_output():
    return OUTPUT


def own_module():
    return beside.LIMIT


def airflow_name():
    return Variable.get("x")


def context():
    return get_current_context()


def type_checking_only():
    return pd.DataFrame()


def nowhere():
    return bound_nowhere_at_all


def through_helpers():
    return reaches_helper()


def default_is_live(x=Client()):
    return x


def helper_default_is_live():
    return default_is_live()


def two_problems():
    return [client, HOME, bound_nowhere_at_all]


class Shout(str):
    pass


def inside():
    connection = Client()
    total = 0
    same = 1

    holder = {"by": [connection]}
    endless = []
    endless.append(endless)
    shouting = Shout("x")

    def over_holder():
        return holder["by"]

    def over_itself():
        return len(endless)

    def over_subclass():
        return shouting.upper()

    def over_object():
        return connection.url

    def assigns():
        nonlocal total
        total += 1

    def helper_of_the_module():
        return same

    def default_is_object(x=connection):
        return x

    def unbound():
        return never

    if total:
        never = 1
    made = [over_holder, over_itself, over_subclass, over_object, assigns, default_is_object, unbound]
    return {item.__name__: item for item in made}


INSIDE = inside()


def limit_of_module():
    return LIMIT


LIMIT = 1


def two_meanings():
    LIMIT = 2

    def clash():
        return LIMIT + limit_of_module()

    return clash


CLASH = two_meanings()
