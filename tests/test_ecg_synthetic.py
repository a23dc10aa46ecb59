"""Drawn patients: seeded, honest files, rhythms that obey rules, classes that are hard to tell."""

import numpy as np
import pytest

from nyang_edu.data.ecg import ECG_CLASSES, aami_class, load_mitdb, split_patients
from nyang_edu.data.ecg_heart import draw_heart
from nyang_edu.data.ecg_synthetic import draw_ecg, draw_record, write_ecg
from nyang_edu.data.split import nyang_split
from nyang_edu.data.wfdb import read_record
from nyang_edu.evaluation.metrics import f1_score

REAL = np.array([0.828, 0.025, 0.066, 0.007, 0.073])  # classes of the table made of MIT-BIH


@pytest.fixture(scope="module")
def beats():
    return draw_ecg(60, 100, seed=4)


def test_a_frozen_seed(beats):
    assert beats.x.shape == (6000, 1, 183) and beats.x.dtype == np.float32
    assert beats.counts().tolist() == [4994, 126, 496, 56, 328]
    assert beats.skipped == {"'+' is no beat": 60, "'~' is no beat": 44}
    assert len(set(beats.patient)) == 60 and np.isfinite(beats.x).all()


def test_the_same_seed_writes_the_same_bytes_whatever_the_number(tmp_path):
    few, many = write_ecg(tmp_path / "few", 2, 20, 7), write_ecg(tmp_path / "many", 3, 20, 7)
    other = write_ecg(tmp_path / "other", 2, 20, 8)
    for end in (".hea", ".dat", ".atr"):
        one, two, three = [paths[1].with_suffix(end).read_bytes() for paths in (few, many, other)]
        assert one == two != three
    assert [path.name for path in many] == ["p000.hea", "p001.hea", "p002.hea"]


def test_what_is_read_is_what_was_drawn(tmp_path):
    drawn = draw_record("p9", 40, np.random.default_rng(9), paced=True)
    write_ecg(tmp_path, 1, 30)
    read = read_record(tmp_path / "p000")
    again = draw_record("p000", 30, np.random.default_rng((0, 0)))
    assert (read.adc == again.adc).all() and read.symbols == again.symbols
    assert drawn.adc.shape[1] == 2 and drawn.fs == 360 and {"/"} <= set(drawn.symbols)
    assert len(load_mitdb(tmp_path)) == 30  # no beat is lost


def test_shares_of_the_classes_are_the_real_ones():
    counts = np.zeros(5)
    for i in range(1200):
        rng = np.random.default_rng((2, i))
        for symbol in draw_heart(rng, paced=i % 8 == 7).draw_symbols(40, rng):
            counts[aami_class(symbol)] += 1
    assert np.allclose(counts / counts.sum(), REAL, rtol=0.15)  # F's share is known to ±5 %


def test_beats_come_early_and_pause_as_they_should():
    ratios = {kind: [] for kind in "NAVF"}
    after = []
    for i in range(60):
        rng = np.random.default_rng((3, i))
        heart = draw_heart(rng)
        symbols = heart.draw_symbols(100, rng)
        relative = heart.draw_intervals(symbols, rng) / heart.interval
        for kind in ratios:
            ratios[kind] += relative[symbols == kind].tolist()
        after += relative[1:][(symbols[:-1] == "V") & (symbols[1:] == "N")].tolist()
    means = {kind: np.mean(values) for kind, values in ratios.items()}
    assert 0.95 < means["N"] < 1.1 and 0.65 < means["A"] < 0.8 and 0.6 < means["V"] < 0.8
    assert 0.85 < means["F"] < 1.02 and 1.2 < np.mean(after) < 1.4


def best_threshold(values, wanted):
    """The best F1 that one threshold reaches, above or below it."""
    hits = wanted[np.argsort(values)].cumsum()
    taken, total = np.arange(1, len(hits) + 1), hits[-1]
    below, above = 2 * hits / (taken + total), 2 * (total - hits) / (len(hits) - taken + total)
    return max(below.max(), above.max())


def test_no_threshold_tells_the_classes(beats):
    x = beats.x[:, 0]
    near = np.abs(x[:, 79:104])  # 0.1 s around R
    features = [x.max(1), x.min(1), x.std(1), x[:, 91], near.sum(1), x[:, 60:80].max(1),
                (near > near.max(1, keepdims=True) / 2).sum(1), x[:, 105:140].mean(1),
                np.abs(np.diff(x)).sum(1), np.abs(np.diff(x[:, 75:92])).max(1)]
    best = {name: max(best_threshold(f, beats.y == number) for f in features)
            for number, name in enumerate(ECG_CLASSES)}
    assert best["S"] < 0.2 and best["F"] < 0.2 and best["V"] < 0.9 and best["Q"] < 0.7, best
    assert np.mean(list(best.values())) < 0.6, best


def nearest_neighbour(beats, train, test):
    """Macro-F1 where each beat takes the class of the most similar training beat."""
    x, seen = beats.x[test, 0], beats.x[train, 0]
    far = (seen**2).sum(1) - 2 * x @ seen.T  # (test, train), up to a constant a row
    return f1_score(beats.y[test], beats.y[train][far.argmin(1)], average="macro")


def test_a_random_split_flatters(beats):
    unseen = nearest_neighbour(beats, *split_patients(beats.y, beats.patient, (0.7, 0.3)))
    leaked = nearest_neighbour(beats, *nyang_split(beats.y, (0.7, 0.3), stratified=True))
    assert unseen + 0.1 < leaked


def test_numbers_that_make_no_sense(tmp_path):
    with pytest.raises(ValueError, match="received 0 and 20"):
        write_ecg(tmp_path, 0, 20)
    with pytest.raises(ValueError, match="received 3 and 1"):
        draw_ecg(3, 1)
