"""What the author's code finds though the image lacks it: Airflow's exceptions, a set-up of logging.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class AirflowShim:
    """Import hook, last in line: offers Airflow's exceptions when no Airflow is installed.

    Being last, it never hides a real Airflow; being a hook, it costs nothing until somebody asks.
    """

    loaded = False
    offers = ("airflow.exceptions.", "airflow.sdk.exceptions.", "airflow.providers.common.compat.sdk.")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Answer for ``airflow`` and, once that was ours, for the modules below it that we offer."""
        if name == "airflow":
            self.loaded = True
        elif not self.loaded or not any(offer.startswith(name + ".") for offer in self.offers):
            return None
        return type(sys.__spec__)(name, self, is_package=not name.endswith("exceptions"))  # type: ignore[arg-type]

    def create_module(self, spec: Any) -> None:
        """Leave the making of the module to Python."""

    def exec_module(self, module: Any) -> None:
        """Fill the module."""
        if module.__name__ != "airflow":
            for kind in (AirflowException, AirflowSkipException, AirflowFailException):
                setattr(module, kind.__name__, kind)


class AirflowException(Exception):
    """Stands for Airflow's own where Airflow is absent."""

    __module__ = "airflow.exceptions"


class AirflowSkipException(AirflowException):
    """Stands for Airflow's own where Airflow is absent."""

    __module__ = "airflow.exceptions"


class AirflowFailException(AirflowException):
    """Stands for Airflow's own where Airflow is absent."""

    __module__ = "airflow.exceptions"


def show_info(logging: Any) -> None:
    """Let what is logged from level INFO on be printed."""
    logging.basicConfig(stream=sys.stdout, level="INFO", format="%(levelname)s %(name)s: %(message)s")


class LoggingHook:
    """Import hook, first in line: sets logging up once somebody imports it, which is dear itself."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Answer for ``logging``, once: with what would be found without this hook."""
        if name != "logging":
            return None
        import importlib.util

        sys.meta_path.remove(self)
        spec: Any = importlib.util.find_spec(name)
        load = spec.loader.exec_module

        def exec_module(module: Any) -> None:
            load(module)
            show_info(module)

        spec.loader.exec_module = exec_module
        return spec
