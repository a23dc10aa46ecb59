"""The im2col convolution that many courses teach: index arrays one way, np.add.at the other."""

import numpy as np

from benchmarks import framework
from benchmarks.models import numpy_kit
from nyang_edu.model.core import NyangModel, Parameter


class TextbookConv(NyangModel):
    """Convolution as one matrix product over all windows, gathered by index arrays."""

    def __init__(self, *sizes, bias=False, first=False, **more):
        like = framework.Conv2d(*sizes, bias=bias, **more)
        self.weight = Parameter(np.ascontiguousarray(like.weight.data))
        self.bias, self.first, self.settings = like.bias, first, like.settings

    def forward(self, x):
        """Return out (N, O, OH, OW)."""
        (SH, SW), (PH, PW) = self.settings["stride"], self.settings["padding"]
        (O, C, KH, KW), G = self.weight.data.shape, self.settings["groups"]
        x = np.pad(x, ((0, 0), (0, 0), (PH, PH), (PW, PW)))
        N, _, H, W = x.shape
        OH, OW = (H - KH) // SH + 1, (W - KW) // SW + 1
        c, i, j = (a.reshape(-1, 1) for a in np.indices((C, KH, KW)))
        h, w = (a.reshape(1, -1) for a in np.indices((OH, OW)))
        index = slice(None), c, i + SH * h, j + SW * w
        columns = x.reshape(N * G, C, H, W)[index].reshape(N, G, C * KH * KW, OH * OW)
        out = (self.weight.data.reshape(G, O // G, -1) @ columns).reshape(N, O, OH, OW)
        self.save(columns, index, x.shape)
        return out if self.bias is None else out + self.bias.data[:, None, None]

    def backward(self, dout):
        """Add to the gradients and return dx."""
        columns, index, (N, C, H, W) = self.saved()
        G, weight = self.settings["groups"], self.weight.data
        d = dout.reshape(N, G, len(weight) // G, -1)
        self.weight.grad += (d @ columns.swapaxes(2, 3)).sum(axis=0).reshape(weight.shape)
        if self.bias:
            self.bias.grad += dout.sum(axis=(0, 2, 3))
        if self.first:
            return None
        dcolumns = weight.reshape(G, len(weight) // G, -1).swapaxes(1, 2) @ d
        dx = np.zeros((N * G, C // G, H, W), dout.dtype)
        np.add.at(dx, index, dcolumns.reshape(N * G, *columns.shape[2:]))
        PH, PW = self.settings["padding"]
        return dx.reshape(N, C, H, W)[:, :, PH : H - PH, PW : W - PW]


class TextbookConv1d(TextbookConv):
    """The same for signals, as images of height 1."""

    def __init__(self, channels, out, kernel, stride=1, padding=0, **more):
        super().__init__(channels, out, (1, kernel), (1, stride), (0, padding), **more)
        self.weight = Parameter(self.weight.data[:, :, 0])

    def forward(self, x):
        """Return out (N, O, OL)."""
        return self._as_image(super().forward, x)

    def backward(self, dout):
        """Return dx (N, C, L)."""
        return self._as_image(super().backward, dout)

    def _as_image(self, function, x):
        flat = self.weight
        self.weight = Parameter(flat.data[:, :, None])
        self.weight.grad = flat.grad[:, :, None]  # a view: it adds to the signal's gradient
        out = function(x[:, :, None])
        self.weight = flat
        return None if out is None else out[:, :, 0]


def textbook_kit():
    """Collect this framework's layers, with the textbook's convolutions."""
    kit = numpy_kit()
    kit.conv, kit.conv1 = TextbookConv, TextbookConv1d
    return kit
