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
# # 16 · GoogLeNet
#
# **You have** convolution (08), pooling (09), BatchNorm and dropout (10), and from VGG (15) the habit of building a network
# from a table.
#
# **You will build** `Parallel`, the container that runs branches side by side, and with it the inception block, heads that
# help only in training, and GoogLeNet.
#
# **It unlocks** every network that forks and joins: pyramids of pooling, and detectors with several heads.
#
# Time: about 120 minutes. Eight exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import AdaptiveAvgPool2d, GlobalAvgPool, MaxPool2d
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.plot import BLUE, GREEN, GREY, ORANGE, PALE, use_style

use_style()

# %% [markdown]
# ## Why: which kernel size is right?
#
# Somewhere in a noisy picture lie a dot of one pixel, a square of 3 × 3 and a square of 5 × 5. The dot is bright. The squares are dimmer the larger they
# are. Three kernels look for them: each adds up a window of 1 × 1, 3 × 3 or 5 × 5, scaled so that the noise stays equally strong.
# The brightness is chosen so that no size wins by being bright: each kernel finds what has its own size equally well.

# %%
draw = np.random.default_rng(3)
scene = draw.normal(size=(30, 60)).astype(np.float32)
centres = {1: (15, 10), 3: (15, 30), 5: (15, 50)}  # side: row and column
for side, (row, column) in centres.items():
    half = side // 2
    scene[row - half:row + half + 1, column - half:column + half + 1] += 7 / side


def look(kernel_size):
    """Return the map of a kernel whose weights are all 1 / kernel_size."""
    conv = Conv2d(1, 1, kernel_size, padding="same", bias=False)
    conv.weight.data[...] = 1 / kernel_size
    return conv(scene[None, None])[0, 0]


maps = {size: look(size) for size in (1, 3, 5)}

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 2.4))
for ax, (size, found) in zip(axes, maps.items()):
    ax.imshow(found, cmap="gray_r", vmin=-2, vmax=8)
    row, column = np.unravel_index(found.argmax(), found.shape)
    ax.plot(column, row, "o", ms=16, mfc="none", color=ORANGE, mew=2)
    ax.set_title(f"{size} × {size}: the darkest place")
    ax.axis("off")
plt.show()

# %% tags=["nbval-check-output"]
for size, found in maps.items():
    seen = {side: round(float(found[centres[side]])) for side in centres}
    print(f"kernel {size} × {size} sees best the thing of side {max(seen, key=seen.get)}")

# %% [markdown]
# Each kernel sees best what has its own size. The others drown in the noise, or blur. A cat may fill the picture or sit far away. So which size should a layer take?
# The answer of GoogLeNet: all of them, side by side. The next layer chooses.
#
# ## Idea: a fork by hand
#
# Two branches get the same two numbers. One doubles them, the other adds them up. Their outputs are joined.

# %%
def draw_parallel(ax):
    """Draw x → (× 2, sum) → joined, with the numbers of both directions."""
    def arrow(start, end):
        ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": BLUE, "lw": 1.5})

    for y, name, out, back, share in [(1, "× 2", "[2, 4]", "[1, 1]", "[2, 2]"), (-1, "sum", "[3]", "[5]", "[5, 5]")]:
        ax.add_patch(plt.Rectangle((2.7, y - 0.35), 1.4, 0.7, facecolor=PALE[BLUE], edgecolor=BLUE))
        ax.text(3.4, y, name, ha="center", va="center")
        arrow((0.8, 0.25 * y), (2.6, y)), arrow((4.2, y), (6.2, 0.25 * y))
        for x, forward, backward in [(1.5, "[1, 2]", share), (5.4, out, back)]:
            ax.text(x, 1.12 * y + 0.14, forward, ha="center", va="center", color=GREY)
            ax.text(x, 1.12 * y - 0.14, backward, ha="center", va="center", color=ORANGE)
    ax.add_patch(plt.Rectangle((6.3, -0.45), 1.1, 0.9, facecolor="white", edgecolor=BLUE))
    ax.text(6.85, 0, "join", ha="center", va="center")
    arrow((-1.2, 0), (0.6, 0)), arrow((7.5, 0), (9.6, 0))
    for x, forward, backward in [(-0.3, "[1, 2]", "[7, 7]"), (8.5, "[2, 4, 3]", "[1, 1, 5]")]:
        ax.text(x, 0.12, forward, ha="center", color=GREY)
        ax.text(x, -0.12, backward, ha="center", va="top", color=ORANGE)
    ax.set(xlim=(-1.4, 9.8), ylim=(-1.8, 1.6))
    ax.axis("off")


fig, ax = plt.subplots(figsize=(8.5, 2.8))
draw_parallel(ax)
plt.show()

# %% [markdown]
# Grey, left to right: joining changes no number. Orange, right to left: the gradient is *cut* where the outputs were joined, and each branch gets the piece that belongs to it. What the
# branches send back is *added*, since x moved the result along both paths: [2, 2] + [5, 5] = [7, 7].
#
# ## Maths
#
# Branches $b_0, \dots, b_{K-1}$, joined along an axis:
#
# $$\text{out} = [\,b_0(x),\; b_1(x),\; \dots,\; b_{K-1}(x)\,].$$
#
# Let $\text{dout}_k$ be the piece of dout at the place of $b_k(x)$. The chain rule sums over all paths:
#
# $$\text{dx} = \sum_k b_k.\text{backward}(\text{dout}_k).$$
#
# One element: $\text{dx}_i = \sum_k \sum_j \text{dout}_{k,j}\; \partial b_{k,j} / \partial x_i$.
#
# | array | shape | |
# |---|---|---|
# | `x` | (N, C, H, W) | goes to every branch |
# | `outs[k]` | (N, widths[k], OH, OW) | only the size along the axis may differ |
# | `out`, `dout` | (N, sum of widths, OH, OW) | |
# | `parts[k]` | (N, widths[k], OH, OW) | what branch k gets back |
# | `dx` | (N, C, H, W) | |
#
# ## Build: the container
#
# ### Exercise 1 ★★★: Parallel
#
# `active` lists the branches that run. Here it is all of them. Later a subclass leaves some out, depending on the mode. So *save* which ones ran: until the backward comes, the mode may have
# changed. `expect_joinable(outs)` raises an error that names the branch that does not fit.
#
# A memory is a stack (03): visit the branches in reverse on the way back. And a branch may hand on the very array that it received, so write into none.
#
# The next three cells begin the modules of the container, of the loss, and of the network. `elementwise(np.add, a, b)` is `a + b` on several threads;
# either will do.

# %%
#| default_exp model.parallel
#| export
"""Branches side by side: the container of inception blocks, and of heads that only train."""

import numpy as np

from nyang_edu.model.core import NyangModel
from nyang_edu.utility.layout import elementwise

# %%
#| export training.auxiliary
"""The loss of a network with several heads: the main one counts in full, the others a little."""

import numpy as np

from nyang_edu.training.loss import Loss

# %%
#| export model.zoo.googlenet
"""GoogLeNet: blocks that look with several kernel sizes at once, and heads that help to train."""

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.parallel import Auxiliary, Parallel
from nyang_edu.model.pool import AdaptiveAvgPool2d, GlobalAvgPool, MaxPool2d

# %% exercise="Parallel" points=4 stars=3
#| export
class Parallel(NyangModel):
    """Run branches on the same x and join their outputs: out = [b_0(x), b_1(x), …] along axis.

    Shapes: x, any → out, the branches' shape, with their sizes added up along axis.
    parallel[k] is a branch, len(parallel) their number.

    Raises:
        ValueError: without branches; in forward, where the outputs differ in another axis.
        TypeError: where a branch is not a NyangModel.

    Source: Szegedy et al., Going deeper with convolutions (2015), section 4.
    """

    def __init__(self, *branches, axis=1):
        if not branches:
            raise ValueError("Parallel needs at least one branch, received none")
        for place, branch in enumerate(branches):
            if not isinstance(branch, NyangModel):
                raise TypeError(f"Parallel takes layers, received {type(branch).__name__} as "
                                f"branch {place}: a branch that does nothing is NyangFlow()")
        self.branches, self.axis = list(branches), axis

    def __len__(self):
        return len(self.branches)

    def __getitem__(self, place):
        return self.branches[place]

    def named_children(self):
        """Yield (name, branch) with the names "0", "1", …"""
        for place, branch in enumerate(self.branches):
            yield str(place), branch

    def active(self):
        """List the branches that run: here all of them."""
        return self.branches

    def expect_joinable(self, outs):
        """Raise a ValueError that names the first branch whose output does not fit."""
        def others(shape):
            return [n for axis, n in enumerate(shape) if axis != self.axis % len(shape)]

        for place, out in enumerate(outs):
            if out.ndim != outs[0].ndim or others(out.shape) != others(outs[0].shape):
                raise ValueError(
                    f"Parallel joins along axis {self.axis}, all other sizes must be equal: branch "
                    f"{place} returned {out.shape}, branch 0 {outs[0].shape}; mind padding, stride")

    def forward(self, x):
        """Return the outputs of all active branches, joined along axis."""
        ### BEGIN SOLUTION the outputs of the active branches, the check, what to save, the join
        branches = list(self.active())
        outs = [branch.forward(x) for branch in branches]
        self.expect_joinable(outs)
        self.save(branches, [out.shape[self.axis] for out in outs])
        return np.concatenate(outs, axis=self.axis)
        ### END SOLUTION

    def backward(self, dout):
        """Return dx, the sum of what the branches send back, each for its own part of dout."""
        ### BEGIN SOLUTION cut dout by the widths, visit the branches in reverse, add their shares
        branches, widths = self.saved()
        parts = np.split(dout, np.cumsum(widths)[:-1], axis=self.axis)
        shares = [branch.backward(part) for branch, part in zip(branches[::-1], parts[::-1])]
        dx = shares[0]
        for share in shares[1:]:
            dx = elementwise(np.add, dx, share)  # not +=, a branch may hand on what it received
        return dx
        ### END SOLUTION

# %%
check(Parallel)

# %% probe="Parallel"
from nyang_edu.model.activation import Tanh
from nyang_edu.model.core import Parameter
from nyang_edu.model.flow import NyangFlow


class Mix(NyangModel):
    """out = x · weight; backward takes what fits of any dout, so that a wrong cut is compared."""

    def __init__(self, weight):
        self.weight = Parameter(weight)

    def forward(self, x):
        self.save(x)
        return x @ self.weight.data

    def backward(self, dout):
        x, width = self.saved(), min(dout.shape[-1], self.weight.data.shape[1])
        rows, dx = min(len(x), len(dout)), np.zeros_like(x)
        self.weight.grad[:, :width] += x[:rows].T @ dout[:rows, :width]
        dx[:rows] = dout[:rows, :width] @ self.weight.data.T[:width]
        return dx


class Idle(Mix):
    """A Mix whose error bears another name: it stands where no branch should be asked."""


class Cut(NyangModel):
    """Hands on every row but the first."""

    def forward(self, x):
        return x[1:]


def refusal(model, x):
    try:
        return f"out of shape {model(x).shape}"
    except ValueError as error:
        return "ValueError that names branch 2" if "branch 2" in str(error) else "another ValueError"


def probe(Parallel, rng):
    D = int(rng.integers(2, 5))
    N = D + int(rng.integers(1, 4))  # more rows than columns: a cut along the wrong axis shows
    x, dout = rng.normal(size=(N, D)), rng.normal(size=(N, 3 * D))
    one, two, three = (Mix(rng.normal(size=(D, D))) for _ in range(3))
    model = Parallel(one, two, three)
    yield "out of branches of one width", model(x)
    yield "dx of branches of one width", model.backward(dout)
    yield "each weight.grad of branches of one width", np.stack([one.weight.grad, two.weight.grad, three.weight.grad])
    widths = D + 1, D + 3, D
    model = Parallel(*(Mix(rng.normal(size=(D, width))) for width in widths))
    yield "out of branches of different widths", model(x)
    dx = model.backward(rng.normal(size=(N, sum(widths))))
    yield "dx of branches of different widths", dx
    yield "each weight.grad of branches of different widths", np.concatenate([branch.weight.grad for branch in model], axis=1)
    rows = Parallel(one, two, axis=0)
    yield "out along axis 0", rows(x)
    yield "dx along axis 0", rows.backward(rng.normal(size=(2 * N, D)))
    x2, d2 = rng.normal(size=(N + 1, D)), rng.normal(size=(N + 1, 2 * D))
    pair = Parallel(two, three)
    pair(x)
    pair.forward(x2)
    yield "dx of the later of two calls", pair.backward(d2)
    yield "dx of the earlier of two calls", pair.backward(dout[:, :2 * D])

    class Chosen(Parallel):
        def active(self):
            return self.branches[:2] if self.training else self.branches[1:2]

    some = Chosen(one, two, Idle(three.weight.data))
    yield "out of two active branches", some(x)
    yield "dx of two active branches", some.backward(dout[:, :2 * D])
    some(x)
    some.eval()
    yield "dx where the mode has changed since forward", some.backward(dout[:, :2 * D])
    yield "out of a single active branch", some(x)
    yield "dx of a single active branch", some.backward(dout[:, :D])
    some.train()(x)
    some.eval().forward(x2)
    some.backward(d2[:, :D])
    yield "dx of the earlier of two calls in different modes", some.backward(dout[:, :2 * D])
    bend = Tanh()
    shared = Parallel(NyangFlow(three, bend), bend)
    yield "out with one Tanh in both branches", shared(x)
    yield "dx with one Tanh in both branches", shared.backward(dout[:, :2 * D])
    yield "a third branch with fewer rows", refusal(Parallel(one, two, Cut()), x)
    whole = NyangFlow()
    kept = Parallel(two, whole, whole)
    kept(x)
    d3 = rng.normal(size=(N, 3 * D))
    yield "dx where a branch hands on its dout", kept.backward(d3)
    small = Parallel(one, three).to(np.float32)
    yield "out in float32", small(x.astype(np.float32))
    yield "dx in float32", small.backward(dout[:, :2 * D].astype(np.float32))

# %% mistakes="Parallel"
mistake("dx is the share of one branch alone", "x moves the result along every branch. Add up what all of them send back.",
        swap=("            dx = elementwise(np.add, dx, share)  # not +=, a branch may hand on what it received\n", "            pass\n"))
mistake("each share replaces the one before", "x moves the result along every branch. Add the new share to what is there, do not put it in its place.",
        swap=("dx = elementwise(np.add, dx, share)", "dx = share"))
mistake("the shares are joined, not added", "dx has x's shape. Every branch got the whole x, so each share is a gradient by the whole x: add them up.",
        swap=("return dx", "return np.concatenate(shares, axis=self.axis)"))
mistake("the sum starts in float64", "np.zeros makes float64 unless it is told a dtype, and float64 + float32 stays float64. Begin with a share, or with zeros of its dtype.",
        swap=("dx = shares[0]\n        for share in shares[1:]:", "dx = np.zeros(shares[0].shape)\n        for share in shares:"))
mistake("dx is the mean of the shares", "The paths are summed, not averaged: each of them moves the result in full.",
        swap=("return dx", "return dx / len(shares)"))
mistake("the parts are cut as if all widths were equal", "The branches may return different widths. forward saves them, and dout is cut accordingly.",
        swap=("np.cumsum(widths)[:-1]", "len(widths)"))
mistake("the parts are cut to nearly equal widths", "np.array_split shares out evenly. The branches may return different widths: cut where they were joined.",
        swap=("np.split(dout, np.cumsum(widths)[:-1], axis=self.axis)", "np.array_split(dout, len(widths), axis=self.axis)"))
mistake("the widths but the last are the cuts", "np.split wants the places of the cuts, counted from the start: the running sums of the widths.",
        swap=("np.cumsum(widths)[:-1]", "widths[:-1]"))
mistake("the widths themselves are the cuts", "np.split wants the places of the cuts, counted from the start: the running sums of the widths.",
        swap=("np.cumsum(widths)[:-1]", "widths"))
mistake("there is a cut behind the last part", "The last running sum is the end of dout. A cut there makes one more part, an empty one. Leave it out.",
        swap=("np.cumsum(widths)[:-1]", "np.cumsum(widths)"))
mistake("the first branch gets what belongs to the last", "Go through branches and parts in the same order: reverse both, or neither.",
        swap=("zip(branches[::-1], parts[::-1])", "zip(branches[::-1], parts)"))
mistake("both passes visit the branches in the same order", "A memory is a stack: what forward saved last comes back first. If forward goes from first to last, backward goes from last to "
        "first. It shows where one layer stands in two branches.",
        swap=("zip(branches[::-1], parts[::-1])", "zip(branches, parts)"))
mistake("every branch gets the whole dout", "A branch has moved only its own part of out. Cut dout, and hand each branch the piece that belongs to it.",
        swap=("zip(branches[::-1], parts[::-1])", "zip(branches[::-1], [dout] * len(parts))"))
mistake("every branch gets the first part", "Each branch has its own place in dout. After the first cut the next part begins where it ended.",
        swap=("zip(branches[::-1], parts[::-1])", "zip(branches[::-1], parts[:1] * len(parts))"))
mistake("the join is always along axis 1", "The container takes the axis from its user: use self.axis in both passes.",
        swap=("""        self.save(branches, [out.shape[self.axis] for out in outs])
        return np.concatenate(outs, axis=self.axis)""", """        self.save(branches, [out.shape[self.axis] for out in outs])
        return np.concatenate(outs, axis=1)"""))
mistake("the cut is always along axis 1", "Cut along the axis along which the outputs were joined: self.axis.",
        swap=("np.cumsum(widths)[:-1], axis=self.axis)", "np.cumsum(widths)[:-1], axis=1)"))
mistake("the widths are always those of axis 1", "The cuts lie along self.axis, so the sizes along that axis have to be saved.",
        swap=("out.shape[self.axis]", "out.shape[1]"))
mistake("the join forgets the axis", "Without axis, np.concatenate joins along axis 0, the samples. Pass self.axis.",
        swap=("np.concatenate(outs, axis=self.axis)", "np.concatenate(outs)"))
mistake("the cut forgets the axis", "Without axis, np.split cuts along axis 0, the samples. Pass self.axis.",
        swap=("np.cumsum(widths)[:-1], axis=self.axis)", "np.cumsum(widths)[:-1])"))
mistake("the outputs are stacked on a new axis", "np.stack adds an axis, and wants equal shapes. np.concatenate joins along one that is there.",
        swap=("np.concatenate(outs, axis=self.axis)", "np.stack(outs, axis=self.axis)"))
mistake("the outputs are added, not joined", "Adding is what Residual (17) does. Here the outputs stand side by side: np.concatenate.",
        swap=("return np.concatenate(outs, axis=self.axis)", "return sum(outs)"))
mistake("the outputs are joined in reverse", "The first branch comes first in out.",
        swap=("return np.concatenate(outs, axis=self.axis)", "return np.concatenate(outs[::-1], axis=self.axis)"))
mistake("one branch feeds the next", "In a Parallel every branch gets the same x. A chain is NyangFlow.",
        swap=("        outs = [branch.forward(x) for branch in branches]\n", """        outs = []
        for branch in branches:
            x = branch.forward(x)
            outs.append(x)
"""))
mistake("all branches run, whatever active says", "Ask self.active() which branches run. A subclass may leave some out.",
        swap=("branches = list(self.active())", "branches = list(self.branches)"))
mistake("active is asked again in backward", "Between forward and backward the mode may change. What ran has to be saved.",
        swap=("        branches, widths = self.saved()\n", "        branches, widths = self.saved()\n        branches = list(self.active())\n"))
mistake("forward saves nothing", "backward needs to know which branches ran, and how wide each output was: self.save(…).",
        swap=("        self.save(branches, [out.shape[self.axis] for out in outs])\n", ""))
mistake("backward visits all branches, whatever ran", "Only what ran in forward has saved something. Save the list of those branches, and go through it.",
        swap=("        branches, widths = self.saved()\n", "        branches, widths = self.saved()\n        branches = list(self.branches)\n"))
@mistake("what ran is kept in an attribute", "A second forward before the backward overwrites it, and then the first one's backward goes wrong. self.save keeps a stack.")
class Parallel(reference):
    def forward(self, x):
        out = super().forward(x)
        self.kept = super().saved()
        return out

    def saved(self):
        return self.kept

@mistake("the container's own list is turned around", "self.active() returns the container's list itself. list.reverse() changes it for good; [::-1] or reversed() leave it alone.")
class Parallel(reference):
    def forward(self, x):
        branches = self.active()
        outs = [branch.forward(x) for branch in branches]
        self.expect_joinable(outs)
        self.save(branches, [out.shape[self.axis] for out in outs])
        return np.concatenate(outs, axis=self.axis)

    def backward(self, dout):
        branches, widths = self.saved()
        parts = np.split(dout, np.cumsum(widths)[:-1], axis=self.axis)
        branches.reverse()
        return sum(branch.backward(part) for branch, part in zip(branches, parts[::-1]))

mistake("the sum is written into the first share", "A branch without layers hands on the very array that it received, a part of dout. With += the sum lands in there. Make a "
        "new array.", swap=("dx = elementwise(np.add, dx, share)", "dx += share"))
mistake("the outputs are not checked", "NumPy would complain too, but not say which branch it was. Call self.expect_joinable(outs) before you join.",
        swap=("        self.expect_joinable(outs)\n", ""))
@mistake("the branches are called as branch(x)", "branch(x) starts a fresh pass and forgets what was saved before. Inside a container, call forward.")
class Parallel(reference):
    def forward(self, x):
        branches = list(self.active())
        outs = [branch(x) for branch in branches]
        self.expect_joinable(outs)
        self.save(branches, [out.shape[self.axis] for out in outs])
        return np.concatenate(outs, axis=self.axis)

# %% [markdown] hints="Parallel"
# Forward: the same x to all, then put the outputs in a row. Backward: cut at the same places, hand out the pieces, add up what comes back. What does
# backward have to know that only forward saw?
#
# ---
#
# Save the list of branches that ran and their widths, `out.shape[self.axis]`. `np.split(dout, places, axis=…)` cuts at the *running sums* of the widths, without the last one: `np.cumsum`.
# Reverse branches and parts, and add into a new array.
#
# ---
#
# ```python
# # forward
# branches = list(self.active())
# outs = [... for branch in branches]
# self.expect_joinable(outs)
# self.save(branches, [... for out in outs])
# return np.concatenate(outs, axis=...)
#
# # backward
# branches, widths = self.saved()
# parts = np.split(dout, np.cumsum(...)[...], axis=...)
# shares = [branch.backward(part) for branch, part in zip(..., ...)]
# # dx is the sum of all shares, a new array
# ```

# %% [markdown]
# The same against central differences, with a convolution, a BatchNorm and a pooling side by side:

# %% tags=["nbval-check-output"]
draw = np.random.default_rng(0)
chain = NyangFlow(Conv2d(2, 2, 3, padding=1, bias=False, rng=draw), BatchNorm2d(2))
block = Parallel(Conv2d(2, 3, 1, rng=draw), chain, MaxPool2d(3, 1, 1))
errors = gradcheck(block, draw.normal(size=(3, 2, 5, 5)))
print(f"{len(errors)} gradients, all within 1e-6: {max(errors.values()) < 1e-6}")

# %% [markdown]
# ## What a branch costs
#
# Large kernels on many channels are dear. A convolution multiplies at each place of the map: $K \cdot K$ pixels, times all channels that come in, times all that go
# out. The trick of GoogLeNet: before the large kernel, a 1 × 1 convolution squeezes the channels together.
#
# ### Exercise 2 ★★: count the multiplications

# %% exercise="branch_multiplies" points=2 stars=2
def branch_multiplies(size, in_channels, out_channels, kernel_size, reduced=None):
    """Count the multiplications of a branch on one image of size × size; the size stays.

    Args:
        size: height and width of the maps, before and after.
        in_channels, out_channels, kernel_size: of the branch.
        reduced: None for a single convolution; else a 1×1 convolution from in_channels to this
            number of channels stands before it.
    """
    ### BEGIN SOLUTION the places, times what is multiplied at each; with reduced there are two convolutions
    places = size * size
    if reduced is None:
        return places * kernel_size**2 * in_channels * out_channels
    return places * (in_channels * reduced + kernel_size**2 * reduced * out_channels)
    ### END SOLUTION

# %%
check(branch_multiplies)

# %% probe="branch_multiplies"
def probe(branch_multiplies, rng):
    size, kernel, reduced = int(rng.integers(6, 15)), int(rng.choice([3, 5, 7])), int(rng.integers(2, 9))
    into, out = int(rng.integers(20, 40)), int(rng.integers(41, 60))
    yield "without a reduction", branch_multiplies(size, into, out, kernel)
    yield "with a reduction", branch_multiplies(size, into, out, kernel, reduced)
    yield "a 1 × 1 without a reduction", branch_multiplies(size, into, out, 1)

# %% mistakes="branch_multiplies"
mistake("the 1 × 1 is forgotten", "The reduction is a convolution too, and works on all in_channels. Add what it costs.",
        swap=("(in_channels * reduced + kernel_size**2 * reduced * out_channels)", "kernel_size**2 * reduced * out_channels"))
mistake("the large kernel still takes all channels", "After the reduction only `reduced` channels come in.",
        swap=("kernel_size**2 * reduced * out_channels", "kernel_size**2 * in_channels * out_channels"))
mistake("the 1 × 1 has the large kernel's size", "The reduction looks at one pixel: its kernel has K · K = 1.",
        swap=("(in_channels * reduced +", "(kernel_size**2 * in_channels * reduced +"))
mistake("reduced is ignored", "With `reduced` there are two convolutions: the 1 × 1, and the large kernel on what it leaves.",
        swap=("    if reduced is None:\n", "    if True:\n"))
mistake("only the 1 × 1 is counted at every place", "Both convolutions work at every place of the map. Mind the brackets.",
        swap=("places * (in_channels * reduced + kernel_size**2 * reduced * out_channels)",
              "places * in_channels * reduced + kernel_size**2 * reduced * out_channels"))
mistake("the additions are counted too", "Each product is also added to a sum, and some count both. Here only the multiplications are asked for.",
        swap=("places = size * size", "places = 2 * size * size"))
@mistake("the biases are counted", "A bias is added. Nothing is multiplied with it.")
def branch_multiplies(size, in_channels, out_channels, kernel_size, reduced=None):
    return reference(size, in_channels, out_channels, kernel_size, reduced) + size**2 * (out_channels + (reduced or 0))

@mistake("the channels that come in are not counted", "Every output channel looks at all channels that come in, each with weights of its own.")
def branch_multiplies(size, in_channels, out_channels, kernel_size, reduced=None):
    return size**2 * (kernel_size**2 * out_channels + (reduced or 0))

mistake("the 1 × 1 keeps in_channels", "The reduction leads from in_channels to `reduced`.",
        swap=("(in_channels * reduced +", "(in_channels * in_channels +"))
mistake("the kernel is not squared", "A kernel has K rows of K weights.",
        swap=("""        return places * kernel_size**2 * in_channels * out_channels
    return places * (in_channels * reduced + kernel_size**2 * reduced * out_channels)""",
              """        return places * kernel_size * in_channels * out_channels
    return places * (in_channels * reduced + kernel_size * reduced * out_channels)"""))
mistake("the places are one row only", "The kernel stops at every place of the map: size · size.", swap=("places = size * size", "places = size"))
mistake("the weights are counted, not the multiplications", "Each weight is used at every place of the map.",
        swap=("places = size * size", "places = 1"))
mistake("the map shrinks", "The padding keeps the size: there are size · size places, whatever the kernel.",
        swap=("places = size * size", "places = (size - kernel_size + 1)**2"))
mistake("the map shrinks behind the large kernel", "The padding keeps the size: there are size · size places, whatever the kernel.",
        swap=("""        return places * kernel_size**2 * in_channels * out_channels
    return places * (in_channels * reduced + kernel_size**2 * reduced * out_channels)""",
              """        return (size - kernel_size + 1)**2 * kernel_size**2 * in_channels * out_channels
    return places * in_channels * reduced + (size - kernel_size + 1)**2 * kernel_size**2 * reduced * out_channels"""))
mistake("the two convolutions are multiplied", "One works after the other. What they cost is added.",
        swap=("(in_channels * reduced + kernel_size**2 * reduced * out_channels)", "(in_channels * reduced * kernel_size**2 * reduced * out_channels)"))

# %% [markdown] hints="branch_multiplies"
# Stand at one place of the output map. Which numbers are multiplied there, for one output channel? For all of them?
#
# ---
#
# One convolution: places · K² · channels in · channels out. With a reduction there are two, the first of them with K = 1.
#
# ---
#
# ```python
# places = ...
# if reduced is None:
#     return places * ...
# return places * (in_channels * ... + ... * out_channels)
# ```

# %% [markdown]
# The paper's block 4a works on 14 × 14 maps of 480 channels. Its 5 × 5 branch returns 48. How narrow should it be in the middle?

# %%
narrow = np.arange(4, 129)
costs = [branch_multiplies(14, 480, 48, 5, int(k)) / 1e6 for k in narrow]
direct = branch_multiplies(14, 480, 48, 5) / 1e6
fig, ax = plt.subplots(figsize=(7, 2.8))
ax.plot(narrow, costs, label="a 1 × 1 first")
ax.axhline(direct, color=GREY, ls="--", label="5 × 5 on all 480 channels")
ax.plot(16, branch_multiplies(14, 480, 48, 5, 16) / 1e6, "o", ms=9, color=ORANGE, label="the paper's choice: 16")
ax.set(xlabel="channels after the 1 × 1", ylabel="million multiplications", ylim=(0, 125))
ax.legend(loc="center right")
plt.show()

# %% tags=["nbval-check-output"]
def block_multiplies(size, in_channels, row, reduced=True):
    """Count for a whole block; without reductions, the pooling hands on all channels for nothing."""
    c1, r3, c3, r5, c5, pool = row
    three = branch_multiplies(size, in_channels, c3, 3, r3 if reduced else None)
    five = branch_multiplies(size, in_channels, c5, 5, r5 if reduced else None)
    projected = branch_multiplies(size, in_channels, pool, 1) if reduced else 0
    return branch_multiplies(size, in_channels, c1, 1) + three + five + projected


row = (192, 96, 208, 16, 48, 64)
for reduced in (False, True):
    print(f"block 4a, reduced {reduced!s:5}: {block_multiplies(14, 480, row, reduced):>11,} multiplications")

# %% [markdown]
# The line says: the narrower, the cheaper. It does not say what is lost on the way. The whole block becomes several times cheaper, though three more convolutions work in it.
# The squeeze is not free: all that the large kernel learns of 480 maps has to fit through 16. But neighbouring maps often say similar things.
#
# ## The inception block
#
# Four branches: 1 × 1. 1 × 1, then 3 × 3. 1 × 1, then 5 × 5. And a 3 × 3 maximum, then 1 × 1. All keep the size of the map, so that they can be joined along the channels.

# %%
def draw_block(ax, row):
    c1, r3, c3, r5, c5, pool = row
    columns = [[("1 × 1", c1)], [("1 × 1", r3), ("3 × 3", c3)], [("1 × 1", r5), ("5 × 5", c5)], [("max 3 × 3", ""), ("1 × 1", pool)]]
    for x, boxes in zip((0, 2, 4, 6), columns):
        ax.plot([x, x], [-0.3, 2.6], color=GREY, lw=1.5, zorder=0)
        for y, (name, width) in zip([0.9] if len(boxes) == 1 else [0.2, 1.5], boxes):
            colour = GREEN if name.startswith("max") else ORANGE if name == "1 × 1" and len(boxes) > 1 else BLUE
            ax.add_patch(plt.Rectangle((x - 0.75, y), 1.5, 0.8, facecolor=PALE[colour], edgecolor=colour))
            ax.text(x, y + 0.4, f"{name}\n{width}".strip(), ha="center", va="center", fontsize=9)
    for y, end in [(-0.3, -0.7), (2.6, 3.0)]:
        ax.plot([0, 6], [y, y], color=GREY, lw=1.5), ax.plot([3, 3], [y, end], color=GREY, lw=1.5)
    ax.text(3, -0.8, "x", ha="center", va="top")
    ax.text(3, 3.1, f"joined: {c1} + {c3} + {c5} + {pool} = {c1 + c3 + c5 + pool} channels", ha="center", va="bottom")
    ax.set(xlim=(-1, 7), ylim=(-1.2, 3.5))
    ax.axis("off")


fig, ax = plt.subplots(figsize=(7, 3.4))
draw_block(ax, row)
plt.show()

# %% [markdown]
# ### Exercise 3 ★★: inception
#
# The six numbers have the order of the paper's table 1, and torchvision's names. Given: `basic_conv`, a convolution with BatchNorm and ReLU as one flow. (The paper is older than BatchNorm; torchvision has it.) Hand `rng` on to each.
#
# `widest` is the large kernel's size. torchvision's "5 × 5" branch really has 3 × 3, a slip that its trained weights have made permanent.

# %%
#| export model.zoo.googlenet
def basic_conv(in_channels, out_channels, kernel_size, stride=1, rng=None):
    """Build a convolution that keeps the size, apart from its stride, its BatchNorm and a ReLU."""
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False,
                  rng=rng)
    return NyangFlow(conv, BatchNorm2d(out_channels, eps=1e-3), ReLU())

# %% exercise="inception" points=2 stars=2
#| export model.zoo.googlenet
def inception(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj, widest=5, rng=None):
    """Build a block of four branches: 1×1 | 1×1, 3×3 | 1×1, 5×5 | 3×3 maximum, 1×1.

    Shapes: x (N, in_channels, H, W) → out (N, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W).
    A Parallel of a basic_conv and three NyangFlows of two layers; widest is the third branch's
    kernel size.

    Source: Szegedy et al. (2015), figure 2b and table 1.
    """
    ### BEGIN SOLUTION a Parallel of four branches, each made of basic_convs; the pooling keeps the size
    def conv(into, out, kernel_size):
        return basic_conv(into, out, kernel_size, rng=rng)

    return Parallel(
        conv(in_channels, ch1x1, 1),
        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch5x5, widest)),
        NyangFlow(MaxPool2d(3, 1, 1), conv(in_channels, pool_proj, 1)))
    ### END SOLUTION

# %%
check(inception)

# %% probe="inception"
def perturbed(block, rng):
    """The block in float64, every parameter drawn anew: zeros and ones hide mistakes."""
    for parameter in block.to(np.float64).parameters():
        parameter.data[...] = rng.uniform(0.2, 1, parameter.data.shape) * rng.choice([-1, 1], parameter.data.shape)
    return block


def probe(inception, rng):
    into, widths, seed = int(rng.integers(2, 4)), [int(k) for k in rng.permutation([2, 3, 4, 5, 6, 7])], int(rng.integers(100))
    one, same, other = (inception(into, *widths, rng=np.random.default_rng(s)).state_dict() for s in (seed, seed, seed + 1))
    weights = [name for name, array in one.items() if array.ndim == 4]
    yield "each name in the state", np.array(list(one))
    yield "each weight's size", np.array([one[name].size for name in weights])
    yield "whether one seed repeats all weights", all(np.array_equal(one[name], same[name]) for name in weights)
    yield "whether another seed repeats any", any(np.array_equal(one[name], other[name]) for name in weights)
    yield "each weight's size where widest is 3", np.array(
        [p.data.size for p in inception(into, *widths, widest=3, rng=np.random.default_rng(seed)).parameters() if p.data.ndim == 4])
    block = perturbed(inception(into, *widths, rng=np.random.default_rng(seed)), np.random.default_rng(seed))
    x = rng.normal(size=(2, into, 6, 5))
    out = block(x)
    yield "out", out
    yield "dx", block.backward(rng.normal(size=out.shape))

# %% mistakes="inception"
from nyang_edu.model.pool import AvgPool2d

mistake("the 3 × 3 has no reduction", "Before the 3 × 3 stands a 1 × 1 that leads to ch3x3red channels.",
        swap=("NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3))", "NyangFlow(conv(in_channels, ch3x3, 3))"))
mistake("no large kernel has a reduction", "Before each large kernel stands a 1 × 1 that leads to the `red` number of channels.",
        swap=("""        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch5x5, widest)),""",
              """        conv(in_channels, ch3x3, 3),
        conv(in_channels, ch5x5, widest),"""))
mistake("the large kernels take in_channels", "What comes in there is what the 1 × 1 before returns: ch3x3red, ch5x5red.",
        swap=("""        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch5x5, widest)),""",
              """        NyangFlow(conv(in_channels, ch3x3red, 1), conv(in_channels, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch5x5red, 1), conv(in_channels, ch5x5, widest)),"""))
mistake("the two reductions have changed places", "ch3x3red belongs to the 3 × 3, ch5x5red to the large kernel beside it.",
        swap=("""        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch5x5, widest)),""",
              """        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch5x5, widest)),"""))
mistake("the 1 × 1 comes after the large kernels", "Then the large kernels work on all channels, and nothing is saved. First squeeze, then look.",
        swap=("""        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch5x5, widest)),""",
              """        NyangFlow(conv(in_channels, ch3x3red, 3), conv(ch3x3red, ch3x3, 1)),
        NyangFlow(conv(in_channels, ch5x5red, widest), conv(ch5x5red, ch5x5, 1)),"""))
mistake("the 3 × 3 and 5 × 5 branches have changed places", "The order of the branches is 1 × 1, 3 × 3, 5 × 5, pooling: it decides which channel is which.",
        swap=("""        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch5x5, widest)),""",
              """        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch5x5, widest)),
        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),"""))
mistake("both large kernels are 3 × 3", "The third branch looks farther: its kernel has the size `widest`.",
        swap=("conv(ch5x5red, ch5x5, widest)", "conv(ch5x5red, ch5x5, 3)"))
mistake("both large kernels have the size widest", "The second branch is always 3 × 3. `widest` is for the third.",
        swap=("conv(ch3x3red, ch3x3, 3)", "conv(ch3x3red, ch3x3, widest)"))
mistake("the first branch stands in a flow of its own", "It would compute the same. But the first branch is the basic_conv itself, and a flow around it changes the names of its weights.",
        swap=("        conv(in_channels, ch1x1, 1),", "        NyangFlow(conv(in_channels, ch1x1, 1)),"))
mistake("the convolutions are bare", "Every convolution of the block is a basic_conv: with BatchNorm and ReLU.",
        swap=("return basic_conv(into, out, kernel_size, rng=rng)", "return Conv2d(into, out, kernel_size, padding=kernel_size // 2, rng=rng)"))
mistake("widest is ignored", "The third branch's kernel size is an argument: pass `widest` on.",
        swap=("conv(ch5x5red, ch5x5, widest)", "conv(ch5x5red, ch5x5, 5)"))
mistake("the pooling keeps its default stride", "A pooling's stride is its window unless you say otherwise, so the map shrinks and cannot be joined. Give it stride 1 and padding 1.",
        swap=("MaxPool2d(3, 1, 1)", "MaxPool2d(3)"))
mistake("the pooling steps by its window", "It has a padding, but its stride is still its window, 3. Give it stride 1 too.",
        swap=("MaxPool2d(3, 1, 1)", "MaxPool2d(3, padding=1)"))
mistake("the pooling has no padding", "Without padding the map loses a rim of one pixel and cannot be joined: MaxPool2d takes window, stride, padding.",
        swap=("MaxPool2d(3, 1, 1)", "MaxPool2d(3, 1)"))
@mistake("the pooling is an average", "The paper's fourth branch takes the maximum.")
def inception(*args, **settings):
    block = reference(*args, **settings)
    block[3].layers[0] = AvgPool2d(3, 1, 1)
    return block

mistake("the 1 × 1 stands before the pooling", "First the maximum, then the 1 × 1 that reduces its channels.",
        swap=("NyangFlow(MaxPool2d(3, 1, 1), conv(in_channels, pool_proj, 1))", "NyangFlow(conv(in_channels, pool_proj, 1), MaxPool2d(3, 1, 1))"))
mistake("the pooling has no 1 × 1", "Without it all in_channels are handed on, and the block grows wider with every copy.",
        swap=("NyangFlow(MaxPool2d(3, 1, 1), conv(in_channels, pool_proj, 1))", "NyangFlow(MaxPool2d(3, 1, 1))"))
mistake("rng is not handed on", "Every layer of a model draws from the one generator. Otherwise no run can be repeated.",
        swap=("return basic_conv(into, out, kernel_size, rng=rng)", "return basic_conv(into, out, kernel_size)"))
mistake("rng stands in stride's place", "basic_conv's fourth argument is the stride. Hand rng on by its name: rng=rng.",
        swap=("return basic_conv(into, out, kernel_size, rng=rng)", "return basic_conv(into, out, kernel_size, rng)"))
mistake("a generator with a fixed seed replaces rng", "Then every block begins with the same weights, whatever the user's seed. Hand on the rng that comes in.",
        swap=("    def conv(into, out, kernel_size):\n", "    rng = np.random.default_rng(0)\n\n    def conv(into, out, kernel_size):\n"))
mistake("the branches stand in a row", "A NyangFlow sends one branch's output into the next. Side by side is Parallel.",
        swap=("    return Parallel(\n", "    return NyangFlow(\n"))

# %% [markdown] hints="inception"
# Read the drawing column by column. A column of one box is a `basic_conv`, a column of two a `NyangFlow`. What joins the columns?
#
# ---
#
# `Parallel(branch1, branch2, branch3, branch4)`. In branches 2 and 3 the 1 × 1 leads from in_channels to the `red` number, and the large kernel from there on. The pooling is `MaxPool2d(3, 1, 1)`: window 3, stride 1, padding 1.
#
# ---
#
# ```python
# return Parallel(
#     basic_conv(in_channels, ch1x1, 1, rng=rng),
#     NyangFlow(basic_conv(..., ch3x3red, 1, rng=rng), basic_conv(ch3x3red, ..., 3, rng=rng)),
#     NyangFlow(..., ...),
#     NyangFlow(MaxPool2d(...), ...))
# ```

# %% [markdown]
# ### Exercise 4 ★★: nine blocks from a table
#
# GoogLeNet has nine such blocks. The paper lists their numbers in a table. What it does not list: how many channels come *in*. Each block takes what the one before returns.

# %%
#| export model.zoo.googlenet
GOOGLENET_BLOCKS = {  # block: 1×1, 3×3 reduced, 3×3, 5×5 reduced, 5×5, pooling projected
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}

# %% exercise="inceptions" points=2 stars=2
#| export model.zoo.googlenet
def inceptions(in_channels, rows, widest=5, rng=None):
    """List inception blocks, each of which takes what the one before it returns.

    Args:
        in_channels: of the first block.
        rows: for each block its six numbers, in the order of inception's arguments.
        widest, rng: for all of them.
    """
    ### BEGIN SOLUTION a block for each row; then work out how many channels the next one takes
    blocks = []
    for ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj in rows:
        blocks.append(inception(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj,
                                widest, rng))
        in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj
    return blocks
    ### END SOLUTION

# %%
check(inceptions)

# %% probe="inceptions"
def probe(inceptions, rng):
    into, count, seed = int(rng.integers(2, 5)), int(rng.integers(3, 5)), int(rng.integers(100))
    rows = [[int(k) for k in rng.permutation([1, 2, 3, 4, 5, 6])] for _ in range(count)]
    blocks = inceptions(into, rows, rng=np.random.default_rng(seed))
    yield "the number of blocks", len(blocks)
    yield "the channels that each block takes", np.array([block[0][0].weight.data.shape[1] for block in blocks])
    sizes = [[p.data.size for p in block.parameters()] for block in blocks]
    yield "the size of each parameter", np.array([size for block in sizes for size in block])
    again, other = (inceptions(into, rows, rng=np.random.default_rng(s)) for s in (seed, seed + 1))
    first = [block[0][0].weight.data for block in blocks]
    yield "blocks that one seed repeats", sum(np.array_equal(a, block[0][0].weight.data) for a, block in zip(first, again))
    yield "blocks that another seed repeats", sum(np.array_equal(a, block[0][0].weight.data) for a, block in zip(first, other))
    yield "each widest kernel's shape", np.array([block[2][1][0].weight.data.shape for block in inceptions(into, rows, 3, rng)])
    x = rng.normal(size=(2, into, 4, 5)).astype(np.float32)
    yield "the shape that the blocks in a row return", NyangFlow(*blocks)(x).shape

# %% mistakes="inceptions"
mistake("every block takes in_channels", "After the first block there are other channels. Each takes what the one before it returns.",
        swap=("        in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj\n", ""))
mistake("all six numbers are added up", "The two reduced widths lie inside a branch. They are not part of what the block returns.",
        swap=("in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj", "in_channels = ch1x1 + ch3x3red + ch3x3 + ch5x5red + ch5x5 + pool_proj"))
mistake("the pooling branch is not counted", "The fourth branch has channels too: pool_proj.",
        swap=("in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj", "in_channels = ch1x1 + ch3x3 + ch5x5"))
mistake("the 1 × 1 branch is not counted", "The first branch has channels too: ch1x1.",
        swap=("in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj", "in_channels = ch3x3 + ch5x5 + pool_proj"))
mistake("only the last number is taken", "pool_proj is what the fourth branch returns. The others stand beside it.",
        swap=("in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj", "in_channels = pool_proj"))
mistake("the first four numbers are added up", "There are four branches, but six numbers: two of them lie inside a branch. Which four are returned?",
        swap=("in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj", "in_channels = ch1x1 + ch3x3red + ch3x3 + ch5x5red"))
mistake("in_channels moves on before the block is built", "Build the block with what comes in. Only then work out what the next one takes.",
        swap=("""        blocks.append(inception(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj,
                                widest, rng))
        in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj
""", """        in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj
        blocks.append(inception(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj,
                                widest, rng))
"""))
mistake("the reduced widths are counted instead of the full ones", "A branch returns what its last layer returns: ch3x3 and ch5x5.",
        swap=("in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj", "in_channels = ch1x1 + ch3x3red + ch5x5red + pool_proj"))
mistake("the channels pile up", "A block returns its four branches, and not its input as well.",
        swap=("in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj", "in_channels += ch1x1 + ch3x3 + ch5x5 + pool_proj"))
mistake("the last block is left out", "There is one block for every row.", swap=("    for ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj in rows:",
        "    for ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj in rows[:-1]:"))
mistake("widest is not handed on", "widest is for all blocks. Without it each takes its default, 5.",
        swap=("                                widest, rng))", "                                rng=rng))"))
mistake("rng stands in widest's place", "After the six numbers comes widest, then rng. Hand both on.",
        swap=("                                widest, rng))", "                                rng))"))
mistake("a generator with a fixed seed replaces rng", "Then the weights are the same whatever the user's seed. Hand on the rng that comes in.",
        swap=("    blocks = []\n", "    blocks, rng = [], np.random.default_rng(0)\n"))
mistake("rng is not handed on", "Every block draws from the model's one generator. Otherwise no run can be repeated.",
        swap=("                                widest, rng))", "                                widest))"))

# %% [markdown] hints="inceptions"
# Go down the table with a finger. What does the first block return, and so the second one take?
#
# ---
#
# A loop over the rows. `inception(in_channels, *row, widest, rng)` builds one. A branch returns what its last layer returns, and a join adds the widths up.
#
# ---
#
# ```python
# blocks = []
# for row in rows:
#     blocks.append(inception(...))
#     in_channels = row[0] + ...
# return blocks
# ```

# %% tags=["nbval-check-output"]
def widths(row):
    """Pick what the four branches of a block return."""
    return row[0], row[2], row[4], row[5]


blocks = inceptions(192, GOOGLENET_BLOCKS.values(), rng=np.random.default_rng(0))
for (name, row), block in zip(GOOGLENET_BLOCKS.items(), blocks):
    taken, size = block[0][0].weight.data.shape[1], sum(p.data.size for p in block.parameters())
    print(f"block {name} takes {taken:4d} channels, returns {sum(widths(row)):4d}, has {size:>9,} parameters")

# %% [markdown]
# ### Exercise 5 ★: predict what the head weighs
#
# AlexNet and VGG end with large `Linear` layers on the flattened maps. GoogLeNet takes the *mean* of each map, and then one `Linear`. How many parameters does that `Linear` have, each way?

# %% exercise="head_parameters" points=1 stars=1 reveal=false
def head_parameters(channels, size, num_classes):
    """Count the parameters of one Linear, biases included, behind maps (N, channels, size, size).

    Returns:
        two numbers: where the maps are flattened; where the mean of each map is taken first.
    """
    ### BEGIN SOLUTION how many numbers reach the Linear each way?
    flattened = channels * size * size
    return (flattened + 1) * num_classes, (channels + 1) * num_classes
    ### END SOLUTION

# %%
check(head_parameters)

# %% probe="head_parameters"
def probe(head_parameters, rng):
    channels, size, classes = int(rng.integers(20, 40)), int(rng.integers(5, 9)), int(rng.integers(10, 19))
    flat, mean = head_parameters(channels, size, classes)
    yield "flattened", flat
    yield "with the mean", mean

# %% mistakes="head_parameters"
@mistake("the biases are left out", "A Linear has one bias for each class.")
def head_parameters(channels, size, num_classes):
    return channels * size * size * num_classes, channels * num_classes

@mistake("every weight has its own bias", "There is one bias per class, not one per weight.")
def head_parameters(channels, size, num_classes):
    return 2 * channels * size * size * num_classes, 2 * channels * num_classes

@mistake("there is one bias in all", "Each output of a Linear has its own bias, and there is an output for each class.")
def head_parameters(channels, size, num_classes):
    return channels * size * size * num_classes + 1, channels * num_classes + 1

@mistake("every input has a bias", "A bias belongs to an output, not to an input.")
def head_parameters(channels, size, num_classes):
    return channels * size * size * (num_classes + 1), channels * (num_classes + 1)

@mistake("a map counts as one row", "A map has size rows of size pixels.")
def head_parameters(channels, size, num_classes):
    return (channels * size + 1) * num_classes, (channels + 1) * num_classes

@mistake("the mean changes nothing", "After the mean there is one number per map left.")
def head_parameters(channels, size, num_classes):
    flat = (channels * size * size + 1) * num_classes
    return flat, flat

@mistake("the mean leaves one number per image", "The mean is taken over each map on its own: one number per channel is left.")
def head_parameters(channels, size, num_classes):
    return (channels * size * size + 1) * num_classes, 2 * num_classes

@mistake("the mean is taken over the channels", "The mean goes over the places of a map. All channels are still there.")
def head_parameters(channels, size, num_classes):
    return (channels * size * size + 1) * num_classes, (size * size + 1) * num_classes

@mistake("the two answers have changed places", "First the flattened maps, then the mean.")
def head_parameters(channels, size, num_classes):
    return (channels + 1) * num_classes, (channels * size * size + 1) * num_classes

# %% [markdown] hints="head_parameters"
# A `Linear` from D numbers to K classes has a weight for each pair. What is D, each way?
#
# ---
#
# Flattened: channels · size². With the mean: channels. The parameters are D · K weights and K biases.
#
# ---
#
# ```python
# flattened = ...
# return (flattened + ...) * num_classes, (... + ...) * num_classes
# ```

# %% tags=["nbval-check-output"]
flat, mean = head_parameters(1024, 7, 1000)
print(f"GoogLeNet's last maps: {flat:,} parameters flattened, {mean:,} with the mean")
print(f"its nine blocks have {sum(p.data.size for block in blocks for p in block.parameters()):,}")

# %% [markdown]
# Flattened, that one layer would outweigh all nine blocks. With the mean it does not. And the mean does not care how large the picture is, or where in it the cat sits.
#
# ## Heads that help to train
#
# The paper's network has 22 layers with weights, and in 2014 that was deep: the authors feared that too little gradient would arrive at the first ones. So they let the network answer three times: at its end, and from
# two places on the way. Each of the two *auxiliary heads* is a small classifier. They serve in training only. Afterwards they are thrown away.
#
# ### Exercise 6 ★★: the auxiliary head
#
# Average the maps down to 4 × 4 (`AdaptiveAvgPool2d`, 09). A `basic_conv` 1 × 1 to `neck` channels. Flatten. `Linear` to `hidden`, ReLU, dropout, `Linear` to the classes. Whatever draws gets `rng`, the dropout too.

# %% exercise="auxiliary_head" points=2 stars=2
#| export model.zoo.googlenet
def auxiliary_head(in_channels, num_classes, neck=128, hidden=1024, dropout=0.7, rng=None):
    """Build a small classifier for maps inside a network: a NyangFlow of seven layers.

    Shapes: x (N, in_channels, H, W) → logits (N, num_classes), for any H and W.

    Source: Szegedy et al. (2015), section 5; the pooling to 4×4 as in torchvision.
    """
    ### BEGIN SOLUTION the seven layers in a flow; the Flatten leaves neck · 4 · 4 numbers
    return NyangFlow(
        AdaptiveAvgPool2d(4), basic_conv(in_channels, neck, 1, rng=rng), Flatten(),
        Linear(neck * 4 * 4, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng),
        Linear(hidden, num_classes, rng=rng))
    ### END SOLUTION

# %%
check(auxiliary_head)

# %% probe="auxiliary_head"
def perturbed(block, rng):
    """The block in float64, every parameter drawn anew: zeros and ones hide mistakes."""
    for parameter in block.to(np.float64).parameters():
        parameter.data[...] = rng.uniform(0.2, 1, parameter.data.shape) * rng.choice([-1, 1], parameter.data.shape)
    return block


def reseed(head, seed):
    """Let the dropout draw anew, whichever generator it was given."""
    for _, layer in head.named_layers():
        if isinstance(layer, Dropout):
            layer.rng = np.random.default_rng(seed)


def probe(auxiliary_head, rng):
    into, classes, neck, hidden, seed = (int(k) for k in (*rng.permutation([2, 3, 4, 5]), rng.integers(100)))
    hidden, dropped = hidden + 20, float(rng.choice([0.2, 0.3, 0.4]))
    one, same, other = (auxiliary_head(into, classes, neck, hidden, rng=np.random.default_rng(s)).state_dict() for s in (seed, seed, seed + 1))
    weights = [name for name, array in one.items() if name.endswith("weight") and array.ndim > 1]
    yield "each name in the state", np.array(list(one))
    yield "the shape of each weight", np.array([str(one[name].shape) for name in weights])
    yield "whether one seed repeats all weights", all(np.array_equal(one[name], same[name]) for name in weights)
    yield "whether another seed repeats any", any(np.array_equal(one[name], other[name]) for name in weights)
    head, twin = (perturbed(auxiliary_head(into, classes, neck, hidden, dropped, rng=np.random.default_rng(seed)), np.random.default_rng(seed))
                  for _ in range(2))
    x = rng.normal(size=(3, into, 9, 7))
    yield "whether one seed repeats what is dropped", np.array_equal(head(x), twin(x))
    reseed(head, seed)
    out = head(x)
    yield "out in training", out
    yield "dx in training", head.backward(rng.normal(size=out.shape))
    yield "out in eval mode", head.eval()(x)
    yield "the shape of out for larger maps", head(rng.normal(size=(2, into, 14, 14))).shape

# %% mistakes="auxiliary_head"
from nyang_edu.model.activation import Softmax
from nyang_edu.model.pool import AdaptiveMaxPool2d

mistake("the maps are averaged to one number", "The head looks at 4 × 4 places of each map: AdaptiveAvgPool2d(4).",
        swap=("AdaptiveAvgPool2d(4), basic_conv(in_channels, neck, 1, rng=rng), Flatten(),\n        Linear(neck * 4 * 4, hidden, rng=rng)",
              "AdaptiveAvgPool2d(1), basic_conv(in_channels, neck, 1, rng=rng), Flatten(),\n        Linear(neck, hidden, rng=rng)"))
@mistake("the maps are reduced by their maximum", "The paper's heads take averages.")
def auxiliary_head(*args, **settings):
    return NyangFlow(AdaptiveMaxPool2d(4), *reference(*args, **settings).layers[1:])

@mistake("the head ends with a softmax", "A head returns logits; the loss applies the softmax itself (05).")
def auxiliary_head(*args, **settings):
    return NyangFlow(*reference(*args, **settings).layers, Softmax(axis=1))

mistake("no ReLU between the two Linears", "Two linear layers without a bend between them are one linear map (04).",
        swap=("ReLU(), Dropout(dropout, rng=rng),", "Dropout(dropout, rng=rng),"))
mistake("the dropout is left out", "Between the two Linears stands a Dropout(dropout).", swap=("ReLU(), Dropout(dropout, rng=rng),", "ReLU(),"))
mistake("the logits are dropped out", "Dropout stands before the last Linear. After it, a class would lose its whole score at random.",
        swap=("""ReLU(), Dropout(dropout, rng=rng),
        Linear(hidden, num_classes, rng=rng))""", """ReLU(),
        Linear(hidden, num_classes, rng=rng), Dropout(dropout, rng=rng))"""))
mistake("the dropout is always 0.7", "The share is an argument: pass `dropout` on.", swap=("Dropout(dropout, rng=rng)", "Dropout(0.7, rng=rng)"))
mistake("the dropout has its default share", "The share is an argument: pass `dropout` on.",
        swap=("Dropout(dropout, rng=rng)", "Dropout(rng=rng)"))
mistake("the share to keep is passed as the share to drop", "Dropout's p is what is dropped (10), and so is the argument `dropout`.",
        swap=("Dropout(dropout, rng=rng)", "Dropout(1 - dropout, rng=rng)"))
mistake("the dropout draws from a generator of its own", "The dropout draws from rng too. Otherwise no run can be repeated.",
        swap=("Dropout(dropout, rng=rng)", "Dropout(dropout)"))
mistake("the logits go through a ReLU", "A logit may be negative. The head ends with the Linear.",
        swap=("Linear(hidden, num_classes, rng=rng))", "Linear(hidden, num_classes, rng=rng), ReLU())"))
mistake("the first Linear takes neck numbers", "Flatten leaves all numbers of a sample: neck maps, each of 4 × 4.",
        swap=("neck * 4 * 4", "neck"))
mistake("the first Linear takes neck rows of 4", "Flatten leaves all numbers of a sample: neck maps, each of 4 rows of 4.",
        swap=("neck * 4 * 4", "neck * 4"))
mistake("the first Linear takes in_channels maps", "The 1 × 1 before has squeezed them: neck maps are left.",
        swap=("neck * 4 * 4", "in_channels * 4 * 4"))
mistake("neck is always 128", "128 is only its default. Use the argument.",
        swap=("basic_conv(in_channels, neck, 1, rng=rng), Flatten(),\n        Linear(neck * 4 * 4, hidden, rng=rng)",
              "basic_conv(in_channels, 128, 1, rng=rng), Flatten(),\n        Linear(128 * 4 * 4, hidden, rng=rng)"))
mistake("hidden is always 1024", "1024 is only its default. Use the argument.",
        swap=("hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng),\n        Linear(hidden,",
              "1024, rng=rng), ReLU(), Dropout(dropout, rng=rng),\n        Linear(1024,"))
mistake("the neck is a 3 × 3", "The maps are squeezed by a 1 × 1.", swap=("neck, 1, rng=rng", "neck, 3, rng=rng"))
mistake("the Flatten is left out", "A Linear takes rows (N, D). Flatten makes them of the maps.", swap=(" Flatten(),", ""))
mistake("the neck is a bare convolution", "The 1 × 1 is a basic_conv: with BatchNorm and ReLU.",
        swap=("basic_conv(in_channels, neck, 1, rng=rng)", "Conv2d(in_channels, neck, 1, rng=rng)"))
mistake("the convolution comes before the pooling", "First make the maps small, then convolve: it costs less, and the ReLU sees the averages.",
        swap=("AdaptiveAvgPool2d(4), basic_conv(in_channels, neck, 1, rng=rng),", "basic_conv(in_channels, neck, 1, rng=rng), AdaptiveAvgPool2d(4),"))
mistake("a generator with a fixed seed replaces rng", "Then every head begins with the same weights, whatever the user's seed. Hand on the rng that comes in.",
        swap=("    return NyangFlow(\n", "    rng = np.random.default_rng(0)\n    return NyangFlow(\n"))
mistake("a layer with weights is not given rng", "Every layer draws from the one generator. Otherwise no run can be repeated.",
        swap=("""Linear(neck * 4 * 4, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng),
        Linear(hidden, num_classes, rng=rng))""", """Linear(neck * 4 * 4, hidden), ReLU(), Dropout(dropout, rng=rng),
        Linear(hidden, num_classes))"""))

# %% [markdown] hints="auxiliary_head"
# Seven layers in a row, in the order of the text. How many numbers does Flatten leave?
#
# ---
#
# `neck` maps of 4 × 4: neck · 16 numbers. The dropout draws from rng too.
#
# ---
#
# ```python
# return NyangFlow(
#     AdaptiveAvgPool2d(...), basic_conv(...), Flatten(),
#     Linear(..., hidden, rng=rng), ..., Dropout(..., rng=rng),
#     Linear(...))
# ```

# %% [markdown]
# ### Where a head joins in
#
# At its place the network forks: on to the end, or into the head. A fork is a `Parallel`. The logits of both are joined along the *samples*, so the output has 2N rows. In eval mode only the first branch is `active`, and N rows
# come out. No backward has to be written.

# %%
#| export
class Auxiliary(Parallel):
    """In training, run heads beside a trunk, rows joined; in eval mode, the trunk alone.

    Shapes: x, any → out (N · number of branches, …) in training, the trunk's rows first;
    (N, …) in eval mode.

    Raises:
        ValueError: in forward, where the outputs differ in more than their rows.

    Source: Szegedy et al., Going deeper with convolutions (2015), section 5.
    """

    def __init__(self, trunk, *heads):
        super().__init__(trunk, *heads, axis=0)

    def active(self):
        """List the branches that run: all in training, the trunk in eval mode."""
        return self.branches if self.training else self.branches[:1]

# %% [markdown]
# ### Exercise 7 ★★★: a loss for several heads
#
# The rows are those of the main head, then those of each auxiliary head. All have the same targets:
#
# $$L = L_0 + w\,(L_1 + L_2 + \dots), \qquad w = 0.3.$$
#
# Every $L_k$ is a mean over N samples, from one and the same loss object, used once per head. Its memory is a stack.

# %% exercise="AuxiliaryLoss" points=3 stars=3
#| export training.auxiliary
class AuxiliaryLoss(Loss):
    """Add up the losses of several heads: L = L_0 + weight · (L_1 + L_2 + …).

    Shapes: pred (H·N, …), the rows of head 0 first; target (N, …) → float; dpred as pred.
    With H = 1, as from a model in eval mode, it is the inner loss.

    Args:
        loss: the Loss of each head; weight: of every head but the first.

    Raises:
        ValueError: where pred has not a multiple of target's rows.

    Source: Szegedy et al., Going deeper with convolutions (2015), section 5.
    """

    def __init__(self, loss, weight=0.3):
        self.loss, self.weight = loss, weight

    def forget(self):
        """Drop what is saved, in the inner loss too."""
        super().forget()
        self.loss.forget()

    def forward(self, pred, target):
        """Return the weighted sum of the heads' losses."""
        if len(target) == 0 or len(pred) % len(target) or len(pred) == 0:
            self.refuse(f"a multiple of the {len(target)} targets as rows", len(pred),
                        "pass what a model with Auxiliary heads returns")
        ### BEGIN SOLUTION cut pred into heads, take the loss of each, save their number, add up
        heads = np.split(pred, len(pred) // len(target))
        losses = [self.loss.forward(head, target) for head in heads]
        self.save(len(heads))
        return losses[0] + self.weight * sum(losses[1:])
        ### END SOLUTION

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        ### BEGIN SOLUTION one backward of the inner loss per head, last first; weigh, and join
        count = self.saved()
        shares = [self.loss.backward() for _ in range(count)][::-1]
        return np.concatenate([shares[0], *(self.weight * share for share in shares[1:])])
        ### END SOLUTION

# %%
check(AuxiliaryLoss)

# %% probe="AuxiliaryLoss"
from nyang_edu.training.loss import CrossEntropyLoss, MSELoss


def probe(AuxiliaryLoss, rng):
    N, C = int(rng.integers(4, 8)), int(rng.integers(3, 6))
    weight = float(rng.choice([rng.uniform(0.15, 0.25), rng.uniform(0.35, 0.45)]))
    pred, labels = rng.normal(size=(3 * N, C)), rng.integers(0, C, N)
    loss = AuxiliaryLoss(CrossEntropyLoss(), weight)
    yield "the loss of three heads", loss(pred, labels)
    yield "dpred of three heads", loss.backward()
    yield "the loss of one head", loss(pred[:N], labels)
    yield "dpred of one head", loss.backward()
    yield "the loss of two heads", loss(pred[:2 * N], labels)
    yield "dpred of two heads", loss.backward()
    target = rng.normal(size=(N, 2))
    squares = AuxiliaryLoss(MSELoss())
    yield "the squared loss with the weight of the paper", squares(pred[:2 * N, :2], target)
    yield "dpred of the squared loss", squares.backward()
    loss(pred, labels)
    loss.forward(pred[:2 * N] * 2, labels)
    yield "dpred of the later of two calls", loss.backward()
    yield "dpred of the earlier of two calls", loss.backward()
    yield "the loss in float32", loss(pred.astype(np.float32), labels)
    yield "dpred in float32", loss.backward()

# %% mistakes="AuxiliaryLoss"
mistake("the weight is missing in forward", "Only the first head counts in full. The others' losses are multiplied by the weight.",
        swap=("return losses[0] + self.weight * sum(losses[1:])", "return sum(losses)"))
mistake("the weight is missing in backward", "A factor in forward is the same factor in backward: the auxiliary heads' gradients are multiplied by the weight.",
        swap=("*(self.weight * share for share in shares[1:])", "*shares[1:]"))
mistake("the main head is weighted too", "The main head counts in full: L = L_0 + weight · (…).",
        swap=("return losses[0] + self.weight * sum(losses[1:])", "return self.weight * sum(losses)"))
mistake("the weight is always 0.3", "0.3 is only the default. Use self.weight in both passes.",
        swap=("self.loss, self.weight = loss, weight", "self.loss, self.weight = loss, 0.3"))
@mistake("the weight stands before the main head", "The main head counts in full. The weight belongs to the others, in both passes.")
class AuxiliaryLoss(reference):
    def forward(self, pred, target):
        heads = np.split(pred, len(pred) // len(target))
        losses = [self.loss.forward(head, target) for head in heads]
        self.save(len(heads))
        return self.weight * losses[0] + sum(losses[1:])

    def backward(self):
        shares = [self.loss.backward() for _ in range(self.saved())][::-1]
        return np.concatenate([self.weight * shares[0], *shares[1:]])

@mistake("the sum is divided by the number of heads", "The formula has no mean over the heads: it is a sum, weighted.")
class AuxiliaryLoss(reference):
    def forward(self, pred, target):
        return super().forward(pred, target) * len(target) / len(pred)

    def backward(self):
        count = self._stack[-1][0]
        return super().backward() / count

mistake("only the main head counts in the loss", "The auxiliary heads' losses are added, each with the weight.",
        swap=("return losses[0] + self.weight * sum(losses[1:])", "return losses[0]"))
mistake("the auxiliary losses are averaged", "The formula has their sum: each counts with the weight, however many there are.",
        swap=("self.weight * sum(losses[1:])", "self.weight * sum(losses[1:]) / max(1, len(losses) - 1)"))
mistake("the heads' gradients come back in reverse", "The inner loss is a stack: its first backward belongs to the last head. Turn the list around.",
        swap=("[self.loss.backward() for _ in range(count)][::-1]", "[self.loss.backward() for _ in range(count)]"))
mistake("the blocks of dpred stand in reverse", "Each gradient has its right weight, but the main head's rows come first in pred, so they come first in dpred.",
        swap=("[shares[0], *(self.weight * share for share in shares[1:])]", "[*(self.weight * share for share in shares[:0:-1]), shares[0]]"))
mistake("one backward serves all heads", "Each head has its own gradient: call the inner loss's backward once for every head.",
        swap=("[self.loss.backward() for _ in range(count)][::-1]", "[self.loss.backward()] * count"))
mistake("the heads' gradients are added", "Every head has its own rows of pred, so also of dpred. Put the blocks under each other.",
        swap=("np.concatenate([shares[0], *(self.weight * share for share in shares[1:])])",
              "shares[0] + sum(self.weight * share for share in shares[1:])"))
mistake("the heads' gradients are stacked on a new axis", "dpred has pred's shape: join the blocks along the rows, with np.concatenate.",
        swap=("np.concatenate([", "np.stack(["))
mistake("the heads' gradients are joined along the classes", "The heads' rows stand under each other in pred: join along axis 0.",
        swap=("for share in shares[1:])])", "for share in shares[1:])], axis=1)"))
mistake("dpred is float64 in any case", "dpred has pred's dtype. np.zeros makes float64 unless it is told one.",
        swap=("for share in shares[1:])])", "for share in shares[1:])]).astype(np.float64)"))
mistake("there are as many heads as targets", "The targets are one head's rows. How often do they fit into pred?",
        swap=("np.split(pred, len(pred) // len(target))", "np.split(pred, len(target))"))
mistake("there are always three heads", "A model may have one head or five, and in eval mode there is one. The rows tell: len(pred) // len(target).",
        swap=("np.split(pred, len(pred) // len(target))", "np.split(pred, 3)"))
@mistake("the number of heads is kept in an attribute", "A second forward before the backward overwrites it. self.save keeps a stack.")
class AuxiliaryLoss(reference):
    def forward(self, pred, target):
        value = super().forward(pred, target)
        self.kept = super().saved()
        return value

    def saved(self):
        return self.kept

mistake("the heads' rows are taken as interleaved", "The rows of one head stand together: first all of the main head, then all of the next.",
        swap=("heads = np.split(pred, len(pred) // len(target))", "heads = [pred[k::len(pred) // len(target)] for k in range(len(pred) // len(target))]"))
mistake("the auxiliary heads get no gradient", "Every head that counts in the loss gets a gradient: the weight times its own.",
        swap=("*(self.weight * share for share in shares[1:])", "*(0 * share for share in shares[1:])"))
mistake("the last head counts as the main one", "The main head's rows come first.",
        swap=("return losses[0] + self.weight * sum(losses[1:])", "return losses[-1] + self.weight * sum(losses[:-1])"))
mistake("the inner loss is called as loss(pred, target)", "Its call starts afresh and forgets the heads before. Inside another loss, call forward.",
        swap=("self.loss.forward(head, target)", "self.loss(head, target)"))
@mistake("all heads are one large batch", "Then every gradient is as many times too small as there are heads, for the mean is over all rows. Take the loss of each head alone.")
class AuxiliaryLoss(reference):
    def forward(self, pred, target):
        count = len(pred) // len(target)
        self.save(count)
        return self.loss.forward(pred, np.concatenate([target] * count))

    def backward(self):
        self.saved()
        return self.loss.backward()

# %% [markdown] hints="AuxiliaryLoss"
# How many heads are there? The targets tell: pred has as many blocks of rows as `len(pred) / len(target)`.
#
# ---
#
# `np.split(pred, count)` cuts into equal blocks. Call `self.loss.forward` once for each, in order, and `self.loss.backward()` as often: the first answer belongs to the *last* head.
#
# ---
#
# ```python
# # forward
# heads = np.split(pred, ...)
# losses = [... for head in heads]
# self.save(...)
# return losses[0] + ...
#
# # backward
# count = self.saved()
# shares = [... for _ in range(count)][::-1]
# return np.concatenate([shares[0], *(... for share in shares[1:])])
# ```

# %% [markdown]
# ## The network
#
# `assemble` wires everything: a stem that goes down fast, two blocks, five, two, with pooling between. The heads sit behind 4a and 4d. `forked` puts an `Auxiliary` there, or nothing.
#
# `googlenet_small` is the same network at an eighth of its width, for 32 × 32 images.

# %%
#| export model.zoo.googlenet
def forked(layers, head):
    """Return the layers as they are, or as the trunk of an Auxiliary where there is a head."""
    return layers if head is None else [Auxiliary(NyangFlow(*layers), head)]


def assemble(stem, num_classes, rng, *, widest, shrink=1, aux_logits=False, dropout=0.2,
             dropout_aux=0.7):
    """Wire stem → 3a 3b → pool → 4a … 4e → pool → 5a 5b → tail, with heads behind 4a and 4d.

    Args:
        stem: a list of layers that returns 192 // shrink channels.
        num_classes, rng, aux_logits: as googlenet; dropout, dropout_aux: of the tail, the heads.
        widest: the large kernel's size; shrink: what the paper's widths are divided by.
    """
    rows = [[n // shrink for n in row] for row in GOOGLENET_BLOCKS.values()]
    blocks = inceptions(192 // shrink, rows, widest, rng)
    tail = [GlobalAvgPool(), Dropout(dropout, rng=rng),
            Linear(1024 // shrink, num_classes, rng=rng)]
    heads = [auxiliary_head(channels // shrink, num_classes, 128 // shrink, 1024 // shrink,
                            dropout_aux, rng)
             for channels in (512, 528)] if aux_logits else (None, None)
    end = [blocks[6], MaxPool2d(2, 2, ceil_mode=True), *blocks[7:], *tail]
    middle = [*blocks[3:6], *forked(end, heads[1])]
    return NyangFlow(*stem, *blocks[:2], MaxPool2d(3, 2, ceil_mode=True), blocks[2],
                     *forked(middle, heads[0]))


def googlenet(num_classes=1000, rng=None, *, aux_logits=False, **settings):
    """Build GoogLeNet for 224×224 images: 6,624,904 parameters with 1000 classes.

    Shapes: x (N, 3, H, W) → logits (N, num_classes); with aux_logits (6,379,984 parameters
    more) in training (3·N, num_classes): the main head, the second, the first; see AuxiliaryLoss.
    settings: dropout and dropout_aux of assemble.

    Source: Szegedy et al. (2015), table 1; BatchNorm and kernel sizes as in torchvision.
    """
    rng = rng or np.random.default_rng()
    stem = [basic_conv(3, 64, 7, 2, rng), MaxPool2d(3, 2, ceil_mode=True),
            basic_conv(64, 64, 1, rng=rng), basic_conv(64, 192, 3, rng=rng),
            MaxPool2d(3, 2, ceil_mode=True)]
    return assemble(stem, num_classes, rng, widest=3, aux_logits=aux_logits, **settings)


def googlenet_small(num_classes=10, rng=None, *, in_channels=3, shrink=8, aux_logits=False,
                    **settings):
    """Build GoogLeNet for 32×32 images, its widths divided by shrink, its wide kernels 5×5.

    shrink: 1, 2, 4 or 8. Shapes and the other arguments as googlenet.
    """
    rng = rng or np.random.default_rng()
    stem = [basic_conv(in_channels, 192 // shrink, 3, rng=rng), MaxPool2d(3, 2, ceil_mode=True)]
    return assemble(stem, num_classes, rng, widest=5, shrink=shrink, aux_logits=aux_logits,
                    **settings)

# %% [markdown]
# The names for PyTorch's library torchvision, and `main_path`: the layers that run in eval mode, in a row, as if the heads had never been there.

# %%
#| export model.zoo.googlenet
def main_path(model):
    """List the layers from input to logits, the heads left out; they are the model's own."""
    layers = []
    for layer in model:
        layers += main_path(layer[0]) if isinstance(layer, Auxiliary) else [layer]
    return layers


def auxiliary_heads(model):
    """List the heads, the first one first."""
    forks = [layer for _, layer in model.named_layers() if isinstance(layer, Auxiliary)]
    return [fork[1] for fork in forks]


def googlenet_torchvision_names(model):
    """Return {name in model.state_dict(): torchvision's name} for a GoogLeNet, small ones too."""
    path = main_path(model)
    inside = [f"inception{name}" for name in GOOGLENET_BLOCKS]
    parts = ["conv1", "maxpool1", "conv2", "conv3", "maxpool2"][:len(path) - 14]
    parts += [*inside[:2], "maxpool3", *inside[2:7], "maxpool4", *inside[7:]]
    pairs = [*zip([*parts, "avgpool", "dropout", "fc"], path, strict=True),
             *zip(("aux1", "aux2"), auxiliary_heads(model))]
    own = {id(array): name for name, array in model.named_arrays()}
    return {own[id(array)]: f"{part}.{_inner_name(part, name)}"
            for part, layer in pairs for name, array in layer.named_arrays()}


def _inner_name(part, name):
    """Translate a name inside a part, as "2.1.0.weight" into "branch3.1.conv.weight"."""
    *places, attribute = name.split(".")
    if part.startswith("inception"):
        places[0] = f"branch{int(places[0]) + 1}"
    if part.startswith("aux"):
        places[0] = {"1": "conv", "3": "fc1", "6": "fc2"}[places[0]]
    if places and places[-1] in ("0", "1"):
        places[-1] = ("conv", "bn")[int(places[-1])]
    return ".".join([*places, attribute])

# %% tags=["nbval-check-output"]
model = googlenet(rng=np.random.default_rng(0))
cost = model.summary((3, 224, 224), depth=1)
print(cost)
names = googlenet_torchvision_names(model)
for name in ("0.0.weight", "5.2.1.0.weight", "15.3.1.1.running_mean", "18.bias"):
    print(f"{name:24s} → {names[name]}")

# %% [markdown]
# The parameters are torchvision's, and so are the names: weights trained with PyTorch can be loaded. (torchvision's own want pixels from −1 to 1.) The blocks weigh less than in the
# list of exercise 4, for this network has the 3 × 3 in place of the 5 × 5.
#
# More than half of the multiplications happen before block 4a, on large maps, but most parameters lie in what comes after it.
#
# ### How three gradients meet
#
# Backward is linear in dout. So the three losses can be sent back one at a time. At a fork `Parallel` adds what arrives from both sides. Then all three together have to be the sum of the three alone.

# %% tags=["nbval-check-output"]
from nyang_edu.data.cats_dogs import CLASSES, draw_cats_dogs

photos, kinds, masks, _ = draw_cats_dogs(3500, size=32, seed=0)
animals = ((photos / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2).copy()  # (3500, 3, 32, 32)
model = googlenet_small(2, np.random.default_rng(0), aux_logits=True, dropout=0, dropout_aux=0).to(np.float64)
loss = AuxiliaryLoss(CrossEntropyLoss())


def gradients(heads):
    """Send back the gradient of these heads alone: 0 the main one, 1 the one behind 4d, 2 behind 4a."""
    model.zero_grad()
    loss(model(animals[:64].astype(np.float64)), kinds[:64])
    dout = loss.backward().reshape(3, 64, 2) * np.isin([0, 1, 2], heads)[:, None, None]
    model.backward(dout.reshape(-1, 2))
    return [one.grad.copy() for one in model.parameters()]


alone, together = [gradients([k]) for k in range(3)], gradients([0, 1, 2])
print("the three add up:", all(np.allclose(sum(parts), whole) for *parts, whole in zip(*alone, together)))

# %%
wide = [k for k, one in enumerate(model.parameters()) if one.data.shape[2:] == (3, 3)]
places = ["stem", *GOOGLENET_BLOCKS]
fig, ax = plt.subplots(figsize=(8, 3))
for label, parts, colour in [("the main loss", alone[0], BLUE), ("the head behind 4d", alone[1], ORANGE), ("the head behind 4a", alone[2], GREEN)]:
    norms = [np.linalg.norm(parts[k]) for k in wide]
    reached = [k for k, norm in enumerate(norms) if norm > 0]
    ax.semilogy(reached, [norms[k] for k in reached], "o-", ms=4, color=colour, label=label)
ax.set(xticks=range(10), xticklabels=places, ylabel="norm of the gradient", title="the 3 × 3 convolution of each block, before the first step")
ax.legend()
plt.show()

# %% [markdown]
# A head's gradient begins at its fork and runs back from there. (The weight 0.3 is included.) But look at the blue line. With a BatchNorm behind every convolution the main gradient does not die on its way back, it grows. The paper did not have BatchNorm. Here the first layers would do without the heads.
# Two of the authors found later, with others, that leaving out the lower head did no harm, and took such heads for a regulariser (Szegedy et al., 2016, section 4).
#
# ### Exercise 8 ★: break it and say why
#
# "A pooling has no weights, so its branch needs no 1 × 1." Somebody leaves it out of every block. Then the fourth branch hands on all channels that come in. Ahead of n blocks there are `in_channels`, and the other three branches of each block return `added`
# channels together. How many channels are there in the end?

# %% exercise="naive_channels" points=1 stars=1
def naive_channels(in_channels, added, n):
    """Count the channels behind n blocks whose pooling has no 1×1.

    Args:
        in_channels: before the first block.
        added: what the three convolutional branches of a block return together.
        n: the number of blocks, 0 or more.
    """
    ### BEGIN SOLUTION what one block makes of its channels, n times
    return in_channels + n * added
    ### END SOLUTION

# %%
check(naive_channels)

# %% probe="naive_channels"
def probe(naive_channels, rng):
    into, added, n = int(rng.integers(20, 40)), int(rng.integers(41, 60)), int(rng.integers(3, 9))
    yield "the channels in the end", naive_channels(into, added, n)
    yield "the channels where there is no block", naive_channels(into, added, 0)

# %% mistakes="naive_channels"
@mistake("the pooling hands nothing on", "Its branch returns all the channels that come in. They stand beside the others'.")
def naive_channels(in_channels, added, n):
    return added if n else in_channels

@mistake("only the first input is handed on", "Each block hands on all that comes in, what the blocks before have added included.")
def naive_channels(in_channels, added, n):
    return in_channels + added if n else in_channels

@mistake("the channels are doubled in each block", "The pooling returns as many channels as come in, and the others add to them. Nothing is multiplied.")
def naive_channels(in_channels, added, n):
    return (in_channels + added) * 2 ** (n - 1) if n else in_channels

@mistake("in_channels doubles in each block", "The pooling hands on what comes in, once. The other branches return `added`, whatever comes in.")
def naive_channels(in_channels, added, n):
    return in_channels * 2**n + added * (2**n - 1)

@mistake("the channels before the first block are left out", "They are handed on too, from block to block, up to the end.")
def naive_channels(in_channels, added, n):
    return n * added

@mistake("every branch returns added channels", "added counts the three convolutional branches together.")
def naive_channels(in_channels, added, n):
    return in_channels + 3 * n * added

@mistake("one block is left out", "All n blocks add their channels.")
def naive_channels(in_channels, added, n):
    return in_channels + max(n - 1, 0) * added

@mistake("the input is counted again in each block", "The channels that come in contain the earlier ones already.")
def naive_channels(in_channels, added, n):
    return n * (in_channels + added) if n else in_channels

# %% [markdown] hints="naive_channels"
# Take one block. in_channels come in. What does the join hold?
#
# ---
#
# A block returns what came in, and `added` more. The next one does the same.
#
# ---
#
# ```python
# return in_channels + ... * ...
# ```

# %% tags=["nbval-check-output"]
into, wide, counts = 192, 192, np.zeros(3)
for size, row in zip([28] * 2 + [14] * 5 + [7] * 2, GOOGLENET_BLOCKS.values()):
    without = *row[:5], 0  # no 1 × 1 behind the pooling
    counts += block_multiplies(size, into, row), block_multiplies(size, wide, without), block_multiplies(size, wide, row, reduced=False)
    into, wide = sum(widths(row)), naive_channels(wide, sum(widths(row)[:3]), 1)
for name, channels, count in zip(["every 1 × 1", "none behind the pooling", "none before or behind"], [into, wide, wide], counts):
    print(f"{name:23s}: {channels:4d} channels in the end, {count / 1e9:4.1f} billion multiplications in nine blocks")

# %% [markdown]
# A branch without weights is not free: everyone behind it pays for its channels. In the second line each block has one convolution less than in the first, and the nine of them cost more.
#
# ## Use: cats and dogs
#
# Drawn animals, told apart by shape alone. First the number to beat: one `Linear` on the pixels.

# %%
from nyang_edu.data.dataset import ArrayDataset
from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.scheduler import CosineDecay, WarmUp
from nyang_edu.training.train import nyang_train


def mirrored(image, rng):
    """Mirror every second animal: it stays what it is."""
    return image[:, :, ::-1] if rng.random() < 0.5 else image


train_set = NyangDataLoader(ArrayDataset(animals[:3000], kinds[:3000], mirrored), 64, shuffle=True, drop_last=True)
test_set = NyangDataLoader(ArrayDataset(animals[3000:], kinds[3000:]), 250)


def train_on_animals(model, loss, lr, epochs):
    optimizer = SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * len(train_set)
    schedule = WarmUp(optimizer, steps // 5, CosineDecay(optimizer, steps - steps // 5, every="step"), every="step")
    return nyang_train(model, optimizer, loss, train_set, test_set, epochs, scheduler=schedule, plot=False, progress=False)


linear = NyangFlow(Flatten(), Linear(3 * 32 * 32, 2, rng=np.random.default_rng(0)))
baseline = train_on_animals(linear, CrossEntropyLoss(), lr=0.002, epochs=10)
print(f"a linear model on the pixels: {baseline['valid_accuracy'][-1]:.1%} of 500 new animals")

# %% [markdown]
# Now the small GoogLeNet with both heads. `nyang_train` needs nothing new. In training it sees three times as many rows, and `AuxiliaryLoss` knows what to do with them. It validates in eval mode, where the heads are silent. So the two columns of losses do not measure the same: `train_loss` counts the heads too.

# %%
model = googlenet_small(2, np.random.default_rng(0), aux_logits=True)
history = train_on_animals(model, AuxiliaryLoss(CrossEntropyLoss()), lr=0.1, epochs=5)
print(history)

# %%
fig, ax = plt.subplots(figsize=(6, 2.8))
ax.plot(history["epoch"], history["valid_accuracy"], "o-", label="small GoogLeNet, main head")
ax.axhline(baseline["valid_accuracy"][-1], color=GREY, ls="--", label="linear model, after 10 epochs")
ax.axhline(0.95, color=ORANGE, ls=":", label="the floor")
ax.set(xlabel="epoch", ylabel="accuracy on new animals", xticks=history["epoch"], ylim=(0.45, 1.02))
ax.legend(loc="lower right")
plt.show()

# %% tags=["nbval-check-output"]
reached, linear_reached = history["valid_accuracy"][-1], baseline["valid_accuracy"][-1]
assert linear_reached < 0.75, f"a linear model should stay below 75%, it reaches {linear_reached:.1%}"
assert reached >= 0.95, f"the network should reach 95%, it reaches {reached:.1%}"
print(f"linear below 75%: {linear_reached < 0.75}; GoogLeNet at least 95%: {reached >= 0.95}")

# %% [markdown]
# ### What the heads know
#
# The heads learned to answer from half-way. Wake them up, with everything else in eval mode, and ask all three about the new animals.

# %%
model.eval()
for _, layer in model.named_layers():
    if isinstance(layer, Auxiliary):
        layer.training = True
answers = model(animals[3000:]).reshape(3, 500, 2).argmax(axis=2)
model.eval()
right = (answers == kinds[3000:]).mean(axis=1)
for name, share in zip(("the end", "behind 4d", "behind 4a"), right):
    print(f"{name:10s} {share:.1%}")

# %% [markdown]
# Three blocks may be nearly enough for this task. A network can use that: answer early where the first head is sure, and go on only where it is not.
#
# ### Where it looks
#
# `grad_cam` (15) asks which places of a layer's maps speak for the answer. It needs the network in two halves. `main_path` gives them: the maps between are those of block 4e, 8 × 8 places.

# %%
from nyang_edu.evaluation.grad_cam import grad_cam

path = main_path(model)
front, back = NyangFlow(*path[:10]), NyangFlow(*path[10:])  # the maps between them: (500, 104, 8, 8)
guess = model(animals[3000:]).argmax(axis=1)
heat = grad_cam(front, back, animals[3000:], guess)  # (500, 8, 8)
heat /= heat.max(axis=(1, 2), keepdims=True) + 1e-8
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
# Is half of the heat much? The animals stand near the middle, and so does most heat, whatever the picture. That explains most of what the second share has above the first. Only
# what it has above the third is about *this* animal. A picture of heat convinces easily: always ask what another picture's heat would look like.
#
# Which branch does the work? Switch off one branch of one block: set its channels to zero, and count how many animals the rest still gets right.

# %%
branches = ["1 × 1", "3 × 3", "5 × 5", "pooling"]


def without_branches(place, row):
    """Accuracy with each branch in turn of the block at this place of the path switched off."""
    maps, rest, shares, stop = NyangFlow(*path[:place + 1])(animals[3000:]), NyangFlow(*path[place + 1:]), [], 0
    for width in widths(row):
        start, stop = stop, stop + width // 8
        silenced = maps.copy()
        silenced[:, start:stop] = 0
        shares.append((rest(silenced).argmax(axis=1) == kinds[3000:]).mean())
    return shares


block_places = [place for place, layer in enumerate(path) if isinstance(layer, Parallel)]
with no_memory():
    accuracies = np.array([without_branches(place, row) for place, row in zip(block_places, GOOGLENET_BLOCKS.values())]).T  # (4, 9)

# %%
fig, ax = plt.subplots(figsize=(8, 2.6))
ax.imshow(accuracies, cmap="viridis", vmin=0.5, vmax=1, aspect="auto")
for (row, column), value in np.ndenumerate(accuracies):
    ax.text(column, row, f"{value:.0%}", ha="center", va="center", color="white" if value < 0.85 else "black")
ax.set(xticks=range(9), xticklabels=GOOGLENET_BLOCKS, yticks=range(4), yticklabels=branches, title="accuracy with one branch switched off")
ax.grid(False)
plt.show()

# %% [markdown]
# Dark fields are branches that the network cannot do without. Bright ones are hardly missed: the others say the same, or nothing behind listens. Which kernel size was right, then? Mind the widths: in no block is a branch wider than the 3 × 3.
#
# ## Against PyTorch
#
# The same small network in PyTorch, with torchvision's names.

# %%
try:
    import torch
except ImportError:
    torch = None


def torch_googlenet_small(classes):
    """Write the small GoogLeNet down in PyTorch, as a dict of parts with torchvision's names."""
    from torch import nn

    def named(**parts):
        flow = nn.Sequential()
        for name, part in parts.items():
            flow.add_module(name, part)
        return flow

    def conv(i, o, k):
        return named(conv=nn.Conv2d(i, o, k, 1, k // 2, bias=False), bn=nn.BatchNorm2d(o, eps=1e-3), relu=nn.ReLU())

    def block(i, c1, r3, c3, r5, c5, pool):
        return nn.ModuleDict({
            "branch1": conv(i, c1, 1), "branch2": nn.Sequential(conv(i, r3, 1), conv(r3, c3, 3)),
            "branch3": nn.Sequential(conv(i, r5, 1), conv(r5, c5, 5)), "branch4": nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(i, pool, 1))})

    def head(i):
        return named(pool=nn.AdaptiveAvgPool2d(4), conv=conv(i, 16, 1), flat=nn.Flatten(), fc1=nn.Linear(256, 128), relu=nn.ReLU(),
                     fc2=nn.Linear(128, classes))

    parts, channels = {"conv1": conv(3, 24, 3), "maxpool1": nn.MaxPool2d(3, 2, ceil_mode=True)}, 24
    for name, row in GOOGLENET_BLOCKS.items():
        if name in ("4a", "5a"):
            parts[f"maxpool{name[0]}"] = nn.MaxPool2d(3 if name == "4a" else 2, 2, ceil_mode=True)
        parts[f"inception{name}"] = block(channels, *[n // 8 for n in row])
        channels = sum(widths(row)) // 8
    return nn.ModuleDict({**parts, "pool": nn.AdaptiveAvgPool2d(1), "flat": nn.Flatten(), "fc": nn.Linear(channels, classes),
                          "aux1": head(512 // 8), "aux2": head(528 // 8)})


def torch_logits(net, x):
    """Run the parts in order; return the logits of the end, of aux2, of aux1."""
    heads = []
    for name, part in list(net.items())[:-2]:
        x = torch.cat([branch(x) for branch in part.values()], 1) if name.startswith("inception") else part(x)
        if name in ("inception4a", "inception4d"):
            heads.append(net[f"aux{len(heads) + 1}"](x))
    return x, heads[1], heads[0]

# %% [markdown]
# Same weights, same batch, dropout off: the first loss, of all three heads, has to agree. Then both go forward and backward in turns, and are timed. Two libraries in one
# process bring two teams of threads, which disturb each other. So each gets a single thread here.

# %%
import time

from nyang_edu.utility.team import set_threads, thread_count


def seconds_here(ours, loss, x, y):
    start = time.perf_counter()
    value = loss(ours(x), y)
    ours.backward(loss.backward())
    return time.perf_counter() - start, value


def seconds_in_torch(theirs, x, y):
    entropy, start = torch.nn.functional.cross_entropy, time.perf_counter()
    end, second, first = (entropy(logits, y) for logits in torch_logits(theirs, x))
    value = end + 0.3 * (second + first)
    value.backward()
    return time.perf_counter() - start, value.item()


def compare_with_torch(rounds=4):
    ours = googlenet_small(2, np.random.default_rng(0), aux_logits=True, dropout=0, dropout_aux=0)
    theirs, names = torch_googlenet_small(2), googlenet_torchvision_names(ours)
    theirs.load_state_dict({names[name]: torch.tensor(array) for name, array in ours.state_dict().items()})
    x, y, loss = animals[:64], kinds[:64], AuxiliaryLoss(CrossEntropyLoss())
    runs = [(*seconds_here(ours, loss, x, y), *seconds_in_torch(theirs, torch.tensor(x), torch.tensor(y))) for _ in range(rounds)]
    difference = abs(runs[0][1] - runs[0][3])
    assert difference < 1e-4, f"the first losses differ by {difference:.1e}"
    print(f"the first losses agree to 1e-4: {difference < 1e-4}")
    return min(run[0] for run in runs[1:]), min(run[2] for run in runs[1:])


if torch is None:
    print("PyTorch is not installed: nothing to compare with")
else:
    threads = thread_count(), torch.get_num_threads()
    set_threads(1), torch.set_num_threads(1)
    mine, other = compare_with_torch()
    set_threads(threads[0]), torch.set_num_threads(threads[1])
    print(f"64 images, one thread: {mine:.2f} s here, {other:.2f} s in PyTorch, ratio {mine / other:.1f}")

# %% [markdown]
# ## Recap
#
# - An inception block looks with several kernel sizes at once, and lets the next layer choose.
# - `Parallel` joins on the way there, cuts on the way back, and adds what the branches return.
# - A 1 × 1 convolution before a large kernel saves most of its multiplications; behind a pooling it keeps the network from growing wider with every block.
# - The mean of each map replaces a `Linear` with millions of weights.
# - A head inside the network is one more branch. Its loss meets the others at the fork. With BatchNorm, the gradient arrives without it too.
#
# `finish` exports `Parallel` and `Auxiliary` into `nyang_edu/model/parallel.py`, `AuxiliaryLoss` into `nyang_edu/training/auxiliary.py`, and the blocks and builders into `nyang_edu/model/zoo/googlenet.py`.
#
# **References.** Szegedy et al., *Going deeper with convolutions*, CVPR 2015, sections 4 and 5, table 1. Lin, Chen, Yan, *Network in network*, ICLR 2014, section 3. Szegedy et al., *Rethinking the Inception architecture for computer
# vision*, CVPR 2016, section 4. Selvaraju et al., *Grad-CAM*, ICCV 2017, section 3.

# %%
finish("16_googlenet")
