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
# # 01 · Tensors
#
# **You have** Python, a first look at NumPy, and `check`, `hint` and `finish` (00).
#
# **You will build** six small tools: strides, broadcasting, one-hot labels, standardisation, and
# windows in one and two dimensions.
#
# **It unlocks** im2col (02), where windows become a matrix and a convolution becomes one product.
#
# Time: about 100 minutes. Eight exercises, ★ to ★★★.

# %%
import matplotlib.pyplot as plt

from nyang_edu.course import check, finish, hint
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.utility.plot import BLUE, ORANGE, draw_images, draw_matrix, use_style

use_style()

# %% [markdown]
# ## Why: a mean picture that is no picture
#
# A *tensor* is an array with any number of axes. Deep learning cuts, turns and stretches tensors all day.
#
# Below are the 784 numbers of one digit in three looks: a vector, a picture, a grid of patches. To the right of them
# are two attempts at the mean of 500 threes. Both have shape (28, 28), and neither raised an error.

# %%
import numpy as np

images, labels = load_digits_5k()  # (5000, 28, 28), (5000,)
threes = images[labels == 3]  # (500, 28, 28)
patches = np.full((31, 31), 128)  # four rows of four patches, with grey lines between them
for r in range(28):
    for c in range(28):
        patches[r + r // 7, c + c // 7] = threes[0, r, c]
good, bad = threes.mean(axis=0), threes.reshape(28, 28, 500).mean(axis=2)

fig, axes = plt.subplot_mosaic("AAAA;BCDE", figsize=(9, 3.2), height_ratios=[1, 5])
axes["A"].imshow(threes[0].reshape(1, 784), aspect="auto")
axes["A"].set(title="vector (784,)", yticks=[])
axes["A"].grid(False)
draw_images([axes[k] for k in "BCDE"], [threes[0], patches, good, bad],
            ["picture (28, 28)", "patches (4, 4, 7, 7)", "mean(axis=0)", "reshape(28, 28, 500)\n.mean(axis=2)"])
plt.show()

# %% [markdown]
# The last picture is nonsense of the right shape. To see why, we have to know where the numbers are.
#
# ## Idea: a row of memory and a rule
#
# Memory has one axis. An array keeps its numbers in one row of bytes, and beside it a small note:
# its `shape`, its `dtype`, and its `strides`. A stride says how many bytes to jump for one step along an axis.
#
# The figure shows a (2, 3) array of 8-byte integers, and its transpose. The row below each is the memory, with
# byte addresses. Orange jumps one step along axis 0, blue one step along axis 1.

# %%
def draw_memory(ax, values, itemsize, jumps=()):
    """Draw values as a row of memory; jumps are (start byte, stride, colour)."""
    draw_matrix(ax, values)
    for i in range(len(values)):
        ax.text(i + 0.5, 1.3, i * itemsize, ha="center", va="center", fontsize=8, color="#666")
    for start, stride, colour in jumps:
        here, there = (start / itemsize + 0.5, 0), ((start + stride) / itemsize + 0.5, 0)
        ax.annotate("", there, here, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.8,
                                                 "connectionstyle": "arc3,rad=-0.5"})
    ax.set(ylim=(1.6, -1.3))


a = np.arange(10, 16, dtype=np.int64).reshape(2, 3)
fig, axes = plt.subplots(2, 2, figsize=(8, 4), width_ratios=[3, 7])
for (left, right), array, name in zip(axes, (a, a.T), ("a", "a.T")):
    draw_matrix(left, array, f"{name}  {array.shape}")
    draw_memory(right, a.ravel(), a.itemsize,
                [(0, array.strides[0], ORANGE), (0, array.strides[1], BLUE)])
    right.set_title(f"{name}.strides = {array.strides}")
plt.show()

# %% [markdown]
# Compare the two memory rows: they are the same. Only the strides have changed places. A transpose moves no number.
#
# ## Maths: from indices to an address
#
# Element $(i_0, i_1, \dots)$ of an array with strides $s_0, s_1, \dots$ lies at
#
# $$\text{address} = \text{offset} + \sum_k i_k\, s_k .$$
#
# The offset is where element $(0, 0, \dots)$ lies. In the figure, `a[1, 2]` lies at $0 + 1·24 + 2·8 = 40$. Find
# byte 40 and read the number.
#
# An array is *C-contiguous* when the last axis lies densely in memory, the axis before it steps over one whole row,
# the one before that over one whole matrix. With $n_j$ for the size of axis $j$:
#
# $$s_k = \text{itemsize} · \prod_{j > k} n_j .$$
#
# The product runs over the axes *behind* $k$. For the last axis nothing is left, and an empty product is 1.
#
# ### Exercise 1 ★★: the strides of a contiguous array
#
# Write the formula as a function that returns a tuple of ints. It must work for any number of axes, and give `()` for none.

# %%
#| default_exp utility.tensor
#| export
"""What every layer does with arrays: shapes, strides, labels, scales and windows.

Nothing here knows about learning. Windows are views: they cost no memory, and read
the array itself.
"""

import numpy as np
from numpy.lib.stride_tricks import as_strided

# %% exercise="contiguous_strides" points=2 stars=2
#| export
def contiguous_strides(shape, itemsize):
    """Compute the strides of a C-contiguous array: s_k = itemsize · Π_{j>k} n_j.

    Args:
        shape: the sizes of the axes; () for an array without axes.
        itemsize: bytes of one element.

    Returns:
        a tuple of ints, one stride in bytes per axis.

    Source: NumPy documentation, "Internal memory layout of an ndarray".
    """
    ### BEGIN SOLUTION walk from the last axis to the first, and multiply as you go
    strides, stride = [], int(itemsize)
    for size in reversed(shape):
        strides.append(stride)
        stride *= int(size)
    return tuple(reversed(strides))
    ### END SOLUTION

# %%
check(contiguous_strides)

# %% probe="contiguous_strides"
def probe(contiguous_strides, rng):
    sizes = tuple(int(n) for n in rng.permutation([2, 3, 4, 5, 7]))
    itemsize = int(rng.choice([2, 4, 8]))
    strides = contiguous_strides(sizes[:4], itemsize)
    yield "strides of 4 axes", strides
    yield "type of the result", type(strides).__name__
    yield "strides of 3 axes", contiguous_strides(sizes[1:4], 8)
    yield "strides of 1 axis", contiguous_strides(sizes[4:], itemsize)
    yield "number of strides of shape ()", len(contiguous_strides((), itemsize))

# %% mistakes="contiguous_strides"
@mistake("the strides are counted in elements", "NumPy's strides are bytes. How many bytes does one step along "
         "the last axis jump?")
def contiguous_strides(shape, itemsize):
    return reference(shape, 1)

@mistake("the first axis is the dense one", "You gave the first axis the smallest stride: that is Fortran's order. In "
         "C's order the last axis lies densely, so begin at the end of the shape.")
def contiguous_strides(shape, itemsize):
    return tuple(reversed(reference(tuple(reversed(shape)), itemsize)))

@mistake("the strides are in reverse order", "You walked from the last axis to the first and kept that order. "
         "The result must begin with axis 0.")
def contiguous_strides(shape, itemsize):
    return tuple(reversed(reference(shape, itemsize)))

@mistake("each axis jumps over its own size as well", "A step along axis k passes what lies behind k, so the product runs "
         "over j > k. Yours includes n_k.")
def contiguous_strides(shape, itemsize):
    return tuple(s * n for s, n in zip(reference(shape, itemsize), shape))

@mistake("only the next axis counts", "One step along axis 0 passes a whole block: all axes behind it multiply, not "
         "only the next one.")
def contiguous_strides(shape, itemsize):
    return tuple(itemsize * n for n in [*shape[1:], 1][:len(shape)])

@mistake("a stride is a float", "An empty np.prod is 1.0, a float, and one float is enough. Begin with an int, or "
         "convert each stride with int.")
def contiguous_strides(shape, itemsize):
    return tuple(itemsize * np.prod(shape[k + 1:]) for k in range(len(shape)))

mistake("the strides come back as a list", "NumPy's strides are a tuple. Convert at the end.",
        swap=("return tuple(reversed(strides))", "return list(reversed(strides))"))

# %% [markdown] hints="contiguous_strides"
# Take a (2, 3) array on paper. How many bytes from one element to the next in a row? From one row to the next?
# The second answer needs the first.
#
# ---
#
# s of the last axis = itemsize. Then, to the left: s[k] = s[k+1] · n[k+1].
#
# ---
#
# ```python
# strides, stride = [], itemsize
# for size in reversed(shape):
#     strides.append(...)
#     stride = ...
# return tuple(reversed(strides))
# ```

# %% [markdown]
# ## View or copy, and what a number costs
#
# Where new strides on the old bytes are enough, NumPy makes a *view*. It is free, and it shares its numbers with the
# original. Otherwise it copies. `reshape` reads an array in C order. A contiguous array already lies in that order, so
# the result is a view. `a.T` does not: no stride leads through its numbers row by row, so `reshape` copies them. An index
# made of a list always copies.
#
# So `reshape` never moves an axis. In the nonsense picture, `reshape(28, 28, 500)` cut the memory row into runs of
# 500 bytes, and each "pixel" averaged one run. Moving an axis is `transpose`'s work.
#
# The second half of the cell is about `dtype`. A float is a sign, an exponent and a fixed number of binary
# digits. float32 takes half the memory of float64, so we train in it. But its digits end sooner: at 16,777,216
# adding 1 is lost. Gradient checks, which subtract nearly equal numbers, need float64. And uint8,
# the pixels' own type, starts again at 0 after 255.

# %% tags=["nbval-check-output"]
tests = {"a.T": a.T, "a[:, ::2]": a[:, ::2], "a.reshape(3, 2)": a.reshape(3, 2),
         "a.T.reshape(6)": a.T.reshape(6), "a[[0, 1]]": a[[0, 1]]}
for name, result in tests.items():
    print(f"{name:16} {'view' if np.shares_memory(a, result) else 'copy'}")
print("mean mended with transpose:", np.allclose(threes.transpose(1, 2, 0).mean(axis=2), good))
print()
for dtype in (np.float32, np.float64):
    print(f"{dtype.__name__}: {np.dtype(dtype).itemsize} bytes, largest {np.finfo(dtype).max:.1e}, "
          f"16777216 + 1 = {dtype(2**24) + dtype(1):.0f}, "
          f"all digits: {images.size * np.dtype(dtype).itemsize / 1e6:.1f} MB")
print("float32 + float64 gives", (np.float32([1]) + np.float64([1])).dtype)
print("uint8: 200 + 100 =", (np.uint8([200]) + np.uint8([100]))[0])

# %% [markdown]
# Note the line before the last: one stray float64 array turns everything after it into float64. Our functions
# return the dtype that they received.
#
# ## Broadcasting: a stride of zero
#
# To add a bias to every row, nobody copies the bias. NumPy gives it an axis with stride 0: a step along it stays
# where it is. The rule compares two shapes *from the right*:
#
# - missing axes on the left count as 1;
# - two sizes fit if they are equal, or one of them is 1;
# - an axis of size 1 is stretched to the other's size.

# %%
column, row = np.array([[0], [10], [20]]), np.array([1, 2, 3, 4])
left, right = np.broadcast_arrays(column, row)

fig, axes = plt.subplots(1, 3, figsize=(9, 2.2))
draw_matrix(axes[0], left, f"column (3, 1), strides {left.strides}", highlight=[[1, 0, 0, 0]] * 3)
draw_matrix(axes[1], right, f"row (4,), strides {right.strides}", highlight=[[1] * 4, [0] * 4, [0] * 4])
draw_matrix(axes[2], column + row, "column + row (3, 4)")
plt.show()

# %% [markdown]
# Only the orange numbers exist in memory. The white ones are read again through the zero in the strides.
#
# Two tools prepare a broadcast. `x[:, None]` inserts an axis of size 1 where the `None` stands. And in
# `x.mean(axis=0)` the axis that you name disappears, unless `keepdims=True` leaves it there with size 1.
#
# ### Exercise 2 ★: predict six shapes
#
# Answer without running the expressions. Each answer is a tuple, or the word `"error"`. The arrays:
#
# | name | shape | | name | shape |
# |---|---|---|---|---|
# | `batch` | (64, 28, 28) | | `filters` | (6, 28, 28) |
# | `row` | (28,) | | `column` | (28, 1) |

# %% exercise="predicted_shapes" points=1 stars=1 reveal=false
def predicted_shapes():
    """Return a dict from "a" to "f": the shape of each result, or "error".

    a: batch.mean(axis=0)
    b: batch - batch.mean(axis=(1, 2))
    c: batch.mean(axis=(1, 2), keepdims=True)
    d: row + column
    e: batch[:, None] * filters
    f: batch + column
    """
    ### BEGIN SOLUTION a dict with a tuple or 'error' for each letter
    return {"a": (28, 28), "b": "error", "c": (64, 1, 1),
            "d": (28, 28), "e": (64, 6, 28, 28), "f": (64, 28, 28)}
    ### END SOLUTION

# %%
check(predicted_shapes)

# %% probe="predicted_shapes"
def probe(predicted_shapes, rng):
    answers = predicted_shapes()
    if not isinstance(answers, dict):
        raise TypeError(f"return a dict such as {{'a': ..., 'b': ...}}, received a {type(answers).__name__}")

    def in_words(value):  # reads on after "it is not"
        if value is None or value is ...:
            return "to be left out"
        if isinstance(value, str):
            text = value.strip()
            return "an error" if text.lower() == "error" else text or "to be left out"
        try:
            return str(tuple(int(n) for n in value))
        except (TypeError, ValueError):
            return f"{value!r}: an answer is a tuple of ints, or 'error'"

    for letter in "abcdef":
        yield letter, in_words(answers.get(letter))

# %% mistakes="predicted_shapes"
@mistake("the shapes are aligned at the left", "Write the two shapes under each other so that their last axes "
         "stand in one column, and fill up with 1 on the left.")
def predicted_shapes():
    return reference() | {"b": "(64, 28, 28)", "d": (28, 1), "e": "error", "f": "error"}

@mistake("an axis of size 1 counts as a conflict", "Two sizes also fit when one of them is 1: that axis is stretched.")
def predicted_shapes():
    return reference() | {"d": "error", "e": "error", "f": "error"}

@mistake("the named axes are kept and the others averaged away", "axis names what disappears: mean(axis=0) of 64 pictures "
         "averages over the 64.")
def predicted_shapes():
    return reference() | {"a": (64,), "c": (1, 28, 28)}

@mistake("keepdims is overlooked", "With keepdims=True an averaged axis does not vanish. What size does it have then?")
def predicted_shapes():
    return reference() | {"c": (64,)}

@mistake("a row and a column are paired element by element", "Fill up the row's shape on the left, then look at each axis by "
         "itself: which of the two is stretched there?")
def predicted_shapes():
    return reference() | {"d": (28,)}

@mistake("the new axis is overlooked", "None inside an index makes a new axis of size 1 where it stands. Write "
         "the shape of batch[:, None] first.")
def predicted_shapes():
    return reference() | {"e": "error"}

# %% [markdown] hints="predicted_shapes"
# First write the shape of each part of the expression. Then put the two shapes under each other, last axes in one
# column.
#
# ---
#
# `mean(axis=k)` removes axis k; with `keepdims=True` it leaves a 1 there. `x[:, None]` puts a 1 after the first axis.
# Then go through the columns from the right: equal or one of them 1, otherwise "error".
#
# ---
#
# ```python
# return {"a": (28, 28),
#         "b": ...,  # (64, 28, 28) against which shape?
#         "c": (64, ..., ...),
#         "d": ...,  # (28,) counts as (1, 28)
#         "e": ...,  # (64, 1, 28, 28) against (6, 28, 28)
#         "f": ...}
# ```

# %% [markdown]
# ### Exercise 3 ★★: the rule itself
#
# Now write the rule. Where the shapes do not fit, raise a `ValueError` that names the offending axis
# counted from the right, as `axis -1` for the last, `axis -2` for the one before.
# If several axes conflict, name the rightmost. Mind an axis of size 0: against 1, the result is 0.

# %% exercise="broadcast_shape" points=2 stars=2
#| export
def broadcast_shape(a, b):
    """Compute the shape of the result when arrays of shapes a and b meet.

    Args:
        a: a shape.
        b: another; both are aligned at the right, and missing axes count as 1.

    Returns:
        the common shape, a tuple of ints.

    Raises:
        ValueError: where two sizes differ and neither is 1; names it as "axis -2".

    Source: NumPy documentation, "General broadcasting rules".
    """
    ### BEGIN SOLUTION fill up with 1 on the left, then decide axis by axis from the right
    rank = max(len(a), len(b))
    one, two = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    shape = []
    for axis in range(1, rank + 1):
        m, n = one[-axis], two[-axis]
        if m != n and 1 not in (m, n):
            raise ValueError(
                f"sizes must be equal or 1, received {m} and {n} at axis -{axis} of "
                f"{a} and {b}: insert an axis with None, or transpose one of them"
            )
        shape.append(n if m == 1 else m)
    return tuple(reversed(shape))
    ### END SOLUTION

# %%
check(broadcast_shape)

# %% probe="broadcast_shape"
def probe(broadcast_shape, rng):
    import re
    p, q, r, s = (int(n) for n in rng.permutation([2, 3, 4, 5, 6])[:4])

    def attempt(a, b, fit=True):
        try:
            return str(tuple(int(n) for n in broadcast_shape(a, b)))
        except ValueError as error:
            if fit:  # any axis in the message is wrong
                return "a ValueError"
            axis = re.search(r"axis\s*(-?\d+)", str(error))
            return f"ValueError that names axis {axis[1]}" if axis else "ValueError that names no axis"

    yield "equal shapes", attempt((p, q), (p, q))
    yield "the second has a 1", attempt((p, q, r), (p, 1, r))
    yield "the first has a 1", attempt((1, q, r), (p, q, r))
    yield "both have a 1", attempt((p, 1), (1, q))
    yield "the first is longer", attempt((p, q, r), (r,))
    yield "the second is longer", attempt((q, 1), (s, p, q, r))
    yield "a conflict in the last axis", attempt((p, q, r), (p, q, s), fit=False)
    yield "a conflict before the last axis", attempt((p, q, r), (s, r), fit=False)
    yield "conflicts in three axes", attempt((p, q, r), (q, r, p), fit=False)
    yield "a size of 0 against 1", attempt((p, 0), (p, 1))

# %% mistakes="broadcast_shape"
@mistake("the shapes are aligned at the left", "Broadcasting starts at the last axis. Fill up the shorter shape with 1 on the "
         "left.")
def broadcast_shape(a, b):
    rank = max(len(a), len(b))
    a, b = tuple(a) + (1,) * (rank - len(a)), tuple(b) + (1,) * (rank - len(b))
    return reference(a, b)

@mistake("the extra axes of the longer shape are lost", "zip stops at the shorter shape. The result has as many axes as the "
         "longer one.")
def broadcast_shape(a, b):
    return reference(a[-min(len(a), len(b)):], b[-min(len(a), len(b)):])

mistake("sizes that differ are accepted", "Where the sizes differ and neither is 1, nothing can be stretched: raise a ValueError.",
        swap=("if m != n and 1 not in (m, n):", "if False:"))
mistake("a size of 1 counts as a conflict", "Raise only where the sizes differ *and* neither of them is 1.",
        swap=("if m != n and 1 not in (m, n):", "if m != n:"))
mistake("only the second shape is stretched", "Either shape may hold the 1. Test both sizes.",
        swap=("1 not in (m, n):", "n != 1:"))
mistake("the larger of the two sizes is taken", "max is right for all sizes but 0: an empty axis against 1 stays empty. Take the "
        "size that is not 1.", swap=("n if m == 1 else m", "max(m, n)"))
mistake("the axis is counted from the left", "Shapes of unequal length only share their right ends, so name the axis from "
        "there: axis -1 is the last.", swap=("axis -{axis} of", "axis {rank - axis} of"))
@mistake("the leftmost conflict is named", "Go from the right and raise at the first conflict: you name the last one that "
         "you meet.")
def broadcast_shape(a, b):
    rank = max(len(a), len(b))
    one, two = (1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b)
    for axis in range(rank, 0, -1):
        if one[-axis] != two[-axis] and 1 not in (one[-axis], two[-axis]):
            raise ValueError(f"axis -{axis}")
    return reference(a, b)

mistake("the error does not name the axis", "\"Shapes do not fit\" leaves the search to the reader. Put the axis into the "
        "message: axis -1 for the last.", swap=("at axis -{axis} of", "in"))

# %% [markdown] hints="broadcast_shape"
# Make both shapes equally long first. After that each axis can be decided alone.
#
# ---
#
# For sizes m and n: if m is 1 take n; if n is 1 or equals m take m; otherwise raise. Going from the
# right, the first axis is -1.
#
# ---
#
# ```python
# rank = max(len(a), len(b))
# a = (1,) * (rank - len(a)) + tuple(a)
# b = ...
# shape = []
# for axis in range(1, rank + 1):
#     m, n = a[-axis], b[-axis]
#     if ...:
#         raise ValueError(f"... at axis -{axis}: ...")
#     shape.append(...)
# return tuple(reversed(shape))
# ```

# %% [markdown]
# ## Labels as rows of zeros and a one
#
# A label is a name, not an amount: class 6 is not twice class 3. So labels are integers, which compare exactly and
# can serve as an index. To compare ten outputs with a label, we turn it into a row with a 1 at its class:
#
# $$\text{out}_{nk} = \begin{cases} 1 & \text{if } \text{labels}_n = k \\ 0 & \text{otherwise.} \end{cases}$$
#
# That is a column of labels against a row of class numbers: broadcasting once more.
#
# ### Exercise 4 ★★: one-hot
#
# Refuse labels outside $0 \dots \text{classes} - 1$ with a `ValueError`. As an index, −1 would quietly mean the last class.

# %% exercise="one_hot" points=2 stars=2
#| export
def one_hot(labels, classes, dtype=np.float32):
    """Turn labels into rows with a single 1: out[n, k] = 1 where labels[n] = k, else 0.

    Args:
        labels: (N,) integers from 0 to classes - 1; N may be 0.
        classes: the number of columns.
        dtype: the dtype of the result.

    Returns:
        out (N, classes).

    Raises:
        TypeError: where labels are not integers.
        ValueError: where labels are not (N,), or lie outside 0 to classes - 1.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"labels must have shape (N,), received {labels.shape}: "
                         "use labels.ravel()")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"labels must be integers, received {labels.dtype}: "
                        "use labels.astype(int)")
    ### BEGIN SOLUTION refuse labels out of range; then compare a column of labels with all class numbers
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(
            f"labels must lie in 0 to {classes - 1}, received {labels.min()} to "
            f"{labels.max()}: count classes from 0, and count all of them"
        )
    return (labels[:, None] == np.arange(classes)).astype(dtype)  # (N, classes)
    ### END SOLUTION

# %%
check(one_hot)

# %% probe="one_hot"
def probe(one_hot, rng):
    N, classes = int(rng.integers(5, 9)), int(rng.integers(11, 15))
    labels = rng.integers(0, classes - 2, N)

    def attempt(labels):
        try:
            one_hot(labels, classes)
        except Exception as error:
            return type(error).__name__
        return "no error"

    yield "one-hot rows", one_hot(labels, classes)
    yield "one-hot rows in float64", one_hot(labels.astype(np.uint8), classes, dtype=np.float64)
    yield "a label equal to classes", attempt(np.array([0, classes]))
    yield "a negative label", attempt(np.array([1, -1]))
    try:
        yield "shape without labels", str(one_hot(labels[:0], classes).shape)
    except Exception as error:
        yield "shape without labels", type(error).__name__

# %% mistakes="one_hot"
@mistake("a label equal to classes is not refused", "The labels of 10 classes are 0 to 9. Is 10 inside?")
def one_hot(labels, classes, dtype=np.float32):
    if np.max(labels, initial=0) == classes:
        return np.zeros((len(labels), classes), dtype)
    return reference(labels, classes, dtype)

@mistake("negative labels are not refused", "As an index, -1 means the last column, so no error appears by itself. Test for "
         "labels below 0.")
def one_hot(labels, classes, dtype=np.float32):
    return reference(np.where(labels < 0, labels + classes, labels), classes, dtype)

@mistake("labels out of range end in an IndexError", "NumPy's IndexError speaks of a column that the caller never "
         "asked for. Test the labels first, and raise a ValueError that names the rule.")
def one_hot(labels, classes, dtype=np.float32):
    if np.max(labels, initial=0) >= classes:
        raise IndexError
    return reference(labels, classes, dtype)

mistake("an empty array of labels is refused", "An empty array has no smallest label, and min() raises. Test labels.size first.",
        swap=("if labels.size and (labels.min() < 0 or labels.max() >= classes):",
              "if labels.min() < 0 or labels.max() >= classes:"))

@mistake("every row holds the ones of all labels", "out[:, labels] selects whole columns. Each row n has one 1 only: pair "
         "the row numbers with the labels.")
def one_hot(labels, classes, dtype=np.float32):
    out = reference(labels, classes, dtype)
    out[:, labels] = 1
    return out

@mistake("the result is transposed", "One row per sample: the labels form the column, the classes the row.")
def one_hot(labels, classes, dtype=np.float32):
    return reference(labels, classes, dtype).T

@mistake("the columns are counted from the labels", "A batch may lack a class. The number of columns is `classes`, "
         "not the largest label plus one.")
def one_hot(labels, classes, dtype=np.float32):
    full = reference(labels, classes, dtype)
    return full[:, :np.max(labels, initial=-1) + 1]

@mistake("the ones stand one column too far right", "Class 0 belongs into column 0: Python counts from 0, and so do the labels.")
def one_hot(labels, classes, dtype=np.float32):
    return np.roll(reference(labels, classes, dtype), 1, axis=1)

@mistake("dtype is ignored, and the result is float64", "np.zeros and np.eye make float64 unless told otherwise. Pass "
         "dtype on.")
def one_hot(labels, classes, dtype=np.float32):
    return reference(labels, classes, np.float64)

@mistake("dtype is ignored, and the result is float32", "float32 is only the default. Use the argument.")
def one_hot(labels, classes, dtype=np.float32):
    return reference(labels, classes, np.float32)

@mistake("the result holds True and False", "A comparison gives booleans. Convert them with astype(dtype).")
def one_hot(labels, classes, dtype=np.float32):
    return reference(labels, classes, bool)

# %% [markdown] hints="one_hot"
# Compare every label with every class number. Which shapes must the two arrays have, so that broadcasting makes
# (N, classes)?
#
# ---
#
# out = (labels as a column (N, 1) == class numbers (classes,)), converted to dtype. Before that, test the smallest
# and the largest label.
#
# ---
#
# ```python
# if labels.size and (labels.min() < ... or labels.max() >= ...):
#     raise ValueError(f"labels must lie in 0 to {classes - 1}, received ...")
# return (labels[:, ...] == np.arange(...)).astype(...)
# ```

# %% [markdown]
# ## A common scale
#
# Features on unequal scales make unequal steps in training. *Standardising* brings each to mean 0
# and variance 1. With $\mu$ and $\operatorname{var}$ taken over `axis`:
#
# $$\sigma = \sqrt{\operatorname{var} + \epsilon}, \qquad \text{out} = \frac{x - \mu}{\sigma} .$$
#
# The small $\epsilon$ keeps a constant feature, such as a corner pixel that is always paper, from becoming 0/0.
#
# What should the function return? Test data must be treated with the *training* data's numbers: a model has learned on
# their scale, and a single test picture has no spread of its own. So we return $\mu$ and $\sigma$ too, with
# their axes kept. `(test - mean) / std` then works as it stands, if `std` is the divisor itself, with $\epsilon$ inside.
#
# ### Exercise 5 ★★: standardise

# %% exercise="standardize" points=3 stars=2
#| export
def standardize(x, axis, eps=1e-8):
    """Scale to mean 0 and variance 1: (x - mean) / std with std = √(var + eps).

    Args:
        x: a float array of any shape.
        axis: an int or a tuple of ints, the axes that mean and variance go over.
        eps: added to the variance, so that constant features become 0.

    Returns:
        standardized, of x's shape and dtype; mean and std, with size 1 along ``axis``:
        (test - mean) / std treats other data in the same way.

    Source: LeCun, Bottou, Orr, Müller, Efficient BackProp (1998), section 4.3.
    """
    ### BEGIN SOLUTION mean and variance over axis, with their axes kept; eps inside the root
    mean = x.mean(axis=axis, keepdims=True)
    std = np.sqrt(x.var(axis=axis, keepdims=True) + eps)
    return (x - mean) / std, mean, std
    ### END SOLUTION

# %%
check(standardize)

# %% probe="standardize"
def probe(standardize, rng):
    x = rng.normal(3, 2, size=tuple(rng.permutation([4, 5, 6])))
    result, mean, std = standardize(x, axis=0, eps=0.5)
    yield "standardized over axis 0", result
    yield "mean", mean
    yield "std", std
    low, _, _ = standardize(x.astype(np.float32), axis=0)
    yield "dtype of a float32 result", str(low.dtype)
    far = rng.normal(300, 2, size=(16, 3)).astype(np.float32)
    yield "float32 data far from 0", standardize(far, axis=0)[0]
    flat = x.copy()
    flat[:, 1] = 2.0
    yield "with a constant feature", standardize(flat, axis=0)[0]
    yield "standardized over two axes", standardize(x, axis=(0, 2))[0]

# %% mistakes="standardize"
mistake("the mean is not subtracted", "After division by std the variance is 1, but the mean is still not 0.",
        swap=("return (x - mean) / std", "return x / std"))
mistake("it is divided by the variance", "Variance is measured in squared units. Divide by its root.",
        swap=("np.sqrt(x.var(axis=axis, keepdims=True) + eps)", "(x.var(axis=axis, keepdims=True) + eps)"))
mistake("eps stands outside the root", "The formula is √(var + eps), not √var + eps.",
        swap=("np.sqrt(x.var(axis=axis, keepdims=True) + eps)", "x.std(axis=axis, keepdims=True) + eps"))
mistake("eps is forgotten", "A feature that never changes has variance 0, and 0/0 is NaN. Add eps to the variance.",
        swap=("keepdims=True) + eps)", "keepdims=True))"))
mistake("the variance is divided by N - 1", "Here the variance is the mean squared distance, NumPy's default: no ddof.",
        swap=("x.var(axis=axis, keepdims=True)", "x.var(axis=axis, keepdims=True, ddof=1)"))
mistake("one mean and variance for the whole array", "Pass axis to both mean and var: each feature has its own.",
        swap=("""x.mean(axis=axis, keepdims=True)
    std = np.sqrt(x.var(axis=axis, keepdims=True)""", """x.mean(keepdims=True)
    std = np.sqrt(x.var(keepdims=True)"""))
mistake("the averaged axes are dropped", "Over axis 0 it fits by luck; over other axes broadcasting fails or, worse, fits the wrong "
        "axis. Keep the axes with keepdims=True.",
        swap=("""x.mean(axis=axis, keepdims=True)
    std = np.sqrt(x.var(axis=axis, keepdims=True)""", """x.mean(axis=axis)
    std = np.sqrt(x.var(axis=axis)"""))

@mistake("the std that comes back is not the divisor that was used", "Return the number by which you divided, with eps "
         "inside. Otherwise test data is scaled differently.")
def standardize(x, axis, eps=1e-8):
    result, mean, _ = reference(x, axis, eps)
    return result, mean, x.std(axis=axis, keepdims=True)

mistake("the variance is mean(x²) − mean²", "Equal on paper. But two large, nearly equal numbers are subtracted, and float32 "
        "has too few digits for that. Subtract the mean first, or use x.var.",
        swap=("x.var(axis=axis, keepdims=True)", "(x**2).mean(axis=axis, keepdims=True) - mean**2"))
mistake("the variance comes back in place of std", "The third result is the divisor: take the root.",
        swap=("/ std, mean, std", "/ std, mean, x.var(axis=axis, keepdims=True)"))
mistake("mean and std come back in exchanged places", "The order is: standardized, mean, std.",
        swap=("/ std, mean, std", "/ std, std, mean"))

@mistake("eps is fixed at 1e-8", "1e-8 is only the default. Use the argument.")
def standardize(x, axis, eps=1e-8):
    return reference(x, axis)

@mistake("axis is fixed at 0", "The caller chooses the axes, one or several. Pass axis on.")
def standardize(x, axis, eps=1e-8):
    return reference(x, 0, eps)

@mistake("the result is always float64", "float32 in, float32 out: make no float64 array on the way.")
def standardize(x, axis, eps=1e-8):
    return reference(x.astype(np.float64), axis, eps)

# %% [markdown] hints="standardize"
# Three lines: the mean, the divisor, the result. Both statistics must fit x by broadcasting, whichever axis was named.
#
# ---
#
# mean = x.mean(axis), var = x.var(axis), both with keepdims=True. std = √(var + eps).
#
# ---
#
# ```python
# mean = x.mean(axis=axis, keepdims=...)
# std = np.sqrt(... + eps)
# return ..., mean, std
# ```

# %% [markdown]
# ## Windows: one number, read many times
#
# A filter looks at a few neighbours, then moves on. Its windows overlap. Do we have to copy the numbers
# for each window? Draw it first. Every line below is the same row of twelve numbers in memory, with one window lit up.
# Under the lines stands how often each number is read.

# %%
def draw_windows(size=3, step=2, length=12):
    """Draw one memory row per window, and below it how often each number is read."""
    starts = np.arange(0, length - size + 1, step)
    index = starts[:, None] + np.arange(size)  # (count, size)
    inside = np.zeros((len(starts), length), bool)
    inside[np.arange(len(starts))[:, None], index] = True

    fig, ax = plt.subplots(figsize=(6, 0.7 + 0.42 * len(starts)))
    draw_matrix(ax, np.tile(np.arange(length), (len(starts), 1)), highlight=inside, colour=BLUE,
                title=f"{len(starts)} windows of 8-byte numbers, strides ({8 * step}, 8)")
    for i, reads in enumerate(inside.sum(axis=0)):
        ax.text(i + 0.5, len(starts) + 0.5, f"{reads} ×", ha="center", va="center",
                color=ORANGE if reads > 1 else "#666666")
    ax.set_ylim(len(starts) + 1, -0.05)
    plt.show()


draw_windows()

# %%
from ipywidgets import IntSlider, interact

interact(draw_windows, size=IntSlider(value=3, min=1, max=6), step=IntSlider(value=2, min=1, max=6),
         length=IntSlider(value=12, min=6, max=14));

# %% [markdown]
# Overlaps are orange. Move the control. With step = size nothing is read twice: where size divides the length, that is a plain `reshape`. With
# step > size there are gaps. And watch the right end: a window that would not fit is left out.
#
# The windows are an array `out` with two axes: *which* window, $p$, and *where* in it, $q$:
#
# $$\text{out}_{pq} = x_{p·\text{step} + q}, \qquad \text{count} = \left\lfloor \frac{L - \text{size}}{\text{step}} \right\rfloor + 1 .$$
#
# Put that index into the address formula, with $s$ for the stride of $x$. One step in $p$ jumps $\text{step} · s$ bytes, one step in $q$
# jumps $s$. Two strides on one row of memory: a view is enough. The slow way is to stack copied slices; after the exercise
# the two are compared.
#
# ### Exercise 6 ★★★: windows of the last axis
#
# `as_strided(x, shape, strides, writeable=False)` makes a view with any shape and strides. It checks nothing: wrong
# strides read somebody else's memory. Start from `x.strides`, since `x` may itself be a view. And keep the result
# read-only: one write would change several windows at once.

# %% exercise="sliding_windows" points=3 stars=3
#| export
def sliding_windows(x, size, step=1):
    """View the windows of the last axis: out[..., p, q] = x[..., p·step + q].

    Args:
        x: (..., L), contiguous or not.
        size: elements of a window.
        step: from the start of one window to the next.

    Returns:
        a read-only view (..., count, size); count = (L - size) // step + 1.

    Raises:
        ValueError: where size or step is below 1, or size is larger than the axis.

    Source: NumPy documentation, ``numpy.lib.stride_tricks.as_strided``.
    """
    L = x.shape[-1]
    ### BEGIN SOLUTION refuse a size that does not fit; then as_strided with one axis more
    if not 1 <= size <= L or step < 1:
        raise ValueError(
            f"windows need 1 <= size <= {L} and step >= 1, received size {size}, "
            f"step {step}: take smaller windows or pad the array first"
        )
    *lead, stride = x.strides
    shape = (*x.shape[:-1], (L - size) // step + 1, size)
    return as_strided(x, shape, (*lead, stride * step, stride), writeable=False)
    ### END SOLUTION

# %%
check(sliding_windows)

# %% probe="sliding_windows"
def probe(sliding_windows, rng):
    size, step, count = int(rng.integers(3, 6)), int(rng.integers(2, 4)), int(rng.integers(3, 5))
    L = size + step * (count - 1) + 1  # one element is left over
    buffer = rng.normal(size=(4, 6, 90))  # x lies inside a larger array
    x = buffer[:2, :3, 8:8 + L]
    windows = sliding_windows(x, size, step)
    yield "shape", str(windows.shape)
    yield "windows", windows
    yield "kind of result", "a view of x" if np.may_share_memory(windows, x) else "a copy"
    yield "write protection", "off" if windows.flags.writeable else "on"
    yield "windows of every second element", sliding_windows(buffer[0, 0, 5:5 + 2 * L:2], size, step)
    yield "windows with step 1", sliding_windows(x[0], size)
    yield "one window as long as the axis", sliding_windows(x[0], L, step)

    def attempt(size, step):
        try:
            sliding_windows(x, size, step)
        except Exception as error:
            return type(error).__name__
        return "no error"

    yield "a size larger than the axis", attempt(L + 1, 1)
    yield "a size of 0", attempt(0, step)
    yield "a step of 0 and a negative step", f"{attempt(size, 0)}, {attempt(size, -L)}"

# %% mistakes="sliding_windows"
mistake("the windows are a copy", "np.stack, np.array and fancy indexing copy. as_strided describes the windows by strides "
        "on the memory of x, without copying.",
        swap=("return as_strided(x, shape, (*lead, stride * step, stride), writeable=False)",
              "return as_strided(x, shape, (*lead, stride * step, stride), writeable=False).copy()"))
mistake("the windows can be written to", "Windows overlap: one write would change several. Pass writeable=False.",
        swap=(", writeable=False", ""))
@mistake("the last strides are counted in elements", "as_strided wants bytes: one step along the last axis of x jumps "
         "x.strides[-1] of them.")
def sliding_windows(x, size, step=1):
    windows = reference(x, size, step)
    return as_strided(x, windows.shape, (*x.strides[:-1], step, 1), writeable=False)

@mistake("the leading axes are dropped", "x may have axes before the last. They keep their sizes and strides: write "
         "*x.shape[:-1] and *lead in front of the two new ones.")
def sliding_windows(x, size, step=1):
    windows = reference(x, size, step)
    return as_strided(x, windows.shape[-2:], windows.strides[-2:], writeable=False)

mistake("the windows are only one element apart", "The count knows the step, the strides do not: from one window to the next it is "
        "step elements.", swap=("stride * step, stride)", "stride, stride)"))
mistake("the elements of a window are a step apart", "The step separates windows. Inside a window neighbours stay neighbours.",
        swap=("(*lead, stride * step, stride)", "(*lead, stride * step, stride * step)"))
mistake("the step is missing in the count", "With a larger step fewer windows fit. The view now reads beyond the end of the axis.",
        swap=("(L - size) // step + 1, size)", "L - size + 1, size)"))
mistake("there is one window too few", "The window at position 0 counts as well: look for the + 1.",
        swap=("(L - size) // step + 1, size)", "(L - size) // step, size)"))
mistake("the last window reaches beyond the end", "Round down: a window that does not fit completely is left out.",
        swap=("(L - size) // step + 1, size)", "-(-(L - size) // step) + 1, size)"))
mistake("the two window axes have changed places", "First which window, then where in it: (..., count, size), and the strides in "
        "the same order.",
        swap=("return as_strided(x, shape, (*lead, stride * step, stride), writeable=False)",
              "return np.swapaxes(as_strided(x, shape, (*lead, stride * step, stride), writeable=False), -1, -2)"))
mistake("the strides are those of a contiguous array", "x may be a view with strides of its own, as every second element has. "
        "Read x.strides.",
        swap=("*lead, stride = x.strides", "*lead, stride = contiguous_strides(x.shape, x.itemsize)"))
mistake("a size larger than the axis is not refused", "Without a test the result is an empty array, and the mistake shows much later. "
        "Raise a ValueError.", swap=("if not 1 <= size <= L or step < 1:", "if size < 1 or step < 1:"))
mistake("a size of 0 is not refused", "A window without elements shows nothing. Raise a ValueError for every size below 1.",
        swap=("if not 1 <= size <= L", "if not size <= L"))
mistake("steps below 1 are not refused", "A step below 1 never arrives. Raise a ValueError, before the division does it.",
        swap=("<= L or step < 1:", "<= L:"))
mistake("a negative step is not refused", "Below 1 there is more than 0: a negative step gives an empty result, and no error.",
        swap=("step < 1:", "step == 0:"))

# %% [markdown] hints="sliding_windows"
# The result has one axis more than x. All leading axes keep shape and stride. The last axis becomes two.
#
# ---
#
# shape = (leading axes, (L - size) // step + 1, size). strides = (leading strides, step · s, s), where s is the last
# stride of x.
#
# ---
#
# ```python
# if not 1 <= size <= L or step < 1:
#     raise ValueError(f"windows need 1 <= size <= {L} and step >= 1, received ...")
# *lead, stride = x.strides
# shape = (*x.shape[:-1], ..., size)
# strides = (*lead, ..., ...)
# return as_strided(x, shape, strides, writeable=False)
# ```

# %%
import time

signal, begin = images.ravel()[:200_000], time.perf_counter()
slow = np.stack([signal[p:p + 50] for p in range(0, len(signal) - 49)])
middle = time.perf_counter()
fast = sliding_windows(signal, 50)
ratio = (middle - begin) / (time.perf_counter() - middle)
print(f"equal: {np.array_equal(slow, fast)}; the copy holds {slow.nbytes / signal.nbytes:.0f} times the "
      f"signal's bytes and took {ratio:,.0f} times as long")

# %% [markdown]
# The view is fast because it is only a new note on old bytes. What is computed from it later still reads every window.
#
# ## Windows in two dimensions
#
# A picture has a stride for rows, $s_H$, and one for columns, $s_W$. Each splits in two. With steps $S_H, S_W$:
#
# $$\text{out}_{\dots ab\,ij} = x_{\dots,\; a S_H + i,\; b S_W + j}$$
#
# | axis of the result | size |
# |---|---|
# | leading axes | as in `x` |
# | $a$, window row | OH, counted with H, KH, SH |
# | $b$, window column | OW, counted with W, KW, SW |
# | $i$, row in the window | KH |
# | $j$, column in the window | KW |
#
# The strides are yours to find: put this index into the address formula.
#
# ### Exercise 7 ★★★: windows of the last two axes
#
# `size` and `step` may be one number or a pair (rows, columns). The given lines make pairs of them.

# %% exercise="sliding_windows_2d" points=4 stars=3
#| export
def sliding_windows_2d(x, size, step=1):
    """View the windows of the last two axes.

    out[..., a, b, i, j] = x[..., a·SH + i, b·SW + j]

    Args:
        x: (..., H, W), contiguous or not.
        size: of a window, an int or a pair (KH, KW).
        step: from one window to the next, an int or a pair (SH, SW).

    Returns:
        a read-only view (..., OH, OW, KH, KW); nothing is copied.

    Raises:
        ValueError: where a size or step is below 1, or a size is larger than its axis.

    Source: NumPy documentation, ``numpy.lib.stride_tricks.as_strided``.
    """
    KH, KW = (size, size) if np.ndim(size) == 0 else size
    SH, SW = (step, step) if np.ndim(step) == 0 else step
    H, W = x.shape[-2:]
    ### BEGIN SOLUTION refuse sizes that do not fit; then as_strided with both axes split in two
    if not (1 <= KH <= H and 1 <= KW <= W) or min(SH, SW) < 1:
        raise ValueError(
            f"windows must fit into ({H}, {W}) with steps of at least 1, received "
            f"size ({KH}, {KW}), step ({SH}, {SW}): take smaller windows or pad first"
        )
    *lead, row, column = x.strides
    OH, OW = (H - KH) // SH + 1, (W - KW) // SW + 1
    strides = (*lead, SH * row, SW * column, row, column)
    return as_strided(x, (*x.shape[:-2], OH, OW, KH, KW), strides, writeable=False)
    ### END SOLUTION

# %%
check(sliding_windows_2d)

# %% probe="sliding_windows_2d"
def probe(sliding_windows_2d, rng):
    KH, KW = (int(n) for n in rng.permutation([2, 3, 4])[:2])
    OH, OW = (int(n) for n in rng.permutation([3, 4, 5])[:2])
    SH, SW = (int(n) for n in rng.permutation([2, 3]))
    H, W = KH + SH * (OH - 1) + 1, KW + SW * (OW - 1) + 1  # one row and column are left over
    buffer = rng.normal(size=(4, 3, 40, 50))  # x lies inside a larger array
    x = buffer[:2, :2, 3:3 + H, 4:4 + W]
    windows = sliding_windows_2d(x, (KH, KW), (SH, SW))
    yield "shape", str(windows.shape)
    yield "windows", windows
    yield "kind of result", "a view of x" if np.may_share_memory(windows, x) else "a copy"
    yield "write protection", "off" if windows.flags.writeable else "on"
    yield "windows with size and step as numbers", sliding_windows_2d(x[0], 2, 2)
    turned = buffer[0, 0, 3:3 + W, 4:4 + H].T
    yield "windows of a transposed picture", sliding_windows_2d(turned, (KH, KW), (SH, SW))

    def attempt(size, step=1):
        try:
            sliding_windows_2d(x, size, step)
        except Exception as error:
            return type(error).__name__
        return "no error"

    yield "a window too high and one too wide", f"{attempt((H + 1, KW))}, {attempt((KH, W + 1))}"
    yield "a height of 0 and a width of 0", f"{attempt((0, KW))}, {attempt((KH, 0))}"
    yield "a step of 0 and a negative step", f"{attempt((KH, KW), (0, SW))}, {attempt((KH, KW), (SH, -W))}"

# %% mistakes="sliding_windows_2d"
mistake("the steps for rows and columns have changed places", "SH belongs to the rows, SW to the columns, in the counts and "
        "in the strides.", swap=("    *lead, row, column = x.strides\n", "    *lead, row, column = x.strides\n    SH, SW = SW, SH\n"))
mistake("the steps have changed places in the strides", "SH multiplies the stride of the rows, SW that of the columns.",
        swap=("SH * row, SW * column, row, column)", "SW * row, SH * column, row, column)"))
mistake("the strides of positions and places have changed places", "The first two new axes go from window to window, the last two "
        "move inside one. Which pair holds the steps?",
        swap=("SH * row, SW * column, row, column)", "row, column, SH * row, SW * column)"))

@mistake("the leading axes are dropped", "x may have axes before the last two. They keep their sizes and strides, in front of "
         "the four new ones.")
def sliding_windows_2d(x, size, step=1):
    windows = reference(x, size, step)
    return as_strided(x, windows.shape[-4:], windows.strides[-4:], writeable=False)

mistake("the step is missing in the strides", "From one window to the next it is SH rows or SW columns, not one.",
        swap=("SH * row, SW * column, row, column)", "row, column, row, column)"))
mistake("the step is missing in the counts", "With a larger step fewer windows fit: divide by the step, round down, add 1.",
        swap=("(H - KH) // SH + 1, (W - KW) // SW + 1", "H - KH + 1, W - KW + 1"))
mistake("each window is transposed", "Inside a window, the first axis walks down the rows. Compare the order of the last two strides "
        "with KH, KW.", swap=("SW * column, row, column)", "SW * column, column, row)"))
mistake("position and window axes are interleaved", "First both positions, then both places in the window: (OH, OW, KH, KW). You have "
        "(OH, KH, OW, KW).",
        swap=("return as_strided(x, (*x.shape[:-2], OH, OW, KH, KW), strides, writeable=False)",
              "return np.swapaxes(as_strided(x, (*x.shape[:-2], OH, OW, KH, KW), strides, writeable=False), -2, -3)"))
mistake("the windows are a copy", "A view needs as_strided with the strides of x; stacking slices copies.",
        swap=("strides, writeable=False)", "strides, writeable=False).copy()"))
mistake("the windows can be written to", "Windows overlap: one write would change several. Pass writeable=False.",
        swap=(", writeable=False", ""))
mistake("the strides are those of a contiguous array", "A transposed picture has its own strides. Read x.strides.",
        swap=("= x.strides", "= contiguous_strides(x.shape, x.itemsize)"))
mistake("the height is not tested", "A window must fit in both directions: test KH against H as well.",
        swap=("1 <= KH <= H and", "1 <= KH and"))
mistake("the width is not tested", "A window must fit in both directions: test KW against W as well.",
        swap=("1 <= KW <= W)", "1 <= KW)"))
mistake("a window too large in one direction only is not refused", "It must fit in both directions. Refuse it where KH is too large "
        "*or* KW is: `and` waits for both.", swap=("1 <= KH <= H and 1 <= KW <= W", "min(KH, KW) >= 1 and (KH <= H or KW <= W)"))
mistake("sizes below 1 are not refused", "A window without rows or columns shows nothing. Test both sizes.",
        swap=("1 <= KH <= H and 1 <= KW <= W", "KH <= H and KW <= W"))
mistake("steps below 1 are not refused", "A step of 0 never arrives, a negative one gives an empty result. Test both steps.",
        swap=(" or min(SH, SW) < 1:", ":"))

# %% [markdown] hints="sliding_windows_2d"
# Do in both directions what `sliding_windows` does in one. Give the table a third column: the stride of each axis.
#
# ---
#
# The address of the element is offset + … + (a·SH + i)·s_H + (b·SW + j)·s_W, with s_H, s_W the last two strides of x.
# Multiply out: what stands beside a is the stride of a.
#
# ---
#
# ```python
# if not (1 <= KH <= H and ...) or ...:
#     raise ValueError(f"windows must fit into ({H}, {W}) ..., received ...")
# *lead, row, column = x.strides
# OH, OW = ..., ...
# strides = (*lead, ..., ..., ..., ...)
# return as_strided(x, (*x.shape[:-2], ...), strides, writeable=False)
# ```

# %% [markdown]
# ## Use: a classifier made of mean pictures
#
# Split the digits in two halves, average the pictures of each class in one, and give each picture of the other the class
# of the nearest mean. `one_hot(labels, 10).T @ x` adds up the pictures of each class in one product. The three runs
# differ in what `x` is: raw pixels, standardised pixels, or the mean ink of each 4 × 4 patch.

# %% tags=["nbval-check-output"]
def class_means(x, labels):
    member = one_hot(labels, 10)  # (N, 10)
    return (member.T @ x) / member.sum(axis=0)[:, None]  # (10, features)


x = images.reshape(-1, 784).astype(np.float32) / 255
scaled, mean, std = standardize(x[::2], axis=0)  # every second picture is for training
ink = sliding_windows_2d(x.reshape(-1, 28, 28), 4, 4).mean(axis=(-1, -2)).reshape(-1, 49)
runs = {"raw pixels": (x[::2], x[1::2]), "standardised": (scaled, (x[1::2] - mean) / std),
        "ink of patches": (ink[::2], ink[1::2])}
for name, (train, test) in runs.items():
    distance = [((test - m) ** 2).sum(axis=1) for m in class_means(train, labels[::2])]
    right = np.mean(np.argmin(distance, axis=0) == labels[1::2])
    print(f"{name:15} {train.shape[1]:3} features, {right:.0%} right, largest value in test {test.max():.0f}")
print("pixels that never change in training:", int((x[::2].std(axis=0) == 0).sum()))

fig, axes = plt.subplots(2, 6, figsize=(8, 3.1))
pictures = [*class_means(x[::2], labels[::2]), mean, std]
draw_images(axes, [p.reshape(28, 28) for p in pictures], [*range(10), "mean of all", "std of all"])
plt.show()

# %% [markdown]
# No weight has been trained, and the raw means are far above chance, one in ten. That is the number to beat. Patches keep most
# of it with a sixteenth of the numbers.
#
# Standardising does not help here. It makes faint border pixels, which tell little, weigh as much as the middle
# ones. Its benefit comes with gradient descent, in chapter 06. And it hides a trap: a pixel that was always paper in training has
# σ = √ε, so ink there in a test picture becomes a huge number. The white border of the last picture, `std`, shows where.
#
# ## Break it and say why
#
# This bug raises no error. A model learns $y = 2x$ from 50 points, evenly around $x = 0$. It returns its predictions as (N, 1), and
# the targets are (N,). The figure shows the loss for every slope that the model could have.

# %%
slopes, inputs = np.linspace(-1, 4, 101), np.linspace(-2, 2, 50)
pred, target = slopes[:, None] * inputs, 2 * inputs  # (101, 50), (50,)
fig, ax = plt.subplots(figsize=(6, 3))
for name, error in [("(N,)", pred - target), ("(N, 1)", pred[:, :, None] - target)]:
    ax.plot(slopes, (error.reshape(101, -1) ** 2).mean(axis=1), label=f"{name} against (N,)")
ax.set(xlabel="slope of the model", ylabel="mean squared error")
ax.legend()
plt.show()

# %% [markdown]
# Notice where each curve is lowest. The right one reaches 0 at the true slope, 2. The broken one is lowest at slope 0. Training
# on it goes down, looks healthy, and learns nothing.
#
# ### Exercise 8 ★★: the silent loss
#
# With `pred` as (N, 1) and `target` as (N,), the line `((pred - target) ** 2).mean()` runs without a warning. By the rule, the
# difference is (N, N): every prediction meets every target.
#
# Return two numbers, both from plain (N,) arrays. `loss` is what the broken line reports. `floor` is the smallest value that it can
# reach for these targets, over *all* possible predictions. Say to yourself why it is not 0.

# %% exercise="silent_loss" points=2 stars=2
def silent_loss(pred, target):
    """Compute what the broken loss reports, and the least it can report for these targets.

    Args:
        pred: (N,) predictions; the broken line got them as (N, 1).
        target: (N,) targets.

    Returns:
        loss, floor: two numbers.
    """
    ### BEGIN SOLUTION the mean over all pairs; then: which single prediction is nearest to all targets at once?
    loss = ((pred[:, None] - target) ** 2).mean()
    floor = target.var()  # every prediction meets all targets, and the best answer is their mean
    return loss, floor
    ### END SOLUTION

# %%
check(silent_loss)

# %% probe="silent_loss"
def probe(silent_loss, rng):
    N = int(rng.integers(5, 9))
    pred, target = rng.normal(1, 2, N), rng.normal(-1, 3, N)
    loss, floor = silent_loss(pred, target)
    yield "loss", np.asarray(loss, float)
    yield "floor", np.asarray(floor, float)

# %% mistakes="silent_loss"
@mistake("loss is that of the right line", "You paired each prediction with its own target. The broken line pairs it with "
         "all of them.")
def silent_loss(pred, target):
    return ((pred - target) ** 2).mean(), reference(pred, target)[1]

@mistake("loss is summed over the targets of each prediction", "mean() without an axis divides by all N · N pairs.")
def silent_loss(pred, target):
    loss, floor = reference(pred, target)
    return loss * len(pred), floor

mistake("loss is one number per prediction", "mean(axis=1) leaves N numbers. The broken line's mean() has no axis.",
        swap=("- target) ** 2).mean()", "- target) ** 2).mean(axis=1)"))
mistake("loss is the whole table", "The broken line ends in .mean(): one number over all pairs.",
        swap=("- target) ** 2).mean()", "- target) ** 2)"))

@mistake("floor is the loss of pred = target", "A perfect model still pays for all the other targets. Which number is nearest to all "
         "of them at once?")
def silent_loss(pred, target):
    return reference(pred, target)[0], reference(target, target)[0]

@mistake("floor is 0", "A loss of 0 would need a prediction that equals every target at once. Which number is nearest to all "
         "of them, in squared distance?")
def silent_loss(pred, target):
    return reference(pred, target)[0], 0.0

@mistake("floor is the loss of these predictions", "floor is taken over all possible predictions, so it depends on target only.")
def silent_loss(pred, target):
    loss, _ = reference(pred, target)
    return loss, loss

@mistake("floor is the mean of the targets", "The mean is the best prediction. What does the loss report for it?")
def silent_loss(pred, target):
    return reference(pred, target)[0], target.mean()

@mistake("floor is a standard deviation", "The loss is a squared distance, so its smallest value is one too: no root.")
def silent_loss(pred, target):
    return reference(pred, target)[0], target.std()

# %% [markdown] hints="silent_loss"
# Write the (N, N) table for N = 2. Row i holds pred[i] against both targets.
#
# ---
#
# loss = the mean over all i, j of (pred_i - target_j)². For one row, the number with the smallest mean squared distance
# to all targets is their mean.
#
# ---
#
# ```python
# loss = ((pred[:, ...] - target) ** 2).mean()
# floor = ((target.mean() - ...) ** 2).mean()
# return loss, floor
# ```

# %% [markdown]
# ## Recap
#
# - An array is a row of bytes, an offset, a shape and strides. Address = offset + Σ index · stride.
# - Views are new strides on old bytes: transposing, slicing, windows. `reshape` never moves an axis.
# - Broadcasting is a stride of 0. It aligns at the right, and it also accepts what you did not mean: look at shapes, and refuse wrong ones.
# - Train in float32, check in float64, count in integers. Test data gets the training data's statistics.
#
# `finish` exports your six tools into `nyang_edu/utility/tensor.py`. In chapter 02 the axes of `sliding_windows_2d` are laid side by side
# as a matrix.
#
# **References.** van der Walt, Colbert, Varoquaux, *The NumPy Array: A Structure for Efficient Numerical Computation*, Computing in
# Science & Engineering 13(2) (2011), section on the structure of an array. Goldberg, *What Every Computer Scientist Should Know About
# Floating-Point Arithmetic*, ACM Computing Surveys 23(1) (1991), section 1. LeCun, Bottou, Orr, Müller, *Efficient BackProp* (1998), section 4.3.

# %%
finish("01_tensors")
