# Exported from chapter 18. Change the notebook, then export again.
"""Weights for the classes of an unbalanced set, so that a loss also hears the rare ones."""

import numpy as np


def class_weights(counts, power=1.0):
    """Return alpha for FocalLoss: alpha_k ∝ n_k^(−power), with a mean of 1 over all samples.

    Args:
        counts: (C,) samples of each class in training; at least one is not 0.
        power: 0 weighs all samples alike, 1 gives all classes the same total.

    Returns:
        (C,) float64 with Σ n_k · alpha_k = Σ n_k; 0 for a class without samples.

    Source: Cui, Jia, Lin, Song, Belongie, Class-balanced loss based on effective number of
    samples (2019), section 3, discusses what lies between 0 and 1.
    """
    counts = np.asarray(counts, np.float64)
    alpha = np.zeros_like(counts)
    alpha[counts > 0] = counts[counts > 0] ** -power
    return alpha * counts.sum() / (counts @ alpha)
