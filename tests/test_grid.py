"""The image grid: every layout is drawn as the picture that it is."""

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402  after the backend is chosen

from nyang_edu.utility.grid import displayable, label_texts, nyang_images_grid  # noqa: E402

RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (5, 6, 3)).astype(np.uint8)


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_all_layouts_give_the_same_picture():
    want = COLOUR / 255
    moved = COLOUR.transpose(2, 0, 1)
    for image in (COLOUR, moved, want, (moved / 255).astype(np.float32)):
        np.testing.assert_allclose(displayable(image), want, atol=1e-6)
    normalised = (moved / 255 - 0.4) / 0.2
    np.testing.assert_allclose(displayable(normalised, 0.4, 0.2), want, atol=1e-6)
    per_channel = displayable((moved / 255).astype(np.float32), np.zeros((3, 1, 1)), np.ones(3))
    np.testing.assert_allclose(per_channel, want, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 6), (1, 5, 6), (5, 6, 1)])
def test_grey_images_have_two_axes(shape):
    assert displayable(np.ones(shape, bool)).shape == (5, 6)


@pytest.mark.parametrize("shape", [(5,), (2, 5, 6), (4, 3, 5, 6)])
def test_another_shape_is_refused(shape):
    with pytest.raises(ValueError, match="received"):
        displayable(np.zeros(shape))


def test_labels_of_all_kinds_become_names():
    names = ["cat", "dog"]
    assert label_texts([1, 0], names) == label_texts(np.eye(2)[[1, 0]], names) == ["dog", "cat"]
    assert label_texts(["a", "b"], names) == ["a", "b"]
    assert label_texts([1, 0]) == ["1", "0"] and label_texts(None) is None


def test_the_grid_has_a_place_for_each_image():
    fig = nyang_images_grid([COLOUR] * 5, [0, 1, 0, 1, 1], ["cat", "dog"], columns=3)
    drawn = [ax for ax in fig.axes if ax.images]
    assert [ax.get_title() for ax in drawn] == ["cat", "dog", "cat", "dog", "dog"]
    assert len(fig.axes) == 6
    fig = nyang_images_grid([COLOUR] * 2, after=[[COLOUR] * 3] * 2)
    assert [ax.get_title() for ax in fig.axes[:4]] == ["before", "after", "after", "after"]
    assert sum(bool(ax.images) for ax in fig.axes) == 8
    fig = nyang_images_grid([COLOUR] * 2, ["a", "b"], after=[COLOUR] * 2)
    assert [ax.get_title() for ax in fig.axes] == ["a", "", "b", ""]


def test_numbers_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match="labels.*received 1 for 2"):
        nyang_images_grid([COLOUR] * 2, [1])
    with pytest.raises(ValueError, match="after.*received 1 for 2"):
        nyang_images_grid([COLOUR] * 2, after=[COLOUR])
    with pytest.raises(ValueError, match="0 images"):
        nyang_images_grid([])
    with pytest.raises(ValueError, match="as many"):
        nyang_images_grid([COLOUR] * 2, after=[[COLOUR], [COLOUR] * 2])
