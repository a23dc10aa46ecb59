# Exported from chapter 06. Change the notebook, then export again.
"""Layers in a row: forward from first to last, backward from last to first."""

import numpy as np  # noqa: F401  for your own code

from nyang_edu.model.core import NyangModel


class NyangFlow(NyangModel):
    """Run layers one after another: out = layer_k(… layer_1(layer_0(x))).

    Shapes: x as the first layer takes it → out as the last layer gives it.
    flow[i] is a layer, flow[i:j] a flow of several, len(flow) their number.

    Raises:
        TypeError: where a part is not a NyangModel.
    """

    def __init__(self, *layers):
        for place, layer in enumerate(layers):
            if not isinstance(layer, NyangModel):
                raise TypeError(f"NyangFlow takes layers, received {type(layer).__name__} at place "
                                f"{place}: write NyangFlow(a, b) for two layers a and b")
        self.layers = list(layers)

    def __len__(self):
        return len(self.layers)

    def __getitem__(self, place):
        chosen = self.layers[place]
        return NyangFlow(*chosen) if isinstance(place, slice) else chosen

    def named_children(self):
        """Yield (name, layer) with the names "0", "1", … of PyTorch's Sequential."""
        for place, layer in enumerate(self.layers):
            yield str(place), layer

    def forward(self, x):
        """Return the last layer's output."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def backward(self, dout):
        """Return the gradient by the flow's input; each layer adds to its own gradients."""
        for layer in reversed(self.layers):
            dout = layer.backward(dout)
        return dout


class Flatten(NyangModel):
    """Join all axes but the first: each sample becomes one row, in memory order.

    Shapes: x (N, d1, d2, …) → out (N, d1·d2·…), a fresh array; back again for the gradient.
    """

    def forward(self, x):
        """Return out (N, everything else)."""
        self.save(x.shape)
        return x.reshape(len(x), -1).copy()  # (N, d1·d2·…)

    def backward(self, dout):
        """Return dx in the shape that forward received."""
        shape = self.saved()
        return dout.reshape(shape).copy()  # (N, d1, d2, …)
