"""Lowering: a MIL function becomes an ONNX graph; one short function per operation."""

from .lower import lower as lower
from .lowered import Labels as Labels
from .lowered import Lowered as Lowered
from .lowered import Port as Port
from .lowered import written_name as written_name
from .model import lower_model as lower_model
from .storage import is_large as is_large
from .storage import readable as readable
from .storage import write_weights as write_weights
