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
# # 06 · A network that reads digits
#
# **You have** `Linear` and the layer contract (03), activations and initialisers (04), and
# `CrossEntropyLoss` (05).
#
# **You will build** `NyangFlow`, which chains layers, the optimizer `SGD` with momentum, and the
# training loop. With them you train your first network.
#
# **It unlocks** better optimizers (07) and, from 08 on, every architecture of the course.
#
# Time: about 100 minutes. Eight exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.activation import ReLU, Softmax
from nyang_edu.model.core import no_memory
from nyang_edu.model.linear import Linear
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.init import init_for
from nyang_edu.utility.plot import BLUE, GREY, ORANGE, draw_chain, draw_images, use_style

use_style()

# %% [markdown]
# ## Why: all the parts, and nothing learns
#
# The templates of chapter 03 were mean pictures. Nobody trained them. Until now they were also tested on the
# very digits they were made from. From here on, 1,000 digits are *held out*: 100 of each class, drawn
# with a seed, and never used for learning. Only they tell what a model does with digits it has not seen.

# %% tags=["nbval-check-output"]
import numpy as np

images, labels = load_digits_5k()
order = np.random.default_rng(0).permutation(len(labels))
test = np.concatenate([order[labels[order] == k][:100] for k in range(10)])
train = np.setdiff1d(order, test)
pixels = images.astype(np.float32) / 255  # (5000, 28, 28)
x_train, y_train, x_test, y_test = pixels[train], labels[train], pixels[test], labels[test]

templates = np.stack([x_train[y_train == k].mean(0) for k in range(10)]) - x_train.mean(0)
scores = x_test.reshape(-1, 784) @ templates.reshape(10, 784).T  # (1000, 10)
guess, mean = scores.argmax(axis=1), scores.mean(axis=0)
print(f"{len(train):,} digits to learn from, {len(test):,} held out")
print(f"templates on the held-out digits: {np.mean(guess == y_test):.0%} right")
print(f"{np.isin(guess[guess != y_test], [0, 8]).mean():.0%} of the failures are read as 0 or 8")
others = np.delete(mean, [0, 8]).max()
print(f"mean score of 0: {mean[0]:.0f}, of 8: {mean[8]:.0f}, of the others: at most {others:.0f}")

# %%
wrong = np.random.default_rng(0).choice(np.flatnonzero(guess != y_test), 10, replace=False)
fig, axes = plt.subplots(1, 10, figsize=(10, 1.5))
draw_images(axes, x_test[wrong], [f"{guess[i]}, is {y_test[i]}" for i in wrong])
plt.show()

# %% [markdown]
# Ten failures, drawn at random, each with the templates' answer and the truth. Two templates score highest on
# average, and win too often. To do better, weights have to *move*, and more than one layer has to share the
# work. So three things are missing: a way to chain layers, a rule that moves weights, a loop that applies it.
#
# ## Idea: a chain by hand
#
# Take three tiny layers: double, add one, square. Send 3 through them. Then ask how much the result changes
# per unit of each number on the way.

# %%
fig, ax = plt.subplots(figsize=(8, 1.9))
draw_chain(ax, ["× 2", "+ 1", "square"], forward=["3", "6", "7", "49"],
           backward=["28", "14", "14", "1"])
plt.show()

# %% [markdown]
# Read the orange numbers from the right. The result changes by 1 per unit of itself. The square has slope
# $2 · 7 = 14$ where it stands, so it hands $1 · 14$ to its left. Adding one has slope 1, doubling has slope 2. Each layer
# multiplies what it gets by its own slope and passes it on.
#
# Two things follow. A layer cannot start before the layer on its *right* is done, so backward runs in
# reverse. And the square needs the 7 that it saw on the way forward: that is what `save` and `saved` are for.
#
# ## Maths
#
# With layers $f_0 … f_{k}$ and $x_0 = x$, forward and backward are two loops:
#
# $$x_{i+1} = f_i(x_i), \qquad
# \text{dout}_{i} = \frac{\partial L}{\partial x_{i}} = \text{dout}_{i+1}\,\frac{\partial f_i}{\partial x_i}
# \quad\text{for } i = k … 0 .$$
#
# $\text{dout}_{k+1}$ is handed in from outside. The product is what `layer.backward(dout)` computes. The chain itself
# does no mathematics. It only keeps the order.
#
# Why does a layer that stands *twice* in a chain work? Its memory is a stack (03). Forward pushes the first call,
# then the second. Reverse order needs the second first, and that is what lies on top. But `layer(x)` starts a fresh
# pass and forgets. So inside a chain, call `layer.forward(x)`.
#
# ### Exercise 1 ★★: the chain
#
# Three methods. `named_children` yields each layer under its place as text, "0", "1", …: then `state_dict` has
# PyTorch's names, such as "2.bias".

# %%
#| default_exp model.flow
#| export
"""Layers in a row: forward from first to last, backward from last to first."""

import numpy as np  # noqa: F401  for your own code

from nyang_edu.model.core import NyangModel

# %% exercise="NyangFlow" points=4 stars=2
#| export
class NyangFlow(NyangModel):
    """Run layers one after another: out = layer_k(… layer_1(layer_0(x))).

    Shapes: x as the first layer takes it → out as the last layer gives it.
    flow[i] is a layer, flow[i:j] a flow of several, len(flow) their number.

    Raises:
        TypeError: where a part is not a NyangModel.
    """

    def __init__(self, *layers):
        for place, layer in enumerate(layers):
            if not isinstance(layer, NyangModel):
                raise TypeError(f"NyangFlow takes layers, received {type(layer).__name__} at place "
                                f"{place}: write NyangFlow(a, b) for two layers a and b")
        self.layers = list(layers)

    def __len__(self):
        return len(self.layers)

    def __getitem__(self, place):
        chosen = self.layers[place]
        return NyangFlow(*chosen) if isinstance(place, slice) else chosen

    def named_children(self):
        """Yield (name, layer) with the names "0", "1", … of PyTorch's Sequential."""
        ### BEGIN SOLUTION yield each layer's place, as a string, and the layer
        for place, layer in enumerate(self.layers):
            yield str(place), layer
        ### END SOLUTION

    def forward(self, x):
        """Return the last layer's output."""
        ### BEGIN SOLUTION hand x from layer to layer
        for layer in self.layers:
            x = layer.forward(x)
        return x
        ### END SOLUTION

    def backward(self, dout):
        """Return the gradient by the flow's input; each layer adds to its own gradients."""
        ### BEGIN SOLUTION hand dout from layer to layer, last layer first
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout
        ### END SOLUTION

# %%
check(NyangFlow)

# %% probe="NyangFlow"
import numpy as np

from nyang_edu.model.core import Parameter


class Mix(NyangModel):
    """out = x · weight, with a square weight, so that a wrong order changes no shape."""

    def __init__(self, weight):
        self.weight = Parameter(weight)

    def forward(self, x):
        self.save(x)
        return x @ self.weight.data

    def backward(self, dout):
        x = self.saved()
        self.weight.grad += x.T @ dout
        return dout @ self.weight.data.T


class Square(NyangModel):
    """out = x²."""

    def forward(self, x):
        self.save(x)
        return x**2

    def backward(self, dout):
        return 2 * self.saved() * dout


def probe(NyangFlow, rng):
    N, D = rng.integers(3, 6, 2)
    x1, x2, d1, d2 = rng.normal(size=(4, N, D))
    first, last = Mix(rng.normal(size=(D, D))), Mix(rng.normal(size=(D, D)))
    flow = NyangFlow(first, Square(), last)
    yield "out", flow(x1)
    yield "dx", flow.backward(d1)
    yield "weight.grad of the first layer", first.weight.grad
    yield "weight.grad of the last layer", last.weight.grad
    yield "each name in state_dict", np.array(list(flow.state_dict()))
    kinds = sorted({type(name).__name__ for name, _ in flow.named_children()})
    yield "the type of the children's names", ", ".join(kinds)
    yield "out of a second pass", flow(x2)
    flow.forward(x1)
    yield "dx of the later of two calls", flow.backward(d2)
    yield "dx of the earlier of two calls", flow.backward(d1)
    nested = NyangFlow(NyangFlow(last, Square()), first)
    yield "out of a flow in a flow", nested(x1)
    yield "dx of a flow in a flow", nested.backward(d1)
    yield "each name of a flow in a flow", np.array(list(nested.state_dict()))
    shared = Mix(rng.normal(size=(D, D)))
    twice = NyangFlow(shared, Square(), shared)
    yield "out with one layer used twice", twice(x1)
    yield "dx with one layer used twice", twice.backward(d1)
    yield "weight.grad with one layer used twice", shared.weight.grad

# %% mistakes="NyangFlow"
mistake("backward runs in forward order", "dout comes in at the end of the chain. The last layer has to take it first: "
        "reversed(self.layers) walks from the end.",
        swap=("for layer in reversed(self.layers):", "for layer in self.layers:"))
mistake("every layer gets the same dout", "The next layer to the left needs the gradient that this layer's backward "
        "returned, not the one that entered the chain.", swap=("""            dout = layer.backward(dout)
        return dout""", """            dx = layer.backward(dout)
        return dx"""))
mistake("what each backward returns is thrown away", "layer.backward(dout) returns the gradient for the layer before it. "
        "Keep it, and hand it on.",
        swap=("            dout = layer.backward(dout)", "            layer.backward(dout)"))
mistake("every layer gets the same x", "The output of one layer is the input of the next. Keep it in x.",
        swap=("""            x = layer.forward(x)
        return x""", """            out = layer.forward(x)
        return out"""))
mistake("the layers are called as layer(x)", "layer(x) starts a fresh pass and forgets what the layer saved before. A layer "
        "that stands twice in the chain then has only one of its two inputs left. Inside a model, call forward.",
        swap=("x = layer.forward(x)", "x = layer(x)"))
mistake("the list of layers is turned around for good", "list.reverse() changes self.layers itself, so the next forward "
        "runs backwards. reversed(...) only reads the list from its end.",
        swap=("""        for layer in reversed(self.layers):
""", """        self.layers.reverse()
        for layer in self.layers:
"""))
mistake("backward stops before the first layer", "The first layer, at place 0, has gradients too. Check where your range "
        "ends, or use reversed(self.layers).",
        swap=("reversed(self.layers):", "reversed(self.layers[1:]):"))
mistake("return stands inside the loop of forward", "The function ends after its first layer. Move return out by one level.",
        swap=("""            x = layer.forward(x)
        return x""", """            x = layer.forward(x)
            return x"""))
mistake("return stands inside the loop of backward", "The function ends after the last layer of the chain. Move return out by "
        "one level.", swap=("""            dout = layer.backward(dout)
        return dout""", """            dout = layer.backward(dout)
            return dout"""))
mistake("names begin with the attribute's name", "PyTorch's Sequential names are only the place: \"0.weight\", and "
        "not \"layers.0.weight\".", swap=("yield str(place), layer", "yield f\"layers.{place}\", layer"))
mistake("names count from one", "Places count from 0, as Python and PyTorch do.",
        swap=("yield str(place), layer", "yield str(place + 1), layer"))
mistake("the children's names are numbers", "A name is text, in every layer of the course: whoever joins names with dots, or "
        "sorts them, counts on that. Turn the place into text with str.",
        swap=("yield str(place), layer", "yield place, layer"))
mistake("layers without parameters get no number", "An activation has no parameters, but it takes a place in the chain: "
        "count all layers.",
        swap=("enumerate(self.layers):\n            yield",
              "enumerate([one for one in self.layers if one.parameters()]):\n            yield"))

# %% [markdown] hints="NyangFlow"
# Both passes are a loop with one variable that is overwritten: what comes out of one layer goes into the next.
#
# ---
#
# forward: x ← layer.forward(x), first layer to last. backward: dout ← layer.backward(dout), last layer to first.
# `enumerate` gives the places for the names, `reversed` walks a list from its end.
#
# ---
#
# ```python
# # named_children
# for place, layer in enumerate(self.layers):
#     yield str(...), ...
#
# # forward
# for layer in self.layers:
#     x = ...
# return x
#
# # backward
# for layer in reversed(...):
#     dout = ...
# return dout
# ```

# %% [markdown]
# The chain is a layer itself, so `gradcheck` of chapter 03 takes it as it is. Here is the hard case: one `Linear` that
# stands in the chain twice.

# %% tags=["nbval-check-output"]
shared = Linear(4, 4, rng=np.random.default_rng(0))
flow = NyangFlow(shared, ReLU(), shared, ReLU(), Linear(4, 2, rng=np.random.default_rng(1)))
errors = gradcheck(flow, np.random.default_rng(2).normal(size=(5, 4)))
print({name: bool(error < 1e-7) for name, error in errors.items()})

# %% [markdown]
# The shared weight appears once, under its first place, and its gradient holds both uses.
#
# ### Exercise 2 ★★: from pictures to rows
#
# A `Linear` wants rows of 784 numbers, and the pictures are (N, 28, 28). `Flatten` joins all axes but the first. Going
# back it restores the shape that came in. `reshape` often gives a *view* (01): the same numbers in the same memory. The
# contract asks for fresh arrays, so copy.

# %% exercise="Flatten" points=2 stars=2
#| export
class Flatten(NyangModel):
    """Join all axes but the first: each sample becomes one row, in memory order.

    Shapes: x (N, d1, d2, …) → out (N, d1·d2·…), a fresh array; back again for the gradient.
    """

    def forward(self, x):
        """Return out (N, everything else)."""
        ### BEGIN SOLUTION remember the shape; reshape to (N, the rest) and copy
        self.save(x.shape)
        return x.reshape(len(x), -1).copy()  # (N, d1·d2·…)
        ### END SOLUTION

    def backward(self, dout):
        """Return dx in the shape that forward received."""
        ### BEGIN SOLUTION take the shape back; reshape to it and copy
        shape = self.saved()
        return dout.reshape(shape).copy()  # (N, d1, d2, …)
        ### END SOLUTION

# %%
check(Flatten)

# %% probe="Flatten"
def probe(Flatten, rng):
    N, C, H, W = rng.permutation([2, 3, 4, 5])
    image, row = rng.normal(size=(N, C, H, W)), rng.normal(size=(N + 1, C, H))
    d_image, d_row = rng.normal(size=(N, C * H * W)), rng.normal(size=(N + 1, C * H))
    layer = Flatten()
    out = layer(image)
    yield "out", out
    dx = layer.backward(d_image)
    yield "dx", dx
    yield "the memory of out", "that of x" if np.shares_memory(out, image) else "its own"
    yield "the memory of dx", "that of dout" if np.shares_memory(dx, d_image) else "its own"
    yield "out of a 3-D input", layer(row)
    layer.forward(image)
    yield "dx of the later of two calls", layer.backward(d_image)
    yield "dx of the earlier of two calls", layer.backward(d_row)
    yield "out in float32", layer(image.astype(np.float32))

# %% mistakes="Flatten"
mistake("the batch axis is flattened too", "The samples must stay apart: the first axis of the result is N.",
        swap=("x.reshape(len(x), -1)", "x.reshape(-1)"))
mistake("dx keeps the flat shape", "A gradient has the shape of what it belongs to: dx needs the shape that x had. "
        "Save x.shape in forward.", swap=("dout.reshape(shape).copy()", "dout.copy()"))
@mistake("the shape is kept in one slot", "A second forward overwrites self.shape. Use self.save and self.saved, which keep "
         "one entry per call.")
class Flatten(reference):
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1).copy()

    def backward(self, dout):
        return dout.reshape(self.shape).copy()

mistake("the samples lie in the columns", "One sample is one row. N comes first, the rest second.",
        swap=("x.reshape(len(x), -1)", "x.reshape(len(x), -1).T"))
mistake("the numbers of different samples are mixed", "reshape fills row by row: with N first, each row holds "
        "one sample. With N last and a transpose, it does not.",
        swap=("x.reshape(len(x), -1)", "x.reshape(-1, len(x)).T"))
mistake("out is a view of the input", "reshape gave the same memory under another shape: whoever writes into out changes x. "
        "Append .copy().", swap=("x.reshape(len(x), -1).copy()", "x.reshape(len(x), -1)"))
mistake("dx is a view of dout", "reshape gave the same memory under another shape: whoever writes into dx changes dout. "
        "Append .copy().", swap=("dout.reshape(shape).copy()", "dout.reshape(shape)"))
mistake("the size 784 is built in", "Flatten must serve inputs of any size. Let reshape work the size out, with -1.",
        swap=("x.reshape(len(x), -1)", "x.reshape(-1, 784)"))

# %% [markdown] hints="Flatten"
# Only the shape changes. What has to be remembered, so that backward can undo it?
#
# ---
#
# `x.reshape(N, -1)` keeps the first axis and lets NumPy work out the second. backward: `dout.reshape(x's shape)`.
#
# ---
#
# ```python
# # forward
# self.save(x.shape)
# return x.reshape(len(x), ...).copy()
#
# # backward
# shape = ...
# return dout.reshape(...).copy()
# ```

# %% [markdown]
# ### Exercise 3 ★: count before you build
#
# Here is the network: two `Linear` layers with a `ReLU` between them. Without it, the two would be one linear
# map (04). The second `Linear` gives ten scores, the *logits*, which the loss turns into probabilities.
#
# | array | shape | its gradient's shape |
# |---|---|---|
# | pictures | (N, 28, 28) | the same |
# | after `Flatten` | (N, 784) | the same |
# | after the first `Linear`, and after `ReLU` | (N, 128) | the same |
# | logits | (N, 10) | the same |
#
# How many numbers does this network learn? Weights *and* biases, of all layers. Look at the picture that the
# next cell draws, work it out on paper, and write the sum down below it.

# %%
def digit_network(rng, hidden=128):
    return NyangFlow(Flatten(), Linear(784, hidden, rng=rng, init=init_for(ReLU)), ReLU(),
                     Linear(hidden, 10, rng=rng, init=init_for(None)))


fig, ax = plt.subplots(figsize=(11, 1.8))
draw_chain(ax, ["Flatten", "Linear\n784 → 128", "ReLU", "Linear\n128 → 10", "loss"], forward=[
    "(N, 28, 28)", "(N, 784)", "(N, 128)", "(N, 128)", "(N, 10)", "L"], backward=[
    "dx", "dout", "dout", "dout", "dlogits", "1"])
plt.show()

# %% exercise="digit_parameters" points=1 stars=1 reveal=false
def digit_parameters():
    """Return how many numbers the network 784 → 128 → 10 learns."""
    ### BEGIN SOLUTION weights and biases of both Linear layers
    return 784 * 128 + 128 + 128 * 10 + 10
    ### END SOLUTION

# %%
check(digit_parameters)

# %% probe="digit_parameters"
def probe(digit_parameters, rng):
    yield "the number of parameters", digit_parameters()

# %% mistakes="digit_parameters"
@mistake("the biases are not counted", "Each output of a Linear has a bias of its own, and that is learned too.")
def digit_parameters():
    return 784 * 128 + 128 * 10

@mistake("the first layer's biases are not counted", "The first Linear has 128 outputs, and each has a bias.")
def digit_parameters():
    return 784 * 128 + 128 * 10 + 10

@mistake("the second layer's biases are not counted", "The last Linear has 10 outputs, and each has a bias, as in the first one.")
def digit_parameters():
    return 784 * 128 + 128 + 128 * 10

@mistake("the biases are counted by inputs", "A bias belongs to an output, not to an input: it is (out_features,).")
def digit_parameters():
    return 784 * 128 + 784 + 128 * 10 + 128

@mistake("only the first layer is counted", "There is a second Linear behind the ReLU.")
def digit_parameters():
    return 784 * 128 + 128

@mistake("ReLU is counted as a layer with parameters", "ReLU learns nothing: it has no weight and no bias.")
def digit_parameters():
    return 784 * 128 + 128 + 128 + 128 * 10 + 10

@mistake("the second layer is taken to see the pixels", "The second Linear gets what the first one gives out: 128 numbers.")
def digit_parameters():
    return 784 * 128 + 128 + 784 * 10 + 10

# %% [markdown] hints="digit_parameters"
# `Flatten` and `ReLU` learn nothing. Count the two `Linear` layers.
#
# ---
#
# A `Linear` with I inputs and O outputs has a weight of shape (O, I) and a bias of shape (O,).
#
# ---
#
# ```python
# return 784 * 128 + ... + 128 * ... + ...
# ```

# %% [markdown]
# ## A rule that moves weights
#
# The gradient points to where the loss grows. So step the other way, a little:
# data ← data − lr · grad. The *learning rate* `lr` says how far. This is *gradient descent*.
#
# In a long narrow valley, that is slow. Steps jump from wall to wall, and hardly move along the floor. *Momentum* gives each
# parameter a velocity $v$ that remembers earlier gradients:
#
# $$v \leftarrow m\,v + \text{grad}, \qquad \text{data} \leftarrow \text{data} - \text{lr}\cdot v .$$
#
# What changes sign from step to step cancels in $v$. What stays the same adds up, to at most
# $\text{grad}/(1-m)$. The velocity starts at 0, so the first step is a plain one. This is PyTorch's form. Elsewhere
# `lr` stands inside $v$. The two differ when `lr` changes during training.
#
# ### Exercise 4 ★★: stochastic gradient descent
#
# The base class comes first, and is given. It keeps each parameter once, refuses an empty list, and can save its
# state, so that training can be resumed. Parameters may come in groups, each with a learning rate of its own.
#
# Yours is `SGD`. Make `self.velocities`, one for each parameter, in the order of `self.parameters`. In `step`, the loop is
# given: `self.moves` hands out each parameter with the gradient to follow, its group's learning rate, and its velocity. Write
# into `parameter.data`; do not bind it to a new array. Whoever else holds that array, a view of it for instance, has to
# see it move.
#
# `SGD` has two more settings, both off unless asked for. `weight_decay` is already in the `grad` that you are
# handed. With `nesterov`, move along $\text{grad} + m\,v$ in place of $v$. The next chapter shows what either is good for.

# %%
#| export training.optimizer
"""Optimizers: rules that move parameters against their gradients."""

import copy

import numpy as np

from nyang_edu.model.core import Parameter


class Optimizer:
    """Hold parameters and their learning rates; a subclass defines how one step moves them.

    parameters: Parameters, or groups with settings of their own, as
    [{"parameters": backbone, "lr": 0.01}, {"parameters": head}]; what a group leaves out, it
    takes from the optimizer. weight_decay adds weight_decay · data to a gradient.

    Raises:
        ValueError: where there are no parameters, lr is not above 0, weight_decay is below 0,
            or a group has an unknown setting.
        TypeError: where something else than a Parameter is given.
    """

    def __init__(self, parameters, lr, weight_decay=0.0):
        groups = list(parameters)
        if not any(isinstance(one, dict) for one in groups):
            groups = [{"parameters": groups}]
        self.parameters, self.groups, self.group_of = [], [], []
        for group in groups:
            settings = {"lr": lr, "weight_decay": weight_decay} | _as_group(group)
            for one in settings.pop("parameters"):
                if not any(one is held for held in self.parameters):  # no doubles
                    self.parameters.append(one)
                    self.group_of.append(len(self.groups))
            self.groups.append(_checked(settings))
        if not self.parameters:
            raise ValueError("an optimizer needs parameters, received none: "
                             "pass model.parameters()")

    @property
    def lr(self):
        """The learning rate of the first group; setting it sets that of every group."""
        return self.groups[0]["lr"]

    @lr.setter
    def lr(self, value):
        for group in self.groups:
            group["lr"] = value

    def zero_grad(self):
        """Set every gradient to zero."""
        for parameter in self.parameters:
            parameter.grad[...] = 0

    def gradient(self, parameter, group):
        """Return the gradient to follow: grad, plus weight_decay · data where that is set."""
        if not group["weight_decay"]:
            return parameter.grad
        return parameter.grad + group["weight_decay"] * parameter.data

    def moves(self, *memories):
        """Yield each parameter with its gradient, its lr, and its entry of each memory."""
        for parameter, place, *held in zip(self.parameters, self.group_of, *memories, strict=True):
            group = self.groups[place]
            yield parameter, self.gradient(parameter, group), group["lr"], *held

    def step(self):
        """Move the parameters once; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define step")

    def state_dict(self):
        """Copy all that a step needs besides the parameters: settings and memories."""
        return {name: copy.deepcopy(value) for name, value in vars(self).items()
                if name != "parameters"}

    def load_state_dict(self, state):
        """Take over what state_dict returned; nothing changes unless all of it fits.

        Raises:
            ValueError: with every missing, unexpected or misshapen entry.
        """
        own = self.state_dict()
        wrong = [f"missing {name}" for name in own if name not in state]
        wrong += [f"unexpected {name}" for name in state if name not in own]
        wrong += [f"{name} holds {_forms(state[name])}, expected {_forms(own[name])}"
                  for name in own if name in state and _forms(state[name]) != _forms(own[name])]
        if wrong:
            raise ValueError(f"{type(self).__name__}: the state does not fit: {'; '.join(wrong)}")
        vars(self).update(copy.deepcopy(dict(state)))


def _as_group(group):
    """Return a group with its parameters as a list; raise where it is none."""
    if not isinstance(group, dict) or "parameters" not in group:
        raise TypeError("give Parameters, or groups that are dicts with the key 'parameters', "
                        f"not both; received {type(group).__name__}")
    if unknown := set(group) - {"parameters", "lr", "weight_decay"}:
        raise ValueError(f"a group sets parameters, lr and weight_decay, received {unknown}")
    held = list(group["parameters"])
    for one in held:
        if not isinstance(one, Parameter):
            raise TypeError(f"an optimizer moves Parameters, received {type(one).__name__}: "
                            "pass model.parameters()")
    return group | {"parameters": held}


def _checked(settings):
    """Return the settings as floats; raise where one is out of its range."""
    settings = {name: float(value) for name, value in settings.items()}
    if not 0 < settings["lr"] < float("inf"):
        raise ValueError(f"the learning rate must be above 0, received {settings['lr']}: try 0.1")
    if not 0 <= settings["weight_decay"] < float("inf"):
        raise ValueError("weight_decay must be at least 0, received "
                         f"{settings['weight_decay']}: try 1e-4")
    return settings


def _forms(value):
    """Describe the arrays in an entry of a state, so that two entries can be compared."""
    if isinstance(value, (list, tuple)):
        return [_forms(one) for one in value]
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "a setting"

# %% exercise="SGD" points=4 stars=2
#| export training.optimizer
class SGD(Optimizer):
    """Step against the gradient: v ← momentum · v + grad, data ← data − lr · v.

    With nesterov, data ← data − lr · (grad + momentum · v). The form is PyTorch's: lr is not
    inside v. data stays the same array, with its dtype.

    Raises:
        ValueError: where momentum is not in 0 ≤ momentum < 1, or nesterov comes without
            momentum; further as Optimizer.

    Source: Robbins and Monro (1951); momentum from Polyak (1964), and
    Sutskever, Martens, Dahl, Hinton (2013), section 2.
    """

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = float(momentum), bool(nesterov)
        if not 0 <= self.momentum < 1:
            raise ValueError("momentum must be at least 0 and below 1, "
                             f"received {momentum}: try 0.9")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the velocity and needs a momentum "
                             f"above 0, received {momentum}: try 0.9")
        ### BEGIN SOLUTION a list of velocities: zeros, one array per parameter, of its shape and dtype
        self.velocities = [np.zeros_like(one.data) for one in self.parameters]
        ### END SOLUTION

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        for parameter, grad, lr, velocity in self.moves(self.velocities):
            ### BEGIN SOLUTION update the velocity in place, then move the data in place
            velocity *= self.momentum
            velocity += grad
            direction = grad + self.momentum * velocity if self.nesterov else velocity
            parameter.data -= lr * direction
            ### END SOLUTION

# %%
check(SGD)

# %% probe="SGD"
def arrays_in(value):
    """All arrays in a value, in order, however deep in lists and dicts."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [a for part in value for a in arrays_in(part)] if isinstance(value, (list, tuple)) else []


def memory_of(optimizer):
    """Where an optimizer's velocities lie, in words."""
    held, owners = arrays_in(vars(optimizer)), optimizer.parameters
    if not held:
        return "no arrays"
    for name in ("grad", "data"):
        if any(np.shares_memory(a, getattr(one, name)) for a in held for one in owners):
            return f"that of {name}"
    return "one array for all" if len({id(a) for a in held}) < len(owners) else "each its own"


def shapes_in(optimizer):
    return ", ".join(str(a.shape) for a in arrays_in(vars(optimizer))) or "no arrays"


def probe(SGD, rng):
    lr, momentum = rng.uniform(0.05, 0.3), rng.uniform(0.5, 0.9)

    def pair():
        return [Parameter(rng.normal(size=(3, 2))) for _ in range(2)]

    def push(parameters):
        for one in parameters:
            one.grad[...] = rng.normal(size=one.data.shape)

    plain = pair()
    held = plain[0].data
    push(plain)
    before = plain[0].grad.copy()
    optimizer = SGD(plain, lr)
    optimizer.step()
    yield "data after a step without momentum", plain[0].data
    yield "the array that was there before the step", held
    yield "the change of grad in a step", plain[0].grad - before
    push(plain)
    optimizer.step()
    yield "data after two steps without momentum", plain[0].data
    heavy = pair()
    optimizer = SGD(heavy, lr, momentum)
    yield "the memory of the velocities", memory_of(optimizer)
    push(heavy)
    optimizer.step()
    yield "data after the first step with momentum", heavy[0].data
    push(heavy)
    optimizer.step()
    yield "first parameter after two steps with momentum", heavy[0].data
    yield "second parameter after two steps with momentum", heavy[1].data
    odd = [Parameter(np.ones(shape, np.float32)) for shape in [(2, 3), (4,)]]
    kinds = sorted({str(a.dtype) for a in arrays_in(vars(SGD(odd, lr, momentum)))})
    yield "the dtype of float32 parameters' velocities", ", ".join(kinds) or "no arrays"
    yield "the shape of each velocity for [a, a, b]", shapes_in(SGD([odd[0], *odd], lr, momentum))
    yield "the shape of each velocity for a generator", shapes_in(SGD((one for one in odd), lr, momentum))
    optimizer.lr = lr / 4
    push(heavy)
    optimizer.step()
    yield "data after the learning rate has changed", heavy[0].data
    twins = [Parameter(one.data) for one in heavy]
    resumed = SGD(twins, lr, momentum)
    resumed.load_state_dict(optimizer.state_dict())
    push(twins)
    resumed.step()
    yield "data after saving and resuming", twins[1].data
    low = [Parameter(rng.normal(size=(2, 3)).astype(np.float32)) for _ in range(2)]
    optimizer = SGD([low[0], *low], lr, momentum)
    push(low)
    optimizer.step()
    optimizer.step()
    yield "a float32 parameter that was given twice", low[0].data
    yield "a float32 parameter after one given twice", low[1].data
    grouped = pair()
    optimizer = SGD([{"parameters": grouped[:1]}, {"parameters": grouped[1:], "lr": lr / 8}], lr, momentum)
    push(grouped)
    optimizer.step()
    yield "a parameter in the group with the optimizer's lr", grouped[0].data
    yield "a parameter in a group with a smaller lr", grouped[1].data
    decayed = pair()
    optimizer = SGD(decayed, lr, momentum, weight_decay=rng.uniform(0.3, 0.6))
    push(decayed)
    optimizer.step()
    yield "data after a step with weight_decay", decayed[0].data
    ahead = pair()
    optimizer = SGD(ahead, lr, momentum, nesterov=True)
    push(ahead)
    optimizer.step()
    yield "data after the first step with nesterov", ahead[0].data
    push(ahead)
    optimizer.step()
    yield "data after two steps with nesterov", ahead[1].data

# %% mistakes="SGD"
mistake("the step goes uphill", "The gradient points to where the loss grows. Move the other way: data minus lr times v.",
        swap=("parameter.data -= lr", "parameter.data += lr"))
mistake("the new gradient is multiplied by 1 - momentum", "That is an average, and its first steps are far too short. Here the "
        "whole gradient is added: v = momentum · v + grad.",
        swap=("velocity += grad", "velocity += (1 - self.momentum) * grad"))
mistake("the momentum is ignored", "The old velocity has to be kept, momentum times, before the gradient is added. In a "
        "loop, velocity = … only binds a name. Write into the array, or into the list.",
        swap=("velocity *= self.momentum", "velocity *= 0"))
mistake("the old velocity does not fade", "Multiply the old velocity by momentum, or it remembers everything for ever.",
        swap=("            velocity *= self.momentum\n", ""))
mistake("lr is multiplied twice", "lr belongs in one place only: where data moves.",
        swap=("velocity += grad", "velocity += lr * grad"))
mistake("lr is inside the velocity", "In PyTorch's form v holds pure gradients, and lr multiplies at the step. Otherwise a new lr "
        "does not reach what v already holds.",
        swap=("""            velocity += grad
            direction = grad + self.momentum * velocity if self.nesterov else velocity
            parameter.data -= lr * direction""", """            velocity += lr * grad
            direction = lr * grad + self.momentum * velocity if self.nesterov else velocity
            parameter.data -= direction"""))
mistake("data is bound to a new array", "parameter.data = … makes a new array, and whoever held the old one no longer sees "
        "the parameter move. Use -= , which writes into the array.",
        swap=("parameter.data -= lr * direction", "parameter.data = parameter.data - lr * direction"))
mistake("the moved data is never written", "parameter.data stays as it was: the new values went into another name. "
        "Use -= on parameter.data itself.",
        swap=("parameter.data -= lr * direction", "moved = parameter.data - lr * direction"))
mistake("all parameters share one velocity", "One array serves all parameters, so each also moves along the others' "
        "gradients. Both a single self.v and [array] * n are one array. Make one for each parameter, in a list comprehension.",
        swap=("[np.zeros_like(one.data) for one in self.parameters]",
              "[np.zeros_like(self.parameters[0].data)] * len(self.parameters)"))
mistake("the velocity is the gradient's own array", "[one.grad for …] copies nothing: v and grad are then one array under two names, "
        "and whatever changes v changes grad too. A velocity begins as new zeros: np.zeros_like.",
        swap=("[np.zeros_like(one.data) for", "[one.grad for"))
mistake("the velocities are made from the argument parameters", "The base class has already gone through that argument: a "
        "generator is empty by now, and a list may name a parameter twice. self.parameters holds each once.",
        swap=("for one in self.parameters]", "for one in parameters]"))
mistake("the velocities are always float64", "np.zeros makes float64 unless told otherwise: twice the memory for a float32 "
        "parameter. A velocity takes its parameter's dtype: np.zeros_like.",
        swap=("np.zeros_like(one.data)", "np.zeros(one.data.shape)"))
mistake("data moves before the velocity is updated", "The gradient of this step has to be in v before data moves, or every "
        "step comes one too late.",
        swap=("""            velocity *= self.momentum
            velocity += grad
            direction = grad + self.momentum * velocity if self.nesterov else velocity
            parameter.data -= lr * direction""", """            direction = grad + self.momentum * velocity if self.nesterov else velocity
            parameter.data -= lr * direction
            velocity *= self.momentum
            velocity += grad"""))
mistake("step clears the gradients", "Clearing is zero_grad's work, at a time that the training loop chooses. step leaves "
        "grad as it is.", swap=("parameter.data -= lr * direction",
                                "parameter.data -= lr * direction; parameter.grad[...] = 0"))
mistake("self.lr moves every group", "A group may have a learning rate of its own. self.moves hands it to you as lr.",
        swap=("parameter.data -= lr *", "parameter.data -= self.lr *"))
mistake("parameter.grad is taken in place of grad", "grad is what self.moves hands you: with weight_decay it holds more than "
        "parameter.grad does.", swap=("velocity += grad", "velocity += parameter.grad"))
mistake("nesterov is ignored", "With nesterov the data moves along grad + momentum · v, the velocity that the next step would "
        "find. Without, along v.", swap=("if self.nesterov else velocity", "if False else velocity"))
mistake("every step is a Nesterov step", "Only with nesterov does data move along grad + momentum · v. Otherwise along v.",
        swap=("if self.nesterov else velocity", "if True else velocity"))

@mistake("the velocities do not start as arrays", "A velocity has its parameter's shape and dtype from the start, or a saved "
         "state does not fit a new optimizer: np.zeros_like(one.data).")
class SGD(reference):
    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(parameters, lr, momentum, weight_decay, nesterov)
        self.velocities = [0.0] * len(self.parameters)

    def step(self):
        for place, (parameter, grad, lr) in enumerate(self.moves()):
            v = self.velocities[place] = self.momentum * self.velocities[place] + grad
            parameter.data -= lr * (grad + self.momentum * v if self.nesterov else v)

# %% [markdown] hints="SGD"
# One array per parameter has to survive from step to step. Make it in `__init__`, and change it in `step`.
#
# ---
#
# v = momentum · v + grad, then data −= lr · v. With `self.nesterov`, the data moves along grad + momentum · v.
#
# ---
#
# ```python
# # __init__
# self.velocities = [np.zeros_like(one.data) for one in ...]
#
# # step
# for parameter, grad, lr, velocity in self.moves(self.velocities):
#     velocity *= ...
#     velocity += ...
#     direction = ... if self.nesterov else velocity
#     parameter.data -= ...
# ```

# %% [markdown]
# ## See: too small, good, too large
#
# A valley with two directions: $L = \tfrac12 (w_0^2 + 10\,w_1^2)$. Its gradient is $(w_0, 10\,w_1)$. So one plain step
# multiplies $w_0$ by $1 - \text{lr}$ and $w_1$ by $1 - 10\,\text{lr}$. Your `SGD` rolls down it, 40 steps each.

# %%
def roll(lr, momentum, steps=40):
    w = Parameter(np.array([-4.0, 1.5]))
    optimizer, path = SGD([w], lr, momentum), [w.data.copy()]
    for _ in range(steps):
        w.grad[...] = w.data * [1, 10]
        optimizer.step()
        path.append(w.data.copy())
    return np.array(path)  # (steps + 1, 2)


def draw_roll(ax, lr, momentum):
    path = roll(lr, momentum)
    a, b = np.meshgrid(np.linspace(-5, 3, 80), np.linspace(-3, 3, 80))
    ax.contour(a, b, a**2 + 10 * b**2, levels=[0.3, 2, 6, 12, 22, 40, 70], colors=GREY, linewidths=0.6)
    ax.plot(*path.T, ".-", color=ORANGE, lw=1)
    ax.plot(0, 0, "+", color=BLUE, ms=12)
    ax.set(xlim=(-5, 3), ylim=(-3, 3), xlabel="$w_0$", ylabel="$w_1$")
    ax.set_title(f"lr {lr:.3g}, momentum {momentum:g}\nends {np.hypot(*path[-1]):.2g} from the bottom")


fig, axes = plt.subplots(1, 4, figsize=(11, 2.8), sharey=True)
for ax, (lr, momentum) in zip(axes, [(0.01, 0), (0.17, 0), (0.205, 0), (0.205, 0.3)]):
    draw_roll(ax, lr, momentum)
plt.show()

# %% [markdown]
# Too small: it is still on its way. Good: it zigzags and arrives. A little larger: $1 - 10\,\text{lr}$ is below $-1$, each
# jump across the valley is wider than the last, and it *diverges*. The steepest direction alone sets this limit. The last
# picture has the same learning rate with a little momentum. It arrives, and far closer than the others.
#
# Two questions for the control. Without momentum, where is the limit of `lr`? With momentum 0.3, 0.6 and 0.9, does
# the limit rise or fall, and what does the path look like?

# %%
from ipywidgets import FloatLogSlider, FloatSlider, interact


def one_roll(lr=0.2, momentum=0.3):
    fig, ax = plt.subplots(figsize=(5, 3))
    draw_roll(ax, lr, momentum)
    plt.show()


interact(one_roll, lr=FloatLogSlider(value=0.2, base=10, min=-3, max=0, step=0.02),
         momentum=FloatSlider(value=0.3, min=0, max=0.98, step=0.02));

# %% [markdown]
# ## A loop that applies it
#
# The loss is a mean over all training digits. Its gradient over 64 of them points in about the same direction, and
# costs a fraction. So one step uses one *mini-batch*. One *epoch* visits every sample once. The order is drawn afresh
# each time, or neighbours in the file, which here are all of one class, would always push together.
# That is the S, *stochastic*, in SGD.
#
# ### Exercise 5 ★★: mini-batches
#
# Yield arrays of indices. All of them together hold each of 0 … count − 1 exactly once. The last batch may be smaller.

# %% exercise="minibatches" points=3 stars=2
def minibatches(count, batch_size, rng):
    """Yield index arrays that cover 0 … count − 1 once, in an order drawn from rng.

    Args:
        count: the number of samples.
        batch_size: the length of each array; the last one may be shorter.
        rng: an np.random.Generator; the same seed gives the same batches.
    """
    ### BEGIN SOLUTION draw one order of all indices, then yield it slice by slice
    order = rng.permutation(count)
    for start in range(0, count, batch_size):
        yield order[start:start + batch_size]
    ### END SOLUTION

# %%
check(minibatches)

# %% probe="minibatches"
def probe(minibatches, rng):
    size, seed = int(rng.integers(3, 6)), int(rng.integers(10**6))
    count = size * int(rng.integers(7, 10)) + int(rng.integers(1, size))
    generator = np.random.default_rng(seed)
    batches = [np.asarray(batch) for batch in minibatches(count, size, generator)]
    yield "the size of each batch", np.array([len(batch) for batch in batches])
    seen = np.concatenate(batches)
    often = np.bincount(seen, minlength=count)
    yield "how often the rarest sample comes", int(min(often.min(), 2))
    yield "how often the most frequent sample comes", "once" if often.max() == 1 else "more than once"
    mixed = any(np.ptp(batch) >= size for batch in batches)
    sorted_ = np.array_equal(seen, np.sort(seen))
    yield "the order", "0, 1, 2, …" if sorted_ else "mixed" if mixed else "neighbours stay together"
    again = np.concatenate(list(minibatches(count, size, generator)))
    yield "the next epoch's order", "the same" if np.array_equal(seen, again) else "another"
    replay = np.concatenate(list(minibatches(count, size, np.random.default_rng(seed))))
    yield "the order with the same seed again", "the same" if np.array_equal(seen, replay) else "another"
    even = [len(batch) for batch in minibatches(3 * size, size, generator)]
    yield "the size of each batch where batch_size divides count", np.array(even)

# %% mistakes="minibatches"
mistake("samples are drawn with replacement", "rng.integers and rng.choice may draw a sample twice and leave another out. A "
        "permutation holds each index once.", swap=("rng.permutation(count)", "rng.integers(0, count, count)"))
mistake("the last, smaller batch is dropped", "Every sample counts once an epoch, also those in the last batch that is not "
        "full. Let the loop run to count.",
        swap=("range(0, count, batch_size)", "range(0, count - batch_size + 1, batch_size)"))
mistake("the order is the same in every epoch", "A generator made inside the function starts afresh each time. Use the rng "
        "that is passed in.", swap=("rng.permutation(count)", "np.random.default_rng(0).permutation(count)"))
mistake("the samples are not shuffled", "The file is sorted by class. Draw an order from rng first.",
        swap=("rng.permutation(count)", "np.arange(count)"))
mistake("only the inside of each batch is shuffled", "The same neighbours always come together. Shuffle all indices first, "
        "then cut.", swap=("""    order = rng.permutation(count)
    for start in range(0, count, batch_size):
        yield order[start:start + batch_size]""", """    for start in range(0, count, batch_size):
        yield rng.permutation(np.arange(start, min(start + batch_size, count)))"""))
mistake("the passed generator is not used", "np.random.permutation draws from a hidden global generator, and no seed of yours "
        "brings the run back. Draw with rng.", swap=("rng.permutation(count)", "np.random.permutation(count)"))
mistake("batch_size is taken as the number of batches", "np.array_split(order, n) makes n parts. batch_size says how long a "
        "part is.", swap=("""    for start in range(0, count, batch_size):
        yield order[start:start + batch_size]""", """    yield from np.array_split(order, batch_size)"""))
mistake("the batches overlap", "The next batch begins where the last one ended: step by batch_size.",
        swap=("range(0, count, batch_size)", "range(0, count, batch_size - 1)"))

# %% [markdown] hints="minibatches"
# Shuffle first, cut second. Which array holds every index exactly once, in random order?
#
# ---
#
# `rng.permutation(count)` is that array. A slice that reaches past the end of an array is simply shorter.
#
# ---
#
# ```python
# order = rng.permutation(...)
# for start in range(0, count, ...):
#     yield order[start:...]
# ```

# %% [markdown]
# ### Exercise 6 ★★★: one epoch
#
# For each batch: clear the gradients, forward, loss, backward, step. In this order. The function returns the mean loss
# *per sample*. The last batch is smaller, so the mean of the batches' means is something else: weigh each by its length.

# %% exercise="train_epoch" points=4 stars=3
def train_epoch(model, loss, optimizer, x, y, batch_size, rng):
    """Train on every sample once; return the mean loss per sample as it was met on the way.

    Args:
        model: a NyangModel.
        loss: called as loss(out, y), a mean over the batch; loss.backward() returns dout.
        optimizer: holds the model's parameters.
        x, y: (N, …) inputs and (N,) labels.
        batch_size, rng: as for minibatches.
    """
    ### BEGIN SOLUTION for each batch: zero_grad, forward, loss, backward, step; then the weighted mean
    total = 0.0
    for batch in minibatches(len(x), batch_size, rng):
        optimizer.zero_grad()
        total += loss(model(x[batch]), y[batch]) * len(batch)
        model.backward(loss.backward())
        optimizer.step()
    return total / len(x)
    ### END SOLUTION

# %%
check(train_epoch)

# %% probe="train_epoch"
class Line(NyangModel):
    """out = x · weight, which counts its backward passes."""

    def __init__(self, weight):
        self.weight, self.passes = Parameter(weight), 0

    def forward(self, x):
        self.save(x)
        return x @ self.weight.data

    def backward(self, dout):
        self.passes += 1
        self.weight.grad += self.saved().T @ dout
        return dout @ self.weight.data.T


class MeanSquare:
    """The mean of (out − y)² over the batch; keeps what it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, out, y):
        return self.forward(out, y)

    def forward(self, out, y):
        self.error = out[:, 0] - y
        self.seen.append((out[:, 0].copy(), np.array(y)))
        return float((self.error**2).mean())

    def backward(self):
        return 2 * self.error[:, None] / len(self.error)


class Descent(Optimizer):
    """Plain gradient descent; notes how many backward passes came before its first step."""

    def __init__(self, model, lr):
        super().__init__(model.parameters(), lr)
        self.model, self.early = model, None

    def step(self):
        self.early = self.model.passes if self.early is None else self.early
        for one in self.parameters:
            one.data -= self.lr * one.grad


def probe(train_epoch, rng):
    count, size = 11, 4
    row, weight = rng.uniform(0.5, 1.5, size=3), rng.uniform(0.5, 1.5, size=(3, 1))
    x, y = np.tile(row, (count, 1)), np.full(count, -1.0)  # equal samples: the order cannot matter
    model = Line(weight)
    optimizer = Descent(model, 0.05)
    mean = train_epoch(model, MeanSquare(), optimizer, x, y, size, np.random.default_rng(0))
    yield "the mean loss per sample", mean
    yield "weight after the epoch", model.weight.data
    yield "how often model.backward ran", model.passes
    yield "how often it ran before the first step", -1 if optimizer.early is None else optimizer.early
    model, loss = Line(np.eye(1)), MeanSquare()
    ids = np.arange(count) + 10.0
    train_epoch(model, loss, Descent(model, 1e-30), ids[:, None], 3 * ids, size,
                np.random.default_rng(int(rng.integers(10**6))))
    out, target = (np.concatenate(parts) for parts in zip(*loss.seen, strict=True))
    yield "each sample that was used, sorted", np.sort(out)
    yield "the label that each sample meets", "its own" if np.array_equal(3 * out, target) else "another's"

# %% mistakes="train_epoch"
mistake("the mean of the batch means is returned", "The last batch is shorter, so its samples would count more. Weigh each "
        "batch's loss by len(batch), and divide by all samples.",
        swap=("""    total = 0.0
    for batch in minibatches(len(x), batch_size, rng):
        optimizer.zero_grad()
        total += loss(model(x[batch]), y[batch]) * len(batch)
        model.backward(loss.backward())
        optimizer.step()
    return total / len(x)""", """    values = []
    for batch in minibatches(len(x), batch_size, rng):
        optimizer.zero_grad()
        values.append(loss(model(x[batch]), y[batch]))
        model.backward(loss.backward())
        optimizer.step()
    return float(np.mean(values))"""))
mistake("the sum of the losses is returned", "A mean is asked for: divide by the number of samples.",
        swap=("return total / len(x)", "return total"))
mistake("the batches' lengths are left out", "Each loss is a mean over its batch. Multiply it by len(batch) to get "
        "the batch's sum, before you divide by all samples.", swap=(" * len(batch)", ""))
mistake("the gradients of earlier batches are never cleared", "backward adds to grad. Without zero_grad before every batch, "
        "each step also repeats all earlier ones.", swap=("        optimizer.zero_grad()\n", ""))
mistake("zero_grad stands between backward and step", "You clear what backward has computed before the optimizer can "
        "use it. Clear before backward.", swap=("""        optimizer.zero_grad()
        total += loss(model(x[batch]), y[batch]) * len(batch)
        model.backward(loss.backward())
""", """        total += loss(model(x[batch]), y[batch]) * len(batch)
        model.backward(loss.backward())
        optimizer.zero_grad()
"""))
mistake("step comes before backward", "At that moment grad does not yet hold this batch's gradient. First backward, then step.",
        swap=("""        model.backward(loss.backward())
        optimizer.step()
""", """        optimizer.step()
        model.backward(loss.backward())
"""))
mistake("model.backward is never called", "loss.backward() only returns the gradient of the logits. Hand it to "
        "model.backward, which fills the parameters' gradients.",
        swap=("model.backward(loss.backward())", "loss.backward()"))
mistake("model.backward gets the loss's value", "backward wants the gradient of the logits, one number for each of them. "
        "The loss knows it: loss.backward() returns it.",
        swap=("""        total += loss(model(x[batch]), y[batch]) * len(batch)
        model.backward(loss.backward())""", """        value = loss(model(x[batch]), y[batch])
        total += value * len(batch)
        model.backward(value)"""))
mistake("the labels are not those of the batch", "x and y must be picked with the same indices, or every picture gets "
        "somebody else's label.", swap=("y[batch])", "y[:len(batch)])"))
mistake("return stands inside the loop", "The function ends after its first batch. Move return out by one level.",
        swap=("    return total / len(x)", "        return total / len(x)"))
mistake("the loss object is overwritten by its value", "After loss = loss(…) the name holds a number, which has no backward. "
        "Give the value another name.",
        swap=("        total += loss(model(x[batch]), y[batch]) * len(batch)",
              "        loss = loss(model(x[batch]), y[batch])\n        total += loss * len(batch)"))

# %% [markdown] hints="train_epoch"
# A batch is an array of indices: `x[batch]` and `y[batch]` are its pictures and labels. Five calls follow for each batch.
#
# ---
#
# zero_grad → out = model(x) → value = loss(out, y) → model.backward(loss.backward()) → step.
# Mean per sample = Σ value · len(batch) / len(x).
#
# ---
#
# ```python
# total = 0.0
# for batch in minibatches(len(x), batch_size, rng):
#     optimizer.zero_grad()
#     total += loss(...) * ...
#     model.backward(...)
#     ...
# return total / ...
# ```

# %% [markdown]
# ## Use: the number to beat, and beating it
#
# Two models, 12 epochs each. The first is one `Linear`: the templates of chapter 03, now trained. This is *softmax
# regression*. The second is your network, a *multi-layer perceptron*.
#
# `measure` runs under `no_memory`, as nothing is learned there. Last come the templates, with their
# best factor (05).

# %%
def measure(model, x, y):
    with no_memory():
        logits = model(x)
        return CrossEntropyLoss()(logits, y), float(np.mean(logits.argmax(axis=1) == y))


def fit(model, momentum, epochs, name=""):
    optimizer, loss = SGD(model.parameters(), lr=0.1, momentum=momentum), CrossEntropyLoss()
    rng, history = np.random.default_rng(0), []
    for epoch in range(1, epochs + 1):
        seen = train_epoch(model, loss, optimizer, x_train, y_train, 64, rng)
        history.append((seen, *measure(model, x_test, y_test)))
        if epoch % 3 == 0:
            print(f"{name:12}  epoch {epoch:2}: training loss {seen:.3f}")
    return np.array(history)  # (epochs, 3): training loss, held-out loss, held-out accuracy


single = NyangFlow(Flatten(), Linear(784, 10, rng=np.random.default_rng(0)))
network = digit_network(np.random.default_rng(0))
before = network[1].weight.data.copy()
history = {"single layer": fit(single, 0.0, 12, "single layer"),
           "network": fit(network, 0.9, 12, "network")}
for name, model in [("single layer", single), ("network", network)]:
    value, right = measure(model, x_test, y_test)
    print(f"{name:12}  training digits {measure(model, x_train, y_train)[1]:6.1%}   "
          f"held-out digits {right:.1%}, cross-entropy {value:.2f}")
value = min(CrossEntropyLoss()(scores * float(f), y_test) for f in np.logspace(-2, 0, 20))
print(f"templates    held-out digits {np.mean(guess == y_test):.1%}, cross-entropy {value:.2f}")

# %% [markdown]
# The order of the samples and the first weights are drawn from seeds. So a run can be repeated, bit for bit. The next cell
# puts that to the test, and enforces a floor of 93 %.

# %% tags=["nbval-check-output"]
accuracy = {name: rows[-1, 2] for name, rows in history.items()}
assert accuracy["network"] >= 0.93, f"the network should read 93%, it reads {accuracy['network']:.1%}"
print(f"accuracy at least 93%: {accuracy['network'] >= 0.93}")
print(f"at least 2 points better than one layer: {accuracy['network'] - accuracy['single layer'] >= 0.02}")

runs = [digit_network(np.random.default_rng(seed), hidden=16) for seed in (1, 1, 2)]
for model in runs:
    fit(model, 0.9, 1)
weights = [model[1].weight.data for model in runs]
print(f"same seed, same weights bit for bit: {np.array_equal(weights[0], weights[1])}")
print(f"another seed, same weights: {np.array_equal(weights[0], weights[2])}")

# %% [markdown]
# Look again at the line of the network above: it reads the training digits better than the held-out ones. When does that gap open?

# %%
fig, ax = plt.subplots(figsize=(7, 3.2))
for (name, rows), colour in zip(history.items(), [BLUE, ORANGE]):
    epochs = np.arange(1, len(rows) + 1)
    ax.semilogy(epochs, rows[:, 0], color=colour, label=f"{name}, training")
    ax.semilogy(epochs, rows[:, 1], "--", color=colour, label=f"{name}, held out")
ax.set(xlabel="epoch", ylabel="cross-entropy", xticks=range(0, 13, 2), title="learning, and learning by heart")
ax.legend(ncols=2)
plt.show()

# %% [markdown]
# The single layer's two curves stay close, and flatten out high up. The network's training loss falls on and on, while its
# held-out loss stops falling after a few epochs. From there it learns the training digits by heart. This is
# *overfitting*; chapters 10 and 11 bring remedies. (A solid curve is measured on the way through the epoch, a
# dashed one after it. So the first solid point may lie above its dashed one.)
#
# Each row of a weight matrix is a picture again. Top: the ten of the single layer. Middle and bottom: of the network's
# 128, the ten that training moved most, and the ten that it moved least.

# %%
hidden = network[1].weight.data
moved = np.linalg.norm(hidden - before, axis=1).argsort()
rows = np.concatenate([single[1].weight.data, hidden[moved[::-1][:10]], hidden[moved[:10]]])

fig, axes = plt.subplots(3, 10, figsize=(10, 3.2))
for ax, row in zip(axes.flat, rows):
    ax.imshow(row.reshape(28, 28), cmap="RdBu_r", vmin=-abs(row).max(), vmax=abs(row).max())
    ax.axis("off")
for ax, name in zip(axes[:, 0], ["single layer", "network,\nmoved most", "network,\nmoved least"]):
    ax.text(-2, 14, name, ha="right", va="center")
plt.show()

# %% tags=["nbval-check-output"]
never = x_train.reshape(-1, 784).max(axis=0) == 0
unmoved = bool(np.array_equal(hidden[:, never], before[:, never]))
print(f"{never.sum()} pixels are white in all training digits; their weights have never moved: {unmoved}")

# %% [markdown]
# Top: ghosts of digits. Middle: strokes, which several classes can share. Bottom: still much like the noise that they
# were drawn as. At the rim all hidden rows are noise. Those pixels are always 0, so the gradient of their weights
# is 0.
#
# ### Exercise 7 ★★: which digits are confused?
#
# One number hides what goes wrong. Count instead how often class r was read as class c, in row r and column c.

# %% exercise="confusion_counts" points=2 stars=2
def confusion_counts(labels, predictions, classes):
    """Count how often each class was read as each.

    Args:
        labels: (N,) true classes, 0 … classes − 1.
        predictions: (N,) predicted classes.
        classes: the number of classes, also of those that do not occur.

    Returns:
        counts (classes, classes) of integers: true class in the row, predicted in the column.
    """
    ### BEGIN SOLUTION add one at (label, prediction) for every sample
    cells = labels * classes + predictions  # the place in the flattened matrix
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)
    ### END SOLUTION

# %%
check(confusion_counts)

# %% probe="confusion_counts"
def probe(confusion_counts, rng):
    classes, N = int(rng.integers(4, 7)), int(rng.integers(60, 90))
    labels = rng.integers(0, classes - 1, N)  # the last class never occurs
    predictions = np.where(rng.random(N) < 0.5, labels, rng.integers(0, classes - 1, N))
    labels[:6], predictions[:6] = 0, 1  # so that the matrix is not symmetric
    predictions[labels == 1] = 1
    counts = np.asarray(confusion_counts(labels, predictions, classes))
    yield "the matrix", counts.astype(float)
    yield "the type of the counts", "integers" if counts.dtype.kind in "iu" else str(counts.dtype)

# %% mistakes="confusion_counts"
@mistake("rows and columns are swapped", "The true class chooses the row, the prediction the column.")
def confusion_counts(labels, predictions, classes):
    return reference(labels, predictions, classes).T

@mistake("a repeated pair is counted once", "counts[labels, predictions] += 1 reads all old values first and writes them once, so "
         "a pair that occurs twice adds only 1. np.add.at, np.bincount or a loop count every one.")
def confusion_counts(labels, predictions, classes):
    counts = np.zeros((classes, classes), dtype=int)
    counts[labels, predictions] += 1
    return counts

@mistake("classes that do not occur are left out", "The matrix has a row and a column for every class, so that two runs can be "
         "compared: (classes, classes).")
def confusion_counts(labels, predictions, classes):
    return reference(labels, predictions, classes)[:-1, :-1]

@mistake("the counts are divided by the row's sum", "Counts are asked for, as integers. Shares can be made from them later, but "
         "not the other way round.")
def confusion_counts(labels, predictions, classes):
    counts = reference(labels, predictions, classes)
    return counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)

@mistake("the counts are floats", "np.zeros makes float64 unless told otherwise. Counts are integers: dtype=int.")
def confusion_counts(labels, predictions, classes):
    return reference(labels, predictions, classes).astype(float)

@mistake("only the wrong answers are counted", "The diagonal belongs to the matrix: it holds the right answers.")
def confusion_counts(labels, predictions, classes):
    counts = reference(labels, predictions, classes)
    return counts - np.diag(np.diag(counts))

# %% [markdown] hints="confusion_counts"
# A loop over the samples is a fine first version: one count more at one place for each. Beware of `counts[labels, predictions] += 1`.
#
# ---
#
# Number the cells of the matrix row by row: cell = label · classes + prediction. `np.bincount` counts how often
# each number occurs.
#
# ---
#
# ```python
# cells = labels * ... + ...
# return np.bincount(cells, minlength=...).reshape(...)
# ```

# %%
with no_memory():
    chances = Softmax()(network(x_test))
guess = chances.argmax(axis=1)
counts = confusion_counts(y_test, guess, 10)
errors_only = counts - np.diag(np.diag(counts))

left, right = plt.figure(figsize=(11, 4)).subfigures(1, 2, width_ratios=[2, 3])
ax = left.subplots()
ax.imshow(errors_only, cmap="Oranges", vmax=errors_only.max() * 1.5)
for (r, c), count in np.ndenumerate(counts):
    ax.text(c, r, count or "", ha="center", va="center", color=GREY if r == c else "black")
ax.set(xlabel="read as", ylabel="is", xticks=range(10), yticks=range(10), title="all held-out digits")
ax.grid(False)

wrong = np.flatnonzero(guess != y_test)
worst = wrong[np.argsort(-chances[wrong, guess[wrong]])[:10]]
draw_images(right.subplots(2, 5), x_test[worst], [
    f"{guess[i]}, is {y_test[i]}\n{chances[i, guess[i]]:.1%} sure" for i in worst])
right.suptitle("the surest of the wrong answers")
plt.show()

# %% [markdown]
# Left: on the diagonal what was right, off it the confusions; the darker, the more frequent. Compare the marked cells with your
# own sense of which digits look alike. Right: the network is almost certain, and wrong. Some would trouble you
# too. Others would not: being sure is not being right.
#
# ## Exercise 8 ★: break it and say why
#
# Somebody forgot `zero_grad`. The first step, without momentum, met the gradient `grad1`. The second batch's own
# gradient is `grad2`. By how much does the *second* step change the data?

# %% exercise="forgotten_zero_grad" points=1 stars=1
def forgotten_zero_grad(grad1, grad2, lr):
    """Return what the second step adds to the data, where zero_grad was never called.

    Args:
        grad1, grad2: arrays of equal shape, each batch's own gradient.
        lr: the learning rate of plain SGD, without momentum.
    """
    ### BEGIN SOLUTION what does grad hold at the second step? then one step of SGD
    return -lr * (grad1 + grad2)
    ### END SOLUTION

# %%
check(forgotten_zero_grad)

# %% probe="forgotten_zero_grad"
def probe(forgotten_zero_grad, rng):
    grad1, grad2 = rng.normal(size=(2, 3, 2))
    yield "the second step", forgotten_zero_grad(grad1, grad2, rng.uniform(0.05, 0.5))

# %% mistakes="forgotten_zero_grad"
@mistake("this is what the right loop does", "backward adds to grad. What was there from the first batch is still there.")
def forgotten_zero_grad(grad1, grad2, lr):
    return -lr * grad2

@mistake("the sign of the step is missing", "SGD subtracts lr times the gradient. What is added to the data is negative.")
def forgotten_zero_grad(grad1, grad2, lr):
    return lr * (grad1 + grad2)

@mistake("both steps are added up", "The question is the second step alone. The first one, -lr · grad1, has already been made.")
def forgotten_zero_grad(grad1, grad2, lr):
    return -lr * (2 * grad1 + grad2)

@mistake("the two gradients are averaged", "backward adds gradients. Nothing divides them.")
def forgotten_zero_grad(grad1, grad2, lr):
    return -lr * (grad1 + grad2) / 2

# %% [markdown] hints="forgotten_zero_grad"
# Rule 2 of the contract: what does `backward` do with `parameter.grad`?
#
# ---
#
# At the second step, grad holds the sum of both batches' gradients. SGD without momentum: data changes by −lr · grad.
#
# ---
#
# ```python
# return -lr * (...)
# ```

# %% [markdown]
# Compare your formula with the velocity. A forgotten `zero_grad` is momentum with a factor of 1: no gradient ever fades.
# `SGD` refuses `momentum=1`, and here it happens unseen.
#
# ## Recap
#
# - A chain hands `x` forward and `dout` back in reverse. The layers' stacks make that right even where one layer stands twice.
# - SGD steps against the gradient of a mini-batch. The steepest direction limits the learning rate; momentum adds up what stays
#   the same.
# - Clear, forward, loss, backward, step. Then judge on digits that were never used for learning.
#
# `finish` exports `NyangFlow` and `Flatten` into `nyang_edu/model/flow.py`, `Optimizer` and `SGD` into
# `training/optimizer.py`.
#
# **References.** Robbins, Monro, *A stochastic approximation method*, Annals of Mathematical Statistics 22 (1951). Polyak, *Some
# methods of speeding up the convergence of iteration methods*, USSR Comp. Math. and Math. Physics 4 (1964). Sutskever, Martens, Dahl, Hinton, *On
# the importance of initialization and momentum in deep learning*, ICML 2013, section 2. LeCun, Bottou, Bengio, Haffner, *Gradient-based learning
# applied to document recognition*, Proc. IEEE 86 (1998), section III. Goodfellow, Bengio, Courville, *Deep Learning* (2016), sections
# 8.1 to 8.3.

# %%
finish("06_flow")
