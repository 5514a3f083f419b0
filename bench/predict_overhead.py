"""Predict overhead: measures `Model.predict` against a bare engine call on the same lowered model.

python bench/predict_overhead.py [SECONDS_PER_ROW]

Networks have seeded random weights. Each row alternates batches of four contestants until its time is up: Pippin on
each of the two engines, and each engine called as its documentation shows. Results are medians.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from collections.abc import Callable

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import numpy as np
import openvino
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
import pippin
from pippin.engines import all_engines
from pippin.format.asset import open_asset
from pippin.lowering.external_data import whole
from pippin.specialization.specializer import lower_function

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
random = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return (random.standard_normal(shape) / np.sqrt(shape[-1])).astype(np.float32)


def mlp():
    @mb.program(input_specs=[mb.TensorSpec((1, 64), types.fp32)])
    def program(x):
        for before, after in ((64, 128), (128, 128), (128, 10)):
            x = mb.relu(x=mb.linear(x=x, weight=weights(after, before), bias=weights(after)))
        return x

    return program, (1, 64)


def convolutions():
    @mb.program(input_specs=[mb.TensorSpec((1, 3, 64, 64), types.fp32)])
    def program(x):
        for before, after in ((3, 32), (32, 64), (64, 64)):
            x = mb.relu(x=mb.conv(x=x, weight=weights(after, before, 3, 3), pad_type="same", strides=[2, 2]))
        return mb.reduce_mean(x=x, axes=[2, 3])

    return program, (1, 3, 64, 64)


def contestants(make) -> dict[str, Callable[[], object]]:
    program, shape = make()
    model = ct.convert(program, convert_to="mlprogram", compute_precision=ct.precision.FLOAT32)
    spec, folder = model.get_spec(), model.weights_dir
    x = random.standard_normal(shape).astype(np.float32)
    calls: dict[str, Callable[[], object]] = {}
    for engine in ("openvino", "onnxruntime"):
        loaded = pippin.load(spec, pippin.Configuration(engine=engine), weights=folder)
        (name,) = (feature.name for feature in loaded.description.function().inputs)
        calls[f"pippin on {engine}"] = lambda loaded=loaded, name=name: loaded.predict({name: x})
    lowered = lower_function(open_asset(spec, folder), pippin.Configuration())
    (name,) = (port.name for port in lowered.inputs)
    source = whole(lowered.model).SerializeToString()
    request = openvino.Core().compile_model(openvino.Core().read_model(source), "CPU").create_infer_request()
    session = all_engines()["onnxruntime"].compile(source).session
    calls["bare openvino"] = lambda: request.infer({name: x}, share_inputs=True, share_outputs=True)
    calls["bare onnxruntime"] = lambda: session.run(None, {name: x})
    return calls


def main() -> None:
    for make in (mlp, convolutions):
        calls = contestants(make)
        times: dict[str, list[float]] = {name: [] for name in calls}
        for call in calls.values():
            call()
        end = time.perf_counter() + SECONDS
        while time.perf_counter() < end:
            for name, call in calls.items():
                started = time.perf_counter()
                for _ in range(20):
                    call()
                times[name].append((time.perf_counter() - started) / 20)
        medians = {name: statistics.median(found) * 1e6 for name, found in times.items()}
        print(make.__name__)
        for engine in ("openvino", "onnxruntime"):
            ours, bare = medians[f"pippin on {engine}"], medians[f"bare {engine}"]
            print(
                f"  {engine}: predict {ours:.1f} us, bare {bare:.1f} us, ratio {ours / bare:.2f}, {ours - bare:+.1f} us"
            )


if __name__ == "__main__":
    main()
