"""Groups with ``code="bundle"``, from their files to the emulator: what is sent, how often, what it runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from airflow_vertex_provider import compile_group
from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.exceptions import VertexGroupError, VertexSubmissionError
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.states import TERMINAL_PIPELINE_STATES
from tests.support.processes import wait_until
from tests.support.projects import lay, reading, shop
from tests.unit.submitting import submit

BOTH = """
        price(100)
        task(total)(100)
        price.override(task_id="machine", executor_config=MACHINE)(200)
        task(total).override(task_id="by_name", executor_config=MACHINE)(200)
"""


def ended(hook: VertexPipelineHook, name: str) -> Any:
    wait_until(lambda: hook.get_job(name).state in TERMINAL_PIPELINE_STATES, 120, "the job to end")
    return hook.get_job(name)


def values(job: Any) -> dict[str, Any]:
    assert job.state == "PIPELINE_STATE_SUCCEEDED", [(task.name, task.error) for task in job.entries]
    return {task.name: json.loads(task.outputs["Output"]) for task in job.entries if "Output" in task.outputs}


def uploads(emulator: VertexEmulator) -> list[str]:
    return [
        request.query.get("name") or request.path
        for request in emulator.requests
        if request.rest_method == "storage.objects.insert"
    ]


def zips(emulator: VertexEmulator) -> list[Path]:
    return sorted((emulator.state_dir / "gcs" / "bucket" / "root" / "code").glob("*.zip"))


def test_two_runs_send_the_code_once(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    file = shop(tmp_path / "dags", BOTH)
    for run_id in ("run-1", "run-2"):
        # Each run on a worker of its own.
        with reading(file) as dag:
            job = ended(hook, submit(dag, run_id))
        assert values(job) == {
            "price": ["shop", 125.0],
            "total": ["shop", 125.0],
            "machine": ["shop", 250.0],
            "by-name": ["shop", 250.0],
        }
    assert len(uploads(emulator)) == 1
    assert len(zips(emulator)) == 1


def test_a_changed_helper_is_other_code(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    file = shop(tmp_path / "dags", "price(100)")
    with reading(file) as dag:
        first = values(ended(hook, submit(dag, "run-1")))
    lay(tmp_path / "dags", {"shop/rates.py": "def vat(text):\n    return 1.0\n"})
    with reading(file) as dag:
        second = values(ended(hook, submit(dag, "run-2")))
    assert [first["price"], second["price"]] == [["shop", 125.0], ["shop", 200.0]]
    assert len(zips(emulator)) == 2


def test_a_changed_zip_is_refused(hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path) -> None:
    file = shop(tmp_path / "dags", BOTH)
    with reading(file) as dag:
        ended(hook, submit(dag, "run-1"))
        (sent,) = zips(emulator)
        good = sent.read_bytes()
        # Of the same size: submit does not read it, the container does.
        sent.write_bytes(good.replace(b"0.25", b"0.99"))
        job = ended(hook, submit(dag, "run-2"))
        assert job.state == "PIPELINE_STATE_FAILED"
        errors = {task.name: task.error for task in job.entries if task.error}
        assert set(errors) >= {"price", "total"}
        for name in ("price", "total"):
            assert f"gs://bucket/root/code/{sent.name} is not the file that was written" in errors[name]
            assert sent.stem in errors[name]
        sent.write_bytes(good[:-1])
        with pytest.raises(VertexSubmissionError, match=rf"{sent.name}: found {len(good) - 1} bytes"):
            submit(dag, "run-3")
        sent.unlink()
        values(ended(hook, submit(dag, "run-4")))


def test_a_failing_helper_is_shown_by_its_own_name(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    with reading(shop(tmp_path / "dags", "broken(1)\n        task(share)(1, 0)")) as dag:
        job = ended(hook, submit(dag))
    for name in ("broken", "share"):
        error = next(task.error for task in job.entries if task.name == name)
        assert 'File "shop/prices.py", line 10, in share\n    return net / among' in error
        assert "airflow-vertex-" not in error
    broken = next(task.error for task in job.entries if task.name == "broken")
    assert re.search(r'File "flow\.py", line \d+, in broken\n    return share\(net, 0\)', broken)


def test_sets_of_paths(hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path) -> None:
    """Each set of paths is one zip; tasks say their own, and one may send nothing."""
    body = """
        price(100)
        price.override(task_id="same", executor_config={"vertex": {"code_paths": ["shop"]}})(100)
        price.override(task_id="src", executor_config={"vertex": {"code_paths": ["src"]}})(100)
        give.override(executor_config={"vertex": {"code": "inline"}})()
    """
    files = {
        "src/shop/__init__.py": "",
        "src/shop/prices.py": "def total(net):\n    return 'src'\n",
    }
    give = "@task\ndef give():\n    return 1\n"
    with reading(shop(tmp_path / "dags", body, "code_paths=['shop'],", files, functions=give)) as dag:
        found = values(ended(hook, submit(dag)))
    assert found == {"price": ["shop", 125.0], "same": ["shop", 125.0], "src": "src", "give": 1}
    assert len(zips(emulator)) == 2


def test_dag_in_a_folder_of_its_own(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    """What the DAG's file puts onto sys.path is there in the container too."""
    file = shop(tmp_path / "dags" / "team", "price(100)")
    file.write_text(f"import sys\nsys.path.insert(0, {str(file.parent)!r})\n{file.read_text()}")
    with reading(file, tmp_path / "dags") as dag:
        assert values(ended(hook, submit(dag))) == {"price": ["shop", 125.0]}


TOP = """
import shop.rates
from shop import NAME, prices as money

LIMIT = 3

def helper(net):
    return money.total(net)[1]

@task
def top(net):
    return [helper(net), total(net), LIMIT, NAME, shop.rates.vat("x,0.5")]

@task
def top_fails(net):
    return helper(net) + share(net, 0)
"""


def test_imports_at_the_top_of_the_dags_file(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    with reading(shop(tmp_path / "dags", "top(100)\n        top_fails(100)", functions=TOP)) as dag:
        job = ended(hook, submit(dag))
    entries = {entry.name: entry for entry in job.entries}
    assert json.loads(entries["top"].outputs["Output"]) == [125.0, ["shop", 125.0], 3, "shop", 0.5]
    error = entries["top-fails"].error
    assert "return helper(net) + share(net, 0)" in error
    assert 'File "shop/prices.py", line 10, in share' in error


TASKS = """
from airflow.sdk import task

from . import NAME
from .prices import total

@task
def relative(net):
    from .rates import vat

    return [total(net), NAME, vat("x,0.5")]
"""


def test_tasks_in_a_module_of_the_project(
    hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path
) -> None:
    """The module needs Airflow, so its function travels as text; its relative imports find the bundle."""
    files = {"shop/tasks.py": TASKS}
    functions = "from shop.tasks import relative"
    with reading(shop(tmp_path / "dags", "relative(100)", files=files, functions=functions)) as dag:
        assert values(ended(hook, submit(dag))) == {"relative": [["shop", 125.0], "shop", 0.5]}


KINDS = """
@task.bash
def shell():
    import shop

    return f"echo {shop.NAME}"

@task.branch
def choose():
    from shop import NAME

    return "g.chosen" if NAME == "shop" else "g.other"

@task.short_circuit
def goes_on():
    from shop.rates import vat

    return vat("x,0.5") == 0.5
"""
MEMBERS = """
        from airflow.providers.standard.operators.bash import BashOperator

        BashOperator(task_id="program", bash_command="python3 -c 'import shop; print(shop.NAME)'")
        shell()
        choose() >> [price.override(task_id="chosen")(100), price.override(task_id="other")(100)]
        goes_on() >> price.override(task_id="after")(200)
        price.expand(net=[100, 200])
"""


def test_every_kind_of_member(hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path) -> None:
    with reading(shop(tmp_path / "dags", MEMBERS, functions=KINDS)) as dag:
        job = ended(hook, submit(dag))
    found = values(job)
    assert found["program"] == found["shell"] == "shop"
    assert found["chosen"] == ["shop", 125.0]
    assert found["after"] == ["shop", 250.0]
    mapped = [json.loads(entry.outputs["Output"]) for entry in job.entries if entry.name == "price"]
    assert sorted(mapped) == [["shop", 125.0], ["shop", 250.0]]
    assert len(zips(emulator)) == 1


FLAKY = """
from datetime import timedelta

@task(retries=1, retry_delay=timedelta(0))
def flaky(path):
    from pathlib import Path
    from shop.prices import total

    if not Path(path).exists():
        Path(path).touch()
        raise ConnectionError("not yet")
    return total(100)

@task
def wait(begun, gate):
    import time
    from pathlib import Path
    from shop.prices import total

    Path(begun).touch()
    while not Path(gate).exists():
        time.sleep(0.02)
    return total(200)[1]
"""


def test_retry(hook: VertexPipelineHook, emulator: VertexEmulator, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    with reading(shop(tmp_path / "dags", f"flaky({str(mark)!r})", functions=FLAKY)) as dag:
        assert values(ended(hook, submit(dag))) == {"flaky": ["shop", 125.0]}
    assert mark.exists()


def test_restart_of_the_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gate, state = tmp_path / "begun", tmp_path / "gate", tmp_path / "state"
    body = f"price(wait({str(begun)!r}, {str(gate)!r}))"
    name = ""
    with reading(shop(tmp_path / "dags", body, functions=FLAKY)) as dag:
        with VertexEmulator(state_dir=state) as first:
            monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", first.connection_json())
            name = submit(dag)
            wait_until(begun.exists, 60, "the first member to run")
    gate.touch()
    with VertexEmulator(state_dir=state) as second:
        monkeypatch.setenv("AIRFLOW_CONN_GOOGLE_CLOUD_DEFAULT", second.connection_json())
        assert values(ended(VertexPipelineHook(), name)) == {
            "wait": 250.0,
            "price": ["shop", 312.5],
        }


class TestCompiling:
    def config(self, spec: dict[str, Any], name: str) -> dict[str, Any]:
        command = spec["deploymentSpec"]["executors"][f"exec-{name}"]["container"]["command"]
        config: dict[str, Any] = json.loads(command[-1])
        return config

    def test_nothing_is_sent(self, tmp_path: Path) -> None:
        with reading(shop(tmp_path / "dags", BOTH)) as dag:
            spec = compile_group(dag.task_group.children["g"])
            assert compile_group(dag.task_group.children["g"]) == spec
        bundle = self.config(spec, "price")["bundle"]
        assert bundle["uri"] == f"gs://bucket/root/code/{bundle['sha256']}.zip"
        assert bundle["roots"] == [""]
        by_name = self.config(spec, "total")
        assert by_name["module"] == "shop.prices"
        assert "source" not in by_name
        assert by_name["bundle"] == bundle

    def test_template_as_pipeline_root(self, tmp_path: Path) -> None:
        file = shop(tmp_path / "dags", "price(100)")
        file.write_text(file.read_text().replace('"gs://bucket/root"', '"{{ params.root }}"'))
        with reading(file) as dag:
            with pytest.raises(VertexGroupError, match=r"pipeline_root: found '\{\{ params\.root \}\}'"):
                compile_group(dag.task_group.children["g"])

    def test_all_problems_at_once(self, tmp_path: Path) -> None:
        body = """
        price(100)
        price.override(task_id="other", executor_config={"vertex": {"code_paths": ["lib"]}})(100)
        """
        key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQ+/" * 20 + "\n-----END PRIVATE KEY-----\n"
        files = {"lib/key.txt": key}
        with reading(shop(tmp_path / "dags", body, files=files)) as dag:
            (tmp_path / "dags/out").symlink_to(tmp_path)
            with pytest.raises(VertexGroupError) as caught:
                compile_group(dag.task_group.children["g"])
        found = {(problem.where, problem.field) for problem in caught.value.problems}
        assert found == {("g.price", "code"), ("g.other", "code_paths")}
        assert "a private key in" in str(caught.value)

    def test_module_that_the_bundle_lacks(self, tmp_path: Path) -> None:
        body = """
        task(total)(100)
        price(100)
        """
        files = {"src/a.py": ""}
        with reading(shop(tmp_path / "dags", body, "code_paths=['src'],", files)) as dag:
            with pytest.raises(VertexGroupError, match=r"g\.total: .*module 'shop\.prices'") as caught:
                compile_group(dag.task_group.children["g"])
        assert len(caught.value.problems) == 1
