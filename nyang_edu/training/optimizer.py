# Exported from chapter 06. Change the notebook, then export again.
"""Optimizers: rules that move parameters against their gradients."""

import copy

import numpy as np

from nyang_edu.model.core import Parameter


class Optimizer:
    """Hold parameters and a learning rate; a subclass defines how one step moves them.

    Raises:
        ValueError: where there are no parameters, or lr is not above 0.
        TypeError: where something else than a Parameter is given.
    """

    def __init__(self, parameters, lr):
        self.parameters = list({id(one): one for one in parameters}.values())  # no doubles
        self.lr = float(lr)
        if not self.parameters:
            raise ValueError("an optimizer needs parameters, received none: "
                             "pass model.parameters()")
        for one in self.parameters:
            if not isinstance(one, Parameter):
                raise TypeError(f"an optimizer moves Parameters, received {type(one).__name__}: "
                                "pass model.parameters()")
        if not 0 < self.lr < float("inf"):
            raise ValueError(f"the learning rate must be above 0, received {lr}: try 0.1")

    def zero_grad(self):
        """Set every gradient to zero."""
        for parameter in self.parameters:
            parameter.grad[...] = 0

    def step(self):
        """Move the parameters once; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define step")

    def state_dict(self):
        """Copy all that a step needs besides the parameters: settings and memories."""
        return {name: copy.deepcopy(value) for name, value in vars(self).items()
                if name != "parameters"}

    def load_state_dict(self, state):
        """Take over what state_dict returned; nothing changes unless all of it fits.

        Raises:
            ValueError: with every missing, unexpected or misshapen entry.
        """
        own = self.state_dict()
        wrong = [f"missing {name}" for name in own if name not in state]
        wrong += [f"unexpected {name}" for name in state if name not in own]
        wrong += [f"{name} holds {_forms(state[name])}, expected {_forms(own[name])}"
                  for name in own if name in state and _forms(state[name]) != _forms(own[name])]
        if wrong:
            raise ValueError(f"{type(self).__name__}: the state does not fit: {'; '.join(wrong)}")
        vars(self).update(copy.deepcopy(dict(state)))


def _forms(value):
    """Describe the arrays in an entry of a state, so that two entries can be compared."""
    if isinstance(value, (list, tuple)):
        return [_forms(one) for one in value]
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "a setting"


class SGD(Optimizer):
    """Step against the gradient: v ← momentum · v + grad, data ← data − lr · v.

    The form is PyTorch's: lr is not inside v. data stays the same array, with its dtype.

    Raises:
        ValueError: where momentum is not in 0 ≤ momentum < 1; further as Optimizer.

    Source: Robbins and Monro (1951); momentum from Polyak (1964), and
    Sutskever, Martens, Dahl, Hinton (2013), section 2.
    """

    def __init__(self, parameters, lr, momentum=0.0):
        super().__init__(parameters, lr)
        self.momentum = float(momentum)
        if not 0 <= self.momentum < 1:
            raise ValueError("momentum must be at least 0 and below 1, "
                             f"received {momentum}: try 0.9")
        self.velocities = [np.zeros_like(one.data) for one in self.parameters]

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        for parameter, velocity in zip(self.parameters, self.velocities, strict=True):
            velocity *= self.momentum
            velocity += parameter.grad
            parameter.data -= self.lr * velocity
