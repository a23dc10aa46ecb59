# Exported from chapter 04. Change the notebook, then export again.
"""Initialisers: the first weights, drawn so that a signal keeps its size from layer to layer."""

import math

import numpy as np


def lecun_normal(shape, rng):
    """Draw rng.normal(0, √(1 / fan_in), shape) (LeCun et al. 1998, section 4.6)."""
    return rng.normal(0, np.sqrt(1 / fan_in_and_out(shape)[0]), shape)


def xavier_normal(shape, rng):
    """Draw rng.normal(0, √(2 / (fan_in + fan_out)), shape), the variance of xavier_uniform."""
    return rng.normal(0, np.sqrt(2 / sum(fan_in_and_out(shape))), shape)


def he_uniform(shape, rng):
    """Draw rng.uniform(-b, b, shape) with b = √(6 / fan_in), the variance of he_normal."""
    bound = np.sqrt(6 / fan_in_and_out(shape)[0])
    return rng.uniform(-bound, bound, shape)


def xavier_uniform(shape, rng):
    """Draw rng.uniform(-b, b, shape) with b = √(6 / (fan_in + fan_out)).

    Source: Glorot and Bengio, Difficulty of training deep networks (2010), section 4.2.1.
    """
    bound = np.sqrt(6 / sum(fan_in_and_out(shape)))
    return rng.uniform(-bound, bound, shape)


def fan_in_and_out(shape):
    """Count how many terms one output adds up, and how many outputs one input reaches.

    Args:
        shape: a weight's shape, (O, I) or (O, I, *kernel).

    Returns:
        fan_in, fan_out, two ints.

    Raises:
        ValueError: where the shape has fewer than two axes.
    """
    if len(shape) < 2:
        raise ValueError(f"fan_in_and_out expects a shape (out, in, ...), received {shape}: "
                         "a bias has no fans, let it start at zero")
    window = math.prod(shape[2:])
    return shape[1] * window, shape[0] * window


def he_normal(shape, rng):
    """Draw weights for a layer in front of a ReLU: normal, mean 0, variance 2 / fan_in.

    Args:
        shape: (O, I) or (O, I, *kernel).
        rng: a numpy Generator; one call rng.normal(0, std, shape) is made.

    Returns:
        a float64 array of that shape.

    Source: He et al., Delving deep into rectifiers (2015), section 2.2.
    """
    fan_in, _ = fan_in_and_out(shape)
    return rng.normal(0, np.sqrt(2 / fan_in), shape)


def init_for(activation):
    """Choose the initialiser for a layer by the activation that follows it.

    Args:
        activation: an activation, its class, or None where none follows.

    Returns:
        a function (shape, rng) → weights, fit for Linear's ``init``.

    Raises:
        ValueError: where the activation's name is not known.
    """
    kind = activation if isinstance(activation, type) else type(activation)
    if kind.__name__ in ("ReLU", "LeakyReLU", "ELU", "Swish"):
        return he_normal
    if kind.__name__ == "SELU":
        return lecun_normal
    if kind.__name__ in ("Tanh", "Sigmoid", "Softmax", "NoneType"):
        return xavier_uniform
    raise ValueError(f"init_for knows the activations of this package, received {kind.__name__}: "
                     "pass an initialiser of your own as Linear(..., init=...)")
