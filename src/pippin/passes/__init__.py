"""Passes: graph rewrites before compilation, for what an engine does not do as well itself.

In: an ONNX model. Out: a rewritten one, or the same object if there is nothing to do.
"""
