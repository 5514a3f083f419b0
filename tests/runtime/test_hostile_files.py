"""Hostile files: numbers, names and paths of a file that ask for more than a model can need. Each ends in an error of the
tree that says what was found; nothing is allocated, repeated or opened for it.
"""

from __future__ import annotations

import os
import socket

import numpy as np
import pytest
from google.protobuf import text_format

import pippin
from coremltools import proto
from pippin import errors
from pippin.features.files import read_array
from pippin.lowering import limits
from pippin.lowering.lowered_model import check_labels
from pippin.reporting.performance_report import read_report
from pippin.support.atomic_write import atomic_write
from pippin.trace.summary import summarize

FAST = pippin.Configuration(engine="onnxruntime", hints=pippin.Hints(specialization_strategy="fast_load"))
MANY = 10**12


def array(name, *shape, kind="FLOAT32"):
    sizes = " ".join(f"shape: {n}" for n in shape)
    return f'name: "{name}" type {{ multiArrayType {{ dataType: {kind} {sizes} }} }}'


def typed(name, kind):
    return f'name: "{name}" type {{ {kind} }}'


def optional(more):
    return typed("x", f"multiArrayType {{ dataType: INT32 shape: 3 {more} }} isOptional: true")


def image(name, width=2, height=2):
    return typed(name, f"imageType {{ width: {width} height: {height} colorSpace: RGB }}")


X, Y = array("x", 3), array("y")
INT, DOUBLE = typed("y", "int64Type { }"), typed("y", "doubleType { }")
TABLE = "dictionaryType { int64KeyType { } }"
RELU = 'layers { name: "L" input: "x" output: "y" activation { ReLU { } } }'


def described(kind, inputs, outputs, more=""):
    features = " ".join(f"input {{ {f} }}" for f in inputs) + " ".join(f" output {{ {f} }}" for f in outputs)
    return f"specificationVersion: 5 description {{ {features} {more} }} {kind}"


def network(layers=RELU, inputs=(X,), outputs=(Y,), more=""):
    return described(
        f"neuralNetwork {{ arrayInputShapeMapping: EXACT_ARRAY_MAPPING {more} {layers} }}", inputs, outputs
    )


def layer(body, *inputs, outputs=("y",)):
    names = " ".join(f'input: "{name}"' for name in inputs) + " " + " ".join(f'output: "{name}"' for name in outputs)
    return network(f'layers {{ name: "L" {names} {body} }}', more="")


def picture(body, *inputs):
    return layer(body, *(inputs or "x")).replace("shape: 3", "shape: 1 shape: 2 shape: 2 shape: 2")


def classifier(labels, layers=RELU):
    body = f"neuralNetworkClassifier {{ arrayInputShapeMapping: EXACT_ARRAY_MAPPING {layers} {labels} }}"
    return described(body, [X], [typed("l", "stringType { }")], 'predictedFeatureName: "l"')


def trees(kind="Regressor", dimensions=1, more="", outputs=(DOUBLE,)):
    leaf = "nodes { nodeBehavior: LeafNode evaluationInfo { evaluationValue: 1 } }"
    body = f"treeEnsemble{kind} {{ treeEnsemble {{ numPredictionDimensions: {dimensions} {leaf} }} {more} }}"
    return described(body, [array("x", 2, kind="DOUBLE")], outputs)


def vectorizer(size, given=TABLE):
    feature = typed("x", given) if given == TABLE else given
    return described(
        f'featureVectorizer {{ inputList {{ inputColumn: "x" inputDimensions: {size} }} }}',
        [feature],
        [array("y", kind="DOUBLE")],
    )


def recommender(item):
    similar = f"itemItemSimilarities {{ itemId: {item} similarItemList {{ itemId: 1 similarityScore: 1 }} }}"
    names = 'itemInt64Ids { } itemInputFeatureName: "x" recommendedItemListOutputFeatureName: "y"'
    return described(
        f"itemSimilarityRecommender {{ {similar} {names} }}",
        [typed("x", TABLE)],
        [typed("y", "sequenceType { int64Type { } }")],
    )


SPARSE = (
    "supportVectorRegressor { kernel { linearKernel { } }"
    " sparseSupportVectors { vectors { nodes { index: %d value: 1 } } } coefficients { alpha: 1 } }"
)
ROWS = {
    # sizes
    "fill": (layer(f"fillStatic {{ value: 1 targetShape: {MANY} }}"), "fillStatic.*constants"),
    "fill of a shape whose product wraps": (
        layer(f"fillStatic {{ value: 1 targetShape: {2**32} targetShape: {2**32} }}"),
        "fillStatic",
    ),
    "range": (layer("rangeStatic { endValue: 1e12 stepSizeValue: 1 }"), "rangeStatic.*constants"),
    "range of step 0": (layer("rangeStatic { endValue: 1 }"), "step other than 0"),
    "range to infinity": (layer("rangeStatic { endValue: inf stepSizeValue: 1 }"), "finite"),
    "one-hot": (layer(f"oneHot {{ oneHotVectorSize: {MANY} axis: -1 onValue: 1 }}", "x"), "oneHot"),
    "sliding windows": (layer(f"slidingWindows {{ windowSize: {MANY} step: 1 }}", "x"), "slidingWindows"),
    "tile": (layer(f"tile {{ reps: {MANY} }}", "x"), "tile.*elements in a tensor"),
    "constant pad": (layer(f"constantPad {{ padAmounts: 0 padAmounts: {MANY} }}", "x"), "constantPad"),
    "broadcast": (layer(f"broadcastToStatic {{ targetShape: {MANY} targetShape: 3 }}", "x"), "broadcastToStatic"),
    "random numbers": (layer(f"randomUniformStatic {{ outputShape: {MANY} }}"), "randomUniformStatic"),
    "split": (layer("split { nOutputs: 1000000000 }", "x"), "1000000000 parts, but names 1 outputs"),
    "split along an axis": (layer("splitND { axis: 0 numSplits: 1000000000 }", "x"), "1000000000 parts"),
    "tile of a constant": (
        network(
            'layers { name: "c" output: "c" loadConstantND { shape: 2 data { floatValue: 1 floatValue: 2 } } }'
            f' layers {{ name: "L" input: "c" output: "y" tile {{ reps: {10**8} }} }}'
        ),
        "tile",
    ),
    "vectorizer": (vectorizer(MANY), "featureVectorizer|elements"),
    "vectorizer, 2^63": (vectorizer(2**63), "elements"),
    "vectorizer of an array, 2^63": (vectorizer(2**63, array("x", kind="DOUBLE")), "elements"),
    "sparse support vectors": (described(SPARSE % 10**9, [array("x", 2, kind="DOUBLE")], [DOUBLE]), "constants"),
    "recommender": (recommender(MANY), "constants"),
    "recommender, 2^64 - 1": (recommender(2**64 - 1), "constants"),
    "trees of many dimensions": (trees(dimensions=MANY), "constants"),
    "input of many": (network(inputs=[array("x", MANY)]), "'x' of function 'main'"),
    "input of 2^63 - 1": (network(inputs=[array("x", 2**63 - 1)]), "'x' of function 'main'"),
    "input of -1": (network(inputs=[array("x", -1)]), "'x' is described with the size -1"),
    "image of -1": (network(inputs=[image("x", -1, -1)]), "'x' is described with the size -1"),
    # numbers that numpy or a modulo would take for others
    "axis 99": (layer("reduceSum { axes: 99 }", "x"), "reduceSum.*axis 99 does not exist"),
    "axis -2 of a vector": (layer("stack { axis: -4 }", "x"), "stack.*axis -4 does not exist"),
    "size 2^64 - 1": (layer(f"tile {{ reps: {2**64 - 1} }}", "x"), "tile"),
    "padding 2^64 - 1": (
        layer(
            "convolution { outputChannels: 1 kernelChannels: 1 nGroups: 1 kernelSize: 1 kernelSize: 1 stride: 1 stride: 1"
            f" valid {{ paddingAmounts {{ borderAmounts {{ startEdgeSize: {2**64 - 1} }} borderAmounts {{ }} }} }}"
            " weights { floatValue: 1 } }",
            "x",
        ).replace("shape: 3", "shape: 1 shape: 1 shape: 2 shape: 2"),
        "convolution",
    ),
    "slice of stride 0": (layer("sliceStatic { beginIds: 0 endIds: 3 strides: 0 }", "x"), "sliceStatic"),
    "axis 2^63 - 1 of a softmax": (layer(f"softmaxND {{ axis: {2**63 - 1} }}", "x"), "softmaxND.*axis .* does not exist"),
    "constant padding 2^64 - 1": (
        layer(f"constantPad {{ padAmounts: {2**64 - 1} padAmounts: 1 }}", "x"),
        f"constantPad.*{2**64 - 1} does not fit",
    ),
    "random numbers, 2^64 - 1": (layer(f"randomNormalStatic {{ outputShape: {2**64 - 1} }}"), "does not fit int64"),
    "windows of 0": (layer("slidingWindows { windowSize: 0 step: 1 }", "x"), "slidingWindows.*size must be at least 1"),
    "crop of many": (
        picture(f"crop {{ cropAmounts {{ borderAmounts {{ startEdgeSize: {MANY} }} borderAmounts {{ }} }} }}"),
        "crop.*of an axis of size 2",
    ),
    "crop from far on": (picture(f"crop {{ offset: {MANY} offset: 0 }}", "x", "x"), "crop.*do not fit an axis of size 2"),
    "enlarged by 0": (picture("upsample { scalingFactor: 0 scalingFactor: 1 }"), "upsample.*size must be at least 1"),
    "pooling of many": (
        picture("pooling { type: AVERAGE kernelSize: 1000000000 kernelSize: 1000000000 stride: 1 stride: 1 same { } }"),
        "pooling.*would read",
    ),
    "normalization over many": (picture("lrn { alpha: 1 beta: 1 localSize: 100000001 k: 1 }"), "lrn.*elements in a tensor"),
    "extracted index 2^64 - 1": (
        described(f"arrayFeatureExtractor {{ extractIndex: {2**64 - 1} }}", [array("x", 2, kind="DOUBLE")], [DOUBLE]),
        "does not fit int64",
    ),
    "default NaN of integers": (
        network(inputs=[optional("doubleDefaultValue: nan")]),
        "'x' has the default nan, which does not fit int32",
    ),
    "default 10^300 of integers": (network(inputs=[optional("doubleDefaultValue: 1e300")]), "'x' has the default"),
    "size of 2^64 - 1 and more": (
        network(inputs=[optional(f"shapeRange {{ sizeRanges {{ lowerBound: {2**64 - 1} upperBound: -1 }} }}")]),
        "'x' has a size of at least",
    ),
    # what is missing, or does not fit
    "no labels": (classifier("stringClassLabels { }"), "no class labels"),
    "equal labels": (classifier('stringClassLabels { vector: "a" vector: "b" vector: "a" }'), "the label 'a'"),
    "more labels than scores": (
        classifier("stringClassLabels { " + " ".join(f'vector: "{i}"' for i in range(5)) + " }"),
        "5 class labels for 3 scores",
    ),
    "equal labels of trees": (
        trees("Classifier", 2, "int64ClassLabels { vector: 1 vector: 1 }", [typed("y", "int64Type { }")]),
        "the label '1'",
    ),
    "no layers": (classifier('stringClassLabels { vector: "a" }', ""), "no layers"),
    "trees of 0 dimensions": (trees(dimensions=0), "0 prediction dimensions"),
    "network without outputs": (network(outputs=[]), "no output"),
    "regressor without outputs": (trees(outputs=[]), "no output"),
    "classifier without outputs": (
        trees("Classifier", 2, "int64ClassLabels { vector: 1 vector: 2 }", []),
        "no output",
    ),
    "GLM without outputs": (
        described("glmRegressor { weights { value: 1 value: 1 } offset: 0 }", [array("x", 2, kind="DOUBLE")], []),
        "no output",
    ),
    "sound without outputs": (
        described("soundAnalysisPreprocessing { vggish { } }", [array("x", 15600)], []),
        "1 input and 1 output",
    ),
    "equal categories": (
        described(
            'oneHotEncoder { stringCategories { vector: "a" vector: "a" } }',
            [typed("x", "stringType { }")],
            [array("y", kind="DOUBLE")],
        ),
        "duplicate category",
    ),
    "dictionary of an array": (network(outputs=[typed("y", TABLE)]), "'y' is described as a Dictionary"),
    "number of nothing": (network(inputs=[array("x", 0)], outputs=[DOUBLE]), "'y' is one number"),
    "image of a vector": (network(outputs=[image("y", 1, 1)]), "'y' is described as an image"),
    "mean image of 2 numbers": (
        network(
            inputs=[image("x")],
            more='preprocessing { featureName: "x" meanImage { meanImage: 1 meanImage: 2 } }',
        ),
        "mean image of 'x' has 2 numbers, but the image has 12",
    ),
    "scales of a wrong length": (
        layer(
            "batchedMatmul { weightMatrixFirstDimension: 3 weightMatrixSecondDimension: 0 weights { rawValue: '\\001'"
            " quantization { numberOfBits: 8 linearQuantization { scale: 1 scale: 2 } } } }",
            "x",
        ),
        "batchedMatmul",
    ),
}  # fmt: skip


def opened(text):
    return text_format.Parse(text, proto.Model_pb2.Model()).SerializeToString()


@pytest.mark.parametrize("name", ROWS)
def test_specification(name):
    text, message = ROWS[name]
    with pytest.raises(pippin.PippinError, match=message):
        pippin.load(opened(text), FAST, cache=False)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_integer_output_that_is_no_integer(value):
    model = pippin.load(opened(network(outputs=[INT], layers=layer_identity())), FAST, cache=False)
    with pytest.raises(errors.PredictionError, match="'y' is an integer, but the model computed"):
        model.predict({"x": np.array([value, 1, 2], np.float32)})
    assert model.predict({"x": np.array([7, 1, 2], np.float32)}) == {"y": 7}


@pytest.mark.parametrize("threshold", ["nan", "5", "-1", "inf"])
def test_a_threshold_of_the_file_that_is_none(threshold):
    names = " ".join(
        f'{which}{role}FeatureName: "{name}"'
        for which, role, name in (
            ("confidence", "Input", "c"), ("coordinates", "Input", "x"),
            ("confidence", "Output", "y"), ("coordinates", "Output", "z"),
        )
    )  # fmt: skip
    body = f"nonMaximumSuppression {{ iouThreshold: {threshold} {names} pickTop {{ }} }}"
    inputs = [array("x", 3, 4, kind="DOUBLE"), array("c", 3, 2, kind="DOUBLE")]
    model = pippin.load(
        opened(described(body, inputs, [array("y", kind="DOUBLE"), array("z", kind="DOUBLE")])), FAST, cache=False
    )
    with pytest.raises(errors.FeatureValueError, match="the IoU threshold must be between 0 and 1"):
        model.predict({"x": np.ones((3, 4)), "c": np.ones((3, 2))})


def layer_identity():
    return 'layers { name: "L" input: "x" output: "y" activation { linear { alpha: 1 } } }'


MIL = {
    "tile": (f"tile(x = x, reps = tensor<int32, [1]>([{10**9}]))", "tile.*elements in a tensor"),
    "fill": ("fill(shape = tensor<int32, [2]>([1000000, 1000000]), value = fp32(1))", "fill.*elements"),
    "range": ("range_1d(start = int32(0), end = int32(2000000000), step = int32(1))", "range_1d.*constants"),
    "one_hot": ("one_hot(indices = i, one_hot_vector_size = int32(2000000000))", "one_hot.*constants"),
    "pad": ("pad(x = x, pad = tensor<int32, [2]>([0, 2000000000]), mode = string(\"reflect\"))", "pad.*constants"),
    "affine": (
        "affine(x = p, transform_matrix = tensor<fp32, [1, 6]>([[1, 0, 0, 0, 1, 0]]), output_height = int32(2000000000),"
        ' output_width = int32(2000000000), sampling_mode = string("bilinear"), padding_mode = string("constant"),'
        ' padding_value = fp32(0), coordinates_mode = string("normalized_minus_one_to_one"), align_corners = bool(true))',
        "affine.*constants",
    ),
    "batch of gather": (
        "gather(x = x, indices = i, axis = int32(0), batch_dims = int32(2000000000))",
        "gather.*batch_dims must be from 0 to 0",
    ),
    "batch of gather_nd": ("gather_nd(x = x, indices = i, batch_dims = int32(-1))", "gather_nd.*batch_dims"),
    "depth of gather_nd": ("gather_nd(x = x, indices = i)", "gather_nd.*an index of 3 numbers needs as many axes"),
    "windows of -2": ("sliding_windows(x = x, axis = int32(0), size = int32(-2))", "sliding_windows.*size must be"),
    "pooling of many": (
        "max_pool(x = p, kernel_sizes = tensor<int32, [2]>([2000000000, 2000000000]),"
        ' strides = tensor<int32, [2]>([1, 1]), pad_type = string("same"))',
        "max_pool.*would read",
    ),
    "normalization over many": ("local_response_norm(x = p, size = int32(100000001))", "elements in a tensor"),
    "normalization over none": ("local_response_norm(x = p, size = int32(0))", "size must be at least 1"),
    "crop of less than nothing": (
        "crop(x = p, crop_height = tensor<int32, [2]>([-7, 0]), crop_width = tensor<int32, [2]>([0, 0]))",
        "crop.*cannot crop -7",
    ),
    "size -7": (
        "slice_by_size(x = x, begin = tensor<int32, [1]>([0]), size = tensor<int32, [1]>([-7]))",
        "slice_by_size.*a size must be -1",
    ),
    "enlarged by -2": (
        "upsample_nearest_neighbor(x = p, scale_factor_height = int32(-2), scale_factor_width = int32(1))",
        "upsample_nearest_neighbor.*size must be at least 1",
    ),
    "convolution in 0 groups": (
        'conv(x = p, weight = tensor<fp32, [1, 2, 1, 1]>([[[[1]], [[1]]]]), groups = int32(0), pad_type = string("valid"))',
        "conv.*groups must be at least 1",
    ),
    "softmax": ("softmax(x = x, axis = int32(99))", "softmax.*axis 99 does not exist"),
    "sum along axis 99": ("cumsum(x = x, axis = int32(99))", "cumsum.*axis 99 does not exist"),
    **{
        f"overlap {threshold}": (
            "non_maximum_suppression(boxes = tensor<fp32, [1, 1, 4]>([[[0, 0, 1, 1]]]), scores = tensor<fp32, [1, 1, 1]>"
            f"([[[1]]]), iou_threshold = fp32({threshold}), score_threshold = fp32(0), max_boxes = int32(1))",
            "non_maximum_suppression.*iou_threshold must be from 0 to 1",
        )
        for threshold in ("nan", "5", "-1")
    },
    "reduce": ("layer_norm(x = x, axes = tensor<int32, [1]>([99]))", "layer_norm.*axis 99 does not exist"),
    "transpose": ("transpose(x = x, perm = tensor<int32, [1]>([99]))", "transpose.*axis 99 does not exist"),
    "gather": ("gather(x = x, indices = int32(0), axis = int32(99))", "gather.*axis 99 does not exist"),
    "labels": ("real_div(x = x, y = string(\"a\"))", "real_div"),
}  # fmt: skip


@pytest.mark.parametrize("name", MIL)
def test_program(name, tmp_path):
    operation, message = MIL[name]
    path = tmp_path / "m.mil"
    inputs = "tensor<fp32, [3]> x, tensor<int32, [3]> i, tensor<fp32, [1, 2, 2, 2]> p"
    path.write_text(
        f'program(1.0)\n{{\n func main<ios17>({inputs}) {{\n tensor<fp32, [?]> y = {operation}[name = string("y")];\n'
        " } -> (y);\n}\n"
    )
    with pytest.raises(pippin.PippinError, match=message):
        pippin.load(path, FAST, cache=False)


def test_limits_grow_with_the_file():
    """Twice the bytes may ask for twice as much; constants are added up; a limit ends with its file."""
    with limits.allowing(lambda: limits.TENSOR // 32):
        limits.tensor([2, limits.TENSOR])
        with pytest.raises(errors.UnsupportedModelError, match="elements in a tensor"):
            limits.tensor([2, limits.TENSOR, 2])
    with limits.allowing(lambda: 0):
        limits.constant(limits.CONSTANTS // 8)
        with pytest.raises(errors.UnsupportedModelError, match="bytes of constants"):
            limits.constant(1)
    with limits.allowing(lambda: 0):
        limits.constant(1)


def test_a_few_equal_labels_in_a_long_list_are_told(caplog):
    """ImageNet calls a bird and a machine "crane", and published networks have its labels."""
    labels = ["crane", "crane", *map(str, range(998))]
    with caplog.at_level("WARNING", "pippin"):
        check_labels(labels, "neuralNetworkClassifier")
    assert "'crane'" in caplog.text
    with pytest.raises(errors.SpecificationError, match="'crane'"):
        check_labels(labels[:50], "neuralNetworkClassifier")


def fifo(path):
    os.mkfifo(path)
    return path


def listening(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


IRREGULAR = {"a FIFO": fifo, "a socket": listening, "a device": lambda path: path.symlink_to("/dev/zero") or path}
READERS = {
    "m.mlmodel": (lambda path: pippin.load(path, cache=path.parent / "cache"), errors.PackageError),
    "m.mil": (lambda path: pippin.load(path, cache=False), errors.PackageError),
    "report.json": (read_report, errors.ReportError),
    "trace.json": (summarize, errors.TraceError),
    **{f"x{s}": (lambda path: read_array(path, "x"), errors.FeatureValueError) for s in (".npy", ".wav", ".json", ".csv")},
}  # fmt: skip


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", IRREGULAR)
def test_only_regular_files_are_opened(kind, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    read, error = READERS[name]
    path = tmp_path / name
    IRREGULAR[kind](path.relative_to(tmp_path) if kind == "a socket" else path)
    with pytest.raises(error, match=f"it is {kind}"):
        read(path)


@pytest.mark.parametrize("kind", IRREGULAR)
def test_only_regular_files_are_replaced(kind, tmp_path, monkeypatch):
    """A file that is renamed over /dev/null would be its end."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "out.py"
    IRREGULAR[kind](path.relative_to(tmp_path) if kind == "a socket" else path)
    with pytest.raises(OSError, match=f"it is {kind}, and only regular files are written"), atomic_write(path) as made:
        made.write_text("x")
    assert not path.is_file()


@pytest.mark.parametrize("kind", IRREGULAR)
def test_an_image_is_a_regular_file(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    IRREGULAR[kind]((tmp_path / "x.png").relative_to(tmp_path))
    layers = 'layers { name: "L" input: "x" output: "y" activation { ReLU { } } }'
    model = pippin.load(opened(network(layers, [image("x")])), FAST, cache=False)
    with pytest.raises(errors.FeatureValueError, match=f"it is {kind}"):
        model.predict({"x": tmp_path / "x.png"})


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("what", ["manifest", "specification", "weights"])
def test_a_package_of_fifos(what, cached, tmp_path):
    package = tmp_path / "m.mlpackage"
    (package / "Data" / "weights").mkdir(parents=True)
    manifest = '{"fileFormatVersion":"1.0.0","itemInfoEntries":{"A":{"path":"m.mlmodel"}},"rootModelIdentifier":"A"}'
    (package / "Manifest.json").write_text(manifest) if what != "manifest" else fifo(package / "Manifest.json")
    specification = package / "Data" / "m.mlmodel"
    specification.write_bytes(opened(network())) if what != "specification" else fifo(specification)
    if what == "weights":  # not a weight file of this model, which has none
        fifo(package / "Data" / "weights" / "weight.bin")
        assert pippin.load(package, FAST, cache=tmp_path / "cache" if cached else False).engine == "onnxruntime"
        return
    with pytest.raises(errors.PackageError):
        pippin.load(package, FAST, cache=tmp_path / "cache" if cached else False)


LONG = "a" * 5000


def test_names_too_long(tmp_path):
    package = tmp_path / "m.mlpackage"
    package.mkdir()
    (package / "Manifest.json").write_text(
        '{"fileFormatVersion":"1.0.0","itemInfoEntries":{"A":{"path":"' + LONG + '"}},"rootModelIdentifier":"A"}'
    )
    for source in (package, tmp_path / LONG, tmp_path / "a\0b", LONG):
        for cache in (False, tmp_path / "cache"):
            with pytest.raises(errors.PackageError):
                pippin.load(source, cache=cache)


LINKS = {
    "a folder above": ("m.mlmodel", "..", "leads out"),
    "a folder above, inside": ("m.mlmodel", "parts/../..", "leads out"),
    "an absolute folder": ("m.mlmodel", "/tmp", "leads out"),
    "an absolute file": ("/tmp/m.mlmodel", ".", "leads out"),
    "a file above": ("../m.mlmodel", ".", "leads out"),
    "a link": ("link.mlmodel", ".", "leads out"),
    "the folder itself": (".", ".", "needs a file name"),
    "a zero byte": ("m\0.mlmodel", ".", "leads out"),
    "a long name": (LONG, ".", "not found"),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_linked_model_lies_in_the_folder(name, tmp_path):
    file, search, message = LINKS[name]
    folder = tmp_path / "models"
    (folder / "parts").mkdir(parents=True)
    (tmp_path / "m.mlmodel").write_bytes(opened(network()))
    (folder / "link.mlmodel").symlink_to(tmp_path / "m.mlmodel")
    message_of = proto.Model_pb2.Model()
    message_of.ParseFromString(opened(described("linkedModel { }", [X], [Y])))
    link = message_of.linkedModel.linkedModelFile
    link.linkedModelFileName.defaultValue, link.linkedModelSearchPath.defaultValue = file, search
    (folder / "l.mlmodel").write_bytes(message_of.SerializeToString())
    with pytest.raises(errors.PackageError, match=message):
        pippin.load(folder / "l.mlmodel", cache=False)


class Odd(dict):
    """A mapping whose values cannot be had."""

    def __getitem__(self, key):
        raise ZeroDivisionError("no value")


def test_a_boundary_names_the_feature_and_keeps_the_cause():
    model = pippin.load(opened(network()), FAST, cache=False)
    with pytest.raises(errors.FeatureValueError, match="'x' cannot be used: ZeroDivisionError: no value") as caught:
        model.predict(Odd(x=1))
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_the_callers_own_error_passes_unchanged():
    def report(progress):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        pippin.load(opened(network()), FAST, cache=False, progress=report)
