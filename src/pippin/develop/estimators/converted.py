"""Converted: a Core ML model made of something else, not yet on disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import ConfigurationError, FeatureShapeError
from .kinds.encoding import is_missing
from .kinds.table import MISSING
from .parts.values import NUMBER, STRING

if TYPE_CHECKING:
    from ...runtime.model import Model


class Input(NamedTuple):
    """A column: its feature's name and kind, and for a text how to make the feature."""

    name: str
    kind: str
    encoder: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Converted:
    """`spec` is the specification (a protobuf message), which `pippin.load` and coremltools take as well."""

    spec: Any = field(repr=False)
    inputs: tuple[Input, ...]
    """The columns in the estimator's order. One without a kind is not taken by the model."""
    array: str | None = None
    """The name of the only input, if it is one row of all columns."""

    @property
    def has_program(self) -> bool:
        """Whether it holds an ML Program, which Core ML takes in a package (.mlpackage) only."""
        return any(kind == "mlProgram" for kind in self.kinds)

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of the models inside, in order."""
        kind = self.spec.WhichOneof("Type")
        whole = getattr(self.spec, kind)
        if not kind.startswith("pipeline"):
            return (kind,)
        return tuple(m.WhichOneof("Type") for m in (whole if kind == "pipeline" else whole.pipeline).models)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write an .mlmodel or an .mlpackage. A model with an ML Program needs a package."""
        from ...format.mlpackage import write_package
        from ...support.atomic_write import atomic_write

        target = Path(path)
        if target.suffix not in (".mlmodel", ".mlpackage"):
            raise ConfigurationError(f"{target}: a model is saved as .mlmodel or .mlpackage")
        if target.suffix == ".mlmodel" and self.has_program:
            raise ConfigurationError(
                f"{target}: this model has a part that is an ML Program ({', '.join(self.kinds)}), which Core ML takes"
                f" only in a package; save it as {target.with_suffix('.mlpackage').name}"
            )
        try:
            if target.suffix == ".mlpackage":
                if target.exists():
                    raise ConfigurationError(f"{target} already exists")
                write_package(target, self.spec, {})
            else:
                with atomic_write(target) as temporary:
                    temporary.write_bytes(self.spec.SerializeToString())
        except OSError as error:
            raise ConfigurationError(f"{target} cannot be written: {error.strerror or error}") from None
        return target

    def load(self) -> Model:
        """The model in memory, ready to predict."""
        from ...runtime.model import load

        return load(self.spec, cache=False)

    def features(self, rows: Any) -> list[dict[str, Any]]:
        """The features of each row of a table, or of each text, in the form that `predict` takes."""
        return list(self._features(rows))

    def _features(self, rows: Any) -> Iterator[dict[str, Any]]:
        if hasattr(rows, "toarray"):
            rows = rows.toarray()
        if hasattr(rows, "columns"):
            columns = [rows.iloc[:, place].tolist() for place in range(rows.shape[1])]
            listed = list(zip(*columns, strict=True))
        else:
            listed = list(rows)
        for row in listed:
            if len(self.inputs) == 1 and (isinstance(row, str | dict) or np.ndim(row) == 0):
                row = (row,)
            if len(row) != len(self.inputs):
                raise FeatureShapeError(f"a row must have {len(self.inputs)} columns, got {len(row)}")
            if self.array is not None:
                yield {self.array: np.array(row, np.float64)}
            else:
                pairs = zip(self.inputs, row, strict=True)
                yield {each.name: _feature(each, value) for each, value in pairs if each.kind}


def _feature(each: Input, value: Any) -> Any:
    if each.encoder is not None:
        return each.encoder(value)
    if each.kind == STRING:
        return MISSING if is_missing(value) else str(value)
    if each.kind == NUMBER:
        return float("nan") if is_missing(value) else float(value)
    return value
