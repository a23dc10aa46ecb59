# Exported from chapter 19. Change the notebook, then export again.
"""U-Net: an encoder whose maps skip to the decoder; with convolutions of its own, or ResNet-50."""

from itertools import pairwise

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.conv import Conv2d
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.norm import BatchNorm2d
from nyang_edu.model.pool import MaxPool2d
from nyang_edu.model.resample import Upsample
from nyang_edu.model.skip import SideHead, SideOutputs, SkipConcat
from nyang_edu.model.zoo.resnet import resnet50, resnet_torchvision_names


def double_conv(in_channels, out_channels, rng=None, dropout=0.2):
    """Build conv 3×3 → BatchNorm → ReLU → Dropout → conv 3×3 → BatchNorm → ReLU, as a NyangFlow.

    The convolutions keep the size and have no bias; dropout is the share that is dropped.
    Weights and dropout draw from rng.
    Shapes: x (N, in_channels, H, W) → out (N, out_channels, H, W).

    Source: Ronneberger et al. (2015), section 2; BatchNorm and the padding came later.
    """
    return NyangFlow(
        Conv2d(in_channels, out_channels, 3, padding=1, bias=False, rng=rng),
        BatchNorm2d(out_channels), ReLU(), Dropout(dropout, rng=rng),
        Conv2d(out_channels, out_channels, 3, padding=1, bias=False, rng=rng),
        BatchNorm2d(out_channels), ReLU())


def unet_level(stage, deeper, in_channels, out_channels, rng=None, dropout=0.2):
    """Nest a level around what is deeper: stage → skip around (deeper → ×2 bilinear) → double_conv.

    Args:
        stage: a layer, (N, ·, H, W) → (N, C, H, W).
        deeper: a layer, (N, C, H, W) → (N, D, H/2, W/2).
        in_channels, out_channels, rng, dropout: of the double_conv; in_channels is C + D.

    Returns:
        a NyangFlow of three layers, (N, ·, H, W) → (N, out_channels, H, W).
    """
    raised = NyangFlow(deeper, Upsample(scale_factor=2, mode="bilinear"))
    return NyangFlow(stage, SkipConcat(raised),
                     double_conv(in_channels, out_channels, rng, dropout))


def unet_nest(stages, channels, widths, num_classes=1, rng=None, *, dropout=0.2,
              deep_supervision=False):
    """Nest an encoder's stages into a U: the innermost level first, each in the one above.

    Args:
        stages: layers from the finest to the coarsest; each but the first halves the maps.
        channels: what each stage returns.
        widths: what each level but the coarsest returns on the way up, one fewer.
        num_classes, deep_supervision: whether each level below the finest gets a SideHead.
        rng, dropout: as double_conv.
    """
    body, deep = stages[-1], channels[-1]
    for k in reversed(range(len(widths))):
        body = unet_level(stages[k], body, channels[k] + deep, widths[k], rng, dropout)
        deep = widths[k]
        if deep_supervision and k > 0:
            body = NyangFlow(body, SideHead(Conv2d(deep, num_classes, 1, rng=rng)))
    return body


def unet(in_channels=3, num_classes=1, width=64, depth=4, rng=None, *, dropout=0.2,
         deep_supervision=False):
    """Build a U-Net: depth poolings, width · 2^k channels at level k, bilinear upsampling.

    Shapes: x (N, in_channels, H, W) → logits (N, num_classes, H, W); 2^depth divides H and W.
    With deep_supervision, in training, a list of logits: also those of the coarser levels.

    Source: Ronneberger, Fischer, Brox, U-Net (2015), figure 1.
    """
    rng = rng or np.random.default_rng()
    channels = [width * 2**k for k in range(depth + 1)]
    stages = [double_conv(in_channels, width, rng, dropout)]
    stages += [NyangFlow(MaxPool2d(2), double_conv(own, deeper, rng, dropout))
               for own, deeper in pairwise(channels)]
    body = unet_nest(stages, channels, channels[:-1], num_classes, rng, dropout=dropout,
                     deep_supervision=deep_supervision)
    model = NyangFlow(body, Conv2d(width, num_classes, 1, rng=rng))
    return SideOutputs(model) if deep_supervision else model


def unet_resnet50(num_classes=1, weights=None, rng=None):
    """Build a U-Net whose encoder is ResNet-50: stages at 1/2, 1/4, 1/8, 1/16 and 1/32.

    Shapes: x (N, 3, H, W), 32 dividing H and W → logits (N, num_classes, H, W). weights: a
    state_dict of ResNet-50 with torchvision's names, for the encoder; None draws it.

    Raises:
        ValueError: where weights lacks an array of the encoder, or one has another shape.

    Source: Ronneberger et al. (2015); He et al. (2016), table 1.
    """
    rng = rng or np.random.default_rng()
    backbone = resnet50(1, rng)
    if weights is not None:
        names = resnet_torchvision_names(backbone)
        state = {own: weights[name] for own, name in names.items() if name in weights}
        own_head = {own: array for own, array in backbone.state_dict().items()
                    if names[own].startswith("fc.")}
        backbone.load_state_dict(state | own_head)
    stem = backbone[0]
    stages = [stem[:3], NyangFlow(stem[3:], backbone[1]), *backbone[2:5]]
    body = unet_nest(stages, (64, 256, 512, 1024, 2048), (64, 128, 256, 512), rng=rng)
    return NyangFlow(body, Upsample(scale_factor=2, mode="bilinear"), double_conv(64, 32, rng),
                     Conv2d(32, num_classes, 1, rng=rng))
