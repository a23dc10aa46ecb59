"""Pooling, resampling, BatchNorm and Dropout against finite differences and PyTorch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="PyTorch is not installed: no parity to check")

from parity import COUNT, LIMITS, compare, draws, fits, laid_out, wide  # noqa: E402

from nyang_edu.model.conv import Conv2d  # noqa: E402
from nyang_edu.model.dropout import Dropout  # noqa: E402
from nyang_edu.model.norm import BatchNorm1d, BatchNorm2d  # noqa: E402
from nyang_edu.model.pool import (  # noqa: E402
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    GlobalAvgPool,
    MaxPool1d,
    MaxPool2d,
)
from nyang_edu.model.resample import Upsample  # noqa: E402
from nyang_edu.utility.gradcheck import gradcheck  # noqa: E402

nn = torch.nn


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("ndim", [1, 2])
def test_pooling_as_pytorch(ndim, dtype):
    done = 0
    for rng, (k, s, p, d, size) in draws(10 + ndim, ndim):
        p = tuple(min(a, b // 2) for a, b in zip(p, k, strict=True))
        d = tuple(min(a, 2) if b == 0 else 1 for a, b in zip(d, p, strict=True))
        if not fits(k, s, p, d, size):  # PyTorch itself writes out of bounds on some of the others
            continue
        ceil, count = map(bool, rng.integers(0, 2, 2))
        x = np.round(2 * rng.standard_normal((2, 3, *size))).astype(dtype)  # many ties
        one = (lambda v: v) if ndim == 2 else (lambda v: v[0])
        settings_ = [one(v) for v in (k, s, p)]
        compare(
            (MaxPool1d, MaxPool2d)[ndim - 1](*settings_, one(d), ceil_mode=ceil),
            (nn.MaxPool1d, nn.MaxPool2d)[ndim - 1](*settings_, one(d), ceil_mode=ceil),
            laid_out(x, rng.integers(4)),
            rng,
            LIMITS[dtype],
        )
        compare(
            (AvgPool1d, AvgPool2d)[ndim - 1](*settings_, ceil, count),
            (nn.AvgPool1d, nn.AvgPool2d)[ndim - 1](*settings_, ceil, count),
            x,
            rng,
            LIMITS[dtype],
        )
        compare(
            (AdaptiveAvgPool1d, AdaptiveAvgPool2d)[ndim - 1](one(size[::-1])),
            (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d)[ndim - 1](one(size[::-1])),
            x,
            rng,
            LIMITS[dtype],
        )
        if ndim == 2:
            compare(AdaptiveMaxPool2d(k), nn.AdaptiveMaxPool2d(k), x, rng, LIMITS[dtype])
        done += 1
        if done >= COUNT:
            break
    assert done >= COUNT


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_upsampling_as_pytorch(dtype):
    rng = np.random.default_rng(3)
    for size, out in zip(
        rng.integers(1, 10, (COUNT, 2)), rng.integers(1, 20, (COUNT, 2)), strict=True
    ):
        x, out = rng.standard_normal((2, 2, *size)).astype(dtype), tuple(map(int, out))
        factor = float(rng.choice([1, 2, 3, 1.5, 2.3]))
        for how in (dict(), dict(mode="bilinear"), dict(mode="bilinear", align_corners=True)):
            compare(Upsample(out, **how), nn.Upsample(out, **how), x, rng, LIMITS[dtype])
            compare(
                Upsample(None, factor, **how),
                nn.Upsample(None, factor, **how),
                x,
                rng,
                LIMITS[dtype],
            )


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("rank", [2, 3, 4])
def test_batchnorm_as_pytorch(rank, dtype):
    rng = np.random.default_rng(rank)
    for number in range(COUNT):
        affine = number % 2 == 0
        shape = [12 + number % 5, 3 + number % 4, 1 + number % 7, 2][:rank]
        new = (BatchNorm2d if rank == 4 else BatchNorm1d)(shape[1], affine=affine)
        ref = (nn.BatchNorm2d if rank == 4 else nn.BatchNorm1d)(shape[1], affine=affine)
        ref = ref.to(torch.float64 if dtype is np.float64 else torch.float32)
        if affine:
            nn.init.normal_(ref.weight)
            nn.init.normal_(ref.bias)
        x = (3 + rng.standard_normal(shape)).astype(dtype)
        limit = LIMITS[dtype]
        compare(new.to(dtype), ref, laid_out(x, number % 4), rng, limit)
        assert wide(new.running_mean, ref.running_mean.numpy()) < 1e-5
        assert wide(new.running_var, ref.running_var.numpy()) < 1e-5
        assert new.num_batches_tracked == ref.num_batches_tracked
        ref.zero_grad()
        new.zero_grad()
        compare(new.eval(), ref.eval(), x, rng, limit)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 999), kernel=st.integers(1, 3), stride=st.integers(1, 3))
def test_gradients(seed, kernel, stride):
    rng = np.random.default_rng(seed)
    x = rng.permutation(2 * 3 * 5 * 4).reshape(2, 3, 5, 4) / 7.0  # no ties
    for layer in (
        MaxPool2d(kernel, stride, kernel // 2),
        AvgPool2d(kernel, stride),
        AdaptiveMaxPool2d(3),
        AdaptiveAvgPool2d((3, 2)),
        GlobalAvgPool(),
        Upsample((7, 3)),
        Upsample(None, 2),
        Upsample((7, 3), None, "bilinear"),
        BatchNorm2d(3),
    ):
        gradcheck(layer, x, rng)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Conv2d(3, 4, 3, padding=1),
        lambda: Conv2d(3, 3, 3, 2, groups=3),
        lambda: MaxPool2d(2),
        lambda: AvgPool2d(2),
        lambda: BatchNorm2d(3).eval(),
        lambda: Upsample(None, 2),
        lambda: AdaptiveAvgPool2d(2),
        lambda: AdaptiveMaxPool2d(2),
        lambda: GlobalAvgPool(),
        lambda: Dropout(),
    ],
)
def test_an_empty_batch_passes(make):
    layer = make()
    out = layer(np.zeros((0, 3, 6, 6), np.float32))
    assert len(out) == 0
    assert layer.backward(out).shape == (0, 3, 6, 6)


def test_clear_errors():
    for call, words in [
        (lambda: Conv2d(3, 4, 3)(np.zeros((2, 5, 8, 8), np.float32)), "expects"),
        (lambda: Conv2d(3, 4, 3, groups=2), "divide"),
        (lambda: Conv2d(3, 4, 3, stride=0), "stride"),
        (lambda: Conv2d(1, 1, 9)(np.zeros((1, 1, 4, 4), np.float32)), "kernel"),
        (lambda: Conv2d(1, 1, 3, 2, "same")(np.zeros((1, 1, 4, 4), np.float32)), "same"),
        (lambda: MaxPool2d(2, padding=2)(np.zeros((1, 1, 4, 4), np.float32)), "padding"),
        (lambda: BatchNorm2d(3)(np.zeros((1, 3, 1, 1), np.float32)), "at least 2 values"),
        (lambda: Dropout(1.0), "0 <= p < 1"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()
    with pytest.raises(TypeError, match="float32"):
        Conv2d(3, 4, 3)(np.zeros((2, 3, 8, 8)))


def test_dropout_keeps_the_mean_both_ways():
    x = np.ones((200, 500), np.float32)
    for inverted in (True, False):
        layer = Dropout(0.3, inverted=inverted, rng=np.random.default_rng(0))
        train, test = layer(x).mean(), layer.eval()(x).mean()
        assert abs(train - test) < 0.01
    assert np.array_equal(layer.backward(x), np.full_like(x, 0.7))
