"""Lowering: an opened model (`Asset`) in, an ONNX graph with named ports (`Lowered`) out.

One short function lowers each operation. Nothing is imported here: reading a cached model needs `lowered_model` only,
not ONNX or the operation table.
"""
