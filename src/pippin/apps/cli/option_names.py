"""Option names: says in a message of the library what the command line calls it."""

from __future__ import annotations

import re

# Words of messages that name arguments of Python, and the option that does the same.
_SAID = (
    (r"let pippin\.ImageInput\(image, resize=\"(\w+)\"\) do so", r"let --resize \1 do so"),
    (r"choose engine='(\w+)', or name no engine", r"choose --engine \1, or name no engine"),
    (r"\b(engine|precision)='(\w+)'", r"--\1 \2"),
    (r"\bprecision=\"(\w+)\"", r"--precision \1"),
    (r"\bspecialization_strategy must be", "--strategy must be"),
)


def in_options(message: str) -> str:
    """The message with the options of the command line."""
    for python, option in _SAID:
        message = re.sub(python, option, message)
    return message
