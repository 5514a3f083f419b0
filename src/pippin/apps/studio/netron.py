"""Netron: serves a model and Netron's own files, so that the graph viewer runs offline in a frame.

The page reports version 0.0.0, which disables telemetry and update checks, and sets the consent cookie, which disables
the geolocation request. The server's content security policy would block these requests anyway.
"""

from __future__ import annotations

import importlib.util
import mimetypes
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import FastAPI, Response
from fastapi.responses import FileResponse

if TYPE_CHECKING:
    from .open_models import Opened

_FOLDER = "/netron"
_KEPT = 4
_WEIGHTS = 512 << 20  # bytes of weights that are given to the page; it holds them in memory
_CORE_ML = (".mlmodel", ".mlpackage")
# Netron's page forbids eval in a policy of its own; it needs inline styles.
_VERSION = re.compile(r'<meta name="version" content="[^"]*">')


@dataclass(frozen=True, slots=True)
class Form:
    """A form of a model that Netron draws. `write` returns the address of the viewer."""

    fits: Callable[[Opened], bool]
    write: Callable[[Opened], str]


@dataclass(frozen=True, slots=True)
class _Shown:
    """A model for the viewer: the name it has there, and its files by their address below it."""

    identifier: str
    files: Mapping[str, bytes | Path]


_shown: dict[str, _Shown] = {}


def installed() -> bool:
    return importlib.util.find_spec("netron") is not None


def _is_core_ml(opened: Opened) -> bool:
    return opened.path.suffix.lower() in _CORE_ML


def _core_ml(opened: Opened) -> str:
    """The file as it is. Weights of a program lie in other files, which Netron asks for by their path."""
    if opened.path.is_file():
        return _kept(opened, ".mlmodel", {"model.mlmodel": opened.path})
    from ...format.mlpackage import inside, open_package

    package = open_package(opened.path)
    folder = package.specification.parent
    files: dict[str, bytes | Path] = {"model.mlmodel": package.specification}
    for path in sorted(folder.rglob("*.bin")):
        if inside(package.path, path).is_file() and path.stat().st_size <= _WEIGHTS:
            files[str(path.relative_to(folder))] = path
    return _kept(opened, ".mlmodel", files)


def _onnx(opened: Opened) -> str:
    """The model as the engines receive it. Raises UnsupportedError over 2 GiB."""
    from ...errors import UnsupportedError
    from ...lowering.external_data import is_large, whole
    from ...specialization.specializer import lower_function

    lowered = lower_function(opened.asset, opened.configuration)
    if is_large(lowered.model):
        raise UnsupportedError(
            f"{opened.path.name} exceeds 2 GiB as ONNX; write it with `pippin export` and open the file in Netron"
        )
    return _kept(opened, ".onnx", {"model.onnx": whole(lowered.model).SerializeToString()})


FORMS = {"Core ML": Form(_is_core_ml, _core_ml), "lowered ONNX": Form(lambda opened: True, _onnx)}


def _kept(opened: Opened, suffix: str, files: Mapping[str, bytes | Path]) -> str:
    name = uuid4().hex
    _shown[name] = _Shown(re.sub(r"[^\w.-]", "_", opened.path.stem) + suffix, files)
    while len(_shown) > _KEPT:
        del _shown[next(iter(_shown))]
    return f"{_FOLDER}/{name}/"


def mount(application: FastAPI) -> None:
    """Add the routes for Netron's own files and for the models that are shown."""

    @application.get(_FOLDER + "/{name}/{file:path}")
    def answer(name: str, file: str) -> Response:
        spec = importlib.util.find_spec("netron")
        if name not in _shown or spec is None or spec.origin is None:
            return Response(status_code=404)
        shown, file = _shown[name], file.lstrip("/")
        if file in shown.files:
            found = shown.files[file]
            kind = "application/octet-stream"
            return FileResponse(found, media_type=kind) if isinstance(found, Path) else Response(found, media_type=kind)
        folder = Path(spec.origin).parent
        path = (folder / (file or "index.html")).resolve()
        if folder.resolve() not in path.parents or not path.is_file() or path.suffix == ".py":
            return Response(status_code=404)
        content: Any = path.read_bytes()
        made = Response(content, media_type=mimetypes.guess_type(path.name)[0] or "text/plain")
        if path.name == "index.html":
            meta = f'<meta name="version" content="0.0.0"><meta name="file" content="{next(iter(shown.files))}">'
            page = _VERSION.sub(meta + f'<meta name="identifier" content="{shown.identifier}">', content.decode())
            made = Response(page, media_type="text/html")
            made.set_cookie("consent", "1", path=_FOLDER, samesite="strict")
        return made
