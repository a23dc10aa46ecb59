"""The layers that many courses teach: im2col by index arrays and np.add.at, plain BatchNorm."""

import numpy as np

from benchmarks import framework
from benchmarks.models import numpy_kit
from nyang_edu.model.core import NyangModel, Parameter


class TextbookConv(NyangModel):
    """Convolution as one matrix product for all windows of the batch, gathered by index arrays.

    The columns are (C·K·K, OH·OW·N), as in the assignments that made the method popular.
    """

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
        columns = [part[index].transpose(1, 2, 0).reshape(C * KH * KW, -1)
                   for part in np.split(x, G, axis=1)]
        kernels = self.weight.data.reshape(G, O // G, -1)
        out = np.concatenate([k @ cols for k, cols in zip(kernels, columns, strict=True)])
        out = out.reshape(O, OH, OW, N).transpose(3, 0, 1, 2)
        self.save(columns, index, x.shape)
        return out if self.bias is None else out + self.bias.data[:, None, None]

    def backward(self, dout):
        """Add to the gradients and return dx."""
        columns, index, (N, C, H, W) = self.saved()
        G, weight, (PH, PW) = self.settings["groups"], self.weight, self.settings["padding"]
        O = len(weight.data)
        rows = dout.transpose(1, 2, 3, 0).reshape(G, O // G, -1)
        kernels, grads = weight.data.reshape(G, O // G, -1), weight.grad.reshape(G, O // G, -1)
        if self.bias:
            self.bias.grad += dout.sum(axis=(0, 2, 3))
        dx = np.zeros((N, C, H, W), dout.dtype)
        for g, part in enumerate(np.split(dx, G, axis=1)):
            grads[g] += rows[g] @ columns[g].T
            if not self.first:
                dcolumns = (kernels[g].T @ rows[g]).reshape(columns[g].shape[0], -1, N)
                np.add.at(part, index, dcolumns.transpose(2, 0, 1))
        return None if self.first else dx[:, :, PH : H - PH, PW : W - PW]


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


class TextbookBatchNorm(NyangModel):
    """Batch normalisation of rows (N·H·W, C): the graph backwards, one array for each node."""

    def __init__(self, channels):
        self.weight = Parameter(np.ones(channels, np.float32))
        self.bias = Parameter(np.zeros(channels, np.float32))
        self.running_mean = np.zeros(channels, np.float32)
        self.running_var = np.ones(channels, np.float32)

    def forward(self, x):
        """Return out, of x's shape."""
        rows = np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])
        mean = rows.mean(axis=0)
        centred = rows - mean
        var = (centred**2).mean(axis=0)
        std = np.sqrt(var + 1e-5)
        xhat = centred / std
        self.running_mean = 0.9 * self.running_mean + 0.1 * mean
        self.running_var = 0.9 * self.running_var + 0.1 * var
        self.save(xhat, centred, std)
        return self._as_maps(self.weight.data * xhat + self.bias.data, x.shape)

    def backward(self, dout):
        """Add to the gradients and return dx."""
        xhat, centred, std = self.saved()
        rows = np.moveaxis(dout, 1, -1).reshape(-1, dout.shape[1])
        self.bias.grad += rows.sum(axis=0)
        self.weight.grad += (rows * xhat).sum(axis=0)
        dxhat = rows * self.weight.data
        dstd = -(dxhat * centred / std**2).sum(axis=0)
        dcentred = dxhat / std + centred * (dstd / std / len(rows))
        return self._as_maps(dcentred - dcentred.mean(axis=0), dout.shape)

    def _as_maps(self, rows, shape):
        return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


class TextbookMaxPool(NyangModel):
    """Max pooling by im2col: each window a row, argmax one way, np.add.at the other."""

    def __init__(self, size):
        self.size = size

    def forward(self, x):
        """Return out (N, C, H/K, W/K)."""
        K, (H, W) = self.size, x.shape[2:]
        h, w = (a[..., None] for a in np.indices((H // K, W // K)))
        i, j = (a.reshape(-1) for a in np.indices((K, K)))
        index = slice(None), slice(None), h * K + i, w * K + j
        windows = x[index]  # (N, C, OH, OW, K·K)
        self.save(windows.argmax(axis=-1), index, x.shape, windows.shape)
        return windows.max(axis=-1)

    def backward(self, dout):
        """Return dx: each gradient at the place of its window's maximum."""
        winner, index, shape, windows = self.saved()
        spread = np.zeros(windows, dout.dtype)
        np.put_along_axis(spread, winner[..., None], dout[..., None], axis=-1)
        dx = np.zeros(shape, dout.dtype)
        np.add.at(dx, index, spread)
        return dx


def textbook_kit():
    """Collect the textbook's layers, and this framework's where the textbook has the same."""
    kit = numpy_kit()
    kit.conv, kit.conv1, kit.maxpool = TextbookConv, TextbookConv1d, TextbookMaxPool
    kit.norm = kit.norm1 = TextbookBatchNorm
    return kit
