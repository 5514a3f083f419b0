"""Passes: what is done to a graph before an engine compiles it, where the engine does not do it as well itself."""
