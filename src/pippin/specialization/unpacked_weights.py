"""Unpacked weights: says in the plan which compressed weights become floats, as no engine has a kernel for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from ..lowering.lowered_model import Source


def unpacked(sources: Sequence[Source]) -> Iterator[str]:
    """What the lowering makes floats of, in the type of the table or the stored numbers."""
    counts = Counter(source.kind for source in sources)
    palettes = counts["constexpr_lut_to_dense"] + counts["constexpr_lut_to_sparse"]
    # Sparse integers with scales stay integers; sparse palettes are counted as palettes.
    of_others = counts["constexpr_lut_to_sparse"] + counts["constexpr_sparse_blockwise_shift_scale"]
    for number, one, many in (
        (palettes, "palette", "palettes"),
        (counts["constexpr_sparse_to_dense"] - of_others, "sparse weight", "sparse weights"),
    ):
        if number > 0:
            yield f"{number} {one if number == 1 else many} unpacked to floats at load"
