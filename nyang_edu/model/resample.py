# Exported from chapter 09. Change the notebook, then export again.
"""Resampling: change the size of maps by repeating pixels or by mixing neighbours."""

import math

import numpy as np

from nyang_edu.model.core import NyangModel, expect_input
from nyang_edu.utility.windows import pair


class UpsampleNearest(NyangModel):
    """Repeat each pixel: out[i·SH + a, j·SW + b] = x[i, j] for all a < SH, b < SW.

    Shapes: x (N, C, H, W) → out (N, C, H·SH, W·SW); scale_factor is an int or a pair (SH, SW).

    Raises:
        ValueError: where a factor is no integer of at least 1, or x is no batch of maps.

    Source: Odena, Dumoulin, Olah, Deconvolution and Checkerboard Artifacts (2016), on
    resizing before convolving.
    """

    def __init__(self, scale_factor=2):
        self.scale_factor = pair(scale_factor)
        if any(int(S) != S or S < 1 for S in self.scale_factor):
            raise ValueError("UpsampleNearest repeats pixels a whole number of times, received "
                             f"scale_factor {scale_factor}: use Upsample for other factors")

    def forward(self, x):
        """Return out (N, C, H·SH, W·SW) for x (N, C, H, W)."""
        expect_input(self, x, "N", "C", "H", "W")
        N, C, H, W = x.shape
        SH, SW = self.scale_factor
        out = np.empty_like(x, shape=(N, C, H * SH, W * SW))
        for a, b in np.ndindex(SH, SW):
            out[:, :, a::SH, b::SW] = x
        self.save(x.shape)
        return out

    def backward(self, dout):
        """Return dx (N, C, H, W): the sum over all copies of each pixel."""
        SH, SW = self.scale_factor
        dx = np.zeros_like(dout, shape=self.saved())
        for a, b in np.ndindex(SH, SW):
            dx += dout[:, :, a::SH, b::SW]
        return dx


def interpolation_matrix(size, output, align_corners=False, step=None):
    """Compute the weights of linear interpolation: row i holds 1 − t at ⌊p_i⌋ and t next to it.

    Args:
        size: n, the number of old pixels.
        output: O, the number of new ones.
        align_corners: lay outer centres over each other (p = i·(n−1)/(O−1)), not outer edges
            (p = (i + ½)·step − ½); positions are clipped to 0 … n − 1.
        step: old pixels per new pixel in the half-pixel rule; None means size / output.

    Returns:
        matrix (O, n) in float64; each row sums to 1.

    Source: PyTorch documentation, ``torch.nn.Upsample``.
    """
    step = size / output if step is None else step
    matrix = np.zeros((output, size))
    i = np.arange(output)
    if align_corners:
        position = i * ((size - 1) / max(output - 1, 1))
    else:
        position = np.clip((i + 0.5) * step - 0.5, 0, size - 1)
    low = np.minimum(position.astype(int), size - 1)  # astype cuts the fraction off: the floor
    high = np.minimum(low + 1, size - 1)
    matrix[i, low] += 1 - (position - low)
    matrix[i, high] += position - low
    return matrix


def nearest_matrix(size, output, step=None):
    """Compute the weights of nearest neighbours: row i holds a 1 at ⌊i·step⌋, (output, size)."""
    if step is None or output == 2 * size:  # PyTorch doubles exactly, whatever the factor
        step = size / output
    step = np.float32(step)
    position = np.arange(output, dtype=np.float32) * step  # float32 as in PyTorch: rounding decides
    index = np.minimum(position.astype(int), size - 1)  # where a position is a whole number
    return (index[:, None] == np.arange(size)).astype(np.float64)


def apply_along(matrix, x, axis):
    """Multiply one axis by a matrix: out[…, i, …] = Σ_j matrix[i, j] · x[…, j, …].

    The result has x's dtype, and lies in memory in the same order of axes.
    """
    order = sorted(range(x.ndim), key=lambda a: -abs(x.strides[a]))  # slowest axis first
    lying = x.transpose(order)
    place = order.index(axis)
    before, after = lying.shape[:place], lying.shape[place + 1:]
    block = lying.reshape(math.prod(before), x.shape[axis], math.prod(after))
    matrix = matrix.astype(x.dtype)
    out = matrix @ block if after else (block[:, :, 0] @ matrix.T)
    return out.reshape(*before, len(matrix), *after).transpose(np.argsort(order))


class Upsample(NyangModel):
    """Resize maps: out = R · x · Cᵀ, with nearest or linear weights in R and C.

    Shapes: x (N, C, H, W) → out (N, C, OH, OW); give either size, or scale_factor with
    OH = ⌊H · scale_factor⌋; each is a number or a pair. mode is "nearest" or "bilinear".

    Raises:
        ValueError: for both or none of size and scale_factor, another mode, or no pixel left.
        ValueError, TypeError: where x is no batch of float maps.

    Source: PyTorch documentation, ``torch.nn.Upsample``.
    """

    def __init__(self, size=None, scale_factor=None, mode="nearest", align_corners=False):
        if (size is None) == (scale_factor is None):
            raise ValueError("Upsample needs either size or scale_factor, received "
                             f"size={size}, scale_factor={scale_factor}")
        if mode not in ("nearest", "bilinear") or (mode == "nearest" and align_corners):
            raise ValueError('Upsample knows mode="nearest", and mode="bilinear" with or without '
                             f"align_corners; received {mode!r}, align_corners={align_corners}")
        self.size, self.scale_factor = pair(size), pair(scale_factor)
        self.mode, self.align_corners = mode, align_corners
        whole = size is None and all(int(S) == S for S in self.scale_factor)
        self.copies = UpsampleNearest([int(S) for S in self.scale_factor]) if (
            whole and mode == "nearest") else None

    def matrix(self, have, size, factor):
        """Return the weights for one axis, (OH or OW, have)."""
        output = math.floor(have * factor) if size is None else size
        step = 1 / factor if size is None and output != have else None  # PyTorch's rule
        if output < 1:
            raise ValueError(f"Upsample would leave no pixel of {have}: use a larger scale_factor")
        if self.mode == "nearest":
            return nearest_matrix(have, output, step)
        return interpolation_matrix(have, output, self.align_corners, step)

    def forward(self, x):
        """Return out (N, C, OH, OW) for x (N, C, H, W)."""
        if self.copies:
            return self.copies.forward(x)
        expect_input(self, x, "N", "C", "H", "W")
        if x.dtype.kind != "f":
            raise TypeError(f"Upsample mixes floats, received {x.dtype}: use x.astype(np.float32)")
        R, C = map(self.matrix, x.shape[2:], self.size, self.scale_factor)
        self.save(R, C)
        return apply_along(C, apply_along(R, x, 2), 3)

    def backward(self, dout):
        """Return dx (N, C, H, W) = Rᵀ · dout · C."""
        if self.copies:
            return self.copies.backward(dout)
        R, C = self.saved()
        return apply_along(R.T, apply_along(C.T, dout, 3), 2)
