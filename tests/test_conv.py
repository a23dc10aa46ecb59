"""Convolutions against finite differences, against PyTorch, and under abuse."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity to check")

from parity import COUNT, LIMITS, compare, draws, fits, laid_out, wide  # noqa: E402

from nyang_edu.model.activation import ReLU  # noqa: E402
from nyang_edu.model.conv import Conv1d, Conv2d, ConvTranspose2d, conv2d_forward  # noqa: E402
from nyang_edu.model.flow import NyangFlow  # noqa: E402
from nyang_edu.model.norm import BatchNorm2d  # noqa: E402
from nyang_edu.model.pool import MaxPool2d  # noqa: E402
from nyang_edu.utility import team  # noqa: E402
from nyang_edu.utility.gradcheck import gradcheck  # noqa: E402
from nyang_edu.utility.layout import to_rows  # noqa: E402

nn = torch.nn
sizes = st.tuples(st.integers(1, 3), st.integers(1, 3))


@pytest.fixture(autouse=True)
def same_team(monkeypatch):
    monkeypatch.setattr(team, "WORTH", 1)  # even small layers are shared out here
    before = team.thread_count()
    torch.set_num_threads(1)
    yield
    team.set_threads(before)
    team.clear_scratch()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("ndim", [1, 2])
def test_convolution_as_pytorch(ndim, dtype):
    done, refused = 0, 0
    for rng, (k, s, p, d, size) in draws(ndim, ndim):
        G, c, o, N = rng.integers(1, 4, 4)
        C, O, N = int(G * c), int(G * o), int(N)
        pads = "same" if s == (1,) * ndim and rng.random() < 0.5 else p
        new = (Conv1d, Conv2d)[ndim - 1]
        one = (lambda v: v) if ndim == 2 else (lambda v: v if isinstance(v, str) else v[0])
        layer = new(C, O, one(k), one(s), one(pads), one(d), int(G), bool(rng.integers(2))).to(
            dtype
        )
        x = laid_out(rng.standard_normal((N, C, *size)).astype(dtype), rng.integers(4))
        if pads != "same" and not fits(k, s, p, d, size):
            with pytest.raises(ValueError, match="kernel"):
                layer(x)
            refused += 1
            continue
        ref = (nn.Conv1d, nn.Conv2d)[ndim - 1](C, O, k, s, pads, d, int(G), layer.bias is not None)
        compare(layer, ref.to(torch.tensor(x.copy()).dtype), x, rng, LIMITS[dtype])
        done += 1
        if done >= COUNT:
            break
    assert done >= COUNT and refused > 5


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_transposed_convolution_as_pytorch(dtype):
    done = 0
    for rng, (k, s, p, d, size) in draws(5, 2):
        G, c, o, N = map(int, rng.integers(1, 4, 4))
        more = tuple(int(rng.integers(0, a)) for a in s)
        if (
            min(
                (n - 1) * b - 2 * e + f * (a - 1) + g + 1
                for a, b, e, f, g, n in zip(k, s, p, d, more, size, strict=True)
            )
            < 1
        ):
            continue
        layer = ConvTranspose2d(G * c, G * o, k, s, p, more, G, True, d).to(dtype)
        ref = nn.ConvTranspose2d(G * c, G * o, k, s, p, more, G, True, d)
        x = laid_out(rng.standard_normal((N, G * c, *size)).astype(dtype), rng.integers(4))
        compare(layer, ref.to(torch.tensor(x.copy()).dtype), x, rng, LIMITS[dtype])
        done += 1
        if done >= COUNT:
            break
    assert done >= COUNT


@settings(max_examples=25, deadline=None)
@given(
    kernel=sizes,
    stride=sizes,
    padding=sizes,
    dilation=sizes,
    groups=st.integers(1, 3),
    more=st.integers(0, 5),
    seed=st.integers(0, 99),
)
def test_convolution_gradients(kernel, stride, padding, dilation, groups, more, seed):
    rng = np.random.default_rng(seed)
    size = [d * (k - 1) + 1 + more for k, d in zip(kernel, dilation, strict=True)]
    layer = Conv2d(groups, 2 * groups, kernel, stride, padding, dilation, groups, rng=rng)
    gradcheck(layer, rng.standard_normal((2, groups, *size)), rng)
    layer = ConvTranspose2d(
        2 * groups, groups, kernel, stride, 0, 0, groups, True, dilation, rng=rng
    )
    gradcheck(layer, rng.standard_normal((1, 2 * groups, 2, 3)), rng)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "channels, out, kernel, stride, groups, shape",
    [
        (64, 128, 3, 1, 1, (3, 4, 4)),  # few windows and large weights: channels are shared out
        (128, 64, 3, 2, 1, (2, 5, 5)),
        (130, 65, 1, 1, 1, (2, 3, 4)),
        (128, 128, 3, 1, 2, (2, 4, 4)),
        (48, 48, 3, 1, 48, (4, 9, 9)),  # depthwise
        (48, 96, 3, 2, 48, (4, 9, 9)),
        (32, 64, 1, 2, 1, (8, 12, 12)),
    ],
)
def test_many_channels_as_pytorch(channels, out, kernel, stride, groups, shape, dtype):
    team.set_threads(2)
    rng = np.random.default_rng(0)
    layer = Conv2d(channels, out, kernel, stride, kernel // 2, 1, groups, rng=rng).to(dtype)
    ref = nn.Conv2d(channels, out, kernel, stride, kernel // 2, 1, groups)
    x = rng.standard_normal((shape[0], channels, *shape[1:])).astype(dtype)
    compare(layer, ref.to(torch.tensor(x).dtype), x, rng, LIMITS[dtype])


def test_what_forward_copied_is_not_copied_again():
    rng = np.random.default_rng(0)
    layers = [
        (Conv2d(2, 3, 3), (8, 9)),
        (Conv1d(2, 3, 3), (8,)),
        (ConvTranspose2d(2, 3, 3), (8, 9)),
    ]
    for layer, size in layers:
        x = rng.standard_normal((4, 2, *size), dtype=np.float32)
        layer(x)
        kept = layer.saved()
        assert np.shares_memory(to_rows(kept), kept) and not np.shares_memory(to_rows(x), x)


def test_a_layer_used_twice_adds_both_gradients():
    rng = np.random.default_rng(0)
    layer = Conv2d(2, 2, 3, padding=1, rng=rng).to(np.float64)
    a, b, d = rng.standard_normal((3, 2, 2, 5, 5))
    alone = []
    for x in (a, b):
        layer.zero_grad()
        layer(x)
        alone.append((layer.backward(d), layer.weight.grad.copy()))
    layer.zero_grad()
    layer.forget()
    layer.forward(a)
    layer.forward(b)
    second, first = layer.backward(d), layer.backward(d)
    assert np.array_equal(first, alone[0][0]) and np.array_equal(second, alone[1][0])
    assert np.allclose(layer.weight.grad, alone[0][1] + alone[1][1])
    with pytest.raises(RuntimeError, match="Conv2d"):
        layer.backward(d)


def big():
    rng = np.random.default_rng(0)
    layer = NyangFlow(
        Conv2d(8, 16, 3, 2, 1, bias=False, rng=rng),  # before a norm its gradient is rounding
        BatchNorm2d(16),
        ReLU(),
        Conv2d(16, 16, 3, 1, 2, 2, 4, rng=rng),
        MaxPool2d(2),
        Conv2d(16, 128, 3, padding=1, rng=rng),
        Conv2d(128, 64, 3, padding=1, rng=rng),
        Conv2d(64, 64, 3, 2, 1, groups=64, rng=rng),
    )
    x = rng.standard_normal((16, 8, 24, 24), dtype=np.float32)
    out = layer(x)
    dx = layer.backward(np.cos(np.arange(out.size, dtype=np.float32)).reshape(out.shape))
    return [out, dx] + [p.grad for p in layer.parameters()]


def test_threads_change_no_more_than_rounding():
    results = []
    for count in (1, 2, 3):
        team.set_threads(count)
        results.append(big())
        for first, again in zip(results[-1], big(), strict=True):
            assert np.array_equal(first, again)  # bit for bit on one machine
    for other in results[1:]:
        assert all(wide(a, b) < 1e-4 for a, b in zip(other, results[0], strict=True))


def test_an_exception_leaves_the_next_call_right(monkeypatch):
    team.set_threads(2)
    wanted = big()
    for culprit in (0, 1):

        def fail(first, last, culprit=culprit):
            if (first > 0) == culprit:
                raise KeyError("on purpose")

        with pytest.raises(KeyError):
            team.share(fail, 10, 10**9)
    layer, matmul, calls = Conv2d(8, 16, 3), np.matmul, []

    def broken(*args, **keywords):
        calls.append(1)
        if len(calls) > 1:
            raise MemoryError("on purpose")
        return matmul(*args, **keywords)

    x = np.ones((16, 8, 24, 24), np.float32)
    with monkeypatch.context() as patched:
        patched.setattr(np, "matmul", broken)
        with pytest.raises(MemoryError):
            layer(x)
    with pytest.raises(RuntimeError):
        layer.backward(x)  # nothing was saved
    assert all(np.array_equal(a, b) for a, b in zip(wanted, big(), strict=True))


def test_two_callers_at_once():
    team.set_threads(2)
    wanted, results = big(), []
    callers = [threading.Thread(target=lambda: results.append(big())) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(results) == 3
    for result in results:
        assert all(wide(a, b) < 1e-4 for a, b in zip(result, wanted, strict=True))


def test_scratch_is_bounded_and_can_be_given_back():
    big()
    assert 0 < team.scratch_bytes() < 2 * team.thread_count() * 8 * 2**20
    team.clear_scratch()
    assert team.scratch_bytes() == 0
    big()


def test_output_is_a_fresh_array_for_every_call():
    layer = Conv2d(1, 1, 1, bias=False)
    x = np.ones((2, 1, 4, 4), np.float32)
    a, b = layer(x), layer.forward(x)
    assert not np.shares_memory(a, b) and not np.shares_memory(a, x)
    assert np.array_equal(conv2d_forward(x, layer.weight.data), a)
