#| export
"""How far apart two arrays are, as one number."""

import numpy as np


def relative_error(a, b):
    """Measure how far two arrays are apart, relative to their size.

    The largest |a - b| divided by the largest |a| or |b|; 0 where both hold only zeros.

    Args:
        a, b: arrays of equal shape.

    Returns:
        a float, 0 for equal arrays.
    """
    difference = np.abs(a - b).max()
    size = max(np.abs(a).max(), np.abs(b).max())
    return float(difference / size) if size > 0 else 0.0
