"""Heartbeats as samples: cut from annotated records, sorted into five classes, split by patient.

A patient's beats resemble each other. Split them at random and the test set has seen its own
patients before, so whole patients go to one part.
"""

import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from nyang_edu.data.split import split_counts
from nyang_edu.data.wfdb import read_record

__all__ = ["DS1", "DS2", "ECG_CLASSES", "PACED", "Beats", "aami_class", "cut_beats", "load_mitdb",
           "split_patients"]

ECG_CLASSES = ("N", "S", "V", "F", "Q")
# ANSI/AAMI EC57: normal or bundle branch block, supraventricular, ventricular, fusion, other.
_GROUPS = dict(zip(ECG_CLASSES, ("NLRej", "AaJS", "VE", "F", "/fQ")))
_CLASS = {symbol: i for i, group in enumerate(_GROUPS.values()) for symbol in group}
# The inter-patient split of de Chazal et al., Automatic classification of heartbeats (2004); the
# four records with pacemakers are in neither. 201 and 202 are one person, and stand in both.
DS1 = tuple("101 106 108 109 112 114 115 116 118 119 122 124 201 203 205 207 208 209 215 220 223 "
            "230".split())
DS2 = tuple("100 103 105 111 113 117 121 123 200 202 210 212 213 214 219 221 222 228 231 232 233 "
            "234".split())
PACED = ("102", "104", "107", "217")
_SAME_PERSON = {"202": "201"}


def aami_class(symbol):
    """Return the class 0…4 of a beat's WFDB symbol, or -1 where it marks no beat."""
    return _CLASS.get(symbol, -1)


@dataclass
class Beats:
    """Beats as a network takes them, each with its class and its patient.

    Shapes: x (B, 1, L) float32, y (B,) int64 from 0 to 4, patient (B,) strings.
    ``skipped`` counts, by reason, the annotations that gave no beat, and files left out.
    """

    x: np.ndarray
    y: np.ndarray
    patient: np.ndarray
    skipped: dict = field(default_factory=dict)

    def __len__(self):
        return len(self.y)

    def take(self, indices):
        """Return the beats at these indices; what was skipped stays with the whole."""
        return Beats(self.x[indices], self.y[indices], self.patient[indices])

    def counts(self):
        """Count the beats of each class: (5,) int64."""
        return np.bincount(self.y, minlength=len(ECG_CLASSES))

    @classmethod
    def join(cls, parts):
        """Put several sets one after the other, and add up what they skipped."""
        x, y, patient = (np.concatenate([getattr(part, name) for part in parts])
                         for name in ("x", "y", "patient"))
        return cls(x, y, patient, dict(sum((Counter(part.skipped) for part in parts), Counter())))


def cut_beats(record, lead=0, length=183, fs=125, before=91):
    """Cut a window around each beat of a record.

    A window is resampled to fs, its median taken off, and divided by the median of all windows'
    standard deviations: amplitudes compare within a patient, and no label is used.

    Args:
        record: a Record with annotations.
        lead: which column of its signal.
        length, fs: samples in a window, and how many a second; 183 at 125 Hz are 1.46 s.
        before: the column of the annotated sample, so that the beats before and after show.

    Returns:
        Beats of len(record.symbols) - sum(skipped.values()) windows.

    Raises:
        ValueError: where the record has no such lead.
    """
    if not 0 <= lead < len(record.leads):
        raise ValueError(f"record {record.name} has the leads {record.leads}, received lead={lead}:"
                         f" pass 0 to {len(record.leads) - 1}")
    y = np.array([aami_class(symbol) for symbol in record.symbols], np.int64)
    step = record.fs / fs
    places = np.asarray(record.samples)[:, None] + (np.arange(length) - before) * step  # (A, L)
    outside = (places[:, 0] < 0) | (places[:, -1] > len(record.adc) - 1)
    good = (y >= 0) & ~outside
    x = _between(_smoothed(record.signal[:, lead], round(step)), places[good])  # (B, L)
    whole = np.isfinite(x).all(axis=1)
    skipped = Counter(f"{symbol!r} is no beat" for symbol, c in zip(record.symbols, y) if c < 0)
    skipped["window leaves the record"] = int((outside & (y >= 0)).sum())
    skipped["samples are missing"] = int((~whole).sum())
    person = _SAME_PERSON.get(record.name, record.name)
    x = _scaled(x[whole])[:, None].astype(np.float32)  # (B, 1, L)
    return Beats(x, y[good][whole], np.full(len(x), person), dict(+skipped))


def _smoothed(signal, width):
    """Average over width samples: what the coarser rate cannot hold must not fold back."""
    if width < 2:
        return signal
    padded = np.pad(signal, (width // 2, (width - 1) // 2), mode="edge")
    return np.convolve(padded, np.full(width, 1 / width, signal.dtype), "valid")


def _between(signal, places):
    """Read a signal at places between its samples, on straight lines."""
    left = np.minimum(places.astype(np.int64), max(len(signal) - 2, 0))
    part = places - left
    return (1 - part) * signal[left] + part * signal[np.minimum(left + 1, len(signal) - 1)]


def _scaled(x):
    x = x - np.median(x, axis=1, keepdims=True)
    spread = np.median(x.std(axis=1)) if len(x) else 1.0
    return x / (spread or 1.0)


def load_mitdb(folder, records=None, on_error="raise", **cut):
    """Cut the beats of a folder's records, such as the MIT-BIH Arrhythmia Database.

    Args:
        folder: holds the .hea, .dat and .atr files.
        records: names, such as DS1; None takes all in order.
        on_error: "raise" refuses a damaged record, "skip" leaves it out, warns and counts it.
        cut: lead, length, fs and before of cut_beats.

    Raises:
        FileNotFoundError: where the folder has no record, or a named one is missing.
        ValueError: for a damaged record, or another on_error.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f'on_error must be "raise" or "skip", received {on_error!r}')
    names = sorted(path.stem for path in Path(folder).glob("*.hea")) if records is None else records
    if not names:
        raise FileNotFoundError(f"no .hea file in {folder}: unpack the database there")
    return Beats.join([_beats_of(Path(folder) / str(name), on_error, cut) for name in names])


def _beats_of(path, on_error, cut):
    try:
        record = read_record(path)
    except (ValueError, FileNotFoundError) as error:
        if on_error == "raise":
            raise
        warnings.warn(f"left out: {error}", stacklevel=4)
        empty = np.zeros((0, 1, cut.get("length", 183)), np.float32)
        return Beats(empty, np.zeros(0, np.int64), np.zeros(0, str), {"record is damaged": 1})
    beats = cut_beats(record, **cut)
    if not record.symbols:
        beats.skipped["record has no annotations"] = 1
    return beats


def split_patients(labels, patients, split_ratio, *, seed=0, tries=2000):
    """Split samples into parts that share no patient, each class in about the same shares.

    Of many random splits of the patients, the one whose shares of each class are nearest to
    split_ratio is kept: a rare class may live in few patients, and no sum comes out exact.

    Args:
        labels: (N,) class numbers or names.
        patients: (N,) whose sample each one is.
        split_ratio: the share of each part, such as (0.6, 0.15, 0.25); they sum to 1.
        seed: the same seed gives the same parts.
        tries: how many splits are drawn.

    Returns:
        a tuple of index arrays, one a part, each in random order.

    Raises:
        ValueError: where there are fewer patients than parts, the ratios do not sum to 1, or
            labels and patients differ in length.
    """
    if len(labels) != len(patients):
        raise ValueError(f"each sample needs its patient, received {len(labels)} labels and "
                         f"{len(patients)} patients: take both from the same beats")
    people, person = np.unique(patients, return_inverse=True)
    classes, label = np.unique(labels, return_inverse=True)
    table = np.zeros((len(people), len(classes)))
    np.add.at(table, (person, label), 1)  # beats of each person and class
    sizes = split_counts(len(people), split_ratio)
    rng = np.random.default_rng(seed)
    shares = table / table.sum(axis=0)
    best = min((rng.permuted(np.arange(len(people))) for _ in range(tries)),
               key=lambda order: _imbalance(shares[order], sizes, split_ratio))
    part = np.empty(len(people), np.int64)
    part[best] = np.repeat(np.arange(len(sizes)), sizes)
    return tuple(rng.permutation(np.flatnonzero(part[person] == i)) for i in range(len(sizes)))


def _imbalance(shares, sizes, ratio):
    """Sum the squared relative errors of all parts and classes.

    Shapes: shares (people, classes), what part of its class each person holds, part after part.
    """
    sums = np.stack([part.sum(axis=0) for part in np.split(shares, np.cumsum(sizes)[:-1])])
    ratio = np.asarray(ratio, float)[:, None]
    return float((((sums - ratio) / np.maximum(ratio, 1e-9)) ** 2).sum())
