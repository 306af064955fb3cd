"""The members of the group that the benchmark waits for; in a file, since their source travels."""

from airflow.sdk import task


@task
def member(number: int) -> int:
    """Return a number."""
    return number
