# Exported from chapter 04. Change the notebook, then export again.
"""Activations: the bends between linear layers, each with the slope that backward needs."""

import numpy as np

from nyang_edu.model.core import NyangModel


class Tanh(NyangModel):
    """Squash every element into (-1, 1): out = tanh(x).

    Shapes: x, any → out, the same. Source: LeCun et al., Efficient BackProp (1998), section 4.4.
    """

    def forward(self, x):
        """Return tanh of every element."""
        out = np.tanh(x)
        self.save(out)
        return out

    def backward(self, dout):
        """Return dx = dout · (1 - out²)."""
        out = self.saved()
        return dout * (1 - out * out)


class ReLU(NyangModel):
    """Keep what is positive: out = max(x, 0).

    Shapes: x, any → out, the same. The slope at 0 is 0, as in PyTorch.
    Source: Nair and Hinton, Rectified linear units improve restricted Boltzmann machines (2010).
    """

    def forward(self, x):
        """Return max(x, 0) of every element."""
        self.save(x > 0)
        return np.maximum(x, 0)

    def backward(self, dout):
        """Return dx: dout where x was positive, 0 elsewhere."""
        positive = self.saved()
        return dout * positive


class LeakyReLU(NyangModel):
    """Keep what is positive, shrink the rest: out = x for x > 0, else negative_slope · x.

    Shapes: x, any → out, the same. The slope at 0 is negative_slope, as in PyTorch.
    Source: Maas, Hannun, Ng, Rectifier nonlinearities improve neural network acoustic
    models (2013).
    """

    def __init__(self, negative_slope=0.01):
        self.negative_slope = negative_slope

    def forward(self, x):
        """Return x where it is positive, negative_slope · x elsewhere."""
        positive = x > 0
        self.save(positive)
        return np.maximum(x, 0) + self.negative_slope * np.minimum(x, 0)

    def backward(self, dout):
        """Return dx: dout where x was positive, negative_slope · dout elsewhere."""
        positive = self.saved()
        return dout * positive + self.negative_slope * (dout * ~positive)


def sigmoid(x):
    """Compute 1 / (1 + e⁻ˣ) of every element, without overflow; keeps x's shape and dtype."""
    small = np.exp(-np.abs(x))  # in (0, 1]
    return np.where(x >= 0, 1, small) / (1 + small)


class Sigmoid(NyangModel):
    """Squash every element into (0, 1): out = 1 / (1 + e⁻ˣ).

    Shapes: x, any → out, the same.
    Source: Goodfellow et al., Deep Learning (2016), section 6.2.2.2.
    """

    def forward(self, x):
        """Return the sigmoid of every element."""
        out = sigmoid(x)
        self.save(out)
        return out

    def backward(self, dout):
        """Return dx = dout · out · (1 - out)."""
        out = self.saved()
        return dout * out * (1 - out)


class Swish(NyangModel):
    """Let x through a gate that x opens: out = x · σ(x), PyTorch's SiLU.

    Shapes: x, any → out, the same.
    Source: Ramachandran, Zoph, Le, Searching for activation functions (2017).
    """

    def forward(self, x):
        """Return x · σ(x) of every element."""
        gate = sigmoid(x)
        self.save(x, gate)
        return x * gate

    def backward(self, dout):
        """Return dx by the product rule."""
        x, gate = self.saved()
        return dout * (gate + x * gate * (1 - gate))


class ELU(NyangModel):
    """Let the negative side sink to -alpha: out = x for x > 0, else alpha · (eˣ - 1).

    Shapes: x, any → out, the same. The slope at 0 is alpha, as in PyTorch.
    Source: Clevert, Unterthiner, Hochreiter, Fast and accurate deep network learning by
    exponential linear units (2016).
    """

    def __init__(self, alpha=1.0):
        self.alpha = alpha

    def forward(self, x):
        """Return x where it is positive, alpha · (eˣ - 1) elsewhere."""
        positive = x > 0
        out = np.where(positive, x, self.alpha * np.expm1(np.minimum(x, 0)))
        self.save(positive, out)
        return out

    def backward(self, dout):
        """Return dx: dout where x was positive, dout · (out + alpha) elsewhere."""
        positive, out = self.saved()
        return np.where(positive, dout, dout * (out + self.alpha))


class SELU(ELU):
    """Scale an ELU so that mean 0 and variance 1 reproduce themselves: out = λ · ELU(x).

    Shapes: x, any → out, the same. Use it with lecun_normal weights.
    Source: Klambauer et al., Self-normalizing neural networks (2017), section 2.
    """

    def __init__(self):
        super().__init__(alpha=1.6732632423543772)
        self.scale = 1.0507009873554805

    def forward(self, x):
        """Return λ · ELU(x) of every element."""
        return self.scale * super().forward(x)

    def backward(self, dout):
        """Return dx, the gradient through the scale and then through the ELU."""
        return super().backward(self.scale * dout)


class Softmax(NyangModel):
    """Turn scores into probabilities along one axis: out = eˣ / Σ eˣ.

    Shapes: x, any → out, the same; sums to 1 along axis.
    Source: Goodfellow et al., Deep Learning (2016), section 6.2.2.3; on overflow, section 4.1.
    """

    def __init__(self, axis=-1):
        self.axis = axis

    def forward(self, x):
        """Return the probabilities; x may hold scores of any size."""
        powers = np.exp(x - x.max(axis=self.axis, keepdims=True))
        out = powers / powers.sum(axis=self.axis, keepdims=True)
        self.save(out)
        return out

    def backward(self, dout):
        """Return dx = out · (dout - Σ dout · out), summed along the axis."""
        out = self.saved()
        mean = (dout * out).sum(axis=self.axis, keepdims=True)
        return out * (dout - mean)
