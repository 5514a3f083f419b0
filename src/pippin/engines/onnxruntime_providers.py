"""ONNX Runtime providers: which one serves a kind of device, with which options, and whether it starts here.

If a provider does not start, the library silently falls back to the CPU. Here the device is reported as absent, with
the reason.
"""

from __future__ import annotations

import importlib
import io
import os
from contextlib import redirect_stdout, suppress
from functools import cache
from pathlib import Path
from typing import Any

CPU = "CPUExecutionProvider"
_CUDA = "CUDAExecutionProvider"
# The providers for each kind of device, preferred first; the CPU is the fallback of each.
_PROVIDERS = {
    "cpu": (CPU,),
    "gpu": (_CUDA, "ROCMExecutionProvider", "DmlExecutionProvider"),
    "neuralEngine": ("QNNExecutionProvider", "VitisAIExecutionProvider", "CANNExecutionProvider"),
}
# float32 is guaranteed: by default, products are computed in TF32, which keeps 10 of the 23 mantissa bits.
_OPTIONS = {_CUDA: {"use_tf32": "0"}}
NVIDIA = Path("/dev/nvidiactl")
# Holds a file for each GPU with a line "Model: NAME". Source: driver README, "Chapter 21. Proc File System Interface".
_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")


def library() -> Any:
    """Import onnxruntime with its telemetry off: 1.32 stores a device id in the home folder."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library loads
    return importlib.import_module("onnxruntime")


def provider(kind: str) -> str | None:
    """The provider for a kind of device ("cpu", "gpu", "neuralEngine"); None if the installed package has none or there
    is no such device."""
    available = library().get_available_providers()
    found = next((name for name in _PROVIDERS[kind] if name in available), None)
    return None if found == _CUDA and not NVIDIA.exists() else found


def chain(kind: str) -> list[tuple[str, dict[str, str]]]:
    """The providers for a session on a kind of device, with their options."""
    names = dict.fromkeys([provider(kind) or CPU, CPU])
    return [(name, _OPTIONS.get(name, {})) for name in names]


@cache
def failure(name: str) -> str:
    """Why a provider does not start; empty if it does. Takes about a second for a GPU, once."""
    from onnx import TensorProto, helper

    ort, printed = library(), io.StringIO()
    if name == _CUDA and hasattr(ort, "preload_dlls"):  # loads CUDA and cuDNN if pip installed them
        with redirect_stdout(printed):
            ort.preload_dlls()
    ports = [helper.make_tensor_value_info(port, TensorProto.FLOAT, [1]) for port in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "start", ports[:1], ports[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=[(name, _OPTIONS.get(name, {}))])
    except Exception as error:  # its exceptions have no common base but Exception
        return str(error)
    if name in session.get_providers():
        return ""
    return " ".join(printed.getvalue().split()) or f"a session falls back from {name} to another provider"


def device_name(name: str) -> str:
    """The model name of a provider's device, or the library's name for the interface if it is unknown."""
    if name == _CUDA:
        with suppress(OSError):
            for file in sorted(_NVIDIA_GPUS.glob("*/information")):
                for line in file.read_text(errors="replace").splitlines():
                    key, _, value = line.partition(":")
                    if key == "Model" and value.strip():
                        return value.strip()
    return name.removesuffix("ExecutionProvider")
