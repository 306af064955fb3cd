"""Files named by templated fields: an argument in, the same with each file name replaced by the file's text.

Airflow takes a text that ends like one of an operator's ``template_ext`` for the name of a file, wherever in
a templated field it stands, and renders that file. The folders are the DAG's own and ``template_searchpath``;
they are there at parse, but not in a container.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_vertex_provider.checks import is_template

if TYPE_CHECKING:
    from airflow_vertex_provider.graph.values import Values


def with_files(operator: Any, field: str, value: Any, values: Values) -> Any:
    """Return ``value`` with the texts of the files it names. Runs at parse.

    A file without Jinja in it is replaced by what Airflow would render it to.

    :param operator: gives the endings, and the DAG whose folders are looked in.
    :param field: the argument that ``value`` belongs to, for messages.
    :param values: takes what cannot be read.
    """
    endings = tuple(operator.template_ext or ())
    return _read(operator, field, value, values, endings) if endings else value


def _read(operator: Any, field: str, value: Any, values: Values, endings: tuple[str, ...]) -> Any:
    if isinstance(value, str):
        return _text(operator, field, value, values, endings) if value.endswith(endings) else value
    if isinstance(value, Mapping):
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
    if isinstance(value, set | frozenset):
        return type(value)(_read(operator, field, item, values, endings) for item in value)
    return value


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
