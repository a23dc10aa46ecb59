"""nyang_inference against the same numbers worked out by hand."""

import warnings

import numpy as np
import pytest

from nyang_edu.evaluation.inference import KEPT, Inference, class_probabilities, nyang_inference
from nyang_edu.model.core import Memory, NyangModel
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.utility.save_load import nyang_save_model

NAMES = ["cat", "dog", "fox"]


def classifier(classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return NyangFlow(BatchNorm2d(1), Dropout(0.5, rng=np.random.default_rng(1)), Flatten(),
                     Linear(16, classes, rng=rng))


def batches(n=50, classes=3, size=16):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n, 1, 4, 4)).astype(np.float32)
    y = rng.integers(0, classes, n)
    return x, y, [(x[i : i + size], y[i : i + size]) for i in range(0, n, size)]


def test_outputs_probabilities_predictions_and_metrics():
    model, (x, y, loader) = classifier(), batches()
    result = nyang_inference(model, loader, class_list=NAMES)
    assert model.training and not any(layer.__dict__.get("_stack") for _, layer in
                                      model.named_layers())
    logits = model.eval()(x)
    assert np.allclose(result.outputs, logits, atol=1e-6) and result.outputs.dtype == np.float32
    odds = np.exp(logits.astype(float))
    assert np.allclose(result.probabilities, odds / odds.sum(axis=1, keepdims=True), atol=1e-6)
    assert np.array_equal(result.predictions, logits.argmax(axis=1))
    right = result.predictions == y
    assert result.metrics["accuracy"] == right.mean() and np.array_equal(result.targets, y)
    recalls = [right[y == c].mean() for c in range(3)]
    assert np.isclose(result.metrics["recall"], np.mean(recalls))
    matrix = result.confusion_matrix()
    assert matrix.sum() == len(y) and np.trace(matrix) == right.sum()
    assert matrix[0].sum() == (y == 0).sum()
    assert "cat" in str(result.report()) and "accuracy" in repr(result)


def test_a_path_one_hot_rows_and_a_loader_without_targets(tmp_path):
    model, (*_, loader) = classifier(), batches()
    wanted = nyang_inference(model, loader)
    nyang_save_model(model, tmp_path / "net.pickle")
    rows = [(x, np.eye(3, dtype=np.float32)[y]) for x, y in loader]
    for result in (nyang_inference(tmp_path / "net.pickle", loader), nyang_inference(model, rows)):
        assert np.array_equal(result.outputs, wanted.outputs) and result.metrics == wanted.metrics
    blind = nyang_inference(model, [x for x, _ in loader])
    assert np.array_equal(blind.predictions, wanted.predictions)
    assert blind.targets is None and blind.metrics == {}
    for ask in (blind.worst, blind.report, blind.plot, blind.confusion_matrix):
        with pytest.raises(ValueError, match="no targets"):
            ask()


def test_one_logit_is_the_chance_of_class_one():
    model, (x, y, loader) = classifier(1), batches(classes=2)
    result = nyang_inference(model, [(a, b[:, None].astype(np.float32)) for a, b in loader])
    chance = 1 / (1 + np.exp(-model.eval()(x)[:, 0].astype(float)))
    assert np.allclose(result.probabilities, np.stack([1 - chance, chance], 1), atol=1e-6)
    assert np.array_equal(result.predictions, chance > 0.5)
    hits = ((result.predictions == 1) & (y == 1)).sum()
    assert np.isclose(result.metrics["precision"], hits / (result.predictions == 1).sum())
    extreme = class_probabilities(np.array([-800.0, 0.0, 800.0]))
    assert np.isfinite(extreme).all() and extreme[1].tolist() == [0.5, 0.5]
    assert np.array_equal(class_probabilities(np.array([[-800.0], [0.0], [800.0]])), extreme)


def test_the_worst_are_the_most_confident_mistakes():
    sure = np.array([0.9, 0.6, 0.99, 0.8, 0.7])
    outputs = np.log(np.stack([sure, 1 - sure], axis=1))
    result = Inference(outputs, np.array([1, 1, 0, 1, 1]))
    assert result.worst().tolist() == [0, 3, 4, 1] and result.worst(2).tolist() == [0, 3]


def test_the_picture_shows_the_worst_with_answer_and_truth():
    pyplot = pytest.importorskip("matplotlib.pyplot")
    x, y, loader = batches(300, size=7)
    result = nyang_inference(classifier(), loader, class_list=NAMES)
    held = [i for _, i, _ in result.mistakes.held]
    assert held == result.worst(KEPT).tolist() and len(held) == KEPT
    assert all(np.array_equal(image, x[i]) for _, i, image in result.mistakes.held)
    figure = result.plot(3, mean=0.5, std=0.5)
    titles = [ax.get_title() for ax in figure.axes]
    i = held[0]
    answer, truth = NAMES[result.predictions[i]], NAMES[y[i]]
    assert titles[0] == f"{answer} {result.probabilities[i].max():.0%}\nis {truth}"
    assert len([title for title in titles if title]) == 3
    pyplot.close(figure)
    perfect = [(a, nyang_inference(classifier(), [(a, b)]).predictions) for a, b in loader]
    with pytest.raises(ValueError, match="no mistake"):
        nyang_inference(classifier(), perfect).plot()


class Fails(NyangModel):
    def forward(self, x):
        raise RuntimeError("broken layer")


def test_what_cannot_be_judged_is_refused_and_the_mode_is_restored():
    model, (x, y, loader) = classifier(), batches()
    with pytest.raises(ValueError, match="class_list names 2"):
        nyang_inference(model, loader, class_list=NAMES[:2])
    with pytest.raises(ValueError, match="no batch"):
        nyang_inference(model, [])
    with pytest.raises(ValueError, match="integer labels or one-hot"):
        nyang_inference(model, [(x, y + 0.5)])
    with pytest.raises(ValueError, match=r"outputs \(N, C\)"):
        nyang_inference(NyangFlow(BatchNorm2d(1)), loader)
    broken = NyangFlow(Dropout(0.5), Fails())
    with pytest.raises(RuntimeError, match="broken layer"):
        nyang_inference(broken, loader)
    assert model.training and broken.training and broken[0].training and Memory.remembering


def test_statistics_and_random_states_do_not_move():
    model, (_, _, loader) = classifier(), batches()
    before, drawn = model.state_dict(), model[1].rng.bit_generator.state
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nyang_inference(model, loader)
    assert all(np.array_equal(before[name], array) for name, array in model.state_dict().items())
    assert model[1].rng.bit_generator.state == drawn
