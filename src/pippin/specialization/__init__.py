"""Specialization: a model and a configuration go in; compiled segments for this machine and a compute plan come out.

Import submodules directly: loading from the cache needs few of them.
"""
