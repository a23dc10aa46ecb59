"""Run ``python -m benchmarks loader``: how long does training wait for its batches?

JPEG files of 64 × 64 pixels are decoded and augmented in five ways while a small network
trains; the loader's threads and the network's share the same cores.
"""

import argparse
import tempfile
import time
from functools import partial

GOAL = 0.10  # of the time of an epoch


def five_steps():
    """Make the five augmentations."""
    from nyang_edu.data.transforms import load_albumentations

    A = load_albumentations()
    return [
        A.HorizontalFlip(p=0.5),
        A.Affine(rotate=(-15, 15), scale=(0.85, 1.15), translate_percent=(-0.1, 0.1), p=1),
        A.RandomBrightnessContrast(0.2, 0.2, p=1),
        A.GaussNoise(std_range=(0.01, 0.05), p=1),
        A.GaussianBlur(blur_limit=(3, 5), p=0.5),
    ]


def network(kit):
    """Four blocks of convolution, BatchNorm, ReLU and pooling, for 3 × 64 × 64 → 2 classes."""
    layers, channels = [], 3
    for out in (16, 32, 64, 64):
        layers += [kit.conv(channels, out, 3, padding=1, first=channels == 3), kit.norm(out),
                   kit.relu(), kit.maxpool(2)]
        channels = out
    return kit.flow(*layers, kit.flatten(), kit.linear(64 * 16, 2))


def training_step():
    """Return a function that trains a fresh network on one batch (x, y)."""
    from benchmarks.models import numpy_kit
    from nyang_edu import SGD, CrossEntropyLoss

    model, loss = network(numpy_kit()), CrossEntropyLoss()
    optimizer = SGD(model.parameters(), 0.01, 0.9)

    def step(x, y):
        optimizer.zero_grad()
        value = loss.forward(model(x), y)
        model.backward(loss.backward())
        optimizer.step()
        return value

    return step


def epoch(loader, step):
    """Train for an epoch; return the seconds of waiting, of all, and the number of images."""
    batches, waiting, images = iter(loader), 0.0, 0
    begin = time.perf_counter()
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        waiting += time.perf_counter() - asked
        if batch is None:
            return waiting, time.perf_counter() - begin, images
        step(*batch)
        images += len(batch[0])


def measure(make_loader, workers, rounds):
    """Run epochs with each number of workers in turn; list their (waiting, all, images)."""
    step, results = training_step(), {count: [] for count in workers}
    next(iter(make_loader(workers=0)))  # what is imported on first use does not count
    loaders = {count: make_loader(workers=count) for count in workers}
    for i in range(rounds):
        for count in list(workers)[:: 1 if i % 2 == 0 else -1]:
            results[count].append(epoch(loaders[count], step))
    return results


def main(arguments=None):
    """Write the files, measure, print the table; the exit code says whether the goal is met."""
    parser = argparse.ArgumentParser(prog="benchmarks loader", description=__doc__)
    parser.add_argument("--images", type=int, default=1920)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of the layers")
    options = parser.parse_args(arguments)
    from benchmarks.worker import prepare
    from nyang_edu.data.cats_dogs import write_cats_dogs
    from nyang_edu.data.dataset import NyangNyangDataset
    from nyang_edu.data.loader import NyangDataLoader
    from nyang_edu.data.transforms import NyangTransform

    print(prepare("numpy", options.threads))
    with tempfile.TemporaryDirectory() as folder:
        write_cats_dogs(folder + "/train", options.images)
        dataset = NyangNyangDataset(folder, None, (1.0, 0.0, 0.0), "train",
                                    NyangTransform(five_steps), on_error="defer")
        make_loader = partial(NyangDataLoader, dataset, options.batch, shuffle=True)
        results = measure(make_loader, options.workers, options.rounds)
    return report(results, options)


def report(results, options):
    """Print the median epoch of each number of workers; return 0 where the last meets the goal."""
    print(f"{options.images} JPEG files of 64 × 64, five augmentations, batches of "
          f"{options.batch}, {options.rounds} epochs each\n"
          "workers  training waits  (range over epochs)  images/s")
    for count, epochs in results.items():
        shares = sorted(waiting / total for waiting, total, _ in epochs)
        rates = sorted(images / total for _, total, images in epochs)
        middle = shares[len(shares) // 2]
        print(f"{count:7d} {middle:14.1%}   {shares[0]:7.1%} – {shares[-1]:6.1%}"
              f" {rates[len(rates) // 2]:14.0f}")
    met = middle < GOAL
    print(f"{count} workers, waiting under {GOAL:.0%}: {'yes' if met else 'no'}")
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
