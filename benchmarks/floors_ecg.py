"""The runs of ``benchmarks floors`` on heartbeats: drawn patients, and real beats of ECG5000.

No test patient is learned from. The network has its full depth and an eighth of its width; a
step at full width takes thirty times as long: ``python -m benchmarks.floors_ecg --width 64``.
POWER was chosen on validation patients, with seeds that no floor uses:
``python -m benchmarks.floors_ecg --width 8 --validate --seed 1 --power 0.25``.
"""

import argparse
from functools import lru_cache

import numpy as np

from nyang_edu.data.dataset import ArrayDataset
from nyang_edu.data.ecg import ECG_CLASSES, split_patients
from nyang_edu.data.ecg_csv import load_ecg5000
from nyang_edu.data.ecg_synthetic import draw_ecg
from nyang_edu.data.loader import NyangDataLoader
from nyang_edu.evaluation.inference import nyang_inference
from nyang_edu.evaluation.metrics import precision_recall_f1
from nyang_edu.model.flow import Flatten, NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.zoo.resnext1d import resnext1d as build
from nyang_edu.training.adaptive import AdaBound, Adam
from nyang_edu.training.class_weights import class_weights
from nyang_edu.training.loss import CrossEntropyLoss, FocalLoss
from nyang_edu.training.scheduler import CosineDecay, WarmUp
from nyang_edu.training.train import nyang_train

FLOOR = 0.85  # macro-F1 on patients that were not learned from
PATIENTS, BEATS, WIDTH, EPOCHS = 2000, 30, 8, 2  # many hearts, few beats of each
POWER = 0.5  # of the class weights of focal loss


def fit(model, optimizer, loss, x, y, epochs, seed, batch=128):
    """Train; the rate rises for a tenth of the steps, then falls along a cosine."""
    loader = NyangDataLoader(ArrayDataset(x, y), batch, shuffle=True, drop_last=True, seed=seed)
    steps = epochs * len(loader)
    fall = CosineDecay(optimizer, steps - steps // 10, every="step")
    schedule = WarmUp(optimizer, max(1, steps // 10), fall, every="step")
    history = nyang_train(model, optimizer, loss, loader, epochs=epochs, scheduler=schedule,
                          metrics={}, plot=False)
    print("loss by epoch", *np.round(history["train_loss"], 3)[-8:], flush=True)
    return model


def linear(x, y, seed):
    """Fit a logistic regression to the samples as they are."""
    model = NyangFlow(Flatten(), Linear(x.shape[-1], len(ECG_CLASSES),
                                        rng=np.random.default_rng(seed)))
    return fit(model, Adam(model.parameters(), 0.01), CrossEntropyLoss(), x, y, 60, seed)


def network(x, y, loss, seed, width=WIDTH, epochs=EPOCHS, batch=128):
    """Train a ResNeXt-1D as its authors did, with AdaBound; a group has 4 channels or more."""
    model = build(len(ECG_CLASSES), np.random.default_rng(seed), width=width,
                  groups=min(32, width // 2))
    optimizer = AdaBound(model.parameters(), lr=0.003, final_lr=0.1, gamma=1e-4)
    return fit(model, optimizer, loss, x, y, epochs, seed, batch)


def scores(name, model, x, y):
    """Print F1 and recall of each class; return the macro-F1 and the recalls."""
    answers = nyang_inference(model, NyangDataLoader(ArrayDataset(x, y), 256), progress=False)
    _, recall, f1 = precision_recall_f1(answers.confusion_matrix())
    print(f"{name:20s} macro-F1 {f1.mean():.3f}; F1", *f1.round(3), "; recall", *recall.round(3),
          flush=True)
    return float(f1.mean()), recall


@lru_cache
def patients(seed, validate=False):
    """Draw patients, and split them: x, y to learn from, x, y of others.

    To validate, those who are learned from are split once more, and the test patients stay unseen.
    """
    beats = draw_ecg(PATIENTS, BEATS, seed)
    learn, test = split_patients(beats.y, beats.patient, (0.8, 0.2), seed=seed)
    if validate:
        beats = beats.take(learn)
        learn, test = split_patients(beats.y, beats.patient, (0.8, 0.2), seed=seed)
    print("beats of", *ECG_CLASSES, "to learn from", *beats.take(learn).counts(),
          "and of unseen patients", *beats.take(test).counts())
    return beats.x[learn], beats.y[learn], beats.x[test], beats.y[test]


@lru_cache
def trained(name, seed, validate=False, power=POWER, width=WIDTH, epochs=EPOCHS):
    """Train on patients with the loss called name; return the macro-F1 and the recalls."""
    x, y, *test = patients(seed, validate)
    alpha = class_weights(np.bincount(y, minlength=len(ECG_CLASSES)), power)
    loss = FocalLoss(2.0, alpha) if name == "focal" else CrossEntropyLoss()
    return scores(name, network(x, y, loss, seed, width, epochs), *test)


def resnext1d(seed):
    """Measure the macro-F1 on unseen patients, with focal loss."""
    x, y, *test = patients(seed)
    scores("logistic regression", linear(x, y, seed), *test)
    return trained("focal", seed)[0], FLOOR


def rare_beats(seed):
    """Measure the recall that focal loss gains on S and F, the two rarest classes.

    The measure is the smaller of both gains over cross-entropy: above 0, both are gained.
    """
    _, plain = trained("cross-entropy", seed)
    _, focal = trained("focal", seed)
    return float((focal - plain)[[1, 3]].min()), np.nextafter(0, 1)


def ecg5000(seed):
    """Measure the macro-F1 on ECG5000's official test set, beside a linear model's: a report.

    It has no floor: two of the five classes have 2 and 10 beats to learn from, all of one patient.
    """
    (x, y), test = load_ecg5000()
    scores("logistic regression", linear(x, y, seed), *test)
    model = network(x, y, CrossEntropyLoss(), seed, epochs=20, batch=50)
    return scores("ResNeXt-1D", model, *test)[0], 0.0


def main():
    """Train with another loss, width or weight, or for longer, and print the scores."""
    parser = argparse.ArgumentParser(prog="benchmarks.floors_ecg", description=__doc__)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--loss", choices=("focal", "cross-entropy"), default="focal")
    parser.add_argument("--power", type=float, default=POWER)
    parser.add_argument("--validate", action="store_true", help="measure on validation patients")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    measure, _ = trained(options.loss, options.seed, options.validate, options.power,
                         options.width, options.epochs)
    return 0 if measure >= FLOOR else 1


if __name__ == "__main__":
    raise SystemExit(main())
