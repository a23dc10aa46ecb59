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
# # 05 · Losses
#
# **You have** the layer contract and `Linear` (03), activations with a stable softmax (04), and
# `numerical_gradient` to test any gradient (03).
#
# **You will build** four losses, forward and backward: `MSELoss`, `BCEWithLogitsLoss`, `CrossEntropyLoss`
# and `FocalLoss`. They stay finite for scores of any size.
#
# **It unlocks** the first trained network (06).
#
# Time: about 100 minutes. Seven exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt
import numpy as np

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.utility.compare import relative_error
from nyang_edu.utility.gradcheck import numerical_gradient
from nyang_edu.utility.plot import BLUE, GREY, ORANGE, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: accuracy does not show the way
#
# Two classifiers tell two classes apart on the same five pictures. Left and middle: the probability that each gives to the
# *right* class, orange where it is below one half. Right: one sample, while the score of its right class moves.

# %%
sure, unsure = [0.95, 0.9, 0.97, 0.9, 0.4], [0.55, 0.6, 0.52, 0.7, 0.4]
score = np.linspace(-4, 4, 400)
p = 1 / (1 + np.exp(-score))  # the other class has score 0

fig, axes = plt.subplots(1, 3, figsize=(10, 2.8))
for ax, name, values in zip(axes, ["sure", "unsure"], [sure, unsure]):
    ax.bar(range(5), values, color=[BLUE if v > 0.5 else ORANGE for v in values])
    ax.axhline(0.5, color=GREY, lw=1)
    ax.set(title=f"{name}: {sum(v > 0.5 for v in values)} of 5 right", xlabel="picture",
           ylim=(0, 1))
axes[2].plot(score, p > 0.5, label="accuracy")
axes[2].plot(score, -np.log(p), label="−log p")
axes[2].set(title="one sample", xlabel="score of the right class")
axes[2].legend()
plt.show()

# %% [markdown]
# Accuracy calls the two equal. Worse, it is flat: a small step of a weight changes nothing, so its gradient is zero
# and says nothing about where to go. The orange curve is high where the model is wrong, falls as the right class gains, and
# has a slope everywhere. A number like that is a *loss*.
#
# The orange curve needs a softmax and a logarithm. Typed in as the formula stands, it breaks on large scores:

# %% tags=["nbval-check-output"]
def naive_loss(scores, label):
    p = np.exp(scores) / np.exp(scores).sum()
    return -np.log(p[label])


with np.errstate(all="ignore"):
    print(f"scores of   3, 1, 0: loss {naive_loss(np.array([3.0, 1, 0]), 0):.2f}")
    print(f"scores of 900, 1, 0: loss {naive_loss(np.array([900.0, 1, 0]), 0):.2f}")
    print(f"exp(709.0) is finite: {np.isfinite(np.exp(709.0))}, exp(710.0) is {np.exp(710.0)}")
    print(f"exp(-746.0) is {np.exp(-746.0)}")

# %% [markdown]
# The second prediction is perfect, and its loss is NaN, not a number. One NaN in a batch turns every weight
# into NaN. So each loss needs two things: the right slope, and no overflow.
#
# ## Idea: one sample by hand
#
# Three scores, also called *logits*. The right class is 0. Exponentials make the scores positive, division makes
# them sum to 1, and minus the logarithm turns a probability into a cost: 0 for certainty, without limit towards p = 0.

# %%
scores = np.array([2.0, 1.0, 0.0])
e = np.exp(scores)

fig, axes = plt.subplots(1, 4, figsize=(10, 1.5))
panels = {"score z": scores, "exp(z)": e, "p = exp(z) / sum": e / e.sum(),
          "−log p": -np.log(e / e.sum())}
for ax, (title, values) in zip(axes, panels.items()):
    draw_matrix(ax, values, title, "{:.2f}", highlight=[[1, 0, 0]])
plt.show()

# %% [markdown]
# The loss of this sample is the orange number on the right, the *cross-entropy*. A batch's loss is the mean over its samples.
#
# ### Exercise 1 ★: the first number you will ever see
#
# A network that knows nothing gives all its classes the same score. What is its cross-entropy? Decide before you run
# anything. In every training run to come, this is the first value to compare the printed loss with.

# %% exercise="first_loss" points=1 stars=1 reveal=false
def first_loss(classes):
    """Predict the mean cross-entropy where all of `classes` scores are equal."""
    ### BEGIN SOLUTION equal scores give equal probabilities: what does one of them cost?
    return float(np.log(classes))
    ### END SOLUTION

# %%
check(first_loss)

# %% probe="first_loss"
def probe(first_loss, rng):
    yield "loss", first_loss(int(rng.integers(3, 40)))
    yield "loss for many classes", first_loss(int(rng.integers(500, 2000)))

# %% mistakes="first_loss"
@mistake("this is the probability, not its cost", "1/C is the probability of the right class. The loss is minus its "
         "logarithm.")
def first_loss(classes):
    return 1 / classes

@mistake("the sign is turned", "The logarithm of a probability is negative. The minus in −log p makes the loss positive.")
def first_loss(classes):
    return float(-np.log(classes))

@mistake("the logarithm has base 2", "np.log is the natural logarithm, and so is the log in every loss of this "
         "course.")
def first_loss(classes):
    return float(np.log2(classes))

@mistake("the number of classes is fixed at ten", "The function receives classes, and must answer for any number of them, not for "
         "ten alone.")
def first_loss(classes):
    return float(np.log(10))

@mistake("this is the error rate", "1 − 1/C is how often a random guess is wrong. The loss asks something else: minus the log "
         "of the right class's probability.")
def first_loss(classes):
    return 1 - 1 / classes

# %% [markdown] hints="first_loss"
# Equal scores, so each class has the same probability, whatever the scores are. Which?
#
# ---
#
# p = 1/C. The loss is −log p, the same for every sample, so the mean changes nothing.
#
# ---
#
# ```python
# return float(np.log(...))
# ```

# %% [markdown]
# ## Shapes, and the base of every loss
#
# | array | shape | what it holds |
# |---|---|---|
# | `pred` | (N, C) | scores, one row a sample |
# | `target` as labels | (N,) | the number of the right class |
# | `target` as rows | (N, C) | a probability for each class: one-hot, or *soft*, with several above 0 |
# | loss | a Python float | the mean |
# | `dpred` | as `pred` | $\partial L / \partial \text{pred}$ |
#
# For MSE and BCE, `pred` may have any shape, and `target` has the same.
#
# A loss ends the chain. Nothing comes from above, so `backward()` takes no argument.
#
# Two things are given. `Loss.match_shape` returns the target in pred's dtype, and refuses shapes that differ: NumPy would stretch
# a target (N,) beside a `pred` (N, 1) to (N, N) without a word. `match_classes` turns labels into
# rows, and refuses a label outside 0…C−1, even −1, which indexing takes for the last class.

# %%
#| default_exp training.loss
#| export
"""Losses: one number that says how wrong a prediction is, and its gradient.

Each takes raw scores (logits), averages over the batch, and stays finite for scores of any size.
"""

import numpy as np

from nyang_edu.model.activation import sigmoid
from nyang_edu.model.core import Memory
from nyang_edu.utility.tensor import one_hot


class Loss(Memory):
    """The base of every loss: forward(pred, target) → float, then backward() → dpred."""

    def forward(self, pred, target):
        """Return the loss as a Python float; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self):
        """Return the gradient by pred; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define backward")

    def __call__(self, pred, target):
        """Start afresh, as a model's call does, and return the loss."""
        self.forget()
        return self.forward(pred, target)

    def match_shape(self, pred, target):
        """Return target in pred's dtype; raise a ValueError where their shapes differ."""
        target = self.expect_float(pred, target)
        if target.shape != pred.shape:
            self.refuse(f"a target of pred's shape {pred.shape}", target.shape,
                         "reshape one of them, as with target.reshape(pred.shape)")
        return target.astype(pred.dtype)

    def expect_float(self, pred, target):
        """Return target as an array; raise where pred is empty or not of floats."""
        if pred.dtype.kind != "f":
            raise TypeError(f"{type(self).__name__} expects a float pred, received "
                            f"{pred.dtype}: convert it with pred.astype(np.float32)")
        if pred.size == 0:
            self.refuse("at least one sample", pred.shape, "an empty batch has no mean")
        return np.asarray(target)

    def refuse(self, rule, received, fix):
        """Raise a ValueError: the rule, what was received, the fix."""
        raise ValueError(f"{type(self).__name__} expects {rule}, received {received}: {fix}")

# %%
#| export
def match_classes(loss, pred, target):
    """Return target as probabilities (N, C) in pred's dtype.

    Args:
        loss: the Loss that asks; errors name it.
        pred: (N, C) scores.
        target: labels (N,) of integers from 0 to C - 1, or rows (N, C) that sum to 1.

    Raises:
        ValueError: for other shapes, labels out of range, rows that are no probabilities.
    """
    target = loss.expect_float(pred, target)
    if pred.ndim != 2:
        loss.refuse("scores (N, C)", pred.shape, "one row a sample, one column a class")
    N, C = pred.shape
    if target.shape == (N,) and target.dtype.kind in "iu":
        if target.min() < 0 or target.max() >= C:
            bad = target.min() if target.min() < 0 else target.max()
            loss.refuse(f"labels from 0 to {C - 1}", bad, "number the classes from 0")
        return one_hot(target, C, pred.dtype)
    if target.shape != (N, C):
        loss.refuse(f"integer labels ({N},) or rows ({N}, {C})",
                    f"{target.dtype} {target.shape}", "try labels.reshape(-1).astype(int)")
    if target.min() < 0 or not np.allclose(target.sum(axis=1), 1, atol=1e-3):
        loss.refuse("rows of probabilities that sum to 1", "rows that do not",
                    "pass one-hot rows, or integer labels")
    return target.astype(pred.dtype)

# %% [markdown]
# ## MSE: the mean squared error
#
# For a regression, `pred` is the answer itself. One element costs the square of its distance, and the loss is the mean over
# *all* elements $M$ of the array, as in PyTorch:
#
# $$L = \frac1M \sum_i (\text{pred}_i - \text{target}_i)^2, \qquad
# \frac{\partial L}{\partial\, \text{pred}_i} = \frac{2}{M}\,(\text{pred}_i - \text{target}_i).$$
#
# Each element of `pred` stands in one term only, so the vectorised form looks the same.
#
# ### Exercise 2 ★★: MSELoss
#
# Begin `forward` with `self.match_shape`, and remember for `backward` what it needs with `self.save`. Return `float(…)`.

# %% exercise="MSELoss" points=3 stars=2
#| export
class MSELoss(Loss):
    """Mean squared error over all elements: mean((pred - target)²).

    Shapes: pred and target of one and the same shape → float; dpred as pred.

    Raises:
        ValueError: where the shapes differ. TypeError: where pred is not of floats.

    Source: Goodfellow et al., Deep Learning (2016), section 6.2.2.1.
    """

    def forward(self, pred, target):
        """Return the mean of the squared differences."""
        ### BEGIN SOLUTION match shapes, save the difference, return its mean square
        error = pred - self.match_shape(pred, target)
        self.save(error)
        return float((error**2).mean())
        ### END SOLUTION

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        ### BEGIN SOLUTION the derivative of the mean square, from the saved difference
        error = self.saved()
        return 2 * error / error.size
        ### END SOLUTION

# %%
check(MSELoss)

# %% probe="MSELoss"
def probe(MSELoss, rng):
    N, C = rng.integers(2, 5), rng.integers(5, 8)
    pred, target, later = rng.normal(size=(3, N, C))
    loss = MSELoss()
    yield "loss", loss.forward(pred, target)
    yield "dpred", loss.backward()
    loss.forward(pred, target)
    loss.forward(later, target)
    loss.backward()
    yield "dpred of the first of two calls", loss.backward()
    try:
        loss.forward(pred[:, 0], target[:, :1])
        yield "pred (N,) with target (N, 1)", "no ValueError"
    except ValueError:
        yield "pred (N,) with target (N, 1)", "ValueError"
    value = loss(pred.astype(np.float32), target.astype(np.float32))
    yield "dpred in float32", loss.backward()
    yield "type of the loss", type(value).__name__

# %% mistakes="MSELoss"
mistake("the factor 2 is missing in the gradient", "The derivative of a square is twice the base. Some books define "
        "the loss with ½ to hide it; this one, as PyTorch's, does not.",
        swap=("2 * error / error.size", "error / error.size"))
mistake("the gradient is not divided by the number of elements", "The loss is a mean, so each element moves it by only "
        "1/M of its own change.", swap=("2 * error / error.size", "2 * error"))
mistake("the gradient is the bare difference", "Two factors are missing: the 2 that the square brings down, and the 1/M of the "
        "mean.", swap=("2 * error / error.size", "error"))
mistake("the gradient's sign is turned", "Where pred is too large, the loss grows with pred: the gradient is positive there. "
        "So it is pred − target.", swap=("2 * error / error.size", "-2 * error / error.size"))
mistake("target and pred are not matched", "Without the test, (N,) and (N, 1) broadcast to (N, N), and the mean is taken over "
        "pairs that do not belong together. Call self.match_shape(pred, target) first.",
        swap=("pred - self.match_shape(pred, target)", "pred - target"))
mistake("the loss is a NumPy number", "A loss is a plain Python float: loggable, comparable, and without a dtype "
        "that spreads. Wrap it in float(…).", swap=("float((error**2).mean())", "(error**2).mean()"))
mistake("the difference is kept in one slot", "A second forward overwrites self.error. Use self.save(error) and "
        "self.saved(), which keep one entry per call.",
        swap=("""        self.save(error)
        return float((error**2).mean())
""", """        self.error = error
        return float((error**2).mean())

    def saved(self):
        return self.error
"""))

@mistake("the mean is over the samples only", "This loss is the mean over all elements of the array: divide by pred.size, "
         "not by len(pred).")
class MSELoss(Loss):
    def forward(self, pred, target):
        error = pred - self.match_shape(pred, target)
        self.save(error)
        return float((error**2).sum() / len(error))

    def backward(self):
        error = self.saved()
        return 2 * error / len(error)

# %% [markdown] hints="MSELoss"
# Both directions need only the difference pred − target. Save it once.
#
# ---
#
# L = mean(error²) over all elements; dpred = 2 · error / (number of elements). `error.size` counts all of them.
#
# ---
#
# ```python
# # forward
# error = pred - self.match_shape(pred, target)
# self.save(error)
# return float(...)
#
# # backward
# error = self.saved()
# return 2 * ... / ...
# ```

# %% [markdown]
# ## BCE: yes or no
#
# Now `pred` is a logit $z$, and $\sigma(z) = 1/(1+e^{-z})$ is the probability of *yes*. MSE could compare $\sigma(z)$ with the
# target. The figure shows what that would teach when the target is 1.

# %%
z = np.linspace(-8, 8, 400)
sigma = sigmoid(z)  # yours, from chapter 04

fig, axes = plt.subplots(1, 2, figsize=(9, 2.8))
axes[0].plot(z, (sigma - 1) ** 2, label="MSE on σ(z)")
axes[0].plot(z, np.log1p(np.exp(-z)), label="BCE")
axes[1].plot(z, 2 * (sigma - 1) * sigma * (1 - sigma), label="MSE on σ(z)")
axes[1].plot(z, sigma - 1, label="BCE")
for ax, title in zip(axes, ["loss, target 1", "gradient by z"]):
    ax.set(title=title, xlabel="logit z")
    ax.legend()
plt.show()
ratio = 1 / (2 * sigma[0] * (1 - sigma[0]))
print(f"at z = {z[0]:.0f} the gradient of BCE is {ratio:.0f} times that of MSE")

# %% [markdown]
# On the far left the model is as wrong as can be. There the sigmoid is flat, and MSE has almost no slope: the worst samples
# learn the least. BCE's slope is close to −1 there. Its logarithm undoes the sigmoid's exponential.
#
# One element, with target $t$ between 0 and 1, costs
#
# $$\ell = -t \log \sigma(z) - (1-t)\log(1-\sigma(z)).$$
#
# Since $1-\sigma(z) = e^{-z}/(1+e^{-z}) = e^{-z}\,\sigma(z)$, its logarithm is $\log\sigma(z) - z$. Put that in, and
# $-\log\sigma(z) = \log(1+e^{-z})$: what is left is $z - z\,t + \log(1+e^{-z})$. Its derivative is
# $1 - t - e^{-z}/(1+e^{-z}) = 1 - t - (1-\sigma(z)) = \sigma(z) - t$.
#
# For $z < 0$ the exponent is positive, so pull $e^{-z}$ out of
# the logarithm: $-z\,t + \log(1+e^{z})$. Both cases in one line, and the derivative:
#
# $$\ell = \max(z, 0) - z\,t + \log\!\left(1 + e^{-|z|}\right), \qquad \frac{\partial \ell}{\partial z} = \sigma(z) - t .$$
#
# No exponent is positive. As with MSE, the loss is the mean over all $M$ elements, the gradient $(\sigma(z)-t)/M$.
#
# ### Exercise 3 ★★★: BCEWithLogitsLoss
#
# `np.log1p(x)` is log(1 + x), exact even where 1 + x rounds to 1. Chapter 04's `sigmoid` is imported. The check
# also sees an overflow that leaves no trace in the result, as in `np.where`, which computes both its sides.

# %% exercise="BCEWithLogitsLoss" points=4 stars=3
#| export
class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits: mean(max(z, 0) - z·t + log(1 + exp(-|z|))), z = pred.

    Shapes: pred (logits) and target (0…1) of one and the same shape → float; dpred as pred.

    Raises:
        ValueError: where the shapes differ or a target lies outside 0…1.

    Source: Goodfellow et al., Deep Learning (2016), section 6.2.2.2.
    """

    def forward(self, pred, target):
        """Return the mean over all elements."""
        target = self.match_shape(pred, target)
        if target.min() < 0 or target.max() > 1:
            self.refuse("targets from 0 to 1", target[(target < 0) | (target > 1)][0],
                         "write no as 0 and yes as 1")
        ### BEGIN SOLUTION save what backward needs, then the mean of the stable form
        self.save(pred, target)
        losses = np.maximum(pred, 0) - pred * target + np.log1p(np.exp(-np.abs(pred)))
        return float(losses.mean())
        ### END SOLUTION

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        ### BEGIN SOLUTION sigmoid minus target, over all elements
        pred, target = self.saved()
        return (sigmoid(pred) - target) / pred.size
        ### END SOLUTION

# %%
check(BCEWithLogitsLoss)

# %% probe="BCEWithLogitsLoss"
def complaint(run):
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            run()
    except FloatingPointError as error:
        return str(error).split()[0]
    return "none"


def probe(BCEWithLogitsLoss, rng):
    N, C = rng.integers(2, 5), rng.integers(5, 8)
    pred, target = 2 * rng.normal(size=(N, C)), rng.uniform(0.1, 0.9, size=(N, C))
    hard = rng.integers(0, 2, size=(N, C))
    hard[0, :4] = [0, 1, 0, 1]
    large = pred.copy()
    large[0, :4] = [1000, 1000, -1000, -1000]
    loss = BCEWithLogitsLoss()
    yield "loss", loss.forward(pred, target)
    yield "dpred", loss.backward()
    yield "loss of logits of ±1000", loss.forward(large, hard)
    yield "dpred of logits of ±1000", loss.backward()
    yield "numerical warnings of forward", complaint(lambda: loss(large, hard))
    loss(large, hard)
    yield "numerical warnings of backward", complaint(loss.backward)
    sure = rng.uniform(-60, -38, size=(N, C))
    yield "loss of sure and right logits", loss(sure, np.zeros((N, C)))
    loss(pred.astype(np.float32), target.astype(np.float32))
    yield "dpred in float32", loss.backward()

# %% mistakes="BCEWithLogitsLoss"
LOSSES = "np.maximum(pred, 0) - pred * target + np.log1p(np.exp(-np.abs(pred)))"
GRADIENT = "(sigmoid(pred) - target) / pred.size"

mistake("the sigmoid is taken first, then its logarithm", "For large logits the sigmoid is exactly 0 or 1, and log(0) is −inf. "
        "Use the form with max(z, 0), in which the two have been merged.",
        swap=(LOSSES, "-target * np.log(sigmoid(pred)) - (1 - target) * np.log(1 - sigmoid(pred))"))
mistake("the sigmoid is clipped before the logarithm", "Clipping hides the infinity, and makes the loss wrong and flat where "
        "the model is most wrong. The stable form needs no clipping.",
        swap=(LOSSES, "-target * np.log(np.clip(sigmoid(pred), 1e-12, 1)) "
                      "- (1 - target) * np.log(np.clip(1 - sigmoid(pred), 1e-12, 1))"))
mistake("the exponent is z in place of −|z|", "log(1 + exp(z)) overflows for large z. Take the max out first; what is left has the "
        "exponent −|z|, which is never positive.",
        swap=(LOSSES, "np.log1p(np.exp(pred)) - pred * target"))
mistake("an exponential overflows in forward, unseen in the loss", "A positive exponent is computed and then thrown away or "
        "divided away. np.where does not protect you: it computes both sides before it picks. One exponential, of −|z|, serves both signs.",
        swap=(LOSSES, "np.where(pred >= 0, pred - pred * target + np.log1p(np.exp(-pred)), "
                      "np.log1p(np.exp(pred)) - pred * target)"))
mistake("log(1 + …) loses what is tiny", "Where the model is sure and right, exp(−|z|) is far below rounding: 1 + exp(−|z|) is exactly 1, and "
        "the loss becomes 0. np.log1p takes the tiny number itself.",
        swap=("np.log1p(np.exp(-np.abs(pred)))", "np.log(1 + np.exp(-np.abs(pred)))"))
mistake("target and prediction are swapped", "The formula with logits holds −z·t, with z = pred. max and |z| are of the logit, "
        "not of the target.",
        swap=(LOSSES, "np.maximum(target, 0) - pred * target + np.log1p(np.exp(-np.abs(target)))"))
mistake("the loss is a sum, not a mean", "Use the mean over all elements, so that the loss does not grow with the "
        "batch.", swap=("float(losses.mean())", "float(losses.sum())"))
mistake("the gradient is not divided by the number of elements", "The loss is a mean over pred.size elements. So is its "
        "gradient.", swap=(GRADIENT, "sigmoid(pred) - target"))
mistake("the gradient is divided by the number of samples", "The loss averages over all elements, pred.size of them, not "
        "over len(pred).", swap=(GRADIENT, "(sigmoid(pred) - target) / len(pred)"))
mistake("the gradient's sign is turned", "With target 1 and a low logit, the loss falls when the logit rises: the gradient must be "
        "negative. So it is σ(z) − t.", swap=(GRADIENT, "(target - sigmoid(pred)) / pred.size"))
mistake("the sigmoid's derivative is multiplied in again", "σ(z) − t is already the gradient by the logit. The factor σ(1 − σ) "
        "has cancelled on the way.", swap=(GRADIENT, "(sigmoid(pred) - target) * sigmoid(pred) * (1 - sigmoid(pred)) / pred.size"))
mistake("infinity is divided by infinity in the gradient", "exp(1000) / (1 + exp(1000)) is inf / inf, which is NaN. Chapter 04's sigmoid "
        "never takes the exponential of a positive number: call it.",
        swap=("sigmoid(pred)", "np.exp(pred) / (1 + np.exp(pred))"))
mistake("an exponential overflows in the gradient, unseen in dpred", "For z = −1000, exp(−z) is inf. 1 / inf is 0, so the value is right, "
        "but the overflow has happened. Chapter 04's sigmoid avoids it: call it.",
        swap=("sigmoid(pred)", "1 / (1 + np.exp(-pred))"))

# %% [markdown] hints="BCEWithLogitsLoss"
# Two stable pieces are needed. In forward, the merged form with max, z·t and log1p. In backward, a sigmoid that only ever takes
# the exponential of a number ≤ 0. Chapter 04's does.
#
# ---
#
# ℓ = max(z, 0) − z·t + log1p(exp(−|z|)). ∂ℓ/∂z = σ(z) − t, and the mean divides it by the number of all elements.
#
# ---
#
# ```python
# # forward
# self.save(pred, target)
# losses = np.maximum(...) - ... + np.log1p(...)
# return float(losses.mean())
#
# # backward
# pred, target = self.saved()
# return (sigmoid(...) - ...) / ...
# ```

# %% [markdown]
# ## Many classes: the logarithm of a softmax
#
# With $C$ classes, $p_c = e^{z_c} / \sum_k e^{z_k}$. The loss needs $\log p_c$ only, so take the logarithm on paper:
#
# $$\log p_c = z_c - \log \sum_k e^{z_k} = (z_c - m) - \log \sum_k e^{z_k - m}, \qquad m = \max_k z_k .$$
#
# Adding one number to all scores of a sample does not change its softmax. With $m$ subtracted, the largest exponent is 0 and the
# sum is at least 1. No overflow, and no logarithm of 0.
#
# ### Exercise 4 ★★: log_softmax
#
# Each row has a maximum of its own; `keepdims=True` keeps it ready for broadcasting.

# %% exercise="log_softmax" points=2 stars=2
#| export
def log_softmax(logits):
    """Return log p of the softmax over axis 1: z - m - log Σ exp(z - m), m = max z.

    Args:
        logits: (N, C) scores of any size.

    Returns:
        log-probabilities (N, C), all finite, in the dtype of logits.

    Source: Goodfellow et al., Deep Learning (2016), sections 4.1 and 6.2.2.3.
    """
    ### BEGIN SOLUTION subtract each row's maximum; take the log of the sum of exp
    shifted = logits - logits.max(axis=1, keepdims=True)  # (N, C), at most 0
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    ### END SOLUTION

# %%
check(log_softmax)

# %% probe="log_softmax"
def probe(log_softmax, rng):
    N, C = rng.integers(2, 5), rng.integers(5, 8)
    logits = 2 * rng.normal(size=(N, C))
    large = logits.copy()
    large[0, :2] = [1000, -1000]
    yield "log p", log_softmax(logits)
    yield "sum of the probabilities of each row", np.exp(log_softmax(logits)).sum(axis=1)
    yield "log p of scores of ±1000", log_softmax(large)
    yield "log p of rows at far levels", log_softmax(logits + 1000 * np.arange(N)[:, None] - 1000)
    yield "log p in float32", log_softmax(logits.astype(np.float32))

# %% mistakes="log_softmax"
REFERENCE = "shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))"
BODY = "shifted = logits - logits.max(axis=1, keepdims=True)  # (N, C), at most 0\n    return " + REFERENCE

mistake("no maximum is subtracted", "exp(1000) is inf, and inf − inf is NaN. Subtract each row's largest score "
        "first: softmax does not notice.", swap=("logits - logits.max(axis=1, keepdims=True)", "logits"))
mistake("one maximum is used for all rows", "A row far below the others underflows: all its exponentials are 0, and so is their sum. "
        "Take the maximum of each row, over axis 1.",
        swap=("logits.max(axis=1, keepdims=True)", "logits.max()"))
mistake("the softmax is taken first, then its logarithm", "A probability of e⁻²⁰⁰⁰ rounds to 0, and its logarithm is −inf. Take the logarithm on "
        "paper: a difference, with no division left.",
        swap=(REFERENCE, "np.log(np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True))"))
mistake("the softmax overflows before its logarithm is taken", "exp(1000) is inf, and inf/inf is NaN. Take the logarithm on paper, which "
        "leaves a difference, and subtract each row's largest score first.",
        swap=(BODY, "return np.log(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True))"))
mistake("one softmax is taken over the whole array", "Maximum and sum belong to each row: a sample's probabilities sum to 1 over its own "
        "classes. Give both axis=1 and keepdims=True.",
        swap=(BODY, "return logits - logits.max() - np.log(np.exp(logits - logits.max()).sum())"))
mistake("one overflowing softmax is taken over the whole array", "Each row is a sample of its own: sum over axis 1, with keepdims=True. And "
        "exp(1000) is inf: subtract each row's largest score first, and take the logarithm on paper.",
        swap=(BODY, "return np.log(np.exp(logits) / np.exp(logits).sum())"))
mistake("the sum runs over the whole array", "Each row has its own sum, over axis 1, with keepdims=True. Without an axis, sum adds "
        "all samples together.", swap=("np.exp(shifted).sum(axis=1, keepdims=True)", "np.exp(shifted).sum()"))
mistake("the softmax is clipped before the logarithm", "The clip puts a floor under log p. Below it the loss is wrong, and "
        "flat. With the logarithm taken on paper no clip is needed.",
        swap=(REFERENCE, "np.log(np.clip(np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True), 1e-12, 1))"))
mistake("the probabilities are returned, not their logarithms", "You return the softmax. The function owes log p: shifted scores "
        "minus the log of the sum.",
        swap=(REFERENCE, "np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)"))
mistake("the row's maximum or sum has lost its axis", "Without keepdims=True the result is (N,), which does not line up with the rows of "
        "(N, C).", swap=("logits.max(axis=1, keepdims=True)", "logits.max(axis=1)"))
mistake("the sum runs over the samples", "Axis 0 counts the samples. The probabilities of one sample sum to 1 over its "
        "classes, axis 1.", swap=("np.exp(shifted).sum(axis=1, keepdims=True)", "np.exp(shifted).sum(axis=0, keepdims=True)"))
mistake("the softmax runs over the samples", "Axis 0 counts the samples. Maximum and sum belong to one sample: both run over its "
        "classes, axis 1.", swap=(BODY, BODY.replace("axis=1", "axis=0")))
mistake("one maximum for all rows, and a softmax before the logarithm", "A row far below the others underflows to 0/0. Take each row's own maximum, over "
        "axis 1, and the logarithm on paper.",
        swap=(BODY, "e = np.exp(logits - logits.max())\n    return np.log(e / e.sum(axis=1, keepdims=True))"))
mistake("the maximum is missing from one of the two terms", "Subtract m inside the exponential and from the score outside. "
        "Only then it cancels.", swap=(REFERENCE, REFERENCE.replace("shifted - np.log", "logits - np.log")))
mistake("the result is always float64", "float32 scores must give float32 log-probabilities. Do not convert on the "
        "way.", swap=(REFERENCE, "np.float64(1) * (" + REFERENCE + ")"))

# %% [markdown] hints="log_softmax"
# Subtract something from each row so that no exponential can overflow. What is the safest thing to subtract?
#
# ---
#
# log p = (z − m) − log Σ exp(z − m), with m the maximum of the row.
#
# ---
#
# ```python
# shifted = logits - logits.max(axis=..., keepdims=True)
# return shifted - np.log(...)
# ```

# %% [markdown]
# ## Cross-entropy, forward and backward
#
# With targets as rows $t_{nc}$, one-hot or soft:
#
# $$L = -\frac1N \sum_n \sum_c t_{nc} \log p_{nc} .$$
#
# The mean is over the $N$ *samples*: a sample has one cost, whatever $C$ is.
#
# Backward, for one sample. How does the log-probability of class $c$ move with score $j$? Its own score lifts it, and every score
# lifts the sum that is subtracted. With $[c = j]$ for 1 where the two are equal and 0 elsewhere:
#
# $$\frac{\partial \log p_c}{\partial z_j} = [c = j] - p_j
# \quad\Rightarrow\quad
# \frac{\partial L}{\partial z_{nj}} = \frac1N\Big(p_{nj}\sum_c t_{nc} - t_{nj}\Big) = \frac{p_{nj} - t_{nj}}{N},$$
#
# because the targets of a sample sum to 1. Vectorised: `(softmax - target) / N`.
#
# ### Exercise 5 ★★: CrossEntropyLoss
#
# `match_classes(self, pred, target)` turns either kind of target into rows.

# %% exercise="CrossEntropyLoss" points=4 stars=2
#| export
class CrossEntropyLoss(Loss):
    """Cross-entropy of softmax(pred): -mean over samples of Σ target · log softmax(pred).

    Shapes: pred (N, C) logits; target (N,) integer labels or (N, C) probabilities → float;
    dpred (N, C).

    Raises:
        ValueError: for labels outside 0…C-1 or shapes that do not fit.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4.
    """

    def forward(self, pred, target):
        """Return the mean over the samples."""
        ### BEGIN SOLUTION target rows and log_softmax, save both; mean over samples
        rows = match_classes(self, pred, target)  # (N, C)
        logp = log_softmax(pred)
        self.save(logp, rows)
        return float(-(rows * logp).sum() / len(pred))
        ### END SOLUTION

    def backward(self):
        """Return dpred (N, C), in pred's dtype."""
        ### BEGIN SOLUTION softmax minus target, over the number of samples
        logp, rows = self.saved()
        return (np.exp(logp) - rows) / len(rows)
        ### END SOLUTION

# %%
check(CrossEntropyLoss)

# %% probe="CrossEntropyLoss"
def complaint(run):
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            run()
    except FloatingPointError as error:
        return str(error).split()[0]
    return "none"


def probe(CrossEntropyLoss, rng):
    N, C = rng.integers(2, 5), rng.integers(5, 8)
    pred, later = 2 * rng.normal(size=(2, N, C))
    labels = rng.integers(0, C, N)
    soft = rng.uniform(0.1, 1, size=(N, C))
    soft = soft / soft.sum(axis=1, keepdims=True)
    large = pred.copy()
    large[0, :2] = [1000, -1000]  # one extreme row; the others tell mistakes apart
    loss = CrossEntropyLoss()
    yield "loss", loss.forward(pred, labels)
    yield "dpred", loss.backward()
    yield "loss of scores of ±1000", loss.forward(large, np.ones(N, int))
    yield "dpred of scores of ±1000", loss.backward()
    yield "numerical warnings of forward", complaint(lambda: loss(large, np.ones(N, int)))
    loss(large, np.ones(N, int))
    yield "numerical warnings of backward", complaint(loss.backward)
    loss.forward(pred, labels)
    loss.forward(later, labels)
    loss.backward()
    yield "dpred of the first of two calls", loss.backward()
    try:
        loss.forward(pred, labels - C)
        yield "negative labels", "no ValueError"
    except ValueError:
        yield "negative labels", "ValueError"
    loss(pred.astype(np.float32), labels)
    yield "dpred in float32", loss.backward()
    yield "loss with rows as target", loss(pred, soft)
    yield "dpred with rows as target", loss.backward()

# %% mistakes="CrossEntropyLoss"
LOSS, GRADIENT = "float(-(rows * logp).sum() / len(pred))", "(np.exp(logp) - rows) / len(rows)"

mistake("the gradient is not divided by N", "The loss is a mean over N samples, so one sample moves it by 1/N. Without it "
        "the step grows with the batch size.", swap=(GRADIENT, "np.exp(logp) - rows"))
mistake("the gradient's sign is turned", "Raising the score of the right class lowers the loss: its gradient is negative. So it is "
        "softmax − target.", swap=(GRADIENT, "(rows - np.exp(logp)) / len(rows)"))
mistake("only the right class gets a gradient", "The other scores stand in the softmax's sum and raise the loss: each gets its "
        "probability as gradient. Do not mask with the target.", swap=(GRADIENT, "rows * (np.exp(logp) - rows) / len(rows)"))
mistake("the gradient is divided by all N·C elements", "Each sample has one cost. The mean is over len(pred) samples; pred.size "
        "makes the gradient C times too small.", swap=(GRADIENT, "(np.exp(logp) - rows) / rows.size"))
mistake("the loss is averaged over all N·C elements", "Sum over the classes, and average over the samples only: the zeros of a one-hot "
        "row are no costs.", swap=(LOSS, "float(-(rows * logp).mean())"))
mistake("the loss has the wrong sign", "log p is negative. The minus in front makes a loss that falls to 0.",
        swap=(LOSS, "float((rows * logp).sum() / len(pred))"))
mistake("target and prediction are swapped", "It is target · log(prediction). A one-hot target holds zeros, so its logarithm is "
        "−inf.", swap=(LOSS, "float(-(np.exp(logp) * np.log(rows)).sum() / len(pred))"))
mistake("the softmax is clipped before the logarithm", "A clipped loss is wrong for very wrong predictions, which are the ones "
        "that matter most. Use log_softmax.",
        swap=(LOSS, "float(-(rows * np.log(np.clip(np.exp(logp), 1e-12, 1))).sum() / len(pred))"))
mistake("the softmax is written out, without log_softmax", "exp(1000) is inf, and inf/inf is NaN. log_softmax has been built for this: use it, and np.exp "
        "of its result for the probabilities.",
        swap=("log_softmax(pred)", "np.log(np.exp(pred) / np.exp(pred).sum(axis=1, keepdims=True))"))
mistake("the softmax is written out, and its zeros get a logarithm", "A probability of e⁻²⁰⁰⁰ rounds to 0, its logarithm is −inf, and 0 · inf is NaN. "
        "log_softmax takes the logarithm on paper: use it.",
        swap=("log_softmax(pred)", "np.log(np.exp(pred - pred.max(axis=1, keepdims=True)) / "
              "np.exp(pred - pred.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True))"))

@mistake("backward's softmax overflows", "exp(1000) is inf, and inf/inf is NaN. Save the log-probabilities of forward; np.exp of them "
         "is the softmax, and never above 1.")
class CrossEntropyLoss(reference):
    def forward(self, pred, target):
        rows = match_classes(self, pred, target)
        self.save(pred, rows)
        return float(-(rows * log_softmax(pred)).sum() / len(pred))

    def backward(self):
        pred, rows = self.saved()
        return (np.exp(pred) / np.exp(pred).sum(axis=1, keepdims=True) - rows) / len(rows)

mistake("the logarithm is taken after the sum over the classes", "The loss sums target · log p. The log of Σ target · p agrees with it for one-hot "
        "rows, not for soft ones, and is −inf where p rounds to 0.",
        swap=(LOSS, "float(-np.log((rows * np.exp(logp)).sum(axis=1)).mean())"))
mistake("the softmax is taken twice", "log_softmax wants the raw scores. Given probabilities, it flattens them once "
        "more.", swap=("log_softmax(pred)", "log_softmax(np.exp(log_softmax(pred)))"))

@mistake("targets given as rows are not handled", "Indexing with the target works for integer labels only. Call match_classes "
         "first: it makes rows (N, C) of either kind, and refuses labels out of range.")
class CrossEntropyLoss(Loss):
    def forward(self, pred, target):
        logp = log_softmax(pred)
        self.save(logp, target)
        return float(-logp[np.arange(len(pred)), target].mean())

    def backward(self):
        logp, target = self.saved()
        dpred = np.exp(logp)
        dpred[np.arange(len(logp)), target] -= 1
        return dpred / len(logp)

# %% [markdown] hints="CrossEntropyLoss"
# Everything is there already: `match_classes` makes the targets' rows, `log_softmax` the log-probabilities. Backward needs both again.
#
# ---
#
# L = −Σ rows · logp / N, and dpred = (exp(logp) − rows) / N, with N the number of samples.
#
# ---
#
# ```python
# # forward
# rows = match_classes(self, pred, target)
# logp = ...
# self.save(logp, rows)
# return float(-(...).sum() / ...)
#
# # backward
# logp, rows = self.saved()
# return (... - rows) / ...
# ```

# %% [markdown]
# ## See: softmax minus one-hot
#
# A real digit, and its scores by the templates of chapter 03, divided by 5 to make the softmax less sure.
# The bars are the gradient of its loss.

# %%
images, labels = load_digits_5k()
x = images.reshape(len(images), -1).astype(np.float32) / 255  # (5000, 784)
templates = np.stack([x[labels == k].mean(0) for k in range(10)]) - x.mean(0)
scores = x @ templates.T  # (5000, 10)

loss = CrossEntropyLoss()
value = loss(scores[2003:2004] / 5, labels[2003:2004])
dpred = loss.backward()[0]

fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6), width_ratios=[1, 3])
left.imshow(images[2003])
left.axis("off")
right.bar(range(10), dpred, color=[ORANGE if d < 0 else BLUE for d in dpred])
right.set(xticks=range(10), xlabel="class", title=f"dpred of a {labels[2003]}, loss {value:.2f}")
plt.show()

# %% [markdown]
# Training goes *against* the gradient. The one negative bar says "raise this score", the others say "lower these", each by
# the probability that it took from the right class. The templates take this 4 for a 9: see where the tallest blue bar is. The bars sum to
# zero, since softmax only knows differences. When the prediction is right and sure, all bars vanish.
#
# ## Focal loss: when almost everything is easy
#
# In an ECG nearly all heartbeats are normal; in a detector nearly all boxes are background. Each of these easy samples costs
# little. Together they drown the few hard ones. Lin and colleagues multiply the cross-entropy by a factor that fades for easy
# samples, where $p_t$ is the probability of the right class:
#
# $$\ell = -\alpha_t\,(1 - p_t)^\gamma \log p_t .$$
#
# $\gamma = 0$ is cross-entropy. $\alpha_t$, if given, is one weight per class. Here is a toy set with 50 easy samples for each hard one:

# %%
from ipywidgets import FloatSlider, interact

rng = np.random.default_rng(1)
easy, hard = rng.uniform(0.85, 0.99, 2000), rng.uniform(0.05, 0.4, 40)


def focal(p, gamma):
    return -((1 - p) ** gamma) * np.log(p)


def draw_focal(gamma=2.0):
    totals = np.array([focal(easy, gamma).sum(), focal(hard, gamma).sum()])
    p = np.linspace(0.02, 1, 200)
    fig, (left, right) = plt.subplots(1, 2, figsize=(8, 2.6), width_ratios=[2, 1])
    left.plot(p, focal(p, 0), "--", color=GREY, label="cross-entropy")
    left.plot(p, focal(p, gamma), label=f"focal, γ = {gamma:g}")
    left.set(xlabel="probability of the right class", ylabel="loss", ylim=(0, 4))
    left.legend()
    right.bar(["2000 easy", "40 hard"], totals / totals.sum(), color=[BLUE, ORANGE])
    right.set(ylim=(0, 1), title="share of the total loss")
    plt.show()


draw_focal()
for gamma in (0, 2, 6):
    share = 1 / (1 + focal(easy, gamma).sum() / focal(hard, gamma).sum())
    print(f"γ = {gamma}: hard samples make up {share:.0%} of the loss; "
          f"p = 0.5 keeps {focal(0.5, gamma) / focal(0.5, 0):.1%} of its cross-entropy")
interact(draw_focal, gamma=FloatSlider(value=2, min=0, max=6, step=0.5, description="γ"));

# %% [markdown]
# Set γ to 0, then raise it step by step: where do the 40 hard samples pass half of
# the total? Go on to 6, and watch the curve at $p = 0.5$. It sinks to the axis: merely unsure samples fade
# as well, and only the worst are heard.
#
# ### Its gradient
#
# A soft row has several right classes, and each costs by its share:
#
# $$\ell = -\sum_c \alpha_c\, t_c\, (1 - p_c)^\gamma \log p_c .$$
#
# A one-hot row leaves the one term above. Write $q = 1 - p = 1 - e^{\log p}$, and start with the derivative by the
# log-probability of one class. The factor moves too: $\partial q^\gamma / \partial \log p = -\gamma\, q^{\gamma-1} p$. So the
# product rule gives two terms:
#
# $$g_c = \frac{\partial \ell}{\partial \log p_c}
# = \alpha_c t_c \left(\gamma\, q_c^{\gamma-1} p_c \log p_c - q_c^{\gamma}\right)
# = \alpha_c t_c\, q_c^{\gamma} \left(\gamma\, p_c\, \frac{\log p_c}{q_c} - 1\right).$$
#
# From there to the scores it is cross-entropy's rule for $\partial \log p_c / \partial z_j$:
#
# $$\frac{\partial L}{\partial z_{nj}} = \frac1N \Big( g_{nj} - p_{nj} \sum_c g_{nc} \Big).$$
#
# With $\gamma = 0$ and no α, $g = -t$, and cross-entropy's $p - t$ comes back. The second form of $g$ is the safe one: as $p \to 1$, the
# ratio $\log p / q$ goes to $-1$. Only $0/0$ must be caught, when $q$ has rounded to 0.
#
# ### Exercise 6 ★★★: FocalLoss
#
# `self.class_weights(pred)` gives α as (C,), all ones where there is none.
# `np.divide(a, b, out=…, where=b > 0)` divides only where it may, and leaves `out` elsewhere.

# %% exercise="FocalLoss" points=5 stars=3
#| export
class FocalLoss(Loss):
    """Cross-entropy that fades for easy samples: -mean of α_t (1 - p_t)^γ log p_t, p = softmax.

    Shapes: pred (N, C) logits; target (N,) integer labels or (N, C) probabilities → float;
    dpred (N, C). alpha: None or one weight per class. For soft rows the classes' terms are
    weighted by the row.

    Raises:
        ValueError: for a negative gamma, an alpha of another length than C, bad targets.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), section 3.
    """

    def __init__(self, gamma=2.0, alpha=None):
        if gamma < 0:
            self.refuse("gamma of at least 0", gamma, "2 is a good start, 0 is cross-entropy")
        self.gamma, self.alpha = float(gamma), alpha

    def class_weights(self, pred):
        """Return alpha as (C,) in pred's dtype; ones where it is None."""
        alpha = np.ones(pred.shape[1]) if self.alpha is None else np.asarray(self.alpha)
        if alpha.shape != pred.shape[1:]:
            self.refuse(f"one alpha for each of {pred.shape[1]} classes", alpha.shape,
                         "pass a list of that length, or None")
        return alpha.astype(pred.dtype)

    def forward(self, pred, target):
        """Return the mean over the samples."""
        ### BEGIN SOLUTION weighted rows, log_softmax, save; the factor q**gamma; the mean
        weighted = match_classes(self, pred, target) * self.class_weights(pred)  # (N, C)
        logp = log_softmax(pred)
        q = 1 - np.exp(logp)
        self.save(logp, weighted)
        return float(-(weighted * q**self.gamma * logp).sum() / len(pred))
        ### END SOLUTION

    def backward(self):
        """Return dpred (N, C), in pred's dtype."""
        ### BEGIN SOLUTION g by the log-probabilities, then through the softmax, over N
        logp, weighted = self.saved()
        p = np.exp(logp)
        q = 1 - p
        ratio = np.divide(logp, q, out=-np.ones_like(q), where=q > 0)  # -1 is its limit
        g = weighted * q**self.gamma * (self.gamma * p * ratio - 1)
        return (g - p * g.sum(axis=1, keepdims=True)) / len(g)
        ### END SOLUTION

# %%
check(FocalLoss)

# %% probe="FocalLoss"
def complaint(run):
    try:
        with np.errstate(over="raise", invalid="raise", divide="raise"):
            run()
    except FloatingPointError as error:
        return str(error).split()[0]
    return "none"


def probe(FocalLoss, rng):
    N, C = rng.integers(2, 5), rng.integers(5, 8)
    pred, labels = 2 * rng.normal(size=(N, C)), rng.integers(0, C, N)
    gamma, alpha = rng.uniform(1.3, 3), rng.uniform(1.5, 4, C)
    soft = rng.uniform(0.1, 1, size=(N, C))
    soft = soft / soft.sum(axis=1, keepdims=True)
    large = pred.copy()
    large[0, :2] = [1000, -1000]  # one extreme row; the others tell mistakes apart
    wrong, right = np.ones(N, int), (np.arange(N) > 0).astype(int)
    plain, weighted = FocalLoss(gamma), FocalLoss(gamma, alpha)
    yield "loss", plain.forward(pred, labels)
    yield "dpred", plain.backward()
    yield "loss with alpha", weighted.forward(pred, labels)
    yield "dpred with alpha", weighted.backward()
    yield "loss of scores of ±1000", plain.forward(large, wrong)
    yield "dpred of scores of ±1000", plain.backward()
    zero = FocalLoss(0.0)
    zero(large, right)
    yield "dpred of scores of ±1000, gamma 0", zero.backward()
    yield "numerical warnings of forward", complaint(lambda: zero(large, right))
    zero(large, right)
    yield "numerical warnings of backward", complaint(zero.backward)
    plain(pred.astype(np.float32), labels)
    yield "dpred in float32", plain.backward()
    yield "loss with rows as target", plain(pred, soft)
    yield "dpred with rows as target", plain.backward()

# %% mistakes="FocalLoss"
LOSS = "-(weighted * q**self.gamma * logp).sum() / len(pred)"
MERGED = "(weighted * logp).sum(axis=1)"
PT = "((weighted * np.exp(logp)).sum(axis=1) / weighted.sum(axis=1))"
SHIFTED = "np.exp(pred - pred.max(axis=1, keepdims=True))"
G = "weighted * q**self.gamma * (self.gamma * p * ratio - 1)"
RETURN = "(g - p * g.sum(axis=1, keepdims=True)) / len(g)"

mistake("p_t is treated as a constant in the gradient", "The factor (1 − p)^γ depends on the scores as well. The product rule gives a "
        "second term, with γ in it.", swap=(G, "-weighted * q**self.gamma"))
mistake("(1 − p)^γ is multiplied onto cross-entropy's gradient", "That treats the factor as a constant, and gives each score the factor of its own "
        "class. The factor depends on the scores: take the product rule for g first, then go through the softmax.",
        swap=(RETURN, "(p * weighted.sum(axis=1, keepdims=True) - weighted) * q**self.gamma / len(g)"))
mistake("the gradient is plain cross-entropy's", "(1 − p)^γ stands in the loss, so it stands in the gradient as well, and its own derivative brings a second "
        "term.", swap=(RETURN, "(p * weighted.sum(axis=1, keepdims=True) - weighted) / len(g)"))
mistake("gamma is forgotten in the gradient's second term", "The derivative of q^γ brings γ down as a factor.",
        swap=(G, "weighted * q**self.gamma * (p * ratio - 1)"))
mistake("the inner derivative of 1 − p is forgotten", "q = 1 − p, and p is the exponential of log p: its derivative by log p "
        "is −p. The factor p is missing in the second term.", swap=(G, "weighted * q**self.gamma * (self.gamma * ratio - 1)"))
mistake("the second term has the wrong sign", "q falls where log p rises: a minus from the inside meets the minus in front of the "
        "loss. And log p itself is negative.", swap=(G, "weighted * q**self.gamma * (-self.gamma * p * ratio - 1)"))
mistake("alpha is applied in forward only", "A constant factor of the loss is a factor of its gradient. Save the weighted rows, not the "
        "plain ones.", swap=("self.save(logp, weighted)", "self.save(logp, match_classes(self, pred, target))"))
mistake("alpha is ignored", "Multiply the target rows with self.class_weights(pred).",
        swap=("match_classes(self, pred, target) * self.class_weights(pred)", "match_classes(self, pred, target)"))
mistake("the mean is weighted by alpha", "Divide by the number of samples, not by the sum of their weights. (PyTorch's "
        "weighted cross-entropy does the latter; this loss is the plain mean.)", swap=(LOSS, "-(weighted * q**self.gamma * logp).sum() / weighted.sum()"))
mistake("the loss uses p to the power of γ", "The factor must fade for easy samples, where p is near 1. That is (1 − p)^γ.",
        swap=("        q = 1 - np.exp(logp)\n", "        q = np.exp(logp)\n"))
mistake("the loss is plain cross-entropy", "The factor (1 − p)^γ is missing.", swap=(LOSS, "-(weighted * logp).sum() / len(pred)"))
mistake("the gradient is not divided by N", "The loss is a mean over the samples, and so is its gradient.",
        swap=(RETURN, "g - p * g.sum(axis=1, keepdims=True)"))
mistake("the gradient stops at the right class", "g is the gradient by the log-probabilities. Every score enters every "
        "log-probability through the softmax's sum: subtract p · Σ g.", swap=(RETURN, "g / len(g)"))
mistake("0/0 where a sample is certain", "Where p has rounded to 1, q is 0, and log p / q is 0/0 = NaN. The ratio's limit is −1: "
        "use np.divide with out and where.", swap=("np.divide(logp, q, out=-np.ones_like(q), where=q > 0)", "logp / q"))
mistake("0/0 is computed and then thrown away", "np.where computes both its sides before it picks, so q = 0 is divided by all the same. "
        "np.divide with out and where leaves it out.",
        swap=("np.divide(logp, q, out=-np.ones_like(q), where=q > 0)", "np.where(q > 0, logp / q, -1)"))
mistake("the softmax is written out, without log_softmax", "exp(1000) is inf, and inf/inf is NaN. log_softmax has been built for this: use it, and np.exp "
        "of its result for the probabilities.",
        swap=("log_softmax(pred)", "np.log(np.exp(pred) / np.exp(pred).sum(axis=1, keepdims=True))"))
mistake("the softmax is written out, and its zeros get a logarithm", "A probability of e⁻²⁰⁰⁰ rounds to 0, its logarithm is −inf, and 0 · inf is NaN. "
        "log_softmax takes the logarithm on paper: use it.",
        swap=("log_softmax(pred)", f"np.log({SHIFTED} / {SHIFTED}.sum(axis=1, keepdims=True))"))
mistake("a soft row is merged into one p_t", "A soft row has several right classes, and each has a term of its own: −α t (1 − p)^γ log p, class by class. "
        "Compute all (N, C) terms, then sum.",
        swap=(LOSS, f"-((1 - np.exp({MERGED} / weighted.sum(axis=1)))**self.gamma * {MERGED}).sum() / len(pred)"))
mistake("the logarithm is taken after the sum over the classes", "log Σ t · p agrees with Σ t · log p for one-hot rows, not for soft ones, and is −inf where "
        "p rounds to 0. Take each class's own term, and sum last.",
        swap=(LOSS, f"-((1 - {PT})**self.gamma * weighted.sum(axis=1) * np.log({PT})).sum() / len(pred)"))

@mistake("backward's softmax overflows", "exp(1000) is inf, and inf/inf is NaN. Save the log-probabilities of forward; np.exp of them "
         "is the softmax, and never above 1.")
class FocalLoss(reference):
    def forward(self, pred, target):
        self.pred = pred
        return super().forward(pred, target)

    def backward(self):
        logp, weighted = self.saved()
        p = np.exp(self.pred) / np.exp(self.pred).sum(axis=1, keepdims=True)
        ratio = np.divide(logp, 1 - p, out=-np.ones_like(p), where=p < 1)
        g = weighted * (1 - p)**self.gamma * (self.gamma * p * ratio - 1)
        return (g - p * g.sum(axis=1, keepdims=True)) / len(g)

@mistake("targets given as rows are not handled", "Indexing with the target works for integer labels only. Call match_classes "
         "first: it makes rows (N, C) of either kind, and refuses labels out of range.")
class FocalLoss(reference):
    def forward(self, pred, target):
        logp, alpha = log_softmax(pred), self.class_weights(pred)
        weighted = np.zeros_like(pred)
        weighted[np.arange(len(pred)), target] = alpha[target]
        self.save(logp, weighted)
        return float(-(weighted * (1 - np.exp(logp))**self.gamma * logp).sum() / len(pred))

mistake("q to the power of γ − 1 is infinite where a sample is certain", "For γ below 1, q^(γ−1) divides by zero where p has "
        "rounded to 1. Take q^γ out of both terms, and guard the ratio log p / q.",
        swap=(G, "weighted * (self.gamma * q ** (self.gamma - 1) * p * logp - q**self.gamma)"))

# %% [markdown] hints="FocalLoss"
# Two steps back: from the loss to the log-probabilities, where each class has a g of its own, then from the log-probabilities to the scores,
# where the classes mix. The second step is the same for cross-entropy.
#
# ---
#
# g = α t q^γ (γ · p · (log p / q) − 1), with log p / q = −1 where q is 0. dpred = (g − p · Σ g) / N, the sum over the classes.
#
# ---
#
# ```python
# # forward
# weighted = match_classes(self, pred, target) * self.class_weights(pred)
# logp = log_softmax(pred)
# q = ...
# self.save(logp, weighted)
# return float(-(...).sum() / len(pred))
#
# # backward
# logp, weighted = self.saved()
# p = np.exp(logp)
# q = 1 - p
# ratio = np.divide(logp, q, out=-np.ones_like(q), where=q > 0)
# g = ...
# return (g - p * ...) / len(g)
# ```

# %% [markdown]
# ## Is it right? Ask the losses
#
# The checks compared your code with a reference. `numerical_gradient` needs none: it asks the loss itself.
#
# It can also settle a question. Many implementations treat $p_t$ in the factor as a constant; in PyTorch, by writing
# `logpt.data.exp()`. Then only the second of the two terms is left. Is that the gradient of this loss?

# %% tags=["nbval-check-output"]
def gradient_error(loss, pred, target):
    loss(pred, target)
    dpred = loss.backward()
    return relative_error(dpred, numerical_gradient(lambda moved: loss(moved, target), pred))


class ConstantFactor(FocalLoss):
    def forward(self, pred, target):
        self.pred, self.labels = pred, target
        return super().forward(pred, target)

    def backward(self):
        p = np.exp(log_softmax(self.pred))
        g = -one_hot(self.labels, p.shape[1], p.dtype) * (1 - p) ** self.gamma
        return (g - p * g.sum(axis=1, keepdims=True)) / len(p)


rng = np.random.default_rng(0)
pred, values, classes = rng.normal(size=(4, 3)), rng.uniform(size=(4, 3)), np.array([0, 2, 1, 1])
cases = {"MSE": (MSELoss(), values), "BCE": (BCEWithLogitsLoss(), values),
         "cross-entropy": (CrossEntropyLoss(), classes), "focal": (FocalLoss(), classes),
         "focal, constant factor": (ConstantFactor(), classes)}
for name, (loss, target) in cases.items():
    right = gradient_error(loss, pred, target) < 1e-7
    print(f"gradient of {name}: {'right' if right else 'wrong'}")
for p in (0.01, 0.99):
    ratio = 1 - 2 * p * np.log(p) / (1 - p)
    print(f"p_t = {p}, γ = 2: the right gradient is {ratio:.2f} times the wrong one")

# %% [markdown]
# By the formula of $g$, yours is $1 - \gamma\, p_t \log p_t / (1 - p_t)$ times the one with a constant factor: close to 1 for a hard
# sample, close to $1 + \gamma$ for an easy one. Both point the same way, but weight the samples differently. With the constant, training
# follows another loss than the one that it prints.
#
# ## Use: a number for the templates
#
# The templates of chapter 03 get the right digit most of the time, with no training at all. Cross-entropy
# sees more. Multiply all their scores by one factor: no arg-max moves, so the accuracy stays as it is.

# %%
loss = CrossEntropyLoss()
factors = np.logspace(-2.5, 1, 40)
curve = [loss(scores * float(f), labels) for f in factors]
best = factors[np.argmin(curve)]

fig, ax = plt.subplots(figsize=(6, 3))
ax.semilogx(factors, curve, label="templates")
ax.axhline(first_loss(10), color=GREY, ls="--", label="all scores equal: log 10")
ax.plot(best, min(curve), "o", color=ORANGE, label=f"best factor {best:.2f}")
ax.set(xlabel="factor on all scores", ylabel="cross-entropy", ylim=(0, 8))
ax.legend()
plt.show()

# %% tags=["nbval-check-output"]
for factor in (0.3, 1.0, 10.0):
    right = np.mean((scores * factor).argmax(axis=1) == labels)
    sure = np.exp(log_softmax(scores * factor)).max(axis=1).mean()
    value = loss(scores * factor, labels)
    print(f"scores × {factor:4}: {right:.0%} right, {sure:.0%} sure, cross-entropy {value:.2f}")

# %% [markdown]
# On the left all scores are nearly equal, and the curve starts from your prediction of Exercise 1. "Sure" is the mean of each sample's
# largest probability. With factor 10 it is far above the share of right answers, and each mistake costs dearly. Near the minimum the two
# almost agree.
#
# The lowest of the three printed losses is the number to beat in chapter 06.
#
# ## Exercise 7 ★: break it and say why
#
# Two classes with scores [a, 0] in float64, and the naive loss of the beginning, −log(exp(z_label) / Σ exp(z)). Say what comes out for any a and
# label: `"right"`, `"inf"` or `"nan"`. You saw above where exp overflows and where it becomes 0. The true loss for label 0 and a very
# negative a is about −a; for label 1 it is about 0.

# %% exercise="naive_cross_entropy" points=2 stars=1 reveal=false
def naive_cross_entropy(a, label):
    """Return "right", "inf" or "nan": what the naive loss of scores [a, 0] is."""
    ### BEGIN SOLUTION follow exp(a), the sum, the quotient and its log, for a of any size
    if a > 709.7:  # exp(a) is inf: the quotients are inf/inf and 1/inf
        return "nan" if label == 0 else "inf"
    if a < -745.2 and label == 0:  # exp(a) is 0: the log of 0/1
        return "inf"
    return "right"
    ### END SOLUTION

# %%
check(naive_cross_entropy)

# %% probe="naive_cross_entropy"
def probe(naive_cross_entropy, rng):
    for label in (0, 1):
        yield f"a very large, label {label}", naive_cross_entropy(float(rng.uniform(800, 2000)), label)
        yield f"a very negative, label {label}", naive_cross_entropy(float(rng.uniform(-2000, -800)), label)
        yield f"a moderate, label {label}", naive_cross_entropy(float(rng.uniform(-600, 600)), label)

# %% mistakes="naive_cross_entropy"
mistake("every overflow is taken for NaN", "inf/inf is NaN, but the other class's quotient is 1/inf. Which number is that, and what "
        "is minus its logarithm?", swap=('"nan" if label == 0 else "inf"', '"nan"'))
mistake("every overflow is taken for inf", "With label 0 and a huge a, numerator and denominator are both inf. Their quotient is not "
        "inf, and not 1 either.", swap=('"nan" if label == 0 else "inf"', '"inf"'))
mistake("very negative scores are taken for harmless", "exp of a very negative number is exactly 0. If that is the right class, the "
        "logarithm of 0 follows.", swap=("a < -745.2 and label == 0", "False"))
mistake("a very negative score is taken to spoil both labels", "With label 1 the quotient is exp(0) over a sum that is 1. Its logarithm is "
        "fine.", swap=("a < -745.2 and label == 0", "a < -745.2"))

# %% [markdown] hints="naive_cross_entropy"
# Follow four numbers for each case: exp(a), the sum, the quotient of the label's class, minus its logarithm.
#
# ---
#
# Above about 709, exp(a) is inf: inf/inf is NaN, 1/inf is 0. Below about −745, exp(a) is 0: 0/1 is 0, 1/1 is 1. And −log 0 is inf.
#
# ---
#
# ```python
# if a > 709.7:
#     return ... if label == 0 else ...
# if a < -745.2 and ...:
#     return ...
# return "right"
# ```

# %% [markdown]
# ## Recap
#
# - A loss has a slope where accuracy is flat. Equal scores cost log C: compare your first printed loss with it.
# - Merge exponential and logarithm on paper: max(z, 0) − z·t + log1p(exp(−|z|)), and log_softmax with the maximum subtracted.
# - By the logits, the gradient of BCE and CE is *prediction minus target*. MSE and BCE divide by all elements, CE and focal by the samples.
# - Focal loss lets easy samples fade. Its factor depends on the scores too, and belongs in the gradient.
#
# `finish` exports `Loss`, `match_classes`, `log_softmax` and the four losses into `nyang_edu/training/loss.py`.
#
# **References.** Bishop, *Pattern Recognition and Machine Learning* (2006), section 4.3. Goodfellow, Bengio, Courville, *Deep
# Learning* (2016), sections 4.1 and 6.2.2. Lin, Goyal, Girshick, He, Dollár, *Focal Loss for Dense Object Detection* (ICCV 2017), section 3;
# the derivative for two classes is in appendix B.

# %%
finish("05_losses")
