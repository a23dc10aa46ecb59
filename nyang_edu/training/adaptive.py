# Exported from chapter 07. Change the notebook, then export again.
"""Optimizers that divide each weight's step by the size of its own gradients, and clipping.

The size of a gradient depends on units and depth; here it no longer sets the length of a step.
"""

from types import SimpleNamespace

import numpy as np

from nyang_edu.training.optimizer import Optimizer


class Adaptive(Optimizer):
    """The base of the adaptive optimizers: moves in pieces that fit the cache.

    piece_size: the most elements that a step works on at once, of each array.
    """

    piece_size = 2**15

    def moves(self, *memories):
        """Yield each piece (data, grad) with its gradient, its lr, and its part of each memory.

        What is no array in a memory comes whole with every piece.
        """
        for parameter, place, *held in zip(self.parameters, self.group_of, *memories, strict=True):
            group = self.groups[place]
            arrays = [parameter.data, parameter.grad, *held]
            for data, grad, *parts in _cut(arrays, self.piece_size):
                piece = SimpleNamespace(data=data, grad=grad)
                yield piece, self.gradient(piece, group), group["lr"], *parts


def zeros_for(parameters):
    """List one array of zeros for each parameter, of its shape and dtype."""
    return [np.zeros_like(one.data) for one in parameters]


def _cut(values, size):
    """Yield equal stretches of all arrays among the values, as flat views, with the others."""
    arrays = [one for one in values if isinstance(one, np.ndarray)]
    if not all(one.flags.c_contiguous for one in arrays):  # a flat view would be a copy
        yield values
        return
    flat = [one.reshape(-1) if isinstance(one, np.ndarray) else one for one in values]
    for start in range(0, arrays[0].size, size):
        yield [one[start:start + size] if isinstance(one, np.ndarray) else one for one in flat]


def _expect(name, value, low, high):
    """Return a setting as a float; raise where it is not in low ≤ value < high."""
    if not low <= value < high:
        raise ValueError(f"{name} must be at least {low:g} and below {high:g}, received {value}")
    return float(value)


class RMSprop(Adaptive):
    """Divide each gradient by the root of its running mean square.

    v ← alpha · v + (1 − alpha) · grad², data ← data − lr · grad / (√v + eps).
    With momentum, a velocity u ← momentum · u + grad / (√v + eps) takes the fraction's place.

    Raises:
        ValueError: where alpha or momentum is not in 0 ≤ value < 1, or eps is negative; further
            as Optimizer.

    Source: Tieleman and Hinton, Neural Networks for Machine Learning (2012), lecture 6.5.
    """

    def __init__(self, parameters, lr=0.01, alpha=0.9, eps=1e-8, momentum=0.0, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.alpha, self.eps = _expect("alpha", alpha, 0, 1), _expect("eps", eps, 0, np.inf)
        self.momentum = _expect("momentum", momentum, 0, 1)
        self.squares, self.velocities = zeros_for(self.parameters), [None] * len(self.parameters)
        if momentum:
            self.velocities = zeros_for(self.parameters)

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        for parameter, grad, lr, square, velocity in self.moves(self.squares, self.velocities):
            square *= self.alpha
            square += (1 - self.alpha) * grad**2
            direction = grad / (np.sqrt(square) + self.eps)
            if self.momentum:
                velocity *= self.momentum
                velocity += direction
                direction = velocity
            parameter.data -= lr * direction


class Adam(Adaptive):
    """Step along the running mean of the gradients, divided by the root of their mean square.

    m ← β₁ · m + (1 − β₁) · grad, v ← β₂ · v + (1 − β₂) · grad², and with both corrected for
    their start at 0, data ← data − lr · m̂ / (√v̂ + eps).

    Raises:
        ValueError: where a beta is not in 0 ≤ beta < 1, or eps is negative; further as Optimizer.

    Source: Kingma and Ba (2015), algorithm 1.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, weight_decay)
        self.betas = tuple(_expect("each beta", beta, 0, 1) for beta in betas)
        self.eps, self.steps = _expect("eps", eps, 0, np.inf), 0
        self.means, self.squares = zeros_for(self.parameters), zeros_for(self.parameters)

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        beta1, beta2 = self.betas
        self.steps += 1
        for parameter, grad, lr, mean, square in self.moves(self.means, self.squares):
            mean *= beta1
            mean += (1 - beta1) * grad
            square *= beta2
            square += (1 - beta2) * grad**2
            mean_hat = mean / (1 - beta1**self.steps)
            size = np.sqrt(square / (1 - beta2**self.steps))
            parameter.data -= lr * mean_hat / (size + self.eps)


class AdamW(Adam):
    """Adam with decoupled weight decay: data ← data − lr · weight_decay · data, then Adam's step.

    Source: Loshchilov and Hutter (2019), section 2, algorithm 2.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(parameters, lr, betas, eps, weight_decay)

    def gradient(self, parameter, group):
        """Shrink data, and return grad without any decay in it.

        Args:
            parameter: has data and grad.
            group: a dict with "lr" and "weight_decay".
        """
        parameter.data *= 1 - group["lr"] * group["weight_decay"]
        return parameter.grad


class AdaBound(Adam):
    """Adam whose rates are clipped between bounds that close in on one rate, as in SGD.

    rate = lr · √(1 − β₂ᵗ) / (1 − β₁ᵗ) / (√v + eps), data ← data − clip(rate, lower, upper) · m,
    the form of the authors' program. The bounds close in on final_lr · lr / (lr's first value).

    Raises:
        ValueError: where final_lr or gamma is not above 0; further as Adam.

    Source: Luo, Xiong, Liu, Sun (2019), algorithm 2.
    """

    def __init__(self, parameters, lr=1e-3, betas=(0.9, 0.999), final_lr=0.1, gamma=1e-3,
                 eps=1e-8, weight_decay=0.0):
        super().__init__(parameters, lr, betas, eps, weight_decay)
        if final_lr <= 0 or gamma <= 0:
            raise ValueError("final_lr and gamma must be above 0, received "
                             f"{final_lr} and {gamma}: try 0.1 and 0.001")
        self.final_lr, self.gamma = float(final_lr), float(gamma)
        self.first_lrs = [self.groups[place]["lr"] for place in self.group_of]

    def bounds(self, final):
        """Return the lower and the upper bound of the rates at the current step."""
        progress = self.gamma * self.steps
        return final * (1 - 1 / (progress + 1)), final * (1 + 1 / progress)

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        beta1, beta2 = self.betas
        self.steps += 1
        correction = (1 - beta2**self.steps) ** 0.5 / (1 - beta1**self.steps)
        for parameter, grad, lr, mean, square, first_lr in self.moves(
                self.means, self.squares, self.first_lrs):
            mean *= beta1
            mean += (1 - beta1) * grad
            square *= beta2
            square += (1 - beta2) * grad**2
            rate = lr * correction / (np.sqrt(square) + self.eps)
            lower, upper = self.bounds(self.final_lr * lr / first_lr)
            parameter.data -= np.clip(rate, lower, upper) * mean


def clip_grad_norm(parameters, max_norm):
    """Shorten all gradients by one factor where their common norm exceeds max_norm.

    Call it between backward and step. Where the norm is smaller, nothing changes.

    Args:
        parameters: Parameters, in a list or a generator; each counts once.
        max_norm: the largest norm to leave, above 0.

    Returns:
        the norm before clipping, a float.

    Raises:
        ValueError: where max_norm is not above 0.

    Source: Pascanu, Mikolov, Bengio (2013), section 3.2.
    """
    if not max_norm > 0:
        raise ValueError(f"max_norm must be above 0, received {max_norm}: try 1.0")
    held = list({id(one): one for one in parameters}.values())  # each once
    norm = sum(np.square(one.grad, dtype=np.float64).sum() for one in held) ** 0.5
    if norm > max_norm:
        for one in held:
            one.grad *= max_norm / norm
    return float(norm)
