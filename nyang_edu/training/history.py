"""What a training run leaves to look at: one row per epoch, with columns by name.

It is kept apart from the training itself so that it can be saved, compared and drawn alone.
"""

__all__ = ["History"]


class History:
    """The rows of a training run, and why it stopped.

    Columns: epoch (from 1), train_loss, valid_loss, valid_<metric>, lr (of the epoch's first
    step), seconds. history["valid_loss"] is a list with one entry per epoch. Two histories are
    equal where all but the seconds is, to the last bit.

    rows: dicts, oldest first. stopped: None while running, then "finished", "early stopping",
    "interrupted", or the name and message of the error that ended it.

    Raises:
        KeyError: for a column that no row has.
    """

    def __init__(self, rows=(), stopped=None):
        self.rows, self.stopped = [dict(row) for row in rows], stopped

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, name):
        if name not in self.names:
            raise KeyError(f"no column {name!r}: this history has {', '.join(self.names)}")
        return [row.get(name) for row in self.rows]

    def __eq__(self, other):
        return isinstance(other, History) and self._comparable() == other._comparable()

    def __repr__(self):
        best = f", best {self.watched} in epoch {self.best_epoch}" if self.best_epoch else ""
        return f"History({len(self)} epochs{best}, stopped: {self.stopped})"

    def __str__(self):
        names = [name for name in self.names if name != "seconds"]
        lines = [names] + [[_text(name, row.get(name)) for name in names] for row in self.rows]
        widths = [max(map(len, column)) for column in zip(*lines)]
        return "\n".join("  ".join(map(str.rjust, line, widths)) for line in lines)

    @property
    def names(self):
        """The columns' names, in the order in which they first appeared."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def watched(self):
        """The column that chooses the best epoch: valid_loss, or train_loss where there is none."""
        return "valid_loss" if "valid_loss" in self.names else "train_loss"

    @property
    def best_epoch(self):
        """The first epoch with the lowest watched loss; None where no loss is finite."""
        best, found = float("inf"), None
        for row in self.rows:
            loss = row.get(self.watched)
            if loss is not None and loss < best:  # never true of NaN
                best, found = loss, row["epoch"]
        return found

    def add(self, row):
        """Append one epoch; NumPy numbers become Python's."""
        self.rows.append({name: getattr(value, "item", lambda value=value: value)()
                          for name, value in row.items()})

    def state_dict(self):
        """Copy the history into plain containers."""
        return {"rows": [dict(row) for row in self.rows], "stopped": self.stopped}

    def load_state_dict(self, state):
        """Take over what state_dict returned."""
        self.rows, self.stopped = [dict(row) for row in state["rows"]], state["stopped"]

    def panels(self):
        """Group what can be drawn: the losses, then the other measures where there are any."""
        measures = [name for name in self.names if name not in ("epoch", "lr", "seconds")]
        losses = [name for name in measures if name.endswith("_loss")] or ["train_loss"]
        return [part for part in (losses, [m for m in measures if m not in losses]) if part]

    def plot(self, axes=None):
        """Draw the losses, and beside them the measures, over the epochs.

        Args:
            axes: as many matplotlib Axes as there are panels(); None makes a new figure.
        """
        if axes is None:
            import matplotlib.pyplot as plt

            _, axes = plt.subplots(1, len(self.panels()), squeeze=False,
                                   figsize=(4.5 * len(self.panels()), 3))
            axes = axes[0]
        for ax, names in zip(axes, self.panels()):
            self._draw(ax, names)

    def _draw(self, ax, names):
        for name in names:
            drawn = [(row["epoch"], row[name]) for row in self.rows if row.get(name) is not None]
            ax.plot(*zip(*drawn), marker="." if len(drawn) < 20 else "", label=name)
        if self.best_epoch:
            ax.axvline(self.best_epoch, color="0.6", lw=1, ls=":")
        ax.set(xlabel="epoch", title="loss" if names[0].endswith("_loss") else "measures")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()

    def _comparable(self):
        """Everything but the seconds, as text: NaN equals NaN there, and no bit is lost."""
        rows = [{name: value for name, value in row.items() if name != "seconds"}
                for row in self.rows]
        return repr((rows, self.stopped))


def _text(name, value):
    if not isinstance(value, float):
        return "" if value is None else str(value)
    return f"{value:.3g}" if name == "lr" else f"{value:.4f}"
