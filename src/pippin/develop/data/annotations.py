"""Annotations: boxes as Create ML, COCO, Pascal VOC and YOLO write them.

Create ML: a list of {"image", "annotations": [{"label", "coordinates": {x, y, width, height}}]}, x and y the centre in
pixels (https://developer.apple.com/documentation/createml/building-an-object-detector-data-source). COCO: {"images",
"annotations", "categories"}, boxes as left, top, width, height (https://cocodataset.org/#format-data). VOC: one XML
file for each image, corners in pixels from 1. YOLO: one text file for each image, lines of class, centre x, centre y,
width, height as shares of the image (https://docs.ultralytics.com/datasets/detect/).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from ...errors import DataError
from ...support.regular_files import read_regular
from .dataset import Box, Dataset, Example
from .folders import PICTURES

Annotated = Sequence[tuple[Path, Any]]


def is_coco(content: Any) -> bool:
    return isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys()


def is_create_ml(content: Any) -> bool:
    return (
        isinstance(content, list)
        and bool(content)
        and all(isinstance(each, dict) and _image_of(each) and isinstance(_boxes_of(each), list) for each in content)
    )


def _image_of(entry: Mapping[str, Any]) -> str | None:
    return entry.get("image") or entry.get("imagefilename")


def _boxes_of(entry: Mapping[str, Any]) -> Any:
    return entry.get("annotations", entry.get("annotation"))


def create_ml(path: Path, content: Any) -> Dataset:
    listed: list[tuple[Path, list[Box]]] = []
    for number, entry in enumerate(content, 1):
        with _reading(path, f"entry {number}"):
            boxes = [_centred(each["label"], each["coordinates"]) for each in _boxes_of(entry)]
            listed.append((_picture(path.parent, str(_image_of(entry))), boxes))
    return _detection(path, listed)


def _centred(label: str, at: Mapping[str, float]) -> Box:
    x, y, width, height = (float(at[name]) for name in ("x", "y", "width", "height"))
    return Box(str(label), x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def coco(path: Path, content: Any) -> Dataset:
    with _reading(path, "its categories and images"):
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        files = {each["id"]: str(each["file_name"]) for each in content["images"]}
    boxes: dict[Any, list[Box]] = {number: [] for number in files}
    for number, each in enumerate(content["annotations"], 1):
        with _reading(path, f"annotation {number}"):
            left, top, width, height = map(float, each["bbox"])
            boxes[each["image_id"]].append(Box(names[each["category_id"]], left, top, left + width, top + height))
    folder = next((path.parent / name for name in ("images", path.stem) if (path.parent / name).is_dir()), path.parent)
    listed = [(_picture(folder, file, path.parent), boxes[number]) for number, file in files.items()]
    return _detection(path, listed, tuple(names.values()))


def voc(folder: Path) -> Dataset:
    images = next((folder / name for name in ("JPEGImages", "images") if (folder / name).is_dir()), folder)
    listed = []
    for file in sorted((folder / "Annotations").glob("*.xml")):
        with _reading(file):
            root = ElementTree.fromstring(_without_entities(file))
            name = root.findtext("filename") or f"{file.stem}.jpg"
            boxes = [_corners(each) for each in root.iter("object")]
            listed.append((_picture(images, name), boxes))
    if not listed:
        raise DataError(f"{folder / 'Annotations'}: no .xml files")
    return _detection(folder, listed)


def _without_entities(file: Path) -> bytes:
    """An XML document that cannot grow: annotations declare no entities."""
    content = read_regular(file)
    if b"<!ENTITY" in content or b"<!DOCTYPE" in content:
        raise ValueError("it declares entities or a document type")
    return content


def _corners(entry: Any) -> Box:
    box = entry.find("bndbox")
    left, top, right, bottom = (float(box.findtext(name)) for name in ("xmin", "ymin", "xmax", "ymax"))
    return Box(str(entry.findtext("name")), left - 1, top - 1, right, bottom)  # pixels are counted from 1


def yolo(folder: Path, declared: Path | None) -> Dataset:
    names, images = _declared(declared) if declared is not None else ({}, folder / "images")
    files = sorted(each for each in images.rglob("*") if each.suffix.lower() in PICTURES)
    if not files:
        raise DataError(f"{images}: no pictures")

    def boxes(file: Path) -> list[Box]:
        label = Path(*("labels" if part == "images" else part for part in file.parts)).with_suffix(".txt")
        return _of_lines(label, names, _size(file)) if label.is_file() else []

    classes = tuple(names.values()) or _numbers(folder)

    def examples() -> Iterator[Example]:
        for file in files:
            yield Example(str(file.relative_to(folder)), file, boxes(file))

    return Dataset(folder.name, "detection", classes, len(files), examples, folder)


def _declared(file: Path) -> tuple[dict[int, str], Path]:
    """The class names and the folder of the images to evaluate with: `val`, else `test`, else `train`."""
    import yaml

    with _reading(file):
        content = yaml.safe_load(read_regular(file))
        names = content["names"]
        by_number = dict(enumerate(names)) if isinstance(names, list) else {int(k): v for k, v in names.items()}
        part = content.get("val") or content.get("test") or content["train"]
        root = file.parent / content.get("path", "")
        found = next((p for p in (root / part, file.parent / part) if p.is_dir()), None)
        if found is None:
            raise ValueError(f"its folder of images '{part}' does not exist")
        return {number: str(name) for number, name in by_number.items()}, found


def _numbers(folder: Path) -> tuple[str, ...]:
    """The classes of labels without names: those that occur."""
    found = set()
    for file in (folder / "labels").rglob("*.txt"):
        found |= {line.split()[0] for line in file.read_text().splitlines() if line.strip()}
    return tuple(sorted(found, key=lambda each: (len(each), each)))


def _of_lines(file: Path, names: Mapping[int, str], size: tuple[int, int]) -> list[Box]:
    boxes = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        with _reading(file, f"line {number}"):
            kind, x, y, width, height = (float(each) for each in line.split()[:5])
            at = {"x": x * size[0], "y": y * size[1], "width": width * size[0], "height": height * size[1]}
            boxes.append(_centred(names.get(int(kind), str(int(kind))), at))
    return boxes


def _size(file: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.size
    except OSError as error:
        raise DataError(f"{file} is no picture: {error}") from None


def _picture(folder: Path, name: str, other: Path | None = None) -> Path:
    """The file of that name inside the folder of the data."""
    for root in (folder, other):
        if root is not None and (found := root / name).is_file() and found.resolve().is_relative_to(root.resolve()):
            return found
    raise DataError(f"{folder / name}: no such picture in the folder of the data")


def _detection(path: Path, listed: Annotated, classes: tuple[str, ...] = ()) -> Dataset:
    root = path if path.is_dir() else path.parent
    classes = classes or tuple(sorted({box.label for _, boxes in listed for box in boxes}))

    def examples() -> Iterator[Example]:
        for file, boxes in listed:
            yield Example(str(file.relative_to(root)), file, boxes)

    return Dataset(path.name, "detection", classes, len(listed), examples, root)


@contextmanager
def _reading(file: Path, where: str = "") -> Iterator[None]:
    """Turn what a damaged entry makes of the code that reads it into a DataError that names it."""
    at = f"{file}, {where}" if where else str(file)
    try:
        yield
    except KeyError as error:
        raise DataError(f"{at}: {error} is missing") from None
    except (AttributeError, ElementTree.ParseError, OSError, TypeError, ValueError) as error:
        raise DataError(f"{at} cannot be read: {error}") from None
