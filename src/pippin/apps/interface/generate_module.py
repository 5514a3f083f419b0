"""Module: the source of a typed interface. The same description always gives the same text."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ...errors import ConfigurationError
from ...format.description import FeatureDescription, FunctionDescription, ModelDescription
from .python_names import class_name, unique
from .python_types import given, label_type, literal, taken, told

_WIDTH = 110


def generate(model: str | os.PathLike[str], name: str | None = None, function: str | None = None) -> str:
    """The source of a Python module for a model: a class for each function (or for the one that is asked for), with
    the types of its inputs, outputs and states. `name` is that of the class; it follows from the file's by default.

    Raises FormatError where the model is unsound, ConfigurationError for a function or a name that cannot be.
    """
    from ...format.asset import open_asset

    path = Path(model)
    if name is not None and (not name.isidentifier() or class_name(name) != name):
        raise ConfigurationError(f"the class name {name!r}; it must be a name of Python such as {class_name(name)}")
    description = open_asset(path).description
    return source(description, path.name, name or class_name(path.stem), function)


def source(description: ModelDescription, file: str, name: str, function: str | None = None) -> str:
    """The text for a description; `file` is what the model is called, beside the module."""
    if function is not None:
        functions = [description.function(function)]
        classes = {functions[0].name: name}
    else:
        default = description.function()
        functions = [default, *(f for f in description.functions if f is not default)]
        others = unique((f"{name}{class_name(f.name)}" for f in functions[1:]), "Model")
        classes = {default.name: name} | dict(zip((f.name for f in functions[1:]), others.values(), strict=True))
    labels = _labels(description, functions, name)
    several = len(description.functions) > 1
    body = [_class(f, classes[f.name], description, labels, several) for f in functions]
    text = "\n\n\n".join([*([labels[1]] if labels else []), *body])
    return f"{_head(description, file, name, text)}\n\n\n{text}\n"


def _head(description: ModelDescription, file: str, name: str, text: str) -> str:
    about = description.metadata
    facts = [("Version", about.version), ("Author", about.author), ("License", about.license)]
    lines = [f"{name}: a typed interface to the Core ML model {file}, made by `pippin generate`: do not edit.", ""]
    lines += [about.short_description.strip(), ""] if about.short_description.strip() else []
    lines += [f"{key}: {value.strip()}" for key, value in facts if value.strip()]
    collections = [word for word in ("Iterable", "Mapping", "Sequence") if f"{word}[" in text]
    images = "PIL." in text or "ImageLike" in text
    typing = [*(["TYPE_CHECKING"] if images else []), "Any", *(["Literal"] if "Literal[" in text else [])]
    typing += ["TypeAlias"] if "TypeAlias" in text or "ImageLike" in text else []
    imports = [
        "import os",
        f"from collections.abc import {', '.join(collections)}",
        f"from dataclasses import dataclass{', replace' if 'replace(' in text else ''}",
        "from pathlib import Path",
        f"from typing import {', '.join(typing)}",
        "",
        *(["import numpy as np"] if "np." in text else []),
        "import numpy.typing as npt",
        "",
        "import pippin",
        "",
        "if TYPE_CHECKING:",
        "    import PIL.Image",
        "",
        f"MODEL = Path(__file__).parent / {literal(file)}",
        '"""Where the model is looked for: beside this module."""',
        "",
        'ImageLike: TypeAlias = "PIL.Image.Image | str | os.PathLike[str] | npt.NDArray[Any] | pippin.ImageInput"',
    ]
    needed = [line for line in imports if _needed(line, text)]
    head = [_docstring("\n".join(lines).strip(), 0), "", "from __future__ import annotations", "", *needed]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(head).strip())


def _needed(line: str, text: str) -> bool:
    if "PIL.Image" in line or line.startswith(("if TYPE_CHECKING", "ImageLike")):
        return "PIL." in text or "ImageLike" in text
    if line.startswith("import numpy.typing"):
        return "npt." in text or "ImageLike" in text
    return True


def _labels(
    description: ModelDescription, functions: Iterable[FunctionDescription], name: str
) -> tuple[str, str] | None:
    """The type of a classifier's labels: (its name, its definition)."""
    named = f"{name}Label"
    if not description.class_labels or not any(f.predicted_feature_name for f in functions):
        return None
    kind = label_type(description.class_labels)
    text = f"{named}: TypeAlias = {kind}"
    if len(text) > _WIDTH and kind.startswith("Literal"):
        listed = "".join(f"    {literal(label)},\n" for label in dict.fromkeys(description.class_labels))
        text = f"{named}: TypeAlias = Literal[\n{listed}]"
    return named, f'{text}\n"""One of the {len(description.class_labels)} classes."""'


def _class(
    function: FunctionDescription,
    name: str,
    description: ModelDescription,
    labels: tuple[str, str] | None,
    several: bool,
) -> str:
    parts = [_input(function, name), _output(function, name, labels)]
    if function.states:
        parts.append(_state(function, name))
    parts.append(_model(function, name, description, several))
    return "\n\n\n".join(parts)


def _input(function: FunctionDescription, name: str) -> str:
    """The dataclass of the inputs: what has to be given comes first."""
    names = unique(feature.name for feature in function.inputs)
    ordered = sorted(function.inputs, key=lambda feature: feature.optional)
    # Arrays have no truth value: generated equality would raise.
    lines = ["@dataclass(frozen=True, slots=True, eq=False)", f"class {name}Input:"]
    lines.append(_docstring(f"What {name} takes.", 4))
    for feature in ordered:
        kind = taken(feature.type)
        lines += [
            "",
            f"    {names[feature.name]}: {kind} | None = None"
            if feature.optional
            else f"    {names[feature.name]}: {kind}",
            _docstring(told(feature), 4),
        ]
    lines += [
        "",
        "    def features(self) -> dict[str, Any]:",
        '        """By the names that the model has for them."""',
    ]
    given_always = ", ".join(f"{literal(f.name)}: self.{names[f.name]}" for f in ordered if not f.optional)
    lines.append(f"        found: dict[str, Any] = {{{given_always}}}")
    for feature in ordered:
        if feature.optional:
            field = names[feature.name]
            lines += [
                f"        if self.{field} is not None:",
                f"            found[{literal(feature.name)}] = self.{field}",
            ]
    return "\n".join([*lines, "        return found"])


def _output(function: FunctionDescription, name: str, labels: tuple[str, str] | None) -> str:
    names = unique(feature.name for feature in function.outputs)
    lines = ["@dataclass(frozen=True, slots=True, eq=False)", f"class {name}Output:"]
    lines.append(_docstring(f"What {name} gives.", 4))
    for feature in function.outputs:
        kind = _given(feature, function, labels)
        lines += ["", f"    {names[feature.name]}: {kind}", _docstring(told(feature), 4)]
    lines += ["", "    @classmethod", f"    def of(cls, outputs: Mapping[str, Any]) -> {name}Output:"]
    lines.append('        """From the outputs by the names that the model has for them."""')
    fields = ", ".join(f"{field}=outputs[{literal(own)}]" for own, field in names.items())
    return "\n".join([*lines, f"        return cls({fields})"])


def _given(feature: FeatureDescription, function: FunctionDescription, labels: tuple[str, str] | None) -> str:
    if labels and feature.name == function.predicted_feature_name:
        return labels[0]
    if labels and feature.name == function.predicted_probabilities_name:
        return f"dict[{labels[0]}, float]"
    return given(feature.type)


def _state(function: FunctionDescription, name: str) -> str:
    lines = [f"class {name}State:"]
    lines += [_docstring(f"What {name} remembers between predictions; zeros at first.", 4), ""]
    lines += ["    def __init__(self, state: pippin.State) -> None:", "        self.state = state"]
    for own, field in unique(feature.name for feature in function.states).items():
        feature = next(f for f in function.states if f.name == own)
        kind = given(feature.type)
        lines += ["", "    @property", f"    def {field}(self) -> {kind}:", _docstring(f"A copy. {told(feature)}", 8)]
        lines += [f"        found: {kind} = self.state.read({literal(own)})", "        return found"]
        lines += ["", f"    @{field}.setter", f"    def {field}(self, value: {kind}) -> None:"]
        lines.append(f"        self.state.write({literal(own)}, value)")
    return "\n".join(lines)


def _model(function: FunctionDescription, name: str, description: ModelDescription, several: bool) -> str:
    about = description.metadata.short_description.strip() or f"A Core ML model, {description.kind}."
    told_of = f"{about}\n\nThe function {function.name!r}." if several else about
    how = f"replace(configuration or pippin.Configuration(), function_name={literal(function.name)})"
    chosen = how if several else "configuration"
    return "\n".join(
        [
            f"class {name}:",
            _docstring(f"{told_of}\n\nAny thread may use it; `close`, or a `with` block, gives its memory back.", 4),
            *_indented(_FRAME, name=name, chosen=chosen),
            *_indented(_WITH_STATE if function.states else _STATELESS, name=name),
        ]
    )


def _indented(template: str, **words: str) -> Iterator[str]:
    text = template
    for word, value in words.items():
        text = text.replace(f"<{word}>", value)
    yield from text.rstrip().splitlines()


_FRAME = '''
    def __init__(self, model: pippin.Model) -> None:
        self.model = model

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] = MODEL, configuration: pippin.Configuration | None = None
    ) -> <name>:
        """Load the model, from the cache where it is there. Raises what `pippin.load` does."""
        return cls(pippin.load(path, <chosen>))

    @classmethod
    async def load_async(
        cls, path: str | os.PathLike[str] = MODEL, configuration: pippin.Configuration | None = None
    ) -> <name>:
        """`load` in a thread, on asyncio or trio."""
        return cls(await pippin.load_async(path, <chosen>))

    def close(self) -> None:
        self.model.close()

    def __enter__(self) -> <name>:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
'''

_STATELESS = '''
    def predict(self, input: <name>Input, *, timeout: float | None = None) -> <name>Output:
        """One prediction. Raises what `pippin.Model.predict` does."""
        return <name>Output.of(self.model.predict(input.features(), timeout=timeout))

    async def predict_async(self, input: <name>Input, *, timeout: float | None = None) -> <name>Output:
        """One prediction, in a task of asyncio or trio; cancelling the task cancels it."""
        return <name>Output.of(await self.model.predict_async(input.features(), timeout=timeout))

    def predict_batch(self, inputs: Iterable[<name>Input]) -> list[<name>Output]:
        """Predictions for many inputs, in order; several run at once."""
        found = self.model.predict_batch([one.features() for one in inputs])
        return [<name>Output.of(outputs) for outputs in found]
'''

_WITH_STATE = '''
    def make_state(self) -> <name>State:
        """A new state, all zeros."""
        return <name>State(self.model.make_state())

    def predict(
        self, input: <name>Input, state: <name>State, *, timeout: float | None = None
    ) -> <name>Output:
        """One prediction, which updates the state. Raises what `pippin.Model.predict` does."""
        return <name>Output.of(self.model.predict(input.features(), state=state.state, timeout=timeout))

    async def predict_async(
        self, input: <name>Input, state: <name>State, *, timeout: float | None = None
    ) -> <name>Output:
        """One prediction, in a task of asyncio or trio; cancelling the task cancels it."""
        found = await self.model.predict_async(input.features(), state=state.state, timeout=timeout)
        return <name>Output.of(found)

    def predict_batch(self, inputs: Iterable[<name>Input], state: <name>State) -> list[<name>Output]:
        """Predictions for many inputs, one after the other, on one state."""
        return [self.predict(one, state) for one in inputs]
'''


def _docstring(text: str, indent: int) -> str:
    """A docstring of the text, whatever is in it."""
    plain = "".join(c if c.isprintable() or c == "\n" else " " for c in text.replace("\r\n", "\n").replace("\r", "\n"))
    safe = plain.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    if safe.endswith('"'):
        safe = f'{safe[:-1]}\\"'
    wrapped: list[str] = []
    for line in safe.splitlines() or [""]:
        wrapped += textwrap.wrap(line, _WIDTH - indent, break_long_words=False, break_on_hyphens=False) or [""]
    lead = " " if wrapped[0].startswith('"') else ""
    tail: Sequence[str] = [*wrapped[1:]] if len(wrapped) > 1 else []
    space = " " * indent
    if not tail:
        return f'{space}"""{lead}{wrapped[0]}"""'
    middle = "\n".join(f"{space}{line}".rstrip() for line in tail)
    return f'{space}"""{lead}{wrapped[0]}\n{middle}\n{space}"""'
