"""Search: the cheapest way to store each weight so that all fit in a number of bytes.

The noises of single weights are taken to add up. Then a price for a byte decides each weight by itself, and the price
at which all fit is found by bisection; what is left over goes where it removes most noise for a byte.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

KEEP = ""
"""The method of a weight that stays as it is."""


@dataclass(frozen=True, slots=True)
class Option:
    """A way to store a weight: its bytes, and the noise that it alone makes."""

    method: str
    bytes: int
    noise: float


def cheapest(options: Mapping[str, list[Option]], most: float) -> dict[str, Option] | None:
    """An option for each weight with the least noise in sum, in at most so many bytes; None if they cannot fit."""
    smallest = {name: min(each, key=lambda o: (o.bytes, o.noise)) for name, each in options.items()}
    if sum(option.bytes for option in smallest.values()) > most:
        return None
    low, high = -80.0, 80.0  # powers of two: prices
    best = smallest
    for _ in range(60):
        price = (low + high) / 2
        chosen = {n: min(each, key=lambda o: (o.noise + 2.0**price * o.bytes, o.bytes)) for n, each in options.items()}
        if sum(option.bytes for option in chosen.values()) <= most:
            best, high = chosen, price
        else:
            low = price
    return _filled(options, best, most)


def _filled(options: Mapping[str, list[Option]], chosen: dict[str, Option], most: float) -> dict[str, Option]:
    chosen = dict(chosen)
    left = most - sum(option.bytes for option in chosen.values())
    while True:
        better = [
            ((chosen[name].noise - option.noise) / max(option.bytes - chosen[name].bytes, 1), name, option)
            for name, each in options.items()
            for option in each
            if option.noise < chosen[name].noise and option.bytes - chosen[name].bytes <= left
        ]
        if not better:
            return chosen
        _, name, option = max(better, key=lambda each: (each[0], each[1]))
        left -= option.bytes - chosen[name].bytes
        chosen[name] = option
