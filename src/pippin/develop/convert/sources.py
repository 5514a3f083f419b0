"""Sources: networks in files, each with its inputs, its conversion to Core ML, and its own runtime to compare with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ...errors import ConfigurationError, ConversionError, FormatError
from .options import Options

Arrays = Mapping[str, np.ndarray]
Known = Mapping[str, tuple[int, ...] | None]
"""The inputs by name; the shapes that the source has for them."""


class Source(Protocol):
    known: Known

    def converted(self, inputs: Sequence[Any], options: Options) -> Any:
        """The model of coremltools. Raises ConversionError."""

    def run(self, arrays: Arrays) -> list[np.ndarray]:
        """The outputs of the source itself, in order."""


def open_source(path: Path, names: Sequence[str]) -> Source:
    """Open a network: .pt2 (torch.export), .pt, .pth or .ts (TorchScript), .onnx. `names` are those of the inputs."""
    suffix = path.suffix.lower()
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such file")
    if suffix == ".onnx":
        return OnnxSource(path)
    if suffix in (".pt2", ".pt", ".pth", ".ts"):
        return TorchSource(path, names)
    raise ConfigurationError(f"{path}: a network is a .pt2, .pt, .ts or .onnx file")


class TorchSource:
    """An exported program or a TorchScript file, converted by coremltools."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        torch = _torch()
        self._exported = path.suffix.lower() == ".pt2"
        try:
            if self._exported:
                self._model = torch.export.load(path)
            else:
                self._model = torch.jit.load(path).eval()
        except Exception as error:  # torch raises many kinds
            kind = (
                "an exported program (torch.export.save)" if self._exported else "a TorchScript file (torch.jit.save)"
            )
            raise FormatError(f"{path} is not {kind}: {_first(error)}") from None
        self.known: Known = self._exported_inputs() if self._exported else dict.fromkeys(names)
        if not self.known:
            raise ConfigurationError(
                f"{path}: TorchScript has no names or shapes: --input NAME=tensor:SHAPE for each input"
            )

    def _exported_inputs(self) -> Known:
        signature = self._model.graph_signature
        values = {node.name: node.meta["val"] for node in self._model.graph.nodes if node.op == "placeholder"}
        return {name: tuple(int(size) for size in values[name].shape) for name in signature.user_inputs}

    def converted(self, inputs: Sequence[Any], options: Options) -> Any:
        import coremltools as ct

        model = self._model.run_decompositions({}) if self._exported else self._model
        how = options.coremltools()
        try:
            return ct.convert(model, source="pytorch", inputs=list(inputs), skip_model_load=True, **how)
        except Exception as error:  # coremltools raises many kinds
            raise ConversionError(f"coremltools cannot convert the network: {_first(error)}") from None

    def run(self, arrays: Arrays) -> list[np.ndarray]:
        torch = _torch()
        model = self._model.module() if self._exported else self._model
        with torch.no_grad():
            found = model(*(torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in self.known))
        flat = torch.utils._pytree.tree_flatten(found)[0]
        return [each.numpy() for each in flat]


class OnnxSource:
    """An ONNX file, converted by onnx2coreml, which is wrong for some operators: it is always compared."""

    def __init__(self, path: Path) -> None:
        from ...format.description import MultiArray
        from ...runtime.model import load

        self._path = path
        self._model = load(path, cache=False)
        shapes = {name: feature.type for name, feature in self._model.inputs.items()}
        self.known: Known = {n: k.shape if isinstance(k, MultiArray) else None for n, k in shapes.items()}

    def converted(self, inputs: Sequence[Any], options: Options) -> Any:
        try:
            import onnx2coreml
        except ImportError:
            raise ConfigurationError("ONNX files are converted by onnx2coreml: pip install 'pippin[convert]'") from None
        if (
            options.classes is not None
            or options.outputs
            or any(type(each).__name__ != "TensorType" for each in inputs)
        ):
            raise ConfigurationError(
                "an ONNX network keeps its inputs and outputs: only torch networks get images, classes or names"
            )
        try:
            return onnx2coreml.convert(
                str(self._path),
                minimum_deployment_target=options.target,
                compute_precision={"float16": "fp16", "float32": "fp32"}[options.precision],
                fp32_op_types=set(options.keep_float32) or None,
            )
        except Exception as error:
            raise ConversionError(f"onnx2coreml cannot convert the network: {_first(error)}") from None

    def run(self, arrays: Arrays) -> list[np.ndarray]:
        return [np.asarray(each) for each in self._model.predict(arrays).values()]


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise ConfigurationError("torch networks need torch: pip install 'pippin[torch]'") from None
    return torch


def _first(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
