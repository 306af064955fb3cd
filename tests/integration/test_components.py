"""Components of KFP in a group: their values, inside and outside, as Airflow has them."""

from __future__ import annotations

import pytest

from tests.support.dag_test import run_dag_test
from tests.support.emulator import EmulatorProcess
from tests.support.processes import INTEGRATION_DAGS

pytestmark = pytest.mark.integration

TABLE = {"a": [1, 0.5, None, 'it is "quoted"']}


@pytest.mark.parametrize("dag_id", ["vertex_components", "vertex_components_on_workers"])
def test_values_of_components(dag_id: str, vertex_emulator_process: EmulatorProcess) -> None:
    result = run_dag_test(
        INTEGRATION_DAGS / "component_dags.py",
        dag_id,
        {"google_cloud_default": vertex_emulator_process.connection_json()},
    )
    assert result.state == "success", result.output
    both = {"result": "5", "count": 3}
    assert result.xcoms["g.one"]["return_value"] == TABLE
    assert result.xcoms["g.both"]["return_value"] == both
    assert result.xcoms["g.both"]["result"] == "5"
    assert repr(result.xcoms["g.both"]["count"]) == "3"
    assert "return_value" not in result.xcoms["g.none"]
    box = {"score": 0.5, "report": "n=3"}
    assert {key: result.xcoms["g.box"][key] for key in ("return_value", *box)} == {"return_value": box, **box}
    assert result.xcoms["boxed"]["return_value"] == [box, *box.values()]
    assert result.xcoms["g.gather"]["return_value"] == [TABLE, both, ["a", "b"]]
    assert result.xcoms["outside"]["return_value"] == [TABLE, "5", [4, 4]]
    assert result.xcoms["g.wait_for_pipeline"]["return_value"]["outputs"] == {
        "g.gather": [TABLE, both, ["a", "b"]],
        "g.box": box,
    }
