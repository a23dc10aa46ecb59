# Exported from chapter 14. Change the notebook, then export again.
"""LeNet-5: two stages of convolution and pooling, then three dense layers."""

import numpy as np  # noqa: F401  for your own code

from nyang_edu.model.activation import ReLU, Tanh
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.pool import AvgPool2d, MaxPool2d
from nyang_edu.utility.init import init_for


def lenet_stage(in_channels, out_channels, padding=0, *, classic=False, rng=None):
    """List the layers of one stage: 5 × 5 convolution, activation, 2 × 2 pooling.

    Args:
        in_channels, out_channels, padding: of the convolution.
        classic: tanh and average pooling as in 1998, instead of ReLU and maximum.
        rng: np.random.Generator for the first weights, drawn as init_for(activation) says.

    Returns:
        a list of three layers: (N, in_channels, H, W) → (N, out_channels, OH, OW),
        with OH = ⌊(H + 2·padding − 4) / 2⌋.
    """
    activation, pool = (Tanh, AvgPool2d) if classic else (ReLU, MaxPool2d)
    conv = Conv2d(in_channels, out_channels, 5, padding=padding, rng=rng, init=init_for(activation))
    return [conv, activation(), pool(2)]


def lenet5(num_classes=10, in_channels=1, size=28, *, classic=False, rng=None):
    """Build LeNet-5: (N, in_channels, size, size) → logits (N, num_classes).

    Args:
        size: 28, padded by 2 in C1, or 32 as in the paper.
        classic: tanh and average pooling, instead of ReLU and maximum.
        rng: np.random.Generator from which every layer draws its first weights, in order.

    Returns:
        a NyangFlow of 12 layers.

    Raises:
        ValueError: for another size.

    Source: LeCun, Bottou, Bengio, Haffner, Gradient-based learning applied to document
    recognition (1998), section II.B; C3 here is connected to all maps of S2.
    """
    if size not in (28, 32):
        raise ValueError(f"lenet5 takes images of size 28 or 32, received {size}: resize them, "
                         "or use lenet_cats_dogs(size=...)")
    padding, activation = (2 if size == 28 else 0), (Tanh if classic else ReLU)
    hidden = init_for(activation)
    return NyangFlow(
        *lenet_stage(in_channels, 6, padding, classic=classic, rng=rng),  # (N, 6, 14, 14)
        *lenet_stage(6, 16, classic=classic, rng=rng),  # (N, 16, 5, 5)
        Flatten(),
        Linear(16 * 5 * 5, 120, rng=rng, init=hidden), activation(),
        Linear(120, 84, rng=rng, init=hidden), activation(),
        Linear(84, num_classes, rng=rng, init=init_for(None)),
    )


def lenet_cats_dogs(num_classes=2, size=224, *, rng=None):
    """Build a wider LeNet for photographs: (N, 3, size, size) → logits (N, num_classes).

    rng: as in lenet5. At size 224 the first dense layer holds 46 million weights.

    Raises:
        ValueError: for a size below 16, of which nothing would be left.
    """
    if size < 16:
        raise ValueError(f"lenet_cats_dogs takes images of at least 16 × 16, received {size}")
    side = ((size - 4) // 2 - 4) // 2  # two convolutions of 5 × 5, two halvings
    return NyangFlow(
        *lenet_stage(3, 16, rng=rng), *lenet_stage(16, 32, rng=rng),  # (N, 32, side, side)
        Flatten(), Linear(32 * side**2, 512, rng=rng, init=init_for(ReLU)), ReLU(),
        Linear(512, num_classes, rng=rng, init=init_for(None)),
    )
