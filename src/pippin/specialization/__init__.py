"""Specialization: a model becomes what runs fastest on the devices of this machine. Its parts are imported by name:
what reads a cached model needs `parts` alone."""
