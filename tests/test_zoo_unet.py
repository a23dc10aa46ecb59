"""U-Net: shapes, counts, PyTorch's weights and gradients, side outputs, and over-fitting."""

from itertools import pairwise

import numpy as np
import pytest
from zoo_tools import seeded, size

from benchmarks.models import torch_kit
from nyang_edu.model.activation import Tanh
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.pool import MaxPool2d
from nyang_edu.model.skip import SideHead, SideOutputs, SkipConcat
from nyang_edu.model.zoo.resnet import resnet50, resnet_torchvision_names
from nyang_edu.model.zoo.unet import unet, unet_level, unet_resnet50
from nyang_edu.training.adaptive import Adam
from nyang_edu.training.loss import BCEWithLogitsLoss
from nyang_edu.training.segmentation_loss import DeepSupervision, DiceLoss, SumLoss
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.hollow import Hollow
from nyang_edu.utility.save_load import nyang_load_model, nyang_save_model


def small(**settings):
    return unet(width=4, depth=2, rng=seeded(), **settings)


def counted(in_channels, num_classes, width, depth):
    """Count a U-Net's parameters by hand."""
    def double(i, o):
        return 9 * i * o + 9 * o * o + 4 * o

    widths = [width * 2**k for k in range(depth + 1)]
    down = double(in_channels, width) + sum(double(a, b) for a, b in pairwise(widths))
    return down + sum(double(3 * w, w) for w in widths[:-1]) + width * num_classes + num_classes


@pytest.mark.parametrize("settings", [(3, 1, 64, 4), (1, 2, 16, 3), (4, 5, 6, 1), (3, 1, 8, 0)])
def test_parameter_counts(settings):
    assert size(unet(*settings, rng=Hollow())) == counted(*settings)


@pytest.mark.parametrize("depth, shape", [(1, (6, 4)), (2, (8, 12)), (3, (8, 8))])
def test_an_answer_for_every_pixel(depth, shape):
    model = unet(2, 3, 4, depth, seeded()).eval()
    with no_memory():
        assert model(np.zeros((2, 2, *shape), np.float32)).shape == (2, 3, *shape)


def test_a_size_that_a_pooling_does_not_divide_is_refused():
    with pytest.raises(ValueError, match="SkipConcat joins maps of one size.*pad x"):
        small()(np.zeros((1, 3, 8, 10), np.float32))


def test_gradients_of_a_level():
    rng = seeded(3)
    deeper = NyangFlow(MaxPool2d(2), Conv2d(2, 3, 1, rng=rng))
    level = unet_level(Conv2d(2, 2, 3, padding=1, rng=rng), deeper, 5, 2, rng)
    for parameter in level.parameters():
        parameter.data += rng.uniform(0.1, 0.4, parameter.data.shape)
    gradcheck(level.eval(), rng.normal(size=(2, 2, 4, 4)))


def test_gradients_of_nested_skips():
    rng = seeded(4)
    inner = SkipConcat(NyangFlow(Linear(3, 2, rng=rng), Tanh()))
    gradcheck(SkipConcat(NyangFlow(Linear(4, 3, rng=rng), inner)), rng.normal(size=(5, 4)))


def test_one_skip_called_twice_with_different_widths():
    skip, rng = SkipConcat(Tanh()), seeded(5)
    x1, x2, d1, d2 = (rng.normal(size=(2, width)) for width in (3, 5, 6, 10))
    skip(x1)
    skip.forward(x2)
    for x, dout in ((x2, d2), (x1, d1)):
        half = x.shape[1]
        wanted = dout[:, :half] + dout[:, half:] * (1 - np.tanh(x) ** 2)
        np.testing.assert_allclose(skip.backward(dout), wanted)


@pytest.mark.parametrize("supervised", [False, True])
def test_a_gradient_reaches_every_parameter_and_the_input(supervised):
    model, rng = small(deep_supervision=supervised), seeded(1)
    loss = DeepSupervision(SumLoss(BCEWithLogitsLoss(), DiceLoss()))
    loss(model(rng.normal(size=(4, 3, 16, 16)).astype(np.float32)), rng.random((4, 16, 16)) < 0.4)
    dx = model.backward(loss.backward())
    assert dx.any() and dx.dtype == np.float32
    assert [name for name, one in model.named_parameters() if not one.grad.any()] == []


def test_one_seed_gives_one_model_and_one_dropout():
    x = seeded(2).normal(size=(2, 3, 8, 8)).astype(np.float32)
    one, same, other = (unet(width=4, depth=1, rng=seeded(s))(x) for s in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_side_outputs_come_finest_first_and_only_in_training():
    model, x = small(deep_supervision=True), np.zeros((2, 3, 16, 16), np.float32)
    assert [out.shape for out in model(x)] == [(2, 1, 16, 16), (2, 1, 8, 8)]
    assert model.eval()(x).shape == (2, 1, 16, 16)
    deep = unet(width=4, depth=3, rng=seeded(), deep_supervision=True)
    assert [out.shape[2] for out in deep(x)] == [16, 8, 4]


def test_side_heads_change_nothing_but_what_is_added():
    plain, sided = small(dropout=0).eval(), small(dropout=0, deep_supervision=True).eval()
    names = {name for name, _ in sided.named_parameters()}
    heads = {name for name in names if ".head." in name}
    assert len(names) - len(heads) == len(list(plain.named_parameters())) and len(heads) == 2
    x = seeded(7).normal(size=(1, 3, 8, 8)).astype(np.float32)
    own = [p for name, p in sided.named_parameters() if name not in heads]
    for one, parameter in zip(plain.parameters(), own, strict=True):
        one.data[...] = parameter.data
    np.testing.assert_array_equal(plain(x), sided(x))


def two_heads():
    rng = seeded(8)
    return SideOutputs(NyangFlow(Linear(4, 3, rng=rng), SideHead(Linear(3, 2, rng=rng)), Tanh(),
                                 SideHead(Tanh()), Linear(3, 1, rng=rng))).to(np.float64)


def test_side_gradients_equal_numerical_ones_over_two_calls():
    model, rng = two_heads(), seeded(9)
    x1, x2 = rng.normal(size=(2, 5, 4))
    douts = [[rng.normal(size=out.shape) for out in model(x)] for x in (x1, x2)]
    model(x1)
    model.forward(x2)
    back = [model.backward(dout) for dout in reversed(douts)][::-1]
    step = 1e-6 * rng.normal(size=x1.shape)
    for x, dout, dx in zip((x1, x2), douts, back, strict=True):
        above, below = model(x + step), model(x - step)
        moved = sum(((a - b) * d).sum() for a, b, d in zip(above, below, dout, strict=True))
        assert moved == pytest.approx(2 * (dx * step).sum(), rel=1e-6)


def test_side_outputs_want_a_gradient_for_each_output():
    model = two_heads()
    outs = model(np.ones((2, 4)))
    with pytest.raises(ValueError, match="shorter|longer"):
        model.backward(outs[:2])
    with pytest.raises(RuntimeError, match="put SideOutputs around"):
        model.body(np.ones((2, 4)))
        model.body.backward(outs[0])


def test_a_supervised_model_is_saved_and_built_again(tmp_path):
    model, x = small(deep_supervision=True).eval(), np.ones((1, 3, 8, 8), np.float32)
    nyang_save_model(model, tmp_path / "unet.pickle")
    np.testing.assert_array_equal(nyang_load_model(tmp_path / "unet.pickle").eval()(x), model(x))


def test_over_fits_four_tiles():
    rng = seeded(2)
    x, y = rng.normal(size=(4, 1, 16, 16)).astype(np.float32), np.zeros((4, 1, 16, 16), np.float32)
    for mask, (top, left) in zip(y, rng.integers(0, 9, (4, 2)), strict=True):
        mask[0, top:top + 7, left:left + 7] = 1
    model = unet(1, 1, 8, 2, rng, dropout=0)
    loss, optimizer = SumLoss(BCEWithLogitsLoss(), DiceLoss()), Adam(model.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        value = loss(model(x), y)
        model.backward(loss.backward())
        optimizer.step()
    assert value < 0.05 and ((model(x) > 0) == (y > 0)).mean() > 0.99


# With PyTorch: the same layers, nested alike, so that the names agree.

def torch_unet(torch, width, depth):
    k, up = torch_kit(), torch.nn.Upsample(scale_factor=2, mode="bilinear")

    def double(i, o):
        return k.flow(k.conv(i, o, 3, padding=1), k.norm(o), k.relu(), torch.nn.Dropout(0),
                      k.conv(o, o, 3, padding=1), k.norm(o), k.relu())

    def level(n, i):
        o = width * 2**n
        stage = k.flow(k.maxpool(2), double(i, o)) if n else double(i, o)
        if n == depth:
            return stage
        return k.flow(stage, k.skip(k.flow(level(n + 1, o), up)), double(3 * o, o))

    return k.flow(level(0, 3), k.conv(width, 1, 1, bias=True))


def test_logits_and_gradients_equal_pytorchs():
    torch = pytest.importorskip("torch")
    ours, theirs = small(dropout=0).to(np.float64), torch_unet(torch, 4, 2).double()
    assert list(ours.state_dict()) and set(ours.state_dict()) == set(theirs.state_dict())
    ours.load_state_dict({name: one.numpy() for name, one in theirs.state_dict().items()})
    x = seeded(6).normal(size=(2, 3, 8, 12))
    tx = torch.tensor(x, requires_grad=True)
    out, wanted = ours(x), theirs(tx)
    np.testing.assert_allclose(out, wanted.detach().numpy(), atol=1e-10)
    dout = seeded(7).normal(size=out.shape)
    dx = ours.backward(dout)
    wanted.backward(torch.tensor(dout))
    np.testing.assert_allclose(dx, tx.grad.numpy(), atol=1e-10)
    grads = {name: one.grad.numpy() for name, one in theirs.named_parameters()}
    for name, one in ours.named_parameters():
        np.testing.assert_allclose(one.grad, grads[name], atol=1e-8, err_msg=name)


def encoder_of(model):
    """The stages of a nest, from the finest to the coarsest, as one flow."""
    body, stages = model[0], []
    while isinstance(body[1], SkipConcat):
        stages.append(body[0])
        body = body[1].body[0]
    return NyangFlow(*stages, body)


def test_resnet50_backbone_takes_torchvisions_weights():
    backbone, rng = resnet50(7, Hollow()), seeded(10)
    names = resnet_torchvision_names(backbone)
    state = {names[own]: rng.standard_normal(array.shape, np.float32) * 0.05 + (array.ndim == 1)
             for own, array in backbone.state_dict().items()}
    backbone.load_state_dict({own: state[name] for own, name in names.items()})
    model = unet_resnet50(2, weights=state, rng=Hollow()).eval()
    x = rng.normal(size=(1, 3, 64, 64)).astype(np.float32)
    with no_memory():
        features = backbone.eval()[:5](x)
        np.testing.assert_array_equal(encoder_of(model)(x), features)
        assert features.std() > 0 and model(x).shape == (1, 2, 64, 64)
    with pytest.raises(ValueError, match="missing 0.0.weight"):
        unet_resnet50(weights={k: v for k, v in state.items() if k != "conv1.weight"}, rng=Hollow())
