"""Engines: libraries that compile a lowered model for a compute device and run it.

In: an ONNX model and `Settings` (device, precision, threads). Out: a `Compiled` model that maps arrays to arrays.
"""

from .base import Compiled as Compiled
from .base import Engine as Engine
from .base import FloatPrecision as FloatPrecision
from .base import Kernel as Kernel
from .base import Settings as Settings
from .registry import PYTHON_ENGINE as PYTHON_ENGINE
from .registry import all_engines as all_engines
from .registry import engine_named as engine_named
from .registry import python_engine as python_engine
