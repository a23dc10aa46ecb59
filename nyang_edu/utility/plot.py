"""One plot style for the whole course, and the few drawings that every chapter needs."""

import matplotlib.pyplot as plt
import numpy as np

BLUE, ORANGE, GREEN, GREY = "#2c68b0", "#d6681c", "#2e7d32", "#8a8a8a"
PALE = {BLUE: "#d9e5f3", ORANGE: "#f9e2d2", GREEN: "#dcecdd", GREY: "#ededed"}


def use_style():
    """Set the course's matplotlib style for this kernel."""
    plt.rcParams.update({
        "figure.dpi": 80, "savefig.dpi": 80, "figure.constrained_layout.use": True,
        "font.size": 10, "axes.titlesize": 11, "axes.titleweight": "regular",
        "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
        "grid.color": "#e6e6e6", "axes.axisbelow": True, "legend.frameon": False,
        "image.cmap": "gray_r", "lines.linewidth": 2,
        "axes.prop_cycle": plt.cycler(color=[BLUE, ORANGE, GREEN, "#7b4ea3", GREY]),
    })


def draw_matrix(ax, matrix, title="", fmt="{:g}", highlight=None, colour=ORANGE):
    """Draw a matrix as a grid of numbers.

    Args:
        ax: a matplotlib Axes.
        matrix: (rows, columns); a 1-D array is drawn as one row.
        title: text above the grid.
        fmt: format of one number; "" draws colours only.
        highlight: boolean array of the matrix's shape; marks elements in ``colour``.
    """
    matrix = np.atleast_2d(matrix)
    marked = np.zeros(matrix.shape, bool) if highlight is None else np.atleast_2d(highlight)
    for (r, c), value in np.ndenumerate(matrix):
        face = PALE.get(colour, colour) if marked[r, c] else "white"
        ax.add_patch(plt.Rectangle((c, r), 1, 1, facecolor=face, edgecolor=GREY, lw=0.8))
        if fmt:
            ax.text(c + 0.5, r + 0.5, fmt.format(value), ha="center", va="center")
    ax.set(xlim=(-0.05, matrix.shape[1] + 0.05), ylim=(matrix.shape[0] + 0.05, -0.05))
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title(title)


def draw_chain(ax, boxes, forward=(), backward=()):
    """Draw boxes in a row: arrows to the right on top, arrows back below.

    Args:
        ax: a matplotlib Axes.
        boxes: the text of each box, left to right.
        forward: len(boxes) + 1 labels over the forward arrows; "" leaves one bare.
        backward: len(boxes) + 1 labels under the backward arrows; empty draws none.
    """
    for i, text in enumerate(boxes):
        ax.add_patch(plt.Rectangle((2 * i, 0), 1, 1, facecolor=PALE[BLUE], edgecolor=BLUE))
        ax.text(2 * i + 0.5, 0.5, text, ha="center", va="center")
    for i in range(len(boxes) + 1):
        left, right = 2 * i - 0.95, 2 * i - 0.05
        _arrow(ax, (left, 0.72), (right, 0.72), GREY, forward[i] if forward else "", 0.12)
        if backward:
            _arrow(ax, (right, 0.28), (left, 0.28), ORANGE, backward[i], -0.12)
    ax.set(xlim=(-1.1, 2 * len(boxes) + 0.1), ylim=(-0.3, 1.4))
    ax.axis("off")


def _arrow(ax, start, end, colour, label, lift):
    ax.annotate("", end, start, arrowprops={"arrowstyle": "->", "color": colour, "lw": 1.5})
    middle = (start[0] + end[0]) / 2
    ax.text(middle, start[1] + lift, label, color=colour, ha="center",
            va="bottom" if lift > 0 else "top")


def draw_images(axes, images, titles=()):
    """Draw one grey image (H, W) in each of the axes, with its title."""
    for i, (ax, image) in enumerate(zip(np.ravel(axes), images, strict=False)):
        ax.imshow(image)
        ax.axis("off")
        if len(titles) > i:
            ax.set_title(titles[i])
