# Exported from chapter 03. Change the notebook, then export again.
"""The linear layer: every output is a weighted sum of all inputs."""

import numpy as np

from nyang_edu.model.core import NyangModel, Parameter, expect_input


def linear_forward(x, weight, bias):
    """Compute x · weightᵀ + bias.

    Args:
        x: (N, I) samples.
        weight: (O, I), one row per output.
        bias: (O,), one number per output.

    Returns:
        out (N, O).
    """
    return x @ weight.T + bias


def linear_backward(dout, x, weight):
    """Compute the gradients of a linear layer.

    Args:
        dout: (N, O), the loss's gradient by the output.
        x: (N, I), the input of the forward pass.
        weight: (O, I).

    Returns:
        dx (N, I), dweight (O, I), dbias (O,).
    """
    dx = dout @ weight  # (N, I)
    dweight = dout.T @ x  # (O, I)
    dbias = dout.sum(axis=0)  # (O,)
    return dx, dweight, dbias


class Linear(NyangModel):
    """Map features linearly: out = x · weightᵀ + bias.

    Shapes: x (N, in_features) → out (N, out_features); weight (out_features, in_features),
    bias (out_features,).

    Raises:
        ValueError, TypeError: where x has another shape or dtype than the layer expects.
    """

    def __init__(self, in_features, out_features, bias=True, *, rng=None, init=None):
        self.in_features, self.out_features = in_features, out_features
        rng = rng or np.random.default_rng()
        init = init or uniform_fan_in
        weight = init((out_features, in_features), rng)
        self.weight = Parameter(weight.astype(np.float32))
        self.bias = Parameter(np.zeros(out_features, np.float32)) if bias else None

    def forward(self, x):
        """Return out (N, out_features) for x (N, in_features)."""
        expect_input(self, x, "N", self.in_features, dtype=self.weight.data.dtype)
        self.save(x)
        return linear_forward(x, self.weight.data, self.bias.data if self.bias else 0)

    def backward(self, dout):
        """Add to the parameters' gradients and return dx (N, in_features)."""
        x = self.saved()
        dx, dweight, dbias = linear_backward(dout, x, self.weight.data)
        self.weight.grad += dweight
        if self.bias:
            self.bias.grad += dbias
        return dx


def uniform_fan_in(shape, rng):
    """Draw weights from ±1/√fan_in, where fan_in counts the inputs of one output."""
    bound = 1 / np.sqrt(np.prod(shape[1:]))
    return rng.uniform(-bound, bound, shape)
