"""Extend: user code and replacement models go in, by name; the registries that lowering and engines look them up in."""
