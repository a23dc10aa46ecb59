"""What a model costs, stage by stage: shapes, parameters, multiply-adds and memory.

One forward pass of zeros is watched, so that no layer has to know its own output shape.
"""

import numpy as np

from nyang_edu.model.core import no_memory
from nyang_edu.model.watch import holds_layers, modes_kept, watch_layers

__all__ = ["Summary", "summarize"]

HEADER = "name", "layer", "output", "parameters", "multiply-adds", "KiB"


class Summary:
    """A table with one row per layer; printed as text, shown as a table in a notebook.

    Attributes:
        rows: a list of dicts with name, layer, output (the shape for one sample), parameters,
            multiply_adds (for one sample), memory (bytes of the output of one sample).
        parameters, multiply_adds, memory: the sums.
    """

    def __init__(self, rows, parameters):
        self.rows, self.parameters = rows, parameters
        self.multiply_adds = sum(row["multiply_adds"] for row in rows)
        self.memory = sum(row["memory"] for row in rows)

    def cells(self):
        """Return the table as lists of strings, the header first and the sums last."""
        body = [[row["name"], row["layer"], "×".join(map(str, row["output"])),
                 f"{row['parameters']:,}", f"{row['multiply_adds']:,}",
                 f"{row['memory'] / 1024:,.1f}"] for row in self.rows]
        total = ["all", "", "", f"{self.parameters:,}", f"{self.multiply_adds:,}",
                 f"{self.memory / 1024:,.1f}"]
        return [list(HEADER), *body, total]

    def __repr__(self):
        cells = self.cells()
        widths = [max(len(row[k]) for row in cells) for k in range(len(HEADER))]
        return "\n".join("  ".join(cell.ljust(width) if k < 3 else cell.rjust(width)
                                   for k, (cell, width) in enumerate(zip(row, widths, strict=True))
                                   ).rstrip() for row in cells)


def summarize(model, input_shape, depth=None):
    """Watch one forward pass and count.

    Args:
        model: a NyangModel; its mode, memory and running statistics stay as they are.
        input_shape: the shape of one sample, as (1, 28, 28), without the batch.
        depth: how many parts of a layer's dotted name make a row; None gives each layer its own.

    Returns:
        A Summary. A multiply-add is one product with its addition in Linear and the
        convolutions; the other layers' few operations per element are not counted.

    Raises:
        ValueError: where the model does not accept such an input, from the layer concerned.
    """
    dtype = next((one.data.dtype for one in model.parameters()), np.dtype(np.float32))
    rows, counted = {}, set()

    def note(name, layer, inputs, out):
        key = ".".join(name.split(".")[:depth])
        if holds_layers(layer):  # it adds nothing of its own, but its output is the row's
            if key == name and key in rows:
                rows[key]["output"] = out.shape[1:]
            return
        row = rows.setdefault(key, dict(name=key, layer=_kind(model, key), output=None,
                                        parameters=0, multiply_adds=0, memory=0))
        fresh = [one for one in layer.parameters() if id(one) not in counted]
        counted.update(map(id, fresh))
        row["output"] = out.shape[1:]
        row["parameters"] += sum(one.data.size for one in fresh)
        row["multiply_adds"] += _multiply_adds(layer, inputs[0], out)
        row["memory"] += out.nbytes

    with modes_kept(model), no_memory(), watch_layers(model, note, containers=True):
        model.eval()
        model(np.zeros((1, *input_shape), dtype))
    total = sum(one.data.size for one in model.parameters())
    return Summary(list(rows.values()), total)


def _kind(model, name):
    """The class name of the layer or container called so; "" for a list of layers."""
    return next((type(part).__name__ for own, part in model.named_layers() if own == name), "")


def _multiply_adds(layer, x, out):
    """Products in one sample: every weight works once at every position of its map."""
    moving = x if type(layer).__name__.startswith("ConvTranspose") else out
    positions = moving[0].size // moving.shape[1]
    return sum(one.data.size * positions for one in layer.parameters() if one.data.ndim > 1)
