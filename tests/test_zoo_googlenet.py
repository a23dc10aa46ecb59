"""GoogLeNet: shapes, parameter counts, PyTorch's names and logits, gradients, over-fitting."""

import numpy as np
import pytest
from zoo_tools import (
    compare_states,
    seeded,
    size,
    torchvision_models,
    without_gradient,
    worth_comparing,
)

import nyang_edu.model.zoo.googlenet as zoo
from nyang_edu.model.core import no_memory
from nyang_edu.model.parallel import Auxiliary, Parallel
from nyang_edu.training.auxiliary import AuxiliaryLoss
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.hollow import Hollow

BARE, WITH_HEADS = 6_624_904, 13_004_888


def test_parameter_counts_equal_torchvisions():
    models = torchvision_models()
    print("\nmodel                    here        torchvision")
    for heads, published in [(False, BARE), (True, WITH_HEADS)]:
        theirs = published
        if models:
            import torch
            with torch.device("meta"):
                made = models.googlenet(aux_logits=heads, init_weights=False)
            theirs = sum(p.numel() for p in made.parameters())
        here = size(zoo.googlenet(rng=Hollow(), aux_logits=heads))
        print(f"googlenet, heads {heads!s:5}  {here:11,d} {theirs:11,d}")
        assert here == theirs == published


def test_shapes_per_stage():
    model, x, shapes = zoo.googlenet(7, Hollow()).eval(), np.zeros((1, 3, 64, 64), np.float32), []
    with no_memory():
        for part in zoo.main_path(model):
            x = part(x)
            shapes.append(x.shape[1:])
    assert shapes == [
        (64, 32, 32), (64, 16, 16), (64, 16, 16), (192, 16, 16), (192, 8, 8),
        (256, 8, 8), (480, 8, 8), (480, 4, 4),
        (512, 4, 4), (512, 4, 4), (512, 4, 4), (528, 4, 4), (832, 4, 4), (832, 2, 2),
        (832, 2, 2), (1024, 2, 2), (1024,), (1024,), (7,)]


def test_the_papers_sizes_at_224_pixels_and_its_multiply_adds():
    model = zoo.googlenet(rng=Hollow(), aux_logits=True)
    cost = model.summary((3, 224, 224))
    sides = [row["output"][1] for row in cost.rows if len(row["output"]) == 3]
    assert sorted(set(sides)) == [7, 14, 28, 56, 112]
    assert cost.parameters == WITH_HEADS  # the heads are silent in a summary, but counted
    assert round(cost.multiply_adds / 1e9, 3) == 1.498  # as torchvision's page has it


@pytest.mark.parametrize("shrink", [1, 2, 4, 8])
def test_the_small_one_is_the_same_table_divided(shrink):
    model = zoo.googlenet_small(5, Hollow(), shrink=shrink)
    blocks = [part for part in zoo.main_path(model) if isinstance(part, Parallel)]
    for block, row in zip(blocks, zoo.GOOGLENET_BLOCKS.values(), strict=True):
        made = [p.data.shape[0] for p in block.parameters() if p.data.ndim == 4]
        assert made == [n // shrink for n in row]
        assert block[2][1][0].weight.data.shape[2:] == (5, 5)


def test_one_seed_gives_one_model_and_heads_change_no_trunk():
    bare, same, other = (zoo.googlenet_small(2, seeded(s)) for s in (0, 0, 1))
    heads = zoo.googlenet_small(2, seeded(0), aux_logits=True)
    states = [[part.state_dict() for part in zoo.main_path(model)]
              for model in (bare, same, heads, other)]
    def equal(one, two):
        return all(np.array_equal(a[name], b[name]) for a, b in zip(one, two, strict=True)
                   for name in a if "weight" in name)
    assert equal(states[0], states[1]) and equal(states[0], states[2])
    assert not equal(states[0], states[3])


def test_heads_answer_in_training_and_are_silent_in_eval():
    model = zoo.googlenet_small(3, seeded(), aux_logits=True, dropout=0, dropout_aux=0)
    x = seeded(1).normal(size=(4, 3, 32, 32)).astype(np.float32)
    assert model(x).shape == (12, 3)
    bare = zoo.googlenet_small(3, seeded())
    with no_memory():
        np.testing.assert_allclose(bare.eval()(x), zoo.googlenet_small(
            3, seeded(), aux_logits=True).eval()(x), rtol=1e-5, atol=1e-6)
    assert [type(layer) for layer in model].count(Auxiliary) == 1
    assert len(zoo.auxiliary_heads(model)) == 2 and zoo.auxiliary_heads(bare) == []


@pytest.mark.parametrize("aux_logits", [False, True])
def test_a_gradient_reaches_every_parameter_and_the_input(aux_logits):
    model = zoo.googlenet_small(3, seeded(), aux_logits=aux_logits)
    assert without_gradient(model, (4, 3, 32, 32)) == []


@pytest.mark.parametrize("make, channels", [
    (lambda rng: zoo.inception(2, 1, 2, 3, 1, 2, 2, rng=rng), 2),
    (lambda rng: zoo.auxiliary_head(3, 2, 2, 5, 0, rng), 3),
], ids=["inception", "auxiliary head"])
def test_gradients_of_blocks(make, channels):
    rng = seeded(5)
    made = make(rng)
    for parameter in made.parameters():
        parameter.data += rng.uniform(0.1, 0.4, parameter.data.shape)
    gradcheck(made, rng.normal(size=(3, channels, 5, 5)))


def test_over_fits_eight_samples():
    rng = seeded(2)
    x, labels = rng.normal(size=(8, 3, 32, 32)).astype(np.float32), np.arange(8) % 4
    model = zoo.googlenet_small(4, rng, aux_logits=True, dropout=0, dropout_aux=0)
    loss, optimizer = AuxiliaryLoss(CrossEntropyLoss()), SGD(model.parameters(), 0.02, 0.9)
    for _ in range(40):
        optimizer.zero_grad()
        out = model(x)
        value = loss(out, labels)
        model.backward(loss.backward())
        optimizer.step()
    assert value < 0.05
    assert (out.reshape(3, 8, 4).argmax(axis=2) == labels).all()


# PyTorch's own network: torchvision's, or, where it is missing, the same written here.

def torch_googlenet(aux_logits):
    """Return PyTorch's GoogLeNet in eval mode, with running statistics worth comparing."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    models = torchvision_models()
    return worth_comparing(models.googlenet(aux_logits=aux_logits, init_weights=False) if models
                           else written_here(torch, aux_logits))


def named(**parts):
    from torch import nn

    flow = nn.Sequential()
    for name, part in parts.items():
        flow.add_module(name, part)
    return flow


def torch_conv(i, o, k, s=1):
    from torch import nn

    return named(conv=nn.Conv2d(i, o, k, s, k // 2, bias=False),
                 bn=nn.BatchNorm2d(o, eps=1e-3), relu=nn.ReLU())


def torch_block(torch, i, c1, r3, c3, r5, c5, pool):
    class Block(torch.nn.ModuleDict):
        def forward(self, x):
            return torch.cat([branch(x) for branch in self.values()], 1)

    return Block({
        "branch1": torch_conv(i, c1, 1),
        "branch2": torch.nn.Sequential(torch_conv(i, r3, 1), torch_conv(r3, c3, 3)),
        "branch3": torch.nn.Sequential(torch_conv(i, r5, 1), torch_conv(r5, c5, 3)),
        "branch4": torch.nn.Sequential(torch.nn.MaxPool2d(3, 1, 1), torch_conv(i, pool, 1))})


def torch_head(nn, i):
    return named(pool=nn.AdaptiveAvgPool2d(4), conv=torch_conv(i, 128, 1), flat=nn.Flatten(),
                 fc1=nn.Linear(2048, 1024), relu=nn.ReLU(), fc2=nn.Linear(1024, 1000))


def written_here(torch, aux_logits):
    """Write GoogLeNet down with torchvision's names; in training it returns three logits."""
    nn = torch.nn

    def pool(k=3):
        return nn.MaxPool2d(k, 2, ceil_mode=True)

    parts = dict(conv1=torch_conv(3, 64, 7, 2), maxpool1=pool(), conv2=torch_conv(64, 64, 1),
                 conv3=torch_conv(64, 192, 3), maxpool2=pool())
    channels = 192
    for name, row in zoo.GOOGLENET_BLOCKS.items():
        parts |= {"4a": {"maxpool3": pool()}, "5a": {"maxpool4": pool(2)}}.get(name, {})
        parts[f"inception{name}"] = torch_block(torch, channels, *row)
        channels = row[0] + row[2] + row[4] + row[5]
    parts |= dict(avgpool=nn.AdaptiveAvgPool2d(1), flat=nn.Flatten(), fc=nn.Linear(1024, 1000))
    heads = dict(aux1=torch_head(nn, 512), aux2=torch_head(nn, 528)) if aux_logits else {}
    return wired(torch, parts, heads)


def wired(torch, parts, heads):
    """Run the parts in a row, and in training the heads behind 4a and 4d."""
    class Whole(torch.nn.ModuleDict):
        def forward(self, x):
            logits = []
            for name in parts:
                x = self[name](x)
                if self.training and heads and name in ("inception4a", "inception4d"):
                    logits.append(self[f"aux{len(logits) + 1}"](x))
            return (x, logits[1], logits[0]) if logits else x

    return Whole(parts | heads)


@pytest.mark.parametrize("aux_logits", [False, True])
def test_states_load_both_ways_with_equal_logits(aux_logits):
    ours = zoo.googlenet(rng=Hollow(), aux_logits=aux_logits)
    compare_states(ours, torch_googlenet(aux_logits), zoo.googlenet_torchvision_names(ours),
                   (2, 3, 64, 64))


def test_heads_answer_as_torchvisions_do():
    """With the running statistics, so that a batch of two compares; dropout is a matter of eval."""
    theirs, torch = torch_googlenet(True), pytest.importorskip("torch")
    ours = zoo.googlenet(rng=Hollow(), aux_logits=True).eval()
    names, state = zoo.googlenet_torchvision_names(ours), theirs.state_dict()
    ours.load_state_dict({own: state[name].numpy() for own, name in names.items()})
    for _, layer in ours.named_layers():
        layer.training = isinstance(layer, Auxiliary)
    theirs.training = True  # its parts stay in eval mode
    x = seeded(1).normal(size=(2, 3, 64, 64)).astype(np.float32)
    with no_memory(), torch.no_grad():
        wanted = torch.cat(tuple(theirs(torch.tensor(x)))).numpy()
        out = ours(x)
    assert out.shape == (6, 1000)
    np.testing.assert_allclose(out, wanted, atol=1e-4 * max(1, np.abs(wanted).max()))
