"""Whole programs of Core AI as text: branches, loops, states, invoked graphs, and operations that have no function in
the authoring interface."""

from dataclasses import dataclass, field

import numpy as np

from core_ai.elementwise_cases import floats


@dataclass(frozen=True)
class Program:
    name: str
    text: str
    inputs: dict[str, np.ndarray]
    states: dict[str, np.ndarray] = field(default_factory=dict)
    calls: int = 1


def graph(body: str, arguments: str, results: str, private: str = "") -> str:
    return f"module {{ {private} coreai.graph @main({arguments}) -> ({results}) {{ {body} }} }}"


def _named(name: str, kind: str) -> str:
    return f'%{name}: {kind} {{coreai.name = "{name}"}}'


def _result(kind: str, name: str = "y") -> str:
    return f'{kind} {{coreai.name = "{name}"}}'


F4, SCALAR, TOKEN, FLAG = "tensor<4xf32>", "tensor<si32>", "!coreai.token", "tensor<i1>"
BINARY = f"({F4}, {F4}) -> {F4}"
HANDLE = f"!coreai.handle<{F4}>"

_IF = f"""
  %r = coreai.if %c {{
    %0 = coreai.add %x, %x : {BINARY}
    coreai.yield %0 : {F4}
  }} else {{
    %0 = coreai.mul %x, %x : {BINARY}
    coreai.yield %0 : {F4}
  }} : {FLAG} -> {F4}
  coreai.output %r : {F4}"""
_WHILE = f"""
  %zero = coreai.constant dense<0> : {SCALAR}
  %r:2 = coreai.while %zero, %x {{
    ^bb0(%i: {SCALAR}, %v: {F4}):
      %c = coreai.not_equal %i, %n : ({SCALAR}, {SCALAR}) -> {FLAG}
      coreai.condition %c, %i, %v : ({FLAG}, {SCALAR}, {F4})
  }} do {{
    ^bb1(%i: {SCALAR}, %v: {F4}):
      %one = coreai.constant dense<1> : {SCALAR}
      %next = coreai.add %i, %one : ({SCALAR}, {SCALAR}) -> {SCALAR}
      %twice = coreai.add %v, %v : {BINARY}
      coreai.yield %next, %twice : {SCALAR}, {F4}
  }} : ({SCALAR}, {F4}) -> ({SCALAR}, {F4})
  coreai.output %r#1 : {F4}"""
# The first block computes as well, and passes on other values than it gets.
_WHILE_BEFORE = f"""
  %zero = coreai.constant dense<0> : {SCALAR}
  %r = coreai.while %zero, %x {{
    ^bb0(%i: {SCALAR}, %v: {F4}):
      %c = coreai.not_equal %i, %n : ({SCALAR}, {SCALAR}) -> {FLAG}
      %w = coreai.add %v, %x : {BINARY}
      coreai.condition %c, %w : ({FLAG}, {F4})
  }} do {{
    ^bb1(%v: {F4}):
      %square = coreai.mul %v, %v : {BINARY}
      coreai.yield %n, %square : {SCALAR}, {F4}
  }} : ({SCALAR}, {F4}) -> ({F4})
  coreai.output %r : {F4}"""
_STATE = f"""
  %t0 = coreai.create_token : {TOKEN}
  %old, %t1 = coreai.read_handle %h, %t0 : ({HANDLE}, {TOKEN}) -> ({F4}, {TOKEN})
  %new = coreai.add %old, %x : {BINARY}
  %t2 = coreai.write_handle %h, %new, %t1 : ({HANDLE}, {F4}, {TOKEN}) -> {TOKEN}
  %again, %t3 = coreai.read_handle %h, %t2 : ({HANDLE}, {TOKEN}) -> ({F4}, {TOKEN})
  %y = coreai.mul %again, %old : {BINARY}
  coreai.output %t3, %y : {TOKEN}, {F4}"""
_ROWS = """
  %t0 = coreai.create_token : !coreai.token
  %old, %t1 = coreai.read_handle %h, %t0 : (!coreai.handle<tensor<8x3xf32>>, !coreai.token) -> (tensor<8x3xf32>, !coreai.token)
  %one = coreai.constant dense<[1]> : tensor<1xsi32>
  %zero = coreai.constant dense<[0]> : tensor<1xsi32>
  %first = coreai.constant dense<0> : tensor<si32>
  %last = coreai.constant dense<[3]> : tensor<1xsi32>
  %steps = coreai.constant dense<[1, 1]> : tensor<2xsi32>
  %after = coreai.add %p, %one : (tensor<1xsi32>, tensor<1xsi32>) -> tensor<1xsi32>
  %start = coreai.concat %first, %p, %zero : (tensor<si32>, tensor<1xsi32>, tensor<1xsi32>) -> tensor<2xsi32>
  %end = coreai.concat %first, %after, %last : (tensor<si32>, tensor<1xsi32>, tensor<1xsi32>) -> tensor<2xsi32>
  %new = coreai.slice_update %old with %x at (%start, %end, %steps) : (tensor<8x3xf32>, tensor<1x3xf32>, tensor<2xsi32>, tensor<2xsi32>, tensor<2xsi32>) to tensor<8x3xf32>
  %t2 = coreai.write_handle %h, %new, %t1 : (!coreai.handle<tensor<8x3xf32>>, tensor<8x3xf32>, !coreai.token) -> !coreai.token
  %axes = coreai.constant dense<[0]> : tensor<1xsi32>
  %y = coreai.reduce_sum %new, %axes : (tensor<8x3xf32>, tensor<1xsi32>) -> tensor<1x3xf32>
  coreai.output %t2, %y : !coreai.token, tensor<1x3xf32>"""
_PRIVATE = f"""
  coreai.graph private noinline @helper(%a: {F4}, %b: {F4}) -> {F4} {{
    %0 = coreai.mul %a, %b : {BINARY}
    %1 = coreai.add %0, %a : {BINARY}
    coreai.output %1 : {F4}
  }}"""
_INVOKE = f"""
  %0 = coreai.invoke @helper(%x, %x) : {BINARY}
  %1 = coreai.invoke @helper(%0, %x) : {BINARY}
  coreai.output %1 : {F4}"""
_X, _N, _C = _named("x", F4), _named("n", SCALAR), _named("c", FLAG)
PROGRAMS = [
    *(Program(f"if-{flag}", graph(_IF, f"{_C}, {_X}", _result(F4)), {"c": np.array(flag), "x": floats(4)}) for flag in (True, False)),
    *(Program(f"while-{n}", graph(_WHILE, f"{_N}, {_X}", _result(F4)), {"n": np.array(n, np.int32), "x": floats(4)}) for n in (0, 1, 5)),
    *(Program(f"while-before-{n}", graph(_WHILE_BEFORE, f"{_N}, {_X}", _result(F4)), {"n": np.array(n, np.int32), "x": floats(4)}) for n in (0, 3)),
    Program("invoke", graph(_INVOKE, _X, _result(F4), _PRIVATE), {"x": floats(4)}),
    Program("state", graph(_STATE, f"{_named('h', HANDLE)}, {_X}", f"{_result(TOKEN, 'h')}, {_result(F4)}"), {"x": floats(4)}, {"h": floats(4, seed=7)}, calls=3),
    Program(
        "state-rows",
        graph(_ROWS, f"{_named('h', '!coreai.handle<tensor<8x3xf32>>')}, {_named('x', 'tensor<1x3xf32>')}, {_named('p', 'tensor<1xsi32>')}", f"{_result(TOKEN, 'h')}, {_result('tensor<1x3xf32>')}"),
        {"x": floats(1, 3), "p": np.array([2], np.int32)}, {"h": floats(8, 3, seed=7)}, calls=2,
    ),
]  # fmt: skip
