# Exported from chapter 03. Change the notebook, then export again.
"""The contract of every layer: forward saves, backward takes back and adds to the gradients."""

import contextlib

import numpy as np


class Memory:
    """What a layer's forward leaves for its backward: a stack, last in, first out."""

    remembering = True

    def save(self, *values):
        """Push the values of one forward call, unless remembering is off."""
        if Memory.remembering:
            self.__dict__.setdefault("_stack", []).append(values)

    def saved(self):
        """Pop the values of the latest forward call, a single one without its tuple.

        Raises:
            RuntimeError: where nothing is left, with the class's name.
        """
        if not self.__dict__.get("_stack"):
            raise RuntimeError(
                f"{type(self).__name__}.backward was called without a matching forward: "
                "each backward uses up what one forward saved"
            )
        values = self._stack.pop()
        return values[0] if len(values) == 1 else values

    def forget(self):
        """Drop everything that is saved."""
        self.__dict__.pop("_stack", None)


class Parameter:
    """An array that is learned, and its gradient of equal shape and dtype."""

    def __init__(self, data):
        self.data = np.asarray(data)
        self.grad = np.zeros_like(self.data)

    def __repr__(self):
        return f"Parameter(shape={self.data.shape}, dtype={self.data.dtype})"


@contextlib.contextmanager
def no_memory():
    """Run forward passes without saving anything: for inference, not for training."""
    before, Memory.remembering = Memory.remembering, False
    try:
        yield
    finally:
        Memory.remembering = before


class Parts(Memory):
    """Finds the layers and parameters of a model by walking over its attributes.

    ``buffers`` names the attributes whose arrays belong to the state but are not learned.
    """

    buffers = ()

    def named_children(self):
        """Yield (name, value) for each parameter and layer held by an attribute."""
        for name, value in vars(self).items():
            entries = enumerate(value) if isinstance(value, (list, tuple)) else [("", value)]
            for key, part in entries:
                if isinstance(part, (Parameter, Parts)):
                    yield (f"{name}.{key}" if key != "" else name), part

    def named_layers(self, prefix=""):
        """Yield (name, layer) for this layer and all below it, in definition order."""
        yield prefix.removesuffix("."), self
        for name, part in self.named_children():
            if isinstance(part, Parts):
                yield from part.named_layers(f"{prefix}{name}.")

    def named_parameters(self):
        """Yield (name, Parameter), each once, even where a layer is used twice."""
        seen = set()
        for prefix, layer in self.named_layers():
            for name, part in layer.named_children():
                if isinstance(part, Parameter) and id(part) not in seen:
                    seen.add(id(part))
                    yield (f"{prefix}.{name}" if prefix else name), part

    def parameters(self):
        """List every Parameter once."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_buffers(self):
        """Yield (name, layer, attribute) of each array that is kept but not learned, each once."""
        seen = set()
        for prefix, layer in self.named_layers():
            if id(layer) not in seen:
                seen.add(id(layer))
                for attribute in layer.buffers:
                    yield (f"{prefix}.{attribute}" if prefix else attribute), layer, attribute


class NyangModel(Parts):
    """The base of every layer and model: forward, backward, and the state they share."""

    training = True

    def __new__(cls, *args, **kwargs):
        """Make the object and remember what with: a saved model says how to build it again."""
        if (args or kwargs) and cls.__init__ is object.__init__:
            raise TypeError(f"{cls.__name__} has no __init__ and takes no arguments, received "
                            f"{', '.join(map(str, [*args, *kwargs]))}: write {cls.__name__}()")
        model = super().__new__(cls)
        model._made_with = args, kwargs
        return model

    def forward(self, *inputs):
        """Compute the output; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self, dout):
        """Return the gradient by the input and add to those of the parameters."""
        raise TypeError(f"{type(self).__name__} does not define backward")

    def __call__(self, *inputs):
        """Start a fresh pass: forget what earlier ones saved, then forward."""
        for _, layer in self.named_layers():
            layer.forget()
        return self.forward(*inputs)

    def zero_grad(self):
        """Set every gradient to zero."""
        for parameter in self.parameters():
            parameter.grad[...] = 0

    def train(self, training=True):
        """Switch to training behaviour; returns self."""
        for _, layer in self.named_layers():
            layer.training = training
        return self

    def eval(self):
        """Switch to inference behaviour; returns self."""
        return self.train(False)

    def summary(self, input_shape, depth=None):
        """Return a table of shapes and costs for one sample of input_shape, as (1, 28, 28)."""
        from nyang_edu.model.summary import summarize

        return summarize(self, input_shape, depth)

    def to(self, dtype):
        """Convert parameters and float buffers to a dtype, as np.float64 for gradient checks."""
        for parameter in self.parameters():
            parameter.data = parameter.data.astype(dtype)
            parameter.grad = parameter.grad.astype(dtype)
        for _, layer, attribute in self.named_buffers():
            buffer = getattr(layer, attribute)
            if buffer.dtype.kind == "f":  # a counter stays an integer
                setattr(layer, attribute, buffer.astype(dtype))
        return self

    def named_arrays(self):
        """Yield (name, array) of the state: the parameters, then the buffers."""
        for name, part in self.named_parameters():
            yield name, part.data
        for name, layer, attribute in self.named_buffers():
            yield name, getattr(layer, attribute)

    def state_dict(self):
        """Copy parameters and buffers into a dict of arrays, with PyTorch's names."""
        return {name: array.copy() for name, array in self.named_arrays()}

    def load_state_dict(self, state):
        """Copy arrays into parameters and buffers; nothing changes unless all of them fit.

        Raises:
            ValueError: with every missing, unexpected or misshapen name.
        """
        own = dict(self.named_arrays())
        wrong = [f"missing {name}" for name in own if name not in state]
        wrong += [f"unexpected {name}" for name in state if name not in own]
        wrong += [f"{name} has shape {np.shape(state[name])}, expected {array.shape}"
                  for name, array in own.items()
                  if name in state and np.shape(state[name]) != array.shape]
        if wrong:
            raise ValueError(f"{type(self).__name__} cannot load this state: {'; '.join(wrong)}")
        for name, array in own.items():
            array[...] = state[name]


def expect_input(layer, x, *shape, dtype=None):
    """Raise where an input is not as a layer needs it.

    Args:
        layer: the layer that speaks.
        x: its input.
        shape: one entry per axis: a number that must match, or a letter for a free size.
        dtype: what x must hold; None accepts any.

    Raises:
        ValueError: for another number of axes or another size.
        TypeError: for another dtype: float32 and float64 never mix silently.
    """
    name, have = type(layer).__name__, np.shape(x)
    fits = len(have) == len(shape) and all(
        isinstance(want, str) or want == size for want, size in zip(shape, have, strict=True))
    if not fits:
        want = ", ".join(str(size) for size in shape)
        raise ValueError(f"{name} expects an input of shape ({want}), received {have}")
    if dtype is not None and x.dtype != dtype:
        raise TypeError(f"{name} holds {dtype} parameters, received {x.dtype}: "
                        f"convert the input with x.astype(np.{dtype})")
