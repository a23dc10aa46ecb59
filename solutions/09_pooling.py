# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 09 · Pooling and resampling
#
# **You have** windows and `output_size` (02), the layer contract (03), a training loop (06) and
# convolution (08).
#
# **You will build** max, average and adaptive pooling, and the way back up: nearest and bilinear
# upsampling, each with its exact gradient.
#
# **It unlocks** every architecture from 14 on. All of them shrink their maps, and U-Net (19) enlarges
# them again.
#
# Time: about 120 minutes. Eight exercises, ★ to ★★★.

# %%
from timeit import timeit

import matplotlib.pyplot as plt

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.plot import BLUE, GREEN, GREY, ORANGE, draw_images, draw_matrix, use_style
from nyang_edu.utility.windows import im2col

use_style()

# %% [markdown]
# ## Why: one pixel to the right
#
# Move a digit by a single pixel. To you nothing has happened. To a layer that compares pixel with pixel, a great deal has.
# In the lower row each 4 × 4 block was replaced by its largest number.

# %% tags=["nbval-check-output"]
import numpy as np

images, labels = load_digits_5k()
pixels = images[:, None].astype(np.float32) / 255  # (5000, 1, 28, 28)
moved = np.roll(pixels, 1, axis=3)


def block_max(x):
    """Return the largest number of each 4 × 4 block."""
    N, C, H, W = x.shape
    return x.reshape(N, C, H // 4, 4, W // 4, 4).max(axis=(3, 5))


fig, axes = plt.subplots(2, 3, figsize=(6, 4.2))
for row, (a, b) in zip(axes, [(pixels, moved), (block_max(pixels), block_max(moved))]):
    draw_images(row, [a[2600, 0], b[2600, 0], abs(a - b)[2600, 0]],
                ["digit", "moved by one pixel", "difference"])
    change = np.linalg.norm(a - b) / np.linalg.norm(a)
    print(f"{a[0].size} numbers a digit; the move changes them by {change:.0%} of their size")
plt.show()

# %% [markdown]
# This is *pooling*: a window of a map is replaced by one number. It buys three things.
#
# - **Tolerance.** A small move changes the result less. Less, not nothing: look at the lower difference.
# - **Cost.** Later layers work on a sixteenth of the numbers.
# - **Reach.** A 3 × 3 window on the lower map sees 12 × 12 pixels of the upper one: its *receptive field*.
#
# The price is place: where in its block the number stood is lost.
#
# ## Idea: a map by hand
#
# A 4 × 4 map, windows of 2 × 2. *Max pooling* keeps the largest number of each window, *average pooling* the mean. On
# the way back `dout` holds one number per window. To which pixels does it belong?

# %%
small = np.array([[1.0, 5, 2, 0], [3, 4, 1, 6], [7, 2, 0, 1], [0, 1, 3, 2]])
windows = small.reshape(2, 2, 2, 2).swapaxes(1, 2)  # (OH, OW, 2, 2)
dout = np.array([[10.0, 20], [30, 40]])
spread = np.kron(dout, np.ones((2, 2)))
first = [[0, 1, 0, 0], [0, 0, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0]]
checker = np.kron([[1, 0], [0, 1]], np.ones((2, 2)))

fig, axes = plt.subplots(2, 4, figsize=(9, 4.4), width_ratios=[4, 2, 2, 4])
for row, name, out, back, mark, tint in [
        (axes[0], "max", windows.max((2, 3)), spread * first, first, np.ones((2, 2))),
        (axes[1], "average", windows.mean((2, 3)), spread / 4, checker, np.eye(2))]:
    draw_matrix(row[0], small, "x", highlight=mark)
    draw_matrix(row[1], out, f"out, {name}", highlight=tint)
    draw_matrix(row[2], dout, "dout", highlight=tint)
    draw_matrix(row[3], back, f"dx, {name}", highlight=mark)
plt.show()

# %% [markdown]
# Orange above: the winner of each window. Orange below: two of the four windows.
#
# The maximum depends on one pixel only. If the winner rises a little, the output rises as much. If another pixel does,
# nothing happens. So the winner gets all of `dout`. The mean depends on all four, a quarter each.
#
# ## Maths
#
# Let window $(i, j)$ start at pixel $(iS, jS)$ and hold $K × K$ pixels. Number the *places* in a window by
# $t = k_h K + k_w$, row by row. Then, for one element,
#
# $$\text{out}_{ij} = \max_{t} x_{iS + k_h,\; jS + k_w}, \qquad
# \text{dx}_{iS + k_h,\; jS + k_w} \mathrel{+}= \text{dout}_{ij}\,[\,t = \text{winner}_{ij}\,].$$
#
# The bracket is 1 where its condition holds, else 0. The average has the constant $1/K^2$ in its place. Where windows
# overlap, one pixel can win in several of them. Hence the $+$: it collects from each.
#
# | array | shape | what it holds |
# |---|---|---|
# | `x`, `dx` | (N, C, H, W) | a batch of maps |
# | `out`, `dout` | (N, C, OH, OW) | one number per window |
# | `winner` | (N, C, OH, OW) | the place $t$ of the maximum |
#
# Each channel is pooled by itself. `OH` and `OW` come from `output_size` (02). Nothing is learned.
#
# ### Exercise 1 ★★: max pooling, one window at a time
#
# Slow and clear: loop over all outputs. It is the yardstick for the fast one. `x` may hold negative numbers only.

# %%
#| default_exp model.pool
#| export
"""Pooling: replace each window of a map by its largest number, or by its mean."""

import math

import numpy as np

from nyang_edu.model.core import NyangModel, expect_input
from nyang_edu.utility.layout import from_rows, to_rows
from nyang_edu.utility.windows import output_size, pair

# %% exercise="max_pool_loops" points=2 stars=2
def max_pool_loops(x, size, stride):
    """Take the largest number of each window.

    Args:
        x: (N, C, H, W).
        size: K, rows and columns of a window.
        stride: S, the step from one window to the next.

    Returns:
        out (N, C, OH, OW), of x's dtype.
    """
    ### BEGIN SOLUTION for every output: cut its window out of x and take the largest number
    N, C, H, W = x.shape
    OH, OW = output_size(H, size, stride), output_size(W, size, stride)
    out = np.empty((N, C, OH, OW), x.dtype)
    for n, c, i, j in np.ndindex(N, C, OH, OW):
        top, left = i * stride, j * stride
        out[n, c, i, j] = x[n, c, top:top + size, left:left + size].max()
    return out
    ### END SOLUTION

# %%
check(max_pool_loops)

# %% probe="max_pool_loops"
def probe(max_pool_loops, rng):
    N, C = rng.integers(2, 4, 2)
    H, W = int(rng.integers(8, 10)), int(rng.integers(10, 13))
    x = rng.normal(size=(N, C, H, W))
    yield "out where windows overlap", max_pool_loops(x, 4, 2)
    yield "out where pixels are left out", max_pool_loops(x, 2, 3)
    yield "out of negative numbers", max_pool_loops(-abs(x) - 0.5, 4, 2)
    yield "out in float32", max_pool_loops(x.astype(np.float32), 4, 2)

# %% mistakes="max_pool_loops"
mistake("the windows start one pixel apart", "Window i starts at pixel i * stride, not at pixel i. Otherwise most of the map is "
        "never looked at.", swap=("top, left = i * stride, j * stride", "top, left = i, j"))
mistake("a window is as long as the stride", "A window begins at i * stride and holds size pixels: it ends at i * stride + size.",
        swap=("x[n, c, top:top + size, left:left + size]", "x[n, c, top:top + stride, left:left + stride]"))
mistake("the mean of the window is taken", "Max pooling keeps the largest number: use max.", swap=("].max()", "].mean()"))
mistake("the maximum starts at zero", "In a window of negative numbers zero would win, and it is not in there. Start with "
        "a number of the window itself.", swap=("left:left + size].max()", "left:left + size].max(initial=0)"))
mistake("the maximum runs over all channels", "Each channel is pooled by itself. Your window must be two-dimensional: pick "
        "sample n and channel c.", swap=("x[n, c, top", "x[n, :, top"))
mistake("the number of windows is the size divided by K", "How many windows there are depends on the stride. Use "
        "output_size(H, size, stride).",
        swap=("output_size(H, size, stride), output_size(W, size, stride)", "H // size, W // size"))
mistake("the result is always float64", "A float32 map must stay float32. Give x.dtype to the array that you make.",
        swap=("np.empty((N, C, OH, OW), x.dtype)", "np.empty((N, C, OH, OW))"))
mistake("the number of windows is the size divided by the stride", "That counts windows that begin inside the map, also those that "
        "end outside. Use output_size(H, size, stride).",
        swap=("output_size(H, size, stride), output_size(W, size, stride)", "H // stride, W // stride"))
mistake("one window too few is counted", "(H - size) // stride counts the steps from the first window to the last. There is one "
        "window more than there are steps.",
        swap=("output_size(H, size, stride), output_size(W, size, stride)", "(H - size) // stride, (W - size) // stride"))
mistake("the windows stand side by side", "Window i starts at pixel i * stride. How long it is does not matter for where the next one "
        "begins.", swap=("top, left = i * stride, j * stride", "top, left = i * size, j * size"))
mistake("a window is one pixel too short", "A slice stops before its end: top:top + size holds size pixels.",
        swap=("x[n, c, top:top + size, left:left + size]", "x[n, c, top:top + size - 1, left:left + size - 1]"))
mistake("a window is one pixel too long", "A slice stops before its end: top:top + size holds size pixels already.",
        swap=("x[n, c, top:top + size, left:left + size]", "x[n, c, top:top + size + 1, left:left + size + 1]"))
mistake("the smallest number is taken", "Max pooling keeps the largest number: use max.", swap=("].max()", "].min()"))
mistake("the place of the maximum is returned", "argmax says where the largest number stands. The number itself is asked for: use max.",
        swap=("].max()", "].argmax()"))

# %% [markdown] hints="max_pool_loops"
# How many windows fit into `H` rows? Where does window number `i` begin, and where does it end?
#
# ---
#
# Window (i, j) holds the rows i·S … i·S + K − 1 and the columns j·S … j·S + K − 1 of one channel of one sample.
# `np.ndindex(N, C, OH, OW)` walks over all outputs.
#
# ---
#
# ```python
# OH, OW = output_size(H, size, stride), ...
# out = np.empty((N, C, OH, OW), x.dtype)
# for n, c, i, j in np.ndindex(N, C, OH, OW):
#     top, left = ...
#     out[n, c, i, j] = x[n, c, top:..., left:...].max()
# return out
# ```

# %% [markdown]
# ## Fast: one place at a time
#
# The loop runs N · C · OH · OW times. Turn it around. A window has only K² places. Take *one place of all windows
# at once*: a view with steps, as in `col2im`. The orange pixels of each picture are one array of out's shape. So K² array
# operations do the work of all the loops.

# %%
fig, axes = plt.subplots(1, 4, figsize=(9, 2.3))
for t, ax in enumerate(axes):
    top, left = divmod(t, 2)
    mark = np.zeros((4, 4), bool)
    mark[top::2, left::2] = True
    draw_matrix(ax, small, f"t = {t}: x[{top}::2, {left}::2]", highlight=mark)
plt.show()

# %% [markdown]
# `Pool2d`, the base of the next two layers, is given. `places` returns these views as index tuples, for any stride,
# padding and dilation. `frame` lays the padding around `x`, filled with what you say, and `unframe` cuts it off.
#
# `ceil_mode` rounds the number of windows up: the last one may hang over the edge, and the frame grows to hold it. New
# arrays come from `np.empty_like`, `zeros_like` or `full_like`, which keep the order in which `x` lies in memory.

# %%
#| export
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

# %%
#| export
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

# %% [markdown]
# ### Exercise 2 ★★★: MaxPool2d
#
# Forward goes through the places with a running maximum, and notes in `winner` which place holds it. Three traps wait.
#
# - **The frame.** Padding must never win. With zeros it would, in a window of negative numbers. What is smaller than any number?
# - **Ties.** Where several pixels are largest, one gets the gradient: the *first* place, as in PyTorch.
# - **Overlap.** A pixel may win in several windows, so gradients are added.
#
# The module imports `to_rows` and `from_rows`. They only lay an array out in memory as the layers' own maps are (chapter 08). You need neither:
# the numbers are the same without them.

# %% exercise="MaxPool2d" points=5 stars=3
#| export
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
        ### BEGIN SOLUTION run over the places; keep the maximum and its place; save what backward needs
        framed, places = self.frame(x, -np.inf), self.places(x.shape)
        out = framed[places[0]].copy(order="K")  # K keeps the memory order
        winner = np.zeros_like(out, dtype=np.min_scalar_type(len(places)))  # one byte is enough
        for t, place in enumerate(places):
            larger = framed[place] > out
            np.maximum(winner, larger * winner.dtype.type(t), out=winner)  # t grows: this sets t
            np.maximum(out, framed[place], out=out)
        self.save(winner, x.shape)
        return out
        ### END SOLUTION

    def backward(self, dout):
        """Return dx (N, C, H, W): each dout at its window's winner."""
        ### BEGIN SOLUTION start from zeros in the framed shape, add dout at each winner, unframe
        winner, shape = self.saved()
        dout = from_rows(to_rows(dout))  # laid out as winner is; two layouts at once are slow
        dframed = np.zeros_like(dout, shape=self.framed_shape(shape))
        for t, place in enumerate(self.places(shape)):
            dframed[place] += dout * (winner == t)
        return self.unframe(dframed, shape)
        ### END SOLUTION

# %%
check(MaxPool2d)

# %% probe="MaxPool2d"
def both_ways(layer, x, rng):
    out = layer(x)
    return out, layer.backward(rng.normal(size=out.shape).astype(x.dtype))


def probe(MaxPool2d, rng):
    N, C = rng.integers(2, 4, 2)
    H, W = int(rng.integers(7, 9)), int(rng.integers(9, 12))
    x = rng.normal(size=(N, C, H, W))
    out, dx = both_ways(MaxPool2d(2), x, rng)
    yield "out", out
    yield "dx", dx
    out, dx = both_ways(MaxPool2d(3, 1), x, rng)
    yield "out where windows overlap", out
    yield "dx where windows overlap", dx
    ties = rng.normal(size=(N, C, 2, 3)).repeat(2, 2).repeat(2, 3)  # windows of equal numbers
    yield "dx where values tie", both_ways(MaxPool2d(2), ties, rng)[1]
    out, dx = both_ways(MaxPool2d(3, (2, 1), 1), -abs(x) - 0.5, rng)
    yield "out of negative numbers with padding", out
    yield "dx of negative numbers with padding", dx
    out, dx = both_ways(MaxPool2d((2, 3), 2, (1, 0), (2, 1), ceil_mode=True), x, rng)
    yield "out with unequal sides, dilation and ceil_mode", out
    yield "dx with unequal sides, dilation and ceil_mode", dx
    yield "dx in float32", both_ways(MaxPool2d(2), x.astype(np.float32), rng)[1]
    layer, dout = MaxPool2d(2), rng.normal(size=(N, C, H // 2, W // 2))
    layer(x)
    layer.forward(-x)
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)

# %% mistakes="MaxPool2d"
mistake("overlapping windows overwrite each other", "A pixel that wins in two windows gets both gradients. Add with +=, as "
        "a plain = keeps only the last window.",
        swap=("dframed[place] += dout * (winner == t)", "dframed[place] = dout * (winner == t)"))
mistake("among equal maxima the last one wins", "A later place wins only if it is strictly larger. Compare with >, not "
        "with >=.", swap=("framed[place] > out", "framed[place] >= out"))
mistake("the frame is filled with zeros", "Zero beats every negative number, so the padding wins at the border. Fill the frame "
        "with what is smaller than any number.", swap=("-np.inf", "0.0"))
mistake("the frame is not cut off", "dx has x's shape. Your gradient still holds the padding around it: unframe it.",
        swap=("return self.unframe(dframed, shape)", "return dframed"))
mistake("the gradient is spread over the window", "That is average pooling. The maximum depends on one pixel only, and "
        "that one gets all of dout.", swap=("dout * (winner == t)", "dout / len(self.places(shape))"))
mistake("the maximum is updated before it is compared", "After the update no place is larger than the maximum, so no "
        "winner is ever noted. Compare first.",
        swap=("""            larger = framed[place] > out
            np.maximum(winner, larger * winner.dtype.type(t), out=winner)  # t grows: this sets t
            np.maximum(out, framed[place], out=out)
""", """            np.maximum(out, framed[place], out=out)
            larger = framed[place] > out
            np.maximum(winner, larger * winner.dtype.type(t), out=winner)
"""))
mistake("the winner is kept in one slot", "A second forward overwrites what the first one noted. Use self.save and "
        "self.saved(), which keep one entry per call.",
        swap=("        self.save(winner, x.shape)\n", "        self.saved = lambda: (winner, x.shape)\n"))

mistake("the running maximum starts at zero", "In a window of negative numbers zero would win, and it is not in there. Start with "
        "the window's first place.",
        swap=('framed[places[0]].copy(order="K")  # K keeps the memory order', "np.zeros_like(framed[places[0]])"))
mistake("place 1 is counted as place 0", "enumerate(places[1:]) begins to count at 0 again. Start it at 1, or go through all places.",
        swap=("enumerate(places):\n            larger", "enumerate(places[1:]):\n            larger"))
mistake("the shape of the frame is saved", "framed_shape adds the padding to the shape of x. From the shape of the frame it makes a "
        "larger one still: save x.shape.", swap=("self.save(winner, x.shape)", "self.save(winner, framed.shape)"))
mistake("the gradient is collected without a frame", "The places are counted in the frame, so dout must be added there. Make the zeros "
        "in framed_shape, and cut x's part out at the end.",
        swap=("np.zeros_like(dout, shape=self.framed_shape(shape))", "np.zeros_like(dout, shape=shape)"))

@mistake("every pixel that equals the maximum gets the gradient", "With a tie, dout is counted several times. Note one winner "
         "per window: the first place that holds the maximum.")
class MaxPool2d(reference):
    def forward(self, x):
        out = super().forward(x)
        self.saved()
        self.save(self.frame(x, -np.inf), out, x.shape)
        return out

    def backward(self, dout):
        framed, out, shape = self.saved()
        dframed = np.zeros_like(framed)
        for place in self.places(shape):
            dframed[place] += dout * (framed[place] == out)
        return self.unframe(dframed, shape)

# %% [markdown] hints="MaxPool2d"
# Begin with the first place of all windows as the maximum so far. Each further place can only replace it where it is larger.
# What must backward know? Which place won, for every output.
#
# ---
#
# For each place t: `larger = framed[place] > out`, then set `winner` to t and `out` to the new number where `larger` holds. Backward:
# dframed[place] += dout · [winner = t]. `-np.inf` is smaller than any number.
#
# ---
#
# ```python
# # forward
# framed, places = self.frame(x, ...), self.places(x.shape)
# out = framed[places[0]].copy(order="K")
# winner = np.zeros(out.shape, int)
# for t, place in enumerate(places):
#     larger = ...
#     winner[larger] = t
#     out[larger] = framed[place][larger]
# self.save(winner, x.shape)
# return out
#
# # backward
# winner, shape = self.saved()
# dframed = np.zeros_like(dout, shape=self.framed_shape(shape))
# for t, place in enumerate(self.places(shape)):
#     dframed[place] += ...
# return self.unframe(...)
# ```

# %% [markdown]
# Same numbers, less time? And does the gradient stand the numerical check? Central differences need one clear winner per
# window, so that input has no ties.

# %% tags=["nbval-check-output"]
layer, batch = MaxPool2d(2), np.repeat(pixels[:64], 4, axis=1)  # (64, 4, 28, 28)
slow, fast = max_pool_loops(batch, 2, 2), layer(batch)
print(f"loops and places agree: {np.array_equal(slow, fast)}")
distinct = np.random.default_rng(0).permutation(98).reshape(1, 2, 7, 7)
error = gradcheck(MaxPool2d(3, 2, 1), distinct)["input"]
print(f"gradient agrees with the numerical one: {error < 1e-8}")
loops = timeit(lambda: max_pool_loops(batch, 2, 2), number=1)
places = min(timeit(lambda: layer(batch), number=3) / 3 for _ in range(5))
print(f"one place at a time is at least 20 times as fast: {loops / places > 20}")

# %% [markdown]
# ### Exercise 3 ★★: AvgPool2d
#
# Sum over the places, then divide. By how much? Inside the map by K². At the border it is a choice: the zeros of the padding
# count, or only real pixels do. What hangs over beyond the padding (`ceil_mode`) never counts.
#
# One trick handles all of it. Put a 1 wherever a number counts, and *pool the ones* in the same way. Their sums are the
# divisors, forward and backward.

# %% exercise="AvgPool2d" points=4 stars=2
#| export
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
        ### BEGIN SOLUTION write a 1 wherever a number counts, then sum over the places
        if self.count_include_pad:
            ones[:, :, :H + 2 * PH, :W + 2 * PW] = 1
        else:
            ones[:, :, PH:PH + H, PW:PW + W] = 1
        return sum(ones[place] for place in self.places(shape))
        ### END SOLUTION

    def forward(self, x):
        """Return out (N, C, OH, OW) for x (N, C, H, W)."""
        ### BEGIN SOLUTION frame with zeros, sum over the places, divide; save what backward needs
        framed = self.frame(x, 0)
        total = sum(framed[place] for place in self.places(x.shape))  # (N, C, OH, OW)
        divisor = self.divisor(x.shape, x.dtype)
        self.save(divisor, x.shape)
        return total / divisor
        ### END SOLUTION

    def backward(self, dout):
        """Return dx (N, C, H, W): each dout in equal shares over its window."""
        ### BEGIN SOLUTION the same share of dout to every place, added up in the framed shape
        divisor, shape = self.saved()
        share = dout / divisor
        dframed = np.zeros_like(dout, shape=self.framed_shape(shape))
        for place in self.places(shape):
            dframed[place] += share
        return self.unframe(dframed, shape)
        ### END SOLUTION

# %%
check(AvgPool2d)

# %% probe="AvgPool2d"
def both_ways(layer, x, rng):
    out = layer(x)
    return out, layer.backward(rng.normal(size=out.shape).astype(x.dtype))


def probe(AvgPool2d, rng):
    N, C = rng.integers(2, 4, 2)
    H, W = int(rng.choice([7, 9])), int(rng.choice([11, 13]))
    x = rng.normal(size=(N, C, H, W)) + 0.5
    cases = {"without padding": AvgPool2d(2), "where windows overlap": AvgPool2d(3, (2, 1)),
             "where padding counts": AvgPool2d((5, 3), 3, (2, 1)),
             "where padding does not count": AvgPool2d((5, 3), 3, (2, 1), count_include_pad=False),
             "with ceil_mode": AvgPool2d(2, 2, ceil_mode=True)}
    for name, layer in cases.items():
        out, dx = both_ways(layer, x, rng)
        yield f"out {name}", out
        yield f"dx {name}", dx
    out, dx = both_ways(AvgPool2d(2), x.astype(np.float32), rng)
    yield "out in float32", out
    yield "dx in float32", dx
    layer, dout = AvgPool2d(2), rng.normal(size=(N, C, H // 2, W // 2))
    layer(x)
    layer.forward(x[:, :, 1:])  # H is odd: as many windows, another shape
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)

# %% mistakes="AvgPool2d"
mistake("padding is counted even where it should not be", "Where count_include_pad is False, only the pixels of x get "
        "a 1: rows PH to PH + H, columns PW to PW + W of the frame.",
        swap=("if self.count_include_pad:", "if True:"))
mistake("padding is never counted", "Where count_include_pad is True, the zeros around x are part of the mean, so the frame gets ones "
        "up to H + 2·PH and W + 2·PW.", swap=("if self.count_include_pad:", "if False:"))
mistake("the result is not divided", "That is the sum of each window. Divide it by the divisor.",
        swap=("return total / divisor", "return total"))
mistake("dx is not divided", "Each pixel moves the mean by only its share. Divide dout by the divisor before you hand it out.",
        swap=("share = dout / divisor", "share = dout"))
mistake("overlapping windows overwrite each other", "A pixel that lies in two windows gets a share from both: use +=.",
        swap=("dframed[place] += share", "dframed[place] = share"))
mistake("what hangs over the edge is counted", "With ceil_mode the last window may reach beyond the padding. Nothing is there, "
        "so nothing is counted: put ones only up to H + 2·PH and W + 2·PW.",
        swap=("ones[:, :, :H + 2 * PH, :W + 2 * PW] = 1", "ones[...] = 1"))
mistake("backward divides by K·K everywhere", "At the border, forward may have divided by less. Use the same divisor on the way "
        "back.", swap=("share = dout / divisor", "share = dout / len(self.places(shape))"))
mistake("the frame is not cut off", "dx has x's shape. Your gradient still holds the frame around it: unframe it.",
        swap=("return self.unframe(dframed, shape)", "return dframed"))
mistake("PH and PW are exchanged", "The rows of x begin at PH in the frame, its columns at PW.",
        swap=("ones[:, :, PH:PH + H, PW:PW + W] = 1", "ones[:, :, PW:PW + H, PH:PH + W] = 1"))
mistake("the padding is counted on one side only", "There is padding on both sides: H + 2·PH rows and W + 2·PW columns count.",
        swap=("ones[:, :, :H + 2 * PH, :W + 2 * PW] = 1", "ones[:, :, :H + PH, :W + PW] = 1"))
mistake("the frame is filled with -inf", "That is max pooling's frame. In a sum, what must not change it is 0.",
        swap=("self.frame(x, 0)", "self.frame(x, -np.inf)"))
mistake("what forward saves is kept in one slot", "A second forward overwrites what the first one kept. Use self.save and "
        "self.saved(), which keep one entry per call.",
        swap=("        self.save(divisor, x.shape)\n", "        self.saved = lambda: (divisor, x.shape)\n"))

# %% [markdown] hints="AvgPool2d"
# There is no winner here: every place of a window is treated alike. What was said about max pooling's places holds, with `+` in
# place of `max`.
#
# ---
#
# divisor = Σ ones[place], total = Σ framed[place], out = total / divisor, and dframed[place] += dout / divisor. The ones fill
# the frame up to H + 2·PH, W + 2·PW, or only the part that x fills.
#
# ---
#
# ```python
# # divisor
# if self.count_include_pad:
#     ones[:, :, :H + ..., :W + ...] = 1
# else:
#     ones[:, :, PH:..., PW:...] = 1
# return sum(ones[place] for place in self.places(shape))
#
# # forward
# framed = self.frame(x, 0)
# total = sum(framed[...] for place in self.places(x.shape))
# ...
#
# # backward
# share = ...
# dframed = np.zeros_like(dout, shape=self.framed_shape(shape))
# for place in self.places(shape):
#     dframed[place] += ...
# return self.unframe(dframed, shape)
# ```

# %% [markdown]
# ## See: maximum or mean?
#
# `edge_maps` slides the edge filter of chapter 02 over a picture, turned into eight directions, and applies a ReLU. Below, a digit
# and one of its maps shrink to 7 × 7 in three ways: every fourth pixel alone, the mean, the maximum.

# %% tags=["nbval-check-output"]
SOBEL = np.array([[[1, 2, 1], [0, 0, 0], [-1, -2, -1]], [[2, 1, 0], [1, 0, -1], [0, -1, -2]]], np.float32)
SOBEL = np.concatenate([np.rot90(SOBEL, k, axes=(1, 2)) for k in range(4)]) / 4  # (8, 3, 3)


def edge_maps(x):
    """Return eight maps of edges (N, 8, H, W) for pictures x (N, 1, H, W)."""
    N, _, H, W = x.shape
    maps = im2col(x, 3, padding=1) @ SOBEL.reshape(8, 9).T
    return np.maximum(maps, 0).reshape(N, H, W, 8).transpose(0, 3, 1, 2)


def every_fourth(x):
    return x[:, :, 2::4, 2::4]


shrink = {"every fourth": every_fourth, "mean": AvgPool2d(4), "maximum": MaxPool2d(4)}
maps = np.concatenate([pixels[2600:2601], edge_maps(pixels[2600:2601])[:, :1]], axis=1)
fig, axes = plt.subplots(2, 4, figsize=(9, 4.6))
for c, row in enumerate(axes):
    draw_images(row, [maps[0, c]] + [f(maps)[0, c] for f in shrink.values()],
                [["digit", "one edge map"][c], *shrink])
plt.show()
for name, f in shrink.items():
    kept = f(maps)[0, 1].max() / maps[0, 1].max()
    print(f"{name}: strongest edge that is left: {kept:.0%}")

# %% [markdown]
# The mean makes thin edges pale, as it mixes them with paper. The maximum says: *somewhere in this block is an edge, this
# strong*. Every fourth pixel says whatever happens to lie there: here it met the strongest edge, and nearly lost the upper two.
# (Each picture is drawn up to its own darkest value. The printed numbers compare the strengths.)
#
# ## Adaptive pooling: the output size is given
#
# A `Linear` at the end of a network needs a fixed number of inputs, but pictures come in all sizes. *Adaptive* pooling fixes
# the output size and derives the windows, its *bins*. Bin $i$ of $O$ over $n$ pixels runs from
# $\lfloor i\,n / O \rfloor$ up to, and without, $\lceil (i + 1)\,n / O \rceil$. In the figure, $n = 7$ and $O = 3$.

# %%
fig, ax = plt.subplots(figsize=(6, 1.9))
for j in range(8):
    ax.plot([j, j], [0, 0.8], color=GREY, lw=1)
for i, colour in enumerate([BLUE, ORANGE, GREEN]):
    ax.axvspan(i * 7 / 3, (i + 1) * 7 / 3, ymin=0.05, ymax=0.42, color=colour, alpha=0.2, lw=0)
    ax.plot([i * 7 // 3 + 0.08, -(-(i + 1) * 7 // 3) - 0.08], [1.1 + 0.25 * (i % 2)] * 2, color=colour, lw=5)
ax.spines["left"].set_visible(False)
ax.set(xlim=(-0.2, 7.2), ylim=(-0.1, 1.7), yticks=[], xticks=range(8), xlabel="pixel borders")
ax.grid(False)
plt.show()

# %% [markdown]
# Shaded are the exact thirds. They cut through pixels 2 and 4. Floor and ceiling round outwards to whole pixels, the bars
# above. A pixel on a cut belongs to *both* bins. None is left out, and no bin is empty.
#
# ### Exercise 4 ★★: the bins
#
# Use integer arithmetic: `//` is the floor. And $\lceil a / b \rceil = -\lfloor -a / b \rfloor$.

# %% exercise="adaptive_bounds" points=2 stars=2
#| export
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
    ### BEGIN SOLUTION two integer arrays: round starts down and stops up
    i = np.arange(output)
    return i * size // output, -(-(i + 1) * size // output)
    ### END SOLUTION

# %%
check(adaptive_bounds)

# %% probe="adaptive_bounds"
def probe(adaptive_bounds, rng):
    output = int(rng.integers(3, 6))
    size = output * int(rng.integers(2, 5)) + int(rng.integers(1, output))
    for name, n in [("", size), (" where bins fit exactly", 2 * output),
                    (" of more bins than pixels", output - 1)]:
        starts, stops = adaptive_bounds(n, output)
        yield f"starts{name}", np.asarray(starts)
        yield f"stops{name}", np.asarray(stops)

# %% mistakes="adaptive_bounds"
@mistake("stops are rounded down", "A bin that ends inside a pixel keeps this pixel: round up. -(-a // b) is the ceiling of a / b.")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return i * size // output, (i + 1) * size // output

@mistake("starts are rounded up", "A bin that begins inside a pixel keeps this pixel: round starts down, with // alone.")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return -(-i * size // output), -(-(i + 1) * size // output)

@mistake("all bins are equally long, and the rest is lost", "size // output pixels a bin leaves pixels over. Scale first, then "
         "round: i * size // output.")
def adaptive_bounds(size, output):
    i, length = np.arange(output), size // output
    return i * length, (i + 1) * length

@mistake("the last bin takes all that is left", "The bins must be spread evenly. Scale each border first, then "
         "round: i * size // output.")
def adaptive_bounds(size, output):
    i, length = np.arange(output), size // output
    stops = (i + 1) * length
    stops[-1] = size
    return i * length, stops

@mistake("lengths are returned in place of stops", "The second array says where each bin ends, not how long it is.")
def adaptive_bounds(size, output):
    starts, stops = reference(size, output)
    return starts, stops - starts

@mistake("the bounds are floats", "Bounds are used as slices, which must be integers. np.floor and np.ceil return floats; // on "
         "integers does not.")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return np.floor(i * size / output), np.ceil((i + 1) * size / output)
@mistake("one is added to the floor", "Where a border falls exactly between two pixels, this takes a pixel too many. The ceiling "
         "does not: -(-a // b).")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return i * size // output, (i + 1) * size // output + 1

@mistake("the borders are rounded to the nearest pixel", "A pixel on a cut belongs to both bins: starts are rounded down, stops up.")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return np.rint(i * size / output).astype(int), np.rint((i + 1) * size / output).astype(int)

@mistake("the last pixel is returned in place of the stop", "A stop is not part of its bin, as in a slice: it is one more than the "
         "bin's last pixel.")
def adaptive_bounds(size, output):
    starts, stops = reference(size, output)
    return starts, stops - 1

@mistake("the stop is computed from i", "Bin i ends where bin i + 1 begins, before rounding: the stop belongs to i + 1.")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return i * size // output, -(-i * size // output)

@mistake("the division comes before the multiplication", "i // output is 0 for every bin. Multiply by size first, then divide.")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return i // output * size, -(-(i + 1) // output * size)

@mistake("one minus of the ceiling is missing", "The ceiling of a / b is -(-a // b), with a minus inside and one outside.")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return i * size // output, -(i + 1) * size // output

@mistake("size and output are exchanged", "Border i lies at i · size / output pixels: the last one, i = output, must be size.")
def adaptive_bounds(size, output):
    i = np.arange(output)
    return i * output // size, -(-(i + 1) * output // size)

# %% [markdown] hints="adaptive_bounds"
# The exact border between bins i − 1 and i lies at i · size / output. A start is the border before the bin, a stop the one after.
#
# ---
#
# starts = ⌊i · size / output⌋, stops = ⌈(i + 1) · size / output⌉. With integers: `a // b` and `-(-a // b)`.
#
# ---
#
# ```python
# i = np.arange(output)
# return i * size // ..., -(-(i + 1) * ...)
# ```

# %% [markdown]
# ### Exercise 5 ★★: AdaptiveAvgPool2d
#
# Each output is the mean of one bin, `x[:, :, r, c]`. There are few bins, so loop over them. They differ in size and overlap,
# and both matter on the way back.

# %% exercise="AdaptiveAvgPool2d" points=3 stars=2
#| export
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
        ### BEGIN SOLUTION fill out[:, :, i, j] with the mean of its bin; save what backward needs
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                out[:, :, i, j] = x[:, :, r, c].mean(axis=(2, 3))
        self.save(x.shape)
        return out
        ### END SOLUTION

    def backward(self, dout):
        """Return dx (N, C, H, W): each dout in equal shares over its bin."""
        ### BEGIN SOLUTION add each dout, divided by the size of its bin, to all pixels of the bin
        shape = self.saved()
        dx = np.zeros_like(dout, shape=shape)
        rows, columns = self.bins(shape)
        for i, r in enumerate(rows):
            for j, c in enumerate(columns):
                count = (r.stop - r.start) * (c.stop - c.start)
                dx[:, :, r, c] += dout[:, :, i, j, None, None] / count
        return dx
        ### END SOLUTION

# %%
check(AdaptiveAvgPool2d)

# %% probe="AdaptiveAvgPool2d"
def both_ways(layer, x, rng):
    out = layer(x)
    return out, layer.backward(rng.normal(size=out.shape).astype(x.dtype))


def probe(AdaptiveAvgPool2d, rng):
    N, C = int(rng.integers(2, 4)), int(rng.integers(4, 6))
    x = rng.normal(size=(N, C, int(rng.choice([7, 8])), int(rng.choice([11, 13])))) + 0.5
    for name, size in [("where bins overlap", (3, 4)), ("of a single bin", 1),
                       ("of more bins than rows", (9, 2))]:
        out, dx = both_ways(AdaptiveAvgPool2d(size), x, rng)
        yield f"out {name}", out
        yield f"dx {name}", dx
    out, dx = both_ways(AdaptiveAvgPool2d((3, 4)), x.astype(np.float32), rng)
    yield "out in float32", out
    yield "dx in float32", dx
    layer, dout = AdaptiveAvgPool2d((3, 4)), rng.normal(size=(N, C, 3, 4))
    layer(x)
    layer.forward(x[:, :, 1:])
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)

# %% mistakes="AdaptiveAvgPool2d"
mistake("overlapping bins overwrite each other", "A pixel that lies in two bins gets a share from both: use +=.",
        swap=("dx[:, :, r, c] += dout", "dx[:, :, r, c] = dout"))
mistake("dx is not divided", "Each pixel moves the mean of its bin by one part in as many as the bin holds. Divide by the bin's size.",
        swap=("dout[:, :, i, j, None, None] / count", "dout[:, :, i, j, None, None]"))
mistake("all bins are taken to be equally large", "Bins differ in size. Divide by the rows times the columns of this very bin.",
        swap=("count = (r.stop - r.start) * (c.stop - c.start)",
              "count = shape[2] * shape[3] / (len(rows) * len(columns))"))
mistake("the sum of the bin is taken", "An average is asked for: mean, not sum.",
        swap=(".mean(axis=(2, 3))", ".sum(axis=(2, 3))"))
mistake("the maximum of the bin is taken", "That is adaptive max pooling. Use mean.",
        swap=(".mean(axis=(2, 3))", ".max(axis=(2, 3))"))
mistake("the mean runs over samples and channels too", "Each sample and each channel has its own mean. Take it over "
        "the axes 2 and 3 only.", swap=(".mean(axis=(2, 3))", ".mean()"))
mistake("dx divides by the number of bins", "What counts is how many pixels the bin holds, not how many bins there are.",
        swap=("count = (r.stop - r.start) * (c.stop - c.start)", "count = len(rows) * len(columns)"))
mistake("only the rows of the bin are counted", "A bin has rows and columns: its size is their product.",
        swap=("count = (r.stop - r.start) * (c.stop - c.start)", "count = r.stop - r.start"))
mistake("what lies in several bins gets the mean of their shares", "Each bin's output depends on the pixel by itself. The shares are "
        "added, and not divided once more.",
        swap=("        return dx", """        cover = np.zeros(shape[2:], dx.dtype)
        for r in rows:
            for c in columns:
                cover[r, c] += 1
        return dx / cover"""))
mistake("the bins are cut out of dout's shape", "bins wants the shape of x, which is what the bins are cut out of.",
        swap=("self.bins(shape)", "self.bins(dout.shape)"))
mistake("the shape is kept in one slot", "A second forward overwrites what the first one kept. Use self.save and "
        "self.saved(), which keep one entry per call.",
        swap=("        self.save(x.shape)\n", "        self.saved = lambda: x.shape\n"))

# %% [markdown] hints="AdaptiveAvgPool2d"
# Two loops, over `enumerate(rows)` and `enumerate(columns)`. Each `r` and `c` is a slice: it cuts the bin out, and it knows where it
# starts and stops.
#
# ---
#
# out[:, :, i, j] = mean of x[:, :, r, c] over axes 2 and 3. Back: dx[:, :, r, c] += dout[:, :, i, j] / (rows · columns of the bin).
# Index with `None, None` to stretch (N, C) over the bin.
#
# ---
#
# ```python
# # forward
# for i, r in enumerate(rows):
#     for j, c in enumerate(columns):
#         out[:, :, i, j] = x[:, :, r, c].mean(axis=...)
# self.save(x.shape)
# return out
#
# # backward
# shape = self.saved()
# dx = np.zeros_like(dout, shape=shape)
# rows, columns = self.bins(shape)
# for i, r in enumerate(rows):
#     for j, c in enumerate(columns):
#         count = ...
#         dx[:, :, r, c] += dout[:, :, i, j, None, None] / ...
# return dx
# ```

# %% [markdown]
# ### Given: the rest of the family
#
# One dimension is two with a single row. `GlobalAvgPool` is the mean of a whole map: (N, C, H, W) becomes (N, C), ready
# for a `Linear`.

# %%
#| export
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

# %%
#| export
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

# %% [markdown]
# ## The way back up: resampling
#
# U-Net shrinks its maps to see far, then must enlarge them again. The plainest way repeats each pixel $S × S$ times:
# every new pixel takes its *nearest* old one.
#
# $$\text{out}_{iS + a,\; jS + b} = x_{ij}, \qquad \text{dx}_{ij} = \sum_{a,b} \text{dout}_{iS + a,\; jS + b}.$$
#
# A value used in several places collects the gradients of all of them. The view for one pair $(a, b)$ is a place again,
# `out[:, :, a::SH, b::SW]`. It has the shape of `x`.
#
# ### Exercise 6 ★★: UpsampleNearest
#
# Write to the places, then collect from them. The sum alone needs nothing from forward. Save the shape all the same: it is what
# lets backward refuse to run without a forward (03).

# %%
#| default_exp model.resample
#| export
"""Resampling: change the size of maps by repeating pixels or by mixing neighbours."""

import math

import numpy as np

from nyang_edu.model.core import NyangModel, expect_input
from nyang_edu.utility.windows import pair

# %% exercise="UpsampleNearest" points=3 stars=2
#| export
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
        ### BEGIN SOLUTION write x to all SH·SW places of out; save what backward needs
        for a, b in np.ndindex(SH, SW):
            out[:, :, a::SH, b::SW] = x
        self.save(x.shape)
        return out
        ### END SOLUTION

    def backward(self, dout):
        """Return dx (N, C, H, W): the sum over all copies of each pixel."""
        SH, SW = self.scale_factor
        ### BEGIN SOLUTION add up dout's SH·SW places
        dx = np.zeros_like(dout, shape=self.saved())
        for a, b in np.ndindex(SH, SW):
            dx += dout[:, :, a::SH, b::SW]
        return dx
        ### END SOLUTION

# %%
check(UpsampleNearest)

# %% probe="UpsampleNearest"
def both_ways(layer, x, rng):
    out = layer(x)
    return out, layer.backward(rng.normal(size=out.shape).astype(x.dtype))


def probe(UpsampleNearest, rng):
    N, C, H, W = rng.permutation([2, 3, 4, 5])
    x = rng.normal(size=(N, C, H, W))
    for name, factor in [("", 2), (" with factors 3 and 2", (3, 2))]:
        out, dx = both_ways(UpsampleNearest(factor), x, rng)
        yield f"out{name}", out
        yield f"dx{name}", dx
    out, dx = both_ways(UpsampleNearest(2), x.astype(np.float32), rng)
    yield "out in float32", out
    yield "dx in float32", dx
    try:
        UpsampleNearest(2).backward(out)
        yield "backward without a forward", "accepted"
    except RuntimeError:
        yield "backward without a forward", "refused"

# %% mistakes="UpsampleNearest"
mistake("dx is the mean of the copies", "Each copy is a use of the pixel of its own, and gradients of uses are added. Do not "
        "divide.", swap=("        return dx", "        return dx / (SH * SW)"))
mistake("only the first copy is counted", "A pixel was copied SH · SW times. The gradients of all copies belong to it.",
        swap=("""        for a, b in np.ndindex(SH, SW):
            dx += dout[:, :, a::SH, b::SW]
""", """        dx += dout[:, :, ::SH, ::SW]
"""))
mistake("the picture is tiled in place of its pixels", "You put whole copies of the map side by side. Each single pixel must "
        "be repeated next to itself: np.repeat along an axis, or steps of SH and SW.",
        swap=("            out[:, :, a::SH, b::SW] = x",
              "            out[:, :, a * H:(a + 1) * H, b * W:(b + 1) * W] = x"))
mistake("the space between pixels is filled with zeros", "Nearest means that all SH · SW places around a pixel hold its "
        "value. You wrote only one of them.",
        swap=("""        for a, b in np.ndindex(SH, SW):
            out[:, :, a::SH, b::SW] = x
""", """        out[...] = 0
        out[:, :, ::SH, ::SW] = x
"""))
mistake("dx adds up neighbouring tiles", "The copies of one pixel stand next to each other, not one picture apart. Step "
        "through dout with a::SH and b::SW.",
        swap=("dx += dout[:, :, a::SH, b::SW]",
              "dx += dout[:, :, a * dx.shape[2]:(a + 1) * dx.shape[2], b * dx.shape[3]:(b + 1) * dx.shape[3]]"))
mistake("only the last copy is counted", "Each pass through the loop replaces dx. Add to it.",
        swap=("dx += dout[:, :, a::SH, b::SW]", "dx = dout[:, :, a::SH, b::SW] * 1"))
mistake("SH and SW are exchanged", "SH repeats rows, SW columns: step through axis 2 with SH and through axis 3 with SW.",
        swap=("out[:, :, a::SH, b::SW] = x", "out[:, :, a::SW, b::SH] = x"))
mistake("SH and SW are exchanged on the way back", "SH repeats rows, SW columns: step through axis 2 with SH and through axis 3 with SW.",
        swap=("dx += dout[:, :, a::SH, b::SW]", "dx += dout[:, :, a::SW, b::SH]"))
mistake("dx is the largest of the copies' gradients", "Each copy is a use of the pixel of its own, and gradients of uses are added.",
        swap=("dx += dout[:, :, a::SH, b::SW]",
              "dx = np.maximum(dx if a or b else -np.inf, dout[:, :, a::SH, b::SW])"))

@mistake("backward runs without a forward", "A layer refuses that (03). Save the shape in forward, and take it back with self.saved(): this "
         "raises the error by itself.")
class UpsampleNearest(reference):
    def backward(self, dout):
        SH, SW = self.scale_factor
        return sum(dout[:, :, a::SH, b::SW] for a, b in np.ndindex(SH, SW))

# %% [markdown] hints="UpsampleNearest"
# For SH = SW = 2, x is written four times: to the even and odd rows, at the even and odd columns. Back, these four are added.
#
# ---
#
# `out[:, :, a::SH, b::SW] = x` for every a < SH and b < SW, and dx = Σ dout[:, :, a::SH, b::SW].
#
# ---
#
# ```python
# # forward
# for a, b in np.ndindex(SH, SW):
#     out[:, :, a::SH, ...] = ...
# self.save(x.shape)
# return out
#
# # backward
# dx = np.zeros_like(dout, shape=self.saved())
# for a, b in np.ndindex(SH, SW):
#     dx += ...
# return dx
# ```

# %% [markdown]
# ## Where does a new pixel look?
#
# Repeating leaves blocks. *Linear interpolation* looks at a position $p_i$ between the old pixels, and mixes the two
# neighbours there. First decide where output $i$ of $O$ lies among $n$ old pixels. PyTorch knows two rules:
#
# $$\text{half-pixel: } p_i = (i + \tfrac12)\,\tfrac{n}{O} - \tfrac12, \qquad
# \text{align\_corners: } p_i = i\,\tfrac{n - 1}{O - 1}.$$

# %%
def draw_positions(ax, size, output, align_corners):
    step = (size - 1) / max(output - 1, 1) if align_corners else size / output
    position = np.arange(output) * step + (0 if align_corners else step / 2 - 0.5)
    for j in range(size):
        ax.add_patch(plt.Rectangle((j - 0.5, 0), 1, 0.5, facecolor="#d9e5f3", edgecolor=BLUE))
    ax.plot(range(size), [0.25] * size, "o", color=BLUE, label="old pixels")
    ax.plot(position, [0.8] * output, "v", color=ORANGE, label="new pixels look here")
    ax.vlines(position, 0.25, 0.8, color=ORANGE, lw=1)
    ax.set(xlim=(-0.8, size - 0.2), ylim=(-0.05, 1.05), yticks=[], xticks=range(size))
    ax.set_title(f"{size} → {output}, align_corners={align_corners}")
    ax.spines["left"].set_visible(False)
    ax.grid(False)


fig, axes = plt.subplots(1, 2, figsize=(10, 1.9))
for ax, align_corners in zip(axes, [False, True]):
    draw_positions(ax, 4, 8, align_corners)
axes[1].legend(loc="upper center", bbox_to_anchor=(-0.1, -0.2), ncols=2)
plt.show()

# %% [markdown]
# A pixel is a small square, and its number belongs to its centre. The half-pixel rule lays the outer *edges* of both rows
# over each other. So the first position here, $-\frac14$, lies left of all centres; it is clipped to 0. `align_corners` lays the outer
# *centres* over each other. Then positions are no longer $n / O$ apart.
#
# Now the mixture. With $l = \lfloor p_i \rfloor$ and $t = p_i - l$, the new pixel is $(1 - t)\,x_l + t\,x_{l+1}$. Put these weights
# in row $i$ of a matrix $R$ (O, n), and resizing is a matrix product. Rows with $R$, columns with $C$:
#
# $$\text{out} = R\, x\, C^\top, \qquad \text{dx} = R^\top\, \text{dout}\; C .$$
#
# This is *bilinear* interpolation.
#
# ### Exercise 7 ★★★: the interpolation matrix
#
# Clip positions to 0 … n − 1. The last pixel has no right neighbour, so let it be its own. Then both weights land on one place:
# *add* them in. With a single output, `align_corners` looks at pixel 0.

# %% exercise="interpolation_matrix" points=4 stars=3
#| export
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
    ### BEGIN SOLUTION positions by one of the two rules, clipped; then two weights a row, added in
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
    ### END SOLUTION

# %%
check(interpolation_matrix)

# %% probe="interpolation_matrix"
def probe(interpolation_matrix, rng):
    size = int(rng.integers(4, 7))
    larger, smaller = size + int(rng.integers(2, 6)), size - int(rng.integers(1, 3))
    yield "matrix of a larger size", interpolation_matrix(size, larger)
    yield "matrix of a smaller size", interpolation_matrix(size, smaller)
    yield "matrix with a step of its own", interpolation_matrix(size, 2 * size, step=0.45)
    yield "matrix with align_corners", interpolation_matrix(size, larger, align_corners=True)
    yield "smaller, with align_corners", interpolation_matrix(size, smaller, align_corners=True)
    yield "one output with align_corners", interpolation_matrix(size, 1, align_corners=True)

# %% mistakes="interpolation_matrix"
mistake("the half pixels are left out", "Without + ½ and − ½ the first new pixel lies on the centre of the first old one, and all "
        "others too far left. The rule is p = (i + ½) · step − ½.",
        swap=("(i + 0.5) * step - 0.5", "i * step"))
mistake("the half pixel is not taken off again", "(i + ½) · step measures from the left edge of the first pixel. Its "
        "centre is half a pixel further right: subtract ½.",
        swap=("(i + 0.5) * step - 0.5", "(i + 0.5) * step"))
mistake("positions are not clipped", "Left of the first centre, the fraction becomes negative and the weights leave 0 … 1. Clip positions "
        "to 0 … n − 1 first.", swap=("np.clip((i + 0.5) * step - 0.5, 0, size - 1)", "(i + 0.5) * step - 0.5"))
mistake("align_corners uses the step n / O", "With align_corners the last position must be n − 1. From first to last centre there are "
        "n − 1 old steps and O − 1 new ones.", swap=("((size - 1) / max(output - 1, 1))", "(size / output)"))
mistake("the second weight replaces the first at the border", "At the last pixel both neighbours are the same place. Its weights have to be "
        "added: use += for both.",
        swap=("matrix[i, high] += position - low", "matrix[i, high] = position - low"))
mistake("the two weights are exchanged", "A position close to its left neighbour must look mostly at it: 1 − t on the "
        "left, t on the right.",
        swap=("""    matrix[i, low] += 1 - (position - low)
    matrix[i, high] += position - low
""", """    matrix[i, low] += position - low
    matrix[i, high] += 1 - (position - low)
"""))
mistake("the nearest pixel is taken", "Your rows hold a single 1. Give both neighbours their share, 1 − t and t.",
        swap=("""    matrix[i, low] += 1 - (position - low)
    matrix[i, high] += position - low
""", """    matrix[i, np.rint(position).astype(int)] = 1
"""))
mistake("a single output is not handled", "With one output, O − 1 is 0. Where there is only one, it looks at pixel 0.",
        swap=("max(output - 1, 1)", "np.float64(output - 1)"))
mistake("the last pixel looks for a right neighbour", "There is no pixel n. Limit the right neighbour to the last pixel, "
        "n − 1.", swap=("np.minimum(low + 1, size - 1)", "low + 1"))
mistake("the step that is passed in is ignored", "Use step in the half-pixel rule. It is size / output only where nobody says otherwise.",
        swap=("(i + 0.5) * step - 0.5", "(i + 0.5) * (size / output) - 0.5"))
mistake("positions are not clipped, and -1 is the last pixel", "Left of the first centre the floor is -1, which NumPy takes for the "
        "last pixel. Clip positions to 0 … n − 1 first.",
        swap=("""np.clip((i + 0.5) * step - 0.5, 0, size - 1)
    low = np.minimum(position.astype(int), size - 1)""", """(i + 0.5) * step - 0.5
    low = np.minimum(np.floor(position).astype(int), size - 1)"""))
mistake("the two rules are exchanged", "align_corners has n − 1 and O − 1 in it: from the first centre to the last. The half-pixel rule "
        "is for align_corners=False.", swap=("if align_corners:", "if not align_corners:"))
mistake("align_corners uses the step n / (O − 1)", "From the first to the last old centre there are n − 1 steps, not n.",
        swap=("((size - 1) / max(output - 1, 1))", "(size / max(output - 1, 1))"))
mistake("a single output divides by zero", "With one output, O − 1 is 0. Where there is only one, it looks at pixel 0.",
        swap=("max(output - 1, 1)", "(output - 1)"))

# %% [markdown] hints="interpolation_matrix"
# Work with whole arrays: `i = np.arange(output)`, then all positions, then all left neighbours. For 2 → 4 pixels the
# positions are −¼, ¼, ¾, 5⁄4 before clipping. Do you get these?
#
# ---
#
# low = ⌊p⌋, high = min(low + 1, n − 1), t = p − low. `matrix[i, low]` with two integer arrays is one element per row.
#
# ---
#
# ```python
# i = np.arange(output)
# if align_corners:
#     position = i * ((size - 1) / max(output - 1, 1))
# else:
#     position = np.clip(..., 0, size - 1)
# low = np.minimum(position.astype(int), size - 1)
# high = ...
# matrix[i, low] += ...
# matrix[i, high] += ...
# return matrix
# ```

# %% [markdown]
# The control draws the positions and your matrix below. Set both sizes to 6 and switch `align_corners`. Then 6 → 3 and
# 6 → 2: which old pixels does nobody look at?

# %%
from ipywidgets import IntSlider, interact


def show_interpolation(size=4, output=8, align_corners=False):
    fig, (top, below) = plt.subplots(2, 1, figsize=(6, 4.2), height_ratios=[1, 2])
    draw_positions(top, size, output, align_corners)
    below.imshow(interpolation_matrix(size, output, align_corners), vmin=0, vmax=1, aspect="auto")
    below.set(xlabel="old pixel", ylabel="new pixel", xticks=range(size), yticks=range(output))
    below.grid(False)
    plt.show()


interact(show_interpolation, size=IntSlider(value=4, min=2, max=10),
         output=IntSlider(value=8, min=1, max=12), align_corners=False);

# %% [markdown]
# ### Given: Upsample
#
# `apply_along` multiplies one axis with a matrix, in the order in which `x` lies in memory. `Upsample` chooses the matrices, and
# goes back with the same ones, transposed. Nearest is a matrix of zeros and ones; for whole factors your `UpsampleNearest`
# does it without a product. Both modes make maps smaller too.

# %%
#| export
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

# %%
#| export
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

# %% tags=["nbval-check-output"]
tiny = np.random.default_rng(0).normal(size=(1, 2, 4, 5))
layers = {"nearest": Upsample(scale_factor=1.5), "bilinear": Upsample(size=(7, 3), mode="bilinear"),
          "adaptive": AdaptiveAvgPool2d((3, 2)), "average": AvgPool2d(3, 2, 1, count_include_pad=False)}
for name, layer in layers.items():
    print(f"{name:9} gradient agrees with the numerical one: {gradcheck(layer, tiny)['input'] < 1e-8}")

# %% [markdown]
# ## See: false rings
#
# Rings that become finer towards the outside, 96 × 96, are shrunk to 32 × 32 in three ways. A digit is enlarged by both modes.

# %%
yy, xx = np.mgrid[-1:1:96j, -1:1:96j]
rings = (0.5 + 0.5 * np.cos(55 * (xx**2 + yy**2)))[None, None]
piece = pixels[2600:2601, :, 6:20, 6:20]
views = {"rings": rings, "nearest": Upsample(size=32)(rings),
         "bilinear": Upsample(size=32, mode="bilinear")(rings),
         "adaptive average": AdaptiveAvgPool2d(32)(rings)}
larger = {"part of a digit": piece, "nearest × 6": Upsample(scale_factor=6)(piece),
          "bilinear × 6": Upsample(scale_factor=6, mode="bilinear")(piece)}

fig, axes = plt.subplots(1, 7, figsize=(13, 2.3))
draw_images(axes, [v[0, 0] for v in (views | larger).values()], list(views | larger))
plt.show()

# %% [markdown]
# Beside the true centre, nearest and bilinear draw others, with rings that do not exist. A new pixel looks at one of three old ones in each direction,
# and fine patterns fall between. This is *aliasing*. The average looks at every pixel. What it cannot draw turns mostly grey.
#
# ## Use: the same number of features, three ways to get them
#
# Eight edge maps of each digit, shrunk to 7 × 7, and one `Linear` on top. Only the shrinking differs. The three kinds of features
# differ in size, and larger ones would learn faster. So each is divided by its standard deviation. The 1,000 held-out
# digits of chapter 06 are read twice: as they are, and moved by one pixel, right and down. None was moved in training.

# %% tags=["nbval-check-output"]
order = np.random.default_rng(0).permutation(len(labels))
test = np.concatenate([order[labels[order] == k][:100] for k in range(10)])
train = np.setdiff1d(order, test)
train_maps, test_maps = edge_maps(pixels[train]), edge_maps(pixels[test])
moved_maps = edge_maps(np.roll(pixels[test], (1, 1), axis=(2, 3)))


def train_on(x, y, epochs=6):
    rng = np.random.default_rng(0)
    model, loss = NyangFlow(Flatten(), Linear(x[0].size, 10, rng=rng)), CrossEntropyLoss()
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(epochs):
        for batch in np.array_split(rng.permutation(len(x)), len(x) // 64):
            optimizer.zero_grad()
            loss(model(x[batch]), y[batch])
            model.backward(loss.backward())
            optimizer.step()
    return model

# %% tags=["nbval-check-output"]
result = {}
for name, f in shrink.items():
    x = f(train_maps)
    model = train_on(x / x.std(), labels[train])
    result[name] = [100 * np.mean(model(f(maps) / x.std()).argmax(axis=1) == labels[test])
                    for maps in (test_maps, moved_maps)]

fig, ax = plt.subplots(figsize=(6, 2.8))
for k, (name, values) in enumerate(result.items()):
    ax.bar_label(ax.bar(np.arange(2) + 0.27 * (k - 1), values, 0.25, label=name), fmt="%.1f")
ax.set(xticks=[0, 1], xticklabels=["as they are", "moved by one pixel"], ylim=(0, 109), ylabel="% right")
ax.legend(ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.1))
plt.show()

lead = np.min([result["mean"], result["maximum"]], axis=0) - result["every fourth"]
print(f"{train_maps[0].size} numbers a digit became {x[0].size}")
print(f"either pooling reads at least 94%: {min(result['mean'][0], result['maximum'][0]) >= 94}")
print(f"lead over every fourth: 3 points {lead[0] >= 3}, on moved digits 8 points {lead[1] >= 8}")

# %% [markdown]
# All three have the same number of weights. The one that looks at every fourth pixel is behind, and falls back further when
# the digits move. Between maximum and mean there is no winner here: with 1,000 digits, a point may be luck.
# Both pass the floor of chapter 06's network, 93 %, with hand-made edges and one trained layer. With trained filters, this
# becomes LeNet (14).
#
# ## Exercise 8 ★: break it and say why
#
# Empty paper is whole windows of zeros, and a ReLU makes more. Suppose that max pooling gave `dout` to *every* pixel that equals
# its window's maximum. The layer is `MaxPool2d(size)`, and `x` is all zeros. What is the sum of all of `dx`, for this broken
# layer and for the right one?

# %% exercise="tied_sums" points=1 stars=1 reveal=false
def tied_sums(dout, size):
    """Predict the sum of dx on a map of zeros: of the broken layer, and of the right one.

    Args:
        dout: (N, C, OH, OW).
        size: the windows are size × size, side by side.

    Returns:
        broken, right: two numbers.
    """
    ### BEGIN SOLUTION how many pixels of each window get its dout, in either layer?
    return size**2 * dout.sum(), dout.sum()
    ### END SOLUTION

# %%
check(tied_sums)

# %% probe="tied_sums"
def probe(tied_sums, rng):
    dout, size = rng.uniform(0.5, 2.0, size=(2, 3, 4, 5)), int(rng.integers(3, 6))
    broken, right = tied_sums(dout, size)
    yield "sum of the broken dx", np.asarray(broken, float)
    yield "sum of the right dx", np.asarray(right, float)

# %% mistakes="tied_sums"
@mistake("only one row of the window is counted", "A window has rows and columns. How many pixels are that?")
def tied_sums(dout, size):
    return size * dout.sum(), dout.sum()

@mistake("the broken layer is taken to share dout", "It does not divide: every pixel that equals the maximum gets the whole "
         "dout of its window.")
def tied_sums(dout, size):
    return dout.sum(), dout.sum()

@mistake("the right layer is taken to pass nothing on", "A window of zeros has a maximum too, and a first pixel that holds it. "
         "Where does its dout go?")
def tied_sums(dout, size):
    return size**2 * dout.sum(), 0.0

@mistake("the right layer is taken to share dout", "Sharing is what average pooling does. And even shares would add up to the "
         "whole again.")
def tied_sums(dout, size):
    return size**2 * dout.sum(), dout.sum() / size**2
@mistake("the windows are counted, their dout is not added up", "Every pixel gets the number that dout holds for its window, not a 1. "
         "Add those numbers up.")
def tied_sums(dout, size):
    return size**2 * dout.size, dout.size

# %% [markdown] hints="tied_sums"
# Take one window of zeros and one number of dout. Draw dx for both layers.
#
# ---
#
# Sum of dx = Σ over windows of (pixels that get dout) · dout. In the right layer one pixel gets it.
#
# ---
#
# ```python
# return ... * dout.sum(), ...
# ```

# %% [markdown]
# Say why in one sentence before you go on. Think of raising all zeros of a window together, by a little: by how much does its
# maximum rise?
#
# ## Recap
#
# - Max pooling passes the gradient to the winner, average pooling hands out equal shares. Overlaps add up.
# - K² array operations, one per place in the window, replace a loop over all windows.
# - Resizing is a matrix on each axis, and its gradient the transposed matrix.
# - Shrinking by looking at few pixels invents patterns.
#
# `finish` exports the code into `nyang_edu/model/pool.py` and `model/resample.py`.
#
# **References.** Scherer, Müller, Behnke, *Evaluation of Pooling Operations in Convolutional Architectures for Object
# Recognition* (ICANN 2010). He, Zhang, Ren, Sun, *Spatial Pyramid Pooling in Deep Convolutional Networks* (ECCV 2014), section 2.
# Lin, Chen, Yan, *Network In Network* (ICLR 2014), section 3.2. Zhang, *Making Convolutional Networks Shift-Invariant Again*
# (ICML 2019), section 3, on pooling and aliasing. Odena, Dumoulin, Olah, *Deconvolution and Checkerboard Artifacts* (Distill 2016).

# %%
finish("09_pooling")
