"""What a trained classifier answers, how often it is right, and where it is sure and wrong."""

from dataclasses import dataclass, field

import numpy as np

from nyang_edu.evaluation.metrics import (
    accuracy,
    class_report,
    confusion_matrix,
    f1_score,
    precision,
    recall,
)
from nyang_edu.model.activation import Softmax, sigmoid
from nyang_edu.model.core import NyangModel, no_memory
from nyang_edu.model.watch import modes_kept
from nyang_edu.utility.front_end import progress_bar
from nyang_edu.utility.save_load import nyang_load_model

__all__ = ["Inference", "nyang_inference"]

KEPT = 64  # inputs of so many mistakes are kept for the picture, however large the data set is


def nyang_inference(model_or_path, loader, *, class_list=None, progress=True):
    """Run a classifier over a loader, in eval mode and without memory.

    Args:
        model_or_path: a NyangModel that gives logits (N, C), or one logit (N, 1) or (N,); or the
            path of one that nyang_save_model wrote. Its mode is left as it was.
        loader: gives (x, y), with y integer labels or one-hot rows; or x alone.
        class_list: the classes' names; None numbers them.
        progress: a bar, where someone watches.

    Returns:
        an Inference.

    Raises:
        ValueError: for outputs of another shape, a loader without batches, or a class_list of
            another length.
    """
    model = (model_or_path if isinstance(model_or_path, NyangModel)
             else nyang_load_model(model_or_path))
    outputs, targets, mistakes = [], [], Mistakes()
    with modes_kept(model), no_memory():
        model.eval()
        for batch in progress_bar(loader, "inference", progress):
            x, y = batch if isinstance(batch, (tuple, list)) else (batch, None)
            outputs.append(model(x))
            if y is not None:
                targets.append(class_labels(y))
                mistakes.add(x, targets[-1], class_probabilities(outputs[-1]))
    if not outputs:
        raise ValueError("the loader gave no batch: nothing to infer from")
    return Inference(np.concatenate(outputs), np.concatenate(targets) if targets else None,
                     class_list, mistakes)


def class_probabilities(outputs):
    """Return probabilities (N, C): softmax of logits (N, C); sigmoid of one logit, as (N, 2).

    Raises:
        ValueError: for outputs of another shape.
    """
    if outputs.ndim == 1 or outputs.shape[1:] == (1,):
        logits = outputs.reshape(-1)
        return np.stack([sigmoid(-logits), sigmoid(logits)], axis=1)  # 1 - p would lose digits
    if outputs.ndim != 2:
        raise ValueError("nyang_inference is for classifiers, with outputs (N, C), (N, 1) or (N,); "
                         f"received {outputs.shape}")
    return Softmax(axis=1).forward(outputs)


def class_labels(targets):
    """Return integer labels (N,) of labels, one-hot rows, or zeros and ones (N, 1)."""
    targets = np.asarray(targets)
    if targets.ndim == 2 and targets.shape[1] > 1:
        return targets.argmax(axis=1)
    labels = targets.reshape(-1).astype(np.int64)
    if targets.ndim > 2 or (labels != targets.reshape(-1)).any():
        raise ValueError("nyang_inference is for classifiers: y holds integer labels or one-hot "
                         f"rows, received {targets.dtype} {targets.shape}")
    return labels


class Mistakes:
    """The inputs of the most confident mistakes, collected batch by batch.

    held: at most KEPT of (confidence, index, input), the most confident first.
    """

    def __init__(self):
        self.held, self.seen = [], 0

    def add(self, x, labels, probabilities):
        """Look through one batch."""
        predictions, confidences = probabilities.argmax(axis=1), probabilities.max(axis=1)
        wrong = np.flatnonzero(predictions != labels)
        for i in wrong[np.argsort(-confidences[wrong], kind="stable")][:KEPT]:
            self.held.append((float(confidences[i]), self.seen + int(i), np.array(x[i])))
        self.held = sorted(self.held, key=lambda one: (-one[0], one[1]))[:KEPT]
        self.seen += len(labels)


@dataclass
class Inference:
    """A classifier's answers on N samples.

    outputs: as the model gave them. probabilities: (N, C), for one logit (N, 2). predictions:
    (N,) int64. targets: (N,) labels, or None where the loader had none. metrics: accuracy, and
    precision, recall and f1_score (for two classes those of class 1, else the classes' mean);
    empty without targets.
    """

    outputs: np.ndarray
    targets: np.ndarray | None
    class_list: list | None = None
    mistakes: Mistakes = field(default_factory=Mistakes, repr=False)

    def __post_init__(self):
        self.probabilities = class_probabilities(self.outputs)
        self.predictions = self.probabilities.argmax(axis=1)
        self.classes = self.probabilities.shape[1]
        if self.class_list is not None and len(self.class_list) != self.classes:
            raise ValueError(f"class_list names {len(self.class_list)} classes, "
                             f"and the model has {self.classes}")
        self.metrics = {} if self.targets is None else self._measured()

    def __repr__(self):
        measured = "".join(f", {name} {value:.4f}" for name, value in self.metrics.items())
        return f"Inference({len(self.outputs)} samples{measured})"

    def _measured(self):
        average = "binary" if self.classes == 2 else "macro"
        return {"accuracy": accuracy(self.targets, self.predictions)} | {
            measure.__name__: measure(self.targets, self.predictions, average=average,
                                      classes=self.classes)
            for measure in (precision, recall, f1_score)}

    def name(self, label):
        """Return a class's name, or its number."""
        return str(label if self.class_list is None else self.class_list[label])

    def worst(self, k=16):
        """Return the indices (at most k) of the wrong answers, the most confident first."""
        self._need_targets()
        wrong = np.flatnonzero(self.predictions != self.targets)
        confidences = self.probabilities.max(axis=1)[wrong]
        return wrong[np.argsort(-confidences, kind="stable")][:k]

    def confusion_matrix(self):
        """Return (C, C) int64: rows are the true classes, columns the predicted ones."""
        self._need_targets()
        return confusion_matrix(self.targets, self.predictions, self.classes)

    def report(self):
        """Return precision, recall, F1 and count of each class, as evaluation/metrics.py does."""
        self._need_targets()
        names = list(range(self.classes)) if self.class_list is None else list(self.class_list)
        return class_report(self.targets, self.predictions, names)

    def plot(self, k=16, columns=8, **settings):
        """Draw the k most confident mistakes (at most KEPT): the answer, how sure, the truth.

        settings go to nyang_images_grid, as the mean and std that the images were scaled by.
        """
        from nyang_edu.utility.grid import nyang_images_grid

        self._need_targets()
        shown = self.mistakes.held[:k]
        if not shown:
            raise ValueError("there is no mistake to draw: every answer is right")
        titles = [f"{self.name(self.predictions[i])} {sure:.0%}\nis {self.name(self.targets[i])}"
                  for sure, i, _ in shown]
        return nyang_images_grid([x for *_, x in shown], titles, columns=columns,
                                 **{"size": 1.7} | settings)

    def _need_targets(self):
        if self.targets is None:
            raise ValueError("there are no targets to compare with: the loader gave x alone")
