"""The measures equal scikit-learn's, on random cases with absent classes and zero divisions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from nyang_edu.evaluation import metrics

MEASURES = [(metrics.precision, sk.precision_score), (metrics.recall, sk.recall_score),
            (metrics.f1_score, sk.f1_score)]


@st.composite
def cases(draw, least=2):
    """Targets and predictions of C classes, of which some never occur."""
    C, N = draw(st.integers(least, 7)), draw(st.integers(1, 30))
    present = st.sampled_from(draw(st.lists(st.integers(0, C - 1), min_size=1, max_size=C)))
    targets, predictions = (np.array(draw(st.lists(present, min_size=N, max_size=N)))
                            for _ in range(2))
    return C, targets, predictions


@settings(max_examples=80, deadline=None)
@given(cases(), st.sampled_from([0.0, 1.0]))
def test_averages_equal_scikit_learns(case, zero):
    C, targets, predictions = case
    for own, theirs in MEASURES:
        for average in ("macro", "micro", "weighted", None):
            want = theirs(targets, predictions, labels=np.arange(C), average=average,
                          zero_division=zero)
            got = own(targets, predictions, average=average, zero_division=zero, classes=C)
            np.testing.assert_allclose(got, want, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1, max_size=20),
       st.sampled_from([0, 1]), st.sampled_from([0.0, 1.0]))
def test_binary_equals_scikit_learns(pairs, positive, zero):
    targets, predictions = np.array(pairs).T
    for own, theirs in MEASURES:
        want = theirs(targets, predictions, labels=[positive], average="micro", zero_division=zero)
        got = own(targets, predictions, positive=positive, zero_division=zero)
        assert got == pytest.approx(want, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(cases())
def test_matrix_and_accuracy_equal_scikit_learns(case):
    C, targets, predictions = case
    want = sk.confusion_matrix(targets, predictions, labels=np.arange(C))
    got = metrics.confusion_matrix(targets, predictions, C)
    assert got.dtype == np.int64 and (got == want).all()
    assert metrics.accuracy(targets, predictions) == sk.accuracy_score(targets, predictions)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_top_k_equals_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    N, C = rng.integers(2, 30), rng.integers(3, 8)
    targets, scores = rng.integers(0, C, N), rng.permuted(np.tile(np.arange(C), (N, 1)), axis=1)
    for k in range(1, C):
        want = sk.top_k_accuracy_score(targets, scores, k=k, labels=np.arange(C))
        assert metrics.top_k_accuracy(targets, scores, k) == pytest.approx(want)
    assert metrics.top_k_accuracy(targets, scores, C) == 1.0


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_top_1_is_the_accuracy_also_where_scores_tie(seed):
    rng = np.random.default_rng(seed)
    targets, scores = rng.integers(0, 4, 20), rng.integers(0, 3, (20, 4))
    assert metrics.top_k_accuracy(targets, scores, 1) == metrics.accuracy(targets, scores)
    shares = [metrics.top_k_accuracy(targets, scores, k) for k in (1, 2, 3, 4)]
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_top_k_of_unsigned_scores():
    scores = np.array([[0, 9, 5], [7, 0, 1]], np.uint8)
    assert metrics.top_k_accuracy([1, 2], scores, 1) == 0.5
    assert metrics.top_k_accuracy([1, 2], scores, 2) == 1.0


def test_labels_one_hot_rows_and_scores_say_the_same():
    rng = np.random.default_rng(0)
    targets, scores = rng.integers(0, 3, 40), rng.normal(size=(40, 3)).astype(np.float32)
    rows = np.eye(3, dtype=np.float32)[targets]
    want = metrics.confusion_matrix(targets, scores.argmax(axis=1), 3)
    for given_targets in (targets, rows, targets.astype(np.uint8)):
        assert (metrics.confusion_matrix(given_targets, scores) == want).all()
    assert metrics.precision(rows, scores, average="micro") == metrics.accuracy(targets, scores)


def test_one_column_is_a_logit():
    targets, logits = np.array([[1.0], [0.0], [1.0]]), np.array([[0.2], [-3.0], [-0.1]])
    assert metrics.accuracy(targets, logits) == pytest.approx(2 / 3)
    assert metrics.recall(targets, logits) == 0.5


def test_a_class_that_never_occurs_keeps_its_row():
    matrix = metrics.confusion_matrix([0, 0, 3], [0, 3, 3])
    assert matrix.shape == (4, 4) and matrix[1].sum() == matrix[2].sum() == 0
    assert metrics.confusion_matrix([0], [0]).shape == (2, 2)


@pytest.mark.parametrize("average, C, positive", [("mean", 2, 1), ("binary", 3, 1),
                                                  ("binary", 2, 2), ("binary", 2, -1)])
def test_averages_that_are_refused(average, C, positive):
    targets = np.arange(6) % C
    with pytest.raises(ValueError, match="average"):
        metrics.f1_score(targets, targets, average=average, positive=positive)


@pytest.mark.parametrize("targets, predictions, error, words", [
    ([0, 1], [0], ValueError, "2 targets and 1 predictions"),
    ([0, -1], [0, 1], ValueError, "outside"),
    ([0.5, 1.0], [0, 1], TypeError, "integers"),
    ([], [], ValueError, "at least one sample"),
    ([0, 1], [[0.1, np.nan], [0.2, 0.3]], ValueError, "NaN"),
    ([[1, 1], [0, 1]], [0, 1], ValueError, "sum to 1"),
    ([0, 1], np.zeros((2, 2, 2)), ValueError, "received"),
])
def test_what_is_no_class_is_refused(targets, predictions, error, words):
    with pytest.raises(error, match=words):
        metrics.accuracy(targets, predictions)


def test_classes_out_of_range_are_refused():
    with pytest.raises(ValueError, match="0 to 2"):
        metrics.confusion_matrix([0, 3], [0, 1], 3)


@pytest.mark.parametrize("k", [0, 4, -1])
def test_top_k_refuses_a_k_out_of_range(k):
    with pytest.raises(ValueError, match="k of 1"):
        metrics.top_k_accuracy([0], np.zeros((1, 3)), k)


def test_inputs_stay_as_they_are():
    targets, scores = np.array([0, 1, 2]), np.eye(3)[[0, 2, 2]]
    before = targets.copy(), scores.copy()
    metrics.class_report(targets, scores)
    metrics.top_k_accuracy(targets, scores, 2)
    assert (targets == before[0]).all() and (scores == before[1]).all()


def test_report_equals_scikit_learns_and_prints_a_table():
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 3, 50)
    predictions = np.where(rng.random(50) < 0.7, targets, 0)
    names = ["cat", "dog", "caterpillar"]
    rows = metrics.class_report(targets, predictions, names)
    want = sk.classification_report(targets, predictions, target_names=names, output_dict=True)
    for row in rows[:-1]:
        theirs = want[row["class"]]
        assert row["precision"] == pytest.approx(theirs["precision"])
        assert row["f1"] == pytest.approx(theirs["f1-score"])
        assert row["samples"] == theirs["support"]
    assert rows[-1]["recall"] == pytest.approx(want["macro avg"]["recall"])
    lines = str(rows).split("\n")
    assert len(lines) == 5 and len({len(line) for line in lines}) == 1
    assert lines[-1].startswith("macro mean")
