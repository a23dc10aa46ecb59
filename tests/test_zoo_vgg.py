"""AlexNet and VGG: counts, shapes, PyTorch's names and logits, gradients, over-fitting."""

import numpy as np
import pytest
from zoo_tools import (
    compare_counts,
    compare_states,
    over_fitted,
    seeded,
    torchvision_models,
    without_gradient,
    worth_comparing,
)

from nyang_edu import BatchNorm2d, Conv2d, GlobalAvgPool, Linear, MaxPool2d, NyangFlow, no_memory
from nyang_edu.model.folding import folded_norm
from nyang_edu.model.zoo import alexnet as alex_zoo
from nyang_edu.model.zoo import vgg as vgg_zoo
from nyang_edu.utility.hollow import Hollow
from nyang_edu.utility.save_load import nyang_load_model, nyang_save_model

COUNTS = {"alexnet": 61_100_840, "vgg11": 132_863_336, "vgg13": 133_047_848,
          "vgg16": 138_357_544, "vgg19": 143_667_240, "vgg11_bn": 132_868_840,
          "vgg13_bn": 133_053_736, "vgg16_bn": 138_365_992, "vgg19_bn": 143_678_248}
SMALL = {
    "alexnet": lambda: alex_zoo.alexnet_small(4, seeded(), width=16, dropout=0),
    "vgg11": lambda: vgg_zoo.vgg_small(11, 4, seeded(), batch_norm=False, width=16),
    "vgg11_bn": lambda: vgg_zoo.vgg_small(11, 4, seeded(), width=16),
}


def test_parameter_counts_equal_torchvisions():
    compare_counts(COUNTS, alex_zoo, vgg_zoo)


def test_multiply_adds_are_the_published_ones():
    assert alex_zoo.alexnet(rng=Hollow()).summary((3, 224, 224)).multiply_adds == 714_188_480
    model = vgg_zoo.vgg(16, False, hidden=8, rng=Hollow())
    features = model[0].summary((3, 224, 224)).multiply_adds
    dense = 25088 * 4096 + 4096 * 4096 + 4096 * 1000
    assert features + dense == 15_470_264_320


@pytest.mark.parametrize("depth", vgg_zoo.VGG_CONFIGS)
def test_shapes_per_stage_of_vgg(depth):
    model, x, shapes = vgg_zoo.vgg_small(depth, 7, Hollow(), width=16).eval(), None, []
    x = np.zeros((2, 3, 64, 96), np.float32)
    with no_memory():
        for layer in model[0]:
            x = layer(x)
            if isinstance(layer, MaxPool2d):
                shapes.append(x.shape[1:])
        assert model[1:](x).shape == (2, 7)
    assert shapes == [(16, 32, 48), (32, 16, 24), (64, 8, 12), (128, 4, 6), (128, 2, 3)]
    weights = [layer for layer in model[0] if isinstance(layer, Conv2d)]
    assert len(weights) + 3 == depth


@pytest.mark.parametrize("size, places", [((224, 224), (6, 6)), ((63, 63), (1, 1)),
                                          ((96, 160), (2, 4))])
def test_alexnet_takes_images_of_any_size(size, places):
    features = alex_zoo.alexnet_features(rng=Hollow())
    model = alex_zoo.alexnet_around(features, 256, 6, 8, 5, Hollow(), 0.5).eval()
    with no_memory():
        x = np.zeros((1, 3, *size), np.float32)
        assert model[0](x).shape == (1, 256, *places)
        assert model[:2](x).shape == (1, 256, 6, 6) and model(x).shape == (1, 5)


@pytest.mark.parametrize("name", SMALL)
def test_a_gradient_reaches_every_parameter_and_the_input(name):
    assert without_gradient(SMALL[name](), (8, 3, 32, 32)) == []


def test_batch_norm_leaves_the_biases_before_it_nothing_but_rounding():
    model, rng = SMALL["vgg11_bn"]().to(np.float64), seeded(1)
    out = model(rng.normal(size=(8, 3, 32, 32)))
    model.backward(rng.normal(size=out.shape))
    for layer in model[0]:
        if isinstance(layer, Conv2d):
            assert np.abs(layer.bias.grad).max() < 1e-9 * np.abs(layer.weight.grad).max()


@pytest.mark.parametrize("name", SMALL)
def test_over_fits_eight_samples(name):
    lr, steps = (0.02, 50) if name.endswith("bn") else (0.005, 80)
    assert over_fitted(SMALL[name](), (3, 32, 32), 4, lr, steps) < 0.02


@pytest.mark.parametrize("make", [
    lambda rng: alex_zoo.alexnet_small(4, rng, width=8),
    lambda rng: vgg_zoo.vgg_small(13, 4, rng, width=8),
    lambda rng: vgg_zoo.vgg(11, False, 4, rng, hidden=4),
], ids=["alexnet_small", "vgg_small", "vgg"])
def test_one_seed_gives_one_model(make):
    one, same, other = (make(seeded(s)).state_dict() for s in (0, 0, 1))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    drawn = [name for name, array in one.items() if array.ndim > 1]
    assert not any(np.array_equal(one[name], other[name]) for name in drawn)


@pytest.mark.parametrize("build", [alex_zoo.alexnet_small, vgg_zoo.vgg])
def test_dropout_is_an_argument(build):
    settings = dict(rng=seeded()) if build is not vgg_zoo.vgg else dict(
        depth=11, batch_norm=False, hidden=64, num_classes=10, rng=seeded())
    x = seeded(1).normal(size=(2, 3, 32, 32)).astype(np.float32)
    with no_memory():
        model = build(dropout=0.5, **settings)
        assert not np.array_equal(model(x), model(x))
        assert np.array_equal(model.eval()(x), model(x))
        model = build(dropout=0.0, **settings)
        assert np.array_equal(model(x), model(x))


def test_a_saved_vgg_comes_back_with_its_names(tmp_path):
    model = vgg_zoo.vgg_small(11, 3, seeded(), width=8).eval()
    nyang_save_model(model, tmp_path / "vgg.pickle")
    back = nyang_load_model(tmp_path / "vgg.pickle").eval()
    x = seeded(1).normal(size=(2, 3, 32, 32)).astype(np.float32)
    np.testing.assert_array_equal(back(x), model(x))
    assert list(back.state_dict())[:2] == ["features.0.weight", "features.0.bias"]
    assert "classifier.weight" in back.state_dict()


def test_a_vgg_made_of_zeros_can_be_saved(tmp_path):
    model = vgg_zoo.vgg_small(11, 3, Hollow(), width=8)
    model[2].bias.data[...] = [1, 2, 3]
    nyang_save_model(model, tmp_path / "vgg.pickle")
    back = nyang_load_model(tmp_path / "vgg.pickle").eval()
    np.testing.assert_array_equal(back(np.ones((1, 3, 32, 32), np.float32)), [[1, 2, 3]])


def test_a_folded_vgg_computes_the_same():
    model, plain = (vgg_zoo.vgg_small(11, 3, seeded(), batch_norm=norm, width=8)
                    for norm in (True, False))
    rng, x = seeded(1), seeded(2).normal(size=(4, 3, 32, 32))
    for norm in (layer for layer in model[0] if isinstance(layer, BatchNorm2d)):
        norm.running_mean[...] = rng.normal(size=norm.num_features)
        norm.running_var[...] = rng.uniform(0.5, 2, norm.num_features)
        norm.weight.data[...] = rng.uniform(0.5, 2, norm.num_features)
    model, plain = model.to(np.float64).eval(), plain.to(np.float64).eval()
    before = [layer for layer in model[0] if isinstance(layer, Conv2d)]
    norms = [layer for layer in model[0] if isinstance(layer, BatchNorm2d)]
    after = [layer for layer in plain[0] if isinstance(layer, Conv2d)]
    for old, norm, new in zip(before, norms, after, strict=True):
        new.weight.data, new.bias.data = folded_norm(old.weight.data, old.bias.data, norm)
    plain[2].load_state_dict(model[2].state_dict())
    np.testing.assert_allclose(plain(x), model(x), rtol=1e-9, atol=1e-9)


def test_grad_cam_has_a_closed_form_behind_a_mean_and_a_linear_layer():
    from nyang_edu.evaluation.grad_cam import grad_cam

    front = NyangFlow(Conv2d(2, 5, 3, padding=1, rng=seeded())).to(np.float64)
    back = NyangFlow(GlobalAvgPool(), Linear(5, 3, rng=seeded(1))).to(np.float64)
    x, classes = seeded(2).normal(size=(4, 2, 6, 7)), np.array([2, 0, 1, 2])
    maps, weight = front(x), back[1].weight.data[classes] / 42
    wanted = np.maximum(np.einsum("nc,nchw->nhw", weight, maps), 0)
    np.testing.assert_allclose(grad_cam(front, back, x, classes), wanted, rtol=1e-12)
    assert 0 < (wanted == 0).mean() < 1


# PyTorch's own networks: torchvision's, or, where it is missing, the same written here with
# narrow dense layers.

def torch_features(nn, name):
    if name == "alexnet":
        sizes = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1),
                 (256, 256, 3, 1, 1)]
        layers = [part for one in sizes for part in (nn.Conv2d(*one), nn.ReLU())]
        for place in (10, 4, 2):
            layers.insert(place, nn.MaxPool2d(3, 2))
        return nn.Sequential(*layers)
    layers, channels = [], 3
    for width, count in [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]:
        for _ in range(count):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        layers.append(nn.MaxPool2d(2, 2))
    return nn.Sequential(*layers)


def written_here(nn, name, hidden):
    side, channels, skip = (6, 256, nn.Dropout()) if name == "alexnet" else (7, 512, None)
    dense = [nn.Linear(channels * side**2, hidden), nn.ReLU(), nn.Dropout(),
             nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, 1000)]
    if skip:
        dense = [skip, *dense[:5], dense[6]]
    model = nn.Sequential()
    for part, layer in [("features", torch_features(nn, name)),
                        ("avgpool", nn.AdaptiveAvgPool2d(side)), ("flatten", nn.Flatten()),
                        ("classifier", nn.Sequential(*dense))]:
        model.add_module(part, layer)
    return model


@pytest.mark.parametrize("name", ["alexnet", "vgg16_bn"])
def test_states_load_both_ways_with_equal_logits(name):
    torch = pytest.importorskip("torch")
    torch.manual_seed(1)
    models = torchvision_models()
    hidden = 4096 if models else 64
    theirs = getattr(models, name)() if models else written_here(torch.nn, name, hidden)
    if name == "alexnet":
        features = alex_zoo.alexnet_features(rng=Hollow())
        ours = alex_zoo.alexnet_around(features, 256, 6, hidden, 1000, Hollow(), 0.5)
    else:
        ours = vgg_zoo.vgg(16, True, rng=Hollow(), hidden=hidden)
    names = {own: own for own in ours.state_dict()}
    compare_states(ours, worth_comparing(theirs), names, (2, 3, 64, 64))
