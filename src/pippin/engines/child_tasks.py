"""Child tasks: what a child process does for `child.py`: it compiles a model, or loads one and runs it."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread
from typing import Any

from ..errors import EngineError, PredictionError
from .base import Engine, Settings
from .registry import engine_named


def serve() -> None:
    """Do the tasks that arrive, until the other end is closed."""
    connection = Connection(int(sys.argv[2]))
    Thread(target=end_with_parent, daemon=True).start()
    compiled: Any = None
    while True:
        try:
            task, *given = connection.recv()
        except (EOFError, OSError):
            return
        result, failure = None, None
        try:
            if task == "run":
                result = compiled.run(given[0])
            else:
                name, data, settings, *folder = given
                # The child itself runs what it is given.
                plain = Settings(**{**settings, "unbounded": False})
                if task == "compile":
                    _compile(engine_named(name), data, plain, folder[0])
                else:
                    compiled = _load(engine_named(name), data, plain)
        except EngineError as error:
            failure = error
        except Exception as error:
            failure = PredictionError(f"{type(error).__name__}: {error}")
        with suppress(OSError):
            connection.send((failure, result))


def _compile(engine: Engine, source: bytes | Path, settings: Settings, folder: Path) -> None:
    engine.save(source, engine.compile(source, settings, folder), settings, folder)


def _load(engine: Engine, files: Mapping[str, bytes], settings: Settings) -> Any:
    with tempfile.TemporaryDirectory(prefix="pippin-") as folder:
        for name, data in files.items():
            (Path(folder) / name).write_bytes(data)
        return engine.load(Path(folder), settings)  # what it maps outlives the folder


def end_with_parent() -> None:
    """End this process when its standard input closes, as it does when the parent ends."""
    while os.read(0, 1):
        pass
    os._exit(1)
