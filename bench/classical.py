"""Classical: benchmarks ensembles of 500 trees, one row per call, against ONNX Runtime (skl2onnx) and scikit-learn.

python bench/classical.py [ROUNDS]

Peers run at their best thread count. skl2onnx's trees compute in float32, because ONNX Runtime refuses its float64
trees; Core ML and Pippin compute in float64.
"""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import contest
import numpy as np
import onnxruntime
import skl2onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor

import coremltools as ct
import pippin

ROUNDS = next((int(a) for a in sys.argv[1:] if a.isdecimal()), 25)
TREES, FEATURES, SAMPLES = 500, 20, 2000
# Calls in a row: at least 10 ms, the time an operating system takes to spread two threads over two cores.
IN_A_ROW = 1000
Call = Callable[[], object]

_random = np.random.default_rng(0)
X = _random.standard_normal((SAMPLES, FEATURES)).astype(np.float32)
Y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * _random.standard_normal(SAMPLES)
ENSEMBLES: dict[str, Any] = {
    "forest": RandomForestRegressor(TREES, max_depth=8, random_state=0, n_jobs=1),
    "boosted": GradientBoostingRegressor(n_estimators=TREES, max_depth=4, random_state=0),
    "classifier": RandomForestClassifier(TREES, max_depth=8, random_state=0, n_jobs=1),
}


def core_ml(estimator: Any, path: str) -> Any:
    """Write the model with coremltools, taking all features as one array."""
    from coremltools.converters.sklearn._converter_internal import _convert_sklearn_model
    from coremltools.models import datatypes

    spec = _convert_sklearn_model(estimator, [("x", datatypes.Array(FEATURES))], "y")
    spec = spec.get_spec() if hasattr(spec, "get_spec") else spec
    ct.utils.save_spec(spec, path)
    return path


def peers(estimator: Any) -> dict[str, Call]:
    calls: dict[str, Call] = {}
    options = {"zipmap": False} if hasattr(estimator, "classes_") else None
    opset = {"": 18, "ai.onnx.ml": 3}
    made = skl2onnx.to_onnx(
        estimator, initial_types=[("x", FloatTensorType([None, FEATURES]))], options=options, target_opset=opset
    )
    x = {"x": X[:1]}
    for threads in (0, 1):
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level, settings.intra_op_num_threads = 3, threads
        session = onnxruntime.InferenceSession(made.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        calls[f"onnxruntime/{threads}"] = lambda session=session: session.run(None, x)
    return calls


def main() -> None:
    warnings.filterwarnings("ignore")
    folder = tempfile.mkdtemp(prefix="pippin-bench-")
    for name, estimator in ENSEMBLES.items():
        estimator.fit(X, Y if "Regressor" in type(estimator).__name__ else np.digitize(Y, [-0.5, 0.5]))
        model = pippin.load(core_ml(estimator, f"{folder}/{name}.mlmodel"), cache=False)
        x = {"x": X[0].astype(np.float64)}
        found = {"pippin": lambda model=model, x=x: model.predict(x), **peers(estimator)}
        times = contest.medians(found, ROUNDS, IN_A_ROW)
        times["scikit-learn"] = contest.medians({"": lambda e=estimator: e.predict(X[:1])}, 5, 5)[""]
        listed = ", ".join(f"{peer} {1e6 * took:.1f}" for peer, took in times.items())
        best = min(took for peer, took in times.items() if peer != "pippin")
        print(
            f"{name:11} µs: {listed}\n{'':11} best peer / pippin {best / times['pippin']:.2f}   goal 0.95", flush=True
        )


if __name__ == "__main__":
    main()
