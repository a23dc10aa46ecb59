"""Drawn satellite tiles with the mask of their buildings, as many as wanted, seeded.

Bright roads, car parks and containers are no buildings, and dark roofs are: brightness alone
does not find them. Lengths are metres; gsd is the ground distance between two pixels.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from nyang_edu.data.drawing import Pen, draw_ground, photograph
from nyang_edu.data.rle import write_rle_csv

__all__ = ["draw_satellite", "draw_tile", "write_satellite"]

COVERS = np.array([(88, 108, 62), (142, 138, 92), (150, 122, 94), (112, 110, 106)], float)
ROOFS = np.array([(150, 150, 152), (148, 84, 66), (214, 212, 206), (96, 128, 134), (78, 74, 76)],
                 float)
TREE, WATER, WHITE = np.array([(48, 74, 40), (70, 150, 178), (226, 226, 222)], float)
# Outlines in the unit square: a rectangle (twice as likely), an L and a U.
BLOCK = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], float) - 0.5
ELL = np.array([(0, 0), (1, 0), (1, 0.5), (0.5, 0.5), (0.5, 1), (0, 1)]) - 0.5
YARD = np.array([(0, 0), (1, 0), (1, 1), (0.7, 1), (0.7, 0.4), (0.3, 0.4), (0.3, 1), (0, 1)]) - 0.5
OUTLINES = BLOCK, BLOCK, ELL, YARD


def draw_satellite(n, size=64, seed=0, gsd=1.0):
    """Draw n tiles; the first k are the same whatever n is.

    Args:
        n: how many.
        size: height and width in pixels, at least 16; size=224, gsd=0.5 is DACON's test tile.
        seed: a non-negative integer; the same seed gives the same bytes.
        gsd: metres per pixel.

    Returns:
        images (n, size, size, 3) uint8; masks (n, size, size) bool, True on a building's roof,
        also where a tree covers it. About one tile in twenty has no building.

    Raises:
        ValueError: where n is negative, size below 16, or gsd not above 0.
    """
    if n < 0 or size < 16 or not gsd > 0:
        raise ValueError("n must be at least 0, size at least 16 and gsd above 0, received "
                         f"{n}, {size} and {gsd}")
    images = np.empty((n, size, size, 3), np.uint8)
    masks = np.empty((n, size, size), bool)
    for i in range(n):
        images[i], masks[i] = draw_tile(size, np.random.default_rng((seed, i)), gsd)
    return images, masks


def draw_tile(size, rng, gsd=1.0):
    """Draw one tile: image (size, size, 3) uint8 and mask (size, size) bool."""
    side = size * gsd
    town = _Town(side, rng)
    cast = rng.normal(0, 12) + rng.normal(0, 5, 3)
    ground = COVERS[rng.choice(4, 2, replace=False)] + rng.normal(0, 14, (2, 1)) + cast
    pen = Pen(draw_ground(ground, size, rng), town.pose)
    for field in town.fields:
        _draw_field(pen, field, rng)
    for road in town.roads:
        _draw_road(pen, road, town.reach, rng)
    for spot in town.lots:
        _draw_lot(pen, spot, rng)
    _draw_shadows(pen, town)
    for house in town.houses:
        _draw_house(pen, house, town.sun, cast, rng)
    _draw_trees(pen, town, rng)
    picture, mask = pen.finish()
    return photograph(picture, rng), mask


class _Town:
    """Where everything stands: boxes x0 y0 x1 y1 in metres, along the streets' own axes."""

    def __init__(self, side, rng):
        draw = rng.uniform
        angle, self.reach = draw(0, 2 * np.pi), 0.72 * side  # reach: the corners, however turned
        cos, sin = np.cos(angle) / side, np.sin(angle) / side
        self.pose = np.array([[cos, -sin, 0.5], [sin, cos, 0.5]])
        turn = draw(0, 2 * np.pi)
        self.sun = draw(2, 5) * np.array([np.cos(turn), np.sin(turn)])  # the shadows' direction
        self.share = (2 * self.reach / 64) ** 2  # towns on wider tiles hold more of everything
        self.roads, self.taken = [], []
        for axis in range(rng.integers(1, 3)):
            self.add_road(axis, draw(-0.6, 0.6) * self.reach, draw(5, 9))
        empty = rng.random() < 0.05
        self.houses = [] if empty else [
            (box, OUTLINES[rng.integers(4)], draw(-0.09, 0.09), rng.choice((-1, 1), 2))
            for far, density in [(0.3 * side, 4), (self.reach, draw(3, 9))]  # first within view
            for box in self.boxes(rng, density, (9, 36), 2, far)]
        self.lots = [(box, kind) for box in self.boxes(rng, draw(1, 6), (5, 14), 1)
                     for kind in [("parking", "container", "pool")[rng.integers(3)]]]
        self.fields = list(self.boxes(rng, draw(0, 3), (12, 34), 1))

    def add_road(self, axis, middle, width):
        """Lay a road along x (axis 0) or y (axis 1)."""
        far, half = self.reach + 1, width / 2
        box = [-far, middle - half, far, middle + half]
        box = np.array(box if axis == 0 else [box[1], box[0], box[3], box[2]])
        self.roads.append(box)
        self.taken.append(tuple(box.tolist()))

    def boxes(self, rng, density, sides, gap, far=None):
        """Draw boxes, and yield those that keep a gap to all that stands already."""
        count, far = round(2 * density * self.share), far or self.reach
        half, middle = rng.uniform(*sides, (count, 2)) / 2, rng.uniform(-far, far, (count, 2))
        for x0, y0, x1, y1 in np.concatenate([middle - half, middle + half], axis=1).tolist():
            if not any(a - gap < x1 and c + gap > x0 and b - gap < y1 and d + gap > y0
                       for a, b, c, d in self.taken):
                self.taken.append((x0, y0, x1, y1))
                yield np.array((x0, y0, x1, y1))


def _corners(box, outline=BLOCK, turn=0.0, mirror=(1, 1)):
    """Put an outline into a box, mirrored and turned about its middle: (k, 2) in metres."""
    cos, sin = np.cos(turn), np.sin(turn)
    spots = outline * mirror * (box[2:] - box[:2])
    return spots @ [[cos, sin], [-sin, cos]] + (box[:2] + box[2:]) / 2


def _draw_road(pen, box, reach, rng):
    grey = np.full(3, rng.uniform(85, 190))
    pen.polygon(_corners(box), grey)
    middle, along = (box[:2] + box[2:]) / 2, int(box[3] - box[1] > box[2] - box[0])
    step = np.eye(2)[along]
    for start in np.arange(-reach, reach, 6.0):
        pen.line([middle + start * step, middle + (start + 3) * step], 0.3, grey + 45)
    for place in rng.uniform(-reach, reach, rng.integers(0, 6)):
        _draw_car(pen, middle + place * step + 1.5 * step[::-1], along, rng)


def _draw_car(pen, middle, along, rng):
    half = np.array([2.2, 0.9])[::-1 if along else 1]
    colour = WHITE * rng.choice((0.2, 0.5, 0.8, 1.1)) + rng.normal(0, 18, 3)
    pen.polygon(_corners(np.concatenate([middle - half, middle + half])), colour)


def _draw_field(pen, box, rng):
    colour = COVERS[rng.integers(3)] + rng.normal(0, 22)
    pen.polygon(_corners(box, turn=rng.uniform(-0.3, 0.3)), colour)
    if rng.random() < 0.5:  # furrows
        for y in np.arange(box[1] + 1, box[3] - 1, 2.5):
            pen.line([(box[0] + 1, y), (box[2] - 1, y)], 0.7, colour * 0.85)


def _draw_lot(pen, spot, rng):
    """Draw what is easily taken for a building: a car park, containers or a pool."""
    box, kind = spot
    (x0, y0, x1, y1), middle = box, (box[:2] + box[2:]) / 2
    if kind == "pool":
        rx, ry = (box[2:] - box[:2]) / 3
        pen.oval(*middle, rx + 0.8, ry + 0.8, WHITE * 0.9)
        pen.oval(*middle, rx, ry, WATER + rng.normal(0, 12))
        return
    pen.polygon(_corners(box), np.full(3, rng.uniform(90, 170)))
    for x in np.arange(x0 + 1.5, x1 - 1.2, 2.9):
        if kind == "parking":
            pen.line([(x - 1.45, y0 + 0.5), (x - 1.45, y0 + 5)], 0.25, WHITE)
            if rng.random() < 0.6:
                _draw_car(pen, np.array([x, y0 + 2.8]), 1, rng)
        elif rng.random() < 0.6:
            long = np.array([x - 1.2, y0 + 1, x + 1.2, max(y1 - 1, y0 + 3)])
            pen.polygon(_corners(long), ROOFS[rng.integers(4)] + rng.normal(0, 25, 3))


def _draw_shadows(pen, town):
    """Darken all that lies in the shadow of a house: its outline, swept along the sun's rays."""
    layer = Pen(Image.new("RGB", pen.canvas.size), town.pose)
    for house in town.houses:
        spots = _corners(*house)
        for one, two in zip(spots, np.roll(spots, -1, 0), strict=True):
            layer.polygon(np.array([one, two, two + town.sun, one + town.sun]), TREE, solid=True)
        layer.polygon(spots + town.sun, TREE, solid=True)
    dark = pen.canvas.point([int(0.42 * value) for value in range(256)] * 3)
    pen.canvas.paste(dark, mask=layer.stencil)


def _draw_house(pen, house, sun, cast, rng):
    """Draw a roof: two halves that the sun lights differently, a ridge, and what stands on it."""
    box, outline, turn, mirror = house
    roof = ROOFS[rng.integers(len(ROOFS))] + rng.normal(0, 12) + rng.normal(0, 5, 3) + cast
    spots = _corners(*house)
    pen.polygon(spots, roof, solid=True)
    flat = rng.random() < 0.3
    if outline is BLOCK and not flat:
        lit = rng.uniform(0.68, 0.85) if sun[1] > 0 else rng.uniform(1.12, 1.3)
        half = _corners(box, BLOCK * (1, 0.5) + (0, 0.25), turn)
        pen.polygon(half, roof * lit)
        pen.line(half[:2], 0.4, roof * 1.15)
    elif flat:
        pen.line([*spots, spots[0]], 0.5, roof * 0.8)
    for x, y in rng.uniform(-0.3, 0.3, (rng.integers(0, 4), 2)):
        pen.polygon(_corners(box, outline * 0.08 + (x, -abs(y)), turn, mirror), roof * 0.7)


def _draw_trees(pen, town, rng):
    """Draw trees last: they hide parts of roofs, which stay buildings in the mask."""
    count = round(rng.uniform(0, 14) * town.share)
    for x, y, r in rng.uniform((-town.reach, -town.reach, 0.8), (town.reach, town.reach, 2.6),
                               (count, 3)):
        if any((box[:2] < (x, y)).all() and (box[2:] > (x, y)).all() for box in town.roads):
            continue
        colour = TREE + rng.normal(0, 10)
        pen.oval(x + 0.3 * town.sun[0], y + 0.3 * town.sun[1], r, r, colour * 0.5)
        pen.oval(x, y, r, r, colour)
        pen.oval(x - 0.3 * r, y, 0.5 * r, 0.5 * r, colour * 1.3)


def write_satellite(folder, n, size=224, seed=0, gsd=0.5):
    """Write tiles in DACON's layout: train_img/TRAIN_0000.png, …, and train.csv.

    Returns:
        the path of train.csv, which RLEDataset reads.
    """
    folder = Path(folder)
    (folder / "train_img").mkdir(parents=True, exist_ok=True)
    images, masks = draw_satellite(n, size, seed, gsd)
    ids = [f"TRAIN_{i:04}" for i in range(n)]
    paths = [f"./train_img/{one}.png" for one in ids]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(folder / path)
    write_rle_csv(folder / "train.csv", ids, masks, paths)
    return folder / "train.csv"
