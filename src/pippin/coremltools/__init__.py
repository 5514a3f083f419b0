"""coremltools on Linux: makes the parts of coremltools that need macOS work, backed by Pippin.

    import pippin.coremltools            # before or after `import coremltools`

After the import, `MLModel.predict` and everything else in coremltools that calls Core ML works. Use
`python -m pippin run script.py` for a script that cannot be edited and `pytest -p pippin.coremltools` for a test suite.
`uninstall()` restores the original state. Importing the module or calling `install()` twice is harmless.

`libcoremlpython` provides the module `coremltools.libcoremlpython`, which only the macOS wheel contains.
`platform_patches` makes coremltools' platform checks succeed. Nothing else in coremltools is changed.
"""

from __future__ import annotations

from . import libcoremlpython, platform_patches

NAME = "coremltools.libcoremlpython"
"""The native module of coremltools that this package replaces."""


def install() -> None:
    """Make coremltools predict with Pippin. Does nothing on macOS or if already installed."""
    if not platform_patches.needed():
        return
    platform_patches.install_module(NAME, libcoremlpython)
    platform_patches.open_gates()


def uninstall() -> None:
    """Restore coremltools. Models that are already loaded keep working."""
    platform_patches.close_gates()
    platform_patches.remove_module(NAME)


install()
