# Exported from chapter 15. Change the notebook, then export again.
"""Grad-CAM: which places of a network's maps speak for a class."""

import numpy as np

from nyang_edu.evaluation.saliency import undisturbed
from nyang_edu.model.core import no_memory


def grad_cam(front, back, x, classes):
    """Measure what speaks for a class at each place of the maps between front and back.

    Args:
        front: a NyangModel, x (N, …) → maps (N, C, h, w).
        back: a NyangModel, maps → scores (N, K). Both run in eval mode; their own modes and
            the parameters' gradients stay.
        x: the images.
        classes: (N,) integers, the class asked for in each image.

    Returns:
        heat (N, h, w), at least 0, not scaled, of the maps' dtype.

    Source: Selvaraju et al., Grad-CAM (2017), section 3, equations 1 and 2.
    """
    with undisturbed(front), undisturbed(back):
        with no_memory():
            maps = front.eval()(x)  # (N, C, h, w)
        scores = back.eval()(maps)  # (N, K)
        dout = np.zeros_like(scores)
        dout[np.arange(len(x)), classes] = 1
        dmaps = back.backward(dout)
    weights = dmaps.mean(axis=(2, 3), keepdims=True)  # (N, C, 1, 1)
    return np.maximum((weights * maps).sum(axis=1), 0)  # (N, h, w)
