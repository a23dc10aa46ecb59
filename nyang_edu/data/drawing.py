"""What every generator of drawn scenes needs: a pen with a mask, a textured ground, a camera.

Scenes are drawn FINE times larger and averaged: soft edges, and lines thinner than a pixel.
"""

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter

FINE = 3
_TURNS = np.linspace(0, 2 * np.pi, 28, endpoint=False)
_RING = np.stack([np.cos(_TURNS), np.sin(_TURNS)], axis=1)


class Pen:
    """Draw shapes in a figure's own units on a canvas, and its outline in a stencil.

    Args:
        canvas: an RGB Image of Pillow, FINE times the final size.
        pose: (2, 3), the map from the figure's units to the unit square: a matrix, then a shift.
    """

    def __init__(self, canvas, pose):
        self.canvas, self.pose = canvas, pose * canvas.width
        self.stencil = Image.new("L", canvas.size)
        self.paint, self.cut = ImageDraw.Draw(canvas), ImageDraw.Draw(self.stencil)

    def polygon(self, points, colour, solid=False):
        """Fill a polygon; solid ones belong to the figure's mask."""
        spots = self._spots(points)
        self.paint.polygon(spots, clip_colour(colour))
        if solid:
            self.cut.polygon(spots, 255)

    def oval(self, x, y, rx, ry, colour, solid=False, tilt=0.0):
        """Fill an ellipse around (x, y), turned by tilt radians."""
        cos, sin = np.cos(tilt), np.sin(tilt)
        ring = _RING @ [[rx * cos, rx * sin], [-ry * sin, ry * cos]]
        self.polygon(ring + (x, y), colour, solid)

    def line(self, points, width, colour, solid=False):
        """Draw a line, at least one fine pixel wide."""
        spots = self._spots(points)
        width = max(1, round(width * np.hypot(*self.pose[:, 0])))
        self.paint.line(spots, clip_colour(colour), width, "curve")
        if solid:
            self.cut.line(spots, 255, width, "curve")

    def mark(self, ovals, colour):
        """Paint circles (x, y, r) where the figure is, and nowhere else."""
        layer = Image.new("L", self.canvas.size)
        for x, y, r in ovals:
            ImageDraw.Draw(layer).polygon(self._spots(_RING * r + (x, y)), 255)
        self.canvas.paste(clip_colour(colour), mask=ImageChops.darker(layer, self.stencil))

    def hide(self, points, colour):
        """Put a polygon, given in the unit square, before the figure: it leaves the mask."""
        spots = [(x * self.canvas.width, y * self.canvas.width) for x, y in points]
        self.paint.polygon(spots, clip_colour(colour))
        self.cut.polygon(spots, 0)

    def finish(self):
        """Average the fine pixels: the picture, an Image, and the mask (size, size) bool."""
        return self.canvas.reduce(FINE), np.asarray(self.stencil.reduce(FINE)) >= 128

    def _spots(self, points):
        return list(map(tuple, (points @ self.pose[:, :2].T + self.pose[:, 2]).tolist()))


def clip_colour(values):
    """Turn three numbers into a colour of Pillow: integers in 0..255."""
    return tuple(min(max(int(value), 0), 255) for value in values)


def draw_ground(colours, size, rng):
    """Mix two colours (2, 3) by value noise of three octaves: a fine canvas of the given size."""
    mix = np.zeros((size, size), np.float32)
    for cells, weight in ((3, 0.5), (6, 0.3), (14, 0.2)):
        grid = Image.fromarray(rng.random((cells, cells), np.float32))
        mix += weight * np.asarray(grid.resize((size, size), Image.Resampling.BICUBIC))
    mix = np.clip(2 * mix[..., None] - 0.5, 0, 1)
    pixels = np.clip(colours[0] + mix * (colours[1] - colours[0]), 0, 255).astype(np.uint8)
    return Image.fromarray(pixels).resize((FINE * size, FINE * size), Image.Resampling.NEAREST)


def photograph(image, rng):
    """Light an Image from one side; add a camera's gamma, blur and noise: (H, W, 3) uint8."""
    image = image.filter(ImageFilter.GaussianBlur(rng.uniform(0, 1)))
    x = np.asarray(image, np.float32) / 255
    H, W, _ = x.shape
    slope = rng.uniform(-0.25, 0.25, 2).astype(np.float32)
    light = 1 + slope[0] * np.linspace(-1, 1, W, dtype=np.float32)
    light = light + slope[1] * np.linspace(-1, 1, H, dtype=np.float32)[:, None]
    x = 255 * (x * light[..., None]) ** np.float32(rng.uniform(0.6, 1.6))
    x += np.float32(rng.uniform(0, 12)) * rng.standard_normal(x.shape, np.float32)
    return np.clip(x, 0, 255).astype(np.uint8)
