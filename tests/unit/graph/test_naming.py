"""Names: ids as Airflow allows them in, names as Vertex AI accepts them out, never two the same."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_vertex_provider.graph import naming

TASK_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
LABEL_KEY = re.compile(r"[a-z][a-z0-9_-]{0,62}")
LABEL_VALUE = re.compile(r"[a-z0-9_-]{0,63}")

#: Few letters, so that ids often read the same; then anything Airflow's own check of ids lets through.
alike_ids = st.text("aB1._-", min_size=1, max_size=6)
airflow_ids = st.from_regex(re.compile(r"[\w.\-@:+]{1,250}"), fullmatch=True)
task_ids = st.lists(st.one_of(alike_ids, airflow_ids), unique=True, max_size=12)


@given(task_ids)
def test_task_names_are_valid_and_never_the_same(ids: list[str]) -> None:
    names = naming.vertex_names(ids)
    assert list(names) == ids
    assert len(set(names.values())) == len(ids)
    for name in names.values():
        assert TASK_NAME.fullmatch(name)
        assert len(name) <= naming.MAX_TASK_NAME


@given(task_ids, st.randoms(use_true_random=False))
def test_task_names_do_not_depend_on_the_order(ids: list[str], rng: random.Random) -> None:
    shuffled = list(ids)
    rng.shuffle(shuffled)
    assert naming.vertex_names(shuffled) == naming.vertex_names(ids)


@given(task_ids, st.integers(0, 10**6))
def test_an_unrelated_task_changes_no_other_name(ids: list[str], number: int) -> None:
    names = naming.vertex_names(ids)
    assert {
        task_id: name
        for task_id, name in naming.vertex_names([*ids, f"unrelated_{number}"]).items()
        if task_id in names
    } == names


@given(task_ids)
def test_made_names_given_as_ids_do_not_meet_the_originals(ids: list[str]) -> None:
    """A name with a hash is an id that somebody may have written."""
    both = dict.fromkeys([*ids, *naming.vertex_names(ids).values()])
    names = naming.vertex_names(list(both))
    assert len(set(names.values())) == len(both)


@pytest.mark.parametrize(
    ("task_id", "name"),
    [
        ("train.fit", "fit"),
        ("train.prepare.load_rows", "prepare-load-rows"),
        ("train.Fit@v1.2:x+y", "fit-v1-2-x-y"),
        ("train.1st", "t-1st"),
        ("train.übung", "ubung"),
        ("other.fit", "other-fit"),
    ],
)
def test_a_name_reads_like_the_end_of_the_id(task_id: str, name: str) -> None:
    assert naming.vertex_names([task_id], prefix="train.") == {task_id: name}


def test_ids_that_read_the_same_all_get_a_hash() -> None:
    names = naming.vertex_names(["g.a_b", "g.a.b", "g.other"], prefix="g.")
    assert names["g.other"] == "other"
    assert {name.rpartition("-x")[0] for name in (names["g.a_b"], names["g.a.b"])} == {"a-b"}


def test_ids_that_differ_only_by_the_prefix_get_two_names() -> None:
    assert len(set(naming.vertex_names(["g.fit", "fit"], prefix="g.").values())) == 2


@pytest.mark.parametrize(
    "task_id", ["for_loop_1", "condition-2", "condition.branches.3", "exit-handler-4", "root"]
)
def test_names_of_sub_dags_of_kfp_are_not_given_to_tasks(task_id: str) -> None:
    assert "-x" in naming.vertex_names([task_id])[task_id]


def test_long_ids_keep_their_end_and_differ() -> None:
    ids = [f"{'very_long.' * 24}step_{number}" for number in range(3)] + [f"{'other_one.' * 24}step_1"]
    names = naming.vertex_names(ids)
    assert len(set(names.values())) == 4
    assert "step-2-x" in names[ids[2]]
    assert all(len(name) == naming.MAX_TASK_NAME for name in names.values())


HELPERS = (
    *("gate", "skipped", "done", "decision", "text", "items", "follow-1"),
    *("output", "output-weights", "done-done"),
)


@pytest.mark.parametrize("ending", HELPERS)
def test_a_name_that_reads_like_what_stands_beside_another_task_is_hashed(ending: str) -> None:
    task_id = f"fit-{ending}"
    assert naming.vertex_names(["fit", task_id])[task_id].startswith(f"{task_id}-x")
    assert naming.vertex_names(["other", task_id]) == {"other": "other", task_id: task_id}


def test_what_stands_beside_a_hashed_name_is_nobodys_name() -> None:
    first = naming.vertex_names(["a.b", "a_b"])
    task_id = f"{first['a.b']}-gate"
    assert naming.vertex_names(["a.b", "a_b", task_id]) != {**first, task_id: task_id}


@pytest.mark.parametrize("ending", HELPERS)
def test_a_title_does_not_read_like_what_stands_beside_another_task(ending: str) -> None:
    names = naming.vertex_names(["fit", "other"])
    assert naming.titles(names, {"other": f"fit-{ending}"}) == {"other": f"fit-{ending} (other)"}
    both = naming.titles(names, {"fit": "Fit it", "other": f"Fit it-{ending}"})
    assert both == {"fit": "Fit it", "other": f"Fit it-{ending} (other)"}


@pytest.mark.parametrize("ending", HELPERS)
def test_what_stands_beside_a_title_is_nobodys_name(ending: str) -> None:
    names = naming.vertex_names(["a", f"fit-{ending}"])
    assert naming.titles(names, {"a": "fit"}) == {"a": "fit (a)"}


def test_a_title_does_not_read_like_one_that_was_made() -> None:
    names = naming.vertex_names(["a", "b", "c", "d"])
    made = naming.titles(names, {"a": "fit", "b": "fit", "c": "fit (a)", "d": "fit (a)-gate"})
    assert made == {"a": "fit (a)", "b": "fit (b)", "c": "fit (a) (c)", "d": "fit (a)-gate (d)"}


def test_a_long_title_is_cut_even_if_the_name_is_long() -> None:
    task_id = "a" * naming.MAX_TASK_NAME
    made = naming.titles(naming.vertex_names([task_id]), {task_id: "t" * 200})
    assert made == {task_id: f"({task_id})"}


titles_wanted = st.dictionaries(
    st.sampled_from(["a", "b", "a_gate", "b-gate-done", "fit", "fit-x"]),
    st.from_regex(r"(a|b|fit)(-gate|-done| \((a|b)\)){0,3}", fullmatch=True),
)


@given(titles_wanted)
def test_no_two_tasks_and_nothing_beside_them_read_the_same(wanted: dict[str, str]) -> None:
    names = naming.vertex_names(["a", "b", "a_gate", "b-gate-done", "fit", "fit-x"])
    made = naming.titles(names, wanted)
    shown = [made.get(task_id, name) for task_id, name in names.items()]
    every = [*shown, *(f"{title}-{ending}" for title in shown for ending in ("gate", "done", "gate-done"))]
    every += [name for task_id, name in names.items() if task_id in made]
    assert len(set(every)) == len(every)


def test_an_id_in_another_script_gets_a_name() -> None:
    names = naming.vertex_names(["模型", "训练"])
    assert all(re.fullmatch(r"task-x[0-9a-f]{8}", name) for name in names.values())
    assert len(set(names.values())) == 2


@given(st.lists(st.tuples(alike_ids | airflow_ids, alike_ids | airflow_ids), unique=True, max_size=8))
def test_pipeline_names_are_valid_and_never_the_same(pairs: list[tuple[str, str]]) -> None:
    names = [naming.pipeline_name(dag_id, group_id) for dag_id, group_id in pairs]
    assert len(set(names)) == len(pairs)
    for name in names:
        assert TASK_NAME.fullmatch(name)
        assert len(name) <= naming.MAX_PIPELINE_NAME


plain_ids = st.from_regex(r"[ab][ab1]{0,2}([_.][ab]){0,2}", fullmatch=True)


@given(plain_ids, plain_ids, plain_ids, plain_ids)
def test_readable_pipeline_names_keep_dag_and_group_apart(a: str, b: str, c: str, d: str) -> None:
    same_input = (a, b) == (c, d)
    assert (naming.pipeline_name(a, b) == naming.pipeline_name(c, d)) is same_input


def test_pipeline_names_read_well() -> None:
    assert naming.pipeline_name("daily", "train") == "daily-train"
    assert re.fullmatch(r"train-daily-fit-x[0-9a-f]{8}", naming.pipeline_name("train_daily", "fit"))
    assert re.fullmatch(r"daily-outer-fit-x[0-9a-f]{8}", naming.pipeline_name("daily", "outer.fit"))
    assert re.fullmatch(r"pipeline-x[0-9a-f]{8}", naming.pipeline_name("模型", "训练"))


identifiers = st.tuples(
    st.text(max_size=250),
    st.text(max_size=250),
    st.text(max_size=300),
    st.integers(0, 10**9),
    st.integers(-1, 10**6),
)


@given(st.lists(identifiers, unique=True, max_size=6))
def test_job_ids_are_valid_and_never_the_same(inputs: list[tuple[str, str, str, int, int]]) -> None:
    ids = [naming.job_id(dag, group, run, attempt, index) for dag, group, run, attempt, index in inputs]
    assert len(set(ids)) == len(inputs)
    for made, (*_, attempt, _index) in zip(ids, inputs, strict=True):
        assert re.fullmatch(r"[a-z][-a-z0-9]{0,126}", made)
        assert made.endswith(f"-{attempt}")


def test_a_job_id_shows_dag_group_run_and_attempt() -> None:
    made = naming.job_id("train", "fit", "scheduled__2026-11-25T00:00:00+00:00", 3)
    assert re.fullmatch(r"train-fit-scheduled-2026-11-25t00-00-00-00-00-[0-9a-f]{16}-3", made)
    again = naming.job_id("train", "fit", "scheduled__2026-11-25T00:00:00+00:00", 4)
    assert again.removesuffix("-4") == made.removesuffix("-3")
    long = naming.job_id("d" * 250, "g" * 250, "manual__2026-11-25T00:00:00+00:00", 1)
    assert "manual-2026-11-25" in long
    assert long.startswith("dddd")


def test_a_job_id_has_no_negative_attempt() -> None:
    with pytest.raises(ValueError, match="found -1; allowed: 0 or more"):
        naming.job_id("d", "g", "r", -1)


@given(st.text(max_size=300), st.lists(st.text("ab_2", min_size=1, max_size=4)))
def test_parameter_names_are_identifiers_and_new(text: str, taken: list[str]) -> None:
    name = naming.parameter_name(text, taken)
    assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name)
    assert name not in taken


def test_parameter_names_read_well() -> None:
    assert naming.parameter_name("ds", []) == "ds"
    assert naming.parameter_name("{{ params['lr'] }}", []) == "params_lr"
    assert naming.parameter_name("load__return_value", {"load__return_value"}) == "load__return_value_2"
    assert naming.parameter_name("a", ["a", "a_2"]) == "a_3"
    assert naming.parameter_name("1st", []) == "_1st"
    assert naming.parameter_name("模型", []) == "value"
    assert naming.parameter_name("x" * 200, ["x" * 64]) == "x" * 62 + "_2"


@given(st.text(max_size=300))
def test_labels_are_accepted_by_the_service(text: str) -> None:
    assert LABEL_VALUE.fullmatch(naming.label_value(text))
    assert LABEL_KEY.fullmatch(naming.label_key(text))


@given(st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True))
def test_a_good_label_stays_as_it_is(text: str) -> None:
    assert naming.label_value(text) == naming.label_key(text) == text


def test_long_labels_stay_apart() -> None:
    assert naming.label_value("x" * 70) != naming.label_value("x" * 71)
    assert naming.label_key("1" * 70) != naming.label_key("1" * 71)


def test_the_label_of_the_service_is_not_taken() -> None:
    assert naming.label_key("vertex-ai-pipelines-run-billing-id") != "vertex-ai-pipelines-run-billing-id"
