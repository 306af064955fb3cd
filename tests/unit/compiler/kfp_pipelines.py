"""The same groups in kfp's own language, to compare with. Without postponed annotations: kfp reads them."""

from pathlib import Path
from typing import Any

import yaml


def containers(folder: Path) -> Any:
    """Compile three containers with every feature that one can have; return the spec as data."""
    from kfp import compiler, dsl

    @dsl.container_component  # type: ignore[untyped-decorator]
    def load(day: str, Rows: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
        return dsl.ContainerSpec(image="img:1", command=["load", "--day"], args=[f"day={day}"])

    @dsl.container_component  # type: ignore[untyped-decorator]
    def fit_model(rows: str, rate: str, A: dsl.OutputPath(str), B: dsl.OutputPath(str)):  # type: ignore[no-untyped-def, valid-type]
        return dsl.ContainerSpec(image="img:2", args=[rows, rate])

    @dsl.container_component
    def report():  # type: ignore[no-untyped-def]
        return dsl.ContainerSpec(image="img:3")

    @dsl.pipeline(name="dag-g")  # type: ignore[untyped-decorator]
    def pipeline(start: str, unused: str) -> None:
        first = load(day=start).set_caching_options(True)
        first.set_env_variable("A", "1").set_env_variable("B", "two words")
        second = fit_model(rows=first.outputs["Rows"], rate="0.1").set_caching_options(False)
        second.set_cpu_limit("4.5").set_cpu_request("500m").set_memory_limit("16G")
        second.set_memory_request("512Mi").set_accelerator_type("NVIDIA_TESLA_T4").set_accelerator_limit(2)
        second.set_retry(3, backoff_duration="10s", backoff_factor=1.5, backoff_max_duration="600s")
        report().after(second).after(first).set_caching_options(False).set_retry(2)

    path = folder / "kfp.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return yaml.safe_load(path.read_text())


def function(folder: Path) -> Any:
    """Compile one Python function of kfp's, whose single return value has our name, ``Output``."""
    from kfp import compiler, dsl

    @dsl.component(base_image="img:1")  # type: ignore[untyped-decorator]
    def add(a: str) -> str:
        return a

    @dsl.pipeline(name="dag-g")  # type: ignore[untyped-decorator]
    def pipeline(start: str) -> None:
        first = add(a=start)
        add(a=first.output)

    path = folder / "kfp.yaml"
    compiler.Compiler().compile(pipeline, str(path))
    return yaml.safe_load(path.read_text())
