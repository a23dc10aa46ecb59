"""The heart of a drawn patient: the shapes of its beats, how often it stumbles, and when it beats.

A shape has seven waves P, Q, R, R', S, T and the pacemaker's spike, each a bell curve with a
height in mV, a centre in seconds from R, and a width (its standard deviation) in seconds.
"""

from dataclasses import dataclass

import numpy as np

WAVES = ("P", "Q", "R", "R'", "S", "T", "spike")
P, Q, R, NOTCH, S, T, SPIKE = range(len(WAVES))
NORMAL = np.array([(0.15, -0.170, 0.025), (-0.10, -0.035, 0.010), (1.10, 0.0, 0.011),
                   (0, 0.045, 0.015), (-0.25, 0.030, 0.011), (0.30, 0.230, 0.055),
                   (0, -0.065, 0.002)])
OWN, EARLY, FOCUS, OTHER_FOCUS, PACER = range(5)  # the shapes that one heart has
# Which two shapes a symbol mixes. A single shape is mixed with itself.
MIXES = {"N": (OWN, OWN), "L": (OWN, OWN), "R": (OWN, OWN), "A": (EARLY, EARLY),
         "V": (FOCUS, FOCUS), "F": (OWN, FOCUS), "/": (PACER, PACER), "f": (OWN, PACER),
         "Q": (OWN, OWN)}


@dataclass
class Heart:
    """What is drawn once for a patient. ``shapes`` (5, waves, 3): height, centre, width."""

    own: str  # N, or L or R with a bundle branch block
    shapes: np.ndarray
    rates: dict  # how often each other symbol occurs
    interval: float  # seconds
    fibrillates: bool
    paced_share: float
    sign: float  # of the first lead
    second_lead: np.ndarray  # (2·waves,) what the second lead sees of each wave

    def draw_symbols(self, beats, rng):
        """Draw the symbol of each beat: (beats,) strings; a pacemaker works in runs of 20."""
        kinds, odds = [self.own, *self.rates], [1 - sum(self.rates.values()), *self.rates.values()]
        symbols = rng.choice(kinds, beats, p=odds)
        paced = np.repeat(rng.random(-(-beats // 20)) < self.paced_share, 20)[:beats]
        return np.where(paced, rng.choice(["/", "f", "V"], beats, p=[0.88, 0.1, 0.02]), symbols)

    def draw_intervals(self, symbols, rng):
        """Draw the seconds since the beat before: early beats, pauses, breath, fibrillation."""
        n = len(symbols)
        breath = 0.03 * np.sin(np.arange(n) * rng.uniform(1.2, 2.2) + rng.uniform(0, 6))
        spread = 0.17 if self.fibrillates else 0.02
        steady = np.isin(symbols, ("/", "f"))
        free = self.interval * (1 + breath + rng.normal(0, spread, n))
        early = np.ones(n)
        for kind, low, high in [("A", 0.60, 0.85), ("V", 0.55, 0.85), ("F", 0.88, 1.0)]:
            early = np.where(symbols == kind, rng.uniform(low, high, n), early)
        pause = np.ones(n)  # after V the next normal beat comes when it would have come anyway
        pause[1:] = np.where(symbols[:-1] == "V", 2 - early[:-1], 1)
        pause[1:] *= np.where(symbols[:-1] == "A", rng.uniform(1, 1.15, n - 1), 1)
        pause[early < 1] = 1
        return np.maximum(np.where(steady, self.interval, free) * early * pause, 0.32)

    def draw_waves(self, symbols, intervals, rng):
        """Draw heights (mV), centres and widths (s) of all waves: three arrays (beats, 2·waves).

        Each beat mixes two shapes; only fusions mix two different ones, 30 to 70 % of each.
        """
        first, second = np.array([MIXES[s] for s in symbols]).T
        other = (second == FOCUS) & (rng.random(len(symbols)) < 0.3)
        first, second = (np.where(other & (which == FOCUS), OTHER_FOCUS, which)
                         for which in (first, second))
        share = rng.uniform(0.3, 0.7, len(symbols))[:, None, None]
        waves = np.concatenate([self.shapes[first], self.shapes[second]], axis=1)
        waves[..., :1] *= np.concatenate([np.repeat(share, len(WAVES), 1),
                                          np.repeat(1 - share, len(WAVES), 1)], axis=1)
        half = np.ones((len(symbols), len(WAVES), 3)) + rng.normal(
            0, (0.08, 0.03, 0.04), (len(symbols), len(WAVES), 3))  # no two beats are the same
        height, centre, width = np.moveaxis(waves * np.tile(half, (1, 2, 1)), -1, 0)
        centre[:, T::len(WAVES)] *= np.sqrt(intervals[:, None] / 0.8).clip(0.75, 1.2)
        return height, centre, np.maximum(width, 0.001)


def draw_heart(rng, paced=False):
    """Draw a patient: block in 18 %, fibrillation in 5 %, each class as often as in MIT-BIH."""
    own = rng.choice(["N", "L", "R"], p=[0.82, 0.09, 0.09])
    fibrillates = bool(rng.random() < 0.05)
    normal = _draw_normal(own, rng)
    shapes = np.stack([normal, _draw_early(normal, rng), _draw_focus(rng), _draw_focus(rng),
                       _draw_pacer(rng)])
    if rng.random() < 0.7:
        shapes[OTHER_FOCUS] = shapes[FOCUS]
    if fibrillates:
        shapes[:, P, 0] = 0
    early = 0 if fibrillates else min(rng.gamma(0.6, 0.0282 / 0.6), 0.25)
    ectopic = min(rng.gamma(0.7, 0.0735 / 0.7), 0.35)
    rates = {"A": early, "V": ectopic, "F": ectopic * rng.uniform(0, 0.215), "Q": 0.003}
    sees = rng.normal(0.4, 0.5, len(WAVES))
    return Heart(str(own), shapes, rates, 60 / rng.uniform(50, 110), fibrillates,
                 rng.uniform(0.3, 0.87) if paced else 0.0, rng.choice((1.0, -1.0), p=(0.92, 0.08)),
                 np.tile(sees, 2))


def _varied(waves, rng):
    """Vary heights by a factor of about 1.28, widths by 1.12, centres by 1.08."""
    return waves * np.exp(rng.normal(0, (0.25, 0.08, 0.12), waves.shape))


def _draw_normal(own, rng):
    waves = _varied(NORMAL, rng)
    if own == "L":  # a wide, notched R, and T against it
        waves[Q, 0], waves[S, 0], waves[T, 0] = 0, 0.4 * waves[S, 0], -0.8 * waves[T, 0]
        waves[R, 2] = rng.uniform(0.020, 0.028)
        waves[NOTCH] = rng.uniform(0.4, 0.8) * waves[R, 0], rng.uniform(0.04, 0.06), 0.018
    if own == "R":  # a late, wide S
        waves[S] = -rng.uniform(0.25, 0.6), rng.uniform(0.05, 0.07), rng.uniform(0.018, 0.026)
    return waves


def _draw_early(normal, rng):
    """Draw the premature beat of the atria: another P, the same QRS."""
    waves, kind = normal.copy(), rng.integers(3)
    waves[P] *= [(-rng.uniform(0.6, 1.2), 0.75, 0.9), (0, 1, 1),
                 (rng.uniform(0.5, 1.3), 0.6, 0.7)][kind]  # upside down, absent, close to R
    waves[T, 0] *= rng.uniform(0.8, 1.1)
    return waves


def _draw_focus(rng):
    """Draw the beat of a focus in the ventricles: no P, QRS wide and notched, T against it."""
    waves, up = _varied(NORMAL, rng), rng.choice((1, -1), p=(0.6, 0.4))
    waves[P, 0] = waves[Q, 0] = waves[S, 0] = 0
    waves[R] = up * rng.uniform(0.6, 1.7) * waves[R, 0], 0, rng.uniform(0.033, 0.050)
    waves[NOTCH] = rng.uniform(-0.2, 0.6) * waves[R, 0], rng.uniform(0.05, 0.08), 0.025
    waves[T] = -up * rng.uniform(0.3, 0.7), rng.uniform(0.27, 0.33), rng.uniform(0.05, 0.07)
    return waves


def _draw_pacer(rng):
    """Draw a paced beat: a spike, then a wide QRS, mostly downwards."""
    waves, up = _draw_focus(rng), rng.choice((1, -1), p=(0.35, 0.65))
    waves[R, 0], waves[T, 0] = up * 0.75 * abs(waves[R, 0]), -up * abs(waves[T, 0])
    waves[P] = rng.uniform(0, 0.15), -rng.uniform(0.12, 0.22), 0.025
    waves[SPIKE] = rng.choice((1, -1)) * rng.uniform(0.4, 1.6), -0.07, rng.uniform(0.0015, 0.003)
    return waves
