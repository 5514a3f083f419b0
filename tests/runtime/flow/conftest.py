"""Conftest: a small model, and a large one."""

from __future__ import annotations

import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb

import pippin
from runtime.flow.device import FAST, Device
from support.small_models import saved_program


@pytest.fixture(scope="session")
def package(tmp_path_factory):
    return saved_program(tmp_path_factory.mktemp("flow"), lambda x: mb.add(x=x, y=1.0, name="y"), x=(3, 4))


@pytest.fixture(scope="session")
def long_package(tmp_path_factory):
    """Ten products of 1536 x 1536 matrices: some tenths of a second."""
    weight = np.eye(1536, dtype=np.float32)[::-1].copy() + np.float32(1e-6)

    def body(x):
        for _ in range(10):
            x = mb.relu(x=mb.matmul(x=x, y=weight))
        return mb.identity(x=x, name="y")

    return saved_program(tmp_path_factory.mktemp("flow"), body, name="long", x=(1536, 1536))


@pytest.fixture
def model(package):
    return pippin.load(package, FAST)


@pytest.fixture
def device():
    made = Device()
    yield made
    made.go.set()
