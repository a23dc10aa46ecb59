# Exported from chapter 18. Change the notebook, then export again.
"""ResNeXt for signals: grouped residual blocks, and connections that show the raw signal again."""

from functools import partial
from itertools import zip_longest

import numpy as np

from nyang_edu.model.activation import LeakyReLU
from nyang_edu.model.conv import Conv1d
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm1d
from nyang_edu.model.parallel import Parallel
from nyang_edu.model.pool import AdaptiveAvgPool1d, AvgPool1d, MaxPool1d
from nyang_edu.model.residual import Residual
from nyang_edu.model.zoo.resnet import stage


def conv1d_norm(in_channels, out_channels, kernel_size, stride=1, groups=1, rng=None):
    """List a convolution that keeps the length, apart from its stride, and its BatchNorm."""
    return [Conv1d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups,
                   bias=False, rng=rng), BatchNorm1d(out_channels)]


def tenant_layer(in_channels, out_channels, stride=1, rng=None, *, groups=32):
    """Build a residual block of a floor: 1×1 to out_channels / 2, grouped 3, 1×1 to out_channels.

    Shapes: x (N, in_channels, L) → out (N, out_channels, ⌈L / stride⌉).
    The body is one NyangFlow of eight layers, the grouped convolution has the stride. The
    shortcut is None where x fits, else a 1×1 and its BatchNorm. LeakyReLU stands after the sum.

    Source: Xie, Girshick, Dollár, Tu, He, Aggregated residual transformations for deep neural
    networks (2017), section 3.3 and figure 3(c).
    """
    width = out_channels // 2
    body = NyangFlow(*conv1d_norm(in_channels, width, 1, rng=rng), LeakyReLU(),
                     *conv1d_norm(width, width, 3, stride, groups, rng), LeakyReLU(),
                     *conv1d_norm(width, out_channels, 1, rng=rng))
    fits = stride == 1 and in_channels == out_channels
    shortcut = None if fits else NyangFlow(
        *conv1d_norm(in_channels, out_channels, 1, stride, rng=rng))
    return Residual(body, shortcut, LeakyReLU())


def floor_layer(count, in_channels, out_channels, stride=1, rng=None, *, groups=32):
    """Put count tenants in a row; the first takes in_channels and the stride."""
    tenant = partial(tenant_layer, groups=groups)
    return stage(tenant, in_channels, out_channels, count, stride, rng)


def new_connection(in_channels, width, floor, rng=None):
    """Build a path from the raw signal to the end of a floor, past all that stands before it.

    Conv1d of 7 to width, BatchNorm1d, AvgPool1d of 3·2^(floor−1), Conv1d of 1 to
    4·width·2^(floor−1), BatchNorm1d: one NyangFlow of five layers, without any bend or bias.

    Args:
        in_channels: leads of the signal.
        width: channels of the network's stem.
        floor: 1 for the first.
        rng: the generator for both convolutions.

    Shapes: x (N, in_channels, L) → out (N, 4·width·2^(floor−1), ⌊(L − 2) / (3·2^(floor−1))⌋).
    """
    grow = 2 ** (floor - 1)
    return NyangFlow(Conv1d(in_channels, width, 7, padding=2, bias=False, rng=rng),
                     BatchNorm1d(width), AvgPool1d(3 * grow),
                     Conv1d(width, 4 * width * grow, 1, bias=False, rng=rng),
                     BatchNorm1d(4 * width * grow))


def with_connections(stem, floors, connections):
    """Run stem and floors in a row, and join a connection to the output of each floor.

    After floor k the output of connections[k], which sees the stem's input, is appended along
    the length (axis 2); floor k + 1 takes both together.

    Args:
        stem: a layer. floors: a list of layers, at least one.
        connections: a list of layers, at most one a floor; floors beyond its end have none.

    Returns:
        one layer, put together of NyangFlow and Parallel.
    """
    trunk = stem
    for floor, connection in zip_longest(floors, connections):
        trunk = NyangFlow(trunk, floor)
        if connection is not None:
            trunk = Parallel(trunk, connection, axis=2)
    return trunk


def resnext1d(num_classes=5, rng=None, *, in_channels=1, width=64, counts=(3, 4, 6, 3), groups=32,
              parts=12):
    """Build a ResNeXt for signals, with a new connection after each floor but the last.

    Floor k has 4·width·2^(k−1) channels; at full size these are 256 to 2048.

    Args:
        num_classes: the number of logits.
        rng: the generator for all weights; None makes one.
        in_channels: leads of the signal.
        width: channels of the stem; groups must divide 2·width.
        counts: tenants of each floor.
        groups: of the convolutions in the middle of the tenants.
        parts: of the length at the end; the head gets the mean of each.

    Shapes: x (N, in_channels, L) → logits (N, num_classes); made for L = 183.
    """
    rng = rng or np.random.default_rng()
    stem = NyangFlow(Conv1d(in_channels, width, 7, padding=2, bias=False, rng=rng),
                     BatchNorm1d(width), LeakyReLU(), MaxPool1d(3))
    channels = [width] + [4 * width * 2**k for k in range(len(counts))]
    floors = [floor_layer(count, channels[k], channels[k + 1], 2 if k else 1, rng, groups=groups)
              for k, count in enumerate(counts)]
    connections = [new_connection(in_channels, width, k, rng) for k in range(1, len(counts))]
    head = NyangFlow(AdaptiveAvgPool1d(parts), Flatten(),
                     Linear(parts * channels[-1], num_classes, rng=rng))
    return NyangFlow(with_connections(stem, floors, connections), head)
