"""Plain values as bytes, for talking to a process that cannot be trusted.

Only data goes over the wire: numbers, text, tuples, lists, dicts and plain arrays. Nothing is
ever unpickled, and every size is checked before the bytes that it announces are read.
"""

import contextlib
import json
import math
import struct
import types

import numpy as np

MAGIC = b"NYG1"
HEAD = struct.Struct(">4sIQ")  # magic, bytes of JSON, bytes of arrays
MOST_TEXT, MOST_DATA = 4 << 20, 64 << 20
DEEPEST = 20
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, np.ufunc)
_TYPES = (bool, int, float, complex, str, np.float16, np.float32, np.float64, np.int8, np.int16,
          np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64, np.complex64,
          np.complex128, np.bool_)
_KINDS = "biufcUS"
_CODES = ("i", "f", "c", "t", "l", "d", "a", "g", "oa", "s", "v", "r", "fn", "ty", "o")


class WireError(Exception):
    """What came over the wire is no message of ours."""


class Opaque:
    """Stands for a value that does not travel: only the name of its type is known."""


def opaque(name):
    """An object whose type has this name, as far as it is a name."""
    return type(name[:60] if name.isidentifier() else "object", (Opaque,), {})()


class Packer:
    """Turns a value into bytes; ``arrays`` and ``functions`` are those that it met.

    ``shared`` are arrays that the other side has too: such an array, or a view into it, is sent
    as a reference, so that a result which is (a part of) an argument stays one. ``lossy`` tells
    that something did not travel whole.
    """

    def __init__(self, shared=()):
        self.shared, self.arrays, self.functions = list(shared), [], []
        self.lossy = False

    def pack(self, value):
        """The frame for one value; WireError where it is too large."""
        text = json.dumps(self._encode(value, 0)).encode()
        if len(text) > MOST_TEXT or sum(a.nbytes for a in self.arrays) > MOST_DATA:
            raise WireError("it is too large")
        heads = json.dumps([[a.dtype.str, a.shape] for a in self.arrays]).encode()
        data = b"".join(a.tobytes() for a in self.arrays)
        head = HEAD.pack(MAGIC, 4 + len(text) + len(heads), len(data))
        return head + struct.pack(">I", len(text)) + text + heads + data

    def _encode(self, value, depth):
        if depth > DEEPEST:
            return self._lose("object")
        kind = type(value)
        if value is None or kind in (bool, str):
            return value
        if kind is int:
            return ["i", str(value)] if abs(value) < 10**4000 else self._lose("int")
        if kind is float:
            return ["f", value.hex()]
        if kind is complex:
            return ["c", value.real.hex(), value.imag.hex()]
        if kind in (tuple, list):
            return ["t" if kind is tuple else "l", [self._encode(v, depth + 1) for v in value]]
        if kind is dict:
            pairs = [[self._encode(k, depth + 1), self._encode(v, depth + 1)]
                     for k, v in value.items()]
            return ["d", pairs]
        return self._encode_other(value, depth)

    def _encode_other(self, value, depth):
        if isinstance(value, np.ndarray):
            plain = value if type(value) is np.ndarray else value.view(np.ndarray)
            return self._encode_array(plain, depth)
        if isinstance(value, np.generic) and value.dtype.kind in _KINDS:
            return ["g", self._keep(np.asarray(value))]
        if isinstance(value, np.random.Generator):
            return ["r", self._encode(_state_of(value), depth + 1)]
        if isinstance(value, (type, np.dtype)) and value in _TYPES:
            return ["ty", _TYPES.index(value)]
        if isinstance(value, _FUNCTIONS):
            self.functions.append(value)
            return ["fn", len(self.functions) - 1]
        return self._lose(type(value).__name__)

    def _lose(self, name):
        self.lossy = True
        return ["o", name]

    def _encode_array(self, array, depth):
        if array.dtype.kind == "O":
            items = [self._encode(item, depth + 1) for item in array.ravel()]
            return ["oa", list(array.shape), items]
        if array.dtype.kind not in _KINDS:
            return self._lose("ndarray")
        return self._reference(array) or ["a", self._keep(array)]

    def _keep(self, array):
        self.arrays.append(array)
        return len(self.arrays) - 1

    def _reference(self, array):
        """Where an array lies inside a shared one: [index, dtype, shape, strides, offset]."""
        for index, whole in enumerate(self.shared):
            if array is whole:
                return ["s", index]
            if whole.size and np.may_share_memory(array, whole) and whole.flags.c_contiguous:
                offset = _address(array) - _address(whole)
                return ["v", index, array.dtype.str, array.shape, array.strides, offset,
                        bool(array.flags.writeable)]
        return None


class Unpacker:
    """The way back. ``shared`` as in Packer; ``call(number, *args)`` answers for functions."""

    def __init__(self, shared=(), call=None):
        self.shared, self.call, self.arrays = list(shared), call, []
        self.lossy = False

    def unpack(self, body, data):
        """The value of one frame's two parts; raises WireError for anything unfit."""
        try:
            size = struct.unpack(">I", body[:4])[0]
            self.arrays = _arrays(json.loads(body[4 + size:]), data)
            return self._decode(json.loads(body[4:4 + size]), 0)
        except WireError:
            raise
        except Exception as error:  # whatever hostile bytes make a parser raise
            raise WireError(f"no message: {type(error).__name__}") from None

    def _decode(self, code, depth):
        if depth > DEEPEST + 2:
            raise WireError("nested too deep")
        if code is None or isinstance(code, (bool, str)):
            return code
        if code[0] not in _CODES:
            raise WireError("a value of an unknown kind")
        return getattr(self, f"_{code[0]}")(depth, *code[1:])

    def _i(self, depth, text):
        return int(text)

    def _f(self, depth, text):
        return float.fromhex(text)

    def _c(self, depth, real, imag):
        return complex(float.fromhex(real), float.fromhex(imag))

    def _t(self, depth, items):
        return tuple(self._l(depth, items))

    def _l(self, depth, items):
        return [self._decode(item, depth + 1) for item in items]

    def _d(self, depth, pairs):
        return {self._decode(k, depth + 1): self._decode(v, depth + 1) for k, v in pairs}

    def _a(self, depth, index):
        return self.arrays[index]

    def _g(self, depth, index):
        return self.arrays[index][()]

    def _oa(self, depth, shape, items):
        array = np.empty(len(items), object)
        array[:] = self._l(depth, items)
        return array.reshape(shape)

    def _s(self, depth, index):
        return self.shared[index]

    def _v(self, depth, index, dtype, shape, strides, offset, writeable):
        whole, dtype = np.ascontiguousarray(self.shared[index]), _dtype(dtype)
        if math.prod(shape) * dtype.itemsize > MOST_DATA:  # strides of 0 cost the sender nothing
            raise WireError("a view that is too large")
        view = np.ndarray(shape, dtype, whole, offset, strides)  # refuses to reach outside
        view.flags.writeable = view.flags.writeable and writeable
        return view

    def _r(self, depth, state):
        generator = np.random.default_rng(0)
        generator.bit_generator.state = self._decode(state, depth + 1)
        return generator

    def _fn(self, depth, number):
        if self.call is None:
            return self._o(depth, "function")
        return lambda *args, **kwargs: self.call(number, args, kwargs)

    def _ty(self, depth, index):
        return _TYPES[index]

    def _o(self, depth, name):
        self.lossy = True
        return opaque(name)


def _state_of(generator):
    state = generator.bit_generator.state
    return state if state["bit_generator"] == "PCG64" else {}


def _address(array):
    return array.__array_interface__["data"][0]


def _dtype(text):
    dtype = np.dtype(text)
    if dtype.kind not in _KINDS or dtype.hasobject or dtype.subdtype or dtype.itemsize > 1 << 16:
        raise WireError(f"arrays of {text[:20]} do not travel")
    return dtype


def _arrays(heads, data):
    """The arrays of one frame, each a copy of its part of ``data``."""
    arrays, at = [], 0
    for text, shape in heads:
        dtype = _dtype(text)
        if len(shape) > 32 or not all(type(n) is int and n >= 0 for n in shape):
            raise WireError("no shape")
        size = math.prod(shape) * dtype.itemsize
        if at + size > len(data):
            raise WireError("an array is longer than its message")
        array = np.frombuffer(data[at:at + size], dtype).reshape(shape).copy()
        if dtype.kind == "U":
            array.tolist()  # refuses what is no text
        arrays.append(array)
        at += size
    return arrays


def read_frame(read, most_text=MOST_TEXT, most_data=MOST_DATA):
    """The two parts of the next frame, read with ``read(count)``; None at the end."""
    head = read(HEAD.size)
    if not head:
        return None
    magic, text, data = HEAD.unpack(head)
    if magic != MAGIC or text < 4 or text > most_text or data > most_data:
        raise WireError("a message of another kind, or too long")
    return read(text), read(data)


def reader(file):
    """``read(count)`` for a file: all the bytes; b"" at the end, WireError in the middle."""
    def read(count):
        data = b""
        while len(data) < count:
            more = file.read(count - len(data))
            if not more:
                if data:
                    raise WireError("cut off")
                return b""
            data += more
        return data

    return read


def update_generator(generator, other):
    """Let ``generator`` stand where ``other`` stands."""
    with contextlib.suppress(ValueError, TypeError, KeyError):
        generator.bit_generator.state = other.bit_generator.state
