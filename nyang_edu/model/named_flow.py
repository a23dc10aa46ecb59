# Exported from chapter 15. Change the notebook, then export again.
"""A flow whose parts have names, so that a state_dict reads "features.0.weight"."""

from nyang_edu.model.flow import NyangFlow


class NamedFlow(NyangFlow):
    """Run named parts in a row: NamedFlow(features=…, classifier=…).

    Shapes: as NyangFlow. state_dict and summary show the names instead of places.

    Raises:
        TypeError: where a part is not a NyangModel.
    """

    def __init__(self, **parts):
        super().__init__(*parts.values())
        self.names = list(parts)

    def named_children(self):
        """Yield (name, layer) in the order of the flow."""
        yield from zip(self.names, self.layers, strict=True)
