"""Graph: method calls in, an ONNX graph out; the type and shape of every result are known.

g.LeakyRelu(x, alpha=0.1)        one node: positional arguments are inputs, keyword arguments attributes
g.Add(x, 1)                      a Python number takes the element type of the other operand
g.Reshape(x, shape)              an int32 tensor is cast if ONNX only takes int64
values, indices = g.TopK(x, k)   as many results as the operator requires (`outputs=` requests more)
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from numbers import Number
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from ..errors import ProgramError, UnsupportedOperationError
from ..types import Shape
from . import limits, shape_rules
from .known_sizes import KnownSizes
from .lowered_model import PYTHON
from .onnx_protobuf import attribute, store
from .weight_arrays import WeightArrays, worth_referring

OPSET = 21
IR_VERSION = 10
DOMAINS = {"ai.onnx.ml": 5, PYTHON: 1}
"""The other operator sets, for classical models and for Python nodes, with the versions that a graph uses unless it
needs an earlier one."""
_OPSET_IMPORTS = [helper.make_opsetid("", OPSET)]

# Elements; a larger float16 constant stays float16 in the model, with a Cast that the engine folds.
_KEEP_FLOAT16_ABOVE = 1024
# Bytes; constants up to this size are passed to shape inference and shared if equal.
_SMALL = 512
_INT64 = np.iinfo(np.int64).max


@dataclass(frozen=True, slots=True)
class Tensor:
    """A value computed at run time. `shape` is None if not even the rank is known."""

    name: str
    dtype: np.dtype[Any]
    shape: Shape | None

    @property
    def rank(self) -> int:
        if self.shape is None:
            raise UnsupportedOperationError(f"the rank of '{self.name}' must be known before the prediction")
        return len(self.shape)

    def static_size(self, axis: int) -> int:
        """The size of one axis. Raises UnsupportedOperationError if it is unknown."""
        size = None if self.shape is None else self.shape[axis]
        if size is None:
            raise UnsupportedOperationError(
                f"the size of axis {axis} of '{self.name}' must be known before the prediction"
            )
        return size

    @property
    def static_shape(self) -> tuple[int, ...] | None:
        """The shape if every size is known, else None."""
        if self.shape is None or None in self.shape:
            return None
        return tuple(d for d in self.shape if d is not None)


class Made(NamedTuple):
    """How a value is computed."""

    node: onnx.NodeProto
    operands: list[Tensor | None]


Operand: TypeAlias = "Tensor | np.ndarray | np.generic | int | float | bool | Sequence[int] | Sequence[float] | None"


@cache
def _schema(kind: str) -> defs.OpSchema:
    return defs.get_schema(kind, OPSET, "")


@cache
def _allowed(kind: str) -> dict[str, frozenset[np.dtype[Any]]]:
    """Element types allowed for each type parameter of an operator."""
    constraints = {c.type_param_str: c.allowed_type_strs for c in _schema(kind).type_constraints}
    return {name: frozenset(_dtypes(strings)) for name, strings in constraints.items()}


def _dtypes(strings: Iterable[str]) -> Iterable[np.dtype[Any]]:
    for text in strings:
        if text.startswith("tensor("):
            name = text[len("tensor(") : -1].upper()
            number = onnx.TensorProto.DataType.Value(name if name != "COMPLEX" else "COMPLEX64")
            yield np.dtype(helper.tensor_dtype_to_np_dtype(number))


def element_type(dtype: np.dtype[Any]) -> int:
    """The `TensorProto.DataType` number of a numpy dtype."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


class Graph:
    """An ONNX graph under construction. `float16` is the type used to compute float16 values."""

    def __init__(self, float16: np.dtype[Any] | type = np.float32) -> None:
        self.float16 = np.dtype(float16)
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, np.ndarray] = {}
        self.makers: dict[str, Made] = {}
        """The node that computes each value, also those in branches and loops."""
        self.label = "value"
        self._constants: dict[Any, Tensor] = {}
        self._sizes = KnownSizes(self.initializers)
        self._values: dict[str, np.ndarray] = {}  # small constants, for shape inference
        self._unpacked: list[onnx.NodeProto] = []  # casts of stored constants, before all other nodes
        self._kept: list[np.ndarray] = []  # keeps arrays alive that _constants identifies by address
        self._counter = 0
        self._noted: dict[str, Tensor] = {}  # results whose types or sizes ONNX cannot infer
        self._depth = 0
        self._domains: dict[str, int] = {}
        self.elements = 0
        """Elements of all results so far; an unknown size counts as 1."""
        self._fixed: set[str] = set()  # results computed from constants only

    @property
    def nested(self) -> bool:
        """Whether a branch or loop body is being lowered, which may not run."""
        return self._depth > 0

    def __getattr__(self, kind: str) -> Callable[..., Any]:
        if kind.startswith("_") or not defs.has(kind, OPSET, ""):
            raise AttributeError(f"ONNX opset {OPSET} has no operator {kind!r}")
        emit = partial(self.emit, kind)
        setattr(self, kind, emit)
        return emit

    def emit(
        self,
        kind: str,
        *inputs: Operand,
        outputs: int | None = None,
        types: Sequence[tuple[np.dtype[Any], Shape | None]] | None = None,
        **attributes: Any,
    ) -> Any:
        """Append one node. Returns its Tensor, or a tuple if it has several outputs.

        `types` has the dtype and shape of each output if ONNX cannot infer them (nodes with subgraphs).
        """
        schema = _schema(kind)
        tensors = _without_omitted(self._operands(kind, schema, inputs), schema.min_input)
        names = [self.unique(kind) for _ in range(outputs or max(1, schema.min_output))]
        plain = {name: attribute(value) for name, value in attributes.items() if value is not None}
        node = helper.make_node(kind, [t.name if t else "" for t in tensors], names, name=names[0], **plain)
        limits.along(kind, tensors[0].shape if tensors and tensors[0] else None, plain)
        limits.numbers(kind, [self._values.get(t.name) if t else None for t in tensors], plain)
        shape_rules.check(kind, [t.shape if t else None for t in tensors], plain)
        found = list(types) if types else self._infer(schema, node, [t for t in tensors if t])
        shape_rules.check_moved(kind, tensors[0].shape if tensors and tensors[0] else None, found[0][1])
        known = all(t is None or t.name in self._fixed or t.name in self.initializers for t in tensors)
        if limits.results(kind, [shape for _, shape in found], plain, known):
            self._fixed.update(names)
        self.elements += sum(math.prod(d or 1 for d in shape or ()) for _, shape in found)
        self.nodes.append(node)
        self.makers.update(dict.fromkeys(names, Made(node, tensors)))
        results = tuple(
            Tensor(name, dtype, self._sizes.shape(kind, tensors, shape))
            for name, (dtype, shape) in zip(names, found, strict=True)
        )
        self._sizes.note(kind, tensors, results[0], plain)
        return results if len(results) > 1 else results[0]

    def python(
        self, operator: str, code: str, parameters: Mapping[str, Any], inputs: Sequence[Operand],
        weights: Sequence[np.ndarray], types: Sequence[tuple[Any, Shape | None]], names: Sequence[str] = (),
    ) -> tuple[Tensor, ...]:  # fmt: skip
        """Append a node that calls registered Python code. `types` are the types of its results, `names` their optional
        names; `parameters` are plain values.

        Raises UnsupportedOperationError inside a branch or loop, where the graph cannot be split.
        """
        if self._depth:
            raise UnsupportedOperationError("Python code cannot be called inside a branch or loop")
        for _, shape in types:
            limits.tensor(shape)
        operands = [*(self.tensor(x) for x in inputs), *map(self._initializer, weights)]
        unique = [self.unique(operator) for _ in types]
        names = names or unique
        attributes = {"label": self.label, "code": code, "parameters": json.dumps(dict(parameters))}
        node = helper.make_node(
            operator, [t.name for t in operands], names, name=unique[0], domain=PYTHON, **attributes
        )
        self.nodes.append(node)
        results = tuple(Tensor(n, np.dtype(dtype), shape) for n, (dtype, shape) in zip(names, types, strict=True))
        self._noted.update((t.name, t) for t in results)
        self._domains[PYTHON] = DOMAINS[PYTHON]
        return results

    def other(
        self,
        domain: str,
        kind: str,
        inputs: Sequence[Tensor],
        types: Sequence[tuple[np.dtype[Any], Shape | None]],
        *,
        last: int | None = None,
        **attributes: Any,
    ) -> tuple[Tensor, ...]:
        """Append one node from one of `DOMAINS`. `types` are the types of its outputs.

        `last` is the last version of the domain that has the operator, if older than the one in `DOMAINS`.
        """
        for _, shape in types:
            limits.tensor(shape)
        self._domains[domain] = min(last or DOMAINS[domain], self._domains.get(domain, DOMAINS[domain]))
        names = [self.unique(kind) for _ in types]
        node = helper.make_node(kind, [t.name for t in inputs], names, name=names[0], domain=domain, **attributes)
        self.nodes.append(node)
        return tuple(Tensor(name, np.dtype(dtype), shape) for name, (dtype, shape) in zip(names, types, strict=True))

    def cast(self, x: Any, dtype: Any) -> Any:
        """`x` cast to an element type; unchanged if it already has it. A constant stays a constant."""
        dtype = np.dtype(dtype)
        if isinstance(x, Tensor):
            return x if x.dtype == dtype else self.Cast(x, to=element_type(dtype))
        array = np.asarray(x)
        if array.dtype == np.uint64 and dtype == np.int64 and array.size and array.max() > _INT64:
            raise ProgramError(f"the number {array.max()} does not fit int64")  # numpy would make it negative
        return array.astype(dtype, copy=False)

    def shape_of(self, x: Tensor | np.ndarray) -> Any:
        """The shape as int64: a numpy array if known, else a Tensor."""
        if not isinstance(x, Tensor):
            return np.array(np.shape(x), np.int64)
        return self.Shape(x) if x.static_shape is None else np.array(x.static_shape, np.int64)

    def tensor(self, x: Operand, dtype: Any = None) -> Tensor:
        """`x` as a Tensor; a constant becomes an initializer."""
        if isinstance(x, Tensor):
            return x if dtype is None else self.cast(x, dtype)
        array = np.asarray(x, dtype)
        if array.dtype == np.float16 and dtype is None:
            return self._stored_float16(array)
        return self._initializer(array)

    def subgraph(
        self,
        build: Callable[..., Sequence[Operand]],
        inputs: Sequence[tuple[np.dtype[Any], Shape | None]] = (),
    ) -> onnx.GraphProto:
        """The graph of a `Loop`, `If` or `Scan` attribute: the nodes and results of `build(*inputs)`."""
        outer, self.nodes = self.nodes, []
        self._depth += 1
        try:
            arguments = [Tensor(self.unique("in"), dtype, shape) for dtype, shape in inputs]
            results = []
            for value in build(*arguments):
                # Engines reject an outer value or an input as an output: produce each result inside.
                result = self.Identity(self.tensor(value))
                results.append(result)
            name = self.unique("body")
            self.complete(name, arguments, results)
            return helper.make_graph(
                self.nodes,
                name,
                [value_info(t) for t in arguments],
                [value_info(t) for t in results],
            )
        finally:
            self.nodes = outer
            self._depth -= 1

    def complete(self, name: str, arguments: list[Tensor], results: list[Tensor]) -> None:
        """Called before the body of a branch or loop is finished, to add to its inputs and outputs."""

    def model(
        self, name: str, inputs: Sequence[Tensor], outputs: Sequence[Tensor], weights: WeightArrays | None = None
    ) -> onnx.ModelProto:
        """The finished model. It holds its constants, or refers to the large ones, which `weights` then holds."""
        made = onnx.ModelProto(ir_version=IR_VERSION, producer_name="pippin", opset_import=opset_imports(self._domains))
        made.graph.name = name
        made.graph.node.extend([*self._unpacked, *self.nodes])
        made.graph.input.extend(value_info(t) for t in inputs)
        made.graph.output.extend(value_info(t) for t in outputs)
        made.graph.value_info.extend(value_info(t) for t in self._noted.values())
        referred = worth_referring(self.initializers) if weights is not None else set()
        for label, array in self.initializers.items():
            tensor = made.graph.initializer.add(name=label)
            if weights is not None and label in referred:
                weights.refer(tensor, array)
            else:
                store(array, tensor)
        return made

    def with_sizes(self, x: Operand) -> Tensor:
        """x as a Tensor, with the sizes that are known of it in the model, for passes that look for them."""
        tensor = self.tensor(x)
        if tensor.name in self.makers and not self.nested and tensor.shape is not None and any(tensor.shape):
            self._noted[tensor.name] = tensor
        return tensor

    def named(self, tensor: Tensor, name: str) -> Tensor:
        """The tensor under its external name. Two outputs may share a value, or an output may be an input."""
        if tensor.name == name:
            return tensor
        self.nodes.append(helper.make_node("Identity", [tensor.name], [name], name=name))
        return Tensor(name, tensor.dtype, tensor.shape)

    def unique(self, kind: str) -> str:
        self._counter += 1
        return f"{self.label}/{kind}_{self._counter}"

    def _operands(self, kind: str, schema: defs.OpSchema, inputs: Sequence[Operand]) -> list[Tensor | None]:
        parameters = [schema.inputs[min(i, len(schema.inputs) - 1)] for i in range(len(inputs))]
        bound: dict[str, list[np.dtype[Any]]] = {}
        for x, parameter in zip(inputs, parameters, strict=True):
            if isinstance(x, Tensor | np.ndarray | np.generic):
                constant16 = x.dtype == np.float16 and not isinstance(x, Tensor)
                bound.setdefault(_group(parameter), []).append(self.float16 if constant16 else x.dtype)
        tensors: list[Tensor | None] = []
        for x, parameter in zip(inputs, parameters, strict=True):
            if x is None:
                tensors.append(None)
                continue
            own = [x.dtype] if isinstance(x, Tensor | np.ndarray | np.generic) else []
            beside = bound.get(_group(parameter), own) if parameter.is_homogeneous and _group(parameter) else own
            tensors.append(self._operand(x, self._choose(kind, parameter.type_str, beside, x)))
        return tensors

    def _operand(self, x: Operand, dtype: np.dtype[Any]) -> Tensor:
        if isinstance(x, Tensor):
            return self.cast(x, dtype)
        if isinstance(x, np.ndarray | np.generic) and x.dtype == np.float16 and dtype == self.float16:
            return self.tensor(x)
        array = np.asarray(x if isinstance(x, Number) else self.cast(x, dtype), dtype)
        if dtype.kind in "iu" and np.asarray(x).dtype.kind == "f" and not np.array_equal(array, np.asarray(x)):
            raise UnsupportedOperationError(
                f"the constant {x} cannot be converted to {dtype}, the type of the other operand"
            )
        return self.tensor(array)

    def _choose(self, kind: str, type_name: str, found: Sequence[np.dtype[Any]], x: Operand) -> np.dtype[Any]:
        """The element type of an operand: that of the other operands, if the operator accepts it."""
        allowed = _allowed(kind).get(type_name) or frozenset(_dtypes([type_name]))
        if found:
            dtype = np.dtype(found[0])
            for other in found[1:]:
                dtype = np.promote_types(dtype, other)
        else:
            dtype = np.asarray(x).dtype
            if dtype.kind == "f":
                dtype = np.dtype(np.float32)
        if dtype in allowed:
            return dtype
        if dtype.kind in "iub" or not found:
            for wider in (np.int32, np.int64, np.float32):
                if np.dtype(wider) in allowed:
                    return np.dtype(wider)
        raise UnsupportedOperationError(f"ONNX {kind} does not accept {dtype} for {type_name}")

    def _infer(
        self, schema: defs.OpSchema, node: onnx.NodeProto, operands: Sequence[Tensor]
    ) -> list[tuple[np.dtype[Any], Shape | None]]:
        kinds = {t.name: helper.make_tensor_type_proto(element_type(t.dtype), t.shape) for t in operands}
        data = {t.name: numpy_helper.from_array(self._values[t.name]) for t in operands if t.name in self._values}
        try:
            found = shape_inference.infer_node_outputs(
                schema, node, kinds, data, opset_imports=_OPSET_IMPORTS, ir_version=IR_VERSION
            )
        except (shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            shapes = ", ".join(f"{t.dtype}{list(t.shape or ())}" for t in operands)
            raise UnsupportedOperationError(f"ONNX {node.op_type} does not accept ({shapes}): {error}") from None
        return [_kind(found[name]) for name in node.output]

    def _stored_float16(self, array: np.ndarray) -> Tensor:
        """A float16 constant in the type used to compute it; a large one stays float16 in the model."""
        if self.float16 == np.float16 or array.size <= _KEEP_FLOAT16_ABOVE:
            return self._initializer(array.astype(self.float16))
        stored = self._initializer(array)
        key = (stored.name, "computed")
        if key not in self._constants:
            name = f"{stored.name}/Cast"
            self._unpacked.append(
                helper.make_node("Cast", [stored.name], [name], name=name, to=element_type(self.float16))
            )
            self._constants[key] = Tensor(name, self.float16, stored.shape)
        return self._constants[key]

    def _initializer(self, array: np.ndarray) -> Tensor:
        small = array.nbytes <= _SMALL and array.dtype != object
        address = array.__array_interface__["data"][0]
        key = (
            array.dtype.str,
            str(array.dtype),
            array.shape,
            array.tobytes() if small else (address, array.strides),
        )
        if key not in self._constants:
            name = self.unique("const")
            self.initializers[name] = array
            if small and array.dtype.kind in "iu":
                self._values[name] = array
            self._kept.append(array)
            self._constants[key] = Tensor(name, array.dtype, array.shape)
        return self._constants[key]


def common_shape(a: Shape | None, b: Shape | None) -> Shape | None:
    """What is known about a tensor that has one of two shapes."""
    if a is None or b is None or len(a) != len(b):
        return None
    return tuple(x if x == y else None for x, y in zip(a, b, strict=True))


def opset_imports(domains: Mapping[str, int]) -> list[onnx.OperatorSetIdProto]:
    """The operator sets of a model: ONNX's own and these domains in these versions."""
    return [*_OPSET_IMPORTS, *(helper.make_opsetid(domain, domains[domain]) for domain in sorted(domains))]


def value_info(t: Tensor) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(t.name, element_type(t.dtype), t.shape)


def _without_omitted(tensors: list[Tensor | None], least: int) -> list[Tensor | None]:
    """The operands up to the last one given: OpenVINO takes an input without a name at the end as one that is there."""
    count = max((number for number, tensor in enumerate(tensors, 1) if tensor is not None), default=0)
    return tensors[: max(count, least)]


def _group(parameter: Any) -> str:
    """The type parameter on which operands must agree; empty for a concrete type."""
    return "" if parameter.type_str.startswith("tensor(") else parameter.type_str


def _kind(proto: onnx.TypeProto) -> tuple[np.dtype[Any], Shape | None]:
    tensor = proto.tensor_type
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type))
    if not tensor.HasField("shape"):
        return dtype, None
    return dtype, tuple(d.dim_value if d.WhichOneof("value") == "dim_value" else None for d in tensor.shape.dim)
