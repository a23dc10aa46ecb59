"""The few names that a pickle of arrays needs, with harmless replacements.

A pickle does not hold an array; it names NumPy's functions that make one. What stands here
does their work from bytes that are really in the file, and imports nothing.
"""

import math
import re

import numpy as np

from nyang_edu.utility.plain import Box, UnsafeFileError

_CODE = re.compile(r"b1|[iu][1248]|f[248]|f1[26]|c8|c16|c24|c32")


class Name:
    """A name that a file may use; ``use(machine, *arguments)`` stands for the call."""

    def __init__(self, use):
        self.use = use


class DType:
    """A dtype on its way: first its code, later its byte order.

    Raises:
        UnsafeFileError: for other dtypes than numbers and bool.
    """

    def __init__(self, code):
        if not _CODE.fullmatch(code):
            raise UnsafeFileError(f"refuses arrays of dtype {code[:40]!r}: only numbers and bool")
        self.code, self.order = code, "="

    def finish(self):
        """Return the np.dtype.

        Raises:
            ValueError: where this machine has none, as for some long floats.
        """
        try:
            return np.dtype(self.order + self.code)
        except TypeError:
            raise ValueError(f"this machine has no dtype {self.code}") from None


def build(machine, target, state):
    """Finish a DType or a Box with its state, as __setstate__ would.

    Raises:
        UnsafeFileError: for any other target: nothing else has a state.
    """
    if type(state) is not tuple or type(target) not in (DType, Box):
        raise UnsafeFileError(f"refuses to set the state of a {type(target).__name__}")
    (_build_dtype if type(target) is DType else _build_array)(machine, target, *state)


def _build_dtype(machine, target, version, order, *details):
    if any(one is not None for one in details[:3]):
        raise UnsafeFileError("refuses a dtype with fields or a shape: only numbers and bool")
    order = order.decode("ascii") if isinstance(order, bytes) else order
    if order not in ("<", ">", "=", "|"):
        raise ValueError("a dtype's state is not as NumPy writes it")
    target.order = order


def _build_array(machine, target, version, shape, dtype, fortran, data):
    if target.value is not None:
        raise UnsafeFileError("refuses to set the state of an array twice")
    target.value = _array(machine, data, dtype, shape, "F" if fortran else "C")


def _array(machine, data, dtype, shape, order):
    """Make an array; its shape and dtype must ask for exactly the bytes that are there."""
    if type(data) is list:
        raise UnsafeFileError("refuses an array of objects: only numbers and bool")
    if type(dtype) is not DType:
        raise UnsafeFileError(f"refuses an array with a {type(dtype).__name__} for its dtype")
    if type(data) is str:  # of Python 2, read with encoding="latin1"
        data = _encode(machine, data, "latin1")
    if type(data) not in (bytes, memoryview) or type(shape) is not tuple or not all(
            type(size) is int and size >= 0 for size in shape):
        raise ValueError("an array's bytes or shape are not as NumPy writes them")
    kind = dtype.finish()
    if math.prod(shape) * kind.itemsize != len(data):
        raise ValueError(f"an array of shape {str(shape)[:80]} and dtype {kind} cannot have "
                         f"{len(data):,} bytes")
    machine.count_copy(len(data))
    return np.array(np.frombuffer(data, kind).reshape(shape, order=order), order=order)


def _reconstruct(machine, kind, shape, code):
    if kind is not _NDARRAY:
        raise UnsafeFileError("refuses an array class other than numpy.ndarray")
    return Box()


def _frombuffer(machine, data, dtype, shape, order, axes=None):
    box, permuted = Box(), order == "K"  # K: stored with its axes in another order
    if order not in ("C", "F", "K") or permuted and (
            type(axes) is not tuple or sorted(axes) != [*range(len(shape))]):
        raise ValueError("an array's order of axes is not as NumPy writes it")
    box.value = _array(machine, data, dtype, shape, "C" if permuted else order)
    if permuted:
        box.value = box.value.transpose(axes)
    return box


def _scalar(machine, dtype, data):
    return _array(machine, data, dtype, (), "C")[()]


def _dtype(machine, code, align=False, copy=False):
    return DType(code.decode("ascii") if isinstance(code, bytes) else str(code))


def _ndarray(machine, *arguments):
    raise UnsafeFileError("refuses to call numpy.ndarray")


def _encode(machine, text, encoding):
    if type(text) is not str or encoding not in ("latin1", "latin-1"):
        raise UnsafeFileError("refuses _codecs.encode, but for text as latin1")
    machine.count_copy(len(text))
    return text.encode("latin-1")


def _bytes(machine):
    return b""  # how protocols 0 to 2 write empty bytes


def _set(machine, values):
    machine.count_steps(len(values))
    return machine.fill(set(), values)


_NDARRAY = Name(_ndarray)
NAMES = {"numpy.ndarray": _NDARRAY, "numpy.dtype": Name(_dtype), "_codecs.encode": Name(_encode)}
for _core in ("numpy.core", "numpy._core"):  # before NumPy 2, and since
    NAMES[f"{_core}.multiarray._reconstruct"] = Name(_reconstruct)
    NAMES[f"{_core}.multiarray.scalar"] = Name(_scalar)
    NAMES[f"{_core}.numeric._frombuffer"] = Name(_frombuffer)
for _module in ("builtins", "__builtin__"):  # Python 3 and 2
    NAMES[f"{_module}.bytes"], NAMES[f"{_module}.set"] = Name(_bytes), Name(_set)
