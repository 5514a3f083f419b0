"""Lowering: a model becomes an ONNX graph; one short function per operation. Its parts are imported by name: what
only reads a cached model needs `lowered` alone, and neither ONNX nor the table of operations."""
