"""ResNeXt-1D: shapes per floor, PyTorch's counts and logits, gradients, over-fitting."""

import inspect

import numpy as np
import pytest
from zoo_tools import compare_states, seeded, size, worth_comparing

import nyang_edu.model.zoo.resnext1d as zoo
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.parallel import Parallel
from nyang_edu.training.adaptive import AdaBound
from nyang_edu.training.class_weights import class_weights
from nyang_edu.training.loss import CrossEntropyLoss, FocalLoss
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.hollow import Hollow

NARROW = {"width": 4, "counts": (1, 1, 2, 2), "groups": 4}
FULL_SIZE = 22_270_725  # parameters with 5 classes


def signals(n=2, leads=1, seed=1):
    return seeded(seed).normal(size=(n, leads, 183)).astype(np.float32)


def steps(trunk):
    """List what grew, from the inside out: stem and floor 1, joined, floor 2, joined, …"""
    found = []
    while isinstance(trunk, Parallel) or isinstance(trunk[0], Parallel):
        found.append(trunk)
        trunk = trunk[0]
    return [trunk, *found[::-1]]


def shapes_of(model, x):
    with no_memory():
        return [step.eval()(x).shape for step in steps(model[0])]


def test_shapes_per_floor_are_those_of_the_original():
    model = zoo.resnext1d(rng=Hollow())
    assert shapes_of(model, signals()) == [
        (2, 256, 60), (2, 256, 120), (2, 512, 60), (2, 512, 90), (2, 1024, 45), (2, 1024, 60),
        (2, 2048, 30)]
    middles = [one.data.shape for one in model.parameters() if one.data.shape[2:] == (3,)]
    assert len(middles) == 3 + 4 + 6 + 3
    assert all(reads == out // 32 for out, reads, _ in middles)  # 32 groups
    assert {out for out, _, _ in middles} == {mid // 64 * 32 * 4 for mid in (64, 128, 256, 512)}


@pytest.mark.parametrize("length", [140, 183, 187])
def test_other_lengths_and_leads_pass(length):
    model = zoo.resnext1d(3, seeded(), in_channels=2, **NARROW)
    assert model(np.zeros((2, 2, length), np.float32)).shape == (2, 3)


def test_the_network_is_short():
    parts = (zoo.tenant_layer, zoo.floor_layer, zoo.new_connection, zoo.with_connections,
             zoo.resnext1d)
    code = [line for part in parts
            for line in inspect.getsource(part).replace(part.__doc__, "").splitlines()]
    assert len([line for line in code if line.strip(' "')]) <= 60


def test_one_seed_gives_one_model():
    one, same, other = (zoo.resnext1d(rng=seeded(s), **NARROW).state_dict() for s in (0, 0, 1))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not any(np.array_equal(one[name], other[name]) for name in one if one[name].ndim > 1)


@pytest.mark.parametrize("make, channels", [
    (lambda rng: zoo.tenant_layer(4, 8, 2, rng, groups=2), 4),
    (lambda rng: zoo.tenant_layer(4, 4, rng=rng, groups=2), 4),
    (lambda rng: zoo.new_connection(2, 3, 2, rng).eval(), 2),  # in training a bias is idle
    (lambda rng: zoo.resnext1d(2, rng, in_channels=2, width=2, counts=(1, 1), groups=2).eval(), 2),
], ids=["tenant, shrinking", "tenant", "connection", "network"])
def test_gradients(make, channels):
    rng = seeded(5)
    made = make(rng)
    for parameter in made.parameters():
        parameter.data += rng.uniform(0.1, 0.4, parameter.data.shape)
    gradcheck(made, rng.normal(size=(3, channels, 21)))


def test_a_gradient_reaches_every_parameter_and_the_input():
    model = zoo.resnext1d(rng=seeded(), **NARROW)
    model(signals(4))
    dx = model.backward(seeded(2).normal(size=(4, 5)).astype(np.float32))
    assert dx.shape == (4, 1, 183) and dx.any()
    largest = {name: np.abs(one.grad).max() for name, one in model.named_parameters()}
    paths = [name for name, part in model.named_layers() if isinstance(part, Parallel)]
    # A connection's second norm subtracts whatever the first one's bias adds.
    idle = {f"{path}.1.1.bias" for path in paths}
    assert len(idle) == 3 and {name for name in largest if largest[name] < 1e-5} == idle


def test_without_connections_the_trunk_is_a_chain():
    first, second, third = (Linear(3, 3, rng=seeded(s)) for s in range(3))
    x = seeded(3).normal(size=(2, 1, 3)).astype(np.float32)[:, 0]
    chain = zoo.with_connections(first, [second, third], [])
    np.testing.assert_array_equal(chain(x), NyangFlow(first, second, third)(x))


@pytest.mark.parametrize("loss", [CrossEntropyLoss(), FocalLoss(2.0, [0.5, 1, 1, 2, 1])])
def test_over_fits_eight_samples(loss):
    model, x, labels = zoo.resnext1d(rng=seeded(), **NARROW), signals(8), np.arange(8) % 5
    optimizer = AdaBound(model.parameters(), lr=0.01, final_lr=0.1)
    for _ in range(40):
        optimizer.zero_grad()
        value = loss(model(x), labels)
        model.backward(loss.backward())
        optimizer.step()
    assert value < 0.05 and (model(x).argmax(1) == labels).all()


@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_class_weights_leave_the_size_of_the_loss(power):
    labels = np.repeat(np.arange(4), [500, 40, 9, 1])
    alpha = class_weights(np.bincount(labels, minlength=5), power)
    assert alpha[labels].mean() == pytest.approx(1) and alpha[4] == 0
    assert (np.diff(alpha[:4]) > 0).all() or power == 0
    flat = np.zeros((len(labels), 5))  # every sample equally wrong
    weighted, plain = FocalLoss(0.0, alpha)(flat, labels), CrossEntropyLoss()(flat, labels)
    assert weighted == pytest.approx(plain)


# The same network in plain PyTorch, in the words of the program that it comes from.

def torch_resnext1d(width=64, counts=(3, 4, 6, 3), groups=32, classes=5):
    torch = pytest.importorskip("torch")
    nn = torch.nn

    class Tenant(nn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            mid = o // 4
            w = mid // 64 * 32 * 4 if mid >= 64 else 2 * mid
            self.block = nn.Sequential(
                nn.Conv1d(i, w, 1, bias=False), nn.BatchNorm1d(w), nn.LeakyReLU(),
                nn.Conv1d(w, w, 3, stride, 1, groups=groups, bias=False), nn.BatchNorm1d(w),
                nn.LeakyReLU(), nn.Conv1d(w, o, 1, bias=False), nn.BatchNorm1d(o))
            self.resize = nn.Identity() if stride == 1 and i == o else nn.Sequential(
                nn.Conv1d(i, o, 1, stride, bias=False), nn.BatchNorm1d(o))
            self.leaky_relu = nn.LeakyReLU()

        def forward(self, x):
            return self.leaky_relu(self.block(x) + self.resize(x))

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem = nn.Sequential(
                nn.Conv1d(1, width, 7, padding=2, bias=False), nn.BatchNorm1d(width),
                nn.LeakyReLU(), nn.MaxPool1d(3))
            i = width
            for k, count in enumerate(counts, 1):
                o = width * 4 * 2 ** (k - 1)
                floor = [Tenant(i, o, 2 if k > 1 else 1)]
                floor += [Tenant(o, o, 1) for _ in range(count - 1)]
                setattr(self, f"stage{k}_1", nn.Sequential(*floor))
                if k < len(counts):
                    setattr(self, f"stage{k}_", nn.Sequential(
                        nn.Conv1d(1, width, 7, padding=2, bias=False), nn.BatchNorm1d(width),
                        nn.Conv1d(width, o, 1, bias=False), nn.AvgPool1d(3 * 2 ** (k - 1)),
                        nn.BatchNorm1d(o)))
                i = o
            self.head = nn.Sequential(nn.AdaptiveAvgPool1d(12), nn.Flatten(),
                                      nn.Linear(12 * i, classes))

        def forward(self, x_origin):
            x = self.stem(x_origin)
            for k in range(1, len(counts) + 1):
                x = getattr(self, f"stage{k}_1")(x)
                if k < len(counts):
                    x = torch.cat([x, getattr(self, f"stage{k}_")(x_origin)], 2)
            return self.head(x)

    return Network()


def names_in_torch(ours, theirs):
    """Pair the names: both list their layers in the order in which they are visited."""
    others = [name for name, _ in (*theirs.named_parameters(), *theirs.named_buffers())]
    return dict(zip((name for name, _ in ours.named_arrays()), others, strict=True))


def test_the_parameter_count_equals_pytorchs():
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        theirs = sum(one.numel() for one in torch_resnext1d().parameters())
    here = size(zoo.resnext1d(rng=Hollow()))
    print(f"\nresnext1d {here:,} here, {theirs:,} in PyTorch")
    assert here == theirs == FULL_SIZE


@pytest.mark.parametrize("settings", [NARROW, {}], ids=["narrow", "full"])
def test_states_load_both_ways_with_equal_logits(settings):
    torch = pytest.importorskip("torch")
    torch.manual_seed(3)
    ours, theirs = zoo.resnext1d(rng=Hollow(), **settings), torch_resnext1d(**settings)
    compare_states(ours, worth_comparing(theirs), names_in_torch(ours, theirs), (3, 1, 183))


def test_a_training_step_has_pytorchs_loss_and_gradients():
    torch = pytest.importorskip("torch")
    ours, theirs = zoo.resnext1d(rng=seeded(), **NARROW), torch_resnext1d(**NARROW)
    names, x, labels = names_in_torch(ours, theirs), signals(16), np.arange(16) % 5
    theirs.load_state_dict({names[own]: torch.tensor(a) for own, a in ours.state_dict().items()})
    loss = CrossEntropyLoss()
    value = loss(ours(x), labels)
    ours.backward(loss.backward())
    wanted = torch.nn.functional.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels))
    wanted.backward()
    assert value == pytest.approx(wanted.item(), abs=1e-4)
    grads = {name: one.grad.numpy() for name, one in theirs.named_parameters()}
    for own, one in ours.named_parameters():
        wanted = grads[names[own]]
        atol = 1e-3 * np.abs(wanted).max() + 1e-6
        np.testing.assert_allclose(one.grad, wanted, atol=atol, err_msg=own)
