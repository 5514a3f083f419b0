"""Check: what will go wrong with a model in 16 bits, or on Apple's devices, found without either."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ...errors import ConfigurationError
from ...format.asset import Asset
from ...program.opening import open_model
from ..compare import Source
from .constants import constant_findings
from .finding import Finding as Finding
from .portable import portable_findings
from .values import value_findings


def check(
    model: Source,
    features: Mapping[str, Any] | None = None,
    *,
    precision: Literal["declared", "float16"] = "declared",
    portable: bool = False,
    function: str | None = None,
) -> list[Finding]:
    """Look for values that 16 bits cannot hold, and with `portable`, for what Apple's devices are reported to refuse.

    The file is searched for constants that became infinite, masks that will, and epsilons that became 0; one run, in
    float64 and with every result rounded as it is declared, for values beyond 65,504 and for the operation that makes
    the first NaN or infinity. "float16" as `precision` looks at a float32 model as if it were converted to float16.
    `features` are the inputs, as `Model.predict` takes them; seeded random values by default, which may not show what
    real ones do. Raises what `pippin.load` and `Model.predict` raise.

    for finding in pippin.check("model.mlpackage", {"image": "cat.png"}):
        print(finding)
    """
    if precision not in ("declared", "float16"):
        raise ConfigurationError(f"precision must be declared or float16, got {precision!r}")
    asset: Asset = open_model(model)
    found = constant_findings(asset, precision, function)
    seen = {finding.operation for finding in found}
    found += [
        finding
        for finding in value_findings(asset, features, precision, function)
        if finding.operation not in seen or finding.rule.startswith("first")
    ]
    return found + (portable_findings(asset) if portable else [])
