"""Model structure: converts operations, layers and the compute plan of a model to coremltools' classes."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from ..configuration import Configuration
from ..errors import UnsupportedModelError
from ..format.asset import Asset
from ..program import Block, Function, Literal, Operation, Value, read_program
from ..program.cost_model import is_constant, relative_costs
from ..runtime.model import load

_PIPELINES = ("pipeline", "pipelineClassifier", "pipelineRegressor")
_NETWORKS = ("neuralNetwork", "neuralNetworkClassifier", "neuralNetworkRegressor")

# Core ML's structure uses the layer names of its network runtime: one name for a whole family.
_ELEMENTWISE = "elementwise"
_LAYER_TYPES = {
    "add": _ELEMENTWISE,
    "multiply": _ELEMENTWISE,
    "unary": _ELEMENTWISE,
    "innerProduct": "inner_product",
    "loadConstantND": "load_constant",
    "loadConstant": "load_constant",
    "concatND": "concat",
    "splitND": "split_nd",
    "softmaxND": "softmax_nd",
    "batchedMatmul": "batch_matmul",
    "pooling": "pool",
}


class _MLModelStructureProgramOperationProxy:
    """Identifies an operation in the plan. `share` is its share of the model's estimated cost; None for a constant."""

    def __init__(self, share: float | None) -> None:
        self.share = share


class _MLModelStructureNeuralNetworkLayerProxy:
    """Identifies a layer in the plan."""


def model_structure(asset: Asset) -> Any:
    """The `MLModelStructure` of a model. Raises UnsupportedModelError for a kind without one."""
    from coremltools.models import compute_plan as c

    kind = asset.specification.WhichOneof("Type")
    if kind == "mlProgram":
        functions = {name: _function(f) for name, f in read_program(asset).functions.items()}
        return c.MLModelStructure(None, c.MLModelStructureProgram(functions), None)
    if kind in _NETWORKS:
        layers = [_layer(layer) for layer in getattr(asset.specification, kind).layers]
        return c.MLModelStructure(c.MLModelStructureNeuralNetwork(layers), None, None)
    if kind in _PIPELINES:
        parts = [(f"model{i}", model_structure(part)) for i, part in enumerate(asset.parts())]
        return c.MLModelStructure(None, None, c.MLModelStructurePipeline(parts))
    raise UnsupportedModelError(f"{asset.name}: a {kind} model has no operations or layers")


def _function(function: Function) -> Any:
    from coremltools.models import compute_plan as c

    shares = relative_costs(function)
    return c.MLModelStructureProgramFunction(_values(function.inputs), _block(function.block, shares))


def _block(block: Block, shares: dict[int, float]) -> Any:
    from coremltools.models import compute_plan as c

    operations = [_operation(operation, shares) for operation in block.operations]
    return c.MLModelStructureProgramBlock(_values(block.inputs), operations, [v.name for v in block.outputs])


def _operation(operation: Operation, shares: dict[int, float]) -> Any:
    from coremltools.models import compute_plan as c

    return c.MLModelStructureProgramOperation(
        inputs={name: _argument(bound) for name, bound in operation.inputs.items()},
        operator_name=operation.kind,
        outputs=_values(operation.outputs),
        blocks=[_block(block, shares) for block in operation.blocks],
        __proxy__=_MLModelStructureProgramOperationProxy(None if is_constant(operation) else shares[id(operation)]),
    )


def _argument(bound: tuple[Any, ...]) -> Any:
    from coremltools.models import compute_plan as c

    def binding(argument: Value | Literal) -> Any:
        if isinstance(argument, Value):
            return c.MLModelStructureProgramBinding(argument.name, None)
        return c.MLModelStructureProgramBinding(None, c.MLModelStructureProgramValue())

    return c.MLModelStructureProgramArgument([binding(argument) for argument in bound])


def _values(values: tuple[Value, ...]) -> list[Any]:
    from coremltools.models import compute_plan as c

    return [c.MLModelStructureProgramNamedValueType(v.name, c.MLModelStructureProgramValueType()) for v in values]


def _layer(layer: Any) -> Any:
    from coremltools.models import compute_plan as c

    kind = layer.WhichOneof("layer") or ""
    broadcasts = kind.endswith("Broadcastable") and kind != "whereBroadcastable"
    return c.MLModelStructureNeuralNetworkLayer(
        name=layer.name,
        type=_ELEMENTWISE if broadcasts else _LAYER_TYPES.get(kind, kind),
        input_names=list(layer.input),
        output_names=list(layer.output),
        __proxy__=_MLModelStructureNeuralNetworkLayerProxy(),
    )


class Plan:
    """A model's compute plan in coremltools' classes. It covers the default function; others report the CPU."""

    def __init__(self, asset: Asset, configuration: Configuration, device: Callable[[str], Any]) -> None:
        self._asset = asset
        self._device = device
        plan = load(asset, configuration).compute_plan
        self._operations = {operation.name: operation for operation in plan.operations}

    @cached_property
    def structure(self) -> Any:
        return model_structure(self._asset)

    def usage(self, part: Any) -> Any:
        """The devices for an operation or layer; None for a constant."""
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage

        is_operation = isinstance(part.__proxy__, _MLModelStructureProgramOperationProxy)
        if is_operation and part.__proxy__.share is None:
            return None
        planned = self._operations.get(part.outputs[0].name if is_operation and part.outputs else part.name)
        preferred, supported = (planned.device, planned.supported) if planned and planned.device else ("cpu", ("cpu",))
        return MLComputePlanDeviceUsage(
            preferred_compute_device=self._device(preferred),
            supported_compute_devices=[self._device(kind) for kind in supported],
        )

    def cost(self, operation: Any) -> Any:
        """The estimated cost share of an operation; None for a constant."""
        from coremltools.models.compute_plan import MLComputePlanCost

        share = operation.__proxy__.share
        return None if share is None else MLComputePlanCost(share)
