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
# # 03 · The linear layer
#
# **You have** arrays, shapes and broadcasting (01), windows (02), and `relative_error` (00).
#
# **You will build** the layer contract that every later chapter relies on, the `Linear` layer with
# its gradients, and a numerical check that tells whether any gradient is right.
#
# **It unlocks** activations (04), losses (05) and the first trained network (06).
#
# Time: about 90 minutes. Seven exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.utility.plot import BLUE, ORANGE, draw_chain, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: ten numbers from 784
#
# A picture of a digit is 28 × 28 = 784 numbers. We want ten numbers out of it, one score per class.
# The simplest machine that does it multiplies each pixel by a weight and adds up, once for each class.
#
# Here are ten such sets of weights. Each is the mean picture of its class, minus the mean of all digits.
# Nothing has been learned yet. How often is the largest of the ten scores the right class?

# %% tags=["nbval-check-output"]
import numpy as np

images, labels = load_digits_5k()
x = images.reshape(len(images), -1).astype(np.float32) / 255  # (5000, 784)
templates = np.stack([x[labels == k].mean(0) for k in range(10)]) - x.mean(0)

fig, axes = plt.subplots(1, 10, figsize=(10, 1.4))
for k, ax in enumerate(axes):
    ax.imshow(templates[k].reshape(28, 28), cmap="RdBu_r", vmin=-0.6, vmax=0.6)
    ax.set_title(k)
    ax.axis("off")
plt.show()

guess = (x @ templates.T).argmax(axis=1)
print(f"templates alone: {np.mean(guess == labels):.0%} right, chance would be 10%")

# %% [markdown]
# Red pixels speak for the class and blue ones against it. Weights that nobody trained already do
# far better than chance. Chapter 06 trains them. To train them, we need to know how the error changes
# when a weight changes: the *gradient*. This chapter is about getting gradients right.

# %% [markdown]
# ## Idea: one sample by hand
#
# Take one sample with three features and two outputs. Each row of `weight` belongs to one output.
# Multiply the row with the sample, add up, then add that output's bias.

# %%
sample = np.array([[1.0, 2.0, 3.0]])
weight = np.array([[1.0, 0.0, -1.0], [2.0, 1.0, 0.0]])
bias = np.array([[10.0, 20.0]])

fig, axes = plt.subplots(1, 4, figsize=(9, 1.7), width_ratios=[3, 3, 2, 2])
draw_matrix(axes[0], sample, "x  (1, 3)", highlight=np.ones((1, 3), bool))
draw_matrix(axes[1], weight, "weight  (2, 3)", highlight=[[1, 1, 1], [0, 0, 0]])
draw_matrix(axes[2], bias, "bias  (2,)", highlight=[[1, 0]])
draw_matrix(axes[3], sample @ weight.T + bias, "out  (1, 2)", highlight=[[1, 0]])
plt.show()

# %% [markdown]
# Follow the orange cells: $1·1 + 2·0 + 3·(-1) + 10 = 8$. The white row of `weight` gives the second
# output in the same way.
#
# ## Maths: forward
#
# With $N$ samples of $I$ features and $O$ outputs, one element of the output is
#
# $$\text{out}_{no} = \sum_{i} x_{ni}\, W_{oi} + b_o .$$
#
# The sum runs over the second axis of both `x` and `weight`. A matrix product sums over the second axis
# of the left and the *first* axis of the right matrix. So `weight` has to be transposed.
#
# | array | shape | what one row is |
# |---|---|---|
# | `x` | (N, I) | a sample |
# | `weight` | (O, I) | the weights of one output |
# | `bias` | (O,) | – |
# | `out` | (N, O) | the outputs of one sample |
#
# PyTorch stores `weight` as (O, I) too, so its weights will fit ours.
#
# ### Exercise 1 ★★: forward
#
# Write the forward pass as a plain function. No loop is needed.

# %%
#| default_exp model.linear
#| export
"""The linear layer: every output is a weighted sum of all inputs."""

import numpy as np

from nyang_edu.model.core import NyangModel, Parameter, expect_input

# %% exercise="linear_forward" points=2 stars=2
#| export
def linear_forward(x, weight, bias):
    """Compute x · weightᵀ + bias.

    Args:
        x: (N, I) samples.
        weight: (O, I), one row per output.
        bias: (O,), one number per output.

    Returns:
        out (N, O).
    """
    ### BEGIN SOLUTION one row of outputs per sample, without a loop
    return x @ weight.T + bias
    ### END SOLUTION

# %%
check(linear_forward)

# %% probe="linear_forward"
def probe(linear_forward, rng):
    N, I, O = rng.integers(2, 7, 3)
    x, weight, bias = rng.normal(size=(N, I)), rng.normal(size=(O, I)), rng.normal(size=O)
    yield "out", linear_forward(x, weight, bias)
    low = [a.astype(np.float32) for a in (x, weight, bias)]
    yield "out in float32", linear_forward(*low)

# %% mistakes="linear_forward"
@mistake("the bias is forgotten", "A linear layer ends with + bias: one number per output, the same for "
         "every sample. Broadcasting stretches the (O,) bias over the N rows.")
def linear_forward(x, weight, bias):
    return x @ weight.T

@mistake("the bias is subtracted", "The formula ends with + b. Look at the sign.")
def linear_forward(x, weight, bias):
    return x @ weight.T - bias

@mistake("the result is transposed", "You have one row per output. Samples belong in the rows: out is (N, O), "
         "so x stands on the left and the transposed weight on the right.")
def linear_forward(x, weight, bias):
    return weight @ x.T + bias[:, None]

@mistake("weight is not transposed", "Both x and weight keep the features in their second axis. A matrix "
         "product wants the right matrix to have them in its first: use weight.T.")
def linear_forward(x, weight, bias):
    return x @ weight + bias

@mistake("the result is always float64", "A float32 input must give a float32 output, or training takes twice the "
         "memory and time. Do not create a float64 array on the way.")
def linear_forward(x, weight, bias):
    return x.astype(np.float64) @ weight.T + bias

# %% [markdown] hints="linear_forward"
# Which axis of `x` and which axis of `weight` count the features? These two have to meet in the product.
#
# ---
#
# out = x Wᵀ + b, and NumPy writes Wᵀ as `weight.T`.
#
# ---
#
# ```python
# return x @ ... + ...
# ```

# %% [markdown]
# ## Maths: backward
#
# Somewhere behind this layer stands a loss $L$, one number. Back-propagation hands us
# `dout` $= \partial L / \partial \text{out}$: how much the loss changes per unit of each output. It has
# the shape of `out`. We owe three answers, each with the shape of what it belongs to.

# %%
fig, ax = plt.subplots(figsize=(7, 1.9))
draw_chain(ax, ["Linear\n(weight, bias)", "the rest"], forward=["x", "out", "L"],
           backward=["dx", "dout", "1"])
plt.show()

# %% [markdown]
# Start with one weight, $W_{oi}$. It touches output $o$ of *every* sample, each time multiplied by $x_{ni}$.
# So its gradient adds up over the samples:
#
# $$\frac{\partial L}{\partial W_{oi}} = \sum_n \text{dout}_{no}\, x_{ni}, \qquad
# \frac{\partial L}{\partial b_{o}} = \sum_n \text{dout}_{no}, \qquad
# \frac{\partial L}{\partial x_{ni}} = \sum_o \text{dout}_{no}\, W_{oi}.$$
#
# Read each sum as a matrix product: which axis disappears? For the weight it is $n$, so the samples must
# meet. For `dx` it is $o$, so the outputs must meet.
#
# | gradient | shape | the axis that is summed over |
# |---|---|---|
# | `dx` | (N, I) | O |
# | `dweight` | (O, I) | N |
# | `dbias` | (O,) | N |
#
# Beware of a factor $1/N$. The loss may average over the batch. This layer does not know, and does not divide.
#
# ### Exercise 2 ★★: backward

# %% exercise="linear_backward" points=3 stars=2
#| export
def linear_backward(dout, x, weight):
    """Compute the gradients of a linear layer.

    Args:
        dout: (N, O), the loss's gradient by the output.
        x: (N, I), the input of the forward pass.
        weight: (O, I).

    Returns:
        dx (N, I), dweight (O, I), dbias (O,).
    """
    ### BEGIN SOLUTION three sums: over O for dx, over N for dweight and dbias
    dx = dout @ weight  # (N, I)
    dweight = dout.T @ x  # (O, I)
    dbias = dout.sum(axis=0)  # (O,)
    return dx, dweight, dbias
    ### END SOLUTION

# %%
check(linear_backward)

# %% probe="linear_backward"
def probe(linear_backward, rng):
    N, I, O = rng.integers(2, 7, 3)
    dout, x, weight = rng.normal(size=(N, O)), rng.normal(size=(N, I)), rng.normal(size=(O, I))
    dx, dweight, dbias = linear_backward(dout, x, weight)
    yield "dx", dx
    yield "dweight", dweight
    yield "dbias", dbias

# %% mistakes="linear_backward"
@mistake("dweight is averaged over the batch", "dweight is N times too small. If the loss averages over "
         "the batch, its own gradient already holds the 1/N. Here you only add up.")
def linear_backward(dout, x, weight):
    dx, dweight, dbias = reference(dout, x, weight)
    return dx, dweight / len(x), dbias

@mistake("dbias is averaged over the batch", "dbias is N times too small: use sum over the samples, not mean.")
def linear_backward(dout, x, weight):
    dx, dweight, dbias = reference(dout, x, weight)
    return dx, dweight, dbias / len(x)

@mistake("dweight is transposed", "A gradient has the shape of what it belongs to. weight is (O, I), so dweight "
         "is (O, I): put dout.T on the left.")
def linear_backward(dout, x, weight):
    dx, dweight, dbias = reference(dout, x, weight)
    return dx, dweight.T, dbias

@mistake("dbias is not summed over the samples", "One bias serves all N samples, so its gradient collects from "
         "all of them: sum over axis 0.")
def linear_backward(dout, x, weight):
    dx, dweight, dbias = reference(dout, x, weight)
    return dx, dweight, dout

@mistake("dbias is summed over the outputs", "You summed over axis 1, the outputs. Each output has a bias of its "
         "own; the samples are axis 0.")
def linear_backward(dout, x, weight):
    dx, dweight, dbias = reference(dout, x, weight)
    return dx, dweight, dout.sum(axis=1)

@mistake("dbias is summed over everything", "dout.sum() adds all outputs into one number. Each output keeps a bias of its "
         "own: sum over the samples only.")
def linear_backward(dout, x, weight):
    dx, dweight, dbias = reference(dout, x, weight)
    return dx, dweight, dout.sum()

@mistake("dx uses the transposed weight", "In forward the weight was transposed. Going back undoes it: "
         "the outputs must meet, dout is (N, O) and weight is (O, I), so no transpose is needed.")
def linear_backward(dout, x, weight):
    return dout @ weight.T, dout.T @ x, dout.sum(axis=0)

# %% [markdown] hints="linear_backward"
# Write the shapes side by side: dout (N, O), x (N, I), weight (O, I). Each gradient has the shape of
# what it belongs to. Only one order of the product gives that shape.
#
# ---
#
# dx = dout W, dW = doutᵀ x, db = the sum of dout over the samples.
#
# ---
#
# ```python
# dx = dout @ ...
# dweight = dout.T @ ...
# dbias = dout.sum(axis=...)
# return dx, dweight, dbias
# ```

# %% [markdown]
# ## Is it right? Ask the function itself
#
# The check above knows the answer. In your own project nothing does. There is a test that needs no answer:
# change one input a little, and watch what the function does. The slope of the line through two close points
# is nearly the derivative.
#
# $$\frac{\partial f}{\partial x_i} \approx \frac{f(x + h\,e_i) - f(x - h\,e_i)}{2h}$$
#
# Here $e_i$ is 1 at place $i$ and 0 elsewhere. Two points on both sides are better than one point and $x$
# itself. The figure shows how much better, and that a smaller step is not always better.

# %% tags=["nbval-check-output"]
steps = 10.0 ** np.arange(-12, 0, 0.25)
one_sided = (np.exp(1 + steps) - np.exp(1)) / steps
central = (np.exp(1 + steps) - np.exp(1 - steps)) / (2 * steps)

fig, ax = plt.subplots(figsize=(6, 3.2))
ax.loglog(steps, abs(one_sided / np.exp(1) - 1), label="one-sided")
ax.loglog(steps, abs(central / np.exp(1) - 1), label="central")
ax.set(xlabel="step h", ylabel="relative error", title="the slope of exp at 1")
ax.legend()
plt.show()
at_1e_5 = abs(central / np.exp(1) - 1)[np.argmin(abs(steps - 1e-5))]
print(f"central difference at h = 1e-5, error below 1e-9: {at_1e_5 < 1e-9}")

# %% [markdown]
# On the right the curve itself is the problem: a wide step sees its bend. On the left rounding is the
# problem: two nearly equal numbers are subtracted, and few correct digits are left. In between lies a good step.
# The exact place depends on the function. In float64 a step of $10^{-5}$ is a good choice, and the default below.
#
# ### Exercise 3 ★★: the numerical gradient
#
# `f` takes an array and returns one number. Change one element at a time, in float64, and leave `x` as you
# found it.

# %%
#| export utility.gradcheck
"""Check any layer's gradients against numerical ones."""

import numpy as np

from nyang_edu.utility.compare import relative_error

# %% exercise="numerical_gradient" points=3 stars=2 conditioning=1e7
#| export utility.gradcheck
def numerical_gradient(f, x, step=1e-5):
    """Estimate the gradient of f at x by central differences.

    Args:
        f: a function of one array that returns a number.
        x: a float64 array of any shape; it is left unchanged.
        step: how far each element is moved to both sides.

    Returns:
        gradient, an array of x's shape.
    """
    ### BEGIN SOLUTION move one element of a copy by +step and -step, and compare
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] = x[index] + step
        above = f(moved)
        moved[index] = x[index] - step
        gradient[index] = (above - f(moved)) / (2 * step)
    return gradient
    ### END SOLUTION

# %%
check(numerical_gradient)

# %% probe="numerical_gradient"
def probe(numerical_gradient, rng):
    weight = rng.normal(size=(2, 3))
    vector, cube = rng.normal(size=4), rng.normal(size=(2, 1, 3))
    yield "gradient of a polynomial", numerical_gradient(lambda x: float((weight * x**3).sum()),
                                                         rng.normal(size=(2, 3)))
    yield "gradient of a vector", numerical_gradient(lambda x: float(np.sin(x).sum()), vector)
    yield "gradient of a 3-D array", numerical_gradient(lambda x: float(x.prod()), cube)

# %% mistakes="numerical_gradient"
mistake("the difference is divided by h instead of 2h", "x + h and x - h are 2h apart. Divide by 2 * step.",
        swap=("(2 * step)", "step"))
mistake("the difference has the wrong sign", "It is f(x + h) - f(x - h), in this order.",
        swap=("(above - f(moved))", "(f(moved) - above)"))
mistake("the moved element is not moved back", "After an element has been measured, it must return to its value before "
        "the next one is moved. Otherwise each slope is taken at another place.",
        swap=("""    for index in np.ndindex(x.shape):
        moved = x.copy()
""", """    moved = x.copy()
    for index in np.ndindex(x.shape):
"""))
mistake("the input is left changed", "The caller's x must come back as it was. Work on x.copy().",
        swap=("moved = x.copy()", "moved = x"))

@mistake("all elements are moved at once", "x + step moves every element, and gives one slope for all of them together. "
         "Move one element, measure, and go on to the next.")
def numerical_gradient(f, x, step=1e-5):
    return np.full(x.shape, (f(x + step) - f(x - step)) / (2 * step))

@mistake("one number is returned for the whole array", "x + step moves every element, and gives one slope for all of "
         "them together. The gradient has one number for each element.")
def numerical_gradient(f, x, step=1e-5):
    return (f(x + step) - f(x - step)) / (2 * step)

@mistake("a one-sided difference is used", "(f(x + h) - f(x)) / h is off by about h. The central difference, "
         "with one point on each side, is off by about h squared.")
def numerical_gradient(f, x, step=1e-5):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        gradient[index] = (f(moved) - f(x)) / step
    return gradient

# %% [markdown] hints="numerical_gradient"
# One element at a time: how does f change when only that element moves? `np.ndindex(x.shape)` walks
# over all places of an array, whatever its rank.
#
# ---
#
# gradient[index] = (f(x with x[index] + step) - f(x with x[index] - step)) / (2 · step)
#
# ---
#
# ```python
# gradient = np.zeros_like(x)
# for index in np.ndindex(x.shape):
#     moved = x.copy()
#     moved[index] = x[index] + step
#     above = ...
#     moved[index] = ...
#     gradient[index] = ...
# return gradient
# ```

# %% [markdown]
# Now the gradient of the plain functions can be checked by two programs that know nothing of each other. The loss
# here is the sum of `out` times a random `dout`: its gradient by `out` is exactly `dout`.

# %% tags=["nbval-check-output"]
rng = np.random.default_rng(3)
x3, w3, b3, d3 = (rng.normal(size=s) for s in [(4, 3), (2, 3), (2,), (4, 2)])
dx, dweight, dbias = linear_backward(d3, x3, w3)
estimate = numerical_gradient(lambda w: np.sum(linear_forward(x3, w, b3) * d3), w3)
print(f"largest difference below 1e-8: {np.abs(estimate - dweight).max() < 1e-8}")

# %% [markdown]
# ## From functions to a layer
#
# `linear_backward` needs `x` from the forward pass. A layer should remember it by itself. Where to?
# One slot, `self.x`, is the first idea. It breaks as soon as one layer is used twice in a network: the second call
# overwrites what the first one needs.
#
# Back-propagation visits the calls in reverse order. So the last thing saved is the first thing needed: a *stack*.

# %%
fig, axes = plt.subplots(1, 4, figsize=(9, 2.1))
stacks = [("forward(x₁)", ["x₁"]), ("forward(x₂)", ["x₁", "x₂"]),
          ("backward(dout₂)\ntakes x₂", ["x₁"]), ("backward(dout₁)\ntakes x₁", [])]
for ax, (title, stack) in zip(axes, stacks):
    for level, name in enumerate(stack):
        ax.add_patch(plt.Rectangle((0, level), 2, 0.9, facecolor="#d9e5f3", edgecolor=BLUE))
        ax.text(1, level + 0.45, name, ha="center", va="center")
    if not stack:
        ax.text(1, 0.45, "empty", ha="center", va="center", color="#8a8a8a")
    ax.set(xlim=(-0.2, 2.2), ylim=(-0.1, 2.1), title=title)
    ax.axis("off")
plt.show()

# %% [markdown]
# ### Exercise 4 ★★: the memory of a layer
#
# Write the three methods. A `saved` without a matching `save` is a bug in somebody's network. The error must
# say which layer it was: `type(self).__name__` is the name of the class. Raise a `RuntimeError`.
#
# Two rules. Every layer will inherit from `Memory`, and no layer calls `super().__init__()`. So write no `__init__`:
# the list is created when it is first needed. And while `Memory.remembering` is False, `save` keeps nothing. That is
# for using a finished network, where no backward follows.

# %%
#| export model.core
"""The contract of every layer: forward saves, backward takes back and adds to the gradients."""

import contextlib

import numpy as np

# %% exercise="Memory" points=3 stars=2
#| export model.core
class Memory:
    """What a layer's forward leaves for its backward: a stack, last in, first out."""

    remembering = True

    def save(self, *values):
        """Push the values of one forward call, unless remembering is off."""
        ### BEGIN SOLUTION push the tuple of values onto a list of this object's own
        if Memory.remembering:
            self.__dict__.setdefault("_stack", []).append(values)
        ### END SOLUTION

    def saved(self):
        """Pop the values of the latest forward call, a single one without its tuple.

        Raises:
            RuntimeError: where nothing is left, with the class's name.
        """
        ### BEGIN SOLUTION pop, or raise a RuntimeError that names type(self).__name__
        if not self.__dict__.get("_stack"):
            raise RuntimeError(
                f"{type(self).__name__}.backward was called without a matching forward: "
                "each backward uses up what one forward saved"
            )
        values = self._stack.pop()
        return values[0] if len(values) == 1 else values
        ### END SOLUTION

    def forget(self):
        """Drop everything that is saved."""
        ### BEGIN SOLUTION empty the list
        self.__dict__.pop("_stack", None)
        ### END SOLUTION

# %%
check(Memory)

# %% probe="Memory"
def probe(Memory, rng):
    class Doubler(Memory):
        pass

    def refusal(layer):
        try:
            layer.saved()
        except RuntimeError as error:
            return "RuntimeError that names Doubler" if "Doubler" in str(error) else "no name in it"
        except Exception as error:
            return f"no RuntimeError but {type(error).__name__}"
        return "no RuntimeError"

    a, b = rng.normal(size=2), rng.normal(size=3)
    layer, other = Doubler(), Doubler()
    layer.save(a, b)
    layer.save(b)
    yield "the latest value", layer.saved()
    first = layer.saved()
    yield "how many values come back", len(first)
    yield "the value below it", first[0]
    yield "saved on an empty memory", refusal(layer)
    other.save(a)
    yield "saved on another layer's memory", refusal(layer)
    other.save(b)
    other.forget()
    yield "saved after forget", refusal(other)
    yield "saved on a layer that never saved", refusal(Doubler())
    Memory.remembering = False
    try:
        layer.save(a)
        yield "saved while remembering is off", refusal(layer)
    finally:
        Memory.remembering = True

    class Heir(Memory):
        def __init__(self):
            self.size = 3

    heir = Heir()
    heir.save(b)
    yield "the value in a layer with its own __init__", heir.saved()

# %% mistakes="Memory"
@mistake("one slot in place of a stack", "The second save overwrote the first. Append to a list, and pop from its end.")
class Memory(reference):
    def save(self, *values):
        if self.remembering:
            self._stack = [values]

@mistake("first in, first out", "You take the oldest value. Backward visits the calls in reverse order, so take "
         "the newest: list.pop() without an index.")
class Memory(reference):
    def saved(self):
        if not self.__dict__.get("_stack"):
            raise RuntimeError(type(self).__name__)
        values = self._stack.pop(0)
        return values[0] if len(values) == 1 else values

@mistake("one list shared by all layers", "A list in the class body belongs to all layers together. Each object needs "
         "its own: create it on self.")
class Memory(reference):
    _everyone = []

    def save(self, *values):
        if self.remembering:
            self._everyone.append(values)

    def saved(self):
        if not self._everyone:
            raise RuntimeError(type(self).__name__)
        values = self._everyone.pop()
        return values[0] if len(values) == 1 else values

    def forget(self):
        self._everyone.clear()

@mistake("a value is read but not taken", "saved must take the entry off the stack, or the next backward gets "
         "the same one again. Use pop, not [-1].")
class Memory(reference):
    def saved(self):
        if not self.__dict__.get("_stack"):
            raise RuntimeError(type(self).__name__)
        values = self._stack[-1]
        return values[0] if len(values) == 1 else values

@mistake("the list is created in __init__", "A layer has an __init__ of its own and does not call yours, so the list is "
         "never made. Create it in save, when it is first needed.")
class Memory(reference):
    def __init__(self):
        self._list = []

    def save(self, *values):
        if self.remembering:
            self._list.append(values)

    def saved(self):
        if not self._list:
            raise RuntimeError(type(self).__name__)
        values = self._list.pop()
        return values[0] if len(values) == 1 else values

    def forget(self):
        self._list = []

@mistake("the list of a fresh layer is not there", "saved may be the first call of all: then there is no list yet, and "
         "self._stack raises an AttributeError. Ask with self.__dict__.get(...).")
class Memory(reference):
    def save(self, *values):
        if self.remembering:
            self.__dict__.setdefault("_stack", []).append(values)

    def saved(self):
        if not self._stack:
            raise RuntimeError(type(self).__name__)
        values = self._stack.pop()
        return values[0] if len(values) == 1 else values

    def forget(self):
        self._stack = []

@mistake("the error does not name the layer", "In a network of fifty layers, 'nothing saved' helps nobody. Put "
         "type(self).__name__ into the message.")
class Memory(reference):
    def saved(self):
        if not self.__dict__.get("_stack"):
            raise RuntimeError("nothing saved")
        return super().saved()

mistake("remembering is ignored", "Where Memory.remembering is False, save must do nothing: that is how inference "
        "runs without filling the memory.", swap=("if Memory.remembering:", "if True:"))

# %% [markdown] hints="Memory"
# A Python list is a stack: `append` puts on top, `pop` takes from the top. Where does the list come from, if
# no `__init__` has run?
#
# ---
#
# `self.__dict__.setdefault("_stack", [])` gives this object's own list and creates it on first use.
# An empty list counts as False.
#
# ---
#
# ```python
# def save(self, *values):
#     if Memory.remembering:
#         self.__dict__.setdefault("_stack", []).append(...)
#
# def saved(self):
#     if not self.__dict__.get("_stack"):
#         raise RuntimeError(f"{type(self).__name__}.backward ...")
#     values = ...
#     return values[0] if len(values) == 1 else values
#
# def forget(self):
#     self.__dict__.pop("_stack", None)
# ```

# %% [markdown]
# ### Given: the base of every layer and model
#
# A `Parameter` is an array that is learned, with its gradient. A model is a class with layers in its attributes, and
# `Parts` finds them there. Read the next cells once; every chapter builds on them.

# %%
#| export model.core
class Parameter:
    """An array that is learned, and its gradient of equal shape and dtype."""

    def __init__(self, data):
        self.data = np.asarray(data)
        self.grad = np.zeros_like(self.data)

    def __repr__(self):
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


@contextlib.contextmanager
def no_memory():
    """Run forward passes without saving anything: for inference, not for training."""
    before, Memory.remembering = Memory.remembering, False
    try:
        yield
    finally:
        Memory.remembering = before

# %% [markdown]
# The rules of a layer, in one place:
#
# 1. `forward` ends its bookkeeping with `self.save(…)`; `backward` begins with `… = self.saved()`.
# 2. `backward` *adds* to `parameter.grad`, and returns a fresh `dx`. It never writes into `dout` or `x`.
# 3. `model(x)` starts a fresh pass. Inside a model, call `layer.forward(x)`.

# %%
#| export model.core
class Parts(Memory):
    """Finds the layers and parameters of a model by walking over its attributes.

    ``buffers`` names the attributes whose arrays belong to the state but are not learned.
    """

    buffers = ()

    def named_children(self):
        """Yield (name, value) for each parameter and layer held by an attribute."""
        for name, value in vars(self).items():
            entries = enumerate(value) if isinstance(value, (list, tuple)) else [("", value)]
            for key, part in entries:
                if isinstance(part, (Parameter, Parts)):
                    yield (f"{name}.{key}" if key != "" else name), part

    def named_layers(self, prefix=""):
        """Yield (name, layer) for this layer and all below it, in definition order."""
        yield prefix.removesuffix("."), self
        for name, part in self.named_children():
            if isinstance(part, Parts):
                yield from part.named_layers(f"{prefix}{name}.")

    def named_parameters(self):
        """Yield (name, Parameter), each once, even where a layer is used twice."""
        seen = set()
        for prefix, layer in self.named_layers():
            for name, part in layer.named_children():
                if isinstance(part, Parameter) and id(part) not in seen:
                    seen.add(id(part))
                    yield (f"{prefix}.{name}" if prefix else name), part

    def parameters(self):
        """List every Parameter once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self):
        """Yield (name, layer, attribute) of each array that is kept but not learned, each once."""
        seen = set()
        for prefix, layer in self.named_layers():
            if id(layer) not in seen:
                seen.add(id(layer))
                for attribute in layer.buffers:
                    yield (f"{prefix}.{attribute}" if prefix else attribute), layer, attribute

# %% [markdown]
# `NyangModel` adds what a model is used for: calling it, switching between training and inference, and
# carrying its state in a dict with PyTorch's names. It also remembers its constructor's arguments, so that a
# saved model can be built again without its code (13). Some layers of chapter 10 keep arrays that are not learned; those are called
# *buffers*, and belong to the state as well.

# %%
#| export model.core
class NyangModel(Parts):
    """The base of every layer and model: forward, backward, and the state they share."""

    training = True

    def __new__(cls, *args, **kwargs):
        """Make the object and remember what with: a saved model says how to build it again."""
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__} has no __init__ and takes no arguments, received "
                            f"{', '.join(map(str, [*args, *kwargs]))}: write {cls.__name__}()")
        model = super().__new__(cls)
        model._made_with = args, kwargs
        return model

    def forward(self, *inputs):
        """Compute the output; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self, dout):
        """Return the gradient by the input and add to those of the parameters."""
        raise TypeError(f"{type(self).__name__} does not define backward")

    def __call__(self, *inputs):
        """Start a fresh pass: forget what earlier ones saved, then forward."""
        for _, layer in self.named_layers():
            layer.forget()
        return self.forward(*inputs)

    def zero_grad(self):
        """Set every gradient to zero."""
        for parameter in self.parameters():
            parameter.grad[...] = 0

    def train(self, training=True):
        """Switch to training behaviour; returns self."""
        for _, layer in self.named_layers():
            layer.training = training
        return self

    def eval(self):
        """Switch to inference behaviour; returns self."""
        return self.train(False)

    def summary(self, input_shape, depth=None):
        """Return a table of shapes and costs for one sample of input_shape, as (1, 28, 28)."""
        from nyang_edu.model.summary import summarize

        return summarize(self, input_shape, depth)

    def to(self, dtype):
        """Convert parameters and float buffers to a dtype, as np.float64 for gradient checks."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = parameter.grad.astype(dtype)
        for _, layer, attribute in self.named_buffers():
            buffer = getattr(layer, attribute)
            if buffer.dtype.kind == "f":  # a counter stays an integer
                setattr(layer, attribute, buffer.astype(dtype))
        return self

    def named_arrays(self):
        """Yield (name, array) of the state: the parameters, then the buffers."""
        for name, part in self.named_parameters():
            yield name, part.data
        for name, layer, attribute in self.named_buffers():
            yield name, getattr(layer, attribute)

    def state_dict(self):
        """Copy parameters and buffers into a dict of arrays, with PyTorch's names."""
        return {name: array.copy() for name, array in self.named_arrays()}

    def load_state_dict(self, state):
        """Copy arrays into parameters and buffers; nothing changes unless all of them fit.

        Raises:
            ValueError: with every missing, unexpected or misshapen name.
        """
        own = dict(self.named_arrays())
        wrong = [f"missing {name}" for name in own if name not in state]
        wrong += [f"unexpected {name}" for name in state if name not in own]
        wrong += [f"{name} has shape {np.shape(state[name])}, expected {array.shape}"
                  for name, array in own.items()
                  if name in state and np.shape(state[name]) != array.shape]
        if wrong:
            raise ValueError(f"{type(self).__name__} cannot load this state: {'; '.join(wrong)}")
        for name, array in own.items():
            array[...] = state[name]

# %% [markdown]
# One helper makes wrong inputs easy to understand: it says what the layer needs, what it got, and what to do.

# %%
#| export model.core
def expect_input(layer, x, *shape, dtype=None):
    """Raise where an input is not as a layer needs it.

    Args:
        layer: the layer that speaks.
        x: its input.
        shape: one entry per axis: a number that must match, or a letter for a free size.
        dtype: what x must hold; None accepts any.

    Raises:
        ValueError: for another number of axes or another size.
        TypeError: for another dtype: float32 and float64 never mix silently.
    """
    name, have = type(layer).__name__, np.shape(x)
    fits = len(have) == len(shape) and all(
        isinstance(want, str) or want == size for want, size in zip(shape, have, strict=True))
    if not fits:
        want = ", ".join(str(size) for size in shape)
        raise ValueError(f"{name} expects an input of shape ({want}), received {have}")
    if dtype is not None and x.dtype != dtype:
        raise TypeError(f"{name} holds {dtype} parameters, received {x.dtype}: "
                        f"convert the input with x.astype(np.{dtype})")

# %% [markdown]
# ### Exercise 5 ★★: the layer
#
# Wrap your two functions. `forward` saves what `backward` needs. `backward` adds to `self.weight.grad` and
# `self.bias.grad`, and returns `dx`. Mind that a layer may have no bias.
#
# The weights start as random numbers between $-1/\sqrt I$ and $1/\sqrt I$, as PyTorch's do. Chapter 04 asks
# whether that is a good choice.

# %% exercise="Linear" points=4 stars=2
#| export
class Linear(NyangModel):
    """Map features linearly: out = x · weightᵀ + bias.

    Shapes: x (N, in_features) → out (N, out_features); weight (out_features, in_features),
    bias (out_features,).

    Raises:
        ValueError, TypeError: where x has another shape or dtype than the layer expects.
    """

    def __init__(self, in_features, out_features, bias=True, *, rng=None, init=None):
        self.in_features, self.out_features = in_features, out_features
        rng = rng or np.random.default_rng()
        init = init or uniform_fan_in
        weight = init((out_features, in_features), rng)
        self.weight = Parameter(weight.astype(np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x):
        """Return out (N, out_features) for x (N, in_features)."""
        expect_input(self, x, "N", self.in_features, dtype=self.weight.data.dtype)
        ### BEGIN SOLUTION save x, then linear_forward; without a bias, add 0
        self.save(x)
        return linear_forward(x, self.weight.data, self.bias.data if self.bias else 0)
        ### END SOLUTION

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_features)."""
        ### BEGIN SOLUTION take x back, then linear_backward; add to the gradients with +=
        x = self.saved()
        dx, dweight, dbias = linear_backward(dout, x, self.weight.data)
        self.weight.grad += dweight
        if self.bias:
            self.bias.grad += dbias
        return dx
        ### END SOLUTION


def uniform_fan_in(shape, rng):
    """Draw weights from ±1/√fan_in, where fan_in counts the inputs of one output."""
    bound = 1 / np.sqrt(np.prod(shape[1:]))
    return rng.uniform(-bound, bound, shape)

# %%
check(Linear)

# %% probe="Linear"
def probe(Linear, rng):
    N, I, O = rng.integers(2, 6, 3)
    layer = Linear(I, O).to(np.float64)
    layer.weight.data = rng.normal(size=(O, I))
    layer.bias.data = rng.normal(size=O)
    layer.zero_grad()
    x1, x2 = rng.normal(size=(N, I)), rng.normal(size=(N + 1, I))
    d1, d2 = rng.normal(size=(N, O)), rng.normal(size=(N + 1, O))
    yield "out", layer(x1)
    yield "dx", layer.backward(d1)
    yield "weight.grad", layer.weight.grad
    yield "bias.grad", layer.bias.grad
    layer.forward(x1)
    layer.forward(x2)
    yield "dx of the second of two calls", layer.backward(d2)
    yield "dx of the first of two calls", layer.backward(d1)
    yield "weight.grad after three backward passes", layer.weight.grad
    yield "bias.grad after three backward passes", layer.bias.grad
    plain = Linear(I, O, bias=False).to(np.float64)
    plain.weight.data = rng.normal(size=(O, I))
    yield "out without bias", plain(x1)
    yield "dx without bias", plain.backward(d1)

# %% mistakes="Linear"
mistake("the weight's gradient is replaced, not added to", "With = the second backward wipes out the first. A layer "
        "that is used twice needs both: weight.grad += dweight.",
        swap=("self.weight.grad += dweight", "self.weight.grad = dweight"))
mistake("the bias's gradient is replaced, not added to", "With = the second backward wipes out the first: "
        "bias.grad += dbias.", swap=("self.bias.grad += dbias", "self.bias.grad = dbias"))
mistake("the weight's gradient is never stored", "backward returns dx, but dweight has to be added to "
        "self.weight.grad. Without it the layer never learns.",
        swap=("        self.weight.grad += dweight\n", ""))
mistake("the input is kept in one slot", "A second forward overwrites self.x. Use self.save(x) and self.saved(), which "
        "keep one entry per call.",
        swap=("""        self.save(x)
        return linear_forward(x, self.weight.data, self.bias.data if self.bias else 0)
""", """        self.x = x
        return linear_forward(x, self.weight.data, self.bias.data if self.bias else 0)

    def saved(self):
        return self.x
"""))
mistake("a layer without bias is not handled", "With bias=False, self.bias is None. Test for it before using "
        "self.bias.data or self.bias.grad.", swap=("self.bias.data if self.bias else 0", "self.bias.data"))
mistake("the Parameter is used where its array is needed", "self.weight is a Parameter: a box with data and grad. "
        "The numbers are in self.weight.data.",
        swap=("return linear_forward(x, self.weight.data,", "return linear_forward(x, self.weight,"))
mistake("the bias is forgotten in forward", "forward must pass self.bias.data on to linear_forward.",
        swap=("self.bias.data if self.bias else 0)", "0)"))

# %% [markdown] hints="Linear"
# Both functions are written already. The layer's own work is to remember `x` between the two calls, and to add
# the two gradients to what the parameters already hold.
#
# ---
#
# forward: `self.save(x)`, then `linear_forward`. backward: `x = self.saved()`, `linear_backward`, two `+=`, return dx.
# Where `self.bias` is None, pass 0 for the bias.
#
# ---
#
# ```python
# # forward
# self.save(x)
# return linear_forward(x, self.weight.data, self.bias.data if self.bias else 0)
#
# # backward
# x = self.saved()
# dx, dweight, dbias = ...
# self.weight.grad += ...
# if self.bias:
#     ...
# return dx
# ```

# %% [markdown]
# ## The check that you keep
#
# One tool now, for every layer of the course. It draws a random `dout`, asks the layer for its gradients, and
# compares each with the numerical one.
#
# Why random? With a `dout` of ones, errors can cancel. Take a layer whose outputs always sum to one. The sum
# never changes, so its gradient is exactly zero there. A backward that returns nothing but zeros would pass.
#
# ### Exercise 6 ★★★: compare all gradients of a layer
#
# Return a dict: "input" and each parameter's name, with the relative error of its gradient. Use
# `relative_error(a, b)` of chapter 00. Call the layer as `layer(x)`, so that each pass starts fresh. The numerical side
# moves `parameter.data` and has to put it back.

# %% exercise="gradient_errors" points=4 stars=3 conditioning=1e9
#| export utility.gradcheck
def gradient_errors(layer, x, rng):
    """Compare a layer's gradients with numerical ones.

    Args:
        layer: a NyangModel with float64 parameters.
        x: a float64 input.
        rng: draws the gradient that comes from above, of the output's shape.

    Returns:
        dict from "input" and the parameters' names to relative errors.
    """
    ### BEGIN SOLUTION random dout; zero the gradients, forward, backward; then one comparison each
    dout = rng.normal(size=layer(x).shape)
    layer.zero_grad()
    layer(x)
    dx = layer.backward(dout)

    def loss(moved):
        return float((layer(moved) * dout).sum())

    errors = {"input": relative_error(dx, numerical_gradient(loss, x))}
    for name, parameter in layer.named_parameters():
        original, analytic = parameter.data, parameter.grad.copy()

        def loss_of(moved, parameter=parameter):
            parameter.data = moved
            return loss(x)

        numeric = numerical_gradient(loss_of, original)
        parameter.data = original
        errors[name] = relative_error(analytic, numeric)
    return errors
    ### END SOLUTION

# %%
check(gradient_errors)

# %% probe="gradient_errors"
class Scale(NyangModel):
    """A layer with switchable errors: out = x · factor + shift."""

    def __init__(self, rng, x_error=1.0, factor_error=1.0):
        self.factor, self.shift = Parameter(rng.normal(size=3)), Parameter(rng.normal(size=3))
        self.errors = x_error, factor_error

    def forward(self, x):
        self.save(x)
        return x * self.factor.data + self.shift.data

    def backward(self, dout):
        x = self.saved()
        self.factor.grad += (dout * x).sum(0) * self.errors[1]
        self.shift.grad += dout.sum(0)
        return dout * self.factor.data * self.errors[0]


class Centred(NyangModel):
    """Subtracts the mean over the features; its backward is right or returns nothing but zeros."""

    def __init__(self, right):
        self.right = right

    def forward(self, x):
        return x - x.mean(axis=1, keepdims=True)

    def backward(self, dout):
        return (dout - dout.mean(axis=1, keepdims=True)) * self.right


def small(error):
    return bool(error < 1e-6)


def probe(gradient_errors, rng):
    x = rng.normal(size=(4, 3))
    layer = Scale(rng)
    before = layer.state_dict()
    layer.factor.grad += 1.0
    errors = gradient_errors(layer, x, rng)
    yield "the names in the dict", np.array(sorted(errors))
    yield "errors of a right layer below 1e-6", [small(errors[n]) for n in ("factor", "input", "shift")]
    yield "factor.data left as it was", np.array_equal(layer.factor.data, before["factor"])
    yield "shift.data left as it was", np.array_equal(layer.shift.data, before["shift"])
    wrong = gradient_errors(Scale(rng, x_error=0.5), x, rng)
    yield "errors below 1e-6 where dx is wrong", [small(wrong[n]) for n in ("factor", "input", "shift")]
    wrong = gradient_errors(Scale(rng, factor_error=-1.0), x, rng)
    yield "errors below 1e-6 where a parameter is wrong", [small(wrong[n]) for n in ("factor", "input", "shift")]
    yield "error below 1e-6 for a backward of zeros", small(gradient_errors(Centred(0.0), x, rng)["input"])
    yield "error below 1e-6 for outputs that sum to zero", small(gradient_errors(Centred(1.0), x, rng)["input"])

# %% mistakes="gradient_errors"
mistake("dout is all ones", "With ones from above the gradients of many layers cancel to zero, and a wrong backward that "
        "returns zeros passes. Draw dout with rng.normal.",
        swap=("dout = rng.normal(size=layer(x).shape)", "dout = np.ones(layer(x).shape)"))
mistake("old gradients are not cleared", "backward adds to grad. Whatever was there before is still in it: call "
        "layer.zero_grad() first.", swap=("    layer.zero_grad()\n", ""))
mistake("the parameter is left moved", "After the numerical side, parameter.data must be the original array again: "
        "the last array that was tried is still in it.",
        swap=("        parameter.data = original\n", ""))
mistake("the parameter is not moved", "The numerical side has to put each moved array into parameter.data before it calls "
        "the layer. Otherwise nothing changes, and the slope is 0.",
        swap=("            parameter.data = moved\n", ""))
mistake("only the input is compared", "Each of layer.named_parameters() needs its comparison as well.",
        swap=("for name, parameter in layer.named_parameters():", "for name, parameter in ():"))
mistake("a gradient is compared with itself", "The relative error must be taken between backward's gradient and "
        "the numerical one.", swap=("relative_error(analytic, numeric)", "relative_error(numeric, numeric)"))
mistake("the input is not compared", "\"input\" holds the error of dx, against the numerical gradient by x.",
        swap=("relative_error(dx, numerical_gradient(loss, x))", "0.0"))

# %% [markdown] hints="gradient_errors"
# Make one number out of the layer's output, so that `numerical_gradient` can be used: the sum of the output times a
# random `dout`. Its gradient by the output is that very `dout`.
#
# ---
#
# For the input: f(moved) = Σ layer(moved) · dout. For a parameter: put the moved array into `parameter.data`, compute
# the same number with the same x, and put the original back.
#
# ---
#
# ```python
# dout = rng.normal(size=layer(x).shape)
# layer.zero_grad()
# layer(x)
# dx = layer.backward(dout)
#
# def loss(moved):
#     return float((layer(moved) * dout).sum())
#
# errors = {"input": relative_error(dx, numerical_gradient(loss, x))}
# for name, parameter in layer.named_parameters():
#     original, analytic = parameter.data, parameter.grad.copy()
#     def loss_of(moved, parameter=parameter):
#         ...
#     ...
# return errors
# ```

# %% [markdown]
# The last piece is given: a `gradcheck` that says in words what it found.

# %%
#| export utility.gradcheck
def gradcheck(layer, x, rng=None, limit=1e-6):
    """Raise an AssertionError where a gradient of the layer is wrong; else return the errors.

    Args:
        layer: a NyangModel; its parameters become float64.
        x: the input; converted to float64.
        rng: draws the gradient from above; a fixed seed where it is None.
        limit: the largest relative error that passes.
    """
    layer.to(np.float64)
    rng = rng or np.random.default_rng([3, 1, 4])  # unlike any seed that may have drawn x
    errors = gradient_errors(layer, np.asarray(x, np.float64), rng)
    wrong = [f"{name} ({error:.1e})" for name, error in errors.items() if not error <= limit]
    if wrong:
        raise AssertionError(f"{type(layer).__name__}: wrong gradient of {', '.join(wrong)}; "
                             f"the relative error must be at most {limit:g}")
    return errors

# %% tags=["nbval-check-output"]
layer = Linear(5, 3, rng=np.random.default_rng(0))
errors = gradcheck(layer, np.random.default_rng(1).normal(size=(4, 5)))
print({name: bool(error < 1e-8) for name, error in errors.items()})

# %% [markdown]
# ## See: a wrong gradient is not always a visible one
#
# Does a wrong gradient matter? Let `Linear` learn a known map from noise-free samples, three times:
# once with the right gradient, once with the bias forgotten, once with a tenth of the first output's gradient missing.

# %%
def learn(spoil, steps=60):
    rng = np.random.default_rng(5)
    layer, losses = Linear(3, 2, rng=rng).to(np.float64), []
    x = rng.normal(size=(50, 3))
    target = x @ rng.normal(size=(3, 2)) + [1.0, -2.0]
    for _ in range(steps):
        layer.zero_grad()
        error = layer(x) - target
        losses.append(float((error**2).mean()))
        layer.backward(2 * error / error.size)
        spoil(layer)
        for parameter in layer.parameters():
            parameter.data = parameter.data - 0.3 * parameter.grad
    return losses


def forget_bias(layer):
    layer.bias.grad[...] = 0


def shrink_first_output(layer):
    layer.weight.grad[0] *= 0.9

# %%
fig, ax = plt.subplots(figsize=(6, 3.2))
ax.semilogy(learn(lambda layer: None), label="right")
ax.semilogy(learn(forget_bias), label="bias never updated")
ax.semilogy(learn(shrink_first_output), "--", label="first output's gradient × 0.9")
ax.set(xlabel="step", ylabel="mean squared error", title="three gradients, two of them wrong")
ax.legend()
plt.show()

# %% [markdown]
# The forgotten bias gets stuck, and everybody would notice. The dashed curve is the dangerous one: it goes down
# steadily, only slower, and nothing looks broken. A loss curve does not prove a gradient. The numerical check does.
#
# The control below changes the step of the numerical gradient. Watch the error of a correct layer: too wide a step
# and too narrow a step both make it look wrong.

# %%
from ipywidgets import FloatSlider, interact


def step_error(exponent=-5.0):
    rng = np.random.default_rng(0)
    x, step = rng.normal(size=6), 10.0**exponent
    error = np.abs(numerical_gradient(lambda v: float(np.exp(v).sum()), x, step) - np.exp(x))
    fig, ax = plt.subplots(figsize=(5, 2.4))
    ax.bar(range(6), error)
    ax.set(yscale="log", ylim=(1e-13, 10), xlabel="element", title=f"error at h = {step:.1e}")
    plt.show()


interact(step_error, exponent=FloatSlider(value=-5, min=-13, max=-0.5, step=0.5));

# %% [markdown]
# ## Use: the network grows
#
# One `Linear` from 784 pixels to 10 scores already fits the digits' shape. It holds the templates from the
# beginning as its weights, and gives the same number. That is the number to beat, and chapter 06 beats it.

# %% tags=["nbval-check-output"]
scores = Linear(784, 10)
scores.load_state_dict({"weight": templates, "bias": np.zeros(10)})
print(f"templates as a layer: {np.mean(scores(x).argmax(axis=1) == labels):.0%} right")
print(f"parameters to learn: {sum(p.data.size for p in scores.parameters()):,}")

# %% [markdown]
# ## Exercise 7 ★: break it and say why
#
# Suppose `Linear` kept its input in one slot, `self.x`. It is called on `x1`, then on `x2`, and goes back through both.
# What does its weight's gradient hold at the end? Write the value that the *broken* layer computes.

# %% exercise="broken_gradient" points=1 stars=1
def broken_gradient(x1, x2, dout1, dout2):
    """Return the weight gradient (O, I) that a layer with one slot ends up with.

    Args:
        x1, x2: (N, I), the inputs of the first and the second call.
        dout1, dout2: (N, O), the gradients that come back for them.
    """
    ### BEGIN SOLUTION the sum of two products; which x is in the slot when each backward runs?
    return dout2.T @ x2 + dout1.T @ x2
    ### END SOLUTION

# %%
check(broken_gradient)

# %% probe="broken_gradient"
def probe(broken_gradient, rng):
    x1, x2 = rng.normal(size=(2, 4, 3))
    dout1, dout2 = rng.normal(size=(2, 4, 2))
    yield "weight.grad", broken_gradient(x1, x2, dout1, dout2)

# %% mistakes="broken_gradient"
@mistake("this is what the right layer computes", "With a stack, each dout meets its own x. With one slot, both "
         "meet the same x: which one is left in the slot?")
def broken_gradient(x1, x2, dout1, dout2):
    return dout1.T @ x1 + dout2.T @ x2

@mistake("the slot holds the first input", "The second call writes into the slot last, so x2 is in it when both "
         "backward passes run.")
def broken_gradient(x1, x2, dout1, dout2):
    return (dout1 + dout2).T @ x1

@mistake("only one of the two calls is counted", "backward runs twice and adds both times. The second product also "
         "uses the slot.")
def broken_gradient(x1, x2, dout1, dout2):
    return dout2.T @ x2

# %% [markdown] hints="broken_gradient"
# Play it through on paper: after both forward calls, what is in the slot?
#
# ---
#
# Each backward adds doutᵀ · (what is in the slot).
#
# ---
#
# ```python
# return dout2.T @ ... + dout1.T @ ...
# ```

# %% [markdown]
# ## Recap
#
# - A gradient has the shape of what it belongs to, and sums over the axes that its variable was used along.
# - A layer saves on a stack and adds to gradients. So it can be used many times in one network.
# - A loss curve does not prove a gradient. A central difference with a random `dout` does.
#
# `finish` exports your code: `Linear` and its functions into `nyang_edu/model/linear.py`, the contract into
# `model/core.py`, the check into `utility/gradcheck.py`.
#
# **References.** Rumelhart, Hinton, Williams, *Learning representations by back-propagating errors*, Nature 323 (1986).
# Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 6.5; on gradient checks, section 11.5.

# %%
finish("03_linear")
