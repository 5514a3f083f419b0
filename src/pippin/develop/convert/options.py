"""Options: how a network is to be converted, and what coremltools calls that."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import ConfigurationError

_ENDINGS = ("_cast_fp16", "_cast_fp32")  # which coremltools gives names when it changes the precision


@dataclass(frozen=True, slots=True)
class Options:
    """Raises ConfigurationError for an unknown precision or release."""

    outputs: tuple[str, ...] = ()
    precision: str = "float16"
    keep_float32: tuple[str, ...] = ()
    """Names or kinds of operations."""
    classes: Sequence[str] | None = None
    target: str = "iOS16"

    def __post_init__(self) -> None:
        import coremltools as ct

        if not hasattr(ct.target, self.target):
            known = ", ".join(t.name for t in ct.target if t.name.startswith("iOS") and t >= ct.target.iOS15)
            raise ConfigurationError(f"target must be a release such as {known}, got {self.target!r}")
        if self.precision not in ("float16", "float32"):
            raise ConfigurationError(f"precision must be float16 or float32, got {self.precision!r}")
        if self.keep_float32 and self.precision == "float32":
            raise ConfigurationError("keep_float32 only makes sense with the precision float16")

    def coremltools(self) -> dict[str, Any]:
        """The arguments for `coremltools.convert`."""
        import coremltools as ct

        half: Any = ct.precision.FLOAT32 if self.precision == "float32" else ct.precision.FLOAT16
        if self.keep_float32:
            names = {_plain(name) for name in self.keep_float32}

            def in_half(op: Any) -> bool:
                return not {op.op_type, _plain(op.name), *(_plain(each.name) for each in op.outputs)} & names

            half = ct.transform.FP16ComputePrecision(op_selector=in_half)
        how: dict[str, Any] = {"compute_precision": half, "minimum_deployment_target": getattr(ct.target, self.target)}
        if self.outputs:
            how["outputs"] = [ct.TensorType(name) for name in self.outputs]
        if self.classes is not None:
            how["classifier_config"] = ct.ClassifierConfig(list(self.classes))
        return how


def _plain(name: str) -> str:
    """A name as it was before coremltools changed the precision, made names of numbers and replaced points."""
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    number = name.removeprefix("var_")
    return number if number.isdigit() else re.sub(r"\W", "_", name)
