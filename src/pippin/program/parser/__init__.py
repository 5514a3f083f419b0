"""Parser: MIL text, as a compiled model holds it in `model.mil`, to the IR. `program/mil_writer.py` writes what this reads."""

from .program import parse_program as parse_program
