"""Compress: networks that were trained keep what they can, and the packages hold what coremltools reads of them."""

import json
import os
import subprocess
import sys

os.environ.setdefault("TQDM_DISABLE", "1")

import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

import coremltools as ct
import pippin
from pippin.develop.compress.methods import stored_ways
from pippin.develop.compress.palettes import palette
from pippin.develop.compress.search import Option, cheapest
from pippin.develop.compress.weights import compressed, compressible, is_ios18
from pippin.errors import ConfigurationError, DataError, UnsupportedModelError
from pippin.format.mlpackage import write_package
from pippin.program.opening import open_model
from pippin.types import DataType
from support.small_models import saved_program

ORDER = np.random.default_rng(0).permutation(1797)
DIGITS = load_digits()
X, Y = (DIGITS.data[ORDER] / 16).astype(np.float32), DIGITS.target[ORDER]
TRAINED = 1200


class Convolutional(torch.nn.Module):
    def __init__(self):
        super().__init__()
        n = torch.nn
        self.layers = n.Sequential(
            n.Conv2d(1, 32, 3, padding=1), n.ReLU(), n.Conv2d(32, 64, 3, padding=1), n.ReLU(), n.MaxPool2d(2),
            n.Conv2d(64, 64, 3, padding=1), n.ReLU(), n.Flatten(), n.Linear(1024, 128), n.ReLU(), n.Linear(128, 10),
            n.Softmax(-1),
        )  # fmt: skip

    def forward(self, x):
        return self.layers(x.reshape(-1, 1, 8, 8))


class Transformer(torch.nn.Module):
    """Two layers over the eight rows of a digit."""

    def __init__(self):
        super().__init__()
        n = torch.nn
        self.embed, self.head = n.Linear(8, 64), n.Linear(64, 10)
        self.positions = n.Parameter(torch.randn(8, 64) * 0.1)
        self.joint = n.ModuleList(n.Linear(64, 192) for _ in range(2))
        self.out = n.ModuleList(n.Linear(64, 64) for _ in range(2))
        self.up = n.ModuleList(n.Linear(64, 256) for _ in range(2))
        self.down = n.ModuleList(n.Linear(256, 64) for _ in range(2))
        self.norms = n.ModuleList(n.LayerNorm(64) for _ in range(4))

    def forward(self, x):
        x = self.embed(x.reshape(-1, 8, 8)) + self.positions
        for i in range(2):
            q, k, v = self.joint[i](self.norms[2 * i](x)).reshape(-1, 8, 3, 4, 16).permute(2, 0, 3, 1, 4).unbind(0)
            y = torch.softmax(q @ k.transpose(-1, -2) / 4, -1) @ v
            x = x + self.out[i](y.transpose(1, 2).reshape(-1, 8, 64))
            x = x + self.down[i](torch.relu(self.up[i](self.norms[2 * i + 1](x))))
        return torch.softmax(self.head(x.mean(1)), -1)


def trained(network, epochs):
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    x, y = torch.tensor(X[:TRAINED]), torch.tensor(Y[:TRAINED])
    for _ in range(epochs):
        for batch in torch.randperm(TRAINED).split(64):
            optimizer.zero_grad()
            torch.nn.functional.nll_loss(torch.log(network(x[batch]) + 1e-9), y[batch]).backward()
            optimizer.step()
    return network.eval()


NETWORKS = {"convolutional": (Convolutional, 12), "transformer": (Transformer, 40)}


def converted(network, target=ct.target.iOS18):
    return ct.convert(
        torch.jit.trace(network, torch.zeros(1, 64)),
        inputs=[ct.TensorType("x", (1, 64))],
        classifier_config=ct.ClassifierConfig([str(n) for n in range(10)]),
        minimum_deployment_target=target,
        skip_model_load=True,
    )


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("packages")
    found = {}
    for name, (kind, epochs) in NETWORKS.items():
        torch.manual_seed(0)
        found[name] = folder / f"{name}.mlpackage"
        converted(trained(kind(), epochs)).save(str(found[name]))
    return found


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "digits.csv"
    rows = [",".join(map(str, [*x, y])) for x, y in zip(X[TRAINED:], Y[TRAINED:], strict=True)]
    path.write_text("\n".join([",".join([f"p{n}" for n in range(64)] + ["digit"]), *rows]))
    return path


def probabilities(path):
    model = pippin.load(path, pippin.Configuration(engine="onnxruntime", precision="float32"), cache=False)
    outputs = [model.predict({"x": x[None]}) for x in X[TRAINED:]]
    return np.array([list(o["classLabel_probs"].values()) for o in outputs], np.float64).clip(1e-12)


def divergence(p, q):
    return float((p * np.log(p / q)).sum(1).mean())


def uniform(package, method, folder):
    """Every weight by one method."""
    asset = open_model(package)
    ways = {
        weight.name: stored
        for weight in compressible(asset)
        for stored in stored_ways(weight.array, weight.dtype, is_ios18(asset))
        if stored.method == method
    }
    write_package(folder / "uniform.mlpackage", *compressed(asset, ways))
    return folder / "uniform.mlpackage"


def size(path):
    return (path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin").stat().st_size


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("ratio, method", [(8, "4-bit palette"), (11, "2-bit palette")])
def test_a_trained_network(name, ratio, method, packages, table, tmp_path):
    small = tmp_path / "small.mlpackage"
    found = pippin.compress(packages[name], f"size={ratio}x", table, max_drop="0.5%", label="digit", output=small)
    assert found.metric > 0.95
    assert found.chosen.ratio >= ratio and found.chosen.drop <= 0.005
    assert found.path == small and not found.skipped
    right, mine = probabilities(packages[name]), probabilities(small)
    accuracy = (mine.argmax(1) == Y[TRAINED:]).mean()
    assert accuracy == pytest.approx(found.chosen.metric, abs=0.002)  # float16 and float32 may part at a tie
    other = uniform(packages[name], method, tmp_path)
    assert divergence(right, mine) < divergence(right, probabilities(other)) or size(small) < size(other)
    ct.models.MLModel(str(small), skip_model_load=True)


@pytest.mark.parametrize("target", [ct.target.iOS16, ct.target.iOS18])
def test_what_is_written_is_what_coremltools_reads(target, tmp_path):
    """Every method on one weight: coremltools' own decompression gives the values that the search measured."""
    weight = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    path = saved_program(tmp_path, lambda x: mb.linear(x=x, weight=weight, name="y"), target=target, x=(1, 64))
    asset = open_model(path)
    (found,) = compressible(asset)
    ways = list(stored_ways(found.array, found.dtype, is_ios18(asset)))
    assert len(ways) == (15 if target == ct.target.iOS18 else 8)
    for number, stored in enumerate(ways):
        other = tmp_path / f"{number}.mlpackage"
        write_package(other, *compressed(asset, {found.name: stored}))
        model = ct.models.MLModel(str(other), skip_model_load=True)
        (operation,) = [
            o
            for o in ct.optimize.coreml.decompress_weights(model)._mil_program["main"].operations
            if o.op_type == "linear"
        ]
        np.testing.assert_allclose(operation.weight.val, stored.values, rtol=1e-6, atol=1e-7, err_msg=stored.method)
        y = pippin.load(other, cache=False).predict({"x": np.ones((1, 64), np.float32)})["y"]
        np.testing.assert_allclose(y[0], stored.values.sum(1), rtol=1e-4, atol=1e-4, err_msg=stored.method)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_a_palette_is_as_good_as_that_of_scikit_learn(bits):
    values = np.random.default_rng(0).normal(size=(1, 3000)).astype(np.float32)
    table, codes = palette(values, bits)
    mine = np.square(table[0][codes[0]] - values[0]).sum()
    other = KMeans(1 << bits, n_init=5, random_state=0).fit(values.T)
    assert mine < 1.02 * other.inertia_
    assert (np.diff(table[0]) > 0).all()


def test_a_palette_of_few_values():
    values = np.array([[0.0] * 50 + [1.0] * 3 + [-2.0]], np.float32)
    table, codes = palette(values, 2)
    assert np.square(table[0][codes[0]] - values[0]).sum() < 1e-9


def test_the_search_is_as_good_as_trying_all():
    random = np.random.default_rng(3)
    options = {
        str(n): [
            Option(f"{bits}", 100 * bits, float(random.exponential() * 4.0 ** (8 - bits))) for bits in (1, 2, 4, 8)
        ]
        for n in range(5)
    }
    import itertools

    for most in (700, 1200, 2500):
        every = [c for c in itertools.product(*options.values()) if sum(o.bytes for o in c) <= most]
        best = min(sum(o.noise for o in c) for c in every)
        found = cheapest(options, most)
        assert sum(o.bytes for o in found.values()) <= most
        assert sum(o.noise for o in found.values()) <= 1.25 * best
    assert cheapest(options, 400) is None


KILLED = """
import os, sys, pippin
seen = []
def progress(stage, share):
    seen.append(stage)
    if len(seen) == 4:
        os._exit(9)
pippin.compress(sys.argv[1], "size=9x", sys.argv[2], label="digit", resume=sys.argv[3], progress=progress)
"""


@pytest.mark.process
@pytest.mark.slow
def test_a_killed_search_goes_on(packages, table, tmp_path):
    kept = tmp_path / "search.jsonl"
    arguments = [sys.executable, "-c", KILLED, packages["convolutional"], table, kept]
    assert subprocess.run(arguments, capture_output=True, check=False).returncode == 9
    assert len(kept.read_text().splitlines()) == 4  # a header and three weights
    with kept.open("a") as file:
        file.write('["layers_10_weight_to_fp16", {"8-b')
    again = pippin.compress(packages["convolutional"], "size=9x", table, label="digit", resume=kept)
    whole = pippin.compress(packages["convolutional"], "size=9x", table, label="digit")
    assert again.trials == whole.trials and again.sensitivity == whole.sensitivity
    with pytest.raises(DataError, match="another model or other data"):
        pippin.compress(packages["transformer"], "size=9x", table, label="digit", resume=kept)
    kept.write_text("nonsense\n")
    with pytest.raises(DataError, match="is not the file of a search"):
        pippin.compress(packages["convolutional"], "size=9x", table, label="digit", resume=kept)


def small(tmp_path, target=ct.target.iOS18):
    weight = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    return saved_program(tmp_path, lambda x: mb.linear(x=x, weight=weight, name="y"), target=target, x=(1, 64))


def test_without_data(tmp_path):
    found = pippin.compress(small(tmp_path), "size=3x", max_drop=0.01, output=tmp_path / "o.mlpackage")
    assert found.metric is None and found.metric_name == "noise"
    assert found.chosen.drop < 0.001 and found.chosen.ratio >= 3
    assert found.chosen.weight_bytes == pytest.approx(size(tmp_path / "o.mlpackage"), abs=600)


def test_what_cannot_be_reached(tmp_path):
    found = pippin.compress(small(tmp_path), "size=20x", max_drop=0.01, output=tmp_path / "o.mlpackage")
    assert found.chosen is None and found.path is None and not (tmp_path / "o.mlpackage").exists()
    assert all(trial.note == "loses too much" for trial in found.trials)
    assert "not reached" in repr(found)


REFUSED = {
    "no target": ({"target": "small"}, "target must be like size=4x"),
    "a size in seconds": ({"target": "size=4ms"}, "target must be like size=4x"),
    "a drop of two": ({"max_drop": 2}, "max_drop must be a share such as 0.01"),
    "a drop in words": ({"max_drop": "little"}, "max_drop must be a share"),
    "a budget in miles": ({"budget": "3 miles"}, "budget must be a time"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name, tmp_path):
    given, message = REFUSED[name]
    with pytest.raises(ConfigurationError, match=message):
        pippin.compress(small(tmp_path), **{"target": "size=4x", **given})


def test_an_output_that_is_there(tmp_path):
    path = small(tmp_path)
    with pytest.raises(ConfigurationError, match="already exists"):
        pippin.compress(path, "size=4x", output=path)


def test_a_network_is_no_program(tmp_path):
    from coremltools.models import datatypes
    from coremltools.models.neural_network import NeuralNetworkBuilder

    builder = NeuralNetworkBuilder([("x", datatypes.Array(3))], [("y", datatypes.Array(3))])
    builder.add_activation("relu", "RELU", "x", "y")
    ct.models.MLModel(builder.spec, skip_model_load=True).save(str(tmp_path / "n.mlmodel"))
    with pytest.raises(UnsupportedModelError, match="only the weights of ML Programs can be compressed"):
        pippin.compress(tmp_path / "n.mlmodel", "size=4x")


def test_a_program_for_ios_15(tmp_path):
    with pytest.raises(UnsupportedModelError, match="is for iOS 15, which knows no compressed weights"):
        pippin.compress(small(tmp_path, ct.target.iOS15), "size=4x")


@pytest.mark.process
def test_the_command(tmp_path):
    path = small(tmp_path)
    arguments = [
        sys.executable,
        "-m",
        "pippin",
        "compress",
        path,
        "--target",
        "size=3x",
        "-o",
        tmp_path / "o.mlpackage",
    ]
    found = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert "times smaller than in float32" in found.stdout and (tmp_path / "o.mlpackage").is_dir()
    arguments = [*arguments[:-1], tmp_path / "p.mlpackage", "--json"]
    printed = subprocess.run(list(map(str, arguments)), capture_output=True, text=True, check=False).stdout
    assert json.loads(printed)["trials"][0]["ratio"] >= 3


def test_element_types_of_the_methods():
    weight = np.random.default_rng(0).normal(size=(32, 64)).astype(np.float32)
    for stored in stored_ways(weight, DataType.FLOAT16, True):
        assert stored.values.shape == weight.shape and stored.values.dtype == np.float32
