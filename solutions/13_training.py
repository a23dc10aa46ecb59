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
# # 13 · Training, saving, measuring
#
# **You have** layers, optimizers (07), a loader that shuffles and augments (11), and schedules (12).
#
# **You will build** the parts of a training loop that can be trusted: training and validation, early stopping, a search
# for the layer that broke, the state that a resumed run needs, and the measures that say what a model is worth.
#
# **It unlocks** `nyang_train`, `nyang_save_model` and `nyang_inference`. Every architecture from 14 on is trained with them.
#
# Time: about 120 minutes. Ten exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu import (
    BatchNorm2d, Conv2d, CrossEntropyLoss, Dropout, Flatten, Linear, MaxPool2d, NyangFlow, ReLU, SGD, no_memory,
)
from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.utility.init import init_for
from nyang_edu.utility.plot import BLUE, GREEN, GREY, ORANGE, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: two runs that end badly
#
# The loop of chapter 06 again, on 300 digits only. A tired person typed the labels: one in ten was
# typed at random. 500 other digits, labelled by the same person, are not learned from. They are for *validation*: they tell how the
# run is going. The second run differs in one pixel of one picture. It is NaN, as a division 0/0 in preprocessing brings.

# %%
images, labels = load_digits_5k()
pixels = images.astype(np.float32)[:, None] / 255  # (5000, 1, 28, 28)
order = np.random.default_rng(0).permutation(5000)
few, others = order[:300], order[300:800]
rng = np.random.default_rng(1)
typed = np.where(rng.random(5000) < 0.1, rng.integers(0, 10, 5000), labels)


def batches_of(places, x=pixels, rng=None):
    """Yield (x, y) in batches of 32; shuffled where there is a generator."""
    places = places if rng is None else rng.permutation(places)
    for batch in np.split(places, range(32, len(places), 32)):
        yield x[batch], typed[batch]


def small_network(seed, *before_last):
    rng = np.random.default_rng(seed)
    return NyangFlow(Flatten(), Linear(784, 128, rng=rng, init=init_for(ReLU)), ReLU(), *before_last,
                     Linear(128, 10, rng=rng, init=init_for(None)))

# %% tags=["nbval-check-output"]
def careless(x, epochs=30):
    model, loss, rng = small_network(1), CrossEntropyLoss(), np.random.default_rng(2)
    optimizer, train, valid = SGD(model.parameters(), lr=0.02, momentum=0.9), [], []
    for _ in range(epochs):
        for xs, ys in batches_of(few, x, rng):
            optimizer.zero_grad()
            train.append(loss(model(xs), ys))
            model.backward(loss.backward())
            optimizer.step()
        with no_memory():
            valid.append(loss(model(pixels[others]), typed[others]))
    return model, np.array(train).reshape(epochs, -1), np.array(valid)


broken = pixels.copy()
broken[few[123], 0, 14, 14] = np.nan
_, train, valid = careless(pixels)
ruined, bad_losses, _ = careless(broken, epochs=2)
print("the last epoch has the lowest validation loss:", bool(valid.argmin() == 29))
print("weights that are NaN after the second run:", f"{np.isnan(ruined[1].weight.data).mean():.0%}")

fig, axes = plt.subplots(1, 2, figsize=(10, 2.8), width_ratios=[3, 2])
axes[0].plot(range(1, 31), train.mean(axis=1), color=BLUE, label="training")
axes[0].plot(range(1, 31), valid, "--", color=BLUE, label="validation")
axes[0].set(xlabel="epoch", ylabel="loss", title=f"lowest validation loss after epoch {valid.argmin() + 1}, "
            f"{valid.min():.2f};\nat the end {valid[-1]:.2f}")
axes[0].legend()
axes[1].plot(range(1, 21), bad_losses.ravel(), "o-", color=ORANGE, ms=4)
axes[1].axvspan(np.isfinite(bad_losses).sum() + 0.5, 20.5, color=ORANGE, alpha=0.2)
axes[1].text(11, 1.5, "NaN", color=ORANGE, ha="center")
axes[1].set(xlabel="step", ylabel="loss", xlim=(0, 21), ylim=(0, 3), title="one NaN in one picture:\nno loss from its step on")
plt.show()

# %% [markdown]
# Left: the run goes on long after its best moment, and only the last weights are left. Right: one step writes NaN into every weight,
# and no later step repairs them.
#
# So a loop needs more than five calls: someone who watches the validation loss, someone who looks at the loss *before* the step, and a
# copy of the best on disk. There is a third way to end badly. The run is fine, and the number that reports it is
# misleading.
#
# ## Idea: two small sums by hand
#
# Nine samples in batches of 4, 4 and 1. Beside it, seven epochs of a validation loss.

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 2), width_ratios=[2, 3])
draw_matrix(axes[0], [[4, 4, 1], [0.2, 0.4, 1.8]], "mean of the means: 2.4 / 3 = 0.8\nper sample: "
            "(0.8 + 1.6 + 1.8) / 9 = 0.47", highlight=[[0, 0, 1], [0, 0, 1]])
for row, name in enumerate(["samples", "mean loss"]):
    axes[0].text(-0.2, row + 0.5, name, ha="right", va="center")
story = np.array([[0.9, 0.6, 0.7, 0.5, 0.6, 0.55, 0.5], [0, 0, 1, 0, 1, 2, 3]])
draw_matrix(axes[1], story, "stops after the seventh epoch, keeps the fourth", colour=GREEN,
            highlight=np.array([[1, 1, 0, 1, 0, 0, 0], [0] * 7]))
for row, name in enumerate(["validation loss", "epochs waited"]):
    axes[1].text(-0.2, row + 0.5, name, ha="right", va="center")
plt.show()

# %% [markdown]
# Left: one difficult sample in a batch of its own counts as much as four others. Weigh each batch by its length.
#
# Right: green epochs *improve* on the best so far. Every other epoch adds one to the counter, and an improvement
# sets it back to 0. With a *patience* of 3, training stops when the counter reaches 3. Equal is not better: the seventh
# epoch only ties.
#
# ## Maths
#
# A batch has $B_i$ samples and mean loss $L_i$. The mean loss per sample is
#
# $$L = \frac{\sum_i B_i L_i}{\sum_i B_i}.$$
#
# Accuracy follows the same rule. It equals the mean of the batches' accuracies only where all batches are of one size.
#
# For one class, count the samples that were rightly given it ($\text{TP}$), those that were wrongly given it ($\text{FP}$), and those of the
# class that were missed ($\text{FN}$). Then
#
# $$\text{precision} = \frac{\text{TP}}{\text{TP} + \text{FP}}, \qquad \text{recall} = \frac{\text{TP}}{\text{TP} + \text{FN}},
# \qquad F_1 = \frac{2\,\text{TP}}{2\,\text{TP} + \text{FP} + \text{FN}} .$$
#
# Precision asks: of those called *sick*, how many are? Recall asks: of the sick, how many were found? $F_1$ is the harmonic mean of the two.
#
# | function | takes | returns |
# |---|---|---|
# | `train_batches` | model, loss, optimizer, batches (x, y) | mean loss per sample |
# | `validate` | model, loss, batches | mean loss, outputs (N, …), targets (N, …) |
# | `EarlyStopping.update` | a loss | improved? |
# | `first_bad_layer` | model, x | a name, or None |
# | `training_state` | model, optimizer, … | a dict of arrays and plain values |
# | `precision_recall_f1` | the matrix (C, C) | three arrays (C,) |
# | `top_k_accuracy` | targets (N,), scores (N, C), k | a share |
#
# ## Part one: a loop to be trusted
#
# Two things are given. `NotFinite` is the error for a loss that is no number. `kept` is for a look at a model
# that must leave no trace: when its block ends, each layer has its old mode, running statistics and random generator
# again, also after an error.

# %%
#| default_exp training.loop
#| export
"""The parts of a training loop: train, validate, stop in time, find what broke, keep the state."""

import contextlib

import numpy as np  # noqa: F401  for your own code

from nyang_edu.model.core import Parameter, no_memory
from nyang_edu.model.watch import modes_kept, watch_layers
from nyang_edu.training.adaptive import clip_grad_norm
from nyang_edu.utility.save_load import load_random_state, random_state


class NotFinite(FloatingPointError):
    """A loss that is NaN or infinite: its value, and the step, counted from 1."""

    def __init__(self, step, value):
        super().__init__(f"the loss of step {step} is {value}; the optimizer did not move: "
                         "first_bad_layer says where it came from")
        self.step, self.value = step, value


@contextlib.contextmanager
def kept(model):
    """Give a model its modes, buffers and random states back when the block ends."""
    buffers = [(layer, name, getattr(layer, name).copy())
               for _, layer, name in model.named_buffers()]
    drawn = random_state(model)
    try:
        with modes_kept(model):
            yield model
    finally:
        for layer, name, array in buffers:
            getattr(layer, name)[...] = array
        load_random_state(model, drawn)

# %% [markdown]
# ### Exercise 1 ★★★: one epoch, with a guard
#
# Training mode. Then for each batch: clear, forward, loss. Is the loss a finite number? If not, raise `NotFinite` while the weights are still
# good. Then backward, clip the gradients where `clip_norm` is given, step. Clipping is chapter 07's `clip_grad_norm(parameters, max_norm)`. Last comes
# `after_step`, where a schedule that moves at every step is called.

# %% exercise="train_batches" points=4 stars=3
#| export
def train_batches(model, loss, optimizer, batches, *, clip_norm=None, after_step=None):
    """Train once on each batch; return the mean loss per sample, Σ B·L / Σ B.

    Args:
        model: a NyangModel, put into training mode; loss: a Loss, the mean over a batch;
            optimizer: holds the model's parameters.
        batches: an iterable of (x, y), each (B, …), of any length.
        clip_norm: the largest norm of all gradients together; None clips nothing.
        after_step: called with the batch's loss once the optimizer has moved.

    Raises:
        NotFinite: for a loss that is NaN or infinite, before the optimizer moves.
        ValueError: where there are no batches.
    """
    ### BEGIN SOLUTION training mode; then for each batch clear, forward, loss, guard, backward, clip, step
    model.train()
    total, count = 0.0, 0
    for step, (x, y) in enumerate(batches, start=1):
        optimizer.zero_grad()
        value = loss(model(x), y)
        if not np.isfinite(value):
            raise NotFinite(step, value)
        model.backward(loss.backward())
        if clip_norm is not None:
            clip_grad_norm(optimizer.parameters, clip_norm)
        optimizer.step()
        if after_step is not None:
            after_step(value)
        total, count = total + value * len(x), count + len(x)
    if count == 0:
        raise ValueError("train_batches received no batches: is the loader empty, or used up?")
    return total / count
    ### END SOLUTION

# %%
check(train_batches)

# %% probe="train_batches"
from nyang_edu.model.core import NyangModel
from nyang_edu.training.loss import Loss
from nyang_edu.training.optimizer import SGD


class Line(NyangModel):
    """out = x · weight; notes the mode of each forward and counts the backward passes."""

    def __init__(self, weight):
        self.weight, self.modes, self.passes = Parameter(weight), [], 0

    def forward(self, x):
        self.modes.append("training" if self.training else "eval")
        self.save(x)
        return x @ self.weight.data

    def backward(self, dout):
        self.passes += 1
        self.weight.grad += self.saved().T @ dout
        return dout @ self.weight.data.T


class MeanSquare(Loss):
    """The mean of (out - y)² over the batch."""

    def forward(self, out, y):
        self.save(out - y)
        return float(((out - y) ** 2).mean())

    def backward(self):
        error = self.saved()
        return 2 * error / error.size


def stopped_by(action):
    """What an action ends with, in words."""
    try:
        action()
        return "no error"
    except (ValueError, ZeroDivisionError) as error:
        return type(error).__name__


def probe(train_batches, rng):
    lr, start = rng.uniform(0.02, 0.08), rng.uniform(0.5, 1.5, size=(3, 1))
    sizes = [5, 4, 2]
    batches = [(rng.uniform(0.5, 1.5, size=(B, 3)), rng.normal(-4.0 * (B - 1), size=(B, 1))) for B in sizes]

    def fresh(dirt=0.0):
        model = Line(start.copy())
        model.weight.grad[...] = dirt
        return model, SGD(model.parameters(), lr)

    model, optimizer = fresh(dirt=rng.uniform(1, 2))
    model.eval()
    mean = train_batches(model, MeanSquare(), optimizer, iter(batches))
    yield "the mode in each forward", np.array(model.modes)
    yield "how often model.backward ran", model.passes
    yield "weight after the epoch", model.weight.data
    yield "the mean loss per sample", mean
    model, optimizer = fresh(dirt=1.0)
    train_batches(model, MeanSquare(), optimizer, iter(batches), clip_norm=0.5)
    yield "weight after an epoch with clip_norm", model.weight.data
    model, optimizer = fresh()
    seen, moved = [], []

    def note(value):
        seen.append(value)
        moved.append(bool((model.weight.data != (moved_from[-1] if moved_from else start)).any()))
        moved_from.append(model.weight.data.copy())

    moved_from = []
    train_batches(model, MeanSquare(), optimizer, iter(batches), after_step=note)
    yield "what after_step is given", np.array(seen)
    yield "the weight has moved when after_step is called", np.array(moved)
    for value, word in ((np.nan, "NaN"), (np.inf, "infinite")):
        model, optimizer = fresh()
        worse = [*batches[:2], (batches[2][0], np.full((2, 1), value))]
        step, given, kind = -2, -2.0, "no error"
        try:
            train_batches(model, MeanSquare(), optimizer, iter(worse))
        except Exception as error:
            kind = type(error).__name__
            step, given = getattr(error, "step", -1), getattr(error, "value", 0.0)
        yield f"weight after a loss that is {word}", model.weight.data
        state = "sound" if np.isfinite(model.weight.data).all() else "spoilt"
        yield f"what a loss that is {word} ends in", f"{kind}, weights {state}"
        yield f"the error's step for a loss that is {word}", step
        yield f"the error's value for a loss that is {word}", given
    model, optimizer = fresh()
    yield "no batches at all", stopped_by(lambda: train_batches(model, MeanSquare(), optimizer, iter([])))

# %% mistakes="train_batches"
mistake("the mean of the batch means is returned", "A short batch would count as much as a long one. Weigh each loss by len(x), and divide by all "
        "samples.", swap=("total + value * len(x), count + len(x)", "total + value, count + 1"))
mistake("the sum of the losses is returned", "A mean per sample is asked for: divide by the number of samples.",
        swap=("return total / count", "return total"))
mistake("the gradients are never cleared", "backward adds to grad. Clear before every batch, also before the first: who knows what "
        "was there.", swap=("        optimizer.zero_grad()\n", ""))
mistake("zero_grad stands between backward and step", "What backward has computed is gone before the optimizer can use it.",
        swap=("""        if clip_norm is not None:
            clip""", """        optimizer.zero_grad()
        if clip_norm is not None:
            clip"""))
mistake("model.backward is never called", "loss.backward() returns the gradient of the outputs. Hand it to model.backward.",
        swap=("model.backward(loss.backward())", "loss.backward()"))
mistake("the model stays in eval mode", "The last validation has left the model in eval. BatchNorm and Dropout train only after "
        "model.train().", swap=("    model.train()\n", ""))
mistake("the gradients are clipped too early, too late, or not at all", "Before backward there is nothing to clip. After the step the optimizer has already moved "
        "along the long gradient. It belongs between the two.",
        swap=("if clip_norm is not None:", "if False:"))
mistake("the loss is looked at after the step", "By then the weights are NaN. Look as soon as the value is there.",
        swap=("""        if not np.isfinite(value):
            raise NotFinite(step, value)
        model.backward(loss.backward())
        if clip_norm is not None:
            clip_grad_norm(optimizer.parameters, clip_norm)
        optimizer.step()
""", """        model.backward(loss.backward())
        if clip_norm is not None:
            clip_grad_norm(optimizer.parameters, clip_norm)
        optimizer.step()
        if not np.isfinite(value):
            raise NotFinite(step, value)
"""))
mistake("the loss is never looked at", "One NaN writes NaN into every weight. Raise NotFinite(step, value) before backward.",
        swap=("if not np.isfinite(value):", "if False:"))
mistake("an infinite loss passes", "np.isnan sees only NaN. An infinite loss spoils the weights as well: np.isfinite.",
        swap=("if not np.isfinite(value):", "if np.isnan(value):"))
mistake("the epoch is broken off without an error", "Whoever called would take half an epoch for a whole one. Raise NotFinite(step, value).",
        swap=("raise NotFinite(step, value)", "break"))
mistake("another kind of error is raised", "Whoever calls catches NotFinite, and reads its step and value: raise NotFinite(step, value).",
        swap=("raise NotFinite(step, value)", "raise ValueError(f\"the loss is {value}\")"))
mistake("NotFinite is raised without its step and value", "Its __init__ takes two arguments, and a bare raise NotFinite brings none: Python stops with a "
        "TypeError. raise NotFinite(step, value).", swap=("raise NotFinite(step, value)", "raise NotFinite"))
mistake("step and value change places in NotFinite", "First the step, then the value: NotFinite(step, value).",
        swap=("raise NotFinite(step, value)", "raise NotFinite(value, step)"))
mistake("gradients are clipped where clip_norm is None", "None means that nothing is clipped.",
        swap=("""        if clip_norm is not None:
            clip_grad_norm(optimizer.parameters, clip_norm)""", """        clip_grad_norm(optimizer.parameters, clip_norm or 1.0)"""))
mistake("len is asked of the batches", "batches may be a generator, which has no length. Count while the loop runs.",
        swap=("return total / count", "return total / len(batches)"))
mistake("the steps are counted from 0", "The first batch is step 1: enumerate(batches, start=1).",
        swap=("enumerate(batches, start=1)", "enumerate(batches)"))
mistake("after_step is called before the step", "Its name says when: once the optimizer has moved.",
        swap=("""        optimizer.step()
        if after_step is not None:
            after_step(value)
""", """        if after_step is not None:
            after_step(value)
        optimizer.step()
"""))
mistake("after_step is never called", "A schedule that moves at every step lives there: after_step(value).",
        swap=("if after_step is not None:", "if False:"))
mistake("no batches end in a division by zero", "An empty loader is a mistake of whoever made it. Say so with a ValueError. An iterator is "
        "never false, so `if not batches` sees nothing: count the samples, and look at the count after the loop.",
        swap=("if count == 0:", "if False:"))
mistake("no batches give the loss 0", "A loss of 0 looks like success. Nothing was trained, so raise a ValueError.",
        swap=("""        raise ValueError("train_batches received no batches: is the loader empty, or used up?")""", "        return 0.0"))
mistake("return stands inside the loop", "The function ends after its first batch. Move return out by one level.",
        swap=("        total, count = total + value * len(x), count + len(x)\n",
              "        total, count = total + value * len(x), count + len(x)\n        return total / count\n"))

# %% [markdown] hints="train_batches"
# It is the loop of chapter 06 with three more lines: the guard, the clipping, the call at the end. `enumerate(batches, start=1)` counts the steps.
#
# ---
#
# Order: zero_grad → forward → loss → finite? → backward → clip → step → after_step. Then total += value · len(x), count += len(x).
#
# ---
#
# ```python
# model.train()
# total, count = 0.0, 0
# for step, (x, y) in enumerate(batches, start=1):
#     optimizer.zero_grad()
#     value = ...
#     if not np.isfinite(...):
#         raise NotFinite(...)
#     model.backward(...)
#     if clip_norm is not None:
#         clip_grad_norm(optimizer.parameters, ...)
#     optimizer.step()
#     if after_step is not None:
#         ...
#     total, count = total + ..., count + ...
# if count == 0:
#     raise ValueError(...)
# return ...
# ```

# %% [markdown]
# ### Exercise 2 ★★: judge without touching
#
# The same mean, on samples that are not learned from. In eval mode, without memory, without gradients. The outputs and
# targets are returned as well, joined over all batches, so that any measure can be taken of *all* samples at once. Afterwards the model is as it was. A
# block `with kept(model), no_memory():` is a good frame.

# %% exercise="validate" points=3 stars=2
#| export
def validate(model, loss, batches):
    """Judge a model in eval mode; it is left as it was, also after an error.

    Args:
        model: a NyangModel, in any mode.
        loss: a Loss, the mean over a batch.
        batches: an iterable of (x, y), each (B, …), of any length.

    Returns:
        the mean loss per sample; the outputs (N, …); the targets (N, …).

    Raises:
        ValueError: where there are no batches.
    """
    ### BEGIN SOLUTION eval mode for the block's time; collect outputs, targets and the weighted loss
    total, outputs, targets = 0.0, [], []
    with kept(model), no_memory():
        model.eval()
        for x, y in batches:
            out = model(x)
            total += loss(out, y) * len(x)
            outputs.append(out)
            targets.append(y)
    if not outputs:
        raise ValueError("validate received no batches: is the loader empty, or used up?")
    outputs, targets = np.concatenate(outputs), np.concatenate(targets)
    return total / len(outputs), outputs, targets
    ### END SOLUTION

# %%
check(validate)

# %% probe="validate"
from nyang_edu.model.core import NyangModel
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm1d
from nyang_edu.training.loss import CrossEntropyLoss, MSELoss


def modes_of(model):
    return np.array(["training" if layer.training else "eval" for _, layer in model.named_layers()])


def probe(validate, rng):
    model = NyangFlow(Linear(3, 4, rng=rng), BatchNorm1d(4), Dropout(0.5, rng=np.random.default_rng(0)),
                      Linear(4, 2, rng=rng)).to(np.float64)
    model[1].running_mean[...] = rng.normal(size=4)
    model.train()
    model[1].eval()  # one layer is frozen on purpose
    batches = [(rng.normal(size=(B, 3)), rng.normal(3.0 * B, size=(B, 2))) for B in (5, 4, 2)]
    value, outputs, targets = validate(model, MSELoss(), iter(batches))
    yield "the outputs", outputs
    yield "the targets", targets
    yield "the mean loss per sample", value
    yield "the mode of each layer afterwards", modes_of(model)
    yield "running_mean afterwards", model[1].running_mean
    yield "weight.grad afterwards", model[0].weight.grad
    yield "weight afterwards", model[0].weight.data
    try:
        model.backward(np.ones((2, 2)))
        yield "a backward afterwards", "runs: the pass was remembered"
    except RuntimeError:
        yield "a backward afterwards", "RuntimeError: nothing was remembered"
    model(batches[0][0])
    yield "dx of a training pass afterwards", model.backward(rng.normal(size=(5, 2))).shape

    def failing():
        yield batches[0]
        raise OSError("a file is broken")

    model.train()
    try:
        validate(model, MSELoss(), failing())
        yield "an error among the batches", "is swallowed"
    except OSError:
        yield "an error among the batches", "comes out"
    yield "the mode of each layer after an error", modes_of(model)
    model.eval()
    validate(model, MSELoss(), iter(batches[:1]))
    yield "the mode of each layer of a model in eval", modes_of(model)
    plain = NyangFlow(Linear(3, 2, rng=rng))
    low = [(x.astype(np.float32), y.astype(np.float32)) for x, y in batches]
    yield "the outputs' dtype for a float32 model", str(getattr(
        validate(plain, MSELoss(), iter(low))[1], "dtype", "no array"))
    norm = BatchNorm1d(3).to(np.float64)
    validate(norm, Same(), iter([(batches[0][0], batches[0][0])]))
    yield "running_mean of a model that was in training", norm.running_mean
    numbers = [(rng.normal(size=(4, 3)).astype(np.float32), rng.integers(0, 2, 4)) for _ in range(2)]
    yield "the targets where they are class numbers (N,)", validate(plain, CrossEntropyLoss(), iter(numbers))[2]
    try:
        validate(plain, MSELoss(), iter([]))
        yield "no batches at all", "no error"
    except (ValueError, ZeroDivisionError) as error:
        yield "no batches at all", type(error).__name__


class Same(MSELoss):
    """A loss that only needs the shapes to fit."""

# %% mistakes="validate"
mistake("the model is left in eval mode", "The next epoch would train without Dropout, and BatchNorm would stand still. Give every layer the mode back "
        "that it had: kept does.", swap=("with kept(model), no_memory():", "with no_memory():"))
mistake("every layer is put into training afterwards", "A layer may be frozen on purpose, or the model may have been in eval. Remember the modes; "
        "kept does, also when an error comes.",
        swap=("    if not outputs:", "    model.train()\n    if not outputs:"))
mistake("one mode is given back to all layers, and not after an error", "A layer may be frozen on purpose, so each has a mode of its own. And an error among the batches skips what stands "
        "after the loop. kept does both.",
        swap=("""    with kept(model), no_memory():
        model.eval()
        for x, y in batches:
            out = model(x)
            total += loss(out, y) * len(x)
            outputs.append(out)
            targets.append(y)
""", """    mode = model.training
    with no_memory():
        model.eval()
        for x, y in batches:
            out = model(x)
            total += loss(out, y) * len(x)
            outputs.append(out)
            targets.append(y)
    model.train(mode)
"""))
mistake("the batches are not joined", "A list of arrays is not an array of all samples: np.concatenate.",
        swap=("""    outputs, targets = np.concatenate(outputs), np.concatenate(targets)
    return total / len(outputs), outputs, targets""", """    return total / sum(map(len, outputs)), outputs, targets"""))
mistake("the model is judged in training mode", "Dropout leaves gaps, and BatchNorm uses the batch's own statistics. Call model.eval() first.",
        swap=("        model.eval()\n", "        model.train()\n"))
mistake("the running statistics are moved in validation", "In training mode BatchNorm tracks what it sees, and now it has learned from the validation samples. "
        "Switch to eval before the first batch.",
        swap=("""    with kept(model), no_memory():
        model.eval()
        for""", """    modes = [(layer, layer.training) for _, layer in model.named_layers()]
    with no_memory():
        for"""))
mistake("the pass is remembered", "Every forward pushes what a backward would need. Nobody calls backward here, so it stays and takes memory: "
        "with no_memory().", swap=("with kept(model), no_memory():", "with kept(model):"))
mistake("gradients are taken from the validation samples", "The next step would learn from them. Validation has no backward.",
        swap=("""    with kept(model), no_memory():
        model.eval()
        for x, y in batches:
            out = model(x)
            total += loss(out, y) * len(x)
""", """    with kept(model):
        model.eval()
        for x, y in batches:
            out = model(x)
            total += loss(out, y) * len(x)
            model.backward(loss.backward())
"""))
mistake("the mean of the batch means is returned", "A short batch would count as much as a long one. Weigh by len(x), divide by all samples.",
        swap=("""    outputs, targets = np.concatenate(outputs), np.concatenate(targets)
    return total / len(outputs), outputs, targets""", """    sizes = [len(one) for one in outputs]
    with kept(model), no_memory():
        mean = np.mean([loss(out, y) for out, y in zip(outputs, targets)])
    outputs, targets = np.concatenate(outputs), np.concatenate(targets)
    return float(mean), outputs, targets"""))
mistake("the batches' lengths are left out", "A loss is a mean over its batch. Times len(x) it is the batch's sum, and the sums may be added.",
        swap=("loss(out, y) * len(x)", "loss(out, y)"))
mistake("only the last batch is returned", "Keep each batch's outputs in a list, and join the lists at the end.",
        swap=("np.concatenate(outputs), np.concatenate(targets)", "outputs[-1], targets[-1]"))
mistake("targets are stacked as rows", "np.vstack makes a row of each batch of class numbers, and needs batches of one length. Targets may be (N,): "
        "np.concatenate joins along the first axis, whatever the shape.",
        swap=("np.concatenate(outputs), np.concatenate(targets)", "np.concatenate(outputs), np.vstack(targets)"))
mistake("targets come before outputs", "The order is: mean loss, outputs, targets.",
        swap=("return total / len(outputs), outputs, targets", "return total / len(outputs), targets, outputs"))
mistake("no batches end in another error", "Where nothing came, say so with a ValueError before dividing or joining. An iterator is never false: "
        "ask whether anything was collected.",
        swap=("""        raise ValueError("validate received no batches: is the loader empty, or used up?")""",
              "        raise ZeroDivisionError"))

# %% [markdown] hints="validate"
# Keep each batch's outputs and targets in two lists. Everything that touches the model happens inside the block, in eval mode.
#
# ---
#
# mean = Σ loss · len(x) / N. `np.concatenate` joins a list of arrays along the first axis. Check for an empty list first.
#
# ---
#
# ```python
# total, outputs, targets = 0.0, [], []
# with kept(model), no_memory():
#     model....
#     for x, y in batches:
#         out = ...
#         total += ...
#         outputs.append(...)
#         targets.append(...)
# if not outputs:
#     raise ValueError(...)
# outputs, targets = np.concatenate(...), ...
# return ..., outputs, targets
# ```

# %% [markdown]
# ### Exercise 3 ★★: stop in time
#
# `update` takes an epoch's validation loss and says whether it *improved*: it must lie below the best by more than `min_delta`. `waited`
# counts the epochs since. `stop` is true once `waited` has reached `patience`. Beware of NaN: every <, > and == with it is
# false.

# %% exercise="EarlyStopping" points=3 stars=2
#| export
class EarlyStopping:
    """Stop training after `patience` epochs in a row without an improvement.

    improved: loss < best - min_delta. Attributes: best, the lowest loss that improved; waited, the
    epochs since; stop. A patience of None never stops; NaN never improves.

    Raises:
        ValueError: where patience is below 1, or min_delta below 0.

    Source: Prechelt, Early stopping – but when? (1998).
    """

    def __init__(self, patience, min_delta=0.0):
        if patience is not None and patience < 1:
            raise ValueError(f"patience must be at least 1, or None, received {patience}: try 5")
        if not min_delta >= 0:
            raise ValueError(f"min_delta must be at least 0, received {min_delta}: try 0")
        self.patience, self.min_delta = patience, float(min_delta)
        self.best, self.waited = float("inf"), 0

    def update(self, loss):
        """Take one epoch's loss; return True where it improved."""
        ### BEGIN SOLUTION compare with the best; keep it as a float, or count one more epoch
        if loss < self.best - self.min_delta:
            self.best, self.waited = float(loss), 0
            return True
        self.waited += 1
        return False
        ### END SOLUTION

    @property
    def stop(self):
        """True once there have been `patience` epochs without an improvement."""
        ### BEGIN SOLUTION compare waited with patience, which may be None
        return self.patience is not None and self.waited >= self.patience
        ### END SOLUTION

    def state_dict(self):
        """Return best and waited as plain numbers."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state):
        """Take over what state_dict returned."""
        self.best, self.waited = float(state["best"]), int(state["waited"])

# %%
check(EarlyStopping)

# %% probe="EarlyStopping"
def walk(stopping, losses):
    """The course of a run: improved, waited, stop and best after each epoch."""
    rows = [(bool(stopping.update(loss)), stopping.waited, bool(stopping.stop), float(stopping.best)) for loss in losses]
    return [np.array(column) for column in zip(*rows)]


def probe(EarlyStopping, rng):
    patience, base = int(rng.integers(2, 5)), rng.uniform(1, 2)
    steps = [0, -0.3, 0.2, -0.4] + [0.1] * (patience - 1) + [-0.6] + list(rng.uniform(0.1, 0.3, patience + 2))
    names = ("improved", "waited", "stop", "best")
    for name, column in zip(names, walk(EarlyStopping(patience), base + np.array(steps))):
        yield f"{name} after each epoch", column
    losses = np.array([2.0, 1.94, 1.86, 1.9, 1.79, 1.6])
    for name, column in zip(names, walk(EarlyStopping(patience, min_delta=0.1), losses)):
        yield f"{name} with min_delta", column
    for name, column in zip(names, walk(EarlyStopping(patience), [1.0, 1.0, 1.0, 0.9])):
        yield f"{name} where the loss is equal", column
    for name, column in zip(names[:3], walk(EarlyStopping(2), [np.nan, 2.0, np.nan, 1.9, np.nan, np.nan])):
        yield f"{name} where a loss is NaN", column
    free = EarlyStopping(None)
    yield "waited without a patience", [(free.update(loss), free.waited)[1] for loss in (1.0, 2.0, 3.0, 4.0)]
    try:
        yield "stop without a patience", "True" if free.stop else "False"
    except TypeError as error:
        yield "stop without a patience", type(error).__name__
    one = EarlyStopping(1)
    yield "stop before the first epoch", bool(one.stop)
    yield "stop with a patience of 1", walk(one, [1.0, 2.0])[2]
    yield "improved for a negative loss", walk(EarlyStopping(2), [0.5, -0.5, -0.4, -1.5])[0]
    single = EarlyStopping(2)
    single.update(np.float32(1.5))
    kinds = {type(value).__name__ for value in single.state_dict().values()}
    yield "the types in the state", ", ".join(sorted(kinds & {"float32"} or {"plain"}))
    first, second = EarlyStopping(3), EarlyStopping(3)
    walk(first, [1.0, 1.2])
    second.load_state_dict(first.state_dict())
    yield "waited after a resume", walk(second, [1.1, 1.3, 0.9])[1]

# %% mistakes="EarlyStopping"
mistake("it stops one epoch late", "With patience 3 the third epoch without an improvement is the last: waited >= patience.",
        swap=("self.waited >= self.patience", "self.waited > self.patience"))
mistake("it stops one epoch early", "With patience 3 two epochs without an improvement are still allowed.",
        swap=("self.waited >= self.patience", "self.waited >= self.patience - 1"))
mistake("stop is true for one epoch only", "Once patience is used up it stays so, also if somebody trains on: >= and not ==.",
        swap=("self.waited >= self.patience", "self.waited == self.patience"))
mistake("update says whether to stop", "update returns True where the loss improved. Whether to stop is what the attribute stop says.",
        swap=("            return True\n        self.waited += 1\n        return False\n", "        else:\n            self.waited += 1\n        return self.stop\n"))
mistake("stop compares waited with a patience of None", "A number and None cannot be compared. None means that the run is never stopped: ask for it first, with `and`.",
        swap=("self.patience is not None and self.waited", "self.waited"))
mistake("NaN is not counted as an epoch that waited", "An epoch whose loss is NaN has not improved, so it has waited: one more, as for any other. A run of NaN alone must come to its stop.",
        swap=("        if loss < self.best", "        if np.isnan(loss):\n            return False\n        if loss < self.best"))
mistake("the counter is not set back", "Patience counts epochs in a row. An improvement starts the count again, at 0.",
        swap=("self.best, self.waited = float(loss), 0", "self.best = float(loss)"))
mistake("an improvement sets the counter to 1", "The epoch that improved has not waited: 0.",
        swap=("self.best, self.waited = float(loss), 0", "self.best, self.waited = float(loss), 1"))
mistake("an equal loss counts as an improvement", "A loss that stands still would never stop the run. It has to be lower.",
        swap=("if loss < self.best - self.min_delta:", "if loss <= self.best - self.min_delta:"))
mistake("min_delta is added to the best", "Then a loss that is a little higher than the best counts as better. It must be lower by more than min_delta.",
        swap=("self.best - self.min_delta:", "self.best + self.min_delta:"))
mistake("min_delta is ignored", "A gain smaller than min_delta is no improvement: compare with best - min_delta.",
        swap=("self.best - self.min_delta:", "self.best:"))
mistake("each loss is compared with the last one", "A loss below its neighbour may be far above the best. The best changes only where it is beaten.",
        swap=("        self.waited += 1\n", "        self.best = float(loss)\n        self.waited += 1\n"))
mistake("best moves at every small gain", "A gain below min_delta must not move best, or many small gains in a row never add up to an improvement.",
        swap=("        self.waited += 1\n", "        self.best = min(self.best, float(loss))\n        self.waited += 1\n"))
mistake("NaN counts as an improvement", "Every <, > and == with NaN is false, so not (loss >= …) is true for it. Ask for loss < … instead.",
        swap=("if loss < self.best - self.min_delta:", "if not loss >= self.best - self.min_delta:"))
mistake("the highest value is taken for the best", "A loss is better where it is lower.",
        swap=("if loss < self.best - self.min_delta:", "if loss > (self.best if self.best < 1e300 else -1e300) + self.min_delta:"))
mistake("the best is never kept", "Without self.best = loss every epoch is compared with infinity, and all improve.",
        swap=("self.best, self.waited = float(loss), 0", "self.waited = 0"))
mistake("best stays a NumPy number", "A saved state holds plain values: float(loss).",
        swap=("self.best, self.waited = float(loss), 0", "self.best, self.waited = loss, 0"))

# %% [markdown] hints="EarlyStopping"
# There are two cases. Either the loss beats the best: keep it, and start counting again. Or it does not: count one more.
#
# ---
#
# improved: loss < best − min_delta. NaN makes that false, as it should. stop: patience is given, and waited ≥ patience.
#
# ---
#
# ```python
# # update
# if loss < ...:
#     self.best, self.waited = float(...), ...
#     return True
# self.waited += ...
# return False
#
# # stop
# return self.patience is not None and ...
# ```

# %% [markdown]
# ## See: the first bad run again
#
# Same digits, same typing errors, now with your three parts. Each time `update` says yes, the weights are copied. With `keep_on` the run
# goes on after the stop, only so that there is something to draw.

# %% tags=["nbval-check-output"]
def careful(patience, keep_on=0):
    model, loss, rng = small_network(1), CrossEntropyLoss(), np.random.default_rng(2)
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    stopping, rows, best, after = EarlyStopping(patience), [], None, 0
    while after <= keep_on:
        train = train_batches(model, loss, optimizer, batches_of(few, rng=rng))
        valid = validate(model, loss, batches_of(others))[0]
        if not stopping.stop:
            best = model.state_dict() if stopping.update(valid) else best
        rows.append((train, valid))
        after += stopping.stop
    model.load_state_dict(best)
    return model, stopping, np.array(rows)


model, stopping, rows = careful(patience=6, keep_on=15)
restored = validate(model, CrossEntropyLoss(), batches_of(others))[0]
stop = len(rows) - 15
print("the model holds the best weights again:", restored == stopping.best)
print("they are better than those of the stop:", restored < rows[stop - 1, 1])

fig, ax = plt.subplots(figsize=(8, 3))
ax.plot(range(1, len(rows) + 1), rows[:, 0], color=BLUE, label="training")
ax.plot(range(1, len(rows) + 1), rows[:, 1], "--", color=BLUE, label="validation")
ax.axvspan(stop - 6, stop, color=GREY, alpha=0.2, label="patience: 6 epochs")
ax.axvline(stop, color=ORANGE, label="stop; what follows is never computed")
ax.plot(stop - 6, stopping.best, "o", color=GREEN, ms=9, label="the weights that are kept")
ax.set(xlabel="epoch", ylabel="loss")
ax.legend()
plt.show()

# %% [markdown]
# The grey band is the price of not knowing the future: six epochs that waited in vain for a loss below the green dot. Too little patience stops at the first
# small bump. Too much wastes epochs, and nothing else, as long as the *best* is what is kept.
#
# One caution. The best of a run's validation losses is a little too good, because it was chosen for being low. So the final number
# must come from a third set, which no decision has seen: the *test* set.
#
# ### Exercise 4 ★★★: which layer was it?
#
# A NaN spreads. Once the loss is NaN, every gradient is. But on the way forward there is one layer where it *first* appears: in
# its parameters, or in its output though its input was sound.
#
# `listening` is given. Inside its block a forward pass calls `hear(name, arrays)`: with a layer's own parameters as it begins, and with its outputs as
# it ends. `arrays` is a list of arrays of different shapes, and empty where a layer has no parameters. What `hear` returns is ignored.
# It stands on `watch_layers`, which wraps the forward of every layer for as long as its block lasts.
# The block changes nothing else, so the rest is yours: no trace in memory, modes or statistics. Call `model.forward`
# here: `model(x)` would forget what an earlier pass has saved.

# %%
#| export
@contextlib.contextmanager
def listening(model, hear):
    """Call hear(name, arrays) in a forward pass: a layer's own parameters, then its outputs.

    Names are those of named_layers, in the order of execution; a shared layer has its first name.
    """
    def begin(name, layer, inputs):
        hear(name, [one.data for _, one in layer.named_children() if isinstance(one, Parameter)])

    def end(name, layer, inputs, out):
        hear(name, out if isinstance(out, (tuple, list)) else [out])

    with watch_layers(model, end, begin, containers=True), np.errstate(all="ignore"):
        yield

# %% exercise="first_bad_layer" points=4 stars=3
#| export
def first_bad_layer(model, x):
    """Name the layer in which a forward pass first meets NaN or infinity; None where it is sound.

    Parameters count as soon as their layer begins, outputs as soon as it ends. The model runs in
    the mode that it is in, and is left as it was: memory, modes, buffers, random states.

    Args:
        model: a NyangModel.
        x: the input of the pass; where it is not finite itself, the answer is "input".

    Returns:
        a dotted name as in named_layers ("" for the model itself), "input", or None.
    """
    ### BEGIN SOLUTION look at x; then listen to one forward pass without traces, and keep the first bad name
    found = [] if np.isfinite(x).all() else ["input"]

    def hear(name, arrays):
        if not all(np.isfinite(one).all() for one in arrays):
            found.append(name)

    with kept(model), no_memory(), listening(model, hear):
        model.forward(x)
    return found[0] if found else None
    ### END SOLUTION

# %%
check(first_bad_layer)

# %% probe="first_bad_layer"
import inspect

from nyang_edu.model.activation import ReLU
from nyang_edu.model.core import NyangModel
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm1d


class Scale(NyangModel):
    """out = x · factor, with a factor that is learned, and a spare one that is not used."""

    def __init__(self, factor, spare=1.0):
        self.factor, self.spare = Parameter(np.array([factor])), Parameter(np.array([spare]))

    def forward(self, x):
        return x * self.factor.data


class Backwards(NyangModel):
    """Defined head first, run body first."""

    def __init__(self, head, body):
        self.head, self.body = head, body

    def forward(self, x):
        return self.head.forward(self.body.forward(x))


def probe(first_bad_layer, rng):
    x = rng.normal(size=(5, 3))

    def linear(value=None, where="weight"):
        layer = Linear(3, 3, rng=rng).to(np.float64)
        if value is not None:
            getattr(layer, where).data.flat[1] = value
        return layer

    unwatched = inspect.unwrap(first_bad_layer)  # a text instead of None is to be shown, not to stop the probe

    def name_of(model, x=x, search=first_bad_layer):
        try:
            return repr(search(model, x))
        except UnboundLocalError as error:
            return type(error).__name__

    bad = int(rng.integers(1, 3))
    layers = [linear(np.nan if place >= bad else None) for place in range(4)]
    yield "a sound model", name_of(NyangFlow(linear(), ReLU(), linear()), search=unwatched)
    yield "NaN weights in several layers", name_of(NyangFlow(*layers))
    yield "an infinite bias before NaN", name_of(NyangFlow(linear(), ReLU(), linear(np.inf, "bias"), linear(np.nan)))
    yield "an output too large for a float before NaN", name_of(NyangFlow(Scale(1e200), Scale(1e200), Scale(np.nan)))
    nested = NyangFlow(linear(), NyangFlow(ReLU(), linear(np.nan)), linear())
    yield "a layer in a flow in a flow", name_of(nested)
    yield "a model that runs in another order than it is defined in", name_of(
        Backwards(linear(np.nan), linear(np.nan)))
    yield "a bad parameter that this pass does not use", name_of(NyangFlow(linear(), Scale(1.0, spare=np.nan)))
    yield "a model that is one layer", name_of(linear(np.nan))
    shared = linear(np.nan)
    yield "a layer that stands twice", name_of(NyangFlow(linear(), shared, ReLU(), shared))
    norm = BatchNorm1d(3).to(np.float64)
    norm.running_var[1] = np.nan  # training takes the batch's own variance, eval this one
    yield "NaN in a running_var, a model in training", name_of(NyangFlow(linear(), norm, linear()), search=unwatched)
    frozen = NyangFlow(linear(), norm, linear())
    frozen.eval()
    yield "NaN in a running_var, a model in eval", name_of(frozen)
    poisoned = x.copy()
    poisoned[2, 1] = np.nan
    yield "a bad input", name_of(NyangFlow(linear(), ReLU()), poisoned)
    drop = Dropout(0.5, rng=np.random.default_rng(7))
    model = NyangFlow(linear(), BatchNorm1d(3).to(np.float64), drop, linear())
    model[0].eval()
    model(x)
    before = model[1].running_mean.copy()
    name_of(model, search=unwatched)
    yield "the change of running_mean", model[1].running_mean - before
    yield "the modes afterwards", np.array([layer.training for _, layer in model.named_layers()])
    yield "the next draw of a Dropout", drop.rng.random()
    try:
        yield "dx of a pass that came before", model.backward(np.ones((5, 3)))
    except RuntimeError:
        yield "dx of a pass that came before", "RuntimeError: its memory is gone"

# %% mistakes="first_bad_layer"
mistake("only parameters are looked at", "Sound weights can still give an output too large for a float. hear is called with the outputs as well.",
        swap=("with kept(model), no_memory(), listening(model, hear):\n        model.forward(x)",
              "for name, layer in model.named_layers():\n        hear(name, [one.data for _, one in layer.named_children() if isinstance(one, Parameter)])"))
mistake("only outputs are looked at", "hear is called twice for a layer. The first call brings its parameters: a bad one counts, whether this pass uses it or not.",
        swap=("    def hear(name, arrays):\n", "    calls = []\n\n    def hear(name, arrays):\n        calls.append(name)\n"
              "        if calls.count(name) % 2:\n            return\n"))
@mistake("all parameters below a layer are counted as its own", "layer.parameters() goes down to the last child, so the model itself is always the first to hold a bad one. "
         "And outputs are never looked at. hear is called with a layer's own parameters, then with its outputs.")
def first_bad_layer(model, x):
    if not np.isfinite(x).all():
        return "input"
    return next((name for name, layer in model.named_layers()
                 if not all(np.isfinite(one.data).all() for one in layer.parameters())), None)

@mistake("the name of a parameter is returned", "named_parameters brings names such as \"1.weight\", in the order of their definition, and no outputs. The name of a layer is asked "
         "for, in the order of the pass: it is what hear is given.")
def first_bad_layer(model, x):
    if not np.isfinite(x).all():
        return "input"
    return next((name for name, one in model.named_parameters() if not np.isfinite(one.data).all()), None)

mistake("what hear returns is taken for the result", "listening drops what hear returns, and a plain assignment in hear makes a variable of hear's own. "
        "Append the name to a list that stands outside of hear.", swap=("found.append(name)", "return name"))
@mistake("hear has a variable of its own", "Whatever hear assigns to belongs to hear alone, also where it reads it first. Write nonlocal, or append to a list that stands outside.")
def first_bad_layer(model, x):
    found = None if np.isfinite(x).all() else "input"

    def hear(name, arrays):
        if not all(np.isfinite(one).all() for one in arrays) and found is None:  # noqa: F823  the mistake itself
            found = name  # noqa: F841

    with kept(model), no_memory(), listening(model, hear):
        model.forward(x)
    return found

mistake("the list is handed to np.isfinite as a whole", "arrays is a list of arrays of different shapes, which NumPy cannot make into one. Ask each of them, then all.",
        swap=("all(np.isfinite(one).all() for one in arrays)", "np.isfinite(arrays).all()"))
mistake("the pass runs in eval mode", "It runs in the mode that the model is in. What a training pass computes may differ: BatchNorm takes the batch's own statistics.",
        swap=("        model.forward(x)", "        model.eval()\n        model.forward(x)"))
mistake("the pass runs in training mode", "It runs in the mode that the model is in. In eval BatchNorm takes its running statistics, and they may be what is bad.",
        swap=("        model.forward(x)", "        model.train()\n        model.forward(x)"))
mistake("the last bad layer is named", "NaN spreads to all that follow, and in the end to the output of the model itself. Where it began is the first entry that hear brings.",
        swap=("return found[0] if found", "return found[-1] if found"))
mistake("infinity passes as sound", "np.isnan sees only NaN. An infinite number is as bad: np.isfinite.",
        swap=("not all(np.isfinite(one).all() for one in arrays)", "any(np.isnan(one).any() for one in arrays)"))
mistake("NaN passes as sound", "np.isinf sees only infinities. np.isfinite refuses NaN as well.",
        swap=("not all(np.isfinite(one).all() for one in arrays)", "any(np.isinf(one).any() for one in arrays)"))
mistake("the running statistics are moved", "The pass runs in training mode, and BatchNorm tracks it. kept(model) brings everything back.",
        swap=("with kept(model), no_memory()", "with no_memory()"))
mistake("the memory of an earlier pass is forgotten", "model(x) starts a fresh pass and forgets. model.forward(x) leaves what is saved alone.",
        swap=("        model.forward(x)", "        model(x)"))
mistake("the pass is remembered", "What this pass saves lies on top of the earlier one, and the next backward takes it. Use no_memory().",
        swap=("with kept(model), no_memory(), listening", "with kept(model), listening"))
mistake("the model is left in eval mode", "The answer is asked for in the mode that the model is in; and whatever is switched has to be switched back.",
        swap=("    with kept(model), no_memory(), listening(model, hear):\n        model.forward(x)",
              "    with kept(model), no_memory(), listening(model, hear):\n        model.forward(x)\n    model.eval()"))
mistake("a bad input is blamed on a layer", "Where x itself holds NaN, no layer is at fault. Look at x first.",
        swap=("[] if np.isfinite(x).all() else [\"input\"]", "[]"))
mistake("the name of the model itself is taken for nothing", "\"\" is a name, though Python counts it as false. Ask whether the list is empty, or whether the name is None.",
        swap=("return found[0] if found else None", "return (found[0] if found else None) or None"))
mistake("a sound model gives an empty text", "\"\" is the name of the model itself. Where nothing is bad, return None.",
        swap=("if found else None", "if found else \"\""))

# %% [markdown] hints="first_bad_layer"
# Write a small function `hear(name, arrays)` that appends the name to a list where an array is not finite. After one forward pass the list's
# first entry is the answer.
#
# ---
#
# Frame: `with kept(model), no_memory(), listening(model, hear): model.forward(x)`. A bad x is found before that.
#
# ---
#
# ```python
# found = [] if np.isfinite(x).all() else [...]
#
# def hear(name, arrays):
#     if not all(... for one in arrays):
#         found.append(...)
#
# with kept(model), no_memory(), listening(model, hear):
#     model....
# return ... if found else None
# ```

# %% [markdown]
# Three runs that would end in NaN: a broken picture, an infinite weight, and a learning rate with a typing error.

# %% tags=["nbval-check-output"]
def diagnose(model, x, lr=0.02):
    optimizer, step = SGD(model.parameters(), lr), 0
    try:
        with np.errstate(all="ignore"):
            train_batches(model, CrossEntropyLoss(), optimizer, batches_of(few, x))
    except NotFinite as error:
        step = error.step
    batch = list(batches_of(few, x))[step - 1][0]
    return f"stopped at step {step}, first bad: {first_bad_layer(model, batch)}"


infinite = small_network(1)
infinite[3].weight.data[0, 0] = np.inf
print("broken picture: ", diagnose(small_network(1), broken))
print("infinite weight:", diagnose(infinite, pixels))
print("lr of 1e25:     ", diagnose(small_network(1), pixels, lr=1e25))

# %% [markdown]
# The first run was stopped before the first bad step, so its weights are still good. In the second the layer itself is at fault: 3 is the last `Linear`. In the third, no
# layer is at fault: the step was too long, and this is where the numbers first grew too large. The name says where to look, not why.
#
# In the first figure the same picture broke step 3. There the batches were shuffled. Here they are not, and picture 123 of the 300 comes with
# the fourth batch of 32.
#
# ## Part two: what is kept
#
# A power cut after epoch 40 of 50. The weights are on disk. Is that enough to go on *as if nothing had happened*? What does epoch
# 41 depend on besides the weights? The optimizer's velocities. The running statistics. The schedule's place, the patience used up so far, the
# order that the loader will draw next, and the next masks of Dropout.
#
# ### Exercise 5 ★★: the whole state
#
# Most parts have a `state_dict`. The generators of the layers come from `random_state(model)`. A part that is None, or is a plain
# list without a `state_dict`, has nothing to remember: leave its key out.

# %% exercise="training_state" points=3 stars=2
#| export
def training_state(model, optimizer, scheduler=None, loader=None, stopping=None):
    """Copy all that the next epoch depends on into plain containers and arrays.

    Returns:
        dict with the state_dict of each part under the name of its argument, "model",
        "optimizer", "scheduler", "loader", "stopping", and random_state(model) under
        "random". A part that is None or has no state_dict is left out.
    """
    ### BEGIN SOLUTION the state_dict of every part that has one, and the layers' random states
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler,
             "loader": loader, "stopping": stopping}
    state = {name: part.state_dict() for name, part in parts.items()
             if hasattr(part, "state_dict")}
    return state | {"random": random_state(model)}
    ### END SOLUTION

# %%
check(training_state)

# %% probe="training_state"
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm1d
from nyang_edu.training.optimizer import SGD


class Counter:
    """A scheduler, loader or stopping: it only counts."""

    def __init__(self, count):
        self.count = count

    def state_dict(self):
        return {"count": self.count}


def probe(training_state, rng):
    seed = int(rng.integers(10**6))
    model = NyangFlow(Linear(3, 4, rng=rng), BatchNorm1d(4), Dropout(0.5, rng=np.random.default_rng(seed))).to(np.float64)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9)

    def work():
        optimizer.zero_grad()
        model(x)
        model.backward(x @ np.ones((3, 4)))
        optimizer.step()

    x = rng.normal(size=(6, 3))
    work()
    counts = [int(count) for count in rng.integers(1, 100, 3)]
    scheduler, loader, stopping = (Counter(count) for count in counts)
    state = training_state(model, optimizer, scheduler, loader, stopping)
    yield "the keys", keys_of(state)
    few = training_state(model, optimizer)
    yield "the keys where only model and optimizer are given", keys_of(few)
    part = training_state(model, optimizer, loader=[(x, x)], stopping=stopping)
    yield "the keys with a plain list as loader", keys_of(part)
    model[2].rng.random(5)
    work()
    kinds = sorted({"a dict" if isinstance(value, dict) else "an object" for value in state.values()})
    yield "the kinds of the entries", ", ".join(kinds)
    state = {key: value if isinstance(value, dict) else {} for key, value in state.items()}
    kept_model, kept_moves = state.get("model", {}), state.get("optimizer", {})
    yield "the saved weight, after more training", np.array(kept_model.get("0.weight", "missing"))
    yield "the names of the saved arrays", keys_of(kept_model)
    velocities = kept_moves.get("velocities", ["missing"])
    yield "the saved velocity, after more training", np.array(velocities[0])
    for name in ("scheduler", "loader", "stopping"):
        yield f"what is kept of {name}", repr(state.get(name, "missing"))
    random = state.get("random", {})
    yield "the generators in the state", keys_of(random)
    yield "the layers' next draw from the saved state", next_draw(random)


def keys_of(state):
    """The keys as one text, so that a message shows all of them."""
    return ", ".join(sorted(map(str, state)))


def next_draw(random):
    generator = np.random.default_rng(0)
    try:
        generator.bit_generator.state = next(iter(random.values()))
    except (StopIteration, TypeError, ValueError, AttributeError):
        return "cannot be restored"
    return generator.random(3)

# %% mistakes="training_state"
mistake("the random states are forgotten", "After a resume Dropout would draw other masks than in the run that was not stopped. random_state(model) brings them.",
        swap=("    return state | {\"random\": random_state(model)}", "    return state"))
mistake("the optimizer is forgotten", "Its velocities would start at zero again, and the first steps after a resume would be short.",
        swap=("\"model\": model, \"optimizer\": optimizer,", "\"model\": model,"))
mistake("the scheduler is forgotten", "The learning rate would begin its schedule again.",
        swap=("\"scheduler\": scheduler,\n", "\n"))
mistake("the loader is forgotten", "The loader would repeat the orders of its first epochs.",
        swap=("\"loader\": loader, ", ""))
mistake("the patience used up so far is forgotten", "The count of early stopping, and its best loss, would start again.",
        swap=(", \"stopping\": stopping}", "}"))
mistake("only the parameters are kept", "BatchNorm's running statistics are no parameters, but they belong to the model. state_dict has both.",
        swap=("    return state |", "    state['model'] = {name: one.data.copy() for name, one in model.named_parameters()}\n    return state |"))
mistake("the weights are not copied", "named_arrays hands out the model's own arrays, and they move on with training. state_dict copies.",
        swap=("    return state |", "    state['model'] = dict(model.named_arrays())\n    return state |"))
mistake("the optimizer's memories are not copied", "vars(optimizer) holds its own arrays, and they move on with training. state_dict copies.",
        swap=("    return state |", "    state['optimizer'] = vars(optimizer)\n    return state |"))
mistake("the objects themselves are kept", "They move on with training, and a file of plain values cannot hold them. Ask each for its state_dict().",
        swap=("part.state_dict() for", "part for"))
mistake("a part that is None gets a key", "Nothing was given, so there is nothing to keep: leave the key out.",
        swap=("""    state = {name: part.state_dict() for name, part in parts.items()
             if hasattr(part, "state_dict")}""", """    state = {name: part and part.state_dict() for name, part in parts.items()
             if part is None or hasattr(part, "state_dict")}"""))
mistake("every part gets a key, also one without a state", "None and a plain list have nothing to remember. Leave their keys out: "
        "restore_training_state compares the keys with the parts that it is given.",
        swap=("""    state = {name: part.state_dict() for name, part in parts.items()
             if hasattr(part, "state_dict")}""", """    state = {name: part.state_dict() if hasattr(part, "state_dict") else None
             for name, part in parts.items()}"""))
mistake("a plain list is asked for its state", "A list of batches has no state_dict, and needs none: it is the same in every epoch. Ask hasattr first.",
        swap=("if hasattr(part, \"state_dict\")", "if part is not None"))
mistake("the hidden generator of NumPy is kept", "np.random.get_state() belongs to functions such as np.random.rand. The layers draw from generators of their own.",
        swap=("random_state(model)}", "{\"numpy\": np.random.get_state()[0]}}"))

# %% [markdown] hints="training_state"
# Put the five arguments into a dict under their names. Then ask each one that can answer.
#
# ---
#
# `hasattr(part, "state_dict")` is false for None and for a list. `random_state(model)` is the sixth entry.
#
# ---
#
# ```python
# parts = {"model": model, "optimizer": ..., ...}
# state = {name: ... for name, part in parts.items() if hasattr(...)}
# return state | {"random": ...}
# ```

# %% [markdown]
# The way back is given. It refuses a state with a part too many or too few, and where one part does not fit, the others get
# back what they held.

# %%
#| export
def restore_training_state(state, model, optimizer, scheduler=None, loader=None, stopping=None):
    """Bring the parts back to where training_state found them; nothing changes unless all fit.

    Raises:
        ValueError: where a part of the state is not given, a given one is not in the state,
            or one does not fit.
    """
    given = {"model": model, "optimizer": optimizer, "scheduler": scheduler,
             "loader": loader, "stopping": stopping}
    parts = {name: one for name, one in given.items() if hasattr(one, "load_state_dict")}
    if wrong := sorted(set(state) ^ {*parts, "random"}):
        raise ValueError(f"the state holds {', '.join(sorted(state))}; {', '.join(wrong)} is on "
                         "one side only: pass the same parts as to training_state")
    before = {name: one.state_dict() for name, one in parts.items()}
    try:
        for name, one in parts.items():
            one.load_state_dict(state[name])
        load_random_state(model, state["random"])
    except Exception:
        for name, one in parts.items():
            one.load_state_dict(before[name])
        raise

# %% [markdown]
# Now the power cut. Four epochs without a stop, against two epochs, a file, and two more with new objects. Then the same with one entry left as
# new objects have it.

# %% tags=["nbval-check-output"]
import tempfile
from pathlib import Path

from nyang_edu.data.dataset import ArrayDataset
from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.utility.save_load import nyang_load_model, nyang_save_model, read_model_file

folder = Path(tempfile.mkdtemp())


def new_parts():
    model = small_network(1, Dropout(0.3, rng=np.random.default_rng(3)))
    loader = NyangDataLoader(ArrayDataset(pixels[few], typed[few]), 32, shuffle=True, seed=0)
    return {"model": model, "optimizer": SGD(model.parameters(), 0.02, momentum=0.9), "loader": loader}


def go_on(epochs, model, optimizer, loader):
    for _ in range(epochs):
        train_batches(model, CrossEntropyLoss(), optimizer, loader)
    return model.state_dict()


straight, stopped = go_on(4, **new_parts()), new_parts()
go_on(2, **stopped)
nyang_save_model(stopped["model"], folder / "half.pickle", training=training_state(**stopped))
for forgotten in ["nothing", "random", "loader", "optimizer"]:
    state, parts = read_model_file(folder / "half.pickle")["training"], new_parts()
    if forgotten != "nothing":
        state[forgotten] = training_state(**parts)[forgotten]
    restore_training_state(state, **parts)
    final = go_on(2, **parts)
    same = all(np.array_equal(final[name], straight[name]) for name in straight)
    print(f"{forgotten + ' forgotten:':20} final weights equal to the last bit: {same}")

# %% [markdown]
# Bit for bit, or not at all. Whoever restores almost everything has another run.
#
# ### A file is there as a whole, or not at all
#
# The computer stops while a checkpoint is being written. The usual way opens the file, which empties it, and writes from the front. `replacing` writes to
# another name in the same folder, forces the bytes to the disk, and then renames: the old file or the new one, nothing between.

# %% tags=["nbval-check-output"]
from nyang_edu.utility.atomic import replacing

nyang_save_model(small_network(0), folder / "small.pickle")
data = (folder / "small.pickle").read_bytes()
for name, opened in [("open", lambda path: open(path, "wb")), ("replacing", replacing)]:
    path = folder / f"{name}.pickle"
    path.write_bytes(data)  # last epoch's checkpoint
    try:
        with opened(path) as file:
            file.write(data[:len(data) // 2])
            raise OSError("no space left on device")
    except OSError:
        pass
    try:
        nyang_load_model(path)
        print(f"{name + ':':10} last epoch's checkpoint is still there")
    except ValueError:
        print(f"{name + ':':10} no checkpoint left: the file holds {len(path.read_bytes()) / len(data):.0%} of one")

# %% [markdown]
# ### A pickle is a program
#
# The suffix `.pickle` stands for Python's own format. It holds instructions, and some of them say *import this name* and *call
# it*. Python's reader obeys. This file calls `print`. It could have called anything.

# %% tags=["nbval-check-output"]
import pickle


class Surprise:
    def __reduce__(self):
        return print, ("   (this line was printed by reading the file)",)


(folder / "gift.pickle").write_bytes(pickle.dumps({"weights": Surprise()}))
print("pickle.load:")
pickle.loads((folder / "gift.pickle").read_bytes())
print("nyang_load_model:")
try:
    nyang_load_model(folder / "gift.pickle")
except ValueError as error:
    print("  ", str(error).split(": ", 1)[1])

# %% [markdown]
# `nyang_load_model` has a reader of its own, `read_pickle` in `nyang_edu/utility/safe_pickle.py`. It builds arrays of numbers and plain values:
# numbers, texts, bytes, None, and lists, tuples, dicts and sets of them. It imports nothing that a file names, and refuses the
# rest by name before anything runs.
#
# ### Exercise 6 ★: which of these load?
#
# Five files. Here is what each was made from. Which does `read_pickle` accept? (`nyang_load_model` would refuse them all: a model file
# holds more than these.) Say their letters in one text, such as "abc".

# %%
suspects = {
    "a": {"weight": np.ones((2, 3), np.float32), "epoch": 7},
    "b": ["os.system", "rm -rf /"],  # two texts, and nobody calls them
    "c": small_network(0),  # the whole model, as an object
    "d": np.array([len, [1, 2]], dtype=object),  # an array of Python objects
    "e": (np.float64(0.5), {"lr", "momentum"}, None, b"\x00\x01"),
}
for letter, thing in suspects.items():
    (folder / f"{letter}.pickle").write_bytes(pickle.dumps(thing))

# %% exercise="loads_safely" points=1 stars=1 reveal=false
def loads_safely():
    """Return the letters of the files that the reader accepts, as one text in alphabetical order."""
    ### BEGIN SOLUTION which files hold only numbers, texts, plain containers, and arrays of numbers?
    return "abe"
    ### END SOLUTION

# %%
check(loads_safely)

# %% probe="loads_safely"
def probe(loads_safely, rng):
    answer = loads_safely()
    typed = "".join(map(str, answer)) if isinstance(answer, (list, tuple, set)) else str(answer)
    yield "the letters", "".join(sorted(one for one in typed.lower() if one.isalpha()))  # also from "a, b"

# %% mistakes="loads_safely"
@mistake("a text is taken for an order", "A text that spells a command is a text. Only the instruction to import and call is dangerous, and a list of texts has none.")
def loads_safely():
    return "ae"

@mistake("a whole model is taken for plain", "A pickled object names its class. To build it, the reader would have to import that class and call it.")
def loads_safely():
    return "abce"

@mistake("every array is taken for safe", "An array of numbers is. One of Python objects can hold anything, and each element is a small pickle of its own.")
def loads_safely():
    return "abde"

@mistake("only arrays are let through", "Sets, tuples, None, bytes and NumPy's numbers are plain values too: nothing has to be run for them.")
def loads_safely():
    return "a"

@mistake("sets and bytes are taken for dangerous", "They are Python's own containers and values. Nothing has to be imported for them.")
def loads_safely():
    return "ab"

@mistake("everything is accepted", "Then any file could run any program. Look for what has to be imported.")
def loads_safely():
    return "abcde"

# %% [markdown] hints="loads_safely"
# Ask of each file: to build this, must the reader import something that the file names, and call it?
#
# ---
#
# Numbers, texts, bytes, None, list, tuple, dict, set: no. Arrays of numbers: only NumPy's own few names. Objects of a class: yes. What can an array of *objects*
# hold?
#
# ---
#
# ```python
# return "a..."
# ```

# %% [markdown]
# ## Part three: what a model is worth
#
# First by hand. Ten people, three of them sick. Each sample adds one to a table: the true class chooses the row, the prediction the column.

# %%
table = np.array([[5, 2], [1, 2]])
fig, axes = plt.subplots(1, 3, figsize=(10, 2.5))
marks = {"accuracy: 7 of 10": [[1, 0], [0, 1]], "precision of sick: 2 of 4": [[0, 1], [0, 1]],
         "recall of sick: 2 of 3": [[0, 0], [1, 1]]}
for ax, (title, marked) in zip(axes, marks.items()):
    draw_matrix(ax, table, title, highlight=np.array(marked, bool))
    for place, name in enumerate(["healthy", "sick"]):
        ax.text(-0.1, place + 0.5, f"is {name}", ha="right", va="center")
        ax.text(place + 0.5, 2.1, f"called\n{name}", ha="center", va="top")
plt.show()

# %% [markdown]
# A column belongs to a *prediction*, and precision is read down the column. A row belongs to the *truth*, and recall is read along the row.
#
# The first cell is given. `matched_ids` turns labels, one-hot rows or scores into class numbers, and finds how many classes there are. `confusion_matrix` counts as
# you did in chapter 06.

# %%
#| export evaluation.metrics
"""Measures of a classifier: each is taken of all samples at once, never averaged over batches."""

import numpy as np


def class_ids(values):
    """Return class numbers (N,) int64.

    Args:
        values: integer labels (N,); or scores or one-hot rows (N, C), where the largest counts,
            the first of equals; or one column (N, 1) of logits, class 1 where above 0.

    Raises:
        TypeError: for labels that are no integers. ValueError: for other shapes, or NaN.
    """
    values = np.asarray(values)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError("expected labels (N,) or scores (N, C) of at least one sample, "
                         f"received {values.shape}")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError("the scores hold NaN, which belongs to no class: look at the model first")
    if values.ndim == 2:
        return values.argmax(axis=1) if values.shape[1] > 1 else (values[:, 0] > 0).astype(np.int64)
    if values.dtype.kind not in "iub":
        raise TypeError(f"labels are integers, received {values.dtype}: scores have shape (N, C)")
    return values.astype(np.int64)


def matched_ids(targets, predictions, classes=None):
    """Return targets and predictions as class numbers (N,), and the number of classes.

    Where classes is None, it is the scores' columns, or the highest number + 1; at least 2.

    Raises:
        ValueError: for unequal lengths, a class out of range, targets with several classes.
    """
    shapes = np.shape(targets), np.shape(predictions)
    columns = [shape[1] for shape in shapes if len(shape) == 2]
    if len(shapes[0]) == 2 and columns[0] > 1 and not np.allclose(np.sum(targets, axis=1), 1):
        raise ValueError("each row of targets must sum to 1: a sample has one class here")
    targets, predictions = class_ids(targets), class_ids(predictions)
    if len(targets) != len(predictions):
        raise ValueError(f"received {len(targets)} targets and {len(predictions)} predictions: "
                         "one for each sample")
    highest = int(max(targets.max(), predictions.max()))
    classes = max(2, highest + 1, *columns) if classes is None else int(classes)
    if highest >= classes or min(targets.min(), predictions.min()) < 0:
        raise ValueError(f"classes are numbered 0 to {classes - 1}, received one outside")
    return targets, predictions, classes


def confusion_matrix(targets, predictions, classes=None):
    """Count how often each class was taken for each; arguments as matched_ids.

    Returns:
        matrix (classes, classes) int64: the true class in the row, the predicted in the column.
    """
    targets, predictions, classes = matched_ids(targets, predictions, classes)
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (targets, predictions), 1)  # counts a repeated pair each time
    return matrix


def accuracy(targets, predictions):
    """Return the share of samples whose class is predicted right; arguments as class_ids."""
    targets, predictions, _ = matched_ids(targets, predictions)
    return float(np.mean(targets == predictions))

# %% [markdown]
# ### Exercise 7 ★★: precision, recall, F1
#
# From the matrix, for every class at once. What is the precision of a class that was never predicted? 0 of 0 is nothing. The caller
# says what to write there: `zero_division`.

# %% exercise="precision_recall_f1" points=3 stars=2
#| export evaluation.metrics
def precision_recall_f1(matrix, zero_division=0.0):
    """Compute TP/(TP + FP), TP/(TP + FN) and 2·TP/(2·TP + FP + FN) of every class.

    Args:
        matrix: (C, C) counts, the true class in the row, the predicted in the column.
        zero_division: stands where the denominator is 0.

    Returns:
        precision, recall, f1: three float64 arrays (C,).

    Source: Sokolova and Lapalme, A systematic analysis of performance measures (2009).
    """
    ### BEGIN SOLUTION hits on the diagonal; divide by the sums of columns, of rows, of both
    hits, predicted, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)  # (C,) each

    def share(part, whole):
        unknown = np.full(len(part), float(zero_division))
        return np.divide(part, whole, out=unknown, where=whole > 0)

    return share(hits, predicted), share(hits, actual), share(2 * hits, predicted + actual)
    ### END SOLUTION

# %%
check(precision_recall_f1)

# %% probe="precision_recall_f1"
def probe(precision_recall_f1, rng):
    C = int(rng.integers(4, 6))
    names = ("precision", "recall", "f1")
    matrix = rng.integers(1, 30, (C, C))
    result = precision_recall_f1(matrix)
    for name, column in zip(names, result):
        yield name, column
    yield "the kind of each result", ", ".join(type(column).__name__ for column in result)
    never = matrix.copy()
    never[:, 1] = 0  # never predicted
    never[2, :] = 0  # never occurs, but is predicted
    never[3, 3] = 0  # never right
    never[0] = never[:, 0] = 0  # absent altogether
    for name, column in zip(names, precision_recall_f1(never)):
        yield f"{name} with empty rows and columns", column
    for name, column in zip(names, precision_recall_f1(never, 1.0)):
        yield f"{name} with zero_division=1.0", column
    for whole in (1, 0):  # an int must not make arrays of ints
        for name, column in zip(names, precision_recall_f1(never, whole)):
            yield f"{name} with the integer zero_division={whole}", column

# %% mistakes="precision_recall_f1"
mistake("precision and recall are swapped", "Precision divides by what was predicted, the sum down a column. Recall divides by what is true, the sum along a row.",
        swap=("return share(hits, predicted), share(hits, actual),", "return share(hits, actual), share(hits, predicted),"))
@mistake("a division by zero gives NaN", "0/0 spoils every mean that it enters. Where the denominator is 0, write zero_division.")
def precision_recall_f1(matrix, zero_division=0.0):
    hits, predicted, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return hits / predicted, hits / actual, 2 * hits / (predicted + actual)

mistake("zero_division is ignored", "Where the denominator is 0, the caller's value stands, and it need not be 0.",
        swap=("float(zero_division))", "0.0)"))

mistake("zero_division stands wherever nothing was right", "A class that was predicted and never right has a precision of 0, and that is a measurement. Only a denominator of 0 "
        "leaves nothing to say.", swap=("where=whole > 0)", "where=part > 0)"))
mistake("an integer zero_division makes an array of integers", "np.full takes the kind of what it is filled with, and an array of integers cannot hold a share: float(zero_division), or a dtype.",
        swap=("float(zero_division))", "zero_division)"))

@mistake("shares are cut off to integers", "np.full takes the kind of what it is filled with. Written into an array of integers, 0.7 becomes 0: float(zero_division), or a dtype.")
def precision_recall_f1(matrix, zero_division=0.0):
    def share(part, whole):
        out = np.full(len(part), zero_division)
        out[whole > 0] = part[whole > 0] / whole[whole > 0]
        return out
    hits, predicted, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)
    return share(hits, predicted), share(hits, actual), share(2 * hits, predicted + actual)

@mistake("lists are returned", "The callers take a mean and pick by index, as only arrays can: np.array(…).")
def precision_recall_f1(matrix, zero_division=0.0):
    return tuple(one.tolist() for one in reference(matrix, zero_division))

@mistake("F1 is the plain mean of precision and recall", "A precision of 1 and a recall of 0 would give a half. The harmonic mean, 2·TP/(2·TP + FP + FN), gives 0.")
def precision_recall_f1(matrix, zero_division=0.0):
    p, r, _ = reference(matrix, zero_division)
    return p, r, (p + r) / 2

@mistake("F1 is computed from the filled-in precision and recall", "Where one of them was 0/0, the value that stands there is no measurement. F1 has a denominator of its own: 2·TP + FP + FN.")
def precision_recall_f1(matrix, zero_division=0.0):
    p, r, _ = reference(matrix, zero_division)
    return p, r, np.divide(2 * p * r, p + r, out=np.full(len(p), float(zero_division)), where=p + r > 0)

@mistake("F1 is unknown wherever precision or recall is, or both are 0", "2·p·r/(p + r) has a 0/0 of its own. F1 from the counts, 2·TP/(2·TP + FP + FN), has one only where the class is absent altogether.")
def precision_recall_f1(matrix, zero_division=0.0):
    hits = np.diag(matrix)
    p, r = hits / matrix.sum(axis=0), hits / matrix.sum(axis=1)
    return tuple(np.nan_to_num(one, nan=zero_division) for one in (p, r, 2 * p * r / (p + r)))

@mistake("F1 lacks its factor 2", "2·TP/(2·TP + FP + FN). With TP alone on top, a perfect class would score a half.")
def precision_recall_f1(matrix, zero_division=0.0):
    p, r, f1 = reference(matrix, zero_division)
    return p, r, np.where(matrix.sum(axis=0) + matrix.sum(axis=1) > 0, f1 / 2, f1)

@mistake("the hits are divided by all samples", "Each class has a denominator of its own: the sum of its column for precision, of its row for recall.")
def precision_recall_f1(matrix, zero_division=0.0):
    share = np.diag(matrix) / matrix.sum()
    return share, share, share

@mistake("the hits are left out of the denominators", "TP + FP is the whole column, the diagonal included.")
def precision_recall_f1(matrix, zero_division=0.0):
    hits = np.diag(matrix)
    def share(part, whole):
        return np.divide(part, whole, out=np.full(len(part), float(zero_division)), where=whole > 0)
    predicted, actual = matrix.sum(axis=0) - hits, matrix.sum(axis=1) - hits
    return share(hits, predicted), share(hits, actual), share(2 * hits, predicted + actual)

# %% [markdown] hints="precision_recall_f1"
# Three arrays of length C hold everything: the diagonal, the sums of the columns, the sums of the rows.
#
# ---
#
# TP + FP is a column's sum, TP + FN a row's, and 2·TP + FP + FN both together. `np.divide(a, b, out=…, where=b > 0)` leaves what `out` held where it does not divide.
#
# ---
#
# ```python
# hits, predicted, actual = np.diag(matrix), ..., ...
#
# def share(part, whole):
#     unknown = np.full(len(part), float(...))
#     return np.divide(part, whole, out=unknown, where=...)
#
# return share(hits, ...), share(hits, ...), share(2 * hits, ...)
# ```

# %% [markdown]
# ### Exercise 8 ★★★: one number for many classes
#
# There are several ways, and they answer different questions. *Macro*: the plain mean, each class counts the same, however rare. *Weighted*: each class counts by
# its number of true samples. *Micro*: all hits over all samples. Each sample has one class and one prediction here, so for all three measures that is the accuracy. *Binary*: only the class `positive`.

# %% exercise="average_over_classes" points=3 stars=3
#| export evaluation.metrics
def average_over_classes(scores, matrix, average, positive=1):
    """Turn one score per class into one number.

    Args:
        scores: (C,), as precision_recall_f1 returns them.
        matrix: (C, C) counts, the true class in the row, the predicted in the column.
        average: "macro", all classes alike, absent ones too; "weighted", by the number of
            true samples; "micro", all hits / all samples; "binary", the score of the class
            positive, for two classes only; None returns scores as they are.

    Raises:
        ValueError: for another average, "binary" with more than two classes, and a positive
            that is neither 0 nor 1 there.
    """
    ### BEGIN SOLUTION one return for each average, and errors for what is not allowed
    if average is None:
        return scores
    if average == "macro":
        return float(np.mean(scores))
    if average == "micro":
        return float(np.trace(matrix) / matrix.sum())
    if average == "weighted":
        return float(np.average(scores, weights=matrix.sum(axis=1)))
    if average != "binary":
        raise ValueError('average must be "binary", "macro", "micro", "weighted" or None, '
                         f"received {average!r}")
    if len(scores) != 2 or positive not in (0, 1):
        raise ValueError(f'average="binary" takes class 0 or 1 of two, received {positive} of '
                         f'{len(scores)}: try average="macro"')
    return float(scores[positive])
    ### END SOLUTION

# %%
check(average_over_classes)

# %% probe="average_over_classes"
def outcome(call):
    try:
        call()
        return "no error"
    except ValueError:
        return "ValueError"


def probe(average_over_classes, rng):
    C = int(rng.integers(4, 6))
    matrix = rng.integers(1, 30, (C, C)) * np.arange(1, C + 1)[:, None]
    matrix[1] = matrix[:, 1] = 0  # an absent class
    scores = rng.uniform(0.3, 0.9, C)
    scores[1] = 0.0
    yield "macro", average_over_classes(scores, matrix, "macro")
    yield "weighted", average_over_classes(scores, matrix, "weighted")
    yield "micro", average_over_classes(scores, matrix, "micro")
    yield "None", average_over_classes(scores, matrix, None)
    two, small = rng.uniform(0.2, 0.8, 2), rng.integers(1, 30, (2, 2))
    small[1] += 30
    yield "binary", average_over_classes(two, small, "binary")
    yield "binary, positive=0", average_over_classes(two, small, "binary", 0)
    yield "macro of two classes", average_over_classes(two, small, "macro")
    yield "binary with more than two classes", outcome(lambda: average_over_classes(scores, matrix, "binary"))
    yield "binary, positive=2", outcome(lambda: average_over_classes(two, small, "binary", 2))
    yield "binary, positive=-1", outcome(lambda: average_over_classes(two, small, "binary", -1))
    yield "an unknown average", outcome(lambda: average_over_classes(scores, matrix, "mean"))

# %% mistakes="average_over_classes"
mistake("macro is given for micro", "The mean of the classes' scores treats rare and frequent classes alike. Micro treats samples alike: all hits over all samples.",
        swap=("return float(np.trace(matrix) / matrix.sum())", "return float(np.mean(scores))"))
mistake("micro is given for macro", "All hits over all samples lets frequent classes drown the rare ones. Macro is the plain mean of the classes' scores.",
        swap=("return float(np.mean(scores))", "return float(np.trace(matrix) / matrix.sum())"))
mistake("weighted counts the predictions", "A class weighs as many as it truly has: the sum along its row. The column counts how often it was predicted.",
        swap=("weights=matrix.sum(axis=1)", "weights=matrix.sum(axis=0)"))
mistake("weighted is not divided by the number of samples", "A mean divides by the sum of its weights, as np.average does.",
        swap=("float(np.average(scores, weights=matrix.sum(axis=1)))", "float(np.sum(scores * matrix.sum(axis=1)))"))
mistake("classes that do not occur are left out of macro", "Two runs are only comparable where the same classes count. What an absent class scores has been settled by zero_division.",
        swap=("return float(np.mean(scores))", "return float(np.mean(scores[matrix.sum(axis=1) > 0]))"))
mistake("binary always takes class 1", "positive says which class is meant.",
        swap=("return float(scores[positive])", "return float(scores[1])"))
mistake("binary is the mean of both classes", "That is macro. Binary is the score of one class alone, positive.",
        swap=("return float(scores[positive])", "return float(np.mean(scores))"))
mistake("binary is given for more than two classes", "Which of ten classes is meant by positive=1? Almost surely a mistake of the caller: raise a ValueError.",
        swap=("if len(scores) != 2 or", "if"))
mistake("a positive that is no class of the two passes", "scores[-1] exists in Python, but class -1 does not. Raise a ValueError where positive is neither 0 nor 1.",
        swap=("or positive not in (0, 1):", "or positive > 1:"))
mistake("an unknown average becomes binary or macro", "A typing error would change a result without a word. Raise a ValueError that lists what there is.",
        swap=("    if average != \"binary\":\n        raise", "    if average != \"binary\":\n        return float(np.mean(scores))\n        raise"))
mistake("None gives a mean", "None means no average: the array (C,) as it is.",
        swap=("        return scores\n", "        return float(np.mean(scores))\n"))

# %% [markdown] hints="average_over_classes"
# Five cases, each a line. Two of them need the matrix: micro its diagonal, weighted the sums of its rows.
#
# ---
#
# macro: mean of the scores. weighted: `np.average(scores, weights=true samples)`. micro: trace / sum. binary: scores[positive], and only for two classes.
#
# ---
#
# ```python
# if average is None:
#     return ...
# if average == "macro":
#     return float(...)
# if average == "micro":
#     return float(np.trace(matrix) / ...)
# if average == "weighted":
#     return float(np.average(scores, weights=...))
# if average != "binary":
#     raise ValueError(...)
# if len(scores) != 2 or ...:
#     raise ValueError(...)
# return float(...)
# ```

# %% [markdown]
# From the two pieces the measures follow in one line each, and a report for all classes in a few.

# %%
#| export evaluation.metrics
def _measure(place, targets, predictions, average, positive, zero_division, classes):
    matrix = confusion_matrix(targets, predictions, classes)
    scores = precision_recall_f1(matrix, zero_division)[place]
    return average_over_classes(scores, matrix, average, positive)


def precision(targets, predictions, *, average="binary", positive=1, zero_division=0.0,
              classes=None):
    """Return TP/(TP + FP), averaged as average_over_classes says; the rest as matched_ids."""
    return _measure(0, targets, predictions, average, positive, zero_division, classes)


def recall(targets, predictions, *, average="binary", positive=1, zero_division=0.0,
           classes=None):
    """Return TP/(TP + FN), averaged as average_over_classes says; the rest as matched_ids."""
    return _measure(1, targets, predictions, average, positive, zero_division, classes)


def f1_score(targets, predictions, *, average="binary", positive=1, zero_division=0.0,
             classes=None):
    """Return 2·TP/(2·TP + FP + FN), averaged as average_over_classes says; as matched_ids."""
    return _measure(2, targets, predictions, average, positive, zero_division, classes)

# %%
#| export evaluation.metrics
class ClassReport(list):
    """Rows of a report, one dict a class and one for their macro mean; its text is a table."""

    def __str__(self):
        width = max(len(row["class"]) for row in self)
        head = f"{'':{width}}  precision  recall     f1  samples"
        return "\n".join([head] + [
            f"{row['class']:{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  "
            f"{row['f1']:5.3f}  {row['samples']:7d}" for row in self])


def class_report(targets, predictions, class_list=None, *, zero_division=0.0):
    """Return a ClassReport: each class's precision, recall, F1 and number of true samples.

    class_list names the classes; the rest is as in confusion_matrix.
    """
    matrix = confusion_matrix(targets, predictions, class_list and len(class_list))
    names = [*map(str, class_list or range(len(matrix))), "macro mean"]
    columns = [[*map(float, scores), float(scores.mean())]
               for scores in precision_recall_f1(matrix, zero_division)]
    samples = [*map(int, matrix.sum(axis=1)), int(matrix.sum())]
    keys = ("class", "precision", "recall", "f1", "samples")
    return ClassReport(dict(zip(keys, row)) for row in zip(names, *columns, samples))

# %% [markdown]
# ### Exercise 9 ★★: among the best k
#
# With a thousand classes, being right with one of five guesses is worth knowing. Ties need a rule, or the same scores give two results. Here it is that of `argmax`: of equal
# scores, the lower class number ranks first. So top-1 is the accuracy.

# %% exercise="top_k_accuracy" points=2 stars=2
#| export evaluation.metrics
def top_k_accuracy(targets, scores, k):
    """Return the share of samples whose true class is among the k with the highest scores.

    Args:
        targets: labels (N,) or one-hot rows (N, C).
        scores: (N, C); of equal scores the lower class number ranks first.
        k: 1 … C.

    Raises:
        ValueError: where k is not in 1 … C, or scores are not (N, C); further as matched_ids.
    """
    if np.ndim(scores) != 2 or not 1 <= k <= np.shape(scores)[1]:
        raise ValueError(f"top-k takes scores (N, C) and a k of 1 … C, received {np.shape(scores)} "
                         f"and k={k}")
    targets = matched_ids(targets, scores)[0]  # (N,) class numbers
    ### BEGIN SOLUTION rank the classes of each row, best first; is the target among the first k?
    ranked = np.argsort(-np.asarray(scores, np.float64), axis=1, kind="stable")  # (N, C)
    return float(np.mean((ranked[:, :k] == targets[:, None]).any(axis=1)))
    ### END SOLUTION

# %%
check(top_k_accuracy)

# %% probe="top_k_accuracy"
def probe(top_k_accuracy, rng):
    N, C = int(rng.integers(30, 40)), 6
    targets = rng.integers(0, C, N)
    ranks = np.repeat(np.arange(C), [7, 6, 5, 4, 3, N - 25])[:N]  # the place of the true class: 0 is best
    values = np.sort(rng.permuted(np.tile(np.arange(-9.0, 9.0, 0.5), (N, 1)), axis=1)[:, :C], axis=1)[:, ::-1]
    scores = np.empty((N, C))
    for i in range(N):
        others = rng.permutation(np.delete(np.arange(C), targets[i]))
        scores[i, np.insert(others, ranks[i], targets[i])] = values[i]
    yield "top 1", top_k_accuracy(targets, scores, 1)
    yield "top 1 of one-hot targets", top_k_accuracy(np.eye(C, dtype=np.float32)[targets], scores, 1)
    for k in (2, 3, C):
        yield f"top {k}", top_k_accuracy(targets, scores, k)
    yield "top 2 of one-hot targets", top_k_accuracy(np.eye(C, dtype=np.float32)[targets], scores, 2)
    yield "top 2 of float32 scores", top_k_accuracy(targets, scores.astype(np.float32), 2)
    alike = np.tile([0.1, 0.4, 0.2, 0.3], (4, 1))
    yield "top 2 where all samples have the same scores", top_k_accuracy(np.array([0, 1, 2, 1]), alike, 2)
    first, last = np.arange(8) % 2, 2 + np.arange(10) % 2
    tied = np.concatenate([first, last, [3, 3]])  # the last two do not tie, and miss
    yield "top 2 where four classes tie", top_k_accuracy(tied, np.vstack([np.zeros((18, 4)), [[4.0, 3, 2, 1]] * 2]), 2)
    many = rng.integers(0, 3, (200, 300)).astype(float)  # a sort that is not stable mixes these
    yield "top 50 of 300 classes with three scores", top_k_accuracy(rng.integers(0, 100, 200), many, 50)
    yield "top 3 of one sample", top_k_accuracy(np.array([2]), np.array([[0.1, 0.5, 0.2, 0.2]]), 3)
    yield "top 2 where one ties with the second", top_k_accuracy(np.array([3, 3, 1, 0]), np.array([[1.0, 5, 2, 2]] * 4), 2)

# %% mistakes="top_k_accuracy"
mistake("the k lowest scores are taken", "np.argsort sorts upwards. Sort the negative scores, or take the last k columns.",
        swap=("np.argsort(-np.asarray(scores, np.float64)", "np.argsort(np.asarray(scores, np.float64)"))
mistake("the classes with the highest numbers are taken", "Ranking is by score. np.argsort gives the class numbers in the order of their scores; np.sort and arange do not.",
        swap=("(ranked[:, :k] == targets[:, None]).any(axis=1)", "targets >= ranked.shape[1] - k"))
mistake("of equal scores the higher class number ranks first", "argsort(scores)[:, ::-1] turns ties around as well. Sort -scores with kind=\"stable\".",
        swap=("np.argsort(-np.asarray(scores, np.float64), axis=1, kind=\"stable\")",
              "np.argsort(np.asarray(scores, np.float64), axis=1, kind=\"stable\")[:, ::-1]"))
mistake("the order of ties is left to the sort", "Fast sorts mix equal elements as it suits them. kind=\"stable\" keeps them in their order.",
        swap=(", axis=1, kind=\"stable\")", ", axis=1)"))
mistake("every class that ties counts as a hit", "A model that gives all classes one score would be right always. k classes are chosen, not more.",
        swap=("(ranked[:, :k] == targets[:, None]).any(axis=1)",
              "np.take_along_axis(np.asarray(scores), targets[:, None], 1)[:, 0] >= np.sort(np.asarray(scores), axis=1)[:, -k]"))
mistake("[:k] takes the first k rows", "The ranking is (N, C), a row for each sample. Its first k columns are [:, :k].",
        swap=("ranked[:, :k]", "ranked[:k]"))

@mistake("each target is looked for in the first k samples' rankings", "Every row of the ranking holds every class, so all would be hits. The best k of each sample are the first k columns, "
         "and a target belongs with its own row.")
def top_k_accuracy(targets, scores, k):
    if np.ndim(scores) != 2 or not 1 <= k <= np.shape(scores)[1]:
        raise ValueError
    targets = matched_ids(targets, scores)[0]
    ranked = np.argsort(-np.asarray(scores, np.float64), axis=1, kind="stable")
    return float(np.mean(np.isin(targets, ranked[:k])))

mistake("a target may stand in any sample's best k", "np.isin and `in` search the whole array. Compare row by row: ranked[:, :k] with targets[:, None], then any along axis 1.",
        swap=("(ranked[:, :k] == targets[:, None]).any(axis=1)", "np.isin(targets, ranked[:, :k])"))
mistake("only the k-th place counts", "Among the best k: any of the first k places will do.",
        swap=("ranked[:, :k]", "ranked[:, k - 1:k]"))
mistake("k + 1 places count", "A slice [:k] already holds k entries.",
        swap=("ranked[:, :k]", "ranked[:, :k + 1]"))
mistake("k is ignored", "Only the best class is looked at: that is the accuracy.",
        swap=("ranked[:, :k]", "ranked[:, :1]"))
mistake("the hits are counted, not their share", "A share lies between 0 and 1: take the mean.",
        swap=("float(np.mean((", "float(np.sum(("))
mistake("the hits are divided by N · k", "At most one of the k guesses can be right. Ask for each row whether any is, then take the mean over the rows.",
        swap=(".any(axis=1)", ""))

# %% [markdown] hints="top_k_accuracy"
# For each row: which k classes have the highest scores? Is the target one of them?
#
# ---
#
# `np.argsort(-scores, axis=1, kind="stable")` lists the classes from best to worst, ties in order of their numbers. Compare the first k columns with `targets[:, None]`.
#
# ---
#
# ```python
# ranked = np.argsort(..., axis=1, kind="stable")
# return float(np.mean((ranked[:, ...] == targets[:, None]).any(axis=...)))
# ```

# %% [markdown]
# ## See: a threshold is a choice
#
# Back to the small network of part one, and one question: is this an 8? It says yes where its probability lies above a threshold. Your
# measures, at every threshold.

# %%
_, outputs, _ = validate(model, CrossEntropyLoss(), batches_of(others))
chance = np.exp(outputs - outputs.max(axis=1, keepdims=True))
chance = (chance / chance.sum(axis=1, keepdims=True))[:, 8]  # (500,) probability of an 8
is_eight = (labels[others] == 8).astype(int)


def draw_threshold(threshold):
    grid = np.linspace(0.01, 0.99, 50)
    fig, axes = plt.subplots(1, 2, figsize=(9, 2.8), width_ratios=[3, 2])
    for measure, colour in [(precision, BLUE), (recall, ORANGE), (f1_score, GREY)]:
        values = [measure(is_eight, (chance > t).astype(int), zero_division=1.0) for t in grid]
        axes[0].plot(grid, values, color=colour, label=measure.__name__)
    axes[0].axvline(threshold, color=GREEN)
    axes[0].set(xlabel="threshold", ylim=(0, 1.05), title=f"threshold {threshold:.2f}")
    axes[0].legend(loc="lower left")
    table = confusion_matrix(is_eight, (chance > threshold).astype(int))
    draw_matrix(axes[1], table, highlight=np.array([[0, 1], [1, 0]], bool))
    for place, name in enumerate(["another", "an 8"]):
        axes[1].text(-0.1, place + 0.5, f"is {name}", ha="right", va="center")
        axes[1].text(place + 0.5, 2.1, f"called {name}", ha="center", va="top")
    plt.show()


draw_threshold(0.5)

# %% [markdown]
# A high threshold calls few an 8, and those are right: precision rises. But more of the true 8s are missed: recall falls. A
# missed tumour and a false alarm do not cost the same. At the right end nothing is called an 8 any more. Precision is 0 of 0
# there, and the 1 in the figure is what was passed as `zero_division`.
#
# Move the control. Where do the two errors, the orange cells of the table, balance? What does it cost to miss fewer than five?

# %%
from ipywidgets import FloatSlider, interact

interact(draw_threshold, threshold=FloatSlider(value=0.5, min=0.02, max=0.98, step=0.02));

# %% [markdown]
# ### Exercise 10 ★: break it and say why
#
# A test for a rare disease reports an accuracy of 0.97. Looked at closely, it says *healthy* to everybody. What would the other measures have said?
# Of n people, `sick` have the disease, at least one. Sick is class 1; `zero_division` is 0.

# %% exercise="always_healthy" points=1 stars=1
def always_healthy(n, sick):
    """Return accuracy, recall of the sick, and macro F1 of a test that always says healthy.

    Args:
        n, sick: numbers of people, 1 <= sick < n.
    """
    ### BEGIN SOLUTION fill the 2 × 2 table by hand, then read off the three numbers
    healthy = n - sick
    return healthy / n, 0.0, (2 * healthy / (2 * healthy + sick) + 0.0) / 2
    ### END SOLUTION

# %%
check(always_healthy)

# %% probe="always_healthy"
def probe(always_healthy, rng):
    n = int(rng.integers(100, 1000))
    accuracy, recall, macro = always_healthy(n, int(rng.integers(2, n // 3)))
    yield "accuracy", accuracy
    yield "recall of the sick", recall
    yield "macro F1", macro

# %% mistakes="always_healthy"
@mistake("the recall is that of the healthy", "All healthy people are found, that is true. The question was how many of the sick are.")
def always_healthy(n, sick):
    a, _, m = reference(n, sick)
    return a, 1.0, m

@mistake("the class of the sick is left out of macro F1", "Never predicted, never right: its F1 is 0, and it counts as one of two classes.")
def always_healthy(n, sick):
    a, r, m = reference(n, sick)
    return a, r, 2 * m

@mistake("macro F1 is taken from the accuracy", "The F1 of the healthy class is 2·TP/(2·TP + FP + FN), with the sick as its FP. That is not the accuracy.")
def always_healthy(n, sick):
    a, r, _ = reference(n, sick)
    return a, r, a / 2

@mistake("the classes are weighted by their size", "That is weighted F1. In macro both classes count the same.")
def always_healthy(n, sick):
    a, r, m = reference(n, sick)
    return a, r, 2 * m * (n - sick) / n

@mistake("the accuracy is the share of the sick", "Right are those who are called healthy and are.")
def always_healthy(n, sick):
    _, r, m = reference(n, sick)
    return sick / n, r, m

# %% [markdown] hints="always_healthy"
# The second column of the matrix is empty: nobody is called sick. What stands in the first?
#
# ---
#
# The matrix is [[n − sick, 0], [sick, 0]]. F1 of the sick: 0. F1 of the healthy: 2·TP/(2·TP + FP) with TP = n − sick and FP = sick. Macro: the mean of the two.
#
# ---
#
# ```python
# healthy = n - sick
# return healthy / n, ..., (2 * healthy / (2 * healthy + ...) + ...) / 2
# ```

# %% [markdown]
# One number never tells the whole. Look at the matrix.
#
# ## Use: from a folder of pictures to a report
#
# The 5,000 digits are written as PNG files, a folder for each class. The held-out
# digits of chapter 06 go into a folder of their own, which no training and no decision looks at. Of the other 4,000 a tenth is for validation.

# %% tags=["nbval-check-output"]
from PIL import Image

from nyang_edu.data.dataset import NyangNyangDataset

order = np.random.default_rng(0).permutation(5000)
held_out = np.concatenate([order[labels[order] == k][:100] for k in range(10)])
digits = [str(k) for k in range(10)]
for part in ("train", "test"):
    for name in digits:
        (folder / part / name).mkdir(parents=True)
for i in range(5000):
    part = "test" if i in held_out else "train"
    Image.fromarray(images[i]).save(folder / part / str(labels[i]) / f"{i}.png")

files = NyangNyangDataset(folder / "train", digits, (0.9, 0.1, 0.0), "train")
tests = NyangNyangDataset(folder / "test", digits, (0.0, 0.0, 1.0), "test")
print(f"{len(files):,} to train on, {len(files.in_mode('valid'))} to validate, {len(tests):,} to test")

# %% [markdown]
# The transforms are albumentations' (11). Small turns, shifts, changes of size, a slant, and for every second digit an elastic distortion: a hand is never twice the
# same. No flips. A mirrored 3 is no digit, and a 6 on its head is a 9: what the network shall tell apart must survive.

# %%
from nyang_edu.data.transforms import NyangTransform, load_albumentations
from nyang_edu.utility.grid import nyang_images_grid

A = load_albumentations()


def as_it_is():
    return [A.Resize(28, 28), A.ToGray(1, p=1)]


def bent():
    return [*as_it_is(), A.ElasticTransform(alpha=30, sigma=5, p=0.5),
            A.Affine(rotate=(-12, 12), scale=(0.9, 1.1), translate_percent=(-0.07, 0.07), shear=(-10, 10), p=0.9)]


def loader(dataset, steps, batch_size=32):
    return NyangDataLoader(dataset.in_mode(dataset.mode, NyangTransform(steps)), batch_size,
                           shuffle=dataset.mode == "train", workers=1, seed=0)


drawn, rng = NyangTransform(bent), np.random.default_rng(0)
shown = [files.image(i) for i in (0, 1, 2)]
nyang_images_grid(shown, after=[[drawn(image, rng) for _ in range(7)] for image in shown], size=1.0)
plt.show()

# %% [markdown]
# Left the file, beside it what seven epochs would see. Still the same digit to you: that is the test of an augmentation.
#
# The network is small: three times convolution, BatchNorm, ReLU, pooling. `nyang_train` is your parts in one call: `train_batches` and `validate` in
# each epoch, `EarlyStopping`, the best epoch's weights in a file, and `training_state` after every epoch, so that a run that was stopped can be
# resumed. The learning rate warms up and falls like a cosine (12), one move a step.

# %%
from nyang_edu.training.scheduler import CosineDecay, WarmUp
from nyang_edu.training.train import nyang_train


def digit_reader(seed):
    rng, layers, channels = np.random.default_rng(seed), [], 1
    for width in (12, 24, 48):
        layers += [Conv2d(channels, width, 3, padding=1, bias=False, rng=rng), BatchNorm2d(width), ReLU(), MaxPool2d(2)]
        channels = width
    return NyangFlow(*layers, Flatten(), Linear(48 * 3 * 3, 10, rng=rng))  # 28 → 14 → 7 → 3


def train_reader(steps, path, epochs=15, seed=0):
    model, batches = digit_reader(seed), loader(files, steps)
    optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    cosine = CosineDecay(optimizer, epochs * len(batches) - 100, every="step")
    schedule = WarmUp(optimizer, 100, cosine, every="step")
    return nyang_train(model, optimizer, CrossEntropyLoss(), batches, loader(files.in_mode("valid"), as_it_is, 200),
                       epochs, scheduler=schedule, save_path=path, plot=False, progress=False)


with_bending = train_reader(bent, folder / "bent.pickle")
print(with_bending)

# %% [markdown]
# Now the same without augmentation. Nothing else differs.

# %%
without = train_reader(as_it_is, folder / "plain.pickle")

fig, axes = plt.subplots(1, 2, figsize=(10, 3), sharey=True)
for ax, (title, history) in zip(axes, [("with augmentation", with_bending), ("without", without)]):
    for name, style in [("train_loss", "-"), ("valid_loss", "--")]:
        ax.semilogy(history["epoch"], history[name], style, color=BLUE, label=name)
    ax.plot(history.best_epoch, history["valid_loss"][history.best_epoch - 1], "o", color=GREEN, label="kept")
    ax.set(xlabel="epoch", title=title, xticks=range(0, 16, 3))
axes[0].legend()
plt.show()

# %% [markdown]
# Right: the training loss falls towards 0, and the validation loss stops following. The network knows its 3,600 pictures by heart. Left: hardly any picture comes twice, so there is
# little to learn by heart. Training is the harder task there, and its loss may lie *above* that of validation.
#
# Now the test digits, for the first time. Once as they are, and once each turned by 15 degrees.

# %%
from nyang_edu.evaluation.inference import nyang_inference


def turned():
    return [*as_it_is(), A.Affine(rotate=(15, 15), p=1)]


found = {}
for name in ("bent", "plain"):
    for steps in (as_it_is, turned):
        found[name, steps] = nyang_inference(folder / f"{name}.pickle", loader(tests, steps, 200), progress=False)
    print(f"trained on {name} digits:  test {found[name, as_it_is].metrics['accuracy']:.1%}   "
          f"turned {found[name, turned].metrics['accuracy']:.1%}")
result = found["bent", as_it_is]
wrong = len(result.worst(1000))
print(f"{wrong} of 1,000 wrong; luck alone moves such a count by about {np.sqrt(wrong):.0f}")
print(f"true class among the best two: {top_k_accuracy(result.targets, result.outputs, 2):.1%}\n\n{result.report()}")

# %% tags=["nbval-check-output"]
right = {key: one.metrics["accuracy"] for key, one in found.items()}
print("at least 97.5% of the test digits:", right["bent", as_it_is] >= 0.975)
print("turned digits: at least half a point gained:", right["bent", turned] - right["plain", turned] >= 0.005)
assert right["bent", as_it_is] >= 0.975

# %% [markdown]
# A word on the first column. From one test set to the next, a count of errors moves by about its square root. So a difference of a few digits is not proven by
# one run. On turned digits the difference is beyond luck.
#
# Which are wrong? The matrix without its diagonal, and the surest mistakes.

# %%
matrix = result.confusion_matrix()
errors = matrix - np.diag(np.diag(matrix))
fig, ax = plt.subplots(figsize=(4, 3.6))
ax.imshow(errors, cmap="Oranges", vmax=max(errors.max(), 1) * 1.5)
for (r, c), count in np.ndenumerate(matrix):
    ax.text(c, r, count or "", ha="center", va="center", color=GREY if r == c else "black")
ax.set(xlabel="read as", ylabel="is", xticks=range(10), yticks=range(10))
ax.grid(False)
plt.show()
result.plot(k=8)
plt.show()

# %% [markdown]
# Would you have read them all? Looking at them is the cheapest way to find wrong labels, and ideas for the next augmentation.
#
# ## Recap
#
# - A loop looks at its loss before it steps, weighs batches by their size, and validates without leaving a trace.
# - The best epoch is kept, not the last. What was chosen on the validation set is reported on a test set.
# - A resumed run needs every state, random ones included. A file is written beside the old one and renamed.
# - A pickle is a program. Read it with a reader that runs nothing.
# - Precision reads a column, recall a row. Macro counts classes, micro samples. Measures are taken of all samples at once.
#
# `finish` exports the loop into `nyang_edu/training/loop.py` and the measures into `nyang_edu/evaluation/metrics.py`. `nyang_train` and `nyang_inference` run on them from now on.
#
# **References.** Prechelt, *Early stopping – but when?*, in: Neural Networks: Tricks of the Trade, LNCS 1524 (1998). Goodfellow, Bengio, Courville, *Deep Learning* (2016), section 7.8. Pascanu,
# Mikolov, Bengio, *On the difficulty of training recurrent neural networks*, ICML 2013, section 3.2. Sokolova, Lapalme, *A systematic analysis of performance measures
# for classification tasks*, Information Processing & Management 45 (2009). Simard, Steinkraus, Platt, *Best practices for convolutional neural networks applied to visual document analysis*, ICDAR 2003.

# %%
finish("13_training")
