"""Pods and Docker containers as members: what of them a pipeline task keeps, and what is refused by name."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import task

from airflow_vertex_provider import Joined, OutputFile
from airflow_vertex_provider.graph.model import FromOutput, TaskKind
from tests.unit.graph.converting import Converted, convert
from tests.unit.graph.image_operators import (
    DOCKER,
    DOCKER_FUNCTION,
    POD,
    POD_FUNCTION,
    decorator,
    operator_class,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(params=[False, True], ids=["stand-in", "real"])
def real(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@task
def earlier() -> int:
    return 3


class TestPod:
    def pod(self, real: bool, **options: Any) -> Converted:
        kind = operator_class(POD, real)
        return convert(lambda: kind(task_id="p", **{"image": "i:1", **options}))

    def test_what_is_carried(self, real: bool) -> None:
        kind = operator_class(POD, real)

        def build() -> Any:
            return kind(
                task_id="p",
                image="i:{{ ds }}",
                cmds=["python", "-c"],
                arguments=["print(1)", "{{ ds }}", earlier()],
                env_vars={"A": "1", "DAY": "{{ ds }}"},
                container_resources=SimpleNamespace(
                    limits={"cpu": "2", "memory": "4Gi"}, requests={"cpu": "1"}, claims=None
                ),
            )

        converted = convert(build)
        assert converted.problems == []
        assert converted.conversion.kind is TaskKind.CONTAINER
        assert converted.conversion.settings == {
            "image": "i:{{ ds }}",
            "resources": {"cpu_limit": "2", "memory_limit": "4Gi", "cpu_request": "1"},
        }
        payload = converted.payload
        assert payload["command"] == [["python"], ["-c"]]
        assert payload["arguments"][0] == ["print(1)"]
        assert set(payload["env"]) == {"A", "DAY"}
        output = payload["arguments"][2][0]["$in"]
        assert converted.values.inputs[output] == FromOutput("g.earlier", "Text")

    def test_variables_as_objects(self, real: bool) -> None:
        variables = [SimpleNamespace(name="A", value="1", value_from=None)]
        assert self.pod(real, env_vars=variables).payload["env"] == {"A": ["1"]}
        secret = [SimpleNamespace(name="A", value=None, value_from=object())]
        assert self.pod(real, env_vars=secret).fields == ["env_vars[0]"]
        empty = [SimpleNamespace(name="A", value=None, value_from=None)]
        assert self.pod(real, env_vars=empty).fields == ["env_vars['A']"]

    def test_resources_as_a_dict_over_those_of_the_settings(self, real: bool) -> None:
        config = {"vertex": {"resources": {"cpu_limit": "1", "accelerator_type": "NVIDIA_L4"}}}
        converted = self.pod(real, container_resources={"limits": {"cpu": "2"}}, executor_config=config)
        assert converted.conversion.settings["resources"] == {
            "cpu_limit": "2",
            "accelerator_type": "NVIDIA_L4",
        }

    @pytest.mark.parametrize(
        "options",
        [
            {"name": "a-pod", "namespace": "jobs", "random_name_suffix": False},
            {"in_cluster": True, "kubernetes_conn_id": "k"},
            {"get_logs": False, "startup_timeout_seconds": 600},
            {"on_finish_action": "keep_pod", "image_pull_policy": "Always"},
            {"hostnetwork": False, "volumes": [], "labels": {}},
            {"skip_on_exit_code": []},
        ],
    )
    def test_what_is_airflow_s_own_part(self, real: bool, options: dict[str, Any]) -> None:
        assert self.pod(real, **options).problems == []

    @pytest.mark.parametrize(
        ("options", "field", "way_out"),
        [
            ({"do_xcom_push": True}, "do_xcom_push", "@task.kubernetes"),
            ({"volumes": ["v"]}, "volumes", "Cloud Storage"),
            ({"env_from": ["x"]}, "env_from", "env_vars"),
            ({"secrets": ["x"]}, "secrets", "Secret Manager"),
            ({"labels": {"a": "b"}}, "labels", "labels of the group"),
            ({"node_selector": {"a": "b"}}, "node_selector", "custom_job"),
            ({"service_account_name": "robot"}, "service_account_name", "service_account"),
            ({"hostnetwork": True}, "hostnetwork", "default"),
            ({"pod_template_file": "pod.yaml"}, "pod_template_file", "image, cmds"),
            ({"active_deadline_seconds": 60}, "active_deadline_seconds", "execution_timeout"),
            ({"on_kill_action": "keep_pod"}, "on_kill_action", "cancel_on_kill"),
            ({"image_pull_policy": "Never"}, "image_pull_policy", "Always"),
            ({"skip_on_exit_code": 42}, "skip_on_exit_code", "BashOperator"),
            ({"env_vars": {"A": ""}}, "env_vars['A']", "not empty"),
            ({"env_vars": {"A": "1"}, "arguments": ["$(A)"]}, "arguments[0]", "$NAME"),
            ({"arguments": ["echo $$"]}, "arguments[0]", "Kubernetes replaces"),
            ({"arguments": [Joined("n=", "$$")]}, "arguments[0]", "Kubernetes replaces"),
            ({"arguments": [OutputFile("n")]}, "arguments[0]", "VertexContainerOperator"),
            (
                {"container_resources": {"limits": {"nvidia.com/gpu": "1"}}},
                "container_resources.limits",
                "GPU",
            ),
        ],
    )
    def test_what_has_no_equal(self, real: bool, options: dict[str, Any], field: str, way_out: str) -> None:
        converted = self.pod(real, **options)
        assert converted.fields == [field]
        assert way_out in converted.allowed[0]

    def test_an_argument_of_several_parts(self, real: bool) -> None:
        kind = operator_class(POD, real)
        converted = convert(lambda: kind(task_id="p", image="i", arguments=[Joined("--rows=", earlier())]))
        assert converted.problems == []
        text, value = converted.payload["arguments"][0]
        assert text == "--rows="
        assert converted.values.inputs[value["$in"]] == FromOutput("g.earlier", "Text")

    def test_a_shell_s_own_substitution_stays(self, real: bool) -> None:
        converted = self.pod(real, cmds=["bash", "-c"], arguments=["echo $(date) $A"])
        assert converted.payload["arguments"] == [["echo $(date) $A"]]

    def test_fields_of_default_args(self, real: bool) -> None:
        kind = operator_class(POD, real)
        converted = convert(
            lambda: kind(task_id="p", image="i"), default_args={"service_account_name": "robot"}
        )
        assert converted.fields == ["service_account_name"]


class TestDocker:
    def docker(self, real: bool, folder: Path | None = None, **options: Any) -> Converted:
        kind = operator_class(DOCKER, real)
        given = {"image": "i:1", "do_xcom_push": False, **options}
        return convert(lambda: kind(task_id="c", **given), folder=folder)

    def test_what_is_carried(self, real: bool) -> None:
        converted = self.docker(
            real,
            command=["--day", "{{ ds }}"],
            entrypoint="python -m 'my module'",
            environment={"A": "1", "N": 2, "B": True, "DAY": "{{ ds }}"},
            mem_limit="512m",
        )
        assert converted.problems == []
        assert converted.conversion.kind is TaskKind.CONTAINER
        assert converted.conversion.settings == {"image": "i:1", "resources": {"memory_limit": "512Mi"}}
        payload = converted.payload
        assert payload["command"] == [["python"], ["-m"], ["my module"]]
        (day,) = payload["arguments"][1]
        assert payload["arguments"] == [["--day"], [day]]
        assert converted.inputs({"ds": "2025-01-02"}) == {day["$in"]: '"2025-01-02"'}
        # As Docker's client writes what is no text.
        assert payload["env"] == {"A": ["1"], "N": ["2"], "B": ["True"], "DAY": [day]}

    @pytest.mark.parametrize(
        ("command", "words"),
        [
            (None, []),
            ("echo 'a b' c\\ d", ["echo", "a b", "c d"]),
            (" ['echo', 'a b']", ["echo", "a b"]),
            (["echo", "a b"], ["echo", "a b"]),
        ],
    )
    def test_commands(self, real: bool, command: Any, words: list[str]) -> None:
        assert self.docker(real, command=command).payload["arguments"] == [[word] for word in words]

    @pytest.mark.parametrize("command", ["echo {{ ds }}", "echo 'open", "[1, "])
    def test_commands_that_cannot_be_split(self, real: bool, command: str) -> None:
        assert self.docker(real, command=command).fields == ["command"]

    def test_command_files(self, real: bool, tmp_path: Path) -> None:
        (tmp_path / "run.sh").write_text("echo 'a b'\n")
        assert self.docker(real, tmp_path, command="run.sh").payload["arguments"] == [["echo"], ["a b"]]
        # Airflow reads such an item as a file too, and fails.
        assert self.docker(real, tmp_path, command=["bash", "/app/run.sh"]).fields == ["command[1]"]

    @pytest.mark.parametrize(
        ("limit", "memory"),
        [("1g", "1Gi"), ("128MB", "128Mi"), (2000000000, "2000000000"), (1e9, "1000000000")],
    )
    def test_memory(self, real: bool, limit: Any, memory: str) -> None:
        assert self.docker(real, mem_limit=limit).conversion.settings["resources"] == {"memory_limit": memory}

    @pytest.mark.parametrize(
        "options",
        [
            {"docker_url": "tcp://host:2375", "auto_remove": "force", "container_name": "c"},
            {"network_mode": "bridge", "mount_tmp_dir": False, "tty": True},
            {"mounts": [], "cpus": 1.0, "environment": {}},
        ],
    )
    def test_what_is_airflow_s_own_part(self, real: bool, options: dict[str, Any]) -> None:
        assert self.docker(real, **options).problems == []

    @pytest.mark.parametrize(
        ("options", "field", "way_out"),
        [
            ({"do_xcom_push": True}, "do_xcom_push", "@task.docker"),
            ({"mounts": [{"target": "/a", "source": "b", "type": "bind"}]}, "mounts", "Cloud Storage"),
            ({"cpus": 2.0}, "cpus", "cpu_limit"),
            ({"mem_limit": "1.5g"}, "mem_limit", "4g"),
            ({"private_environment": {"A": "b"}}, "private_environment", "Secret Manager"),
            ({"environment": {"A": None}}, "environment['A']", "not empty"),
            ({"env_file": "a=b"}, "env_file", "environment"),
            ({"network_mode": "host"}, "network_mode", "bridge"),
            ({"user": 1000}, "user", "image"),
            ({"user": 0}, "user", "image"),
            ({"working_dir": "/app"}, "working_dir", "image"),
            ({"privileged": True}, "privileged", "default"),
            ({"xcom_all": True}, "xcom_all", "@task.docker"),
            ({"tmp_dir": "/data"}, "tmp_dir", "Cloud Storage"),
            ({"skip_on_exit_code": [1]}, "skip_on_exit_code", "BashOperator"),
        ],
    )
    def test_what_has_no_equal(self, real: bool, options: dict[str, Any], field: str, way_out: str) -> None:
        converted = self.docker(real, **options)
        assert converted.fields == [field]
        assert way_out in converted.allowed[0]


class TestFunctions:
    def made(self, real: bool, name: str, function: Any = None, *args: Any, **options: Any) -> Converted:
        def add(a: int, b: int = 1, ds: Any = None) -> Any:
            return a + b, ds

        kind = operator_class(name, real)
        return convert(lambda: decorator(kind, **{"image": "i:1", **options})(function or add)(*args or (1,)))

    @pytest.mark.parametrize("name", [POD_FUNCTION, DOCKER_FUNCTION])
    def test_a_function_in_its_image(self, real: bool, name: str) -> None:
        converted = self.made(real, name)
        assert converted.conversion.kind is TaskKind.PYTHON
        assert converted.conversion.settings == {"image": "i:1"}
        # Airflow gives such a function nothing of its context.
        assert converted.run({"ds": "2025-01-02"}) == (2, None)

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            (POD_FUNCTION, {"env_vars": {"A": "{{ ds }}"}}),
            (DOCKER_FUNCTION, {"environment": {"A": "{{ ds }}"}}),
        ],
    )
    def test_variables(self, real: bool, name: str, options: dict[str, Any]) -> None:
        config = {"vertex": {"env": {"A": "x", "B": "y"}}}
        converted = self.made(real, name, executor_config=config, **options)
        assert converted.conversion.settings["env"] == {"A": "{{ ds }}", "B": "y"}

    def test_a_value_of_a_pod_s_function(self, real: bool) -> None:
        assert self.made(real, POD_FUNCTION, do_xcom_push=True).problems == []

    @pytest.mark.parametrize(
        ("name", "options", "field"),
        [
            (POD_FUNCTION, {"volumes": ["v"]}, "volumes"),
            (POD_FUNCTION, {"env_vars": {"A": ""}}, "env_vars['A']"),
            (POD_FUNCTION, {"skip_on_exit_code": 9}, "skip_on_exit_code"),
            (DOCKER_FUNCTION, {"mounts": ["m"]}, "mounts"),
            (DOCKER_FUNCTION, {"python_command": "python3.9"}, "python_command"),
        ],
    )
    def test_what_has_no_equal(self, real: bool, name: str, options: dict[str, Any], field: str) -> None:
        assert self.made(real, name, **options).fields == [field]

    def test_arguments_that_the_function_does_not_take(self, real: bool) -> None:
        def needs_day(ds: Any) -> Any:
            return ds

        kind = operator_class(POD_FUNCTION, real)
        converted = convert(lambda: decorator(kind, image="i")(needs_day)())
        assert converted.fields == ["op_args, op_kwargs"]
