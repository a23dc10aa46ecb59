"""Look over the shoulder of every layer while a model runs, and leave no trace afterwards."""

import contextlib

from nyang_edu.model.core import Parts

__all__ = ["holds_layers", "modes_kept", "watch_layers"]


def holds_layers(layer):
    """Tell a container from a layer that has no layers below it."""
    return any(isinstance(part, Parts) for _, part in layer.named_children())


@contextlib.contextmanager
def modes_kept(model):
    """Give every layer its training or eval mode back when the block ends, also after an error."""
    modes = [(layer, layer.training) for _, layer in model.named_layers()]
    try:
        yield model
    finally:
        for layer, training in modes:
            layer.training = training


@contextlib.contextmanager
def watch_layers(model, after, before=None, containers=False):
    """Call after(name, layer, inputs, out) whenever a layer without layers below it has run.

    Args:
        model: a NyangModel.
        after: takes the layer's dotted name ("" for the model itself), the layer, the tuple of
            its inputs and its output. A layer that stands in several places keeps its first name.
        before: called as before(name, layer, inputs) when a layer begins; None calls nothing.
        containers: whether layers with layers below them are watched too.
    """
    watched = {}
    for name, layer in model.named_layers():
        if containers or not holds_layers(layer):
            watched.setdefault(id(layer), (name, layer))
    try:
        for name, layer in watched.values():
            layer.forward = _telling(name, layer, after, before)
        yield
    finally:
        for _, layer in watched.values():
            vars(layer).pop("forward", None)


def _telling(name, layer, after, before):
    """Wrap a layer's forward so that each call is told."""
    forward = layer.forward

    def told(*inputs):
        if before is not None:
            before(name, layer, inputs)
        out = forward(*inputs)
        after(name, layer, inputs, out)
        return out

    return told
