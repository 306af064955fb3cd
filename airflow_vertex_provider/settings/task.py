"""A task's settings: one level as an author writes it in, checked plain data out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_vertex_provider import checks
from airflow_vertex_provider.exceptions import VertexSettingsError
from airflow_vertex_provider.settings.base import check_keys
from airflow_vertex_provider.settings.machines import CustomJob, Resources

#: Runs a member that names no image. Any image with Python 3.8 or newer will do.
DEFAULT_IMAGE = "python:3.11-slim"
#: How the author's code reaches the container, and how it does if nobody says.
CODE_MODES = ("inline", "bundle", "image")
DEFAULT_CODE = "inline"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """What one task runs on, after merging: every field is decided.

    :param image: container image.
    :param packages: pip requirements installed before the author's code.
    :param enable_caching: let the service reuse an earlier result of the same task.
    :param env: environment variables of the container.
    :param custom_job: settings of the task's own machine, or ``None`` for a plain task.
    :param resources: what a plain task asks for.
    :param code: how the author's code reaches the container: ``inline``, ``bundle`` or ``image``.
    :param code_paths: what a bundle holds; nothing said: the folder of the DAG's own modules.
    :param serializers: names of serialisers that values may be written with, besides the built-in ones.
    :param value_limit: bytes above which a value travels by file; ``None``: as the command line allows.
    :param pip_index_urls: index that packages come from, then further ones.
    :param pip_no_deps: install the packages alone, without what they require.
    :param wheel_cache: ``gs://`` folder with wheels, read and filled before packages are installed.
    :param warnings: what ``additional_training_job_args`` override, for the log of submit.
    """

    image: str = DEFAULT_IMAGE
    packages: tuple[str, ...] = ()
    enable_caching: bool = False
    env: Mapping[str, str] = field(default_factory=dict)
    custom_job: CustomJob | None = None
    resources: Resources = field(default_factory=Resources)
    code: str = DEFAULT_CODE
    code_paths: tuple[str, ...] = ()
    serializers: tuple[str, ...] = ()
    value_limit: int | None = None
    pip_index_urls: tuple[str, ...] = ()
    pip_no_deps: bool = False
    wheel_cache: str | None = None
    warnings: tuple[str, ...] = ()


#: Keys that say what pip installs in the container, and how.
INSTALLATION_KEYS = ("packages", "pip_index_urls", "pip_no_deps", "wheel_cache")

#: Keys of ``executor_config["vertex"]``, each with the check of its plain value.
TASK_KEYS: Mapping[str, checks.Check] = {
    "custom_job": lambda _field, value: CustomJob.from_dict(value).to_dict(),
    "resources": lambda _field, value: Resources.from_dict(value).to_dict(),
    "image": checks.text,
    "packages": checks.requirements,
    "enable_caching": checks.flag,
    "env": checks.environment,
    "code": checks.one_of(*CODE_MODES),
    "code_paths": checks.literal_texts,
    "serializers": checks.literal_texts,
    "value_limit": checks.integer(1),
    "pip_index_urls": checks.addresses,
    "pip_no_deps": checks.flag,
    "wheel_cache": checks.gcs_path,
}
#: Keys that hold more than one decision; the nearest level that says any other key decides it.
STRUCTURED_KEYS = ("custom_job", "resources", "env")
#: Keys that may be one template; the values of the others are parts, each of which may be one.
_SCALAR_KEYS = frozenset({"image", "enable_caching", "value_limit", "pip_no_deps", "wheel_cache"})


def task_level(data: Mapping[str, Any]) -> dict[str, Any]:
    """Check one level's task settings and return them as plain data, ready to be templated and merged.

    ``None`` for ``custom_job`` is kept: it says that the task wants none although a wider level has one.

    :raises VertexSettingsError: an unknown key, a value that is not allowed, or a custom job together
        with resources on the same level.
    """
    check_keys('executor_config["vertex"]', data, list(TASK_KEYS))
    result: dict[str, Any] = {}
    for key, value in data.items():
        if value is None:
            if key == "custom_job":
                result[key] = None
            continue
        whole = key in _SCALAR_KEYS and checks.is_template(value)
        result[key] = value if whole else TASK_KEYS[key](key, value)
    if result.get("custom_job") is not None and result.get("resources") is not None:
        raise VertexSettingsError(
            "resources",
            result["resources"],
            "either custom_job (a machine of its own) or resources (a plain task), not both",
        )
    return result
