"""Plain values survive the wire; nothing else gets through, and no bytes break the reader."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tinycourse import SOURCES

from nyang_edu.classroom.remote import Loopback, RemoteFunction, travels
from nyang_edu.classroom.rules import Rules
from nyang_edu.classroom.wire import (
    HEAD,
    MAGIC,
    MOST_DATA,
    Opaque,
    Packer,
    Unpacker,
    WireError,
    read_frame,
    reader,
)
from nyang_edu.course.reference import workshop
from nyang_edu.course.source import find_chapter, find_exercise, load_chapter

SCALARS = (st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
           | st.complex_numbers(allow_nan=False))
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.tuples(inner, inner)
                      | st.dictionaries(st.text(), inner), max_leaves=12)


def parts(frame):
    """The two parts of a frame, read as from a pipe."""
    class Pipe:
        data = frame

        def read(self, count):
            taken, self.data = self.data[:count], self.data[count:]
            return taken

    return read_frame(reader(Pipe()))


def there(value, **how):
    return Unpacker(**how).unpack(*parts(Packer().pack(value)))


@settings(max_examples=60, deadline=None)
@given(VALUES)
def test_plain_values_come_back_as_they_were(value):
    back = there(value)
    assert back == value and type(back) is type(value)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(hnp.scalar_dtypes().filter(lambda d: d.kind in "biufcU" and d.itemsize < 999),
                  hnp.array_shapes(min_dims=0, min_side=0)))
def test_arrays_come_back_byte_for_byte(array):
    back = there({"a": [array]})["a"][0]
    assert back.dtype == array.dtype and back.shape == array.shape
    assert back.tobytes() == array.tobytes()


def test_a_generator_comes_back_where_it_stood():
    rng = np.random.default_rng(3)
    rng.normal(size=5)
    assert there(rng).integers(10**9) == rng.integers(10**9)


def test_what_is_no_data_comes_as_the_name_of_its_type():
    class Layer:
        pass

    unpacker = Unpacker()
    back = unpacker.unpack(*parts(Packer().pack([Layer(), len])))
    assert all(isinstance(one, Opaque) for one in back) and unpacker.lossy
    assert type(back[0]).__name__ == "Layer"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_bytes_do_more_than_raise_a_wire_error(body, data):
    try:
        Unpacker().unpack(body, data)
    except WireError:
        pass


@settings(max_examples=200, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=4)
                    | st.sampled_from(["a", "v", "s", "oa", "r", "fn", "ty", "d", "_decode"]),
                    lambda inner: st.lists(inner, max_size=6), max_leaves=20))
def test_no_json_does_more_than_raise_a_wire_error(code):
    text = json.dumps(code).encode()
    body = struct.pack(">I", len(text)) + text + b'[["<f8", [2]]]'
    try:
        Unpacker([np.zeros(3)], None).unpack(body, bytes(16))
    except WireError:
        pass


@pytest.mark.parametrize("head", [
    (b"GET ", 10, 10), (MAGIC, 2, 0), (MAGIC, 2**31, 0), (MAGIC, 10, MOST_DATA + 1)])
def test_a_size_is_refused_before_it_is_read(head):
    with pytest.raises(WireError):
        parts(HEAD.pack(*head))


@pytest.mark.parametrize("heads", [
    '[["|O", [1]]]', '[["<f8", [-1]]]', '[["<f8", [1000000000]]]', '[["<f8,<f8", [1]]]',
    '[["<U1", [2]]]', '[["<U99999999", [1]]]', '[["<f8", "x"]]', '[["<f8", [[1]]]]'])
def test_arrays_that_do_not_fit_are_refused(heads):
    body = struct.pack(">I", 8) + b'["a", 0]' + heads.encode()
    with pytest.raises(WireError):
        Unpacker().unpack(body, b"\xff" * 16)


def test_a_view_of_an_argument_stays_one_and_cannot_leave_it():
    x = np.arange(6.0)
    body, data = parts(Packer([x]).pack([x, x[1:4:2]]))
    whole, view = Unpacker([x]).unpack(body, data)
    assert whole is x and np.shares_memory(view, x) and view.tolist() == [1, 3]
    with pytest.raises(WireError):
        Unpacker([np.arange(2.0)]).unpack(body, data)
    flat = np.lib.stride_tricks.as_strided(x, (10**5, 10**5), (0, 0))
    with pytest.raises(WireError, match="too large"):
        Unpacker([x]).unpack(*parts(Packer([x]).pack(flat)))


def called(function, *args, **kwargs):
    return RemoteFunction(Loopback(function), function)(*args, **kwargs)


def test_a_call_from_outside_is_like_one_from_inside():
    def function(f, x, rng, step=1):
        x[0] = f(x) + step
        return x, rng.integers(10**6)

    mine, theirs = np.random.default_rng(5), np.random.default_rng(5)
    x = np.ones(3)
    back, number = called(function, lambda x: float(x.sum()), x, theirs, step=2)
    assert back is x and x.tolist() == [5, 1, 1] and number == mine.integers(10**6)
    assert mine.integers(10**6) == theirs.integers(10**6)


def test_exceptions_keep_their_names_and_kinds():
    class OwnError(KeyError):
        pass

    def function(x):
        raise OwnError("lost")

    with pytest.raises(KeyError) as caught:
        called(function, 1)
    assert type(caught.value).__name__ == "OwnError" and str(caught.value) == "'lost'"
    with pytest.raises(SystemExit):
        called(lambda x: exit(3), 1)


@pytest.mark.parametrize("name, outside", [
    ("linear_forward", True), ("counterexample", True), ("numerical_gradient", True),
    ("he_normal", True), ("Memory", False), ("sliding_windows", False), ("basic_block", False)])
def test_what_is_called_from_outside(name, outside):
    assert travels(workshop(find_exercise(name))) is outside


@pytest.mark.parametrize("source, why", [
    ("import sys", "imports sys"), ("from os import path", "imports os.path"),
    ("x.__globals__", "reads __globals__"), ("getattr(x, '__code__')", "names __code__"),
    ("eval('1')", "uses eval"), ("class A(np.ndarray): pass", "inherits from np.ndarray"),
    ("type('A', (x,), {})", "calls with three arguments type"),
    ("def __array_function__(self): pass", "defines __array_function__"),
    ("getattr(np, 'all' + 'close')", "computes a name for getattr"),
    ("vars(np)['x']", "computes a name for vars"), ("np.__dict__", "reads __dict__ of another"),
    ("self.__dict__; vars(self); getattr(x, 'shape', None)", ""),
    ("class A(NyangModel):\n    def __init__(self):\n        self.x = math.pi", ""),
    ("x = (", "")])
def test_the_rules_for_answers_that_run_beside_their_probe(source, why):
    assert Rules(find_chapter("05")).broken_by([source]) == why


def test_no_reference_breaks_the_rules():
    for path in SOURCES:
        chapter = load_chapter(path)
        for exercise in chapter.exercises.values():
            assert Rules(chapter).broken_by([exercise.cell.solved()]) == ""
