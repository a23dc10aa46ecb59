"""LeNet-5 and its wider cousin: shapes, counts, names, gradients, and PyTorch's own numbers."""

import numpy as np
import pytest

from nyang_edu import SGD, CrossEntropyLoss
from nyang_edu.evaluation.saliency import saliency, undisturbed
from nyang_edu.model.zoo.lenet import lenet5, lenet_cats_dogs, lenet_stage
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.hollow import Hollow

STAGES = {28: [(6, 14, 14), (16, 5, 5)], 32: [(6, 14, 14), (16, 5, 5)]}
BUILDERS = {
    "lenet5": (lambda rng: lenet5(rng=rng), (1, 28, 28), 10),
    "lenet5, 32": (lambda rng: lenet5(7, 3, 32, rng=rng), (3, 32, 32), 7),
    "lenet5, classic": (lambda rng: lenet5(classic=True, rng=rng), (1, 28, 28), 10),
    "cats and dogs": (lambda rng: lenet_cats_dogs(size=48, rng=rng), (3, 48, 48), 2),
}


@pytest.fixture(params=BUILDERS)
def case(request):
    build, shape, classes = BUILDERS[request.param]
    return build, shape, classes


def batch(shape, classes, n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, *shape)).astype(np.float32), rng.integers(0, classes, n)


@pytest.mark.parametrize("size", STAGES)
def test_shapes_and_counts_of_each_stage(size):
    table = lenet5(size=size).summary((1, size, size))
    outputs = [row["output"] for row in table.rows]
    assert [outputs[2], outputs[5]] == STAGES[size]
    assert outputs[6:] == [(400,), (120,), (120,), (84,), (84,), (10,)]
    counts = {row["name"]: row["parameters"] for row in table.rows if row["parameters"]}
    assert counts == {"0": 156, "3": 2416, "7": 48120, "9": 10164, "11": 850}
    assert table.parameters == 61_706 and table.multiply_adds == 416_520


def test_the_variant_for_photographs_counts_as_by_hand():
    by_hand = (3 * 16 * 25 + 16) + (16 * 32 * 25 + 32) + (32 * 53 * 53 * 512 + 512) + 1026
    assert by_hand == 46_038_242

    model = lenet_cats_dogs(rng=Hollow())
    assert sum(one.data.size for one in model.parameters()) == by_hand
    out = model(np.zeros((1, 3, 224, 224), np.float32))
    assert out.shape == (1, 2)


def test_one_seed_makes_one_model(case):
    build, _, _ = case
    one, two, other = (build(np.random.default_rng(s)).state_dict() for s in (0, 0, 1))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert all(not np.array_equal(one[name], other[name]) for name in one if "weight" in name)


def test_a_gradient_reaches_every_parameter(case):
    build, shape, classes = case
    model, (x, y) = build(np.random.default_rng(0)), batch(shape, classes, 4)
    loss = CrossEntropyLoss()
    loss(model(x), y)
    dx = model.backward(loss.backward())
    assert dx.shape == x.shape and dx.any()
    assert all(one.grad.any() for one in model.parameters())


def test_it_learns_eight_samples_by_heart(case):
    build, shape, classes = case
    model, (x, y) = build(np.random.default_rng(0)), batch(shape, classes, 8)
    loss, optimizer = CrossEntropyLoss(), SGD(model.parameters(), lr=0.01, momentum=0.9)
    values = []
    for _ in range(60):
        optimizer.zero_grad()
        values.append(loss(model(x), y))
        model.backward(loss.backward())
        optimizer.step()
    assert values[-1] < 0.02 < values[0]


def test_gradients_of_the_classic_stage_agree_with_numerical_ones():
    from nyang_edu import NyangFlow

    flow = NyangFlow(*lenet_stage(2, 3, 1, classic=True, rng=np.random.default_rng(0)))
    errors = gradcheck(flow, np.random.default_rng(1).normal(size=(2, 2, 8, 10)))
    assert max(errors.values()) < 1e-7


@pytest.mark.parametrize("size", [0, 27, 64, 224])
def test_another_size_is_refused_with_advice(size):
    with pytest.raises(ValueError, match=f"received {size}: resize"):
        lenet5(size=size)


def torch_twin(model):
    """The same layers in torch.nn.Sequential."""
    from torch import nn

    def twin(layer):
        kind = type(layer).__name__
        if kind == "Conv2d":
            O, C, K, _ = layer.weight.data.shape
            return nn.Conv2d(C, O, K, padding=tuple(layer.settings["padding"]))
        if kind == "Linear":
            return nn.Linear(layer.in_features, layer.out_features)
        return getattr(nn, kind)(*([2] if "Pool" in kind else []))

    return nn.Sequential(*map(twin, model.layers))


def test_the_state_dict_loads_into_pytorch_and_back(case):
    torch = pytest.importorskip("torch")
    build, shape, classes = case
    model, (x, y) = build(np.random.default_rng(0)), batch(shape, classes, 5)
    twin = torch_twin(model)
    twin.load_state_dict({name: torch.from_numpy(a) for name, a in model.state_dict().items()})
    source = torch.from_numpy(x).requires_grad_()
    logits, loss = twin(source), CrossEntropyLoss()
    value = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y))
    value.backward()
    assert abs(loss(model(x), y) - value.item()) < 1e-4
    np.testing.assert_allclose(model.backward(loss.backward()), source.grad, atol=1e-4)
    np.testing.assert_allclose(model(x), logits.detach(), atol=1e-4)

    fresh = build(np.random.default_rng(1))
    fresh.load_state_dict({name: a.numpy() for name, a in twin.state_dict().items()})
    np.testing.assert_allclose(fresh(x), logits.detach(), atol=1e-4)


def test_saliency_is_the_largest_numerical_slope_over_the_channels():
    model = lenet5(3, 2, 32, classic=True, rng=np.random.default_rng(0)).to(np.float64)
    rng = np.random.default_rng(1)
    x, classes = rng.normal(size=(2, 2, 32, 32)), np.array([2, 0])
    heat = saliency(model, x, classes)
    assert heat.shape == (2, 32, 32)
    for n, r, c in [(0, 16, 16), (1, 5, 20), (1, 30, 9)]:
        slopes = []
        for channel in range(2):
            moved = np.stack([x[n], x[n]])
            moved[0, channel, r, c] += 1e-5
            moved[1, channel, r, c] -= 1e-5
            scores = model(moved)[:, classes[n]]
            slopes.append(abs(scores[0] - scores[1]) / 2e-5)
        assert heat[n, r, c] == pytest.approx(max(slopes), rel=1e-5, abs=1e-10)


def test_undisturbed_brings_modes_and_gradients_back_after_an_error():
    model = lenet5(rng=np.random.default_rng(0))
    model[3].eval()
    for one in model.parameters():
        one.grad[...] = 1
    with pytest.raises(RuntimeError, match="on purpose"), undisturbed(model):
        model.eval().zero_grad()
        raise RuntimeError("on purpose")
    assert model.training and not model[3].training
    assert all((one.grad == 1).all() for one in model.parameters())
