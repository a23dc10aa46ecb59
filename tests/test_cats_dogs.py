"""The drawn animals: seeded, labelled rightly, and told apart by shape alone."""


import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nyang_edu.data.cats_dogs import (
    boxes_of,
    draw_animal,
    draw_cats_dogs,
    read_masks_boxes,
    write_cats_dogs,
)
from nyang_edu.data.folders import list_images, read_image


@pytest.fixture(scope="module")
def many():
    return draw_cats_dogs(1000, size=64, seed=3)


def held_out_accuracy(features, labels, strength=1.0):
    """Train a logistic regression on the first half; measure it on the other."""
    half = len(labels) // 2
    model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=300))
    return model.fit(features[:half], labels[:half]).score(features[half:], labels[half:])


def test_mean_colour_tells_nothing(many):
    images, labels, _, _ = many
    means, deviations = images.mean((1, 2)), images.std((1, 2))
    assert held_out_accuracy(means, labels) < 0.60
    assert held_out_accuracy(np.concatenate([means, deviations], axis=1), labels) < 0.60


def test_mask_area_tells_little(many):
    _, labels, masks, _ = many
    assert held_out_accuracy(masks.mean((1, 2))[:, None], labels) < 0.65


def test_pixels_tell_something_but_not_much(many):
    images, labels, _, _ = many
    pixels = images[:, ::2, ::2].reshape(len(images), -1).astype(float)
    assert 0.52 < held_out_accuracy(pixels, labels, strength=1e-4) < 0.75


def test_the_measure_itself_sees_a_shortcut(many):
    images, labels, _, _ = many
    tinted = images.mean((1, 2)) + 60 * labels[:, None]
    assert held_out_accuracy(tinted, labels) > 0.7


def test_shapes_types_and_balance(many):
    images, labels, masks, boxes = many
    assert images.shape == (1000, 64, 64, 3) and images.dtype == np.uint8
    assert labels.dtype == np.int64 and np.bincount(labels).tolist() == [500, 500]
    assert masks.shape == (1000, 64, 64) and masks.dtype == bool
    assert boxes.shape == (1000, 4) and boxes.dtype == np.float32


def test_one_seed_gives_the_same_bytes_and_a_prefix():
    first, again, longer = (draw_cats_dogs(n, 48, seed=5) for n in (6, 6, 9))
    for a, b, c in zip(first, again, longer, strict=True):
        assert a.tobytes() == b.tobytes() == c[:6].tobytes()
    other = draw_cats_dogs(6, 48, seed=6)
    assert not any((a == b).all() for a, b in zip(first[0], other[0], strict=True))


def test_box_is_tight_around_the_mask(many):
    _, _, masks, boxes = many
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
        inside = mask[y0:y1, x0:x1]
        assert inside.sum() == mask.sum() > 0
        assert inside[0].any() and inside[-1].any()
        assert inside[:, 0].any() and inside[:, -1].any()


def test_boxes_of_a_mask_by_hand():
    masks = np.zeros((2, 5, 7), bool)
    masks[0, 1:3, 2:6] = True
    assert boxes_of(masks).tolist() == [[2, 1, 6, 3], [0, 0, 0, 0]]


def test_the_mask_holds_the_animal():
    """Where two scenes differ in the animal alone, the pixels outside both masks agree."""
    for seed in range(20):
        cat, dog = (draw_animal(kind, 64, np.random.default_rng(seed)) for kind in (0, 1))
        outside = ~_grown(cat[1] | dog[1], 4)  # blur spreads an edge; whiskers stand out a little
        apart = np.abs(cat[0].astype(int) - dog[0]).max(axis=2)
        assert (apart[outside] > 40).mean() < 0.01
        assert (apart[cat[1] & dog[1]] > 40).mean() > 0.02


def _grown(mask, by):
    wide = np.pad(mask, by)
    H, W = mask.shape
    moves = [(dy, dx) for dy in range(2 * by + 1) for dx in range(2 * by + 1)]
    return np.any([wide[dy:dy + H, dx:dx + W] for dy, dx in moves], axis=0)


def test_files_in_the_layout_of_dogs_vs_cats(tmp_path):
    paths = write_cats_dogs(tmp_path / "train", 24, size=32, seed=1)
    listed, labels, classes = list_images(tmp_path)
    assert listed == paths and classes == ["cat", "dog"]
    assert labels.tolist() == [0] * 12 + [1] * 12
    assert [p.name for p in paths[:11]] == [f"cat.{i}.jpg" for i in range(11)]
    images, labels, masks, boxes = draw_cats_dogs(24, size=32, seed=1)
    order = np.argsort(labels, kind="stable")
    for path, image in zip(paths, images[order], strict=True):  # JPEG loses a little
        assert np.abs(read_image(path).astype(int) - image).mean() < 8
    stored_masks, stored_boxes = read_masks_boxes(paths)
    assert (stored_masks == masks[order]).all() and (stored_boxes == boxes[order]).all()
    assert stored_masks.dtype == bool and stored_boxes.dtype == np.float32


def test_writing_twice_gives_the_same_files(tmp_path):
    for name in "ab":
        write_cats_dogs(tmp_path / name, 4, size=16, seed=2)
    for end in ("/cat.1.jpg", "_masks/dog.0.png", "_boxes.csv"):
        a, b = ((tmp_path / f"{name}{end}").read_bytes() for name in "ab")
        assert a == b and len(a) > 50


def test_errors_say_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="size at least 16, received 3 and 8"):
        draw_cats_dogs(3, size=8)
    with pytest.raises(ValueError, match="n must be at least 0"):
        draw_cats_dogs(-1)
    assert [len(part) for part in draw_cats_dogs(0)] == [0, 0, 0, 0]
    paths = write_cats_dogs(tmp_path / "few", 2, size=16)
    with pytest.raises(ValueError, match=r"no box for 1 of 2 images \(cat.7.jpg first\)"):
        read_masks_boxes([paths[0], paths[0].with_name("cat.7.jpg")])
    with pytest.raises(ValueError, match="at least one path"):
        read_masks_boxes([])
