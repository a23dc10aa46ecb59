# Exported from chapter 15. Change the notebook, then export again.
"""Folding: a BatchNorm in eval mode disappears into the convolution before it."""

import numpy as np


def folded_norm(weight, bias, norm):
    """Return weight and bias of the convolution that equals a convolution and its BatchNorm.

    Args:
        weight (O, I, KH, KW), bias (O,): of the convolution; they stay as they are.
        norm: the BatchNorm2d behind it, as it works in eval mode.

    Returns:
        weight (O, I, KH, KW), bias (O,), fresh arrays.
    """
    scale = norm.weight.data / np.sqrt(norm.running_var + norm.eps)  # (O,)
    return weight * scale[:, None, None, None], (bias - norm.running_mean) * scale + norm.bias.data
