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
# # 19 · U-Net
#
# **You have** convolution (08), pooling and bilinear upsampling (09), `nyang_train` (13), and from ResNet (17) a container whose
# backward is written once.
#
# **You will build** `SkipConcat`, the container of the U-Net, the network itself, with a ResNet-50 in front where you like, and the losses of
# segmentation: Dice, Lovász, deep supervision.
#
# **It unlocks** every network that answers with a picture.
#
# Time: about 120 minutes. Eight exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.data.satellite import draw_satellite
from nyang_edu.evaluation.segmentation import mean_dice, mean_iou
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.pool import MaxPool2d
from nyang_edu.model.resample import Upsample
from nyang_edu.training.adaptive import AdamW
from nyang_edu.training.loss import BCEWithLogitsLoss
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.plot import BLUE, GREEN, GREY, ORANGE, PALE, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: an answer for every pixel
#
# Which pixels of a satellite tile are roofs? The tiles are drawn, one metre a pixel. Roads, car parks and containers are bright too. Trees hide parts of roofs, and the
# mask keeps them.

# %%
photos, masks = draw_satellite(60, size=64, seed=1)


def outline(ax, mask, colour=ORANGE):
    """Draw the edges of a mask over an image."""
    if mask.any():
        ax.contour(mask, [0.5], colors=[colour], linewidths=1.5)


fig, axes = plt.subplots(1, 6, figsize=(11, 2))
for ax, photo, mask in zip(axes, photos[4:], masks[4:]):
    ax.imshow(photo)
    outline(ax, mask)
    ax.axis("off")
plt.show()

# %% [markdown]
# The simplest idea: bright is roof. The score is *Dice*, twice the overlap over the sum of both areas. It is 1 for equal masks, 0 for masks that do
# not touch. Take the threshold that does best on these very tiles:

# %% tags=["nbval-check-output"]
bright = photos.mean(axis=3)
dices = {level: mean_dice(masks, bright > level) for level in range(0, 250, 5)}
nothing = np.mean(masks == 0)
print(f"the best threshold: Dice {max(dices.values()):.2f}; its IoU: {mean_iou(masks, bright > max(dices, key=dices.get)):.2f}")
print(f"the answer 'no roof anywhere': Dice {mean_dice(masks, np.zeros_like(masks)):.2f}, and {nothing:.0%} of all pixels right")

# %% [markdown]
# So brightness fails, and pixel accuracy is no score. A network then. To know that a bright spot is a roof one must see its surroundings. How much does one
# output see? Each 3 × 3 convolution adds a ring of pixels. Each pooling doubles the width of all later rings.

# %%
def seen(depth):
    """Width of what one unit sees after depth poolings, with two 3×3 convolutions per level."""
    width = 1 + 2 * 2
    for level in range(1, depth + 1):
        width += 2 ** (level - 1) + 2 * 2 * 2**level  # the pooling, then two convolutions
    return width


fig, ax = plt.subplots(figsize=(5.4, 3.2))
ax.imshow(photos[6])
for depth, colour in enumerate(("white", "yellow", "orange", "red")):
    width = seen(depth)
    ax.add_patch(plt.Rectangle((32 - width / 2, 32 - width / 2), width, width, fill=False, ec=colour, lw=2, clip_on=False))
    ax.text(74, 8 + 9 * depth, f"poolings: {depth}, sees {width} × {width}", va="center")
    ax.add_patch(plt.Rectangle((68, 6 + 9 * depth), 4, 4, fc=colour, ec=GREY, clip_on=False))
ax.set(xlim=(-4, 125), ylim=(68, -4))
ax.axis("off")
plt.show()

# %% [markdown]
# So go down to see more. But the answer must have the size of the picture: go up again. `hourglass` does that. Three times down, three times up,
# and at the end one number per pixel, a logit: above 0 means roof.

# %%
from nyang_edu.model.activation import ReLU
from nyang_edu.model.norm import BatchNorm2d


def convs(in_channels, out_channels, rng):
    """Two 3×3 convolutions, each with BatchNorm and ReLU."""
    return NyangFlow(Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng), BatchNorm2d(out_channels), ReLU(),
                     Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng), BatchNorm2d(out_channels), ReLU())


def hourglass(rng, width=8, depth=3):
    """Down and up again, without a way past the middle."""
    body = convs(width * 2 ** (depth - 1), width * 2**depth, rng)
    for level in reversed(range(depth)):
        own = width * 2**level
        body = NyangFlow(convs(own // 2 if level else 3, own, rng), MaxPool2d(2), body,
                         Upsample(scale_factor=2, mode="bilinear"), convs(2 * own, own, rng))
    return NyangFlow(body, Conv2d(width, 1, 1, rng=rng))


def as_input(photos):
    """(N, H, W, 3) bytes → (N, 3, H, W) floats from 0 to 1."""
    return (photos / 255).astype(np.float32).transpose(0, 3, 1, 2).copy()


tiles, roofs = draw_satellite(300, size=64, seed=2)
x_train, y_train = as_input(tiles), roofs[:, None].astype(np.float32)  # (300, 3, 64, 64), (300, 1, 64, 64)


def quick_training(model, steps=120):
    """Train with binary cross-entropy on batches of 8 tiles; return the loss of each step."""
    rng, loss, losses = np.random.default_rng(0), BCEWithLogitsLoss(), []
    optimizer = AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        batch = rng.choice(len(x_train), 8, replace=False)
        optimizer.zero_grad()
        losses.append(loss(model(x_train[batch]), y_train[batch]))
        model.backward(loss.backward())
        optimizer.step()
    return np.array(losses)


def predict(model, photos):
    """Return logits (N, 64, 64), in eval mode."""
    with no_memory():
        return np.concatenate([model.eval()(as_input(photos[i:i + 20]))[:, 0] for i in range(0, len(photos), 20)])

# %%
blind = hourglass(np.random.default_rng(0))
losses = {"hourglass": quick_training(blind)}
answers = {"hourglass": predict(blind, photos)}

# %%
def draw_answers(answers, places=(5, 6, 9, 14)):
    """A row of tiles with their masks' edges, then a row of probabilities per model."""
    fig, axes = plt.subplots(1 + len(answers), len(places), figsize=(2 * len(places), 2 * (1 + len(answers))))
    for column, place in enumerate(places):
        axes[0, column].imshow(photos[place])
        for row, (name, logits) in enumerate(answers.items(), 1):
            axes[row, column].imshow(1 / (1 + np.exp(-logits[place])), vmin=0, vmax=1)
            axes[row, 0].set_title(name, loc="left")
        for ax in axes[:, column]:
            outline(ax, masks[place])
            ax.axis("off")
    plt.show()


draw_answers(answers)

# %% [markdown]
# Dark means roof, orange is the truth. It finds where roofs are, but look at their edges and corners. In the middle the maps are 8 × 8: a corner is lost there, and no
# upsampling brings it back.
#
# ## Idea: hand the fine map across
#
# Eight pixels with an edge. Pool them twice, upsample them twice: the edge is somewhere in between. The input still knows it. So keep the input *beside* what
# came back from below, as one more channel. The next convolution sees both: what it is, and where exactly it ends.

# %%
row = np.array([0, 0, 0, 0, 0, 9, 9, 9.0])
pooled = row.reshape(2, 4).max(axis=1)
back = Upsample(size=(1, 8), mode="bilinear")(pooled.reshape(1, 1, 1, 2))[0, 0, 0]
fig, axes = plt.subplots(3, 1, figsize=(6, 3.2))
draw_matrix(axes[0], row, "x: a roof begins at the sixth pixel", highlight=row > 0)
draw_matrix(axes[1], back.round(1), "what comes back from two poolings", highlight=back > 4.5)
draw_matrix(axes[2], np.stack([row, back.round(1)]), "[x, body(x)]: two channels", highlight=np.stack([row > 0, back > 4.5]))
plt.show()

# %% [markdown]
# Do it at every level. The body of a skip holds a level, which holds a skip, which holds a level. Drawn flat it is the paper's U. Here
# it is drawn as it is built: boxes in boxes.

# %%
def draw_nest(ax, depth=3):
    for k, colour in zip(range(depth + 1), (BLUE, ORANGE, GREEN, GREY)):
        left, right, low, top = 1.5 * k, 12 - 1.5 * k, 0.25 * k, 4.4 - 0.95 * k
        ax.add_patch(plt.Rectangle((left, low), right - left, top - low, facecolor=PALE[colour], edgecolor=colour))
        if k == depth:
            ax.text(6, (low + top) / 2, f"{64 >> k} × {64 >> k}", ha="center", va="center")
            continue
        ax.text(6, top - 0.3, f"{64 >> k} × {64 >> k}", ha="center", va="center", fontsize=9)
        ax.annotate("", (right - 0.15, top - 0.65), (left + 0.15, top - 0.65), arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.5})
    ax.set(xlim=(-0.1, 12.1), ylim=(-0.1, 4.5))
    ax.axis("off")


fig, ax = plt.subplots(figsize=(8, 2.6))
draw_nest(ax)
plt.show()

# %% [markdown]
# Each colour is one level. Inside its box a level pools, enters the next box, comes out and upsamples. Its arrow is the skip: the fine map goes straight across to the exit. There
# both are joined along the channels.
#
# ## Maths
#
# Let $x$ have $C$ channels and $\text{body}(x)$ have $D$. Forward joins, so that channel $k$ of the result is
#
# $$\text{out}_k = \begin{cases} x_k & k < C\\ \text{body}(x)_{k-C} & k \ge C.\end{cases}$$
#
# Backward cuts `dout` at the same place. Each part goes home along its own path, and at the fork both are added:
#
# $$\text{dx} = \text{dout}_{<C} + \text{body.backward}(\text{dout}_{\ge C}).$$
#
# In ResNet both paths received the *same* gradient, because a sum hands it to both. Here each channel belongs to one path.
#
# ## Build: the container
#
# | array | shape | |
# |---|---|---|
# | `x` | (N, C, H, W) | goes straight, and into the body |
# | `body(x)` | (N, D, H, W) | any D, but the same N, H, W |
# | `out`, `dout` | (N, C + D, H, W) | first x, then the body's |
# | `dx` | (N, C, H, W) | the sum of what both paths send back |
#
# ### Exercise 1 ★★★: SkipConcat
#
# Where is the cut? Only forward knows C: save it. The container serves signals (N, C, L) too. Inside a container call `forward`, as in chapter 17.
# `elementwise(np.add, a, b)` is `a + b` on several threads; either will do.

# %%
#| default_exp model.skip
#| export
"""Ways around a body: its input beside its output, and outputs from inside it for the loss."""

import numpy as np

from nyang_edu.model.core import NyangModel
from nyang_edu.utility.layout import elementwise

# %%
#| export model.zoo.unet
"""U-Net: an encoder whose maps skip to the decoder; with convolutions of its own, or ResNet-50."""

from itertools import pairwise

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import MaxPool2d
from nyang_edu.model.resample import Upsample
from nyang_edu.model.skip import SideHead, SideOutputs, SkipConcat
from nyang_edu.model.zoo.resnet import resnet50, resnet_torchvision_names

# %%
#| export training.segmentation_loss
"""Losses of masks: overlap instead of single pixels, and several outputs at several sizes.

All take raw scores (logits) and give 0 for a perfect answer, as those of training/loss.py.
"""

import numpy as np

from nyang_edu.model.activation import sigmoid
from nyang_edu.training.loss import Loss

# %% exercise="SkipConcat" points=4 stars=3
#| export
class SkipConcat(NyangModel):
    """Keep the input beside what a body makes of it: out = [x, body(x)] along the channels.

    Nested around pooling, more levels and upsampling it is a U-Net.
    Shapes: x (N, C, …), body(x) (N, D, …) → out (N, C + D, …).

    Raises:
        ValueError: in forward, where body(x) has another size than x.

    Source: Ronneberger, Fischer, Brox, U-Net (2015), section 2.
    """

    def __init__(self, body):
        self.body = body

    def forward(self, x):
        """Return x and body(x), joined along the channels."""
        ### BEGIN SOLUTION the body's output, the check of the sizes, save where the cut is, join
        deep = self.body.forward(x)
        if deep.shape[:1] + deep.shape[2:] != x.shape[:1] + x.shape[2:]:
            raise ValueError(f"SkipConcat joins maps of one size, received {x.shape} and, from the "
                             f"body, {deep.shape}: pad x until every pooling divides its size")
        self.save(x.shape[1])
        return np.concatenate([x, deep], axis=1)
        ### END SOLUTION

    def backward(self, dout):
        """Return dx: what went straight, plus what went through the body."""
        ### BEGIN SOLUTION cut dout, send the body its part, add
        C = self.saved()
        return elementwise(np.add, self.body.backward(dout[:, C:]), dout[:, :C])
        ### END SOLUTION

# %%
check(SkipConcat)

# %% probe="SkipConcat"
from nyang_edu.model.activation import Tanh
from nyang_edu.model.core import Parameter


class Mix(NyangModel):
    """out[n, d, …] = Σ_c weight[d, c] · x[n, c, …]."""

    def __init__(self, weight):
        self.weight = Parameter(weight)

    def forward(self, x):
        self.save(x)
        return np.einsum("dc,nc...->nd...", self.weight.data, x)

    def backward(self, dout):
        x = self.saved()
        N, D = len(x), len(self.weight.data)
        if dout.shape[1] != D:
            raise ValueError(f"the body returned {D} channels, its backward received {dout.shape[1]}")
        self.weight.grad += np.einsum("ndl,ncl->dc", dout.reshape(N, dout.shape[1], -1), x.reshape(N, x.shape[1], -1))
        return np.einsum("dc,nd...->nc...", self.weight.data, dout)


class Cut(NyangModel):
    """Keep a part of each map."""

    def __init__(self, part):
        self.part = part

    def forward(self, x):
        return x[self.part]


def refusal(layer, x):
    try:
        return f"out of shape {layer(x).shape}"
    except ValueError:
        return "ValueError"


def probe(SkipConcat, rng):
    C, D, H, W = (int(size) for size in rng.permutation([2, 3, 4, 5]))
    N = 6
    square, x0 = SkipConcat(Mix(rng.normal(size=(C, C)))), rng.normal(size=(N, C, N, N))
    yield "out of a body that keeps the shape", square(x0)
    yield "dx of a body that keeps the shape", square.backward(rng.normal(size=(N, 2 * C, N, N)))
    body = Mix(rng.normal(size=(D, C)))
    skip, x, dout = SkipConcat(body), rng.normal(size=(N, C, H, W)), rng.normal(size=(N, C + D, H, W))
    yield "out", skip(x)
    yield "dx", skip.backward(dout)
    yield "the body's weight.grad", body.weight.grad.copy()
    yield "each name in the state", np.array(list(skip.state_dict()))
    nest = SkipConcat(SkipConcat(Mix(rng.normal(size=(D, C)))))
    yield "out of a skip in a skip", nest(x)
    yield "dx of a skip in a skip", nest.backward(rng.normal(size=(N, 2 * C + D, H, W)))
    free, d1, d2 = SkipConcat(Tanh()), rng.normal(size=(N, 2 * C, W)), rng.normal(size=(N, 4 * C, W))
    free(x[:, :, 0])
    free.forward(rng.normal(size=(N, 2 * C, W)))
    yield "dx of the later of two calls", free.backward(d2)
    yield "dx of the earlier of two calls, other widths", free.backward(d1)
    body.forward(x)
    skip.forward(2 * x)
    skip.backward(dout)
    yield "dx of the body, called before the skip", body.backward(dout[:, :D])
    parts = np.s_[:, :, :-1], np.s_[:, :, :, :-1], np.s_[:, :, :1, :1]
    yield "bodies that drop a row, a column, all but a pixel", np.array([refusal(SkipConcat(Cut(part)), x) for part in parts])
    yield "out in float32", skip.to(np.float32)(x.astype(np.float32))

# %% mistakes="SkipConcat"
mistake("the body's output comes first", "First x, then body(x): PyTorch's weights for the next convolution count on this order.",
        swap=("np.concatenate([x, deep], axis=1)", "np.concatenate([deep, x], axis=1)"))
mistake("the samples are joined, not the channels", "axis=0 makes a batch of twice the size. The channels are axis 1.",
        swap=("np.concatenate([x, deep], axis=1)", "np.concatenate([x, deep], axis=0)"))
mistake("the columns are joined, not the channels", "axis=-1 lays the maps next to each other. The channels are axis 1.",
        swap=("np.concatenate([x, deep], axis=1)", "np.concatenate([x, deep], axis=-1)"))
@mistake("the maps are added, not joined", "Adding is what Residual does (17). Here both are kept, one behind the other along the channels.")
class SkipConcat(reference):
    def forward(self, x):
        deep = self.body.forward(x)
        if deep.shape != x.shape:
            return reference.forward(self, x)
        self.save(x.shape[1])
        return x + deep

mistake("dx lacks the straight part", "x went two ways. What comes back for its own channels, dout[:, :C], has to be added.",
        swap=("return elementwise(np.add, self.body.backward(dout[:, C:]), dout[:, :C])",
              "return self.body.backward(dout[:, C:])"))
mistake("dx lacks the body's part", "The body's backward returns its share of dx. Add it to the straight one.",
        swap=("return elementwise(np.add, self.body.backward(dout[:, C:]), dout[:, :C])",
              "self.body.backward(dout[:, C:])\n        return dout[:, :C].copy()"))
mistake("dout is cut in the middle", "The cut is behind x's channels. It is in the middle only where the body keeps their number.",
        swap=("C = self.saved()", "self.saved()\n        C = dout.shape[1] // 2"))
@mistake("the last C channels are taken for x's", "x stands first in out, so its gradient is dout[:, :C].")
class SkipConcat(reference):
    def backward(self, dout):
        C = self.saved()
        D = dout.shape[1] - C
        return dout[:, D:] + self.body.backward(dout[:, :D])

@mistake("the cut is kept in an attribute", "An attribute holds the latest call only. With two calls in a row the first one's cut is gone. Use self.save.")
class SkipConcat(reference):
    def forward(self, x):
        out = reference.forward(self, x)
        self.saved()
        self.cut = x.shape[1]
        return out

    def backward(self, dout):
        self.save(self.cut)
        return reference.backward(self, dout)

@mistake("the body is called as body(x)", "body(x) starts a fresh pass and forgets what was saved before. Inside a container, call forward.")
class SkipConcat(reference):
    def forward(self, x):
        deep = self.body(x)
        out = np.concatenate([x, deep], axis=1)
        self.save(x.shape[1])
        return out

@mistake("maps of another size are cut to fit", "Silent cropping moves edges. Compare the sizes, and raise a ValueError where they differ.")
class SkipConcat(reference):
    def forward(self, x):
        deep = self.body.forward(x)
        self.save(x.shape[1])
        if deep.ndim == 4:
            x = x[:, :, :deep.shape[2], :deep.shape[3]]
        return np.concatenate([x, deep], axis=1)
mistake("the body gets all of dout", "The body made the channels from C on. Only their gradient is its business: dout[:, C:].",
        swap=("self.body.backward(dout[:, C:])", "self.body.backward(dout)"))
@mistake("a single pixel is spread over the whole map", "NumPy stretches an axis of length 1 without a word. Compare the sizes, and raise a ValueError where they differ.")
class SkipConcat(reference):
    def forward(self, x):
        deep, C = self.body.forward(x), x.shape[1]
        out = np.empty((len(x), C + deep.shape[1], *x.shape[2:]), x.dtype)
        out[:, :C], out[:, C:] = x, deep
        self.save(C)
        return out

# %% [markdown] hints="SkipConcat"
# Paint the channels of `out` in two colours, x's and the body's. Forward puts them behind each other. What does each colour's gradient have to pass on its way
# back?
#
# ---
#
# forward: `deep = self.body.forward(x)`; compare all sizes but the channels; `self.save(C)`; `np.concatenate` along axis 1. backward: cut `dout` at C, the second part
# through the body, add the first.
#
# ---
#
# ```python
# # forward
# deep = self.body.forward(x)
# if deep.shape[:1] + deep.shape[2:] != ...:
#     raise ValueError(...)
# self.save(...)
# return np.concatenate([...], axis=...)
#
# # backward
# C = self.saved()
# return ... + self.body.backward(...)
# ```

# %% tags=["nbval-check-output"]
draw = np.random.default_rng(0)
inner = NyangFlow(MaxPool2d(2), Conv2d(2, 3, 3, padding=1, rng=draw), Upsample(scale_factor=2, mode="bilinear"))
level = NyangFlow(SkipConcat(inner), Conv2d(5, 2, 3, padding=1, rng=draw))
errors = gradcheck(level, draw.normal(size=(2, 2, 4, 6)))
print(f"{len(errors)} gradients through pool, body and upsampling, all within 1e-6: {max(errors.values()) < 1e-6}")

# %% [markdown]
# ## The network
#
# ### Exercise 2 ★★: two convolutions
#
# The block of every level: 3 × 3, BatchNorm, ReLU, twice. Between the two stands a `Dropout` that drops a fifth. The paper's convolutions have no padding, so its
# maps shrink and must be cropped at every skip. With padding 1 they keep their size. Its upsampling is a transposed convolution that halves the channels. Ours is
# bilinear, and keeps them.

# %% exercise="double_conv" points=2 stars=2
#| export model.zoo.unet
def double_conv(in_channels, out_channels, rng=None, dropout=0.2):
    """Build conv 3×3 → BatchNorm → ReLU → Dropout → conv 3×3 → BatchNorm → ReLU, as a NyangFlow.

    The convolutions keep the size and have no bias; dropout is the share that is dropped.
    Weights and dropout draw from rng.
    Shapes: x (N, in_channels, H, W) → out (N, out_channels, H, W).

    Source: Ronneberger et al. (2015), section 2; BatchNorm and the padding came later.
    """
    ### BEGIN SOLUTION seven layers in a row
    return NyangFlow(
        Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng),
        BatchNorm2d(out_channels), ReLU(), Dropout(dropout, rng=rng),
        Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng),
        BatchNorm2d(out_channels), ReLU())
    ### END SOLUTION

# %%
check(double_conv)

# %% probe="double_conv"
def perturbed(block, rng):
    """The block in float64, every parameter drawn anew: zeros and ones hide mistakes."""
    for parameter in block.to(np.float64).parameters():
        parameter.data[...] = rng.uniform(0.2, 1, parameter.data.shape) * rng.choice([-1, 1], parameter.data.shape)
    return block


def probe(double_conv, rng):
    few, many, seed = int(rng.integers(2, 4)), int(rng.integers(4, 7)), int(rng.integers(100))
    for name, sizes in {"more channels": (few, many), "fewer channels": (many, few)}.items():
        block = perturbed(double_conv(*sizes, rng=np.random.default_rng(seed)), rng)
        yield f"the layers, {name}", np.array([type(layer).__name__ for layer in block])
        yield f"each name in the state, {name}", np.array(list(block.state_dict()))
        x = rng.normal(size=(3, sizes[0], 5, 6))
        out = block.eval()(x)
        yield f"out in eval mode, {name}", out
        yield f"dx in eval mode, {name}", block.backward(rng.normal(size=out.shape))
    for share in (None, 0.6):
        block = double_conv(few, many, np.random.default_rng(seed), *(() if share is None else (share,)))
        rates = [layer.p for layer in block if hasattr(layer, "p")]
        yield f"the share dropped, {'by default' if share is None else 'as asked for'}", np.array(rates)
    x = rng.normal(size=(3, few, 5, 6)).astype(np.float32)
    outs = [double_conv(few, many, rng=np.random.default_rng(s))(x) for s in (seed, seed, seed + 1)]
    yield "two blocks of one seed, in training", "equal" if np.array_equal(outs[0], outs[1]) else "different"
    states = [double_conv(few, many, rng=np.random.default_rng(s)).state_dict() for s in (seed, seed, seed + 1)]
    weights = [name for name, array in states[0].items() if array.ndim == 4]
    yield "weights that one seed repeats", sum(np.array_equal(states[0][name], states[1][name]) for name in weights)
    yield "weights that another seed repeats", sum(np.array_equal(states[0][name], states[2][name]) for name in weights)

# %% mistakes="double_conv"
mistake("the second convolution reads in_channels", "The first convolution changes the number of channels. The second one receives the new number.",
        swap=("Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng),\n        BatchNorm2d(out_channels), ReLU(), Dropout(dropout, rng=rng),\n        Conv2d(out_channels, out_channels,",
              "Conv2d(in_channels, in_channels, 3, padding=1, bias=False, rng=rng),\n        BatchNorm2d(in_channels), ReLU(), Dropout(dropout, rng=rng),\n        Conv2d(in_channels, out_channels,"))
mistake("the first convolution has no padding", "Without padding a 3 × 3 takes away a pixel on each side. Then the skip's two maps differ in size.",
        swap=("Conv2d(in_channels, out_channels, 3, padding=1,", "Conv2d(in_channels, out_channels, 3,"))
mistake("the second convolution has no padding", "Without padding a 3 × 3 takes away a pixel on each side. Then the skip's two maps differ in size.",
        swap=("Conv2d(out_channels, out_channels, 3, padding=1,", "Conv2d(out_channels, out_channels, 3,"))
mistake("the convolutions have biases", "BatchNorm subtracts each channel's mean, and any bias with it.",
        swap=("return NyangFlow(\n        Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng)",
              "return NyangFlow(\n        Conv2d(in_channels, out_channels, 3, padding=1, rng=rng)"))
mistake("no ReLU at the end", "The block ends with a bend. Without it the next convolution only continues this one's linear map.",
        swap=("        BatchNorm2d(out_channels), ReLU())", "        BatchNorm2d(out_channels))"))
mistake("no ReLU between the convolutions", "Two convolutions without a bend between them are one linear map (04).",
        swap=("BatchNorm2d(out_channels), ReLU(), Dropout(dropout, rng=rng)", "BatchNorm2d(out_channels), Dropout(dropout, rng=rng)"))
mistake("the ReLU comes before the BatchNorm", "First normalise, then bend: convolution, BatchNorm, ReLU.",
        swap=("        BatchNorm2d(out_channels), ReLU())", "        ReLU(), BatchNorm2d(out_channels))"))
mistake("the Dropout stands at the end", "It stands between the two convolutions. At the end it would also blind the skip.",
        swap=("BatchNorm2d(out_channels), ReLU(), Dropout(dropout, rng=rng),\n        Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng),\n        BatchNorm2d(out_channels), ReLU())",
              "BatchNorm2d(out_channels), ReLU(),\n        Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng),\n        BatchNorm2d(out_channels), ReLU(), Dropout(dropout, rng=rng))"))
mistake("the Dropout keeps what it should drop", "p is the share that is dropped. A fifth is 0.2, not 0.8.",
        swap=("Dropout(dropout, rng=rng)", "Dropout(1 - dropout, rng=rng)"))
mistake("the dropped share is built in", "The caller says how much is dropped: hand `dropout` on.", swap=("Dropout(dropout, rng=rng)", "Dropout(0.2, rng=rng)"))
mistake("the Dropout draws from a generator of its own", "Without rng it draws anew in every run, and no training can be repeated.",
        swap=("Dropout(dropout, rng=rng)", "Dropout(dropout)"))
mistake("rng does not reach the second convolution", "Every layer of a model draws from the one generator. Otherwise no run can be repeated.",
        swap=("Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng)", "Conv2d(out_channels, out_channels, 3, padding=1, bias=False)"))
def layers_of(in_channels, out_channels, rng, dropout, first=(), second=(), **settings):
    """A block whose layers are exchanged, to write mistakes down briefly."""
    convs = [Conv2d(channels, out_channels, 3, rng=rng, **{"padding": 1, "bias": False} | settings)
             for channels in (in_channels, out_channels)]
    kinds = {"norm": lambda: BatchNorm2d(out_channels), "relu": ReLU, "drop": lambda: Dropout(dropout, rng=rng)}
    first, second = first or ("norm", "relu", "drop"), second or ("norm", "relu")
    return NyangFlow(convs[0], *[kinds[kind]() for kind in first], convs[1], *[kinds[kind]() for kind in second])

@mistake("neither convolution has padding", "Without padding a 3 × 3 takes away a pixel on each side. Then the skip's two maps differ in size.")
def double_conv(in_channels, out_channels, rng=None, dropout=0.2):
    return layers_of(in_channels, out_channels, rng, dropout, padding=0)

@mistake("both convolutions have biases", "BatchNorm subtracts each channel's mean, and any bias with it.")
def double_conv(in_channels, out_channels, rng=None, dropout=0.2):
    return layers_of(in_channels, out_channels, rng, dropout, bias=True)

@mistake("both ReLUs come before their BatchNorm", "First normalise, then bend: convolution, BatchNorm, ReLU.")
def double_conv(in_channels, out_channels, rng=None, dropout=0.2):
    return layers_of(in_channels, out_channels, rng, dropout, ("relu", "norm", "drop"), ("relu", "norm"))

@mistake("there is no Dropout", "Between the two convolutions stands a Dropout. A share of 0 switches it off; its place stays.")
def double_conv(in_channels, out_channels, rng=None, dropout=0.2):
    return layers_of(in_channels, out_channels, rng, dropout, ("norm", "relu"))

@mistake("a Dropout stands behind each ReLU", "One Dropout, between the two convolutions. A second one at the end would blind the skip.")
def double_conv(in_channels, out_channels, rng=None, dropout=0.2):
    return layers_of(in_channels, out_channels, rng, dropout, (), ("norm", "relu", "drop"))

@mistake("the generator is made inside", "One built-in seed gives every block the same weights. Draw from the rng that the caller hands in.")
def double_conv(in_channels, out_channels, rng=None, dropout=0.2):
    return reference(in_channels, out_channels, np.random.default_rng(0), dropout)

mistake("both convolutions read in_channels", "The first convolution changes the number of channels. The second one receives the new number.",
        swap=("Conv2d(out_channels, out_channels, 3,", "Conv2d(in_channels, out_channels, 3,"))

# %% [markdown] hints="double_conv"
# The text says the order of the layers. Which of them need to know a number of channels, and which number?
#
# ---
#
# Conv2d(in → out), BatchNorm2d(out), ReLU, Dropout, Conv2d(out → out), BatchNorm2d(out), ReLU. Kernel 3 with padding 1 keeps the size; bias=False; `rng=rng`
# for everything that draws.
#
# ---
#
# ```python
# return NyangFlow(
#     Conv2d(..., ..., 3, padding=..., bias=..., rng=rng), BatchNorm2d(...), ReLU(),
#     Dropout(..., rng=rng),
#     Conv2d(...), ...)
# ```

# %% [markdown]
# ### Exercise 3 ★: predict the channels on the way up
#
# Level k has `width · 2**k` channels on both sides of the U, the bottom is level `depth`. Upsampling changes no channels. How many enter the `double_conv` of each
# level on the way up? Start with the deepest of them.

# %% exercise="channels_up" points=1 stars=1 reveal=false
def channels_up(width, depth):
    """List the channels that enter each double_conv on the way up, deepest level first."""
    ### BEGIN SOLUTION for each level from depth − 1 to 0: its own channels, and those from below
    return [width * 2**k + width * 2 ** (k + 1) for k in reversed(range(depth))]
    ### END SOLUTION

# %%
check(channels_up)

# %% probe="channels_up"
def probe(channels_up, rng):
    width, depth = int(rng.integers(5, 40)), int(rng.integers(2, 6))
    yield "the channels", np.array(channels_up(width, depth))

# %% mistakes="channels_up"
@mistake("the skip is not counted", "What comes from below keeps its channels: bilinear upsampling does not halve them, as the paper's does. What skips across is added.")
def channels_up(width, depth):
    return [width * 2 ** (k + 1) for k in reversed(range(depth))]

@mistake("what comes from below is not counted", "Upsampling keeps the channels of the level below, which are twice this level's.")
def channels_up(width, depth):
    return [width * 2**k for k in reversed(range(depth))]

@mistake("the list starts at the top", "On the way up the deepest level comes first.")
def channels_up(width, depth):
    return [3 * width * 2**k for k in range(depth)]

@mistake("the bottom is counted as a level of the way up", "At the bottom nothing has been upsampled yet: the way up has `depth` levels.")
def channels_up(width, depth):
    return [3 * width * 2**k for k in reversed(range(depth + 1))]

@mistake("the skip is taken to have the channels from below", "What skips across has this level's channels, half of those from below.")
def channels_up(width, depth):
    return [4 * width * 2**k for k in reversed(range(depth))]
@mistake("the joined channels are handed up whole", "A double_conv gives back its level's own number of channels, not all that it read.")
def channels_up(width, depth):
    return [width * (2**depth + sum(2**j for j in range(k, depth))) for k in reversed(range(depth))]

@mistake("every level reads the bottom's channels", "From below comes what the level just below has returned: twice this level's channels.")
def channels_up(width, depth):
    return [width * (2**depth + 2**k) for k in reversed(range(depth))]

@mistake("the levels are counted from 1", "The finest level is 0 and has width channels. The deepest with a skip is depth − 1.")
def channels_up(width, depth):
    return [3 * width * 2**k for k in range(depth, 0, -1)]

# %% [markdown] hints="channels_up"
# Two things are joined there. Where does each of them come from?
#
# ---
#
# From the skip: the level's own channels. From below, upsampled: those of level k + 1. The levels on the way up are depth − 1, …, 0.
#
# ---
#
# ```python
# return [... + ... for k in reversed(range(depth))]
# ```

# %% [markdown]
# ### Exercise 4 ★★: a level
#
# One level of the nest: its `stage` on the way down, then the skip around everything deeper, then a `double_conv` on what the skip has joined. What is deeper begins with a
# pooling, so it comes back at half the size: double it, bilinearly.

# %% exercise="unet_level" points=3 stars=2
#| export model.zoo.unet
def unet_level(stage, deeper, in_channels, out_channels, rng=None, dropout=0.2):
    """Nest a level around what is deeper: stage → skip around (deeper → ×2 bilinear) → double_conv.

    Args:
        stage: a layer, (N, ·, H, W) → (N, C, H, W).
        deeper: a layer, (N, C, H, W) → (N, D, H/2, W/2).
        in_channels, out_channels, rng, dropout: of the double_conv; in_channels is C + D.

    Returns:
        a NyangFlow of three layers, (N, ·, H, W) → (N, out_channels, H, W).
    """
    ### BEGIN SOLUTION upsample behind deeper, put the skip around both, a double_conv behind the skip
    raised = NyangFlow(deeper, Upsample(scale_factor=2, mode="bilinear"))
    return NyangFlow(stage, SkipConcat(raised),
                     double_conv(in_channels, out_channels, rng, dropout))
    ### END SOLUTION

# %%
check(unet_level)

# %% probe="unet_level"
def probe(unet_level, rng):
    B, C, D, out, seed = 2, *(int(size) for size in rng.permutation([2, 3, 4])), int(rng.integers(100))
    stage = Conv2d(B, C, 3, padding=1, rng=rng)
    deeper = NyangFlow(MaxPool2d(2), Conv2d(C, D, 1, rng=rng))
    level = unet_level(stage, deeper, C + D, out, np.random.default_rng(seed)).to(np.float64)
    yield "the number of layers", len(level)
    for share in (None, 0.6):
        made = unet_level(stage, deeper, C + D, out, rng, *(() if share is None else (share,)))
        rates = [layer.p for _, layer in made.named_layers() if hasattr(layer, "p")]
        yield f"the share dropped, {'by default' if share is None else 'as asked for'}", np.array(rates)
    yield "each name in the state", np.array(list(level.state_dict()))
    for parameter in level.parameters():
        parameter.data[...] = rng.uniform(0.2, 1, parameter.data.shape) * rng.choice([-1, 1], parameter.data.shape)
    x = rng.normal(size=(2, B, 6, 8))
    made = level.eval()(x)
    yield "out in eval mode", made
    yield "dx in eval mode", level.backward(rng.normal(size=made.shape))
    yield "a gradient reaches the stage", bool(stage.weight.grad.any())
    states = [unet_level(stage, deeper, C + D, out, np.random.default_rng(s)).state_dict() for s in (seed, seed, seed + 1)]
    weights = [name for name, array in states[0].items() if array.ndim == 4]
    yield "weights that one seed repeats", sum(np.array_equal(states[0][name], states[1][name]) for name in weights)
    yield "weights that another seed repeats", sum(np.array_equal(states[0][name], states[2][name]) for name in weights)

# %% mistakes="unet_level"
mistake("the upsampling repeats pixels", 'mode="nearest" leaves blocks of equal pixels. Ask for mode="bilinear".',
        swap=('mode="bilinear"', 'mode="nearest"'))
mistake("the upsampling lays the corners over each other", "align_corners=False, the default, keeps the edges of both maps in place, so that the skip's pixels meet theirs.",
        swap=('mode="bilinear"', 'mode="bilinear", align_corners=True'))
mistake("nothing is upsampled", "What comes back from below has half the size. Double it inside the skip.",
        swap=('NyangFlow(deeper, Upsample(scale_factor=2, mode="bilinear"))', "deeper"))
mistake("the upsampling stands before what is deeper", "Go down first: `deeper` pools. What comes back is upsampled.",
        swap=('NyangFlow(deeper, Upsample(scale_factor=2, mode="bilinear"))', 'NyangFlow(Upsample(scale_factor=2, mode="bilinear"), deeper)'))
mistake("the upsampling stands behind the skip", "The skip joins maps of one size, so the upsampling belongs inside it.",
        swap=("""    raised = NyangFlow(deeper, Upsample(scale_factor=2, mode="bilinear"))
    return NyangFlow(stage, SkipConcat(raised),""", """    return NyangFlow(stage, SkipConcat(deeper), Upsample(scale_factor=2, mode="bilinear"),"""))
mistake("the skip is left out", "Without SkipConcat the level is an hourglass, and double_conv receives too few channels.",
        swap=("SkipConcat(raised)", "raised"))
mistake("the stage is inside the skip", "The skip hands on what the stage has made, not what the stage received.",
        swap=("return NyangFlow(stage, SkipConcat(raised),", "return NyangFlow(SkipConcat(NyangFlow(stage, raised)),"))
mistake("the double_conv is left out", "The skip only lays the maps next to each other. The double_conv reads both.",
        swap=("SkipConcat(raised),\n                     double_conv(in_channels, out_channels, rng, dropout))", "SkipConcat(raised))"))
mistake("the double_conv's channels are swapped", "It takes in_channels, what the skip has joined, and gives out_channels.",
        swap=("double_conv(in_channels, out_channels, rng, dropout)", "double_conv(out_channels, in_channels, rng, dropout)"))
mistake("dropout is not handed on", "The caller says how much the double_conv drops: hand `dropout` on. Otherwise half of the network keeps 0.2.",
        swap=("double_conv(in_channels, out_channels, rng, dropout)", "double_conv(in_channels, out_channels, rng)"))
mistake("rng is not handed on", "Every layer of a model draws from the one generator. Otherwise no run can be repeated.",
        swap=("double_conv(in_channels, out_channels, rng, dropout)", "double_conv(in_channels, out_channels, dropout=dropout)"))
mistake("the double_conv is inside the skip", "It has to read what the skip has joined, so it stands behind it.",
        swap=("""    raised = NyangFlow(deeper, Upsample(scale_factor=2, mode="bilinear"))
    return NyangFlow(stage, SkipConcat(raised),
                     double_conv(in_channels, out_channels, rng, dropout))""",
              """    raised = NyangFlow(deeper, Upsample(scale_factor=2, mode="bilinear"), double_conv(in_channels, out_channels, rng, dropout))
    return NyangFlow(stage, SkipConcat(raised))"""))
mistake("the maps are pooled once more", "What is deeper begins with a pooling of its own. Do not pool twice.",
        swap=("NyangFlow(deeper, Upsample", "NyangFlow(MaxPool2d(2), deeper, Upsample"))
mistake("rng and dropout are exchanged", "double_conv takes rng first, then dropout. Names make it safe: rng=rng, dropout=dropout.",
        swap=("double_conv(in_channels, out_channels, rng, dropout)", "double_conv(in_channels, out_channels, dropout, rng)"))

# %% [markdown] hints="unet_level"
# Look at one box of the picture. What stands left of the skip, what inside, what right of it?
#
# ---
#
# Inside the skip: `deeper`, then `Upsample(scale_factor=2, mode="bilinear")`, as one NyangFlow. The level: stage, SkipConcat, double_conv.
#
# ---
#
# ```python
# raised = NyangFlow(..., Upsample(scale_factor=..., mode=...))
# return NyangFlow(..., SkipConcat(...), double_conv(..., ..., rng, dropout))
# ```

# %% [markdown]
# The rest is wiring. `unet_nest` builds the boxes from the innermost to the outermost. An encoder is a list of stages, whatever they are
# made of. The U-Net's own are a `double_conv`, from the second one on behind a pooling. (`deep_supervision` comes later.)

# %%
#| export model.zoo.unet
def unet_nest(stages, channels, widths, num_classes=1, rng=None, *, dropout=0.2,
              deep_supervision=False):
    """Nest an encoder's stages into a U: the innermost level first, each in the one above.

    Args:
        stages: layers from the finest to the coarsest; each but the first halves the maps.
        channels: what each stage returns.
        widths: what each level but the coarsest returns on the way up, one fewer.
        num_classes, deep_supervision: whether each level below the finest gets a SideHead.
        rng, dropout: as double_conv.
    """
    body, deep = stages[-1], channels[-1]
    for k in reversed(range(len(widths))):
        body = unet_level(stages[k], body, channels[k] + deep, widths[k], rng, dropout)
        deep = widths[k]
        if deep_supervision and k > 0:
            body = NyangFlow(body, SideHead(Conv2d(deep, num_classes, 1, rng=rng)))
    return body


def unet(in_channels=3, num_classes=1, width=64, depth=4, rng=None, *, dropout=0.2,
         deep_supervision=False):
    """Build a U-Net: depth poolings, width · 2^k channels at level k, bilinear upsampling.

    Shapes: x (N, in_channels, H, W) → logits (N, num_classes, H, W); 2^depth divides H and W.
    With deep_supervision, in training, a list of logits: also those of the coarser levels.

    Source: Ronneberger, Fischer, Brox, U-Net (2015), figure 1.
    """
    rng = rng or np.random.default_rng()
    channels = [width * 2**k for k in range(depth + 1)]
    stages = [double_conv(in_channels, width, rng, dropout)]
    stages += [NyangFlow(MaxPool2d(2), double_conv(own, deeper, rng, dropout))
               for own, deeper in pairwise(channels)]
    body = unet_nest(stages, channels, channels[:-1], num_classes, rng, dropout=dropout,
                     deep_supervision=deep_supervision)
    model = NyangFlow(body, Conv2d(width, num_classes, 1, rng=rng))
    return SideOutputs(model) if deep_supervision else model

# %% tags=["nbval-check-output"]
from nyang_edu.model.watch import watch_layers


def print_skips(name, layer, inputs, out):
    """Print what comes into a skip, and what goes out of it."""
    if isinstance(layer, SkipConcat):
        print(f"x {inputs[0].shape[1:]!s:14} → [x, body(x)] {out.shape[1:]}")


model = unet(width=8, depth=3, rng=np.random.default_rng(0)).eval()
with no_memory(), watch_layers(model, print_skips, containers=True):
    print("out", model(x_train[:1]).shape[1:])
print(f"at the paper's width and depth: {sum(one.data.size for one in unet(rng=np.random.default_rng(0)).parameters()):,} parameters")

# %% [markdown]
# The innermost skip returns first. Now the experiment of the beginning, with skips. Same width, depth, steps and batches; no dropout in
# either.

# %% tags=["nbval-check-output"]
seeing = unet(width=8, depth=3, rng=np.random.default_rng(0), dropout=0)
losses["U-Net"] = quick_training(seeing)
answers["U-Net"] = predict(seeing, photos)
scores = {name: mean_dice(masks, logits > 0) for name, logits in answers.items()}
print("with skips the loss of the last 30 steps is lower:", bool(losses["U-Net"][-30:].mean() < losses["hourglass"][-30:].mean()))
print("and Dice on new tiles is higher:", bool(scores["U-Net"] > scores["hourglass"]))

# %%
draw_answers(answers)
print({name: round(score, 2) for name, score in scores.items()})

# %% [markdown]
# Compare the edges. The skips bring them across. (The U-Net has more weights too, in the convolutions that read the joined maps.)
#
# ## Losses that see overlap
#
# Most pixels are ground. What does binary cross-entropy think of a lazy model that says the same probability p everywhere? Take a tile with 4 % roof.

# %%
share, p = 0.04, np.linspace(0.001, 0.999, 999)
bce = -(share * np.log(p) + (1 - share) * np.log(1 - p))
dice = 1 - 2 * share * p / (share + p)
fig, axes = plt.subplots(1, 2, figsize=(8, 2.6))
for ax, curve, name in zip(axes, (bce, dice), ("binary cross-entropy", "Dice loss")):
    ax.plot(p, curve)
    ax.plot(p[curve.argmin()], curve.min(), "o", color=ORANGE)
    ax.axvline(0.5, color=GREY, ls=":")
    ax.set(xlabel="the same p everywhere", title=name)
axes[0].set_ylim(0, 2)
axes[0].text(0.52, 1.7, "roof from here on", color=GREY)
plt.show()

# %% tags=["nbval-check-output"]
print(f"cross-entropy likes p = {p[bce.argmin()]:.2f} best: the mask is empty, Dice 0")
print(f"the Dice loss likes p = {p[dice.argmin()]:.2f} best, and has nothing to gain from an empty mask")

# %% [markdown]
# Cross-entropy is content: p is right on average, and no pixel is roof. The Dice loss asks about overlap, and falls all the way to p = 1. It would rather have everything than
# nothing. Each corrects the other, so people add both.
#
# ### Exercise 5 ★★★: the Dice loss
#
# Replace the mask by probabilities $p = \sigma(z)$, and count softly. With sums over all pixels of *one* tile,
#
# $$\text{Dice} = \frac{2\sum p\,t + \epsilon}{\sum p + \sum t + \epsilon} = \frac{a}{b}, \qquad L = 1 - \text{mean over tiles of } \frac{a}{b}.$$
#
# Per tile, so that a single hut counts as much as a town. $\epsilon = 1$ keeps an empty tile from 0/0. For the gradient: $\partial a/\partial p = 2t$ and
# $\partial b/\partial p = 1$, then the quotient rule, then the slope of σ, and 1/N for the mean.

# %% exercise="DiceLoss" points=4 stars=3
#| export training.segmentation_loss
class DiceLoss(Loss):
    """Soft Dice per sample: 1 − mean of (2 Σ p·t + eps) / (Σ p + Σ t + eps), p = sigmoid(pred).

    Shapes: pred (logits) and target (0…1), both (N, …) → float; dpred as pred. Sums go over
    everything but the samples.

    Raises:
        ValueError: where the shapes differ. TypeError: where pred is not of floats.

    Source: Milletari, Navab, Ahmadi, V-Net (2016), section 3, without its squares.
    """

    def __init__(self, eps=1.0):
        self.eps = float(eps)

    def forward(self, pred, target):
        """Return the mean over the samples."""
        target = self.match_shape(pred, target)
        ### BEGIN SOLUTION p, the two sums a and b of each sample, save what backward needs
        p, axes = sigmoid(pred), tuple(range(1, pred.ndim))
        a = 2 * (p * target).sum(axes, keepdims=True) + self.eps  # (N, 1, …)
        b = (p + target).sum(axes, keepdims=True) + self.eps
        self.save(p, target, a, b)
        return float(1 - (a / b).mean())
        ### END SOLUTION

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        ### BEGIN SOLUTION the quotient rule, the mean, the slope of the sigmoid
        p, target, a, b = self.saved()
        dp = (a - 2 * target * b) / (b**2 * len(p))
        return dp * p * (1 - p)
        ### END SOLUTION

# %%
check(DiceLoss)

# %% probe="DiceLoss"
def probe(DiceLoss, rng):
    N, H, W = (int(size) for size in rng.permutation([3, 4, 5]))
    pred, target = rng.normal(size=(N, 1, H, W)) * 2, (rng.random((N, 1, H, W)) < 0.4).astype(float)
    target[:, 0, 0, :2] = 1, 0
    loss = DiceLoss()
    yield "the loss", loss(pred, target)
    yield "dpred", loss.backward()
    other = DiceLoss(eps=float(rng.uniform(2, 4)))
    yield "the loss with another eps", other(pred, target)
    yield "dpred with another eps", other.backward()
    pair = rng.normal(size=(2, 2, 7))
    yield "the loss of an empty target", loss(pair[:1], np.zeros((1, 2, 7)))
    yield "dpred of an empty target", loss.backward()
    loss(pred, target)
    loss.forward(pair, (pair > 0.3) * 1.0)
    yield "dpred of the later of two calls", loss.backward()
    yield "dpred of the earlier of two calls", loss.backward()
    loss(pred.astype(np.float32), target.astype(np.float32))
    yield "dpred in float32", loss.backward()

# %% mistakes="DiceLoss"
mistake("the sums go over the whole batch", "Sum over the pixels of each sample, and take the mean of the samples' scores afterwards.",
        swap=("tuple(range(1, pred.ndim))", "tuple(range(pred.ndim))"))
mistake("the logits are taken for probabilities", "pred holds logits. Probabilities are sigmoid(pred).", swap=("p, axes = sigmoid(pred), ", "p, axes = pred, "))
mistake("the score is returned, not the loss", "Dice is 1 for a perfect answer. The loss is 1 minus it.",
        swap=("float(1 - (a / b).mean())", "float((a / b).mean())"))
@mistake("the 2 is missing", "Each common pixel is counted in both areas below, so it counts twice above. Otherwise a perfect answer scores ½.")
class DiceLoss(reference):
    def forward(self, pred, target):
        p, axes = sigmoid(pred), tuple(range(1, pred.ndim))
        a = (p * target).sum(axes, keepdims=True) + self.eps
        b = (p + target).sum(axes, keepdims=True) + self.eps
        self.save(p, target, a, b)
        return float(1 - (a / b).mean())

    def backward(self):
        p, target, a, b = self.saved()
        return (a - target * b) / (b**2 * len(p)) * p * (1 - p)

mistake("eps is missing above", "eps stands above and below: an empty answer to an empty tile then scores 1.",
        swap=("keepdims=True) + self.eps  # (N, 1, …)", "keepdims=True)"))
mistake("eps is missing below", "eps stands above and below.", swap=("b = (p + target).sum(axes, keepdims=True) + self.eps", "b = (p + target).sum(axes, keepdims=True)"))
@mistake("eps is built in", "The caller chooses eps: use self.eps.")
class DiceLoss(reference):
    def __init__(self, eps=1.0):
        self.eps = 1.0

@mistake("the areas are sums of squares", "That is V-Net's form. Here both areas are plain sums.")
class DiceLoss(reference):
    def forward(self, pred, target):
        p, axes = sigmoid(pred), tuple(range(1, pred.ndim))
        a = 2 * (p * target).sum(axes, keepdims=True) + self.eps
        b = (p**2 + target**2).sum(axes, keepdims=True) + self.eps
        self.save(p, target, a, b)
        return float(1 - (a / b).mean())

    def backward(self):
        p, target, a, b = self.saved()
        return (2 * p * a - 2 * target * b) / (b**2 * len(p)) * p * (1 - p)

mistake("the mask is cut before it is counted", "A threshold has slope 0 nearly everywhere. Count probabilities.",
        swap=("p, axes = sigmoid(pred), ", "p, axes = (pred > 0).astype(pred.dtype), "))
mistake("the slope of the sigmoid is missing", "The quotient rule gives the gradient by p. The logits are one step further back: times p (1 − p).",
        swap=("return dp * p * (1 - p)", "return dp"))
mistake("the lower sum is taken for a constant", "p stands below as well. The quotient rule has two terms.",
        swap=("(a - 2 * target * b)", "(-2 * target * b)"))
mistake("dpred is not divided by the number of samples", "forward takes the mean over N samples, so each gets 1/N.",
        swap=("(b**2 * len(p))", "b**2"))
mistake("dpred is divided by the number of pixels", "The mean is over the N samples. The pixels are summed.",
        swap=("(b**2 * len(p))", "(b**2 * p.size)"))
mistake("dpred points uphill", "The loss is 1 − a/b: its gradient has the opposite sign of the quotient's.",
        swap=("(a - 2 * target * b)", "(2 * target * b - a)"))
@mistake("what backward needs is kept in an attribute", "An attribute holds the latest call only. self.save and self.saved keep one for each call.")
class DiceLoss(reference):
    def forward(self, pred, target):
        value = reference.forward(self, pred, target)
        self.latest = self.saved()
        return value

    def backward(self):
        self.save(*self.latest)
        return reference.backward(self)
mistake("the 2 is missing in the gradient", "a holds 2 Σ p·t, so its slope by p is 2t.",
        swap=("(a - 2 * target * b)", "(a - target * b)"))
mistake("b is not squared", "The quotient rule divides by the square of the lower part.",
        swap=("(b**2 * len(p))", "(b * len(p))"))
mistake("each channel is summed alone", "The sums go over everything but the samples, whatever axes there are: range(1, pred.ndim).",
        swap=("tuple(range(1, pred.ndim))", "tuple(range(2, pred.ndim))"))
@mistake("the whole batch is one sample, also in the gradient", "Sum over the pixels of each sample, and take the mean of the samples' scores afterwards.")
class DiceLoss(reference):
    def forward(self, pred, target):
        p = sigmoid(pred)
        a, b = 2 * (p * target).sum() + self.eps, (p + target).sum() + self.eps
        self.save(p, target, a, b)
        return float(1 - a / b)

    def backward(self):
        p, target, a, b = self.saved()
        return ((a - 2 * target * b) / b**2 * p * (1 - p)).astype(p.dtype)

# %% [markdown] hints="DiceLoss"
# Which axes are summed, and which one is left over for the mean? With keepdims=True the sums meet the pixels again in backward.
#
# ---
#
# axes = (1, 2, …, ndim − 1). a = 2 Σ p·t + eps, b = Σ p + Σ t + eps. The derivative of −a/b by p is (a − 2 t b) / b². Then 1/N, then p (1 − p).
#
# ---
#
# ```python
# # forward
# p, axes = sigmoid(pred), tuple(range(1, pred.ndim))
# a = 2 * (...).sum(axes, keepdims=True) + self.eps
# b = ...
# self.save(p, target, a, b)
# return float(1 - ...)
#
# # backward
# p, target, a, b = self.saved()
# dp = (a - ...) / (...)
# return dp * ...
# ```

# %% [markdown]
# ### Lovász: the IoU itself
#
# The Dice loss counts softly because a hard count has no slope. There is another way. Give each pixel an error: 0 where the logit is safely right, growing where it is
# wrong. Sort the pixels, the worst first. If exactly the worst $k$ were wrong, this much IoU would be lost:
#
# $$J_k = 1 - \frac{G - c_k}{G + k - c_k},$$
#
# with $G$ roof pixels in all, $c_k$ of them among the worst $k$. Pixel $k$ is to blame for the step $J_k - J_{k-1}$. That step is its *weight*, and the loss is $\sum_k
# \text{weight}_k \cdot \text{error}_k$. (That is the Lovász extension of the lost IoU: a convex surface through its values at the corners, where each error is 0 or 1.)
#
# ### Exercise 6 ★★★: the weights

# %% exercise="lovasz_gradient" points=3 stars=3
#| export training.segmentation_loss
def lovasz_gradient(truth):
    """Compute the weight of each sorted error: the steps J_k − J_{k−1} of the lost IoU, J_0 = 0.

    Args:
        truth: (P,) of 0 and 1, or booleans: is pixel k of the object, the worst error first?

    Returns:
        (P,) float64, none negative, their sum 1.

    Source: Berman, Rannen Triki, Blaschko, The Lovász-Softmax loss (2018), algorithm 1.
    """
    ### BEGIN SOLUTION J for k = 1 … P from cumulative sums, then the steps
    truth = np.asarray(truth, dtype=np.float64)
    k, found = np.arange(1, len(truth) + 1), np.cumsum(truth)
    lost = 1 - (truth.sum() - found) / (truth.sum() + k - found)
    return np.diff(lost, prepend=0.0)
    ### END SOLUTION

# %%
check(lovasz_gradient)

# %% probe="lovasz_gradient"
def probe(lovasz_gradient, rng):
    P = int(rng.integers(7, 14))
    truth = (rng.random(P) < 0.5).astype(float)
    truth[:4] = rng.permutation([0, 1, 0, 1])
    yield "the weights", lovasz_gradient(truth)
    yield "the weights where ground comes first", lovasz_gradient(np.concatenate([[0, 0], truth]))
    yield "the weights where the object comes first", lovasz_gradient(np.concatenate([[1, 1], truth]))
    yield "the weights without an object", lovasz_gradient(np.zeros(P))
    yield "the weights of nothing but the object", lovasz_gradient(np.ones(P))
    yield "the weights of booleans", lovasz_gradient(truth > 0.5)

# %% mistakes="lovasz_gradient"
mistake("the lost IoU is returned, not its steps", "Each pixel is to blame for what it adds: J_k − J_{k−1}.",
        swap=("return np.diff(lost, prepend=0.0)", "return lost"))
mistake("the IoU is taken, not what is lost of it", "J is 1 minus the IoU: it begins at 0, when nothing is wrong, and ends at 1.",
        swap=("lost = 1 - (truth.sum() - found)", "lost = (truth.sum() - found)"))
mistake("the first step is lost", "There are P weights. The first step is from J_0 = 0 to J_1.",
        swap=("return np.diff(lost, prepend=0.0)", "return np.append(np.diff(lost), 0.0)"))
mistake("the union counts the object's pixels twice", "A wrong pixel of the object is in the union already. Only wrong pixels of the ground, k − c_k, enlarge it.",
        swap=("(truth.sum() + k - found)", "(truth.sum() + k)"))
mistake("the union does not grow", "A ground pixel taken for roof makes the union larger by one.",
        swap=("/ (truth.sum() + k - found)", "/ max(truth.sum(), 1)"))
mistake("Dice is taken, not IoU", "The IoU divides the intersection by the union, without a 2.",
        swap=("lost = 1 - (truth.sum() - found) / (truth.sum() + k - found)",
              "lost = 1 - 2 * (truth.sum() - found) / np.maximum(2 * truth.sum() + k - 2 * found, 1)"))
mistake("ground and object are exchanged", "c_k counts the object's pixels among the worst k.",
        swap=("truth = np.asarray(truth, dtype=np.float64)", "truth = 1 - np.asarray(truth, dtype=np.float64)"))
mistake("k begins at 0", "The first pixel is the worst one alone: k = 1.",
        swap=("np.arange(1, len(truth) + 1)", "np.arange(len(truth))"))
mistake("all pixels get the same weight", "Equal weights give the mean error. The weights depend on what each error does to the IoU.",
        swap=("return np.diff(lost, prepend=0.0)", "return np.full(len(truth), 1 / len(truth))"))
mistake("one weight too few", "np.diff of P numbers has P − 1 steps. The first step, from J_0 = 0, is missing: prepend a 0.",
        swap=("return np.diff(lost, prepend=0.0)", "return np.diff(lost)"))
mistake("the first step is 0", "J_0 is 0, not J_1: the first weight is J_1 itself.",
        swap=("np.diff(lost, prepend=0.0)", "np.diff(lost, prepend=lost[0])"))
mistake("the steps go backward", "The weight is J_k − J_{k−1}, and J never falls.",
        swap=("return np.diff(lost, prepend=0.0)", "return -np.diff(lost, prepend=0.0)"))
mistake("the union counts every pixel", "The union is the object and the wrong pixels of the ground. Ground that is right is not in it.",
        swap=("(truth.sum() + k - found)", "len(truth)"))

# %% [markdown] hints="lovasz_gradient"
# Take truth = [0, 1, 1] and write down the IoU that is left when the first is wrong, the first two, all three.
#
# ---
#
# `np.cumsum(truth)` gives all $c_k$ at once, `np.arange(1, P + 1)` all k. `np.diff(lost, prepend=0.0)` gives the steps.
#
# ---
#
# ```python
# truth = np.asarray(truth, dtype=np.float64)
# k, found = np.arange(...), np.cumsum(...)
# lost = 1 - (...) / (...)
# return np.diff(..., prepend=0.0)
# ```

# %% [markdown]
# Eight pixels, three of them roof. Left the errors, sorted. Right the weights.

# %%
truth, errors = np.array([0, 1, 1, 0, 0, 1, 0, 0]), np.array([2.1, 1.7, 1.2, 1.1, 0.7, 0.5, 0.2, 0])
weights = lovasz_gradient(truth)
fig, axes = plt.subplots(1, 2, figsize=(8, 2.6))
for ax, values, name in zip(axes, (errors, weights), ("error", "weight: the IoU it costs")):
    ax.bar(range(1, 9), values, color=np.where(truth, ORANGE, GREY))
    ax.set(xlabel="pixel, the worst first", title=name, xticks=range(1, 9))
axes[0].bar(0, 0, color=ORANGE, label="roof")
axes[0].bar(0, 0, color=GREY, label="ground")
axes[0].legend()
axes[0].set_xlim(0.3, 8.7)
plt.show()
print(f"weights {weights.round(2)}, their sum {weights.sum():.2f}; the loss {weights @ errors:.2f}")

# %% [markdown]
# Grey bars shrink: the more roof is missed already, the less a false pixel can still spoil. Once all roof pixels are missed, nothing more can go wrong, and the last two weights are 0.
#
# `LovaszHingeLoss` is for one logit per pixel, `LovaszSoftmaxLoss` for one logit per class. Their gradients are the weights, put back into the pixels' order.

# %%
#| export training.segmentation_loss
def _lovasz(errors, truth):
    """The Lovász extension of the lost IoU at errors (P,), and its gradient by them (P,)."""
    order = np.argsort(-errors, kind="stable")
    gradient = np.empty_like(errors)
    gradient[order] = lovasz_gradient(truth[order])
    return float(gradient @ errors), gradient


class LovaszHingeLoss(Loss):
    """IoU for logits: mean over samples of Σ_k weight_k · error_k, error = max(0, 1 − s·z).

    z = pred, s = 1 where target is 1, else −1; weights: lovasz_gradient of the sorted errors.
    Shapes: pred and target (0 or 1), both (N, …) → float; dpred as pred.

    Raises:
        ValueError: where the shapes differ, or a target is neither 0 nor 1.

    Source: Berman, Rannen Triki, Blaschko (2018), section 2; Yu, Blaschko (2015).
    """

    def forward(self, pred, target):
        """Return the mean over the samples."""
        target = self.match_shape(pred, target).reshape(len(pred), -1)
        if not np.isin(target, (0, 1)).all():
            self.refuse("targets of 0 and 1", "values between", "sort pixels, not shares of pixels")
        sign = 2 * target - 1
        margin = 1 - sign * pred.reshape(len(pred), -1)  # (N, P)
        pairs = [_lovasz(np.maximum(m, 0), t) for m, t in zip(margin, target, strict=True)]
        weights = np.stack([gradient for _, gradient in pairs])
        dpred = np.where(margin > 0, -sign * weights, 0) / len(pred)
        self.save(dpred.reshape(pred.shape).astype(pred.dtype))
        return float(np.mean([value for value, _ in pairs]))

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        return self.saved()

# %%
#| export training.segmentation_loss
class LovaszSoftmaxLoss(Loss):
    """IoU for classes: mean over samples, and over the classes present, of Σ_k weight_k · error_k.

    error = 1 − p_c where a pixel is of class c, else p_c; p = softmax(pred) over the classes.
    Shapes: pred (N, C, …), target (N, …) of integers from 0 to C − 1 → float; dpred as pred.

    Raises:
        ValueError: where target does not fit pred, or names a class that is not there.

    Source: Berman, Rannen Triki, Blaschko (2018), section 3.
    """

    def forward(self, pred, target):
        """Return the mean over the samples."""
        target = self.expect_labels(pred, target)
        p = np.exp(pred - pred.max(axis=1, keepdims=True))
        p /= p.sum(axis=1, keepdims=True)
        flat, dp, total = p.reshape(*p.shape[:2], -1), np.zeros_like(p), 0.0
        for n, labels in enumerate(target.reshape(len(pred), -1)):
            present = np.unique(labels)
            for c in present:
                value, gradient = _lovasz(np.abs((labels == c) - flat[n, c]), labels == c)
                share = 1 / (len(present) * len(pred))
                dp[n, c].flat = np.where(labels == c, -gradient, gradient) * share
                total += value * share
        self.save(p, dp)
        return total

    def expect_labels(self, pred, target):
        """Return target as an array; raise a ValueError where it does not fit pred."""
        target, C = self.expect_float(pred, target), pred.shape[1]
        if target.shape != pred.shape[:1] + pred.shape[2:] or target.dtype.kind not in "iu":
            self.refuse(f"integer labels {pred.shape[:1] + pred.shape[2:]}",
                        f"{target.dtype} {target.shape}", "one class number for each pixel")
        if target.min() < 0 or target.max() >= C:
            self.refuse(f"labels from 0 to {C - 1}", f"{target.min()} to {target.max()}",
                        "number the classes from 0")
        return target

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        p, dp = self.saved()
        return p * (dp - (p * dp).sum(axis=1, keepdims=True))

# %% [markdown]
# Two more. `BinaryFocalLoss` is chapter 05's focal loss for one logit per pixel: `alpha` weighs roof, 1 − alpha ground. `SumLoss` adds losses: BCE and focal, BCE and
# Dice.

# %%
#| export training.segmentation_loss
class BinaryFocalLoss(Loss):
    """Focal loss of single logits: −mean of α_t (1 − p_t)^γ log p_t, p_t = sigmoid(±pred).

    α_t is alpha where target is 1, else 1 − alpha.
    Shapes: pred and target (0 or 1) of one and the same shape → float; dpred as pred.

    Raises:
        ValueError: where the shapes differ, or a target is neither 0 nor 1.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), section 3.
    """

    def __init__(self, gamma=2.0, alpha=0.5):
        self.gamma, self.alpha = float(gamma), float(alpha)

    def forward(self, pred, target):
        """Return the mean over all elements."""
        target = self.match_shape(pred, target)
        if not np.isin(target, (0, 1)).all():
            self.refuse("targets of 0 and 1", "values between", "use BCEWithLogitsLoss for shares")
        sign = 2 * target - 1
        logp = np.minimum(sign * pred, 0) - np.log1p(np.exp(-np.abs(pred)))
        p, wrong = sigmoid(sign * pred), sigmoid(-sign * pred)
        weight = np.where(target == 1, self.alpha, 1 - self.alpha) * wrong**self.gamma / pred.size
        self.save((sign * weight * (self.gamma * p * logp - wrong)).astype(pred.dtype))
        return float(-(weight * logp).sum())

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        return self.saved()


class SumLoss(Loss):
    """Add losses of the same pred and target: Σ_i weight_i · loss_i.

    SumLoss(BCEWithLogitsLoss(), DiceLoss(), weights=(1, 0.5)); without weights all are 1.

    Raises:
        ValueError: without a loss, or with another number of weights.
    """

    def __init__(self, *losses, weights=None):
        self.losses = losses
        self.weights = [1.0] * len(losses) if weights is None else [float(one) for one in weights]
        if not losses or len(self.weights) != len(losses):
            self.refuse("losses, and one weight for each",
                        f"{len(losses)} losses, {len(self.weights)} weights", "name them in pairs")

    def forget(self):
        """Drop what is saved, in the parts too."""
        super().forget()
        for loss in self.losses:
            loss.forget()

    def forward(self, pred, target):
        """Return the weighted sum."""
        self.save(pred.shape)
        return sum(weight * loss.forward(pred, target)
                   for weight, loss in zip(self.weights, self.losses, strict=True))

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        self.saved()
        return sum(weight * loss.backward()
                   for weight, loss in zip(self.weights, self.losses, strict=True))

# %% [markdown]
# ## Deep supervision
#
# The gradient has a long way to the bottom of the U. So let the coarser levels answer too, each with a 1 × 1 convolution of its own, and add up the losses. A first
# try often fails, in one of these ways.

# %% tags=["nbval-check-output"]
outputs = [np.zeros((8, 1, size, size)) for size in (64, 32, 16)]
target = np.zeros((8, 64, 64))
for out in outputs:
    print("output", out.shape, "against target", target.shape)
print("one output alone, walked through with `for`:", next(iter(outputs[0])).shape)
print("output − target, as NumPy broadcasts it:", (outputs[0] - target).shape)

# %% [markdown]
# Three different clashes. The *sizes* differ: a coarse output wants a coarse target. The *axes* differ: a mask is (N, H, W), an output has a channel axis. A `for` over a single array walks over
# its *samples*, so a loss meets (1, 64, 64) and (8, 64, 64). And subtraction does not even fail: it compares each tile with every other tile's mask. `match_shape` refuses it.
#
# ### Exercise 7 ★★: a target for each size
#
# Resize the target, never the output: that would only blur what the level says. A coarse pixel covers a block of fine ones. Its target is the *share* of roof in that block. Picking one
# pixel of each block moves the mask and loses thin parts.

# %% exercise="resize_target" points=3 stars=2
#| export training.segmentation_loss
def resize_target(target, size):
    """Average a mask over blocks: the share of the object in each coarse pixel.

    Args:
        target: (N, H, W) or (N, 1, H, W) of 0 and 1, of any dtype.
        size: (h, w), each dividing H and W.

    Returns:
        (N, 1, h, w) float32.

    Raises:
        ValueError: where h does not divide H, or w does not divide W.
    """
    ### BEGIN SOLUTION check the sizes, fold the axes into blocks, average them
    target = np.asarray(target, dtype=np.float32)
    (H, W), (h, w) = target.shape[-2:], size
    if H % h or W % w:
        raise ValueError(f"resize_target needs a size that divides {H} × {W}, received {h} × {w}: "
                         "pad the images until every pooling divides their size")
    return target.reshape(len(target), 1, h, H // h, w, W // w).mean(axis=(3, 5))
    ### END SOLUTION

# %%
check(resize_target)

# %% probe="resize_target"
def refusal(resize_target, target, size):
    try:
        return f"a result of shape {np.shape(resize_target(target, size))}"
    except ValueError:
        return "ValueError"


def probe(resize_target, rng):
    N, h, w = (int(size) for size in rng.permutation([2, 3, 4]))
    mask = rng.random((N, 3 * h, 4 * w)) < 0.5
    mask[0, :3, :4] = [[0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 0, 1]]
    yield "from (N, 1, H, W) floats", resize_target(mask[:, None].astype(np.float32), (h, w))
    yield "from (N, H, W) booleans", resize_target(mask, (h, w))
    yield "from float64", resize_target(mask[:, None].astype(float), (h, w))
    yield "at the same size", resize_target(mask.astype(np.float32), mask.shape[1:])
    yield "rows halved, columns kept", resize_target(rng.random((N, 1, 2 * h, w)) < 0.5, (h, w))
    yield "a size that does not divide the rows", refusal(resize_target, mask, (3 * h - 1, 4 * w))
    yield "a size that does not divide the columns", refusal(resize_target, mask, (3 * h, 4 * w - 1))

# %% mistakes="resize_target"
mistake("one pixel of each block is taken", "The first pixel is not what the block is. Take the mean of all its pixels.",
        swap=(".mean(axis=(3, 5))", "[:, :, :, 0, :, 0].copy()"))
mistake("a block with any roof counts as roof", "The largest value makes every house fatter. Take the mean.",
        swap=(".mean(axis=(3, 5))", ".max(axis=(3, 5))"))
mistake("the blocks are summed", "A sum grows with the block. The target has to stay from 0 to 1.",
        swap=(".mean(axis=(3, 5))", ".sum(axis=(3, 5))"))
mistake("the shares are rounded", "A block that is a quarter roof has the target 0.25. Rounding loses small roofs.",
        swap=(".mean(axis=(3, 5))", ".mean(axis=(3, 5)).round()"))
mistake("the channel axis is missing", "The output is (N, 1, h, w). Without the 1, NumPy compares every tile with every mask.",
        swap=(".mean(axis=(3, 5))", ".mean(axis=(3, 5))[:, 0]"))
@mistake("the blocks are folded the wrong way round", "reshape cuts an axis H into (h, H // h): the block's own rows run fastest, so they come second.")
def resize_target(target, size):
    target = np.asarray(target, dtype=np.float32)
    (H, W), (h, w) = target.shape[-2:], size
    if H % h or W % w:
        raise ValueError
    return target.reshape(len(target), 1, H // h, h, W // w, w).mean(axis=(2, 4))

mistake("a size that does not fit is cut", "Integer division drops what is left over, and the mask is read askew. Raise a ValueError.",
        swap=("    if H % h or W % w:", "    if H % h or W % w:\n        return target.reshape(-1)[:len(target) * h * w].reshape(len(target), 1, h, w)\n    if H % h or W % w:"))
mistake("the result keeps the mask's dtype", "The outputs are float32, and so are their targets.",
        swap=("target = np.asarray(target, dtype=np.float32)", "target = np.asarray(target)\n    target = target * 1.0 if target.dtype == bool else target"))
mistake("size is read as (w, h)", "size is (h, w), as a shape is: rows first.",
        swap=("(H, W), (h, w) = target.shape[-2:], size", "(H, W), (w, h) = target.shape[-2:], size"))
mistake("neighbours in memory are taken for a block", "A block spans several rows, and in memory the rest of a row lies between them. Give both axes a split of their own.",
        swap=("reshape(len(target), 1, h, H // h, w, W // w).mean(axis=(3, 5))", "reshape(len(target), 1, h, w, -1).mean(axis=-1)"))

# %% [markdown] hints="resize_target"
# Take a mask of 4 × 4 and size (2, 2). Which four pixels does each coarse pixel cover?
#
# ---
#
# Cut both axes in two with one reshape: H becomes (h, H // h), W becomes (w, W // w). Then take the mean over the second of each. `len(target)` and a 1 in front
# accept both shapes.
#
# ---
#
# ```python
# target = np.asarray(target, dtype=...)
# (H, W), (h, w) = target.shape[-2:], size
# if ... or ...:
#     raise ValueError(...)
# return target.reshape(len(target), 1, h, ..., w, ...).mean(axis=...)
# ```

# %%
fig, axes = plt.subplots(1, 4, figsize=(9, 2.4))
for ax, size in zip(axes, (64, 32, 16, 8)):
    ax.imshow(resize_target(masks[9:10], (size, size))[0, 0], vmin=-0.15, vmax=1)
    ax.set_title(f"target, {size} × {size}")
    ax.axis("off")
plt.show()

# %% [markdown]
# Now the way out for the coarse answers. `SideHead` stands inside the nest. It passes its input on, and leaves `head(x)` at the side. `SideOutputs` stands around the whole model and collects: forward returns a list, the finest first, and backward takes a list of
# gradients. In eval mode there is only the finest.

# %%
#| export
class SideHead(NyangModel):
    """Pass x on, and in training leave head(x) beside the way, for a SideOutputs around it.

    Shapes: x, any → out = x.

    Raises:
        RuntimeError: by backward, where no SideOutputs has brought the gradient of head(x).

    Source: Lee et al., Deeply-Supervised Nets (2015), section 2.
    """

    sent, returned = None, None  # head(x) on its way out, its gradient on its way back

    def __init__(self, head):
        self.head = head

    def forward(self, x):
        """Return x."""
        self.save(self.training)
        if self.training:
            self.sent = self.head.forward(x)
        return x

    def backward(self, dout):
        """Return dx: dout, plus what comes back through the head."""
        if not self.saved():
            return dout.copy()
        returned, self.returned = self.returned, None
        if returned is None:
            raise RuntimeError("SideHead.backward needs the gradient of its own output: put "
                               "SideOutputs around the whole model")
        return elementwise(np.add, self.head.backward(returned), dout)


class SideOutputs(NyangModel):
    """Return a body's output, and in training those of its SideHeads: [out, latest, …, first].

    Shapes: x → a list of arrays, and a list of gradients back; in eval one array, as the body.

    Raises:
        ValueError: by backward, where the number of gradients is not that of the outputs.
    """

    def __init__(self, body):
        self.body = body

    def heads(self):
        """List the SideHeads, the latest in forward first."""
        return [one for _, one in self.body.named_layers() if isinstance(one, SideHead)][::-1]

    def forward(self, x):
        """Return the body's output, in training a list with the heads' outputs behind it."""
        self.save(self.training)
        out = self.body.forward(x)
        if not self.training:
            return out
        outs = [out]
        for head in self.heads():
            outs.append(head.sent)
            head.sent = None
        return outs

    def backward(self, dout):
        """Return dx for the gradients that forward's result calls for, one array or a list."""
        if self.saved():
            dout, *returned = dout
            for head, one in zip(self.heads(), returned, strict=True):
                head.returned = one
        return self.body.backward(dout)

# %%
#| export training.segmentation_loss
class DeepSupervision(Loss):
    """One loss at several sizes: Σ_k decay^k · loss(pred_k, target at its size) / Σ_k decay^k.

    Shapes: pred, a list of logits (N, 1, h_k, w_k), the finest first, or one array; target
    (N, H, W) or (N, 1, H, W) → float; backward returns a list, or one array, as pred was.

    Raises:
        ValueError: where a size does not divide the target's; further as the loss.

    Source: Lee et al., Deeply-Supervised Nets (2015); Xie, Tu, HED (2015), section 2.
    """

    def __init__(self, loss, decay=0.5):
        self.loss, self.decay = loss, float(decay)

    def forget(self):
        """Drop what is saved, in the inner loss too."""
        super().forget()
        self.loss.forget()

    def forward(self, pred, target):
        """Return the weighted mean over the outputs."""
        several = isinstance(pred, (list, tuple))
        outputs = pred if several else [pred]
        weights = self.decay ** np.arange(len(outputs))
        weights = (weights / weights.sum()).tolist()
        self.save(several, weights)
        return sum(weight * self.loss.forward(out, resize_target(target, out.shape[2:]))
                   for weight, out in zip(weights, outputs, strict=True))

    def backward(self):
        """Return the gradient of each output; the inner loss gives back the latest first."""
        several, weights = self.saved()
        grads = [weight * self.loss.backward() for weight in weights[::-1]][::-1]
        return grads if several else grads[0]

# %% tags=["nbval-check-output"]
model = unet(width=8, depth=3, rng=np.random.default_rng(0), deep_supervision=True)
loss = DeepSupervision(SumLoss(BCEWithLogitsLoss(), DiceLoss()))
outs = model(x_train[:8])
print("outputs", [out.shape for out in outs])
print("the loss is a number:", np.isfinite(loss(outs, roofs[:8])), "and dx has the shape", model.backward(loss.backward()).shape)

# %% [markdown]
# The inner loss is called three times and remembers three calls. A memory is a stack (03), so `backward` asks for the last one first.
#
# ## Masks as text
#
# Contests hand masks around as run-length codes: start and length of each run, pixels counted from 1. `"-1"` is an empty mask.

# %% tags=["nbval-check-output"]
from nyang_edu.data.rle import rle_decode, rle_encode

mask = np.array([[0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]], bool)
print("by rows   ", rle_encode(mask))
print("by columns", rle_encode(mask, order="F"))
print("empty     ", rle_encode(mask & False))
print("there and back:", np.array_equal(rle_decode(rle_encode(mask), mask.shape), mask))

# %% [markdown]
# ### Exercise 8 ★: break it and say why
#
# Some contests count by columns, some by rows. Nothing in the text says which. You write a code by columns, and somebody reads it by rows, as a mask of the same shape. Which mask do they
# see?

# %% exercise="misread" points=1 stars=1 reveal=false
def misread(mask):
    """Return the (H, W) mask that is read by rows from a code that was written by columns."""
    ### BEGIN SOLUTION the pixels in the order in which they were written, filled in as they are read
    return mask.ravel(order="F").reshape(mask.shape)
    ### END SOLUTION

# %%
check(misread)

# %% probe="misread"
def probe(misread, rng):
    H, W = (int(size) for size in rng.choice([3, 4, 5, 6], 2, replace=False))
    mask = rng.random((H, W)) < 0.5
    mask[0, :3], mask[1, :3] = (True, False, False), (True, True, False)
    yield "what is read", misread(mask)
    side = rng.random((4, 4)) < 0.5
    side[0, 1], side[1, 0] = True, False
    yield "what is read where the mask is square", misread(side)

# %% mistakes="misread"
@mistake("nothing has changed", "The runs are the same text, but its pixel 2 is below pixel 1 for the writer, and beside it for the reader.")
def misread(mask):
    return mask.copy()

@mistake("the mask is transposed, with its shape", "The reader fills a mask of the shape (H, W), not (W, H).")
def misread(mask):
    return mask.T.copy()

@mistake("writer and reader are exchanged", "Written by columns: ravel with order='F'. Read by rows: reshape as usual.")
def misread(mask):
    return mask.ravel().reshape(mask.shape, order="F")

@mistake("the rows come in reverse", "Both begin at the top left corner. Only the second pixel differs.")
def misread(mask):
    return mask[::-1].copy()

@mistake("the pixels of a column come in reverse", "A column is written from the top down.")
def misread(mask):
    return mask[::-1].ravel(order="F").reshape(mask.shape)
@mistake("the columns come in reverse", "Both begin at the top left corner. Only the second pixel differs.")
def misread(mask):
    return mask[:, ::-1].copy()

# %% [markdown] hints="misread"
# The text is a line of pixels. In which order did the writer put them there, in which order does the reader take them out?
#
# ---
#
# `mask.ravel(order="F")` is the line, column by column. `reshape` fills row by row.
#
# ---
#
# ```python
# return mask.ravel(order=...).reshape(...)
# ```

# %% tags=["nbval-check-output"]
text = rle_encode(masks[6], order="F")
print("the same as reading it by rows:", np.array_equal(misread(masks[6]), rle_decode(text, (64, 64))))
print(f"IoU with the true mask: {mean_iou(masks[6][None], misread(masks[6])[None]):.2f}")

# %%
fig, axes = plt.subplots(1, 2, figsize=(5, 2.5))
for ax, seen_mask, name in zip(axes, (masks[6], misread(masks[6])), ("written", "read")):
    ax.imshow(photos[6])
    ax.imshow(np.where(seen_mask, 1.0, np.nan), cmap="autumn", alpha=0.5)
    ax.set_title(name)
    ax.axis("off")
plt.show()

# %% [markdown]
# A square mask comes out mirrored along its diagonal, and no error is raised. Only a picture shows it: draw masks over images, always.
#
# ## Use: find the roofs
#
# Everything together. `write_satellite` writes 1,600 tiles as a contest hands them out: images, and a table of run-length codes. `RLEDataset` reads them back. A tile may be turned and mirrored, as long as
# its mask moves with it.

# %%
import tempfile
from pathlib import Path

from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.data.rle import RLEDataset
from nyang_edu.data.satellite import write_satellite
from nyang_edu.training.scheduler import CosineDecay, WarmUp
from nyang_edu.training.train import nyang_train


def turned(image, mask, rng):
    """Turn and mirror a tile and its mask alike."""
    turns, flip = int(rng.integers(4)), 1 if rng.random() < 0.5 else -1
    return np.rot90(image, turns)[:, ::flip], np.rot90(mask, turns)[:, ::flip]


folder = tempfile.TemporaryDirectory()
table = write_satellite(folder.name, 1600, size=64, seed=3, gsd=1.0)
print(table.read_text(encoding="utf-8").splitlines()[1][:90], "…")
train_set = NyangDataLoader(RLEDataset(table, transform=turned), 8, shuffle=True, drop_last=True)

# %% [markdown]
# The number to beat: brightness, now on 200 tiles that nobody has trained on, with the threshold that suits these very tiles best.

# %% tags=["nbval-check-output"]
new_photos, new_masks = draw_satellite(200, size=64, seed=4)
bright = new_photos.mean(axis=3)
threshold = max(range(0, 250, 5), key=lambda level: mean_dice(new_masks, bright > level))
baseline = mean_dice(new_masks, bright > threshold), mean_iou(new_masks, bright > threshold)
assert baseline[0] < 0.55 and baseline[1] < 0.4, f"brightness should not find roofs, it reaches {baseline}"
print(f"brightness: Dice {baseline[0]:.2f}, IoU {baseline[1]:.2f}")

# %% [markdown]
# A narrow U-Net, supervised at three depths. Dropout guards against overfitting. Here each tile comes by only five times, turned at random, so it is off.

# %%
model = unet(width=12, depth=3, rng=np.random.default_rng(0), dropout=0, deep_supervision=True)
loss = DeepSupervision(SumLoss(BCEWithLogitsLoss(), DiceLoss()))
optimizer = AdamW(model.parameters(), lr=4e-3)
epochs = 5
steps = epochs * len(train_set)
schedule = WarmUp(optimizer, steps // 10, CosineDecay(optimizer, steps - steps // 10, every="step"), every="step")
history = nyang_train(model, optimizer, loss, train_set, epochs=epochs, scheduler=schedule, plot=False, progress=False)
print(history)
folder.cleanup()

# %% [markdown]
# Two cheap improvements. Ask four times: the tile and its three turned copies, each answer turned back, and take the mean. And a tile without any roof scores 0 for a single false pixel: so what adds up to less
# than 24 m² is no house.

# %%
def predict_turned(model, photos):
    """Average the logits over four turns of each tile: (N, 64, 64)."""
    return np.mean([np.rot90(predict(model, np.rot90(photos, k, axes=(1, 2))), -k, axes=(1, 2)) for k in range(4)], axis=0)


def without_specks(found, least=24):
    """Empty the masks (N, H, W) that hold fewer than `least` pixels."""
    return found & (found.sum(axis=(1, 2), keepdims=True) >= least)


found = predict(model, new_photos) > 0
better = without_specks(predict_turned(model, new_photos) > 0)
print(f"Dice on new tiles {mean_dice(new_masks, found):.3f}; turned, without specks {mean_dice(new_masks, better):.3f}")

# %% tags=["nbval-check-output"]
reached = mean_dice(new_masks, better)
assert reached >= 0.90, f"the U-Net should reach a Dice of 0.90 on new tiles, it reaches {reached:.3f}"
print(f"brightness below 0.55: {baseline[0] < 0.55}; U-Net at least 0.90: {reached >= 0.90}")

# %%
from nyang_edu.evaluation.segmentation import dice_scores

scores = dice_scores(new_masks, better)
order = np.argsort(np.where(np.isnan(scores), 2, scores))
fig, axes = plt.subplots(2, 6, figsize=(11, 3.9))
for row, places in zip(axes, (range(100, 106), order[:6])):
    for ax, place in zip(row, places):
        ax.imshow(new_photos[place])
        outline(ax, new_masks[place])
        outline(ax, better[place], "cyan")
        ax.set_title("no roof" if np.isnan(scores[place]) else f"Dice {scores[place]:.2f}", fontsize=9)
        ax.axis("off")
plt.show()

# %% [markdown]
# Orange is the truth, light blue the answer. Above, six tiles as they come. Below, the six worst of all: what do they have in common?
#
# The coarse levels answer too. Switch the side outputs on again, and look at the three sizes that training compared.

# %%
def all_outputs(model, x):
    """Forward in eval mode, with the side outputs."""
    model.eval()
    for _, layer in model.named_layers():
        layer.training = isinstance(layer, (SideHead, SideOutputs))
    with no_memory():
        outs = model(x)
    model.eval()
    return outs


place = 101
outs = all_outputs(model, as_input(new_photos[place:place + 1]))
fig, axes = plt.subplots(2, len(outs), figsize=(7, 4.6))
for (above, below), out in zip(axes.T, outs):
    size = out.shape[2:]
    above.imshow(resize_target(new_masks[place:place + 1], size)[0, 0], vmin=-0.15, vmax=1)
    below.imshow(1 / (1 + np.exp(-out[0, 0])), vmin=-0.15, vmax=1)
    above.set_title(f"target, {size[0]} × {size[1]}")
    below.set_title("answer")
    above.axis("off"), below.axis("off")
plt.show()

# %% [markdown]
# ### What one answer looks at
#
# *Saliency* (14), for a single pixel: send a gradient of 1 back from its logit alone. What arrives at the input are the pixels that move it.

# %%
from nyang_edu.evaluation.saliency import undisturbed


def looks_at(model, photo, row, column):
    """Return (64, 64): how strongly the logit of one pixel reacts to each pixel."""
    with undisturbed(model):
        out = model.eval()(as_input(photo[None]))
        dout = np.zeros_like(out)
        dout[0, 0, row, column] = 1
        return np.abs(model.backward(dout)[0]).max(axis=0)


fig, axes = plt.subplots(2, 4, figsize=(8, 4.1))
for (above, below), place in zip(axes.T, (100, 101, 103, 105)):
    spots = np.argwhere(new_masks[place])
    row, column = spots[len(spots) // 2]
    above.imshow(new_photos[place])
    reacts = looks_at(model, new_photos[place], row, column)
    below.imshow(np.cbrt(reacts / reacts.max()), cmap="inferno")  # the root lifts the faint ones
    outline(below, new_masks[place], "white")
    for ax in (above, below):
        ax.plot(column, row, "o", ms=9, mfc="none", mec="cyan", mew=1.5)
        ax.axis("off")
plt.show()

# %% [markdown]
# The ring is the pixel that is asked about. Brightness is the cube root of the reaction: without the root all but a few pixels would be black. The answer may use the whole tile. Most of what it uses is near. Does it follow the roof's edge? Does it care for the shadow beside it?
#
# ## A deeper encoder: ResNet-50
#
# `unet_nest` takes any stages. ResNet-50 has five, from ½ to 1/32 of the size. With `weights`, a `state_dict` of PyTorch's library torchvision, they start trained: chapter 17's table of names does the rest.

# %%
#| export model.zoo.unet
def unet_resnet50(num_classes=1, weights=None, rng=None):
    """Build a U-Net whose encoder is ResNet-50: stages at 1/2, 1/4, 1/8, 1/16 and 1/32.

    Shapes: x (N, 3, H, W), 32 dividing H and W → logits (N, num_classes, H, W). weights: a
    state_dict of ResNet-50 with torchvision's names, for the encoder; None draws it.

    Raises:
        ValueError: where weights lacks an array of the encoder, or one has another shape.

    Source: Ronneberger et al. (2015); He et al. (2016), table 1.
    """
    rng = rng or np.random.default_rng()
    backbone = resnet50(1, rng)
    if weights is not None:
        names = resnet_torchvision_names(backbone)
        state = {own: weights[name] for own, name in names.items() if name in weights}
        own_head = {own: array for own, array in backbone.state_dict().items()
                    if names[own].startswith("fc.")}
        backbone.load_state_dict(state | own_head)
    stem = backbone[0]
    stages = [stem[:3], NyangFlow(stem[3:], backbone[1]), *backbone[2:5]]
    body = unet_nest(stages, (64, 256, 512, 1024, 2048), (64, 128, 256, 512), rng=rng)
    return NyangFlow(body, Upsample(scale_factor=2, mode="bilinear"), double_conv(64, 32, rng),
                     Conv2d(32, num_classes, 1, rng=rng))

# %% tags=["nbval-check-output"]
cost = unet_resnet50(rng=np.random.default_rng(0)).summary((3, 224, 224))
late = (2048 + 64) * 64 * 9 * 224 * 224
print(f"parameters {cost.parameters:,}, multiply-adds {cost.multiply_adds:,}")
print(f"one double_conv from 2,048 to 64 channels at 224 × 224: {late:,} multiply-adds")

# %% [markdown]
# The second line is for a shortcut that looks simpler: upsample the last 2,048 maps to 224 × 224 and convolve there. That one block costs more than the whole network, and its maps
# still come from 7 × 7.
#
# ## Against PyTorch
#
# The same network in PyTorch. Its layers nest alike, so the names agree, and `state_dict` needs no table.

# %%
try:
    import torch
except ImportError:
    torch = None


def torch_unet(width, depth):
    from torch import nn

    class Skip(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return torch.cat([x, self.body(x)], 1)

    def double(i, o):
        return nn.Sequential(nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU(), nn.Dropout(0),
                             nn.Conv2d(o, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())

    def level(k, i):
        o = width * 2**k
        stage = nn.Sequential(nn.MaxPool2d(2), double(i, o)) if k else double(i, o)
        if k == depth:
            return stage
        return nn.Sequential(stage, Skip(nn.Sequential(level(k + 1, o), nn.Upsample(scale_factor=2, mode="bilinear"))), double(3 * o, o))

    return nn.Sequential(level(0, 3), nn.Conv2d(width, 1, 1))


def torch_loss(pred, target):
    p = torch.sigmoid(pred)
    a, b = 2 * (p * target).sum((1, 2, 3)) + 1, (p + target).sum((1, 2, 3)) + 1
    return torch.nn.functional.binary_cross_entropy_with_logits(pred, target) + 1 - (a / b).mean()

# %% [markdown]
# Same weights, same batch: the first loss has to agree. Then both go forward and backward in turns, on one thread each, as in chapter 17. The last line is from
# the recorded run of `python -m benchmarks`: each library in a process of its own, on all cores, with nearest upsampling.

# %%
import json
import time

from nyang_edu.utility.team import set_threads, thread_count


def compare_with_torch(rounds=3):
    ours, theirs = unet(width=16, depth=3, rng=np.random.default_rng(0), dropout=0), torch_unet(16, 3)
    theirs.load_state_dict({name: torch.tensor(array) for name, array in ours.state_dict().items()})
    loss, tx, ty = SumLoss(BCEWithLogitsLoss(), DiceLoss()), torch.tensor(x_train[:8]), torch.tensor(y_train[:8])
    seconds, differences = [], []
    for _ in range(rounds):
        start = time.perf_counter()
        value = loss(ours(x_train[:8]), y_train[:8])
        ours.backward(loss.backward())
        middle = time.perf_counter()
        torch_value = torch_loss(theirs(tx), ty)
        torch_value.backward()
        seconds.append((middle - start, time.perf_counter() - middle))
        differences.append(abs(value - torch_value.item()))
    assert differences[0] < 1e-4, f"the first losses differ by {differences[0]:.1e}"
    print(f"the first losses agree to 1e-4: {differences[0] < 1e-4}")
    return np.min(seconds[1:], axis=0)


if torch is None:
    print("PyTorch is not installed: nothing to compare with")
else:
    threads = thread_count(), torch.get_num_threads()
    set_threads(1), torch.set_num_threads(1)
    mine, other = compare_with_torch()
    set_threads(threads[0]), torch.set_num_threads(threads[1])
    print(f"8 tiles, one thread: {mine:.2f} s here, {other:.2f} s in PyTorch, ratio {mine / other:.1f}")
recorded = Path("../benchmarks/results/models.json")
if recorded.exists():
    row = json.loads(recorded.read_text(encoding="utf-8"))["unet64"]
    print(f"recorded, two threads: ratio {row['ratio_min']:.1f} to {row['ratio_max']:.1f}, median {row['ratio']:.1f}")

# %% [markdown]
# ## Recap
#
# - An answer for each pixel needs both: what is there, from coarse maps, and where it ends, from fine ones.
# - `SkipConcat` keeps the input beside its body's output. Its gradient is cut where the channels meet. Nested, it is the U-Net.
# - Cross-entropy counts pixels, Dice counts overlap, Lovász weighs each error by the IoU that it costs.
# - For deep supervision resize the target, and keep its channel axis.
# - A run-length code does not say in which order it counts. Draw it.
#
# `finish` exports `SkipConcat` into `nyang_edu/model/skip.py`, the networks into `nyang_edu/model/zoo/unet.py`, and the losses into `nyang_edu/training/segmentation_loss.py`.
#
# **References.** Ronneberger, Fischer, Brox, *U-Net*, MICCAI 2015, section 2. Milletari, Navab, Ahmadi, *V-Net*, 3DV 2016, section 3. Berman, Rannen Triki, Blaschko, *The Lovász-Softmax loss*,
# CVPR 2018. Lee et al., *Deeply-supervised nets*, AISTATS 2015. Xie, Tu, *Holistically-nested edge detection*, ICCV 2015, section 2. Lin et al., *Focal loss for dense object detection*, ICCV 2017.

# %%
finish("19_unet")
