# %% [markdown]
# # 00 · Start here
#
# test

# %%
#| default_exp utility.compare
#| export
"""How far apart two arrays are, as one number."""

import numpy as np

# %% exercise="relative_error" points=2 stars=2
#| export
def relative_error(a, b):
    """Measure how far two arrays are apart, relative to their size.

    The largest |a - b| divided by the largest |a| or |b|; 0 where both hold only zeros.

    Args:
        a, b: arrays of equal shape.

    Returns:
        a float, 0 for equal arrays.
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
    a, b = rng.normal(size=(2, 3, 4))
    yield "error of two random arrays", relative_error(a, b)

# %% mistakes="relative_error"
mistake("x", "y", swap=("np.abs(a - b).max()", "np.abs(a - b).mean()"))

# %% [markdown] hints="relative_error"
# a
# ---
# b
# ---
# c
