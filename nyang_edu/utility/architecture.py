"""Write down how a model is built, and build it again without its code.

A model remembers its constructor's arguments. Together with the names of the classes they are
a description in plain values, which also fits into JSON. Only classes of this package are built
from a file; a file cannot make anything be imported.
"""

import inspect
import math

import numpy as np

import nyang_edu  # its public names only, found when they are needed

FREE_INTS = 65_536  # a number of features may be this large, whatever the file holds


class NotDescribable(ValueError):
    """A model cannot be written down; the message says why."""


def describe(model):
    """Return how to build a model: {"class": …, "args": […], "kwargs": {…}} in plain values.

    A layer that stands twice is written once and then as {"again": number}. Generators are left
    out: the weights come from the file.

    Raises:
        NotDescribable: for classes or functions of your own, and models changed since they were
            made.
    """
    spec = _Describer().model(model)
    try:
        copy = rebuild(spec, math.inf)
    except Exception as error:  # whatever a constructor may raise
        raise NotDescribable(f"it cannot be built again from its arguments ({error})") from error
    if outline(copy) != outline(model):
        raise NotDescribable("it was changed after it was made")
    return spec


def outline(model):
    """List what tells two models apart but for their values: names, classes, settings, shapes."""
    layers = [(name, type(one).__name__, _settings(one)) for name, one in model.named_layers()]
    return layers, [(name, array.shape) for name, array in model.named_arrays()]


def _settings(layer):
    return {name: value for name, value in vars(layer).items()
            if not name.startswith("_") and name != "training" and _is_setting(value)}


def _is_setting(value):
    if isinstance(value, (list, tuple, dict)):
        return all(map(_is_setting, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, (bool, int, float, str, np.generic))


def _public(name):
    """Return this package's model class or initialiser of a public name; None for any other."""
    known = getattr(nyang_edu, name) if name in nyang_edu.__all__ else None
    if isinstance(known, type):
        return known if issubclass(known, nyang_edu.NyangModel) else None
    drawn = inspect.isfunction(known) and [*inspect.signature(known).parameters] == ["shape", "rng"]
    return known if drawn else None


class _Describer:
    """Turns models and their arguments into plain values; numbers each model."""

    def __init__(self):
        self.numbers = {}

    def model(self, model):
        """Describe a model, or say that it is one described before."""
        if id(model) in self.numbers:
            return {"again": self.numbers[id(model)]}
        name = type(model).__name__
        if _public(name) is not type(model):
            raise NotDescribable(f"{name} is a class of your own")
        args, kwargs = model._made_with
        spec = {"class": name, "args": [self.value(one) for one in args],
                "kwargs": {key: self.value(one) for key, one in kwargs.items()
                           if not isinstance(one, np.random.Generator)}}
        self.numbers[id(model)] = len(self.numbers)  # in the order in which they are built
        return spec

    def value(self, value):
        """Describe an argument."""
        if isinstance(value, np.generic):
            value = value.item()
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, np.random.Generator):
            return None
        if isinstance(value, nyang_edu.NyangModel):
            return self.model(value)
        if type(value) is list:
            return [self.value(one) for one in value]
        if type(value) is tuple:
            return {"tuple": [self.value(one) for one in value]}
        if type(value) is dict:
            return {"dict": [[self.value(key), self.value(one)] for key, one in value.items()]}
        name = getattr(value, "__name__", None)
        if name and _public(name) is value:
            return {"name": name}
        raise NotDescribable(f"an argument is {name or type(value).__name__}, which nyang_edu does "
                             "not have under that name")


def rebuild(spec, elements):
    """Build a model from its description; its weights are zeros, ready to be loaded.

    Args:
        spec: as describe returns it.
        elements: the number of elements that the model's arrays have together.

    Raises:
        ValueError: for a class that is no public model of nyang_edu, a broken description, or a
            model with more elements.
    """
    builder = _Builder(elements)
    model = builder.value(spec)
    if not isinstance(model, nyang_edu.NyangModel):
        raise ValueError("an architecture must describe a model")
    for _, layer in model.named_layers():
        for name, value in vars(layer).items():
            if value is builder.rng:
                setattr(layer, name, np.random.default_rng())
    return model


class _Zeros(np.random.Generator):
    """A generator whose weights are zeros, for layers whose weights are loaded right after."""

    def __init__(self, elements):
        super().__init__(np.random.PCG64(0))
        self.left = 2 * elements  # an initialiser may draw more than it keeps

    def _zeros(self, size):
        self.left -= math.prod(size if isinstance(size, tuple) else (size or 1,))
        if self.left < 0:
            raise ValueError("its layers are larger than its weights")
        return np.zeros(size or ())

    def normal(self, loc=0.0, scale=1.0, size=None):
        """Return zeros, as if drawn."""
        return self._zeros(size)

    uniform = normal

    def standard_normal(self, size=None, *_, **__):
        """Return zeros, as if drawn."""
        return self._zeros(size)


class _Builder:
    """Builds models from plain values; a file that asks for too much is refused early."""

    def __init__(self, elements):
        self.elements, self.rng = elements, _Zeros(elements)
        self.models, self.sizes = [], {}

    def value(self, value):
        """Build an argument."""
        if isinstance(value, int) and abs(value) > max(self.elements, FREE_INTS):
            raise ValueError(f"the number {value} is larger than all its weights together")
        if isinstance(value, list):
            return [self.value(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "class" in value:
            return self.model(value["class"], value["args"], value["kwargs"])
        (kind, content), = value.items()
        return self.special(kind, content)

    def special(self, kind, content):
        """Build what JSON has no sign for."""
        if kind == "again":
            return self.models[content]
        if kind == "tuple":
            return tuple(self.value(content))
        if kind == "dict":
            return {self.value(key): self.value(one) for key, one in content}
        known = _public(content) if kind == "name" else None
        if known is None:
            raise ValueError(f"nyang_edu has no public layer or initialiser {content!r:.80}")
        return known

    def model(self, name, args, kwargs):
        """Build a public model of this package."""
        kind = _public(name)
        if not (isinstance(kind, type) and issubclass(kind, nyang_edu.NyangModel)):
            raise ValueError(f"nyang_edu has no public model class {name!r:.80}")
        args, kwargs = self.value(args), {key: self.value(one) for key, one in kwargs.items()}
        signature = inspect.signature(kind.__init__)
        given = signature.bind_partial(None, *args, **kwargs)
        if "rng" in signature.parameters:
            given.arguments["rng"] = self.rng
        model = kind(*given.args[1:], **given.kwargs)
        self.sizes |= {id(array): array.size for _, array in model.named_arrays()}
        if sum(self.sizes.values()) > self.elements:
            raise ValueError("its layers are larger than its weights")
        self.models.append(model)
        return model
