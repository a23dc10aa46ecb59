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
# # 08 · Convolution
#
# **You have** `im2col` and `col2im` (02), the layer contract and `gradcheck` (03), He initialisation
# (04), and a first trained network (06).
#
# **You will build** convolution three times with the same numbers: as loops, as one matrix
# product, and as a layer. Then you read the fast code that the rest of the course runs on.
#
# **It unlocks** pooling (09), BatchNorm (10), and every architecture from LeNet (14) on.
#
# Time: about 2 hours. Nine exercises, ★ to ★★★.

# %%
from timeit import repeat

import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.activation import ReLU
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.compare import relative_error
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.init import he_normal
from nyang_edu.utility.plot import BLUE, GREY, ORANGE, draw_images, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: three pixels to the right
#
# Here is the network of chapter 06 again, with the same 1,000 held-out digits. It reads them
# well. Then every held-out digit is moved to the right, by one, two, three pixels. The orange
# line marks the middle. Above each picture stands the share that is still read right.

# %% tags=["nbval-check-output"]
images, labels = load_digits_5k()
order = np.random.default_rng(0).permutation(len(labels))
test = np.concatenate([order[labels[order] == k][:100] for k in range(10)])
train = np.setdiff1d(order, test)
pixels = images[:, None].astype(np.float32) / 255  # (5000, 1, 28, 28)


def fit(model, rates, rng):
    """Train for one epoch per learning rate, as in chapter 06."""
    loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), rates[0], momentum=0.9)
    for optimizer.lr in rates:
        for batch in np.array_split(rng.permutation(train), len(train) // 32):
            optimizer.zero_grad()
            loss(model(pixels[batch]), labels[batch])
            model.backward(loss.backward())
            optimizer.step()


def accuracy(model, shift=0):
    with no_memory():
        scores = model(np.roll(pixels[test], shift, axis=3))
    return float(np.mean(scores.argmax(axis=1) == labels[test]))


rng = np.random.default_rng(0)
mlp = NyangFlow(Flatten(), Linear(784, 128, rng=rng, init=he_normal), ReLU(),
                Linear(128, 10, rng=rng))
fit(mlp, [0.05, 0.05, 0.05, 0.05, 0.01], rng)
print("in place, at least 93% right:", accuracy(mlp) >= 0.93)
print("three pixels to the right, at most 60% right:", accuracy(mlp, 3) <= 0.60)
fig, axes = plt.subplots(1, 4, figsize=(7, 2))
moved = [np.roll(pixels[2100, 0], shift, axis=1) for shift in range(4)]
draw_images(axes, moved, [f"moved by {s}: {accuracy(mlp, s):.0%}" for s in range(4)])
for ax in axes:
    ax.axvline(13.5, color=ORANGE, lw=1)
plt.show()

# %% [markdown]
# To this network every pixel is an input of its own. A stroke learned at one place means
# nothing three pixels further. But a stroke is a stroke wherever it stands. So let one small
# set of weights slide over the picture, and ask the same question everywhere.
#
# ## Idea: one window by hand
#
# Lay the kernel on a window, multiply number by number, add up, move on. On the right is the
# same with the kernel turned by 180 degrees.

# %% tags=["nbval-check-output"]
picture = np.array([[3, 0, 1, 2], [1, 5, 0, 4], [2, 1, 3, 0]])
kernel = np.array([[1, 2], [0, -1]])
window, first = np.zeros((3, 4), bool), np.array([[0, 1, 0], [0, 0, 0]])
window[:2, 1:3] = True

fig, axes = plt.subplots(1, 5, figsize=(10, 2), width_ratios=[4, 2, 3, 2, 3])
draw_matrix(axes[0], picture, "x", highlight=window)
for k, (name, used) in enumerate([("weight", kernel), ("turned", kernel[::-1, ::-1])]):
    out = [[(picture[i : i + 2, j : j + 2] * used).sum() for j in range(3)] for i in range(2)]
    draw_matrix(axes[1 + 2 * k], used, name, highlight=np.ones((2, 2)))
    draw_matrix(axes[2 + 2 * k], np.array(out), "out", highlight=first)
plt.show()

row, weights = [3, 0, 1, 2], [1, 2]
print("np.correlate:", np.correlate(row, weights, "valid"))
print("np.convolve: ", np.convolve(row, weights, "valid"))

# %% [markdown]
# Follow the orange cells: $0·1 + 1·2 + 5·0 + 0·(-1) = 2$. Mathematics calls the right-hand
# version *convolution* and the left-hand one *cross-correlation*, and NumPy has both names.
# Networks compute the left-hand one and call it convolution all the same: the weights are
# learned, so they come out turned if need be. The turned kernel will return in the backward
# pass.
#
# ## Maths: forward
#
# Real layers have $C$ input channels and $O$ output channels. With stride $S$, dilation $D$ and
# $\bar x$, which is `x` with $P$ zeros around it (02), one element is
#
# $$\text{out}_{n,o,i,j} = b_o + \sum_{c}\sum_{k,l} \bar x_{n,\,c,\,iS + kD,\,jS + lD}\; W_{o,c,k,l}.$$
#
# | array | shape | |
# |---|---|---|
# | `x` | (N, C, H, W) | |
# | `weight` | (O, C, KH, KW) | each output channel has one kernel per input channel |
# | `bias` | (O,) | one number per output channel, at all places |
# | `out` | (N, O, OH, OW) | OH, OW from `output_size` (02) |
#
# ### Exercise 1 ★★: loops
#
# Write the sum as it stands, without dilation. Slow and clear: all faster versions will be
# compared with this one.

# %%
#| default_exp model.conv
#| export
"""Convolution: in loops, as one matrix product, and as products over tiles that fit the cache."""

import numpy as np

from nyang_edu.model.core import NyangModel, Parameter, expect_input
from nyang_edu.model.tiles import Axis, correlate, correlate_back, correlate_weight
from nyang_edu.utility.init import he_normal
from nyang_edu.utility.layout import from_rows, to_rows
from nyang_edu.utility.windows import col2im, im2col, output_size, pad2d, pair

# %% exercise="conv2d_loops" points=2 stars=2 limit=20
#| export
def conv2d_loops(x, weight, bias, stride=1, padding=0):
    """Slide every kernel over the image, one output element at a time.

    Args:
        x: (N, C, H, W).
        weight: (O, C, KH, KW).
        bias: (O,).
        stride, padding: ints.

    Returns:
        out (N, O, OH, OW), of x's dtype.
    """
    ### BEGIN SOLUTION pad x; for each n, o, oh, ow: cut the window out of all channels, multiply, sum, add the bias
    N, _, H, W = x.shape
    O, _, KH, KW = weight.shape
    OH, OW = output_size(H, KH, stride, padding), output_size(W, KW, stride, padding)
    padded = pad2d(x, padding)
    out = np.zeros((N, O, OH, OW), x.dtype)
    for n, o, oh, ow in np.ndindex(out.shape):
        top, left = oh * stride, ow * stride
        window = padded[n, :, top : top + KH, left : left + KW]  # (C, KH, KW)
        out[n, o, oh, ow] = (window * weight[o]).sum() + bias[o]
    return out
    ### END SOLUTION

# %%
check(conv2d_loops)

# %% probe="conv2d_loops"
def probe(conv2d_loops, rng):
    N, C, O = rng.permutation([2, 3, 4])
    KH, KW = rng.permutation([2, 3])
    H, W = rng.permutation([4, 5])
    x, weight = rng.normal(size=(N, C, H, W)), rng.normal(size=(O, C, KH, KW))
    bias = rng.normal(size=O)
    yield "out", conv2d_loops(x, weight, bias)
    yield "out with stride 2", conv2d_loops(x, weight, bias, 2)
    yield "out with padding 1", conv2d_loops(x, weight, bias, 1, 1)
    low = [a.astype(np.float32) for a in (x, weight, bias)]
    yield "dtype of out for float32", str(conv2d_loops(*low).dtype)

# %% mistakes="conv2d_loops"
mistake("the kernel is flipped", "Place (k, l) of the kernel meets place (k, l) of the window. Turning the kernel is the "
        "convolution of mathematics, and networks do not turn it.",
        swap=("window * weight[o]", "window * weight[o, :, ::-1, ::-1]"))
mistake("the stride is ignored", "Window oh begins at oh · stride, and window ow at ow · stride.",
        swap=("top, left = oh * stride, ow * stride", "top, left = oh, ow"))
mistake("only the first input channel is read", "The sum runs over all input channels: cut the window out of every "
        "channel, as padded[n, :, …].", swap=("(window * weight[o])", "(window[0] * weight[o, 0])"))
mistake("the bias is added once for every product", "Sum the products first. The bias comes once for each output element.",
        swap=("(window * weight[o]).sum() + bias[o]", "(window * weight[o] + bias[o]).sum()"))
mistake("the bias is forgotten", "Each output element ends with + bias[o].", swap=(".sum() + bias[o]", ".sum()"))
mistake("every output channel uses the first kernel", "Output channel o has its own kernels: weight[o].",
        swap=("window * weight[o]", "window * weight[0]"))
mistake("the window is averaged, not summed", "The formula is a sum of products. A mean divides by C · KH · KW.",
        swap=("(window * weight[o]).sum()", "(window * weight[o]).mean()"))
mistake("the result is always float64", "np.zeros without a dtype is float64: pass x.dtype.",
        swap=("(N, O, OH, OW), x.dtype)", "(N, O, OH, OW))"))

mistake("the output size forgets the + 1", "The division counts the moves of the window. One window is there before the first "
        "move: output_size counts it.", swap=("OH, OW = output_size(H, KH, stride, padding), output_size(W, KW, stride, padding)",
                                              "OH, OW = (output_size(L, K, stride, padding) - 1 for L, K in [(H, KH), (W, KW)])"))
mistake("the output size leaves out the padding", "Windows also begin on the zeros: give the padding to output_size.",
        swap=("output_size(H, KH, stride, padding), output_size(W, KW, stride, padding)",
              "output_size(H, KH, stride), output_size(W, KW, stride)"))
mistake("zeros are laid around samples and channels too", "np.pad with one number pads all four axes. pad2d pads the last two.",
        swap=("padded = pad2d(x, padding)", "padded = np.pad(x, padding)[:N, : weight.shape[1]]"))

@mistake("the padding is left out", "Lay the zeros around x first, with pad2d. The output size counts them too.")
def conv2d_loops(x, weight, bias, stride=1, padding=0):
    return reference(x, weight, bias, stride)

# %% [markdown] hints="conv2d_loops"
# One element of the output is one window of the padded picture, times one set of kernels, summed. Where does the window
# begin?
#
# ---
#
# The window of output (oh, ow) begins at row oh · stride and column ow · stride of the padded picture. It is as large as the
# kernel and goes through all channels. `np.ndindex(out.shape)` walks over all n, o, oh, ow.
#
# ---
#
# ```python
# N, _, H, W = x.shape
# O, _, KH, KW = weight.shape
# OH, OW = output_size(H, KH, stride, padding), ...
# padded = pad2d(x, padding)
# out = np.zeros(..., x.dtype)
# for n, o, oh, ow in np.ndindex(out.shape):
#     top, left = ...
#     window = padded[n, :, top : top + KH, ...]  # (C, KH, KW)
#     out[n, o, oh, ow] = ...
# return out
# ```

# %% [markdown]
# ## See: what a kernel asks
#
# Five kernels that people have drawn by hand, and your loops' answers for one digit. Blue is
# negative, red is positive.

# %%
upright = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
kernels = {"blur": np.full((3, 3), 1 / 9), "vertical edges": upright, "horizontal edges": upright.T,
           "diagonal": np.array([[0, 1, 2], [-1, 0, 1], [-2, -1, 0]]),
           "outline": np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]])}
stack = np.stack(list(kernels.values()))[:, None].astype(np.float32)  # (5, 1, 3, 3)
answers = conv2d_loops(pixels[3600:3601], stack, np.zeros(5, np.float32), padding=1)[0]

fig, axes = plt.subplots(2, 6, figsize=(10, 3.6))
draw_images(axes[:, 0], [pixels[3600, 0]], ["the digit"])
axes[1, 0].axis("off")
for column, name, one, answer in zip(axes[:, 1:].T, kernels, stack[:, 0], answers):
    for ax, shown in zip(column, [answer, one]):
        ax.imshow(shown, cmap="RdBu_r", vmin=-abs(shown).max(), vmax=abs(shown).max())
        ax.axis("off")
    column[0].set_title(name)
plt.show()

# %% [markdown]
# The blur's weights sum to one, so flat areas keep their grey. The others sum to zero: where
# nothing changes they answer 0. The diagonal kernel compares top right with bottom left. Along
# the long stroke of the 7 these are equal, and the stroke fades.
#
# Two edge kernels can be mixed to look in any direction. Turn the angle below. When does the
# bar of the 7 fade, and what do 0° and 180° have in common?

# %%
from ipywidgets import IntSlider, interact


def turn(angle=0):
    a = np.deg2rad(angle)
    mixed = (np.cos(a) * upright - np.sin(a) * upright.T)[None, None]
    answer = conv2d_loops(pixels[3600:3601], mixed, np.zeros(1), padding=1)[0, 0]
    fig, axes = plt.subplots(1, 2, figsize=(5, 2.4))
    for ax, shown in zip(axes, [mixed[0, 0], answer]):
        ax.imshow(shown, cmap="RdBu_r", vmin=-abs(shown).max(), vmax=abs(shown).max())
        ax.axis("off")
    plt.show()


interact(turn, angle=IntSlider(value=0, min=0, max=360, step=15));

# %% [markdown]
# ## Build: one matrix product
#
# `im2col` lays every window into a row: (N·OH·OW, C·KH·KW). Flatten each output channel's
# kernels in the same order, and the weight is a matrix (O, C·KH·KW). What is left is chapter
# 03: rows times weightᵀ plus bias. One convolution is one linear layer, applied to all windows.
#
# The product is (N·OH·OW, O). Mind the last step: reshape cuts the first axis into N, OH, OW,
# and only then may O move forward.
#
# ### Exercise 2 ★★: forward with im2col

# %% exercise="conv2d_im2col" points=2 stars=2
#| export
def conv2d_im2col(x, weight, bias, stride=1, padding=0, dilation=1):
    """Compute the convolution as one matrix product over all windows.

    Args:
        x: (N, C, H, W).
        weight: (O, C, KH, KW).
        bias: (O,).
        stride, padding, dilation: ints or pairs (height, width).

    Returns:
        out (N, O, OH, OW).

    Source: Chellapilla, Puri, Simard (2006), on unrolling convolution.
    """
    (SH, SW), (PH, PW), (DH, DW) = pair(stride), pair(padding), pair(dilation)
    ### BEGIN SOLUTION columns, one product with the flattened weight, + bias, then back to (N, O, OH, OW)
    N, _, H, W = x.shape
    O, _, KH, KW = weight.shape
    OH, OW = output_size(H, KH, SH, PH, DH), output_size(W, KW, SW, PW, DW)
    columns = im2col(x, (KH, KW), stride, padding, dilation)  # (N·OH·OW, C·KH·KW)
    rows = columns @ weight.reshape(O, -1).T + bias  # (N·OH·OW, O)
    return rows.reshape(N, OH, OW, O).transpose(0, 3, 1, 2)  # (N, O, OH, OW)
    ### END SOLUTION

# %%
check(conv2d_im2col)

# %% probe="conv2d_im2col"
def probe(conv2d_im2col, rng):
    N, C, O = rng.permutation([2, 3, 4])
    KH, KW = rng.permutation([2, 3])
    H, W = rng.permutation([7, 9])
    x, weight = rng.normal(size=(N, C, H, W)), rng.normal(size=(O, C, KH, KW))
    bias = rng.normal(size=O)
    yield "out", conv2d_im2col(x, weight, bias)
    yield "out with a pair of strides", conv2d_im2col(x, weight, bias, (2, 3))
    yield "out with a pair of paddings", conv2d_im2col(x, weight, bias, 1, (2, 1))
    yield "out with dilation 2", conv2d_im2col(x, weight, bias, 1, 1, 2)
    low = [a.astype(np.float32) for a in (x, weight, bias)]
    yield "out with stride 2 and padding 1", conv2d_im2col(x, weight, bias, 2, 1)
    yield "dtype of out for float32", str(conv2d_im2col(*low).dtype)

# %% mistakes="conv2d_im2col"
mistake("the rows are reshaped to (N, O, OH, OW) without a transpose", "The product's first axis counts n, oh, ow, its second "
        "counts o. Reshape to (N, OH, OW, O) first, then move O forward with transpose.",
        swap=("rows.reshape(N, OH, OW, O).transpose(0, 3, 1, 2)", "rows.reshape(N, O, OH, OW)"))
mistake("the rows are reshaped to (O, N, OH, OW)", "The product's first axis counts n, oh, ow, its second counts o: O is last. "
        "Reshape to (N, OH, OW, O), then move O forward.",
        swap=("rows.reshape(N, OH, OW, O).transpose(0, 3, 1, 2)", "rows.reshape(O, N, OH, OW).transpose(1, 0, 2, 3)"))
mistake("the weight is flattened as (kh, kw, c)", "im2col writes each window with the channel slowest: (c, kh, kw). The weight "
        "already lies in memory like this, so it needs no transpose before reshape.",
        swap=("weight.reshape(O, -1).T", "weight.transpose(0, 2, 3, 1).reshape(O, -1).T"))
mistake("the weight is reshaped to (C·KH·KW, O) without a transpose", "reshape never moves a number past another. Make the rows "
        "(O, C·KH·KW) first, then transpose.", swap=("weight.reshape(O, -1).T", "weight.reshape(-1, O)"))
mistake("the kernel is flipped", "Networks do not turn the kernel: place (k, l) meets place (k, l) of the window.",
        swap=("weight.reshape(O, -1)", "weight[:, :, ::-1, ::-1].reshape(O, -1)"))
mistake("the bias is forgotten", "Add the bias to the product: (O,) stretches over all rows.", swap=(".T + bias", ".T"))
mistake("height and width are exchanged at the end", "After reshape the axes are (N, OH, OW, O). Bring O to place 1 and keep OH "
        "before OW.", swap=("transpose(0, 3, 1, 2)", "transpose(0, 3, 2, 1)"))
mistake("the channels stay last", "The layers of this course speak (N, O, OH, OW). Move O to place 1.",
        swap=(".reshape(N, OH, OW, O).transpose(0, 3, 1, 2)", ".reshape(N, OH, OW, O)"))
mistake("the result is always float64", "A float32 input must give a float32 output. Some array on the way was made as "
        "float64.", swap=("weight.reshape(O, -1).T + bias", "weight.reshape(O, -1).T + bias.astype(np.float64)"))

@mistake("the dilation is ignored", "Pass dilation to im2col, and DH, DW to output_size.")
def conv2d_im2col(x, weight, bias, stride=1, padding=0, dilation=1):
    return reference(x, weight, bias, stride, padding)

@mistake("the stride is ignored", "Pass stride to im2col, and SH, SW to output_size.")
def conv2d_im2col(x, weight, bias, stride=1, padding=0, dilation=1):
    return reference(x, weight, bias, 1, padding, dilation)

@mistake("the padding is ignored", "Pass padding to im2col, and PH, PW to output_size.")
def conv2d_im2col(x, weight, bias, stride=1, padding=0, dilation=1):
    return reference(x, weight, bias, stride, 0, dilation)

# %% [markdown] hints="conv2d_im2col"
# `linear_forward(x, weight, bias)` of chapter 03 does the arithmetic. What are its x and its weight here, and in which order
# do the rows of its result stand?
#
# ---
#
# columns = im2col(…), rows = columns · weight.reshape(O, −1)ᵀ + bias. The rows are ordered (n, oh, ow), so
# reshape(N, OH, OW, O) comes first and transpose second.
#
# ---
#
# ```python
# N, _, H, W = x.shape
# O, _, KH, KW = weight.shape
# OH, OW = output_size(H, KH, SH, PH, DH), ...
# columns = im2col(x, (KH, KW), ...)  # (N·OH·OW, C·KH·KW)
# rows = columns @ ... + bias  # (N·OH·OW, O)
# return rows.reshape(...).transpose(...)
# ```

# %% [markdown]
# ## Maths: backward
#
# For a fixed kernel, convolution is linear in `x`. So it is a matrix $A$: send each single
# pixel through `conv2d_im2col` and you get its columns. Here is $A$ for a picture of 4 × 4 and
# a 3 × 3 kernel of the numbers 1 to 9.

# %%
numbers = np.arange(1.0, 10).reshape(1, 1, 3, 3)
A = conv2d_im2col(np.eye(16).reshape(16, 1, 4, 4), numbers, np.zeros(1)).reshape(16, 4).T
d1, d2 = np.array([[1, 0], [0, 0]]), np.array([[1, 0], [0, 10]])

fig, axes = plt.subplots(1, 5, figsize=(12, 2.3), width_ratios=[16, 2, 4, 2, 4])
draw_matrix(axes[0], np.where(A, A, np.nan).astype(object), "A: a row per output, a column per pixel", "", A)
for (r, c), value in np.ndenumerate(A):
    axes[0].text(c + 0.5, r + 0.5, f"{value:g}" if value else "", ha="center", va="center")
for ax, d in zip(axes[1:], [d1, d1, d2, d2]):
    shown = d if ax in axes[[1, 3]] else (A.T @ d.ravel()).reshape(4, 4)
    draw_matrix(ax, shown, "dout" if shown is d else "dx = Aᵀ dout", highlight=shown != 0)
plt.show()

# %% [markdown]
# A `Linear` from 16 to 4 would have 64 free numbers in $A$. Here many are zero, as a window is
# small, and the others are nine numbers repeated, as the weights are shared.
#
# Going back takes $A^\top$ (02). On the right it is at work: each element of `dout`, times its
# value, stamps the kernel onto `dx`, and where stamps overlap they add. The stamp is not
# turned. But look from one pixel of `dx`: the weight that it shares with the `dout` to its
# upper left is the lower right one. Seen from there, the kernel lies turned by 180 degrees.
#
# Nobody builds $A$. In terms of `columns`, with `rows` = `dout` laid out as (N·OH·OW, O) and
# $W$ = the flattened weight, it is chapter 03 once more, and `col2im` does the stamping:
#
# $$dW = \text{rows}^\top\, \text{columns}, \qquad db = \sum_{n,\,i,\,j} \text{rows}, \qquad
# dx = \text{col2im}(\text{rows}\; W).$$
#
# | gradient | shape | summed over |
# |---|---|---|
# | `dx` | (N, C, H, W) | O, and all windows that hold the pixel |
# | `dweight` | (O, C, KH, KW) | N, OH, OW |
# | `dbias` | (O,) | N, OH, OW |
#
# ### Exercise 3 ★★★: backward

# %% exercise="conv2d_im2col_backward" points=4 stars=3
#| export
def conv2d_im2col_backward(dout, x, weight, stride=1, padding=0, dilation=1):
    """Compute the gradients of conv2d_im2col.

    Args:
        dout: (N, O, OH, OW), the loss's gradient by the output.
        x: (N, C, H, W), the input of the forward pass.
        weight: (O, C, KH, KW).
        stride, padding, dilation: as in the forward pass.

    Returns:
        dx (N, C, H, W), dweight (O, C, KH, KW), dbias (O,).
    """
    O, _, KH, KW = weight.shape
    ### BEGIN SOLUTION dout as rows (N·OH·OW, O), columns again, three sums, and col2im for dx
    columns = im2col(x, (KH, KW), stride, padding, dilation)  # (N·OH·OW, C·KH·KW)
    rows = dout.transpose(0, 2, 3, 1).reshape(-1, O)  # (N·OH·OW, O)
    dweight = (rows.T @ columns).reshape(weight.shape)  # (O, C, KH, KW)
    dbias = rows.sum(axis=0)  # (O,)
    dcolumns = rows @ weight.reshape(O, -1)  # (N·OH·OW, C·KH·KW)
    dx = col2im(dcolumns, x.shape, (KH, KW), stride, padding, dilation)
    return dx, dweight, dbias
    ### END SOLUTION

# %%
check(conv2d_im2col_backward)

# %% probe="conv2d_im2col_backward"
def probe(conv2d_im2col_backward, rng):
    for name, options in [("", {}), (" with stride 2", {"stride": 2}),
                          (" with padding 1", {"padding": 1}), (" with dilation 2", {"dilation": 2})]:
        N, C, O = rng.permutation([2, 3, 4])
        K = rng.permutation([2, 3])
        H, W = rng.permutation([6, 8])
        x, weight = rng.normal(size=(N, C, H, W)), rng.normal(size=(O, C, *K))
        sizes = [output_size(size, k, **options) for size, k in zip((H, W), K, strict=True)]
        dout = rng.normal(size=(N, O, *sizes)) + 0.3
        dx, dweight, dbias = conv2d_im2col_backward(dout, x, weight, **options)
        yield "dx" + name, dx
        yield "dweight" + name, dweight
        yield "dbias" + name, dbias

# %% mistakes="conv2d_im2col_backward"
def stamped(dout, x, weight, stride, padding, dilation, step=None, dilated=None, add=True):
    """A dx that is stamped window by window, with a mistake built in."""
    (SH, SW), (PH, PW) = pair(stride), pair(padding)
    (DH, DW) = pair(dilation if dilated is None else dilated)
    SH, SW = (SH, SW) if step is None else (step, step)
    N, C, H, W = x.shape
    KH, KW = weight.shape[2:]
    padded = np.zeros((N, C, H + 2 * PH, W + 2 * PW))
    for oh, ow in np.ndindex(dout.shape[2:]):
        stamp = np.einsum("no,ockl->nckl", dout[:, :, oh, ow], weight)
        rows = slice(oh * SH, oh * SH + DH * (KH - 1) + 1, DH)
        cols = slice(ow * SW, ow * SW + DW * (KW - 1) + 1, DW)
        padded[:, :, rows, cols] = stamp + padded[:, :, rows, cols] * add
    return padded[:, :, PH : PH + H, PW : PW + W]

@mistake("overlapping windows are overwritten, not summed", "A pixel that stands in several windows collects from "
         "all of them: add, as col2im does.")
def conv2d_im2col_backward(dout, x, weight, stride=1, padding=0, dilation=1):
    _, dweight, dbias = reference(dout, x, weight, stride, padding, dilation)
    return stamped(dout, x, weight, stride, padding, dilation, add=False), dweight, dbias

@mistake("the stride is ignored in dx", "Window oh was read from row oh · stride. Its gradient goes back to that place: pass "
         "stride to col2im.")
def conv2d_im2col_backward(dout, x, weight, stride=1, padding=0, dilation=1):
    _, dweight, dbias = reference(dout, x, weight, stride, padding, dilation)
    return stamped(dout, x, weight, stride, padding, dilation, step=1), dweight, dbias

@mistake("the dilation is ignored in dx", "The pixels of a window lie dilation apart. Their gradients go back to the same "
         "places: pass dilation to col2im.")
def conv2d_im2col_backward(dout, x, weight, stride=1, padding=0, dilation=1):
    _, dweight, dbias = reference(dout, x, weight, stride, padding, dilation)
    return stamped(dout, x, weight, stride, padding, dilation, dilated=1), dweight, dbias

@mistake("the padding is left on dx", "dx has the shape of x. Give col2im x.shape and the padding, and it cuts "
         "the border off.")
def conv2d_im2col_backward(dout, x, weight, stride=1, padding=0, dilation=1):
    _, dweight, dbias = reference(dout, x, weight, stride, padding, dilation)
    padded = pad2d(x, padding)
    return reference(dout, padded, weight, stride, 0, dilation)[0], dweight, dbias

mistake("the kernel is flipped in dx", "col2im stamps the kernel as it is: dout · W, with the same W as in forward. The turn "
        "appears by itself.", swap=("rows @ weight.reshape(O, -1)", "rows @ weight[:, :, ::-1, ::-1].reshape(O, -1)"))
mistake("dout is reshaped to rows without a transpose", "Each row must hold the O numbers of one place. dout is "
        "(N, O, OH, OW): move O to the end with transpose, then reshape.",
        swap=("dout.transpose(0, 2, 3, 1).reshape(-1, O)", "dout.reshape(-1, O)"))
mistake("dout is reshaped to rows with O in front", "(O, N, OH, OW) keeps O slowest, and reshape then mixes channels into a row. "
        "O has to be the last axis.", swap=("dout.transpose(0, 2, 3, 1).reshape(-1, O)", "dout.transpose(1, 0, 2, 3).reshape(-1, O)"))
mistake("height and width of dout are exchanged", "im2col orders its rows as (n, oh, ow): keep OH before OW when O moves to the end.",
        swap=("dout.transpose(0, 2, 3, 1)", "dout.transpose(0, 3, 2, 1)"))
mistake("the weight is reshaped to (C·KH·KW, O) for dx", "reshape never moves a number past another. The forward's matrix was "
        "(O, C·KH·KW): use the same one.", swap=("rows @ weight.reshape(O, -1)", "rows @ weight.reshape(-1, O).T"))
mistake("dweight is averaged over the batch", "dweight is N times too small. If the loss averages, its gradient holds the 1/N "
        "already. Here you only add up.",
        swap=("(rows.T @ columns).reshape(weight.shape)", "(rows.T @ columns).reshape(weight.shape) / len(x)"))
mistake("dweight is averaged over all windows", "One weight serves every window, and its gradient is the sum over them, not "
        "the mean.", swap=("(rows.T @ columns).reshape(weight.shape)",
                           "(rows.T @ columns).reshape(weight.shape) / len(rows)"))
mistake("dweight is flipped", "dweight stands where its weight stands: no turning.",
        swap=("(rows.T @ columns).reshape(weight.shape)", "(rows.T @ columns).reshape(weight.shape)[:, :, ::-1, ::-1]"))
mistake("dweight is reshaped without a transpose", "columnsᵀ · rows is (C·KH·KW, O). Compute rowsᵀ · columns, whose first axis "
        "is O, before you reshape.", swap=("(rows.T @ columns).reshape", "(columns.T @ rows).reshape"))
mistake("dbias is summed over the samples only", "One bias serves all samples and all places: sum over N, OH and OW.",
        swap=("rows.sum(axis=0)", "dout.sum(axis=0)"))
mistake("dbias is summed over the places only", "One bias serves all samples and all places: sum over N as well as OH "
        "and OW.", swap=("rows.sum(axis=0)", "dout.sum(axis=(2, 3))"))
mistake("dbias is one number for all channels", "Each channel has a bias of its own: sum over N, OH and OW, not over O.",
        swap=("rows.sum(axis=0)", "rows.sum()"))
mistake("dbias is averaged", "dbias is a sum over all samples and places. Nothing divides it.",
        swap=("rows.sum(axis=0)", "rows.mean(axis=0)"))
mistake("dx and dweight are returned in each other's place", "The order is dx, dweight, dbias.",
        swap=("return dx, dweight, dbias", "return dweight, dx, dbias"))

# %% [markdown] hints="conv2d_im2col_backward"
# Walk the forward pass from its end. Undo the transpose and reshape: `dout` becomes rows. The product's three gradients are
# those of `linear_backward`. What `im2col` did, `col2im` takes back.
#
# ---
#
# rows = dout with O moved last, reshaped to (−1, O). dW = rowsᵀ · columns in weight's shape, db = the sum over the rows,
# dcolumns = rows · W, dx = col2im(dcolumns, x.shape, …).
#
# ---
#
# ```python
# columns = im2col(x, (KH, KW), ...)
# rows = dout.transpose(...).reshape(-1, O)
# dweight = (rows.T @ ...).reshape(...)
# dbias = rows.sum(...)
# dcolumns = rows @ ...
# dx = col2im(dcolumns, ..., (KH, KW), ...)
# return dx, dweight, dbias
# ```

# %% [markdown]
# ### Exercise 4 ★★: the plain layer
#
# Wrap both functions, as you wrapped `Linear`. The weights start as He's (04): normal with
# variance $2/\text{fan\_in}$. One output adds up C·K·K terms, and `he_normal` knows that from
# the shape.

# %% exercise="ConvPlain" points=3 stars=2
#| export
class ConvPlain(NyangModel):
    """Convolve by im2col and one product: out[n, o] = bias[o] + Σ_c x[n, c] ⋆ weight[o, c].

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, OH, OW); weight
    (out_channels, in_channels, K, K) in float32, drawn by one call he_normal(shape, rng); bias
    (out_channels,), zeros.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 bias=True, *, rng=None):
        rng = rng or np.random.default_rng()
        self.settings = stride, padding, dilation
        shape = (out_channels, in_channels, *pair(kernel_size))
        ### BEGIN SOLUTION self.weight and self.bias are Parameters in float32; without bias it is None
        self.weight = Parameter(he_normal(shape, rng).astype(np.float32))
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None
        ### END SOLUTION

    def forward(self, x):
        """Return out (N, out_channels, OH, OW)."""
        ### BEGIN SOLUTION save x, then conv2d_im2col with *self.settings; without a bias, add 0
        self.save(x)
        bias = self.bias.data if self.bias else 0
        return conv2d_im2col(x, self.weight.data, bias, *self.settings)
        ### END SOLUTION

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_channels, H, W)."""
        ### BEGIN SOLUTION take x back, conv2d_im2col_backward; add to the gradients with +=
        x = self.saved()
        dx, dweight, dbias = conv2d_im2col_backward(dout, x, self.weight.data, *self.settings)
        self.weight.grad += dweight
        if self.bias:
            self.bias.grad += dbias
        return dx
        ### END SOLUTION

# %%
check(ConvPlain)

# %% probe="ConvPlain"
def probe(ConvPlain, rng):
    N, C, O = (int(n) for n in rng.permutation([2, 3, 4]))
    seed = int(rng.integers(10**6))
    layer = ConvPlain(C, O, 3, 2, 1, 2, rng=np.random.default_rng(seed))
    yield "weight at the start", layer.weight.data
    yield "bias at the start", layer.bias.data
    layer.to(np.float64)
    layer.bias.data = rng.normal(size=O)
    layer.zero_grad()
    x1, x2 = rng.normal(size=(N, C, 7, 9)), rng.normal(size=(N + 1, C, 7, 9))
    out = layer(x1)
    yield "out", out
    d1, d2 = rng.normal(size=(N, O, 3, 4)), rng.normal(size=(N + 1, O, 3, 4))
    yield "dx", layer.backward(d1)
    yield "weight.grad", layer.weight.grad
    yield "bias.grad", layer.bias.grad
    layer.forward(x1)
    layer.forward(x2)
    yield "dx of the second of two calls", layer.backward(d2)
    layer.backward(d1)
    yield "weight.grad after three backward passes", layer.weight.grad
    yield "bias.grad after three backward passes", layer.bias.grad
    plain = ConvPlain(C, O, (2, 3), bias=False, rng=np.random.default_rng(seed)).to(np.float64)
    yield "out without bias", plain(x1)
    yield "dx without bias", plain.backward(rng.normal(size=(N, O, 6, 7)))
    yield "names of the parameters without bias", ", ".join(name for name, _ in plain.named_parameters())
    out = plain.to(np.float32)(x1.astype(np.float32))
    yield "dtype of out without bias", str(out.dtype)

# %% mistakes="ConvPlain"
mistake("the weight's gradient is replaced, not added to", "With = the second backward wipes out the first: weight.grad += "
        "dweight.", swap=("self.weight.grad += dweight", "self.weight.grad = dweight"))
mistake("the bias's gradient is replaced, not added to", "With = the second backward wipes out the first: bias.grad += "
        "dbias.", swap=("self.bias.grad += dbias", "self.bias.grad = dbias"))
mistake("the weights are drawn with standard deviation 1", "A window of C·K·K terms then makes the signal grow from layer to "
        "layer. he_normal(shape, rng) draws them small enough.", swap=("Parameter(he_normal(shape, rng)", "Parameter(rng.normal(size=shape)"))
mistake("the fan counts the channels only", "One output adds up C·K·K terms, so the variance is 2 / (C·K·K): give he_normal the "
        "whole shape.", swap=("Parameter(he_normal(shape, rng)", "Parameter(rng.normal(0, np.sqrt(2 / in_channels), shape)"))
mistake("the weights start at zero", "With equal kernels all channels get the same gradient, and stay equal for ever. Draw them with "
        "he_normal.", swap=("Parameter(he_normal(shape, rng)", "Parameter(np.zeros(shape)"))
mistake("the weights stay float64", "Training runs in float32: .astype(np.float32).",
        swap=("he_normal(shape, rng).astype(np.float32)", "he_normal(shape, rng)"))
mistake("the bias stays float64", "np.zeros without a dtype is float64: pass np.float32.",
        swap=("np.zeros(out_channels, np.float32)", "np.zeros(out_channels)"))
mistake("the bias starts at random", "Random weights already make the channels different. The bias starts at zero.",
        swap=("np.zeros(out_channels, np.float32)", "rng.normal(size=out_channels).astype(np.float32)"))
mistake("the variance is 1/fan_in", "ReLU lets half of the signal through, so He's variance is 2/fan_in: he_normal.",
        swap=("Parameter(he_normal(shape, rng)", "Parameter(rng.normal(0, np.sqrt(1 / np.prod(shape[1:])), shape)"))
mistake("the bias is kept in spite of bias=False", "Without a bias self.bias is None, and nothing of it is learned.",
        swap=("np.float32)) if bias else None", "np.float32))"))
mistake("float64 zeros stand in for the missing bias", "They turn a float32 output into float64. The plain number 0 leaves the dtype "
        "as it is.", swap=("if self.bias else 0", "if self.bias else np.zeros(len(self.weight.data))"))
mistake("a layer without bias is not handled in backward", "With bias=False, self.bias is None and has no grad. Test for it before "
        "you add to it.", swap=("        if self.bias:\n            self.bias.grad", "        self.bias.grad"))
mistake("the settings do not reach the backward pass", "The windows of backward are those of forward: *self.settings again.",
        swap=("conv2d_im2col_backward(dout, x, self.weight.data, *self.settings)",
              "conv2d_im2col_backward(dout, x, self.weight.data)"))
mistake("the bias is forgotten in forward", "Pass self.bias.data on to conv2d_im2col where there is a bias.",
        swap=("bias = self.bias.data if self.bias else 0", "bias = 0"))
mistake("a layer without bias is not handled", "With bias=False, self.bias is None. Test for it before you use its data or "
        "grad.", swap=("bias = self.bias.data if self.bias else 0", "bias = self.bias.data"))
mistake("the settings do not reach the convolution", "conv2d_im2col needs the layer's stride, padding and dilation: "
        "*self.settings.", swap=("bias, *self.settings)", "bias)"))

@mistake("the input is kept in one slot", "A second forward overwrites self.x. self.save(x) and self.saved() keep one entry "
         "per call.")
class ConvPlain(reference):
    def forward(self, x):
        self.x = x
        bias = self.bias.data if self.bias else 0
        return conv2d_im2col(x, self.weight.data, bias, *self.settings)

    def saved(self):
        return self.x

# %% [markdown] hints="ConvPlain"
# Compare with `Linear` in chapter 03: the same three holes, with other functions inside. A Parameter takes the starting array.
#
# ---
#
# `self.weight = Parameter(he_normal(shape, rng).astype(np.float32))`. forward: save, then `conv2d_im2col(…, *self.settings)`.
# backward: saved, `conv2d_im2col_backward(…, *self.settings)`, two `+=`, return dx.
#
# ---
#
# ```python
# # __init__
# self.weight = Parameter(...)
# self.bias = Parameter(np.zeros(...)) if bias else None
#
# # forward
# self.save(x)
# bias = ... if self.bias else 0
# return conv2d_im2col(x, self.weight.data, bias, *self.settings)
#
# # backward
# x = self.saved()
# dx, dweight, dbias = ...
# self.weight.grad += ...
# if self.bias:
#     ...
# return dx
# ```

# %% tags=["nbval-check-output"]
plain = ConvPlain(2, 3, (3, 2), stride=2, padding=1, rng=np.random.default_rng(0))
errors = gradcheck(plain, np.random.default_rng(1).normal(size=(2, 2, 5, 6)))
print({name: bool(error < 1e-7) for name, error in errors.items()})

# %% [markdown]
# ## Fast: where the time goes
#
# Any version does the same multiplications. They differ in how numbers are *moved*. `columns`
# holds a pixel once for every window that has it: nine copies for a 3 × 3 kernel, written to
# main memory and read back. On the way back it happens again, with `dcolumns`.
#
# Copy each picture row only $KW$ times, each copy shifted by one, into a buffer. The windows of
# output row 0 are its *first* lines. Those of row 1 begin one picture row further down: the
# same memory, seen through other strides (01).

# %%
grid = np.arange(16).reshape(4, 4)
buffer = np.stack([grid[h, j : j + 2] for h in range(4) for j in range(3)])  # (12, 2)
line = np.arange(12)[:, None] + np.zeros((1, 2))

fig, axes = plt.subplots(1, 4, figsize=(8, 4.2), width_ratios=[4, 4, 2, 2])
draw_matrix(axes[0], grid, "a picture")
draw_matrix(axes[1], im2col(grid[None, None], 3).T, "im2col, turned:\none window a column")
draw_matrix(axes[2], buffer, "the buffer:\noutput row 0", highlight=line < 9)
draw_matrix(axes[3], buffer, "the buffer:\noutput row 1", highlight=line >= 3)
plt.show()

# %% [markdown]
# The marked lines are the left and the right half of the im2col matrix, and the second half
# cost no copy. A program's fast inner routine is called a *kernel* too. The one that the course
# runs on rests on four such savings:
#
# 1. **Less copying**: $KW$ copies, not $KH · KW$.
# 2. **Tiles**: the buffer holds a few output rows at a time. So it stays in the cache, the processor's small fast memory.
# 3. **Layout**: inside, arrays lie as (H, C, W, N). One row of one channel of *all* samples is one long run. Copies are fast, and
#    matrices wide, which suits BLAS, the library beneath `@`. A layer returns a view that answers to (N, C, H, W), and the
#    next layer turns it back for free.
# 4. **Two cores**: NumPy lets go of Python's lock while it computes, so `share` gives half of the tiles to a second thread.
#
# The code is given. `to_rows` and `from_rows` change between the layouts, `scratch` lends a
# buffer. `Windows.matrix` is the picture above. `reach` says which pixels exist; the rest is
# filled with zeros, and x is never copied to be padded. With dilation, the rows that a window
# needs are no neighbours; `phases` sorts them so that they are. A *tap* is one place of the
# kernel.

# %%
#| export model.tiles
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

# %% [markdown]
# `correlate` is the forward pass: one product a tile. `correlate_weight` sums over the tiles. The
# threads share the tiles. A small picture has few windows, and its weights are the larger array:
# there they share output channels, and in `correlate_weight` input channels, so that nobody adds
# up two large sums.
#
# For `dx` there is no `col2im`. With stride 1, `dx` is `correlate` of `dout` with the turned
# kernel. With stride 2, even and odd pixels meet different taps, so each set is a correlation
# of its own.

# %%
#| export model.tiles
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

# %% [markdown]
# Around it stand plain functions of (N, C, H, W) arrays, and the layers. `Conv2d` has PyTorch's
# arguments and He's initialisation. One kernel serves 1-D as well: a signal (N, C, L) is a
# picture of height 1, and `Conv1d` adds that axis and takes it away. `ConvTranspose2d` swaps
# the roles: its forward is $A^\top$, the stamping, and its backward is $A$. It makes pictures
# larger, with weights that are learned.

# %%
#| export
def conv2d_forward(x, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    """Slide every kernel over the image: out[n, o] = bias[o] + Σ_c x[n, c] ⋆ weight[o, c].

    Args:
        x: (N, C, H, W).
        weight: (O, C/groups, KH, KW).
        bias: (O,) or None.
        stride, dilation: ints or pairs (height, width).
        padding: an int, a pair, or "same" for OH = H and OW = W at stride 1.
        groups: into how many separate convolutions the channels are divided.

    Returns:
        out (N, O, OH, OW).

    Raises:
        ValueError: where the kernel does not fit into the padded input.
    """
    rows, columns = geometry(x.shape[2:], weight.shape[2:], stride, padding, dilation)
    O, matrix = len(weight), taps_first(weight)
    matrix = matrix.reshape(-1, groups, O // groups).transpose(1, 2, 0)  # (G, O, K)
    out = correlate(to_rows(x), matrix, rows, columns)
    if bias is not None:
        out += bias[:, None, None]
    return from_rows(out)


def conv2d_backward(dout, x, weight, stride=1, padding=0, dilation=1, groups=1):
    """Return dx, dweight and dbias; the arguments are those of conv2d_forward."""
    dx = conv2d_input_gradient(dout, weight, x.shape, stride, padding, dilation, groups)
    dweight = conv2d_weight_gradient(dout, x, weight.shape, stride, padding, dilation, groups)
    return dx, dweight, channel_sums(dout)


def conv2d_input_gradient(dout, weight, x_shape, stride=1, padding=0, dilation=1, groups=1):
    """Return dx (N, C, H, W): what every pixel of x received from all windows that hold it."""
    rows, columns = geometry(x_shape[2:], weight.shape[2:], stride, padding, dilation)
    dout, weight = to_rows(dout), taps_first(weight)
    return from_rows(correlate_back(dout, weight, x_shape[2:], groups, rows, columns))


def conv2d_weight_gradient(dout, x, weight_shape, stride=1, padding=0, dilation=1, groups=1):
    """Return dweight (O, C/groups, KH, KW): the sum over all windows of x times their dout."""
    O, C, KH, KW = weight_shape
    rows, columns = geometry(x.shape[2:], (KH, KW), stride, padding, dilation)
    dweight = correlate_weight(to_rows(x), to_rows(dout), groups, rows, columns)
    dweight = dweight.reshape(groups, KH, KW, C, O // groups).transpose(0, 4, 3, 1, 2)
    return dweight.reshape(weight_shape)


def channel_sums(dout):
    """Return dbias (O,): the bias of a channel is added at every pixel of every sample."""
    H, O, W, N = (rows := to_rows(dout)).shape
    return (rows.reshape(H, O, W * N) @ np.ones(W * N, dout.dtype)).sum(axis=0)


def taps_first(weight):
    """See (O, C, KH, KW) as (KH, KW, C, O), the order in which windows are unfolded."""
    return np.ascontiguousarray(weight.transpose(2, 3, 1, 0))


def geometry(size, kernel, stride, padding, dilation):
    """Work out the Axis of the rows and of the columns."""
    strides, dilations = pair(stride), pair(dilation)
    if isinstance(padding, str):
        if padding != "same" or strides != (1, 1):
            raise ValueError(f'padding is an int, a pair, or "same" at stride 1, received '
                             f"{padding!r} at stride {stride}: give the number of zeros")
        before = [D * (K - 1) // 2 for K, D in zip(kernel, dilations, strict=True)]
        return [Axis(K, L, -B, 1, D)
                for K, L, B, D in zip(kernel, size, before, dilations, strict=True)]
    return [Axis(K, output_size(L, K, S, P, D), -P, S, D) for K, L, S, P, D in
            zip(kernel, size, strides, pair(padding), dilations, strict=True)]


# %% [markdown]
# The layers keep the rules of chapter 03, as `ConvPlain` does. A signal (N, C, L) is an image of height 1, so `Conv1d` changes
# nothing but the shapes.

# %%
#| export
class Conv2d(NyangModel):
    """Convolve images with learned kernels: out[n, o] = bias[o] + Σ_c x[n, c] ⋆ weight[o, c].

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, OH, OW) with
    OH = ⌊(H + 2P − D(K−1) − 1) / S⌋ + 1; weight (out_channels, in_channels/groups, KH, KW),
    bias (out_channels,). input_grad=False is for the first layer of a model: its backward
    returns None, since nobody needs the gradient of the data.

    Raises:
        ValueError, TypeError: for sizes that do not fit, or another dtype than the weights'.

    Source: LeCun et al., Gradient-based learning applied to document recognition (1998), II.A;
    He initialisation: He et al., Delving deep into rectifiers (2015), 2.2.
    """

    axes = "HW"

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1,
                 groups=1, bias=True, *, rng=None, init=None, input_grad=True):
        self.in_channels, self.out_channels, self.input_grad = in_channels, out_channels, input_grad
        kernel = self.sizes(kernel_size, "kernel_size", 1)
        if not isinstance(padding, str):
            padding = self.sizes(padding, "padding", 0)
        self.settings = dict(stride=self.sizes(stride, "stride", 1), padding=padding,
                             dilation=self.sizes(dilation, "dilation", 1), groups=groups)
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(f"{type(self).__name__}: groups must divide both channel numbers, "
                             f"received {groups} for {in_channels} and {out_channels}: "
                             "use a common divisor")
        rng = rng or np.random.default_rng()
        weight = (init or he_normal)(self.weight_shape(kernel, groups), rng)
        weight = taps_first(weight.astype(np.float32)).transpose(3, 2, 0, 1)
        self.weight = Parameter(weight.squeeze(2) if self.axes == "L" else weight)
        self.bias = Parameter(np.zeros(out_channels, np.float32)) if bias else None

    def weight_shape(self, kernel, groups):
        """Return the weight's shape with two kernel axes."""
        return (self.out_channels, self.in_channels // groups, *kernel)

    def sizes(self, value, name, least):
        """Return (height, width) of a setting.

        Raises:
            ValueError: where it is below what makes sense.
        """
        both = pair(value)
        if min(both) < least:
            raise ValueError(f"{type(self).__name__}: {name} is at least {least}, received {value}")
        return both

    def forward(self, x):
        """Return out (N, out_channels, OH, OW) for x (N, in_channels, H, W)."""
        expect_input(self, x, "N", self.in_channels, *self.axes, dtype=self.weight.data.dtype)
        x = from_rows(to_rows(x))  # copied at most once: backward reads it again
        out = conv2d_forward(x, self.weight.data, self.bias and self.bias.data, **self.settings)
        self.save(x)
        return out

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_channels, H, W)."""
        x, dout, weight = self.saved(), from_rows(to_rows(dout)), self.weight.data
        self.weight.grad += conv2d_weight_gradient(dout, x, weight.shape, **self.settings)
        if self.bias:
            self.bias.grad += channel_sums(dout)
        if self.input_grad:
            return conv2d_input_gradient(dout, weight, x.shape, **self.settings)


class Conv1d(Conv2d):
    """Convolve signals with learned kernels: Conv2d on images of height 1.

    Shapes: x (N, in_channels, L) → out (N, out_channels, OL) with
    OL = ⌊(L + 2P − D(K−1) − 1) / S⌋ + 1; weight (out_channels, in_channels/groups, K).

    Raises:
        ValueError, TypeError: as Conv2d.

    Source: Kiranyaz et al., 1D convolutional neural networks and applications (2021), 2.
    """

    axes = "L"

    def sizes(self, value, name, least):
        """Return (1 or 0, value): nothing happens along the height."""
        value = value if np.ndim(value) == 0 else value[0]
        _, value = super().sizes(value, name, least)
        return least, value

    def forward(self, x):
        """Return out (N, out_channels, OL) for x (N, in_channels, L)."""
        expect_input(self, x, "N", self.in_channels, "L", dtype=self.weight.data.dtype)
        x, bias = from_rows(to_rows(x)), self.bias and self.bias.data  # x: (N, C, 1, L)
        out = conv2d_forward(x, self.weight.data[:, :, None], bias, **self.settings)
        self.save(x)
        return out[:, :, 0]

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_channels, L)."""
        x, dout, weight = self.saved(), from_rows(to_rows(dout)), self.weight.data[:, :, None]
        self.weight.grad += conv2d_weight_gradient(dout, x, weight.shape, **self.settings)[:, :, 0]
        if self.bias:
            self.bias.grad += channel_sums(dout)
        if self.input_grad:
            return conv2d_input_gradient(dout, weight, x.shape, **self.settings)[:, :, 0]


# %% [markdown]
# A transposed convolution runs the same products the other way round: its forward is `Conv2d`'s gradient by the input, and its gradient by
# the input is `Conv2d`'s forward.

# %%
#| export
class ConvTranspose2d(Conv2d):
    """Spread every pixel over a window: forward is Conv2d's way back, backward its way forward.

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, OH, OW) with
    OH = (H − 1)·S − 2P + D(K−1) + output_padding + 1;
    weight (in_channels, out_channels/groups, KH, KW), bias (out_channels,).

    Raises:
        ValueError, TypeError: as Conv2d; also where output_padding is not less than stride.

    Source: Dumoulin, Visin, A guide to convolution arithmetic (2016), chapter 4.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0,
                 output_padding=0, groups=1, bias=True, dilation=1, **keywords):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation,
                         groups, bias, **keywords)
        self.output_padding = self.sizes(output_padding, "output_padding", 0)
        if isinstance(padding, str) or np.any(np.less_equal(self.settings["stride"],
                                                            self.output_padding)):
            raise ValueError("ConvTranspose2d: padding is a number, and output_padding less than "
                             f"the stride, received {padding!r} and {output_padding}")

    def weight_shape(self, kernel, groups):
        """Return (in_channels, out_channels/groups, KH, KW)."""
        return (self.in_channels, self.out_channels // groups, *kernel)

    def forward(self, x):
        """Return out (N, out_channels, OH, OW) for x (N, in_channels, H, W)."""
        expect_input(self, x, "N", self.in_channels, *self.axes, dtype=self.weight.data.dtype)
        s = self.settings
        size = [(L - 1) * S - 2 * P + D * (K - 1) + more + 1 for L, S, P, D, K, more in zip(
            x.shape[2:], s["stride"], s["padding"], s["dilation"], self.weight.data.shape[2:],
            self.output_padding, strict=True)]
        if min(size) < 1:
            raise ValueError(f"ConvTranspose2d: the output would have the size {size}: "
                             "use less padding")
        x, shape = from_rows(to_rows(x)), (len(x), self.out_channels, *size)
        out = conv2d_input_gradient(x, self.weight.data, shape, **s)
        self.save(x)
        return out if self.bias is None else out + self.bias.data[:, None, None]

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_channels, H, W)."""
        x, dout, weight = self.saved(), from_rows(to_rows(dout)), self.weight.data
        self.weight.grad += conv2d_weight_gradient(x, dout, weight.shape, **self.settings)
        if self.bias:
            self.bias.grad += channel_sums(dout)
        if self.input_grad:
            return conv2d_forward(dout, weight, **self.settings)

# %% [markdown]
# All versions side by side, on 16 channels of 32 × 32. First the numbers; also that the
# transposed layer passes the adjoint test of chapter 02, $\langle A x, y\rangle = \langle x,
# A^\top y\rangle$. Then the times. They depend on your machine; their order should not.

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(1)
sizes = {"x": (16, 16, 32, 32), "weight": (16, 16, 3, 3), "bias": (16,), "dout": (16, 16, 32, 32)}
x, weight, bias, dout = (rng.normal(size=size).astype(np.float32) for size in sizes.values())
slow = [conv2d_im2col(x, weight, bias, 1, 1), *conv2d_im2col_backward(dout, x, weight, 1, 1)]
fast = [conv2d_forward(x, weight, bias, 1, 1), *conv2d_backward(dout, x, weight, 1, 1)]
loops = conv2d_loops(x[:1], weight, bias, 1, 1)
names = ["loops' out", "out", "dx", "dweight", "dbias"]
pairs = zip(names, [loops, *slow], [fast[0][:1], *fast])
print("same numbers:", {name: bool(relative_error(a, b) < 1e-4) for name, a, b in pairs})
print(f"x holds {x.nbytes >> 20} MB, its columns {im2col(x, 3, 1, 1).nbytes >> 20} MB, "
      f"a tile about {4 * CACHE >> 20} MB")

down = Conv2d(2, 3, 3, stride=2, bias=False, rng=rng).to(np.float64)
up = ConvTranspose2d(3, 2, 3, stride=2, bias=False).to(np.float64)
up.load_state_dict(down.state_dict())
a, b = rng.normal(size=(1, 2, 9, 9)), rng.normal(size=(1, 3, 4, 4))
print("down:", a.shape, "→", down(a).shape, "  up:", b.shape, "→", up(b).shape)
print("adjoint test:", relative_error(np.sum(down(a) * b), np.sum(a * up(b))) < 1e-12)

# %%
def milliseconds(work, count=5):
    return 1000 * min(repeat(work, number=1, repeat=count))


def both(forward, backward):
    return lambda: (forward(x, weight, bias, 1, 1), backward(dout, x, weight, 1, 1))


once = milliseconds(lambda: conv2d_loops(x[:1], weight, bias, 1, 1), 1) * len(x)
print(f"loops, forward only     {once:8.0f} ms")
print(f"im2col, both ways       {milliseconds(both(conv2d_im2col, conv2d_im2col_backward)):8.1f} ms")
print(f"the kernel, both ways   {milliseconds(both(conv2d_forward, conv2d_backward)):8.1f} ms")

# %% [markdown]
# ## Sizes
#
# Often the output shall be as large as the input. At stride 1 the windows lose $D(K-1)$ places,
# so this many zeros have to be added, half on each side. If the number is odd, no `P` does it:
# `Conv2d` with `padding="same"` then puts the odd zero at the end.
#
# ### Exercise 5 ★: same padding

# %% exercise="same_padding" points=1 stars=1
#| export
def same_padding(kernel_size, dilation=1):
    """Return the padding that keeps the size at stride 1: D(K − 1) / 2, an int.

    Raises:
        ValueError: where D(K − 1) is odd; the message names kernel_size and dilation.
    """
    ### BEGIN SOLUTION half of what the windows lose; a ValueError with both numbers if it is odd
    lost = dilation * (kernel_size - 1)
    if lost % 2:
        raise ValueError("equal padding on both sides needs an even D(K − 1), received "
                         f"kernel_size {kernel_size} and dilation {dilation}: use an odd kernel")
    return lost // 2
    ### END SOLUTION

# %%
check(same_padding)

# %% probe="same_padding"
def probe(same_padding, rng):
    K, D = 2 * int(rng.integers(2, 6)) + 1, int(rng.integers(2, 6))

    def refusal(K, D):
        try:
            same_padding(K, D)
        except ValueError as error:
            told = str(K) in str(error) and str(D) in str(error)
            return "a ValueError with both numbers" if told else "a ValueError without both numbers"
        return "no ValueError"

    def answer(K, D):
        try:
            return same_padding(K, D)
        except ValueError:
            return "a ValueError"

    yield "padding", same_padding(K)
    yield "padding with dilation", same_padding(K, D)
    yield "padding of an even kernel with an even dilation", answer(K + 1, 2 * D)
    yield "an even kernel", refusal(int(rng.choice([24, 26, 28])), int(rng.choice([3, 5, 7])))

# %% mistakes="same_padding"
mistake("the dilation is ignored", "The K pixels of a window lie D apart: it loses D(K − 1) places, not K − 1.",
        swap=("lost = dilation * (kernel_size - 1)", "lost = kernel_size - 1 + 0 * dilation"))
mistake("all zeros are put on each side", "D(K − 1) zeros are needed altogether. Padding P adds P on each side, so it "
        "is half.", swap=("return lost // 2", "return lost"))
mistake("the kernel's size is multiplied by the dilation", "K pixels have K − 1 gaps: the windows lose D(K − 1) places. "
        "D·K // 2 is right for dilation 1 only.", swap=("return lost // 2", "return dilation * kernel_size // 2"))
mistake("an odd loss is not refused", "Half of an odd number is no number of zeros: raise a ValueError.",
        swap=("if lost % 2:", "if False:"))
mistake("every even kernel is refused", "With an even dilation an even kernel loses an even number of places, and has its "
        "padding. Test D(K − 1), not K.", swap=("if lost % 2:", "if kernel_size % 2 == 0:"))
mistake("the error leaves out the numbers", "Say what was received: both kernel_size and dilation.",
        swap=("kernel_size {kernel_size} and dilation {dilation}", "sizes that do not fit"))

# %% [markdown] hints="same_padding"
# Set S = 1 in the formula of the output size and ask for O = size.
#
# ---
#
# size + 2P − D(K − 1) − 1 + 1 = size, so 2P = D(K − 1).
#
# ---
#
# ```python
# lost = ...
# if lost % 2:
#     raise ValueError(f"... {kernel_size} ... {dilation} ...")
# return ...
# ```

# %% [markdown]
# How much of the picture does one output see after several layers? That is its *receptive
# field*. Below, each dot is an element along one axis. The number of dots in a row follows
# `output_size`.

# %%
def draw_field(ax, layers, size):
    rows = [np.arange(size)]  # where the elements of each level lie, counted in pixels
    for K, S in layers:
        starts = S * np.arange(output_size(len(rows[-1]), K, S))
        rows.append((rows[-1][starts] + rows[-1][starts + K - 1]) / 2)
    seen = {len(rows[-1]) // 2}
    for level in range(len(layers), -1, -1):
        ax.plot(rows[level], [level] * len(rows[level]), "o", color=GREY, ms=4)
        ax.plot(rows[level][sorted(seen)], [level] * len(seen), "o", color=ORANGE, ms=7)
        if level:
            K, S = layers[level - 1]
            pairs = [(i, i * S + k) for i in seen for k in range(K)]
            ax.plot(*np.array([[(rows[level][i], rows[level - 1][j]), (level, level - 1)]
                               for i, j in pairs]).transpose(1, 2, 0), color=ORANGE, lw=0.7)
            seen = {j for _, j in pairs}
    ax.set_title(f"(kernel, stride) = {', '.join(map(str, layers))}: sees {len(seen)}")
    ax.set(yticks=range(len(rows)), yticklabels=[f"{len(row)}" for row in rows])
    ax.grid(False)


fig, axes = plt.subplots(1, 2, figsize=(11, 2.4))
draw_field(axes[0], [(3, 1), (3, 1), (3, 1)], 17)
draw_field(axes[1], [(3, 2), (3, 2), (3, 1)], 17)
plt.show()

# %% [markdown]
# Left, each layer widens the field by two. Right, neighbours lie two pixels apart after the
# first layer and four after the second, so the same kernels reach further. This distance is the
# *jump*: the product of all strides below.
#
# ### Exercise 6 ★★: the receptive field

# %% exercise="receptive_field" points=2 stars=2
#| export
def receptive_field(layers):
    """Count the input pixels, along one axis, that one output element sees.

    Args:
        layers: list of (kernel_size, stride) pairs, from the input up.

    Returns:
        1 + Σ (K_i − 1) · (product of the strides before layer i), an int.

    Source: Araujo, Norris, Sim, Computing receptive fields of convolutional neural networks (2019).
    """
    ### BEGIN SOLUTION start with one pixel and jump 1; each layer adds K - 1 jumps, then its stride widens the jump
    size, jump = 1, 1
    for K, S in layers:
        size += (K - 1) * jump
        jump *= S
    return size
    ### END SOLUTION

# %%
check(receptive_field)

# %% probe="receptive_field"
def probe(receptive_field, rng):
    kernels = [int(K) for K in rng.integers(3, 6, 5)]
    strides = [int(rng.choice([2, 3])) for _ in range(4)] + [2]
    yield "the field of one layer", receptive_field([(kernels[0], strides[0])])
    yield "the field of a stack with stride 1", receptive_field([(K, 1) for K in kernels])
    yield "the field of a stack with strides", receptive_field(list(zip(kernels, strides, strict=True)))
    yield "the field of no layer", receptive_field([])

# %% mistakes="receptive_field"
mistake("a layer's own stride widens its own kernel", "The kernel of a layer lies on the elements *below* it. Add first, then "
        "multiply the jump.", swap=("""        size += (K - 1) * jump
        jump *= S
""", """        jump *= S
        size += (K - 1) * jump
"""))
mistake("the strides are ignored", "After a stride of 2, neighbouring elements lie two pixels apart, and the next kernel reaches "
        "twice as far.", swap=("        jump *= S\n", ""))
mistake("each layer adds K instead of K − 1", "The K elements under a window have K − 1 gaps.",
        swap=("(K - 1) * jump", "K * jump"))
mistake("the strides are added, not multiplied", "Two strides of 2 and 3 put neighbours 6 pixels apart: multiply.",
        swap=("jump *= S", "jump += S"))
mistake("the layers are taken from the top down", "The list begins at the input: the jump of a layer comes from the layers before "
        "it in the list.", swap=("in layers:", "in reversed(layers):"))
mistake("the jump is returned", "The jump is how far neighbours lie apart. The question is how many pixels one of them sees.",
        swap=("return size", "return jump"))
mistake("only one side of each kernel is counted", "A kernel widens the field on both sides, by K − 1 jumps together.",
        swap=("(K - 1) * jump", "(K - 1) // 2 * jump"))
mistake("only the last stride counts", "The jump collects all strides below: jump *= S.",
        swap=("jump *= S", "jump = S"))
mistake("the sizes are multiplied", "A layer widens the field by K − 1 jumps. It adds.",
        swap=("size += (K - 1) * jump", "size *= K"))
mistake("the count starts from zero", "With no layer at all, an element sees one pixel: itself.",
        swap=("size, jump = 1, 1", "size, jump = 0, 1"))

# %% [markdown] hints="receptive_field"
# Go up the layers and keep two numbers: how many pixels are seen so far, and how far apart neighbours lie.
#
# ---
#
# size ← size + (K − 1) · jump, then jump ← jump · S. Both start at 1.
#
# ---
#
# ```python
# size, jump = 1, 1
# for K, S in layers:
#     size += ...
#     jump *= ...
# return size
# ```

# %% [markdown]
# ## Groups: a weight with holes
#
# With `groups=G` the channels are divided into G sets that know nothing of each other. Output
# channel $o$ belongs to group $o \,//\, (O/G)$ and reads only the $C/G$ input channels of that
# group. So `weight` has the shape (O, C/G, KH, KW). It is a full weight with zeros in all
# places but the blocks on its diagonal.
#
# ### Exercise 7 ★★: fill in the zeros

# %% exercise="grouped_weight_matrix" points=2 stars=2
#| export
def grouped_weight_matrix(weight, groups):
    """Write a grouped weight as the full weight with the same effect: block-diagonal.

    Args:
        weight: (O, C/groups, KH, KW).
        groups: the number of groups; it divides O.

    Returns:
        (O, C, KH, KW), of weight's dtype.
    """
    O, part, KH, KW = weight.shape
    ### BEGIN SOLUTION zeros; then, group by group, its outputs' rows and its inputs' columns
    full = np.zeros((O, part * groups, KH, KW), weight.dtype)
    step = O // groups
    for g in range(groups):
        rows, columns = slice(g * step, (g + 1) * step), slice(g * part, (g + 1) * part)
        full[rows, columns] = weight[rows]
    return full
    ### END SOLUTION

# %%
check(grouped_weight_matrix)

# %% probe="grouped_weight_matrix"
def probe(grouped_weight_matrix, rng):
    groups, step, part = rng.permutation([2, 3, 4])
    KH, KW = rng.permutation([2, 3])
    weight = rng.normal(size=(groups * step, part, KH, KW))
    yield "the full weight", grouped_weight_matrix(weight, int(groups))
    yield "the full weight of one group", grouped_weight_matrix(weight, 1)
    depthwise = rng.normal(size=(5, 1, KH, KW)).astype(np.float32)
    yield "a depthwise weight in float32", grouped_weight_matrix(depthwise, 5)

# %% mistakes="grouped_weight_matrix"
mistake("every group reads the first input channels", "Group g reads the input channels from g · C/G on. Shift the columns from "
        "block to block.", swap=("slice(g * part, (g + 1) * part)", "slice(0, part)"))
mistake("the groups are mixed: output o is put into group o % G", "The first O/G output channels form group 0, the next ones group "
        "1: blocks, not every G-th.", swap=("rows, columns = slice(g * step, (g + 1) * step),", "rows, columns = slice(g, None, groups),"))
mistake("the input channels are mixed: group g reads every G-th", "The first C/G input channels form group 0, the next ones group "
        "1: blocks, not every G-th.", swap=("slice(g * part, (g + 1) * part)", "slice(g, None, groups)"))
mistake("the blocks lie on the other diagonal", "Group 0 has the first outputs and the first inputs: the blocks run from top left to "
        "bottom right.", swap=("slice(g * part, (g + 1) * part)", "slice((groups - 1 - g) * part, (groups - g) * part)"))
mistake("O/G is taken to be C/G", "A group has C/G inputs and O/G outputs, and the two may differ. The rows of its block are outputs.",
        swap=("step = O // groups", "step = part"))
mistake("all groups use the first group's kernels", "Each output channel keeps its own kernels: weight[rows].",
        swap=("= weight[rows]", "= weight[:step]"))
mistake("the result is always float64", "np.zeros without a dtype is float64: pass weight.dtype.",
        swap=("KH, KW), weight.dtype)", "KH, KW))"))

@mistake("the kernels are repeated for all channels", "A group must not see the others' channels: their weights are 0.")
def grouped_weight_matrix(weight, groups):
    return np.tile(weight, (1, groups, 1, 1))

# %% [markdown] hints="grouped_weight_matrix"
# Draw it for O = 4, C = 6 and two groups: a 4 × 6 matrix with two blocks. Which rows and columns has each?
#
# ---
#
# Group g: rows g · O/G … (g + 1) · O/G, columns g · C/G … (g + 1) · C/G. Everything else is 0.
#
# ---
#
# ```python
# full = np.zeros((O, ..., KH, KW), weight.dtype)
# step = O // groups
# for g in range(groups):
#     rows, columns = slice(g * step, ...), slice(...)
#     full[rows, columns] = ...
# return full
# ```

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(0)
fig, axes = plt.subplots(1, 4, figsize=(9, 2.4))
for ax, G in zip(axes, [1, 2, 4, 8]):
    one = Conv2d(8, 8, 3, groups=G, bias=False, rng=rng)
    full = grouped_weight_matrix(one.weight.data, G)
    x = rng.normal(size=(2, 8, 6, 6)).astype(np.float32)
    same = relative_error(one(x), conv2d_im2col(x, full, np.zeros(8, np.float32))) < 1e-5
    print(f"groups={G}: {one.weight.data.size} weights, same as the full weight: {same}")
    draw_matrix(ax, full[:, :, 1, 1], f"groups={G}", "", full[:, :, 1, 1], BLUE)
plt.show()

# %% [markdown]
# Rows are output channels, columns input channels. With as many groups as channels, each
# channel is filtered alone: *depthwise*. Nothing mixes the channels then. So a
# *depthwise-separable* convolution follows it with a *pointwise* one, of kernel size 1. It
# needs no new class: it is a `NyangFlow` of two `Conv2d`.
#
# ### Exercise 8 ★: predict
#
# From 8 to 16 channels, pictures of 28 × 28, kernel 3 × 3, no bias. Work it out on paper: how
# many weights has the full convolution, how many have the two parts? And how high is the output
# of the full one, in three settings?

# %% exercise="separable_counts" points=1 stars=1 reveal=false
def separable_counts():
    """Predict numbers of weights, and heights of out, for 8 → 16 channels and 3 × 3 kernels."""
    questions = ["weights of the full convolution", "weights of the depthwise part",
                 "weights of the pointwise part", "height with padding 1",
                 "height with padding 1 and stride 2", "height with dilation 2, no padding"]
    ### BEGIN SOLUTION counts = a list of six ints, in this order
    counts = [1152, 72, 128, 28, 14, 24]
    ### END SOLUTION
    return dict(zip(questions, counts, strict=True))

# %%
check(separable_counts)

# %% probe="separable_counts"
def probe(separable_counts, rng):
    for question, count in separable_counts().items():
        yield question, count

# %% mistakes="separable_counts"
mistake("the full weight has one kernel per output channel", "Each output channel has a kernel for every input channel: "
        "O · C · K · K.", swap=("[1152,", "[144,"))
mistake("the depthwise part sees all input channels", "With 8 groups of one channel, the weight is (8, 1, K, K).",
        swap=("1152, 72,", "1152, 576,"))
mistake("the depthwise part already makes 16 channels", "It keeps the 8 channels, one kernel each. The pointwise part makes "
        "16 of them.", swap=("1152, 72,", "1152, 144,"))
mistake("the pointwise kernel is taken as 3 × 3", "Pointwise means kernel size 1: its weight is (16, 8, 1, 1).",
        swap=("72, 128,", "72, 1152,"))
mistake("the biases are counted", "There is no bias here: count the weights alone.",
        swap=("[1152, 72, 128,", "[1168, 80, 144,"))
mistake("the products are counted, not the weights", "The same weights serve all places, and each counts once.",
        swap=("[1152, 72, 128,", "[903168, 56448, 100352,"))
mistake("the full weight has no axis for the output channels", "One output channel needs C · K · K weights, and there are O of them.",
        swap=("[1152,", "[72,"))
mistake("one kernel serves all channels of the depthwise part", "Each of the 8 channels is filtered by a kernel of its own.",
        swap=("1152, 72,", "1152, 9,"))
mistake("the pointwise part has one weight per output channel", "A kernel of size 1 still reads all input channels: its weight is "
        "(O, C, 1, 1).", swap=("72, 128,", "72, 16,"))
mistake("the channel numbers are added in the pointwise part", "Each output channel has a weight for each input channel: multiply.",
        swap=("72, 128,", "72, 24,"))
mistake("the pointwise part reads 16 channels", "The depthwise part has kept the 8 channels: that many come in.",
        swap=("72, 128,", "72, 256,"))
mistake("the padding is ignored at stride 1", "One zero on each side makes 30 places of 28.", swap=("28, 14, 24]", "26, 14, 24]"))
mistake("the first window is forgotten at stride 1", "The division counts the moves. One window is there before the first.",
        swap=("28, 14, 24]", "27, 14, 24]"))
mistake("the padding or the first window is forgotten at stride 2", "Take all three steps: 28 and two zeros, less the span, divided "
        "by the stride. Then add the first window.", swap=("28, 14, 24]", "28, 13, 24]"))
mistake("the kernel is not taken off", "A window of 3 cannot begin at the last two places.",
        swap=("28, 14, 24]", "30, 14, 24]"))
mistake("the division by the stride is rounded up", "A window that would stick out is not counted: round down, then add the "
        "first window.", swap=("28, 14, 24]", "28, 15, 24]"))
mistake("the dilation is ignored", "Three pixels that lie two apart span five places.", swap=("14, 24]", "14, 26]"))
mistake("the span is taken as D times K, or the first window is forgotten", "Three pixels have two gaps: they span D(K − 1) + 1 "
        "places. The division counts the moves, and one window is there before the first.",
        swap=("14, 24]", "14, 23]"))

# %% [markdown] hints="separable_counts"
# Write the shape of each weight first: (output channels, input channels per group, kernel height, kernel width).
#
# ---
#
# Full (O, C, K, K), depthwise (C, 1, K, K), pointwise (O, C, 1, 1). Heights: ⌊(size + 2P − D(K − 1) − 1) / S⌋ + 1.
#
# ---
#
# Full: 16 · 8 · …, depthwise: 8 · 1 · …, pointwise: 16 · 8 · …. Padded heights are 30, 30 and 28; the kernel spans
# 3, 3 and 5.

# %% tags=["nbval-check-output"]
full = Conv2d(8, 16, 3, padding=1, bias=False)
separable = NyangFlow(Conv2d(8, 8, 3, padding=1, groups=8, bias=False), Conv2d(8, 16, 1, bias=False))
x = np.zeros((1, 8, 28, 28), np.float32)
print("same output shape:", full(x).shape == separable(x).shape)
counts = [sum(p.data.size for p in model.parameters()) for model in (full, separable)]
print("weights: full {}, separable {}".format(*counts))

# %% [markdown]
# ## Use: a network that looks for strokes
#
# Two convolutions, then one `Linear`. The second convolution has a stride of 2, so the map that
# `Linear` reads is small. The number to beat is the network from the beginning.

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(0)
network = NyangFlow(Conv2d(1, 8, 5, rng=rng), ReLU(), Conv2d(8, 24, 5, stride=2, rng=rng), ReLU(),
                    Flatten(), Linear(2400, 10, rng=rng))
before = network[0].weight.data.copy()
fit(network, [0.04, 0.03, 0.01, 0.003], rng)
print("at least 96% right, and better than chapter 06:", accuracy(network) >= max(0.96, accuracy(mlp)))
print("moved by three, at least 5 points better:", accuracy(network, 3) - accuracy(mlp, 3) >= 0.05)
for name, model in [("chapter 06", mlp), ("convolutions", network)]:
    print(f"{name:12} {sum(p.data.size for p in model.parameters()):7,} parameters")

# %% [markdown]
# More digits right, with a fraction of the parameters. The next cell prints the shares. But
# moving the digits still does harm: `Linear` at the end ties each place of the map to its own
# weights. Chapter 09 goes on from there.
#
# What did the first layer learn to look for? Above its eight kernels, then what training added
# to them, then their answers to one digit.

# %%
for name, model in [("chapter 06", mlp), ("convolutions", network)]:
    print(f"{name:12} {accuracy(model):.1%}, moved by three pixels {accuracy(model, 3):.1%}")
answers = network[0](pixels[2100:2101])[0]
learned = network[0].weight.data
fig, axes = plt.subplots(3, 8, figsize=(10, 4.2))
for row, shown in zip(axes, [learned[:, 0], (learned - before)[:, 0], answers]):
    for ax, one in zip(row, shown):
        ax.imshow(one, cmap="RdBu_r", vmin=-abs(one).max(), vmax=abs(one).max())
        ax.axis("off")
plt.show()

# %% [markdown]
# Nobody told it about edges. Yet what training added, in the second row, is no noise: several
# kernels are red on one side and blue on the other, like those that people drew, and answer to
# strokes of one direction. In the first row, the noise of the start still lies on top.
#
# ## Exercise 9 ★★: break it and say why
#
# To halve a picture cheaply, somebody takes a convolution with kernel size 1 and stride 2. It
# runs, it learns, and something is lost. Which share of a size × size picture is read by *no*
# window, at padding 0? Such a pixel cannot change the output, so its gradient is always zero.

# %% exercise="unread_share" points=2 stars=2
def unread_share(size, kernel_size, stride):
    """Return the share, 0 to 1, of the pixels of a size × size picture that no window reads."""
    ### BEGIN SOLUTION count the places along one axis that some window reads; a pixel needs both its row and its column
    starts = stride * np.arange(output_size(size, kernel_size, stride))
    read = np.unique(starts[:, None] + np.arange(kernel_size))
    return 1 - (len(read) / size) ** 2
    ### END SOLUTION

# %%
check(unread_share)

# %% probe="unread_share"
def probe(unread_share, rng):
    K, steps = int(rng.integers(2, 4)), int(rng.integers(3, 7))
    S = K + int(rng.integers(2, 4))
    yield "windows with gaps and a rest at the end", unread_share(S * steps + K + 1, K, S)
    yield "windows with gaps that end at the edge", unread_share(S * steps + K, K, S)
    yield "windows that overlap, and a rest", unread_share(2 * steps + 4, 3, 2)

# %% mistakes="unread_share"
mistake("this is the share that is read", "Take it from 1: the question is what no window reads.",
        swap=("1 - (len(read) / size) ** 2", "(len(read) / size) ** 2"))
mistake("the share is given in percent", "The answer lies between 0 and 1.",
        swap=("1 - (len(read) / size) ** 2", "100 - 100 * (len(read) / size) ** 2"))
mistake("pixels are counted, not their share", "Divide by all size · size pixels.",
        swap=("1 - (len(read) / size) ** 2", "size**2 - len(read) ** 2"))
mistake("one place of every S is taken as read", "1/S of an axis is read only where the kernel has size 1.",
        swap=("len(read) / size", "1 / stride"))
mistake("the rest at the end counts as read", "The places after the last window are unread too: divide by size.",
        swap=("len(read) / size", "len(read) / (read[-1] + 1)"))
mistake("the last window is left out", "The division counts the moves. One window is there before the first.",
        swap=("np.arange(output_size(size, kernel_size, stride))", "np.arange(output_size(size, kernel_size, stride) - 1)"))
mistake("overlapping windows are taken to leave nothing over", "Windows that overlap read all that lies between them. The last places "
        "can still be too few for one more window.",
        swap=("return 1 - (len(read) / size) ** 2",
              "return 1 - (len(read) / size) ** 2 if stride > kernel_size else 0.0"))
mistake("only one axis is counted", "A pixel is read if its row *and* its column are read: multiply the two shares.",
        swap=("(len(read) / size) ** 2", "len(read) / size"))
mistake("a pixel counts only if both its row and its column are unread", "One of the two is enough to hide a pixel. Compute the "
        "share that is read, and take it from 1.",
        swap=("1 - (len(read) / size) ** 2", "(1 - len(read) / size) ** 2"))
mistake("the rest at the end is forgotten", "K of every S places is right in the middle only. The windows also leave "
        "places over at the end: count them.",
        swap=("(len(read) / size) ** 2", "min(1, kernel_size / stride) ** 2"))
mistake("places in two windows are counted twice", "A place is read or not, however often: np.unique, or a set.",
        swap=("np.unique(starts[:, None] + np.arange(kernel_size))", "(starts[:, None] + np.arange(kernel_size)).ravel()"))
mistake("only the first pixel of each window is counted", "A window reads kernel_size places from its beginning on.",
        swap=("np.arange(kernel_size))", "np.arange(1))"))

# %% [markdown] hints="unread_share"
# Take one axis first. Where do the windows begin, and which places does each of them read?
#
# ---
#
# Windows begin at 0, S, 2S, …; each reads K places. With n different places read along one axis, (n / size)² of all pixels
# are read.
#
# ---
#
# ```python
# starts = stride * np.arange(output_size(...))
# read = np.unique(starts[:, None] + ...)
# return 1 - ...
# ```

# %% tags=["nbval-check-output"]
careless = Conv2d(1, 4, 1, stride=2, rng=rng)
dx = careless.backward(np.ones_like(careless(pixels[:1])))
print(f"predicted {unread_share(28, 1, 2):.0%} of the pixels, zero gradients {np.mean(dx == 0):.0%}")

# %% [markdown]
# The layer throws these pixels away before any weight has seen them. A larger kernel, or an
# average before the stride, would see them all. ResNets do have such layers, in their shortcuts
# (17).
#
# ## Recap
#
# - A convolution is one small linear layer at every place. The weights are shared, and nothing is flipped.
# - `im2col` makes it one product. Backward is chapter 03 plus `col2im`: every `dout` stamps the kernel, stamps add up.
# - Speed is a matter of moving fewer numbers: copy less, stay in the cache, keep long runs.
# - Strides multiply the reach of later kernels; groups are zeros in the weight.
#
# `finish` exports all of it into `nyang_edu/model/conv.py` and `nyang_edu/model/tiles.py`.
#
# **References.** LeCun, Bottou, Bengio, Haffner, *Gradient-based learning applied to document recognition*, Proc. IEEE 86 (1998),
# section II.A. Chellapilla, Puri, Simard, *High performance convolutional neural networks for
# document processing* (2006). Dumoulin, Visin, *A guide to convolution arithmetic for deep
# learning*, (2016), chapters 2 and 4. Araujo, Norris, Sim, *Computing receptive fields of
# convolutional neural networks*, Distill (2019). He, Zhang, Ren, Sun, *Delving deep into
# rectifiers* (2015), section 2.2. Krizhevsky, Sutskever, Hinton, *ImageNet classification with
# deep convolutional neural networks* (2012), section 3.5, on groups. Howard et al.,
# *MobileNets* (2017), section 3.1.

# %%
finish("08_convolution")
