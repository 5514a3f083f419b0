"""Develop: the half of the work before a model is used: where its numbers go wrong, and what to do about it."""
