"""Jinja in a member's arguments: a template in, what of it a pipeline cannot be given at submit out.

A member's templates are rendered once, by the submit task. So whatever would mean something else there, or
nothing yet, is refused: the task itself and live task instances, and XComs of other members, which do not
exist before the job runs.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

#: Names that would mean the submit task rather than the member.
_OF_THE_TASK = frozenset({"task", "task_instance_key_str", "map_index_template", "try_number"})
_TASK_INSTANCE = frozenset({"ti", "task_instance"})


def template_problems(text: str, members: Collection[str]) -> Iterator[tuple[str, str]]:
    """Find what of a template cannot be rendered at submit.

    :param text: the template.
    :param members: task ids of the group's members.
    :return: pairs of what was found and what is allowed.
    """
    import jinja2
    from jinja2 import nodes

    try:
        tree = _environment().parse(text)
    except jinja2.TemplateSyntaxError as error:
        yield text, f"a template that Jinja can read ({error.message})"
        return
    calls: list[Any] = [call for call in tree.find_all(nodes.Call) if _is_pull(call)]
    pulls = {id(call.node.node): call for call in calls}
    for name in tree.find_all(nodes.Name):
        if name.name in _OF_THE_TASK:
            yield text, f"no {name.name!r}: the template is rendered by submit_pipeline, not by this task"
        elif name.name in _TASK_INSTANCE:
            call = pulls.get(id(name))
            if call is None:
                yield text, f"of {name.name!r} only xcom_pull(task_ids=...) of a task outside the group"
            else:
                yield from _pull_problems(text, call, members)


def _is_pull(call: Any) -> bool:
    from jinja2 import nodes

    return (
        isinstance(call.node, nodes.Getattr)
        and call.node.attr == "xcom_pull"
        and isinstance(call.node.node, nodes.Name)
    )


def _pull_problems(text: str, call: Any, members: Collection[str]) -> Iterator[tuple[str, str]]:
    from jinja2 import nodes

    argument = next((item.value for item in call.kwargs if item.key == "task_ids"), None)
    if argument is None and call.args:
        argument = call.args[0]
    items = argument.items if isinstance(argument, nodes.List | nodes.Tuple) else [argument]
    for item in items:
        if not isinstance(item, nodes.Const) or not isinstance(item.value, str):
            yield text, "xcom_pull with task_ids written out"
        elif item.value in members:
            yield (
                text,
                f"the output of {item.value!r} passed as an argument: it exists only once the job runs",
            )


@functools.cache
def _environment() -> Environment:
    import jinja2

    # Only parses: the author's own filters, tests and macros need not be known here.
    return jinja2.Environment(autoescape=False)  # noqa: S701 - nothing is rendered
