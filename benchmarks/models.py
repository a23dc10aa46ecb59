"""The measured networks, written once and built from this framework's layers or PyTorch's.

``kit`` is a namespace with the layers' names: ``numpy_kit()``, ``torch_kit()`` or
``textbook.kit()``. Parameters come in the same order everywhere, so weights can be copied.
"""

import types

INPUTS = {  # model: the batch's shape, the number of classes
    "lenet5": ((64, 1, 28, 28), 10),
    "vgg11_bn": ((32, 3, 32, 32), 10),
    "resnet20": ((64, 3, 32, 32), 10),
    "bottleneck": ((32, 256, 16, 16), 0),
    "resnext1d": ((128, 1, 183), 5),
    "unet64": ((8, 3, 64, 64), 2),
    "unet128": ((8, 3, 128, 128), 2),
    "separable": ((32, 3, 32, 32), 10),
}


def numpy_kit():
    """Collect this framework's layers."""
    from benchmarks import framework as f

    def conv(layer):
        def make(*sizes, bias=False, first=False, **more):
            return layer(*sizes, bias=bias, input_grad=not first, **more)

        return make

    return types.SimpleNamespace(
        conv1=conv(f.Conv1d),
        conv=conv(f.Conv2d),
        norm1=f.BatchNorm1d,
        norm=f.BatchNorm2d,
        relu=f.ReLU,
        maxpool=f.MaxPool2d,
        mean=f.GlobalAvgPool,
        flatten=f.Flatten,
        linear=f.Linear,
        flow=f.NyangFlow,
        skip=f.SkipConcat,
        up=lambda: f.Upsample(None, 2),
        residual=lambda body, short=None: f.Residual(body, short, f.ReLU()),
    )


def torch_kit():
    """Collect PyTorch's layers, in the form that its users write."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self, body, shortcut=None):
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x):
            short = x if self.shortcut is None else self.shortcut(x)
            return nn.functional.relu(self.body(x) + short, inplace=True)

    class SkipConcat(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.body = body

        def forward(self, x):
            return torch.cat([x, self.body(x)], 1)

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean(tuple(range(2, x.ndim)))

    def conv(layer):
        def make(*sizes, bias=False, first=False, **more):
            return layer(*sizes, bias=bias, **more)

        return make

    return types.SimpleNamespace(
        conv1=conv(nn.Conv1d),
        conv=conv(nn.Conv2d),
        norm1=nn.BatchNorm1d,
        norm=nn.BatchNorm2d,
        relu=lambda: nn.ReLU(inplace=True),
        maxpool=nn.MaxPool2d,
        mean=Mean,
        flatten=nn.Flatten,
        linear=nn.Linear,
        flow=nn.Sequential,
        skip=SkipConcat,
        residual=Residual,
        up=lambda: nn.Upsample(scale_factor=2),
    )


def build(name, kit):
    """Build a model by name from a kit."""
    return BUILDERS[name](kit)


def lenet5(k):
    """LeNet-5 with ReLU and max pooling: 61,706 parameters."""
    return k.flow(
        k.conv(1, 6, 5, padding=2, bias=True, first=True),
        k.relu(),
        k.maxpool(2),
        k.conv(6, 16, 5, bias=True),
        k.relu(),
        k.maxpool(2),
        k.flatten(),
        k.linear(400, 120),
        k.relu(),
        k.linear(120, 84),
        k.relu(),
        k.linear(84, 10),
    )


def vgg11_bn(k):
    """VGG-11 with BatchNorm for 32 × 32 images."""
    layers, channels = [], 3
    for out in (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"):
        if out == "M":
            layers.append(k.maxpool(2))
        else:
            layers += [
                k.conv(channels, out, 3, padding=1, first=channels == 3),
                k.norm(out),
                k.relu(),
            ]
            channels = out
    return k.flow(*layers, k.flatten(), k.linear(512, 10))


def _basic(k, channels, out, stride):
    body = k.flow(
        k.conv(channels, out, 3, stride, 1),
        k.norm(out),
        k.relu(),
        k.conv(out, out, 3, padding=1),
        k.norm(out),
    )
    return k.residual(
        body, k.flow(k.conv(channels, out, 1, stride), k.norm(out)) if stride > 1 else None
    )


def resnet20(k):
    """ResNet-20 for 32 × 32 images, with projections."""
    layers, channels = [k.conv(3, 16, 3, padding=1, first=True), k.norm(16), k.relu()], 16
    for out in (16, 16, 16, 32, 32, 32, 64, 64, 64):
        layers.append(_basic(k, channels, out, 1 if out == channels else 2))
        channels = out
    return k.flow(*layers, k.mean(), k.linear(64, 10))


def bottleneck(k):
    """One ResNet-50 bottleneck: 256 → 64 → 64 → 256 channels."""
    return k.residual(
        k.flow(
            k.conv(256, 64, 1),
            k.norm(64),
            k.relu(),
            k.conv(64, 64, 3, padding=1),
            k.norm(64),
            k.relu(),
            k.conv(64, 256, 1),
            k.norm(256),
        )
    )


def resnext1d(k):
    """A ResNeXt for signals: a stem and four blocks of 32 groups."""

    def block(channels, middle, out, stride):
        body = k.flow(
            k.conv1(channels, middle, 1),
            k.norm1(middle),
            k.relu(),
            k.conv1(middle, middle, 3, stride, 1, groups=32),
            k.norm1(middle),
            k.relu(),
            k.conv1(middle, out, 1),
            k.norm1(out),
        )
        plain = stride == 1 and channels == out
        return k.residual(
            body, None if plain else k.flow(k.conv1(channels, out, 1, stride), k.norm1(out))
        )

    return k.flow(
        k.conv1(1, 64, 7, 2, 3, first=True),
        k.norm1(64),
        k.relu(),
        block(64, 128, 256, 1),
        block(256, 128, 256, 1),
        block(256, 256, 512, 2),
        block(512, 256, 512, 1),
        k.mean(),
        k.linear(512, 5),
    )


def unet(k, channels=16, depth=3):
    """A U-Net, nested: a level is [x, up(deeper(pool(x)))]."""

    def double(into, out, first=False):
        return [
            k.conv(into, out, 3, padding=1, first=first),
            k.norm(out),
            k.relu(),
            k.conv(out, out, 3, padding=1),
            k.norm(out),
            k.relu(),
        ]

    deep = channels * 2**depth
    inner = double(deep // 2, deep)
    for level in reversed(range(depth)):
        out = channels * 2**level
        inner = [
            *double(3 if level == 0 else out // 2, out, level == 0),
            k.skip(k.flow(k.maxpool(2), *inner, k.up())),
            *double(3 * out, out),
        ]
    return k.flow(*inner, k.conv(channels, 2, 1, bias=True))


def separable(k):
    """Depthwise-separable blocks as in MobileNet, for 32 × 32 images."""
    layers, channels = [k.conv(3, 32, 3, padding=1, first=True), k.norm(32), k.relu()], 32
    for out, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1)):
        layers += [
            k.conv(channels, channels, 3, stride, 1, groups=channels),
            k.norm(channels),
            k.relu(),
            k.conv(channels, out, 1),
            k.norm(out),
            k.relu(),
        ]
        channels = out
    return k.flow(*layers, k.mean(), k.linear(256, 10))


BUILDERS = dict(
    lenet5=lenet5,
    vgg11_bn=vgg11_bn,
    resnet20=resnet20,
    bottleneck=bottleneck,
    resnext1d=resnext1d,
    unet64=unet,
    unet128=unet,
    separable=separable,
)
