"""OpenVINO extension module: imports it without the Python package around it.

Importing the package takes 70 ms more (it loads a converter), sends telemetry and keeps a counter in the home folder.
The extension is loaded under its full name, so that a later `import openvino` reuses it.
"""

from __future__ import annotations

import importlib.util
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from pathlib import Path
from threading import RLock
from typing import Any

from ..errors import CompilationError

_NAME = "openvino._pyopenvino"
_importing = RLock()


def openvino() -> Any:
    """The extension module. Raises CompilationError if the package is not installed."""
    found = sys.modules.get(_NAME)
    return found if found is not None else _load()


def _load() -> Any:
    with _importing:
        if _NAME in sys.modules:
            return sys.modules[_NAME]
        spec = importlib.util.find_spec("openvino")  # finds the folder without running the package
        folder = Path(spec.origin).parent if spec and spec.origin else None
        candidates = [folder / f"_pyopenvino{suffix}" for suffix in EXTENSION_SUFFIXES] if folder else []
        file = next((path for path in candidates if path.is_file()), None)
        if file is None:
            raise CompilationError("OpenVINO is not installed (pip install openvino)")
        loader = ExtensionFileLoader(_NAME, str(file))
        made = importlib.util.spec_from_file_location(_NAME, file, loader=loader)
        assert made is not None
        module = importlib.util.module_from_spec(made)
        sys.modules[_NAME] = module
        try:
            loader.exec_module(module)
        except BaseException:
            del sys.modules[_NAME]
            raise
        return module
