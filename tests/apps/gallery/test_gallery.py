"""Gallery: its photos, its tiles, the colorizer against what is easier, and the two designs."""

from __future__ import annotations

import asyncio
import io
import json
from contextlib import closing
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import pippin
from colorizer.measure import as_gray, by_model, held_out, score, tinted
from pippin.apps.cli import app
from pippin.apps.gallery.colorizer import Async, Counted, Serial
from pippin.apps.gallery.cut_tiles import MODEL, SIDE, gray_file, gray_input, tiles
from pippin.apps.gallery.headless_comparison import SCREEN, compare
from pippin.apps.gallery.photos import PHOTOS, Photo
from pippin.errors import ConfigurationError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """The model is specialized once for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PIPPIN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def model(cache):
    with pippin.load(MODEL) as loaded:
        yield loaded


def test_the_colorizer_is_nearer_than_gray_and_than_the_best_tint(model):
    """On what no training step saw in colour, by scikit-image's CIELAB."""
    crops = held_out()
    assert len(crops) >= 25
    found, gray, tint = score(crops, by_model(model)), score(crops, as_gray), score(crops, tinted(crops))
    assert found.ab < 0.7 * min(gray.ab, tint.ab)
    assert found.psnr > max(gray.psnr, tint.psnr) + 3


def test_the_colorizer_keeps_the_gray(model):
    """Its output in gray is its input, but where a strong colour does not fit into RGB."""
    for crop in held_out()[::8]:
        gray = crop.convert("L")
        back = np.asarray(by_model(model)(gray).convert("L")).astype(int)
        assert np.median(abs(back - np.asarray(gray))) <= 1


def test_the_model_is_small_and_float16():
    size = sum(file.stat().st_size for file in MODEL.rglob("*") if file.is_file())
    assert size <= 6e6
    result = CliRunner().invoke(app, ["inspect", str(MODEL), "--json"])
    assert result.exit_code == 0
    assert "mlProgram" in result.output


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_the_cells_cover_a_photo_once(photo):
    covered = np.zeros(photo.open().size[::-1], int)
    for (left, top, right, bottom), _ in photo.cells():
        covered[top:bottom, left:right] += 1
    assert (covered == 1).all()
    share = np.mean([held for _, held in photo.cells()])
    assert share == 1 if photo.held_out else 0.25 <= share <= 0.4


def test_a_held_out_tile_shows_nothing_that_was_seen():
    wall = tiles()
    assert len(wall) >= 400 and len({(t.photo.name, t.box, t.mirrored) for t in wall}) > 0.9 * len(wall)
    for tile in (tile for tile in wall if tile.held_out and not tile.photo.held_out):
        left, top, right, bottom = tile.box
        (cell,) = [c for c, _ in tile.photo.cells() if c[0] <= left < c[2] and c[1] <= top < c[3]]
        assert right <= cell[2] and bottom <= cell[3]
        assert dict(tile.photo.cells())[cell], "the cell was held out"
    assert tiles() == wall
    assert all(a.photo is not b.photo for a, b in pairwise(wall))


def test_a_tile_in_gray():
    tile = next(tile for tile in tiles() if tile.mirrored)
    photo = gray_input(gray_file(tile))
    assert (photo.mode, photo.size) == ("L", (SIDE, SIDE))
    left, top, right, bottom = tile.box
    piece = tile.photo.open().convert("L").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    width = piece.width
    expected = piece.crop((width - right, top, width - left, bottom)).resize((SIDE, SIDE))
    assert abs(np.asarray(photo).astype(int) - np.asarray(expected)).mean() < 2  # JPEG


def test_a_missing_package_is_told():
    with pytest.raises(ConfigurationError, match=r"package no_such_package, which is not installed.*pippin\[demo\]"):
        Photo("x", "no_such_package", "x.png", "X", "CC0", "nobody").open()


def test_async_cancels_what_is_no_longer_wanted():
    wanted, unwanted = tiles(30)[:2], tiles(30)[2:]

    async def work(counted):
        kept = [asyncio.create_task(counted.colorize(tile)) for tile in wanted]
        gone = [asyncio.create_task(counted.colorize(tile)) for tile in unwanted]
        await kept[0]
        for task in gone:
            task.cancel()
        return await asyncio.gather(*kept), await asyncio.gather(*gone, return_exceptions=True)

    with closing(Async(max_in_flight=1)) as colorizer:
        counted = Counted(colorizer)
        made, ended = asyncio.run(work(counted))
        cancelled = sum(isinstance(end, asyncio.CancelledError) for end in ended)
        assert cancelled >= len(unwanted) // 2, "one at a time: most of them had not begun"
        assert (counted.counts.asked, counted.counts.cancelled) == (30, cancelled)
        assert (counted.counts.done, counted.counts.under_way) == (30 - cancelled, 0)
        statistics = colorizer.model.statistics()
        assert statistics.completed < 30
    for file in made:
        colours = np.asarray(Image.open(io.BytesIO(file)).convert("YCbCr"))[..., 1:]
        assert colours.shape == (SIDE, SIDE, 2) and abs(colours.astype(int) - 128).max() > 20


def test_serial_works_on_for_nobody(monkeypatch):
    begun = []
    monkeypatch.setattr("pippin.apps.gallery.colorizer.gray_input", lambda file: begun.append(file) or gray_input(file))

    async def work(counted):
        tasks = [asyncio.create_task(counted.colorize(tile)) for tile in tiles(6)]
        await tasks[0]
        for task in tasks[1:5]:
            task.cancel()
        await tasks[5]

    with closing(Serial()) as colorizer:
        counted = Counted(colorizer)
        asyncio.run(work(counted))
    assert len(begun) == 6, "also what was cancelled was predicted, before the last one got its turn"
    assert (counted.counts.done, counted.counts.cancelled) == (2, 4)


def test_both_designs_give_the_same_picture():
    async def work(colorizer):
        return await colorizer.colorize(tiles(1)[0])

    made = []
    for make in (Serial, lambda: Async(2)):
        with closing(make()) as colorizer:
            made.append(np.asarray(Image.open(io.BytesIO(asyncio.run(work(colorizer))))).astype(int))
    assert abs(made[0] - made[1]).mean() < 2  # of another engine or in bfloat16, perhaps


def test_the_comparison_counts_every_tile():
    told = []
    runs = compare(screens=3, dwell=0.0, max_in_flight=1, progress=told.append)
    assert [run.name for run in runs] == told == ["serial", "async", "async, cancelling"]
    for run in runs:
        assert run.coloured + run.cancelled == 3 * SCREEN
        assert 0 < run.waited <= run.scroll and run.screen > 0 and 0 <= run.busy <= 1
    serial, parallel, cancelling = runs
    assert serial.cancelled == parallel.cancelled == 0
    assert SCREEN <= cancelling.coloured < 3 * SCREEN, "nobody looked at the first screens for long"


def test_headless_prints_and_writes(tmp_path):
    picture = tmp_path / "grid.png"
    arguments = ["demo", "--headless", "--screens", "1", "--picture", str(picture)]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [run["name"] for run in told["runs"]] == ["serial", "async", "async, cancelling"]
    assert told["tiles"] == SCREEN
    pixels = np.asarray(Image.open(picture)).astype(int)
    colour = pixels.max(-1) - pixels.min(-1)
    height = len(pixels)
    assert colour[: height // 5, : pixels.shape[1] // 3].mean() < 8, "gray at the top left, but for the wall itself"
    assert colour[height // 2 :].mean() > 20, "coloured below"
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0
    assert "with cancellation" in result.output and "cores busy" in result.output


def test_a_picture_that_cannot_be_written(tmp_path):
    result = CliRunner().invoke(app, ["demo", "--headless", "--screens", "1", "--picture", str(tmp_path / "grid.doc")])
    assert isinstance(result.exception, ConfigurationError)
    assert "grid.doc" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_json_needs_headless():
    result = CliRunner().invoke(app, ["demo", "--json"])
    assert result.exit_code == 2
