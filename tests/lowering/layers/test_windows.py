"""Layers that slide, normalize, multiply, resample, remember and branch, against torch and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from coremltools.models import datatypes
from coremltools.models.neural_network import NeuralNetworkBuilder

import pippin
from lowering.layers.layer_harness import ENGINES, check, f32, parametrize, row
from pippin.errors import ProgramError, UnsupportedOperationError

IMAGE = f32(1, 4, 7, 9)
VOLUME = f32(1, 2, 4, 5, 6)
W = f32(6, 4, 3, 3, seed=3)
GROUPED = f32(6, 2, 3, 3, seed=3)
BIAS = f32(6, seed=4)


def t(function):
    """A torch function of numpy arrays."""
    return lambda **arrays: function(*map(torch.from_numpy, arrays.values())).detach().numpy()


def tensors(*arrays):
    return [torch.from_numpy(np.asarray(a, np.float32)) for a in arrays]


def convolution(
    b, weight, *, groups=1, bias=BIAS, pads=(0, 0, 0, 0), strides=(1, 1), dilations=(1, 1), mode="valid", **how
):
    """A convolution by torch's weights (output, input / groups, height, width)."""
    b.add_convolution(
        "l", weight.shape[1], weight.shape[0], weight.shape[2], weight.shape[3], strides[0], strides[1], mode, groups,
        weight.transpose(2, 3, 1, 0), bias, bias is not None, input_name="x", output_name="y", dilation_factors=list(dilations),
        padding_top=pads[0], padding_bottom=pads[1], padding_left=pads[2], padding_right=pads[3], **how,
    )  # fmt: skip


def transposed(b, weight, strides=(2, 2), **how):
    b.add_convolution(
        "l", weight.shape[0], weight.shape[1], weight.shape[2], weight.shape[3], strides[0], strides[1], "valid", 1,
        weight.transpose(2, 3, 0, 1), None, False, is_deconv=True, input_name="x", output_name="y", **how,
    )  # fmt: skip


def pool(b, kind, **how):
    b.add_pooling("l", 3, 2, 2, 2, kind, how.pop("mode", "VALID"), "x", "y", **how)


GAMMA, BETA, MEAN, VARIANCE = (f32(4, seed=i, low=0.5, high=1.5) for i in range(4))

ROWS = [
    row("convolution", lambda b: convolution(b, W), {"x": IMAGE}, t(lambda x: F.conv2d(x, *tensors(W, BIAS)))),
    row("convolution", lambda b: convolution(b, W, strides=(2, 1), pads=(1, 2, 0, 3)), {"x": IMAGE}, t(lambda x: F.conv2d(F.pad(x, (0, 3, 1, 2)), *tensors(W, BIAS), stride=(2, 1))), label="padded"),
    row("convolution", lambda b: convolution(b, GROUPED, groups=2, dilations=(2, 1)), {"x": IMAGE}, t(lambda x: F.conv2d(x, *tensors(GROUPED, BIAS), groups=2, dilation=(2, 1))), label="grouped"),
    row("convolution", lambda b: convolution(b, W, mode="same", strides=(2, 2)), {"x": IMAGE}, t(lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1)), *tensors(W, BIAS), stride=2)), label="same"),
    row("convolution", lambda b: convolution(b, W), {"x": IMAGE[0]}, t(lambda x: F.conv2d(x, *tensors(W, BIAS))), exact=False, label="legacy"),
    row("convolution", lambda b: convolution(b, W), {"x": f32(2, 3, 4, 5, 5)}, t(lambda x: F.conv2d(x.flatten(0, 1), *tensors(W, BIAS)).unflatten(0, (2, 3))), label="more axes"),
    row("convolution", lambda b: transposed(b, W.transpose(1, 0, 2, 3)), {"x": IMAGE}, t(lambda x: F.conv_transpose2d(x, *tensors(W.transpose(1, 0, 2, 3)), stride=2)), label="transposed"),
    row("convolution", lambda b: transposed(b, W.transpose(1, 0, 2, 3), output_shape=(14, 18)), {"x": IMAGE}, t(lambda x: F.conv_transpose2d(x, *tensors(W.transpose(1, 0, 2, 3)), stride=2)[..., :14, :18]), label="output shape"),
    row("convolution3d", lambda b: b.add_convolution3d("l", 2, 3, 2, 3, 3, f32(3, 2, 2, 3, 3, seed=5), f32(3), True, 1, 1, 2, 1, 1, 1, 1, False, padding_mode="valid", input_name="x", output_name="y"), {"x": VOLUME}, t(lambda x: F.conv3d(x, *tensors(f32(3, 2, 2, 3, 3, seed=5), f32(3)), stride=(1, 2, 1)))),
    row("pooling", lambda b: pool(b, "MAX"), {"x": IMAGE}, t(lambda x: F.max_pool2d(x, (3, 2), 2))),
    row("pooling", lambda b: pool(b, "AVERAGE"), {"x": IMAGE}, t(lambda x: F.avg_pool2d(x, (3, 2), 2)), label="average"),
    row("pooling", lambda b: pool(b, "L2"), {"x": IMAGE}, t(lambda x: F.lp_pool2d(x, 2, (3, 2), 2)), label="L2"),
    row("pooling", lambda b: pool(b, "AVERAGE", padding_top=1, padding_bottom=1, exclude_pad_area=True), {"x": IMAGE}, t(lambda x: F.avg_pool2d(x, (3, 2), 2, (1, 0), count_include_pad=False)), label="without padding"),
    row("pooling", lambda b: pool(b, "MAX", mode="INCLUDE_LAST_PIXEL", padding_top=1, padding_bottom=1), {"x": IMAGE}, t(lambda x: F.max_pool2d(x, (3, 2), 2, (1, 0), ceil_mode=True)), label="last pixel"),
    row("pooling", lambda b: b.add_pooling("l", 1, 1, 1, 1, "AVERAGE", "VALID", "x", "y", is_global=True), {"x": IMAGE}, lambda x: x.mean((2, 3), keepdims=True), label="global"),
    row("pooling3d", lambda b: b.add_pooling3d("l", "x", "y", "MAX", 2, 2, 3, 2, 1, 1, padding_mode="VALID"), {"x": VOLUME}, t(lambda x: F.max_pool3d(x, (2, 2, 3), (2, 1, 1)))),
    row("globalPooling3d", lambda b: b.add_global_pooling3d("l", "x", "y", "AVERAGE"), {"x": VOLUME}, lambda x: x.mean((2, 3, 4), keepdims=True)),
    # Normalization.
    row("batchnorm", lambda b: b.add_batchnorm("l", 4, GAMMA, BETA, MEAN, VARIANCE, "x", "y", epsilon=1e-3), {"x": IMAGE}, t(lambda x: F.batch_norm(x, *tensors(MEAN, VARIANCE, GAMMA, BETA), eps=1e-3))),
    row("batchnorm", lambda b: b.add_batchnorm("l", 4, GAMMA, BETA, None, None, "x", "y", compute_mean_var=True, instance_normalization=True, epsilon=1e-3), {"x": IMAGE}, t(lambda x: F.instance_norm(x, weight=tensors(GAMMA)[0], bias=tensors(BETA)[0], eps=1e-3)), label="instance"),
    row("mvn", lambda b: b.add_mvn("l", "x", "y", across_channels=True, normalize_variance=True, epsilon=1e-3), {"x": IMAGE}, t(lambda x: F.layer_norm(x, x.shape[1:], eps=1e-3))),
    row("mvn", lambda b: b.add_mvn("l", "x", "y", across_channels=False, normalize_variance=False), {"x": IMAGE}, lambda x: x - x.mean((2, 3), keepdims=True), label="mean only"),
    row("l2normalize", lambda b: b.add_l2_normalize("l", "x", "y", epsilon=1e-3), {"x": IMAGE}, lambda x: x / np.sqrt((x**2).sum() + 1e-3)),
    row("lrn", lambda b: b.add_lrn("l", "x", "y", alpha=0.1, beta=0.75, local_size=3, k=2.0), {"x": IMAGE}, t(lambda x: F.local_response_norm(x, 3, 0.1, 0.75, 2.0))),
    row("softmax", lambda b: b.add_softmax("l", "x", "y"), {"x": IMAGE}, t(lambda x: F.softmax(x, 1))),
    row("softmaxND", lambda b: b.add_softmax_nd("l", "x", "y", axis=2), {"x": IMAGE}, t(lambda x: F.softmax(x, 2))),
    row("layerNormalization", lambda b: b.add_layer_normalization("l", "x", "y", [9], f32(9, seed=1), f32(9, seed=2), eps=1e-3), {"x": IMAGE}, t(lambda x: F.layer_norm(x, (9,), *tensors(f32(9, seed=1), f32(9, seed=2)), eps=1e-3))),
    # Products.
    row("innerProduct", lambda b: b.add_inner_product("l", f32(5, 4), f32(5, seed=1), 4, 5, True, "x", "y"), {"x": f32(2, 3, 4)}, t(lambda x: F.linear(x, *tensors(f32(5, 4), f32(5, seed=1))))),
    row("innerProduct", lambda b: b.add_inner_product("l", f32(5, 4), None, 4, 5, False, "x", "y"), {"x": f32(4)}, lambda x: f32(5, 4) @ x, exact=False, label="legacy"),
    row("innerProduct", lambda b: b.add_inner_product("l", f32(5, 252), None, 252, 5, False, "x", "y"), {"x": IMAGE[0]}, lambda x: f32(5, 252) @ x.reshape(-1), exact=False, label="an image"),
    *(
        row("batchedMatmul", lambda b: b.add_batched_mat_mul("l", ["x", "z"], "y"), {"x": f32(*x), "z": f32(*z, seed=1)}, lambda x, z, to=to: np.matmul(x, z).reshape(to), label=f"{x} by {z}")
        for x, z, to in [((3,), (3,), (1, 1)), ((2, 3), (3,), (2, 1)), ((3,), (2, 3, 4), (2, 1, 4))]
    ),
    row("innerProduct", lambda b: b.add_inner_product("l", f32(5, 24), f32(5), 24, 5, True, "x", "y"), {"x": f32(2, 2, 3, 4)}, lambda x: (x.reshape(2, 24) @ f32(5, 24).T + f32(5)).reshape(2, 5, 1, 1), label="of rank 4"),
    row("innerProduct", lambda b: b.add_inner_product("l", (np.arange(20) - 10).astype(np.int8).tobytes(), None, 4, 5, False, "x", "y", int_8_dynamic_quantize=True, is_quantized_weight=True, quantization_type="linear", nbits=8, quant_scale=np.array([0.25])), {"x": f32(3, 4)}, lambda x: x @ ((np.arange(20) - 10).reshape(5, 4) * 0.25).T, label="int8, dynamic"),
    row("batchedMatmul", lambda b: b.add_batched_mat_mul("l", ["x"], "y", weight_matrix_rows=4, weight_matrix_columns=5, W=(np.arange(20) - 10).astype(np.int8).tobytes(), bias=f32(5), int_8_dynamic_quantize=True, is_quantized_weight=True, quantization_type="linear", nbits=8, quant_scale=np.array([0.25])), {"x": f32(3, 4)}, lambda x: x @ ((np.arange(20) - 10).reshape(4, 5) * 0.25) + f32(5), label="int8, dynamic"),
    row("batchedMatmul", lambda b: b.add_batched_mat_mul("l", ["x", "z"], "y", transpose_b=True), {"x": f32(2, 3, 4), "z": f32(2, 5, 4)}, lambda x, z: x @ z.transpose(0, 2, 1)),
    row("batchedMatmul", lambda b: b.add_batched_mat_mul("l", ["x"], "y", weight_matrix_rows=4, weight_matrix_columns=5, W=f32(4, 5), bias=f32(5)), {"x": f32(2, 3, 4)}, lambda x: x @ f32(4, 5) + f32(5), label="weights"),
    row("embeddingND", lambda b: b.add_embedding_nd("l", "x", "y", 6, 3, f32(3, 6), f32(3)), {"x": np.array([[1], [5], [0]], np.float32)}, lambda x: f32(3, 6).T[x[:, 0].astype(int)] + f32(3)),
    row("embedding", lambda b: b.add_embedding("l", f32(3, 6), None, 6, 3, False, "x", "y"), {"x": np.array([4], np.float32)}, lambda x: f32(3, 6)[:, 4], exact=False),
    # Activations.
    *(
        row("activation", lambda b, n=name, p=parameters: b.add_activation("l", n, "x", "y", p), {"x": IMAGE}, t(f), label=name)
        for name, parameters, f in [
            ("RELU", None, torch.relu), ("SIGMOID", None, torch.sigmoid), ("TANH", None, torch.tanh),
            ("LEAKYRELU", [0.2], lambda x: F.leaky_relu(x, 0.2)), ("ELU", 0.7, lambda x: F.elu(x, 0.7)),
            ("THRESHOLDEDRELU", 0.5, lambda x: torch.where(x >= 0.5, x, 0)), ("SOFTPLUS", None, F.softplus),
            ("SOFTSIGN", None, F.softsign), ("LINEAR", [2.0, 0.5], lambda x: 2 * x + 0.5),
            ("SIGMOID_HARD", [0.3, 0.4], lambda x: torch.clip(0.3 * x + 0.4, 0, 1)),
            ("SCALED_TANH", [1.7, 0.6], lambda x: 1.7 * torch.tanh(0.6 * x)),
            ("PRELU", GAMMA, lambda x: F.prelu(x, tensors(GAMMA)[0])),
            ("PARAMETRICSOFTPLUS", [GAMMA, BETA], lambda x: tensors(GAMMA)[0].view(-1, 1, 1) * F.softplus(tensors(BETA)[0].view(-1, 1, 1) * x)),
        ]
    ),
    # Images of another size.
    row("upsample", lambda b: b.add_upsample("l", 2, 3, "x", "y", mode="NN"), {"x": IMAGE}, lambda x: x.repeat(2, 2).repeat(3, 3)),
    row("upsample", lambda b: b.add_upsample("l", 2, 2, "x", "y", mode="BILINEAR", linear_upsample_mode="ALIGN_CORNERS_TRUE"), {"x": IMAGE}, t(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True)), label="corners"),
    row("upsample", lambda b: b.add_upsample("l", 2, 2, "x", "y", mode="BILINEAR", linear_upsample_mode="ALIGN_CORNERS_FALSE"), {"x": IMAGE}, t(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)), label="half pixel"),
    row("resizeBilinear", lambda b: b.add_resize_bilinear("l", "x", "y", 14, 5, mode="STRICT_ALIGN_ENDPOINTS_MODE"), {"x": IMAGE}, t(lambda x: F.interpolate(x, (14, 5), mode="bilinear", align_corners=True))),
    row("crop", lambda b: b.add_crop("l", 1, 2, 3, 1, [0, 0], ["x"], "y"), {"x": IMAGE}, IMAGE[..., 3:-1, 1:-2]),
    row("padding", lambda b: b.add_padding("l", 1, 2, 3, 0, 1.5, "x", "y", "constant"), {"x": IMAGE}, np.pad(IMAGE, [(0, 0), (0, 0), (3, 0), (1, 2)], constant_values=1.5)),
    row("padding", lambda b: b.add_padding("l", 1, 2, 3, 0, 0, "x", "y", "reflection"), {"x": IMAGE}, np.pad(IMAGE, [(0, 0), (0, 0), (3, 0), (1, 2)], mode="reflect"), label="reflection"),
    row("padding", lambda b: b.add_padding("l", 1, 2, 3, 0, 0, "x", "y", "replication"), {"x": IMAGE}, np.pad(IMAGE, [(0, 0), (0, 0), (3, 0), (1, 2)], mode="edge"), label="replication"),
]  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@parametrize(ROWS)
def test_layer(r, engine):
    check(r, engine)


SEQUENCE, BATCH, INPUT, HIDDEN = 5, 2, 3, 4


def recurrent_network(add, outputs):
    shape = (SEQUENCE, BATCH, INPUT, 1, 1)
    builder = NeuralNetworkBuilder(
        [("x", datatypes.Array(*shape))], [(name, None) for name in outputs], disable_rank5_shape_mapping=True
    )
    add(builder)
    return builder.spec, f32(*shape)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("everything", [False, True])
def test_lstm(everything, backwards, engine):
    net = torch.nn.LSTM(INPUT, HIDDEN)
    order = [0, 1, 3, 2]  # torch: input, forget, cell, output; the layer: input, forget, output, cell

    def gates(name):
        parts = getattr(net, name).detach().numpy().reshape(4, HIDDEN, -1)
        return [parts[i].squeeze(-1) if "bias" in name else parts[i] for i in order]

    biases = [a + b for a, b in zip(gates("bias_ih_l0"), gates("bias_hh_l0"), strict=True)]
    spec, x = recurrent_network(
        lambda b: b.add_unilstm(
            "l", gates("weight_hh_l0"), gates("weight_ih_l0"), biases, HIDDEN, INPUT, ["x"], ["y", "h", "c"],
            output_all=everything, reverse_input=backwards,
        ),
        ("y", "h", "c"),
    )  # fmt: skip
    found = pippin.load(spec, pippin.Configuration(engine=engine)).predict({"x": x})
    rows = torch.from_numpy(x[..., 0, 0])
    y, (h, c) = net(rows.flip(0) if backwards else rows)
    np.testing.assert_allclose(found["y"][..., 0, 0], (y if everything else h).detach(), atol=1e-5)
    np.testing.assert_allclose(found["h"][..., 0, 0], h.detach(), atol=1e-5)
    np.testing.assert_allclose(found["c"][..., 0, 0], c.detach(), atol=1e-5)


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("kind", ["linear", "lut"])
def test_quantized_weights(bits, kind):
    """Codes packed from the highest bit on; the expected values are computed from the codes."""
    codes = np.random.default_rng(bits).integers(0, 2**bits, (5, 4))
    stream = "".join(f"{code:0{bits}b}" for code in codes.reshape(-1))
    packed = int(stream.ljust(-(-len(stream) // 8) * 8, "0"), 2).to_bytes(-(-len(stream) // 8), "big")
    scale, bias, table = f32(5, seed=1), f32(5, seed=2), f32(2**bits, seed=3)
    if kind == "linear":
        weight = codes * scale[:, None] + bias[:, None]
        how = {"quant_scale": scale, "quant_bias": bias}
    else:
        weight, how = table[codes], {"quant_lut": table}
    builder = NeuralNetworkBuilder([("x", datatypes.Array(4))], [("y", None)], disable_rank5_shape_mapping=True)
    builder.add_inner_product(
        "l", packed, None, 4, 5, False, "x", "y", is_quantized_weight=True, quantization_type=kind, nbits=bits, **how
    )
    x = f32(4)
    np.testing.assert_allclose(pippin.load(builder.spec).predict({"x": x})["y"], weight @ x, rtol=1e-4, atol=1e-4)


def test_float16_weights():
    builder = NeuralNetworkBuilder([("x", datatypes.Array(4))], [("y", None)], disable_rank5_shape_mapping=True)
    builder.add_inner_product("l", f32(5, 4), None, 4, 5, False, "x", "y")
    params = builder.spec.neuralNetwork.layers[0].innerProduct.weights
    params.float16Value = np.array(params.floatValue, np.float16).tobytes()
    params.ClearField("floatValue")
    x = f32(4)
    expected = f32(5, 4).astype(np.float16).astype(np.float32) @ x
    np.testing.assert_allclose(pippin.load(builder.spec).predict({"x": x})["y"], expected, rtol=1e-5, atol=1e-5)


def bad(change):
    builder = NeuralNetworkBuilder([("x", datatypes.Array(4))], [("y", None)], disable_rank5_shape_mapping=True)
    builder.add_inner_product("the layer", f32(5, 4), None, 4, 5, False, "x", "y")
    change(builder.spec.neuralNetwork)
    return builder.spec


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda n: n.layers[0].innerProduct.weights.floatValue.pop(), ProgramError, r"\[innerProduct\] 'the layer': weights has 19 elements, but the shape \(5, 4\) needs 20"),
        (lambda n: n.layers[0].input.__setitem__(0, "gone"), ProgramError, "no network input or earlier layer provides its input 'gone'"),
        (lambda n: (n.layers[0].ClearField("innerProduct"), n.layers.add(name="last", input=["gone"]).softmax.SetInParent()), ProgramError, r"\[softmax\] 'last': no network input or earlier layer provides its input 'gone'"),
        (lambda n: n.layers[0].output.__setitem__(0, "z"), ProgramError, "the output 'y' is described, but no layer produces it"),
        (lambda n: setattr(n.layers[0].custom, "className", "Mine"), UnsupportedOperationError, r"custom layer class 'Mine': its code is not in the model file; register it with @pippin.custom_layer\('Mine'\)"),
        (lambda n: n.layers[0].loopBreak.SetInParent(), ProgramError, "must be inside a loop"),
        (lambda n: n.layers[0].output.__setitem__(0, "\0left"), ProgramError, r"no value of a network may have the name '\\x00left'"),
        (lambda n: n.layers[0].ClearField("innerProduct"), UnsupportedOperationError, "unknown neural-network layer"),
        (lambda n: setattr(n.layers[0].innerProduct, "inputChannels", 3), ProgramError, "the layer"),
    ],
)  # fmt: skip
def test_a_bad_layer_is_named(change, error, message):
    with pytest.raises(error, match=message):
        pippin.load(bad(change))
