"""Interface: a typed Python module for one model, generated from its description."""
