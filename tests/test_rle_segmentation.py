"""Run-length codes both ways, and the scores of masks."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from nyang_edu.data.rle import RLEDataset, read_rle_csv, rle_decode, rle_encode, write_rle_csv
from nyang_edu.evaluation.segmentation import dice_scores, iou_scores, mean_dice, mean_iou

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9))


def test_the_published_example():
    mask = np.zeros((4, 5), bool)
    mask.flat[[0, 1, 2, 9, 10, 11, 12, 13]] = True
    assert rle_encode(mask) == "1 3 10 5"
    assert np.array_equal(rle_decode("1 3 10 5", (4, 5)), mask)


def test_rows_and_columns_differ():
    mask = np.array([[1, 1, 0], [0, 0, 0]])
    assert rle_encode(mask) == "1 2"
    assert rle_encode(mask, order="F") == "1 1 3 1"
    assert np.array_equal(rle_decode("1 1 3 1", (2, 3), order="F"), mask)


@settings(deadline=None)
@given(masks, st.sampled_from("CF"))
def test_there_and_back(mask, order):
    text = rle_encode(mask, order)
    back = rle_decode(text, mask.shape, order)
    assert back.dtype == bool and np.array_equal(back, mask)
    assert rle_encode(255 * mask.astype(np.uint8), order) == text
    assert (text == "-1") == (not mask.any())


@settings(deadline=None)
@given(masks)
def test_columns_are_the_rows_of_the_transpose(mask):
    assert rle_encode(mask, "F") == rle_encode(mask.T, "C")


@pytest.mark.parametrize("text", ["", "-1", " ", -1])
def test_empty_masks(text):
    assert not rle_decode(text, (3, 4)).any()


@pytest.mark.parametrize("text, message", [
    ("1 3 10", "pairs"), ("1 x", "integers"), ("0 2", "runs must"), ("1 0", "runs must"),
    ("1 3 3 2", "runs must"), ("5 2 1 2", "runs must"), ("10 4", "runs must"), ("nan", "integers"),
    ("-1 2", "runs must")])
def test_broken_codes_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        rle_decode(text, (3, 4))


def test_wrong_order_and_batches_are_refused():
    with pytest.raises(ValueError, match="order"):
        rle_encode(np.ones((2, 2)), "row")
    with pytest.raises(ValueError, match="one mask"):
        rle_encode(np.ones((2, 2, 2)))


def test_tables(tmp_path):
    some = np.eye(4, dtype=bool)
    path = tmp_path / "train.csv"
    write_rle_csv(path, ["a", "b"], [some, ~some & some], ["./a.png", "./b.png"])
    assert path.read_text().splitlines()[::2] == ["img_id,img_path,mask_rle", "b,./b.png,-1"]
    rows = read_rle_csv(path)
    assert [row["img_id"] for row in rows] == ["a", "b"]
    assert np.array_equal(rle_decode(rows[0]["mask_rle"], (4, 4)), some)
    write_rle_csv(path, ["a"], [some])
    assert path.read_text().splitlines()[0] == "img_id,mask_rle"
    with pytest.raises(ValueError, match="img_path"):
        RLEDataset(path)


def test_tables_that_are_none(tmp_path):
    path = tmp_path / "wrong.csv"
    path.write_text("id,mask\n1,2\n")
    with pytest.raises(ValueError, match="img_id"):
        read_rle_csv(path)
    path.write_text("img_id,mask_rle\na,1 2\nb\n")
    with pytest.raises(ValueError, match="line 3"):
        read_rle_csv(path)


def test_scores_by_hand():
    target = np.array([[1, 1, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])
    found = np.array([[0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_allclose(dice_scores(target, found), [4 / 6, 0, 0, np.nan])
    np.testing.assert_allclose(iou_scores(target, found), [2 / 4, 0, 0, np.nan])
    assert mean_dice(target, found) == pytest.approx(2 / 9)  # empty in both: left out
    assert mean_iou(target, found) == pytest.approx(1 / 6)
    assert np.isnan(mean_dice(target[3:], found[3:]))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_properties_of_scores(data):
    shape = data.draw(array_shapes(min_dims=3, max_dims=4, max_side=5))
    one, two = (data.draw(arrays(bool, shape)) for _ in range(2))
    dice, iou = dice_scores(one, two), iou_scores(one, two)
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))
    np.testing.assert_array_equal(dice, dice_scores(two, one))
    np.testing.assert_array_equal(dice_scores(one.astype(np.float32), two.astype(int)), dice)
    valid = dice[~np.isnan(dice)]
    assert ((valid >= 0) & (valid <= 1)).all()
    same = dice_scores(one, one)
    assert (same[~np.isnan(same)] == 1).all()


def test_what_is_no_mask_is_refused():
    mask = np.ones((2, 3, 3))
    with pytest.raises(ValueError, match="out > 0"):
        mean_dice(mask, mask * 3.5)
    with pytest.raises(ValueError, match="one shape"):
        mean_dice(mask, mask[:, None])
    with pytest.raises(ValueError, match="0 and 1"):
        mean_dice(mask, np.full_like(mask, np.nan))
