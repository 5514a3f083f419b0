"""Boundary: turns an exception that is not of the tree in `errors` into one that is, with the place where it arose."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ..errors import PippinError


@contextmanager
def boundary(
    kind: type[PippinError], where: str, passes: Callable[[Exception], bool] = lambda error: False
) -> Iterator[None]:
    """Raise whatever is not a PippinError as `kind`, after `where`; the original is its cause. `passes` tells which
    exceptions belong to the caller and pass unchanged."""
    try:
        yield
    except PippinError:
        raise
    except Exception as error:
        if passes(error):
            raise
        raise kind(f"{where}: {described(error)}") from error


def described(error: BaseException) -> str:
    """An exception as part of a message: many say nothing without their type."""
    if isinstance(error, MemoryError):
        return f"more memory is needed than there is ({error or 'MemoryError'})"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
