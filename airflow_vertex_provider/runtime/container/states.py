"""States and trigger rules: what became of the tasks before in, whether this one runs out.

Part of the text that runs in a container, see :mod:`airflow_vertex_provider.runtime.entrypoint`.
"""

from __future__ import annotations

from airflow_vertex_provider.runtime.container.base import FAILED, SKIPPED, UpstreamFailed, VertexRuntimeError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any


def state_of(text: str) -> str:
    """Return what became of the task that a text came from, its output or a gate's decision."""
    return {SKIPPED: "skipped", "skip": "skipped", FAILED: "failed"}.get(text, "success")


def decide(
    rule: str,
    states: Sequence[str],
    setup_states: Sequence[str] = (),
    setups: Sequence[str] = (),
    follow: Sequence[str] = (),
) -> str:
    """Return ``run``, ``skip`` or ``fail``: what Airflow's TriggerRuleDep makes of tasks that have ended."""
    if "skip" in follow:
        return "skip"
    if not states or rule == "always":
        return "run"
    for bad, verdict in (("failed", "fail"), ("upstream_failed", "fail"), ("skipped", "skip")):
        if bad in setups:
            return verdict
    every = len(states)
    success, skipped, failed = map(states.count, ("success", "skipped", "failed"))
    unsuccessful = every - success - skipped
    idle = len(setup_states) and "success" not in setup_states
    fail, skip = {
        "all_success": (unsuccessful, skipped),
        "all_failed": (0, success + skipped),
        "all_done": (0, 0),
        "all_done_min_one_success": (not (success or skipped), skipped),
        "all_done_setup_success": (idle and set(setup_states) != {"skipped"}, idle),
        "one_success": (not success and skipped < every, not success),
        "one_failed": (0, not unsuccessful),
        "one_done": (0, not (success or failed)),
        "none_failed": (unsuccessful, 0),
        "none_failed_min_one_success": (unsuccessful, not success),
        "none_skipped": (0, skipped),
        "all_skipped": (0, skipped < every),
    }[rule]
    return "fail" if fail else "skip" if skip else "run"


def texts_of(names: Iterable[str], inputs: dict[str, Any]) -> list[str]:
    """Return the texts of inputs; a loop that ran no task counts as one task that was skipped."""
    texts: list[str] = []
    for name in names:
        text = inputs.get(name)
        for item in (text or [SKIPPED]) if isinstance(text, list) else [text]:
            if not isinstance(item, str):
                raise VertexRuntimeError("input %r: expected a text, found %s" % (name, type(item).__name__))
            texts.append(item)
    return texts


def states_of(names: Iterable[Any], inputs: dict[str, Any]) -> list[str]:
    """Return the states that inputs tell; a gate in place of a name stands for what it decides about."""
    states: list[str] = []
    for name in names:
        verdict = judge(name, inputs)[0] if isinstance(name, dict) else "run"
        told = name.get("of") if isinstance(name, dict) else name
        if verdict == "run" and told:
            states += map(state_of, texts_of([told], inputs))
        else:
            states.append({"run": "success", "skip": "skipped", "fail": "upstream_failed"}[verdict])
    return states


def judge(gate: dict[str, Any], inputs: dict[str, Any]) -> tuple[str, str]:
    """Return what :func:`decide` says of a gate's inputs, and why."""
    found, setup_states, setups = [
        states_of(gate.get(key, ()), inputs) for key in ("states", "setup_states", "setups")
    ]
    follow = texts_of(gate.get("follow", ()), inputs)
    verdict = decide(gate["rule"], found, setup_states, setups, follow)
    if "skip" in follow:
        return verdict, "an earlier task chose to skip it"
    if setups.count("success") < len(setups):
        return verdict, "a setup task did not succeed"
    success, skipped = found.count("success"), found.count("skipped")
    return verdict, "trigger rule %r found %d of %d upstream tasks succeeded, %d skipped, %d failed" % (
        gate["rule"],
        success,
        len(found),
        skipped,
        len(found) - success - skipped,
    )


def use_gate(config: dict[str, Any], inputs: dict[str, Any]) -> str:
    """Return ``run`` or ``skip``, from what became of the tasks before this one.

    :raises UpstreamFailed: neither; Airflow calls such a task upstream_failed.
    """
    verdict, why = judge(config["gate"], inputs)
    if verdict == "fail":
        raise UpstreamFailed("not run: " + why)
    if verdict == "skip":
        print("airflow-vertex: skipped: " + why, flush=True)
    return verdict


def use_from_handoff(config: dict[str, Any], inputs: dict[str, Any], job: str) -> None:
    """Take inputs from the files that tasks of this job left for it."""
    for name, task in config["from_handoff"].items():
        try:
            with open("%s/airflow_handoff/%s.json" % (job, task), encoding="ascii") as file:
                inputs[name] = file.read()
        except FileNotFoundError:
            inputs[name] = FAILED
