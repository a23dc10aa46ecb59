"""ResNet: shapes, parameter counts, PyTorch's names and logits, gradients, over-fitting."""

import numpy as np
import pytest
from zoo_tools import (
    compare_counts,
    compare_states,
    over_fitted,
    seeded,
    size,
    torchvision_models,
    without_gradient,
    worth_comparing,
)

import nyang_edu.model.zoo.resnet as zoo
from nyang_edu.model.activation import ReLU, Tanh
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.residual import Residual
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.hollow import Hollow

COUNTS = {18: 11_689_512, 34: 21_797_672, 50: 25_557_032, 101: 44_549_160, 152: 60_192_808}


def test_parameter_counts_equal_torchvisions():
    compare_counts({f"resnet{depth}": count for depth, count in COUNTS.items()}, zoo)


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
def test_the_small_ones_have_the_papers_depth(depth):
    model = getattr(zoo, f"resnet{depth}")(rng=Hollow())
    weights = [name for name, one in model.named_parameters()
               if one.data.ndim > 1 and "shortcut" not in name]
    assert len(weights) == depth
    blocks = (depth - 2) // 6
    option_a = 16 * 27 + 32 + 16 * 10 * 4 + 10  # stem and head; bodies follow
    for place, width in enumerate((16, 32, 64)):
        into = width // 2 if place else width
        option_a += 9 * width * (into + (2 * blocks - 1) * width) + 4 * width * blocks
    assert size(model) == option_a + 16 * 32 + 64 + 32 * 64 + 128  # and two projections


@pytest.mark.parametrize("make, shape, stages", [
    (lambda: zoo.resnet20(10, seeded()), (3, 32, 32),
     [(16, 32, 32)] * 2 + [(32, 16, 16), (64, 8, 8)]),
    (lambda: zoo.resnet18(7, seeded()), (3, 64, 64),
     [(64, 16, 16)] * 2 + [(128, 8, 8), (256, 4, 4), (512, 2, 2)]),
    (lambda: zoo.resnet50(7, Hollow()), (3, 64, 64),
     [(64, 16, 16), (256, 16, 16), (512, 8, 8), (1024, 4, 4), (2048, 2, 2)]),
], ids=["20", "18", "50"])
def test_shapes_per_stage(make, shape, stages):
    model, x, shapes = make().eval(), np.zeros((2, *shape), np.float32), []
    with no_memory():
        for part in model:
            x = part(x)
            shapes.append(x.shape[1:])
    assert shapes[:-1] == stages and shapes[-1] == (model[-1][1].out_features,)


def test_multiply_adds_are_the_published_ones():
    assert zoo.resnet20(rng=Hollow()).summary((3, 32, 32)).multiply_adds == 40_813_184
    assert zoo.resnet18(rng=Hollow()).summary((3, 224, 224)).multiply_adds == 1_814_073_344


def test_residual_refuses_branches_of_different_shapes():
    block = Residual(Linear(4, 1, rng=seeded()))
    with pytest.raises(ValueError, match=r"\(3, 1\).*\(3, 4\)"):
        block(np.zeros((3, 4), np.float32))


@pytest.mark.parametrize("make", [
    lambda: Residual(Linear(4, 4, rng=seeded())),
    lambda: Residual(NyangFlow(Linear(4, 4, rng=seeded()), Tanh()), after=Tanh()),
    lambda: Residual(Linear(4, 3, rng=seeded()), Linear(4, 3, rng=seeded()), Tanh()),
], ids=["bare", "after", "shortcut and after"])
def test_gradients_of_residual(make):
    gradcheck(make(), np.random.default_rng(3).normal(size=(5, 4)))


def test_one_layer_in_both_branches():
    bend = Tanh()
    block = Residual(NyangFlow(Linear(4, 4, rng=seeded()), bend), bend)
    gradcheck(block, np.random.default_rng(3).normal(size=(5, 4)))


def test_residual_writes_into_nothing_and_returns_fresh_arrays():
    block = Residual(NyangFlow(Linear(4, 4, rng=seeded())))
    x, dout = np.ones((3, 4), np.float32), np.ones((3, 4), np.float32)
    out = block(x)
    dx = block.backward(dout)
    assert (x == 1).all() and (dout == 1).all()
    assert not np.shares_memory(dx, dout) and not np.shares_memory(out, x)
    assert out.dtype == dx.dtype == np.float32


@pytest.mark.parametrize("block, widths", [(zoo.basic_block, (2, 3)), (zoo.bottleneck, (4, 8))])
def test_gradients_of_blocks(block, widths):
    rng = np.random.default_rng(5)
    made = block(*widths, 2, rng=rng)
    for parameter in made.parameters():
        parameter.data += rng.uniform(0.1, 0.4, parameter.data.shape)
    gradcheck(made, rng.normal(size=(3, widths[0], 4, 4)))


def test_a_shortcut_is_empty_where_x_fits():
    assert zoo.projection(8, 8, 1, seeded()) is None
    assert [type(one) for one in zoo.projection(8, 8, 2, seeded())] == [Conv2d, BatchNorm2d]


@pytest.mark.parametrize("make", [
    lambda: zoo.resnet20(3, seeded(), width=4),
    lambda: zoo.resnet_small(1, 3, seeded(), width=8, block=zoo.bottleneck),
], ids=["basic", "bottleneck"])
def test_a_gradient_reaches_every_parameter_and_the_input(make):
    assert without_gradient(make(), (4, 3, 16, 16)) == []


def test_one_seed_gives_one_model():
    one, same, other = (zoo.resnet20(2, np.random.default_rng(seed), width=4).state_dict()
                        for seed in (0, 0, 1))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert not np.array_equal(one["4.1.weight"], other["4.1.weight"])


def test_over_fits_eight_samples():
    model = zoo.resnet_small(1, 4, seeded(), width=8)
    assert over_fitted(model, (3, 16, 16), 4, lr=0.05, steps=30) < 0.02


def test_zeroed_norms_make_the_first_stage_an_identity():
    model = zoo.resnet20(2, seeded(), width=4)
    blocks = [one for _, one in model.named_layers() if isinstance(one, Residual)]
    assert zoo.zero_last_norms(blocks) == 3 * (4 + 8 + 16)
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    np.testing.assert_array_equal(model[:1](x), model[:2](x))
    assert isinstance(blocks[0].after, ReLU)


# PyTorch's own networks: torchvision's, or, where it is missing, the same written here.

def torch_resnet(depth):
    """Return PyTorch's ResNet-18 or ResNet-50 in eval mode, with weights worth comparing."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(depth)
    models = torchvision_models()
    return worth_comparing(getattr(models, f"resnet{depth}")() if models
                           else written_here(torch.nn, depth))


def written_here(nn, depth):
    """Write ResNet-18 or 50 down with torchvision's names."""
    class Block(nn.Module):
        def __init__(self, into, out, stride):
            super().__init__()
            neck = out if depth == 18 else out // 4
            plan = [(into, out, 3, stride), (out, out, 3, 1)] if depth == 18 else [
                (into, neck, 1, 1), (neck, neck, 3, stride), (neck, out, 1, 1)]
            for k, (i, o, kernel, step) in enumerate(plan, 1):
                setattr(self, f"conv{k}", nn.Conv2d(i, o, kernel, step, kernel // 2, bias=False))
                setattr(self, f"bn{k}", nn.BatchNorm2d(o))
            self.steps, self.downsample = len(plan), None
            if stride > 1 or into != out:
                self.downsample = nn.Sequential(nn.Conv2d(into, out, 1, stride, bias=False),
                                                nn.BatchNorm2d(out))

        def forward(self, x):
            out = x
            for k in range(1, self.steps + 1):
                out = getattr(self, f"bn{k}")(getattr(self, f"conv{k}")(out))
                out = out.relu() if k < self.steps else out
            return (out + (x if self.downsample is None else self.downsample(x))).relu()

    parts = [("conv1", nn.Conv2d(3, 64, 7, 2, 3, bias=False)), ("bn1", nn.BatchNorm2d(64)),
             ("relu", nn.ReLU()), ("maxpool", nn.MaxPool2d(3, 2, 1))]
    into = 64
    for place, count in enumerate((2, 2, 2, 2) if depth == 18 else (3, 4, 6, 3)):
        out = 64 * 2**place * (1 if depth == 18 else 4)
        blocks = [Block(into, out, 2 if place else 1)]
        blocks += [Block(out, out, 1) for _ in range(count - 1)]
        parts.append((f"layer{place + 1}", nn.Sequential(*blocks)))
        into = out
    parts += [("avgpool", nn.AdaptiveAvgPool2d(1)), ("flatten", nn.Flatten()),
              ("fc", nn.Linear(into, 1000))]
    model = nn.Sequential()
    for name, part in parts:
        model.add_module(name, part)
    return model


@pytest.mark.parametrize("depth", [18, 50])
def test_states_load_both_ways_with_equal_logits(depth):
    ours, theirs = getattr(zoo, f"resnet{depth}")(rng=Hollow()), torch_resnet(depth)
    compare_states(ours, theirs, zoo.resnet_torchvision_names(ours), (2, 3, 64, 64))
