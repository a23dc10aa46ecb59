# Exported from chapter 14. Change the notebook, then export again.
"""Saliency: how strongly one class's score reacts to each pixel."""

import contextlib

import numpy as np  # noqa: F401  for your own code

from nyang_edu.model.watch import modes_kept


@contextlib.contextmanager
def undisturbed(model):
    """Give a model its modes and gradients back when the block ends, also after an error."""
    gradients = [(one, one.grad.copy()) for one in model.parameters()]
    try:
        with modes_kept(model):
            yield model
    finally:
        for one, gradient in gradients:
            one.grad[...] = gradient


def saliency(model, x, classes):
    """Measure how a class's score reacts to each pixel: max over c of |∂ score[class] / ∂ x[c]|.

    Args:
        model: a NyangModel, (N, C, H, W) → scores (N, K); its modes and gradients stay.
        x: images (N, C, H, W), of the parameters' dtype.
        classes: (N,) integers, the class asked for in each image.

    Returns:
        (N, H, W), of x's dtype.

    Source: Simonyan, Vedaldi, Zisserman, Deep inside convolutional networks (2014), section 3.
    """
    with undisturbed(model):
        scores = model.eval()(x)  # (N, K)
        dout = np.zeros_like(scores)
        dout[np.arange(len(x)), classes] = 1
        dx = model.backward(dout)  # (N, C, H, W)
    return np.abs(dx).max(axis=1)  # (N, H, W)
