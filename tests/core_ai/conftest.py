"""Conftest: what Apple's package made of the rows, recorded once for all processes of the tests."""

from pathlib import Path

import pytest
from filelock import FileLock

from core_ai import apple


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A folder with a model and the outputs of Apple's runtime for each row."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "coreai"
    with FileLock(f"{folder}.lock"):
        if not (folder / "refused.txt").is_file():
            apple.run("record.py", folder)
    return folder


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The process of pytest-xdist; "master" without it."""
    return getattr(request.config, "workerinput", {}).get("workerid", "master")
