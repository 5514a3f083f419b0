"""Selecting: transformers that keep some of the columns."""

from __future__ import annotations

from typing import Any

from .registry import converts
from .table import Table


@converts("sklearn", "SelectorMixin")
def selector(estimator: Any, table: Table) -> Table:
    return table.select(estimator.get_support(indices=True))
