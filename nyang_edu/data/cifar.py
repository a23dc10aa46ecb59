"""Read CIFAR-10 as its authors publish it: Python batches, or the binary version.

The batches are pickles, which can run code when opened; here they are read by a reader that
builds arrays and plain values only.
"""

from pathlib import Path

import numpy as np

from nyang_edu.utility.safe_pickle import read_pickle

CLASSES = ("airplane", "automobile", "bird", "cat", "deer",
           "dog", "frog", "horse", "ship", "truck")
BATCHES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
_PIXELS = 3 * 32 * 32  # 1,024 red, 1,024 green, 1,024 blue, each row by row


def load_cifar10(folder, split="train"):
    """Read the 50,000 training or 10,000 test images.

    Args:
        folder: holds ``data_batch_1`` … ``data_batch_5`` and ``test_batch`` (Python version) or
            the same names with ``.bin`` (binary version); or the folder above it.
        split: "train" or "test".

    Returns:
        images (N, 3, 32, 32) uint8, labels (N,) int64, the ten class names.

    Raises:
        FileNotFoundError: with the batches that are missing.
        ValueError: naming the file, where a batch is damaged or holds something else.

    Source: Krizhevsky, Learning multiple layers of features from tiny images (2009), ch. 3.
    """
    if split not in BATCHES:
        raise ValueError(f"split must be one of {tuple(BATCHES)}, received {split!r}")
    paths = _find(Path(folder), BATCHES[split])
    batches = [_read_binary(p) if p.suffix == ".bin" else _read_python(p) for p in paths]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images.reshape(-1, 3, 32, 32), labels, list(CLASSES)


def _find(folder, names):
    """Find the folder and version that hold most of the batches; all of them must be there."""
    places = [(place, end) for place in (folder, folder / "cifar-10-batches-py",
                                         folder / "cifar-10-batches-bin") for end in ("", ".bin")]
    missing = {(place, end): [n + end for n in names if not (place / (n + end)).is_file()]
               for place, end in places}
    place, end = min(places, key=lambda one: len(missing[one]))
    if missing[place, end]:
        raise FileNotFoundError(f"{place} lacks {', '.join(missing[place, end])}: "
                                "unpack CIFAR-10's archive again and pass its folder")
    return [place / (name + end) for name in names]


def _read_python(path):
    batch = read_pickle(path, encoding="bytes")  # written by Python 2: its texts are bytes here
    if not isinstance(batch, dict) or not {b"data", b"labels"} <= batch.keys():
        raise ValueError(f"{path}: a batch of CIFAR-10 is a dict with b'data' and b'labels', "
                         f"received {_describe(batch)}")
    data, labels = batch[b"data"], batch[b"labels"]
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 \
            or data.shape[1] != _PIXELS:
        raise ValueError(f"{path}: b'data' must be (N, {_PIXELS}) uint8, received "
                         f"{_describe(data)}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise ValueError(f"{path}: b'labels' must be a list of integers, received "
                         f"{_describe(labels)}")
    return data, _check_labels(path, np.array(labels, dtype=np.int64), len(data))


def _read_binary(path):
    numbers = np.fromfile(path, dtype=np.uint8)
    if not len(numbers) or len(numbers) % (1 + _PIXELS):
        raise ValueError(f"{path}: a binary batch has {1 + _PIXELS} bytes an image (label, then "
                         f"pixels), received {len(numbers)} bytes: copy it again")
    rows = numbers.reshape(-1, 1 + _PIXELS)
    return rows[:, 1:], _check_labels(path, rows[:, 0].astype(np.int64), len(rows))


def _check_labels(path, labels, count):
    if len(labels) != count:
        raise ValueError(f"{path}: {count} images but {len(labels)} labels: copy it again")
    wrong = labels[(labels < 0) | (labels >= len(CLASSES))]
    if len(wrong):
        raise ValueError(f"{path}: labels are 0..9, received {wrong[0]} and {len(wrong) - 1} "
                         "more such: is it CIFAR-100, or damaged?")
    return labels


def _describe(value):
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} {value.dtype}"
    if isinstance(value, dict):
        return f"a dict with {sorted(map(repr, value))[:5]}"
    return f"{type(value).__name__}"
