"""Architecture models: builds small networks of timm, transformers and diffusers, with seeded random weights, as
float32 and float16 model packages for Pippin and as ONNX exports for the bare engines. They are written once, to
out/bench/architectures."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent.parent / "out" / "bench" / "architectures"
VOCABULARY = 1000


@dataclass(frozen=True)
class Architecture:
    name: str
    library: str
    build: Callable[[], Any]
    """The torch module."""
    inputs: dict[str, tuple[int, ...]]
    """The shape of each input; names that begin with "ids" hold tokens."""

    @property
    def installed(self) -> bool:
        return find_spec(self.library) is not None

    def package(self, precision: str) -> Path:
        return FOLDER / f"{self.name}-{precision}.mlpackage"

    @property
    def onnx(self) -> Path:
        return FOLDER / f"{self.name}.onnx"

    @property
    def expected(self) -> Path:
        return FOLDER / f"{self.name}.npy"

    def example(self) -> dict[str, np.ndarray]:
        random = np.random.default_rng(0)
        return {
            name: random.integers(1, VOCABULARY, shape).astype(np.int32)
            if name.startswith("ids")
            else random.standard_normal(shape).astype(np.float32)
            for name, shape in self.inputs.items()
        }


def prepared(architecture: Architecture) -> str:
    """Write what is missing. Returns why that cannot be done, or ""."""
    if all(p.exists() for p in (architecture.onnx, architecture.package("float16"), architecture.expected)):
        return ""
    if not architecture.installed:
        return f"{architecture.library} is not installed"
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("TQDM_DISABLE", "1")
    try:
        with _quiet():
            _write(architecture)
    except Exception as error:
        return f"not converted: {type(error).__name__}: {str(error).strip().splitlines()[-1:]}"
    return ""


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),
        contextlib.redirect_stdout(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def _define_torchvision_operators() -> None:
    """Names that torchvision asks for while it is imported: its wheel is compiled for CUDA, and nothing here calls
    them."""
    import torch

    with contextlib.suppress(RuntimeError):  # they are defined
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _libraries.append(library)


_libraries: list[Any] = []


def _write(architecture: Architecture) -> None:
    import torch

    import coremltools as ct

    _define_torchvision_operators()
    model = _seeded(architecture)
    arrays = architecture.example()
    examples = tuple(
        torch.from_numpy(a).long() if a.dtype == np.int32 else torch.from_numpy(a) for a in arrays.values()
    )
    with torch.no_grad():
        expected = model(*examples)
        traced = torch.jit.trace(model, examples, check_trace=False)
        torch.onnx.export(
            model, examples, str(architecture.onnx), input_names=list(arrays), output_names=["y"], opset_version=18,
            dynamo=False,
        )  # fmt: skip
        for precision, name in ((ct.precision.FLOAT32, "float32"), (ct.precision.FLOAT16, "float16")):
            converted = ct.convert(
                traced,
                inputs=[ct.TensorType(n, a.shape, a.dtype) for n, a in arrays.items()],
                outputs=[ct.TensorType("y", dtype=np.float32)],
                minimum_deployment_target=ct.target.iOS17,
                compute_precision=precision,
            )
            converted.save(str(architecture.package(name)))
    np.save(architecture.expected, expected.numpy())


def _seeded(architecture: Architecture) -> Any:
    import torch
    from torch import nn

    torch.backends.mha.set_fastpath_enabled(False)  # the fast path is a fused operation unknown to coremltools
    torch.manual_seed(0)
    model = architecture.build().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):  # untrained statistics would make it the identity
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.8, 1.2)
    with torch.no_grad():
        for parameter in model.parameters():  # a scale of 1 or a shift of 0 is not computed
            if parameter.ndim == 1 or not parameter.any():
                parameter.add_(torch.empty_like(parameter).uniform_(-0.1, 0.1))
    return model


def _first(model: Any, *names: str, **fixed: Any) -> Any:
    """A module that takes positional inputs under these names and returns the model's first tensor."""
    from torch import nn

    class First(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *inputs: Any) -> Any:
            given = inputs if not names else ()
            found = self.model(*given, **dict(zip(names, inputs, strict=False)), **fixed)
            return found if hasattr(found, "shape") else found[0]

    return First()


def _timm(name: str, **how: Any) -> Callable[[], Any]:
    def build() -> Any:
        import timm

        timm.layers.set_fused_attn(False)  # the fused one exports to the same products
        return timm.create_model(name, pretrained=False, **how)

    return build


_LENGTH = 128
_DECODERS = frozenset({"GPT2Model", "LlamaModel", "Qwen2Model"})
_SMALL = {
    "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 768,
    "vocab_size": VOCABULARY, "max_position_embeddings": 512,
}  # fmt: skip


def _transformer(kind: str, config: str, names: tuple[str, ...] = ("input_ids",), **how: Any) -> Callable[[], Any]:
    def build() -> Any:
        import torch
        import transformers

        made = getattr(transformers, config)(**how)
        if hasattr(made, "use_cache"):
            made.use_cache = False
        model = getattr(transformers, kind)(made).eval()
        # Given as a whole: a decoder makes its own by operations that neither converter has.
        causal = torch.full((1, 1, _LENGTH, _LENGTH), -1e4).triu(1)
        mask = {"attention_mask": causal} if kind in _DECODERS else {}
        return _first(model, *names, **mask)

    return build


def _diffuser(kind: str, call: str = "", positional: int = 1, **how: Any) -> Callable[[], Any]:
    def build() -> Any:
        import diffusers

        model = getattr(diffusers, kind)(**how).eval()
        if call:
            return _part(model, call)
        return _first(model, return_dict=False)

    return build


def _part(model: Any, call: str) -> Any:
    """The encoder or decoder of an autoencoder."""
    from torch import nn

    class Part(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = getattr(model, call)

        def forward(self, x: Any) -> Any:
            return self.inner(x)

    return Part()


_IMAGE = {"x": (1, 3, 224, 224)}
_TOKENS = {"ids": (1, _LENGTH)}
_SOUND = {"x": (1, 16000)}
_AUTOENCODER = {
    "down_block_types": ("DownEncoderBlock2D",) * 3, "up_block_types": ("UpDecoderBlock2D",) * 3,
    "block_out_channels": (32, 64, 128), "layers_per_block": 1, "latent_channels": 4, "norm_num_groups": 16,
}  # fmt: skip
_SPEECH = {
    "hidden_size": 192, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 768,
    "conv_dim": (128,) * 7, "num_conv_pos_embeddings": 32, "num_conv_pos_embedding_groups": 8,
    "apply_spec_augment": False, "layerdrop": 0.0,
}  # fmt: skip

_VISION = (
    "mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0", "tf_efficientnetv2_b0", "convnext_atto",
    "vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224", "regnety_004",
    "densenet121", "repvgg_a0", "ghostnet_100", "levit_128s", "mobilevit_xxs", "edgenext_xx_small", "poolformer_s12",
    "resmlp_12_224", "fastvit_t8", "mobileone_s0", "pvt_v2_b0", "xcit_nano_12_p16_224", "efficientformer_l1",
    "mobilenetv4_conv_small", "resnet18", "inception_v3", "hrnet_w18_small", "convmixer_768_32",
)  # fmt: skip

ARCHITECTURES = (
    *(Architecture(name, "timm", _timm(name), _IMAGE) for name in _VISION),
    *(
        Architecture(name, "transformers", build, inputs)
        for name, build, inputs in (
            ("bert", _transformer("BertModel", "BertConfig", **_SMALL), _TOKENS),
            ("roberta", _transformer("RobertaModel", "RobertaConfig", **_SMALL), _TOKENS),
            ("electra", _transformer("ElectraModel", "ElectraConfig", embedding_size=192, **_SMALL), _TOKENS),
            ("albert", _transformer("AlbertModel", "AlbertConfig", embedding_size=64, **_SMALL), _TOKENS),
            ("distilbert", _transformer("DistilBertModel", "DistilBertConfig", dim=192, n_layers=4, n_heads=6,
                                        hidden_dim=768, vocab_size=VOCABULARY), _TOKENS),
            ("gpt2", _transformer("GPT2Model", "GPT2Config", n_embd=192, n_layer=4, n_head=6, n_positions=512,
                                  vocab_size=VOCABULARY), _TOKENS),
            ("llama", _transformer("LlamaModel", "LlamaConfig", num_key_value_heads=2, **_SMALL), _TOKENS),
            ("qwen2", _transformer("Qwen2Model", "Qwen2Config", num_key_value_heads=2, **_SMALL), _TOKENS),
            ("t5_encoder", _transformer("T5EncoderModel", "T5Config", d_model=192, d_kv=32, d_ff=768, num_layers=4,
                                        num_heads=6, vocab_size=VOCABULARY), _TOKENS),
            ("mamba", _transformer("MambaModel", "MambaConfig", hidden_size=128, state_size=8, num_hidden_layers=2,
                                   vocab_size=VOCABULARY), {"ids": (1, 32)}),
            ("clip_vision", _transformer("CLIPVisionModel", "CLIPVisionConfig", ("pixel_values",), hidden_size=192,
                                         intermediate_size=768, num_hidden_layers=4, num_attention_heads=6), _IMAGE),
            ("segformer", _transformer("SegformerForSemanticSegmentation", "SegformerConfig", ("pixel_values",)),
             _IMAGE),
            ("wav2vec2", _transformer("Wav2Vec2Model", "Wav2Vec2Config", ("input_values",), **_SPEECH), _SOUND),
            ("hubert", _transformer("HubertModel", "HubertConfig", ("input_values",), **_SPEECH), _SOUND),
            ("whisper_encoder", lambda: _whisper_encoder(), {"x": (1, 80, 1000)}),
        )
    ),
    *(
        Architecture(name, "diffusers", build, inputs)
        for name, build, inputs in (
            ("vae_decoder", _diffuser("AutoencoderKL", "decoder", **_AUTOENCODER), {"x": (1, 4, 32, 32)}),
            ("vae_encoder", _diffuser("AutoencoderKL", "encoder", **_AUTOENCODER), {"x": (1, 3, 128, 128)}),
            ("unet_2d", _diffuser("UNet2DModel", sample_size=32, block_out_channels=(32, 64, 128), layers_per_block=1,
                                  norm_num_groups=16, attention_head_dim=16,
                                  down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
                                  up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D")),
             {"x": (1, 3, 32, 32), "t": (1,)}),
            ("unet_condition", _diffuser("UNet2DConditionModel", sample_size=32, block_out_channels=(32, 64),
                                         layers_per_block=1, norm_num_groups=16, cross_attention_dim=64,
                                         attention_head_dim=8,
                                         down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                                         up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")),
             {"x": (1, 4, 32, 32), "t": (1,), "context": (1, 77, 64)}),
        )
    ),
)  # fmt: skip


def _whisper_encoder() -> Any:
    import transformers

    config = transformers.WhisperConfig(
        d_model=192, encoder_layers=4, encoder_attention_heads=6, encoder_ffn_dim=768, vocab_size=VOCABULARY,
        max_source_positions=500, decoder_layers=1, decoder_attention_heads=6, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1,
    )  # fmt: skip
    return _first(transformers.WhisperModel(config).encoder)


if __name__ == "__main__":
    import sys

    for architecture in ARCHITECTURES:
        if len(sys.argv) < 2 or architecture.name in sys.argv[1:]:
            print(f"{architecture.name:28} {prepared(architecture) or 'written'}", flush=True)
