"""What the fast layers add: float32 to the last digits, any number of threads, any layout."""

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nyang_edu.model.norm import BatchNorm, BatchNorm1d, BatchNorm2d
from nyang_edu.utility import team
from nyang_edu.utility.layout import elementwise, from_rows


@pytest.fixture(autouse=True)
def same_team(monkeypatch):
    monkeypatch.setattr(team, "WORTH", 1)  # even small layers are shared out here
    before = team.thread_count()
    yield
    team.set_threads(before)


def both_ways(layer, x, dout):
    layer.zero_grad()
    return layer(x), layer.backward(dout), layer.weight.grad.copy(), layer.bias.grad.copy()


def wide(a, b):
    return np.abs(a - b).max() / np.abs(b).max()


@pytest.mark.parametrize("offset", [0, 3, 30])
@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (2, 3, 2), (12, 3)])
def test_batchnorm_of_a_tiny_batch_is_exact_in_float32(shape, offset):
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(200):
        x, dout = (a.astype(np.float32) for a in rng.standard_normal((2, *shape)))
        x += np.float32(offset)
        layer, exact = BatchNorm1d(shape[1]), BatchNorm(shape[1]).to(np.float64)
        wanted = both_ways(exact, x.astype(np.float64), dout.astype(np.float64))
        got = both_ways(layer, x, dout)
        worst = max(worst, *(wide(a, b) for a, b in zip(got, wanted, strict=True)))
        assert wide(layer.running_mean, exact.running_mean) < 1e-6
        assert wide(layer.running_var, exact.running_var) < 1e-6
    assert worst < 5e-5


@pytest.mark.parametrize("training", [True, False])
def test_batchnorm_does_not_depend_on_threads_or_blocks(training, monkeypatch):
    rng, results = np.random.default_rng(1), []
    x, dout = rng.standard_normal((2, 8, 12, 16, 40))
    for threads, block in [(1, 1 << 19), (2, 1 << 19), (3, 1 << 12), (2, 1)]:
        team.set_threads(threads)
        monkeypatch.setattr("nyang_edu.utility.layout.BLOCK", block)
        layer = BatchNorm2d(12).to(np.float64).train(training)
        results.append((*both_ways(layer, x, dout), layer.running_mean, layer.running_var))
    plain = BatchNorm(12).to(np.float64).train(training)
    results.append((*both_ways(plain, x, dout), plain.running_mean, plain.running_var))
    for other in results[1:]:
        for a, b in zip(other, results[0], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


def test_an_eval_forward_keeps_its_statistics():
    rng, layer = np.random.default_rng(2), BatchNorm2d(3).to(np.float64)
    x, dout = rng.standard_normal((2, 4, 3, 5, 6))
    layer(x)
    layer.eval().forget()
    layer.forward(x)
    wanted = layer.backward(dout)
    layer.forward(x)
    layer.train().forward(x + 5)  # moves the running statistics
    layer.backward(dout)
    np.testing.assert_array_equal(layer.backward(dout), wanted)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 6), min_size=1, max_size=4),
    seed=st.integers(0, 99),
    threads=st.integers(1, 3),
)
def test_elementwise_takes_any_layout(sizes, seed, threads):
    rng = np.random.default_rng(seed)
    team.set_threads(threads)
    orders = rng.permutation(len(sizes)), rng.permutation(len(sizes))
    a, b = (rng.standard_normal(np.array(sizes)[order]).transpose(np.argsort(order))
            for order in orders)
    out = elementwise(np.add, a, b[..., ::-1])
    np.testing.assert_array_equal(out, a + b[..., ::-1])
    assert not np.shares_memory(out, a) and not np.shares_memory(out, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_elementwise_of_large_arrays_keeps_layout_and_dtype(threads):
    team.set_threads(threads)
    a = from_rows(np.random.default_rng(3).standard_normal((20, 8, 30, 64), np.float32))
    b = np.ascontiguousarray(a)
    out = elementwise(np.add, a, b)
    assert out.dtype == np.float32 and out.strides == a.strides
    np.testing.assert_array_equal(out, 2 * b)


def test_freed_memory_is_kept_where_the_c_library_can():
    assert team.keep_memory() == hasattr(ctypes.CDLL(None), "mallopt")
