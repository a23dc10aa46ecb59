"""Losses of masks: their values by hand, against PyTorch, and at several sizes at once.

Gradients of all of them are checked by the contract in test_losses.py; lists of outputs here.
"""

import numpy as np
import pytest

from nyang_edu.evaluation.segmentation import iou_scores
from nyang_edu.training.loss import BCEWithLogitsLoss, FocalLoss
from nyang_edu.training.segmentation_loss import (
    BinaryFocalLoss,
    DeepSupervision,
    DiceLoss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    SumLoss,
    lovasz_gradient,
    resize_target,
)
from nyang_edu.utility.compare import relative_error
from nyang_edu.utility.gradcheck import numerical_gradient

SURE = 100.0  # a logit whose sigmoid is 0 or 1


def drawn(seed=0, shape=(3, 1, 6, 8)):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) * 2, (rng.random(shape) < 0.3) * 1.0


def as_logits(mask):
    return np.where(mask, SURE, -SURE)


def test_dice_by_hand():
    target = np.array([[1.0, 1, 0, 0]])
    found = as_logits(np.array([[1, 0, 1, 0]]))
    assert DiceLoss(eps=0)(found, target) == pytest.approx(1 - 2 * 1 / 4)
    assert DiceLoss(eps=1)(found, target) == pytest.approx(1 - 3 / 5)
    assert DiceLoss()(as_logits(target), target) == pytest.approx(0)


def test_dice_of_an_empty_tile():
    empty = np.zeros((1, 9))
    assert DiceLoss()(as_logits(empty), empty) == pytest.approx(0)
    loss = DiceLoss()
    loss(np.zeros((1, 9)), empty)
    assert (loss.backward() > 0).all()  # away from every roof


def test_each_tile_counts_the_same():
    pred, target = drawn()
    alone = [DiceLoss()(pred[i:i + 1], target[i:i + 1]) for i in range(3)]
    assert DiceLoss()(pred, target) == pytest.approx(np.mean(alone))


@pytest.mark.parametrize("size", [1000.0, -1000.0])
@pytest.mark.parametrize("make", [DiceLoss, LovaszHingeLoss, BinaryFocalLoss])
def test_losses_are_stable(make, size):
    loss, pred = make(), np.array([[size, -size, 0.0]])
    with np.errstate(all="raise", under="ignore"):
        value = loss(pred, np.array([[1.0, 1.0, 0.0]]))
        dpred = loss.backward()
    assert np.isfinite(value) and np.isfinite(dpred).all()


def test_lovasz_weights_by_hand():
    np.testing.assert_allclose(lovasz_gradient([0, 1, 1]), [1 / 3, 1 / 3, 1 / 3])
    np.testing.assert_allclose(lovasz_gradient([1, 0, 0]), [1, 0, 0])
    np.testing.assert_allclose(lovasz_gradient([0, 0, 0]), [1, 0, 0])


def test_lovasz_weights_are_a_mean():
    rng = np.random.default_rng(1)
    for _ in range(50):
        weights = lovasz_gradient(rng.random(12) < rng.random())
        assert weights.min() >= 0 and weights.sum() == pytest.approx(1)


def test_the_lovasz_surface_passes_through_the_lost_iou():
    """At errors of 0 and 1 the extension is the set function itself: what is left of the IoU."""
    rng = np.random.default_rng(2)
    for _ in range(50):
        target, found = rng.random((2, 1, 10)) < 0.5
        if not target.any():
            continue
        hit = np.where(found == target, 1.0, 0.0)  # margins: error 0 where right, 1 where wrong
        value = LovaszHingeLoss()((2.0 * target - 1) * hit, target * 1.0)
        assert value == pytest.approx(1 - iou_scores(target, found)[0])


def test_lovasz_softmax_of_a_perfect_and_of_a_wrong_answer():
    labels = np.array([[[0, 1], [2, 2]]])
    right = np.moveaxis(np.eye(3)[labels], -1, 1) * SURE
    assert LovaszSoftmaxLoss()(right, labels) == pytest.approx(0)
    assert LovaszSoftmaxLoss()(right[:, [1, 2, 0]], labels) == pytest.approx(1)


def test_lovasz_softmax_leaves_out_the_classes_that_are_absent():
    labels = np.zeros((1, 2, 2), int)
    pred = np.random.default_rng(3).normal(size=(1, 3, 2, 2))
    p = np.exp(pred) / np.exp(pred).sum(1, keepdims=True)
    assert LovaszSoftmaxLoss()(pred, labels) == pytest.approx(float(1 - p[0, 0].mean()))


@pytest.mark.parametrize("labels", [np.zeros((1, 2, 3), int), np.zeros((1, 2, 2)),
                                    np.full((1, 2, 2), 3), np.full((1, 2, 2), -1)])
def test_lovasz_softmax_refuses_labels_that_do_not_fit(labels):
    with pytest.raises(ValueError, match="LovaszSoftmaxLoss expects"):
        LovaszSoftmaxLoss()(np.zeros((1, 3, 2, 2)), labels)


@pytest.mark.parametrize("make", [LovaszHingeLoss, BinaryFocalLoss])
def test_shares_are_refused_where_a_pixel_is_one_or_the_other(make):
    with pytest.raises(ValueError, match="targets of 0 and 1"):
        make()(np.zeros((1, 2)), np.array([[0.5, 1.0]]))


def test_binary_focal_is_the_focal_loss_of_two_classes():
    pred, target = drawn()
    pairs = np.stack([np.zeros(pred.size), pred.ravel()], axis=1)
    wanted = FocalLoss(2.0, [0.3, 0.7])(pairs, target.ravel().astype(int))
    assert BinaryFocalLoss(2.0, 0.7)(pred, target) == pytest.approx(wanted)
    half = BinaryFocalLoss(gamma=0, alpha=0.5)(pred, target)
    assert half == pytest.approx(BCEWithLogitsLoss()(pred, target) / 2)


def test_bce_dice_and_focal_agree_with_pytorch():
    torch = pytest.importorskip("torch")
    pred, target = drawn(4)
    z, t = torch.tensor(pred, requires_grad=True), torch.tensor(target)
    p = torch.sigmoid(z)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(z, t, reduction="none")
    dice = (2 * (p * t).sum((1, 2, 3)) + 1) / ((p + t).sum((1, 2, 3)) + 1)
    focal = (0.5 * (1 - torch.exp(-bce)) ** 2 * bce).mean()
    wanted = bce.mean() + 0.5 * (1 - dice.mean()) + 3 * focal
    wanted.backward()
    loss = SumLoss(BCEWithLogitsLoss(), DiceLoss(), BinaryFocalLoss(), weights=(1, 0.5, 3))
    assert loss(pred, target) == pytest.approx(wanted.item(), rel=1e-10)
    np.testing.assert_allclose(loss.backward(), z.grad.numpy(), rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("losses, weights", [((), None), ((DiceLoss(),), (1, 2))])
def test_a_sum_needs_a_weight_for_each_loss(losses, weights):
    with pytest.raises(ValueError, match="one weight for each"):
        SumLoss(*losses, weights=weights)


def test_resize_target_by_hand():
    mask = np.array([[[1, 1, 0, 0], [1, 1, 0, 1]]])
    np.testing.assert_array_equal(resize_target(mask, (1, 2)), [[[[1, 0.25]]]])
    assert resize_target(mask, (2, 4)).dtype == np.float32
    with pytest.raises(ValueError, match="divides 2 × 4, received 2 × 3"):
        resize_target(mask, (2, 3))


def sides(seed=5):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(2, 1, size, size)) for size in (8, 4, 2)]


@pytest.mark.parametrize("axes", [3, 4])
def test_deep_supervision_is_the_weighted_mean_over_the_sizes(axes):
    outs, target = sides(), np.random.default_rng(6).random((2, 1, 8, 8)) < 0.4
    parts = [DiceLoss()(out, resize_target(target, out.shape[2:])) for out in outs]
    given = target if axes == 4 else target[:, 0]
    value = DeepSupervision(DiceLoss(), decay=0.5)(outs, given)
    assert value == pytest.approx((parts[0] + parts[1] / 2 + parts[2] / 4) / 1.75)


def test_deep_supervision_returns_one_gradient_for_each_output():
    loss = DeepSupervision(SumLoss(BCEWithLogitsLoss(), DiceLoss()))
    outs, target = sides(), np.random.default_rng(6).random((2, 8, 8)) < 0.4
    loss(outs, target)
    grads = loss.backward()
    for k, grad in enumerate(grads):
        numeric = numerical_gradient(
            lambda moved, k=k: loss(outs[:k] + [moved] + outs[k + 1:], target), outs[k])
        assert relative_error(grad, numeric) <= 1e-6
    with pytest.raises(RuntimeError, match="without a matching forward"):
        loss.forget()
        loss.backward()


def test_deep_supervision_of_one_array_is_the_loss_itself():
    pred, target = drawn()
    loss, plain = DeepSupervision(DiceLoss()), DiceLoss()
    assert loss(pred, target) == plain(pred, target)
    np.testing.assert_array_equal(loss.backward(), plain.backward())
