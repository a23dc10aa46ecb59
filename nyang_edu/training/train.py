"""Training as one call: epochs, validation, the best model, checkpoints, and a report of it all.

The passes over the batches are training/loop.py's; what is kept between epochs, and restored
after a stop of any kind, is training/checkpoint.py's.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field

import numpy as np

from nyang_edu.evaluation.metrics import accuracy
from nyang_edu.model.core import NyangModel
from nyang_edu.training.checkpoint import Checkpoint
from nyang_edu.training.history import History
from nyang_edu.training.live_plot import LivePlot
from nyang_edu.training.loggers import LoggerGroup, file_loggers
from nyang_edu.training.loop import (
    EarlyStopping,
    NotFinite,
    first_bad_layer,
    train_batches,
    validate,
)
from nyang_edu.training.loss import Loss
from nyang_edu.training.optimizer import Optimizer
from nyang_edu.utility.front_end import progress_bar

__all__ = ["nyang_train"]


def nyang_train(model, optimizer, loss, train_loader, valid_loader=None, epochs=10, *,
                patience=None, scheduler=None, save_path=None, resume=False, metrics=None,
                clip_norm=None, loggers=None, plot="auto", progress=True):
    """Train a model, keep its best epoch, and return the History.

    The best epoch has the lowest validation loss, or training loss where there is no
    valid_loader. The model is left in eval mode: with patience, holding the best epoch's weights,
    else the last finished epoch's. The same holds after Ctrl-C (history.stopped is "interrupted")
    and after an error; what half an epoch did is undone. Two runs from one seed are equal to the
    last bit, and so is a run that was stopped, or killed, and resumed.

    Args:
        model: a NyangModel; optimizer: over its parameters; loss: a Loss.
        train_loader: anything that can be iterated over again and again and gives (x, y), as
            valid_loader. Their state_dict is kept where they have one.
        epochs: how many in all, those before a resume included.
        patience: stop after so many epochs in a row without a better loss; None never stops.
        scheduler: moved as its `every` says: per "epoch", or per "step".
        save_path: file of the best model, as in "runs/digits.pickle"; beside it goes
            digits.last.pickle, which resume=True continues from where it exists.
        metrics: functions of (targets, outputs), or a dict that names them; None is accuracy
            where the outputs are logits of classes.
        clip_norm: the largest norm of all gradients together; None clips nothing.
        loggers: None writes a CSV and a JSONL file beside save_path. Further ones:
            [*file_loggers(save_path), WandbLogger()].
        plot: live curves; "auto" on a notebook's screen. progress: bars, where someone watches.

    Raises:
        NotFinite: with the step, the layer and .history, where a loss or a weight stops being
            finite; the last good epoch is back in the model, and saved.
        ValueError, TypeError: where the parts do not fit each other, or the checkpoint.
    """
    _expect_fit(model, optimizer, scheduler, train_loader, valid_loader, epochs)
    if resume and save_path is None:
        raise ValueError("resume=True continues from save_path, received save_path=None")
    if loggers is None:
        loggers = file_loggers(save_path) if save_path is not None else []
    stopping = EarlyStopping(patience)
    run = _Run(
        model, optimizer, loss, train_loader, valid_loader, epochs, scheduler, _named(metrics),
        clip_norm, progress, stopping, LoggerGroup([*loggers, *LivePlot.wanted(plot)]),
        Checkpoint(save_path, model, optimizer, scheduler, stopping, (train_loader, valid_loader)))
    run.begin(resume)
    run.go()
    return run.history


@dataclass
class _Run:
    """One call of nyang_train: its parts, and the epochs that it runs with them."""

    model: NyangModel
    optimizer: Optimizer
    loss: Loss
    train_loader: Iterable
    valid_loader: Iterable | None
    epochs: int
    scheduler: object | None
    metrics: dict | None
    clip_norm: float | None
    progress: bool
    stopping: EarlyStopping
    reports: LoggerGroup
    checkpoint: Checkpoint
    history: History = field(default_factory=History)

    def begin(self, resume):
        """Take up a checkpoint, or write a first one."""
        self.checkpoint.take(self.history)
        if not (resume and self.checkpoint.resume(self.history)):
            self.checkpoint.write()  # what cannot be saved is found now, not after an epoch
        if self.valid_loader is None and (self.checkpoint.path or self.stopping.patience):
            print("nyang_train: without a valid_loader the best epoch is that of the lowest "
                  "training loss")

    def go(self):
        """Run the epochs that are left; however they end, leave all parts as agreed."""
        try:
            self.reports.start(self.config())
            while len(self.history) < self.epochs and not self.stopping.stop:
                self.epoch()
            self.end("early stopping" if self.stopping.stop else "finished")
        except KeyboardInterrupt:
            self.checkpoint.put_back(self.history)
            self.checkpoint.write()  # it may have come between remembering and writing
            self.end("interrupted")
        except Exception as error:
            if isinstance(error, NotFinite):
                error.args, error.history = (self.explain(error),), self.history
            self.checkpoint.put_back(self.history)
            self.end(f"{type(error).__name__}: {error}")
            raise

    def epoch(self):
        """Train, validate, decide, remember, report."""
        started, lr = time.perf_counter(), self.optimizer.lr
        row = {"epoch": len(self.history) + 1, "train_loss": self.train()}
        if self.valid_loader is not None:
            row |= self.measure()
        watched = row.get("valid_loss", row["train_loss"])
        if self.scheduler is not None and self.scheduler.every == "epoch":
            self.move_schedule(watched)
        improved = self.stopping.update(watched)
        self.history.add(row | {"lr": lr, "seconds": time.perf_counter() - started})
        self.checkpoint.take(self.history, improved)
        self.checkpoint.write()
        self.reports.log(self.history.rows[-1])

    def train(self):
        """One pass of training; return the mean loss per sample."""
        self.step = 0
        with closing(self.watch(self.train_loader, "training")) as batches:
            mean = train_batches(self.model, self.loss, self.optimizer, batches,
                                 clip_norm=self.clip_norm, after_step=self.after_step)
        # The last step can break weights that no loss has seen yet.
        if not all(np.isfinite(one.data).all() for one in self.model.parameters()):
            raise NotFinite(self.step, mean)
        return mean

    def measure(self):
        """Return the validation loss and the metrics as columns."""
        with closing(self.watch(self.valid_loader, "validation")) as batches:
            mean, outputs, targets = validate(self.model, self.loss, batches)
        if not np.isfinite(mean):
            raise NotFinite(self.step, mean)
        metrics = self.metrics
        if metrics is None:
            metrics = {"accuracy": accuracy} if _are_classes(outputs, targets) else {}
        return {"valid_loss": mean} | {f"valid_{name}": float(metric(targets, outputs))
                                       for name, metric in metrics.items()}

    def watch(self, loader, phase):
        """Yield a loader's batches with a bar, and remember the one in work.

        Closed, it ends the bar and the loader's threads at once, also behind an error.
        """
        self.phase, text = phase, f"epoch {len(self.history) + 1}/{self.epochs} {phase}"
        self.bar = progress_bar(loader, text, self.progress)
        for x, y in self.bar:
            self.batch = x
            yield x, y

    def after_step(self, value):
        """Count a step of training, move a schedule of steps, show the loss."""
        self.step += 1
        if self.scheduler is not None and self.scheduler.every == "step":
            self.move_schedule(value)
        self.bar.set_postfix_str(f"loss {value:.4f}", refresh=False)

    def move_schedule(self, value):
        """Step the scheduler, with the loss at hand where it asks for one."""
        self.scheduler.step(*([value] if self.scheduler.needs_metric else []))

    def explain(self, error):
        """Say when, where and what now, for a loss or a weight that is not finite."""
        what = "a weight" if np.isfinite(error.value) else f"the {self.phase} loss"
        saved = f", saved as {self.checkpoint.last_path}" if self.checkpoint.path else ""
        return (f"{what} is not finite at step {error.step} of epoch {len(self.history) + 1}: "
                f"{self.suspect()}. The model is back at the end of epoch {len(self.history)}"
                f"{saved}. A lower learning rate, a warm-up or clip_norm=1.0 often helps")

    def suspect(self):
        """Name what is no longer finite: the data, a layer, or the loss itself."""
        batches = [self.batch]
        if self.phase == "validation":  # its mean does not tell which batch it was
            batches = (x for x, _ in self.valid_loader)
            self.model.eval()
        for x in batches:
            layer = first_bad_layer(self.model, x)
            if layer == "input":
                return "the batch itself holds NaN or infinity, look at the data"
            if layer is not None:
                return f"it begins in layer {layer!r}" if layer else "it begins in the model itself"
        return "every layer's output is finite, look at the targets and the loss"

    def end(self, reason):
        """Load the best weights where asked for, leave all parts clean, close the reports."""
        self.history.stopped = reason
        if self.stopping.patience is not None and self.checkpoint.best is not None:
            self.model.load_state_dict(self.checkpoint.best)
        for _, part in (*self.model.named_layers(), ("", self.loss)):
            part.forget()
        self.model.eval()
        self.batch = None
        self.reports.finish(self.history)

    def config(self):
        """Describe the run to the loggers; "rows" are the epochs done before."""
        parts = {"model": self.model, "optimizer": self.optimizer, "loss": self.loss,
                 "scheduler": self.scheduler}
        return {name: None if part is None else type(part).__name__
                for name, part in parts.items()} | {
            "parameters": sum(one.data.size for one in self.model.parameters()),
            "lr": self.optimizer.lr, "epochs": self.epochs, "patience": self.stopping.patience,
            "clip_norm": self.clip_norm, "rows": self.history.state_dict()["rows"]}


def _named(metrics):
    """Return the metrics as a dict by name; None stays None, for a choice by the outputs."""
    if metrics is None or isinstance(metrics, dict):
        return metrics
    for metric in metrics:
        if not getattr(metric, "__name__", "<").isidentifier():
            raise ValueError(f"a metric without a name of its own, received {metric!r}: "
                             'pass a dict, as in metrics={"top_3": lambda targets, outputs: …}')
    return {metric.__name__: metric for metric in metrics}


def _are_classes(outputs, targets):
    """Tell whether outputs are logits: (N, C) for labels or one-hot rows, (N, 1) for 0 and 1."""
    if outputs.ndim != 2 or targets.ndim == 1:
        return outputs.ndim == 2 and targets.dtype.kind in "iu"
    whole = targets.shape == outputs.shape and np.isin(targets, (0, 1)).all()
    return bool(whole and (targets.shape[1] == 1 or (targets.sum(axis=1) == 1).all()))


def _expect_fit(model, optimizer, scheduler, train_loader, valid_loader, epochs):
    """Raise where the parts of a run cannot belong together."""
    for name, loader in (("train_loader", train_loader), ("valid_loader", valid_loader)):
        if isinstance(loader, Iterator):
            raise TypeError(f"{name} is a {type(loader).__name__}, which is empty after one epoch: "
                            "pass a NyangDataLoader, or a list of batches (x, y)")
    own = {id(one) for one in model.parameters()}
    if not any(id(one) in own for one in optimizer.parameters):
        raise ValueError("the optimizer moves no parameter of this model: "
                         "build it with model.parameters()")
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError("the scheduler belongs to another optimizer: build it with this one")
    if not isinstance(epochs, int) or epochs < 0:
        raise ValueError(f"epochs is a whole number of at least 0, received {epochs!r}")
