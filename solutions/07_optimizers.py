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
# # 07 · Optimizers
#
# **You have** `SGD` with momentum, and a network that reads digits (06).
#
# **You will build** `RMSprop`, `Adam`, `AdamW` and `AdaBound`, which give each weight a step size of its own, and
# `clip_grad_norm`, which tames a gradient that explodes.
#
# **It unlocks** schedules (12), the training loop (13), and the deep networks from 14 on, whose layers have
# gradients of very different sizes.
#
# Time: about 110 minutes. Nine exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.activation import ReLU
from nyang_edu.model.core import Parameter, no_memory
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.init import init_for
from nyang_edu.utility.plot import BLUE, GREEN, GREY, ORANGE, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: a forgotten division
#
# The loss is a mean over the batch. Suppose that somebody forgets to divide by the batch size, 50, and takes the sum. The best
# weights are the same, and every gradient is 50 times as long. `train` is the loop of chapter 06, shorter.
# It returns the accuracy on the held-out digits after each epoch.

# %%
images, labels = load_digits_5k()
order = np.random.default_rng(0).permutation(len(labels))
test = np.concatenate([order[labels[order] == k][:100] for k in range(10)])
digits = np.setdiff1d(order, test)  # the 4,000 to learn from
pixels = images.astype(np.float32) / 255


def train(make, epochs, pixels=pixels, factor=1.0, hidden=64):
    rng, loss, curve = np.random.default_rng(0), CrossEntropyLoss(), []
    model = NyangFlow(Flatten(), Linear(784, hidden, rng=rng, init=init_for(ReLU)), ReLU(),
                      Linear(hidden, 10, rng=rng, init=init_for(None)))
    optimizer = make(model.parameters())
    for _ in range(epochs):
        for batch in rng.permutation(digits).reshape(-1, 50):
            optimizer.zero_grad()
            loss(model(pixels[batch]), labels[batch])
            model.backward(factor * loss.backward())
            optimizer.step()
        with no_memory():
            curve.append(np.mean(model(pixels[test]).argmax(axis=1) == labels[test]))
    return np.array(curve)  # (epochs,)

# %% tags=["nbval-check-output"]
def momentum_sgd(parameters):
    return SGD(parameters, lr=0.05, momentum=0.9)


mean, total = train(momentum_sgd, 3)[-1], train(momentum_sgd, 3, factor=50.0)[-1]
print(f"mean over the batch: at least 88% right: {mean >= 0.88}")
print(f"sum over the batch:  at most 40% right: {total <= 0.4}")

# %% [markdown]
# An `lr` 50 times smaller would undo it. But who knows that factor, for every loss, every batch size, every depth? Gradients of
# different layers differ in size too, and share one `lr`.
#
# The gradient's size is arbitrary, and SGD takes it for the distance to go. See what that does in three landscapes. Blue
# crosses mark the lowest points, rings the ends of the walks.

# %%
def ravine(w):
    return 0.5 * w[0] ** 2 + 25 * w[1] ** 2, np.array([w[0], 50 * w[1]])


def plain_saddle(w):
    a, b = w
    return 0.5 * a**2 - 0.5 * b**2 + 0.25 * b**4, np.array([a, b**3 - b])


def rosenbrock(w):
    a, b = w
    return (1 - a) ** 2 + 20 * (b - a**2) ** 2, np.array([2 * (a - 1) - 80 * a * (b - a**2), 40 * (b - a**2)])


surfaces = {  # name: (function, start, view, lowest points)
    "ravine": (ravine, (-4.0, 0.9), (-5, 2, -1.6, 1.6), [(0, 0)]),
    "saddle": (plain_saddle, (-2.0, 0.001), (-2.5, 1.5, -1.6, 1.6), [(0, 1), (0, -1)]),
    "banana": (rosenbrock, (-1.0, 1.3), (-1.8, 1.8, -0.8, 2.2), [(1, 1)]),
}


def walk(make, surface, start, steps):
    w = Parameter(np.array(start, dtype=float))
    optimizer, path = make([w]), [w.data.copy()]
    for _ in range(steps):
        w.grad[...] = surface(w.data)[1]
        optimizer.step()
        path.append(w.data.copy())
    return np.array(path)  # (steps + 1, 2)

# %%
def draw_walks(ax, name, makes, steps):
    surface, start, view, lowest = surfaces[name]
    a, b = np.meshgrid(np.linspace(*view[:2], 90), np.linspace(*view[2:], 90))
    heights = surface(np.stack([a, b]))[0]
    ax.contour(a, b, heights - heights.min(), levels=np.geomspace(0.02, 40, 12), colors=GREY, linewidths=0.5)
    for i, (label, make) in enumerate(makes.items()):
        path, colour = walk(make, surface, start, steps), [ORANGE, BLUE, GREEN, "#7b4ea3", "black"][i]
        ax.plot(*path.T, ".-", color=colour, lw=1, ms=3, label=label)
        ax.plot(*path[-1], "o", mfc="none", mec=colour, ms=6 + 2 * i, mew=1.5, zorder=6)  # its end
    ax.plot(*np.transpose(lowest), "P", color=BLUE, ms=9, mec="white", zorder=5)
    ax.set(xlim=view[:2], ylim=view[2:], title=f"{name}, {steps} steps")
    ax.grid(False)


fig, axes = plt.subplots(1, 3, figsize=(11, 3))
for ax, name, lr in zip(axes, surfaces, [0.038, 0.1, 0.01]):
    draw_walks(ax, name, {f"SGD, lr {lr}": lambda p, lr=lr: SGD(p, lr)}, 40)
    ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# Ravine: the steep direction sets the limit of `lr` (06), so the flat one crawls. Saddle: the path runs to the point between the
# minima. There the gradient almost vanishes, and so does the step. Banana: it jumps across the bend, and hardly along it. Each time
# it is the *size* of the gradient that misleads: too long across a valley, too short along it.
#
# ## Looking ahead
#
# Momentum (Polyak 1964) speeds up what keeps its sign. But a fast ball overshoots. Nesterov (1983; in this form Sutskever et al. 2013)
# asks for the gradient where the old velocity
# is about to carry the data, and so brakes before the slope turns:
#
# $$v \leftarrow m\,v + \nabla L(\text{data} - \text{lr}\cdot m\,v), \qquad \text{data} \leftarrow \text{data} - \text{lr}\cdot v .$$
#
# Here v is the velocity and m the momentum, a number.
#
# ### Exercise 1 ★★: the look-ahead
#
# `gradient_at` is a function: it takes a point and returns the gradient at that point. Return new arrays.

# %% exercise="nesterov_lookahead" points=3 stars=2
def nesterov_lookahead(gradient_at, data, velocity, lr, momentum):
    """Make one step of Nesterov's momentum; return the new data and the new velocity.

    Args:
        gradient_at: gradient_at(point) → gradient, both of data's shape.
        data, velocity: arrays of equal shape; they stay as they are.
        lr, momentum: numbers.
    """
    ### BEGIN SOLUTION the gradient at the point ahead, the new velocity, the new data
    ahead = data - lr * momentum * velocity
    velocity = momentum * velocity + gradient_at(ahead)
    return data - lr * velocity, velocity
    ### END SOLUTION

# %%
check(nesterov_lookahead)

# %% probe="nesterov_lookahead"
def probe(nesterov_lookahead, rng):
    scale, data, velocity = rng.uniform(0.5, 1.5, size=(3, 2)), *rng.normal(size=(2, 3, 2))
    lr, momentum, asked = rng.uniform(0.1, 0.3), rng.uniform(0.5, 0.9), []

    def gradient_at(point):
        asked.append(np.array(point))
        return scale * point + point**3

    def step(data, velocity, momentum=momentum):
        data, velocity = nesterov_lookahead(gradient_at, data, velocity, lr, momentum)
        yield from (data, velocity)

    new, speed = step(data, velocity)
    yield "the point where the gradient is asked for", asked[-1]
    yield "the new velocity", speed
    yield "the new data", new
    for _ in range(2):
        new, speed = step(new, speed)
    yield "the data after three steps", new
    new, speed = step(data, np.zeros((3, 2)))
    yield "the new data where the velocity was 0", new
    new, speed = step(data, velocity, 0.0)
    yield "the new data without momentum", new

# %% mistakes="nesterov_lookahead"
mistake("the gradient is taken where the data is", "That is plain momentum. First go to where the velocity alone would carry the "
        "data, and ask for the gradient there.", swap=("gradient_at(ahead)", "gradient_at(data)"))
mistake("the look-ahead goes backwards", "The data moves against the velocity, so the point ahead is data minus something.",
        swap=("ahead = data - lr", "ahead = data + lr"))
mistake("the look-ahead is not multiplied by lr", "The velocity holds gradients. lr turns it into a distance, here as in the "
        "step itself.", swap=("ahead = data - lr * momentum", "ahead = data - momentum"))
mistake("the look-ahead takes the whole velocity", "Only momentum times the old velocity lives on into this step. That part "
        "carries the data ahead.", swap=("ahead = data - lr * momentum * velocity", "ahead = data - lr * velocity"))
mistake("the step starts at the point ahead", "The point ahead is only looked at. The data moves from where it is, and lr · v "
        "already contains the way there.", swap=("return data - lr", "return ahead - lr"))
mistake("lr is inside the velocity", "v holds pure gradients, as in SGD. lr multiplies at the step.",
        swap=("""+ gradient_at(ahead)
    return data - lr * velocity, velocity""", """+ lr * gradient_at(ahead)
    return data - velocity, velocity"""))
mistake("the step goes uphill", "The gradient points to where the loss grows. Move the other way.",
        swap=("return data - lr", "return data + lr"))
mistake("the data moves by the gradient alone", "The data moves along the new velocity, which holds the old one too.",
        swap=("return data - lr * velocity, velocity", "return data - lr * gradient_at(ahead), velocity"))
mistake("the data moves by the old velocity", "First the new velocity, then the move along it: the gradient of the point ahead counts in this step.",
        swap=("""    velocity = momentum * velocity + gradient_at(ahead)
    return data - lr * velocity, velocity""", """    new = momentum * velocity + gradient_at(ahead)
    return data - lr * velocity, new"""))
mistake("this is the form of the nesterov flag", "SGD's flag has to make do with the gradient at the data. Here gradient_at can be asked anywhere: ask it at the "
        "point ahead, and move by lr · v.", swap=("""    velocity = momentum * velocity + gradient_at(ahead)
    return data - lr * velocity, velocity""", """    here = gradient_at(data)
    velocity = momentum * velocity + here
    return data - lr * (here + momentum * velocity), velocity"""))
mistake("velocity and data are returned in the wrong order", "First the new data, then the new velocity.",
        swap=("return data - lr * velocity, velocity", "return velocity, data - lr * velocity"))

# %% [markdown] hints="nesterov_lookahead"
# Three lines: where will the velocity alone carry the data, what is the velocity after the gradient from there, and where is the
# data then?
#
# ---
#
# ahead = data − lr · momentum · velocity, then v = momentum · velocity + gradient_at(ahead), then data − lr · v.
#
# ---
#
# ```python
# ahead = data - ...
# velocity = momentum * velocity + gradient_at(...)
# return data - ..., velocity
# ```

# %% [markdown]
# A framework cannot ask elsewhere: `backward` has run where the data is. So `SGD(nesterov=True)` keeps the *point
# ahead* as its data. Put $\theta = \text{data} - \text{lr}\cdot m\,v$ into the two formulas, and out comes the line of chapter 06:
# $\theta \leftarrow \theta - \text{lr}\,(\text{grad} + m\,v)$, where v is the *new* velocity. The next cell takes both walks.

# %% tags=["nbval-check-output"]
data, velocity, ahead = np.array([-4.0, 0.9]), np.zeros(2), []
for _ in range(30):
    data, velocity = nesterov_lookahead(lambda w: ravine(w)[1], data, velocity, 0.01, 0.9)
    ahead.append(data - 0.01 * 0.9 * velocity)

flag = walk(lambda p: SGD(p, 0.01, momentum=0.9, nesterov=True), ravine, (-4.0, 0.9), 30)
heavy = walk(lambda p: SGD(p, 0.01, momentum=0.9), ravine, (-4.0, 0.9), 30)
print(f"the flag walks along the points ahead: {np.allclose(flag[1:], ahead)}")
print(f"largest |w1| from step 10 on: {abs(heavy[10:, 1]).max():.2f} with momentum, "
      f"{abs(flag[10:, 1]).max():.2f} with Nesterov's")

# %% [markdown]
# Looking ahead damps the swing across the ravine. But neither kind of momentum questions the size of a gradient.
#
# ## Idea: measure the gradient, then divide
#
# A weight's gradients have a typical size. Record it, and divide by it. What is left is about ±1, times `lr`:
# a step whose length you chose yourself.
#
# The record is a *running average*. It costs one number per weight, and forgets slowly:
# $m \leftarrow \beta\,m + (1-\beta)\,\text{value}$. (From here on m is this average, and v the average of squares. A velocity, where there is one,
# is called u.) By hand, with β = 0.9 and the values 4, 4, 4, starting at 0:

# %%
m = np.array([0.4, 0.76, 1.084])  # 0.9·0 + 0.1·4, 0.9·0.4 + 0.1·4, 0.9·0.76 + 0.1·4
share = np.array([0.1, 0.19, 0.271])  # 1 - 0.9, 1 - 0.9², 1 - 0.9³

fig, axes = plt.subplots(1, 4, figsize=(10, 1.1))
for ax, row, title in zip(axes, [[4, 4, 4], m, share, m / share],
                          ["values", "m", "weight that the values have in m", "m / weight"]):
    draw_matrix(ax, row, title, highlight=np.full(3, title == "m / weight"))
plt.show()

# %% [markdown]
# All values are 4, and m says 0.4. The zero at the start still holds $0.9^t$ of the weight after t values, and the values
# only $1 - 0.9^t$. Divide by that, and the average is right from the first value on. This is *bias correction*.
#
# ### Exercise 2 ★★: running averages
#
# Go through the values along the first axis. Return the corrected average after each of them.

# %% exercise="averages" points=3 stars=2
def averages(values, beta):
    """Return the running average after each value, corrected for its start at 0.

    m_t = beta · m_{t−1} + (1 − beta) · value_t with m_0 = 0; result_t = m_t / (1 − beta^t),
    with t = 1 for the first value.

    Args:
        values: (T, …) numbers in order; 0 ≤ beta < 1.

    Returns:
        (T, …), of values' dtype.

    Source: Kingma and Ba (2015), section 3.
    """
    ### BEGIN SOLUTION update m with each value; collect m / (1 − beta^t)
    result, mean = np.zeros_like(values), np.zeros_like(values[0])
    for t, value in enumerate(values, 1):
        mean = beta * mean + (1 - beta) * value
        result[t - 1] = mean / (1 - beta**t)
    return result
    ### END SOLUTION

# %%
check(averages)

# %% probe="averages"
def probe(averages, rng):
    T, beta = int(rng.integers(4, 8)), rng.uniform(0.6, 0.95)
    values = rng.normal(2.0, 1.0, size=(T, 3))
    yield "the averages", np.asarray(averages(values, beta))
    yield "the averages of equal values", np.asarray(averages(np.full((T, 2), rng.uniform(1, 2)), beta))
    yield "the averages with beta 0", np.asarray(averages(values, 0.0))
    yield "the averages of a single value", np.asarray(averages(values[:1], beta))
    yield "the averages of plain numbers", np.asarray(averages(values[:, 0], beta))
    yield "the averages in float32", np.asarray(averages(values.astype(np.float32), beta))

# %% mistakes="averages"
mistake("the correction is left out", "Divide by the weight that the values have so far, 1 minus beta to the power t.",
        swap=("mean / (1 - beta**t)", "mean"))
mistake("the power is one too small", "After the first value t is 1. With t = 0 you divide by 1 - 1.",
        swap=("beta**t)", "beta**(t - 1))"))
mistake("the power is one too large", "After the first value t is 1: the weight of the start is then beta, not beta².",
        swap=("beta**t)", "beta**(t + 1))"))
mistake("beta is multiplied by t, not raised to it", "Each step leaves the start beta times what it had. After t steps that "
        "is a power.", swap=("beta**t)", "beta * t)"))
mistake("every average is divided by 1 - beta", "That fits the first value only. The weight of the values grows with t.",
        swap=("beta**t)", "beta)"))
mistake("the corrected average is carried on", "Keep the raw m for the next step, and correct a copy. Otherwise the correction is "
        "made again and again.", swap=("        result[t - 1] = mean / (1 - beta**t)",
                                       "        mean = mean / (1 - beta**t)\n        result[t - 1] = mean"))
mistake("beta and 1 - beta are swapped", "beta, close to 1, belongs to the old average: it changes slowly.",
        swap=("beta * mean + (1 - beta) * value", "(1 - beta) * mean + beta * value"))
mistake("the new value is added whole", "That is a velocity. In an average the value gets the weight 1 - beta.",
        swap=("(1 - beta) * value", "value"))
mistake("the first value is the start, and nothing is corrected", "The first value then keeps too much weight for a long time. "
        "Start at 0 and divide by the values' weight.",
        swap=("""    for t, value in enumerate(values, 1):
        mean = beta * mean + (1 - beta) * value
        result[t - 1] = mean / (1 - beta**t)""", """    for t, value in enumerate(values, 1):
        mean = beta * mean + (1 - beta) * value if t > 1 else value
        result[t - 1] = mean"""))
mistake("all values count the same", "This is the plain mean so far. In a running average older values fade.",
        swap=("result[t - 1] = mean / (1 - beta**t)", "result[t - 1] = values[:t].mean(axis=0)"))
mistake("the correction multiplies", "The raw average is too small by the factor 1 minus beta to the power t. Divide by it.",
        swap=("mean / (1 - beta**t)", "mean * (1 - beta**t)"))
mistake("the averages are always float64", "np.zeros makes float64 unless told otherwise. np.zeros_like(values) takes the dtype of the values.",
        swap=("np.zeros_like(values), ", "np.zeros(values.shape), "))
mistake("one array is collected again and again", "A list that gets the same array T times shows its last state T times. m *= beta changes that array: collect a copy, "
        "or write into a row of the result.",
        swap=("""    result, mean = np.zeros_like(values), np.zeros_like(values[0])
    for t, value in enumerate(values, 1):
        mean = beta * mean + (1 - beta) * value
        result[t - 1] = mean / (1 - beta**t)
    return result""", """    result, mean = [], np.zeros_like(values[0])
    for value in values:
        mean *= beta
        mean += (1 - beta) * value
        result.append(mean)
    weight = (1 - beta ** np.arange(1, len(values) + 1)).astype(values.dtype)
    return (np.array(result).T / weight).T"""))
mistake("only the last average is returned", "One average after each value is asked for: (T, …).",
        swap=("return result", "return result[-1]"))

# %% [markdown] hints="averages"
# Two variables: the raw average, which goes from step to step, and the corrected one, which is only handed out.
#
# ---
#
# m = beta · m + (1 − beta) · value; result = m / (1 − beta^t). `enumerate(values, 1)` counts from 1.
#
# ---
#
# ```python
# result, mean = np.zeros_like(values), np.zeros_like(values[0])
# for t, value in enumerate(values, 1):
#     mean = ...
#     result[t - 1] = mean / ...
# return result
# ```

# %% [markdown]
# What do averages of gradients tell? Here are two weights whose gradients are about as large. The average of the *gradients* says where to
# go. The average of their *squares*, under a root, says how large they are.

# %%
rng = np.random.default_rng(2)
grads = np.stack([rng.normal(3, 1, 60), rng.normal(0, 3, 60)], axis=1)  # (T, 2 weights)
mean, size = averages(grads, 0.9), np.sqrt(averages(grads**2, 0.9))

fig, axes = plt.subplots(1, 2, figsize=(11, 2.8), sharey=True)
for ax, w, title in zip(axes, range(2), ["gradients with a direction", "gradients without one"]):
    ax.plot(grads[:, w], ".", color=GREY, label="gradient")
    ax.plot(mean[:, w], color=BLUE, label="average")
    ax.plot(size[:, w], color=ORANGE, label="root of the average square")
    ax.plot((mean / size)[:, w], color=GREEN, label="average / root")
    ax.set(xlabel="step", title=title)
axes[0].legend(ncols=2, loc="lower right")
plt.show()

# %% [markdown]
# Look at green. Left it is close to 1: go on. Right it wavers about 0: there is nothing to follow. It never needs to know the unit
# of the gradient. All optimizers below are made of blue and orange.
#
# ## Maths
#
# For one weight with gradient $g$, at step $t$; every memory starts at 0. With arrays the formulas are the same, element by element.
#
# | name | memory | step |
# |---|---|---|
# | `RMSprop` | $v \leftarrow \alpha v + (1-\alpha)\,g^2$ | $\text{data} \leftarrow \text{data} - \text{lr}\, g / (\sqrt{v} + \varepsilon)$ |
# | `Adam` | $m \leftarrow \beta_1 m + (1-\beta_1)\,g$, $\;v \leftarrow \beta_2 v + (1-\beta_2)\,g^2$ | $\text{data} \leftarrow \text{data} - \text{lr}\, \hat m / (\sqrt{\hat v} + \varepsilon)$ |
#
# with $\hat m = m/(1-\beta_1^t)$ and $\hat v = v/(1-\beta_2^t)$. The small ε keeps the division alive where all gradients were 0. m and
# v are the first two *moments* of $g$; hence the name, *adaptive moments*.
#
# | array | shape | in the code |
# |---|---|---|
# | data, grad | the parameter's | `parameter.data`, `grad` |
# | $v$, $m$ | the parameter's, one each | `square`, `mean` |
# | $t$ | one number for all parameters | `self.steps` |
#
# ### Exercise 3 ★★: RMSprop
#
# The base class is given. `zeros_for(self.parameters)` makes one array of zeros per parameter. `self.moves` works as in chapter 06, but hands out
# every parameter as flat *pieces*, small ones in one piece; further down you will see why. A piece is a view. So write in place, into `parameter.data` and the
# memories.
#
# With `momentum`, a velocity u collects $g / (\sqrt v + \varepsilon)$, and the data moves by lr times the velocity. Without, `velocity`
# is None.

# %%
#| default_exp training.adaptive
#| export
"""Optimizers that divide each weight's step by the size of its own gradients, and clipping.

The size of a gradient depends on units and depth; here it no longer sets the length of a step.
"""

from types import SimpleNamespace

import numpy as np

from nyang_edu.training.optimizer import Optimizer


class Adaptive(Optimizer):
    """The base of the adaptive optimizers: moves in pieces that fit the cache.

    piece_size: the most elements that a step works on at once, of each array.
    """

    piece_size = 2**15

    def moves(self, *memories):
        """Yield each piece (data, grad) with its gradient, its lr, and its part of each memory.

        What is no array in a memory comes whole with every piece.
        """
        for parameter, place, *held in zip(self.parameters, self.group_of, *memories, strict=True):
            group = self.groups[place]
            arrays = [parameter.data, parameter.grad, *held]
            for data, grad, *parts in _cut(arrays, self.piece_size):
                piece = SimpleNamespace(data=data, grad=grad)
                yield piece, self.gradient(piece, group), group["lr"], *parts


def zeros_for(parameters):
    """List one array of zeros for each parameter, of its shape and dtype."""
    return [np.zeros_like(one.data) for one in parameters]


def _cut(values, size):
    """Yield equal stretches of all arrays among the values, as flat views, with the others."""
    arrays = [one for one in values if isinstance(one, np.ndarray)]
    if not all(one.flags.c_contiguous for one in arrays):  # a flat view would be a copy
        yield values
        return
    flat = [one.reshape(-1) if isinstance(one, np.ndarray) else one for one in values]
    for start in range(0, arrays[0].size, size):
        yield [one[start:start + size] if isinstance(one, np.ndarray) else one for one in flat]


def _expect(name, value, low, high):
    """Return a setting as a float; raise where it is not in low ≤ value < high."""
    if not low <= value < high:
        raise ValueError(f"{name} must be at least {low:g} and below {high:g}, received {value}")
    return float(value)

# %% exercise="RMSprop" points=4 stars=2
#| export
class RMSprop(Adaptive):
    """Divide each gradient by the root of its running mean square.

    v ← alpha · v + (1 − alpha) · grad², data ← data − lr · grad / (√v + eps).
    With momentum, a velocity u ← momentum · u + grad / (√v + eps) takes the fraction's place.

    Raises:
        ValueError: where alpha or momentum is not in 0 ≤ value < 1, or eps is negative; further
            as Optimizer.

    Source: Tieleman and Hinton, Neural Networks for Machine Learning (2012), lecture 6.5.
    """

    def __init__(self, parameters, lr=0.01, alpha=0.9, eps=1e-8, momentum=0.0, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.alpha, self.eps = _expect("alpha", alpha, 0, 1), _expect("eps", eps, 0, np.inf)
        self.momentum = _expect("momentum", momentum, 0, 1)
        self.squares, self.velocities = zeros_for(self.parameters), [None] * len(self.parameters)
        if momentum:
            self.velocities = zeros_for(self.parameters)

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        for parameter, grad, lr, square, velocity in self.moves(self.squares, self.velocities):
            ### BEGIN SOLUTION update square in place; divide; with momentum, update the velocity; move the data in place
            square *= self.alpha
            square += (1 - self.alpha) * grad**2
            direction = grad / (np.sqrt(square) + self.eps)
            if self.momentum:
                velocity *= self.momentum
                velocity += direction
                direction = velocity
            parameter.data -= lr * direction
            ### END SOLUTION

# %%
check(RMSprop)

# %% probe="RMSprop"
from nyang_edu.model.core import Parameter


def pair(rng, dtype=float):
    return [Parameter(rng.normal(size=(3, 2)).astype(dtype)) for _ in range(2)]


def push(parameters, rng, steps=0, optimizer=None):
    """New gradients of very different sizes, once, or before each of several steps."""
    for _ in range(max(steps, 1)):
        for one in parameters:
            size = 10 ** rng.uniform(-1, 2, size=one.data.shape)
            one.grad[...] = size * rng.choice([-1, 1], size=one.data.shape)
        if optimizer:
            optimizer.step()


def probe(RMSprop, rng):
    lr, alpha = rng.uniform(0.02, 0.1), rng.uniform(0.6, 0.95)
    two = pair(rng)
    held, optimizer = two[0].data, RMSprop(two, lr, alpha)
    push(two, rng)
    before = two[0].grad.copy()
    optimizer.step()
    yield "data after the first step", two[0].data
    yield "the array that was there before the step", held
    yield "the change of grad in a step", two[0].grad - before
    push(two, rng, 3, optimizer)
    yield "data after four steps", two[0].data
    yield "the second parameter after four steps", two[1].data
    optimizer.lr = lr / 4
    push(two, rng, 1, optimizer)
    yield "data after the learning rate has changed", two[0].data
    twins = [Parameter(one.data.copy()) for one in two]
    resumed = RMSprop(twins, lr, alpha)
    resumed.load_state_dict(optimizer.state_dict())
    push(twins, rng, 2, resumed)
    yield "data after saving and resuming", twins[1].data
    large = pair(rng)
    push(large, rng, 2, RMSprop(large, lr, alpha, eps=rng.uniform(0.5, 1)))
    yield "data with a large eps", large[0].data
    still = pair(rng)
    RMSprop(still, lr, alpha).step()
    yield "data where all gradients are 0", still[0].data
    heavy = pair(rng)
    optimizer = RMSprop(heavy, lr, alpha, momentum=rng.uniform(0.5, 0.9))
    push(heavy, rng, 3, optimizer)
    yield "data after three steps with momentum", heavy[0].data
    optimizer.lr = lr / 4
    push(heavy, rng, 1, optimizer)
    yield "data with momentum after the learning rate has changed", heavy[0].data
    low = pair(rng, np.float32)
    push(low, rng, 2, RMSprop([low[0], *low], lr, alpha))
    yield "a float32 parameter that was given twice", low[0].data
    grouped = pair(rng)
    optimizer = RMSprop([{"parameters": grouped[:1]}, {"parameters": grouped[1:], "lr": lr / 8}], lr, alpha)
    push(grouped, rng, 1, optimizer)
    yield "a parameter in a group with a smaller lr", grouped[1].data
    decayed = pair(rng)
    push(decayed, rng, 2, RMSprop(decayed, lr, alpha, weight_decay=rng.uniform(3, 6)))
    yield "data after two steps with weight_decay", decayed[0].data

# %% mistakes="RMSprop"
mistake("eps is inside the root", "First the root, then + eps. Inside, its own root is added, which is far larger.",
        swap=("np.sqrt(square) + self.eps", "np.sqrt(square + self.eps)"))
mistake("eps is left out", "A weight whose gradients were all 0 then gives 0 / 0. Add eps to the root.",
        swap=("np.sqrt(square) + self.eps", "np.sqrt(square)"))
mistake("the gradient is divided by the mean square without the root", "A square has the unit of the gradient squared. Its root has "
        "the unit that cancels.", swap=("np.sqrt(square) + self.eps", "square + self.eps"))
mistake("the gradients are averaged, and not their squares", "Gradients of both signs cancel. Their size is what counts here: square each "
        "first, then average.", swap=("(1 - self.alpha) * grad**2\n            direction = grad / (np.sqrt(square) + self.eps)",
                                      "(1 - self.alpha) * grad\n            direction = grad / (np.sqrt(square**2) + self.eps)"))
mistake("alpha and 1 - alpha are swapped", "alpha, close to 1, belongs to the old average.",
        swap=("square *= self.alpha\n            square += (1 - self.alpha)", "square *= 1 - self.alpha\n            square += self.alpha"))
mistake("the new square is added whole", "The average needs the weight 1 - alpha. Without it v grows too large.",
        swap=("(1 - self.alpha) * grad**2", "grad**2"))
mistake("the old squares do not fade", "Multiply the old average by alpha, or the steps shrink for ever.",
        swap=("            square *= self.alpha\n", ""))
mistake("the average is not kept", "square = … only binds a name, and the memory stays 0. Write into the array, "
        "with *= and +=.", swap=("square *= self.alpha\n            square +=", "square = self.alpha * square +"))
mistake("the division uses the average from before", "This step's gradient must be in v first. At the first step v would still be 0, and you "
        "divide by eps.", swap=("""            square *= self.alpha
            square += (1 - self.alpha) * grad**2
            direction = grad / (np.sqrt(square) + self.eps)
""", """            direction = grad / (np.sqrt(square) + self.eps)
            square *= self.alpha
            square += (1 - self.alpha) * grad**2
"""))
@mistake("the average is corrected for its start", "Bias correction comes with Adam. RMSprop, here as in PyTorch, takes v as it is.")
class RMSprop(reference):
    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.count = 0

    def step(self):
        self.count += 1
        for parameter, grad, lr, square, velocity in self.moves(self.squares, self.velocities):
            square += (1 - self.alpha) * (grad**2 - square)
            direction = grad / (np.sqrt(square / (1 - self.alpha**self.count)) + self.eps)
            if self.momentum:
                velocity *= self.momentum
                velocity += direction
                direction = velocity
            parameter.data -= lr * direction

mistake("the step goes uphill", "The gradient points to where the loss grows. Subtract.",
        swap=("parameter.data -= lr", "parameter.data += lr"))
mistake("the data does not move at all", "Is there a line that moves parameter.data? parameter.data = … does not: it binds the name to a new array and "
        "leaves the parameter's as it was. Use -=, which writes into it.", swap=("parameter.data -= lr * direction", "parameter.data = parameter.data - lr * direction"))
mistake("the gradient itself is divided in place", "grad is the parameter's own array. Leave it as it is, and make a new one.",
        swap=("direction = grad / (np.sqrt(square) + self.eps)", "grad /= np.sqrt(square) + self.eps\n            direction = grad"))
mistake("self.lr moves every group", "A group may have a learning rate of its own. self.moves hands it to you as lr.",
        swap=("parameter.data -= lr *", "parameter.data -= self.lr *"))
mistake("parameter.grad is taken in place of grad", "grad is what self.moves hands you: with weight_decay it holds more than "
        "parameter.grad does.", swap=("""(1 - self.alpha) * grad**2
            direction = grad /""", """(1 - self.alpha) * parameter.grad**2
            direction = parameter.grad /"""))
mistake("no velocity builds up", "With momentum the data moves along the velocity, and that has to last until the next step. velocity = … in the loop only binds a name, "
        "and the memory stays 0. Write into the array, with *= and +=.",
        swap=("if self.momentum:", "if False:"))
mistake("an array is asked whether it is true", "if velocity: asks an array of many numbers for one yes or no. Ask for self.momentum, or whether velocity is None.",
        swap=("if self.momentum:", "if velocity:"))
mistake("a velocity is updated where there is none", "Without momentum, velocity is None. Ask first: if self.momentum.",
        swap=("""            if self.momentum:
                velocity *= self.momentum
                velocity += direction
                direction = velocity
""", """            velocity *= self.momentum
            velocity += direction
            direction = velocity
"""))
mistake("the velocity collects undivided gradients", "The velocity adds up what has been divided already.",
        swap=("velocity += direction\n                direction = velocity",
              "velocity += grad\n                direction = velocity / (np.sqrt(square) + self.eps)"))
mistake("the velocity takes only 1 - momentum of the new direction", "That is an average. A velocity adds the new direction whole, as in SGD.",
        swap=("velocity += direction", "velocity += (1 - self.momentum) * direction"))
mistake("lr is inside the velocity", "In PyTorch's form lr multiplies at the step. Otherwise a new lr does not reach what the velocity "
        "already holds.", swap=("""velocity += direction
                direction = velocity
            parameter.data -= lr * direction""", """velocity += lr * direction
            parameter.data -= velocity if self.momentum else lr * direction"""))

# %% [markdown] hints="RMSprop"
# Update the memory first, then divide, then move. Everything that has to survive the step is written in place.
#
# ---
#
# square = alpha · square + (1 − alpha) · grad²; direction = grad / (√square + eps); velocity = momentum · velocity + direction.
#
# ---
#
# ```python
# square *= ...
# square += ...
# direction = grad / ...
# if self.momentum:
#     velocity *= ...
#     velocity += ...
#     direction = velocity
# parameter.data -= ...
# ```

# %% [markdown]
# ### Exercise 4 ★: how long is the first step?
#
# Answer on paper, from the table, with ε = 0. All memories are 0, and `Adam` has betas of 0.9 and 0.999. How far does a
# weight move in its very first step? A length has no sign. Write roots in full, as `2**0.5`, and not rounded.

# %% exercise="first_steps" points=1 stars=1 reveal=false
def first_steps(lr):
    """Return three lengths of a first step, with lr in them, worked out in advance.

    Returns:
        Adam's where the gradient is 0.001, Adam's where the gradient is 1000, and
        RMSprop's with alpha 0.9 where the gradient is 1000.
    """
    ### BEGIN SOLUTION three numbers that contain lr
    return lr, lr, lr / 0.1**0.5
    ### END SOLUTION

# %%
check(first_steps)

# %% probe="first_steps"
import inspect


def probe(first_steps, rng):
    lr = rng.uniform(0.001, 0.1)
    names = ["Adam's step for 0.001", "Adam's step for 1000", "RMSprop's step for 1000"]
    lengths = inspect.unwrap(first_steps)(lr)  # past the engine: an array is as good as a tuple
    if not isinstance(lengths, np.ndarray) or lengths.shape != (3,):
        lengths = first_steps(lr)  # the engine says what is wrong with it
    for name, value in zip(names, np.asarray(lengths, float), strict=True):
        yield name, value

# %% mistakes="first_steps"
@mistake("Adam's steps are those of SGD", "Put g into Adam's row of the table: what is left of g in the fraction?")
def first_steps(lr):
    return 0.001 * lr, 1000 * lr, reference(lr)[2]

@mistake("the bias correction is forgotten", "At t = 1 the correction is not small: work out m / (1 - β₁) first.")
def first_steps(lr):
    return 0.1 / 0.001**0.5 * lr, 0.1 / 0.001**0.5 * lr, reference(lr)[2]

@mistake("RMSprop is taken to correct its average", "Look at its row of the table: v there has no hat.")
def first_steps(lr):
    return lr, lr, lr

@mistake("the root is forgotten in RMSprop", "The gradient is divided by the root of v.")
def first_steps(lr):
    return lr, lr, lr / 0.1

@mistake("RMSprop's gradient is not cancelled", "v holds the square of the gradient itself. What is left of g in the fraction?")
def first_steps(lr):
    return lr, lr, 1000 * lr

@mistake("the root is rounded", "The check is exact: write the root in full, with **0.5.")
def first_steps(lr):
    return lr, lr, 3.16 * lr

@mistake("the old average's weight is used for RMSprop", "The first square enters v with the weight 1 - alpha.")
def first_steps(lr):
    return lr, lr, lr / 0.9**0.5

# %% [markdown] hints="first_steps"
# Put t = 1 and memories of 0 into the table, and cancel.
#
# ---
#
# Adam: m = 0.1 g, and m̂ = m / (1 − 0.9). Likewise v̂. RMSprop: v = 0.1 g², and nothing is corrected.
#
# ---
#
# ```python
# return ..., ..., lr / ...
# ```

# %% [markdown]
# That is Adam's promise: at first, `lr` *is* the length of a step, whatever the gradient.
#
# ### Exercise 5 ★★★: Adam
#
# `self.means` and `self.squares` go into `self.moves`, as in `RMSprop`. One step of the optimizer is one `t` for all parameters.

# %% exercise="Adam" points=5 stars=3
#| export
class Adam(Adaptive):
    """Step along the running mean of the gradients, divided by the root of their mean square.

    m ← β₁ · m + (1 − β₁) · grad, v ← β₂ · v + (1 − β₂) · grad², and with both corrected for
    their start at 0, data ← data − lr · m̂ / (√v̂ + eps).

    Raises:
        ValueError: where a beta is not in 0 ≤ beta < 1, or eps is negative; further as Optimizer.

    Source: Kingma and Ba (2015), algorithm 1.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.betas = tuple(_expect("each beta", beta, 0, 1) for beta in betas)
        self.eps, self.steps = _expect("eps", eps, 0, np.inf), 0
        ### BEGIN SOLUTION self.means and self.squares: zeros for every parameter, each its own
        self.means, self.squares = zeros_for(self.parameters), zeros_for(self.parameters)
        ### END SOLUTION

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        beta1, beta2 = self.betas
        ### BEGIN SOLUTION count the step; for each piece update mean and square, correct both, move the data
        self.steps += 1
        for parameter, grad, lr, mean, square in self.moves(self.means, self.squares):
            mean *= beta1
            mean += (1 - beta1) * grad
            square *= beta2
            square += (1 - beta2) * grad**2
            mean_hat = mean / (1 - beta1**self.steps)
            size = np.sqrt(square / (1 - beta2**self.steps))
            parameter.data -= lr * mean_hat / (size + self.eps)
        ### END SOLUTION

# %%
check(Adam)

# %% probe="Adam"
from nyang_edu.model.core import Parameter


def pair(rng, dtype=float):
    return [Parameter(rng.normal(size=(3, 2)).astype(dtype)) for _ in range(2)]


def push(parameters, rng, steps=0, optimizer=None):
    """New gradients of very different sizes, once, or before each of several steps."""
    for _ in range(max(steps, 1)):
        for one in parameters:
            size = 10 ** rng.uniform(-1, 2, size=one.data.shape)
            one.grad[...] = size * rng.choice([-1, 1], size=one.data.shape)
        if optimizer:
            optimizer.step()


def probe(Adam, rng):
    lr, betas = rng.uniform(0.02, 0.1), (rng.uniform(0.5, 0.7), rng.uniform(0.8, 0.95))
    one = [Parameter(rng.normal(size=(3, 2)))]
    held, optimizer = one[0].data, Adam(one, lr, betas)
    push(one, rng)
    before = one[0].grad.copy()
    optimizer.step()
    yield "data after the first step", one[0].data
    yield "the array that was there before the step", held
    yield "the change of grad in a step", one[0].grad - before
    push(one, rng, 3, optimizer)
    yield "data after four steps", one[0].data
    two = pair(rng)
    optimizer = Adam(two, lr, betas)
    push(two, rng, 3, optimizer)
    yield "the second of two parameters after three steps", two[1].data
    optimizer.lr = lr / 4
    push(two, rng, 1, optimizer)
    yield "data after the learning rate has changed", two[0].data
    twins = [Parameter(each.data.copy()) for each in two]
    resumed = Adam(twins, lr, betas)
    resumed.load_state_dict(optimizer.state_dict())
    push(twins, rng, 2, resumed)
    yield "data after saving and resuming", twins[1].data
    large = [Parameter(rng.normal(size=(3, 2)))]
    push(large, rng, 2, Adam(large, lr, betas, eps=rng.uniform(0.5, 1)))
    yield "data with a large eps", large[0].data
    still = pair(rng)
    Adam(still, lr, betas).step()
    yield "data where all gradients are 0", still[0].data
    low = pair(rng, np.float32)
    push(low, rng, 2, Adam([low[0], *low], lr, betas))
    yield "a float32 parameter that was given twice", low[0].data
    kinds = sorted({str(a.dtype) for a in vars(Adam(low)).get("means", []) if hasattr(a, "dtype")})
    yield "the dtype of float32 parameters' means", ", ".join(kinds) or "no arrays"
    grouped = pair(rng)
    optimizer = Adam([{"parameters": grouped[:1]}, {"parameters": grouped[1:], "lr": lr / 8}], lr, betas)
    push(grouped, rng, 1, optimizer)
    yield "a parameter in a group with a smaller lr", grouped[1].data
    decayed = [Parameter(rng.normal(size=(3, 2)))]
    push(decayed, rng, 2, Adam(decayed, lr, betas, weight_decay=rng.uniform(3, 6)))
    yield "data after two steps with weight_decay", decayed[0].data

# %% mistakes="Adam"
mistake("no average is corrected", "Both averages start at 0, and the one of the squares needs many steps to forget it. Divide each by 1 minus its "
        "beta to the power of the step.",
        swap=("""mean_hat = mean / (1 - beta1**self.steps)
            size = np.sqrt(square / (1 - beta2**self.steps))""", """mean_hat = mean
            size = np.sqrt(square)"""))
mistake("the mean is not corrected", "The mean of the gradients starts at 0 as well: divide it by 1 minus beta1 to the power of the step.",
        swap=("mean / (1 - beta1**self.steps)", "mean"))
mistake("the mean square is not corrected", "The mean square starts at 0 as well: divide it by 1 minus beta2 to the power of the step, under "
        "the root.", swap=("square / (1 - beta2**self.steps)", "square"))
mistake("both corrections use the first beta", "Each average is corrected with its own beta.",
        swap=("(1 - beta2**self.steps)", "(1 - beta1**self.steps)"))
mistake("the correction does not grow with the steps", "1 - beta fits the first step only. The power is the number of steps so far.",
        swap=("""(1 - beta1**self.steps)
            size = np.sqrt(square / (1 - beta2**self.steps))""", """(1 - beta1)
            size = np.sqrt(square / (1 - beta2))"""))
mistake("the step is counted after the parameters have moved", "At the first step t is already 1. With t = 0 the corrections divide by 0.",
        swap=("""(1 - beta1**self.steps)
            size = np.sqrt(square / (1 - beta2**self.steps))""", """(1 - beta1 ** (self.steps - 1))
            size = np.sqrt(square / (1 - beta2 ** (self.steps - 1)))"""))
mistake("the steps are counted inside the loop", "Then t grows once per parameter, and each has another t. Count once, before the loop.",
        swap=("""        self.steps += 1
        for parameter, grad, lr, mean, square in self.moves(self.means, self.squares):
""", """        for parameter, grad, lr, mean, square in self.moves(self.means, self.squares):
            self.steps += 1
"""))
mistake("eps is inside the root", "First the root, then + eps. Inside, its own root is added, which is far larger.",
        swap=("""size = np.sqrt(square / (1 - beta2**self.steps))
            parameter.data -= lr * mean_hat / (size + self.eps)""", """size = np.sqrt(square / (1 - beta2**self.steps) + self.eps)
            parameter.data -= lr * mean_hat / size"""))
mistake("eps is added before the correction", "eps joins the corrected root. Before the correction, the division by a small number magnifies it.",
        swap=("""np.sqrt(square / (1 - beta2**self.steps))
            parameter.data -= lr * mean_hat / (size + self.eps)""", """(np.sqrt(square) + self.eps) / np.sqrt(1 - beta2**self.steps)
            parameter.data -= lr * mean_hat / size"""))
mistake("eps is left out", "A weight whose gradients were all 0 then gives 0 / 0.", swap=("(size + self.eps)", "size"))
mistake("the mean is divided by the mean square without the root", "A square has the unit of the gradient squared. Its root has the unit that cancels.",
        swap=("np.sqrt(square / (1 - beta2**self.steps))", "square / (1 - beta2**self.steps)"))
mistake("the square of the mean stands for the mean of the squares", "Square each gradient, then average. The square of an average forgets how "
        "large gradients of both signs were.", swap=("(1 - beta2) * grad**2", "(1 - beta2) * mean**2"))
mistake("the correction of the mean square stands outside the root", "Correct the mean square first, then take the root of what comes out.",
        swap=("np.sqrt(square / (1 - beta2**self.steps))", "np.sqrt(square) / (1 - beta2**self.steps)"))
mistake("beta is multiplied by the steps, not raised to them", "Each step leaves the start beta times what it had. After t steps that is a power.",
        swap=("""(1 - beta1**self.steps)
            size = np.sqrt(square / (1 - beta2**self.steps))""", """(1 - beta1 * self.steps)
            size = np.sqrt(square / (1 - beta2 * self.steps))"""))
mistake("the betas are swapped", "The first beta belongs to the mean of the gradients, the second to the mean of their squares.",
        swap=("beta1, beta2 = self.betas", "beta2, beta1 = self.betas"))
mistake("beta and 1 - beta are swapped", "The betas, close to 1, belong to the old averages.",
        swap=("beta1, beta2 = self.betas", "beta1, beta2 = (1 - beta for beta in self.betas)"))
mistake("the mean's gradient is added whole", "An average gives the new value the weight 1 - beta1. Added whole, it is a velocity.",
        swap=("mean += (1 - beta1) * grad", "mean += grad"))
mistake("the gradient is followed, not its mean", "That is RMSprop, corrected. Adam moves along the corrected mean.",
        swap=("lr * mean_hat", "lr * grad"))
mistake("the corrected mean is kept", "The memory holds the raw average. The corrected one lasts for this step only, under another name.",
        swap=("mean_hat = mean / (1 - beta1**self.steps)", "mean /= 1 - beta1**self.steps\n            mean_hat = mean"))
mistake("both corrected averages are kept", "The memories hold the raw averages. The corrected ones last for this step only, under other names: /= writes into the memory.",
        swap=("""mean_hat = mean / (1 - beta1**self.steps)
            size = np.sqrt(square / (1 - beta2**self.steps))""", """mean /= 1 - beta1**self.steps
            square /= 1 - beta2**self.steps
            mean_hat, size = mean, np.sqrt(square)"""))
mistake("the mean square is not kept", "square = … in the loop only binds a name, and the memory stays 0. Write into the array, with *= and +=.",
        swap=("            square *= beta2\n            square += (1 - beta2)", "            square = beta2 * square + (1 - beta2)"))
mistake("the mean is not kept", "mean = … in the loop only binds a name, and the memory stays 0. Write into the array, with *= and +=.",
        swap=("            mean *= beta1\n            mean += (1 - beta1)", "            mean = beta1 * mean + (1 - beta1)"))
mistake("the mean square is never updated", "It stays 0, and the mean is divided by eps alone. Every step, square gets its share of grad².",
        swap=("            square *= beta2\n            square += (1 - beta2) * grad**2\n", ""))
mistake("all parameters share one memory", "[zeros] * n is a list that holds one array n times. zeros_for makes one for each parameter.",
        swap=("self.means, self.squares = zeros_for(self.parameters), zeros_for(self.parameters)",
              "self.means, self.squares = ([np.zeros_like(self.parameters[0].data)] * len(self.parameters) for _ in range(2))"))
mistake("one memory serves as mean and as square", "self.means = self.squares = … gives one list two names. Call zeros_for for each.",
        swap=("self.means, self.squares = zeros_for(self.parameters), zeros_for(self.parameters)", "self.means = self.squares = zeros_for(self.parameters)"))
mistake("the averages are not kept", "mean = … in the loop only binds a name, and the memory stays 0. Write into the arrays, with *= and +=.",
        swap=("""            mean *= beta1
            mean += (1 - beta1) * grad
            square *= beta2
            square += (1 - beta2) * grad**2""", """            mean = beta1 * mean + (1 - beta1) * grad
            square = beta2 * square + (1 - beta2) * grad**2"""))
mistake("the step goes uphill", "The mean points to where the loss grows. Subtract.", swap=("parameter.data -=", "parameter.data +="))
mistake("the data does not move at all", "Is there a line that moves parameter.data, and is the mean updated before, so that it is not 0? parameter.data = … moves "
        "nothing: it binds the name to a new array and leaves the parameter's as it was. Use -=, which writes into it.",
        swap=("parameter.data -= lr", "parameter.data = parameter.data - lr"))
mistake("self.lr moves every group", "A group may have a learning rate of its own. self.moves hands it to you as lr.",
        swap=("-= lr *", "-= self.lr *"))
mistake("parameter.grad is taken in place of grad", "grad is what self.moves hands you: with weight_decay it holds more than parameter.grad does.",
        swap=("in self.moves(self.means, self.squares):", "in self.moves(self.means, self.squares):\n            grad = parameter.grad"))
mistake("the gradient itself is changed", "grad is the parameter's own array. Leave it as it is: grad *= … writes into it.",
        swap=("            square *= beta2\n            square += (1 - beta2) * grad**2",
                       "            grad *= grad\n            square *= beta2\n            square += (1 - beta2) * grad"))

# %% [markdown] hints="Adam"
# It is the exercise on averages, once for grad and once for grad², with the memories in place of the local variable. Then one division.
#
# ---
#
# t = self.steps after counting. m̂ = mean / (1 − beta1^t), v̂ = square / (1 − beta2^t), data −= lr · m̂ / (√v̂ + eps).
#
# ---
#
# ```python
# # __init__
# self.means, self.squares = ..., ...
#
# # step
# self.steps += 1
# for parameter, grad, lr, mean, square in self.moves(self.means, self.squares):
#     mean *= ...
#     mean += ...
#     square *= ...
#     square += ...
#     parameter.data -= lr * (...) / (... + self.eps)
# ```

# %% [markdown]
# ## See: the race
#
# The same landscapes, 60 steps. Each optimizer has one learning rate for all three.

# %%
racers = {"SGD": lambda p: SGD(p, 0.01), "momentum": lambda p: SGD(p, 0.005, momentum=0.9),
          "Nesterov": lambda p: SGD(p, 0.005, momentum=0.9, nesterov=True),
          "RMSprop": lambda p: RMSprop(p, 0.06), "Adam": lambda p: Adam(p, 0.15)}

fig, axes = plt.subplots(1, 3, figsize=(11, 3.2))
for ax, name in zip(axes, surfaces):
    draw_walks(ax, name, racers, 60)
fig.legend(*axes[0].get_legend_handles_labels(), ncols=5, loc="outside lower center")
plt.show()

# %% [markdown]
# Ravine: RMSprop and Adam set out equally fast along both axes, as if the valley were round. Saddle: they walk past it at once, since a tiny
# gradient is divided by its own tiny size. The others stay on the line. Banana: momentum and Nesterov get round the bend to the end.
#
# The next cell counts who ends within 0.25 of a lowest point. Then it multiplies the loss by 1,000, a mere change of unit.

# %% tags=["nbval-check-output"]
def times_1000(w):
    value, grad = ravine(w)
    return 1000 * value, 1000 * grad


def arrives(make, surface, start, view, lowest):
    end = walk(make, surface, start, 60)[-1]
    return min(np.hypot(*(end - point)) for point in lowest) < 0.25


with np.errstate(all="ignore"):  # some overflow
    for name, make in racers.items():
        there = [place for place, about in surfaces.items() if arrives(make, *about)]
        ends = [walk(make, surface, (-4.0, 0.9), 60)[-1] for surface in (ravine, times_1000)]
        print(f"{name:9} arrives in: {', '.join(there) or 'none':15}  same walk with 1000 times the loss: "
              f"{np.allclose(*ends)}")

# %% [markdown]
# Questions for the control. How far can you raise `lr` before Adam leaves the picture, and SGD? What does a high momentum do on the
# banana? (For Adam, that slider sets the first beta.)

# %%
from ipywidgets import FloatLogSlider, FloatSlider, interact

controlled = {"SGD": lambda p, lr, m: SGD(p, lr, momentum=m),
              "RMSprop": lambda p, lr, m: RMSprop(p, lr, momentum=m),
              "Adam": lambda p, lr, m: Adam(p, lr, betas=(m, 0.999))}


def one_race(surface="banana", optimizer="Adam", lr=0.1, momentum=0.9):
    fig, ax = plt.subplots(figsize=(5, 3))
    with np.errstate(all="ignore"):
        draw_walks(ax, surface, {optimizer: lambda p: controlled[optimizer](p, lr, momentum)}, 80)
    plt.show()


interact(one_race, surface=list(surfaces), optimizer=list(controlled),
         lr=FloatLogSlider(value=0.1, base=10, min=-4, max=0.5, step=0.05),
         momentum=FloatSlider(value=0.9, min=0, max=0.98, step=0.02));

# %% [markdown]
# ## Why the pieces: count the bytes
#
# The sums of a step take a processor no time. What takes time is the way to memory. Each line of your `step` reads and writes whole
# arrays, and for millions of weights they do not fit into the processor's cache: every line fetches them anew.
#
# At the least, a step has to read data, grad, mean and square, and write back all but grad. Cut into pieces, what passes between your
# lines stays in the cache, and only that least travels. The code is the same.

# %%
from time import perf_counter

BYTES = 4  # of one float32
least = BYTES * sum({"data": 2, "grad": 1, "mean": 2, "square": 2}.values())
print(f"at the least {least} bytes per weight and step")


def seconds(piece_size, turns=3):
    optimizer.piece_size, times = piece_size, []
    for _ in range(turns):
        start = perf_counter()
        optimizer.step()
        times.append(perf_counter() - start)
    return min(times)


big = Parameter(np.random.default_rng(0).standard_normal(4_000_000, np.float32))
optimizer = Adam([big])
whole, pieces = seconds(big.data.size), seconds(Adaptive.piece_size)
print(f"4 million weights: whole {1000 * whole:.0f} ms, in pieces {1000 * pieces:.0f} ms, "
      f"{whole / pieces:.1f} times as fast")

# %% [markdown]
# Each record is one more array of the parameter's size. What an optimizer holds per weight, besides data and gradient (`SGD` keeps
# its velocity even where momentum is 0):

# %% tags=["nbval-check-output"]
def held_bytes(optimizer):
    lists = [value for value in vars(optimizer).values() if isinstance(value, list)]
    return sum(one.nbytes for values in lists for one in values if isinstance(one, np.ndarray))


one_million = Parameter(np.zeros(1_000_000, np.float32))
for name, make in racers.items():
    print(f"{name:9} {held_bytes(make([one_million])) // one_million.data.size} bytes per weight")

# %% [markdown]
# ## Weight decay: break it and say why
#
# Large weights let a network learn by heart. *Weight decay* pulls every weight towards 0. The classical way adds λ · data to
# the gradient; it is called *L2*, as it is the gradient of $\tfrac{\lambda}{2}\,\text{data}^2$. The base class does that, under the name
# `weight_decay`. Plain SGD then shrinks each weight by the share lr · λ per step. But in Adam, all that is in the gradient gets
# divided.
#
# ### Exercise 6 ★: how much does it shrink?
#
# A weight's gradients are noise, +scale and −scale at random. So on average they do not move it, and $\sqrt{\hat v}$ is about scale. λ · data is
# far smaller. By how much does the decay alone shrink the weight per step, on average, in Adam with L2? And where the decay is *decoupled*: it
# goes past the division, straight to the data, as lr · λ · data?

# %% exercise="decay_per_step" points=1 stars=1
def decay_per_step(data, scale, lr, weight_decay):
    """Return by how much decay shrinks data in one step: inside Adam's gradient, and decoupled.

    Args:
        data, scale: positive arrays of equal shape; scale is the size of the gradients.
        lr, weight_decay: numbers; take eps as 0.
    """
    ### BEGIN SOLUTION two arrays: the share of the mean that is decay, divided; the decay itself
    return lr * weight_decay * data / scale, lr * weight_decay * data
    ### END SOLUTION

# %%
check(decay_per_step)

# %% probe="decay_per_step"
import inspect


def probe(decay_per_step, rng):
    data, scale = rng.uniform(1, 2, size=3), rng.uniform(3, 20, size=3)
    lr, decay = rng.uniform(0.01, 0.1), rng.uniform(0.1, 0.5)
    both = inspect.unwrap(decay_per_step)(data.copy(), scale.copy(), lr, decay)
    if not isinstance(both, np.ndarray) or both.shape != (2, 3):  # an array is as good as a tuple
        both = decay_per_step(data, scale, lr, decay)
    inside, decoupled = both
    yield "the shrinkage inside the gradient", inside
    yield "the shrinkage where it is decoupled", decoupled

# %% mistakes="decay_per_step"
@mistake("Adam is taken to leave the decay as it is", "Inside the gradient, the decay is divided by √v̂ like everything else.")
def decay_per_step(data, scale, lr, weight_decay):
    return lr * weight_decay * data, lr * weight_decay * data

@mistake("the decay is divided by the square of the scale", "The gradient is divided by the root of v̂, which is about scale.")
def decay_per_step(data, scale, lr, weight_decay):
    return lr * weight_decay * data / scale**2, lr * weight_decay * data

@mistake("the decay is multiplied by the scale", "A large v̂ makes steps smaller.")
def decay_per_step(data, scale, lr, weight_decay):
    return lr * weight_decay * data * scale, lr * weight_decay * data

@mistake("lr is left out of the decoupled decay", "Decoupled from the division, but not from lr: lr · λ · data.")
def decay_per_step(data, scale, lr, weight_decay):
    return lr * weight_decay * data / scale, weight_decay * data

@mistake("the two answers are swapped", "First the decay inside the gradient, then the decoupled one.")
def decay_per_step(data, scale, lr, weight_decay):
    return lr * weight_decay * data, lr * weight_decay * data / scale

@mistake("the signs are those of the step", "The question is by how much the weight shrinks: a positive number.")
def decay_per_step(data, scale, lr, weight_decay):
    return -lr * weight_decay * data / scale, -lr * weight_decay * data

# %% [markdown] hints="decay_per_step"
# What is the mean of the gradients when λ · data is added to each? And by what is it divided?
#
# ---
#
# The noise cancels in the mean, and λ · data stays. Adam's step is lr · mean / √v̂ with √v̂ ≈ scale.
#
# ---
#
# ```python
# return lr * weight_decay * data / ..., ...
# ```

# %% [markdown]
# The weights with the largest gradients are held back least. Loshchilov and Hutter (2019) took the decay out of the gradient: the W in
# AdamW.
#
# ### Exercise 7 ★★: AdamW
#
# `self.moves` asks `self.gradient` for the gradient of every piece, right before you move it. In the base class that method adds L2. Yours returns the
# gradient bare, and shrinks the data itself, in place: data ← data − lr · λ · data, with the group's own lr and λ. All else is
# inherited.

# %% exercise="AdamW" points=3 stars=2
#| export
class AdamW(Adam):
    """Adam with decoupled weight decay: data ← data − lr · weight_decay · data, then Adam's step.

    Source: Loshchilov and Hutter (2019), section 2, algorithm 2.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def gradient(self, parameter, group):
        """Shrink data, and return grad without any decay in it.

        Args:
            parameter: has data and grad.
            group: a dict with "lr" and "weight_decay".
        """
        ### BEGIN SOLUTION shrink parameter.data in place by the group's lr · weight_decay; return the bare gradient
        parameter.data *= 1 - group["lr"] * group["weight_decay"]
        return parameter.grad
        ### END SOLUTION

# %%
check(AdamW)

# %% probe="AdamW"
from nyang_edu.model.core import Parameter


def pair(rng, dtype=float):
    return [Parameter(rng.normal(size=(3, 2)).astype(dtype)) for _ in range(2)]


def push(parameters, rng, steps, optimizer):
    for _ in range(steps):
        for one in parameters:
            one.grad[...] = rng.normal(size=one.data.shape) * 10
        optimizer.step()


def probe(AdamW, rng):
    lr, decay = rng.uniform(0.02, 0.1), rng.uniform(2, 5)
    two = pair(rng)
    optimizer = AdamW(two, lr, weight_decay=decay)
    held, before = two[0].data, two[0].grad.copy()
    optimizer.step()
    yield "data after a step where all gradients are 0", two[0].data
    yield "the array that was there before the step", held
    yield "the change of grad in that step", two[0].grad - before
    two = pair(rng)
    optimizer = AdamW(two, lr, weight_decay=decay)
    push(two, rng, 1, optimizer)
    yield "data after a first step", two[0].data
    push(two, rng, 2, optimizer)
    yield "the second parameter after three steps", two[1].data
    plain = pair(rng)
    push(plain, rng, 2, AdamW(plain, lr, weight_decay=0.0))
    yield "data without weight_decay", plain[0].data
    usual = pair(rng)
    push(usual, rng, 2, AdamW(usual, lr))
    yield "data with the weight_decay that is set by default", usual[0].data
    slow = pair(rng)
    optimizer = AdamW([{"parameters": slow[:1]}, {"parameters": slow[1:], "lr": lr / 8}], lr, weight_decay=decay)
    push(slow, rng, 1, optimizer)
    yield "a parameter in a group with a smaller lr", slow[1].data
    free = pair(rng)
    optimizer = AdamW([{"parameters": free[:1]}, {"parameters": free[1:], "weight_decay": 0.0}], lr, weight_decay=decay)
    push(free, rng, 1, optimizer)
    yield "a parameter in a group without decay", free[1].data
    low = pair(rng, np.float32)
    push(low, rng, 2, AdamW([low[0], *low], lr, weight_decay=decay))
    yield "a float32 parameter that was given twice", low[0].data

# %% mistakes="AdamW"
mistake("the decay is added to the gradient", "That is L2, which Adam divides. Leave the gradient bare, and shrink the data.",
        swap=("""        parameter.data *= 1 - group["lr"] * group["weight_decay"]
        return parameter.grad""", """        return parameter.grad + group["weight_decay"] * parameter.data"""))
mistake("the data shrinks, and L2 is added as well", "The inherited gradient still holds the decay. Return parameter.grad.",
        swap=("return parameter.grad", "return super().gradient(parameter, group)"))
mistake("lr is left out of the decay", "The data shrinks by the share lr · weight_decay. Without lr it is gone in a few steps.",
        swap=("""group["lr"] * group["weight_decay"]""", """group["weight_decay"]"""))
mistake("the data is multiplied by the decay itself", "The share lr · weight_decay is what is lost. What stays is 1 minus that.",
        swap=("1 - group[\"lr\"]", "group[\"lr\"]"))
mistake("the weights grow", "Decay makes data smaller: the factor is below 1.", swap=("1 - group", "1 + group"))
mistake("the decay uses the lr of the first group", "self.lr is that of the first group. The group at hand knows its own: group[\"lr\"].",
        swap=("group[\"lr\"] *", "self.lr *"))
mistake("every group decays like the first", "A group may set a weight_decay of its own, or 0: group[\"weight_decay\"].",
        swap=("group[\"weight_decay\"]", "self.groups[0][\"weight_decay\"]"))
mistake("nothing decays", "Before the gradient is returned, parameter.data has to shrink, in place.",
        swap=("        parameter.data *= 1 - group[\"lr\"] * group[\"weight_decay\"]\n", ""))
mistake("the shrunk data is bound to a new array", "parameter.data = … leaves the array of the parameter as it was. Use *= or -=, "
        "which write into it.", swap=("parameter.data *= 1 - group[\"lr\"] * group[\"weight_decay\"]",
                                      "parameter.data = parameter.data * (1 - group[\"lr\"] * group[\"weight_decay\"])"))
mistake("every parameter shrinks with every piece", "gradient is asked once for each piece. Shrink that piece alone, parameter.data, and leave self.parameters out.",
        swap=("        parameter.data *= 1 -", "        for one in self.parameters:\n            one.data *= 1 -"))
mistake("the gradient shrinks in place of the data", "The gradient stays as it is. The data decays.", swap=("parameter.data *=", "parameter.grad *="))
mistake("a constant is subtracted, whatever the weight's size", "The decay is in proportion to data: lr · weight_decay · data.",
        swap=("parameter.data *= 1 - group[\"lr\"] * group[\"weight_decay\"]", "parameter.data -= group[\"lr\"] * group[\"weight_decay\"]"))

@mistake("the data shrinks after the step, not before", "Algorithm 2 takes the decay from the data as it was before the step. What Adam has just added "
         "does not decay yet.")
class AdamW(reference):
    def gradient(self, parameter, group):
        return parameter.grad

    def step(self):
        super().step()
        for one, place in zip(self.parameters, self.group_of, strict=True):
            group = self.groups[place]
            one.data *= 1 - group["lr"] * group["weight_decay"]

# %% [markdown] hints="AdamW"
# Two lines. The first changes the data, the second returns the gradient as it is.
#
# ---
#
# data − lr · λ · data is data · (1 − lr · λ). lr and λ stand in `group`.
#
# ---
#
# ```python
# parameter.data *= 1 - ...
# return ...
# ```

# %% [markdown]
# Put your prediction to the test: 30 sizes of gradient, 100 weights each, all starting at 1. The gradients are pure noise.

# %%
scale, steps, decay = np.geomspace(0.5, 50, 30), 4000, 0.25


def remaining(optimizer_class):
    w, rng = Parameter(np.ones((100, 30))), np.random.default_rng(0)
    optimizer = optimizer_class([w], lr=1e-3, weight_decay=decay)
    for _ in range(steps):
        w.grad[...] = scale * rng.choice([-1, 1], size=w.data.shape)
        optimizer.step()
    return w.data.mean(axis=0)  # (30,)


inside, decoupled = decay_per_step(1.0, scale, 1e-3, decay)
left = {"Adam with L2": remaining(Adam), "AdamW": remaining(AdamW)}

fig, ax = plt.subplots(figsize=(7, 2.8))
for (name, values), per_step, colour in zip(left.items(), [inside, decoupled], [ORANGE, BLUE]):
    ax.semilogx(scale, values, ".", color=colour, label=name)
    ax.semilogx(scale, (1 - per_step) ** steps + 0 * scale, color=colour, lw=1, label="your prediction")
ax.set(xlabel="size of the gradients", ylabel="what is left of the weight", title=f"{steps:,} steps of noise, starting at 1")
ax.legend()
plt.show()

# %% [markdown]
# With L2 inside Adam, hardly anything decays on the right. AdamW treats all alike. (Where λ · data is not small beside the gradients,
# at the left end, the prediction is an estimate.)
#
# ## AdaBound: from Adam to SGD
#
# Adam is fast early on. But Luo et al. (2019) report that on their tasks SGD often ended with the better network, and go from one to the
# other without a break. Adam's step is a *rate*, $\text{lr}/\sqrt{v}$, times $m$. AdaBound clips the rate between two bounds:
#
# $$\text{lower}_t = \text{final}\left(1 - \frac{1}{\gamma t + 1}\right), \qquad \text{upper}_t = \text{final}\left(1 + \frac{1}{\gamma t}\right).$$
#
# At first they are far apart and hardly clip. Later both close in on one rate for all weights, as in SGD.
#
# ### Exercise 8 ★★★: AdaBound
#
# Two holes: the bounds, and the step. As in the authors' program, the corrections and ε stand in the rate:
# $\text{rate} = \text{lr}\,\frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \,/\, (\sqrt v + \varepsilon)$, then data ← data − clip(rate) · m. The final rate
# follows a schedule's `lr` in proportion: final = `final_lr` · lr / `first_lr`, and `self.moves` hands out
# `first_lr`, the lr that the group began with.

# %% exercise="AdaBound" points=5 stars=3
#| export
class AdaBound(Adam):
    """Adam whose rates are clipped between bounds that close in on one rate, as in SGD.

    rate = lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) / (√v + eps), data ← data − clip(rate, lower, upper) · m,
    the form of the authors' program. The bounds close in on final_lr · lr / (lr's first value).

    Raises:
        ValueError: where final_lr or gamma is not above 0; further as Adam.

    Source: Luo, Xiong, Liu, Sun (2019), algorithm 2.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), final_lr=0.1, gamma=1e-3,
                 eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, betas, eps, weight_decay)
        if final_lr <= 0 or gamma <= 0:
            raise ValueError("final_lr and gamma must be above 0, received "
                             f"{final_lr} and {gamma}: try 0.1 and 0.001")
        self.final_lr, self.gamma = float(final_lr), float(gamma)
        self.first_lrs = [self.groups[place]["lr"] for place in self.group_of]

    def bounds(self, final):
        """Return the lower and the upper bound of the rates at the current step."""
        ### BEGIN SOLUTION the two formulas, with self.gamma and self.steps
        progress = self.gamma * self.steps
        return final * (1 - 1 / (progress + 1)), final * (1 + 1 / progress)
        ### END SOLUTION

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        beta1, beta2 = self.betas
        self.steps += 1
        correction = (1 - beta2**self.steps) ** 0.5 / (1 - beta1**self.steps)
        for parameter, grad, lr, mean, square, first_lr in self.moves(
                self.means, self.squares, self.first_lrs):
            ### BEGIN SOLUTION update mean and square in place; the rate; clip it; move the data in place
            mean *= beta1
            mean += (1 - beta1) * grad
            square *= beta2
            square += (1 - beta2) * grad**2
            rate = lr * correction / (np.sqrt(square) + self.eps)
            lower, upper = self.bounds(self.final_lr * lr / first_lr)
            parameter.data -= np.clip(rate, lower, upper) * mean
            ### END SOLUTION

# %%
check(AdaBound)

# %% probe="AdaBound"
import inspect

from nyang_edu.model.core import Parameter


def pair(rng, dtype=float):
    return [Parameter(rng.normal(size=(3, 4)).astype(dtype)) for _ in range(2)]


def push(parameters, rng, steps, optimizer):
    """Sizes of gradients that reach below, between and above the bounds."""
    for _ in range(steps):
        for one in parameters:
            size = np.array([0.01, 1.0, 100.0, 3.0]) * rng.uniform(0.5, 2, size=one.data.shape)
            one.grad[...] = size * rng.choice([-1, 1], size=one.data.shape)
        optimizer.step()


def probe(AdaBound, rng):
    lr, gamma, final = rng.uniform(0.2, 0.4), rng.uniform(0.2, 0.5), rng.uniform(0.1, 0.2)
    settings = {"betas": (0.6, 0.9), "final_lr": final, "gamma": gamma}
    two = pair(rng)
    optimizer = AdaBound(two, lr, **settings)
    optimizer.steps = int(rng.integers(3, 9))
    both = inspect.unwrap(AdaBound.bounds)(optimizer, 1.0)  # an array is as good as a tuple
    lower, upper = both if isinstance(both, np.ndarray) and both.shape == (2,) else optimizer.bounds(1.0)
    yield "the lower bound", float(lower)
    yield "the upper bound", float(upper)
    two = pair(rng)
    held, optimizer = two[0].data, AdaBound(two, lr, **settings)
    push(two, rng, 1, optimizer)
    yield "data after the first step", two[0].data
    yield "the array that was there before the step", held
    push(two, rng, 3, optimizer)
    yield "the second parameter after four steps", two[1].data
    optimizer.lr = lr / 4
    push(two, rng, 1, optimizer)
    yield "data after the learning rate has changed", two[0].data
    twins = [Parameter(one.data.copy()) for one in two]
    resumed = AdaBound(twins, lr, **settings)
    resumed.load_state_dict(optimizer.state_dict())
    push(twins, rng, 2, resumed)
    yield "data after saving and resuming", twins[1].data
    wide = pair(rng)
    push(wide, rng, 3, AdaBound(wide, 0.01, final_lr=0.01, gamma=1e-7, betas=(0.6, 0.9)))
    yield "data while the bounds are far apart", wide[0].data
    large = pair(rng)
    push(large, rng, 2, AdaBound(large, lr, eps=rng.uniform(0.5, 1), **settings))
    yield "data with a large eps", large[0].data
    still = pair(rng)
    AdaBound(still, lr, **settings).step()
    yield "data where all gradients are 0", still[0].data
    low = pair(rng, np.float32)
    push(low, rng, 2, AdaBound([low[0], *low], lr, **settings))
    yield "a float32 parameter that was given twice", low[0].data
    grouped = pair(rng)
    groups = [{"parameters": grouped[:1]}, {"parameters": grouped[1:], "lr": lr / 8}]
    push(grouped, rng, 2, AdaBound(groups, lr, **settings))
    yield "a parameter in a group with a smaller lr", grouped[1].data
    decayed = pair(rng)
    push(decayed, rng, 2, AdaBound(decayed, lr, weight_decay=rng.uniform(3, 6), **settings))
    yield "data after two steps with weight_decay", decayed[0].data

# %% mistakes="AdaBound"
mistake("the bounds are swapped", "bounds returns the lower one first.",
        swap=("return final * (1 - 1 / (progress + 1)), final * (1 + 1 / progress)",
              "return final * (1 + 1 / progress), final * (1 - 1 / (progress + 1))"))
mistake("the lower bound starts below 0", "1 - 1/(γt) is negative at first. The lower bound has γt + 1 in it.",
        swap=("1 / (progress + 1)", "1 / progress"))
mistake("the upper bound has γt + 1 in it", "The upper bound is final · (1 + 1/(γt)): it starts very high.",
        swap=("1 + 1 / progress", "1 + 1 / (progress + 1)"))
mistake("gamma multiplies t + 1", "In the lower bound 1 is added to γ · t, and not to t.",
        swap=("1 / (progress + 1)", "1 / (progress + self.gamma)"))
mistake("the bounds do not depend on the step", "They close in as t grows: γ · t, with self.steps for t.",
        swap=("self.gamma * self.steps", "self.gamma"))
mistake("the bounds are lr's, not those of the final rate", "They close in on final_lr. lr belongs to the rate that is clipped.",
        swap=("self.bounds(self.final_lr * lr / first_lr)", "self.bounds(lr)"))
mistake("the final rate does not follow lr", "When a schedule lowers lr, the final rate has to fall in proportion: lr / first_lr.",
        swap=("self.final_lr * lr / first_lr", "self.final_lr"))
mistake("the final rate moves against lr", "When lr falls, the final rate falls with it, in proportion: lr / first_lr, and not the other way round.",
        swap=("self.final_lr * lr / first_lr", "self.final_lr * first_lr / lr"))
mistake("lr is compared with the first lr of the first parameter", "A group may have begun with another lr. self.moves hands you the right one as first_lr.",
        swap=("self.final_lr * lr / first_lr", "self.final_lr * lr / self.first_lrs[0]"))
mistake("lr is left out of the rate", "The rate that is clipped is lr · correction / (√square + eps).",
        swap=("rate = lr * correction /", "rate = correction /"))
mistake("the corrected averages of Adam are used", "Here both corrections stand in the rate, as one number, before it is clipped. The clipped rate multiplies the raw mean.",
        swap=("""            rate = lr * correction / (np.sqrt(square) + self.eps)
            lower, upper = self.bounds(self.final_lr * lr / first_lr)
            parameter.data -= np.clip(rate, lower, upper) * mean""", """            rate = lr / (np.sqrt(square / (1 - beta2**self.steps)) + self.eps)
            lower, upper = self.bounds(self.final_lr * lr / first_lr)
            parameter.data -= np.clip(rate, lower, upper) * mean / (1 - beta1**self.steps)"""))
mistake("the whole step is clipped, not the rate", "Clip the rate alone, and multiply it by the mean afterwards. The bounds are positive, so a clipped step has "
        "no sign left.", swap=("np.clip(rate, lower, upper) * mean", "np.clip(rate * mean, lower, upper)"))
mistake("the bounds end up multiplied by lr", "final_lr is a rate, like lr, and so are the bounds. The rate that is clipped has lr in it already; the bounds have "
        "only lr / first_lr.",
        swap=("""            rate = lr * correction / (np.sqrt(square) + self.eps)
            lower, upper = self.bounds(self.final_lr * lr / first_lr)
            parameter.data -= np.clip(rate, lower, upper) * mean""", """            rate = correction / (np.sqrt(square) + self.eps)
            lower, upper = self.bounds(self.final_lr * lr / first_lr)
            parameter.data -= lr * np.clip(rate, lower, upper) * mean"""))
mistake("nothing is clipped", "Without the bounds it is Adam.", swap=("np.clip(rate, lower, upper)", "rate"))
mistake("the mean is corrected once more", "The correction of the mean stands in the rate already: data moves by the clipped rate times the raw mean.",
        swap=("upper) * mean", "upper) * mean / (1 - beta1**self.steps)"))
mistake("only the lower bound is applied", "A rate may lie above the upper bound too. np.clip takes both.",
        swap=("np.clip(rate, lower, upper)", "np.maximum(rate, lower)"))
mistake("only the upper bound is applied", "A rate may lie below the lower bound too. np.clip takes both.",
        swap=("np.clip(rate, lower, upper)", "np.minimum(rate, upper)"))
mistake("the correction is left out of the rate", "It belongs into the rate before that is clipped.",
        swap=("lr * correction /", "lr /"))
mistake("the correction comes after clipping", "It belongs into the rate before that is clipped.",
        swap=("""            rate = lr * correction / (np.sqrt(square) + self.eps)
            lower, upper = self.bounds(self.final_lr * lr / first_lr)
            parameter.data -= np.clip(rate, lower, upper) * mean""", """            rate = lr / (np.sqrt(square) + self.eps)
            lower, upper = self.bounds(self.final_lr * lr / first_lr)
            parameter.data -= correction * np.clip(rate, lower, upper) * mean"""))
mistake("the gradient is followed, not its mean", "The rate multiplies the mean of the gradients.", swap=("upper) * mean", "upper) * grad"))
mistake("eps is inside the root", "First the root, then + eps.", swap=("np.sqrt(square) + self.eps", "np.sqrt(square + self.eps)"))
mistake("the data does not move at all", "Is there a line that moves parameter.data, and is the mean updated before, so that it is not 0? parameter.data = … moves "
        "nothing: it binds the name to a new array and leaves the parameter's as it was. Use -=, which writes into it.",
        swap=("parameter.data -= np", "parameter.data = parameter.data - np"))
mistake("the averages are not kept", "mean = … in the loop only binds a name, and the memory stays 0. Write into the arrays, with *= and +=.",
        swap=("""            mean *= beta1
            mean += (1 - beta1) * grad
            square *= beta2
            square += (1 - beta2) * grad**2""", """            mean = beta1 * mean + (1 - beta1) * grad
            square = beta2 * square + (1 - beta2) * grad**2"""))
mistake("self.lr moves every group", "A group may have a learning rate of its own. self.moves hands it to you as lr.",
        swap=("rate = lr *", "rate = self.lr *"))
mistake("parameter.grad is taken in place of grad", "grad is what self.moves hands you: with weight_decay it holds more than parameter.grad does.",
        swap=("self.means, self.squares, self.first_lrs):", "self.means, self.squares, self.first_lrs):\n            grad = parameter.grad"))

# %% [markdown] hints="AdaBound"
# Write `bounds` first: γt is `self.gamma * self.steps`. The first four lines of the loop are Adam's. Then one line for the rate, one for the
# bounds, one for the move.
#
# ---
#
# rate = lr · correction / (√square + eps); the bounds of final_lr · lr / first_lr; data −= np.clip(rate, lower, upper) · mean.
#
# ---
#
# ```python
# # bounds
# progress = self.gamma * self.steps
# return final * (1 - ...), final * (1 + ...)
#
# # step
# mean *= ...
# mean += ...
# square *= ...
# square += ...
# rate = ...
# lower, upper = self.bounds(...)
# parameter.data -= np.clip(...) * ...
# ```

# %%
count, scale = np.arange(1, 10001), np.array([0.003, 0.03, 0.3, 3.0])
watched = AdaBound([Parameter(np.zeros(4))])
band = []
for watched.steps in count:
    band.append(watched.bounds(watched.final_lr))
lower, upper = np.transpose(band)

fig, ax = plt.subplots(figsize=(7, 2.8))
ax.fill_between(count, lower, upper, color=BLUE, alpha=0.12)
for one in scale:
    rate = np.clip(watched.groups[0]["lr"] / one, lower, upper)
    ax.loglog(count, rate, label=f"gradients of {one:g}")
ax.set(xlabel="step", ylabel="rate", ylim=(1e-5, 10), title="rates between the bounds (blue)")
ax.legend(ncols=2, loc="upper right")
plt.show()

# %% [markdown]
# Each line is one weight. First the rates differ, as in Adam. The bounds then take all to the final rate. γ says when: with 0.001, after a
# few thousand steps.
#
# ## When a gradient explodes
#
# A single broken batch can throw a network far away. *Clipping by norm* shortens a gradient that is too long, and keeps its direction.
# The norm is that of all parameters' gradients together, as one long vector:
#
# $$\text{norm} = \sqrt{\textstyle\sum \text{grad}^2}, \qquad \text{grad} \leftarrow \text{grad}\cdot\frac{\text{max\_norm}}{\text{norm}} \quad\text{where norm} > \text{max\_norm}.$$
#
# ### Exercise 9 ★★: clip by norm
#
# Change the gradients in place. Return the norm *before* clipping, as a number: it is the thing to watch. A gradient may fit into
# float32 and its square not, so square and sum in float64.

# %% exercise="clip_grad_norm" points=3 stars=2
#| export
def clip_grad_norm(parameters, max_norm):
    """Shorten all gradients by one factor where their common norm exceeds max_norm.

    Call it between backward and step. Where the norm is smaller, nothing changes.

    Args:
        parameters: Parameters, in a list or a generator; each counts once.
        max_norm: the largest norm to leave, above 0.

    Returns:
        the norm before clipping, a float.

    Raises:
        ValueError: where max_norm is not above 0.

    Source: Pascanu, Mikolov, Bengio (2013), section 3.2.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, received {max_norm}: try 1.0")
    held = list({id(one): one for one in parameters}.values())  # each once
    ### BEGIN SOLUTION the norm over all of held, in float64; scale every grad in place where it is too large; return the norm
    norm = sum(np.square(one.grad, dtype=np.float64).sum() for one in held) ** 0.5
    if norm > max_norm:
        for one in held:
            one.grad *= max_norm / norm
    return float(norm)
    ### END SOLUTION

# %%
check(clip_grad_norm)

# %% probe="clip_grad_norm"
from nyang_edu.model.core import Parameter


def with_grads(*grads):
    parameters = [Parameter(np.ones_like(grad)) for grad in grads]
    for one, grad in zip(parameters, grads, strict=True):
        one.grad[...] = grad
    return parameters


def probe(clip_grad_norm, rng):
    a, b = rng.normal(0, 9, size=(3, 2)), rng.normal(0, 4, size=5)
    two = with_grads(a, b)
    held = two[0].grad
    yield "the norm that is returned", clip_grad_norm(two, rng.uniform(1, 2))
    yield "the first gradient, clipped", two[0].grad
    yield "the second gradient, clipped", two[1].grad
    yield "the array that the gradient was in", held
    yield "data", two[0].data
    small = with_grads(a, b)
    yield "the norm that is returned where it is small enough", clip_grad_norm(small, 1000.0)
    yield "a gradient that is short enough", small[0].grad
    still = with_grads(np.zeros((2, 2)))
    yield "the norm of zeros", clip_grad_norm(still, 1.0)
    yield "a gradient of zeros", still[0].grad
    lazy = with_grads(a, b)
    clip_grad_norm((one for one in lazy), 2.0)
    yield "the gradients of a generator of parameters", lazy[1].grad
    shared = with_grads(a)
    yield "the norm where a parameter is given twice", clip_grad_norm(shared * 2, 1.0)
    low = with_grads(np.float32([3e20, 4e20]))
    yield "the norm of very large float32 gradients", np.float32(clip_grad_norm(low, 2.0))
    yield "very large float32 gradients, clipped", low[0].grad

# %% mistakes="clip_grad_norm"
mistake("each parameter is clipped by itself", "One norm for all gradients together, and one factor. Otherwise the direction of the whole changes.",
        swap=("""    if norm > max_norm:
        for one in held:
            one.grad *= max_norm / norm""", """    for one in held:
        own = np.square(one.grad, dtype=np.float64).sum() ** 0.5
        if own > max_norm:
            one.grad *= max_norm / own"""))
mistake("small gradients are scaled up", "Clipping only shortens. Where the norm is small enough, nothing changes.",
        swap=("if norm > max_norm:", "if norm > 0:"))
mistake("the norm after clipping is returned", "The norm before clipping is asked for: it says what happened.",
        swap=("    return float(norm)", "        norm = max_norm\n    return float(norm)"))
mistake("the values are clipped, not the norm", "np.clip on every number changes the direction. One factor for all keeps it.",
        swap=("            one.grad *= max_norm / norm", "            one.grad[...] = np.clip(one.grad, -max_norm, max_norm)"))
mistake("the norms of the parameters are added up", "Norms do not add up, their squares do. Sum the squares of all, and take one root.",
        swap=("sum(np.square(one.grad, dtype=np.float64).sum() for one in held) ** 0.5",
              "sum(np.square(one.grad, dtype=np.float64).sum() ** 0.5 for one in held)"))
mistake("the root is forgotten", "The norm is the root of the sum of the squares.", swap=("for one in held) ** 0.5", "for one in held)"))
mistake("the norm is the sum of the absolute values", "This norm is the length of a vector: squares, sum, root.",
        swap=("sum(np.square(one.grad, dtype=np.float64).sum() for one in held) ** 0.5",
              "float(sum(np.abs(one.grad, dtype=np.float64).sum() for one in held))"))
mistake("the gradients are divided by the norm alone", "Then their norm is 1. It should be max_norm.",
        swap=("one.grad *= max_norm / norm", "one.grad /= norm"))
mistake("the clipped gradient is a new array", "Write into the array, with *=. Whoever else holds it has to see the change.",
        swap=("one.grad *= max_norm / norm", "one.grad = one.grad * float(max_norm / norm)"))
mistake("the factor is upside down", "The norm is too large, so the factor is below 1: max_norm / norm.",
        swap=("max_norm / norm", "norm / max_norm"))
mistake("the loop runs over parameters, not held", "A generator is empty once it has been read. held has all its parameters, each once.",
        swap=("        for one in held:", "        for one in parameters:"))
mistake("the norm is computed in float32", "The square of a large float32 number is infinite. Sum the squares in float64: np.square(grad, dtype=np.float64).",
        swap=("np.square(one.grad, dtype=np.float64)", "np.square(one.grad)"))
mistake("a small number is added to the norm", "Nothing has to be protected: where the norm is above max_norm, it is not 0. Divide by the norm itself.",
        swap=("max_norm / norm", "max_norm / (norm + 1e-6)"))
mistake("the norm is the largest value", "The norm is the length of the vector: squares, sum, root.",
        swap=("sum(np.square(one.grad, dtype=np.float64).sum() for one in held) ** 0.5", "float(max(np.abs(one.grad).max() for one in held))"))
mistake("the data is scaled", "The gradients are clipped. The data moves only in step.", swap=("one.grad *=", "one.data *="))
mistake("a mean is taken in place of the sum", "The norm is the root of the sum of the squares, over all numbers.",
        swap=("np.square(one.grad, dtype=np.float64).sum()", "np.square(one.grad, dtype=np.float64).mean()"))

# %% [markdown] hints="clip_grad_norm"
# Two passes over `held`: one to get the norm, one to scale, with a question in between.
#
# ---
#
# norm = √(Σ over all parameters of Σ grad²). `np.square(grad, dtype=np.float64)` squares in float64.
#
# ---
#
# ```python
# norm = sum(... for one in held) ** 0.5
# if norm > ...:
#     for one in held:
#         one.grad *= ...
# return float(norm)
# ```

# %% [markdown]
# One batch of the epoch, the thirty-first, comes with pixels from 0 to 255: one broken file.

# %%
def train_with_accident(max_norm):
    rng, loss = np.random.default_rng(0), CrossEntropyLoss()
    model = NyangFlow(Flatten(), Linear(784, 64, rng=rng, init=init_for(ReLU)), ReLU(),
                      Linear(64, 10, rng=rng, init=init_for(None)))
    optimizer, rows = SGD(model.parameters(), lr=0.05, momentum=0.9), []
    for step, batch in enumerate(rng.permutation(digits).reshape(-1, 50)):
        optimizer.zero_grad()
        value = loss(model(pixels[batch] * (255 if step == 30 else 1)), labels[batch])
        model.backward(loss.backward())
        norm = clip_grad_norm(optimizer.parameters, max_norm)
        optimizer.step()
        rows.append((value, norm))
    return np.array(rows).T  # (2, 80): losses, norms


accidents = {f"max_norm {limit:g}": train_with_accident(limit) for limit in (np.inf, 2.0)}

fig, axes = plt.subplots(1, 2, figsize=(11, 2.8))
for name, (losses, norms) in accidents.items():
    axes[0].semilogy(losses, label=name)
    axes[1].semilogy(norms, label=name)
axes[0].set(xlabel="step", title="loss of the batch")
axes[1].set(xlabel="step", title="norm of the gradient, before clipping")
axes[0].legend()
plt.show()

for name, (losses, _) in accidents.items():
    print(f"{name}: the last ten batches' mean loss is below 1: {losses[-10:].mean() < 1}")

# %% [markdown]
# The bad batch's own loss is high in both runs. What differs is the time after it. `max_norm` 2 also shortens some ordinary
# gradients: watch the norm for a while before you choose.
#
# ## Use: all of them on the digits
#
# Each with a learning rate that suits it, 10 epochs, the same first weights and batches. The number to beat is chapter
# 06's floor, 93 %.

# %%
contest = {"SGD": lambda p: SGD(p, 0.2), "momentum": lambda p: SGD(p, 0.03, momentum=0.9),
           "RMSprop": lambda p: RMSprop(p, 0.001), "Adam": lambda p: Adam(p, 0.002),
           "AdaBound": lambda p: AdaBound(p, 0.002, final_lr=0.1)}
curves = {name: train(make, 10, hidden=128) for name, make in contest.items()}

fig, ax = plt.subplots(figsize=(7, 3.2))
for name, curve in curves.items():
    ax.plot(range(1, 11), 100 * curve, ".-", label=f"{name}: ends at {curve[-1]:.1%}")
ax.set(xlabel="epoch", ylabel="held-out digits right, %", title="digits, 784 → 128 → 10")
ax.legend()
plt.show()

ends = np.array([curve[-1] for curve in curves.values()])
assert ends.max() >= 0.93 and ends.min() >= 0.91, f"93% for the best and 91% for all, got {ends}"
print(f"the best reads at least 93%: {ends.max() >= 0.93}")
print(f"best and worst differ by less than 3 points: {np.ptp(ends) < 0.03}")

# %% [markdown]
# All arrive. Adam and AdaBound lead in the first epochs. At the end they are close, and 1,000 held-out digits cannot settle such
# differences: the order is luck as much as merit.
#
# How precisely does one have to know the learning rate? Two epochs each, from too small to too large.

# %%
from functools import partial

rates = np.array([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
families = {"SGD": SGD, "momentum": lambda p, lr: SGD(p, lr, momentum=0.9), "RMSprop": RMSprop,
            "Adam": Adam, "AdamW": AdamW, "AdaBound": AdaBound}
with np.errstate(all="ignore"):  # some of them diverge
    table = np.array([[train(partial(make, lr=lr), 2, hidden=32)[-1] for lr in rates]
                      for make in families.values()])  # (optimizers, rates)

print("held-out digits right after two epochs, %\n" + " " * 11 + "".join(f"lr {lr:<8g}" for lr in rates))
for name, row in zip(families, table):
    print(f"{name:11}" + "".join(f"{value:<11.0%}" for value in row))

# %% [markdown]
# Every row has its own good range. Adaptive methods want small rates, as their steps have the length `lr` whatever the gradient.
#
# And the forgotten division? Adam was never told the size of the gradient. A unit of the *pixels* is another matter: there the best weights
# change too. Keep dividing by 255.

# %% tags=["nbval-check-output"]
def plain_adam(parameters):
    return Adam(parameters, 0.002)


mean, total, raw = train(plain_adam, 3), train(plain_adam, 3, factor=50.0), train(plain_adam, 3, pixels * 255)
print(f"Adam, sum for mean: within a point of the mean: {abs(mean[-1] - total[-1]) < 0.01}")
print(f"Adam, pixels from 0 to 255: loses more than 5 points: {mean[-1] - raw[-1] > 0.05}")

# %% [markdown]
# ## Recap
#
# - The size of a gradient is arbitrary. Adaptive optimizers divide it out, and `lr` becomes the length of a step.
# - Direction from the running mean, size from the root of the mean square, both corrected for their start at 0.
# - What goes into the gradient gets divided with it. So AdamW decays outside. AdaBound closes in on one rate. Clipping keeps the direction.
# - What a step costs is the way to memory.
# - None wins everywhere. Adam may even fail to converge: Reddi et al. (2018) build an example.
#
# `finish` exports `RMSprop`, `Adam`, `AdamW`, `AdaBound` and `clip_grad_norm` into
# `nyang_edu/training/adaptive.py`.
#
# **References.** Polyak, *Some methods of speeding up the convergence of iteration methods*, USSR Comp. Math. and Math. Physics 4 (1964). Nesterov, *A method of
# solving a convex programming problem with convergence rate O(1/k²)*, Soviet Math. Doklady 27 (1983). Tieleman, Hinton, *Neural Networks for Machine
# Learning*, lecture 6.5 (2012). Sutskever, Martens, Dahl, Hinton, *On the importance of initialization and momentum in deep learning*, ICML 2013, section 2.
# Pascanu, Mikolov, Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013, section 3.2. Kingma, Ba, *Adam: a method for stochastic
# optimization*, ICLR 2015, sections 2 and 3, algorithm 1. Reddi, Kale, Kumar, *On the convergence of Adam and beyond*, ICLR 2018. Loshchilov,
# Hutter, *Decoupled weight decay regularization*, ICLR 2019, section 2. Luo, Xiong, Liu, Sun, *Adaptive gradient methods with dynamic bound of learning
# rate*, ICLR 2019, algorithm 2.

# %%
finish("07_optimizers")
