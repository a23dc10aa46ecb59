"""How a batch lies in memory: rows, channels, columns, samples.

Layers speak (N, C, H, W). Underneath, an array that they return is a view of an (H, C, W, N)
buffer: all samples and columns of one row and channel are then one long run of numbers.
"""

import numpy as np

from nyang_edu.utility.team import share

BLOCK = 1 << 19  # numbers in one block of channels; smaller ones make the threads meet too often


def to_rows(x):
    """Turn (N, C, H, W) into (H, C, W, N): free where a layer made x, else a copy.

    Signals (N, C, L) become (1, C, L, N), features (N, C) become (1, C, 1, N).
    """
    if x.ndim < 4:
        x = x[:, :, None] if x.ndim == 3 else x[:, :, None, None]
    rows = x.transpose(2, 1, 3, 0)  # (H, C, W, N)
    run = x.shape[0] * x.itemsize, x.itemsize
    return rows if rows.strides[2:] == run else np.ascontiguousarray(rows)


def from_rows(rows, ndim=4):
    """See an (H, C, W, N) buffer as (N, C, H, W), as (N, C, L) or as (N, C), without a copy."""
    x = rows.transpose(3, 1, 0, 2)
    return x if ndim == 4 else x[:, :, 0] if ndim == 3 else x[:, :, 0, 0]


def each_channel(work, shape):
    """Call work(channels) for blocks of the channels of (H, C, W, N), on several threads.

    A block stays in the caches, so work may go over it several times.
    """
    H, C, W, N = shape
    size = max(1, BLOCK // max(1, H * W * N))

    def blocks(first, last):
        for start in range(first, last, size):
            work(slice(start, min(start + size, last)))

    share(blocks, C, 4 * H * C * W * N)


def elementwise(ufunc, *arrays):
    """Return ufunc(*arrays) of arrays of one shape, part by part on several threads.

    The result has their dtype, and lies in memory as the first of them.
    """
    order = sorted(range(arrays[0].ndim), key=lambda axis: -abs(arrays[0].strides[axis]))
    lying = [a.transpose(order) for a in arrays]  # the slowest axis first: it is shared out
    out = np.empty(lying[0].shape, np.result_type(*arrays))

    def work(first, last):
        ufunc(*(a[first:last] for a in lying), out=out[first:last])

    share(work, len(out), out.size)
    return out.transpose(np.argsort(order))
