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
# # 04 · Activations and initialisation
#
# **You have** the layer contract, `Linear`, and `gradcheck` (03).
#
# **You will build** eight activations, forward and backward, that neither overflow nor change the dtype,
# and the initialisers that keep a signal alive through many layers.
#
# **It unlocks** losses (05), the first trained network (06) and every architecture after it.
#
# Time: about 120 minutes. Ten exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.linear import Linear
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.plot import draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: twenty layers that are worth one
#
# More layers should be able to do more. Put twenty `Linear` layers in a row, send samples through, and compare
# with a *single* matrix: the product of all twenty weights. The biases start at zero, so they do not matter here.

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(0)
stack = [Linear(16, 16, rng=rng).to(np.float64) for _ in range(20)]
x = out = rng.normal(size=(8, 16))
product = np.eye(16)
for layer in stack:
    out = layer(out)
    product = product @ layer.weight.data.T
print("twenty layers equal one matrix:", np.allclose(out, x @ product, rtol=1e-9, atol=0))

# %% [markdown]
# Nineteen layers are wasted. A product of matrices is a matrix, so linear layers alone never get beyond a linear
# map. Something that bends has to stand between them: an *activation*.
#
# There is a second trouble. Watch the standard deviation (std) of the numbers on their way through twenty layers, for
# three ways of drawing the first weights. `Linear` takes such a way as `init`, a function of `shape` and `rng`.

# %%
def spreads(init, width=256):
    """Return the std of each linear layer's output; nothing stands between the layers."""
    rng = np.random.default_rng(0)
    x, result = rng.normal(size=(256, width)).astype(np.float32), []
    for _ in range(20):
        x = Linear(width, width, rng=rng, init=init)(x)
        result.append(x.std(dtype=np.float64))
    return result


def weights_of(std):
    """Return an initialiser: what Linear expects as init."""
    return lambda shape, rng: rng.normal(0, std, shape)


depth, ticks = range(1, 21), [1, 5, 10, 15, 20]
fig, ax = plt.subplots(figsize=(6, 3.2))
ax.semilogy(depth, spreads(weights_of(1)), label="weights of std 1")
ax.semilogy(depth, spreads(None), label="Linear's own default")
ax.semilogy(depth, spreads(weights_of(0.01)), label="weights of std 0.01")
ax.set(xlabel="layer", xticks=ticks, ylabel="std of the output",
       title="a signal on its way through 20 layers")
ax.legend()
plt.show()

# %% [markdown]
# One choice explodes, the others die, and the default of chapter 03 (which is PyTorch's default too) is among the
# dying. Each line is straight on a log axis: every layer multiplies by the same factor. This chapter builds the bend
# between the layers, and then finds the weights for which that factor is one.
#
# ## Idea: a slope for every element
#
# An activation works on one number at a time. The simplest that bends is ReLU, the rectified linear unit: keep what
# is positive, make the rest zero. Where it kept the input, a small change passes unchanged: the slope is 1. Where
# it made a zero, a small change has no effect: the slope is 0. So the gradient passes exactly where the
# signal passed.

# %%
x = np.array([[-2, 3, 1], [4, -1, -5]])
fig, axes = plt.subplots(1, 4, figsize=(9, 1.8))
draw_matrix(axes[0], x, "x", highlight=x > 0)
draw_matrix(axes[1], [[0, 3, 1], [4, 0, 0]], "out", highlight=x > 0)
draw_matrix(axes[2], [[10, 20, -30], [-40, 50, 60]], "dout", highlight=x > 0)
draw_matrix(axes[3], [[0, 20, -30], [-40, 0, 0]], "dx", highlight=x > 0)
plt.show()

# %% [markdown]
# Orange marks where `x` is positive. Look at −30 and 50 in `dout`: its own sign plays no part.
#
# ## Maths: forward and backward
#
# For one element, and then for the whole array at once, with $\odot$ the product element by element:
#
# $$\text{out}_i = f(x_i), \quad \text{dx}_i = \text{dout}_i\, f'(x_i)
# \qquad\Longrightarrow\qquad \text{out} = f(x), \quad \text{dx} = \text{dout} \odot f'(x).$$
#
# | array | shape |
# |---|---|
# | `x`, `out` | any shape, the same for both |
# | `dout`, `dx` | that shape again |
#
# There are no parameters, so `backward` has one thing to return. What `forward` saves is your choice. Some slopes are
# easiest to write with the *output*. Tanh is one of them: $\tanh'(x) = 1 - \tanh^2(x)$. It is given as the pattern
# for the others.

# %%
#| default_exp model.activation
#| export
"""Activations: the bends between linear layers, each with the slope that backward needs."""

import numpy as np

from nyang_edu.model.core import NyangModel


class Tanh(NyangModel):
    """Squash every element into (-1, 1): out = tanh(x).

    Shapes: x, any → out, the same. Source: LeCun et al., Efficient BackProp (1998), section 4.4.
    """

    def forward(self, x):
        """Return tanh of every element."""
        out = np.tanh(x)
        self.save(out)
        return out

    def backward(self, dout):
        """Return dx = dout · (1 - out²)."""
        out = self.saved()
        return dout * (1 - out * out)

# %% [markdown]
# ### Exercise 1 ★★: ReLU
#
# $$\text{out} = \max(x, 0), \qquad f'(x) = 1 \text{ where } x > 0, \text{ else } 0$$
#
# At exactly 0 the curve has a corner and no slope. PyTorch takes 0 there; do the same. `x` and `dout` belong to
# other layers: never write into them. And float32 in means float32 out, in `dx` too.

# %% exercise="ReLU" points=2 stars=2
#| export
class ReLU(NyangModel):
    """Keep what is positive: out = max(x, 0).

    Shapes: x, any → out, the same. The slope at 0 is 0, as in PyTorch.
    Source: Nair and Hinton, Rectified linear units improve restricted Boltzmann machines (2010).
    """

    def forward(self, x):
        """Return max(x, 0) of every element."""
        ### BEGIN SOLUTION save what backward needs, then return a new array
        self.save(x > 0)
        return np.maximum(x, 0)
        ### END SOLUTION

    def backward(self, dout):
        """Return dx: dout where x was positive, 0 elsewhere."""
        ### BEGIN SOLUTION take back what forward saved; let dout pass where x was positive
        positive = self.saved()
        return dout * positive
        ### END SOLUTION

# %%
check(ReLU)

# %% probe="ReLU"
def probe(ReLU, rng):
    N, C = rng.integers(2, 6, 2)
    x, other, dout = rng.normal(size=(3, N, C))
    x[0, :2] = -1.5, 2.0
    other[0, :2] = 1.0, -2.5
    dout[:, :2] = [[1.5, -2.0]]
    layer = ReLU()
    yield "out", layer(x)
    yield "dx", layer.backward(dout)
    layer.forward(x)
    layer.forward(other)
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)
    layer(np.array([0.0, 1.0]))
    yield "dx at zero", layer.backward(np.array([3.0, 3.0]))
    yield "out in float32", layer(x.astype(np.float32))
    yield "dx in float32", layer.backward(dout.astype(np.float32))

# %% mistakes="ReLU"
mistake("dout passes everywhere", "Where x was negative, out does not move when x moves a little. Its gradient is "
        "zero there.", swap=("return dout * positive", "return dout.copy()"))

@mistake("the sign of dout decides, not that of x", "A negative dout is a perfectly good gradient. What decides "
         "is whether x was positive in forward: save that.")
class ReLU(reference):
    def backward(self, dout):
        self.saved()
        return dout * (dout > 0)

mistake("the gradient at zero passes", "At exactly 0 there is a choice, and PyTorch takes slope 0. Compare with >, "
        "not with >=.", swap=("self.save(x > 0)", "self.save(x >= 0)"))
mistake("negative values lose their sign instead of becoming zero", "That is the absolute value. A negative x must "
        "give 0.", swap=("np.maximum(x, 0)", "np.abs(x)"))

@mistake("x is overwritten", "x[x < 0] = 0 changes the caller's array, which another layer may still need. "
         "np.maximum makes a new one.")
class ReLU(reference):
    def forward(self, x):
        self.save(x > 0)
        x[x < 0] = 0
        return x

@mistake("dout is overwritten", "dout[x <= 0] = 0 changes an array that a second branch of the network may also "
         "receive. Multiply instead: that makes a new array.")
class ReLU(reference):
    def backward(self, dout):
        positive = self.saved()
        dout[~positive] = 0
        return dout

mistake("dx is always float64", "np.where(x > 0, 1.0, 0.0) or .astype(float) makes float64, and the product with "
        "a float32 dout is float64 too. A boolean array may be multiplied as it is.",
        swap=("return dout * positive", "return dout * np.where(positive, 1.0, 0.0)"))

@mistake("the input is kept in one slot", "A second forward overwrites the attribute. Use self.save and self.saved, "
         "which keep one entry per call.")
class ReLU(reference):
    def forward(self, x):
        self.positive = x > 0
        return np.maximum(x, 0)

    def backward(self, dout):
        return dout * self.positive

# %% [markdown] hints="ReLU"
# backward must know where `x` was positive. `x > 0` is an array of True and False, one per element, and it takes a
# quarter of the memory of a float32 `x`.
#
# ---
#
# dx = dout · (x > 0). In a product, True counts as 1 and False as 0, and the dtype of `dout` stays.
#
# ---
#
# ```python
# # forward
# self.save(...)
# return np.maximum(x, ...)
#
# # backward
# positive = self.saved()
# return ...
# ```

# %% [markdown]
# ### Exercise 2 ★★: LeakyReLU
#
# A unit whose input is negative for *every* sample gets no gradient at all. It cannot learn its way back: it is a
# *dead* unit. A small slope on the left side keeps the door open.
#
# $$\text{out} = x \text{ where } x > 0, \text{ else } s\,x \qquad f'(x) = 1 \text{ where } x > 0, \text{ else } s$$
#
# Here $s$ is `negative_slope`, and it may be any number, above 1 as well. `np.where(condition, a, b)` picks from `a`
# or `b`, element by element. With two plain numbers, as in `np.where(x > 0, 1.0, s)`, it makes a float64 array; with
# a float32 array among them it stays float32. A second way is arithmetic: a positive part and a negative part, each with its
# factor, added up. The course's own code does that, since `np.where` has to ask at every element, and that takes longer where the signs are mixed.

# %% exercise="LeakyReLU" points=2 stars=2
#| export
class LeakyReLU(NyangModel):
    """Keep what is positive, shrink the rest: out = x for x > 0, else negative_slope · x.

    Shapes: x, any → out, the same. The slope at 0 is negative_slope, as in PyTorch.
    Source: Maas, Hannun, Ng, Rectifier nonlinearities improve neural network acoustic
    models (2013).
    """

    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def forward(self, x):
        """Return x where it is positive, negative_slope · x elsewhere."""
        ### BEGIN SOLUTION as ReLU, with a slope on the left
        positive = x > 0
        self.save(positive)
        return np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0)
        ### END SOLUTION

    def backward(self, dout):
        """Return dx: dout where x was positive, negative_slope · dout elsewhere."""
        ### BEGIN SOLUTION dout times 1 or negative_slope, in dout's dtype
        positive = self.saved()
        return dout * positive + self.negative_slope * (dout * ~positive)
        ### END SOLUTION

# %%
check(LeakyReLU)

# %% probe="LeakyReLU"
def probe(LeakyReLU, rng):
    N, C = rng.integers(2, 6, 2)
    slope = float(rng.uniform(0.1, 0.4))
    x, other, dout = rng.normal(size=(3, N, C))
    x[0, :2], other[0, :2], dout[0, :2] = (-1.5, 2.0), (1.0, -2.5), (1.5, -2.0)
    layer = LeakyReLU(slope)
    yield "out", layer(x)
    yield "dx", layer.backward(dout)
    layer.forward(x)
    layer.forward(other)
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)
    layer(np.array([0.0, 1.0]))
    yield "dx at zero", layer.backward(np.array([3.0, 3.0]))
    yield "out with a slope above 1", LeakyReLU(1.5)(x)
    yield "out with the default slope", LeakyReLU()(x)
    yield "out in float32", layer(x.astype(np.float32))
    yield "dx in float32", layer.backward(dout.astype(np.float32))

# %% mistakes="LeakyReLU"
mistake("negative_slope is ignored, 0.01 is always used", "The slope was given to __init__ and is kept in "
        "self.negative_slope. Use that.",
        swap=("        self.negative_slope = negative_slope\n", "        self.negative_slope = 0.01\n"))
mistake("the gradient is zero on the left", "That is ReLU's gradient. On the left out = s · x, so its slope is s.",
        swap=("self.negative_slope * (dout * ~positive)", "0 * dout"))
mistake("the gradient at zero passes whole", "At exactly 0 PyTorch takes the left side's slope. Compare with >, "
        "not with >=.", swap=("positive = x > 0", "positive = x >= 0"))
mistake("the larger of x and s·x is taken", "max(x, s·x) is right only while s is below 1. Decide by the sign of x.",
        swap=("np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0)",
              "np.maximum(x, self.negative_slope * x)"))
mistake("the left side is turned upwards", "On the left out = s · x is still negative. Look at the sign.",
        swap=("np.minimum(x, 0)", "np.abs(np.minimum(x, 0))"))
mistake("dx is always float64", "np.where with two plain numbers makes a float64 array. Let it pick between two "
        "arrays made of dout.", swap=("dout * positive + self.negative_slope * (dout * ~positive)",
                                      "dout * np.where(positive, 1.0, self.negative_slope)"))

@mistake("x is overwritten", "x[x < 0] *= s changes the caller's array, which another layer may still need. np.where makes "
         "a new one.")
class LeakyReLU(reference):
    def forward(self, x):
        self.save(x > 0)
        x[x < 0] *= self.negative_slope
        return x

@mistake("dout is overwritten", "dout[x <= 0] *= s changes an array that a second branch may also receive. np.where makes a "
         "new one.")
class LeakyReLU(reference):
    def backward(self, dout):
        positive = self.saved()
        dout[~positive] *= self.negative_slope
        return dout

@mistake("what backward needs is kept in one slot", "A second forward overwrites the attribute. Use self.save and self.saved, "
         "which keep one entry per call.")
class LeakyReLU(reference):
    def forward(self, x):
        self.positive = x > 0
        return np.where(self.positive, x, self.negative_slope * x)

    def backward(self, dout):
        return np.where(self.positive, dout, self.negative_slope * dout)

# %% [markdown] hints="LeakyReLU"
# It is ReLU with another number in place of 0. Both methods decide by the same question: was `x` positive?
#
# ---
#
# out = x or s · x. dx = dout or s · dout. `np.where(positive, a, b)` chooses.
#
# ---
#
# ```python
# # forward
# positive = x > 0
# self.save(positive)
# return np.where(positive, x, ...)
#
# # backward
# positive = self.saved()
# return np.where(positive, ..., ...)
# ```

# %% [markdown]
# ### Exercise 3 ★★: Sigmoid
#
# The sigmoid turns any number into something that can be read as a probability.
#
# $$\sigma(x) = \frac{1}{1 + e^{-x}} = \frac{e^{x}}{1 + e^{x}}, \qquad \sigma'(x) = \sigma(x)\,(1 - \sigma(x))$$
#
# Both forms are the same number, and in both $e^{1000}$ overflows. For large positive $x$ the right one becomes
# infinity over infinity, NaN. For large negative $x$ the left one still reaches 0, but warns; muting that would
# hide real trouble too. So use each where it is safe. Note that $e^{-|x|}$ is never above 1, and that `np.where`
# computes both of its sides before it picks.

# %% exercise="Sigmoid" points=3 stars=2
#| export
def sigmoid(x):
    """Compute 1 / (1 + e⁻ˣ) of every element, without overflow; keeps x's shape and dtype."""
    ### BEGIN SOLUTION use exp(-|x|), which cannot overflow, for both signs of x
    small = np.exp(-np.abs(x))  # in (0, 1]
    return np.where(x >= 0, 1, small) / (1 + small)
    ### END SOLUTION


class Sigmoid(NyangModel):
    """Squash every element into (0, 1): out = 1 / (1 + e⁻ˣ).

    Shapes: x, any → out, the same.
    Source: Goodfellow et al., Deep Learning (2016), section 6.2.2.2.
    """

    def forward(self, x):
        """Return the sigmoid of every element."""
        ### BEGIN SOLUTION compute out, save it, return it
        out = sigmoid(x)
        self.save(out)
        return out
        ### END SOLUTION

    def backward(self, dout):
        """Return dx = dout · out · (1 - out)."""
        ### BEGIN SOLUTION the slope, written with the output
        out = self.saved()
        return dout * out * (1 - out)
        ### END SOLUTION

# %%
check(Sigmoid)

# %% probe="Sigmoid"
def complaint(run):
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            run()
    except FloatingPointError as error:
        return str(error).split()[0]
    return "none"


def probe(Sigmoid, rng):
    N, C = rng.integers(2, 6, 2)
    x, other, dout = rng.normal(size=(3, N, C))
    x[0, :2], other[0, :2] = (-1.5, 2.0), (0.5, -3.0)
    layer = Sigmoid()
    yield "out", layer(x)
    yield "dx", layer.backward(dout)
    layer.forward(x)
    layer.forward(other)
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)
    extreme = np.array([-1000.0, -0.5, 0.0, 0.5, 1000.0])
    yield "out at ±1000", layer(extreme)
    yield "dx at ±1000", layer.backward(np.ones(5))
    yield "numerical warnings of forward", complaint(lambda: layer(extreme))
    layer(extreme)
    ones = np.ones(extreme.size)
    yield "numerical warnings of backward", complaint(lambda: layer.backward(ones))
    yield "out in float32", layer(x.astype(np.float32))
    yield "dx in float32", layer.backward(dout.astype(np.float32))

# %% mistakes="Sigmoid"
REFERENCE = """    small = np.exp(-np.abs(x))  # in (0, 1]
    return np.where(x >= 0, 1, small) / (1 + small)
"""
mistake("exp of a large positive number overflows", "For x = -1000, exp(-x) is exp(1000), more than a float can hold. "
        "Only give exp numbers that are not positive. np.where does not protect you: it computes both sides "
        "before it picks.", swap=(REFERENCE, "    return 1 / (1 + np.exp(-x))\n"))
mistake("infinity is divided by infinity", "For x = 1000 both exp(x) and 1 + exp(x) are infinite, and their ratio is NaN. "
        "Only give exp numbers that are not positive.",
        swap=(REFERENCE, "    return np.exp(x) / (1 + np.exp(x))\n"))
mistake("the form for positive x is used for all", "1 / (1 + exp(-|x|)) is the sigmoid of |x|. For negative x the numerator "
        "is exp(-|x|), not 1.", swap=("np.where(x >= 0, 1, small)", "1"))
mistake("the slope is computed from x instead of out", "σ' = σ(x) · (1 - σ(x)). What backward needs is the output: "
        "save out, not x.", swap=("self.save(out)", "self.save(x)"))
mistake("dout is forgotten in backward", "The chain rule multiplies the slope with what comes from above.",
        swap=("return dout * out * (1 - out)", "return out * (1 - out)"))
mistake("the slope is tanh's", "1 - out² belongs to tanh. The sigmoid's slope is out · (1 - out).",
        swap=("dout * out * (1 - out)", "dout * (1 - out * out)"))
mistake("out is always float64", "An array made with np.zeros(x.shape) or filled from 1.0 and 0.0 is float64. Make arrays "
        "out of x, or use np.zeros_like(x).", swap=("np.where(x >= 0, 1, small)", "np.where(x >= 0, 1, small).astype(float)"))

@mistake("what backward needs is kept in one slot", "A second forward overwrites the attribute. Use self.save and self.saved, "
         "which keep one entry per call.")
class Sigmoid(reference):
    def forward(self, x):
        self.out = sigmoid(x)
        return self.out

    def backward(self, dout):
        return dout * self.out * (1 - self.out)

# %% [markdown] hints="Sigmoid"
# Let z = exp(-|x|). For x ≥ 0 it is exp(-x), and the left form needs just that. For x < 0 it is exp(x), and the right
# form needs just that. What do the two have in common?
#
# ---
#
# σ = 1 / (1 + z) for x ≥ 0 and z / (1 + z) for x < 0: only the numerator differs. For backward, save `out`.
#
# ---
#
# ```python
# # sigmoid
# small = np.exp(...)
# return np.where(x >= 0, ..., ...) / (1 + small)
#
# # forward
# out = sigmoid(x)
# self.save(...)
# return out
#
# # backward
# out = self.saved()
# return dout * ...
# ```

# %% [markdown]
# ### Exercise 4 ★★: Swish
#
# Swish lets $x$ through a gate that $x$ itself opens. PyTorch calls it SiLU.
#
# $$\text{out} = x\,\sigma(x)$$
#
# Here $x$ stands in two factors, so two terms meet in the slope: the product rule. Work it out on paper, and use your
# `sigmoid`.

# %% exercise="Swish" points=3 stars=2
#| export
class Swish(NyangModel):
    """Let x through a gate that x opens: out = x · σ(x), PyTorch's SiLU.

    Shapes: x, any → out, the same.
    Source: Ramachandran, Zoph, Le, Searching for activation functions (2017).
    """

    def forward(self, x):
        """Return x · σ(x) of every element."""
        ### BEGIN SOLUTION compute the gate, save what the product rule needs
        gate = sigmoid(x)
        self.save(x, gate)
        return x * gate
        ### END SOLUTION

    def backward(self, dout):
        """Return dx by the product rule."""
        ### BEGIN SOLUTION the slope of x times the gate, plus x times the slope of the gate
        x, gate = self.saved()
        return dout * (gate + x * gate * (1 - gate))
        ### END SOLUTION

# %%
check(Swish)

# %% probe="Swish"
def complaint(run):
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            run()
    except FloatingPointError as error:
        return str(error).split()[0]
    return "none"


def probe(Swish, rng):
    N, C = rng.integers(2, 6, 2)
    x, other, dout = rng.normal(size=(3, N, C))
    x[0, :2], other[0, :2] = (-1.5, 2.0), (0.5, -3.0)
    layer = Swish()
    yield "out", layer(x)
    yield "dx", layer.backward(dout)
    layer.forward(x)
    layer.forward(other)
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)
    extreme = np.array([-1000.0, 1000.0])
    yield "out at ±1000", layer(extreme)
    yield "dx at ±1000", layer.backward(np.ones(2))
    yield "numerical warnings of forward", complaint(lambda: layer(extreme))
    layer(extreme)
    ones = np.ones(extreme.size)
    yield "numerical warnings of backward", complaint(lambda: layer.backward(ones))
    yield "out in float32", layer(x.astype(np.float32))
    yield "dx in float32", layer.backward(dout.astype(np.float32))

# %% mistakes="Swish"
mistake("the slope of the gate is forgotten", "x stands in both factors. (x · σ)' = σ + x · σ': the second term is missing.",
        swap=("gate + x * gate * (1 - gate)", "gate"))
mistake("the slope of x is forgotten", "x stands in both factors. (x · σ)' = 1 · σ + x · σ': the first term is missing.",
        swap=("gate + x * gate * (1 - gate)", "x * gate * (1 - gate)"))
mistake("the factor x is missing in the second term", "The slope of the gate is multiplied by the other factor, which is x.",
        swap=("x * gate * (1 - gate)", "gate * (1 - gate)"))
mistake("dout is forgotten in backward", "The chain rule multiplies the slope with what comes from above.",
        swap=("dout * (gate + x * gate * (1 - gate))", "gate + x * gate * (1 - gate)"))
mistake("exp of a large positive number overflows", "x / (1 + exp(-x)) overflows at x = -1000. Your sigmoid is safe: use it.",
        swap=("gate = sigmoid(x)", "gate = 1 / (1 + np.exp(-x))"))
mistake("only the gate is returned", "Swish is x times its gate.", swap=("return x * gate\n", "return gate\n"))
mistake("dout multiplies only the first term", "The chain rule multiplies the whole slope with dout: put brackets around the sum.",
        swap=("dout * (gate + x * gate * (1 - gate))", "dout * gate + x * gate * (1 - gate)"))
mistake("dout multiplies only the second term", "The chain rule multiplies the whole slope with dout, both of its terms.",
        swap=("dout * (gate + x * gate * (1 - gate))", "gate + dout * x * gate * (1 - gate)"))

@mistake("what backward needs is kept in one slot", "A second forward overwrites the attribute. Use self.save and self.saved, "
         "which keep one entry per call.")
class Swish(reference):
    def forward(self, x):
        self.x = x
        return x * sigmoid(x)

    def backward(self, dout):
        gate = sigmoid(self.x)
        return dout * (gate + self.x * gate * (1 - gate))

# %% [markdown] hints="Swish"
# Name the second factor: g = σ(x). Then out = x · g, and g has the slope g · (1 - g).
#
# ---
#
# out' = g + x · g · (1 - g). Save both `x` and `g`; `self.saved()` gives them back in the same order.
#
# ---
#
# ```python
# # forward
# gate = sigmoid(x)
# self.save(x, gate)
# return ...
#
# # backward
# x, gate = self.saved()
# return dout * (gate + ...)
# ```

# %% [markdown]
# ### Exercise 5 ★★: ELU
#
# ReLU's outputs are never negative, so their mean is well above zero. ELU lets the left side sink smoothly to
# $-\alpha$.
#
# $$\text{out} = x \text{ where } x > 0, \text{ else } \alpha\,(e^{x} - 1)
# \qquad f'(x) = 1 \text{ where } x > 0, \text{ else } \alpha\,e^{x} = \text{out} + \alpha$$
#
# `np.expm1(x)` is $e^x - 1$ without loss of digits near 0. Keep large positive `x` away from it: $e^{1000}$ overflows
# even where you throw the result away.

# %% exercise="ELU" points=3 stars=2
#| export
class ELU(NyangModel):
    """Let the negative side sink to -alpha: out = x for x > 0, else alpha · (eˣ - 1).

    Shapes: x, any → out, the same. The slope at 0 is alpha, as in PyTorch.
    Source: Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by
    exponential linear units (2016).
    """

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def forward(self, x):
        """Return x where it is positive, alpha · (eˣ - 1) elsewhere."""
        ### BEGIN SOLUTION keep positive numbers away from the exponential
        positive = x > 0
        out = np.where(positive, x, self.alpha * np.expm1(np.minimum(x, 0)))
        self.save(positive, out)
        return out
        ### END SOLUTION

    def backward(self, dout):
        """Return dx: dout where x was positive, dout · (out + alpha) elsewhere."""
        ### BEGIN SOLUTION the slope is 1 on the right and out + alpha on the left
        positive, out = self.saved()
        return np.where(positive, dout, dout * (out + self.alpha))
        ### END SOLUTION

# %%
check(ELU)

# %% probe="ELU"
def complaint(run):
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            run()
    except FloatingPointError as error:
        return str(error).split()[0]
    return "none"


def probe(ELU, rng):
    N, C = rng.integers(2, 6, 2)
    alpha = float(rng.uniform(1.3, 2.5))
    x, other, dout = rng.normal(size=(3, N, C))
    x[0, :2], other[0, :2] = (-1.5, 2.0), (1.0, -0.5)
    layer = ELU(alpha)
    yield "out", layer(x)
    yield "dx", layer.backward(dout)
    layer.forward(x)
    layer.forward(other)
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)
    layer(np.array([-0.5, 0.0, 0.5]))
    yield "dx left of zero, at zero and right of it", layer.backward(np.full(3, 3.0))
    extreme = np.array([-1000.0, 1000.0])
    yield "out at ±1000", layer(extreme)
    yield "dx at ±1000", layer.backward(np.ones(2))
    yield "numerical warnings of forward", complaint(lambda: layer(extreme))
    layer(extreme)
    ones = np.ones(extreme.size)
    yield "numerical warnings of backward", complaint(lambda: layer.backward(ones))
    yield "out in float32", layer(x.astype(np.float32))
    yield "dx in float32", layer.backward(dout.astype(np.float32))

# %% mistakes="ELU"
mistake("exp of a large positive number overflows", "np.where computes both sides for all elements, also exp(1000). "
        "Give the exponential np.minimum(x, 0).", swap=("np.expm1(np.minimum(x, 0))", "np.expm1(x)"))
@mistake("exp of a large positive number overflows in backward", "For x = 1000 the exponential overflows, even if np.where then "
         "throws it away. The slope on the left is out + alpha: no exponential is needed.")
class ELU(reference):
    def forward(self, x):
        out = super().forward(x)
        self.save(x)
        return out

    def backward(self, dout):
        x = self.saved()
        self.saved()
        return np.where(x > 0, dout, dout * self.alpha * np.exp(x))

mistake("alpha is ignored", "alpha was given to __init__ and stands in self.alpha. Both methods need it.",
        swap=("        self.alpha = alpha\n", "        self.alpha = 1.0\n"))
mistake("alpha is missing in backward", "On the left out = alpha · (eˣ - 1), so its slope is alpha · eˣ.",
        swap=("dout * (out + self.alpha)", "dout * (out + self.alpha) / self.alpha"))
mistake("1 is added to out instead of alpha", "out = alpha · eˣ - alpha on the left. What must be added to have alpha · eˣ?",
        swap=("(out + self.alpha)", "(out + 1)"))
mistake("out is multiplied by alpha instead of adding alpha", "out = alpha · eˣ - alpha on the left. The slope is alpha · eˣ, "
        "so alpha has to be added.", swap=("(out + self.alpha)", "out * self.alpha"))
mistake("the exponential is taken of out instead of x", "The slope on the left is alpha · eˣ, with x. What is saved is out, and "
        "out + alpha is that slope already.", swap=("(out + self.alpha)", "self.alpha * np.exp(out)"))
mistake("the slope on the left is out instead of out + alpha", "eˣ is what has to be left: out = alpha · eˣ - alpha, "
        "so alpha · eˣ = out + alpha.", swap=("dout * (out + self.alpha)", "dout * out"))
mistake("the minus 1 is forgotten", "On the left out = alpha · (eˣ - 1). Without the 1 the curve jumps at 0.",
        swap=("np.where(positive, x, self.alpha * np.expm1(np.minimum(x, 0)))",
              "np.where(positive, x, self.alpha * np.exp(np.minimum(x, 0)))"))
mistake("the slope at zero is 1 instead of alpha", "At exactly 0 PyTorch takes the left side's slope, alpha. Compare with >, "
        "not with >=.", swap=("positive = x > 0", "positive = x >= 0"))
mistake("dx is always float64", "np.where(x > 0, 1.0, …) may make float64 out of plain numbers. Let it pick between "
        "arrays made of dout.", swap=("np.where(positive, dout, dout * (out + self.alpha))",
                                      "dout * np.where(positive, 1.0, out + np.float64(self.alpha))"))

@mistake("what backward needs is kept in one slot", "A second forward overwrites the attribute. Use self.save and self.saved, "
         "which keep one entry per call.")
class ELU(reference):
    def forward(self, x):
        self.out = super().forward(x)
        return self.out

    def backward(self, dout):
        return np.where(self.out > 0, dout, dout * (self.out + self.alpha))

# %% [markdown] hints="ELU"
# Two branches again, decided by `x > 0`. The exponential must only see numbers up to 0, for all elements.
#
# ---
#
# left side: alpha · expm1(min(x, 0)). Its slope alpha · eˣ is out + alpha, so saving `out` is enough to avoid a second
# exponential.
#
# ---
#
# ```python
# # forward
# positive = x > 0
# out = np.where(positive, x, self.alpha * np.expm1(...))
# self.save(positive, out)
# return out
#
# # backward
# positive, out = self.saved()
# return np.where(positive, dout, dout * ...)
# ```

# %% [markdown]
# ### Given: SELU
#
# SELU is ELU times a number $\lambda$, on *both* sides. What its two odd constants are for shows below. Backward
# needs no new formula: by the chain rule, $\lambda$ comes first on the way back.

# %%
#| export
class SELU(ELU):
    """Scale an ELU so that mean 0 and variance 1 reproduce themselves: out = λ · ELU(x).

    Shapes: x, any → out, the same. Use it with lecun_normal weights.
    Source: Klambauer et al., Self-normalizing neural networks (2017), section 2.
    """

    def __init__(self):
        super().__init__(alpha=1.6732632423543772)
        self.scale = 1.0507009873554805

    def forward(self, x):
        """Return λ · ELU(x) of every element."""
        return self.scale * super().forward(x)

    def backward(self, dout):
        """Return dx, the gradient through the scale and then through the ELU."""
        return super().backward(self.scale * dout)

# %% [markdown]
# ## Softmax: where elements meet
#
# Softmax turns a row of scores into probabilities: positive, and adding up to 1.
#
# $$s_i = \frac{e^{x_i}}{\sum_k e^{x_k}}, \qquad \log s_i = x_i - \log \sum_k e^{x_k}$$
#
# A score raises its own probability and lowers all others, since the sum must stay 1. So there is not one slope per
# element but a matrix of them, the *Jacobian*. The logarithm makes it short: its derivative by $x_j$ is
# $\delta_{ij} - s_j$, with $\delta_{ij} = 1$ where $i = j$ and 0 elsewhere. And $\partial s = s \cdot \partial \log s$:
#
# $$\frac{\partial s_i}{\partial x_j} = s_i\,(\delta_{ij} - s_j)$$
#
# Here it is for the scores 2, 1, 0, and what it does to a `dout`.

# %%
s = np.exp([2.0, 1.0, 0.0]) / np.exp([2.0, 1.0, 0.0]).sum()
jacobian = np.diag(s) - np.outer(s, s)
dout = np.array([3.0, 1.0, 1.0])
fig, axes = plt.subplots(1, 4, figsize=(10, 2), width_ratios=[3, 3, 3, 3])
draw_matrix(axes[0], s, "s", fmt="{:.2f}")
draw_matrix(axes[1], jacobian, "Jacobian", fmt="{:.2f}", highlight=np.eye(3, dtype=bool))
draw_matrix(axes[2], dout, "dout")
draw_matrix(axes[3], dout @ jacobian, "dx = dout · Jacobian", fmt="{:.2f}")
plt.show()

# %% [markdown]
# Each row of the Jacobian adds up to 0, and so does `dx`. For a thousand classes the matrix would have a million
# entries per sample. It is never needed:
#
# $$\text{dx}_j = \sum_i \text{dout}_i\, s_i\,(\delta_{ij} - s_j) = s_j\,\Big(\text{dout}_j - \sum_i \text{dout}_i\, s_i\Big)$$
#
# Read it as: compare each `dout` with the weighted mean of all of them.
#
# ### Exercise 6 ★★★: Softmax
#
# Adding one number to all scores of a row changes nothing: it cancels in the fraction. So subtract the row's largest
# score first, and no exponential can overflow. The sums run along `axis`; `keepdims=True` keeps that axis with size
# 1, so that broadcasting works for any rank.

# %% exercise="Softmax" points=4 stars=3
#| export
class Softmax(NyangModel):
    """Turn scores into probabilities along one axis: out = eˣ / Σ eˣ.

    Shapes: x, any → out, the same; sums to 1 along axis.
    Source: Goodfellow et al., Deep Learning (2016), section 6.2.2.3; on overflow, section 4.1.
    """

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        """Return the probabilities; x may hold scores of any size."""
        ### BEGIN SOLUTION subtract the largest score along the axis, then exponentials over their sum
        powers = np.exp(x - x.max(axis=self.axis, keepdims=True))
        out = powers / powers.sum(axis=self.axis, keepdims=True)
        self.save(out)
        return out
        ### END SOLUTION

    def backward(self, dout):
        """Return dx = out · (dout - Σ dout · out), summed along the axis."""
        ### BEGIN SOLUTION out times the distance of dout from its weighted mean; no Jacobian
        out = self.saved()
        mean = (dout * out).sum(axis=self.axis, keepdims=True)
        return out * (dout - mean)
        ### END SOLUTION

# %%
check(Softmax)

# %% probe="Softmax"
def probe(Softmax, rng):
    N, C, L = rng.permutation([2, 3, 4])
    x, other, dout = rng.normal(size=(3, N, C))
    layer = Softmax()
    yield "out", layer(x)
    yield "dx", layer.backward(dout)
    layer.forward(x)
    layer.forward(other)
    layer.backward(dout)
    yield "dx of the first of two calls", layer.backward(dout)
    cube, dcube = rng.normal(size=(2, N, C, L))
    for name, along in ("axis 0", Softmax(axis=0)), ("axis 1", Softmax(axis=1)), ("the default axis", layer):
        yield f"out along {name} of three", along(cube)
        yield f"dx along {name} of three", along.backward(dcube)
    yield "out of scores near 1000", layer(x + 1000)
    yield "out of rows far apart", layer(np.array([[1000.0, 999.0], [-1000.0, -1001.0]]))
    yield "out in float32", layer(x.astype(np.float32))
    yield "dx in float32", layer.backward(dout.astype(np.float32))

# %% mistakes="Softmax"
mistake("the largest score is not subtracted", "exp(1000) overflows and infinity over infinity is NaN. Subtract the "
        "largest score of each row first; it cancels in the fraction.",
        swap=("np.exp(x - x.max(axis=self.axis, keepdims=True))", "np.exp(x)"))
mistake("the largest score of the whole array is subtracted", "In a row far below that maximum all exponentials become 0, and "
        "0/0 is NaN. Take the maximum along the axis.",
        swap=("x.max(axis=self.axis, keepdims=True)", "x.max()"))
mistake("the sum runs over the whole array", "Every row has to add up to 1 on its own: sum along the axis, with keepdims.",
        swap=("powers.sum(axis=self.axis, keepdims=True)", "powers.sum()"))
mistake("the axis argument is ignored", "The axis was given to __init__ and stands in self.axis. The last one is only "
        "the default.", swap=("        self.axis = axis\n", "        self.axis = -1\n"))
mistake("axis 1 is always used", "Softmax must work for any rank and axis. The axis was given to __init__ and stands in self.axis.",
        swap=("        self.axis = axis\n", "        self.axis = 1\n"))
mistake("keepdims is missing", "Without keepdims=True the axis disappears from a maximum or a sum, and broadcasting lines up the "
        "wrong axes. All three need it: two in forward, one in backward.",
        swap=("x.max(axis=self.axis, keepdims=True)", "x.max(axis=self.axis)"))
mistake("only the Jacobian's diagonal is used", "dout · s · (1 - s) is a sigmoid's gradient. In a softmax each score moves "
        "all probabilities: the other entries of the Jacobian count as well.",
        swap=("return out * (dout - mean)", "return dout * out * (1 - out)"))
mistake("dout is summed without its weights", "The sum in the bracket is Σ dout · out: each dout weighted by its probability.",
        swap=("(dout * out).sum", "dout.sum"))
mistake("the weighted mean is taken over the whole array", "Each row has a weighted mean of its own: sum along the axis, "
        "with keepdims.", swap=("(dout * out).sum(axis=self.axis, keepdims=True)", "(dout * out).sum()"))
mistake("the factor out before the bracket is missing", "dx_j = s_j · (dout_j - mean): the distance from the mean is "
        "still weighted by the probability.", swap=("return out * (dout - mean)", "return dout - mean"))
mistake("out multiplies dout only, not the mean", "The factor out stands before the whole bracket.",
        swap=("return out * (dout - mean)", "return out * dout - mean"))

@mistake("x is overwritten", "x -= … changes the caller's array, which another layer may still need. x - … makes a new one.")
class Softmax(reference):
    def forward(self, x):
        x -= x.max(axis=self.axis, keepdims=True)
        return super().forward(x)

@mistake("what backward needs is kept in one slot", "A second forward overwrites the attribute. Use self.save and self.saved, "
         "which keep one entry per call.")
class Softmax(reference):
    def forward(self, x):
        self.out = super().forward(x)
        return self.out

    def backward(self, dout):
        return self.out * (dout - (dout * self.out).sum(axis=self.axis, keepdims=True))

# %% [markdown] hints="Softmax"
# forward takes three steps along the axis: subtract the maximum, exponentials, divide by their sum. backward needs
# only `out`.
#
# ---
#
# dx = out · (dout - m), where m = Σ dout · out along the axis, one number per row.
#
# ---
#
# ```python
# # forward
# powers = np.exp(x - x.max(axis=self.axis, keepdims=True))
# out = powers / ...
# self.save(out)
# return out
#
# # backward
# out = self.saved()
# mean = (...).sum(axis=self.axis, keepdims=True)
# return out * (dout - mean)
# ```

# %% [markdown]
# ## See: seven curves and their slopes
#
# The slope is what your `backward` returns for a `dout` of ones.

# %%
curves = [ReLU(), LeakyReLU(0.1), ELU(), SELU(), Sigmoid(), Tanh(), Swish()]
x = np.linspace(-5, 5, 401)
fig, axes = plt.subplots(2, 4, figsize=(10, 4.4), sharex=True)
for ax, layer in zip(axes.flat, curves):
    ax.plot(x, layer(x), label="out")
    ax.plot(x, layer.backward(np.ones_like(x)), "--", label="slope")
    ax.set(title=type(layer).__name__, ylim=(-2, 3))
axes.flat[7].axis("off")
axes.flat[7].legend(*axes.flat[0].get_legend_handles_labels(), loc="center")
plt.show()

# %% [markdown]
# On the right side of the first four and of Swish the dashed slopes stay near 1. The sigmoid's is low everywhere,
# and both squashing curves have slopes near 0 at their ends: they *saturate*.
#
# `gradcheck` has the last word, on all eight.

# %% tags=["nbval-check-output"]
x = np.random.default_rng(1).normal(size=(4, 5))
for layer in [*curves, Softmax()]:
    print(f"{type(layer).__name__:10} right: {gradcheck(layer, x)['input'] < 1e-6}")
slope = Sigmoid()
slope(np.zeros(1))
steepest = slope.backward(np.ones(1))[0]
print(f"steepest sigmoid slope {steepest}, twenty of them in a row: {steepest**20:.0e}")

# %% [markdown]
# The last line is a warning: back-propagation multiplies slopes. Unless the weights make up for it, the early
# layers of a deep network learn nothing: the *vanishing gradient*.
#
# ## Maths: how large should the weights be?
#
# Look at one output of a linear layer, $z = \sum_i w_i x_i$, with `fan_in` terms. The weights are drawn
# independently, with mean 0. So the terms are uncorrelated, their variances add up, and each is
# $\text{Var}[w]\,E[x^2]$:
#
# $$\text{Var}[z] = \text{fan\_in} \cdot \text{Var}[w] \cdot E[x^2]$$
#
# It is $E[x^2]$, not $\text{Var}[x]$: after a ReLU the mean of $x$ is not 0. Now choose $\text{Var}[w]$ so that
# $\text{Var}[z]$ stays the same from layer to layer.
#
# - **LeCun.** With no activation in between, $E[x^2]$ is the last layer's variance: $\text{Var}[w] = 1/\text{fan\_in}$.
# - **He.** ReLU sets half of a symmetric $z$ to zero, so $E[x^2] = \text{Var}[z]/2$. To make up for it, twice as
#   much: $\text{Var}[w] = 2/\text{fan\_in}$.
# - **Xavier.** On the way back, $\text{dx}_i = \sum_o \text{dout}_o W_{oi}$ has `fan_out` terms, which asks for $1/\text{fan\_out}$. A compromise of
#   both ways: $\text{Var}[w] = 2/(\text{fan\_in} + \text{fan\_out})$.
#
# The first figure is now explained. `Linear`'s default is uniform on $\pm 1/\sqrt{\text{fan\_in}}$. A uniform draw on
# $\pm b$ has variance $b^2/3$, so each layer leaves a third of the variance.

# %% tags=["nbval-check-output"]
stds = spreads(None)
factor = (stds[-1] / stds[0]) ** (1 / 19)
print(f"each layer multiplies the std by {factor:.2f}, predicted {3**-0.5:.2f}")
z = np.random.default_rng(2).normal(size=1_000_000)
for layer in (ReLU(), LeakyReLU(), ELU(), Swish()):
    print(f"{type(layer).__name__:10}leaves {np.mean(layer(z) ** 2):.1f} of E[z²]")

# %% [markdown]
# Measured and predicted agree, and ReLU's relatives leave about half as well. Here is the family, given. He's
# normal weights are left for you, and so is `fan_in_and_out`, which all of them ask. A uniform draw of variance $v$
# needs the bound $b = \sqrt{3v}$.

# %%
#| export utility.init
"""Initialisers: the first weights, drawn so that a signal keeps its size from layer to layer."""

import math

import numpy as np


def lecun_normal(shape, rng):
    """Draw rng.normal(0, √(1 / fan_in), shape) (LeCun et al. 1998, section 4.6)."""
    return rng.normal(0, np.sqrt(1 / fan_in_and_out(shape)[0]), shape)


def xavier_normal(shape, rng):
    """Draw rng.normal(0, √(2 / (fan_in + fan_out)), shape), the variance of xavier_uniform."""
    return rng.normal(0, np.sqrt(2 / sum(fan_in_and_out(shape))), shape)


def he_uniform(shape, rng):
    """Draw rng.uniform(-b, b, shape) with b = √(6 / fan_in), the variance of he_normal."""
    bound = np.sqrt(6 / fan_in_and_out(shape)[0])
    return rng.uniform(-bound, bound, shape)


def xavier_uniform(shape, rng):
    """Draw rng.uniform(-b, b, shape) with b = √(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, Difficulty of training deep networks (2010), section 4.2.1.
    """
    bound = np.sqrt(6 / sum(fan_in_and_out(shape)))
    return rng.uniform(-bound, bound, shape)

# %% [markdown]
# ### Exercise 7 ★★: count the terms
#
# | weight of | shape | fan_in | fan_out |
# |---|---|---|---|
# | `Linear` | (O, I) | I | O |
# | 1-D convolution | (O, I, K) | I · K | O · K |
# | 2-D convolution | (O, I, KH, KW) | I · KH · KW | O · KH · KW |
#
# Convolutions come in chapter 08. All that matters here: one output adds up a whole window of every input
# channel. `math.prod` multiplies a sequence, and of an empty one it is 1.

# %% exercise="fan_in_and_out" points=2 stars=2
#| export utility.init
def fan_in_and_out(shape):
    """Count how many terms one output adds up, and how many outputs one input reaches.

    Args:
        shape: a weight's shape, (O, I) or (O, I, *kernel).

    Returns:
        fan_in, fan_out, two ints.

    Raises:
        ValueError: where the shape has fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"fan_in_and_out expects a shape (out, in, ...), received {shape}: "
                         "a bias has no fans, let it start at zero")
    ### BEGIN SOLUTION the in and out sizes, each times the size of the kernel
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window
    ### END SOLUTION

# %%
check(fan_in_and_out)

# %% probe="fan_in_and_out"
def probe(fan_in_and_out, rng):
    O, I, KH, KW = (int(n) for n in rng.permutation([2, 3, 5, 7]))
    yield "fans of a Linear weight", np.array(fan_in_and_out((O, I)))
    yield "fans of a 1-D convolution", np.array(fan_in_and_out((O, I, KW)))
    yield "fans of a 2-D convolution", np.array(fan_in_and_out((O, I, KH, KW)))

# %% mistakes="fan_in_and_out"
mistake("fan_in and fan_out are swapped", "A weight is (out, in, …): its first axis counts the outputs. fan_in is returned "
        "first.", swap=("shape[1] * window, shape[0] * window", "shape[0] * window, shape[1] * window"))
mistake("the kernel is forgotten", "One output of a convolution adds up a whole window of each channel, so the kernel's size "
        "multiplies both fans.", swap=("math.prod(shape[2:])", "1"))
mistake("only one axis of the kernel is counted", "A 2-D kernel has KH · KW elements: multiply all axes from the third on.",
        swap=("math.prod(shape[2:])", "math.prod(shape[2:3])"))
mistake("the kernel is counted for fan_in only", "On the way back one input also reaches a whole window of outputs.",
        swap=("shape[0] * window", "shape[0]"))
mistake("the fans of a Linear weight are floats", "np.prod(()) is 1.0, a float. math.prod(()) is the int 1.",
        swap=("math.prod(shape[2:])", "np.prod(shape[2:])"))

# %% [markdown] hints="fan_in_and_out"
# The first axis counts outputs, the second inputs, all others belong to the kernel.
#
# ---
#
# fan_in = I · (product of the kernel's axes), fan_out = O · (the same product).
#
# ---
#
# ```python
# window = math.prod(shape[...])
# return shape[1] * window, ...
# ```

# %% [markdown]
# ### Exercise 8 ★★: He's weights
#
# `rng.normal(mean, std, shape)` wants a standard deviation, not a variance. All randomness comes from `rng`: the same state gives
# the same weights.

# %% exercise="he_normal" points=2 stars=2
#| export utility.init
def he_normal(shape, rng):
    """Draw weights for a layer in front of a ReLU: normal, mean 0, variance 2 / fan_in.

    Args:
        shape: (O, I) or (O, I, *kernel).
        rng: a numpy Generator; one call rng.normal(0, std, shape) is made.

    Returns:
        a float64 array of that shape.

    Source: He et al., Delving deep into rectifiers (2015), section 2.2.
    """
    ### BEGIN SOLUTION the standard deviation from fan_in, then one draw from rng
    fan_in, _ = fan_in_and_out(shape)
    return rng.normal(0, np.sqrt(2 / fan_in), shape)
    ### END SOLUTION

# %%
check(he_normal)

# %% probe="he_normal"
def probe(he_normal, rng):
    O, I, K = (int(n) for n in rng.permutation([3, 5, 7]))
    mine = np.random.default_rng(rng.integers(1000))
    before = mine.bit_generator.state["state"]["state"]
    yield "weights of a Linear", he_normal((O, I), mine)
    yield "rng was used", before != mine.bit_generator.state["state"]["state"]
    yield "weights of a convolution", he_normal((O, I, K, 2), np.random.default_rng(7))

# %% mistakes="he_normal"
mistake("the factor 2 is missing", "ReLU sets half of the signal to zero. He makes up for it with twice the variance: 2 / fan_in.",
        swap=("np.sqrt(2 / fan_in)", "np.sqrt(1 / fan_in)"))
mistake("the variance is used as standard deviation", "rng.normal wants the standard deviation, the square root of the variance.",
        swap=("np.sqrt(2 / fan_in)", "2 / fan_in"))
mistake("the factor 2 stands outside the root", "The variance is 2 / fan_in, all of it under the root.",
        swap=("np.sqrt(2 / fan_in)", "2 / np.sqrt(fan_in)"))
mistake("fan_out is used", "The sum in forward has fan_in terms. fan_in is the first of the two numbers.",
        swap=("fan_in, _ =", "_, fan_in ="))
mistake("a generator of its own is made", "Draw from the rng that was passed in. Otherwise every layer starts with the same "
        "weights, or a run cannot be repeated.", swap=("return rng.normal", "return np.random.default_rng(0).normal"))

# %% [markdown] hints="he_normal"
# Which of the two fans counts the terms of the forward sum? And which of variance and standard deviation does
# `rng.normal` want?
#
# ---
#
# std = √(2 / fan_in)
#
# ---
#
# ```python
# fan_in, _ = fan_in_and_out(shape)
# return rng.normal(0, ..., shape)
# ```

# %% [markdown]
# ### Exercise 9 ★★: which one fits?
#
# | what follows the layer | initialiser | why |
# |---|---|---|
# | `ReLU`, `LeakyReLU`, `ELU`, `Swish` | `he_normal` | about half of $E[z^2]$ is left, as printed above |
# | `SELU` | `lecun_normal` | its constants assume variance 1 / fan_in |
# | `Tanh`, `Sigmoid`, `Softmax`, nothing (`None`) | `xavier_uniform` | not one-sided |
#
# Write the table as a function. It takes an activation object (`ReLU()`), its class (`ReLU`) or `None`, and returns
# the initialiser, uncalled. Go by the class's name, a string: `utility` must not import `model`. `isinstance` would
# also mislead you, since our `SELU` *is* an `ELU`.

# %% exercise="init_for" points=2 stars=2
#| export utility.init
def init_for(activation):
    """Choose the initialiser for a layer by the activation that follows it.

    Args:
        activation: an activation, its class, or None where none follows.

    Returns:
        a function (shape, rng) → weights, fit for Linear's ``init``.

    Raises:
        ValueError: where the activation's name is not known.
    """
    ### BEGIN SOLUTION get the class's name from object, class or None; look it up; else ValueError
    kind = activation if isinstance(activation, type) else type(activation)
    if kind.__name__ in ("ReLU", "LeakyReLU", "ELU", "Swish"):
        return he_normal
    if kind.__name__ == "SELU":
        return lecun_normal
    if kind.__name__ in ("Tanh", "Sigmoid", "Softmax", "NoneType"):
        return xavier_uniform
    raise ValueError(f"init_for knows the activations of this package, received {kind.__name__}: "
                     "pass an initialiser of your own as Linear(..., init=...)")
    ### END SOLUTION

# %%
check(init_for)

# %% probe="init_for"
class ELU:
    """Stands in for the chapter's class: only its name matters."""


class SELU(ELU):
    """A child of ELU, as the chapter's."""


class Unknown:
    """No activation of the package."""


def refusal(init_for):
    try:
        init_for(Unknown)
    except ValueError as error:
        return "ValueError that names Unknown" if "Unknown" in str(error) else "no name in it"
    except (KeyError, TypeError, AttributeError, NameError) as error:
        return f"{type(error).__name__}, not ValueError"
    return "no ValueError"


def probe(init_for, rng):
    def chosen(activation):
        try:
            return getattr(init_for(activation), "__name__", "no function")
        except (TypeError, NameError):
            return "a TypeError or NameError is raised"
        except (ValueError, KeyError, AttributeError):
            return "an error is raised"

    kinds = {name: type(name, (), {}) for name in
             ("ReLU", "LeakyReLU", "Swish", "Tanh", "Sigmoid", "Softmax")}
    kinds["ELU"] = ELU
    for name, kind in kinds.items():
        yield f"for a {name} object", chosen(kind())
    yield "for a SELU object", chosen(SELU())
    for name in ("ReLU", "Tanh"):
        yield f"for the class {name}", chosen(kinds[name])
    yield "for the class SELU", chosen(SELU)
    yield "for None", chosen(None)
    yield "for an unknown activation", refusal(init_for)

# %% mistakes="init_for"
@mistake("SELU is taken for an ELU", "SELU inherits from ELU, so isinstance(layer, ELU) is True for it. Compare the "
         "name, or ask for SELU first.")
def init_for(activation):
    kind = activation if isinstance(activation, type) else type(activation)
    return he_normal if kind.__name__ == "SELU" else reference(activation)

@mistake("a class is not understood", "The type of the class ReLU is `type`, not ReLU. Test isinstance(activation, type) first: "
         "then it is the class already.")
def init_for(activation):
    if isinstance(activation, type):
        raise ValueError(f"unknown activation {type(activation).__name__}")
    return reference(activation)

@mistake("an object is not understood", "ReLU() has no __name__; its class has: type(activation).__name__.")
def init_for(activation):
    if activation is None:
        return reference(activation)
    return reference(type(activation.__name__, (), {}))

@mistake("None is not understood", "None means that no activation follows: xavier_uniform. The class of None is called NoneType.")
def init_for(activation):
    if activation is None:
        raise ValueError("NoneType")
    return reference(activation)

@mistake("an unknown activation is accepted silently", "A guess hides a typing error. Raise a ValueError that names what was "
         "received.")
def init_for(activation):
    try:
        return reference(activation)
    except ValueError:
        return xavier_uniform

@mistake("a KeyError is left standing", "dict[name] raises a KeyError where the name is missing. Catch it, or ask `in` first, and "
         "raise a ValueError that names what was received.")
def init_for(activation):
    try:
        return reference(activation)
    except ValueError:
        raise KeyError(activation) from None

@mistake("the initialiser is called instead of returned", "Return the function itself, without brackets: Linear calls it "
         "later, with its own shape and rng.")
def init_for(activation):
    return reference(activation)()

@mistake("Swish and ELU get Xavier's weights", "They are ReLU's relatives: about half of the signal is lost. He's factor 2 makes up for it.")
def init_for(activation):
    kind = activation if isinstance(activation, type) else type(activation)
    return xavier_uniform if kind.__name__ in ("Swish", "ELU") else reference(activation)

# %% [markdown] hints="init_for"
# First get from `activation` to a class, whichever of the three came. Then the table is a row of comparisons with its
# name.
#
# ---
#
# `isinstance(activation, type)` is True for a class. The name is `kind.__name__`; for None it is "NoneType".
#
# ---
#
# ```python
# kind = activation if isinstance(activation, type) else ...
# if kind.__name__ in ("ReLU", ...):
#     return he_normal
# ...
# raise ValueError(f"... received {kind.__name__}: ...")
# ```

# %% [markdown]
# ## See: twenty layers again, with bends
#
# Forward and backward now, with the activation after every linear layer. On the left is the std of the signal, on the
# right that of the gradient that reaches each layer from behind.

# %%
def deep_flow(init, activation, width=256):
    """Return the std of each linear output, of each gradient by its input, and the last x."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(256, width)).astype(np.float32)
    layers = [(Linear(width, width, rng=rng, init=init), activation()) for _ in depth]
    signal, gradient = [], []
    for linear, bend in layers:
        z = linear(x)
        x = bend(z)
        signal.append(z.std(dtype=np.float64))
    dout = rng.normal(size=x.shape).astype(np.float32)
    for linear, bend in reversed(layers):
        dout = linear.backward(bend.backward(dout))
        gradient.append(dout.std(dtype=np.float64))
    return signal, gradient[::-1], x


pairs = [(ReLU, he_normal), (ReLU, xavier_uniform), (Tanh, xavier_uniform),
         (Sigmoid, xavier_uniform), (SELU, lecun_normal)]
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4))
for activation, init in pairs:
    signal, gradient, _ = deep_flow(init, activation)
    axes[0].semilogy(depth, signal, label=f"{activation.__name__}, {init.__name__}")
    axes[1].semilogy(depth, gradient)
axes[0].set(xlabel="layer", xticks=ticks, title="signal: std of the linear output")
axes[1].set(xlabel="layer", xticks=ticks, title="gradient: std, read from right to left")
fig.legend(loc="outside right upper")
plt.show()

# %% tags=["nbval-check-output"]
for activation, init in pairs:
    _, gradient, out = deep_flow(init, activation)
    arrives = gradient[0] / gradient[-1]
    print(f"{activation.__name__:8}{init.__name__:15}",
          f"gradient of layer 1 / layer 20: {arrives:.0e}")
print("SELU after 20 layers: mean within 0.1 of 0:", abs(out.mean()) < 0.1,
      "  std within 0.1 of 1:", abs(out.std() - 1) < 0.1)

# %% [markdown]
# Follow the two ReLU lines. With Xavier's weights half the variance is lost at every layer, both ways; with He's it is
# not. One factor of two decides whether the first layer is told anything.
#
# The sigmoid's *signal* looks healthy on the left: its outputs lie around one half, so they cannot die. Its gradient
# does. (Mind the two scales.)
#
# SELU's signal stays at 1. That is what its constants are for: if $z$ is normal with mean 0 and variance 1, then
# $\text{SELU}(z)$ has mean 0 and variance 1 again.
#
# The control sets the std of the weights to gain / √fan_in. Find the gain at which ReLU's lines are level, and
# compare with He's $\sqrt 2$. Then try Tanh far above 1: which of the two lines gives the trouble away? Is there a
# gain in reach that saves the sigmoid?

# %%
from ipywidgets import Dropdown, FloatSlider, interact


def scaled(gain=1.0, activation=ReLU):
    signal, gradient, _ = deep_flow(weights_of(gain / np.sqrt(100)), activation, width=100)
    fig, ax = plt.subplots(figsize=(6, 2.8))
    ax.semilogy(depth, signal, label="signal")
    ax.semilogy(depth, gradient, "--", label="gradient")
    ax.set(ylim=(1e-10, 1e6), xlabel="layer", xticks=ticks,
           title=f"{activation.__name__}, weight std {gain:.2f} / √fan_in")
    ax.legend()
    plt.show()


interact(scaled, gain=FloatSlider(value=1.0, min=0.4, max=2.4, step=0.05),
         activation=Dropdown(options={"ReLU": ReLU, "Tanh": Tanh, "Sigmoid": Sigmoid, "SELU": SELU}));

# %% [markdown]
# ReLU's lines are level near $\sqrt 2$. Tanh squashes, so its signal stays calm; the gradient, growing on its way
# back, gives the trouble away. The sigmoid's slope is at most ¼: only a gain above 4 could save it.
#
# ## Use: the first answers of an untrained network
#
# A network 784 → 100 → 10 has not seen a single label. It should not be certain of anything. How sure is it, as the
# mean of its largest probability, and how often is that class right? The pixels are scaled to mean 0 and variance 1
# first, so that $E[x^2] = 1$.

# %% tags=["nbval-check-output"]
images, labels = load_digits_5k()
pixels = images.reshape(len(images), -1).astype(np.float32)
pixels = (pixels - pixels.mean()) / pixels.std()


def untrained(first, second):
    rng = np.random.default_rng(0)
    hidden, relu = Linear(784, 100, rng=rng, init=first), ReLU()
    scores = Linear(100, 10, rng=rng, init=second)
    return scores(relu(hidden(pixels)))


choices = {"std 1": (weights_of(1), weights_of(1)), "fitting": (init_for(ReLU), init_for(None))}
for name, (first, second) in choices.items():
    scores = untrained(first, second)
    right, sure = np.mean(scores.argmax(axis=1) == labels), Softmax()(scores).max(axis=1).mean()
    print(f"{name}: scores of std {scores.std():.1f}, {sure:.0%} sure, {right:.0%} right")
noise = np.random.default_rng(1).normal(0, scores.std(), scores.shape)
print(f"ten random scores of that last std: {Softmax()(noise).max(axis=1).mean():.0%} sure")

# %% [markdown]
# Neither knows anything. But the first is certain of its nonsense, and training would have to unlearn that. The
# second's scores are about as small as its inputs. Softmax is not flat even then: noise of that size looks about as
# sure. Every class is still in reach, and chapter 06 starts from there.
#
# ## Exercise 10 ★: break it and say why
#
# Why random weights at all? Take Linear(4, units) → Tanh → Linear(units, 3), biases at zero, and train it for many
# steps. Predict two things. If all weights of both layers start at 0.1, how many *different* rows does the first
# weight have at the end? And if all start at 0, which of the four parameters ever move?

# %% exercise="equal_start" points=1 stars=1 reveal=false
def equal_start(units):
    """Predict what training makes of weights that all start equal.

    Args:
        units: how many hidden units there are.

    Returns:
        rows: how many different rows the first weight has in the end, if all weights start at 0.1.
        moved: list of the parameters that ever change, if all weights start at 0; out of
            "weight1", "bias1", "weight2", "bias2".
    """
    ### BEGIN SOLUTION return rows, moved
    return 1, ["bias2"]
    ### END SOLUTION

# %%
check(equal_start)

# %% probe="equal_start"
def probe(equal_start, rng):
    rows, moved = equal_start(int(rng.integers(3, 9)))
    yield "rows", rows
    yield "moved", ", ".join(sorted(moved))

# %% mistakes="equal_start"
@mistake("each unit finds its own way", "Two units with equal weights give equal outputs, feed equal weights, and so get equal "
         "gradients. What could ever make them different?")
def equal_start(units):
    return units, ["bias2"]

@mistake("with zeros, everything moves", "The gradient of the first layer comes back through weight2, which is 0. And the gradient of "
         "weight2 is dout times the hidden outputs: what are these?")
def equal_start(units):
    return 1, ["weight1", "bias1", "weight2", "bias2"]

@mistake("with zeros, nothing moves", "One parameter gets its gradient without any product with a weight or a hidden output: the "
         "sum of dout over the samples.")
def equal_start(units):
    return 1, []

@mistake("with zeros, both biases move", "The gradient of bias1 comes back through weight2. What is it multiplied by there?")
def equal_start(units):
    return 1, ["bias1", "bias2"]

@mistake("with zeros, the whole second layer moves", "The gradient of weight2 is dout times the hidden outputs. The hidden outputs "
         "are tanh of zero.")
def equal_start(units):
    return 1, ["weight2", "bias2"]

# %% [markdown] hints="equal_start"
# Follow one step on paper with two hidden units. What do both units put out? What gradient does each of them get?
#
# ---
#
# dweight1 comes back through weight2; dweight2 = doutᵀ · hidden; dbias2 = Σ dout. Put in zeros and see which of them
# is left.
#
# ---
#
# ```python
# return ..., ["..."]
# ```

# %% [markdown]
# The machine's answer, with random weights beside it.

# %% tags=["nbval-check-output"]
def train(start, units=5, steps=50):
    rng = np.random.default_rng(2)
    first, bend, second = Linear(4, units, rng=rng), Tanh(), Linear(units, 3, rng=rng)
    if start is not None:
        first.weight.data[...] = second.weight.data[...] = start
    parameters = first.parameters() + second.parameters()
    before = [p.data.copy() for p in parameters]
    x, target = rng.normal(size=(2, 30, 4)).astype(np.float32)
    for _ in range(steps):
        error = second(bend(first(x))) - target[:, :3]
        first.zero_grad()
        second.zero_grad()
        first.backward(bend.backward(second.backward(2 * error / error.size)))
        for p in parameters:
            p.data -= 0.3 * p.grad
    rows = len(np.unique(first.weight.data.round(3), axis=0))
    return rows, sum(not np.array_equal(p.data, old) for p, old in zip(parameters, before))


for start in (None, 0.1, 0.0):
    rows, moved = train(start)
    print(f"start {start}: {rows} different rows, {moved} of 4 parameters moved")

# %% [markdown]
# ## Recap
#
# - Without a bend between them, any number of linear layers is one linear layer.
# - An activation's `backward` is `dout` times the slope. Softmax mixes its elements, and still needs no Jacobian.
# - Give `exp` only numbers that are not positive, and mind the dtype that `np.where` makes.
# - Each linear layer multiplies the variance by fan_in · Var[w]. He, Xavier and LeCun choose weights that keep it level.
# - Equal units get equal gradients and stay equal, so weights start random. Biases may start at zero.
#
# `finish` exports your activations into `nyang_edu/model/activation.py` and the initialisers into `utility/init.py`.
#
# **References.** Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural networks*
# (2010), section 4.2.1. He et al., *Delving deep into rectifiers* (2015), section 2.2. Klambauer et al.,
# *Self-normalizing neural networks* (2017), section 2. LeCun et al., *Efficient BackProp* (1998), section 4.6.
# Goodfellow, Bengio, Courville, *Deep Learning* (2016), sections 4.1, 6.2.2 and 6.3. Each activation's docstring
# names its own paper.

# %%
finish("04_activations")
