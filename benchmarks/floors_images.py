"""The runs of ``benchmarks floors`` on images: VGG and ResNet-20 on drawn cats and dogs.

``degradation`` repeats the experiment of the chapter on ResNet, with three seeds and more steps.
"""

import numpy as np

from nyang_edu.data.cats_dogs import cats_dogs_loaders, draw_cats_dogs
from nyang_edu.data.digits import load_digits_5k
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.zoo import resnet as zoo
from nyang_edu.model.zoo.vgg import vgg_small
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.recipe import train_classifier

FLOOR = 0.95  # accuracy on animals that were not learned from
LEARN, TEST, STEPS = 5000, 1000, 400


def on_animals(model, lr, epochs, seed):
    """Train on the animals; return the accuracy on new ones, and the floor."""
    images, labels, *_ = draw_cats_dogs(LEARN + TEST, 32, seed)
    loaders = cats_dogs_loaders(images, labels, LEARN, seed)
    history = train_classifier(model, *loaders, lr, epochs, plot=False)
    print(history)
    return history["valid_accuracy"][-1], FLOOR


def vgg(seed):
    """Train VGG-11 with BatchNorm at its full width."""
    return on_animals(vgg_small(11, 2, np.random.default_rng(seed)), 0.05, 4, seed)


def resnet20(seed):
    """Train ResNet-20 at its full width."""
    return on_animals(zoo.resnet20(2, np.random.default_rng(seed)), 0.1, 8, seed)


def plain_block(in_channels, out_channels, stride=1, rng=None):
    """Build a basic block without its shortcut."""
    block = zoo.basic_block(in_channels, out_channels, stride, rng)
    return NyangFlow(block.body, block.after)


def degradation(seed):
    """Compare plain 20, plain 44 and residual 44 on digits, three seeds from this one on.

    The measure is the smaller of two ratios of training losses, plain 44 to plain 20 and plain 20
    to residual 44: above 1, depth hurts the plain networks and not the residual one.
    """
    images, labels = load_digits_5k()
    x = images.astype(np.float32).reshape(-1, 1, 14, 2, 14, 2).mean(axis=(3, 5))
    x = (x - x.mean()) / x.std()
    contenders = {"plain 20": (3, plain_block), "plain 44": (7, plain_block),
                  "residual 44": (7, zoo.basic_block)}
    means = {name: mean_loss(name, blocks, block, x, labels, range(seed, seed + 3))
             for name, (blocks, block) in contenders.items()}
    worse = means["plain 44"] / means["plain 20"]
    return min(worse, means["plain 20"] / means["residual 44"]), 1.0


def mean_loss(name, blocks, block, x, labels, seeds):
    """Train one network with each seed; return the mean loss of the last 50 steps."""
    tails = [losses(zoo.resnet_small(blocks, 10, np.random.default_rng(seed), in_channels=1,
                                     width=8, block=block), x, labels, seed)[-50:].mean()
             for seed in seeds]
    print(f"{name:12s} loss of the last 50 of {STEPS} steps, by seed: "
          + ", ".join(f"{tail:.3f}" for tail in tails), flush=True)
    return np.mean(tails)


def losses(model, x, labels, seed):
    """Train on random batches of 64; return the loss of each step."""
    rng, loss, found = np.random.default_rng(seed), CrossEntropyLoss(), []
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(STEPS):
        batch = rng.choice(len(x), 64, replace=False)
        optimizer.zero_grad()
        found.append(loss(model(x[batch]), labels[batch]))
        model.backward(loss.backward())
        optimizer.step()
    return np.array(found)
