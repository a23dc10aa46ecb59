"""A picture of the training so far, redrawn in place in the notebook after each epoch."""

import io

from nyang_edu.training.history import History
from nyang_edu.utility.front_end import has_front_end, in_kernel


class LivePlot:
    """A logger that draws instead of writing: one image output, replaced at each epoch.

    The image is made without pyplot, so that the notebook does not show it a second time.
    """

    def __init__(self):
        self.rows, self.handle = [], None

    @classmethod
    def wanted(cls, plot):
        """Return [LivePlot()] or []: plot is True, False, or "auto" (on a notebook's screen only).

        Raises:
            ValueError: for another value, or for True outside of a notebook.
        """
        if plot not in (True, False, "auto"):
            raise ValueError(f'plot is True, False or "auto", received {plot!r}')
        if plot is True and not in_kernel():
            raise ValueError("plot=True draws in a notebook, and this process is none: "
                             "call history.plot() afterwards")
        return [cls()] if plot is True or (plot == "auto" and has_front_end()) else []

    def start(self, config):
        """Draw the epochs done before, where there are any."""
        self.rows = list(config["rows"])
        if self.rows:
            self.show()

    def log(self, row):
        """Redraw with one more epoch."""
        self.rows.append(row)
        self.show()

    def show(self):
        """Put the picture into the notebook, in the place of the one before."""
        from IPython.display import Image, display

        image = Image(data=self.image(), format="png")
        if self.handle is None:
            self.handle = display(image, display_id=True)
        else:
            self.handle.update(image)

    def finish(self, history):
        """Leave the last picture where it is."""

    def image(self):
        """Return the picture of the rows so far as PNG bytes."""
        from matplotlib.figure import Figure

        history, file = History(self.rows), io.BytesIO()
        panels = len(history.panels())
        figure = Figure(figsize=(4.5 * panels, 3), layout="constrained")
        history.plot(figure.subplots(1, panels, squeeze=False)[0])
        figure.savefig(file, format="png", dpi=80)
        return file.getvalue()
