# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""A DAG file as authors write it: members in with blocks, in functions, with Airflow's decorators."""

import functools
import logging

from airflow.exceptions import AirflowSkipException
from airflow.sdk import DAG, TaskGroup, dag, get_current_context, task
from airflow.sdk import task as renamed

PRICES = {"a": 1.5}
quiet = functools.partial(task, retries=2)
log = logging.getLogger("shop")


def maybe_skip(x):
    if not x:
        raise AirflowSkipException("nothing")
    return x


def asks_context():
    return get_current_context()


def doubled(function):
    @functools.wraps(function)
    def wrapper(*args):
        return 2 * function(*args)

    return wrapper


with DAG("written_as_a_block") as block, TaskGroup("g"):
    FACTOR = 2

    def in_block_helper(x):
        return x * FACTOR

    @task
    def in_block(x):
        return in_block_helper(x) + PRICES["a"]

    @quiet(retry_delay=10)
    @doubled
    def in_block_decorated(x):
        return in_block_helper(x)

    @renamed.short_circuit
    def may_skip(x):
        log.info("looking")
        return maybe_skip(x)

    @task
    def in_context(x):
        return asks_context()

    IN_BLOCK = {
        "in_block": in_block(1),
        "in_block_decorated": in_block_decorated(1),
        "may_skip": may_skip(1),
        "in_context": in_context(1),
    }


@dag
def written_as_a_function():
    from airflow.sdk import task as local_task

    factor = 3

    def local_helper(x):
        return x * factor

    @local_task
    def first(x):
        return local_helper(x)

    @local_task(retries=1)
    @doubled
    def second(x):
        return local_helper(x) + PRICES["a"]

    @local_task
    def third(x):
        return first(x)

    with TaskGroup("g"):
        MEMBERS.update({"first": first(1), "second": second(1), "third": third(1)})


MEMBERS = {}
written_as_a_function()
