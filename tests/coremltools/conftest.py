"""The drop-in is there for the tests of this folder, and for no others of the same process."""

from __future__ import annotations

import pytest

import pippin.coremltools as drop_in

drop_in.uninstall()  # importing it installs it, and this file is imported before all tests


@pytest.fixture(scope="package", autouse=True)
def installed():
    drop_in.install()
    yield
    drop_in.uninstall()
