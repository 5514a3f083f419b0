"""Memory: what a first load takes at most, what stays after 100 predictions, and what two processes share.

python bench/memory.py [MODEL ...] [--layers GIGABYTES] [--engine NAME]    (make bench-memory)

MODEL is a package or program; a decoder of one token, `ids` (1, n) and `mask` (1, 1, n, past + n), is run with 100 more
tokens, any other model with ones. `--layers` adds a program of products with that many gigabytes of random
weights, in float16 and in float32; without models it is 0.25. Each figure comes from a process of its own. "libraries"
is a one-node model on the same engines. The bare engines run the same graph (`pippin export`) in float32.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

TOKENS = 100
PEAK, RESIDENT, LIBRARIES = 3.0, 1.35, 150e6  # the goals: times the weights, and bytes beside them


def size_of(path: Path) -> int:
    files = [path.parent / "weights" / "weight.bin"] if path.suffix == ".mil" else path.rglob("*")
    return sum(file.stat().st_size for file in files if file.is_file())


def status(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


def pss(process: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{process}/smaps_rollup").read_text(), re.MULTILINE)
    return int(found[1]) << 10 if found else 0


# Workers: each prints one line of JSON, and waits for the end of its standard input if it is to be looked at.


def predictions(model, count: int) -> None:
    import numpy as np

    if "mask" in model.inputs:
        state = model.make_state()
        for past in range(count):
            ids, mask = np.array([[7 + past]], np.int32), np.zeros((1, 1, 1, past + 1), np.float16)
            model.predict({"ids": ids, "mask": mask}, state=state)
        return
    features = {
        name: np.ones([size or 1 for size in feature.type.shape], np.float32) for name, feature in model.inputs.items()
    }
    for _ in range(count):
        model.predict(features)


def load(path: str, cache: str, engine: str, count: int, waits: bool) -> None:
    import pippin

    model = pippin.load(path, pippin.Configuration(engine=engine or None), cache=cache)
    after = status("VmRSS")
    predictions(model, count)
    chosen = [f"{one}: {one.weights}" for one in model.compute_plan.candidates if not one.note]
    function = model.description.function(model.function_name)
    states = model.make_state().bytes if function.states else 0
    print(json.dumps({
        "peak": status("VmHWM"), "loaded": after, "resident": status("VmRSS"), "chosen": chosen, "states": states,
        "label": model.load_label,
    }), flush=True)  # fmt: skip
    if waits:
        sys.stdin.read()


def bare(engine: str, onnx_file: str) -> None:
    import numpy as np

    dtypes = {"tensor(float)": np.float32, "tensor(int32)": np.int32, "tensor(int64)": np.int64}
    if engine == "onnxruntime":
        import onnxruntime

        session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
        infos = [
            (i.name, [d if isinstance(d, int) else 1 for d in i.shape], dtypes[i.type]) for i in session.get_inputs()
        ]
        for _ in range(3):
            session.run(None, {name: np.zeros(shape, dtype) for name, shape, dtype in infos})
    else:
        import openvino

        compiled = openvino.Core().compile_model(onnx_file, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        shapes = [[d.get_length() if d.is_static else 1 for d in port.partial_shape] for port in compiled.inputs]
        given = [np.zeros(s, p.element_type.to_dtype()) for s, p in zip(shapes, compiled.inputs, strict=True)]
        for _ in range(3):
            compiled(given)
    print(json.dumps({"peak": status("VmHWM"), "resident": status("VmRSS")}), flush=True)


# The measurements.


def worker(*arguments: object) -> dict:
    done = subprocess.run([sys.executable, __file__, "worker", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1:] or [str(done.returncode)]}
    return json.loads(done.stdout.splitlines()[-1])


def shared(path: Path, cache: Path, engine: str) -> list[int]:
    """The proportional set sizes of two processes that run the same cached model."""
    command = [sys.executable, __file__, "worker", "load", str(path), str(cache), engine, "20", "1"]
    both = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in both:
        process.stdout.readline()
    found = [pss(process.pid) for process in both]
    for process in both:
        process.communicate()
    return found


def mb(count: float) -> str:
    return f"{count / 1e6:.0f} MB"


def goal(found: float, most: float) -> str:
    return f"{mb(found)} (goal {mb(most)}){'' if found <= most else '  MISSED'}"


def measure(path: Path, folder: Path, engine: str, onnx_runs: bool) -> None:
    from support.large_models import write_layers

    size, cache = size_of(path), folder / "cache"
    tiny = folder / "tiny"
    small = tiny / "model.mil" if tiny.exists() else write_layers(tiny, 1, 8)
    libraries = worker("load", small, folder / "tiny-cache", engine, 1, 0)
    first = worker("load", path, cache, engine, 1, 0)
    print(f"{path.parent.name}/{path.name}: {mb(size)}")
    if "failed" in first:
        print(f"  failed: {first['failed']}")
        return
    cached = worker("load", path, cache, engine, TOKENS, 0)
    least = max(LIBRARIES, libraries["peak"])
    print(f"  {'; '.join(cached['chosen'])}")
    print(f"  libraries: peak {mb(libraries['peak'])}, resident {mb(libraries['resident'])}")
    more = (first["peak"] - libraries["peak"]) / size
    print(
        f"  first load: peak {goal(first['peak'], PEAK * size + least)}; {more:.2f} times the package above libraries"
    )
    most = RESIDENT * size + cached["states"] + LIBRARIES
    print(
        f"  cached load: resident {mb(cached['loaded'])}, after {TOKENS} predictions {goal(cached['resident'], most)}"
    )
    print(f"  two processes: proportional {', '.join(map(mb, shared(path, cache, engine)))}")
    if onnx_runs:
        exported = folder / "exported.onnx"
        subprocess.run([sys.executable, "-m", "pippin", "export", str(path), str(exported)], check=True,
                       capture_output=True)  # fmt: skip
        for name in ("onnxruntime", "openvino"):
            found = worker("bare", name, exported)
            told = found.get("failed") or f"peak {mb(found['peak'])}, resident {mb(found['resident'])}"
            print(f"  bare {name}: {told}", flush=True)


def main() -> None:
    from support.large_models import write_layers

    parser = argparse.ArgumentParser()
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--layers", type=float)
    parser.add_argument("--engine", default="")
    given = parser.parse_args()
    gigabytes = given.layers if given.layers is not None else 0.0 if given.models else 0.25
    with tempfile.TemporaryDirectory() as temporary:
        models = list(given.models)
        for dtype, width in (("float16", 2), ("float32", 4)) if gigabytes else ():
            side = 2048
            count = max(1, round(gigabytes * 1e9 / (side * side * width)))
            models.append(write_layers(Path(temporary) / dtype, count, side, dtype))
        for number, model in enumerate(models):
            folder = Path(temporary) / str(number)
            folder.mkdir()
            measure(model, folder, given.engine, onnx_runs=True)


if __name__ == "__main__":
    if sys.argv[1:3] == ["worker", "load"]:
        load(*sys.argv[3:6], int(sys.argv[6]), sys.argv[7] == "1")
    elif sys.argv[1:3] == ["worker", "bare"]:
        bare(*sys.argv[3:5])
    else:
        main()
