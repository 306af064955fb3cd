"""What the emulator guesses: choices of whoever starts it in, :class:`Switches` for the engine out.

Nobody may rely on an answer that no public record shows. Each such answer is one entry of
:data:`GUESSES`, with its default, the other answers that are possible, and how sure the record is; the
entry's name is a keyword of ``VertexEmulator`` and an option of the command line. ``docs/emulator.md``
prints the same list, and a test holds the two together. Sections are those of vertex-observed.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

#: The marks in docs/emulator.md between which the table stands.
DOCS_START = "<!-- guesses: made by airflow_vertex_provider.emulator.guesses.guesses_table -->"
DOCS_END = "<!-- end of guesses -->"

Choice = str | int | float | bool


@dataclass(frozen=True)
class Guess:
    """One answer nobody has recorded.

    :param switch: keyword that changes it.
    :param question: what is not known.
    :param default: what the emulator does unless told otherwise.
    :param others: the other choices; empty means any value of the default's type (numbers: 0 or more).
    :param sure: ``unsure``, ``likely``, or ``choice`` where the record only says that something happens.
    :param section: section of vertex-observed.md.
    """

    switch: str
    question: str
    default: Choice
    others: tuple[Choice, ...]
    sure: str
    section: int

    def allowed(self) -> str:
        """Say which values the switch takes."""
        if self.others:
            return ", ".join(repr(value) for value in (self.default, *self.others))
        return f"any {type(self.default).__name__}, 0 or more"

    def check(self, value: object) -> Choice:
        """Return ``value`` in the switch's type.

        :raises ValueError: the value is not one of the choices.
        """
        if self.others:
            for choice in (self.default, *self.others):
                if value == choice and type(value) is type(choice):
                    return choice
        elif isinstance(value, int | float) and not isinstance(value, bool) and value >= 0:
            if isinstance(self.default, float):
                return float(value)
            if isinstance(value, int):
                return value
        raise ValueError(f"{self.switch}: found {value!r}; allowed: {self.allowed()}")

    def parse(self, text: str) -> Choice:
        """Read the switch from the command line.

        :raises ValueError: the text is not one of the choices.
        """
        for choice in (self.default, *self.others):
            if text == str(choice) or (isinstance(choice, bool) and text.lower() == str(choice).lower()):
                return choice
        if self.others:
            raise ValueError(f"{self.switch}: found {text!r}; allowed: {self.allowed()}")
        return self.check(float(text) if isinstance(self.default, float) else int(text))


GUESSES: tuple[Guess, ...] = (
    # Task details
    Guess("top_level_parent", "`parentTaskId` of a task at the top level", "empty", ("root",), "unsure", 1),
    Guess(
        "unique_name_root",
        "whether `taskUniqueName` begins with the root entry's name",
        "without",
        ("with",),
        "unsure",
        1,
    ),
    Guess("task_name_source", "where `taskName` comes from", "task_info", ("dag_key",), "likely", 1),
    Guess(
        "task_entries",
        "when a task's entry appears in `taskDetails`",
        "at_start",
        ("when_ready",),
        "likely",
        1,
    ),
    Guess(
        "running_from",
        "what turns a task from PENDING to RUNNING: its custom job was created, or its process began",
        "job_created",
        ("container_started",),
        "unsure",
        1,
    ),
    Guess(
        "launcher_schema",
        "`schemaTitle` of the execution of a task that launches a custom job",
        "container",
        ("custom_job",),
        "likely",
        1,
    ),
    Guess(
        "retry_status",
        "whether an attempt to be repeated leaves PENDING with its error in `pipelineTaskStatus`",
        "with_error",
        ("nothing",),
        "unsure",
        1,
    ),
    Guess(
        "fail_fast_unstarted",
        "state of tasks that FAIL_FAST kept from starting",
        "NOT_TRIGGERED",
        ("CANCELLED",),
        "unsure",
        5,
    ),
    Guess(
        "fail_fast_cut_dag",
        "state of a sub-DAG or loop without a failure of its own, some of whose tasks FAIL_FAST kept from "
        "starting",
        "CANCELLED",
        ("FAILED", "SUCCEEDED"),
        "unsure",
        5,
    ),
    # Conditions, loops, exit handlers
    Guess(
        "iteration_name",
        "name of a loop's iteration: `for-loop-1-0`, `for-loop-1-iteration-0`, or that of the loop",
        "loop_index",
        ("loop_word_index", "loop"),
        "unsure",
        1,
    ),
    Guess(
        "iteration_order",
        "order in which the iterations of a loop are listed",
        "by_item",
        ("reversed",),
        "unsure",
        1,
    ),
    Guess(
        "loop_item_text",
        "an item that is no text, in a loop whose item input is a STRING (kfp's choice for a plain `list`): "
        "its JSON, or the loop fails",
        "json",
        ("fail",),
        "unsure",
        4,
    ),
    Guess(
        "collected_gaps",
        "what an iteration whose task was not triggered gives to a collected list: nothing, or null",
        "left_out",
        ("null",),
        "unsure",
        4,
    ),
    Guess(
        "failed_dag_outputs",
        "outputs of a sub-DAG or loop that failed, for a task that ignores the failure: none, or those that "
        "were made",
        "none",
        ("made",),
        "unsure",
        1,
    ),
    Guess(
        "ignored_failure",
        "whether a failure that another task ignores (`ignore_upstream_failure`) fails the DAG still",
        "counts",
        ("forgiven",),
        "unsure",
        1,
    ),
    Guess(
        "exit_task_on_cancel",
        "whether the exit task of an exit handler runs when the job is cancelled",
        "runs",
        ("does_not_run",),
        "likely",
        4,
    ),
    Guess("contexts_after", "seconds until the two contexts are filled in", 1.0, (), "likely", 1),
    # Errors
    Guess(
        "replica_error_code", "rpc code of a task whose container exits non-zero", 3, (2, 9, 13), "unsure", 2
    ),
    Guess(
        "replica_error_detail",
        "whether the end of the container's error output stands in the replica's error",
        "never",
        ("always",),
        "likely",
        2,
    ),
    Guess(
        "job_error_third_part",
        "whether the job's error ends with `Failed to handle the job: ...`",
        "random",
        ("never", "always"),
        "likely",
        2,
    ),
    Guess(
        "failed_names",
        "which tasks the root's error names when a task inside a nested pipeline failed",
        "children",
        ("leaves",),
        "unsure",
        2,
    ),
    Guess(
        "killed_process",
        "error of a container that was ended by SIGKILL: low memory, or exit status 137",
        "low_memory",
        ("status",),
        "likely",
        2,
    ),
    Guess("stockout_code", "rpc code of `Resources are insufficient in region`", 8, (9, 14), "unsure", 2),
    Guess("bucket_permission_code", "rpc code of a job that may not use its bucket", 7, (9,), "unsure", 2),
    Guess(
        "guessed_texts",
        "error texts that no record shows: a plain sentence, or the bare name of the code",
        "sentence",
        ("bare",),
        "unsure",
        2,
    ),
    Guess(
        "cancel_finished",
        "cancel of a job that has ended: FAILED_PRECONDITION, or 200",
        "refuse",
        ("accept",),
        "likely",
        2,
    ),
    Guess(
        "delete_running",
        "delete of a job that still runs: FAILED_PRECONDITION, or cancel and delete it",
        "refuse",
        ("accept",),
        "unsure",
        2,
    ),
    Guess(
        "timeout_state",
        "state of a custom job that ran into its `timeout`",
        "CANCELLED",
        ("FAILED",),
        "likely",
        2,
    ),
    # Timing
    Guess("pending_seconds", "seconds a job stays PENDING", 5.0, (), "unsure", 3),
    Guess("container_start_min_seconds", "least seconds a machine takes to start", 60.0, (), "likely", 3),
    Guess("container_start_max_seconds", "most seconds a machine takes to start", 240.0, (), "likely", 3),
    Guess(
        "launcher_poll_seconds", "seconds between two looks of the custom-job launcher", 20.0, (), "likely", 3
    ),
    Guess(
        "cached_seconds",
        "seconds a job spends on tasks whose results are in the cache, all of them together",
        10.0,
        (),
        "likely",
        3,
    ),
    Guess("cancelling_seconds", "seconds a cancelled job stays CANCELLING at least", 5.0, (), "unsure", 3),
    Guess("deleted_readable_seconds", "seconds a deleted job can still be read", 3600.0, (), "likely", 3),
    Guess(
        "job_update_time",
        "whether the job's `updateTime` moves when only a task changes",
        "every_change",
        ("job_changes",),
        "unsure",
        3,
    ),
    Guess(
        "cancel_outcome",
        "how a job ends that is cancelled while its last tasks run",
        "cancelled",
        ("finishes",),
        "choice",
        3,
    ),
    Guess(
        "cancelled_unstarted",
        "state of tasks that had not started when the job was cancelled",
        "CANCELLED",
        ("NOT_TRIGGERED",),
        "unsure",
        3,
    ),
    # Placeholders, executor input, environment
    Guess(
        "placeholders_in_values",
        "input values whose placeholders are resolved: all, only those written in the spec, or none",
        "all",
        ("constants", "none"),
        "likely",
        4,
    ),
    Guess(
        "unknown_placeholder",
        "a `{{$...}}` in a command that names nothing known: the task fails, or the text stays",
        "fail",
        ("keep",),
        "unsure",
        4,
    ),
    Guess(
        "unset_optional",
        "what an optional STRUCT or LIST input without a value becomes in a command",
        "empty",
        ("null",),
        "unsure",
        4,
    ),
    Guess(
        "empty_inputs",
        "whether the executor input of a task without inputs has an `inputs` key",
        "omitted",
        ("present",),
        "unsure",
        4,
    ),
    Guess(
        "job_name_placeholders",
        "`pipeline_job_name` and `pipeline_job_uuid`: the job id and the numeric id, or the reverse",
        "id_and_number",
        ("number_and_id",),
        "unsure",
        4,
    ),
    Guess(
        "run_labels_winner",
        "which value of `VERTEX_AI_PIPELINES_RUN_LABELS` wins if the component sets it too",
        "user",
        ("system",),
        "unsure",
        4,
    ),
    Guess(
        "cloud_ml_project",
        "whether `CLOUD_ML_PROJECT_ID` is the project's number or its id",
        "number",
        ("id",),
        "unsure",
        4,
    ),
    Guess(
        "missing_output",
        "a task that succeeds without writing a declared output parameter: it fails, or the output is absent",
        "fail",
        ("omit",),
        "unsure",
        4,
    ),
    # Custom jobs and output layout
    Guess(
        "task_folder_name",
        "first part of a task's output folder",
        "task_info",
        ("dag_key",),
        "unsure",
        5,
    ),
    Guess(
        "custom_job_display_name",
        "display name of the custom job made for a plain task",
        "task_name",
        ("job_and_task",),
        "unsure",
        5,
    ),
    Guess(
        "machine_for_resources",
        "machine of a plain task with resource limits: smallest standard one, or e2-standard-4",
        "smallest",
        ("default",),
        "unsure",
        5,
    ),
    Guess(
        "retry_backoff",
        "whether the back-off of a retry policy is kept",
        "honoured",
        ("ignored",),
        "likely",
        5,
    ),
    Guess(
        "retry_clears_outputs",
        "whether a repeated attempt finds its output folder empty; if not, the custom-job launcher attaches "
        "to the job that failed, and fails again",
        True,
        (False,),
        "unsure",
        9,
    ),
    Guess(
        "launcher_argument_limit",
        "whether the launcher's own arguments are held to the system's 128 KiB for one argument",
        "kept",
        ("none",),
        "unsure",
        9,
    ),
    # List
    Guess("page_size", "page size of a list request that names none", 100, (), "unsure", 6),
    Guess(
        "unknown_filter_field",
        "a filter on an unknown field: INVALID_ARGUMENT, or matches nothing",
        "refuse",
        ("no_match",),
        "choice",
        6,
    ),
    Guess(
        "filter_precedence", "what binds tighter in a filter without brackets", "or", ("and",), "likely", 6
    ),
)

_BY_NAME: Mapping[str, Guess] = MappingProxyType({guess.switch: guess for guess in GUESSES})


class Switches:
    """The value of every guess.

    :param values: switches to change, by name.
    :raises ValueError: an unknown switch, or a value it does not take.
    """

    def __init__(self, **values: object) -> None:
        unknown = sorted(set(values) - set(_BY_NAME))
        if unknown:
            raise ValueError(f"switch: found {', '.join(unknown)}; allowed: {', '.join(sorted(_BY_NAME))}")
        self._values: dict[str, Any] = {
            guess.switch: guess.check(values[guess.switch]) if guess.switch in values else guess.default
            for guess in GUESSES
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"no switch {name!r}") from None

    def text(self, code: str, sentence: str) -> str:
        """Return an error text no record shows: ``sentence``, or the bare code if the switch says so."""
        return code if self._values["guessed_texts"] == "bare" else sentence

    def as_dict(self) -> dict[str, Choice]:
        """Return all switches and their values."""
        return dict(self._values)


def guesses_table() -> str:
    """Return :data:`GUESSES` as the Markdown table that docs/emulator.md shows."""
    lines = [
        "| Not recorded | Switch | Default | Else | Sure? | Section |",
        "|---|---|---|---|---|---|",
    ]
    for guess in GUESSES:
        others = ", ".join(f"`{value}`" for value in guess.others) or "any number from 0"
        lines.append(
            f"| {guess.question} | `{guess.switch}` | `{guess.default}` | {others} | {guess.sure} | "
            f"{guess.section} |"
        )
    return "\n".join(lines)


def with_guesses(text: str) -> str:
    """Return a document with the table of guesses put between its two marks."""
    head, start, rest = text.partition(f"{DOCS_START}\n")
    _, end, tail = rest.partition(DOCS_END)
    if not start or not end:
        raise ValueError(f"the document lacks {DOCS_START!r} or {DOCS_END!r}")
    return f"{head}{start}{guesses_table()}\n{end}{tail}"
