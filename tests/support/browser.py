"""Browser: Chromium by Playwright, and a command of ours that serves a page to it.

The browser is the machine's own (Debian: apt-get install chromium), or the one that the environment variable
PIPPIN_CHROMIUM names; a test that needs it is skipped, with this reason, where there is none.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
# What a browser asks of the network by itself is switched off: the tests count requests.
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--use-fake-device-for-media-stream",  # a camera with a moving picture
    "--use-fake-ui-for-media-stream",
]
SOURCE = Path(__file__).parents[2] / "src"


@pytest.fixture(scope="module")  # Playwright keeps an event loop open; other modules want their own
def chromium():
    """A browser, as `playwright.sync_api.Browser`."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (make test installs it)")
    path = os.environ.get("PIPPIN_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium (apt-get install chromium, or set PIPPIN_CHROMIUM)")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium):
    """A page of 1280 x 800; the test fails if it logged an error, threw one, or asked another machine for anything."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light")
    opened = context.new_page()
    opened.set_default_timeout(120_000)
    wrong: list[str] = []
    opened.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: None if _here(request.url) else wrong.append(f"asked for {request.url}"))
    yield opened
    context.close()
    assert wrong == []


def _here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about") or (parts.hostname or "").startswith(("127.", "localhost"))


@contextmanager
def served(*arguments: str, **environment: str) -> Iterator[str]:
    """Run `pippin ARGUMENTS` as long as the block; gives the address that it prints first. It must end by itself when
    interrupted."""
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pippin", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(SOURCE)} | environment,
    )
    assert process.stdout is not None
    said: list[str] = []
    try:
        address = None
        for line in process.stdout:
            said.append(line)
            if found := re.search(r"http://\S+", line):
                address = found[0]
                break
        assert address is not None, f"it printed no address:\n{''.join(said)}"
        # Whoever reads nothing would have it wait, once the pipe is full.
        Thread(target=lambda: said.extend(process.stdout), daemon=True).start()
        yield address
        process.send_signal(signal.SIGINT)
        assert process.wait(30) in (0, 130), "".join(said)
    finally:
        process.kill()
        process.wait()


def axe_violations(page, within: str = "document", tags: tuple[str, ...] = ()) -> list[str]:
    """What axe-core finds on the page, frames aside: one line per element, with its rule. Skips without axe-core."""
    package = pytest.importorskip("axe_playwright_python", reason="axe-core is not installed (make test installs it)")
    if not page.evaluate("() => 'axe' in window"):
        page.evaluate((Path(package.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate(
        "async ([within, tags]) => (await axe.run(within === 'document' ? document : within,"
        " {iframes: false, resultTypes: ['violations'], ...(tags.length ? {runOnly: tags} : {})})).violations",
        [within, list(tags)],
    )
    return [
        f"{rule['id']}: {' '.join(node['target'][0].split())}: {node['failureSummary'].splitlines()[-1].strip()}"
        for rule in found
        for node in rule["nodes"]
    ]
