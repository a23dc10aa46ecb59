"""Run-length codes: a mask as text, the form in which segmentation contests hand them around.

"1 3 10 5" means pixels 1 to 3 and 10 to 14, counted from 1; "-1" means an empty mask.
"""

import csv
from pathlib import Path

import numpy as np

from nyang_edu.data.dataset import NyangDataset, image_to_array
from nyang_edu.data.folders import read_image

__all__ = ["RLEDataset", "read_rle_csv", "rle_decode", "rle_encode", "write_rle_csv"]

EMPTY = "-1"


def rle_encode(mask, order="C"):
    """Write a mask as "start length start length …", counted from 1.

    Args:
        mask: (H, W) of booleans, or of 0 and another number.
        order: "C" counts row by row, as DACON does; "F" column by column, as Kaggle does.

    Returns:
        the text; "-1" for a mask without a pixel.

    Raises:
        ValueError: where the mask is not (H, W), or the order is another.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"rle_encode takes one mask (H, W), received {mask.shape}: "
                         "encode the masks of a batch one by one")
    flat = np.zeros(mask.size + 2, np.int8)  # a zero at both ends: each run has two edges
    flat[1:-1] = (mask != 0).ravel(_checked(order))
    edges = np.flatnonzero(np.diff(flat)) + 1  # starts and ends take turns
    edges[1::2] -= edges[::2]
    return " ".join(map(str, edges.tolist())) or EMPTY


def rle_decode(text, shape, order="C"):
    """Read a mask: bool (H, W). "-1" and nothing at all both mean an empty one.

    Raises:
        ValueError: where the text is no list of pairs, the order is another, or a run has no
            pixel, begins before the end of the one before, or leaves the mask.
    """
    H, W = shape
    try:
        numbers = np.array(str(text).split(), dtype=np.int64)
    except ValueError:
        raise ValueError(f"a run-length code holds integers, received {_short(text)}") from None
    mask = np.zeros(H * W, bool)
    order = _checked(order)
    if numbers.tolist() in ([], [-1]):
        return mask.reshape(H, W)
    if len(numbers) % 2:
        raise ValueError("a run-length code holds pairs of start and length, received "
                         f"{len(numbers)} numbers: {_short(text)}")
    starts, ends = numbers[::2] - 1, numbers[::2] - 1 + numbers[1::2]
    if (ends <= starts).any() or (starts < np.append(0, ends[:-1])).any() or ends[-1] > H * W:
        raise ValueError(f"the runs must have a length of at least 1, follow each other, and "
                         f"stay in 1…{H * W} for a mask of {H} by {W}: {_short(text)}; is the "
                         "shape right?")
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        mask[start:end] = True
    return mask.reshape((H, W), order=order)


def write_rle_csv(path, ids, masks, image_paths=None, order="C"):
    """Write DACON's table, img_id,img_path,mask_rle, or without paths img_id,mask_rle."""
    columns = [ids] if image_paths is None else [ids, map(str, image_paths)]
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["img_id", "img_path", "mask_rle"][::1 if image_paths is not None else 2])
        writer.writerows(zip(*columns, (rle_encode(mask, order) for mask in masks), strict=True))


def read_rle_csv(path):
    """Read DACON's train.csv, test.csv or sample_submission.csv.

    Returns:
        rows: a list of dicts with img_id, and img_path and mask_rle where the table has them.

    Raises:
        ValueError: where there is no column img_id, or a line has another number of fields.
    """
    with open(path, encoding="utf-8-sig", newline="") as file:
        table = csv.reader(file)
        header = next(table, [])
        if "img_id" not in header:
            raise ValueError(f"{path} needs the column img_id, received {header}")
        rows = []
        for cells in table:
            if len(cells) != len(header):
                raise ValueError(f"{path}, line {table.line_num}: {len(cells)} fields, the "
                                 f"header has {len(header)}")
            rows.append(dict(zip(header, cells, strict=True)))
    return rows


class RLEDataset(NyangDataset):
    """Images of a table with run-length codes: x (3, H, W) float32, y (1, H, W) float32 of 0, 1.

    Args:
        path: the table; its img_path are relative to the table's folder.
        order: as rle_encode.
        transform: called as transform(image, mask, rng), image (H, W, 3) uint8, mask (H, W) bool;
            it returns both, as arrays of the same form: flips and turns must move both alike.

    Raises:
        ValueError: where the table lacks a column; by dataset[i] where a code does not fit.
    """

    def __init__(self, path, order="C", transform=None):
        self.rows, self.folder = read_rle_csv(path), Path(path).parent
        self.order, self.transform = _checked(order), transform
        missing = {"img_path", "mask_rle"} - set(self.rows[0] if self.rows else ())
        if missing:
            raise ValueError(f"{path} needs the columns img_path and mask_rle and at least one "
                             f"line; it lacks {sorted(missing)}")

    def __len__(self):
        return len(self.rows)

    def name_of(self, index):
        """Name the image's file in a message."""
        return str(self.folder / self.rows[index]["img_path"])

    def sample(self, index, rng):
        """Return (x, y) of sample index."""
        image = read_image(self.name_of(index))
        mask = rle_decode(self.rows[index]["mask_rle"], image.shape[:2], self.order)
        if self.transform is not None:
            image, mask = self.transform(image, mask, rng)
        return image_to_array(image), mask[None].astype(np.float32)


def _checked(order):
    if order not in ("C", "F"):
        raise ValueError(f'order must be "C" (row by row) or "F" (column by column), '
                         f"received {order!r}")
    return order


def _short(text):
    text = str(text)
    return repr(text if len(text) <= 40 else text[:40] + "…")
