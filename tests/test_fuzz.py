"""Fuzz: 2,000 damaged packages. Each opens and predicts, or ends in an error of Pippin; never a crash or a hang.

They run in batches, each in a process of its own: a crash of an engine is then seen, and named by its seed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from coremltools.converters.mil.mil import Builder as mb

from model.small import saved_program
from test_bad_input import WEIGHT

CASES, BATCHES = 2_000, 8
SECONDS = 300


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    def body(x):
        y = mb.layer_norm(x=mb.relu(x=mb.linear(x=x, weight=WEIGHT)), axes=[-1])
        y = mb.reshape(x=mb.slice_by_index(x=y, begin=[0, 0], end=[2, 32]), shape=[4, -1])
        return mb.concat(values=mb.split(x=y, num_splits=2, axis=0), axis=1)

    return saved_program(tmp_path_factory.mktemp("fuzz"), body, x=(2, 8))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_damaged_packages(batch, package, tmp_path):
    count = CASES // BATCHES
    script = Path(__file__).with_name("fuzz_worker.py")
    arguments = [sys.executable, str(script), str(package), str(tmp_path), str(batch * count), str(count)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, f"after seed {done.stdout.split()[-1:]}: {done.stderr[-2000:]}"
    assert done.stdout.split()[-1] == "done"
