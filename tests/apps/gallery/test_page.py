"""The gallery's page in a browser, and its server without one."""

from __future__ import annotations

import io
import json
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

from support.browser import served

pytestmark = pytest.mark.process

TEN_SCREENS = """async () => {
    const frame = () => new Promise(requestAnimationFrame);
    for (let screen = 1; screen <= 10; screen++) { scrollTo(0, screen * innerHeight); await frame(); await frame(); }
}"""
ALL_IN_VIEW_COLOURED = """[...document.querySelectorAll('.tile')].every(tile => {
    const { top, bottom } = tile.getBoundingClientRect();
    return bottom < 0 || top > innerHeight || tile.classList.contains('coloured');
})"""
COMPLETE = "#on-screen[data-complete]"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with served("demo", "--port", "0", "--no-open", PIPPIN_CACHE=str(tmp_path_factory.mktemp("cache"))) as found:
        yield found


@pytest.fixture
def gallery(page, address):
    """The page, with one prediction at a time, so that no machine is too fast to cancel anything."""
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    choose_flow(page, 1)
    page.wait_for_selector(COMPLETE)
    return page


def choose_flow(page, most):
    with page.expect_response("**/control"):
        page.locator("#max-in-flight").fill(str(most))
    page.wait_for_selector("body:not([data-busy])")


def number(page, figure):
    return float(page.inner_text(f"#{figure}").split()[0])


def colour(page, tile):
    """How far the channels of the pixels that are on the screen lie apart, on average."""
    picture = Image.open(io.BytesIO(tile.screenshot())).convert("RGB")
    pixels = np.asarray(picture).astype(int)[30:-30, 30:-30]  # without the mark in a corner
    return (pixels.max(-1) - pixels.min(-1)).mean()


def test_tiles_colour_and_fade_back(gallery):
    tile = gallery.locator(".tile").first  # a cup of coffee on a wooden table
    gallery.wait_for_function("getComputedStyle(document.querySelector('.tile .colour')).opacity == 1")
    assert colour(gallery, tile) > 40
    gallery.get_by_text("Original").click()
    gallery.wait_for_function("getComputedStyle(document.querySelector('.tile .colour')).opacity == 0")
    assert colour(gallery, tile) < 2
    gallery.get_by_text("Colorized", exact=True).first.click()
    gallery.wait_for_function("getComputedStyle(document.querySelector('.tile .colour')).opacity == 1")
    assert colour(gallery, tile) > 40


def test_what_is_out_of_view_has_not_been_asked_for(gallery):
    count = gallery.locator(".tile").count()
    assert count >= 400
    assert gallery.locator(".tile.coloured").count() < 60


def test_a_scroll_cancels_what_it_leaves_behind(gallery, address):
    gallery.evaluate(TEN_SCREENS)
    gallery.wait_for_selector(COMPLETE)
    gallery.wait_for_function("Number(document.getElementById('cancelled').textContent) > 0")
    figures = fetch(f"{address}figures.json")
    assert figures["cancelled"] > 0 and figures["failed"] == 0
    assert figures["cancelled_predictions"] > 0, "not only the requests: predictions"
    assert gallery.evaluate(ALL_IN_VIEW_COLOURED)


def test_serial_cancels_nothing(gallery, address):
    with gallery.expect_response("**/control"):
        gallery.get_by_text("Serial").click()
    gallery.wait_for_selector(COMPLETE)
    assert gallery.locator("#max-in-flight").is_disabled()
    gallery.evaluate("scrollTo(0, 2 * innerHeight)")
    gallery.evaluate("scrollTo(0, 4 * innerHeight)")
    gallery.wait_for_selector(COMPLETE)
    figures = fetch(f"{address}figures.json")
    assert figures["mode"] == "serial" and figures["cancelled"] == 0
    assert figures["done"] >= gallery.locator(".tile.coloured").count() > 0
    with gallery.expect_response("**/control"):
        gallery.get_by_text("Async").click()


def test_figures_and_controls(gallery, address):
    gallery.wait_for_function("Number(document.getElementById('done').textContent) >= 20")
    assert number(gallery, "memory") > 50
    assert gallery.inner_text("#on-screen").split()[1] in ("s", "ms")
    choose_flow(gallery, 3)
    assert gallery.inner_text("#most") == "3"
    assert fetch(f"{address}figures.json")["max_in_flight"] == 3
    gallery.get_by_role("button", name="Again").click()
    gallery.wait_for_selector(COMPLETE)


def test_only_what_was_never_seen(gallery):
    gallery.get_by_role("button", name="Never seen in colour").click()
    shown = gallery.locator(".tile:visible")
    assert 100 < shown.count() < gallery.locator(".tile").count()
    assert gallery.locator(".tile:visible:has(.dot)").count() == shown.count()
    gallery.wait_for_selector(COMPLETE)


def test_a_tile_by_itself_tells_its_licence(gallery):
    gallery.locator(".tile").first.click()
    dialog = gallery.locator("#one")
    assert dialog.get_by_role("heading").inner_text() == "A cup of coffee"
    assert "CC0" in dialog.locator(".about").inner_text()
    gallery.wait_for_function("[...document.querySelectorAll('#one img')].every(i => i.complete && i.naturalWidth > 0)")
    dialog.get_by_label("Close").click()
    assert not dialog.is_visible()


def test_the_trace_opens(gallery):
    gallery.get_by_role("button", name="Trace").click()
    dialog = gallery.locator("#tracing")
    dialog.get_by_text("prediction", exact=True).wait_for()
    assert "concurrent" in dialog.locator(".about").inner_text()
    with gallery.expect_download() as download:
        dialog.get_by_text("Save the trace").click()
    events = json.loads(download.value.path().read_text())["traceEvents"]
    assert {"load", "prediction", "compute"} <= {event.get("name", "").split(" ")[0] for event in events}


def test_on_a_phone_and_in_the_dark(chromium, address):
    context = chromium.new_context(viewport={"width": 390, "height": 780}, color_scheme="dark")
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(COMPLETE)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 19, 23)"
    context.close()


# --- without a browser


def fetch(url, body=None, **headers):
    request = urllib.request.Request(url, body, headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def refused(url, body=None, **headers):
    with pytest.raises(urllib.error.HTTPError) as error:
        fetch(url, body, **headers)
    return error.value.code


def test_who_hangs_up_cancels_the_prediction(address):
    before = fetch(f"{address}control", json.dumps({"mode": "async", "max_in_flight": 1}).encode())
    assert before["asked"] == 0
    parts = urlsplit(address)
    calls = [socket.create_connection((parts.hostname, parts.port)) for _ in range(24)]
    for tile, call in enumerate(calls):
        call.sendall(f"GET /tile/{tile}/colorized.jpg HTTP/1.1\r\nHost: {parts.hostname}\r\n\r\n".encode())
    calls[0].recv(100)
    for call in calls:
        call.close()
    while (figures := fetch(f"{address}figures.json"))["under_way"] > 0 or figures["asked"] == 0:
        pass
    assert figures["cancelled"] > 0 and figures["failed"] == 0
    assert figures["asked"] == figures["cancelled"] + figures["done"]
    assert figures["cancelled_predictions"] > 0


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[1]", b'{"mode": "fast", "max_in_flight": 1}', b'{"mode": "async", "max_in_flight": 0}',
     b'{"mode": "async", "max_in_flight": 99}', b'{"mode": "async", "max_in_flight": "2"}', b'{"mode": "async", "max_in_flight": true}'],
)  # fmt: skip
def test_a_wrong_control_is_refused(address, body):
    assert refused(f"{address}control", body) == 400


@pytest.mark.parametrize("path", ["tile/9999/gray.jpg", "tile/9999/colorized.jpg", "tile/9999/photo.jpg", "tile/x/gray.jpg",
                                  "page/../server.py", "page/%2e%2e/server.py"])  # fmt: skip
def test_what_is_not_there(address, path):
    assert refused(f"{address}{path}") == 404


def test_another_name_for_this_machine_is_refused(address):
    assert refused(f"{address}figures.json", Host="rebound.example") == 400


def test_a_port_that_is_taken(address):
    from typer.testing import CliRunner

    from pippin.apps.cli import app
    from pippin.errors import ConfigurationError

    port = urlsplit(address).port
    result = CliRunner().invoke(app, ["demo", "--no-open", "--port", str(port)])
    assert isinstance(result.exception, ConfigurationError) and f":{port}" in str(result.exception)
