"""Core AI: lowers the operations of an `.aimodel`, by the same functions as MIL's wherever the meaning is the same.

The definition of each operation is Apple's documentation in `coreai-core` 1.0.0b3 (BSD-3).
"""

from . import complex_numbers as complex_numbers
from . import compression as compression
from . import control_flow as control_flow
from . import elementwise as elementwise
from . import indexing as indexing
from . import interpolation as interpolation
from . import linear as linear
from . import reduction as reduction
from . import shaping as shaping
from .builder import CoreAIBuilder as CoreAIBuilder
