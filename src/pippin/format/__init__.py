"""Format: reads and writes Core ML model files.

In: a path, bytes or a `Model` message. Out: an `Asset`: specification, description and memory-mapped weights.
"""
