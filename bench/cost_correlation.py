"""Cost correlation: how well estimated costs rank the measured times of operations, and how much time belongs to none.

python bench/cost_correlation.py MODEL ...    # both engines, float32; Spearman's rank correlation over fused groups
"""

from __future__ import annotations

import sys

from scipy.stats import spearmanr

import pippin

ENGINES = ("openvino", "onnxruntime")


def main() -> None:
    for path in sys.argv[1:]:
        for engine in ENGINES:
            try:
                model = pippin.load(path, pippin.Configuration(engine=engine, precision="float32"), cache=False)
                plan = model.measured_plan()
            except pippin.PippinError as error:
                print(f"{path}, {engine}: {str(error).splitlines()[0]}")
                continue
            estimates, total = plan.estimates(), sum(plan.measured.values())
            rows = [(estimates[name], seconds) for name, seconds in plan.measured.items() if name]
            rank = spearmanr(*zip(*rows, strict=True)).statistic if len(rows) > 2 else float("nan")
            rest = plan.measured.get("", 0.0) / total
            print(f"{path}, {engine}: {len(rows)} groups, {1e3 * total:.2f} ms, {rest:.1%} unassigned, rank {rank:.2f}")


if __name__ == "__main__":
    main()
