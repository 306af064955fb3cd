"""The message of a refused group in, the lines of docs/translation.md that name what is refused out.

A random group may be refused only for a reason that the document gives. Whatever is refused for another one
is something that users were promised.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.processes import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "translation.md"


@dataclass(frozen=True)
class Refusal:
    """One reason.

    :param problem: pattern of the problem after the task's name: field, what was found, what is allowed.
    :param line: how a line of the document begins that names it.
    """

    problem: str
    line: str


DOCUMENTED = (
    Refusal(
        r"upstream: found .* beside the branch or short circuit",
        "| a task mapped over a list that is written out, below a branch or short circuit",
    ),
    Refusal(
        r"trigger_rule: found '\w+' below .* outside the group",
        "| any rule but `all_success` towards tasks outside the group",
    ),
    Refusal(
        r"trigger_rule: found 'always' for a task that (takes the output of|is mapped over)",
        "| `always` | has no edges in the pipeline; refused for a task that takes the output of a member",
    ),
    Refusal(
        r"trigger_rule: found '\w+' below the mapped .* how many instances failed",
        "| rules that count failures (`one_success`, `all_failed`, ...) below a mapped task",
    ),
    Refusal(
        r"trigger_rule: found '\w+' for a task that takes the outputs of the mapped",
        "| rules that count failures (`one_success`, `all_failed`, ...) below a mapped task",
    ),
    Refusal(
        r"trigger_rule: found '\w+' for a task mapped over the output of",
        "| trigger rules other than `all_success` on a task mapped over a member's output",
    ),
    Refusal(
        r"upstream: found .* of the mapped task group .* may fail without that",
        "| a task outside a mapped group that waits for some of its tasks only",
    ),
    Refusal(
        r"upstream: found .* outside the mapped task group, with .* waits for",
        "| tasks of a mapped group that wait for different tasks outside it",
    ),
    Refusal(
        r"upstream: found .* outside the mapped task group; allowed: tasks that all",
        "| tasks of a mapped group that wait for different tasks outside it",
    ),
    Refusal(
        r"trigger_rule: found '\w+' with .* outside the mapped task group above it",
        "| tasks of a mapped group that wait for different tasks outside it",
    ),
    Refusal(
        r"upstream: found a branch or short circuit outside the mapped task group",
        "| rules other than `all_success` and `none_failed_min_one_success` in a mapped task group",
    ),
    Refusal(
        r"trigger_rule: found '\w+' in a mapped task group that may be skipped as a whole",
        "| rules other than `all_success` and `none_failed_min_one_success` in a mapped task group",
    ),
    Refusal(
        r"upstream: found \d+ ways through tasks that run nothing",
        "| long ladders of `EmptyOperator` or of `one_done`",
    ),
    Refusal(
        r"edges: found task .* both after and before members of",
        "| an outer task between two members",
    ),
)


def problems(message: str) -> Iterator[str]:
    """Yield the problems that a message lists, each without the name of its task."""
    for line in message.splitlines():
        number, _, rest = line.strip().partition(". ")
        if number.isdigit():
            yield rest.partition(": ")[2]


def undocumented(message: str) -> list[str]:
    """Return the problems of a message that the document does not name; the message itself if it has none."""
    listed = list(problems(message))
    unknown = [one for one in listed if not any(re.match(known.problem, one) for known in DOCUMENTED)]
    return unknown if listed else [message]
