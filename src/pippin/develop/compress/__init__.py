"""Compress: searches how each weight of a model can be stored smaller, for a size, a latency or a memory to reach."""

from .compression import Compression as Compression
from .compression import Trial as Trial
from .run import compress as compress
