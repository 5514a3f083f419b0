"""Fixtures that every test may use."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of real models that other people published; tests with it are skipped where it is absent."""
    folder = Path(os.environ.get("PIPPIN_SHARED_MODELS", Path(__file__).parents[2] / "shared" / "models"))
    if not folder.is_dir():
        pytest.skip(f"the folder of real models is absent: {folder} (PIPPIN_SHARED_MODELS names another)")
    return folder


@pytest.fixture(scope="session")
def basic_pitch() -> Path:
    """The folder of the package basic-pitch that holds the same network as .mlpackage and as .onnx."""
    spec = importlib.util.find_spec("basic_pitch")
    if spec is None or spec.origin is None:
        pytest.skip("basic-pitch is not installed (make test installs it)")
    return Path(spec.origin).parent / "saved_models" / "icassp_2022"
