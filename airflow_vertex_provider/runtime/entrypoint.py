"""Run one task inside its container: a configuration and Vertex's executor input come in, outputs go out.

The modules of :mod:`airflow_vertex_provider.runtime.container` are sent as one text: the compiler puts it
into the container's command as ``python3 -u -c <text> <configuration> <executor input>``, joined and stripped
by :func:`airflow_vertex_provider.runtime.protocol.embedded_source`. So they need the standard library only,
are good for Python 3.8 and later, import what is dear only where it is needed, and give no two things one
name; two opening braces never stand side by side in them, because Vertex would take them for a placeholder.

A task pays only for what it uses: functions called ``run_<kind>``, ``use_<key>`` and ``node_<form>`` are
reached through :func:`part` alone, and stay out of the text of a task whose configuration does not hold
that kind, key or node form. So does everything that only they need.

:mod:`airflow_vertex_provider.runtime.protocol` is the other end: it documents the configuration and
imports the functions that both ends must share (``encode``, ``decode``, ``escape_literal``, ...), so the
two cannot drift apart. This module is not sent: on Airflow's side it stands for the whole text.

What it leaves behind, all in the folder of the executor input's ``outputFile``; of several replicas the
chief alone (:func:`is_chief`):

``executor_output.json``
    the outputs, as Vertex reads them;
``airflow_value.json``, ``airflow_item_<output>_<field>_<number>.json``
    the value itself, or an item of it that a loop runs over, when it is too large to be an argument;
``airflow_value_<number>.<extension>``
    an object of the value that JSON cannot carry, as its serialiser writes it;
``airflow_artifact_<name>.json``
    likewise what is known of an artifact, when its metadata are large;
``../airflow_no_retry/<folder>.json``
    after an AirflowFailException: the error; a later attempt fails with it and runs nothing;
``airflow_error.json``
    after a failure: ``type``, ``message``, ``traceback``, ``skipped``, for the mirroring Airflow task;
``executor_error.json``
    after a failure: ``errorMessage``, which Vertex shows as the task's error (vertex-observed.md, 2).

A task that is skipped writes outputs too: its state travels as its value (:data:`SKIPPED`).
"""

from __future__ import annotations

from airflow_vertex_provider.runtime.container import (
    artifacts,
    base,
    code,
    errors,
    files,
    kinds,
    loops,
    nodes,
    objects,
    offers,
    outputs,
    packages,
    processes,
    run,
    states,
    values,
)
from airflow_vertex_provider.runtime.container.artifacts import (
    HTML,
    Artifact,
    ClassificationMetrics,
    Dataset,
    Markdown,
    Metrics,
    Model,
    plain,
)
from airflow_vertex_provider.runtime.container.base import (
    ABSENT,
    FAILED,
    SKIPPED,
    ProtocolError,
    VertexRuntimeError,
)
from airflow_vertex_provider.runtime.container.code import compiled
from airflow_vertex_provider.runtime.container.files import argument_cost, parse_reference, reference
from airflow_vertex_provider.runtime.container.kinds import use_function
from airflow_vertex_provider.runtime.container.loops import as_rendered, expand_items
from airflow_vertex_provider.runtime.container.nodes import resolve
from airflow_vertex_provider.runtime.container.offers import AirflowException, AirflowShim
from airflow_vertex_provider.runtime.container.outputs import use_branch, use_follow
from airflow_vertex_provider.runtime.container.processes import stream, terminated
from airflow_vertex_provider.runtime.container.run import main
from airflow_vertex_provider.runtime.container.states import decide, state_of
from airflow_vertex_provider.runtime.container.values import (
    Apart,
    decode,
    dump,
    encode,
    escape_literal,
    outside,
    tag,
)

__all__ = [
    "ABSENT",
    "FAILED",
    "HTML",
    "SKIPPED",
    "AirflowException",
    "AirflowShim",
    "Apart",
    "Artifact",
    "ClassificationMetrics",
    "Dataset",
    "Markdown",
    "Metrics",
    "Model",
    "ProtocolError",
    "VertexRuntimeError",
    "argument_cost",
    "as_rendered",
    "compiled",
    "decide",
    "decode",
    "dump",
    "encode",
    "escape_literal",
    "expand_items",
    "main",
    "outside",
    "parse_reference",
    "plain",
    "reference",
    "resolve",
    "state_of",
    "stream",
    "tag",
    "terminated",
    "use_branch",
    "use_follow",
    "use_function",
]

#: In the order of the text.
MODULES = (
    base,
    offers,
    files,
    states,
    processes,
    values,
    packages,
    errors,
    nodes,
    loops,
    code,
    artifacts,
    outputs,
    objects,
    kinds,
    run,
)

for _module in MODULES:
    base.NAMES.update({name: value for name, value in vars(_module).items() if not name.startswith("__")})
