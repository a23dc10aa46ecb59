# Exported from chapter 17. Change the notebook, then export again.
"""A fork and a sum: the one container that every residual network is built from."""

import numpy as np

from nyang_edu.model.core import NyangModel
from nyang_edu.utility.layout import elementwise


class Residual(NyangModel):
    """Add a shortcut to a body: out = after(body(x) + shortcut(x)).

    shortcut None passes x on as it is; after None leaves the sum as it is.
    Shapes: x, any → out, the shape of body(x), which shortcut(x) must have too.

    Raises:
        ValueError: in forward, where body and shortcut return different shapes.

    Source: He, Zhang, Ren, Sun, Deep residual learning for image recognition (2016), section 3.2.
    """

    def __init__(self, body, shortcut=None, after=None):
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, x):
        """Return after(body(x) + shortcut(x))."""
        short = x if self.shortcut is None else self.shortcut.forward(x)
        out = self.body.forward(x)
        if out.shape != short.shape:
            raise ValueError(f"Residual adds arrays of one shape, received {out.shape} from the "
                             f"body and {short.shape} from the shortcut: give it a projection")
        out = elementwise(np.add, out, short)  # not +=, the body may have saved its own
        return out if self.after is None else self.after.forward(out)

    def backward(self, dout):
        """Return dx, the sum of what both branches send back; the layers add to their gradients."""
        dsum = dout if self.after is None else self.after.backward(dout)
        dx = self.body.backward(dsum)
        dshort = dsum if self.shortcut is None else self.shortcut.backward(dsum)
        return elementwise(np.add, dx, dshort)
