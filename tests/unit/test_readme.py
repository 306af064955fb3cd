"""The README's example is real: its DAG parses and its group compiles."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from airflow_vertex_provider import compile_group

README = Path(__file__).parents[2] / "README.md"


def test_example(tmp_path: Path) -> None:
    code = re.search(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert code is not None
    file = tmp_path / "readme_dag.py"
    file.write_text(code[1])
    names: dict[str, Any] = {"__name__": "readme_dag"}
    exec(compile(code[1], str(file), "exec"), names)
    dag = names["training"]()
    assert dag.get_task("train.submit_pipeline").upstream_task_ids == {"load_rows"}
    spec = compile_group(dag.task_group.children["train"])
    assert set(spec["root"]["dag"]["tasks"]) == {"prepare", "fit"}
