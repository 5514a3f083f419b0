"""Environment: what coremltools' tests expect around them, on this machine.

Must be prepared before coremltools is imported: test modules copy what they ask by name.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import platform
import struct
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

STRICT = {"fp32": 1e-4, "fp16": 5e-3}
"""Relative and absolute tolerances of the strict mode."""

# coremltools compares float16 results with a relative tolerance of at least this.
_LOOSE = 0.05


def prepare() -> None:
    """The drop-in, the machine that some tests ask for, and the half of torchvision that needs no compiled code."""
    import pippin.coremltools

    pippin.coremltools.install()
    platform.machine = lambda: "arm64"  # the gate of the torch.export tests
    _define_torchvision_operators()
    _define_boston()
    _name_libsvm()


def _define_boston() -> None:
    """A stand-in for a data set that is on the network, in its shape: 506 houses, 13 numbers, a price."""
    stand_in = types.ModuleType("coremltools.test.utils")
    stand_in.load_boston = _boston  # type: ignore[attr-defined]
    sys.modules[stand_in.__name__] = stand_in


def _boston() -> dict[str, Any]:
    random = np.random.default_rng(0)
    data = random.gamma(2.0, 10.0, (506, 13)).round(4)
    data[:, [3, 8]] = random.integers(0, 2, (506, 2)) * [1, 23] + [0, 1]  # by the river, near motorways
    score = data @ random.normal(size=13) / 10 + random.normal(size=506)
    target = (5 + 45 * score.argsort().argsort() / 505).round(1)  # prices of every height, as classes need them
    names = ["CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT"]
    return _Named(data=data, target=target, feature_names=names)


class _Named(dict[str, Any]):
    """What can be asked for by key and by attribute."""

    __getattr__ = dict.__getitem__


def _name_libsvm() -> None:
    """The tests know LIBSVM's modules by the names that its package had before 2020."""
    if importlib.util.find_spec("libsvm") is None:
        return
    importlib.import_module("libsvm").__version__ = importlib.metadata.version("libsvm-official")  # type: ignore[attr-defined]
    for name in ("svm", "svmutil"):
        sys.modules[name] = importlib.import_module(f"libsvm.{name}")


def _define_torchvision_operators() -> None:
    """torchvision's wheel is compiled for CUDA; its models need only the names of its operators."""
    if importlib.util.find_spec("torchvision") is None:
        return
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)


_kept: list[Any] = []


def seed(number: int) -> None:
    """The same random numbers for a test, whichever tests ran before it."""
    np.random.seed(number)
    try:
        import torch
    except ImportError:
        return
    torch.manual_seed(number)


def tighten() -> None:
    """Compare with our own tolerances: `compare_backend` finds another `np.testing` in its module."""
    from coremltools.converters.mil import testing_utils

    def assert_allclose(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0.0, **options: Any) -> None:
        tolerance = STRICT["fp16" if rtol >= _LOOSE else "fp32"]
        np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance, **options)

    testing = SimpleNamespace(**{**vars(np.testing), "assert_allclose": assert_allclose})
    testing_utils.np = SimpleNamespace(**{**vars(np), "testing": testing})


def write_digits(folder: Path) -> None:
    """A stand-in for MNIST, which is on the network: scikit-learn's handwritten digits, enlarged, in its format."""
    raw = folder / "MNIST" / "raw"
    if (raw / "train-images-idx3-ubyte").is_file():
        return
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.zeros((len(digits.images), 28, 28), np.uint8)
    images[:, 2:26, 2:26] = np.kron(digits.images, np.ones((3, 3))) * (255 / 16)
    order = np.random.default_rng(0).permutation(len(images))
    raw.mkdir(parents=True, exist_ok=True)
    for name, part in (("train", np.tile(order[:1500], 4)), ("t10k", order[1500:])):
        header = struct.pack(">IIII", 2051, len(part), 28, 28)
        (raw / f"{name}-images-idx3-ubyte").write_bytes(header + images[part].tobytes())
        labels = digits.target[part].astype(np.uint8)
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, len(part)) + labels.tobytes())
