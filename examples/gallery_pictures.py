"""Gallery pictures: takes the screenshots of docs/gallery.md with the system's Chromium.

python examples/gallery_pictures.py docs/images          # with `pippin demo --no-open` running
"""

from __future__ import annotations

import argparse
import io
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

COLOURS = 200  # palette size: photos look the same, in a third of the file size
TEN_IN_VIEW = "[...document.querySelectorAll('.coloured')].filter(t => t.getBoundingClientRect().top > 0).length >= 10"
COMPLETE = "#on-screen[data-complete]"


def plain(page: Page) -> None:
    page.wait_for_timeout(1200)  # until the last tiles have faded in


def scrolling(page: Page) -> None:
    """Half of the screen is coloured after several screens were scrolled past and cancelled."""
    page.wait_for_timeout(6000)  # wait for the gray tiles further down
    page.locator("#max-in-flight").fill("1")
    page.wait_for_selector(COMPLETE)
    for screen in range(1, 9):
        page.evaluate(f"scrollTo(0, {screen} * 700)")
        page.wait_for_timeout(60)
    page.wait_for_function(TEN_IN_VIEW)


def one(page: Page) -> None:
    page.locator(".tile").nth(2).click()
    page.wait_for_timeout(800)


def trace(page: Page) -> None:
    page.get_by_role("button", name="Trace").click()
    page.wait_for_timeout(1500)


PICTURES = {
    "gallery-light": ("light", plain),
    "gallery-dark": ("dark", plain),
    "gallery-scroll": ("dark", scrolling),
    "gallery-tile": ("light", one),
    "gallery-trace": ("light", trace),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--address", default="http://127.0.0.1:8787/")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name, (scheme, show) in PICTURES.items():
            page = browser.new_page(viewport={"width": 1080, "height": 690}, color_scheme=scheme)
            page.goto(options.address)
            page.wait_for_selector(COMPLETE)
            page.get_by_role("button", name="Again").click()
            page.wait_for_selector(COMPLETE)
            show(page)
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            picture.quantize(COLOURS, dither=Image.Dither.NONE).save(options.folder / f"{name}.png", optimize=True)
            page.close()
        browser.close()


if __name__ == "__main__":
    main()
