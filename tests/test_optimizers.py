"""Optimizers: the paths of PyTorch, the papers' formulas, and one contract for all of them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nyang_edu.model.core import Parameter
from nyang_edu.training.adaptive import AdaBound, Adam, AdamW, RMSprop, clip_grad_norm
from nyang_edu.training.optimizer import SGD


@pytest.fixture
def rng():
    return np.random.default_rng(7)


STEPS, SHAPES = 50, [(3, 4), (5,), (2, 3, 2), ()]
PAIRS = {
    "SGD": (SGD, torch.optim.SGD, {"lr": 0.1}),
    "momentum": (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.9}),
    "nesterov": (SGD, torch.optim.SGD, {"lr": 0.05, "momentum": 0.8, "nesterov": True}),
    "RMSprop": (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.9}),
    "RMSprop momentum": (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.8, "momentum": 0.9}),
    "RMSprop eps": (RMSprop, torch.optim.RMSprop, {"lr": 0.01, "alpha": 0.99, "eps": 0.1}),
    "Adam": (Adam, torch.optim.Adam, {"lr": 0.01}),
    "Adam betas": (Adam, torch.optim.Adam, {"lr": 0.01, "betas": (0.5, 0.9), "eps": 0.1}),
    "AdamW": (AdamW, torch.optim.AdamW, {"lr": 0.01}),
    "AdamW betas": (AdamW, torch.optim.AdamW, {"lr": 0.02, "betas": (0.7, 0.99), "eps": 1e-3}),
}
LIMITS = {np.float64: 1e-12, np.float32: 1e-5}
MAKERS = {
    "SGD": lambda p, **s: SGD(p, **{"lr": 0.1, "momentum": 0.9} | s),
    "nesterov": lambda p, **s: SGD(p, **{"lr": 0.1, "momentum": 0.9, "nesterov": True} | s),
    "RMSprop": lambda p, **s: RMSprop(p, **{"momentum": 0.5} | s),
    "RMSprop plain": RMSprop,
    "Adam": Adam,
    "AdamW": AdamW,
    "AdaBound": lambda p, **s: AdaBound(p, **{"gamma": 0.1} | s),
}


def parameters(rng, dtype=np.float64, shapes=SHAPES):
    return [Parameter(rng.normal(size=shape).astype(dtype)) for shape in shapes]


def push(held, rng):
    """Put a fresh gradient of any size into each of them."""
    for one in held:
        one.grad[...] = rng.normal(size=one.data.shape) * 10 ** rng.uniform(-2, 2)


def walk(optimizer, rng, steps=3):
    for _ in range(steps):
        push(optimizer.parameters, rng)
        optimizer.step()


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("name", PAIRS)
def test_fifty_steps_are_those_of_pytorch(name, decay, dtype, rng):
    ours, theirs, given_ = PAIRS[name]
    held = parameters(rng, dtype)
    twins = [torch.nn.Parameter(torch.tensor(one.data.copy())) for one in held]
    mine = ours(held, weight_decay=decay, **given_)
    other = theirs(twins, weight_decay=decay, **given_)
    for step in range(STEPS):
        push(held, rng)
        for one, twin in zip(held, twins, strict=True):
            twin.grad = torch.tensor(one.grad.copy())
        if step == STEPS // 2:  # as a schedule does
            mine.lr = other.param_groups[0]["lr"] = given_["lr"] / 3
        mine.step()
        other.step()
    for one, twin in zip(held, twins, strict=True):
        np.testing.assert_allclose(one.data, twin.detach().numpy(), LIMITS[dtype], LIMITS[dtype])
        assert one.data.dtype == dtype


def adabound_by_the_formula(data, grads, lrs, betas, final_lr, gamma, eps, decay):
    """Algorithm 2 of Luo et al. with the corrections of the authors' program, number by number."""
    out = np.empty_like(data)
    for place in np.ndindex(data.shape):
        w, m, v = float(data[place]), 0.0, 0.0
        for t, (grad, lr) in enumerate(zip(grads, lrs, strict=True), 1):
            g = float(grad[place]) + decay * w
            m, v = betas[0] * m + (1 - betas[0]) * g, betas[1] * v + (1 - betas[1]) * g * g
            final = final_lr * lr / lrs[0]
            lower, upper = final * (1 - 1 / (gamma * t + 1)), final * (1 + 1 / (gamma * t))
            rate = lr * (1 - betas[1] ** t) ** 0.5 / (1 - betas[0] ** t) / (v**0.5 + eps)
            w -= min(max(rate, lower), upper) * m
        out[place] = w
    return out


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("gamma", [1e-3, 0.05, 1.0])
def test_adabound_is_the_papers_formula(gamma, decay, rng):
    one = Parameter(rng.normal(size=(4, 3)))
    grads = rng.normal(size=(STEPS, 4, 3)) * 10 ** rng.uniform(-3, 2, size=(4, 3))
    lrs = np.where(np.arange(STEPS) < 20, 0.05, 0.01)
    settings_ = {"betas": (0.8, 0.95), "final_lr": 0.1, "gamma": gamma, "eps": 1e-4}
    wanted = adabound_by_the_formula(one.data, grads, lrs, decay=decay, **settings_)
    optimizer = AdaBound([one], lr=0.05, weight_decay=decay, **settings_)
    for grad, lr in zip(grads, lrs, strict=True):
        optimizer.lr = float(lr)
        one.grad[...] = grad
        optimizer.step()
    np.testing.assert_allclose(one.data, wanted, 1e-10, 1e-12)


def test_adabound_begins_as_adam_and_ends_as_momentum(rng):
    start, seed = rng.normal(size=(3, 2)), int(rng.integers(1000))
    free, adam = Parameter(start.copy()), Parameter(start.copy())
    walk(AdaBound([free], gamma=1e-9, final_lr=1e-3), np.random.default_rng(seed), 20)
    walk(Adam([adam]), np.random.default_rng(seed), 20)
    np.testing.assert_allclose(free.data, adam.data, 1e-4)
    bound = AdaBound([free], gamma=1e9, final_lr=0.01)
    walk(bound, rng, 1)
    assert bound.bounds(0.01) == pytest.approx((0.01, 0.01))


@pytest.mark.parametrize("dtype", LIMITS)
def test_clipping_is_pytorchs_without_its_offset(dtype, rng):
    """PyTorch divides by the norm plus 1e-6; what it leaves is short by that share."""
    for max_norm in (0.5, 3.0, 1e6):
        held = parameters(rng, dtype)
        push(held, rng)
        twins = [torch.nn.Parameter(torch.tensor(one.data)) for one in held]
        for one, twin in zip(held, twins, strict=True):
            twin.grad = torch.tensor(one.grad.copy())
        total = float(torch.nn.utils.clip_grad_norm_(twins, max_norm))
        arrays = [one.grad for one in held]
        assert clip_grad_norm(held, max_norm) == pytest.approx(total, rel=LIMITS[dtype])
        offset = (total + 1e-6) / total if total > max_norm else 1.0
        for one, twin, array in zip(held, twins, arrays, strict=True):
            np.testing.assert_allclose(one.grad, twin.grad.numpy() * offset, LIMITS[dtype])
            assert one.grad is array and array.dtype == dtype


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=9), st.floats(1e-3, 1e3))
def test_clipping_keeps_the_direction_and_never_lengthens(values, max_norm):
    one = Parameter(np.zeros(len(values)))
    one.grad[...] = values
    norm = clip_grad_norm([one, one], max_norm)
    assert norm == pytest.approx(np.linalg.norm(values))
    left = np.linalg.norm(one.grad)
    assert left == pytest.approx(min(norm, max_norm), rel=1e-9)
    if norm > 0:
        np.testing.assert_allclose(one.grad / left, np.array(values) / norm, 1e-9, 1e-12)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan")])
def test_clipping_refuses_a_limit_that_is_none(limit):
    with pytest.raises(ValueError, match="max_norm must be above 0"):
        clip_grad_norm([Parameter(np.ones(2))], limit)


@pytest.mark.parametrize("dtype", LIMITS)
@pytest.mark.parametrize("name", MAKERS)
class TestContract:
    """What holds for every optimizer."""

    def test_data_stays_its_array_and_the_gradient_its_value(self, name, dtype, rng):
        held = parameters(rng, dtype)
        optimizer = MAKERS[name](held, weight_decay=0.1)
        arrays, views = [one.data for one in held], [one.data[...] for one in held]
        push(held, rng)
        grads, before = [one.grad.copy() for one in held], [one.data.copy() for one in held]
        optimizer.step()
        for one, array, view, grad, old in zip(held, arrays, views, grads, before, strict=True):
            assert one.data is array and np.array_equal(view, array) and array.dtype == dtype
            assert np.array_equal(one.grad, grad) and not np.array_equal(array, old)

    def test_a_parameter_given_twice_moves_once(self, name, dtype, rng):
        first, twin = (Parameter(np.ones((2, 3), dtype)) for _ in range(2))
        for held in ([first, first], [twin]):
            walk(MAKERS[name](held), np.random.default_rng(3))
        assert np.array_equal(first.data, twin.data)

    def test_each_group_has_its_own_settings(self, name, dtype, rng):
        held, twins = (parameters(np.random.default_rng(5), dtype, [(3,)] * 2) for _ in range(2))
        groups = [{"parameters": held[:1], "weight_decay": 0.2},
                  {"parameters": held[1:], "lr": 0.003}]
        both = MAKERS[name](groups, lr=0.02, weight_decay=0.0)
        alone = [MAKERS[name](twins[:1], lr=0.02, weight_decay=0.2),
                 MAKERS[name](twins[1:], lr=0.003, weight_decay=0.0)]
        for _ in range(3):
            push(held, rng)
            for one, twin, optimizer in zip(held, twins, alone, strict=True):
                twin.grad[...] = one.grad
                optimizer.step()
            both.step()
        assert all(np.array_equal(a.data, b.data) for a, b in zip(held, twins, strict=True))

    def test_resuming_is_equal_bit_for_bit(self, name, dtype, rng):
        held, seed = parameters(rng, dtype), 11
        optimizer = MAKERS[name](held, weight_decay=0.1)
        walk(optimizer, rng, 4)
        optimizer.lr = 0.004
        state, twins = optimizer.state_dict(), [Parameter(one.data.copy()) for one in held]
        walk(optimizer, np.random.default_rng(seed), 4)
        resumed = MAKERS[name](twins)
        resumed.load_state_dict(state)
        walk(resumed, np.random.default_rng(seed), 4)
        assert all(a.data.tobytes() == b.data.tobytes() for a, b in zip(held, twins, strict=True))

    def test_pieces_change_nothing(self, name, dtype, rng):
        small, whole = (parameters(np.random.default_rng(1), dtype, [(7, 5), (4,)]) for _ in "ab")
        one, other = MAKERS[name](small, weight_decay=0.1), MAKERS[name](whole, weight_decay=0.1)
        one.piece_size = 3
        for optimizer in (one, other):
            walk(optimizer, np.random.default_rng(2))
        assert all(np.array_equal(a.data, b.data) for a, b in zip(small, whole, strict=True))

    def test_any_memory_layout_moves_alike(self, name, dtype, rng):
        plain = Parameter(rng.normal(size=(4, 6)).astype(dtype))
        turned = Parameter(np.asfortranarray(plain.data))
        strided = Parameter(np.repeat(plain.data, 2, axis=1)[:, ::2])
        for one in (plain, turned, strided):
            walk(MAKERS[name]([one]), np.random.default_rng(4))
        assert np.array_equal(plain.data, turned.data) and np.array_equal(plain.data, strided.data)

    def test_zero_gradients_and_empty_parameters_are_no_trouble(self, name, dtype, rng):
        held = [Parameter(np.ones((2, 2), dtype)), Parameter(np.ones((0, 3), dtype))]
        optimizer = MAKERS[name](held, weight_decay=0.0)
        with np.errstate(all="raise"):
            optimizer.step()
        assert np.array_equal(held[0].data, np.ones((2, 2)))


BAD = [
    (RMSprop, {"alpha": 1.0}, "alpha must be at least 0 and below 1, received 1.0"),
    (RMSprop, {"momentum": -0.1}, "momentum must be"),
    (RMSprop, {"eps": -1e-8}, "eps must be at least 0"),
    (Adam, {"betas": (0.9, 1.0)}, "each beta must be at least 0 and below 1, received 1.0"),
    (AdamW, {"weight_decay": -1.0}, "weight_decay must be at least 0"),
    (AdaBound, {"final_lr": 0.0}, "final_lr and gamma must be above 0"),
    (AdaBound, {"gamma": 0.0}, "final_lr and gamma must be above 0"),
    (Adam, {"lr": 0.0}, "the learning rate must be above 0"),
]


@pytest.mark.parametrize(("optimizer", "given_", "words"), BAD)
def test_a_setting_out_of_range_is_refused(optimizer, given_, words):
    with pytest.raises(ValueError, match=words):
        optimizer([Parameter(np.ones(2))], **given_)


def test_the_first_step_of_adam_has_the_length_lr():
    one = Parameter(np.zeros(3))
    one.grad[...] = [1e-4, -1.0, 1e6]
    Adam([one], lr=0.01).step()
    np.testing.assert_allclose(one.data, [-0.01, 0.01, -0.01], 1e-3)
