"""Drawn cats and dogs, as many as wanted, seeded, with masks and boxes.

No photographs ship with the course. Both animals get the same colours, sizes, poses and
backgrounds, so only shape tells them apart: upright or hanging ears, muzzle, nose, pupils.
"""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from nyang_edu.data.dataset import ArrayDataset
from nyang_edu.data.drawing import Pen, draw_ground, photograph
from nyang_edu.data.loader import NyangDataLoader

CLASSES = ("cat", "dog")
FURS = np.array([(46, 42, 44), (112, 110, 114), (225, 222, 214), (196, 120, 52), (110, 72, 44),
                 (222, 186, 132), (160, 140, 120)], float)
IRISES = ((196, 178, 60), (110, 160, 70), (140, 90, 40), (110, 150, 190))
PINK, INK, WHITE = np.array([(214, 130, 130), (28, 22, 24), (235, 235, 230)], float)
SIDES = (-1, 1)


def draw_cats_dogs(n, size=64, seed=0):
    """Draw n animals, cat and dog in turn; the first k are the same whatever n is.

    Args:
        n: how many.
        size: height and width in pixels, at least 16.
        seed: a non-negative integer; the same seed gives the same bytes.

    Returns:
        images (n, size, size, 3) uint8; labels (n,) int64, 0 cat, 1 dog; masks
        (n, size, size) bool, the visible part; boxes (n, 4) float32, x0 y0 x1 y1 in pixels,
        x1 and y1 exclusive, tight around the mask.

    Raises:
        ValueError: where n is negative or size is below 16.
    """
    if n < 0 or size < 16:
        raise ValueError(f"n must be at least 0 and size at least 16, received {n} and {size}")
    labels = np.arange(n, dtype=np.int64) % 2
    images = np.empty((n, size, size, 3), np.uint8)
    masks = np.empty((n, size, size), bool)
    for i, label in enumerate(labels):
        images[i], masks[i] = draw_animal(label, size, np.random.default_rng((seed, i)))
    return images, labels, masks, boxes_of(masks)


def cats_dogs_loaders(images, labels, cut, seed=0):
    """Split drawn animals into batches to learn from, mirrored by lot, and batches to test on.

    Args:
        images, labels: as draw_cats_dogs returns them.
        cut: the first so many are for training, 64 a batch; the rest, 250 a batch, for testing.
        seed: of the order and of the mirroring.

    Returns:
        two NyangDataLoaders of x (N, 3, size, size) float32 in -2 … 2 and labels (N,).
    """
    x = ((images / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2).copy()
    learn, test = ArrayDataset(x[:cut], labels[:cut], mirrored), ArrayDataset(x[cut:], labels[cut:])
    return (NyangDataLoader(learn, 64, shuffle=True, drop_last=True, seed=seed),
            NyangDataLoader(test, 250))


def mirrored(image, rng):
    """Mirror every second image (C, H, W), by lot: an animal stays what it is."""
    return image[:, :, ::-1] if rng.random() < 0.5 else image


def boxes_of(masks):
    """Find each mask's tight box: masks (n, H, W) bool → (n, 4) float32, x0 y0 x1 y1.

    x1 and y1 are exclusive; an empty mask has the box 0 0 0 0.
    """
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if len(rows):
            box[:] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return boxes


def draw_animal(label, size, rng):
    """Draw one scene: image (size, size, 3) uint8 and mask (size, size) bool.

    The animal's kind changes nothing that is drawn from rng: two calls with equal generators
    and different labels give one pose, fur and background with another animal.
    """
    look = _Look(rng)
    pen = Pen(draw_ground(look.ground, size, rng), look.pose)
    _draw_body(pen, look)
    (_draw_dog if label else _draw_cat)(pen, look)
    if look.hidden:
        pen.hide(look.blob, look.blob_colour)
    picture, mask = pen.finish()
    return photograph(picture, rng), mask


class _Look:
    """All that is drawn by lot for a scene, the same for both animals."""

    def __init__(self, rng):
        draw = rng.uniform
        self.pose = _pose(rng)
        self.turn, self.nod = draw(-0.22, 0.22), draw(-0.12, 0.12)
        self.fur = FURS[rng.integers(len(FURS))] + rng.normal(0, 14) + rng.normal(0, 6, 3)
        self.pale = self.fur + (255 - self.fur) * draw(0.25, 0.6)
        self.ear, self.shade = self.fur * draw(0.6, 1.0), draw(0.6, 0.85)
        self.iris = IRISES[rng.integers(len(IRISES))]
        self.whisker = WHITE if self.fur.mean() < 150 else INK
        self.flop, self.tail = draw(-0.2, 0.2, 2), draw(1.1, 2.0)
        self.tongue = rng.random() < 0.4
        self.pattern = ("plain", "stripes", "spots")[rng.integers(3)]
        self.spots = draw((-0.9, -0.9, 0.15), (0.9, 3.0, 0.4), (7, 3))  # x, y, radius
        self.ground = draw(20, 235, (2, 1)) + rng.normal(0, 30, (2, 3))
        self.hidden = rng.random() < 0.2
        self.blob, self.blob_colour = _blob(rng), draw(20, 235) + rng.normal(0, 30, 3)


def _pose(rng):
    """Draw rotation, scale, width and place: the map from head radii to the unit square."""
    angle, unit = np.deg2rad(rng.uniform(-25, 25)), rng.uniform(0.15, 0.3)
    cos, sin = unit * np.cos(angle), unit * np.sin(angle)
    width = rng.choice(SIDES) * rng.uniform(0.75, 1.25)  # mirrored; slim to stout
    return np.array([[width * cos, -sin, rng.uniform(0.35, 0.65)],
                     [width * sin, cos, rng.uniform(0.32, 0.55)]])


def _blob(rng):
    angles = np.linspace(0, 2 * np.pi, 14, endpoint=False)
    rim = rng.uniform(0.09, 0.15, (14, 1)) * np.stack([np.cos(angles), np.sin(angles)], 1)
    return rng.uniform(0.1, 0.9, 2) + rim


def _draw_body(pen, look):
    dark, t = look.fur * look.shade, np.linspace(0, 1, 9)[:, None]
    tail = (1 - t)**2 * (0.6, 2.7) + 2 * t * (1 - t) * (1.9, 2.9) + t**2 * (look.tail, 1.4)
    pen.line(tail, 0.26, dark, solid=True)
    pen.oval(0, 1.9, 0.95, 1.3, dark, solid=True)
    pen.oval(0, 1.7, 0.5, 0.8, look.pale * look.shade)
    for side in SIDES:
        pen.oval(0.42 * side, 3.0, 0.34, 0.26, look.fur, solid=True)


def _draw_head(pen, look, rx, ry):
    pen.oval(0, 0, rx, ry, look.fur, solid=True)
    if look.pattern == "spots":
        pen.mark(look.spots, look.fur * 0.55)
    if look.pattern == "stripes":
        for x in (-0.3, 0, 0.3):
            pen.line([(x, -ry * 0.9), (x * 0.8, -0.45)], 0.12, look.fur * 0.55)


def _draw_cat(pen, look):
    """Upright triangular ears, a wide head, slit pupils, a small nose, whiskers."""
    for side, flop in zip(SIDES, look.flop, strict=True):
        ear = np.array([(-0.98, -0.1), (-0.9 + 0.5 * flop, -1.55), (-0.12, -0.78)]) * (-side, 1)
        pen.polygon(ear, look.ear, solid=True)
        pen.polygon(ear.mean(0) + 0.55 * (ear - ear.mean(0)), (look.ear + PINK) / 2)
    _draw_head(pen, look, 1.05, 0.9)
    x, y = look.turn, look.nod
    for side in SIDES:
        pen.oval(x + 0.42 * side, y - 0.12, 0.25, 0.19, look.iris, tilt=0.25 * side)
        pen.oval(x + 0.42 * side, y - 0.12, 0.06, 0.18, INK)
        pen.oval(x + 0.17 * side, y + 0.42, 0.23, 0.19, look.pale)
        for rise in (-0.22, 0.03, 0.28):
            start, end = (x + 0.28 * side, y + 0.4), (x + 1.35 * side, y + 0.35 + rise)
            pen.line([start, end], 0.03, look.whisker)
    pen.polygon(np.array([(-0.13, 0.2), (0.13, 0.2), (0, 0.34)]) + (x, y), PINK)
    pen.line([(x, y + 0.34), (x, y + 0.48)], 0.05, INK)


def _draw_dog(pen, look):
    """Hanging rounded ears, a long head and muzzle, round pupils, a big nose."""
    _draw_head(pen, look, 0.9, 1.02)
    x, y = look.turn, look.nod
    for side, flop in zip(SIDES, look.flop, strict=True):
        pen.oval(0.95 * side, 0.05, 0.3, 0.78, look.ear, solid=True, tilt=(flop - 0.2) * side)
    pen.oval(x, y + 0.5, 0.46, 0.52, look.pale)
    for side in SIDES:
        pen.oval(x + 0.38 * side, y - 0.22, 0.18, 0.18, look.iris)
        pen.oval(x + 0.38 * side, y - 0.22, 0.11, 0.11, INK)
    if look.tongue:
        pen.oval(x, y + 0.98, 0.14, 0.24, PINK)
    pen.line([(x - 0.25, y + 0.68), (x, y + 0.76), (x + 0.25, y + 0.68)], 0.06, INK)
    pen.line([(x, y + 0.3), (x, y + 0.76)], 0.05, INK)
    pen.oval(x, y + 0.24, 0.22, 0.16, INK)


def write_cats_dogs(folder, n, size=64, seed=0):
    """Write draw_cats_dogs(n, size, seed) as files in the layout of dogs-vs-cats.

    ``folder`` gets cat.0.jpg, dog.0.jpg, cat.1.jpg, …; beside it, ``<folder>_masks`` gets a
    PNG of the same stem for each, and ``<folder>_boxes.csv`` the boxes.

    Returns:
        the paths of the images, cats first, in the order of list_images.
    """
    folder = Path(folder)
    masks_folder, table = _beside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    masks_folder.mkdir(exist_ok=True)
    images, labels, masks, boxes = draw_cats_dogs(n, size, seed)
    paths = [folder / f"{CLASSES[label]}.{i // 2}.jpg" for i, label in enumerate(labels)]
    for path, image, mask in zip(paths, images, masks, strict=True):
        Image.fromarray(image).save(path, quality=95)
        Image.fromarray(mask).save(masks_folder / f"{path.stem}.png")
    with open(table, "w", encoding="utf-8", newline="\n") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "x0", "y0", "x1", "y1"])
        writer.writerows([p.name, *map(int, b)] for p, b in zip(paths, boxes, strict=True))
    return paths[::2] + paths[1::2]


def read_masks_boxes(paths):
    """Read the masks and boxes that write_cats_dogs wrote beside these images.

    Returns:
        masks (N, H, W) bool and boxes (N, 4) float32, in the order of paths.

    Raises:
        ValueError: naming an image that has no box in the table, or where paths is empty.
    """
    paths = [Path(path) for path in paths]
    if not paths:
        raise ValueError("read_masks_boxes needs at least one path, received none")
    masks_folder, table = _beside(paths[0].parent)
    with open(table, encoding="utf-8", newline="") as file:
        rows = {name: box for name, *box in csv.reader(file)}
    lost = [path.name for path in paths if path.name not in rows]
    if lost:
        raise ValueError(f"{table} lists no box for {len(lost)} of {len(paths)} images "
                         f"({lost[0]} first): write the folder again")
    masks = [np.asarray(Image.open(masks_folder / f"{path.stem}.png")) for path in paths]
    return np.stack(masks), np.array([rows[path.name] for path in paths], np.float32)


def _beside(folder):
    folder = folder.absolute()
    return folder.with_name(f"{folder.name}_masks"), folder.with_name(f"{folder.name}_boxes.csv")
