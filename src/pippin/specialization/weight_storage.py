"""Weight storage: how much the weights of a model take, and in which form an engine holds them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper

from ..engines import Engine, Settings
from ..lowering.weight_arrays import size_of
from .trial import Trial

LARGE = 32 << 20
"""Bytes of weights from which memory matters more than the time to compile several engines at once."""
_FEW = 1 << 20  # bytes; what is less is not worth mentioning
_SIXTEEN_BITS = ("bfloat16", "float16")
_PASSING = frozenset({"Cast", "DequantizeLinear", "Transpose"})
_PRODUCTS = _PASSING | {"Gather", "Gemm", "MatMul"}
_VERBS = {"float32": "widened", "bfloat16": "rounded", "float16": "rounded"}


def weight_bytes(model: onnx.ModelProto) -> int:
    """The bytes of the constants of a graph."""
    return sum(map(size_of, model.graph.initializer))


def main_type(model: onnx.ModelProto) -> str:
    """The element type of most bytes of the weights; "" if there are few."""
    sizes: Counter[int] = Counter()
    for tensor in model.graph.initializer:
        sizes[tensor.data_type] += size_of(tensor)
    if sizes.total() < _FEW:
        return ""
    return np.dtype(helper.tensor_dtype_to_np_dtype(sizes.most_common(1)[0][0])).name


class Storage:
    """How the weights of a model are stored, and what follows for its candidates."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.type = main_type(model)
        self.large = weight_bytes(model) >= LARGE
        self._only_products = _only_products(model)

    def fitted(self, engine: Engine, settings: Settings, growing: bool) -> Settings:
        """The settings with what a decoder, whose sizes are `growing`, does without: kernels for each size, and weights
        repacked for products of many rows. With one row they take the same time, with hundreds packing is no cost."""
        if not growing or settings.device != "cpu":
            return settings
        settings = replace(settings, growing=True)
        shared = replace(settings, shared=True)
        worth = self.large and self._only_products and self.type.startswith("float")
        return shared if worth and engine.weights_held(self.type, shared)[1].endswith("shared") else settings

    def heavy(self, trial: Trial) -> bool:
        """Whether the weights take at least four times their bytes while the engine compiles: 16-bit ones that it
        widens itself, and integers of a decoder, of which it makes 16-bit floats."""
        if not self.large:
            return False
        if self.type.startswith(("int", "uint")):
            return trial.settings.growing and trial.settings.precision in _SIXTEEN_BITS
        held, _ = trial.engine.weights_held(self.type, trial.settings)
        return held == "float32" and self.type in _SIXTEEN_BITS

    def lightest_first(self, trials: Sequence[Trial]) -> list[Trial]:
        """Float32 first, which others are compared with; heavy ones last, if they are not the only float32 ones."""
        light = any(t.settings.precision == "float32" and not self.heavy(t) for t in trials)
        return sorted(trials, key=lambda t: (light and self.heavy(t), t.settings.precision != "float32"))

    def needless(self, trial: Trial, passed: Sequence[Trial]) -> str:
        """Why a candidate need not be tried after others have passed, or ""."""
        if not passed or not self.heavy(trial):
            return ""
        narrow = any(other.settings.precision in _SIXTEEN_BITS for other in passed)
        if narrow or self._only_products:
            reason = "a 16-bit precision passed" if narrow else "products with few rows gain nothing from it"
            return f"not tried: {self.type} weights would take four times their bytes, and {reason}"
        return ""

    def note(self, trials: Sequence[Trial], prepared: Mapping[str, str]) -> None:
        """Tell each candidate how its engine holds the weights; `prepared` has the type that each engine got."""
        for trial in trials:
            if self.type and trial.engine.name in prepared:
                trial.weights = _described(self.type, prepared[trial.engine.name], trial.engine, trial.settings)


def _only_products(model: onnx.ModelProto) -> bool:
    """Whether products and lookups read nearly all weights."""
    sizes = {tensor.name: size_of(tensor) for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in _PASSING and node.input[0] in sizes:
            sizes[node.output[0]] = sizes[node.input[0]]
    others = {name for n in model.graph.node if n.op_type not in _PRODUCTS for name in n.input if name in sizes}
    return 10 * sum(sizes[name] for name in others) < weight_bytes(model)


def _described(stored: str, prepared: str, engine: Engine, settings: Settings) -> str:
    held, how = engine.weights_held(prepared, settings)
    if held == stored or (stored in ("int4", "uint4") and held in ("int8", "uint8")):  # two in a byte
        return f"{stored} weights {how}"
    verb = _VERBS.get(held, "converted") if stored.startswith(("float", "bfloat")) else "decompressed"
    return f"{stored} weights {verb} to {held}, {how}"
