"""One public contract, held by every layer of the framework."""

import inspect

import numpy as np
import pytest

import nyang_edu
from nyang_edu import (
    ELU,
    SELU,
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool2d,
    Auxiliary,
    AvgPool1d,
    AvgPool2d,
    BatchNorm,
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    ConvPlain,
    ConvTranspose2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    LeakyReLU,
    Linear,
    MaxPool1d,
    MaxPool2d,
    NamedFlow,
    NyangFlow,
    NyangModel,
    Parallel,
    Pool2d,
    ReLU,
    Residual,
    SideHead,
    SideOutputs,
    Sigmoid,
    SkipConcat,
    Softmax,
    Swish,
    Tanh,
    Upsample,
    UpsampleNearest,
    no_memory,
    numerical_gradient,
    relative_error,
)
from nyang_edu.model.core import Parts

LIMIT = 1e-6  # relative error of a float64 gradient against central differences


def seeded():
    return np.random.default_rng(7)


LAYERS = {
    "Linear": (lambda: Linear(5, 3, rng=seeded()), (4, 5)),
    "Linear without bias": (lambda: Linear(5, 3, bias=False, rng=seeded()), (4, 5)),
    "Flatten": (Flatten, (3, 2, 2, 3)),
    "NyangFlow": (
        lambda: NyangFlow(Linear(4, 6, rng=seeded()), Tanh(), Linear(6, 2, rng=seeded())), (3, 4)),
    "Parallel": (
        lambda: Parallel(Linear(4, 3, rng=seeded()), NyangFlow(), Tanh()), (3, 4)),
    "Auxiliary": (
        lambda: Auxiliary(Linear(4, 3, rng=seeded()), Linear(4, 3, rng=seeded())), (3, 4)),
    "Auxiliary in eval": (lambda: Auxiliary(Tanh(), ReLU()).eval(), (3, 4)),
    "Parallel along the samples": (lambda: Parallel(ReLU(), Tanh(), axis=0), (3, 4)),
    "NamedFlow": (lambda: NamedFlow(features=Linear(4, 3, rng=seeded()), bend=Tanh()), (3, 4)),
    "Residual": (
        lambda: Residual(Linear(4, 3, rng=seeded()), Linear(4, 3, rng=seeded()), Tanh()), (3, 4)),
    "Residual without a shortcut": (lambda: Residual(Linear(4, 4, rng=seeded())), (3, 4)),
    "SkipConcat": (lambda: SkipConcat(Linear(4, 3, rng=seeded())), (3, 4)),
    "SideHead in eval": (lambda: SideHead(Linear(4, 3, rng=seeded())).eval(), (3, 4)),
    "SideOutputs in eval": (
        lambda: SideOutputs(NyangFlow(Linear(4, 3, rng=seeded()), SideHead(Tanh()))).eval(),
        (3, 4)),
    "ReLU": (ReLU, (3, 4)),
    "LeakyReLU": (LeakyReLU, (3, 4)),
    "LeakyReLU(0.3)": (lambda: LeakyReLU(0.3), (2, 3, 2, 2)),
    "ELU": (ELU, (3, 4)),
    "ELU(0.5)": (lambda: ELU(0.5), (3, 4)),
    "SELU": (SELU, (3, 4)),
    "Sigmoid": (Sigmoid, (3, 4)),
    "Tanh": (Tanh, (3, 4)),
    "Softmax": (Softmax, (3, 4)),
    "Softmax(axis=1)": (lambda: Softmax(axis=1), (2, 3, 2, 2)),
    "Swish": (Swish, (3, 4)),
    "ConvPlain": (lambda: ConvPlain(2, 3, 3, rng=seeded()), (2, 2, 5, 6)),
    "Conv2d": (lambda: Conv2d(4, 6, 3, 2, 1, groups=2, rng=seeded()), (2, 4, 5, 6)),
    "Conv2d, dilated": (lambda: Conv2d(2, 3, 2, 1, "same", 2, rng=seeded()), (2, 2, 5, 6)),
    "Conv1d": (lambda: Conv1d(2, 3, 3, 2, 1, bias=False, rng=seeded()), (2, 2, 7)),
    "ConvTranspose2d": (lambda: ConvTranspose2d(3, 2, 3, 2, 1, rng=seeded()), (2, 3, 3, 4)),
    "MaxPool1d": (lambda: MaxPool1d(3, 2), (2, 3, 7)),
    "MaxPool2d": (lambda: MaxPool2d(3, 2, 1), (2, 3, 5, 6)),
    "AvgPool1d": (lambda: AvgPool1d(3, 2), (2, 3, 7)),
    "AvgPool2d": (lambda: AvgPool2d(3, 2, 1), (2, 3, 5, 6)),
    "AdaptiveAvgPool1d": (lambda: AdaptiveAvgPool1d(3), (2, 3, 7)),
    "AdaptiveAvgPool2d": (lambda: AdaptiveAvgPool2d((2, 3)), (2, 3, 5, 7)),
    "AdaptiveMaxPool2d": (lambda: AdaptiveMaxPool2d((2, 3)), (2, 3, 5, 7)),
    "GlobalAvgPool": (GlobalAvgPool, (2, 3, 4, 5)),
    "UpsampleNearest": (lambda: UpsampleNearest(2), (2, 3, 2, 3)),
    "Upsample": (lambda: Upsample((5, 7), mode="bilinear"), (2, 3, 3, 4)),
    "BatchNorm": (lambda: BatchNorm(4), (5, 4)),
    "BatchNorm1d": (lambda: BatchNorm1d(4), (5, 4, 3)),
    "BatchNorm2d": (lambda: BatchNorm2d(4), (3, 4, 2, 3)),
    "BatchNorm2d in eval": (lambda: BatchNorm2d(4).eval(), (3, 4, 2, 3)),
    "Dropout in eval": (lambda: Dropout(0.3).eval(), (4, 5)),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def case(request):
    """A float64 layer with perturbed parameters, an input away from kinks, a random dout."""
    make, shape = request.param
    rng = np.random.default_rng(11)
    layer = make().to(np.float64)
    for parameter in layer.parameters():
        parameter.data = parameter.data + rng.uniform(0.1, 0.4, parameter.data.shape)
    x = rng.normal(size=shape)
    x += np.sign(x) * 0.05  # central differences need room at zero
    return layer, x, rng.normal(size=layer(x).shape)


def test_every_layer_of_the_package_is_here():
    exported = [getattr(nyang_edu, name) for name in nyang_edu.__all__]  # some have no hash
    layers = {c for c in exported if inspect.isclass(c) and issubclass(c, NyangModel)}
    tested = {type(make()) for make, _ in LAYERS.values()}
    assert layers - tested == {NyangModel, Pool2d}
    assert {c for c in exported if inspect.isclass(c) and issubclass(c, Parts)} == layers | {Parts}


def test_gradient_of_the_input(case):
    layer, x, dout = case
    numeric = numerical_gradient(lambda moved: float((layer(moved) * dout).sum()), x)
    layer(x)
    assert relative_error(layer.backward(dout), numeric) <= LIMIT


def test_gradient_of_every_parameter(case):
    layer, x, dout = case
    layer.zero_grad()
    layer(x)
    layer.backward(dout)
    for name, parameter in layer.named_parameters():
        original, analytic = parameter.data, parameter.grad.copy()

        def loss(moved, parameter=parameter):
            parameter.data = moved
            return float((layer(x) * dout).sum())

        numeric = numerical_gradient(loss, original)
        parameter.data = original
        assert relative_error(analytic, numeric) <= LIMIT, name


def test_gradients_accumulate(case):
    layer, x, dout = case
    layer.zero_grad()
    layer(x)
    layer.backward(dout)
    once = [p.grad.copy() for p in layer.parameters()]
    layer(x)
    layer.backward(dout)
    for parameter, grad in zip(layer.parameters(), once, strict=True):
        np.testing.assert_allclose(parameter.grad, 2 * grad, rtol=1e-12)


def test_two_forwards_two_backwards_in_reverse(case):
    layer, x, dout = case
    wanted = []
    for given in (x, x * 1.5):
        layer(given)
        wanted.append(layer.backward(dout))
    layer(x)
    layer.forward(x * 1.5)
    for one in reversed(wanted):
        np.testing.assert_array_equal(layer.backward(dout), one)


def test_inputs_stay_as_they_were_and_dx_is_fresh(case):
    layer, x, dout = case
    x_before, dout_before = x.copy(), dout.copy()
    layer(x)
    dx = layer.backward(dout)
    np.testing.assert_array_equal(x, x_before)
    np.testing.assert_array_equal(dout, dout_before)
    assert dx.shape == x.shape
    dx[...] = 7.0
    np.testing.assert_array_equal(dout, dout_before)


def test_dtype_is_kept(case):
    layer, x, dout = case
    layer.to(np.float32)
    out = layer(x.astype(np.float32))
    dx = layer.backward(dout.astype(np.float32))
    assert out.dtype == np.float32 and dx.dtype == np.float32
    assert all(p.grad.dtype == np.float32 for p in layer.parameters())


def remembered(layer):
    return [name for name, part in layer.named_layers() if part.__dict__.get("_stack")]


def test_memory_is_empty_afterwards_and_backward_needs_a_forward(case):
    layer, x, dout = case
    layer(x)
    layer.backward(dout)
    assert remembered(layer) == []
    if not isinstance(layer, (NyangFlow, Residual)):  # they keep nothing: their layers speak
        with pytest.raises(RuntimeError, match=type(layer).__name__):
            layer.backward(dout)


def test_no_memory_leaves_nothing_behind(case):
    layer, x, _ = case
    with no_memory():
        out = layer(x)
    np.testing.assert_array_equal(out, layer(x))
    layer(x)
    with no_memory():
        layer(x)
    assert remembered(layer) == []


def test_a_non_contiguous_input_gives_the_same(case):
    layer, x, dout = case
    wanted = layer(x)
    wanted_dx = layer.backward(dout)
    out = layer(np.asfortranarray(x))
    np.testing.assert_allclose(out, wanted, rtol=1e-12)
    np.testing.assert_allclose(layer.backward(np.asfortranarray(dout)), wanted_dx, rtol=1e-12)


def test_state_dict_round_trip(case):
    layer, x, _ = case
    state, wanted = layer.state_dict(), layer(x)
    for parameter in layer.parameters():
        parameter.data = parameter.data * 0 - 1
    layer.load_state_dict(state)
    np.testing.assert_array_equal(layer(x), wanted)


def test_linear_refuses_wrong_inputs():
    with pytest.raises(ValueError, match=r"\(N, 5\).*\(2, 4\)"):
        Linear(5, 3)(np.zeros((2, 4), np.float32))
    with pytest.raises(TypeError, match="float64"):
        Linear(5, 3)(np.zeros((2, 5)))


def test_a_state_that_does_not_fit_changes_nothing():
    layer = Linear(2, 2, rng=seeded())
    before = layer.state_dict()
    with pytest.raises(ValueError, match="missing bias.*unexpected scale.*weight has shape"):
        layer.load_state_dict({"weight": np.zeros((3, 3)), "scale": np.zeros(1)})
    np.testing.assert_array_equal(layer.weight.data, before["weight"])
