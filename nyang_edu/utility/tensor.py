# Exported from chapter 01. Change the notebook, then export again.
"""What every layer does with arrays: shapes, strides, labels, scales and windows.

Nothing here knows about learning. Windows are views: they cost no memory, and read
the array itself.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided


def contiguous_strides(shape, itemsize):
    """Compute the strides of a C-contiguous array: s_k = itemsize · Π_{j>k} n_j.

    Args:
        shape: the sizes of the axes; () for an array without axes.
        itemsize: bytes of one element.

    Returns:
        a tuple of ints, one stride in bytes per axis.

    Source: NumPy documentation, "Internal memory layout of an ndarray".
    """
    strides, stride = [], int(itemsize)
    for size in reversed(shape):
        strides.append(stride)
        stride *= int(size)
    return tuple(reversed(strides))


def broadcast_shape(a, b):
    """Compute the shape of the result when arrays of shapes a and b meet.

    Args:
        a: a shape.
        b: another; both are aligned at the right, and missing axes count as 1.

    Returns:
        the common shape, a tuple of ints.

    Raises:
        ValueError: where two sizes differ and neither is 1; names it as "axis -2".

    Source: NumPy documentation, "General broadcasting rules".
    """
    rank = max(len(a), len(b))
    one, two = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    shape = []
    for axis in range(1, rank + 1):
        m, n = one[-axis], two[-axis]
        if m != n and 1 not in (m, n):
            raise ValueError(
                f"sizes must be equal or 1, received {m} and {n} at axis -{axis} of "
                f"{a} and {b}: insert an axis with None, or transpose one of them"
            )
        shape.append(n if m == 1 else m)
    return tuple(reversed(shape))


def one_hot(labels, classes, dtype=np.float32):
    """Turn labels into rows with a single 1: out[n, k] = 1 where labels[n] = k, else 0.

    Args:
        labels: (N,) integers from 0 to classes - 1; N may be 0.
        classes: the number of columns.
        dtype: the dtype of the result.

    Returns:
        out (N, classes).

    Raises:
        TypeError: where labels are not integers.
        ValueError: where labels are not (N,), or lie outside 0 to classes - 1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must have shape (N,), received {labels.shape}: "
                         "use labels.ravel()")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, received {labels.dtype}: "
                        "use labels.astype(int)")
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"labels must lie in 0 to {classes - 1}, received {labels.min()} to "
            f"{labels.max()}: count classes from 0, and count all of them"
        )
    return (labels[:, None] == np.arange(classes)).astype(dtype)  # (N, classes)


def standardize(x, axis, eps=1e-8):
    """Scale to mean 0 and variance 1: (x - mean) / std with std = √(var + eps).

    Args:
        x: a float array of any shape.
        axis: an int or a tuple of ints, the axes that mean and variance go over.
        eps: added to the variance, so that constant features become 0.

    Returns:
        standardized, of x's shape and dtype; mean and std, with size 1 along ``axis``:
        (test - mean) / std treats other data in the same way.

    Source: LeCun, Bottou, Orr, Müller, Efficient BackProp (1998), section 4.3.
    """
    mean = x.mean(axis=axis, keepdims=True)
    std = np.sqrt(x.var(axis=axis, keepdims=True) + eps)
    return (x - mean) / std, mean, std


def sliding_windows(x, size, step=1):
    """View the windows of the last axis: out[..., p, q] = x[..., p·step + q].

    Args:
        x: (..., L), contiguous or not.
        size: elements of a window.
        step: from the start of one window to the next.

    Returns:
        a read-only view (..., count, size); count = (L - size) // step + 1.

    Raises:
        ValueError: where size or step is below 1, or size is larger than the axis.

    Source: NumPy documentation, ``numpy.lib.stride_tricks.as_strided``.
    """
    L = x.shape[-1]
    if not 1 <= size <= L or step < 1:
        raise ValueError(
            f"windows need 1 <= size <= {L} and step >= 1, received size {size}, "
            f"step {step}: take smaller windows or pad the array first"
        )
    *lead, stride = x.strides
    shape = (*x.shape[:-1], (L - size) // step + 1, size)
    return as_strided(x, shape, (*lead, stride * step, stride), writeable=False)


def sliding_windows_2d(x, size, step=1):
    """View the windows of the last two axes.

    out[..., a, b, i, j] = x[..., a·SH + i, b·SW + j]

    Args:
        x: (..., H, W), contiguous or not.
        size: of a window, an int or a pair (KH, KW).
        step: from one window to the next, an int or a pair (SH, SW).

    Returns:
        a read-only view (..., OH, OW, KH, KW); nothing is copied.

    Raises:
        ValueError: where a size or step is below 1, or a size is larger than its axis.

    Source: NumPy documentation, ``numpy.lib.stride_tricks.as_strided``.
    """
    KH, KW = (size, size) if np.ndim(size) == 0 else size
    SH, SW = (step, step) if np.ndim(step) == 0 else step
    H, W = x.shape[-2:]
    if not (1 <= KH <= H and 1 <= KW <= W) or min(SH, SW) < 1:
        raise ValueError(
            f"windows must fit into ({H}, {W}) with steps of at least 1, received "
            f"size ({KH}, {KW}), step ({SH}, {SW}): take smaller windows or pad first"
        )
    *lead, row, column = x.strides
    OH, OW = (H - KH) // SH + 1, (W - KW) // SW + 1
    strides = (*lead, SH * row, SW * column, row, column)
    return as_strided(x, (*x.shape[:-2], OH, OW, KH, KW), strides, writeable=False)
