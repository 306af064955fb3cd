"""Jinja in a member's arguments: a template in, what of it a pipeline cannot be given at submit out.

A member's templates are rendered once, by the submit task. So whatever would mean something else there, or
nothing yet, is refused: the task itself and live task instances, and XComs of other members, which do not
exist before the job runs.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.checks import is_template

if TYPE_CHECKING:
    from airflow.sdk import DAG
    from jinja2 import Environment

#: Names that would mean the submit task, or its moment, rather than the member.
_OF_THE_TASK = frozenset(
    {
        "asset_state_store",
        "exception",
        "expanded_ti_count",
        "inlet_events",
        "inlets",
        "map_index_template",
        "outlet_events",
        "outlets",
        "reason",
        "task",
        "task_instance_key_str",
        "task_reschedule_count",
        "task_state_store",
        "try_number",
    }
)
_TASK_INSTANCE = frozenset({"ti", "task_instance"})
#: What Airflow gives its own environment; a DAG that names extensions replaces them.
_AIRFLOW_EXTENSIONS = ("jinja2.ext.do",)
#: What loading an extension that does not exist raises, or one that is no extension.
_UNLOADABLE = (ImportError, AttributeError, TypeError)
#: Jinja's options that decide what in a text is a template, each with Jinja's default.
_DELIMITERS: Mapping[str, object] = {
    "block_start_string": "{%",
    "block_end_string": "%}",
    "variable_start_string": "{{",
    "variable_end_string": "}}",
    "comment_start_string": "{#",
    "comment_end_string": "#}",
    "line_statement_prefix": None,
    "line_comment_prefix": None,
}


def environment_problems(dag: DAG) -> Iterator[tuple[str, str, str]]:
    """Find what of a DAG's own Jinja environment keeps its templates from being read at parse.

    :return: triples of field, what was found and what is allowed.
    """
    options = dag.jinja_environment_kwargs or {}
    changed = {
        name: options[name] for name, usual in _DELIMITERS.items() if options.get(name, usual) != usual
    }
    if changed:
        yield (
            "jinja_environment_kwargs",
            repr(changed),
            "Jinja's own delimiters: which arguments of the group are templates is seen by them",
        )
    try:
        _environment_with(dag, _extensions(dag))
    except _UNLOADABLE as error:
        yield (
            "jinja_environment_kwargs",
            f"extensions {options.get('extensions')!r} ({error})",
            "extensions that can be imported",
        )


def environment_of(dag: DAG) -> Environment:
    """Return an environment that reads templates as the DAG's own does. Runs at parse."""
    try:
        return _environment_with(dag, _extensions(dag))
    except _UNLOADABLE:
        # environment_problems names them; the templates are read as far as Airflow's own way goes.
        return _environment_with(dag, _AIRFLOW_EXTENSIONS)


def _environment_with(dag: DAG, extensions: tuple[Any, ...]) -> Environment:
    """Return an environment with these extensions that finds the files which the DAG's own finds."""
    loader = (dag.jinja_environment_kwargs or {}).get("loader")
    folders = (dag.folder, *(dag.template_searchpath or ()))
    return _environment(extensions, folders if loader is None else loader)


def _extensions(dag: DAG) -> tuple[Any, ...]:
    return tuple((dag.jinja_environment_kwargs or {}).get("extensions", _AIRFLOW_EXTENSIONS))


def setting_problems(
    field: str, value: object, members: Collection[str], environment: Environment
) -> Iterator[tuple[str, str, str]]:
    """Find what of the templates in settings cannot be rendered at submit.

    :param field: dotted path to ``value``; empty for a whole level of settings.
    :return: triples of dotted path, what was found and what is allowed.
    """
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from setting_problems(f"{field}.{key}" if field else str(key), item, members, environment)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from setting_problems(f"{field}[{index}]", item, members, environment)
    elif isinstance(value, str) and is_template(value):
        for found, allowed in template_problems(value, members, environment):
            yield field, found, allowed


def template_problems(
    text: str, members: Collection[str], environment: Environment
) -> Iterator[tuple[str, str]]:
    """Find what of a template cannot be rendered at submit.

    :param text: the template.
    :param members: task ids of the group's members.
    :param environment: see :func:`environment_of`.
    :return: pairs of what was found and what is allowed.
    """
    yield from _text_problems(text, members, environment, set())


def _text_problems(
    text: str, members: Collection[str], environment: Environment, seen: set[str]
) -> Iterator[tuple[str, str]]:
    """Find the problems of one text and of the files it takes in.

    :param seen: names of the files that have been looked at.
    """
    import jinja2
    from jinja2 import nodes

    try:
        tree = environment.parse(text)
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
    for taken in tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends)):
        yield from _file_problems(text, taken, members, environment, seen)


def _file_problems(
    text: str, taken: Any, members: Collection[str], environment: Environment, seen: set[str]
) -> Iterator[tuple[str, str]]:
    """Find the problems of the file that a template includes, imports or extends."""
    import jinja2
    from jinja2 import nodes

    named = taken.template
    items = named.items if isinstance(named, nodes.List | nodes.Tuple) else [named]
    names = [item.value for item in items if isinstance(item, nodes.Const) and isinstance(item.value, str)]
    if len(names) < len(items):
        yield text, "the names of template files written out: what is in them is looked at here"
        return
    for name in names:
        if name in seen or environment.loader is None:
            continue
        seen.add(name)
        try:
            source = environment.loader.get_source(environment, name)[0]
        except jinja2.TemplateNotFound:
            if len(names) == 1 and not getattr(taken, "ignore_missing", False):
                yield text, f"{name!r} in the DAG's folder or its template_searchpath"
        else:
            yield from _text_problems(source, members, environment, seen)


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
            allowed = (
                f"the output of {item.value!r} passed as an argument, or as a part of Joined(...) in a "
                "container: it exists only once the job runs"
            )
            yield text, allowed


@functools.cache
def _environment(extensions: tuple[Any, ...], files: Any) -> Environment:
    """Make an environment.

    :param files: folders to look for files in, or the author's own loader.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(files) if isinstance(files, tuple) else files
    # Only parses: the author's own filters, tests and macros need not be known here.
    return jinja2.Environment(autoescape=False, extensions=extensions, loader=loader)  # noqa: S701 - as said
