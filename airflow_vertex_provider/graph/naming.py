"""Names and ids: what Airflow calls a thing in, what Vertex AI accepts for it out.

Pure functions of the standard library; the same input gives the same name in every process. A name that
differs from its input by more than case and punctuation carries ``-x`` and the first digits of a SHA-256
of the input, so that no two inputs meet; a name that merely looks like such a one is hashed too. The map
from Airflow id to Vertex name is made once, at parse, and stored in the graph: a reader never recomputes
it. L-numbers name the rules of Vertex AI; docs/settings.md lists them.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence

#: Longest name of a pipeline task; the service states none, kfp's own names stay below this.
MAX_TASK_NAME = 100
#: L02: the SDK's default job id appends a dash and 14 digits to this and must stay within L01.
MAX_PIPELINE_NAME = 112
#: L01.
MAX_JOB_ID = 127
MAX_PARAMETER_NAME = 64
#: L04.
MAX_LABEL = 63

_HASH_DIGITS = 8
_JOB_HASH_DIGITS = 16
#: What the compiler appends to a task's name or title for the tasks that it puts beside it.
_HELPER = r"(?:gate|skipped|done|decision|text|items|follow-\d+|output(?:-.+)?)"
_HELPER_ENDING = re.compile(rf"(?:-{_HELPER})+$")
_LOOKS_HASHED = re.compile(rf"-x[0-9a-f]{{8,}}(?:-{_HELPER})*$")
#: Keys kfp's compiler gives to the sub-DAGs of loops, conditions and exit handlers, and to the whole.
_RESERVED_TASK_NAME = re.compile(r"(for-loop|condition|condition-branches|exit-handler)-\d+|root")
#: L04: set by the service on every job.
_RESERVED_LABEL_KEY = "vertex-ai-pipelines-run-billing-id"


def vertex_names(task_ids: Sequence[str], *, prefix: str = "") -> dict[str, str]:
    """Map Airflow task ids to the names their tasks get in Vertex.

    Runs at parse. A name matches ``[a-z][a-z0-9-]*`` without a double or final dash, so kfp leaves it as
    it is, and has at most 100 characters. A task's name depends on its own id and on the ids that would
    read the same, never on the order or on unrelated tasks: ids that read the same all get a hash of the
    full id, and so does an id that was cut, that reads as nothing, that kfp would use for itself, or that
    reads like what the compiler puts beside another of the tasks (``fit-gate`` beside ``fit``).

    :param task_ids: full Airflow task ids; one that stands twice is one task.
    :param prefix: start of the ids to leave out where an id has it, for example ``"train."``.
    """
    readable = {task_id: _word(task_id.removeprefix(prefix)) for task_id in task_ids}
    alike: dict[str, int] = {}
    for name in readable.values():
        alike[name] = alike.get(name, 0) + 1

    names: dict[str, str] = {}
    hashed: list[str] = []
    for task_id, name in readable.items():
        if (
            not name
            or alike[name] > 1
            or len(name) > MAX_TASK_NAME
            or _LOOKS_HASHED.search(name)
            or _RESERVED_TASK_NAME.fullmatch(name)
            or _beside_another(name, alike)
        ):
            hashed.append(task_id)
        else:
            names[task_id] = name
    # Every name that ends like a hash is made here, so only hashes can still meet: add digits until none do.
    digits = _HASH_DIGITS
    while True:
        made = {
            task_id: _with_hash(
                readable[task_id] or "task", _digest(task_id)[:digits], MAX_TASK_NAME, keep="end"
            )
            for task_id in hashed
        }
        if len(set(made.values())) == len(made):
            break
        digits += 1
    names.update(made)
    return {task_id: names[task_id] for task_id in readable}


def titles(names: Mapping[str, str], wanted: Mapping[str, str]) -> dict[str, str]:
    """Map task ids to what people shall read in the service, where that is not the task's name.

    Runs at parse. Line breaks and slashes become blanks, since the service names folders after it. The
    service shows tasks by their titles alone, so no two may meet, nor what the compiler puts beside a task
    (``fit-gate`` beside ``fit``). A title gets the task's own name in brackets behind it, which nothing else
    ends with, if it is too long, if two tasks want it, if it or what stands beside it is another's name, or
    if it reads like something made here or by the compiler.

    :param names: Airflow task id to Vertex name, of all tasks. :param wanted: likewise to the author's title.
    """
    readable = {
        task_id: " ".join(re.sub(r"[\s/\x00-\x1f]+", " ", text).split()) for task_id, text in wanted.items()
    }
    taken: dict[str, int] = {}
    for text in (*names.values(), *readable.values()):
        taken[text] = taken.get(text, 0) + 1
    made = tuple(f" ({name})" for name in names.values())
    found = {}
    for task_id, text in readable.items():
        if not text or text == names[task_id]:
            continue
        ending = f" ({names[task_id]})"
        if len(text.encode()) > MAX_TASK_NAME:
            room = max(MAX_TASK_NAME - len(ending), 0)
            text = (text.encode()[:room].decode(errors="ignore").rstrip() + ending).lstrip()
        elif (
            taken[text] > 1
            or text.endswith(made)
            or _LOOKS_HASHED.search(text)
            or _HELPER_ENDING.search(text)
            or _RESERVED_TASK_NAME.fullmatch(text)
            or any(_beside(name, text) for name in names.values())
        ):
            text += ending
        found[task_id] = text
    return found


def pipeline_name(dag_id: str, group_id: str) -> str:
    """Name the pipeline of a task group (L02): a letter first, at most 112 characters.

    Runs at parse. Two plain words are joined by a dash: ``daily`` and ``train`` become ``daily-train``.
    Any other pair ends in a hash of both ids, so two groups never share a name: the service reuses cached
    results by pipeline name. Dashes stand alone, so kfp leaves the name as it is.
    """
    readable = "-".join(filter(None, (_word(dag_id), _word(group_id)))) or "pipeline"
    plain = all(re.fullmatch(r"[a-z][a-z0-9]*", part) for part in (dag_id, group_id))
    if plain and len(readable) <= MAX_PIPELINE_NAME and not _LOOKS_HASHED.search(readable):
        return readable
    return _with_hash(readable, _digest(dag_id, group_id)[:_HASH_DIGITS], MAX_PIPELINE_NAME)


def job_id(dag_id: str, group_id: str, run_id: str, attempt: int, map_index: int = -1) -> str:
    """Make the id of the pipeline job of one attempt of one DAG run (L01): at most 127 characters.

    Runs at submit. The id reads ``<dag>-<group>-<run>-<hash>-<attempt>``; the hash is of all the other
    inputs, so the attempts of one run differ in their last number alone, and nothing else shares the id.

    :param attempt: number of the submission, from 0 up.
    :param map_index: Airflow's map index; -1 for a group that is not mapped.
    :raises ValueError: ``attempt`` is negative.
    """
    if attempt < 0:
        raise ValueError(f"attempt: found {attempt}; allowed: 0 or more")
    ending = f"-{_digest(dag_id, group_id, run_id, str(map_index))[:_JOB_HASH_DIGITS]}-{attempt}"
    room = MAX_JOB_ID - len(ending)
    # The run says when, the DAG says what: neither may push the other out.
    run = _word(run_id, letter_first=False)[: room // 2].strip("-")
    what = "-".join(filter(None, (_word(dag_id), _word(group_id)))) or "job"
    what = what[: room - len(run) - 1].strip("-")
    return (f"{what}-{run}" if run else what) + ending


def parameter_name(text: str, taken: Collection[str]) -> str:
    """Make a parameter name ``[A-Za-z_][A-Za-z0-9_]*`` that reads like ``text`` and is not in ``taken``.

    Runs at parse. At most 64 characters; a number is added where the plain name is taken.
    """
    name = re.sub(r"[^A-Za-z0-9_]+", "_", _ascii(text))
    name = re.sub(r"_{3,}", "__", name).strip("_")[:MAX_PARAMETER_NAME].rstrip("_") or "value"
    if name[0].isdigit():
        name = f"_{name}"[:MAX_PARAMETER_NAME]
    number = 1
    unique = name
    while unique in taken:
        number += 1
        ending = f"_{number}"
        unique = name[: MAX_PARAMETER_NAME - len(ending)] + ending
    return unique


def label_value(text: str) -> str:
    """Write ``text`` as the value of a label (L04): lower-case letters, digits, ``_`` and ``-``, at most 63.

    A text that is cut ends in a hash of the whole, so that two long texts stay two values.
    """
    value = re.sub(r"[^a-z0-9_-]+", "-", _ascii(text).lower()).strip("-")
    return value if len(value) <= MAX_LABEL else _with_hash(value, _digest(text)[:_HASH_DIGITS], MAX_LABEL)


def label_key(text: str) -> str:
    """Write ``text`` as the key of a label (L04): as :func:`label_value`, with a letter first.

    Never the key that the service sets itself.
    """
    key = label_value(text)
    if not key or not "a" <= key[0] <= "z" or key == _RESERVED_LABEL_KEY:
        key = f"l-{key}".rstrip("-")
        if len(key) > MAX_LABEL:
            key = _with_hash(key, _digest(text)[:_HASH_DIGITS], MAX_LABEL)
    return key


def _beside(name: str, other: str) -> bool:
    """Tell whether the compiler might give ``name`` to something that it puts beside ``other``."""
    return name.startswith(f"{other}-") and _HELPER_ENDING.fullmatch(name, len(other)) is not None


def _beside_another(name: str, others: Collection[str]) -> bool:
    """Tell the same of any of ``others``."""
    return any(
        name[: dash.start()] in others and _beside(name, name[: dash.start()])
        for dash in re.finditer("-", name)
    )


def _ascii(text: str) -> str:
    """Spell letters without their accents; letters of other scripts, which have no such spelling, go."""
    return (
        unicodedata.normalize("NFKD", text.casefold() if not text.isascii() else text)
        .encode("ascii", "ignore")
        .decode("ascii")
    )


def _word(text: str, *, letter_first: bool = True) -> str:
    """Write ``text`` in lower-case letters, digits and single dashes; empty when nothing of it is left."""
    word = re.sub(r"[^a-z0-9]+", "-", _ascii(text).lower()).strip("-")
    return f"t-{word}" if letter_first and word[:1].isdigit() else word


def _with_hash(text: str, digits: str, most: int, *, keep: str = "start") -> str:
    """Cut ``text`` so that it fits in ``most`` characters with the hash behind it.

    :param keep: ``end`` keeps the last characters, which name the task; ``start`` the first ones.
    """
    ending = f"-x{digits}"
    room = most - len(ending)
    if len(text) > room:
        text = _word(text[-room:])[:room] if keep == "end" else text[:room]
    return text.rstrip("-_") + ending


def _digest(*parts: str) -> str:
    """Hash ``parts`` so that moving a character from one part to the next changes the result."""
    written = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).hexdigest()
