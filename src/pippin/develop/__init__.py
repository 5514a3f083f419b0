"""Develop: a model comes to be, its numbers are compared, it is evaluated and compressed."""
