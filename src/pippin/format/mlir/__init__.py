"""MLIR bytecode: the container of Core AI's programs, and the types and attributes of their dialect, `aicode`.

In: the bytes of a `main.mlirb`. Out: operations, regions and attributes as they stand in the file. Nothing is copied:
numbers of constants stay where they are mapped.
"""
