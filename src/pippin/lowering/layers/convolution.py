"""Convolution: the layers with a sliding kernel and weights."""
