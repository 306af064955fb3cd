"""The page and what it asks for."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.emulator import server as server_module
from tests.emulator.pipelines import LOCATION, PROJECT, Client, Pipeline, parameter, say

PAGE = Path(server_module.__file__).with_name("page") / "index.html"


def _text(url: str) -> str:
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.headers.get_content_type() == "text/html"
        return str(answer.read().decode())


def test_the_page_is_one_file_with_nothing_from_elsewhere(emulator: VertexEmulator) -> None:
    page = _text(emulator.page_url)
    assert page == _text(emulator.run_url(PROJECT, LOCATION, "any")) == PAGE.read_text()
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not an address that is asked
    assert not re.search(r"<(script|link|img)[^>]+(src|href)=\"(?!data:)", page)
    assert "prefers-color-scheme: dark" in page
    assert "innerHTML" not in page  # names and logs are text, never markup


def test_runs_and_their_filter(client: Client) -> None:
    client.run(Pipeline("good").task("t"), "first-run", displayName="First")
    client.run(Pipeline("bad").task("t", ["false"]), "second-run", displayName="Second")
    runs = client.call("GET", "/emulator/runs")
    assert [run["id"] for run in runs] == ["second-run", "first-run"]
    assert runs[0]["tasks"] == {"FAILED": 1}
    assert runs[1]["state"] == "PIPELINE_STATE_SUCCEEDED"
    found = client.call("GET", "/emulator/runs", query={"state": "PIPELINE_STATE_FAILED"})
    assert [run["id"] for run in found] == ["second-run"]
    assert [run["id"] for run in client.call("GET", "/emulator/runs", query={"text": "First"})] == [
        "first-run"
    ]


def test_a_run_with_graph_states_values_machines_and_log(client: Client) -> None:
    inner = Pipeline("inner").task("deep", ["sh", "-c", "echo one; echo two >&2"])
    pipe = Pipeline().task("up", say("v"), outputs={"Output": "STRING"}).nested("sub", inner, after=["up"])
    client.run(pipe, "a-run")
    base = f"/emulator/runs/{PROJECT}/{LOCATION}/a-run"
    run = client.call("GET", base)
    assert run["graph"] == [
        {"path": "up", "name": "up", "upstream": []},
        {
            "path": "sub",
            "name": "sub",
            "upstream": ["up"],
            "inside": [{"path": "sub/deep", "name": "deep", "upstream": []}],
        },
    ]
    assert {path: task["state"] for path, task in run["tasks"].items()} == dict.fromkeys(
        ("", "up", "sub", "sub/deep"), "SUCCEEDED"
    )
    machine = run["tasks"]["sub/deep"]["customJobs"][0]["jobSpec"]["workerPoolSpecs"][0]["machineSpec"]
    assert machine == {"machineType": "e2-standard-4"}
    log = client.call("GET", f"{base}/tasks/{run['tasks']['sub/deep']['taskId']}/log")
    assert sorted(line[1:] for line in log[0]["lines"]) == [["stderr", "two"], ["stdout", "one"]]


def _structured() -> Pipeline:
    """Return a loop with a condition inside, one iteration of which fails, and a task that ignores that."""
    step = Pipeline("step", item="STRING").task("deep", ["false"], inputs={"x": parameter("item")})
    condition = "inputs.parameter_values['item'] == '11'"
    body = Pipeline("body", item="STRING")
    body.nested("if-eleven", step, inputs={"item": parameter("item")}, condition=condition)
    pipe = Pipeline().nested("loop", body, items=[str(number) for number in range(12)], limit=4)
    return pipe.task("last", after=["loop"]).completed("last")


def test_the_graph_of_loops_and_conditions(client: Client) -> None:
    client.run(_structured(), "looped")
    run = client.call("GET", f"/emulator/runs/{PROJECT}/{LOCATION}/looped")
    loop, last = run["graph"]
    assert (last["upstream"], last["completed"]) == (["loop"], True)
    assert loop["parallelism"] == 4
    assert [node["name"] for node in loop["inside"]] == [f"loop-{number}" for number in range(12)]
    assert loop["inside"][11] == {
        "path": "loop/11",
        "name": "loop-11",
        "upstream": [],
        "iteration": 11,
        "inside": [
            {
                "path": "loop/11/if-eleven",
                "name": "if-eleven",
                "upstream": [],
                "condition": "inputs.parameter_values['item'] == '11'",
                "inside": [{"path": "loop/11/if-eleven/deep", "name": "deep", "upstream": []}],
            }
        ],
    }
    assert run["tasks"]["loop/11/if-eleven/deep"]["state"] == "FAILED"
    assert run["tasks"]["loop/3/if-eleven/deep"]["state"] == "NOT_TRIGGERED"


def test_what_is_not_there_is_404(client: Client) -> None:
    for path in ("/emulator/runs/p/l/none", "/emulator/runs/p/l/none/tasks/1/log"):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(client.endpoint + path, timeout=30)
        assert error.value.code == 404
        error.value.close()


def test_a_connection_for_airflow(emulator: VertexEmulator) -> None:
    connection = json.loads(emulator.connection_json(project="p", location="l", pipeline_root="gs://b/r"))
    assert connection == {
        "conn_type": "google_cloud_platform",
        "extra": {
            "project": "p",
            "is_anonymous": True,
            "api_endpoint": emulator.endpoint,
            "storage_endpoint": emulator.endpoint,
            "console_endpoint": emulator.endpoint,
            "location": "l",
            "pipeline_root": "gs://b/r",
        },
    }


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def _drawn(url: str, profile: Path) -> str:
    """Return the document that a browser has made of a page."""
    options = [
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        "--virtual-time-budget=4000", "--window-size=1400,900", f"--user-data-dir={profile}", "--dump-dom",
    ]  # fmt: skip
    done = subprocess.run(
        [BROWSER or "", *options, url], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_wide_run_leads_to_its_failed_tasks(
    emulator: VertexEmulator, client: Client, tmp_path: Path
) -> None:
    inner = Pipeline("inner").task("deep", ["false"])
    pipe = Pipeline().nested("sub", inner)
    for number in range(24):
        pipe.task(f"wide-{number}", ["false"] if number == 21 else ["true"])
    client.run(pipe, "wide-run")
    page = _drawn(emulator.run_url(PROJECT, LOCATION, "wide-run") + "#wide-2", tmp_path)
    links = re.search(r'<p id="failed">(.*?)</p>', page)
    assert links
    assert dict(re.findall(r'<a href="#([^"]+)">([^<]+)</a>', links[1])) == {
        "sub%2Fdeep": "deep",
        "wide-21": "wide-21",
    }
    assert re.findall(r'class="node chosen"[^>]* data-path="([^"]+)"', page) == ["wide-2"]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_a_long_loop_shows_its_failed_iteration_and_lists_all(
    emulator: VertexEmulator, client: Client, tmp_path: Path
) -> None:
    client.run(_structured(), "looped")
    page = _drawn(emulator.run_url(PROJECT, LOCATION, "looped") + "#loop", tmp_path)
    boxes = dict(re.findall(r'data-path="([^"]+)"[^>]* data-state="([^"]+)"', page))
    drawn = {path for path in boxes if re.fullmatch("loop/[0-9]+", path)}
    assert drawn == {"loop/11", *(f"loop/{number}" for number in range(8))}
    assert boxes["loop/11/if-eleven/deep"] == "FAILED"
    assert boxes["loop/0/if-eleven"] == "NOT_TRIGGERED"
    assert "3 more iterations" in page
    listed = re.search(r'<ul class="inside">(.*?)</ul>', page)
    assert listed
    assert re.findall(r">(loop-[0-9]+)</a>", listed[1]) == [f"loop-{number}" for number in range(12)]
    assert re.search(r'<p id="failed">.*deep \(loop-11\)</a>', page)
    page = _drawn(emulator.run_url(PROJECT, LOCATION, "looped") + "#loop%2F9%2Fif-eleven", tmp_path)
    assert "inputs.parameter_values['item'] == '11'" in page
    assert re.findall(r'class="node group[^"]*chosen[^"]*"[^>]* data-path="([^"]+)"', page) == [
        "loop/9/if-eleven"
    ]
