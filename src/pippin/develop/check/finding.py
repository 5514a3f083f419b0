"""Findings: what a check reports."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is or may be wrong with a model."""

    rule: str
    """A short name of what was looked for, such as "overflow"."""
    operation: str
    """The operation of the program, layer of the network, feature or state; "" for the whole model."""
    kind: str
    """The kind of the operation, such as `exp`; "input", "output" or "state"."""
    found: str
    cure: str
    source: str = ""
    """Where the fault of a device is reported."""
    first: bool = False
    """Whether it is the operation that makes the first value which is not finite."""

    def __str__(self) -> str:
        where = f"'{self.operation}' ({self.kind}): " if self.operation else ""
        source = f" [{self.source}]" if self.source else ""
        return f"{self.rule}: {where}{self.found}; {self.cure}{source}"
