"""Image folders as users bring them: each layout, each kind of pixel, damaged files."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nyang_edu.data.folders import find_unreadable, list_images, natural_key, read_image


def put(path, colour=(10, 20, 30), size=(4, 6), **settings):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, **settings)
    return path


def test_class_folders_in_natural_order(tmp_path):
    for name in ("dog/2.png", "dog/10.png", "cat/b.PNG", "cat/a.jpg", "cat/notes.txt"):
        put(tmp_path / name, format="PNG")
    (tmp_path / "cat" / "._a.jpg").write_bytes(b"left by a file manager")
    paths, labels, classes = list_images(tmp_path)
    assert [f"{p.parent.name}/{p.name}" for p in paths] == \
        ["cat/a.jpg", "cat/b.PNG", "dog/2.png", "dog/10.png"]
    assert labels.tolist() == [0, 0, 1, 1] and labels.dtype == np.int64
    assert classes == ["cat", "dog"]


def test_class_in_the_name(tmp_path):
    for i in (0, 2, 10):
        put(tmp_path / "train" / f"cat.{i}.jpg")
        put(tmp_path / "train" / f"dog.{i}.jpg")
    put(tmp_path / "test1" / "1.jpg")
    for root in (tmp_path, tmp_path / "train"):
        paths, labels, classes = list_images(root)
        assert [p.name for p in paths[:3]] == ["cat.0.jpg", "cat.2.jpg", "cat.10.jpg"]
        assert labels.tolist() == [0, 0, 0, 1, 1, 1] and classes == ["cat", "dog"]
    paths, labels, classes = list_images(tmp_path, ["dog", "cat"])
    assert paths[0].name == "dog.0.jpg" and labels.tolist() == [0, 0, 0, 1, 1, 1]
    paths, labels, classes = list_images(tmp_path, ["dog"])
    assert len(paths) == 3 and set(labels) == {0} and classes == ["dog"]


def test_a_class_may_be_called_train(tmp_path):
    for name in ("train", "plane"):
        put(tmp_path / name / "1.png")
    _, labels, _ = list_images(tmp_path, ["plane", "train"])
    assert labels.tolist() == [0, 1]


@given(st.lists(st.integers(0, 10**6), min_size=1, unique=True))
def test_natural_order_is_that_of_numbers(numbers):
    names = sorted((f"cat.{n}.jpg" for n in numbers), key=natural_key)
    assert names == [f"cat.{n}.jpg" for n in sorted(numbers)]


@given(st.lists(st.text(max_size=6)))
def test_natural_order_exists_for_any_names(names):
    once = sorted(names, key=natural_key)
    assert once == sorted(reversed(names), key=natural_key)


def test_what_is_wrong_with_a_folder_is_said(tmp_path):
    put(tmp_path / "a" / "cat" / "1.png")
    put(tmp_path / "a" / "cat" / "2.png")
    (tmp_path / "a" / "dog").mkdir()
    with pytest.raises(ValueError, match="no image of class 'dog'.*cat 2, dog 0"):
        list_images(tmp_path / "a")
    with pytest.raises(ValueError, match="no class 'Cat', 'cow'; it holds cat 2, dog 0"):
        list_images(tmp_path / "a", ["Cat", "cow"])
    assert len(list_images(tmp_path / "a", ["cat"])[0]) == 2
    put(tmp_path / "a" / "cat.9.jpg")
    with pytest.raises(ValueError, match=r"1 images lie beside class folders \(cat 2, dog 0\)"):
        list_images(tmp_path / "a")
    put(tmp_path / "b" / "1.jpg")
    put(tmp_path / "b" / "cat.1.jpg")
    with pytest.raises(ValueError, match=r"1 of 2 names have no class .*'1.jpg'"):
        list_images(tmp_path / "b")
    (tmp_path / "c").mkdir()
    with pytest.raises(ValueError, match="neither images nor class folders"):
        list_images(tmp_path / "c")


@pytest.mark.parametrize("arguments, error, says", [
    (dict(class_list="cat"), TypeError, r"write \['cat'\]"),
    (dict(class_list=[]), ValueError, "each class once"),
    (dict(class_list=["a", "a"]), ValueError, "each class once"),
    (dict(on_error="ignore"), ValueError, "on_error must be one of.*'ignore'"),
])
def test_wrong_arguments(tmp_path, arguments, error, says):
    put(tmp_path / "cat" / "1.png")
    with pytest.raises(error, match=says):
        list_images(tmp_path, **arguments)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list_images(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="it is a file"):
        list_images(tmp_path / "cat" / "1.png")


@pytest.fixture
def damaged(tmp_path):
    """Six images, three of them damaged."""
    rng = np.random.default_rng(0)
    for i in range(3):
        for name in (f"cat.{i}.jpg", f"dog.{i}.png"):
            pixels = rng.integers(0, 256, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "cat.1.jpg").write_bytes(b"")
    (tmp_path / "dog.0.png").write_bytes((tmp_path / "dog.0.png").read_bytes()[:2000])
    (tmp_path / "dog.2.png").write_text("<html>not found</html>")
    return tmp_path


def test_unreadable_files_are_named_and_counted(damaged):
    paths, _, _ = list_images(damaged)
    bad = find_unreadable(paths)
    assert [path.name for path, _ in bad] == ["cat.1.jpg", "dog.0.png", "dog.2.png"]
    assert all(word in reason for word, (_, reason) in
               zip(["empty", "cut", "known format"], bad, strict=True))
    for path in paths:
        if path in dict(bad):
            with pytest.raises(ValueError, match=path.name):
                read_image(path)
        else:
            assert read_image(path).shape == (40, 50, 3)


def test_unreadable_files_stop_or_are_left_out_as_asked(damaged):
    assert len(list_images(damaged)[0]) == 6
    with pytest.raises(ValueError, match="3 of 6 images cannot be read: cat.1.jpg: the file is "
                                         "empty.*dog.0.png.*dog.2.png"):
        list_images(damaged, on_error="raise")
    with pytest.warns(UserWarning, match="3 of 6 images cannot be read.*left out"):
        paths, labels, _ = list_images(damaged, on_error="skip")
    assert [p.name for p in paths] == ["cat.0.jpg", "cat.2.jpg", "dog.1.png"]
    assert labels.tolist() == [0, 0, 1]
    (damaged / "dog.1.png").write_bytes(b"")
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="no image of class 'dog'"):
        list_images(damaged, on_error="skip")


def test_a_missing_file_is_unreadable_and_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / "none.jpg")
    assert len(find_unreadable([tmp_path / "none.jpg"])) == 1


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_an_image_cut_anywhere_is_noticed(tmp_path, suffix):
    pixels = np.random.default_rng(1).integers(0, 256, (24, 24, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"whole.{suffix}")
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    for length in range(0, len(whole) - 40, 7):  # the last bytes only mark the end
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"cut.{suffix}"):
            read_image(path)


def test_a_flipped_bit_in_a_png_is_noticed_or_harmless(tmp_path):
    rng, noticed = np.random.default_rng(3), 0
    pixels = rng.integers(0, 256, (16, 16, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "whole.png")
    whole = (tmp_path / "whole.png").read_bytes()
    for _ in range(100):
        damaged = bytearray(whole)
        damaged[rng.integers(len(whole) - 12)] ^= 1 << rng.integers(8)
        (tmp_path / "flip.png").write_bytes(damaged)
        try:
            assert (read_image(tmp_path / "flip.png") == pixels).all()
        except ValueError as error:
            assert "flip.png" in str(error)
            noticed += 1
    assert noticed > 90


# --- every kind of pixel ---

RED = (200, 40, 20)


def test_grey_palette_and_bits(tmp_path):
    grey = np.array([[0, 128], [255, 7]], np.uint8)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert (read_image(tmp_path / "grey.png") == grey[..., None]).all()
    Image.fromarray(grey > 100).save(tmp_path / "bits.png")
    assert (read_image(tmp_path / "bits.png") == 255 * (grey > 100)[..., None]).all()
    deep = grey.astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    assert (read_image(tmp_path / "deep.png") == grey[..., None]).all()
    Image.new("RGB", (5, 3), RED).quantize(4).save(tmp_path / "palette.png")
    out = read_image(tmp_path / "palette.png")
    assert out.shape == (3, 5, 3) and out.dtype == np.uint8 and (out == RED).all()
    out[...] = 0  # the array is the caller's own


def test_transparent_pixels_lie_on_white(tmp_path):
    pixels = np.zeros((1, 3, 4), np.uint8)
    pixels[0] = [(*RED, 255), (*RED, 0), (0, 0, 0, 51)]
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    assert read_image(tmp_path / "alpha.png")[0].tolist() == [list(RED), [255] * 3, [204] * 3]
    paletted = Image.new("P", (2, 1))
    paletted.putpalette([*RED, 1, 2, 3])
    paletted.putpixel((1, 0), 1)
    paletted.save(tmp_path / "palette.gif", transparency=1)
    assert read_image(tmp_path / "palette.gif")[0].tolist() == [list(RED), [255] * 3]


def test_cmyk_and_numbers_without_a_range(tmp_path):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    red = read_image(tmp_path / "print.jpg")
    assert red.shape == (8, 8, 3) and red[4, 4, 0] > 200 > 80 > red[4, 4, 1:].max()
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(ValueError, match="float.tiff.*mode 'F'.*8-bit"):
        read_image(tmp_path / "float.tiff")


@pytest.mark.parametrize("orientation, turned", [
    (1, lambda a: a), (2, lambda a: a[:, ::-1]), (3, lambda a: a[::-1, ::-1]),
    (4, lambda a: a[::-1]), (5, lambda a: a.swapaxes(0, 1)),
    (6, lambda a: np.rot90(a, -1)), (7, lambda a: a[::-1, ::-1].swapaxes(0, 1)),
    (8, lambda a: np.rot90(a)),
])
def test_images_stand_upright_by_their_exif_tag(tmp_path, orientation, turned):
    stored = np.random.default_rng(2).integers(0, 256, (3, 5, 3), np.uint8)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "phone.png", exif=exif)
    assert (read_image(tmp_path / "phone.png") == turned(stored)).all()
