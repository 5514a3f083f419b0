"""Batch: many predictions that belong together: results in order, one bad element does not lose the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from ..cancellation import Cancellation
from ..errors import PippinError
from .service import Pending, Service, Work


def predict_all(
    service: Service,
    works: Sequence[Work],
    return_exceptions: bool,
    progress: Callable[[int, int], object] | None,
    cancellation: Cancellation | None,
) -> list[Any]:
    """The results in order. Only some more are submitted than can run, so that others get their turn between."""
    results: list[Any] = []
    window: deque[Pending] = deque()
    ahead = 2 * service.gate.room

    def cancel() -> None:
        for pending in list(window):
            pending.cancel()

    forget = cancellation.listen(cancel) if cancellation is not None else lambda: None
    following = iter(works)
    try:
        while len(results) < len(works):
            while len(window) < ahead and (work := next(following, None)) is not None:
                window.append(service.submit(work))
                if cancellation is not None and cancellation.cancelled:
                    window[-1].cancel()
            pending = window[0]
            try:
                results.append(pending.future.result())
            except PippinError as error:
                error.add_note(f"in element {len(results)} of the batch")
                if not return_exceptions:
                    raise
                results.append(error)
            window.popleft()
            if progress is not None:
                progress(len(results), len(works))
    finally:
        forget()
        cancel()
    return results
