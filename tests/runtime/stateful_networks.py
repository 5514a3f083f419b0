"""Stateful networks: small torch modules whose caches are buffers, laid out in the ways that people lay them out, and
their Core ML packages."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import coremltools as ct

PRECISIONS = {"float32": ct.precision.FLOAT32, "float16": ct.precision.FLOAT16}
LAYERS, HEADS, GROUPS, SIZE, LENGTH, WINDOW = 3, 4, 2, 8, 70, 6
DIM, SOUND, TAPS, MEMORY, BATCH = HEADS * SIZE, 12, 4, 5, 4


def _interleaved(x):
    return x.repeat_interleave(HEADS // GROUPS, dim=1)


def _repeat_kv(x):
    """As in `transformers`."""
    batch, groups, length, size = x.shape
    x = x[:, :, None, :, :].expand(batch, groups, HEADS // groups, length, size)
    return x.reshape(batch, HEADS, length, size)


def _expanded(x):
    return x.expand(-1, HEADS, -1, -1)


def heads(x, batch=1):
    return x.view(batch, x.shape[1], -1, SIZE).transpose(1, 2)


class Attention(nn.Module):
    """Grouped-query attention whose keys and values go through a cache."""

    def __init__(self, groups=GROUPS, repeat=_interleaved, batch=1):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(DIM, n * SIZE) for n in (HEADS, groups, groups))
        self.repeat, self.batch = repeat, batch

    def forward(self, x, mask, cache):
        q, k, v = (heads(f(x), self.batch) for f in (self.q, self.k, self.v))
        keys, values = (self.repeat(each) for each in cache(k, v))
        attended = F.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        return x + attended.transpose(1, 2).reshape(self.batch, x.shape[1], DIM)


class Stateful(nn.Module):
    states: Mapping[str, tuple[int, ...]]

    def __init__(self, layer=None):
        super().__init__()
        self.layers = nn.ModuleList((layer or self.layer)() for _ in range(LAYERS))
        for name, shape in self.states.items():
            self.register_buffer(name, torch.zeros(shape))


class Cached(Stateful):
    layer: Any = Attention

    def forward(self, x, mask):
        end = mask.shape[-1]
        past = end - x.shape[1]
        for number, layer in enumerate(self.layers):
            x = layer(x, mask, lambda k, v, n=number: self.cache(n, k, v, past, end))
        return x


class Stacked(Cached):
    states = dict.fromkeys(("keys", "values"), (LAYERS, 1, GROUPS, LENGTH, SIZE))

    def cache(self, layer, k, v, past, end):
        self.keys[layer, :, :, past:end, :] = k
        self.values[layer, :, :, past:end, :] = v
        return self.keys[layer, :, :, :end, :], self.values[layer, :, :, :end, :]


class ForEachLayer(Cached):
    states: ClassVar = {
        f"{name}{layer}": (1, GROUPS, LENGTH, SIZE) for layer in range(LAYERS) for name in ("keys", "values")
    }

    def cache(self, layer, k, v, past, end):
        keys, values = getattr(self, f"keys{layer}"), getattr(self, f"values{layer}")
        keys[:, :, past:end] = k
        values[:, :, past:end] = v
        return keys[:, :, :end], values[:, :, :end]


class Transposed(Cached):
    states: ClassVar = {"keys": (LAYERS, 1, GROUPS, SIZE, LENGTH), "values": (LAYERS, 1, GROUPS, LENGTH, SIZE)}

    def cache(self, layer, k, v, past, end):
        self.keys[layer, :, :, :, past:end] = k.transpose(-1, -2)
        self.values[layer, :, :, past:end, :] = v
        return self.keys[layer, :, :, :, :end].transpose(-1, -2), self.values[layer, :, :, :end, :]


class InOneState(Cached):
    """Keys and values of a layer are two halves of one state."""

    states: ClassVar = {"cache_": (2 * LAYERS, GROUPS, LENGTH, SIZE)}

    def cache(self, layer, k, v, past, end):
        self.cache_[2 * layer : 2 * layer + 1, :, past:end] = k
        self.cache_[2 * layer + 1 : 2 * layer + 2, :, past:end] = v
        keys, values = self.cache_[2 * layer : 2 * layer + 2].chunk(2)
        return keys[:, :, :end], values[:, :, :end]


class RepeatKV(Stacked):
    layer = partial(Attention, repeat=_repeat_kv)


class MultiQuery(Stacked):
    states = dict.fromkeys(("keys", "values"), (LAYERS, 1, 1, LENGTH, SIZE))
    layer = partial(Attention, 1, _expanded)


class Batched(Stacked):
    states = dict.fromkeys(("keys", "values"), (LAYERS, BATCH, GROUPS, LENGTH, SIZE))
    layer = partial(Attention, batch=BATCH)


class WholeReads(Stacked):
    """The mask covers the cache, which is read whole; a tensor holds the positions."""

    def cache(self, layer, k, v, past, end):
        super().cache(layer, k, v, past, end)
        keys, values = self.keys[layer], self.values[layer]
        return keys[:, :, :end] + 0 * keys.sum(), values[:, :, :end]


class Ring(Stateful):
    """A sliding window: the oldest row is overwritten."""

    layer = Attention
    states = dict.fromkeys(("keys", "values"), (LAYERS, 1, GROUPS, WINDOW, SIZE))

    def forward(self, x, position):
        at = position[0] % WINDOW

        def cache(k, v, layer):
            self.keys[layer, :, :, at : at + 1] = k
            self.values[layer, :, :, at : at + 1] = v
            return self.keys[layer], self.values[layer]

        for number, layer in enumerate(self.layers):
            x = layer(x, None, partial(cache, layer=number))
        return x


class Recurrent(Stateful):
    states: ClassVar = {"hidden": (1, DIM), "steps": (3,)}
    layer = partial(nn.Linear, DIM, DIM)

    def forward(self, x):
        ours, theirs, _ = self.layers
        self.hidden[:] = torch.tanh(ours(x) + theirs(self.hidden))
        self.steps[1:2] = self.steps[1:2] + 1
        return self.hidden * self.steps[1]


class SelectiveLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.enter, self.leave = nn.Linear(DIM, 2 * DIM), nn.Linear(DIM, DIM)
        self.taps, self.skip = nn.Parameter(torch.randn(DIM, TAPS) / TAPS), nn.Parameter(torch.ones(DIM))
        self.parameters_, self.step = nn.Linear(DIM, 2 * MEMORY), nn.Linear(DIM, DIM)
        self.decay = nn.Parameter(torch.arange(1.0, MEMORY + 1).repeat(DIM, 1).log())


class Selective(Stateful):
    """As in Mamba: a window of inputs that moves on, and a memory that decays by what comes in."""

    layer = SelectiveLayer
    states: ClassVar = {"window": (LAYERS, 1, DIM, TAPS), "memory": (LAYERS, 1, DIM, MEMORY)}

    def forward(self, x):
        for number, layer in enumerate(self.layers):
            y, gate = layer.enter(x).chunk(2, dim=-1)
            self.window[number] = torch.cat([self.window[number][:, :, 1:], y[:, :, None]], dim=-1)
            y = F.silu((self.window[number] * layer.taps).sum(-1))
            into, out = layer.parameters_(y).chunk(2, dim=-1)
            step = F.softplus(layer.step(y))[:, :, None]
            self.memory[number] = self.memory[number] * torch.exp(-step * layer.decay.exp()) + (
                step * into[:, None, :] * y[:, :, None]
            )
            y = (self.memory[number] * out[:, None, :]).sum(-1) + layer.skip * y
            x = x + layer.leave(y * F.silu(gate))
        return x


class SpeechLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.own, self.q, self.k, self.v = Attention(HEADS, nn.Identity()), *(nn.Linear(DIM, DIM) for _ in range(3))


class Speech(Stateful):
    """As in Whisper: `hear` writes the keys and values of the sound to states, which every step of `forward` reads."""

    layer = SpeechLayer
    states: ClassVar = {
        **dict.fromkeys(("keys", "values"), (LAYERS, 1, HEADS, LENGTH, SIZE)),
        **dict.fromkeys(("sound_keys", "sound_values"), (LAYERS, 1, HEADS, SOUND, SIZE)),
    }
    cache = Stacked.cache

    def hear(self, sound):
        for number, layer in enumerate(self.layers):
            self.sound_keys[number] = heads(layer.k(sound))
            self.sound_values[number] = heads(layer.v(sound))
        return sound.mean(1)

    def forward(self, x, mask):
        end = mask.shape[-1]
        past = end - x.shape[1]
        for number, layer in enumerate(self.layers):
            x = layer.own(x, mask, lambda k, v, n=number: self.cache(n, k, v, past, end))
            heard = F.scaled_dot_product_attention(
                heads(layer.q(x)), self.sound_keys[number], self.sound_values[number]
            )
            x = x + heard.transpose(1, 2).reshape(1, x.shape[1], DIM)
        return x


class Hearing(nn.Module):
    """The other function of a Speech network."""

    def __init__(self, speech):
        super().__init__()
        self.states = {name: shape for name, shape in speech.states.items() if name.startswith("sound")}
        self.layers = speech.layers
        for name in self.states:
            self.register_buffer(name, getattr(speech, name))

    forward = Speech.hear


def values(length, step, batch=1):
    return np.random.default_rng(step).standard_normal((batch, length, DIM)).astype(np.float32)


def positions(length, start, batch=1):
    """`length` of them, after `start` others."""
    mask = np.triu(np.full((length, start + length), -1e4, np.float32), 1 + start)[None, None]
    return {"x": values(length, start, batch), "mask": mask}


LONG = [positions(7, 0), *(positions(1, n) for n in range(7, 57)), positions(3, 57), positions(LENGTH - 60, 60)]
SINGLE = [{"x": values(1, n)[0]} for n in range(50)]
NETWORKS: dict[str, tuple[Any, list[dict[str, np.ndarray]]]] = {
    "stacked": (Stacked, LONG),
    "for each layer": (ForEachLayer, LONG),
    "keys transposed": (Transposed, LONG),
    "in one state": (InOneState, LONG),
    "repeat_kv": (RepeatKV, LONG),
    "multi-query": (MultiQuery, LONG),
    "batch": (Batched, [positions(1, n, BATCH) for n in range(50)]),
    "read whole": (WholeReads, LONG),
    "ring": (Ring, [{"x": values(1, n), "position": np.array([n], np.int32)} for n in range(50)]),
    "recurrent": (Recurrent, SINGLE),
    "selective": (Selective, SINGLE),
}


def converted(network, steps, precision, path):
    """The package of a network; its buffers are zeros again."""
    example = tuple(torch.from_numpy(value) for value in steps[0].values())
    length, end = ct.RangeDim(1, LENGTH, default=1), ct.RangeDim(1, LENGTH, default=1)
    inputs = [ct.TensorType(each, value.shape, value.dtype) for each, value in steps[0].items()]
    if "mask" in steps[0]:
        batch = steps[0]["x"].shape[0]
        inputs = [ct.TensorType("x", (batch, length, DIM)), ct.TensorType("mask", (1, 1, length, end))]
    with torch.no_grad():
        traced = torch.jit.trace(network.eval(), example, check_trace=False)
    for state in network.states:
        getattr(network, state).zero_()
    states = [ct.StateType(ct.TensorType(shape=s, dtype=np.float16), each) for each, s in network.states.items()]
    made = ct.convert(
        traced, inputs=inputs, outputs=[ct.TensorType("y")], states=states, compute_precision=PRECISIONS[precision],
        minimum_deployment_target=ct.target.iOS18, skip_model_load=True,
    )  # fmt: skip
    made.save(str(path))


def made(kind):
    torch.manual_seed(0)
    return kind().eval()


def expected(network, steps):
    with torch.no_grad():
        return [network(*map(torch.from_numpy, step.values())).numpy().copy() for step in steps]


def decibels(wanted, found):
    wanted = wanted.astype(np.float64)
    return 10 * np.log10((wanted**2).sum() / max(((wanted - found) ** 2).sum(), 1e-30))
