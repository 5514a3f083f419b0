"""Layers: one file for each family of neural-network layers; importing them fills the registry."""

from . import convolution as convolution
from . import elementwise as elementwise
