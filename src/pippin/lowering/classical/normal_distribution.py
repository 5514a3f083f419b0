"""Normal distribution: its distribution function in float64; engines only have Erf in float32.

Source: the rational approximation of J. F. Hart et al., "Computer Approximations" (1968), no. 5666, and beyond it a
continued fraction, both as in G. West, "Better approximations to cumulative normal functions" (2005).
"""

from __future__ import annotations

import math

import numpy as np

from ..onnx_builder import Graph, Tensor

# Coefficients of z^0 to z^7.
_ABOVE = [
    220.206867912376, 221.213596169931, 112.079291497871, 33.912866078383,
    6.37396220353165, 0.700383064443688, 0.0352624965998911, 0.0,
]  # fmt: skip
_BELOW = [
    440.413735824752, 793.826512519948, 637.333633378831, 296.564248779674,
    86.7807322029461, 16.064177579207, 1.75566716318264, 0.0883883476483184,
]  # fmt: skip
_FAR = 7.07106781186547


def normal_distribution(g: Graph, x: Tensor) -> Tensor:
    """P(X <= x) for a standard normal X, elementwise, within 1e-14. x is float64."""
    z = g.Abs(x)
    decay = g.Exp(g.Mul(g.Mul(z, z), -0.5))
    near = g.Min(z, np.float64(_FAR))
    powers = g.Pow(g.Unsqueeze(near, [-1]), np.arange(8, dtype=np.float64))
    polynomials = g.MatMul(powers, np.array([_ABOVE, _BELOW], np.float64).T.copy())
    above, below = g.Split(polynomials, np.array([1, 1], np.int64), axis=-1, outputs=2)
    close = g.Squeeze(g.Div(above, below), [-1])
    fraction = g.Add(z, 0.65)
    for numerator in (4.0, 3.0, 2.0, 1.0):
        fraction = g.Add(z, g.Div(numerator, fraction))
    distant = g.Div(1 / math.sqrt(2 * math.pi), fraction)
    tail = g.Mul(decay, g.Where(g.Greater(z, _FAR), distant, close))
    return g.Where(g.Greater(x, 0.0), g.Sub(1.0, tail), tail)
