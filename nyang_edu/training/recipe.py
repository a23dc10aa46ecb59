"""One recipe for image classifiers: what the architectures' chapters and benchmarks share.

SGD with Nesterov momentum and weight decay; the rate rises for a fifth of the steps, then falls
along a cosine. Networks trained by it differ in nothing but themselves.
"""

from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.scheduler import CosineDecay, WarmUp
from nyang_edu.training.train import nyang_train

__all__ = ["train_classifier"]


def train_classifier(model, train_set, test_set, lr, epochs, **options):
    """Train a classifier by the recipe and return its History.

    Args:
        model: a NyangModel, images → logits.
        train_set, test_set: loaders of (images, class ids); len(train_set) counts batches.
        lr: the highest learning rate.
        epochs: passes over train_set, at least 1.
        options: of nyang_train, as plot=False.
    """
    optimizer = SGD(model.parameters(), lr, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = epochs * len(train_set)
    rise = max(1, steps // 5)
    fall = CosineDecay(optimizer, max(1, steps - rise), every="step")
    schedule = WarmUp(optimizer, rise, fall, every="step")
    return nyang_train(model, optimizer, CrossEntropyLoss(), train_set, test_set, epochs,
                       scheduler=schedule, **options)
