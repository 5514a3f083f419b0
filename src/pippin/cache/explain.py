"""Explain: whether a load would hit the cache, and if not, which key ingredients differ from the nearest entry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .key import Ingredients
from .store import Cache


@dataclass(frozen=True, slots=True)
class Explanation:
    """`changed` maps each ingredient that differs from the nearest entry to (value in the entry, value now)."""

    key: str
    hit: bool
    reason: str
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)
    nearest: str | None = None


def explain(cache: Cache, wanted: Ingredients, source: Path | None) -> Explanation:
    """Compare with the existing entries. The nearest one has the same content or path and the fewest changes."""
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
        stored = entry.manifest["ingredients"]
        same_path = source is not None and source.absolute() in entry.sources
        if stored.get("model") == wanted.values["model"] or same_path:
            related.append((len(wanted.changed(stored)), -entry.used, entry))
    if not related:
        return Explanation(key, False, "miss: this model was not specialized here before, or its entry was removed")
    _, _, nearest = min(related, key=lambda row: row[:2])
    changed = wanted.changed(nearest.manifest["ingredients"])
    return Explanation(key, False, f"miss: changed: {', '.join(changed)}", changed, nearest.key)
