"""Explain: whether a load would be a hit, and if not, which ingredient changed since the nearest entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .key import Ingredients
from .store import Cache


@dataclass(frozen=True, slots=True)
class Explanation:
    """`changed` names each ingredient that differs from the nearest entry: (its value there, its value now)."""

    key: str
    hit: bool
    reason: str
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    nearest: str | None = None


def explain(cache: Cache, wanted: Ingredients, source: Path | None) -> Explanation:
    """Compare with the entries there are; the nearest is one of the same content or path, with the fewest changes."""
    key = wanted.key
    for entry in cache.entries():
        if entry.key == key:
            damage = entry.damage()
            if damage is None:
                return Explanation(key, True, "hit: every ingredient is the same")
            return Explanation(key, False, f"miss: the entry is damaged: {damage}", nearest=key)
    if (cache.folder / "entries" / key).exists():
        return Explanation(key, False, "miss: the entry is damaged: its manifest cannot be read", nearest=key)
    related = []
    for entry in cache.entries():
        made = entry.manifest["ingredients"]
        same_path = source is not None and source.absolute() in entry.sources
        if made.get("model") == wanted.values["model"] or same_path:
            related.append((len(wanted.changed(made)), -entry.used, entry))
    if not related:
        return Explanation(key, False, "miss: this model was not specialized here before, or its entry is removed")
    _, _, nearest = min(related, key=lambda row: row[:2])
    changed = wanted.changed(nearest.manifest["ingredients"])
    return Explanation(key, False, f"miss: changed: {', '.join(changed)}", changed, nearest.key)
