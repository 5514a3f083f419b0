"""Extend: user code and replacement models enter, registered by name; lowering and engines look them up here."""
