"""Where a training run reports to: files, Weights & Biases, or anything with three methods.

A report must never cost a training run: a logger that fails is warned about and passed over.
"""

import csv
import io
import json
import math
import warnings
from importlib.util import find_spec
from pathlib import Path

from nyang_edu.utility.atomic import replacing

__all__ = ["CSVLogger", "JSONLLogger", "Logger", "WandbLogger", "file_loggers"]


class Logger:
    """The protocol of a logger; one of your own needs these three methods, not this base.

    nyang_train calls start once, log after each epoch, finish at the end, however it ends.
    """

    def start(self, config):
        """Begin: config holds the run's settings and, under "rows", the epochs done before."""

    def log(self, row):
        """Take one epoch's row of the History, a dict."""

    def finish(self, history):
        """End: the whole History, its reason to stop included."""


class FileLogger(Logger):
    """Keep a file that holds one line per epoch; a subclass defines begin() and line(row).

    At the start the file is written anew from the epochs done before, so that a resumed run
    leaves no row out and none twice, whatever a killed process left in it.
    """

    def __init__(self, path):
        self.path, self.rows = Path(path), []

    def start(self, config):
        """Write the file with the rows of the epochs done before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.rewrite(config["rows"])

    def log(self, row):
        """Append one line; where the row has another set of columns, write all anew."""
        if not self.rows or list(row) != list(self.rows[-1]):
            return self.rewrite([*self.rows, row])
        self.rows.append(row)
        with open(self.path, "ab") as file:
            file.write(f"{self.line(row)}\n".encode())

    def finish(self, history):
        """Write the file anew: a stop by hand may have come in the middle of a line."""
        self.rewrite(history.rows)

    def rewrite(self, rows):
        """Replace the file by these rows, as a whole or not at all."""
        self.rows = [dict(row) for row in rows]
        lines = [*self.begin(), *map(self.line, self.rows)]
        with replacing(self.path) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())

    def begin(self):
        """Return the lines before the first row."""
        return []


class CSVLogger(FileLogger):
    """One CSV line per epoch below a line of names; floats keep every bit."""

    @property
    def names(self):
        """The columns of all rows so far."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    def begin(self):
        """Return the line of names; none before the first row."""
        return [_csv_line(self.names)] if self.rows else []

    def line(self, row):
        """Return one row; a value that it lacks is left empty."""
        return _csv_line([row.get(name) for name in self.names])


class JSONLLogger(FileLogger):
    """One JSON object per line and epoch; NaN and infinity, which JSON lacks, become null."""

    def line(self, row):
        """Return one row as JSON."""
        finite = {name: None if isinstance(value, float) and not math.isfinite(value) else value
                  for name, value in row.items()}
        return json.dumps(finite, ensure_ascii=False, allow_nan=False)


class WandbLogger(Logger):
    """Report to Weights & Biases (the extra `wandb`); mode="offline" writes to files only.

    settings go to wandb.init: name, dir, mode, tags, … Give id="…", resume="allow" to continue
    one and the same run after a resume.

    Raises:
        ImportError: where the package wandb is not installed.
    """

    def __init__(self, project="nyang_edu", **settings):
        if not find_spec("wandb"):
            raise ImportError("WandbLogger needs the package wandb: "
                              "install it with `pip install 'nyang_edu[wandb]'`")
        self.settings, self.run = {"project": project, **settings}, None

    def start(self, config):
        """Open the run with the settings of the training."""
        import wandb

        plain = {name: value for name, value in config.items() if name != "rows"}
        self.run = wandb.init(config=plain, **self.settings)

    def log(self, row):
        """Send one row, with the epoch as its step."""
        self.run.log(dict(row), step=row["epoch"])

    def finish(self, history):
        """Note the best epoch and why the run stopped, and close it."""
        if self.run:  # Ctrl-C can come before it is open
            self.run.summary.update({"best_epoch": history.best_epoch, "stopped": history.stopped})
            self.run.finish()


class LoggerGroup(Logger):
    """Several loggers as one: what one raises is warned about once, and stops nothing.

    One that fails at the start is left out; one that fails later is tried again.

    Raises:
        TypeError: where one lacks a method of the protocol.
    """

    def __init__(self, loggers):
        self.loggers, self.warned = list(loggers), set()
        for logger in self.loggers:
            for method in ("start", "log", "finish"):
                if not callable(getattr(logger, method, None)):
                    raise TypeError(f"a logger has the methods start(config), log(row) and "
                                    f"finish(history); {type(logger).__name__} lacks {method}: "
                                    "derive it from Logger, which has all three")

    def start(self, config):
        """Start all; keep those that did."""
        self.loggers = [one for one in self.loggers if self._try(one, "start", config)]

    def log(self, row):
        """Hand a copy of the row to each."""
        for logger in self.loggers:
            self._try(logger, "log", dict(row))

    def finish(self, history):
        """Finish each once, also where Ctrl-C ends one of them and this is called again."""
        while self.loggers:
            self._try(self.loggers.pop(0), "finish", history)

    def _try(self, logger, method, given):
        """Call a logger's method; return whether it did without an error."""
        try:
            getattr(logger, method)(given)
        except Exception as error:
            if id(logger) not in self.warned:
                self.warned.add(id(logger))
                warnings.warn(f"{type(logger).__name__}.{method} raised {type(error).__name__}: "
                              f"{error}; training goes on without its report",
                              RuntimeWarning, stacklevel=2)
            return False
        return True


def file_loggers(save_path):
    """List the loggers that write a CSV and a JSONL file beside save_path."""
    path = Path(save_path)
    return [CSVLogger(path.with_suffix(".csv")), JSONLLogger(path.with_suffix(".jsonl"))]


def _csv_line(values):
    """Return values as one CSV line without its end, quoted where they need it."""
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
