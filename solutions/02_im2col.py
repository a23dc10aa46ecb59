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
# # 02 · Windows as a matrix
#
# **You have** strides and `sliding_windows_2d`, which looks at a picture through a window without
# copying it (01), and `relative_error` (00).
#
# **You will build** `im2col`, which lays all windows of a batch into one matrix, and `col2im`,
# its way back. Between the two stands one idea of linear algebra: the transpose.
#
# **It unlocks** convolution (08), which is one matrix product after `im2col`, and pooling (09).
#
# Time: about 90 minutes. Seven exercises, ★ to ★★★.

# %%
from timeit import repeat, timeit

import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.utility.compare import relative_error
from nyang_edu.utility.plot import BLUE, ORANGE, draw_images, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: one small question, asked everywhere
#
# Where in a picture does ink begin? Take 3 × 3 pixels. Add up the upper row and subtract the
# lower one, the middle pixels counting twice. The result is far from zero where the two rows
# differ: at an edge. Ask this at every place, and a picture of edges appears.
#
# The nine numbers that a window is multiplied with are its *weights*. Together they are a
# *filter*, also called a *kernel*. A loop over the places does the job.

# %%
def filter_by_loops(image, weight):
    K = len(weight)
    out = np.zeros((image.shape[0] - K + 1, image.shape[1] - K + 1))
    for oh, ow in np.ndindex(out.shape):
        out[oh, ow] = (image[oh : oh + K, ow : ow + K] * weight).sum()
    return out

images, labels = load_digits_5k()
pixels = images / np.float32(255)  # (5000, 28, 28)
edge_weight = np.array([[1, 2, 1], [0, 0, 0], [-1, -2, -1]], np.float32)
edges = filter_by_loops(pixels[2500], edge_weight)

fig, axes = plt.subplots(1, 2, figsize=(5, 2.4))
draw_images(axes, [pixels[2500], edges], ["the picture", "its horizontal edges"])
axes[1].images[0].set(cmap="RdBu_r", clim=(-4, 4))
plt.show()
seconds = timeit(lambda: filter_by_loops(pixels[2500], edge_weight), number=5) / 5
print(f"one filter over 5,000 digits would take {seconds * 5000:.0f} s this way")

# %% [markdown]
# Blue marks where ink begins as you move down, red where it ends. A network asks many such
# questions of every picture. The printed time is for one.
#
# A matrix product does the same multiplications far faster. But a window is not a row of a
# matrix. This chapter makes it one.
#
# ## Idea: lay the windows out by hand
#
# Here is a picture of 3 × 4 pixels and a kernel of 2 × 2. Cut out each window, write its four
# numbers as one row, and stack the rows. Flatten the weights in the same order. Now *one* product
# of a matrix with a vector answers for all windows.

# %%
picture = np.array([[3, 7, 1, 8], [4, 9, 2, 6], [5, 0, 11, 10]])
weight = np.array([[1, 0], [0, -1]])
windows = [picture[oh : oh + 2, ow : ow + 2].ravel() for oh in range(2) for ow in range(3)]
columns = np.stack(windows)  # (6, 4)
marked = np.zeros((3, 4), bool)
marked[:2, 1:3] = True

fig, axes = plt.subplots(1, 4, figsize=(9, 3), width_ratios=[4, 4, 2, 3])
draw_matrix(axes[0], picture, "the picture", highlight=marked)
draw_matrix(axes[1], columns, "columns: a window per row", highlight=[[r == 1] * 4 for r in range(6)])
draw_matrix(axes[2], weight.reshape(4, 1), "weights", highlight=np.ones((4, 1)))
out = (columns @ weight.ravel()).reshape(2, 3)
draw_matrix(axes[3], out, "out", highlight=[[0, 1, 0], [0, 0, 0]])
plt.show()

# %% [markdown]
# Follow the orange cells: $7·1 + 1·0 + 9·0 + 2·(-1) = 5$. The pixel 9 stands in four rows: it was
# copied once for every window that holds it.
#
# The layout is called *im2col*, image to columns. In MATLAB's function of that name a window
# becomes a column; here it becomes a row.
#
# ## How many windows?
#
# Four numbers decide where the windows lie.
#
# - the kernel size $K$: how many pixels a window takes along an axis;
# - the *stride* $S$: how far the window moves at a time;
# - the *padding* $P$: how many zeros are laid around the picture on each side;
# - the *dilation* $D$: how far apart the pixels of one window are.
#
# Each line below is one window over a row of seven pixels, a to g.

# %%
fig, axes = plt.subplots(1, 4, figsize=(10, 2.2), width_ratios=[7, 7, 9, 7])
cases = [(1, 0, 1, 5), (3, 0, 1, 2), (2, 1, 1, 4), (1, 0, 2, 3)]  # S, P, D and the windows
for ax, (S, P, D, count) in zip(axes, cases):
    row = list("0" * P + "abcdefg" + "0" * P)
    places = S * np.arange(count)[:, None] + D * np.arange(3)  # (count, 3)
    read = (places[:, :, None] == np.arange(len(row))).any(axis=1)
    draw_matrix(ax, [row] * count, f"K=3  S={S}  P={P}  D={D}", "{}", highlight=read)
plt.show()

# %% [markdown]
# With stride 3 the pixel g is never read: a third window would not fit. With dilation 2, three
# pixels *span* five places.
#
# Count along one axis. The padded row has $\text{size} + 2P$ places. A window spans $D(K-1) + 1$
# of them. The first window begins at 0. From there it moves on in steps of $S$, as long as its
# last pixel stays inside:
#
# $$O = \left\lfloor \frac{\text{size} + 2P - D(K-1) - 1}{S} \right\rfloor + 1$$
#
# ### Exercise 1 ★★: the output size
#
# A kernel that spans more than the padded input has no place at all: raise a `ValueError` whose
# message holds the span and the padded size. `pair` is given: in this course a size may be an int
# or a pair (height, width).
#
# After the check, move the controls. The frame is the picture. Blue cells are read by some
# window, white ones by none. Orange dots are the pixels of the first window, crosses the places
# where windows begin. Find a setting that leaves white stripes inside.

# %%
#| default_exp utility.windows
#| export
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

# %% exercise="output_size" points=2 stars=2
#| export
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
    ### BEGIN SOLUTION padded length, span of the kernel, ValueError if it does not fit, formula
    padded = size + 2 * padding
    span = dilation * (kernel_size - 1) + 1
    if span > padded:
        raise ValueError(
            f"a kernel must fit into the padded input: it spans {span} pixels, "
            f"the input has {padded}; use a smaller kernel or dilation, or more padding"
        )
    return (padded - span) // stride + 1
    ### END SOLUTION

# %%
check(output_size)

# %% probe="output_size"
import re


def attempt(function, *sizes):
    """The result, or what kind of ValueError came: which numbers stand in its message."""
    size, K, _, P, D = sizes
    try:
        return str(function(*sizes))
    except ValueError as error:
        told = {int(n) for n in re.findall(r"\d+", str(error))}
    wanted = {size + 2 * P, D * (K - 1) + 1}
    if wanted <= told:
        return "a ValueError with span and padded size"
    if {size, K} <= told:
        return "a ValueError with K and size"
    return f"a ValueError with {'one of span and padded size' if wanted & told else 'neither of them'}"


def probe(output_size, rng):
    steps, S, K = int(rng.integers(4, 9)), int(rng.integers(3, 5)), int(rng.integers(4, 7))
    P, D = int(rng.integers(1, 3)), int(rng.integers(3, 5))
    span = D * (K - 1) + 1
    exact = S * steps + span - 2 * P
    plain = int(rng.integers(17, 30))  # plus 5 it holds the largest span, 21
    yield "size where the last window ends at the edge", output_size(exact, K, S, P, D)
    yield "size where a rest is left", output_size(exact + S - 1, K, S, P, D)
    yield "size with nothing but a kernel", output_size(plain, K)
    yield "size with dilation alone", output_size(plain + 5, K, dilation=D)
    yield "a kernel that just fits", attempt(output_size, span - 2, K, S, 1, D)
    yield "a kernel that fits thanks to the padding", attempt(output_size, K - 1, K, S, 1, 1)
    yield "a dilated kernel that is too large", attempt(output_size, span - 2 * P - 1, K, S, P, D)
    yield "a kernel that is much too large", attempt(output_size, plain, plain + 20, S, 2, 1)

# %% mistakes="output_size"
mistake("the division is rounded up", "A window that would stick out at the end is not counted. Round down: // does.",
        swap=("(padded - span) // stride + 1", "-(-(padded - span) // stride) + 1"))
mistake("the padding is counted once", "P zeros are laid on each side, so the axis grows by 2P.",
        swap=("size + 2 * padding", "size + padding"))
mistake("the dilation is forgotten", "With dilation D the K pixels of a window lie D apart, and span more than "
        "K places.", swap=("dilation * (kernel_size - 1) + 1", "kernel_size"))
mistake("the span is taken as D times K", "K pixels have K − 1 gaps between them. The last pixel adds one place, not D.",
        swap=("dilation * (kernel_size - 1) + 1", "dilation * kernel_size"))
mistake("the first window is not counted", "The division counts the moves. Before the first move there is a window "
        "already: + 1.", swap=("// stride + 1", "// stride"))
mistake("the stride is ignored", "Each move is S pixels long. Divide by the stride.",
        swap=("(padded - span) // stride + 1", "padded - span + 1"))
mistake("the result is a float", "A number of windows is used as a shape, so it must be an int. Divide with //.",
        swap=("return (padded - span) // stride + 1", "return float((padded - span) // stride + 1)"))
mistake("a kernel that just fits is refused", "A kernel as large as the padded input has exactly one place. Refuse only what "
        "is larger.", swap=("span > padded", "span >= padded"))
mistake("the kernel is compared before dilation and padding", "A kernel of few pixels can span many, and padding makes room. "
        "Compare the span with the padded size.", swap=("if span > padded:", "if kernel_size > size:"))
mistake("kernel_size is compared with size, as both were given", "A kernel of few pixels can span many, and padding makes room. "
        "Compare the span with the padded size, and put these two into the message.",
        swap=("""if span > padded:
        raise ValueError(
            f"a kernel must fit into the padded input: it spans {span} pixels, "
            f"the input has {padded};""", """if kernel_size > size:
        raise ValueError(
            f"a kernel must fit into the input: it has {kernel_size} pixels, "
            f"the input has {size};"""))
mistake("the error names K and size", "What did not fit is the span, into the padded size. Put these two into the message.",
        swap=("""it spans {span} pixels, "
            f"the input has {padded};""", """it has {kernel_size} pixels, "
            f"the input has {size};"""))
mistake("the error leaves out the numbers", "'Too large' sends the reader searching. Put the span and the padded "
        "size into the message, with an f-string.",
        swap=("""it spans {span} pixels, "
            f"the input has {padded};""", """it is too large; "
            f"the input is too small;"""))

@mistake("a kernel that is too large is not refused", "The formula gives zero or less where no window fits, and that number "
         "would wander on as a shape. Compare span and padded size, and raise a ValueError.")
def output_size(size, kernel_size, stride=1, padding=0, dilation=1):
    return (size + 2 * padding - dilation * (kernel_size - 1) - 1) // stride + 1

# %% [markdown] hints="output_size"
# Two helpers make it readable: how long is the padded axis, and how many places does the kernel
# span?
#
# ---
#
# padded = size + 2P, span = D(K − 1) + 1. The number of moves is the free length, padded − span,
# divided by S and rounded down.
#
# ---
#
# ```python
# padded = ...
# span = ...
# if span > padded:
#     raise ValueError(f"... {span} ... {padded} ...")
# return (padded - span) // ... + 1
# ```

# %%
from ipywidgets import IntSlider, interact


def show_windows(kernel=3, stride=2, padding=0, dilation=1):
    length = 8 + 2 * padding
    count = output_size(8, kernel, stride, padding, dilation)
    starts, first = stride * np.arange(count), dilation * np.arange(kernel)
    read = np.isin(np.arange(length), starts[:, None] + first)
    fig, ax = plt.subplots(figsize=(3.6, 3.8))
    draw_matrix(ax, np.outer(read, read), f"output {count} × {count}", "",
                np.outer(read, read), BLUE)
    ax.add_patch(plt.Rectangle((padding, padding), 8, 8, fill=False, lw=2))
    ax.plot(*np.meshgrid(first + 0.5, first + 0.5), "o", color=ORANGE, ms=9)
    ax.plot(*np.meshgrid(starts + 0.5, starts + 0.5), "x", color="black", ms=5)
    plt.show()


interact(show_windows, kernel=IntSlider(value=3, min=1, max=4), stride=IntSlider(value=2, min=1, max=5),
         padding=IntSlider(value=0, min=0, max=2), dilation=IntSlider(value=1, min=1, max=2));

# %% [markdown]
# ## Padding
#
# Without padding every filter makes the picture smaller, and fewer windows see the pixels at the
# border than those inside. With an odd $K$, a stride of 1 and $P = (K-1)/2$ the output is as
# large as the input.
#
# ### Exercise 2 ★★: pad with zeros
#
# Pad the last two axes, whatever stands before them, and keep the dtype.

# %% exercise="pad2d" points=2 stars=2
#| export
def pad2d(x, padding):
    """Lay zeros around the last two axes.

    Args:
        x: (…, H, W), any dtype; it is left unchanged.
        padding: an int or a pair (PH, PW): rows above and below, columns at the sides.

    Returns:
        (…, H + 2·PH, W + 2·PW), of x's dtype.
    """
    ### BEGIN SOLUTION PH rows above and below, PW columns on the left and right, nothing elsewhere
    PH, PW = pair(padding)
    widths = [(0, 0)] * (x.ndim - 2) + [(PH, PH), (PW, PW)]
    return np.pad(x, widths)
    ### END SOLUTION

# %%
check(pad2d)

# %% probe="pad2d"
def probe(pad2d, rng):
    N, C, H, W = rng.permutation([2, 3, 4, 5])
    PH, PW = (int(n) for n in rng.permutation([1, 2, 3])[:2])
    x = rng.normal(size=(N, C, H, W)) + 3
    yield "a batch with padding as an int", pad2d(x, PH)
    yield "a batch with padding as a pair", pad2d(x, (PH, PW))
    yield "a batch in float32", pad2d(x.astype(np.float32), PH)
    yield "one picture (H, W)", pad2d(x[0, 0], (PH, PW))
    yield "a batch with padding (1, 0)", pad2d(x, (1, 0))
    yield "a batch with padding 0", pad2d(x, 0)

# %% mistakes="pad2d"
mistake("only one side is padded", "Padding P means P zeros on each side: above and below, left and right.",
        swap=("[(PH, PH), (PW, PW)]", "[(PH, 0), (PW, 0)]"))
mistake("all zeros are laid above and on the left", "P zeros belong on each side, so x lies in the middle.",
        swap=("[(PH, PH), (PW, PW)]", "[(2 * PH, 0), (2 * PW, 0)]"))
mistake("all zeros are laid below and on the right", "P zeros belong on each side, so x lies in the middle.",
        swap=("[(PH, PH), (PW, PW)]", "[(0, 2 * PH), (0, 2 * PW)]"))
mistake("height and width are exchanged", "A pair is (PH, PW): the first number belongs to the rows, which are the axis "
        "before the last.", swap=("[(PH, PH), (PW, PW)]", "[(PW, PW), (PH, PH)]"))
mistake("every axis is padded", "The batch and the channels must keep their size. Give (0, 0) for every axis but "
        "the last two.", swap=("[(0, 0)] * (x.ndim - 2)", "[(PH, PH)] * (x.ndim - 2)"))
mistake("the border is filled with the edge's values", "Here the padding is zeros, as in most layers. np.pad's "
        "default mode fills with zeros.", swap=("np.pad(x, widths)", 'np.pad(x, widths, mode="edge")'))
mistake("the result is always float64", "np.zeros without a dtype is float64. Keep x's: pass x.dtype on.",
        swap=("np.pad(x, widths)", "np.pad(x, widths).astype(np.float64)"))
mistake("the padding is shared between the two sides", "P is the number of zeros on each side, not the sum of both.",
        swap=("[(PH, PH), (PW, PW)]", "[(PH // 2, PH - PH // 2), (PW // 2, PW - PW // 2)]"))
mistake("four axes are taken for granted in np.pad", "One picture has the axes (H, W) only. Pairs of zeros are needed for "
        "x.ndim axes, whatever their number.", swap=("* (x.ndim - 2)", "* 2"))
mistake("four axes are taken for granted in x.shape", "One picture has the axes (H, W) only. Count from the end: x.shape[-2:], "
        "and ... for whatever stands before.", swap=("    widths =", "    N, C, H, W = x.shape\n    widths ="))

@mistake("with padding 0 the slice is empty", "A slice PH:-PH means 0:-0 without padding, and that is 0:0. Say where x ends "
         "as a sum: PH + H.")
def pad2d(x, padding):
    PH, PW = pair(padding)
    out = np.zeros((*x.shape[:-2], x.shape[-2] + 2 * PH, x.shape[-1] + 2 * PW), x.dtype)
    out[..., PH:-PH, PW:-PW] = x
    return out

# %% [markdown] hints="pad2d"
# Two ways lead there: `np.pad`, or a larger array of zeros into whose middle x is written.
#
# ---
#
# `np.pad(x, widths)` wants one pair (before, after) per axis: (0, 0) for all but the last two,
# which get (PH, PH) and (PW, PW).
#
# ---
#
# ```python
# PH, PW = pair(padding)
# widths = [(0, 0)] * (x.ndim - 2) + [..., ...]
# return np.pad(x, widths)
# ```

# %% [markdown]
# ## Maths: forward
#
# A batch has $N$ pictures of $C$ channels, as the three colours of a photo. A window goes through
# all channels at once, so it holds $C · KH · KW$ numbers. Row $r$ of `columns` is one window,
# column $q$ one place in it. With $\hat x$ for the padded input:
#
# $$\text{columns}_{rq} = \hat x_{\,n,\;c,\;oh·S + kh·D,\;ow·S + kw·D}, \qquad
# \begin{aligned} r &= (n · OH + oh) · OW + ow \\ q &= (c · KH + kh) · KW + kw \end{aligned}$$
#
# Both indices are the address rule of chapter 01: the row runs over $(n, oh, ow)$ with $ow$
# fastest, the column over $(c, kh, kw)$ with $kw$ fastest. Any order would do, if the weights
# followed it. In this one, weights of shape (O, C, KH, KW), as PyTorch keeps them, need only a
# reshape.
#
# | array | shape | what one row is |
# |---|---|---|
# | `x` | (N, C, H, W) | – |
# | `columns` | (N·OH·OW, C·KH·KW) | a window, all channels |
# | flat `weight` | (O, C·KH·KW) | a filter |
# | `columns @ weight.T` | (N·OH·OW, O) | the answers of O filters at one place |
#
# ### Exercise 3 ★★: slow and clear
#
# Loop over the pictures, then over the rows and columns of the output. Each round cuts out one
# window and writes it as one row. Dilation waits.

# %% exercise="im2col_loops" points=3 stars=2
def im2col_loops(x, kernel_size, stride=1, padding=0):
    """Lay all windows of x into the rows of a matrix, one after the other.

    Args:
        x: (N, C, H, W).
        kernel_size: an int or a pair (KH, KW).
        stride, padding: ints.

    Returns:
        columns (N·OH·OW, C·KH·KW), rows ordered (n, oh, ow), columns (c, kh, kw).
    """
    N, C, H, W = x.shape
    KH, KW = pair(kernel_size)
    OH = output_size(H, KH, stride, padding)
    OW = output_size(W, KW, stride, padding)
    columns = np.zeros((N * OH * OW, C * KH * KW), x.dtype)
    ### BEGIN SOLUTION pad; for n, oh, ow: cut the window (C, KH, KW) out and write it into the next row
    padded = pad2d(x, padding)
    row = 0
    for n in range(N):
        for oh in range(OH):
            for ow in range(OW):
                top, left = oh * stride, ow * stride
                window = padded[n, :, top : top + KH, left : left + KW]  # (C, KH, KW)
                columns[row] = window.ravel()
                row += 1
    return columns
    ### END SOLUTION

# %%
check(im2col_loops)

# %% probe="im2col_loops"
def probe(im2col_loops, rng):
    # with 7, 8 or 11 pixels, K = 3, S = 4 and P = 1 no window sticks out of the unpadded picture
    N, C, H, W = rng.permutation([2, 3]).tolist() + rng.permutation([7, 8, 11])[:2].tolist()
    kernel = tuple(rng.permutation([2, 3]).tolist())
    x = rng.normal(size=(N, C, H, W))
    yield "columns", im2col_loops(x, kernel)
    yield "columns with stride 4 and padding 1", im2col_loops(x, 3, 4, 1)
    yield "columns with stride 2", im2col_loops(x, kernel, stride=2)
    yield "columns with padding 2", im2col_loops(x, kernel, padding=2)
    yield "columns with stride and padding and an int as kernel", im2col_loops(x, 3, 2, 1)
    yield "columns in float32", im2col_loops(x.astype(np.float32), kernel)

# %% mistakes="im2col_loops"
mistake("the columns are ordered (kh, kw, c)", "Within a row the channel is the slowest index: first the whole window of channel 0, "
        "then that of channel 1. Do not move the channel axis back before flattening.",
        swap=("window.ravel()", "window.transpose(1, 2, 0).ravel()"))
mistake("each window is transposed", "kw is the fastest index in a row: read the window line by line, "
        "as ravel does.", swap=("window.ravel()", "window.transpose(0, 2, 1).ravel()"))
mistake("the window moves by one pixel in place of the stride", "Output place oh looks at the rows from oh · stride on.",
        swap=("oh * stride, ow * stride", "oh, ow"))
mistake("the padding is left out", "The windows must be cut from the padded picture, or those at the end stick out.",
        swap=("padded = pad2d(x, padding)", "padded = x"))
mistake("the stride stands inside the window", "The stride moves the window. Inside it the pixels lie side by side: no step "
        "in that slice.", swap=("top : top + KH, left : left + KW]", "top : top + KH : stride, left : left + KW : stride]"))
mistake("all windows are written into row 0", "Some rows were never written: they are still zeros. After each window, "
        "move on to the next row.", swap=("                row += 1\n", ""))
mistake("each picture is written over the one before", "Some rows were never written: they are still zeros. The second picture begins "
        "at row OH · OW.", swap=("    for n in range(N):\n", "    for n in range(N):\n        row = 0\n"))
mistake("the loops end before the padding does", "Some rows were never written: they are still zeros. H and W do not count the padding, "
        "OH and OW do: loop over these.",
        swap=("""        for oh in range(OH):
            for ow in range(OW):
                top, left = oh * stride, ow * stride
""", """        for top in range(0, H - KH + 1, stride):
            for left in range(0, W - KW + 1, stride):
"""))
mistake("the loops run over pixels, not over windows", "Near the end a window sticks out. There are OH × OW windows: loop over these, "
        "and multiply by the stride to find where each begins.",
        swap=("""        for oh in range(OH):
            for ow in range(OW):
                top, left = oh * stride, ow * stride
""", """        for top in range(0, H, stride):
            for left in range(0, W, stride):
"""))

@mistake("the rows are ordered (oh, ow, n)", "All windows of the first picture come first, then those of the second: n is "
         "the outermost loop.")
def im2col_loops(x, kernel_size, stride=1, padding=0):
    columns = reference(x, kernel_size, stride, padding)
    N = len(x)
    return columns.reshape(N, -1, columns.shape[1]).transpose(1, 0, 2).reshape(columns.shape)

@mistake("the windows run down the picture first", "ow is the innermost loop: along a line first, then down to the next, as one "
         "reads a page.")
def im2col_loops(x, kernel_size, stride=1, padding=0):
    columns = reference(x, kernel_size, stride, padding)
    OW = output_size(x.shape[3], pair(kernel_size)[1], stride, padding)
    grid = columns.reshape(len(x), -1, OW, columns.shape[1])
    return grid.transpose(0, 2, 1, 3).reshape(columns.shape)

@mistake("the result is always float64", "Fill an array of x's dtype, not one that np.zeros or a list of windows makes.")
def im2col_loops(x, kernel_size, stride=1, padding=0):
    return reference(x, kernel_size, stride, padding).astype(np.float64)

# %% [markdown] hints="im2col_loops"
# Where does the window of output place (oh, ow) begin in the padded picture? Cut it out with a
# slice, for all channels at once.
#
# ---
#
# It begins at row oh · stride and column ow · stride, and is KH high and KW wide.
# `window.ravel()` flattens (C, KH, KW) with kw fastest.
#
# ---
#
# ```python
# padded = ...
# row = 0
# for n in range(N):
#     for oh in range(OH):
#         for ow in range(OW):
#             top, left = ..., ...
#             columns[row] = padded[n, :, top : ..., left : ...].ravel()
#             row += 1
# return columns
# ```

# %% [markdown]
# ### Exercise 4 ★★★: without a loop
#
# Chapter 01 has the windows already: `sliding_windows_2d(x, size)` is a view of shape (N, C, ·,
# ·, h, w), one window at every place. Three steps turn it into `columns`.
#
# 1. Take windows as large as the kernel *spans*. Slicing the view with steps keeps every $S$-th
#    window, and every $D$-th pixel in it.
# 2. Bring the six axes into the order (N, OH, OW, C, KH, KW): `transpose` takes the old number of
#    each axis, in the new order.
# 3. Reshape. Only here are the windows copied.
#
# All four sizes may be pairs now.

# %% exercise="im2col" points=4 stars=3
#| export
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
    ### BEGIN SOLUTION pad; windows of the span; step by stride and dilation; order the axes; reshape
    span = DH * (KH - 1) + 1, DW * (KW - 1) + 1
    windows = sliding_windows_2d(pad2d(x, padding), span)
    windows = windows[:, :, ::SH, ::SW, ::DH, ::DW]  # (N, C, OH, OW, KH, KW)
    windows = windows.transpose(0, 2, 3, 1, 4, 5)  # (N, OH, OW, C, KH, KW)
    return windows.reshape(N * OH * OW, C * KH * KW)
    ### END SOLUTION

# %%
check(im2col)

# %% probe="im2col"
def probe(im2col, rng):
    N, C, H, W = rng.permutation([2, 3]).tolist() + rng.permutation([8, 9, 11])[:2].tolist()
    kernel = tuple(rng.permutation([2, 3]).tolist())
    stride, dilation = (tuple(rng.permutation([1, 2]).tolist()) for _ in range(2))
    padding = tuple(rng.permutation([0, 1, 2])[:2].tolist())
    x = rng.normal(size=(N, C, H, W))
    yield "columns", im2col(x, kernel)
    yield "columns with a pair of strides", im2col(x, kernel, stride=stride)
    # here a forgotten padding or dilation changes the numbers, but not how many windows there are
    wide = rng.normal(size=(N, C, 11, 12))
    yield "columns with stride 6, padding 1, dilation 2", im2col(wide, 3, 6, 1, 2)
    yield "the same in float32", im2col(wide.astype(np.float32), 3, 6, 1, 2)
    yield "columns with a pair of paddings", im2col(x, kernel, padding=padding)
    yield "columns with a pair of dilations", im2col(x, kernel, dilation=dilation)
    yield "columns with ints for everything", im2col(x, 3, 2, 1, 2)
    yield "columns with pairs for everything", im2col(x, kernel, stride, padding, dilation)

# %% mistakes="im2col"
mistake("the axes are reshaped but not put in order", "reshape never moves a number past another. Before it the axes "
        "must stand in the order (N, OH, OW, C, KH, KW): transpose first.",
        swap=("windows = windows.transpose(0, 2, 3, 1, 4, 5)", "windows = windows"))
mistake("the columns are ordered (kh, kw, c)", "Within a row the channel is the slowest index: C comes before KH "
        "and KW.", swap=("transpose(0, 2, 3, 1, 4, 5)", "transpose(0, 2, 3, 4, 5, 1)"))
mistake("the rows are ordered (oh, ow, n)", "All windows of the first picture come first: N is the first axis.",
        swap=("transpose(0, 2, 3, 1, 4, 5)", "transpose(2, 3, 0, 1, 4, 5)"))
mistake("each window is transposed", "kw is the fastest index in a row: KH comes before KW.",
        swap=("transpose(0, 2, 3, 1, 4, 5)", "transpose(0, 2, 3, 1, 5, 4)"))
mistake("the windows run down the picture first", "ow is faster than oh: OH comes before OW.",
        swap=("transpose(0, 2, 3, 1, 4, 5)", "transpose(0, 3, 2, 1, 4, 5)"))
mistake("the dilation is forgotten", "The pixels of a window lie D apart: take windows of the whole span, then every D-th "
        "pixel of the last two axes.", swap=("""    span = DH * (KH - 1) + 1, DW * (KW - 1) + 1
    windows = sliding_windows_2d(pad2d(x, padding), span)
    windows = windows[:, :, ::SH, ::SW, ::DH, ::DW]""", """    span = KH, KW
    windows = sliding_windows_2d(pad2d(x, padding), span)
    windows = windows[:, :, ::SH, ::SW]"""))
mistake("all pixels of the span are kept", "A window of the whole span holds more than K pixels an axis: keep every D-th "
        "of the last two axes.", swap=("::SW, ::DH, ::DW]", "::SW]"))
mistake("the span is taken as D times K", "K pixels have K − 1 gaps between them. The last pixel adds one place, not D.",
        swap=("DH * (KH - 1) + 1, DW * (KW - 1) + 1", "DH * KH, DW * KW"))
mistake("the stride is ignored", "Keep only every SH-th row and every SW-th column of windows.",
        swap=("::SH, ::SW,", ":, :,"))
mistake("height and width of the stride are exchanged", "A pair is (height, width): SH steps along axis 2, SW along axis 3.",
        swap=("::SH, ::SW,", "::SW, ::SH,"))
mistake("the padding is ignored", "The windows must be cut from the padded picture: pad2d first.",
        swap=("sliding_windows_2d(pad2d(x, padding), span)", "sliding_windows_2d(x, span)"))
mistake("the six axes are not flattened", "columns is a matrix: (N, OH, OW) become its rows, (C, KH, KW) its columns. reshape does both.",
        swap=("return windows.reshape(N * OH * OW, C * KH * KW)", "return windows"))

@mistake("each window is a column, not a row", "That is MATLAB's layout. Here a window is one row: (N, OH, OW) come first.")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    return reference(x, kernel_size, stride, padding, dilation).T

@mistake("the result is always float64", "Nothing on the way needs a new dtype: pad2d and the view keep x's.")
def im2col(x, kernel_size, stride=1, padding=0, dilation=1):
    return reference(x, kernel_size, stride, padding, dilation).astype(np.float64)

# %% [markdown] hints="im2col"
# Build it step by step and print `windows.shape` after each. A kernel of 3 with dilation 2 spans
# 5: take windows of 5 and keep the pixels 0, 2 and 4 of each.
#
# ---
#
# span = (DH(KH − 1) + 1, DW(KW − 1) + 1). The view has axes (N, C, places down, places across,
# span down, span across): slice axes 2 and 3 with the stride, axes 4 and 5 with the dilation.
# Then transpose and reshape.
#
# ---
#
# ```python
# span = ..., ...
# windows = sliding_windows_2d(pad2d(x, padding), span)
# windows = windows[:, :, ::SH, ..., ..., ...]  # (N, C, OH, OW, KH, KW)
# windows = windows.transpose(0, 2, 3, ...)  # (N, OH, OW, C, KH, KW)
# return windows.reshape(N * OH * OW, C * KH * KW)
# ```

# %% [markdown]
# Nothing is computed here, only copied, so the two must agree to the last bit. And the layout has
# a price: how many numbers does the matrix hold for each pixel? With a stride of 1 and a padding
# that keeps the size, one for each place of the kernel.

# %% tags=["nbval-check-output"]
batch = pixels[::250, None]  # (20, 1, 28, 28)
print("loops and view agree:", np.array_equal(im2col_loops(batch, 3, 1, 1), im2col(batch, 3, 1, 1)))
for K in (3, 5, 7):
    columns = im2col(batch, K, padding=K // 2)
    print(f"K = {K}: columns {columns.shape}, {columns.size // batch.size} × the numbers of x")

# %%
slow = min(repeat(lambda: im2col_loops(batch, 3, 1, 1), number=1, repeat=5))
fast = min(repeat(lambda: im2col(batch, 3, 1, 1), number=1, repeat=5))
print(f"loops {slow * 1e3:.1f} ms, view {fast * 1e3:.2f} ms: {slow / fast:.0f} times faster")

# %% [markdown]
# That is the bargain of im2col: memory for speed. It pays: the matrix product is one of the
# best-tuned routines of a computer.
#
# ## Maths: backward
#
# A network ends in one number $L$, its error. Training asks how much $L$ changes when some number
# on the way changes a little. The answer is the *gradient* of that number. Say we have it for
# every number of `columns`: `dcolumns`, of the same shape. What is the gradient of a *pixel*?
#
# Put all pixels into one long vector. Every number of `columns` is one of them, or a zero of the
# padding. So `im2col` is linear: $\text{columns} = A\,x$, with a matrix $A$ of zeros and ones. To
# see $A$, push pictures through `im2col` in which a single pixel is 1. Each result is one column
# of $A$. Here it is for 3 × 3 pixels and a 2 × 2 kernel, with dots for the zeros.

# %%
units = np.eye(9).reshape(9, 1, 3, 3)  # nine pictures, one pixel lit in each
A = im2col(units, 2).reshape(9, 16).T  # (16, 9)
fig, axes = plt.subplots(1, 2, figsize=(9, 4.6), width_ratios=[9, 16])
centre = np.arange(9) == 4
text = np.where(A > 0, "1", "·")
draw_matrix(axes[0], text, "A: im2col, (16, 9)", "{}", highlight=A * centre > 0)
draw_matrix(axes[1], text.T, "Aᵀ: col2im, (9, 16)", "{}", highlight=(A * centre > 0).T)
plt.show()

# %% [markdown]
# Each row of $A$ holds a single 1: every number of `columns` comes from one pixel. The column of
# the centre pixel (orange) holds four: it was copied to four places. The chain rule adds up all
# the ways in which the pixel $x_j$ reaches $L$:
#
# $$\frac{\partial L}{\partial x_j} = \sum_i \frac{\partial L}{\partial \text{columns}_i}\,
# \frac{\partial\, \text{columns}_i}{\partial x_j} = \sum_i \text{dcolumns}_i\, A_{ij}
# = \left(A^\top \text{dcolumns}\right)_j$$
#
# The gradient goes back through the *transpose*. Read it in the right picture: the row of the
# centre pixel adds up four numbers. **What was copied forward is summed backward.** That sum is
# `col2im`. Nobody stores $A$, for almost all of it is zero.
#
# ### Exercise 5 ★★★: col2im
#
# Start from a padded picture of zeros. For a fixed place $(kh, kw)$ of the kernel the windows
# read the rows $oh·S + kh·D$ and columns $ow·S + kw·D$: a regular grid, which slices with a step
# name. A slice of $OH$ rows ends $S · OH$ after its start. No pixel occurs twice, so the whole grid
# is added at once, in a loop over the places of the kernel only. At the end cut off the padding.

# %% exercise="col2im" points=4 stars=3
#| export
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
    ### BEGIN SOLUTION six axes again; zeros of the padded shape; += for each (kh, kw); cut the padding off
    windows = columns.reshape(N, OH, OW, C, KH, KW).transpose(0, 3, 4, 5, 1, 2)
    padded = np.zeros((N, C, H + 2 * PH, W + 2 * PW), columns.dtype)
    for kh in range(KH):
        for kw in range(KW):
            rows = slice(kh * DH, kh * DH + SH * OH, SH)
            cols = slice(kw * DW, kw * DW + SW * OW, SW)
            padded[:, :, rows, cols] += windows[:, :, kh, kw]  # (N, C, OH, OW)
    return padded[:, :, PH : PH + H, PW : PW + W].copy()
    ### END SOLUTION

# %%
check(col2im)

# %% probe="col2im"
def probe(col2im, rng):
    def columns(kernel, stride, padding, dilation):
        (KH, KW), (OH, OW) = kernel, (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip((H, W), kernel, stride, padding, dilation))
        return rng.normal(size=(N * OH * OW, C * KH * KW))

    N, C, H, W = shape = (*rng.permutation([2, 3]).tolist(), *rng.permutation([8, 9, 11])[:2].tolist())
    kernel = tuple(rng.permutation([2, 3]).tolist())
    stride, dilation = (tuple(rng.permutation([1, 2]).tolist()) for _ in range(2))
    padding = tuple(rng.permutation([1, 2]).tolist())
    plain = columns(kernel, (1, 1), (0, 0), (1, 1))
    yield "x", col2im(plain, shape, kernel)
    yield "x in float32", col2im(plain.astype(np.float32), shape, kernel)
    strided = columns(kernel, stride, (0, 0), (1, 1))
    yield "x with a pair of strides", col2im(strided, shape, kernel, stride)
    yield "x with a pair of paddings", col2im(columns(kernel, (1, 1), padding, (1, 1)), shape, kernel,
                                              padding=padding)
    yield "x with a pair of dilations", col2im(columns(kernel, (1, 1), (0, 0), dilation), shape, kernel,
                                               dilation=dilation)
    yield "x with ints for everything", col2im(columns((3, 3), (2, 2), (1, 1), (2, 2)), shape, 3, 2, 1, 2)

# %% mistakes="col2im"
mistake("overlaps are overwritten, not summed", "A pixel that stands in several windows collects from all of them. With = only the "
        "last one is left: use +=.", swap=("cols] += windows", "cols] = windows"))
mistake("the padding is left on", "The result must have x's shape: cut PH rows and PW columns off on each side.",
        swap=("padded[:, :, PH : PH + H, PW : PW + W].copy()", "padded"))
mistake("the padding is cut off on one side only", "x lies in the middle of the padded picture: it begins at PH and "
        "ends at PH + H.", swap=("padded[:, :, PH : PH + H, PW : PW + W]", "padded[:, :, PH:, PW:]"))
mistake("the padding is cut off at the end only", "x lies in the middle of the padded picture: it begins at PH, not "
        "at 0.", swap=("padded[:, :, PH : PH + H, PW : PW + W]", "padded[:, :, :H, :W]"))
mistake("the columns are read as (kh, kw, c)", "im2col wrote each row with the channel slowest. Reshape to (…, C, KH, KW) "
        "before you move axes.", swap=("columns.reshape(N, OH, OW, C, KH, KW).transpose(0, 3, 4, 5, 1, 2)",
                                       "columns.reshape(N, OH, OW, KH, KW, C).transpose(0, 5, 3, 4, 1, 2)"))
mistake("the axes are reshaped but not put in order", "reshape never moves a number past another. First undo the last step of im2col, "
        "with (N, OH, OW, C, KH, KW), then transpose.",
        swap=("columns.reshape(N, OH, OW, C, KH, KW).transpose(0, 3, 4, 5, 1, 2)",
              "columns.reshape(N, C, KH, KW, OH, OW)"))
mistake("the columns are read as (N, C, OH, OW, KH, KW)", "im2col wrote the rows in the order (n, oh, ow): reshape to (N, OH, OW, C, "
        "KH, KW), then transpose.", swap=("columns.reshape(N, OH, OW, C, KH, KW).transpose(0, 3, 4, 5, 1, 2)",
                                          "columns.reshape(N, C, OH, OW, KH, KW).transpose(0, 1, 4, 5, 2, 3)"))
mistake("with padding 0 the last slice is empty", "A slice PH:-PH means 0:-0 without padding, and that is 0:0. Say where x ends "
        "as a sum: PH + H.", swap=("padded[:, :, PH : PH + H, PW : PW + W]", "padded[:, :, PH:-PH, PW:-PW]"))
mistake("the slices have no end", "They must stop after OH and OW pixels, or they run on to the border of the picture.",
        swap=("""kh * DH + SH * OH, SH)
            cols = slice(kw * DW, kw * DW + SW * OW, SW)""", """None, SH)
            cols = slice(kw * DW, None, SW)"""))
mistake("the slices end too early", "OH pixels with a step of SH reach over SH · OH places, not OH.",
        swap=("""kh * DH + SH * OH, SH)
            cols = slice(kw * DW, kw * DW + SW * OW, SW)""", """kh * DH + OH, SH)
            cols = slice(kw * DW, kw * DW + OW, SW)"""))
mistake("the array of zeros has no room for the padding", "Windows reach into the padding. Begin with zeros of the padded shape, and cut "
        "at the end.", swap=("H + 2 * PH, W + 2 * PW", "H, W"))
mistake("the dilation is ignored", "Place kh of a window lies kh · DH below its beginning.",
        swap=("""            rows = slice(kh * DH, kh * DH + SH * OH, SH)
            cols = slice(kw * DW, kw * DW + SW * OW, SW)
""", """            rows = slice(kh, kh + SH * OH, SH)
            cols = slice(kw, kw + SW * OW, SW)
"""))
mistake("the windows are put one pixel apart, whatever the stride", "Window oh begins at oh · SH: the slice needs the stride "
        "as its step.", swap=("""            rows = slice(kh * DH, kh * DH + SH * OH, SH)
            cols = slice(kw * DW, kw * DW + SW * OW, SW)
""", """            rows = slice(kh * DH, kh * DH + OH)
            cols = slice(kw * DW, kw * DW + OW)
"""))
mistake("the result is always float64", "np.zeros without a dtype is float64: pass columns.dtype.",
        swap=(", columns.dtype)", ")"))

@mistake("overlaps are averaged", "Dividing by the number of windows gives the picture back, an inverse. A gradient "
         "needs the transpose: add, and divide by nothing.")
def col2im(columns, x_shape, kernel_size, stride=1, padding=0, dilation=1):
    counts = reference(np.ones_like(columns), x_shape, kernel_size, stride, padding, dilation)
    return reference(columns, x_shape, kernel_size, stride, padding, dilation) / np.maximum(counts, 1)

# %% [markdown] hints="col2im"
# Undo im2col from its end: reshape to six axes, bring OH and OW to the back, then add. One slice
# with a step reaches all pixels that place (kh, kw) of the windows was read from.
#
# ---
#
# Rows kh · DH, kh · DH + SH, kh · DH + 2 SH, … , OH of them:
# `slice(kh * DH, kh * DH + SH * OH, SH)`. The columns likewise. x begins at PH and PW of the
# padded array.
#
# ---
#
# ```python
# windows = columns.reshape(N, OH, OW, C, KH, KW).transpose(0, 3, ...)  # (N, C, KH, KW, OH, OW)
# padded = np.zeros(..., columns.dtype)
# for kh in range(KH):
#     for kw in range(KW):
#         rows = slice(kh * DH, ..., SH)
#         cols = ...
#         padded[:, :, rows, cols] += ...
# return padded[:, :, ...]
# ```

# %% [markdown]
# A transpose can be recognised without ever writing out $A$. For all $x$ and $y$ it holds that
# $\langle A x, y\rangle = \langle x, A^\top y\rangle$, where $\langle\,,\rangle$ multiplies
# element by element and adds up. Draw both at random and compare the numbers: the *adjoint
# test*. It needs no known answer, and a wrong `col2im` fails it.

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(2)
x, options = rng.normal(size=(2, 3, 9, 8)), {"stride": (2, 1), "padding": (1, 2), "dilation": 2}
Ax = im2col(x, (3, 2), **options)
y = rng.normal(size=Ax.shape)
error = relative_error(np.sum(Ax * y), np.sum(x * col2im(y, x.shape, (3, 2), **options)))
print("adjoint test passed:", error < 1e-12)
z = rng.normal(size=(4, 4))
print("col2im equals Aᵀ:", np.allclose(A.T @ z.ravel(), col2im(z, (1, 1, 3, 3), 2).ravel()))

# %% [markdown]
# ### Exercise 6 ★: predict
#
# A picture of 5 × 5 ones goes through `im2col`, and its columns straight back through `col2im`.
# It does not come back as ones. How large are these pixels? Work them out on paper first: for one
# axis, how many windows hold the place? The cell after the check draws the pictures.

# %% exercise="overlap_counts" points=1 stars=1 reveal=false
def overlap_counts():
    """Predict one pixel of 5 × 5 ones: corner (0, 0), upper edge (0, 2) or centre (2, 2)."""
    places = ["K=3 corner", "K=3 middle of the upper edge", "K=3 centre",
              "K=3 stride 2 centre", "K=3 padding 1 corner", "K=2 stride 3 centre"]
    ### BEGIN SOLUTION counts = a list of six ints, one for each place, in this order
    counts = [1, 3, 9, 4, 4, 0]
    ### END SOLUTION
    return dict(zip(places, counts, strict=True))

# %%
check(overlap_counts)

# %% probe="overlap_counts"
def probe(overlap_counts, rng):
    for place, count in overlap_counts().items():
        yield place, count

# %% mistakes="overlap_counts"
def counted(counts):
    return dict(zip(reference(), counts, strict=True))

@mistake("the picture is taken to come back as it was", "A pixel that three windows hold is copied three times, and col2im adds "
         "all copies up. A pixel in no window gets nothing.")
def overlap_counts():
    return counted([1, 1, 1, 1, 1, 1])

@mistake("only one axis is counted", "A window has to hold the pixel's row and its column. Count the choices along each axis, and "
         "multiply.")
def overlap_counts():
    return counted([1, 3, 3, 2, 2, 0])

@mistake("the choices along the two axes are added", "Each choice of rows goes with each choice of columns. So the two "
         "counts multiply.")
def overlap_counts():
    return counted([2, 4, 6, 4, 4, 0])

@mistake("every pixel is taken to lie in K × K windows", "That holds only where windows begin at every place around the "
         "pixel. Near the border, and with a stride, there are fewer.")
def overlap_counts():
    return counted([9, 9, 9, 9, 9, 4])

@mistake("all windows are counted, not those that hold the pixel", "Write down where the windows begin along one axis, and keep those "
         "that reach the pixel.")
def overlap_counts():
    return counted([9, 9, 9, 4, 25, 4])

@mistake("the stride is ignored", "With stride S the windows begin at 0, S, 2S, … only.")
def overlap_counts():
    return counted([1, 3, 9, 9, 4, 4])

@mistake("the padding is ignored", "With padding 1 the first window begins one place before the picture, and reaches "
         "into it.")
def overlap_counts():
    return counted([1, 3, 9, 4, 1, 0])

# %% [markdown] hints="overlap_counts"
# Take one axis of five places and write down every window as the list of places it holds. In how
# many lists is the place?
#
# ---
#
# The number at (i, j) is (windows along the rows that hold i) × (windows along the columns that
# hold j).
#
# ---
#
# K=3, stride 1, one axis: the windows are 0–2, 1–3, 2–4. K=3 with stride 2: 0–2 and 2–4. K=2 with
# stride 3: 0–1 and 3–4. With padding 1 the first window of three is −1, 0, 1.

# %%
ones = np.ones((1, 1, 5, 5))
settings = [("K=3", (3,)), ("K=3  stride 2", (3, 2)), ("K=3  padding 1", (3, 1, 1)),
            ("K=2  stride 3", (2, 3)), ("K=2  stride 2", (2, 2))]
fig, axes = plt.subplots(1, 5, figsize=(10, 2.3))
for ax, (title, options) in zip(axes, settings):
    counts = col2im(im2col(ones, *options), ones.shape, *options)[0, 0]
    draw_matrix(ax, counts, title, highlight=counts != 1)
plt.show()

# %% [markdown]
# So `col2im` does not undo `im2col`: each pixel comes back times the number of windows that hold
# it. Orange marks those that have changed. Without overlap, as in the two on the right, a pixel
# comes back as it was, or as 0 where no window reads it.
#
# ## See: three filters over real digits
#
# `filter_images` is what chapter 08 will call a convolution: `im2col`, one matrix product, and
# the answers put back into picture form. Nine weights of 1/9 take the mean of each window: a
# blur.

# %%
def filter_images(images, filters):
    """Apply filters (F, 3, 3) to images (N, H, W), padding 1: returns (N, F, H, W)."""
    columns = im2col(images[:, None], 3, padding=1)  # (N·H·W, 9)
    out = columns @ filters.reshape(len(filters), 9).T  # (N·H·W, F)
    return out.reshape(*images.shape, len(filters)).transpose(0, 3, 1, 2)


filters = np.stack([np.full((3, 3), 1 / 9, np.float32), edge_weight, edge_weight.T])
shown = pixels[[100, 600, 1100, 2100, 3600, 4600]]
fig, axes = plt.subplots(4, 6, figsize=(7, 5.4))
draw_images(axes[0], shown)
answers = filter_images(shown, filters)  # (6, 3, 28, 28)
draw_images(axes[1], answers[:, 0])
for ax, answer in zip(axes[2:].ravel(), answers[:, 1:].swapaxes(0, 1).reshape(12, 28, 28)):
    ax.imshow(answer, cmap="RdBu_r", vmin=-4, vmax=4)
    ax.axis("off")
for ax, name in zip(axes[:, 0], ["pixels", "blurred", "horizontal", "vertical"]):
    ax.set_title(name)
plt.show()

# %% [markdown]
# From top to bottom: the digit, blurred, its horizontal edges, its vertical edges. Look at the 1.
# It is pale in the row of horizontal edges and strong in that of vertical ones. The bar of the 7
# is the other way round. Such an answer tells the direction of a stroke, which no single pixel
# can.
#
# ## Use: is an edge worth more than a pixel?
#
# Take the mean picture of each class from one half of the digits, and let every digit of the
# other half join the nearest mean. How often is that the right class? Try the pixels, the blurred
# pictures, both edge pictures, and the edge pictures without their sign.

# %% tags=["nbval-check-output"]
def nearest_mean(features):
    """Share of odd-numbered digits whose nearest class mean, of the even ones, is right."""
    features = features.reshape(len(features), -1).astype(np.float64)
    means = np.stack([features[::2][labels[::2] == k].mean(axis=0) for k in range(10)])
    scores = features[1::2] @ means.T - (means**2).sum(axis=1) / 2  # nearest = largest score
    return np.mean(scores.argmax(axis=1) == labels[1::2])


blurred, both = np.split(filter_images(pixels, filters), [1], axis=1)
print(f"pixels {nearest_mean(pixels):.0%}, blurred {nearest_mean(blurred):.0%}")
print(f"edges {nearest_mean(both):.0%}, without sign {nearest_mean(abs(both)):.0%}")

# %% [markdown]
# The one point between pixels and blur means little. But edges make it clearly *worse*. A filter
# is linear: the mean of the edge pictures is the edge picture of the mean, and no new kind of
# question has been asked. Dropping the sign is a small step that is *not* linear, and with it
# edges beat pixels. Chapter 04 is about such steps.
#
# Here a person chose the filters. Chapter 08 learns them, with the gradients of this chapter.
#
# ## Exercise 7 ★: break it and say why
#
# What if `col2im` wrote `=` where it needs `+=`? Take a row of four pixels and a kernel of size
# (1, 2), so that `columns` is (3, 2). The loop goes through $kw = 0$, then $kw = 1$, and each
# round writes three pixels. Return the four pixels of the *broken* version. Then say why a
# network might still learn with it, and why that is worse than a crash.

# %% exercise="broken_col2im" points=1 stars=1
def broken_col2im(columns):
    """Return the four pixels that col2im gives with = in place of +=.

    Args:
        columns: (3, 2), the windows of a row of four pixels; kernel (1, 2), stride 1.

    Returns:
        (4,) array.
    """
    ### BEGIN SOLUTION x = the four pixels: which of the two rounds writes each one last?
    x = np.zeros(4, columns.dtype)
    x[0:3] = columns[:, 0]
    x[1:4] = columns[:, 1]
    ### END SOLUTION
    return np.asarray(x)

# %%
check(broken_col2im)

# %% probe="broken_col2im"
def probe(broken_col2im, rng):
    yield "x", broken_col2im(rng.normal(size=(3, 2)))

# %% mistakes="broken_col2im"
mistake("this is what the right col2im gives", "With += the two rounds add up. With = a pixel that both rounds write keeps only one "
        "of the two numbers.", swap=("x[1:4] = columns[:, 1]", "x[1:4] += columns[:, 1]"))
mistake("the first write is kept", "An assignment replaces what was there before, and the loop goes over the places of the "
        "kernel: first place 0 of all windows, then place 1 of all windows. So kw = 1 writes last.",
        swap=("x[1:4] = columns[:, 1]", "x[3] = columns[2, 1]"))
mistake("overlaps are averaged", "Nothing is averaged: = puts one number in the place of another.",
        swap=("x[1:4] = columns[:, 1]", "x[1:3] = (columns[1:, 0] + columns[:2, 1]) / 2\n    x[3] = columns[2, 1]"))
mistake("the second round is left out", "The loop has two rounds. The second writes the pixels 1, 2 and 3.",
        swap=("    x[1:4] = columns[:, 1]\n", ""))

# %% [markdown] hints="broken_col2im"
# Draw four boxes. In the first round write columns[0, 0], columns[1, 0], columns[2, 0] into boxes
# 0, 1, 2.
#
# ---
#
# In the second round columns[0, 1], columns[1, 1], columns[2, 1] go into boxes 1, 2, 3, over what
# stood there.
#
# ---
#
# ```python
# x = np.zeros(4, columns.dtype)
# x[0:3] = ...
# x[1:4] = ...
# ```

# %% [markdown]
# ## Recap
#
# - The number of windows along an axis: count the moves, then add the first window.
# - `im2col` copies each window into a row, so that one matrix product answers for all. The price
#   is memory.
# - `im2col` is linear. Gradients go back through its transpose, `col2im`: what was copied forward
#   is summed backward.
#
# With `=` each pixel keeps one window's gradient and loses the others. A network may still learn
# with what is left, only worse, without saying why. The adjoint test says it at once.
#
# `finish` exports `pair`, `output_size`, `pad2d`, `im2col` and `col2im` into
# `nyang_edu/utility/windows.py`.
#
# **References.** Chellapilla, Puri, Simard, *High Performance Convolutional Neural Networks for
# Document Processing*, IWFHR (2006), on unrolling convolution. Dumoulin, Visin, *A guide to
# convolution arithmetic for deep learning*, arXiv:1603.07285 (2016): sections 2.4 (output size),
# 4.1 (the transpose), 5.1 (dilation).

# %%
finish("02_im2col")
