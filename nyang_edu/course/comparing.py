"""Compare a named array with the reference's, and say how it differs."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Difference:
    """How one array is wrong: ``kind`` is "missing", "shape", "dtype", "nan" or "value"."""

    name: str
    kind: str
    text: str
    got: np.ndarray = None
    want: np.ndarray = None


def tolerance(dtype, size, conditioning=1.0):
    """The largest relative error that rounding alone explains.

    A sum of n terms is off by about eps·√n when added in another order (rounding errors
    walk randomly; n·eps is the worst case), and a solution is a few such sums in a row:
    hence 64·eps·√n, with n the number of elements of the largest input. ``conditioning``
    is how much a formula itself magnifies rounding, as a central difference does by
    dividing by a small step.
    """
    if dtype.kind not in "fc":
        return 0.0
    return 64 * float(np.finfo(dtype).eps) * max(size, 1) ** 0.5 * conditioning


def compare(name, got, want, size=1, conditioning=1.0):
    """The Difference between two arrays, or None where they agree.

    Numbers without a shape may come as Python, NumPy or 0-d array; an array must have the
    reference's dtype, except that every width of integer counts as the same.
    """
    if got is None:
        return Difference(name, "missing", "was not reached", None, want)
    if got.shape != want.shape:
        text = f"got shape {got.shape}, expected {want.shape}"
        return Difference(name, "shape", text, got, want)
    if not _same_kind(got, want):
        text = f"got {got.dtype}, expected {want.dtype}"
        return Difference(name, "dtype", text, got, want)
    if got.dtype == want.dtype and got.tobytes() == want.tobytes():
        return None
    wrong = _wrong_elements(got, want, size, conditioning)
    if not wrong.any():
        return None
    return _describe(name, got, want, wrong)


def _same_kind(got, want):
    if want.dtype.kind in "iu":
        return got.dtype.kind in "iu"
    if want.dtype.kind == "f" and want.ndim == 0:
        return got.dtype.kind in "fiu"
    if want.dtype.kind in "US":
        return got.dtype.kind in "US"
    return got.dtype == want.dtype


def _wrong_elements(got, want, size, conditioning):
    """A boolean array, True where an element is outside the tolerance."""
    if want.dtype.kind not in "fc":
        return np.asarray(got != want)
    coarser = got.dtype if got.dtype.kind == "f" and (
        np.finfo(got.dtype).eps > np.finfo(want.dtype).eps) else want.dtype
    rtol = tolerance(coarser, size, conditioning)
    finite = np.isfinite(want)
    scale = np.abs(want[finite]).max(initial=0.0)  # rounding is relative to the terms' size
    with np.errstate(all="ignore"):
        close = np.abs(got - want) <= rtol * np.abs(want) + rtol * scale
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    return np.asarray(~np.where(finite, close, same))


def _describe(name, got, want, wrong):
    count = int(wrong.sum())
    if got.dtype.kind == "f" and np.isnan(got).any() and not np.isnan(want).any():
        at = tuple(np.argwhere(np.isnan(got))[0])
        text = (f"got NaN (not a number){_place(at)}, expected {_numbers(want, want, at)[0]}: "
                "look for 0/0, inf - inf, or a log or root of a negative number")
        return Difference(name, "nan", text, got, want)
    at = tuple(_worst(got, want, wrong))
    given, expected = _numbers(got, want, at)
    text = f"got {given}{_place(at)}, expected {expected}"
    if given != expected and _relative(got, want, at) < 1e-6:
        text += " (closer than most mistakes, further off than rounding explains)"
    if got.size > 1:
        which = "only wrong element" if count == 1 else f"worst of {count} wrong elements"
        text += f" (the {which} out of {got.size})"
    return Difference(name, "value", text, got, want)


def _worst(got, want, wrong):
    if want.dtype.kind not in "fiuc":
        return np.argwhere(wrong)[0] if want.ndim else ()
    wide = complex if want.dtype.kind == "c" else float
    with np.errstate(all="ignore"):
        error = np.abs(got.astype(wide) - want.astype(wide))
    error = np.where(wrong, np.nan_to_num(error, nan=np.inf, posinf=np.inf), -1.0)
    return np.unravel_index(int(error.argmax()), error.shape)


def _place(at):
    return f" at [{', '.join(str(int(i)) for i in at)}]" if at else ""


def _relative(got, want, at):
    """The relative error of one element; infinite where that means nothing."""
    if got.dtype.kind != "f" or not np.isfinite(want[at]) or want[at] == 0:
        return np.inf
    return abs(float(got[at]) / float(want[at]) - 1)


def _numbers(got, want, at):
    """Both elements as text, with as many digits as it takes to tell them apart."""
    for digits in (6, 9, 17):
        shown = [f"{a[at]:.{digits}g}" if a.dtype.kind == "f" else str(a[at])
                 for a in (got, want)]
        if shown[0] != shown[1]:
            break
    return shown
