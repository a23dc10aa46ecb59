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
# # 00 · Start here
#
# **You have** Python and a little NumPy.
#
# **You will build** one small function, `relative_error`, and learn how this course answers you.
#
# **It unlocks** every check of a gradient, from chapter 03 on.
#
# Time: about 30 minutes. Three exercises, ★ to ★★★.
#
# In this course you write a deep-learning framework. Each chapter adds one piece of it, and the next chapter
# runs on what you wrote. In chapter 06 your code learns to read handwritten digits.
#
# A notebook is made of cells. Click into one and press **Shift + Enter** to run it. Start with this one.

# %%
import matplotlib.pyplot as plt

from nyang_edu.course import check, finish, hint
from nyang_edu.utility.plot import BLUE, ORANGE, draw_chain, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: is an error of 0.001 large?
#
# You will compare arrays all the time: your gradient against another one, your output against a reference. They are never
# equal to the last digit, because a computer rounds. So you need a number that says how far apart two arrays are.
#
# The obvious one is the difference. Here is what rounding alone does to it. Each point is a number $x$, stored in
# 32 bits, and compared with the number that we wanted.

# %%
import numpy as np

wanted = 10.0 ** np.linspace(-4, 5.9, 200)
stored = wanted.astype(np.float32).astype(np.float64)

fig, axes = plt.subplots(1, 2, figsize=(9, 3), sharex=True)
axes[0].loglog(wanted, np.maximum(abs(stored - wanted), 1e-13), ".", color=ORANGE)
axes[0].set(xlabel="x", ylabel="|stored − x|", title="difference")
axes[1].loglog(wanted, np.maximum(abs(stored - wanted) / wanted, 1e-13), ".", color=BLUE)
axes[1].set(xlabel="x", ylabel="|stored − x| / x", title="difference, relative to x", ylim=(1e-13, 1))
plt.show()

# %% [markdown]
# On the left the same rounding looks harmless for small numbers and bad for large ones. On the right it has
# one ceiling for all of them. So 0.001 means nothing until you know the size of the numbers.

# %% tags=["nbval-check-output"]
print("largest relative error of 32-bit numbers is below 1e-7:",
      bool((abs(stored - wanted) / wanted).max() < 1e-7))
print("largest difference is above 0.01:", bool(abs(stored - wanted).max() > 0.01))

# %% [markdown]
# ## Idea: by hand
#
# Take two small arrays. Subtract, and mark the largest difference. Then mark the largest number in either array.

# %%
a = np.array([[1.0, -8.0, 3.0]])
b = np.array([[1.0, -6.0, 4.0]])

fig, axes = plt.subplots(1, 3, figsize=(8, 1.5))
draw_matrix(axes[0], a, "a", highlight=abs(a) == 8)
draw_matrix(axes[1], b, "b")
draw_matrix(axes[2], abs(a - b), "|a − b|", highlight=abs(a - b) == 2)
plt.show()

# %% [markdown]
# The largest difference is 2, the largest number is 8. Relative to the size of the numbers, the arrays are
# $2 / 8 = 0.25$ apart.
#
# ## Maths
#
# $$\text{error}(a, b) = \frac{\max_i |a_i - b_i|}{\max(\max_i |a_i|,\ \max_i |b_i|)}$$
#
# | symbol | shape | what it is |
# |---|---|---|
# | `a`, `b` | any, the same for both | the arrays to compare |
# | error | – | one number: 0 for equal arrays, 2 at most |
#
# One case needs care. Two arrays of zeros are equal, but the formula divides 0 by 0. Their error is 0.

# %% [markdown]
# ## How a check answers
#
# Below stands an answer that is wrong on purpose. The cell after it checks it. Run both and read the message.

# %%
def relative_error(a, b):
    return float(np.abs(a - b).mean() / max(np.abs(a).max(), np.abs(b).max()))

# %% tags=["raises-exception"]
check(relative_error, seed=1)

# %% [markdown]
# The message has four parts:
#
# - what is wrong, and what is right already;
# - for each wrong result, what it is and what it should be (in an array, the worst element and its place);
# - the name of the mistake, where it is a known one, and a way out;
# - how to draw the same numbers again (`seed`), and how to get help.
#
# A check draws fresh inputs every time. It runs your code and the course's own solution on them and compares what comes
# out. Code that looks different and gives the same is right.

# %% [markdown]
# ## Exercise 1 ★★: your first function
#
# A blank exercise raises `NotImplementedError`. Replace that line by your code, run the cell, then run the check.
# If you are stuck, call `hint("relative_error")` in a new cell. It says more each time: a direction, then the
# formula, then a skeleton. The fourth call shows the solution.

# %%
#| default_exp utility.compare
#| export
"""How far apart two arrays are, as one number."""

import numpy as np

# %% exercise="relative_error" points=2 stars=2
#| export
def relative_error(a, b):
    """Measure how far two arrays are apart: max|a − b| / max(max|a|, max|b|).

    Args:
        a, b: arrays of one shape.

    Returns:
        a float: 0 for equal arrays, two arrays of zeros included.
    """
    ### BEGIN SOLUTION the largest difference over the largest element; mind two arrays of zeros
    difference = np.abs(a - b).max()
    size = max(np.abs(a).max(), np.abs(b).max())
    return float(difference / size) if size > 0 else 0.0
    ### END SOLUTION

# %%
check(relative_error)

# %% probe="relative_error"
def probe(relative_error, rng):
    a, b = rng.uniform(0.5, 3, size=(2, 3, 4)) * rng.choice([-1, 1], size=(2, 3, 4))
    a[0, 0], a[0, 1], b[1, 1], b[1, 2] = -5.0, 4.0, -4.5, 3.5
    yield "the error of two random arrays", relative_error(a, b)
    yield "the error with a and b exchanged", relative_error(b, a)
    yield "the error of equal arrays", relative_error(a, a.copy())
    yield "the error of two arrays of zeros", relative_error(np.zeros(3), np.zeros(3))

# %% mistakes="relative_error"
mistake("the mean difference is taken, not the largest", "One wrong element among a million right ones must show. "
        "A mean hides it: take the maximum of the differences.",
        swap=("np.abs(a - b).max()", "np.abs(a - b).mean()"))
mistake("the sign of the difference is kept", "A difference of -3 is as large as one of +3. Take the absolute value "
        "before the maximum.", swap=("np.abs(a - b).max()", "(a - b).max()"))
mistake("only the size of a is used", "If a is nearly zero and b is not, dividing by a alone gives a huge number. Take "
        "the larger of both sizes.", swap=("max(np.abs(a).max(), np.abs(b).max())", "np.abs(a).max()"))
mistake("only the size of b is used", "If b is nearly zero and a is not, dividing by b alone gives a huge number. Take "
        "the larger of both sizes.", swap=("max(np.abs(a).max(), np.abs(b).max())", "np.abs(b).max()"))
mistake("negative elements are left out of the size", "An element of -5 is as large as one of +5. Take the absolute "
        "values of a and of b before the maximum.",
        swap=("max(np.abs(a).max(), np.abs(b).max())", "max(a.max(), b.max())"))
mistake("a small number is added to the divisor", "This avoids 0/0, but it changes every other error a little. Divide "
        "by the size itself, and treat the case of zeros on its own.",
        swap=("float(difference / size) if size > 0 else 0.0", "float(difference / (size + 1e-8))"))

@mistake("each element is divided by itself", "One tiny element would then make the error huge, although nothing is wrong. "
         "Take the largest difference and the largest element first, and divide once.")
def relative_error(a, b):
    with np.errstate(all="ignore"):
        return float(np.nan_to_num(np.abs(a - b) / np.abs(b)).max())

mistake("the difference is not divided by anything", "This is the absolute difference. Divide it by the largest "
        "element of both arrays.", swap=("difference / size", "difference"))
mistake("zero is divided by zero", "Two arrays of zeros are equal: return 0.0 for them, before dividing.",
        swap=(" if size > 0 else 0.0", ""))

# %% [markdown] hints="relative_error"
# Two numbers are needed: how large is the largest difference, and how large is the largest element of both arrays?
# `np.abs(x).max()` is the largest absolute value in `x`.
#
# ---
#
# error = max|a − b| / max(max|a|, max|b|), and 0 where the divisor is 0.
#
# ---
#
# ```python
# difference = np.abs(...).max()
# size = max(..., ...)
# return float(difference / size) if ... else 0.0
# ```

# %% [markdown]
# A pass is one line. It names what was compared, and on how many draws.
#
# ## Exercise 2 ★: predict before you run
#
# Some exercises ask for a prediction. Think first, fill in the numbers, then check. The message will not tell
# you the right number, so that you can try again.

# %% exercise="predicted_errors" points=1 stars=1 reveal=false
def predicted_errors():
    """Return the relative errors of three pairs, as a tuple of three numbers.

    The pairs: [3, 4] and [3, 5];  [1, 1] and [-1, -1];  [0, 100] and [1, 100].
    """
    ### BEGIN SOLUTION three numbers, worked out by hand
    return 0.2, 2.0, 0.01
    ### END SOLUTION

# %%
check(predicted_errors)

# %% probe="predicted_errors"
def probe(predicted_errors, rng):
    first, second, third = predicted_errors()
    yield "the first pair", float(first)
    yield "the second pair", float(second)
    yield "the third pair", float(third)

# %% mistakes="predicted_errors"
@mistake("the differences are not divided", "These are the absolute differences. Divide each by the largest element "
         "of its pair.")
def predicted_errors():
    return 1.0, 2.0, 1.0

@mistake("the first array's size is used", "Look for the largest element in both arrays of the pair, not in the "
         "first one only.")
def predicted_errors():
    return 0.25, 2.0, 0.01

@mistake("the sign is lost in the second pair", "1 and -1 are two apart, and the largest size is 1.")
def predicted_errors():
    return 0.2, 0.0, 0.01

@mistake("each element is divided by itself", "In the third pair, 0 against 1 looks like an error of 1 element by "
         "element. The formula divides by the largest element of all.")
def predicted_errors():
    return 0.2, 2.0, 1.0

# %% [markdown] hints="predicted_errors"
# For each pair: which element differs most, and by how much?
#
# ---
#
# Then divide by the largest absolute value in the pair. In the first pair that is 5.
#
# ---
#
# First pair: 1 / 5. Second pair: |1 − (−1)| / 1. Third pair: 1 / 100.

# %% [markdown]
# ## See: two ways to divide
#
# Why not divide element by element, $|a_i - b_i| / |b_i|$, and take the largest? Many programs do. The control below
# moves one element of `b` towards zero. `a` is `b` plus a fixed tiny error of $10^{-6}$ in each element, as rounding
# leaves it in long sums.

# %%
def both_errors(smallest):
    b = np.array([1.0, 0.5, smallest])
    a = b + 1e-6
    return float((abs(a - b) / abs(b)).max()), relative_error(a, b)


sizes = 10.0 ** np.linspace(-9, 0, 60)
element, whole = np.array([both_errors(size) for size in sizes]).T

fig, ax = plt.subplots(figsize=(6, 3))
ax.loglog(sizes, element, color=ORANGE, label="divided element by element")
ax.loglog(sizes, whole, color=BLUE, label="divided by the largest element")
ax.set(xlabel="smallest element of b", ylabel="error", title="one array, two verdicts")
ax.legend()
plt.show()

# %% [markdown]
# The orange verdict says "far off" as soon as one element is tiny, although nothing is wrong. The blue one stays
# where rounding puts it. Gradients are full of elements that are nearly zero, and so this course uses the blue one.

# %%
from ipywidgets import FloatSlider, interact


def show_both(exponent=-3.0):
    element, whole = both_errors(10.0**exponent)
    fig, ax = plt.subplots(figsize=(5, 1.8))
    ax.barh(["element by element", "by the largest"], [element, whole], color=[ORANGE, BLUE])
    ax.set(xscale="log", xlim=(1e-8, 1e4), title=f"smallest element 1e{exponent:.0f}")
    plt.show()


interact(show_both, exponent=FloatSlider(value=-3, min=-9, max=0, step=1));

# %% [markdown]
# ## Exercise 3 ★★★: break it and say why
#
# Find two arrays for which the element-by-element error is above 1, although `relative_error` is below one in a
# million. Return them. There are many right answers, and the check accepts every one.

# %% exercise="counterexample" points=2 stars=3 reveal=false
def counterexample():
    """Return two float arrays a, b of one shape, without zeros in b.

    max(|a − b| / |b|) must be above 1, and relative_error(a, b) below 1e-6.
    """
    ### BEGIN SOLUTION two short arrays; think of one large element beside one tiny element
    a = np.array([1.0, 3e-9])
    b = np.array([1.0, 1e-9])
    return a, b
    ### END SOLUTION

# %%
check(counterexample)

# %% probe="counterexample"
def probe(counterexample, rng):
    a, b = (np.asarray(array, float) for array in counterexample())
    yield "one shape for both arrays", a.shape == b.shape
    yield "a b without zeros", bool((b != 0).all())
    size = max(np.abs(a).max(), np.abs(b).max())
    yield "an element-by-element error above 1", bool((np.abs(a - b) / np.abs(b)).max() > 1)
    yield "a relative_error below 1e-6", bool(np.abs(a - b).max() / size < 1e-6)

# %% mistakes="counterexample"
@mistake("the arrays really are far apart", "Both verdicts say 'far apart' here. The difference must be tiny beside the "
         "largest element, and yet large beside its own element.")
def counterexample():
    return np.array([1.0, 5.0]), np.array([1.0, 2.0])

@mistake("b holds a zero", "Dividing by zero is a way to get infinity, but the task forbids zeros in b. A tiny number "
         "does the same.")
def counterexample():
    return np.array([1.0, 1e-9]), np.array([1.0, 0.0])

@mistake("the element-by-element error is not above 1", "One element of b has to be smaller than the difference at its "
         "place: |a - b| > |b|. Equal is not enough.")
def counterexample():
    return np.array([1.0, 2.0]), np.array([1.0, 2.0 + 1e-9])

# %% [markdown] hints="counterexample"
# Two elements are enough. One of them only sets the size; the other one carries the difference.
#
# ---
#
# Let the first elements be 1 and 1. For the second ones you need |a − b| > |b| and |a − b| < 0.000001.
#
# ---
#
# ```python
# a = np.array([1.0, ...])    # tiny
# b = np.array([1.0, ...])    # tiny as well, but a few times smaller
# ```

# %% [markdown]
# ## Use: your code inside the course
#
# What you write does not stay in the notebook. `finish`, at the end of each chapter, takes every exercise that passes and
# writes it into a Python module of the package `nyang_edu`. Later chapters import it.

# %%
fig, ax = plt.subplots(figsize=(7, 1.6))
draw_chain(ax, ["your\nnotebook", "check", "your\npackage", "next\nchapter"],
           forward=["", "", "passes", "imports", ""])
plt.show()

# %% [markdown]
# What you have not solved yet is filled in with the course's own code, and marked so. You can always go on, and
# come back later. In a terminal, `nyang status` shows what is yours, and `nyang restore 00` brings the course's
# own code back. No command overwrites your work without keeping a copy in the folder `.nyang/kept`.
#
# A first use, right now: how far is the usual shortcut for $\pi$ off, and how far is a 32-bit $\pi$?

# %% tags=["nbval-check-output"]
pi = np.array([np.pi])
print(f"22/7 is off by {relative_error(np.array([22 / 7]), pi):.4f}")
print("a 32-bit pi is off by less than 1e-7:", relative_error(pi.astype(np.float32), pi) < 1e-7)

# %% [markdown]
# In chapter 03, an error below $10^{-6}$ will mean that a gradient is right.
#
# ## Recap
#
# - A difference says little until it is divided by the size of what was compared.
# - Divide by the largest element of all, not by each element on its own.
# - `check(f)` compares with the reference on fresh draws, `hint("f")` helps, `finish` exports.
#
# `finish` exports `relative_error` into `nyang_edu/utility/compare.py`. Save the notebook first (Ctrl + S or Cmd + S):
# what is exported is what is on disk.
#
# **References.** Goldberg, *What every computer scientist should know about floating-point arithmetic*, ACM Computing
# Surveys 23 (1991), section 1. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed. (2002), sections 1.2 and 2.1.

# %%
finish("00_start_here")
