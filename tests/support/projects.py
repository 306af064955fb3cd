"""A DAG folder with modules beside the DAG, for tests: files in, the DAG as Airflow reads it out."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: A package with relative imports, a data file beside a module, and a module that breaks.
SHOP: Mapping[str, str] = {
    "shop/__init__.py": "NAME = 'shop'\n",
    "shop/prices.py": (
        "from pathlib import Path\n"
        "from . import NAME\n"
        "from .rates import vat\n"
        "\n"
        "def total(net):\n"
        "    rates = Path(__file__).with_name('rates.csv').read_text()\n"
        "    return [NAME, round(net * (1 + vat(rates)), 2)]\n"
        "\n"
        "def share(net, among):\n"
        "    return net / among\n"
    ),
    "shop/rates.py": "def vat(text):\n    name, rate = text.strip().split(',')\n    return float(rate)\n",
    "shop/rates.csv": "vat,0.25\n",
}

FLOW = """
from airflow.sdk import DAG, task
from airflow_vertex_provider import CustomJob, VertexTaskGroup
from shop.prices import share, total

@task
def price(net):
    from shop.prices import total

    return total(net)

@task
def broken(net):
    from shop.prices import share

    return share(net, 0)

{functions}
MACHINE = {{"vertex": {{"custom_job": {{"machine_type": "n1-standard-4"}}}}}}

with DAG("flow", schedule=None):
    with VertexTaskGroup(
        "g", location="europe-west4", pipeline_root="gs://bucket/root", project_id="demo-project",
        code="bundle", {options}
    ):
        {body}
"""


def lay(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files, name to content, below ``folder``."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def shop(
    folder: Path,
    body: str,
    options: str = "",
    files: Mapping[str, str | bytes] | None = None,
    *,
    functions: str = "",
) -> Path:
    """Lay out the shop with a DAG whose group holds ``body``, and return the DAG's file."""
    flow = FLOW.format(body=body, options=options, functions=functions)
    lay(folder, {**SHOP, **(files or {}), "flow.py": flow})
    return folder / "flow.py"


@contextmanager
def reading(file: Path, root: Path | None = None) -> Iterator[Any]:
    """Read a DAG file as a worker does, and give its one DAG; what it imported is forgotten afterwards.

    :param root: the folder of the DAG bundle; that of the file if not given.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # Airflow 3.1
        from airflow.models.dagbag import DagBag  # type: ignore[no-redef]
    root = root or file.parent
    before, path = set(sys.modules), list(sys.path)
    # Python keeps what it saw in a folder for as long as the folder's time does not change.
    sys.path_importer_cache.clear()
    sys.path.append(str(root))
    try:
        bag = DagBag(file, bundle_path=root, bundle_name="tests")
        if len(bag.dags) != 1:
            raise RuntimeError(f"{file}: {sorted(bag.dags)} {bag.import_errors}")
        yield next(iter(bag.dags.values()))
    finally:
        sys.path[:] = path
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(root)):
                del sys.modules[name]
