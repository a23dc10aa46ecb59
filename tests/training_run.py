"""A small training run in which everything has a state, for tests of stopping and resuming.

As a script it runs in a folder and kills itself at a given place: at a batch, or while a file
is being written.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np

from nyang_edu.model.activation import ReLU
from nyang_edu.model.dropout import Dropout
from nyang_edu.model.flow import NyangFlow
from nyang_edu.model.linear import Linear
from nyang_edu.model.norm import BatchNorm1d
from nyang_edu.training.loss import CrossEntropyLoss
from nyang_edu.training.optimizer import SGD
from nyang_edu.training.train import nyang_train
from nyang_edu.utility.save_load import read_model_file

EPOCHS = 5


def samples(n=42, seed=0):
    """Three overlapping clouds of points: x (n, 6) float32, labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    return (rng.normal(size=(n, 6)) + labels[:, None]).astype(np.float32), labels


class Shuffled:
    """A loader with a state: the samples in another order each epoch, the last batch smaller."""

    def __init__(self, x, y, size=8, seed=0, tick=None):
        self.x, self.y, self.size, self.tick = x, y, size, tick
        self.rng = np.random.default_rng(seed)

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __iter__(self):
        order = self.rng.permutation(len(self.x))
        for start in range(0, len(self.x), self.size):
            if self.tick:
                self.tick()
            chosen = order[start : start + self.size]
            yield self.x[chosen], self.y[chosen]

    def state_dict(self):
        return {"rng": self.rng.bit_generator.state, "size": self.size}

    def load_state_dict(self, state):
        if state["size"] != self.size:
            raise ValueError(f"batches of {state['size']} there and of {self.size} here")
        self.rng.bit_generator.state = state["rng"]


class Shrink:
    """A scheduler by the protocol: lr · 0.97 per step."""

    every, needs_metric = "step", False

    def __init__(self, optimizer):
        self.optimizer, self.count = optimizer, 0

    def step(self):
        self.count += 1
        self.optimizer.lr *= 0.97

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.count = state["count"]


def network(seed=0, width=7):
    rng = np.random.default_rng(seed)
    return NyangFlow(
        Linear(6, width, rng=rng), BatchNorm1d(width), ReLU(),
        Dropout(0.3, rng=np.random.default_rng(seed + 1)), Linear(width, 3, rng=rng),
    )


def run(folder, *, seed=0, tick=None, epochs=EPOCHS, **settings):
    """Train the network; return it and the history. folder None saves nothing."""
    model = network(seed)
    optimizer = SGD(model.parameters(), 0.2, momentum=0.9)
    settings = {
        "save_path": None if folder is None else Path(folder) / "net.pickle",
        "scheduler": Shrink(optimizer), "patience": 3, "clip_norm": 1.0,
    } | settings
    train, valid = Shuffled(*samples(), tick=tick), Shuffled(*samples(20, 1), seed=2)
    history = nyang_train(model, optimizer, CrossEntropyLoss(), train, valid, epochs, **settings)
    return model, history


class Countdown:
    """Calls die at the place-th call; those to the disk, wrapped by around, count twice."""

    def __init__(self, place, die):
        self.left, self.die = place, die

    def __call__(self):
        self.left -= 1
        if self.left == 0:
            self.die()

    def around(self, real):
        def call(*given):
            self()
            result = real(*given)
            self()
            return result

        return call


def same(a, b):
    """Whether two states are equal to the last bit, but for the seconds."""
    if isinstance(a, dict):
        names = set(a) - {"seconds"}
        return names == set(b) - {"seconds"} and all(same(a[n], b[n]) for n in names)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.tobytes() == b.tobytes()
    return type(a) is type(b) and a == b


def left_in(folder):
    """Everything that a run wrote, without the seconds."""
    lines = (folder / "net.csv").read_text("utf-8").splitlines()
    last = read_model_file(folder / "net.last.pickle")
    return {
        "csv": [line.rpartition(",")[0] for line in lines],
        "best": read_model_file(folder / "net.pickle")["weights"],
        "last": (last["weights"], last["training"]),
    }


if __name__ == "__main__":
    tick = Countdown(int(sys.argv[2]), lambda: os.kill(os.getpid(), signal.SIGKILL))
    os.fsync, os.replace = tick.around(os.fsync), tick.around(os.replace)
    # The seed differs from the first process's: all must come from the checkpoint.
    first = not (Path(sys.argv[1]) / "net.last.pickle").exists()
    run(sys.argv[1], seed=0 if first else 9, tick=tick, resume=True)
