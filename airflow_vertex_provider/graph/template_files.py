"""Templated fields at parse: an argument in, the same with what rendering does without a run's values out.

Airflow takes a text that ends like one of an operator's ``template_ext`` for the name of a file, wherever in
a templated field it stands, and renders that file. The folders are the DAG's own and ``template_searchpath``;
they are there at parse, but not in a container. And a text without any Jinja is rendered too: it loses a last
line feed, and a DAG that renders native objects makes a number of ``"1"``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.checks import is_template

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values


def with_files(operator: Any, field: str, value: Any, values: Values, *, last: bool = True) -> Any:
    """Return ``value`` with the texts of the files it names, and texts without Jinja rendered. Runs at parse.

    :param operator: gives the endings, and the DAG whose folders are looked in.
    :param field: the argument that ``value`` belongs to, for messages.
    :param values: takes what cannot be read.
    """
    return _read(operator, field, value, values, tuple(operator.template_ext or ()))


def _read(operator: Any, field: str, value: Any, values: Values, endings: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        if endings and value.endswith(endings):
            return _text(operator, field, value, values, endings)
        return _plain(operator, value) if not is_template(value) else value
    if isinstance(value, dict):
        return {
            key: _read(operator, f"{field}[{key!r}]", item, values, endings) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        items = [
            _read(operator, f"{field}[{index}]", item, values, endings) for index, item in enumerate(value)
        ]
        if isinstance(value, list):
            return items
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, set):
        return {_read(operator, field, item, values, endings) for item in value}
    return value


def _plain(operator: Any, text: str) -> Any:
    """Return what Airflow renders a text without Jinja to."""
    dag = operator.dag
    changes = text.endswith("\n") or "\r" in text or dag.render_template_as_native_obj
    return operator.render_template(text, {}, dag.get_template_env()) if changes else text


def _text(operator: Any, field: str, name: str, values: Values, endings: tuple[str, ...]) -> Any:
    import jinja2

    environment = operator.dag.get_template_env()
    try:
        text = environment.loader.get_source(environment, name)[0]
        return text if is_template(text) else operator.render_template(name, {}, environment)
    except jinja2.TemplateNotFound:
        folders = getattr(environment.loader, "searchpath", None)
        values.refuse(
            field,
            name,
            f"the name of a file in {', '.join(map(str, folders)) if folders else 'the loader of the DAG'}: "
            f"Airflow reads a text that ends with {' or '.join(endings)} as the name of a template "
            "(a blank at its end keeps it a text)",
        )
    except (jinja2.TemplateError, OSError, UnicodeError) as error:
        values.refuse(field, name, f"a template file that can be read ({error})")
    return ""
