"""Networks: builds the six benchmark networks as float32 and float16 model packages for Pippin and as ONNX exports for
the peers. They are written once, to out/bench, with seeded random weights."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent.parent / "out" / "bench"


@dataclass(frozen=True)
class Network:
    name: str
    shape: tuple[int, ...]
    tokens: bool = False
    """Whether the input holds int32 tokens from a vocabulary of 1,000."""
    input: str = "x"
    convolutional: bool = True

    def package(self, precision: str = "float32") -> Path:
        return FOLDER / f"{self.name}-{precision}.mlpackage"

    @property
    def onnx(self) -> Path:
        return FOLDER / f"{self.name}.onnx"

    def example(self, seed: int = 0) -> np.ndarray:
        random = np.random.default_rng(seed)
        if self.tokens:
            return random.integers(0, 1000, self.shape).astype(np.int32)
        return random.standard_normal(self.shape).astype(np.float32)


NETWORKS = (
    Network("mlp", (1, 64), convolutional=False),
    Network("mobilenet_v2", (1, 3, 224, 224)),
    Network("resnet50", (1, 3, 224, 224)),
    Network("unet", (1, 3, 256, 256)),
    Network("encoder", (1, 128), tokens=True),
    Network("basic_pitch", (1, 43844, 1), input="input_2"),
)


def prepared(*names: str) -> tuple[Network, ...]:
    """Write missing networks and return them: all, or those named."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TQDM_DISABLE", "1")

    selected = tuple(network for network in NETWORKS if not names or network.name in names)

    for network in selected:
        if not all(p.exists() for p in (network.onnx, network.package("float32"), network.package("float16"))):
            _basic_pitch(network) if network.name == "basic_pitch" else _write(network)
    return selected


def _basic_pitch(network: Network) -> None:
    spec = find_spec("basic_pitch")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("basic-pitch is not installed; run `make test` to install it")
    saved = Path(spec.submodule_search_locations[0]) / "saved_models" / "icassp_2022"
    shutil.copy(saved / "nmp.onnx", network.onnx)
    for precision in ("float32", "float16"):  # published in float32 only; copied under both names
        shutil.copytree(saved / "nmp.mlpackage", network.package(precision), dirs_exist_ok=True)


def _write(network: Network) -> None:
    import torch

    import coremltools as ct

    model, example = torch_model(network.name), torch.from_numpy(network.example())
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model, example.long() if network.tokens else example)
        torch.onnx.export(
            model, (example,), str(network.onnx), input_names=["x"], output_names=["y"], opset_version=18, dynamo=False
        )
        dtype = np.int32 if network.tokens else np.float32
        for precision, name in ((ct.precision.FLOAT32, "float32"), (ct.precision.FLOAT16, "float16")):
            converted = ct.convert(
                traced,
                inputs=[ct.TensorType("x", network.shape, dtype)],
                minimum_deployment_target=ct.target.iOS17,
                compute_precision=precision,
            )
            converted.save(str(network.package(name)))


def torch_model(name: str) -> Any:
    import torch
    from torch import nn

    torch.backends.mha.set_fastpath_enabled(False)  # the fast path is a fused operation unknown to coremltools
    torch.manual_seed(0)
    made = _MODELS[name]().eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):  # untrained statistics would make it the identity
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.8, 1.2)
    return made


def _mlp() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))


def _block(inner: Any, around: str, size: int = 0) -> Any:
    """Module around `inner` that adds its input ("add"), concatenates it ("cat") or adds an embedding ("position")."""
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner
            self.position = nn.Parameter(torch.randn(1, size, 384) * 0.1) if size else None

        def forward(self, x: Any) -> Any:
            y = self.inner(x)
            if around == "position":
                return y + self.position
            return x + y if around == "add" else torch.cat([x, y], 1)

    return Block()


def _mobilenet_v2() -> Any:
    """MobileNetV2 of width 1, https://arxiv.org/abs/1801.04381, table 2."""
    from torch import nn

    def conv(before: int, after: int, size: int, stride: int = 1, groups: int = 1) -> list[Any]:
        layer = nn.Conv2d(before, after, size, stride, size // 2, groups=groups, bias=False)
        return [layer, nn.BatchNorm2d(after), nn.ReLU6()]

    layers, before = conv(3, 32, 3, 2), 32
    for factor, after, count, first in (
        (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
    ):  # fmt: skip
        for number in range(count):
            stride, wide = first if number == 0 else 1, before * factor
            inner = conv(before, wide, 1) if factor != 1 else []
            inner += [*conv(wide, wide, 3, stride, wide), *conv(wide, after, 1)[:2]]
            same = stride == 1 and before == after
            layers.append(_block(nn.Sequential(*inner), "add") if same else nn.Sequential(*inner))
            before = after
    layers += [*conv(before, 1280, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, 1000)]
    return nn.Sequential(*layers)


def _resnet50() -> Any:
    """ResNet-50, https://arxiv.org/abs/1512.03385, table 1, with the stride in the 3x3 convolution."""
    import torch
    from torch import nn

    class Bottleneck(nn.Module):
        def __init__(self, before: int, width: int, stride: int) -> None:
            super().__init__()
            self.inner = nn.Sequential(
                nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
            )  # fmt: skip
            same = stride == 1 and before == 4 * width
            skip = nn.Conv2d(before, 4 * width, 1, stride, bias=False)
            self.skip = nn.Identity() if same else nn.Sequential(skip, nn.BatchNorm2d(4 * width))

        def forward(self, x: Any) -> Any:
            return torch.relu(self.inner(x) + self.skip(x))

    layers: list[Any] = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for width, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(Bottleneck(before, width, first if number == 0 else 1))
            before = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


def _unet() -> Any:
    """A U-Net of four levels, 32 wide at the top, as in https://arxiv.org/abs/1505.04597 with padding."""
    from torch import nn

    def pair(before: int, after: int) -> list[Any]:
        return [nn.Conv2d(before, after, 3, 1, 1), nn.ReLU(), nn.Conv2d(after, after, 3, 1, 1), nn.ReLU()]

    made = nn.Sequential(*pair(256, 512))
    for width in (256, 128, 64, 32):
        below = nn.Sequential(nn.MaxPool2d(2), made, nn.ConvTranspose2d(2 * width, width, 2, 2))
        before = width // 2 if width > 32 else 3
        made = nn.Sequential(*pair(before, width), _block(below, "cat"), *pair(2 * width, width))
    return nn.Sequential(made, nn.Conv2d(32, 1, 1), nn.Sigmoid())


def _encoder() -> Any:
    from torch import nn

    layers = [
        nn.TransformerEncoderLayer(384, 6, 1536, 0.0, "gelu", batch_first=True, norm_first=True) for _ in range(6)
    ]
    return nn.Sequential(_block(nn.Embedding(1000, 384), "position", 128), *layers, nn.LayerNorm(384))


_MODELS: dict[str, Callable[[], Any]] = {
    "mlp": _mlp,
    "mobilenet_v2": _mobilenet_v2,
    "resnet50": _resnet50,
    "unet": _unet,
    "encoder": _encoder,
}

if __name__ == "__main__":
    prepared()
