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
# # 17 · ResNet
#
# **You have** convolution (08), BatchNorm (10), `nyang_train` and its schedules (12, 13), and from VGG (15) the habit
# of building a network from a list of stages.
#
# **You will build** `Residual`, the container that adds a shortcut to any body, and with it ResNet-18 to ResNet-152 and the
# small ResNet-20 to ResNet-56 for 32 × 32 images.
#
# **It unlocks** ResNeXt on heartbeats (18), and the backbone of the U-Net (19).
#
# Time: about 120 minutes. Eight exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import GlobalAvgPool
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.plot import BLUE, GREEN, GREY, ORANGE, PALE, use_style

use_style()

# %% [markdown]
# ## Why: deeper, and worse
#
# VGG said: deeper is better. So go on. The *plain* network below is nothing but 3 × 3 convolutions, each with BatchNorm and
# ReLU, in three stages. A stage halves the maps and doubles the channels. At the end come the mean of each map and one
# `Linear`. It is the plain network of the ResNet paper, at half its width.
#
# The task is easy: digits, shrunk to 14 × 14. One network has 20 layers, the other 44. All else is equal.

# %%
images, labels = load_digits_5k()
shrunk = images.astype(np.float32).reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5))  # (5000, 1, 14, 14)
digits = (shrunk - shrunk.mean()) / shrunk.std()


def plain_net(depth, rng, width=8):
    """Return a chain of depth - 1 convolutions and one Linear."""
    per_stage, layers, channels = (depth - 2) // 3, [], 1
    for out in [width] * (per_stage + 1) + [2 * width] * per_stage + [4 * width] * per_stage:
        stride = 2 if out == 2 * channels else 1
        layers += [Conv2d(channels, out, 3, stride, 1, bias=False, rng=rng), BatchNorm2d(out), ReLU()]
        channels = out
    return NyangFlow(*layers, GlobalAvgPool(), Linear(channels, 10, rng=rng))


def training_losses(model, steps=100):
    """Train on random batches of 64 digits; return the loss of each step."""
    rng, loss, losses = np.random.default_rng(0), CrossEntropyLoss(), []
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        batch = rng.choice(len(digits), 64, replace=False)
        optimizer.zero_grad()
        losses.append(loss(model(digits[batch]), labels[batch]))
        model.backward(loss.backward())
        optimizer.step()
    return np.array(losses)

# %% tags=["nbval-check-output"]
curves = {f"plain {depth}": training_losses(plain_net(depth, np.random.default_rng(0))) for depth in (20, 44)}
last = {name: losses[-20:].mean() for name, losses in curves.items()}
print(f"after 100 steps, the loss of plain 44 is more than 1.5 times that of plain 20: "
      f"{bool(last['plain 44'] > 1.5 * last['plain 20'])}")

# %%
def draw_curves(curves, colours):
    fig, ax = plt.subplots(figsize=(7, 3))
    for (name, losses), colour in zip(curves.items(), colours):
        ax.plot(losses, color=colour, lw=0.6, alpha=0.5)
        ax.plot(range(9, len(losses)), np.convolve(losses, np.ones(10) / 10, "valid"), color=colour, label=name)
    ax.axhline(np.log(10), color=GREY, ls=":")
    ax.text(99, np.log(10) + 0.05, "guessing", color=GREY, ha="right")
    ax.set(xlabel="step", ylabel="training loss", ylim=(0, 3), title="the mean of ten steps, over each step's loss")
    ax.legend(loc="lower left")
    plt.show()


draw_curves(curves, [BLUE, ORANGE])

# %% [markdown]
# This is the *training* loss, so it is not overfitting. And it is not that 44 layers cannot express enough. Take the 20
# layers, append 24 that hand their input on unchanged, and the loss is the same. A solution exists. Descent does not find it. The ResNet
# paper calls this *degradation*. A hundred steps are few; its networks train for 64,000, and the deeper plain one still ends higher (section
# 4.2).
#
# Handing the input on unchanged seems hard to learn for a stack of convolutions and ReLUs. So make it the starting
# point: let the input pass *around* the layers, and let the layers learn only what should be *added* to it.
#
# ## Idea: a fork by hand
#
# The body doubles its input. The shortcut leaves it as it is. Both meet in a sum.

# %%
def draw_fork(ax, forward, backward, body="body", shortcut=""):
    """Draw x → (body, shortcut) → + with a number on each arrow, in both directions."""
    ax.add_patch(plt.Rectangle((2, -0.4), 1.6, 0.8, facecolor=PALE[BLUE], edgecolor=BLUE))
    ax.text(2.8, 0, body, ha="center", va="center")
    ax.add_patch(plt.Circle((5.4, 0), 0.3, facecolor="white", edgecolor=BLUE))
    ax.text(5.4, 0, "+", ha="center", va="center", fontsize=14)
    ax.text(2.8, 1.45, shortcut, ha="center")
    ax.plot([0.9, 0.9, 5.4, 5.4], [0, 1.3, 1.3, 0.4], color=BLUE, lw=1.5)
    for start, end in [((-0.6, 0), (1.9, 0)), ((3.7, 0), (5.0, 0)), ((5.8, 0), (7.2, 0)), ((5.4, 0.6), (5.4, 0.32))]:
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": BLUE, "lw": 1.5})
    places = [(0.0, 0), (4.3, 0), (4.3, 1.3), (6.5, 0)]
    for (x, y), above, below in zip(places, forward, backward):
        ax.text(x, y + 0.12, above, ha="center", color=GREY)
        ax.text(x, y - 0.12, below, ha="center", va="top", color=ORANGE)
    ax.set(xlim=(-0.8, 7.4), ylim=(-0.7, 1.9))
    ax.axis("off")


fig, ax = plt.subplots(figsize=(7, 2.2))
draw_fork(ax, forward=["3", "6", "3", "9"], backward=["2 + 1 = 3", "1", "1", "1"], body="× 2")
plt.show()

# %% [markdown]
# Grey, left to right: 3 goes both ways, $6 + 3 = 9$. Orange, right to left: a sum hands its gradient to *both* of its
# inputs, unchanged. The body multiplies its share by 2. The shortcut does nothing to its own. At the fork the two arrive again,
# and since x moved the result along both paths, they are added.
#
# ## Maths
#
# A block has a body, a shortcut (nothing, or a layer) and what comes *after* the sum (nothing, or a ReLU):
#
# $$\text{out} = \text{after}(s), \qquad s = \text{body}(x) + \text{shortcut}(x).$$
#
# Backward, with $\text{dsum} = \partial L/\partial s$:
#
# $$\text{dsum} = \text{after.backward}(\text{dout}), \qquad
# \text{dx} = \text{body.backward}(\text{dsum}) + \text{shortcut.backward}(\text{dsum}).$$
#
# One element, with neither shortcut nor after: $\text{dx} = (a + 1)\,\text{dout}$, where $a$ is the slope of the body. Now put $n$ blocks in a
# row, and multiply out:
#
# $$(1 + a)^n = 1 + n\,a + \binom{n}{2} a^2 + \dots + a^n .$$
#
# A plain chain has the last term alone. With shortcuts the gradient arrives along $2^n$ paths, and $\binom{n}{k}$ of them lead through
# $k$ bodies. The path through none brings it home untouched, however deep the network.

# %%
from math import comb


def draw_paths(a=0.2, n=20):
    k = np.arange(n + 1)
    share = np.array([comb(n, j) * a**j for j in k])
    fig, ax = plt.subplots(figsize=(7, 2.6))
    ax.bar(k, [comb(n, j) / 2**n for j in k], color=PALE[BLUE], label="of the paths")
    ax.bar(k, share / share.sum(), width=0.4, color=ORANGE, label="of the gradient")
    ax.set(xlabel="bodies on the path", ylabel="share", xlim=(-0.7, n + 0.7), xticks=range(0, n + 1, 2),
           title=f"with shortcuts ×{(1 + a)**n:.3g}, plain ×{a**n:.1e}")
    ax.legend()
    plt.show()


draw_paths()

# %% [markdown]
# Twenty blocks whose slope is 0.2. The typical path leads through about ten bodies. But most of the *gradient* comes along short paths. The title says what is left of
# it at the input, with and without shortcuts. Move the slope: from where on do the long paths carry it?

# %%
from ipywidgets import FloatSlider, interact

interact(draw_paths, a=FloatSlider(value=0.2, min=0.05, max=1.5, step=0.05), n=(2, 27));

# %% [markdown]
# ## Build: the container
#
# | array | shape | |
# |---|---|---|
# | `x` | (N, C, H, W) | goes to both branches |
# | `body(x)`, `shortcut(x)` | (N, D, OH, OW) | must be equal: NumPy would stretch an axis of 1 without a word |
# | `out`, `dout` | (N, D, OH, OW) | |
# | `dx` | (N, C, H, W) | the sum of what both branches send back |
#
# ### Exercise 1 ★★★: Residual
#
# Every residual network of the course gets its backward from here. Three traps. A layer may have *saved* the array that it returned, so do not
# write into it. Inside a container, call `forward`. And a layer's memory is a stack (03): whatever forward visited
# last, backward has to visit first. Otherwise a layer that stands in both branches takes back the wrong input.
#
# The first cell begins the module of the container, the second that of the networks. `elementwise(np.add, a, b)` is `a + b`, on
# several threads; either will do.

# %%
#| default_exp model.residual
#| export
"""A fork and a sum: the one container that every residual network is built from."""

import numpy as np

from nyang_edu.model.core import NyangModel
from nyang_edu.utility.layout import elementwise

# %%
#| export model.zoo.resnet
"""ResNet: blocks that add to what they receive, for ImageNet's sizes and for 32 × 32 images."""

import re

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import GlobalAvgPool, MaxPool2d
from nyang_edu.model.residual import Residual

# %% exercise="Residual" points=4 stars=3
#| export
class Residual(NyangModel):
    """Add a shortcut to a body: out = after(body(x) + shortcut(x)).

    shortcut None passes x on as it is; after None leaves the sum as it is.
    Shapes: x, any → out, the shape of body(x), which shortcut(x) must have too.

    Raises:
        ValueError: in forward, where body and shortcut return different shapes.

    Source: He, Zhang, Ren, Sun, Deep residual learning for image recognition (2016), section 3.2.
    """

    def __init__(self, body, shortcut=None, after=None):
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, x):
        """Return after(body(x) + shortcut(x))."""
        ### BEGIN SOLUTION both branches, the check of the shapes, the sum, and what comes after
        short = x if self.shortcut is None else self.shortcut.forward(x)
        out = self.body.forward(x)
        if out.shape != short.shape:
            raise ValueError(f"Residual adds arrays of one shape, received {out.shape} from the "
                             f"body and {short.shape} from the shortcut: give it a projection")
        out = elementwise(np.add, out, short)  # not +=, the body may have saved its own
        return out if self.after is None else self.after.forward(out)
        ### END SOLUTION

    def backward(self, dout):
        """Return dx, the sum of what both branches send back; the layers add to their gradients."""
        ### BEGIN SOLUTION back through after, then through both branches, last visited first; add
        dsum = dout if self.after is None else self.after.backward(dout)
        dx = self.body.backward(dsum)
        dshort = dsum if self.shortcut is None else self.shortcut.backward(dsum)
        return elementwise(np.add, dx, dshort)
        ### END SOLUTION

# %%
check(Residual)

# %% probe="Residual"
from nyang_edu.model.activation import ReLU, Tanh
from nyang_edu.model.core import Parameter
from nyang_edu.model.flow import NyangFlow


class Mix(NyangModel):
    """out = x · weight."""

    def __init__(self, weight):
        self.weight = Parameter(weight)

    def forward(self, x):
        self.save(x)
        return x @ self.weight.data

    def backward(self, dout):
        x = self.saved()
        self.weight.grad += x.T @ dout
        return dout @ self.weight.data.T


def refusal(block, x):
    try:
        return f"out of shape {block(x).shape}"
    except ValueError:
        return "ValueError"


def probe(Residual, rng):
    N, D = int(rng.integers(3, 6)), int(rng.integers(2, 5))
    x, dout, x2, d2 = rng.normal(size=(4, N, D))
    one, two, three = (Mix(rng.normal(size=(D, D))) for _ in range(3))
    bare = Residual(one)
    yield "out without a shortcut", bare(x)
    yield "dx without a shortcut", bare.backward(dout)
    yield "the body's weight.grad without a shortcut", one.weight.grad.copy()
    full = Residual(one, two, ReLU())
    yield "out with shortcut and after", full(x)
    yield "dx with shortcut and after", full.backward(dout)
    yield "the shortcut's weight.grad", two.weight.grad
    yield "each name in the state", np.array(list(full.state_dict()))
    bent = Residual(three, after=ReLU())
    yield "out with after alone", bent(x)
    yield "dx with after alone", bent.backward(dout)
    saving = Residual(NyangFlow(three, Tanh()), two)
    yield "out of a body that keeps its output", saving(x)
    yield "dx of a body that keeps its output", saving.backward(dout)
    yield "x and dout afterwards", np.stack([x, dout])
    full(x)
    full.forward(x2)
    yield "dx of the later of two calls", full.backward(d2)
    yield "dx of the earlier of two calls", full.backward(dout)
    bend = Tanh()
    shared = Residual(NyangFlow(three, bend), bend)
    yield "out with one Tanh in both branches", shared(x)
    yield "dx with one Tanh in both branches", shared.backward(dout)
    yield "a body of another width", refusal(Residual(Mix(rng.normal(size=(D, D + 1)))), x)
    yield "an input of one column, a body of more", refusal(Residual(Mix(rng.normal(size=(1, D)))), x[:, :1])
    yield "out in float32", full.to(np.float32)(x.astype(np.float32))

# %% mistakes="Residual"
mistake("dx lacks the shortcut's part", "x moves the loss along two paths. What comes back along the shortcut has to be added, also where the "
        "shortcut is nothing at all: then it is the gradient of the sum itself.",
        swap=("return elementwise(np.add, dx, dshort)", "return dx"))
mistake("dx lacks the body's part", "The body's backward returns its share of dx. Add it to the shortcut's.",
        swap=("return elementwise(np.add, dx, dshort)", "return dshort + 0"))
mistake("a missing shortcut hands back nothing", "A missing shortcut passes x on as it is: its slope is 1, not 0. It hands back the gradient of the sum.",
        swap=("dshort = dsum if self.shortcut is None", "dshort = 0 * dsum if self.shortcut is None"))
mistake("the branches get dout from before `after`", "Back-propagation meets `after` first. What its backward returns is the gradient of the sum, and "
        "that is what both branches receive.",
        swap=("""        dsum = dout if self.after is None else self.after.backward(dout)
""", """        dsum = dout
        if self.after is not None:
            self.after.backward(dout)
"""))
mistake("only the body's path goes back through `after`", "The shortcut joins before `after`, so its gradient comes through `after` too.",
        swap=("dshort = dsum if self.shortcut is None else self.shortcut.backward(dsum)",
              "dshort = dout if self.shortcut is None else self.shortcut.backward(dout)"))
mistake("`after` is applied before the sum", "The formula is after(body(x) + shortcut(x)). First add, then apply `after`.",
        swap=("""        out = elementwise(np.add, out, short)  # not +=, the body may have saved its own
        return out if self.after is None else self.after.forward(out)""",
              """        out = out if self.after is None else self.after.forward(out)
        return out + short"""))
mistake("`after` is forgotten in forward", "What comes after the sum belongs to the block: send the sum through it where it is not None.",
        swap=("return out if self.after is None else self.after.forward(out)", """if self.after is not None:
            self.after.forward(out)
        return out"""))
mistake("forward ignores the shortcut's layers", "Where there is a shortcut, x goes through it on its way to the sum.",
        swap=("short = x if self.shortcut is None else self.shortcut.forward(x)",
              """short = x
        if self.shortcut is not None:
            self.shortcut.forward(x)"""))
mistake("the sum is written into the body's output", "A layer may keep the array that it returned, as Tanh does for its backward. out += … changes what it "
        "saved. Make a new array.",
        swap=("out = elementwise(np.add, out, short)  # not +=, the body may have saved its own", "out += short"))
mistake("both passes visit the branches in the same order", "A memory is a stack: what forward saved last comes back first. If forward visits the shortcut first, "
        "backward visits it last. It shows where one layer stands in both branches.",
        swap=("""        dx = self.body.backward(dsum)
        dshort = dsum if self.shortcut is None else self.shortcut.backward(dsum)""",
              """        dshort = dsum if self.shortcut is None else self.shortcut.backward(dsum)
        dx = self.body.backward(dsum)"""))
mistake("arrays of different shapes are added", "NumPy stretches an axis of length 1 without a word. Compare the two shapes, and raise a ValueError where they "
        "differ.", swap=("if out.shape != short.shape:", "if False:"))
@mistake("the branches are called as layer(x)", "layer(x) starts a fresh pass and forgets what was saved before. Inside a container, call forward.")
class Residual(reference):
    def forward(self, x):
        short = x if self.shortcut is None else self.shortcut(x)
        out = self.body(x)
        if out.shape != short.shape:
            raise ValueError
        out = out + short
        return out if self.after is None else self.after(out)
mistake("the body is called as body(x)", "body(x) starts a fresh pass and forgets what was saved before. Inside a container, call forward.",
        swap=("out = self.body.forward(x)", "out = self.body(x)"))
mistake("the shortcut's layers are left out on the way back", "Where there is a shortcut, its backward has to run: it fills its gradients and returns its share of dx.",
        swap=("dshort = dsum if self.shortcut is None else self.shortcut.backward(dsum)", "dshort = dsum"))
mistake("the mean is taken, not the sum", "A shortcut passes x on whole. Half of it would be half of the gradient too, in every block.",
        swap=("out = elementwise(np.add, out, short)  # not +=, the body may have saved its own", "out = (out + short) / 2"))

# %% [markdown] hints="Residual"
# Draw the fork and put the three layers on it. Forward follows the arrows. Backward starts at the right end, and where an arrow forked,
# two gradients meet.
#
# ---
#
# forward: short = shortcut(x) or x, then body(x), compare `.shape`, add into a *new* array, then `after`. backward: dsum through `after`, then
# the body, then the shortcut, and add. A missing shortcut hands dsum on.
#
# ---
#
# ```python
# # forward
# short = x if self.shortcut is None else ...
# out = self.body.forward(x)
# if out.shape != short.shape:
#     raise ValueError(...)
# out = ...
# return out if self.after is None else ...
#
# # backward
# dsum = dout if self.after is None else ...
# dx = self.body.backward(...)
# dshort = ... if self.shortcut is None else ...
# return ...
# ```

# %% [markdown]
# `gradcheck` of chapter 03 compares with central differences. The hard case: a body with BatchNorm, a shortcut with layers, a ReLU after the
# sum.

# %% tags=["nbval-check-output"]
draw = np.random.default_rng(0)
body = NyangFlow(Conv2d(2, 3, 3, 2, 1, bias=False, rng=draw), BatchNorm2d(3), ReLU(), Conv2d(3, 3, 3, 1, 1, rng=draw))
block = Residual(body, Conv2d(2, 3, 1, 2, rng=draw), ReLU())
errors = gradcheck(block, draw.normal(size=(4, 2, 6, 6)))
print(f"{len(errors)} gradients, all within 1e-6: {max(errors.values()) < 1e-6}")

# %% [markdown]
# ## Blocks
#
# ### Exercise 2 ★★: what stands on the shortcut
#
# A shortcut that does nothing needs `body(x)` of x's shape. That fails where a stage begins: the maps are halved, or the channels change. There the paper offers
# two ways. Option A drops every second pixel and fills the new channels with zeros. Option B *projects*: a 1 × 1 convolution with the
# body's stride, then BatchNorm. The paper's small networks use A. Here all use B, as torchvision does.
#
# Given: `conv_norm`, a convolution with its BatchNorm, as a list. It has no bias, for BatchNorm subtracts the mean again (10).
#
# Yours: `projection`. Return `None` where x already fits.

# %%
#| export model.zoo.resnet
def conv_norm(in_channels, out_channels, kernel_size, stride=1, rng=None):
    """List a convolution that keeps the size, apart from its stride, and its BatchNorm."""
    return [Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False,
                   rng=rng), BatchNorm2d(out_channels)]

# %% exercise="projection" points=2 stars=2
#| export model.zoo.resnet
def projection(in_channels, out_channels, stride, rng):
    """Return what makes x fit to a body's output: None, or a flow of two layers.

    Args:
        in_channels, out_channels, stride: those of the body.
        rng: the generator that draws the weights.

    Returns:
        None where x has the output's shape already; else a NyangFlow of a 1×1 convolution
        without bias and a BatchNorm2d.

    Source: He et al. (2016), section 3.3, option B.
    """
    ### BEGIN SOLUTION None where neither size nor channels change; else conv_norm with kernel 1, as a flow
    if stride == 1 and in_channels == out_channels:
        return None
    return NyangFlow(*conv_norm(in_channels, out_channels, 1, stride, rng))
    ### END SOLUTION

# %%
check(projection)

# %% probe="projection"
def probe(projection, rng):
    few, many, seed = int(rng.integers(2, 4)), int(rng.integers(4, 7)), int(rng.integers(100))
    cases = {"equal channels, stride 1": (many, many, 1), "more channels, stride 1": (few, many, 1),
             "fewer channels, stride 1": (many, few, 1), "equal channels, stride 2": (many, many, 2)}
    made = {name: projection(*sizes, np.random.default_rng(seed)) for name, sizes in cases.items()}
    for name, layer in made.items():
        yield name, "None" if layer is None else type(layer).__name__
    flow = projection(few, many, 2, np.random.default_rng(seed)).to(np.float64)
    yield "each name in the state", np.array(list(flow.state_dict()))
    again = projection(few, many, 2, np.random.default_rng(seed)).state_dict()
    same = np.array_equal(flow.state_dict()["0.weight"], again["0.weight"])
    yield "two projections from one seed", "equal" if same else "different"
    other = projection(few, many, 2, np.random.default_rng(seed + 1)).state_dict()
    same = np.array_equal(other["0.weight"], again["0.weight"])
    yield "projections from two seeds", "equal" if same else "different"
    flow[0].weight.data[...] = rng.normal(size=flow[0].weight.data.shape)
    x = rng.normal(size=(4, few, 5, 6))
    out = flow(x)
    yield "out", out
    yield "dx", flow.backward(rng.normal(size=out.shape))

# %% mistakes="projection"
mistake("the stride alone decides", "A block may change the channels and keep the size, as the first of ResNet-50 does. Then x does not fit either.",
        swap=("stride == 1 and in_channels == out_channels", "stride == 1"))
mistake("the channels alone decide", "With stride 2 the body halves the maps. Then x does not fit, even if the channels are equal.",
        swap=("stride == 1 and in_channels == out_channels", "in_channels == out_channels"))
mistake("every block gets a projection", "Where x fits, nothing should stand on the shortcut: that is the path on which the gradient comes home "
        "untouched.", swap=("if stride == 1 and in_channels == out_channels:", "if False:"))
mistake("the projection has stride 1", "The body's maps are smaller by its stride. The projection needs the same one.",
        swap=("out_channels, 1, stride, rng", "out_channels, 1, 1, rng"))
mistake("the BatchNorm is left out", "The projection is a convolution and a BatchNorm: conv_norm lists both.",
        swap=("NyangFlow(*conv_norm(in_channels, out_channels, 1, stride, rng))",
              "NyangFlow(conv_norm(in_channels, out_channels, 1, stride, rng)[0])"))
mistake("a ReLU stands on the shortcut", "The shortcut must be able to carry negative numbers too. The ReLU of the block comes after the sum.",
        swap=("NyangFlow(*conv_norm(in_channels, out_channels, 1, stride, rng))",
              "NyangFlow(*conv_norm(in_channels, out_channels, 1, stride, rng), ReLU())"))
mistake("the projection's kernel is 3 × 3", "A projection mixes channels at each place, and looks at no neighbours: its kernel is 1 × 1.",
        swap=("out_channels, 1, stride, rng", "out_channels, 3, stride, rng"))
mistake("the convolution has a bias", "BatchNorm subtracts the mean, and any bias with it. conv_norm leaves it out.",
        swap=("NyangFlow(*conv_norm(in_channels, out_channels, 1, stride, rng))",
              "NyangFlow(Conv2d(in_channels, out_channels, 1, stride, rng=rng), BatchNorm2d(out_channels))"))
mistake("the generator is made inside", "With a seed of its own every projection of every model gets the same weights. Draw from the rng that is given.",
        swap=("out_channels, 1, stride, rng", "out_channels, 1, stride, np.random.default_rng(0)"))
mistake("rng is not handed on", "Without it the layer draws from a generator of its own, and no run can be repeated.",
        swap=("out_channels, 1, stride, rng", "out_channels, 1, stride"))

# %% [markdown] hints="projection"
# When does `body(x)` have x's shape? Two things have to hold.
#
# ---
#
# The size stays where the stride is 1, the channels where both numbers are equal. Otherwise `conv_norm` with kernel size 1 and the body's stride. A list
# is unpacked with a star: `NyangFlow(*layers)`.
#
# ---
#
# ```python
# if ... and ...:
#     return None
# return NyangFlow(*conv_norm(in_channels, out_channels, ..., ..., rng))
# ```

# %% [markdown]
# ### Exercise 3 ★★: the basic block
#
# Figures 2 and 5 of the paper: 3 × 3, BatchNorm, ReLU, 3 × 3, BatchNorm. Then the sum, then a ReLU. The first convolution takes the stride.
#
# Why no ReLU at the end of the body? It could then only add. With the ReLU behind the sum, the body can also take away.

# %% exercise="basic_block" points=2 stars=2
#| export model.zoo.resnet
def basic_block(in_channels, out_channels, stride=1, rng=None):
    """Build the block of ResNet-18, ResNet-34 and the small ones: two 3×3 convolutions.

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, ⌈H / stride⌉, ⌈W / stride⌉).
    The body is one NyangFlow of five layers.

    Source: He et al. (2016), figure 5, left.
    """
    ### BEGIN SOLUTION the body as a NyangFlow, then a Residual with its projection and a ReLU
    body = NyangFlow(*conv_norm(in_channels, out_channels, 3, stride, rng), ReLU(),
                     *conv_norm(out_channels, out_channels, 3, 1, rng))
    return Residual(body, projection(in_channels, out_channels, stride, rng), ReLU())
    ### END SOLUTION

# %%
check(basic_block)

# %% probe="basic_block"
def perturbed(block, rng):
    """The block in float64, every parameter drawn anew: zeros and ones hide mistakes."""
    for parameter in block.to(np.float64).parameters():
        parameter.data[...] = rng.uniform(0.2, 1, parameter.data.shape) * rng.choice([-1, 1], parameter.data.shape)
    return block


def probe(basic_block, rng):
    few, many, seed = int(rng.integers(2, 4)), int(rng.integers(4, 6)), int(rng.integers(100))
    for name, sizes in {"where a stage begins": (few, many, 2), "inside a stage": (few, few)}.items():
        block = perturbed(basic_block(*sizes, rng=np.random.default_rng(seed)), rng)
        yield f"each name in the state, {name}", np.array(list(block.state_dict()))
        x = rng.normal(size=(3, few, 5, 6))
        out = block(x)
        yield f"out {name}", out
        yield f"dx {name}", block.backward(rng.normal(size=out.shape))
        reached = [bool(np.any(one.grad)) for one in block.parameters()]
        yield f"parameters that a gradient reaches, {name}", sum(reached)
        yield f"out in eval mode, {name}", block.eval()(x)
    one, same, other = (basic_block(few, many, 2, rng=np.random.default_rng(s)).state_dict() for s in (seed, seed, seed + 1))
    weights = [name for name, array in one.items() if array.ndim == 4]
    yield "weights that one seed repeats", sum(np.array_equal(one[name], same[name]) for name in weights)
    yield "weights that another seed repeats", sum(np.array_equal(one[name], other[name]) for name in weights)

# %% mistakes="basic_block"
mistake("the body ends with a ReLU", "A body that ends with a ReLU can only add to its input, never take away. The ReLU comes after the sum.",
        swap=("*conv_norm(out_channels, out_channels, 3, 1, rng))", "*conv_norm(out_channels, out_channels, 3, 1, rng), ReLU())"))
mistake("no ReLU between the convolutions", "Two convolutions without a bend between them are one linear map (04).",
        swap=("*conv_norm(in_channels, out_channels, 3, stride, rng), ReLU(),", "*conv_norm(in_channels, out_channels, 3, stride, rng),"))
mistake("no ReLU after the sum", "Residual takes what comes after the sum as its third argument.",
        swap=("projection(in_channels, out_channels, stride, rng), ReLU())", "projection(in_channels, out_channels, stride, rng))"))
mistake("the second convolution has the stride", "The stride belongs to the first convolution, so that the second one already works on the smaller maps.",
        swap=("""3, stride, rng), ReLU(),
                     *conv_norm(out_channels, out_channels, 3, 1, rng))""", """3, 1, rng), ReLU(),
                     *conv_norm(out_channels, out_channels, 3, stride, rng))"""))
mistake("the second convolution keeps in_channels", "The first convolution changes the number of channels, the second one keeps the new number.",
        swap=("""*conv_norm(in_channels, out_channels, 3, stride, rng), ReLU(),
                     *conv_norm(out_channels, out_channels, 3, 1, rng))""",
              """*conv_norm(in_channels, in_channels, 3, stride, rng), ReLU(),
                     *conv_norm(in_channels, out_channels, 3, 1, rng))"""))
@mistake("every shortcut is projected", "Where x fits, projection returns None, and nothing stands on the shortcut. Let it decide.")
def basic_block(in_channels, out_channels, stride=1, rng=None):
    block = reference(in_channels, out_channels, stride, rng)
    block.shortcut = NyangFlow(*conv_norm(in_channels, out_channels, 1, stride, rng))
    return block

mistake("rng does not reach one of the layers", "Every layer of a model draws from the one generator, the projection too. Otherwise no run can be repeated.",
        swap=("*conv_norm(out_channels, out_channels, 3, 1, rng))", "*conv_norm(out_channels, out_channels, 3, 1))"))
mistake("there is no projection", "Where a stage begins, x does not fit to body(x). projection knows when, so call it in every block.",
        swap=("Residual(body, projection(in_channels, out_channels, stride, rng), ReLU())", "Residual(body, None, ReLU())"))
mistake("the projection does not get the stride", "The body halves the maps, so the shortcut has to halve them too: hand the stride on.",
        swap=("projection(in_channels, out_channels, stride, rng)", "projection(in_channels, out_channels, 1, rng)"))
mistake("no convolution has the stride", "The first convolution of the body takes the stride.",
        swap=("*conv_norm(in_channels, out_channels, 3, stride, rng)", "*conv_norm(in_channels, out_channels, 3, 1, rng)"))
mistake("both convolutions have the stride", "Two strides of 2 make maps of a quarter. Only the first convolution has it.",
        swap=("*conv_norm(out_channels, out_channels, 3, 1, rng)", "*conv_norm(out_channels, out_channels, 3, stride, rng)"))
mistake("the last ReLU stands in the body, not after the sum", "A body that ends with a ReLU can only add. The ReLU is Residual's third argument.",
        swap=("""*conv_norm(out_channels, out_channels, 3, 1, rng))
    return Residual(body, projection(in_channels, out_channels, stride, rng), ReLU())""",
              """*conv_norm(out_channels, out_channels, 3, 1, rng), ReLU())
    return Residual(body, projection(in_channels, out_channels, stride, rng))"""))
@mistake("rng reaches only one layer", "Every layer of a model draws from the one generator. Otherwise no run can be repeated.")
def basic_block(in_channels, out_channels, stride=1, rng=None):
    block = reference(in_channels, out_channels, stride)
    block.shortcut = projection(in_channels, out_channels, stride, rng)
    return block

@mistake("rng is not handed on at all", "Every layer of a model draws from the one generator, the projection too. Otherwise no run can be repeated.")
def basic_block(in_channels, out_channels, stride=1, rng=None):
    return reference(in_channels, out_channels, stride)

# %% [markdown] hints="basic_block"
# Read the figure from top to bottom, and write one layer for each box. `conv_norm` gives a convolution and its BatchNorm as a list.
#
# ---
#
# body: conv_norm(in → out, 3, stride), ReLU, conv_norm(out → out, 3). Then `Residual(body, shortcut, after)` with `projection(…)` as the shortcut.
#
# ---
#
# ```python
# body = NyangFlow(*conv_norm(..., ..., 3, ..., rng), ReLU(),
#                  *conv_norm(..., ..., 3, 1, rng))
# return Residual(body, projection(...), ...)
# ```

# %% [markdown]
# ### Exercise 4 ★★: a stage
#
# Blocks of equal width in a row. Only the first one changes the channels and the size.

# %% exercise="stage" points=2 stars=2
#| export model.zoo.resnet
def stage(block, in_channels, out_channels, count, stride, rng):
    """Put count blocks in a row; the first takes in_channels and the stride.

    Args:
        block: a function (in_channels, out_channels, stride=1, rng=None) → a layer.
        in_channels, out_channels: before and after the stage.
        count: the number of blocks, at least 1.
        stride: of the first block; the others have 1.
        rng: the generator for all of them.

    Returns:
        a NyangFlow of count blocks, each one of its own.
    """
    ### BEGIN SOLUTION the first block, then count − 1 that change nothing, in one flow
    first = block(in_channels, out_channels, stride, rng)
    others = [block(out_channels, out_channels, 1, rng) for _ in range(count - 1)]
    return NyangFlow(first, *others)
    ### END SOLUTION

# %%
check(stage)

# %% probe="stage"
def probe(stage, rng):
    few, many, count = int(rng.integers(2, 4)), int(rng.integers(4, 7)), int(rng.integers(3, 6))
    draw, calls, generators = np.random.default_rng(int(rng.integers(100))), [], []

    def block(in_channels, out_channels, stride=1, rng=None):
        calls.append((in_channels, out_channels, stride))
        generators.append(rng is draw)
        return Conv2d(in_channels, out_channels, 1, stride, rng=np.random.default_rng(len(calls)))

    made = stage(block, few, many, count, 2, draw)
    yield "in, out and stride of each block", np.array(calls)
    yield "blocks that got rng", sum(generators)
    yield "what is returned", type(made).__name__
    yield "each name in the state", np.array(list(made.state_dict()))
    yield "out", made(rng.normal(size=(2, few, 5, 6)).astype(np.float32))
    calls.clear()
    alone = stage(block, few, many, 1, 1, draw)
    yield "in, out and stride of a single block", np.array(calls)
    yield "the number of blocks in a stage of one", len(alone)

# %% mistakes="stage"
mistake("every block has the stride", "Each block would halve the maps again. Only the first one does; the others have stride 1.",
        swap=("block(out_channels, out_channels, 1, rng)", "block(out_channels, out_channels, stride, rng)"))
mistake("the last block has the stride", "The first block goes down to the smaller maps, so that the others already work on them.",
        swap=("""    first = block(in_channels, out_channels, stride, rng)
    others = [block(out_channels, out_channels, 1, rng) for _ in range(count - 1)]
    return NyangFlow(first, *others)""", """    places = range(count)
    return NyangFlow(*[block(out_channels if k else in_channels, out_channels, stride if k == count - 1 else 1, rng)
                       for k in places])"""))
mistake("no block has the stride", "The first block takes the stage's stride.",
        swap=("block(in_channels, out_channels, stride, rng)", "block(in_channels, out_channels, 1, rng)"))
mistake("every block takes in_channels", "After the first block there are out_channels. That is what the others receive.",
        swap=("block(out_channels, out_channels, 1, rng)", "block(in_channels, out_channels, 1, rng)"))
mistake("one block too many", "count is the number of all blocks, the first included.",
        swap=("range(count - 1)", "range(count)"))
mistake("one block stands in all places", "[block] * n is one block n times, with one set of weights. Build a new one for each place.",
        swap=("[block(out_channels, out_channels, 1, rng) for _ in range(count - 1)]",
              "[block(out_channels, out_channels, 1, rng)] * (count - 1)"))
mistake("rng is not handed on", "Every block draws from the model's one generator. Otherwise no run can be repeated.",
        swap=("block(out_channels, out_channels, 1, rng)", "block(out_channels, out_channels, 1)"))
mistake("one block too few", "count is the number of all blocks: the first, and count − 1 others.",
        swap=("range(count - 1)", "range(count - 2)"))
@mistake("no block gets rng", "Every block draws from the model's one generator, the first one too.")
def stage(block, in_channels, out_channels, count, stride, rng):
    first = block(in_channels, out_channels, stride)
    return NyangFlow(first, *[block(out_channels, out_channels, 1) for _ in range(count - 1)])

# %% [markdown] hints="stage"
# Which of the blocks is different from the others, and in what?
#
# ---
#
# First: (in_channels, out_channels, stride). All others: (out_channels, out_channels, 1), and there are count − 1 of them. A list comprehension
# builds each anew.
#
# ---
#
# ```python
# first = block(...)
# others = [block(...) for _ in range(...)]
# return NyangFlow(first, *others)
# ```

# %% [markdown]
# ## Networks
#
# The rest is wiring. `resnet` puts a stem, the stages and a head in a row. Each stage after the first halves the maps. Below it are
# the small networks of the paper's section 4.2: three stages of n blocks, with 16, 32 and 64 channels.

# %%
#| export model.zoo.resnet
def resnet(block, counts, widths, stem, num_classes, rng):
    """Build stem → stages → mean of each map → Linear, as a NyangFlow of these parts.

    Args:
        block: basic_block or bottleneck.
        counts, widths: the number of blocks and of channels of each stage.
        stem: a NyangFlow, and the number of channels that it returns.
        num_classes: the number of logits.
        rng: the generator for all weights.
    """
    parts, channels = [stem[0]], stem[1]
    for place, (count, width) in enumerate(zip(counts, widths, strict=True)):
        parts.append(stage(block, channels, width, count, 2 if place else 1, rng))
        channels = width
    return NyangFlow(*parts, NyangFlow(GlobalAvgPool(), Linear(channels, num_classes, rng=rng)))


def resnet_small(blocks, num_classes=10, rng=None, *, in_channels=3, width=16, block=basic_block):
    """Build a ResNet for 32×32 images, of 3 · blocks blocks, 6 · blocks + 2 layers.

    Shapes: x (N, in_channels, H, W) → logits (N, num_classes). The shortcuts are option B.

    Source: He et al. (2016), section 4.2.
    """
    rng = rng or np.random.default_rng()
    stem = NyangFlow(*conv_norm(in_channels, width, 3, rng=rng), ReLU())
    widths = width, 2 * width, 4 * width
    return resnet(block, [blocks] * 3, widths, (stem, width), num_classes, rng)


def resnet20(num_classes=10, rng=None, **settings):
    """Build ResNet-20 for 32×32 images; settings as resnet_small."""
    return resnet_small(3, num_classes, rng, **settings)


def resnet32(num_classes=10, rng=None, **settings):
    """Build ResNet-32 for 32×32 images; settings as resnet_small."""
    return resnet_small(5, num_classes, rng, **settings)


def resnet44(num_classes=10, rng=None, **settings):
    """Build ResNet-44 for 32×32 images; settings as resnet_small."""
    return resnet_small(7, num_classes, rng, **settings)


def resnet56(num_classes=10, rng=None, **settings):
    """Build ResNet-56 for 32×32 images; settings as resnet_small."""
    return resnet_small(9, num_classes, rng, **settings)

# %% [markdown]
# `summary` with `depth=1` gives one row per part. ResNet-20 at its full width:

# %% tags=["nbval-check-output"]
print(resnet20().summary((3, 32, 32), depth=1))

# %% [markdown]
# Maps shrink, channels grow, and each stage costs about the same number of multiply-adds. The weights gather at the end. The paper gives 0.27 million
# parameters for ResNet-20, with option A; the two projections add some 2,700.
#
# ### Exercise 5 ★: predict the depth
#
# The number in a ResNet's name counts the layers with weights on the longest path: convolutions and the last `Linear`. Projections stand beside
# that path and do not count. Given the number of blocks per stage and of convolutions per body, which number is it?

# %% exercise="resnet_depth" points=1 stars=1 reveal=false
def resnet_depth(counts, convs):
    """Return the number in a ResNet's name.

    Args:
        counts: the number of blocks of each stage, such as (3, 3, 3).
        convs: the convolutions in a body: 2 in a basic block.
    """
    ### BEGIN SOLUTION the convolutions of all bodies, and what stands before and behind them
    return convs * sum(counts) + 2
    ### END SOLUTION

# %%
check(resnet_depth)

# %% probe="resnet_depth"
def probe(resnet_depth, rng):
    counts, convs = [int(count) for count in rng.integers(2, 9, int(rng.integers(3, 6)))], int(rng.integers(3, 6))
    yield "the depth", resnet_depth(tuple(counts), convs)

# %% mistakes="resnet_depth"
@mistake("stem and head are not counted", "Before the first stage stands a convolution, behind the last one a Linear.")
def resnet_depth(counts, convs):
    return convs * sum(counts)

@mistake("only one of stem and head is counted", "Both have weights: the convolution before the stages, and the Linear behind them.")
def resnet_depth(counts, convs):
    return convs * sum(counts) + 1

@mistake("the projections are counted", "A projection stands beside the longest path, not on it.")
def resnet_depth(counts, convs):
    return convs * sum(counts) + 2 + len(counts) - 1

@mistake("the blocks are counted, not their convolutions", "Each block has as many layers with weights as its body has convolutions.")
def resnet_depth(counts, convs):
    return sum(counts) + 2

@mistake("all stages are taken to be as long as the first", "The stages differ: add up their numbers of blocks.")
def resnet_depth(counts, convs):
    return convs * counts[0] * len(counts) + 2
@mistake("two convolutions a block are built in", "Not every body has two. How many it has, the caller says: convs.")
def resnet_depth(counts, convs):
    return 2 * sum(counts) + 2

@mistake("the stages are counted, not their blocks", "counts holds the number of blocks of each stage: add them up.")
def resnet_depth(counts, convs):
    return convs * len(counts) + 2

@mistake("a projection is counted for every stage", "A projection stands beside the longest path, not on it. It counts nowhere.")
def resnet_depth(counts, convs):
    return convs * sum(counts) + 2 + len(counts)

# %% [markdown] hints="resnet_depth"
# Walk through the network with a finger, from the picture to the logits, and count each layer with weights. Which parts are there?
#
# ---
#
# One convolution in the stem, convs in each block, one Linear.
#
# ---
#
# ```python
# return ... * sum(counts) + ...
# ```

# %% [markdown]
# For three stages of n basic blocks it is the paper's $6n + 2$. Now the experiment from the beginning, with a third network. Residual 44 has the layers of plain 44, at the same
# width, and shortcuts.

# %% tags=["nbval-check-output"]
curves["residual 44"] = training_losses(resnet44(10, np.random.default_rng(0), in_channels=1, width=8))
last["residual 44"] = curves["residual 44"][-20:].mean()
print("the lowest loss has", min(last, key=last.get))
print("the highest loss has", max(last, key=last.get))
print("residual 44 is below a third of plain 44:", bool(last["residual 44"] < last["plain 44"] / 3))

# %%
draw_curves(curves, [BLUE, ORANGE, GREEN])

# %% [markdown]
# Same depth, same width, same steps. The green curve starts more restlessly, and over the last twenty steps its mean is below both others. (It has two projections more, less than 1 % of the parameters. One seed is no proof:
# `python -m benchmarks floors degradation` repeats this with three, and for longer.)
#
# Why was plain 44 so slow? One suspicion is that its gradient dies on the way. Measure it, before any training: the size of each 3 × 3
# convolution's gradient, on one batch.

# %%
def gradient_sizes(model):
    loss, batch = CrossEntropyLoss(), slice(0, 5000, 80)
    loss(model(digits[batch]), labels[batch])
    model.backward(loss.backward())
    return [np.linalg.norm(one.grad) for one in model.parameters() if one.data.shape[2:] == (3, 3)]


sizes = {"plain 44": gradient_sizes(plain_net(44, np.random.default_rng(0))),
         "residual 44": gradient_sizes(resnet44(10, np.random.default_rng(0), in_channels=1, width=8))}
fig, ax = plt.subplots(figsize=(7, 3))
for (name, norms), colour in zip(sizes.items(), [ORANGE, GREEN]):
    ax.semilogy(range(1, len(norms) + 1), norms, "o-", ms=3, color=colour, label=name)
ax.set(xlabel="convolution, from the input on", ylabel="norm of its gradient", title="before the first step")
ax.legend()
plt.show()

# %% tags=["nbval-check-output"]
ratio = {name: norms[1] / norms[-1] for name, norms in sizes.items()}
print(f"plain: the gradient grows more than fiftyfold on its way back: {bool(ratio['plain 44'] > 50)}")
print(f"residual: less than twentyfold: {bool(ratio['residual 44'] < 20)}")

# %% [markdown]
# Read the orange line from right to left. The gradient does not die, it *grows*, layer by layer: in this network BatchNorm keeps the forward signal in
# bounds, not the gradient. A learning rate that suits the last layers throws the first ones about. With shortcuts all
# layers see gradients of a similar size.
#
# ## Deeper still: the bottleneck
#
# For ResNet-50 and beyond, two 3 × 3 convolutions on 256 channels or more are too dear. So first go down to a quarter of the channels with a 1 × 1, do the 3 × 3 there, and
# go up again with another 1 × 1.
#
# ### Exercise 6 ★★: the bottleneck
#
# A BatchNorm after each convolution, a ReLU after the first two. The stride is on the 3 × 3: the paper had it on the first 1 × 1, where three of four
# pixels are never looked at. torchvision moved it, and so do we.

# %% exercise="bottleneck" points=2 stars=2
#| export model.zoo.resnet
def bottleneck(in_channels, out_channels, stride=1, rng=None):
    """Build the block of ResNet-50, 101 and 152: 1×1 down to out_channels / 4, 3×3, 1×1 up.

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, ⌈H / stride⌉, ⌈W / stride⌉).
    The body is one NyangFlow of eight layers; the 3×3 has the stride.

    Source: He et al. (2016), figure 5, right; the stride as in torchvision.
    """
    ### BEGIN SOLUTION the body as a NyangFlow of three convolutions, then a Residual as in the basic block
    width = out_channels // 4
    body = NyangFlow(*conv_norm(in_channels, width, 1, 1, rng), ReLU(),
                     *conv_norm(width, width, 3, stride, rng), ReLU(),
                     *conv_norm(width, out_channels, 1, 1, rng))
    return Residual(body, projection(in_channels, out_channels, stride, rng), ReLU())
    ### END SOLUTION

# %%
check(bottleneck)

# %% probe="bottleneck"
def perturbed(block, rng):
    """The block in float64, every parameter drawn anew: zeros and ones hide mistakes."""
    for parameter in block.to(np.float64).parameters():
        parameter.data[...] = rng.uniform(0.2, 1, parameter.data.shape) * rng.choice([-1, 1], parameter.data.shape)
    return block


def probe(bottleneck, rng):
    few, many, seed = 4 * int(rng.integers(2, 4)), 4 * int(rng.integers(4, 6)), int(rng.integers(100))
    for name, sizes in {"where a stage begins": (few, many, 2), "inside a stage": (few, few)}.items():
        block = perturbed(bottleneck(*sizes, rng=np.random.default_rng(seed)), rng)
        yield f"each name in the state, {name}", np.array(list(block.state_dict()))
        yield f"each weight's size, {name}", np.array([one.data.size for one in block.parameters()])
        x = rng.normal(size=(3, few, 5, 6))
        out = block(x)
        yield f"out {name}", out
        yield f"dx {name}", block.backward(rng.normal(size=out.shape))
        yield f"out in eval mode, {name}", block.eval()(x)
    one, same, other = (bottleneck(few, many, 2, rng=np.random.default_rng(s)).state_dict() for s in (seed, seed, seed + 1))
    weights = [name for name, array in one.items() if array.ndim == 4]
    yield "weights that one seed repeats", sum(np.array_equal(one[name], same[name]) for name in weights)
    yield "weights that another seed repeats", sum(np.array_equal(one[name], other[name]) for name in weights)

# %% mistakes="bottleneck"
mistake("the stride is on the first 1 × 1", "A 1 × 1 with stride 2 looks at every fourth pixel only, and throws the others away. Give the stride to the "
        "3 × 3.",
        swap=("""*conv_norm(in_channels, width, 1, 1, rng), ReLU(),
                     *conv_norm(width, width, 3, stride, rng), ReLU(),""",
              """*conv_norm(in_channels, width, 1, stride, rng), ReLU(),
                     *conv_norm(width, width, 3, 1, rng), ReLU(),"""))
mistake("the stride is on the last 1 × 1", "A 1 × 1 with stride 2 looks at every fourth pixel only, and the 3 × 3 before it worked for nothing. Give the "
        "stride to the 3 × 3.",
        swap=("""3, stride, rng), ReLU(),
                     *conv_norm(width, out_channels, 1, 1, rng))""", """3, 1, rng), ReLU(),
                     *conv_norm(width, out_channels, 1, stride, rng))"""))
mistake("nothing is narrowed", "The 3 × 3 works on a quarter of out_channels: that is the bottleneck's neck.",
        swap=("width = out_channels // 4", "width = out_channels"))
mistake("the neck is a quarter of in_channels", "The neck is measured by what leaves the block: where a stage begins, in_channels is smaller.",
        swap=("width = out_channels // 4", "width = in_channels // 4"))
mistake("the body ends with a ReLU", "A body that ends with a ReLU can only add, never take away. The third ReLU comes after the sum.",
        swap=("*conv_norm(width, out_channels, 1, 1, rng))", "*conv_norm(width, out_channels, 1, 1, rng), ReLU())"))
mistake("no ReLU behind the 3 × 3", "There is a bend after each of the first two convolutions.",
        swap=("*conv_norm(width, width, 3, stride, rng), ReLU(),", "*conv_norm(width, width, 3, stride, rng),"))
mistake("no ReLU after the sum", "Residual takes what comes after the sum as its third argument.",
        swap=("projection(in_channels, out_channels, stride, rng), ReLU())", "projection(in_channels, out_channels, stride, rng))"))
mistake("rng does not reach one of the layers", "Every layer of a model draws from the one generator. Otherwise no run can be repeated.",
        swap=("*conv_norm(width, width, 3, stride, rng)", "*conv_norm(width, width, 3, stride)"))
mistake("the neck is half of out_channels", "The paper narrows to a quarter: from 256 to 64 and back.",
        swap=("width = out_channels // 4", "width = out_channels // 2"))
mistake("there is no projection", "Where a stage begins, x does not fit to body(x). projection knows when, so call it in every block.",
        swap=("Residual(body, projection(in_channels, out_channels, stride, rng), ReLU())", "Residual(body, None, ReLU())"))
mistake("no convolution has the stride", "The 3 × 3 takes the stride.",
        swap=("*conv_norm(width, width, 3, stride, rng)", "*conv_norm(width, width, 3, 1, rng)"))
mistake("all three kernels are 1 × 1", "A 1 × 1 sees one pixel. Without a 3 × 3 no place would learn of its neighbours.",
        swap=("*conv_norm(width, width, 3, stride, rng)", "*conv_norm(width, width, 1, stride, rng)"))
@mistake("rng reaches only one layer", "Every layer of a model draws from the one generator. Otherwise no run can be repeated.")
def bottleneck(in_channels, out_channels, stride=1, rng=None):
    block = reference(in_channels, out_channels, stride)
    block.shortcut = projection(in_channels, out_channels, stride, rng)
    return block

@mistake("rng is not handed on at all", "Every layer of a model draws from the one generator, the projection too. Otherwise no run can be repeated.")
def bottleneck(in_channels, out_channels, stride=1, rng=None):
    return reference(in_channels, out_channels, stride)

# %% [markdown] hints="bottleneck"
# The frame is that of the basic block. Only the body is new: three convolutions, of kernel sizes 1, 3, 1.
#
# ---
#
# width = out_channels // 4. in → width (1 × 1), ReLU, width → width (3 × 3, stride), ReLU, width → out (1 × 1), each with its BatchNorm.
#
# ---
#
# ```python
# width = ...
# body = NyangFlow(*conv_norm(in_channels, ..., 1, 1, rng), ReLU(),
#                  *conv_norm(..., ..., 3, ..., rng), ReLU(),
#                  *conv_norm(..., out_channels, 1, 1, rng))
# return Residual(...)
# ```

# %% [markdown]
# What does it save? Both blocks on 256 channels, 14 × 14 maps:

# %% tags=["nbval-check-output"]
for block in (basic_block, bottleneck):
    cost = block(256, 256, rng=np.random.default_rng(0)).summary((256, 14, 14))
    print(f"{block.__name__:12s} {cost.parameters:>9,} parameters {cost.multiply_adds:>11,} multiply-adds")

# %% [markdown]
# About a seventeenth, for a block that is one layer deeper.
#
# The builders for 224 × 224 images. Their stem goes down fast: a 7 × 7 with stride 2, then max pooling. `resnet_torchvision_names` tells
# which array of PyTorch's library torchvision belongs to which of ours: its blocks name their layers `conv1`, `bn1` and so on, where ours
# count places.

# %%
#| export model.zoo.resnet
def resnet_large(block, counts, num_classes=1000, rng=None):
    """Build a ResNet for 224×224 images, with torchvision's shapes.

    Shapes: x (N, 3, H, W) → logits (N, num_classes).

    Source: He et al. (2016), table 1.
    """
    rng = rng or np.random.default_rng()
    stem = NyangFlow(*conv_norm(3, 64, 7, 2, rng), ReLU(), MaxPool2d(3, 2, 1))
    widths = (64, 128, 256, 512) if block is basic_block else (256, 512, 1024, 2048)
    return resnet(block, counts, widths, (stem, 64), num_classes, rng)


def resnet18(num_classes=1000, rng=None):
    """Build ResNet-18: 11,689,512 parameters with 1000 classes."""
    return resnet_large(basic_block, (2, 2, 2, 2), num_classes, rng)


def resnet34(num_classes=1000, rng=None):
    """Build ResNet-34: 21,797,672 parameters with 1000 classes."""
    return resnet_large(basic_block, (3, 4, 6, 3), num_classes, rng)


def resnet50(num_classes=1000, rng=None):
    """Build ResNet-50: 25,557,032 parameters with 1000 classes."""
    return resnet_large(bottleneck, (3, 4, 6, 3), num_classes, rng)


def resnet101(num_classes=1000, rng=None):
    """Build ResNet-101: 44,549,160 parameters with 1000 classes."""
    return resnet_large(bottleneck, (3, 4, 23, 3), num_classes, rng)


def resnet152(num_classes=1000, rng=None):
    """Build ResNet-152: 60,192,808 parameters with 1000 classes."""
    return resnet_large(bottleneck, (3, 8, 36, 3), num_classes, rng)


def resnet_torchvision_names(model):
    """Return {name in model.state_dict(): torchvision's name} for any ResNet of this module."""
    head = len(model) - 1
    return {name: _torchvision_name(name, head) for name in model.state_dict()}


def _torchvision_name(name, head):
    """Translate "1.0.body.3.weight" into "layer1.0.conv2.weight"."""
    part, rest = name.split(".", 1)
    if int(part) == head:
        return rest.replace("1.", "fc.", 1)
    if part == "0":
        return re.sub(r"^([01])", lambda place: ("conv1", "bn1")[int(place[0])], rest)
    rest = rest.replace("shortcut", "downsample")
    return f"layer{part}." + re.sub(r"body\.(\d)", _conv_or_norm, rest)


def _conv_or_norm(place):
    """Name a place in a body; the convolutions stand at 0, 3 and 6, a norm behind each."""
    number, kind = divmod(int(place[1]), 3)
    return f"{('conv', 'bn')[kind]}{number + 1}"

# %% tags=["nbval-check-output"]
model = resnet50(rng=np.random.default_rng(0))
print(model.summary((3, 224, 224), depth=1))
names = resnet_torchvision_names(model)
for name in ("0.0.weight", "1.0.body.3.weight", "2.0.shortcut.1.running_mean", "5.1.bias"):
    print(f"{name:28s} → {names[name]}")

# %% [markdown]
# The parameters and multiply-adds of ResNet-50 are torchvision's, and so are all names. Weights that somebody trained with PyTorch can be loaded.
#
# ## Two ways to start and to fail
#
# ### Exercise 7 ★★: begin as if there were no blocks
#
# The last layer of every body is a BatchNorm. Its bias starts at 0 anyway. If its weight does too, the body adds nothing at first, and the block hands x on. The network then begins as a
# shallow one, and each block grows in as its weight moves away from 0. torchvision calls it `zero_init_residual`.
#
# Write zeros *into* the array. Whoever else holds it, an optimizer or a view, has to see them.

# %% exercise="zero_last_norms" points=2 stars=2
#| export model.zoo.resnet
def zero_last_norms(blocks):
    """Set the weight of the last BatchNorm of each body to 0, in place; all else stays.

    Args:
        blocks: a list of Residuals; each body is a NyangFlow that ends with a BatchNorm2d.

    Returns:
        how many numbers were set to 0.

    Source: Goyal et al., Accurate, large minibatch SGD (2017), section 5.1.
    """
    ### BEGIN SOLUTION for each block find the norm, zero its weight in place, and count
    count = 0
    for block in blocks:
        weight = block.body[-1].weight.data
        weight[...] = 0
        count += weight.size
    return count
    ### END SOLUTION

# %%
check(zero_last_norms)

# %% probe="zero_last_norms"
class Fork(NyangModel):
    """What a block holds, without its arithmetic."""

    def __init__(self, body, shortcut, after):
        self.body, self.shortcut, self.after = body, shortcut, after


def probe(zero_last_norms, rng):
    widths = [int(width) for width in rng.permutation([2, 3, 4])]
    blocks = [Fork(NyangFlow(*conv_norm(2, width, 1, rng=rng), ReLU(), *conv_norm(width, width, 1, rng=rng)),
                   NyangFlow(*conv_norm(2, width, 1, rng=rng)), ReLU()) for width in widths]
    deep = NyangFlow(*[layer for block in blocks[:2] for layer in block.body])
    blocks.append(Fork(deep, None, ReLU()))  # a longer body: the last layer is not at place 4
    for parameter in NyangFlow(*blocks).parameters():
        parameter.data[...] = rng.uniform(0.5, 1, parameter.data.shape)
    held = [block.body[-1].weight.data for block in blocks]
    yield "the number of zeros", zero_last_norms(blocks)
    state = NyangFlow(*blocks).state_dict()
    yield "the weights of the last norms", np.concatenate([block.body[-1].weight.data for block in blocks])
    yield "the arrays that were there before", np.concatenate(held)
    yield "the biases of the last norms", np.concatenate([block.body[-1].bias.data for block in blocks])
    yield "the weights of the shortcuts", np.concatenate([block.shortcut[-1].weight.data for block in blocks[:3]])
    yield "the other arrays of the bodies", np.concatenate([a.ravel() for name, a in state.items() if "body" in name])
    yield "the zeros of no blocks", zero_last_norms([])

# %% mistakes="zero_last_norms"
mistake("a new array takes the weight's place", "Whoever held the old array, an optimizer for instance, does not see the zeros. Write into it with [...].",
        swap=("        weight[...] = 0\n", "        block.body[-1].weight.data = np.zeros_like(weight)\n"))
mistake("the first norm is set to 0", "The first norm stands before the ReLU. It is the last one that scales what the body adds: body[-1].",
        swap=("block.body[-1].weight.data", "block.body[1].weight.data"))
mistake("the place 4 is built in", "In a basic block the last layer is at place 4, in a bottleneck at 7. Ask for the last one, whatever its place: body[-1].",
        swap=("block.body[-1].weight.data", "block.body[4].weight.data"))
mistake("the bias is set to 0, the weight is not", "out = weight · xhat + bias: with a weight that is not 0 the body still adds.",
        swap=("block.body[-1].weight.data", "block.body[-1].bias.data"))
mistake("the bias is set to 0 as well", "Only the weight starts at 0. The bias starts there anyway, and in a trained model it must stay.",
        swap=("        weight[...] = 0\n", "        weight[...] = 0\n        block.body[-1].bias.data[...] = 0\n"))
mistake("the blocks are counted, not the numbers", "A norm has one weight per channel. Count them all.",
        swap=("count += weight.size", "count += 1"))
mistake("the shortcut's norm is set to 0 too", "The shortcut has to carry x. With its norm at 0 too, nothing passes through the block.",
        swap=("        weight[...] = 0\n", "        weight[...] = 0\n        if block.shortcut is not None:\n"
              "            block.shortcut[-1].weight.data[...] = 0\n"))
mistake("every norm of the body is set to 0", "The norms before the last one are behind a convolution that should learn. Only what the body adds starts at 0.",
        swap=("        weight[...] = 0\n", "        weight[...] = 0\n        block.body[1].weight.data[...] = 0\n"))

# %% [markdown] hints="zero_last_norms"
# Which layer decides how large the body's output is?
#
# ---
#
# A flow can be indexed: `block.body[-1]` is its last layer. An array is filled in place with `array[...] = value`, and `array.size` counts its
# numbers.
#
# ---
#
# ```python
# count = 0
# for block in blocks:
#     weight = block.body[...]....
#     weight[...] = ...
#     count += ...
# return count
# ```

# %% tags=["nbval-check-output"]
model = resnet20(rng=np.random.default_rng(0))
blocks = [layer for _, layer in model.named_layers() if isinstance(layer, Residual)]
print(f"{zero_last_norms(blocks)} numbers set to 0 in {len(blocks)} blocks")
x = np.random.default_rng(1).normal(size=(4, 3, 32, 32)).astype(np.float32)
before, after = model[:1](x), model[:2](x)
print("the first stage hands its input on unchanged:", np.array_equal(before, after))

# %% [markdown]
# Nine convolution pairs wait for their turn. The input of a stage is never negative, since it comes out of a ReLU. So the ReLU after the sum changes nothing.
#
# ### Exercise 8 ★: break it and say why
#
# A sum of two unrelated signals has a larger variance than either. So somebody takes the mean instead: out = (body(x) + x) / 2, with nothing after it. There are n such blocks in a row, and
# all last norms start at 0, as above. `dout` comes in at the end. What arrives at the input of the first block?

# %% exercise="averaged_shortcuts" points=1 stars=1
def averaged_shortcuts(dout, n):
    """Return the gradient at the input of n blocks out = (body(x) + x) / 2.

    Args:
        dout: the gradient at the end, any shape; the bodies add nothing and send nothing back.
        n: the number of blocks, 0 or more.
    """
    ### BEGIN SOLUTION what one block does to the gradient, n times
    return dout / 2**n
    ### END SOLUTION

# %%
check(averaged_shortcuts)

# %% probe="averaged_shortcuts"
def probe(averaged_shortcuts, rng):
    dout, n = rng.normal(size=(2, 3)), int(rng.integers(3, 9))
    yield "the gradient at the input", averaged_shortcuts(dout, n)
    yield "the gradient where there is no block", averaged_shortcuts(dout, 0)

# %% mistakes="averaged_shortcuts"
@mistake("this is what the right blocks do", "With out = body(x) + x the gradient arrives untouched. Here every block also divides by 2.")
def averaged_shortcuts(dout, n):
    return dout * 1.0

@mistake("the divisions are added up", "Each block halves what the one behind it sent: halves of halves, not n of them side by side.")
def averaged_shortcuts(dout, n):
    return dout / (2 * n) if n else dout * 1.0

@mistake("only one block divides", "Every one of the n blocks divides by 2.")
def averaged_shortcuts(dout, n):
    return dout / 2 if n else dout * 1.0

@mistake("the gradient is doubled", "A division by 2 in forward is a division by 2 in backward.")
def averaged_shortcuts(dout, n):
    return dout * 2.0**n

@mistake("one block is left out", "There are n blocks, and the first one divides too.")
def averaged_shortcuts(dout, n):
    return dout / 2.0 ** max(n - 1, 0)

# %% [markdown] hints="averaged_shortcuts"
# Take one block. The body sends nothing back. What is the slope of x / 2?
#
# ---
#
# Each block multiplies the gradient by ½. In a row, slopes multiply.
#
# ---
#
# ```python
# return dout / ...
# ```

# %% tags=["nbval-check-output"]
left = averaged_shortcuts(np.ones(1), 27)[0]
print(f"ResNet-56 has 27 blocks: of a gradient of 1, {left:.0e} arrives")

# %% [markdown]
# Any factor on the shortcut is raised to the power of the depth. The same holds for what seems harmless: a BatchNorm after the sum scales each shortcut too. The
# shortcut works because nothing stands on it.
#
# ## Use: cats and dogs
#
# Drawn animals of 32 × 32 pixels. Both kinds have the same colours, sizes, poses and backgrounds, and only shape tells them apart. First the number
# to beat: a single `Linear` on the pixels.

# %%
from nyang_edu.data.cats_dogs import CLASSES, cats_dogs_loaders, draw_cats_dogs
from nyang_edu.training.recipe import train_classifier

photos, kinds, masks, _ = draw_cats_dogs(3500, size=32, seed=0)
train_set, test_set = cats_dogs_loaders(photos, kinds, 3000)


def train_on_animals(model, lr, epochs):
    """Train with the recipe of chapter 15: Nesterov momentum, warm-up, cosine."""
    return train_classifier(model, train_set, test_set, lr, epochs, plot=False, progress=False)


linear = NyangFlow(Flatten(), Linear(3 * 32 * 32, 2, rng=np.random.default_rng(0)))
baseline = train_on_animals(linear, lr=0.002, epochs=10)
print(f"a linear model on the pixels: {baseline['valid_accuracy'][-1]:.1%} of 500 new animals")

# %% [markdown]
# Now ResNet-20, at half its width so that it trains here and now: 20 layers, 8 to 32 channels, five passes over 3,000 animals.

# %%
model = resnet20(2, np.random.default_rng(0), width=8)
history = train_on_animals(model, lr=0.1, epochs=5)
print(history)

# %%
fig, ax = plt.subplots(figsize=(6, 3))
ax.plot(history["epoch"], history["valid_accuracy"], "o-", label="ResNet-20, half width")
ax.axhline(baseline["valid_accuracy"][-1], color=GREY, ls="--", label="linear model, after 10 epochs")
ax.axhline(0.95, color=ORANGE, ls=":", label="the floor")
ax.set(xlabel="epoch", ylabel="accuracy on new animals", xticks=history["epoch"], ylim=(0.45, 1))
ax.legend(loc="lower right")
plt.show()

# %% tags=["nbval-check-output"]
reached, linear_reached = history["valid_accuracy"][-1], baseline["valid_accuracy"][-1]
assert linear_reached < 0.75, f"a linear model should stay below 75%, it reaches {linear_reached:.1%}"
assert reached >= 0.95, f"the network should reach 95%, it reaches {reached:.1%}"
print(f"linear below 75%: {linear_reached < 0.75}; ResNet at least 95%: {reached >= 0.95}")

# %% [markdown]
# ### What it looks at
#
# Grad-CAM once more (15). The front ends with the last stage, which has 8 × 8 places. The back is the mean of each map and the `Linear`.

# %%
from nyang_edu.evaluation.grad_cam import grad_cam

animals = test_set.dataset.x  # (500, 3, 32, 32), normalised
with no_memory():
    guess = model.eval()(animals).argmax(axis=1)
heat = grad_cam(model[:-1], model[-1], animals, guess)
large = heat.repeat(4, axis=1).repeat(4, axis=2)  # (500, 32, 32)
fig, axes = plt.subplots(2, 8, figsize=(11, 3.2))
for i, (top, bottom) in enumerate(axes.T):
    top.imshow(photos[3000 + i])
    top.set_title(f"{CLASSES[guess[i]]}, is {CLASSES[kinds[3000 + i]]}")
    bottom.imshow(photos[3000 + i].mean(axis=2), cmap="gray")
    bottom.imshow(heat[i], cmap="inferno", alpha=0.55, extent=(-0.5, 31.5, 31.5, -0.5), interpolation="bilinear")
    top.axis("off"), bottom.axis("off")
plt.show()
on_animal, of_another = ((one * masks[3000:]).sum() / one.sum() for one in (large, np.roll(large, 1, axis=0)))
print(f"the animals cover {masks[3000:].mean():.0%} of their pictures, and {on_animal:.0%} of the heat lies on them")
print(f"laid over the next picture, {of_another:.0%} of it still lies on the animal there")

# %% [markdown]
# Bright places speak for the answer. Look where they lie: on ears and muzzle, or beside the animal? Each of the 8 × 8 places sees most of the
# picture, so the heat is blurred, and part of it lies next to what it is about. As in chapter 16, what the second share has above the third is
# about *this* animal; the rest is that animals and heat both like the middle. Here the two are almost alike: the heat says where such a network
# looks, and hardly what it has seen in this picture. Convincing pictures need a number beside them. Compare right answers with wrong ones.
#
# The third animal inside the network: four maps of the stem, then four of each stage.

# %%
x = animals[2:3]
fig, axes = plt.subplots(2, 8, figsize=(11, 3))
for part in range(4):
    maps = model[:part + 1](x)[0]
    strongest = np.argsort(-maps[:, 1:-1, 1:-1].std(axis=(1, 2)))[:4]
    for ax, channel in zip(axes[part // 2, 4 * (part % 2):][:4], strongest):
        ax.imshow(maps[channel], cmap="viridis")
        ax.set_title(f"{'stage ' + str(part) if part else 'stem'}, {maps.shape[1]} × {maps.shape[2]}", fontsize=8)
        ax.axis("off")
plt.show()

# %% [markdown]
# The stem still draws outlines. With each stage the maps grow coarser, and say less about where and more about what. The bright rims are made by
# the padding: the zeros around a map look like an edge.
#
# ## Against PyTorch
#
# The same network in PyTorch, with torchvision's names.

# %%
try:
    import torch
except ImportError:
    torch = None


def torch_resnet20(classes, width):
    from torch import nn

    class Block(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
            self.conv2, self.bn2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
            self.downsample = nn.Identity() if stride == 1 else nn.Sequential(
                nn.Conv2d(i, o, 1, stride, bias=False), nn.BatchNorm2d(o))

        def forward(self, x):
            out = torch.relu(self.bn1(self.conv1(x)))
            return torch.relu(self.bn2(self.conv2(out)) + self.downsample(x))

    parts, channels = {"conv1": nn.Conv2d(3, width, 3, 1, 1, bias=False), "bn1": nn.BatchNorm2d(width), "relu": nn.ReLU()}, width
    for k, out in enumerate([width, 2 * width, 4 * width]):
        blocks = [Block(channels, out, 2 if k else 1), Block(out, out, 1), Block(out, out, 1)]
        parts[f"layer{k + 1}"], channels = nn.Sequential(*blocks), out
    parts |= {"pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(channels, classes)}
    model = nn.Sequential()
    for name, part in parts.items():
        model.add_module(name, part)
    return model

# %% [markdown]
# Same weights, same batch: the first loss has to agree. Then both go forward and backward in turns, each with a single thread, since two libraries in one process disturb each other. The last line is from the recorded run of
# `python -m benchmarks`, which gives each a process of its own.

# %%
from nyang_edu.training.versus import recorded_ratio, versus_torch

if torch is None:
    print("PyTorch is not installed: nothing to compare with")
else:
    ours, theirs = resnet20(2, np.random.default_rng(0)), torch_resnet20(2, 16)
    names = resnet_torchvision_names(ours)
    difference, mine, other = versus_torch(ours, theirs, animals[:64], kinds[3000:3064], names)
    assert difference < 1e-4, f"the first losses differ by {difference:.1e}"
    print(f"the first losses agree to 1e-4: {difference < 1e-4}")
    print(f"64 images, one thread: {mine:.2f} s here, {other:.2f} s in PyTorch, ratio {mine / other:.1f}")
print(recorded_ratio("resnet20"))

# %% [markdown]
# ## Recap
#
# - Plain networks degrade: beyond some depth even the training loss gets worse, though a solution exists.
# - A residual block adds to what it receives. Its gradient is a sum over both paths, and one of them is the identity.
# - Nothing may stand on the shortcut where it is not needed. A factor there is raised to the power of the depth.
# - Basic block, bottleneck, projection, stage: from these four come ResNet-20 to ResNet-152, in lists of numbers.
#
# `finish` exports `Residual` into `nyang_edu/model/residual.py`, and the blocks and builders into `nyang_edu/model/zoo/resnet.py`.
#
# **References.** He, Zhang, Ren, Sun, *Deep residual learning for image recognition*, CVPR 2016, sections 3 and 4. He, Zhang, Ren, Sun, *Identity mappings in deep residual
# networks*, ECCV 2016, sections 2 and 3. Veit, Wilber, Belongie, *Residual networks behave like ensembles of relatively shallow networks*, NeurIPS 2016, section 3. Yang et al., *A mean field theory of
# batch normalization*, ICLR 2019. Goyal et al., *Accurate, large minibatch SGD*, 2017, section 5.1. Selvaraju et al., *Grad-CAM*, ICCV 2017, section 3.

# %%
finish("17_resnet")
