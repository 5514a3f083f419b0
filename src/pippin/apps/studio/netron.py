"""Netron: serves the lowered model and Netron's own files, so that the graph viewer runs offline in a frame.

The page reports version 0.0.0, which disables telemetry and update checks, and sets the consent cookie, which disables
the geolocation request. The server's content security policy would block these requests anyway.
"""

from __future__ import annotations

import importlib.util
import mimetypes
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from fastapi import FastAPI, Response

if TYPE_CHECKING:
    from .open_models import Opened

_FOLDER = "/netron"
_KEPT = 4
# Netron's page forbids eval in a policy of its own; it needs inline styles.
_VERSION = re.compile(r'<meta name="version" content="[^"]*">')
_written: dict[str, tuple[str, bytes]] = {}


def installed() -> bool:
    return importlib.util.find_spec("netron") is not None


def write(opened: Opened) -> str:
    """Lower the model to ONNX, keep it in memory and return its viewer address. Raises UnsupportedError over 2 GiB."""
    from ...errors import UnsupportedError
    from ...lowering.external_data import is_large
    from ...specialization.specializer import lower_function

    lowered = lower_function(opened.asset, opened.configuration)
    if is_large(lowered.model):
        raise UnsupportedError(
            f"{opened.path.name} exceeds 2 GiB as ONNX; write it with `pippin export` and open the file in Netron"
        )
    data = lowered.model.SerializeToString()
    name = uuid4().hex
    _written[name] = (opened.path.stem, data)
    while len(_written) > _KEPT:
        del _written[next(iter(_written))]
    return f"{_FOLDER}/{name}/"


def mount(application: FastAPI) -> None:
    """Add the routes for Netron's own files and for the models passed to `write`."""

    @application.get(_FOLDER + "/{name}/{file:path}")
    def answer(name: str, file: str) -> Response:
        spec = importlib.util.find_spec("netron")
        if name not in _written or spec is None or spec.origin is None:
            return Response(status_code=404)
        title, data = _written[name]
        if file == "model.onnx":
            return Response(data, media_type="application/octet-stream")
        folder = Path(spec.origin).parent
        path = (folder / (file or "index.html")).resolve()
        if folder.resolve() not in path.parents or not path.is_file() or path.suffix == ".py":
            return Response(status_code=404)
        content: Any = path.read_bytes()
        made = Response(content, media_type=mimetypes.guess_type(path.name)[0] or "text/plain")
        if path.name == "index.html":
            meta = '<meta name="version" content="0.0.0"><meta name="file" content="model.onnx">'
            page = _VERSION.sub(meta + f'<meta name="identifier" content="{_plain(title)}.onnx">', content.decode())
            made = Response(page, media_type="text/html")
            made.set_cookie("consent", "1", path=_FOLDER, samesite="strict")
        return made


def _plain(title: str) -> str:
    return re.sub(r"[^\w.-]", "_", title)
