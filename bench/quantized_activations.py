"""Quantized activations: benchmarks a convolutional network quantized to 8 bits by coremltools against the original.

python bench/quantized_activations.py [PREDICTIONS]

Weights are random and seeded; the models alternate. Prints median single-prediction times through coremltools, in ms.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from itertools import pairwise

os.environ.setdefault("TQDM_DISABLE", "1")

import pippin.coremltools  # noqa: F401, I001  installs itself on import, so it must come first
import coremltools as ct
import coremltools.optimize.coreml as cto
import numpy as np
import torch

PREDICTIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 300
SHAPE = (1, 3, 64, 64)


def network() -> torch.nn.Module:
    torch.manual_seed(0)
    channels = [3, 32, 64, 64, 128]
    layers: list[torch.nn.Module] = []
    for before, after in pairwise(channels):
        layers += [torch.nn.Conv2d(before, after, 3, stride=1 + (after > before > 3), padding=1), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(128, 10))


def main() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(SHAPE).astype(np.float32)
    exact = ct.convert(
        torch.jit.trace(network().eval(), torch.zeros(SHAPE)),
        inputs=[ct.TensorType(name="x", shape=SHAPE)],
        minimum_deployment_target=ct.target.iOS17,
    )
    samples = [{"x": rng.standard_normal(SHAPE).astype(np.float32)} for _ in range(8)]
    activations = cto.OptimizationConfig(cto.experimental.OpActivationLinearQuantizerConfig(mode="linear_symmetric"))
    quantized = cto.experimental.linear_quantize_activations(exact, activations, samples)
    weights = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8"))
    models = {"float": exact, "8 bits": cto.linear_quantize_weights(quantized, weights)}
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(PREDICTIONS):
        for name, model in models.items():
            started = time.perf_counter()
            model.predict({"x": x})
            times[name].append(time.perf_counter() - started)
    medians = {name: 1e3 * statistics.median(values) for name, values in times.items()}
    for name, median in medians.items():
        print(f"{name:8} {median:8.3f} ms")
    print(f"ratio    {medians['8 bits'] / medians['float']:8.2f}")


main()
