"""Models converted from torch by coremltools: predictions agree with torch, through both engines."""

from __future__ import annotations

import coremltools.optimize.coreml as cto
import numpy as np
import PIL.Image
import pytest
import torch
from torch import nn

import coremltools as ct
import pippin
from support.networks import Decoder, Encoder, MobileNetV2, Recurrent, ResNet, Tinted, UNet, seeded

pytestmark = pytest.mark.slow

ENGINES = ("openvino", "onnxruntime")
PRECISIONS = {"float32": (ct.precision.FLOAT32, 1e-3), "float16": (ct.precision.FLOAT16, 1e-2)}


def image(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


TOKENS = torch.from_numpy(np.random.default_rng(1).integers(0, 100, (1, 24)))
NETWORKS = {
    "resnet": (ResNet, image(1, 3, 64, 64)),
    "mobilenet_v2": (MobileNetV2, image(1, 3, 64, 64)),
    "unet": (UNet, image(1, 3, 32, 32)),
    "encoder": (Encoder, TOKENS),
    "lstm": (Recurrent, image(2, 9, 12)),
}


def convert(model, example, *, precision="float32", target=ct.target.iOS17, **how):
    with torch.no_grad():
        traced = torch.jit.trace(model, example)
    inputs = how.pop("inputs", None) or [
        ct.TensorType("x", example.shape, np.int32 if example.dtype == torch.int64 else np.float32)
    ]
    return ct.convert(
        traced, inputs=inputs, minimum_deployment_target=target, compute_precision=PRECISIONS[precision][0], **how
    )


def saved(model, folder, name="model"):
    path = folder / f"{name}.mlpackage"
    model.save(str(path))
    return path


def given(x):
    return x.numpy().astype(np.int32) if x.dtype == torch.int64 else x.numpy()


def assert_near(found, expected, tolerance):
    """Within `tolerance` of the largest expected value."""
    expected = np.asarray(expected, np.float64)
    error = np.abs(np.asarray(found, np.float64) - expected).max() / np.abs(expected).max()
    assert error < tolerance, f"relative error {error:.2e}"


def only(outputs):
    (value,) = outputs.values()
    return value


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    """Each network converted once for each precision."""
    folder = tmp_path_factory.mktemp("packages")
    made = {}

    def package(name, precision):
        if (name, precision) not in made:
            make, example = NETWORKS[name]
            made[name, precision] = saved(
                convert(seeded(make), example, precision=precision), folder, f"{name}-{precision}"
            )
        return made[name, precision]

    return package


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", NETWORKS)
def test_network(name, precision, engine, packages):
    make, example = NETWORKS[name]
    with torch.no_grad():
        expected = seeded(make)(example).numpy()
    model = pippin.load(packages(name, precision), pippin.Configuration(engine=engine))
    assert model.engine == engine
    assert_near(only(model.predict({"x": given(example)})), expected, PRECISIONS[precision][1])


@pytest.mark.parametrize("name", ["resnet", "encoder"])
def test_float16_can_be_computed_in_float16(name, packages):
    make, example = NETWORKS[name]
    with torch.no_grad():
        expected = seeded(make)(example).numpy()
    configuration = pippin.Configuration(precision="float16", engine="onnxruntime")
    found = only(pippin.load(packages(name, "float16"), configuration).predict({"x": given(example)}))
    assert_near(found, expected, 3e-2)


def test_a_float16_output_stays_float16(tmp_path):
    network, x = seeded(UNet), image(1, 3, 32, 32)
    package = saved(
        convert(network, x, precision="float16", outputs=[ct.TensorType(name="y", dtype=np.float16)]), tmp_path
    )
    y = pippin.load(package).predict({"x": x})["y"]
    assert y.dtype == np.float16
    with torch.no_grad():
        assert_near(y, network(x), 1e-2)


COMPRESSIONS = {
    "int8": (
        ct.target.iOS16,
        lambda m: cto.linear_quantize_weights(
            m, cto.OptimizationConfig(cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=64))
        ),
    ),
    "int4_blocks": (
        ct.target.iOS18,
        lambda m: cto.linear_quantize_weights(
            m,
            cto.OptimizationConfig(
                cto.OpLinearQuantizerConfig(
                    mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=8, weight_threshold=64
                )
            ),
        ),
    ),
    "palettized_4bit": (
        ct.target.iOS16,
        lambda m: cto.palettize_weights(
            m, cto.OptimizationConfig(cto.OpPalettizerConfig(nbits=4, mode="uniform", weight_threshold=64))
        ),
    ),
    "palettized_grouped": (
        ct.target.iOS18,
        lambda m: cto.palettize_weights(
            m,
            cto.OptimizationConfig(
                cto.OpPalettizerConfig(
                    nbits=4, mode="uniform", granularity="per_grouped_channel", group_size=8, weight_threshold=64
                )
            ),
        ),
    ),
    "pruned": (
        ct.target.iOS16,
        lambda m: cto.prune_weights(
            m, cto.OptimizationConfig(cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=64))
        ),
    ),
    "pruned_int8": (
        ct.target.iOS18,
        lambda m: cto.linear_quantize_weights(
            cto.prune_weights(
                m, cto.OptimizationConfig(cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=64))
            ),
            cto.OptimizationConfig(cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=64)),
            joint_compression=True,
        ),
    ),
}


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(8, 32, 3, padding=1)
        self.linear = nn.Linear(32, 64)
        self.head = nn.Linear(64, 16)

    def forward(self, x):
        return self.head(torch.relu(self.linear(torch.relu(self.conv(x)).mean((2, 3)))))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", COMPRESSIONS)
def test_compressed(name, precision, engine, tmp_path):
    """The reference is torch with the weights that coremltools itself decompresses."""
    target, compress = COMPRESSIONS[name]
    network, x = seeded(Mixed), image(2, 8, 12, 12)
    compressed = compress(convert(network, x, precision=precision, target=target))
    kinds = {
        op.type
        for op in compressed.get_spec().mlProgram.functions["main"].block_specializations.popitem()[1].operations
    }
    assert any(kind.startswith("constexpr_") for kind in kinds), "nothing was compressed"
    plain = cto.decompress_weights(compressed)
    found = only(pippin.load(saved(compressed, tmp_path), pippin.Configuration(engine=engine)).predict({"x": x}))
    with torch.no_grad():
        expected = with_weights_of(plain, network)(x)
    assert_near(found, expected, PRECISIONS[precision][1])


def with_weights_of(converted, network):
    """The torch network with the weights of a converted one: matched by what they are nearest to."""
    operations = converted._mil_program.functions["main"].operations
    arrays = [op.outputs[0].val for op in operations if op.op_type == "const"]
    constants = [a.astype(np.float32) for a in arrays if isinstance(a, np.ndarray) and a.ndim >= 2]
    assert constants, "the decompressed model has no weights"
    with torch.no_grad():
        for parameter in network.parameters():
            same = [c for c in constants if c.shape == tuple(parameter.shape)]
            if same:
                parameter.copy_(torch.from_numpy(min(same, key=lambda c: float(np.abs(c - parameter.numpy()).sum()))))
    return network


@pytest.mark.parametrize("engine", ENGINES)
def test_flexible_range(engine, tmp_path):
    network = seeded(UNet)
    size = ct.RangeDim(16, 64, default=32)
    inputs = [ct.TensorType("x", ct.Shape((ct.RangeDim(1, 4, default=1), 3, size, size)))]
    model = pippin.load(
        saved(convert(network, image(1, 3, 32, 32), inputs=inputs), tmp_path), pippin.Configuration(engine=engine)
    )
    for shape in [(1, 3, 32, 32), (2, 3, 16, 16), (4, 3, 64, 64)]:
        x = image(*shape)
        with torch.no_grad():
            assert_near(only(model.predict({"x": x})), network(x), 1e-3)
    with pytest.raises(pippin.errors.FeatureShapeError, match=r"1\.\.4 x 3 x 16\.\.64"):
        model.predict({"x": image(1, 3, 8, 8)})


@pytest.mark.parametrize("engine", ENGINES)
def test_flexible_enumerated(engine, tmp_path):
    network = seeded(Recurrent, False)
    inputs = [ct.TensorType("x", ct.EnumeratedShapes([[1, 4, 12], [1, 9, 12], [2, 9, 12]]))]
    model = pippin.load(
        saved(convert(network, image(1, 9, 12), inputs=inputs), tmp_path), pippin.Configuration(engine=engine)
    )
    for shape in [(1, 4, 12), (1, 9, 12), (2, 9, 12)]:
        x = image(*shape)
        with torch.no_grad():
            assert_near(only(model.predict({"x": x})), network(x), 1e-3)
    with pytest.raises(pippin.errors.FeatureShapeError, match="1 x 4 x 12 or 1 x 9 x 12"):
        model.predict({"x": image(2, 4, 12)})


@pytest.mark.parametrize("engine", ENGINES)
def test_stateful_decoder(engine, tmp_path):
    network = seeded(Decoder)
    states = [ct.StateType(ct.TensorType(shape=(1, 16, 32), dtype=np.float16), name=n) for n in ("keys", "values")]
    inputs = [ct.TensorType("x", (1, 1, 32)), ct.TensorType("position", (1,), np.int32)]
    with torch.no_grad():
        traced = torch.jit.trace(network, (image(1, 1, 32), torch.tensor([0])))
    converted = ct.convert(traced, inputs=inputs, states=states, minimum_deployment_target=ct.target.iOS18)
    model = pippin.load(saved(converted, tmp_path), pippin.Configuration(engine=engine))
    network.keys.zero_(), network.values.zero_()
    first, second = model.make_state(), model.make_state()
    for step in range(8):
        x = image(1, 1, 32, seed=step)
        with torch.no_grad():
            expected = network(x, torch.tensor([step]))
        features = {"x": x, "position": np.array([step], np.int32)}
        assert_near(only(model.predict(features, state=first)), expected, 1e-2)
    assert_near(first.read("keys"), network.keys, 1e-2)
    assert first.read("keys").dtype == np.float16
    assert not second.read("keys").any(), "states are apart"
    second.write("keys", first.read("keys"))
    assert_near(second.read("keys"), network.keys, 1e-2)
    with pytest.raises(pippin.errors.StateError, match="make_state"):
        model.predict(features)


@pytest.mark.parametrize("engine", ENGINES)
def test_multifunction(engine, tmp_path):
    networks = {name: seeded(ResNet, classes) for name, classes in (("small", 4), ("large", 7))}
    x = image(1, 3, 64, 64)
    description = ct.utils.MultiFunctionDescriptor()
    for name, network in networks.items():
        path = saved(convert(network, x, target=ct.target.iOS18), tmp_path, name)
        description.add_function(str(path), src_function_name="main", target_function_name=name)
    description.default_function_name = "small"
    ct.utils.save_multifunction(description, str(tmp_path / "both.mlpackage"))
    for name in (None, "small", "large"):
        model = pippin.load(tmp_path / "both.mlpackage", pippin.Configuration(function_name=name, engine=engine))
        assert model.function_name == (name or "small")
        with torch.no_grad():
            assert_near(only(model.predict({"x": x})), networks[name or "small"](x), 1e-3)
    with pytest.raises(pippin.errors.ConfigurationError, match=r"it has: (small|large), "):
        pippin.load(tmp_path / "both.mlpackage", pippin.Configuration(function_name="middle"))


PIXELS = np.random.default_rng(5).integers(0, 256, (20, 24, 3)).astype(np.uint8)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_image_in_image_out(color, engine, tmp_path):
    network = seeded(Tinted)
    layout = getattr(ct.colorlayout, color)
    inputs = [ct.ImageType("image", (1, 3, 20, 24), color_layout=layout)]
    outputs = [ct.ImageType("tinted", color_layout=layout)]
    package = saved(convert(network, image(1, 3, 20, 24), inputs=inputs, outputs=outputs), tmp_path)
    model = pippin.load(package, pippin.Configuration(engine=engine))
    order = slice(None) if color == "RGB" else slice(None, None, -1)
    x = torch.from_numpy(PIXELS[..., order].astype(np.float32).transpose(2, 0, 1)[None].copy())
    with torch.no_grad():
        expected = network(x)[0].numpy().transpose(1, 2, 0)[..., order]
    picture = PIL.Image.fromarray(PIXELS)
    picture.save(tmp_path / "picture.png")
    for source in (picture, PIXELS, tmp_path / "picture.png", picture.convert("RGBA")):
        tinted = model.predict({"image": source})["tinted"]
        assert tinted.mode == "RGB" and tinted.size == (24, 20)
        assert np.abs(np.asarray(tinted).astype(float) - expected).max() <= 1.0  # the rounding of a pixel
    with pytest.raises(pippin.errors.FeatureShapeError, match="24 x 20"):
        model.predict({"image": pippin.ImageInput(picture.resize((48, 40)), resize="error")})
    assert model.predict({"image": picture.resize((48, 40))})["tinted"].size == (24, 20)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("labels", [["cat", "dog", "bird"], [7, 8, 9]], ids=["strings", "integers"])
def test_classifier(labels, engine, tmp_path):
    network = nn.Sequential(seeded(ResNet, 3), nn.Softmax(-1)).eval()
    x = image(1, 3, 64, 64, seed=3)
    package = saved(convert(network, x, classifier_config=ct.ClassifierConfig(labels)), tmp_path)
    model = pippin.load(package, pippin.Configuration(engine=engine))
    outputs = model.predict({"x": x})
    with torch.no_grad():
        expected = network(x)[0].numpy()
    function = model.description.function()
    assert outputs[function.predicted_feature_name] == labels[int(expected.argmax())]
    probabilities = next(v for v in outputs.values() if isinstance(v, dict))
    assert list(probabilities) == labels
    np.testing.assert_allclose(list(probabilities.values()), expected, rtol=1e-3, atol=1e-5)
    assert model.description.class_labels == tuple(labels)
