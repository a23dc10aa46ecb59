# Exported from chapter 00. Change the notebook, then export again.
"""How far apart two arrays are, as one number."""

import numpy as np


def relative_error(a, b):
    """Measure how far two arrays are apart: max|a − b| / max(max|a|, max|b|).

    Args:
        a, b: arrays of one shape.

    Returns:
        a float: 0 for equal arrays, two arrays of zeros included.
    """
    difference = np.abs(a - b).max()
    size = max(np.abs(a).max(), np.abs(b).max())
    return float(difference / size) if size > 0 else 0.0
