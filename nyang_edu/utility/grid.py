"""Pictures of a batch: with labels, before and after augmentation, in any common layout.

A look at what the loader really hands out finds most mistakes of a data pipeline.
"""

import matplotlib.pyplot as plt
import numpy as np

__all__ = ["nyang_images_grid"]

CHANNELS = (1, 3, 4)


def nyang_images_grid(images, labels=None, class_list=None, columns=4, *, after=None,
                      mean=0.0, std=1.0, size=1.4):
    """Draw images in a grid, with their labels.

    Args:
        images: a sequence or array of N images, each (H, W), (H, W, C) or (C, H, W), uint8
            0..255, bool, or float 0..1. Where both readings fit, (C, H, W) is taken.
        labels: N class numbers, one-hot rows or texts; None draws no titles.
        class_list: names that class numbers and one-hot rows stand for.
        columns: images in a row; not used where ``after`` is given.
        after: N images, or N sequences of K images: each row shows one of ``images`` and,
            to its right, what became of it.
        mean, std: what a transform normalised by: x · std + mean is drawn. Floats that
            still lie outside 0..1 are clipped.
        size: inches per image.

    Returns:
        the matplotlib Figure, not yet shown.

    Raises:
        ValueError: for no images, unequal numbers, or an image of another shape.
    """
    rows, titles = list(images), label_texts(labels, class_list)
    if not rows or columns < 1:
        raise ValueError(f"a grid needs an image and a column, received {len(rows)} images and "
                         f"columns={columns}")
    for name, other in [("labels", titles), ("after", after)]:
        if other is not None and len(other) != len(rows):
            raise ValueError(f"{name} must have one entry an image, received {len(other)} "
                             f"for {len(rows)} images")
    if after is not None:
        rows = [[image, *_several(changed)] for image, changed in zip(rows, after, strict=True)]
        if len(set(map(len, rows))) > 1:
            raise ValueError("each image must have as many in after as the others, received "
                             f"{[len(row) - 1 for row in rows]}")
        return _draw([one for row in rows for one in row], _beside(titles, rows),
                     len(rows[0]), (mean, std), size)
    return _draw(rows, titles or [""] * len(rows), min(columns, len(rows)), (mean, std), size)


def label_texts(labels, class_list=None):
    """Turn class numbers, one-hot rows or texts into a list of texts; None stays None."""
    if labels is None:
        return None
    labels = list(labels)
    numbers = [int(np.argmax(one)) if np.ndim(one) else one for one in labels]
    if class_list is None or all(isinstance(one, str) for one in numbers):
        return [str(one) for one in numbers]
    return [str(class_list[int(one)]) for one in numbers]


def displayable(image, mean=0.0, std=1.0):
    """Bring one image into what matplotlib draws: (H, W) or (H, W, 3 or 4), floats in 0..1.

    Raises:
        ValueError: where the image is not (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4.
    """
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[0] in CHANNELS:
        image = image.transpose(1, 2, 0)  # (H, W, C)
    if image.ndim not in (2, 3) or image.ndim == 3 and image.shape[2] not in CHANNELS:
        raise ValueError("an image must be (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4, "
                         f"received {image.shape}: pass one image after another, or a batch")
    whole = image.dtype.kind in "ui"
    image = image / 255 if whole else image.astype(float) * np.ravel(std) + np.ravel(mean)
    image = image[:, :, 0] if image.ndim == 3 and image.shape[2] == 1 else image
    return np.clip(image, 0, 1)


def _several(changed):
    """The images of one row, also where only one was given without a list around it."""
    if isinstance(changed, (list, tuple)) or np.ndim(changed) == 4:
        return list(changed)
    return [changed]


def _beside(titles, rows):
    """One title for each first image of a row, and none for the others."""
    firsts = titles or ["before"] + [""] * (len(rows) - 1)
    others = "" if titles else "after"
    texts = [[first, *[others if row is rows[0] else ""] * (len(row) - 1)]
             for first, row in zip(firsts, rows, strict=True)]
    return [text for row in texts for text in row]


def _draw(images, titles, columns, scale, size):
    rows = -(-len(images) // columns)
    fig, axes = plt.subplots(rows, columns, squeeze=False,
                             figsize=(columns * size, rows * (size + (0.25 if any(titles) else 0))))
    for ax in axes.flat:
        ax.axis("off")
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        shown = displayable(image, *scale)
        ax.imshow(shown, cmap="gray" if shown.ndim == 2 else None, vmin=0, vmax=1)
        ax.set_title(title)
    return fig
