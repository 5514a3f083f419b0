"""CPU: its name, the cores available to this process, and the instruction sets that decide which kernels are fast."""

from __future__ import annotations

import os
from functools import cache

_CPUINFO = "/proc/cpuinfo"

# Common name of each instruction set, and the /proc/cpuinfo flags it requires (x86, then ARM).
_INSTRUCTION_SETS = (
    ("AVX2", {"avx2", "fma"}),
    ("AVX-512", {"avx512f", "avx512bw", "avx512dq", "avx512vl"}),
    ("VNNI", {"avx512_vnni"}),
    ("AVX-VNNI", {"avx_vnni"}),
    ("BF16", {"avx512_bf16"}),
    ("FP16", {"avx512_fp16"}),
    ("AMX", {"amx_tile", "amx_bf16"}),
    ("NEON", {"asimd"}),
    ("dot product", {"asimddp"}),
    ("BF16", {"bf16"}),
    ("I8MM", {"i8mm"}),
    ("SVE", {"sve"}),
)


def cores() -> int:
    """The number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def name() -> str:
    import platform

    fields = _fields()
    return fields.get("model name") or platform.processor() or platform.machine()


@cache
def instruction_sets() -> tuple[str, ...]:
    fields = _fields()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return tuple(label for label, needed in _INSTRUCTION_SETS if needed <= flags)


@cache
def _fields() -> dict[str, str]:
    """The fields of the first processor."""
    try:
        from pathlib import Path  # local: `import pippin` loads this file and must stay light

        text = Path(_CPUINFO).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    lines = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}
