"""Containers with branches: the backward pass of a fork is a sum, written once, here."""

import numpy as np

from nyang_edu.model.core import NyangModel
from nyang_edu.utility.layout import elementwise, from_rows, to_rows


class Residual(NyangModel):
    """Add a shortcut to a body: out = activation(body(x) + shortcut(x)).

    Shapes: as the body's; shortcut None passes x on and needs body(x) of x's shape.

    Raises:
        ValueError: where body and shortcut return different shapes.

    Source: He et al., Deep residual learning for image recognition (2016), section 3.2.
    """

    def __init__(self, body, shortcut=None, activation=None):
        self.body, self.shortcut, self.activation = body, shortcut, activation

    def forward(self, x):
        """Return out, of the body's output shape."""
        x = from_rows(to_rows(x), x.ndim)  # laid out once, for the body and for the sum
        short = x if self.shortcut is None else self.shortcut.forward(x)
        out = self.body.forward(x)
        if out.shape != short.shape:
            raise ValueError(
                f"Residual adds arrays of one shape, received {out.shape} from the body and "
                f"{short.shape} from the shortcut: project the shortcut with a convolution"
            )
        out = elementwise(np.add, out, short)
        return out if self.activation is None else self.activation.forward(out)

    def backward(self, dout):
        """Return dx, the sum of what both branches send back."""
        if self.activation is not None:
            dout = self.activation.backward(dout)
        dx = self.body.backward(dout)
        short = dout if self.shortcut is None else self.shortcut.backward(dout)
        return elementwise(np.add, dx, short)


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
