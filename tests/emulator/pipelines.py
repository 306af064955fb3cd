"""Small PipelineSpecs and a plain HTTP client: tasks as shell or Python commands in, finished jobs out."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]

PROJECT = "my-proj"
LOCATION = "europe-west4"
PARENT = f"projects/{PROJECT}/locations/{LOCATION}"
ROOT = "gs://bucket/root"
FINAL = ("PIPELINE_STATE_SUCCEEDED", "PIPELINE_STATE_FAILED", "PIPELINE_STATE_CANCELLED")

#: Seconds a test waits for something before it fails; nothing here takes anywhere near as long.
PATIENCE = 60.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Wait until a condition gives something true, and return that."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {what}")


def parameter(name: str) -> Json:
    return {"componentInputParameter": name}


def constant(value: Any) -> Json:
    return {"runtimeValue": {"constant": value}}


def output(task: str, name: str = "Output") -> Json:
    return {"taskOutputParameter": {"producerTask": task, "outputParameterKey": name}}


def artifact(task: str, name: str) -> Json:
    return {"taskOutputArtifact": {"producerTask": task, "outputArtifactKey": name}}


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "BOOLEAN"),
    (int, "NUMBER_INTEGER"),
    (float, "NUMBER_DOUBLE"),
    (str, "STRING"),
    (list, "LIST"),
    (dict, "STRUCT"),
)


def kind_of(value: Any) -> str:
    return next(kind for python, kind in _KINDS if isinstance(value, python))


class Pipeline:
    """Builds a PipelineSpec task by task.

    :param parameters: run parameters; a type name, or a default value.
    """

    def __init__(self, name: str = "pipe", **parameters: Any) -> None:
        self.name = name
        self.components: Json = {}
        self.executors: Json = {}
        self.tasks: Json = {}
        self.outputs: Json = {}
        self.output_kinds: Json = {}
        self.inputs = {key: _declared(value) for key, value in parameters.items()}

    def task(
        self,
        key: str,
        command: Sequence[str] = ("true",),
        *,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        inputs: Mapping[str, Json] | None = None,
        kinds: Mapping[str, str] | None = None,
        artifacts: Mapping[str, Json] | None = None,
        outputs: Mapping[str, str] | None = None,
        output_artifacts: Iterable[str] = (),
        after: Iterable[str] = (),
        retry: Json | None = None,
        cache: bool = False,
        name: str | None = None,
        image: str = "python:3.11",
        resources: Json | None = None,
    ) -> Pipeline:
        """Add a container task; ``kinds`` gives the types of inputs that are not strings."""
        inputs = inputs or {}
        component: Json = {"executorLabel": f"exec-{key}"}
        declared: Json = {}
        if inputs:
            declared["parameters"] = {
                item: {"parameterType": (kinds or {}).get(item, "STRING")} for item in inputs
            }
        if artifacts:
            declared["artifacts"] = {
                item: {"artifactType": {"schemaTitle": "system.Dataset"}} for item in artifacts
            }
        if declared:
            component["inputDefinitions"] = declared
        made: Json = {}
        if outputs:
            made["parameters"] = {item: {"parameterType": kind} for item, kind in outputs.items()}
        if output_artifacts:
            made["artifacts"] = {
                item: {"artifactType": {"schemaTitle": "system.Dataset", "schemaVersion": "0.0.1"}}
                for item in output_artifacts
            }
        if made:
            component["outputDefinitions"] = made
        self.components[f"comp-{key}"] = component
        container: Json = {"image": image, "command": list(command), "args": list(args)}
        if env:
            container["env"] = [{"name": item, "value": value} for item, value in env.items()]
        if resources:
            container["resources"] = resources
        self.executors[f"exec-{key}"] = {"container": container}
        self._add(key, f"comp-{key}", inputs, artifacts or {}, after, name)
        if retry:
            self.tasks[key]["retryPolicy"] = retry
        if cache:
            self.tasks[key]["cachingOptions"] = {"enableCache": True}
        return self

    def python(self, key: str, source: str, **options: Any) -> Pipeline:
        """Add a task that runs Python source with the executor input as ``sys.argv[1]``."""
        return self.task(key, ["python3", "-c", source], args=["{{$}}", *options.pop("args", ())], **options)

    def nested(
        self,
        key: str,
        inner: Pipeline,
        *,
        inputs: Mapping[str, Json] | None = None,
        after: Iterable[str] = (),
        condition: str = "",
        items: Any = None,
        limit: int = 0,
    ) -> Pipeline:
        """Add another pipeline as a task of this one.

        :param condition: run it only then. :param items: run it for each, as its input ``item``; a list, or
            the name of one of its inputs. :param limit: iterations at the same time.
        """
        spec = inner.spec()
        self.components |= spec["components"]
        self.executors |= spec["deploymentSpec"]["executors"]
        self.components[f"comp-{key}"] = spec["root"]
        self._add(key, f"comp-{key}", inputs or {}, {}, after, None)
        if condition:
            self.tasks[key]["triggerPolicy"] = {"condition": condition}
        if items is not None:
            source = {"inputParameter": items} if isinstance(items, str) else {"raw": json.dumps(items)}
            self.tasks[key]["parameterIterator"] = {"itemInput": "item", "items": source}
        if limit:
            self.tasks[key]["iteratorPolicy"] = {"parallelismLimit": limit}
        return self

    def completed(self, key: str, **defaults: Any) -> Pipeline:
        """Let a task start whatever became of those above it; give its inputs defaults."""
        self.tasks[key]["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
        declared = self.components[f"comp-{key}"].get("inputDefinitions", {}).get("parameters", {})
        for name, value in defaults.items():
            declared[name] |= {"defaultValue": value, "isOptional": True}
        return self

    def result(self, name: str, task: str, kind: str = "STRING", key: str = "Output") -> Pipeline:
        """Make a task's output an output of the pipeline."""
        self.outputs[name] = {"valueFromParameter": {"producerSubtask": task, "outputParameterKey": key}}
        self.output_kinds[name] = {"parameterType": kind}
        return self

    def _add(
        self,
        key: str,
        component: str,
        inputs: Mapping[str, Json],
        artifacts: Mapping[str, Json],
        after: Iterable[str],
        name: str | None,
    ) -> None:
        task: Json = {"componentRef": {"name": component}, "taskInfo": {"name": name or key}}
        if inputs or artifacts:
            task["inputs"] = {}
        if inputs:
            task["inputs"]["parameters"] = dict(inputs)
        if artifacts:
            task["inputs"]["artifacts"] = dict(artifacts)
        if after:
            task["dependentTasks"] = list(after)
        self.tasks[key] = task

    def spec(self) -> Json:
        root: Json = {"dag": {"tasks": self.tasks}}
        if self.inputs:
            root["inputDefinitions"] = {"parameters": self.inputs}
        if self.outputs:
            root["dag"]["outputs"] = {"parameters": self.outputs}
            root["outputDefinitions"] = {"parameters": self.output_kinds}
        return {
            "pipelineInfo": {"name": self.name},
            "schemaVersion": "2.1.0",
            "sdkVersion": "kfp-2.16.1",
            "components": self.components,
            "deploymentSpec": {"executors": self.executors},
            "root": root,
        }


def _declared(value: Any) -> Json:
    if isinstance(value, str) and value.isupper():
        return {"parameterType": value}
    return {"parameterType": kind_of(value), "defaultValue": value, "isOptional": True}


#: Python source of a task that writes its input ``x`` to its output ``Output``, byte for byte.
COPY = (
    "import json,sys;d=json.loads(sys.argv[1]);"
    "open(d['outputs']['parameters']['Output']['outputFile'],'w').write(d['inputs']['parameterValues']['x'])"
)


def say(text: str) -> list[str]:
    """Command that writes a text to the output parameter ``Output``."""
    return ["sh", "-c", 'printf %s "$1" > "$0"', "{{$.outputs.parameters['Output'].output_file}}", text]


class ApiFailure(Exception):
    """The API answered with an error."""

    def __init__(self, status: int, body: Json) -> None:
        super().__init__(body)
        self.http_status = status
        self.error: Json = body["error"]
        self.message: str = self.error["message"]
        self.status: str = self.error["status"]


class Client:
    """Speaks to the emulator in plain HTTP."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send a request and return the JSON of the answer."""
        url = f"{self.endpoint}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            url, data, {"Content-Type": "application/json", **(headers or {})}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            content = error.read()
            if error.headers.get_content_type() != "application/json":
                raise
            raise ApiFailure(error.code, json.loads(content)) from error
        return json.loads(text) if text else {}

    def create(
        self, spec: Json | Pipeline, job_id: str | None = None, *, root: str = ROOT, **fields: Any
    ) -> Json:
        """Create a pipeline job; ``parameters`` and ``failure_policy`` go to its runtime configuration."""
        config: Json = {"gcsOutputDirectory": root}
        if "parameters" in fields:
            config["parameterValues"] = fields.pop("parameters")
        if "failure_policy" in fields:
            config["failurePolicy"] = fields.pop("failure_policy")
        body = {
            "displayName": "A run",
            "pipelineSpec": spec.spec() if isinstance(spec, Pipeline) else spec,
            "runtimeConfig": config,
            **fields,
        }
        query = {} if job_id is None else {"pipelineJobId": job_id}
        job: Json = self.call("POST", f"/v1/{PARENT}/pipelineJobs", body, query)
        return job

    def get(self, name: str) -> Json:
        job: Json = self.call("GET", f"/v1/{name}")
        return job

    def wait(self, name: str) -> Json:
        """Wait until a job has ended and return it."""

        def ended() -> Json | None:
            job = self.get(name)
            return job if job["state"] in FINAL else None

        job: Json = wait_for(ended, f"{name} to end")
        return job

    def run(self, spec: Json | Pipeline, job_id: str | None = None, **fields: Any) -> Json:
        """Create a job and wait for its end."""
        return self.wait(self.create(spec, job_id, **fields)["name"])

    def wait_state(self, name: str, task: str, *states: str) -> Json:
        """Wait until a task of a job is in one of the states, and return its entry."""

        def reached() -> Json | None:
            found = tasks(self.get(name)).get(task)
            return found if found and found["state"] in states else None

        entry: Json = wait_for(reached, f"{task} of {name} to be {states}")
        return entry


def tasks(job: Json) -> dict[str, Json]:
    """Return a job's task entries by name."""
    return {task["taskName"]: task for task in job.get("jobDetail", {}).get("taskDetails", [])}


def states(job: Json) -> dict[str, str]:
    """Return the state of every task but the root, by name."""
    root = job["name"].rpartition("/")[2]
    return {name: task["state"] for name, task in tasks(job).items() if name != root}


def outputs(job: Json, task: str) -> Json:
    """Return a task's output parameters."""
    return {
        key.removeprefix("output:"): value
        for key, value in tasks(job)[task].get("execution", {}).get("metadata", {}).items()
        if key.startswith("output:")
    }


PYTHON = sys.executable
