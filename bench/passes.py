"""Passes: measures the speed-up of graph passes on their target engine by predicting before and after, interleaved.

python bench/passes.py [ROUNDS]
"""

from __future__ import annotations

import sys
import warnings
from functools import partial
from pathlib import Path

import contest
import networks

from pippin.configuration import Configuration
from pippin.engines import all_engines
from pippin.lowering.external_data import readable, whole
from pippin.runtime.loading import Source
from pippin.specialization.specializer import lower_function

ROUNDS = int(sys.argv[1]) if len(sys.argv) > 1 else 5


def eight_bits(network: networks.Network) -> Path:
    """Write the package with weights quantized to 8 bits per channel."""
    import coremltools.optimize.coreml as cto

    import coremltools as ct

    path = networks.FOLDER / f"{network.name}-int8.mlpackage"
    if not path.exists():
        model = ct.models.MLModel(str(network.package()), skip_model_load=True)
        how = cto.OpLinearQuantizerConfig(mode="linear_symmetric", dtype="int8")
        cto.linear_quantize_weights(model, cto.OptimizationConfig(how)).save(str(path))
    return path


def main() -> None:
    warnings.simplefilter("ignore")
    engine = all_engines()["onnxruntime"]
    for network in networks.prepared():
        if network.name not in ("mobilenet_v2", "resnet50", "unet", "encoder"):
            continue
        lowered = lower_function(Source(eight_bits(network)).open(), Configuration())
        model = whole(lowered.model)
        x = {network.input: network.example()}
        calls = {}
        for name, graph in (("before", model), ("after", engine.prepared(model))):
            with readable(graph) as source:
                compiled = engine.compile(source)
            calls[name] = partial(compiled.run, x)
        times = contest.medians(calls, ROUNDS, 5)
        listed = ", ".join(f"{name} {1e3 * took:.1f} ms" for name, took in times.items())
        print(f"decompress, {engine.name}, {network.name:13} int8: {listed}, {times['before'] / times['after']:.2f}x")


if __name__ == "__main__":
    main()
