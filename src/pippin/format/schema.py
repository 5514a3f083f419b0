"""Schema: loads Core ML's protobuf messages from coremltools' files without importing coremltools.

`import coremltools` takes seconds and emits warnings. Its `proto` folder contains plain generated modules that only
import each other. They are loaded here under an alias package, so `import coremltools` still works afterwards: the
protobuf runtime accepts the same file twice, and each package has its own classes.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import types
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import PippinError

_ALIAS = "pippin._proto"


@cache
def messages(name: str) -> Any:
    """One generated module, e.g. `messages("Model")` for `Model_pb2`.

    Raises PippinError if coremltools or its schema is not installed.
    """
    _alias_package()
    return importlib.import_module(f"{_ALIAS}.{name}_pb2")


def _alias_package() -> None:
    if _ALIAS in sys.modules:
        return
    spec = importlib.util.find_spec("coremltools")  # locates the folder without importing it
    folder = Path(spec.origin).parent / "proto" if spec and spec.origin else None
    if folder is None or not (folder / "Model_pb2.py").is_file():
        raise PippinError("Core ML's protobuf schema is missing: install coremltools (pip install 'coremltools>=9')")
    package = types.ModuleType(_ALIAS)
    package.__path__ = [str(folder)]
    package.__spec__ = importlib.machinery.ModuleSpec(_ALIAS, None, is_package=True)
    sys.modules[_ALIAS] = package
