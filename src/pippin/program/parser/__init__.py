"""Parser: parses MIL text into the IR; the inverse of `program/mil_writer.py`.

In: the text of a `model.mil`. Out: a `Program`.
"""

from .program import parse_program as parse_program
