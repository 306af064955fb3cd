"""docs/settings.md and docs/gpu.md name what there is, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from airflow_vertex_provider.configuration import OPTIONS
from airflow_vertex_provider.hooks.fields import FIELDS
from airflow_vertex_provider.settings import TASK_KEYS, CustomJob, PipelineSettings
from airflow_vertex_provider.settings.machine_table import table

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str, heading: str) -> Iterator[list[str]]:
    """Yield the cells of the first table below a heading."""
    text = (DOCS / page).read_text(encoding="utf-8")
    section = text[text.index(f"\n{heading}\n") :]
    lines = section[section.index("\n|") + 1 :].splitlines()
    for line in lines[2:]:
        if not line.startswith("|"):
            return
        yield [cell.strip() for cell in line.strip("|").split("|")]


def names(page: str, heading: str) -> set[str]:
    return {name for cells in rows(page, heading) for name in re.findall(r"`(\w+)`", cells[0])}


@pytest.mark.parametrize(
    ("heading", "there"),
    [
        ("## Keys of a task", set(TASK_KEYS)),
        ("## CustomJob", {item.name for item in fields(CustomJob)}),
        ("## The job", {item.name for item in fields(PipelineSettings)}),
        ("## Limits that nobody documents", set(OPTIONS)),
    ],
)
def test_a_table_names_every_setting(heading: str, there: set[str]) -> None:
    assert names("settings.md", heading) == there


def test_the_options_have_the_defaults_of_the_page() -> None:
    said = {cells[0].strip("`"): cells[1] for cells in rows("settings.md", "## Limits that nobody documents")}
    assert said == {name: option.default for name, option in OPTIONS.items()}


def test_every_rule_that_messages_name_is_explained() -> None:
    code = "".join(
        path.read_text(encoding="utf-8") for path in (DOCS.parent / "airflow_vertex_provider").rglob("*.py")
    )
    explained = {cells[0] for cells in rows("settings.md", "## Rules")}
    assert set(re.findall(r"\((L\d\d)\)", code)) <= explained


def test_the_pairs_are_those_that_are_checked() -> None:
    pairs = {
        (machine.replace("*", "").strip("`"), accelerator.strip("`"), numbers)
        for machine, accelerator, numbers in rows("gpu.md", "## Pairs")
        if accelerator != "none"
    }
    without = {
        name
        for machine, accelerator, _ in rows("gpu.md", "## Pairs")
        if accelerator == "none"
        for name in re.findall(r"`(\w+)`", machine)
    }
    machines = table()["machines"]
    assert pairs == {
        (machine, accelerator, ", ".join(map(str, counts)) or "any")
        for machine, takes in machines.items()
        for accelerator, counts in takes.items()
    }
    assert without == {machine.removesuffix("-") for machine, takes in machines.items() if not takes}


@pytest.mark.parametrize("section", ["Project and identity", "Jobs and tasks", "Endpoints"])
def test_every_field_of_the_connection_is_explained(section: str) -> None:
    said = [
        (name.strip("`"), label, meaning) for name, label, meaning in rows("connection.md", f"### {section}")
    ]
    assert said == [
        (name, field.label, field.description) for name, field in FIELDS.items() if field.section == section
    ]


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_between_the_pages_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\(([\w./-]+\.(?:md|png))(?:#([\w-]+))?\)", text):
        path = DOCS / target
        assert path.is_file(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in anchors, f"{page}: {target}#{anchor}"
