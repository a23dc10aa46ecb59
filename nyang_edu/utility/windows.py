# Exported from chapter 02. Change the notebook, then export again.
"""Sliding windows of a batch as one matrix, and back: what convolution runs on."""

import numpy as np

from nyang_edu.utility.tensor import sliding_windows_2d


def pair(value):
    """Return (value, value) for an int, and a pair (height, width) as it is."""
    if np.ndim(value) == 0:
        return value, value
    if len(value) != 2:
        raise ValueError(f"expects an int or a pair (height, width), received {value}")
    return tuple(value)


def output_size(size, kernel_size, stride=1, padding=0, dilation=1):
    """Count the windows along one axis: ⌊(size + 2P − D(K−1) − 1) / S⌋ + 1.

    Args:
        size: length of the axis, without padding.
        kernel_size, stride, padding, dilation: ints K, S, P, D.

    Returns:
        an int, at least 1.

    Raises:
        ValueError: where the kernel spans more than the padded input (names both), or
            K, S or D is below 1, or P below 0.

    Source: Dumoulin, Visin, A guide to convolution arithmetic (2016), 2.4 and 5.1.
    """
    if min(kernel_size, stride, dilation) < 1 or padding < 0:
        raise ValueError(
            "kernel_size, stride and dilation must be at least 1 and padding at least 0, "
            f"received {kernel_size}, {stride}, {dilation} and {padding}"
        )
    padded = size + 2 * padding
    span = dilation * (kernel_size - 1) + 1
    if span > padded:
        raise ValueError(
            f"a kernel must fit into the padded input: it spans {span} pixels, "
            f"the input has {padded}; use a smaller kernel or dilation, or more padding"
        )
    return (padded - span) // stride + 1


def pad2d(x, padding):
    """Lay zeros around the last two axes.

    Args:
        x: (…, H, W), any dtype; it is left unchanged.
        padding: an int or a pair (PH, PW): rows above and below, columns at the sides.

    Returns:
        (…, H + 2·PH, W + 2·PW), of x's dtype.
    """
    PH, PW = pair(padding)
    widths = [(0, 0)] * (x.ndim - 2) + [(PH, PH), (PW, PW)]
    return np.pad(x, widths)


def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    """Lay all windows of x into the rows of a matrix.

    Args:
        x: (N, C, H, W).
        kernel_size, stride, padding, dilation: ints or pairs (height, width).

    Returns:
        columns (N·OH·OW, C·KH·KW), rows ordered (n, oh, ow), columns (c, kh, kw).

    Raises:
        ValueError: where x has another rank, or the kernel does not fit.

    Source: Chellapilla, Puri, Simard, High Performance Convolutional Neural Networks
    for Document Processing (2006), on unrolling convolution.
    """
    if x.ndim != 4:
        raise ValueError(f"im2col expects (N, C, H, W), received {x.shape}: "
                         "add what is missing, as x[None, None] does for one picture")
    N, C, H, W = x.shape
    (KH, KW), (SH, SW) = pair(kernel_size), pair(stride)
    (PH, PW), (DH, DW) = pair(padding), pair(dilation)
    OH, OW = output_size(H, KH, SH, PH, DH), output_size(W, KW, SW, PW, DW)
    span = DH * (KH - 1) + 1, DW * (KW - 1) + 1
    windows = sliding_windows_2d(pad2d(x, padding), span)
    windows = windows[:, :, ::SH, ::SW, ::DH, ::DW]  # (N, C, OH, OW, KH, KW)
    windows = windows.transpose(0, 2, 3, 1, 4, 5)  # (N, OH, OW, C, KH, KW)
    return windows.reshape(N * OH * OW, C * KH * KW)


def col2im(columns, x_shape, kernel_size, stride=1, padding=0, dilation=1):
    """Add each window back to where im2col took it from: the transpose of im2col.

    Args:
        columns: (N·OH·OW, C·KH·KW), as im2col lays it out.
        x_shape: (N, C, H, W), the shape of im2col's input.
        kernel_size, stride, padding, dilation: ints or pairs, as for im2col.

    Returns:
        x (N, C, H, W): at each pixel the sum over all windows that hold it.

    Raises:
        ValueError: where columns do not fit to the sizes, or the kernel does not fit.
    """
    N, C, H, W = x_shape
    (KH, KW), (SH, SW) = pair(kernel_size), pair(stride)
    (PH, PW), (DH, DW) = pair(padding), pair(dilation)
    OH, OW = output_size(H, KH, SH, PH, DH), output_size(W, KW, SW, PW, DW)
    if columns.shape != (N * OH * OW, C * KH * KW):
        raise ValueError(
            f"col2im expects columns ({N * OH * OW}, {C * KH * KW}) for x {x_shape}, "
            f"received {columns.shape}: give it the same sizes as im2col"
        )
    windows = columns.reshape(N, OH, OW, C, KH, KW).transpose(0, 3, 4, 5, 1, 2)
    padded = np.zeros((N, C, H + 2 * PH, W + 2 * PW), columns.dtype)
    for kh in range(KH):
        for kw in range(KW):
            rows = slice(kh * DH, kh * DH + SH * OH, SH)
            cols = slice(kw * DW, kw * DW + SW * OW, SW)
            padded[:, :, rows, cols] += windows[:, :, kh, kw]  # (N, C, OH, OW)
    return padded[:, :, PH : PH + H, PW : PW + W].copy()
