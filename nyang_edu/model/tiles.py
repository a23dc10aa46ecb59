# Exported from chapter 08. Change the notebook, then export again.
"""The windows of an image as matrices, a tile at a time, and the products over them."""

from collections import namedtuple
from itertools import product
from math import ceil, gcd

import numpy as np

from nyang_edu.utility.team import scratch, share, thread_count

CACHE = 1 << 18  # numbers in one unfolded tile: a megabyte of float32
WIDE = 256  # columns of a matrix product from which on BLAS is at full speed


# One direction of a convolution: output k of out sees input start + k·stride + t·dilation, t < taps
Axis = namedtuple("Axis", "taps out start stride dilation")


def reach(start, step, count, size):
    """Slices (k, i) of all k < count whose i = start + k·step lies inside range(size)."""
    low = min(max(0, -(start // step)), count)
    high = max(low, min(count, (size - 1 - start) // step + 1))
    return slice(low, high), slice(start + low * step, start + high * step, step)


class Windows:
    """The windows of x (H, C, W, N) as matrices, one tile of the output at a time."""

    def __init__(self, x, groups, rows, columns):
        H, C, W, N = x.shape
        self.x = x.reshape(H, groups, C // groups, W, N)
        if rows.taps == 1:
            rows = rows._replace(dilation=rows.stride)  # skip what no window sees
        self.rows, self.columns, self.few = rows, columns, rows.out * columns.out * N <= 4 * WIDE
        self.phases = rows.dilation // gcd(rows.dilation, rows.stride)
        self.step = rows.stride // gcd(rows.dilation, rows.stride)

    def tiles(self):
        """List (groups, phase, rows, columns): outputs whose windows fit into the cache."""
        _, G, C, _, N = self.x.shape
        OH, OW, threads = ceil(self.rows.out / self.phases), self.columns.out, thread_count()
        area = CACHE // max(1, self.columns.taps * C * N)  # rows · columns of one tile
        least = WIDE // max(1, N)
        wide = min(OW, max(1, least, area // (OH * self.step + self.rows.taps)))
        high = min(OH, max(1, least // wide, (area // wide - self.rows.taps) // self.step))
        some = max(1, area // (wide * (high * self.step + self.rows.taps)))
        return [
            (g, phase, r, c)
            for g in blocks(G, some, threads)
            for phase in range(self.phases)
            for r in blocks(len(range(phase, self.rows.out, self.phases)), high, threads)
            for c in blocks(OW, wide, threads if OH == 1 else 1)
        ]

    def matrix(self, tile, channels=slice(None)):
        """Unfold one tile: (groups, rows, taps·C, columns·N), neighbouring rows share memory."""
        groups, phase, rows, columns = tile
        (KH, _, top, SH, DH), (KW, _, left, SW, DW) = self.rows, self.columns
        x = self.x[:, groups, channels]
        H, G, C, W, N = x.shape
        R, P = rows.stop - rows.start, columns.stop - columns.start
        Q = (R - 1) * self.step + KH
        inside, source = reach(top + (phase + rows.start * self.phases) * SH, DH, Q, H)
        if KH == KW == SW == 1 and left == 0 and columns.stop <= W and inside == slice(0, Q):
            x = x.reshape(H, G, C, W * N)[source, ..., columns.start * N : columns.stop * N]
            return x.swapaxes(0, 1)  # each pixel is its window
        buffer = scratch("windows", (G, Q, KW, C, P * N + 16), x.dtype)
        unfolded = buffer[..., : P * N].reshape(G, Q, KW, C, P, N).swapaxes(0, 1)
        unfolded[: inside.start] = unfolded[inside.stop :] = 0
        for j in range(KW):
            here, there = reach(left + columns.start * SW + j * DW, SW, P, W)
            target = unfolded[inside, :, j]  # (Q, G, C, P, N)
            target[..., here, :] = x[source, :, :, there]
            target[..., : here.start, :] = target[..., here.stop :, :] = 0
        g, q, _, c, one = buffer.strides
        shape, strides = (G, R, KH * KW * C, P * N), (g, self.step * q, c, one)
        return np.ndarray(shape, x.dtype, buffer, 0, strides)

    def cut(self, out, tile):
        """See the tile's part of out (OH, G, O, OW, N) as (groups, rows, O, columns·N)."""
        groups, phase, rows, columns = tile
        part = out[phase :: self.phases][rows, groups, :, columns]
        R, G, O, P, N = part.shape
        return part.reshape(R, G, O, P * N).swapaxes(0, 1)


def blocks(count, size, multiple=1):
    """Cut range(count) into a multiple of parts of almost equal length, at most size."""
    parts = min(count, multiple * ceil(count / size / multiple)) if count else 0
    return [slice(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def correlate(x, matrix, rows, columns):
    """Multiply matrix (G, O, K) with all windows of x (H, C, W, N): out (OH, G·O, OW, N)."""
    G, O, K = matrix.shape
    windows, N = Windows(x, G, rows, columns), x.shape[3]
    out = np.empty((rows.out, G, O, columns.out, N), x.dtype)
    parts = thread_count() if windows.few and O >= 64 else 1
    tasks = list(product(blocks(O, ceil(O / parts)), windows.tiles()))

    def work(first, last):
        for o, tile in tasks[first:last]:
            weight = matrix[tile[0], None, o]  # (G, 1, O, K)
            target = windows.cut(out[:, :, o], tile)  # (G, R, O, P), a view
            np.matmul(weight, windows.matrix(tile), out=target)

    share(work, len(tasks), out.size * K)
    return out.reshape(rows.out, G * O, columns.out, N)


def correlate_weight(x, dout, groups, rows, columns):
    """Sum over all windows of x times their dout (OH, O, OW, N): (G, KH·KW, C/G, O/G)."""
    windows, N = Windows(x, groups, rows, columns), x.shape[3]
    C, O, taps = x.shape[1] // groups, dout.shape[1] // groups, rows.taps * columns.taps
    dout, tiles = dout.reshape(rows.out, groups, O, columns.out, N), windows.tiles()

    def total(tiles, channels=slice(0, C)):
        total = np.zeros((groups, taps, channels.stop - channels.start, O), x.dtype)
        for tile in tiles:
            d = windows.cut(dout, tile).swapaxes(2, 3)  # (G, R, P, O)
            products = windows.matrix(tile, channels) @ d  # (G, R, K, O)
            products = products if products.shape[1] == 1 else products.sum(axis=1)
            total[tile[0]] += products.reshape(-1, *total.shape[1:])
        return total

    if windows.few and C >= 64:  # each thread makes its channels' share of a large total
        parts = share(lambda a, b: total(tiles, slice(a, b)), C, dout.size * taps * C)
        return np.concatenate(parts, axis=2)
    return sum(share(lambda a, b: total(tiles[a:b]), len(tiles), dout.size * taps * C))


def correlate_back(dout, weight, size, groups, rows, columns):
    """Send dout (OH, O, OW, N) back through weight (KH, KW, C/G, O): dx (H, C, W, N).

    With stride S the inputs r, r+S, r+2S, … see one subset of the taps, always the same: each
    of the S² sets is a correlation with stride 1 of its own, with those taps in reverse.
    """
    KH, KW, C, O = weight.shape
    weight = weight.reshape(KH, KW, C, groups, O // groups).transpose(3, 2, 0, 1, 4)
    dx = None if rows.stride == columns.stride == 1 else np.zeros(
        (size[0], groups * C, size[1], dout.shape[3]), dout.dtype)
    for (h, h_taps, h_axis), (w, w_taps, w_axis) in product(
            reverse(rows, size[0]), reverse(columns, size[1])):
        taps = np.ascontiguousarray(weight[:, :, h_taps, w_taps])  # BLAS reads forwards only
        part = correlate(dout, taps.reshape(groups, C, -1), h_axis, w_axis)
        if dx is None:  # stride 1: one set holds all inputs
            return part
        dx[h, :, w] = part
    return dx


def reverse(axis, size):
    """Yield (inputs, taps, Axis) for each set of inputs that see the same taps."""
    K, _, start, S, D = axis
    for r in range(min(S, size)):
        taps = [i for i in range(K) if (start + i * D - r) % S == 0]
        if taps:
            first = (r - start - taps[-1] * D) // S
            count = len(range(r, size, S))
            yield (slice(r, None, S), slice(taps[-1], None, -(S // gcd(D, S))),
                   Axis(len(taps), count, first, 1, D // gcd(D, S)))
