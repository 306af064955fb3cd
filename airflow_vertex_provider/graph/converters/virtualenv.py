"""``@task.virtualenv`` and PythonVirtualenvOperator: a function and its requirements in, a PYTHON task out.

The task's container takes the place of the virtual environment: its requirements become packages that are
installed there, and its image that of the worker's Python. What says more about the environment is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.checks import is_template
from airflow_vertex_provider.graph.converters.base import Conversion
from airflow_vertex_provider.graph.converters.functions import WHOLE_CONTEXT, function_call
from airflow_vertex_provider.graph.converters.python import own_arguments, payload
from airflow_vertex_provider.graph.converters.settings import (
    environment,
    refuse_outputs,
    refuse_unless,
    said,
    skip_codes,
)
from airflow_vertex_provider.graph.model import TaskKind
from airflow_vertex_provider.graph.template_files import with_files

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values

CLASSES = (
    "airflow.providers.standard.operators.python.PythonVirtualenvOperator",
    "airflow.providers.standard.decorators.python_virtualenv._PythonVirtualenvDecoratedOperator",
)
LEAVES_VALUE = True
TITLE = "@task.virtualenv, PythonVirtualenvOperator"

_IMAGE = 'executor_config={"vertex": {"image": ...}} names an image'
#: Operator attribute -> what is allowed; anything but an empty value is refused.
_MUST_BE_EMPTY = {
    "python_version": f"None; {_IMAGE} with that Python",
    "index_urls_from_connection_ids": "None: secrets of connections do not enter a pipeline's specification",
    "string_args": "none; pass the texts as arguments",
}
#: Options of pip that only say how much it prints and asks.
_WITHOUT_MEANING = frozenset({"-q", "-qq", "-v", "--quiet", "--verbose", "--no-input"})
#: pip reads a file of requirements this way: a comment begins the line or follows a blank.
_COMMENT = re.compile(r"(^|\s+)#.*$")
_VARIABLE = re.compile(r"\$\{[A-Z0-9_]+\}")


def convert(operator: Any, values: Values) -> Conversion:
    """See :mod:`airflow_vertex_provider.graph.converters.base`."""
    refuse_outputs(operator, ("inherit_env", "system_site_packages"), values)
    for name, allowed in _MUST_BE_EMPTY.items():
        refuse_unless(not getattr(operator, name, None), operator, name, allowed, values)
    refuse_unless(
        operator.inherit_env, operator, "inherit_env", f"True; {_IMAGE} and so the variables", values
    )
    if skip_codes(operator.skip_on_exit_code, values):
        values.refuse(
            "skip_on_exit_code",
            operator.skip_on_exit_code,
            "None; a @task skips by raising AirflowSkipException",
        )
    call = function_call(
        operator,
        values,
        context=_offered(operator),
        own=own_arguments(operator, values),
        in_process=False,
        leaves_artifacts=True,
    )
    config = payload(operator, call)
    settings = _pip_settings(operator, values)
    packages = list(_packages(operator, values))
    if packages:
        # Both ways of naming packages hold; the requirements are the operator's own.
        also = said(operator, "packages")
        settings["packages"] = [*(also if isinstance(also, list | tuple) else ()), *packages]
    if operator.env_vars:
        settings["env"] = environment(operator, "env_vars", operator.env_vars, values, templated=False)
    return Conversion(TaskKind.PYTHON, config, settings, output_types=call.outputs if call else {})


def _offered(operator: Any) -> frozenset[str]:
    """Return the context keys that Airflow hands on into the environment."""
    keys = operator.BASE_SERIALIZABLE_CONTEXT_KEYS
    try:
        keys = set(operator._iter_serializable_context_keys())
    except ValueError:
        # A requirement is a template, or none at all; that is named where the requirements are read.
        pendulum, airflow = (
            operator.PENDULUM_SERIALIZABLE_CONTEXT_KEYS,
            operator.AIRFLOW_SERIALIZABLE_CONTEXT_KEYS,
        )
        named = " ".join(map(str, operator.requirements))
        if operator.system_site_packages or "apache-airflow" in named:
            keys = {*keys, *pendulum, *airflow}
        elif "pendulum" in named:
            keys = {*keys, *pendulum}
    return WHOLE_CONTEXT & frozenset(keys)


def _pip_settings(operator: Any, values: Values) -> dict[str, Any]:
    """Return what the operator says to pip as settings: the options that have one, and its indexes."""
    settings: dict[str, Any] = {}
    urls = operator.index_urls
    if urls is not None:
        if (
            isinstance(urls, list | tuple)
            and urls
            and all(isinstance(url, str) and url and not is_template(url) for url in urls)
        ):
            settings["pip_index_urls"] = list(urls)
        else:
            values.refuse(
                "index_urls", urls, "None, or a list of addresses without templates, the main one first"
            )
    options = operator.pip_install_options or []
    main: list[str] = []
    more: list[str] = []
    words = list(options) if isinstance(options, list | tuple) else [options]
    while words:
        word = words.pop(0)
        option, equals, value = str(word).partition("=")
        if option in ("--no-deps", "--no-dependencies") and not equals:
            settings["pip_no_deps"] = True
        elif option in ("-i", "--index-url", "--extra-index-url") and (equals or words):
            url = value if equals else words.pop(0)
            (more if option == "--extra-index-url" else main).append(url)
        elif str(word) not in _WITHOUT_MEANING:
            values.refuse(
                "pip_install_options",
                word,
                "a list of --no-deps, --index-url and --extra-index-url; other settings of pip belong into "
                "the image (pip.conf, PIP_... variables)",
            )
    if (main or more) and (urls is not None or not main):
        values.refuse(
            "pip_install_options",
            f"{(main + more)[0]!r} as an index",
            "--index-url and any --extra-index-url, without index_urls; or index_urls, the main one first",
        )
    elif main:
        settings["pip_index_urls"] = [main[-1], *more]
    return settings


def _packages(operator: Any, values: Values) -> Iterator[str]:
    """Yield the requirements one by one, as pip reads them from a file."""
    requirements = operator.requirements
    if not isinstance(requirements, Sequence):
        values.refuse("requirements", requirements, "a list of requirements, or the name of a .txt file")
        return
    for index, item in enumerate(with_files(operator, "requirements", list(requirements), values)):
        field = f"requirements[{index}]"
        if not isinstance(item, str):
            values.refuse(field, item, "a text; an output of a task is not known when the job is made")
            continue
        for line in item.splitlines():
            line = _COMMENT.sub("", line).strip()
            if line.startswith("-") or line.endswith("\\") or _VARIABLE.search(line):
                values.refuse(
                    field,
                    line,
                    "one requirement a line, without options of pip, continued lines and ${VARIABLES}; "
                    "index_urls names another index",
                )
            elif line:
                yield line
