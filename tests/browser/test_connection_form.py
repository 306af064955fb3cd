"""The form of the connection type in Airflow's own UI, filled in by a browser and read back by the CLI."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.hooks.connection import typed_extras
from airflow_vertex_provider.hooks.fields import FIELDS
from airflow_vertex_provider.hooks.pipeline import VertexPipelineHook
from tests.browser.chromium import MISSING, chromium, picture
from tests.support.airflow import AirflowDeployment, run_airflow
from tests.support.processes import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

CONN_ID = "my_vertex"
ACCOUNT = "workload@demo-project.iam.gserviceaccount.com"
NETWORK = "projects/123456789012/global/networks/ml-net"
LABELS = {"team": "ml"}
MACHINE = {"machine_type": "n1-standard-8"}


@pytest.fixture(scope="module")
def emulator() -> Iterator[VertexEmulator]:
    with VertexEmulator() as emulator:
        yield emulator


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowDeployment]:
    """An API server with an empty database, where connections may be tested."""
    with AirflowDeployment(
        tmp_path_factory.mktemp("dags"),
        {},
        env={"AIRFLOW__CORE__TEST_CONNECTION": "Enabled"},
        components=["api-server"],
    ) as deployment:
        yield deployment


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    with chromium(tmp_path_factory.mktemp("profile"), height=2150) as driver:
        yield driver


class Form:
    """Airflow's dialog for a connection."""

    def __init__(self, browser: WebDriver) -> None:
        self.browser = browser

    def find(self, selector: str) -> WebElement:
        """Wait for one element that a style selector finds."""
        found: list[WebElement] = wait_until(
            lambda: self.browser.find_elements(By.CSS_SELECTOR, selector), 30, f"{selector} on the page"
        )
        return found[0]

    def button(self, text: str) -> WebElement:
        """Wait for the button with exactly this text."""

        def there() -> WebElement | None:
            buttons = self.browser.find_elements(By.TAG_NAME, "button")
            return next((button for button in buttons if button.text == text), None)

        return wait_until(there, 30, f"a button {text!r}")

    def open(self, section: str) -> None:
        """Open a section, which closes the one that is open."""
        button = self.button(section)
        if button.get_attribute("aria-expanded") != "true":
            self.click(button)
        wait_until(lambda: button.get_attribute("aria-expanded") == "true", 30, f"{section} to open")

    def click(self, element: WebElement) -> None:
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def write(self, name: str, text: str) -> None:
        element = self.find(f"#element_{name}")
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.send_keys(Keys.CONTROL, "a")
        element.send_keys(Keys.DELETE, text)

    def shown(self, name: str) -> str:
        return str(self.find(f"#element_{name}").get_attribute("value"))

    def row(self, conn_id: str) -> WebElement:
        """Wait for the line of one connection in the list."""

        def there() -> WebElement | None:
            rows = self.browser.find_elements(By.CSS_SELECTOR, "tbody tr")
            return next((row for row in rows if conn_id in row.text.split()), None)

        return wait_until(there, 30, f"a line of {conn_id!r}")

    def edit(self, conn_id: str) -> None:
        self.click(self.row(conn_id).find_element(By.CSS_SELECTOR, "[aria-label='Edit Connection']"))

    def whole(self, element: WebElement) -> bool:
        script = """
            const {bottom} = arguments[0].getBoundingClientRect()
            return bottom <= innerHeight && getComputedStyle(arguments[0]).opacity === "1"
        """
        return bool(self.browser.execute_script(script, element))

    def message(self, title: str) -> str:
        """Wait for a message with this word in its title."""

        def there() -> str | None:
            toasts = self.browser.find_elements(By.CSS_SELECTOR, "[data-scope=toast][data-part=root]")
            # It fades in, and slides into the window from below.
            return next((toast.text for toast in toasts if title in toast.text and self.whole(toast)), None)

        return wait_until(there, 30, f"a message {title!r}")

    def save(self) -> None:
        self.click(self.button("Save"))
        wait_until(lambda: not self.browser.find_elements(By.CSS_SELECTOR, "[role=dialog]"), 30, "closing")

    def picture(self, section: str, name: str) -> None:
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'start'})", self.button(section))
        picture(self.browser, name)


def stored(airflow: AirflowDeployment, conn_id: str) -> dict[str, Any]:
    """Return what the command line finds, its secrets in clear."""
    printed = run_airflow(["connections", "get", conn_id, "-o", "json"], airflow.env)
    # After its log lines.
    (connection,) = json.loads(printed[printed.index("[{") :])
    return dict(connection)


def test_a_connection_is_made_in_the_form(
    airflow: AirflowDeployment,
    browser: WebDriver,
    emulator: VertexEmulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    form = Form(browser)
    browser.get(f"{airflow.base_url}/connections")
    form.click(form.button("Add Connection"))
    form.find("input[name=connection_id]").send_keys(CONN_ID)
    form.find("input[role=combobox]").send_keys("Google Vertex AI", Keys.ENTER)

    form.open("Project and identity")
    form.write("project", "demo-project")
    form.click(form.find("[id='switch:element_is_anonymous']"))
    form.picture("Project and identity", "connection-identity")
    form.open("Endpoints")
    form.write("api_endpoint", emulator.endpoint)
    form.write("storage_endpoint", emulator.endpoint)
    form.open("Jobs and tasks")
    form.write("location", "europe-west4")
    form.write("pipeline_root", "gs://demo-bucket/root")
    form.write("workload_account", ACCOUNT)
    form.write("network", NETWORK)

    form.write("reserved_ip_ranges", "range-a\nrange-b")
    form.write("labels", json.dumps(LABELS))
    form.write("custom_job", json.dumps(MACHINE))
    form.picture("Jobs and tasks", "connection-jobs")
    labels = [label.text.strip() for label in browser.find_elements(By.CSS_SELECTOR, "[role=dialog] label")]
    assert {field.label for field in FIELDS.values() if field.section == "Jobs and tasks"} <= set(labels)
    form.save()

    connection = stored(airflow, CONN_ID)
    assert connection["conn_type"] == "vertex_ai"
    monkeypatch.setenv("AIRFLOW_CONN_READ_BACK", connection["get_uri"])
    hook = VertexPipelineHook(gcp_conn_id="read_back")
    assert hook.defaults.pipeline == {
        "location": "europe-west4",
        "pipeline_root": "gs://demo-bucket/root",
        "service_account": ACCOUNT,
        "network": NETWORK,
        "reserved_ip_ranges": ["range-a", "range-b"],
        "labels": LABELS,
    }
    assert hook.defaults.task == {"custom_job": MACHINE}
    extras = typed_extras("vertex_ai", connection["extra_dejson"], CONN_ID)
    assert extras == {
        "project": "demo-project",
        "is_anonymous": True,
        "location": "europe-west4",
        "pipeline_root": "gs://demo-bucket/root",
        "workload_account": ACCOUNT,
        "network": NETWORK,
        "reserved_ip_ranges": ["range-a", "range-b"],
        "labels": LABELS,
        "custom_job": MACHINE,
        "api_endpoint": emulator.endpoint,
        "storage_endpoint": emulator.endpoint,
    }


def test_a_connection_of_the_command_line_is_changed_in_the_form(
    airflow: AirflowDeployment, browser: WebDriver
) -> None:
    """Dicts are shown as JSON, and what nobody touches stays as it was, secrets too."""
    extras = {
        "keyfile_dict": {"type": "service_account", "private_key": "canary"},
        "client_secret": "canary",
        "location": "europe-west4",
        "network": NETWORK,
        "reserved_ip_ranges": ["range-a"],
        "labels": LABELS,
        "custom_job": MACHINE,
        "failure_policy": "fast",
    }
    add = ["connections", "add", "typed", "--conn-type", "vertex_ai", "--conn-extra", json.dumps(extras)]
    run_airflow(add, airflow.env)

    form = Form(browser)
    browser.get(f"{airflow.base_url}/connections")
    form.edit("typed")
    form.open("Project and identity")
    assert form.shown("client_secret") == "***"
    form.open("Jobs and tasks")
    assert json.loads(form.shown("labels")) == LABELS
    assert json.loads(form.shown("custom_job")) == MACHINE
    assert json.loads(form.shown("reserved_ip_ranges")) == ["range-a"]
    assert "canary" not in browser.page_source
    form.write("location", "europe-west1")
    form.write("labels", json.dumps({"team": "data", "stage": "test"}))
    form.write("reserved_ip_ranges", "range-b, range-c")
    form.save()
    typed = typed_extras("vertex_ai", stored(airflow, "typed")["extra_dejson"], "typed")
    assert typed == {
        **extras,
        "location": "europe-west1",
        "labels": {"team": "data", "stage": "test"},
        "reserved_ip_ranges": ["range-b", "range-c"],
    }


def test_the_button(airflow: AirflowDeployment, browser: WebDriver, emulator: VertexEmulator) -> None:
    """Airflow 3.3.2 asks for port 0, which its API takes for another machine's unless that is stored."""
    add = ["connections", "add", "tested", "--conn-type", "vertex_ai", "--conn-port", "0"]
    extras = json.loads(emulator.connection_json())["extra"]
    run_airflow([*add, "--conn-extra", json.dumps(extras)], airflow.env)
    form = Form(browser)
    browser.set_window_size(1300, 700)
    browser.get(f"{airflow.base_url}/connections")
    before = len(emulator.requests)
    form.click(form.row("tested").find_element(By.CSS_SELECTOR, "[aria-label='Test Connection']"))
    assert "Vertex AI in europe-west4 answered for project demo-project" in form.message("Successful")
    (call,) = emulator.requests[before:]
    assert call.rest_method == "pipelineJobs.list"
    picture(browser, "connection-test")

    denied = "Permission 'aiplatform.pipelineJobs.list' denied on resource '//aiplatform.googleapis.com/x'"
    emulator.faults.add("pipelineJobs.list", error="PERMISSION_DENIED", message=denied)
    browser.get(f"{airflow.base_url}/connections")
    form.click(form.row("tested").find_element(By.CSS_SELECTOR, "[aria-label='Test Connection']"))
    assert "The account lacks the permission aiplatform.pipelineJobs.list" in form.message("Failed")


def test_the_command_that_tests(airflow: AirflowDeployment, emulator: VertexEmulator) -> None:
    before = len(emulator.requests)
    assert "Connection success!" in run_airflow(["connections", "test", CONN_ID], airflow.env)
    (call,) = emulator.requests[before:]
    assert call.rest_method == "pipelineJobs.list"
