"""Child: compiles and runs a model in a child process, which can be ended at any moment.

No engine ends a compilation early, and OpenVINO does not end a loop: its `cancel` waits for the loop, and folding a
loop of constants computes it. A child that is killed takes all its work with it, and ends itself with its parent.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CompilationError, EngineError, PredictionError
from ..support.cancellation import Stop
from .base import Engine, Settings

_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from pippin.engines.child_tasks import serve; serve()"
)


class ChildEnded(EngineError):
    """The process ended before it answered."""


class Child:
    """A process that does one task after another. Used by one thread at a time; any thread may `kill` it."""

    def __init__(self, start: str = _START) -> None:
        """`start` is the program, which takes `sys.path` and the number of its end of the pipe as arguments."""
        self._owner = os.getpid()
        self._connection, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", start, json.dumps(sys.path), str(theirs.fileno())],
                # Standard input is not read: it closes when this process ends, however that happens.
                stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()], start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            raise ChildEnded(f"cannot start a child process: {error}") from error
        finally:
            theirs.close()

    def do(self, stop: Stop | None, *task: Any) -> Any:
        """The result of a task. Raises what it raises, ChildEnded, and PredictionCancelled once `stop` is asked."""
        with nullcontext() if stop is None else stop.by(self.kill):
            try:
                self._connection.send(task)
                error, result = self._connection.recv()
            except (EOFError, OSError):
                self.close()
                if stop is not None:
                    stop.check()
                raise ChildEnded(f"its process ended with {self._process.returncode}") from None
        if error is not None:
            raise error
        return result

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        """End the process, and those that it started. A forked process leaves its parent's children alone."""
        if os.getpid() != self._owner:
            return
        with suppress(ProcessLookupError, PermissionError):
            if self._process.returncode is None:
                os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> None:
        if os.getpid() != self._owner:
            return
        self.kill()
        self._process.wait()
        self._connection.close()
        if self._process.stdin is not None:
            self._process.stdin.close()

    def __del__(self) -> None:
        if hasattr(self, "_process"):
            self.close()


class CompiledInChild:
    """Runs an artifact in child processes: one for each prediction at a time. A stopped prediction ends its process."""

    def __init__(self, engine: Engine, folder: Path, settings: Settings) -> None:
        try:
            self._files = {file.name: file.read_bytes() for file in folder.iterdir()}
        except OSError as error:
            raise CompilationError(f"cannot load the artifact of {engine.name}: {error}") from error
        self._name, self._settings = engine.name, settings
        self._idle: deque[Child] = deque()  # append and pop are atomic
        self._idle.append(self._started(None))

    def run(
        self, inputs: Mapping[str, np.ndarray], stop: Stop | None = None, into: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        try:
            child = self._idle.pop()
        except IndexError:
            child = self._started(stop)
        try:
            values: dict[str, np.ndarray] = child.do(stop, "run", dict(inputs))
        except ChildEnded as error:
            raise PredictionError(f"{self._name} failed: {error}") from None
        except PredictionError:
            if child.alive:
                self._idle.append(child)
            raise
        self._idle.append(child)
        return values

    def _started(self, stop: Stop | None) -> Child:
        child = Child()
        child.do(stop, "load", self._name, self._files, asdict(self._settings))
        return child


def compile_in_child(
    engine: Engine, source: bytes | Path, settings: Settings, artifact: Path | None, stop: Stop
) -> Any:
    """Compile in a child process and load the artifact, which stays in the folder `artifact`.

    Raises CompilationError, and PredictionCancelled once `stop` is asked.
    """
    with nullcontext(artifact) if artifact is not None else tempfile.TemporaryDirectory(prefix="pippin-") as folder:
        child = Child()
        try:
            child.do(stop, "compile", engine.name, source, asdict(settings), Path(folder))
        finally:
            child.close()
        return engine.load(Path(folder), settings)
