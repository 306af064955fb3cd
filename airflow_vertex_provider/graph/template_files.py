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


def with_files(operator: Any, field: str, value: Any, values: Values, *, twice: bool = False) -> Any:
    """Return ``value`` with the texts of the files it names, and texts without Jinja rendered. Runs at parse.

    :param operator: gives the endings, and the DAG whose folders are looked in.
    :param field: the argument that ``value`` belongs to, for messages.
    :param values: takes what cannot be read.
    :param twice: Airflow renders the field twice, so that the text of a file must not be a file's name.
    """
    return _Reader(operator, values, twice).read(field, value)


class _Reader:
    def __init__(self, operator: Any, values: Values, twice: bool) -> None:
        self._operator = operator
        self._values = values
        self._twice = twice
        self._endings = tuple(operator.template_ext or ())

    def read(self, field: str, value: Any) -> Any:
        if isinstance(value, str):
            if self._endings and value.endswith(self._endings):
                return self._file(field, value)
            return value if is_template(value) else self._plain(value)
        if isinstance(value, dict):
            return {key: self.read(f"{field}[{key!r}]", item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            items = [self.read(f"{field}[{index}]", item) for index, item in enumerate(value)]
            if isinstance(value, list):
                return items
            return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
        if isinstance(value, set):
            return {self.read(field, item) for item in value}
        return value

    def _plain(self, text: str) -> Any:
        """Return what Airflow renders a text without Jinja to."""
        dag = self._operator.dag
        changes = text.endswith("\n") or "\r" in text or dag.render_template_as_native_obj
        return self._operator.render_template(text, {}, dag.get_template_env()) if changes else text

    def _file(self, field: str, name: str) -> Any:
        import jinja2

        environment = self._operator.dag.get_template_env()
        endings = " or ".join(self._endings)
        try:
            text = environment.loader.get_source(environment, name)[0]
            if not is_template(text):
                text = self._operator.render_template(name, {}, environment)
        except jinja2.TemplateNotFound:
            folders = getattr(environment.loader, "searchpath", None)
            where = ", ".join(map(str, folders)) if folders else "the loader of the DAG"
            self._values.refuse(
                field,
                name,
                f"the name of a file in {where}: Airflow reads a text that ends with {endings} as the name "
                "of a template (a blank at its end keeps it a text)",
            )
            return ""
        except (jinja2.TemplateError, OSError, UnicodeError) as error:
            self._values.refuse(field, name, f"a template file that can be read ({error})")
            return ""
        if self._twice and isinstance(text, str) and text.endswith(self._endings):
            self._values.refuse(
                field,
                f"{name}, whose last line ends with {endings}",
                "a file that ends with a line feed: Airflow takes such a text for the name of a file again",
            )
        return text
