# Exported from chapter 06. Change the notebook, then export again.
"""Optimizers: rules that move parameters against their gradients."""

import copy

import numpy as np

from nyang_edu.model.core import Parameter


class Optimizer:
    """Hold parameters and their learning rates; a subclass defines how one step moves them.

    parameters: Parameters, or groups with settings of their own, as
    [{"parameters": backbone, "lr": 0.01}, {"parameters": head}]; what a group leaves out, it
    takes from the optimizer. weight_decay adds weight_decay · data to a gradient.

    Raises:
        ValueError: where there are no parameters, lr is not above 0, weight_decay is below 0,
            or a group has an unknown setting.
        TypeError: where something else than a Parameter is given.
    """

    def __init__(self, parameters, lr, weight_decay=0.0):
        groups = list(parameters)
        if not any(isinstance(one, dict) for one in groups):
            groups = [{"parameters": groups}]
        self.parameters, self.groups, self.group_of = [], [], []
        for group in groups:
            settings = {"lr": lr, "weight_decay": weight_decay} | _as_group(group)
            for one in settings.pop("parameters"):
                if not any(one is held for held in self.parameters):  # no doubles
                    self.parameters.append(one)
                    self.group_of.append(len(self.groups))
            self.groups.append(_checked(settings))
        if not self.parameters:
            raise ValueError("an optimizer needs parameters, received none: "
                             "pass model.parameters()")

    @property
    def lr(self):
        """The learning rate of the first group; setting it sets that of every group."""
        return self.groups[0]["lr"]

    @lr.setter
    def lr(self, value):
        for group in self.groups:
            group["lr"] = value

    def zero_grad(self):
        """Set every gradient to zero."""
        for parameter in self.parameters:
            parameter.grad[...] = 0

    def gradient(self, parameter, group):
        """Return the gradient to follow: grad, plus weight_decay · data where that is set."""
        if not group["weight_decay"]:
            return parameter.grad
        return parameter.grad + group["weight_decay"] * parameter.data

    def moves(self, *memories):
        """Yield each parameter with its gradient, its lr, and its entry of each memory."""
        for parameter, place, *held in zip(self.parameters, self.group_of, *memories, strict=True):
            group = self.groups[place]
            yield parameter, self.gradient(parameter, group), group["lr"], *held

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


def _as_group(group):
    """Return a group with its parameters as a list; raise where it is none."""
    if not isinstance(group, dict) or "parameters" not in group:
        raise TypeError("give Parameters, or groups that are dicts with the key 'parameters', "
                        f"not both; received {type(group).__name__}")
    if unknown := set(group) - {"parameters", "lr", "weight_decay"}:
        raise ValueError(f"a group sets parameters, lr and weight_decay, received {unknown}")
    held = list(group["parameters"])
    for one in held:
        if not isinstance(one, Parameter):
            raise TypeError(f"an optimizer moves Parameters, received {type(one).__name__}: "
                            "pass model.parameters()")
    return group | {"parameters": held}


def _checked(settings):
    """Return the settings as floats; raise where one is out of its range."""
    settings = {name: float(value) for name, value in settings.items()}
    if not 0 < settings["lr"] < float("inf"):
        raise ValueError(f"the learning rate must be above 0, received {settings['lr']}: try 0.1")
    if not 0 <= settings["weight_decay"] < float("inf"):
        raise ValueError("weight_decay must be at least 0, received "
                         f"{settings['weight_decay']}: try 1e-4")
    return settings


def _forms(value):
    """Describe the arrays in an entry of a state, so that two entries can be compared."""
    if isinstance(value, (list, tuple)):
        return [_forms(one) for one in value]
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else "a setting"


class SGD(Optimizer):
    """Step against the gradient: v ← momentum · v + grad, data ← data − lr · v.

    With nesterov, data ← data − lr · (grad + momentum · v). The form is PyTorch's: lr is not
    inside v. data stays the same array, with its dtype.

    Raises:
        ValueError: where momentum is not in 0 ≤ momentum < 1, or nesterov comes without
            momentum; further as Optimizer.

    Source: Robbins and Monro (1951); momentum from Polyak (1964), and
    Sutskever, Martens, Dahl, Hinton (2013), section 2.
    """

    def __init__(self, parameters, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
        super().__init__(parameters, lr, weight_decay)
        self.momentum, self.nesterov = float(momentum), bool(nesterov)
        if not 0 <= self.momentum < 1:
            raise ValueError("momentum must be at least 0 and below 1, "
                             f"received {momentum}: try 0.9")
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov looks ahead along the velocity and needs a momentum "
                             f"above 0, received {momentum}: try 0.9")
        self.velocities = [np.zeros_like(one.data) for one in self.parameters]

    def step(self):
        """Move every parameter once; the gradients stay as they are."""
        for parameter, grad, lr, velocity in self.moves(self.velocities):
            velocity *= self.momentum
            velocity += grad
            direction = grad + self.momentum * velocity if self.nesterov else velocity
            parameter.data -= lr * direction
