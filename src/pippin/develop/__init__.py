"""Develop: the work before a model is used: it comes to be, its numbers are compared, it is evaluated and compressed."""
