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

# Instruction sets that multiply 8-bit numbers exactly; ARM's do.
_EXACT_8_BIT = {"VNNI", "AVX-VNNI", "NEON"}
# https://uxlfoundation.github.io/oneDNN/dev_guide_cpu_dispatcher_control.html: what each cap leaves out.
_CAP = "ONEDNN_MAX_CPU_ISA"
_AFTER_VNNI = frozenset({"BF16", "FP16", "AMX"})
_AFTER_AVX512 = _AFTER_VNNI | {"VNNI"}
_AFTER_AVX2 = _AFTER_AVX512 | {"AVX-512"}
_ABOVE_CAP = {
    **dict.fromkeys(("SSE41", "AVX"), _AFTER_AVX2 | {"AVX-VNNI", "AVX2"}),
    "AVX2": _AFTER_AVX2 | {"AVX-VNNI"},
    **dict.fromkeys(("AVX2_VNNI", "AVX2_VNNI_2"), _AFTER_AVX2),
    "AVX512_CORE": _AFTER_AVX512 | {"AVX-VNNI"},
    "AVX512_CORE_VNNI": _AFTER_VNNI,
    "AVX512_CORE_BF16": frozenset({"FP16", "AMX"}),
    "AVX512_CORE_FP16": frozenset({"AMX"}),
}


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
    """Those of the processor, up to the cap that oneDNN, which computes for OpenVINO, is given by its variable."""
    fields = _fields()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    found = (label for label, needed in _INSTRUCTION_SETS if needed <= flags)
    above = _ABOVE_CAP.get(os.environ.get(_CAP, "").upper(), frozenset())
    return tuple(label for label in found if label not in above)


def saturates() -> bool:
    """Whether sums of 8-bit products saturate at 16 bits: on x86 without VNNI."""
    return not _EXACT_8_BIT & set(instruction_sets())


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
