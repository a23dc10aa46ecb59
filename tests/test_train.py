"""nyang_train: the best epoch, what is measured, and what it says of a run that breaks."""

import warnings

import numpy as np
import pytest
from training_run import Shrink, Shuffled, network, run, same, samples

from nyang_edu.model.activation import ReLU
from nyang_edu.model.core import NyangModel
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.training import checkpoint
from nyang_edu.training.loop import NotFinite, validate
from nyang_edu.training.loss import CrossEntropyLoss, MSELoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.train import nyang_train
from nyang_edu.utility.save_load import nyang_load_model, read_model_file


def test_the_best_epoch_is_saved_and_with_patience_restored(tmp_path):
    data, path = samples(20, 1), tmp_path / "best.pickle"
    for patience in (2, None):
        model = network()
        optimizer = SGD(model.parameters(), 3.0)  # too large: the loss jumps about
        history = nyang_train(model, optimizer, CrossEntropyLoss(), Shuffled(*samples()), [data],
                              12, patience=patience, save_path=path)
        losses = history["valid_loss"]
        best, last = losses.index(min(losses)), len(losses) - 1
        assert history.best_epoch == best + 1 and best < last
        saved = nyang_load_model(path, network(3))
        assert validate(saved, CrossEntropyLoss(), [data])[0] == min(losses)
        held = validate(model, CrossEntropyLoss(), [data])[0]
        assert held == (losses[last] if patience is None else min(losses))
        assert history.stopped == ("early stopping" if patience else "finished")
        assert len(history) == (best + 1 + patience if patience else 12)


class Poison(NyangModel):
    """Passes x on, and infinity from its n-th training pass on."""

    def __init__(self, place):
        self.place = place

    def forward(self, x):
        self.place -= self.training
        return x if self.place > 0 else x * np.inf

    def backward(self, dout):
        return dout


def broken(folder, model, lr=0.1, x=None, **settings):
    """Train until it breaks; return the NotFinite and what the last checkpoint holds."""
    own, y = samples()
    loader = Shuffled(own if x is None else x, y)
    with pytest.raises(NotFinite) as caught, warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's, on the way to infinity
        nyang_train(model, SGD(model.parameters(), lr), CrossEntropyLoss(), loader,
                    **{"valid_loader": [samples(20, 1)], "save_path": folder / "net.pickle"}
                    | settings)
    kept = read_model_file(folder / "net.last.pickle")
    assert caught.value.history.stopped.startswith("NotFinite: ")
    assert str(caught.value) in caught.value.history.stopped
    assert all(np.isfinite(array).all() for array in kept["weights"].values())
    assert same(kept["weights"], model.state_dict())
    assert kept["training"]["history"]["rows"] == caught.value.history.rows
    return caught.value


def test_a_loss_that_is_not_finite_names_step_layer_and_checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    model = NyangFlow(Linear(6, 5, rng=rng), Poison(6 + 3), ReLU(), Linear(5, 3, rng=rng))
    error = broken(tmp_path, model)
    assert len(error.history) == 1 and error.step == 3
    for part in ("the training loss", "of epoch 2", "layer '1'", "end of epoch 1", "last.pickle"):
        assert part in str(error)


def test_bad_data_and_bad_weights_are_told_apart(tmp_path):
    x, _ = samples()
    x[11, 2] = np.nan
    assert "the batch itself holds NaN" in str(broken(tmp_path, network(), x=x))
    one_batch = [samples()]
    model = NyangFlow(Linear(6, 3, rng=np.random.default_rng(0)))
    with pytest.raises(NotFinite, match="a weight is not finite .*layer '0'"):
        with np.errstate(all="ignore"):
            nyang_train(model, SGD(model.parameters(), 1e45), CrossEntropyLoss(), one_batch)
    assert np.isfinite(model[0].weight.data).all()
    valid, labels = samples(20, 1)
    valid[3] = np.inf
    with pytest.raises(NotFinite, match="validation loss .*the batch itself"), np.errstate(
            all="ignore"):
        nyang_train(model, SGD(model.parameters(), 0.1), CrossEntropyLoss(), one_batch,
                    [(valid[:10] * 0, labels[:10]), (valid, labels), (valid * 0, labels)])


def test_what_cannot_be_saved_is_found_before_a_batch_is_drawn(tmp_path):
    def never():
        raise AssertionError("a batch was drawn")

    (tmp_path / "net.last.pickle").mkdir()
    with pytest.raises(IsADirectoryError):
        run(tmp_path, tick=never)


def test_any_other_error_passes_through_and_undoes_the_half_epoch(tmp_path):
    calls = iter(range(100))

    def tick():
        if next(calls) == 8:
            raise OSError("the disk went away")

    with pytest.raises(OSError, match="the disk went away"):
        run(tmp_path, tick=tick)
    assert len(read_model_file(tmp_path / "net.last.pickle")["training"]["history"]["rows"]) == 1
    assert run(tmp_path, resume=True)[1] == run(None)[1]


def test_without_validation_the_training_loss_decides_and_that_is_said_once(capsys):
    model = network()
    history = nyang_train(model, SGD(model.parameters(), 0.1), CrossEntropyLoss(),
                          Shuffled(*samples()), epochs=3, patience=5)
    assert capsys.readouterr().out.count("training loss") == 1
    assert history.names == ["epoch", "train_loss", "lr", "seconds"]
    assert history.watched == "train_loss" and history.best_epoch == 1 + int(
        np.argmin(history["train_loss"]))


def test_metrics_are_chosen_named_and_measured():
    def trained(loss=CrossEntropyLoss, valid=None, **settings):
        model = network()
        return model, nyang_train(model, SGD(model.parameters(), 0.1), loss(),
                                  [(x, y if loss is CrossEntropyLoss else np.eye(3)[y] + 0.5)],
                                  [valid or (x, y)], 1, **settings)

    x, y = samples()
    model, history = trained()
    assert history["valid_accuracy"] == [np.mean(model(x).argmax(axis=1) == y)]
    assert trained(valid=(x, np.eye(3)[y]))[1]["valid_accuracy"] == history["valid_accuracy"]
    _, history = trained(metrics={"spread": lambda targets, outputs: np.ptp(outputs)})
    assert isinstance(history["valid_spread"][0], float)
    assert trained(MSELoss, (x, np.eye(3)[y] + 0.5))[1].names[2:4] == ["valid_loss", "lr"]
    with pytest.raises(ValueError, match="without a name"):
        trained(metrics=[lambda targets, outputs: 0])


@pytest.mark.parametrize("every, calls", [("step", 3 * 6), ("epoch", 3)])
def test_a_scheduler_is_moved_as_it_says(every, calls):
    class Watching(Shrink):
        needs_metric, seen = every == "epoch", []

        def step(self, *given):
            self.seen.append(given)
            super().step()

    Watching.every, Watching.seen = every, []
    model = network()
    optimizer = SGD(model.parameters(), 0.1)
    history = nyang_train(model, optimizer, CrossEntropyLoss(), Shuffled(*samples()),
                          [samples(20, 1)], 3, scheduler=Watching(optimizer))
    wanted = [(loss,) for loss in history["valid_loss"]] if every == "epoch" else [()] * calls
    assert Watching.seen == wanted
    assert np.allclose(history["lr"], 0.1 * 0.97 ** (np.arange(3) * calls / 3))


def test_parts_that_do_not_fit_are_refused_before_training():
    model, loss, data = network(), CrossEntropyLoss(), [samples()]
    sgd, foreign = SGD(model.parameters(), 0.1), SGD(network().parameters(), 0.1)
    for error, words, given, settings in [
        (TypeError, "train_loader is a generator", (sgd, loss, (b for b in data)), {}),
        (ValueError, "moves no parameter of this model", (foreign, loss, data), {}),
        (ValueError, "another optimizer", (sgd, loss, data), {"scheduler": Shrink(foreign)}),
        (ValueError, "epochs is a whole number", (sgd, loss, data), {"epochs": 2.5}),
        (ValueError, "save_path=None", (sgd, loss, data), {"resume": True}),
        (ValueError, "save_path ends in", (sgd, loss, data), {"save_path": "net"}),
        (ValueError, "plot is True, False", (sgd, loss, data), {"plot": "yes"}),
        (ValueError, "in a notebook", (sgd, loss, data), {"plot": True}),
    ]:
        with pytest.raises(error, match=words):
            nyang_train(model, *given, **settings)
    assert checkpoint.Checkpoint(None, model, sgd, None, None, (data, None)).path is None
