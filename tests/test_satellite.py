"""The drawn tiles: seeded, with exact masks, and not solved by brightness."""

import hashlib

import numpy as np
import pytest

from nyang_edu.data.rle import RLEDataset
from nyang_edu.data.satellite import draw_satellite, write_satellite
from nyang_edu.evaluation.segmentation import mean_dice, mean_iou


@pytest.fixture(scope="module")
def tiles():
    return draw_satellite(300, seed=1)


def otsu(grey):
    """The threshold that splits one image's brightness best in two, by its own histogram."""
    counts = np.bincount(grey.ravel().astype(int), minlength=256).astype(float)
    low, level = counts.cumsum(), (counts * np.arange(256)).cumsum()
    high = low[-1] - low
    with np.errstate(all="ignore"):
        between = (level / low - (level[-1] - level) / high) ** 2 * low * high
    return np.nanargmax(between)


def test_one_brightness_for_all_tiles_does_not_find_buildings(tiles):
    images, masks = tiles
    grey = images.mean(-1)
    found = [grey > level for level in range(0, 256, 8)]
    found += [~one for one in found]
    assert max(mean_dice(masks, one) for one in found) < 0.55
    assert max(mean_iou(masks, one) for one in found) < 0.40


def test_a_brightness_for_each_tile_does_not_either(tiles):
    images, masks = tiles
    grey = images.mean(-1)
    above = np.stack([one > otsu(one) for one in grey])
    assert 0.1 < mean_dice(masks, above) < 0.55
    assert 0.1 < mean_dice(masks, ~above) < 0.55
    assert max(mean_iou(masks, above), mean_iou(masks, ~above)) < 0.40


def test_the_measure_itself_sees_bright_roofs(tiles):
    images, masks = tiles
    lit = np.where(masks, 255, images.mean(-1) * 0.5)
    assert mean_dice(masks, lit > 200) > 0.99


def test_shares_of_buildings(tiles):
    share = tiles[1].mean((1, 2))
    assert 0.02 <= (share == 0).mean() <= 0.12
    built = share[share > 0]
    assert np.mean((built >= 0.02) & (built <= 0.30)) > 0.8
    assert built.max() < 0.5


def test_shapes_types_and_a_frozen_seed(tiles):
    images, masks = tiles
    assert images.shape == (300, 64, 64, 3) and images.dtype == np.uint8
    assert masks.shape == (300, 64, 64) and masks.dtype == bool
    again, again_masks = draw_satellite(5, seed=1)
    assert np.array_equal(again, images[:5]) and np.array_equal(again_masks, masks[:5])
    other = draw_satellite(5, seed=2)[0]
    assert not np.array_equal(again, other)
    assert len({hashlib.sha256(one.tobytes()).digest() for one in images}) == 300


def test_masks_fit_the_picture(tiles):
    """Across a mask's edge the brightness jumps; where the mask is shifted, it does so less."""
    images, masks = tiles
    grey = images.mean(-1)

    def jump(rows):
        across = np.abs(np.diff(grey, axis=2))
        edge = np.diff(np.roll(masks, rows, axis=1).astype(int), axis=2) != 0
        return across[edge].mean()

    assert jump(0) > 1.5 * jump(7)


def test_dacon_tiles_are_larger_towns():
    images, masks = draw_satellite(3, size=224, gsd=0.5, seed=3)
    assert images.shape == (3, 224, 224, 3)
    assert masks.any((1, 2)).all()


@pytest.mark.parametrize("wrong", [dict(n=-1), dict(n=1, size=8), dict(n=1, gsd=0)])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(ValueError, match="n must be"):
        draw_satellite(**wrong)


def test_written_tiles_read_back_as_drawn(tmp_path):
    table = write_satellite(tmp_path, 8, size=48, seed=5, gsd=1.0)
    images, masks = draw_satellite(8, 48, 5, 1.0)
    dataset = RLEDataset(table)
    assert len(dataset) == 8
    for i in range(8):
        x, y = dataset[i]
        assert x.shape == (3, 48, 48) and x.dtype == y.dtype == np.float32
        assert np.array_equal(x, images[i].transpose(2, 0, 1).astype(np.float32) / 255)
        assert np.array_equal(y, masks[i][None])


def test_a_transform_moves_image_and_mask_alike(tmp_path):
    table = write_satellite(tmp_path, 3, size=32, seed=5, gsd=1.0)
    plain = RLEDataset(table)
    turned = RLEDataset(table, transform=lambda image, mask, rng: (image[::-1], mask[::-1]))
    for (x, y), (turned_x, turned_y) in zip([plain[0], plain[2]], [turned[0], turned[2]],
                                            strict=True):
        assert np.array_equal(turned_x, x[:, ::-1]) and np.array_equal(turned_y, y[:, ::-1])
    assert "TRAIN_0001" in plain.name_of(1)
