"""ONNX Runtime's providers: which one reaches a kind of device, with what options, and whether it starts here.

The library itself falls back to the CPU without a word to its caller where a provider does not start; here that is an
absent device, with the reason.
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
# The providers that reach a kind of device, the preferred one first; the CPU stands behind each of them.
_PROVIDERS = {
    "cpu": (CPU,),
    "gpu": (_CUDA, "ROCMExecutionProvider", "DmlExecutionProvider"),
    "neuralEngine": ("QNNExecutionProvider", "VitisAIExecutionProvider", "CANNExecutionProvider"),
}
# float32 is a promise: by default products are computed in TF32, which keeps 10 bits of a number's 23.
_OPTIONS = {_CUDA: {"use_tf32": "0"}}
NVIDIA = Path("/dev/nvidiactl")
# A file for each GPU, with a line "Model: NAME": "Chapter 21. Proc File System Interface" of the driver's README.
_NVIDIA_GPUS = Path("/proc/driver/nvidia/gpus")


def library() -> Any:
    """onnxruntime, imported without its telemetry: 1.32 keeps a device id in the home folder."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read when the library is loaded
    return importlib.import_module("onnxruntime")


def provider(kind: str) -> str | None:
    """The one for a kind of device ("cpu", "gpu", "neuralEngine"); None where the installed package has none, or there
    is no such device."""
    there = library().get_available_providers()
    found = next((name for name in _PROVIDERS[kind] if name in there), None)
    return None if found == _CUDA and not NVIDIA.exists() else found


def chain(kind: str) -> list[tuple[str, dict[str, str]]]:
    """The providers of a session for a kind of device, with their options."""
    names = dict.fromkeys([provider(kind) or CPU, CPU])
    return [(name, _OPTIONS.get(name, {})) for name in names]


@cache
def failure(name: str) -> str:
    """Why a provider does not start; empty where it does. Takes about a second for a GPU, once."""
    from onnx import TensorProto, helper

    ort, said = library(), io.StringIO()
    if name == _CUDA and hasattr(ort, "preload_dlls"):  # CUDA and cuDNN, where pip has installed them
        with redirect_stdout(said):
            ort.preload_dlls()
    ports = [helper.make_tensor_value_info(port, TensorProto.FLOAT, [1]) for port in "xy"]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "start", ports[:1], ports[1:])
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 18)])
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=[(name, _OPTIONS.get(name, {}))])
    except Exception as error:  # the library's exceptions share no base but Exception
        return str(error)
    if name in session.get_providers():
        return ""
    return " ".join(said.getvalue().split()) or f"{name} is not among the providers of a session"


def device_name(name: str) -> str:
    """What a provider's device is called: its model, or else what the library calls the interface to it."""
    if name == _CUDA:
        with suppress(OSError):
            for file in sorted(_NVIDIA_GPUS.glob("*/information")):
                for line in file.read_text(errors="replace").splitlines():
                    key, _, value = line.partition(":")
                    if key == "Model" and value.strip():
                        return value.strip()
    return name.removesuffix("ExecutionProvider")
