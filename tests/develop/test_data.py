"""Data: each layout that people have is read, and a damaged one is named with file and line."""

import json

import numpy as np
import PIL.Image
import pytest

from pippin.develop.data import open_dataset
from pippin.develop.data.dataset import Box
from pippin.errors import DataError

SIZE = 40, 20  # width, height


def picture(path, color=(200, 10, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.new("RGB", SIZE, color).save(path)
    return path


def text(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


BOXES = [Box("cat", 4, 2, 14, 12), Box("dog", 20, 5, 40, 20)]


def coco(folder):
    picture(folder / "images" / "a.png")
    annotations = [
        {"id": n, "image_id": 7, "category_id": n + 1, "bbox": [b.left, b.top, b.right - b.left, b.bottom - b.top]}
        for n, b in enumerate(BOXES)
    ]
    content = {
        "images": [{"id": 7, "file_name": "a.png"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": annotations,
    }
    return text(folder / "all.json", json.dumps(content))


def create_ml(folder):
    picture(folder / "a.png")
    boxes = [
        {"label": b.label, "coordinates": {"x": (b.left + b.right) / 2, "y": (b.top + b.bottom) / 2,
                                           "width": b.right - b.left, "height": b.bottom - b.top}}
        for b in BOXES
    ]  # fmt: skip
    return text(folder / "annotations.json", json.dumps([{"image": "a.png", "annotations": boxes}])).parent


def voc(folder):
    picture(folder / "JPEGImages" / "a.png")
    objects = "".join(
        f"<object><name>{b.label}</name><bndbox><xmin>{b.left + 1}</xmin><ymin>{b.top + 1}</ymin><xmax>{b.right}</xmax>"
        f"<ymax>{b.bottom}</ymax></bndbox></object>"
        for b in BOXES
    )
    xml = f"<annotation><filename>a.png</filename>{objects}</annotation>"
    return text(folder / "Annotations" / "a.xml", xml).parent.parent


def yolo(folder):
    picture(folder / "images" / "val" / "a.png")
    lines = [
        f"{n} {(b.left + b.right) / 2 / 40} {(b.top + b.bottom) / 2 / 20} {(b.right - b.left) / 40} {(b.bottom - b.top) / 20}"
        for n, b in enumerate(BOXES)
    ]
    text(folder / "labels" / "val" / "a.txt", "\n".join(lines))
    return text(folder / "data.yaml", "val: images/val\nnames: [cat, dog]\n").parent


@pytest.mark.parametrize("layout", [coco, create_ml, voc, yolo])
def test_boxes(layout, tmp_path):
    data = open_dataset(layout(tmp_path))
    assert (data.task, data.classes, len(data)) == ("detection", ("cat", "dog"), 1)
    (example,) = data
    assert example.value.name == "a.png"
    assert [box.label for box in example.truth] == ["cat", "dog"]
    np.testing.assert_allclose([box[1:] for box in example.truth], [box[1:] for box in BOXES], atol=1e-5)


def test_a_folder_for_each_class(tmp_path):
    for name in ("b/2.png", "a/1.png", "a/deeper/3.jpg"):
        picture(tmp_path / name)
    text(tmp_path / "a" / "notes.md", "no example")
    data = open_dataset(tmp_path)
    assert (data.task, data.classes) == ("classification", ("a", "b"))
    assert [(e.name, e.truth) for e in data] == [("a/1.png", "a"), ("a/deeper/3.jpg", "a"), ("b/2.png", "b")]
    assert [e.name for e in data] == [e.name for e in data]


def test_texts(tmp_path):
    text(tmp_path / "good" / "1.txt", "a fine day")
    text(tmp_path / "bad" / "1.txt", "rain")
    assert {(e.value, e.truth) for e in open_dataset(tmp_path)} == {("a fine day", "good"), ("rain", "bad")}


def test_masks(tmp_path):
    picture(tmp_path / "images" / "a.png")
    picture(tmp_path / "masks" / "a.png")
    (example,) = open_dataset(tmp_path)
    assert example.truth.parent.name == "masks"


ROWS = [{"x": 1, "y": 2.5, "label": "red"}, {"x": 2, "y": 3.5, "label": "blue"}]


def parquet(path):
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)


TABLES = {
    "t.csv": lambda p: text(p, "x,y,label\n1,2.5,red\n2,3.5,blue\n"),
    "t.tsv": lambda p: text(p, "x\ty\tlabel\n1\t2.5\tred\n2\t3.5\tblue\n"),
    "t.json": lambda p: text(p, json.dumps(ROWS)),
    "t.jsonl": lambda p: text(p, "\n".join(map(json.dumps, ROWS))),
    "t.parquet": parquet,
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(name, tmp_path):
    TABLES[name](tmp_path / name)
    data = open_dataset(tmp_path / name)
    assert (data.task, data.classes, len(data)) == ("classification", ("blue", "red"), 2)
    assert [(e.value, e.truth) for e in data] == [({"x": 1, "y": 2.5}, "red"), ({"x": 2, "y": 3.5}, "blue")]


def test_a_column_of_numbers_is_a_quantity(tmp_path):
    text(tmp_path / "t.csv", "x,price\n1,2.5\n2,3.25\n")
    data = open_dataset(tmp_path / "t.csv")
    assert data.task == "regression" and [e.truth for e in data] == [2.5, 3.25]
    assert open_dataset(tmp_path / "t.csv", label="x").task == "classification"


def test_pairs():
    data = open_dataset(({"x": n}, n % 2) for n in range(5))
    assert data.count is None and [e.truth for e in data] == [0, 1, 0, 1, 0]
    assert len(open_dataset([({"x": 1}, "a")])) == 1


DAMAGED = {
    "nothing there": (lambda f: f / "none", r"none: no such file or folder"),
    "an empty folder": (lambda f: f, r"no layout that is known"),
    "an empty class": (lambda f: (picture(f / "a" / "1.png"), (f / "b").mkdir(), f)[-1], r"no files in the folder of the class 'b'"),
    "folders of nothing": (lambda f: (text(f / "a" / "x.md", ""), f)[-1], r"no pictures, sounds or texts"),
    "no mask": (lambda f: (picture(f / "images" / "a.png"), (f / "masks").mkdir(), f)[-1], r"1 images have no mask"),
    "JSON cut off": (lambda f: text(f / "t.json", '[{"x": 1'), r"t.json is not a JSON file"),
    "JSON nested too deep": (lambda f: text(f / "t.json", "[" * 100_000), r"t.json is not a JSON file"),
    "a line that is no JSON": (lambda f: text(f / "t.jsonl", '{"x": 1, "label": 2}\n{"x"'), r"t.jsonl, line 2"),
    "a list of numbers": (lambda f: text(f / "t.json", "[1, 2]"), r"entry 1: expected an object, got int"),
    "a row too short": (lambda f: text(f / "t.csv", "x,label\n1,a\n2\n"), "row 3: 1 cells, and the header has 2"),
    "two columns of a name": (lambda f: text(f / "t.csv", "x,x,label\n1,2,a\n"), "two columns are named 'x'"),
    "an empty label": (lambda f: text(f / "t.csv", "x,label\n1,a\n2,\n"), r"row 2: 'label' is empty"),
    "no rows": (lambda f: text(f / "t.csv", "x,label\n"), r"the table has no rows"),
    "not UTF-8": (lambda f: ((f / "t.csv").write_bytes(b"x,label\n\xff\xfe,a\n"), f / "t.csv")[-1], r"is not a CSV file"),
    "an unknown kind": (lambda f: text(f / "t.doc", ""), r"not a kind of data that is known"),
    "no Parquet": (lambda f: text(f / "t.parquet", "PAR1"), r"is not a Parquet file"),
    "a picture that is gone": (lambda f: (create_ml(f), (f / "a.png").unlink(), f)[-1], r"a.png: no such picture"),
    "a picture outside": (lambda f: (create_ml(f), text(f / "annotations.json", '[{"image": "../a.png", "annotations": []}]'), f)[-1], r"no such picture in the folder"),
    "no coordinates": (lambda f: (create_ml(f), text(f / "annotations.json", '[{"image": "a.png", "annotations": [{"label": "a"}]}]'), f)[-1], r"entry 1: 'coordinates' is missing"),
    "an unknown category": (lambda f: text(coco(f), coco(f).read_text().replace('"category_id": 1', '"category_id": 9')), r"annotation 1: 9 is missing"),
    "XML cut off": (lambda f: (text(voc(f) / "Annotations" / "a.xml", "<annotation>"), f)[-1], r"a.xml cannot be read"),
    "entities": (lambda f: (text(voc(f) / "Annotations" / "a.xml", '<!DOCTYPE x [<!ENTITY a "b">]><x/>'), f)[-1], r"declares entities"),
    "a class of no name": (lambda f: (yolo(f), text(f / "labels" / "val" / "a.txt", "cat 1 2 3 4"), f)[-1], r"a.txt, line 1 cannot be read"),
    "YAML without names": (lambda f: (yolo(f), text(f / "data.yaml", "val: images/val"), f)[-1], r"data.yaml: 'names' is missing"),
    "no folder of pictures": (lambda f: (yolo(f), text(f / "data.yaml", "val: other\nnames: [a]"), f)[-1], r"'other' does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_data(name, tmp_path):
    make, message = DAMAGED[name]
    path = make(tmp_path)
    with pytest.raises(DataError, match=message):
        list(open_dataset(path))


def test_other_things_than_data():
    with pytest.raises(DataError, match=r"a path or an iterable of \(features, truth\), got int"):
        open_dataset(3)
    with pytest.raises(DataError, match=r"example 1: expected \(features, truth\), got int"):
        list(open_dataset([({"x": 1}, 2), 3]))


def test_a_column_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"no column 'nothing' \(columns: x, label\)"):
        open_dataset(text(tmp_path / "t.csv", "x,label\n1,a\n"), label="nothing")
