# ruff: noqa: TID252
"""A module of the author's own that needs Airflow."""

from airflow.sdk import task

from . import rates
from .prices import price


@task
def priced(x: int) -> float:
    return price(x) + rates.RATE
