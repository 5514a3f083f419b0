"""Cases: the predictions of one command: one, or one for each file, row of a table or window of a sound."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import ConfigurationError, FeatureShapeError, FeatureValueError
from ...features.files import is_read
from ...features.image_input import Resize
from ...features.sound import is_sound
from ...format.description import FeatureDescription, FunctionDescription, Image, MultiArray
from ...support.regular_files import is_regular, open_regular
from .parse_inputs import read_inputs, read_value
from .sound_input import SoundOptions, Window, sound_windows, takes_sound
from .standard_input import standard_input
from .table_rows import is_table, table_rows

_PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


@dataclass(frozen=True, slots=True)
class Case:
    """One prediction: its inputs, and what tells it from the others."""

    features: Mapping[str, Any]
    name: str = ""
    """What is printed in front of its results; "" for the only one."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Its file, row or seconds, for programs."""
    begins: bool = True
    """Whether it has a new memory; else it continues the case before it."""
    files: Mapping[str, Path] = field(default_factory=dict)
    """The files that single inputs were read from."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How the arguments of a command are read."""

    function: FunctionDescription
    resize: Resize | None = None
    notice: Callable[[str], object] = lambda text: None
    sound: SoundOptions = field(default_factory=SoundOptions)

    def input(self, name: str) -> FeatureDescription:
        return next(feature for feature in self.function.inputs if feature.name == name)

    def of_file(self, file: Path) -> Reading:
        """The reading whose notices name a file."""
        return Reading(self.function, self.resize, lambda text: self.notice(f"{file.name}: {text}"), self.sound)


@dataclass(frozen=True, slots=True)
class Cases:
    """The cases, and some of their features, to be checked before a model is compiled."""

    each: Callable[[], Iterator[Case]]
    checked: Sequence[Mapping[str, Any]]
    several: bool = True
    windowed: bool = False
    """Whether the cases continue each other."""
    given: tuple[Path, ...] = ()
    """The files that are read."""


def read_cases(arguments: list[str], reading: Reading) -> Cases:
    """Parse the arguments: an input that is given several times, or as a folder, has several files; a table without a
    name has the inputs of several predictions. Raises what `read_inputs` raises, and ConfigurationError if several
    inputs have several files."""
    sorted_ = _sorted(arguments, reading.function)
    texts = sorted_.texts
    many = {name: several for name, found in texts.items() if (several := _files(reading.input(name), found))}
    if len(many) + len(sorted_.tables) > 1:
        names = ", ".join([*many, *map(str, sorted_.tables)])
        raise ConfigurationError(f"only one --input can have several files or rows, got {names}")
    single = {name: found[0] for name, found in texts.items() if name not in many}
    sounds = {name for name, text in single.items() if takes_sound(reading.input(name), text)}
    others = sorted_.others + [f"{name}={text}" for name, text in single.items() if name not in sounds]
    shared = read_inputs(others, reading.function, reading.resize, reading.notice)
    files = {name: Path(text).expanduser() for name, text in single.items()}
    if sorted_.tables:
        return _of_table(sorted_.tables[0], shared, reading)
    for name, each in many.items():
        return _of_files(name, each, shared, files, reading)
    return _of_sounds(sounds, shared, files, reading)


@dataclass(frozen=True, slots=True)
class _Sorted:
    """The arguments of a command by what they are."""

    texts: dict[str, list[str]]
    """Of the inputs that can be files."""
    others: list[str]
    tables: list[Path]


def _sorted(arguments: list[str], function: FunctionDescription) -> _Sorted:
    sized = {feature.name for feature in function.inputs if isinstance(feature.type, Image | MultiArray)}
    found = _Sorted({}, [], [])
    for argument in arguments:
        name, separator, text = argument.partition("=")
        if separator and name in sized:
            found.texts.setdefault(name, []).append(str(standard_input(name)) if text == "-" else text)
        elif separator:
            found.others.append(argument)
        else:
            path = standard_input("the inputs") if argument == "-" else Path(argument).expanduser()
            if is_regular(path) and is_table(path):
                found.tables.append(path)
            else:
                found.others.append(str(path))
    return found


def _of_table(path: Path, shared: Mapping[str, Any], reading: Reading) -> Cases:
    def read(text: str, feature: FeatureDescription) -> Any:
        if text == "-":
            raise FeatureValueError(f"'{feature.name}': '-' is not a value")
        return read_value(text, feature, reading.resize, reading.notice)

    rows = table_rows(path, reading.function, read, reading.notice)
    listed = [Case({**shared, **row}, f"row {number}", {"row": number}) for number, row in enumerate(rows, 1)]
    return Cases(lambda: iter(listed), [case.features for case in listed], given=(path,))


def _of_files(
    name: str, files: tuple[Path, ...], shared: Mapping[str, Any], others: Mapping[str, Path], reading: Reading
) -> Cases:
    feature = reading.input(name)

    def each() -> Iterator[Case]:
        for file in files:
            own = reading.of_file(file)
            if takes_sound(feature, file.name):
                yield from _windows(feature, file, shared, {"file": str(file)}, own)
            else:
                value = read_value(str(file), feature, reading.resize, own.notice)
                read_from = {**others, name: file}
                yield Case({**shared, name: value}, file.name, {"file": str(file)}, files=read_from)

    if isinstance(feature.type, Image):
        for file in files:
            _check_picture(file, name, feature.type, reading.resize)
    windowed = any(takes_sound(feature, file.name) for file in files)
    # Sounds are read when it is their turn.
    first = None if windowed else read_value(str(files[0]), feature, reading.resize)
    return Cases(each, [{**shared, name: first}], windowed=windowed, given=files)


def _of_sounds(
    sounds: Collection[str], shared: Mapping[str, Any], files: Mapping[str, Path], reading: Reading
) -> Cases:
    """One prediction, or one for each window of a sound."""
    read = {name: sound_windows(files[name], reading.input(name), reading.sound, reading.notice) for name in sounds}
    long = [name for name, windows in read.items() if len(windows) > 1]
    if len(long) > 1:
        raise ConfigurationError(f"only one --input can be longer than the model takes, got {', '.join(long)}")
    shared = {**shared, **{name: windows[0].samples for name, windows in read.items()}}
    given = tuple(files.values())
    if not long:
        return Cases(lambda: iter([Case(shared, files=files)]), [shared], several=False, given=given)
    listed = list(_cases_of(long[0], read[long[0]], shared, {}, ""))
    return Cases(lambda: iter(listed), [shared], windowed=True, given=given)


def _windows(
    feature: FeatureDescription, file: Path, shared: Mapping[str, Any], facts: Mapping[str, Any], reading: Reading
) -> Iterator[Case]:
    return _cases_of(
        feature.name, sound_windows(file, feature, reading.sound, reading.notice), shared, facts, file.name
    )


def _cases_of(
    name: str, windows: list[Window], shared: Mapping[str, Any], facts: Mapping[str, Any], title: str
) -> Iterator[Case]:
    for number, window in enumerate(windows):
        span = {"from": round(window.start, 6), "to": round(window.end, 6)}
        shown = f"{title} {window.span}".strip() if len(windows) > 1 else title
        yield Case({**shared, name: window.samples}, shown, {**facts, **span}, begins=number == 0)


def _files(feature: FeatureDescription, texts: list[str]) -> tuple[Path, ...]:
    """The files of an input; none if it is a single file or value. Raises FeatureValueError for a missing file."""
    name = feature.name
    folders = [Path(text).expanduser().is_dir() for text in texts]
    if len(texts) == 1 and not folders[0]:
        return ()
    found: list[Path] = []
    for text, is_folder in zip(texts, folders, strict=True):
        path = Path(text).expanduser()
        inside = sorted(p for p in path.iterdir() if _fits(feature, p)) if is_folder else [path]
        if not inside:
            what = "pictures" if isinstance(feature.type, Image) else "arrays, pictures or sounds"
            raise FeatureValueError(f"'{name}': no {what} in the folder {path}")
        missing = next((p for p in inside if not p.is_file()), None)
        if missing is not None:
            raise FeatureValueError(f"'{name}': file not found: {missing}")
        found += inside
    return tuple(found)


def _fits(feature: FeatureDescription, path: Path) -> bool:
    if path.name.startswith("."):
        return False
    if isinstance(feature.type, Image):
        return path.suffix.lower() in _PICTURES
    return is_read(path) or is_sound(path.name)


def _check_picture(file: Path, name: str, kind: Image, resize: Resize | None) -> None:
    """Raise FeatureError for a file that is not a picture or, with `--resize error`, has a wrong size."""
    import PIL.Image

    if file.suffix.lower() not in _PICTURES:
        return
    try:
        with open_regular(file) as opened, PIL.Image.open(opened) as picture:
            size = picture.size
    except Exception as error:  # Pillow's readers raise anything for a damaged file
        raise FeatureValueError(f"'{name}': {file} cannot be read as an image: {error}") from None
    if resize == "error" and not kind.allows(size):
        shown = f"{size[0]} x {size[1]}"
        raise FeatureShapeError(
            f"'{name}': {file} has {shown} pixels (width x height), and must have {kind.allowed}; --resize scale_fill"
            " stretches it"
        )
    if math.prod(size) == 0:
        raise FeatureValueError(f"'{name}': {file} has no pixels")
