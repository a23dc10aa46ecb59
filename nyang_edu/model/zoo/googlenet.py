# Exported from chapter 16. Change the notebook, then export again.
"""GoogLeNet: blocks that look with several kernel sizes at once, and heads that help to train."""

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.parallel import Auxiliary, Parallel
from nyang_edu.model.pool import AdaptiveAvgPool2d, GlobalAvgPool, MaxPool2d


def basic_conv(in_channels, out_channels, kernel_size, stride=1, rng=None):
    """Build a convolution that keeps the size, apart from its stride, its BatchNorm and a ReLU."""
    conv = Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False,
                  rng=rng)
    return NyangFlow(conv, BatchNorm2d(out_channels, eps=1e-3), ReLU())


def inception(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj, widest=5, rng=None):
    """Build a block of four branches: 1×1 | 1×1, 3×3 | 1×1, 5×5 | 3×3 maximum, 1×1.

    Shapes: x (N, in_channels, H, W) → out (N, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W).
    A Parallel of a basic_conv and three NyangFlows of two layers; widest is the third branch's
    kernel size.

    Source: Szegedy et al. (2015), figure 2b and table 1.
    """
    def conv(into, out, kernel_size):
        return basic_conv(into, out, kernel_size, rng=rng)

    return Parallel(
        conv(in_channels, ch1x1, 1),
        NyangFlow(conv(in_channels, ch3x3red, 1), conv(ch3x3red, ch3x3, 3)),
        NyangFlow(conv(in_channels, ch5x5red, 1), conv(ch5x5red, ch5x5, widest)),
        NyangFlow(MaxPool2d(3, 1, 1), conv(in_channels, pool_proj, 1)))


GOOGLENET_BLOCKS = {  # block: 1×1, 3×3 reduced, 3×3, 5×5 reduced, 5×5, pooling projected
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


def inceptions(in_channels, rows, widest=5, rng=None):
    """List inception blocks, each of which takes what the one before it returns.

    Args:
        in_channels: of the first block.
        rows: for each block its six numbers, in the order of inception's arguments.
        widest, rng: for all of them.
    """
    blocks = []
    for ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj in rows:
        blocks.append(inception(in_channels, ch1x1, ch3x3red, ch3x3, ch5x5red, ch5x5, pool_proj,
                                widest, rng))
        in_channels = ch1x1 + ch3x3 + ch5x5 + pool_proj
    return blocks


def auxiliary_head(in_channels, num_classes, neck=128, hidden=1024, dropout=0.7, rng=None):
    """Build a small classifier for maps inside a network: a NyangFlow of seven layers.

    Shapes: x (N, in_channels, H, W) → logits (N, num_classes), for any H and W.

    Source: Szegedy et al. (2015), section 5; the pooling to 4×4 as in torchvision.
    """
    return NyangFlow(
        AdaptiveAvgPool2d(4), basic_conv(in_channels, neck, 1, rng=rng), Flatten(),
        Linear(neck * 4 * 4, hidden, rng=rng), ReLU(), Dropout(dropout, rng=rng),
        Linear(hidden, num_classes, rng=rng))


def forked(layers, head):
    """Return the layers as they are, or as the trunk of an Auxiliary where there is a head."""
    return layers if head is None else [Auxiliary(NyangFlow(*layers), head)]


def assemble(stem, num_classes, rng, *, widest, shrink=1, aux_logits=False, dropout=0.2,
             dropout_aux=0.7):
    """Wire stem → 3a 3b → pool → 4a … 4e → pool → 5a 5b → tail, with heads behind 4a and 4d.

    Args:
        stem: a list of layers that returns 192 // shrink channels.
        num_classes, rng, aux_logits: as googlenet; dropout, dropout_aux: of the tail, the heads.
        widest: the large kernel's size; shrink: what the paper's widths are divided by.
    """
    rows = [[n // shrink for n in row] for row in GOOGLENET_BLOCKS.values()]
    blocks = inceptions(192 // shrink, rows, widest, rng)
    tail = [GlobalAvgPool(), Dropout(dropout, rng=rng),
            Linear(1024 // shrink, num_classes, rng=rng)]
    heads = [auxiliary_head(channels // shrink, num_classes, 128 // shrink, 1024 // shrink,
                            dropout_aux, rng)
             for channels in (512, 528)] if aux_logits else (None, None)
    end = [blocks[6], MaxPool2d(2, 2, ceil_mode=True), *blocks[7:], *tail]
    middle = [*blocks[3:6], *forked(end, heads[1])]
    return NyangFlow(*stem, *blocks[:2], MaxPool2d(3, 2, ceil_mode=True), blocks[2],
                     *forked(middle, heads[0]))


def googlenet(num_classes=1000, rng=None, *, aux_logits=False, **settings):
    """Build GoogLeNet for 224×224 images: 6,624,904 parameters with 1000 classes.

    Shapes: x (N, 3, H, W) → logits (N, num_classes); with aux_logits (6,379,984 parameters
    more) in training (3·N, num_classes): the main head, the second, the first; see AuxiliaryLoss.
    settings: dropout and dropout_aux of assemble.

    Source: Szegedy et al. (2015), table 1; BatchNorm and kernel sizes as in torchvision.
    """
    rng = rng or np.random.default_rng()
    stem = [basic_conv(3, 64, 7, 2, rng), MaxPool2d(3, 2, ceil_mode=True),
            basic_conv(64, 64, 1, rng=rng), basic_conv(64, 192, 3, rng=rng),
            MaxPool2d(3, 2, ceil_mode=True)]
    return assemble(stem, num_classes, rng, widest=3, aux_logits=aux_logits, **settings)


def googlenet_small(num_classes=10, rng=None, *, in_channels=3, shrink=8, aux_logits=False,
                    **settings):
    """Build GoogLeNet for 32×32 images, its widths divided by shrink, its wide kernels 5×5.

    shrink: 1, 2, 4 or 8. Shapes and the other arguments as googlenet.
    """
    rng = rng or np.random.default_rng()
    stem = [basic_conv(in_channels, 192 // shrink, 3, rng=rng), MaxPool2d(3, 2, ceil_mode=True)]
    return assemble(stem, num_classes, rng, widest=5, shrink=shrink, aux_logits=aux_logits,
                    **settings)


def main_path(model):
    """List the layers from input to logits, the heads left out; they are the model's own."""
    layers = []
    for layer in model:
        layers += main_path(layer[0]) if isinstance(layer, Auxiliary) else [layer]
    return layers


def auxiliary_heads(model):
    """List the heads, the first one first."""
    forks = [layer for _, layer in model.named_layers() if isinstance(layer, Auxiliary)]
    return [fork[1] for fork in forks]


def googlenet_torchvision_names(model):
    """Return {name in model.state_dict(): torchvision's name} for a GoogLeNet, small ones too."""
    path = main_path(model)
    inside = [f"inception{name}" for name in GOOGLENET_BLOCKS]
    parts = ["conv1", "maxpool1", "conv2", "conv3", "maxpool2"][:len(path) - 14]
    parts += [*inside[:2], "maxpool3", *inside[2:7], "maxpool4", *inside[7:]]
    pairs = [*zip([*parts, "avgpool", "dropout", "fc"], path, strict=True),
             *zip(("aux1", "aux2"), auxiliary_heads(model))]
    own = {id(array): name for name, array in model.named_arrays()}
    return {own[id(array)]: f"{part}.{_inner_name(part, name)}"
            for part, layer in pairs for name, array in layer.named_arrays()}


def _inner_name(part, name):
    """Translate a name inside a part, as "2.1.0.weight" into "branch3.1.conv.weight"."""
    *places, attribute = name.split(".")
    if part.startswith("inception"):
        places[0] = f"branch{int(places[0]) + 1}"
    if part.startswith("aux"):
        places[0] = {"1": "conv", "3": "fc1", "6": "fc2"}[places[0]]
    if places and places[-1] in ("0", "1"):
        places[-1] = ("conv", "bn")[int(places[-1])]
    return ".".join([*places, attribute])
