"""Parallel and what stands on it: joins and cuts, errors, Auxiliary heads and their loss."""

import numpy as np
import pytest

from nyang_edu.model.activation import Tanh
from nyang_edu.model.core import no_memory
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.parallel import Auxiliary, Parallel
from nyang_edu.training.auxiliary import AuxiliaryLoss
from nyang_edu.training.loop import train_batches, validate
from nyang_edu.training.loss import CrossEntropyLoss, MSELoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.gradcheck import gradcheck
from nyang_edu.utility.save_load import nyang_load_model, nyang_save_model


def seeded(seed=0):
    return np.random.default_rng(seed)


def linear(width, seed=0):
    return Linear(4, width, rng=seeded(seed))


def test_children_are_numbered_in_order():
    model = Parallel(linear(3), NyangFlow(Tanh(), linear(2)))
    assert list(model.state_dict()) == ["0.weight", "0.bias", "1.1.weight", "1.1.bias"]
    assert len(model) == 2 and isinstance(model[1], NyangFlow)


@pytest.mark.parametrize("axis, shape", [(1, (2, 9, 5, 6)), (2, (2, 3, 15, 6)), (-1, (2, 3, 5, 18)),
                                         (0, (6, 3, 5, 6))])
def test_every_axis(axis, shape):
    model, x = Parallel(Tanh(), NyangFlow(), Tanh(), axis=axis), seeded().normal(size=(2, 3, 5, 6))
    assert model(x).shape == shape
    gradcheck(model, x)


def test_one_layer_in_two_branches():
    bend = Tanh()
    gradcheck(Parallel(NyangFlow(linear(4), bend), bend, NyangFlow(bend, bend)),
              seeded(3).normal(size=(5, 4)))


def test_the_join_keeps_the_layers_order_in_memory():
    lying = np.zeros((5, 3, 6, 2), np.float32).transpose(3, 1, 0, 2)  # (2, 3, 5, 6) by rows
    out = Parallel(Tanh(), Tanh())(lying)
    assert np.argsort(out.strides).tolist() == np.argsort(lying.strides).tolist()


def test_errors_name_the_rule_and_the_branch():
    with pytest.raises(ValueError, match="at least one branch"):
        Parallel()
    with pytest.raises(TypeError, match="received function as branch 1"):
        Parallel(Tanh(), seeded)
    model, x = Parallel(Tanh(), Tanh(), Flatten()), np.zeros((2, 3, 4), np.float32)
    with pytest.raises(ValueError, match=r"branch 2 returned \(2, 12\), branch 0 \(2, 3, 4\)"):
        model(x)
    with pytest.raises(ValueError, match=r"axis 0.*branch 1 returned \(2, 3\), branch 0 \(2, 2\)"):
        Parallel(linear(2), linear(3), axis=0)(np.zeros((2, 4), np.float32))


def test_auxiliary_heads_run_in_training_only():
    model, x = Auxiliary(linear(3), linear(3, 1)), seeded(2).normal(size=(5, 4)).astype(np.float32)
    both, alone = model(x), model.eval()(x)
    assert both.shape == (10, 3)
    np.testing.assert_array_equal(both[:5], alone)
    np.testing.assert_array_equal(model.backward(np.ones_like(alone)),
                                  np.ones_like(alone) @ model[0].weight.data)
    assert not model[1].weight.grad.any()


def test_the_mode_may_change_between_forward_and_backward():
    model, x = Auxiliary(linear(3), linear(3, 1)).to(np.float64), seeded(2).normal(size=(5, 4))
    dout = seeded(3).normal(size=(10, 3))
    model(x)
    wanted = model.backward(dout)
    model(x)
    np.testing.assert_array_equal(model.eval().backward(dout), wanted)


def test_the_loss_weighs_the_heads():
    pred, labels = seeded().normal(size=(12, 3)), np.array([0, 2, 1, 1])
    entropy = CrossEntropyLoss()
    parts = [entropy(rows, labels) for rows in np.split(pred, 3)]
    loss = AuxiliaryLoss(CrossEntropyLoss(), 0.2)
    assert loss(pred, labels) == pytest.approx(parts[0] + 0.2 * (parts[1] + parts[2]), rel=1e-12)
    assert loss(pred[:4], labels) == pytest.approx(parts[0], rel=1e-12)


@pytest.mark.parametrize("inner, target", [(CrossEntropyLoss(), np.array([0, 2, 1, 1])),
                                           (MSELoss(), seeded(1).normal(size=(4, 3)))])
def test_gradient_of_the_loss(inner, target):
    loss, pred, step = AuxiliaryLoss(inner), seeded().normal(size=(12, 3)), 1e-6
    loss(pred, target)
    dpred, numeric = loss.backward(), np.zeros_like(pred)
    for place in np.ndindex(pred.shape):
        moved = np.zeros_like(pred)
        moved[place] = step
        numeric[place] = (loss(pred + moved, target) - loss(pred - moved, target)) / (2 * step)
    np.testing.assert_allclose(dpred, numeric, atol=1e-8)


def test_the_loss_refuses_rows_that_are_no_multiple():
    loss = AuxiliaryLoss(CrossEntropyLoss())
    for rows, targets in [(5, 2), (0, 2), (2, 0)]:
        with pytest.raises(ValueError, match="multiple of the"):
            loss(np.zeros((rows, 3), np.float32), np.zeros(targets, int))
    with pytest.raises(ValueError):  # a plain loss does not take heads' rows for samples
        CrossEntropyLoss()(np.zeros((6, 3), np.float32), np.zeros(2, int))


def test_a_call_forgets_what_an_earlier_one_left_in_the_inner_loss():
    loss, pred, labels = AuxiliaryLoss(CrossEntropyLoss()), seeded().normal(size=(4, 3)), [0, 1]
    loss(pred * 5, np.array(labels))
    loss(pred, np.array(labels))
    loss.backward()
    with pytest.raises(RuntimeError):
        loss.loss.backward()


def test_training_and_validation_need_nothing_new():
    model = NyangFlow(Tanh(), Auxiliary(NyangFlow(linear(4), Tanh(), linear(3)), linear(3, 2)))
    x, y = seeded().normal(size=(8, 4)).astype(np.float32), np.arange(8) % 3
    loss, optimizer = AuxiliaryLoss(CrossEntropyLoss()), SGD(model.parameters(), lr=0.5)
    values = [train_batches(model, loss, optimizer, [(x, y)]) for _ in range(40)]
    assert values[-1] < values[0] / 2
    judged, outputs, _ = validate(model, loss, [(x, y)])
    assert outputs.shape == (8, 3)
    assert judged == pytest.approx(CrossEntropyLoss()(outputs, y), rel=1e-6)


def test_saved_and_loaded(tmp_path):
    model = NyangFlow(Parallel(linear(3), NyangFlow(), axis=-1), Auxiliary(Tanh(), Tanh()))
    x = seeded().normal(size=(2, 4)).astype(np.float32)
    nyang_save_model(model, tmp_path / "model.pickle")
    again = nyang_load_model(tmp_path / "model.pickle")
    with no_memory():
        np.testing.assert_array_equal(again.eval()(x), model.eval()(x))
