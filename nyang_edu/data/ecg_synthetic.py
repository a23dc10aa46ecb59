"""Drawn patients with the heartbeats of five classes, written as the real database's files.

Each wave of a beat is a bell curve. What is drawn once for a patient (shapes, rhythm, illness,
electrodes) differs from patient to patient as much as the classes do: no threshold tells them.
"""

import tempfile
from pathlib import Path

import numpy as np

from nyang_edu.data.ecg import load_mitdb
from nyang_edu.data.ecg_heart import draw_heart
from nyang_edu.data.wfdb import Record, write_record

__all__ = ["draw_ecg", "draw_record", "write_ecg"]

FS, GAIN, ZERO = 360, 200, 1024  # as MIT-BIH: samples a second, units a mV, the unit of 0 mV
REACH = np.arange(-150, 230) / FS  # seconds around a beat that its waves may fill
PACED_EVERY = 8  # each eighth patient has a pacemaker


def draw_ecg(patients=80, beats=200, seed=0):
    """Draw patients as files, read them back with load_mitdb, and return their Beats.

    Args:
        patients: how many; the first k are the same whatever the number is.
        beats: of each patient.
        seed: a non-negative integer.

    Returns:
        Beats with x (patients·beats, 1, 183); about 83 % N, 2.5 % S, 6.5 % V, 0.7 % F, 7 % Q.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_ecg(folder, patients, beats, seed)
        return load_mitdb(folder)


def write_ecg(folder, patients=80, beats=200, seed=0):
    """Write p000.hea, p000.dat, p000.atr, p001.hea … into a folder; returns the .hea paths.

    Raises:
        ValueError: where there is no patient, or fewer than two beats.
    """
    if patients < 1 or beats < 2:
        raise ValueError("patients must be at least 1 and beats at least 2, received "
                         f"{patients} and {beats}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    return [write_record(folder, draw_record(f"p{i:03d}", beats, np.random.default_rng((seed, i)),
                                             paced=i % PACED_EVERY == PACED_EVERY - 1))
            for i in range(patients)]


def draw_record(name, beats=200, rng=None, paced=False):
    """Draw one patient's Record: 360 Hz, two leads, an annotation for each beat.

    Args:
        name: of the record.
        beats: how many.
        rng: an np.random.Generator; None makes one of seed 0.
        paced: whether a pacemaker beats for the heart some of the time.
    """
    rng = rng or np.random.default_rng(0)
    heart = draw_heart(rng, paced)
    symbols = heart.draw_symbols(beats, rng)
    intervals = heart.draw_intervals(symbols, rng)
    peaks = np.round(FS * (np.cumsum(intervals) - intervals[0] + 1.2)).astype(np.int64)
    frames = int(peaks[-1] + 1.2 * FS)
    signal = _lay_down(_draw_pieces(heart, symbols, intervals, rng), peaks, frames)  # (T, 2)
    noisy, bursts = _draw_noise(frames, peaks[symbols == "Q"], heart.fibrillates, rng)
    adc = np.clip(np.round((signal + noisy) * GAIN) + ZERO, 0, 2047).astype(np.int16)
    marks = peaks + np.round(rng.normal(0, 2, beats)).astype(np.int64)  # nobody marks exactly
    samples = np.concatenate([[18], bursts, marks])
    kinds = ["+"] + ["~"] * len(bursts) + symbols.tolist()
    notes = ["(AFIB" if heart.fibrillates else "(N"] + [""] * (len(kinds) - 1)
    order = np.argsort(samples, kind="stable")
    return Record(name, FS, adc, ("MLII", "V1"), np.full(2, float(GAIN)), np.full(2, ZERO),
                  samples[order], [kinds[i] for i in order], [notes[i] for i in order],
                  ["drawn, not recorded: no person's data"])


def _draw_pieces(heart, symbols, intervals, rng):
    """Draw each beat as the sum of its waves: (beats, samples, leads), in mV."""
    height, centre, width = heart.draw_waves(symbols, intervals, rng)  # (beats, waves) each
    bells = np.exp(-0.5 * ((REACH - centre[..., None]) / width[..., None]) ** 2, dtype=np.float32)
    leads = np.stack([np.full(height.shape[1], heart.sign), heart.second_lead], axis=1)
    return np.einsum("bwt,bwl->btl", bells, (height[..., None] * leads).astype(np.float32),
                     optimize=True)


def _lay_down(pieces, peaks, frames):
    signal = np.zeros((frames + len(REACH), 2), np.float32)
    for piece, peak in zip(pieces, peaks + round(REACH[0] * FS)):
        signal[peak:peak + len(REACH)] += piece
    return signal[:frames]


def _draw_noise(frames, unclear, fibrillates, rng):
    """Draw what is not the heart: (frames, 2) in mV, and where bursts of noise begin."""
    t = np.arange(frames, dtype=np.float32) / FS
    noise = np.empty((frames, 2), np.float32)
    bursts = np.sort(rng.integers(FS, frames - FS, rng.poisson(0.01 * frames / FS)))
    loud = _envelope(frames, np.concatenate([bursts, unclear - FS // 3]))
    for lead in range(2):
        muscle = np.convolve(rng.normal(size=frames), (1, 2, 1, -1, -2, -1), "same") / 3.5
        noise[:, lead] = _wander(t, rng) + rng.uniform(0.005, 0.03) * muscle * loud
    noise += rng.uniform(0, 0.02) * np.sin(2 * np.pi * rng.choice((50, 60)) * t)[:, None]
    if fibrillates:  # the atria shiver between the beats
        noise += (rng.uniform(0.02, 0.06) * np.sin(2 * np.pi * rng.uniform(5, 8) * t
                                                  + 2 * np.sin(t)))[:, None]
    for start in rng.integers(0, frames, rng.poisson(0.03 * frames / FS)):  # the electrode slips
        fading = np.exp(-np.arange(min(frames - start, 2 * FS)) / (0.4 * FS))
        noise[start:start + 2 * FS] += rng.normal(0, 0.4, 2) * fading[:, None]
    return noise, bursts


def _envelope(frames, starts):
    """How loud muscles are: 1, and 10 for two thirds of a second from each start."""
    loud = np.ones(frames, np.float32)
    for start in starts:
        loud[start:start + 2 * FS // 3] = 10
    return loud


def _wander(t, rng):
    """Draw the breath's slow wave: 0.15 to 0.4 Hz, 0.05 to 0.3 mV."""
    pace, depth, phase = rng.uniform(0.15, 0.4), rng.uniform(0.05, 0.3), rng.uniform(0, 6.3, 3)
    slow = np.sin(2 * np.pi * 0.05 * t + phase[0])
    return depth * (1 + 0.5 * slow) * np.sin(2 * np.pi * pace * t + phase[1] + slow)
