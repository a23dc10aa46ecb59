# Exported from chapter 08. Change the notebook, then export again.
"""The windows of an image as matrices, a tile at a time, and the products over them."""

from itertools import product
from math import ceil, gcd
from typing import NamedTuple

import numpy as np

from nyang_edu.utility.team import scratch, share, thread_count

CACHE = 1 << 18  # numbers in one unfolded tile: a megabyte of float32
WIDE = 256  # columns of a matrix product from which on BLAS is at full speed


class Axis(NamedTuple):
    """One direction of a convolution: output k sees input start + k·stride + t·dilation."""

    taps: int
    out: int
    start: int
    stride: int
    dilation: int


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
        self.rows, self.columns = rows, columns
        self.phases = rows.dilation // gcd(rows.dilation, rows.stride)
        self.step = rows.stride // gcd(rows.dilation, rows.stride)

    def tiles(self, outputs):
        """List (phase, rows, columns, groups, outputs): what one matrix product computes."""
        _, G, C, _, N = self.x.shape
        OH, OW, threads = ceil(self.rows.out / self.phases), self.columns.out, thread_count()
        area = CACHE // max(1, self.columns.taps * C * N)  # rows · columns of one tile
        least = WIDE // max(1, N)
        wide = min(OW, max(1, least, area // (OH * self.step + self.rows.taps)))
        high = min(OH, max(1, least // wide, (area // wide - self.rows.taps) // self.step))
        some = max(1, area // (wide * (high * self.step + self.rows.taps)))
        shares = threads if OH * OW * N <= 4 * WIDE and outputs >= 64 else 1
        return [
            (o, g, phase, r, c)
            for o in blocks(outputs, ceil(outputs / shares))
            for g in blocks(G, some, threads)
            for phase in range(self.phases)
            for r in blocks(len(range(phase, self.rows.out, self.phases)), high, threads)
            for c in blocks(OW, wide, threads if OH == 1 else 1)
        ]

    def matrix(self, tile):
        """Unfold one tile: (groups, rows, taps·C, columns·N), neighbouring rows share memory."""
        _, groups, phase, rows, columns = tile
        (KH, _, top, SH, DH), (KW, _, left, SW, DW) = self.rows, self.columns
        x = self.x[:, groups]
        H, G, C, W, N = x.shape
        R, P = rows.stop - rows.start, columns.stop - columns.start
        Q = (R - 1) * self.step + KH
        inside, source = reach(top + (phase + rows.start * self.phases) * SH, DH, Q, H)
        if KH == KW == SW == 1 and left == 0 and columns.stop <= W and inside == slice(0, Q):
            x = x.reshape(H, G, C, W * N)[source, ..., columns.start * N : columns.stop * N]
            return x.swapaxes(0, 1)  # each pixel is its window
        buffer = scratch("windows", (G, Q, KW, C, P * N + 16), x.dtype)
        unfolded = buffer[..., : P * N].reshape(G, Q, KW, C, P, N).swapaxes(0, 1)
        if inside != slice(0, Q):
            unfolded[: inside.start] = unfolded[inside.stop :] = 0
        for j in range(KW):
            here, there = reach(left + columns.start * SW + j * DW, SW, P, W)
            target = unfolded[inside, :, j]  # (Q, G, C, P, N)
            target[..., here, :] = x[source, :, :, there]
            if here != slice(0, P):
                target[..., : here.start, :] = target[..., here.stop :, :] = 0
        g, q, _, c, one = buffer.strides
        strides = g, self.step * q, c, one
        return np.ndarray((G, R, KH * KW * C, P * N), x.dtype, buffer, 0, strides)

    def cut(self, out, tile):
        """See the tile's part of out (OH, O, OW, N) as (groups, rows, O, columns·N)."""
        outputs, groups, phase, rows, columns = tile
        OH, O, OW, N = out.shape
        G = self.x.shape[1]
        out = out.reshape(OH, G, O // G, OW * N)[phase :: self.phases]
        run = slice(columns.start * N, columns.stop * N)
        return out[rows, groups, outputs, run].swapaxes(0, 1)


def blocks(count, size, multiple=1):
    """Cut range(count) into a multiple of parts of almost equal length, at most size."""
    parts = min(count, multiple * ceil(count / size / multiple)) if count else 0
    return [slice(count * i // parts, count * (i + 1) // parts) for i in range(parts)]


def merge(a):
    """(G, R, K, P) → (G, 1, K, R·P): short rows side by side, for a better matrix product."""
    G, R, K, P = a.shape
    return a if R == 1 or P >= WIDE // 2 else a.swapaxes(1, 2).reshape(G, 1, K, R * P)


def correlate(x, matrix, rows, columns):
    """Multiply matrix (G, O, K) with all windows of x (H, C, W, N): out (OH, G·O, OW, N)."""
    G, O, K = matrix.shape
    out = np.empty((rows.out, G * O, columns.out, x.shape[3]), x.dtype)
    windows = Windows(x, G, rows, columns)
    tiles = windows.tiles(O)

    def work(first, last):
        for tile in tiles[first:last]:
            weight = matrix[tile[1], None, tile[0]]  # (G, 1, O, K)
            target, inputs = windows.cut(out, tile), windows.matrix(tile)
            joined = merge(inputs)
            if joined is inputs:
                np.matmul(weight, inputs, out=target)  # (G, R, O, P)
            else:
                g, R, o, P = target.shape
                target[...] = (weight @ joined).reshape(g, o, R, P).swapaxes(1, 2)

    share(work, len(tiles), out.size * K)
    return out


def correlate_weight(x, dout, groups, rows, columns):
    """Sum over all windows of x times their dout (OH, O, OW, N): (G, KH·KW·C/G, O/G)."""
    O, K = dout.shape[1] // groups, rows.taps * columns.taps * x.shape[1] // groups
    windows = Windows(x, groups, rows, columns)
    tiles = windows.tiles(O)

    def work(first, last):
        total = np.zeros((groups, K, O), x.dtype)
        for tile in tiles[first:last]:
            inputs, d = merge(windows.matrix(tile)), merge(windows.cut(dout, tile))
            total[tile[1], :, tile[0]] += (inputs @ d.swapaxes(2, 3)).sum(axis=1)  # (G, K, O)
        return total

    return sum(share(work, len(tiles), dout.size * K))


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
        K = h_axis.taps * w_axis.taps * O // groups
        matrix = weight[:, :, h_taps, w_taps].reshape(groups, C, K)
        part = correlate(dout, matrix, h_axis, w_axis)
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
