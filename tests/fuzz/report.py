"""Report: what a file of results says, findings grouped by their kind and place."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

KINDS = {
    "exception": "exceptions outside of the tree of pippin.errors",
    "hang": "hangs: more than 10 s",
    "crash": "crashes: ended by a signal",
    "memory": "memory: more than 2 GB resident",
    "difference": "differences between engines",
    "fuzzer": "faults of the fuzzer itself",
}
_SHOWN = 6


def read(path: Path) -> dict[int, dict[str, Any]]:
    """Results by seed; the newest of a seed counts. A last line that was cut off is left out."""
    found = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            result = json.loads(line)
        except ValueError:
            continue
        found[result["seed"]] = result
    return found


def findings(results: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    return [result for result in results.values() if result["kind"] in KINDS]


def text(results: dict[int, dict[str, Any]]) -> str:
    counts = Counter(result["kind"] for result in results.values())
    seconds = sum(result.get("cpu", 0) for result in results.values())
    predictions = sum(result.get("predictions", 0) for result in results.values())
    lines = [
        f"{len(results)} runs: " + ", ".join(f"{count} {kind}" for kind, count in counts.most_common()),
        f"{predictions} predictions; {seconds / max(len(results), 1):.2f} s of processor time for each run",
    ]
    caught = Counter(place for result in results.values() for place in result.get("boundaries", ()))
    lines += [f"{sum(caught.values())} errors made by a boundary, at {len(caught)} places"] if caught else []
    for kind, title in KINDS.items():
        groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for result in results.values():
            if result["kind"] == kind:
                groups[result["group"]].append(result)
        if groups:
            lines += ["", f"{title}:"]
        for group, members in sorted(groups.items(), key=lambda item: -len(item[1])):
            seeds = ", ".join(str(member["seed"]) for member in members[:_SHOWN])
            lines.append(f"  {len(members)} x {group} (seeds {seeds}{' ...' if len(members) > _SHOWN else ''})")
    return "\n".join(lines)


def boundaries(results: dict[int, dict[str, Any]]) -> str:
    """The places where a boundary made the error: candidates for checks of their own."""
    found: dict[str, list[int]] = defaultdict(list)
    for result in results.values():
        for place in set(result.get("boundaries", ())):
            found[place].append(result["seed"])
    rows = sorted(found.items(), key=lambda item: -len(item[1]))
    return "\n".join(f"  {len(seeds)} x {place} (seeds {', '.join(map(str, seeds[:4]))})" for place, seeds in rows)
