"""ONNX Runtime profile: the kernel times of a profiled session, and which nodes of the model each kernel computes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import onnx

from .base import Kernel
from .profiled_runs import typical

_SUFFIX = "_kernel_time"


def kernels(profile: Path, optimized: Path, runs: int) -> list[Kernel]:
    """The kernels of the last `runs` runs in the file that `end_profiling` names. `optimized` is the model that the
    session wrote."""
    events = json.loads(profile.read_text(encoding="utf-8"))
    starts = sorted(event["ts"] for event in events if event.get("name") == "model_run")[-runs:]
    seconds: dict[str, list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(_SUFFIX) and event["ts"] >= starts[0]:
            seconds.setdefault(event["name"].removesuffix(_SUFFIX), []).append(event["dur"] / 1e6)
    graph = onnx.load(optimized, load_external_data=False).graph
    nodes = _computed_nodes(graph)
    # Nodes of a branch or loop are left out: the time of the node around them includes theirs.
    return [Kernel(_per_run(seconds[name], runs), nodes[name]) for name in nodes if name in seconds]


def _per_run(times: list[float], runs: int) -> float:
    each, rest = divmod(len(times), runs)
    if rest or each != 1:  # several nodes of one name
        return sum(times) / runs
    return typical(times)


def _computed_nodes(graph: Any) -> dict[str, tuple[str, ...]]:
    """{node of the optimized graph: nodes of the model}. The optimizer keeps the name of a node or of its output; the
    nodes that it adds (reordering for a convolution, casts) belong to the node that reads their output, else to the one
    before them."""
    readers: dict[str, list[Any]] = {}
    makers = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    found = {}
    for node in graph.node:
        around = [node, *(r for name in node.output for r in readers.get(name, ()))]
        around += [makers[name] for name in node.input if name in makers]
        found[node.name] = next((names for names in map(_own_names, around) if names), ())
    return found


def _own_names(node: Any) -> tuple[str, ...]:
    """Names with a slash are ours (see `onnx_builder`); names that the optimizer invents have none."""
    names = dict.fromkeys((node.name.removeprefix("fused "), *node.output))
    return tuple(name for name in names if "/" in name)
