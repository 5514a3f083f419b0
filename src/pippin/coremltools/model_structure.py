"""Model structure: converts operations, layers and the compute plan of a model to coremltools' classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from ..configuration import Configuration
from ..errors import UnsupportedModelError
from ..format.asset import Asset
from ..program import Block, Function, Literal, Operation, Value, read_program
from ..runtime.model import load
from ..specialization.compute_plan import PlannedOperation

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
    """Identifies an operation in the plan: the function of a program (None inside a pipeline), and its name there."""

    def __init__(self, function: str | None, name: str, constant: bool) -> None:
        self.function, self.name, self.constant = function, name, constant


class _MLModelStructureNeuralNetworkLayerProxy:
    """Identifies a layer in the plan."""

    function = None
    constant = False

    def __init__(self, name: str) -> None:
        self.name = name


def model_structure(asset: Asset, within: str = "") -> Any:
    """The `MLModelStructure` of a model. `within` is the prefix of its operations' names in a pipeline around it.

    Raises UnsupportedModelError for a kind without one.
    """
    from coremltools.models import compute_plan as c

    kind = asset.specification.WhichOneof("Type")
    if kind == "mlProgram":
        functions = {name: _function(f, name, within) for name, f in read_program(asset).functions.items()}
        return c.MLModelStructure(None, c.MLModelStructureProgram(functions), None)
    if kind in _NETWORKS:
        layers = [_layer(layer, within) for layer in getattr(asset.specification, kind).layers]
        return c.MLModelStructure(c.MLModelStructureNeuralNetwork(layers), None, None)
    if kind in _PIPELINES:
        parts = [(f"model{i}", model_structure(part, f"{within}model{i}/")) for i, part in enumerate(asset.parts())]
        return c.MLModelStructure(None, None, c.MLModelStructurePipeline(parts))
    raise UnsupportedModelError(f"{asset.name}: a {kind} model has no operations or layers")


def _function(function: Function, name: str, within: str) -> Any:
    from coremltools.models import compute_plan as c

    return c.MLModelStructureProgramFunction(
        _values(function.inputs), _block(function.block, None if within else name, within)
    )


def _block(block: Block, function: str | None, within: str) -> Any:
    from coremltools.models import compute_plan as c

    operations = [_operation(operation, function, within) for operation in block.operations]
    return c.MLModelStructureProgramBlock(_values(block.inputs), operations, [v.name for v in block.outputs])


def _operation(operation: Operation, function: str | None, within: str) -> Any:
    from coremltools.models import compute_plan as c

    return c.MLModelStructureProgramOperation(
        inputs={name: _argument(bound) for name, bound in operation.inputs.items()},
        operator_name=operation.kind,
        outputs=_values(operation.outputs),
        blocks=[_block(block, function, within) for block in operation.blocks],
        __proxy__=_MLModelStructureProgramOperationProxy(function, within + operation.name, operation.constant),
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


def _layer(layer: Any, within: str) -> Any:
    from coremltools.models import compute_plan as c

    kind = layer.WhichOneof("layer") or ""
    broadcasts = kind.endswith("Broadcastable") and kind != "whereBroadcastable"
    return c.MLModelStructureNeuralNetworkLayer(
        name=layer.name,
        type=_ELEMENTWISE if broadcasts else _LAYER_TYPES.get(kind, kind),
        input_names=list(layer.input),
        output_names=list(layer.output),
        __proxy__=_MLModelStructureNeuralNetworkLayerProxy(within + layer.name),
    )


class Plan:
    """A model's compute plan in coremltools' classes. A function is loaded when its first operation is asked for."""

    def __init__(self, asset: Asset, configuration: Configuration, device: Callable[[str], Any]) -> None:
        self._asset, self._configuration, self._device = asset, configuration, device
        self._planned: dict[str | None, Mapping[str, PlannedOperation]] = {}
        self._plan(None)

    @cached_property
    def structure(self) -> Any:
        return model_structure(self._asset)

    def usage(self, part: Any) -> Any:
        """The devices for an operation or layer; None for a constant."""
        from coremltools.models.compute_plan import MLComputePlanDeviceUsage

        if part.__proxy__.constant:
            return None
        planned = self._find(part)
        preferred, supported = (planned.device, planned.supported) if planned and planned.device else ("cpu", ("cpu",))
        return MLComputePlanDeviceUsage(
            preferred_compute_device=self._device(preferred),
            supported_compute_devices=[self._device(kind) for kind in supported],
        )

    def cost(self, operation: Any) -> Any:
        """The estimated cost share of an operation; None for a constant."""
        from coremltools.models.compute_plan import MLComputePlanCost

        if operation.__proxy__.constant:
            return None
        planned = self._find(operation)
        return MLComputePlanCost(planned.cost if planned else 0.0)

    def _find(self, part: Any) -> PlannedOperation | None:
        return self._plan(part.__proxy__.function).get(part.__proxy__.name)

    def _plan(self, function: str | None) -> Mapping[str, PlannedOperation]:
        if function not in self._planned:
            plan = load(self._asset, replace(self._configuration, function_name=function)).compute_plan
            self._planned[function] = {operation.name: operation for operation in plan.operations}
            self._planned.setdefault(plan.function, self._planned[function])
        return self._planned[function]
