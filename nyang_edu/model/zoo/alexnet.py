# Exported from chapter 15. Change the notebook, then export again.
"""AlexNet: five convolutions and three dense layers, for large images and for small ones."""

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.named_flow import NamedFlow
from nyang_edu.model.pool import AdaptiveAvgPool2d, MaxPool2d
from nyang_edu.utility.init import init_for


def conv_relu(in_channels, out_channels, kernel_size, stride, padding, rng):
    """List a convolution and its ReLU."""
    return [Conv2d(in_channels, out_channels, kernel_size, stride, padding, rng=rng), ReLU()]


def alexnet_features(first=(11, 4, 2), channels=(64, 192, 384, 256, 256), rng=None):
    """Build AlexNet's convolutions and poolings as one NyangFlow of 13 layers.

    Args:
        first: kernel size, stride and padding of the first convolution. The second has a
            5×5 kernel, the others 3×3; their stride is 1, and their padding keeps the size.
        channels: of the five convolutions.
        rng: the generator that draws the weights.

    Shapes: x (N, 3, H, W) → out (N, channels[4], OH, OW). Poolings: windows of 3, stride 2.

    Source: Krizhevsky, One weird trick for parallelizing convolutional neural networks (2014).
    """
    a, b, c, d, e = channels
    return NyangFlow(
        *conv_relu(3, a, *first, rng), MaxPool2d(3, 2),
        *conv_relu(a, b, 5, 1, 2, rng), MaxPool2d(3, 2),
        *conv_relu(b, c, 3, 1, 1, rng),
        *conv_relu(c, d, 3, 1, 1, rng),
        *conv_relu(d, e, 3, 1, 1, rng), MaxPool2d(3, 2))


def dense_relu(in_features, out_features, rng):
    """List a dense layer and its ReLU."""
    return [Linear(in_features, out_features, rng=rng, init=init_for(ReLU)), ReLU()]


def alexnet_around(features, channels, side, hidden, num_classes, rng, dropout):
    """Build features → side × side means → three dense layers with Dropout before two."""
    return NamedFlow(
        features=features, avgpool=AdaptiveAvgPool2d(side), flatten=Flatten(),
        classifier=NyangFlow(
            Dropout(dropout, rng=rng), *dense_relu(channels * side**2, hidden, rng),
            Dropout(dropout, rng=rng), *dense_relu(hidden, hidden, rng),
            Linear(hidden, num_classes, rng=rng, init=init_for(None))))


def alexnet(num_classes=1000, rng=None, dropout=0.5):
    """Build AlexNet with torchvision's shapes and names: 61,100,840 parameters.

    Shapes: x (N, 3, H, W), H and W at least 63 → logits (N, num_classes).

    Source: Krizhevsky, Sutskever, Hinton, ImageNet classification with deep convolutional
    neural networks (2012), section 3; widths as in Krizhevsky (2014).
    """
    rng = rng or np.random.default_rng()
    return alexnet_around(alexnet_features(rng=rng), 256, 6, 4096, num_classes, rng, dropout)


def alexnet_small(num_classes=10, rng=None, *, width=64, dropout=0.5):
    """Build an AlexNet for 32×32 images: a first window of 5×5, width maps, and 3×3 places.

    Shapes: x (N, 3, H, W), H and W at least 15 → logits (N, num_classes).
    """
    rng = rng or np.random.default_rng()
    channels = [n * width // 64 for n in (64, 192, 384, 256, 256)]
    features = alexnet_features((5, 1, 2), channels, rng)
    return alexnet_around(features, channels[-1], 3, 16 * width, num_classes, rng, dropout)
