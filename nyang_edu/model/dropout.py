# Exported from chapter 10. Change the notebook, then export again.
"""Dropout: train many thinner networks at once, by leaving out random elements."""

import numpy as np

from nyang_edu.model.core import NyangModel


class Dropout(NyangModel):
    """Set elements to zero with probability p in training: out = x · keep · factor.

    Inverted: factor 1 / (1 - p) in training, 1 in eval. Classic: 1 in training, 1 - p in eval.
    The mask of a pass is keep = rng.random(x.shape, np.float32) >= p.
    Shapes: x, any → out, the same.

    Raises:
        ValueError: where p is not in 0 ≤ p < 1.

    Source: Srivastava et al., Dropout (2014), section 4; the inverted form in section 10.
    """

    def __init__(self, p=0.5, *, inverted=True, rng=None):
        if not 0 <= p < 1:
            raise ValueError(f"Dropout needs 0 <= p < 1, received p={p}: p is the share that is "
                             "dropped, try 0.5")
        self.p, self.inverted = float(p), inverted
        self.rng = rng or np.random.default_rng()

    def forward(self, x):
        """Return a fresh array of x's shape and dtype."""
        if self.training:
            keep = self.rng.random(x.shape, np.float32) >= self.p
            factor = 1 / (1 - self.p) if self.inverted else 1.0
        else:
            keep, factor = True, 1.0 if self.inverted else 1 - self.p
        self.save(keep, factor)
        out = x * factor
        out *= keep  # in place: out keeps x's order in memory
        return out

    def backward(self, dout):
        """Return dx: dout through the mask of its forward."""
        keep, factor = self.saved()
        dx = dout * factor
        dx *= keep
        return dx
