"""The form of the connection type in Airflow's own UI, filled in by a browser and read back by the CLI."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement

from airflow_vertex_provider.emulator import VertexEmulator
from airflow_vertex_provider.hooks.connection import typed_extras
from airflow_vertex_provider.hooks.fields import FIELDS
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
        element.send_keys(text)


def test_a_connection_is_made_in_the_form(
    airflow: AirflowDeployment, browser: WebDriver, emulator: VertexEmulator
) -> None:
    form = Form(browser)
    browser.get(f"{airflow.base_url}/connections")
    form.click(form.button("Add Connection"))
    form.find("input[name=connection_id]").send_keys(CONN_ID)
    form.find("input[role=combobox]").send_keys("Google Vertex AI", Keys.ENTER)

    form.open("Project and identity")
    form.write("project", "demo-project")
    form.click(form.find("[id='switch:element_is_anonymous']"))
    picture(browser, "connection-identity")
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
    picture(browser, "connection-jobs")
    labels = [label.text.strip() for label in browser.find_elements(By.CSS_SELECTOR, "[role=dialog] label")]
    assert {field.label for field in FIELDS.values() if field.section == "Jobs and tasks"} <= set(labels)
    form.click(form.button("Save"))
    wait_until(lambda: not browser.find_elements(By.CSS_SELECTOR, "[role=dialog]"), 30, "the form to close")

    (stored,) = json.loads(last_json(run_airflow(["connections", "get", CONN_ID, "-o", "json"], airflow.env)))
    assert stored["conn_type"] == "vertex_ai"
    extras = typed_extras("vertex_ai", stored["extra_dejson"], CONN_ID)
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


def last_json(text: str) -> str:
    """Return the JSON that a command printed after its log lines."""
    return text[text.index("[{") :]


def test_airflow_tests_the_connection(airflow: AirflowDeployment, emulator: VertexEmulator) -> None:
    """By the CLI: Airflow 3.3.2's button asks for port 0, which its API takes for another machine's."""
    before = len(emulator.requests)
    assert "Connection success!" in run_airflow(["connections", "test", CONN_ID], airflow.env)
    (call,) = emulator.requests[before:]
    assert call.rest_method == "pipelineJobs.list"
