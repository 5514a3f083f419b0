"""Cache: the artifacts of a specialization go in under a content-based key; an `Entry` with verified files comes out.

Writes are atomic, the size is limited, and every miss can be explained.
"""
