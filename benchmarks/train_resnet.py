"""Run ``python -m benchmarks.train_resnet``: ResNet-20 at full width on drawn cats and dogs.

With ``--degradation``: plain 20, plain 44 and residual 44 on digits, three seeds, more steps.
"""

import argparse
import time

import numpy as np

from nyang_edu.data.cats_dogs import draw_cats_dogs
from nyang_edu.data.dataset import ArrayDataset
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.zoo.resnet import basic_block, resnet_small
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.scheduler import CosineDecay, WarmUp
from nyang_edu.training.train import nyang_train

FLOOR = 0.95  # accuracy on animals that were not learned from


def plain_block(in_channels, out_channels, stride=1, rng=None):
    """Build a basic block without its shortcut."""
    block = basic_block(in_channels, out_channels, stride, rng)
    return NyangFlow(block.body, block.after)


def mirrored(image, rng):
    """Mirror every second image (C, H, W)."""
    return image[:, :, ::-1] if rng.random() < 0.5 else image


def animals(options):
    """Train on the animals; return whether the floor is met."""
    photos, kinds, *_ = draw_cats_dogs(options.images + 1000, 32, options.seed)
    x = ((photos / 255 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2).copy()
    cut = options.images
    train_set = NyangDataLoader(ArrayDataset(x[:cut], kinds[:cut], mirrored), 64, shuffle=True,
                                drop_last=True, seed=options.seed)
    test_set = NyangDataLoader(ArrayDataset(x[cut:], kinds[cut:]), 250)
    model = resnet_small(options.blocks, 2, np.random.default_rng(options.seed),
                         width=options.width)
    optimizer = SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = options.epochs * len(train_set)
    rise = max(1, steps // 5)
    schedule = WarmUp(optimizer, rise, CosineDecay(optimizer, steps - rise, every="step"),
                      every="step")
    history = nyang_train(model, optimizer, CrossEntropyLoss(), train_set, test_set,
                          options.epochs, scheduler=schedule, plot=False)
    print(history)
    return history["valid_accuracy"][-1] >= FLOOR


def degradation(options):
    """Compare training losses of three networks; return whether depth hurts only the plain one."""
    images, labels = load_digits_5k()
    x = images.astype(np.float32).reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5))
    x = (x - x.mean()) / x.std()
    contenders = {"plain 20": (3, plain_block), "plain 44": (7, plain_block),
                  "residual 44": (7, basic_block)}
    means = {}
    for name, (blocks, block) in contenders.items():
        runs = [losses(resnet_small(blocks, 10, np.random.default_rng(seed), in_channels=1,
                                    width=8, block=block), x, labels, options.steps, seed)
                for seed in range(3)]
        means[name] = np.mean([run[-50:].mean() for run in runs])
        tails = ", ".join(f"{run[-50:].mean():.3f}" for run in runs)
        print(f"{name:12s} loss of the last 50 of {options.steps} steps, by seed: {tails}")
    return means["residual 44"] < means["plain 20"] < means["plain 44"]


def losses(model, x, labels, steps, seed):
    """Train on random batches of 64; return the loss of each step."""
    rng, loss, found = np.random.default_rng(seed), CrossEntropyLoss(), []
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        batch = rng.choice(len(x), 64, replace=False)
        optimizer.zero_grad()
        found.append(loss(model(x[batch]), labels[batch]))
        model.backward(loss.backward())
        optimizer.step()
    return np.array(found)


def main():
    """Run, print the minutes; the exit code says whether it came out as it should."""
    parser = argparse.ArgumentParser(prog="benchmarks.train_resnet", description=__doc__)
    parser.add_argument("--degradation", action="store_true")
    parser.add_argument("--blocks", type=int, default=3, help="per stage: 3 is ResNet-20")
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=400, help="of the degradation runs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    started = time.perf_counter()
    held = (degradation if options.degradation else animals)(options)
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes; as it should be: {held}")
    return 0 if held else 1


if __name__ == "__main__":
    raise SystemExit(main())
