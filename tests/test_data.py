"""Data: splits are disjoint and complete, files are named, boxes and masks follow the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nyang_edu.data.cats_dogs import draw_cats_dogs, write_cats_dogs
from nyang_edu.data.dataset import ArrayDataset, NyangDataset, NyangNyangDataset, image_to_array
from nyang_edu.data.loader import sample_rng
from nyang_edu.data.ready import nyangnyang_dataset_ready
from nyang_edu.data.split import nyang_split, one_hot_pairs, split_counts
from nyang_edu.data.transforms import channel_stats, nyang_transforms

RATIO = (0.8, 0.1, 0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "animals"
    write_cats_dogs(root, 40, size=32, seed=0)
    return root


# Splits

ratios = st.lists(st.integers(0, 20), min_size=1, max_size=5).filter(sum).map(
    lambda parts: tuple(part / sum(parts) for part in parts))


@given(ratios, st.lists(st.integers(0, 3), min_size=5, max_size=60), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_random_split_is_disjoint_complete_and_seeded(ratio, labels, seed):
    parts = nyang_split(labels, ratio, seed=seed)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    assert [len(part) for part in parts] == split_counts(len(labels), ratio).tolist()
    again = nyang_split(labels, ratio, seed=seed)
    assert all(np.array_equal(a, b) for a, b in zip(parts, again, strict=True))


@given(ratios, st.lists(st.integers(5, 20), min_size=1, max_size=4), st.integers(0, 99))
@settings(max_examples=80, deadline=None)
def test_stratified_split_shares_out_each_class(ratio, sizes, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    parts = nyang_split(labels, ratio, stratified=True, seed=seed)
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    for k, size in enumerate(sizes):
        got = [int(np.sum(labels[part] == k)) for part in parts]
        assert got == split_counts(size, ratio).tolist()


@given(ratios, st.integers(5, 500))
@settings(max_examples=200, deadline=None)
def test_counts_are_near_their_shares(ratio, count):
    counts, shares = split_counts(count, ratio), np.array(ratio) * count
    assert counts.sum() == count
    assert np.array_equal(counts > 0, shares > 0)
    if shares[shares > 0].min() >= 1:
        assert np.abs(counts - shares).max() < 1


@pytest.mark.parametrize("ratio", [(0.8, 0.1), (0.5, 0.6, -0.1), (), (np.nan, 1.0), (2.0,)])
def test_a_wrong_ratio_is_refused(ratio):
    with pytest.raises(ValueError, match="sum to 1|at least 0"):
        nyang_split(range(20), ratio)


def test_a_class_that_is_too_small_is_named_with_its_count():
    with pytest.raises(ValueError, match="class owl has 2"):
        nyang_split(["cat"] * 9 + ["owl"] * 2, RATIO, stratified=True)
    with pytest.raises(ValueError, match="at least 3 samples, received 2"):
        nyang_split([0, 1], RATIO)


def test_one_hot_pairs_keep_sample_and_label_together():
    pairs = one_hot_pairs(["a", "b", "c"], [2, 0, 1], [2, 0], 3)
    assert [name for name, _ in pairs] == ["c", "a"]
    assert [row.argmax() for _, row in pairs] == [1, 2]


# Datasets

def test_a_forgotten_method_is_named_at_construction():
    class NoLength(NyangDataset):
        def sample(self, index, rng):
            return index, index

    class NoSample(NyangDataset):
        def __len__(self):
            return 1

    for kind, name in [(NoLength, "__len__"), (NoSample, "sample"),
                       (NyangDataset, "__len__.*sample")]:
        with pytest.raises(TypeError, match=f"{kind.__name__} does not define {name}"):
            kind()


def test_getitem_alone_is_enough_and_negative_places_work():
    class Squares(NyangDataset):
        def __len__(self):
            return 4

        def __getitem__(self, index):
            return index, index**2

    assert Squares().sample(3, None) == (3, 9)
    data = ArrayDataset(np.arange(5.0), np.arange(5), lambda x, rng: x + rng.normal())
    assert np.array_equal(data[-1][0], data[4][0]) and len(list(data)) == 5
    with pytest.raises(IndexError):
        data[5]


def test_images_become_channels_first_floats():
    image = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    x = image_to_array(image)
    assert x.dtype == np.float32 and x.shape == (3, 2, 4)
    assert x[2, 1, 3] == np.float32(23) / 255
    assert image_to_array(image[:, :, 0]).shape == (1, 2, 4)
    with pytest.raises(TypeError, match="converted already"):
        image_to_array(x)
    with pytest.raises(ValueError, match="not a batch"):
        image_to_array(image[None])


def test_modes_of_one_seed_share_no_file(folder):
    data = {m: NyangNyangDataset(folder, ["cat", "dog"], RATIO, m, seed=3)
            for m in ("train", "valid", "test")}
    files = [path for one in data.values() for path, _ in one.paths]
    assert [len(one) for one in data.values()] == [32, 4, 4] and len(set(files)) == 40
    x, label = data["valid"][0]
    path, row = data["valid"].paths[0]
    assert x.shape == (3, 32, 32) and x.dtype == label.dtype == np.float32 and x.max() <= 1
    assert np.array_equal(label, row) and ["cat", "dog"][row.argmax()] == path.name[:3]
    other = data["train"].in_mode("test")
    assert [p for p, _ in other.paths] == [p for p, _ in data["test"].paths]


def test_folder_errors_have_names_and_counts(tmp_path):
    write_cats_dogs(tmp_path / "a", 12, size=32, seed=0)
    (tmp_path / "a" / "dog.1.jpg").write_bytes(b"")
    arguments = (tmp_path / "a", ["cat", "dog"], RATIO, "train")
    with pytest.raises(ValueError, match=r"1 of 12 .*dog\.1\.jpg.*empty"):
        NyangNyangDataset(*arguments)
    with pytest.warns(UserWarning, match="1 of 12"):
        train = NyangNyangDataset(*arguments, on_error="skip")
    parts = [train, train.in_mode("valid"), train.in_mode("test")]
    assert [len(part) for part in parts] == [7, 2, 2]
    with pytest.raises(ValueError, match="class 'fox'"):
        NyangNyangDataset(tmp_path / "a", ["cat", "fox"], RATIO, "train")
    with pytest.raises(ValueError, match="mode must be one of"):
        NyangNyangDataset(tmp_path / "a", ["cat", "dog"], RATIO, "testing", on_error="defer")
    with pytest.raises(ValueError, match="a share for each"):
        NyangNyangDataset(tmp_path / "a", ["cat", "dog"], (0.5, 0.5), "train")
    write_cats_dogs(tmp_path / "b", 4, size=32, seed=0)
    with pytest.raises(ValueError, match="class cat has 2, class dog has 2"):
        NyangNyangDataset(tmp_path / "b", ["cat", "dog"], RATIO, "train")


# Transforms

def test_only_training_is_random_and_the_generator_decides():
    image = draw_cats_dogs(1, 40, seed=2)[0][0]
    for mode, distinct in [("train", 6), ("valid", 1), ("test", 1)]:
        view = nyang_transforms(mode, 32)
        made = [view(image, np.random.default_rng(seed)) for seed in range(6)]
        assert len({x.tobytes() for x in made}) == distinct
        assert made[0].shape == (3, 32, 32) and made[0].dtype == np.float32
        again = nyang_transforms(mode, 32)(image, np.random.default_rng(0))
        assert np.array_equal(made[0], again)


def test_no_hidden_generator_takes_part():
    image, view = draw_cats_dogs(1, 40, seed=2)[0][0], nyang_transforms("train", 32)
    np.random.seed(0)
    before = np.random.get_state()[1].tobytes()
    view(image, np.random.default_rng(1))
    assert np.random.get_state()[1].tobytes() == before


def test_boxes_and_masks_follow_the_image():
    view = nyang_transforms("train", 64, light=0, noise=0, fill=0)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        y, x, h, w = *rng.integers(12, 24, 2), *rng.integers(14, 26, 2)
        image, mask = np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool)
        image[y:y + h, x:x + w], mask[y:y + h, x:x + w] = 255, True
        made = view.apply(image, sample_rng(0, 0, seed), mask, [[x, y, x + w, y + h]])
        white = made["x"][0] > 0.5
        assert made["mask"].dtype == bool and made["kept"].tolist() == [0]
        assert np.mean(white != made["mask"]) < 0.02
        rows, columns = np.flatnonzero(white.any(1)), np.flatnonzero(white.any(0))
        tight = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        assert np.abs(made["boxes"][0] - tight).max() < 2.5


def test_a_box_that_leaves_the_picture_is_dropped_and_the_others_keep_their_place():
    view = nyang_transforms("train", 50, turn=0, shift=0, scale=0.8, flip=False, light=0, noise=0)
    boxes, kept = [[0, 0, 4, 4], [20, 20, 30, 30]], set()
    for seed in range(20):
        made = view.apply(np.zeros((50, 50, 3), np.uint8), np.random.default_rng(seed), boxes=boxes)
        assert len(made["boxes"]) == len(made["kept"])
        kept.add(tuple(made["kept"].tolist()))
    assert kept == {(0, 1), (1,)}


def test_mean_and_std_are_those_of_all_pixels():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (h, 5, 3)).astype(np.uint8) for h in (3, 8)]
    pixels = np.concatenate([one.reshape(-1, 3) for one in images]) / 255
    mean, std = channel_stats(images)
    np.testing.assert_allclose(mean, pixels.mean(0), rtol=1e-6)
    np.testing.assert_allclose(std, pixels.std(0), rtol=1e-6)
    assert channel_stats([np.zeros((2, 2), np.uint8)])[1].tolist() == [1]


def test_normalisation_uses_training_images_only(folder):
    train, valid, test = nyangnyang_dataset_ready(folder, ["cat", "dog"], RATIO, 8, 32)
    want = channel_stats([train.dataset.image(i) for i in range(len(train.dataset))])
    for loader in (train, valid, test):
        np.testing.assert_array_equal(loader.dataset.transform.mean.ravel(), want[0])
        np.testing.assert_array_equal(loader.dataset.transform.std.ravel(), want[1])
    assert (train.shuffle, valid.shuffle, test.shuffle) == (True, False, False)
    first, second = (np.concatenate([x for x, _ in valid]) for _ in range(2))
    assert np.array_equal(first, second)


def test_grey_images_and_wrong_modes():
    x = nyang_transforms("train", 28, flip=False, fill=0)(
        np.zeros((28, 28), np.uint8), np.random.default_rng(0))
    assert x.shape == (1, 28, 28)
    with pytest.raises(ValueError, match="takes a mode of"):
        nyang_transforms("training", 28)
