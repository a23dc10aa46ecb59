"""Shared by the tests that compare layers with PyTorch."""

import numpy as np
import torch

LIMITS = {np.float64: 1e-10, np.float32: 1e-4}
COUNT = 200  # random configurations of each layer and dtype


def wide(a, b, scale=None):
    """The largest difference, relative to the largest number of b or to another scale."""
    return np.abs(a - b).max() / max(scale or np.abs(b).max(), 1e-30) if b.size else 0.0


def compare(new, ref, x, rng, limit):
    """Forward, input gradient and parameter gradients of one layer and of PyTorch's."""
    pairs = {name: p.detach().numpy() for name, p in ref.named_parameters()}
    for name, parameter in new.named_parameters():
        parameter.data[...] = pairs[name]
    source = torch.tensor(x.copy(), requires_grad=True)
    wanted = ref(source)
    dout = rng.standard_normal(tuple(wanted.shape)).astype(x.dtype)
    wanted.backward(torch.tensor(dout))
    before, dout_before = x.copy(), dout.copy()
    out = new(x)
    dx = new.backward(dout)
    assert out.dtype == dx.dtype == x.dtype and out.shape == tuple(wanted.shape)
    assert np.array_equal(x, before) and np.array_equal(dout, dout_before)
    assert wide(out, wanted.detach().numpy()) <= limit
    assert wide(dx, source.grad.numpy()) <= limit
    grads = {name: p.grad.numpy() for name, p in ref.named_parameters()}
    terms = np.abs(dout).sum(axis=(0, *range(2, dout.ndim))).max(initial=0)
    for name, parameter in new.named_parameters():
        # A bias's gradient is a plain sum, which may cancel: rounding is relative to its terms.
        scale = terms if name == "bias" else None
        assert wide(parameter.grad, grads[name], scale) <= limit, name


def laid_out(x, how):
    """The same numbers in another memory order."""
    if how == 1:
        return np.asfortranarray(x)
    if how == 2:
        return np.repeat(x, 2, axis=-1)[..., ::2]
    if how == 3:
        return np.ascontiguousarray(x[:, ::-1])[:, ::-1]
    return x


def draws(seed, ndim):
    """COUNT configurations of kernel, stride, padding, dilation, sizes, groups, channels."""
    rng = np.random.default_rng(seed)
    lows, highs = [1, 1, 0, 1, 1], [5, 4, 4, 4, 13]
    table = rng.integers(np.repeat(lows, ndim), np.repeat(highs, ndim), (4 * COUNT, 5 * ndim))
    for row in table:
        yield rng, [tuple(map(int, part)) for part in row.reshape(5, ndim)]


def fits(k, s, p, d, size):
    return all(n + 2 * b >= e * (a - 1) + 1 for a, b, e, n in zip(k, p, d, size, strict=True))
