# Exported from chapter 05. Change the notebook, then export again.
"""Losses: one number that says how wrong a prediction is, and its gradient.

Each takes raw scores (logits), averages over the batch, and stays finite for scores of any size.
"""

import numpy as np

from nyang_edu.model.activation import sigmoid
from nyang_edu.model.core import Memory
from nyang_edu.utility.tensor import one_hot


class Loss(Memory):
    """The base of every loss: forward(pred, target) → float, then backward() → dpred."""

    def forward(self, pred, target):
        """Return the loss as a Python float; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define forward")

    def backward(self):
        """Return the gradient by pred; a subclass must define it."""
        raise TypeError(f"{type(self).__name__} does not define backward")

    def __call__(self, pred, target):
        """Start afresh, as a model's call does, and return the loss."""
        self.forget()
        return self.forward(pred, target)

    def match_shape(self, pred, target):
        """Return target in pred's dtype; raise a ValueError where their shapes differ."""
        target = self.expect_float(pred, target)
        if target.shape != pred.shape:
            self.refuse(f"a target of pred's shape {pred.shape}", target.shape,
                         "reshape one of them, as with target.reshape(pred.shape)")
        return target.astype(pred.dtype)

    def expect_float(self, pred, target):
        """Return target as an array; raise where pred is empty or not of floats."""
        if pred.dtype.kind != "f":
            raise TypeError(f"{type(self).__name__} expects a float pred, received "
                            f"{pred.dtype}: convert it with pred.astype(np.float32)")
        if pred.size == 0:
            self.refuse("at least one sample", pred.shape, "an empty batch has no mean")
        return np.asarray(target)

    def refuse(self, rule, received, fix):
        """Raise a ValueError: the rule, what was received, the fix."""
        raise ValueError(f"{type(self).__name__} expects {rule}, received {received}: {fix}")


def match_classes(loss, pred, target):
    """Return target as probabilities (N, C) in pred's dtype.

    Args:
        loss: the Loss that asks; errors name it.
        pred: (N, C) scores.
        target: labels (N,) of integers from 0 to C - 1, or rows (N, C) that sum to 1.

    Raises:
        ValueError: for other shapes, labels out of range, rows that are no probabilities.
    """
    target = loss.expect_float(pred, target)
    if pred.ndim != 2:
        loss.refuse("scores (N, C)", pred.shape, "one row a sample, one column a class")
    N, C = pred.shape
    if target.shape == (N,) and target.dtype.kind in "iu":
        if target.min() < 0 or target.max() >= C:
            bad = target.min() if target.min() < 0 else target.max()
            loss.refuse(f"labels from 0 to {C - 1}", bad, "number the classes from 0")
        return one_hot(target, C, pred.dtype)
    if target.shape != (N, C):
        loss.refuse(f"integer labels ({N},) or rows ({N}, {C})",
                    f"{target.dtype} {target.shape}", "try labels.reshape(-1).astype(int)")
    if target.min() < 0 or not np.allclose(target.sum(axis=1), 1, atol=1e-3):
        loss.refuse("rows of probabilities that sum to 1", "rows that do not",
                    "pass one-hot rows, or integer labels")
    return target.astype(pred.dtype)


class MSELoss(Loss):
    """Mean squared error over all elements: mean((pred - target)²).

    Shapes: pred and target of one and the same shape → float; dpred as pred.

    Raises:
        ValueError: where the shapes differ. TypeError: where pred is not of floats.

    Source: Goodfellow et al., Deep Learning (2016), section 6.2.2.1.
    """

    def forward(self, pred, target):
        """Return the mean of the squared differences."""
        error = pred - self.match_shape(pred, target)
        self.save(error)
        return float((error**2).mean())

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        error = self.saved()
        return 2 * error / error.size


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy of logits: mean(max(z, 0) - z·t + log(1 + exp(-|z|))), z = pred.

    Shapes: pred (logits) and target (0…1) of one and the same shape → float; dpred as pred.

    Raises:
        ValueError: where the shapes differ or a target lies outside 0…1.

    Source: Goodfellow et al., Deep Learning (2016), section 6.2.2.2.
    """

    def forward(self, pred, target):
        """Return the mean over all elements."""
        target = self.match_shape(pred, target)
        if target.min() < 0 or target.max() > 1:
            self.refuse("targets from 0 to 1", target[(target < 0) | (target > 1)][0],
                         "write no as 0 and yes as 1")
        self.save(pred, target)
        losses = np.maximum(pred, 0) - pred * target + np.log1p(np.exp(-np.abs(pred)))
        return float(losses.mean())

    def backward(self):
        """Return dpred, of pred's shape and dtype."""
        pred, target = self.saved()
        return (sigmoid(pred) - target) / pred.size


def log_softmax(logits):
    """Return log p of the softmax over axis 1: z - m - log Σ exp(z - m), m = max z.

    Args:
        logits: (N, C) scores of any size.

    Returns:
        log-probabilities (N, C), all finite, in the dtype of logits.

    Source: Goodfellow et al., Deep Learning (2016), sections 4.1 and 6.2.2.3.
    """
    shifted = logits - logits.max(axis=1, keepdims=True)  # (N, C), at most 0
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


class CrossEntropyLoss(Loss):
    """Cross-entropy of softmax(pred): -mean over samples of Σ target · log softmax(pred).

    Shapes: pred (N, C) logits; target (N,) integer labels or (N, C) probabilities → float;
    dpred (N, C).

    Raises:
        ValueError: for labels outside 0…C-1 or shapes that do not fit.

    Source: Bishop, Pattern Recognition and Machine Learning (2006), section 4.3.4.
    """

    def forward(self, pred, target):
        """Return the mean over the samples."""
        rows = match_classes(self, pred, target)  # (N, C)
        logp = log_softmax(pred)
        self.save(logp, rows)
        return float(-(rows * logp).sum() / len(pred))

    def backward(self):
        """Return dpred (N, C), in pred's dtype."""
        logp, rows = self.saved()
        return (np.exp(logp) - rows) / len(rows)


class FocalLoss(Loss):
    """Cross-entropy that fades for easy samples: -mean of α_t (1 - p_t)^γ log p_t, p = softmax.

    Shapes: pred (N, C) logits; target (N,) integer labels or (N, C) probabilities → float;
    dpred (N, C). alpha: None or one weight per class. For soft rows the classes' terms are
    weighted by the row.

    Raises:
        ValueError: for a negative gamma, an alpha of another length than C, bad targets.

    Source: Lin et al., Focal Loss for Dense Object Detection (2017), section 3.
    """

    def __init__(self, gamma=2.0, alpha=None):
        if gamma < 0:
            self.refuse("gamma of at least 0", gamma, "2 is a good start, 0 is cross-entropy")
        self.gamma, self.alpha = float(gamma), alpha

    def class_weights(self, pred):
        """Return alpha as (C,) in pred's dtype; ones where it is None."""
        alpha = np.ones(pred.shape[1]) if self.alpha is None else np.asarray(self.alpha)
        if alpha.shape != pred.shape[1:]:
            self.refuse(f"one alpha for each of {pred.shape[1]} classes", alpha.shape,
                         "pass a list of that length, or None")
        return alpha.astype(pred.dtype)

    def forward(self, pred, target):
        """Return the mean over the samples."""
        weighted = match_classes(self, pred, target) * self.class_weights(pred)  # (N, C)
        logp = log_softmax(pred)
        q = 1 - np.exp(logp)
        self.save(logp, weighted)
        return float(-(weighted * q**self.gamma * logp).sum() / len(pred))

    def backward(self):
        """Return dpred (N, C), in pred's dtype."""
        logp, weighted = self.saved()
        p = np.exp(logp)
        q = 1 - p
        ratio = np.divide(logp, q, out=-np.ones_like(q), where=q > 0)  # -1 is its limit
        g = weighted * q**self.gamma * (self.gamma * p * ratio - 1)
        return (g - p * g.sum(axis=1, keepdims=True)) / len(g)
