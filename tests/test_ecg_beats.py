"""Beats: cut where they are marked, sorted as AAMI does, split by patient."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nyang_edu.data.ecg import (
    DS1,
    DS2,
    ECG_CLASSES,
    PACED,
    Beats,
    aami_class,
    cut_beats,
    load_mitdb,
    split_patients,
)
from nyang_edu.data.split import nyang_split
from nyang_edu.data.wfdb import SYMBOLS, Record, write_record


def record_of(adc, samples, symbols, fs=360, name="r"):
    adc = np.asarray(adc, np.int16).reshape(-1, 1)
    return Record(name, fs, adc, ("MLII",), np.array([200.0]), np.array([0]), np.array(samples),
                  list(symbols), [""] * len(symbols))


def noisy(samples, symbols, **more):
    adc = np.random.default_rng(1).integers(-900, 900, 2000)
    return record_of(adc, samples, symbols, **more)


def test_the_groups_of_aami():
    groups = {"N": "NLRej", "S": "AaJS", "V": "VE", "F": "F", "Q": "/fQ"}
    for number, name in enumerate(ECG_CLASSES):
        assert [aami_class(symbol) for symbol in groups[name]] == [number] * len(groups[name])
    others = set(SYMBOLS.values()) - set("".join(groups.values()))
    assert {aami_class(symbol) for symbol in others | {"[50]", ""}} == {-1}
    assert {"+", "~", "|", "x", "!", "?"} <= others


def test_a_window_is_the_signal_itself_where_the_rates_agree():
    record = noisy([500, 900], "NV", fs=125)
    beats = cut_beats(record)
    windows = record.signal[:, 0][np.array([[500], [900]]) + np.arange(-91, 92)]
    windows -= np.median(windows, axis=1, keepdims=True)
    assert beats.x.shape == (2, 1, 183) and beats.x.dtype == np.float32
    assert np.allclose(beats.x[:, 0] * np.median(windows.std(axis=1)), windows, atol=1e-5)
    assert beats.y.tolist() == [0, 2] and beats.patient.tolist() == ["r", "r"]


def test_the_peak_stands_where_it_should_and_time_is_resampled():
    adc = np.zeros(2000)
    adc[[1000, 1144]] = 2000, 1000  # 144 samples at 360 Hz are 50 at 125 Hz
    x = cut_beats(record_of(adc, [1000], "N")).x[0, 0]
    assert x.argmax() == 91 and x[:80].max() == x[100:135].max() == 0
    assert x[130:150].argmax() + 130 == 141
    assert cut_beats(record_of(adc, [1000], "N"), length=60, before=20).x[0, 0].argmax() == 20


def test_a_slow_line_stays_a_line():
    x = cut_beats(record_of(np.arange(2000), [700, 900], "NN")).x[:, 0]
    assert np.allclose(np.diff(x, axis=1), np.diff(x, axis=1).mean(), rtol=1e-3)


def test_amplitudes_compare_within_a_record():
    adc = np.zeros(4000)
    adc[[1000, 2000, 3000]] = 1000, 1000, 2000
    peaks = cut_beats(record_of(adc, [1000, 2000, 3000], "NNV")).x[:, 0, 91]
    assert np.allclose(peaks[2] / peaks[:2], 2, rtol=1e-4)
    assert np.allclose(cut_beats(record_of(adc / 2, [1000, 2000, 3000], "NNV")).x[:, 0, 91], peaks)


def test_no_label_is_looked_at():
    one, two = noisy([500, 900, 1300], "NNV"), noisy([500, 900, 1300], "SQF")
    assert (cut_beats(one).x == cut_beats(two).x).all()


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-5, 2100), st.sampled_from("NLAVFf+~x|")), max_size=12))
def test_every_annotation_is_a_beat_or_counted(rows):
    samples, symbols = [list(c) for c in zip(*rows)] or [[], []]
    beats = cut_beats(noisy(samples, symbols))
    marks = sum(count for reason, count in beats.skipped.items() if "no beat" in reason)
    outside = sum(aami_class(s) >= 0 and not 263 <= at <= 1737
                  for at, s in rows)  # 91 samples at 125 Hz are 262.08 at 360 Hz
    assert marks == sum(symbol in "+~x|" for symbol in symbols)
    assert beats.skipped.get("window leaves the record", 0) == outside
    assert len(beats) + sum(beats.skipped.values()) == len(rows)
    assert len(beats.x) == len(beats.y) == len(beats.patient)


def test_a_window_with_a_missing_sample_is_counted():
    record = noisy([500, 900, 1300], "NNN")
    record.adc[910] = -2048
    beats = cut_beats(record)
    assert len(beats) == 2 and beats.skipped == {"samples are missing": 1}
    assert np.isfinite(beats.x).all()


def test_a_lead_that_is_not_there():
    with pytest.raises(ValueError, match=r"record r has the leads .*received lead=1: pass 0 to 0"):
        cut_beats(noisy([500], "N"), lead=1)


def test_a_folder_of_records(tmp_path):
    for name in ("201", "202", "100"):
        write_record(tmp_path, noisy([10, 500, 900], "+NV", name=name))
    beats = load_mitdb(tmp_path)
    assert beats.patient.tolist() == ["100"] * 2 + ["201"] * 4  # 202 is the same person
    assert beats.skipped == {"'+' is no beat": 3} and beats.counts().tolist() == [3, 0, 3, 0, 0]
    assert load_mitdb(tmp_path, ["202"], length=60).x.shape == (2, 1, 60)
    assert beats.take([5, 0]).patient.tolist() == ["201", "100"]


def test_a_damaged_record_is_refused_or_skipped_and_counted(tmp_path):
    for name in ("a", "b"):
        write_record(tmp_path, noisy([500], "N", name=name))
    (tmp_path / "b.dat").write_bytes(b"?")
    with pytest.raises(ValueError, match=r"b\.dat: "):
        load_mitdb(tmp_path)
    with pytest.warns(UserWarning, match=r"left out: .*b\.dat"):
        beats = load_mitdb(tmp_path, on_error="skip")
    assert beats.patient.tolist() == ["a"] and beats.skipped == {"record is damaged": 1}
    with pytest.raises(FileNotFoundError, match="no .hea file"):
        load_mitdb(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"c\.hea"):
        load_mitdb(tmp_path, ["c"])
    with pytest.raises(ValueError, match='"raise" or "skip", received None'):
        load_mitdb(tmp_path, on_error=None)


def test_the_published_lists():
    assert len(set(DS1)) == len(set(DS2)) == 22 and not set(DS1) & set(DS2)
    assert not set(PACED) & (set(DS1) | set(DS2)) and len(set(PACED)) == 4


def test_joining_adds_up_what_was_skipped():
    part = Beats(np.zeros((1, 1, 183), np.float32), np.array([2]), np.array(["a"]), {"lost": 2})
    both = Beats.join([part, part])
    assert len(both) == 2 and Counter(both.skipped) == {"lost": 4}


# --- the split ---


def cohort(people, rng):
    """Labels and patients, unevenly many of each."""
    sizes = rng.integers(1, 30, people)
    rare = rng.random(people) * 0.3
    patients = np.repeat([f"p{i}" for i in range(people)], sizes)
    return (rng.random(len(patients)) < np.repeat(rare, sizes)).astype(int), patients


@settings(deadline=None, max_examples=50)
@given(st.integers(3, 25), st.integers(0, 99),
       st.sampled_from([(0.6, 0.4), (0.7, 0.1, 0.2), (0.5, 0.0, 0.5)]))
def test_parts_are_whole_patients_disjoint_and_complete(people, seed, ratio):
    labels, patients = cohort(people, np.random.default_rng(seed))
    parts = split_patients(labels, patients, ratio, seed=seed, tries=20)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(labels)))
    owners = [set(patients[part].tolist()) for part in parts]
    assert sum(map(len, owners)) == people == len(set.union(*owners))
    assert [len(part) > 0 for part in parts] == [share > 0 for share in ratio]
    again = split_patients(labels, patients, ratio, seed=seed, tries=20)
    assert all((a == b).all() for a, b in zip(parts, again))


def test_classes_are_shared_out_better_than_by_chance():
    labels, patients = cohort(40, np.random.default_rng(5))

    def error(tries, seed):
        test = split_patients(labels, patients, (0.7, 0.3), seed=seed, tries=tries)[1]
        return abs(labels[test].sum() / labels.sum() - 0.3)

    chance = np.mean([error(1, seed) for seed in range(30)])
    assert max(error(500, seed) for seed in range(10)) < 0.2 * chance


def test_another_seed_splits_otherwise_and_a_random_split_leaks():
    labels, patients = cohort(40, np.random.default_rng(5))
    one, two = (set(patients[split_patients(labels, patients, (0.7, 0.3), seed=s)[1]])
                for s in (0, 1))
    assert one != two
    train, test = nyang_split(labels, (0.7, 0.3), stratified=True)
    assert len(set(patients[train]) & set(patients[test])) > 20


def test_a_split_that_cannot_be():
    with pytest.raises(ValueError, match="received 2 labels and 3 patients"):
        split_patients([0, 1], ["a", "b", "c"], (0.5, 0.5))
    with pytest.raises(ValueError, match="2 parts need at least 2"):
        split_patients([0, 1], ["a", "a"], (0.5, 0.5))
    with pytest.raises(ValueError, match="sum to 1"):
        split_patients([0, 1], ["a", "b"], (0.5, 0.6))
