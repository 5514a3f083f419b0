"""Plugin: pytest plugin that selects test cases, detects which of them predict, and records their results."""

from __future__ import annotations

import gc
import json
import random
import re
import zlib
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from . import environment
from .expected import expectation
from .suite import choose

environment.prepare()

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_PREDICTS = pytest.StashKey[bool]()
_running: list[pytest.Item] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--conformance-cases", type=int, default=2)
    group.addoption("--conformance-total", type=int, default=0)
    group.addoption("--conformance-seed", type=int, default=0)
    group.addoption("--conformance-strict", action="store_true")
    group.addoption("--conformance-results", type=Path)


def pytest_configure(config: pytest.Config) -> None:
    _watch_predictions()
    if config.getoption("--conformance-strict"):
        environment.tighten()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Recorder(config.getoption("--conformance-results")))


def _watch_predictions() -> None:
    """Record which tests call `predict`, even if the call fails."""
    from coremltools.models import CompiledMLModel, MLModel

    for kind in (MLModel, CompiledMLModel):
        kind.predict = _noting(kind.predict)


def _noting(predict: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*arguments: Any, **named: Any) -> Any:
        if _running:
            _running[-1].stash[_PREDICTS] = True
        return predict(*arguments, **named)

    return noted


@pytest.hookimpl(tryfirst=True)
def pytest_make_parametrize_id(val: Any, argname: str) -> str | None:
    """Test names without function addresses, which differ in every process."""
    text = str(val) if isinstance(val, tuple | list) or callable(val) else ""
    return f"{argname}={_ADDRESS.sub('', text)}" if _ADDRESS.search(text) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    option = config.getoption
    chosen = choose(
        [item.nodeid for item in items],
        option("--conformance-cases"),
        option("--conformance-total"),
        option("--conformance-seed"),
    )
    chosen -= set(read_results(option("--conformance-results"))[1])
    left = [item for item in items if item.nodeid not in chosen]
    counts = Counter(item.nodeid.partition("::")[0] for item in items)
    config.stash[_COLLECTED] = dict(counts)
    items[:] = [item for item in items if item.nodeid in chosen]
    config.hook.pytest_deselected(items=left)


def pytest_collection_finish() -> None:
    # Every conversion runs the garbage collector; freezing keeps it from walking tens of thousands of tests each time.
    gc.collect()
    gc.freeze()


_COLLECTED = pytest.StashKey[dict[str, int]]()


def pytest_sessionfinish(session: pytest.Session) -> None:
    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["collected"] = session.config.stash.get(_COLLECTED, {})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    """Seed each test from its name, so that a sample gives the same results as the full run."""
    environment.seed(zlib.crc32(item.nodeid.encode()))
    random.seed(item.nodeid)
    _running.append(item)
    try:
        return (yield)
    finally:
        _running.pop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    report.user_properties.append(("predicts", item.stash.get(_PREDICTS, False)))
    return report


class _Recorder:
    """Writes one line per finished test. Runs in the controller process of pytest-xdist."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._collected: dict[str, int] = {}

    def pytest_testnodedown(self, node: Any) -> None:
        self._collected = getattr(node, "workeroutput", {}).get("collected", self._collected)

    def pytest_runtest_logreport(self, report: Any) -> None:
        decisive = report.when == "call" or report.outcome != "passed"
        if not decisive or self._path is None:
            return
        outcome = report.outcome
        if hasattr(report, "wasxfail"):
            outcome = "skipped" if report.outcome == "skipped" else "passed"
        line = {
            "node": report.nodeid,
            "outcome": outcome,
            "predicts": dict(report.user_properties).get("predicts", False),
            "error": _error(report) if outcome == "failed" else "",
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed and self._path is not None:
            line = {"node": report.nodeid, "outcome": "failed", "predicts": False, "error": _error(report)}
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")

    def pytest_sessionfinish(self) -> None:
        if self._path is not None and self._collected:
            with self._path.open("a") as file:
                file.write(json.dumps({"collected": self._collected}) + "\n")

    def pytest_report_teststatus(self, report: Any) -> tuple[str, str, str] | None:
        if report.when == "call" and report.failed and expectation(report.nodeid):
            return "expected", "e", "EXPECTED"
        return None


def _error(report: Any) -> str:
    """Error message of a failed report."""
    crash = getattr(getattr(report, "longrepr", None), "reprcrash", None)
    return str(crash.message if crash else report.longrepr or "the process ended")[:2000]


def read_results(path: Path | None) -> tuple[dict[str, int], dict[str, dict[str, Any]]]:
    """Number of tests per file, and the last recorded line of each test that has run."""
    collected: dict[str, int] = {}
    results: dict[str, dict[str, Any]] = {}
    for text in path.read_text().splitlines() if path and path.is_file() else ():
        line = json.loads(text)
        if "collected" in line:
            collected |= line["collected"]
        else:
            results[line["node"]] = line
    return collected, results
