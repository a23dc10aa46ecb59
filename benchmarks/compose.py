"""Containers with branches: the backward pass of a fork is a sum, written once, here."""

import numpy as np

from nyang_edu.model.core import NyangModel
from nyang_edu.utility.layout import elementwise


class SkipConcat(NyangModel):
    """Keep the input beside what a body makes of it: out = [x, body(x)], joined by channels.

    Nested around pooling, more layers and upsampling, it is a U-Net.

    Shapes: x (N, C, …) and body(x) (N, D, …) of the same size → out (N, C + D, …).

    Source: Ronneberger et al., U-Net (2015), section 2.
    """

    def __init__(self, body):
        self.body = body

    def forward(self, x):
        """Return x and body(x), joined along the channels."""
        out = np.concatenate([x, self.body.forward(x)], axis=1)
        self.save(x.shape[1])
        return out

    def backward(self, dout):
        """Return dx: the part that went straight, and the part that went through the body."""
        own = self.saved()
        return elementwise(np.add, self.body.backward(dout[:, own:]), dout[:, :own])
