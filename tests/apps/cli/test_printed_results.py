"""What commands print of outputs, operations and features, and the bar of a load."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import PIL.Image

from pippin.apps.cli.annotate import Seen
from pippin.apps.cli.loading_bar import loading_bar
from pippin.apps.cli.operation_tables import Row, print_operations
from pippin.apps.cli.print_results import View, print_result, print_row
from pippin.features.image_input import ImageInput
from pippin.format.description import (
    ColorSpace,
    Double,
    EnumeratedShapes,
    FeatureDescription,
    FunctionDescription,
    Image,
    Metadata,
    ModelDescription,
    MultiArray,
    ShapeRange,
    SizeRange,
    State,
    String,
)
from pippin.program.summary import feature_summary
from pippin.specialization.progress import Progress
from pippin.types import DataType


def test_the_fields_of_features():
    """What programs read of each kind of feature."""
    ranged = ShapeRange((SizeRange(1, 1), SizeRange(2, None)))
    kinds = {
        "array": (MultiArray(DataType.FLOAT16, (1, 2), ranged, 0.5), ["float16", [1, 2], [[1, 1], [2, None]], 0.5]),
        "enumerated": (MultiArray(DataType.INT32, (3,), EnumeratedShapes(((3,), (4,)))), ["int32", [3], None, None]),
        "no shape": (MultiArray(DataType.FLOAT32), ["float32", None, None, None]),
        "state": (State(MultiArray(DataType.FLOAT16, (2,))), ["float16", [2], None, None]),
        "image": (
            Image(8, 6, ColorSpace.RGB, (SizeRange(8, 16), SizeRange(6, None))),
            ["uint8", [6, 8], [[6, None], [8, 16]], None],
        ),
        "number": (Double(), ["float64", None, None, None]),
        "text": (String(), ["string", None, None, None]),
    }
    for name, (kind, expected) in kinds.items():
        found = feature_summary(FeatureDescription(name, kind))
        assert [found[field] for field in ("dtype", "shape", "range", "default")] == expected, name
        json.dumps(found)
    sizes = Image(8, 6, ColorSpace.GRAYSCALE_FLOAT16, ((8, 6), (4, 2)))
    assert feature_summary(FeatureDescription("x", sizes))["shapes"] == [[6, 8], [2, 4]]


def test_a_detector_and_a_segmentation(capsys):
    """What is printed of outputs that a model's task gives a meaning; names are not markup."""
    picture = FeatureDescription("image", Image(8, 8, ColorSpace.RGB))
    names = Metadata(user_defined={"names": json.dumps({"0": "a [b]", "1": "dog"})})

    def view(*outputs):
        function = FunctionDescription("main", (picture,), outputs)
        return View(ModelDescription((function,), "main", names, 8, "mlProgram"), function)

    detector = view(*(FeatureDescription(n, MultiArray(DataType.FLOAT32)) for n in ("confidence", "coordinates")))
    boxes = {
        "confidence": np.array([[0.1, 0.5], [0.75, 0.2]], np.float32),
        "coordinates": np.array([[0.5, 0.5, 0.5, 0.25], [0.25, 0.25, 0.5, 0.5]], np.float32),
    }
    print_result(boxes, detector)
    print_row("x[red].png", boxes, detector)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[2:4] == [
        ["a", "[b]", "75.0%", "0.0%", "0.0%", "50.0%", "50.0%"],
        ["dog", "50.0%", "25.0%", "37.5%", "75.0%", "62.5%"],
    ]
    assert lines[4] == ["x[red].png", "a", "[b]", "75.0%,", "dog", "50.0%"]
    shifted = {"confidence": boxes["confidence"][:1], "coordinates": np.array([[0.5, 0.5, 0.5, 0.5]])}
    letterboxed = ImageInput(PIL.Image.new("RGB", (400, 200)), "scale_fit")
    print_result(shifted, detector, Seen.of(detector, {"image": letterboxed}, {}, "scale_fit").placed)
    row = next(line for line in capsys.readouterr().out.splitlines() if "dog" in line)
    assert row.split() == ["dog", "50.0%", "25.0%", "0.0%", "75.0%", "100.0%"]
    print_result({name: array[:0] for name, array in boxes.items()}, detector)
    assert "nothing found" in capsys.readouterr().out
    mask = np.zeros((16, 16), np.int32)
    mask[:4] = 1
    print_result({"mask": mask}, view(FeatureDescription("mask", MultiArray(DataType.INT32, (16, 16)))))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[2:] == [["a", "[b]", "75.0%"], ["dog", "25.0%"]]


def test_the_slowest_operations_and_the_sums_by_kind(capsys):
    rows = [Row(f"op[{n}]", "conv" if n % 2 else "add", (f"{n}",), n / 66) for n in range(12)]
    print_operations(rows, ("cost",), every=False)
    out = capsys.readouterr().out
    assert "the 10 slowest of 12" in out and "op[11]" in out and "op[1] " not in out and "--operations" in out
    assert ["conv", "6", "54.5%"] in [line.split() for line in out.splitlines()]
    print_operations(rows, ("cost",), every=True)
    out = capsys.readouterr().out
    assert "op[0]" in out and "--operations" not in out


def test_the_bar_of_a_load(monkeypatch):
    """On a terminal, after a second, and never after the load."""
    shown = []

    class Clock:
        daemon = False

        def __init__(self, seconds, show):
            assert seconds == 1.0
            shown.append(show)

        start = cancel = lambda self: None

    monkeypatch.setattr("pippin.apps.cli.loading_bar.Timer", Clock)
    with loading_bar() as progress:
        assert progress is None and not shown  # the tests' standard error is not a terminal
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with loading_bar() as progress:
        progress(Progress("lower", 0.1, None))
        assert screen.getvalue() == ""
        shown[0]()
        progress(Progress("compile", 0.2, None))
    assert "lower" in screen.getvalue()
    before = screen.getvalue()
    shown[0]()
    assert screen.getvalue() == before
