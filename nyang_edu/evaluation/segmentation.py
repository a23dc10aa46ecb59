"""How well do two masks overlap? Dice and IoU, an image at a time, as the contests score them.

Pixel accuracy would say 90 % for a model that finds no building: most pixels are ground.
"""

import numpy as np

__all__ = ["dice_scores", "iou_scores", "mean_dice", "mean_iou"]


def dice_scores(targets, predictions):
    """Score each image: 2·|T ∩ P| / (|T| + |P|); NaN where both masks are empty.

    Args:
        targets: (N, …) the true masks: booleans, or 0 and 1.
        predictions: (N, …) of the same shape: booleans, or 0 and 1; logits give them as out > 0.

    Returns:
        scores (N,) float64, from 0 to 1.

    Raises:
        ValueError: where the shapes differ, or something else than 0 and 1 stands in a mask.

    Source: Dice, Measures of the amount of ecologic association between species (1945).
    """
    both, one, other = _counts(targets, predictions)
    return _share(2 * both, one + other)


def iou_scores(targets, predictions):
    """Score each image: |T ∩ P| / |T ∪ P|, the Jaccard index; otherwise as dice_scores."""
    both, one, other = _counts(targets, predictions)
    return _share(both, one + other - both)


def mean_dice(targets, predictions):
    """Average dice_scores over the images; those empty in both masks are left out.

    A building found where there is none scores 0, as does one overlooked. NaN where no image
    is left.
    """
    return _mean(dice_scores(targets, predictions))


def mean_iou(targets, predictions):
    """Average iou_scores over the images; those empty in both masks are left out."""
    return _mean(iou_scores(targets, predictions))


def _counts(targets, predictions):
    """Pixels of each image: in both masks, in the target, in the prediction; each (N,)."""
    T, P = _mask(targets, "targets"), _mask(predictions, "predictions")
    if T.shape != P.shape or T.ndim < 2:
        raise ValueError(f"targets and predictions are masks (N, …) of one shape, received "
                         f"{T.shape} and {P.shape}: reshape one of them, none is broadcast")
    axes = tuple(range(1, T.ndim))
    return (T & P).sum(axes), T.sum(axes), P.sum(axes)


def _mask(values, name):
    values = np.asarray(values)
    if values.dtype != bool and not ((values == 0) | (values == 1)).all():
        raise ValueError(f"{name} must hold 0 and 1, received values from {values.min():g} to "
                         f"{values.max():g}: logits become a mask with out > 0")
    return values.astype(bool)


def _share(part, whole):
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _mean(scores):
    scores = scores[~np.isnan(scores)]
    return float(scores.mean()) if len(scores) else float("nan")
