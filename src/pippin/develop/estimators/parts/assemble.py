"""Assemble: writes the parts of a graph as one Core ML specification.

Parts that follow one another are models of a pipeline; the steps between two classical models are one ML Program.
Pipelines take a feature from a model only if both declare it alike, so numbers for a program pass through a feature
vectorizer that declares FLOAT32.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ....format.schema import messages
from ....program.protobuf_writer import write_program
from .program import ProgramBuilder
from .values import ARRAY, Columns, Node, Part, Step, Value

_SINCE_PROGRAMS = 6
_DOUBLE, _FLOAT32 = 65600, 65568
_INTERMEDIATE = "intermediate"


class Assembly:
    """`columns` are the model's own inputs; with `array`, one row of all of them has this name."""

    def __init__(self, columns: Sequence[Value], array: str | None) -> None:
        self.columns, self.array = columns, array
        self.models: list[Any] = []
        self.names: dict[int, tuple[str, Any]] = {}
        """What is known by a name: the feature's name and its type, by the identity of the value."""
        self.narrowed: dict[str, str] = {}
        """The FLOAT32 twins of rows, by name."""
        self.levels: dict[int, int] = {}
        self.numbered = 0

    def model(self, ends: Sequence[Node], outputs: Sequence[tuple[Value, str]], predicted: str, scores: str) -> Any:
        """The specification that gives `outputs` under these names. `scores` is the name of the probabilities."""
        self.final = {id(value): name for value, name in outputs}
        order = _ordered(ends)
        self.users: dict[int, list[Node]] = {}
        for node in order:
            for value in node.inputs:
                self.users.setdefault(id(value), []).append(node)
            self.levels[id(node)] = self._level(node)
        self._declare_inputs(order)
        for level in range(max(self.levels.values()) + 1):
            here = [node for node in order if self.levels[id(node)] == level]
            for node in here:
                if isinstance(node, Part):
                    self._part(node)
                elif isinstance(node, Columns):
                    self._columns(node)
            steps = [node for node in here if isinstance(node, Step)]
            if steps:
                self._program(steps)
        return self._joined(outputs, predicted, scores)

    def _level(self, node: Node) -> int:
        """Classical models and programs take turns: the number of changes before a node."""
        levels = [0]
        for value in node.inputs:
            if value.node is not None:
                crossing = isinstance(value.node, Step) and not isinstance(node, Step)
                levels.append(self.levels[id(value.node)] + crossing)
        return max(levels)

    # Inputs.

    def _declare_inputs(self, order: Sequence[Node]) -> None:
        if self.array is None:
            taken = [column for column in self.columns if column.kind]  # what nothing takes is no input
            for column in taken:
                self.names[id(column)] = column.name, _feature_type(column)
            self.inputs = [self.names[id(column)] for column in taken]
            return
        every = tuple(range(len(self.columns)))
        whole = [node for node in order if isinstance(node, Columns)]
        users = [user for node in whole for user in self.users.get(id(node.outputs[0]), ())]
        programs = all(node.indices == every for node in whole) and all(isinstance(user, Step) for user in users)
        self.inputs = [(self.array, _array_type(len(self.columns), _FLOAT32 if programs else _DOUBLE))]

    def _columns(self, node: Columns) -> None:
        value = node.outputs[0]
        if self.array is not None:
            if node.indices == tuple(range(len(self.columns))):
                self.names[id(value)] = self.inputs[0]
                return
            made = self._new("arrayFeatureExtractor", [self.inputs[0]], [(value, None)])
            made.arrayFeatureExtractor.extractIndex.extend(node.indices)
            return
        taken = [self.columns[index] for index in node.indices]
        made = self._new(
            "featureVectorizer", [self.names[id(column)] for column in dict.fromkeys(taken)], [(value, None)]
        )
        for column in taken:
            made.featureVectorizer.inputList.add(inputColumn=column.name, inputDimensions=1)

    # Parts.

    def _part(self, node: Part) -> None:
        inputs = [self.names[id(value)] for value in dict.fromkeys(node.inputs)]
        for value in node.inputs:
            value.name = self.names[id(value)][0]
        made = self._new(node.type, inputs, [(value, None) for value in node.outputs])
        message = getattr(made, node.type)
        message.SetInParent()
        if node.fill is not None:
            node.fill(message)
        if node.classes is not None:
            self._end(made, node)
            labels = message.stringClassLabels if isinstance(node.classes[0], str) else message.int64ClassLabels
            labels.vector.extend(node.classes)
        elif node.type.endswith("Regressor"):
            made.description.predictedFeatureName = self.names[id(node.outputs[0])][0]

    def _end(self, made: Any, node: Part | Step) -> None:
        """A classifier's outputs have the names of the model's."""
        made.description.predictedFeatureName = self.names[id(node.outputs[0])][0]
        if id(node.outputs[1]) in self.final or id(node.outputs[1]) in self.users:
            made.description.predictedProbabilitiesName = self.names[id(node.outputs[1])][0]
        else:
            del made.description.output[1]

    def _new(self, kind: str, inputs: Iterable[tuple[str, Any]], outputs: Iterable[tuple[Value, Any]]) -> Any:
        """A model of this type with its description; further outputs get names."""
        made = messages("Model").Model(specificationVersion=1)
        for name, feature_type in inputs:
            made.description.input.add(name=name, type=feature_type)
        for value, declared in outputs:
            feature_type = _feature_type(value) if declared is None else declared
            if kind == "dictVectorizer":
                feature_type.dictionaryType.int64KeyType.SetInParent()
            name = self.final.get(id(value)) or self._name()
            value.name = name
            self.names[id(value)] = name, feature_type
            made.description.output.add(name=name, type=feature_type)
        getattr(made, kind).SetInParent()
        self.models.append(made)
        return made

    def _name(self) -> str:
        self.numbered += 1
        return f"{_INTERMEDIATE}{self.numbered}"

    # Programs.

    def _program(self, steps: Sequence[Step]) -> None:
        inside = {id(step) for step in steps}
        builder = ProgramBuilder()
        known: dict[int, Any] = {}
        described: list[tuple[str, Any]] = []
        for step in steps:
            for value in step.inputs:
                if id(value) in known or id(value.node) in inside:
                    continue
                name, feature_type = self._narrowed(value)
                twin = next((t for t in builder.inputs if t.name == name), None)
                if twin is None:
                    described.append((name, feature_type))
                known[id(value)] = builder.input(name, value.width)
        made = messages("Model").Model(specificationVersion=_SINCE_PROGRAMS)
        for name, feature_type in described:
            made.description.input.add(name=name, type=feature_type)
        for step in steps:
            assert step.function is not None
            result = step.function(builder, *(known[id(value)] for value in step.inputs))
            if step.classes is None:
                value = step.outputs[0]
                known[id(value)] = result if result.shape == (value.width,) else builder.reshape(result, (value.width,))
                outside = any(id(user) not in inside for user in self.users.get(id(value), ()))
                if outside or id(value) in self.final:
                    self._program_output(made, builder, value, known[id(value)])
                continue
            label, probabilities = (self.final.get(id(value)) or self._name() for value in step.outputs)
            builder.classify(result, step.classes, label, probabilities)
            for value, name in zip(step.outputs, (label, probabilities), strict=True):
                self.names[id(value)] = name, _feature_type(value, step.classes)
                made.description.output.add(name=name, type=self.names[id(value)][1])
            made.description.predictedFeatureName, made.description.predictedProbabilitiesName = label, probabilities
        made.mlProgram.CopyFrom(write_program(builder.finished()))
        self.models.append(made)

    def _program_output(self, made: Any, builder: ProgramBuilder, value: Value, tensor: Any) -> None:
        name = self.final.get(id(value)) or self._name()
        builder.output(tensor, name)
        self.names[id(value)] = name, _array_type(value.width, _FLOAT32)
        made.description.output.add(name=name, type=self.names[id(value)][1])

    def _narrowed(self, value: Value) -> tuple[str, Any]:
        """The name and type of a row declared as FLOAT32."""
        name, feature_type = self.names[id(value)]
        if feature_type.multiArrayType.dataType == _FLOAT32:
            return name, feature_type
        if name not in self.narrowed:
            other = Value(ARRAY, value.width)
            made = self._new("featureVectorizer", [(name, feature_type)], [(other, _array_type(value.width, _FLOAT32))])
            made.featureVectorizer.inputList.add(inputColumn=name, inputDimensions=value.width)
            self.narrowed[name] = other.name
        return self.narrowed[name], _array_type(value.width, _FLOAT32)

    # The whole.

    def _joined(self, outputs: Sequence[tuple[Value, str]], predicted: str, scores: str) -> Any:
        last = self.models[-1].WhichOneof("Type")
        if len(self.models) == 1:
            return self.models[0]
        whole = messages("Model").Model()
        # A pipeline of a kind ends in a model of that kind; one that ends otherwise is just a pipeline.
        kind = "pipelineClassifier" if scores or last.endswith("Classifier") else "pipeline"
        kind = "pipelineRegressor" if last.endswith("Regressor") and predicted else kind
        pipeline = getattr(whole, kind) if kind == "pipeline" else getattr(whole, kind).pipeline
        pipeline.models.extend(self.models)
        whole.specificationVersion = max(model.specificationVersion for model in self.models)
        for name, feature_type in self.inputs:
            whole.description.input.add(name=name, type=feature_type)
        for value, name in outputs:
            whole.description.output.add(name=name, type=self.names[id(value)][1])
        whole.description.predictedFeatureName = predicted
        whole.description.predictedProbabilitiesName = scores
        return whole


def _ordered(ends: Sequence[Node]) -> list[Node]:
    """The nodes that the ends need, each after those that it needs."""
    found: dict[int, Node] = {}
    stack: list[tuple[Node, bool]] = [(node, False) for node in reversed(ends)]
    while stack:
        node, seen = stack.pop()
        if id(node) in found:
            continue
        if seen:
            found[id(node)] = node
            continue
        stack.append((node, True))
        stack += [(value.node, False) for value in reversed(node.inputs) if value.node is not None]
    return list(found.values())


def _array_type(width: int, dtype: int) -> Any:
    made = messages("FeatureTypes").FeatureType()
    made.multiArrayType.shape.append(width)
    made.multiArrayType.dataType = dtype
    return made


def _feature_type(value: Value, classes: Sequence[Any] | None = None) -> Any:
    made = messages("FeatureTypes").FeatureType()
    classes = getattr(value.node, "classes", None) if classes is None else classes
    match value.kind:
        case "array":
            return _array_type(value.width, _DOUBLE)
        case "number":
            made.doubleType.SetInParent()
        case "integer":
            made.int64Type.SetInParent()
        case "string":
            made.stringType.SetInParent()
        case "words" if classes is None or isinstance(classes[0], str):
            made.dictionaryType.stringKeyType.SetInParent()
        case _:
            made.dictionaryType.int64KeyType.SetInParent()
    return made
