"""A group run on the emulator, and run again: what the tests of reruns share."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_vertex_provider import VertexTaskGroup, compile_group
from airflow_vertex_provider.compiler import dump_spec
from airflow_vertex_provider.graph.model import Graph
from airflow_vertex_provider.graph.setups import setups_of
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from airflow_vertex_provider.outputs import read_value
from airflow_vertex_provider.reruns.decision import Rerun, again, rerun
from airflow_vertex_provider.reuse import merged, note_of
from airflow_vertex_provider.snapshot import JobSnapshot
from tests.support.processes import wait_until
from tests.unit.emulated import LOCATION, ROOT

MACHINE = {"vertex": {"custom_job": {"machine_type": "n1-standard-4"}}}


@task
def work(at, name, *values, again=None):  # type: ignore[no-untyped-def]
    """Leave a trace; fail if told so by a file; return the name and what was taken."""
    from pathlib import Path

    if again is not None:
        name = f"{name}-{again}"
    with (Path(at) / name).open("a") as file:
        file.write("x")
    if (Path(at) / f"fail-{name}").exists():
        raise ValueError(name)
    return [name, *values]


@task
def skipping(at, name, *values):  # type: ignore[no-untyped-def]
    """Leave a trace; skip if told so by a file; return the name and what was taken."""
    from pathlib import Path

    from airflow.exceptions import AirflowSkipException

    (Path(at) / name).write_text("x")
    if (Path(at) / f"skip-{name}").exists():
        raise AirflowSkipException(name)
    return [name, *values]


def member(name: str, **options: Any) -> Any:
    return work.override(task_id=name, **options)


Fill = Callable[[Any], object]


class Rig:
    """A group in a folder of its own.

    :param fill: fills the group; takes the folder in which traces are left. Or the spec itself.
    :param settings: of the group; :param values: run parameters.
    """

    def __init__(
        self,
        hook: VertexPipelineHook,
        path: Path,
        fill: Fill | Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        **values: Any,
    ) -> None:
        self.hook, self.path, self.settings = hook, path, settings or {}
        path.mkdir(exist_ok=True)
        self.needs: dict[str, list[str]] = {}
        if isinstance(fill, Mapping):
            self.spec = dict(fill)
        else:
            self.spec, self.needs = self.compiled(fill)
        inputs = self.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        self.values: dict[str, Any] = {name: value for name, value in values.items() if name in inputs}
        self.count = 0
        #: The request of the job that ran last, as the API has it, and its snapshot, merged.
        self.request: dict[str, Any] = {}
        self.job: JobSnapshot
        self.again: Rerun

    def compiled(self, fill: Fill) -> tuple[dict[str, Any], dict[str, list[str]]]:
        import kfp.components

        with DAG("d", schedule=None) as dag:
            with VertexTaskGroup("g", location=LOCATION, pipeline_root=ROOT, **self.settings) as group:
                fill(str(self.path))
        spec = compile_group(group)
        kfp.components.load_component_from_text(dump_spec(spec))
        submit: Any = dag.get_task("g.submit_pipeline")
        return spec, setups_of(Graph.from_dict(submit.graph))

    def fail(self, *names: str) -> None:
        for name in names:
            (self.path / f"fail-{name}").touch()

    def mend(self) -> None:
        for file in self.path.glob("fail-*"):
            file.unlink()

    def submit(self, spec: Mapping[str, Any], values: Mapping[str, Any]) -> tuple[Counter[str], JobSnapshot]:
        """Run a job; return which tasks ran how often, and the job."""
        for trace in self.path.glob("*"):
            if not trace.name.startswith(("fail-", "skip-")):
                trace.unlink()
        self.count += 1
        job = {
            "display_name": "d.g",
            "pipeline_spec": spec,
            "runtime_config": {"gcs_output_directory": ROOT, "parameter_values": values},
        }
        name, created = self.hook.create_job(location=LOCATION, job_id=f"job-{self.count}", job=job)
        assert created
        found = self.ended(name)
        self.request = self.hook.read_request(name)
        ran = Counter(
            {
                trace.name: len(trace.read_text())
                for trace in self.path.glob("*")
                if not trace.name.startswith(("fail-", "skip-"))
            }
        )
        return ran, found

    def ended(self, name: str) -> JobSnapshot:
        def done() -> JobSnapshot | None:
            job = self.hook.look(name)
            return job if job.done else None

        return wait_until(done, 60, f"{name} to end")

    def first(self, *fail: str) -> set[str]:
        """Run the whole group, with tasks that fail; return what ran."""
        self.fail(*fail)
        ran, self.job = self.submit(self.spec, self.values)
        assert self.job.succeeded is (not fail), self.job
        self.mend()
        return set(ran)

    def rerun(self, **changes: Any) -> Rerun:
        """Work the next job out, twice, from what the service has of the last one."""
        import kfp.components

        given = {
            "spec": self.spec,
            "values": self.values,
            "earlier_spec": self.request["pipeline_spec"],
            "earlier_values": self.request["runtime_config"]["parameter_values"],
            "earlier": self.job,
            "needs": self.needs,
            **changes,
        }
        before = copy.deepcopy(given)
        self.again = rerun(**given)
        assert given == before
        assert rerun(**copy.deepcopy(given)) == self.again
        assert dump_spec(rerun(**given).spec) == dump_spec(self.again.spec)
        kfp.components.load_component_from_text(dump_spec(self.again.spec))
        inputs = self.again.spec["root"].get("inputDefinitions", {}).get("parameters", {})
        assert set(self.again.parameter_values) <= set(inputs)
        return self.again

    def of_itself(self, *fail: str) -> set[str]:
        """Run again what the last job says itself has to; return what ran, each of it once."""
        import kfp.components

        config = self.request["runtime_config"]
        found = again(self.request["pipeline_spec"], config["parameter_values"], self.job, needs=self.needs)
        kfp.components.load_component_from_text(dump_spec(found.spec))
        self.again = found
        return self._run_again(*fail)

    def second(self, *fail: str, **changes: Any) -> set[str]:
        """Run again what has to run again; return what ran, each of it once."""
        self.rerun(**changes)
        return self._run_again(*fail)

    def _run_again(self, *fail: str) -> set[str]:
        again = self.again
        self.fail(*fail)
        ran, job = self.submit(again.spec, again.parameter_values)
        self.mend()
        assert job.succeeded is (not fail), job
        assert set(ran.values()) <= {1}
        entries = {entry.name for entry in job.entries}
        assert not entries & (set(again.reused) - set(again.iterations)), "a reused task has an entry"
        note = note_of(self.request["runtime_config"]["parameter_values"])
        if note is not None:
            assert note.job == self.job.name
        self.job = merged(job, note, self.job)
        return set(ran)

    def value(self, name: str, index: int | None = None) -> Any:
        """Return what a task returned."""
        entry = self.job.task(name, index)
        assert entry is not None, name
        assert entry.succeeded, entry
        return read_value(str(entry.outputs["Output"]))
