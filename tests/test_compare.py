"""The comparison behind every check: what rounding excuses, and how a difference is put."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nyang_edu.course.comparing import compare, tolerance

F64, F32 = np.dtype("float64"), np.dtype("float32")


def kind(got, want, **options):
    """The kind of the difference, or None; no warning may reach the student."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = compare("a", np.asarray(got), np.asarray(want), **options)
    return found and found.kind


def text(got, want, **options):
    return compare("a", np.asarray(got), np.asarray(want), **options).text


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_tolerance_is_64_eps_times_root_of_size(dtype, size):
    eps = float(np.finfo(dtype).eps)
    assert tolerance(np.dtype(dtype), size) == pytest.approx(64 * eps * size**0.5, rel=1e-12)
    assert tolerance(np.dtype(dtype), size, 1e3) == pytest.approx(64e3 * eps * size**0.5, rel=1e-12)


@pytest.mark.parametrize("dtype", [int, bool, "uint8", "U3", object])
def test_what_is_not_rounded_has_no_tolerance(dtype):
    assert tolerance(np.dtype(dtype), 10**6) == 0


def test_tolerance_of_nothing_is_that_of_one_element():
    assert tolerance(F64, 0) == tolerance(F64, 1) > 0


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("size", [1, 400])
def test_just_inside_the_tolerance_passes_and_just_outside_fails(dtype, size):
    want = np.ones(3, dtype)
    edge = 2 * tolerance(dtype, size)  # relative to the element and to the largest, both 1
    assert kind((want + 0.9 * edge).astype(dtype), want, size=size) is None
    assert kind((want + 1.2 * edge).astype(dtype), want, size=size) == "value"


def test_conditioning_widens_the_tolerance():
    want = np.ones(3)
    assert kind(want + 1e-8, want) == "value"
    assert kind(want + 1e-8, want, conditioning=1e7) is None


shapes = hnp.array_shapes(min_dims=1, max_dims=3, max_side=5)
signed = st.floats(0.1, 1e6) | st.floats(-1e6, -0.1)


@given(hnp.arrays(F64, shapes, elements=signed), st.integers(0, 2**32 - 1))
def test_rounding_noise_passes(want, seed):
    noise = np.random.default_rng(seed).uniform(-4, 4, want.shape) * np.finfo(float).eps
    assert kind(want * (1 + noise), want, size=want.size) is None


@given(hnp.arrays(F64, 50, elements=signed), st.permutations(range(50)))
def test_a_sum_in_another_order_passes(terms, order):
    want, got = np.cumsum(np.abs(terms)), np.cumsum(np.abs(terms)[::-1])
    assert kind(np.abs(terms)[order].sum(), want[-1], size=50) is None
    assert kind(got[-1], want[-1], size=50) is None


@given(hnp.arrays(F64, shapes, elements=signed), st.sampled_from([1e-6, -1e-6]))
def test_a_relative_error_of_a_millionth_fails_in_float64(want, error):
    got = want.copy()
    worst = np.unravel_index(np.abs(want).argmax(), want.shape)
    got[worst] *= 1 + error
    assert kind(got, want, size=want.size) == "value"


@given(hnp.arrays(F32, shapes, elements=st.floats(0.5, 100, width=32)))
def test_float32_forgives_its_own_rounding_and_not_a_thousandth(want):
    assert kind(np.nextafter(want, np.float32(1e9)), want, size=want.size) is None
    assert kind(want * np.float32(1.001), want, size=want.size) == "value"


NAN, INF = np.nan, np.inf


@pytest.mark.parametrize(
    "got, want, found",
    [
        ([NAN, 1.0], [NAN, 1.0], None),
        ([INF, -INF], [INF, -INF], None),
        ([NAN, 1.0], [2.0, 1.0], "nan"),
        ([INF, 1.0], [2.0, 1.0], "value"),
        ([2.0, 1.0], [INF, 1.0], "value"),
        ([2.0, 1.0], [NAN, 1.0], "value"),
        ([-INF, 1.0], [INF, 1.0], "value"),
        ([INF, 1.0], [INF, 1.5], "value"),
        ([NAN, 1.0], [INF, 1.0], "nan"),
        ([1e308, 1.0], [-1e308, 1.0], "value"),
        ([0.0, 0.0], [-0.0, 0.0], None),
        (3.0, 3.0, None),
        (3.1, 3.0, "value"),
        (3, 3.0, None),
        (NAN, 3.0, "nan"),
        (np.float32(3), 3.0, None),
        (np.int8(3), np.int64(3), None),
        (np.uint64(3), np.int64(3), None),
        (np.uint8(255), np.int64(-1), "value"),
        (np.int64(2**62 + 1), np.int64(2**62), "value"),
        (3.0, 3, "dtype"),
        ([3.0], [3], "dtype"),
        ([3], [3.0], "dtype"),
        ([True, False], [True, False], None),
        ([True, False], [True, True], "value"),
        ([1, 0], [True, False], "dtype"),
        (True, 1, "dtype"),
        ("yes", "yes", None),
        ("no", "a longer one", "value"),
        (["a", "b"], ["a", "c"], "value"),
        (b"yes", "yes", "value"),
        (1.0, "1.0", "dtype"),
        (None, 1.0, "dtype"),
        ([1 + 2j], [1 + 2j], None),
        ([1 + 2j], [1 + 3j], "value"),
        (np.zeros(0), np.zeros(0), None),
        (np.zeros((0, 3)), np.zeros((0, 3)), None),
        (np.zeros((0, 3)), np.zeros((3, 0)), "shape"),
        (np.zeros(0), np.zeros(1), "shape"),
        (np.zeros(0, F32), np.zeros(0, F64), "dtype"),
        ([1.0], 1.0, "shape"),
        (1.0, [1.0], "shape"),
        (np.ones((2, 3)), np.ones((3, 2)), "shape"),
        (np.ones(3), np.ones((1, 3)), "shape"),
        (np.ones(3, F32), np.ones(3, F64), "dtype"),
        (np.ones(3, F64), np.ones(3, F32), "dtype"),
    ],
)
def test_kinds_of_difference(got, want, found):
    assert kind(got, want) == found


def test_an_array_that_never_came_is_missing():
    found = compare("a", None, np.ones(2))
    assert (found.kind, found.text) == ("missing", "was not reached")


@pytest.mark.parametrize(
    "got, want, said",
    [
        (np.ones((2, 3)), np.ones((3, 2)), ["got shape (2, 3), expected (3, 2)"]),
        (np.ones(2, F32), np.ones(2, F64), ["got float32, expected float64"]),
        (
            [[1.0, 2.0], [3.0, 9.5]],
            [[1.0, 2.5], [3.0, 4.0]],
            ["got 9.5 at [1, 1], expected 4", "worst of 2 wrong elements out of 4"],
        ),
        ([1.0, -INF, 5.0], [1.0, 2.0, 3.0], ["got -inf at [1], expected 2"]),
        ([1.0, 7.0], [1.0, NAN], ["got 7 at [1], expected nan"]),
        (4.0, 5.0, ["got 4, expected 5"]),
        ([1.0, NAN], [1.0, 6.0], ["got NaN", "at [1]", "expected 6"]),
        ([1, 5, 3], [1, 2, 3], ["got 5 at [1], expected 2", "out of 3"]),
        (["x", "y"], ["x", "z"], ["got y at [1], expected z"]),
        ([1 + 1j, 2 + 9j], [1 + 2j, 2 + 2j], ["got (2+9j) at [1], expected (2+2j)"]),
    ],
)
def test_words_of_a_difference(got, want, said):
    assert all(piece in text(got, want) for piece in said)


def test_a_single_number_is_not_counted():
    assert "elements" not in text(4.0, 5.0)


@pytest.mark.parametrize("dtype, step", [("float64", 1e-9), ("float32", 1e-4), ("float64", 1e-12)])
def test_got_and_expected_never_look_the_same(dtype, step):
    """Two numbers that differ in a late digit are printed up to that digit."""
    want = np.array([1.2345678, 2.0], dtype)
    words = text(want + np.array([step, 0], dtype), want)
    got, expected = re.search(r"got (\S+) at \[0\], expected (\S+)", words).groups()
    assert float(got) > float(expected)
