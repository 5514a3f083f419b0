"""Record program: records a whole program if the environment sets PIPPIN_TRACE=t.json or PIPPIN_TRACE=opentelemetry."""

from __future__ import annotations

import os
from pathlib import Path

VARIABLE = "PIPPIN_TRACE"


def record_program() -> None:
    """Record until the interpreter exits, if the variable is set.

    Child processes write to the same folder, each to a file with its process number: t.1234.json.
    """
    found = os.environ.get(VARIABLE)
    if not found:
        return
    if found == "opentelemetry":
        from .opentelemetry import instrument

        instrument(None)
        return
    import atexit

    from .recording import Recording

    path = Path(found.replace("{pid}", str(os.getpid()))).absolute()
    if "{pid}" not in found:
        os.environ[VARIABLE] = str(path.with_name(f"{path.stem}.{{pid}}{path.suffix}"))
    recording = Recording(None).start()
    owner = os.getpid()

    def finish() -> None:
        if os.getpid() != owner:  # a forked child
            return
        recording.stop()
        if recording.children or "{pid}" not in found:
            recording.write(path)

    atexit.register(finish)
