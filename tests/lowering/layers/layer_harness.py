"""Layer harness: a behaviour of a neural-network layer is a row; each row runs on every engine.

    row("softmaxND", lambda b: b.add_softmax_nd("l", "x", "y", axis=1), {"x": f32(2, 3)}, lambda x: softmax(x, 1))

The network is built by coremltools' NeuralNetworkBuilder; the expected arrays come from numpy, scipy or torch.
`exact=False` builds a network of before 2019, whose tensors are [channel], or [channel, height, width].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

import pippin

ENGINES = ("openvino", "onnxruntime")


@dataclass(frozen=True)
class Row:
    layer: str
    build: Callable[[Any], Any]
    inputs: dict[str, np.ndarray]
    expect: Any
    exact: bool = True
    outputs: tuple[str, ...] = ("y",)
    label: str = ""
    tolerance: float = 1e-4
    options: dict[str, Any] = field(default_factory=dict)


def row(layer: str, build: Callable[[Any], Any], inputs: dict[str, np.ndarray], expect: Any, **how: Any) -> Row:
    return Row(layer, build, inputs, expect, **how)


def f32(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32)


def specification(r: Row) -> Any:
    """The network of a row."""
    builder = NeuralNetworkBuilder(
        [(name, datatypes.Array(*array.shape)) for name, array in r.inputs.items()],
        [(name, None) for name in r.outputs],
        disable_rank5_shape_mapping=r.exact,
    )
    r.build(builder)
    return builder.spec


def kinds_of(layers: Any) -> Iterator[str]:
    """The kinds of layers, those inside branches and loops included."""
    for layer in layers:
        kind = layer.WhichOneof("layer")
        yield kind
        inner = {"branch": ("ifBranch", "elseBranch"), "loop": ("conditionNetwork", "bodyNetwork")}.get(kind, ())
        for name in inner:
            yield from kinds_of(getattr(getattr(layer, kind), name).layers)


def parametrize(rows: list[Row]) -> Any:
    ids = [f"{r.layer}-{r.label or i}" for i, r in enumerate(rows)]
    return pytest.mark.parametrize("r", rows, ids=ids)


def check(r: Row, engine: str) -> None:
    """Predict with one engine and compare. A row that this engine declines is checked on the other one."""
    spec = specification(r)
    kinds = set(kinds_of(spec.neuralNetwork.layers))
    assert r.layer in kinds, f"the row is called {r.layer}, but the network has {kinds}"
    try:
        model = pippin.load(spec, pippin.Configuration(engine=engine))
    except pippin.errors.UnsupportedOperationError:
        if engine != "openvino":
            raise
        pytest.skip("openvino declines it")
    found = model.predict(r.inputs)
    expected = r.expect(**r.inputs) if callable(r.expect) else r.expect
    expected = expected if isinstance(expected, tuple) else (expected,)
    for name, wanted in zip(r.outputs, expected, strict=True):
        wanted = np.asarray(wanted, np.float32)
        assert found[name].shape == wanted.shape, name
        np.testing.assert_allclose(found[name], wanted, rtol=r.tolerance, atol=r.tolerance, err_msg=name)
