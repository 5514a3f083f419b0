"""Values: one run, watched, for what float16 cannot hold and for the first NaN or infinity."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...format.asset import Asset
from ...specialization.nonfinite_origin import Watched
from ..compare import changed, subject
from ..float64 import Float64
from ..operations import declared_float16, operations, results
from .constants import LARGEST
from .finding import Finding

# Operations that add up squares inside, perhaps in float16.
_SQUARES = frozenset({"instance_norm", "l2_norm", "layer_norm", "reduce_l2_norm", "reduce_sum_square"})
_KEEP = "keep it in float32, with the operations that read it, or scale what comes in"


def value_findings(
    asset: Asset, features: Mapping[str, Any] | None, precision: str, function: str | None = None
) -> list[Finding]:
    """The findings of one run."""
    mine = subject(asset, features, function)
    watched = Watched(mine.lowered)
    watched.run(mine.arrays)
    found: list[Finding] = []
    origin = watched.origin
    if origin is not None:
        cure = "check the input" if origin.kind == "input" else "it is so in float32 too: change the model or its input"
        found.append(Finding(f"first {origin.value}", origin.name, origin.kind, str(origin), cure, first=True))
    listed = operations(mine.lowered)
    half = {o.name for o in listed} if precision == "float16" else declared_float16(asset, function)
    if not half:
        return found
    truth = Float64(mine.lowered.model).run(mine.lowered.model.graph.node, mine.arrays)
    arithmetic: Any = "float16" if precision == "float16" else "declared"
    rounded, _ = results(changed(asset, mine, arithmetic, None, function), mine.arrays)
    told = origin is not None
    for operation in listed:
        if operation.name not in half:
            continue
        right = [truth[name] for name in operation.results if truth[name].dtype.kind == "f" and truth[name].size]
        most = max((float(np.max(np.abs(x[np.isfinite(x)]), initial=0.0)) for x in right), default=0.0)
        broken = any(
            not np.isfinite(rounded[operation.name, number][np.isfinite(truth[name])]).all()
            for number, name in enumerate(operation.results)
            if (operation.name, number) in rounded and truth[name].dtype.kind == "f"
        )
        if most > LARGEST:
            text = f"its largest value is {most:,.0f}, and that of float16 is 65,504"
            found.append(Finding("overflow", operation.name, operation.kind, text, _KEEP, first=broken and not told))
        elif operation.kind in _SQUARES and _squares(operation, truth, mine.arrays) > LARGEST:
            total = _squares(operation, truth, mine.arrays)
            text = f"the squares it adds up come to {total:,.0f}, and the largest number of float16 is 65,504"
            found.append(Finding("overflow inside", operation.name, operation.kind, text, _KEEP))
        elif broken and not told:
            text = "it makes the first NaN or infinity in float16, where float32 has none"
            found.append(Finding("not finite", operation.name, operation.kind, text, _KEEP, first=True))
        told = told or broken
    return found


def _squares(operation: Any, truth: Mapping[str, np.ndarray], arrays: Mapping[str, np.ndarray]) -> float:
    """The largest sum of squares that the operation may add up: that of its operand, over the axes it reduces."""
    known = {**arrays, **truth}
    own = {name for node in operation.nodes for name in node.output}
    read = [n for node in operation.nodes for n in node.input if n in known and n not in own]
    data = next((known[name] for name in read if known[name].dtype.kind == "f" and known[name].size), None)
    if data is None:
        return 0.0
    if operation.kind in ("reduce_l2_norm", "reduce_sum_square"):
        made = truth[operation.results[0]]
        return float(np.max(made * made if operation.kind == "reduce_l2_norm" else made, initial=0.0))
    axes = tuple(range(2, data.ndim)) if operation.kind == "instance_norm" else (-1,)
    if operation.kind == "l2_norm":
        axes = tuple(range(max(data.ndim - 3, 0), data.ndim))
    return float(np.max(np.square(data.astype(np.float64)).sum(axes), initial=0.0))
