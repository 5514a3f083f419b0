"""Environment: prepares the modules, platform and data that coremltools' tests expect.

Run before coremltools is imported: test modules copy platform checks into names of their own.
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
    """Install the drop-in, an arm64 platform name, torchvision's operator names and the replacement data."""
    import pippin.coremltools

    pippin.coremltools.install()
    platform.machine = lambda: "arm64"  # the gate of the torch.export tests
    _define_torchvision_operators()
    _define_boston()
    _name_libsvm()


def _define_boston() -> None:
    """Replace the Boston housing data set, which needs the network, by data of its shape: 506 rows, 13 features."""
    stand_in = types.ModuleType("coremltools.test.utils")
    stand_in.load_boston = _boston  # type: ignore[attr-defined]
    sys.modules[stand_in.__name__] = stand_in


def _boston() -> dict[str, Any]:
    random = np.random.default_rng(0)
    data = random.gamma(2.0, 10.0, (506, 13)).round(4)
    data[:, [3, 8]] = random.integers(0, 2, (506, 2)) * [1, 23] + [0, 1]  # river and motorway columns
    score = data @ random.normal(size=13) / 10 + random.normal(size=506)
    target = (5 + 45 * score.argsort().argsort() / 505).round(1)  # evenly spread prices, as classes need them
    names = ["CRIM", "ZN", "INDUS", "CHAS", "NOX", "RM", "AGE", "DIS", "RAD", "TAX", "PTRATIO", "B", "LSTAT"]
    return _Named(data=data, target=target, feature_names=names)


class _Named(dict[str, Any]):
    """Dictionary with attribute access."""

    __getattr__ = dict.__getitem__


def _name_libsvm() -> None:
    """Register LIBSVM's modules under the names used before 2020, which the tests import."""
    if importlib.util.find_spec("libsvm") is None:
        return
    importlib.import_module("libsvm").__version__ = importlib.metadata.version("libsvm-official")  # type: ignore[attr-defined]
    for name in ("svm", "svmutil"):
        sys.modules[name] = importlib.import_module(f"libsvm.{name}")


def _define_torchvision_operators() -> None:
    """Define torchvision's operator names, all that its models need; its wheel is compiled for CUDA."""
    if importlib.util.find_spec("torchvision") is None:
        return
    import torch

    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _kept.append(library)


_kept: list[Any] = []


def seed(number: int) -> None:
    """Seed the random generators, so that a test does not depend on earlier ones."""
    np.random.seed(number)
    try:
        import torch
    except ImportError:
        return
    torch.manual_seed(number)


def tighten() -> None:
    """Use Pippin's tolerances: replaces `np.testing` in the module of `compare_backend`."""
    from coremltools.converters.mil import testing_utils

    def assert_allclose(actual: Any, desired: Any, rtol: float = 1e-7, atol: float = 0.0, **options: Any) -> None:
        tolerance = STRICT["fp16" if rtol >= _LOOSE else "fp32"]
        np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance, **options)

    testing = SimpleNamespace(**{**vars(np.testing), "assert_allclose": assert_allclose})
    testing_utils.np = SimpleNamespace(**{**vars(np), "testing": testing})


def write_digits(folder: Path) -> None:
    """Write a replacement for MNIST, which needs the network: scikit-learn's digits, enlarged, in MNIST's format."""
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
