"""Engines: what compiles a lowered model for a compute device and runs it."""

from .base import Compiled as Compiled
from .base import Engine as Engine
from .choose import all_engines as all_engines
from .choose import compile_model as compile_model
