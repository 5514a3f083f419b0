"""Decoder: benchmarks a Llama-like decoder with its cache in states against torch and OpenVINO's own stateful models.

python bench/decoder.py [FOLDER] [--layers N] [--dim N] [--context N] [--long N] [--rounds N] [--tokens N] [--gguf FILE]

Makes the packages (float16, and int4 by blocks of 32) in FOLDER unless they are there, from random weights. Then, each
round, every contestant reads a prompt of 64, 512 and 1,000 tokens and makes some more after it: one row for each
position, and one for the prompt of 512. Contestants: Pippin with each package; torch in float32 and in bfloat16, its
cache in place; OpenVINO with the torch model converted statefully, in float32, and in its default precision; and
llama.cpp with the GGUF file of a model of these sizes, if `llama_cpp` is installed and a file is given. The last lines
compare a cache of --context positions with one of --long, and 8 conversations in flight with one.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["TQDM_DISABLE"] = "1"

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import pippin

PROMPTS = (64, 512, 1000)
CONVERSATIONS = 8
MASKED = -1e4


@dataclass(frozen=True)
class Sizes:
    layers: int = 8
    dim: int = 768
    heads: int = 12
    groups: int = 4
    vocabulary: int = 8000
    hidden: int = 2048
    context: int = 1024

    @property
    def head(self) -> int:
        return self.dim // self.heads

    @property
    def cache(self) -> tuple[int, ...]:
        return self.layers, 1, self.groups, self.context, self.head


class Norm(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Layer(nn.Module):
    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        dim, keys, hidden = sizes.dim, sizes.groups * sizes.head, sizes.hidden
        shapes = {"q": (dim, dim), "k": (dim, keys), "v": (dim, keys), "o": (dim, dim),
                  "gate": (dim, hidden), "up": (dim, hidden), "down": (hidden, dim)}  # fmt: skip
        for name, shape in shapes.items():
            setattr(self, name, nn.Linear(*shape, bias=False))
        self.before, self.between = Norm(dim), Norm(dim)


class Decoder(nn.Module):
    """Where its keys and values go is left to `cache`."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.embed, self.norm = nn.Embedding(sizes.vocabulary, sizes.dim), Norm(sizes.dim)
        self.head = nn.Linear(sizes.dim, sizes.vocabulary, bias=False)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        steps = 1 / 10000 ** (torch.arange(0, sizes.head, 2) / sizes.head)
        angles = torch.outer(torch.arange(sizes.context).float(), steps)
        self.register_buffer("cos", torch.cat([angles, angles], -1).cos(), persistent=False)
        self.register_buffer("sin", torch.cat([angles, angles], -1).sin(), persistent=False)

    def heads(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(1, x.shape[1], -1, self.sizes.head).transpose(1, 2)

    def rotated(self, x: torch.Tensor, past: int, end: int) -> torch.Tensor:
        first, second = x[..., : self.sizes.head // 2], x[..., self.sizes.head // 2 :]
        return x * self.cos[past:end] + torch.cat([-second, first], -1) * self.sin[past:end]

    def decode(self, ids: torch.Tensor, mask: torch.Tensor, cache: Callable[..., Any]) -> torch.Tensor:
        length, end = ids.shape[-1], mask.shape[-1]
        past = end - length
        x = self.embed(ids)
        for number, layer in enumerate(self.layers):
            y = layer.before(x)
            q, k = (self.rotated(self.heads(f(y)), past, end) for f in (layer.q, layer.k))
            repeats = self.sizes.heads // self.sizes.groups
            keys, values = (c.repeat_interleave(repeats, dim=1) for c in cache(number, k, self.heads(layer.v(y))))
            attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
            x = x + layer.o(attended.transpose(1, 2).reshape(1, length, self.sizes.dim))
            y = layer.between(x)
            x = x + layer.down(F.silu(layer.gate(y)) * layer.up(y))
        return self.head(self.norm(x))


class InPlace(Decoder):
    """The cache is two buffers: states, for coremltools."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        for name in ("keys", "values"):
            self.register_buffer(name, torch.zeros(sizes.cache), persistent=False)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        end = mask.shape[-1]
        past = end - ids.shape[-1]

        def cache(layer: int, k: torch.Tensor, v: torch.Tensor) -> Any:
            self.keys[layer, :, :, past:end, :] = k
            self.values[layer, :, :, past:end, :] = v
            return self.keys[layer, :, :, :end, :], self.values[layer, :, :, :end, :]

        return self.decode(ids, mask, cache)


class Growing(Decoder):
    """The cache is an argument and a result for each layer, which OpenVINO makes its variables."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, past: list[torch.Tensor]) -> Any:
        present: list[torch.Tensor] = []

        def cache(layer: int, k: torch.Tensor, v: torch.Tensor) -> Any:
            pair = [torch.cat([old, new], 2) for old, new in zip(past[2 * layer : 2 * layer + 2], (k, v), strict=True)]
            present.extend(pair)
            return pair

        return (self.decode(ids, mask, cache), *present)


def network(kind: Callable[[Sizes], Decoder], sizes: Sizes) -> Decoder:
    torch.manual_seed(0)
    made = kind(sizes).eval()
    for parameter in made.parameters():
        if parameter.dim() > 1:
            nn.init.normal_(parameter, 0, 0.02)
    return made


def make(sizes: Sizes, path: Path, four_bits: Path | None = None) -> None:
    """Convert the network, and quantize a second package."""
    import coremltools.optimize.coreml as optimize

    import coremltools as ct

    path.parent.mkdir(parents=True, exist_ok=True)
    example = torch.zeros(1, 2, dtype=torch.int32), torch.zeros(1, 1, 2, 5)
    with torch.no_grad():
        traced = torch.jit.trace(network(InPlace, sizes), example, check_trace=False)
    length, end = ct.RangeDim(1, sizes.context, default=1), ct.RangeDim(1, sizes.context, default=1)
    cache = ct.TensorType(shape=sizes.cache, dtype=np.float16)
    package = ct.convert(
        traced,
        inputs=[
            ct.TensorType("ids", (1, length), dtype=np.int32),
            ct.TensorType("mask", (1, 1, length, end), dtype=np.float16),
        ],
        outputs=[ct.TensorType("logits", dtype=np.float16)],
        states=[ct.StateType(cache, name) for name in ("keys", "values")],
        minimum_deployment_target=ct.target.iOS18,
        skip_model_load=True,
    )
    package.save(str(path))
    if four_bits is not None:
        blocks = optimize.OpLinearQuantizerConfig(
            mode="linear_symmetric", dtype="int4", granularity="per_block", block_size=32
        )
        how = optimize.OptimizationConfig(global_config=blocks)
        optimize.linear_quantize_weights(package, how).save(str(four_bits))


def prompt(length: int, vocabulary: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, vocabulary, (1, length)).astype(np.int32)


def causal(length: int) -> np.ndarray:
    return np.triu(np.full((length, length), MASKED, np.float16), 1)[None, None]


Step = Callable[[np.ndarray, np.ndarray], object]
"""(ids, mask) -> logits; goes on from the last step."""


@dataclass
class Contestant:
    """`begin` empties the cache and returns what predicts the next tokens."""

    name: str
    begin: Callable[[], Step]


def of_pippin(name: str, path: Path, **how: Any) -> Contestant:
    model = pippin.load(path, pippin.Configuration(**how))

    def begin() -> Step:
        state = model.make_state()
        return lambda ids, mask: model.predict({"ids": ids, "mask": mask}, state=state)

    return Contestant(f"Pippin {name} ({model.engine})", begin)


def of_torch(sizes: Sizes, dtype: torch.dtype) -> Contestant:
    made = network(InPlace, sizes).to(dtype)

    def step(ids: np.ndarray, mask: np.ndarray) -> object:
        with torch.inference_mode():
            return made(torch.from_numpy(ids), torch.from_numpy(mask).to(dtype))

    return Contestant(f"torch {str(dtype).removeprefix('torch.')}", lambda: step)


def of_openvino(sizes: Sizes, folder: Path, precision: str) -> Contestant:
    """Weights in float16, the cache in OpenVINO's variables; `precision` "" is its default."""
    import openvino

    file = folder / f"stateful-{sizes.layers}-{sizes.dim}-{sizes.context}.xml"
    if not file.exists():
        openvino.save_model(stateful(sizes), str(file), compress_to_fp16=True)
    settings = {"PERFORMANCE_HINT": "LATENCY"}
    if precision:
        settings |= {"INFERENCE_PRECISION_HINT": precision, "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    compiled = openvino.Core().compile_model(str(file), "CPU", settings)
    request = compiled.create_infer_request()

    def step(ids: np.ndarray, mask: np.ndarray) -> object:
        return request.infer({"ids": ids, "mask": mask.astype(np.float32)}, share_inputs=True, share_outputs=True)

    def begin() -> Step:
        request.reset_state()
        return step

    shown = precision or f"default, {compiled.get_property('INFERENCE_PRECISION_HINT').get_type_name()}"
    return Contestant(f"OpenVINO stateful ({shown})", begin)


def stateful(sizes: Sizes) -> Any:
    """The torch model with its caches as variables."""
    import openvino
    from openvino._offline_transformations import apply_make_stateful_transformation

    past = [torch.zeros(1, sizes.groups, 3, sizes.head) for _ in range(2 * sizes.layers)]
    example = {"ids": torch.zeros(1, 2, dtype=torch.int32), "mask": torch.zeros(1, 1, 2, 5), "past": past}
    with torch.no_grad():
        model = openvino.convert_model(network(Growing, sizes), example_input=example)
    names = ["ids", "mask", *(f"past{n}" for n in range(len(past)))]
    shapes = [[1, -1], [1, 1, -1, -1], *([1, sizes.groups, -1, sizes.head] for _ in past)]
    for port, name, shape in zip(model.inputs, names, shapes, strict=True):
        port.get_tensor().set_names({name})
        port.get_node().set_partial_shape(openvino.PartialShape(shape))
    for number, port in enumerate(model.outputs[1:]):
        port.get_tensor().set_names({f"present{number}"})
    model.validate_nodes_and_infer_types()
    apply_make_stateful_transformation(model, {f"past{n}": f"present{n}" for n in range(len(past))})
    return model


def of_llama(gguf: Path) -> Contestant:
    from llama_cpp import Llama

    model = Llama(str(gguf), n_ctx=2048, logits_all=False, verbose=False, n_threads=len(os.sched_getaffinity(0)))

    def begin() -> Step:
        model.reset()
        return lambda ids, mask: model.eval(ids[0].tolist())

    return Contestant("llama.cpp", begin)


def one_token(step: Step, position: int) -> float:
    ids, mask = np.array([[position % 97]], np.int32), np.zeros((1, 1, 1, position + 1), np.float16)
    began = time.perf_counter()
    step(ids, mask)
    return time.perf_counter() - began


def contest(contestants: list[Contestant], sizes: Sizes, rounds: int, tokens: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each contestant in each row."""
    found: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for length in (each for each in PROMPTS if each + tokens <= sizes.context):
            for contestant in contestants:
                step = contestant.begin()
                began = time.perf_counter()
                step(prompt(length, sizes.vocabulary), causal(length))
                took = time.perf_counter() - began
                if length == 512:
                    found.setdefault("prompt of 512", {}).setdefault(contestant.name, []).append(took)
                row = found.setdefault(f"token at {length}", {}).setdefault(contestant.name, [])
                row += [one_token(step, length + number) for number in range(tokens)][tokens // 4 :]
    return found


def cache_lengths(paths: dict[int, Path], rounds: int, tokens: int) -> dict[int, list[float]]:
    """Seconds of a token at position 64, for each length of the cache."""
    contestants = {length: of_pippin(str(length), path) for length, path in paths.items()}
    found: dict[int, list[float]] = {length: [] for length in paths}
    for _ in range(rounds):
        for length, contestant in contestants.items():
            step = contestant.begin()
            step(prompt(64, 97), causal(64))
            found[length] += [one_token(step, 64 + number) for number in range(tokens)][tokens // 4 :]
    return found


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


async def tokens_per_second(model: pippin.Model, states: list[pippin.State], tokens: int) -> float:
    async def talk(state: pippin.State) -> None:
        for position in range(64, 64 + tokens):
            mask = np.zeros((1, 1, 1, position + 1), np.float16)
            await model.predict_async({"ids": np.array([[position]], np.int32), "mask": mask}, state=state)

    began = time.perf_counter()
    await asyncio.gather(*map(talk, states))
    return tokens * len(states) / (time.perf_counter() - began)


def conversations(path: Path, rounds: int, tokens: int) -> None:
    """Tokens a second of one conversation and of several in flight, and what their states take."""
    for strategy in ("default", "fast_prediction"):
        model = pippin.load(path, pippin.Configuration(hints=pippin.Hints(specialization_strategy=strategy)))
        states = [model.make_state() for _ in range(CONVERSATIONS)]
        asyncio.run(tokens_per_second(model, states[:1], tokens))
        before = resident()
        one, many = [], []
        for _ in range(rounds):
            one.append(asyncio.run(tokens_per_second(model, states[:1], tokens)))
            many.append(asyncio.run(tokens_per_second(model, states, max(tokens // 2, 1))))
        grown, owned = (resident() - before) / 1e6, sum(state.bytes for state in states) / 1e6
        print(
            f"in flight ({strategy}, {model.engine}): 1 conversation {statistics.median(one):.1f} tokens/s, "
            f"{CONVERSATIONS} {statistics.median(many):.1f} ({statistics.median(many) / statistics.median(one):.2f}); "
            f"memory +{grown:.0f} MB, the states have {owned:.0f} MB"
        )


def show(found: dict[str, dict[str, list[float]]]) -> None:
    for row, times in found.items():
        print(f"\n{row}, ms:            median    least")
        peers = [statistics.median(t) for name, t in times.items() if not name.startswith("Pippin")]
        for name, seconds in times.items():
            median = statistics.median(seconds)
            ratio = (
                f"   {min(peers) / median:.2f} of the best peer's speed" if name.startswith("Pippin") and peers else ""
            )
            print(f"  {name:34} {median * 1e3:8.2f} {min(seconds) * 1e3:8.2f}{ratio}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", default=Path(tempfile.gettempdir()) / "pippin-decoder")
    for name, value in {"layers": 8, "dim": 768, "context": 1024, "long": 8192, "rounds": 5, "tokens": 12}.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--gguf", type=Path)
    given = parser.parse_args()
    heads = given.dim // 64
    sizes, wide = (
        Sizes(given.layers, given.dim, heads, max(heads // 3, 1), 8000, given.dim * 8 // 3, context)
        for context in (given.context, given.long)
    )
    stem = f"{given.layers}-{given.dim}"
    half, four = (given.folder / f"{kind}-{stem}-{given.context}.mlpackage" for kind in ("float16", "int4"))
    long = given.folder / f"float16-{stem}-{given.long}.mlpackage"
    if not four.exists():
        make(sizes, half, four)
    if not long.exists():
        make(wide, long)
    contestants = [
        of_pippin("float16", half), of_pippin("float16 in float32", half, precision="float32"), of_pippin("int4", four),
        of_torch(sizes, torch.float32), of_torch(sizes, torch.bfloat16), of_openvino(sizes, given.folder, "f32"),
        of_openvino(sizes, given.folder, ""),
    ]  # fmt: skip
    if given.gguf is not None:
        contestants.append(of_llama(given.gguf))
    show(contest(contestants, sizes, given.rounds, given.tokens))
    del contestants
    gc.collect()
    medians = {n: statistics.median(t) for n, t in cache_lengths({given.context: half, given.long: long},
                                                                 given.rounds, given.tokens).items()}  # fmt: skip
    shown = ", ".join(f"{n} positions {seconds * 1e3:.2f} ms" for n, seconds in medians.items())
    print(f"\ntoken at 64, by the length of the cache: {shown} ({medians[given.long] / medians[given.context]:.2f})")
    conversations(half, given.rounds, given.tokens)


if __name__ == "__main__":
    main()
