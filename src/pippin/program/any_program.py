"""Any program: reads the program of an asset of any kind that has one."""

from __future__ import annotations

from ..format.aimodel import KIND, AIModelFile
from ..format.asset import Asset
from . import protobuf_reader
from .aicode_reader import read_aimodel
from .ir import Program

PROGRAMS = ("mlProgram", KIND)
"""The kinds of models that have a program."""


def read_program(asset: Asset) -> Program:
    """The program of an ML Program or of a Core AI model. Raises ProgramError, and the errors of the model's reader."""
    if isinstance(asset.specification, AIModelFile):
        return read_aimodel(asset.specification)
    return protobuf_reader.read_program(asset)
