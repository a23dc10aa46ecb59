# Exported from chapter 15. Change the notebook, then export again.
"""VGG: stacks of 3×3 convolutions written as lists, with and without BatchNorm."""

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.named_flow import NamedFlow
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import AdaptiveAvgPool2d, GlobalAvgPool, MaxPool2d
from nyang_edu.model.zoo.alexnet import dense_relu
from nyang_edu.utility.init import init_for

VGG_CONFIGS = {  # a number: a 3×3 convolution with so many maps; "M": a pooling
    11: (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    13: (64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"),
    16: (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"),
    19: (64, 64, "M", 128, 128, "M", 256, 256, 256, 256, "M", 512, 512, 512, 512, "M",
         512, 512, 512, 512, "M"),
}


def vgg_layers(config, batch_norm=False, rng=None):
    """Build the convolutions and poolings of a VGG as one NyangFlow.

    Args:
        config: numbers and "M", as in VGG_CONFIGS; the image has 3 channels.
        batch_norm: put a BatchNorm2d between each convolution and its ReLU.
        rng: the generator that draws the weights.

    Shapes: x (N, 3, H, W) → out (N, the last number, H / 2^m, W / 2^m) for m times "M".

    Source: Simonyan, Zisserman, Very deep convolutional networks (2015), table 1.
    """
    layers, channels = [], 3
    for entry in config:
        if entry == "M":
            layers.append(MaxPool2d(2))
            continue
        layers.append(Conv2d(channels, entry, 3, padding=1, rng=rng))
        layers += [BatchNorm2d(entry), ReLU()] if batch_norm else [ReLU()]
        channels = entry
    return NyangFlow(*layers)


def vgg(depth, batch_norm, num_classes=1000, rng=None, dropout=0.5, *, hidden=4096):
    """Build a VGG for 224×224 images, with torchvision's shapes and names.

    Args:
        depth: 11, 13, 16 or 19.
        batch_norm: put a BatchNorm2d behind every convolution.
        num_classes: the number of logits.
        rng: the generator for weights and Dropout.
        dropout: the share that is left out behind each of the two hidden dense layers.
        hidden: the width of those two.

    Shapes: x (N, 3, H, W), H and W at least 32 → logits (N, num_classes).

    Source: Simonyan, Zisserman (2015), table 1; BatchNorm as in torchvision.
    """
    rng = rng or np.random.default_rng()
    return NamedFlow(
        features=vgg_layers(VGG_CONFIGS[depth], batch_norm, rng),
        avgpool=AdaptiveAvgPool2d(7), flatten=Flatten(),
        classifier=NyangFlow(
            *dense_relu(512 * 7 * 7, hidden, rng), Dropout(dropout, rng=rng),
            *dense_relu(hidden, hidden, rng), Dropout(dropout, rng=rng),
            Linear(hidden, num_classes, rng=rng, init=init_for(None))))


def vgg_small(depth, num_classes=10, rng=None, *, batch_norm=True, width=64):
    """Build a VGG for 32×32 images: width maps in the first stage, one dense layer.

    Shapes: x (N, 3, H, W), H and W at least 32 → logits (N, num_classes).
    """
    rng = rng or np.random.default_rng()
    config = [n if n == "M" else n * width // 64 for n in VGG_CONFIGS[depth]]
    return NamedFlow(features=vgg_layers(config, batch_norm, rng), pool=GlobalAvgPool(),
                     classifier=Linear(8 * width, num_classes, rng=rng, init=init_for(None)))


def vgg11(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-11: 132,863,336 parameters with 1000 classes."""
    return vgg(11, False, num_classes, rng, dropout)


def vgg11_bn(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-11 with BatchNorm: 132,868,840 parameters with 1000 classes."""
    return vgg(11, True, num_classes, rng, dropout)


def vgg13(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-13: 133,047,848 parameters with 1000 classes."""
    return vgg(13, False, num_classes, rng, dropout)


def vgg13_bn(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-13 with BatchNorm: 133,053,736 parameters with 1000 classes."""
    return vgg(13, True, num_classes, rng, dropout)


def vgg16(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-16: 138,357,544 parameters with 1000 classes."""
    return vgg(16, False, num_classes, rng, dropout)


def vgg16_bn(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-16 with BatchNorm: 138,365,992 parameters with 1000 classes."""
    return vgg(16, True, num_classes, rng, dropout)


def vgg19(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-19: 143,667,240 parameters with 1000 classes."""
    return vgg(19, False, num_classes, rng, dropout)


def vgg19_bn(num_classes=1000, rng=None, dropout=0.5):
    """Build VGG-19 with BatchNorm: 143,678,248 parameters with 1000 classes."""
    return vgg(19, True, num_classes, rng, dropout)
