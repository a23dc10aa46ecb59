"""IDX, the file format of MNIST and Fashion-MNIST: a short header, then the bare numbers.

The header says dtype and shape, so a cut or overlong file is noticed before it is used.
"""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

DTYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # big-endian on disk
SPLITS = ("train", "t10k")
_CHUNK = 1 << 20


def load_idx(path):
    """Read one IDX file, plain or gzip-compressed.

    Returns:
        an array of the header's shape and dtype, in the machine's byte order.

    Raises:
        ValueError: naming the file, where the header is no IDX header, the shape and the
            number of bytes disagree, or the compression is damaged.

    Source: LeCun, Cortes, Burges, The MNIST database, "File formats".
    """
    path = Path(path)
    try:
        with _open(path) as file:
            dtype, shape = _read_header(file, path)
            wanted = math.prod(shape) * dtype.itemsize
            body = _read_at_most(file, wanted + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path}: damaged or cut gzip file ({error}): copy it again") from error
    if len(body) != wanted:
        found = f"only {len(body)}" if len(body) < wanted else "more"
        raise ValueError(f"{path}: its header announces shape {shape} and {dtype.name}, that is "
                         f"{wanted} bytes of data, but it holds {found}: copy it again")
    array = np.frombuffer(body, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="))  # also makes it writable


def _open(path):
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"  # the name may end in .gz and lie
    return gzip.open(path, "rb") if packed else open(path, "rb")


def _read_header(file, path):
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in DTYPES or head[3] > 32:
        raise ValueError(
            f"{path}: an IDX file begins with 0, 0, a dtype code of {sorted(DTYPES)} and the "
            f"number of axes, received {list(head)}: is it another kind of file?")
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        raise ValueError(f"{path}: ends inside its header: copy it again")
    return np.dtype(DTYPES[head[2]]), struct.unpack(f">{head[3]}I", sizes)


def _read_at_most(file, count):
    """Read in chunks: a header may announce more than memory holds."""
    body = bytearray()
    while len(body) < count and (part := file.read(min(_CHUNK, count - len(body)))):
        body += part
    return body


def save_idx(path, array):
    """Write an array as an IDX file; a name that ends in .gz is compressed.

    Raises:
        TypeError: where IDX has no code for the dtype: it knows uint8, int8, int16, int32,
            float32 and float64.
    """
    array = np.asarray(array)
    stored = array.dtype.newbyteorder(">")
    codes = {np.dtype(kind): code for code, kind in DTYPES.items()}
    if stored not in codes:
        raise TypeError(f"IDX stores {', '.join(k.name for k in codes)}, received "
                        f"{array.dtype}: convert it with .astype")
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, codes[stored], array.ndim, *array.shape)
    body = head + array.astype(stored).tobytes()
    if str(path).endswith(".gz"):
        body = gzip.compress(body, mtime=0)  # same array, same bytes
    Path(path).write_bytes(body)


def load_idx_pair(folder, split="train"):
    """Read images and labels of one split of MNIST or Fashion-MNIST.

    Args:
        folder: holds e.g. ``train-images-idx3-ubyte``; also with a dot before ``idx3``, and
            with ``.gz``.
        split: "train" or "t10k", the test set.

    Returns:
        images (N, H, W) uint8, labels (N,) int64.

    Raises:
        FileNotFoundError: with the names that were looked for.
        ValueError: where split is another word, or the two files do not belong together.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {SPLITS}, received {split!r}")
    images = load_idx(_find(folder, f"{split}-images", 3))
    labels = load_idx(_find(folder, f"{split}-labels", 1))
    if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels):
        raise ValueError(f"{folder}: expected images (N, H, W) and labels (N,), received "
                         f"{images.shape} and {labels.shape}: are both files of one data set?")
    return images, labels.astype(np.int64)


def _find(folder, stem, axes):
    names = [f"{stem}{mark}idx{axes}-ubyte{end}" for end in ("", ".gz") for mark in "-."]
    for name in names:
        if (path := Path(folder) / name).is_file():
            return path
    raise FileNotFoundError(f"{folder} holds none of {', '.join(names)}: "
                            "pass the folder that holds the IDX files")
