"""Look over the shoulder of every layer while a model runs, and leave no trace afterwards."""

import contextlib

from nyang_edu.model.core import Parts

__all__ = ["watch_layers"]


@contextlib.contextmanager
def watch_layers(model, after):
    """Call after(name, layer, inputs, out) whenever a layer without layers below it has run.

    Args:
        model: a NyangModel.
        after: takes the layer's dotted name ("" for the model itself), the layer, the tuple of
            its inputs and its output. A layer that stands in several places keeps its first name.
    """
    leaves = {}
    for name, layer in model.named_layers():
        if not any(isinstance(part, Parts) for _, part in layer.named_children()):
            leaves.setdefault(id(layer), (name, layer))
    try:
        for name, layer in leaves.values():
            layer.forward = _telling(name, layer, layer.forward, after)
        yield
    finally:
        for _, layer in leaves.values():
            vars(layer).pop("forward", None)


def _telling(name, layer, forward, after):
    """Wrap a forward so that ``after`` hears of each call."""
    def told(*inputs):
        out = forward(*inputs)
        after(name, layer, inputs, out)
        return out
    return told
