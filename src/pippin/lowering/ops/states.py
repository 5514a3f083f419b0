"""States: lowers reads and writes of state (iOS 18). An update is stored as `write_state`, then `read_state`."""

from __future__ import annotations

from ..held_states import Held
from ..lower_blocks import Builder, State
from ..onnx_builder import Tensor
from ..op_registry import lowers


@lowers("read_state", since=18)
def read_state(g: Builder, input: State) -> Tensor | Held:
    return g.states[input.name]


@lowers("write_state", since=18)
def write_state(g: Builder, input: State, data: Tensor | Held) -> None:
    if isinstance(data, Held) and data.state == input.name and data.is_whole:
        g.states[input.name] = data
        return
    value = g.tensor(g.whole(data), g.dtype(input.type.dtype))
    g.states[input.name] = Tensor(value.name, value.dtype, input.type.shape)
    g.written.add(input.name)
