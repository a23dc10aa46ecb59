"""The parts of the training loop: what they compute, refuse, and leave as it was."""

import json
import pickle

import numpy as np
import pytest

from nyang_edu.data.dataset import ArrayDataset
from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.model.activation import ReLU
from nyang_edu.model.core import Memory
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm1d
from nyang_edu.training.loop import (
    EarlyStopping,
    NotFinite,
    first_bad_layer,
    kept,
    listening,
    restore_training_state,
    train_batches,
    training_state,
    validate,
)
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.utility.safe_pickle import read_pickle
from nyang_edu.utility.save_load import random_state


def network(seed=0):
    rng = np.random.default_rng(seed)
    return NyangFlow(Linear(5, 8, rng=rng), BatchNorm1d(8), ReLU(), Dropout(0.4, rng=rng),
                     Linear(8, 3, rng=rng))


def samples(count=50, seed=1):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 5)).astype(np.float32), rng.integers(0, 3, count)


def batches(sizes=(16, 16, 7), seed=1):
    x, y = samples(sum(sizes), seed)
    cuts = np.cumsum(sizes)[:-1]
    return list(zip(np.split(x, cuts), np.split(y, cuts)))


def equal(a, b):
    """Two nested states hold the same numbers to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and (np.array_equal(a, b) if isinstance(a, np.ndarray) else a == b)


def snapshot(model):
    """All that a look at a model must leave alone."""
    return ({name: array.copy() for name, array in model.named_arrays()},
            [one.grad.copy() for one in model.parameters()],
            [layer.training for _, layer in model.named_layers()], random_state(model))


def test_validate_gives_the_loss_of_all_samples_at_once():
    model, loss = network(), CrossEntropyLoss()
    mean, outputs, targets = validate(model, loss, iter(batches()))
    assert outputs.shape == (39, 3) and outputs.dtype == np.float32 and targets.shape == (39,)
    assert mean == pytest.approx(CrossEntropyLoss()(outputs, targets), rel=1e-6)


def test_train_batches_returns_the_mean_per_sample():
    model = NyangFlow(Linear(5, 3, rng=np.random.default_rng(0)))
    still = SGD(model.parameters(), lr=1e-30)
    mean = train_batches(model, CrossEntropyLoss(), still, iter(batches()))
    assert mean == pytest.approx(validate(model, CrossEntropyLoss(), batches())[0], rel=1e-6)


def test_training_lowers_the_loss():
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    means = [train_batches(model, CrossEntropyLoss(), optimizer, batches()) for _ in range(30)]
    assert means[-1] < 0.8 * means[0]


def test_clipping_bounds_a_step():
    model = network()
    before = {name: array.copy() for name, array in model.named_arrays()}
    train_batches(model, CrossEntropyLoss(), SGD(model.parameters(), lr=1.0), batches((16,)),
                  clip_norm=1e-3)
    moved = [one.data - before[name] for name, one in model.named_parameters()]
    length = np.sqrt(sum((one.astype(float) ** 2).sum() for one in moved))
    assert length == pytest.approx(1e-3, rel=1e-2)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_stops_before_the_step(value):
    model, parts = network(), batches()
    parts[1][0][3, 2] = value
    optimizer, after = SGD(model.parameters(), lr=0.1), []

    def note(_):
        after.append([one.data.copy() for one in model.parameters()])

    with np.errstate(all="ignore"), pytest.raises(NotFinite) as caught:
        train_batches(model, CrossEntropyLoss(), optimizer, parts, after_step=note)
    assert caught.value.step == 2 and not np.isfinite(caught.value.value)
    assert len(after) == 1
    assert all((a == one.data).all() for a, one in zip(after[0], model.parameters()))
    assert isinstance(caught.value, FloatingPointError) and "step 2" in str(caught.value)


@pytest.mark.parametrize("run", [
    lambda m: train_batches(m, CrossEntropyLoss(), SGD(m.parameters(), 0.1), iter([])),
    lambda m: validate(m, CrossEntropyLoss(), iter([]))])
def test_no_batches_are_refused(run):
    with pytest.raises(ValueError, match="no batches"):
        run(network())


@pytest.mark.parametrize("look", [
    lambda model: validate(model, CrossEntropyLoss(), batches()),
    lambda model: first_bad_layer(model, samples(9)[0])])
def test_a_look_leaves_no_trace(look):
    model = network().train()
    model[1].eval()
    x, _ = samples(9)
    model(x)
    before = snapshot(model)
    look(model)
    assert equal(snapshot(model), before)
    assert not any("forward" in vars(layer) for _, layer in model.named_layers())
    assert Memory.remembering


def test_first_bad_layer_leaves_an_earlier_pass_whole():
    x, _ = samples(9)
    dout = np.random.default_rng(3).normal(size=(9, 3)).astype(np.float32)
    one, other = network(), network()
    one(x), other(x)
    first_bad_layer(one, x)
    assert np.array_equal(one.backward(dout), other.backward(dout))


def test_validate_restores_the_modes_after_an_error():
    def failing():
        yield from batches()[:1]
        raise OSError("broken file")

    model = network().train()
    with pytest.raises(OSError):
        validate(model, CrossEntropyLoss(), failing())
    assert all(layer.training for _, layer in model.named_layers()) and Memory.remembering


def test_kept_gives_back_buffers_modes_and_draws():
    model = network()
    before = snapshot(model)
    with pytest.raises(KeyError), kept(model):
        model.train()(samples(9)[0])
        model.eval()
        raise KeyError
    assert equal(snapshot(model), before)


def test_early_stopping_follows_its_rule():
    rng = np.random.default_rng(0)
    for _ in range(50):
        losses, patience = rng.integers(0, 9, 40) / 8, int(rng.integers(1, 6))
        stopping, best, since = EarlyStopping(patience), np.inf, 0
        for loss in losses:
            better = loss < best
            best, since = (loss, 0) if better else (best, since + 1)
            assert stopping.update(loss) == better
            assert (stopping.best, stopping.waited) == (best, since)
            assert stopping.stop == (since >= patience)


def test_early_stopping_state_is_plain_and_resumes():
    first, second = EarlyStopping(3), EarlyStopping(3)
    for loss in np.array([1.0, 0.5, 0.7], np.float32):
        first.update(loss)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert (second.best, second.waited, second.stop) == (0.5, 1, False)
    assert not EarlyStopping(None).stop


@pytest.mark.parametrize("settings", [{"patience": 0}, {"patience": 3, "min_delta": -0.1},
                                      {"patience": 3, "min_delta": np.nan}])
def test_early_stopping_refuses_what_makes_no_sense(settings):
    with pytest.raises(ValueError):
        EarlyStopping(**settings)


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_first_bad_layer_names_the_layer(place, value):
    model = network()
    model[place].weight.data.flat[0] = value
    model[4].bias.data[0] = np.nan
    assert first_bad_layer(model, samples(9)[0]) == str(place)


def test_first_bad_layer_on_sound_overflowing_and_bad_input():
    model, (x, _) = network(), samples(9)
    assert first_bad_layer(model, x) is None
    assert first_bad_layer(NyangFlow(model), x) is None
    assert first_bad_layer(model, np.full_like(x, np.inf)) == "input"
    model[0].weight.data[...] = 3e38
    assert first_bad_layer(NyangFlow(model), x) == "0.0"


def test_listening_hears_shared_layers_by_their_first_name():
    shared, names = Linear(5, 5), []
    model = NyangFlow(shared, ReLU(), shared)
    with listening(model, lambda name, arrays: names.append(name)):
        model(samples(3)[0])
    assert names == ["", "0", "0", "1", "1", "0", "0", ""]


def run_parts():
    model = network()
    loader = NyangDataLoader(ArrayDataset(*samples()), 16, shuffle=True, seed=3)
    return {"model": model, "optimizer": SGD(model.parameters(), 0.05, momentum=0.9),
            "loader": loader, "stopping": EarlyStopping(4)}


def epochs(count, model, optimizer, loader, stopping):
    for _ in range(count):
        stopping.update(train_batches(model, CrossEntropyLoss(), optimizer, loader))
    return training_state(model, optimizer, loader=loader, stopping=stopping)


def test_a_resumed_run_equals_one_that_was_never_stopped():
    straight = epochs(5, **run_parts())
    state = pickle.loads(pickle.dumps(epochs(2, **run_parts())))
    again = run_parts()
    epochs(1, **again)  # whatever the new parts did before must not matter
    restore_training_state(state, **again)
    assert equal(epochs(3, **again), straight)


def test_a_state_does_not_move_with_the_run():
    parts = run_parts()
    state = epochs(1, **parts)
    before = pickle.loads(pickle.dumps(state))
    epochs(1, **parts)
    assert equal(state, before)


def test_restoring_the_wrong_parts_changes_nothing():
    parts = run_parts()
    state = epochs(2, **parts)
    fewer = {name: part for name, part in parts.items() if name != "loader"}
    with pytest.raises(ValueError, match="loader"):
        restore_training_state(state, **fewer)
    other = run_parts()
    other["optimizer"] = SGD(other["model"].parameters()[:2], 0.05, momentum=0.9)
    before = training_state(**other)
    with pytest.raises(ValueError, match="velocities"):
        restore_training_state(state, **other)
    assert equal(training_state(**other), before)


def test_parts_without_a_state_are_left_out():
    model = network()
    optimizer = SGD(model.parameters(), 0.1)
    state = training_state(model, optimizer, loader=batches())
    assert set(state) == {"model", "optimizer", "random"}
    restore_training_state(state, model, optimizer, loader=batches())


def test_the_reader_accepts_what_the_chapters_prediction_says():
    files = {"a": {"weight": np.ones((2, 3), np.float32), "epoch": 7},
             "b": ["os.system", "rm -rf /"],
             "c": network(), "d": np.array([len, [1, 2]], dtype=object),
             "e": (np.float64(0.5), {"lr", "momentum"}, None, b"\x00\x01")}
    for letter, thing in files.items():
        data = pickle.dumps(thing)
        if letter in "abe":
            read_pickle(data)
        else:
            with pytest.raises(ValueError):
                read_pickle(data)
