"""A headless Chromium for the tests of pages: a folder for its profile in, a driver out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver

#: Without these Chromium wants a screen, a sandbox, and hosts on the network.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
MISSING = None if CHROMIUM and DRIVER else "Debian's packages chromium and chromium-driver are not installed"

#: Where screenshots for the documentation are written, if it is asked for them.
IMAGES = Path(__file__).parents[2] / "docs" / "images"


@contextmanager
def chromium(profile: Path, *, width: int = 1300, height: int = 1000) -> Iterator[WebDriver]:
    """Start a browser and end it after the ``with`` block."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        yield driver
    finally:
        driver.quit()


def picture(driver: WebDriver, name: str) -> None:
    """Keep what the browser shows as a picture for the documentation, if ``RENEW_SCREENSHOTS`` is set."""
    if os.environ.get("RENEW_SCREENSHOTS"):
        IMAGES.mkdir(exist_ok=True)
        driver.save_screenshot(str(IMAGES / f"{name}.png"))
