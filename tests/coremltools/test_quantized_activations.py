"""Quantized activations: a small network of convolutions, calibrated by real samples, in 8 bits."""

from __future__ import annotations

import coremltools.optimize.coreml as cto
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import coremltools as ct

TRAINED = 1400


@pytest.fixture(scope="module")
def digits():
    """Handwritten digits, and a network that has learned to read them."""
    found = load_digits()
    x = torch.tensor(found.images / 16, dtype=torch.float32)[:, None]
    y = torch.tensor(found.target)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torch.nn.Sequential(
            torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 32, 3, padding=1),
            torch.nn.ReLU(), torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(512, 10),
        )  # fmt: skip
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(6):
            for i in range(0, TRAINED, 50):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(network(x[i : i + 50]), y[i : i + 50]).backward()
                optimizer.step()
    return network.eval(), x.numpy(), y.numpy()


@pytest.fixture(scope="module")
def models(digits, installed):
    network, x, _ = digits
    model = ct.convert(
        torch.jit.trace(network, torch.from_numpy(x[:1])),
        inputs=[ct.TensorType(name="x", shape=(1, 1, 8, 8))],
        outputs=[ct.TensorType(name="y")],
        minimum_deployment_target=ct.target.iOS17,
    )
    activations = cto.OptimizationConfig(cto.experimental.OpActivationLinearQuantizerConfig(mode="linear_symmetric"))
    samples = [{"x": x[i : i + 1]} for i in range(TRAINED, TRAINED + 32)]
    quantized = cto.experimental.linear_quantize_activations(model, activations, samples)
    weights = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8"))
    return model, cto.linear_quantize_weights(quantized, weights)


def accuracy(model, x, y):
    found = model.predict([{"x": row[None]} for row in x])
    return np.mean([one["y"].argmax() == label for one, label in zip(found, y, strict=True)])


@pytest.mark.slow
def test_the_quantized_network_reads_as_well(digits, models):
    _, x, y = digits
    exact, quantized = (accuracy(model, x[TRAINED:], y[TRAINED:]) for model in models)
    assert exact > 0.9
    assert quantized >= exact - 0.01


def test_activations_and_weights_are_eight_bits(models):
    kinds = [op.op_type for op in models[1]._mil_program.functions["main"].operations]
    assert {"quantize", "dequantize", "constexpr_affine_dequantize"} <= set(kinds)
