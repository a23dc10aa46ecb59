# Exported from chapter 17. Change the notebook, then export again.
"""ResNet: blocks that add to what they receive, for ImageNet's sizes and for 32 × 32 images."""

import re

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import GlobalAvgPool, MaxPool2d
from nyang_edu.model.residual import Residual


def conv_norm(in_channels, out_channels, kernel_size, stride=1, rng=None):
    """List a convolution that keeps the size, apart from its stride, and its BatchNorm."""
    return [Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False,
                   rng=rng), BatchNorm2d(out_channels)]


def projection(in_channels, out_channels, stride, rng):
    """Return what makes x fit to a body's output: None, or a flow of two layers.

    Args:
        in_channels, out_channels, stride: those of the body.
        rng: the generator that draws the weights.

    Returns:
        None where x has the output's shape already; else a NyangFlow of a 1×1 convolution
        without bias and a BatchNorm2d.

    Source: He et al. (2016), section 3.3, option B.
    """
    if stride == 1 and in_channels == out_channels:
        return None
    return NyangFlow(*conv_norm(in_channels, out_channels, 1, stride, rng))


def basic_block(in_channels, out_channels, stride=1, rng=None):
    """Build the block of ResNet-18, ResNet-34 and the small ones: two 3×3 convolutions.

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, ⌈H / stride⌉, ⌈W / stride⌉).
    The body is one NyangFlow of five layers.

    Source: He et al. (2016), figure 5, left.
    """
    body = NyangFlow(*conv_norm(in_channels, out_channels, 3, stride, rng), ReLU(),
                     *conv_norm(out_channels, out_channels, 3, 1, rng))
    return Residual(body, projection(in_channels, out_channels, stride, rng), ReLU())


def stage(block, in_channels, out_channels, count, stride, rng):
    """Put count blocks in a row; the first takes in_channels and the stride.

    Args:
        block: a function (in_channels, out_channels, stride=1, rng=None) → a layer.
        in_channels, out_channels: before and after the stage.
        count: the number of blocks, at least 1.
        stride: of the first block; the others have 1.
        rng: the generator for all of them.

    Returns:
        a NyangFlow of count blocks, each one of its own.
    """
    first = block(in_channels, out_channels, stride, rng)
    others = [block(out_channels, out_channels, 1, rng) for _ in range(count - 1)]
    return NyangFlow(first, *others)


def resnet(block, counts, widths, stem, num_classes, rng):
    """Build stem → stages → mean of each map → Linear, as a NyangFlow of these parts.

    Args:
        block: basic_block or bottleneck.
        counts, widths: the number of blocks and of channels of each stage.
        stem: a NyangFlow, and the number of channels that it returns.
        num_classes: the number of logits.
        rng: the generator for all weights.
    """
    parts, channels = [stem[0]], stem[1]
    for place, (count, width) in enumerate(zip(counts, widths, strict=True)):
        parts.append(stage(block, channels, width, count, 2 if place else 1, rng))
        channels = width
    return NyangFlow(*parts, NyangFlow(GlobalAvgPool(), Linear(channels, num_classes, rng=rng)))


def resnet_small(blocks, num_classes=10, rng=None, *, in_channels=3, width=16, block=basic_block):
    """Build a ResNet for 32×32 images, of 3 · blocks blocks, 6 · blocks + 2 layers.

    Shapes: x (N, in_channels, H, W) → logits (N, num_classes). The shortcuts are option B.

    Source: He et al. (2016), section 4.2.
    """
    rng = rng or np.random.default_rng()
    stem = NyangFlow(*conv_norm(in_channels, width, 3, rng=rng), ReLU())
    widths = width, 2 * width, 4 * width
    return resnet(block, [blocks] * 3, widths, (stem, width), num_classes, rng)


def resnet20(num_classes=10, rng=None, **settings):
    """Build ResNet-20 for 32×32 images; settings as resnet_small."""
    return resnet_small(3, num_classes, rng, **settings)


def resnet32(num_classes=10, rng=None, **settings):
    """Build ResNet-32 for 32×32 images; settings as resnet_small."""
    return resnet_small(5, num_classes, rng, **settings)


def resnet44(num_classes=10, rng=None, **settings):
    """Build ResNet-44 for 32×32 images; settings as resnet_small."""
    return resnet_small(7, num_classes, rng, **settings)


def resnet56(num_classes=10, rng=None, **settings):
    """Build ResNet-56 for 32×32 images; settings as resnet_small."""
    return resnet_small(9, num_classes, rng, **settings)


def bottleneck(in_channels, out_channels, stride=1, rng=None):
    """Build the block of ResNet-50, 101 and 152: 1×1 down to out_channels / 4, 3×3, 1×1 up.

    Shapes: x (N, in_channels, H, W) → out (N, out_channels, ⌈H / stride⌉, ⌈W / stride⌉).
    The body is one NyangFlow of eight layers; the 3×3 has the stride.

    Source: He et al. (2016), figure 5, right; the stride as in torchvision.
    """
    width = out_channels // 4
    body = NyangFlow(*conv_norm(in_channels, width, 1, 1, rng), ReLU(),
                     *conv_norm(width, width, 3, stride, rng), ReLU(),
                     *conv_norm(width, out_channels, 1, 1, rng))
    return Residual(body, projection(in_channels, out_channels, stride, rng), ReLU())


def resnet_large(block, counts, num_classes=1000, rng=None):
    """Build a ResNet for 224×224 images, with torchvision's shapes.

    Shapes: x (N, 3, H, W) → logits (N, num_classes).

    Source: He et al. (2016), table 1.
    """
    rng = rng or np.random.default_rng()
    stem = NyangFlow(*conv_norm(3, 64, 7, 2, rng), ReLU(), MaxPool2d(3, 2, 1))
    widths = (64, 128, 256, 512) if block is basic_block else (256, 512, 1024, 2048)
    return resnet(block, counts, widths, (stem, 64), num_classes, rng)


def resnet18(num_classes=1000, rng=None):
    """Build ResNet-18: 11,689,512 parameters with 1000 classes."""
    return resnet_large(basic_block, (2, 2, 2, 2), num_classes, rng)


def resnet34(num_classes=1000, rng=None):
    """Build ResNet-34: 21,797,672 parameters with 1000 classes."""
    return resnet_large(basic_block, (3, 4, 6, 3), num_classes, rng)


def resnet50(num_classes=1000, rng=None):
    """Build ResNet-50: 25,557,032 parameters with 1000 classes."""
    return resnet_large(bottleneck, (3, 4, 6, 3), num_classes, rng)


def resnet101(num_classes=1000, rng=None):
    """Build ResNet-101: 44,549,160 parameters with 1000 classes."""
    return resnet_large(bottleneck, (3, 4, 23, 3), num_classes, rng)


def resnet152(num_classes=1000, rng=None):
    """Build ResNet-152: 60,192,808 parameters with 1000 classes."""
    return resnet_large(bottleneck, (3, 8, 36, 3), num_classes, rng)


def resnet_torchvision_names(model):
    """Return {name in model.state_dict(): torchvision's name} for any ResNet of this module."""
    head = len(model) - 1
    return {name: _torchvision_name(name, head) for name in model.state_dict()}


def _torchvision_name(name, head):
    """Translate "1.0.body.3.weight" into "layer1.0.conv2.weight"."""
    part, rest = name.split(".", 1)
    if int(part) == head:
        return rest.replace("1.", "fc.", 1)
    if part == "0":
        return re.sub(r"^([01])", lambda place: ("conv1", "bn1")[int(place[0])], rest)
    rest = rest.replace("shortcut", "downsample")
    return f"layer{part}." + re.sub(r"body\.(\d)", _conv_or_norm, rest)


def _conv_or_norm(place):
    """Name a place in a body; the convolutions stand at 0, 3 and 6, a norm behind each."""
    number, kind = divmod(int(place[1]), 3)
    return f"{('conv', 'bn')[kind]}{number + 1}"


def zero_last_norms(blocks):
    """Set the weight of the last BatchNorm of each body to 0, in place; all else stays.

    Args:
        blocks: a list of Residuals; each body is a NyangFlow that ends with a BatchNorm2d.

    Returns:
        how many numbers were set to 0.

    Source: Goyal et al., Accurate, large minibatch SGD (2017), section 5.1.
    """
    count = 0
    for block in blocks:
        weight = block.body[-1].weight.data
        weight[...] = 0
        count += weight.size
    return count
