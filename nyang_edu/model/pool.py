# Exported from chapter 09. Change the notebook, then export again.
"""Pooling: replace each window of a map by its largest number, or by its mean."""

import math

import numpy as np

from nyang_edu.model.core import NyangModel, expect_input
from nyang_edu.utility.layout import from_rows, to_rows
from nyang_edu.utility.windows import output_size, pair


def pooled_size(size, kernel_size, stride, padding=0, dilation=1, ceil_mode=False):
    """Count the windows along one axis, as output_size; rounded up where ceil_mode is set.

    With ceil_mode the last window may hang over the edge, but must start inside the input or
    its left padding. Raises ValueError where no window fits.
    """
    room = size + 2 * padding - dilation * (kernel_size - 1) - 1
    if not ceil_mode or room <= -stride:
        return output_size(size, kernel_size, stride, padding, dilation)
    count = -(-room // stride) + 1
    return count - ((count - 1) * stride >= size + padding)


def expect_maps(layer, x):
    """Raise where x is no batch of float maps (N, C, H, W): ValueError, TypeError."""
    expect_input(layer, x, "N", "C", "H", "W")
    if x.dtype.kind != "f":
        raise TypeError(f"{type(layer).__name__} expects floats, received {x.dtype}: "
                        "convert the input with x.astype(np.float32)")


class Pool2d(NyangModel):
    """What poolings share: the windows' places, and a frame that holds the padding.

    Raises:
        ValueError: for sizes below 1, or a padding above half the window's span.
    """

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, *, ceil_mode=False):
        self.kernel_size, self.padding = pair(kernel_size), pair(padding)
        self.stride = pair(kernel_size if stride is None else stride)
        self.dilation, self.ceil_mode = pair(dilation), ceil_mode
        if min(*self.kernel_size, *self.stride, *self.dilation) < 1:
            raise ValueError(f"{type(self).__name__} needs kernel_size, stride and dilation of at "
                             f"least 1, received {kernel_size}, {stride} and {dilation}")
        for K, P, D in zip(self.kernel_size, self.padding, self.dilation):
            if not 0 <= 2 * P <= D * (K - 1) + 1:
                raise ValueError(f"padding may be at most half of a window, or some windows would "
                                 f"hold nothing else: received padding {P} for a span of "
                                 f"{D * (K - 1) + 1} pixels; use {(D * (K - 1) + 1) // 2} or less")

    def _axes(self, shape):
        """Yield (size, windows, K, S, P, D) for rows and columns."""
        axes = zip(shape[2:], self.kernel_size, self.stride, self.padding, self.dilation)
        for size, *axis in axes:
            yield size, pooled_size(size, *axis, self.ceil_mode), *axis

    def framed_shape(self, shape):
        """Return the shape of x (N, C, H, W) with its padding, and with what windows overhang."""
        sizes = [max(size + 2 * P, (count - 1) * S + D * (K - 1) + 1)
                 for size, count, K, S, P, D in self._axes(shape)]
        return *shape[:2], *sizes

    def places(self, shape):
        """List the K·K index tuples; framed[place] is one place of all windows (N, C, OH, OW)."""
        rows, columns = ([slice(k * D, k * D + (count - 1) * S + 1, S) for k in range(K)]
                         for _, count, K, S, _, D in self._axes(shape))
        return [(slice(None), slice(None), r, c) for r in rows for c in columns]

    def frame(self, x, fill):
        """Return x inside a frame of fill, or x itself where no frame is needed."""
        expect_maps(self, x)
        shape = self.framed_shape(x.shape)
        if shape == x.shape:
            return x
        framed = np.full_like(x, fill, shape=shape)
        self.unframe(framed, x.shape)[...] = x
        return framed

    def unframe(self, framed, shape):
        """View the part of a framed array that x of this shape fills."""
        (H, W), (PH, PW) = shape[2:], self.padding
        return framed[:, :, PH:PH + H, PW:PW + W]


class MaxPool2d(Pool2d):
    """Take the largest number of each window: out = max over t of x[place t].

    Shapes: x (N, C, H, W) → out (N, C, OH, OW), OH as pooled_size counts. Padding never wins.
    Of equal maxima the first, row by row, gets the gradient.

    Raises:
        ValueError, TypeError: where x is no batch of float maps, or no window fits.

    Source: Scherer, Müller, Behnke, Evaluation of Pooling Operations in Convolutional
    Architectures for Object Recognition (2010), section 3.
    """

    def forward(self, x):
        """Return out (N, C, OH, OW) for x (N, C, H, W)."""
        framed, places = self.frame(x, -np.inf), self.places(x.shape)
        out = framed[places[0]].copy(order="K")  # K keeps the memory order
        winner = np.zeros_like(out, dtype=np.min_scalar_type(len(places)))  # one byte is enough
        for t, place in enumerate(places):
            larger = framed[place] > out
            np.maximum(winner, larger * winner.dtype.type(t), out=winner)  # t grows: this sets t
            np.maximum(out, framed[place], out=out)
        self.save(winner, x.shape)
        return out

    def backward(self, dout):
        """Return dx (N, C, H, W): each dout at its window's winner."""
        winner, shape = self.saved()
        dout = from_rows(to_rows(dout))  # laid out as winner is; two layouts at once are slow
        dframed = np.zeros_like(dout, shape=self.framed_shape(shape))
        for t, place in enumerate(self.places(shape)):
            dframed[place] += dout * (winner == t)
        return self.unframe(dframed, shape)


class AvgPool2d(Pool2d):
    """Take the mean of each window: out = (sum over t of x[place t]) / divisor.

    Shapes: x (N, C, H, W) → out (N, C, OH, OW). The divisor counts the window's pixels, with
    those of the padding (count_include_pad) or without; never what hangs over beyond it.

    Raises:
        ValueError, TypeError: where x is no batch of float maps, or no window fits.

    Source: LeCun, Bottou, Bengio, Haffner, Gradient-Based Learning Applied to Document
    Recognition (1998), section II.A.
    """

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False,
                 count_include_pad=True):
        super().__init__(kernel_size, stride, padding, ceil_mode=ceil_mode)
        self.count_include_pad = count_include_pad

    def divisor(self, shape, dtype):
        """Return how many numbers each window counts, (1, 1, OH, OW)."""
        (H, W), (PH, PW) = shape[2:], self.padding
        ones = np.zeros((1, 1, *self.framed_shape(shape)[2:]), dtype)
        if self.count_include_pad:
            ones[:, :, :H + 2 * PH, :W + 2 * PW] = 1
        else:
            ones[:, :, PH:PH + H, PW:PW + W] = 1
        return sum(ones[place] for place in self.places(shape))

    def forward(self, x):
        """Return out (N, C, OH, OW) for x (N, C, H, W)."""
        framed = self.frame(x, 0)
        total = sum(framed[place] for place in self.places(x.shape))  # (N, C, OH, OW)
        divisor = self.divisor(x.shape, x.dtype)
        self.save(divisor, x.shape)
        return total / divisor

    def backward(self, dout):
        """Return dx (N, C, H, W): each dout in equal shares over its window."""
        divisor, shape = self.saved()
        share = dout / divisor
        dframed = np.zeros_like(dout, shape=self.framed_shape(shape))
        for place in self.places(shape):
            dframed[place] += share
        return self.unframe(dframed, shape)


def adaptive_bounds(size, output):
    """Split an axis into bins: start = ⌊i·size/output⌋, stop = ⌈(i+1)·size/output⌉.

    Args:
        size: pixels along the axis.
        output: the number of bins; it may be larger than size.

    Returns:
        starts, stops: (output,) integers; bin i holds the pixels starts[i] … stops[i] − 1.

    Raises:
        ValueError: where size or output is below 1.
    """
    if size < 1 or output < 1:
        raise ValueError("adaptive pooling needs at least one pixel and one bin, "
                         f"received {size} pixels and {output} bins")
    i = np.arange(output)
    return i * size // output, -(-(i + 1) * size // output)


class AdaptiveAvgPool2d(NyangModel):
    """Take the mean of each of OH · OW bins: out[i, j] = mean of x[rows of i, columns of j].

    Shapes: x (N, C, H, W) → out (N, C, OH, OW); output_size is an int or a pair, and None in it
    keeps the input's size.

    Raises:
        ValueError, TypeError: where x is no batch of float maps.

    Source: He, Zhang, Ren, Sun, Spatial Pyramid Pooling (2014), section 2.
    """

    def __init__(self, output_size):
        self.output_size = pair(output_size)

    def bins(self, shape):
        """Return the slices of all bins, one list for the rows and one for the columns."""
        wanted = (have if want is None else want for have, want in zip(shape[2:], self.output_size))
        return [[slice(int(a), int(b)) for a, b in zip(*adaptive_bounds(have, want))]
                for have, want in zip(shape[2:], wanted)]

    def forward(self, x):
        """Return out (N, C, OH, OW) for x (N, C, H, W)."""
        expect_maps(self, x)
        rows, columns = self.bins(x.shape)
        out = np.empty_like(x, shape=(*x.shape[:2], len(rows), len(columns)))
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                out[:, :, i, j] = x[:, :, r, c].mean(axis=(2, 3))
        self.save(x.shape)
        return out

    def backward(self, dout):
        """Return dx (N, C, H, W): each dout in equal shares over its bin."""
        shape = self.saved()
        dx = np.zeros_like(dout, shape=shape)
        rows, columns = self.bins(shape)
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                count = (r.stop - r.start) * (c.stop - c.start)
                dx[:, :, r, c] += dout[:, :, i, j, None, None] / count
        return dx


class _Single:
    """Run a 2-D pooling on (N, C, L), as maps of one row."""

    def forward(self, x):
        """Return out (N, C, OL) for x (N, C, L)."""
        expect_input(self, x, "N", "C", "L")
        return super().forward(x[:, :, None])[:, :, 0]

    def backward(self, dout):
        """Return dx (N, C, L)."""
        return super().backward(dout[:, :, None])[:, :, 0]


class MaxPool1d(_Single, MaxPool2d):
    """Take the largest number of each window: x (N, C, L) → out (N, C, OL); as MaxPool2d."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, *, ceil_mode=False):
        stride = kernel_size if stride is None else stride
        super().__init__((1, kernel_size), (1, stride), (0, padding), (1, dilation),
                         ceil_mode=ceil_mode)


class AvgPool1d(_Single, AvgPool2d):
    """Take the mean of each window: x (N, C, L) → out (N, C, OL); as AvgPool2d."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False,
                 count_include_pad=True):
        stride = kernel_size if stride is None else stride
        super().__init__((1, kernel_size), (1, stride), (0, padding), ceil_mode,
                         count_include_pad)


class AdaptiveAvgPool1d(_Single, AdaptiveAvgPool2d):
    """Take the mean of each bin: x (N, C, L) → out (N, C, output_size); as AdaptiveAvgPool2d."""

    def __init__(self, output_size):
        super().__init__((1, output_size))


class AdaptiveMaxPool2d(AdaptiveAvgPool2d):
    """Take the largest number of each bin; bins, shapes and errors as AdaptiveAvgPool2d.

    Of equal maxima the first, row by row, gets the gradient.
    """

    def forward(self, x):
        """Return out (N, C, OH, OW) for x (N, C, H, W)."""
        expect_maps(self, x)
        rows, columns = self.bins(x.shape)
        out = np.empty_like(x, shape=(*x.shape[:2], len(rows), len(columns)))
        winner = np.empty(out.shape, np.intp)  # counted inside the bin
        for i, j in np.ndindex(out.shape[2:]):
            window = x[:, :, rows[i], columns[j]]
            flat = window.reshape(*x.shape[:2], math.prod(window.shape[2:]))  # (N, C, bin)
            winner[:, :, i, j], out[:, :, i, j] = flat.argmax(axis=2), flat.max(axis=2)
        self.save(winner, x.shape)
        return out

    def backward(self, dout):
        """Return dx (N, C, H, W): each dout at its bin's winner."""
        winner, shape = self.saved()
        dx = np.zeros_like(dout, shape=shape)
        rows, columns = self.bins(shape)
        n, c = np.indices(shape[:2])
        for i, j in np.ndindex(dout.shape[2:]):
            row, column = np.divmod(winner[:, :, i, j], columns[j].stop - columns[j].start)
            dx[n, c, rows[i].start + row, columns[j].start + column] += dout[:, :, i, j]
        return dx


class GlobalAvgPool(NyangModel):
    """Take the mean of each map: x (N, C, H, W) or (N, C, L) → out (N, C).

    Raises:
        ValueError: where x has fewer than three axes.

    Source: Lin, Chen, Yan, Network In Network (2014), section 3.2.
    """

    def forward(self, x):
        """Return out (N, C)."""
        if x.ndim < 3:
            raise ValueError("GlobalAvgPool expects maps (N, C, H, W) or (N, C, L), received "
                             f"{x.shape}: apply it before Flatten")
        self.save(x.shape)
        return x.mean(axis=tuple(range(2, x.ndim)))

    def backward(self, dout):
        """Return dx of x's shape: each dout in equal shares over its map."""
        shape = self.saved()
        share = dout / math.prod(shape[2:])
        return np.broadcast_to(share.reshape(shape[:2] + (1,) * (len(shape) - 2)), shape).copy()
