# Exported from chapter 13. Change the notebook, then export again.
"""Measures of a classifier: each is taken of all samples at once, never averaged over batches."""

import numpy as np


def class_ids(values):
    """Return class numbers (N,) int64.

    Args:
        values: integer labels (N,); or scores or one-hot rows (N, C), where the largest counts,
            the first of equals; or one column (N, 1) of logits, class 1 where above 0.

    Raises:
        TypeError: for labels that are no integers. ValueError: for other shapes, or NaN.
    """
    values = np.asarray(values)
    if values.ndim not in (1, 2) or values.size == 0:
        raise ValueError("expected labels (N,) or scores (N, C) of at least one sample, "
                         f"received {values.shape}")
    if values.dtype.kind == "f" and np.isnan(values).any():
        raise ValueError("the scores hold NaN, which belongs to no class: look at the model first")
    if values.ndim == 2:
        return values.argmax(axis=1) if values.shape[1] > 1 else (values[:, 0] > 0).astype(np.int64)
    if values.dtype.kind not in "iub":
        raise TypeError(f"labels are integers, received {values.dtype}: scores have shape (N, C)")
    return values.astype(np.int64)


def matched_ids(targets, predictions, classes=None):
    """Return targets and predictions as class numbers (N,), and the number of classes.

    Where classes is None, it is the scores' columns, or the highest number + 1; at least 2.

    Raises:
        ValueError: for unequal lengths, a class out of range, targets with several classes.
    """
    shapes = np.shape(targets), np.shape(predictions)
    columns = [shape[1] for shape in shapes if len(shape) == 2]
    if len(shapes[0]) == 2 and columns[0] > 1 and not np.allclose(np.sum(targets, axis=1), 1):
        raise ValueError("each row of targets must sum to 1: a sample has one class here")
    targets, predictions = class_ids(targets), class_ids(predictions)
    if len(targets) != len(predictions):
        raise ValueError(f"received {len(targets)} targets and {len(predictions)} predictions: "
                         "one for each sample")
    highest = int(max(targets.max(), predictions.max()))
    classes = max(2, highest + 1, *columns) if classes is None else int(classes)
    if highest >= classes or min(targets.min(), predictions.min()) < 0:
        raise ValueError(f"classes are numbered 0 to {classes - 1}, received one outside")
    return targets, predictions, classes


def confusion_matrix(targets, predictions, classes=None):
    """Count how often each class was taken for each; arguments as matched_ids.

    Returns:
        matrix (classes, classes) int64: the true class in the row, the predicted in the column.
    """
    targets, predictions, classes = matched_ids(targets, predictions, classes)
    matrix = np.zeros((classes, classes), np.int64)
    np.add.at(matrix, (targets, predictions), 1)  # counts a repeated pair each time
    return matrix


def accuracy(targets, predictions):
    """Return the share of samples whose class is predicted right; arguments as class_ids."""
    targets, predictions, _ = matched_ids(targets, predictions)
    return float(np.mean(targets == predictions))


def precision_recall_f1(matrix, zero_division=0.0):
    """Compute TP/(TP + FP), TP/(TP + FN) and 2·TP/(2·TP + FP + FN) of every class.

    Args:
        matrix: (C, C) counts, the true class in the row, the predicted in the column.
        zero_division: stands where the denominator is 0.

    Returns:
        precision, recall, f1: three float64 arrays (C,).

    Source: Sokolova and Lapalme, A systematic analysis of performance measures (2009).
    """
    hits, predicted, actual = np.diag(matrix), matrix.sum(axis=0), matrix.sum(axis=1)  # (C,) each

    def share(part, whole):
        unknown = np.full(len(part), float(zero_division))
        return np.divide(part, whole, out=unknown, where=whole > 0)

    return share(hits, predicted), share(hits, actual), share(2 * hits, predicted + actual)


def average_over_classes(scores, matrix, average, positive=1):
    """Turn one score per class into one number.

    Args:
        scores: (C,), as precision_recall_f1 returns them.
        matrix: (C, C) counts, the true class in the row, the predicted in the column.
        average: "macro", all classes alike, absent ones too; "weighted", by the number of
            true samples; "micro", all hits / all samples; "binary", the score of the class
            positive, for two classes only; None returns scores as they are.

    Raises:
        ValueError: for another average, "binary" with more than two classes, and a positive
            that is neither 0 nor 1 there.
    """
    if average is None:
        return scores
    if average == "macro":
        return float(np.mean(scores))
    if average == "micro":
        return float(np.trace(matrix) / matrix.sum())
    if average == "weighted":
        return float(np.average(scores, weights=matrix.sum(axis=1)))
    if average != "binary":
        raise ValueError('average must be "binary", "macro", "micro", "weighted" or None, '
                         f"received {average!r}")
    if len(scores) != 2 or positive not in (0, 1):
        raise ValueError(f'average="binary" takes class 0 or 1 of two, received {positive} of '
                         f'{len(scores)}: try average="macro"')
    return float(scores[positive])


def _measure(place, targets, predictions, average, positive, zero_division, classes):
    matrix = confusion_matrix(targets, predictions, classes)
    scores = precision_recall_f1(matrix, zero_division)[place]
    return average_over_classes(scores, matrix, average, positive)


def precision(targets, predictions, *, average="binary", positive=1, zero_division=0.0,
              classes=None):
    """Return TP/(TP + FP), averaged as average_over_classes says; the rest as matched_ids."""
    return _measure(0, targets, predictions, average, positive, zero_division, classes)


def recall(targets, predictions, *, average="binary", positive=1, zero_division=0.0,
           classes=None):
    """Return TP/(TP + FN), averaged as average_over_classes says; the rest as matched_ids."""
    return _measure(1, targets, predictions, average, positive, zero_division, classes)


def f1_score(targets, predictions, *, average="binary", positive=1, zero_division=0.0,
             classes=None):
    """Return 2·TP/(2·TP + FP + FN), averaged as average_over_classes says; as matched_ids."""
    return _measure(2, targets, predictions, average, positive, zero_division, classes)


class ClassReport(list):
    """Rows of a report, one dict a class and one for their macro mean; its text is a table."""

    def __str__(self):
        width = max(len(row["class"]) for row in self)
        head = f"{'':{width}}  precision  recall     f1  samples"
        return "\n".join([head] + [
            f"{row['class']:{width}}  {row['precision']:9.3f}  {row['recall']:6.3f}  "
            f"{row['f1']:5.3f}  {row['samples']:7d}" for row in self])


def class_report(targets, predictions, class_list=None, *, zero_division=0.0):
    """Return a ClassReport: each class's precision, recall, F1 and number of true samples.

    class_list names the classes; the rest is as in confusion_matrix.
    """
    matrix = confusion_matrix(targets, predictions, class_list and len(class_list))
    names = [*map(str, class_list or range(len(matrix))), "macro mean"]
    columns = [[*map(float, scores), float(scores.mean())]
               for scores in precision_recall_f1(matrix, zero_division)]
    samples = [*map(int, matrix.sum(axis=1)), int(matrix.sum())]
    keys = ("class", "precision", "recall", "f1", "samples")
    return ClassReport(dict(zip(keys, row)) for row in zip(names, *columns, samples))


def top_k_accuracy(targets, scores, k):
    """Return the share of samples whose true class is among the k with the highest scores.

    Args:
        targets: labels (N,) or one-hot rows (N, C).
        scores: (N, C); of equal scores the lower class number ranks first.
        k: 1 … C.

    Raises:
        ValueError: where k is not in 1 … C, or scores are not (N, C); further as matched_ids.
    """
    if np.ndim(scores) != 2 or not 1 <= k <= np.shape(scores)[1]:
        raise ValueError(f"top-k takes scores (N, C) and a k of 1 … C, received {np.shape(scores)} "
                         f"and k={k}")
    targets = matched_ids(targets, scores)[0]  # (N,) class numbers
    ranked = np.argsort(-np.asarray(scores, np.float64), axis=1, kind="stable")  # (N, C)
    return float(np.mean((ranked[:, :k] == targets[:, None]).any(axis=1)))
