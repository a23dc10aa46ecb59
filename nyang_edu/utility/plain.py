"""What a saved file may hold: NumPy arrays of numbers, and Python's plain values.

One rule for both directions, so that nothing is saved that cannot be loaded. It also keeps out
what is small in a file and endless in use: rings, very deep nests, lists of lists of lists.
"""

import numpy as np

MAX_BITS = 1024  # of one Python int; the state of a random generator needs 128
MAX_DEPTH = 100  # containers in containers
MAX_VALUES = 500_000  # of all containers together, shared ones counted each time
ARRAY_COUNTS = 10  # an array or a NumPy scalar takes a pickle ten times the steps of a number


class UnsafeFileError(ValueError):
    """A file asks for more than arrays and plain values; nothing of it was run."""


class Box:
    """Stands for an array that is still being put together; ``value`` is None until then."""

    value = None


def plain(value, name="the value"):
    """Return a copy of plain containers around the same arrays; what is shared stays shared.

    Args:
        value: arrays of numbers, NumPy scalars, dict, list, tuple, set, str, bytes, int, float,
            bool or None, nested.
        name: what to call it in an error.

    Raises:
        TypeError: for anything else, with its place.
        ValueError: for a container inside itself, more than 100 levels, more than half a
            million values (an array counts as ten), or an int of more than 1,024 bits.
    """
    copier = _Copier(name)
    copy, values, _ = copier.copy(value, ())
    if values > MAX_VALUES:
        raise copier.error(ValueError, (), f"holds more than {MAX_VALUES:,} values: use an array")
    return copy


def is_key(value):
    """Tell whether a value may be a dict's key or a set's member: text or a number of 64 bits.

    Other keys can be built so that hashing or comparing them never ends.
    """
    if type(value) is int:
        return value.bit_length() <= 64
    return value is None or type(value) in (str, bytes, float, bool) or (
        isinstance(value, np.generic) and value.dtype.kind in "biuf")


class _Copier:
    """Copies nested containers; remembers by identity what was copied already."""

    def __init__(self, name):
        self.name, self.done, self.open = name, {}, set()

    def error(self, kind, place, problem):
        """Return an exception that names the place: training['losses'][3] …"""
        where = "".join(f"[{str(key)[:60]!r}]" if isinstance(key, str) else f"[{str(key)[:60]}]"
                        for key in place[:8])
        return kind(f"{self.name}{where} {problem}")

    def copy(self, value, place):
        """Return the copy, the number of its values, and the number of its levels."""
        if type(value) not in (dict, list, tuple, set):
            copy = self.single(value, place)
            return copy, ARRAY_COUNTS if isinstance(copy, np.ndarray | np.generic) else 1, 0
        if id(value) in self.open:
            raise self.error(ValueError, place, "contains itself")
        if id(value) not in self.done and len(place) < MAX_DEPTH:
            self.open.add(id(value))
            self.done[id(value)] = (*self.container(value, place), value)  # alive: keeps its id
            self.open.remove(id(value))
        copy, values, levels, _ = self.done.get(id(value), (None, 0, MAX_DEPTH, None))
        if len(place) + levels > MAX_DEPTH:
            raise self.error(ValueError, (), f"has more than {MAX_DEPTH} levels")
        return copy, values, levels

    def container(self, value, place):
        """Copy one container and all in it."""
        kind = type(value)
        if kind in (dict, set):
            self.expect_keys(value, place)
        if kind is set:
            return set(value), 1 + len(value), 1
        entries = value.items() if kind is dict else enumerate(value)
        copies, values, levels = [], 1 + (len(value) if kind is dict else 0), 0
        for key, part in entries:
            copy, inner, below = self.copy(part, (*place, key))
            copies.append(copy)
            values, levels = values + inner, max(levels, below)
        return dict(zip(value, copies)) if kind is dict else kind(copies), values, 1 + levels

    def expect_keys(self, keys, place):
        """Raise where a key or a set's member may not be one."""
        for key in keys:
            if not is_key(key):
                raise self.error(TypeError, place, f"has a {type(key).__name__} for a key or "
                                 "member: use text or a number of at most 64 bits")

    def single(self, value, place):
        """Return a value that holds no others; of a filled box, its array."""
        if type(value) is Box and value.value is not None:
            value = value.value
        kind = type(value)
        if kind is int and value.bit_length() > MAX_BITS:
            raise self.error(ValueError, place, f"is an int of more than {MAX_BITS} bits")
        if kind in (str, bytes, int, float, bool, type(None)) or _numbers(value):
            return value
        what = f" of dtype {value.dtype}" if isinstance(value, np.ndarray | np.generic) else ""
        raise self.error(TypeError, place, f"is {_a(kind.__name__)}{what}: a file holds arrays of "
                         "numbers, dict, list, tuple, set, str, bytes, int, float, bool and None")


def _numbers(value):
    return (type(value) is np.ndarray or isinstance(value, np.generic)) and (
        value.dtype.kind in "biufc")


def _a(name):
    return f"an {name}" if name[0] in "AEIOUaeiou" else f"a {name}"
