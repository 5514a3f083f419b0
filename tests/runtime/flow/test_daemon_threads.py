"""Daemon threads: a pool of workers, and an exit of the interpreter beside work that does not stop."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from pippin.support.daemon_threads import DaemonThreads, in_thread


def test_threads_start_when_needed_and_are_used_again():
    pool, names, go = DaemonThreads(2, "pool"), set(), threading.Event()

    def work(wait):
        names.add(threading.current_thread().ident)
        return not wait or go.wait(60)

    held = in_thread(lambda: list(pool.map(work, [True, True])), "test")
    more = in_thread(lambda: list(pool.map(work, [False] * 20)), "test")
    go.set()
    assert held.result(60) == [True, True]
    assert more.result(60) == [True] * 20
    assert 1 <= len(names) <= 2


def test_an_error_is_raised_after_all_are_done():
    done = []

    def work(number):
        if number == 0:
            raise ValueError("zero")
        done.append(number)

    with pytest.raises(ValueError, match="zero"):
        list(DaemonThreads(1, "pool").map(work, range(4)))
    assert done == [1, 2, 3]


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_threads_end_with_the_pool(how):
    pool, found = DaemonThreads(2, "pool"), []
    list(pool.map(lambda _: found.append(threading.current_thread()), range(4)))
    if how == "closed":
        pool.close()
        with pytest.raises(RuntimeError, match="closed"):
            pool.submit(lambda: None)
    else:
        del pool
        gc.collect()
    for thread in found:
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.slow
@pytest.mark.process
def test_an_exit_beside_work_that_does_not_stop():
    """The run returns while the interpreter is finalized: C++ would abort, and its destructors would crash."""
    code = """
import sys, threading, time, numpy as np, onnxruntime
from onnx import TensorProto, helper
from pippin.support import daemon_threads

x = np.ones((1500, 1500), np.float32)
infos = [helper.make_tensor_value_info(name, TensorProto.FLOAT, x.shape) for name in "xy"]
graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "one", infos[:1], infos[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
session = onnxruntime.InferenceSession(model.SerializeToString())
session.run(None, {"x": x})
daemon_threads._GRACE = 0.0
began = threading.Event()

class Last:
    def __del__(self, run=session.run, x=x):
        for _ in range(3):  # the other run ends meanwhile
            run(None, {"x": x})

def work():
    with daemon_threads.asked_at_exit(bool):
        began.set()
        session.run(None, {"x": x})

sys.modules["pippin"].last = Last()
daemon_threads.in_thread(work, "work")
began.wait()
sys.exit(7)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 7, done.stderr
