"""A generator that draws nothing: to count a big network nobody has to draw its weights.

VGG-16 has 138 million of them, and he_normal would draw each in float64 first.
"""

import numpy as np

__all__ = ["Hollow"]


class Hollow(np.random.Generator):
    """A np.random.Generator for where only shapes matter: every number is 0."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))

    def normal(self, loc=0.0, scale=1.0, size=None):
        """Return zeros (size,) in float32."""
        return np.zeros(size, np.float32)

    def uniform(self, low=0.0, high=1.0, size=None):
        """Return zeros (size,) in float32."""
        return np.zeros(size, np.float32)

    def random(self, size=None, dtype=np.float32):
        """Return zeros (size,) in dtype."""
        return np.zeros(size, dtype)
