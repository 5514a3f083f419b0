"""Conftest: the real models of other people, which are no part of the repository.

They are looked for in the folder that the environment variable PIPPIN_SHARED_MODELS names, else in `shared/models`
beside the repository. A test that needs them is skipped, with this reason, where they are absent.
"""

from __future__ import annotations

import gc
import importlib.util
import os
from pathlib import Path

import pytest

from pippin.specialization import contention
from support.browser import chromium as chromium
from support.browser import page as page

# What tests load is not kept in the user's cache; those about the cache name a folder.
os.environ["PIPPIN_CACHE"] = "off"
# Tests run beside each other: no measuring waits until the machine is its own.
contention.PATIENCE = 0.0

FOLDER = Path(os.environ.get("PIPPIN_SHARED_MODELS") or Path(__file__).parents[2] / "shared" / "models")
ABSENT = f"no shared models in {FOLDER} (set PIPPIN_SHARED_MODELS)"


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """The folder of the real models."""
    if not FOLDER.is_dir():
        pytest.skip(ABSENT)
    return FOLDER


@pytest.fixture(scope="session")
def basic_pitch() -> Path:
    """The folder of the package basic-pitch that holds the same network as .mlpackage and as .onnx."""
    spec = importlib.util.find_spec("basic_pitch")
    if spec is None or spec.origin is None:
        pytest.skip("basic-pitch is not installed (make test installs it)")
    return Path(spec.origin).parent / "saved_models" / "icassp_2022"


def model_paths() -> list[Path]:
    """Every package and every model file that lies outside a package."""
    packages = sorted(FOLDER.rglob("*.mlpackage"))
    files = [path for path in sorted(FOLDER.rglob("*.mlmodel")) if not any(p in path.parents for p in packages)]
    return packages + files


def pytest_collection_finish() -> None:
    """Every conversion by coremltools collects garbage; it need not walk all collected tests each time."""
    gc.collect()
    gc.freeze()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with the argument `shared_model` runs once for each real model."""
    if "shared_model" not in metafunc.fixturenames:
        return
    rows = [pytest.param(path, id=str(path.relative_to(FOLDER))) for path in model_paths()]
    absent = [pytest.param(None, id="absent", marks=pytest.mark.skip(reason=ABSENT))]
    metafunc.parametrize("shared_model", rows or absent)
