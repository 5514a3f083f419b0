"""States: what a program reads and writes between predictions, also inside of branches and loops."""

import numpy as np
import pytest
from coremltools.converters.mil.backend.mil.load import MILProtoExporter
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

import coremltools as ct
from lowering.harness import ENGINES, case, compiled_on
from pippin.engines import all_engines
from pippin.format.asset import open_asset
from pippin.lowering.lower_program import lower
from pippin.program.protobuf_reader import read_program
from pippin.runtime.state_writes import StateWrites
from pippin.specialization.nonfinite import StateArray


def _lowered(program, folder):
    exported = MILProtoExporter(program, str(folder), specification_version=9).export()
    model = ct.proto.Model_pb2.Model(specificationVersion=9, mlProgram=exported)
    return lower(read_program(open_asset(model, weights=folder)), "main")


def _accumulate(state, x):
    value = mb.add(x=mb.read_state(input=state), y=x)
    return mb.coreml_update_state(state=state, value=value)


def _update_a_slice(state, x):
    update = mb.slice_update(
        x=mb.read_state(input=state), update=mb.slice_by_size(x=x, begin=[1], size=[2]), begin=[0], end=[2]
    )
    mb.coreml_update_state(state=state, value=update)
    return mb.mul(x=update, y=np.float16(2))


def _in_a_branch(state, x):
    positive = mb.greater(x=mb.reduce_sum(x=x, axes=[0], keep_dims=False), y=np.float16(0))

    def update():
        return mb.coreml_update_state(state=state, value=mb.add(x=mb.read_state(input=state), y=x))

    mb.cond(pred=positive, _true_fn=update, _false_fn=lambda: mb.identity(x=x))
    return mb.identity(x=mb.read_state(input=state))


def _in_a_loop(state, x):
    def body(i):
        mb.coreml_update_state(state=state, value=mb.add(x=mb.read_state(input=state), y=x))
        return mb.add(x=i, y=1)

    start = mb.cast(x=mb.mul(x=mb.reduce_sum(x=x, axes=[0]), y=np.float16(0)), dtype="int32")
    mb.while_loop(_cond=lambda i: mb.less(x=i, y=3), _body=body, loop_vars=(start,))
    return mb.identity(x=mb.read_state(input=state))


X = np.array([1, 2, -0.5, 4], np.float16)
S = np.array([10, 20, 30, 40], np.float16)
ROWS = {
    "accumulate": (_accumulate, X, S + X, S + X),
    "slice": (_update_a_slice, X, 2 * np.array([2, -0.5, 30, 40]), np.array([2, -0.5, 30, 40])),
    "branch-taken": (_in_a_branch, X, S + X, S + X),
    "branch-left": (_in_a_branch, -X, S, S),
    "loop": (_in_a_loop, X, S + 3 * X, S + 3 * X),
}
# For the count of what each operation is tested with.
CASES = [case(kind, x=X, opset=18, expect=None) for kind in ("read_state", "write_state") for _ in ROWS]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ROWS)
def test_states(name, engine, tmp_path):
    body, x, output, state = ROWS[name]

    @mb.program(
        input_specs=[mb.StateTensorSpec((4,), types.fp16), mb.TensorSpec((4,), types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(memory, x):
        return body(memory, x)

    lowered = _lowered(program, tmp_path)
    assert [port.name for port in lowered.states] == ["memory"]
    reasons = all_engines()[engine].declined(lowered)
    if reasons:
        pytest.skip(next(iter(reasons.values())))
    outputs = compiled_on(engine, lowered).run({"memory": S.astype(np.float32), "x": x.astype(np.float32)})
    np.testing.assert_allclose(outputs[lowered.outputs[0].name], output, rtol=1e-5)
    arrays = {"memory": S.astype(np.float32).view(StateArray)}
    StateWrites(lowered).apply(arrays, outputs)
    np.testing.assert_allclose(arrays["memory"], state, rtol=1e-5)


SHAPE = (3, 6, 2)
AT = np.array([1, 3, 4], np.int32)


class _Slices:
    """Reads and writes of random slices of a state, in MIL and in numpy."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.steps = [self._step() for _ in range(6)]

    def _step(self):
        kinds = {"read": 0.2, "update": 0.35, "view": 0.05, "plain": 0.05, "cond": 0.03, "sized": 0.07, "split": 0.1,
                 "scatter": 0.1, "scatter_nd": 0.05}  # fmt: skip
        kind = self.random.choice(list(kinds), p=list(kinds.values()))
        axes = [self._axis(size, kind in ("update", "sized")) for size in SHAPE]
        if kind.startswith("scatter"):
            axes = self._indexed(kind)
        counts = [axis[2] for axis in axes]
        return kind, axes, None if None in counts else self.random.integers(-9, 9, counts).astype(np.float16)

    def _indexed(self, kind):
        """The axes of which a scatter takes one index; those of the others are whole."""
        at = ("at", 2, -int(self.random.integers(0, 9))) if self.random.random() < 0.6 else -2
        if kind == "scatter_nd":
            layer = int(self.random.integers(0, SHAPE[0]))
            return [(layer, layer + 1, 1), (at, None, 1), (None, None, SHAPE[2])]
        return [(None, None, SHAPE[0]), (at, None, 1), (None, None, SHAPE[2])]

    def _axis(self, size, fixed):
        """(begin, end, count); a begin or end is a number, None for a masked one, or ("at", place, added)."""
        form = self.random.choice(
            ["whole", "constant", "row", "behind", "until", "between"], p=[0.4, 0.2, 0.2, 0.1, 0.05, 0.05]
        )
        if form == "constant" or (size != SHAPE[1] and form not in ("whole",)):
            begin = int(self.random.integers(0, size))
            count = int(self.random.integers(1, size - begin + 1))
            return begin - size if self.random.random() < 0.2 else begin, begin + count, count
        if form == "whole":
            return None, None, size
        if form == "row" or fixed:
            place, count = int(self.random.integers(0, 3)), int(self.random.integers(1, 3))
            return ("at", place, 0), ("at", place, count), count
        if form == "behind":
            return ("at", 1, 0), None, None
        return (None, ("at", 1, 1), None) if form == "until" else (("at", 0, 0), ("at", 2, 0), None)

    @staticmethod
    def _numbers(bounds, at):
        def number(bound):
            if not isinstance(bound, tuple):
                return np.int32([bound or 0])
            return mb.add(x=mb.slice_by_index(x=at, begin=[bound[1]], end=[bound[1] + 1]), y=np.int32([bound[2]]))

        if not any(isinstance(bound, tuple) for bound in bounds):
            return np.int32([bound or 0 for bound in bounds])
        return mb.concat(values=[number(bound) for bound in bounds], axis=0)

    def mil(self, state, at):
        outputs = []
        for kind, axes, rows in self.steps:
            begin, end = ([axis[i] for axis in axes] for i in (0, 1))
            masks = {"begin_mask": [b is None for b in begin], "end_mask": [e is None for e in end]}
            how = {"begin": self._numbers(begin, at), "end": self._numbers(end, at), **masks}
            value = mb.read_state(input=state)
            if kind == "update":
                mb.coreml_update_state(state=state, value=mb.slice_update(x=value, update=rows, **how))
            elif kind == "read":
                outputs.append(mb.slice_by_index(x=value, **how))
            elif kind == "sized":
                sizes = [-1 if axis[1] is None else axis[2] for axis in axes]
                begin = [0 if b is None or (not isinstance(b, tuple) and b < 0) else b for b in begin]
                outputs.append(mb.slice_by_size(x=value, begin=self._numbers(begin, at), size=np.int32(sizes)))
            elif kind == "split":
                outputs += mb.split(x=value, axis=1, split_sizes=[2, 4])
            elif kind == "scatter":
                indices, how = self._numbers(begin[1:2], at), {"axis": 1, "mode": "update", "validate_indices": False}
                new = mb.scatter(data=value, indices=indices, updates=rows, **how)
                mb.coreml_update_state(state=state, value=new)
            elif kind == "scatter_nd":
                indices = mb.expand_dims(x=self._numbers(begin[:2], at), axes=[0])
                how = {"mode": "update", "validate_indices": False}
                new = mb.scatter_nd(data=value, indices=indices, updates=rows[0], **how)
                mb.coreml_update_state(state=state, value=new)
            elif kind == "view":
                layer = mb.slice_by_index(x=value, begin=[1, 0, 0], end=[2, 0, 0], end_mask=[False, True, True],
                                          squeeze_mask=[True, False, False])  # fmt: skip
                own = {name: each[1:] if isinstance(each, list) else mb.slice_by_index(x=each, begin=[1], end=[3])
                       for name, each in how.items()}  # fmt: skip
                outputs.append(mb.slice_by_index(x=layer, **own))
            elif kind == "plain":
                mb.coreml_update_state(state=state, value=mb.add(x=value, y=np.float16(1)))
            else:
                positive = mb.greater(x=mb.reduce_sum(x=at, axes=[0], keep_dims=False), y=np.int32(0))

                def doubled():
                    return mb.coreml_update_state(
                        state=state, value=mb.mul(x=mb.read_state(input=state), y=np.float16(2))
                    )

                mb.cond(pred=positive, _true_fn=doubled, _false_fn=lambda value=value: mb.identity(x=value))
        outputs.append(mb.reduce_sum(x=at, axes=[0], keep_dims=True))
        return tuple(mb.identity(x=each, name=f"y{number}") for number, each in enumerate(outputs))

    def numpy(self, state, at):
        outputs = []
        for kind, axes, rows in self.steps:
            begin, end = ([at[b[1]] + b[2] if isinstance(b, tuple) else b for b in bounds]
                          for bounds in ([axis[0] for axis in axes], [axis[1] for axis in axes]))  # fmt: skip
            begin = [b + size if b is not None and b < 0 else b for b, size in zip(begin, SHAPE, strict=True)]
            if kind.startswith("scatter"):
                end[1] = begin[1] + 1
            if kind == "sized":
                raw = [axis[0] for axis in axes]
                begin = [0 if r is None or (not isinstance(r, tuple) and r < 0) else b
                         for r, b in zip(raw, begin, strict=True)]  # fmt: skip
                end = [size if axis[1] is None else b + axis[2]
                       for axis, b, size in zip(axes, begin, SHAPE, strict=True)]  # fmt: skip
            place = tuple(map(slice, begin, end))
            if kind == "update" or kind.startswith("scatter"):
                state[place] = rows
            elif kind == "split":
                outputs += [state[:, :2].copy(), state[:, 2:].copy()]
            elif kind == "plain":
                state += 1
            elif kind == "cond":
                state *= 2
            else:
                outputs.append(state[place].copy() if kind in ("read", "sized") else state[1][place[1:]].copy())
        return [*outputs, at.sum(keepdims=True)]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("seed", range(16))
def test_random_slices(seed, engine, tmp_path):
    slices = _Slices(seed)

    @mb.program(
        input_specs=[mb.StateTensorSpec(SHAPE, types.fp16), mb.TensorSpec(AT.shape, types.int32)],
        opset_version=ct.target.iOS18,
    )
    def program(memory, at):
        return slices.mil(memory, at)

    lowered = _lowered(program, tmp_path)
    if reasons := all_engines()[engine].declined(lowered):
        pytest.skip(next(iter(reasons.values())))
    before = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) / 4
    expected_state = before.copy()
    expected = slices.numpy(expected_state, AT)
    outputs = compiled_on(engine, lowered).run({"memory": before, "at": AT})
    for port, value in zip(lowered.outputs, expected, strict=True):
        np.testing.assert_allclose(outputs[port.tensor], value, rtol=1e-5, err_msg=port.name)
    arrays = {"memory": before.copy().view(StateArray)}
    StateWrites(lowered).apply(arrays, outputs)
    np.testing.assert_allclose(arrays["memory"], expected_state, rtol=1e-5)


def test_a_stacked_state_is_never_copied(tmp_path):
    """Of a state that is read and written at constant layers, the graph touches only the rows that it reads."""

    @mb.program(
        input_specs=[mb.StateTensorSpec((2, 64, 8), types.fp16), mb.TensorSpec((1, 8), types.fp16),
                     mb.TensorSpec((1,), types.int32)],
        opset_version=ct.target.iOS18,
    )  # fmt: skip
    def program(memory, x, at):
        after = mb.add(x=at, y=np.int32([1]))
        for layer in range(2):
            begin = mb.concat(values=[np.int32([layer]), at, np.int32([0])], axis=0)
            end = mb.concat(values=[np.int32([layer + 1]), after, np.int32([8])], axis=0)
            squeezed = {"squeeze_mask": [True, False, False]}
            value = mb.slice_update(x=mb.read_state(input=memory), update=x, begin=begin, end=end, **squeezed)
            value = mb.coreml_update_state(state=memory, value=value)
            value = mb.slice_by_index(x=value, begin=[layer, 0, 0], end=[layer + 1, 64, 8], **squeezed)
            until = mb.concat(values=[after, np.int32([8])], axis=0)
            x = mb.reduce_sum(x=mb.slice_by_index(x=value, begin=[0, 0], end=until), axes=[0], keep_dims=True)
        return x

    lowered = _lowered(program, tmp_path)
    assert lowered.written == () and len(lowered.writes) == 2
    readers = [node.op_type for node in lowered.model.graph.node if "memory" in node.input]
    assert readers == ["Slice", "Slice"]
    concats = [node for node in lowered.model.graph.node if node.op_type == "Concat" and len(node.input) > 1]
    assert sum(any("rows" in name or "Unsqueeze" in name for name in node.input) for node in concats) == 2


def test_many_overlapping_updates_are_joined_once(tmp_path):
    """Each read of overlapping rows takes one more join, not all of them again."""

    def nodes(count):
        @mb.program(
            input_specs=[mb.StateTensorSpec((8, 2), types.fp16), mb.TensorSpec((1, 2), types.fp16),
                         mb.TensorSpec((1,), types.int32)],
            opset_version=ct.target.iOS18,
        )  # fmt: skip
        def program(memory, x, at):
            begin = mb.concat(values=[at, np.int32([0])], axis=0)
            end = mb.concat(values=[mb.add(x=at, y=np.int32([1])), np.int32([2])], axis=0)
            for _ in range(count):
                new = mb.slice_update(x=mb.read_state(input=memory), update=x, begin=begin, end=end)
                x = mb.reduce_max(x=mb.coreml_update_state(state=memory, value=new), axes=[0], keep_dims=True)
            return x

        folder = tmp_path / str(count)
        folder.mkdir()
        return len(_lowered(program, folder).model.graph.node)

    few, some, many = nodes(4), nodes(8), nodes(16)
    assert many - some == 2 * (some - few)
