"""Cost correlation: how well estimated costs rank the measured times of operations, and how much time belongs to none.

python bench/cost_correlation.py [--rounds 3] MODEL ...    # ONNX Runtime and OpenVINO, float32

A row is a group: operations that the engine ran as one kernel, whose estimates are summed. Its time is the least of
several profiles, which take turns between the engines. The rank correlation (Spearman's) is over all rows; with fewer
than 8 it says nothing, and is in brackets. Behind it is the highest that any order can reach: less than 1 where
estimates are equal (operations of the same shapes) or times are (less than the profiler can tell apart).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence

from scipy.stats import spearmanr

import pippin
from pippin.specialization.compute_plan import ComputePlan

ENGINES = ("onnxruntime", "openvino")
FEWEST = 8


def opened(path: str, engine: str) -> pippin.Model | None:
    hints = pippin.Hints(specialization_strategy="fast_load")
    try:
        return pippin.load(path, pippin.Configuration(engine=engine, precision="float32", hints=hints), cache=False)
    except pippin.PippinError as error:
        print(f"| {name_of(path)} | {engine} | {str(error).splitlines()[0][:100]} |", flush=True)
        return None


def name_of(path: str) -> str:
    return "/".join(path.rstrip("/").split("/")[-2:])


def least(plans: Sequence[ComputePlan]) -> dict[str, float]:
    """The least time of each group of the first plan."""
    times: dict[str, list[float]] = {}
    for plan in plans:
        sums = dict.fromkeys(plans[0].measured, 0.0)
        for operation, seconds in plan.measured.items():
            name = plans[0].fused.get(operation, operation)
            sums[name] = sums.get(name, 0.0) + seconds
        for name, seconds in sums.items():
            times.setdefault(name, []).append(seconds)
    return {name: min(each) for name, each in times.items() if name in plans[0].measured}


def shown(path: str, engine: str, plans: Sequence[ComputePlan]) -> str:
    measured, estimates = least(plans), plans[0].estimates()
    total = sum(measured.values())
    if not total:
        return f"| {name_of(path)} | {engine} | not profiled: it has a loop without a bound |"
    rows = [(estimates[name], seconds) for name, seconds in measured.items() if name]
    rank = spearmanr(*zip(*rows, strict=True)).statistic if len(rows) > 2 else math.nan
    highest = (
        spearmanr(*(sorted(column) for column in zip(*rows, strict=True))).statistic if len(rows) > 2 else math.nan
    )
    found = (f"{rank:.2f}" if len(rows) >= FEWEST else f"({rank:.2f})") + f" of {highest:.2f}"
    unassigned = measured.get("", 0.0) / total
    return f"| {name_of(path)} | {engine} | {len(rows)} | {1e3 * total:.3f} | {unassigned:.1%} | {found} |"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("models", nargs="+")
    arguments.add_argument("--rounds", type=int, default=3)
    given = arguments.parse_args()
    print("| model | engine | groups | ms | unassigned | rank |\n|---|---|---|---|---|---|", flush=True)
    for path in given.models:
        models = {engine: model for engine in ENGINES if (model := opened(path, engine)) is not None}
        plans: dict[str, list[ComputePlan]] = {engine: [] for engine in models}
        for _ in range(given.rounds):
            for engine, model in models.items():
                plans[engine].append(model.measured_plan())
        for engine in models:
            print(shown(path, engine, plans[engine]), flush=True)


if __name__ == "__main__":
    main()
