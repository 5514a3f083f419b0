"""The studio in a browser: every tab of an image model, a table and a stateful model; predictions in the preview."""

from __future__ import annotations

import io
import re
import shutil
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import PIL.Image
import pytest
import torch

from apps.studio.conftest import OFFSET, WEIGHTS
from apps.studio.test_previews import wav
from support import hostile_names
from support.browser import axe_violations, served
from support.browser import chromium as chromium
from support.browser import page as page
from support.networks import Tinted, seeded

pytestmark = pytest.mark.process

TABS = ("General", "Predictions", "Preview", "Performance", "Structure", "Trace", "Cache")


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """The address of a studio, with a cache of its own."""
    pytest.importorskip("nicegui", reason="NiceGUI is not installed (the extra 'studio')")
    folder = tmp_path_factory.mktemp("cache")
    with served("studio", "--no-open", PIPPIN_CACHE=str(folder)) as address:
        yield address


@pytest.fixture
def visit(studio, page):
    """Opens a model at a tab."""

    def opened(path, tab):
        page.goto(f"{studio}model?{urlencode({'path': str(path), 'tab': tab})}")
        page.locator(f'[data-tab="{tab}"] >> nth=0').wait_for()
        return page.locator(f'[data-tab="{tab}"]')

    return opened


def png(pixels):
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, "PNG")
    return {"name": "picture.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def drop(place, file):
    place.locator('input[type="file"]').first.set_input_files(file)


def numbers(place, output):
    """The numbers that an output shows, in order."""
    return np.array(
        [float(n) for n in re.findall(r"-?[\d.]+", place.locator(f"[data-output={output}] .numbers").inner_text())]
    )


# What each tab shows of each model.
SHOWN = {
    "colors": {
        "General": ["Tells fruit by colour", "An orchard", "CC0", "softmax", "quince"],
        "Predictions": ["image", "32 × 24", "classLabel", "predicted label"],
        "Preview": ["Drop pictures here", "Live"],
        "Performance": ["Measure"],
        "Structure": ["reduce_mean", "softmax", "cpu"],
        "Trace": ["Record"],
        "Cache": ["Hit: every ingredient is the same", "colors.mlpackage"],
    },
    "table": {
        "General": [
            "pipelineRegressor",
            "tabularRegressor",
            "Parts",
            "Part 1: featureVectorizer",
            "Part 2: glmRegressor",
        ],
        "Predictions": ["rooms", "age", "price", "Double"],
        "Preview": ["Drop a .csv file here"],
        "Performance": ["Measure"],
        "Structure": ["Segments"],
        "Trace": ["Record"],
        "Cache": ["Hit: every ingredient is the same", "table.mlmodel"],
    },
    "counter": {
        "General": ["write_state", "iOS 18"],
        "Predictions": ["States", "total", "float16, 4"],
        "Preview": ["Step", "Memory", "Reset"],
        "Performance": ["Measure"],
        "Structure": ["add", "cpu"],
        "Trace": ["Record"],
        "Cache": ["Hit: every ingredient is the same", "counter.mlpackage"],
    },
}


@pytest.mark.parametrize("name", SHOWN)
def test_every_tab(name, models, visit, page):
    visit(models(name), "General")
    for tab in TABS:
        page.get_by_role("tab", name=tab, exact=True).click()
        place = page.locator(f'[data-tab="{tab}"]')
        for text in SHOWN[name][tab]:
            place.get_by_text(text).first.wait_for()
        assert place.get_by_role("alert").count() == 0
        page.wait_for_url(f"**tab={tab}*")
        assert page.locator("[data-tab]:visible").count() == 1


def test_an_image_is_classified(models, visit):
    place = visit(models("colors"), "Preview")
    pixels = np.zeros((24, 32, 3), np.uint8)
    pixels[..., 1] = 150
    pixels[:12, :, 0] = 200
    drop(place, png(pixels))
    expected = torch.softmax(torch.from_numpy(pixels.mean((0, 1))) / 32, 0).numpy()
    place.get_by_text("pear", exact=True).first.wait_for()
    shown = place.locator("[data-output] .scores .number").all_inner_texts()
    assert place.locator(".answer").inner_text() == "pear"
    np.testing.assert_allclose([float(text[:-1]) / 100 for text in shown], np.sort(expected)[::-1], atol=2e-4)


def test_an_image_becomes_an_image(models, visit, page):
    place = visit(models("tinted"), "Preview")
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    drop(place, png(pixels))
    with page.expect_download() as download:
        place.get_by_role("button", name="Download tinted").click()
    found = np.asarray(PIL.Image.open(download.value.path()), np.float64)
    with torch.no_grad():
        given = torch.from_numpy(pixels.transpose(2, 0, 1)[None].astype(np.float32))
        expected = seeded(Tinted)(given)[0].permute(1, 2, 0).numpy()
    assert np.abs(found - expected).max() <= 1.0


def test_numbers_of_a_table(models, visit):
    place = visit(models("table"), "Preview")
    place.get_by_label("rooms").fill("3")
    place.get_by_label("age").fill("2.5")
    place.get_by_role("button", name="Predict", exact=True).click()
    place.locator("[data-output=price] .value").wait_for()
    found = float(place.locator("[data-output=price] .value").inner_text())
    assert found == pytest.approx(np.dot(WEIGHTS, [3, 2.5]) + OFFSET, abs=1e-4)


def test_rows_of_a_table(models, visit, page):
    from playwright.sync_api import expect  # which is there, as the page is

    place = visit(models("table"), "Preview")
    rows = np.round(np.random.default_rng(1).uniform(0, 9, (7, 2)), 2)
    text = "age,rooms\n" + "\n".join(f"{age},{rooms}" for rooms, age in rows)
    drop(place, {"name": "rows.csv", "mimeType": "text/csv", "buffer": text.encode()})
    place.get_by_role("button", name="Predict all").click()
    with page.expect_download() as download:
        place.get_by_role("button", name="Download").click()
    found = np.genfromtxt(download.value.path(), delimiter=",", names=True)
    np.testing.assert_allclose(found["price"], rows @ WEIGHTS + OFFSET, atol=1e-4)
    place.get_by_role("cell", name=str(rows[2][0]), exact=True).click()
    expect(place.get_by_label("rooms")).to_have_value(str(rows[2][0]))


def test_a_state_is_kept_and_reset(models, visit):
    place = visit(models("counter"), "Preview")
    place.get_by_role("button", name="Typed").click()
    place.locator("textarea").fill("1 2 3 4.5")
    for step in (1, 2, 3):
        place.get_by_role("button", name="Step").click()
        place.get_by_text(f"{step} step", exact=step == 0).first.wait_for()
        np.testing.assert_allclose(numbers(place, "doubled"), 2 * step * np.array([1, 2, 3, 4.5]))
    np.testing.assert_allclose(numbers(place, "total"), [3, 6, 9, 13.5])
    place.get_by_role("button", name="Reset").click()
    place.get_by_text("0 steps").wait_for()
    place.get_by_role("button", name="Step").click()
    place.get_by_text("1 step").first.wait_for()
    np.testing.assert_allclose(numbers(place, "doubled"), [2, 4, 6, 9])


def test_a_segmentation_has_its_colours(models, visit):
    place = visit(models("segmenter"), "Preview")
    pixels = np.repeat(np.linspace(0, 255, 32)[None, :, None], 24, 0).repeat(3, 2).astype(np.uint8)
    drop(place, png(pixels))
    place.get_by_text("bright").wait_for()
    gray = pixels[..., 0] / 255.0
    scores = np.stack([1 - gray, 0.9 * (gray > 0.3), 1.2 * gray * (gray > 0.6)])
    shares = [(scores.argmax(0) == c).mean() for c in range(3)]
    rows = [row.inner_text().split() for row in place.locator(".legend").all()]
    shown = {words[-2]: words[-1] for words in rows}
    for label, share in zip(("dark", "middle", "bright"), shares, strict=True):
        assert shown[label] == f"{share:.1%}"


SOURCES = ["Synthetic camera", "Camera"]
PREDICTED = """count => [...document.querySelectorAll('.tile')].some(tile =>
    tile.innerText.startsWith('Predicted') && parseInt(tile.innerText.split('\\n')[1].replace(',', '')) >= count)"""


@pytest.mark.parametrize("source", SOURCES)
def test_frames_are_predicted_as_they_come(source, models, visit, page):
    place = visit(models("colors"), "Preview")
    place.get_by_role("button", name=source, exact=True).click()
    place.get_by_label("Frames per second").fill("120")
    place.get_by_role("button", name="Start").click()
    page.wait_for_function(PREDICTED, arg=5)
    if source == "Camera":  # the camera of the test is green
        place.locator(".live .answer", has_text="pear").wait_for()
    place.get_by_role("button", name="Stop").click()
    place.get_by_role("button", name="Start").wait_for()
    figures = dict(tile.inner_text().split("\n")[:2] for tile in place.locator(".tiles.small .tile").all())
    frames, predicted, dropped = (int(figures[name].replace(",", "")) for name in ("Frames", "Predicted", "Dropped"))
    assert predicted >= 5 and dropped >= 0 and predicted + dropped <= frames


def test_a_function_is_chosen(models, visit, page):
    for function, expected in (("main", [[0, 2, 0]]), ("negated", [[1, 0, 3]])):
        visit(models("functions"), "Preview")
        if function != "main":
            page.get_by_label("Function").click()
            page.get_by_role("option", name=function).click()
            page.wait_for_url(f"**function={function}*")
            page.get_by_role("tab", name="Preview").click()
        place = page.locator('[data-tab="Preview"]')
        place.get_by_role("button", name="Typed").click()
        place.locator("textarea").fill("[[-1, 2, -3], [-1, 2, -3]]")
        place.get_by_role("button", name="Predict", exact=True).click()
        np.testing.assert_array_equal(numbers(place, "y"), np.ravel(expected * 2))


def test_the_operations(models, visit):
    place = visit(models("colors"), "Structure")
    place.get_by_label("Search operations").fill("softmax")
    rows = place.locator("table").nth(-1).locator("tbody tr")
    rows.first.wait_for()
    place.page.wait_for_function("() => !document.body.innerText.includes('reduce_mean')")
    rows.first.click()
    place.get_by_text("could run on").wait_for()
    place.get_by_role("button", name="Measure").click()
    place.get_by_text(re.compile("in total, .* outside the program's operations")).wait_for()


def test_the_graph(models, visit):
    """The Core ML file in its own words, or the lowered graph in ONNX's."""
    place = visit(models("colors"), "Structure")
    for button, words in (("Show Core ML", "softmax"), ("Show lowered ONNX", "Softmax")):
        place.get_by_role("button", name=button).click()
        place.frame_locator("iframe").get_by_text(words, exact=True).first.wait_for()


def test_a_report_is_measured(models, visit, page):
    place = visit(models("arrays"), "Performance")
    place.get_by_label("Seconds of predictions").fill("0.1")
    place.get_by_role("button", name="Measure").click()
    place.get_by_text("Throughput by number in flight").wait_for()
    assert place.locator(".plot svg").count() == 3
    with page.expect_download() as download:
        place.get_by_role("button", name="JSON").click()
    assert '"results"' in download.value.path().read_text()


def test_a_trace_is_recorded(models, visit, page):
    place = visit(models("counter"), "Trace")
    place.get_by_label("Predictions").fill("12")
    place.get_by_role("button", name="Record").click()
    place.get_by_role("row", name=re.compile("^prediction")).wait_for()
    cells = place.get_by_role("row", name=re.compile("^prediction")).get_by_role("cell").all_inner_texts()
    assert cells[4] == "12"
    assert place.locator(".lanes rect.activity").count() == 12
    with page.expect_download() as download:
        place.get_by_role("button", name="Chrome trace JSON").click()
    assert '"traceEvents"' in download.value.path().read_text()


def test_entries_are_verified_and_removed(models, visit):
    place = visit(models("arrays"), "Preview")
    place.get_by_role("button", name="Predict", exact=True).click()
    place.locator("[data-output=y]").wait_for()
    place.page.get_by_role("tab", name="Cache").click()
    place = place.page.locator('[data-tab="Cache"]')
    place.get_by_text("Hit: every ingredient is the same").wait_for()
    place.get_by_role("button", name="Verify").click()
    place.get_by_text("0 damaged").wait_for()
    place.get_by_role("row", name=re.compile("arrays")).get_by_role("checkbox").click()
    place.get_by_role("button", name="Remove").click()
    place.get_by_text(re.compile("^Miss")).wait_for()
    assert place.get_by_role("row", name=re.compile("arrays")).count() == 0


def test_errors_are_readable(studio, models, visit, page, tmp_path):
    (tmp_path / "broken.mlmodel").write_bytes(b"no model at all")
    for path, text in (("nothing.mlpackage", "no such file"), ("broken.mlmodel", "broken.mlmodel")):
        page.goto(f"{studio}model?{urlencode({'path': str(tmp_path / path)})}")
        page.get_by_role("alert").get_by_text(text).wait_for()
    place = visit(models("arrays"), "Preview")
    place.get_by_role("button", name="Typed").click()
    place.locator("textarea").fill("1 2")
    place.get_by_role("button", name="Predict", exact=True).click()
    place.get_by_role("alert").get_by_text("must have the shape 2 x 3").wait_for()


def test_the_start_page_opens_a_model(studio, models, page):
    page.goto(studio)
    page.get_by_label("Model path").fill(str(models("arrays")))
    page.get_by_role("button", name="Open").click()
    page.wait_for_url("**/model?**")
    page.goto(studio)
    page.get_by_text("arrays.mlpackage").first.click()
    page.get_by_role("tab", name="General").wait_for()


def test_light_and_dark(studio, page):
    page.goto(studio)
    page.get_by_role("button", name="Light or dark").click()
    page.locator("body.body--dark").wait_for()
    page.reload()
    page.locator("body.body--dark").wait_for()


# Accessibility


def in_both_designs(page, name):
    """What axe-core finds in the light and in the dark design."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # no colour on its way to another
        page.locator("body.body--dark").wait_for(state="attached" if scheme == "dark" else "detached")
        found += [f"{name}, {scheme}: {line}" for line in axe_violations(page)]
    return found


@pytest.mark.slow
def test_accessibility(studio, models, visit, page):
    """axe-core finds nothing on any page and tab, after each tab's own work."""
    page.goto(studio)
    page.get_by_role("heading", level=1).wait_for()
    found = in_both_designs(page, "start")
    for name, tab, work, done in (
        ("table", "General", None, "Parts"),
        ("colors", "Predictions", None, "predicted label"),
        ("colors", "Preview", "Sample picture", "Predicted in"),
        ("counter", "Preview", "Step", "1 step"),
        ("arrays", "Performance", "Measure", "Throughput by number in flight"),
        ("arrays", "Structure", "Measure", "outside the program's operations"),
        ("arrays", "Trace", "Record", "Chrome trace JSON"),
        ("arrays", "Cache", "Verify", "damaged"),
        ("nothing", "General", None, "no such file"),
    ):
        place = page if name == "nothing" else visit(models(name), tab)
        if name == "nothing":
            page.goto(f"{studio}model?path=/nothing.mlpackage")
        if tab == "Performance":
            place.get_by_label("Seconds of predictions").fill("0.1")
        if work is not None:
            place.get_by_role("button", name=work, exact=True).click()
        place.get_by_text(done).first.wait_for()
        page.mouse.move(0, 0)  # away from tooltips, which lie outside of the page's landmarks
        page.locator(".q-tooltip").wait_for(state="detached")
        assert page.locator("html").get_attribute("lang") == "en-US"
        assert page.get_by_role("heading", level=1).count() == 1
        found += in_both_designs(page, f"{name}, {tab}")
    assert found == []


def test_files_and_rows_by_keyboard(models, visit, page):
    page.on("filechooser", lambda chooser: None)  # choosers are caught from here on, not from the first key on
    place = visit(models("colors"), "Preview")
    drop = place.get_by_role("button", name="Drop pictures here, or click")
    drop.locator(".q-uploader").wait_for(state="attached")  # its component is loaded after the page
    for key in ("Enter", "Space"):
        drop.focus()
        assert drop.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
        with page.expect_file_chooser() as chooser:
            page.keyboard.press(key)
        assert chooser.value.is_multiple()
        chooser.value.set_files([])
    place = visit(models("colors"), "Structure")
    for key, kind in (("Enter", "reduce_mean"), ("Space", "softmax")):
        row = place.locator(".choice tbody tr", has_text=kind).first
        row.focus()
        page.keyboard.press(key)
        place.locator(".reasons", has_text=kind).get_by_text("could run on").wait_for()
        assert row.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"


def test_long_names_do_not_meet_the_icon(models, visit, page, tmp_path):
    path = tmp_path / f"{'a long name of a model ' * 9}.mlpackage"
    path.symlink_to(models("arrays"))
    for width in (1280, 420):
        page.set_viewport_size({"width": width, "height": 800})
        visit(path, "General")
        brand, name = page.locator(".brand").bounding_box(), page.locator("h1").bounding_box()
        icon = page.locator(".brand svg").bounding_box()
        assert icon["x"] + icon["width"] <= brand["x"] + brand["width"]
        beside = brand["x"] + brand["width"] <= name["x"]
        assert (beside or brand["y"] + brand["height"] <= name["y"]) and name["x"] + name["width"] <= width


# Files that are given


def test_a_file_of_another_kind_is_named(studio, models, visit, page):
    notes = {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"hello"}
    fake = {"name": "fake.png", "mimeType": "image/png", "buffer": b"hello"}
    place = visit(models("colors"), "Preview")
    drop(place, notes)
    place.get_by_role("alert").get_by_text(
        "notes.txt is a file of another kind, or a folder; this takes a picture"
    ).wait_for()
    drop(place, fake)
    place.get_by_role("alert").get_by_text("cannot read the picture: fake.png is in no format").wait_for()
    assert "BytesIO" not in place.inner_text()
    place = visit(models("table"), "Preview")
    drop(place, notes)
    place.get_by_role("alert").get_by_text("this takes .csv or text/csv").wait_for()
    page.goto(studio)
    drop(page, notes)
    page.get_by_role("alert").get_by_text("this takes .mlmodel or .zip").wait_for()


def test_several_pictures(models, visit):
    place = visit(models("colors"), "Preview")
    files = []
    for channel, name in enumerate(("red.png", "green.png", "blue.png")):
        pixels = np.zeros((24, 32, 3), np.uint8)
        pixels[..., channel] = 250
        files.append(png(pixels) | {"name": name})
    drop(place, files)
    place.get_by_text("3 predictions, each in").wait_for()
    results = place.locator("[data-results]")
    assert results.locator(".file-name").all_inner_texts() == ["red.png", "green.png", "blue.png"]
    assert results.locator(".answer").all_inner_texts() == ["apple", "pear", "quince"]


def test_a_sound_of_another_rate(models, visit):
    place = visit(models("loudness"), "Preview")
    drop(place, {"name": "x.wav", "mimeType": "audio/wav", "buffer": wav(0.5 * np.ones(44100), 44100)})
    place.get_by_text("x.wav: 16,000 samples (1.00 s) in 20 windows; 44.1 kHz, resampled to 16 kHz").wait_for()
    place.get_by_text("20 windows, from").wait_for()


@pytest.mark.parametrize("name", ["table", "arrays"])
def test_a_model_is_uploaded(name, studio, models, page, tmp_path):
    path = models(name)
    if path.is_dir():
        path = Path(shutil.make_archive(str(tmp_path / name), "zip", path.parent, path.name))
    page.goto(studio)
    drop(page, path)
    page.wait_for_url("**/model?path=*pippin-studio-*")
    page.get_by_role("heading", name=models(name).name).wait_for()
    folder = Path(parse_qs(urlsplit(page.url).query)["path"][0])
    assert folder.exists() and folder.parent.stat().st_mode & 0o077 == 0
    page.goto(studio)
    drop(page, {"name": "x.zip", "mimeType": "application/zip", "buffer": b"PK nothing"})
    page.get_by_role("alert").get_by_text("x.zip cannot be unpacked").wait_for()


# Names


def test_hostile_names(visit, page, tmp_path):
    """Every tab and both graphs show names as text: no script runs, no element appears, no control character is left."""
    dialogs = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    path = hostile_names.saved(hostile_names.classifier(), tmp_path)
    for tab in TABS:
        place = visit(path, tab)
        place.locator("section").first.wait_for()
        if tab == "Preview":
            place.get_by_role("button", name="Predict", exact=True).click()
            place.locator(".answer").wait_for()
        if tab == "Structure":
            place.get_by_text("a[/b]z", exact=True).first.wait_for()
            for button, words in (("Show Core ML", "activation"), ("Show lowered ONNX", "Relu")):
                place.get_by_role("button", name=button).click()
                place.frame_locator("iframe").get_by_text(words, exact=True).first.wait_for()
        text = page.locator("body").inner_text().replace("\t", " ")  # between cells
        assert not re.search(hostile_names.RAW, text)
        assert page.locator("img[onerror], [onmouseover], script:has-text('alert(1)')").count() == 0
        assert "49" not in page.locator("h1").inner_text()
    assert dialogs == []
