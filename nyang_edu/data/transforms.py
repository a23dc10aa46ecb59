# Exported from chapter 11. Change the notebook, then export again.
"""Transforms: what happens to an image on its way to the network, drawn afresh in training only."""

import os
import random
import threading

import numpy as np

from nyang_edu.data.dataset import DATA_MODES, image_to_array


def load_albumentations():
    """Import albumentations when it is needed: it takes seconds. It must not look for updates."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    import albumentations

    return albumentations


def channel_stats(images):
    """Measure mean and std of each channel over all pixels of all images, on a scale of 0 to 1.

    Args:
        images: an iterable of uint8 images (H, W, C) or (H, W), of any sizes.

    Returns:
        mean (C,) and std (C,), float32; a constant channel has std 1.

    Raises:
        ValueError: where there is no image.
    """
    sums = [(x.mean(axis=(1, 2)), (x**2).mean(axis=(1, 2)), x[0].size)
            for x in (image_to_array(image).astype(np.float64) for image in images)]
    if not sums:
        raise ValueError("channel_stats needs at least one image, received none")
    means, squares, sizes = map(np.array, zip(*sums))
    mean = np.average(means, axis=0, weights=sizes)
    std = np.sqrt(np.maximum(np.average(squares, axis=0, weights=sizes) - mean**2, 0))
    return mean.astype(np.float32), np.where(std > 1e-6, std, 1).astype(np.float32)


class NyangTransform:
    """Turn a stored image into a network's input: x = (steps(image) / 255 - mean) / std.

    Args:
        make_steps: called without arguments in each thread; returns albumentations' steps.
        mean, std: numbers, or one for each channel.

    Shapes: image (H, W, C) or (H, W) uint8 → x (C, size, size) float32.
    """

    def __init__(self, make_steps, mean=0.0, std=1.0):
        self.make_steps, self.own = make_steps, threading.local()
        self.mean, self.std = (np.reshape(np.asarray(one, np.float32), (-1, 1, 1))
                               for one in (mean, std))  # (C, 1, 1)

    def __call__(self, image, rng):
        """Return x; whatever is random about it is drawn from rng."""
        return self.apply(image, rng)["x"]

    def apply(self, image, rng, mask=None, boxes=None):
        """Move a mask (H, W) and boxes (M, 4), x0 y0 x1 y1 in pixels, along with the image.

        Returns:
            a dict of x, mask, boxes, and kept: the places, among the boxes given, of those
            that are still in the picture.
        """
        boxes = np.zeros((0, 4)) if boxes is None else np.asarray(boxes, float)
        extra = {} if mask is None else {"mask": np.asarray(mask, np.uint8)}
        compose = self.compose()
        compose.set_random_state(rng, random.Random(int(rng.integers(2**63))))
        made = compose(image=image, bboxes=boxes, kept=np.arange(len(boxes)), **extra)
        if mask is not None:
            mask = made["mask"].astype(np.asarray(mask).dtype)
        return {"x": (image_to_array(made["image"]) - self.mean) / self.std, "mask": mask,
                "boxes": np.reshape(made["bboxes"], (-1, 4)).astype(np.float32),
                "kept": np.asarray(made["kept"], int)}

    def compose(self):
        """Return this thread's own Compose, made on first use."""
        if not hasattr(self.own, "compose"):
            A = load_albumentations()
            boxes = A.BboxParams("pascal_voc", ["kept"], min_visibility=0.2, clip=True)
            self.own.compose = A.Compose(self.make_steps(), bbox_params=boxes)
        return self.own.compose


def nyang_transforms(mode, size, *, mean=0.0, std=1.0, flip=True, turn=15, shift=0.1, scale=0.15,
                     light=0.2, noise=0.05, fill=127):
    """Make the transform of a mode: "train" resizes and augments, "valid" and "test" resize only.

    Args:
        size: height and width of x.
        mean, std: for x = (image / 255 - mean) / std; measured on training images only.
        flip: whether to mirror left and right, half of the time.
        turn, shift, scale, light, noise: the largest turn in degrees, and the largest changes as
            shares of the size, of 1, of full brightness and contrast, and of 255.
        fill: the grey, 0 to 255, of what comes in from outside.

    Raises:
        ValueError: where mode is none of the three, or size is below 1.
    """
    if mode not in DATA_MODES or size < 1:
        raise ValueError(f"nyang_transforms takes a mode of {DATA_MODES} and a size of at least "
                         f"1, received {mode!r} and {size}")

    def steps():
        A = load_albumentations()
        if mode != "train":
            return [A.Resize(size, size)]
        move = {"scale": (1 - scale, 1 + scale), "translate_percent": (-shift, shift)}
        return [A.Resize(size, size), A.HorizontalFlip(p=0.5 if flip else 0),
                A.Affine(rotate=(-turn, turn), fill=fill, **move, p=1),
                A.RandomBrightnessContrast(light, light, p=0.5),
                A.GaussNoise(std_range=(0, noise), p=0.3)]

    return NyangTransform(steps, mean, std)
