# Exported from chapter 11. Change the notebook, then export again.
"""Datasets: numbered samples, from arrays or from a folder of images."""

import copy

import numpy as np

from nyang_edu.data.folders import list_images, read_image
from nyang_edu.data.split import nyang_split, one_hot_pairs


def image_to_array(image):
    """Bring an image into a network's layout: x[c, h, w] = image[h, w, c] / 255.

    Shapes: image (H, W, C) or grey (H, W), uint8 → x (C, H, W), float32 from 0 to 1.

    Raises:
        TypeError: where the image is not uint8.
        ValueError: where it has neither 2 nor 3 axes.
    """
    image = np.asarray(image)
    if image.dtype != np.uint8:
        raise TypeError(f"an image must be uint8, 0 to 255, received {image.dtype}: "
                        "it may have been converted already")
    if image.ndim not in (2, 3):
        raise ValueError(f"an image must be (H, W, C) or (H, W), received {image.shape}: "
                         "pass one image, not a batch")
    image = image[:, :, None] if image.ndim == 2 else image  # (H, W, C)
    return image.transpose(2, 0, 1).astype(np.float32) / 255  # (C, H, W)


class NyangDataset:
    """Numbered samples: dataset[i] is the pair (x, y) of sample i, len(dataset) their number.

    A subclass defines __len__, and either sample(index, rng), in which a random transform
    draws from rng, or __getitem__(index). The other of the two follows.

    Raises:
        TypeError: at construction, naming what a subclass forgot to define.
        IndexError: by dataset[i] where there is no sample i.
    """

    def __new__(cls, *args, **kwargs):
        """Refuse a subclass that forgot a method, before anything is read."""
        missing = [] if hasattr(cls, "__len__") else ["__len__(self)"]
        own = (cls.sample, cls.__getitem__)
        if own == (NyangDataset.sample, NyangDataset.__getitem__):
            missing.append("sample(self, index, rng)")
        if missing:
            raise TypeError(f"{cls.__name__} does not define {' and '.join(missing)}: a dataset "
                            "says how many samples it has, and what each of them is")
        return super().__new__(cls)

    def __getitem__(self, index):
        index = range(len(self))[index]  # -1 is the last one; past the end, an IndexError
        return self.sample(index, np.random.default_rng(index))

    def sample(self, index, rng):
        """Return (x, y) of sample index; whatever is random about it is drawn from rng."""
        return self[index]

    def name_of(self, index):
        """Name a sample in a message; a folder's dataset names the file."""
        return f"sample {index} of {type(self).__name__}"


class ArrayDataset(NyangDataset):
    """Samples from two arrays: sample i is (transform(x[i], rng), y[i]), or (x[i], y[i]).

    Args:
        x: (N, …) inputs.
        y: (N, …) labels: class numbers, one-hot rows, or anything else.
        transform: called as transform(x[i], rng) each time a sample is asked for; or None.

    Raises:
        ValueError: where x and y differ in length.
    """

    def __init__(self, x, y, transform=None):
        if len(x) != len(y):
            raise ValueError(f"each x needs its y, received {len(x)} and {len(y)}: "
                             "take both from the same indices")
        self.x, self.y, self.transform = x, y, transform

    def __len__(self):
        return len(self.x)

    def sample(self, index, rng):
        """Return (x, y) of sample index, transformed with rng where there is a transform."""
        x = self.x[index]
        if self.transform is not None:
            x = self.transform(x, rng)
        return x, self.y[index]


DATA_MODES = ("train", "valid", "test")


class NyangNyangDataset(NyangDataset):
    """Images in a folder: sample i is (x (C, H, W) float32, one-hot label (classes,) float32).

    Args:
        data_root: holds <class>/* or files such as cat.0.jpg, as list_images takes them.
        class_list: the classes' names in the order of the labels; None takes all, sorted.
        split_ratio: the shares of train, valid and test, such as (0.8, 0.1, 0.1).
        mode: "train", "valid" or "test"; datasets of one seed and folder share no file.
        transform: called as transform(image, rng), image (H, W, 3) uint8; None: image_to_array.
        seed, stratified: as nyang_split.
        on_error: "raise" decodes every file first and refuses broken ones by name, "skip"
            leaves them out with a warning, "defer" finds out when the sample is asked for.

    ``paths`` lists the pairs (path, one-hot) of the mode.

    Raises:
        ValueError: for a broken file, a missing class, a class with too few images, a wrong
            mode or ratio; with names and counts.
    """

    def __init__(self, data_root, class_list, split_ratio, mode, transform=None, *, seed=0,
                 stratified=True, on_error="raise"):
        if len(split_ratio) != len(DATA_MODES):
            raise ValueError(f"split_ratio needs a share for each of {DATA_MODES}, "
                             f"received {split_ratio}")
        files, labels, self.class_list = list_images(data_root, class_list, on_error=on_error)
        parts = nyang_split(np.array(self.class_list)[labels], split_ratio,
                            stratified=stratified, seed=seed)
        self._parts = {name: one_hot_pairs(files, labels, part, len(self.class_list))
                       for name, part in zip(DATA_MODES, parts)}
        self._choose(mode, transform)

    def _choose(self, mode, transform):
        if mode not in DATA_MODES:
            raise ValueError(f"mode must be one of {DATA_MODES}, received {mode!r}")
        self.mode, self.transform, self.paths = mode, transform, self._parts[mode]

    def in_mode(self, mode, transform=None):
        """Return the dataset of another mode, of the same split, without listing again."""
        other = copy.copy(self)
        other._choose(mode, transform)
        return other

    def __len__(self):
        return len(self.paths)

    def image(self, index):
        """Read image index as it lies on disk: (H, W, 3) uint8."""
        return read_image(self.paths[index][0])

    def sample(self, index, rng):
        """Return (x, one-hot) of sample index, transformed with rng where there is a transform."""
        image, (_, label) = self.image(index), self.paths[index]
        return (self.transform(image, rng) if self.transform else image_to_array(image)), label

    def name_of(self, index):
        """Name the file."""
        return str(self.paths[index][0])
