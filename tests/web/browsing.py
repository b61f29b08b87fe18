"""Demos in a browser: Chromium, the command that serves, and what is seen of any page."""

import base64
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import oasis_tf

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
DESKTOP, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# The console also tells of answers that tests provoke; everything else there is a defect.
PROVOKED = ("the server responded with a status of", "net::ERR_")
# Of tests that need a browser.
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(
        CHROMIUM is None, reason="Chromium is not installed (Debian: apt-get install chromium)"
    ),
]


def in_browser(test):
    """Marks one test as one that needs a browser."""
    for mark in MARKS:
        test = mark(test)
    return test


@contextlib.contextmanager
def opened(browser, url, *, origins=(), provoked=(), **options):
    """Gives the page at an address; afterwards: nothing asked of other hosts, no errors.

    Args:
        browser: Playwright's.
        url: address of the page's folder, without a slash at its end.
        origins: other addresses that the page may ask.
        provoked: parts of what the console may say.
        options: of the browser's context.
    """
    context = browser.new_context(**({"accept_downloads": True, "viewport": DESKTOP} | options))
    page, asked, errors = context.new_page(), [], []
    context.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and errors.append(message.text))
    page.set_default_timeout(20_000)
    page.goto(f"{url}/")
    yield page
    own = (f"{url}/", "blob:", *origins)
    assert not [one for one in asked if not one.startswith(own)]
    assert not [text for text in errors if not any(part in text for part in (*PROVOKED, *provoked))]
    context.close()


def settle(page):
    page.wait_for_selector("body[data-state=idle]")


def said(page, word):
    page.wait_for_selector(f"#spoken:has-text('{word}')", state="attached")


def pixels(page, selector):
    """Pixels of a canvas, uint8 [H, W, 4]."""
    data, width, height = page.evaluate(
        """(selector) => {
          const canvas = document.querySelector(selector);
          const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          const text = btoa(Array.from(data, (value) => String.fromCharCode(value)).join(""));
          return [text, canvas.width, canvas.height];
        }""",
        selector,
    )
    return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)


def message(page):
    page.wait_for_selector("#message:visible")
    text = page.locator("#message").inner_text()
    assert "Traceback" not in text and "    at " not in text
    page.locator("#message").click()
    return text


@pytest.fixture(scope="module")
def browser():
    """Chromium, by Playwright."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright is not installed (extra `test`)"
    )
    with playwright.sync_playwright() as p:
        running = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture(scope="session")
def start_demo():
    """The command, running as people run it.

    Returns:
        function(*flags) -> context manager that gives its address.
    """
    for package in ("starlette", "uvicorn"):
        pytest.importorskip(package, reason="the demo's extra is not installed")

    @contextlib.contextmanager
    def start(*flags):
        source = str(Path(oasis_tf.__file__).resolve().parents[1])
        process = subprocess.Popen(
            [sys.executable, "-m", "oasis_tf.demo", *flags, "--port=0"],
            env=os.environ | {"PYTHONPATH": source},
            stdout=subprocess.PIPE,
            text=True,
        )
        line = process.stdout.readline()
        yield line.removeprefix("Demo: ").strip()
        process.send_signal(signal.SIGINT)
        # 0 where the tests run as a job that ignores interruptions: only the server hears them.
        assert process.wait(30) in (130, 0)
        assert line.startswith("Demo: http://127.0.0.1:")

    return start
