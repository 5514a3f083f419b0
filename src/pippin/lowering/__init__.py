"""Lowering: a MIL function becomes an ONNX graph; one short function per operation."""

from .lower import Labels as Labels
from .lower import Lowered as Lowered
from .lower import Port as Port
from .lower import lower as lower
from .lower import written_name as written_name
