"""Children: each run in a child forked from a warmed parent, with a bound on time and on memory."""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

SECONDS = 10.0
BYTES = 2 << 30
_EVERY = 0.05  # seconds between two looks at the children
_ORPHANED = 12  # times the bound
_LAST_WORDS = 0.3  # seconds for writing the stacks
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass
class Child:
    seed: int
    process: int
    pipe: int
    folder: Path
    started: float
    told: bytes = b""
    most: int = 0
    ended_by: str = ""
    limit: float = SECONDS
    asked: float = 0.0
    """When it was asked for its stacks, because its time is up."""
    lines: list[Any] = field(default_factory=list)


def results(
    seeds: Iterable[int], run: Callable[[int, Path, Any], None], at_once: int = 1, seconds: float = SECONDS
) -> Iterator[dict[str, Any]]:
    """The results of runs as they end: {"seed", "kind", "group", "detail", ...}."""
    gc.collect()
    gc.freeze()
    waiting, running = iter(seeds), []
    while True:
        running += [_started(seed, run, seconds) for seed in islice(waiting, at_once - len(running))]
        if not running:
            return
        select.select([child.pipe for child in running], [], [], _EVERY)
        for child in list(running):
            if _watch(child):
                running.remove(child)
                yield _result(child)


def _started(seed: int, run: Callable[[int, Path, Any], None], seconds: float) -> Child:
    folder = Path(tempfile.mkdtemp(prefix="pippin-fuzz-"))
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read)
        _be_child(seed, run, folder, write)
    os.close(write)
    os.set_blocking(read, False)
    return Child(seed, process, read, folder, time.monotonic(), limit=seconds)


def _be_child(seed: int, run: Callable[[int, Path, Any], None], folder: Path, write: int) -> None:
    """Never returns. A process group of its own, so that its own children end with it."""
    status = 1
    try:
        os.setpgid(0, 0)
        log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123
        faulthandler.enable(log)
        faulthandler.register(signal.SIGUSR1, log)
        signal.alarm(int(_ORPHANED * SECONDS))  # ends a child whose parent was killed
        tempfile.tempdir = str(folder)

        def tell(line: dict[str, Any]) -> None:
            os.write(write, json.dumps(line).encode("utf-8", "backslashreplace") + b"\n")

        run(seed, folder, tell)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def _watch(child: Child) -> bool:
    """Read what it tells, and end it if it is over a bound. Returns whether it has ended."""
    while True:
        try:
            data = os.read(child.pipe, 1 << 16)
        except BlockingIOError:
            break
        if not data:
            break
        child.told += data
    ended, status, used = os.wait4(child.process, os.WNOHANG)
    if ended:
        child.lines.append(
            {"seconds": round(time.monotonic() - child.started, 2), "cpu": round(used.ru_utime + used.ru_stime, 2)}
        )
        if not child.ended_by and os.WIFSIGNALED(status):
            child.ended_by = f"crash {signal.Signals(os.WTERMSIG(status)).name}"
        elif not child.ended_by and os.WEXITSTATUS(status):
            child.ended_by = "fuzzer"
        _end(child)
        return True
    if not child.ended_by:
        child.most = max(child.most, sum(map(_resident, _tree(child.process))))
        _bound(child)
    return False


def _bound(child: Child) -> None:
    """End a child that is over a bound; one whose time is up writes its stacks first."""
    now = time.monotonic()
    if child.most > BYTES:
        child.ended_by = "memory"
    elif child.asked and now - child.asked > _LAST_WORDS:
        child.ended_by = "hang"
    elif not child.asked and now - child.started > child.limit + _waited(child.process):
        child.asked = now
        os.kill(child.process, signal.SIGUSR1)
    if child.ended_by:
        _end(child)


def _waited(process: int) -> float:
    """Seconds in which a thread of it waited for a processor: on a busy machine a run takes longer."""
    longest = 0
    for member in _tree(process):
        try:
            for task in Path(f"/proc/{member}/task").iterdir():
                longest = max(longest, int((task / "schedstat").read_text().split()[1]))
        except (OSError, IndexError):
            continue
    return longest / 1e9


def _end(child: Child) -> None:
    for process in _tree(child.process):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _tree(process: int) -> list[int]:
    """The process and its descendants."""
    found = [process]
    for parent in found:
        try:
            tasks = list(Path(f"/proc/{parent}/task").iterdir())
            found += [int(p) for task in tasks for p in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


def _result(child: Child) -> dict[str, Any]:
    result: dict[str, Any] = {"seed": child.seed, "kind": "", "group": "", "detail": ""}
    for line in child.told.decode().splitlines():
        try:
            told = json.loads(line)
        except ValueError:
            continue
        if "boundary" in told:
            result.setdefault("boundaries", []).append(told["boundary"])
        else:
            result.update(told)
    for line in child.lines:
        result.update(line)
    log = (child.folder / "log").read_text(errors="replace")
    os.close(child.pipe)
    shutil.rmtree(child.folder, ignore_errors=True)
    if child.ended_by:
        kind, _, how = child.ended_by.partition(" ")
        result.update(kind=kind, group=f"{how} {result.get('stage', '')} {_innermost(log)}".strip(), detail=log[-3000:])
    result["megabytes"] = child.most >> 20
    return result


def _innermost(log: str) -> str:
    """The innermost place of ours in a dump of the stacks."""
    for line in log.splitlines():
        if "/pippin/" in line and "File " in line:
            return line.strip().partition("/pippin/")[2].replace('"', "")
    return ""
