"""docs/authentication.md grants what the table of permissions lists, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from airflow_vertex_provider.permissions import ACCOUNT, CLIENT, PERMISSIONS, WORKLOAD

PAGE = (Path(__file__).parents[2] / "docs" / "authentication.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("identity", [CLIENT, WORKLOAD])
def test_a_custom_role_holds_what_is_needed(identity: str) -> None:
    match = re.search(rf"`{identity}\.yaml`:\n\n```yaml\n(.*?)```", PAGE, flags=re.DOTALL)
    assert match
    role = yaml.safe_load(match[1])
    wanted = {each.name for each in PERMISSIONS if each.identity == identity and each.on != ACCOUNT}
    assert sorted(role["includedPermissions"]) == sorted(wanted)


def test_what_is_held_on_the_account_itself_is_told() -> None:
    for each in PERMISSIONS:
        if each.on == ACCOUNT:
            assert f"`{each.name}`" in PAGE
            assert f"`{each.role}`" in PAGE


def test_the_predefined_roles_of_the_set_ups_are_those_of_the_table() -> None:
    roles = {each.role for each in PERMISSIONS}
    assert roles <= set(re.findall(r"--role=(roles/[\w.]+)", PAGE))


def test_the_seeds_permissions_are_among_them() -> None:
    held = {(each.identity, each.name) for each in PERMISSIONS}
    assert held >= {
        (CLIENT, "aiplatform.pipelineJobs.create"),
        (CLIENT, "aiplatform.pipelineJobs.get"),
        (CLIENT, "aiplatform.pipelineJobs.list"),
        (CLIENT, "storage.objects.create"),
        (WORKLOAD, "aiplatform.customJobs.create"),
        (WORKLOAD, "aiplatform.customJobs.get"),
        (WORKLOAD, "aiplatform.customJobs.list"),
        (WORKLOAD, "storage.objects.get"),
        (WORKLOAD, "storage.objects.create"),
    }
