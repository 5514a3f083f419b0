"""Coremltools: the half of coremltools that needs a Mac, on this machine.

    import pippin.coremltools            # before or after `import coremltools`

From then on `MLModel.predict` and everything else of coremltools that asks Core ML works, backed by Pippin.
`python -m pippin run script.py` does it for a script that cannot be edited, `pytest -p pippin.coremltools` for a test
suite. `uninstall()` puts everything back; importing the module or calling `install()` twice does no harm.

What it does: the module `coremltools.libcoremlpython`, which only the macOS wheel has, is provided by `native`; the
checks of the platform in front of it are opened by `gates`. Nothing else of coremltools is touched.
"""

from __future__ import annotations

from . import libcoremlpython, platform_patches

NAME = "coremltools.libcoremlpython"
"""The native module of coremltools that this package stands in for."""


def install() -> None:
    """Let coremltools predict on this machine. Does nothing on a second call, nor on a Mac."""
    if not platform_patches.needed():
        return
    platform_patches.install_module(NAME, libcoremlpython)
    platform_patches.open_gates()


def uninstall() -> None:
    """Put coremltools back as it was. Models that were loaded keep working."""
    platform_patches.close_gates()
    platform_patches.remove_module(NAME)


install()
