"""Small: packages with a program of a few operations, for tests of what lies around a program."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct

_DTYPES = {np.float32: types.fp32, np.float16: types.fp16, np.int32: types.int32}


def converted(body, target=ct.target.iOS17, dtype=np.float32, inputs=None, outputs=None, **shapes):
    """The converted model of `body(**values)`; `shapes` gives each input its shape."""
    specs = [mb.TensorSpec(shape, _DTYPES[dtype]) for shape in shapes.values()]
    scope = {"body": body}
    names = ", ".join(shapes)
    exec(f"def main({names}): return body({', '.join(f'{n}={n}' for n in shapes)})", scope)
    program = mb.program(input_specs=specs, opset_version=target)(scope["main"])
    return ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT32,
        inputs=inputs,
        outputs=outputs,
    )


def saved_program(folder: Path, body, name: str = "model", **how) -> Path:
    path = folder / f"{name}.mlpackage"
    converted(body, **how).save(str(path))
    return path
