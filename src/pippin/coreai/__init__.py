"""Core AI's runtime on every machine: makes the parts of Apple's `coreai` that predict work, backed by Pippin.

    import pippin.coreai                 # before or after `import coreai`

After the import, `coreai.runtime.AIModel.load` and everything that it returns predict with Pippin, and so does
`AIModelAsset.executable()` of `coreai.authoring`. Where Apple's package is not installed, `coreai.runtime` is there
nevertheless. `uninstall()` restores the original state. Importing the module or calling `install()` twice is harmless.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from types import ModuleType
from typing import Any

from ..configuration import Configuration
from . import runtime

_OWN = ("coreai", "coreai.runtime")
_PREDICTS = ("load", "function_names", "load_function", "__str__", "specialization_options")
_saved: list[tuple[Any, str, Any]] = []
"""What was replaced in Apple's classes."""


def install(configuration: Configuration | None = None) -> None:
    """Make Core AI predict with Pippin. Models are loaded with `configuration`."""
    if configuration is not None:
        runtime.configuration = configuration
    if _saved or ("coreai" in sys.modules and getattr(sys.modules["coreai"], "__pippin__", False)):
        return
    if importlib.util.find_spec("coreai") is None:
        _install_own()
        return
    from coreai.authoring.asset import AIModelAsset
    from coreai.runtime import AIModel

    for name in _PREDICTS:
        _replace(AIModel, name, vars(runtime.AIModel).get(name))
    _replace(AIModelAsset, "executable", _executable())


def uninstall() -> None:
    """Restore Apple's package. Models that are already loaded keep working."""
    while _saved:
        owner, name, original = _saved.pop()
        if original is None:
            delattr(owner, name)
        else:
            setattr(owner, name, original)
    for name in _OWN:
        if getattr(sys.modules.get(name), "__pippin__", False):
            del sys.modules[name]


def _install_own() -> None:
    """The modules that Apple's package would be, with what predicts."""
    package, own = (ModuleType(name, runtime.__doc__) for name in _OWN)
    names = (
        "AIModel", "InferenceFunction", "InferenceFunctionDescriptor", "NDArray", "NDArrayDescriptor", "StorageKind",
    )  # fmt: skip
    for name in names:
        setattr(own, name, getattr(runtime, name))
    package.runtime = own  # type: ignore[attr-defined]
    package.__path__ = []
    for module in (package, own):
        module.__pippin__ = True  # type: ignore[attr-defined]
        sys.modules[module.__name__] = module


def _replace(owner: Any, name: str, value: Any) -> None:
    _saved.append((owner, name, vars(owner).get(name)))
    setattr(owner, name, value)


def _executable() -> Callable[..., Any]:
    @asynccontextmanager
    async def executable(self: Any, specialization_options: Any = None) -> AsyncGenerator[Any]:
        """The model of this asset, which predicts with Pippin."""
        from coreai.runtime import AIModel

        yield await AIModel.load(self.path, specialization_options)

    return executable


install()
