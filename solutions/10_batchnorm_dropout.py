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
# # 10 · BatchNorm and Dropout
#
# **You have** `Linear` and the layer contract (03), activations and initialisers (04), losses (05),
# `NyangFlow` and `SGD` (06).
#
# **You will build** `BatchNorm1d` and `BatchNorm2d` with their gradients, and `Dropout`. They are the first layers that behave
# differently in training and afterwards.
#
# **It unlocks** every deep architecture from VGG (15) on.
#
# Time: about 110 minutes. Eight exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.activation import ReLU
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.gradcheck import gradcheck, numerical_gradient
from nyang_edu.utility.init import he_normal, init_for
from nyang_edu.utility.plot import BLUE, GREY, ORANGE, PALE, draw_images, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: the right scale does not last
#
# Chapter 04 found the scale of the first weights at which a signal keeps its size. Training then moves the weights, and nobody
# watches the scale. Suppose each layer's weights end up a fifth too small, or a fifth too large.

# %%
import numpy as np


def deep_signal(gain, normalise):
    rng, spreads = np.random.default_rng(0), []
    x = rng.normal(size=(256, 128))
    for _ in range(20):
        x = x @ (gain * he_normal((128, 128), rng)).T
        x = (x - x.mean(axis=0)) / x.std(axis=0) if normalise else x
        spreads.append(x.std())
        x = np.maximum(x, 0)
    return spreads


fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
for ax, normalise in zip(axes, [False, True]):
    for gain, style in [(1.2, "-"), (1.0, "--"), (0.8, ":")]:
        ax.semilogy(range(1, 21), deep_signal(gain, normalise), style, label=f"weights × {gain}")
    ax.set(xlabel="layer", xticks=range(2, 21, 3), title="normalised" if normalise else "as it comes")
axes[0].set_ylabel("std of the signal")
axes[0].legend()
plt.show()

# %% [markdown]
# On the left a fifth per layer multiplies up: $1.2^{20} ≈ 38$ and $0.8^{20} ≈ 0.01$. On the right one line of code was added, and the three
# curves coincide. It subtracts each feature's mean over the batch and divides by its standard deviation.
#
# As a layer, this needs a backward pass that knows that mean and standard deviation depend on `x` too. And it needs an
# answer for the day when there is no batch.

# %% [markdown]
# ## Idea: five samples by hand
#
# Each column is a feature, each row a sample. Follow the orange column.

# %%
x = np.array([[7, 110], [9, 70], [10, 130], [11, 100], [13, 90]])
gamma, beta = np.array([2, 1]), np.array([0, 3])
centred = x - x.mean(axis=0)
xhat = centred / x.std(axis=0)

fig, axes = plt.subplots(1, 4, figsize=(8, 2.6))
titles = ["x", "centred", "xhat", "out"]
for ax, matrix, title in zip(axes, [x, centred, xhat, gamma * xhat + beta], titles):
    draw_matrix(ax, matrix, title, highlight=np.arange(10).reshape(5, 2) % 2 == 0)
plt.show()

# %% [markdown]
# The column's mean is 10, so `centred` is −3, −1, 0, 1, 3. The mean of the squares is $(9+1+0+1+9)/5 = 4$, the
# root of it 2. So `xhat` has mean 0 and standard deviation 1. The white column was ten times as spread out, and now is not.
#
# Two learned numbers per feature come last: here `gamma` = 2 and `beta` = 0 for the first, 1 and 3 for the second.
# With them the network can choose another mean and spread.
#
# ## Maths: forward
#
# For feature $c$ over the $N$ samples $n$:
#
# $$\text{mean}_c = \frac1N \sum_n x_{nc},\quad
# \text{centred}_{nc} = x_{nc} - \text{mean}_c,\quad
# \text{var}_c = \frac1N \sum_n \text{centred}_{nc}^2,$$
# $$\text{std}_c = \sqrt{\text{var}_c + \text{eps}},\quad
# \text{xhat}_{nc} = \frac{\text{centred}_{nc}}{\text{std}_c},\quad
# \text{out}_{nc} = \gamma_c\, \text{xhat}_{nc} + \beta_c .$$
#
# The small `eps` keeps a constant feature from being divided by zero. It stands *inside* the root.
#
# | array | shape | |
# |---|---|---|
# | `x`, `centred`, `xhat`, `out` | (N, C) | one number per sample and feature |
# | `mean`, `var`, `std` | (C,) | computed from the batch |
# | `gamma`, `beta` | (C,) | learned; PyTorch calls them `weight` and `bias` |
#
# ### Exercise 1 ★★: forward
#
# A plain function for (N, C). It also returns what backward will need, as a tuple: the *cache*.

# %%
#| default_exp model.norm
#| export
"""Batch normalisation: keep each channel's mean and spread under control, in both passes."""

import numpy as np

from nyang_edu.model.core import NyangModel, Parameter, expect_input
from nyang_edu.utility.layout import each_channel, from_rows, to_rows

# %% exercise="batchnorm_forward" points=2 stars=2
def batchnorm_forward(x, gamma, beta, eps):
    """Normalise each column over the batch, then scale by gamma and shift by beta.

    Args:
        x: (N, C) samples.
        gamma, beta: (C,).
        eps: added to the variance, inside the root.

    Returns:
        out (N, C), and the cache (xhat (N, C), centred (N, C), std (C,), gamma (C,)).
    """
    ### BEGIN SOLUTION mean, centred, var, std, xhat, out; each is one line
    mean = x.mean(axis=0)  # (C,)
    centred = x - mean
    var = (centred**2).mean(axis=0)  # (C,)
    std = np.sqrt(var + eps)
    xhat = centred / std
    out = gamma * xhat + beta
    ### END SOLUTION
    return out, (xhat, centred, std, gamma)

# %%
check(batchnorm_forward)

# %% probe="batchnorm_forward"
def probe(batchnorm_forward, rng):
    N, C = int(rng.integers(5, 9)), int(rng.integers(2, 5))
    x = rng.normal(size=(N, C)) * rng.uniform(1, 3, C) + rng.uniform(2, 4, C)
    gamma, beta = rng.uniform(1.5, 3, C), rng.uniform(1, 2, C)
    eps = float(rng.uniform(0.2, 0.5))
    out, (xhat, centred, std, _) = batchnorm_forward(x, gamma, beta, eps)
    yield "out", out
    yield "xhat", xhat
    yield "centred", centred
    yield "std", std
    low = [a.astype(np.float32) for a in (x, gamma, beta)]
    yield "out in float32", batchnorm_forward(*low, eps)[0]

# %% mistakes="batchnorm_forward"
mistake("the mean is taken over the features", "axis=1 averages one sample over its features, which may be as different as age and "
        "income. The batch is axis 0: each feature is compared with itself in other samples.",
        swap=("mean = x.mean(axis=0)  # (C,)", "mean = x.mean(axis=1, keepdims=True)"))
mistake("one mean for the whole array", "Without an axis, mean returns one number for all features together. Each "
        "feature has its own: name the axis.", swap=("mean = x.mean(axis=0)", "mean = x.mean()"))
mistake("the variance divides by N - 1", "The batch is normalised by its own spread: the mean of the squares, over N. The N - 1 belongs to "
        "estimating the spread of other data, and comes later.",
        swap=("(centred**2).mean(axis=0)", "(centred**2).sum(axis=0) / (len(x) - 1)"))
mistake("eps stands outside the root", "eps is added to the variance before the root is taken.",
        swap=("np.sqrt(var + eps)", "np.sqrt(var) + eps"))
mistake("eps is forgotten", "A feature that is constant in the batch has variance 0. eps keeps the division finite.",
        swap=("np.sqrt(var + eps)", "np.sqrt(var)"))
mistake("centred is divided by the variance", "The spread in the units of x is the root of the variance.",
        swap=("np.sqrt(var + eps)", "var + eps"))
mistake("gamma and beta are forgotten", "xhat is not the output yet: each feature is scaled by gamma and shifted by beta.",
        swap=("gamma * xhat + beta", "xhat * np.ones_like(gamma)"))
mistake("beta is scaled by gamma", "First scale, then shift: beta itself is not multiplied.",
        swap=("gamma * xhat + beta", "gamma * (xhat + beta)"))
mistake("the mean is taken over axis 1", "axis=1 averages one sample over its features, and gives (N,). The batch is axis 0: one mean "
        "per feature, (C,).", swap=("mean = x.mean(axis=0)", "mean = x.mean(axis=1)"))
mistake("mean and variance are taken over the features", "axis=1 compares the features of one sample with each other. The batch is "
        "axis 0: each feature is compared with itself in other samples.",
        swap=("""    mean = x.mean(axis=0)  # (C,)
    centred = x - mean
    var = (centred**2).mean(axis=0)""", """    mean = x.mean(axis=1, keepdims=True)
    centred = x - mean
    var = (centred**2).mean(axis=1, keepdims=True)"""))
mistake("mean and variance are those of the whole array", "Without an axis, mean returns one number for all features together. Each "
        "feature has its own: name the axis.",
        swap=("""    mean = x.mean(axis=0)  # (C,)
    centred = x - mean
    var = (centred**2).mean(axis=0)""", """    mean = x.mean()
    centred = x - mean
    var = (centred**2).mean()"""))
mistake("x is divided without being centred", "xhat has mean 0: divide centred by std, not x.",
        swap=("xhat = centred / std", "xhat = x / std"))
mistake("the squares are added, not averaged", "The variance is the mean of the squares. Their sum grows with the batch.",
        swap=("(centred**2).mean(axis=0)", "(centred**2).sum(axis=0)"))
mistake("the squares are those of x", "The variance measures the distance from the mean: square centred, not x.",
        swap=("(centred**2).mean(axis=0)", "(x**2).mean(axis=0)"))
mistake("gamma and beta are exchanged", "gamma scales and beta shifts.", swap=("gamma * xhat + beta", "beta * xhat + gamma"))
mistake("out is written over xhat", "Backward needs xhat as it is. *= and += change it: give out an array of its own.",
        swap=("    out = gamma * xhat + beta", "    xhat *= gamma\n    xhat += beta\n    out = xhat"))

# %% [markdown] hints="batchnorm_forward"
# Every statistic describes one column. Which axis disappears when you average a column?
#
# ---
#
# Mean over axis 0, subtract, mean of the squares over axis 0, root of var + eps, divide, scale and shift.
#
# ---
#
# ```python
# mean = x.mean(axis=...)
# centred = ...
# var = ...
# std = np.sqrt(...)
# xhat = ...
# out = ...
# ```

# %% [markdown]
# ## Pictures: statistics per channel
#
# A batch of feature maps is (N, C, H, W). A convolution (08) runs one kernel over all places, so all places of a channel speak the same
# language. They share their statistics. Taking `axis=0` as before would give every pixel its own. Here is what that does to 64 digits.

# %% tags=["nbval-check-output"]
images, labels = load_digits_5k()
pixels = images.astype(np.float32) / 255  # (5000, 28, 28)
batch = pixels[::78][:64, None]  # (64, 1, 28, 28)

by_channel = (batch - batch.mean()) / np.sqrt(batch.var() + 1e-5)
by_pixel = (batch - batch.mean(axis=0)) / np.sqrt(batch.var(axis=0) + 1e-5)

fig, axes = plt.subplots(2, 8, figsize=(9, 2.6))
for k in range(8):
    for row, maps in enumerate([by_channel, by_pixel]):
        axes[row, k].imshow(maps[8 * k + 4, 0], cmap="RdBu_r", vmin=-6, vmax=6)
        axes[row, k].axis("off")
axes[0, 0].set_title("per channel", loc="left")
axes[1, 0].set_title("per pixel", loc="left")
plt.show()
print(f"largest value: per channel {by_channel.max():.0f}, per pixel {by_pixel.max():.0f}")

# %% [markdown]
# Red is above the mean, blue below. Per channel, equal strokes keep equal values. Per pixel, ink fades where everybody has ink,
# and becomes huge at the rim, where hardly anybody has any. The same stroke means something else at each place.
#
# | averaged over | for (N, C, H, W) | gives | |
# |---|---|---|---|
# | N | `axis=0` | (C, H, W) | per pixel: wrong |
# | H, W | `axis=(2, 3)` | (N, C) | each picture alone: another layer, *InstanceNorm* |
# | N, H, W | `axis=(0, 2, 3)` | (C,) | per channel: BatchNorm |
#
# ### Exercise 2 ★★: which axes?
#
# Write the rule for any number of axes. Channels are always axis 1: (N, C), (N, C, L), (N, C, H, W).

# %% exercise="channel_axes" points=1 stars=2
#| export
def channel_axes(ndim):
    """Return the axes, as a tuple, that a statistic per channel averages over.

    Args:
        ndim: the number of axes of an array (N, C, …), at least 2.
    """
    ### BEGIN SOLUTION all axes but that of the channels
    return (0, *range(2, ndim))
    ### END SOLUTION

# %%
check(channel_axes)

# %% probe="channel_axes"
def probe(channel_axes, rng):
    for ndim, shape in [(4, "(N, C, H, W)"), (3, "(N, C, L)"), (2, "(N, C)")]:
        x = rng.normal(size=rng.permutation([2, 3, 4, 5])[:ndim]) + 2
        axes = channel_axes(ndim)
        yield f"axes for {shape}", np.array(sorted(axis % ndim for axis in axes))
        yield f"mean over them for {shape}", x.mean(axis=tuple(axes))
    yield "type of the result", type(axes).__name__

# %% mistakes="channel_axes"
@mistake("only the batch is averaged over", "Axis 0 alone gives every pixel its own mean: the lower row of the figure. The places "
         "of a channel belong together.")
def channel_axes(ndim):
    return (0,)

@mistake("the batch axis is left out", "Without axis 0 each picture is normalised by itself alone. The samples of the batch "
         "share their statistics.")
def channel_axes(ndim):
    return tuple(range(2, ndim))

@mistake("the channels are averaged too", "Over all axes a single number is left for all channels together. Each channel keeps its own.")
def channel_axes(ndim):
    return tuple(range(ndim))

@mistake("the channels are taken for the last axis", "That is right for (N, H, W, C). In this course channels are axis 1: (N, C, H, W).")
def channel_axes(ndim):
    return tuple(range(ndim - 1)) if ndim > 2 else (1,)

@mistake("all axes but the batch are averaged over", "That gives one number per sample, across its channels: another layer, LayerNorm.")
def channel_axes(ndim):
    return tuple(range(1, ndim))
@mistake("the last axis is left out", "range(2, n) ends at n - 1, so it needs ndim itself as its end.")
def channel_axes(ndim):
    return (0, *range(2, ndim - 1))

@mistake("the axes are those of (N, C, H, W), whatever ndim is", "An array with fewer axes has no axis 3. Let the axes depend on ndim.")
def channel_axes(ndim):
    return (0, 2, 3)

@mistake("a list is returned", "NumPy's mean takes several axes as a tuple, and refuses a list.")
def channel_axes(ndim):
    return [0, *range(2, ndim)]

@mistake("(0) is taken for a tuple", "(0) is the number 0 in brackets. A tuple of one element is written with a comma: (0,).")
def channel_axes(ndim):
    return (0) + tuple(range(2, ndim))
@mistake("the axis of the channels itself is returned", "The axes that are named are averaged away. The channels must stay: name all the others.")
def channel_axes(ndim):
    return (1,)

# %% [markdown] hints="channel_axes"
# One mean per channel has shape (C,). Which axes of (N, C, H, W) have to disappear?
#
# ---
#
# Axis 0, and everything from axis 2 on. `range(2, ndim)` is empty for ndim = 2.
#
# ---
#
# ```python
# return (0, *range(..., ...))
# ```

# %% [markdown]
# ### Given: three helpers for speed
#
# `spread` shapes (C,) as (1, C, 1, 1), so that it meets the channels. `channel_dot` adds up products per channel. Written
# as `(a * b).sum(axis)` this stores all products first. `np.einsum` multiplies and adds on the fly: the letters say that both
# arrays share all axes and that axis 1 survives.

# %%
#| export
def spread(values, ndim):
    """Shape (C,) as (1, C, 1, …), to meet the channels of an array (N, C, …)."""
    return values.reshape(1, -1, *[1] * (ndim - 2))


def channel_dot(a, b):
    """Sum a · b over everything but the channels: two arrays (N, C, …) → (C,)."""
    axes = list(range(a.ndim))
    return np.einsum(a, axes, b, axes, [1])  # no array of products is stored


def per_channel(x):
    """Compute mean and variance (over the count, not the count - 1) per channel: two (C,)."""
    mean = x.mean(axis=channel_axes(x.ndim))
    centred = x - spread(mean, x.ndim)
    return mean, channel_dot(centred, centred) / (x.size // x.shape[1])

# %% tags=["nbval-check-output"]
maps = np.random.default_rng(0).normal(3, 2, size=(8, 5, 6, 7))
mean, var = per_channel(maps)
slow = [(maps[:, c].mean(), maps[:, c].var()) for c in range(5)]
print("as channel by channel:", np.allclose(np.transpose(slow), [mean, var]), " shape", mean.shape)

# %% [markdown]
# ## Maths: backward, on the graph
#
# Draw each intermediate array as a box, and an arrow from whatever it is computed from. Backward walks all arrows in reverse.

# %%
boxes = {"x": (0, 0), "mean": (1, 1), "centred": (2, 0), "var": (3, 1), "std": (4, 1),
         "xhat": (5, 0), "out": (6, 0)}
arrows = ["x mean", "x centred", "mean centred", "centred var", "var std", "std xhat",
          "centred xhat", "xhat out"]

fig, ax = plt.subplots(figsize=(8, 2.2))
for name, (column, row) in boxes.items():
    colour = ORANGE if name in ("x", "centred") else BLUE
    ax.text(column, row, name, ha="center", va="center",
            bbox={"boxstyle": "round,pad=0.5", "fc": PALE[colour], "ec": colour})
for start, end in map(str.split, arrows):
    ax.annotate("", boxes[end], boxes[start], arrowprops={
        "arrowstyle": "->", "color": GREY, "shrinkA": 26, "shrinkB": 26, "lw": 1.5})
ax.set(xlim=(-0.5, 6.5), ylim=(-0.5, 1.5))
ax.axis("off")
plt.show()

# %% [markdown]
# Three rules are enough.
#
# 1. **Where two arrows leave a box, two gradients come back and are added.** The orange boxes have two: `centred` feeds `xhat` directly and
#    through `var`; `x` feeds `centred` directly and through `mean`.
# 2. **What was stretched over the batch is summed over the batch.** One $\text{std}_c$ divides $N$ elements, so its gradient is a sum of $N$ terms.
# 3. **What was averaged over the batch hands $1/N$ of its gradient to every sample.**
#
# From the right, for one element: $\text{out}_{nc} = \gamma_c\,\text{xhat}_{nc} + \beta_c$ gives
#
# $$\text{dbeta}_c = \sum_n \text{dout}_{nc}, \qquad \text{dgamma}_c = \sum_n \text{dout}_{nc}\,\text{xhat}_{nc}, \qquad
# \text{dxhat}_{nc} = \text{dout}_{nc}\,\gamma_c .$$
#
# Then the quotient: $\partial\,\text{xhat}_{nc} / \partial\,\text{std}_c = -\text{centred}_{nc}/\text{std}_c^2$, so
# $\text{dstd}_c = -\sum_n \text{dxhat}_{nc}\,\text{centred}_{nc}/\text{std}_c^2$. The root has slope $1/(2\,\text{std}_c)$. The square has slope
# $2\,\text{centred}_{nc}$.
#
# ### Exercise 3 ★★★: backward, step by step
#
# One line per arrow, from right to left. Every gradient has the shape of what it belongs to.

# %% exercise="batchnorm_backward" points=4 stars=3
def batchnorm_backward(dout, cache):
    """Compute the gradients of batchnorm_forward by walking its graph backwards.

    Args:
        dout: (N, C).
        cache: (xhat, centred, std, gamma) from batchnorm_forward.

    Returns:
        dx (N, C), dgamma (C,), dbeta (C,).
    """
    xhat, centred, std, gamma = cache
    ### BEGIN SOLUTION dbeta, dgamma, dxhat; dstd, dvar; dcentred from two sides; dmean; dx from two sides
    dbeta = dout.sum(axis=0)  # (C,)
    dgamma = (dout * xhat).sum(axis=0)  # (C,)
    dxhat = dout * gamma
    dstd = -(dxhat * centred).sum(axis=0) / std**2  # (C,)
    dvar = dstd / (2 * std)
    dcentred = dxhat / std + 2 * centred * dvar / len(dout)
    dmean = -dcentred.sum(axis=0)  # (C,)
    dx = dcentred + dmean / len(dout)
    ### END SOLUTION
    return dx, dgamma, dbeta

# %%
check(batchnorm_backward)

# %% probe="batchnorm_backward"
def probe(batchnorm_backward, rng):
    N, C = int(rng.integers(4, 7)), int(rng.integers(2, 4))
    x = rng.normal(size=(N, C)) * 2
    gamma, dout = rng.uniform(1.5, 3, C), rng.normal(size=(N, C)) + 0.5
    centred = x - x.mean(axis=0)
    std = np.sqrt(x.var(axis=0) + 0.1)
    dx, dgamma, dbeta = batchnorm_backward(dout, (centred / std, centred, std, gamma))
    yield "dx", dx
    yield "dgamma", dgamma
    yield "dbeta", dbeta

# %% mistakes="batchnorm_backward"
mistake("the path through the variance is forgotten", "centred has two arrows leaving it. It also decides the variance, and through it the std that "
        "divides everything: that gradient has to be added.",
        swap=(" + 2 * centred * dvar / len(dout)", ""))
mistake("the path through the mean is forgotten", "x has two arrows leaving it. Moving one sample moves the mean, which is subtracted from "
        "all samples.", swap=("dx = dcentred + dmean / len(dout)", "dx = dcentred"))
mistake("gamma is forgotten in dx", "dout arrives behind the scaling. One step to the left stands gamma: dxhat = dout · gamma.",
        swap=("dxhat = dout * gamma", "dxhat = dout"))
mistake("the root's one half is missing", "The slope of a square root is 1 / (2 · root).",
        swap=("dvar = dstd / (2 * std)", "dvar = dstd / std"))
mistake("the variance's gradient is not shared out", "var was a mean over N, so each sample gets 1/N of what comes back.",
        swap=("2 * centred * dvar / len(dout)", "2 * centred * dvar"))
mistake("the mean's gradient is not shared out", "mean was an average over N, so each sample gets 1/N of dmean.",
        swap=("dmean / len(dout)", "dmean"))
mistake("dstd has the wrong sign", "A larger std makes xhat smaller in size: the derivative of centred / std by std is negative.",
        swap=("dstd = -(dxhat", "dstd = (dxhat"))
mistake("dgamma uses centred", "gamma multiplies xhat in forward, so dgamma sums dout · xhat.",
        swap=("(dout * xhat).sum", "(dout * centred).sum"))
mistake("dbeta is averaged over the batch", "beta was stretched over the batch, and comes back as a sum, not a mean.",
        swap=("dbeta = dout.sum(axis=0)", "dbeta = dout.mean(axis=0)"))
mistake("mean and std are taken for constants", "dout · gamma / std is the direct path only. Moving one sample also moves mean and std, and with "
        "them the whole column: two more paths lead back to x.",
        swap=("dx = dcentred + dmean / len(dout)", "dx = dxhat / std"))
mistake("the direct path to xhat is forgotten", "centred has two arrows leaving it. One leads straight to xhat: dxhat / std has to be "
        "added.", swap=("dcentred = dxhat / std + 2", "dcentred = 2"))
mistake("dmean has the wrong sign", "The mean is subtracted, so a larger mean makes centred smaller.",
        swap=("dmean = -dcentred", "dmean = dcentred"))
mistake("dmean is averaged, and then shared out", "One mean was subtracted from N samples, so its gradient is a sum of N terms. The 1/N "
        "comes once, in dx.", swap=("-dcentred.sum(axis=0)", "-dcentred.mean(axis=0)"))
mistake("dstd is averaged over the batch", "One std divided N elements, so its gradient is a sum of N terms.",
        swap=("(dxhat * centred).sum(axis=0)", "(dxhat * centred).mean(axis=0)"))
mistake("dstd divides by std, not by its square", "The derivative of centred / std by std is -centred / std².",
        swap=("/ std**2", "/ std"))
mistake("dvar is halved and multiplied by std", "dstd / 2 * std multiplies by std. The slope of the root is 1 / (2 * std): mind the brackets.",
        swap=("dstd / (2 * std)", "dstd / 2 * std"))
mistake("the square's factor 2 is missing", "The slope of a square is twice the number: 2 · centred.",
        swap=("+ 2 * centred * dvar", "+ centred * dvar"))
mistake("dgamma is multiplied by gamma", "gamma multiplies xhat in forward, so dgamma sums dout · xhat. gamma itself is not in it.",
        swap=("(dout * xhat).sum", "(dout * gamma * xhat).sum"))
mistake("dgamma is averaged over the batch", "gamma was stretched over the batch, and comes back as a sum, not a mean.",
        swap=("(dout * xhat).sum(axis=0)", "(dout * xhat).mean(axis=0)"))

# %% [markdown] hints="batchnorm_backward"
# Go through the figure from right to left and write one line per box: dxhat, dstd, dvar, dcentred, dmean, dx. The orange boxes get a sum of two terms.
#
# ---
#
# dxhat = dout γ; dstd = −Σ dxhat · centred / std²; dvar = dstd / (2 std); dcentred = dxhat / std + 2 · centred · dvar / N;
# dmean = −Σ dcentred; dx = dcentred + dmean / N.
#
# ---
#
# ```python
# dbeta = dout.sum(axis=0)
# dgamma = ...
# dxhat = dout * ...
# dstd = -(...).sum(axis=0) / ...
# dvar = dstd / ...
# dcentred = dxhat / std + ... / len(dout)
# dmean = -...
# dx = dcentred + ...
# ```

# %% [markdown]
# On one channel of 60 samples, against the numerical gradient:

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(4)
x, dout = rng.normal(size=(2, 60, 1)) * 2
dout += 1.0 + 0.4 * x
gamma, beta = np.array([1.5]), np.array([0.2])
out, cache = batchnorm_forward(x, gamma, beta, 1e-9)
dx, dgamma, dbeta = batchnorm_backward(dout, cache)
estimate = numerical_gradient(
    lambda v: float((batchnorm_forward(v, gamma, beta, 1e-9)[0] * dout).sum()), x)
print("dx agrees with the numerical gradient:", np.abs(dx - estimate).max() < 1e-6)

# %% [markdown]
# ## Closing the formula
#
# Put the lines into one another. Since centred / std is `xhat`, and since `centred` sums to zero, nearly everything cancels:
#
# $$\text{dx}_{nc} = \frac{\gamma_c}{\text{std}_c}\Big(\text{dout}_{nc}
# - \underbrace{\tfrac1M \textstyle\sum \text{dout}}_{\text{through the mean}}
# - \text{xhat}_{nc}\,\underbrace{\tfrac1M \textstyle\sum \text{dout}\cdot\text{xhat}}_{\text{through the variance}}\Big) .$$
#
# The sums run over the channel, and $M$ counts its values: $N$ for (N, C), $N·H·W$ for pictures. What does the bracket do? Here are the 60 samples
# again.

# %% tags=["nbval-check-output"]
xhat, _, std, _ = cache
slope, height = np.polyfit(xhat[:, 0], dout[:, 0], 1)
fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharey=True)
axes[0].scatter(xhat, dout, s=14)
axes[0].plot(xhat, height + slope * xhat, color=ORANGE)
axes[0].set(xlabel="xhat", title="dout, and the straight line that fits it best")
axes[1].scatter(xhat, dx * std / gamma, s=14)
axes[1].axhline(0, color=ORANGE)
axes[1].set(xlabel="xhat", title="the bracket: what is left of dout")
plt.show()
print("height is the mean of dout:", np.isclose(height, dout.mean()),
      "  slope is the mean of dout · xhat:", np.isclose(slope, (dout * xhat).mean()))

# %% [markdown]
# The bracket is `dout` minus its best straight line in `xhat`. The line's height would shift all samples together. Its slope would stretch them. BatchNorm
# undoes both, so neither can change `out`, and `dx` contains neither.
#
# ### Exercise 4 ★★★: the closed form
#
# For any number of axes. `spread`, `channel_dot` and `channel_axes` do the shapes.

# %% exercise="batchnorm_backward_closed" points=4 stars=3
#| export
def batchnorm_backward_closed(dout, xhat, std, gamma):
    """Compute dx = γ/std · (dout - mean(dout) - xhat · mean(dout · xhat)), dgamma and dbeta.

    Args:
        dout, xhat: (N, C, …).
        std, gamma: (C,).

    Returns:
        dx (N, C, …), dgamma (C,), dbeta (C,).

    Source: Ioffe and Szegedy, Batch normalization (2015), section 3, simplified.
    """
    ndim, M = dout.ndim, dout.size // dout.shape[1]
    ### BEGIN SOLUTION dbeta and dgamma are the two sums; then dx from them
    dbeta = dout.sum(axis=channel_axes(ndim))
    dgamma = channel_dot(dout, xhat)
    dx = xhat * spread(dgamma / -M, ndim)  # the one new array; the rest is done in place
    dx += dout
    dx -= spread(dbeta / M, ndim)
    dx *= spread(gamma / std, ndim)
    ### END SOLUTION
    return dx, dgamma, dbeta

# %%
check(batchnorm_backward_closed)

# %% probe="batchnorm_backward_closed"
def probe(batchnorm_backward_closed, rng):
    N, C, H, W = (int(size) for size in rng.permutation([2, 3, 4, 5]))
    for name, shape in [("(N, C, H, W)", (N, C, H, W)), ("(N, C)", (N + 3, C))]:
        x, dout = rng.normal(size=(2, *shape)) * 2
        axes = (0, *range(2, x.ndim))
        std = np.sqrt(x.var(axis=axes) + 0.1)
        mean, wide = x.mean(axis=axes, keepdims=True), np.sqrt(x.var(axis=axes, keepdims=True) + 0.1)
        gamma = rng.uniform(1.5, 3, C)
        dx, dgamma, dbeta = batchnorm_backward_closed(dout + 0.5, (x - mean) / wide, std, gamma)
        yield f"dx of {name}", dx
        yield f"dgamma of {name}", dgamma
        yield f"dbeta of {name}", dbeta
    low = [a.astype(np.float32) for a in (dout, x, std, gamma)]
    yield "dx in float32", batchnorm_backward_closed(*low)[0]

# %% mistakes="batchnorm_backward_closed"
mistake("the sums are not divided by M", "In the bracket stand means: each sum divided by how many values the channel has.",
        swap=("ndim, M = dout.ndim, dout.size // dout.shape[1]", "ndim, M = dout.ndim, 1"))
mistake("the means divide by N alone", "A channel of a batch of pictures has N · H · W values, and M counts them all.",
        swap=("dout.size // dout.shape[1]", "len(dout)"))
mistake("the term through the mean is missing", "The mean of dout is subtracted too: shifting all samples together changes nothing.",
        swap=("    dx -= spread(dbeta / M, ndim)\n", ""))
mistake("the term through the variance is missing", "xhat · mean(dout · xhat) is subtracted too: stretching all samples changes nothing.",
        swap=("dx = xhat * spread(dgamma / -M, ndim)", "dx = xhat * 0"))
mistake("the term through the variance is added", "Both means are subtracted. Look at the signs in the bracket.",
        swap=("dgamma / -M", "dgamma / M"))
mistake("gamma is missing in front of the bracket", "dout arrives behind the scaling by gamma, so all of dx is multiplied by it.",
        swap=("spread(gamma / std, ndim)", "spread(1 / std, ndim)"))
mistake("the bracket is multiplied by std", "xhat was divided by std in forward. A gradient goes back through a division by dividing.",
        swap=("spread(gamma / std, ndim)", "spread(gamma * std, ndim)"))
mistake("dgamma is averaged over the channel", "dgamma and dbeta are sums. Only inside the bracket are they divided by M.",
        swap=("    dx *= spread", "    dgamma = dgamma / M\n    dx *= spread"))
mistake("the sum through the mean is not divided by M", "In the bracket stand means: divide dbeta by M there.",
        swap=("spread(dbeta / M, ndim)", "spread(dbeta, ndim)"))
mistake("the sum through the variance is not divided by M", "In the bracket stand means: divide dgamma by M there.",
        swap=("dgamma / -M", "-dgamma"))
mistake("the term through the mean is added", "Both means are subtracted. Look at the signs in the bracket.",
        swap=("dx -= spread(dbeta", "dx += spread(dbeta"))
mistake("the term through the variance lacks xhat", "The line that is taken away rises with xhat: multiply mean(dout · xhat) by xhat.",
        swap=("xhat * spread(dgamma / -M, ndim)", "spread(dgamma / -M, ndim) * np.ones_like(xhat)"))
mistake("std is missing in front of the bracket", "xhat was divided by std in forward. A gradient goes back through a division by dividing.",
        swap=("spread(gamma / std, ndim)", "spread(gamma, ndim)"))
mistake("the bracket is divided by the variance", "In front of the bracket stands gamma / std. std is the root of the variance.",
        swap=("spread(gamma / std, ndim)", "spread(gamma / std**2, ndim)"))
mistake("only dout is multiplied by gamma / std", "The factor stands in front of the whole bracket: put brackets around the three terms.",
        swap=("""    dx += dout
    dx -= spread(dbeta / M, ndim)
    dx *= spread(gamma / std, ndim)""", """    dx += dout * spread(gamma / std, ndim)
    dx -= spread(dbeta / M, ndim)"""))
mistake("dbeta is averaged over the channel", "dgamma and dbeta are sums. Only inside the bracket are they divided by M.",
        swap=("    dx *= spread", "    dbeta = dbeta / M\n    dx *= spread"))

# %% [markdown] hints="batchnorm_backward_closed"
# The two sums in the bracket are old acquaintances: they are dbeta and dgamma. Compute these first.
#
# ---
#
# dbeta = Σ dout over channel_axes; dgamma = channel_dot(dout, xhat); dx = γ/std · (dout − dbeta/M − xhat · dgamma/M).
#
# ---
#
# ```python
# dbeta = dout.sum(axis=...)
# dgamma = channel_dot(...)
# dx = spread(gamma / std, ndim) * (dout - spread(..., ndim) - xhat * spread(..., ndim))
# ```

# %% [markdown]
# The same numbers? And faster? The closed form reads and writes fewer arrays.

# %%
from time import perf_counter

x, dout = np.random.default_rng(0).normal(size=(2, 4096, 128))
gamma, beta = np.full(128, 1.5), np.zeros(128)
_, cache = batchnorm_forward(x, gamma, beta, 1e-5)
xhat, _, std, _ = cache
pairs = zip(batchnorm_backward(dout, cache), batchnorm_backward_closed(dout, xhat, std, gamma))
assert all(np.allclose(a, b) for a, b in pairs), "graph and closed form must agree"


def milliseconds(call, *arguments):
    times = []
    for _ in range(7):
        start = perf_counter()
        call(*arguments)
        times.append(perf_counter() - start)
    return 1000 * min(times)


graph = milliseconds(batchnorm_backward, dout, cache)
closed = milliseconds(batchnorm_backward_closed, dout, xhat, std, gamma)
print(f"same numbers; graph {graph:.1f} ms, closed form {closed:.1f} ms")

# %% [markdown]
# ## Training and inference
#
# In use, a picture's answer must not depend on what else is in the batch. So the layer keeps a *running* mean and
# variance while it trains, and uses them in `eval` mode:
#
# $$\text{running} \leftarrow (1 - \text{momentum})\cdot\text{running} + \text{momentum}\cdot\text{batch}, \qquad \text{momentum} = 0.1 .$$
#
# This momentum weighs the *new* value; SGD's weighs the old one. And `running_var` estimates the variance of all
# data from $M$ samples, so it is fed $\text{var}\cdot M/(M-1)$ (the *unbiased* estimate), while the batch itself is normalised by `var`.
#
# In `eval` the statistics are constants. Then `out` is a straight line in `x`, and dx = dout · γ / std, without further paths.
# dgamma and dbeta are the same sums in both modes.
#
# No gradient moves the running statistics, but a saved model needs them. They are *buffers*: the class
# attribute `buffers` tells `state_dict` their names. A third one, `num_batches_tracked`, counts the batches, as in PyTorch.
#
# ### Exercise 5 ★★★: the layer
#
# Four holes. `expect` refuses a training batch with fewer than two values per channel: its variance says nothing. `backward`
# follows the mode that *forward* ran in.

# %% exercise="BatchNorm" points=6 stars=3
#| export
class BatchNorm(NyangModel):
    """Normalise each channel: out = weight · (x - mean) / √(var + eps) + bias.

    In training with the batch's statistics, in eval with the running ones.
    Shapes: x (N, C), (N, C, L) or (N, C, H, W) → out, the same; weight, bias (C,).

    Raises:
        ValueError, TypeError: where x has another shape or dtype than the layer expects.
        ValueError: in training with fewer than two values per channel.

    Source: Ioffe and Szegedy, Batch normalization (2015), sections 3 to 3.2.
    """

    buffers = ("running_mean", "running_var", "num_batches_tracked")
    layouts = ("NC", "NCL", "NCHW")

    def __init__(self, num_features, eps=1e-5, momentum=0.1, affine=True):
        self.num_features, self.eps, self.momentum = num_features, float(eps), float(momentum)
        if not 0 <= self.momentum <= 1:
            raise ValueError(f"momentum must be from 0 to 1, received {momentum}: try 0.1")
        self.weight = Parameter(np.ones(num_features, np.float32)) if affine else None
        self.bias = Parameter(np.zeros(num_features, np.float32)) if affine else None
        self.running_mean = np.zeros(num_features, np.float32)
        self.running_var = np.ones(num_features, np.float32)
        self.num_batches_tracked = np.array(0)

    def expect(self, x):
        """Raise where x has not the layer's channels and dtype, or too few values to train on."""
        layout = next((one for one in self.layouts if len(one) == np.ndim(x)), self.layouts[-1])
        shape = [self.num_features if axis == "C" else axis for axis in layout]
        expect_input(self, x, *shape, dtype=self.running_mean.dtype)
        count = x.size // self.num_features  # values per channel
        ### BEGIN SOLUTION in training, refuse a count below 2 with a ValueError
        if self.training and count < 2:
            raise ValueError(
                f"{type(self).__name__} in training needs at least 2 values per channel, "
                f"received {x.shape}: use a larger batch, or model.eval() for inference")
        ### END SOLUTION

    def gamma_and_beta(self):
        """Return the two arrays (C,), ones and zeros for a layer without parameters."""
        if self.weight:
            return self.weight.data, self.bias.data
        return np.ones_like(self.running_mean), np.zeros_like(self.running_mean)

    def forward(self, x):
        """Return out, with x's shape and dtype."""
        self.expect(x)
        gamma, beta = self.gamma_and_beta()
        count = x.size // self.num_features
        ### BEGIN SOLUTION choose mean and var by self.training (and track); xhat; save; out
        if self.training:
            mean, var = per_channel(x)
            self.track(mean, var, count)
        else:
            mean, var = self.running_mean, self.running_var
        std = np.sqrt(var + self.eps)  # (C,)
        xhat = x - spread(mean, x.ndim)
        xhat /= spread(std, x.ndim)
        self.save(xhat, std, self.training)
        out = xhat * spread(gamma, x.ndim)
        out += spread(beta, x.ndim)
        return out
        ### END SOLUTION

    def track(self, mean, var, count):
        """Move the running statistics towards a batch of count values per channel."""
        ### BEGIN SOLUTION running_mean; running_var with the unbiased variance; count the batch
        unbiased = var * (count / (count - 1))
        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (unbiased - self.running_var)
        self.num_batches_tracked += 1
        ### END SOLUTION

    def backward(self, dout):
        """Add to the gradients of weight and bias; return dx."""
        gamma, _ = self.gamma_and_beta()
        ### BEGIN SOLUTION closed form if forward ran in training, else dout · γ / std; add to the gradients
        xhat, std, trained = self.saved()
        if trained:
            dx, dgamma, dbeta = batchnorm_backward_closed(dout, xhat, std, gamma)
        else:
            dx = dout * spread(gamma / std, dout.ndim)
            dgamma = channel_dot(dout, xhat)
            dbeta = dout.sum(axis=channel_axes(dout.ndim))
        if self.weight:
            self.weight.grad += dgamma
            self.bias.grad += dbeta
        return dx
        ### END SOLUTION

# %%
check(BatchNorm)

# %% probe="BatchNorm"
def refusal(layer, x, instead=()):
    try:
        layer(x)
    except ValueError:
        return "refused with a ValueError"
    except instead:
        pass
    return "not refused with a ValueError"


def probe(BatchNorm, rng):
    N, C, H, W = (int(size) for size in rng.permutation([2, 3, 4, 5]))
    layer = BatchNorm(C, eps=0.2, momentum=0.3).to(np.float64)
    layer.weight.data, layer.bias.data = rng.uniform(1.5, 3, C), rng.normal(size=C)
    x, dout = rng.normal(size=(2, N, C, H, W)) * 2 + 1
    yield "out in training", layer(x)
    yield "running_mean after one batch", layer.running_mean.copy()
    yield "running_var after one batch", layer.running_var.copy()
    yield "dx in training", layer.backward(dout)
    yield "weight.grad in training", layer.weight.grad.copy()
    yield "bias.grad in training", layer.bias.grad.copy()
    small, d_small = rng.normal(size=(2, N + 2, C)) + 1
    layer(small)
    layer.backward(d_small)
    yield "weight.grad after a second batch", layer.weight.grad.copy()
    yield "bias.grad after a second batch", layer.bias.grad.copy()
    yield "num_batches_tracked after two batches", int(layer.num_batches_tracked)
    layer.running_mean, layer.running_var = rng.normal(size=C), rng.uniform(1, 3, C)
    layer.eval().zero_grad()
    yield "out in eval", layer(x)
    yield "dx in eval", layer.backward(dout)
    yield "weight.grad in eval", layer.weight.grad.copy()
    yield "bias.grad in eval", layer.bias.grad.copy()
    yield "running_mean after eval", layer.running_mean.copy()
    yield "running_var after eval", layer.running_var.copy()
    layer.train().forward(x)
    layer.eval()
    yield "dx of a forward in training, after eval()", layer.backward(dout)
    yield "one value per channel in eval", refusal(layer, x[:1, :, :1, :1])
    layer.train()
    yield "one value per channel in training", refusal(layer, x[:1, :, :1, :1], Exception)
    yield "two values per channel in training", refusal(layer, small[:2])
    yield "a single picture in training", refusal(layer, x[:1])
    layer(x)
    layer.forward(dout)
    layer.backward(x)
    yield "dx of the first of two calls", layer.backward(dout)
    plain = BatchNorm(C, affine=False).to(np.float64)
    yield "out without weight and bias", plain(x)
    yield "dx without weight and bias", plain.backward(dout)
    low = BatchNorm(C)
    yield "out in float32", low(x.astype(np.float32))
    yield "running_mean in float32", low.running_mean
    yield "running_var in float32", low.running_var

# %% mistakes="BatchNorm"
mistake("eval uses the batch's statistics", "In eval the answer for a picture must not depend on the others in its batch: use running_mean and "
        "running_var.", swap=("mean, var = self.running_mean, self.running_var", "mean, var = per_channel(x)"))
mistake("the running statistics move in eval", "Inference must not change the model. Track in training only.",
        swap=("""            mean, var = self.running_mean, self.running_var
""", """            mean, var = self.running_mean.copy(), self.running_var.copy()
            self.track(*per_channel(x), max(count, 2))
"""))
mistake("the running statistics never move", "In training each batch moves them: call self.track.",
        swap=("            self.track(mean, var, count)\n", ""))
mistake("running_var is biased", "running_var estimates the variance of all data from a sample: feed it var · M / (M - 1).",
        swap=("var * (count / (count - 1))", "var"))
mistake("the batch is normalised by the unbiased variance", "M / (M - 1) is for running_var alone. The batch is normalised by its own variance, over M.",
        swap=("std = np.sqrt(var + self.eps)",
              "std = np.sqrt(var * (count / (count - 1) if self.training else 1) + self.eps)"))
mistake("the momentum is the wrong way round", "Here momentum = 0.1 weighs the new batch, and 0.9 the old value. In SGD it is the other way.",
        swap=("""        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (unbiased - self.running_var)
""", """        self.running_mean += (1 - self.momentum) * (mean - self.running_mean)
        self.running_var += (1 - self.momentum) * (unbiased - self.running_var)
"""))
mistake("the batches are not counted", "num_batches_tracked goes up by one with every tracked batch, as in PyTorch.",
        swap=("        self.num_batches_tracked += 1\n", ""))
mistake("eval goes back through the batch's statistics", "In eval mean and std are constants. Nothing flows through them: dx = dout · γ / std.",
        swap=("dx = dout * spread(gamma / std, dout.ndim)", "dx = batchnorm_backward_closed(dout, xhat, std, gamma)[0]"))
mistake("training treats the statistics as constants", "In training mean and std depend on x. The closed form holds these paths.",
        swap=("dx, dgamma, dbeta = batchnorm_backward_closed(dout, xhat, std, gamma)",
              "_, dgamma, dbeta = batchnorm_backward_closed(dout, xhat, std, gamma)\n"
              "            dx = dout * spread(gamma / std, dout.ndim)"))
mistake("backward asks for the mode of now", "The mode may have been switched since. What counts is how forward ran: save it with the rest.",
        swap=("if trained:", "if self.training:"))
mistake("the weight's gradient is replaced, not added to", "A second backward wipes out the first: weight.grad += dgamma.",
        swap=("self.weight.grad += dgamma", "self.weight.grad = dgamma"))
mistake("the bias's gradient is replaced, not added to", "A second backward wipes out the first: bias.grad += dbeta.",
        swap=("self.bias.grad += dbeta", "self.bias.grad = dbeta"))
mistake("a single value per channel is accepted", "Its variance is 0 and its unbiased variance 0/0. Raise a ValueError where count < 2 in training.",
        swap=("if self.training and count < 2:", "if self.training and count < 0:"))
mistake("a layer without weight and bias is not handled", "With affine=False, self.weight is None: test for it before adding to its grad.",
        swap=("        if self.weight:\n            self.weight.grad", "        if True:\n            self.weight.grad"))
mistake("training normalises by the running statistics", "In training the batch is normalised by its own mean and variance. The running ones "
        "only follow.",
        swap=("            self.track(mean, var, count)\n", "            self.track(mean, var, count)\n"
              "            mean, var = self.running_mean.copy(), self.running_var.copy()\n"))
mistake("eps stands outside the root", "eps is added to the variance before the root is taken.",
        swap=("np.sqrt(var + self.eps)", "np.sqrt(var) + self.eps"))
mistake("the momentum is fixed at 0.1", "0.1 is only what momentum is where nobody says otherwise: use self.momentum.",
        swap=("""        self.running_mean += self.momentum * (mean - self.running_mean)
        self.running_var += self.momentum * (unbiased - self.running_var)
""", """        self.running_mean += 0.1 * (mean - self.running_mean)
        self.running_var += 0.1 * (unbiased - self.running_var)
"""))
mistake("M / (M - 1) is upside down", "A few samples lie closer to their own mean than to the true one, so var is too small on average. The factor "
        "makes it larger: M / (M - 1).", swap=("(count / (count - 1))", "((count - 1) / count)"))
mistake("gamma is forgotten in eval's dx", "out is gamma · xhat + beta in both modes, so gamma belongs to both gradients.",
        swap=("dx = dout * spread(gamma / std, dout.ndim)", "dx = dout * spread(1 / std, dout.ndim)"))
mistake("eval leaves the gradients of weight and bias out", "Only the statistics are constants in eval. gamma and beta still scale and shift, and get "
        "their gradients.",
        swap=("        if self.weight:\n            self.weight.grad", "        if self.weight and trained:\n            self.weight.grad"))
mistake("what forward saves is kept in one slot", "A second forward overwrites what the first one kept. Use self.save and "
        "self.saved(), which keep one entry per call.",
        swap=("        self.save(xhat, std, self.training)\n", "        kept = xhat, std, self.training\n"
              "        self.saved = lambda: kept\n"))
mistake("eval refuses a single value too", "In eval nothing is computed from the batch, so one value is enough. Ask for self.training as well.",
        swap=("if self.training and count < 2:", "if count < 2:"))
mistake("two values per channel are refused", "Two values have a variance. Refuse a count below 2, not 2 itself.",
        swap=("if self.training and count < 2:", "if self.training and count <= 2:"))
mistake("a batch of one picture is refused", "One picture has H · W values per channel. Refuse by count, not by the size of the batch.",
        swap=("if self.training and count < 2:", "if self.training and len(x) < 2:"))
mistake("track is called in eval too", "In eval mean and var are the running ones, and M / (M - 1) would make running_var larger at every call. Track "
        "in training only.",
        swap=("""            self.track(mean, var, count)
        else:
            mean, var = self.running_mean, self.running_var
""", """        else:
            mean, var = self.running_mean.copy(), self.running_var.copy()
        self.track(mean, var, max(count, 2))
"""))
mistake("weight and bias are forgotten in forward", "xhat is not the output yet: each channel is scaled by gamma and shifted by beta.",
        swap=("""        out = xhat * spread(gamma, x.ndim)
        out += spread(beta, x.ndim)
""", "        out = xhat * 1\n"))

# %% [markdown] hints="BatchNorm"
# `forward` differs between the modes in two lines only: where mean and var come from, and whether the running statistics move. What does `backward` need
# to know about it?
#
# ---
#
# Training: `per_channel(x)`, then `self.track`. Eval: the running ones. Save xhat, std and self.training. running ← running + momentum · (new − running), for
# the variance with new = var · count / (count − 1).
#
# ---
#
# ```python
# # expect
# if self.training and ...:
#     raise ValueError(...)
#
# # forward
# if self.training:
#     mean, var = per_channel(x)
#     self.track(mean, var, count)
# else:
#     mean, var = ...
# std = ...
# xhat = (x - spread(mean, x.ndim)) / ...
# self.save(xhat, std, self.training)
# return ...
#
# # track
# self.running_mean += self.momentum * (...)
# self.running_var += self.momentum * (...)
# self.num_batches_tracked += 1
#
# # backward
# xhat, std, trained = self.saved()
# if trained:
#     dx, dgamma, dbeta = ...
# else:
#     dx = ...
#     dgamma, dbeta = ..., ...
# if self.weight:
#     ...
# return dx
# ```

# %% [markdown]
# ### Given: the same numbers, moved less
#
# Your layer walks a dozen times through arrays that do not fit the caches, and mostly waits for memory. These two functions do all
# steps on a few channels, in the layout of chapter 08, before they take the next. Two threads share the channels.
#
# - `mean[c].repeat(P)`: NumPy adds two long rows faster than a row and single numbers.
# - `mean` is rounded, so `x - mean` keeps a small mean of its own, `rest`. It is taken off too. Float32 then stays exact to the last
#   digits where `x` is large and hardly varies.

# %%
#| export
def normalize_blocks(x, stats, gamma, beta, eps):
    """Compute gamma · (x - mean) / √(var + eps) + beta, a few channels at a time.

    stats holds mean, rest and var, (3, C); None takes those of the batch. Returns out, as x, and
    the stats that were used.
    """
    rows, own = to_rows(x), stats is None  # (H, C, W, N)
    H, C, W, N = rows.shape
    P, M = W * N, H * W * N
    out, ones = np.empty(rows.shape, x.dtype), np.ones(P, x.dtype)
    mean, rest, var = stats = np.zeros((3, C), x.dtype) if own else stats

    def average(a):
        return (a.reshape(H, -1, P) @ ones).sum(axis=0) / M

    def block(c):
        X, Y = (a[:, c].reshape(H, -1) for a in (rows, out))  # (H, c·P)
        if own:
            mean[c] = average(X)
        np.subtract(X, mean[c].repeat(P), out=Y)
        if own:
            lines, rest[c] = Y.reshape(H, -1, P), average(Y)
            var[c] = np.vecdot(lines, lines).sum(axis=0) / M
        scale = gamma[c] / np.sqrt(var[c] + eps)
        Y *= scale.repeat(P)
        Y += (beta[c] - rest[c] * scale).repeat(P)

    each_channel(block, rows.shape)
    return from_rows(out, x.ndim), stats

# %% [markdown]
# Backward, in the same way. `x` was saved in place of `xhat`.

# %%
#| export
def normalize_blocks_backward(dout, x, stats, gamma, eps, own):
    """Return dx, dgamma and dbeta of normalize_blocks; own: the stats were those of the batch."""
    rows, drows, (mean, rest, var) = to_rows(x), to_rows(dout), stats
    H, C, W, N = rows.shape
    P, M = W * N, H * W * N
    dx, ones, inv = np.empty(rows.shape, x.dtype), np.ones(P, x.dtype), 1 / np.sqrt(var + eps)
    dgamma, dbeta = np.empty((2, C), x.dtype)

    def block(c):
        X, D, Y = (a[:, c].reshape(H, -1) for a in (rows, drows, dx))  # (H, c·P)
        lines = D.reshape(H, len(inv[c]), P)
        np.subtract(X, mean[c].repeat(P), out=Y)
        dbeta[c] = (lines @ ones).sum(axis=0)
        products = np.vecdot(lines, Y.reshape(lines.shape)).sum(axis=0)
        dgamma[c] = inv[c] * (products - rest[c] * dbeta[c])
        if own:
            slope = -inv[c] * dgamma[c] / M
            Y *= slope.repeat(P)
            Y += D
            Y -= (dbeta[c] / M + rest[c] * slope).repeat(P)
        else:
            Y[...] = D
        Y *= (gamma[c] * inv[c]).repeat(P)

    each_channel(block, rows.shape)
    return from_rows(dx, x.ndim), dgamma, dbeta

# %% [markdown]
# The classes with PyTorch's names inherit your layer and exchange `forward` and `backward`. They refuse a wrong number of axes.

# %%
#| export
class BatchNorm1d(BatchNorm):
    """BatchNorm for (N, C) or (N, C, L), by normalize_blocks; all else as there."""

    layouts = ("NC", "NCL")

    def forward(self, x):
        """Return out, with x's shape and dtype."""
        self.expect(x)
        running = None if self.training else np.stack(
            [self.running_mean, np.zeros_like(self.running_mean), self.running_var])
        out, stats = normalize_blocks(x, running, *self.gamma_and_beta(), self.eps)
        if self.training:
            mean, rest, var = stats
            self.track(mean + rest, var, x.size // self.num_features)
        self.save(x, stats, self.training)
        return out

    def backward(self, dout):
        """Add to the gradients of weight and bias; return dx."""
        x, stats, trained = self.saved()
        gamma, _ = self.gamma_and_beta()
        dx, dgamma, dbeta = normalize_blocks_backward(dout, x, stats, gamma, self.eps, trained)
        if self.weight:
            self.weight.grad += dgamma
            self.bias.grad += dbeta
        return dx


class BatchNorm2d(BatchNorm1d):
    """BatchNorm for (N, C, H, W), by normalize_blocks; all else as there."""

    layouts = ("NCHW",)

# %%
rng = np.random.default_rng(0)
x, dout = (from_rows(rng.normal(3, 2, (16, 64, 16, 64)).astype(np.float32)) for _ in range(2))


def both_ways(layer):
    return layer(x), layer.backward(dout)


plain, fast = BatchNorm(64), BatchNorm2d(64)
pairs = zip(both_ways(plain), both_ways(fast))
assert all(np.allclose(a, b, atol=1e-5) for a, b in pairs), "both layers must agree"
print(f"same numbers; yours {milliseconds(both_ways, plain):.1f} ms, "
      f"block by block {milliseconds(both_ways, fast):.1f} ms")

# %% [markdown]
# Both modes against the numerical gradient, and what a saved layer holds:

# %% tags=["nbval-check-output"]
norm = BatchNorm2d(3)
maps = np.random.default_rng(7).normal(size=(4, 3, 5, 2))
for mode in (True, False):
    errors = gradcheck(norm.train(mode), maps)
    print("training" if mode else "eval    ", {name: bool(e < 1e-6) for name, e in errors.items()})
print("saved:", ", ".join(norm.state_dict()))

# %% [markdown]
# ## See: what a batch knows
#
# Take one pixel of the digits as a feature. Left: the means of 80 batches, and the running mean that follows them from 0. Right: *one* picture
# in 200 different batches of each size. What does its pixel become?

# %%
pixel = pixels[:, 14, 10, None]  # (5000, 1)
chosen = int(np.flatnonzero(pixel[:, 0] > 0.9)[0])


def seen_in_batches(size, count=200):
    rng, norm = np.random.default_rng(0), BatchNorm1d(1)
    batches = [np.append(chosen, rng.integers(0, 5000, size - 1)) for _ in range(count)]
    return np.array([norm(pixel[batch])[0, 0] for batch in batches])


rng, norm, means, running = np.random.default_rng(1), BatchNorm1d(1), [], []
for _ in range(80):
    batch = pixel[rng.integers(0, 5000, 32)]
    norm(batch)
    means.append(batch.mean())
    running.append(norm.running_mean[0])

fig, axes = plt.subplots(1, 2, figsize=(10, 3))
axes[0].plot(means, ".", color=GREY, label="batch")
axes[0].plot(running, color=BLUE, label="running")
axes[0].axhline(pixel.mean(), color=ORANGE, ls="--", label="all 5,000")
axes[0].set(xlabel="batch", ylim=(0, None), title="mean of one pixel, batches of 32")
axes[0].legend(ncols=3)
sizes = [2, 4, 16, 64, 256]
axes[1].boxplot([seen_in_batches(size) for size in sizes], tick_labels=sizes, whis=(0, 100))
axes[1].set(xlabel="batch size", title="the same pixel after BatchNorm")
plt.show()

# %% [markdown]
# The running mean takes some thirty batches to arrive. Judged in `eval` mode too early, a model looks broken. On the right, a small batch makes a
# picture's value a matter of luck. A little of that noise can help, like the noise that Dropout adds on purpose
# below. With a handful of samples it drowns the signal.
#
# Move the slider down to 2. Why are so few values left? Exercise 8 asks.

# %%
from ipywidgets import IntSlider, interact


def batch_noise(size=16):
    fig, ax = plt.subplots(figsize=(5.5, 2.4))
    ax.hist(seen_in_batches(size), bins=np.linspace(-1, 4, 51))
    ax.set(ylim=(0, 100), xlabel="value of the one pixel", title=f"200 batches of {size}")
    plt.show()


interact(batch_noise, size=IntSlider(value=16, min=2, max=128));

# %% [markdown]
# ## Exercise 6 ★: predict
#
# The weights before a BatchNorm grow, so that `x` becomes `scale` times as large (scale above 0, eps too small to matter). The same `dout`
# comes back. By which factors do `out` and `dx` change? Decide first, from the closed form; then check.

# %% exercise="norm_after_scaling" points=1 stars=1 reveal=false
def norm_after_scaling(scale):
    """Return two numbers: the factors by which out and dx change when x is scale times as large."""
    ### BEGIN SOLUTION the factor of out and the factor of dx
    return 1.0, 1 / scale
    ### END SOLUTION

# %%
check(norm_after_scaling)

# %% probe="norm_after_scaling"
def probe(norm_after_scaling, rng):
    out, dx = norm_after_scaling(float(rng.uniform(2, 5)))
    yield "factor of out", float(out)
    yield "factor of dx", float(dx)

# %% mistakes="norm_after_scaling"
@mistake("out grows with x", "Centred and std grow by the same factor. What happens to their quotient?")
def norm_after_scaling(scale):
    return scale, 1 / scale

@mistake("dx stays as it is", "out and xhat do not change. But look at what stands in front of the bracket in the closed form.")
def norm_after_scaling(scale):
    return 1.0, 1.0

@mistake("dx grows with x", "dx has std in its formula. On which side of the fraction?")
def norm_after_scaling(scale):
    return 1.0, scale

@mistake("dx shrinks with the variance", "The variance grows by the square of the factor. Is it the variance or the std that dx is divided by?")
def norm_after_scaling(scale):
    return 1.0, 1 / scale**2
@mistake("out shrinks", "out is not divided by scale: centred grows too. What happens to the quotient of centred and std?")
def norm_after_scaling(scale):
    return 1 / scale, 1 / scale

# %% [markdown] hints="norm_after_scaling"
# Take the five samples from the beginning, ten times as large. Compute `xhat` by hand again.
#
# ---
#
# mean, centred and std all become `scale` times as large. xhat = centred / std. dx = γ/std · (a bracket of dout and xhat).
#
# ---
#
# ```python
# return ..., 1 / ...
# ```

# %% [markdown]
# This tames a large learning rate: weights that a hasty step has blown up compute the same, and get *smaller* gradients from then on. The
# inventors explained their success by steadier distributions inside the network. Later experiments (Santurkar et al.) point to a smoother loss surface instead.
#
# ## Dropout: learning with gaps
#
# A network can learn its training digits by heart (06). `Dropout` hinders that. In training it sets each
# element to zero with probability `p`, drawn anew in each pass. No unit can rely on a single neighbour.
#
# Each mask leaves another, thinner network. All share their weights, and in `eval` they answer together, roughly as one average: an *ensemble*.
#
# $$\text{out} = x \cdot \text{keep} \cdot \text{factor}, \qquad \text{dx} = \text{dout} \cdot \text{keep} \cdot \text{factor},
# \qquad \text{keep} \in \{0, 1\} .$$
#
# An element survives with probability $1 - p$, so its mean shrinks to that share. Either mode can make up for it:
#
# | form | factor in training | in eval (nothing is dropped) |
# |---|---|---|
# | inverted (today's default) | 1 / (1 − p) | 1 |
# | classic (as first published) | 1 | 1 − p |
#
# ### Exercise 7 ★★: Dropout
#
# Both forms, both modes. Draw as the docstring says. Backward must use the *same* mask as its forward.
# Both return a fresh array, also where nothing is dropped.

# %%
#| export model.dropout
"""Dropout: train many thinner networks at once, by leaving out random elements."""

import numpy as np

from nyang_edu.model.core import NyangModel

# %% exercise="Dropout" points=4 stars=2
#| export model.dropout
class Dropout(NyangModel):
    """Set elements to zero with probability p in training: out = x · keep · factor.

    Inverted: factor 1 / (1 - p) in training, 1 in eval. Classic: 1 in training, 1 - p in eval.
    The mask of a pass is keep = rng.random(x.shape, np.float32) >= p.
    Shapes: x, any → out, the same.

    Raises:
        ValueError: where p is not in 0 ≤ p < 1.

    Source: Srivastava et al., Dropout (2014), section 4; the inverted form in section 10.
    """

    def __init__(self, p=0.5, *, inverted=True, rng=None):
        ### BEGIN SOLUTION refuse a p outside [0, 1) with a ValueError that names it
        if not 0 <= p < 1:
            raise ValueError(f"Dropout needs 0 <= p < 1, received p={p}: p is the share that is "
                             "dropped, try 0.5")
        ### END SOLUTION
        self.p, self.inverted = float(p), inverted
        self.rng = rng or np.random.default_rng()

    def forward(self, x):
        """Return a fresh array of x's shape and dtype."""
        ### BEGIN SOLUTION keep and factor for the two modes and the two forms; save both; out
        if self.training:
            keep = self.rng.random(x.shape, np.float32) >= self.p
            factor = 1 / (1 - self.p) if self.inverted else 1.0
        else:
            keep, factor = True, 1.0 if self.inverted else 1 - self.p
        self.save(keep, factor)
        out = x * factor
        out *= keep  # in place: out keeps x's order in memory
        return out
        ### END SOLUTION

    def backward(self, dout):
        """Return dx: dout through the mask of its forward."""
        ### BEGIN SOLUTION take keep and factor back
        keep, factor = self.saved()
        dx = dout * factor
        dx *= keep
        return dx
        ### END SOLUTION

# %%
check(Dropout)

# %% probe="Dropout"
def probe(Dropout, rng):
    seed, p = int(rng.integers(10**6)), float(rng.uniform(0.25, 0.4))
    x, dout = rng.uniform(1, 2, size=(2, 8, 3, 5))
    layer = Dropout(p, rng=np.random.default_rng(seed))
    yield "out in training", layer(x)
    yield "dx in training", layer.backward(dout)
    yield "out of a second pass", layer.forward(x)
    layer.forward(x)
    yield "dx of the later of two calls", layer.backward(dout)
    yield "dx of the earlier of two calls", layer.backward(dout)
    layer.forward(x)
    layer.eval()
    yield "dx of a forward in training, after eval()", layer.backward(dout)
    out = layer(x)
    yield "out in eval", out
    yield "memory of out in eval", "x's own" if np.shares_memory(out, x) else "fresh"
    dx = layer.backward(dout)
    yield "dx in eval", dx
    yield "memory of dx in eval", "dout's own" if np.shares_memory(dx, dout) else "fresh"
    classic = Dropout(p, inverted=False, rng=np.random.default_rng(seed))
    yield "classic out in training", classic(x)
    yield "classic dx in training", classic.backward(dout)
    classic.eval()
    yield "classic out in eval", classic(x)
    yield "classic dx in eval", classic.backward(dout)
    yield "out in float32", layer.train()(x.astype(np.float32))
    for p in (0.0, 1.0, -0.1):
        try:
            Dropout(p)
            yield f"p = {p}", "accepted"
        except ValueError as error:
            yield f"p = {p}", "ValueError" + " that names p" * (f"{p:g}" in str(error))
        except Exception as error:
            yield f"p = {p}", type(error).__name__

# %% mistakes="Dropout"
mistake("the survivors are not scaled up in training", "Inverted dropout makes up for the lost share at once: what is kept is divided by 1 - p.",
        swap=("factor = 1 / (1 - self.p) if self.inverted else 1.0", "factor = 1.0"))
mistake("inverted dropout scales in eval too", "The inverted form has made up for the loss in training already. In eval it lets x through as it is.",
        swap=("1.0 if self.inverted else 1 - self.p", "1 - self.p"))
mistake("classic dropout does not scale in eval", "The classic form lost a share p in training. In eval nothing is lost, so x is multiplied by 1 - p.",
        swap=("keep, factor = True, 1.0 if self.inverted else 1 - self.p", "keep, factor = True, 1.0"))
mistake("eval drops too", "Only training leaves anything out. In eval the answer must be the same at every call.",
        swap=("keep, factor = True, 1.0 if", "keep, factor = self.rng.random(x.shape, np.float32) >= self.p, 1.0 if"))
mistake("backward draws a mask of its own", "The gradient must pass where the signal passed. Save the mask in forward.",
        swap=("        dx = dout * factor\n", "        dx = dout * factor\n        if self.training:\n"
              "            keep = self.rng.random(dout.shape, np.float32) >= self.p\n"))
mistake("one mask for the whole batch", "Each sample has a mask of its own: draw with x.shape, the batch axis included.",
        swap=("self.rng.random(x.shape, np.float32)", "self.rng.random(x.shape[1:], np.float32)"))
mistake("p is taken for the share that is kept", "p is the probability to be dropped. An element survives where the random number is at least p.",
        swap=("np.float32) >= self.p", "np.float32) < self.p"))
mistake("backward forgets the factor", "Forward multiplied by keep and by factor, so backward multiplies by both.",
        swap=("dx = dout * factor", "dx = dout * 1.0"))
mistake("backward ignores the mask", "What was set to zero did not influence the loss. Its gradient is zero.",
        swap=("        dx *= keep\n", ""))
mistake("p = 1 is accepted", "With p = 1 nothing is left and 1 / (1 - p) divides by zero. Refuse p outside 0 ≤ p < 1.",
        swap=("if not 0 <= p < 1:", "if not 0 <= p <= 1:"))
mistake("the survivors are divided by p", "p is the share that is lost. What is kept, 1 - p, is what to divide by.",
        swap=("factor = 1 / (1 - self.p) if", "factor = 1 / self.p if"))
mistake("the survivors are multiplied by 1 - p", "Dropping has made the mean smaller already. Training makes up for it by dividing.",
        swap=("factor = 1 / (1 - self.p) if", "factor = 1 - self.p if"))
mistake("eval behaves as training does", "Only training leaves anything out: ask for self.training.",
        swap=("if self.training:", "if True:"))
mistake("the mask is drawn in float64", "The docstring says rng.random(x.shape, np.float32). Without the dtype other numbers are drawn.",
        swap=("self.rng.random(x.shape, np.float32)", "self.rng.random(x.shape)"))
mistake("the mask is kept in one slot", "A second forward overwrites the mask of the first. Use self.save and self.saved(), which "
        "keep one entry per call.",
        swap=("        self.save(keep, factor)\n", "        self.saved = lambda: (keep, factor)\n"))
mistake("eval saves nothing for backward", "A gradient is asked for in eval too, by saliency maps for one. Save in both modes.",
        swap=("        self.save(keep, factor)\n", "        if self.training:\n            self.save(keep, factor)\n"))
mistake("backward asks for the mode of now", "The mode may have been switched since. What counts is how forward ran: take its keep and factor.",
        swap=("        dx = dout * factor\n        dx *= keep\n", """        if not self.training:
            keep, factor = True, 1.0 if self.inverted else 1 - self.p
        dx = dout * factor
        dx *= keep
"""))
mistake("backward lets dout through in eval", "What counts is how forward ran, and the classic form has a factor in eval: take forward's keep and "
        "factor.", swap=("        dx = dout * factor\n", "        if not self.training:\n            return dout.copy()\n"
                        "        dx = dout * factor\n"))
mistake("a negative p is accepted", "A probability is at least 0. Refuse p outside 0 ≤ p < 1.", swap=("if not 0 <= p < 1:", "if not p < 1:"))
mistake("p = 0 is refused", "With p = 0 nothing is dropped, which is allowed: 0 ≤ p < 1.", swap=("if not 0 <= p < 1:", "if not 0 < p < 1:"))
mistake("the error does not name p", "Whoever reads the error wants to know what was received: write p into the message.",
        swap=("received p={p}: p is", "received another value: p is"))

@mistake("eval hands back x itself", "Whoever writes into out would change x. Return a fresh array, also where nothing is dropped: x * factor.")
class Dropout(reference):
    def forward(self, x):
        out = super().forward(x)
        return out if self.training or not self.inverted else x

@mistake("eval hands back dout itself", "Whoever writes into dx would change dout. Return a fresh array: dout * factor.")
class Dropout(reference):
    def backward(self, dout):
        keep, factor = self.saved()
        return dout if keep is True and factor == 1 else dout * factor * keep
mistake("classic dropout scales up in eval", "Classic training lets x through unscaled, and loses a share p. In eval nothing is lost, so x must become "
        "smaller.", swap=("1.0 if self.inverted else 1 - self.p", "1.0 if self.inverted else 1 / (1 - self.p)"))
mistake("p is refused with an AssertionError", "assert is for what cannot happen, and python -O leaves it out. A wrong argument raises a ValueError.",
        swap=("raise ValueError(", "raise AssertionError("))

# %% [markdown] hints="Dropout"
# There are two questions. Is anything dropped? That depends on the mode. What is the factor? That depends on the mode and the form. Both answers are needed again in backward.
#
# ---
#
# Training: keep = rng.random(x.shape, np.float32) >= p, factor = 1/(1 − p) if inverted else 1. Eval: keep = True, factor = 1 if inverted else 1 − p.
#
# ---
#
# ```python
# # __init__
# if not 0 <= p < 1:
#     raise ValueError(...)
#
# # forward
# if self.training:
#     keep = ...
#     factor = ...
# else:
#     keep, factor = True, ...
# self.save(keep, factor)
# return x * factor * keep
#
# # backward
# keep, factor = ...
# return ...
# ```

# %% [markdown]
# ## See: gaps that average out
#
# One digit as five training passes see it, and the mean over many passes. Then both forms on a row of three numbers.

# %% tags=["nbval-check-output"]
digit, drop = pixels[3600], Dropout(0.5, rng=np.random.default_rng(0))
passes = [drop(digit) for _ in range(1000)]
shown = [digit, *passes[:5], np.mean(passes[:20], axis=0), np.mean(passes, axis=0)]
titles = ["x", *[f"pass {k}" for k in range(1, 6)], "mean of 20", "mean of 1,000"]

fig, axes = plt.subplots(1, 8, figsize=(10, 1.6))
draw_images(axes, shown, titles)
plt.show()

row = np.array([[1.0, 2.0, 3.0]])
for inverted in (True, False):
    layer = Dropout(0.3, inverted=inverted, rng=np.random.default_rng(0))
    mean = layer(np.repeat(row, 20_000, axis=0)).mean(axis=0)
    print(f"{'inverted' if inverted else 'classic':8}  mean in training", mean.round(1),
          "  eval", layer.eval()(row)[0].round(1))

# %% [markdown]
# In each form the mean of the passes is what `eval` gives. This holds for
# the layer by itself. Once a ReLU follows, it is an approximation: the mean of a ReLU is not the ReLU of the mean.
#
# ## Use: the network grows
#
# First, learning rates. Ten hidden layers of 64, on the 4,000 training digits of chapter 06, with and without a
# `BatchNorm1d` in front of each ReLU. Second, chapter 06's run again, one hidden layer of 128, then with both new layers.

# %%
order = np.random.default_rng(0).permutation(len(labels))
test = np.concatenate([order[labels[order] == k][:100] for k in range(10)])
train = np.setdiff1d(order, test)
x_train, y_train, x_test, y_test = pixels[train], labels[train], pixels[test], labels[test]


def perceptron(widths, norm=False, p=0.0, seed=0):
    rng, layers, inputs = np.random.default_rng(seed), [Flatten()], 784
    for width in widths:
        layers.append(Linear(inputs, width, rng=rng, init=init_for(ReLU)))
        layers += [BatchNorm1d(width)] if norm else []
        layers += [ReLU(), Dropout(p, rng=rng)] if p else [ReLU()]
        inputs = width
    return NyangFlow(*layers, Linear(inputs, 10, rng=rng, init=init_for(None)))

# %% [markdown]
# The training loop is that of chapter 06, with `train()` before an epoch and `eval()` before the judgement. Whoever forgets the latter measures a
# network with gaps in it.

# %%
def fit(model, lr, momentum, epochs):
    optimizer, loss = SGD(model.parameters(), lr, momentum), CrossEntropyLoss()
    rng, losses, held_out = np.random.default_rng(0), [], []
    for _ in range(epochs):
        model.train()
        order = rng.permutation(len(x_train))
        for batch in np.split(order, range(64, len(order), 64)):
            optimizer.zero_grad()
            losses.append(loss(model(x_train[batch]), y_train[batch]))
            model.backward(loss.backward())
            optimizer.step()
        held_out.append(measure(model.eval(), x_test, y_test))
    return losses, np.array(held_out)  # (epochs, 2): cross-entropy, accuracy


def measure(model, x, y):
    with no_memory():
        logits = model(x)
    return CrossEntropyLoss()(logits, y), float(np.mean(logits.argmax(axis=1) == y))

# %%
rates = {f"{'BatchNorm' if norm else 'plain'}, lr {lr}": fit(perceptron([64] * 10, norm), lr, 0.0, 3)
         for norm, lr in [(False, 0.05), (False, 0.5), (True, 0.5)]}
for name, (_, held_out) in rates.items():
    print(f"{name:18} held-out digits {held_out[-1, 1]:6.1%} after three epochs")
runs = {}
for name, model in [("chapter 06", perceptron([128])), ("with both", perceptron([128], True, 0.5))]:
    runs[name] = fit(model, 0.1, 0.9, 20)
    value, right = measure(model, x_test, y_test)
    print(f"{name:11} training digits {measure(model, x_train, y_train)[1]:6.1%}   "
          f"held-out digits {right:.1%}, cross-entropy {value:.2f}")

# %% [markdown]
# How they got there:

# %% tags=["nbval-check-output"]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.2))
for (name, (losses, _)), colour in zip(rates.items(), [GREY, ORANGE, BLUE]):
    axes[0].plot(np.convolve(losses, np.ones(10) / 10, "valid"), color=colour, label=name)
axes[0].set(xlabel="step", ylim=(0, 4), title="ten hidden layers: training loss, mean of 10 steps")
axes[0].legend(loc="upper right")
for (name, (_, held_out)), colour in zip(runs.items(), [ORANGE, BLUE]):
    axes[1].plot(range(1, 21), held_out[:, 0], color=colour, label=name)
axes[1].set(xlabel="epoch", xticks=range(0, 21, 4), title="one hidden layer: held-out cross-entropy")
axes[1].legend()
plt.show()

slow, stuck, fast = (held_out[-1, 1] for _, held_out in rates.values())
old, new = runs["chapter 06"][1], runs["with both"][1]
print("ten layers, lr 0.5: plain below 50%:", stuck < 0.5, "  BatchNorm above 70%:", fast > 0.7)
print("accuracy within 2 points of chapter 06:", abs(new[-1, 1] - old[-1, 1]) < 0.02)
print("lower held-out cross-entropy, last eight epochs:", new[-8:, 0].mean() < old[-8:, 0].mean())

# %% [markdown]
# Left: at ten times the learning rate the plain network is stuck, and the normalised one learns fastest of the three.
#
# Right: the plain network's held-out loss soon creeps up again. The other's ends lower, though it rises too. But the share read right hardly changes. One
# hidden layer did not need help to train. These layers earn their keep in deep networks.
#
# ## Exercise 8 ★: break it and say why
#
# Someone trains `BatchNorm1d` with batches of *two*. Take `gamma` 1, `beta` 0 and `eps` 0. What comes out, and what goes back, for x and dout of shape (2, C)? No feature has
# two equal values.

# %% exercise="batch_of_two" points=1 stars=1 reveal=false
def batch_of_two(x, dout):
    """Return out and dx, both (2, C), of a BatchNorm with eps = 0 on a batch of two.

    Args:
        x, dout: (2, C).
    """
    ### BEGIN SOLUTION compute xhat of two numbers by hand, say 3 and 7; then the bracket
    return np.sign(x - x[::-1]), np.zeros_like(x)
    ### END SOLUTION

# %%
check(batch_of_two)

# %% probe="batch_of_two"
def probe(batch_of_two, rng):
    C = int(rng.integers(3, 6))
    low, gap = rng.normal(size=C), rng.uniform(1, 3, C)
    first = rng.random(C) < 0.5
    x = np.stack([np.where(first, low, low + gap), np.where(first, low + gap, low)])
    out, dx = batch_of_two(x, rng.normal(size=(2, C)) + 0.5)
    yield "out", np.asarray(out, float)
    yield "dx", np.round(dx, 9) + 0.0

# %% mistakes="batch_of_two"
@mistake("out is only centred", "Two numbers lie at equal distance on both sides of their mean. That distance is also their std: divide by it.")
def batch_of_two(x, dout):
    return x - x.mean(axis=0), np.zeros_like(x)

@mistake("the variance divides by N - 1", "The batch is normalised by the mean of the squares, over N = 2.")
def batch_of_two(x, dout):
    return np.sign(x - x[::-1]) / np.sqrt(2), np.zeros_like(x)

@mistake("dx treats the statistics as constants", "dout / std would be right in eval. In training the paths through mean and variance take away a straight line. How "
         "much is left of two points?")
def batch_of_two(x, dout):
    return np.sign(x - x[::-1]), dout / x.std(axis=0)

@mistake("the path through the variance is forgotten", "Subtracting the mean of dout is half of it. A straight line through two points "
         "has a slope as well.")
def batch_of_two(x, dout):
    return np.sign(x - x[::-1]), (dout - dout.mean(axis=0)) / x.std(axis=0)
@mistake("the signs are exchanged", "The larger of the two lies above the mean. Which sign has its xhat?")
def batch_of_two(x, dout):
    return np.sign(x[::-1] - x), np.zeros_like(x)

@mistake("the first row is taken for the smaller one", "That holds for 3 and 7. In another feature the first of the two may be the larger.")
def batch_of_two(x, dout):
    return np.array([[-1.0], [1.0]]) * np.ones_like(x), np.zeros_like(x)

@mistake("out is halved", "The distance of each number from the mean is half their difference. And how large is std?")
def batch_of_two(x, dout):
    return np.sign(x - x[::-1]) / 2, np.zeros_like(x)

@mistake("dx is taken to be dout", "That would be a layer that changes nothing. Take the bracket, term by term.")
def batch_of_two(x, dout):
    return np.sign(x - x[::-1]), dout

@mistake("dx is only centred", "That is the term through the mean. A straight line through two points has a slope as well.")
def batch_of_two(x, dout):
    return np.sign(x - x[::-1]), dout - dout.mean(axis=0)
@mistake("out is taken to be zero", "Only a feature with two equal values becomes zero. Try 3 and 7: centred, std, xhat.")
def batch_of_two(x, dout):
    return np.zeros_like(x), np.zeros_like(x)

@mistake("out is 0 and 1", "xhat has mean 0. Try 3 and 7: centred, std, xhat.")
def batch_of_two(x, dout):
    return np.where(x > x[::-1], 1.0, 0.0), np.zeros_like(x)

# %% [markdown] hints="batch_of_two"
# Take the two numbers 3 and 7. Their mean is 5. What is their std?
#
# ---
#
# Whatever the two numbers are, xhat is −1 for the smaller and +1 for the larger one. For dx remember the figure: the bracket is dout minus the best straight line, here through two points.
#
# ---
#
# ```python
# return np.sign(...), np.zeros_like(...)
# ```

# %% [markdown]
# All that is left of two samples is which one was larger, and nothing flows back. Per pixel, a batch of two pictures ends the same way. With a real eps the gradient is
# tiny and not zero: harder to notice.
#
# ## Recap
#
# - BatchNorm gives each channel mean 0 and spread 1 over N, H, W, then lets `gamma` and `beta` choose.
# - Its backward takes the shift and the stretch out of `dout`. Without the variance path it looks plausible and is wrong.
# - Training uses the batch, eval the running statistics. They are buffers: saved, not learned.
# - Dropout leaves out elements in training and makes up for the loss, in training (inverted) or in eval (classic).
#
# `finish` exports the norms into `nyang_edu/model/norm.py` and `Dropout` into `model/dropout.py`.
#
# **References.** Ioffe, Szegedy, *Batch normalization*, ICML 2015: sections 3 and 3.1 (both modes), 3.2 (per channel), 3.3 (learning rates). Santurkar, Tsipras, Ilyas, Mądry,
# *How does batch normalization help optimization?*, NeurIPS 2018, sections 2 and 3. Srivastava, Hinton, Krizhevsky, Sutskever, Salakhutdinov, *Dropout*, JMLR 15 (2014),
# sections 4 and 10; their $p$ is the share that is *kept*.

# %%
finish("10_batchnorm_dropout")
