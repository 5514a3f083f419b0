"""Partition: measures the time to find the cheapest assignment of 10,000 operations to 3 units.

python bench/partition.py
"""

from __future__ import annotations

import contest
import numpy as np

from pippin.specialization.segment.partition import Problem, Transfer, partition

OPERATIONS, UNITS = 10_000, 3


def main() -> None:
    random = np.random.default_rng(0)
    costs = random.uniform(0, 1, (OPERATIONS, UNITS)).tolist()
    for name, skip in (("a chain", 0), ("residual connections", 4), ("dense connections", 1)):
        transfers = [
            Transfer(i, (i + 1, min(i + 5, OPERATIONS - 1)) if skip and i % skip == 0 else (i + 1,),
                     random.uniform(0, 0.5, (UNITS, UNITS)).tolist())
            for i in range(OPERATIONS - 1)
        ]  # fmt: skip
        problem = Problem(costs, transfers)
        took = contest.seconds(lambda problem=problem: partition(problem))
        print(f"{name:22} {took:.2f} s, proved: {partition(problem).proved}   goal 2 s")


if __name__ == "__main__":
    main()
