"""One public contract, held by every loss of the framework."""

import inspect

import numpy as np
import pytest

import nyang_edu
from nyang_edu import (
    AuxiliaryLoss,
    BCEWithLogitsLoss,
    BinaryFocalLoss,
    CrossEntropyLoss,
    DeepSupervision,
    DiceLoss,
    FocalLoss,
    Loss,
    LovaszHingeLoss,
    LovaszSoftmaxLoss,
    MSELoss,
    SumLoss,
    numerical_gradient,
    relative_error,
)

LIMIT = 1e-6  # relative error of a float64 gradient against central differences

LOSSES = {
    "MSELoss": (MSELoss, lambda rng: (rng.normal(size=(4, 3)), rng.normal(size=(4, 3)))),
    "BCEWithLogitsLoss": (
        BCEWithLogitsLoss,
        lambda rng: (rng.normal(size=(4, 3)) * 3, rng.integers(0, 2, (4, 3)).astype(float)),
    ),
    "CrossEntropyLoss": (
        CrossEntropyLoss, lambda rng: (rng.normal(size=(5, 4)) * 3, rng.integers(0, 4, 5))),
    "CrossEntropyLoss, soft targets": (
        CrossEntropyLoss, lambda rng: (rng.normal(size=(5, 4)), rng.dirichlet(np.ones(4), 5))),
    "FocalLoss": (FocalLoss, lambda rng: (rng.normal(size=(5, 4)), rng.integers(0, 4, 5))),
    "FocalLoss(gamma=0.5, alpha)": (
        lambda: FocalLoss(0.5, [0.2, 1.0, 2.0, 0.7]),
        lambda rng: (rng.normal(size=(5, 4)), rng.integers(0, 4, 5))),
}


def masks(rng):
    """Draw logits and a mask: 2 tiles of 3 × 4, both kinds of pixels in each."""
    target = (rng.random((2, 1, 3, 4)) < 0.4) * 1.0
    target[:, 0, 0, :2] = 0, 1
    return rng.normal(size=(2, 1, 3, 4)) * 2, target


LOSSES |= {
    "DiceLoss": (DiceLoss, masks),
    "LovaszHingeLoss": (LovaszHingeLoss, masks),
    "LovaszSoftmaxLoss": (
        LovaszSoftmaxLoss,
        lambda rng: (rng.normal(size=(2, 3, 2, 4)), rng.integers(0, 3, (2, 2, 4)))),
    "BinaryFocalLoss": (lambda: BinaryFocalLoss(1.5, 0.8), masks),
    "SumLoss": (lambda: SumLoss(BCEWithLogitsLoss(), DiceLoss(), weights=(1, 0.5)), masks),
    "DeepSupervision": (lambda: DeepSupervision(DiceLoss()), masks),
    "AuxiliaryLoss": (
        lambda: AuxiliaryLoss(CrossEntropyLoss(), 0.4),
        lambda rng: (rng.normal(size=(9, 4)), rng.integers(0, 4, 3))),
}


@pytest.fixture(params=LOSSES.values(), ids=LOSSES.keys())
def loss_case(request):
    return request.param[0](), *request.param[1](np.random.default_rng(5))


def test_every_loss_of_the_package_is_here():
    exported = [getattr(nyang_edu, name) for name in nyang_edu.__all__]
    losses = {c for c in exported if inspect.isclass(c) and issubclass(c, Loss)}
    assert losses - {type(make()) for make, _ in LOSSES.values()} == {Loss}


def test_gradient_of_a_loss(loss_case):
    loss, pred, target = loss_case
    numeric = numerical_gradient(lambda moved: loss.forward(moved, target), pred)
    loss(pred, target)
    assert relative_error(loss.backward(), numeric) <= LIMIT


def test_a_loss_is_a_float_keeps_dtype_and_leaves_its_inputs(loss_case):
    loss, pred, target = loss_case
    pred = pred.astype(np.float32)
    target = target.astype(np.float32) if target.dtype.kind == "f" else target
    before, target_before = pred.copy(), target.copy()
    value = loss(pred, target)
    dpred = loss.backward()
    assert type(value) is float
    assert dpred.dtype == np.float32 and dpred.shape == pred.shape
    np.testing.assert_array_equal(pred, before)
    np.testing.assert_array_equal(target, target_before)


def test_a_loss_refuses_backward_without_forward(loss_case):
    loss, pred, target = loss_case
    loss(pred, target)
    loss.backward()
    with pytest.raises(RuntimeError, match=type(loss).__name__):
        loss.backward()


CLASSIFICATION = pytest.mark.parametrize("make", [CrossEntropyLoss, FocalLoss])


@CLASSIFICATION
@pytest.mark.parametrize("size", [1000.0, -1000.0])
def test_classification_losses_are_stable(make, size):
    logits = np.array([[size, 0.0, -size], [0.0, size, size]])
    loss = make()
    with np.errstate(all="raise", under="ignore"):
        value = loss(logits, np.array([0, 1]))
        dlogits = loss.backward()
    assert np.isfinite(value) and np.isfinite(dlogits).all()


def test_bce_is_stable():
    logits, target = np.array([1000.0, -1000.0, 0.0]), np.array([0.0, 1.0, 1.0])
    loss = BCEWithLogitsLoss()
    with np.errstate(all="raise", under="ignore"):
        assert loss(logits, target) == pytest.approx((1000 + 1000 + np.log(2)) / 3)
        np.testing.assert_allclose(loss.backward(), np.array([1, -1, -0.5]) / 3)


@CLASSIFICATION
def test_labels_and_one_hot_rows_agree(make):
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 4)), rng.integers(0, 4, 6)
    loss, other = make(), make()
    assert loss(logits, labels) == pytest.approx(other(logits, np.eye(4)[labels]))
    np.testing.assert_allclose(loss.backward(), other.backward())


@CLASSIFICATION
@pytest.mark.parametrize("label", [4, -1])
def test_a_label_outside_the_classes_is_refused(make, label):
    with pytest.raises(ValueError, match=f"received {label}"):
        make()(np.zeros((2, 4)), np.array([0, label]))


def test_mse_refuses_the_broadcasting_trap():
    with pytest.raises(ValueError, match=r"\(4,\).*\(4, 1\)|\(4, 1\).*\(4,\)"):
        MSELoss()(np.zeros((4, 1)), np.zeros(4))
