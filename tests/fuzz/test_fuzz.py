"""Fuzz: a slice of the runs of `make fuzz`, the bounds on a child, and the report of the results."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fuzz import children, report

HOME = Path(__file__).parents[2]
RUNS = 60


@pytest.mark.process
def test_a_slice(tmp_path):
    found = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "tests.fuzz", "--seeds", f"0..{RUNS}", "--resume", str(found)]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True)
    results = report.read(found)
    assert done.returncode == 0, f"{report.text(results)}\n{done.stderr[-2000:]}"
    assert len(results) == RUNS
    answered = [result for result in results.values() if result["kind"] == "answered"]
    assert len(answered) > RUNS / 3
    assert sum("onnxruntime openvino" in result["group"] for result in answered) > RUNS / 4


def _misbehave(seed, folder, tell):
    tell({"base": "none"})
    match seed:
        case 0:
            tell({"kind": "answered"})
        case 1:
            os.abort()
        case 2:
            while True:
                time.sleep(0.01)
        case 3:
            bytearray(1 << 20) * 4000
            time.sleep(60)
        case 4:
            raise ValueError("of the fuzzer")


@pytest.mark.process
def test_bounds():
    """A child that crashes, hangs or takes memory is ended, and its result says so."""
    hangs = list(children.results([2], _misbehave, seconds=1.0))
    others = children.results([0, 1, 3, 4], _misbehave, at_once=3, seconds=60.0)
    results = {result["seed"]: result for result in (*hangs, *others)}
    assert [results[seed]["kind"] for seed in range(5)] == ["answered", "crash", "hang", "memory", "fuzzer"]
    assert results[1]["group"].startswith("SIGABRT")
    assert all(result["base"] == "none" for result in results.values())


def test_report(tmp_path):
    path = tmp_path / "results.jsonl"
    rows = [
        {"seed": 0, "kind": "answered", "group": "onnxruntime", "cpu": 1.0},
        {"seed": 1, "kind": "exception", "group": "KeyError in /a.py:1 f", "cpu": 2.0},
        {"seed": 2, "kind": "exception", "group": "KeyError in /a.py:1 f"},
        {"seed": 2, "kind": "refused", "group": "ProgramError"},  # once more: the newest counts
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + '\n{"seed": 3, "ki')
    results = report.read(path)
    assert sorted(results) == [0, 1, 2]
    text = report.text(results)
    assert "3 runs" in text and "1 x KeyError in /a.py:1 f (seeds 1)" in text
    assert [finding["seed"] for finding in report.findings(results)] == [1]
