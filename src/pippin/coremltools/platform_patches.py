"""Platform patches: makes coremltools' checks for macOS and for its native module succeed.

coremltools copies these names between modules at import, so every copy must be patched:

    coremltools.models.utils._is_macos, _macos_version    functions: code object replaced in place
    coremltools._deps._IS_MACOS                           flag: set before it is copied, and in each copy
    <module>._MLModelProxy, ...                           None without the native module: rebound in each module

A module that is not imported yet is patched right after its import, by a meta path finder.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import CodeType, ModuleType
from typing import Any

_PACKAGE = "coremltools"
_FLAG = "_IS_MACOS"
_UTILS = "coremltools.models.utils"
_DEPS = "coremltools._deps"

_original_code: dict[str, CodeType] = {}
"""The original code objects of coremltools' functions, by name."""
_module: ModuleType | None = None


def needed() -> bool:
    """Whether coremltools lacks its native module: on every platform except macOS."""
    return sys.platform != "darwin"


def install_module(name: str, module: ModuleType) -> None:
    """Make `module` importable as `name`, and rebind its proxies in modules that failed to import it."""
    global _module
    sys.modules[name] = _module = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)
    for loaded in _loaded():
        for proxy in _proxies(module):
            if proxy in vars(loaded) and vars(loaded)[proxy] is None:
                setattr(loaded, proxy, getattr(module, proxy))


def remove_module(name: str) -> None:
    global _module
    module = sys.modules.pop(name, None)
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        vars(sys.modules[parent]).pop(child, None)
    for loaded in _loaded():
        for proxy in _proxies(module) if module else ():
            if vars(loaded).get(proxy) is getattr(module, proxy):
                setattr(loaded, proxy, None)
    _module = None


def open_gates() -> None:
    """Patch the platform checks of imported modules, and of modules imported later."""
    for name, prepare in _PREPARED.items():
        if name in sys.modules:
            prepare(sys.modules[name])
    _set_flag(True)
    if _FINDER not in sys.meta_path:
        sys.meta_path.insert(0, _FINDER)


def close_gates() -> None:
    """Restore the platform checks."""
    if _FINDER in sys.meta_path:
        sys.meta_path.remove(_FINDER)
    _set_flag(False)
    if _original_code:
        utils: Any = sys.modules[_UTILS]
        utils._is_macos.__code__ = _original_code.pop("_is_macos")
        utils._macos_version.__wrapped__.__code__ = _original_code.pop("_macos_version")
        utils._macos_version.cache_clear()


def _prepare_utils(utils: Any) -> None:
    if _original_code:
        return
    version = utils._macos_version.__wrapped__  # below its lru_cache
    _original_code.update(_is_macos=utils._is_macos.__code__, _macos_version=version.__code__)
    utils._is_macos.__code__ = _is_macos.__code__
    version.__code__ = _macos_version.__code__
    utils._macos_version.cache_clear()


def _prepare_deps(deps: Any) -> None:
    setattr(deps, _FLAG, True)


_PREPARED: dict[str, Callable[[Any], None]] = {_UTILS: _prepare_utils, _DEPS: _prepare_deps}


# The code of these two functions runs in coremltools' module, so it must not use any global of this one.
def _is_macos() -> bool:
    return True


def _macos_version() -> tuple[int, ...]:
    """The macOS release whose Core ML reads specification version 10, the newest known."""
    return (26, 0)


def _set_flag(value: bool) -> None:
    for loaded in _loaded():
        if isinstance(vars(loaded).get(_FLAG), bool):
            setattr(loaded, _FLAG, value)


def _loaded() -> list[ModuleType]:
    modules = [module for name, module in sys.modules.items() if name.split(".")[0] == _PACKAGE]
    return [module for module in modules if isinstance(module, ModuleType)]


def _proxies(module: ModuleType) -> list[str]:
    return [name for name in vars(module) if name.startswith("_ML") and name.endswith("Proxy")]


class _Finder(MetaPathFinder):
    """Finds the modules in _PREPARED on the regular path, and patches them after they have run."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in _PREPARED:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Prepared(spec.loader, _PREPARED[name])
        return spec


class _Prepared(Loader):
    def __init__(self, loader: Any, prepare: Callable[[Any], None]) -> None:
        self._loader = loader
        self._prepare = prepare

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._prepare(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)  # get_source and the like, for tracebacks


_FINDER = _Finder()
