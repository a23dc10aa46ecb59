# Exported from chapter 11. Change the notebook, then export again.
"""Splits of a data set into parts that are disjoint and complete, seeded, stratified on request."""

import numpy as np

from nyang_edu.utility.tensor import one_hot


def split_counts(count, split_ratio):
    """Share count samples out: one for each part, then each to the part furthest below its share.

    Returns:
        (parts,) integers that sum to count; a part of ratio 0 gets none.

    Raises:
        ValueError: where the ratios do not sum to 1, or there are fewer samples than parts.
    """
    ratio = np.asarray(split_ratio, dtype=float)
    if ratio.ndim != 1 or not np.isclose(ratio.sum(), 1) or ratio.min() < 0:
        raise ValueError(f"split_ratio must be shares of at least 0 that sum to 1, received "
                         f"{split_ratio} with sum {ratio.sum():g}: try (0.8, 0.1, 0.1)")
    counts = (ratio > 0).astype(int)
    if count < counts.sum():
        raise ValueError(f"{counts.sum()} parts need at least {counts.sum()} samples, received "
                         f"{count}: collect more, or split into fewer parts")
    for _ in range(count - counts.sum()):
        counts[np.argmax(ratio * count - counts)] += 1
    return counts


def split_groups(labels, split_ratio, stratified):
    """List what is split on its own: all indices together, or those of each class if stratified.

    Args:
        labels: (N,) class numbers or names, or one-hot rows (N, classes).

    Raises:
        ValueError: naming each class with fewer samples than there are parts.
    """
    if not stratified:
        return [np.arange(len(labels))]
    labels = np.asarray(labels)
    labels = labels.argmax(axis=1) if labels.ndim == 2 else labels
    groups = {str(name): np.flatnonzero(labels == name) for name in np.unique(labels)}
    parts = np.count_nonzero(split_ratio)
    small = [f"{name} has {len(group)}" for name, group in groups.items() if len(group) < parts]
    if small:
        raise ValueError(f"each class needs a sample for each of the {parts} parts, but class "
                         f"{', class '.join(small)}: collect more, or set stratified=False")
    return list(groups.values())


def one_hot_pairs(samples, labels, indices, classes):
    """Pair each chosen sample with its own label: [(samples[i], one-hot row of labels[i]), …]."""
    rows = one_hot(np.asarray(labels)[indices], classes)  # (len(indices), classes)
    return [(samples[i], row) for i, row in zip(indices, rows)]


def nyang_split(labels, split_ratio, *, stratified=False, seed=0):
    """Split 0 … N − 1 at random into parts that are disjoint and complete.

    Args:
        labels: (N,) class numbers or names, or (N, classes) one-hot; any sequence of N samples
            where stratified is False.
        split_ratio: the share of each part, such as (0.8, 0.1, 0.1); they sum to 1.
        stratified: whether each class is split on its own, in the same shares.
        seed: the same seed gives the same parts.

    Returns:
        a tuple of index arrays, one a part, each in random order; the sizes within each group
        are those of split_counts.

    Raises:
        ValueError: as split_counts and split_groups.
    """
    rng = np.random.default_rng(seed)
    parts = [[] for _ in split_ratio]
    for group in split_groups(labels, split_ratio, stratified):
        counts = split_counts(len(group), split_ratio)
        pieces = np.split(rng.permutation(group), np.cumsum(counts)[:-1])
        for part, piece in zip(parts, pieces):
            part.append(piece)
    return tuple(rng.permutation(np.concatenate(part)) for part in parts)
