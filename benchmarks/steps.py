"""One training step, and one forward + backward of a single layer, per contender."""

import numpy as np

from benchmarks.models import INPUTS, build, numpy_kit, torch_kit

LAYERS = {  # name: kind, sizes, settings, input shape
    "conv 1>6 k5 28": ("conv", (1, 6, 5), dict(padding=2), (64, 1, 28, 28)),
    "conv 6>16 k5 14": ("conv", (6, 16, 5), {}, (64, 6, 14, 14)),
    "conv 16>16 32": ("conv", (16, 16, 3), dict(padding=1), (64, 16, 32, 32)),
    "conv 16>32 s2 32": ("conv", (16, 32, 3), dict(stride=2, padding=1), (64, 16, 32, 32)),
    "conv 64>64 8": ("conv", (64, 64, 3), dict(padding=1), (64, 64, 8, 8)),
    "conv 64>128 16": ("conv", (64, 128, 3), dict(padding=1), (32, 64, 16, 16)),
    "conv 256>256 8": ("conv", (256, 256, 3), dict(padding=1), (32, 256, 8, 8)),
    "conv 512>512 4": ("conv", (512, 512, 3), dict(padding=1), (32, 512, 4, 4)),
    "conv 1x1 256>64 16": ("conv", (256, 64, 1), {}, (32, 256, 16, 16)),
    "conv 32 groups 16": ("conv", (128, 128, 3), dict(padding=1, groups=32), (32, 128, 16, 16)),
    "conv depthwise 32": ("conv", (64, 64, 3), dict(padding=1, groups=64), (32, 64, 32, 32)),
    "conv dilated 32": ("conv", (32, 32, 3), dict(padding=2, dilation=2), (16, 32, 32, 32)),
    "conv1d 128 g32 92": ("conv1", (128, 128, 3), dict(padding=1, groups=32), (128, 128, 92)),
    "conv1d 1x1 128>256": ("conv1", (128, 256, 1), {}, (128, 128, 92)),
    "maxpool 2": ("maxpool", (2,), {}, (32, 64, 32, 32)),
    "maxpool 3 s2": ("maxpool", (3, 2, 1), {}, (32, 64, 32, 32)),
    "upsample 2": ("up", (), {}, (8, 64, 32, 32)),
    "batchnorm 16 32": ("norm", (16,), {}, (64, 16, 32, 32)),
    "batchnorm 64 8": ("norm", (64,), {}, (64, 64, 8, 8)),
    "relu": ("relu", (), {}, (64, 16, 32, 32)),
    "linear 400>120": ("linear", (400, 120), {}, (64, 400)),
}
RATE, MOMENTUM = 0.01, 0.9


def batch(name):
    """Draw a model's inputs and labels; the same for everybody."""
    shape, classes = INPUTS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32)
    spatial = shape[2:] if name.startswith("unet") else ()
    return x, rng.integers(0, max(classes, 1), (shape[0], *spatial))


def numpy_model_step(name, kit=None):
    """Return (step, parameters): step() trains once and returns the loss."""
    from nyang_edu.training.optimizer import SGD

    model, (x, labels) = build(name, kit or numpy_kit()), batch(name)
    optimizer = SGD(model.parameters(), RATE, MOMENTUM)
    N, flat = len(x), labels.reshape(-1)

    def loss_of(out):
        if name == "bottleneck":
            return float(out.mean()), np.full_like(out, 1 / out.size)
        scores = out - out.max(axis=1, keepdims=True)
        powers = np.exp(scores)
        powers /= powers.sum(axis=1, keepdims=True)
        rows = np.moveaxis(powers, 1, -1)  # a view, (…, classes)
        index = (*np.indices(labels.shape), labels)
        loss = float(-np.log(rows[index]).mean())
        rows[index] -= 1
        powers /= flat.size
        return loss, powers

    def step():
        optimizer.zero_grad()
        loss, dout = loss_of(model(x))
        model.backward(dout)
        optimizer.step()
        return loss

    return step, [(p.data, p.grad) for p in model.parameters()], N


def torch_model_step(name, channels_last=False):
    """Return (step, parameters) of PyTorch; the input's gradient is computed for a bare block."""
    import torch

    model, (x, labels) = build(name, torch_kit()), batch(name)
    x, labels = torch.tensor(x), torch.tensor(labels)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_(name == "bottleneck")
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM)

    def step():
        optimizer.zero_grad()
        out = model(x)
        loss = (
            out.mean() if name == "bottleneck" else torch.nn.functional.cross_entropy(out, labels)
        )
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step, list(model.parameters()), len(x)


def numpy_layer_step(name, kit=None):
    """Return (step, None): forward and backward of one layer on arrays in the layers' layout."""
    kind, sizes, settings, shape = LAYERS[name]
    layer = getattr(kit or numpy_kit(), kind)(*sizes, **settings)
    rng = np.random.default_rng(0)

    def draw(shape):
        order = (2, 1, 3, 0) if len(shape) == 4 else (1, 2, 0) if len(shape) == 3 else (0, 1)
        a = rng.standard_normal(shape, dtype=np.float32).transpose(order)
        return np.ascontiguousarray(a).transpose(np.argsort(order))

    x = draw(shape)
    dout = draw(layer(x).shape)

    def step():
        layer(x)
        return layer.backward(dout)

    return step, None, len(x)


def torch_layer_step(name, channels_last=False):
    """Return (step, None) of PyTorch's layer, the input's gradient included."""
    import torch

    kind, sizes, settings, shape = LAYERS[name]
    kit = torch_kit()
    layer = torch.nn.ReLU() if kind == "relu" else getattr(kit, kind)(*sizes, **settings)
    x = torch.randn(shape)
    if channels_last and len(shape) == 4:
        layer = layer.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    dout = torch.randn_like(layer(x))

    def step():
        x.grad = None
        layer.zero_grad()
        layer(x).backward(dout)

    return step, None, len(shape)
